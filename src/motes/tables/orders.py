"""A trained model of a table's tokens in any order of the parts, and its conditional distributions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.tables.layout import Layout, layout_of
from motes.tables.network import PLACES, EncodedRows, MaskedModel, Reader, Scale, base_alone, knows_labels, ordered
from motes.tables.parts import Array, Codes, Encoded, Mask, Part
from motes.tables.relations import Relation
from motes.tables.rules import Constraint, observed_sides
from motes.tables.schema import Schema
from motes.tables.unmasking import MaskedDenoiser
from motes.training.programs import each_member


@dataclass(frozen=True, eq=False)
class AnyOrderModel:
    """A trained model of a table's tokens, which generates and scores the parts in any order.

    Attributes:
        schema: encodes the table as tokens.
        models: the members, with a leading axis.
        order: the model's fixed order, place -> part, (p,).
        bias: biases of the tokens of each group in that order, (M, G, K).
        constraint: the rules that rows obey; they are not part of the orders.
    """

    schema: Schema
    models: MaskedModel
    order: NDArray[np.integer]
    bias: tuple[Any, ...] = ()
    constraint: Constraint = field(default_factory=Constraint)

    @cached_property
    def layout(self) -> Layout:
        """The parts as arrays."""
        labels = knows_labels(self.schema.parts, self.models.base.means)
        return layout_of(self.schema, labels=labels)

    @cached_property
    def reader(self) -> Reader:
        """The reader, which turns encoded entries into network inputs."""
        return Reader.of(self.schema)

    @cached_property
    def own(self) -> MaskedDenoiser:
        """The model's distribution: the members in the fixed order, with biases."""
        return self.plain.with_bias(self.bias)

    @cached_property
    def plain(self) -> MaskedDenoiser:
        """The members in the fixed order, without biases, which are only valid for rows drawn without conditions."""
        return self._in(self.order)

    @cached_property
    def of_the_base(self) -> MaskedDenoiser:
        """The base mixture alone, in the fixed order: labels by their shares, numbers by the mixture."""
        return MaskedDenoiser.of(base_alone(self.models), self.layout, self.reader, self.order)

    def first(self, columns: Sequence[str]) -> MaskedDenoiser:
        """Return the denoiser with the parts of these columns first, the others in the fixed order, without biases."""
        place = {column: k for k, column in enumerate(columns)}
        rank = [place.get(self.schema.parts[j].column, len(place)) for j in self.order]
        return self._in(self.order[np.argsort(rank, kind="stable")])

    def random(self, seed: int, k: int) -> MaskedDenoiser:
        """Return the denoiser in the k-th random order of the columns; the parts of a column stay together."""
        columns = self.schema.learned
        return self.first([columns[i] for i in np.random.default_rng([seed, 662607, k]).permutation(len(columns))])

    def _in(self, order: NDArray[np.integer]) -> MaskedDenoiser:
        return MaskedDenoiser.of(self.models, self.layout, self.reader, order)

    def log_prob_alone(self, encoded: Encoded) -> Array:
        """Compute log p of each observed, possible entry if only its own column is known, (n, p); 0 for the others."""
        made: Array = np.zeros(encoded.codes.shape)
        for column in self.schema.learned:
            made += self.of_the_base.log_prob_parts(self.schema.only(encoded, [column]))
        return made

    def log_rule_factor(self, frame: Frame, encoded: Encoded) -> Array:
        """Compute what the rules add to log p of rows, (n,); `encoded` are the observed entries of `frame`."""
        columns = self.constraint.columns
        if not columns:
            return np.zeros(len(encoded))
        return self.constraint.log_factor(observed_sides(self.schema, columns, frame, encoded))


# --- The distributions of all masked columns of one row at once, each given the visible entries ---------------------
#
#     p(low < x_j < high | visible) = g_j a(token) share(low, high) + (1 - g_j) sum_c w_c (Phi_c(high) - Phi_c(low))
#
# Each part is divided into pieces: its tokens, cut at the edges of a chart. A row of the compiled program contains the
# k-th piece of every part, so that one pass of the network gives all of them. The masses of a part sum to 1.


@dataclass(frozen=True)
class Pieces:
    """The m pieces of one part, from the lowest to the highest.

    Attributes:
        codes: (m,), the token that contains each piece.
        low, high: (m,), its ends in y; the first and the last piece of a line are unbounded. Equal for a point.
        y: (m,), the middle of each piece, within the range of draws.
    """

    codes: Codes
    low: Array
    high: Array
    y: Array


