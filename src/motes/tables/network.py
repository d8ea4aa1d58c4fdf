"""The network for all columns of a table: it reads the visible parts of a row and predicts the masked parts.

    h_0 = sum over visible j of (E_j[token_j] + C_j basis(u_j) + a_j y_j) + sum over masked j of H_j
    h_{i+1} = h_i + W_i gelu(V_i norm(h_i) + b_i)

A visible number enters at full precision: as its place y on the line and its rank u, besides its token. The output of
part j is linear in norm(h): a logit for each token, smooth along the line if there is one, and the parameters that move
its density, if it has one. All outputs are zero at first, so training starts from the marginals and the base.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.tables.kinds.binnings import Binning
from motes.tables.layout import (
    FAR,
    FRAMED,
    NEVER,
    TILT_REACH,
    WAVES,
    Group,
    Layout,
    Linker,
    bits_of,
    log_linked,
    softened,
    waves_of,
)
from motes.tables.mixture import LEAST_MASS, Base, Cells, Gaussians, OrderedBase, components_given, in_order, marginals
from motes.tables.parts import IMPOSSIBLE, Array, Encoded, Part, Repeats
from motes.tables.relative import CELLS
from motes.tables.schema import Schema
from motes.training.programs import put

SHARED = 8  # rows that share a dropout mask
REACH = 8.0  # standard deviations to which the network's linear input of visible numbers is clipped


class EncodedRows(NamedTuple):
    """n encoded rows, (n, p) each, or one part of them, (n,); see `motes.tables.parts.Encoded`.

    Attributes:
        codes, y, low, high, observed: as in `Encoded`.
        u: the share of the training rows below y.
        cell: high - low, computed in double precision.
        inner: log share of the value in an even spread over its token, or the log-density in y.
        holds, could: bit r tells whether relation r of the part holds, and whether it applies; see `tables/layout.py`.
            Bit FRAMED + f of `could` tells whether histogram f applies.
        given: the places from the part's relations, (n, p, R); 0 if there is none.
        place, extent: where the value lies in the part's histograms, (n, p, F); see `Linker.spans`.
        alone: whether the value has a token of its own without width (a label, an atom, missing), outside the density.
    """

    codes: jax.Array
    y: jax.Array
    u: jax.Array
    low: jax.Array
    high: jax.Array
    cell: jax.Array
    inner: jax.Array
    holds: jax.Array
    could: jax.Array
    given: jax.Array
    place: jax.Array
    extent: jax.Array
    alone: jax.Array
    observed: jax.Array


PLACES = ("y", "u", "low", "high", "cell", "inner")  # the fields with real numbers


class Heads(NamedTuple):
    """The output layers, combined for evaluation.

    Attributes:
        codes: weights of each group's tokens, (G, K, H), or (G, WAVES, H) if no token is free; see `code_logits`.
        code_bias: their biases, (G, K), including the log-masses of the marginals.
        lines, line_bias: weights and biases of the densities, (L, Q, H) and (L, Q).
        links, link_bias: weights and biases of the relations, (J, R, H) and (J, R).
        frames, frame_bias: those of the histograms, (J, F, 1 + CELLS, H) and (J, F, 1 + CELLS): a log-weight, and the
            cells' logits.
    """

    codes: tuple[jax.Array, ...]
    code_bias: tuple[jax.Array, ...]
    lines: jax.Array
    line_bias: jax.Array
    links: jax.Array
    link_bias: jax.Array
    frames: jax.Array
    frame_bias: jax.Array


class Dropout(NamedTuple):
    """Dropout of units in training.

    Attributes:
        rate: probability with which a unit is dropped, in steps of 1/256.
        bits: random bytes, (n / SHARED, units); SHARED rows drop the same units.
    """

    rate: float
    bits: jax.Array


class MaskedNetwork(eqx.Module):
    """The network that predicts masked parts from visible parts.

    Args:
        layout: the parts of the table.
        width: H, the width of the state.
        depth: number of blocks.
        line_outputs: Q, number of outputs for each density.
        key: random key of the initial weights; None for shapes instead of arrays.
    """

    hidden: jax.Array  # (p, H)
    embed: jax.Array  # (S, H), for S tokens of the loose groups
    waves: jax.Array  # (p, WAVES, H)
    slopes: jax.Array  # (p, H)
    into: tuple[jax.Array, ...]  # (H, F)
    bias: tuple[jax.Array, ...]  # (F,)
    back: tuple[jax.Array, ...]  # (F, H)
    out_waves: tuple[jax.Array, ...]  # (G, WAVES, H)
    out_free: tuple[jax.Array, ...]  # (G, K, H); (G, 0, H) for a group without free tokens
    out_bias: tuple[jax.Array, ...]  # (G, K)
    lines: jax.Array  # (L, Q, H)
    line_bias: jax.Array  # (L, Q)
    links: jax.Array  # (J, R, H)
    link_bias: jax.Array  # (J, R)
    frames: jax.Array  # (J, F, 1 + CELLS, H)
    frame_bias: jax.Array  # (J, F, 1 + CELLS)

    def __init__(self, layout: Layout, width: int, depth: int, line_outputs: int, *, key: jax.Array | None):
        p, total, lines = layout.parts, len(layout.free), len(layout.lines)
        rng = None if key is None else np.random.default_rng(np.asarray(jax.random.key_data(key)))  # compiles nothing

        def zeros(shape: tuple[int, ...]) -> Any:
            return jax.ShapeDtypeStruct(shape, np.float32) if rng is None else put(np.zeros(shape))

        def draw(shape: tuple[int, ...], scale: float) -> Any:
            return zeros(shape) if rng is None else put(scale * rng.standard_normal(shape))

        inner, share = 2 * width, 1 / math.sqrt(p)
        self.hidden = draw((p, width), share)
        self.embed = draw((total, width), share)
        self.waves = draw((p, WAVES, width), share)
        self.slopes = draw((p, width), share)
        self.into = tuple(draw((width, inner), 1 / math.sqrt(width)) for _ in range(depth))
        self.bias = tuple(zeros((inner,)) for _ in range(depth))
        self.back = tuple(draw((inner, width), 0.5 / math.sqrt(inner)) for _ in range(depth))
        self.out_waves = tuple(zeros((len(g.parts), WAVES, width)) for g in layout.groups)
        free = [g.log_masses.shape[1] if g.loose else 0 for g in layout.groups]
        self.out_free = tuple(zeros((len(g.parts), k, width)) for g, k in zip(layout.groups, free, strict=True))
        self.out_bias = tuple(zeros(g.log_masses.shape) for g in layout.groups)
        self.lines = zeros((lines, line_outputs, width))
        self.line_bias = zeros((lines, line_outputs))
        self.links = zeros((*layout.links.log_odds.shape, width))
        self.link_bias = zeros(layout.links.log_odds.shape) if key is None else put(layout.links.log_odds)
        first = np.pad(layout.references.log_masses, ((0, 0), (0, 0), (1, 0)), constant_values=FRAME_WEIGHT)
        self.frames = zeros((*first.shape, width))
        self.frame_bias = zeros(first.shape) if key is None else put(first)

    @property
    def units(self) -> int:
        """The number of units of the state and the blocks, to which dropout applies."""
        return self.hidden.shape[-1] + sum(part.shape[-1] for part in self.bias)

    def state(self, layout: Layout, rows: EncodedRows, visible: jax.Array, dropout: Dropout | None = None) -> jax.Array:
        """Compute norm(h), (n, H), of rows with the `visible` parts (n, p), with dropout in training."""
        at = layout.loose
        y = jnp.where(visible, jnp.clip(rows.y, -REACH, REACH), 0.0)
        h = y @ self.slopes + jnp.where(visible, 0.0, 1.0) @ self.hidden
        if len(at):
            place = layout.offsets[at] + jnp.where(visible[:, at], rows.codes[:, at], 0)
            known = jnp.asarray(layout.free)[place] * visible[:, at]
            h = h + (known[..., None] * self.embed[place]).sum(1)
        on_line = visible & jnp.asarray(layout.on_line)
        h = h + jnp.einsum("npr,prh->nh", waves_of(rows.u) * on_line[..., None], self.waves)
        first = 0
        for into, bias, back in zip(self.into, self.bias, self.back, strict=True):
            h = h + thinned(jax.nn.gelu(normed(h) @ into + bias), dropout, first) @ back
            first += len(bias)
        return thinned(normed(h), dropout, first)

    def heads(self, layout: Layout) -> Heads:
        """Return the output layers, with the free and smooth weights of each token added up."""
        codes = tuple(
            jnp.asarray(g.free)[..., None] * free + jnp.einsum("gkr,grh->gkh", jnp.asarray(g.basis), waves)
            if g.loose
            else waves
            for g, free, waves in zip(layout.groups, self.out_free, self.out_waves, strict=True)
        )
        bias = tuple(jnp.asarray(g.log_masses) + b for g, b in zip(layout.groups, self.out_bias, strict=True))
        return Heads(codes, bias, self.lines, self.line_bias, self.links, self.link_bias, self.frames, self.frame_bias)


def code_logits(group: Group, codes: jax.Array, bias: jax.Array, state: jax.Array) -> jax.Array:
    """Compute the logits (n, G, K) of a group's tokens; without free tokens, from a few basis coefficients per part."""
    if group.loose:
        return jnp.einsum("nh,gkh->ngk", state, codes) + bias
    return jnp.einsum("ngr,gkr->ngk", jnp.einsum("nh,grh->ngr", state, codes), jnp.asarray(group.basis)) + bias


