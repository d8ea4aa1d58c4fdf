"""The prior of points that are conditioned on something, in the units of the network: normal and uniform columns.

    z ~ N(mean, covariance),    or column by column z_j ~ U(low, high) + N(0, s^2 (high - low)^2)

A normal prior is one there, and so is a log-normal one with its lower bound. A uniform one with both of its bounds is
uniform there, with smooth edges (`motes.data._edges`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._edges import shares

Array = NDArray[np.float64]

Interval = tuple[float, float]

AWAY = 0.03  # the distance between distribution functions, from which a column has another distribution
SURE = 1.95  # that distance times the root of the rows, from which it is no chance: of such rows 1 in 1,000
TOGETHER = 0.1  # the correlation, from which two columns are not independent
SURE_TOGETHER = 4.0  # that correlation times the root of the rows, from which it is no chance


@dataclass(frozen=True)
class Prior:
    """The moments of points in the units of the network.

    Attributes:
        mean: (d,).
        covariance: (d, d).
        intervals: low and high of each column that is uniform, independently of the others; None of other columns.
        odd: the columns that are neither uniform nor normal.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    intervals: tuple[Interval | None, ...]
    odd: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        z: Array,
        columns: Sequence[str],
        weights: Array | None = None,
        intervals: Sequence[Interval | None] | None = None,
    ) -> Prior:
        """That of rows z (n, d), which count by `weights` (n,), or once each.

        `intervals` are the bounds of the columns that have both (`Standardiser.intervals`).
        """
        share = np.full(len(z), 1 / len(z)) if weights is None else weights / weights.sum()
        mean = share @ z
        away = z - mean
        covariance = (away * share[:, None]).T @ away
        alone = _independent(covariance, share)
        found: list[Interval | None] = []
        odd = []
        for j, (name, ends) in enumerate(zip(columns, intervals or [None] * len(columns), strict=True)):
            uniform = ends is not None and alone[j] and not _differs(z[:, j], share, ends)
            found.append(ends if uniform else None)
            if not uniform and _differs(z[:, j], share):
                odd.append(name)
        return cls(tuple(mean.tolist()), tuple(map(tuple, covariance.tolist())), tuple(found), tuple(odd))

    @property
    def uniform(self) -> NDArray[np.bool_]:
        """Whether each column is uniform, (d,)."""
        return np.array([ends is not None for ends in self.intervals], bool)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Prior:
        """What `to_dict` gave."""
        intervals = (None if ends is None else (ends[0], ends[1]) for ends in values["intervals"])
        covariance = tuple(map(tuple, values["covariance"]))
        return cls(tuple(values["mean"]), covariance, tuple(intervals), tuple(values["odd"]))


def _differs(column: Array, share: Array, ends: Interval | None = None) -> bool:
    """Whether a column (n,), whose rows have these shares, is clearly not uniform between `ends`, or not normal.

    By Kolmogorov's distance.
    """
    from scipy.special import ndtr

    order = np.argsort(column)
    after = np.cumsum(share[order])
    if ends is None:
        mean = share @ column
        expected = ndtr((column[order] - mean) / np.sqrt(share @ (column - mean) ** 2))
    else:
        expected = shares((column[order] - ends[0]) / (ends[1] - ends[0]))[0]
    distance = max(np.abs(expected - after).max(), np.abs(expected - after + share[order]).max())
    return bool(distance > max(AWAY, SURE * np.sqrt((share**2).sum())))


def _independent(covariance: Array, share: Array) -> NDArray[np.bool_]:
    """Whether each column has no clear correlation with any other, (d,), where the rows have these shares."""
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation) - np.eye(len(covariance))
    least = max(TOGETHER, SURE_TOGETHER * float(np.sqrt((share**2).sum())))
    return np.asarray((np.abs(correlation) < least).all(axis=1))
