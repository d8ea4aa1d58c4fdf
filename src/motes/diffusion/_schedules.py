"""How signal and noise trade places as t goes from 0 (data) to 1 (noise).

    x_t = alpha_t x_0 + sigma_t eps,    eps ~ N(0, I)

A schedule gives alpha_t and sigma_t at any t. Those of `_discrete.py` have T steps and come from a table of betas;
those of `_continuous.py` are formulas in t, and `_knots.py` has curves through points.
"""

from __future__ import annotations

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes._ranges import check_fields

Table = NDArray[np.float64]


class Schedule(eqx.Module):
    """alpha_t and sigma_t; a new schedule is these two and the inverse of its log-SNR.

    Raises:
        ValueError: a field that `motes.recipes.number` declares is out of its range.

    Example:
        >>> from motes.diffusion import Schedule
        >>> class Straight(Schedule):
        ...     def alpha(self, t):
        ...         return 1 - 0.99 * jnp.asarray(t, float)
        ...     def sigma(self, t):
        ...         return 0.99 * jnp.asarray(t, float)
        ...     def t_of_log_snr(self, log_snr):
        ...         return jax.nn.sigmoid(-log_snr / 2) / 0.99
        >>> print(Straight().alpha(0.5), Straight().t_of_log_snr(Straight().log_snr(0.5)))
        0.505 0.5
    """

    def __check_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def alpha(self, t: ArrayLike) -> jax.Array:
        """Factor of the signal at time `t` in [0, 1].

        Example:
            >>> from motes.diffusion import RectifiedFlow
            >>> print(RectifiedFlow().alpha(jnp.array([0.0, 0.5, 1.0])).round(3))
            [1. 0.505 0.01 ]
        """

    @abstractmethod
    def sigma(self, t: ArrayLike) -> jax.Array:
        """Standard deviation of the noise at time `t` in [0, 1]; 0 at t = 0.

        Example:
            >>> from motes.diffusion import RectifiedFlow
            >>> print(RectifiedFlow().sigma(jnp.array([0.0, 0.5, 1.0])).round(3))
            [0. 0.495 0.99]
        """

    @abstractmethod
    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        """The time in [0, 1] at which log(alpha_t^2 / sigma_t^2) equals `log_snr`.

        Example:
            >>> from motes.diffusion import RectifiedFlow
            >>> print(RectifiedFlow().t_of_log_snr(0.0).round(3))  # as much noise as signal
            0.505
        """

    def log_snr(self, t: ArrayLike) -> jax.Array:
        """log(alpha_t^2 / sigma_t^2), in nats; falls from +inf at t = 0.

        Example:
            >>> from motes.diffusion import VarianceExploding
            >>> print(VarianceExploding(sigma_max=10.0).log_snr(1.0).round(3))  # log 1 / 10^2
            -4.605
        """
        return 2 * (jnp.log(self.alpha(t)) - jnp.log(self.sigma(t)))

    def rates(self, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """alpha_t' and sigma_t', the derivatives in t. Where variance is preserved sigma_t' is infinite at t = 0.

        Example:
            >>> from motes.diffusion import RectifiedFlow
            >>> alpha_rate, sigma_rate = RectifiedFlow().rates(0.3)
            >>> print(alpha_rate.round(3), sigma_rate.round(3))
            -0.99 0.99
        """
        t = jnp.asarray(t, float)
        _, slopes = jax.jvp(lambda t: (self.alpha(t), self.sigma(t)), (t,), (jnp.ones_like(t),))
        return slopes

    @property
    def prior_std(self) -> jax.Array:
        """Standard deviation of x_1 for data of unit variance: a sampler starts from N(0, prior_std^2 I)."""
        return jnp.sqrt(self.alpha(1.0) ** 2 + self.sigma(1.0) ** 2)


HALVINGS = 32  # t to 2e-10


def t_by_halving(schedule: Schedule, log_snr: ArrayLike) -> jax.Array:
    """The time in [0, 1] at which the log-SNR of a schedule is `log_snr`, found numerically."""
    target = jnp.asarray(log_snr, float)

    def halve(_: jax.Array, bracket: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        early, late = bracket
        middle = (early + late) / 2
        too_early = schedule.log_snr(middle) > target
        return jnp.where(too_early, middle, early), jnp.where(too_early, late, middle)

    early, late = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.zeros_like(target), jnp.ones_like(target)))
    t = (early + late) / 2
    # Newton's steps in log t: the last digits, and a derivative. Where sigma_t is a power of t, one is exact.
    for _ in range(2):
        now, slope = jax.jvp(schedule.log_snr, (t,), (t,))  # d/d log t
        better = t * jnp.exp((target - now) / slope)
        t = jnp.minimum(jnp.where(jnp.isnan(better), t, better), 1)
    return t
