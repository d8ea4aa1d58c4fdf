"""pandas, polars, Arrow and what else narwhals knows <-> named columns.

narwhals says what each column is. None of these libraries is loaded for a table: whoever made it has loaded it.
"""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import Label, Series, coded, of_values, warn_of_finer
from motes.errors import DataError, UsageError

EXPECTED = "an array, rows as lists, a dict of columns, a pandas, polars or Arrow table, or another that narwhals knows"

CURES = {  # what makes a column of a type that no column has
    "Duration": "Convert it to numbers, such as seconds", "Time": "Convert it to numbers, such as minutes",
    "period": "Convert it to dates by .dt.to_timestamp()", "interval": "Convert it to numbers, such as the middle",
    "List": "Give each part a column", "Array": "Give each part a column", "Struct": "Give each part a column",
    "complex": "Give the real and the imaginary part a column each", "Binary": "Convert it to text",
}  # fmt: skip


def is_frame(data: Any) -> bool:
    """Whether narwhals knows it as a table."""
    # pandas first: one of two columns of one name is a table as well, which narwhals refuses.
    return nw.dependencies.is_pandas_like_dataframe(data) or nw.from_native(data, pass_through=True) is not data


def collected(data: Any, name: str) -> Any:
    """A table in memory: itself, or what a lazy one (polars, Dask, DuckDB, ...) comes to.

    Raises:
        UsageError: nothing that narwhals knows as a table.
    """
    if nw.dependencies.is_pandas_like_dataframe(data) or nw.dependencies.is_pyarrow_table(data):
        return data
    try:
        frame = nw.from_native(data)
    except TypeError:
        raise UsageError(f"{name} is of type {type(data).__name__}; expected {EXPECTED}.") from None
    return frame.collect().to_native() if isinstance(frame, nw.LazyFrame) else data


def names_of(data: Any) -> list[str]:
    """The names of the columns of a table in memory, as texts; there may be the same twice."""
    return [str(column) for column in (data.column_names if _is_arrow(data) else data.columns)]


def of_native(data: Any, names: Sequence[str], name: str) -> list[Series]:
    """The columns of a table in memory whose names are `names`, all different.

    What is neither numbers, true or false, text nor dates is "other", which may be dropped.
    """
    if nw.dependencies.is_pandas_like_dataframe(data) and list(data.columns) != list(names):
        data = data.set_axis(list(names), axis=1)  # narwhals wants texts, and pandas takes anything for a name
    made = []
    for series in nw.from_native(data, eager_only=True).iter_columns():
        try:
            made.append(_of_series(series, name))
        except DataError as error:
            nothing = np.zeros(len(series), np.int64)
            made.append(Series("other", nothing, nothing.astype(bool), (str(error),)))
    return made


def _is_arrow(data: Any) -> bool:
    return nw.dependencies.is_pyarrow_table(data)


