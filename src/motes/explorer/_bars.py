"""How the distribution of a column is drawn: bars, what each of them stands for, and how the cell is typed.

A bar is one label, or a part of the line of a column of numbers or of a date's first part.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.sampling._conditionals import Pieces
from motes.tables.kinds._base import Kind
from motes.tables.kinds._dates import Date
from motes.tables.kinds._labels import Categorical
from motes.tables.kinds._lines import Few, Line

Array = NDArray[np.float64]

BARS = 24  # of a column of numbers, about
OUTER = 0.004  # of the training rows, which the first and the last of these bars have at least
LABELS = 500  # that a page lists, of one column
EDGE = 1e-6  # of a piece, by which its least number lies above its end


@dataclass(frozen=True)
class Bars:
    """The chart of one column.

    Attributes:
        column: its name.
        kind: in words.
        of_piece: (m,), in which bar each piece of the column's first part lies.
        texts: what each bar stands for.
        values: a value of each bar, by which a click fixes the cell; None where there is none.
    """

    column: str
    kind: str
    of_piece: NDArray[np.int64]
    texts: tuple[str, ...]
    values: tuple[Any, ...]

    def heights(self, masses: Array) -> Array:
        """p of each bar, from that of each piece (m,)."""
        return np.bincount(self.of_piece, masses, len(self.texts)).astype(np.float64)


def cuts_of(line: Line | None, masses: Array, scale: Any) -> Array:
    """Where the bars of a line end, in y: at equal distances, but for the outer ones, and never within a value."""
    if line is None or scale is None or isinstance(line, Few):
        return np.zeros(0)
    upto = np.cumsum(masses[: len(scale.points)])
    low = scale.ends[:-1][np.searchsorted(upto, OUTER * upto[-1])]
    high = scale.ends[1:][min(int(np.searchsorted(upto, (1 - OUTER) * upto[-1])), len(upto) - 1)]
    cuts = np.linspace(low, high, BARS + 1)[1:-1]
    codes = np.clip(np.searchsorted(scale.ends, cuts, side="right") - 1, 0, len(scale.points) - 1).astype(np.int32)
    cells = line.encode(line.decode(codes, cuts))  # of a rounded number the whole cell lies on one side
    return np.unique(np.where(cells.high > cells.low, cells.high, cuts))


def bars_of(kind: Kind, pieces: Pieces, cuts: Array, *, missing: bool) -> Bars:
    """The pieces of a column's first part, put together."""
    word = kind.name
    last = len(pieces.codes) - missing
    if isinstance(kind, Categorical):
        labels = list(kind.labels[: kind.own])
        texts = [str(label) for label in labels] + ["rare ones"] * (last - len(labels))
        values: list[Any] = [plain(label) for label in labels] + [None] * (last - len(labels))
        of_piece = np.arange(last)
    else:
        of_piece = _together(kind.lines[0], pieces, cuts, last)
        texts, values = _said(kind, pieces, of_piece)
    if missing:
        texts, values, of_piece = [*texts, "missing"], [*values, None], np.append(of_piece, len(texts))
    return Bars(kind.column, word, of_piece.astype(np.int64), tuple(texts), tuple(values))


def _together(line: Line | None, pieces: Pieces, cuts: Array, count: int) -> NDArray[np.int64]:
    """In which bar each of the first `count` pieces lies: a point, and each of a few values, has one of its own."""
    low, high, codes = pieces.low[:count], pieces.high[:count], pieces.codes[:count]
    if isinstance(line, Few):
        shares = np.arange(1, BARS) / BARS if count > 2 * BARS else np.arange(1, count) / count
        place = np.searchsorted(shares, (codes + 0.5) / count)
    else:
        place = np.searchsorted(cuts, pieces.y[:count], side="right")
    point = low == high
    starts = np.append(True, (np.diff(place) > 0) | point[1:] | point[:-1])
    return np.cumsum(starts) - 1


def _said(kind: Kind, pieces: Pieces, of_piece: NDArray[np.int64]) -> tuple[list[str], list[Any]]:
    """The words and a value of each bar of numbers or dates."""
    texts, values = [], []
    for bar in range(int(of_piece[-1]) + 1):
        mine = np.flatnonzero(of_piece == bar)
        first, last, middle = int(mine[0]), int(mine[-1]), int(mine[len(mine) // 2])
        ends, value = [pieces.low[first], pieces.high[last]], _value(kind, pieces.codes[middle], pieces.y[middle])
        few = isinstance(kind.lines[0], Few)  # a value for each piece, and nothing beside them
        width = EDGE * (ends[1] - ends[0]) if np.isfinite(ends).all() else 0.0
        low = _value(kind, pieces.codes[first], ends[0] + width) if few or np.isfinite(ends[0]) else None
        high = _value(kind, pieces.codes[last], ends[1] - width, end=-1) if few or np.isfinite(ends[1]) else None
        texts.append(_range(low, high, value))
        values.append(value)
    return texts, values


def _value(kind: Kind, code: Any, y: float, end: int = 0) -> Any:
    """The cell at a place of the first part; a date in several parts has the first or the last (-1) day there is."""
    codes, places = np.zeros((1, len(kind.parts)), np.int32), np.zeros((1, len(kind.parts)))
    codes[0, 0], places[0, 0] = code, y
    days = kind.allowed(1, codes, places) if isinstance(kind, Date) else None
    if days is not None:
        codes[0, 1] = np.flatnonzero(days[0])[end]
    found = kind.decode(codes, places, np.full(codes.shape, 0.5))
    return plain(kind.series(found, np.zeros(1, bool)).cells()[0])


def _range(low: Any, high: Any, value: Any) -> str:
    if low is None and high is None:
        return _text(value)
    if low is None:
        return f"up to {_text(high)}"
    if high is None:
        return f"from {_text(low)}"
    return _text(value) if _text(low) == _text(high) else f"{_text(low)} to {_text(high)}"


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if abs(value) >= 1e4:
        return f"{value:,.0f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)  # 2007 is a year as well


def typed(kind: Kind) -> dict[str, Any]:
    """How a page lets a cell be typed: `input`, and the labels to choose from, or the first and the last date."""
    if isinstance(kind, Categorical) and len(kind.labels) <= LABELS:
        return {"input": "label", "labels": [plain(label) for label in kind.labels]}
    if isinstance(kind, Categorical):
        return {"input": "text"}
    if isinstance(kind, Date):
        unit, word = ("D", "date") if kind.days else ("ms", "time")
        first, last = (str(np.datetime64(end, "us").astype(f"M8[{unit}]")) for end in (kind.first, kind.last))
        return {"input": word, "first": first, "last": last}
    return {"input": "number"}


def plain(value: Any) -> Any:
    """A cell as JSON has it."""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value
