"""Kinds of numbers, in one binning, and of dates, in up to three; conditions on them.

    log p(x) = log (mass of the cell x - delta/2 to x + delta/2) - log delta

for numbers rounded to steps of delta (a density per unit); without log delta for whole numbers (a mass); the density
itself for numbers that are not rounded.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import DAY, HERE, Series, Type, entry_error, is_finer, moment_of
from motes.errors import DataError
from motes.tables.kinds import binnings
from motes.tables.kinds.base import Kind, OnLine, Sample, number, shown
from motes.tables.kinds.binnings import ENOUGH, FAR, Binning, Few, Grid, Integers, Numbers, in_ranges, overlap
from motes.tables.kinds.fractions import Fractional, find_heaps
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Restriction, SetOfValues, Values


@dataclass(frozen=True, repr=False)
class Number(OnLine, Kind):
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
        line = binnings.fit_binning(x.astype(cls.dtype), counts, sample.bins, grid, low=low, high=high)
        return cls(sample.column, line, "real" if cls.dtype is np.float64 else series.type)

    @classmethod
    @abc.abstractmethod
    def find_grid(cls, sample: Sample, options: Mapping[str, Any]) -> Grid:
        """Find the grid of the numbers of a sample.

        Raises:
            DataError: if a number does not fit the kind or its options.
        """

    def refined(self, sample: Sample) -> Kind:
        grid, (x, counts) = self.line.grid, sample.seen
        power = find_heaps(grid.places_of(x), counts) if grid.step and self.line.smooth else None
        return self if power is None else Fractional.of(sample, grid, power)

    @property
    def step(self) -> float | None:
        return self.line.grid.width or None

    def nearest(self, x: Array) -> Values:
        return self.line.grid.numbers(self.line.grid.places_of(x))

    def read(self, series: Series, name: str) -> Values:
        self.check_type(series, ("real", "whole", "truth"), "numbers", name)
        return series.known.astype(np.int64) if series.type == "truth" else series.known

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
            expected = f"a condition that some training value meets: they are {self._range}{self.widen()}"
            raise entry_error(HERE, self.column, condition, expected)
        return SomeNumbers(self.line, ranges)

    def point(self, x: Values, value: Any) -> float:
        place = self.line.grid.places_of(x)[0]
        if not np.isclose(float(self.nearest(x)[0]), float(x[0]), rtol=1e-9, atol=0):
            expected = f"a number with {self.line.grid.places} decimals, or an interval: (low, high)"
        elif not self.line.has_mass(place):
            expected = "an interval, (low, high): a single real number has no probability"
        else:
            return place.item()
        raise entry_error(HERE, self.column, value, expected)

    def between(self, low: Any, high: Any) -> Numbers:
        places = self.line.grid.between(low, high)
        if places[0] > places[1]:
            expected = f"an interval that contains a value: the values of this column are {self.step:g} apart"
            raise entry_error(HERE, self.column, f"{low} to {high}", expected)
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
        if sample.series.type not in ("real", "whole") or not binnings.is_whole(sample.series.values):
            return None
        seen, _ = sample.seen
        step = binnings.common_step(seen) if len(sample) >= ENOUGH else 1
        steps = f" in steps of {step}" if step > 1 else ""
        return f"{len(seen):,} distinct whole numbers from {int(seen[0])} to {int(seen[-1])}{steps}"

    @classmethod
    def find_grid(cls, sample: Sample, options: Mapping[str, Any]) -> Grid:
        fits = binnings.is_each_whole(sample.series.values)
        if not fits.all():
            raise _entry_error(sample, int(np.argmin(fits)), 'a whole number; set its kind to "real"')
        x = sample.seen[0].astype(np.int64)
        ends = np.array([options[end] for end in ("low", "high") if end in options], np.int64)
        step = options.get("step") or (binnings.common_step(np.union1d(x, ends)) if len(sample) >= ENOUGH else 1)
        grid = Grid.of(x, 0, step)
        fits = grid.has(sample.series.values)
        if not fits.all():
            raise _entry_error(sample, int(np.argmin(fits)), f"a multiple of {step}, counted from {grid.origin}")
        return grid

    def expected(self, value: Any) -> str:
        x, grid = float(value), self.line.grid
        if np.isfinite(x) and (x != round(x) or abs(x) > binnings.WHOLE):
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

    @property
    def decimal(self) -> bool:
        return True

    @classmethod
    def option(cls, column: str, key: str, value: Any) -> float:
        if key == "decimals":
            return number(column, key, value, whole=True, low=1, high=binnings.DECIMALS)
        return number(column, key, value)

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type != "real":
            return None
        x = sample.series.values
        decimals = binnings.decimals_of(x)
        places = f", {decimals} decimal{'s' if decimals > 1 else ''}" if decimals else ""
        zeros = float((x == 0).mean())
        where = f", 0 in {zeros:.0%}" if zeros >= 0.05 else ""
        return f"numbers from {x.min():.4g} to {x.max():.4g}{where}{places}"

    @classmethod
    def find_grid(cls, sample: Sample, options: Mapping[str, Any]) -> Grid:
        places = options.get("decimals")
        if places is None and sample.series.type == "real":
            places = binnings.decimals_of(sample.series.values)
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
    return entry_error(sample.name, sample.column, shown(sample.series, place), expected, int(sample.rows[place]))


# --- Days as a month and a day of the month, or as a week and a weekday, whichever shows a pattern --------------------
#
#     chi^2 = sum over marks of (observed - expected)^2 / expected,    expected: by the calendar, evenly in each month


Split = Literal["day", "week", "month"]

LEVEL = 1e-3  # significance level of each test
EXPECTED = 5.0  # minimum mean number of rows per weekday, or day of the month, for the test
MONDAY = 3  # days from a Monday to 1970-01-01


# --- Splits of days since 1970 into a coarse number, such as the month, and the mark of the day in it, from 0 --------


def coarse_of(split: Split, days: Integers) -> Integers:
    """Return the week or month of days (m,), counted since 1970; the days themselves if the split is "day"."""
    if split == "week":
        return (days + MONDAY) // 7
    return days.astype("M8[D]").astype("M8[M]").astype(np.int64) if split == "month" else days


def first_day(split: Split, coarse: Integers) -> Integers:
    """Return the first day of each coarse number."""
    if split == "week":
        return 7 * coarse - MONDAY
    return coarse.astype("M8[M]").astype("M8[D]").astype(np.int64) if split == "month" else coarse


def split_days(split: Split, days: Integers) -> tuple[Integers, Integers]:
    """Split days (m,) into coarse numbers and marks, such as the weekday, 0 for Monday."""
    coarse = coarse_of(split, days)
    return coarse, days - first_day(split, coarse)


def join_days(split: Split, coarse: Integers, marks: Integers) -> tuple[Integers, Mask]:
    """Join coarse numbers and marks into days; if the month does not have the day, its last day, and False."""
    days, end = first_day(split, coarse) + marks, first_day(split, coarse + 1)
    return np.minimum(days, end - 1), days < end


def choose_split(days: Integers, counts: Array) -> Split:
    """Choose the split of distinct days (m,) with `counts` (m,) rows."""
    if counts.sum() >= ENOUGH:
        months, marks = split_days("month", days)
        if len(np.unique(months)) > 2 and (marks == marks[0]).all():
            return "month"
        week, month = _calendar_gain("week", days, counts, 7), _calendar_gain("month", days, counts, 31)
        if max(week, month) > 0:
            return "week" if week > month else "month"
    return "day"


def _calendar_gain(split: Split, days: Integers, counts: Array, size: int) -> float:
    """Return the nats per row by which the marks deviate from the calendar; 0 if a chi-squared test is not significant.

    Within each week, or month, every day of the observed range is expected equally often. Rows in clusters, many on one
    day, are not independent evidence, so the statistic is divided by the dispersion of the days' counts about the
    expected counts (McCullagh & Nelder 1989, eq. 4.23).
    """
    from scipy.stats import chi2

    coarse, marks = split_days(split, days)
    numbers, place = np.unique(coarse, return_inverse=True)
    dates, there = join_days(split, numbers[:, None], np.arange(size))
    there &= (dates >= days[0]) & (dates <= days[-1])
    rows = np.zeros(there.shape)
    rows[place, marks] = counts
    even = (rows.sum(axis=1) / there.sum(axis=1))[:, None] * there
    observed, expected = rows.sum(axis=0), even.sum(axis=0)
    total, some = counts.sum(), expected > 0
    freedom = int(some.sum()) - 1
    if total < EXPECTED * (freedom + 1) or len(numbers) < 2 or (observed > 0).sum() < 2:
        return 0.0
    left = int(there.sum()) - len(numbers)
    if not left:
        return 0.0  # one day in each month or week, such as New Year's Eve and the day after
    dispersion = max(float(((rows - even)[there] ** 2 / even[there]).sum()) / left, 1.0)
    statistic = float(((observed - expected)[some] ** 2 / expected[some]).sum())
    if chi2.sf(statistic / dispersion, freedom) > LEVEL:
        return 0.0
    seen = observed > 0
    nats = float((observed[seen] * np.log(observed[seen] / expected[seen])).sum() / total)
    return max(nats - dispersion * freedom / (2 * total), 0.0)  # minus the expected gain by chance


# --- Dates ----------------------------------------------------------------------------------------------------------
#
#     date = month and day of the month,  or  week and weekday,  or  day;    and the time of day, if there are times
#
# The choice among the first three is made by a chi-squared test of how often each weekday, and each day of the month,
# occurs, against the calendar. Bins of days could not represent such a pattern. Dates that do not exist are never
# generated: `allowed` excludes the 31st of June.


UNITS = ((3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second"), (1000, "millisecond"))
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MARKS: dict[Split, tuple[str, str]] = {  # of each split: the name of the part, and the words for several marks
    "day": ("", ""), "week": ("weekday", "weekdays"), "month": ("day", "days of the month"),
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Date(Kind):
    """Dates and times of day, microseconds since 1970.

    The coarse number is a part. The mark and the time are parts, too, unless all dates share one.

    Attributes:
        split: how days are split into a coarse number and a mark.
        coarse: the binning of days, weeks or months since 1970.
        marks: observed weekdays, or days of the month, from 0, one slot each.
        clock: the binning of times of day, in microseconds.
        first, last: the observed range, in microseconds.
        days: whether the input has dates without times.
    """

    split: Split
    coarse: Binning
    marks: Few
    clock: Binning
    first: int
    last: int
    days: bool

    name = "date"
    measure = "date"
    step = 1.0

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type != "date":
            return None
        x, _ = sample.seen
        days = not (x % DAY).any()
        return f"dates from {_format_moment(x[0], days)} to {_format_moment(x[-1], days)}"

    @classmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        series = sample.series
        if series.type not in ("date", "label"):
            raise _entry_error(sample, 0, 'dates. Set its kind to "integer" or "real"')
        dates = series.type == "date"
        moments = series.values if dates else parse_dates(series, sample.rows, sample.column, sample.name)
        x, counts = binnings.distinct(moments, sample.weights)
        days, rows = binnings.distinct(x // DAY, counts)
        split = choose_split(days, rows)
        coarse, marks = split_days(split, days)
        return cls(
            sample.column, split, binnings.fit_whole(coarse, rows, sample.bins),
            binnings.fit_few(*binnings.distinct(marks, rows), Grid()),
            binnings.fit_whole(x % DAY, counts, sample.bins), int(x[0]), int(x[-1]), series.days,
        )  # fmt: skip

    # --- encoding and decoding ---

    @property
    def pieces(self) -> tuple[tuple[Binning, str], ...]:
        """The binnings of the coarse number, the mark and the time, and the names of their parts; "" for no part."""
        mark, _ = MARKS[self.split]
        return (
            (self.coarse, self.split),
            (self.marks, mark if len(self.marks.masses) > 1 else ""),
            (self.clock, "time" if len(self.clock.masses) > 1 else ""),
        )

    @property
    def parts(self) -> tuple[Part, ...]:
        pieces = [(line, name) for line, name in self.pieces if name]
        if len(pieces) == 1:
            return (self.coarse.part(self.column, self.column),)
        made = [line.part(f"{self.column}: {name}", self.column) for line, name in pieces]
        if self.lines[1] is None:  # weekdays are labels
            made[1] = Part(made[1].name, self.column, self.marks.masses)
        return tuple(made)

    @property
    def lines(self) -> tuple[Binning | None, ...]:
        return tuple(None if name == "weekday" else line for line, name in self.pieces if name)

    def read(self, series: Series, name: str) -> Values:
        self.check_type(series, ("date", "label"), "dates", name)
        if series.type == "date":
            return series.known
        return parse_dates(series, np.flatnonzero(~series.missing), self.column, name)

    def encode(self, values: Values) -> list[Entries]:
        numbers = (*split_days(self.split, values // DAY), values % DAY)
        made: list[Entries] = []
        possible = np.ones(len(values), bool)
        for (line, name), x in zip(self.pieces, numbers, strict=True):
            if name:
                entries = line.encode(x)
                made.append(Entries.of_codes(entries.codes) if name == "weekday" else entries)
            else:
                possible &= x == line.decode(np.zeros(1, np.int32), np.zeros(1))
        made[0] = replace(made[0], codes=np.where(possible, made[0].codes, IMPOSSIBLE).astype(np.int32))
        return made

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        *day, time = self.numbers(codes, y)
        return np.clip(join_days(self.split, *day)[0] * DAY + time, self.first, self.last)

    def numbers(self, codes: Codes, y: Array) -> list[Integers]:
        """Decode the first parts (n, i) into the coarse number, the mark and the time, (n,) each, as far as known."""
        made: list[Integers] = []
        part = 0
        for line, name in self.pieces:
            if not name:
                made.append(line.decode(np.zeros(len(codes), np.int32), np.zeros(len(codes))))
            elif part < codes.shape[1]:
                made.append(line.decode(codes[:, part], y[:, part]))
                part += 1
        return made

    def expected(self, value: Any) -> str:
        made = f"a date like the training dates, {self._range}"
        if len(self.clock.masses) == 1:
            time, _ = self.hours
            made += f", all at {_format_moment(time, False)[11:]}" if time else ""
        elif self.clock.grid.step > 1:
            made += f", at multiples of {self._tick}"
        if self.split == "week":
            made += f", on {', '.join(WEEKDAYS[day] for day in self.marks.at)}"
        return made

    @property
    def _range(self) -> str:
        return f"from {_format_moment(self.first, self.days)} to {_format_moment(self.last, self.days)}"

    @property
    def _tick(self) -> str:
        step = self.clock.grid.step
        unit, name = next(((unit, name) for unit, name in UNITS if step % unit == 0), (1, "microsecond"))
        return f"{step // unit} {name}{'s' if step > unit else ''}"

    def series(self, values: Values, missing: Mask) -> Series:
        return Series("date", values.astype(np.int64), missing, days=self.days)

    @property
    def becomes(self) -> str:
        (_, _), (_, mark), (_, time) = self.pieces
        made = [f"{self.split}s: {self.coarse.words}"]
        made += [f"{len(self.marks.at)} {MARKS[self.split][1]}"] if mark else []
        made += [f"time of day in {self._tick}: {self.clock.words}"] if time else []
        return "; ".join(made)

    # --- possible values ---

    def beyond(self, values: Values) -> str:
        return "" if self.first <= values[0] <= self.last else self.expected(values[0])

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask | None:
        if part != 1 or len(self.marks.masses) == 1:
            return None
        made = self.days_within(codes, y, np.array([[self.first, self.last]]))
        made[~made.any(axis=1)] = True  # `decode` then uses the nearest day that exists
        return made

    def days_within(self, codes: Codes, y: Array, ranges: Integers) -> Mask:
        """Return which weekdays or days of the month (n, L) exist given the coarse part, and overlap with `ranges`."""
        days, exist = join_days(self.split, self.numbers(codes, y)[0][:, None], self.marks.at)
        early, late = self.hours
        return exist & overlap(days * DAY + early, days * DAY + late, ranges)

    @property
    def hours(self) -> tuple[int, int]:
        """The first and the last time of day, in microseconds."""
        early, late = self.clock.grid.numbers(np.array([self.clock.low, self.clock.high]))
        return int(early), int(late)

    def restrict(self, condition: SetOfValues) -> Restriction:
        ranges = self.ranges(condition)
        inside = np.clip(ranges, self.first, self.last)
        inside = inside[overlap(ranges[:, 0], ranges[:, 1], np.array([[self.first, self.last]]))]
        if not len(inside):
            expected = f"a condition that some training date meets: they are {self._range}"
            raise entry_error(HERE, self.column, condition, expected)
        return SomeDates(self, inside)

    def between(self, low: Any, high: Any) -> Numbers:
        return np.array([[-FAR if low is None else low, FAR if high is None else high]])

    # --- display ---

    @property
    def extremes(self) -> Values:
        return np.array([self.first, self.last])

    def mean_and_sd(self, values: Values) -> tuple[Series, Array]:
        mean, sd = super().mean_and_sd(values - values[:, :1])
        unit = DAY if self.days else 1
        moments = values[:, 0] + unit * np.rint(mean.values / unit).astype(np.int64)
        return self.series(moments, mean.missing), sd / DAY


@dataclass(frozen=True)
class SomeDates(Restriction):
    """A restriction to dates in closed intervals of microseconds, `ranges` (r, 2), disjoint and rising."""

    kind: Date
    ranges: Integers

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        kind = self.kind
        if part == 1 and len(kind.marks.masses) > 1:
            return kind.days_within(codes, y, self.ranges)
        line = kind.coarse if part == 0 else kind.clock
        first, last = map(line.grid.numbers, line.spans)
        if part == 0:
            early, late = kind.hours
            days, end = first_day(kind.split, first), first_day(kind.split, last + 1) - 1
            return overlap(days * DAY + early, end * DAY + late, self.ranges)
        start = self._starts(codes, y)[:, None]
        return overlap(start + first, start + last, self.ranges)

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        kind, low, high = self.kind, self.ranges.min(), self.ranges.max()
        if part == 1 and len(kind.marks.masses) > 1:
            return -np.inf, np.inf
        line = kind.coarse if part == 0 else kind.clock
        if part == 0:
            early, late = kind.hours
            days = np.array([-((late - low) // DAY), (high - early) // DAY])  # with a time in the interval
            first, last = coarse_of(kind.split, days)
        else:
            start = self._starts(codes, y)
            first, last = np.clip(low - start, 0, DAY - 1), np.clip(high - start, 0, DAY - 1)
        return line.ends(line.grid.places_of(first + line.grid.step - 1), line.grid.places_of(last))

    def holds(self, codes: Codes, y: Array) -> Mask:
        return in_ranges(self.kind.decode(codes, y, y), self.ranges)

    def _starts(self, codes: Codes, y: Array) -> Integers:
        """Return the first microsecond of the day given by the earlier parts, (n,)."""
        coarse, marks = self.kind.numbers(codes, y)[:2]
        return join_days(self.kind.split, coarse, marks)[0] * DAY


def parse_dates(series: Series, rows: NDArray[np.integer], column: str, name: str) -> Integers:
    """Parse the observed text entries of a series as dates; `rows` are their row numbers."""
    codes, made = series.known, np.zeros(len(series.labels), np.int64)
    for code in np.unique(codes).tolist():
        label = series.labels[code]
        expected = "a date such as 2026-05-17; or give the file's date format, such as --date-format %d/%m/%Y"
        try:
            moment = moment_of(str(label))
            if not is_finer(moment):
                made[code] = moment.astype("M8[us]").astype(np.int64)
                continue
            expected = "a date with a precision of at most one microsecond"
        except ValueError:
            pass
        raise entry_error(name, column, f"'{label}'", expected, int(rows[np.argmax(codes == code)]))
    return made[codes]


def _format_moment(moment: int, days: bool) -> str:
    return str(np.datetime64(int(moment), "us").astype("M8[D]" if days else "M8[s]"))


KINDS: tuple[type[Kind], ...] = (Integer, Bounded, Fractional, Real, Date)
