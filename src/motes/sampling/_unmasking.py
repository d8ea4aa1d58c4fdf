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

from motes._precision import put
from motes.learning.tables._base import Ordered, in_orders
from motes.learning.tables._calibration import FLOOR, bias_of
from motes.learning.tables._density import Near
from motes.learning.tables._layout import FAR, Layout
from motes.learning.tables._links import Derived, bits_of, shares_of
from motes.learning.tables._model import MaskedModel, each_member
from motes.learning.tables._network import Rows
from motes.learning.tables._reveal import (
    Entry,
    Outlook,
    Place,
    Prepared,
    Seen,
    Spot,
    log_prob_of,
    nothing_seen,
    outlook,
    prepare,
    seen_after,
)
from motes.learning.tables._rows import Reader
from motes.sampling._choosing import Choice, choose

Array = NDArray[np.float64]
ROWS = 8192  # of one compiled program
FEW = 256  # of the program for a few rows
MATRICES = 2**25  # numbers in the matrices of a block of rows, at most, if more rows than FEW are to share it
COARSE = 2.0**-10  # below which the digits of single precision are drawn anew


class Within(NamedTuple):
    """What of a part may be drawn.

    Attributes:
        shares: (K,) or (n, K), the share of each code that may.
        low, high: the interval of y that may, numbers or (n,); of labels it says nothing.
    """

    shares: Array
    low: Any
    high: Any


