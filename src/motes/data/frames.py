"""Frames: named columns of any type, converted from and to the tables of any library."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import TYPE_WORDS, Series, of_values, plain, rows_of
from motes.data.readings import default_columns
from motes.data.tables import Table
from motes.errors import DataError, UsageError, check_unicode
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
        many: for a sample of rows that do not fit into memory: all of these, a `motes.data.stored.ManyRows`.

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
    many: Any = field(default=None, kw_only=True)

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
        return Template(library, tuple((name, None) for name in self.names)).rows(self)

    def as_kind_of(self, data: Any) -> Any:
        """Convert the rows to the library of another table, which may have other columns; for an array, to a `Frame`.

        Example:
            >>> import pandas as pd
            >>> from motes.data import as_frame
            >>> type(as_frame({"age": [31, 47]}).as_kind_of(pd.DataFrame({"other": [1]}))).__name__
            'DataFrame'
        """
        library = Template.of(data).library
        return self if library in ("frame", "numpy") else self._to_library(library)

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
        return Frame({name: series.take(rows) for name, series in self.columns.items()}, text=self.text)

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
        return Template.of(template).rows(self)


def joined(frames: Iterable[Frame], n: int) -> Frame:
    """Concatenate frames with the same columns and n rows in total. Frames are taken one at a time.

    Raises:
        DataError: if names or types of columns differ.
    """
    made: dict[str, Series] = {}
    end, text = 0, TextOptions()
    for frame in frames:
        if len(frame) == n:  # all rows: no copy needed
            return frame
        begin, end = end, end + len(frame)
        if not begin:
            text = frame.text
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
    return Frame(made, text=text)


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
    made: dict[str, Series] = {}
    for column, values in zip(unique_names([*map(str, data)], name), data.values(), strict=True):
        values = plain(values, name)
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
            raise DataError(
                f"{name}, column '{column}': got {values!r} of type {type(values).__name__}; expected a list or an "
                "array of entries."
            )
        entries = rows_of(values if isinstance(values, np.ndarray) else list(values), f"{name}, column '{column}'")
        if entries.ndim != 1:
            raise DataError(f"{name}, column '{column}' has shape {entries.shape}; expected (rows,).")
        made[column] = of_values(entries, column, name)
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
        DataError: if a name occurs twice, or contains a lone surrogate.
    """
    seen: dict[str, int] = {}
    for j, column in enumerate(names, start=1):
        check_unicode(column, f"{name}, the name of column {j}")
        if column in seen:
            raise DataError(
                f"{name} has two columns named '{column}' (columns {seen[column]} and {j}); give each its own name."
            )
        seen[column] = j
    return tuple(names)


def _convert_array(data: Any, columns: Sequence[str] | None, name: str) -> Frame:
    """Convert an array (rows, columns); the default names of its columns are x, y or x0, x1, ..."""
    matrix = rows_of(data, name)
    if matrix.ndim != 2:
        cure = " Give one column of numbers as data.reshape(-1, 1)." if matrix.ndim == 1 else ""
        raise DataError(f"{name} has shape {matrix.shape}; expected (rows, columns).{cure}")
    names = default_columns(matrix.shape[1]) if columns is None else tuple(map(str, columns))
    if len(names) != matrix.shape[1]:
        raise DataError(f"{name} has {matrix.shape[1]} columns but {len(names)} names: {', '.join(names)}.")
    names = unique_names(names, name)
    return Frame({key: of_values(matrix[:, j], key, name) for j, key in enumerate(names)})


# --- Templates: the type, names and dtypes of a table, to which rows are converted back -----------------------------


