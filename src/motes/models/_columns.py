"""The columns of rows that are not those of the training: their order, their kinds, and what to know of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.data._series import TYPE_WORDS
from motes.data._text_lines import default_columns
from motes.errors import DataError, UsageError
from motes.models._points import PointModel
from motes.recipes import TableRecipe
from motes.tables.kinds._base import Sample
from motes.tables.kinds._columns import Column, checked_override, column_of, kept_of


def order_of(model: PointModel, theirs: tuple[str, ...], name: str) -> list[int]:
    """Places of the model's columns among `theirs`. Columns that never had names are taken as they come."""
    ours = model.columns
    if len(theirs) != len(ours):
        raise UsageError(f"{name} has {len(theirs)} columns; the model has {len(ours)}: {', '.join(ours)}.")
    if set(theirs) != set(ours):
        if default_columns(len(ours)) in (theirs, ours):
            return list(range(len(ours)))
        missing = next(column for column in ours if column not in theirs)
        raise UsageError(f"{name} has no column '{missing}'; the model has {', '.join(ours)}.")
    return [theirs.index(column) for column in ours]


def matrix_of(model: PointModel, frame: Frame, name: str) -> NDArray[np.float64]:
    """Rows as numbers (n, d) in the order of a model's columns, NaN where an entry is missing.

    Raises:
        UsageError: other columns than the model's.
        DataError: a column of anything but numbers.
    """
    made = []
    for column, j in zip(model.columns, order_of(model, frame.names, name), strict=True):
        series = frame.columns[frame.names[j]]
        if series.type not in ("real", "whole") and not series.missing.all():
            raise DataError(f"{name}, column '{column}': got {TYPE_WORDS[series.type]}; expected numbers.")
        made.append(np.where(series.missing, np.nan, series.values.astype(np.float64)))
    return np.stack(made, axis=1)


def columns_of(frame: Frame, recipe: TableRecipe, name: str) -> Iterator[Column]:
    """What each column of a whole file is, before any row is held out: a number for each row would have gaps then."""
    names, overrides = kept_of(frame.names, recipe.columns)
    for column in names:
        series = frame.columns[column]
        here = np.flatnonzero(~series.missing)
        if series.type == "other":
            continue  # which `Schema.fit` refuses
        sample = Sample(column, series.take(here), here, np.ones(len(here)), recipe.table.bins, name)
        given = checked_override(column, overrides[column], names) if column in overrides else {}
        yield column_of(sample, len(series) - len(here), given, recipe.table.missing)[0]


def overrides_of(changes: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """column -> what it is, of changes such as ("columns.age", "integer").

    Raises:
        UsageError: a change of anything but columns.
    """
    made: dict[str, Any] = {}
    for key, value in changes:
        section, _, column = key.partition(".")
        if section != "columns" or not column:
            raise UsageError(f"got --set {key}; expected columns.NAME=KIND, such as columns.age=integer.")
        made[column] = value
    return made
