"""Frames of one table -> arrays that can be compared: numbers as they are, labels as codes that all of them share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.cells import Reals
from motes.data.codecs import Codec
from motes.data.columns import Column
from motes.data.decimals import Decimals
from motes.data.encoder import Encoder
from motes.data.frames import SAID, Frame, Mask, Series, moment_of
from motes.data.peaks import Opened
from motes.errors import DataError
from motes.evaluation.results import Array

DISCRETE = ("boolean", "categorical", "ordered")
OTHERS = "all others"


@dataclass(frozen=True)
class View:
    """Columns that several frames share, and the cells of each frame.

    Attributes:
        columns: what each is, d of them.
        discrete: whether its cells are labels, (d,).
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
        """Cells with at most so many codes in a column, and how many there are: the rarest labels become one."""
        made = {name: x.copy() for name, x in self.x.items()}
        levels = []
        for j, labels in enumerate(self.labels):
            if len(labels) > most:
                counts = sum(counted(x[:, j], len(labels)) for x in self.x.values())
                codes = np.full(len(labels), most - 1.0)
                codes[np.argsort(-np.asarray(counts), kind="stable")[: most - 1]] = np.arange(most - 1)
                for x in made.values():
                    here = ~np.isnan(x[:, j])
                    x[here, j] = codes[x[here, j].astype(np.intp)]
            levels.append(int(np.clip(len(labels), 1, most)))
        return made, tuple(levels)


def counted(codes: Array, labels: int) -> NDArray[np.int64]:
    """Rows of each code, (labels,)."""
    return np.bincount(codes[~np.isnan(codes)].astype(np.intp), minlength=labels)


def view_of(encoder: Encoder, frames: Mapping[str, Frame]) -> View:
    """Frames side by side.

    Args:
        encoder: says what each column is.
        frames: what messages call them -> rows of that encoder's columns.

    Raises:
        DataError: a column too few or too many, or text where numbers or dates are expected.
    """
    frames = {name: encoder.frame(frame, name=name) for name, frame in frames.items()}
    discrete = np.array([column.kind in DISCRETE for column in encoder.columns])
    x = {name: np.empty((len(frame), len(discrete)), order="F") for name, frame in frames.items()}
    labels: list[tuple[str, ...]] = []
    for j, column in enumerate(encoder.columns):
        cells = {name: frame.columns[column.name] for name, frame in frames.items()}
        if discrete[j]:
            shared, codes = _coded(column, cells)
            labels.append(tuple(map(str, shared)))
        else:
            codes = {name: _numbers(column, series, name) for name, series in cells.items()}
            labels.append(())
        for name, values in codes.items():
            x[name][:, j] = np.where(cells[name].missing, np.nan, values)
    return View(encoder.columns, discrete, tuple(labels), x)


def places(encoder: Encoder, view: View, x: Array) -> tuple[Array, int]:
    """Cells (n, d) of a view -> z of the columns that are numbers and were learned, (n, p), as `Encoder.encode` has it.

    But without noise: each cell of a discrete number stands at its middle, so that equal cells are equal. A number that
    the encoder does not know, such as one beyond the end of its interval, is taken at the nearest one that it knows.

    Returns:
        z, NaN where missing, and how many cells were beyond.
    """
    index, beyond, made = {name: j for j, name in enumerate(view.names)}, 0, []
    for i, codec in enumerate(encoder.codecs):
        j = index[codec.column]
        if view.discrete[j]:
            continue
        here = ~np.isnan(x[:, j])
        y, count = _place(codec, x[here, j])
        z = np.full(len(x), np.nan)
        z[here] = (y - encoder.standardiser.mean[i]) / encoder.standardiser.scale[i]
        made.append(z)
        beyond += count
    return (np.stack(made, axis=1) if made else np.zeros((len(x), 0))), beyond


def _place(codec: Codec, x: Array) -> tuple[Array, int]:
    cells = codec.cells.ends if isinstance(codec.cells, Opened) else codec.cells
    if isinstance(cells, Reals):
        values = allowed = cells.gather(x)
    elif isinstance(cells, Decimals):
        values = allowed = cells.nearest(x)
    else:
        low, step = cells.low, cells.step  # type: ignore[union-attr]  # labels are no numbers
        allowed = cells.gather(np.floor((x - low) / step) + 0.5)
        values = (allowed - low) // step
    y, _ = codec.encode(values, np.full(len(values), 0.5))
    return y, int((allowed != x).sum())


def _coded(column: Column, cells: Mapping[str, Series]) -> tuple[list[Any], dict[str, Array]]:
    """The labels that any of the frames has, and the codes of each frame."""
    found = {name: _labels_of(series) for name, series in cells.items()}
    order: dict[Any, None] = dict.fromkeys(column.order or ())
    for series, (own, codes) in zip(cells.values(), found.values(), strict=True):
        seen = np.unique(codes[~series.missing])
        names = [own[code] for code in seen]
        order |= dict.fromkeys(names if series.ordered else sorted(names, key=lambda name: (str(type(name)), name)))
    shared = list(order)
    place = {label: code for code, label in enumerate(shared)}
    made = {}
    for name, (own, codes) in found.items():
        table = np.array([place.get(label, -1) for label in own] or [0], np.float64)
        made[name] = table[np.where(cells[name].missing, 0, codes)]
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
            f"column '{column.name}' of {name} holds {SAID[series.type]}; expected {'dates' if dates else 'numbers'}."
        )
    return series.values.astype(np.float64)


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
