"""Points in files and frames, classes of rows, row hashing and the held-out split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.arrays import TYPE_WORDS, Array, Mask, Series, entry_error, of_values
from motes.data.files import read_frame
from motes.data.frames import Frame, as_frame
from motes.data.readings import default_columns, doubt, is_code, is_number, ways_of
from motes.data.tables import Table
from motes.errors import DataError, UsageError, check_seed, unknown
from motes.text_options import TextOptions

SHOWN = 40  # characters of an invalid number to show in messages


def read_table(
    path: str | Path,
    *,
    label: str | None = None,
    given: Sequence[str] = (),
    to_learn: bool = True,
    text: TextOptions = TextOptions(),
) -> Table:
    """Read two or more numeric columns from a text file (with or without header), Parquet, a NumPy file or a data set.

    Args:
        path: the path of the file, or the name of a data set.
        label: the column with the labels of the rows, which may be text.
        given: numeric columns with the conditions of the rows; they become the table's `given`.
        to_learn: whether the rows are for training; otherwise one row is enough, and the column `label` is optional.
        text: the format of a text file.

    Raises:
        UsageError: for a file, data set or column that does not exist, another suffix, or text options for another type
            of file.
        DataError: for a ragged line, an entry that is not a finite number, or too few rows; the message names the line
            or the row.

    Example:
        >>> from pathlib import Path
        >>> size = Path("points.csv").write_text("x;y\\n1,5;2\\n3;4\\n")
        >>> motes.data.read_table("points.csv", text=motes.data.TextOptions(sep=";", decimal=",")).x.tolist()
        [[1.5, 2.0], [3.0, 4.0]]
    """
    table = points_of(read_frame(path, text), f"'{path}'", label, given, to_learn=to_learn)
    if len(table.columns) < 2 and not given:  # the figures of a run draw points in the plane
        raise DataError(f"'{path}' has 1 column; expected two or more numeric columns. In Python, one is enough.")
    return table


def points_of(
    frame: Frame, name: str, label: str | None = None, given: Sequence[str] = (), *, to_learn: bool = True
) -> Table:
    """Convert a frame to points, with the column `label` as their classes and the columns `given` as their conditions.

    `read_table` does the same with a file.

    Raises:
        UsageError: if a column does not exist.
        DataError: if another column is not numeric, and as in `as_table`.
    """
    if label and label not in frame.columns and to_learn:
        raise UsageError(f"{name}: " + unknown("label column", label, frame.names))
    labels = None
    if label and label in frame.columns:
        series = frame.columns[label]
        _check_observed(series, label, name, "a label")
        labels = np.array(series.cells()).astype(str)
        frame = frame.select([column for column in frame.names if column != label])
    observed = None
    if given:
        lacking = [column for column in given if column not in frame.columns]
        if lacking:
            raise UsageError(f"{name}: " + unknown("given column", lacking[0], frame.names))
        rest = [column for column in frame.names if column not in given]
        if not rest:
            raise UsageError(
                f"{name}: `given` contains all columns; expected at least one column to learn. Leave some out."
            )
        observed = as_table(frame.select(list(given)), name=name, to_learn=to_learn, missing=True)
        frame = frame.select(rest)
    return replace(as_table(frame, name=name, to_learn=to_learn), labels=labels, given=observed)


def as_table(
    data: Any,
    columns: Sequence[str] | None = None,
    *,
    name: str = "the data",
    to_learn: bool = True,
    missing: bool = False,
) -> Table:
    """Convert rows of numbers to a table; a table is returned unchanged.

    Args:
        data: an array (n, d), or another input of `as_frame`.
        columns: d names for the columns of an array; default: x, y or x0, x1, ...
        name: the name of the source in messages.
        to_learn: whether the rows are for training; otherwise one row is enough.
        missing: whether entries may be missing, as in conditions; they become NaN.

    Raises:
        DataError: unless there are enough rows, and columns of finite numbers, or if a column is entirely missing or
            too large to standardise; the message names the row and the column.
    """
    if isinstance(data, Table):
        return data
    frame = as_frame(data, columns, name=name)
    if not frame.columns:
        raise DataError(f"{name} has no columns; expected at least one column of numbers.")
    if len(frame) < 1 + to_learn:
        raise DataError(f"{name} has {len(frame)} row{'s' * (len(frame) != 1)}; expected at least {1 + to_learn}.")
    matrix = np.empty((len(frame), len(frame.columns)))
    for j, (column, series) in enumerate(frame.columns.items()):
        if is_number(column):
            raise DataError(
                f"{name} has a column named '{column}', which would be read as a cell. Use a word as its name."
            )
        _check_numbers(series, column, name, to_learn=to_learn, missing=missing)
        matrix[:, j] = np.where(series.missing, np.nan, series.values)
        _check_range(matrix[:, j], column, name, to_learn=to_learn)
    return Table(matrix, frame.names)


def _check_range(entries: Array, column: str, name: str, *, to_learn: bool) -> None:
    """Refuse infinite entries, and columns that cannot be standardised."""
    if infinite := int(np.isinf(entries).sum()):
        row = int(np.isinf(entries).argmax())
        raise DataError(
            f"{name} holds {entries[row]} in row {row + 1}, column '{column}' ({infinite} such "
            f"cell{'s' * (infinite > 1)} in all). Remove or fill in these rows first."
        )
    known = entries[~np.isnan(entries)]
    if to_learn and not len(known):
        raise DataError(f"column '{column}' of {name} is missing in all {len(entries)} rows. Remove it.")
    with np.errstate(over="ignore", invalid="ignore"):
        if to_learn and not np.isfinite(known.std()):
            raise DataError(
                f"column '{column}' of {name} reaches {np.abs(known).max():g}, too large to standardise. Rescale it."
            )


def _check_observed(series: Series, column: str, name: str, expected: str) -> None:
    if series.missing.any():
        got = f"a missing entry ({int(series.missing.sum()):,} in all)"
        raise entry_error(name, column, got, expected, int(series.missing.argmax()))


def _check_numbers(series: Series, column: str, name: str, *, to_learn: bool, missing: bool) -> None:
    if series.type in ("real", "whole"):
        return None if missing else _check_observed(series, column, name, "a number")
    where, got, why = f"{name}, column '{column}'", TYPE_WORDS[series.type], None
    odd = [label for label in series.labels if not is_number(str(label)) or is_code(str(label))]
    if odd and series.type == "label":
        rows = {label: int((series.values == code).argmax()) + 1 for code, label in enumerate(series.labels)}
        first = min(odd, key=lambda label: rows[label])
        where, got = f"{name}, row {rows[first]:,}, column '{column}'", f"'{str(first)[:SHOWN]}'"
        texts = list(map(str, series.labels))
        why = doubt(texts) if ways_of(texts, TextOptions()) else None  # all could be numbers in an ambiguous format
    if missing:
        advice = "Convert it to numbers, such as 0 and 1 for its labels, or learn all columns with recipe 'table'."
    elif to_learn:
        advice = f"Use recipe 'table', or make it the label of the rows: data.label = '{column}'."
    else:
        advice = "Leave the column out: this is a model of points."
    raise DataError(f"{where}: got {got}; expected numbers. " + (f"The column holds {why}. " if why else "") + advice)


def frame_of(table: Table, label: str = "label") -> Frame:
    """Convert points to a frame, with their conditions and, in a column `label`, their classes if there are any."""
    points = as_frame(table)
    if table.given is not None:
        points = Frame({**points.columns, **as_frame(table.given).columns})
    if table.labels is None:
        return points
    return Frame({**points.columns, label: of_values(table.labels.astype(object), label, "the labels")})


def order_of(ours: tuple[str, ...], theirs: tuple[str, ...], name: str) -> list[int]:
    """Return the indices of the model's columns in `theirs`. Columns with default names are matched by position."""
    if len(theirs) != len(ours):
        raise UsageError(f"{name} has {len(theirs)} columns; the model has {len(ours)}: {', '.join(ours)}.")
    if set(theirs) != set(ours):
        if default_columns(len(ours)) in (theirs, ours):
            return list(range(len(ours)))
        missing = next(column for column in ours if column not in theirs)
        raise UsageError(f"{name} has no column '{missing}'; the model has {', '.join(ours)}.")
    return [theirs.index(column) for column in ours]


