"""The base classes of column kinds. A kind is inferred from entries, fitted, and encodes entries as tokens and back.

`Part`, `Entries`, `Restriction` and the conditions come from `motes.tables.parts`, and `Series` from
`motes.data.arrays`.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import HERE, TYPE_WORDS, Array, Label, Mask, Series, entry_error, of_values
from motes.errors import UsageError
from motes.tables.kinds.binnings import Binning, Numbers, complement, distinct
from motes.tables.kinds.personal import looks_personal
from motes.tables.parts import IMPOSSIBLE, Among, Between, Codes, Entries, Not, Part, Restriction, SetOfValues, Values


@dataclass(frozen=True)
class Sample:
    """The observed entries of one column, to which a kind is fitted.

    Attributes:
        column: name of the column.
        series: (m,), none missing.
        rows: (m,), row numbers in the data, counted from 0.
        weights: (m,), sample weights.
        bins: maximum number of tokens of a numeric part.
        name: name of the data in messages.
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
        """The distinct values (d,), rising, and the number of rows of each; labels as codes of the series."""
        return distinct(self.series.values, self.weights)

    @cached_property
    def personal(self) -> str:
        """What the distinct values name, in a word of `personal.FORMS`; "" for ordinary values."""
        values, labels = self.seen[0].tolist(), self.series.labels
        if not values or self.series.type not in ("label", "whole", "real"):
            return ""
        texts = [str(labels[value] if self.series.type == "label" else int(value)) for value in values]
        return looks_personal(self.column, texts, self.seen[1].sum() / len(values))