def _of_series(series: nw.Series[Any], name: str) -> Series:
    dtype, native = series.dtype, series.to_native()
    if nw.dependencies.is_pandas_like_series(native) and hasattr(native, "cat"):
        return _of_pandas_categories(native)
    if _is_arrow_text(series):
        return _of_arrow_text(native)
    gone = series.is_null().to_numpy().astype(bool)
    if isinstance(dtype, nw.Unknown) and gone.all():
        return Series("real", np.full(len(gone), np.nan), gone)
    if isinstance(dtype, nw.Unknown) and (values := series.to_numpy()).dtype.kind in "biuf":  # sparse, or half floats
        return of_values(values, series.name, name)
    if dtype.is_float() or isinstance(dtype, nw.Decimal):
        values = series.cast(nw.Float64).to_numpy().astype(np.float64, copy=False)
        return Series("real", values, np.isnan(values))
    if isinstance(dtype, nw.Int128 | nw.UInt128):  # which NumPy does not have
        try:
            series = series.cast(nw.Int64)
        except Exception:  # each library has an error of its own
            raise DataError(f"column '{series.name}' of {name} holds a number too large for 64 bits.") from None
    if dtype.is_integer():
        return _filled("whole", series, gone, of_values(series.fill_null(0).to_numpy(), series.name, name).values)
    if isinstance(dtype, nw.Boolean):
        return _filled("truth", series, gone, series.fill_null(False).to_numpy().astype(bool))
    if isinstance(dtype, nw.Date | nw.Datetime):
        micro = _timestamps(series, gone, "us")
        if isinstance(dtype, nw.Datetime) and dtype.time_unit == "ns":
            warn_of_finer(_timestamps(series, gone, "ns") != 1000 * micro, series.name, name)
        return Series("date", micro, gone, days=isinstance(dtype, nw.Date))
    if isinstance(dtype, nw.String | nw.Categorical | nw.Enum):
        return _of_text(series, gone)
    if isinstance(dtype, nw.Object):
        return of_values(np.asarray(series.to_numpy(), dtype=object), series.name, name)
    kind = native.dtype if nw.dependencies.is_pandas_like_series(native) else dtype
    cure = next((cure for start, cure in CURES.items() if start in f"{kind} {dtype}"), "Convert it")
    raise DataError(
        f"column '{series.name}' of {name} is of type {kind}; expected numbers, true or false, text or dates. {cure}."
    )


def _timestamps(series: nw.Series[Any], gone: NDArray[np.bool_], unit: Any) -> NDArray[np.int64]:
    """Since 1970, 0 where there is none: these are taken out first, for pandas would make all of them floats."""
    made = np.zeros(len(gone), np.int64)
    made[~gone] = series.drop_nulls().dt.timestamp(unit).to_numpy()
    return made


def _filled(type_: Any, series: nw.Series[Any], gone: NDArray[np.bool_], values: NDArray[Any]) -> Series:
    if values.dtype.kind == "f":  # how pandas hands out an empty or a nullable column
        values = series.fill_null(0).cast(nw.Int64).to_numpy()
    return Series(type_, values, gone)


def _of_text(series: nw.Series[Any], gone: NDArray[np.bool_]) -> Series:
    text = series.cast(nw.String)
    categories = getattr(series.dtype, "categories", None)
    labels = sorted(text.drop_nulls().unique().to_list()) if categories is None else list(categories)
    if not labels:
        return coded([], gone)
    codes = text.fill_null(labels[0]).replace_strict(labels, list(range(len(labels))), return_dtype=nw.Int64)
    return Series("label", codes.to_numpy(), gone, tuple(labels), ordered=categories is not None)


def _is_arrow_text(series: nw.Series[Any]) -> bool:
    return series.implementation.is_pyarrow() and isinstance(series.dtype, nw.String | nw.Categorical)


def _of_arrow_text(native: Any) -> Series:
    """Text, or a dictionary of it, whose codes Arrow knows already."""
    if not len(native):
        return coded([], np.zeros(0, bool))
    encoded = native if hasattr(native.type, "index_type") else native.dictionary_encode()
    encoded = encoded.unify_dictionaries().combine_chunks()
    chunk = encoded.chunk(0) if hasattr(encoded, "num_chunks") else encoded
    labels = [_label(label) for label in chunk.dictionary.to_pylist()]
    ordered = bool(getattr(native.type, "ordered", False))
    order = list(range(len(labels)))
    if not ordered:
        order.sort(key=lambda code: str(labels[code]))
    ranks = np.zeros(max(len(labels), 1), np.int64)
    ranks[order] = np.arange(len(labels))
    gone = chunk.is_null().to_numpy(zero_copy_only=False)
    codes = ranks[chunk.indices.fill_null(0).to_numpy(zero_copy_only=False)]
    return Series("label", codes, gone, tuple(labels[code] for code in order), ordered)


def _of_pandas_categories(native: Any) -> Series:
    codes = native.cat.codes.to_numpy().astype(np.int64)
    labels = tuple(_label(label) for label in native.cat.categories.tolist())
    return Series("label", np.maximum(codes, 0), codes < 0, labels, ordered=bool(native.cat.ordered))


