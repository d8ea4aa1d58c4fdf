"""From rows to what a schema knows of each column: what it is, its fitted kind, or its one value."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._arrays import check_weights
from motes.data._frames import Frame
from motes.data._series import Series
from motes.errors import DataError
from motes.tables._missing import MissingPatterns
from motes.tables._parts import Array
from motes.tables.kinds._base import Kind, Sample
from motes.tables.kinds._columns import Column, check_finite, check_known, column_of
from motes.tables.kinds._identifiers import Identifier
from motes.tables.kinds._kinds import DROP, IDENTIFIER, KINDS

REPEATED = 100_000  # rows, to which whole weights are whole numbers of copies; beyond it, up to four times the rows


@dataclass(frozen=True)
class WeightedRows:
    """Rows to learn from.

    Attributes:
        frame: n rows.
        places: (n,), where they are in the data, counted from 0; several may be in one.
        weights: (n,), above 0, how many rows each stands for.
    """

    frame: Frame
    places: NDArray[np.int64]
    weights: Array


@dataclass(frozen=True)
class FittedColumns:
    """What the rows say of each column; the fields are those of `Schema`."""

    columns: tuple[Column, ...]
    kinds: tuple[Kind, ...]
    missing_shares: tuple[float, ...]
    missing_patterns: MissingPatterns
    kept: Mapping[str, Series]
    identifiers: Mapping[str, Identifier]


def fit_columns(
    rows: WeightedRows, given: Mapping[str, Mapping[str, Any]], missing: str, bins: int, name: str
) -> FittedColumns:
    """Decide what each column is, and learn its codes.

    Args:
        rows: to learn from.
        given: column -> what `checked_override` gives of it.
        missing: "learn" or "ignore", for columns of which `given` says nothing else.
        bins: codes of a numeric part, at most.
        name: what messages call the data.

    Raises:
        DataError: nothing to learn, or an entry that does not fit.
    """
    weights = rows.weights
    columns, kinds, missing_shares = [], [], []
    identifiers: dict[str, Identifier] = {}
    for column, series in rows.frame.columns.items():
        out = (
            f"columns={{{column!r}: {DROP!r}}} in Python, --set {shlex.quote(f'columns.{column}={DROP}')} in the shell"
        )
        check_known(series, f" Or leave the column out: {out}.")
        check_finite(series, column, name)
        here = np.flatnonzero(~series.missing)
        sample = Sample(column, series.take(here), rows.places[here], weights[here], bins, name)
        found, options = column_of(sample, len(series) - len(here), given.get(column, {}), missing)
        columns.append(found)
        if found.kind == IDENTIFIER and not found.constant:
            identifiers[column] = Identifier.of(sample)
        elif found.learned:
            kinds.append(KINDS[found.kind].fit(sample, options))
            missing_shares.append(float(weights[series.missing].sum() / weights.sum()) if found.coded else 0.0)
    if not kinds:
        if identifiers:
            some = next(column for column in columns if column.kind == IDENTIFIER)
            names = ", ".join(f"'{one}'" for one in identifiers)
            raise DataError(
                f"nearly every row of {name} has its own value in {names}, and no "
                "other column varies, so there is nothing to learn. Add columns, or say what one is, such as "
                f'columns.{some.name} = "{some.alternative or "categorical"}".'
                + "".join(f" Column '{some.name}': {message}." for message in some.warnings)
            )
        raise DataError(
            f"no column of {name} varies, so there is nothing to learn. Give rows in which a column has several values."
        )
    kept = {column.name: _one(rows.frame.columns[column.name]) for column in columns if column.constant}
    coded = [
        rows.frame.columns[kind.column].missing & (share > 0) for kind, share in zip(kinds, missing_shares, strict=True)
    ]
    patterns = MissingPatterns.fit(np.stack(coded, axis=1), weights)
    return FittedColumns(tuple(columns), tuple(kinds), tuple(missing_shares), patterns, kept, identifiers)


def weighted(frame: Frame, weights: ArrayLike | None, name: str) -> WeightedRows:
    """Repeat rows as their weights say; what is left of a weight is then that of each copy.

    Whole weights leave 1, so that whatever counts rows counts weights as well.

    Args:
        frame: n rows.
        weights: (n,); None: one each.
        name: what messages call the rows.

    Raises:
        DataError: weights that do not fit.
    """
    rows = np.arange(len(frame))
    if weights is None:
        return WeightedRows(frame, rows, np.ones(len(frame)))
    heavy = counting(check_weights(weights, len(frame), name))
    most = min(1.0, max(REPEATED, 4 * len(frame)) / heavy.sum())
    copies = np.where(heavy > 0, np.maximum(np.round(heavy * most), 1), 0).astype(np.int64)
    rows = np.repeat(rows, copies)
    return WeightedRows(frame.take(rows), rows, (heavy / np.maximum(copies, 1))[rows])


def counting(weights: Array) -> Array:
    """Weights (n,) as numbers of rows: where they are less than 1 on average, only their ratios count."""
    return weights * max(1.0, float((weights > 0).sum() / weights.sum()))


def _one(series: Series) -> Series:
    """The one value of a column that does not vary, or one missing entry."""
    row = int(np.argmin(series.missing))
    one = series.take(slice(row, row + 1))
    return replace(one, values=np.zeros_like(one.values)) if one.missing[0] else one
