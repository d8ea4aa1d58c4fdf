"""Arrays and columns: conversion of array types, and `Series`, a column with a type and missing entries."""

from __future__ import annotations

import datetime
import decimal
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motes.errors import DataError, check_unicode


def plain(data: Any, name: str = "the data") -> Any:
    """Convert arrays to plain NumPy arrays; return anything else unchanged.

    Arrays of JAX, PyTorch and other libraries with the DLPack protocol are copied to NumPy. Masked entries become
    missing. A structured array becomes a dict of columns.

    Raises:
        DataError: for a structured array with more than one dimension, or masked rows of different lengths; the message
            calls the data `name`.
    """
    if isinstance(data, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in data):
        check_even(data, name)
        data = np.ma.stack([np.ma.asarray(row) for row in data])
    if not isinstance(data, np.ndarray):
        if not (hasattr(data, "__dlpack__") and hasattr(data, "__array__")):
            return data
        data = np.asarray(data)
        if data.dtype.kind == "V" and data.dtype.names is None:  # bfloat16 and other narrow floats
            data = data.astype(np.float32)
    if data.dtype.names is not None:
        if data.ndim != 1:
            raise DataError(f"{name} is a structured array of shape {data.shape}; expected (rows,).")
        return {column: plain(data[column], name) for column in data.dtype.names}
    return _fill_masked(data) if isinstance(data, np.ma.MaskedArray) else np.asarray(data)


def warn(text: str) -> None:
    """Warn about a conversion or a problem of data. Python shows the same warning once."""
    warnings.warn(text, UserWarning, stacklevel=1)


def check_weights(weights: Any, n: int, name: str = "the data") -> NDArray[np.float64]:
    """Check sample weights and return them as numbers, (n,).

    Raises:
        DataError: unless they are n finite numbers >= 0 and not all 0; the message names the row.
    """
    given = np.asarray(plain(weights))
    try:
        made = given.astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(f"the weights of {name} are of type {given.dtype}; expected a number for each row.") from None
    if made.shape != (n,):
        raise DataError(f"the weights of {name} have shape {made.shape}; expected ({n},), a number for each row.")
    good = np.isfinite(made) & (made >= 0)
    if not good.all():
        row = int(good.argmin())
        raise DataError(f"the weight of row {row + 1} of {name} is {made[row]:g}; expected a finite number at least 0.")
    if not made.any():
        raise DataError(f"all weights of {name} are 0; expected at least one row that counts.")
    return made


def _fill_masked(data: np.ma.MaskedArray[Any, Any]) -> NDArray[Any]:
    gone = np.ma.getmaskarray(data)
    if not gone.any():
        return np.asarray(data.data)
    # NumPy's integers, booleans and texts have no missing value.
    made = np.array(data.data, dtype=None if data.dtype.kind in "fcmM" else object)
    made[gone] = {"m": "NaT", "M": "NaT", "O": None}.get(made.dtype.kind, np.nan)
    return made


def rows_of(data: Any, name: str) -> NDArray[Any]:
    """Convert rows in nested lists to an array.

    Raises:
        DataError: for rows of different lengths, or a list in a cell; the message names the row.
    """
    if not isinstance(data, list | tuple):
        return np.asarray(data)
    if len(data) and isinstance(data[0], Mapping):
        raise DataError(
            f"{name}, row 1 is a dict; expected a list of entries, or one dict of columns. Convert the rows with "
            "pandas.DataFrame(rows)."
        )
    check_even(data, name)
    try:
        made = np.asarray(data)
    except ValueError:
        row = next(i for i, one in enumerate(data) if any(isinstance(entry, list | tuple) for entry in one))
        raise DataError(f"{name}, row {row + 1} has a list in a cell; expected a single value in each.") from None
    # Keeps the number in [1, "a"] a number.
    return np.asarray(data, dtype=object) if made.dtype.kind in "US" else made


def check_even(rows: Any, name: str) -> None:
    """Refuse rows of different lengths.

    Raises:
        DataError: if lengths differ; the message names the first such row.
    """
    has_length = lambda row: hasattr(row, "__len__") and not isinstance(row, str) and row is not np.ma.masked
    lengths = [len(row) if has_length(row) else None for row in rows]
    for i, length in enumerate(lengths):
        if length != lengths[0]:
            got, first = (_describe_length(one) for one in (length, lengths[0]))
            raise DataError(f"{name}, row {i + 1} has {got}, and row 1 has {first}; expected the same length.")


