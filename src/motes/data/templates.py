"""The type, names and dtypes of a table, as a table of the same kind without rows; and on disk without pickle."""

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
    """A table like `data` without rows, which `Frame.like` takes."""
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
    from motes.data.natives import first_rows  # here and below: Arrow loads with the first table of a library

    return first_rows(data, 0)


def without(table: Any, places: Sequence[int]) -> Any:
    """The columns at the other places, of an array or a table in memory."""
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
    """The same template with plain text in these columns where their type names all of its values."""
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


ARROW = "arrow:"  # before a dtype of pandas that is one of Arrow
KEY = "template"  # of the texts and the arrays of a model file


def keep(template: Any, tensors: dict[str, NDArray[Any]], about: dict[str, str]) -> None:
    """Put a template into what a model file holds; a `Frame`, which belongs to no library, or None needs nothing.

    Raises:
        UsageError: as `packed`.
    """
    if template is not None and not isinstance(template, Frame):
        about[KEY], tensors[KEY] = packed(template)


def kept(tensors: Mapping[str, NDArray[Any]], about: Mapping[str, str]) -> Any:
    """The template that `keep` put there; None: there is none.

    Raises:
        UsageError, ValueError: as `unpacked`.
        KeyError: only half of it is there.
    """
    return unpacked(about[KEY], tensors[KEY]) if KEY in about else None


def packed(template: Any) -> tuple[str, NDArray[np.uint8]]:
    """What `unpacked` makes the same template of: the library's name, and bytes.

    Raises:
        UsageError: a frame of a library other than NumPy, pandas, polars and Arrow.
    """
    if isinstance(template, np.ndarray):
        return "numpy", _bytes(json.dumps([template.dtype.str, template.shape[1]]).encode())
    if isinstance(template, Mapping):
        dtypes = {name: None if one is None else one.dtype.str for name, one in template.items()}
        return "dict", _bytes(json.dumps(dtypes).encode())
    library = type(template).__module__.split(".")[0]
    if library == "pandas":
        return library, _bytes(json.dumps(_of_pandas(template)).encode())
    buffer = io.BytesIO()
    if library == "polars":
        template.write_ipc(buffer)
        return library, _bytes(buffer.getvalue())
    if library == "pyarrow":
        return library, _bytes(template.schema.serialize().to_pybytes())
    raise UsageError(
        f"a model that was fitted to a {type(template).__name__} of {library} cannot be saved. Fit it to a pandas, "
        "polars or Arrow table, or to an array."
    )


def unpacked(library: str, raw: NDArray[np.uint8]) -> Any:
    """What `packed` was given.

    Raises:
        UsageError: its library is not installed.
        ValueError: nothing that it made.
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
            f"this model gives tables of {library}, which is not installed: pip install {library}."
        ) from None


def _bytes(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def _of_pandas(template: Any) -> list[Any]:
    """[name, dtype, categories, whether ordered] of each column."""
    made = []
    for name, dtype in zip(template.columns, template.dtypes, strict=True):
        categories = dtype.categories.tolist() if str(dtype) == "category" else None
        made.append(
            [
                name if isinstance(name, str | int) else str(name),
                _name_of(dtype),
                categories,
                bool(getattr(dtype, "ordered", False)),
            ]
        )
    return made


def _name_of(dtype: Any) -> str:
    """By which `_dtype_of` knows a dtype of pandas: its own name, unless that leaves something out."""
    if hasattr(dtype, "pyarrow_dtype"):
        import pyarrow

        schema = pyarrow.schema([("", dtype.pyarrow_dtype)])
        return ARROW + base64.b64encode(schema.serialize().to_pybytes()).decode()
    return f"string[{dtype.storage}]" if str(dtype) == "string" else str(dtype)


def _dtype_of(name: str) -> Any:
    import pandas

    if not str(name).startswith(ARROW):
        return pandas.api.types.pandas_dtype(name)
    return pandas.ArrowDtype(_arrow_schema(base64.b64decode(name.removeprefix(ARROW))).types[0])


def _arrow_schema(data: bytes) -> Any:
    import pyarrow

    try:
        return pyarrow.ipc.read_schema(pyarrow.py_buffer(data))
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"its kind of table is none of Arrow: {error}") from None


def _to_polars(data: bytes) -> Any:
    import polars

    try:
        return polars.read_ipc(io.BytesIO(data))
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        raise ValueError(f"its kind of table is none of polars: {error}") from None


def _to_pandas(columns: list[Any]) -> Any:
    import pandas

    made = {}
    for j, (_, dtype, categories, ordered) in enumerate(columns):
        kind = _dtype_of(dtype) if categories is None else pandas.CategoricalDtype(categories, ordered)
        made[j] = pandas.Series([], dtype=kind)
    frame = pandas.DataFrame(made)
    frame.columns = pandas.Index([name for name, *_ in columns])
    return frame
