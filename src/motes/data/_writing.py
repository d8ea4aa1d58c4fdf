"""A `Frame`, or many blocks of rows one after the other, -> files: `.csv`, `.tsv`, `.parquet`, `.npy`, `.npz`."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._files import suffix_of
from motes.data._frames import Frame, joined
from motes.data._readings import is_number
from motes.data._replacing import replacing
from motes.data._series import TYPE_WORDS, Series, Type
from motes.data._text_options import SEPARATORS
from motes.errors import UsageError

Write = Callable[[Frame], None]


def check_writable(path: str | Path, types: Mapping[str, Type]) -> None:
    """Refuse what a file has no room for, before any work is done.

    Args:
        path: of the file.
        types: of each column, by its name.

    Raises:
        UsageError: another suffix; a column that is named by a number, in text; text or dates in a `.npy` file.
    """
    suffix = suffix_of(path)
    if suffix in SEPARATORS and (numbers := [name for name in types if is_number(name)]):
        raise UsageError(f"a column named '{numbers[0]}' would be read back as a cell. Give it a word.")
    if suffix == ".npy" and (other := [name for name, type_ in types.items() if type_ in ("label", "date")]):
        raise UsageError(
            f"'{path}': column '{other[0]}' holds {TYPE_WORDS[types[other[0]]]}, and a .npy file numbers alone. "
            "Write a .npz, .parquet or .csv file."
        )


def write_frame(path: str | Path, frame: Frame) -> None:
    """Write the columns to a file, whole or not at all. A missing cell is an empty one, in NumPy's files NaN.

    Raises:
        UsageError: as `check_writable`.
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> from motes.data import as_frame, read_frame, write_frame
        >>> write_frame("people.csv", as_frame({"age": [31, 47], "name": ["Ada", "Max"]}))
        >>> read_frame("people.csv")
        age  name
         31   Ada
         47   Max
        2 rows of 2 columns
    """
    with writing(path) as write:
        write(frame)


@contextmanager
def writing(path: str | Path) -> Iterator[Write]:
    """A function that appends rows to a new file, which is there once all of them are.

    Text and Parquet are written block by block, so that the rows need never be in memory together; NumPy's files at the
    end.

    Raises:
        UsageError: as `check_writable`.
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    check_writable(path, {})
    ways = {".parquet": _parquet, ".npy": _at_once(_write_npy), ".npz": _at_once(_write_npz)}
    way = ways.get(suffix := suffix_of(path))
    with replacing(path) as temporary:
        if way is None:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                yield _checked(path, text_to(file, SEPARATORS[suffix]))
        else:
            with way(temporary) as write:
                yield _checked(path, write)


def _checked(path: Path, write: Write) -> Write:
    def checked(frame: Frame) -> None:
        check_writable(path, {name: series.type for name, series in frame.columns.items()})
        write(frame)

    return checked


def text_to(file: Any, separator: str = ",") -> Write:
    """A function that writes rows to an open text file, below one header; each number in full."""
    writer, begun = csv.writer(file, delimiter=separator, lineterminator="\n"), False

    def write(frame: Frame) -> None:
        nonlocal begun
        if not begun:
            writer.writerow(frame.names)
        begun = True
        writer.writerows(zip(*(series.cells() for series in frame.columns.values()), strict=True))

    return write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    """Each block is a row group."""
    from pyarrow import parquet

    from motes.data._natives import to_arrow_table

    file: Any = None

    def write(frame: Frame) -> None:
        nonlocal file
        table = to_arrow_table(frame.columns)
        if file is None:
            file = parquet.ParquetWriter(path, table.schema)
        file.write_table(table)

    try:
        yield write
    finally:
        if file is not None:
            file.close()


def _at_once(save: Callable[[Path, Frame], None]) -> Callable[[Path], Any]:
    """A format that tells the number of rows before them."""

    @contextmanager
    def way(path: Path) -> Iterator[Write]:
        parts: list[Frame] = []
        yield parts.append
        save(path, joined(parts, sum(map(len, parts))))

    return way


def _write_npy(path: Path, frame: Frame) -> None:
    with path.open("wb") as file:
        np.save(file, frame.like(np.empty((0, 0))))


def _write_npz(path: Path, frame: Frame) -> None:
    with zipfile.ZipFile(path, "w") as archive:  # numpy.savez knows no column called "file"
        for name, series in frame.columns.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, _npz_array(series), allow_pickle=False)


def _npz_array(series: Series) -> NDArray[Any]:
    if series.type == "label":
        return np.array(["" if cell is None else str(cell) for cell in series.cells()], dtype=np.str_)
    if series.type == "date":
        micro = np.where(series.missing, np.datetime64("NaT", "us"), series.values.astype("M8[us]"))
        return micro.astype("M8[D]") if series.days else micro
    return np.where(series.missing, np.nan, series.values) if series.missing.any() else series.values
