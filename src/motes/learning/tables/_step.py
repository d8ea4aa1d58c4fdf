"""The loss of a table, and the compiled program of some steps.

    loss = mean over rows of  p / (p - m) * sum over hidden j of -log p(x_j | the first m parts of an order)

With m uniform on 0 .. p - 1 it is a bound on -log p(x) for a random order (Hoogeboom et al. 2022, section 2). Rows of
one group share an order, so that the base is brought into it once. A share of the groups has the order in which rows
are drawn and scored; the others have random ones, for questions with any columns known.
"""

from functools import partial
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
from motes.learning.tables._network import MaskedNetwork, Rows
from motes.learning.tables._plan import Options, Plan

CHUNK = 25  # steps of one call of the compiled program, at most


class Program(NamedTuple):
    """What a program that trains is given beside its state. The numbers are inputs: others need no other program."""

    layout: Layout
    groups: int  # orders of a step
    fixed: NDArray[np.integer]  # groups that have the order in which rows are drawn, ()
    ema: NDArray[np.floating]  # ()
    optimiser: optax.GradientTransformation  # of the network's weights

    @classmethod
    def of(cls, layout: Layout, options: Options) -> "Program":
        warm = min(50, options.steps // 4)
        numbers = (options.learning_rate, warm, options.steps - warm, options.weight_decay, options.clip_norm)
        fixed = np.asarray(round(options.fixed * options.groups), np.int32)
        ema = np.asarray(options.ema, jnp.result_type(float))
        return cls(layout, options.groups, fixed, ema, with_inputs(_adamw, *numbers))


def _adamw(rate: Any, warm: Any, falls: Any, weight_decay: Any, clip_norm: Any) -> optax.GradientTransformation:
    adam = optax.adamw(rising_and_falling(rate, warm, falls), b2=0.99, weight_decay=weight_decay, mask=decayed)
    return optax.chain(optax.clip_by_global_norm(clip_norm), adam)


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


def random_order(units: jax.Array, key: jax.Array) -> jax.Array:
    """An order of the parts (p,) in which the columns come at random and their parts together."""
    return jnp.argsort(jax.random.uniform(key, units.shape)[units], stable=True)


def masked_loss(
    model: MaskedModel, layout: Layout, rows: Rows, orders: jax.Array, prefix: jax.Array, key: jax.Array | None
) -> jax.Array:
    """The loss of the module's equation.

    Args:
        model: one member.
        layout: of the table.
        rows: (groups, n, p).
        orders: (groups, p).
        prefix: m, (groups, n).
        key: by which units of the network are left out.
    """
    heads, p = model.network.heads(layout), layout.parts

    def group(rows: Rows, order: jax.Array, prefix: jax.Array, key: jax.Array | None) -> jax.Array:
        place = jnp.argsort(order)
        before = place < prefix[:, None]
        log_probs = model.log_probs(
            layout, heads, ordered(model.base, order, layout), rows, before & rows.observed, key
        )
        weights = (~before & rows.observed) * (p / (p - prefix))[:, None]
        return -jnp.where(weights > 0, log_probs * weights, 0.0).sum(1).mean()

    keys = None if key is None else jax.random.split(key, len(orders))
    return jax.vmap(group, (0, 0, 0, None if key is None else 0))(rows, orders, prefix, keys).mean()


@training_program
def advance(
    program: Program,
    state: Members,
    base: Any,
    data: Rows,
    plan: Plan,
    index: ArrayLike,
    window: ArrayLike,
    key: jax.Array,
) -> Any:
    """Some steps of all members: those of a chunk from `window[0]` on, `window[1]` of them.

    `index` (CHUNK, members, groups, n) has the rows of the first of these steps first, and room for a whole chunk.
    """
    p, groups = program.layout.parts, program.groups
    fixed = jnp.arange(groups) < program.fixed

    def member(state: Members, base: Any, index: jax.Array, key: jax.Array) -> Any:
        orders_key, prefix_key, drop = jax.random.split(key, 3)
        rows = jax.tree.map(lambda part: part[index], data)
        orders = jax.vmap(partial(random_order, plan.units))(jax.random.split(orders_key, groups))
        orders = jnp.where(fixed[:, None], plan.order, orders)
        n = index.shape[1]
        share = (jnp.arange(n) + jax.random.uniform(prefix_key, (groups, 1))) / n
        prefix = jnp.minimum(jnp.floor(p * share).astype(int), p - 1)
        loss, slopes = eqx.filter_value_and_grad(
            lambda network: masked_loss(MaskedModel(network, base), program.layout, rows, orders, prefix, drop)
        )(state.network)
        updates, optimiser = program.optimiser.update(slopes, state.optimiser, eqx.filter(state.network, eqx.is_array))
        network = eqx.apply_updates(state.network, updates)
        decay = jnp.minimum(program.ema, (1 + state.step) / (10 + state.step))
        averaged = jax.tree.map(lambda a, w: decay * a + (1 - decay) * w, state.averaged, network)
        powers = None if state.powers is None else _tracked(state.powers, network, state.step + 1)
        return Members(network, averaged, optimiser, state.step + 1, powers), loss

    keys = jax.random.split(key, CHUNK)
    index, window = jnp.asarray(index), jnp.asarray(window)

    def step(i: jax.Array, carry: tuple[Members, jax.Array]) -> tuple[Members, jax.Array]:
        state, losses = carry
        each = jax.random.split(keys[window[0] + i], index.shape[1])
        state, loss = each_member(member)(state, base, index[i], each)
        return state, losses.at[i].set(loss)

    state, losses = jax.lax.fori_loop(0, window[1], step, (state, jnp.zeros(index.shape[:2])))
    arrays = jax.tree.leaves(eqx.filter((state.network, state.averaged, state.powers), eqx.is_inexact_array))
    return state, losses, jnp.stack([jnp.isfinite(one).all() for one in arrays]).all()


def _tracked(powers: MaskedNetwork, network: MaskedNetwork, step: jax.Array) -> MaskedNetwork:
    """Averages (l, ...) of the weights, those after this step included."""
    share = rates(LENGTHS, step)
    return jax.tree.map(lambda a, w: a + share.reshape(-1, *(1,) * w.ndim) * (w - a), powers, network)
