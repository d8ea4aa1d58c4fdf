"""The layout of a table's tokens in the network's input and output, and the relations between parts.

Part j has K_j tokens. Parts of about the same size share one padded array, so that a table of 200 columns needs a few
matrix products instead of 200. A part on a line (numbers, dates, ordered labels) has a place u in [0, 1] for each
token, its mid-rank in the training rows, at which the smooth basis is evaluated:

    basis_r(u) = cos(pi r u) / sqrt(1 + (r / DECAY)^2),    r = 1, ..., WAVES
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import register_dataclass
from numpy.typing import NDArray

from motes.tables.kinds import Kind
from motes.tables.kinds.binnings import Binning, Few
from motes.tables.mixture import Cells, LabelAxes
from motes.tables.parts import IMPOSSIBLE, Array, Encoded, Part
from motes.tables.relations import BROKEN, EQUAL, PATTERNS, Dependency, MissingPatterns, Relation
from motes.tables.relative import CELLS, Relative, days_or_numbers
from motes.tables.schema import Schema

WAVES = 24
DECAY = 1.5  # 4 memorises: held-out rows of Magic are 0.17 nats less likely
SIZES = (8, 40, 160, 1024)  # parts with up to this many tokens share an array; larger ones share the last
SMALL = 512  # size of an array of all parts, up to which they share it, for fewer programs
UNHEARD = 1e-6  # replaces a missing rate of 0 in a pattern, and 1 minus it a rate of 1
FAR = 1e3  # stands for infinity, in standard deviations: an infinite end has no gradient
SLIVER = 5e-4  # half the width of the cell around a point mass, in standard deviations
FURTHEST = 1e12  # stands for an infinite place on a grid
FRAMED = 16  # the first bit for histograms, after those for relations
TILT_REACH = 4.0  # standard deviations to which numbers are clipped as regressors; see `tables/calibration.py`
NEVER = -1e30  # stands for the log-probability of 0, with a gradient of 0
LEVELS = 8  # maximum number of tokens of a part without a density whose tokens are axes of the base,
AXES = 24  # and maximum number of these axes: parts with the fewest tokens come first


class Links(NamedTuple):
    """Exact relations, which give J parts from other visible parts, R relations for each.

    Attributes:
        parts: which parts have relations, (J,).
        others: the parts that must be visible, (J, R, p).
        log_odds: log-odds of the relation in the training rows, (J, R); `NEVER` for padding.
        log_least: log of the minimum odds against the relation, (J, R); `NEVER` for none.
    """

    parts: NDArray[np.int32]
    others: NDArray[np.bool_]
    log_odds: NDArray[np.float32]
    log_least: NDArray[np.float32]


class References(NamedTuple):
    """Histograms relative to other visible parts, F for each of J parts; see `motes.tables.relative`.

    Places are those of the part's grid, k.

    Attributes:
        parts: which parts have histograms, (J,).
        others: the parts that must be visible, (J, F, p).
        edges: ends of the cells, (J, F, CELLS + 1); padded with the last one.
        log_masses: log of the cells' shares of the training rows, (J, F, CELLS); `NEVER` for padding.
        ends: ends of the part's tokens as places, (J, T+1), at most `FURTHEST` from 0; padded with the last one.
    """

    parts: NDArray[np.int32]
    others: NDArray[np.bool_]
    edges: NDArray[np.float32]
    log_masses: NDArray[np.float32]
    ends: NDArray[np.float32]


class Patterns(NamedTuple):
    """The patterns of missing parts, a mixture of C components; see `motes.tables.relations`.

    Attributes:
        codes: the token of missing entries of each part, (p,); -1 if there is none.
        log_weights: log-weights of the components, (C,); C is 0 if no part has missing entries.
        rates: the components' rates of missing entries, (C, p).
        log_odds: log-odds of a missing entry by the masses of the tokens alone, (p,).
    """

    codes: NDArray[np.int32]
    log_weights: NDArray[np.float32]
    rates: NDArray[np.float32]
    log_odds: NDArray[np.float32]


class Levels(NamedTuple):
    """Tokens of parts without a density as axes of the base, after the lines: every token but the last has an axis.

    An axis has the value 1 - m if the row has the token, and -m otherwise; m is the token's mass.

    Attributes:
        axis: axis of each part and token, (p, LEVELS - 1); -1 if there is none.
        parts, codes, masses: part, token and mass of each axis, (M,).
    """

    axis: NDArray[np.int32]
    parts: NDArray[np.int32]
    codes: NDArray[np.int32]
    masses: NDArray[np.float32]


@register_dataclass
@dataclass(frozen=True, eq=False)
class Group:
    """Parts with about the same number of tokens, padded to the largest.

    Attributes:
        parts: their indices among all parts, (G,).
        log_masses: (G, K), minus infinity for padding.
        basis: (G, K, WAVES), zero for tokens without a place on a line.
        free: (G, K), 1 for a token of a single value, which has weights of its own besides the smooth basis.
        lines: their indices among the lines, (G,); 0 for parts without a density.
        cells: their tokens as cells, without shares for parts without a density; None if no part has one.
        loose: whether there is a free token.
    """

    parts: NDArray[np.int32]
    log_masses: NDArray[np.float32]
    basis: NDArray[np.float32]
    free: NDArray[np.float32]
    lines: NDArray[np.int32]
    cells: Cells | None
    loose: bool = field(metadata={"static": True})


@register_dataclass
@dataclass(frozen=True, eq=False)
class Layout:
    """All parts of a table as arrays.

    The arrays are arguments of compiled programs, so that tables with the same shapes share the programs.

    Attributes:
        sizes: number of tokens of each part, (p,).
        groups: the parts by size, those with free tokens separate from the others.
        lines: indices of the parts with a density, (L,).
        levels: tokens of other parts that are axes of the base.
        links: the exact relations between parts.
        references: the histograms relative to other parts.
        patterns: the patterns of missing entries.
        axes: the part of each axis of the base, (A,): the lines, then the levels.
        token_places: the place of each token on each axis, (A + 1, K), within `TILT_REACH`: the middle of a number's
            token, 0 for missing entries, padding, and the last axis, which stands for none.
        on_line: (p,), which parts lie on a line.
        loose: indices of the parts with free tokens, (F,).
        free: (S,), which tokens of the loose groups are free, padding included; at least one entry.
        offsets: (p,), where the tokens of each loose part begin in `free`; 0 for others.
        line_links: (L,), the index of each line among the parts with relations; J for the others.
        line_references: (L,), the same among the parts with histograms.
        valued: (p,), number of tokens whose values the base knows: for lines all but missing entries.
        near: maximum number of relations of a line, which give places for Gaussians; 0 if no line has any.
    """

    sizes: NDArray[np.int32]
    groups: tuple[Group, ...]
    lines: NDArray[np.int32]
    levels: Levels
    links: Links
    references: References
    patterns: Patterns
    axes: NDArray[np.int32]
    token_places: NDArray[np.float32]
    on_line: NDArray[np.bool_]
    loose: NDArray[np.int32]
    free: NDArray[np.float32]
    offsets: NDArray[np.int32]
    line_links: NDArray[np.int32]
    line_references: NDArray[np.int32]
    valued: NDArray[np.int32]
    near: int = field(metadata={"static": True})

    @property
    def parts(self) -> int:
        """The number of parts, p."""
        return len(self.sizes)

    @cached_property
    def on_device(self) -> "Layout":
        """The same layout on the device, so that its arrays are transferred once."""
        return jax.device_put(self)

    def known(self, codes: Any, observed: Any) -> Any:
        """Return which entries (n, p) the base knows: the observed ones, except numbers known to be missing."""
        return observed & (codes < self.valued)

    @property
    def label_axes(self) -> LabelAxes:
        """The axes of the base that belong to labels."""
        return LabelAxes(self.levels.parts, self.levels.masses)

    def axes_of(self, j: int) -> NDArray[np.int32]:
        """Return the axes of part j, (LEVELS - 1,), padded with A."""
        own = np.append(self.line_place[j], np.full(LEVELS - 2, -1)) if j in self.lines else self.levels.axis[j]
        return np.where(own < 0, len(self.axes), own).astype(np.int32)

    @cached_property
    def cells(self) -> list[Cells]:
        """The tokens of each line as cells."""
        of_part = {
            int(j): Cells(*of_token)
            for group in self.groups
            if group.cells is not None
            for j, *of_token in zip(group.parts, *group.cells, strict=True)
        }
        return [of_part[int(j)] for j in self.lines]

    @cached_property
    def log_masses(self) -> Array:
        """Log-masses of each token of each part, (p, K); minus infinity for padding."""
        made = np.full((self.parts, self.sizes.max()), -np.inf)
        for group in self.groups:
            made[group.parts, : group.log_masses.shape[1]] = group.log_masses
        return made

    @cached_property
    def line_place(self) -> NDArray[np.int32]:
        """The index of each part among the lines, (p,); -1 for the others."""
        return places_among(self.lines, self.parts)


def places_among(lines: NDArray[np.int32], parts: int) -> NDArray[np.int32]:
    """Return the index of each part among the lines, (p,); -1 for the others."""
    places = np.full(parts, -1, np.int32)
    places[lines] = np.arange(len(lines))
    return places


def layout_of(schema: Schema) -> Layout:
    """Lay out the parts of a table and their relations."""
    parts, linker = schema.parts, Linker.of(schema)
    links, references = linker.links, linker.references
    sizes = [part.count for part in parts]
    kinds = _assign_groups(sizes, [bool(_free_tokens(part).any()) for part in parts])
    lines = np.array([j for j, part in enumerate(parts) if part.has_density], np.int32)
    line_place, levels = places_among(lines, len(parts)), _build_levels(parts, len(lines))
    members = ([j for j, one in enumerate(kinds) if one == kind] for kind in sorted(set(kinds)))
    groups = [_build_group(parts, own, line_place) for own in members]
    line_links, line_references = (
        np.array([[*some.parts].index(j) if j in some.parts else len(some.parts) for j in lines], np.int32)
        for some in (links, references)
    )
    linked = line_links[line_links < len(links.parts)]
    loose = [group for group in groups if group.loose]
    axes = np.concatenate([lines, levels.parts])
    return Layout(
        np.array(sizes, np.int32),
        tuple(groups),
        lines,
        levels,
        links,
        references,
        _build_patterns(parts, schema.missing_patterns),
        axes=axes,
        token_places=_place_tokens(parts, lines, levels),
        on_line=np.array([part.edges is not None and len(part.edges) > 1 for part in parts]),
        loose=np.concatenate([group.parts for group in loose] or [np.zeros(0, np.int32)]),
        free=np.concatenate([group.free.ravel() for group in loose] or [np.zeros(1, np.float32)]),
        offsets=_offsets(loose, len(parts)),
        line_links=line_links,
        line_references=line_references,
        valued=np.array([size - (part.missing and part.has_density) for size, part in zip(sizes, parts, strict=True)]),
        near=int((links.log_odds[linked] > NEVER).sum(axis=1).max(initial=0)),
    )


def _assign_groups(sizes: Sequence[int], loose: Sequence[bool]) -> list[tuple[int, bool]]:
    """Assign each part to a group, by its number of tokens and whether some of them are free."""
    if len(sizes) * max(sizes) <= SMALL:
        return [(0, any(loose))] * len(sizes)
    made = [(int(np.searchsorted(SIZES, size)), free) for size, free in zip(sizes, loose, strict=True)]
    own = [j for j, free in enumerate(loose) if free]
    if len(own) * max((sizes[j] for j in own), default=0) <= SMALL:
        made = [(0, True) if j in own else kind for j, kind in enumerate(made)]
    return made


def _offsets(loose: Sequence[Group], parts: int) -> NDArray[np.int32]:
    """Return where the tokens of each part begin in the concatenated tokens of these groups, with padding, (p,)."""
    made, start = np.zeros(parts, np.int32), 0
    for group in loose:
        count, padded = group.log_masses.shape
        made[group.parts] = start + padded * np.arange(count)
        start += padded * count
    return made


def _build_patterns(parts: Sequence[Part], missing: MissingPatterns) -> Patterns:
    codes = np.array([part.count - 1 if part.missing else -1 for part in parts], np.int32)
    shares = np.array([part.masses[-1] if part.missing else 0.5 for part in parts])
    log_odds = (np.log(shares) - np.log1p(-shares)).astype(np.float32)
    if not (codes >= 0).any():
        return Patterns(codes, np.zeros(0, np.float32), np.zeros((0, len(parts)), np.float32), log_odds)
    log_weights, rates = np.full(PATTERNS + 1, NEVER, np.float32), np.zeros((PATTERNS + 1, len(parts)), np.float32)
    log_weights[: len(missing.weights)] = np.log(missing.weights)
    # Each column whose missing entries have a token has one such part, in the order of the columns.
    rates[: len(missing.weights), codes >= 0] = missing.rates[:, missing.rates.any(axis=0)]
    return Patterns(codes, log_weights, np.clip(rates, UNHEARD, 1 - UNHEARD), log_odds)


def _build_levels(parts: Sequence[Part], lines: int) -> Levels:
    axis = np.full((len(parts), LEVELS - 1), -1, np.int32)
    found: list[tuple[int, int, float]] = []
    few = [j for j, part in enumerate(parts) if part.count <= LEVELS and not part.has_density]
    for j in sorted(few, key=lambda j: parts[j].count) if lines else ():
        count = parts[j].count - 1
        if len(found) + count <= AXES:
            axis[j, :count] = lines + len(found) + np.arange(count)
            found += [(j, code, float(parts[j].masses[code])) for code in range(count)]
    made = np.array(found).reshape(-1, 3)
    return Levels(axis, made[:, 0].astype(np.int32), made[:, 1].astype(np.int32), made[:, 2].astype(np.float32))


def _place_tokens(parts: Sequence[Part], lines: NDArray[np.int32], levels: Levels) -> NDArray[np.float32]:
    """Return the place of each token on each axis; see `Layout.token_places`."""
    placed = np.zeros((len(lines) + len(levels.parts) + 1, max(part.count for part in parts)), np.float32)
    for axis, j in enumerate(lines):
        edges = np.asarray(parts[j].edges)
        low, high = (np.where(np.isfinite(one), one, other) for one, other in permutations((edges[:-1], edges[1:])))
        placed[axis, : len(low)] = np.clip((low + high) / 2, -TILT_REACH, TILT_REACH)
    for axis, (j, code, mass) in enumerate(zip(levels.parts, levels.codes, levels.masses, strict=True), len(lines)):
        placed[axis, : parts[j].count] = (np.arange(parts[j].count) == code) - mass
    return placed


def _free_tokens(part: Part) -> NDArray[np.float32]:
    """Return 1 for each token of a single value, a label, or missing entries, otherwise 0, (K,)."""
    free = np.ones(part.count, np.float32)
    if part.single is not None:
        free[: len(part.single)] = part.single
    return free


def waves_of(u: Any) -> Any:
    """Evaluate the smooth basis at ranks u (...), (..., WAVES), in NumPy or JAX."""
    waves = np.arange(1, WAVES + 1)
    xp: Any = np if isinstance(u, np.ndarray) else jnp
    return xp.cos(math.pi * u[..., None] * waves) / np.sqrt(1 + (waves / DECAY) ** 2)


def _build_group(parts: Sequence[Part], places: Sequence[int], line_place: NDArray[np.int32]) -> Group:
    parts = [parts[j] for j in places]
    shape = len(parts), max(part.count for part in parts)
    log_masses, free = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.float32)
    basis = np.zeros((*shape, WAVES), np.float32)
    for i, part in enumerate(parts):
        log_masses[i, : len(part.masses)] = np.log(part.masses)
        free[i, : part.count] = _free_tokens(part)
        if part.edges is not None:
            middle = (part.ranks[1:] + part.ranks[:-1]) / 2
            basis[i, : len(middle)] = waves_of(middle)
    lines, cells = np.maximum(line_place[[*places]], 0), _build_cells(parts, shape[1])
    return Group(np.array(places, np.int32), log_masses, basis, free, lines, cells, bool(free.any()))


def _build_cells(parts: Sequence[Part], most: int) -> Cells | None:
    """Return the tokens of the parts with a density as cells, padded to `most`; None if there is no such part."""
    dense = [i for i, part in enumerate(parts) if part.has_density]
    if not dense:
        return None
    ends = {i: np.clip(np.asarray(parts[i].edges), -FAR, FAR) for i in dense}
    points = {i: np.flatnonzero(np.diff(ends[i]) <= 0) for i in dense}
    count = max(map(len, points.values()))
    cells = Cells(
        np.zeros((len(parts), most + 1), np.float32),
        np.zeros((len(parts), most), np.float32),
        np.zeros((len(parts), most), bool),
        np.full((len(parts), count), most, np.int32),
        np.zeros((len(parts), count, 2), np.float32),
    )
    for i in dense:
        cells.edges[i] = np.pad(ends[i], (0, most + 1 - len(ends[i])), mode="edge")
        cells.shares[i, : len(ends[i]) - 1] = np.diff(parts[i].ranks)
        cells.open[i, : len(ends[i]) - 1] = (ends[i][:-1] <= -FAR) | (ends[i][1:] >= FAR)
        cells.points[i, : len(points[i])] = points[i]
        cells.around[i, : len(points[i])] = ends[i][points[i]][:, None] + [-SLIVER, SLIVER]
    return cells


# --- Exact relations between numbers and dependencies of labels, as a part of a row's probability -------------------
#
#     p(x_j | visible) = pi_0 q(x_j | visible) + sum over r of pi_r [x_j = value from relation r and visible columns]
#
# q is the density of `tables/network.py`. The shares pi are a softmax of the network's outputs rho_r, and 0 for pi_0. A
# relation applies once all its other columns are visible and column j can hold its value. A dependency applies once the
# column from which j follows is visible and its label is in the domain.
#
# The odds against a relation that hardly any training row breaks are the network's exp(-rho_r) plus a few times the
# odds in the training rows. So it is broken often enough that rejection can reach the training rows' share.


Integers = NDArray[np.int32]

SURE = 1e-6  # minimum initial share that a relation leaves to other values
SOFT = 4.0  # multiple of the training rows' odds against a rule with exceptions: q may produce its value, too


class Derived(NamedTuple):
    """The values from a relation for a part, in n rows; (n,) each.

    Attributes:
        codes, y, numbers: token, place and number of the value, or index of the label.
        possible: whether the part can hold the value, and the other columns are known.
    """

    codes: NDArray[np.int32]
    y: Array
    numbers: Array
    possible: NDArray[np.bool_]

    def take(self, rows: NDArray[np.integer]) -> "Derived":
        """Select some rows."""
        return Derived(self.codes[rows], self.y[rows], self.numbers[rows], self.possible[rows])

    @property
    def places(self) -> Array:
        """y, clipped to the network's range; 0 if there is no value."""
        return np.clip(np.where(self.possible, self.y, 0.0), -FAR, FAR)


