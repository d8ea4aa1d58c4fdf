"""What the columns of a file are, before any row of it is held out, and what to know of them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from motes.data._frames import Frame
from motes.errors import UsageError
from motes.recipes import TableRecipe
from motes.tables.kinds._base import Sample
from motes.tables.kinds._columns import Column, checked_override, column_of, kept_of


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
