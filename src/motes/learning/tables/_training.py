"""How a table is learned: the loop around the compiled steps, and the validation rows that it looks at.

Few rows are learned by several members, each without one fold of the rows, which says when it stops; many rows by one.
"""

import time
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from motes.errors import TrainingError
from motes.learning._averages import LENGTHS
from motes.learning._batches import Batches
from motes.learning._divergence import Guard
from motes.learning._programs import training_program
from motes.learning._resuming import Session, interruptible
from motes.learning._rows import systematic
from motes.learning.tables._course import Course, Looks, Members, Trained, moved_by
from motes.learning.tables._layout import Layout
from motes.learning.tables._model import MaskedModel, each_member, ordered
from motes.learning.tables._network import MaskedNetwork, Rows
from motes.learning.tables._plan import Data, Options, Plan, Split
from motes.learning.tables._step import CHUNK, Draws, Program, advance, random_orders

PREFIXES = 8  # of a validation row, at most, that each check looks at
OTHERS = 2  # orders beside that of drawing, in which validation rows are looked at
FIRST = 5  # steps of the first call, before it is known how long one takes
PATIENCE = 0.5  # seconds between looks at the clock and the keyboard
LONGEST = 65_536  # rows between two orders, at most, where fewer rows than that count for more
PADDED = 512  # of which the number of rows is a multiple, in the compiled program
WORSE = 3.0  # nats a part: losses that stay so far above the first ones are those of a training that diverged
SHARES = (1.0, 0.5, 0.25, 0.0)  # of what the network moves the normals of the base by, where rows are few


class _HeldOut(NamedTuple):
    """The validation rows of all members.

    Attributes:
        rows: (members, n, p).
        prefix: how many parts are visible at each look, (members, n, r).
        shares: of the rows in the mean, (members, n).
    """

    rows: Rows
    prefix: Any
    shares: Any