@dataclass(frozen=True, eq=False)
class Unmasker:
    """A model in one order of its parts, ready to draw and to score.

    Attributes:
        layout: of the table.
        reader: between places and codes.
        prepared: the members.
        order: place -> part, (p,).
        spots: where each part of the order is.
        ranges: the interval of y in which each part is drawn; None for labels.
        plain: the logits of each group without biases.
        ranks: (n, A + 1), the place of each axis of the base in an order of each row, and A for an axis that there is
            not; None: all have the order of the parts.
    """

    layout: Layout
    reader: Reader
    prepared: Prepared
    order: NDArray[np.integer]
    spots: list[tuple[Place, Spot]]
    ranges: Sequence[tuple[float, float] | None]
    plain: tuple[jax.Array, ...]
    ranks: NDArray[np.integer] | None = None

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
        prepared = _prepared(models, layout.on_device, jax.device_put(order))
        spots, plain = spots_of(layout, order), prepared.heads.code_bias
        return cls(layout, reader, prepared, np.asarray(order), spots, ranges, plain)

    def of_rows(self, observed: NDArray[np.bool_]) -> "Unmasker":
        """The same model for n rows, each with an order in which its observed numbers, of (n, p), come first.

        What is observed has to be shown before anything is drawn, all of it in the order of the parts.
        """
        turns = _axes_in_turn(self.layout, self.order)
        seen = observed[:, self.layout.axes[turns]]
        orders = turns[np.argsort(~seen, axis=1, kind="stable")]
        base = _base_of_rows(self.prepared.model, jax.device_put(orders))
        ranks = np.pad(np.argsort(orders, axis=1), ((0, 0), (0, 1)), constant_values=len(turns))
        return replace(self, prepared=self.prepared._replace(base=base), ranks=ranks)

    def take(self, rows: NDArray[np.integer]) -> "Unmasker":
        """For some of the rows of `of_rows`, perhaps several times each."""
        assert self.ranks is not None
        base = jax.tree.map(lambda part: jnp.take(part, rows, axis=1), self.prepared.base)
        return replace(self, prepared=self.prepared._replace(base=base), ranks=self.ranks[rows])

    @property
    def most_rows(self) -> int:
        """Rows of a block in which each has an order: a matrix of each takes memory."""
        members, (components, axes) = len(self.plain[0]), self.prepared.base.means.shape[-2:]
        return ROWS if ROWS * members * components * axes**2 <= MATRICES else FEW

    def everything(self, j: int) -> Within:
        """All of part j that is ever drawn."""
        scale, drawn = self.reader.scales[j], self.ranges[j]
        low, high = (-FAR, FAR) if drawn is None or scale is None else drawn
        if scale is not None:
            low, high = (-FAR if scale.first else low), (FAR if scale.last else high)
        return Within(np.ones(self.layout.sizes[j]), low, high)

    def start(self, rows: int) -> Seen:
        """Rows of which nothing is known."""
        return _nothing_seen(self.prepared, rows)

    def show(self, seen: Seen, k: int, codes: Any, y: Any, u: Any, here: Any) -> Seen:
        """The part in place k of the order is seen in the rows `here`."""
        place, spot = self._turn(k)
        entry = Entry(put(codes, np.int32), put(y), put(u), put(here, bool))
        return _show(self.layout.on_device, self.prepared, seen, place, spot, entry)

    def draw(
        self,
        seen: Seen,
        k: int,
        within: Within,
        key: jax.Array,
        rng: np.random.Generator,
        derived: Sequence[Derived],
    ) -> tuple[Any, Any, Any, Array]:
        """Draw the part in place k of the order: codes, places, ranks and log p of what is within, (n,) each.

        Args:
            seen: of the parts before.
            k: the place.
            within: what may be drawn.
            key, rng: of what is random.
            derived: what the part's relations give, where it has any.
        """
        j = int(self.order[k])
        made = self._choice(seen, k, within, key, derived)
        link, codes, normal, means, sds, low, high, rest, log_within = (np.asarray(part) for part in made)
        scale = self.reader.scales[j]
        u = (rest + rng.random(len(codes)) * COARSE) % 1.0  # with all digits, and as uniform as before
        if scale is None:
            for r, one in enumerate(derived, 1):
                codes = np.where(link == r, one.codes, codes)
            return codes, np.zeros(len(codes)), np.zeros(len(codes)), log_within.astype(np.float64)
        inside = np.minimum(codes, len(scale.points) - 1)
        y = scale.placed(inside, u, within.low, within.high)
        if normal.any():
            which = np.flatnonzero(normal)
            mean, sd, a, b = (part[which].astype(float) for part in (means, sds, low, high))
            y[which] = cut_normal(mean, sd, a, b, u[which])
            y = np.clip(y, scale.ends[0], scale.ends[-1])
            codes = np.array(codes)
            codes[which] = self.reader.code_at(j, y[which])
        for r, one in enumerate(derived, 1):
            codes, y = np.where(link == r, one.codes, codes), np.where(link == r, one.y, y)
        return *self.reader.settle(j, codes, y), log_within.astype(np.float64)

    def log_within(self, seen: Seen, k: int, within: Within, derived: Sequence[Derived]) -> Array:
        """log p of what is within, (n,), for the part in place k of the order; arguments as those of `draw`."""
        return np.asarray(self._choice(seen, k, within, jax.random.key(0), derived).log_within, np.float64)

    def _choice(self, seen: Seen, k: int, within: Within, key: jax.Array, derived: Sequence[Derived]) -> Choice:
        j, (_, spot) = int(self.order[k]), self._turn(k)
        padded = self.layout.groups[spot.group].log_masses.shape[1]
        shares = np.zeros((*within.shares.shape[:-1], padded))
        shares[..., : within.shares.shape[-1]] = within.shares
        with np.errstate(divide="ignore"):
            log_shares = put(np.log(shares))
        low, high = (put(np.clip(end, -FAR, FAR)) for end in within[1:])
        fits = _fitting(derived, within, self.layout.links.log_odds.shape[1])
        views = self.view(seen, k, derived)
        return choose(views, self._bins(j), log_shares, low, high, self._near(derived).could, fits, key)

    def _bins(self, j: int) -> tuple[jax.Array, jax.Array] | None:
        """The edges (T+1,) of the bins of part j, and the bin of each of its codes (K,); None: it has no density."""
        line = self.layout.line_place[j]
        if line < 0:
            return None
        return jax.device_put(self.layout.bins.edges[line]), jax.device_put(self.layout.bins.of_code[line])

    def _turn(self, k: int) -> tuple[Place, Spot]:
        """Where the part in place k of the order is, in all rows or in each."""
        place, spot = self.spots[k]
        if self.ranks is None:
            return place, spot
        ranks = self.ranks[:, self.layout.axes_of(int(self.order[k]))].T
        return place._replace(ranks=put(ranks, np.int32)), spot

    def _near(self, derived: Sequence[Derived]) -> Near:
        """What relations give, (n, R), of at most R; (1, R) where there are none."""
        shape = len(derived[0].codes) if derived else 1, self.layout.links.log_odds.shape[1]
        y, could = np.zeros(shape, np.float32), np.zeros(shape, bool)
        for r, one in enumerate(derived):
            y[:, r], could[:, r] = one.places, one.possible
        return Near(*jax.device_put((y, could)))

    def log_prob(self, seen: Seen, k: int, entry: Rows) -> Array:
        """log p of the part in place k of the order, (n,), given what is seen; the mean of the members' p."""
        place, spot = self._turn(k)
        if spot.linked:  # a relation takes part once all its other parts are before it
            others = self.layout.links.others[int(place.link)]
            ready = ~others[:, self.order[k:]].any(axis=1)
            entry = entry._replace(could=entry.could & int((ready << np.arange(len(ready))).sum()))
        near = Near(entry.given, bits_of(entry.could, entry.given.shape[-1])) if spot.linked else self._near([])
        views = _view(self.layout.on_device, self.prepared, seen, place, spot, near)
        return np.asarray(_log_prob(views, self._bins(int(self.order[k])), entry), np.float64)

    def view(self, seen: Seen, k: int, derived: Sequence[Derived]) -> Outlook:
        """The members' distributions of the part in place k, (M, n, ...); arguments as those of `draw`."""
        place, spot = self._turn(k)
        return _view(self.layout.on_device, self.prepared, seen, place, spot, self._near(derived))

    def derived(self, j: int, codes: NDArray[np.integer], y: Array, visible: NDArray[np.bool_]) -> list[Derived]:
        """What the relations of part j give of the visible entries (n, p); nothing for a part without relations."""
        linker = self.reader.linker
        return [*linker.derived(j, codes, y, visible)] if j in linker.of_part else []

    def calibrated(self, shares: Sequence[Array], seed: int) -> list[jax.Array]:
        """The biases (M, G, K) of each group with which codes of drawn rows have these shares; see `calibration`."""
        rows = ROWS  # as many as are drawn at a time, by the same programs
        rng, key = np.random.default_rng([seed, 112358]), jax.random.key(seed)
        made = [np.array(bias) for bias in self.no_bias]
        seen, everywhere, unmasker, p = self.start(rows), np.ones(rows, bool), self, self.layout.parts
        codes, y, visible = np.zeros((rows, p), np.int32), np.zeros((rows, p)), np.zeros((rows, p), bool)
        for k, j in enumerate(map(int, self.order)):
            place, spot = self.spots[k]
            padded = self.layout.groups[spot.group].log_masses.shape[1]
            derived = self.derived(j, codes, y, visible)
            views = jax.tree.map(np.asarray, unmasker.view(seen, k, derived))
            for member in range(len(made[spot.group])):
                view = jax.tree.map(lambda part, member=member: part[member], views)
                target, rest = _left(view, derived, np.pad(shares[j], (0, padded - len(shares[j]))))
                bias, tilt = bias_of(self.layout, view, place, spot, target, rest)
                made[spot.group][member, int(place.member)] = bias
                if tilt is not None:
                    made[-1][member, int(place.line)] = tilt
            unmasker = unmasker.with_bias(made)
            drawn = unmasker.draw(seen, k, unmasker.everything(j), jax.random.fold_in(key, k), rng, derived)
            codes[:, j], y[:, j], visible[:, j] = drawn[0], drawn[1], True
            if k < p - 1:
                seen = unmasker.show(seen, k, *drawn[:3], everywhere)
        return jax.device_put(made)

    @property
    def no_bias(self) -> list[jax.Array]:
        """Biases that change nothing: of the codes of each group (M, G, K), and of the bins of the lines (M, L, T)."""
        every = (*self.plain, self.prepared.tilt)
        return [put(np.zeros(bias.shape)) for bias in every]

    def with_bias(self, bias: Sequence[Any]) -> "Unmasker":
        """The same model with biases, as `no_bias` has them, in the place of those that it has now."""
        moved = tuple(put(np.add(a, b)) for a, b in zip(self.plain, bias[:-1], strict=True))
        heads = self.prepared.heads._replace(code_bias=moved)
        return replace(self, prepared=self.prepared._replace(heads=heads, tilt=put(bias[-1])))


