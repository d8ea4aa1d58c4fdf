"""Files <-> standardised float matrices.

A model learns standardised columns, and everything it gives back is in the data's own units:

    z = (x - mean) / scale,    log p(x) = log p(z) - sum_j log scale_j
"""

from __future__ import annotations

import csv
import math
import os
import secrets
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._readings import Numbers, chosen, doubt, is_number, ways_of
from motes.data._text_lines import default_columns, header_of, lines_of, not_utf8, say_read
from motes.data._text_options import TextOptions
from motes.errors import DataError, UsageError, unknown

Array = NDArray[np.float64]

SUFFIXES = (".csv", ".npy")


@dataclass(frozen=True)
class Table:
    """Rows of numbers, `x` of shape (n, d) in float64, the names of the d columns, and the class of each row (n,).

    Example:
        >>> from motes.data import Table
        >>> points = Table(np.array([[1.0, 2.0], [3.0, 4.0]]), ("height", "width"))
        >>> len(points), points.columns
        (2, ('height', 'width'))
    """

    x: Array
    columns: tuple[str, ...]
    labels: NDArray[np.str_] | NDArray[np.int64] | None = None

    def __repr__(self) -> str:
        return f"Table({len(self.x):,} rows of {len(self.columns)} columns)"

    def take(self, rows: NDArray[np.integer]) -> Table:
        """Some of the rows.

        Example:
            >>> from motes.data import Table
            >>> points = Table(np.array([[1.0, 2.0], [3.0, 4.0]]), ("height", "width"))
            >>> points.take(np.array([1])).x.tolist()
            [[3.0, 4.0]]
        """
        return replace(self, x=self.x[rows], labels=None if self.labels is None else self.labels[rows])

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Standardiser:
    """The invertible map between the data's units and standardised ones; `mean` and `scale` have shape (d,).

    Example:
        >>> from motes.data import Standardiser
        >>> Standardiser(mean=np.array([10.0]), scale=np.array([2.0])).forward(np.array([[14.0]])).tolist()
        [[2.0]]
    """

    mean: Array
    scale: Array

    def __repr__(self) -> str:
        return f"Standardiser({len(self.mean)} columns)"

    @classmethod
    def fit(cls, x: Array, weights: Array | None = None) -> Standardiser:
        """Mean and standard deviation of each column of `x` (n, d).

        `weights` (n,) say how often each row counts; without them it is once.

        Example:
            >>> from motes.data import Standardiser
            >>> units = Standardiser.fit(np.array([[8.0], [12.0]]))
            >>> units.mean.tolist(), units.scale.tolist()
            ([10.0], [2.0])
        """
        if weights is None:
            return cls(x.mean(axis=0), x.std(axis=0))
        share = weights / weights.sum()
        mean = share @ x
        return cls(mean, np.sqrt(share @ (x - mean) ** 2))

    @classmethod
    def identity(cls, dim: int) -> Standardiser:
        """Leaves the data as it is.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.identity(2).forward(np.array([[3.0, 4.0]])).tolist()
            [[3.0, 4.0]]
        """
        return cls(np.zeros(dim), np.ones(dim))

    def forward(self, x: Array) -> Array:
        """Data units (n, d) -> standardised (n, d).

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0], [12.0]])).forward(np.array([[14.0]])).tolist()
            [[2.0]]
        """
        return (x - self.mean) / self.scale

    def inverse(self, z: ArrayLike) -> Array:
        """Standardised (..., d) -> data units (..., d), in float64.

        Example:
            >>> from motes.data import Standardiser
            >>> Standardiser.fit(np.array([[8.0], [12.0]])).inverse([[2.0]]).tolist()
            [[14.0]]
        """
        x = np.array(z, dtype=np.float64)
        x *= self.scale  # in place: a million rows are worth it
        x += self.mean
        return x

    @property
    def log_det(self) -> float:
        """log |dz/dx| in nats: what is added to a standardised log-density to have it in the data's units."""
        return -float(np.log(self.scale).sum())


