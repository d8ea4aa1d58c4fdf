"""The order of a sampler

With an exact denoiser all error is the sampler's; on logarithmic axes its slope is the order of the method.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes import points
from motes.data import Standardiser
from motes.points import DPMSolver3M, Heun, KarrasGrid, ReverseProcess, VarianceExploding
from motes.points.samplers import Euler

exact, ink = motes.truth("moons"), "#f4ead9"
oracle = exact.oracle(VarianceExploding(sigma_max=10.0), Standardiser.fit(exact.sample(5000)))
grid = lambda steps: KarrasGrid(steps=int(steps), sigma_min=0.02)(oracle.schedule)
process = lambda sampler, steps: ReverseProcess(oracle, sampler, grid(steps), dim=2)
draw = lambda sampler, steps: points.sample(process(sampler, steps), 128, key=jax.random.key(0))[0]
best, counts = draw(Heun(), 400), np.array([6, 12, 24, 48, 96])
plt.rcParams.update({"axes.labelcolor": ink, "xtick.color": ink, "ytick.color": ink})
figure, ax = plt.subplots(figsize=(8, 5), layout="constrained", facecolor="#0b0908")
for k, (name, sampler) in enumerate({"Euler": Euler(), "Heun": Heun(), "3M": DPMSolver3M()}.items()):
    error = [np.linalg.norm(draw(sampler, n) - best, axis=1).mean() for n in counts]
    colour = plt.colormaps["plasma"](0.3 + 0.28 * k)
    ax.loglog(counts * sampler.evaluations, error, "o-", lw=2.4, label=name, color=colour)
ax.set(facecolor="#0b0908", xlabel="evaluations of the denoiser", ylabel="mean distance to the exact end")
ax.legend(frameon=False, labelcolor=ink)
figure.savefig(__file__[:-2] + "png", dpi=110)
