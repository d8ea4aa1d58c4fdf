"""Noise schedules: the amounts of signal and noise at time t.

    x_t = alpha_t x_0 + sigma_t eps,    eps ~ N(0, I)

A schedule defines alpha_t and sigma_t at any t: as a formula in t, by a table of T betas, or as a curve through given
points.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.ranges import Checked, CheckedModule, number

Table = NDArray[np.float64]

HALVINGS = 32  # bisection steps; they find t to 2e-10


class Schedule(CheckedModule):
    """Base class of noise schedules; a subclass defines `alpha`, which starts at 1, and `sigma`, which starts at 0.

    Raises:
        ValueError: a field declared by `motes.ranges.number` is out of its range.

    Example:
        >>> from motes.points import Schedule
        >>> class Straight(Schedule):
        ...     def alpha(self, t):
        ...         return 1 - 0.99 * jnp.asarray(t, float)
        ...     def sigma(self, t):
        ...         return 0.99 * jnp.asarray(t, float)
        >>> print(Straight().alpha(0.5), Straight().t_of_log_snr(Straight().log_snr(0.5)))
        0.505 0.5
    """

    @abstractmethod
    def alpha(self, t: ArrayLike) -> Array:
        """Return the factor of the signal at time `t` in [0, 1].

        Example:
            >>> from motes.points import RectifiedFlow
            >>> print(RectifiedFlow().alpha(jnp.array([0.0, 0.5, 1.0])).round(3))
            [1. 0.505 0.01 ]
        """

    @abstractmethod
    def sigma(self, t: ArrayLike) -> Array:
        """Return the standard deviation of the noise at time `t` in [0, 1]; 0 at t = 0.

        Example:
            >>> from motes.points import RectifiedFlow
            >>> print(RectifiedFlow().sigma(jnp.array([0.0, 0.5, 1.0])).round(3))
            [0. 0.495 0.99]
        """

    def t_of_log_snr(self, log_snr: ArrayLike) -> Array:
        """Return the time in [0, 1] at which log(alpha_t^2 / sigma_t^2) equals `log_snr`; numerically by default.

        Example:
            >>> from motes.points import RectifiedFlow
            >>> print(RectifiedFlow().t_of_log_snr(0.0).round(3))  # as much noise as signal
            0.505
        """
        target = jnp.asarray(log_snr, float)

        def halve(_: Array, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
            early, late = bracket
            middle = (early + late) / 2
            too_early = self.log_snr(middle) > target
            return jnp.where(too_early, middle, early), jnp.where(too_early, late, middle)

        early, late = jax.lax.fori_loop(0, HALVINGS, halve, (jnp.zeros_like(target), jnp.ones_like(target)))
        t = (early + late) / 2
        # Newton steps in log t for the last digits and a derivative. One step is exact if sigma_t is a power of t.
        for _ in range(2):
            now, slope = jax.jvp(self.log_snr, (t,), (t,))  # d/d log t
            better = t * jnp.exp((target - now) / slope)
            t = jnp.minimum(jnp.where(jnp.isnan(better), t, better), 1)
        return t

    def log_snr(self, t: ArrayLike) -> Array:
        """Return log(alpha_t^2 / sigma_t^2), in nats; it falls from +inf at t = 0.

        Example:
            >>> from motes.points import VarianceExploding
            >>> print(VarianceExploding(sigma_max=10.0).log_snr(1.0).round(3))  # log 1 / 10^2
            -4.605
        """
        return 2 * (jnp.log(self.alpha(t)) - jnp.log(self.sigma(t)))

    def rates(self, t: ArrayLike) -> tuple[Array, Array]:
        """Return the derivatives alpha_t' and sigma_t'. If variance is preserved, sigma_t' is infinite at t = 0.

        Example:
            >>> from motes.points import RectifiedFlow
            >>> alpha_rate, sigma_rate = RectifiedFlow().rates(0.3)
            >>> print(alpha_rate.round(3), sigma_rate.round(3))
            -0.99 0.99
        """
        t = jnp.asarray(t, float)
        _, slopes = jax.jvp(lambda t: (self.alpha(t), self.sigma(t)), (t,), (jnp.ones_like(t),))
        return slopes

    @property
    def prior_std(self) -> Array:
        """Standard deviation of x_1 for data of unit variance: a sampler starts from N(0, prior_std^2 I)."""
        return jnp.sqrt(self.alpha(1.0) ** 2 + self.sigma(1.0) ** 2)


# --- Schedules without steps: alpha_t and sigma_t are formulas in t -------------------------------------------------
#
#     x_t = alpha_t x_0 + sigma_t eps,    t in [0, 1]
#
# `LinearVP` (Song et al. 2021), `CosineVP` and `RectifiedFlow` (Liu et al. 2022) end slightly before pure noise, so
# that alpha_1 > 0 and the log-SNR is finite at t = 1. Near t = 1 they are computed from 1 - t, which is exact in
# floating point, so that a small alpha_t keeps its digits. `VarianceExploding` keeps alpha_t = 1 while sigma_t grows
# (Karras et al. 2022).


SIGNALS = 1e-30, 0.999999  # range of alpha_1 that float32 distinguishes from 0 and 1


class LinearVP(Schedule):
    """A schedule with the noise rate beta(t) = beta_min + t (beta_max - beta_min); alpha_t^2 + sigma_t^2 = 1.

    -log alpha_t^2 = beta_min t + (beta_max - beta_min) t^2 / 2 (Song et al. 2021, eq. 32 and 33). It is the limit of
    the linear betas of Ho et al. 2020 for many steps.

    Args:
        beta_min, beta_max: rates at t = 0 and t = 1.

    Raises:
        ValueError: rates that are not finite numbers above 0, or whose alpha_1 is 0 in float32.

    Example:
        >>> from motes.points.schedules import LinearVP
        >>> schedule = LinearVP()
        >>> print(schedule.alpha(jnp.array([0.0, 0.5, 1.0])).round(4))
        [1. 0.2812 0.0066]
    """

    beta_min: float = number(0.1, 0, 1e4, open_low=True)
    beta_max: float = number(20.0, 0, 1e4, open_low=True)

    def __check_init__(self) -> None:
        if 2 * 80 < self._integrated_beta < math.inf:
            raise ValueError(
                f"beta_min = {self.beta_min:g}, beta_max = {self.beta_max:g} leave alpha_1 = "
                f"exp(-{self._integrated_beta / 2:.0f}) of the signal, which is 0 in float32. Use smaller ones: "
                "exp(-5) is small enough."
            )

    @property
    def _integrated_beta(self) -> float:
        return (self.beta_min + self.beta_max) / 2

    def _integrated_beta_at(self, t: ArrayLike) -> Array:
        t = jnp.asarray(t, float)
        return t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

    def alpha(self, t: ArrayLike) -> Array:
        return jnp.exp(-self._integrated_beta_at(t) / 2)

    def sigma(self, t: ArrayLike) -> Array:
        return jnp.sqrt(-jnp.expm1(-self._integrated_beta_at(t)))

    def t_of_log_snr(self, log_snr: ArrayLike) -> Array:
        # alpha^2 = 1 / (1 + exp(-log_snr)), so the integrated beta is a softplus; t is the root of a quadratic, written
        # without cancellation.
        integrated_beta = jnp.minimum(jax.nn.softplus(-jnp.asarray(log_snr, float)), self._integrated_beta)
        root = jnp.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integrated_beta)
        t = jnp.minimum(2 * integrated_beta / (self.beta_min + root), 1.0)
        return jnp.where(integrated_beta < self._integrated_beta, t, 1.0)


class CosineVP(Schedule):
    """A schedule with alpha_t = cos(theta t) and sigma_t = sin(theta t), theta slightly below pi/2.

    The log-SNR is -2 log tan(theta t). Except for an offset, the schedule is the limit of the cosine betas of Nichol &
    Dhariwal 2021 for many steps.

    Args:
        alpha_1: factor of the signal at t = 1, from 1e-30 to 0.999999; 0.01 is nearly pure noise.

    Raises:
        ValueError: alpha_1 out of its range.

    Example:
        >>> from motes.points.schedules import CosineVP
        >>> schedule = CosineVP()
        >>> print((schedule.alpha(0.3) ** 2 + schedule.sigma(0.3) ** 2).round(4), schedule.alpha(1.0).round(4))
        1.0 0.01
    """

    alpha_1: float = number(0.01, *SIGNALS)

    @property
    def _theta(self) -> float:
        return math.acos(self.alpha_1)

    def alpha(self, t: ArrayLike) -> Array:
        return jnp.sin(math.asin(self.alpha_1) + self._theta * (1 - jnp.asarray(t, float)))

    def sigma(self, t: ArrayLike) -> Array:
        return jnp.sin(self._theta * jnp.asarray(t, float))

    def t_of_log_snr(self, log_snr: ArrayLike) -> Array:
        return jnp.clip(jnp.arctan(jnp.exp(-jnp.asarray(log_snr, float) / 2)) / self._theta, 0, 1)


class RectifiedFlow(Schedule):
    """A schedule of straight lines from data to noise: alpha_t = 1 - t, sigma_t = t, t rescaled to end at alpha_1.

    See Liu et al. 2022, eq. 1, and Lipman et al. 2023, eq. 22, who swap data and noise.

    Args:
        alpha_1: factor of the signal at t = 1, from 1e-30 to 0.999999; 0.01 is nearly pure noise.

    Raises:
        ValueError: alpha_1 out of its range.

    Example:
        >>> from motes.points import RectifiedFlow
        >>> schedule = RectifiedFlow()
        >>> print(schedule.alpha(0.5).round(3), schedule.sigma(0.5).round(3))
        0.505 0.495
    """

    alpha_1: float = number(0.01, *SIGNALS)

    def alpha(self, t: ArrayLike) -> Array:
        t = jnp.asarray(t, float)
        return (1 - t) + self.alpha_1 * t

    def sigma(self, t: ArrayLike) -> Array:
        return (1 - self.alpha_1) * jnp.asarray(t, float)

    def t_of_log_snr(self, log_snr: ArrayLike) -> Array:
        return jnp.clip(jax.nn.sigmoid(-jnp.asarray(log_snr, float) / 2) / (1 - self.alpha_1), 0, 1)


class VarianceExploding(Schedule):
    """A schedule with alpha_t = 1 and sigma_t = sigma_max * t^rho.

    Uniform steps in t give the grid of Karras et al. 2022 (eq. 5), extended to 0.

    Args:
        sigma_max: noise at t = 1, in units of the (standardised) data.
        rho: larger values give more steps near the data.

    Raises:
        ValueError: numbers that are not finite and above 0.

    Example:
        >>> from motes.points import VarianceExploding
        >>> schedule = VarianceExploding(sigma_max=80.0)
        >>> print(schedule.alpha(1.0), schedule.sigma(jnp.array([0.0, 0.5, 1.0])).round(3))
        1.0 [ 0.     0.625 80.   ]
    """

    sigma_max: float = number(10.0, 0, 1e9, open_low=True)
    rho: float = number(7.0, 0, 1000, open_low=True)

    def alpha(self, t: ArrayLike) -> Array:
        return jnp.ones_like(t, dtype=float)

    def sigma(self, t: ArrayLike) -> Array:
        return self.sigma_max * jnp.asarray(t, float) ** self.rho

    def t_of_log_snr(self, log_snr: ArrayLike) -> Array:
        return jnp.clip((jnp.exp(-jnp.asarray(log_snr) / 2) / self.sigma_max) ** (1 / self.rho), 0, 1)


# --- Variance-preserving schedules with T steps, from a table of betas (Ho et al. 2020) -----------------------------
#
#     alpha_t^2 = product of (1 - beta_i) for i <= k,    sigma_t^2 = 1 - alpha_t^2
#
# after step k = 0 ... T-1, at t = (k+1)/T. The betas, one per step, are float64 (T,).


@dataclass(frozen=True)
class Betas(Checked, ABC):
    """Base class of the betas of a discrete schedule.

    Example:
        >>> from motes.points import LinearBetas
        >>> LinearBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.1, 0.2, 0.3, 0.4]
    """

    steps: int = number(100, 1, 100_000)

    @property
    @abstractmethod
    def betas(self) -> Table:
        """The variances beta_k, float64 (T,)."""

    def schedule(self) -> DiscreteVP:
        """Return the schedule with these betas.

        Raises:
            ValueError: the final alpha is 0 in float32.

        Example:
            >>> from motes.points import LinearBetas
            >>> LinearBetas(steps=4, start=0.1, end=0.4).schedule().alphas_bar.round(3).tolist()
            [0.9, 0.72, 0.504, 0.302]
        """
        return DiscreteVP(self.betas)


@dataclass(frozen=True)
class BetasBetween(Betas, ABC):
    """Betas that rise from `start` to `end`."""

    start: float = number(1e-4, 0, 0.999999, open_low=True)
    end: float = number(0.1, 0, 0.999999, open_low=True)


class LinearBetas(BetasBetween):
    """Betas equally spaced from `start` to `end`.

    Example:
        >>> from motes.points import LinearBetas
        >>> LinearBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.1, 0.2, 0.3, 0.4]
    """

    @property
    def betas(self) -> Table:
        return np.linspace(self.start, self.end, self.steps)


class QuadBetas(BetasBetween):
    """Betas whose square roots are equally spaced from sqrt(`start`) to sqrt(`end`).

    Example:
        >>> from motes.points.schedules import QuadBetas
        >>> QuadBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.1, 0.178, 0.278, 0.4]
    """

    @property
    def betas(self) -> Table:
        return np.linspace(self.start**0.5, self.end**0.5, self.steps) ** 2


class SigmoidBetas(BetasBetween):
    """Betas on a logistic curve over [-6, 6], from near `start` to near `end`; neither is reached exactly.

    Example:
        >>> from motes.points.schedules import SigmoidBetas
        >>> SigmoidBetas(steps=4, start=0.1, end=0.4).betas.round(3).tolist()
        [0.101, 0.136, 0.364, 0.399]
    """

    @property
    def betas(self) -> Table:
        return 1 / (1 + np.exp(-np.linspace(-6, 6, self.steps))) * (self.end - self.start) + self.start


@dataclass(frozen=True)
class CosineBetas(Betas):
    """Betas with alpha-bar(t) = f(t) / f(0), f(t) = cos^2((t + offset) / (1 + offset) * pi/2).

    See Nichol & Dhariwal 2021, eq. 17.

    Example:
        >>> from motes.points.schedules import CosineBetas
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
    """A variance-preserving schedule with T steps, alpha_t^2 + sigma_t^2 = 1, defined by its betas.

    Every table has one entry per step k, in float64 (T,). Within a step, noise is added at a constant rate, so that
    alpha and sigma are exact at t = k/T and defined at any t.

    Args:
        betas: (T,), each in (0, 1).

    Raises:
        ValueError: betas that are not T >= 1 numbers in (0, 1), or whose final alpha is 0 in float32.

    Example:
        >>> from motes.points import DiscreteVP
        >>> schedule = DiscreteVP([0.1, 0.2, 0.3, 0.4])
        >>> schedule.steps, schedule.alphas_bar.round(4).tolist()
        (4, [0.9, 0.72, 0.504, 0.3024])
        >>> print((schedule.alpha(0.5) ** 2).round(4))  # after two of four steps
        0.72
    """

    _betas: tuple[float, ...] = eqx.field(static=True)  # a hashable tuple, as static fields must be

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
                "Use fewer steps or smaller betas: exp(-5) is small enough."
            )
        self._betas = tuple(table.tolist())

    def __repr__(self) -> str:
        return f"DiscreteVP({self.steps:,} steps, betas from {self._betas[0]:g} to {self._betas[-1]:g})"

    @property
    def steps(self) -> int:
        """Number of steps T."""
        return len(self._betas)

    def t_of_step(self, k: ArrayLike) -> Array:
        """Return (k+1)/T, the time after step k = 0 ... T-1.

        Example:
            >>> from motes.points import DiscreteVP
            >>> print(DiscreteVP([0.1, 0.2, 0.3, 0.4]).t_of_step(jnp.arange(4)))
            [0.25 0.5 0.75 1.  ]
        """
        return (jnp.asarray(k) + 1) / self.steps

    # -log alpha_t^2 at t = 0, 1/T, ..., 1, (T+1,). Sums of log1p are exact in the first steps, where 1 - alpha_t^2 is
    # tiny.
    @property
    def _integrated_beta(self) -> Table:
        return np.concatenate([[0.0], -np.cumsum(np.log1p(-self.betas))])

    def _integrated_beta_at(self, t: ArrayLike) -> Array:
        knots = jnp.asarray(self._integrated_beta)
        place = jnp.clip(jnp.asarray(t, knots.dtype), 0, 1) * self.steps
        k = jnp.minimum(place.astype(int), self.steps - 1)
        return knots[k] + (place - k) * (knots[k + 1] - knots[k])

    def alpha(self, t: ArrayLike) -> Array:
        return jnp.exp(-self._integrated_beta_at(t) / 2)

    def sigma(self, t: ArrayLike) -> Array:
        return jnp.sqrt(-jnp.expm1(-self._integrated_beta_at(t)))

    def rates(self, t: ArrayLike) -> tuple[Array, Array]:
        # At a step these are the rates just after it, at t = 1 just before it, where autodiff of the clip would halve
        # them.
        rate = jnp.asarray(np.diff(self._integrated_beta) * self.steps)  # of the integrated beta, within each step
        k = jnp.clip((jnp.asarray(t, rate.dtype) * self.steps).astype(int), 0, self.steps - 1)
        alpha, sigma = self.alpha(t), self.sigma(t)
        return -alpha * rate[k] / 2, alpha**2 * rate[k] / (2 * sigma)

    def t_of_log_snr(self, log_snr: ArrayLike) -> Array:
        # alpha^2 = 1 / (1 + exp(-log_snr)), so the integrated beta is a softplus of -log_snr.
        knots = jnp.asarray(self._integrated_beta)
        integrated_beta = jax.nn.softplus(-jnp.asarray(log_snr, knots.dtype))
        return jnp.interp(integrated_beta, knots, jnp.linspace(0, 1, self.steps + 1))

    @property
    def betas(self) -> Table:
        """The variances beta_k that the steps add, (T,)."""
        return np.array(self._betas)

    @property
    def alphas_bar(self) -> Table:
        """The products of (1 - beta_i) for i <= k, equal to alpha_t^2, (T,)."""
        return np.exp(-self._integrated_beta[1:])


