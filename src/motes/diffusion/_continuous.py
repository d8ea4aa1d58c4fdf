"""Schedules without steps: alpha_t and sigma_t are formulas in t, or functions of your own.

    x_t = alpha_t x_0 + sigma_t eps,    t in [0, 1]

`LinearVP` (Song et al. 2021), `CosineVP`, `RectifiedFlow` (Liu et al. 2022), and `FunctionSchedule` for any other. A
schedule that is drawn as points is in `_knots.py`.
Each ends a little short of pure noise, so that alpha_1 > 0 and the log-SNR is finite at t = 1. Near t = 1 they are
written in 1 - t, which floating point knows to the last digit, so that a small alpha_t keeps its own.
`VarianceExploding` keeps alpha_t = 1 and lets sigma_t grow (Karras et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from motes._ranges import number
from motes.diffusion._schedules import Schedule, t_by_halving

Curve = Callable[[jax.Array], ArrayLike]
"""t (any shape) -> alpha_t or sigma_t, of the same shape or a number; written with `jax.numpy`."""


SIGNALS = 1e-30, 0.999999  # of alpha_1: what float32 can tell from 0 and from 1


class LinearVP(Schedule):
    """Noise comes in at the rate beta(t) = beta_min + t (beta_max - beta_min); alpha_t^2 + sigma_t^2 = 1.

    -log alpha_t^2 = beta_min t + (beta_max - beta_min) t^2 / 2 (Song et al. 2021, eq. 32 and 33). It is what the linear
    betas of Ho et al. 2020 become as their steps grow in number.

    Args:
        beta_min, beta_max: rates at t = 0 and t = 1.

    Raises:
        ValueError: rates that are not finite numbers above 0, or that leave no signal that float32 can tell from 0.

    Example:
        >>> from motes.diffusion import LinearVP
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
                f"exp(-{self._integrated_beta / 2:.0f}) of the signal, which is 0 in float32. Smaller ones will do: "
                "exp(-5) is noise already."
            )

    @property
    def _integrated_beta(self) -> float:
        return (self.beta_min + self.beta_max) / 2

    def _integrated_beta_at(self, t: ArrayLike) -> jax.Array:
        t = jnp.asarray(t, float)
        return t * (self.beta_min + t * (self.beta_max - self.beta_min) / 2)

    def alpha(self, t: ArrayLike) -> jax.Array:
        return jnp.exp(-self._integrated_beta_at(t) / 2)

    def sigma(self, t: ArrayLike) -> jax.Array:
        return jnp.sqrt(-jnp.expm1(-self._integrated_beta_at(t)))

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        # alpha^2 = 1 / (1 + exp(-log_snr)), so the integrated beta is a softplus; t is the root of a quadratic, in the
        # form that does not cancel.
        integrated_beta = jnp.minimum(jax.nn.softplus(-jnp.asarray(log_snr, float)), self._integrated_beta)
        root = jnp.sqrt(self.beta_min**2 + 2 * (self.beta_max - self.beta_min) * integrated_beta)
        return jnp.where(
            integrated_beta < self._integrated_beta, jnp.minimum(2 * integrated_beta / (self.beta_min + root), 1.0), 1.0
        )


class CosineVP(Schedule):
    """alpha_t = cos(theta t), sigma_t = sin(theta t), theta a little less than pi/2; log-SNR = -2 log tan(theta t).

    It is what the cosine betas of Nichol & Dhariwal 2021 become as their steps grow in number, but for their offset.

    Args:
        alpha_1: what is left of the signal at t = 1, from 1e-30 to 0.999999; 0.01 is noise already.

    Raises:
        ValueError: another alpha_1.

    Example:
        >>> from motes.diffusion import CosineVP
        >>> schedule = CosineVP()
        >>> print((schedule.alpha(0.3) ** 2 + schedule.sigma(0.3) ** 2).round(4), schedule.alpha(1.0).round(4))
        1.0 0.01
    """

    alpha_1: float = number(0.01, *SIGNALS)

    @property
    def _theta(self) -> float:
        return math.acos(self.alpha_1)

    def alpha(self, t: ArrayLike) -> jax.Array:
        return jnp.sin(math.asin(self.alpha_1) + self._theta * (1 - jnp.asarray(t, float)))

    def sigma(self, t: ArrayLike) -> jax.Array:
        return jnp.sin(self._theta * jnp.asarray(t, float))

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        return jnp.clip(jnp.arctan(jnp.exp(-jnp.asarray(log_snr, float) / 2)) / self._theta, 0, 1)


