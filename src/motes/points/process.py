"""The forward process and its posterior.

    x_t = alpha_t x_0 + sigma_t eps,    q(x_t | x_s),    q(x_s | x_t, x_0) for s < t

Every function acts on one point (d,), or on any array that broadcasts against its times. For a `DiscreteVP` schedule,
s = k/T and t = (k+1)/T give the one-step formulas of Ho et al. 2020; any s < t of any schedule also works.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from motes.points.schedules import Schedule


class Gaussian(NamedTuple):
    """An isotropic Gaussian N(mean, variance I).

    Example:
        >>> from motes.points.schedules import LinearVP
        >>> from motes.points.process import q_transition
        >>> from motes.points.process import Gaussian
        >>> step = q_transition(LinearVP(), jnp.zeros(2), 0.4, 0.5)
        >>> isinstance(step, Gaussian), step.mean.shape, step.variance.shape
        (True, (2,), ())
    """

    mean: Array
    variance: Array


def q_sample(schedule: Schedule, x0: Array, t: ArrayLike, eps: Array) -> Array:
    """Return x_t = alpha_t x_0 + sigma_t eps (Ho et al. 2020, eq. 4).

    Example:
        >>> from motes.points import VarianceExploding, q_sample
        >>> x0, eps = jnp.array([1.0, -1.0]), jnp.array([0.5, 0.5])
        >>> print(q_sample(VarianceExploding(sigma_max=10.0), x0, 1.0, eps))  # x_0 + 10 eps
        [6. 4.]
    """
    return schedule.alpha(t) * x0 + schedule.sigma(t) * eps


def q_transition(schedule: Schedule, x_s: Array, s: ArrayLike, t: ArrayLike) -> Gaussian:
    """Return q(x_t | x_s) for s < t.

    For one step of a discrete schedule it has mean sqrt(1 - beta) x_s and variance beta (eq. 2). From s = 0 it is
    q(x_t | x_0), with mean alpha_t x_0 and variance sigma_t^2 (eq. 4).

    Example:
        >>> from motes.points import DiscreteVP, q_transition
        >>> mean, variance = q_transition(DiscreteVP([0.1, 0.36]), jnp.array([1.0, -1.0]), 0.5, 1.0)
        >>> print(mean.round(4), variance.round(4))  # sqrt(1 - 0.36) x_s, and 0.36
        [ 0.8 -0.8] 0.36
    """
    factor = schedule.alpha(t) / schedule.alpha(s)
    return Gaussian(factor * x_s, _added_share(schedule, s, t) * schedule.sigma(t) ** 2)


def q_posterior(schedule: Schedule, x_t: Array, x0: Array, t: ArrayLike, s: ArrayLike) -> Gaussian:
    """Return q(x_s | x_t, x_0) for s < t (eq. 7; for any s and t: Kingma et al. 2021, appendix A.2); x_0 at s = 0.

    Example:
        >>> from motes.points import DiscreteVP, q_posterior
        >>> x0, x_t = jnp.array([1.0, -1.0]), jnp.array([0.5, 0.5])
        >>> print(q_posterior(DiscreteVP([0.1, 0.36]), x_t, x0, 1.0, 0.0).mean)
        [ 1. -1.]
    """
    # Only ratios of sigmas: near the data, their squares can be too small for float32.
    factor, kept = schedule.alpha(t) / schedule.alpha(s), (schedule.sigma(s) / schedule.sigma(t)) ** 2
    share = _added_share(schedule, s, t)
    return Gaussian(factor * kept * x_t + schedule.alpha(s) * share * x0, share * schedule.sigma(s) ** 2)


def _added_share(schedule: Schedule, s: ArrayLike, t: ArrayLike) -> Array:
    # Variance of x_t given x_s, over sigma_t^2. The log-SNR keeps the digits if s is close to t.
    return -jnp.expm1(schedule.log_snr(t) - schedule.log_snr(s))
