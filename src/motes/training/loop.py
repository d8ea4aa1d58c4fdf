"""The training loop of points and of tables, which knows no kind of diffusion.

    minimise over the weights of each member    E loss(weights, batch)

A `TrainingTask` is an objective with all that its training needs; `train` carries it out, and `TrainingState` is where
it stands. One compiled program, `_advance`, takes many steps before anything crosses back to Python. The weights of a
member are one flat vector, so that the optimiser and the averages are a handful of operations however many layers there
are. Members are a leading axis of all arrays; devices would share the last axis of the rows of a batch.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import TrainingError, UsageError
from motes.progress import Progress
from motes.training.averages import LENGTHS, Averages, rates, ravelled, with_weights
from motes.training.batches import Batches
from motes.training.checkpoints import BATCHES, WATCH, Session, State, interruptible, named, tree_state
from motes.training.optimisers import DivergenceMonitor
from motes.training.programs import each_member, training_program

N = TypeVar("N")
M = TypeVar("M")

FIRST = 8  # steps of the first call of the program
PATIENCE = 0.25  # seconds between looks at the clock, the keyboard and the loss
LEAST_WAITED = 2  # validations without a better one, before which `Validation.longer` ends no training
SURE = 3.0  # standard errors, by which weights are worse than those of the start where training ends after
HASTY = 3.0  # times fewer validations than it has patience for


class Weights(NamedTuple):
    """All that a step of training changes, with a leading axis of M members."""

    last: jax.Array  # (M, p)
    average: jax.Array  # (M, p)
    powers: jax.Array  # (M, lengths, p), averages with profiles that are powers
    optimiser: optax.OptState
    memory: Any  # of the objective
    step: jax.Array  # (M,)


class Objective(Protocol):
    """What is minimised: a tree whose arrays are inputs of the compiled program; all else in it is part of it."""

    @property
    def members(self) -> Any:
        """What each member has of its own, with a leading axis; None: nothing."""

    def loss(
        self, weights: jax.Array, member: Any, rows: jax.Array, draws: Any, state: Weights
    ) -> tuple[jax.Array, Any]:
        """The mean loss () of a batch of one member, and what is remembered after it.

        Args:
            weights: (p,).
            member: its part of `members`.
            rows: their numbers, (size,).
            draws: what `TrainingTask.draw` has drawn for this step and member.
            state: before the step: `memory`, and the number `step`, from which a key is folded.
        """


# --- Validation: the loss of rows that are held out of the training -------------------------------------------------


class Validation:
    """Evaluates the averaged weights on held-out rows now and then, and keeps the best ones of each member.

    When training ends, all members together say: each alone may have too few rows.

    Args:
        losses: of the rows, (M, n), under weights (M, p).
        shares: of the rows in the mean, (M, n); they sum to 1 for each member.
        every: steps from one validation to the next, at most.
        patience: times as many steps without better weights, after which training ends.
        longer: times the step of the best weights, at which training ends already if weights are surely worse.
        first: steps between the first validations; later ones are a sixth of the step apart.
    """

    def __init__(
        self,
        losses: Callable[[Any], NDArray[np.float64]],
        shares: NDArray[np.float64],
        every: int,
        patience: int,
        longer: float = np.inf,
        first: int | None = None,
    ):
        self.losses, self.shares = losses, shares
        self._first, self._every = first or every, every
        self._patience, self._longer = patience, longer
        self.looks: list[tuple[int, float]] = []  # steps, and the loss
        self.best: Weights | None = None  # of each member
        self._values = np.full(len(shares), np.inf)  # of each member's best
        self._least, self._least_loss = np.zeros_like(shares), np.inf  # that were best for all members together
        self._least_step, self._waited, self._worse = 0, 0.0, 0.0  # `every` steps since, standard errors

    def mean(self, losses: NDArray[np.float64]) -> float:
        """The mean loss of the rows."""
        return float((self.shares * losses).sum(axis=1).mean())

    def look(self, now: Weights) -> None:
        """Evaluate the weights, and keep those of the members that are better than before."""
        rows = self.losses(now.average)
        found = np.nan_to_num((self.shares * rows).sum(axis=1), nan=np.inf, posinf=np.inf)
        better = found < self._values
        choose = lambda a, b: np.where(better.reshape(-1, *(1,) * (np.ndim(a) - 1)), a, b)  # NumPy compiles nothing
        self.best = now if self.best is None else jax.tree.map(choose, now, self.best)
        self._values = np.minimum(found, self._values)
        step, mean = int(np.asarray(now.step).mean()), float(found.mean())
        before = self.looks[-1][0] if self.looks else 0
        self.looks.append((step, mean))
        if mean < self._least_loss:
            self._least, self._least_loss, self._least_step = rows, mean, step
            self._waited, self._worse = 0.0, 0.0
        else:
            by, shares = self.mean(rows - self._least), self.shares / len(rows)
            error = np.sqrt((np.square(shares * (rows - self._least - by))).sum())
            self._waited += (step - before) / self._every
            self._worse = float(by / max(error, np.finfo(float).tiny))

    def following(self, done: int) -> int:
        """The step of the first validation after so many steps."""
        step = 0
        while step <= done and step < 6 * self._every:
            step += min(max(step // 6, self._first), self._every)
        return step if step > done else step + self._every * ((done - step) // self._every + 1)

    def is_over(self, done: int) -> bool:
        """Whether later weights are not expected to be better than the best ones.

        At first a network may lose what it gains later: where those of the start are best, others are given time.
        """
        if self._least_step:
            waited = sum(step > self._least_step for step, _ in self.looks)
            worse = self._worse > 1 and waited >= LEAST_WAITED and self._longer * self._least_step <= done
        else:
            sure = self._worse > SURE and np.isfinite(self._longer)
            worse = sure and self._waited >= self._patience / HASTY
        return bool(worse) or self._waited >= self._patience

    @property
    def state(self) -> State:
        """All validations so far; `best` is not in it."""
        arrays = {"looks": np.array(self.looks), "values": self._values, "least": self._least}
        numbers = {"least_loss": self._least_loss, "least_step": self._least_step}
        return State(arrays, numbers | {"waited": self._waited, "worse": self._worse})

    def go_on(self, state: State, best: Weights, *, anew: bool) -> None:
        """Go on where another one with the same rows was, with its best weights; `anew`: with all the patience."""
        self.looks = [(int(step), loss) for step, loss in state.arrays["looks"].tolist()]
        self.best, self._values, self._least = best, state.arrays["values"], state.arrays["least"]
        self._least_loss, self._least_step = state.numbers["least_loss"], state.numbers["least_step"]
        if not anew:
            self._waited, self._worse = state.numbers["waited"], state.numbers["worse"]


# --- What is trained, where a training stands, and what it leaves ---------------------------------------------------


@dataclass(frozen=True, eq=False)
class TrainingTask(Generic[N]):
    """What is trained, and how.

    Attributes:
        objective: what is minimised.
        weights: of each member to begin with, (M, p).
        network: weights (M, p) -> the network or networks that have them.
        optimiser: of the weights of one member.
        streams: the rows of the batches of each member.
        steps: at most.
        ema: the decay of the average of the weights.
        averages: how often over the training averages are stored, from which one of any length can be made; 0: never.
        limit: the least loss of the first steps -> what losses stay below where the training does not diverge.
        remedies: what usually helps where it does.
        validation: says when to stop, and which weights are kept; None: those of the end.
        memory: of the objective, to begin with.
        ema_warmup: the decay at step k is at most 1 - `ema_warmup` / (10 + k).
        snapshots: the steps after which the weights are kept.
        draw: what is random at a step for each member, with a leading axis; as long as NumPy draws it, programs compile
            in less time.
        finish: what is changed of the result.
        chunk: steps of one call of the compiled program, at most.
    """

    objective: Objective
    weights: Any
    network: Callable[[Any], N]
    optimiser: optax.GradientTransformation
    streams: Sequence[Batches]
    steps: int
    ema: float
    averages: int
    limit: Callable[[float], float]
    remedies: str
    validation: Validation | None = None
    memory: Any = None
    ema_warmup: float = 0.0
    snapshots: Sequence[int] = ()
    draw: Callable[[int], Any] = lambda step: None
    finish: Callable[["Trained[N]"], "Trained[N]"] = lambda trained: trained
    chunk: int = 512


class Snapshot(NamedTuple):
    """Both kinds of weights after `step` steps."""

    step: int
    averaged: Any
    last: Any


@dataclass(repr=False)
class Trained(Generic[N]):
    """What a training leaves: `averaged` holds the moving average of the weights, `last` the weights themselves.

    With held-out rows both are those of the step `best`, as are the last of `snapshots` and, of a single member, of
    `averages`.

    Attributes:
        losses: of each step, the mean over members, (steps,).
        looks: (validations, 2): step and loss of the held-out rows.
        best: the step of the weights that are kept, the mean over members; None where no rows were held out.
        interrupted: by Ctrl-C.
        averages: from which `averaged_over` makes its own; None where none were kept.
        state: the complete one, after the last step.

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
        """Steps that were taken."""
        return len(self.losses)

    def averaged_over(self, sigma_rel: float) -> N:
        """With an average of the weights whose length is this share of the training (Karras et al. 2024, section 3).

        Raises:
            UsageError: a length out of range, or no averages were kept.

        Example:
            >>> type(model.training.averaged_over(0.1)).__name__
            'Preconditioned'
        """
        if self.averages is None:
            raise UsageError("no averages were kept in this training. Train with averages = 32, and at least a step.")
        made: N = with_weights(self.last, self.averages.over(sigma_rel))  # type: ignore[type-var]
        return made


