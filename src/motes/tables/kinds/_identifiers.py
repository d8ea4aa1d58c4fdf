"""Columns in which nearly every row has a value of its own: numbers of rows, names, e-mail addresses, free text.

Such values say nothing of other rows, and a model that learned them would only give real ones back. These columns are
set aside: synthetic rows leave them empty, or have placeholders there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from motes.data._series import Series, Type
from motes.errors import DataError
from motes.tables._parts import Array
from motes.tables.kinds._base import ENOUGH, Sample
from motes.tables.kinds._grids import common_step, is_whole

DISTINCT = 0.9  # share of the entries, at least, that differ from one another
NAMES = frozenset(
    ["id", "ids", "key", "uuid", "guid", "nr", "no", "number", "idx", "index"]
)  # last words of the name of a number
YEARS = 1500, 2200  # whole numbers between these may be years, of which a series has each once
NEAR = 5  # whole numbers at most so far apart are neighbours
PAIRS = 12.0  # equal pairs that chance would bring about, at least, where hardly any is there
HARDLY = 6  # times fewer
UNIFORM = 100  # rows, from which uniform numbers of so many digits are told from measurements
DIGITS = 5
ROOM = 10**12  # placeholders, at least
SIZE = 0.01  # of the test of that
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True)
class Identifier:
    """A column that is set aside, without any of its values.

    Attributes:
        type: of its series: text ("label") or whole numbers ("whole", or "real" where these came as floats).
        before, after: the text around the number of a placeholder; no value of the training begins with `before`.
        first: placeholders that are numbers count up from here; no value of the training is there.
    """

    type: Type
    before: str = ""
    after: str = ""
    first: int = 0

    @classmethod
    def of(cls, sample: Sample) -> Identifier:
        """That of the entries of a column.

        Raises:
            DataError: entries that are neither text nor whole numbers.
        """
        series, column = sample.series, sample.column
        if series.type == "label":
            texts = [str(label) for label in series.labels]
            after = "@example.com" if all(map(ADDRESS.fullmatch, texts)) else ""
            before = f"{column}-"
            while any(text.startswith(before) for text in texts):
                before += "x-"
            return cls("label", before, after)
        if series.type not in ("whole", "real") or not is_whole(series.values):
            raise DataError(
                f"column '{column}' of {sample.name} is neither text nor whole numbers; expected one of these for kind "
                f'"identifier". Leave it out by kind "drop".'
            )
        values = np.sort(series.values).astype(np.int64)
        first = 10 ** len(str(max(int(values.max(initial=0)), 0)))
        largest = 2**53 if series.type == "real" else 2**63
        if first + ROOM > largest:  # then between the values that are farthest apart
            widest = int(np.diff(values.astype(np.float64)).argmax())
            first = (int(values[widest]) + int(values[widest + 1])) // 2
        return cls(series.type, first=first)

    def nothing(self, n: int) -> Series:
        """n missing entries."""
        return Series(self.type, np.zeros(n, np.float64 if self.type == "real" else np.int64), np.ones(n, bool))

    def placeholders(self, start: int, n: int) -> Series:
        """n placeholders, the first of which has the number `start`."""
        numbers, here = np.arange(start, start + n), np.zeros(n, bool)
        if self.type == "label":
            return Series("label", np.arange(n), here, tuple(f"{self.before}{k:06d}{self.after}" for k in numbers))
        return Series(self.type, (self.first + numbers).astype(self.nothing(0).values.dtype), here)


def identifier_reason(sample: Sample) -> str | None:
    """Why a column is set aside, in a phrase; None: it is not.

    Text is if nearly all entries differ. Whole numbers, which may be measured, are if they also look like numbers that
    were given to the rows: by their name; because values that lie as densely as these would have many equal ones by
    chance; or because they are spread evenly over all numbers of so many digits.
    """
    series, values = sample.series, sample.seen[0]
    # A weight of 2 is as good as the row twice.
    if len(sample) <= ENOUGH or len(values) < DISTINCT * max(len(sample), sample.weights.sum()):
        return None
    if series.type == "label" and not series.ordered:
        return f"{len(values):,} different texts in {len(sample):,} rows"
    if series.type not in ("whole", "real") or not is_whole(values):
        return None
    numbers = values.astype(np.float64)
    if _is_named(sample.column) or _is_given(numbers, len(sample) - len(values)) or _is_random(numbers):
        return f"{len(values):,} different whole numbers in {len(sample):,} rows"
    return None


def _is_named(column: str) -> bool:
    """Whether the name says that it holds numbers of rows: id, customer_id, PassengerId."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", column)
    return bool(words) and words[-1].lower() in NAMES


def _is_given(values: Array, repeated: int) -> bool:
    """Whether equal values are far rarer than neighbours, among distinct values (d,), rising.

    Of independent values two are equal half as often as they are 1 apart, 2 apart, and so on.
    """
    if YEARS[0] <= values[0] and values[-1] <= YEARS[1]:
        return False
    near = sum(int((values[lag:] - values[:-lag] <= NEAR).sum()) for lag in range(1, NEAR + 1))
    expected = near / (2 * NEAR)
    return expected >= PAIRS and repeated * HARDLY <= expected


def _is_random(values: Array) -> bool:
    """Whether values (d,) are uniform over all whole numbers of up to so many digits, or of exactly so many."""
    from scipy.stats import kstest

    digits = len(str(int(values[-1])))
    if len(values) < UNIFORM or digits < DIGITS or values[0] < 0 or common_step(values) > 1:
        return False
    high = 10.0**digits
    return any(kstest(values, "uniform", args=(low, high - low)).pvalue > SIZE for low in (0.0, high / 10))