def shares_of(links: Any, derived: Sequence[Derived]) -> tuple[Array, Array]:
    """Compute the shares pi of relations (..., n, R), and pi_0 (..., n), from rho of R or more relations."""
    could = np.stack([one.possible for one in derived], -1)
    odds = np.where(could, np.exp(np.asarray(links[..., : len(derived)], np.float64)), 0.0)
    rest = 1 / (1 + odds.sum(-1))
    return odds * rest[..., None], rest


@dataclass(frozen=True)
class Linker:
    """The relations and dependencies of a schema, by the part that they give.

    Attributes:
        schema: schema of the table.
        of_part: part -> its relations, or its dependencies.
        relatives: part -> its histograms relative to other columns.
        training: whether rows are training rows, which do not count in the means of their groups.
    """

    schema: Schema
    of_part: dict[int, list[Relation | Dependency]]
    relatives: dict[int, list[Relative]]
    training: bool = False

    @classmethod
    def of(cls, schema: Schema, *, training: bool = False) -> "Linker":
        """Collect all relations and dependencies of a schema."""
        made: dict[int, list[Relation | Dependency]] = {}
        every: list[Relation | Dependency] = [*schema.relations, *schema.dependencies]
        for relation in every:
            for column in relation.targets:
                made.setdefault(schema.parts_of(column).start, []).append(relation)
        relatives: dict[int, list[Relative]] = {}
        for relative in schema.relatives:
            relatives.setdefault(schema.parts_of(relative.column).start, []).append(relative)
        return cls(schema, dict(sorted(made.items())), dict(sorted(relatives.items())), training)

    @property
    def links(self) -> Links:
        """The relations and dependencies as arrays."""
        p, most = len(self.schema.parts), max(map(len, self.of_part.values()), default=0)
        others = np.zeros((len(self.of_part), most, p), bool)
        log_odds, log_least = np.full((2, len(self.of_part), most), NEVER, np.float32)
        for i, (j, relations) in enumerate(self.of_part.items()):
            for r, relation in enumerate(relations):
                others[i, r, self._others(j, relation)] = True
                given = relation.share_of(self.schema.parts[j].column)
                share = np.clip(given, 1e-4, 1 - SURE)
                log_odds[i, r] = np.log(share / (1 - share))
                if 0 < relation.shares[0] <= BROKEN and given == relation.share:
                    log_least[i, r] = np.log(SOFT) - log_odds[i, r]
        return Links(np.array([*self.of_part], np.int32), others, log_odds, log_least)

    @property
    def references(self) -> References:
        """The histograms relative to other columns as arrays."""
        shape, p = (len(self.relatives), max(map(len, self.relatives.values()), default=0)), len(self.schema.parts)
        others, edges = np.zeros((*shape, p), bool), np.zeros((*shape, CELLS + 1), np.float32)
        most = max((self.schema.parts[j].count for j in self.relatives), default=0)
        log_masses, ends = np.full((*shape, CELLS), NEVER, np.float32), np.zeros((shape[0], most + 1), np.float32)
        for i, (j, relatives) in enumerate(self.relatives.items()):
            bounds = np.clip(self.line(j).bounds, -FURTHEST, FURTHEST)
            wide = np.flatnonzero(np.diff(bounds))  # values beyond belong to the outer tokens
            bounds[wide[0]], bounds[wide[-1] + 1] = -FURTHEST, FURTHEST
            ends[i] = np.pad(bounds, (0, most + 1 - len(bounds)), mode="edge")
            for f, one in enumerate(relatives):
                for column in one.given:
                    others[i, f, self.schema.parts_of(column)] = True
                edges[i, f] = np.pad(one.edges, (0, CELLS + 1 - len(one.edges)), mode="edge")
                log_masses[i, f, : len(one.masses)] = np.log(one.masses)
        return References(np.array([*self.relatives], np.int32), others, edges, log_masses, ends)

    def coordinates(
        self, j: int, codes: NDArray[np.integer], y: Array, visible: NDArray[np.bool_]
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Return r and s of the histograms of part j, as places of its grid, and whether they are known, (n, F) each.

        Args:
            j: a part with histograms.
            codes, y: (n, p), tokens and places of the rows.
            visible: (n, p), which entries are visible.
        """
        grid, made, x = self.line(j).grid, [], None
        if self.training:
            here = self._is_known(j, codes, visible)
            x = days_or_numbers(self._kind(j), self._numbers(j, codes, y, here))
        for relative in self.relatives[j]:
            parts = {column: self.schema.parts_of(column).start for column in relative.given}
            known = np.logical_and.reduce([self._is_known(i, codes, visible) for i in parts.values()])
            numbers = {
                column: days_or_numbers(self._kind(i), self._numbers(i, codes, y, known)) for column, i in parts.items()
            }
            origin, unit = relative.coordinates(numbers, x)
            if grid.step:
                origin, unit = (origin - grid.origin / 10**grid.places) / grid.width, unit / grid.width
            known &= (unit > 0) & ~np.isnan(origin)
            made.append((np.where(known, origin, 0.0), np.where(known, unit, 1.0), known))
        origins, units, every = (np.stack(part, axis=1) for part in zip(*made, strict=True))
        return origins, units, every

    def spans(
        self, j: int, codes: NDArray[np.integer], y: Array, observed: NDArray[np.bool_]
    ) -> tuple[Array, Array, NDArray[np.bool_]]:
        """Return where values lie in the histograms of part j, and whether these apply, (n, F) each.

        The first array counts cells from the first edge, up to the lower end of the value; the second has the number of
        cells that the value covers, or its density for a real number.
        """
        line = self.line(j)
        origin, unit, known = self.coordinates(j, codes, y, observed)
        k: Array = line.curve.inverse(y[:, j])
        first = last = k
        if line.grid.step:
            first, last = np.rint(k) - 0.5, np.rint(k) + 0.5
        if isinstance(line, Few):
            code = np.clip(codes[:, j], 0, len(line.at) - 1)
            first, last = line.bounds[code], line.bounds[code + 1]
        first = np.where(first <= line.bounds[0], -np.inf, first)
        last = np.where(last >= line.bounds[-1], np.inf, last)
        place, extent = np.zeros((2, *origin.shape))
        for f, one in enumerate(self.relatives[j]):
            cells = np.arange(len(one.edges))
            v, w = (np.interp((end - origin[:, f]) / unit[:, f], one.edges, cells) for end in (first, last))
            place[:, f], extent[:, f] = v, w - v
            if not line.grid.step:
                inside = (v > 0) & (v < cells[-1])
                cell = np.minimum(v.astype(int), len(one.masses) - 1)
                density = np.exp(-line.curve.log_slope(k)) / (unit[:, f] * np.diff(one.edges)[cell])
                extent[:, f] = np.where(inside, density, 0.0)
        return place, extent, known

    def line(self, j: int) -> Binning:
        """Return the binning of a part with histograms."""
        line = self._kind(j).lines[0]
        assert line is not None  # because it has histograms
        return line

    def _others(self, j: int, relation: Relation | Dependency) -> list[int]:
        target = self.schema.parts[j].column
        return [self.schema.parts_of(column).start for column in relation.columns if column != target]

    def derived(self, j: int, codes: NDArray[np.integer], y: Array, visible: NDArray[np.bool_]) -> Iterator[Derived]:
        """Yield the values from each relation of part j.

        Args:
            j: a part with relations.
            codes, y: (n, p), tokens and places of the rows.
            visible: (n, p), which entries are visible.
        """
        for relation in self.of_part[j]:
            others = self._others(j, relation)
            known = np.logical_and.reduce([self._is_known(i, codes, visible) for i in others])
            if isinstance(relation, Dependency):
                decides, own = codes[:, others[0]], len(self._kind(others[0]).own_labels)
                known &= decides < own  # the others are rare labels that share a token
                follows = np.where(known, relation.codes[np.where(known, decides, 0)], -1)
                yield Derived(np.maximum(follows, 0), np.zeros(len(codes)), follows.astype(float), follows >= 0)
                continue
            target = self._kind(j)
            assert target.step is not None  # because it has a relation
            values = {self.schema.parts[i].column: self._numbers(i, codes, y, known) for i in others}
            x = np.where(known, relation.value(target.column, values), 0.0)
            numbers = target.nearest(x)
            x = numbers if relation.within else x  # a product is rounded to a value of the column
            entries = target.encode(numbers)[0]
            possible = known & (entries.codes != IMPOSSIBLE)
            found = np.where(possible, entries.codes, 0).astype(np.int32)
            # A value that is never drawn, such as an unseen one among few values, does not count.
            again = target.decode(found[:, None], entries.y[:, None], entries.y[:, None])
            possible &= np.abs(again - x) < EQUAL * target.step
            yield Derived(found, entries.y, again, possible)

    def _is_known(self, i: int, codes: NDArray[np.integer], visible: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return where the column of part i is visible and not missing, (n,)."""
        part, at = self.schema.parts[i], self.schema.parts_of(self.schema.parts[i].column)
        return (visible[:, at] & (codes[:, at] >= 0)).all(axis=1) & (codes[:, i] < part.count - part.missing)

    def _numbers(self, i: int, codes: NDArray[np.integer], y: Array, known: NDArray[np.bool_]) -> Array:
        """Return the numbers of the column of part i (n,), or the indices of its labels, if known."""
        at = self.schema.parts_of(self.schema.parts[i].column)
        inside = np.where(known[:, None], codes[:, at], 0).astype(np.int32)
        return self._kind(i).decode(inside, y[:, at], y[:, at]).astype(np.float64)

    def _kind(self, j: int) -> Kind:
        return self.schema.kind_of(self.schema.parts[j].column)

    def read(self, encoded: Encoded, observed: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        """Evaluate the relations and histograms in n rows; return the fields of `EncodedRows` for them."""
        holds, could = (np.zeros(encoded.codes.shape, np.int32) for _ in range(2))
        given = np.zeros((*encoded.codes.shape, max(map(len, self.of_part.values()), default=0)), np.float32)
        for j in self.of_part:
            here = self._is_known(j, encoded.codes, observed)
            own, step = self._numbers(j, encoded.codes, encoded.y, here), self._kind(j).step or 1.0
            for r, found in enumerate(self.derived(j, encoded.codes, encoded.y, observed)):
                same = found.possible & here & (np.abs(found.numbers - own) < EQUAL * step)
                holds[:, j] |= same.astype(np.int32) << r
                could[:, j] |= found.possible.astype(np.int32) << r
                given[:, j, r] = found.places
        place, extent = np.zeros((2, *holds.shape, max(map(len, self.relatives.values()), default=0)), np.float32)
        for j, relatives in self.relatives.items():
            spot = slice(0, len(relatives))
            place[:, j, spot], extent[:, j, spot], known = self.spans(j, encoded.codes, encoded.y, observed)
            could[:, j] |= (known << FRAMED + np.arange(len(relatives))).sum(axis=1).astype(np.int32)
        return {"holds": holds, "could": could, "given": given, "place": place, "extent": extent}


def softened(rho: jax.Array, log_least: Any) -> jax.Array:
    """Add the minimum odds against the relations (..., R) to the network's rho."""
    return -jnp.logaddexp(-rho, log_least)


def bits_of(words: jax.Array, count: int) -> jax.Array:
    """Return the first bits of words (...), (..., count), bool."""
    return (words[..., None] >> jnp.arange(count)) & 1 > 0


def log_linked(rho: jax.Array, could: jax.Array, holds: jax.Array, log_q: jax.Array) -> jax.Array:
    """Compute log p (...) from rho (..., R), which relations apply and hold (..., R), and log q (...)."""
    rho = jnp.where(could, rho, NEVER)
    log_rest = -jax.nn.logsumexp(jnp.pad(rho, [(0, 0)] * (rho.ndim - 1) + [(1, 0)]), axis=-1)
    linked = jax.nn.logsumexp(jnp.where(holds & could, rho, NEVER), axis=-1)
    return log_rest + jnp.logaddexp(log_q, linked)
