"""A regression whose answer is a distribution

One x may have three answers y. A least-squares curve would run between them; the posterior model draws all three.
"""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np

import motes

rng = np.random.default_rng(0)
y = rng.uniform(0, 1, 6000)
x = y + 0.3 * np.sin(2 * np.pi * y) + 0.04 * rng.standard_normal(6000)
changes = {"network.members": 1, "network.width": 32, "training.steps": 1500, "training.ema": 0.99}
model = motes.fit(y[:, None], "posterior", given=x[:, None], bounds={"x0": (0, 1)}, changes=changes, verbose=False)
seen = rng.uniform(0, 1, 1500)[:, None]
drawn = model.sample(1, given=seen)[:, 0, 0]
figure, ax = plt.subplots(figsize=(8, 6), facecolor="#0b0908")
figure.subplots_adjust(0.02, 0.02, 0.98, 0.98)
ax.scatter(x, y, s=5, color="#63b8ff", alpha=0.35, linewidths=0)
ax.scatter(seen, drawn, s=13, color="#ffb454", linewidths=0)
bins = np.linspace(0, 1, 25)
mean = [y[(x >= low) & (x < high)].mean() for low, high in pairwise(bins)]
ax.plot((bins[1:] + bins[:-1]) / 2, mean, color="#f4ead9", lw=2.5)
ax.set(xlim=(-0.02, 1.02))
ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
