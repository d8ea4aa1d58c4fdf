"""Templates: the type, names and dtypes of a table, as an empty table; saved without pickle."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import plain
from motes.data.frames import Frame
from motes.data.tables import Table
from motes.errors import UsageError


def template_of(data: Any) -> Any:
    """Return an empty table like `data`, for `Frame.like`."""
    if isinstance(data, np.ma.MaskedArray) and data.dtype.names is None:
        return np.asarray(data.data)[:0]
    data = plain(data)
    if isinstance(data, np.ndarray):
        return data[:0]
    if isinstance(data, Frame | Table):
        return data
    if isinstance(data, Mapping):
        return {
            str(name): np.empty(0, values.dtype) if isinstance(values, np.ndarray) else None
            for name, values in data.items()
        }
    if isinstance(data, list | tuple):
        made = np.asarray(data)
        return np.empty((0, *made.shape[1:]), object if made.dtype.kind in "US" else made.dtype)
    from motes.data.natives import first_rows  # here and below: pyarrow loads with the first data frame

    return first_rows(data, 0)


def without(table: Any, places: Sequence[int]) -> Any:
    """Remove the columns at these indices from an array or a table in memory."""
    if not places:
        return table
    if isinstance(table, Mapping):
        return {name: value for j, (name, value) in enumerate(table.items()) if j not in places}
    if isinstance(table, Frame | Table):
        return table
    if isinstance(table, np.ndarray):
        return np.delete(table, places, axis=1)
    from motes.data.natives import names_of

    kept = [j for j in range(table.shape[1]) if j not in places]
    if hasattr(table, "iloc"):
        return table.iloc[:, kept]
    return table.select([name for j, name in enumerate(names_of(table)) if j in kept])


def without_values(table: Any, columns: Sequence[str]) -> Any:
    """Return the template with plain text for those of these columns whose type lists all values."""
    library = type(table).__module__.split(".")[0]
    if library == "pandas":
        places = [j for j, name in enumerate(map(str, table.columns)) if name in columns]
        kinds = {j: "object" for j in places if str(table.dtypes.iloc[j]) == "category"}
        return table.astype({table.columns[j]: kind for j, kind in kinds.items()}) if kinds else table
    if library == "polars":
        import polars

        return table.cast(
            {name: polars.String for name in columns if table[name].dtype in (polars.Enum, polars.Categorical)}
        )
    return table


ARROW = "arrow:"  # prefix of a pandas dtype that is an Arrow type
KEY = "template"  # the key in the texts and arrays of a model file


def keep(template: Any, tensors: dict[str, NDArray[Any]], about: dict[str, str]) -> None:
    """Add a template to the contents of a model file. A `Frame` or None needs nothing.

    Raises:
        UsageError: as in `packed`.
    """
    if template is not None and not isinstance(template, Frame):
        about[KEY], tensors[KEY] = packed(template)


def kept(tensors: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> Any:
    """Read the template that `keep` added; None if there is none.

    Raises:
        UsageError, ValueError: as in `unpacked`.
        KeyError: if the text or the array is missing.
    """
    return unpacked(about[KEY], tensors[KEY]) if KEY in about else None


def packed(template: Any) -> tuple[str, NDArray[np.uint8]]:
    """Convert a template to the name of its library and bytes, for `unpacked`.

    Raises:
        UsageError: for a table of a library other than NumPy, pandas, polars and Arrow.
    """
    if isinstance(template, np.ndarray):
        return "numpy", _as_array(json.dumps([template.dtype.str, template.shape[1]]).encode())
    if isinstance(template, Mapping):
        dtypes = {name: None if one is None else one.dtype.str for name, one in template.items()}
        return "dict", _as_array(json.dumps(dtypes).encode())
    library = type(template).__module__.split(".")[0]
    if library == "pandas":
        return library, _as_array(json.dumps(_describe_pandas(template)).encode())
    buffer = io.BytesIO()
    if library == "polars":
        template.write_ipc(buffer)
        return library, _as_array(buffer.getvalue())
    if library == "pyarrow":
        return library, _as_array(template.schema.serialize().to_pybytes())
    raise UsageError(
        f"a model fitted to a {type(template).__name__} of {library} cannot be saved. Fit it to a pandas, polars or "
        "Arrow table, or to an array."
    )


def unpacked(library: str, raw: NDArray[np.uint8]) -> Any:
    """Restore the template from the result of `packed`.

    Raises:
        UsageError: if its library is not installed.
        ValueError: if the bytes are invalid.
    """
    data = raw.tobytes()
    try:
        if library == "numpy":
            dtype, width = json.loads(data)
            return np.empty((0, width), np.dtype(dtype))
        if library == "dict":
            dtypes = json.loads(data)
            return {name: None if dtype is None else np.empty(0, np.dtype(dtype)) for name, dtype in dtypes.items()}
        if library == "pandas":
            return _to_pandas(json.loads(data))
        if library == "polars":
            return _to_polars(data)
        return _arrow_schema(data).empty_table()
    except ImportError:
        raise UsageError(
            f"this model returns {library} tables, but {library} is not installed: pip install {library}."
        ) from None


def _as_array(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _describe_pandas(template: Any) -> list[Any]:
    """Return [name, dtype, categories, whether ordered] of each column."""
    made = []
    for name, dtype in zip(template.columns, template.dtypes, strict=True):
        categories = dtype.categories.tolist() if str(dtype) == "category" else None
        made.append(
            [
                name if isinstance(name, str | int) else str(name),
                _dtype_name(dtype),
                categories,
                bool(getattr(dtype, "ordered", False)),
            ]
        )
    return made


def _dtype_name(dtype: Any) -> str:
    """Return the name of a pandas dtype for `_parse_dtype`: its own name, unless that is incomplete."""
    if hasattr(dtype, "pyarrow_dtype"):
        import pyarrow

        schema = pyarrow.schema([("", dtype.pyarrow_dtype)])
        return ARROW + base64.b64encode(schema.serialize().to_pybytes()).decode()
    return f"string[{dtype.storage}]" if str(dtype) == "string" else str(dtype)


def _parse_dtype(name: str) -> Any:
    import pandas

    if not str(name).startswith(ARROW):
        return pandas.api.types.pandas_dtype(name)
    return pandas.ArrowDtype(_arrow_schema(base64.b64decode(name.removeprefix(ARROW))).types[0])


def _arrow_schema(data: bytes) -> Any:
    import pyarrow

    try:
        return pyarrow.ipc.read_schema(pyarrow.py_buffer(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"its template is not a valid Arrow schema: {error}") from None


def _to_polars(data: bytes) -> Any:
    import polars

    try:
        return polars.read_ipc(io.BytesIO(data))
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        raise ValueError(f"its template is not a valid polars table: {error}") from None


def _to_pandas(columns: list[Any]) -> Any:
    import pandas

    made = {}
    for j, (_, dtype, categories, ordered) in enumerate(columns):
        kind = _parse_dtype(dtype) if categories is None else pandas.CategoricalDtype(categories, ordered)
        made[j] = pandas.Series([], dtype=kind)
    frame = pandas.DataFrame(made)
    frame.columns = pandas.Index([name for name, *_ in columns])
    return frame
