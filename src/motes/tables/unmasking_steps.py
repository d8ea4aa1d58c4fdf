"""Compiled programs that reveal masked rows one part at a time, and draw or score the next part.

    h_0 <- h_0 + E_j[code_j] + C_j basis(u_j) + a_j y_j - H_j,    e_k <- (y_j - m_k - sum over l < k of L_kl e_l) / L_kk

The sums in the network's input and in the base are updated from part to part instead of recomputed. Programs are
compiled for each group of parts and block size. All arrays have a leading axis of members, the models of an ensemble;
large tables have one member.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from motes.tables import network
from motes.tables.layout import BINS, NEVER, Bins, Layout, bits_of, log_linked, softened, waves_of
from motes.tables.mixture import Gaussians, OrderedBase, in_order, log_weight_change
from motes.tables.network import REACH, TINY, EncodedRows, Frames, Heads, MaskedModel, Near
from motes.training.programs import drawing_program, each_member


class ObservedCodes(NamedTuple):
    """The visible entries of n rows, as one member represents them.

    Attributes:
        total: h_0, (n, H).
        whitened: e, (n, C, A), in the order of the base; 0 if masked.
        log_weights: log-weights of the mixture components given the visible entries, (n, C).
        axes: which axes of the base are visible, (n, A), in its order.
        missing: log joint probability of each component of the missing patterns and the visible entries, (n, C').
    """

    total: jax.Array
    whitened: jax.Array
    log_weights: jax.Array
    axes: jax.Array
    missing: jax.Array


class PreparedModel(NamedTuple):
    """A model prepared for one order of the parts.

    Attributes:
        model: the network and the base.
        heads: the output layers.
        base: the base in this order.
        tilt: biases b of the bins from calibration, (L, T).
    """

    model: MaskedModel
    heads: Heads
    base: OrderedBase
    tilt: jax.Array


class Density(NamedTuple):
    """The predicted density of one part on a line, for n rows.

    Attributes:
        normals: the Gaussians, (n, C).
        frames: the histograms relative to other columns, F of them.
        edges: the ends of their cells, (n, F, CELLS + 1).
        ends: the ends of the bins in the same coordinates, (n, F, T+1).
        upto: mass of all Gaussians and histograms below these ends, (n, T+1), up to a constant.
        tilt: biases b of the bins, (n, T+1); the last is 0, for tokens without a bin.
        log_total: log of the tilted mass of all Gaussians and histograms, (n,).
    """

    normals: Gaussians
    frames: Frames
    edges: jax.Array
    ends: jax.Array
    upto: jax.Array
    tilt: jax.Array
    log_total: jax.Array


class TokenPrediction(NamedTuple):
    """The predicted distribution of one part, for n rows.

    Attributes:
        log_codes: log-probabilities of the tokens, (n, K), normalised.
        gate: log-weights of tokens and Gaussians, (n, 2); 0 and minus infinity for a part without a density.
        density: the Gaussians; None for a part without a density.
        links: rho of its exact relations, (n, R); None for a part without relations.
    """

    log_codes: jax.Array
    gate: jax.Array
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
        axes: number of its axes.
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
        tilt = jnp.zeros((len(layout.lines), BINS))
        return PreparedModel(model, model.network.heads(layout), network.ordered(model.base, order, layout), tilt)

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
        return ObservedCodes(total, jnp.zeros((n, components, axes)), log_weights, jnp.zeros((n, axes), bool), missing)

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
        step = lambda k, seen: _reveal_axis(prepared.base, seen, place.ranks[k], y_of(k), known)
        return jax.lax.fori_loop(0, place.axes, step, seen)

    return each_member(one)(prepared, seen)


def _reveal_axis(
    base: OrderedBase, seen: ObservedCodes, rank: jax.Array, y: jax.Array, here: jax.Array
) -> ObservedCodes:
    """Reveal the value y (n,) of the axis in place `rank` of the base's order, in the rows `here` (n,)."""
    mean, row, sd = _axis_in_turn(base, rank)
    e = (y[:, None] - mean - _inner(seen.whitened, row)) / sd
    turn = lambda is_number, slopes, offsets, k: (is_number[k, None], slopes[:, k], offsets[:, k])
    of_labels = _in_turn(turn, rank, base.is_number, base.slopes, base.offsets)
    gain = jnp.where(here[:, None], log_weight_change(e, jnp.log(sd), y[:, None], *of_labels), 0.0)
    own = here[:, None] & (jnp.arange(seen.axes.shape[1]) == jnp.reshape(rank, (-1, 1)))  # (n, A)
    whitened = jnp.where(own[:, None], e[..., None], seen.whitened)
    return seen._replace(whitened=whitened, log_weights=seen.log_weights + gain, axes=own | seen.axes)


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
    code = jnp.asarray(layout.patterns.codes)[place.part]
    odds = network.missing_log_odds(layout, seen.missing)[:, place.part]
    log_codes = jax.nn.log_softmax(logits + network.at_missing(code, odds, logits.shape[-1]), axis=-1)
    links = None
    if spot.linked:
        rho = state @ heads.links[place.link].T + heads.link_bias[place.link]
        links = softened(rho, jnp.asarray(layout.links.log_least)[place.link])
    if not spot.line:
        return TokenPrediction(log_codes, jnp.broadcast_to(jnp.array([0.0, -jnp.inf]), (len(h), 2)), None, links)
    outputs = state @ heads.lines[place.line].T + heads.line_bias[place.line]
    mean, row, _ = _axis_in_turn(base, place.ranks[0])
    hidden = _inner(jnp.broadcast_to(~seen.axes[:, None] * 1.0, seen.whitened.shape), jnp.square(row))
    means = mean + _inner(seen.whitened, row)
    components = Gaussians(jax.nn.log_softmax(seen.log_weights, -1), means, jnp.sqrt(hidden))
    count = spot.framed * layout.references.others.shape[1]
    own = lambda part: jnp.asarray(part)[place.frame] if spot.framed else jnp.zeros(part.shape[1:])
    origin, unit, could = (jnp.broadcast_to(part[:, :count], (len(h), count)) for part in coordinates)
    cells = jnp.einsum("nh,fbh->nfb", state, own(heads.frames)[:count]) + own(heads.frame_bias)[:count]
    closest = Near(*(part[..., : layout.near] for part in values))
    gate, normals, frames = network.moved(components, outputs, closest, network.framed(cells, could))
    tilt = jnp.pad(prepared.tilt[place.line], (0, 1))
    ends = (own(layout.references.ends) - origin[..., None]) / unit[..., None]
    edges = own(layout.references.edges)[:count]
    edges = jnp.broadcast_to(edges, (len(h), *edges.shape))
    upto = _mass_upto(normals, frames, edges, jnp.asarray(layout.bins.edges)[place.line], ends)
    total = bin_masses(upto) @ jnp.exp(tilt[:-1])
    density = Density(normals, frames, edges, ends, upto, jnp.broadcast_to(tilt, (len(h), len(tilt))), jnp.log(total))
    return TokenPrediction(*_move_missing(log_codes, gate, code), density, links)


def _mass_upto(normals: Gaussians, frames: Frames, edges: jax.Array, y: jax.Array, ends: jax.Array) -> jax.Array:
    """Compute the mass of all Gaussians and histograms below y (..., T), up to a constant, (n, T).

    `ends` (n, F, T) are the same places in the coordinates of the histograms, and `edges` the ends of their cells.
    """
    return network.mass_upto(normals, y) + network.frame_masses_upto(frames, edges, ends).sum(-1)


def bin_masses(upto: jax.Array) -> jax.Array:
    """Compute the mass of each bin (..., T) from the mass below its ends (..., T+1), which is rounded."""
    return jnp.maximum(jnp.diff(upto), 0.0)


def _move_missing(log_codes: jax.Array, gate: jax.Array, code: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Move missing entries to the tokens: return tokens (n, K) and gate (n, 2); `code` is -1 if there are none."""
    missing = jnp.arange(log_codes.shape[-1]) == code
    log_missing = jnp.where(missing, log_codes, NEVER).max(-1)
    total = jnp.logaddexp(gate[:, 0], gate[:, 1] + log_missing)
    shares = log_codes + jnp.where(missing, 0.0, gate[:, :1]) - total[:, None]
    return shares, jnp.stack([total, gate[:, 1] + network.log_present(log_missing)], -1)


@drawing_program()
def score_part(bins: Bins, line: jax.Array, views: TokenPrediction, entry: EncodedRows) -> jax.Array:
    """Compute the log of the members' mean p of one entry of each row, (n,): on a lattice a mass, else a density in y.

    Args:
        bins: bins of all parts with a density.
        line: index of the part among these.
        views: the members' predictions, (M, n, ...).
        entry: the entries, (n,).
    """

    def one(view: TokenPrediction) -> jax.Array:
        made = jnp.take_along_axis(view.log_codes, entry.codes[:, None], -1)[:, 0]
        if view.density is not None:
            own = jnp.asarray(bins.of_code)[line][entry.codes]
            low, high, cell = (jnp.where(entry.alone, 0.0, end) for end in (entry.low, entry.high, entry.cell))
            moved_by = jnp.take_along_axis(view.density.tilt, own[:, None], -1)[:, 0] - view.density.log_total
            frames = view.density.frames
            count = frames.log_weights.shape[-1]
            of_frames = network.log_frames(frames, entry.place[:, :count], entry.extent[:, :count], cell)
            log_normal = network.log_mixture(view.density.normals, low, high, cell)
            log_normal = jnp.logaddexp(log_normal, of_frames) + moved_by
            made = network.log_value(view.gate, made, entry.inner, log_normal, entry.alone)
        if view.links is None:
            return made
        most = view.links.shape[-1]
        return log_linked(view.links, bits_of(entry.could, most), bits_of(entry.holds, most), made)

    found = each_member(one)(views)
    return jax.nn.logsumexp(found, 0) - jnp.log(len(found))


# --- Drawing one part -----------------------------------------------------------------------------------------------
#
# A token, a Gaussian, or the value from a relation is chosen for each row. A member of the ensemble is drawn by its
# probability of the allowed interval, then a bin by its share, and within the bin a token or a Gaussian. One uniform
# number serves for the last two steps, because its remainder after a choice is uniform again.


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
        frame: the histogram that is chosen instead of a Gaussian, counted from 1; 0 for none.
        cells: the shares of its cells, (n, CELLS),
        bin: and the bin to which it is truncated.
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
    frame: jax.Array
    cells: jax.Array
    bin: jax.Array
    rest: jax.Array
    log_within: jax.Array


@drawing_program(newer=True)
def choose(
    bins: Bins, line: jax.Array, views: TokenPrediction, back: Any, allowed: Any, could: Any, fits: Any, noise: Any
) -> Choice:
    """Draw one part of each of n rows.

    Args:
        bins: bins of all parts with a density.
        line: index of the part among these.
        views: the members' predictions, (M, n, ...), or (M, 1, ...) if they are the same for all rows; with `back` each
            row has one member, and they are (M, m, ...).
        back: index of each row among these rows of all members, (n,).
        allowed: log of the allowed share of each token, (K,) or (n, K), both ends of the allowed interval, and both in
            the coordinates of the part's histograms, (n, F).
        could, fits: which relations give a value, and which give an allowed value, (n, R).
        noise: uniform numbers, (3, n), and 32 random bits, (). NumPy draws them: JAX would compile a program for each
            kind of number.
    """
    if back is not None:
        joined = lambda part: part.reshape(1, part.shape[0] * part.shape[1], *part.shape[2:])
        views = jax.tree.map(lambda part: joined(part)[:, back], views)
    log_shares, (uniform, shift) = allowed[0], noise
    members, n = len(views.gate), uniform.shape[1]
    views = jax.tree.map(lambda part: jnp.broadcast_to(part, (members, n, *part.shape[2:])), views)
    log_codes = views.log_codes + log_shares  # (M, n, K)
    shares = jnp.exp(log_codes)
    if views.density is not None:
        of_code, ends, code_shares, normal_shares = _bin_shares(bins, line, views, log_codes, allowed[1:])
        shares = code_shares + jnp.pad(normal_shares, ((0, 0), (0, 0), (0, 1)))
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
    chosen, rest = picked(shares, spread_evenly(expected, shift))
    if views.density is None:
        none = jnp.zeros(n)
        return Choice(link, chosen, none > 0, none, none, none, none, link, none, link, rest, log_within)
    of_member = lambda part: _select_member(part, member)
    share = _select_entry(of_member(code_shares), chosen) / jnp.maximum(_select_entry(shares, chosen), TINY)
    tokens = jnp.where(of_code == chosen[:, None], jnp.exp(of_member(log_codes)), 0.0)
    density, place = jax.tree.map(of_member, views.density), jnp.minimum(chosen, BINS - 1)
    low, high = (_select_entry(ends, place + end) for end in (0, 1))
    parts = _masses_in_bin(density, place, (low, high), allowed[3:])
    normal, codes, component, rest = _choose_in_bin(share, tokens, parts, rest)
    _, means, sds = density.normals
    count = means.shape[-1]
    frame = jnp.where(normal, jnp.maximum(component - count + 1, 0), 0)
    means, sds = (_select_entry(part, jnp.minimum(component, count - 1)) for part in (means, sds))
    cells = jnp.exp(density.frames.log_cells)
    if cells.shape[1]:
        cells = jnp.take_along_axis(cells, jnp.maximum(frame - 1, 0)[:, None, None], 1)[:, 0]
    return Choice(link, codes, normal, means, sds, low, high, frame, cells, place, rest, log_within)


def _bin_shares(
    bins: Bins, line: jax.Array, views: TokenPrediction, log_codes: jax.Array, limits: Any
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Compute the share of each expert in each bin of a part, within the allowed interval; `limits` as in `choose`.

    Returns:
        The bin of each token, (K,), BINS if it has none; the edges of the bins within the interval, (n, T+1); the
        shares of the tokens, (M, n, T+1), and of the Gaussians and histograms, (M, n, T).
    """
    low, high, *of_frames = limits
    density = views.density
    assert density is not None
    edges, of_code = jnp.asarray(bins.edges)[line], jnp.asarray(bins.of_code)[line]
    n, count = log_codes.shape[1:]
    of_code = jnp.pad(of_code, (0, max(0, count - len(of_code))), constant_values=BINS)[:count]
    first, last = (jnp.broadcast_to(end, (n,))[:, None] for end in (low, high))
    ends = jnp.clip(edges, first, last)  # (n, T+1)
    shape = density.ends.shape[1:-1]  # of the histograms
    limits = ((y, jnp.broadcast_to(end, shape)[..., None]) for y, end in zip((first, last), of_frames, strict=True))
    below = (_mass_upto(density.normals, density.frames, density.edges, *limit) for limit in limits)  # (M, n, 1)
    by = jnp.exp(views.gate[..., 1:] + density.tilt[..., :-1] - density.log_total[..., None])
    normal_shares = by * bin_masses(jnp.clip(density.upto, *below))
    code_shares = jnp.exp(log_codes + views.gate[..., :1]) @ jax.nn.one_hot(of_code, BINS + 1)
    return of_code, ends, code_shares, normal_shares


def _masses_in_bin(density: Density, place: jax.Array, ends: tuple[jax.Array, jax.Array], limits: Any) -> jax.Array:
    """Compute the mass of each Gaussian and histogram in one bin of each row, (n, C + F).

    Args:
        density: the densities, (n, ...).
        place: the bins, (n,).
        ends: their ends, within the allowed interval, (n,) each.
        limits: the allowed interval in the coordinates of the histograms, (n, F) each.
    """
    of_frames = jnp.clip(density.ends, limits[0][..., None], limits[1][..., None])
    edges = [jnp.take_along_axis(of_frames, (place + end)[:, None, None], -1) for end in (0, 1)]
    upto = jnp.stack([network.masses_upto(density.normals, end[:, None]) for end in ends], 1)
    of_frames = network.frame_masses_upto(density.frames, density.edges, jnp.concatenate(edges, -1))
    parts = jnp.concatenate([upto, of_frames], -1)
    return parts[:, 1] - parts[:, 0]


def _choose_in_bin(
    share: jax.Array, tokens: jax.Array, parts: jax.Array, rest: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Choose between tokens and Gaussians within the chosen bins; return the choice, both indices, and the remainder.

    Args:
        share: the share of the tokens in the chosen bin, (n,).
        tokens: the shares of the bin's tokens, (n, K), 0 for others.
        parts: the masses of each Gaussian and histogram in the bin, (n, C + F).
        rest: the remainder of the uniform number, (n,).
    """
    normal = rest >= share
    rest = jnp.where(normal, (rest - share) / jnp.maximum(1 - share, TINY), rest / jnp.maximum(share, TINY))
    rest = jnp.clip(rest, 0.0, ONE)
    codes, rest_of_code = picked(tokens, rest)
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
