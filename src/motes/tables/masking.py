"""Masked rows revealed one part at a time: programs of the network and the base, and their calibration.

    h_0 <- h_0 + E_j[code_j] + C_j basis(u_j) + a_j y_j - H_j,    e_k <- (y_j - m_k - sum over l < k of L_kl e_l) / L_kk

The sums of the network's input and of the base are carried from part to part instead of being taken anew. Programs are
compiled for each group of parts and block of rows. Everything has a leading axis of members: the models of an ensemble,
one for large tables.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from motes.tables.base import Components, OrderedBase
from motes.tables.layout import BINS, NEVER, Layout, bits_of, log_linked, softened
from motes.tables.network import (
    REACH,
    EncodedRows,
    Heads,
    MaskedModel,
    Near,
    Normals,
    at_missing,
    log_mixture,
    log_present,
    log_value,
    masses,
    missing_log_odds,
    moved,
    normed,
    ordered,
    waves_of,
)
from motes.training.programs import brief_program, drawing_program, each_member, put, training_program


class ObservedCodes(NamedTuple):
    """What is known of n rows, for one member.

    Attributes:
        total: h_0, (n, H).
        whitened: e, (n, C, A), in the order of the base; 0 where hidden.
        log_weights: of the components given what is seen, (n, C).
        axes: which axes of the base are seen, (n, A), in its order.
        missing: log of the joint probability of each component of the missing patterns and what is seen, (n, C').
    """

    total: jax.Array
    whitened: jax.Array
    log_weights: jax.Array
    axes: jax.Array
    missing: jax.Array


class PreparedModel(NamedTuple):
    """A model made ready for one order of the parts.

    Attributes:
        tilt: b of the calibration, (L, T).
    """

    model: MaskedModel
    heads: Heads
    base: OrderedBase
    tilt: jax.Array


class TokenPrediction(NamedTuple):
    """The distribution of one part, of n rows.

    Attributes:
        log_codes: (n, K), normalised.
        gate: log of what codes and normals have, (n, 2); of a part without a density 0 and minus infinity.
        normals: (n, C); none for a part without a density.
        tilt: b, (n, T+1), and the log of what it makes of all normals, (n,); none for a part without a density.
        links: rho of its exact relations, (n, R); none for a part without one.
    """

    log_codes: jax.Array
    gate: jax.Array
    normals: Normals | None
    tilt: tuple[jax.Array, jax.Array] | None
    links: jax.Array | None


class Place(NamedTuple):
    """Where a part is.

    Attributes:
        part: among all parts.
        member: among those of its group.
        line: among the parts with a density; 0 for the others.
        ranks: of its axes in the order of the base, (LEVELS - 1,), or (LEVELS - 1, n) where each row has an order; A
            where there are fewer. The first is that of a line.
        link: among the parts with relations; 0 for the others. All others are whole numbers, ().
    """

    part: jax.Array
    member: jax.Array
    line: jax.Array
    ranks: jax.Array
    axes: jax.Array
    link: jax.Array


class Revealed(NamedTuple):
    """The entries of one part that are seen, (n,).

    Attributes:
        codes, y, u: as in `network.Rows`.
        here: which of them are seen.
    """

    codes: jax.Array
    y: jax.Array
    u: jax.Array
    here: jax.Array


class Spot(NamedTuple):
    """What of a place decides which program is compiled.

    Attributes:
        group: of the part.
        line, linked: whether it has a density, and relations.
    """

    group: int
    line: bool
    linked: bool


@drawing_program()
def prepare(models: MaskedModel, layout: Layout, order: jax.Array) -> PreparedModel:
    """Members (M, ...) made ready for an order of the parts (p,)."""

    def one(model: MaskedModel) -> PreparedModel:
        tilt = jnp.zeros((len(layout.lines), BINS))
        return PreparedModel(model, model.network.heads(layout), ordered(model.base, order, layout), tilt)

    return each_member(one)(models)


@drawing_program(static=(2,))
def nothing_seen(layout: Layout, prepared: PreparedModel, n: int) -> ObservedCodes:
    """Rows of which nothing is known, (M, n, ...)."""
    patterns = jnp.asarray(layout.patterns.log_weights)

    def one(prepared: PreparedModel) -> ObservedCodes:
        components, axes = prepared.base.means.shape[-2:]
        total = jnp.broadcast_to(prepared.model.network.hidden.sum(0), (n, prepared.model.network.hidden.shape[1]))
        log_weights = jnp.broadcast_to(prepared.base.log_weights, (n, components))
        missing = jnp.broadcast_to(patterns, (n, len(patterns)))
        return ObservedCodes(total, jnp.zeros((n, components, axes)), log_weights, jnp.zeros((n, axes), bool), missing)

    return each_member(one)(prepared)


@drawing_program()
def seen_after(
    layout: Layout, prepared: PreparedModel, seen: ObservedCodes, place: Place, entry: Revealed
) -> ObservedCodes:
    """Add the entries of the part at `place` to what the members know of n rows; one program does it for every part."""
    codes, y, u, here = entry
    j = place.part
    on_line, loose = (layout.lines == j).any(), (layout.loose == j).any()
    waves = jnp.asarray(layout.on_line)[j] * waves_of(u)  # for all members: cosines are dear
    slot = jnp.where(loose & here, jnp.asarray(layout.offsets)[j] + codes, 0)
    free = (loose * jnp.asarray(layout.free)[slot])[:, None]
    rates = jnp.asarray(layout.patterns.rates)[:, j]
    is_missing = (codes == jnp.asarray(layout.patterns.codes)[j])[:, None]
    of_pattern = jnp.where(is_missing, jnp.log(rates), jnp.log1p(-rates))
    known = here & (~on_line | (codes < jnp.asarray(layout.valued)[j]))
    masses = jnp.append(jnp.asarray(layout.levels.masses), 0.0)[jnp.asarray(layout.levels.axis)[j] - len(layout.lines)]

    def one(prepared: PreparedModel, seen: ObservedCodes) -> ObservedCodes:
        network = prepared.model.network
        found = free * network.embed[slot]
        found = found + jnp.clip(y, -REACH, REACH)[:, None] * network.slopes[j]
        found = found + waves @ network.waves[j]
        total = seen.total + jnp.where(here[:, None], found - network.hidden[j], 0.0)
        seen = seen._replace(total=total, missing=seen.missing + jnp.where(here[:, None], of_pattern, 0.0))
        if not seen.axes.shape[1]:
            return seen
        y_of = lambda k: jnp.where(on_line, y, (codes == k) - masses[k])
        step = lambda k, seen: _axis_seen(prepared.base, seen, place.ranks[k], y_of(k), known)
        return jax.lax.fori_loop(0, place.axes, step, seen)

    return each_member(one)(prepared, seen)


def _axis_seen(base: OrderedBase, seen: ObservedCodes, rank: jax.Array, y: jax.Array, here: jax.Array) -> ObservedCodes:
    """What is known once the axis in place `rank` of the base's order is seen to be y (n,) where `here` (n,)."""
    mean, row, sd = _turn(base, rank)
    e = (y[:, None] - mean - _inner(seen.whitened, row)) / sd
    gain = jnp.where(here[:, None], -0.5 * jnp.square(e) - jnp.log(sd), 0.0)
    own = here[:, None] & (jnp.arange(seen.axes.shape[1]) == jnp.reshape(rank, (-1, 1)))  # (n, A)
    whitened = jnp.where(own[:, None], e[..., None], seen.whitened)
    return seen._replace(whitened=whitened, log_weights=seen.log_weights + gain, axes=own | seen.axes)


def _turn(base: OrderedBase, rank: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of the axis whose turn it is: mean (C,), row of the factors (C, A), and its diagonal entry (C,).

    Where each row has an order, and so a rank, all three have n in front.
    """
    turn = lambda means, factors, k: (means[:, k], factors[:, k], factors[:, k, k])
    return (jax.vmap(turn) if rank.ndim else turn)(base.means, base.factors, rank)


def _inner(whitened: jax.Array, row: jax.Array) -> jax.Array:
    """sum over l of e_l L_kl, (n, C), with a row (C, A) of all rows or (n, C, A)."""
    return jnp.einsum("ncl,ncl->nc" if row.ndim == 3 else "ncl,cl->nc", whitened, row)


def outlook(
    layout: Layout, prepared: PreparedModel, seen: ObservedCodes, place: Place, spot: Spot, near: Near
) -> TokenPrediction:
    """The distribution of the part at `place` given what is seen; `near` (n, R): what its relations give."""
    network, heads, base = prepared.model.network, prepared.heads, prepared.base
    h = seen.total
    for into, bias, back in zip(network.into, network.bias, network.back, strict=True):
        h = h + jax.nn.gelu(normed(h) @ into + bias) @ back
    state = normed(h)
    group = layout.groups[spot.group]
    logits = state @ heads.codes[spot.group][place.member].T
    if not group.loose:
        logits = logits @ jnp.asarray(group.basis)[place.member].T
    logits = logits + heads.code_bias[spot.group][place.member]
    code = jnp.asarray(layout.patterns.codes)[place.part]
    odds = missing_log_odds(layout, seen.missing)[:, place.part]
    logits = logits + at_missing(code, odds, logits.shape[-1])
    links = None
    if spot.linked:
        rho = state @ heads.links[place.link].T + heads.link_bias[place.link]
        links = softened(rho, jnp.asarray(layout.links.log_least)[place.link])
    log_codes = jax.nn.log_softmax(logits, axis=-1)
    if not spot.line:
        return TokenPrediction(log_codes, jnp.broadcast_to(jnp.array([0.0, -jnp.inf]), (len(h), 2)), None, None, links)
    outputs = state @ heads.lines[place.line].T + heads.line_bias[place.line]
    mean, row, _ = _turn(base, place.ranks[0])
    hidden = _inner(jnp.broadcast_to(~seen.axes[:, None] * 1.0, seen.whitened.shape), jnp.square(row))
    means = mean + _inner(seen.whitened, row)
    components = Components(jax.nn.log_softmax(seen.log_weights, -1), means, jnp.sqrt(hidden))
    gate, normals = moved(components, outputs, Near(*(part[..., : layout.near] for part in near)))
    tilt = jnp.pad(prepared.tilt[place.line], (0, 1))
    edges = jnp.asarray(layout.bins.edges)[place.line]
    total = masses(normals, edges).sum(-1) @ jnp.exp(tilt[:-1])
    tilted = jnp.broadcast_to(tilt, (len(h), len(tilt))), jnp.log(total)
    return TokenPrediction(*_as_codes(log_codes, gate, code), normals, tilted, links)


def _as_codes(log_codes: jax.Array, gate: jax.Array, code: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Codes (n, K) and a gate (n, 2) of which the codes alone have missing entries, of code -1 where there are none."""
    missing = jnp.arange(log_codes.shape[-1]) == code
    log_missing = jnp.where(missing, log_codes, NEVER).max(-1)
    total = jnp.logaddexp(gate[:, 0], gate[:, 1] + log_missing)
    shares = log_codes + jnp.where(missing, 0.0, gate[:, :1]) - total[:, None]
    return shares, jnp.stack([total, gate[:, 1] + log_present(log_missing)], -1)


def log_prob_of(view: TokenPrediction, bin_of: jax.Array | None, entry: EncodedRows) -> jax.Array:
    """log p of one entry of each of n rows, (n,): a mass on a lattice, a density in y otherwise.

    `bin_of` (K,) is the bin of each code of a part with a density.
    """
    made = jnp.take_along_axis(view.log_codes, entry.codes[:, None], -1)[:, 0]
    if view.normals is not None and view.tilt is not None and bin_of is not None:
        tilt, total = view.tilt
        bins = bin_of[entry.codes]
        low, high, cell = (jnp.where(entry.alone, 0.0, end) for end in (entry.low, entry.high, entry.cell))
        moved_by = jnp.take_along_axis(tilt, bins[:, None], -1)[:, 0] - total
        log_normal = log_mixture(view.normals, low, high, cell) + moved_by
        made = log_value(view.gate, made, entry.inner, log_normal, entry.alone)
    if view.links is None:
        return made
    most = view.links.shape[-1]
    return log_linked(view.links, bits_of(entry.could, most), bits_of(entry.holds, most), made)


# --- Biases with which the marginals of drawn rows are those of the training rows -----------------------------------
#
# A part that is drawn after others inherits their errors: its mean prediction over drawn rows is not the share of each
# code among the training rows. Biases correct that. One for each bin t of a line tilts both experts,
#
#     mean over drawn rows of  g a_t exp(b_t) / sum_s a_s exp(b_s) + (1 - g) q_t exp(b_t) / sum_s q_s exp(b_s)
#         = share_t
#
# of the values; the bias of missing entries, on which both experts agree, gives these their share. One for each code
# moves the first expert within the bins. They belong to the model: rows are drawn and scored with them, so that the
# density stays normalised.


ROUNDS = 12  # of the fixed point
LEAST = 1e-12  # a share that is none
CALIBRATION_REACH = 2.0  # nats, that a bias is at most
MOST = 0.5  # of the rows, that the codes have on average where they are moved within the bins


def bias_of(
    layout: Layout, views: TokenPrediction, place: Place, spot: Spot, shares: Any, rest: Any
) -> tuple[jax.Array, jax.Array | None]:
    """The biases of a part: of its codes (M, K), and of its bins (M, T) where it has a density.

    Args:
        layout: of the table.
        views: of the members, of n drawn rows each.
        place, spot: of the part.
        shares: (M, K), of the codes among the training rows, without what relations give.
        rest: (M, n), the share of each row that relations leave.
    """
    shares, rest = put(shares), put(rest)
    if not spot.line:
        return _of_labels(views.log_codes, rest, shares), None
    line, codes = int(place.line), shares.shape[1]
    of_code = layout.bins.of_code[line][:codes]
    of_code = np.pad(of_code, (0, codes - len(of_code)), constant_values=BINS)
    return _of_lines(views, of_code, layout.bins.edges[line], shares, rest)


@brief_program
def _of_labels(log_codes: jax.Array, rest: jax.Array, shares: jax.Array) -> jax.Array:
    one = lambda log_codes, rest, shares: _of_codes(log_codes, rest, shares, shares)
    return each_member(one)(log_codes, rest, shares)


@training_program
def _of_lines(views: TokenPrediction, of_code: Any, edges: Any, shares: jax.Array, rest: jax.Array) -> Any:
    one = lambda view, shares, rest: _of_line(view, jnp.asarray(of_code), jnp.asarray(edges), shares, rest)
    return each_member(one)(views, shares, rest)


def _of_line(
    view: TokenPrediction, of_code: jax.Array, edges: jax.Array, shares: jax.Array, rest: jax.Array
) -> tuple[jax.Array, jax.Array]:
    assert view.normals is not None
    one, gates, valued = jax.nn.one_hot(of_code, BINS + 1), jnp.exp(view.gate), of_code < BINS
    codes = gates[:, :1] * jnp.exp(view.log_codes)  # (n, K)
    of_codes, missing = ((codes * here).sum(-1, keepdims=True) for here in (valued, ~valued))
    first = jax.nn.softmax(jnp.where(valued, view.log_codes, NEVER), -1) @ one[:, :-1]  # (n, T), of the values
    second = masses(view.normals, edges).sum(-1)
    second, target = second / second.sum(-1, keepdims=True), shares @ one

    def of_values(tilt: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What tilted codes and normals have of each bin (n, T), and missing entries (n, 1)."""
        weights = jnp.exp(tilt)
        a, q, gone = first * weights[:-1], second * weights[:-1], missing * weights[-1]
        times = a.sum(-1, keepdims=True)
        left = rest[:, None] / ((1 - missing) * times + gone)
        return of_codes * a * left, gates[:, 1:] * q / q.sum(-1, keepdims=True) * times * left, gone * left

    def closer(_: int, tilt: jax.Array) -> jax.Array:
        a, q, gone = of_values(tilt)
        return _moved(tilt, target, jnp.append((a + q).mean(0), gone.mean()), target)

    tilt = jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros(BINS + 1))
    # What the codes have of a bin goes to its codes in proportion to what the normals leave of them.
    a, _, _ = of_values(tilt)
    of_bin, share = jnp.append(a.mean(0), 0.0), jnp.where(valued, shares, 0.0)
    wanted = of_bin[of_code] * share / jnp.maximum(target[of_code], LEAST)
    log_codes = jnp.where(valued, view.log_codes + tilt[of_code], NEVER)
    within = jnp.where(valued, _of_codes(log_codes, a.sum(-1), wanted, share), 0.0)
    return tilt[of_code] + jnp.where(a.sum(-1).mean() > MOST * rest.mean(), within, 0.0), tilt[:-1]


def _of_codes(log_codes: jax.Array, gate: jax.Array, target: jax.Array, shares: jax.Array) -> jax.Array:
    """The biases (K,) with which codes, of which each of n rows has a share `gate` (n,), have the `target` (K,)."""

    def closer(_: int, bias: jax.Array) -> jax.Array:
        mean = (gate[:, None] * jax.nn.softmax(log_codes + bias, axis=-1)).mean(0)
        return _moved(bias, target, mean, shares)

    return jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros_like(shares))


def _moved(bias: jax.Array, target: jax.Array, mean: jax.Array, shares: jax.Array) -> jax.Array:
    """A bias (K,) one step closer to where the mean (K,) is the target (K,)."""
    step = jnp.log(jnp.maximum(target, LEAST)) - jnp.log(jnp.maximum(mean, LEAST))
    bias = bias + jnp.where(shares > 0, step, 0.0)
    return jnp.clip(bias - (shares * bias).sum() / shares.sum(), -CALIBRATION_REACH, CALIBRATION_REACH)
