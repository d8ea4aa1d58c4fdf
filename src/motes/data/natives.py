"""pandas, polars, Arrow and other tables that narwhals supports <-> named columns, through Arrow.

This module is imported with the first data frame or file. It does not import pandas or polars for reading a table.
"""

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from motes.data.arrays import Label, Series, of_values, unsuitable
from motes.errors import DataError, UsageError, check_unicode

EXPECTED = "an array, lists, a dict of columns, a pandas, polars or Arrow table, or another that narwhals supports"


def is_frame(data: Any) -> bool:
    """Return whether narwhals supports the data as a table."""
    # pandas first: narwhals refuses pandas tables in which two columns have the same name.
    return nw.dependencies.is_pandas_like_dataframe(data) or nw.from_native(data, pass_through=True) is not data


def collected(data: Any, name: str) -> Any:
    """Return a table in memory: the table itself, or the result of a lazy table (polars, Dask, DuckDB, ...).

    Raises:
        UsageError: if narwhals does not support the type.
    """
    if nw.dependencies.is_pandas_like_dataframe(data) or nw.dependencies.is_pyarrow_table(data):
        return data
    try:
        frame = nw.from_native(data)
    except TypeError:
        raise UsageError(f"{name} is of type {type(data).__name__}; expected {EXPECTED}.") from None
    return frame.collect().to_native() if isinstance(frame, nw.LazyFrame) else data


def names_of(data: Any) -> list[str]:
    """Return the column names of a table in memory, as texts, which may contain duplicates."""
    return [str(column) for column in getattr(data, "column_names", data.columns)]


def of_native(data: Any, names: Sequence[str], name: str) -> list[Series]:
    """Convert the columns of a table in memory; its column names are `names`, without duplicates.

    A column of an unsupported type becomes "other", which a model may drop.
    """
    if nw.dependencies.is_pandas_like_dataframe(data) and list(data.columns) != list(names):
        data = data.set_axis(list(names), axis=1)  # narwhals needs texts as names; pandas allows anything
    made = []
    for series in nw.from_native(data, eager_only=True).iter_columns():
        try:
            made.append(_convert_series(series, name))
        except DataError as error:
            nothing = np.zeros(len(series), np.int64)
            made.append(Series("other", nothing, nothing.astype(bool), (str(error),)))
    return made


def _convert_series(series: nw.Series[Any], name: str) -> Series:
    native, kind = series.to_native(), series.dtype
    if nw.dependencies.is_pandas_like_series(native):
        if hasattr(native, "cat"):
            return _convert_pandas_categories(native, f"{name}, the categories of column '{series.name}'")
        kind = native.dtype
    if not isinstance(series.dtype, nw.Object):
        try:
            return of_arrow(series.to_arrow(), series.name, name, kind)
        except (pa.ArrowException, UnicodeEncodeError):  # of pandas: sparse or complex numbers, or lone surrogates
            if kind is series.dtype:
                raise unsuitable(series.name, name, kind) from None
    return of_values(np.asarray(series.to_numpy()), series.name, name)


def of_arrow(array: Any, column: str, name: str, kind: Any = None) -> Series:
    """Convert an Arrow column; `kind` is its type in its original library.

    Raises:
        DataError: unless the column contains numbers, true or false, text or dates.
    """
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.unify_dictionaries().chunks or [pa.nulls(0, array.type)])
    types, gone = pa.types, _to_numbers(array.is_null(), pa.uint8()).astype(bool)
    if types.is_null(array.type):
        return Series("real", np.full(len(array), np.nan), gone)
    if types.is_floating(array.type) or types.is_decimal(array.type):
        values = _to_numbers(array, pa.float64())
        values = np.where(gone, np.nan, values) if gone.any() else values
        return Series("real", values, np.isnan(values))
    if types.is_integer(array.type):
        try:
            return Series("whole", _to_numbers(array, pa.int64()), gone)
        except pa.ArrowInvalid:
            return of_values(array.to_numpy(zero_copy_only=False), column, name)  # raises an error with the row
    if types.is_boolean(array.type):
        return Series("truth", _to_numbers(array, pa.uint8()).astype(bool), gone)
    if types.is_date(array.type) or types.is_timestamp(array.type):
        unit = "D" if types.is_date32(array.type) else "ms" if types.is_date(array.type) else array.type.unit
        ticks = _to_numbers(array.cast(pa.int32()) if unit == "D" else array, pa.int64())
        dates = ticks.astype(f"M8[{unit}]")
        dates[gone] = "NaT"
        return replace(of_values(dates, column, name), days=types.is_date(array.type))
    if types.is_dictionary(array.type) or "string" in str(array.type):
        return _convert_text(array, gone, column, name)
    raise unsuitable(column, name, kind or array.type, array.type)


