"""Matrices of numbers with named columns <-> standardised ones.

A model learns standardised columns, and everything it gives back is in the data's own units:

    z = (x - mean) / scale,    log p(x) = log p(z) - sum_j log scale_j

Columns with bounds are mapped to the whole line first (`_supports.py`), and the slopes of that map count as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._arrays import plain, rows_of
from motes.data._readings import is_number
from motes.data._supports import Support
from motes.data._text_lines import default_columns
from motes.errors import DataError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Rows of numbers, `x` of shape (n, d) in float64, with the names of the d columns.

    `labels` (n,) are the classes of the rows, and `given` holds the n rows of what they are conditioned on.

    Example:
        >>> from motes.data import Table
        >>> points = Table(np.array([[1.0, 2.0], [3.0, 4.0]]), ("height", "width"))
        >>> len(points), points.columns
        (2, ('height', 'width'))
    """

    x: Array
    columns: tuple[str, ...]
    labels: NDArray[np.str_] | NDArray[np.int64] | None = None
    given: Table | None = None

    def __repr__(self) -> str:
        return f"Table({len(self.x):,} rows of {len(self.columns)} columns)"

    def take(self, rows: NDArray[np.integer]) -> Table:
        """Some of the rows.

        Example:
            >>> from motes.data import Table
            >>> points = Table(np.array([[1.0, 2.0], [3.0, 4.0]]), ("height", "width"))
            >>> points.take(np.array([1])).x.tolist()
            [[3.0, 4.0]]
        """
        labels, given = self.labels, self.given
        return replace(
            self,
            x=self.x[rows],
            labels=None if labels is None else labels[rows],
            given=None if given is None else given.take(rows),
        )

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Standardiser:
    """The invertible map between the data's units and standardised ones; `mean` and `scale` have shape (d,).

    With a `support` they are those of the columns on the whole line.

    Example:
        >>> from motes.data import Standardiser
        >>> Standardiser(mean=np.array([10.0]), scale=np.array([2.0])).forward(np.array([[14.0]])).tolist()
        [[2.0]]
    """

    mean: Array
    scale: Array
    support: Support | None = None

    def __repr__(self) -> str:
        return f"Standardiser({len(self.mean)} columns)"

    @classmethod
    def fit(cls, x: Array, weights: Array | None = None, support: Support | None = None) -> Standardiser:
        """Mean and standard deviation of each column of `x` (n, d), on the whole line where it has a `support`.

        `weights` (n,) say how often each row counts; without them it is once.

        Example:
            >>> from motes.data import Standardiser
            >>> units = Standardiser.fit(np.array([[8.0], [12.0]]))
            >>> units.mean.tolist(), units.scale.tolist()
            ([10.0], [2.0])
        """
        y = x if support is None else support.forward(x)
        if weights is None:
            return cls(y.mean(axis=0), y.std(axis=0), support)
        share = weights / weights.sum()
        mean = share @ y
        return cls(mean, np.sqrt(share @ (y - mean) ** 2), support)

    @classmethod
    def identity(cls, dim: int) -> Standardiser:
        """Leaves the data as it is.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.identity(2).forward(np.array([[3.0, 4.0]])).tolist()
            [[3.0, 4.0]]
        """
        return cls(np.zeros(dim), np.ones(dim))

    def of(self, some: NDArray[np.bool_]) -> Standardiser:
        """That of some of the columns (d,) alone.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser(np.zeros(2), np.array([1.0, 2.0])).of(np.array([False, True])).scale.tolist()
            [2.0]
        """
        support = None if self.support is None else Support(self.support.low[some], self.support.high[some])
        return Standardiser(self.mean[some], self.scale[some], support)

    @property
    def intervals(self) -> tuple[tuple[float, float] | None, ...]:
        """The bounds of each column in standardised units, within which it has its shape; None where it has not both.

        Example:
            >>> from motes.data import Standardiser, Support
            >>> support = Support(np.array([0.0, 0.0]), np.array([8.0, np.inf]))
            >>> Standardiser(np.array([0.5, 0.0]), np.array([0.25, 1.0]), support).intervals
            ((-2.0, 2.0), None)
        """
        both = [False] * len(self.mean) if self.support is None else self.support.both
        ends = zip(-self.mean / self.scale, (1 - self.mean) / self.scale, both, strict=True)
        return tuple((float(low), float(high)) if bounded else None for low, high, bounded in ends)

    def forward(self, x: Array) -> Array:
        """Data units (n, d) -> standardised (n, d).

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0], [12.0]])).forward(np.array([[14.0]])).tolist()
            [[2.0]]
        """
        y = x if self.support is None else self.support.forward(x)
        return (y - self.mean) / self.scale

    def inverse(self, z: ArrayLike) -> Array:
        """Standardised (..., d) -> data units (..., d), in float64.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0], [12.0]])).inverse([[2.0]]).tolist()
            [[14.0]]
        """
        x = np.array(z, dtype=np.float64)
        x *= self.scale  # in place: a million rows are worth it
        x += self.mean
        return x if self.support is None else self.support.inverse(x)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| of each row of x (n, d), (n,): what makes a standardised log-density one in the data's units.

        Minus infinity beyond the bounds of a column.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser(mean=np.array([10.0]), scale=np.array([2.0])).log_det(np.array([[14.0]])).round(3).tolist()
            [-0.693]
        """
        linear = np.full(len(x), -np.log(self.scale).sum())
        if self.support is None:
            return linear
        return np.where(self.support.inside(x), linear + self.support.log_slope(x), -np.inf)


def as_table(
    x: ArrayLike,
    columns: Sequence[str] | None = None,
    *,
    name: str = "the data",
    to_learn: bool = True,
    missing: bool = False,
) -> Table:
    """Check a matrix and name its columns.

    Args:
        x: numbers of shape (n, d) with n >= 2 rows and d >= 1 columns.
        columns: d names; None takes x, y or x0, x1, ...
        name: what messages call the source.
        to_learn: from these rows; otherwise one row will do, and a column may be constant.
        missing: what points are conditioned on: entries may be NaN, which are missing, and a column may be constant.

    Raises:
        DataError: not a matrix of finite numbers, too few rows or columns, or a constant column; the message
            names the row and the column.
    """
    entries = rows_of(plain(x, name), name)
    try:
        if entries.dtype.kind not in "biufOUS":
            raise TypeError(f"values of type {entries.dtype}")
        matrix = entries.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} holds something that is not a number ({error}). Expected a matrix of numbers."
        ) from None
    check_matrix(matrix, name)
    rows, dim = matrix.shape
    names = default_columns(dim) if columns is None else tuple(columns)
    if len(names) != dim:
        raise DataError(f"{name} has {dim} columns but {len(names)} names: {', '.join(names)}.")
    for column in names:
        if is_number(str(column)):
            raise DataError(
                f"{name} has a column named '{column}', which a file cannot tell from a cell. Give it a word."
            )
    if not dim:
        raise DataError(f"{name} has no columns; expected at least one of numbers.")
    if rows < 1 + to_learn:
        raise DataError(f"{name} has {rows} row{'s' * (rows != 1)}; expected at least {1 + to_learn}.")
    bad = np.argwhere(np.isinf(matrix) if missing else ~np.isfinite(matrix))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{name} holds {matrix[row, column]} in row {row + 1}, column '{names[column]}' "
            f"({len(bad)} such cell{'s' * (len(bad) > 1)} in all). Remove or fill in these rows first."
        )
    if to_learn:
        _check_spread(matrix, names, name, constant=missing)
    return Table(matrix, names)


def check_matrix(matrix: NDArray, name: str) -> None:
    """Refuse an array that is not (rows, columns).

    Raises:
        DataError: it says how to make rows of one column of a vector.
    """
    if matrix.ndim != 2:
        cure = " Give one column of numbers as data.reshape(-1, 1)." if matrix.ndim == 1 else ""
        raise DataError(f"{name} has shape {matrix.shape}; expected (rows, columns).{cure}")


def _check_spread(matrix: Array, names: tuple[str, ...], name: str, *, constant: bool) -> None:
    for column, entries in zip(names, matrix.T, strict=True):
        known = entries[~np.isnan(entries)]
        if not len(known):
            raise DataError(f"column '{column}' of {name} is missing in all {len(matrix)} rows. Remove it.")
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = known.std()
        # A spread below rounding of the column's own size is no spread.
        if deviation <= 1e-14 * np.abs(known).max() and not constant:
            raise DataError(
                f"column '{column}' of {name} is constant ({known[0]:g} in all {len(known)} rows), "
                "so it cannot be standardised. Remove it."
            )
        if not np.isfinite(deviation):
            raise DataError(
                f"column '{column}' of {name} reaches {np.abs(known).max():g}, too large to standardise. Rescale it."
            )


def load_npy(path: Path) -> NDArray:
    """The one array of a `.npy` file.

    Raises:
        DataError: no such file of NumPy's, or one that is pickled.
    """
    try:
        with path.open("rb") as file:
            x = np.load(file, allow_pickle=False)
            if not isinstance(x, np.ndarray):
                raise ValueError("it holds several arrays; expected one, as numpy.save writes it")
    except OSError:
        raise
    except MemoryError as error:
        raise DataError(f"'{path}' says that it holds more than fits in memory ({error}), or is damaged.") from None
    except Exception:  # a damaged header is read as Python code, which fails in many ways
        raise DataError(
            f"'{path}' is not a NumPy file of one array of numbers, as numpy.save writes it without pickling, or it is "
            "damaged."
        ) from None
    return x
