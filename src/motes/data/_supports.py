"""Columns that stay within bounds: increasing maps of an interval to the whole line.

    low < x < high    y = F^-1((x - low) / (high - low))
    low < x           y = log(x - low)
          x < high    y = -log(high - x)

F is the distribution function of U(0, 1) + N(0, s^2) (`_edges.py`): a column that is uniform on its interval stays
uniform, with smooth edges in the place of two jumps. Whatever y a model draws, x is within the bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._edges import log_density, quantile, shares
from motes.errors import DataError, UsageError, unknown

Array = NDArray[np.float64]

EXPECTED = "expected COLUMN=LOW..HIGH, COLUMN=LOW.. or COLUMN=..HIGH, such as rate=0..1"


@dataclass(frozen=True)
class Support:
    """Where the columns of points can be.

    Attributes:
        low, high: (d,), infinite where a column has no such bound.

    Example:
        >>> from motes.data import Support
        >>> unit = Support(np.array([0.0]), np.array([1.0]))
        >>> unit.inverse(np.array([[-9.0], [0.3], [0.5], [9.0]])).round(3).tolist()
        [[0.0], [0.3], [0.5], [1.0]]
    """

    low: Array
    high: Array

    def __repr__(self) -> str:
        return f"Support({int((np.isfinite(self.low) | np.isfinite(self.high)).sum())} of {len(self.low)} bounded)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Support) and all(map(np.array_equal, (self.low, self.high), (other.low, other.high)))

    @classmethod
    def of(cls, bounds: Sequence[str], columns: Sequence[str]) -> Support | None:
        """That of a recipe's `data.bounds`; None without any.

        Raises:
            UsageError: a text that says no bounds, a column that there is not, or one twice.

        Example:
            >>> from motes.data import Support
            >>> Support.of(["rate=0..1", "size=0.."], ["rate", "shift", "size"]).low.tolist()
            [0.0, -inf, 0.0]
        """
        if not bounds:
            return None
        low, high = np.full((2, len(columns)), [[-np.inf], [np.inf]])
        seen = set()
        for text in bounds:
            name, equals, ends = text.partition("=")
            low_text, dots, high_text = ends.partition("..")
            if not equals or not dots:
                raise UsageError(f"data.bounds: got '{text}'; {EXPECTED}.")
            if name not in columns:
                raise UsageError(f"data.bounds: {unknown('column', name, columns)}")
            if name in seen:
                raise UsageError(f"data.bounds: column '{name}' has bounds twice. Give them once.")
            seen.add(name)
            j = list(columns).index(name)
            low[j], high[j] = _end(low_text, -np.inf, text), _end(high_text, np.inf, text)
            if not low[j] < high[j] or (np.isinf(low[j]) and np.isinf(high[j])):
                raise UsageError(f"data.bounds: got '{text}'; expected low < high, one of which may be left out.")
        return cls(low, high)

    def inside(self, x: Array) -> NDArray[np.bool_]:
        """Whether each row of x (n, d) is within the bounds, (n,).

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([1.0])).inside(np.array([[0.5], [1.5]])).tolist()
            [True, False]
        """
        return np.asarray(((x >= self.low) & (x <= self.high)).all(axis=-1))

    def check(self, x: Array, columns: Sequence[str], name: str) -> None:
        """Refuse rows to learn from that are not within the bounds.

        Raises:
            DataError: one of x (n, d) is not; the message names the row and the column.

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([1.0])).check(np.array([[0.5], [1.5]]), ["rate"], "the data")
            Traceback (most recent call last):
                ...
            motes.errors.DataError: the data, row 2, column 'rate': got 1.5; expected 0 to 1, as its bounds say. ...
        """
        out = np.argwhere((x < self.low) | (x > self.high))
        if len(out):
            i, j = out[0]
            raise DataError(
                f"{name}, row {i + 1}, column '{columns[j]}': got {x[i, j]:g}; expected {self.low[j]:g} to "
                f"{self.high[j]:g}, as its bounds say. Remove such rows ({len(out):,} entries), or widen the bounds."
            )

    def forward(self, x: Array) -> Array:
        """x (n, d) -> y (n, d). A number beyond its bounds counts as one at the nearer bound.

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([np.inf])).forward(np.array([[1.0]])).tolist()
            [[0.0]]
        """
        y = np.array(x, np.float64)
        both, below, above = self._kinds
        low, high = self.low[both], self.high[both]
        y[..., both] = quantile((y[..., both] - low) / (high - low), (high - y[..., both]) / (high - low))
        y[..., below] = np.log(self._above(y[..., below] - self.low[below]))
        y[..., above] = -np.log(self._above(self.high[above] - y[..., above]))
        return y

    def inverse(self, y: Array) -> Array:
        """y (..., d) -> x (..., d), within the bounds whatever y is.

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([np.inf])).inverse(np.array([[0.0], [-1000.0]])).tolist()
            [[1.0], [0.0]]
        """
        x = np.array(y, np.float64)
        both, below, above = self._kinds
        low, high = self.low[both], self.high[both]
        with np.errstate(over="ignore"):
            of_low, of_high = shares(x[..., both])
            x[..., both] = np.where(of_low < of_high, low + (high - low) * of_low, high - (high - low) * of_high)
            x[..., below] = self.low[below] + np.exp(x[..., below])
            x[..., above] = self.high[above] - np.exp(-x[..., above])
        return np.clip(x, np.maximum(self.low, -MOST), np.minimum(self.high, MOST))

    def log_slope(self, x: Array) -> Array:
        """log |dy/dx| of each row of x (n, d), summed over the columns, (n,).

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([1.0])).log_slope(np.array([[0.5]])).round(4).tolist()
            [0.0]
        """
        both, below, above = self._kinds
        y = self.forward(x)
        found = np.zeros(x.shape)
        found[..., both] = -log_density(y[..., both]) - np.log((self.high - self.low)[both])
        found[..., below], found[..., above] = -y[..., below], y[..., above]
        total: Array = found.sum(axis=-1)
        return total

    @property
    def both(self) -> NDArray[np.bool_]:
        """Whether each column has both bounds, (d,).

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0, 0.0]), np.array([1.0, np.inf])).both.tolist()
            [True, False]
        """
        return self._kinds[0]

    @property
    def _kinds(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Columns with both bounds, with a lower one alone, and with an upper one alone, (d,) each."""
        low, high = np.isfinite(self.low), np.isfinite(self.high)
        return low & high, low & ~high, high & ~low

    @staticmethod
    def _above(distance: Array) -> Array:
        return np.maximum(distance, np.finfo(np.float64).tiny)


