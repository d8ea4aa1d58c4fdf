"""How a table is learned: one compiled step, and the loop around it.

    loss = mean over rows of  p / (p - m) * sum over hidden j of -log p(x_j | the first m parts of an order)

With m uniform on 0 .. p - 1 it is a bound on -log p(x) for a random order (Hoogeboom et al. 2022, section 2). Rows of
one group share an order, so that the base is brought into it once. A share of the groups has the order in which rows
are drawn and scored; the others have random ones, for questions with any columns known.

Few rows are learned by several members, each without one fold of the rows, which says when it stops; many rows by one.
"""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import TrainingError
from motes.learning._averages import LENGTHS, rates
from motes.learning._batches import Batches
from motes.learning._divergence import Guard
from motes.learning._optimisers import rising_and_falling, with_inputs
from motes.learning._programs import training_program
from motes.learning._resuming import Session, interruptible
from motes.learning.tables._course import Course, Members, Nats, Trained, moved_by
from motes.learning.tables._layout import Layout
from motes.learning.tables._model import MaskedModel, each_member, ordered
from motes.learning.tables._network import MaskedNetwork, Rows
from motes.learning.tables._plan import Data, Options, Plan, Split

PREFIXES = 8  # of a validation row, at most, that each check looks at
OTHERS = 2  # orders beside that of drawing, in which validation rows are looked at
CHUNK = 25  # steps of one call of the compiled program, at most
FIRST = 5  # steps of the first call, before it is known how long one takes
PATIENCE = 0.5  # seconds between looks at the clock and the keyboard
PADDED = 512  # of which the number of rows is a multiple, in the compiled program
WORSE = 3.0  # nats a part: losses that stay so far above the first ones are those of a training that diverged
SHARES = (1.0, 0.5, 0.25, 0.0)  # of what the network moves the normals of the base by, where rows are few


class _Program(NamedTuple):
    """What a program that trains is given beside its state. The numbers are inputs: others need no other program."""

    layout: Layout
    groups: int  # orders of a step
    fixed: NDArray[np.integer]  # groups that have the order in which rows are drawn, ()
    ema: NDArray[np.floating]  # ()
    optimiser: optax.GradientTransformation  # of the network's weights

    @classmethod
    def of(cls, layout: Layout, options: Options) -> "_Program":
        warm = min(50, options.steps // 4)
        numbers = (options.learning_rate, warm, options.steps - warm, options.weight_decay, options.clip_norm)
        fixed = np.asarray(round(options.fixed * options.groups), np.int32)
        ema = np.asarray(options.ema, jnp.result_type(float))
        return cls(layout, options.groups, fixed, ema, with_inputs(_adamw, *numbers))


def _adamw(rate: Any, warm: Any, falls: Any, weight_decay: Any, clip_norm: Any) -> optax.GradientTransformation:
    adam = optax.adamw(rising_and_falling(rate, warm, falls), b2=0.99, weight_decay=weight_decay, mask=decayed)
    return optax.chain(optax.clip_by_global_norm(clip_norm), adam)


def random_order(units: jax.Array, key: jax.Array) -> jax.Array:
    """An order of the parts (p,) in which the columns come at random and their parts together."""
    return jnp.argsort(jax.random.uniform(key, units.shape)[units], stable=True)


_random_order = jax.jit(random_order)


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
    program: _Program,
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
    layout: Layout, networks: MaskedNetwork, base: Any, rows: Rows, prefix: jax.Array, order: jax.Array
) -> jax.Array:
    """Nats a row (members,) of validation rows (members, n, p), by the parts after (members, n, r) prefixes."""

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
    models: MaskedModel,
    layout: Layout,
    plan: Plan,
    data: Data,
    split: Split,
    options: Options,
    *,
    seed: int,
    session: Session = Session(),
) -> Trained:
    """Train the members.

    Args:
        models: of all members, with a leading axis: networks to begin with, and their bases.
        layout, plan: of the table.
        data: all rows, and how much each counts.
        split: the rows of each member.
        options: of the training.
        seed: of everything random.
        session: its keeper, and its `on_progress`, which is called before the first step too. A state that it goes on
            from may be that of a training with the same arguments but `options.steps`, or one with other rows.

    Ctrl-C ends the training after the steps under way, with what it has; so does a KeyboardInterrupt in `on_progress`.

    Raises:
        TrainingError: the training diverged; its `result` is what was learned before.
        ModelFileError: the keeper's state is that of another training.
    """
    layout = layout.on_device
    program, base = _Program.of(layout, options), models.base
    rows, plan = jax.device_put((_padded(data.rows), plan))
    held = _validation(data.rows, split.hold, layout.parts, seed)
    nats = None if held is None else partial(_checked, layout, options.fixed, base, held, plan)
    course = _begun(program, models, data, split, options, seed, nats)
    if session.keeper is not None and session.keeper.state is not None:
        course.go_on(session.keeper.state)
    _tell(session, course)
    guard = Guard(lambda first: first + WORSE * layout.parts, options.steps, course.joined)
    interrupted, key, stride, saved = False, jax.random.key(seed), _Stride(), course.step
    try:
        with interruptible() as stop:
            course.first_look()
            while course.step < options.steps and course.waited < options.patience and not stop:
                some, tick = _next_rows(course, options.groups, stride.steps), time.perf_counter()
                within = np.array([course.step - some.begin, some.count], np.int32)
                state, loss, finite = _train(
                    program, course.state, base, rows, plan, some.index, within, jax.random.fold_in(key, some.begin)
                )
                fresh = np.asarray(loss)[: some.count].mean(1)
                _refuse(guard.fault(course.step, fresh, bool(finite)), course)
                course.took(state, fresh)
                if guard.sound:
                    course.mark_sound()
                stride.took(some.count, time.perf_counter() - tick)
                if course.step == some.end and some.holds_a_look(options):
                    course.look()
                if guard.sound:
                    saved = _save(session, course, saved, if_due=True)
                _tell(session, course)
            _refuse(guard.fault_at_end(course.step), course)
            _save(session, course, saved)
            interrupted = bool(stop)
    except KeyboardInterrupt:
        interrupted = True
    if nats is None or not course.checks or len(split.learn) == 1:
        return course.result(interrupted, 1.0)
    return course.result(interrupted, _best_share(course.learned, nats))


