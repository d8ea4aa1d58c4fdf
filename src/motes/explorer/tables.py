"""A table in the explorer: one row with known and masked cells, their conditional distributions and log-likelihood.

    p(x_j | visible) for every masked column j,    log p(visible)

Everything is computed by the library: the conditionals of `motes.tables.predictions`, the chain rule of
`TableModel.score_samples`, and rows that `TableModel.draw` draws given the known cells. The distribution of a column is
drawn as bars: each is a label, or an interval of numbers or of a date's first token. The last bar may stand for missing
entries.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.data.arrays import Series
from motes.errors import UsageError, unknown
from motes.tables import Encoded, Missing
from motes.tables.kinds import Kind
from motes.tables.kinds.base import one_value
from motes.tables.kinds.binnings import Binning
from motes.tables.model import TableModel
from motes.tables.predictions import Pieces, conditional_masses, pieces_of

Array = NDArray[np.float64]

BARS = 24  # approximate number of bars of a column of numbers
OUTER = 0.004  # minimum share of training rows in the first and the last bar
LABELS = 500  # maximum labels of a column in a list
EDGE = 1e-6  # distance of the smallest number of a piece from its end, relative to the piece
LONGEST = 400  # maximum characters of a cell
ROW = "the row"


@dataclass(frozen=True)
class Bars:
    """The bar chart of one column.

    Attributes:
        column: name of the column.
        of_piece: index of the bar of each piece of the column's first token, (m,).
        texts: description of each bar.
        values: a value in each bar, to which a click sets the cell; None if there is none.
    """

    column: str
    of_piece: NDArray[np.int64]
    texts: tuple[str, ...]
    values: tuple[Any, ...]


def cuts_of(line: Binning | None, masses: Array, scale: Any) -> Array:
    """Return the boundaries of a column's bars, in y: equally spaced except the outer ones, never within a value."""
    if line is None or scale is None or not line.smooth:
        return np.zeros(0)
    upto = np.cumsum(masses[: len(scale.points)])
    low = scale.ends[:-1][np.searchsorted(upto, OUTER * upto[-1])]
    high = scale.ends[1:][min(int(np.searchsorted(upto, (1 - OUTER) * upto[-1])), len(upto) - 1)]
    cuts = np.linspace(low, high, BARS + 1)[1:-1]
    codes = np.clip(np.searchsorted(scale.ends, cuts, side="right") - 1, 0, len(scale.points) - 1).astype(np.int32)
    cells = line.encode(line.decode(codes, cuts))  # the whole cell of a rounded number lies on one side
    return np.unique(np.where(cells.high > cells.low, cells.high, cuts))


def bars_of(kind: Kind, pieces: Pieces, cuts: Array, *, missing: bool) -> Bars:
    """Combine the pieces of a column's first token into bars."""
    last = len(pieces.codes) - missing
    if kind.discrete:
        labels = kind.label_cells()
        if len(labels) > last:  # the last token stands for all rare labels
            labels = labels[: last - 1]
        texts = [str(label) for label in labels] + ["rare ones"] * (last - len(labels))
        values: list[Any] = [plain(label) for label in labels] + [None] * (last - len(labels))
        of_piece = np.arange(last)
    else:
        of_piece = _group_pieces(kind.lines[0], pieces, cuts, last)
        texts, values = _describe_bars(kind, pieces, of_piece)
    if missing:
        texts, values, of_piece = [*texts, "missing"], [*values, None], np.append(of_piece, len(texts))
    return Bars(kind.column, of_piece.astype(np.int64), tuple(texts), tuple(values))


def _group_pieces(line: Binning | None, pieces: Pieces, cuts: Array, count: int) -> NDArray[np.int64]:
    """Return the bar of each of the first `count` pieces; a point, and each of a few values, has its own bar."""
    low, high, codes = pieces.low[:count], pieces.high[:count], pieces.codes[:count]
    if line is not None and not line.smooth:
        shares = np.arange(1, BARS) / BARS if count > 2 * BARS else np.arange(1, count) / count
        place = np.searchsorted(shares, (codes + 0.5) / count)
    else:
        place = np.searchsorted(cuts, pieces.y[:count], side="right")
    point = low == high
    starts = np.append(True, (np.diff(place) > 0) | point[1:] | point[:-1])
    return np.cumsum(starts) - 1