def normed(h: jax.Array) -> jax.Array:
    """Divide h (..., H) by its root mean square (Zhang & Sennrich 2019, eq. 4, without a gain)."""
    return h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + 1e-6)


def thinned(h: jax.Array, dropout: Dropout | None, first: int) -> jax.Array:
    """Apply dropout to the units h (n, F) from unit `first` on, scaling the kept ones up (Srivastava et al. 2014)."""
    if dropout is None:
        return h
    out, bits = round(256 * dropout.rate), dropout.bits[:, first : first + h.shape[-1]]
    return h * jnp.repeat((bits >= out) * (256 / (256 - out)), SHARED, axis=0)[: len(h)]


# --- The likelihood of a row from the network's outputs: tokens, and densities within them ---------------------------
#
# A value of a part on a line lies in one of its tokens k, with a share h_k of the training rows.
#
#     p(x | visible) = exp(t_k) h_k (g L_k e_k(x) + (1 - g) (floor e_k(x) + N(x) / (N0_k S))) / Z,
#     L_k = floor + N_k / (N0_k S),    S = sum over l of h_l N_l / N0_l,    Z = sum over l of exp(t_l) h_l L_l
#
# N is a mixture of Gaussians given the visible parts: the base's, moved by the network, and some of its own. N_k
# is its mass in the token, and N0_k the mass of the base given nothing, so the lift L_k tells how much more likely the
# token is given the visible parts. Within the token, two experts with a gate g between them tell where the value lies:
# e_k spreads it evenly, and the other one has the shape of the Gaussians; a token without an end has only the latter.
# Given nothing, all tokens have their shares of the training rows; a gate that gives weight to the even spread costs no
# correlation. The network's t_k correct each token.
#
# If relation r gives the value y_r (see `tables/layout.py`), some more Gaussians start at y_r, because a value may be
# close to the relation's value without being equal. Histograms relative to other columns (see `tables/relative.py`) are
# experts beside this sum, for values in any token. A missing entry is a token without a place: its probability is the
# same whichever expert is right. A value on a lattice has the mass of its cell, a real number a density in y, and a
# point mass the probability of its token. All are exact, so p is normalised.


