"""Gaps that close, and bridges that stay

Samples of a checkerboard with 3, 6 and 48 steps: with few steps, points stop on the way between the squares.
"""

from motes import plots
from motes.explorer.subjects import Shelf

model = Shelf().subject("checkerboard").model
panels = {f"{steps} steps": model.sample(9000, sampling={"sampler": "euler", "steps": steps}) for steps in (3, 6, 48)}
figure = plots.sheet(panels, limits=plots.limits_of(model.sample(2000)))
figure.savefig(__file__[:-2] + "png", dpi=150)
