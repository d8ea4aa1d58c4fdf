"""The model of a table in its own order of the parts, which is its distribution, and in any other order."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.learning.tables._layout import Layout, layout_of
from motes.learning.tables._model import MaskedModel, base_alone, knows_labels
from motes.learning.tables._rows import Reader
from motes.sampling._constraint import Constraint
from motes.sampling._rows import Block, log_prob_parts
from motes.sampling._unmasking import Unmasker
from motes.tables._parts import Array, Encoded, Mask
from motes.tables._schema import Schema


@dataclass(frozen=True, eq=False)
class AnyOrder:
    """What was learned of a table, and the orders in which its parts are drawn and scored.

    Attributes:
        schema: between the table and codes.
        models: the members, with a leading axis.
        order: place -> part, (p,), the model's own.
        bias: of the codes of each group in that order, (M, G, K).
        constraint: the rules that rows keep; no order knows of it.
    """

    schema: Schema
    models: MaskedModel
    order: NDArray[np.integer]
    bias: tuple[Any, ...]
    constraint: Constraint

    @cached_property
    def layout(self) -> Layout:
        """The parts as arrays."""
        labels = knows_labels(self.schema.parts, self.models.base.means)
        return layout_of(self.schema.parts, self.reader.linker.links, self.schema.missing_patterns, labels=labels)

    @cached_property
    def reader(self) -> Reader:
        """Between entries and what the network takes."""
        return Reader.of(self.schema)

    @cached_property
    def own(self) -> Unmasker:
        """The model's distribution: members in its own order, with its biases."""
        return self.plain.with_bias(self.bias)

    @cached_property
    def plain(self) -> Unmasker:
        """Members in the model's own order, without its biases, which are for rows of which nothing is known."""
        return self._in(self.order)

    def first(self, columns: Sequence[str]) -> Unmasker:
        """The order in which the parts of these columns come first, the others as in the model's own; no biases."""
        place = {column: k for k, column in enumerate(columns)}
        rank = [place.get(self.schema.parts[j].column, len(place)) for j in self.order]
        return self._in(self.order[np.argsort(rank, kind="stable")])

    def random(self, seed: int, k: int) -> Unmasker:
        """The k-th other order: columns at random, their parts together."""
        columns = self.schema.learned
        return self.first([columns[i] for i in np.random.default_rng([seed, 662607, k]).permutation(len(columns))])

    def log_prob(self, unmasker: Unmasker, encoded: Encoded) -> Array:
        """log p of the observed and possible entries in the data's units, (n,)."""
        return self.log_prob_parts(unmasker, encoded).sum(axis=1)

    def log_prob_parts(self, unmasker: Unmasker, encoded: Encoded) -> Array:
        """The same of each entry given those before it in the order, (n, p); 0 of the others."""
        rows = self.reader.read(encoded)
        return log_prob_parts(unmasker, rows) + np.where(rows.observed, encoded.log_unit, 0.0)

    def log_prob_alone(self, encoded: Encoded) -> Array:
        """log p of each observed and possible entry where nothing but its own column is known, (n, p); 0 of others."""
        made: Array = np.zeros(encoded.codes.shape)
        for column in self.schema.learned:
            own = np.zeros(len(self.schema.parts), bool)
            own[self.schema.parts_of(column)] = True
            made += self.log_prob_parts(self.of_the_base, replace(encoded, observed=encoded.observed & own))
        return made

    @cached_property
    def of_the_base(self) -> Unmasker:
        """In the model's own order, of the base mixture alone: labels by their shares, numbers by the mixture."""
        return Unmasker.of(base_alone(self.models), self.layout, self.reader, self.order, self._ranges)

    def _in(self, order: NDArray[np.integer]) -> Unmasker:
        return Unmasker.of(self.models, self.layout, self.reader, order, self._ranges)

    @cached_property
    def _ranges(self) -> list[tuple[float, float] | None]:
        return [self.schema.draw_range(j) for j in range(len(self.schema.parts))]


def log_possible(unmasker: Unmasker, schema: Schema, block: Block, parts: Mask) -> Array:
    """log of the probability of all that is ever drawn of some parts (p,), given those before, summed, (n,).

    Numbers are drawn within their range, and no date that does not exist: rows have p over this probability.
    """
    n, p = block.codes.shape
    total, visible = np.zeros(n), np.zeros((n, p), bool)
    seen, everywhere = unmasker.start(n), np.ones(n, bool)
    for k, j in enumerate(map(int, unmasker.order)):
        before = slice(schema.parts_of(schema.parts[j].column).start, j)
        shares = schema.allowed(j, block.codes[:, before], block.y[:, before]) if before.start < j else None
        within = unmasker.everything(j)
        if shares is not None:
            within = within._replace(shares=np.asarray(shares, float))
        if parts[j] and (shares is not None or unmasker.spots[k][1].line):
            total += unmasker.log_within(seen, k, within, unmasker.derived(j, block.codes, block.y, visible))
        visible[:, j] = True
        if k < p - 1:
            codes, y = block.codes[:, j], block.y[:, j]
            scale = unmasker.reader.scales[j]
            place = 0.0 if scale is None else scale.rank(np.minimum(codes, len(scale.points) - 1), y)
            seen = unmasker.show(seen, k, codes, y, np.broadcast_to(place, n), everywhere)
    return total
