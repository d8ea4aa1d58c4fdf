"""A column of numbers on one line, and conditions on it.

    log p(x) = log (mass of the cell x - delta/2 to x + delta/2) - log delta

for numbers that were rounded to steps of delta (a density per unit); without log delta for whole numbers (a mass); the
density itself for numbers that were not rounded.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motes.data._series import Series, Type
from motes.errors import DataError, UsageError
from motes.tables._conditions import HERE, Among, Between, Not, Restriction, SetOfValues, one_value
from motes.tables._parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part
from motes.tables.kinds._base import Kind, Values
from motes.tables.kinds._grids import Grid
from motes.tables.kinds._lines import FAR, Few, Line, complement, in_ranges, joined_ranges


@dataclass(frozen=True, repr=False)
class Number(Kind):
    """A column of numbers on one line.

    Attributes:
        line: of the places of the grid, or of the numbers themselves where there is none.
        grid: of numbers of equal distance.
        type: of the input series.
    """

    line: Line
    grid: Grid | None
    type: Type

    unit: ClassVar[float] = 1.0  # exponent of delta in log p

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.line.part(self.column, self.column),)

    @property
    def lines(self) -> tuple[Line | None, ...]:
        return (self.line,)

    def read(self, series: Series, name: str) -> Values:
        self.check_type(series, ("real", "whole", "truth"), "numbers", name)
        if series.missing.all():
            return np.zeros(0)
        return series.known.astype(np.int64) if series.type == "truth" else series.known

    def encode(self, values: Values) -> list[Entries]:
        if self.grid is None:
            return [self.line.encode(values.astype(np.float64, copy=False))]
        made = self.line.encode(self.grid.places_of(values))
        codes = np.where(self._strange(values), IMPOSSIBLE, made.codes).astype(np.int32)
        unit = made.log_unit - self.unit * np.log(self.grid.width)
        return [Entries(codes, made.y, made.low, made.high, unit)]

    @classmethod
    def widen(cls) -> str:
        """What to do about a number beyond those that are allowed."""
        ends = [end for end in ("low", "high") if end in cls.options]
        what = f"set {' and '.join(ends)} of this column" if len(ends) == 2 else 'set the kind of this column to "real"'
        return f"; {what} to allow for more"

    def _strange(self, values: Values) -> Mask:
        """Where numbers (m,) have no place on the grid."""
        return ~np.isfinite(values)

    def expected(self, value: Any) -> str:
        if not np.isfinite(float(value)):
            return "a finite number; leave the entry empty, which says that it is missing, or remove the row"
        line = self.line
        if isinstance(line, Few) and not line.lattice:
            shown = ", ".join(f"{x:g}" for x in line.at[:8])
            return f"one of the {len(line.at)} numbers of the training: {shown}{', ...' if len(line.at) > 8 else ''}"
        ends = np.array([line.low, line.high])
        low, high = ends if self.grid is None else self.grid.numbers(ends)
        return f"a number from {low:g} to {high:g}, as in the training{self.widen()}"

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        x = self.line.decode(codes[:, 0], y[:, 0])
        return x if self.grid is None else self.grid.numbers(x)

    def series(self, values: Values, missing: Mask) -> Series:
        dtype = {"real": np.float64, "truth": np.bool_}.get(self.type, np.int64)
        return Series(self.type, values.astype(dtype), missing)

    def draw_range(self, part: int) -> tuple[float, float] | None:
        return self.line.draw_range

    def beyond(self, values: Values) -> str:
        x = values if self.grid is None else self.grid.places_of(values)
        within = (x[0] >= self.line.low) & (x[0] <= self.line.high)
        return "" if within else self.expected(values[0])

    def restrict(self, condition: SetOfValues) -> Restriction:
        ranges = self._ranges(condition)
        low, high = self.line.low, self.line.high
        if ((ranges[:, 0] <= high) & (ranges[:, 1] >= low)).any():
            allowed, first, last = self.line.within(ranges)
        else:
            allowed = np.zeros(0, bool)
        if not allowed.any():
            ends = np.array([low, high])
            low, high = ends if self.grid is None else self.grid.numbers(ends)
            raise DataError(
                f"{HERE}, column '{self.column}': got {condition}; expected a set with a number of the training in it, "
                f"which are from {low:g} to {high:g}{self.widen()}."
            )
        return SomeNumbers(self.line, ranges, allowed, first, last)

    def _ranges(self, condition: Any) -> NDArray[Any]:
        """The closed intervals (r, 2) of the line's numbers, disjoint and rising, that fulfil a condition."""
        match condition:
            case Among(values):
                return joined_ranges([self._one(value) for value in values])
            case Between(low, high):
                return self._between(low, high)
            case Not(inner):
                return complement(self._ranges(inner))
        return joined_ranges([self._one(condition)])

    def _one(self, value: Any) -> tuple[Any, Any]:
        """One value as an interval.

        Raises:
            DataError: the column cannot hold it, or a density has no mass there.
        """
        x = self.read(one_value(self.column, value), HERE)
        here = f"{HERE}, column '{self.column}': got {value}; expected"
        if self.encode(x)[0].codes[0] == IMPOSSIBLE:
            raise DataError(f"{here} {self.expected(x[0])}.")
        if self.grid is not None:
            k = int(self.grid.places_of(x)[0])
            if not np.isclose(float(self.grid.numbers(np.array([k]))[0]), float(x[0]), rtol=1e-9, atol=0):
                raise DataError(f"{here} a number of {self.grid.places} decimals, or an interval: (low, high).")
            return k, k
        if not self.line.has_mass(float(x[0])):
            raise DataError(f"{here} an interval, (low, high): a single real number has no probability.")
        return float(x[0]), float(x[0])

    def _between(self, low: Any, high: Any) -> NDArray[Any]:
        ends = [None if end is None else self.read(one_value(self.column, end), HERE)[0] for end in (low, high)]
        if ends[0] is not None and ends[1] is not None and ends[0] > ends[1]:
            raise UsageError(f"column '{self.column}': got {low} to {high}; expected low <= high.")
        if self.grid is None:
            return np.array([[-np.inf if ends[0] is None else ends[0], np.inf if ends[1] is None else ends[1]]])
        first = -FAR if ends[0] is None else self.grid.first_from(ends[0])
        last = FAR if ends[1] is None else self.grid.last_upto(ends[1])
        if first > last:
            raise DataError(
                f"{HERE}, column '{self.column}': got {low} to {high}; expected an interval with a value in it: "
                f"numbers of this column are {self.grid.width:g} apart."
            )
        return np.array([[first, last]], np.int64)

    @property
    def becomes(self) -> str:
        return self.line.words


@dataclass(frozen=True)
class SomeNumbers(Restriction):
    """The numbers of some closed intervals.

    Attributes:
        line: of the column.
        ranges: (r, 2), intervals of its numbers, disjoint and rising.
        codes: (K,), the slots with such a number.
        low, high: the first and the last end of y.
    """

    line: Line
    ranges: NDArray[Any]
    codes: Mask
    low: float
    high: float

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        return self.codes

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        return self.low, self.high

    def holds(self, codes: Codes, y: Array) -> Mask:
        return in_ranges(self.line.decode(codes[:, 0], y[:, 0]), self.ranges)
