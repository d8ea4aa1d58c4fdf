"""Kinds of numbers, in one binning, and conditions on them.

    log p(x) = log (mass of the cell x - delta/2 to x + delta/2) - log delta

for numbers rounded to steps of delta (a density per unit); without log delta for whole numbers (a mass); the density
itself for numbers that are not rounded.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import Series, Type
from motes.errors import DataError
from motes.tables.kinds.base import Kind, Sample, number, shown
from motes.tables.kinds.lines import (
    DECIMALS,
    ENOUGH,
    WHOLE,
    Binning,
    Few,
    Grid,
    Numbers,
    common_step,
    decimals_of,
    fit_binning,
    in_ranges,
    is_each_whole,
    is_whole,
)
from motes.tables.parts import HERE, Array, Codes, Entries, Mask, Part, Restriction, SetOfValues, Values


@dataclass(frozen=True, repr=False)
class Number(Kind):
    """Numbers in one binning.

    Attributes:
        line: the binning.
        type: type of the input series.
    """

    line: Binning
    type: Type

    measure = "number"
    dtype: ClassVar[Any] = np.float64

    @classmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        series = sample.series
        if series.type not in ("real", "whole", "truth"):
            raise _entry_error(sample, 0, 'numbers; set its kind to "categorical" or "date", or convert the column')
        low, high = (options.get(key, end) for key, end in zip(("low", "high"), cls.ends, strict=True))
        limits = [(sign, end) for sign, end in ((1, low), (-1, high)) if end is not None]
        out = np.logical_or.reduce([sign * series.values < sign * end for sign, end in limits], initial=False)
        if np.any(out):
            words = [f"at {'least' if sign > 0 else 'most'} {end:g}" for sign, end in limits]
            raise _entry_error(sample, int(np.argmax(out)), f"a number of {' and '.join(words)}{cls.widen()}")
        grid = cls.find_grid(sample, options)
        x, counts = sample.seen
        line = fit_binning(x.astype(cls.dtype), counts, sample.bins, grid, low=low, high=high)
        return cls(sample.column, line, "real" if cls.dtype is np.float64 else series.type)

    @classmethod
    @abc.abstractmethod
    def find_grid(cls, sample: Sample, options: Mapping[str, Any]) -> Grid:
        """Find the grid of the numbers of a sample.

        Raises:
            DataError: if a number does not fit the kind or its options.
        """

    @property
    def step(self) -> float | None:
        return self.line.grid.width or None

    def nearest(self, x: Array) -> Values:
        return self.line.grid.numbers(self.line.grid.places_of(x))

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.line.part(self.column, self.column),)

    @property
    def lines(self) -> tuple[Binning | None, ...]:
        return (self.line,)

    def read(self, series: Series, name: str) -> Values:
        self.check_type(series, ("real", "whole", "truth"), "numbers", name)
        return series.known.astype(np.int64) if series.type == "truth" else series.known

    def encode(self, values: Values) -> list[Entries]:
        return [self.line.encode(values)]

    @classmethod
    def widen(cls) -> str:
        """Return the advice for a number beyond the allowed range."""
        ends = [end for end in ("low", "high") if end in cls.options]
        what = f"set {' and '.join(ends)} of this column" if len(ends) == 2 else 'set the kind of this column to "real"'
        return f"; {what} to allow more"

    def expected(self, value: Any) -> str:
        if not np.isfinite(float(value)):
            return "a finite number; leave the entry empty if it is missing, or remove the row"
        line = self.line
        if isinstance(line, Few) and not line.grid.step:
            shown = ", ".join(f"{x:g}" for x in line.at[:8])
            return f"one of the {len(line.at)} training values: {shown}{', ...' if len(line.at) > 8 else ''}"
        return f"a number {self._range}, as in training{self.widen()}"

    @property
    def _range(self) -> str:
        low, high = self.line.grid.numbers(np.array([self.line.low, self.line.high]))
        return f"from {low:g} to {high:g}"

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        return self.line.decode(codes[:, 0], y[:, 0])

    def series(self, values: Values, missing: Mask) -> Series:
        dtype = {"real": np.float64, "truth": np.bool_}.get(self.type, np.int64)
        return Series(self.type, values.astype(dtype), missing)

    def beyond(self, values: Values) -> str:
        within = self.line.low <= self.line.grid.places_of(values)[0] <= self.line.high
        return "" if within else self.expected(values[0])

    def restrict(self, condition: SetOfValues) -> Restriction:
        ranges = self.ranges(condition)
        if not self.line.within(ranges).any():
            raise DataError(
                f"{HERE}, column '{self.column}': got {condition}; expected a condition that some training value "
                f"meets: they are {self._range}{self.widen()}."
            )
        return SomeNumbers(self.line, ranges)

    def point(self, x: Values, value: Any) -> float:
        here, place = f"{HERE}, column '{self.column}': got {value}; expected", self.line.grid.places_of(x)[0]
        if not np.isclose(float(self.nearest(x)[0]), float(x[0]), rtol=1e-9, atol=0):
            raise DataError(f"{here} a number with {self.line.grid.places} decimals, or an interval: (low, high).")
        if not self.line.has_mass(place):
            raise DataError(f"{here} an interval, (low, high): a single real number has no probability.")
        return place.item()

    def between(self, low: Any, high: Any) -> Numbers:
        places = self.line.grid.between(low, high)
        if places[0] > places[1]:
            raise DataError(
                f"{HERE}, column '{self.column}': got {low} to {high}; expected an interval that contains a value: "
                f"the values of this column are {self.step:g} apart."
            )
        return places[None]

    @property
    def becomes(self) -> str:
        return self.line.words


@dataclass(frozen=True)
class SomeNumbers(Restriction):
    """A restriction to numbers with places in closed intervals, `ranges` (r, 2), disjoint and rising."""

    line: Binning
    ranges: NDArray[Any]

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        return self.line.within(self.ranges)

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        return self.line.ends(self.ranges.min(), self.ranges.max())

    def holds(self, codes: Codes, y: Array) -> Mask:
        return in_ranges(self.line.decode_places(codes[:, 0], y[:, 0]), self.ranges)


# --- Kinds of numbers, whole and real -------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Integer(Number):
    """Whole numbers, however they are stored."""

    name = "integer"
    options = ("low", "high", "step")
    dtype = np.int64

    @classmethod
    def option(cls, column: str, key: str, value: Any) -> float:
        return number(column, key, value, whole=True, low=1 if key == "step" else None)

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type not in ("real", "whole") or not is_whole(sample.series.values):
            return None
        seen, _ = sample.seen
        step = common_step(seen) if len(sample) >= ENOUGH else 1
        steps = f" in steps of {step}" if step > 1 else ""
        return f"{len(seen):,} distinct whole numbers from {int(seen[0])} to {int(seen[-1])}{steps}"

    @classmethod
    def find_grid(cls, sample: Sample, options: Mapping[str, Any]) -> Grid:
        fits = is_each_whole(sample.series.values)
        if not fits.all():
            raise _entry_error(sample, int(np.argmin(fits)), 'a whole number; set its kind to "real"')
        x = sample.seen[0].astype(np.int64)
        ends = np.array([options[end] for end in ("low", "high") if end in options], np.int64)
        step = options.get("step") or (common_step(np.union1d(x, ends)) if len(sample) >= ENOUGH else 1)
        grid = Grid.of(x, 0, step)
        fits = grid.has(sample.series.values)
        if not fits.all():
            raise _entry_error(sample, int(np.argmin(fits)), f"a multiple of {step}, counted from {grid.origin}")
        return grid

    def expected(self, value: Any) -> str:
        x, grid = float(value), self.line.grid
        if np.isfinite(x) and (x != round(x) or abs(x) > WHOLE):
            return "a whole number"
        if grid.step and np.isfinite(x) and (int(value) - grid.origin) % grid.step:
            return (
                f"a multiple of {grid.step}, counted from {grid.origin}, as in training; "
                "set step = 1 of this column to allow others"
            )
        return super().expected(value).replace("a number from", "a whole number from")

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        x = super().decode(codes, y, u)
        return x if x.dtype.kind == "i" else np.rint(x).astype(np.int64)


@dataclass(frozen=True, repr=False)
class Real(Number):
    """Real numbers, rounded to the decimals of the training rows."""

    name = "real"
    options: ClassVar[tuple[str, ...]] = ("low", "high", "decimals")

    @classmethod
    def option(cls, column: str, key: str, value: Any) -> float:
        if key == "decimals":
            return number(column, key, value, whole=True, low=1, high=DECIMALS)
        return number(column, key, value)

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type != "real":
            return None
        x = sample.series.values
        decimals = decimals_of(x)
        places = f", {decimals} decimal{'s' if decimals > 1 else ''}" if decimals else ""
        zeros = float((x == 0).mean())
        where = f", 0 in {zeros:.0%}" if zeros >= 0.05 else ""
        return f"numbers from {x.min():.4g} to {x.max():.4g}{where}{places}"

    @classmethod
    def find_grid(cls, sample: Sample, options: Mapping[str, Any]) -> Grid:
        places = options.get("decimals")
        if places is None and sample.series.type == "real":
            places = decimals_of(sample.series.values)
        if places is None:
            return Grid()
        return Grid.of(sample.seen[0].astype(np.float64), places, None if len(sample) >= ENOUGH else 1)


@dataclass(frozen=True, repr=False)
class Bounded(Real):
    """Real numbers in a closed interval, by default from 0 to 1."""

    name = "bounded"
    ends = (0.0, 1.0)

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        x, _ = sample.seen
        if sample.series.type != "real" or not (0 <= x[0] < 0.01 and 0.99 < x[-1] <= 1 and len(x) > ENOUGH):
            return None
        return f"between 0 and 1, from {x[0]:.2g} to {x[-1]:.2g}"


def _entry_error(sample: Sample, place: int, expected: str) -> DataError:
    """Return the error for the entry at `place` among the observed entries."""
    row = int(sample.rows[place]) + 1
    return DataError(
        f"{sample.name}, row {row}, column '{sample.column}': got {shown(sample.series, place)}; expected {expected}."
    )


KINDS: tuple[type[Kind], ...] = (Integer, Bounded, Real)