class RectifiedFlow(Schedule):
    """alpha_t = 1 - t, sigma_t = t, with t stretched so that it ends at alpha_1: straight lines from data to noise.

    Liu et al. 2022, eq. 1; Lipman et al. 2023, eq. 22, with data and noise the other way round.

    Args:
        alpha_1: what is left of the signal at t = 1, from 1e-30 to 0.999999; 0.01 is noise already.

    Raises:
        ValueError: another alpha_1.

    Example:
        >>> from motes.diffusion import RectifiedFlow
        >>> schedule = RectifiedFlow()
        >>> print(schedule.alpha(0.5).round(3), schedule.sigma(0.5).round(3))
        0.505 0.495
    """

    alpha_1: float = number(0.01, *SIGNALS)

    def alpha(self, t: ArrayLike) -> jax.Array:
        t = jnp.asarray(t, float)
        return (1 - t) + self.alpha_1 * t

    def sigma(self, t: ArrayLike) -> jax.Array:
        return (1 - self.alpha_1) * jnp.asarray(t, float)

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        return jnp.clip(jax.nn.sigmoid(-jnp.asarray(log_snr, float) / 2) / (1 - self.alpha_1), 0, 1)


class FunctionSchedule(Schedule):
    """alpha_t and sigma_t from two functions of t; the inverse of their log-SNR is found numerically.

    Args:
        alpha_of: alpha_t, from 1 at t = 0 to above 0 at t = 1.
        sigma_of: sigma_t, from 0 at t = 0.

    Raises:
        ValueError: functions that are not so at t = 0, 1/256, ..., 1, in the precision at hand, or whose log-SNR does
            not fall from each of these times to the next.

    Example:
        >>> from motes.diffusion import FunctionSchedule
        >>> schedule = FunctionSchedule(lambda t: jnp.ones_like(t), lambda t: 50 * t**2)
        >>> print(schedule.t_of_log_snr(schedule.log_snr(0.25)).round(4))
        0.25
    """

    alpha_of: Curve = eqx.field(static=True)
    sigma_of: Curve = eqx.field(static=True)

    def __check_init__(self) -> None:
        t = np.arange(KNOTS + 1) / KNOTS
        with jax.ensure_compile_time_eval():  # inside a program that is being compiled, too
            alpha, sigma, log_snr = (np.asarray(curve(t)) for curve in (self.alpha, self.sigma, self.log_snr))
        _check_all(t, np.isfinite(alpha) & (alpha > 0), "alpha", alpha, "a finite number above 0")
        _check_all(t[1:], np.isfinite(sigma[1:]) & (sigma[1:] > 0), "sigma", sigma[1:], "a finite number above 0")
        if abs(alpha[0] - 1) > 1e-5:
            raise ValueError(f"alpha(0) = {alpha[0]:g}; expected 1, the data as it is. Divide alpha by alpha(0).")
        if sigma[0] != 0:
            raise ValueError(
                f"sigma(0) = {sigma[0]:g}; expected 0 exactly, the data without noise. Subtract sigma(0), or, where it "
                "is rounding, write sigma without a difference of nearly equal numbers."
            )
        falls = np.diff(log_snr) < 0
        _check_all(t[1:], falls, "the log-SNR", log_snr[1:], "less than just before: noise must win all the way")

    def alpha(self, t: ArrayLike) -> jax.Array:
        return _on(self.alpha_of, t)

    def sigma(self, t: ArrayLike) -> jax.Array:
        return _on(self.sigma_of, t)

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        return t_by_halving(self, log_snr)


KNOTS = 256  # times at which functions are checked, t = 0 apart


def _on(curve: Curve, t: ArrayLike) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(curve(jnp.asarray(t, float)), float), jnp.shape(t))


def _check_all(t: np.ndarray, good: np.ndarray, what: str, values: np.ndarray, expected: str) -> None:
    if not good.all():
        first = int(np.argmin(good))
        raise ValueError(f"{what} is {values[first]:g} at t = {t[first]:g}; expected {expected}.")


class VarianceExploding(Schedule):
    """alpha_t = 1 and sigma_t = sigma_max * t^rho: uniform steps in t are Karras et al. 2022's grid (eq. 5) down to 0.

    Args:
        sigma_max: noise at t = 1, in units of the (standardised) data.
        rho: how much the steps bunch up near the data.

    Raises:
        ValueError: numbers that are not finite and above 0.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> schedule = VarianceExploding(sigma_max=80.0)
        >>> print(schedule.alpha(1.0), schedule.sigma(jnp.array([0.0, 0.5, 1.0])).round(3))
        1.0 [ 0.     0.625 80.   ]
    """

    sigma_max: float = number(10.0, 0, 1e9, open_low=True)
    rho: float = number(7.0, 0, 1000, open_low=True)

    def alpha(self, t: ArrayLike) -> jax.Array:
        return jnp.ones_like(t, dtype=float)

    def sigma(self, t: ArrayLike) -> jax.Array:
        return self.sigma_max * jnp.asarray(t, float) ** self.rho

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        return jnp.clip((jnp.exp(-jnp.asarray(log_snr) / 2) / self.sigma_max) ** (1 / self.rho), 0, 1)


SCHEDULES: dict[str, type] = {
    "exploding": VarianceExploding,
    "continuous_linear": LinearVP,
    "continuous_cosine": CosineVP,
    "rectified_flow": RectifiedFlow,
}
"""`[schedule]` of a recipe, beside those of `_discrete.py`."""