def spots_of(layout: Layout, order: NDArray[np.integer]) -> list[tuple[Place, Spot]]:
    """Where each part of an order is."""
    lines = layout.line_place
    rank = np.append(np.argsort(_axes_in_turn(layout, order)), len(layout.axes))
    made = []
    for j in map(int, order):
        group = next(g for g, one in enumerate(layout.groups) if j in one.parts)
        member = int(np.flatnonzero(layout.groups[group].parts == j)[0])
        on = bool(lines[j] >= 0)
        number = lambda value: put(value, np.int32)
        level = bool((layout.levels.axis[j] >= 0).any())
        linked = np.flatnonzero(layout.links.parts == j)
        link = int(linked[0]) if len(linked) else 0
        place = Place(
            number(j), number(member), number(max(int(lines[j]), 0)), number(rank[layout.axes_of(j)]), number(link)
        )
        made.append((place, Spot(group, on, level, bool(len(linked)))))
    return made


def _axes_in_turn(layout: Layout, order: NDArray[np.integer]) -> NDArray[np.integer]:
    """The axes of the base, (A,), in the order of their parts (p,)."""
    return np.argsort(np.argsort(order)[layout.axes], kind="stable")


def cut_normal(mean: Array, sd: Array, low: Array, high: Array, u: Array) -> Array:
    """Quantiles u of N(mean, sd^2) between low and high, (n,) each. Far tails keep their digits."""
    a, b = (low - mean) / sd, (high - mean) / sd
    flip = a + b > 0
    a, b, u = np.where(flip, -b, a), np.where(flip, -a, b), np.where(flip, 1 - u, u)
    log_a, log_b = log_ndtr(a), log_ndtr(b)
    z = ndtri_exp(log_b + np.log(u + (1 - u) * np.exp(np.minimum(log_a - log_b, 0.0))))
    return np.clip(mean + sd * np.where(flip, -z, z), low, high)


