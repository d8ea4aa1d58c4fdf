"""The distributions of all hidden columns of one row at once, each given the visible entries.

    p(low < x_j < high | visible) = g_j a(code) share(low, high) + (1 - g_j) sum_c w_c (Phi_c(high) - Phi_c(low))

Each part is divided into pieces: its codes, cut where a chart has an edge. A row of the compiled program holds the k-th
piece of every part, so that one pass of the network gives all of them. The masses of a part sum to 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.learning.tables._layout import Layout
from motes.learning.tables._model import MaskedModel, each_member, ordered
from motes.learning.tables._network import Rows
from motes.learning.tables._rows import Scale
from motes.sampling._constraint import observed_sides
from motes.sampling._orders import AnyOrder
from motes.tables._parts import Array, Codes, Encoded, Mask, Part
from motes.tables._relations import Relation


@dataclass(frozen=True)
class Pieces:
    """What one part is divided into, from the lowest to the highest; m of them.

    Attributes:
        codes: (m,), the code that each lies in.
        low, high: (m,), its ends in y; the first and the last of a line reach to infinity. Equal for a point.
        y: (m,), the middle of each, within what is drawn.
    """

    codes: Codes
    low: Array
    high: Array
    y: Array


def pieces_of(part: Part, scale: Scale | None, cuts: Array) -> Pieces:
    """A part divided at its codes and, where its codes hold many values, at `cuts` (c,), which rise."""
    if scale is None:
        nothing = np.zeros(part.count)
        return Pieces(np.arange(part.count, dtype=np.int32), nothing, nothing, nothing)
    codes: list[int] = []
    low: list[float] = []
    high: list[float] = []
    for code, (a, b) in enumerate(zip(scale.ends[:-1], scale.ends[1:], strict=True)):
        inside = cuts[(cuts > a) & (cuts < b)] if part.smooth else cuts[:0]
        ends = [a, *inside.tolist(), b]
        codes += [code] * (len(ends) - 1)
        low += ends[:-1]
        high += ends[1:]
    first, last = np.array(low), np.array(high)
    y = (first + last) / 2
    wide = np.flatnonzero(last > first)
    if len(wide):  # what lies beyond the training rows belongs to the outer pieces
        first[wide[0]], last[wide[-1]] = -np.inf, np.inf
    if part.missing:
        codes, (first, last, y) = [*codes, part.count - 1], (np.append(one, 0.0) for one in (first, last, y))
    return Pieces(np.array(codes, np.int32), first, last, y)


class Conditionals:
    """Of one table; its program is compiled once.

    Args:
        orders: the model.
        pieces: of each part, p of them.
    """

    def __init__(self, orders: AnyOrder, pieces: Sequence[Pieces]):
        self.orders, self.pieces = orders, tuple(pieces)
        p, most = len(self.pieces), max(len(one.codes) for one in self.pieces)
        self._real = np.zeros((most, p), bool)
        names = {"y": np.float32, "u": np.float32, "low": np.float32, "high": np.float32, "cell": np.float32}
        self._fields: dict[str, NDArray[Any]] = {name: np.zeros((most, p), kind) for name, kind in names.items()}
        self._fields |= {"inner": np.zeros((most, p), np.float32), "codes": np.zeros((most, p), np.int32)}
        self._fields["alone"] = np.ones((most, p), bool)
        reader = orders.reader
        for j, one in enumerate(self.pieces):
            m = len(one.codes)
            self._real[:m, j] = True
            self._fields["codes"][:m, j] = one.codes
            if reader.scales[j] is not None:
                for name, values in reader.entry(j, one.codes, one.y, one.low, one.high).items():
                    self._fields[name][:m, j] = values

    def masses(self, frame: Frame, encoded: Encoded) -> list[Array]:
        """p of each piece (m,) of each part given what one row shows; those of a part that it shows say nothing.

        Args:
            frame: the row, with the columns of the schema.
            encoded: the same; what is not observed in it is hidden.
        """
        orders, row = self.orders, self.orders.reader.read(encoded)
        visible = np.asarray(row.observed)[0]
        order = orders.order[np.argsort(~visible[orders.order], kind="stable")]
        rows, layout = self._rows(row, encoded, visible), orders.layout.on_device
        log_p = np.asarray(_log_probs(orders.models, layout, rows, visible, order))
        made = np.exp(np.where(self._real, log_p, -np.inf).astype(np.float64))
        made *= self._kept(frame, encoded)
        return [column[: len(one.codes)] / column.sum() for column, one in zip(made.T, self.pieces, strict=True)]

    def _rows(self, row: Rows, encoded: Encoded, visible: Mask) -> Rows:
        """The k-th piece of each hidden part, and what is visible, (K, p)."""
        most = len(self._real)
        fields: dict[str, Any] = {
            name: np.where(visible, np.asarray(getattr(row, name)), own) for name, own in self._fields.items()
        }
        # What a relation gives of the visible columns lies in one of the pieces.
        holds, could, given = (np.repeat(np.asarray(part), most, axis=0) for part in (row.holds, row.could, row.given))
        for j in self.orders.reader.linker.of_part:
            if visible[j]:
                continue
            one = self.pieces[j]
            for r, found in enumerate(self.orders.reader.linker.derived(j, encoded.codes, encoded.y, visible[None])):
                within = (one.codes == found.codes[0]) & (one.low <= found.y[0])
                within &= (found.y[0] < one.high) | (one.low == one.high)
                holds[: len(within), j] |= (within & found.possible[0]).astype(np.int32) << r
                could[:, j] |= found.possible.astype(np.int32) << r
                given[:, j, r] = found.places
        fields |= {"holds": holds, "could": could, "given": given, "observed": np.broadcast_to(visible, holds.shape)}
        return Rows(**fields)

    def _kept(self, frame: Frame, encoded: Encoded) -> Array:
        """f of the pieces (K, p) by the rules between columns, at the middle of each piece.

        Relations are in the pieces already, of which their value is hardly ever the middle.
        """
        orders, made = self.orders, np.ones(self._real.shape)
        schema, rules = orders.schema, orders.constraint.rules
        constraint = orders.constraint.without(np.array([isinstance(rule, Relation) for rule in rules], bool))
        if not constraint.columns:
            return made
        sides = observed_sides(schema, constraint.columns, frame, encoded)
        for column in constraint.columns:
            at = schema.parts_of(column)
            if encoded.observed[0, at.start] or at.stop - at.start > 1:
                continue
            one, kind = self.pieces[at.start], schema.kinds[schema.learned.index(column)]
            here = one.codes < schema.parts[at.start].count - schema.parts[at.start].missing
            codes, y = np.where(here, one.codes, 0)[:, None], one.y[:, None]
            values = np.where(here, kind.decode(codes, y, np.zeros(y.shape)).astype(np.float64), np.nan)
            made[: len(values), at.start] = constraint.weights(values[None], sides, column)[0]
        return made


@jax.jit
def _log_probs(models: MaskedModel, layout: Layout, rows: Rows, visible: Any, order: Any) -> jax.Array:
    """log p of each entry (K, p) given the visible parts (p,), the mean of the members' p."""

    def one(model: MaskedModel) -> jax.Array:
        seen = jnp.broadcast_to(visible, rows.codes.shape)
        return model.log_probs(layout, model.network.heads(layout), ordered(model.base, order, layout), rows, seen)

    found = each_member(one)(models)
    return jax.nn.logsumexp(found, 0) - jnp.log(len(found))
