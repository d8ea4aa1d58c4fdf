"""A network and a base together: the distributions of all hidden parts of a row, given the visible ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from motes.learning.tables._base import Base, Components, Ordered, components_given, in_order
from motes.learning.tables._density import Near, log_mixture, log_present, log_value, moved
from motes.learning.tables._layout import NEVER, Layout, has_density
from motes.learning.tables._links import bits_of, log_linked, softened
from motes.learning.tables._network import Heads, MaskedNetwork, Rows, code_logits
from motes.tables._parts import Part


class MaskedModel(eqx.Module):
    """What is learned of a table."""

    network: MaskedNetwork
    base: Base

    def log_probs(
        self, layout: Layout, heads: Heads, base: Ordered, rows: Rows, visible: jax.Array, bits: jax.Array | None = None
    ) -> jax.Array:
        """log p of every entry given the visible ones, (n, p): masses of values on a lattice, densities in y of others.

        Args:
            layout: of the table.
            heads: the network's output layers.
            base: in an order in which the visible numbers come first.
            rows: n rows.
            visible: (n, p).
            bits: where units of the network are left out, as in training; see `MaskedNetwork.state`.
        """
        state, could = self.network.state(layout, rows, visible, bits), possible(layout, rows, visible)
        made = jnp.zeros(rows.codes.shape)
        log_missing = jnp.full(rows.codes.shape, NEVER)
        odds = missing_log_odds(layout, seen_missing(layout, rows.codes, visible))
        for group, codes, bias in zip(layout.groups, heads.codes, heads.code_bias, strict=True):
            own = jnp.asarray(layout.patterns.codes)[group.parts]
            logits = code_logits(group, codes, bias, state) + at_missing(own, odds[:, group.parts], bias.shape[-1])
            take = lambda code, logits=logits: jnp.take_along_axis(logits, code[..., None], -1)[..., 0]
            total = jax.nn.logsumexp(logits, -1)
            made = made.at[:, group.parts].set(take(rows.codes[:, group.parts]) - total)
            absent = jnp.where(own < 0, NEVER, take(jnp.broadcast_to(own, total.shape)) - total)
            log_missing = log_missing.at[:, group.parts].set(absent)
        if len(layout.lines):
            made = self._with_normals(layout, heads, base, rows, visible, could, state, made, log_missing)
        return linked(layout, heads, rows, could, state, made) if len(layout.links.parts) else made

    def _with_normals(
        self,
        layout: Layout,
        heads: Heads,
        base: Ordered,
        rows: Rows,
        visible: jax.Array,
        could: jax.Array,
        state: jax.Array,
        made: jax.Array,
        log_missing: jax.Array,
    ) -> jax.Array:
        """`made` (n, p), the log probabilities of codes, with those of both experts where a part has a density.

        `log_missing` (n, p) are those of missing entries.
        """
        lines = jnp.asarray(layout.lines)
        at = lambda part: part[:, lines]
        given = components_given(
            base, on_axes(layout, rows.y, rows.codes), layout.known(rows.codes, visible)[:, layout.axes]
        )
        normals_base = Components(*(part[:, : len(lines)] for part in given))
        outputs = jnp.einsum("nh,lqh->nlq", state, heads.lines) + heads.line_bias
        gate, normals = moved(
            normals_base, outputs, Near(at(rows.given)[..., : layout.near], could_of_lines(layout, could))
        )
        missing = rows.codes == jnp.asarray(layout.patterns.codes)
        gate = jnp.stack([jnp.where(at(missing), 0.0, gate[..., 0]), gate[..., 1] + log_present(at(log_missing))], -1)
        low, high, cell = (jnp.where(at(rows.alone), 0.0, at(part)) for part in (rows.low, rows.high, rows.cell))
        log_normal = log_mixture(normals, low, high, cell)
        return made.at[:, lines].set(log_value(gate, at(made), at(rows.inner), log_normal, at(rows.alone)))


def linked(layout: Layout, heads: Heads, rows: Rows, could: jax.Array, state: jax.Array, made: jax.Array) -> jax.Array:
    """log p (n, p) of all entries, with the exact relations of those parts that have some."""
    parts, most = layout.links.parts, could.shape[-1]
    rho = softened(jnp.einsum("nh,jrh->njr", state, heads.links) + heads.link_bias, jnp.asarray(layout.links.log_least))
    found = log_linked(rho, could, bits_of(rows.holds[:, parts], most), made[:, parts])
    return made.at[:, parts].set(found)


def possible(layout: Layout, rows: Rows, visible: jax.Array) -> jax.Array:
    """Which relations give a value, (n, J, R): their other columns are visible, and the part can hold it."""
    parts, others, log_odds, _ = layout.links
    hidden = jnp.einsum("np,jrp->njr", ~visible * 1.0, jnp.asarray(others, jnp.float32))
    return (hidden < 0.5) & bits_of(rows.could[:, parts], log_odds.shape[1])


def could_of_lines(layout: Layout, could: jax.Array) -> jax.Array:
    """The same of the parts with a density, (n, L, R'), where R' is 0 if none of them has relations."""
    padded = jnp.pad(could, ((0, 0), (0, 1), (0, 0)))
    return padded[:, layout.line_links, : layout.near]


def seen_missing(layout: Layout, codes: jax.Array, visible: jax.Array) -> jax.Array:
    """log of the joint probability of each component of the missing patterns and what is visible, (n, C)."""
    own, log_weights, rates, _ = layout.patterns
    found, there = visible & (codes == own), visible & (codes != own)
    return jnp.asarray(log_weights) + found @ jnp.log(rates).T + there @ jnp.log1p(-rates).T


def missing_log_odds(layout: Layout, log_joint: jax.Array) -> jax.Array:
    """By how much what is visible moves the log odds that each part is missing, (n, p), given `seen_missing` (n, C)."""
    _, log_weights, rates, log_odds = layout.patterns
    if not len(log_weights):
        return jnp.zeros((len(log_joint), len(log_odds)))
    share = jax.nn.softmax(log_joint, -1)
    return jnp.log(share @ rates) - jnp.log(share @ (1 - rates)) - log_odds


def at_missing(codes: jax.Array, log_odds: jax.Array, count: int) -> jax.Array:
    """`log_odds` (...) at the logits (..., count) of missing entries, 0 at the others; codes of -1 are none."""
    return log_odds[..., None] * (jnp.arange(count) == codes[..., None])


def on_axes(layout: Layout, y: Any, codes: Any) -> Any:
    """The place of each row on the axes of the base, (n, A), from places on lines and codes (n, p), of NumPy or JAX."""
    levels = layout.levels
    there = (codes[:, levels.parts] == levels.codes) * 1.0
    xp: Any = np if isinstance(y, np.ndarray) else jnp  # NumPy compiles nothing
    return xp.concatenate([y[:, layout.lines], there - levels.masses], axis=1)


def ordered(base: Base, order: jax.Array, layout: Layout) -> Ordered:
    """The base in an order of the parts, (p,)."""
    rank = jnp.argsort(order)[layout.axes]
    return in_order(base, jnp.argsort(rank))


def each_member(work: Callable[..., Any]) -> Callable[..., Any]:
    """`work` for each member, whose arrays have a leading axis. Members come in turn: a batch of matrices is slow."""

    def all_of(*members: Any) -> Any:
        if jax.tree.leaves(members)[0].shape[0] == 1:
            alone = work(*jax.tree.map(lambda part: part[0], members))
            return jax.tree.map(lambda part: part[None], alone)
        return jax.lax.map(lambda member: work(*member), members)

    return all_of


def base_alone(models: MaskedModel) -> MaskedModel:
    """Members without what their networks say of the visible parts; how much each number follows the base stays."""
    network = models.network
    gate = network.line_bias * (np.arange(network.line_bias.shape[-1]) == 0)
    outputs = lambda network: (
        network.out_waves, network.out_free, network.out_bias, network.lines, network.links, network.line_bias,
    )  # fmt: skip
    nothing = jax.tree.map(lambda part: np.zeros(part.shape, part.dtype), outputs(network)[:-1])
    return MaskedModel(eqx.tree_at(outputs, network, (*nothing, gate)), models.base)


def knows_labels(parts: Sequence[Part], means: Any) -> bool:
    """Whether a base with such means (..., A) has axes beside those of the parts with a density."""
    return bool(means.shape[-1] > sum(map(has_density, parts)))


def skeleton_of(layout: Layout, tensors: Mapping[str, Any], dropout: float) -> MaskedModel:
    """The shapes of the members whose arrays `tensors` are, for `filled`.

    Raises:
        KeyError, ValueError: arrays that are not those of a model.
    """
    members, _, width = tensors["network.hidden"].shape
    _, _, outputs = tensors["network.line_bias"].shape
    if not members * width:
        raise ValueError("it has no network")
    depth = sum(name.startswith("network.into") for name in tensors)
    network = MaskedNetwork(layout, width, depth, outputs, dropout, key=None)
    _, components, _ = tensors["base.means"].shape
    axes = len(layout.axes)
    shapes: Any = [jax.ShapeDtypeStruct((components, *(axes,) * k), np.float32) for k in range(3)]
    base = Base(*shapes)
    shape = lambda part: jax.ShapeDtypeStruct((members, *part.shape), part.dtype)
    return jax.tree.map(shape, MaskedModel(network, base))
