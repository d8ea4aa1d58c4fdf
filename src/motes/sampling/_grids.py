"""The times that a sampler stops at: t_0 = 1 > t_1 > ... > t_N = 0."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from motes._ranges import Checked, number
from motes.diffusion._discrete import DiscreteVP
from motes.diffusion._schedules import Schedule

Grid = Callable[[Schedule], jax.Array]
"""Times (N+1,) that fall from 1 to 0, given a schedule. ValueError: options that do not fit it."""


@dataclass(frozen=True)
class UniformGrid(Checked):
    """Equal steps in t.

    1, (N-1)/N, ..., 1/N, 0: with N = T, every step of a discrete schedule; with N a divisor of T, every (T/N)-th.

    Example:
        >>> from motes.diffusion import LinearVP
        >>> from motes.sampling import UniformGrid
        >>> print(UniformGrid(steps=4)(LinearVP()))
        [1. 0.75 0.5 0.25 0.  ]
    """

    steps: int | None = number(None, 1, 100_000)  # N; None: those of the schedule

    def __call__(self, schedule: Schedule) -> jax.Array:
        steps = self.steps
        if steps is None:
            if not isinstance(schedule, DiscreteVP):
                raise ValueError(f"steps = None; expected a number, since {type(schedule).__name__} has no steps.")
            steps = schedule.steps
        return jnp.arange(steps, -1, -1) / steps


@dataclass(frozen=True)
class QuadraticGrid(Checked):
    """Equal steps in sqrt(t).

    1, ((N-1)/N)^2, ..., 1/N^2, 0: dense near the data, as in Song et al. 2021 (DDIM), appendix D.2.

    Example:
        >>> from motes.diffusion import LinearVP
        >>> from motes.sampling import QuadraticGrid
        >>> print(QuadraticGrid(steps=4)(LinearVP()))
        [1. 0.5625 0.25 0.0625 0.]
    """

    steps: int = number(64, 1, 100_000)  # N

    def __call__(self, schedule: Schedule) -> jax.Array:
        return (jnp.arange(self.steps, -1, -1) / self.steps) ** 2


@dataclass(frozen=True)
class KarrasGrid(Checked):
    """Equal steps in (sigma_t / alpha_t)^(1/rho), then 0.

    Karras et al. 2022, eq. 5: with r = sigma_t / alpha_t, r^(1/rho) is equally spaced from the level of t = 1 to
    `sigma_min`; then comes 0.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.sampling import KarrasGrid
        >>> schedule = VarianceExploding(sigma_max=10.0)
        >>> print(schedule.sigma(KarrasGrid(steps=4, sigma_min=0.1)(schedule)).round(2))
        [10. 2.93 0.66 0.1 0.]
    """

    steps: int = number(48, 1, 100_000)  # N
    sigma_min: float = number(0.004, 0, 1e9, open_low=True)  # the last noise level r before 0
    rho: float = number(7.0, 0, 1000, open_low=True)  # how much the steps bunch up near the data

    def __call__(self, schedule: Schedule) -> jax.Array:
        times, largest = _karras(schedule, self.steps, self.sigma_min, self.rho)
        _check_sigma_min(self.sigma_min, largest)
        return times


@dataclass(frozen=True)
class LogSNRGrid(Checked):
    """Equal steps in the log-SNR, then 0.

    From the log-SNR of t = 1 to that of r = `sigma_min`, r = sigma_t / alpha_t (Lu et al. 2022); then comes 0.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.sampling import LogSNRGrid
        >>> schedule = VarianceExploding(sigma_max=10.0)
        >>> print(schedule.sigma(LogSNRGrid(steps=3, sigma_min=0.1)(schedule)).round(2))  # equal ratios, then 0
        [10. 1. 0.1 0.]
    """

    steps: int = number(64, 1, 100_000)  # N
    sigma_min: float = number(0.004, 0, 1e9, open_low=True)  # the last noise level r before 0

    def __call__(self, schedule: Schedule) -> jax.Array:
        times, largest = _log_snr(schedule, self.steps, self.sigma_min)
        _check_sigma_min(self.sigma_min, largest)
        return times


@dataclass(frozen=True)
class GivenGrid:
    """Times of your own."""

    times: tuple[float, ...] = (1.0, 0.0)

    def __post_init__(self) -> None:
        if not _falls(self.times):
            raise ValueError(f"times = {list(self.times)}; expected numbers that fall from 1 to 0.")

    def __call__(self, schedule: Schedule) -> jax.Array:
        return jnp.asarray(self.times, float)


GRIDS: dict[str, type] = {
    "uniform": UniformGrid,
    "quadratic": QuadraticGrid,
    "karras": KarrasGrid,
    "log_snr": LogSNRGrid,
    "given": GivenGrid,
}
"""`[grid]` of a recipe."""


def refined(grid: ArrayLike, parts: int) -> jax.Array:
    """Each step of `grid` (N+1,) divided into `parts` that are equal in t: (N parts + 1,)."""
    times = np.asarray(grid, np.float64)
    places = np.arange(parts * (len(times) - 1) + 1) / parts
    return jnp.asarray(np.interp(places, np.arange(len(times)), times))


def check_grid(times: Sequence[float] | ArrayLike) -> None:
    """Raise ValueError unless `times` (N+1,) fall from 1 to 0, N >= 1."""
    if not _falls(times):
        raise ValueError(f"the grid is {np.asarray(times)}; expected times that fall from 1 to 0.")


def _falls(times: Sequence[float] | ArrayLike) -> bool:
    t = np.asarray(times)
    return t.ndim == 1 and len(t) > 1 and t[0] == 1 and t[-1] == 0 and bool((np.diff(t) < 0).all())


def _check_sigma_min(sigma_min: float, largest: jax.Array) -> None:
    if not 0 < sigma_min < largest:
        raise ValueError(f"sigma_min = {sigma_min:g}; expected above 0 and below the first noise level, {largest:g}.")


@eqx.filter_jit  # one program instead of a dozen small ones
def _karras(schedule: Schedule, steps: int, sigma_min: float, rho: float) -> tuple[jax.Array, jax.Array]:
    largest = jnp.exp(-schedule.log_snr(1.0) / 2)
    part = jnp.arange(steps) / max(steps - 1, 1)
    ratio = (largest ** (1 / rho) + part * (sigma_min ** (1 / rho) - largest ** (1 / rho))) ** rho
    times = schedule.t_of_log_snr(-2 * jnp.log(ratio))
    return jnp.append(times.at[0].set(1.0), 0.0), largest


@eqx.filter_jit
def _log_snr(schedule: Schedule, steps: int, sigma_min: float) -> tuple[jax.Array, jax.Array]:
    first = schedule.log_snr(1.0)
    part = jnp.arange(steps) / max(steps - 1, 1)
    times = schedule.t_of_log_snr(first + part * (-2 * jnp.log(sigma_min) - first))
    return jnp.append(times.at[0].set(1.0), 0.0), jnp.exp(-first / 2)
