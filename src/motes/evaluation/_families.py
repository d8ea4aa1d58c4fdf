"""Many tests of one table, and one probability of a false alarm for all of them.

    P(some test is as far out as this one | no difference) = P(some U_i <= u),    U_i = p(Z_i) / w_i,    Z ~ N(0, C)

C holds the correlations of the tests and w_i the weight of test i (Westfall & Young 1993, ch. 2; for normal Z Conneely
& Boehnke 2007). Correlated tests then cost less than Bonferroni's bound, which forgets C. The sections of a report are
joined by Holm's method with weights, which needs no correlations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from motes.evaluation._results import Array

ALPHA = 0.05  # probability of one false alarm or more among all tests of a table
POWER = 0.8  # a difference counts as detectable if the tests find it with this probability
DRAWS = 4999
BLOCK = 500  # draws at a time


@dataclass(frozen=True)
class Adjustment:
    """What turns a p-value within a section into one within the whole table: max(p * factor, least)."""

    factor: float
    least: float

    @property
    def sigmas(self) -> float:
        """From where on a standard normal number is significant, in a one-sided test."""
        return -float(ndtri(ALPHA / self.factor))

    def __call__(self, p_value: float) -> float:
        """The adjusted p-value, to be compared with `ALPHA`."""
        return float(min(max(p_value * self.factor, self.least), 1.0))


def weighted_holm(p_values: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, Adjustment]:
    """Holm's method with weights (Holm 1979, section 4).

    Args:
        p_values: the smallest p-value of each section.
        weights: of these sections and perhaps of others; a section of twice the weight is tested at twice the level.

    Example:
        >>> adjust = weighted_holm({"a": 0.01, "b": 0.5}, {"a": 3.0, "b": 1.0})
        >>> round(adjust["a"](0.01), 4), adjust["b"](0.5)  # 0.01 * 4 / 3, then 0.5 * 1 / 1
        (0.0133, 0.5)
    """
    order = sorted(p_values, key=lambda name: p_values[name] / weights[name])
    left, least, adjustments = sum(weights[name] for name in order), 0.0, {}
    for name in order:
        adjustments[name] = Adjustment(left / weights[name], least)
        least = adjustments[name](p_values[name])
        left -= weights[name]
    return adjustments


@dataclass(frozen=True)
class Family:
    """Contrasts, each standard normal where there is no difference, in tests; `family_of` makes it.

    Attributes:
        test: (c,), the test that each contrast belongs to; a test looks at the largest |z| of its contrasts.
        effective: (c,), how many independent contrasts the test of this contrast is worth.
        weights: (c,), of that test.
        least: (DRAWS,), rising: the smallest weighted p-value of draws without any difference.
    """

    test: NDArray[np.intp]
    effective: Array
    weights: Array
    least: Array

    def p_values(self, z: Array) -> Array:
        """Of contrasts z (c,): the probability that some contrast of the family is as far out, (c,)."""
        count = np.searchsorted(self.least, self._weighted(z) * (1 + 1e-9), side="right")
        return np.asarray((1 + count) / (1 + len(self.least)))

    def critical(self, level: float) -> Array:
        """|z| (c,) from which a contrast is significant at the `level` of the family."""
        place = int(np.floor(level * (1 + len(self.least)))) - 1  # as many draws may be as far out
        weighted = self.least[place] if place >= 0 else self.least[0] * level * (1 + len(self.least))
        p = np.minimum(weighted * self.weights, 1.0)
        return np.asarray(-ndtri(-np.expm1(np.log1p(-np.minimum(p, 1 - 1e-12)) / self.effective) / 2))

    def _weighted(self, z: Array) -> Array:
        return _p_of(np.abs(z), self.effective) / self.weights


def family_of(features: Array, test: Sequence[int], weights: Sequence[float], rng: np.random.Generator) -> Family:
    """The family of contrasts that are differences of means.

    Args:
        features: (n, c), rows of which the contrasts are means; 0 where a row says nothing. A contrast without spread
            among them is taken as independent of all others.
        test: (c,), the test of each contrast, counted from 0.
        weights: (c,), of that test.
        rng: of the draws.
    """
    which, weight = np.asarray(test, np.intp), np.asarray(weights, np.float64)
    size = np.sqrt((features**2).sum(axis=0))
    unit = np.divide(features, size, out=np.zeros(features.shape), where=size > 0).astype(np.float32)
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(which[order]) > 0))
    largest = np.empty((DRAWS, len(starts)))  # |z| of each test
    for begin in range(0, DRAWS, BLOCK):
        rows = slice(begin, min(begin + BLOCK, DRAWS))
        count = rows.stop - rows.start
        z = rng.standard_normal((count, len(unit)), np.float32) @ unit
        z[:, size == 0] = rng.standard_normal((count, int((size == 0).sum())), np.float32)
        largest[rows] = np.maximum.reduceat(np.abs(z[:, order]), starts, axis=1)
    single = np.diff(np.append(starts, len(order))) == 1
    # m such that m independent contrasts have the same 95 % quantile: 0.95 = P(|Z| < z)^m.
    edge = np.quantile(largest, 0.95, axis=0)
    effective = np.where(single, 1.0, np.maximum(np.log(0.95) / np.log1p(-2 * ndtr(-edge)), 1.0))
    least = np.sort((_p_of(largest, effective) / weight[order][starts]).min(axis=1))
    back = np.searchsorted(which[order][starts], which)
    return Family(which, effective[back], weight, least)


def _p_of(z: Array, effective: Array) -> Array:
    """P(the largest of `effective` independent |Z| >= z)."""
    return np.asarray(-np.expm1(effective * np.log1p(-np.minimum(2 * ndtr(-z), 1 - 1e-15))))
