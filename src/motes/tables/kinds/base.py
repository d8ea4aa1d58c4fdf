"""What a column kind is: it is inferred from entries with a reason, fitted, and maps entries to codes and back.

`Part`, `Entries`, `Restriction` and the conditions are those of `motes.tables.parts`, `Series` that of
`motes.data.arrays`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import TYPE_WORDS, Label, Series
from motes.errors import DataError, UsageError
from motes.tables.kinds.lines import Binning, Numbers, complement, distinct
from motes.tables.parts import (
    HERE,
    IMPOSSIBLE,
    Among,
    Array,
    Between,
    Codes,
    Entries,
    Mask,
    Not,
    Part,
    Restriction,
    SetOfValues,
    Values,
    one_value,
)


@dataclass(frozen=True)
class Sample:
    """The entries of one column that a kind is fitted to.

    Attributes:
        column: its name.
        series: (m,), none is missing.
        rows: (m,), their rows in the data, counted from 0.
        weights: (m,), how many rows each stands for.
        bins: codes of a numeric part, at most.
        name: what messages call the data.
    """

    column: str
    series: Series
    rows: NDArray[np.int64]
    weights: Array
    bins: int
    name: str

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def seen(self) -> tuple[Values, Array]:
        """The distinct values (d,), rising, and how many rows each stands for; labels as codes of the series."""
        return distinct(self.series.values, self.weights)


@dataclass(frozen=True)
class Kind(abc.ABC):
    """A fitted column kind. Its entries are `Values`, an array (m,) of whatever `read` makes of them.

    A kind of your own is a frozen dataclass. Its fields are what it learned; a model file holds them, so they are
    numbers, texts, arrays, tuples, mappings or dataclasses of motes, annotated as such. `name` is set by
    `motes.register`.

    Attributes:
        column: the name of the column.

    Example:
        >>> from motes.tables import Schema
        >>> kind = Schema.fit(people).kinds[1]
        >>> kind.column, kind.name, kind.becomes
        ('smoker', 'categorical', '2 labels')
    """

    column: str

    name: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    """Names of what may be said of such a column; see `option`."""
    ends: ClassVar[tuple[float | None, float | None]] = (None, None)
    """Where low and high are if nothing is said."""
    discrete: ClassVar[bool] = False
    """Whether its entries are labels, which are compared by their shares; then it has one part, see `outcomes`."""
    measure: ClassVar[Literal["number", "date"] | None] = None
    """What the values measure; columns of the same measure can be compared. None: they have no order."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.column!r}, {self.becomes})"

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        """Why entries that vary are of this kind, in a phrase; None: they are not, unless someone says so.

        Example:
            >>> from motes.tables import Schema
            >>> from motes.tables.kinds import KINDS
            >>> [column.why for column in Schema.fit(people).columns], "integer" in KINDS
            (['4 distinct whole numbers from 25 to 62', '2 labels'], True)
        """
        return None

    @classmethod
    def option(cls, column: str, key: str, value: Any) -> Any:
        """The value of one of `options`, checked; a number, if a kind says nothing else.

        Raises:
            UsageError: a value that the option cannot have.

        Example:
            >>> from motes.tables.kinds import KINDS
            >>> KINDS["integer"].option("age", "high", 120.0)
            120
        """
        return number(column, key, value)

    @classmethod
    def warnings(cls, sample: Sample, options: Mapping[str, Any]) -> list[str]:
        """What whoever trains on entries of this kind should know.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"age": ["31", "47", "n/k", "25"] * 10})
            >>> print(schema.warnings[0].partition(", such")[0])
            column 'age': numbers but for 1 of its labels
        """
        return []

    @classmethod
    @abc.abstractmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        """Learn the codes.

        Raises:
            DataError: entries that are not of this kind; the message names the first row.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].labels
            ('no', 'yes')
        """

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """The parts, the coarsest first, without a code for missing entries."""

    @property
    def lines(self) -> tuple[Binning | None, ...]:
        """The line of each part; None for labels."""
        return (None,) * len(self.parts)

    @abc.abstractmethod
    def read(self, series: Series, name: str) -> Values:
        """The entries that are not missing, (m,), as `encode` takes them.

        Raises:
            DataError: a series of another type.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import Schema
            >>> kind = Schema.fit(people).kinds[1]
            >>> kind.read(as_frame({"smoker": ["yes", None, "no"]}).columns["smoker"], "the data").tolist()
            [1, 0]
        """

    @abc.abstractmethod
    def encode(self, values: Values) -> list[Entries]:
        """Values (m,) -> the entries of each part; codes are `IMPOSSIBLE` where the column cannot hold the value.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].encode(np.array([1, 0]))[0].codes.tolist()
            [1, 0]
        """

    @abc.abstractmethod
    def expected(self, value: Any) -> str:
        """What was expected instead of one value whose code is `IMPOSSIBLE`, and what to do.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].expected("sometimes")
            'one of the 2 labels of the training: no, yes'
        """

    @abc.abstractmethod
    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        """Codes, places and uniform numbers (n, q) of q parts -> values (n,).

        Example:
            >>> from motes.tables import Schema
            >>> kind = Schema.fit(people).kinds[1]
            >>> kind.decode(np.array([[1], [0]], np.int32), np.zeros((2, 1)), np.full((2, 1), 0.5)).tolist()
            [1, 0]
        """

    @property
    def outcomes(self) -> Values:
        """The values of a `discrete` kind, (l,), whose probabilities `of_labels` gives: one for each code.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].outcomes.tolist()
            [0, 1]
        """
        codes = np.arange(self.parts[0].count, dtype=np.int32)[:, None]
        return self.decode(codes, np.zeros(codes.shape), np.full(codes.shape, 0.5))

    def of_labels(self, shares: Array) -> Array:
        """Shares of the codes (n, K) -> shares of the outcomes (n, l) of a `discrete` kind.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].of_labels(np.array([[0.25, 0.75]])).tolist()
            [[0.25, 0.75]]
        """
        return shares

    def label_cells(self) -> list[Any]:
        """The outcomes as plain Python values.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].label_cells()
            ['no', 'yes']
        """
        values = self.outcomes
        return self.series(values, np.zeros(len(values), bool)).cells()

    @abc.abstractmethod
    def series(self, values: Values, missing: Mask) -> Series:
        """Values (n,) as a series of the type that the training data had.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].series(np.array([1, 0]), np.array([False, False])).cells()
            ['yes', 'no']
        """

    def draw_range(self, part: int) -> tuple[float, float] | None:
        """The interval of y in which values are drawn; None for labels.

        Example:
            >>> from motes.tables import Schema
            >>> ages, smokers = Schema.fit(people).kinds
            >>> ages.draw_range(0), smokers.draw_range(0)
            ((-1.1609, 1.4728), None)
        """
        line = self.lines[part]
        return None if line is None else line.draw_range

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask | None:
        """Which codes of a part (n, K) are possible after those of the earlier parts (n, part); None: all.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].allowed(0, np.zeros((3, 0), np.int32), np.zeros((3, 0))) is None
            True
        """
        return None

    @abc.abstractmethod
    def restrict(self, condition: SetOfValues) -> Restriction:
        """What a condition leaves of the codes.

        Raises:
            DataError: a value that the column cannot hold, or a condition that no value meets.
            UsageError: a condition that means nothing for this kind, such as an interval of labels.

        Example:
            >>> from motes.tables import Among, Schema
            >>> left = Schema.fit(people).kinds[1].restrict(Among(("yes",)))
            >>> left.allowed(0, np.zeros((1, 0), np.int32), np.zeros((1, 0))).tolist()
            [False, True]
        """

    # --- what other columns have to do with it ---

    @property
    def step(self) -> float | None:
        """The distance of neighbouring values, numbers or microseconds; None: there is none."""
        return None

    def nearest(self, x: Array) -> Values:
        """The values nearest to numbers (n,), of a kind with a `step`.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].nearest(np.array([30.2])).tolist()
            [30]
        """
        return x

    @property
    def own_labels(self) -> tuple[Label, ...]:
        """Labels without an order that have a code of their own, the first ones: other columns can follow from them."""
        return ()

    # --- how a page and predictions show it ---

    @property
    def extremes(self) -> Values | None:
        """The first and the last value, (2,), where a page offers a calendar; None: it offers none."""
        return None

    def mean_and_sd(self, values: Values) -> tuple[Series, Array]:
        """The mean of each row of values (n, r) as a column, and their standard deviations, (n,).

        Example:
            >>> from motes.tables import Schema
            >>> mean, sd = Schema.fit(people).kinds[0].mean_and_sd(np.array([[30, 40]]))
            >>> mean.values.tolist(), sd.tolist()
            ([35.0], [5.0])
        """
        apart = (values - values[:, :1]).astype(np.float64)  # with the digits of large whole numbers and dates
        mean = values[:, 0] + apart.mean(axis=1)
        return Series("real", mean, np.zeros(len(values), bool)), apart.std(axis=1)

    def beyond(self, values: Values) -> str:
        """What was expected instead of a value (1,) that is possible, but never drawn; otherwise "".

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].beyond(np.array([31]))
            ''
        """
        return ""

    @property
    @abc.abstractmethod
    def becomes(self) -> str:
        """What the column is for the network, in words."""

    def check_type(self, series: Series, types: tuple[str, ...], expected: str, name: str) -> None:
        """Refuse a series of another type than `types`.

        Raises:
            DataError: it names the first row that holds something.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import Schema
            >>> ages = as_frame({"age": ["old", "young"]}).columns["age"]
            >>> Schema.fit(people).kinds[0].check_type(ages, ("integer",), "a whole number", "the data")
            Traceback (most recent call last):
                ...
            motes.errors.DataError: the data, row 1, column 'age': got 'old'; expected a whole ...
        """
        if series.type not in types:
            row = int(np.argmin(series.missing))
            raise DataError(
                f"{name}, row {row + 1}, column '{self.column}': got {shown(series, row)}; "
                f"expected {expected}, and this column is {TYPE_WORDS[series.type]}. Convert the column first."
            )

    def one(self, value: Any) -> Values:
        """One value of a condition as `read` gives it, (1,).

        Raises:
            DataError: the column cannot hold it.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].one("yes").tolist()
            [1]
        """
        series = one_value(self.column, value)
        x = self.read(series, HERE)
        if any(entries.codes[0] == IMPOSSIBLE for entries in self.encode(x)):
            raise DataError(f"{HERE}, column '{self.column}': got {shown(series, 0)}; expected {self.expected(x[0])}.")
        return x