HALF_LOG_TWO_PI = 0.9189385332046727
SHIFT, STRETCH, WEIGHT = 6.0, 4.0, 12.0  # how far the network can move a mean (in sds), a log sd, a log-weight
NARROW = 0.3  # width of a cell, in standard deviations, up to which a parabola gives the Gaussian's mass to 1e-6
ROOT_TWO = 2**0.5
TINY = 1e-30  # minimum mass of a cell under one Gaussian
LEAST_LIFT = 1e-5  # floor of the lifts
LOG_LEAST_LIFT = math.log(LEAST_LIFT)
NO_GATE = -20.0  # the gate of a token without an end
WIDE = 100.0  # standard deviation of a Gaussian that never moves,
LOG_WIDE = -14.0  # and its log-weight: one in a million
LOG_REST = math.log1p(-math.exp(LOG_WIDE))  # log-weight of the other Gaussians together
CERTAIN = -1e-6  # maximum log-probability of a missing entry, so that the rest has a logarithm
FINEST = 1e-4  # minimum standard deviation of a Gaussian


class Near(NamedTuple):
    """The values from R relations for some numbers, (..., R): places y_r, and whether the relation applies."""

    y: Any
    could: Any


class Frames(NamedTuple):
    """F histograms relative to other columns for some numbers.

    Attributes:
        log_weights: (..., F).
        log_cells: log of the share of each cell, (..., F, CELLS); they sum to 1.
    """

    log_weights: jax.Array
    log_cells: jax.Array


def weighed_frames(outputs: jax.Array, could: jax.Array) -> tuple[jax.Array, Frames]:
    """Compute the histograms from outputs (..., F, 1 + CELLS), and whether they apply, (..., F).

    Also return the log of the weight that they leave to the other experts, (...).
    """
    log_weights = jnp.where(could, outputs[..., 0], NEVER)  # relative to the others
    log_weights = jax.nn.log_softmax(jnp.pad(log_weights, [(0, 0)] * (could.ndim - 1) + [(1, 0)]), -1)
    return log_weights[..., 0], Frames(log_weights[..., 1:], jax.nn.log_softmax(outputs[..., 1:], -1))


def moved(base: Gaussians, outputs: jax.Array, near: Near) -> Gaussians:
    """Compute the Gaussians (n, L, N + 1) from outputs (n, L, 3 N).

    N counts the base's components, the network's own Gaussians, and those at the places from relations. The last
    Gaussian is wide, has a tiny weight, and never moves: without it, a number far from all others would be practically
    impossible.
    """
    weight, shift, stretch = jnp.split(outputs, 3, axis=-1)
    close = near.y.shape[-1] * len(CLOSE)
    own = weight.shape[-1] - base.means.shape[-1] - close
    each = lambda part: jnp.repeat(part, len(CLOSE), -1)
    pad = lambda part, start, rest: jnp.concatenate(
        [part, *(jnp.broadcast_to(one, (*part.shape[:-1], count)) for one, count in ((start, own), (rest, close)))], -1
    )
    places = jnp.linspace(-1.5, 1.5, own) if own > 1 else jnp.zeros(own)
    log_weights = pad(base.log_weights, OWN_WEIGHT, jnp.where(each(near.could), CLOSE_WEIGHT, NEVER))
    log_weights = log_weights + WEIGHT * jnp.tanh(weight / WEIGHT)
    spread = pad(base.sds, 1.0, jnp.tile(jnp.array(CLOSE), near.y.shape[-1]))
    sds = spread * jnp.exp(STRETCH * jnp.tanh(stretch / STRETCH))
    means = pad(base.means, places, each(near.y)) + spread * SHIFT * jnp.tanh(shift / SHIFT)
    last = lambda value: jnp.full((*means.shape[:-1], 1), value)
    log_weights = jnp.concatenate([jax.nn.log_softmax(log_weights, -1) + LOG_REST, last(LOG_WIDE)], -1)
    means, sds = jnp.concatenate([means, last(0.0)], -1), jnp.concatenate([jnp.maximum(sds, FINEST), last(WIDE)], -1)
    return Gaussians(log_weights, means, sds)


class Experts(NamedTuple):
    """What the Gaussians say of the tokens of some numbers, K each.

    Attributes:
        log_lifts: logs of the lifts, which are added to the logits of the tokens, (..., K).
        log_even: log of the share of the even spread within each token, (..., K); 0 for tokens without a density.
        log_scale: log of the factor of the Gaussians' mass within each token, (..., K).
    """

    log_lifts: jax.Array
    log_even: jax.Array
    log_scale: jax.Array


