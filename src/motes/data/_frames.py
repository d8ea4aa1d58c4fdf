"""Any frame <-> named columns of NumPy values, each with a mask of its missing entries.

A NumPy array, a pandas, polars or Arrow table, anything else that narwhals knows, and a `Table` all become a `Frame`,
and the rest of motes knows only that. `Frame.like` goes back to the type, the names and the dtypes of the input.
"""

from __future__ import annotations

import datetime
import decimal
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motes.data._previews import preview_html, preview_text
from motes.data._tables import Table
from motes.data._text_lines import default_columns
from motes.data._text_options import TextOptions
from motes.errors import DataError, UsageError

Type = Literal["real", "whole", "truth", "label", "date", "other"]
Label = str | int | float | bool
Mask = NDArray[np.bool_]

TYPE_WORDS: dict[Type, str] = {
    "real": "numbers",
    "whole": "whole numbers",
    "truth": "true or false",
    "label": "text",
    "date": "dates",
    "other": "something else",
}
EPOCH = datetime.datetime(1970, 1, 1)
DAY = 86_400_000_000  # microseconds
FIRST, LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # of the years 1 to 9999, which all libraries know


@dataclass(frozen=True)
class Series:
    """The cells of one column: `values` (n,), and `missing` (n,), where a value says nothing.

    Attributes:
        type: "real" is float64, "whole" int64, "truth" bool, "label" int64 codes into `labels`, "date" int64
            microseconds since 1970 (UTC where there is a time zone). "other" is what no column can be: nothing is
            wrong with it as long as nobody reads it.
        labels: of a "label", all different; the order means something where `ordered`. Of "other", what is wrong.
        days: a "date" without times of day.
    """

    type: Type
    values: NDArray[Any]
    missing: Mask
    labels: tuple[Label, ...] = ()
    ordered: bool = False
    days: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def known(self) -> NDArray[Any]:
        """The values that are not missing."""
        return self.values if not self.missing.any() else self.values[~self.missing]

    def take(self, rows: NDArray[np.integer] | slice) -> Series:
        """Some of the cells."""
        return replace(self, values=self.values[rows], missing=self.missing[rows])

    def room(self, n: int) -> Series:
        """A column of the same kind with room for n cells, which are nothing yet."""
        return replace(self, values=np.empty(n, self.values.dtype), missing=np.empty(n, bool))

    def cells(self) -> list[Any]:
        """Plain Python values; None where missing."""
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


@dataclass(frozen=True, repr=False)
class Frame:
    """Named columns of the same length: rows that belong to no library yet.

    Attributes:
        columns: by their names.
        text: of rows that were read from a whole text file: how it is written, as far as its reader found that out.

    Example:
        >>> rows = as_frame({"age": [31, 47], "name": ["Ada", "Max"]})
        >>> rows
        age  name
         31   Ada
         47   Max
        2 rows of 2 columns
        >>> rows["age"].tolist()
        [31, 47]
    """

    columns: Mapping[str, Series]
    text: TextOptions = field(default=TextOptions(), kw_only=True)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __repr__(self) -> str:
        return preview_text(self.columns, len(self))

    def _repr_html_(self) -> str:
        return preview_html(self.columns, len(self))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The entries of one column, (n,): numbers with NaN where missing, or objects with None.

        Raises:
            DataError: there is no such column.
        """
        return _plain(self.select([name]).columns[name])

    def to_pandas(self) -> Any:
        """These rows as a pandas table.

        Raises:
            UsageError: pandas is not installed; `to_polars` and `to_arrow` say the same of theirs.
        """
        return self._built("pandas")

    def to_polars(self) -> Any:
        """These rows as a polars table."""
        return self._built("polars")

    def to_arrow(self) -> Any:
        """These rows as an Arrow table."""
        return self._built("pyarrow")

    def to_numpy(self) -> NDArray[Any]:
        """These rows as an array (n, d): of floats where all columns are numbers, of objects otherwise."""
        numbers = all(series.type in ("real", "whole", "truth") for series in self.columns.values())
        return _matrix(self, np.dtype(float if numbers else object))

    def _built(self, library: str) -> Any:
        from motes.data._natives import built

        return built(self, library)

    def as_kind_of(self, data: Any) -> Any:
        """These rows in the library of another table, whose columns need not be the same; a `Frame` for an array."""
        if isinstance(data, Frame | Table | np.ndarray | list | tuple):
            return self
        if isinstance(data, Mapping):
            return self.like(data)
        from motes.data._natives import library_of

        return self._built(library_of(data))

    def without(self, names: Sequence[str]) -> Frame:
        """The same rows, of which nothing is known in these columns."""
        gone = np.ones(len(self), bool)
        return Frame({k: replace(one, missing=gone) if k in names else one for k, one in self.columns.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in their order."""
        return tuple(self.columns)

    def take(self, rows: NDArray[np.integer] | slice) -> Frame:
        """Some of the rows."""
        return Frame({name: series.take(rows) for name, series in self.columns.items()})

    def select(self, names: Sequence[str]) -> Frame:
        """These columns, in this order.

        Raises:
            DataError: a column that is not there.
        """
        if gone := [name for name in names if name not in self.columns]:
            raise DataError(f"there is no column '{gone[0]}'. Columns: {', '.join(self.names)}.")
        return Frame({name: self.columns[name] for name in names})

    def like(self, template: Any) -> Any:
        """These rows in the type of `template`, with its names and dtypes; a pandas index does not come back.

        Where a dtype has no room for a cell, such as a missing one or a half among whole numbers, a wider one takes its
        place.

        Raises:
            DataError: columns other than the template's, or text in a matrix of numbers.
            UsageError: no frame that motes knows.
        """
        if isinstance(template, Frame):
            return self
        if isinstance(template, Table):
            return Table(_matrix(self, np.dtype(np.float64)), self.names)
        if isinstance(template, np.ndarray | list | tuple):  # which name no columns
            return _matrix(self, _array(template).dtype)
        if isinstance(template, Mapping):
            return {name: _plain(series) for name, series in self.columns.items()}
        from motes.data._natives import collected, names_of, to_native

        template = collected(template, "the template")
        if (names := tuple(names_of(template))) != self.names:
            raise DataError(f"columns {', '.join(self.names)}; the template has {', '.join(names)}.")
        return to_native(self, template)


