"""The compiled training loop.

One program runs many steps before anything crosses back to Python: it draws times and noise, takes the gradient,
updates the weights and their moving average, for as many steps as it is requested. Parameters travel as one flat
vector, so that the optimiser and the average are a handful of operations however many layers there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser
from motes.errors import TrainingError, UsageError
from motes.learning._averages import LENGTHS, rates
from motes.learning._batches import Batches
from motes.learning._course import Course, Progress, Trained, Weights
from motes.learning._divergence import Guard, times_the_first
from motes.learning._losses import Loss
from motes.learning._options import Training
from motes.learning._programs import training_program
from motes.learning._resuming import Keeper, State, interruptible
from motes.learning._rows import OnDevice, Rows, systematic
from motes.learning._stopping import EarlyStopping
from motes.learning._times import Times
from motes.learning._weights import shapes_of, weights_of, with_weights

ROOM = 512  # steps for which there is room in one call
FIRST = 8  # steps of the first call, and of any at least
PATIENCE = 0.25  # seconds between looks at the clock, the keyboard and the loss


def train(
    denoiser: Denoiser,
    data: NDArray[np.floating] | Rows,
    *,
    key: jax.Array,
    loss: Loss,
    times: Times,
    options: Training = Training(),
    keeper: Keeper | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train `denoiser` on rows.

    Args:
        denoiser: where to start; every floating-point array in it is trained.
        data: rows (n, d) in the units that the denoiser works in; or `Rows`, with classes, weights or held-out rows.
        key: randomness of batches, times and noise.
        loss: per row, see `motes.learning._losses`.
        times: draws the times of a batch.
        options: the section [training] of a recipe: steps, batch, learning rate, moving average and so on. A subclass
            whose `make_optimiser` returns another Optax transformation trains by that. `weights` is for `motes.fit`,
            which chooses between `averaged` and `last`; here both are returned.
        keeper: keeps the complete state now and then and at the end, and may have one to go on from: that of a training
            with the same arguments, of which `options.steps` alone may differ. With other steps patience counts anew.
        on_progress: called a few times a second.

    Ctrl-C stops after the steps under way and returns what was learned, with `interrupted` set; a second one raises
    KeyboardInterrupt at once.

    Raises:
        UsageError: a share of rows for validation, where no rows are held out.
        TrainingError: the training diverged; its `result` holds the last good weights.
        ModelFileError: the keeper's state is that of another training.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import EDM, LogNormalTimes, Preconditioned, ResidualMLP, Training
        >>> network = ResidualMLP(dim=2, width=16, depth=1, key=jax.random.key(0))
        >>> trained = motes.train(
        ...     Preconditioned(network, VarianceExploding()),
        ...     motes.make_shape("moons", 200),
        ...     key=jax.random.key(1),
        ...     loss=EDM(),
        ...     times=LogNormalTimes(),
        ...     options=Training(steps=2, batch=32),
        ... )
        >>> trained.losses.shape
        (2,)
    """
    stepwise = Stepwise(
        denoiser, data, key=key, loss=loss, times=times, options=options, state=None if keeper is None else keeper.state
    )
    course = stepwise.course
    guard = stepwise.guard
    saved, stride, compiled = course.done, FIRST, False
    with interruptible() as stop:
        while course.goes_on and not stop:
            tick = time.perf_counter()
            count = stepwise.go(stride)
            if compiled:  # the first call compiles, which says nothing of the next one
                stride = int(np.clip(count * PATIENCE / (time.perf_counter() - tick), FIRST, ROOM))
            compiled = True
            if keeper is not None and guard.sound and keeper.due():
                keeper.save(course.done, course.kept())
                saved = course.done
            if on_progress:
                on_progress(course.progress())
        _refuse(guard.fault_at_end(course.done), course)
        if keeper is not None and course.done > saved:
            keeper.save(course.done, course.kept())
    return course.result(interrupted=bool(stop) and course.done < options.steps)


