"""Straight lines, bent flow

Flow matching joins noise and data by straight lines (left); where they cross, the learned flow is their mean (right).
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes import points
from motes.data import Standardiser
from motes.points import Heun, RectifiedFlow, ReverseProcess, UniformGrid

exact = motes.truth("eight_gaussians")
units = Standardiser.fit(exact.sample(5000))
oracle = exact.oracle(RectifiedFlow(alpha_1=1e-3), units)
noise = np.random.default_rng(0).standard_normal((500, 2))
process = ReverseProcess(oracle, Heun(), UniformGrid(steps=100)(oracle.schedule), dim=2)
_, flow = points.sample(process, 500, key=jax.random.key(0), start=noise, record=range(0, 101, 4))
lines = np.stack([noise, units.forward(exact.sample(500, seed=1))])
figure, axes = plt.subplots(1, 2, figsize=(10, 5), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0, 0)
for ax, paths in zip(axes, (lines, flow), strict=True):
    angle = np.arctan2(paths[-1, :, 1], paths[-1, :, 0]) / (2 * np.pi) + 0.5
    for path, a in zip(paths.swapaxes(0, 1), angle, strict=True):
        ax.plot(*path.T, color=plt.colormaps["hsv"](a), lw=0.6, alpha=0.65)
    ax.set(xlim=(-2.4, 2.4), ylim=(-2.4, 2.4), aspect="equal")
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=100)