def _label(value: Any) -> Label:
    return value if isinstance(value, str | int | float | bool) else str(value)


def in_library(table: Any, library: str) -> Any:
    """A table of another library, "pandas" or "polars", in that one; whatever else it is, itself."""
    if library not in ("pandas", "polars") or not is_frame(table):
        return table
    frame = nw.from_native(table, eager_only=True)
    return frame.to_pandas() if library == "pandas" else frame.to_polars()


# --- and back -------------------------------------------------------------------------------------------------------


def to_native(columns: Mapping[str, Series], template: Any) -> Any:
    """Columns as a table of the kind of `template`, which has the same names in the same order."""
    for series in columns.values():
        if series.type == "other":
            raise DataError(series.labels[0])
    module = nw.get_native_namespace(nw.from_native(template, eager_only=True))
    if _is_arrow(template):
        fields = list(template.schema)
        arrays = [_to_arrow(module, series, field.type) for series, field in zip(columns.values(), fields, strict=True)]
        types = [field.with_type(array.type) for field, array in zip(fields, arrays, strict=True)]
        return module.Table.from_arrays(arrays, schema=module.schema(types, template.schema.metadata))
    if nw.dependencies.is_polars_dataframe(template):
        pairs = zip(columns.values(), template.schema.items(), strict=True)
        return module.DataFrame([_to_polars(module, series, key, dtype) for series, (key, dtype) in pairs])
    pairs = zip(columns.values(), template.dtypes, strict=True)
    made = module.DataFrame({j: _to_pandas(module, series, dtype) for j, (series, dtype) in enumerate(pairs)})
    made.columns = template.columns
    return made


def library_of(table: Any) -> str:
    """The library that a table belongs to; pandas for one that is neither pandas nor polars nor Arrow."""
    if _is_arrow(table):
        return "pyarrow"
    return "polars" if nw.dependencies.is_polars_dataframe(table) else "pandas"


def built(columns: Mapping[str, Series], library: str) -> Any:
    """Columns as a table of a library, "pandas", "polars" or "pyarrow", of its plainest types.

    Raises:
        UsageError: it is not installed.
    """
    try:
        module = import_module(library)
    except ImportError:
        raise UsageError(f"a table of {library} needs it: pip install {library}.") from None
    if library == "pyarrow":
        return to_arrow_table(columns)
    if library == "polars":
        types = {"real": module.Float64, "whole": module.Int64, "truth": module.Boolean, "label": module.String}
        dates = {True: module.Date, False: module.Datetime("us")}
        made = [
            _to_polars(module, series, name, types.get(series.type) or dates[series.days])
            for name, series in columns.items()
        ]
        return module.DataFrame(made)
    plain = {"real": "float64", "whole": "int64", "truth": "bool", "label": "object", "date": "datetime64[us]"}
    return module.DataFrame(
        {
            name: _to_pandas(module, series, module.Series([], dtype=plain[series.type]).dtype)
            for name, series in columns.items()
        }
    )


def to_arrow_table(columns: Mapping[str, Series]) -> Any:
    """Columns as an Arrow table of its plainest types."""
    import pyarrow as pa

    types = {"real": pa.float64(), "whole": pa.int64(), "truth": pa.bool_(), "label": pa.string()}
    dates = {True: pa.date32(), False: pa.timestamp("us")}
    return pa.table(
        {name: _to_arrow(pa, series, types.get(series.type) or dates[series.days]) for name, series in columns.items()}
    )


def _to_arrow(pa: Any, series: Series, dtype: Any) -> Any:
    mask = series.missing
    if mask.all():
        return pa.nulls(len(series), dtype)
    if series.type == "date":
        zone = getattr(dtype, "tz", None)
        return pa.array(series.values, pa.int64(), mask=mask).cast(pa.timestamp("us", zone)).cast(dtype)
    if series.type != "label":
        made = pa.array(series.values, mask=mask)
        try:
            return made.cast(dtype)
        except pa.ArrowInvalid:  # whole numbers of too few digits for these
            return made
    text = pa.array(_texts(series), pa.string())
    if not pa.types.is_dictionary(dtype):
        return text.cast(dtype)
    encoded = text.cast(dtype.value_type).dictionary_encode()
    indices = encoded.indices.cast(dtype.index_type)
    return pa.DictionaryArray.from_arrays(indices, encoded.dictionary, ordered=dtype.ordered)


