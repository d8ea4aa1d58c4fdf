"""The price of few steps

Three samplers with 8, 12, 16 and 32 evaluations of the same trained network, from the same noise.
"""

from motes import plots
from motes.explorer.subjects import Shelf

model = Shelf().subject("swiss_roll").model
panels = {}
for sampler, name in (("euler", "DDIM"), ("heun", "Heun"), ("dpmpp_3m", "DPM-Solver++")):
    for evaluations in (8, 12, 16, 32):
        steps = (evaluations + 1) // 2 if sampler == "heun" else evaluations
        panels[f"{name}, {evaluations}"] = model.sample(5000, sampling={"sampler": sampler, "steps": steps})
figure = plots.sheet(panels, limits=plots.limits_of(model.sample(2000)))
figure.savefig(__file__[:-2] + "png", dpi=110)
