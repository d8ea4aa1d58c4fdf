"""Compiled programs that reveal masked rows one part at a time, and the calibration of their predictions.

    h_0 <- h_0 + E_j[code_j] + C_j basis(u_j) + a_j y_j - H_j,    e_k <- (y_j - m_k - sum over l < k of L_kl e_l) / L_kk

The sums in the network's input and in the base are updated from part to part instead of recomputed. Programs are
compiled for each group of parts and block size. All arrays have a leading axis of members, the models of an ensemble;
large tables have one member.
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


class TokenPrediction(NamedTuple):
    """The predicted distribution of one part, for n rows.

    Attributes:
        log_codes: log-probabilities of the tokens, (n, K), normalised.
        gate: log-weights of tokens and Gaussians, (n, 2); 0 and minus infinity for a part without a density.
        normals: the Gaussians, (n, C); None for a part without a density.
        tilt: b, (n, T+1), and the log of the tilted mass of all Gaussians, (n,); None for a part without a density.
        links: rho of its exact relations, (n, R); None for a part without relations.
    """

    log_codes: jax.Array
    gate: jax.Array
    normals: Normals | None
    tilt: tuple[jax.Array, jax.Array] | None
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
    """

    part: jax.Array
    member: jax.Array
    line: jax.Array
    ranks: jax.Array
    axes: jax.Array
    link: jax.Array


class Revealed(NamedTuple):
    """The entries of one part to reveal, (n,).

    Attributes:
        codes, y, u: as in `network.EncodedRows`.
        here: which of them to reveal.
    """

    codes: jax.Array
    y: jax.Array
    u: jax.Array
    here: jax.Array


class Spot(NamedTuple):
    """The properties of a part that select the compiled program.

    Attributes:
        group: group of the part.
        line, linked: whether it has a density, and relations.
    """

    group: int
    line: bool
    linked: bool


@drawing_program()
def prepare(models: MaskedModel, layout: Layout, order: jax.Array) -> PreparedModel:
    """Prepare members (M, ...) for an order of the parts (p,)."""

    def one(model: MaskedModel) -> PreparedModel:
        tilt = jnp.zeros((len(layout.lines), BINS))
        return PreparedModel(model, model.network.heads(layout), ordered(model.base, order, layout), tilt)

    return each_member(one)(models)


@drawing_program(static=(2,))
def nothing_seen(layout: Layout, prepared: PreparedModel, n: int) -> ObservedCodes:
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
def seen_after(
    layout: Layout, prepared: PreparedModel, seen: ObservedCodes, place: Place, entry: Revealed
) -> ObservedCodes:
    """Reveal the entries of the part at `place` to the members, in n rows; one program serves for every part."""
    codes, y, u, here = entry
    j = place.part
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
        network = prepared.model.network
        found = free * network.embed[slot]
        found = found + jnp.clip(y, -REACH, REACH)[:, None] * network.slopes[j]
        found = found + waves @ network.waves[j]
        total = seen.total + jnp.where(here[:, None], found - network.hidden[j], 0.0)
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
    gain = jnp.where(here[:, None], -0.5 * jnp.square(e) - jnp.log(sd), 0.0)
    own = here[:, None] & (jnp.arange(seen.axes.shape[1]) == jnp.reshape(rank, (-1, 1)))  # (n, A)
    whitened = jnp.where(own[:, None], e[..., None], seen.whitened)
    return seen._replace(whitened=whitened, log_weights=seen.log_weights + gain, axes=own | seen.axes)


