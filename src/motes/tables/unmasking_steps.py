"""Compiled programs that reveal masked rows one part at a time, and draw or score the next part.

    h_0 <- h_0 + E_j[code_j] + C_j basis(u_j) + a_j y_j - H_j,    e_k <- (y_j - m_k - sum over l < k of L_kl e_l) / L_kk

The sums in the network's input and in the base are updated from part to part instead of recomputed. Programs are
compiled for each group of parts and block size. All arrays have a leading axis of members, the models of an ensemble;
large tables have one member.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from motes.tables import network
from motes.tables.layout import NEVER, TILT_REACH, Layout, bits_of, log_linked, softened, waves_of
from motes.tables.mixture import Gaussians, OrderedBase, in_order, log_weight_change, marginals
from motes.tables.network import REACH, TINY, EncodedRows, Frames, Heads, MaskedModel, Near
from motes.training.programs import drawing_program, each_member

LOG_TINY = math.log(TINY)


class ObservedCodes(NamedTuple):
    """The visible entries of n rows, as one member represents them.

    Attributes:
        total: h_0, (n, H).
        whitened: e, (n, C, A), in the order of the base; 0 if masked.
        log_weights: log-weights of the mixture components given the visible entries, (n, C).
        axes: which axes of the base are visible, (n, A), in its order.
        places: the visible entries on the axes, (n, A), in the layout's order; see `network.visible_places`.
        missing: log joint probability of each component of the missing patterns and the visible entries, (n, C').
    """

    total: jax.Array
    whitened: jax.Array
    log_weights: jax.Array
    axes: jax.Array
    places: jax.Array
    missing: jax.Array


class PreparedModel(NamedTuple):
    """A model prepared for one order of the parts.

    Attributes:
        model: the network and the base.
        heads: the output layers.
        base: the base in this order.
        bias: biases of each group's tokens from calibration, (G, K).
        tilt: tilts from calibration, (A, A), see `tables/calibration.py`; 0 for none.
    """

    model: MaskedModel
    heads: Heads
    base: OrderedBase
    bias: tuple[jax.Array, ...]
    tilt: jax.Array


class Density(NamedTuple):
    """The predicted densities within the tokens of one part on a line, for n rows.

        p(x | token k) = even_k e_k(x) + scale_k N(x) + sum over f of w_f F_f(x) / q_k

    Attributes:
        normals: the Gaussians, (n, C).
        upto: their mass below the ends of the tokens, (n, K+1), up to a constant.
        log_even, log_scale: logs of `even` and `scale`, (n, K).
        frames: the histograms F relative to other columns, and their weights w.
        edges: the ends of their cells, (n, F, CELLS + 1).
        ends: the ends of the tokens in the same coordinates, (n, F, K+1).
        log_q: log-probabilities of the tokens before calibration, (n, K), at least `LOG_TINY`.
    """

    normals: Gaussians
    upto: jax.Array
    log_even: jax.Array
    log_scale: jax.Array
    frames: Frames
    edges: jax.Array
    ends: jax.Array
    log_q: jax.Array


class TokenPrediction(NamedTuple):
    """The predicted distribution of one part, for n rows.

    Attributes:
        log_codes: log-probabilities of the tokens, (n, K), normalised.
        density: the densities within the tokens; None for a part without a density.
        links: rho of its exact relations, (n, R); None for a part without relations.
    """

    log_codes: jax.Array
    density: Density | None
    links: jax.Array | None


class Place(NamedTuple):
    """The location of a part in the model's arrays; whole numbers (), except `ranks`.

    Attributes:
        part: index among all parts.
        member: index among the parts of its group.
        line: index among the parts with a density; 0 for the others.
        ranks: places of its axes in the order of the base, (LEVELS - 1,), or (LEVELS - 1, n) with an order for each
            row; padded with A. The first one is the place of a line.
        axes: its axes in the layout, (LEVELS - 1,); padded with A.
        link: index among the parts with relations; 0 for the others.
        frame: index among the parts with histograms; 0 for the others.
    """

    part: jax.Array
    member: jax.Array
    line: jax.Array
    ranks: jax.Array
    axes: jax.Array
    link: jax.Array
    frame: jax.Array


class Spot(NamedTuple):
    """The properties of a part that select the compiled program.

    Attributes:
        group: group of the part.
        line, linked, framed: whether it has a density, relations, and histograms.
    """

    group: int
    line: bool
    linked: bool
    framed: bool


class Coordinates(NamedTuple):
    """r and s of F histograms of a part for n rows, as places of its grid, and whether they are known, (n, F) each."""

    origin: Any
    unit: Any
    could: Any


@drawing_program()
def prepare(models: MaskedModel, layout: Layout, order: jax.Array) -> PreparedModel:
    """Prepare members (M, ...) for an order of the parts (p,)."""

    def one(model: MaskedModel) -> PreparedModel:
        heads = model.network.heads(layout)
        bias, axes = jax.tree.map(jnp.zeros_like, heads.code_bias), len(layout.axes)
        return PreparedModel(model, heads, network.ordered(model.base, order, layout), bias, jnp.zeros((axes, axes)))

    return each_member(one)(models)


@drawing_program()
def factorise_bases(models: MaskedModel, orders: jax.Array) -> OrderedBase:
    """Factorise the members' bases in an order for each row, (n, A); the result is (M, n, ...)."""
    return each_member(lambda model: jax.vmap(in_order, (None, 0))(model.base, orders))(models)


# --- Revealing ------------------------------------------------------------------------------------------------------


@drawing_program(static=(2,))
def mask_rows(layout: Layout, prepared: PreparedModel, n: int) -> ObservedCodes:
    """Return fully masked rows, (M, n, ...)."""
    patterns = jnp.asarray(layout.patterns.log_weights)

    def one(prepared: PreparedModel) -> ObservedCodes:
        components, axes = prepared.base.means.shape[-2:]
        total = jnp.broadcast_to(prepared.model.network.hidden.sum(0), (n, prepared.model.network.hidden.shape[1]))
        log_weights = jnp.broadcast_to(prepared.base.log_weights, (n, components))
        missing = jnp.broadcast_to(patterns, (n, len(patterns)))
        places = jnp.zeros((n, axes))
        return ObservedCodes(total, jnp.zeros((n, components, axes)), log_weights, places > 0, places, missing)

    return each_member(one)(prepared)


@drawing_program()
def reveal(
    layout: Layout, prepared: PreparedModel, seen: ObservedCodes, place: Place, entry: tuple[jax.Array, ...]
) -> ObservedCodes:
    """Reveal entries of the part at `place`; one program serves for every part.

    `entry` consists of `codes`, `y` and `u`, as in `network.EncodedRows`, and of the rows to reveal, (n,) each.
    """
    (codes, y, u, here), j = entry, place.part
    on_line, loose = (layout.lines == j).any(), (layout.loose == j).any()
    waves = jnp.asarray(layout.on_line)[j] * waves_of(u)  # once for all members: cosines are expensive
    slot = jnp.where(loose & here, jnp.asarray(layout.offsets)[j] + codes, 0)
    free = (loose * jnp.asarray(layout.free)[slot])[:, None]
    rates = jnp.asarray(layout.patterns.rates)[:, j]
    is_missing = (codes == jnp.asarray(layout.patterns.codes)[j])[:, None]
    of_pattern = jnp.where(is_missing, jnp.log(rates), jnp.log1p(-rates))
    known = here & (~on_line | (codes < jnp.asarray(layout.valued)[j]))
    masses = jnp.append(jnp.asarray(layout.levels.masses), 0.0)[jnp.asarray(layout.levels.axis)[j] - len(layout.lines)]

    def one(prepared: PreparedModel, seen: ObservedCodes) -> ObservedCodes:
        weights = prepared.model.network
        found = free * weights.embed[slot]
        found = found + jnp.clip(y, -REACH, REACH)[:, None] * weights.slopes[j]
        found = found + waves @ weights.waves[j]
        total = seen.total + jnp.where(here[:, None], found - weights.hidden[j], 0.0)
        seen = seen._replace(total=total, missing=seen.missing + jnp.where(here[:, None], of_pattern, 0.0))
        if not seen.axes.shape[1]:
            return seen
        y_of = lambda k: jnp.where(on_line, y, (codes == k) - masses[k])
        step = lambda k, seen: _reveal_axis(prepared.base, seen, place.axes[k], place.ranks[k], y_of(k), known)
        return jax.lax.fori_loop(0, (place.axes < seen.axes.shape[1]).sum(), step, seen)

    return each_member(one)(prepared, seen)


def _reveal_axis(
    base: OrderedBase, seen: ObservedCodes, axis: jax.Array, rank: jax.Array, y: jax.Array, here: jax.Array
) -> ObservedCodes:
    """Reveal the value y (n,) of an axis, in place `rank` of the base's order, in the rows `here` (n,)."""
    mean, row, sd = _axis_in_turn(base, rank)
    e = (y[:, None] - mean - _inner(seen.whitened, row)) / sd
    turn = lambda is_number, slopes, offsets, k: (is_number[k, None], slopes[:, k], offsets[:, k])
    of_labels = _in_turn(turn, rank, base.is_number, base.slopes, base.offsets)
    gain = jnp.where(here[:, None], log_weight_change(e, jnp.log(sd), y[:, None], *of_labels), 0.0)
    own = here[:, None] & (jnp.arange(seen.axes.shape[1]) == jnp.reshape(rank, (-1, 1)))  # (n, A)
    whitened = jnp.where(own[:, None], e[..., None], seen.whitened)
    mine = here[:, None] & (jnp.arange(seen.axes.shape[1]) == axis)
    places = jnp.where(mine, jnp.clip(y, -TILT_REACH, TILT_REACH)[:, None], seen.places)
    log_weights = seen.log_weights + gain
    return seen._replace(whitened=whitened, log_weights=log_weights, axes=own | seen.axes, places=places)


def _axis_in_turn(base: OrderedBase, rank: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the mean (C,), the row of the factors (C, A), and its diagonal entry (C,), of the axis in place `rank`.

    With an order, and so a rank, for each row, all three have a leading n.
    """
    turn = lambda means, factors, k: (means[:, k], factors[:, k], factors[:, k, k])
    return _in_turn(turn, rank, base.means, base.factors)


def _in_turn(turn: Callable[..., Any], rank: jax.Array, *parts: jax.Array) -> Any:
    """Call `turn` with parts of the base and a place in its order; or for each row, with a leading n in all of them."""
    return (jax.vmap(turn) if rank.ndim else turn)(*parts, rank)


def _inner(whitened: jax.Array, row: jax.Array) -> jax.Array:
    """Compute the sum over l of e_l L_kl, (n, C), with one `row` (C, A) for all, or one for each, (n, C, A)."""
    return jnp.einsum("ncl,ncl->nc" if row.ndim == 3 else "ncl,cl->nc", whitened, row)


# --- Predicting and scoring one part --------------------------------------------------------------------------------


@drawing_program(static=(4,), newer=True)
def predict_part(
    layout: Layout,
    prepared: PreparedModel,
    seen: ObservedCodes,
    place: Place,
    spot: Spot,
    near: tuple[Near, Coordinates],
    rows: Any,
) -> TokenPrediction:
    """Predict the part at `place` given the visible entries and the values `near` (n, R) from its relations, (M, n).

    `near` also has the coordinates of its histograms. With `rows` (M, m), predict only these rows of each member,
    (M, m).
    """
    if rows is None:
        return each_member(lambda prepared, seen: _predict(layout, prepared, seen, place, spot, near))(prepared, seen)
    near = jax.tree.map(lambda part: jnp.broadcast_to(part, (seen.total.shape[1], part.shape[1])), near)

    def one(prepared: PreparedModel, seen: ObservedCodes, rows: jax.Array) -> TokenPrediction:
        mine, there = jax.tree.map(lambda part: part[rows], (seen, near))
        return _predict(layout, prepared, mine, place, spot, there)

    return each_member(one)(prepared, seen, rows)


def _predict(
    layout: Layout,
    prepared: PreparedModel,
    seen: ObservedCodes,
    place: Place,
    spot: Spot,
    near: tuple[Near, Coordinates],
) -> TokenPrediction:
    values, coordinates = near
    weights, heads, base = prepared.model.network, prepared.heads, prepared.base
    h = seen.total
    for into, bias, back in zip(weights.into, weights.bias, weights.back, strict=True):
        h = h + jax.nn.gelu(network.normed(h) @ into + bias) @ back
    state = network.normed(h)
    group = layout.groups[spot.group]
    logits = state @ heads.codes[spot.group][place.member].T
    if not group.loose:
        logits = logits @ jnp.asarray(group.basis)[place.member].T
    logits = logits + heads.code_bias[spot.group][place.member]
    code, bias = jnp.asarray(layout.patterns.codes)[place.part], prepared.bias[spot.group][place.member]
    slopes = seen.places @ jnp.pad(prepared.tilt, ((0, 1), (0, 0)))[place.axes].T  # (n, LEVELS - 1)
    bias = bias + slopes @ jnp.asarray(layout.token_places)[place.axes][:, : logits.shape[-1]]
    odds = network.missing_log_odds(layout, seen.missing)[:, place.part]
    logits = logits + network.at_missing(code, odds, logits.shape[-1])
    links = None
    if spot.linked:
        rho = state @ heads.links[place.link].T + heads.link_bias[place.link]
        links = softened(rho, jnp.asarray(layout.links.log_least)[place.link])
    if not spot.line:
        return TokenPrediction(jax.nn.log_softmax(logits + bias, -1), None, links)
    outputs = state @ heads.lines[place.line].T + heads.line_bias[place.line]
    mean, row, _ = _axis_in_turn(base, place.ranks[0])
    hidden = _inner(jnp.broadcast_to(~seen.axes[:, None] * 1.0, seen.whitened.shape), jnp.square(row))
    means = mean + _inner(seen.whitened, row)
    components = Gaussians(jax.nn.log_softmax(seen.log_weights, -1), means, jnp.sqrt(hidden))
    closest = Near(*(part[..., : layout.near] for part in values))
    normals = network.moved(components, outputs[..., 1:], closest)
    alone = Gaussians(*(part[place.line] for part in marginals(prepared.model.base, len(layout.lines))))
    tokens = jax.tree.map(lambda part: jnp.asarray(part)[place.member], group.cells)
    upto, of_none = (network.mass_upto_tokens(some, tokens) for some in (normals, alone))
    masses, masses_alone = (network.token_masses(some, tokens) for some in (upto, of_none))
    experts = network.experts_of(outputs[..., 0], masses, masses_alone, tokens)
    log_q = jax.nn.log_softmax(logits + experts.log_lifts, -1)
    count = spot.framed * layout.references.others.shape[1]
    own = lambda part: jnp.asarray(part)[place.frame] if spot.framed else jnp.zeros(part.shape[1:])
    origin, unit, could = (jnp.broadcast_to(part[:, :count], (len(h), count)) for part in coordinates)
    cells = jnp.einsum("nh,fbh->nfb", state, own(heads.frames)[:count]) + own(heads.frame_bias)[:count]
    log_others, frames = network.weighed_frames(cells, could)
    size, edges = logits.shape[-1], own(layout.references.edges)[:count]
    ends = own(layout.references.ends)
    ends = jnp.pad(ends, (0, max(0, size + 1 - len(ends))), mode="edge")[: size + 1]
    ends = (ends - origin[..., None]) / unit[..., None]
    edges = jnp.broadcast_to(edges, (len(h), *edges.shape))
    missing = jnp.arange(size) == code
    log_missing = jnp.where(missing, log_q, NEVER).max(-1)
    frames = frames._replace(log_weights=frames.log_weights + network.log_present(log_missing)[:, None])
    of_frames = masses_between(network.frame_masses_upto(frames, edges, ends).sum(-1))
    log_own = log_q + jnp.where(missing, 0.0, log_others[:, None])
    valued = (jnp.asarray(tokens.shares) > 0) & (count > 0)
    log_q = jnp.where(valued, jnp.logaddexp(log_own, jnp.log(jnp.maximum(of_frames, TINY))), log_own)
    part = jnp.where(valued, log_own - log_q, 0.0)  # of the tokens' own experts
    upto = upto[..., : size + 1]
    log_some = jnp.maximum(log_q, LOG_TINY)
    density = Density(normals, upto, experts.log_even + part, experts.log_scale + part, frames, edges, ends, log_some)
    return TokenPrediction(jax.nn.log_softmax(log_q + bias, -1), density, links)


def masses_between(upto: jax.Array) -> jax.Array:
    """Compute the masses (..., T) between places from the masses below them, (..., T+1), which are rounded."""
    return jnp.maximum(jnp.diff(upto), 0.0)


@drawing_program()
def score_part(views: TokenPrediction, entry: EncodedRows) -> jax.Array:
    """Compute the log of the members' mean p of one entry of each row, (n,): on a lattice a mass, else a density in y.

    Args:
        views: the members' predictions, (M, n, ...).
        entry: the entries, (n,).
    """
    take = lambda part: jnp.take_along_axis(part, entry.codes[:, None], -1)[:, 0]

    def one(view: TokenPrediction) -> jax.Array:
        log_p = take(view.log_codes)
        if view.density is not None:
            density = view.density
            low, high, cell = (jnp.where(entry.alone, 0.0, end) for end in (entry.low, entry.high, entry.cell))
            log_normal = network.log_mixture(density.normals, low, high, cell)
            log_within = jnp.logaddexp(take(density.log_even) + entry.inner, take(density.log_scale) + log_normal)
            if count := density.frames.log_weights.shape[-1]:
                spots = entry.place[:, :count], entry.extent[:, :count]
                of_frames = network.log_frames(density.frames, *spots, cell) - take(density.log_q)
                log_within = jnp.logaddexp(log_within, of_frames)
            log_p = log_p + jnp.where(entry.alone, 0.0, log_within)
        if view.links is None:
            return log_p
        most = view.links.shape[-1]
        return log_linked(view.links, bits_of(entry.could, most), bits_of(entry.holds, most), log_p)

    log_members = each_member(one)(views)
    return jax.nn.logsumexp(log_members, 0) - jnp.log(len(log_members))


# --- Drawing one part -----------------------------------------------------------------------------------------------
#
# A token, or the value from a relation, is chosen for each row, and within the token one of its experts. A member of
# the ensemble is drawn by its probability of the allowed values. One uniform number serves for the token and the
# expert, because its remainder after a choice is uniform again.


GOLDEN = 2654435769  # 2^32 over the golden ratio
EVEN = 1e-6  # noise that shuffles rows with equal predictions
ONE = 1 - 1e-6  # avoids a choice beyond the last one through rounding


class Choice(NamedTuple):
    """The choices for n rows, (n,) each.

    Attributes:
        link: the chosen relation, counted from 1; 0 for none.
        codes: otherwise the chosen token.
        normal, means, sds: whether a Gaussian is chosen within it, with its mean and standard deviation.
        frame: the histogram that is chosen instead of a Gaussian, counted from 1; 0 for none.
        cells: the shares of its cells, (n, CELLS).
        rest: the remainder of the uniform number of the choice, itself uniform.
        log_within: log-probability of the allowed values.
    """

    link: jax.Array
    codes: jax.Array
    normal: jax.Array
    means: jax.Array
    sds: jax.Array
    frame: jax.Array
    cells: jax.Array
    rest: jax.Array
    log_within: jax.Array


class Allowed(NamedTuple):
    """The allowed values of one part.

    Attributes:
        log_shares: log of the allowed share of each token, (K,) or (n, K).
        inside: the share of its width that lies in the allowed interval, of the same shape.
        low, high: the interval, () or (n,).
        first, last: the same in the coordinates of the part's histograms, (n, F).
    """

    log_shares: Any
    inside: Any
    low: Any
    high: Any
    first: Any
    last: Any


@drawing_program(newer=True)
def choose(
    edges: Any, views: TokenPrediction, back: Any, limits: tuple[Allowed, Any], could: Any, fits: Any, noise: Any
) -> Choice:
    """Draw one part of each of n rows.

    Args:
        edges: the ends of the part's tokens, (K+1,); None for a part without a density.
        views: the members' predictions, (M, n, ...), or (M, 1, ...) if they are the same for all rows; with `back` each
            row has one member, and they are (M, m, ...).
        back: index of each row among these rows of all members, (n,).
        limits: the allowed values, and all that are ever drawn; None for the latter if the interval is theirs.
        could, fits: which relations give a value, and which give an allowed value, (n, R).
        noise: uniform numbers, (3, n), and 32 random bits, (). NumPy draws them: JAX would compile a program for each
            kind of number.
    """
    if back is not None:
        joined = lambda part: part.reshape(1, part.shape[0] * part.shape[1], *part.shape[2:])
        views = jax.tree.map(lambda part: joined(part)[:, back], views)
    (uniform, shift), (allowed, drawn) = noise, limits
    members, n = len(views.log_codes), uniform.shape[1]
    views = jax.tree.map(lambda part: jnp.broadcast_to(part, (members, n, *part.shape[2:])), views)
    shares = jnp.exp(views.log_codes + allowed.log_shares)  # (M, n, K)
    if views.density is None:
        shares = shares * allowed.inside
    elif drawn is not None:
        shares = shares * _share_within(views.density, allowed) / _share_within(views.density, drawn)
    log_within = jnp.log(shares.sum(-1))  # of each member
    if views.links is not None:
        rho = jnp.concatenate([log_within[..., None], jnp.where(fits, views.links, -jnp.inf)], -1)
        log_rest = jnp.logaddexp(0.0, jax.nn.logsumexp(jnp.where(could, views.links, -jnp.inf), -1))
        log_within = jax.nn.logsumexp(rho, -1) - log_rest
    member = jnp.zeros(n, int) if members == 1 else picked(jnp.exp(_shift_logs(log_within.T)), uniform[0])[0]
    link = jnp.zeros(n, jnp.int32)
    if views.links is not None:
        link = picked(jnp.exp(_shift_logs(_select_member(rho, member))), uniform[1])[0]
    log_within = jax.nn.logsumexp(log_within, 0) - jnp.log(members)
    # Rows with similar predictions get evenly spread numbers, so that their shares are closer to the predicted ones.
    shares = _select_member(shares, member)
    expected = (shares @ jnp.arange(shares.shape[-1])) / shares.sum(-1)
    expected = expected + EVEN * uniform[2]
    codes, rest = picked(shares, spread_evenly(expected, shift))
    if views.density is None:
        none = jnp.zeros(n)
        return Choice(link, codes, none > 0, none, none, link, none, rest, log_within)
    density = jax.tree.map(lambda part: _select_member(part, member), views.density)
    expert, rest = picked(_masses_in_token(edges, density, codes, allowed), rest)
    _, means, sds = density.normals
    count = means.shape[-1]
    frame, component = jnp.maximum(expert - count, 0), jnp.clip(expert - 1, 0, count - 1)
    cells = jnp.exp(density.frames.log_cells)
    if cells.shape[1]:
        cells = jnp.take_along_axis(cells, jnp.maximum(frame - 1, 0)[:, None, None], 1)[:, 0]
    means, sds = (_select_entry(part, component) for part in (means, sds))
    normal = (expert > 0) & (frame == 0)
    return Choice(link, codes, normal, means, sds, frame, cells, rest, log_within)


def _share_within(density: Density, allowed: Allowed) -> jax.Array:
    """Compute the share of each token's density in the allowed interval, (M, n, K)."""
    n = density.upto.shape[1]
    limits = (jnp.broadcast_to(end, (n,))[:, None] for end in (allowed.low, allowed.high))
    below = (network.mass_upto(density.normals, end) for end in limits)  # (M, n, 1)
    masses = masses_between(jnp.clip(density.upto, *below))
    even = jnp.exp(density.log_even) * allowed.inside
    of_frames = _frames_between(density, density.ends, allowed)
    return even + jnp.exp(density.log_scale) * masses + (of_frames * jnp.exp(-density.log_q)[..., None]).sum(-1)


def _frames_between(density: Density, ends: jax.Array, allowed: Allowed) -> jax.Array:
    """Compute the masses of the histograms between `ends` (..., F, T+1), in the allowed interval, (..., T, F)."""
    shape = ends.shape[:-1]
    first, last = (jnp.broadcast_to(end, shape)[..., None] for end in (allowed.first, allowed.last))
    upto = network.frame_masses_upto(density.frames, density.edges, jnp.clip(ends, first, last))
    return jnp.maximum(jnp.diff(upto, axis=-2), 0.0)


def _masses_in_token(edges: jax.Array, density: Density, codes: jax.Array, allowed: Allowed) -> jax.Array:
    """Compute the masses of the even spread, each Gaussian and each histogram in one token, (n, 1 + C + F)."""
    ends = [jnp.clip(edges[codes + end], allowed.low, allowed.high)[:, None] for end in (0, 1)]
    below, above = (network.masses_upto(density.normals, end) for end in ends)
    even, scale, log_q = (_select_entry(part, codes) for part in (density.log_even, density.log_scale, density.log_q))
    inside = _select_entry(jnp.broadcast_to(allowed.inside, density.log_even.shape), codes)
    of_token = jnp.take_along_axis(density.ends, codes[:, None, None] + jnp.array([0, 1]), -1)
    of_frames = _frames_between(density, of_token, allowed)[:, 0] * jnp.exp(-log_q)[:, None]
    normals = jnp.exp(scale)[:, None] * jnp.maximum(above - below, 0.0)
    return jnp.concatenate([(jnp.exp(even) * inside)[:, None], normals, of_frames], -1)


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
    rank = (
        jnp.zeros(len(expected), jnp.uint32).at[jnp.argsort(expected)].set(jnp.arange(len(expected), dtype=jnp.uint32))
    )
    return ((start + rank * jnp.uint32(GOLDEN)) >> 8).astype(jnp.float32) * 2.0**-24


def picked(weights: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw indices (n,) in proportion to weights (n, K) by uniform numbers (n,); also return the remainders."""
    upto = jnp.cumsum(weights, -1)
    mark = u * ONE * upto[:, -1]
    chosen = jnp.minimum((upto <= mark[:, None]).sum(-1), weights.shape[-1] - 1).astype(jnp.int32)
    own = _select_entry(weights, chosen)
    return chosen, jnp.clip((mark - _select_entry(upto, chosen) + own) / jnp.maximum(own, 1e-30), 0.0, ONE)
