"""Conditions on the columns of a table, and what they leave of the codes of its parts.

    {"age": 40, "city": {"Graz", "Wien"}, "price": (None, 500), "pace": Not(Between(3, 4)), "rent": None}

A value is known and stays visible to the network; any other condition is a set of values, of which the codes and an
interval of y remain.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from motes.data._frames import Frame
from motes.data._series import Series, of_values
from motes.data._text_lines import default_columns
from motes.errors import DataError, UsageError, unknown
from motes.tables._parts import Array, Codes, Mask

if TYPE_CHECKING:
    from motes.tables._schema import Schema

HERE = "given"  # what messages call the conditions


@dataclass(frozen=True)
class Among:
    """One of several values.

    Example:
        >>> from motes.tables import Among, Not
        >>> print(Not(Among(("Graz", "Wien"))))
        not one of Graz, Wien
    """

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Between:
    """From `low` to `high`, both included; None: there is no such end.

    Example:
        >>> from motes.tables import Between
        >>> print(Between(10, 500), "|", Between(high=500))
        10 to 500 | at most 500
    """

    low: Any = None
    high: Any = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"at most {self.high}" if self.low is None else f"at least {self.low}"
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Missing:
    """The entry is missing.

    Example:
        >>> from motes.tables import Missing, Not
        >>> print(Not(Missing()))
        not missing
    """

    def __str__(self) -> str:
        return "missing"


@dataclass(frozen=True)
class NotMissing:
    """The entry has a value.

    Example:
        >>> from motes.tables import NotMissing
        >>> rows = table.sample(5, given={"age": NotMissing()})
        >>> len(rows["age"])
        5
    """

    def __str__(self) -> str:
        return "not missing"


@dataclass(frozen=True)
class Not:
    """The entry has a value, and another condition, or this value, does not hold of it.

    So p(A) + p(Not(A)) + p(missing) = 1, and `Not(Missing())` is `NotMissing()`.

    Example:
        >>> from motes.tables import Between, Not
        >>> ages = table.sample(5, given={"age": Not(Between(30, 50))})["age"]
        >>> all(not 30 <= age <= 50 for age in ages)
        True
    """

    condition: Any

    def __str__(self) -> str:
        return f"not {self.condition}"


Condition = Among | Between | Not | Missing | NotMissing
SetOfValues = Among | Between | Not  # conditions that a column kind takes


class Restriction(abc.ABC):
    """What a condition leaves of the q parts of one column."""

    @abc.abstractmethod
    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        """Which codes of a part remain, (K,) or (n, K), after the codes and places of the earlier parts, (n, part)."""

    @abc.abstractmethod
    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        """The ends of y that remain within the allowed codes, two numbers or two arrays (n,); infinite: no end.

        Of several intervals they are the first end and the last: `holds` says what lies between.
        """

    @abc.abstractmethod
    def holds(self, codes: Codes, y: Array) -> Mask:
        """Whether the condition holds of entries with these codes and places (n, q), (n,)."""

    def shares(self) -> Array | None:
        """(K,), the share of each code that remains, where one code holds several labels; None: all of each."""
        return None

    def narrowed(self, codes: Codes, u: Array) -> Array:
        """Uniform numbers (n,) -> those with which `decode` chooses among the labels that remain of codes (n,)."""
        return u


@dataclass(frozen=True)
class Presence(Restriction):
    """Whether there is a value.

    Attributes:
        counts: of the codes of each part, without the one for missing entries.
        coded: there is one.
        missing: the entry is to be missing; otherwise to have a value.
    """

    counts: tuple[int, ...]
    coded: bool
    missing: bool

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        values = np.full(self.counts[part], not self.missing)
        return np.append(values, self.missing) if self.coded and part == 0 else values

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        return -np.inf, np.inf

    def holds(self, codes: Codes, y: Array) -> Mask:
        return (codes[:, 0] == self.counts[0]) == self.missing


@dataclass(frozen=True)
class WithMissing(Restriction):
    """Of the values of a column whose first part has a code for missing entries as well, the last one.

    Attributes:
        inner: what remains of the other codes.
        count: of these in the first part.
    """

    inner: Restriction
    count: int

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        values = self.inner.allowed(part, self._values(codes), y)
        return np.append(values, False) if part == 0 else values

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        return self.inner.interval(part, self._values(codes), y)

    def holds(self, codes: Codes, y: Array) -> Mask:
        return (codes[:, 0] < self.count) & self.inner.holds(self._values(codes), y)

    def _values(self, codes: Codes) -> Codes:
        """Another code in the place of the one for missing entries, which `inner` does not know."""
        made = np.array(codes)
        made[:, :1] = np.minimum(codes[:, :1], self.count - 1)
        return made

    def shares(self) -> Array | None:
        inner = self.inner.shares()
        return None if inner is None else np.append(inner, 0.0)

    def narrowed(self, codes: Codes, u: Array) -> Array:
        return self.inner.narrowed(codes, u)


# --- from what is given ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Conditions:
    """What is known of every row that is requested, checked against the columns of a table.

    Attributes:
        row: one row: the known values; all other entries are missing.
        others: column -> its condition, for the columns of which no value but something else is known.
    """

    row: Frame
    others: Mapping[str, Condition]

    def rows(self, n: int) -> Frame:
        """`row`, n times."""
        return self.row.take(np.zeros(n, np.int64))


def conditions_of(schema: Schema, given: Mapping[Any, Any]) -> Conditions:
    """Check what is known of the rows of a table.

    Args:
        schema: of the table.
        given: column, by its name or by its place in an array -> a value; a set: one of its values; (low, high), both
            included, of which one may be None: no end; None: missing; or a condition such as `Not("Graz")`.

    Raises:
        UsageError: a column that there is not, a condition that means nothing for its column, or an interval that is
            none.
        DataError: a value that its column cannot hold, such as a label that the training did not see, or a condition
            that nothing in the training fulfils.
    """
    try:
        return _checked(schema, given)
    except DataError as error:
        raise DataError(str(error).replace(f"{HERE}, row 1, ", f"{HERE}, ", 1)) from None


def _checked(schema: Schema, given: Mapping[Any, Any]) -> Conditions:
    values: dict[str, Series] = {}
    others: dict[str, Condition] = {}
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{HERE}: got {type(given).__name__}; expected a dict, column -> condition, such as {{'age': 40}}."
        )
    for key, value in given.items():
        name = _named(key, schema.names)
        condition = _condition(name, value)
        if condition is None:
            values[name] = one_value(name, value)
            _check_range(schema, name, values[name])
        elif name in schema.kept:
            _check_kept(schema, name, condition)
        else:
            schema.restrict(name, condition)
            others[name] = condition
    nothing = Series("real", np.full(1, np.nan), np.ones(1, bool))
    row = Frame({name: values.get(name, nothing) for name in schema.names})
    schema.encode(row, name=HERE)  # which checks the values
    return Conditions(row, others)


def _named(key: Any, names: tuple[str, ...]) -> str:
    """The column of this name, which may be a number, or at this place in an array, which names no columns."""
    if str(key) in names:
        return str(key)
    if hasattr(key, "__index__") and names == default_columns(len(names)) and 0 <= key.__index__() < len(names):
        return names[key.__index__()]
    raise UsageError(unknown("column", str(key), names))


def _condition(name: str, value: Any) -> Condition | None:
    """The condition that is meant; None: a value."""
    if isinstance(value, Condition):
        return value
    if value is None:
        return Missing()
    if isinstance(value, set | frozenset):
        if not value:
            raise UsageError(f"column '{name}' = {value!r}; expected a set with a value in it.")
        return Among(tuple(sorted(value, key=str)))
    if isinstance(value, tuple):
        if len(value) != 2 or value == (None, None):
            raise UsageError(
                f"column '{name}' = {value!r}; expected (low, high), one of which may be None, or a value."
            )
        return Between(*value)
    return None


def one_value(name: str, value: Any) -> Series:
    """A value as a column of length 1.

    Raises:
        UsageError: several values, none, or an infinite number.
    """
    several = isinstance(value, Iterable | slice) or hasattr(value, "left")  # as a pandas Interval has
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


def _check_range(schema: Schema, name: str, one: Series) -> None:
    """Refuse a number beyond those that are ever drawn."""
    for kind in schema.kinds:
        if kind.column == name and (message := kind.beyond(kind.read(one, HERE))):
            raise DataError(f"{HERE}, column '{name}': got {one.cells()[0]}; expected {message}.")


def _check_kept(schema: Schema, name: str, condition: Condition) -> None:
    """Refuse a condition that a column with one value does not fulfil, or an interval of it."""
    one = schema.kept[name].cells()[0]
    if isinstance(condition, Between):
        raise UsageError(
            f"column '{name}' is the same in all rows, so that an interval from {condition.low} to {condition.high} "
            "says nothing. Leave the column out."
        )
    if not _holds_of(one, condition):
        raise DataError(f"{HERE}, column '{name}': got {condition}; expected {one}, as in all rows of the training.")


def _holds_of(one: Any, condition: Any) -> bool:
    match condition:
        case Among(values):
            return one in values
        case Missing():
            return one is None
        case NotMissing():
            return one is not None
        case Not(inner):
            return one is not None and not _holds_of(one, inner)
    return bool(one == condition)