def _axis_in_turn(base: OrderedBase, rank: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return the mean (C,), the row of the factors (C, A), and its diagonal entry (C,), of the axis in place `rank`.

    With an order, and so a rank, for each row, all three have a leading n.
    """
    turn = lambda means, factors, k: (means[:, k], factors[:, k], factors[:, k, k])
    return (jax.vmap(turn) if rank.ndim else turn)(base.means, base.factors, rank)


def _inner(whitened: jax.Array, row: jax.Array) -> jax.Array:
    """Compute the sum over l of e_l L_kl, (n, C), with one `row` (C, A) for all, or one for each, (n, C, A)."""
    return jnp.einsum("ncl,ncl->nc" if row.ndim == 3 else "ncl,cl->nc", whitened, row)


def outlook(
    layout: Layout, prepared: PreparedModel, seen: ObservedCodes, place: Place, spot: Spot, near: Near
) -> TokenPrediction:
    """Predict the part at `place` given the visible entries and the values `near` (n, R) from its relations."""
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
    mean, row, _ = _axis_in_turn(base, place.ranks[0])
    hidden = _inner(jnp.broadcast_to(~seen.axes[:, None] * 1.0, seen.whitened.shape), jnp.square(row))
    means = mean + _inner(seen.whitened, row)
    components = Components(jax.nn.log_softmax(seen.log_weights, -1), means, jnp.sqrt(hidden))
    gate, normals = moved(components, outputs, Near(*(part[..., : layout.near] for part in near)))
    tilt = jnp.pad(prepared.tilt[place.line], (0, 1))
    edges = jnp.asarray(layout.bins.edges)[place.line]
    total = masses(normals, edges).sum(-1) @ jnp.exp(tilt[:-1])
    tilted = jnp.broadcast_to(tilt, (len(h), len(tilt))), jnp.log(total)
    return TokenPrediction(*_move_missing(log_codes, gate, code), normals, tilted, links)


def _move_missing(log_codes: jax.Array, gate: jax.Array, code: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Move missing entries to the tokens: return tokens (n, K) and gate (n, 2); `code` is -1 if there are none."""
    missing = jnp.arange(log_codes.shape[-1]) == code
    log_missing = jnp.where(missing, log_codes, NEVER).max(-1)
    total = jnp.logaddexp(gate[:, 0], gate[:, 1] + log_missing)
    shares = log_codes + jnp.where(missing, 0.0, gate[:, :1]) - total[:, None]
    return shares, jnp.stack([total, gate[:, 1] + log_present(log_missing)], -1)


def log_prob_of(view: TokenPrediction, bin_of: jax.Array | None, entry: EncodedRows) -> jax.Array:
    """Compute log p of one entry of each of n rows, (n,): a mass on a lattice, otherwise a density in y.

    `bin_of` (K,) is the bin of each token of a part with a density.
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


# --- Biases that match the marginals of synthetic rows to the training rows -----------------------------------------
#
# A part that is drawn after others inherits their errors: its mean prediction over synthetic rows differs from the
# share of each token in the training rows. Biases correct this. A bias for each bin t of a line tilts both experts,
#
#     mean over drawn rows of  g a_t exp(b_t) / sum_s a_s exp(b_s) + (1 - g) q_t exp(b_t) / sum_s q_s exp(b_s)
#         = share_t
#
# for the values; the bias of missing entries, on which both experts agree, gives these their share. A bias for each
# token moves the first expert within the bins. Biases belong to the model: rows are drawn and scored with them, so that
# the density stays normalised.


ROUNDS = 12  # iterations of the fixed point
LEAST = 1e-12  # replaces a share of 0 in logarithms
CALIBRATION_REACH = 2.0  # maximum bias in nats
MOST = 0.5  # minimum mean share of the tokens, as opposed to Gaussians, to move them within the bins


def bias_of(
    layout: Layout, views: TokenPrediction, place: Place, spot: Spot, shares: Any, rest: Any
) -> tuple[jax.Array, jax.Array | None]:
    """Calibrate the biases of a part: of its tokens (M, K), and of its bins (M, T) if it has a density.

    Args:
        layout: layout of the table.
        views: the members' predictions, for n synthetic rows each.
        place, spot: location of the part.
        shares: (M, K), shares of the tokens in the training rows, without the share of relations.
        rest: (M, n), the share of each row that relations leave.
    """
    shares, rest = put(shares), put(rest)
    if not spot.line:
        return _label_bias(views.log_codes, rest, shares), None
    line, codes = int(place.line), shares.shape[1]
    of_code = layout.bins.of_code[line][:codes]
    of_code = np.pad(of_code, (0, codes - len(of_code)), constant_values=BINS)
    return _line_biases(views, of_code, layout.bins.edges[line], shares, rest)


@brief_program
def _label_bias(log_codes: jax.Array, rest: jax.Array, shares: jax.Array) -> jax.Array:
    one = lambda log_codes, rest, shares: _code_bias(log_codes, rest, shares, shares)
    return each_member(one)(log_codes, rest, shares)


@training_program
def _line_biases(views: TokenPrediction, of_code: Any, edges: Any, shares: jax.Array, rest: jax.Array) -> Any:
    one = lambda view, shares, rest: _line_bias(view, jnp.asarray(of_code), jnp.asarray(edges), shares, rest)
    return each_member(one)(views, shares, rest)


def _line_bias(
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
        """Compute the shares of tilted tokens and Gaussians in each bin (n, T), and of missing entries (n, 1)."""
        weights = jnp.exp(tilt)
        a, q, gone = first * weights[:-1], second * weights[:-1], missing * weights[-1]
        times = a.sum(-1, keepdims=True)
        left = rest[:, None] / ((1 - missing) * times + gone)
        return of_codes * a * left, gates[:, 1:] * q / q.sum(-1, keepdims=True) * times * left, gone * left

    def closer(_: int, tilt: jax.Array) -> jax.Array:
        a, q, gone = of_values(tilt)
        return _step_bias(tilt, target, jnp.append((a + q).mean(0), gone.mean()), target)

    tilt = jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros(BINS + 1))
    # The share of the first expert in a bin is divided among the bin's tokens in proportion to their training shares.
    a, _, _ = of_values(tilt)
    of_bin, share = jnp.append(a.mean(0), 0.0), jnp.where(valued, shares, 0.0)
    wanted = of_bin[of_code] * share / jnp.maximum(target[of_code], LEAST)
    log_codes = jnp.where(valued, view.log_codes + tilt[of_code], NEVER)
    within = jnp.where(valued, _code_bias(log_codes, a.sum(-1), wanted, share), 0.0)
    return tilt[of_code] + jnp.where(a.sum(-1).mean() > MOST * rest.mean(), within, 0.0), tilt[:-1]


def _code_bias(log_codes: jax.Array, gate: jax.Array, target: jax.Array, shares: jax.Array) -> jax.Array:
    """Find the biases (K,) with which the tokens' mean over n rows, weighted by `gate` (n,), is the `target` (K,)."""

    def closer(_: int, bias: jax.Array) -> jax.Array:
        mean = (gate[:, None] * jax.nn.softmax(log_codes + bias, axis=-1)).mean(0)
        return _step_bias(bias, target, mean, shares)

    return jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros_like(shares))


def _step_bias(bias: jax.Array, target: jax.Array, mean: jax.Array, shares: jax.Array) -> jax.Array:
    """Move a bias (K,) one step towards the bias for which the mean (K,) equals the target (K,)."""
    step = jnp.log(jnp.maximum(target, LEAST)) - jnp.log(jnp.maximum(mean, LEAST))
    bias = bias + jnp.where(shares > 0, step, 0.0)
    return jnp.clip(bias - (shares * bias).sum() / shares.sum(), -CALIBRATION_REACH, CALIBRATION_REACH)