class Measured(Kind):
    """Values that measure something: of them a condition leaves closed intervals."""

    @abc.abstractmethod
    def point(self, x: Values, value: Any) -> float:
        """The place of one value x (1,), which a condition calls `value`; an integer where places are.

        Raises:
            DataError: it has no probability.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].point(np.array([31]), 31)
            31
        """

    @abc.abstractmethod
    def between(self, low: Any, high: Any) -> Numbers:
        """The places from one value to another, both included, (1, 2); None: there is no such end.

        Raises:
            DataError: no value lies there.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].between(31, 47).tolist()
            [[31, 47]]
        """

    def ranges(self, condition: Any) -> Numbers:
        """The closed intervals (r, 2) of places, disjoint and rising, that fulfil a condition, or are one value.

        Raises:
            DataError, UsageError: those of `restrict`.

        Example:
            >>> from motes.tables import Among, Schema
            >>> Schema.fit(people).kinds[0].ranges(Among((47, 31))).tolist()
            [[31, 31], [47, 47]]
        """
        match condition:
            case Not(inner):
                return complement(self.ranges(inner))
            case Between(low, high):
                read = lambda end: None if end is None else self.read(one_value(self.column, end), HERE)[0]
                first, last = read(low), read(high)
                if first is not None and last is not None and first > last:
                    raise UsageError(f"column '{self.column}': got {low} to {high}; expected low <= high.")
                return self.between(first, last)
            case Among(values):
                pass
            case _:
                values = (condition,)
        places = np.unique([self.point(self.one(value), value) for value in values])
        return np.repeat(places[:, None], 2, axis=1)


def number(column: str, key: str, value: Any, *, whole: bool = False, low: int | None = None, high: int = 0) -> float:
    """The value of an option that is a finite number, or a whole one, of at least `low`, and up to `high` if above it.

    Raises:
        UsageError: it is none.
    """
    fits = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    fits = fits and not (whole and value != int(value))
    if not fits or (low is not None and (value < low or low < high < value)):
        ends = "" if low is None else f" from {low} to {high}" if high > low else f" of at least {low}"
        raise UsageError(
            f"column '{column}': {key} = {value!r}; expected a {'whole' if whole else 'finite'} number{ends}."
        )
    return int(value) if whole else float(value)


def shown(series: Series, row: int) -> str:
    """One entry as messages show it: text in quotes."""
    value = entry_at(series, row)
    return f"'{value}'" if isinstance(value, str) else str(value)


def entry_at(series: Series, row: int) -> Any:
    """One entry as a plain Python value."""
    return series.take(slice(row, row + 1)).cells()[0]
