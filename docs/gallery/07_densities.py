"""Two spirals in a fog

The exact density of noisy points at six noise levels: with more noise, it forgets details first and the whole last.
"""

import matplotlib.pyplot as plt
import numpy as np

import motes
from motes.data import Standardiser
from motes.plots import STYLES
from motes.points import VarianceExploding

exact = motes.truth("two_spirals")
oracle = exact.oracle(VarianceExploding(sigma_max=10.0, rho=1.0), Standardiser.fit(exact.sample(5000)))
side = np.linspace(-2.6, 2.6, 180)
u = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
figure, axes = plt.subplots(2, 3, figsize=(9, 6), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0, 0)
for ax, r in zip(axes.flat, (0.03, 0.1, 0.2, 0.4, 0.8, 2.0), strict=True):
    log_p = np.asarray(oracle.rows(u * np.sqrt(1 + r**2), r / 10).log_prob)
    ax.imshow(np.exp(log_p - log_p.max()).reshape(180, 180) ** 0.6, origin="lower", cmap=STYLES["dark"].density)
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
