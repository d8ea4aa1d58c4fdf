"""Rows of a table, revealed part by part: drawn, or scored, each part given those that are there already.

    x_j ~ g_j a(. | visible) + (1 - g_j) sum_c w_c N(. | visible),    log p(x) = sum over j of log p(x_j | those before)

This is the reverse of masked diffusion at its finest: one part a step. A compiled program chooses a code or a normal.
The place within it is drawn in float64 and moved to the nearest value of the column; the next step sees it there.
Blocks of rows have random numbers of their own, so that the same seed gives the same rows, however many are drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from motes.learning.tables.calibration import bias_of
from motes.learning.tables.density import log_mass
from motes.learning.tables.layout import Layout
from motes.learning.tables.model import MaskedModel, each_member
from motes.learning.tables.network import Rows
from motes.learning.tables.reveal import (
    Outlook,
    Place,
    Prepared,
    Seen,
    log_prob_of,
    nothing_seen,
    outlook,
    prepare,
    seen_after,
)
from motes.learning.tables.rows import FAR, Reader

Array = NDArray[np.float64]
ROWS = 8192  # of one compiled program
FEW = 256  # of the program for a few rows
GOLDEN = 2654435769  # 2^32 over the golden ratio
COARSE = 2.0**-10  # below which the digits of single precision are drawn anew
EVEN = 1e-6  # by which rows that expect the same come in any order
ONE = 1 - 1e-6  # so that rounding does not reach beyond the last of several


class Within(NamedTuple):
    """What of a part may be drawn.

    Attributes:
        shares: (K,) or (n, K), the share of each code that may.
        low, high: the interval of y that may, numbers or (n,); of labels it says nothing.
    """

    shares: Array
    low: Any
    high: Any


class Choice(NamedTuple):
    """What was chosen for n rows, (n,) each.

    Attributes:
        codes: a code,
        normal, means, sds: or a normal.
        rest: what is left of the uniform number that chose it, itself uniform.
        log_within: the log probability of what may be drawn.
    """

    codes: jax.Array
    normal: jax.Array
    means: jax.Array
    sds: jax.Array
    rest: jax.Array
    log_within: jax.Array


@dataclass(frozen=True, eq=False)
class Unmasker:
    """A model in one order of its parts, ready to draw and to score.

    Attributes:
        layout: of the table.
        reader: between places and codes.
        prepared: the members.
        order: place -> part, (p,).
        spots: where each part of the order is, its group, and whether it has a density.
        ranges: the interval of y in which each part is drawn; None for labels.
        plain: the logits of each group without biases.
    """

    layout: Layout
    reader: Reader
    prepared: Prepared
    order: NDArray[np.integer]
    spots: list[tuple[Place, int, bool]]
    ranges: Sequence[tuple[float, float] | None]
    plain: tuple[jax.Array, ...]

    @classmethod
    def of(
        cls,
        models: MaskedModel,
        layout: Layout,
        reader: Reader,
        order: NDArray[np.integer],
        ranges: Sequence[tuple[float, float] | None],
    ) -> "Unmasker":
        """Members made ready for an order."""
        prepared = _prepared(models, _Still(layout), jnp.asarray(order))
        spots, plain = spots_of(layout, order), prepared.heads.code_bias
        return cls(layout, reader, prepared, np.asarray(order), spots, ranges, plain)

    @property
    def still(self) -> "_Still":
        """What the compiled programs do not trace."""
        return _Still(self.layout)

    def everything(self, j: int) -> Within:
        """All of part j that is ever drawn."""
        scale, drawn = self.reader.scales[j], self.ranges[j]
        low, high = (-FAR, FAR) if drawn is None or scale is None else drawn
        if scale is not None:
            low, high = (-FAR if scale.first else low), (FAR if scale.last else high)
        return Within(np.ones(self.layout.sizes[j]), low, high)

    def start(self, rows: int) -> Seen:
        """Rows of which nothing is known."""
        return nothing_seen(self.prepared, rows)

    def show(self, seen: Seen, k: int, codes: Any, y: Any, u: Any, here: Any) -> Seen:
        """The part in place k of the order is seen in the rows `here`."""
        place, _, line = self.spots[k]
        single = lambda part: jnp.asarray(part, jnp.float32)
        codes, here = jnp.asarray(codes, jnp.int32), jnp.asarray(here, bool)
        return _show(self.still, self.prepared, seen, place, codes, single(y), single(u), here, line)

    def draw(
        self, seen: Seen, k: int, within: Within, key: jax.Array, rng: np.random.Generator
    ) -> tuple[Any, Any, Any, Array]:
        """Draw the part in place k of the order: codes, places, ranks and log p of what is within, (n,) each."""
        place, group, line = self.spots[k]
        j = int(self.order[k])
        padded = self.layout.groups[group].log_masses.shape[1]
        shares = np.zeros((*within.shares.shape[:-1], padded))
        shares[..., : within.shares.shape[-1]] = within.shares
        with np.errstate(divide="ignore"):
            log_shares = jnp.asarray(np.log(shares), jnp.float32)
        low, high = (jnp.asarray(np.clip(end, -FAR, FAR), jnp.float32) for end in within[1:])
        made = _choose(self.still, self.prepared, seen, place, log_shares, low, high, key, group, line)
        codes, normal, means, sds, rest, log_within = (np.asarray(part) for part in made)
        scale = self.reader.scales[j]
        u = (rest + rng.random(len(codes)) * COARSE) % 1.0  # with all digits, and as uniform as before
        if scale is None:
            return codes, np.zeros(len(codes)), np.zeros(len(codes)), log_within.astype(np.float64)
        inside = np.minimum(codes, len(scale.points) - 1)
        first, last = np.maximum(scale.ends[inside], within.low), np.minimum(scale.ends[inside + 1], within.high)
        y = first + u * (np.maximum(last, first) - first)
        if normal.any():
            which = np.flatnonzero(normal)
            a, b = (np.broadcast_to(end, codes.shape)[which] for end in (within.low, within.high))
            y[which] = cut_normal(means[which].astype(float), sds[which].astype(float), a, b, u[which])
            y = np.clip(y, scale.ends[0], scale.ends[-1])
            codes = np.array(codes)
            codes[which] = self.reader.code_at(j, y[which])
        return *self.reader.settle(j, codes, y), log_within.astype(np.float64)

    def log_prob(self, seen: Seen, k: int, entry: Rows) -> Array:
        """log p of the part in place k of the order, (n,), given what is seen; the mean of the members' p."""
        place, group, line = self.spots[k]
        return np.asarray(_log_prob(self.still, self.prepared, seen, place, entry, group, line), np.float64)

    def view(self, seen: Seen, k: int) -> Outlook:
        """The members' distributions of the part in place k, (M, n, ...)."""
        place, group, line = self.spots[k]
        return _view(self.still, self.prepared, seen, place, group, line)

    def calibrated(self, shares: Sequence[Array], rows: int, seed: int) -> list[jax.Array]:
        """The biases (M, G, K) of each group with which codes of drawn rows have these shares; see `calibration`."""
        rng, key = np.random.default_rng([seed, 112358]), jax.random.key(seed)
        made = [np.zeros(bias.shape, np.float32) for bias in self.prepared.heads.code_bias]
        seen, everywhere, unmasker = self.start(rows), np.ones(rows, bool), self
        for k, j in enumerate(map(int, self.order)):
            place, group, _ = self.spots[k]
            padded = self.layout.groups[group].log_masses.shape[1]
            scale = self.reader.scales[j]
            ends = np.zeros(2) if scale is None else np.concatenate([[-FAR], scale.ends[1:-1], [FAR]])
            views = unmasker.view(seen, k)
            for member in range(len(made[group])):
                view = jax.tree.map(lambda part, member=member: part[member], views)
                target = jnp.asarray(np.pad(shares[j], (0, padded - len(shares[j]))), jnp.float32)
                made[group][member, int(place.member)] = bias_of(view, target, jnp.asarray(ends, jnp.float32))
            unmasker = unmasker.with_bias(made)
            codes, y, u, _ = unmasker.draw(seen, k, unmasker.everything(j), jax.random.fold_in(key, k), rng)
            if k < self.layout.parts - 1:
                seen = unmasker.show(seen, k, codes, y, u, everywhere)
        return [jnp.asarray(part) for part in made]

    @property
    def no_bias(self) -> list[jax.Array]:
        """Biases that change nothing."""
        return [jnp.zeros(bias.shape) for bias in self.plain]

    def with_bias(self, bias: Sequence[Any]) -> "Unmasker":
        """The same model with biases (M, G, K) of each group, in the place of those that it has now."""
        heads = self.prepared.heads
        moved = tuple(a + b for a, b in zip(self.plain, bias, strict=True))
        return replace(self, prepared=self.prepared._replace(heads=heads._replace(code_bias=moved)))


