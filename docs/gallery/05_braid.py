"""Noise finds its way

In one dimension the whole process fits into a picture: 300 paths of the probability flow from noise to four modes.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

from motes import points
from motes.points import EmpiricalOracle, Heun, KarrasGrid, ReverseProcess, VarianceExploding

schedule, modes = VarianceExploding(sigma_max=10.0), [[-1.6], [-0.5], [0.4], [1.5]]
oracle = EmpiricalOracle(modes, schedule, weights=[3, 2, 1, 3], spread=[0.1])
grid = KarrasGrid(steps=120, sigma_min=0.01)(oracle.schedule)
process = ReverseProcess(oracle, Heun(), grid, dim=1)
_, chain = points.sample(process, 300, key=jax.random.key(3), record=range(len(grid)))
levels = np.asarray(oracle.schedule.sigma(grid))
paths = chain[..., 0] / np.sqrt(1 + levels**2)[:, None]
figure, ax = plt.subplots(figsize=(9, 5), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1)
for path in paths.T:
    colour = plt.colormaps["plasma"](0.25 + 0.65 * (path[-1] + 2) / 4)
    ax.plot(-np.arctan(levels), path, color=colour, lw=0.8, alpha=0.6)
ax.set_axis_off()
ax.margins(0, 0.02)
figure.savefig(__file__[:-2] + "png", dpi=110)
