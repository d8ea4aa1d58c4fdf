"""Paths home

Each line is a point's way from noise to two spirals, along the exact flow; its colour is the direction it came from.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes import points
from motes.data import Standardiser
from motes.points import Heun, KarrasGrid, ReverseProcess, VarianceExploding

exact = motes.truth("two_spirals")
oracle = exact.oracle(VarianceExploding(sigma_max=10.0), Standardiser.fit(exact.sample(5000)))
grid = KarrasGrid(steps=60, sigma_min=0.01)(oracle.schedule)
levels = np.asarray(oracle.schedule.sigma(grid))
process = ReverseProcess(oracle, Heun(), grid, dim=2)
_, chain = points.sample(process, 1500, key=jax.random.key(0), record=range(len(grid)))
u = chain / np.sqrt(1 + levels**2)[:, None, None]
figure, ax = plt.subplots(figsize=(7, 7), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1)
for path in u.swapaxes(0, 1):
    angle = np.arctan2(path[0, 1], path[0, 0]) / (2 * np.pi) + 0.5
    ax.plot(*path.T, color=plt.colormaps["hsv"](angle), lw=0.5, alpha=0.6)
    ax.scatter(*path[-1], color=plt.colormaps["hsv"](angle), s=3)
ax.set(xlim=(-2.7, 2.7), ylim=(-2.7, 2.7))
ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