def experts_of(gate: jax.Array, masses: jax.Array, masses_alone: jax.Array, cells: Cells) -> Experts:
    """Compute the lifts of tokens, and the weights of the experts within them.

    Args:
        gate: log-odds of the even spread, (...).
        masses: the Gaussians' mass in each token, (..., K); see `token_masses`.
        masses_alone: the base's mass in each token given nothing, (..., K).
        cells: the tokens.
    """
    gate = jnp.where(jnp.asarray(cells.open), NO_GATE, gate[..., None])
    log_even, log_normal = jax.nn.log_sigmoid(gate), jax.nn.log_sigmoid(-gate)
    shares, masses_alone = jnp.asarray(cells.shares), jnp.maximum(masses_alone, LEAST_MASS)
    ratio = masses / masses_alone
    total = jnp.maximum((shares * ratio).sum(-1, keepdims=True), LEAST_MASS)
    log_lifts = jnp.log(LEAST_LIFT + ratio / total)
    log_even = jnp.logaddexp(log_even, log_normal + LOG_LEAST_LIFT - log_lifts)
    log_scale = log_normal - jnp.log(masses_alone * total) - log_lifts
    valued = shares > 0
    dense = valued & ~points_of(cells)
    return Experts(
        jnp.where(valued, log_lifts, 0.0), jnp.where(dense, log_even, 0.0), jnp.where(dense, log_scale, NEVER)
    )


def points_of(cells: Cells) -> jax.Array:
    """Return which tokens are point masses, (..., K)."""
    count = cells.shares.shape[-1]
    return (jnp.asarray(cells.points)[..., None] == jnp.arange(count)).any(-2)


def mass_upto_tokens(normals: Gaussians, cells: Cells) -> jax.Array:
    """Compute the mass of Gaussians (..., C) below the ends of tokens, and of the cells around point masses.

    The result is (..., K + 1 + 2 P), minus a half of the Gaussians' weights.
    """
    points = jnp.asarray(cells.points)
    around = jnp.asarray(cells.around).reshape(*points.shape[:-1], -1)
    return mass_upto(normals, jnp.concatenate([jnp.asarray(cells.edges), around], -1))


def token_masses(upto: jax.Array, cells: Cells) -> jax.Array:
    """Compute the mass in each token, (..., K), from `mass_upto_tokens`; for a point mass, in the cell around it."""
    points, count = jnp.asarray(cells.points), cells.edges.shape[-1]
    masses, ends = jnp.diff(upto[..., :count]), upto[..., count:]
    if points.shape[-1]:
        each = jax.nn.one_hot(points, count - 1)  # (..., P, K)
        masses = masses + jnp.einsum("...p,...pk->...k", ends[..., 1::2] - ends[..., ::2], each)
    return jnp.maximum(masses, 0.0)


OWN_WEIGHT = -7.0  # initial log-weight of the network's own Gaussians: -4 costs more than training wins back
CLOSE = (0.005, 0.05)  # initial standard deviations of the Gaussians at the value from a relation,
CLOSE_WEIGHT = -3.0  # and their initial log-weights
FRAME_WEIGHT = -2.0  # initial log-weight of a histogram, if there are too few rows to estimate it


def masses_upto(normals: Gaussians, edges: jax.Array) -> jax.Array:
    """Compute the weighted mass of each Gaussian below edges, minus a half of its weight, with broadcasting."""
    z = (edges - normals.means) / (ROOT_TWO * normals.sds)
    return 0.5 * jnp.exp(normals.log_weights) * jax.lax.erf(z)


@jax.custom_vjp
def mass_upto(normals: Gaussians, edges: jax.Array) -> jax.Array:
    """Compute the mass of all Gaussians (..., C) below edges (..., T), minus a half of their weights, (..., T).

    One Gaussian after the other: one array of all Gaussians at all edges takes three times as long. Its derivative is
    written out below, so that no such array is kept for it either; edges are constants.
    """
    start = jnp.zeros(jnp.broadcast_shapes(normals.means[..., :1].shape, edges.shape))
    return jax.lax.scan(lambda upto, one: (upto + masses_upto(one, edges), None), start, _one_by_one(normals))[0]


def _mass_and_slope(normals: Gaussians, edges: jax.Array) -> tuple[jax.Array, tuple[Gaussians, jax.Array]]:
    return mass_upto(normals, edges), (normals, edges)


def _mass_slopes(given: tuple[Gaussians, jax.Array], slope: jax.Array) -> tuple[Gaussians, None]:
    """Return the slopes of log-weights, means and standard deviations, from the `slope` of the masses (..., T)."""
    normals, edges = given

    def step(_: None, one: Gaussians) -> tuple[None, Gaussians]:
        z, below = (edges - one.means) / one.sds, masses_upto(one, edges)
        height = jnp.exp(one.log_weights - 0.5 * jnp.square(z) - HALF_LOG_TWO_PI) / one.sds
        return None, Gaussians(*((slope * part).sum(-1) for part in (below, -height, -height * z)))

    slopes = jax.lax.scan(step, None, _one_by_one(normals))[1]
    return Gaussians(*(jnp.moveaxis(part, 0, -1) for part in slopes)), None


mass_upto.defvjp(_mass_and_slope, _mass_slopes)


def _one_by_one(normals: Gaussians) -> Gaussians:
    """Return Gaussians (..., C) as (C, ..., 1), for a scan."""
    return Gaussians(*(jnp.moveaxis(part, -1, 0)[..., None] for part in normals))


def frame_masses_upto(frames: Frames, edges: jax.Array, ends: jax.Array) -> jax.Array:
    """Compute the weighted mass of each histogram below `ends` (..., F, T), (..., T, F).

    `edges` (..., F, CELLS + 1) are the ends of the cells, in the same coordinates.
    """
    width = jnp.diff(edges)
    inside = (ends[..., None, :] - edges[..., :-1, None]) / jnp.where(width > 0, width, 1.0)[..., None]
    upto = jnp.einsum("...b,...bt->...t", jnp.exp(frames.log_cells), jnp.clip(inside, 0.0, 1.0))
    return jnp.moveaxis(jnp.exp(frames.log_weights)[..., None] * upto, -1, -2)