def spots_of(layout: Layout, order: NDArray[np.integer]) -> list[tuple[Place, int, bool]]:
    """Where each part of an order is, its group, and whether it has a density."""
    lines = layout.line_place
    ranked = [int(j) for j in order if lines[j] >= 0]
    made = []
    for j in map(int, order):
        group = next(g for g, one in enumerate(layout.groups) if j in one.parts)
        member = int(np.flatnonzero(layout.groups[group].parts == j)[0])
        on = bool(lines[j] >= 0)
        number = lambda value: jnp.asarray(value, jnp.int32)
        rank = ranked.index(j) if on else 0
        made.append((Place(number(j), number(member), number(max(int(lines[j]), 0)), number(rank)), group, on))
    return made


def cut_normal(mean: Array, sd: Array, low: Array, high: Array, u: Array) -> Array:
    """Quantiles u of N(mean, sd^2) between low and high, (n,) each. Far tails keep their digits."""
    a, b = (low - mean) / sd, (high - mean) / sd
    flip = a + b > 0
    a, b, u = np.where(flip, -b, a), np.where(flip, -a, b), np.where(flip, 1 - u, u)
    log_a, log_b = log_ndtr(a), log_ndtr(b)
    z = ndtri_exp(log_b + np.log(u + (1 - u) * np.exp(np.minimum(log_a - log_b, 0.0))))
    return np.clip(mean + sd * np.where(flip, -z, z), low, high)


