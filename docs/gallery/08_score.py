"""The score of a pinwheel

The score points uphill in the log-density of noisy points; sampling follows these lines from anywhere to the data.
"""

import matplotlib.pyplot as plt
import numpy as np

import motes
from motes.data import Standardiser
from motes.plots import STYLES
from motes.points import VarianceExploding

exact, r = motes.truth("pinwheel", noise=0.1), 0.22
oracle = exact.oracle(VarianceExploding(sigma_max=10.0, rho=1.0), Standardiser.fit(exact.sample(5000)))
side = np.linspace(-2.7, 2.7, 120)
x, y = np.meshgrid(side, side)
found = oracle.rows(np.stack([x, y], axis=-1).reshape(-1, 2), r / 10)
u, v = np.asarray(found.score).reshape(120, 120, 2).transpose(2, 0, 1)
density = np.exp(np.asarray(found.log_prob)).reshape(120, 120)
figure, ax = plt.subplots(figsize=(7, 7), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1)
ax.imshow(
    density**0.6, origin="lower", extent=(-2.7, 2.7, -2.7, 2.7), cmap=STYLES["dark"].density, interpolation="bicubic"
)
ax.streamplot(x, y, u, v, color=np.log(np.hypot(u, v) + 0.3), cmap="cool_r", density=2.4, linewidth=0.9)
ax.set(xlim=(-2.7, 2.7), ylim=(-2.7, 2.7))
ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
