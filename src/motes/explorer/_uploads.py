"""Files that a visitor drops on the page: numbers in columns, read as text and as nothing else, and kept in memory.

Nothing is written to a disk, and no name that comes with a file is used.
"""

from __future__ import annotations

import csv
import secrets
from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.errors import DataError, UsageError
from motes.explorer._limits import Limits

KEPT = 8  # files at once; then the oldest goes


class Upload(NamedTuple):
    """The columns of numbers of a file: their names, and the rows (n, d)."""

    columns: tuple[str, ...]
    x: NDArray[np.float64]


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
    """The columns of a CSV file that hold numbers alone; a first row of words names them.

    Raises:
        DataError: it is no such file, or too large.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError("the file is not text in UTF-8; expected a CSV file. Save it as one.") from None
    delimiter = next((mark for mark in ("\t", ";", ",") if mark in text.partition("\n")[0]), ",")
    try:
        rows = _rows(csv.reader(text.splitlines(), delimiter=delimiter), limits)
    except csv.Error as error:
        raise DataError(f"the file is no CSV file: {error}.") from None
    if len(rows) < 2:
        raise DataError(f"the file has {len(rows)} rows; expected numbers in columns.")
    names = [f"column {k + 1}" for k in range(len(rows[0]))]
    if any(_number(cell) is None for cell in rows[0]):
        names, rows = [cell.strip()[:60] or name for cell, name in zip(rows[0], names, strict=True)], rows[1:]
    columns = {}
    for k, name in enumerate(names):
        values = [_number(row[k]) for row in rows]
        if all(value is not None for value in values):
            columns[f"{name} ({k + 1})" if name in columns else name] = values
    if len(columns) < 2:
        raise DataError(f"{len(columns)} columns of the file hold numbers alone; expected at least two.")
    return Upload(tuple(columns), np.array(list(columns.values()), float).T)


def _rows(reader: object, limits: Limits) -> list[list[str]]:
    rows: list[list[str]] = []
    for row in reader:  # type: ignore[attr-defined]
        if not row:
            continue
        if len(row) > limits.columns:
            raise DataError(f"row {len(rows) + 1} has {len(row)} columns; expected at most {limits.columns}.")
        if rows and len(row) != len(rows[0]):
            raise DataError(f"row {len(rows) + 1} has {len(row)} columns; expected {len(rows[0])}, as the first.")
        if len(rows) > limits.rows:
            raise DataError(f"the file has more than {limits.rows:,} rows, which is the most.")
        rows.append(row)
    return rows


def _number(cell: str) -> float | None:
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if abs(value) < 1e12 else None
