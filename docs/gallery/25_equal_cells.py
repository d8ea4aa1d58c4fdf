"""Cells of equal probability

Every cell of the noise holds as many points as any other, and so does its image in the data: small means dense.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

from motes import points
from motes.explorer.subjects import Shelf
from motes.points import KarrasGrid, ReverseProcess
from motes.points.samplers import DPMSolver3M

denoiser, fine = Shelf().subject("moons").model.denoiser, 6
rings = np.sqrt(-2 * np.log(1 - np.linspace(0, 0.985, 14 * fine + 1)))
angles = np.linspace(0, 2 * np.pi, 28 * fine + 1)
noise = rings[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
process = ReverseProcess(denoiser, DPMSolver3M(), KarrasGrid(steps=48)(denoiser.schedule), dim=2)
x, _ = points.sample(process, noise.size // 2, key=jax.random.key(0), start=10 * noise.reshape(-1, 2))
ring, sector = np.arange(14 * fine) // fine, np.arange(28 * fine) // fine
colour = 0.15 + 0.5 * ((ring[:, None] + sector) % 2) + 0.02 * ring[:, None]
figure, axes = plt.subplots(1, 2, figsize=(10, 5), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0, 0)
for ax, at in zip(axes, (noise, x.reshape(noise.shape)), strict=True):
    ax.pcolormesh(at[..., 0], at[..., 1], colour, cmap="inferno", vmin=0, vmax=1)
    ax.set(aspect="equal")
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
