"""Unmasking rows part by part, for sampling or scoring: each part given the parts already visible.

    token of x_j ~ p(. | visible),    x_j ~ p(. | token, visible)
    log p(x) = sum over j of log p(x_j | parts before it)

This is the reverse process of masked diffusion with one part per step. A compiled program draws a token and an expert
within it. The place is drawn in float64 and rounded to the nearest value of the column, which the next step sees. Each
block of rows has its own random numbers, so that a seed gives the same rows, however many are drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri_exp

from motes.data import Frame
from motes.errors import ModelFileError
from motes.tables import unmasking_steps as steps
from motes.tables.layout import FAR, FURTHEST, Derived, Layout, bits_of, layout_of
from motes.tables.network import EncodedRows, MaskedModel, Near, Reader, base_alone
from motes.tables.parts import Array, Encoded, Mask, Restriction
from motes.tables.relative import quantiles_within
from motes.tables.rules import UNKNOWN, Constraint, RuleSides, Side, Solved, observed_sides, planned_order, solve_drawn
from motes.tables.schema import Schema
from motes.tables.unmasking_steps import (
    Choice,
    Coordinates,
    ObservedCodes,
    Place,
    PreparedModel,
    Spot,
    TokenPrediction,
)
from motes.training.programs import put

Integers = NDArray[np.integer]

ROWS = 1024  # rows of one compiled program
FEW_ROWS = 256  # rows of the program with an order for each row, if its matrices are large
MATRICES = 2**25  # maximum size of the matrices of a block with ROWS instead of FEW_ROWS rows
COARSE = 2.0**-10  # smaller digits of single precision are drawn again


@dataclass(frozen=True, eq=False)
class Within:
    """The allowed values of a part.

    Attributes:
        shares: (K,) or (n, K), the allowed share of each token, padded with zeros to the tokens of the part's group.
        low, high: the allowed interval of y, numbers or (n,); ignored for labels.
        inside: the share of each token's width that lies in the interval, (K,) or (n, K); 1 for labels.
        narrowed: whether the interval excludes values that are drawn without a condition.
    """

    shares: Array
    low: Any
    high: Any
    inside: Array
    narrowed: bool = False

    @cached_property
    def on_device(self) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """The first four fields of `steps.Allowed`."""
        with np.errstate(divide="ignore"):
            logs = put(np.log(self.shares))
        return logs, put(self.inside), put(np.clip(self.low, -FAR, FAR)), put(np.clip(self.high, -FAR, FAR))


@dataclass
class MaskedRows:
    """A block of n rows that are unmasked part by part.

    Attributes:
        seen: the visible entries, as the members represent them; None before the first one is visible.
        codes, y: tokens and places of the visible entries, (n, p); 0 for masked ones.
        visible: which entries are visible, (n, p).
    """

    seen: ObservedCodes | None
    codes: NDArray[np.int32]
    y: Array
    visible: Mask

    def take(self, rows: Integers) -> "MaskedRows":
        """Select some rows, with repeats."""
        seen = jax.tree.map(lambda part: jnp.take(part, rows, axis=1), self.seen)
        return MaskedRows(seen, self.codes[rows], self.y[rows], self.visible[rows])

    def put(self, j: int, codes: Any, y: Any, here: Mask) -> None:
        """Make entries of part j visible in the rows `here`, without showing them to the members."""
        self.codes[here, j], self.y[here, j], self.visible[here, j] = codes[here], y[here], True


@dataclass(frozen=True, eq=False)
class MaskedDenoiser:
    """A model in one order of its parts, prepared for sampling and scoring.

    Attributes:
        layout: layout of the table.
        reader: converts between places and tokens.
        prepared: the prepared members.
        order: place -> part, (p,).
        spots: location of each part of the order in the model's arrays.
        everything: the values of each part that are ever drawn.
        ranks: (n, A + 1), the place of each axis of the base in each row's own order, and A for an absent axis; None if
            all rows have the order of the parts.
    """

    layout: Layout
    reader: Reader
    prepared: PreparedModel
    order: Integers
    spots: list[tuple[Place, Spot]]
    everything: Sequence[Within]
    ranks: Integers | None = None

    @classmethod
    def of(cls, models: MaskedModel, layout: Layout, reader: Reader, order: Integers) -> "MaskedDenoiser":
        """Prepare members for an order."""
        prepared = steps.prepare(models, layout.on_device, put(order, np.int32))
        return cls(layout, reader, prepared, np.asarray(order), spots_of(layout, order), _everything(layout, reader))

    def of_rows(self, observed: Mask) -> "MaskedDenoiser":
        """Return the model for n rows, each with an order in which its observed numbers, of (n, p), come first.

        Show all observed entries, in the order of the parts, before you draw any part.
        """
        turns = _axes_in_turn(self.layout, self.order)
        seen = observed[:, self.layout.axes[turns]]
        orders = turns[np.argsort(~seen, axis=1, kind="stable")]
        base = steps.factorise_bases(self.prepared.model, jax.device_put(orders))
        ranks = np.pad(np.argsort(orders, axis=1), ((0, 0), (0, 1)), constant_values=len(turns))
        return replace(self, prepared=self.prepared._replace(base=base), ranks=ranks)

    def take(self, rows: Integers) -> "MaskedDenoiser":
        """Select some of the rows of `of_rows`, with repeats."""
        assert self.ranks is not None
        base = jax.tree.map(lambda part: jnp.take(part, rows, axis=1), self.prepared.base)
        return replace(self, prepared=self.prepared._replace(base=base), ranks=self.ranks[rows])

    def unlimited(self) -> "MaskedDenoiser":
        """Return the model without the limits of what is drawn, which log p does not have either."""
        return replace(self, everything=_everything(self.layout, self.reader, limited=False))

    @property
    def schema(self) -> Schema:
        """The schema of the table."""
        return self.reader.schema

    @property
    def members(self) -> int:
        """The number of members, M."""
        return len(self.prepared.model.network.hidden)

    @property
    def most_rows(self) -> int:
        """The block size if each row has its own order, and so its own matrices, which take memory."""
        components, axes = self.prepared.base.means.shape[-2:]
        return ROWS if ROWS * self.members * components * axes**2 <= MATRICES else FEW_ROWS

    # --- revealing and drawing parts ---

    def start(self, n: int) -> MaskedRows:
        """Return n fully masked rows."""
        shape = n, self.layout.parts
        return MaskedRows(None, np.zeros(shape, np.int32), np.zeros(shape), np.zeros(shape, bool))

    def show(self, rows: MaskedRows, k: int, codes: Any, y: Any, u: Any, here: Any) -> None:
        """Reveal the part in place k of the order in the rows `here`; arguments as in `EncodedRows`, (n,) each."""
        rows.put(int(self.order[k]), codes, y, here)
        entry: Any = tuple(map(np.asarray, (codes, y, u, here), (np.int32, np.float32, np.float32, bool)))
        rows.seen = steps.reveal(self.layout.on_device, self.prepared, self._seen(rows), self._locate(k)[0], entry)

    def _seen(self, rows: MaskedRows, n: int | None = None) -> ObservedCodes:
        """Return the visible entries of rows, as the members represent them; n rows if none is visible yet."""
        if rows.seen is not None:
            return rows.seen
        return steps.mask_rows(self.layout.on_device, self.prepared, n or len(rows.codes))

    def show_observed(self, rows: MaskedRows, known: EncodedRows) -> None:
        """Reveal the observed entries of encoded rows (n, p)."""
        for k, j in enumerate(self.order):
            here = np.asarray(known.observed[:, j])
            if here.any():
                self.show(rows, k, known.codes[:, j], known.y[:, j], known.u[:, j], here)

    def derived(self, rows: MaskedRows, j: int) -> list[Derived]:
        """Return the values from the relations of part j given the visible entries; empty without relations."""
        linker = self.reader.linker
        return [*linker.derived(j, rows.codes, rows.y, rows.visible)] if j in linker.of_part else []

    def coordinates(self, rows: MaskedRows, j: int) -> Coordinates:
        """Return r and s of the histograms of part j given the visible entries, (n, F); (1, F) if it has none."""
        count, linker = self.layout.references.others.shape[1], self.reader.linker
        if j not in linker.relatives:
            return Coordinates(np.zeros((1, count)), np.ones((1, count)), np.zeros((1, count), bool))
        found = linker.coordinates(j, rows.codes, rows.y, rows.visible)
        more = ((0, 0), (0, count - found[0].shape[1]))
        return Coordinates(
            *(np.pad(part, more, constant_values=fill) for part, fill in zip(found, (0, 1, 0), strict=True))
        )

    def allowed(self, rows: MaskedRows, j: int, restriction: Restriction | None = None) -> Within:
        """Return the values of part j that may be drawn after its column's earlier parts, under a condition."""
        column, within, size = self.schema.parts[j].column, self.everything[j], self.layout.sizes[j]
        before = slice(self.schema.parts_of(column).start, j)
        i, codes, y = j - before.start, rows.codes[:, before], rows.y[:, before]
        possible = self.schema.allowed(j, codes, y) if i else None
        if possible is None and restriction is None:
            return within
        shares, low, high = np.ones(size) if possible is None else possible.astype(float), within.low, within.high
        padded = lambda part: np.pad(part, [(0, 0)] * (part.ndim - 1) + [(0, len(within.shares) - part.shape[-1])])
        inside = within.inside
        if restriction is not None:
            if (some := restriction.allowed(i, codes, y)) is not None:
                shares = shares * some
            if i == 0 and (share := restriction.shares()) is not None:
                shares = shares * share
            first, last = restriction.interval(i, codes, y)
            low, high = np.maximum(first, low), np.minimum(last, high)
            if (scale := self.reader.scales[j]) is not None:  # only part of a token at an end is allowed
                share = scale.inside(low, high)
                inside = padded(np.hstack([share, np.ones((len(share), size - share.shape[1]))]))
                inside = inside if len(inside) > 1 else inside[0]
        return Within(padded(shares), low, high, inside, restriction is not None)

    def draw(
        self,
        rows: MaskedRows,
        k: int,
        within: Within,
        rng: np.random.Generator,
        *,
        split: bool = False,
        solved: Solved | None = None,
    ) -> Array:
        """Draw the part in place k of the order in the rows where it is masked; return log p of the allowed values.

        Args:
            rows: n rows, which are changed.
            k: place in the order.
            within: the allowed values.
            rng: random generator.
            split: evaluate one member for each row, with equally many rows per member; log p is the member's. If all
                values are allowed, the distribution is the same as with all members for each row, at a fraction of
                the cost.
            solved: the entries of its column that rules determine; they replace the draws that are not missing.
        """
        j = int(self.order[k])
        derived, coordinates, hidden = self.derived(rows, j), self.coordinates(rows, j), ~rows.visible[:, j]
        found = self._choose(rows, k, within, rng, derived, coordinates, split=split)
        made: Any = jax.tree.map(np.asarray, found)
        link, codes, rest = made.link, made.codes, made.rest
        u = (rest + rng.random(len(codes)) * COARSE) % 1.0  # adds digits and stays uniform
        scale, y = self.reader.scales[j], np.zeros(len(codes))
        if scale is not None:
            place = np.minimum(codes, len(scale.points) - 1)
            y = scale.placed(place, u, within.low, within.high)
            which = np.flatnonzero(made.normal)
            mean, sd = made.means[which].astype(float), made.sds[which].astype(float)
            low, high = (np.clip(scale.edges[place + end], within.low, within.high)[which] for end in (0, 1))
            y[which] = cut_normal(mean, sd, low, high, u[which])
            for f in range(len(self.reader.linker.relatives.get(j, []))):
                here = np.flatnonzero(made.frame == f + 1)
                y[here] = self._in_histogram(j, f, here, made, coordinates, within, u[here])
            y = np.clip(y, scale.ends[place], scale.ends[place + 1])
            if np.isnan(y).any() or codes.min(initial=0) < 0:
                raise ModelFileError(
                    f"the network's output for part {j + 1} of the columns is not finite. The model file is damaged, "
                    "or its training diverged. Train again."
                )
        for r, one in enumerate(derived, 1):
            codes, y = np.where(link == r, one.codes, codes), np.where(link == r, one.y, y)
        if solved is not None:
            part, i = self.schema.parts[j], j - self.schema.parts_of(self.schema.parts[j].column).start
            mine, place = solved.codes[:, i], solved.y[:, i]
            possible = self.allowed(rows, j)  # also values that do not meet a condition: such rows have no weight
            shares = np.broadcast_to(possible.shares, (len(codes), possible.shares.shape[-1]))
            here = solved.here & ~((codes == part.count - 1) & part.missing)
            here &= (shares[np.arange(len(codes)), mine] > 0) & (place >= possible.low) & (place <= possible.high)
            codes, y = np.where(here, mine, codes), np.where(here, place, y)
        codes, y, ranks = self.reader.settle(j, codes, y)
        if k + 1 < len(self.order):
            self.show(rows, k, codes, y, ranks, hidden)
        else:
            rows.put(j, codes, y, hidden)
        return np.asarray(made.log_within, np.float64)

    def _in_histogram(
        self, j: int, f: int, rows: Integers, made: Any, coordinates: Coordinates, within: Within, u: Array
    ) -> Array:
        """Draw places of part j on its line, (m,), from its histogram f in some `rows` (m,), by uniform numbers."""
        linker, references = self.reader.linker, self.layout.references
        ends, curve = references.ends[[*references.parts].index(j)], linker.line(j).curve
        origin, unit = (part[rows, f] for part in (coordinates.origin, coordinates.unit))
        codes = made.codes[rows]
        limits = (np.broadcast_to(one, len(made.codes))[rows] for one in self.limits(j, within))
        first, last = np.clip(np.stack([ends[codes], ends[codes + 1]]), *limits)
        v = quantiles_within(
            linker.relatives[j][f].edges, made.cells[rows], (first - origin) / unit, (last - origin) / unit, u
        )
        return curve.forward(origin + unit * v)

    def limits(self, j: int, within: Within) -> tuple[Array, Array]:
        """Return both ends of the allowed values of part j, which has histograms, as places of its grid."""
        line = self.reader.linker.line(j)

        def place(end: Any) -> Array:
            k = np.clip(line.curve.inverse(np.clip(end, -FAR, FAR)), -FURTHEST, FURTHEST)
            k = np.round(2 * k) / 2 if line.grid.step else k
            return np.where(np.abs(end) < FAR, k, np.sign(end) * FURTHEST)

        return place(within.low), place(within.high)

    def log_within(self, rows: MaskedRows, k: int, within: Within) -> Array:
        """Compute log p of the allowed values, (n,), for the part in place k of the order."""
        rng, derived = np.random.default_rng(0), self.derived(rows, int(self.order[k]))
        coordinates = self.coordinates(rows, int(self.order[k]))
        return np.asarray(self._choose(rows, k, within, rng, derived, coordinates, split=False).log_within, np.float64)

    def _choose(
        self,
        rows: MaskedRows,
        k: int,
        within: Within,
        rng: np.random.Generator,
        derived: list[Derived],
        coordinates: Coordinates,
        *,
        split: bool,
    ) -> Choice:
        n, members, back = len(rows.codes), None, None
        if split:
            members = self.shares_of_members(n, rng)
            back = np.argsort(members.ravel()[:n])
        near, (place, spot) = self._near(derived), self.spots[k]
        # Without visible entries all rows are alike, and one is enough.
        alike = members is None and self.ranks is None and not (spot.linked or spot.framed)
        views = self._predict(self._seen(rows, 1 if alike else n), k, near, coordinates, members)
        noise = rng.random((3, n), np.float32), np.asarray(rng.integers(2**32, dtype=np.uint32))
        fits = np.zeros(near.could.shape, bool)
        for r, one in enumerate(derived):
            some = np.broadcast_to(within.shares, (n, within.shares.shape[-1]))[np.arange(n), one.codes] > 0
            fits[:, r] = one.possible & some & (one.y >= within.low) & (one.y <= within.high)
        j = int(self.order[k])

        def allowed(within: Within) -> steps.Allowed:
            ends: tuple[Any, ...] = np.zeros((1, 0)), np.zeros((1, 0))
            if spot.framed:
                origin, unit, _ = coordinates
                ends = tuple((end.reshape(-1, 1) - origin) / unit for end in self.limits(j, within))
            return steps.Allowed(*within.on_device, *(np.asarray(end, np.float32) for end in ends))

        limits = allowed(within), allowed(self.everything[j]) if within.narrowed and spot.line else None
        cells = self.layout.groups[spot.group].cells if spot.line else None
        edges = None if cells is None else cells.edges[int(place.member)]
        return steps.choose(edges, views, back, limits, near.could, fits, noise)

    def shares_of_members(self, n: int, rng: np.random.Generator) -> NDArray[np.int32]:
        """Assign n rows to the members at random, (M, n / M); some rows occur twice if M does not divide n."""
        return np.resize(rng.permutation(n), (self.members, -(-n // self.members))).astype(np.int32)

    def _locate(self, k: int) -> tuple[Place, Spot]:
        """Return the location of the part in place k of the order, for all rows or for each row."""
        place, spot = self.spots[k]
        if self.ranks is None:
            return place, spot
        ranks = self.ranks[:, self.layout.axes_of(int(self.order[k]))].T
        return place._replace(ranks=put(ranks, np.int32)), spot

    def _near(self, derived: Sequence[Derived]) -> Near:
        """Return the values from relations as arguments of programs, (n, R); (1, R) if there are none."""
        shape = len(derived[0].codes) if derived else 1, self.layout.links.log_odds.shape[1]
        y, could = np.zeros(shape, np.float32), np.zeros(shape, bool)
        for r, one in enumerate(derived):
            y[:, r], could[:, r] = one.places, one.possible
        return Near(y, could)

    def predict(self, rows: MaskedRows, k: int, members: Integers | None = None) -> TokenPrediction:
        """Predict the part in place k with each member, (M, n, ...), or for the rows `members` (M, m) of each."""
        j = int(self.order[k])
        near = self._near(self.derived(rows, j))
        return self._predict(self._seen(rows), k, near, self.coordinates(rows, j), members)

    def _predict(
        self, seen: ObservedCodes, k: int, near: Near, coordinates: Coordinates, members: Integers | None
    ) -> TokenPrediction:
        place, spot = self._locate(k)
        origin, unit, could = coordinates
        given = near, Coordinates(np.asarray(origin, np.float32), np.asarray(unit, np.float32), could)
        return steps.predict_part(self.layout.on_device, self.prepared, seen, place, spot, given, members)

    def solved(self, rows: MaskedRows, j: int, known: RuleSides, u: Array) -> Solved | None:
        """Return the entries that rules determine given the visible ones, if part j is the first of such a column.

        Args:
            rows: n rows.
            j: the part.
            known: known entries, (n,) each, which the visible ones only approximate.
            u: uniform numbers (n, p).
        """
        column = self.schema.parts[j].column
        if j != self.schema.parts_of(column).start:
            return None
        return solve_drawn(self.schema, column, rows.codes, rows.y, u, rows.visible, known)

    def log_present(self, rows: MaskedRows, k: int) -> Array:
        """Compute log p of any value but a missing entry, (n,), for the part in place k of the order."""
        j = int(self.order[k])
        within, part = self.everything[j], self.schema.parts[j]
        if not part.missing:
            return np.zeros(len(rows.codes))
        shares = np.where(np.arange(within.shares.shape[-1]) == part.count - 1, 0.0, within.shares)
        return self.log_within(rows, k, Within(shares, -FAR, FAR, within.inside))

    # --- scoring ---

    def log_prob(self, encoded: Encoded, sides: RuleSides = UNKNOWN) -> Array:
        """Compute log p of the observed, possible entries of encoded rows in the data's units, (n,).

        `sides` are the columns of the rules; without them, columns that rules determine have the network's p.
        """
        return self.log_prob_parts(encoded, sides).sum(axis=1)

    def log_prob_parts(self, encoded: Encoded, sides: RuleSides = UNKNOWN) -> Array:
        """Compute log p of each such entry given those before it in the order, (n, p); 0 for the others."""
        read = self.reader.read(encoded)
        made = np.where(read.observed, encoded.log_unit, 0.0)
        for start in range(0, len(made), ROWS):
            some = made[start : start + ROWS]
            block = EncodedRows(*(pad_rows(part[start : start + ROWS], ROWS) for part in read))
            rows, u = self.start(ROWS), np.full((ROWS, len(self.order)), 0.5)
            pad = lambda part, start=start: pad_rows(part[start : start + ROWS], ROWS)
            known = {name: Side(*map(pad, side)) for name, side in sides.items()}
            fixed, log_fixed = np.zeros(ROWS, bool), np.zeros(ROWS)
            for k, j in enumerate(map(int, self.order)):
                here, part = block.observed[:, j], self.schema.parts[j]
                if j == self.schema.parts_of(part.column).start:
                    found = self.solved(rows, j, known, u) if sides else None
                    fixed = np.zeros(ROWS, bool)
                    if found is not None:
                        fixed = found.here & here & ~((block.codes[:, j] == part.count - 1) & part.missing)
                        log_fixed = found.log_p + self.log_present(rows, k)
                if here.any():
                    entry = EncodedRows(*(part[:, j] for part in block))
                    log_p = np.where(here, self.log_prob_entry(rows, k, entry, len(some)), 0.0)[: len(some)]
                    some[:, j] = np.where(fixed[: len(some)], log_fixed[: len(some)], some[:, j] + log_p)
                    log_fixed = np.zeros(ROWS)  # of the other parts of the column
                    if k + 1 < len(self.order):
                        self.show(rows, k, entry.codes, entry.y, entry.u, here)
        return made

    def log_prob_entry(self, rows: MaskedRows, k: int, entry: EncodedRows, first: int | None = None) -> Array:
        """Compute log p of the part in place k of the order, (n,), given the visible parts; p is the members' mean.

        With `first`, only for that many rows; the others are padding.
        """
        place, spot = self.spots[k]
        near, coordinates = self._near([]), self.coordinates(rows, int(self.order[k]))
        if spot.linked:  # a relation applies once all its other parts are visible
            others = self.layout.links.others[int(place.link)]
            ready = ~others[:, self.order[k:]].any(axis=1)
            entry = entry._replace(could=entry.could & int((ready << np.arange(len(ready))).sum()))
            near = Near(entry.given, bits_of(entry.could, entry.given.shape[-1]))
        n, size = len(rows.codes), -(-len(rows.codes) // self.members)
        made = np.zeros(n)
        for start in range(0, first or n, size):  # with the sampling program, which evaluates this many rows per member
            which = np.arange(start, start + size) % n
            views = self._predict(
                self._seen(rows), k, near, coordinates, np.tile(which, (self.members, 1)).astype(np.int32)
            )
            some = EncodedRows(*(part[which] for part in entry))
            found = steps.score_part(views, some)
            made[start : start + size] = found[: n - start]
        return made

    # --- biases ---

    @property
    def no_bias(self) -> tuple[jax.Array, ...]:
        """Zero biases of the tokens of each group, (M, G, K)."""
        return tuple(put(np.zeros(bias.shape)) for bias in self.prepared.bias)

    @property
    def no_tilt(self) -> Array:
        """Tilts of 0, (M, A, A)."""
        return np.zeros(self.prepared.tilt.shape)

    def with_bias(self, bias: Sequence[Any], tilt: Any) -> "MaskedDenoiser":
        """Return the model with these biases and tilts, in the form of `no_bias` and `no_tilt`."""
        return replace(self, prepared=self.prepared._replace(bias=tuple(map(put, bias)), tilt=put(tilt, np.float32)))


def _everything(layout: Layout, reader: Reader, *, limited: bool = True) -> list[Within]:
    """Return all values of each part, within its range if `limited`."""
    made: list[Within] = [Within(np.zeros(0), -FAR, FAR, np.zeros(0))] * layout.parts
    for group in layout.groups:
        for j in group.parts:
            scale, drawn = reader.scales[j], reader.schema.parts[j].draw_range if limited else None
            low, high = (-FAR, FAR) if drawn is None or scale is None else drawn
            shares = (np.arange(group.log_masses.shape[1]) < layout.sizes[j]) * 1.0
            made[j] = Within(shares, low, high, np.ones_like(shares))
    return made


def spots_of(layout: Layout, order: Integers) -> list[tuple[Place, Spot]]:
    """Return the location of each part of an order."""
    rank = np.append(np.argsort(_axes_in_turn(layout, order)), len(layout.axes))
    made = []
    for j in map(int, order):
        group = next(g for g, one in enumerate(layout.groups) if j in one.parts)
        (member,), linked = np.flatnonzero(layout.groups[group].parts == j), np.flatnonzero(layout.links.parts == j)
        line, axes, framed = layout.line_place[j], layout.axes_of(j), np.flatnonzero(layout.references.parts == j)
        link, frame = (some[0] if len(some) else 0 for some in (linked, framed))
        place = Place(*(put(one, np.int32) for one in (j, member, max(line, 0), rank[axes], axes, link, frame)))
        made.append((place, Spot(group, bool(line >= 0), bool(len(linked)), bool(len(framed)))))
    return made


def _axes_in_turn(layout: Layout, order: Integers) -> Integers:
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


def pad_rows(part: Any, n: int) -> Any:
    """Pad an array to n rows by repeating its first row."""
    return part if len(part) == n else np.concatenate([part, np.repeat(part[:1], n - len(part), axis=0)])


# --- A trained model in any order of its parts -----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class AnyOrderModel:
    """A trained model of a table's tokens, which generates and scores the parts in any order.

    Attributes:
        schema: encodes the table as tokens.
        models: the members, with a leading axis.
        order: the model's fixed order, place -> part, (p,).
        slopes: regression coefficients of the training rows in that order, (A, A); see `calibration.slopes_of`.
        bias, tilt: from calibration: biases of the tokens of each group, (M, G, K), and tilts, (M, A, A).
        constraint: the rules that rows obey; they are not part of the orders.
    """

    schema: Schema
    models: MaskedModel
    order: NDArray[np.integer]
    slopes: Array
    bias: tuple[Any, ...] = ()
    tilt: Any = None
    constraint: Constraint = field(default_factory=Constraint)

    @cached_property
    def layout(self) -> Layout:
        """The parts as arrays."""
        return layout_of(self.schema)

    @cached_property
    def reader(self) -> Reader:
        """The reader, which turns encoded entries into network inputs."""
        return Reader.of(self.schema)

    @cached_property
    def own(self) -> MaskedDenoiser:
        """The model's distribution: the members in the fixed order, with biases."""
        return self.plain.with_bias(self.bias, self.tilt)

    @cached_property
    def plain(self) -> MaskedDenoiser:
        """The members in the fixed order, without biases, which are only valid for rows drawn without conditions."""
        return self.in_order(self.order)

    @cached_property
    def of_the_base(self) -> MaskedDenoiser:
        """The base mixture alone, in the fixed order: labels by their shares, numbers by the mixture."""
        return MaskedDenoiser.of(base_alone(self.models), self.layout, self.reader, self.order)

    def member(self, k: int) -> "AnyOrderModel":
        """Return the model of member k alone."""
        alone = lambda part: part[k : k + 1]
        bias, tilt = tuple(map(alone, self.bias)), alone(self.tilt)
        return replace(self, models=jax.tree.map(alone, self.models), bias=bias, tilt=tilt)

    def first(self, columns: Sequence[str]) -> MaskedDenoiser:
        """Return the denoiser with the parts of these columns first, without biases.

        The others have the fixed order, except for columns that rules determine from these ones.
        """
        place = {column: k for k, column in enumerate(columns)}
        rank = [place.get(self.schema.parts[j].column, len(place)) for j in self.order]
        return self.in_order(planned_order(self.schema, self.order[np.argsort(rank, kind="stable")], columns))

    def random(self, seed: int, k: int) -> MaskedDenoiser:
        """Return the denoiser in the k-th random order of the columns; the parts of a column stay together."""
        columns = self.schema.learned
        return self.first([columns[i] for i in np.random.default_rng([seed, 662607, k]).permutation(len(columns))])

    def in_order(self, order: NDArray[np.integer]) -> MaskedDenoiser:
        """Return the denoiser in an order of the parts, (p,), without biases."""
        return MaskedDenoiser.of(self.models, self.layout, self.reader, order)

    def log_prob_alone(self, encoded: Encoded) -> Array:
        """Compute log p of each observed, possible entry if only its own column is known, (n, p); 0 for the others."""
        made: Array = np.zeros(encoded.codes.shape)
        for column in self.schema.learned:
            made += self.of_the_base.log_prob_parts(self.schema.only(encoded, [column]))
        return made

    def log_prob_parts(self, unmasker: MaskedDenoiser, frame: Frame, encoded: Encoded) -> tuple[Array, Array]:
        """Compute log p of each entry of rows in one order, (n, p), and what the rules add to their sum, (n,).

        Args:
            unmasker: the model in this order.
            frame: the rows.
            encoded: their observed entries.
        """
        columns = self.constraint.columns
        if not columns:
            return unmasker.log_prob_parts(encoded), np.zeros(len(encoded))
        sides = observed_sides(self.schema, columns, frame, encoded)
        made = unmasker.log_prob_parts(encoded, sides if self.schema.bound else UNKNOWN)
        broken = np.flatnonzero(self.constraint.broken(sides)[:, 1])
        if len(broken):  # their determined columns have other values than those of the rules
            made[broken] = unmasker.log_prob_parts(encoded.take(broken))
        return made, self.constraint.log_factor(sides)


# --- Blocks of rows, with or without conditions ---------------------------------------------------------------------
#
# Known values are revealed first. Columns with another condition come next, each drawn within its restriction, and then
# the remaining columns. A row drawn in this way has the importance weight
#
#     w = product over conditioned columns of p(condition on j | columns before it)
#
# and rows are resampled by their weights (sequential importance resampling: Gordon, Salmond & Smith 1993). The mean of
# w times p(known values) is the probability of the whole condition.


class Block(NamedTuple):
    """A block of drawn rows.

    Attributes:
        codes, y, u: (n, p), tokens, places and uniform numbers for `Schema.decode`.
        log_weights: (n,), log importance weights; all equal if the rows need no resampling.
    """

    codes: NDArray[np.int32]
    y: Array
    u: Array
    log_weights: Array

    def take(self, rows: Integers | Mask) -> "Block":
        """Return some of the rows."""
        return Block(self.codes[rows], self.y[rows], self.u[rows], self.log_weights[rows])


def draw_block(
    unmasker: MaskedDenoiser,
    n: int,
    seed: int,
    number: int,
    known: EncodedRows | None = None,
    conditions: Mapping[str, Restriction] | None = None,
    *,
    sides: RuleSides = UNKNOWN,
    all_members: bool = False,
) -> Block:
    """Draw one block of rows.

    Args:
        unmasker: the denoiser in an order with the known parts first, or with such an order for each row.
        n: number of rows, the block size of the compiled program.
        seed, number: seed and block number of the random numbers.
        known: (n, p), observed entries, which are visible and not drawn.
        conditions: column -> its restriction.
        sides: known entries of the columns of rules, (n,) each.
        all_members: evaluate all members for each row and part, so that `log_within` is exact. Otherwise the
            probability outside a part's range, or excluded by its column's earlier parts, is taken as equal for all
            members.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, number]))
    conditions, schema = conditions or {}, unmasker.schema
    rows, log_weights, solved, log_present = unmasker.start(n), np.zeros(n), None, np.zeros(n)
    u = rng.random(rows.codes.shape)
    if known is not None:
        unmasker.show_observed(rows, known)
    for k, j in enumerate(map(int, unmasker.order)):
        hidden = ~rows.visible[:, j]
        if not hidden.any():
            continue
        restriction = conditions.get(schema.parts[j].column)
        split = unmasker.members > 1 and restriction is None and unmasker.ranks is None and not all_members
        if j == schema.parts_of(schema.parts[j].column).start:
            solved = unmasker.solved(rows, j, sides, u)
            if restriction is not None and solved is not None:
                log_present = unmasker.log_present(rows, k)
        within = unmasker.allowed(rows, j, restriction)
        log_within = unmasker.draw(rows, k, within, rng, split=split, solved=solved)
        if restriction is not None:
            if solved is not None:  # a value that does not meet the condition gets no weight below
                gone = (rows.codes[:, j] == schema.parts[j].count - 1) & schema.parts[j].missing
                log_within = np.where(solved.here & ~gone, log_present, log_within)
                log_present = np.zeros(n)
            log_weights[hidden] += log_within[hidden]
    for kind in schema.kinds:  # labels that share a token, once all that follows from them is known
        j, restriction = schema.parts_of(kind.column).start, conditions.get(kind.column, Restriction())
        usual = restriction.among(kind.rare_rows).sum() / max(kind.rare_rows.sum(), 1.0)
        if not usual:  # no such label, or none is allowed
            continue
        for some, shares in schema.rare_labels(kind, rows.codes):
            allowed = restriction.among(shares)
            u[some, j] = kind.select_rare(u[some, j], allowed)
            log_weights[some] += np.log(allowed.sum() / usual)
    for column, restriction in conditions.items():
        at = schema.parts_of(column)
        log_weights = np.where(restriction.holds(rows.codes[:, at], rows.y[:, at]), log_weights, -np.inf)
    return Block(rows.codes, rows.y, u, log_weights)