# --- A schedule through given points --------------------------------------------------------------------------------
#
#     alpha(k/K) = a_k,    sigma(k/K) = s_k,    k = 1 ... K;    alpha(0) = 1, sigma(0) = 0
#
# Between two points each curve is a monotone cubic (Fritsch & Carlson 1980). So the log-SNR falls wherever it falls
# from point to point, and both curves have a continuous slope.


KNOT_LEAST, KNOT_MOST = 1e-3, 1e3  # range of values: near 0, a sum of cubics loses its digits in float32
FEWEST_KNOTS, MOST_KNOTS = 2, 64


class KnotSchedule(Schedule):
    """A schedule that interpolates alpha_t and sigma_t between their values at t = 1/K, 2/K, ..., 1.

    Args:
        alphas: alpha at these times, K numbers that start at 1 or below, never rise, and stay at 0.001 or above.
        sigmas: sigma at these times, K numbers that rise from above 0 to at most 1000.

    Raises:
        ValueError: other numbers, or different numbers of alphas and sigmas, 2 to 64 of each.

    Example:
        >>> from motes.points.schedules import KnotSchedule
        >>> schedule = KnotSchedule(alphas=(0.9, 0.4, 0.05), sigmas=(0.3, 0.8, 1.0))
        >>> print(schedule.alpha(1 / 3).round(3), schedule.sigma(1.0).round(3))
        0.9 1.0
    """

    alphas: tuple[float, ...] = eqx.field(static=True, default=(0.92, 0.71, 0.39, 0.01))
    sigmas: tuple[float, ...] = eqx.field(static=True, default=(0.38, 0.71, 0.92, 1.0))

    def __check_init__(self) -> None:
        if not FEWEST_KNOTS <= len(self.alphas) == len(self.sigmas) <= MOST_KNOTS:
            raise ValueError(
                f"got {len(self.alphas)} alphas and {len(self.sigmas)} sigmas; expected the same number of both, "
                f"{FEWEST_KNOTS} to {MOST_KNOTS}."
            )
        if not (np.diff([1.0, *self.alphas]) <= 0).all() or self.alphas[-1] < KNOT_LEAST:
            raise ValueError(f"alphas = {self.alphas}; expected numbers from 1 down to {KNOT_LEAST:g} that never rise.")
        if not (np.diff([0.0, *self.sigmas]) > 0).all() or self.sigmas[-1] > KNOT_MOST:
            raise ValueError(f"sigmas = {self.sigmas}; expected rising numbers above 0 and up to {KNOT_MOST:g}.")

    def alpha(self, t: ArrayLike) -> Array:
        return _interpolate((1.0, *self.alphas), t)

    def sigma(self, t: ArrayLike) -> Array:
        return _interpolate((0.0, *self.sigmas), t)


def _interpolate(values: tuple[float, ...], t: ArrayLike) -> Array:
    """Evaluate the monotone cubic through `values` at t = 0, 1/K, ..., 1."""
    knots = len(values) - 1
    y, slopes = jnp.asarray(values, float), jnp.asarray(_slopes(values), float)
    place = jnp.asarray(t, float) * knots
    k = jnp.clip(place.astype(int), 0, knots - 1)
    s, rest = place - k, k + 1 - place  # s + rest = 1; as two differences each keeps its digits near 0
    blend = (1 + 2 * s) * rest**2 * y[k] + (1 + 2 * rest) * s**2 * y[k + 1]
    return blend + s * rest * (rest * slopes[k] - s * slopes[k + 1])


@cache
def _slopes(values: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the slope at each knot, per knot spacing."""
    from scipy.interpolate import PchipInterpolator

    places, rises = np.arange(len(values), dtype=float), np.diff(values)
    slopes = np.array(PchipInterpolator(places, values).derivative()(places))
    # At the ends the slopes may be 0, but noise must be added at any time: velocity predictors divide by the slope.
    for end in (0, -1):
        if abs(slopes[end]) < abs(rises[end]) / 3:
            slopes[end] = rises[end] / 3
    return slopes
