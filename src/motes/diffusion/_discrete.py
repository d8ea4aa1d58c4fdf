"""Variance-preserving schedules of T steps, from a table of betas (Ho et al. 2020).

    alpha_t^2 = product of (1 - beta_i) for i <= k,    sigma_t^2 = 1 - alpha_t^2

after step k = 0 ... T-1, at t = (k+1)/T.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes._ranges import Checked, number
from motes.diffusion._schedules import Schedule

Table = NDArray[np.float64]

# --- betas: one per step, float64 (T,) -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Betas(Checked, ABC):
    """The betas of a discrete schedule, and the schedule that they make.

    Example:
        >>> from motes.diffusion import LinearBetas
        >>> LinearBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.1, 0.2, 0.3, 0.4]
    """

    steps: int = number(100, 1, 100_000)

    @property
    @abstractmethod
    def betas(self) -> Table:
        """beta_k, float64 (T,)."""

    def schedule(self) -> DiscreteVP:
        """The schedule of these betas.

        Raises:
            ValueError: they leave no signal that float32 can tell from 0.

        Example:
            >>> from motes.diffusion import LinearBetas
            >>> LinearBetas(steps=4, start=0.1, end=0.4).schedule().alphas_bar.round(3).tolist()
            [0.9, 0.72, 0.504, 0.302]
        """
        return DiscreteVP(self.betas)


@dataclass(frozen=True)
class BetasBetween(Betas, ABC):
    """Betas that rise from `start` to `end`."""

    start: float = number(1e-4, 0, 0.999999, open_low=True)
    end: float = number(0.1, 0, 0.999999, open_low=True)


@dataclass(frozen=True)
class LinearBetas(BetasBetween):
    """Equally spaced from `start` to `end`.

    Example:
        >>> from motes.diffusion import LinearBetas
        >>> LinearBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.1, 0.2, 0.3, 0.4]
    """

    @property
    def betas(self) -> Table:
        return np.linspace(self.start, self.end, self.steps)


@dataclass(frozen=True)
class QuadBetas(BetasBetween):
    """Squares of equally spaced square roots.

    Example:
        >>> from motes.diffusion import QuadBetas
        >>> QuadBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.1, 0.178, 0.278, 0.4]
    """

    @property
    def betas(self) -> Table:
        return np.linspace(self.start**0.5, self.end**0.5, self.steps) ** 2


@dataclass(frozen=True)
class SigmoidBetas(BetasBetween):
    """A logistic curve over [-6, 6], from near `start` to near `end`; neither end is reached.

    Example:
        >>> from motes.diffusion import SigmoidBetas
        >>> SigmoidBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.101, 0.136, 0.364, 0.399]
    """

    @property
    def betas(self) -> Table:
        return 1 / (1 + np.exp(-np.linspace(-6, 6, self.steps))) * (self.end - self.start) + self.start


@dataclass(frozen=True)
class CosineBetas(Betas):
    """alpha-bar(t) = f(t) / f(0), f(t) = cos^2((t + offset) / (1 + offset) * pi/2), Nichol & Dhariwal 2021, eq. 17.

    Example:
        >>> from motes.diffusion import CosineBetas
        >>> CosineBetas(steps=4).betas.round(3).tolist()
        [0.153, 0.417, 0.708, 0.999]
    """

    offset: float = number(0.008, 0, 10)
    max_beta: float = number(0.999, 0, 0.999999, open_low=True)

    @property
    def betas(self) -> Table:
        t = np.arange(self.steps + 1) / self.steps
        f = np.cos((t + self.offset) / (1 + self.offset) * np.pi / 2) ** 2
        return np.minimum(1 - f[1:] / f[:-1], self.max_beta)


class DiscreteVP(Schedule):
    """A variance-preserving schedule of T steps, alpha_t^2 + sigma_t^2 = 1, from its betas.

    Every table has one entry per step k, in float64 (T,). Between the steps alpha_t follows the process that adds
    noise at a constant rate within each step, so that alpha and sigma are exact at t = k/T and defined everywhere.

    Args:
        betas: (T,), each in (0, 1).

    Raises:
        ValueError: betas that are not T >= 1 numbers in (0, 1), or that leave no signal that float32 can tell from 0.

    Example:
        >>> from motes.diffusion import DiscreteVP
        >>> schedule = DiscreteVP([0.1, 0.2, 0.3, 0.4])
        >>> schedule.steps, schedule.alphas_bar.round(4).tolist()
        (4, [0.9, 0.72, 0.504, 0.3024])
        >>> print((schedule.alpha(0.5) ** 2).round(4))  # after two of four steps
        0.72
    """

    _betas: tuple[float, ...] = eqx.field(static=True)  # a tuple, so that compiled programs can be told apart by it

    def __init__(self, betas: ArrayLike):
        table = np.asarray(betas, dtype=np.float64)
        if table.ndim != 1 or len(table) < 1:
            raise ValueError(f"betas have shape {table.shape}; expected (T,) with T >= 1.")
        for k, beta in enumerate(table):
            if not 0 < beta < 1:
                raise ValueError(f"beta at step {k} is {beta:g}; expected a number between 0 and 1.")
        integrated_beta = -np.log1p(-table).sum()
        if integrated_beta > 2 * 80:
            raise ValueError(
                f"these betas leave alpha_T = exp(-{integrated_beta / 2:.0f}) of the signal, which is 0 in float32. "
                "Fewer steps or smaller betas will do: exp(-5) is noise already."
            )
        self._betas = tuple(table.tolist())

    def __repr__(self) -> str:
        return f"DiscreteVP({self.steps:,} steps, betas from {self._betas[0]:g} to {self._betas[-1]:g})"

    @property
    def steps(self) -> int:
        """T."""
        return len(self._betas)

    def t_of_step(self, k: ArrayLike) -> jax.Array:
        """(k+1)/T, the time after step k = 0 ... T-1.

        Example:
            >>> from motes.diffusion import DiscreteVP
            >>> print(DiscreteVP([0.1, 0.2, 0.3, 0.4]).t_of_step(jnp.arange(4)))
            [0.25 0.5 0.75 1.  ]
        """
        return (jnp.asarray(k) + 1) / self.steps

    # How much noise has come in: -log alpha_t^2 at t = 0, 1/T, ..., 1, (T+1,). Sums of log1p keep the first steps,
    # where 1 - alpha_t^2 is tiny, exact to the last digit.
    @property
    def _integrated_beta(self) -> Table:
        return np.concatenate([[0.0], -np.cumsum(np.log1p(-self.betas))])

    def _integrated_beta_at(self, t: ArrayLike) -> jax.Array:
        knots = jnp.asarray(self._integrated_beta)
        place = jnp.clip(jnp.asarray(t, knots.dtype), 0, 1) * self.steps
        k = jnp.minimum(place.astype(int), self.steps - 1)
        return knots[k] + (place - k) * (knots[k + 1] - knots[k])

    def alpha(self, t: ArrayLike) -> jax.Array:
        return jnp.exp(-self._integrated_beta_at(t) / 2)

    def sigma(self, t: ArrayLike) -> jax.Array:
        return jnp.sqrt(-jnp.expm1(-self._integrated_beta_at(t)))

    def rates(self, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
        # At a step they are those just after it, at t = 1 just before: there autodiff of the clip would halve them.
        rate = jnp.asarray(np.diff(self._integrated_beta) * self.steps)  # of the integrated beta, within each step
        k = jnp.clip((jnp.asarray(t, rate.dtype) * self.steps).astype(int), 0, self.steps - 1)
        alpha, sigma = self.alpha(t), self.sigma(t)
        return -alpha * rate[k] / 2, alpha**2 * rate[k] / (2 * sigma)

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        # alpha^2 = 1 / (1 + exp(-log_snr)), so the integrated beta is a softplus of -log_snr.
        knots = jnp.asarray(self._integrated_beta)
        integrated_beta = jax.nn.softplus(-jnp.asarray(log_snr, knots.dtype))
        return jnp.interp(integrated_beta, knots, jnp.linspace(0, 1, self.steps + 1))

    # --- the tables of Ho et al. 2020, section 2 ---

    @property
    def betas(self) -> Table:
        """beta_k, the variance that step k adds."""
        return np.array(self._betas)

    @property
    def alphas_bar(self) -> Table:
        """Product of (1 - beta_i) for i <= k; equal to alpha_t^2."""
        return np.exp(-self._integrated_beta[1:])

    @property
    def alphas_bar_prev(self) -> Table:
        """alphas_bar of the step before, 1 for the first."""
        return np.exp(-self._integrated_beta[:-1])

    @property
    def sqrt_alphas_bar(self) -> Table:
        """alpha_t: the factor of x_0 in x_t."""
        return np.exp(-self._integrated_beta[1:] / 2)

    @property
    def sqrt_one_minus_alphas_bar(self) -> Table:
        """sigma_t: the factor of eps in x_t."""
        return np.sqrt(self._one_minus_alphas_bar)

    @property
    def log_one_minus_alphas_bar(self) -> Table:
        """log sigma_t^2."""
        return np.log(self._one_minus_alphas_bar)

    @property
    def _one_minus_alphas_bar(self) -> Table:
        return -np.expm1(-self._integrated_beta[1:])

    @property
    def posterior_mean_coef_1(self) -> Table:
        """Factor of x_0 in the mean of q(x_{k-1} | x_k, x_0), eq. 7."""
        return self.betas * np.sqrt(self.alphas_bar_prev) / self._one_minus_alphas_bar

    @property
    def posterior_mean_coef_2(self) -> Table:
        """Factor of x_k in the mean of q(x_{k-1} | x_k, x_0), eq. 7."""
        return -np.expm1(-self._integrated_beta[:-1]) * np.sqrt(1 - self.betas) / self._one_minus_alphas_bar

    @property
    def posterior_variance(self) -> Table:
        """Variance of q(x_{k-1} | x_k, x_0), eq. 7; 0 at the first step, where x_0 itself is known."""
        return self.betas * -np.expm1(-self._integrated_beta[:-1]) / self._one_minus_alphas_bar

    @property
    def posterior_log_variance_clipped(self) -> Table:
        """Log of the posterior variance, its first entry (log 0) replaced by the second (for T = 1: log beta_0)."""
        variance = self.posterior_variance
        variance[0] = variance[1] if self.steps > 1 else self.betas[0]
        return np.log(variance)


SCHEDULES: dict[str, type] = {
    "linear": LinearBetas,
    "quad": QuadBetas,
    "sigmoid": SigmoidBetas,
    "cosine": CosineBetas,
}
"""`[schedule]` of a recipe, beside those of `_continuous.py`: each has a method `schedule` that makes a `Schedule`."""
