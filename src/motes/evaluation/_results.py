"""What a metric says: a number and its 95 % interval.

An interval tells the noise that the drawing of the rows gave the number. It does not take away what a finite sample
adds to any distance; the *reference value* shows that: the same figure between two real draws of the same sizes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Z = 1.959963984540054  # a standard normal lies within +-Z with probability 0.95


@dataclass(frozen=True, eq=False)
class Metric(float):
    """A float (so it adds, compares, formats and goes into JSON as `value`) that knows its name and its interval.

    Attributes:
        name: of the metric, as in a table of results.
        value: the number itself.
        low, high: its 95 % interval.
        p_value: of the hypothesis that both sets come from one distribution, for a metric that tests it; else None.

    Example:
        >>> distance = motes.sliced_w2(motes.make_shape("moons", 200), motes.make_shape("moons", 200, seed=1))
        >>> distance.name, distance.low <= distance <= distance.high, distance.p_value
        ('sliced_w2', True, None)
    """

    name: str
    value: float
    low: float
    high: float
    p_value: float | None = None

    def __new__(cls, name: str, value: float, low: float, high: float, p_value: float | None = None) -> Metric:
        return super().__new__(cls, value)

    def __getnewargs__(self) -> tuple[str, float, float, float, float | None]:  # type: ignore[override]
        return self.name, self.value, self.low, self.high, self.p_value  # what copy and pickle call __new__ with

    def to_dict(self) -> dict[str, float | None]:
        """For JSON: the number, its interval and the p-value.

        Example:
            >>> motes.sliced_w2([[0.0, 0.0], [2.0, 2.0]], [[0.0, 0.0], [2.0, 2.0]]).to_dict()
            {'value': 0.0, 'low': 0.0, 'high': 0.0, 'p_value': None}
        """
        return {"value": self.value, "low": self.low, "high": self.high, "p_value": self.p_value}

    def __str__(self) -> str:
        test = "" if self.p_value is None else f", p = {self.p_value:.3g}"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g}{test})"


def corrected(metric: Metric, sigmas: float, neutral: float, differs: bool) -> Metric:
    """A metric with the interval of a test among others, which excludes `neutral` exactly where a difference is found.

    Args:
        metric: with its 95 % interval.
        sigmas: from where on a standard normal number is significant in that test.
        neutral: the value where nothing differs.
        differs: whether the test, which may be an exact one, finds a difference.
    """
    low, high = (metric.value + (end - metric.value) * sigmas / Z for end in (metric.low, metric.high))
    if not differs:
        low, high = min(low, neutral), max(high, neutral)
    elif metric.value > neutral:
        low = max(low, float(np.nextafter(neutral, np.inf)))
    elif metric.value < neutral:
        high = min(high, float(np.nextafter(neutral, -np.inf)))
    return replace(metric, low=float(low), high=float(high))


class Written(Protocol):
    """A result that can be written down."""

    def to_dict(self) -> Mapping[str, Any]:
        """For JSON."""


def optional(one: Written | None) -> dict[str, Any] | None:
    """A result for JSON; None where there is none."""
    return None if one is None else dict(one.to_dict())


@dataclass(frozen=True)
class Row:
    """A metric beside its reference value, that of two real draws."""

    metric: Metric
    reference: Metric


def share(name: str, value: float, variance: float, n: int, p_value: float | None = None) -> Metric:
    """A share of rows with Wilson's interval, for as many rows as would give it this variance; never outside [0, 1].

    Args:
        name, value, p_value: as in `Metric`.
        variance: of the share; where the share is 0 or 1, which have none, `n` rows are counted as independent.
        n: rows.
    """
    spread = value * (1 - value)
    rows = spread / variance if spread > 0 and variance > 0 else n
    centre = (value + Z**2 / (2 * rows)) / (1 + Z**2 / rows)
    half = Z / (1 + Z**2 / rows) * np.sqrt(spread / rows + (Z / (2 * rows)) ** 2)
    low, high = max(min(centre - half, value), 0.0), min(max(centre + half, value), 1.0)
    return Metric(name, float(value), float(low), float(high), p_value)


def root(name: str, square: float, low: float, high: float, p_value: float | None = None) -> Metric:
    """The square root of a square and of its interval, cut at 0."""
    value, low, high = (float(np.sqrt(max(s, 0.0))) for s in (square, low, high))
    return Metric(name, value, low, high, p_value)
