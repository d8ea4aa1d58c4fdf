"""Frames: named columns of any type, converted from and to the tables of any library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import TYPE_WORDS, Series, of_values, plain, rows_of
from motes.data.tables import Table, names_for
from motes.errors import DataError, UsageError
from motes.text_options import TextOptions

ROWS = 10
COLUMNS = 12
WIDTH = 24  # characters of an entry


def _preview(frame: Frame) -> tuple[list[list[str]], str]:
    """Return the names and the first rows as texts, and the size of the frame in words."""
    some = list(frame.columns.items())[:COLUMNS]
    entries = [[_shorten(name), *map(_format_entry, series.take(slice(ROWS)).cells())] for name, series in some]
    more = ["…"] * (len(frame.columns) > COLUMNS)
    lines = [[*line, *more] for line in zip(*entries, strict=True)]
    return lines, f"{len(frame):,} rows of {len(frame.columns):,} columns"


def _format_entry(value: Any) -> str:
    if value is None or value != value:
        return ""
    return _shorten(f"{value:.6g}" if isinstance(value, float) else str(value))


def _shorten(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


# --- Any table <-> named columns of NumPy values, each with a mask of its missing entries ---------------------------
#
# A NumPy array, a pandas, polars or Arrow table, any other table that narwhals supports, and a `Table` all become a
# `Frame`, the only form that the rest of motes uses. `Frame.like` converts back to the type, names and dtypes of the
# input.


@dataclass(frozen=True, repr=False)
class Frame:
    """Rows as named columns of the same length, independent of any library.

    Attributes:
        columns: the columns, by name.
        text: for rows read from a text file: its text options, as far as the reader detected them.

    Example:
        >>> from motes.data import as_frame
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
        lines, size = _preview(self)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = ["  ".join(map(str.rjust, line, widths)) for line in lines]
        return "\n".join([*texts, size])

    def _repr_html_(self) -> str:
        lines, size = _preview(self)
        row = lambda line, tag: f"<tr>{''.join(f'<{tag}>{escape(entry)}</{tag}>' for entry in line)}</tr>"
        head, body = ("".join(row(line, tag) for line in some) for tag, some in (("th", lines[:1]), ("td", lines[1:])))
        return f"<table><thead>{head}</thead>{body}</table><p>{size}</p>"

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the entries of one column, (n,): numbers with NaN for missing entries, or objects with None.

        Raises:
            DataError: if there is no such column.
        """
        return self.select([name]).columns[name].entries()

    def to_pandas(self) -> Any:
        """Convert the rows to a pandas table.

        Raises:
            UsageError: if pandas is not installed; `to_polars` raises it if polars is not.

        Example:
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47], "name": ["Ada", "Max"]}).to_pandas().shape
            (2, 2)
        """
        return self._to_library("pandas")

    def to_polars(self) -> Any:
        """Convert the rows to a polars table.

        Example:
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47], "name": ["Ada", "Max"]}).to_polars().shape
            (2, 2)
        """
        return self._to_library("polars")

    def to_arrow(self) -> Any:
        """Convert the rows to an Arrow table.

        Example:
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47], "name": ["Ada", "Max"]}).to_arrow().column_names
            ['age', 'name']
        """
        return self._to_library("pyarrow")

    def to_numpy(self) -> NDArray[Any]:
        """Convert the rows to an array (n, d): of floats if all columns are numbers, otherwise of objects.

        Example:
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47], "height": [1.7, 1.8]}).to_numpy().tolist()
            [[31.0, 1.7], [47.0, 1.8]]
        """
        numbers = all(series.type in ("real", "whole", "truth") for series in self.columns.values())
        return _to_matrix(self, np.dtype(float if numbers else object))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.to_numpy(), dtype)

    def _to_library(self, library: str) -> Any:
        from motes.data.natives import built  # here and below: narwhals and pyarrow load with the first data frame

        return built(self.columns, library)

    def as_kind_of(self, data: Any) -> Any:
        """Convert the rows to the library of another table, which may have other columns; for an array, to a `Frame`.

        Example:
            >>> import pandas as pd
            >>> from motes.data import as_frame
            >>> type(as_frame({"age": [31, 47]}).as_kind_of(pd.DataFrame({"other": [1]}))).__name__
            'DataFrame'
        """
        data = plain(data)
        if isinstance(data, Frame | Table | np.ndarray | list | tuple):
            return self
        if isinstance(data, Mapping):
            return self.like(data)
        from motes.data.natives import library_of

        return self._to_library(library_of(data))

    def without(self, names: Sequence[str]) -> Frame:
        """Return the same rows with all entries of these columns missing.

        Example:
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47], "name": ["Ada", "Max"]}).without(["name"])["name"].tolist()
            [None, None]
        """
        gone = np.ones(len(self), bool)
        return Frame({k: replace(one, missing=gone) if k in names else one for k, one in self.columns.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(self.columns)

    def take(self, rows: NDArray[np.integer] | slice) -> Frame:
        """Return some of the rows.

        Example:
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47, 25]}).take(slice(1, None))["age"].tolist()
            [47, 25]
        """
        return Frame({name: series.take(rows) for name, series in self.columns.items()})

    def select(self, names: Sequence[str]) -> Frame:
        """Return these columns, in this order.

        Raises:
            DataError: if a column does not exist.

        Example:
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47], "name": ["Ada", "Max"]}).select(["name"]).names
            ('name',)
        """
        if gone := [name for name in names if name not in self.columns]:
            raise DataError(f"there is no column '{gone[0]}'. Columns: {', '.join(self.names)}.")
        return Frame({name: self.columns[name] for name in names})

    def like(self, template: Any) -> Any:
        """Convert the rows to the type of `template`, with its names and dtypes. A pandas index is not restored.

        If a dtype cannot hold an entry, such as a missing entry or 0.5 in a column of integers, a wider dtype is used.

        Raises:
            DataError: if the columns differ from the template's, or for text in an array of numbers.
            UsageError: if the template is not a supported table.

        Example:
            >>> import pandas as pd
            >>> from motes.data import as_frame
            >>> as_frame({"age": [31, 47]}).like(pd.DataFrame({"age": np.zeros(1)})).dtypes.to_dict()
            {'age': dtype('float64')}
        """
        if isinstance(template, Frame):
            return self
        if isinstance(template, Table):
            return Table(_to_matrix(self, np.dtype(np.float64)), self.names)
        if isinstance(template, np.ndarray | list | tuple):  # without column names
            return _to_matrix(self, rows_of(template, "the template").dtype)
        if isinstance(template, Mapping):
            return {name: _entries_like(series, template.get(name)) for name, series in self.columns.items()}
        from motes.data.natives import collected, names_of, to_native

        template = collected(template, "the template")
        if (names := tuple(names_of(template))) != self.names:
            raise DataError(f"the columns are {', '.join(self.names)}; the template has {', '.join(names)}.")
        return to_native(self.columns, template)


def joined(frames: Iterable[Frame], n: int) -> Frame:
    """Concatenate frames with the same columns and n rows in total. Frames are taken one at a time.

    Raises:
        DataError: if names or types of columns differ.
    """
    made: dict[str, Series] = {}
    end = 0
    for frame in frames:
        if len(frame) == n:  # all rows: no copy needed
            return frame
        begin, end = end, end + len(frame)
        if not begin:
            made = {name: one.room(n) for name, one in frame.columns.items()}
        for name, whole in made.items():
            part = frame.columns.get(name)
            if part is None or part.type != whole.type or frame.names != tuple(made):
                raise DataError(f"column '{name}' differs between these tables.")
            values = part.values
            if part.labels != whole.labels:
                made[name] = whole = replace(whole, labels=tuple(dict.fromkeys(whole.labels + part.labels)))
                place = {label: code for code, label in enumerate(whole.labels)}
                values = np.array([place[label] for label in part.labels] or [0])[values]
            whole.values[begin:end], whole.missing[begin:end] = values, part.missing
    return Frame(made)


def as_frame(data: Any, columns: Sequence[str] | None = None, *, name: str = "the data") -> Frame:
    """Convert any table to a `Frame`.

    Args:
        data: a NumPy, JAX or PyTorch array (n, d) of numbers, text or objects, rows as nested lists, a dict of columns,
            a structured array, a pandas, polars or Arrow table, any other table that narwhals supports, or a `Table`.
            Masked entries are missing.
        columns: d names for the columns of an array; default: x, y or x0, x1, ...
        name: the name of the source in messages.

    Raises:
        DataError: for two columns with the same name, or an entry that is invalid in its column; the message names the
            row and the column.
        UsageError: if the data is not a table.

    Example:
        >>> from motes.data import as_frame
        >>> as_frame([[31, "Ada"], [47, "Max"]], columns=["age", "name"])
        age  name
         31   Ada
         47   Max
        2 rows of 2 columns
    """
    if isinstance(data, Frame):
        return data
    if isinstance(data, Table):
        data, columns = data.x, columns or data.columns
    data = plain(data, name)
    if isinstance(data, np.ndarray | list | tuple):
        return _convert_array(data, columns, name)
    if isinstance(data, Mapping):
        return _convert_mapping(data, name)
    if columns is not None:
        raise UsageError(f"{name} has column names; `columns` is for arrays.")
    from motes.data.natives import collected, names_of, of_native

    table = collected(data, name)
    names = unique_names(names_of(table), name)
    return Frame(dict(zip(names, of_native(table, names, name), strict=True)))


def _convert_mapping(data: Mapping[str, Any], name: str) -> Frame:
    """Convert a dict of columns, (n,) each."""
    made = {}
    for column, values in data.items():
        values = plain(values, name)
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
            raise DataError(
                f"{name}, column '{column}': got {values!r} of type {type(values).__name__}; expected a list or an "
                "array of entries."
            )
        entries = rows_of(values if isinstance(values, np.ndarray) else list(values), f"{name}, column '{column}'")
        if entries.ndim != 1:
            raise DataError(f"{name}, column '{column}' has shape {entries.shape}; expected (rows,).")
        made[str(column)] = of_values(entries, str(column), name)
        first = next(iter(made))
        if len(entries) != len(made[first]):
            raise DataError(
                f"{name}, column '{column}' has {len(entries)} entries, and '{first}' has {len(made[first])}; expected "
                "the same number in each column."
            )
    return Frame(made)


def unique_names(names: Sequence[str], name: str) -> tuple[str, ...]:
    """Check that column names differ, and return them.

    Raises:
        DataError: if a name occurs twice.
    """
    seen: dict[str, int] = {}
    for j, column in enumerate(names, start=1):
        if column in seen:
            raise DataError(
                f"{name} has two columns named '{column}' (columns {seen[column]} and {j}); give each its own name."
            )
        seen[column] = j
    return tuple(names)


def _convert_array(data: Any, columns: Sequence[str] | None, name: str) -> Frame:
    matrix = rows_of(data, name)
    names = unique_names(names_for(matrix, columns, name), name)
    return Frame({key: of_values(matrix[:, j], key, name) for j, key in enumerate(names)})


def _to_matrix(frame: Frame, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert the rows to an array (n, d) of `dtype`."""
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
            raise DataError(f"column '{column}' holds {TYPE_WORDS[series.type]}; an array of {dtype} cannot.")
        matrix[:, j] = np.where(series.missing, np.nan, series.values)
    return _cast_if_lossless(matrix, dtype)


def _entries_like(series: Series, template: Any) -> NDArray[Any]:
    """Return the entries of a column, in the dtype of `template` if it is an array of numbers that can hold them."""
    entries = series.entries()
    numbers = isinstance(template, np.ndarray) and template.dtype.kind in "fiub" and entries.dtype.kind in "fiub"
    return _cast_if_lossless(entries, template.dtype) if numbers else entries


def _cast_if_lossless(entries: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Convert numbers to a numeric dtype; return them unchanged if that would truncate or overflow."""
    if dtype.kind == "f":
        return entries.astype(dtype)
    with np.errstate(invalid="ignore"):
        cut = entries.astype(dtype)
    return cut if np.array_equal(cut, entries) else entries