@dataclass(frozen=True)
class Kind(abc.ABC):
    """A fitted column kind. Its entries are `Values`: the array (m,) that `read` returns.

    A custom kind is a frozen dataclass whose fields hold what it learned from the data. Model files contain the fields,
    so they must be numbers, texts, arrays, tuples, mappings or dataclasses of motes, annotated as such.
    `motes.register` sets `name`.

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
    """Names of the options of the kind; see `option`."""
    ends: ClassVar[tuple[float | None, float | None]] = (None, None)
    """The default values of low and high."""
    discrete: ClassVar[bool] = False
    """Whether the entries are labels, which are compared by their shares; then it has one part, see `outcomes`."""
    measure: ClassVar[Literal["number", "date"] | None] = None
    """What the values measure; columns of the same measure can be compared. None if they have no order: evaluations
    then compare the shares of single values, and `predict` refuses the column unless it is `discrete`."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.column!r}, {self.becomes})"

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        """Return the reason to treat these entries as this kind, in a phrase; None to require an override.

        Example:
            >>> from motes.tables import Schema
            >>> from motes.tables.kinds import KINDS
            >>> [column.why for column in Schema.fit(people).columns], "integer" in KINDS
            (['4 distinct whole numbers from 25 to 62', '2 labels'], True)
        """
        return None

    @classmethod
    def option(cls, column: str, key: str, value: Any) -> Any:
        """Check the value of one of `options` and return it; a number by default.

        Raises:
            UsageError: if the option cannot have this value.

        Example:
            >>> from motes.tables.kinds import KINDS
            >>> KINDS["integer"].option("age", "high", 120.0)
            120
        """
        return number(column, key, value)

    @classmethod
    def warnings(cls, sample: Sample, options: Mapping[str, Any]) -> list[str]:
        """Return warnings about these entries, to show before training.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"age": ["31", "47", "n/k", "25"] * 10})
            >>> print(schema.warnings[0].partition(", such")[0])
            column 'age': numbers except for 1 of its labels
        """
        return []

    @classmethod
    @abc.abstractmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        """Fit the tokens.

        Raises:
            DataError: if an entry is not of this kind; the message names the first row.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].labels
            ('no', 'yes')
        """

    def refined(self, sample: Sample) -> Kind:
        """Return the kind for a column that no relation to other columns uses; itself by default.

        Example:
            >>> from motes.tables import Schema
            >>> pay = [1000 * (k % 97) for k in range(300)] + [1000 * (k % 89) + 500 for k in range(300)] + [1234, 8967]
            >>> Schema.fit({"pay": pay}).kinds[0].name
            'fractional'
        """
        return self

    @property
    @abc.abstractmethod
    def parts(self) -> tuple[Part, ...]:
        """The parts, the coarsest first, without a token for missing entries."""

    @property
    def lines(self) -> tuple[Binning | None, ...]:
        """The binning of each part; None for labels."""
        return (None,) * len(self.parts)

    @abc.abstractmethod
    def read(self, series: Series, name: str) -> Values:
        """Return the observed entries, (m,), in the form that `encode` expects.

        Raises:
            DataError: if the series has another type.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import Schema
            >>> kind = Schema.fit(people).kinds[1]
            >>> kind.read(as_frame({"smoker": ["yes", None, "no"]}).columns["smoker"], "the data").tolist()
            [1, 0]
        """

    @abc.abstractmethod
    def encode(self, values: Values) -> list[Entries]:
        """Encode values (m,) as the entries of each part; the token is `IMPOSSIBLE` if the column cannot hold a value.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].encode(np.array([1, 0]))[0].codes.tolist()
            [1, 0]
        """

    @abc.abstractmethod
    def expected(self, value: Any) -> str:
        """Describe what was expected instead of a value whose token is `IMPOSSIBLE`, and how to fix it.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].expected("sometimes")
            'one of the 2 training labels: no, yes'
        """

    @abc.abstractmethod
    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        """Decode tokens, places and uniform numbers (n, q) of q parts into values (n,).

        Example:
            >>> from motes.tables import Schema
            >>> kind = Schema.fit(people).kinds[1]
            >>> kind.decode(np.array([[1], [0]], np.int32), np.zeros((2, 1)), np.full((2, 1), 0.5)).tolist()
            [1, 0]
        """

    @property
    def outcomes(self) -> Values:
        """The values of a `discrete` kind, (l,), whose probabilities `of_labels` returns: one for each token.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].outcomes.tolist()
            [0, 1]
        """
        codes = np.arange(self.parts[0].count, dtype=np.int32)[:, None]
        return self.decode(codes, np.zeros(codes.shape), np.full(codes.shape, 0.5))

    def of_labels(self, shares: Array) -> Array:
        """Convert shares of the tokens (n, K) to shares of the outcomes (n, l) of a `discrete` kind.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].of_labels(np.array([[0.25, 0.75]])).tolist()
            [[0.25, 0.75]]
        """
        return shares

    def label_cells(self) -> list[Any]:
        """Return the outcomes as plain Python values.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].label_cells()
            ['no', 'yes']
        """
        values = self.outcomes
        return self.series(values, np.zeros(len(values), bool)).cells()

    @abc.abstractmethod
    def series(self, values: Values, missing: Mask) -> Series:
        """Return values (n,) as a series of the training data's type.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].series(np.array([1, 0]), np.array([False, False])).cells()
            ['yes', 'no']
        """

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask | None:
        """Return which tokens of a part (n, K) are possible after the earlier parts' tokens (n, part); None if all are.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].allowed(0, np.zeros((3, 0), np.int32), np.zeros((3, 0))) is None
            True
        """
        return None

    @abc.abstractmethod
    def restrict(self, condition: SetOfValues) -> Restriction:
        """Return the restriction of the tokens to a condition.

        Raises:
            DataError: if the column cannot hold a value of the condition, or no value meets it.
            UsageError: if the condition has no meaning for this kind, such as an interval of labels.

        Example:
            >>> from motes.tables import Among, Schema
            >>> left = Schema.fit(people).kinds[1].restrict(Among(("yes",)))
            >>> left.allowed(0, np.zeros((1, 0), np.int32), np.zeros((1, 0))).tolist()
            [False, True]
        """

    def ranges(self, condition: Any) -> Numbers:
        """Return the closed intervals (r, 2) of places, disjoint and rising, that meet a condition or equal one value.

        A place is a number that stands for a value, such as the index of a label; see `point` and `between`.

        Raises:
            DataError, UsageError: as in `restrict`.

        Example:
            >>> from motes.tables import Among, Schema
            >>> Schema.fit(people).kinds[0].ranges(Among((47, 31))).tolist()
            [[31, 31], [47, 47]]
        """
        match condition:
            case Not(inner):
                return complement(self.ranges(inner))
            case Between(low, high):
                read = self.one if self.discrete else lambda end: self.read(one_value(self.column, end), HERE)
                first, last = (None if end is None else read(end)[0] for end in (low, high))
                if first is not None and last is not None and first > last:
                    raise UsageError(f"column '{self.column}': got {low} to {high}; expected low <= high.")
                return self.between(first, last)
            case Among(values):
                pass
            case _:
                values = (condition,)
        places = np.unique([self.point(self.one(value), value) for value in values])
        return np.repeat(places[:, None], 2, axis=1)

    def point(self, x: Values, value: Any) -> float:
        """Return the place of one value x (1,), written `value` in the condition; an integer if places are integers.

        Raises:
            DataError: if the value has no probability.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].point(np.array([31]), 31)
            31
        """
        return int(x[0])

    def between(self, low: Any, high: Any) -> Numbers:
        """Return the places from one value to another, both included, (1, 2); None for an open end.

        Raises:
            DataError: if the interval contains no value.
            UsageError: if the values have no order.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].between(31, 47).tolist()
            [[31, 47]]
        """
        raise UsageError(
            f"column '{self.column}' is {self.name}, without an order: got an interval; expected one label, or several "
            "as a set."
        )

    # --- relations to other columns ---

    @property
    def decimal(self) -> bool:
        """Whether values may have decimals, so that 99,50 may be meant as one number."""
        return False

    @property
    def step(self) -> float | None:
        """The distance between neighbouring values, in numbers or microseconds; None if there is no fixed distance."""
        return None

    def nearest(self, x: Array) -> Values:
        """Return the values nearest to numbers (n,), for a kind with a `step`.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].nearest(np.array([30.2])).tolist()
            [30]
        """
        return x

    @property
    def rare_rows(self) -> Array:
        """The number of rows of each label that shares a token with others, (l,); they follow the `own_labels`.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].rare_rows
            array([], dtype=float64)
        """
        return np.zeros(0)

    def select_rare(self, u: Array, weights: Array) -> Array:
        """Map uniform numbers (n,) so that `decode` selects rare labels in proportion to `weights` (l,).

        Example:
            >>> from motes.tables import Schema
            >>> labels = ["label 0"] * 9 + [f"label {k}" for k in range(1, 300)]  # all but the first share a token
            >>> kind = Schema.fit({"a": labels}, {"a": "categorical"}).kinds[0]
            >>> u = kind.select_rare(np.array([0.2, 0.9]), np.arange(299) == 7)
            >>> kind.decode(np.array([[1], [1]]), np.zeros((2, 1)), u[:, None]).tolist()
            [8, 8]
        """
        return u

    @property
    def own_labels(self) -> tuple[Label, ...]:
        """The labels without an order that have a token of their own; other columns can follow from them."""
        return ()

    # --- display and predictions ---

    @property
    def extremes(self) -> Values | None:
        """The first and the last value, (2,), for which the explorer shows a calendar; None for no calendar."""
        return None

    def mean_and_sd(self, values: Values) -> tuple[Series, Array]:
        """Return the mean of each row of values (n, r) as a column, and the standard deviations, (n,).

        Example:
            >>> from motes.tables import Schema
            >>> mean, sd = Schema.fit(people).kinds[0].mean_and_sd(np.array([[30, 40]]))
            >>> mean.values.tolist(), sd.tolist()
            ([35.0], [5.0])
        """
        apart = (values - values[:, :1]).astype(np.float64)  # keeps the digits of large whole numbers and dates
        mean = values[:, 0] + apart.mean(axis=1)
        return Series("real", mean, np.zeros(len(values), bool)), apart.std(axis=1)

    def beyond(self, values: Values) -> str:
        """Describe what was expected instead of a value (1,) that is possible, but never drawn; otherwise "".

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[0].beyond(np.array([31]))
            ''
        """
        return ""

    @property
    @abc.abstractmethod
    def becomes(self) -> str:
        """How the network represents the column, in words."""

    def check_type(self, series: Series, types: tuple[str, ...], expected: str, name: str) -> None:
        """Check that the type of a series is one of `types`.

        Raises:
            DataError: if it is not; the message names the first observed row.

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
            expected += f", and this column is {TYPE_WORDS[series.type]}. Convert the column first"
            raise entry_error(name, self.column, shown(series, row), expected, row)

    def one(self, value: Any) -> Values:
        """Return one value of a condition in the form of `read`, (1,).

        Raises:
            DataError: if the column cannot hold it.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kinds[1].one("yes").tolist()
            [1]
        """
        series = one_value(self.column, value)
        x = self.read(series, HERE)
        if any(entries.codes[0] == IMPOSSIBLE for entries in self.encode(x)):
            raise entry_error(HERE, self.column, shown(series, 0), self.expected(x[0]))
        return x


class OnLine:
    """A base class of kinds with one part, whose values lie on a line; `line` is its binning."""

    column: str
    line: Any

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.line.part(self.column, self.column),)

    @property
    def lines(self) -> tuple[Binning | None, ...]:
        return (self.line,)

    def encode(self, values: Values) -> list[Entries]:
        return [self.line.encode(values)]


def one_value(name: str, value: Any) -> Series:
    """Return a value as a column of length 1.

    Raises:
        UsageError: if there are several values, the value is missing, or it is infinite.
    """
    several = isinstance(value, Iterable | slice) or hasattr(value, "left")  # such as a pandas Interval
    if several and not isinstance(value, str | bytes):
        raise UsageError(
            f"column '{name}' = {value!r}; expected a value, an interval as a tuple: (low, high), "
            "or several values as a set: {one, another}."
        )
    series = of_values(np.array([value], dtype=object), name, HERE)
    if series.missing[0]:
        raise UsageError(f"column '{name}' = {value!r}; expected a value. None stands for a missing entry.")
    if series.type == "real" and np.isinf(series.values[0]):
        raise UsageError(f"column '{name}' = {value!r}; expected a finite number. An open end is None: (10, None).")
    return series


def number(column: str, key: str, value: Any, *, whole: bool = False, low: int | None = None, high: int = 0) -> float:
    """Check that an option is a finite or whole number, at least `low`, and at most `high` if above `low`; return it.

    Raises:
        UsageError: if it is not.
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
    """Format one entry for messages: text in quotes."""
    value = entry_at(series, row)
    return f"'{value}'" if isinstance(value, str) else str(value)


def entry_at(series: Series, row: int) -> Any:
    """Return one entry as a plain Python value."""
    return series.take(slice(row, row + 1)).cells()[0]