def _to_numbers(array: Any, kind: Any) -> NDArray[Any]:
    """Convert an array to numbers of a type, 0 for missing ones. (`to_numpy` would import pandas.)"""
    array, dtype = array.cast(kind), np.dtype(str(kind).replace("double", "float64"))
    if not len(array):
        return np.zeros(0, dtype)
    made = np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)
    return np.where(_to_numbers(array.is_null(), pa.uint8()), 0, made) if array.null_count else made


def _convert_text(array: Any, gone: NDArray[np.bool_], column: str, name: str) -> Series:
    """Convert text, or a dictionary of any type, to labels. Equal labels of a dictionary are one label."""
    encoded = array if pa.types.is_dictionary(array.type) else array.cast(pa.large_string()).dictionary_encode()
    labels = [_as_label(label) for label in encoded.dictionary.to_pylist()]
    distinct = list(dict.fromkeys(labels))
    if not encoded.type.ordered:
        distinct.sort(key=str)
    elif len(distinct) < len(labels):
        twice = next(label for label in distinct if labels.count(label) > 1)
        raise DataError(
            f"column '{column}' of {name} has '{twice}' twice in the order of its labels; expected it once."
        )
    places = {label: code for code, label in enumerate(distinct)}
    codes = np.array([places[label] for label in labels] or [0])[_to_numbers(encoded.indices, pa.int64()) * ~gone]
    return Series("label", codes, gone, tuple(distinct), encoded.type.ordered)


def _convert_pandas_categories(native: Any, what: str) -> Series:
    """Convert pandas categories, which Arrow may not support, such as intervals; `what` names them in messages."""
    codes = native.cat.codes.to_numpy().astype(np.int64)
    labels = tuple(_as_label(label) for label in native.cat.categories.tolist())
    for label in labels:
        check_unicode(str(label), what)
    return Series("label", np.maximum(codes, 0), codes < 0, labels, ordered=bool(native.cat.ordered))


def _as_label(value: Any) -> Label:
    return value if isinstance(value, str | int | float | bool) else str(value)


def describe(table: Any) -> tuple[str, tuple[tuple[Any, Any], ...]]:
    """Return the library of a table in memory, and the name and the dtype of each column."""
    library = nw.get_native_namespace(nw.from_native(table, eager_only=True)).__name__
    dtypes = table.schema.types if library == "pyarrow" else table.dtypes
    return library, tuple(zip(getattr(table, "column_names", table.columns), dtypes, strict=True))


def in_library(table: Any, library: str) -> Any:
    """Convert a table to "pandas" or "polars"; return anything else, or for any other library, the input."""
    if library not in ("pandas", "polars") or not is_frame(table):
        return table
    frame = nw.from_native(table, eager_only=True)
    return frame.to_pandas() if library == "pandas" else frame.to_polars()


# --- named columns -> tables of libraries ---------------------------------------------------------------------------


def to_native(columns: Sequence[Series], library: str, names: Sequence[Any], dtypes: Sequence[Any]) -> Any:
    """Convert columns to a table of a library; a dtype None stands for the basic dtype of the column's type.

    Raises:
        UsageError: if the library is not installed.
    """
    try:
        module = import_module(library)
    except ImportError:
        raise UsageError(f"{library} is not installed: pip install {library}.") from None
    pairs = list(zip(columns, dtypes, strict=True))
    if library == "pyarrow":
        return pa.table([_to_arrow(*pair) for pair in pairs], list(names))
    if library == "polars":
        return module.DataFrame(dict(zip(names, (_to_polars(module, *pair) for pair in pairs), strict=True)))
    frame = module.DataFrame({j: _to_pandas(module, *pair) for j, pair in enumerate(pairs)})
    frame.columns = module.Index(list(names))
    return frame