def pieces_of(part: Part, scale: Scale | None, cuts: Array) -> Pieces:
    """Divide a part into its tokens and, if these stand for many values, at the rising `cuts` (c,)."""
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
    if len(wide):  # values beyond the training rows belong to the outer pieces
        first[wide[0]], last[wide[-1]] = -np.inf, np.inf
    if part.missing:
        codes, (first, last, y) = [*codes, part.count - 1], (np.append(one, 0.0) for one in (first, last, y))
    return Pieces(np.array(codes, np.int32), first, last, y)


class Conditionals:
    """The conditional distributions of one table; their program is compiled once.

    Args:
        orders: the model.
        pieces: the pieces of each of the p parts.
    """

    def __init__(self, orders: AnyOrderModel, pieces: Sequence[Pieces]):
        self.orders, self.pieces = orders, tuple(pieces)
        p, most = len(self.pieces), max(len(one.codes) for one in self.pieces)
        self._real = np.zeros((most, p), bool)
        self._fields: dict[str, NDArray[Any]] = {name: np.zeros((most, p), np.float32) for name in PLACES}
        self._fields |= {"codes": np.zeros((most, p), np.int32), "alone": np.ones((most, p), bool)}
        reader = orders.reader
        for j, one in enumerate(self.pieces):
            m = len(one.codes)
            self._real[:m, j] = True
            self._fields["codes"][:m, j] = one.codes
            if reader.scales[j] is not None:
                for name, values in reader.entry(j, one.codes, one.y, one.low, one.high).items():
                    self._fields[name][:m, j] = values

    def masses(self, frame: Frame, encoded: Encoded) -> list[Array]:
        """Compute p of each piece (m,) of each part given one row's observed entries; meaningless for visible parts.

        Args:
            frame: the row, with the columns of the schema.
            encoded: the same row, encoded; unobserved entries are masked.
        """
        orders, row = self.orders, self.orders.reader.read(encoded)
        visible = np.asarray(row.observed)[0]
        order = orders.order[np.argsort(~visible[orders.order], kind="stable")]
        rows, layout = self._rows(row, encoded, visible), orders.layout.on_device
        log_p = np.asarray(_log_probs(orders.models, layout, rows, visible, order))
        made = np.exp(np.where(self._real, log_p, -np.inf).astype(np.float64))
        made *= self._rule_factors(frame, encoded)
        return [column[: len(one.codes)] / column.sum() for column, one in zip(made.T, self.pieces, strict=True)]

    def _rows(self, row: EncodedRows, encoded: Encoded, visible: Mask) -> EncodedRows:
        """Return rows with the k-th piece of each masked part, and the visible entries, (K, p)."""
        most = len(self._real)
        fields: dict[str, Any] = {
            name: np.where(visible, np.asarray(getattr(row, name)), own) for name, own in self._fields.items()
        }
        # The value that a relation gives, from the visible columns, lies in one of the pieces.
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
        return EncodedRows(**fields)

    def _rule_factors(self, frame: Frame, encoded: Encoded) -> Array:
        """Compute the rule factor f of the pieces (K, p), at the middle of each piece.

        Relations are left out: the pieces contain them already, and their value is hardly ever the middle of a piece.
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
            one, kind = self.pieces[at.start], schema.kind_of(column)
            here = one.codes < schema.parts[at.start].count - schema.parts[at.start].missing
            codes, y = np.where(here, one.codes, 0)[:, None], one.y[:, None]
            values = np.where(here, kind.decode(codes, y, np.zeros(y.shape)).astype(np.float64), np.nan)
            made[: len(values), at.start] = constraint.weights(values[None], sides, column)[0]
        return made


@jax.jit
def _log_probs(models: MaskedModel, layout: Layout, rows: EncodedRows, visible: Any, order: Any) -> jax.Array:
    """Compute log p of each entry (K, p) given the visible parts (p,); p is the mean over the members."""

    def one(model: MaskedModel) -> jax.Array:
        seen = jnp.broadcast_to(visible, rows.codes.shape)
        return model.log_probs(layout, model.network.heads(layout), ordered(model.base, order, layout), rows, seen)

    found = each_member(one)(models)
    return jax.nn.logsumexp(found, 0) - jnp.log(len(found))
