"""The training loop of points and tables, independent of the kind of diffusion.

    minimise over the weights of each member    E loss(weights, batch)

A `TrainingTask` is an objective with everything that its training needs; `train` runs it, and `TrainingState` has its
current state. One compiled program, `_advance`, takes many steps before it returns to Python. The weights of a member
are one flat vector, so that the optimiser and the averages need few operations, whatever the number of layers. Members
are a leading axis of all arrays; several devices share the rows of a batch (`motes.training.processes`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import TrainingError, UsageError
from motes.interrupts import interruptible
from motes.progress import Progress
from motes.training.averages import LENGTHS, Averages, Weights, rates, weights_of
from motes.training.batches import ShuffledBatches, Stream
from motes.training.checkpoints import BATCHES, WATCH, FitSession, State, named, tree_state
from motes.training.optimisers import DivergenceMonitor
from motes.training.processes import Devices, Part, agree_on, check_same, is_first, on_each, together
from motes.training.programs import each_member, training_program
from motes.training.validation import Validation

N = TypeVar("N")
M = TypeVar("M")

CHUNK = 512  # maximum number of steps in a call of the program
FIRST = 8  # steps in the first call of the program
PATIENCE = 0.25  # seconds per call, after which progress is reported and interrupts are handled


class Objective(Protocol):
    """An objective: a tree whose arrays are inputs of the compiled program; everything else is compiled into it."""

    @property
    def members(self) -> Any:
        """Arrays that differ between members, with a leading axis; None: none."""

    def loss(self, weights: jax.Array, member: Any, rows: Any, draws: Any, step: jax.Array, part: Part) -> jax.Array:
        """Return the mean loss () of a batch of one member, or what this device's part of it adds to the mean.

        Args:
            weights: (p,).
            member: its part of `members`.
            rows: what `TrainingTask.read` returned for the rows of this device: by default indices, (size / devices,).
            draws: the draws of `TrainingTask.draw` for this step, member and device.
            step: number of steps taken before, which is folded into a key.
            part: the part of this device.
        """


# --- The task, the state and the result of a training ---------------------------------------------------------------


def indices(rows: NDArray[np.integer]) -> NDArray[np.integer]:
    """Return the indices of rows."""
    return rows


class RowsOnDisk(NamedTuple):
    """Training rows that do not fit into memory.

    Attributes:
        rows: their number.
        read: as in `TrainingTask`.
    """

    rows: int
    read: Callable[[NDArray[np.integer]], Any]

    def batches(self, size: int, seed: Sequence[int]) -> ShuffledBatches:
        """Return batches of row indices (size,), in an order of the rows that `seed` chooses."""
        return ShuffledBatches(self.rows, size, seed)


@dataclass(frozen=True, eq=False)
class TrainingTask(Generic[N]):
    """An objective, and the options of its training.

    Attributes:
        objective: the objective to minimise.
        weights: initial weights of each member, (M, p).
        network: weights (M, p) -> the network or networks with these weights.
        optimiser: optimiser of the weights of one member.
        streams: batches of row indices, one stream per member.
        steps: maximum number of steps.
        parts: number of equal parts into which a batch can be split; the number of devices divides it.
        ema: decay of the average of the weights.
        averages: number of stored snapshots of the averages, from which averages of any length are computed; 0: none.
        limit: the minimum loss of the first steps -> the limit above which losses count as divergence.
        remedies: the usual remedies for divergence.
        validation: decides when to stop and which weights to keep; None: keep the last ones.
        ema_warmup: the decay at step k is at most 1 - `ema_warmup` / (10 + k).
        snapshots: the steps after which the weights are kept.
        draw: step -> random draws for each member and row or group of rows, (M, size, ...); programs compile faster if
            NumPy draws them.
        read: row indices (..., size) -> the rows for `Objective.loss`, arrays with the same leading axes; default: the
            indices, for an objective that has all rows.
        finish: changes the result after the training.
        chunk: maximum number of steps per call of the compiled program.
    """

    objective: Objective
    weights: Any
    network: Callable[[Any], N]
    optimiser: optax.GradientTransformation
    streams: Sequence[Stream]
    steps: int
    parts: int
    ema: float
    averages: int
    limit: Callable[[float], float]
    remedies: str
    validation: Validation | None = None
    ema_warmup: float = 0.0
    snapshots: Sequence[int] = ()
    draw: Callable[[int], Any] = lambda step: None
    read: Callable[[NDArray[np.integer]], Any] = indices
    finish: Callable[["Trained[N]"], "Trained[N]"] = lambda trained: trained
    chunk: int = CHUNK


class Snapshot(NamedTuple):
    """The averaged and the last weights after `step` steps."""

    step: int
    averaged: Any
    last: Any


@dataclass(repr=False)
class Trained(Generic[N]):
    """The result of a training: `averaged` has the moving average of the weights, `last` the weights themselves.

    With held-out rows, both are from the step `best`, and so are the last of `snapshots` and, for a single member, of
    `averages`.

    Attributes:
        losses: loss of each step, averaged over members, (steps,).
        seconds: duration of the training.
        looks: step and loss of each validation on held-out rows, (validations, 2).
        best: the step of the kept weights, averaged over members; None without held-out rows.
        interrupted: whether Ctrl-C ended the training.
        averages: the stored averages, for `Model.averaged_over`; None if none were stored.
        state: the complete state after the last step.

    Example:
        >>> trained = model.training
        >>> trained.steps, len(trained.losses), trained.interrupted
        (2, 2, False)
    """

    averaged: N
    last: N
    losses: NDArray[np.float32]
    seconds: float
    interrupted: bool = False
    looks: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    best: float | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    averages: Averages | None = None
    state: State | None = None

    def __repr__(self) -> str:
        end = f", loss {recent_mean(self.losses):.4g}" if self.steps else ""
        return f"Trained({self.steps:,} steps in {self.seconds:.1f} s{end}{', interrupted' * self.interrupted})"

    @property
    def steps(self) -> int:
        """The number of completed steps."""
        return len(self.losses)


def recent_mean(losses: NDArray[np.float32]) -> float:
    """Return the mean loss of the last tenth of the steps; NaN if there are none."""
    return float(losses[-max(len(losses) // 10, 1) :].mean()) if len(losses) else float("nan")


class TrainingState(Generic[N]):
    """The current state of a training.

    Args:
        task: the task.
        kept: the complete state of a training to continue from, with the same or other rows; None: start anew.

    Attributes:
        weights: the weights after the last step.
        losses: loss of each completed step, averaged over members.
    """

    def __init__(self, task: TrainingTask[N], kept: State | None = None):
        self.task, self._validation, self._devices = task, task.validation, Devices(task.parts)
        self._objective = self._devices.copied(task.objective)
        self.weights, self.losses = _initial_weights(task), np.zeros(0, np.float32)
        self._snapshots: dict[int, Any] = {}  # step -> averaged and last weights (2, M, p)
        self._stored: dict[int, Any] = {}  # step -> powers (M, lengths, p)
        self._store_every = -(-task.steps // task.averages) if task.averages else task.steps
        self._begin = time.perf_counter()
        if kept is not None:
            self._resume(kept)
        self._monitor = DivergenceMonitor(task.limit, task.steps)
        self._sound = self.weights, self.done
        if self._validation and not (kept and kept.has(WATCH)):
            self._validation.look(self.weights)

    @property
    def done(self) -> int:
        """The number of completed steps."""
        return len(self.losses)

    @property
    def goes_on(self) -> bool:
        """Whether more steps are to follow: there are steps and patience left."""
        return self.done < self.task.steps and not (self._validation and self._validation.is_over(self.done))

    @property
    def sound(self) -> bool:
        """Whether the last loss shows no sign of divergence."""
        return self._monitor.is_sound(self.losses)

    def advance(self, most: int) -> int:
        """Take at most `most` steps, up to `task.chunk`, and return their number.

        Raises:
            TrainingError: the training diverged.
        """
        task, done, devices = self.task, self.done, self._devices
        count = self._next_stop(min(most, task.chunk)) - done
        rows = np.stack([devices.own(np.stack([next(one) for one in task.streams])) for _ in range(count)])
        if not done:
            devices.warn_if_short(rows[0].size * self.weights.last.shape[1])
        drawn = [devices.own(task.draw(done + k)) for k in range(count)]
        draws = jax.tree.map(lambda *parts: np.stack(parts), *drawn)
        # One length, one program.
        padded = lambda part: np.concatenate([part, np.repeat(part[:1], task.chunk - count, axis=0)])
        batches = devices.split(jax.tree.map(padded, (task.read(rows), draws)))
        decay = np.array([1 - task.ema, task.ema_warmup], jnp.result_type(float))
        lengths = LENGTHS if task.averages else ()
        state = devices.copied(self.weights)
        found = _advance(self._objective, task.optimiser, lengths, decay, state, batches, np.int32(count), devices.mesh)
        after, fresh, finite = devices.here(found)
        losses = np.append(self.losses, np.asarray(fresh)[:count].mean(axis=1, dtype=np.float32))
        self._raise_divergence(self._monitor.fault(losses, finite=bool(finite)))
        self.weights, self.losses = after, losses
        if self.done in task.snapshots:
            self._snapshots[self.done] = np.stack([after.average, after.last])
        if lengths and self.done % self._store_every == 0:
            self._stored[self.done] = np.asarray(after.powers)
        if self._validation and self.done in (self._validation.following(done), task.steps):
            self._validation.look(after)
        if self.sound:
            self._sound = after, self.done
        return count

    def check_end(self) -> None:
        """Check at the end of the training that its last losses show no divergence.

        Raises:
            TrainingError: the training diverged.
        """
        self._raise_divergence(self._monitor.fault(self.losses, ended=True))

    def _next_stop(self, most: int) -> int:
        """Return the next step to stop at, such as for a validation; at most `most` steps from here."""
        shots = [step for step in self.task.snapshots if step > self.done]
        following = [self._validation.following(self.done)] if self._validation else []
        store = self.done + self._store_every - self.done % self._store_every
        return min(self.task.steps, self.done + most, store, *following, *shots[:1])

    def _raise_divergence(self, fault: str | None) -> None:
        """If there is a fault, restore the last good weights and raise TrainingError."""
        if fault is None:
            return
        self.weights, done = self._sound
        self.losses = self.losses[:done]
        for kept in (self._snapshots, self._stored):
            for step in [step for step in kept if step > done]:
                del kept[step]
        raise TrainingError(
            f"the training diverged: {fault}. Usual remedies: {self.task.remedies}. The weights of step "
            f"{done:,} are kept{', or better ones before it' if self._validation else ''}.",
            self.result(),
        )

    @property
    def seconds(self) -> float:
        """Duration of the training in seconds, including earlier processes."""
        return time.perf_counter() - self._begin

    def progress(self) -> Progress:
        """Return the progress."""
        held_out = self._validation.looks[-1][1] if self._validation else None
        return Progress(self.done, self.task.steps, recent_mean(self.losses), held_out, self.seconds)

    def result(self, interrupted: bool = False) -> Trained[N]:
        """Return the result so far."""
        task, validation = self.task, self._validation
        best = validation.best if validation and validation.best else self.weights
        ends = best if len(best.step) == 1 else self.weights  # members may have different best steps
        end = int(np.asarray(ends.step)[0])
        shots = {step: both for step, both in self._snapshots.items() if step < end}
        if end and task.snapshots:
            shots[end] = ends.average, ends.last
        stored = {step: powers for step, powers in self._stored.items() if step < end} | {end: np.asarray(ends.powers)}

        def vectors(powers: Any) -> NDArray[np.float32]:  # in the order of `weights_of`, (lengths, p of all members)
            if len(powers) == 1:
                return powers[0]
            return np.stack([weights_of(task.network(powers[:, k])) for k in range(powers.shape[1])])

        trained = Trained(task.network(best.average), task.network(best.last), self.losses, self.seconds, interrupted)
        if validation:
            trained.looks, trained.best = np.array(validation.looks), float(np.asarray(best.step).mean())
        trained.snapshots = [Snapshot(step, *map(task.network, both)) for step, both in shots.items()]
        if task.averages and end:
            trained.averages = Averages.of(LENGTHS, {step: vectors(one) for step, one in stored.items()})
        trained.state = self.complete()
        return task.finish(trained)

    def complete(self) -> State:
        """Return the complete state."""
        parts = {"state": tree_state(self.weights), "members": tree_state(self.task.objective.members)}
        parts[BATCHES] = named({str(member): one.state for member, one in enumerate(self.task.streams)})
        if self._validation:
            parts |= {WATCH: self._validation.state, "best": tree_state(self._validation.best)}
        arrays = {"losses": self.losses}
        arrays |= {f"snapshots/{step}": both for step, both in self._snapshots.items()}
        arrays |= {f"stored/{step}": powers for step, powers in self._stored.items()}
        numbers = {"step": self.done, "steps": self.task.steps, "seconds": self.seconds}
        return named(parts | {"course": State(arrays, numbers)})

    def _resume(self, kept: State) -> None:
        history, state = kept.part("course"), kept.tree("state", self.weights)
        if kept.has(BATCHES):
            for member, stream in enumerate(self.task.streams):
                stream.go_on(kept.part(BATCHES).part(str(member)))
        if self._validation and kept.has("best"):
            best = kept.tree("best", state)
            if kept.has(WATCH):
                self._validation.go_on(kept.part(WATCH), best, anew=history.numbers["steps"] != self.task.steps)
            else:  # the best weights for other rows are a candidate for these rows
                self._validation.look(best)
        self.weights, self.losses = state, history.arrays["losses"]
        self._begin -= history.numbers["seconds"]
        # A file may have its arrays in another order.
        self._snapshots, self._stored = (
            dict(sorted((int(step), one) for step, one in history.part(name).arrays.items()))
            for name in ("snapshots", "stored")
        )


def _initial_weights(task: TrainingTask[Any]) -> Weights:
    """Return the state before the first step."""
    weights, members = jax.device_put(task.weights), len(task.weights)
    powers = np.zeros((members, len(LENGTHS) if task.averages else 0, weights.shape[1]), weights.dtype)
    for_each = lambda part: np.repeat(np.asarray(part)[None], members, axis=0)  # NumPy compiles nothing
    optimiser = jax.tree.map(for_each, task.optimiser.init(task.weights[0]))
    begin: Any = (weights, weights, powers, optimiser, np.zeros(members, int))
    return Weights(*jax.device_put(begin))


@training_program
def _advance(
    objective: Objective,
    optimiser: optax.GradientTransformation,
    lengths: tuple[float, ...],
    decay: ArrayLike,
    state: Weights,
    batches: Any,
    count: ArrayLike,
    mesh: Mesh | None,
) -> tuple[Weights, jax.Array, jax.Array]:
    """Take `count` steps of all members; also return their losses (chunk, M), and whether all weights are finite.

    `batches` are rows (chunk, M, size, ...) and other random draws; `decay` is the share by which averages move in a
    step, and its warm-up. The devices of the `mesh` share each batch.
    """
    return on_each(mesh, _take_steps)(batches, objective, optimiser, lengths, decay, state, count)


def _take_steps(
    part: Part,
    batches: Any,
    objective: Objective,
    optimiser: optax.GradientTransformation,
    lengths: tuple[float, ...],
    decay: ArrayLike,
    state: Weights,
    count: ArrayLike,
) -> tuple[Weights, jax.Array, jax.Array]:
    """Do as `_advance` on one device, which has one part of each batch."""
    moves, warmup = jnp.asarray(decay)

    def member(state: Weights, own: Any, batch: Any) -> tuple[Weights, jax.Array]:
        rows, draws = batch
        loss = lambda weights: objective.loss(weights, own, rows, draws, state.step, part)
        value, slope = part.total(*jax.value_and_grad(loss)(state.last))
        change, optimiser_state = optimiser.update(slope, state.optimiser, state.last)
        last = optax.apply_updates(state.last, change)
        move = jnp.maximum(moves, warmup / (10 + state.step))
        average = (1 - move) * state.average + move * last
        powers = state.powers + rates(lengths, state.step + 1)[:, None] * (last - state.powers)
        return Weights(last, average, powers, optimiser_state, state.step + 1), value

    def step(i: jax.Array, carry: tuple[Weights, jax.Array]) -> tuple[Weights, jax.Array]:
        state, losses = carry
        batch = jax.tree.map(lambda part: jnp.asarray(part)[i], batches)
        state, loss = each_member(member)(state, objective.members, batch)
        return state, losses.at[i].set(loss)

    shape = jax.tree.leaves(batches)[0].shape[:2]
    state, losses = jax.lax.fori_loop(0, count, step, (state, jnp.zeros(shape)))
    finite = [jnp.isfinite(part).all() for part in (state.last, state.average, state.powers)]
    return state, losses, jnp.stack(finite).all()


@together()
def train(task: TrainingTask[N], session: FitSession = FitSession()) -> Trained[N]:
    """Run a training task.

    Ctrl-C stops after the current steps and returns what was learned, with `interrupted` set. Before the first step, or
    a second time, it raises KeyboardInterrupt.

    Args:
        task: the task.
        session: where to save the complete state, or a state to continue from, of a training with the same task, except
            for its steps or its rows. With other steps, patience starts again. Its `on_progress` is called before the
            first step, and then a few times per second.

    Raises:
        TrainingError: the training diverged; its `result` has the last good weights.
        ModelFileError: the state belongs to another training.
    """
    training, keeper = TrainingState(task, session.kept), session.keeper if is_first() else None
    saved, stride, compiled = training.done, FIRST, False
    session.on_progress(training.progress())
    with interruptible() as stop:
        while most := agree_on(stride if training.goes_on and not stop else 0):
            tick = time.perf_counter()
            count = training.advance(most)
            if compiled:  # the first call compiles, so its duration is no guide
                stride = int(np.clip(count * PATIENCE / (time.perf_counter() - tick), 1, task.chunk))
            compiled = True
            if keeper is not None and training.sound and keeper.due():
                keeper.save(training.done, training.complete())
                saved = training.done
            session.on_progress(training.progress())
        interrupted = training.goes_on  # by a signal to this process, or to another one
        if interrupted and not training.done:
            raise KeyboardInterrupt
        training.check_end()
        if keeper is not None and training.done > saved:
            keeper.save(training.done, training.complete(), may_wait=lambda: not stop)
        interrupted |= bool(stop)  # after the last step
    return training.result(interrupted)


def fit_model(
    task: Callable[[int], TrainingTask[N]],
    model: Callable[[Trained[N]], M],
    session: FitSession,
    *,
    run: str,
    steps: int,
    key: str,
    before: Trained[N] | None,
) -> M:
    """Train a model, from scratch or continuing another training.

    Args:
        task: number of steps -> the training task.
        model: result of the training -> the model.
        session: checkpoints, progress and the model to continue from.
        run: `run_of` this training.
        steps: number of steps in the recipe.
        key: name of this option in the recipe, for messages.
        before: the training of the start; None, or without a state, if only its weights are known.

    Raises:
        UsageError: the same training is already complete.
        TrainingError: the training diverged; `result` is the model with the last good weights.
        ModelFileError: the state to continue from belongs to another training.
    """
    check_same(run)
    if before is not None and before.state is not None:
        state = before.state
        done, total, same = state.numbers["course/step"], state.numbers["course/steps"], state.numbers["run"] == run
        if session.more or not same:
            state, steps = state if same else state.with_other_rows(), done + steps
        elif steps < done or (steps in (done, total) and not before.interrupted):
            raise UsageError(
                f"got {key} = {steps:,}, the number of steps of the whole training with these rows, which is complete "
                f"after {done:,}. Set more steps, such as {key} = {2 * total}."
            )
        session = replace(session, state=state)

    def build(trained: Trained[N]) -> M:
        if trained.state is not None:
            trained.state.numbers["run"] = run
        return model(trained)

    try:
        return build(train(task(steps), session))
    except TrainingError as error:
        if isinstance(error.result, Trained):
            error.result = build(error.result)
        raise
