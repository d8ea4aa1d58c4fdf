"""Coordinates in which all schedules are one: y = x / alpha, r = sigma / alpha, lambda = -log r.

    dy/dr = (y - x0_hat) / r = eps_hat,              the probability flow (Karras et al. 2022, eq. 1 with s = 1)
    dy = 2 eps_hat dr + sqrt(2 r) dW,                the reverse diffusion, r falling; W over -dr
    y_r = y_0 + r eps                                in distribution

`y` is a point (d,). As lambda grows to s = 0, where r = 0 and lambda is infinite, the flow is dy/dlambda = x0_hat - y.
"""

import jax
import jax.numpy as jnp

from motes.diffusion._denoiser import Denoiser
from motes.diffusion._schedules import Schedule


def level(schedule: Schedule, t: jax.Array) -> jax.Array:
    """r at time t, 0 at t = 0."""
    return schedule.sigma(t) / schedule.alpha(t)


def time_of_level(schedule: Schedule, r: jax.Array) -> jax.Array:
    """The time in [0, 1] at which the level is r; 1 where r is above that of t = 1."""
    return schedule.t_of_log_snr(-2 * jnp.log(r))


def log_step(schedule: Schedule, t: jax.Array, s: jax.Array) -> jax.Array:
    """h = lambda_s - lambda_t > 0, so that r_s = exp(-h) r_t; infinite at s = 0."""
    return (schedule.log_snr(s) - schedule.log_snr(t)) / 2


def finite_log_step(schedule: Schedule, t: jax.Array, s: jax.Array) -> jax.Array:
    """`log_step`, with 1 in the place of infinity where the result is not going to be used."""
    return jnp.where(s > 0, log_step(schedule, t, jnp.where(s > 0, s, t / 2)), 1.0)


def x0_at(denoiser: Denoiser, y: jax.Array, t: jax.Array) -> jax.Array:
    """x0_hat (d,) at the point y (d,)."""
    return denoiser(denoiser.schedule.alpha(t) * y, t)


def eps_at(denoiser: Denoiser, y: jax.Array, t: jax.Array) -> jax.Array:
    """eps_hat (d,) at the point y (d,), for t > 0."""
    return denoiser.eps(denoiser.schedule.alpha(t) * y, t)
