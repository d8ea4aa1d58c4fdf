"""Generating rows: parts are unmasked in order, each drawn from its conditional distribution.

The first section draws one part of each of n rows: a token, a Gaussian, or the value from a relation. A member of the
ensemble is drawn by its probability of the allowed interval, then a bin by its share, and within the bin a token or a
Gaussian. One uniform number serves for the last two steps, because its remainder after a choice is uniform again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from motes.errors import ModelFileError
from motes.tables.base import OrderedBase, in_orders
from motes.tables.layout import BINS, FAR, Derived, Layout, bits_of, shares_of
from motes.tables.masking import (
    ObservedCodes,
    Place,
    PreparedModel,
    Revealed,
    Spot,
    TokenPrediction,
    bias_of,
    log_prob_of,
    nothing_seen,
    outlook,
    prepare,
    seen_after,
)
from motes.tables.network import TINY, EncodedRows, MaskedModel, Near, Reader, masses
from motes.training.programs import drawing_program, each_member, put

GOLDEN = 2654435769  # 2^32 over the golden ratio
EVEN = 1e-6  # noise that shuffles rows with equal predictions
ONE = 1 - 1e-6  # avoids a choice beyond the last one through rounding


class Choice(NamedTuple):
    """The choices for n rows, (n,) each.

    Attributes:
        link: the chosen relation, counted from 1; 0 for none.
        codes: otherwise the chosen token.
        normal, means, sds: whether a Gaussian is chosen instead, with its mean and standard deviation,
        low, high: truncated to this interval.
        rest: the remainder of the uniform number of the choice, itself uniform.
        log_within: log-probability of the allowed values.
    """

    link: jax.Array
    codes: jax.Array
    normal: jax.Array
    means: jax.Array
    sds: jax.Array
    low: jax.Array
    high: jax.Array
    rest: jax.Array
    log_within: jax.Array


class Chances(NamedTuple):
    """The random numbers of a choice. NumPy draws them: JAX would compile a program for each kind of number.

    Attributes:
        member, link, ties: uniform numbers, (n,).
        shift: 32 bits, ().
    """

    member: Any
    link: Any
    ties: Any
    shift: Any

    @classmethod
    def of(cls, rng: np.random.Generator, n: int) -> "Chances":
        """Draw the random numbers of n rows."""
        member, link, ties = rng.random((3, n), np.float32)
        return cls(member, link, ties, np.asarray(rng.integers(2**32, dtype=np.uint32)))


class Binned(NamedTuple):
    """A density by bins: the share of each expert in each bin, for each member and row."""

    bins: jax.Array
    """(K,), the bin of each token; BINS if it has none."""
    ends: jax.Array
    """(n, T+1), the edges of the bins within the allowed interval."""
    code_shares: jax.Array
    """(M, n, T+1), shares of the tokens."""
    normal_parts: jax.Array
    """(M, n, T, C), shares of each Gaussian."""


def _bin_shares(
    views: TokenPrediction, lattice: tuple[jax.Array, jax.Array] | None, log_codes: jax.Array, low: Any, high: Any
) -> Binned | None:
    """Compute the shares of the bins; None if the part has no density."""
    if views.normals is None or views.tilt is None or lattice is None:
        return None
    edges, of_code = lattice
    n = log_codes.shape[1]
    bins = jnp.pad(of_code, (0, max(0, log_codes.shape[-1] - len(of_code))), constant_values=BINS)
    bins = bins[: log_codes.shape[-1]]
    first, last = (jnp.broadcast_to(end, (n,))[:, None] for end in (low, high))
    ends = jnp.clip(edges, first, last)  # (n, T+1)
    tilt, total = views.tilt
    by = jnp.exp(views.gate[..., 1:] + tilt[..., :-1] - total[..., None])[..., None]
    normal_parts = by * masses(views.normals, ends)  # (M, n, T, C)
    code_shares = jnp.exp(log_codes + views.gate[..., :1]) @ jax.nn.one_hot(bins, BINS + 1)
    return Binned(bins, ends, code_shares, normal_parts)


@drawing_program()
def choose(
    views: TokenPrediction,
    back: Any,
    lattice: tuple[jax.Array, jax.Array] | None,
    log_shares: Any,
    low: Any,
    high: Any,
    could: Any,
    fits: Any,
    chances: Chances,
) -> Choice:
    """Draw one part of each of n rows.

    Args:
        views: the members' predictions, (M, n, ...); with `back` each row has one member, and they are (M, m, ...).
        back: index of each row among these rows of all members, (n,).
        lattice: edges of the bins (T+1,) and the bin of each token (K,); None for a part without a density.
        log_shares: (K,) or (n, K), log of the allowed share of each token.
        low, high: the allowed interval.
        could, fits: which relations give a value, and which give an allowed value, (n, R).
        chances: the random numbers.
    """
    if back is not None:
        views = jax.tree.map(lambda part: part.reshape(1, -1, *part.shape[2:])[:, back], views)
    members, n = views.gate.shape[:2]
    log_codes = views.log_codes + log_shares  # (M, n, K)
    binned = _bin_shares(views, lattice, log_codes, low, high)
    if binned is None:
        shares = jnp.exp(log_codes)
    else:
        shares = binned.code_shares + jnp.pad(binned.normal_parts.sum(-1), ((0, 0), (0, 0), (0, 1)))
    both = jnp.log(shares.sum(-1))
    link = jnp.zeros(n, jnp.int32)
    if views.links is not None:
        rho = jnp.concatenate([both[..., None], jnp.where(fits, views.links, -jnp.inf)], -1)
        log_rest = jnp.logaddexp(0.0, jax.nn.logsumexp(jnp.where(could, views.links, -jnp.inf), -1))
        within = jax.nn.logsumexp(rho, -1) - log_rest
    else:
        within = both
    log_within = jax.nn.logsumexp(within, 0) - jnp.log(members)
    member = jnp.zeros(n, int) if members == 1 else picked(jnp.exp(_shift_logs(within.T)), chances.member)[0]
    if views.links is not None:
        link = picked(jnp.exp(_shift_logs(_select_member(rho, member))), chances.link)[0]
    # Rows with similar predictions get evenly spread numbers, so that their shares are closer to the predicted ones.
    shares = _select_member(shares, member)
    expected = (shares @ jnp.arange(shares.shape[-1])) / shares.sum(-1)
    expected = expected + EVEN * chances.ties
    chosen, rest = picked(shares, spread_evenly(expected, chances.shift))
    if views.normals is None or binned is None:
        none = jnp.zeros(n)
        return Choice(link, chosen, none > 0, none, none, none, none, rest, log_within)
    of_member = lambda part: _select_member(part, member)
    binned = binned._replace(code_shares=of_member(binned.code_shares), normal_parts=of_member(binned.normal_parts))
    normal, codes, component, rest = _choose_in_bin(binned, of_member(log_codes), shares, chosen, rest)
    means, sds = (_select_entry(of_member(part), component) for part in (views.normals.means, views.normals.sds))
    low, high = (_select_entry(binned.ends, jnp.minimum(chosen, BINS - 1) + end) for end in (0, 1))
    return Choice(link, codes, normal, means, sds, low, high, rest, log_within)


def _choose_in_bin(
    binned: Binned, log_codes: jax.Array, shares: jax.Array, chosen: jax.Array, rest: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Choose between tokens and Gaussians within the chosen bins; return the choice, both indices, and the remainder.

    All arrays are for one member, without the axis of the members, and (n,).
    """
    share = _select_entry(binned.code_shares, chosen) / jnp.maximum(_select_entry(shares, chosen), TINY)
    normal = rest >= share
    rest = jnp.where(normal, (rest - share) / jnp.maximum(1 - share, TINY), rest / jnp.maximum(share, TINY))
    rest = jnp.clip(rest, 0.0, ONE)
    codes, rest_of_code = picked(jnp.where(binned.bins == chosen[:, None], jnp.exp(log_codes), 0.0), rest)
    inside = jnp.minimum(chosen, BINS - 1)
    parts = jnp.take_along_axis(binned.normal_parts, inside[:, None, None], 1)[:, 0]  # (n, C)
    component, rest_of_normal = picked(parts, rest)
    return normal, codes, component, jnp.where(normal, rest_of_normal, rest_of_code)