def _refuse(fault: str | None, course: Course) -> None:
    """End a training that has diverged, with the weights that it had before.

    Raises:
        TrainingError: there is a fault.
    """
    if fault is None:
        return
    course.back_to_sound()
    raise TrainingError(
        f"the training diverged: {fault}. Usual remedies: a smaller table.learning_rate, a smaller table.clip_norm. "
        f"The weights of step {course.step:,} are kept, or better ones before it.",
        course.result(False, 1.0),
    )


def _begun(
    program: _Program, models: MaskedModel, data: Data, split: Split, options: Options, seed: int, nats: Nats | None
) -> Course:
    """A training before its first step."""
    networks = models.network
    powers = None
    if options.averages:
        empty = lambda part: np.zeros((len(part), len(LENGTHS), *part.shape[1:]), part.dtype)
        powers = jax.device_put(jax.tree.map(empty, networks))
    state = Members(networks, networks, _opened(program.optimiser, networks), jnp.zeros(len(split.learn), int), powers)
    streams = _batches(split.learn, data.weights, options.groups * (options.batch // options.groups), seed)
    return Course(state, models.base, options.steps, streams, nats, averages=options.averages)


@dataclass(frozen=True)
class _Some:
    """The rows of the next steps.

    Attributes:
        index: (CHUNK, members, groups, n), of which the first `count` hold.
        count: how many steps.
        begin, end: of the chunk in which these are.
    """

    index: NDArray[np.integer]
    count: int
    begin: int
    end: int

    def holds_a_look(self, options: Options) -> bool:
        """Whether validation rows are looked at where this chunk ends."""
        return self.end % options.check_every < self.end - self.begin or self.end == options.steps


def _padded(rows: Rows) -> Rows:
    """The rows with empty ones behind them that nobody asks for, so that some more or fewer need no other program."""
    more = -len(rows.codes) % PADDED
    return jax.tree.map(lambda part: np.pad(np.asarray(part), ((0, more), *[(0, 0)] * (np.ndim(part) - 1))), rows)


def _next_rows(course: Course, groups: int, most: int) -> _Some:
    """The rows of the next steps, at most so many of one chunk."""
    begin = course.step - course.step % CHUNK
    end = min(begin + CHUNK, course.steps)
    count = min(most, end - course.step, course.store_every - course.step % course.store_every)
    index = np.stack([[next(stream) for stream in course.streams] for _ in range(count)])
    index = np.pad(index, ((0, CHUNK - count), *[(0, 0)] * 2))
    return _Some(index.reshape(CHUNK, len(course.streams), groups, -1), count, begin, end)


class _Stride:
    """How many steps one call of the compiled program takes."""

    def __init__(self) -> None:
        self.steps, self._calls = FIRST, 0

    def took(self, count: int, seconds: float) -> None:
        """So many steps took so long. The first call compiles, which says nothing of the next one."""
        self._calls += 1
        if self._calls > 1:
            self.steps = int(np.clip(count * PATIENCE / seconds, 1, CHUNK))


def _tell(session: Session, course: Course) -> None:
    if session.on_progress is not None:
        session.on_progress(course.progress())


def _save(session: Session, course: Course, saved: int, *, if_due: bool = False) -> int:
    """Keep the complete state if that of another step was `saved` last; returns the step of the last one now."""
    keeper = session.keeper
    if keeper is None or course.step == saved or (if_due and not keeper.due()):
        return saved
    keeper.save(course.step, course.complete())
    return course.step


def _best_share(networks: MaskedNetwork, nats: Nats) -> float:
    """How much of what networks move the normals of the base by makes validation rows likeliest, one of `SHARES`.

    Where rows are few, the base alone may be better than what is learned on top of it: of penguins, the numbers of
    unseen rows were likelier by 0.2 nats a row with a quarter of it.
    """
    return min(SHARES, key=lambda share: float(nats(moved_by(networks, share)).mean()))


def _checked(
    layout: Layout, fixed: float, base: Any, held: tuple[Rows, jax.Array], plan: Plan, networks: MaskedNetwork
) -> NDArray[np.float64]:
    """Nats a row of the validation rows, (members,): in the order of drawing and in others, as often as in training."""
    found = lambda order: -np.asarray(_held_out(layout, networks, base, *held, order), np.float64)
    mean = fixed * found(plan.order) if fixed else np.zeros(1)
    if fixed < 1:
        others = [_random_order(plan.units, jax.random.key(k)) for k in range(OTHERS)]
        mean = mean + (1 - fixed) * np.mean([found(order) for order in others], axis=0)
    return mean


@eqx.filter_jit
def _opened(optimiser: optax.GradientTransformation, networks: MaskedNetwork) -> Any:
    """The first state of each member's optimiser."""
    return eqx.filter_vmap(lambda network: optimiser.init(eqx.filter(network, eqx.is_array)))(networks)


def _batches(
    learn: list[NDArray[np.integer]], weights: NDArray[np.float64] | None, size: int, seed: int
) -> list[Batches]:
    """Rows (size,) of one step after another of each member: each once before any comes again, or by their weights."""

    def one(rows: NDArray[np.integer], rng: np.random.Generator) -> Batches:
        if weights is None:
            return Batches(rng, lambda rng: rng.permutation(rows), size)
        share = weights[rows] / weights[rows].sum()
        return Batches(rng, lambda rng: rng.choice(rows, max(len(rows), size), p=share), size)

    return [one(rows, np.random.default_rng([seed, 161803, member])) for member, rows in enumerate(learn)]


def _validation(data: Rows, hold: list[NDArray[np.integer]], parts: int, seed: int) -> tuple[Rows, jax.Array] | None:
    """The validation rows of each member, and the prefixes of each row at which it is looked at, evenly spread."""
    if not len(hold) or not len(hold[0]):
        return None
    count = min(PREFIXES, parts)
    index = np.stack(hold)
    start = np.random.default_rng([seed, 141421]).random((*index.shape, 1))
    prefix = np.floor(parts * (np.arange(count) + start) / count).astype(np.int32)
    # NumPy takes the rows: JAX would compile a program for each part of them.
    rows = jax.tree.map(lambda part: np.asarray(part)[index], data)
    return jax.device_put((rows, np.minimum(prefix, parts - 1)))
