"""Memorised

A network with the least loss on 14 points can only repeat them; each noise falls to one, in the basin of its colour.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes import points
from motes.points import EmpiricalOracle, Heun, KarrasGrid, ReverseProcess, VarianceExploding

atoms = motes.make_shape("two_spirals", 14, seed=5)
atoms = (atoms - atoms.mean(axis=0)) / atoms.std(axis=0)
oracle, side = EmpiricalOracle(atoms, VarianceExploding(sigma_max=10.0)), np.linspace(-2.6, 2.6, 280)
start = 10 * np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
process = ReverseProcess(oracle, Heun(), KarrasGrid(steps=40, sigma_min=0.02)(oracle.schedule), dim=2)
x, _ = points.sample(process, len(start), key=jax.random.key(0), start=start)
nearest = (5 * np.linalg.norm(x[:, None] - atoms, axis=2).argmin(axis=1) % 14).reshape(280, 280)
figure, ax = plt.subplots(figsize=(7, 7), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1)
ax.imshow(nearest, origin="lower", extent=(-2.6, 2.6, -2.6, 2.6), cmap="plasma")
ax.contour(side, side, nearest, levels=np.arange(14) + 0.5, colors="#0b0908", linewidths=0.8)
ax.scatter(*atoms.T, s=60, color="#fff0c9", edgecolor="#0b0908", zorder=3)
ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
