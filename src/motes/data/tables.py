"""Tables of numbers: bounds and standardisation, in both directions.

Bounded columns are mapped by a uniform distribution with smooth edges, U(0, 1) + N(0, s^2):

    F(y) = s (G(y / s) - G((y - 1) / s)),    G(z) = z Phi(z) + phi(z)
    f(y) = Phi(y / s) - Phi((y - 1) / s)

F^-1 maps (0, 1) to the real line. It differs from the identity only near 0 and 1, so that a column keeps its shape
inside its bounds; Phi^-1 would distort all of it. Because F(1 - y) = 1 - F(y), everything is computed on the lower
half, in logarithms, and is accurate to the last digits at both ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.arrays import Array, entry_error
from motes.errors import UsageError, unknown

SMOOTH = 0.05  # s
LEAST = 2.0**-53  # numbers at an end of (0, 1) count as this far inside
OUT = 40.0  # F is 0 in float64 from this many s below 0
NEAR = 1e-9  # after a Newton step this small, the next one changes nothing
ROUNDING = 1e-14  # a column with a smaller range, relative to its largest number, is constant


def quantile(below: Array, above: Array) -> Array:
    """Return y = F^-1(u) for u = `below` = 1 - `above`; both are needed because 1 - u loses all digits near 1."""
    least = np.clip(np.minimum(below, above), LEAST, 0.5)
    # log F is concave: the first step of Newton's method goes left of the root, and the later ones rise to it.
    y = least.copy()
    for _ in range(60):
        log_cdf = _log_cdf(y)
        step = (np.log(least) - log_cdf) * np.exp(log_cdf - log_density(y))
        y += step
        if not (np.abs(step) > NEAR).any():
            break
    return np.where(below <= above, y, 1 - y)


def shares(y: Array) -> tuple[Array, Array]:
    """Return F(y) and 1 - F(y)."""
    low = np.exp(_log_cdf(np.minimum(y, 1 - y)))
    return np.where(y <= 0.5, low, 1 - low), np.where(y <= 0.5, 1 - low, low)


def log_density(y: Array) -> Array:
    """Return log f(y)."""
    from scipy.special import log_ndtr

    inner = np.minimum(y, 1 - y)
    near = log_ndtr(inner / SMOOTH)
    return np.asarray(near + np.log1p(-np.exp(log_ndtr((inner - 1) / SMOOTH) - near)))


def _log_cdf(y: Array) -> Array:
    """Return log F(y) for y <= 1/2."""
    y = np.maximum(y, -OUT * SMOOTH)
    near = _log_g(y / SMOOTH)
    return np.asarray(np.log(SMOOTH) + near + np.log1p(-np.exp(_log_g((y - 1) / SMOOTH) - near)))


def _log_g(z: Array) -> Array:
    """Return log G(z); for z < 0 from the ratio of Phi to phi, which does not underflow."""
    from scipy.special import erfcx, ndtr

    low, high = np.minimum(z, 0.0), np.maximum(z, 0.0)
    density = lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    below = -(low**2) / 2 - np.log(2 * np.pi) / 2 + np.log1p(low * np.sqrt(np.pi / 2) * erfcx(-low / np.sqrt(2)))
    return np.where(z < 0, below, np.log(high * ndtr(high) + density(high)))


# --- Columns that stay within bounds: increasing maps of an interval to the real line -------------------------------
#
#     low < x < high    y = F^-1((x - low) / (high - low))
#     low < x           y = log(x - low)
#           x < high    y = -log(high - x)
#
# F is the distribution function of U(0, 1) + N(0, s^2), see above: a column that is uniform on its interval stays
# uniform, with smooth edges instead of two jumps. Whatever y a model draws, x is within the bounds.


EXPECTED = "expected COLUMN=LOW..HIGH, COLUMN=LOW.. or COLUMN=..HIGH, such as rate=0..1"


@dataclass(frozen=True)
class Support:
    """The bounds of the columns of points.

    Attributes:
        low, high: the bounds (d,), infinite for columns without this bound.

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
        """Parse a recipe's `data.bounds`; return None if there are no bounds.

        Raises:
            UsageError: for invalid bounds, an unknown column, or a column with bounds twice.

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
            low[j], high[j] = _parse_end(low_text, -np.inf, text), _parse_end(high_text, np.inf, text)
            if not low[j] < high[j] or (np.isinf(low[j]) and np.isinf(high[j])):
                raise UsageError(f"data.bounds: got '{text}'; expected low < high, one of which may be left out.")
        return cls(low, high)

    def inside(self, x: Array) -> NDArray[np.bool_]:
        """Return whether each row of x (n, d) is within the bounds, (n,).

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([1.0])).inside(np.array([[0.5], [1.5]])).tolist()
            [True, False]
        """
        return np.asarray(((x >= self.low) & (x <= self.high)).all(axis=-1))

    def check(self, x: Array, columns: Sequence[str], name: str) -> None:
        """Check that training rows x (n, d) are within the bounds.

        Raises:
            DataError: if an entry is beyond its bounds; the message names the row and the column.

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
            cure = f"Remove such rows ({len(out):,} entries), or widen the bounds"
            expected = f"{self.low[j]:g} to {self.high[j]:g}, as its bounds say. {cure}"
            raise entry_error(name, columns[j], f"{x[i, j]:g}", expected, i)

    def forward(self, x: Array) -> Array:
        """Map x (n, d) to y (n, d). A number beyond its bounds counts as the nearer bound.

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([np.inf])).forward(np.array([[1.0]])).tolist()
            [[0.0]]
        """
        y = np.array(x, np.float64)
        both, below, above = self._bound_masks
        low, high = self.low[both], self.high[both]
        y[..., both] = quantile((y[..., both] - low) / (high - low), (high - y[..., both]) / (high - low))
        y[..., below] = np.log(np.maximum(y[..., below] - self.low[below], TINY))
        y[..., above] = -np.log(np.maximum(self.high[above] - y[..., above], TINY))
        return y

    def inverse(self, y: Array) -> Array:
        """Map y (..., d) to x (..., d), which is within the bounds for any y.

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([np.inf])).inverse(np.array([[0.0], [-1000.0]])).tolist()
            [[1.0], [0.0]]
        """
        x = np.array(y, np.float64)
        both, below, above = self._bound_masks
        low, high = self.low[both], self.high[both]
        with np.errstate(over="ignore"):
            of_low, of_high = shares(x[..., both])
            x[..., both] = np.where(of_low < of_high, low + (high - low) * of_low, high - (high - low) * of_high)
            x[..., below] = self.low[below] + np.exp(x[..., below])
            x[..., above] = self.high[above] - np.exp(-x[..., above])
        return np.clip(x, np.maximum(self.low, -MOST), np.minimum(self.high, MOST))

    def log_slope(self, x: Array) -> Array:
        """Return log |dy/dx| of each row of x (n, d), summed over the columns, (n,).

        Example:
            >>> from motes.data import Support
            >>> Support(np.array([0.0]), np.array([1.0])).log_slope(np.array([[0.5]])).round(4).tolist()
            [0.0]
        """
        both, below, above = self._bound_masks
        y = self.forward(x)
        found = np.zeros(x.shape)
        found[..., both] = -log_density(y[..., both]) - np.log((self.high - self.low)[both])
        found[..., below], found[..., above] = -y[..., below], y[..., above]
        return np.asarray(found.sum(axis=-1))

    @property
    def _bound_masks(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Masks (d,) of columns with both bounds, with only a lower bound, and with only an upper bound."""
        low, high = np.isfinite(self.low), np.isfinite(self.high)
        return low & high, low & ~high, high & ~low


MOST, TINY = float(np.finfo(np.float64).max), float(np.finfo(np.float64).tiny)


def bounds_texts(bounds: Mapping[str, Any]) -> tuple[str, ...]:
    """Convert bounds, column -> (low, high), where None is an open end, to a recipe's `data.bounds`.

    Raises:
        UsageError: for anything else.

    Example:
        >>> from motes.data.tables import bounds_texts
        >>> bounds_texts({"rate": (0, 1), "size": (0, None)})
        ('rate=0.0..1.0', 'size=0.0..')
    """
    if not isinstance(bounds, Mapping):
        raise UsageError(f"bounds: got {type(bounds).__name__}; expected a dict, such as {{'rate': (0, 1)}}.")
    try:
        text_of = lambda end: "" if end is None else repr(float(end))
        return tuple(f"{name}={text_of(low)}..{text_of(high)}" for name, (low, high) in bounds.items())
    except (TypeError, ValueError):
        raise UsageError(
            f"bounds: got {dict(bounds)}; expected (low, high) of each column, such as (0, None)."
        ) from None


def _parse_end(text: str, open_end: float, whole: str) -> float:
    if not text.strip():
        return open_end
    try:
        end = float(text)
    except ValueError:
        end = np.nan
    if not np.isfinite(end):
        raise UsageError(f"data.bounds: got '{whole}'; {EXPECTED}.")
    return end


# --- Matrices of numbers with named columns <-> standardised ones ---------------------------------------------------
#
# A model learns standardised columns and returns everything in the data's own units:
#
#     z = (x - mean) / scale,    log p(x) = log p(z) - sum_j log scale_j
#
# Columns with bounds are first mapped to the real line (see above), and log p includes the slope of this map.
# A constant column has no z: its scale is 0 and its mean its value, which is returned; p(x) = 0 at any other value.


@dataclass(frozen=True)
class Table:
    """Rows of numbers, `x` of shape (n, d) in float64, with the names of the d columns.

    `labels` (n,) are the classes of the rows, and `given` contains their conditions, a table of n rows. If the rows are
    a sample of rows that do not fit into memory, `many` is the `motes.data.stored.ManyRows` of all of these.

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
    many: Any = None

    def __repr__(self) -> str:
        return f"Table({len(self.x):,} rows of {len(self.columns)} columns)"

    def take(self, rows: NDArray[np.integer]) -> Table:
        """Return some of the rows.

        Example:
            >>> from motes.data import Table
            >>> points = Table(np.array([[1.0, 2.0], [3.0, 4.0]]), ("height", "width"))
            >>> points.take(np.array([1])).x.tolist()
            [[3.0, 4.0]]
        """
        labels = None if self.labels is None else self.labels[rows]
        given = None if self.given is None else self.given.take(rows)
        return replace(self, x=self.x[rows], labels=labels, given=given)

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Standardiser:
    """The invertible map between the data's units and standardised units; `mean` and `scale` have shape (d,).

    With a `support`, mean and scale apply to the columns after the map to the real line. A column with scale 0 is
    constant and set aside; v of the d columns vary.

    Example:
        >>> from motes.data import Standardiser
        >>> Standardiser(mean=np.array([10.0]), scale=np.array([2.0])).forward(np.array([[14.0]])).tolist()
        [[2.0]]
        >>> kept = Standardiser(mean=np.array([10.0, 3.0]), scale=np.array([2.0, 0.0]))
        >>> kept.forward(np.array([[14.0, 3.0]])).tolist(), kept.inverse([[2.0]]).tolist()
        ([[2.0]], [[14.0, 3.0]])
    """

    mean: Array
    scale: Array
    support: Support | None = None

    def __repr__(self) -> str:
        return f"Standardiser({len(self.mean)} columns)"

    @classmethod
    def fit(cls, x: Array, weights: Array | None = None, support: Support | None = None) -> Standardiser:
        """Compute the mean and standard deviation of each column of `x` (n, d), with a `support` on the real line.

        `weights` (n,) are sample weights, by default 1. The bounds of constant columns are dropped.

        Example:
            >>> from motes.data import Standardiser
            >>> units = Standardiser.fit(np.array([[8.0], [12.0]]))
            >>> units.mean.tolist(), units.scale.tolist()
            ([10.0], [2.0])
        """
        least, most = x.min(axis=0), x.max(axis=0)
        constant = most - least <= ROUNDING * np.maximum(np.abs(least), np.abs(most))
        if support is not None:
            support = Support(np.where(constant, -np.inf, support.low), np.where(constant, np.inf, support.high))
        y = x if support is None else support.forward(x)
        if weights is None:
            mean, scale = y.mean(axis=0), y.std(axis=0)
        else:
            share = weights / weights.sum()
            mean = share @ y
            scale = np.sqrt(share @ (y - mean) ** 2)
        return cls(np.where(constant, least, mean), np.where(constant, 0.0, scale), support)

    @classmethod
    def identity(cls, dim: int) -> Standardiser:
        """Return the map that leaves data unchanged.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.identity(2).forward(np.array([[3.0, 4.0]])).tolist()
            [[3.0, 4.0]]
        """
        return cls(np.zeros(dim), np.ones(dim))

    def of(self, some: NDArray[np.bool_]) -> Standardiser:
        """Return the map of some of the columns, selected by a mask (d,).

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser(np.zeros(2), np.array([1.0, 2.0])).of(np.array([False, True])).scale.tolist()
            [2.0]
        """
        support = None if self.support is None else Support(self.support.low[some], self.support.high[some])
        return Standardiser(self.mean[some], self.scale[some], support)

    @property
    def varies(self) -> NDArray[np.bool_]:
        """A mask (d,) of the columns that vary; the others are constant.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0, 3.0], [12.0, 3.0]])).varies.tolist()
            [True, False]
        """
        return np.asarray(self.scale != 0)

    def differs(self, x: Array) -> NDArray[np.bool_]:
        """Return a mask of the entries of x (..., d) that differ from their constant column by more than rounding.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0, 3.0], [12.0, 3.0]])).differs(np.array([[14.0, 4.0]])).tolist()
            [[False, True]]
        """
        return ~self.varies & (np.abs(x - self.mean) > ROUNDING * np.abs(self.mean))

    @property
    def intervals(self) -> tuple[tuple[float, float] | None, ...]:
        """The bounds of the v varying columns in standardised units; None for a column without both bounds.

        Example:
            >>> from motes.data import Standardiser, Support
            >>> support = Support(np.array([0.0, 0.0]), np.array([8.0, np.inf]))
            >>> Standardiser(np.array([0.5, 0.0]), np.array([0.25, 1.0]), support).intervals
            ((-2.0, 2.0), None)
        """
        some = self.of(self.varies)
        both = [False] * len(some.mean) if some.support is None else some.support._bound_masks[0]
        ends = zip(-some.mean / some.scale, (1 - some.mean) / some.scale, both, strict=True)
        return tuple((float(low), float(high)) if bounded else None for low, high, bounded in ends)

    def forward(self, x: Array) -> Array:
        """Map data units (n, d) to standardised units (n, v).

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0], [12.0]])).forward(np.array([[14.0]])).tolist()
            [[2.0]]
        """
        y = x if self.support is None else self.support.forward(x)
        if not (some := self.varies).all():  # np.compress keeps the memory order of rows without the other columns
            return (np.compress(some, y, axis=-1) - self.mean[some]) / self.scale[some]
        return (y - self.mean) / self.scale

    def inverse(self, z: ArrayLike) -> Array:
        """Map standardised units (..., v) to data units (..., d), in float64.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0], [12.0]])).inverse([[2.0]]).tolist()
            [[14.0]]
        """
        x = np.array(z, dtype=np.float64)
        if not (some := self.varies).all():
            whole = np.zeros((*x.shape[:-1], len(some)))
            whole[..., some] = x
            x = whole
        x *= self.scale  # in place, to save memory for many rows
        x += self.mean
        return x if self.support is None else self.support.inverse(x)

    def log_det(self, x: Array) -> Array:
        """Return log |dz/dx| of each row of x (n, d), (n,), which converts a log-density to the data's units.

        The result is minus infinity beyond the bounds of a column, or if the value of a constant column differs.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser(mean=np.array([10.0]), scale=np.array([2.0])).log_det(np.array([[14.0]])).round(3).tolist()
            [-0.693]
        """
        slope = np.full(len(x), -np.log(self.scale[self.varies]).sum())
        possible = ~self.differs(x).any(axis=-1)
        if self.support is not None:
            possible &= self.support.inside(x)
            slope += self.support.log_slope(x)
        return np.where(possible, slope, -np.inf)