MOST = float(np.finfo(np.float64).max)


def bounds_texts(bounds: Mapping[str, Any]) -> tuple[str, ...]:
    """`data.bounds` of a recipe, of column -> (low, high), one of which may be None.

    Raises:
        UsageError: anything else.

    Example:
        >>> from motes.data._supports import bounds_texts
        >>> bounds_texts({"rate": (0, 1), "size": (0, None)})
        ('rate=0.0..1.0', 'size=0.0..')
    """
    if not isinstance(bounds, Mapping):
        raise UsageError(f"bounds: got {type(bounds).__name__}; expected a dict, such as {{'rate': (0, 1)}}.")
    made = []
    for name, ends in bounds.items():
        if not isinstance(ends, tuple | list) or len(ends) != 2:
            raise UsageError(f"bounds of '{name}': got {ends!r}; expected (low, high), one of which may be None.")
        made.append(f"{name}={'..'.join('' if end is None else repr(_number(end, name)) for end in ends)}")
    return tuple(made)


def _number(end: Any, name: str) -> float:
    if isinstance(end, bool) or not isinstance(end, int | float | np.number) or not np.isfinite(end):
        raise UsageError(f"bounds of '{name}': got {end!r}; expected a finite number. An open end is None.")
    return float(end)


def _end(text: str, open_end: float, whole: str) -> float:
    if not text.strip():
        return open_end
    try:
        end = float(text)
    except ValueError:
        end = np.nan
    if not np.isfinite(end):
        raise UsageError(f"data.bounds: got '{whole}'; {EXPECTED}.")
    return end
