"""Where the past is uncertain

The spread of all data that may have become a noisy point: the bright seams are where a step must choose a side.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes.data import Standardiser
from motes.points import VarianceExploding

exact = motes.truth("rings", noise=0.2)
oracle = exact.oracle(VarianceExploding(sigma_max=10.0, rho=1.0), Standardiser.fit(exact.sample(5000)))
side = np.linspace(-2.6, 2.6, 150)
y = jnp.asarray(np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2))
variance = jax.jit(lambda r: jax.lax.map(lambda one: oracle.variance(one, r / 10).sum(), y, batch_size=500))
figure, axes = plt.subplots(1, 3, figsize=(12, 4), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0.01, 0)
for ax, r in zip(axes, (0.12, 0.25, 0.5), strict=True):
    spread = np.sqrt(np.asarray(variance(r))).reshape(150, 150)
    ax.imshow(spread, cmap="inferno", origin="lower", interpolation="bicubic")
    ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=90)