def covered_cells(place: Any, extent: Any, cell: Any) -> Any:
    """Return the share of each cell that values cover, (..., F, CELLS), from `Linker.spans`, in NumPy or JAX."""
    xp: Any = np if isinstance(place, np.ndarray) else jnp  # NumPy compiles nothing
    first = xp.floor(place)
    inner = xp.where(cell[..., None] > 0, xp.minimum(extent, first + 1 - place), extent)
    beyond = np.arange(CELLS) - first[..., None]  # cells after the first
    covered = xp.clip((extent - inner)[..., None] - beyond + 1, 0.0, 1.0)
    return xp.where(beyond > 0, covered, xp.where(beyond == 0, inner[..., None], 0.0))


def log_frames(frames: Frames, place: jax.Array, extent: jax.Array, cell: jax.Array) -> jax.Array:
    """Compute the log-mass of values under all histograms, (...), from `Linker.spans`, (..., F); or the log-density."""
    if not place.shape[-1]:
        return jnp.full(place.shape[:-1], NEVER)
    mass = (jnp.exp(frames.log_cells) * covered_cells(place, extent, cell)).sum(-1)
    return jax.nn.logsumexp(frames.log_weights + jnp.log(jnp.maximum(mass, TINY)), axis=-1)


def log_frames_of(layout: Layout, rows: EncodedRows) -> Array:
    """Compute log p of the lines of rows by each initial histogram, (n, L, F); minus infinity where none applies.

    Rows in which an exact relation gives the value do not count.
    """
    parts, _, _, log_masses, _ = layout.references
    made = np.full((len(rows.codes), len(layout.lines), log_masses.shape[1]), -np.inf)
    for masses, j in zip(np.exp(log_masses), parts, strict=True):
        place, extent, cell, could, holds = (
            np.asarray(part)[:, j] for part in (rows.place, rows.extent, rows.cell, rows.could, rows.holds)
        )
        mass = (masses * covered_cells(place, extent, cell)).sum(-1)
        applies = (could[:, None] >> FRAMED + np.arange(len(masses))) & 1 & (holds[:, None] == 0)
        with np.errstate(divide="ignore"):
            made[:, layout.line_place[j]] = np.log(np.where(applies > 0, np.maximum(mass, TINY), 0.0))
    return made


def log_mixture(normals: Gaussians, low: jax.Array, high: jax.Array, cell: jax.Array) -> jax.Array:
    """Compute the log-mass between low and high (...), `cell` apart, or the log-density if `cell` is 0."""
    terms = log_mass(low[..., None], high[..., None], normals.means, normals.sds, cell[..., None])
    return jax.nn.logsumexp(normals.log_weights + terms, axis=-1)


def log_mass(low: jax.Array, high: jax.Array, mean: jax.Array, sd: jax.Array, cell: jax.Array) -> jax.Array:
    """Compute the log-mass of N(mean, sd^2) from low to high, or the log-density at low if they are equal.

    `cell` is high - low, with more digits than the difference of these.
    """
    a, b = (low - mean) / sd, (high - mean) / sd
    width = cell / sd  # b - a would lose the digits of a narrow cell far away
    narrow = width < NARROW
    middle = jnp.where(narrow, (a + b) / 2, 0.0)
    square = jnp.square(middle)
    curve = jnp.where(narrow, (square - 1) * jnp.square(width) / 24, 0.0)  # log(1 + c) = c to 1e-5 here
    slim = jnp.log(jnp.where(cell > 0, jnp.where(narrow, width, 1.0), 1 / sd)) - 0.5 * square - HALF_LOG_TWO_PI + curve
    # On the side of the mean where the error function is accurate.
    a, b = jnp.where(narrow, -1.0, a) / ROOT_TWO, jnp.where(narrow, 1.0, b) / ROOT_TWO
    a, b = jnp.where(a + b > 0, a, -b), jnp.where(a + b > 0, b, -a)
    mass = jnp.maximum(0.5 * (jax.lax.erfc(a) - jax.lax.erfc(b)), TINY)
    return jnp.where(narrow, slim, jnp.log(mass))


def log_present(log_missing: jax.Array) -> jax.Array:
    """Compute the log-probability that an entry has a value (...), from the log-probability that it is missing."""
    return jnp.log(-jnp.expm1(jnp.minimum(log_missing, CERTAIN)))


# --- The network and the base together: predictions of all masked parts of a row, given the visible ones ------------


