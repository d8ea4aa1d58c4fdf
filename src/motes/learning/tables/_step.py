"""The loss of a table, and the compiled program of some steps.

    loss = mean over rows of  p / (p - m) * sum over hidden j of -log p(x_j | the first m parts of an order)

With m uniform on 0 .. p - 1 it is a bound on -log p(x) for a random order (Hoogeboom et al. 2022, section 2). Rows of
one group share an order, so that the base is brought into it once. A share of the groups has the order in which rows
are drawn and scored; the others have random ones, for questions with any columns known.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.learning._averages import LENGTHS, rates
from motes.learning._optimisers import rising_and_falling, with_inputs
from motes.learning._programs import training_program
from motes.learning.tables._course import Members
from motes.learning.tables._layout import Layout
from motes.learning.tables._model import MaskedModel, each_member, ordered
from motes.learning.tables._network import SHARED, MaskedNetwork, Rows
from motes.learning.tables._plan import Options, Plan

CHUNK = 25  # steps of one call of the compiled program, at most


class Program(NamedTuple):
    """What a program that trains is given beside its state. The numbers are inputs: others need no other program."""

    layout: Layout
    ema: NDArray[np.floating]  # ()
    optimiser: optax.GradientTransformation  # of the network's weights, as one vector

    @classmethod
    def of(cls, layout: Layout, networks: MaskedNetwork, options: Options) -> "Program":
        """For members with such networks."""
        warm = min(50, options.steps // 4)
        flags = jax.tree.map(lambda part, yes: np.full(part.size // len(part), yes), networks, decayed(networks))
        decays = options.weight_decay * np.concatenate(jax.tree.leaves(flags))
        numbers: Any = (options.learning_rate, warm, options.steps - warm, decays, options.clip_norm)
        ema = np.asarray(options.ema, jnp.result_type(float))
        return cls(layout, ema, with_inputs(_adamw, *numbers))


def _adamw(rate: Any, warm: Any, falls: Any, decays: Any, clip_norm: Any) -> optax.GradientTransformation:
    """Of one vector of weights, each with a decay of its own."""
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(b2=0.99),
        optax.add_decayed_weights(decays),
        optax.scale_by_learning_rate(rising_and_falling(rate, warm, falls)),
    )


class Draws(NamedTuple):
    """What is random in a chunk of steps. NumPy draws it, and the program that trains compiles in less time.

    Attributes:
        orders: of the parts, (CHUNK, members, groups, p).
        prefix: how many parts are visible, (CHUNK, members, groups, n).
        bits: by which units are left out, (CHUNK, members, groups, n / SHARED, units); None: none are.
    """

    orders: Any
    prefix: Any
    bits: Any

    @classmethod
    def of(
        cls, plan: Plan, network: MaskedNetwork, options: Options, shape: tuple[int, ...], seed: int, begin: int
    ) -> "Draws":
        """Of the chunk that begins with step `begin`, whose rows have the `shape` (CHUNK, members, groups, n)."""
        rng, (_, _, groups, n), p = np.random.default_rng([seed, 271828, begin]), shape, len(plan.units)
        orders = random_orders(plan.units, rng, shape[:-1])
        orders[:, :, : round(options.fixed * groups)] = plan.order
        share = (np.arange(n) + rng.random((*shape[:-1], 1))) / n
        prefix = np.minimum(np.floor(p * share), p - 1).astype(np.int32)
        if not network.dropout:
            return cls(orders, prefix, None)
        blocks = *shape[:-1], -(-n // SHARED), network.units
        return cls(orders, prefix, rng.integers(256, size=blocks, dtype=np.uint8))


def decayed(network: MaskedNetwork) -> MaskedNetwork:
    """True for each array of a network that decays.

    A bias that did would forget the marginals and the gates. Weights of single codes would forget which labels never
    come together.
    """
    kept = lambda network: (
        network.bias, network.out_bias, network.line_bias, network.link_bias, network.embed, network.out_free,
    )  # fmt: skip
    every = jax.tree.map(lambda _: True, network)
    return eqx.tree_at(kept, every, jax.tree.map(lambda _: False, kept(network)))


def random_orders(units: NDArray[np.integer], rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Orders of the parts (*shape, p) in which the columns come at random and their parts together."""
    return np.argsort(rng.random((*shape, len(units)))[..., units], axis=-1, kind="stable").astype(np.int32)


