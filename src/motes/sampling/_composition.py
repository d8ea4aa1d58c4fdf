"""Several independent observations of one point: posteriors given each of them, composed into the one given all.

    p(x_0 | x_t, c_1, ..., c_m)  is proportional to  p(x_0 | x_t)^(1 - m) prod_i p(x_0 | x_t, c_i)

The prior is in each posterior, and has to count once (Geffner et al. 2023). Where the factors are taken for Gaussians
of precisions P + r I and Q_i + r I, with r = alpha_t^2 / sigma_t^2 and the denoisers' means (Linhart et al. 2024), the
product is a Gaussian as well, and its mean is the composed denoiser:

    Lambda x0_hat = (1 - m) (P + r I) x0_hat_prior + sum_i (Q_i + r I) x0_hat_i,
    Lambda = (1 - m) P + sum_i Q_i + r I

It is exact for Gaussian posteriors under a Gaussian prior. Each denoiser may have a zero of its own.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser, Given
from motes.diffusion._schedules import Schedule

Array = NDArray[np.float64]

AT_ONCE = 16  # observations, of which a network is asked together


class Composed(Denoiser):
    """The equation above, for a normal prior N(mean, P^-1).

    Args:
        denoiser: of points given one observation.
        known: what is known of each of m observations, arrays with a leading m.
        precisions: Q_i (m, d, d), the inverse covariances of the posteriors.
        mean: of the prior (d,).
        precision: P (d, d).
        origins: of each observation (m, d), what the denoiser has less than the points that are drawn; None: nothing.
    """

    denoiser: Denoiser
    known: Given
    precisions: jax.Array
    mean: jax.Array
    precision: jax.Array
    origins: jax.Array
    schedule: Schedule

    def __init__(
        self,
        denoiser: Denoiser,
        known: Given,
        precisions: Array,
        mean: Array,
        precision: Array,
        origins: Array | None = None,
    ):
        self.denoiser, self.known, self.schedule = denoiser, known, denoiser.schedule
        self.precisions, self.mean, self.precision = map(jnp.asarray, (precisions, mean, precision))
        self.origins = jnp.zeros((len(precisions), len(mean))) if origins is None else jnp.asarray(origins)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        alpha, r = self.schedule.alpha(t), jnp.exp(self.schedule.log_snr(t))
        y = x_t / alpha
        eye, more = jnp.eye(x_t.size), len(self.precisions) - 1

        def moved(part: tuple[Given, jax.Array, jax.Array]) -> jax.Array:
            known, q, origin = part
            return (q + r * eye) @ (self.denoiser.given(known)(x_t - alpha * origin, t) + origin - y)

        # All means are taken from y, or large numbers would cancel where there is little noise. That of the prior is
        # known: (P + r I) (x0_hat - y) = P (mean - y).
        total = jax.lax.map(moved, (self.known, self.precisions, self.origins), batch_size=AT_ONCE).sum(axis=0)
        total = total - more * self.precision @ (self.mean - y)
        return y + jnp.linalg.solve(self.precisions.sum(axis=0) - more * self.precision + r * eye, total)


def at_least(precisions: Array, prior: Array) -> Array:
    """The precisions (m, d, d) with that of the prior (d, d) in each direction in which they are below it.

    A posterior may be wider than its prior in a direction. A product of such Gaussians, divided by the prior's, would
    not be one.
    """
    root = np.linalg.cholesky(prior)
    white = np.linalg.inv(root)
    more = white @ precisions @ white.T - np.eye(len(prior))
    sizes, axes = np.linalg.eigh((more + np.swapaxes(more, 1, 2)) / 2)
    kept = np.einsum("mij,mj,mkj->mik", axes, np.maximum(sizes, 0.0), axes)
    return np.asarray(prior + root @ kept @ root.T)
