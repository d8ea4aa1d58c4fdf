"""Where each noise goes

The flow is a map: on the left noise, coloured by its direction; on the right the moons that it becomes.
"""

import colorsys

import jax
import matplotlib.pyplot as plt
import numpy as np

from motes import points
from motes.explorer.subjects import Shelf
from motes.points import KarrasGrid, ReverseProcess
from motes.points.samplers import DPMSolver3M

denoiser = Shelf().subject("moons").model.denoiser
noise = np.random.default_rng(0).standard_normal((12_000, 2))
process = ReverseProcess(denoiser, DPMSolver3M(), KarrasGrid(steps=48)(denoiser.schedule), dim=2)
x, _ = points.sample(process, len(noise), key=jax.random.key(0), start=10 * noise)
angle, size = np.arctan2(noise[:, 1], noise[:, 0]) / (2 * np.pi) + 0.5, np.minimum(np.hypot(*noise.T) / 2.2, 1)
colours = [colorsys.hls_to_rgb(a, 0.9 - 0.4 * s, 0.9) for a, s in zip(angle, size, strict=True)]
figure, axes = plt.subplots(1, 2, figsize=(10, 5), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0, 0)
for ax, cloud in zip(axes, (noise, x), strict=True):
    ax.scatter(*cloud.T, c=colours, s=4, linewidths=0)
    ax.set(xlim=(-2.8, 2.8), ylim=(-2.8, 2.8), aspect="equal")
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=100)
