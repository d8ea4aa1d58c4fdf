"""What is known of the rows that are asked for: a value, or an interval, for some columns of a table.

    {"age": 40, "city": "Graz", "price": (None, 500)}

Every column of a table is an increasing map of one column of z, so that each condition is an interval of z, and all of
them are a box: low <= z <= high. A real number that is known is an interval of width 0, a discrete value is its cell.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.encoder import Encoder
from motes.data.frames import Frame, Mask, Series, of_values
from motes.data.tables import default_columns
from motes.errors import DataError, UsageError, unknown

Array = NDArray[np.float64]
Ends = tuple[Series | None, Series | None]

HERE = "given"  # what messages call the conditions


@dataclass(frozen=True)
class Conditions:
    """What is known of every row that is asked for, checked against the columns of a table.

    Attributes:
        cells: one row: the cells of known value; the others are missing.
        ends: column -> the ends of its interval, for the columns of which no value but an interval is known.
        low, high: (d,), the box of z; infinite where nothing is known.
        valued: (d,), of which columns of z a value is known.
    """

    cells: Frame
    ends: Mapping[str, Ends]
    low: Array
    high: Array
    valued: Mask

    @property
    def limited(self) -> Mask:
        """(d,): of which columns of z an interval is known."""
        return (np.isfinite(self.low) | np.isfinite(self.high)) & ~self.valued

    def rows(self, n: int) -> Frame:
        """`cells`, n times."""
        return self.cells.take(np.zeros(n, np.int64))

    def within(self, rows: Frame) -> Frame:
        """`rows` without real numbers that rounding has put beyond an end of their interval."""
        made = dict(rows.columns)
        for name, ends in self.ends.items():
            if made[name].type == "real":
                low, high = (None if end is None else end.values[0] for end in ends)
                made[name] = replace(made[name], values=np.clip(made[name].values, low, high))
        return Frame(made)


def conditions_of(encoder: Encoder, given: Mapping[str, Any]) -> Conditions:
    """Check what is known of the rows of a table.

    Args:
        encoder: of the table.
        given: column, by its name or by its place in an array -> a value, or (low, high), both included, of which one
            may be None: no end.

    Raises:
        UsageError: a column that there is not, or an interval that is none.
        DataError: a value that its column cannot hold, such as a label that the training did not see.
    """
    cells: dict[str, Series] = {}
    ends: dict[str, Ends] = {}
    kinds = {column.name: column.kind for column in encoder.columns}
    for key, value in given.items():
        name = _named(key, encoder.names)
        if isinstance(value, tuple):
            if name in encoder.kept or kinds[name] in ("categorical", "boolean"):
                why = "is the same in all rows" if name in encoder.kept else f"is {kinds[name]}, without an order"
                raise UsageError(f"column '{name}' {why}, so that an interval {value!r} says nothing. Give one value.")
            ends[name] = _ends(name, value)
        else:
            cells[name] = _one(name, value)
    nothing = Series("real", np.full(1, np.nan), np.ones(1, bool))
    row = Frame({name: cells.get(name, nothing) for name in encoder.names})
    low, high = np.full((2, encoder.width), [[-np.inf], [np.inf]])
    try:
        encoder.encode(row, name=HERE)  # which checks the values
        for j, codec in enumerate(encoder.codecs):
            of = cells.get(codec.column)
            pair = ends.get(codec.column) if of is None else (of, of)
            if pair is not None:
                _check_order(codec.column, pair)
                low[j], high[j] = codec.between(*pair, HERE)
    except DataError as error:
        raise DataError(str(error).replace(f"{HERE}, row 1, ", f"{HERE}, ", 1)) from None
    valued = np.array([codec.column in cells for codec in encoder.codecs])
    forward = encoder.standardiser.forward
    return Conditions(row, ends, forward(low), forward(high), valued)


def _named(key: Any, names: tuple[str, ...]) -> str:
    """The column of this name, which may be a number, or at this place in an array, which names no columns."""
    if str(key) in names:
        return str(key)
    if hasattr(key, "__index__") and names == default_columns(len(names)) and 0 <= key.__index__() < len(names):
        return names[key.__index__()]
    raise UsageError(unknown("column", str(key), names))


def _ends(name: str, pair: tuple[Any, ...]) -> Ends:
    if len(pair) != 2 or pair == (None, None):
        raise UsageError(f"column '{name}' = {pair!r}; expected (low, high), one of which may be None, or a value.")
    low, high = (None if end is None else _one(name, end) for end in pair)
    return low, high


def _one(name: str, value: Any) -> Series:
    several = isinstance(value, Iterable | slice) or hasattr(value, "left")  # as a pandas Interval has
    if several and not isinstance(value, str | bytes):
        raise UsageError(f"column '{name}' = {value!r}; expected a value, or an interval as a tuple: (low, high).")
    series = of_values(np.array([value], dtype=object), name, HERE)
    if series.missing[0]:
        raise UsageError(f"column '{name}' = {value!r}, which says nothing. Leave the column out.")
    if series.type == "real" and np.isinf(series.values[0]):
        raise UsageError(f"column '{name}' = {value!r}, which is not a finite number. An open end is None: (10, None).")
    return series


def _check_order(name: str, pair: Ends) -> None:
    low, high = pair
    if low is high or low is None or high is None or {low.type, high.type} & {"label"}:
        return  # whether labels are in order is for their column to say
    if low.values[0] > high.values[0]:
        raise UsageError(f"column '{name}': from {low.cells()[0]} to {high.cells()[0]}; expected low <= high.")