def _to_polars(pl: Any, series: Series, key: str, dtype: Any) -> Any:
    if series.missing.all():
        return pl.Series(key, [None] * len(series), dtype=dtype)
    if series.type == "label":
        if isinstance(dtype, pl.Enum):
            dtype = pl.Enum(_with_room(dtype.categories.to_list(), series, ordered=True))
        return pl.Series(key, _texts(series), dtype=pl.String).cast(dtype)
    made = pl.Series(key, series.values)
    if series.missing.any():
        made = pl.select(pl.when(pl.Series(~series.missing)).then(made)).to_series().alias(key)
    if series.type == "date":
        made = made.cast(pl.Datetime("us", getattr(dtype, "time_zone", None)))
    if not dtype.is_integer():
        return made.cast(dtype)
    cut = made.cast(dtype, strict=False)
    return cut if cut.null_count() == made.null_count() and (cut == made).all() else made


def _to_pandas(pd: Any, series: Series, dtype: Any) -> Any:
    values, gone = series.values, series.missing
    if series.type == "label":
        if isinstance(dtype, pd.CategoricalDtype):
            categories = _with_room(dtype.categories.tolist(), series, ordered=dtype.ordered)
            if len(categories) > len(dtype.categories):
                dtype = pd.CategoricalDtype(categories, dtype.ordered)
            index = {str(label): code for code, label in enumerate(categories)}
            table = np.array([index.get(str(label), -1) for label in series.labels] or [0], np.int64)
            return pd.Series(pd.Categorical.from_codes(np.where(gone, -1, table[values]), dtype=dtype))
        return pd.Series(np.array(_texts(series), dtype=object), dtype=dtype)
    if series.type == "date":
        if pd.api.types.is_object_dtype(dtype):
            return pd.Series(np.array(series.cells(), dtype=object), dtype=object)
        made = pd.Series(np.where(gone, np.datetime64("NaT", "us"), values.astype("M8[us]")))
        return made.astype(dtype) if getattr(dtype, "tz", None) is None else made.dt.tz_localize("UTC").astype(dtype)
    if not gone.any():
        made, whole = pd.Series(values), pd.api.types.is_integer_dtype(dtype)
        if whole and (values.dtype.kind == "f" or not _holds(dtype, values)):
            return made  # which the dtype would wrap round or cut
        return made.astype(dtype)
    room = pd.Series(values).astype({"real": "Float64", "whole": "Int64", "truth": "boolean"}[series.type])
    room[gone] = pd.NA
    try:
        return room.astype(dtype)
    except (ValueError, TypeError):  # NumPy's whole numbers and truths have no room for a missing cell
        return room


def _holds(dtype: Any, values: NDArray[Any]) -> bool:
    limits = np.iinfo(getattr(dtype, "numpy_dtype", dtype))
    return not len(values) or bool(values.min() >= limits.min and values.max() <= limits.max)


def _with_room(categories: list[Any], series: Series, *, ordered: bool) -> list[Any]:
    """The categories of a dtype, and those that it lacks for the labels of a series: where these are, if in order."""
    known = {str(category) for category in categories}
    used = [series.labels[place] for place in np.unique(series.known)]
    if all(str(label) in known for label in used):
        return categories
    if not ordered:
        return [*categories, *(label for label in used if str(label) not in known)]
    in_order = {str(label) for label in series.labels}
    return [*series.labels, *(category for category in categories if str(category) not in in_order)]


def _texts(series: Series) -> list[str | None]:
    """The labels as texts; None where missing."""
    table = np.array([*map(str, series.labels), None], dtype=object)
    return table[np.where(series.missing, len(series.labels), series.values)].tolist()