class Stepwise:
    """A training that is carried out some steps at a time; the arguments are those of `train`.

    Args:
        state: to go on from; None: the training begins.

    Attributes:
        course: where it stands.
        guard: says when it has diverged.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        data: NDArray[np.floating] | Rows,
        *,
        key: jax.Array,
        loss: Loss,
        times: Times,
        options: Training = Training(),
        state: State | None = None,
    ):
        rows = data if isinstance(data, Rows) else Rows(data)
        if options.validation and rows.held is None:
            raise UsageError(
                f"options.validation = {options.validation:g}, and no rows are held out. Give them, Rows(x, held=...), "
                "or leave validation at 0."
            )
        lengths = LENGTHS if options.averages else ()
        on_device = OnDevice.of(rows, options.label_dropout)
        optimiser = options.make_optimiser(shapes_of(denoiser))
        moves = np.asarray(1 - options.ema, jnp.result_type(float))  # an input of the program, as all such numbers
        stable = options.stable_target(loss)
        self._task = _Task(denoiser, loss, times, optimiser, moves, lengths, on_device, key, stable)
        batches = _batches(np.random.default_rng(np.asarray(jax.random.key_data(key))), rows, options)
        watch = None if rows.held is None else EarlyStopping(rows.held, denoiser, loss, times, key, options)
        self.course = Course(denoiser, self._task.start(), options, batches, watch, lengths=lengths)
        self.course.begin(state)
        self.guard = Guard(times_the_first, options.steps, self.course.joined)

    def go(self, most: int) -> int:
        """Take at most so many steps, up to `ROOM`; give how many.

        Raises:
            TrainingError: the training diverged.
        """
        course, guard = self.course, self.guard
        count = course.next_stop(min(most, ROOM)) - course.done
        index = np.stack([next(course.batches) for _ in range(count)])
        index = np.pad(index, ((0, ROOM - count), (0, 0)))
        after, losses, finite = _advance(self._task, course.state, index, np.int32(count))
        fresh = np.asarray(losses)[:count]
        _refuse(guard.fault(course.done, fresh, bool(finite)), course)
        course.took(after, fresh)
        if guard.sound:
            course.mark_sound()
        return count


class _Task(NamedTuple):
    """What is the same at every step of a training."""

    denoiser: Denoiser
    loss: Loss
    times: Times
    optimiser: optax.GradientTransformation
    moves: NDArray[np.floating]  # the share of the way to the weights by which their average moves at a step, ()
    lengths: tuple[float, ...]  # of the averages that are stored
    rows: OnDevice
    key: jax.Array
    stable: bool  # the target of a row is its mean over the batch

    def start(self) -> Weights:
        """Before the first step."""
        flat = weights_of(self.denoiser)
        powers = jnp.zeros((len(self.lengths), flat.size), flat.dtype)
        return Weights(flat, flat, powers, self.optimiser.init(flat), self.times.init(), jnp.zeros((), int))


def _refuse(fault: str | None, course: Course) -> None:
    """End a training that has diverged, with the weights that it had before.

    Raises:
        TrainingError: there is a fault.
    """
    if fault is None:
        return
    course.back_to_sound()
    raise TrainingError(
        f"the training diverged: {fault}. Usual remedies: a smaller learning rate, a smaller clip_norm, "
        f"standardised data. The weights of step {course.done:,} are kept.",
        course.result(),
    )


def _batches(rng: np.random.Generator, data: Rows, options: Training) -> Batches:
    """Row numbers, one epoch after another; -1 marks the empty places of a partial batch."""
    n, batch, weights = len(data.x), options.batch, data.weights

    def epoch(rng: np.random.Generator) -> NDArray[np.integer]:
        rows = rng.permutation(n) if weights is None else systematic(rng, weights)
        if options.last_batch == "partial":
            rows = np.pad(rows, (0, -len(rows) % batch), constant_values=-1)
            # Places stand for parts of the range of times, so the empty ones must not be the last.
            rows[-batch:] = rng.permutation(rows[-batch:])
        return rows

    return Batches(rng, epoch, batch)


@training_program
def _advance(task: _Task, state: Weights, index: ArrayLike, count: ArrayLike) -> tuple[Weights, jax.Array, jax.Array]:
    """`count` steps of training on the batches `index` (ROOM, batch); their losses; whether all weights are finite."""
    denoiser, loss, times, optimiser, moves, lengths, rows, key, stable = task

    def objective(weights: jax.Array, places: jax.Array, state: Weights) -> tuple[jax.Array, Any]:
        model, index, counts = with_weights(denoiser, weights), jnp.maximum(places, 0), places >= 0
        time_key, noise_key, label_key, thin_key = jax.random.split(jax.random.fold_in(key, state.step), 4)
        drawn = times.batch(denoiser.schedule, time_key, len(index), state.times)
        eps = jax.random.normal(noise_key, (len(index), rows.x.shape[1]))  # (batch, d)
        chances = jax.random.uniform(label_key, (len(index),))  # of withheld labels
        among = counts if stable else None
        per_row = rows.losses(model, loss, index, drawn.t, eps, chances, thin=thin_key, among=among)  # (batch,)
        seen = times.learn(state.times, drawn, per_row, counts)
        weighted = per_row if drawn.weight is None else drawn.weight * per_row
        return jnp.mean(weighted, where=counts), seen

    index = jnp.asarray(index)

    def step(i: jax.Array, carry: tuple[Weights, jax.Array]) -> tuple[Weights, jax.Array]:
        state, losses = carry
        (value, seen), slope = jax.value_and_grad(objective, has_aux=True)(state.weights, index[i], state)
        change, memory = optimiser.update(slope, state.optimiser, state.weights)
        weights = optax.apply_updates(state.weights, change)
        average = (1 - moves) * state.average + moves * weights
        powers = state.powers + rates(lengths, state.step + 1)[:, None] * (weights - state.powers)
        return Weights(weights, average, powers, memory, seen, state.step + 1), losses.at[i].set(value)

    state, losses = jax.lax.fori_loop(0, count, step, (state, jnp.zeros(len(index))))
    finite = [jnp.isfinite(part).all() for part in (state.weights, state.average, state.powers)]
    return state, losses, jnp.stack(finite).all()
