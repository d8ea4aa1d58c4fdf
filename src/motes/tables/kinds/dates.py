"""Days as a month and a day of the month, or as a week and a weekday, whichever shows a pattern.

chi^2 = sum over marks of (observed - expected)^2 / expected,    expected: by the calendar, evenly in each month
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import DAY, Series, is_finer, moment_of
from motes.errors import DataError
from motes.tables.kinds.base import Kind, Measured, Sample, shown
from motes.tables.kinds.lines import (
    ENOUGH,
    FAR,
    Binning,
    Few,
    Grid,
    Numbers,
    distinct,
    few,
    fit_grid,
    in_ranges,
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

Integers = NDArray[np.int64]
Split = Literal["day", "week", "month"]

LEVEL = 1e-3  # significance level of each test
EXPECTED = 5.0  # minimum mean number of rows per weekday, or day of the month, for the test
MONDAY = 3  # days from a Monday to 1970-01-01


@dataclass(frozen=True)
class Calendar:
    """A split of days since 1970 into coarse number and mark: (month, day of the month), (week, weekday), (day, 0)."""

    split: Split

    def parts_of(self, days: Integers) -> tuple[Integers, Integers]:
        """Split days (m,) into coarse numbers and marks."""
        if self.split == "week":
            return (days + MONDAY) // 7, (days + MONDAY) % 7
        if self.split == "month":
            dates = days.astype("M8[D]")
            months = dates.astype("M8[M]")
            return months.astype(np.int64), (dates - months).astype(np.int64) + 1
        return days, np.zeros_like(days)

    def first(self, coarse: Integers) -> Integers:
        """Return the first day of each coarse number."""
        if self.split == "week":
            return 7 * coarse - MONDAY
        return coarse.astype("M8[M]").astype("M8[D]").astype(np.int64) if self.split == "month" else coarse

    def days_of(self, coarse: Integers, marks: Integers) -> Integers:
        """Join coarse numbers and marks into days; a day that the month does not have becomes its last day."""
        first = self.first(coarse)
        made = first + marks - (self.split == "month")
        return np.minimum(made, self.first(coarse + 1) - 1)

    def exists(self, coarse: Integers, marks: Integers) -> Mask:
        """Return whether the days exist."""
        return marks - (self.split == "month") < self.first(coarse + 1) - self.first(coarse)


def calendar_of(days: Integers, counts: Array) -> tuple[Calendar, int | None]:
    """Choose the split of distinct days (m,) with `counts` (m,) rows; also return their mark if all days share one."""
    if counts.sum() >= ENOUGH:
        months, marks = Calendar("month").parts_of(days)
        if len(np.unique(months)) > 2 and (marks == marks[0]).all():
            return Calendar("month"), int(marks[0])
        week, month = (
            _calendar_gain(Calendar("week"), days, counts, 7),
            _calendar_gain(Calendar("month"), days, counts, 31),
        )
        if max(week, month) > 0:
            return Calendar("week" if week > month else "month"), None
    return Calendar("day"), 0


def _calendar_gain(calendar: Calendar, days: Integers, counts: Array, size: int) -> float:
    """Return the nats per row by which the marks deviate from the calendar; 0 if a chi-squared test is not significant.

    Within each week, or month, every day of the observed range is expected equally often. Rows in clusters, many on one
    day, are not independent evidence, so the statistic is divided by the dispersion of the days' counts about the
    expected counts (McCullagh & Nelder 1989, eq. 4.23).
    """
    from scipy.stats import chi2

    coarse, marks = calendar.parts_of(days)
    low = 1 if calendar.split == "month" else 0
    numbers, place = np.unique(coarse, return_inverse=True)
    grid = np.repeat(numbers[:, None], size, axis=1), np.broadcast_to(low + np.arange(size), (len(numbers), size))
    dates = calendar.days_of(*grid)
    there = calendar.exists(*grid) & (dates >= days[0]) & (dates <= days[-1])
    rows = np.zeros(there.shape)
    rows[place, marks - low] = counts
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


@dataclass(frozen=True, repr=False)
class Date(Measured):
    """Dates and times of day, microseconds since 1970.

    Attributes:
        calendar: the split of days.
        coarse: the binning of days, weeks or months on their grid.
        grid: places of that binning <-> days, weeks or months.
        marks: observed weekdays (0 is Monday) or days of the month, one slot each; None if all dates have `mark`.
        mark: the weekday or day of the month that all dates share.
        clock: the binning of times of day; None if all dates have `time`.
        ticks: places of that binning <-> microseconds.
        time: the time of day that all dates share, in microseconds.
        first, last: the observed range, in microseconds.
        days: whether the input has dates without times.
    """

    calendar: Calendar
    coarse: Binning
    grid: Grid
    marks: Few | None
    mark: int
    clock: Binning | None
    ticks: Grid
    time: int
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
        x, counts = _read_dates(sample)
        days, times = x // DAY, x % DAY
        d, rows = distinct(days, counts)
        calendar, mark = calendar_of(d, rows)
        coarse, marks = calendar.parts_of(d)
        line, grid = fit_grid(coarse, rows, sample.bins)
        slots = None
        if mark is None:
            at, share = distinct(marks, rows)
            slots = few(at, share, lattice=False)
        clock, ticks = None, Grid(0, 1)
        if len(np.unique(times)) > 1:
            clock, ticks = fit_grid(times, counts, sample.bins)
        return cls(
            column=sample.column, calendar=calendar, coarse=line, grid=grid, marks=slots, mark=mark or 0, clock=clock,
            ticks=ticks, time=int(times[0]), first=int(x[0]), last=int(x[-1]), days=sample.series.days,
        )  # fmt: skip

    # --- encoding and decoding ---

    @property
    def parts(self) -> tuple[Part, ...]:
        several = self.marks is not None or self.clock is not None
        first = f"{self.column}: {self.calendar.split}" if several else self.column
        made = [self.coarse.part(first, self.column)]
        if self.marks is not None and self.calendar.split == "week":
            made.append(Part(f"{self.column}: weekday", self.column, self.marks.masses))
        elif self.marks is not None:
            made.append(self.marks.part(f"{self.column}: day", self.column))
        if self.clock is not None:
            made.append(self.clock.part(f"{self.column}: time", self.column))
        return tuple(made)

    @property
    def lines(self) -> tuple[Binning | None, ...]:
        marks = (None if self.calendar.split == "week" else self.marks,) if self.marks is not None else ()
        return (self.coarse, *marks, *(() if self.clock is None else (self.clock,)))

    def read(self, series: Series, name: str) -> Values:
        self.check_type(series, ("date", "label"), "dates", name)
        if series.type == "date":
            return series.known
        return parse_dates(series, np.flatnonzero(~series.missing), self.column, name)

    def encode(self, values: Values) -> list[Entries]:
        days, times = values // DAY, values % DAY
        coarse, marks = self.calendar.parts_of(days)
        made = [self.grid.encode(self.coarse, coarse)]
        strange = np.zeros(len(values), bool)
        if self.marks is None:
            strange |= (marks != self.mark) & (self.calendar.split != "day")
        else:
            entries = self.marks.encode(marks)
            made.append(Entries.of_codes(entries.codes) if self.calendar.split == "week" else entries)
        if self.clock is None:
            strange |= times != self.time
        else:
            made.append(self.ticks.encode(self.clock, times))
        first = made[0]
        codes = np.where(strange, IMPOSSIBLE, first.codes).astype(np.int32)
        return [Entries(codes, first.y, first.low, first.high, first.log_unit), *made[1:]]

    def expected(self, value: Any) -> str:
        first, last = _format_moment(self.first, self.days), _format_moment(self.last, self.days)
        made = f"a date like the training dates, from {first} to {last}"
        if self.clock is None:
            made += "" if not self.time else f", all at {_format_moment(self.time, False)[11:]}"
        elif self.ticks.step > 1:
            made += f", at multiples of {self._tick}"
        if self.marks is not None and self.calendar.split == "week":
            made += f", on {', '.join(WEEKDAYS[day] for day in self.marks.at)}"
        return made

    @property
    def _tick(self) -> str:
        step = self.ticks.step
        unit, name = next(((unit, name) for unit, name in UNITS if step % unit == 0), (1, "microsecond"))
        return f"{step // unit} {name}{'s' if step > unit else ''}"

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        part = 1
        marks = np.full(len(codes), self.mark)
        if self.marks is not None:
            marks, part = self.marks.at[codes[:, 1]], 2
        times = np.full(len(codes), self.time)
        if self.clock is not None:
            times = self.ticks.numbers(self.clock.decode(codes[:, part], y[:, part]))
        days = self.calendar.days_of(self._coarse(codes, y), marks)
        return np.clip(days * DAY + times, self.first, self.last)

    def _coarse(self, codes: Codes, y: Array) -> Integers:
        return self.grid.numbers(self.coarse.decode(codes[:, 0], y[:, 0]))

    def series(self, values: Values, missing: Mask) -> Series:
        return Series("date", values.astype(np.int64), missing, days=self.days)

    @property
    def becomes(self) -> str:
        unit = {"day": "days", "week": "weeks", "month": "months"}[self.calendar.split]
        made = [f"{unit}: {self.coarse.words}"]
        if self.marks is not None:
            made.append(f"{len(self.marks.at)} {'weekdays' if self.calendar.split == 'week' else 'days of the month'}")
        if self.clock is not None:
            made.append(f"time of day in {self._tick}: {self.clock.words}")
        return "; ".join(made)

    # --- possible values ---

    def beyond(self, values: Values) -> str:
        return "" if self.first <= values[0] <= self.last else self.expected(values[0])

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask | None:
        if part != 1 or self.marks is None:
            return None
        made = self.days_within(codes, y, np.array([[self.first, self.last]]))
        made[~made.any(axis=1)] = True  # `decode` then uses the nearest day that exists
        return made

    def days_within(self, codes: Codes, y: Array, ranges: Integers) -> Mask:
        """Return which weekdays or days of the month (n, L) exist given the coarse part, and overlap with `ranges`."""
        assert self.marks is not None
        coarse = np.repeat(self._coarse(codes, y)[:, None], len(self.marks.at), axis=1)
        marks = np.broadcast_to(self.marks.at, coarse.shape)
        start, (early, late) = self.calendar.days_of(coarse, marks) * DAY, self.hours
        return self.calendar.exists(coarse, marks) & _overlap(start + early, start + late, ranges)

    @property
    def hours(self) -> tuple[int, int]:
        """The first and the last time of day, in microseconds."""
        if self.clock is None:
            return self.time, self.time
        early, late = self.ticks.numbers(np.array([self.clock.low, self.clock.high]))
        return int(early), int(late)

    def restrict(self, condition: SetOfValues) -> Restriction:
        ranges = self.ranges(condition)
        inside = np.clip(ranges, self.first, self.last)
        inside = inside[_overlap(ranges[:, 0], ranges[:, 1], np.array([[self.first, self.last]]))]
        if not len(inside):
            raise DataError(
                f"{HERE}, column '{self.column}': got {condition}; expected a condition that some training date meets: "
                f"they are from {_format_moment(self.first, self.days)} to {_format_moment(self.last, self.days)}."
            )
        return SomeDates(self, inside)

    def point(self, x: Values, value: Any) -> float:
        return int(x[0])

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
        if part == 0:
            return self._coarse()
        if part == 1 and kind.marks is not None:
            return kind.days_within(codes, y, self.ranges)
        assert kind.clock is not None
        start = self._starts(codes, y)
        first, last = kind.ticks.ends_of_slots(kind.clock)
        return _overlap(start[:, None] + first, start[:, None] + last, self.ranges)

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        kind, (low, high) = self.kind, (self.ranges.min(), self.ranges.max())
        if part == 0:
            early, late = kind.hours
            days = np.array([-((late - low) // DAY), (high - early) // DAY])  # days with a time in the interval
            ends, _ = kind.calendar.parts_of(days)
            first, last = kind.grid.cells(kind.coarse, ends[0], ends[1])
            return float(first), float(last)
        if kind.clock is None or (part == 1 and kind.marks is not None):
            return -np.inf, np.inf
        start = self._starts(codes, y)
        return kind.ticks.cells(kind.clock, np.clip(low - start, 0, DAY - 1), np.clip(high - start, 0, DAY - 1))

    def holds(self, codes: Codes, y: Array) -> Mask:
        return in_ranges(self.kind.decode(codes, y, y), self.ranges)

    def _starts(self, codes: Codes, y: Array) -> Integers:
        """Return the first microsecond of the day given by the earlier parts, (n,)."""
        marks = np.full(len(codes), self.kind.mark)
        if self.kind.marks is not None:
            marks = self.kind.marks.at[codes[:, 1]]
        return self.kind.calendar.days_of(self.kind._coarse(codes, y), marks) * DAY

    def _coarse(self) -> Mask:
        kind, (early, late) = self.kind, self.kind.hours
        first, last = kind.grid.ends_of_slots(kind.coarse)
        low, high = kind.calendar.parts_of(np.array([kind.first, kind.last]) // DAY)[0]
        first, last = np.maximum(first, low), np.minimum(last, high)
        starts, ends = kind.calendar.first(first) * DAY + early, (kind.calendar.first(last + 1) - 1) * DAY + late
        return (first <= last) & _overlap(starts, ends, self.ranges)


# --- fitting --------------------------------------------------------------------------------------------------------


def _read_dates(sample: Sample) -> tuple[Integers, Array]:
    """Return the distinct dates of a sample, rising, and the number of rows of each."""
    series = sample.series
    if series.type == "date":
        return sample.seen
    if series.type != "label":
        raise DataError(
            f"{sample.name}, row {sample.rows[0] + 1}, column '{sample.column}': got {shown(series, 0)}; "
            'expected dates. Set its kind to "integer" or "real".'
        )
    return distinct(parse_dates(series, sample.rows, sample.column, sample.name), sample.weights)


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
        row = int(rows[np.argmax(codes == code)]) + 1
        raise DataError(f"{name}, row {row}, column '{column}': got '{label}'; expected {expected}.")
    return made[codes]


# --- shared ---------------------------------------------------------------------------------------------------------


def _overlap(first: Integers, last: Integers, ranges: Integers) -> Mask:
    """Return which intervals from `first` to `last`, of any shape, overlap with one of `ranges` (r, 2)."""
    return np.searchsorted(ranges[:, 0], last, side="right") > np.searchsorted(ranges[:, 1], first, side="left")


def _format_moment(moment: int, days: bool) -> str:
    return str(np.datetime64(int(moment), "us").astype("M8[D]" if days else "M8[s]"))


KINDS: tuple[type[Kind], ...] = (Date,)
