"""Arrays of any library, with or without a mask -> NumPy's own, in which a missing entry is NaN, NaT or None."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.errors import DataError


def plain(data: Any, name: str = "the data") -> Any:
    """Convert arrays to plain NumPy arrays; return anything else unchanged.

    Arrays of JAX, PyTorch and others of the DLPack protocol are copied to NumPy. Masked entries become missing ones. A
    structured array becomes a dict of its columns.

    Raises:
        DataError: a structured array of more than one dimension, or masked rows of different lengths; the message calls
            the data `name`.
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
    return _without_mask(data) if isinstance(data, np.ma.MaskedArray) else np.asarray(data)


def check_weights(weights: Any, n: int, name: str = "the data") -> NDArray[np.float64]:
    """The weights of n rows as numbers, (n,).

    Raises:
        DataError: no n finite numbers of at least 0 of which one is more; the message names the row.
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


def _without_mask(data: "np.ma.MaskedArray[Any, Any]") -> NDArray[Any]:
    gone = np.ma.getmaskarray(data)
    if not gone.any():
        return np.asarray(data.data)
    # NumPy's whole numbers, truths and texts have no missing entry.
    made = np.array(data.data, dtype=None if data.dtype.kind in "fcmM" else object)
    made[gone] = {"m": "NaT", "M": "NaT", "O": None}.get(made.dtype.kind, np.nan)
    return made


def rows_of(data: Any, name: str) -> NDArray[Any]:
    """Convert rows in nested lists to an array.

    Raises:
        DataError: rows of different lengths, or a cell that is a list; the message names the row.
    """
    if not isinstance(data, list | tuple):
        return np.asarray(data)
    if len(data) and isinstance(data[0], Mapping):
        raise DataError(
            f"{name}, row 1 is a dict; expected its entries in a list, or one dict of columns. pandas.DataFrame(rows) "
            "makes columns of them."
        )
    check_even(data, name)
    try:
        made = np.asarray(data)
    except ValueError:
        row = next(i for i, one in enumerate(data) if any(isinstance(entry, list | tuple) for entry in one))
        raise DataError(f"{name}, row {row + 1} has a list in a cell; expected a single value in each.") from None
    # [1, "a"] holds a number, and is no row of two texts.
    return np.asarray(data, dtype=object) if made.dtype.kind in "US" else made


def check_even(rows: Any, name: str) -> None:
    """Refuse rows of different lengths.

    Raises:
        DataError: it names the first row whose length differs.
    """
    has_length = lambda row: hasattr(row, "__len__") and not isinstance(row, str) and row is not np.ma.masked
    lengths = [len(row) if has_length(row) else None for row in rows]
    for i, length in enumerate(lengths):
        if length != lengths[0]:
            got, first = (_said(one) for one in (length, lengths[0]))
            raise DataError(f"{name}, row {i + 1} has {got}, and row 1 has {first}; expected as many in each.")


def _said(length: int | None) -> str:
    return "a single value" if length is None else f"{length} entr{'y' if length == 1 else 'ies'}"
