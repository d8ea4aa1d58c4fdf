"""The compiled training loop.

One program runs many steps before anything crosses back to Python: it draws times and noise, takes the gradient,
updates the weights and their moving average, for as many steps as it is asked for. Parameters travel as one flat
vector, so that the optimiser and the average are a handful of operations however many layers there are.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion.denoiser import Denoiser
from motes.errors import TrainingError, UsageError
from motes.learning.averages import LENGTHS, Averages, rates
from motes.learning.losses import Loss
from motes.learning.options import Training
from motes.learning.programs import training_program
from motes.learning.rows import Rows, systematic
from motes.learning.stopping import Held, HeldOut, Watch
from motes.learning.times import Times
from motes.learning.weights import weights_of, with_weights

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
    """

    averaged: Denoiser
    last: Denoiser
    losses: NDArray[np.float32]  # one per step
    seconds: float
    interrupted: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)
    averages: Averages | None = None  # from which `averaged_over` makes its own
    held_out: HeldOut | None = None  # the losses of held-out rows, where there were any

    def __repr__(self) -> str:
        end = f", loss {self.losses[-500:].mean():.4g}" if self.steps else ""
        return f"Trained({self.steps:,} steps in {self.seconds:.1f} s{end}{', interrupted' * self.interrupted})"

    @property
    def steps(self) -> int:
        """Steps that were taken."""
        return len(self.losses)

    def averaged_over(self, sigma_rel: float) -> Denoiser:
        """With an average of the weights whose length is this share of the training: see `learning.averages`.

        Raises:
            UsageError: a length out of range, or no averages were kept.
        """
        if self.averages is None:
            raise UsageError("no averages were kept in this training. Train with averages = 32, and at least a step.")
        return with_weights(self.last, self.averages.over(sigma_rel))

    def running_loss(self, windows: int = 400) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The mean loss of equal windows of steps: the last step of each window, and the mean."""
        if not self.steps:
            return np.zeros(0, np.int64), np.zeros(0)
        edges = np.unique(np.linspace(0, self.steps, min(windows, self.steps) + 1).round().astype(np.int64))
        sums = np.add.reduceat(self.losses.astype(np.float64), edges[:-1])
        return edges[1:], sums / np.diff(edges)


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
    held: Held | None = None,
    ema: float = Training.ema,
    last_batch: LastBatch = Training.last_batch,
    snapshot_every: int = 0,
    averages: int = 0,
    on_progress: Callable[[Progress], None] | None = None,
) -> Trained:
    """Train `denoiser` on the rows of `x`.

    Args:
        denoiser: where to start; every floating-point array in it is trained.
        x: rows (n, d) in the units that the denoiser works in.
        loss: per row, see `motes.learning.losses`.
        times: draws the times of a batch.
        optimiser: an Optax transformation of the gradients.
        steps: how many updates.
        batch: rows per update, drawn without replacement until all have been seen.
        key: randomness of batches, times and noise.
        labels: classes of the rows (n,), for a denoiser that knows classes; -1 where one is not known.
        label_dropout: how often a row's label is withheld, so that all classes together are learned too.
        weights: of the rows (n,), at least 0, not all 0: a row is drawn that often, so that 2 is as good as two such
            rows, and 0 as none; None: 1 each.
        held: rows by which the averages of the weights are judged now and then. The best are kept, and training ends
            before its last step where nothing better is found for long.
        ema: decay of the moving average of the weights, per step.
        last_batch: "fill" completes the last batch of an epoch from the next one; "partial" leaves it short.
        snapshot_every: keep the weights every so many steps; 0 keeps none.
        averages: how often over the run two averages are stored, from which one of any length can be made; 0: never.
        on_progress: called a few times a second.

    Ctrl-C stops after the steps under way and returns what was learned, with `interrupted` set; a second one raises
    KeyboardInterrupt at once.

    Raises:
        TrainingError: the loss was not finite; its `result` holds the last good weights.
    """
    flat = weights_of(denoiser)
    lengths = LENGTHS if averages else ()
    powers = jnp.zeros((len(lengths), flat.size), flat.dtype)
    state = _State(flat, flat, powers, optimiser.init(flat), times.init(), jnp.zeros((), int))
    rows = Rows.of(x, labels, label_dropout)
    batches = _batches(np.random.default_rng(np.asarray(jax.random.key_data(key))), len(x), batch, last_batch, weights)
    losses: list[NDArray[np.float32]] = []
    snapshots: list[Snapshot] = []
    stored: dict[int, NDArray[np.float32]] = {}
    store_every = -(-steps // averages) if averages else steps
    watch = None
    if held is not None:
        watch = Watch(held, denoiser, loss, times, key, label_dropout=label_dropout)
    begin, done, stride = time.perf_counter(), 0, 8

    def both(state: _State) -> tuple[Denoiser, Denoiser]:
        return with_weights(denoiser, state.average), with_weights(denoiser, state.weights)

    def result(interrupted: bool = False) -> Trained:
        every = np.concatenate(losses) if losses else np.zeros(0, np.float32)
        best = watch.best if watch else state
        end = int(best.step)
        until = {step: powers for step, powers in stored.items() if step <= end} | {end: np.asarray(best.powers)}
        return Trained(
            *both(best),
            every,
            time.perf_counter() - begin,
            interrupted,
            [shot for shot in snapshots if shot.step <= end],
            _averages(until) if lengths and end else None,
            watch.seen if watch else None,
        )

    if watch:
        watch.look(state, 0, state.average)
    with _interruptible() as stop:
        while done < steps and not stop.is_set() and not (watch and watch.in_vain):
            ends = [steps, done + stride, _next(done, store_every)]
            ends += [_next(done, snapshot_every)] if snapshot_every else []
            ends += [_next(done, watch.every)] if watch else []
            count = min(ends) - done
            index = np.stack([next(batches) for _ in range(count)])
            index = np.pad(index, ((0, ROOM - count), (0, 0)))
            tick = time.perf_counter()
            after, measured = _advance(
                denoiser, loss, times, optimiser, ema, lengths, state, rows, index, np.int32(count), key
            )
            fresh = np.asarray(measured)[:count]
            if not np.isfinite(fresh).all():
                step = done + int(np.argmin(np.isfinite(fresh))) + 1
                raise TrainingError(
                    f"the loss was {fresh[step - done - 1]} at step {step} of {steps}. Usual remedies: a smaller "
                    f"learning rate, a smaller clip_norm, standardised data. The weights of step {done} are kept.",
                    result(),
                )
            state = after
            losses.append(fresh)
            done += count
            if snapshot_every and done % snapshot_every == 0:
                snapshots.append(Snapshot(done, *both(state)))
            if lengths and done % store_every == 0:
                stored[done] = np.asarray(state.powers)
            now = time.perf_counter()
            stride = int(np.clip(count * PATIENCE / (now - tick), 8, ROOM)) if len(losses) > 1 else stride
            if watch and (done % watch.every == 0 or done == steps):
                watch.look(state, done, state.average)
            if on_progress:
                on_progress(Progress(done, steps, _recent_mean(losses), now - begin, watch.last if watch else None))
    return result(interrupted=stop.is_set() and done < steps)


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


def _averages(stored: dict[int, NDArray[np.float32]]) -> Averages:
    steps = np.repeat(np.array(list(stored)), len(LENGTHS))
    return Averages(steps, np.tile(LENGTHS, len(stored)), np.concatenate(list(stored.values())))


def _batches(
    rng: np.random.Generator, n: int, batch: int, last: LastBatch, weights: NDArray[np.floating] | None = None
) -> Iterator[NDArray[np.int32]]:
    # Row numbers (batch,), one epoch after another; -1 marks the empty places of a partial batch.
    rest = np.zeros(0, np.int32)
    while True:
        epoch = rng.permutation(n) if weights is None else systematic(rng, weights)
        rows = np.concatenate([rest, epoch.astype(np.int32)])
        if last == "partial":
            rows = np.pad(rows, (0, -len(rows) % batch), constant_values=-1)
            # Places stand for parts of the range of times, so the empty ones must not be the last.
            rows[-batch:] = rng.permutation(rows[-batch:])
        whole = len(rows) // batch * batch
        yield from rows[:whole].reshape(-1, batch)
        rest = rows[whole:]


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


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, so that no step is torn; the second one is an ordinary interrupt."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    # Signals only ever reach the main thread; and who ignores them, as a job in the background does, has his reasons.
    if threading.current_thread() is not threading.main_thread() or before is signal.SIG_IGN:
        yield stop
        return

    def ask(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