def _describe_length(length: int | None) -> str:
    return "a single value" if length is None else f"{length} entr{'y' if length == 1 else 'ies'}"


# --- `Series`: the cells of one column, as values with a mask of missing ones ---------------------------------------
#
# Frames, files and the tables of other libraries are converted to and from them.


Type = Literal["real", "whole", "truth", "label", "date", "other"]
Label = str | int | float | bool
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

TYPE_WORDS: dict[Type, str] = {
    "real": "numbers", "whole": "whole numbers", "truth": "true or false", "label": "text", "date": "dates",
    "other": "something else",
}  # fmt: skip
CURES = {  # advice for columns of unsupported types
    "duration": "Convert it to numbers, such as seconds", "timedelta": "Convert it to numbers, such as seconds",
    "time": "Convert it to numbers, such as minutes", "period": "Convert it to dates by .dt.to_timestamp()",
    "interval": "Convert it to numbers, such as the middle", "list": "Give each part a column",
    "array": "Give each part a column", "struct": "Give each part a column", "binary": "Convert it to text",
    "complex": "Give the real and the imaginary part a column each",
}  # fmt: skip
HERE = "given"  # name of the conditions in messages
EPOCH = datetime.datetime(1970, 1, 1)
DAY = 86_400_000_000  # microseconds


@dataclass(frozen=True)
class Series:
    """The cells of one column: `values` (n,), and the mask `missing` (n,), where values are meaningless.

    Attributes:
        type: "real" is float64, "whole" int64, "truth" bool, "label" int64 indices into `labels`, "date" int64
            microseconds since 1970 (in UTC if there is a time zone). "other" is an unsupported type, which only raises
            an error when the column is used.
        labels: the distinct labels of a "label", in a meaningful order if `ordered`; of "other", the error message.
        days: whether a "date" has no times of day.
    """

    type: Type
    values: NDArray[Any]
    missing: Mask
    labels: tuple[Label, ...] = ()
    ordered: bool = False
    days: bool = False

    @classmethod
    def unknown(cls, n: int) -> Series:
        """Return a column of n missing cells, of an arbitrary type."""
        return cls("real", np.full(n, np.nan), np.ones(n, bool))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def known(self) -> NDArray[Any]:
        """The values that are not missing."""
        return self.values if not self.missing.any() else self.values[~self.missing]

    def check_known(self, remedy: str = "") -> None:
        """Check that the column has a known type; the error also contains the `remedy`.

        Raises:
            DataError: if it does not; the message names the column.
        """
        if self.type == "other":
            raise DataError(f"{self.labels[0]}{remedy}")

    def check_finite(self, column: str, name: str) -> None:
        """Check that no entry is infinite.

        Raises:
            DataError: if one is; the message names row and column.
        """
        endless = np.isinf(self.values) & ~self.missing
        if endless.any():
            row, count = int(endless.argmax()), int(endless.sum())
            more = f" ({count:,} such entries in this column)" if count > 1 else ""
            cure = "Leave the entry empty if it is missing, or remove the row"
            expected = f"a finite number of at most 1.8e308. {cure}"
            raise entry_error(name, column, f"{self.values[row]}{more}", expected, row)

    def take(self, rows: NDArray[np.integer] | slice) -> Series:
        """Return some of the cells."""
        return replace(self, values=self.values[rows], missing=self.missing[rows])

    def room(self, n: int) -> Series:
        """Return an uninitialised column of the same type with n cells."""
        return replace(self, values=np.empty(n, self.values.dtype), missing=np.empty(n, bool))

    def cells(self) -> list[Any]:
        """Return the cells as plain Python values, None for missing cells."""
        if self.type == "date":
            made = [EPOCH + datetime.timedelta(microseconds=int(value)) for value in self.values]
            plain: list[Any] = [value.date() for value in made] if self.days else list(made)
        elif self.type == "label":
            plain = [self.labels[code] if code < len(self.labels) else None for code in self.values.tolist()]
        else:
            plain = self.values.tolist()
        if not self.missing.any():
            return plain
        return [None if gone else value for value, gone in zip(plain, self.missing.tolist(), strict=True)]

    def entries(self) -> NDArray[Any]:
        """Return the cells as an array (n,), with NaN for missing numbers and None for other missing cells."""
        if self.type in ("real", "whole", "truth"):
            return np.where(self.missing, np.nan, self.values) if self.missing.any() else self.values
        made = np.empty(len(self), object)
        made[:] = self.cells()
        return made


