"""Exact relations between numbers and dependencies of labels, as a part of a row's probability.

    p(x_j | visible) = pi_0 q(x_j | visible) + sum over r of pi_r [x_j = what relation r gives of the visible columns]

q is the density of `_density.py`. The shares pi are a softmax of the network's numbers rho_r beside a 0 for pi_0. A
relation takes part once all its other columns are visible and what it gives is a value that column j can hold. A
dependency takes part once the column that decides is visible and its label is one of those from which j follows.

The odds against a relation that hardly any training row breaks are exp(-rho_r) of the network and a few times those of
these rows. So it is broken often enough for rejection to bring about the share of the training rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.learning.tables._layout import FAR, NEVER, Links
from motes.tables._dependencies import Dependency
from motes.tables._parts import IMPOSSIBLE, Array, Encoded
from motes.tables._relations import BROKEN, Relation
from motes.tables._schema import Schema
from motes.tables.kinds._numeric import Number

Integers = NDArray[np.int32]

SURE = 1e-6  # the least share that a relation leaves to other values, at first
SOFT = 4.0  # times the training rows' odds against a rule that some of them break: q may give what it gives, too
EQUAL = 1e-3  # of a step, up to which two numbers are the same


class Derived(NamedTuple):
    """What a relation gives for a part, of n rows; (n,) each.

    Attributes:
        codes, y, numbers: of the value.
        possible: whether the part can hold it, and the other columns are known.
    """

    codes: NDArray[np.int32]
    y: Array
    numbers: Array
    possible: NDArray[np.bool_]

    def take(self, rows: NDArray[np.integer]) -> "Derived":
        """Of some rows."""
        return Derived(self.codes[rows], self.y[rows], self.numbers[rows], self.possible[rows])

    @property
    def places(self) -> Array:
        """y as far as the network looks, and 0 where there is none."""
        return np.clip(np.where(self.possible, self.y, 0.0), -FAR, FAR)


def shares_of(links: Any, derived: Sequence[Derived]) -> tuple[Array, Array]:
    """The shares pi of some relations (..., n, R), and pi_0 (..., n), from their rho (..., n, R) or more of them."""
    could = np.stack([one.possible for one in derived], -1)
    odds = np.where(could, np.exp(np.asarray(links[..., : len(derived)], np.float64)), 0.0)
    rest = 1 / (1 + odds.sum(-1))
    return odds * rest[..., None], rest


@dataclass(frozen=True)
class Linker:
    """The relations and dependencies of a schema, by the part that they give.

    Attributes:
        schema: of the table.
        of_part: part -> its relations, or its dependencies.
    """

    schema: Schema
    of_part: dict[int, list[Relation | Dependency]]

    @classmethod
    def of(cls, schema: Schema) -> "Linker":
        """Of all relations and dependencies of a schema."""
        made: dict[int, list[Relation | Dependency]] = {}
        every: list[Relation | Dependency] = [*schema.relations, *schema.dependencies]
        for relation in every:
            for column in relation.targets:
                made.setdefault(schema.parts_of(column).start, []).append(relation)
        return cls(schema, dict(sorted(made.items())))

    @property
    def links(self) -> Links:
        """The same as arrays."""
        p, most = len(self.schema.parts), max(map(len, self.of_part.values()), default=0)
        others = np.zeros((len(self.of_part), most, p), bool)
        log_odds, log_least = np.full((2, len(self.of_part), most), NEVER, np.float32)
        for i, (j, relations) in enumerate(self.of_part.items()):
            for r, relation in enumerate(relations):
                others[i, r, self._others(j, relation)] = True
                share = np.clip(relation.share, 1e-4, 1 - SURE)
                log_odds[i, r] = np.log(share / (1 - share))
                if 0 < relation.shares[0] <= BROKEN:
                    log_least[i, r] = np.log(SOFT) - log_odds[i, r]
        return Links(np.array([*self.of_part], np.int32), others, log_odds, log_least)

    def _others(self, j: int, relation: Relation | Dependency) -> list[int]:
        target = self.schema.parts[j].column
        return [self.schema.parts_of(column).start for column in relation.columns if column != target]

    def derived(self, j: int, codes: NDArray[np.integer], y: Array, visible: NDArray[np.bool_]) -> Iterator[Derived]:
        """What each relation of part j gives.

        Args:
            j: a part with relations.
            codes, y: (n, p), of the rows.
            visible: (n, p), which entries are known.
        """
        for relation in self.of_part[j]:
            others = self._others(j, relation)
            known = np.logical_and.reduce([self._known(i, codes, visible) for i in others])
            if isinstance(relation, Dependency):
                decides = codes[:, others[0]]
                known &= decides < len(relation.codes)  # others are rare labels that share a code
                follows = np.where(known, relation.codes[np.where(known, decides, 0)], -1)
                nothing = np.zeros(len(codes))
                yield Derived(np.maximum(follows, 0), nothing, nothing, follows >= 0)
                continue
            target = self._kind(j)
            assert target.grid is not None
            values = {self.schema.parts[i].column: self._numbers(i, codes, y, known) for i in others}
            x = np.where(known, relation.value(target.column, values), 0.0)
            numbers = target.grid.numbers(target.grid.places_of(x))
            entries = target.encode(numbers)[0]
            possible = known & (entries.codes != IMPOSSIBLE)
            found = np.where(possible, entries.codes, 0).astype(np.int32)
            # A value that the column does not give back, such as one that was never seen among few, is none.
            again = target.decode(found[:, None], entries.y[:, None], entries.y[:, None])
            possible &= np.abs(again - x) < EQUAL * target.grid.width
            yield Derived(found, entries.y, again, possible)

    def _known(self, i: int, codes: NDArray[np.integer], visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(n,), where part i is visible and not missing."""
        part = self.schema.parts[i]
        return visible[:, i] & (codes[:, i] >= 0) & (codes[:, i] < part.count - part.missing)

    def _numbers(self, i: int, codes: NDArray[np.integer], y: Array, known: NDArray[np.bool_]) -> Array:
        """The numbers of part i (n,), where they are known."""
        inside = np.where(known, codes[:, i], 0)[:, None].astype(np.int32)
        return self._kind(i).decode(inside, y[:, i : i + 1], y[:, i : i + 1]).astype(np.float64)

    def _equal(self, j: int, found: Derived, encoded: Encoded, here: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Where part j is what a relation gives, (n,)."""
        if isinstance(self.of_part[j][0], Dependency):
            return found.codes == encoded.codes[:, j]
        grid = self._kind(j).grid
        assert grid is not None
        return np.abs(found.numbers - self._numbers(j, encoded.codes, encoded.y, here)) < EQUAL * grid.width

    def _kind(self, j: int) -> Number:
        kind = self.schema.kinds[self.schema.learned.index(self.schema.parts[j].column)]
        assert isinstance(kind, Number)
        return kind

    def read(self, encoded: Encoded, observed: NDArray[np.bool_]) -> tuple[Integers, Integers, NDArray[np.float32]]:
        """What the relations say of n rows.

        Bit r of entry (i, j) says whether relation r of part j holds in row i, and whether it could, (n, p) each;
        and the places (n, p, R) that the relations give.
        """
        holds, could = (np.zeros(encoded.codes.shape, np.int32) for _ in range(2))
        given = np.zeros((*encoded.codes.shape, max(map(len, self.of_part.values()), default=0)), np.float32)
        for j in self.of_part:
            here = self._known(j, encoded.codes, observed)
            for r, found in enumerate(self.derived(j, encoded.codes, encoded.y, observed)):
                same = found.possible & here & self._equal(j, found, encoded, here)
                holds[:, j] |= same.astype(np.int32) << r
                could[:, j] |= found.possible.astype(np.int32) << r
                given[:, j, r] = found.places
        return holds, could, given


def softened(rho: jax.Array, log_least: Any) -> jax.Array:
    """The network's rho with the least odds against the relations (..., R) added to its own."""
    return -jnp.logaddexp(-rho, log_least)


def bits_of(words: jax.Array, count: int) -> jax.Array:
    """The first bits of words (...), (..., count), bool."""
    return (words[..., None] >> jnp.arange(count)) & 1 > 0


def log_linked(rho: jax.Array, could: jax.Array, holds: jax.Array, log_q: jax.Array) -> jax.Array:
    """log p (...) of the module's equation, from rho (..., R), what could hold and does (..., R), and log q (...)."""
    rho = jnp.where(could, rho, NEVER)
    log_rest = -jax.nn.logsumexp(jnp.pad(rho, [(0, 0)] * (rho.ndim - 1) + [(1, 0)]), axis=-1)
    linked = jax.nn.logsumexp(jnp.where(holds & could, rho, NEVER), axis=-1)
    return log_rest + jnp.logaddexp(log_q, linked)