def joined(frames: Iterable[Frame], n: int) -> Frame:
    """Rows of the same columns, n in all, one frame below the other; they are taken one at a time.

    Raises:
        DataError: columns of other names or types.
    """
    made: dict[str, Series] = {}
    end = 0
    for frame in frames:
        if len(frame) == n:  # all of them, as they are
            return frame
        begin, end = end, end + len(frame)
        if not begin:
            made = {name: one.room(n) for name, one in frame.columns.items()}
        for name, whole in made.items():
            part = frame.columns.get(name)
            if part is None or part.type != whole.type or frame.names != tuple(made):
                raise DataError(f"column '{name}' is not the same in all of these tables.")
            values = part.values
            if part.labels != whole.labels:
                made[name] = whole = replace(whole, labels=tuple(dict.fromkeys(whole.labels + part.labels)))
                place = {label: code for code, label in enumerate(whole.labels)}
                values = np.array([place[label] for label in part.labels] or [0])[values]
            whole.values[begin:end], whole.missing[begin:end] = values, part.missing
    return Frame(made)


def words_of(columns: Iterable[tuple[NDArray[Any], Mask]], n: int) -> NDArray[np.uint64]:
    """64 bits of each of n rows, (n,): equal for equal cells, and as good as random otherwise.

    Args:
        columns: the known entries (m,) and the mask of the missing ones (n,) of each column.
        n: how many rows.
    """
    words = np.zeros(n, np.uint64)
    for known, missing in columns:
        values = known + 0.0 if known.dtype.kind == "f" else known.astype(np.int64)  # -0.0 is 0.0
        words = mixed(words + np.uint64(0x9E3779B97F4A7C15))
        words[~missing] ^= values.view(np.uint64)
        words[missing] ^= np.uint64(0x5851F42D4C957F2D)  # which no cell is likely to hold
    return mixed(words)


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A scrambling of 64 bits in which each depends on all (Steele et al. 2014, SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def as_frame(data: Any, columns: Sequence[str] | None = None, *, name: str = "the data") -> Frame:
    """Columns of any table.

    Args:
        data: a NumPy array (n, d) of numbers, text or objects, rows as nested lists, a dict of columns, a pandas,
            polars or Arrow table, any other that narwhals knows, or a `Table`.
        columns: d names for an array, which has none of its own; None takes x, y or x0, x1, ...
        name: what messages call the source.

    Raises:
        DataError: no table, two columns of one name, or a cell that does not fit its column; the message names the
            row and the column.
    """
    if isinstance(data, Frame):
        return data
    if isinstance(data, Table):
        data, columns = data.x, columns or data.columns
    if isinstance(data, np.ndarray | list | tuple):
        return _of_array(data, columns, name)
    if isinstance(data, Mapping):
        return _of_mapping(data, name)
    if columns is not None:
        raise UsageError(f"{name} names its own columns; `columns` is for arrays.")
    from motes.data._natives import collected, names_of, of_native

    table = collected(data, name)
    names = unique_names(names_of(table), name)
    return Frame(dict(zip(names, of_native(table, names, name), strict=True)))


def _of_mapping(data: Mapping[str, Any], name: str) -> Frame:
    """A dict of columns, (n,) each."""
    made = {}
    for column, values in data.items():
        entries = _array(values if isinstance(values, np.ndarray) else list(values))
        if entries.ndim != 1:
            raise DataError(f"{name}, column '{column}' has shape {entries.shape}; expected (rows,).")
        made[str(column)] = of_values(entries, str(column), name)
        first = next(iter(made))
        if len(entries) != len(made[first]):
            raise DataError(
                f"{name}, column '{column}' has {len(entries)} entries, and '{first}' has {len(made[first])}; expected "
                "as many in each."
            )
    return Frame(made)


def unique_names(names: Sequence[str], name: str) -> tuple[str, ...]:
    """The names themselves.

    Raises:
        DataError: two of them are the same.
    """
    seen: dict[str, int] = {}
    for j, column in enumerate(names, start=1):
        if column in seen:
            raise DataError(
                f"{name} has two columns named '{column}' (columns {seen[column]} and {j}); give each its own name."
            )
        seen[column] = j
    return tuple(names)


def _of_array(data: Any, columns: Sequence[str] | None, name: str) -> Frame:
    try:
        matrix = _array(data)
    except ValueError as error:
        raise DataError(f"{name} is not a table ({error}). Expected rows of the same length.") from None
    if matrix.ndim != 2:
        raise DataError(f"{name} has shape {matrix.shape}; expected (rows, columns).")
    names = default_columns(matrix.shape[1]) if columns is None else tuple(map(str, columns))
    if len(names) != matrix.shape[1]:
        raise DataError(f"{name} has {matrix.shape[1]} columns but {len(names)} names: {', '.join(names)}.")
    unique_names(names, name)
    return Frame({key: of_values(matrix[:, j], key, name) for j, key in enumerate(names)})


def _array(data: Any) -> NDArray[Any]:
    if isinstance(data, np.ndarray):
        return data
    made = np.asarray(data)
    # [1, "a"] holds a number, and is no row of two texts.
    return np.asarray(data, dtype=object) if made.dtype.kind in "US" else made


def of_values(values: NDArray[Any], column: str, name: str) -> Series:
    """A column of a NumPy array, (n,): NaN, NaT, None and empty text are missing.

    Raises:
        DataError: a dtype that is no column's, or objects of several types; the message names the row.
    """
    kind, nothing = values.dtype.kind, np.zeros(len(values), bool)
    if kind == "b":
        return Series("truth", values, nothing)
    if kind in "iu":
        if kind == "u" and len(values) and values.max() > np.iinfo(np.int64).max:
            row = int(values.argmax())
            raise DataError(f"{name}, row {row + 1}, column '{column}': {values[row]} is too large for a whole number.")
        return Series("whole", values.astype(np.int64), nothing)
    if kind == "f":
        return Series("real", values.astype(np.float64, copy=False), np.isnan(values))
    if kind == "M":
        gone = np.isnat(values)
        warn_of_finer(is_finer(values) & ~gone, column, name)
        micro = values.astype("M8[us]").astype(np.int64)
        days = np.datetime_data(values.dtype)[0] in ("Y", "M", "W", "D")
        return Series("date", np.where(gone, 0, micro), gone, days=days)
    if kind in "UO":
        return _of_objects(values.astype(object), column, name)
    raise DataError(
        f"column '{column}' of {name} is of type {values.dtype}; expected numbers, true or false, text or dates."
    )


def warn_of_finer(finer: Mask, column: str, name: str) -> None:
    """Say which dates (n,) are cut to microseconds, if any are."""
    if finer.any():
        warnings.warn(
            f"{name}, row {int(finer.argmax()) + 1}, column '{column}': a date that is finer than a microsecond is cut "
            f"to one; there are {int(finer.sum()):,}.",
            UserWarning,
            stacklevel=2,
        )


def _of_objects(values: NDArray[Any], column: str, name: str) -> Series:
    gone = np.fromiter((is_missing(value) for value in values), bool, len(values))
    type_: Type | None = None
    days, first = True, 0
    for i in np.flatnonzero(~gone).tolist():
        type_here = _type_of(values[i])
        if type_here is None or (type_ is not None and type_here != type_ and {type_here, type_} != {"real", "whole"}):
            among = f" among {TYPE_WORDS[type_]} (row {first + 1} holds {values[first]!r})" if type_ else ""
            raise DataError(
                f"{name}, row {i + 1}, column '{column}': {values[i]!r} of type {type(values[i]).__name__}{among}. "
                "Expected one type in a column: numbers, true or false, text or dates."
            )
        if type_ is None:
            first = i
        type_ = "real" if type_ and type_here != type_ else type_here
        days = days and not isinstance(values[i], datetime.datetime | np.datetime64)
    here = values[~gone].tolist()
    if type_ is None:
        return Series("real", np.full(len(values), np.nan), gone)
    if type_ == "label":
        return coded([str(value) for value in here], gone)
    dtype: Any = {"real": np.float64, "whole": np.int64, "truth": bool, "date": "M8[us]"}[type_]
    if type_ == "date":
        finer = np.zeros(len(values), bool)
        finer[~gone] = [
            is_finer(value) if isinstance(value, np.datetime64) else getattr(value, "nanosecond", 0) for value in here
        ]
        warn_of_finer(finer, column, name)
    made = np.full(len(values), np.nan if type_ == "real" else 0, dtype=np.int64 if type_ == "date" else dtype)
    try:
        filled = np.array([_naive(value) for value in here] if type_ == "date" else here, dtype=dtype)
    except OverflowError:
        raise DataError(f"column '{column}' of {name} holds a whole number that is too large for 64 bits.") from None
    made[~gone] = filled.astype(made.dtype)
    return Series(type_, made, gone, days=days and type_ == "date")


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
    """Whether one of NumPy's dates, or each of several, says more than microseconds. NaT, unlike itself, counts too."""
    return dates != dates.astype("M8[us]")


def moment_of(text: str) -> np.datetime64:
    """A date as text says it, in UTC where it names a time zone.

    Raises:
        ValueError: it is none.
    """
    try:
        made = datetime.datetime.fromisoformat(text)
    except ValueError:
        made = None
    if made is None or made.tzinfo is None:
        return np.datetime64(text)
    return np.datetime64(made.astimezone(datetime.UTC).replace(tzinfo=None))


def _naive(value: Any) -> Any:
    zone = getattr(value, "tzinfo", None)
    return value.astimezone(datetime.UTC).replace(tzinfo=None) if zone is not None else value


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for a cell without a value: None, NaN, NaT, pandas' NA, or empty text."""
    if value is None or (isinstance(value, str) and not value):
        return True
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, np.datetime64):
        return bool(np.isnat(value))
    return isinstance(value, float | np.floating) and bool(np.isnan(value))


