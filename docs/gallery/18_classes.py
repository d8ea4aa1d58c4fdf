"""Whose point is it?

The exact probability of each class for noisy points: sharp borders near the data, and a mixture far out in the noise.
"""

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

import motes
from motes.data import Standardiser
from motes.plots import STYLES
from motes.points import VarianceExploding

exact = motes.truth("pinwheel", noise=0.1)
units, schedule = Standardiser.fit(exact.sample(5000)), VarianceExploding(sigma_max=10.0, rho=1.0)
oracles = [exact.of_class(label).oracle(schedule, units) for label in range(5)]
side = np.linspace(-2.7, 2.7, 110)
u = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
colours = np.array([to_rgb(one) for one in STYLES["dark"].classes[:5]])
figure, axes = plt.subplots(1, 3, figsize=(12, 4), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0.01, 0)
for ax, r in zip(axes, (0.05, 0.4, 1.5), strict=True):
    log_p = jnp.stack([one.rows(u * np.sqrt(1 + r**2), r / 10).log_prob for one in oracles])
    share = np.exp(log_p - log_p.max(axis=0))
    image = (share / share.sum(axis=0)).T @ colours
    ax.imshow(np.clip(image, 0, 1).reshape(110, 110, 3), origin="lower", interpolation="bicubic")
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=90)