# --- compiled ---------------------------------------------------------------------------------------------------------


def _left(view: Outlook, derived: Sequence[Derived], shares: Array) -> tuple[jax.Array, jax.Array]:
    """Of the shares of a part's codes (K,) what its relations do not give, and the share of each row (n,) for that."""
    rest = np.ones(len(view.log_codes))
    if derived:
        assert view.links is not None
        pi, rest = shares_of(view.links, derived)
        given = sum(np.bincount(one.codes, pi[:, r], len(shares)) / len(rest) for r, one in enumerate(derived))
        shares = np.maximum(shares - given, FLOOR * shares)
    return put(shares), put(rest)


def _fitting(derived: Sequence[Derived], within: Within, most: int) -> jax.Array:
    """Which of at most so many relations give a value that may be drawn, (n, most)."""
    n = len(derived[0].codes) if derived else 1
    fits = np.zeros((n, most), bool)
    for r, one in enumerate(derived):
        allowed = np.broadcast_to(within.shares, (n, within.shares.shape[-1]))[np.arange(n), one.codes] > 0
        fits[:, r] = one.possible & allowed & (one.y >= within.low) & (one.y <= within.high)
    return jax.device_put(fits)


@jax.jit
def _prepared(models: MaskedModel, layout: Layout, order: jax.Array) -> Prepared:
    return prepare(models, layout, order)


@partial(jax.jit, static_argnums=1)
def _nothing_seen(prepared: Prepared, rows: int) -> Seen:
    return nothing_seen(prepared, rows)


@jax.jit
def _base_of_rows(models: MaskedModel, orders: jax.Array) -> Ordered:
    """(M, n, ...), of orders (n, A)."""
    return each_member(lambda model: in_orders(model.base, orders))(models)


@partial(jax.jit, static_argnums=4)
def _show(layout: Layout, prepared: Prepared, seen: Seen, place: Place, spot: Spot, entry: Entry) -> Seen:
    one = lambda prepared, seen: seen_after(layout, prepared, seen, place, spot, entry)
    return each_member(one)(prepared, seen)


@partial(jax.jit, static_argnums=4)
def _view(layout: Layout, prepared: Prepared, seen: Seen, place: Place, spot: Spot, near: Near) -> Any:
    one = lambda prepared, seen: outlook(layout, prepared, seen, place, spot, near)
    return each_member(one)(prepared, seen)


@jax.jit
def _log_prob(views: Outlook, bins: tuple[jax.Array, jax.Array] | None, entry: Rows) -> jax.Array:
    found = each_member(lambda view: log_prob_of(view, None if bins is None else bins[1], entry))(views)
    return jax.nn.logsumexp(found, 0) - jnp.log(len(found))
