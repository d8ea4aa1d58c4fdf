"""Kinds of numbers, in one binning, and conditions on them.

    log p(x) = log (mass of the cell x - delta/2 to x + delta/2) - log delta

for numbers rounded to steps of delta (a density per unit); without log delta for whole numbers (a mass); the density
itself for numbers that are not rounded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import Series, Type
from motes.errors import DataError
from motes.tables.kinds.base import Kind, Measured, Sample, number, shown
from motes.tables.kinds.lines import (
    DECIMALS,
    ENOUGH,
    FAR,
    ROWS,
    WHOLE,
    Binning,
    Few,
    Grid,
    Numbers,
    common_step,
    decimals_of,
    fit_continuum,
    in_ranges,
    is_each_whole,
    is_whole,
)
from motes.tables.parts import (
    HERE,
    IMPOSSIBLE,
    Array,
    Codes,
    Entries,
    Mask,
    Part,
    Restriction,
    SetOfValues,
    Values,
)


@dataclass(frozen=True, repr=False)
class Number(Measured):
    """Numbers in one binning.

    Attributes:
        line: the binning of the grid's places, or of the numbers themselves if there is no grid.
        grid: the grid of equally spaced numbers; None for others.
        type: type of the input series.
    """

    line: Binning
    grid: Grid | None
    type: Type

    unit: ClassVar[float] = 1.0  # exponent of delta in log p
    measure = "number"

    @property
    def step(self) -> float | None:
        return None if self.grid is None else self.grid.width

    def nearest(self, x: Array) -> Values:
        return x if self.grid is None else self.grid.numbers(self.grid.places_of(x))

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
        if self.grid is None:
            return [self.line.encode(values.astype(np.float64, copy=False))]
        made = self.line.encode(self.grid.places_of(values))
        codes = np.where(self._is_off_grid(values), IMPOSSIBLE, made.codes).astype(np.int32)
        unit = made.log_unit - self.unit * np.log(self.grid.width)
        return [Entries(codes, made.y, made.low, made.high, unit)]

    @classmethod
    def widen(cls) -> str:
        """Return the advice for a number beyond the allowed range."""
        ends = [end for end in ("low", "high") if end in cls.options]
        what = f"set {' and '.join(ends)} of this column" if len(ends) == 2 else 'set the kind of this column to "real"'
        return f"; {what} to allow more"

    def _is_off_grid(self, values: Values) -> Mask:
        """Return which numbers (m,) have no place on the grid."""
        return ~np.isfinite(values)

    def expected(self, value: Any) -> str:
        if not np.isfinite(float(value)):
            return "a finite number; leave the entry empty if it is missing, or remove the row"
        line = self.line
        if isinstance(line, Few) and not line.lattice:
            shown = ", ".join(f"{x:g}" for x in line.at[:8])
            return f"one of the {len(line.at)} training values: {shown}{', ...' if len(line.at) > 8 else ''}"
        ends = np.array([line.low, line.high])
        low, high = ends if self.grid is None else self.grid.numbers(ends)
        return f"a number from {low:g} to {high:g}, as in training{self.widen()}"

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        x = self.line.decode(codes[:, 0], y[:, 0])
        return x if self.grid is None else self.grid.numbers(x)

    def series(self, values: Values, missing: Mask) -> Series:
        dtype = {"real": np.float64, "truth": np.bool_}.get(self.type, np.int64)
        return Series(self.type, values.astype(dtype), missing)

    def beyond(self, values: Values) -> str:
        x = values if self.grid is None else self.grid.places_of(values)
        within = (x[0] >= self.line.low) & (x[0] <= self.line.high)
        return "" if within else self.expected(values[0])

    def restrict(self, condition: SetOfValues) -> Restriction:
        ranges = self.ranges(condition)
        low, high = self.line.low, self.line.high
        if ((ranges[:, 0] <= high) & (ranges[:, 1] >= low)).any():
            allowed, first, last = self.line.within(ranges)
        else:
            allowed = np.zeros(0, bool)
        if not allowed.any():
            ends = np.array([low, high])
            low, high = ends if self.grid is None else self.grid.numbers(ends)
            raise DataError(
                f"{HERE}, column '{self.column}': got {condition}; expected a condition that some training value "
                f"meets: they are from {low:g} to {high:g}{self.widen()}."
            )
        return SomeNumbers(self.line, ranges, allowed, first, last)

    def point(self, x: Values, value: Any) -> float:
        here = f"{HERE}, column '{self.column}': got {value}; expected"
        if self.grid is not None:
            if not np.isclose(float(self.nearest(x)[0]), float(x[0]), rtol=1e-9, atol=0):
                raise DataError(f"{here} a number with {self.grid.places} decimals, or an interval: (low, high).")
            return int(self.grid.places_of(x)[0])
        if not self.line.has_mass(float(x[0])):
            raise DataError(f"{here} an interval, (low, high): a single real number has no probability.")
        return float(x[0])

    def between(self, low: Any, high: Any) -> Numbers:
        if self.grid is None:
            return np.array([[-np.inf if low is None else low, np.inf if high is None else high]])
        first = -FAR if low is None else self.grid.first_from(low)
        last = FAR if high is None else self.grid.last_upto(high)
        if first > last:
            raise DataError(
                f"{HERE}, column '{self.column}': got {low} to {high}; expected an interval that contains a value: "
                f"the values of this column are {self.grid.width:g} apart."
            )
        return np.array([[first, last]], np.int64)

    @property
    def becomes(self) -> str:
        return self.line.words


@dataclass(frozen=True)
class SomeNumbers(Restriction):
    """A restriction to numbers in closed intervals.

    Attributes:
        line: the binning of the column.
        ranges: (r, 2), intervals of its numbers, disjoint and rising.
        codes: (K,), the slots that contain such a number.
        low, high: the first and the last end of y.
    """

    line: Binning
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


# --- Kinds of numbers, whole and real: inference and fitting --------------------------------------------------------


ATOM = 0.2  # share of the rows with the same real number, above which a warning names it
HUGE = 1e150  # the square of a larger number overflows


@dataclass(frozen=True, repr=False)
class Integer(Number):
    """Whole numbers, however they are stored."""

    name = "integer"
    options = ("low", "high", "step")
    unit = 0.0

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
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        series = sample.series
        _check_numbers(sample)
        if not is_each_whole(sample.seen[0]).all():
            odd = int(np.argmin(is_each_whole(series.values)))
            raise _entry_error(sample, odd, 'a whole number; set its kind to "real"')
        x, counts = sample.seen[0].astype(np.int64), sample.seen[1]
        low, high = options.get("low"), options.get("high")
        ends = [end for end in (low, high) if end is not None]
        step = options.get("step") or (
            common_step(np.union1d(x, np.array(ends, np.int64))) if len(series) >= ENOUGH else 1
        )
        grid = Grid.of(x, 0, step)
        _check_range(cls, sample, low, high)
        if ((x - grid.origin) % step).any():
            off = int(np.argmax((series.values.astype(np.int64) - grid.origin) % step != 0))
            raise _entry_error(sample, off, f"a multiple of {step}, counted from {grid.origin}")
        if (line := grid.line(x, counts, sample.bins, low, high)) is not None:
            return cls(sample.column, line, grid, series.type)
        line = fit_continuum(x.astype(np.float64), counts, sample.bins, low=low, high=high)
        # The ends as floats, neither of them beyond the whole number itself.
        ends = [float(end) for end in (x[0], x[-1])]
        least = ends[0] if int(ends[0]) >= x[0] else float(np.nextafter(ends[0], np.inf))
        most = ends[1] if int(ends[1]) <= x[-1] else float(np.nextafter(ends[1], -np.inf))
        line = replace(line, low=max(least, line.low), high=min(most, line.high))
        return cls(sample.column, line, None, series.type)

    def _is_off_grid(self, values: Values) -> Mask:
        if self.grid is None or values.dtype.kind == "i":
            odd = np.zeros(len(values), bool)
        else:
            odd = ~is_each_whole(values)
        if self.grid is not None and self.grid.step > 1:
            whole = np.where(odd, 0, values)
            if whole.dtype.kind == "f":  # a float cannot represent every whole number beyond 2^53
                whole = np.clip(np.rint(whole), -WHOLE, WHOLE).astype(np.int64)
            odd |= (whole - self.grid.origin) % self.grid.step != 0
        return odd

    def expected(self, value: Any) -> str:
        x = float(value)
        if np.isfinite(x) and (x != round(x) or abs(x) > WHOLE):
            return "a whole number"
        grid = self.grid
        if grid is not None and np.isfinite(x) and (int(value) - grid.origin) % grid.step:
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
        low, high = x.min(), x.max()
        zeros = float((x == 0).mean())
        where = f", 0 in {zeros:.0%}" if zeros >= 0.05 else ""
        return f"numbers from {low:.4g} to {high:.4g}{where}{places}"

    @classmethod
    def warnings(cls, sample: Sample, options: Mapping[str, Any]) -> list[str]:
        made: list[str] = []
        if sample.series.type != "real":
            return made
        (x, counts), n = sample.seen, len(sample)
        if (largest := np.abs(x).max()) >= HUGE:
            made.append(f"reaches {largest:g}")
        most = int(counts.argmax())
        if not _decimals(sample, options) and max(1, ATOM * n) < counts[most] < ROWS < n:
            made.append(f"{x[most]:g} in {counts[most] / n:.0%} of the rows, which a density only approximates")
        return made

    @classmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        series = sample.series
        _check_numbers(sample)
        low, high = (options.get(key, end) for key, end in zip(("low", "high"), cls.ends, strict=True))
        _check_range(cls, sample, low, high)
        x, counts = sample.seen[0].astype(np.float64), sample.seen[1]
        if places := _decimals(sample, options):
            grid = Grid.of(x, places, None if len(series) >= ENOUGH else 1)
            if (line := grid.line(x, counts, sample.bins, low, high)) is not None:
                return cls(sample.column, line, grid, "real")
        line = fit_continuum(x, counts, sample.bins, low=low, high=high)
        return cls(sample.column, line, None, "real")


@dataclass(frozen=True, repr=False)
class Positive(Real):
    """Real numbers of at least 0."""

    name = "positive"
    options = ("high", "decimals")
    ends = (0.0, None)

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        return None  # training rows without negative numbers do not rule them out


@dataclass(frozen=True, repr=False)
class Bounded(Real):
    """Real numbers in a closed interval, by default from 0 to 1."""

    name = "bounded"
    options = ("low", "high", "decimals")
    ends = (0.0, 1.0)

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type != "real":
            return None
        x, _ = sample.seen
        if not (0 <= x[0] < 0.01 and 0.99 < x[-1] <= 1 and len(x) > ENOUGH):
            return None
        return f"between 0 and 1, from {x[0]:.2g} to {x[-1]:.2g}"


def _decimals(sample: Sample, options: Mapping[str, Any]) -> int | None:
    """Return the decimals to which real numbers are rounded: the option, or as observed; None if not rounded."""
    if "decimals" in options or sample.series.type != "real":
        return options.get("decimals")
    return decimals_of(sample.series.values)


# --- checks ---------------------------------------------------------------------------------------------------------


def _entry_error(sample: Sample, place: int, expected: str) -> DataError:
    """Return the error for the entry at `place` among the observed entries."""
    row = int(sample.rows[place]) + 1
    return DataError(
        f"{sample.name}, row {row}, column '{sample.column}': got {shown(sample.series, place)}; expected {expected}."
    )


def _check_numbers(sample: Sample) -> None:
    if sample.series.type not in ("real", "whole", "truth"):
        raise _entry_error(sample, 0, 'numbers; set its kind to "categorical" or "date", or convert the column')


def _check_range(kind: type[Number], sample: Sample, low: float | None, high: float | None) -> None:
    x = sample.series.values
    out = np.flatnonzero((x < (-np.inf if low is None else low)) | (x > (np.inf if high is None else high)))
    if len(out):
        limits = (("at least", low), ("at most", high))
        ends = [f"{word} {end:g}" for word, end in limits if end is not None]
        raise _entry_error(sample, int(out[0]), f"a number of {' and '.join(ends)}{kind.widen()}")


KINDS: tuple[type[Kind], ...] = (Integer, Bounded, Real, Positive)
