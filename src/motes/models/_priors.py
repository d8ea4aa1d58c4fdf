"""The prior of points that are conditioned on something: a normal distribution, as far as it is one.

    z ~ N(mean, covariance),    in the units of the network

A normal prior is one there, and so is a log-normal one with its lower bound, and a uniform one with both bounds
(`motes.data._supports`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AWAY = 0.03  # the distance between distribution functions, from which a column is not normal
SURE = 1.95  # that distance times the root of the rows, from which it is no chance: of normal rows 1 in 1,000


@dataclass(frozen=True)
class Prior:
    """The moments of points in the units of the network.

    Attributes:
        mean: (d,).
        covariance: (d, d).
        odd: the columns that are not normal.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    odd: tuple[str, ...] = ()

    @classmethod
    def fit(cls, z: Array, columns: Sequence[str], weights: Array | None = None) -> Prior:
        """That of rows z (n, d), which count by `weights` (n,), or once each."""
        share = np.full(len(z), 1 / len(z)) if weights is None else weights / weights.sum()
        mean = share @ z
        away = z - mean
        covariance = (away * share[:, None]).T @ away
        odd = [name for name, column in zip(columns, z.T, strict=True) if _is_odd(column, share)]
        return cls(tuple(mean.tolist()), tuple(map(tuple, covariance.tolist())), tuple(odd))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"mean": self.mean, "covariance": self.covariance, "odd": self.odd}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Prior:
        """What `to_dict` gave."""
        return cls(tuple(values["mean"]), tuple(map(tuple, values["covariance"])), tuple(values["odd"]))


def _is_odd(column: Array, share: Array) -> bool:
    """Whether a column (n,), whose rows have these shares, is clearly not normal (Kolmogorov's distance)."""
    from scipy.special import ndtr

    mean = share @ column
    deviation = np.sqrt(share @ (column - mean) ** 2)
    order = np.argsort(column)
    after = np.cumsum(share[order])
    normal = ndtr((column[order] - mean) / deviation)
    distance = max(np.abs(normal - after).max(), np.abs(normal - after + share[order]).max())
    return bool(distance > max(AWAY, SURE * np.sqrt((share**2).sum())))