def recent_mean(losses: NDArray[np.float32]) -> float:
    """The mean loss of the newest tenth of the steps; NaN where there are none."""
    return float(losses[-max(len(losses) // 10, 1) :].mean()) if len(losses) else float("nan")


class TrainingState(Generic[N]):
    """All that changes while a training goes on, and what is made of it.

    Args:
        task: what is trained.
        kept: the complete state of a training to go on from, with the same rows or with others; None: it begins.

    Attributes:
        weights: after the last step.
        losses: of each step that was taken, the mean over members.
    """

    def __init__(self, task: TrainingTask[N], kept: State | None = None):
        self.task, self._validation = task, task.validation
        self.weights, self.losses = _start(task), np.zeros(0, np.float32)
        self._snapshots: dict[int, Any] = {}  # step -> averaged and last weights (2, M, p)
        self._stored: dict[int, Any] = {}  # step -> powers (M, lengths, p)
        self._store_every = -(-task.steps // task.averages) if task.averages else task.steps
        self._begin = time.perf_counter()
        if kept is not None:
            self._go_on(kept)
        self._monitor = DivergenceMonitor(task.limit, task.steps)
        self._sound = self.weights, self.done
        if self._validation and not (kept and kept.has(WATCH)):
            self._validation.look(self.weights)

    @property
    def done(self) -> int:
        """Steps that were taken."""
        return len(self.losses)

    @property
    def goes_on(self) -> bool:
        """Whether steps are left, and patience."""
        return self.done < self.task.steps and not (self._validation and self._validation.is_over(self.done))

    @property
    def sound(self) -> bool:
        """Whether the newest loss is no sign of a divergence."""
        return self._monitor.is_sound(self.losses)

    def advance(self, most: int) -> int:
        """Take at most so many steps, up to `task.chunk`; returns how many.

        Raises:
            TrainingError: the training diverged.
        """
        task, done = self.task, self.done
        count = self._next_stop(min(most, task.chunk)) - done
        batches = [(np.stack([next(one) for one in task.streams]), task.draw(done + k)) for k in range(count)]
        batches += batches[:1] * (task.chunk - count)  # one length, one program
        stacked = jax.tree.map(lambda *parts: np.stack(parts), *batches)
        decay = np.array([1 - task.ema, task.ema_warmup], jnp.result_type(float))
        lengths = LENGTHS if task.averages else ()
        after, fresh, finite = _advance(
            task.objective, task.optimiser, lengths, decay, self.weights, stacked, np.int32(count)
        )
        losses = np.append(self.losses, np.asarray(fresh)[:count].mean(axis=1, dtype=np.float32))
        self._refuse(self._monitor.fault(losses, finite=bool(finite)))
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
        """Refuse to end a training whose newest losses are those of a divergence.

        Raises:
            TrainingError: they are.
        """
        self._refuse(self._monitor.fault(self.losses, ended=True))

    def _next_stop(self, most: int) -> int:
        """The step after which something is to be done; `most` steps from here at the latest."""
        shots = [step for step in self.task.snapshots if step > self.done]
        following = [self._validation.following(self.done)] if self._validation else []
        store = self.done + self._store_every - self.done % self._store_every
        return min(self.task.steps, self.done + most, store, *following, *shots[:1])

    def _refuse(self, fault: str | None) -> None:
        """End a training that has diverged, with the weights that it had before."""
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
        """Of the training, that of earlier processes included."""
        return time.perf_counter() - self._begin

    def progress(self) -> Progress:
        """Where it stands."""
        unseen = self._validation.looks[-1][1] if self._validation else None
        return Progress(self.done, self.task.steps, recent_mean(self.losses), unseen, self.seconds)

    def result(self, interrupted: bool = False) -> Trained[N]:
        """What was learned so far."""
        task, validation = self.task, self._validation
        best = validation.best if validation and validation.best else self.weights
        ends = best if len(best.step) == 1 else self.weights  # members may have different best steps
        end = int(np.asarray(ends.step)[0])
        shots = {step: both for step, both in self._snapshots.items() if step < end}
        if end and task.snapshots:
            shots[end] = ends.average, ends.last
        stored = {step: powers for step, powers in self._stored.items() if step < end} | {end: np.asarray(ends.powers)}

        def vectors(powers: Any) -> NDArray[np.float32]:  # as `weights_of` has them, (lengths, p of all members)
            each = [powers[:, k] for k in range(powers.shape[1])]
            return np.stack(each)[:, 0] if len(powers) == 1 else np.stack([ravelled(task.network(one)) for one in each])

        trained = Trained(
            task.network(best.average),
            task.network(best.last),
            self.losses,
            self.seconds,
            interrupted,
            np.array(validation.looks) if validation else np.zeros((0, 2)),
            float(np.asarray(best.step).mean()) if validation else None,
            [Snapshot(step, *map(task.network, both)) for step, both in shots.items()],
            Averages.of(LENGTHS, {step: vectors(one) for step, one in stored.items()})
            if task.averages and end
            else None,
            self.complete(),
        )
        return task.finish(trained)

    def complete(self) -> State:
        """The complete state."""
        parts = {"state": tree_state(self.weights), "members": tree_state(self.task.objective.members)}
        parts[BATCHES] = named({str(member): one.state for member, one in enumerate(self.task.streams)})
        if self._validation:
            parts |= {WATCH: self._validation.state, "best": tree_state(self._validation.best)}
        arrays = {"losses": self.losses}
        arrays |= {f"snapshots/{step}": both for step, both in self._snapshots.items()}
        arrays |= {f"stored/{step}": powers for step, powers in self._stored.items()}
        numbers = {"step": self.done, "steps": self.task.steps, "seconds": self.seconds}
        return named(parts | {"course": State(arrays, numbers)})

    def _go_on(self, kept: State) -> None:
        course, state = kept.part("course"), kept.tree("state", self.weights)
        if kept.has(BATCHES):
            for member, stream in enumerate(self.task.streams):
                stream.go_on(kept.part(BATCHES).part(str(member)))
        if self._validation and kept.has("best"):
            best = kept.tree("best", state)
            if kept.has(WATCH):
                self._validation.go_on(kept.part(WATCH), best, anew=course.numbers["steps"] != self.task.steps)
            else:  # the best weights for other rows are among those that these rows compare
                self._validation.look(best)
        self.weights, self.losses = state, course.arrays["losses"]
        self._begin -= course.numbers["seconds"]
        # A file has its arrays in an order of its own.
        self._snapshots, self._stored = (
            dict(sorted((int(step), one) for step, one in course.part(name).arrays.items()))
            for name in ("snapshots", "stored")
        )


def _start(task: TrainingTask[Any]) -> Weights:
    """Before the first step."""
    weights, members = jax.device_put(task.weights), len(task.weights)
    powers = np.zeros((members, len(LENGTHS) if task.averages else 0, weights.shape[1]), weights.dtype)
    for_each = lambda part: np.repeat(np.asarray(part)[None], members, axis=0)  # NumPy compiles nothing
    optimiser, memory = jax.tree.map(for_each, (task.optimiser.init(task.weights[0]), task.memory))
    begin: Any = (weights, weights, powers, optimiser, memory, np.zeros(members, int))
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
) -> tuple[Weights, jax.Array, jax.Array]:
    """`count` steps of all members; their losses (chunk, M); whether all weights are finite.

    `batches` are the numbers of rows (chunk, M, size) and what is drawn beside them; `decay` is the share by which
    averages move at a step, and its warm-up.
    """
    moves, warmup = jnp.asarray(decay)

    def member(state: Weights, own: Any, batch: Any) -> tuple[Weights, jax.Array]:
        rows, draws = batch
        loss = lambda weights: objective.loss(weights, own, rows, draws, state)
        (value, memory), slope = jax.value_and_grad(loss, has_aux=True)(state.last)
        change, optimiser_state = optimiser.update(slope, state.optimiser, state.last)
        last = optax.apply_updates(state.last, change)
        move = jnp.maximum(moves, warmup / (10 + state.step))
        average = (1 - move) * state.average + move * last
        powers = state.powers + rates(lengths, state.step + 1)[:, None] * (last - state.powers)
        return Weights(last, average, powers, optimiser_state, memory, state.step + 1), value

    def step(i: jax.Array, carry: tuple[Weights, jax.Array]) -> tuple[Weights, jax.Array]:
        state, losses = carry
        batch = jax.tree.map(lambda part: jnp.asarray(part)[i], batches)
        state, loss = each_member(member)(state, objective.members, batch)
        return state, losses.at[i].set(loss)

    state, losses = jax.lax.fori_loop(0, count, step, (state, jnp.zeros(batches[0].shape[:2])))
    finite = [jnp.isfinite(part).all() for part in (state.last, state.average, state.powers)]
    return state, losses, jnp.stack(finite).all()


def train(task: TrainingTask[N], session: Session = Session()) -> Trained[N]:
    """Train what a task says.

    Ctrl-C stops after the steps under way and returns what was learned, with `interrupted` set; a second one raises
    KeyboardInterrupt at once.

    Args:
        task: what is trained.
        session: where the complete state is kept, or one to go on from: that of a training with the same task, of which
            the steps may differ, or the rows. With other steps patience counts anew. Its `on_progress` is called before
            the first step, and then a few times a second.

    Raises:
        TrainingError: the training diverged; its `result` holds the last good weights.
        ModelFileError: the state is that of another training.
    """
    course, keeper = TrainingState(task, session.kept), session.keeper
    saved, stride, compiled = course.done, FIRST, False
    session.on_progress(course.progress())
    with interruptible() as stop:
        while course.goes_on and not stop:
            tick = time.perf_counter()
            count = course.advance(stride)
            if compiled:  # the first call compiles, which says nothing of the next one
                stride = int(np.clip(count * PATIENCE / (time.perf_counter() - tick), 1, task.chunk))
            compiled = True
            if keeper is not None and course.sound and keeper.due():
                keeper.save(course.done, course.complete())
                saved = course.done
            session.on_progress(course.progress())
        course.check_end()
        if keeper is not None and course.done > saved:
            keeper.save(course.done, course.complete())
    return course.result(interrupted=bool(stop) and course.done < task.steps)


def fit_model(
    task: Callable[[int], TrainingTask[N]],
    model: Callable[[Trained[N]], M],
    session: Session,
    *,
    run: str,
    steps: int,
    key: str,
    before: Trained[N] | None,
) -> M:
    """Train a model, from its beginning or from where another training ended.

    Args:
        task: the steps of the training -> what is trained.
        model: what was learned -> the model that has it.
        session: how it is carried out.
        run: `run_of` this training.
        steps: as the recipe says.
        key: of these steps in the recipe, for messages.
        before: what the training of the start left; None, or without a state, where the weights alone are there.

    Raises:
        UsageError: all steps of the same training were taken already.
        TrainingError: the training diverged; `result` is the model of the last good weights.
        ModelFileError: the state to go on from is that of another training.
    """
    if before is not None and before.state is not None:
        state = before.state
        done, total, same = state.numbers["course/step"], state.numbers["course/steps"], state.numbers["run"] == run
        if session.more or not same:
            state, steps = state if same else state.with_other_rows(), done + steps
        elif steps < done or (steps in (done, total) and not before.interrupted):
            raise UsageError(
                f"got {key} = {steps:,}, which are the steps of the whole training with these rows, and it is complete "
                f"after {done:,}. Give more, such as {key} = {2 * total}."
            )
        session = replace(session, state=state)

    def made(trained: Trained[N]) -> M:
        if trained.state is not None:
            trained.state.numbers["run"] = run
        return model(trained)

    try:
        return made(train(task(steps), session))
    except TrainingError as error:
        if isinstance(error.result, Trained):
            error.result = made(error.result)
        raise
