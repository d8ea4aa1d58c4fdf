"""Learned over exact

Contours of the density of the moons: the exact one in blue, and in amber that of a network of 17,538 parameters.
"""

import matplotlib.pyplot as plt
import numpy as np

import motes
from motes.explorer.subjects import Shelf

model, exact = Shelf().subject("moons").model, motes.truth("moons")
x, y = np.linspace(-1.6, 2.6, 64), np.linspace(-1.1, 1.6, 48)
grid = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
real, levels = exact.sample(1500), [-5.5, -4, -3, -2, -1.4, -1]
figure, ax = plt.subplots(figsize=(9, 5.8), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1)
ax.scatter(*real.T, s=2, color="#f4ead9", alpha=0.35)
for log_p, colour, width in ((exact.log_density(grid), "#63b8ff", 2.6), (model.score_samples(grid), "#ffb454", 1.3)):
    ax.contour(x, y, log_p.reshape(48, 64), levels=levels, colors=colour, linewidths=width, linestyles="solid")
ax.set(aspect="equal")
ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