def of_values(values: NDArray[Any], column: str, name: str, before: int = 0) -> Series:
    """Convert a NumPy array (n,) to a column. NaN, NaT, None and empty text are missing.

    Messages about objects count the rows from the number `before` the first.

    Raises:
        DataError: for an unsupported dtype, or objects of several types; the message names the row.
    """
    kind, nothing = values.dtype.kind, np.zeros(len(values), bool)
    if kind == "b":
        return Series("truth", values, nothing)
    if kind in "iu":
        if kind == "u" and len(values) and values.max() > np.iinfo(np.int64).max:
            row = int(values.argmax())
            raise DataError(f"{_place(name, column, row)}: {values[row]} is too large for a whole number.")
        return Series("whole", values.astype(np.int64), nothing)
    if kind == "f":
        return Series("real", values.astype(np.float64, copy=False), np.isnan(values))
    if kind == "M":
        gone = np.isnat(values)
        years = values.astype("M8[Y]").astype(np.int64) + 1970
        if (outside := ~gone & ((years < 1) | (years > 9999))).any():
            row, cure = int(outside.argmax()), "If it stands for infinity or an unknown date, leave the entry empty"
            raise entry_error(name, column, f"a date in the year {years[row]:,}", f"a year from 1 to 9999. {cure}", row)
        warn_of_finer(is_finer(values) & ~gone, column, name)
        micro = values.astype("M8[us]").astype(np.int64)
        days = np.datetime_data(values.dtype)[0] in ("Y", "M", "W", "D")
        return Series("date", np.where(gone, 0, micro), gone, days=days)
    if kind in "UO":
        return _convert_objects(values.astype(object), column, name, before)
    raise unsuitable(column, name, values.dtype)


def entry_error(name: str, column: str, got: Any, expected: str, row: int | None = None) -> DataError:
    """Return the error for an invalid entry of the data called `name`, in this `row`, counted from 0."""
    return DataError(f"{_place(name, column, row)}: got {got}; expected {expected}.")


def _place(name: str, column: str, row: int | None) -> str:
    """Return the place of an entry in messages; conditions, which are called `HERE`, have no rows."""
    where = name if row is None or name == HERE else f"{name}, row {row + 1}"
    return f"{where}, column '{column}'"


def unsuitable(column: str, name: str, *kinds: Any) -> DataError:
    """Return the error for a column of an unsupported type; `kinds` are names of the type."""
    text = " ".join(map(str, kinds)).lower()
    cure = next((cure for kind, cure in CURES.items() if kind in text), "Convert it")
    return DataError(
        f"column '{column}' of {name} is of type {kinds[0]}; expected numbers, true or false, text or dates. {cure}."
    )


def warn_of_finer(finer: Mask, column: str, name: str) -> None:
    """Warn about dates (n,) that are truncated to microseconds, if there are any."""
    if finer.any():
        warn(
            f"{_place(name, column, int(finer.argmax()))}: dates with nanoseconds are truncated to "
            f"microseconds ({int(finer.sum()):,} in all)."
        )


