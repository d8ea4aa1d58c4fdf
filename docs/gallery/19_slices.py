"""Slices of a spiral

The exact density of y for 40 fixed values of x: what a model answers when one coordinate is known.
"""

import matplotlib.pyplot as plt
import numpy as np

import motes

exact = motes.truth("two_spirals")
low, high = np.quantile(exact.sample(5000), [0.001, 0.999], axis=0)
y = np.linspace(low[1] - 0.4, high[1] + 0.4, 500)
figure, ax = plt.subplots(figsize=(7, 7), facecolor="#0b0908")
figure.subplots_adjust(0.02, 0.02, 0.98, 0.98)
for k, x in enumerate(np.linspace(high[0], low[0], 40)):
    density = np.exp(exact.log_density(np.stack([np.full(500, x), y], axis=1)))
    height = 40 - k + 45 * density / np.sqrt(density.sum())
    ax.fill_between(y, 40 - k, height, color="#0b0908", zorder=2 * k)
    ax.plot(y, height, color=plt.colormaps["plasma"](0.3 + 0.6 * k / 40), lw=1.3, zorder=2 * k + 1)
ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
