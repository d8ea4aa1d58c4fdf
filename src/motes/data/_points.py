"""Files and frames of numbers -> points, with a class for each row where a column holds one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from motes.data._files import read_frame, reading, suffix_of
from motes.data._frames import Frame, as_frame
from motes.data._series import TYPE_WORDS, of_values
from motes.data._tables import Table, as_table, load_npy, read_numbers
from motes.data._text_options import SEPARATORS, TextOptions
from motes.errors import DataError, UsageError, unknown


def read_table(
    path: str | Path, *, label: str | None = None, to_learn: bool = True, text: TextOptions = TextOptions()
) -> Table:
    """Read a file of two or more numeric columns: text with or without a header line, Parquet or NumPy's.

    Args:
        path: of the file.
        label: the column, of any texts, that holds the labels of the rows.
        to_learn: from these rows; otherwise one row will do, a column may be constant, and `label` may be missing.
        text: how text is written.

    Raises:
        UsageError: no such file, another suffix, no such column, or text options for what is no text.
        DataError: a ragged line, a cell that is not a finite number, too few rows, or a constant column; the message
            names the line or the row.

    Example:
        >>> from pathlib import Path
        >>> size = Path("points.csv").write_text("x;y\\n1,5;2\\n3;4\\n")
        >>> motes.read_table("points.csv", text=motes.TextOptions(sep=";", decimal=",")).x.tolist()
        [[1.5, 2.0], [3.0, 4.0]]
    """
    path = Path(path)
    suffix = suffix_of(path)
    text.check_for(path)
    with reading(path):
        if suffix in SEPARATORS:
            table = read_numbers(path, text, label=label, to_learn=to_learn)
        elif suffix == ".npy":
            if label and to_learn:
                raise UsageError(f"data.label = '{label}', but the columns of '{path}' have no names. A .csv has them.")
            table = as_table(load_npy(path), name=f"'{path}'", to_learn=to_learn)
        else:
            table = points_of(read_frame(path), f"'{path}'", label, to_learn=to_learn)
    if len(table.columns) < 2:  # what is made of a file is drawn in the plane
        raise DataError(f"'{path}' has 1 column; expected two or more numeric columns. In Python one will do.")
    return table


def points_of(frame: Frame, name: str, label: str | None, *, to_learn: bool = True) -> Table:
    """Columns of numbers as points, the column `label` as their classes: what `read_table` makes of such a file.

    Raises:
        UsageError: no such column.
        DataError: a column of anything but numbers, and what `as_table` raises.
    """
    if label and label not in frame.columns and to_learn:
        raise UsageError(f"{name}: " + unknown("label column", label, frame.names))
    labels = None
    if label and label in frame.columns:
        series = frame.columns[label]
        if series.missing.any():
            row = int(series.missing.argmax()) + 1
            raise DataError(f"{name}, row {row}, column '{label}': got a missing entry; expected a label.")
        labels = np.array(series.cells()).astype(str)
        frame = frame.select([column for column in frame.names if column != label])
    for column, series in frame.columns.items():
        if series.type not in ("real", "whole"):
            advice = (
                f"Learn it with --recipe table, or name it as the label of the rows with --set data.label={column}."
                if to_learn
                else "Leave the column out: this model is of points."
            )
            raise DataError(f"{name}, column '{column}': got {TYPE_WORDS[series.type]}; expected numbers. {advice}")
    x = np.stack([np.where(one.missing, np.nan, one.values) for one in frame.columns.values()], axis=1)
    return replace(as_table(x, frame.names, name=name, to_learn=to_learn), labels=labels)


def frame_of(table: Table, label: str = "label") -> Frame:
    """Points as a table, with their classes in a column `label`, where there are any."""
    points = as_frame(table)
    if table.labels is None:
        return points
    return Frame({**points.columns, label: of_values(table.labels.astype(object), label, "the labels")})
