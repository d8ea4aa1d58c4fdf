"""What is given of the rows of a table, checked against its schema: known values, and conditions on other columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from motes.data._frames import Frame
from motes.data._series import Series
from motes.data._text_lines import default_columns
from motes.errors import DataError, UsageError, unknown
from motes.tables._conditions import HERE, Among, Between, Condition, Missing, Not, NotMissing, one_value
from motes.tables._schema import Schema


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
        schema.check_not_aside(name)
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