class MaskedModel(eqx.Module):
    """The trained model of a table's tokens: the network and the base."""

    network: MaskedNetwork
    base: Base

    def log_probs(
        self,
        layout: Layout,
        heads: Heads,
        base: OrderedBase,
        rows: EncodedRows,
        visible: jax.Array,
        dropout: Dropout | None = None,
    ) -> jax.Array:
        """Compute log p of each entry given the visible entries, (n, p): masses on a lattice, otherwise densities in y.

        Args:
            layout: layout of the table.
            heads: the network's output layers.
            base: the base in an order with the visible numbers first.
            rows: n rows.
            visible: (n, p), which parts are visible.
            dropout: of the network's units, in training.
        """
        state, could = self.network.state(layout, rows, visible, dropout), possible(layout, rows, visible)
        log_p = jnp.zeros(rows.codes.shape)
        log_missing, log_even, log_scale = (jnp.full(rows.codes.shape, NEVER) for _ in range(3))
        odds = missing_log_odds(layout, seen_missing(layout, rows.codes, visible))
        if len(layout.lines):
            gate, normals, log_others, frames = self._densities(layout, heads, base, rows, visible, state, could)
            alone = marginals(self.base, len(layout.lines))
        for group, codes, bias in zip(layout.groups, heads.codes, heads.code_bias, strict=True):
            own, here = jnp.asarray(layout.patterns.codes)[group.parts], rows.codes[:, group.parts]
            logits = code_logits(group, codes, bias, state) + at_missing(own, odds[:, group.parts], bias.shape[-1])
            take = lambda part, code: jnp.take_along_axis(part, code[..., None], -1)[..., 0]
            if group.cells is not None:
                of_group = lambda normals, lines=group.lines: Gaussians(*(part[..., lines, :] for part in normals))
                masses, masses_alone = (
                    token_masses(mass_upto_tokens(of_group(some), group.cells), group.cells)
                    for some in (normals, alone)
                )
                experts = experts_of(gate[:, group.lines], masses, masses_alone, group.cells)
                logits = logits + experts.log_lifts
                log_even = log_even.at[:, group.parts].set(take(experts.log_even, here))
                log_scale = log_scale.at[:, group.parts].set(take(experts.log_scale, here))
            total = jax.nn.logsumexp(logits, -1)
            log_p = log_p.at[:, group.parts].set(take(logits, here) - total)
            absent = jnp.where(own < 0, NEVER, take(logits, jnp.broadcast_to(own, total.shape)) - total)
            log_missing = log_missing.at[:, group.parts].set(absent)
        if len(layout.lines):
            at = lambda part: part[:, jnp.asarray(layout.lines)]
            low, high, cell = (jnp.where(at(rows.alone), 0.0, at(part)) for part in (rows.low, rows.high, rows.cell))
            log_normal = log_mixture(normals, low, high, cell)
            log_within = jnp.logaddexp(at(log_even) + at(rows.inner), at(log_scale) + log_normal)
            log_lines = at(log_p) + jnp.where(at(rows.alone), 0.0, log_within)
            of_frames = log_present(at(log_missing)) + log_frames(frames, at(rows.place), at(rows.extent), cell)
            of_frames = jnp.where(at(rows.alone), NEVER, of_frames)
            missing = at(rows.codes == jnp.asarray(layout.patterns.codes))
            log_lines = jnp.logaddexp(jnp.where(missing, 0.0, log_others) + log_lines, of_frames)
            log_p = log_p.at[:, layout.lines].set(log_lines)
        if not len(linked := layout.links.parts):
            return log_p
        rho = jnp.einsum("nh,jrh->njr", state, heads.links) + heads.link_bias
        rho = softened(rho, jnp.asarray(layout.links.log_least))
        holds = bits_of(rows.holds[:, linked], could.shape[-1])
        return log_p.at[:, linked].set(log_linked(rho, could, holds, log_p[:, linked]))

    def _densities(
        self,
        layout: Layout,
        heads: Heads,
        base: OrderedBase,
        rows: EncodedRows,
        visible: jax.Array,
        state: jax.Array,
        could: jax.Array,
    ) -> tuple[jax.Array, Gaussians, jax.Array, Frames]:
        """Predict the gate, the Gaussians, and the histograms of all lines, (n, L, ...), from a state (n, H).

        The third result is the log of the weight that the histograms leave to the others. `could` tells which relations
        apply; see `possible`.
        """
        lines = jnp.asarray(layout.lines)
        known = layout.known(rows.codes, visible)[:, layout.axes]
        given = components_given(base, on_axes(layout, rows.y, rows.codes), known)
        given = Gaussians(*(part[:, : len(lines)] for part in given))
        outputs = jnp.einsum("nh,lqh->nlq", state, heads.lines) + heads.line_bias
        # A line without relations, or histograms, uses the padding after all lines with some.
        padding = ((0, 0), (0, 1), (0, 0))
        close = Near(rows.given[:, lines, : layout.near], jnp.pad(could, padding)[:, layout.line_links, : layout.near])
        cells = jnp.einsum("nh,jfbh->njfb", state, heads.frames) + heads.frame_bias
        log_others, frames = weighed_frames(
            jnp.pad(cells, (*padding, (0, 0)))[:, layout.line_references],
            jnp.pad(possible_frames(layout, rows, visible), padding)[:, layout.line_references],
        )
        return outputs[..., 0], moved(given, outputs[..., 1:], close), log_others, frames


def possible(layout: Layout, rows: EncodedRows, visible: jax.Array) -> jax.Array:
    """Return which relations apply, (n, J, R): their other columns are visible, and the part can hold the value."""
    parts, others, log_odds, _ = layout.links
    hidden = jnp.einsum("np,jrp->njr", ~visible * 1.0, jnp.asarray(others, jnp.float32))
    return (hidden < 0.5) & bits_of(rows.could[:, parts], log_odds.shape[1])


def possible_frames(layout: Layout, rows: EncodedRows, visible: jax.Array) -> jax.Array:
    """Return which histograms apply, (n, J, F): their other columns are visible, and give a place."""
    parts, others, *_ = layout.references
    hidden = jnp.einsum("np,jfp->njf", ~visible * 1.0, jnp.asarray(others, jnp.float32))
    return (hidden < 0.5) & bits_of(rows.could[:, parts] >> FRAMED, others.shape[1])


def seen_missing(layout: Layout, codes: jax.Array, visible: jax.Array) -> jax.Array:
    """Compute the log joint probability of each component of the missing patterns and the visible parts, (n, C)."""
    own, log_weights, rates, _ = layout.patterns
    found, there = visible & (codes == own), visible & (codes != own)
    return jnp.asarray(log_weights) + found @ jnp.log(rates).T + there @ jnp.log1p(-rates).T


