"""The compiled training loop.

One program runs many steps before anything crosses back to Python: it draws times and noise, takes the gradient,
updates the weights and their moving average, for as many steps as it is requested. Parameters travel as one flat
vector, so that the optimiser and the average are a handful of operations however many layers there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser
from motes.errors import TrainingError, UsageError
from motes.learning._averages import LENGTHS, Averages, rates
from motes.learning._batches import Batches
from motes.learning._losses import Loss
from motes.learning._options import Training
from motes.learning._programs import training_program
from motes.learning._resuming import BATCHES, WATCH, Keeper, State, interruptible, named, tree_state
from motes.learning._rows import Rows, systematic
from motes.learning._stopping import EarlyStopping, HeldOut, ValidationSet
from motes.learning._times import Times
from motes.learning._weights import weights_of, with_weights

LastBatch = Literal["fill", "partial"]
ROOM = 512  # steps for which there is room in one call
PATIENCE = 0.25  # seconds between looks at the clock, the keyboard and the loss


class Progress(NamedTuple):
    """Where training stands: `loss` is the mean over the last `window` steps."""

    step: int
    steps: int
    loss: float
    seconds: float
    held_out: float | None = None  # the newest loss of held-out rows, where there are any


class Snapshot(NamedTuple):
    """Both kinds of weights after `step` steps."""

    step: int
    averaged: Denoiser
    last: Denoiser


@dataclass(repr=False)
class Trained:
    """What training leaves: `averaged` holds the moving average of the weights, `last` the weights themselves.

    With held-out rows both are those of the step `held_out.best`, as are the last `snapshots` and `averages`.

    Example:
        >>> trained = model.training
        >>> trained.steps, len(trained.losses), trained.interrupted
        (2, 2, False)
    """

    averaged: Denoiser
    last: Denoiser
    losses: NDArray[np.float32]  # one per step
    seconds: float
    interrupted: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)
    averages: Averages | None = None  # from which `averaged_over` makes its own
    held_out: HeldOut | None = None  # the losses of held-out rows, where there were any
    state: State | None = None  # the complete one, after the last step

    def __repr__(self) -> str:
        end = f", loss {self.losses[-500:].mean():.4g}" if self.steps else ""
        return f"Trained({self.steps:,} steps in {self.seconds:.1f} s{end}{', interrupted' * self.interrupted})"

    @property
    def steps(self) -> int:
        """Steps that were taken."""
        return len(self.losses)

    @property
    def looks(self) -> NDArray[np.float64]:
        """(checks, 2): step and loss of the held-out rows."""
        if self.held_out is None:
            return np.zeros((0, 2))
        return np.stack([self.held_out.steps, self.held_out.losses], axis=1)

    @property
    def best(self) -> int | None:
        """The step of the weights that are kept; None where no rows were held out."""
        return None if self.held_out is None else self.held_out.best

    def averaged_over(self, sigma_rel: float) -> Denoiser:
        """With an average of the weights whose length is this share of the training (Karras et al. 2024, section 3).

        Raises:
            UsageError: a length out of range, or no averages were kept.

        Example:
            >>> type(model.training.averaged_over(0.1)).__name__
            'Preconditioned'
        """
        if self.averages is None:
            raise UsageError("no averages were kept in this training. Train with averages = 32, and at least a step.")
        return with_weights(self.last, self.averages.over(sigma_rel))


class _State(NamedTuple):
    weights: jax.Array  # (p,)
    average: jax.Array  # (p,)
    powers: jax.Array  # (lengths, p), averages with profiles that are powers
    optimiser: optax.OptState
    times: Any  # what they remember
    step: jax.Array


def train(
    denoiser: Denoiser,
    x: NDArray[np.floating],
    *,
    loss: Loss,
    times: Times,
    optimiser: optax.GradientTransformation,
    steps: int,
    batch: int,
    key: jax.Array,
    labels: NDArray[np.integer] | None = None,
    label_dropout: float = Training.label_dropout,
    weights: NDArray[np.floating] | None = None,
    held: ValidationSet | None = None,
    ema: float = Training.ema,
    last_batch: LastBatch = Training.last_batch,
    snapshot_every: int = 0,
    averages: int = 0,
    keeper: Keeper | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train `denoiser` on the rows of `x`.

    Args:
        denoiser: where to start; every floating-point array in it is trained.
        x: rows (n, d) in the units that the denoiser works in.
        loss: `loss(denoiser, x0, t, eps)` gives the terms of one row by name; see `motes.learning`.
        times: draws the times of a batch.
        optimiser: an Optax transformation of the gradients.
        steps: how many updates.
        batch: rows per update, drawn without replacement until all have been seen.
        key: randomness of batches, times and noise.
        labels: classes of the rows (n,), for a denoiser that knows classes; -1 where one is not known.
        label_dropout: how often a row's label is withheld, so that all classes together are learned too.
        weights: of the rows (n,), at least 0, not all 0: a row is drawn that often, so that 2 is as good as two such
            rows, and 0 as none; None: 1 each.
        held: rows by which the averages of the weights are evaluated now and then. The best are kept, and training ends
            before its last step where nothing better is found for long.
        ema: decay of the moving average of the weights, per step.
        last_batch: "fill" completes the last batch of an epoch from the next one; "partial" leaves it short.
        snapshot_every: keep the weights every so many steps; 0 keeps none.
        averages: how often over the run two averages are stored, from which one of any length can be made; 0: never.
        keeper: keeps the complete state now and then and at the end, and may have one to go on from: that of a training
            with the same arguments, of which `steps` alone may differ. With other steps patience counts anew.
        on_progress: called a few times a second.

    Ctrl-C stops after the steps under way and returns what was learned, with `interrupted` set; a second one raises
    KeyboardInterrupt at once.

    Raises:
        TrainingError: the loss was not finite; its `result` holds the last good weights.
        ModelFileError: the keeper's state is that of another training.

    Example:
        >>> import optax
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import EDM, LogNormalTimes, Preconditioned, ResidualMLP
        >>> network = ResidualMLP(dim=2, width=16, depth=1, key=jax.random.key(0))
        >>> trained = motes.train(
        ...     Preconditioned(network, VarianceExploding()),
        ...     motes.make_shape("moons", 200),
        ...     loss=EDM(),
        ...     times=LogNormalTimes(),
        ...     optimiser=optax.adam(1e-3),
        ...     steps=2,
        ...     batch=32,
        ...     key=jax.random.key(1),
        ... )
        >>> trained.losses.shape
        (2,)
    """
    flat = weights_of(denoiser)
    lengths = LENGTHS if averages else ()
    powers = jnp.zeros((len(lengths), flat.size), flat.dtype)
    state = _State(flat, flat, powers, optimiser.init(flat), times.init(), jnp.zeros((), int))
    rows = Rows.of(x, labels, label_dropout)
    batches = _batches(np.random.default_rng(np.asarray(jax.random.key_data(key))), len(x), batch, last_batch, weights)
    store_every = -(-steps // averages) if averages else steps
    watch = None
    if held is not None:
        watch = EarlyStopping(held, denoiser, loss, times, key, label_dropout=label_dropout)
    course = _Course(denoiser, state, steps, batches, watch, keeps_averages=bool(averages))
    calls, stride = 0, 8
    course.begin(None if keeper is None else keeper.state)
    saved = course.done
    with interruptible() as stop:
        while course.done < steps and not stop and not (watch and watch.in_vain):
            done = course.done
            ends = [steps, done + stride, _next(done, store_every)]
            ends += [_next(done, snapshot_every)] if snapshot_every else []
            ends += [_next(done, watch.every)] if watch else []
            count = min(ends) - done
            index = np.stack([next(batches) for _ in range(count)])
            index = np.pad(index, ((0, ROOM - count), (0, 0)))
            tick = time.perf_counter()
            after, measured = _advance(
                denoiser, loss, times, optimiser, ema, lengths, course.state, rows, index, np.int32(count), key
            )
            fresh = np.asarray(measured)[:count]
            if not np.isfinite(fresh).all():
                step = done + int(np.argmin(np.isfinite(fresh))) + 1
                raise TrainingError(
                    f"the loss was {fresh[step - done - 1]} at step {step} of {steps}. Usual remedies: a smaller "
                    f"learning rate, a smaller clip_norm, standardised data. The weights of step {done} are kept.",
                    course.result(),
                )
            course.took(after, fresh)
            calls, done = calls + 1, course.done
            if snapshot_every and done % snapshot_every == 0:
                course.snapshots.append((done, after.average, after.weights))
            if lengths and done % store_every == 0:
                course.stored[done] = np.asarray(after.powers)
            # The first call compiles, which says nothing of the next one.
            spent = time.perf_counter() - tick
            stride = int(np.clip(count * PATIENCE / spent, 8, ROOM)) if calls > 1 else stride
            if watch and (done % watch.every == 0 or done == steps):
                watch.look(after, done, after.average)
            if keeper is not None and keeper.due():
                keeper.save(done, course.kept())
                saved = done
            if on_progress:
                on_progress(course.progress())
        if keeper is not None and course.done > saved:
            keeper.save(course.done, course.kept())
    return course.result(interrupted=bool(stop) and course.done < steps)


class _Course:
    """All that changes while a training goes on, and what is made of it."""

    def __init__(
        self,
        denoiser: Denoiser,
        state: _State,
        steps: int,
        batches: Batches,
        watch: EarlyStopping | None,
        *,
        keeps_averages: bool,
    ):
        self.denoiser, self.state, self.steps, self.batches, self.watch = denoiser, state, steps, batches, watch
        self.keeps_averages = keeps_averages
        self.done = 0
        self.losses: list[NDArray[np.float32]] = []
        self.snapshots: list[tuple[int, Any, Any]] = []  # step, averaged and last weights
        self.stored: dict[int, NDArray[np.float32]] = {}  # step -> powers
        self._begin = time.perf_counter()

    def took(self, state: _State, losses: NDArray[np.float32]) -> None:
        """Steps with these losses, (k,), have led to this state."""
        self.state, self.done = state, self.done + len(losses)
        self.losses.append(losses)

    @property
    def seconds(self) -> float:
        """Of the training, that of earlier processes included."""
        return time.perf_counter() - self._begin

    def progress(self) -> Progress:
        """Where it stands."""
        unseen = self.watch.last if self.watch else None
        return Progress(self.done, self.steps, _recent_mean(self.losses), self.seconds, unseen)

    def result(self, interrupted: bool = False) -> Trained:
        """What was learned so far."""
        best = self.watch.best if self.watch else self.state
        end = int(best.step)
        until = {step: powers for step, powers in self.stored.items() if step <= end} | {end: np.asarray(best.powers)}
        with_flat = lambda flat: with_weights(self.denoiser, flat)
        return Trained(
            with_flat(best.average),
            with_flat(best.weights),
            _joined(self.losses),
            self.seconds,
            interrupted,
            [Snapshot(step, *map(with_flat, both)) for step, *both in self.snapshots if step <= end],
            Averages.of(LENGTHS, until) if self.keeps_averages and end else None,
            self.watch.seen if self.watch else None,
            self.kept(),
        )

    def kept(self) -> State:
        """The complete state."""
        parts = {"state": tree_state(self.state), BATCHES: self.batches.state}
        if self.watch:
            parts |= {WATCH: self.watch.state, "best": tree_state(self.watch.best)}
        shots = {str(step): both for step, *both in self.snapshots}
        arrays = {"losses": _joined(self.losses)}
        arrays |= {f"snapshots/{step}": np.stack([np.asarray(one) for one in both]) for step, both in shots.items()}
        arrays |= {f"stored/{step}": powers for step, powers in self.stored.items()}
        return named(
            parts | {"course": State(arrays, {"step": self.done, "steps": self.steps, "seconds": self.seconds})}
        )

    def begin(self, kept: State | None) -> None:
        """Begin, or go on where a training was whose complete state this is, with the same rows or with others."""
        if kept is not None:
            self._go_on(kept)
        if self.watch and not (kept is not None and kept.has(WATCH)):
            self.watch.look(self.state, self.done, self.state.average)

    def _go_on(self, kept: State) -> None:
        own = kept.part("course")
        state = kept.tree("state", self.state)
        if kept.has(BATCHES):
            self.batches.go_on(kept.part(BATCHES))
        if self.watch and kept.has("best"):
            best = kept.tree("best", state)
            if kept.has(WATCH):
                self.watch.go_on(kept.part(WATCH), best, anew=own.numbers["steps"] != self.steps)
            else:  # the best weights for other rows are among those that these rows compare
                self.watch.look(best, int(best.step), best.average)
        self.state, self.done, self.losses = state, own.numbers["step"], [own.arrays["losses"]]
        self._begin -= own.numbers["seconds"]
        # A file has its arrays in an order of its own.
        in_order = lambda name: sorted((int(step), one) for step, one in own.part(name).arrays.items())
        self.snapshots = [(step, *both) for step, both in in_order("snapshots")]
        self.stored = dict(in_order("stored"))


def _joined(losses: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate(losses) if losses else np.zeros(0, np.float32)


def _next(done: int, every: int) -> int:
    """The next multiple of `every` after `done`."""
    return done + every - done % every


def _recent_mean(losses: list[NDArray[np.float32]], window: int = 500) -> float:
    recent, have = [], 0
    for part in reversed(losses):
        recent.append(part)
        have += len(part)
        if have >= window:
            break
    return float(np.concatenate(recent[::-1])[-window:].mean())


def _batches(
    rng: np.random.Generator, n: int, batch: int, last: LastBatch, weights: NDArray[np.floating] | None = None
) -> Batches:
    """Row numbers, one epoch after another; -1 marks the empty places of a partial batch."""

    def epoch(rng: np.random.Generator) -> NDArray[np.integer]:
        rows = rng.permutation(n) if weights is None else systematic(rng, weights)
        if last == "partial":
            rows = np.pad(rows, (0, -len(rows) % batch), constant_values=-1)
            # Places stand for parts of the range of times, so the empty ones must not be the last.
            rows[-batch:] = rng.permutation(rows[-batch:])
        return rows

    return Batches(rng, epoch, batch)


@training_program
def _advance(
    denoiser: Denoiser,
    loss: Loss,
    times: Times,
    optimiser: optax.GradientTransformation,
    ema: float,
    lengths: tuple[float, ...],
    state: _State,
    rows: Rows,
    index: ArrayLike,
    count: ArrayLike,
    key: jax.Array,
) -> tuple[_State, jax.Array]:
    """`count` steps of training on the batches `index` (ROOM, batch); also the loss of each."""

    def objective(weights: jax.Array, places: jax.Array, state: _State) -> tuple[jax.Array, Any]:
        model, index, counts = with_weights(denoiser, weights), jnp.maximum(places, 0), places >= 0
        time_key, noise_key, label_key, thin_key = jax.random.split(jax.random.fold_in(key, state.step), 4)
        drawn = times.batch(denoiser.schedule, time_key, len(index), state.times)
        eps = jax.random.normal(noise_key, (len(index), rows.x.shape[1]))  # (batch, d)
        chances = jax.random.uniform(label_key, (len(index),))  # of withheld labels
        per_row = rows.losses(model, loss, index, drawn.t, eps, chances, thin=thin_key)  # (batch,)
        seen = times.learn(state.times, drawn, per_row, counts)
        weighted = per_row if drawn.weight is None else drawn.weight * per_row
        return jnp.mean(weighted, where=counts), seen

    index = jnp.asarray(index)

    def step(i: jax.Array, carry: tuple[_State, jax.Array]) -> tuple[_State, jax.Array]:
        state, losses = carry
        (value, seen), slope = jax.value_and_grad(objective, has_aux=True)(state.weights, index[i], state)
        change, memory = optimiser.update(slope, state.optimiser, state.weights)
        weights = optax.apply_updates(state.weights, change)
        average = ema * state.average + (1 - ema) * weights
        powers = state.powers + rates(lengths, state.step + 1)[:, None] * (weights - state.powers)
        return _State(weights, average, powers, memory, seen, state.step + 1), losses.at[i].set(value)

    return jax.lax.fori_loop(0, count, step, (state, jnp.zeros(len(index))))