# --- compiled ---------------------------------------------------------------------------------------------------------


class _Still:
    """A layout as a part of a program: equal to another one of the same layout."""

    def __init__(self, layout: Layout):
        self.layout = layout

    def __hash__(self) -> int:
        return id(self.layout)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Still) and other.layout is self.layout


@partial(jax.jit, static_argnums=1)
def _prepared(models: MaskedModel, still: _Still, order: jax.Array) -> Prepared:
    return prepare(models, still.layout, order)


@partial(jax.jit, static_argnums=(0, 8))
def _show(
    still: _Still, prepared: Prepared, seen: Seen, place: Place, codes: Any, y: Any, u: Any, here: Any, line: bool
) -> Seen:
    one = lambda prepared, seen: seen_after(still.layout, prepared, seen, place, codes, y, u, here, line)
    return each_member(one)(prepared, seen)


@partial(jax.jit, static_argnums=(0, 4, 5))
def _view(still: _Still, prepared: Prepared, seen: Seen, place: Place, group: int, line: bool) -> Any:
    one = lambda prepared, seen: outlook(still.layout, prepared, seen, place, group, line)
    return each_member(one)(prepared, seen)


@partial(jax.jit, static_argnums=(0, 5, 6))
def _log_prob(
    still: _Still, prepared: Prepared, seen: Seen, place: Place, entry: Rows, group: int, line: bool
) -> jax.Array:
    one = lambda prepared, seen: log_prob_of(outlook(still.layout, prepared, seen, place, group, line), entry)
    found = each_member(one)(prepared, seen)
    return jax.nn.logsumexp(found, 0) - jnp.log(len(found))