def missing_log_odds(layout: Layout, log_joint: jax.Array) -> jax.Array:
    """Compute how visible parts shift the log-odds that each part is missing, (n, p), from `seen_missing` (n, C)."""
    _, log_weights, rates, log_odds = layout.patterns
    if not len(log_weights):
        return jnp.zeros((len(log_joint), len(log_odds)))
    share = jax.nn.softmax(log_joint, -1)
    return jnp.log(share @ rates) - jnp.log(share @ (1 - rates)) - log_odds


def at_missing(codes: jax.Array, log_odds: jax.Array, count: int) -> jax.Array:
    """Place `log_odds` (...) at the logits (..., count) of missing entries, otherwise 0; codes of -1 have none."""
    return log_odds[..., None] * (jnp.arange(count) == codes[..., None])


def on_axes(layout: Layout, y: Any, codes: Any) -> Any:
    """Compute each row's coordinates on the base's axes, (n, A), from places and tokens (n, p), in NumPy or JAX."""
    levels = layout.levels
    there = (codes[:, levels.parts] == levels.codes) * 1.0
    xp: Any = np if isinstance(y, np.ndarray) else jnp  # NumPy compiles nothing
    return xp.concatenate([y[:, layout.lines], there - levels.masses], axis=1)


def visible_places(layout: Layout, y: Array, codes: NDArray[np.integer], visible: NDArray[np.bool_]) -> Array:
    """Compute the visible entries on the base's axes, (n, A), within `TILT_REACH`; 0 for the others."""
    known = layout.known(codes, visible)[:, layout.axes]
    return np.where(known, np.clip(on_axes(layout, y, codes), -TILT_REACH, TILT_REACH), 0.0)


def ordered(base: Base, order: jax.Array, layout: Layout) -> OrderedBase:
    """Return the base in an order of the parts, (p,)."""
    rank = jnp.argsort(order)[layout.axes]
    return in_order(base, jnp.argsort(rank))


def base_alone(models: MaskedModel) -> MaskedModel:
    """Return the members with their networks' predictions removed, except the gate of each number."""
    network = models.network
    gate = network.line_bias * (np.arange(network.line_bias.shape[-1]) == 0)
    outputs = lambda network: (
        network.out_waves, network.out_free, network.out_bias, network.lines, network.links, network.frames,
        network.line_bias,
    )  # fmt: skip
    nothing = jax.tree.map(lambda part: np.zeros(part.shape, part.dtype), outputs(network)[:-1])
    return MaskedModel(eqx.tree_at(outputs, network, (*nothing, gate)), models.base)


def skeleton_of(layout: Layout, tensors: Mapping[str, Any]) -> MaskedModel:
    """Return the shapes of the members with the arrays `tensors`, for `filled`.

    Raises:
        KeyError, ValueError: if the arrays do not belong to a model.
    """
    members, _, width = tensors["network.hidden"].shape
    _, _, outputs = tensors["network.line_bias"].shape
    if not members * width:
        raise ValueError("it has no network")
    depth = sum(name.startswith("network.into") for name in tensors)
    network = MaskedNetwork(layout, width, depth, outputs, key=None)
    _, components, _ = tensors["base.means"].shape
    axes = len(layout.axes)
    shapes = (
        (components,),
        (components, axes),
        (components, axes, axes),
        (axes,),
        (components, axes),
        (components, axes),
    )
    base = Base(*(cast(Any, jax.ShapeDtypeStruct(shape, np.float32)) for shape in shapes))
    shape = lambda part: jax.ShapeDtypeStruct((members, *part.shape), part.dtype)
    return jax.tree.map(shape, MaskedModel(network, base))


# --- Encoded entries -> inputs of the network and the densities -----------------------------------------------------
#
# The first expert spreads the probability of a token evenly over y, from one end of the token to the other. For this,
# an unbounded token ends where the training rows do; values beyond belong to the second expert alone.