@training_program
def _held_out(layout: Layout, networks: MaskedNetwork, base: Any, held: "_HeldOut", order: jax.Array) -> jax.Array:
    """Nats (members, n) of the validation rows, by the parts after their prefixes."""

    def member(network: MaskedNetwork, base: Any, held: "_HeldOut") -> jax.Array:
        model, place = MaskedModel(network, base), jnp.argsort(order)
        heads, prepared = network.heads(layout), ordered(base, order, layout)

        def one(prefix: jax.Array) -> jax.Array:
            visible = (place < prefix[:, None]) & held.rows.observed
            found = model.log_probs(layout, heads, prepared, held.rows, visible)
            return jnp.where((place == prefix[:, None]) & held.rows.observed, found, 0.0).sum(1)

        return jax.lax.map(one, held.prefix.T).mean(0) * layout.parts

    return each_member(member)(networks, base, held)


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
    program, base = Program.of(layout, models.network, options), models.base
    rows = jax.device_put(_padded(data.rows))
    held = _validation(data, split.hold, layout.parts, seed)
    looks = None
    if held is not None:
        looks = Looks(partial(_checked, layout, options.fixed, base, held, plan), np.asarray(held.shares, np.float64))
    course = _begun(program, models, data, split, options, seed, looks)
    if session.keeper is not None and session.keeper.state is not None:
        course.go_on(session.keeper.state)
    _tell(session, course)
    guard = Guard(lambda first: first + WORSE * layout.parts, options.steps, course.joined)
    interrupted, stride, saved = False, _Stride(), course.step
    draws = lru_cache(maxsize=1)(lambda begin, shape: Draws.of(plan, models.network, options, shape, seed, begin))
    try:
        with interruptible() as stop:
            course.first_look()
            while course.step < options.steps and not course.is_over(options.patience) and not stop:
                some, tick = _next_rows(course, options.groups, stride.steps), time.perf_counter()
                within = np.array([course.step - some.begin, some.count], np.int32)
                state, loss, finite = advance(
                    program, course.state, base, rows, some.index, within, draws(some.begin, some.index.shape)
                )
                fresh = np.asarray(loss)[: some.count].mean(1, dtype=np.float32)
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
    if looks is None or not course.checks or len(split.learn) == 1:
        return course.result(interrupted, 1.0)
    return course.result(interrupted, _best_share(course.learned, looks))


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
    program: Program, models: MaskedModel, data: Data, split: Split, options: Options, seed: int, looks: Looks | None
) -> Course:
    """A training before its first step."""
    networks = models.network
    powers = None
    if options.averages:
        empty = lambda part: np.zeros((len(part), len(LENGTHS), *part.shape[1:]), part.dtype)
        powers = jax.device_put(jax.tree.map(empty, networks))
    state = Members(networks, networks, _opened(program.optimiser, networks), jnp.zeros(len(split.learn), int), powers)
    streams = _batches(split.learn, options.groups * (options.batch // options.groups), seed)
    return Course(state, models.base, options.steps, streams, looks, averages=options.averages)


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


def _best_share(networks: MaskedNetwork, looks: Looks) -> float:
    """How much of what networks move the normals of the base by makes validation rows likeliest, one of `SHARES`.

    Where rows are few, the base alone may be better than what is learned on top of it: of penguins, the numbers of
    unseen rows were likelier by 0.2 nats a row with a quarter of it.
    """
    return min(SHARES, key=lambda share: looks.mean(looks.nats(moved_by(networks, share))))


def _checked(
    layout: Layout, fixed: float, base: Any, held: _HeldOut, plan: Plan, networks: MaskedNetwork
) -> NDArray[np.float64]:
    """Nats of the validation rows, (members, n): in the order of drawing and in others, as often as in training."""
    found = lambda order: -np.asarray(_held_out(layout, networks, base, held, order), np.float64)
    mean = fixed * found(plan.order) if fixed else np.zeros((1, 1))
    if fixed < 1:
        others = random_orders(plan.units, np.random.default_rng(OTHERS), (OTHERS,))
        mean = mean + (1 - fixed) * np.mean([found(order) for order in others], axis=0)
    return mean


def _opened(optimiser: optax.GradientTransformation, networks: MaskedNetwork) -> Any:
    """The first state of each member's optimiser, which is nothing but zeros."""
    members = len(networks.hidden)
    count = sum(part.size // members for part in jax.tree.leaves(networks))
    state = jax.eval_shape(optimiser.init, jax.ShapeDtypeStruct((count,), networks.hidden.dtype))
    return jax.device_put(jax.tree.map(lambda part: np.zeros((members, *part.shape), part.dtype), state))


def _batches(learn: NDArray[np.float64], size: int, seed: int) -> list[Batches]:
    """Rows (size,) of one step after another of each member: each as often as it counts before all come again."""

    def one(weights: NDArray[np.float64], rng: np.random.Generator) -> Batches:
        count = min(round(weights.sum()), max(int((weights > 0).sum()), LONGEST))
        return Batches(rng, lambda rng: systematic(rng, weights, count), size)

    return [one(weights, np.random.default_rng([seed, 161803, member])) for member, weights in enumerate(learn)]


def _validation(data: Data, hold: NDArray[np.float64], parts: int, seed: int) -> _HeldOut | None:
    """The validation rows of each member, and the prefixes of each row at which it is looked at, evenly spread."""
    if not len(hold):
        return None
    count, most = min(PREFIXES, parts), int((hold > 0).sum(axis=1).max())
    index = np.argsort(hold == 0, axis=1, kind="stable")[:, :most]  # one program for all: some rows may have no share
    shares = np.take_along_axis(hold, index, axis=1)
    start = np.random.default_rng([seed, 141421]).random((*index.shape, 1))
    prefix = np.floor(parts * (np.arange(count) + start) / count).astype(np.int32)
    # NumPy takes the rows: JAX would compile a program for each part of them.
    rows = jax.tree.map(lambda part: np.asarray(part)[index], data.rows)
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return jax.device_put(_HeldOut(rows, np.minimum(prefix, parts - 1), shares))