@dataclass(frozen=True)
class Template:
    """The type of a table, and the names and dtypes of its columns.

    Attributes:
        library: "pandas", "polars", "pyarrow" or another library; "numpy", "dict"; or "frame" for a `Frame`.
        columns: the name and the dtype of each column, in the terms of the library, None for the basic dtype; of an
            array, one pair.
    """

    library: str
    columns: tuple[tuple[Any, Any], ...] = ()

    @classmethod
    def of(cls, data: Any) -> Template:
        """Return the template of a table; a template is returned unchanged.

        Raises:
            UsageError: if the data is not a supported table.
        """
        if isinstance(data, Template):
            return data
        if isinstance(data, Frame | Table):
            return cls("frame")
        is_masked = isinstance(data, np.ma.MaskedArray) and data.dtype.names is None
        data = np.asarray(data.data) if is_masked else plain(data)  # masked integers stay integers
        if isinstance(data, Mapping):
            dtypes = (one.dtype if isinstance(one, np.ndarray) else None for one in data.values())
            return cls("dict", tuple(zip(map(str, data), dtypes, strict=True)))
        if isinstance(data, np.ndarray | list | tuple):
            return cls("numpy", ((None, rows_of(data, "the template").dtype),))
        from motes.data.natives import collected, describe  # here and below: pyarrow loads with the first data frame

        return cls(*describe(collected(data, "the template")))

    def without(self, places: Iterable[int]) -> Template:
        """Remove the columns at these indices."""
        if self.library == "numpy":
            return self
        gone = {*places}
        return replace(self, columns=tuple(pair for j, pair in enumerate(self.columns) if j not in gone))

    def without_values(self, names: Iterable[str]) -> Template:
        """Return the template with plain text for each of these columns whose dtype lists all values."""
        some = {*names}
        is_listed = lambda name, dtype: str(name) in some and str(dtype).lower().startswith(LISTED)
        columns = [(name, None if is_listed(name, dtype) else dtype) for name, dtype in self.columns]
        return replace(self, columns=tuple(columns))

    def rows(self, frame: Frame) -> Any:
        """Convert rows to the type, names and dtypes of the template.

        Raises:
            DataError: if the columns differ from the template's, or for text in an array of numbers.
        """
        if self.library == "frame":
            return frame
        if self.library == "numpy":
            return _to_matrix(frame, self.columns[0][1])
        names, dtypes = zip(*self.columns, strict=True)
        if self.library == "dict":
            known = dict(self.columns)
            return {name: _cast_if_lossless(one.entries(), known.get(name)) for name, one in frame.columns.items()}
        if (texts := tuple(map(str, names))) != frame.names:
            raise DataError(f"the columns are {', '.join(frame.names)}; the template has {', '.join(texts)}.")
        from motes.data.natives import to_native

        return to_native(list(frame.columns.values()), self.library, names, dtypes)

    def packed(self) -> tuple[str, bytes]:
        """Return the library and bytes, for `unpacked`; no pickle, so that loading runs no code.

        Raises:
            UsageError: for a library other than NumPy, pandas, polars and Arrow.
        """
        if self.library == "numpy":
            return self.library, json.dumps([self.columns[0][1].str]).encode()
        if self.library == "dict":
            dtypes = {name: None if dtype is None else dtype.str for name, dtype in self.columns}
            return self.library, json.dumps(dtypes).encode()
        if self.library == "pandas":
            return self.library, json.dumps([_describe_pandas(*pair) for pair in self.columns]).encode()
        if self.library in ("polars", "pyarrow"):
            nothing = Series("label", np.zeros(0, np.int64), np.zeros(0, bool))
            table = self.rows(Frame({name: nothing for name, _ in self.columns}))
            schema = table.schema if self.library == "pyarrow" else table.to_arrow().schema
            return self.library, schema.serialize().to_pybytes()
        raise UsageError(
            f"a model fitted to a table of {self.library} cannot be saved. Fit it to a pandas, polars or Arrow table, "
            "or to an array."
        )

    @classmethod
    def unpacked(cls, library: str, data: bytes) -> Template:
        """Restore the template from the result of `packed`.

        Raises:
            UsageError: if its library is not installed.
            ValueError: if the bytes are invalid.
        """
        if library == "numpy":
            return cls(library, ((None, np.dtype(json.loads(data)[0])),))
        if library == "dict":
            dtypes = json.loads(data).items()
            return cls(library, tuple((name, None if dtype is None else np.dtype(dtype)) for name, dtype in dtypes))
        try:
            if library == "pandas":
                return cls(library, tuple(_parse_pandas(*column) for column in json.loads(data)))
            table = _arrow_schema(data).empty_table()
            return cls.of(_to_polars(table) if library == "polars" else table)
        except ImportError:
            raise UsageError(
                f"this model returns {library} tables, but {library} is not installed: pip install {library}."
            ) from None


