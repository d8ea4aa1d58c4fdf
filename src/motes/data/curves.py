"""Increasing maps of a column's numbers to a line on which they are nearly normal, found by maximum likelihood.

    y = (g(u) - mean) / scale,    u = (x - centre) / unit

g is the identity, the power transform of Yeo & Johnson (Biometrika 87, 2000, eq. 3.1) or asinh. All three map the whole
line onto itself, so that a number beyond those of the training has a place too.
"""

import abc
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

POINTS = 2000  # quantiles that a curve is fitted to
GAIN = 0.05  # nats per row that a curve must gain over a straight line, beside the price of its parameter
STRAIGHT = (0.8, 1.2)  # exponents that are as good as 1
FAR = 1e150  # the end of the line: the square is still a float


@dataclass(frozen=True)
class Transform(abc.ABC):
    """x -> y, increasing."""

    centre: float
    unit: float
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (self.unit > 0 and self.scale > 0):
            raise ValueError(f"unit = {self.unit}, scale = {self.scale}; expected numbers above 0.")

    @abc.abstractmethod
    def g(self, u: Array) -> Array:
        """The curve itself."""

    @abc.abstractmethod
    def inverse_g(self, v: Array) -> Array:
        """g(u) -> u."""

    @abc.abstractmethod
    def log_slope_g(self, u: Array) -> Array:
        """log g'(u)."""

    def forward(self, x: Any) -> Array:
        """x -> y; infinite x stays infinite."""
        x = np.asarray(x, np.float64)
        with np.errstate(over="ignore"):
            y = (self.g((x - self.centre) / self.unit) - self.mean) / self.scale
        return np.where(np.isinf(x), x, np.clip(y, -FAR, FAR))

    def inverse(self, y: Array) -> Array:
        """y -> x."""
        with np.errstate(over="ignore"):
            x = self.inverse_g(np.asarray(y, np.float64) * self.scale + self.mean) * self.unit + self.centre
        return np.clip(x, -np.finfo(np.float64).max, np.finfo(np.float64).max)

    def log_slope(self, x: Array) -> Array:
        """log |dy/dx|."""
        return self.log_slope_g((x - self.centre) / self.unit) - np.log(self.unit) - np.log(self.scale)

    @property
    @abc.abstractmethod
    def word(self) -> str:
        """What messages call it."""


@dataclass(frozen=True)
class Straight(Transform):
    """g(u) = u."""

    word = ""

    def g(self, u: Array) -> Array:
        return u

    def inverse_g(self, v: Array) -> Array:
        return v

    def log_slope_g(self, u: Array) -> Array:
        return np.zeros_like(u)


@dataclass(frozen=True)
class Power(Transform):
    """((1 + u)^a - 1) / a for u >= 0, and -((1 - u)^(2-a) - 1) / (2-a) below; log1p where the exponent is 0.

    The exponent a lies in [0, 2]: outside of it one end of the line would be out of reach.
    """

    exponent: float = 1.0

    def g(self, u: Array) -> Array:
        side, far = u >= 0, np.log1p(np.abs(u))
        return np.where(side, _raised(far, self.exponent), -_raised(far, 2 - self.exponent))

    def inverse_g(self, v: Array) -> Array:
        side, far = v >= 0, np.abs(v)
        return np.where(side, _lowered(far, self.exponent), -_lowered(far, 2 - self.exponent))

    def log_slope_g(self, u: Array) -> Array:
        return np.where(u >= 0, self.exponent - 1, 1 - self.exponent) * np.log1p(np.abs(u))

    @property
    def word(self) -> str:
        words = {"0.0": "logarithm", "2.0": "logarithm from above"}
        return words.get(f"{self.exponent:.1f}", f"power {self.exponent:.1f}")


@dataclass(frozen=True)
class Asinh(Transform):
    """g(u) = asinh(u): a logarithm to both sides."""

    word = "asinh"

    def g(self, u: Array) -> Array:
        return np.arcsinh(u)

    def inverse_g(self, v: Array) -> Array:
        return np.sinh(v)

    def log_slope_g(self, u: Array) -> Array:
        return -np.log(np.hypot(1.0, u))


CURVES: dict[str, type] = {curve.__name__: curve for curve in (Straight, Power, Asinh)}


def _raised(log: Array, exponent: float) -> Array:
    """((1 + u)^a - 1) / a from log(1 + u)."""
    return log if exponent == 0 else np.expm1(exponent * log) / exponent


def _lowered(v: Array, exponent: float) -> Array:
    """The inverse: u from ((1 + u)^a - 1) / a."""
    return np.expm1(v) if exponent == 0 else np.expm1(np.log1p(exponent * v) / exponent)


# --- fitting --------------------------------------------------------------------------------------------------------