def as_table(
    x: ArrayLike, columns: Sequence[str] | None = None, *, name: str = "the data", to_learn: bool = True
) -> Table:
    """Check a matrix and name its columns.

    Args:
        x: numbers of shape (n, d) with n >= 2 rows and d >= 1 columns.
        columns: d names; None takes x, y or x0, x1, ...
        name: what messages call the source.
        to_learn: from these rows; otherwise one row will do, and a column may be constant.

    Raises:
        DataError: not a matrix of finite numbers, too few rows or columns, or a constant column; the message
            names the row and the column.
    """
    try:
        if np.asarray(x).dtype.kind not in "biufOUS":
            raise TypeError(f"values of type {np.asarray(x).dtype}")
        matrix = np.asarray(x, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{name} holds something that is not a number ({error}). Expected a matrix of numbers."
        ) from None
    if matrix.ndim != 2:
        raise DataError(f"{name} has shape {matrix.shape}; expected (rows, columns).")
    rows, dim = matrix.shape
    names = default_columns(dim) if columns is None else tuple(columns)
    if len(names) != dim:
        raise DataError(f"{name} has {dim} columns but {len(names)} names: {', '.join(names)}.")
    for column in names:
        if is_number(str(column)):
            raise DataError(
                f"{name} has a column named '{column}', which a file cannot tell from a cell. Give it a word."
            )
    if not dim:
        raise DataError(f"{name} has no columns; expected at least one of numbers.")
    if rows < 1 + to_learn:
        raise DataError(f"{name} has {rows} row{'s' * (rows != 1)}; expected at least {1 + to_learn}.")
    bad = np.argwhere(~np.isfinite(matrix))
    if len(bad):
        row, column = bad[0]
        raise DataError(
            f"{name} holds {matrix[row, column]} in row {row + 1}, column '{names[column]}' "
            f"({len(bad)} such cell{'s' * (len(bad) > 1)} in all). Remove or fill in these rows first."
        )
    if to_learn:
        _check_spread(matrix, names, name)
    return Table(matrix, names)


def _check_spread(matrix: Array, names: tuple[str, ...], name: str) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        spread = matrix.std(axis=0)
    for j, deviation in enumerate(spread):
        # A spread below rounding of the column's own size is no spread.
        if deviation <= 1e-14 * np.abs(matrix[:, j]).max():
            raise DataError(
                f"column '{names[j]}' of {name} is constant ({matrix[0, j]:g} in all {len(matrix)} rows), "
                "so it cannot be standardised. Remove it."
            )
        if not np.isfinite(deviation):
            raise DataError(
                f"column '{names[j]}' of {name} reaches {np.abs(matrix[:, j]).max():g}, "
                "too large to standardise. Rescale it."
            )


def load_npy(path: Path) -> NDArray:
    """The one array of a `.npy` file.

    Raises:
        DataError: no such file of NumPy's, or one that is pickled.
    """
    try:
        with path.open("rb") as file:
            x = np.load(file, allow_pickle=False)
            if not isinstance(x, np.ndarray):
                raise ValueError("it holds several arrays; expected one, as numpy.save writes it")
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise DataError(
            f"'{path}' is not a NumPy file of one array of numbers, as numpy.save writes it without pickling."
        ) from None
    return x


def read_numbers(path: Path, text: TextOptions, *, label: str | None = None, to_learn: bool = True) -> Table:
    """Read text whose cells are numbers, but for those of the column `label`, with or without a header line.

    Raises:
        DataError: a ragged line, a cell that is not a number, and what `as_table` raises; the message names the line.
        UsageError: no such column.
    """
    names, skip = header_of(path, text)
    body = [(line, cells) for line, cells in lines_of(path, text) if line > skip]
    for line, cells in body:
        if len(cells) != len(names):
            raise DataError(f"line {line} of '{path}' has {len(cells)} cells; expected {len(names)}.")
    if label and label not in names and to_learn:
        raise UsageError(f"'{path}': " + unknown("label column", label, names))
    labels = None
    if label is not None and label in names:
        place = names.index(label)
        labels = np.array([cells.pop(place).strip() for _, cells in body])
        names = names[:place] + names[place + 1 :]
        if not all(labels):
            line = body[list(labels).index("")][0]
            raise DataError(f"line {line} of '{path}', column '{label}': an empty cell is no label.")
    lines = [line for line, _ in body]
    x, wrong = np.empty((len(body), len(names))), []
    for j, name in enumerate(names):
        x[:, j], place, why = _numbers([cells[j] for _, cells in body], path, name, text)
        if why:
            wrong.append((lines[place], f"line {lines[place]} of '{path}', column '{name}': {why}"))
    if wrong:
        raise DataError(min(wrong, key=lambda found: found[0])[1])
    return replace(as_table(x, names, name=f"'{path}'", to_learn=to_learn), labels=labels)