@partial(jax.jit, static_argnums=(0, 8, 9))
def _choose(
    still: _Still,
    prepared: Prepared,
    seen: Seen,
    place: Place,
    log_shares: Any,
    low: Any,
    high: Any,
    key: Any,
    group: int,
    line: bool,
) -> Choice:
    views = _view(still, prepared, seen, place, group, line)
    members, n = views.gate.shape[:2]
    key_member, key_shift, key_ties = jax.random.split(key, 3)
    log_codes = views.log_codes + log_shares
    log_a = jax.nn.logsumexp(log_codes, -1) + views.gate[..., 0]  # (M, n)
    log_b, terms = jnp.full_like(log_a, -jnp.inf), log_codes
    if views.normals is not None:
        first, last = (jnp.broadcast_to(end, (n,))[:, None] for end in (low, high))
        terms = views.normals.log_weights + log_mass(first, last, views.normals.means, views.normals.sds)  # (M, n, C)
        log_b = jax.nn.logsumexp(terms, -1) + views.gate[..., 1]
    both = jnp.logaddexp(log_a, log_b)
    log_within = jax.nn.logsumexp(both, 0) - jnp.log(members)
    member = jnp.zeros(n, int) if members == 1 else picked(both.T, jax.random.uniform(key_member, (n,)))[0]
    at = lambda part: jnp.take_along_axis(part, member.reshape(1, n, *(1,) * (part.ndim - 2)), 0)[0]
    log_codes, share = at(log_codes), jnp.exp(at(log_a) - at(both))
    # Rows that expect about the same get numbers spread evenly: their shares are nearer to what is expected of them.
    expected = (jax.nn.softmax(log_codes, -1) * jnp.linspace(0, 1, log_codes.shape[1])).sum(-1)
    if views.normals is not None:
        mean = (jax.nn.softmax(at(terms), -1) * at(views.normals.means)).sum(-1)
        expected = share * expected + (1 - share) * 0.5 * jax.lax.erfc(-mean / 2**0.5)
    expected = expected + EVEN * jax.random.uniform(key_ties, (n,))
    u = spread_evenly(expected, key_shift)
    normal = u >= share
    v = jnp.clip(jnp.where(normal, (u - share) / jnp.maximum(1 - share, 1e-9), u / jnp.maximum(share, 1e-9)), 0, ONE)
    codes, rest = picked(log_codes, v)
    if views.normals is None:
        none = jnp.zeros(n)
        return Choice(codes, none > 0, none, none, rest, log_within)
    # From the lowest to the highest, as the base has them on the whole.
    rising = jnp.pad(
        jnp.argsort(prepared.base.means[0, :, place.rank]), (0, terms.shape[-1] - prepared.base.means.shape[1])
    )
    own = jnp.arange(terms.shape[-1]) >= prepared.base.means.shape[1]
    rising = jnp.where(own, jnp.arange(terms.shape[-1]), rising)
    chosen, rest_of_normal = picked(at(terms)[:, rising], v)
    take = lambda part: jnp.take_along_axis(at(part), rising[chosen][:, None], -1)[:, 0]
    rest = jnp.where(normal, rest_of_normal, rest)
    return Choice(codes, normal, take(views.normals.means), take(views.normals.sds), rest, log_within)


def spread_evenly(expected: jax.Array, key: jax.Array) -> jax.Array:
    """Uniform numbers (n,), such that those of rows with neighbouring `expected` (n,) are spread evenly.

    They are a Kronecker sequence with a random start along the rank of the rows (Owen 2013, chapter 17): each of them
    is uniform, and with the rank they fill the unit square more evenly than independent ones would.
    """
    rank = jnp.argsort(jnp.argsort(expected)).astype(jnp.uint32)
    start = jax.random.bits(key, (), jnp.uint32)
    return ((start + rank * jnp.uint32(GOLDEN)) >> 8).astype(jnp.float32) * 2.0**-24


def picked(log_weights: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One of K in proportion to its weight, (n, K) -> (n,), by uniform numbers (n,), and what is left of these."""
    weights = jnp.exp(log_weights - log_weights.max(-1, keepdims=True))
    upto = jnp.cumsum(weights, -1)
    mark = u * ONE * upto[:, -1]
    chosen = jnp.minimum((upto <= mark[:, None]).sum(-1), log_weights.shape[-1] - 1).astype(jnp.int32)
    take = lambda part: jnp.take_along_axis(part, chosen[:, None], -1)[:, 0]
    own = take(weights)
    return chosen, jnp.clip((mark - take(upto) + own) / jnp.maximum(own, 1e-30), 0.0, ONE)