def matrix_of(columns: tuple[str, ...], frame: Frame, name: str) -> Array:
    """Convert rows to numbers (n, d) in the order of a model's columns, with NaN for missing entries.

    Raises:
        UsageError: if the columns are not the model's.
        DataError: if a column is not numeric.
    """
    made = []
    for column, j in zip(columns, order_of(columns, frame.names, name), strict=True):
        series = frame.columns[frame.names[j]]
        if series.type not in ("real", "whole") and not series.missing.all():
            raise entry_error(name, column, TYPE_WORDS[series.type], "numbers")
        made.append(np.where(series.missing, np.nan, series.values.astype(np.float64)))
    return np.stack(made, axis=1)


# --- The classes of rows: names <-> the numbers 0, 1, ... that the network reads ------------------------------------


Name = str | int
MOST = 1000


@dataclass(frozen=True)
class Classes:
    """The sorted names of the classes, and the number of training rows of each, or the sum of their weights."""

    names: tuple[Name, ...]
    counts: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, labels: ArrayLike, weights: NDArray[np.float64] | None = None) -> Classes:
        """Find the classes in `labels` (n,), whole numbers or texts; `weights` (n,) are sample weights, by default 1.

        Raises:
            DataError: for labels of other types, fewer than 2 classes, or more than 1,000.
        """
        array = np.asarray(labels)
        if array.ndim != 1 or array.dtype.kind not in "iubUO":
            raise DataError(
                f"the labels have shape {array.shape} and type {array.dtype}; expected (n,), whole numbers or texts."
            )
        if array.dtype.kind == "O":
            for i, label in enumerate(array):
                if not isinstance(label, str | int | np.integer):
                    raise DataError(f"the label of row {i + 1} is {label!r}; expected a whole number or a text.")
        names, places = np.unique(array.astype(str) if array.dtype.kind == "O" else array, return_inverse=True)
        counts = np.bincount(places, weights)
        if not 2 <= len(names) <= MOST:
            raise DataError(
                f"the labels have {len(names)} class{'es' * (len(names) != 1)} in {len(array)} rows; expected 2 to "
                f"{MOST:,}. A label names a group of rows."
            )
        plain = names.astype(np.int64) if names.dtype.kind == "b" else names
        return cls(tuple(plain.tolist()), tuple(counts.tolist()))

    @property
    def weights(self) -> NDArray[np.float64]:
        """The shares of the classes in the training rows, (c,)."""
        return np.array(self.counts) / sum(self.counts)

    def number(self, name: object) -> int:
        """Return the number of the class `name`; '1' and 1 are the same name.

        Raises:
            UsageError: if there is no such class.
        """
        names = [str(known) for known in self.names]
        if str(name) not in names:
            raise UsageError(unknown("label", str(name), names))
        return names.index(str(name))

    def numbers(self, labels: Any, n: int) -> NDArray[np.int32]:
        """Return the numbers of the classes of `n` rows, (n,), from one name for all rows or a name for each.

        Raises:
            UsageError: for an unknown name, or another number of names.
        """
        if np.ndim(labels) == 0:
            return np.full(n, self.number(labels), np.int32)
        if np.shape(labels) != (n,):
            raise UsageError(f"the labels have shape {np.shape(labels)}; expected one, or ({n},), one for each row.")
        names, places = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        return np.array([self.number(name) for name in names], np.int32)[places]

    def to_dict(self) -> dict[str, Any]:
        """Convert the classes to a dict for JSON."""
        return {"names": self.names, "counts": self.counts}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Classes:
        """Read the result of `to_dict`."""
        return cls(tuple(values["names"]), tuple(values["counts"]))