def _select_member(part: jax.Array, member: jax.Array) -> jax.Array:
    """Select the member (n,) of each row from an array (M, n, ...)."""
    return jnp.take_along_axis(part, member.reshape(1, len(member), *(1,) * (part.ndim - 2)), 0)[0]


def _select_entry(part: jax.Array, which: jax.Array) -> jax.Array:
    """Select the entry `which` (n,) of each row of an array (n, K)."""
    return jnp.take_along_axis(part, which[:, None], -1)[:, 0]


def _shift_logs(log_weights: jax.Array) -> jax.Array:
    """Shift logarithms (..., K) so that the largest is 0."""
    return log_weights - log_weights.max(-1, keepdims=True)


def spread_evenly(expected: jax.Array, start: Any) -> jax.Array:
    """Return uniform numbers (n,) that are spread evenly among rows with neighbouring `expected` (n,).

    They are a Kronecker sequence with a random start along the rank of the rows (Owen 2013, chapter 17): each number is
    uniform, and together with the rank they fill the unit square more evenly than independent numbers. `start` is 32
    random bits.
    """
    rank = jnp.argsort(jnp.argsort(expected)).astype(jnp.uint32)
    return ((start + rank * jnp.uint32(GOLDEN)) >> 8).astype(jnp.float32) * 2.0**-24