def coded(here: Sequence[str], gone: Mask) -> Series:
    """Texts, those of the cells that are not `gone`, as codes into their sorted labels."""
    labels = sorted(set(here))
    index = {label: code for code, label in enumerate(labels)}
    codes = np.zeros(len(gone), np.int64)
    codes[~gone] = np.fromiter((index[label] for label in here), np.int64, len(here))
    return Series("label", codes, gone, tuple(labels))


def _plain(series: Series) -> NDArray[Any]:
    """The entries of a column, (n,): NaN where a number is missing, None where anything else is."""
    if series.type in ("real", "whole", "truth"):
        return np.where(series.missing, np.nan, series.values) if series.missing.any() else series.values
    made = np.empty(len(series), object)
    made[:] = series.cells()
    return made


def _matrix(frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The rows as an array (n, d) of `dtype`."""
    if dtype.kind in "OUS":
        made = np.empty((len(frame), len(frame.columns)), dtype=object)
        for j, series in enumerate(frame.columns.values()):
            made[:, j] = series.cells()
        if dtype.kind == "O":
            return made
        gone = np.stack([series.missing for series in frame.columns.values()], axis=1)
        return np.where(gone, "", made).astype(str)
    matrix = np.empty((len(frame), len(frame.columns)))
    for j, (column, series) in enumerate(frame.columns.items()):
        if series.type in ("label", "date"):
            raise DataError(f"column '{column}' holds {TYPE_WORDS[series.type]}, and an array of {dtype} cannot.")
        matrix[:, j] = np.where(series.missing, np.nan, series.values)
    if dtype.kind == "f":
        return matrix.astype(dtype)
    with np.errstate(invalid="ignore"):
        cut = matrix.astype(dtype)
    return cut if np.array_equal(cut, matrix) else matrix
