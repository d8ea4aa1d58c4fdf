"""One start, two processes

From one start the flow (blue) has one path, and the reverse diffusion (amber) many; both have the same distribution.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

from motes import points
from motes.points import DDIM, EmpiricalOracle, KarrasGrid, ReverseProcess, VarianceExploding

oracle = EmpiricalOracle([[-1.5], [0.0], [1.5]], VarianceExploding(sigma_max=10.0), spread=[0.12])
grid = KarrasGrid(steps=200, sigma_min=0.01)(oracle.schedule)
levels = np.asarray(oracle.schedule.sigma(grid))
figure, ax = plt.subplots(figsize=(9, 5), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1)
for eta, n, look in ((1.0, 120, dict(color="#ffb454", lw=0.7, alpha=0.45)), (0.0, 1, dict(color="#63b8ff", lw=3.5))):
    process = ReverseProcess(oracle, DDIM(eta=eta), grid, dim=1)
    start = np.full((n, 1), 4.0)
    _, chain = points.sample(process, n, key=jax.random.key(1), start=start, record=range(len(grid)))
    ax.plot(-np.arctan(levels), chain[..., 0] / np.sqrt(1 + levels**2)[:, None], **look)
ax.set_axis_off()
ax.margins(0, 0.02)
figure.savefig(__file__[:-2] + "png", dpi=110)
