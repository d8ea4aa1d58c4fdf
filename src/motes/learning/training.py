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

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion.denoiser import Cells, Denoiser, Given
from motes.errors import TrainingError, UsageError
from motes.learning.averages import LENGTHS, Averages, rates
from motes.learning.losses import Loss, Times

LastBatch = Literal["fill", "partial"]
ROOM = 512  # steps for which there is room in one call
PATIENCE = 0.25  # seconds between looks at the clock, the keyboard and the loss


class Progress(NamedTuple):
    """Where training stands: `loss` is the mean over the last `window` steps."""

    step: int
    steps: int
    loss: float
    seconds: float


class Snapshot(NamedTuple):
    """Both kinds of weights after `step` steps."""

    step: int
    averaged: Denoiser
    last: Denoiser


@dataclass(repr=False)
class Trained:
    """What training leaves: `averaged` holds the moving average of the weights, `last` the weights themselves."""

    averaged: Denoiser
    last: Denoiser
    losses: NDArray[np.float32]  # one per step
    seconds: float
    interrupted: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)
    averages: Averages | None = None  # from which `averaged_over` makes its own

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


class _Known(NamedTuple):
    """What can be told of the rows, and how often it is."""

    labels: jax.Array | None  # (n,)
    present: jax.Array | None  # (n, d)
    dropout: float
    masks: float

    def of(self, rows: jax.Array, x0: jax.Array, key: jax.Array) -> Given:
        """Of some rows (batch,), whose cells are x0 (batch, d)."""
        label_key, *cell_keys = jax.random.split(key, 4)
        label, cells = None, None
        if self.labels is not None:
            label = jnp.where(jax.random.bernoulli(label_key, self.dropout, rows.shape), -1, self.labels[rows])
        if self.masks:
            cells = self._cells(rows, x0, cell_keys)
        return Given(label, cells)

    def _cells(self, rows: jax.Array, x0: jax.Array, keys: list[jax.Array]) -> Cells:
        # Every subset of the columns must come up: rows differ in how many cells are shown, and how many left out.
        b = len(rows)
        shown, out = jax.random.uniform(keys[0], (2, b))
        place = jax.random.uniform(keys[1], x0.shape)
        asked, some = jax.random.bernoulli(keys[2], jnp.array([[1 - self.masks], [0.5]]), (2, b))
        shown = jnp.where(asked, 0.0, shown)[:, None]
        out = jnp.where(asked | some, 0.0, out)[:, None]
        present = jnp.ones_like(x0, bool) if self.present is None else self.present[rows]
        known = present & (place < shown)
        absent = ~present | (~known & (place < shown + (1 - shown) * out))
        return Cells(jnp.where(known, x0, 0.0), known, absent)


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
    label_dropout: float = 0.1,
    present: NDArray[np.bool_] | None = None,
    masks: float = 0.0,
    ema: float = 0.99,
    last_batch: LastBatch = "fill",
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
        present: which cells of x are there (n, d), for a denoiser that can be told cells; None: all of them.
        masks: how often some cells of a row are shown to such a denoiser, so that it learns the others given them.
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
    flat, _ = ravel_pytree(eqx.filter(denoiser, eqx.is_inexact_array))
    lengths = LENGTHS if averages else ()
    powers = jnp.zeros((len(lengths), flat.size), flat.dtype)
    state = _State(flat, flat, powers, optimiser.init(flat), times.init(), jnp.zeros((), int))
    points = jnp.asarray(x, flat.dtype)
    known = _Known(_device(labels), _device(present), label_dropout, masks)
    batches = _batches(np.random.default_rng(np.asarray(jax.random.key_data(key))), len(x), batch, last_batch)
    losses: list[NDArray[np.float32]] = []
    snapshots: list[Snapshot] = []
    stored: dict[int, NDArray[np.float32]] = {}
    store_every = -(-steps // averages) if averages else steps
    begin, done, stride = time.perf_counter(), 0, 8

    def both() -> tuple[Denoiser, Denoiser]:
        return with_weights(denoiser, state.average), with_weights(denoiser, state.weights)

    def result(interrupted: bool = False) -> Trained:
        every = np.concatenate(losses) if losses else np.zeros(0, np.float32)
        kept = _averages(stored | {done: np.asarray(state.powers)}) if lengths and done else None
        return Trained(*both(), every, time.perf_counter() - begin, interrupted, snapshots, kept)

    with _interruptible() as stop:
        while done < steps and not stop.is_set():
            to_snapshot = snapshot_every - done % snapshot_every if snapshot_every else steps
            count = min(stride, steps - done, to_snapshot, store_every - done % store_every)
            index = np.stack([next(batches) for _ in range(count)])
            index = np.pad(index, ((0, ROOM - count), (0, 0)))
            tick = time.perf_counter()
            after, measured = _advance(
                denoiser, loss, times, optimiser, ema, lengths, state, points, known, index, np.int32(count), key
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
                snapshots.append(Snapshot(done, *both()))
            if lengths and done % store_every == 0:
                stored[done] = np.asarray(state.powers)
            now = time.perf_counter()
            stride = int(np.clip(count * PATIENCE / (now - tick), 8, ROOM)) if len(losses) > 1 else stride
            if on_progress:
                on_progress(Progress(done, steps, _recent_mean(losses), now - begin))
    return result(interrupted=done < steps)


def _device(array: NDArray[Any] | None) -> jax.Array | None:
    return None if array is None else jnp.asarray(array)


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


def _batches(rng: np.random.Generator, n: int, batch: int, last: LastBatch) -> Iterator[NDArray[np.int32]]:
    # Row numbers (batch,), one permutation after another; -1 marks the empty places of a partial batch.
    rest = np.zeros(0, np.int32)
    while True:
        rows = np.concatenate([rest, rng.permutation(n).astype(np.int32)])
        if last == "partial":
            rows = np.pad(rows, (0, -len(rows) % batch), constant_values=-1)
            # Places stand for parts of the range of times, so the empty ones must not be the last.
            rows[-batch:] = rng.permutation(rows[-batch:])
        whole = len(rows) // batch * batch
        yield from rows[:whole].reshape(-1, batch)
        rest = rows[whole:]


@eqx.filter_jit
def _advance(
    denoiser: Denoiser,
    loss: Loss,
    times: Times,
    optimiser: optax.GradientTransformation,
    ema: float,
    lengths: tuple[float, ...],
    state: _State,
    x: jax.Array,
    known: _Known,
    index: ArrayLike,
    count: ArrayLike,
    key: jax.Array,
) -> tuple[_State, jax.Array]:
    """`count` steps of training on the batches `index` (ROOM, batch); also the loss of each."""

    def objective(weights: jax.Array, rows: jax.Array, state: _State) -> tuple[jax.Array, Any]:
        model = with_weights(denoiser, weights)
        time_key, noise_key = jax.random.split(jax.random.fold_in(key, state.step))
        x0 = x[jnp.maximum(rows, 0)]  # (batch, d)
        drawn = times.batch(time_key, len(rows), state.times)
        eps = jax.random.normal(noise_key, x0.shape)  # (batch, d)
        given = known.of(jnp.maximum(rows, 0), x0, jax.random.fold_in(noise_key, 1))
        if given.cells is not None:
            x0 = jnp.where(given.cells.absent, 0.0, x0)  # what `Settled` answers there

        def row(given: Given, *row: jax.Array) -> dict[str, jax.Array]:
            told = given.label is not None or given.cells is not None
            return loss(model.given(given) if told else model, *row)

        terms = jax.vmap(row)(given, x0, drawn.t, eps)
        per_row = jnp.stack(list(terms.values())).sum(axis=0)  # (batch,)
        seen = times.learn(state.times, drawn, per_row, rows >= 0)
        weighted = per_row if drawn.weight is None else drawn.weight * per_row
        return jnp.mean(weighted, where=rows >= 0), seen

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


@eqx.filter_jit
def with_weights(denoiser: Denoiser, flat: ArrayLike) -> Denoiser:
    """`denoiser` with its floating-point arrays taken from the vector `flat`."""
    arrays, rest = eqx.partition(denoiser, eqx.is_inexact_array)
    return eqx.combine(ravel_pytree(arrays)[1](jnp.asarray(flat)), rest)


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