def _convert_objects(values: NDArray[Any], column: str, name: str, before: int) -> Series:
    gone = np.fromiter((is_missing(value) for value in values), bool, len(values))
    rows: dict[Any, int] = {}  # the first row of each type
    for row in np.flatnonzero(~gone).tolist():
        rows.setdefault(_type_of(values[row]), row)
    if not rows:
        return Series("real", np.full(len(values), np.nan), gone)
    type_: Any
    type_, first = next(iter(rows.items()))
    for other, row in rows.items():
        if other is None or (other != type_ and {other, type_} != {"real", "whole"}):
            among = f" among {TYPE_WORDS[type_]} (row {before + first + 1} holds {values[first]!r})" if type_ else ""
            got = f"{values[row]!r} of type {type(values[row]).__name__}"
            raise DataError(
                f"{_place(name, column, before + row)}: {got}{among}. Expected one type in a column: "
                "numbers, true or false, text or dates."
            )
    type_ = "real" if "real" in rows else type_
    here = values[~gone].tolist()
    if type_ == "real" and any(isinstance(value, decimal.Decimal) for value in here):
        warn(
            f"{name}, column '{column}': decimals are read as float64, and synthetic rows contain floats. Arrow and "
            "polars tables keep their decimal types."
        )
    if type_ == "label":
        for row, value in zip(np.flatnonzero(~gone).tolist(), here, strict=True):
            check_unicode(value, _place(name, column, before + row))
        return coded([str(value) for value in here], gone)
    dtype: Any = {"real": np.float64, "whole": np.int64, "truth": bool, "date": "M8[us]"}[type_]
    if type_ == "date":
        finer = np.zeros(len(values), bool)
        finer[~gone] = [
            is_finer(value) if isinstance(value, np.datetime64) else getattr(value, "nanosecond", 0) for value in here
        ]
        warn_of_finer(finer, column, name)
        _check_zones(values, gone, column, name)
    made = np.full(len(values), np.nan if type_ == "real" else 0, dtype=np.int64 if type_ == "date" else dtype)
    try:
        filled = np.array([_to_utc(value) for value in here] if type_ == "date" else here, dtype=dtype)
    except OverflowError:
        raise DataError(f"column '{column}' of {name} holds a whole number that is too large for 64 bits.") from None
    made[~gone] = filled.astype(made.dtype)
    days = type_ == "date" and not any(isinstance(value, datetime.datetime | np.datetime64) for value in here)
    return Series(type_, made, gone, days=days)


def _check_zones(values: NDArray[Any], gone: Mask, column: str, name: str) -> None:
    """Warn that times with a time zone are converted to UTC.

    Raises:
        DataError: if some times have a time zone and some have none.
    """
    has = np.array([getattr(value, "tzinfo", None) is not None for value in values])
    rows = np.flatnonzero(~gone)
    if len(odd := rows[has[rows] != has[rows[0]]]):
        one, other = sorted((odd[0], rows[0]), key=lambda row: not has[row])
        raise DataError(
            f"{name}, column '{column}': row {one + 1} has a time with a time zone, {values[one]}, and row {other + 1} "
            f"a time without, {values[other]}; expected one or the other. Give all times a time zone."
        )
    if has.any():
        warn(
            f"{name}, column '{column}': times with a time zone are read in UTC, and synthetic rows contain UTC times "
            "without a time zone. Columns of pandas, polars and Arrow whose type has a time zone keep that type."
        )


def _type_of(value: Any) -> Type | None:
    if isinstance(value, bool | np.bool_):
        return "truth"
    if isinstance(value, int | np.integer):
        return "whole"
    if isinstance(value, float | np.floating | decimal.Decimal):
        return "real"
    if isinstance(value, str):
        return "label"
    return "date" if isinstance(value, datetime.date | np.datetime64) else None


def is_finer(dates: Any) -> Any:
    """Return whether NumPy dates are more precise than microseconds; True for NaT, which differs from itself."""
    return dates != dates.astype("M8[us]")


def moment_of(text: str) -> np.datetime64:
    """Parse a date in ISO format, and convert it to UTC if it has a time zone.

    Raises:
        ValueError: if the text is not a date.
    """
    try:
        made = datetime.datetime.fromisoformat(text)
    except ValueError:
        return np.datetime64(text)
    return np.datetime64(text if made.tzinfo is None else _to_utc(made))


def _to_utc(value: Any) -> Any:
    zone = getattr(value, "tzinfo", None)
    return value.astimezone(datetime.UTC).replace(tzinfo=None) if zone is not None else value


def is_missing(value: Any) -> bool:
    """Return whether an object is a missing cell: None, NaN, NaT, pandas' NA, NumPy's masked, or empty text."""
    if value is None or value is np.ma.masked or (isinstance(value, str) and not value):
        return True
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def coded(here: Sequence[str], gone: Mask) -> Series:
    """Encode texts as indices into their sorted labels; `here` are the texts of the cells that are not `gone`."""
    labels = sorted(set(here))
    index = {label: code for code, label in enumerate(labels)}
    codes = np.zeros(len(gone), np.int64)
    codes[~gone] = np.fromiter((index[label] for label in here), np.int64, len(here))
    return Series("label", codes, gone, tuple(labels))