def picked(weights: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw indices (n,) in proportion to weights (n, K) by uniform numbers (n,); also return the remainders."""
    upto = jnp.cumsum(weights, -1)
    mark = u * ONE * upto[:, -1]
    chosen = jnp.minimum((upto <= mark[:, None]).sum(-1), weights.shape[-1] - 1).astype(jnp.int32)
    take = lambda part: jnp.take_along_axis(part, chosen[:, None], -1)[:, 0]
    own = take(weights)
    return chosen, jnp.clip((mark - take(upto) + own) / jnp.maximum(own, 1e-30), 0.0, ONE)


# --- Rows revealed part by part, for sampling or scoring: each part given the parts already visible ------------------
#
#     x_j ~ g_j a(. | visible) + (1 - g_j) sum_c w_c N(. | visible)
#     log p(x) = sum over j of log p(x_j | parts before it)
#
# This is the reverse process of masked diffusion with one part per step. A compiled program draws a token or a
# Gaussian. The place within it is drawn in float64 and rounded to the nearest value of the column, which the next step
# sees. Each block of rows has its own random numbers, so that a seed gives the same rows, however many are drawn.


Array = NDArray[np.float64]
ROWS = 1024  # rows of one compiled program
FEW = 256  # rows of the program with an order for each row, if its matrices are large
CALIBRATED = 8  # blocks of rows drawn for calibration
MATRICES = 2**25  # maximum size of the matrices of a block with ROWS instead of FEW rows
FLOOR = 0.05  # minimum part of a token's share that is left for the network besides relations
COARSE = 2.0**-10  # smaller digits of single precision are drawn again


class Within(NamedTuple):
    """The allowed values of a part.

    Attributes:
        shares: (K,) or (n, K), the allowed share of each token.
        low, high: the allowed interval of y, numbers or (n,); ignored for labels.
    """

    shares: Array
    low: Any
    high: Any


@dataclass
class _Calibrating:
    """A block of rows drawn for calibration: the visible entries, tokens, places, and values from relations."""

    seen: ObservedCodes
    codes: NDArray[np.int32]
    y: Array
    visible: NDArray[np.bool_]
    derived: Sequence[Derived]

    @classmethod
    def of(cls, seen: ObservedCodes, parts: int) -> "_Calibrating":
        """Return a block of fully masked rows."""
        shape = seen.total.shape[1], parts
        return cls(seen, np.zeros(shape, np.int32), np.zeros(shape), np.zeros(shape, bool), [])


@dataclass(frozen=True, eq=False)
class MaskedDenoiser:
    """A model in one order of its parts, prepared for sampling and scoring.

    Attributes:
        layout: layout of the table.
        reader: converts between places and tokens.
        prepared: the prepared members.
        order: place -> part, (p,).
        spots: location of each part of the order in the model's arrays.
        ranges: the interval of y to which draws of each part are limited; None for labels.
        plain: the logits of each group without biases.
        ranks: (n, A + 1), the place of each axis of the base in each row's own order, and A for an absent axis; None if
            all rows have the order of the parts.
        kept: cache of program arguments on the device.
    """

    layout: Layout
    reader: Reader
    prepared: PreparedModel
    order: NDArray[np.integer]
    spots: list[tuple[Place, Spot]]
    ranges: Sequence[tuple[float, float] | None]
    plain: tuple[jax.Array, ...]
    ranks: NDArray[np.integer] | None = None
    kept: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        models: MaskedModel,
        layout: Layout,
        reader: Reader,
        order: NDArray[np.integer],
        ranges: Sequence[tuple[float, float] | None],
    ) -> "MaskedDenoiser":
        """Prepare members for an order."""
        prepared = prepare(models, layout.on_device, jax.device_put(order))
        spots, plain = spots_of(layout, order), prepared.heads.code_bias
        return cls(layout, reader, prepared, np.asarray(order), spots, ranges, plain)

    def of_rows(self, observed: NDArray[np.bool_]) -> "MaskedDenoiser":
        """Return the model for n rows, each with an order in which its observed numbers, of (n, p), come first.

        Show all observed entries, in the order of the parts, before you draw any part.
        """
        turns = _axes_in_turn(self.layout, self.order)
        seen = observed[:, self.layout.axes[turns]]
        orders = turns[np.argsort(~seen, axis=1, kind="stable")]
        base = _factorise_bases(self.prepared.model, jax.device_put(orders))
        ranks = np.pad(np.argsort(orders, axis=1), ((0, 0), (0, 1)), constant_values=len(turns))
        return replace(self, prepared=self.prepared._replace(base=base), ranks=ranks)

    def take(self, rows: NDArray[np.integer]) -> "MaskedDenoiser":
        """Select some of the rows of `of_rows`, with repeats."""
        assert self.ranks is not None
        base = jax.tree.map(lambda part: jnp.take(part, rows, axis=1), self.prepared.base)
        return replace(self, prepared=self.prepared._replace(base=base), ranks=self.ranks[rows])

    @property
    def most_rows(self) -> int:
        """The block size if each row has its own order, and so its own matrices, which take memory."""
        members, (components, axes) = len(self.plain[0]), self.prepared.base.means.shape[-2:]
        return ROWS if ROWS * members * components * axes**2 <= MATRICES else FEW

    def everything(self, j: int) -> Within:
        """Return all values of part j that are ever drawn."""
        scale, drawn = self.reader.scales[j], self.ranges[j]
        low, high = (-FAR, FAR) if drawn is None or scale is None else drawn
        if scale is not None:
            low, high = (-FAR if scale.first else low), (FAR if scale.last else high)
        return self._cached(("everything", j, drawn), lambda: Within(np.ones(self.layout.sizes[j]), low, high))

    def _cached(self, name: Any, make: Callable[[], Any]) -> Any:
        """Compute a value once and cache it: moving it to the device takes longer than using it."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def start(self, rows: int) -> ObservedCodes:
        """Return fully masked rows."""
        return nothing_seen(self.layout.on_device, self.prepared, rows)

    def show(self, seen: ObservedCodes, k: int, codes: Any, y: Any, u: Any, here: Any) -> ObservedCodes:
        """Reveal the part in place k of the order in the rows `here`."""
        place, _ = self._locate(k)
        made: Any = map(np.asarray, (codes, y, u, here), (np.int32, np.float32, np.float32, bool))
        entry = Revealed(*made)
        return seen_after(self.layout.on_device, self.prepared, seen, place, entry)

    def draw(
        self,
        seen: ObservedCodes,
        k: int,
        within: Within,
        rng: np.random.Generator,
        derived: Sequence[Derived],
        *,
        split: bool = False,
    ) -> tuple[Any, Any, Any, Array]:
        """Draw the part in place k of the order: tokens, places, ranks and log p of the allowed values, (n,) each.

        Args:
            seen: the visible parts.
            k: place in the order.
            within: the allowed values.
            rng: random generator.
            derived: the values from the part's relations, if it has any.
            split: evaluate one member for each row, with equally many rows per member; log p is the member's. If all
                values are allowed, the distribution is the same as with all members for each row, at a fraction of
                the cost.
        """
        j = int(self.order[k])
        made = self._draw_choice(seen, k, within, rng, derived, split=split)
        link, codes, normal, means, sds, low, high, rest, log_within = (np.asarray(part) for part in made)
        scale = self.reader.scales[j]
        u = (rest + rng.random(len(codes)) * COARSE) % 1.0  # adds digits and stays uniform
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
        if np.isnan(y).any() or codes.min(initial=0) < 0:
            raise ModelFileError(
                f"the network's output for part {j + 1} of the columns is not finite. The model file is damaged, or "
                "its training diverged. Train again."
            )
        for r, one in enumerate(derived, 1):
            codes, y = np.where(link == r, one.codes, codes), np.where(link == r, one.y, y)
        return *self.reader.settle(j, codes, y), log_within.astype(np.float64)

    def log_within(self, seen: ObservedCodes, k: int, within: Within, derived: Sequence[Derived]) -> Array:
        """Compute log p of the allowed values, (n,), for the part in place k of the order; arguments as in `draw`."""
        return np.asarray(self._draw_choice(seen, k, within, np.random.default_rng(0), derived).log_within, np.float64)

    def _draw_choice(
        self,
        seen: ObservedCodes,
        k: int,
        within: Within,
        rng: np.random.Generator,
        derived: Sequence[Derived],
        *,
        split: bool = False,
    ) -> Choice:
        j, (_, spot) = int(self.order[k]), self._locate(k)
        padded, most = self.layout.groups[spot.group].log_masses.shape[1], self.layout.links.log_odds.shape[1]
        allowed = lambda: _allowed_arguments(within, padded)
        shares, low, high = (
            self._cached(("allowed", j, self.ranges[j]), allowed) if within is self.everything(j) else allowed()
        )
        fits = (
            _fitting_relations(derived, within, most)
            if derived
            else self._cached("fits", lambda: put(np.zeros((1, most)), bool))
        )
        if split:
            rows = self.shares_of_members(seen, rng)
            views, back = self.view(seen, k, derived, rows), np.argsort(rows.ravel()[: seen.total.shape[1]])
        else:
            views, back = self.view(seen, k, derived), None
        return choose(
            views, back, self._bins(j), shares, low, high, self._relation_values(derived).could, fits,
            Chances.of(rng, seen.total.shape[1]),
        )  # fmt: skip

    def shares_of_members(self, seen: ObservedCodes, rng: np.random.Generator) -> NDArray[np.int32]:
        """Assign the rows to the members at random, (M, n / M); some rows occur twice if M does not divide n."""
        members, n = seen.total.shape[:2]
        size = -(-n // members)
        return np.resize(rng.permutation(n), (members, size)).astype(np.int32)

    def _bins(self, j: int) -> tuple[jax.Array, jax.Array] | None:
        """Return the edges (T+1,) of the bins of part j, and the bin of each token (K,); None without a density."""
        line = self.layout.line_place[j]
        if line < 0:
            return None
        bins = self.layout.bins
        return self._cached(("bins", j), lambda: jax.device_put((bins.edges[line], bins.of_code[line])))

    def _locate(self, k: int) -> tuple[Place, Spot]:
        """Return the location of the part in place k of the order, for all rows or for each row."""
        place, spot = self.spots[k]
        if self.ranks is None:
            return place, spot
        ranks = self.ranks[:, self.layout.axes_of(int(self.order[k]))].T
        return place._replace(ranks=put(ranks, np.int32)), spot

    def _relation_values(self, derived: Sequence[Derived]) -> Near:
        """Return the values from at most R relations, (n, R); (1, R) if there are none."""
        most = self.layout.links.log_odds.shape[1]
        if not derived:
            return self._cached(
                "near", lambda: Near(*jax.device_put((np.zeros((1, most), np.float32), np.zeros((1, most), bool))))
            )
        y, could = np.zeros((len(derived[0].codes), most), np.float32), np.zeros((len(derived[0].codes), most), bool)
        for r, one in enumerate(derived):
            y[:, r], could[:, r] = one.places, one.possible
        return Near(*jax.device_put((y, could)))

    def log_prob(self, seen: ObservedCodes, k: int, entry: EncodedRows, first: int | None = None) -> Array:
        """Compute log p of the part in place k of the order, (n,), given the visible parts; p is the members' mean.

        With `first`, only for that many rows; the others are padding.
        """
        place, spot = self.spots[k]
        if spot.linked:  # a relation applies once all its other parts are visible
            others = self.layout.links.others[int(place.link)]
            ready = ~others[:, self.order[k:]].any(axis=1)
            entry = entry._replace(could=entry.could & int((ready << np.arange(len(ready))).sum()))
        near = (
            Near(entry.given, bits_of(entry.could, entry.given.shape[-1])) if spot.linked else self._relation_values([])
        )
        members, n = seen.total.shape[:2]
        made, size = np.zeros(n), -(-n // members)
        for start in range(0, first or n, size):  # with the sampling program, which evaluates this many rows per member
            rows = np.arange(start, start + size) % n
            some = EncodedRows(*(part[rows] for part in entry))
            views = self._view(seen, k, near, np.tile(rows, (members, 1)).astype(np.int32))
            found = np.asarray(_log_prob(views, self._bins(int(self.order[k])), some), np.float64)
            made[start : start + size] = found[: n - start]
        return made

    def view(
        self, seen: ObservedCodes, k: int, derived: Sequence[Derived], rows: NDArray[np.integer] | None = None
    ) -> TokenPrediction:
        """Predict the part in place k with each member, (M, n, ...), or for the `rows` (M, m) of each member.

        Arguments as in `draw`.
        """
        return self._view(seen, k, self._relation_values(derived), rows)

    def _view(self, seen: ObservedCodes, k: int, near: Near, rows: NDArray[np.integer] | None) -> TokenPrediction:
        place, spot = self._locate(k)
        return _view(self.layout.on_device, self.prepared, seen, place, spot, near, rows)

    def derived(self, j: int, codes: NDArray[np.integer], y: Array, visible: NDArray[np.bool_]) -> list[Derived]:
        """Return the values from the relations of part j given the visible entries (n, p); empty without relations."""
        linker = self.reader.linker
        return [*linker.derived(j, codes, y, visible)] if j in linker.of_part else []

    def calibrated(self, shares: Sequence[Array], seed: int) -> list[jax.Array]:
        """Calibrate the biases (M, G, K) of each group, so that tokens of synthetic rows have these shares."""
        rng = np.random.default_rng([seed, 112358])
        made = [np.array(bias) for bias in self.no_bias]
        unmasker, p = self, self.layout.parts
        blocks = [_Calibrating.of(self.start(ROWS), p) for _ in range(CALIBRATED)]  # size of the sampling programs
        for k, j in enumerate(map(int, self.order)):
            place, spot = self.spots[k]
            padded = self.layout.groups[spot.group].log_masses.shape[1]
            target = np.pad(shares[j], (0, padded - len(shares[j])))
            views, targets, rests = [], [], []
            for block in blocks:
                rows = self.shares_of_members(block.seen, rng)
                block.derived = self.derived(j, block.codes, block.y, block.visible)
                views.append(jax.tree.map(np.asarray, unmasker.view(block.seen, k, block.derived, rows)))
                each = [one.take(rows) for one in block.derived]
                left, rest = _shares_left(views[-1], each, target)
                targets.append(left)
                rests.append(rest)
            joined = jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *views)
            wanted, rest = np.mean(targets, axis=0), np.concatenate(rests, axis=1)
            bias, tilt = bias_of(self.layout, joined, place, spot, wanted, rest)
            made[spot.group][:, int(place.member)] = bias
            if tilt is not None:
                made[-1][:, int(place.line)] = tilt
            unmasker = unmasker.with_bias(made)
            for block in blocks:
                within = unmasker.everything(j)
                codes, y, u, _ = unmasker.draw(block.seen, k, within, rng, block.derived, split=True)
                block.codes[:, j], block.y[:, j], block.visible[:, j] = codes, y, True
                if k < p - 1:
                    block.seen = unmasker.show(block.seen, k, codes, y, u, np.ones(ROWS, bool))
        return jax.device_put(made)

    @property
    def no_bias(self) -> list[jax.Array]:
        """Zero biases: of the tokens of each group (M, G, K), and of the bins of the lines (M, L, T)."""
        every = (*self.plain, self.prepared.tilt)
        return [put(np.zeros(bias.shape)) for bias in every]

    def with_bias(self, bias: Sequence[Any]) -> "MaskedDenoiser":
        """Return the model with these biases, in the form of `no_bias`, instead of its own."""
        moved = tuple(put(np.add(a, b)) for a, b in zip(self.plain, bias[:-1], strict=True))
        heads = self.prepared.heads._replace(code_bias=moved)
        return replace(self, prepared=self.prepared._replace(heads=heads, tilt=put(bias[-1])))


def spots_of(layout: Layout, order: NDArray[np.integer]) -> list[tuple[Place, Spot]]:
    """Return the location of each part of an order."""
    lines = layout.line_place
    rank = np.append(np.argsort(_axes_in_turn(layout, order)), len(layout.axes))
    made = []
    for j in map(int, order):
        group = next(g for g, one in enumerate(layout.groups) if j in one.parts)
        member = int(np.flatnonzero(layout.groups[group].parts == j)[0])
        on = bool(lines[j] >= 0)
        number = lambda value: put(value, np.int32)
        linked = np.flatnonzero(layout.links.parts == j)
        link = int(linked[0]) if len(linked) else 0
        axes = layout.axes_of(j)
        place = Place(
            number(j), number(member), number(max(int(lines[j]), 0)), number(rank[axes]),
            number((axes < len(layout.axes)).sum()), number(link),
        )  # fmt: skip
        made.append((place, Spot(group, on, bool(len(linked)))))
    return made


def _axes_in_turn(layout: Layout, order: NDArray[np.integer]) -> NDArray[np.integer]:
    """Sort the axes of the base, (A,), by the order of their parts (p,)."""
    return np.argsort(np.argsort(order)[layout.axes], kind="stable")


def cut_normal(mean: Array, sd: Array, low: Array, high: Array, u: Array) -> Array:
    """Compute quantiles u of N(mean, sd^2) truncated to low to high, (n,) each; accurate in far tails."""
    a, b = (low - mean) / sd, (high - mean) / sd
    flip = a + b > 0
    a, b, u = np.where(flip, -b, a), np.where(flip, -a, b), np.where(flip, 1 - u, u)
    log_a, log_b = log_ndtr(a), log_ndtr(b)
    z = ndtri_exp(log_b + np.log(u + (1 - u) * np.exp(np.minimum(log_a - log_b, 0.0))))
    return np.clip(mean + sd * np.where(flip, -z, z), low, high)


# --- compiled ---------------------------------------------------------------------------------------------------------


def _shares_left(view: TokenPrediction, derived: Sequence[Derived], shares: Array) -> tuple[Array, Array]:
    """Return the shares of a part's tokens that its relations leave to each member, (M, K), and of each row, (M, m).

    Args:
        view: predictions for m rows of each member.
        derived: values from relations for these rows, (M, m).
        shares: (K,), shares of the tokens.
    """
    members, m = view.gate.shape[:2]
    if not derived:
        return np.tile(shares, (members, 1)), np.ones((members, m))
    assert view.links is not None
    pi, rest = shares_of(view.links, derived)
    given = [
        sum(np.bincount(one.codes[i], pi[i, :, r], len(shares)) / m for r, one in enumerate(derived))
        for i in range(members)
    ]
    return np.maximum(shares - np.array(given), FLOOR * shares), rest


def _allowed_arguments(within: Within, padded: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Convert the allowed values to program arguments: the padded log share of each token, and the interval's ends."""
    shares = np.zeros((*within.shares.shape[:-1], padded))
    shares[..., : within.shares.shape[-1]] = within.shares
    with np.errstate(divide="ignore"):
        logs = put(np.log(shares))
    return logs, put(np.clip(within.low, -FAR, FAR)), put(np.clip(within.high, -FAR, FAR))


def _fitting_relations(derived: Sequence[Derived], within: Within, most: int) -> NDArray[np.bool_]:
    """Return which of at most `most` relations give an allowed value, (n, most)."""
    n = len(derived[0].codes)
    fits = np.zeros((n, most), bool)
    for r, one in enumerate(derived):
        allowed = np.broadcast_to(within.shares, (n, within.shares.shape[-1]))[np.arange(n), one.codes] > 0
        fits[:, r] = one.possible & allowed & (one.y >= within.low) & (one.y <= within.high)
    return fits


@drawing_program()
def _factorise_bases(models: MaskedModel, orders: jax.Array) -> OrderedBase:
    """Factorise the members' bases in an order for each row, (n, A); the result is (M, n, ...)."""
    return each_member(lambda model: in_orders(model.base, orders))(models)


@drawing_program(static=(4,))
def _view(
    layout: Layout, prepared: PreparedModel, seen: ObservedCodes, place: Place, spot: Spot, near: Near, rows: Any
) -> TokenPrediction:
    if rows is None:
        return each_member(lambda prepared, seen: outlook(layout, prepared, seen, place, spot, near))(prepared, seen)
    near = Near(*(jnp.broadcast_to(part, (seen.total.shape[1], part.shape[1])) for part in near))

    def one(prepared: PreparedModel, seen: ObservedCodes, rows: jax.Array) -> TokenPrediction:
        mine, there = jax.tree.map(lambda part: part[rows], (seen, near))
        return outlook(layout, prepared, mine, place, spot, there)

    return each_member(one)(prepared, seen, rows)


@drawing_program()
def _log_prob(views: TokenPrediction, bins: Any, entry: EncodedRows) -> jax.Array:
    """Compute the log of the members' mean p of the entries of one part, (n,)."""
    found = each_member(lambda view: log_prob_of(view, None if bins is None else bins[1], entry))(views)
    return jax.nn.logsumexp(found, 0) - jnp.log(len(found))
