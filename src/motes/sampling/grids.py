"""The times that a sampler stops at: t_0 = 1 > t_1 > ... > t_N = 0."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from motes.diffusion.schedules import Schedule


def uniform_grid(steps: int) -> jax.Array:
    """1, (N-1)/N, ..., 1/N, 0: with N = T, every step of a discrete schedule.

    Raises:
        ValueError: fewer than one step.
    """
    _check_steps(steps)
    return jnp.arange(steps, -1, -1) / steps


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
    if not 0 < sigma_min < largest:
        raise ValueError(f"sigma_min = {sigma_min:g}; expected above 0 and below the first noise level, {largest:g}.")
    return times


def refined(grid: ArrayLike, parts: int) -> jax.Array:
    """Each step of `grid` (N+1,) divided into `parts` that are equal in t: (N parts + 1,)."""
    times = np.asarray(grid, np.float64)
    places = np.arange(parts * (len(times) - 1) + 1) / parts
    return jnp.asarray(np.interp(places, np.arange(len(times)), times))


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise ValueError(f"steps = {steps}; expected at least 1.")


@eqx.filter_jit  # one program instead of a dozen small ones
def _karras(
    schedule: Schedule, steps: int, sigma_min: float, sigma_max: float | None, rho: float
) -> tuple[jax.Array, jax.Array]:
    largest = jnp.exp(-schedule.log_snr(1.0) / 2) if sigma_max is None else jnp.asarray(sigma_max)
    part = jnp.arange(steps) / max(steps - 1, 1)
    ratio = (largest ** (1 / rho) + part * (sigma_min ** (1 / rho) - largest ** (1 / rho))) ** rho
    times = schedule.t_of_log_snr(-2 * jnp.log(ratio))
    return jnp.append(times if sigma_max is not None else times.at[0].set(1.0), 0.0), largest
