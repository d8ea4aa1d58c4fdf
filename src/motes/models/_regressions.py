"""The linear part of points given what was observed; a network learns the rest.

    z = c A + b + u L,    u of mean 0 and variance 1

c A + b is the least-squares prediction of the points z from what is known of them, and L the symmetric root of the
covariance of what it leaves. Columns with a uniform prior keep to their own axes, or it would not be one of u: there L
is diagonal. A posterior may be 100 times as narrow as the prior: u has its width, and where posteriors are normal with
a mean that is linear in c, nothing is left to learn.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RIDGES = 10.0 ** np.arange(9)  # in rows whose context is as wide as that of the others, and whose points are 0
ROWS, COMPARED, NEIGHBOURS = 5000, 1000, 10  # of so many rows so many are compared with so many that are near
LEAST, SURE = 0.25, 4.0  # the rank correlation, and that times the root of the rows, from which widths are predictable
NARROWEST = 1e-3  # standard deviation of what is left, as a share of that of the points


@dataclass(frozen=True, eq=False)
class Regression:
    """The equation above.

    Attributes:
        slope: A (c, d).
        offset: b (d,).
        root: L (d, d), symmetric.
    """

    slope: Array
    offset: Array
    root: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regression) and all(map(np.array_equal, vars(self).values(), vars(other).values()))

    @classmethod
    def fit(
        cls, z: Array, context: Array, weights: Array | None = None, alone: NDArray[np.bool_] | None = None
    ) -> tuple[Regression, Array]:
        """That of rows z (n, d) and what is known of each (n, c), which count by `weights` (n,), or once each.

        Columns that are `alone` (d,) are mixed with no other one.

        The ridge is the one by which each row is predicted best from all others. The second part is u (n, d) of the
        rows, each by its error where it is predicted from all others: the errors of rows that are in a fit are smaller
        than those of fresh ones, and posteriors learned from them would be too narrow.
        """
        n = len(z)
        count = np.ones(n) if weights is None else weights * (n / weights.sum())
        middle, mean = count @ context / n, count @ z / n
        x, y = context - middle, z - mean
        sizes, axes = np.linalg.eigh((x * count[:, None]).T @ x)
        rotated = x @ axes
        moment = (rotated * count[:, None]).T @ y

        def tried(ridge: float) -> tuple[float, Array, Array]:
            slope = moment / (np.maximum(sizes, 0.0) + ridge)[:, None]
            leverage = count * (1 / n + (rotated**2 / (np.maximum(sizes, 0.0) + ridge)).sum(axis=1))
            errors = (y - rotated @ slope) / (1 - np.minimum(leverage, 1 - 1 / n))[:, None]
            return float((count @ errors**2).sum()), axes @ slope, errors

        _, slope, errors = min(map(tried, RIDGES), key=lambda one: one[0])
        mixed = np.ones(z.shape[1], bool) if alone is None else ~alone
        pairs = np.outer(mixed, mixed) | np.eye(len(mixed), dtype=bool)
        squares, directions = np.linalg.eigh(np.where(pairs, (errors * count[:, None]).T @ errors / n, 0.0))
        least = NARROWEST**2 * float((count @ y**2).max()) / n
        root: Array = np.where(pairs, (directions * np.sqrt(np.maximum(squares, least))) @ directions.T, 0.0)
        found = cls(slope, mean - middle @ slope, root)
        return found, np.asarray(np.linalg.solve(root, errors.T).T, np.float64)

    def forward(self, z: Array, context: Array) -> Array:
        """z (..., n, d) -> u (..., n, d), where so much is known of each, (n, c)."""
        return np.asarray(np.linalg.solve(self.root, np.swapaxes(z - self.mean(context), -1, -2)).swapaxes(-1, -2))

    def inverse(self, u: Array, context: Array) -> Array:
        """u (..., n, d) -> z (..., n, d), where so much is known of each, (n, c)."""
        return np.asarray(u @ self.root + self.mean(context))

    def mean(self, context: Array) -> Array:
        """The prediction of z, (n, d), from the first c numbers of what is known, (n, at least c)."""
        return np.asarray(context[..., : len(self.slope)] @ self.slope + self.offset)

    @property
    def log_det(self) -> float:
        """log |du/dz|."""
        return -float(np.linalg.slogdet(self.root)[1])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: part.tolist() for name, part in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Regression:
        """What `to_dict` gave."""
        return cls(*(np.array(values[name], np.float64) for name in ("slope", "offset", "root")))


def widths_are_predictable(left: Array, context: Array) -> bool:
    """Whether what is known of rows, (n, c), predicts how large that is which a regression leaves of them, (n, d).

    It does where, in some column, the mean logarithm of those of rows that are near by c goes with that of the row.
    """
    from scipy.spatial import cKDTree
    from scipy.stats import rankdata

    some = np.unique(np.linspace(0, len(left) - 1, ROWS).astype(int))
    compared = np.unique(np.linspace(0, len(some) - 1, COMPARED).astype(int))
    sizes, context = np.log(np.abs(left[some]) + NARROWEST), context[some]
    near = cKDTree(context).query(context[compared], min(NEIGHBOURS, len(some) - 1) + 1)[1][:, 1:]
    least = max(LEAST, SURE / np.sqrt(len(compared)))
    with np.errstate(invalid="ignore"):  # what is the same everywhere predicts nothing
        pairs = ((rankdata(size[near].mean(axis=1)), rankdata(size[compared])) for size in sizes.T)
        return any(np.corrcoef(*pair)[0, 1] > least for pair in pairs)
