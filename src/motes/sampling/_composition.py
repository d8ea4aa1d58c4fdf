"""Several independent observations of one point: posteriors given each of them, composed into the one given all.

    p(x_0 | x_t, c_1, ..., c_m)  is proportional to  p(x_0 | x_t)^(1 - m) prod_i p(x_0 | x_t, c_i)

The prior is in each posterior, and has to count once (Geffner et al. 2023). Where the factors are taken for Gaussians
of precisions P + r I and P + L_i + r I, with r = alpha_t^2 / sigma_t^2 and the denoisers' means (Linhart et al. 2024),
the product is a Gaussian as well, and its mean is the composed denoiser:

    Lambda x0_hat = (1 - m) (P + r I) x0_hat_prior + sum_i (P + L_i + r I) x0_hat_i,
    Lambda = P + sum_i L_i + r I

L_i is what an observation adds to the precision. It is exact for Gaussian posteriors under a Gaussian prior. Each
denoiser may have a zero of its own.
"""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.data._edges import SMOOTH
from motes.diffusion._cut_normal import moments
from motes.diffusion._denoiser import Denoiser, Given
from motes.diffusion._schedules import Schedule

Array = NDArray[np.float64]

AT_ONCE = 16  # observations, of which a network is asked together


class NoisyPrior(eqx.Module):
    """A prior of normal and uniform columns in noise, y = x_0 + tau e, whose mean and precision given y are exact.

        x_0 ~ N(mean, precision^-1)    mean given y less y: (P + r I)^-1 P (mean - y),    P = precision
        x_0 ~ U(low, high) + N(0, s^2)    -S E[W] tau^2,    S^2 = s^2 + tau^2

    W is a normal variable that is cut to ((y - high) / S, (y - low) / S). By Tweedie's formula the mean follows from
    the slope of log p(y), -E[W] / S, and the precision from its curvature, P = (1 - Var[W]) / (s^2 + tau^2 Var[W]).

    Args:
        mean: of the normal columns (d,).
        precision: of the normal columns (d, d), 0 in the rows and columns of others.
        low, high: of the uniform columns (d,); not finite of others.
    """

    mean: jax.Array
    precision: jax.Array
    low: jax.Array
    high: jax.Array

    def __init__(self, mean: Array, precision: Array, low: Array | None = None, high: Array | None = None):
        nowhere = np.full(len(mean), np.inf)
        ends = -nowhere if low is None else low, nowhere if high is None else high
        self.mean, self.precision, self.low, self.high = map(jnp.asarray, (mean, precision, *ends))

    def __call__(self, y: jax.Array, tau: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(P + r I) (E[x_0 | y] - y), (d,), and P (d, d), of y (d,) and its noise tau, which may be 0."""
        uniform = jnp.isfinite(self.low)
        low, high = jnp.where(uniform, self.low, -1.0), jnp.where(uniform, self.high, 1.0)
        s = SMOOTH * (high - low)
        width = jnp.sqrt(s**2 + tau**2)
        mean, variance = moments((y - high) / width, (high - low) / width)
        below = s**2 + tau**2 * variance
        moved = jnp.where(uniform, -width * mean / below, self.precision @ (self.mean - y))
        return moved, self.precision + jnp.diag(jnp.where(uniform, (1 - variance) / below, 0.0))


class Composed(Denoiser):
    """The equation above.

    Args:
        denoiser: of points given one observation.
        known: what is known of each of m observations, arrays with a leading m.
        added: L_i (m, d, d).
        prior: of the points.
        origins: of each observation (m, d), what the denoiser has less than the points that are drawn; None: nothing.
    """

    denoiser: Denoiser
    known: Given
    added: jax.Array
    prior: NoisyPrior
    origins: jax.Array
    schedule: Schedule

    def __init__(self, denoiser: Denoiser, known: Given, added: Array, prior: NoisyPrior, origins: Array | None = None):
        self.denoiser, self.known, self.schedule = denoiser, known, denoiser.schedule
        self.added, self.prior = jnp.asarray(added), prior
        self.origins = jnp.zeros(added.shape[:2]) if origins is None else jnp.asarray(origins)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        alpha, r = self.schedule.alpha(t), jnp.exp(self.schedule.log_snr(t))
        y = x_t / alpha
        moved_prior, precision = self.prior(y, 1 / jnp.sqrt(r))
        precision = precision + r * jnp.eye(x_t.size)

        def moved(part: tuple[Given, jax.Array, jax.Array]) -> jax.Array:
            known, added, origin = part
            return (precision + added) @ (self.denoiser.given(known)(x_t - alpha * origin, t) + origin - y)

        # All means are taken from y, or large numbers would cancel where there is little noise.
        total = jax.lax.map(moved, (self.known, self.added, self.origins), batch_size=AT_ONCE).sum(axis=0)
        total = total - (len(self.added) - 1) * moved_prior
        return y + jnp.linalg.solve(precision + self.added.sum(axis=0), total)


def added_precisions(precisions: Array, priors: Array, unit: Array) -> Array:
    """What posteriors of these precisions (m, d, d) have more than the prior where each of them is, `priors` (m, d, d).

    A posterior may be wider than its prior in a direction, in the units of `unit` (d, d). It adds nothing there: a
    product of such Gaussians, divided by the prior's, would not be one.
    """
    root = np.linalg.cholesky(unit)
    white = np.linalg.inv(root)
    more = white @ (precisions - priors) @ white.T
    sizes, axes = np.linalg.eigh((more + np.swapaxes(more, 1, 2)) / 2)
    kept = np.einsum("mij,mj,mkj->mik", axes, np.maximum(sizes, 0.0), axes)
    return np.asarray(root @ kept @ root.T)
