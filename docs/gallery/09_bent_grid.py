"""What the denoiser sees

The exact denoiser sends each point to the mean of all data that it may come from; more noise bends a square grid more.
"""

import matplotlib.pyplot as plt
import numpy as np

import motes
from motes.data import Standardiser
from motes.points import VarianceExploding

exact = motes.truth("moons")
oracle = exact.oracle(VarianceExploding(sigma_max=10.0, rho=1.0), Standardiser.fit(exact.sample(5000)))
lines = np.linspace(-2.4, 2.4, 33)
along = np.linspace(-2.4, 2.4, 200)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.5), facecolor="#0b0908", layout="constrained")
for ax, r in zip(axes, (0.1, 0.3, 0.6, 1.2), strict=True):
    for one in lines:
        for x in (np.stack([np.full(200, one), along], axis=1), np.stack([along, np.full(200, one)], axis=1)):
            x0 = np.asarray(oracle.rows(x, r / 10).x0)
            ax.plot(*x0.T, color=plt.colormaps["plasma"](0.3 + 0.12 * (one + 2.4)), lw=0.7, alpha=0.85)
    ax.set(xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")
    ax.set_title(f"noise {r:g}", color="#f4ead9")
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=100)
