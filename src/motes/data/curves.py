"""Increasing transforms that make the numbers of a column nearly Gaussian, fitted by maximum likelihood.

    y = (g(u) - mean) / scale,    u = (x - centre) / unit

g is the identity, the power transform of Yeo & Johnson (Biometrika 87, 2000, eq. 3.1) or asinh. All three map the real
line onto itself, so that numbers beyond the training range can be transformed too.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from motes.data.arrays import Array

POINTS = 2000  # quantiles to which a curve is fitted
GAIN = 0.05  # nats per row that a curve must gain over the identity, in addition to the penalty of its parameter
STRAIGHT = (0.8, 1.2)  # exponents treated as 1
FAR = 1e150  # the largest y: its square is still a float


@dataclass(frozen=True)
class Transform(abc.ABC):
    """An increasing transform x -> y."""

    centre: float
    unit: float
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.unit > 0 and self.scale > 0):
            raise ValueError(f"unit = {self.unit}, scale = {self.scale}; expected numbers above 0.")

    @abc.abstractmethod
    def g(self, u: Array) -> Array:
        """Apply the curve to u."""

    @abc.abstractmethod
    def inverse_g(self, v: Array) -> Array:
        """Return u from v = g(u)."""

    @abc.abstractmethod
    def log_slope_g(self, u: Array) -> Array:
        """Return log g'(u)."""

    def forward(self, x: Any) -> Array:
        """Map x to y; infinite x stays infinite."""
        x = np.asarray(x, np.float64)
        with np.errstate(over="ignore"):
            y = (self.g((x - self.centre) / self.unit) - self.mean) / self.scale
        return np.where(np.isinf(x), x, np.clip(y, -FAR, FAR))

    def inverse(self, y: Array) -> Array:
        """Map y to x."""
        with np.errstate(over="ignore"):
            x = self.inverse_g(np.asarray(y, np.float64) * self.scale + self.mean) * self.unit + self.centre
        return np.clip(x, -np.finfo(np.float64).max, np.finfo(np.float64).max)

    def log_slope(self, x: Array) -> Array:
        """Return log |dy/dx|."""
        return self.log_slope_g((x - self.centre) / self.unit) - np.log(self.unit) - np.log(self.scale)

    @property
    @abc.abstractmethod
    def word(self) -> str:
        """The name of the curve in messages."""


@dataclass(frozen=True)
class Straight(Transform):
    """The identity, g(u) = u."""

    word = ""

    def g(self, u: Array) -> Array:
        return u

    def inverse_g(self, v: Array) -> Array:
        return v

    def log_slope_g(self, u: Array) -> Array:
        return np.zeros_like(u)


@dataclass(frozen=True)
class Power(Transform):
    """The power transform: ((1 + u)^a - 1) / a for u >= 0, -((1 - u)^(2-a) - 1) / (2-a) below; log1p for exponent 0.

    The exponent a is in [0, 2]; otherwise the transform would not map onto the real line.
    """

    exponent: float = 1.0

    def g(self, u: Array) -> Array:
        side, far = u >= 0, np.log1p(np.abs(u))
        return np.where(side, _box_cox(far, self.exponent), -_box_cox(far, 2 - self.exponent))

    def inverse_g(self, v: Array) -> Array:
        side, far = v >= 0, np.abs(v)
        return np.where(side, _inverse_box_cox(far, self.exponent), -_inverse_box_cox(far, 2 - self.exponent))

    def log_slope_g(self, u: Array) -> Array:
        return np.where(u >= 0, self.exponent - 1, 1 - self.exponent) * np.log1p(np.abs(u))

    @property
    def word(self) -> str:
        words = {"0.0": "logarithm", "2.0": "logarithm from above"}
        return words.get(f"{self.exponent:.1f}", f"power {self.exponent:.1f}")


@dataclass(frozen=True)
class Asinh(Transform):
    """The inverse hyperbolic sine, g(u) = asinh(u): logarithmic in both tails."""

    word = "asinh"

    def g(self, u: Array) -> Array:
        return np.arcsinh(u)

    def inverse_g(self, v: Array) -> Array:
        return np.sinh(v)

    def log_slope_g(self, u: Array) -> Array:
        return -np.log(np.hypot(1.0, u))


CURVES: dict[str, type] = {curve.__name__: curve for curve in (Straight, Power, Asinh)}


def _box_cox(log: Array, exponent: float) -> Array:
    """Return ((1 + u)^a - 1) / a from log(1 + u)."""
    return log if exponent == 0 else np.expm1(exponent * log) / exponent


def _inverse_box_cox(v: Array, exponent: float) -> Array:
    """Return u from v = ((1 + u)^a - 1) / a."""
    return np.expm1(v) if exponent == 0 else np.expm1(np.log1p(exponent * v) / exponent)


# --- fitting --------------------------------------------------------------------------------------------------------