def _to_basic_arrow(series: Series, zone: str | None = None) -> Any:
    """Convert a column to the basic Arrow type."""
    series.check_known()
    if series.type == "label":
        return pa.array(_label_texts(series), pa.string())
    if series.type != "date":
        return pa.array(series.values, mask=series.missing)
    moments = pa.array(series.values, pa.int64(), mask=series.missing).cast(pa.timestamp("us", zone))
    return moments.cast(pa.date32()) if series.days else moments


def _to_arrow(series: Series, dtype: Any) -> Any:
    made = _to_basic_arrow(series, getattr(dtype, "tz", None))
    if dtype is None:
        return made
    if series.missing.all():
        return pa.nulls(len(series), dtype)
    if pa.types.is_dictionary(dtype):
        encoded = made.cast(dtype.value_type).dictionary_encode()
        indices = encoded.indices.cast(dtype.index_type)
        return pa.DictionaryArray.from_arrays(indices, encoded.dictionary, ordered=dtype.ordered)
    try:
        return made.cast(dtype)
    except pa.ArrowInvalid:  # the type would change some numbers
        return made


def _to_polars(pl: Any, series: Series, dtype: Any) -> Any:
    made = pl.Series(_to_basic_arrow(series, getattr(dtype, "time_zone", None)))
    if dtype is None:
        return made
    if series.missing.all():
        return pl.Series([None] * len(series), dtype=dtype)
    if isinstance(dtype, pl.Enum):
        dtype = pl.Enum(_extend_categories(dtype.categories.to_list(), series, ordered=True))
    if not dtype.is_integer():
        return made.cast(dtype)
    cut = made.cast(dtype, strict=False)
    return cut if cut.null_count() == made.null_count() and (cut == made).all() else made


def _to_pandas(pd: Any, series: Series, dtype: Any) -> Any:
    if series.type == "label" and isinstance(dtype, pd.CategoricalDtype):
        categories = _extend_categories(dtype.categories.tolist(), series, ordered=dtype.ordered)
        if len(categories) > len(dtype.categories):
            dtype = pd.CategoricalDtype(categories, dtype.ordered)
        index = {str(label): code for code, label in enumerate(categories)}
        table = np.array([index.get(str(label), -1) for label in series.labels] or [0], np.int64)
        return pd.Series(pd.Categorical.from_codes(np.where(series.missing, -1, table[series.values]), dtype=dtype))
    if series.type == "label" or (series.type == "date" and pd.api.types.is_object_dtype(dtype)):
        cells = _label_texts(series) if series.type == "label" else series.cells()
        return pd.Series(np.array(cells, dtype=object), dtype=dtype)
    nullable = {pa.float64(): pd.Float64Dtype(), pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    mapper = nullable.get if series.missing.any() else None
    made = _to_basic_arrow(series).to_pandas(types_mapper=mapper, date_as_object=False)
    if dtype is None:
        return made
    try:
        cut = (made if getattr(dtype, "tz", None) is None else made.dt.tz_localize("UTC")).astype(dtype)
    except (ValueError, TypeError, pa.ArrowInvalid):  # the dtype cannot hold a missing cell or a number
        return made
    # NumPy integers would overflow or be truncated.
    return cut if not pd.api.types.is_integer_dtype(dtype) or (cut == made).all() else made


def _extend_categories(categories: list[Any], series: Series, *, ordered: bool) -> list[Any]:
    """Return the categories of a dtype, extended by the labels of a series that it lacks, in order if ordered."""
    known = {str(category) for category in categories}
    used = [series.labels[place] for place in np.unique(series.known)]
    if all(str(label) in known for label in used):
        return categories
    if not ordered:
        return [*categories, *(label for label in used if str(label) not in known)]
    in_order = {str(label) for label in series.labels}
    return [*series.labels, *(category for category in categories if str(category) not in in_order)]


def _label_texts(series: Series) -> list[str | None]:
    """Return the labels as texts, None for missing ones."""
    table = np.array([*map(str, series.labels), None], dtype=object)
    return table[np.where(series.missing, len(series.labels), series.values)].tolist()
