"""How a table is learned: one compiled step, and the loop around it.

    loss = mean over rows of  p / (p - m) * sum over hidden j of -log p(x_j | the first m parts of an order)

With m uniform on 0 .. p - 1 it is a bound on -log p(x) for a random order (Hoogeboom et al. 2022, section 2). Rows of
one group share an order, so that the base is brought into it once. A share of the groups has the order in which rows
are drawn and scored; the others have random ones, for questions with any columns known.

Few rows are learned by several members, each without one fold of the rows, which says when it stops; many rows by one.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from motes.errors import TrainingError
from motes.learning.programs import training_program
from motes.learning.tables.layout import Layout
from motes.learning.tables.model import MaskedModel, each_member, ordered
from motes.learning.tables.network import MaskedNetwork, Rows

Integers = NDArray[np.int32]
PREFIXES = 8  # of a validation row, at most, that each check looks at
OTHERS = 2  # orders beside that of drawing, in which validation rows are looked at
CHUNK = 25  # steps of one call of the compiled program
SHARES = (1.0, 0.5, 0.25, 0.0)  # of what the network moves the normals of the base by, where rows are few


@dataclass(frozen=True)
class Options:
    """Of a training.

    Attributes:
        steps: at most.
        batch: rows of a step.
        groups: orders of a step.
        fixed: share of the groups that have the order in which rows are drawn.
        learning_rate: at its highest; it falls to nothing by a cosine.
        ema: the decay of the average of the weights, which is the model.
        clip_norm: of the gradient.
        weight_decay: of weights that many codes share, in units of the learning rate (Loshchilov & Hutter 2019).
        check_every: steps between two looks at the validation rows.
        patience: looks without a better one after which the training stops.
    """

    steps: int
    batch: int
    groups: int
    fixed: float
    learning_rate: float
    ema: float
    clip_norm: float
    weight_decay: float
    check_every: int
    patience: int


class Plan(NamedTuple):
    """What of a table no gradient changes.

    Attributes:
        order: place -> part, in which rows are drawn and scored, (p,).
        units: the column of each part, (p,): parts of one column stay together, in their order.
    """

    order: Any
    units: Any


class Progress(NamedTuple):
    """Where a training is: nats a row, of training and validation rows (NaN: none were looked at yet)."""

    step: int
    steps: int
    loss: float
    held_out: float
    seconds: float


@dataclass
class Trained:
    """What a training gives.

    Attributes:
        networks: the members', with a leading axis.
        losses: of each step, the mean over members, (steps,).
        held_out: (checks, 2): step and nats a row of the validation rows.
        best: the step of the weights that are kept, the mean over members.
        interrupted: by Ctrl-C.
    """

    networks: MaskedNetwork
    losses: NDArray[np.float32]
    held_out: NDArray[np.float64]
    best: float
    seconds: float
    interrupted: bool = False


class _State(NamedTuple):
    network: MaskedNetwork
    averaged: MaskedNetwork
    optimiser: Any
    step: jax.Array


@dataclass(frozen=True)
class _Program:
    """What compiled programs do not trace."""

    layout: Layout
    options: Options

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Of the network's weights."""
        options = self.options
        warm = min(50, options.steps // 4)
        rate = optax.warmup_cosine_decay_schedule(0.0, options.learning_rate, warm, options.steps)
        adam = optax.adamw(rate, b2=0.99, weight_decay=options.weight_decay, mask=decayed)
        return optax.chain(optax.clip_by_global_norm(options.clip_norm), adam)


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
def _train(
    program: _Program, state: _State, base: Any, data: Rows, plan: Plan, index: jax.Array, key: jax.Array
) -> Any:
    """Some steps of all members; `index` (steps, members, groups, n) says which rows."""
    options, p = program.options, program.layout.parts
    fixed = jnp.arange(options.groups) < round(options.fixed * options.groups)

    def member(state: _State, base: Any, index: jax.Array, key: jax.Array) -> Any:
        orders_key, prefix_key, drop = jax.random.split(key, 3)
        rows = jax.tree.map(lambda part: part[index], data)
        orders = jax.vmap(partial(random_order, plan.units))(jax.random.split(orders_key, options.groups))
        orders = jnp.where(fixed[:, None], plan.order, orders)
        n = index.shape[1]
        share = (jnp.arange(n) + jax.random.uniform(prefix_key, (options.groups, 1))) / n
        prefix = jnp.minimum(jnp.floor(p * share).astype(int), p - 1)
        loss, slopes = eqx.filter_value_and_grad(
            lambda network: masked_loss(MaskedModel(network, base), program.layout, rows, orders, prefix, drop)
        )(state.network)
        updates, optimiser = program.optimiser.update(slopes, state.optimiser, eqx.filter(state.network, eqx.is_array))
        network = eqx.apply_updates(state.network, updates)
        decay = jnp.minimum(options.ema, (1 + state.step) / (10 + state.step))
        averaged = jax.tree.map(lambda a, w: decay * a + (1 - decay) * w, state.averaged, network)
        return _State(network, averaged, optimiser, state.step + 1), loss

    def step(state: _State, given: Any) -> Any:
        index, key = given
        return each_member(member)(state, base, index, jax.random.split(key, index.shape[0]))

    return jax.lax.scan(step, state, (index, jax.random.split(key, len(index))))


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


@eqx.filter_jit
def _held_out(
    program: _Program, networks: MaskedNetwork, base: Any, rows: Rows, prefix: jax.Array, order: jax.Array
) -> jax.Array:
    """Nats a row (members,) of validation rows (members, n, p), by the parts after (members, n, r) prefixes."""
    layout = program.layout

    def member(network: MaskedNetwork, base: Any, rows: Rows, prefix: jax.Array) -> jax.Array:
        model, place = MaskedModel(network, base), jnp.argsort(order)
        heads, prepared = network.heads(layout), ordered(base, order, layout)

        def one(prefix: jax.Array) -> jax.Array:
            visible = (place < prefix[:, None]) & rows.observed
            found = model.log_probs(layout, heads, prepared, rows, visible)
            return jnp.where((place == prefix[:, None]) & rows.observed, found, 0.0).sum(1).mean()

        return jax.lax.map(one, prefix.T).mean() * layout.parts

    return each_member(member)(networks, base, rows, prefix)


def train(
    networks: MaskedNetwork,
    base: Any,
    layout: Layout,
    plan: Plan,
    data: Rows,
    learn: list[NDArray[np.integer]],
    hold: list[NDArray[np.integer]],
    options: Options,
    *,
    seed: int,
    weights: NDArray[np.float64] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train the members.

    Args:
        networks, base: of all members, with a leading axis.
        layout, plan: of the table.
        data: all rows, (n, p).
        learn: the rows of each member; all as many.
        hold: the validation rows of each member; all as many, none where nothing says when to stop.
        options: of the training.
        seed: of everything random.
        weights: how much each row counts, (n,).
        on_progress: called before the first step, and after every few steps. Ctrl-C in it, or elsewhere, ends the
            training with what it has.

    Raises:
        TrainingError: the loss is not finite.
    """
    program = _Program(layout, options)
    members = len(learn)
    data, plan = jax.tree.map(jnp.asarray, (data, plan))
    opened = _opened(program, networks)
    state = _State(networks, networks, opened, jnp.zeros(members, int))
    stream = _batches(learn, weights, (options.groups, options.batch // options.groups), seed)
    held = _validation(data, hold, layout.parts, seed)
    key, began = jax.random.key(seed), time.perf_counter()
    losses: list[NDArray[np.float32]] = []
    checks: list[tuple[int, float]] = []
    best, kept, kept_step, waited = np.full(members, np.inf), networks, np.zeros(members), 0
    step, interrupted = 0, False

    def look() -> None:
        nonlocal best, kept, kept_step, waited
        assert held is not None
        found = _checked(program, state.averaged, base, held, plan, options.fixed)
        better = found < best
        kept = _better_of(jnp.asarray(better), state.averaged, kept)
        best, kept_step = np.where(better, found, best), np.where(better, step, kept_step)
        checks.append((step, float(found.mean())))
        waited = 0 if better.any() else waited + 1

    if on_progress is not None:
        on_progress(Progress(0, options.steps, float("nan"), float("nan"), 0.0))
    try:
        if held is not None:
            look()  # the base alone may be best
        while step < options.steps:
            count = min(CHUNK, options.steps - step)
            index = jnp.asarray(np.stack([next(stream) for _ in range(count)]))
            state, loss = _train(program, state, base, data, plan, index, jax.random.fold_in(key, step))
            step += count
            losses.append(np.asarray(loss).mean(1))
            if not np.isfinite(losses[-1]).all():
                raise TrainingError(f"the loss was not finite after {step} steps. Lower table.learning_rate.")
            if held is not None and (step % options.check_every < count or step == options.steps):
                look()
            if on_progress is not None:
                latest = checks[-1][1] if checks else float("nan")
                on_progress(
                    Progress(step, options.steps, float(losses[-1].mean()), latest, time.perf_counter() - began)
                )
            if waited >= options.patience:
                break
    except KeyboardInterrupt:
        interrupted = True
    if not checks:
        kept, kept_step = state.averaged, np.full(members, step)
    elif held is not None and members > 1:
        kept = _shrunk(kept, lambda networks: _checked(program, networks, base, held, plan, options.fixed))
    return Trained(
        kept, np.concatenate(losses) if losses else np.zeros(0, np.float32), np.array(checks).reshape(-1, 2),
        float(kept_step.mean()), time.perf_counter() - began, interrupted,
    )  # fmt: skip


def _shrunk(networks: MaskedNetwork, nats: Callable[[MaskedNetwork], NDArray[np.float64]]) -> MaskedNetwork:
    """Networks that move the normals of the base by the share with which validation rows are likeliest, of `SHARES`.

    Where rows are few, the base alone may be better than what is learned on top of it: of penguins, the numbers of
    unseen rows were likelier by 0.2 nats a row with a quarter of it.

    Args:
        networks: of all members.
        nats: how unlikely such networks make the validation rows, (members,).
    """

    def scaled(share: float) -> MaskedNetwork:
        moves = networks.lines * share, networks.line_bias.at[..., 1:].multiply(share)
        return eqx.tree_at(lambda networks: (networks.lines, networks.line_bias), networks, moves)

    return min(map(scaled, SHARES), key=lambda networks: float(nats(networks).mean()))


def _checked(
    program: _Program, networks: MaskedNetwork, base: Any, held: tuple[Rows, jax.Array], plan: Plan, fixed: float
) -> NDArray[np.float64]:
    """Nats a row of the validation rows, (members,): in the order of drawing and in others, as often as in training."""
    found = lambda order: -np.asarray(_held_out(program, networks, base, *held, order), np.float64)
    mean = fixed * found(plan.order) if fixed else np.zeros(1)
    if fixed < 1:
        others = [random_order(jnp.asarray(plan.units), jax.random.key(k)) for k in range(OTHERS)]
        mean = mean + (1 - fixed) * np.mean([found(order) for order in others], axis=0)
    return mean


@eqx.filter_jit
def _opened(program: _Program, networks: MaskedNetwork) -> Any:
    """The first state of each member's optimiser."""
    return eqx.filter_vmap(lambda network: program.optimiser.init(eqx.filter(network, eqx.is_array)))(networks)


@eqx.filter_jit
def _better_of(better: jax.Array, new: MaskedNetwork, old: MaskedNetwork) -> MaskedNetwork:
    """For each member the new network where it is better, (members,)."""
    where = lambda a, b: jnp.where(better.reshape(-1, *(1,) * (a.ndim - 1)), a, b)
    return jax.tree.map(where, new, old)


def _batches(
    learn: list[NDArray[np.integer]], weights: NDArray[np.float64] | None, shape: tuple[int, int], seed: int
) -> Iterator[Integers]:
    """Rows (members, groups, n) of one step after another: each once before any comes again, or by their weights."""
    rngs = [np.random.default_rng([seed, 161803, member]) for member in range(len(learn))]
    size = shape[0] * shape[1]

    def one(rows: NDArray[np.integer], rng: np.random.Generator) -> Iterator[Integers]:
        left = rows[:0]
        share = None if weights is None else weights[rows] / weights[rows].sum()
        while True:
            while len(left) < size:
                more = rng.permutation(rows) if share is None else rng.choice(rows, max(len(rows), size), p=share)
                left = np.concatenate([left, more])
            yield left[:size].reshape(shape).astype(np.int32)
            left = left[size:]

    streams = [one(rows, rng) for rows, rng in zip(learn, rngs, strict=True)]
    while True:
        yield np.stack([next(stream) for stream in streams])


def _validation(data: Rows, hold: list[NDArray[np.integer]], parts: int, seed: int) -> tuple[Rows, jax.Array] | None:
    """The validation rows of each member, and the prefixes of each row at which it is looked at, evenly spread."""
    if not len(hold) or not len(hold[0]):
        return None
    count = min(PREFIXES, parts)
    index = np.stack(hold)
    start = np.random.default_rng([seed, 141421]).random((*index.shape, 1))
    prefix = np.floor(parts * (np.arange(count) + start) / count).astype(np.int32)
    return jax.tree.map(lambda part: part[index], data), jnp.asarray(np.minimum(prefix, parts - 1))