def masked_loss(
    model: MaskedModel, layout: Layout, rows: Rows, orders: jax.Array, prefix: jax.Array, bits: jax.Array | None
) -> jax.Array:
    """The loss of the module's equation.

    Args:
        model: one member.
        layout: of the table.
        rows: (groups, n, p).
        orders: (groups, p).
        prefix: m, (groups, n).
        bits: by which units of the network are left out, (groups, n / SHARED, units).
    """
    heads, p = model.network.heads(layout), layout.parts

    def group(rows: Rows, order: jax.Array, prefix: jax.Array, bits: jax.Array | None) -> jax.Array:
        place = jnp.argsort(order)
        before = place < prefix[:, None]
        log_probs = model.log_probs(
            layout, heads, ordered(model.base, order, layout), rows, before & rows.observed, bits
        )
        weights = (~before & rows.observed) * (p / (p - prefix))[:, None]
        return -jnp.where(weights > 0, log_probs * weights, 0.0).sum(1).mean()

    return jax.vmap(group, (0, 0, 0, None if bits is None else 0))(rows, orders, prefix, bits).mean()


@training_program
def advance(
    program: Program, state: Members, base: Any, data: Rows, index: ArrayLike, window: ArrayLike, draws: Draws
) -> Any:
    """Some steps of all members: those of a chunk from `window[0]` on, `window[1]` of them.

    `index` (CHUNK, members, groups, n) has the rows of the first of these steps first, and room for a whole chunk.
    The weights of a member are one vector here: each array of the network would have programs of its own for every part
    of the optimiser.
    """
    raveled, whole = _as_vectors(state.network)

    def member(state: Any, base: Any, index: jax.Array, draws: Draws) -> Any:
        rows = jax.tree.map(lambda part: part[index], data)
        loss, slopes = jax.value_and_grad(
            lambda weights: masked_loss(
                MaskedModel(whole(weights), base), program.layout, rows, draws.orders, draws.prefix, draws.bits
            )
        )(state.network)
        updates, optimiser = program.optimiser.update(slopes, state.optimiser, state.network)
        network = state.network + updates
        decay = jnp.minimum(program.ema, (1 + state.step) / (10 + state.step))
        averaged = decay * state.averaged + (1 - decay) * network
        powers = None
        if state.powers is not None:
            powers = state.powers + rates(LENGTHS, state.step + 1)[:, None] * (network - state.powers)
        return Members(network, averaged, optimiser, state.step + 1, powers), loss

    index, window = jnp.asarray(index), jnp.asarray(window)

    def step(i: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        state, losses = carry
        now = jax.tree.map(lambda part: jnp.asarray(part)[window[0] + i], draws)
        state, loss = each_member(member)(state, base, index[i], now)
        return state, losses.at[i].set(loss)

    powers = None if state.powers is None else raveled(state.powers, 2)
    state = Members(raveled(state.network), raveled(state.averaged), state.optimiser, state.step, powers)
    end: Any
    end, losses = jax.lax.fori_loop(0, window[1], step, (state, jnp.zeros(index.shape[:2])))
    finite = jnp.stack([jnp.isfinite(part).all() for part in (end.network, end.averaged)]).all()
    if powers is not None:
        finite, powers = finite & jnp.isfinite(end.powers).all(), whole(end.powers)
    return end._replace(network=whole(end.network), averaged=whole(end.averaged), powers=powers), losses, finite


def _as_vectors(networks: MaskedNetwork) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """From the networks of members to vectors (M, ..., P), and from vectors (..., P) to networks."""
    leaves, tree = jax.tree.flatten(networks)
    ends = np.cumsum([part.size // len(part) for part in leaves])[:-1].tolist()

    def raveled(networks: MaskedNetwork, lead: int = 1) -> Any:
        parts = [part.reshape(*part.shape[:lead], -1) for part in jax.tree.leaves(networks)]
        return jnp.concatenate(parts, -1)

    def whole(vectors: Any) -> Any:
        parts = jnp.split(vectors, ends, -1)
        shapes = [(*vectors.shape[:-1], *part.shape[1:]) for part in leaves]
        return jax.tree.unflatten(tree, [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])

    return raveled, whole
