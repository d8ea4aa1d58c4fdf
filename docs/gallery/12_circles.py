"""Circles of noise

Circles around the origin of noise, and what the flow of a trained model makes of them: no two ever cross.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

from motes import points
from motes.explorer.subjects import Shelf
from motes.points import KarrasGrid, ReverseProcess
from motes.points.samplers import DPMSolver3M

denoiser = Shelf().subject("pinwheel").model.denoiser
angle, radii = np.linspace(0, 2 * np.pi, 800), np.linspace(0.1, 2.6, 26)
circles = radii[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
process = ReverseProcess(denoiser, DPMSolver3M(), KarrasGrid(steps=48)(denoiser.schedule), dim=2)
x, _ = points.sample(process, circles.size // 2, key=jax.random.key(0), start=10 * circles.reshape(-1, 2))
figure, axes = plt.subplots(1, 2, figsize=(10, 5), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0, 0)
for ax, lines in zip(axes, (circles, x.reshape(circles.shape)), strict=True):
    for line, radius in zip(lines, radii, strict=True):
        ax.plot(*line.T, color=plt.colormaps["plasma"](0.95 - 0.3 * radius), lw=1.1)
    ax.set(xlim=(-2.7, 2.7), ylim=(-2.7, 2.7), aspect="equal")
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=100)
