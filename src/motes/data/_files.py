"""Files of any kinds of columns -> a `Frame`: `.csv`, `.tsv`, `.parquet`, `.npy`, `.npz`; or a data set by its name.

pyarrow reads text and Parquet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from motes.data._datasets import named
from motes.data._frames import Frame, as_frame, unique_names
from motes.data._series import Series, of_values
from motes.data._tables import load_npy
from motes.data._text_lines import header_of
from motes.data._text_options import SEPARATORS, TextOptions
from motes.data._texts import read_text
from motes.errors import DataError, UsageError

SUFFIXES = (".csv", ".tsv", ".parquet", ".npy", ".npz")
BUFFER = 2**20  # bytes of a column of Parquet


def suffix_of(path: str | Path) -> str:
    """The suffix of a file that can be read and written, in lower case.

    Raises:
        UsageError: another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"'{path}' ends in '{suffix}'; expected a name that ends in {', '.join(SUFFIXES)}.")
    return suffix


def read_frame(path: str | Path, text: TextOptions = TextOptions()) -> Frame:
    """Read the columns of a file or a data set. Empty cells are missing; in text so are NA, NaN, null and their like.

    Args:
        path: of the file.
        text: how it is written, where it is text.

    Raises:
        UsageError: no such file or data set, another suffix, or text options for what is no text.
        DataError: a file that cannot be read: ragged lines, two columns of one name, another encoding than was named, a
            column of no kind that is known; the message names the line or the column.

    Warns:
        UserWarning: a column is read otherwise than it is written, such as "12 %" as 12.

    Example:
        >>> from motes.data import read_frame
        >>> read_frame("penguins").names[:3]
        ('species', 'island', 'bill_length_mm')
    """
    text.check_for(path)
    if (frame := named(path)) is not None:
        return frame
    path = Path(path)
    suffix = suffix_of(path)
    with reading(path):
        if suffix in SEPARATORS:
            return read_text(path, text)
        if suffix == ".parquet":
            return _read_parquet(path)
        return as_frame(load_npy(path), name=f"'{path}'") if suffix == ".npy" else _read_npz(path)


def refuse_address(source: str | Path) -> None:
    """Refuse what is not on this machine.

    Raises:
        UsageError: an address, such as that of a page on the web.
    """
    if found := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", str(source)):  # of which a Path leaves one /
        address = f"{found[1]}://{str(source)[found.end() :]}"
        raise UsageError(f"got the address {address}; expected a file on this machine. Download it first.")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What goes wrong with the file itself, in words."""
    refuse_address(path)
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'.")
    try:
        yield
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror or str(error).strip().rstrip('.')}.") from None


def width_of(path: Path, text: TextOptions) -> int:
    """How many columns a file has; of a text without reading more than its first line.

    Raises:
        UsageError, DataError: as `read_frame`.
    """
    if suffix_of(path) not in SEPARATORS:
        return len(read_frame(path, text).names)
    with reading(path):
        return len(header_of(path, text).names)


# --- Parquet and NumPy ----------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Frame:
    with parquet_file(path) as file:
        made: dict[str, Series] = {}
        for name in file.schema_arrow.names:  # one at a time, so that the file is never in memory twice
            made |= as_frame(file.read(columns=[name]), name=f"'{path}'").columns
        return Frame(made)


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile` with a name of its own for each column.

    Raises:
        UsageError: no such file.
        DataError: a file that cannot be read, or two columns of one name.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Of a group of rows no more than is being read: some files are one single group.
        with reading(path), parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            unique_names(file.schema_arrow.names, f"'{path}'")
            yield file
    except pa.ArrowInvalid as error:
        raise DataError(f"'{path}' is not a Parquet file: {str(error).rstrip('.')}.") from None


def _read_npz(path: Path) -> Frame:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if other := [name for name, one in arrays.items() if not isinstance(one, np.ndarray)]:
            raise ValueError(other[0])
    except OSError:
        raise
    except MemoryError as error:
        raise DataError(f"'{path}' says that it holds more than fits in memory ({error}), or is damaged.") from None
    except Exception:  # of the archive, of its compression, or of the header of an array, which is read as Python code
        raise DataError(
            f"'{path}' is not an archive of arrays, as numpy.savez writes it without pickling, or it is damaged."
        ) from None
    if len(arrays) == 1 and next(iter(arrays.values())).ndim == 2:
        return as_frame(next(iter(arrays.values())), name=f"'{path}'")
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        contents = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(f"'{path}' holds {contents or 'nothing'}; expected columns of the same length, or one matrix.")
    return Frame({name: of_values(array, name, f"'{path}'") for name, array in arrays.items()})