def _describe_bars(kind: Kind, pieces: Pieces, of_piece: NDArray[np.int64]) -> tuple[list[str], list[Any]]:
    """Return the text and a value of each bar of numbers or dates."""
    texts, values, line = [], [], kind.lines[0]
    single = line is not None and not line.smooth  # one value per piece, and no others
    for bar in range(int(of_piece[-1]) + 1):
        mine = np.flatnonzero(of_piece == bar)
        first, middle, last = mine[[0, len(mine) // 2, -1]]
        start, end = pieces.low[first], pieces.high[last]
        width = EDGE * (end - start) if np.isfinite([start, end]).all() else 0.0
        low = high = None  # open ends
        if single or np.isfinite(start):
            low = _decode_value(kind, pieces.codes[first], start + width)
        if single or np.isfinite(end):
            high = _decode_value(kind, pieces.codes[last], end - width, end=-1)
        values.append(_decode_value(kind, pieces.codes[middle], pieces.y[middle]))
        texts.append(_describe_range(low, high, values[-1]))
    return texts, values


def _decode_value(kind: Kind, code: Any, y: float, end: int = 0) -> Any:
    """Return the cell at a position of the first token; a date with several tokens gets the first or last (-1) day."""
    q = len(kind.parts)
    codes, places = np.zeros((1, q), np.int32), np.zeros((1, q))
    codes[0, 0], places[0, 0] = code, y
    if q > 1 and (days := kind.allowed(1, codes, places)) is not None:
        codes[0, 1] = np.flatnonzero(days[0])[end]
    found = kind.decode(codes, places, np.full(codes.shape, 0.5))
    return plain(kind.series(found, np.zeros(1, bool)).cells()[0])


def _describe_range(low: Any, high: Any, value: Any) -> str:
    low, high, value = map(_format_value, (low, high, value))
    if low == high:
        return str(value)
    return f"up to {high}" if not low else f"from {low}" if not high else f"{low} to {high}"


def _format_value(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "" if value is None else str(value)
    if abs(value) >= 1e4:
        return f"{value:,.0f}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)  # 2007 is a year as well


def typed(kind: Kind) -> dict[str, Any]:
    """Return the input field of a cell: `input`, and the labels to choose from, or the first and the last date."""
    if kind.discrete:
        labels = kind.label_cells()
        if len(labels) > LABELS:
            return {"input": "text"}
        return {"input": "label", "labels": [plain(label) for label in labels]}
    if kind.extremes is None:
        return {"input": "number"}
    ends = kind.series(kind.extremes, np.zeros(2, bool))
    unit, word = ("D", "date") if ends.days else ("ms", "time")
    first, last = ends.values.astype("M8[us]").astype(f"M8[{unit}]").astype(str).tolist()
    return {"input": word, "first": first, "last": last}


def plain(value: Any) -> Any:
    """Convert a cell to a JSON value."""
    if isinstance(value, datetime.datetime | datetime.date):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else value


class TableSubject:
    """A table model on the page.

    Args:
        name: name on the page.
        model: model of a table.
        python: the Python expression for the model; "" if there is none.

    Example:
        >>> from motes.explorer.tables import TableSubject
        >>> subject = TableSubject("people", table)
        >>> [column["name"] for column in subject.about()["columns"]]
        ['age', 'smoker']
    """

    def __init__(self, name: str, model: TableModel, *, python: str = ""):
        self.name, self.model, self.python = name, model, python

    # --- columns and bars ---

    @cached_property
    def _pieces_and_bars(self) -> tuple[list[Pieces], tuple[Bars, ...]]:
        schema, scales = self.model.schema, self.model.orders.reader.scales
        pieces: list[Pieces] = []
        bars: list[Bars] = []
        for kind in schema.kinds:
            at = schema.parts_of(kind.column)
            for j in range(at.start, at.stop):
                cuts = cuts_of(kind.lines[j - at.start], schema.parts[j].masses, scales[j])
                pieces.append(pieces_of(schema.parts[j], scales[j], cuts))
                if j == at.start:
                    bars.append(bars_of(kind, pieces[-1], cuts, missing=schema.parts[j].missing))
        return pieces, tuple(bars)

    @property
    def bars(self) -> tuple[Bars, ...]:
        """The bar charts, one for each column that varies."""
        return self._pieces_and_bars[1]

    def about(self) -> dict[str, object]:
        """Return the facts about the table for the page, and its columns with descriptions of their bars.

        Example:
            >>> from motes.explorer.tables import TableSubject
            >>> about = TableSubject("people", table).about()
            >>> about["columns"][1]["texts"]
            ['no', 'yes']
        """
        schema = self.model.schema
        columns = []
        for kind, one in zip(schema.kinds, self.bars, strict=True):
            said = {"name": one.column, "kind": kind.name, "texts": list(one.texts), "values": list(one.values)}
            columns.append(said | {"missing": schema.parts[schema.parts_of(one.column).start].missing} | typed(kind))
        return {
            "name": self.name,
            "source": self.model.source,
            "rows": schema.rows,
            "parameters": self.model.parameters,
            "columns": columns,
            "constant": {name: plain(one.cells()[0]) for name, one in schema.kept.items()},
            "order": list(dict.fromkeys(schema.parts[j].column for j in self.model.orders.order)),
            "python": self.python,
        }

    # --- computations ---

    def frame(self, given: Mapping[str, Any]) -> Frame:
        """Return one row with these known cells; None means that the entry is known to be missing.

        Raises:
            UsageError: if a column is constant or unknown, a value is not a single value, or missing entries of a
                column were not learned.
            DataError: if a value is impossible in its column.

        Example:
            >>> from motes.explorer.tables import TableSubject
            >>> TableSubject("people", table).frame({"smoker": "no"}).columns["age"].missing.tolist()
            [True]
        """
        schema = self.model.schema
        for column in given:
            if column not in schema.learned:
                raise UsageError(unknown("column", column[:80], schema.learned))
            if given[column] is None:
                schema.restrict(column, Missing())  # raises an error if missing entries were not learned
        cell = lambda name: Series.unknown(1) if given.get(name) is None else one_value(name, given[name])
        frame = schema.frame(Frame({name: cell(name) for name in schema.names}), name=ROW)
        schema.encode(frame, name=ROW)  # raises an error for impossible values
        return frame

    def conditionals(self, given: Mapping[str, Any]) -> list[Array]:
        """Return p of each bar of each column given the known cells; a known cell has 1 in its own bar.

        Example:
            >>> from motes.explorer.tables import TableSubject
            >>> ages, smokers = TableSubject("people", table).conditionals({"age": 31})
            >>> float(ages.max()), float(smokers.sum().round(5))
            (1.0, 1.0)
        """
        pieces, bars = self._pieces_and_bars
        frame, encoded = self._encode_known(given)
        schema, masses, made = self.model.schema, conditional_masses(self.model.orders, pieces, frame, encoded), []
        for one in bars:
            j = schema.parts_of(one.column).start
            if one.column in given and given[one.column] is None:
                made.append(np.eye(len(one.texts))[-1])  # the bar of missing entries is the last one
            elif encoded.observed[0, j]:
                own = pieces[j].contain(encoded.codes[0, j], encoded.y[0, j])
                made.append(np.eye(len(one.texts))[one.of_piece[int(own.argmax())]])
            else:
                made.append(np.bincount(one.of_piece, masses[j], len(one.texts)))
        return made

    def log_probs(self, given: Mapping[str, Any]) -> tuple[float, dict[str, float]]:
        """Return log p of all known cells, and of each given the known cells before it in the model's order, in nats.

        The total is their sum and the contribution of rules between columns.

        Example:
            >>> from motes.explorer.tables import TableSubject
            >>> total, each = TableSubject("people", table).log_probs({"age": 31, "smoker": "no"})
            >>> bool(np.isclose(total, table.score_samples({"age": [31], "smoker": ["no"]})[0])), sorted(each)
            (True, ['age', 'smoker'])
        """
        schema, orders = self.model.schema, self.model.orders
        frame, encoded = self._encode_known(given)
        parts, factor = orders.log_prob_parts(orders.own, frame, encoded)
        each = {column: float(parts[0, schema.parts_of(column)].sum()) for column in given}
        return sum(each.values()) + float(factor[0]), each

    def _encode_known(self, given: Mapping[str, Any]) -> tuple[Frame, Encoded]:
        """Return one row with all other cells masked; a missing entry with its own token would count as known."""
        frame, schema = self.frame(given), self.model.schema
        return frame, schema.only(schema.encode(frame, name=ROW), given)

    def reveal(self, given: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Draw every masked cell given the known ones, in the model's order; None: the entry is missing.

        Example:
            >>> from motes.explorer.tables import TableSubject
            >>> list(TableSubject("people", table).reveal({"smoker": "no"}, seed=0))
            ['age']
        """
        self.frame(given)  # raises an error for impossible values
        row = self.model.draw(1, given=given, seed=seed)
        order = dict.fromkeys(self.model.schema.parts[j].column for j in self.model.orders.order)
        return {name: plain(row.columns[name].cells()[0]) for name in order if name not in given}


# --- requests ---


def known_cells(row: object, most: int) -> dict[str, Any]:
    """Return the known cells in a request.

    Raises:
        UsageError: if they have another form.
    """
    cells: dict[str, Any] = row if isinstance(row, dict) and len(row) <= most else {"": []}
    kinds = str, int, float, bool, NoneType
    if not all(isinstance(value, kinds) and len(str(value)) <= LONGEST for value in cells.values()):
        raise UsageError(f"got row = {json.dumps(row)[:60]}; expected columns with one text or number each.")
    return dict(cells)