@dataclass(frozen=True)
class Scale:
    """The tokens of one part on its line.

    Attributes:
        edges: (L+1,), the edges, at most FAR from 0.
        ends: (L+1,), the edges within the range of the training rows.
        ranks: (L+1,), the share of the training rows below each edge.
        points: (L,), which tokens have no width.
        repeats: frequent values within the tokens.
        upto: (V+1,), the cumulative sum of their shares.
    """

    edges: Array
    ends: Array
    ranks: Array
    points: NDArray[np.bool_]
    repeats: Repeats
    upto: Array

    @classmethod
    def of(cls, part: Part) -> "Scale":
        """Create the scale of a part with edges."""
        assert part.edges is not None
        edges, ends, drawn = np.clip(part.edges, -FAR, FAR), part.edges.copy(), part.draw_range
        if drawn is not None:
            for end in (0, -1):
                ends[end] = ends[end] if np.isfinite(ends[end]) else drawn[end]
        repeats = part.repeats or Repeats(np.zeros(len(ends) - 1), np.zeros(0), np.zeros(0))
        upto = np.append(0.0, np.cumsum(repeats.within))
        return cls(edges, ends, part.ranks, np.diff(ends) <= 0, repeats, upto)

    def rank(self, codes: NDArray[np.integer], y: Array) -> Array:
        """Compute the share of the training rows below y (n,)."""
        width = self.ends[codes + 1] - self.ends[codes]
        with np.errstate(divide="ignore", invalid="ignore"):
            within = np.where(width > 0, (y - self.ends[codes]) / width, 0.5)
        return self.ranks[codes] + np.clip(within, 0.0, 1.0) * (self.ranks[codes + 1] - self.ranks[codes])

    def inner(self, codes: NDArray[np.integer], low: Array, high: Array) -> Array:
        """Compute the log share of low to high (n,) in a token, or the log-density within it."""
        a, b = self.ends[codes], self.ends[codes + 1]
        cell, width = high > low, b - a
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.where(cell, np.minimum(high, b) - np.maximum(low, a), (low >= a) & (low <= b))
            share = np.clip(inside / width, 0.0, np.where(cell, 1.0, np.inf))
            if len(self.repeats.y):
                again = self.repeats.again[codes]
                share = again * (self._below(high) - self._below(low)) + (1 - again) * share
            return np.where(width > 0, np.log(share), 0.0)

    def inside(self, low: Any, high: Any) -> Array:
        """Compute the share of each token between low and high, numbers or (n,), as (1, L) or (n, L); 1 for a point."""
        a, b = np.atleast_1d(low)[:, None], np.atleast_1d(high)[:, None]
        width = np.where(self.points, 1.0, np.diff(self.ends))
        share = np.clip((np.minimum(b, self.ends[1:]) - np.maximum(a, self.ends[:-1])) / width, 0.0, 1.0)
        if len(self.repeats.y):
            first, last = (self._below(np.clip(end, self.ends[:-1], self.ends[1:])) for end in (a, b))
            share = self.repeats.again * np.maximum(last - first, 0.0) + (1 - self.repeats.again) * share
        return np.where(self.points, 1.0, share)

    def placed(self, codes: NDArray[np.integer], u: Array, low: Any, high: Any) -> Array:
        """Draw places (n,) within tokens, between low and high, by uniform numbers u (n,)."""
        first, last = np.maximum(self.ends[codes], low), np.minimum(self.ends[codes + 1], high)
        last = np.maximum(last, first)
        if not len(self.repeats.y):
            return first + u * (last - first)
        below, above = self._below(first), self._below(last)
        width = np.maximum(self.ends[codes + 1] - self.ends[codes], 1e-300)
        again = self.repeats.again[codes] * (above - below)
        even = (1 - self.repeats.again[codes]) * (last - first) / width
        share = again / np.maximum(again + even, 1e-300)
        chosen = u < share
        v = np.where(chosen, u / np.maximum(share, 1e-300), (u - share) / np.maximum(1 - share, 1e-300))
        spot = np.searchsorted(self.upto, below + v * (above - below), side="right") - 1
        spot = np.clip(spot, 0, len(self.repeats.y) - 1)
        return np.where(chosen, self.repeats.y[spot], first + v * (last - first))

    def _below(self, y: Array) -> Array:
        """Return the cumulative share of the repeated values below y (...)."""
        return self.upto[np.searchsorted(self.repeats.y, y)]


@dataclass(frozen=True)
class Reader:
    """The conversion of a schema's encoded rows to the network's inputs."""

    schema: Schema
    scales: tuple[Scale | None, ...]
    lines: tuple[Binning | None, ...]
    linker: Linker

    @classmethod
    def of(cls, schema: Schema, *, training: bool = False) -> "Reader":
        """Create the reader for the parts of a schema; `training`: of the rows to which the schema was fitted."""
        scales = tuple(None if part.edges is None else Scale.of(part) for part in schema.parts)
        lines = tuple(line for kind in schema.kinds for line in kind.lines)
        return cls(schema, scales, lines, Linker.of(schema, training=training))

    def read(self, encoded: Encoded) -> EncodedRows:
        """Convert n encoded rows; an impossible entry counts as unobserved."""
        n, p = encoded.codes.shape
        observed = encoded.observed & (encoded.codes != IMPOSSIBLE)
        codes = np.where(observed, encoded.codes, 0)
        made = {name: np.zeros((n, p), np.float32) for name in PLACES}
        alone = np.ones((n, p), bool)
        for j, scale in enumerate(self.scales):
            if scale is None:
                continue
            one = self.entry(j, codes[:, j], encoded.y[:, j], encoded.low[:, j], encoded.high[:, j])
            for name, values in made.items():
                values[:, j] = one[name]
            alone[:, j] = one["alone"]
        fields: dict[str, Any] = {"codes": codes, "alone": alone, "observed": observed, **made}
        fields |= self.linker.read(encoded, observed)
        return EncodedRows(**fields)

    def entry(self, j: int, codes: NDArray[np.integer], y: Array, low: Array, high: Array) -> dict[str, NDArray]:
        """Compute the fields of `EncodedRows` for part j on a line, (n,) each."""
        scale = self.scales[j]
        assert scale is not None
        y, low, high = (np.clip(part, -FAR, FAR) for part in (y, low, high))  # the limits of single precision
        count = len(scale.points)
        place = np.minimum(codes, count - 1)
        alone = (codes >= count) | scale.points[place]
        smooth = self.schema.parts[j].smooth
        inner = np.where(alone, 0.0, scale.inner(place, low, high)) if smooth else np.zeros(len(codes))
        return {
            "y": np.where(codes < count, y, 0.0), "u": scale.rank(place, y), "low": low, "high": high,
            "cell": high - low, "inner": inner, "alone": alone,
        }  # fmt: skip

    def settle(self, j: int, codes: NDArray[np.integer], y: Array) -> tuple[NDArray[np.int32], Array, Array]:
        """Round places within tokens to the nearest values of part j: return their tokens, places and ranks, (n,) each.

        Tokens without a place, such as the token of missing entries, do not change.
        """
        line, scale = self.lines[j], self.scales[j]
        if line is None or scale is None:
            return codes.astype(np.int32), np.zeros(len(codes)), np.zeros(len(codes))
        count = len(scale.points)
        here = codes < count
        entries = line.encode(line.decode(np.minimum(codes, count - 1), y))
        ranks = scale.rank(entries.codes, entries.y)
        return np.where(here, entries.codes, codes).astype(np.int32), np.where(here, entries.y, 0.0), ranks
