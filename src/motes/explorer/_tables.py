"""One row of a table model: which of its cells are fixed, what that says of all others, and how likely it is.

    p(x_j | visible) for every hidden column j,    log p(visible)

All of it is the library's: the conditionals of `motes.sampling._conditionals`, the chain rule of
`TableModel.score_samples`, and rows that `TableModel.impute` fills in.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.data._series import Series
from motes.errors import UsageError, unknown
from motes.explorer._bars import Bars, bars_of, cuts_of, plain, typed
from motes.models._tables import TableModel
from motes.sampling._conditionals import Conditionals, Pieces, pieces_of
from motes.sampling._constraint import observed_sides
from motes.tables._conditions import one_value
from motes.tables._parts import Encoded

Array = NDArray[np.float64]

LONGEST = 400  # characters of a cell
ROW = "the row"


class TableSubject:
    """A table model that the page shows.

    Args:
        name: that the page calls it by.
        model: of a table.
        python: the expression whose value is the model in Python; "" where there is none.

    Example:
        >>> from motes.explorer import TableSubject
        >>> subject = TableSubject("people", table.inner)
        >>> [column["name"] for column in subject.about()["columns"]]
        ['age', 'smoker']
    """

    def __init__(self, name: str, model: TableModel, *, python: str = ""):
        self.name, self.model, self.python = name, model, python

    # --- what there is ---

    @cached_property
    def _divided(self) -> tuple[Conditionals, tuple[Bars, ...]]:
        schema, scales = self.model.schema, self.model.reader.scales
        pieces: list[Pieces] = []
        bars: list[Bars] = []
        for kind in schema.kinds:
            at = schema.parts_of(kind.column)
            for j in range(at.start, at.stop):
                cuts = cuts_of(kind.lines[j - at.start], schema.parts[j].masses, scales[j])
                pieces.append(pieces_of(schema.parts[j], scales[j], cuts))
                if j == at.start:
                    bars.append(bars_of(kind, pieces[-1], cuts, missing=schema.parts[j].missing))
        return Conditionals(self.model.orders, pieces), tuple(bars)

    @property
    def bars(self) -> tuple[Bars, ...]:
        """The charts, one for each column that varies."""
        return self._divided[1]

    def about(self) -> dict[str, object]:
        """What the page says of it, and the columns with what their bars stand for.

        Example:
            >>> from motes.explorer import TableSubject
            >>> about = TableSubject("people", table.inner).about()
            >>> about["columns"][1]["texts"]
            ['no', 'yes']
        """
        schema = self.model.schema
        columns = []
        for kind, one in zip(schema.kinds, self.bars, strict=True):
            said = {"name": one.column, "kind": one.kind, "texts": list(one.texts), "values": list(one.values)}
            columns.append(said | typed(kind))
        order = [schema.parts[j].column for j in self.model.order]
        return {
            "name": self.name,
            "source": self.model.source,
            "rows": schema.rows,
            "parameters": self.model.parameters,
            "columns": columns,
            "constant": {name: plain(one.cells()[0]) for name, one in schema.kept.items()},
            "order": list(dict.fromkeys(order)),
            "python": self.python,
        }

    # --- what is computed ---

    def frame(self, given: Mapping[str, Any]) -> Frame:
        """One row of which these cells are known.

        Raises:
            UsageError: a column that does not vary, or no single value.
            DataError: a value that its column cannot hold.

        Example:
            >>> from motes.explorer import TableSubject
            >>> TableSubject("people", table.inner).frame({"smoker": "no"}).columns["age"].missing.tolist()
            [True]
        """
        schema = self.model.schema
        for column in given:
            if column not in schema.learned:
                raise UsageError(unknown("column", column[:80], schema.learned))
        nothing = Series("real", np.full(1, np.nan), np.ones(1, bool))
        made = {name: one_value(name, given[name]) if name in given else nothing for name in schema.names}
        frame = schema.frame(Frame(made), name=ROW)
        schema.encode(frame, name=ROW)  # which refuses what cannot be
        return frame

    def conditionals(self, given: Mapping[str, Any]) -> list[Array]:
        """p of each bar of each column given the known cells; of a known cell 1 in its own bar.

        Example:
            >>> from motes.explorer import TableSubject
            >>> ages, smokers = TableSubject("people", table.inner).conditionals({"age": 31})
            >>> float(ages.max()), float(smokers.sum().round(5))
            (1.0, 1.0)
        """
        found, bars = self._divided
        frame, encoded = self._known(given)
        schema, masses, made = self.model.schema, found.masses(frame, encoded), []
        for one in bars:
            j = schema.parts_of(one.column).start
            if encoded.observed[0, j]:
                pieces = found.pieces[j]
                own = pieces.codes == encoded.codes[0, j]
                own &= (pieces.low <= encoded.y[0, j]) & ((encoded.y[0, j] < pieces.high) | (pieces.low == pieces.high))
                made.append(np.eye(len(one.texts))[one.of_piece[int(own.argmax())]])
            else:
                made.append(one.heights(masses[j]))
        return made

    def log_probs(self, given: Mapping[str, Any]) -> dict[str, float]:
        """log p of each known cell given the known ones before it in the model's order, in nats.

        Their sum is log p of all of them, but for what inequalities between columns add.

        Example:
            >>> from motes.explorer import TableSubject
            >>> found = TableSubject("people", table.inner).log_probs({"age": 31, "smoker": "no"})
            >>> sorted(found)
            ['age', 'smoker']
        """
        schema, orders = self.model.schema, self.model.orders
        each = orders.log_prob_parts(orders.own, self._known(given)[1])[0]
        return {column: float(each[schema.parts_of(column)].sum()) for column in given}

    def log_prob(self, given: Mapping[str, Any], each: Mapping[str, float]) -> float:
        """log p of the known cells, of which `each` is what `log_probs` says.

        Example:
            >>> from motes.explorer import TableSubject
            >>> subject, known = TableSubject("people", table.inner), {"age": 31}
            >>> expected = table.inner.score_samples({"age": [31], "smoker": [None]})
            >>> bool(np.isclose(subject.log_prob(known, subject.log_probs(known)), expected[0]))
            True
        """
        frame, encoded = self._known(given)
        constraint, total = self.model.constraint, sum(each.values())
        if constraint.columns:
            total += float(
                constraint.log_factor(observed_sides(self.model.schema, constraint.columns, frame, encoded))[0]
            )
        return total

    def _known(self, given: Mapping[str, Any]) -> tuple[Frame, Encoded]:
        """One row, in which all other cells are hidden: a missing one with a code of its own would be known."""
        frame, schema = self.frame(given), self.model.schema
        encoded = schema.encode(frame, name=ROW)
        here = np.array([part.column in given for part in schema.parts])
        return frame, replace(encoded, observed=encoded.observed & here)

    def reveal(self, given: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """A draw of every hidden cell given the known ones, in the model's order.

        Example:
            >>> from motes.explorer import TableSubject
            >>> list(TableSubject("people", table.inner).reveal({"smoker": "no"}, seed=0))
            ['age']
        """
        (row,) = self.model.impute(self.frame(given), seed=seed, name=ROW)
        order = dict.fromkeys(self.model.schema.parts[j].column for j in self.model.order)
        return {name: plain(row.columns[name].cells()[0]) for name in order if name not in given}


# --- what a page asks ---


def known_cells(row: object, most: int) -> dict[str, Any]:
    """The cells that a page says are known.

    Raises:
        UsageError: it says something else.
    """
    cells: dict[str, Any] = row if isinstance(row, dict) and len(row) <= most else {"": None}
    kinds = str, int, float, bool
    if not all(isinstance(value, kinds) and len(str(value)) <= LONGEST for value in cells.values()):
        raise UsageError(f"got row = {json.dumps(row)[:60]}; expected columns with one word or number each.")
    return dict(cells)


def row_answer(
    subject: TableSubject, given: Mapping[str, Any], on_block: Callable[[int], None]
) -> tuple[dict[str, Any], dict[str, Array]]:
    """What the page draws of a row: log p, and p of all bars one column after the other."""
    heights = subject.conditionals(given)
    on_block(0)
    if not given:
        return {"log_p": None, "cells": {}}, {"p": np.concatenate(heights)}
    each = subject.log_probs(given)
    return {"log_p": subject.log_prob(given, each), "cells": each}, {"p": np.concatenate(heights)}