def standardised(curve: Transform, x: Array, counts: Array) -> Transform:
    """The curve with y of mean 0 and standard deviation 1 over numbers x (m,) with `counts` (m,)."""
    share = counts / counts.sum()
    v = replace(curve, mean=0.0, scale=1.0).forward(x)
    mean = float(share @ v)
    deviation = float(np.sqrt(share @ (v - mean) ** 2))
    return replace(curve, mean=mean, scale=deviation if deviation > 0 else 1.0)


def fit_curve(x: Array, counts: Array, *, half: float = 0.0, zero: float = 0.0, tails: float = 0.0) -> Transform:
    """The curve under which numbers x are most likely normal; a straight one unless another is clearly better.

    Args:
        x: (m,), distinct and rising.
        counts: (m,), how often each occurs.
        half: half the width of the cell that each number stands for; 0: real numbers.
        zero: where numbers that cannot be negative begin.
        tails: nats per row that asinh, which draws in both tails, must gain beyond what any curve must.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        return _fitted(x, counts, half, zero, tails)


def _fitted(x: Array, counts: Array, half: float, zero: float, tails: float) -> Transform:
    rows = counts.sum()
    if half <= 4 * np.spacing(np.abs(x).max()):
        half = 0.0  # cells that are too narrow for floats
    points = _quantiles(x, counts)
    centre = float(np.median(points))
    unit = _spread(points)
    low, high = float(x[0]), float(x[-1])
    below = zero if 0 <= low - zero < unit else low
    best: Transform = Straight(centre, unit)
    best_value = _likelihood(best, points, half) + GAIN + 0.5 * np.log(rows) / rows
    best_value = best_value if np.isfinite(best_value) else -np.inf
    scales = _scales(unit, max(half / 2, 1e-3 * unit))
    from_below, from_above = (
        _scales(unit, max(half / 2, min(1e-3 * unit, _nearest(np.abs(points - end))))) for end in (below, high)
    )
    families: list[tuple[Callable[[float], Transform], tuple[float, float]]] = [
        (lambda a: Power(centre, unit, exponent=float(np.clip(a, 0, 2))), (0.0, 2.0)),
        (lambda s: Power(below, float(np.exp(s)), exponent=0.0), from_below),
        (lambda s: Power(high, float(np.exp(s)), exponent=2.0), from_above),
        (lambda s: Asinh(centre, float(np.exp(s))), scales),
    ]
    for family, ends in families:
        curve, value = _best(family, ends, points, half)
        if isinstance(curve, Power) and STRAIGHT[0] <= curve.exponent <= STRAIGHT[1]:
            continue
        value -= tails if isinstance(curve, Asinh) else 0.0
        if value > best_value:
            best, best_value = curve, value
    return best


def _scales(unit: float, least: float) -> tuple[float, float]:
    """The logarithms of units to choose from."""
    return float(np.log(least)), min(float(np.log(unit) + np.log(10)), 709.0)  # exp(709) is a float


def _nearest(distances: Array) -> float:
    """How far the nearest hundredth of points is from an end."""
    some = distances[distances > 0]
    return float(np.quantile(some, 0.01)) if len(some) else np.inf


def _best(
    family: Callable[[float], Transform], ends: tuple[float, float], x: Array, half: float
) -> tuple[Transform, float]:
    from scipy.optimize import minimize_scalar

    def cost(parameter: float) -> float:
        value = _likelihood(family(parameter), x, half)
        return -value if np.isfinite(value) else 1e300

    found = minimize_scalar(cost, bounds=ends, method="bounded", options={"xatol": 1e-3})
    return family(found.x), -float(found.fun)


def _likelihood(curve: Transform, x: Array, half: float) -> float:
    """Mean log-density of x under a normal distribution of g, up to a constant, at the best mean and deviation."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        v = curve.forward(x)
        if half:
            slopes = np.log((curve.forward(x + half) - curve.forward(x - half)) / (2 * half))
        else:
            slopes = curve.log_slope(x)
        return float(slopes.mean() - np.log(v.std()))


def _quantiles(x: Array, counts: Array) -> Array:
    """Numbers that stand for all rows: both ends, and at most `POINTS` evenly through their ranks."""
    upto = np.cumsum(counts)
    many = int(min(max(np.ceil(upto[-1]), 2), POINTS))
    ranks = (np.arange(many) + 0.5) / many * upto[-1]
    points = x[np.minimum(np.searchsorted(upto, ranks), len(x) - 1)]
    return np.concatenate([x[:1], points, x[-1:]]).astype(np.float64)


def _spread(points: Array) -> float:
    """A standard deviation that a few far numbers do not move."""
    low, high = np.quantile(points, [0.25, 0.75])
    with np.errstate(over="ignore", invalid="ignore"):
        for spread in ((high - low) / 1.35, points.std(), points.max() - points.min()):
            if 0 < spread < np.inf:
                return float(spread)
    return float(np.abs(points).max()) or 1.0
