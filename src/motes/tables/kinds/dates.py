"""Days as a month and a day of the month, or as a week and a weekday, whichever shows a pattern.

chi^2 = sum over marks of (observed - expected)^2 / expected,    expected: by the calendar, evenly in each month
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import DAY, Series, is_finer, moment_of
from motes.errors import DataError
from motes.tables.kinds.base import Kind, Sample, shown
from motes.tables.kinds.lines import (
    ENOUGH,
    FAR,
    Binning,
    Few,
    Grid,
    Integers,
    Numbers,
    distinct,
    fit_few,
    fit_whole,
    in_ranges,
    overlap,
)
from motes.tables.parts import HERE, IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Restriction, SetOfValues, Values

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
            raise DataError(
                f"{sample.name}, row {sample.rows[0] + 1}, column '{sample.column}': got {shown(series, 0)}; "
                'expected dates. Set its kind to "integer" or "real".'
            )
        parsed = (
            series.values if series.type == "date" else parse_dates(series, sample.rows, sample.column, sample.name)
        )
        x, counts = distinct(parsed, sample.weights)
        days, rows = distinct(x // DAY, counts)
        split = choose_split(days, rows)
        coarse, marks = split_days(split, days)
        return cls(
            sample.column, split, fit_whole(coarse, rows, sample.bins), fit_few(*distinct(marks, rows), Grid()),
            fit_whole(x % DAY, counts, sample.bins), int(x[0]), int(x[-1]), series.days,
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
            raise DataError(
                f"{HERE}, column '{self.column}': got {condition}; expected a condition that some training date meets: "
                f"they are {self._range}."
            )
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
        row = int(rows[np.argmax(codes == code)]) + 1
        raise DataError(f"{name}, row {row}, column '{column}': got '{label}'; expected {expected}.")
    return made[codes]


def _format_moment(moment: int, days: bool) -> str:
    return str(np.datetime64(int(moment), "us").astype("M8[D]" if days else "M8[s]"))


KINDS: tuple[type[Kind], ...] = (Date,)