def standardised(curve: Transform, x: Array, counts: Array) -> Transform:
    """Return the curve for which y has mean 0 and standard deviation 1 over numbers x (m,) with `counts` (m,)."""
    share = counts / counts.sum()
    v = replace(curve, mean=0.0, scale=1.0).forward(x)
    mean = float(share @ v)
    deviation = float(np.sqrt(share @ (v - mean) ** 2))
    return replace(curve, mean=mean, scale=deviation if deviation > 0 else 1.0)


@np.errstate(over="ignore", invalid="ignore")
def fit_curve(x: Array, counts: Array, *, half: float = 0.0, zero: float = 0.0, tails: float = 0.0) -> Transform:
    """Fit the curve with the largest likelihood under a Gaussian; the identity unless another is clearly better.

    Args:
        x: distinct increasing numbers (m,).
        counts: the number of rows of each, (m,).
        half: half the width of the interval that each number represents; 0 for real numbers.
        zero: the lower bound of non-negative numbers.
        tails: nats per row that asinh, which compresses both tails, must gain in addition to the gain of any curve.
    """
    rows = counts.sum()
    if half <= 4 * np.spacing(np.abs(x).max()):
        half = 0.0  # the intervals are too narrow for floats
    points = _representative_quantiles(x, counts)
    centre = float(np.median(points))
    unit = _robust_scale(points)
    low, high = float(x[0]), float(x[-1])
    below = zero if 0 <= low - zero < unit else low
    best: Transform = Straight(centre, unit)
    best_value = _likelihood(best, points, half) + GAIN + 0.5 * np.log(rows) / rows
    best_value = best_value if np.isfinite(best_value) else -np.inf
    scales = _unit_range(unit, max(half / 2, 1e-3 * unit))
    least = lambda end: max(half / 2, min(1e-3 * unit, _nearest_distance(np.abs(points - end))))
    from_below, from_above = (_unit_range(unit, least(end)) for end in (below, high))
    families: list[tuple[Callable[[float], Transform], tuple[float, float]]] = [
        (lambda a: Power(centre, unit, exponent=float(np.clip(a, 0, 2))), (0.0, 2.0)),
        (lambda s: Power(below, float(np.exp(s)), exponent=0.0), from_below),
        (lambda s: Power(high, float(np.exp(s)), exponent=2.0), from_above),
        (lambda s: Asinh(centre, float(np.exp(s))), scales),
    ]
    for family, ends in families:
        curve, value = _fit_family(family, ends, points, half)
        if isinstance(curve, Power) and STRAIGHT[0] <= curve.exponent <= STRAIGHT[1]:
            continue
        value -= tails if isinstance(curve, Asinh) else 0.0
        if value > best_value:
            best, best_value = curve, value
    return best


def _unit_range(unit: float, least: float) -> tuple[float, float]:
    """Return the range of the logarithm of the unit."""
    return float(np.log(least)), min(float(np.log(unit) + np.log(10)), 709.0)  # exp(709) is a float


def _nearest_distance(distances: Array) -> float:
    """Return the distance within which the nearest hundredth of the points is to an end."""
    some = distances[distances > 0]
    return float(np.quantile(some, 0.01)) if len(some) else np.inf


def _fit_family(
    family: Callable[[float], Transform], ends: tuple[float, float], x: Array, half: float
) -> tuple[Transform, float]:
    from scipy.optimize import minimize_scalar

    def cost(parameter: float) -> float:
        value = _likelihood(family(parameter), x, half)
        return -value if np.isfinite(value) else 1e300

    found = minimize_scalar(cost, bounds=ends, method="bounded", options={"xatol": 1e-3})
    return family(found.x), -float(found.fun)


def _likelihood(curve: Transform, x: Array, half: float) -> float:
    """Return the mean log-density of x if g(u) is Gaussian with the best mean and scale, up to a constant."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        v = curve.forward(x)
        if half:
            slopes = np.log((curve.forward(x + half) - curve.forward(x - half)) / (2 * half))
        else:
            slopes = curve.log_slope(x)
        return float(slopes.mean() - np.log(v.std()))


def _representative_quantiles(x: Array, counts: Array) -> Array:
    """Return numbers that represent all rows: both ends, and at most `POINTS` evenly spaced quantiles."""
    upto = np.cumsum(counts)
    many = int(min(max(np.ceil(upto[-1]), 2), POINTS))
    ranks = (np.arange(many) + 0.5) / many * upto[-1]
    points = x[np.minimum(np.searchsorted(upto, ranks), len(x) - 1)]
    return np.concatenate([x[:1], points, x[-1:]]).astype(np.float64)


def _robust_scale(points: Array) -> float:
    """Return a robust standard deviation."""
    low, high = np.quantile(points, [0.25, 0.75])
    with np.errstate(over="ignore", invalid="ignore"):
        for spread in ((high - low) / 1.35, points.std(), points.max() - points.min()):
            if 0 < spread < np.inf:
                return float(spread)
    return float(np.abs(points).max()) or 1.0