LISTED = ("category", "categorical", "enum", "dictionary")  # how the names of dtypes begin that list all values
ARROW = "arrow:"  # prefix of a pandas dtype that is an Arrow type
KEY = "template"  # the key in the texts and arrays of a model file


def keep(template: Any, tensors: dict[str, NDArray[Any]], about: dict[str, str]) -> None:
    """Add a template to the contents of a model file. A `Frame` needs nothing.

    Raises:
        UsageError: as in `Template.packed`.
    """
    if (template := Template.of(template)).library != "frame":
        about[KEY], data = template.packed()
        tensors[KEY] = np.frombuffer(data, np.uint8)


def kept(tensors: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> Template | None:
    """Read the template that `keep` added; None if there is none.

    Raises:
        UsageError, ValueError: as in `Template.unpacked`.
        KeyError: if the text or the array is missing.
    """
    return Template.unpacked(about[KEY], tensors[KEY].tobytes()) if KEY in about else None


def _describe_pandas(name: Any, dtype: Any) -> list[Any]:
    """Return [name, dtype, categories, whether ordered] of a column, for `_parse_pandas`."""
    categories = dtype.categories.tolist() if str(dtype) == "category" else None
    text = None if dtype is None else str(dtype)  # its own name, unless that is incomplete
    if hasattr(dtype, "pyarrow_dtype"):
        import pyarrow

        schema = pyarrow.schema([("", dtype.pyarrow_dtype)])
        text = ARROW + base64.b64encode(schema.serialize().to_pybytes()).decode()
    elif text == "string":
        text = f"string[{dtype.storage}]"
    return [name if isinstance(name, int) else str(name), text, categories, bool(getattr(dtype, "ordered", False))]


def _parse_pandas(name: Any, dtype: str | None, categories: list[Any] | None, ordered: bool) -> tuple[Any, Any]:
    import pandas

    if dtype is None:
        return name, None
    if categories is not None:
        return name, pandas.CategoricalDtype(categories, ordered)
    if not str(dtype).startswith(ARROW):
        return name, pandas.api.types.pandas_dtype(dtype)
    return name, pandas.ArrowDtype(_arrow_schema(base64.b64decode(dtype.removeprefix(ARROW))).types[0])


def _arrow_schema(data: bytes) -> Any:
    import pyarrow

    try:
        return pyarrow.ipc.read_schema(pyarrow.py_buffer(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"its template is not a valid Arrow schema: {error}") from None


def _to_polars(table: Any) -> Any:
    import polars

    try:
        return polars.from_arrow(table)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        raise ValueError(f"its template has types that polars lacks: {error}") from None


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


def _cast_if_lossless(entries: NDArray[Any], dtype: np.dtype[Any] | None) -> NDArray[Any]:
    """Convert numbers to a numeric dtype; return anything else unchanged, and what it would truncate or overflow."""
    if dtype is None or dtype.kind not in "fiub" or entries.dtype.kind not in "fiub":
        return entries
    if dtype.kind == "f":
        return entries.astype(dtype)
    with np.errstate(invalid="ignore"):
        cut = entries.astype(dtype)
    return cut if np.array_equal(cut, entries) else entries