# --- Row hashing and the held-out split -----------------------------------------------------------------------------
#
#     a row is held out    if    hash(its content, seed) < share
#
# Appending, removing or moving rows does not change the split of other rows, and equal rows are on the same side.
# A label is hashed by its text, so that additional labels do not change other rows.


Words = NDArray[np.uint64]

EXACT = 2**53  # larger whole numbers are not exact as floats


def content_keys(frame: Frame) -> Words:
    """Hash each row to 64 bits, (n,), independently of other rows and of the order of the columns.

    Equal rows have equal hashes; otherwise hashes are practically random.
    """
    words = np.zeros(len(frame), np.uint64)
    for _, series in sorted(frame.columns.items()):
        words = mixed(words + np.uint64(0x9E3779B97F4A7C15))
        words[~series.missing] ^= _hash_entries(series).view(np.uint64)
        words[series.missing] ^= np.uint64(0x5851F42D4C957F2D)  # a value that no cell is likely to have
    return mixed(words)


def fingerprint_of(frame: Frame) -> str:
    """Hash all rows of a table, independently of the order of rows and columns.

    Example:
        >>> from motes.data.frames import as_frame
        >>> a, b = as_frame({"x": [1, 2], "y": ["a", "b"]}), as_frame({"y": ["b", "a"], "x": [2, 1]})
        >>> fingerprint_of(a) == fingerprint_of(b)
        True
    """
    return hashlib.sha256(np.sort(content_keys(frame)).tobytes()).hexdigest()[:16]


def held_out_of(frame: Frame, share: float, seed: int, least: int = 0) -> Mask:
    """Choose the held-out rows of a table, and return their mask (n,).

    Args:
        frame: n rows; the order of rows and columns does not matter.
        share: the expected share of held-out rows, from 0 to 1; the number of distinct ones is binomial.
        seed: the seed of the choice.
        least: the minimum number of held-out rows. If the share gives fewer, the rows with the smallest hashes are held
            out. Then appending a row never holds out another one, but removing a row may.

    Example:
        >>> from motes.data.frames import as_frame
        >>> rows = as_frame([[1.0], [2.0], [1.0], [3.0]])
        >>> out = held_out_of(rows, 0.5, seed=0)
        >>> bool(out[0] == out[2])
        True
    """
    start = mixed(np.array([check_seed(seed)], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    words = mixed(content_keys(frame) ^ start)
    out = words.astype(np.float64) < share * 2.0**64
    return words <= np.sort(words)[least - 1] if share and out.sum() < least <= len(words) else out


def _hash_entries(series: Series) -> NDArray[np.int64]:
    """Hash each observed entry to 64 bits: a label by its text, a number by its float."""
    known = series.known
    if series.type == "label":
        texts = [hashlib.blake2b(str(label).encode(), digest_size=8).digest() for label in series.labels]
        table = np.frombuffer(b"".join(texts) or bytes(8), np.int64)
        return table[known]
    if series.type == "date":
        return known.astype(np.int64)
    floats = known.astype(np.float64) + 0.0  # so that -0.0 equals 0.0, and 3 equals 3.0
    if series.type != "whole":
        return floats.view(np.int64)
    return np.where(np.abs(floats) < EXACT, floats.view(np.int64), known.astype(np.int64))


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scramble 64-bit words so that each bit depends on all bits (Steele et al. 2014, SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
