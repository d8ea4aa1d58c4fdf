"""The times that a sampler stops at: t_0 = 1 > t_1 > ... > t_N = 0."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from motes.diffusion.schedules import Schedule


def uniform_grid(steps: int) -> jax.Array:
    """1, (N-1)/N, ..., 1/N, 0: with N = T, every step of a discrete schedule; with N a divisor of T, every (T/N)-th.

    Raises:
        ValueError: fewer than one step.
    """
    _check_steps(steps)
    return jnp.arange(steps, -1, -1) / steps


def quadratic_grid(steps: int) -> jax.Array:
    """1, ((N-1)/N)^2, ..., 1/N^2, 0: dense near the data, as in Song et al. 2021 (DDIM), appendix D.2.

    Raises:
        ValueError: fewer than one step.
    """
    _check_steps(steps)
    return (jnp.arange(steps, -1, -1) / steps) ** 2


def karras_grid(
    schedule: Schedule, steps: int, sigma_min: float, sigma_max: float | None = None, rho: float = 7.0
) -> jax.Array:
    """Karras et al. 2022, eq. 5: r^(1/rho) equally spaced from sigma_max to sigma_min, then 0, r = sigma_t / alpha_t.

    Args:
        schedule: turns a noise level into a time.
        steps: N >= 1.
        sigma_min: the last noise level before 0.
        sigma_max: the first; None takes that of t = 1.
        rho: how much the steps bunch up near the data.

    Raises:
        ValueError: noise levels that do not fall, or fewer than one step.
    """
    _check_steps(steps)
    times, largest = _karras(schedule, steps, sigma_min, sigma_max, rho)
    _check_sigma_min(sigma_min, largest)
    return times


def refined(grid: ArrayLike, parts: int) -> jax.Array:
    """Each step of `grid` (N+1,) divided into `parts` that are equal in t: (N parts + 1,)."""
    times = np.asarray(grid, np.float64)
    places = np.arange(parts * (len(times) - 1) + 1) / parts
    return jnp.asarray(np.interp(places, np.arange(len(times)), times))


def log_snr_grid(schedule: Schedule, steps: int, sigma_min: float) -> jax.Array:
    """The log-SNR equally spaced from that of t = 1 to r = sigma_min, then 0, r = sigma_t / alpha_t (Lu et al. 2022).

    Raises:
        ValueError: a sigma_min that is not below the level of t = 1, or fewer than one step.
    """
    _check_steps(steps)
    times, largest = _log_snr(schedule, steps, sigma_min)
    _check_sigma_min(sigma_min, largest)
    return times


def given_grid(times: Sequence[float] | ArrayLike) -> jax.Array:
    """Times (N+1,) of your own.

    Raises:
        ValueError: times that do not fall from 1 to 0, or that are not finite numbers.
    """
    check_grid(times)
    return jnp.asarray(times, float)


def check_grid(times: Sequence[float] | ArrayLike) -> None:
    """Raise ValueError unless `times` (N+1,) fall from 1 to 0, N >= 1."""
    t = np.asarray(times)
    if t.ndim != 1 or len(t) < 2 or t[0] != 1 or t[-1] != 0 or not (np.diff(t) < 0).all():
        raise ValueError(f"the grid is {t}; expected times that fall from 1 to 0.")


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps = {steps}; expected at least 1.")


def _check_sigma_min(sigma_min: float, largest: jax.Array) -> None:
    if not 0 < sigma_min < largest:
        raise ValueError(f"sigma_min = {sigma_min:g}; expected above 0 and below the first noise level, {largest:g}.")


@eqx.filter_jit  # one program instead of a dozen small ones
def _karras(
    schedule: Schedule, steps: int, sigma_min: float, sigma_max: float | None, rho: float
) -> tuple[jax.Array, jax.Array]:
    largest = jnp.exp(-schedule.log_snr(1.0) / 2) if sigma_max is None else jnp.asarray(sigma_max)
    part = jnp.arange(steps) / max(steps - 1, 1)
    ratio = (largest ** (1 / rho) + part * (sigma_min ** (1 / rho) - largest ** (1 / rho))) ** rho
    times = schedule.t_of_log_snr(-2 * jnp.log(ratio))
    return jnp.append(times if sigma_max is not None else times.at[0].set(1.0), 0.0), largest


@eqx.filter_jit
def _log_snr(schedule: Schedule, steps: int, sigma_min: float) -> tuple[jax.Array, jax.Array]:
    first = schedule.log_snr(1.0)
    part = jnp.arange(steps) / max(steps - 1, 1)
    times = schedule.t_of_log_snr(first + part * (-2 * jnp.log(sigma_min) - first))
    return jnp.append(times.at[0].set(1.0), 0.0), jnp.exp(-first / 2)
