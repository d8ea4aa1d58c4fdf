"""Frames of one table -> arrays that can be compared: numbers as they are, labels as codes that all frames share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.data._series import TYPE_WORDS, Mask, Series, moment_of
from motes.errors import DataError
from motes.evaluation._results import Array
from motes.tables._schema import Schema
from motes.tables.kinds import KINDS
from motes.tables.kinds._columns import Column

OTHERS = "all others"


@dataclass(frozen=True)
class View:
    """Columns that several frames share, and the entries of each frame.

    Attributes:
        columns: what each is, d of them.
        discrete: whether its entries are labels, (d,).
        labels: of each discrete column, in an order that all frames share; () of a number.
        x: of each frame, (n, d): numbers (microseconds since 1970 of a date), codes of labels; NaN where missing.
    """

    columns: tuple[Column, ...]
    discrete: Mask
    labels: tuple[tuple[str, ...], ...]
    x: Mapping[str, Array]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    def merged(self, most: int) -> tuple[dict[str, Array], tuple[int, ...]]:
        """Entries with at most so many codes in a column, and how many there are: the rarest labels become one."""
        merged = {name: x.copy() for name, x in self.x.items()}
        levels = []
        for j, labels in enumerate(self.labels):
            if len(labels) > most:
                counts = sum(counted(x[:, j], len(labels)) for x in self.x.values())
                codes = np.full(len(labels), most - 1.0)
                codes[np.argsort(-np.asarray(counts), kind="stable")[: most - 1]] = np.arange(most - 1)
                for x in merged.values():
                    here = ~np.isnan(x[:, j])
                    x[here, j] = codes[x[here, j].astype(np.intp)]
            levels.append(int(np.clip(len(labels), 1, most)))
        return merged, tuple(levels)


@dataclass(frozen=True)
class NormalScores:
    """A number -> the standard normal quantile of its rank among reference numbers, straight lines between these.

    Equal numbers have equal scores, and an outlier is no further away than the largest rank. Numbers beyond the
    reference have the score of its end.

    Attributes:
        values: (k,), the distinct reference numbers, rising.
        scores: (k,), theirs.

    Example:
        >>> NormalScores.of(np.array([1.0, 2.0, 9.0]))(np.array([2.0, 100.0])).round(3)
        array([0.   , 0.967])
    """

    values: Array
    scores: Array

    @classmethod
    def of(cls, reference: Array) -> "NormalScores":
        """Of reference numbers (n,); NaN is left out, and without any number all scores are 0."""
        from scipy.special import ndtri

        values, counts = np.unique(reference[~np.isnan(reference)], return_counts=True)
        if not len(values):
            return cls(np.zeros(1), np.zeros(1))
        upto = np.cumsum(counts)
        return cls(values, np.asarray(ndtri((upto - counts / 2) / upto[-1])))

    def __call__(self, x: Array) -> Array:
        """Of numbers (n,); NaN stays."""
        return np.asarray(np.interp(x, self.values, self.scores))


def counted(codes: Array, labels: int) -> NDArray[np.int64]:
    """Rows of each code, (labels,)."""
    return np.bincount(codes[~np.isnan(codes)].astype(np.intp), minlength=labels)


def view_of(schema: Schema, frames: Mapping[str, Frame]) -> View:
    """Frames side by side.

    Args:
        schema: says what each column is.
        frames: a name of each, such as "held_out" -> rows with the columns of the schema.

    Raises:
        DataError: a column too few or too many, or text where numbers or dates are expected.
    """
    called = {name: f"the {name.replace('_', '-')} rows" for name in frames}
    frames = {name: schema.frame(frame, name=called[name]) for name, frame in frames.items()}
    columns = schema.compared
    discrete = np.array([KINDS[column.kind].discrete for column in columns])
    x = {name: np.empty((len(frame), len(discrete)), order="F") for name, frame in frames.items()}
    labels: list[tuple[str, ...]] = []
    for j, column in enumerate(columns):
        entries = {name: frame.columns[column.name] for name, frame in frames.items()}
        if discrete[j]:
            shared, codes = _coded(entries)
            labels.append(tuple(map(str, shared)))
        else:
            codes = {name: _numbers(column, series, called[name]) for name, series in entries.items()}
            labels.append(())
        for name, values in codes.items():
            x[name][:, j] = np.where(entries[name].missing, np.nan, values)
    return View(columns, discrete, tuple(labels), x)


def _coded(entries: Mapping[str, Series]) -> tuple[list[Any], dict[str, Array]]:
    """The labels that any of the frames has, and the codes of each frame."""
    found = {name: _labels_of(series) for name, series in entries.items()}
    order: dict[Any, None] = {}
    # An ordered series gives its order; the rest is sorted.
    for name in sorted(entries, key=lambda name: not entries[name].ordered):
        series, (own, codes) = entries[name], found[name]
        seen = np.unique(codes[~series.missing])
        labels = [own[code] for code in seen]
        order |= dict.fromkeys(
            labels if series.ordered else sorted(labels, key=lambda label: (str(type(label)), label))
        )
    shared = list(order)
    place = {label: code for code, label in enumerate(shared)}
    made = {}
    for name, (own, codes) in found.items():
        table = np.array([place.get(label, -1) for label in own] or [0], np.float64)
        made[name] = table[np.where(entries[name].missing, 0, codes)]
    return shared, made


def _labels_of(series: Series) -> tuple[list[Any], NDArray[np.int64]]:
    if series.type == "label":
        return list(series.labels), series.values
    found, codes = np.unique(series.values, return_inverse=True)
    return found.tolist(), codes


def _numbers(column: Column, series: Series, name: str) -> Array:
    dates = column.kind == "date"
    if dates and series.type == "label":
        return _dates(column, series, name)
    if ((series.type == "date") != dates and not series.missing.all()) or series.type == "label":
        raise DataError(
            f"column '{column.name}' of {name} holds {TYPE_WORDS[series.type]}; "
            f"expected {'dates' if dates else 'numbers'}. Convert the column first."
        )
    values = series.values.astype(np.float64)
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise DataError(
            f"column '{column.name}' of {name}, row {row + 1}: got {values[row]}; expected a finite number. "
            "Leave the entry empty, which says that it is missing, or remove the row."
        )
    return values


def _dates(column: Column, series: Series, name: str) -> Array:
    """Text -> microseconds since 1970."""
    made = np.zeros(max(len(series.labels), 1))
    for code in np.unique(series.known).tolist():
        try:
            made[code] = float(moment_of(str(series.labels[code])).astype("M8[us]").astype(np.int64))
        except ValueError:
            raise DataError(
                f"column '{column.name}' of {name} holds '{series.labels[code]}'; "
                "expected a date such as 2026-05-17 or 2026-05-17T12:30:00."
            ) from None
    return made[np.where(series.missing, 0, series.values)]