def _numbers(cells: Sequence[str], path: Path, column: str, text: TextOptions) -> tuple[Array, int, str]:
    """The numbers (n,) of the cells of one column of a file; and the place of the first that is none, and why."""
    distinct = [*dict.fromkeys(cells)]
    ways = ways_of(distinct, text)
    way = chosen(ways, text)
    if isinstance(way, Numbers):
        say_read(path, column, way, text)
    elif text.decimal == ",":
        way = Numbers(",", "")  # with which not all agree
    x = np.zeros(len(cells))
    for i, cell in enumerate(cells):
        plain = float(cell) if is_number(cell) else None
        value = way.value(cell) if isinstance(way, Numbers) else plain
        if value is None or cell.strip() in text.na:
            if message := not_utf8([cell]):
                return x, i, message
            got = f"'{cell}'" if cell.strip() else "an empty cell"
            either = any(isinstance(way, Numbers) for way in ways)
            return x, i, f"{got} is not a number." + (f" The column holds {doubt(distinct)}." if either else "")
        if not math.isfinite(value):
            return x, i, f"'{cell.strip()}' is not a finite number."
        x[i] = value
    return x, 0, ""


def write_table(path: str | Path, x: Array, columns: Sequence[str]) -> None:
    """Write rows (n, d) to a `.csv` (with a header, each number in full) or `.npy` file, whole or not at all.

    Raises:
        UsageError: a suffix other than .csv and .npy, or not one name a column.
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> from pathlib import Path
        >>> motes.write_table("points.csv", np.array([[1.0, 2.5]]), ["x", "y"])
        >>> print(Path("points.csv").read_text().strip())
        x,y
        1.0,2.5
    """
    path = Path(path)
    suffix = check_suffix(path)
    if len(columns) != x.shape[1]:
        raise UsageError(f"{x.shape[1]} columns but {len(columns)} names: {', '.join(columns)}.")
    if numbers := [column for column in columns if is_number(column)]:
        raise UsageError(f"a column named '{numbers[0]}' would be read back as a cell. Give it a word.")
    with replacing(path) as temporary:
        if suffix == ".npy":
            with temporary.open("wb") as file:
                np.save(file, x)
        else:
            with temporary.open("w", newline="", encoding="utf-8") as text:
                write_csv(text, x, columns)


def check_suffix(path: Path) -> str:
    """The suffix of a table's file, in lower case.

    Raises:
        UsageError: neither .csv nor .npy.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"'{path}' ends in '{path.suffix}'; expected a name that ends in {' or '.join(SUFFIXES)}.")
    return path.suffix.lower()


def write_csv(file: object, x: Array, columns: Sequence[str]) -> None:
    """Write a header and rows (n, d) to an open text file; `float` of each cell gives back the exact number."""
    writer = csv.writer(file, lineterminator="\n")  # type: ignore[arg-type]
    writer.writerow(columns)
    writer.writerows(x.tolist())


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end: a reader sees the old file or the new, never half.

    `durable`: so does who looks after the power has failed, since the file and its folder are flushed to the disk.
    """
    # An ordinary file, which follows the umask; those of `tempfile` are private.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        try:
            yield temporary
        except OSError as error:
            if error.filename in (None, str(temporary)):  # a full disk has no name; nobody knows the temporary one
                error.filename = str(path)
            raise
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
