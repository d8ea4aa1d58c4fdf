"""The forward process, its posterior, and conversions between x_0, eps, v, the score and the velocity.

    x_t = alpha_t x_0 + sigma_t eps,    velocity = alpha_t' x_0 + sigma_t' eps

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
        >>> from motes.points import LinearVP
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
    """
    factor = schedule.alpha(t) / schedule.alpha(s)
    return Gaussian(factor * x_s, _added_share(schedule, s, t) * schedule.sigma(t) ** 2)


def q_posterior(schedule: Schedule, x_t: Array, x0: Array, t: ArrayLike, s: ArrayLike) -> Gaussian:
    """Return q(x_s | x_t, x_0) for s < t (eq. 7; for any s and t: Kingma et al. 2021, appendix A.2); x_0 at s = 0."""
    # Only ratios of sigmas: near the data, their squares can be too small for float32.
    factor, kept = schedule.alpha(t) / schedule.alpha(s), (schedule.sigma(s) / schedule.sigma(t)) ** 2
    share = _added_share(schedule, s, t)
    return Gaussian(factor * kept * x_t + schedule.alpha(s) * share * x0, share * schedule.sigma(s) ** 2)


def _added_share(schedule: Schedule, s: ArrayLike, t: ArrayLike) -> Array:
    # Variance of x_t given x_s, over sigma_t^2. The log-SNR keeps the digits if s is close to t.
    return -jnp.expm1(schedule.log_snr(t) - schedule.log_snr(s))


# Given x_t, each of x_0, eps, v, the score and the velocity determines the others; conversions go through x_0. eps is
# also computed directly from v and the velocity, without a division by sigma_t.


def eps_from_x0(schedule: Schedule, x_t: Array, x0: Array, t: ArrayLike) -> Array:
    """Return eps = (x_t - alpha_t x_0) / sigma_t, for t > 0."""
    return (x_t - schedule.alpha(t) * x0) / schedule.sigma(t)


def x0_from_eps(schedule: Schedule, x_t: Array, eps: Array, t: ArrayLike) -> Array:
    """Return x_0 = (x_t - sigma_t eps) / alpha_t.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.process import x0_from_eps
        >>> print(x0_from_eps(VarianceExploding(sigma_max=10.0), jnp.array([6.0]), jnp.array([0.5]), 1.0))
        [1.]
    """
    return (x_t - schedule.sigma(t) * eps) / schedule.alpha(t)


def v_from_x0(schedule: Schedule, x_t: Array, x0: Array, t: ArrayLike) -> Array:
    """Return v = alpha_t eps - sigma_t x_0, for t > 0 (Salimans & Ho 2022, section 4)."""
    return schedule.alpha(t) * eps_from_x0(schedule, x_t, x0, t) - schedule.sigma(t) * x0


def x0_from_v(schedule: Schedule, x_t: Array, v: Array, t: ArrayLike) -> Array:
    """Return x_0 = (alpha_t x_t - sigma_t v) / (alpha_t^2 + sigma_t^2); the divisor is 1 if variance is preserved."""
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return (alpha * x_t - sigma * v) / (alpha**2 + sigma**2)


def eps_from_v(schedule: Schedule, x_t: Array, v: Array, t: ArrayLike) -> Array:
    """Return eps = (sigma_t x_t + alpha_t v) / (alpha_t^2 + sigma_t^2).

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.process import eps_from_v
        >>> print(eps_from_v(VarianceExploding(sigma_max=10.0), jnp.array([6.0]), jnp.array([-9.5]), 1.0).round(4))
        [0.5]
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    return (sigma * x_t + alpha * v) / (alpha**2 + sigma**2)


def score_from_x0(schedule: Schedule, x_t: Array, x0: Array, t: ArrayLike) -> Array:
    """Return grad log q(x_t | x_0) = (alpha_t x_0 - x_t) / sigma_t^2, for t > 0.

    With E[x_0 | x_t] for x_0 it is the score grad log q(x_t).
    """
    return (schedule.alpha(t) * x0 - x_t) / schedule.sigma(t) ** 2


def x0_from_score(schedule: Schedule, x_t: Array, score: Array, t: ArrayLike) -> Array:
    """Return x_0 = (x_t + sigma_t^2 score) / alpha_t: Tweedie's formula if `score` is the score of q(x_t).

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.process import x0_from_score
        >>> print(x0_from_score(VarianceExploding(sigma_max=10.0), jnp.array([6.0]), jnp.array([-0.05]), 1.0).round(4))
        [1.]
    """
    return (x_t + schedule.sigma(t) ** 2 * score) / schedule.alpha(t)


def velocity_from_x0(schedule: Schedule, x_t: Array, x0: Array, t: ArrayLike) -> Array:
    """Return the velocity alpha_t' x_0 + sigma_t' eps, for t > 0 (Lipman et al. 2023, eq. 15 and theorem 1).

    With E[x_0 | x_t] for x_0 it is dx_t/dt of the probability flow (Song et al. 2021, eq. 13).

    Example:
        >>> from motes.points import RectifiedFlow
        >>> from motes.points.process import velocity_from_x0
        >>> print(velocity_from_x0(RectifiedFlow(), jnp.array([2.0]), jnp.array([1.0]), 0.5).round(3))
        [2.]
    """
    alpha_rate, sigma_rate = schedule.rates(t)
    return alpha_rate * x0 + sigma_rate * eps_from_x0(schedule, x_t, x0, t)


def x0_from_velocity(schedule: Schedule, x_t: Array, velocity: Array, t: ArrayLike) -> Array:
    """Return x_0 = (sigma_t' x_t - sigma_t velocity) / (alpha_t sigma_t' - alpha_t' sigma_t).

    Example:
        >>> from motes.points import RectifiedFlow
        >>> from motes.points.process import velocity_from_x0, x0_from_velocity
        >>> velocity = velocity_from_x0(RectifiedFlow(), jnp.array([2.0]), jnp.array([1.0]), 0.5)
        >>> print(x0_from_velocity(RectifiedFlow(), jnp.array([2.0]), velocity, 0.5).round(3))
        [1.]
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    alpha_rate, sigma_rate = schedule.rates(t)
    # Divided by sigma_t', which at t = 0 is infinite if variance is preserved and 0 if it explodes.
    delay = jnp.where(sigma > 0, sigma / sigma_rate, 0)
    return (x_t - delay * velocity) / (alpha - alpha_rate * delay)


def eps_from_velocity(schedule: Schedule, x_t: Array, velocity: Array, t: ArrayLike) -> Array:
    """Return eps = (alpha_t velocity - alpha_t' x_t) / (alpha_t sigma_t' - alpha_t' sigma_t), for t > 0.

    Example:
        >>> from motes.points import RectifiedFlow, q_sample
        >>> from motes.points.process import eps_from_velocity, velocity_from_x0
        >>> x_t = q_sample(RectifiedFlow(), jnp.array([1.0]), 0.5, jnp.array([-2.0]))
        >>> velocity = velocity_from_x0(RectifiedFlow(), x_t, jnp.array([1.0]), 0.5)
        >>> print(eps_from_velocity(RectifiedFlow(), x_t, velocity, 0.5).round(3))
        [-2.]
    """
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    alpha_rate, sigma_rate = schedule.rates(t)
    return (alpha * velocity - alpha_rate * x_t) / (alpha * sigma_rate - alpha_rate * sigma)
