"""Files and frames of numbers -> points, with a class for each row where a column holds one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from motes.data._files import read_frame
from motes.data._frames import Frame, as_frame
from motes.data._readings import doubt, is_code, is_number, ways_of
from motes.data._series import TYPE_WORDS, Series, of_values
from motes.data._tables import Array, Table, as_table
from motes.data._text_lines import default_columns
from motes.data._text_options import TextOptions
from motes.data._writing import write_frame
from motes.errors import DataError, UsageError, unknown

SHOWN = 40  # letters of what is no number


def read_table(
    path: str | Path,
    *,
    label: str | None = None,
    given: Sequence[str] = (),
    to_learn: bool = True,
    text: TextOptions = TextOptions(),
) -> Table:
    """Read two or more numeric columns: text with or without a header line, Parquet, NumPy's files, or a data set.

    Args:
        path: of the file, or the name of the data set.
        label: the column, of any texts, that holds the labels of the rows.
        given: columns of numbers that the others are conditioned on; they are the table's `given`.
        to_learn: from these rows; otherwise one row will do, a column may be constant, and `label` may be missing.
        text: how text is written.

    Raises:
        UsageError: no such file or data set, another suffix, no such column, or text options for what is no text.
        DataError: a ragged line, an entry that is not a finite number, too few rows, or a constant column; the message
            names the line of a ragged line, and otherwise the row.

    Example:
        >>> from pathlib import Path
        >>> size = Path("points.csv").write_text("x;y\\n1,5;2\\n3;4\\n")
        >>> motes.read_table("points.csv", text=motes.TextOptions(sep=";", decimal=",")).x.tolist()
        [[1.5, 2.0], [3.0, 4.0]]
    """
    table = points_of(read_frame(path, text), f"'{path}'", label, given, to_learn=to_learn)
    if len(table.columns) < 2 and not given:  # what is made of a file is drawn in the plane
        raise DataError(f"'{path}' has 1 column; expected two or more numeric columns. In Python one will do.")
    return table


def write_table(path: str | Path, x: Array, columns: Sequence[str]) -> None:
    """Write rows (n, d) to a file, each number in full: `.csv`, `.tsv`, `.parquet`, `.npy` or `.npz`.

    Raises:
        UsageError: another suffix, not one name for each column, or in text a column that is named by a number.
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> from pathlib import Path
        >>> motes.write_table("points.csv", np.array([[1.0, 2.5]]), ["x", "y"])
        >>> print(Path("points.csv").read_text().strip())
        x,y
        1.0,2.5
    """
    if len(columns) != x.shape[1]:
        raise UsageError(f"{x.shape[1]} columns but {len(columns)} names: {', '.join(columns)}.")
    write_frame(path, as_frame(dict(zip(columns, x.T, strict=True))))


def points_of(
    frame: Frame, name: str, label: str | None = None, given: Sequence[str] = (), *, to_learn: bool = True
) -> Table:
    """Columns of numbers as points, the column `label` as their classes, and those of `given` as what they are given.

    This is what `read_table` makes of such a file.

    Raises:
        UsageError: no such column.
        DataError: a column of anything but numbers, and what `as_table` raises.
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
                f"{name}: all columns are given; expected one or more to learn. Leave some out of `given`."
            )
        observed = numbers_of(frame.select(list(given)), name, to_learn=to_learn, missing=True)
        frame = frame.select(rest)
    return replace(numbers_of(frame, name, to_learn=to_learn), labels=labels, given=observed)


def numbers_of(frame: Frame, name: str, *, to_learn: bool, missing: bool = False) -> Table:
    """Columns of numbers; with `missing`, entries may be missing, and are NaN.

    Raises:
        DataError: a column of anything else, a missing entry that may not be, and what `as_table` raises.
    """
    for column, series in frame.columns.items():
        _check_numbers(series, column, name, to_learn=to_learn, missing=missing)
    columns = [np.where(one.missing, np.nan, one.values.astype(np.float64)) for one in frame.columns.values()]
    return as_table(np.stack(columns, axis=1), frame.names, name=name, to_learn=to_learn, missing=missing)


def _check_observed(series: Series, column: str, name: str, expected: str) -> None:
    if series.missing.any():
        row, more = int(series.missing.argmax()) + 1, int(series.missing.sum())
        raise DataError(
            f"{name}, row {row:,}, column '{column}': got a missing entry ({more:,} in all); expected {expected}."
        )


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
        why = doubt(texts) if ways_of(texts, TextOptions()) else None  # all are numbers, and which is not certain
    if missing:
        advice = "Give it as numbers, such as 0 and 1 for each of its labels; or learn all columns by recipe 'table'."
    elif to_learn:
        advice = f"Learn it by recipe 'table', or name it as the label of the rows: data.label = '{column}'."
    else:
        advice = "Leave the column out: this model is of points."
    raise DataError(f"{where}: got {got}; expected numbers. " + (f"The column holds {why}. " if why else "") + advice)


def frame_of(table: Table, label: str = "label") -> Frame:
    """Points as a table, with what they are given, and with their classes in a column `label`, where there are any."""
    points = as_frame(table)
    if table.given is not None:
        points = Frame({**points.columns, **as_frame(table.given).columns})
    if table.labels is None:
        return points
    return Frame({**points.columns, label: of_values(table.labels.astype(object), label, "the labels")})


def order_of(ours: tuple[str, ...], theirs: tuple[str, ...], name: str) -> list[int]:
    """Places of the model's columns among `theirs`. Columns that never had names are taken as they come."""
    if len(theirs) != len(ours):
        raise UsageError(f"{name} has {len(theirs)} columns; the model has {len(ours)}: {', '.join(ours)}.")
    if set(theirs) != set(ours):
        if default_columns(len(ours)) in (theirs, ours):
            return list(range(len(ours)))
        missing = next(column for column in ours if column not in theirs)
        raise UsageError(f"{name} has no column '{missing}'; the model has {', '.join(ours)}.")
    return [theirs.index(column) for column in ours]


def matrix_of(columns: tuple[str, ...], frame: Frame, name: str) -> Array:
    """Rows as numbers (n, d) in the order of a model's columns, NaN where an entry is missing.

    Raises:
        UsageError: other columns than the model's.
        DataError: a column of anything but numbers.
    """
    made = []
    for column, j in zip(columns, order_of(columns, frame.names, name), strict=True):
        series = frame.columns[frame.names[j]]
        if series.type not in ("real", "whole") and not series.missing.all():
            raise DataError(f"{name}, column '{column}': got {TYPE_WORDS[series.type]}; expected numbers.")
        made.append(np.where(series.missing, np.nan, series.values.astype(np.float64)))
    return np.stack(made, axis=1)
