"""Files that a visitor drops on the page: numbers in columns, read as text and as nothing else, and kept in memory.

Nothing is written to a disk, and no name that comes with a file is used.
"""

from __future__ import annotations

import io
import secrets
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.data._series import Series
from motes.data._text_lines import TextInMemory, collected, header_of
from motes.data._text_options import TextOptions
from motes.data._texts import read_text
from motes.errors import DataError, UsageError
from motes.explorer._limits import Limits

KEPT = 8  # files at once; then the oldest goes
NAME = "the file"
FEWEST = 2  # rows
LARGEST = 1e12  # number of a column


class Upload(NamedTuple):
    """The columns of numbers of a file: their names, and the rows (n, d)."""

    columns: tuple[str, ...]
    x: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    """What is read otherwise than it is written, and what is left out."""


class Uploads:
    """The files of all pages."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, Upload] = OrderedDict()
        self._lock = Lock()

    def keep(self, upload: Upload) -> str:
        """The word by which it is asked for."""
        word = secrets.token_urlsafe(12)
        with self._lock:
            self._files[word] = upload
            while len(self._files) > KEPT:
                self._files.popitem(last=False)
        return word

    def get(self, word: object) -> Upload:
        """The file of that word.

        Raises:
            UsageError: it is not there, or no longer.
        """
        with self._lock:
            if not isinstance(word, str) or word not in self._files:
                raise UsageError(f"got a file that is not here; expected one of the last {KEPT}. Drop it once more.")
            return self._files[word]


def read(data: bytes, limits: Limits) -> Upload:
    """The columns of a text that hold numbers alone, as `motes train` reads such a file.

    Raises:
        DataError: it is no such file, or too large.
    """
    with collected() as notes:
        frame = _frame(TextInMemory(NAME, data), TextOptions(sep=_separator(data)), limits)
    if not FEWEST <= len(frame) <= limits.rows:
        raise DataError(f"{NAME} has {len(frame):,} rows; expected {FEWEST} to {limits.rows:,}.")
    columns = {name: series.values for name, series in frame.columns.items() if _holds_numbers(series)}
    if len(columns) < 2:
        raise DataError(f"{len(columns)} columns of {NAME} hold numbers alone; expected at least two.")
    if others := [name for name in frame.columns if name not in columns]:
        notes.append(f"Columns that do not hold numbers alone are left out: {', '.join(others)}.")
    return Upload(tuple(columns), np.array(list(columns.values()), float).T, tuple(dict.fromkeys(notes)))


def _frame(file: TextInMemory, text: TextOptions, limits: Limits) -> Frame:
    width = len(header_of(file, text).names)
    if width > limits.columns:
        raise DataError(f"{NAME} has {width} columns; expected at most {limits.columns}.")
    return read_text(file, text)


def _separator(data: bytes) -> str:
    """What separates entries, by the first line that is no comment: a comma may be a decimal sign beside another."""
    first = next((line for line in io.BytesIO(data) if not line.lstrip().startswith(b"#")), b"")
    return next((mark for mark in ("\t", ";", ",") if mark.encode() in first), ",")


def _holds_numbers(series: Series) -> bool:
    if series.type not in ("real", "whole") or series.missing.any():
        return False
    return bool((np.isfinite(series.values) & (np.abs(series.values) < LARGEST)).all())
