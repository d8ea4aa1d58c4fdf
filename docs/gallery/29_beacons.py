"""One observation after another

The exact posterior of a place given noisy distances to one, two, three and four beacons.
"""

import matplotlib.pyplot as plt
import numpy as np

from motes.plots import STYLES

rng, noise = np.random.default_rng(4), 0.1
place, beacons = np.array([0.3, 0.25]), np.array([[-0.55, -0.2], [0.6, -0.15], [0.7, 0.75], [-0.75, 0.55]])
distances = np.linalg.norm(place - beacons, axis=1) + noise * rng.standard_normal(4)
side = np.linspace(-1, 1, 300)
grid = np.stack(np.meshgrid(side, side), axis=-1)
figure, axes = plt.subplots(2, 2, figsize=(8, 8), facecolor="#332c25")
figure.subplots_adjust(0, 0, 1, 1, 0.01, 0.01)
log_p = np.zeros((300, 300))
for ax, beacon, distance, k in zip(axes.flat, beacons, distances, range(1, 5), strict=True):
    log_p = log_p - (distance - np.linalg.norm(grid - beacon, axis=-1)) ** 2 / (2 * noise**2)
    ax.imshow(np.exp(log_p - log_p.max()) ** 0.7, origin="lower", extent=(-1, 1, -1, 1), cmap=STYLES["dark"].density)
    ax.scatter(*beacons[:k].T, marker="^", s=70, color="#63b8ff")
    ax.scatter(*place, marker="+", s=90, color="#63b8ff", linewidths=2)
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=100)
