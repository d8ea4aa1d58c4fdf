"""Days as a month and a day of the month, or a week and a weekday, whichever shows a pattern.

chi^2 = sum over marks of (observed - expected)^2 / expected,    expected: as the calendar gives, evenly in each month
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motes.tables._parts import Array, Mask
from motes.tables.kinds._base import ENOUGH

Integers = NDArray[np.int64]
Split = Literal["day", "week", "month"]

LEVEL = 1e-3  # of each test
EXPECTED = 5.0  # rows for each weekday, or day of the month, on average, from which it is tested
MONDAY = 3  # the days from a Monday to 1970-01-01


@dataclass(frozen=True)
class Calendar:
    """Days since 1970 <-> a coarse number and a mark within: (month, day of the month), (week, weekday), (day, 0)."""

    split: Split

    def parts_of(self, days: Integers) -> tuple[Integers, Integers]:
        """Days (m,) -> coarse numbers and marks."""
        if self.split == "week":
            return (days + MONDAY) // 7, (days + MONDAY) % 7
        if self.split == "month":
            dates = days.astype("M8[D]")
            months = dates.astype("M8[M]")
            return months.astype(np.int64), (dates - months).astype(np.int64) + 1
        return days, np.zeros_like(days)

    def first(self, coarse: Integers) -> Integers:
        """The first day of each coarse number."""
        if self.split == "week":
            return 7 * coarse - MONDAY
        return coarse.astype("M8[M]").astype("M8[D]").astype(np.int64) if self.split == "month" else coarse

    def days_of(self, coarse: Integers, marks: Integers) -> Integers:
        """The inverse of `parts_of`; of a day that the month has not, its last one."""
        first = self.first(coarse)
        made = first + marks - (self.split == "month")
        return np.minimum(made, self.first(coarse + 1) - 1)

    def exists(self, coarse: Integers, marks: Integers) -> Mask:
        """Whether there is such a day."""
        return marks - (self.split == "month") < self.first(coarse + 1) - self.first(coarse)


def calendar_of(days: Integers, counts: Array) -> tuple[Calendar, int | None]:
    """How distinct days (m,), which `counts` (m,) rows hold, are split, and their mark if all have one and the same."""
    if counts.sum() >= ENOUGH:
        months, marks = Calendar("month").parts_of(days)
        if len(np.unique(months)) > 2 and (marks == marks[0]).all():
            return Calendar("month"), int(marks[0])
        week, month = _gain(Calendar("week"), days, counts, 7), _gain(Calendar("month"), days, counts, 31)
        if max(week, month) > 0:
            return Calendar("week" if week > month else "month"), None
    return Calendar("day"), 0


def _gain(calendar: Calendar, days: Integers, counts: Array, size: int) -> float:
    """Nats per row by which the marks differ from what the calendar gives; 0 if a chi-squared test finds nothing.

    Within each week, or month, every day of the observed range is expected as often. Rows that come in clusters, many
    of one day, are no independent evidence: the statistic is divided by the dispersion of the days' counts about the
    expected ones (McCullagh & Nelder 1989, eq. 4.23).
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
        return 0.0  # one day of each month or week, such as New Year's Eve and the day after
    dispersion = max(float(((rows - even)[there] ** 2 / even[there]).sum()) / left, 1.0)
    statistic = float(((observed - expected)[some] ** 2 / expected[some]).sum())
    if chi2.sf(statistic / dispersion, freedom) > LEVEL:
        return 0.0
    seen = observed > 0
    nats = float((observed[seen] * np.log(observed[seen] / expected[seen])).sum() / total)
    return max(nats - dispersion * freedom / (2 * total), 0.0)  # less what it gains by chance
