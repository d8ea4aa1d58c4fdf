"""The training of points: options, rows and their losses, early stopping, the state, and the compiled loop.

    minimise over the weights    E loss(denoiser, x_0, t, eps),    x_0 a row, t ~ times, eps ~ N(0, I)

`train`, in the last section, is the loop: `Stepwise` takes some steps at a time by one compiled program, `_advance`;
`TrainingState` remembers what they lead to. `OnDevice.losses` gives the loss of each row of a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import TrainingError, UsageError
from motes.points.denoisers import Denoiser, Given
from motes.points.losses import Constant, Loss, Target, in_groups, stable_target
from motes.points.networks import droppable, each_alone, thinned
from motes.points.times import Times
from motes.progress import OnProgress, Progress, silent
from motes.ranges import Checked, number
from motes.training.averages import LENGTHS, Averages, rates, shapes_of, weights_of, with_weights
from motes.training.batches import Batches, systematic
from motes.training.checkpoints import BATCHES, WATCH, Keeper, State, interruptible, named, tree_state
from motes.training.optimisers import DivergenceMonitor, rising_and_falling, scale_by_soap, times_the_first, with_inputs
from motes.training.programs import training_program

SNAPSHOT_RATIO = 2  # of the steps of a snapshot to those of the one before


@dataclass(frozen=True)
class Training(Checked):
    """The optimiser, its learning rate, and the moving average of the weights.

    A subclass may have a `make_optimiser` of its own.

    Example:
        >>> from motes.points import Training
        >>> options = Training(steps=2_000, learning_rate=1e-3)
        >>> options.steps, options.batch
        (2000, 512)
    """

    steps: int = number(5000, 1, 10**9)
    batch: int = number(512, 1, 10**7)
    last_batch: Literal["fill", "partial"] = "fill"  # a short last batch: from the next epoch, or left short
    target: Literal["row", "stable"] | None = None  # x_0, or its mean over the batch given x_t; None: suits the loss
    optimiser: Literal["adam", "soap"] = "soap"  # soap: Adam in a basis of its own for each matrix of weights
    learning_rate: float = number(2e-2, 0, 1000, open_low=True)
    decay: Literal["constant", "cosine"] = "cosine"
    warmup: int = number(100, 0, 10**9)  # steps over which the learning rate rises from 0
    clip_norm: float = number(1.0, 0, 1e12, open_low=True)
    ema: float = number(0.998, 0, 1)
    weights: Literal["averaged", "last"] = "averaged"  # the ones that are sampled from
    label_dropout: float = number(0.1, 0, 1)  # how often a row's label is withheld
    validation: float = number(0.0, 0, 0.9)  # share of the rows that says when to stop; 0: all steps are taken
    check_every: int = number(100, 1, 10**9)  # steps from one look at these rows to the next
    patience: int = number(10, 1, 10**9)  # looks without a better loss, after which training stops
    averages: int = number(32, 0, 1000)  # stores of two averages over the run, from which any other is made; 0: none
    snapshots: int = number(5, 0, 64)  # of the weights, each after twice as many steps as the one before; 0: none

    def make_optimiser(self, shapes: Sequence[tuple[int, ...]] = ()) -> optax.GradientTransformation:
        """Make the optimiser of one vector of weights, with the clipping and the learning rate that these options say.

        `equinox.filter_jit` takes its numbers as inputs: other numbers need no other program.

        Args:
            shapes: of the arrays that lie in the vector one after another, for "soap".

        Example:
            >>> from motes.points import Training
            >>> optimiser = Training(learning_rate=1e-3, decay="constant", warmup=0).make_optimiser()
            >>> weights = jnp.zeros(2)
            >>> change, state = optimiser.update(jnp.array([3.0, -4.0]), optimiser.init(weights))
            >>> change.tolist()  # Adam's first step is as long for every weight
            [-0.001, 0.001]
        """
        falls = self.steps - self.warmup if self.decay == "cosine" else np.inf
        make = _soap(tuple(shapes)) if self.optimiser == "soap" else _adam
        return with_inputs(make, self.learning_rate, self.warmup, max(falls, 1), self.clip_norm)

    def stable_target(self, loss: Loss) -> bool:
        """Whether rows regress on the mean of x_0 over their batch: where nothing is said, if that suits the loss.

        Example:
            >>> from motes.points import EDM, Hybrid, Training
            >>> Training().stable_target(EDM()), Training().stable_target(Hybrid())
            (True, False)
        """
        return getattr(loss, "squared", False) if self.target is None else self.target == "stable"

    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps after which a snapshot of the weights is taken: as much happens from each to the next.

        Example:
            >>> from motes.points import Training
            >>> Training(steps=2_000).snapshot_steps()
            (120, 250, 500, 1000, 2000)
        """
        exact = [self.steps / SNAPSHOT_RATIO**k for k in range(1, self.snapshots)]
        rounded = {int(float(f"{step:.2g}")) for step in exact if step >= 1}
        return (*sorted(rounded - {self.steps}), self.steps) if self.snapshots else ()


def _adam(rate: Any, warmup: Any, falls: Any, clip_norm: Any) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.adam(rising_and_falling(rate, warmup, falls)))


@cache  # programs are compared by it
def _soap(shapes: tuple[tuple[int, ...], ...]) -> Callable[..., optax.GradientTransformation]:
    def make(rate: Any, warmup: Any, falls: Any, clip_norm: Any) -> optax.GradientTransformation:
        rates = optax.scale_by_learning_rate(rising_and_falling(rate, warmup, falls))
        return optax.chain(optax.clip_by_global_norm(clip_norm), scale_by_soap(shapes), rates)

    return make


# --- Rows as a learner meets them -----------------------------------------------------------------------------------
#
# The class and the context that it is given with each, and the loss that it has there.
#
# Training and early stopping see rows in this one way, so that their losses can be compared.


LEAST = 512  # rows for which there is room
SHARED = 8  # rows that have units left out together: random numbers cost more than the layers that they thin


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to learn from, and rows to stop by.

    Attributes:
        x: (n, d), in the units that the denoiser works in.
        labels: classes of the rows (n,), for a denoiser that knows classes; -1 where one is not known.
        context: numbers that the rows are conditioned on (n, c), for a denoiser that takes them.
        weights: of the rows (n,), at least 0, not all 0: a row is drawn that often, so that 2 is as good as two such
            rows, and 0 as none; None: 1 each.
        held: rows that are not trained on. The averages of the weights are evaluated by them now and then. The best are
            kept, and training ends before its last step where nothing better is found for long.
        masks: observed masks (m, d), of which each row of a batch takes one, for an `AnyConditional`.

    Example:
        >>> from motes.points import Rows
        >>> x, labels = motes.data.make_labelled_shape("moons", 200)
        >>> rows = Rows(x, labels)
        >>> seen = Rows(x[50:], labels[50:], held=rows[np.arange(50)])
        >>> len(seen.x), len(seen.held.x)
        (150, 50)
    """

    x: NDArray[np.floating]
    labels: NDArray[np.integer] | None = None
    weights: NDArray[np.floating] | None = None
    held: Rows | None = None
    context: NDArray[np.floating] | None = None
    masks: NDArray[np.bool_] | None = None

    def __getitem__(self, some: NDArray[np.int64]) -> Rows:
        """The rows with these numbers."""
        of = lambda part: None if part is None else part[some]
        return Rows(self.x[some], of(self.labels), of(self.weights), context=of(self.context), masks=self.masks)


class OnDevice(NamedTuple):
    """Points, what is known of each, and how often a class is withheld."""

    x: jax.Array  # (n, d)
    labels: jax.Array | None  # (n,)
    context: jax.Array | None  # (n, c)
    masks: jax.Array | None  # (m, d)
    dropout: NDArray[np.floating]  # (), an input of programs

    @classmethod
    def of(cls, rows: Rows, dropout: float) -> OnDevice:
        """Where programs find them, a little longer there: few lengths need few programs."""
        n = len(rows.x)
        step = max(LEAST, 1 << n.bit_length() >> 4)  # at most an eighth more
        more = -n % step

        def put(part: NDArray[Any]) -> jax.Array:
            return jax.device_put(np.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1))))

        # Converted by NumPy, and put there as it is: for anything else JAX compiles a little program first.
        numbers = lambda part: put(np.asarray(part, jnp.result_type(float)))
        context = None if rows.context is None else numbers(rows.context)
        masks = None if rows.masks is None else jax.device_put(np.asarray(rows.masks, jnp.result_type(float)))
        labels = None if rows.labels is None else put(rows.labels)
        return cls(numbers(rows.x), labels, context, masks, np.asarray(dropout, jnp.result_type(float)))

    def losses(
        self,
        denoiser: Denoiser,
        loss: Loss,
        index: jax.Array,
        t: jax.Array,
        eps: jax.Array,
        chances: jax.Array,
        *,
        thin: jax.Array | None = None,
        among: jax.Array | None = None,
    ) -> jax.Array:
        """The loss of each of the rows `index` (b,) at the times t (b,) with the noise eps (b, d): (b,).

        A class is withheld where `chances` (b,), numbers in [0, 1), lie below `dropout`; they pick the masks as well,
        where there are any. The key `thin`, in training, picks the units that are left out, if any are; each member of
        an ensemble is then trained by itself, and the loss is the mean of theirs. Of a batch in which the rows `among`
        (b,) count, each x_0 is estimated by its mean over those that are given the same (`stable_target`); the loss is
        then the mean of the losses of all x_0 that x_t may come from.
        """

        def row(denoiser: Denoiser, known: Given | None, *row: jax.Array) -> jax.Array:
            one = denoiser if known is None else denoiser.given(known)
            return jnp.stack(list(loss(one, *row).values())).sum()

        def of(denoiser: Denoiser, index: jax.Array, among: jax.Array | None, thin: jax.Array | None) -> jax.Array:
            x0, known = self.x[index], self._known(index, chances)
            if among is None:
                return of_targets(denoiser, known, x0, eps, thin)
            schedule = denoiser.schedule

            def target_of(
                index: jax.Array, known: Given | None, t: jax.Array, eps: jax.Array, among: jax.Array
            ) -> Target:
                return stable_target(schedule, self.x[index], t, eps, self._alike(index, known, among))

            target: Target = in_groups(target_of, (index, known, t, eps), among)

            def spread(x0: jax.Array, eps: jax.Array, deviation: jax.Array, t: jax.Array) -> jax.Array:
                missed = eps - schedule.alpha(t) / schedule.sigma(t) * deviation
                return row(Constant(schedule, x0), None, x0 + deviation, t, missed)

            losses = of_targets(denoiser, known, target.x0, target.eps, thin)
            return losses + jax.vmap(spread)(target.x0, target.eps, target.deviation, t)

        def of_targets(
            denoiser: Denoiser, known: Given | None, x0: jax.Array, eps: jax.Array, thin: jax.Array | None
        ) -> jax.Array:
            rows = known, x0, t, eps
            units = droppable(denoiser)
            if thin is None or not units:
                return jax.vmap(partial(row, denoiser))(*rows)
            bits = jax.random.bits(thin, (-(-len(t) // SHARED), units), jnp.uint8)  # a quarter of what floats cost
            of_rows = jnp.repeat(bits, SHARED, axis=0)[: len(t)]
            return jax.vmap(lambda bits, *one: row(thinned(denoiser, bits), *one))(of_rows, *rows)

        if thin is None:
            return of(denoiser, index, among, None)
        alone = each_alone(denoiser)
        keys = jax.random.split(thin, len(alone)) if len(alone) > 1 else [thin]
        # Each member meets the rows at other times and with other noise, or they would learn nearly the same.
        shift = len(t) // len(alone)
        parts = [
            of(one, jnp.roll(index, k * shift), None if among is None else jnp.roll(among, k * shift), key)
            for k, (one, key) in enumerate(zip(alone, keys, strict=True))
        ]
        return jnp.stack(parts).mean(axis=0)

    def _known(self, index: jax.Array, chances: jax.Array) -> Given | None:
        """What the rows `index` (b,) are conditioned on, where they are on anything; `chances` as in `losses`."""
        label = None if self.labels is None else jnp.where(chances < self.dropout, -1, self.labels[index])
        context = None if self.context is None else self.context[index]
        if self.masks is not None:
            mask = self.masks[(chances * len(self.masks)).astype(int)]
            context = jnp.concatenate([self.x[index], mask], axis=1)
        given = Given(label, context)
        return given if jax.tree.leaves(given) else None

    def _alike(self, index: jax.Array, known: Given | None, among: jax.Array) -> jax.Array:
        """Whether row i of a batch, given what is `known`, may have been row j of those `among` it, (b, b)."""
        alike = jnp.broadcast_to(among, (len(index), len(index)))
        if known is not None and known.label is not None:
            assert self.labels is not None  # or none would be known
            label = known.label[:, None]
            alike = alike & ((label == -1) | (label == self.labels[index]))
        if known is not None and known.context is not None:
            alike = alike & (known.context[:, None] == known.context).all(axis=-1)
        return alike | jnp.eye(len(index), dtype=bool)


# --- When to stop: the loss of rows that are held out of the training -----------------------------------------------
#
#     L(weights) = sum_i v_i sum_k loss(x_i, t_ik, eps_ik) / sum_i v_i K
#
# The times, the noise and the withheld labels are the same at every look, so that two losses differ by the weights
# of the network alone: far smaller differences show than the losses are sure to.


LOOK_ROWS = 2048  # rows times draws for a look
BLOCK = 512
MANY, ENOUGH, MOST = 500, 0.05, 2_000  # held-out rows: a share of many rows, within these bounds
APART = 1  # beside the numbers of the key, so that these draws are not those of the training


def with_validation(rows: Rows, share: float, key: jax.Array) -> Rows:
    """Rows of which a share is held out of the training, by weights of 0: the compiled program is that of all rows."""
    unseen = validation_rows(np.asarray(rows.x), share, key)
    weights = np.ones(len(rows.x)) if rows.weights is None else rows.weights.copy()
    weights[unseen] = 0
    return replace(rows, weights=weights, held=rows[unseen])


def validation_rows(x: NDArray[Any], share: float, key: jax.Array) -> NDArray[np.int64]:
    """Numbers of rows of `x` (n, d) to hold out, in their order; equal rows are all among them, or none is."""
    rng, n = np.random.default_rng(np.asarray(jax.random.key_data(key))), len(x)
    most = np.clip(round(ENOUGH * n), MANY, MOST)
    m = int(np.clip(round(share * n), 1, most))
    _, value, copies = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    value, order = value.reshape(-1), rng.permutation(n)
    _, first = np.unique(value[order], return_index=True)
    values = value[order][np.sort(first)]  # in the order in which they come
    before = np.cumsum(copies[values]) - copies[values]
    chosen = values[: min(int((before < m).sum()), max(len(values) - 1, 1))]
    return np.flatnonzero(np.isin(value, chosen))


class HeldOut(NamedTuple):
    """The losses of the averaged weights on held-out rows."""

    steps: NDArray[np.int64]
    """After how many steps each was taken, (k,), from 0 on."""
    losses: NDArray[np.float64]
    """(k,)."""

    @property
    def best(self) -> int:
        """The step after which the loss was least; these weights are the ones that are kept."""
        return int(self.steps[self.losses.argmin()])


class EarlyStopping:
    """Looks at the weights now and then, and remembers the best.

    Args:
        held: the rows.
        denoiser: whose weights they are.
        loss: per row.
        times: their distribution is that of the times.
        key: of the times, the noise and the withheld labels.
        options: how often it looks, its patience, and how often labels are withheld.
    """

    def __init__(
        self,
        held: Rows,
        denoiser: Denoiser,
        loss: Loss,
        times: Times,
        key: jax.Array,
        options: Training,
    ):
        self.every, self._patience = options.check_every, options.patience
        self._steps: list[int] = []
        self._losses: list[float] = []
        self.best: Any = None
        self._since = 0  # the look from which patience counts
        m = len(held.x)
        draws = -(-LOOK_ROWS // m)
        weights = np.ones(m) if held.weights is None else np.asarray(held.weights, np.float64)
        blocks = -(-m * draws // BLOCK)
        pad = blocks * BLOCK - m * draws
        index = np.pad(np.tile(np.arange(m, dtype=np.int32), draws), (0, pad))
        share = np.pad(np.tile(weights / (weights.sum() * draws), draws), (0, pad))
        # By NumPy, since these draws are made once, and a program for them would take far longer to compile.
        rng = np.random.default_rng([*np.asarray(jax.random.key_data(key)), APART])
        count = blocks * BLOCK
        rows = OnDevice.of(held, options.label_dropout)
        # Every part of the range of times in equal measure, in an order that has nothing to do with the rows.
        u = (rng.permutation(count) + rng.random(count)) / count
        eps, chances = rng.standard_normal((count, held.x.shape[1])), rng.random(count)
        in_blocks = lambda part: jax.device_put(part.reshape(blocks, BLOCK, *part.shape[1:]))
        kept = (in_blocks(part.astype(jnp.result_type(float))) for part in (share, u, eps, chances))
        self._loss = partial(_loss, denoiser, loss, times, rows, _Draws(in_blocks(index), *kept))

    def look(self, state: Any, step: int, weights: jax.Array) -> None:
        """Evaluate `weights`; `state` is kept where they are the best so far."""
        value = float(self._loss(weights))
        value = value if np.isfinite(value) else np.inf
        if not self._losses or value < min(self._losses):
            self.best = state
        self._steps.append(step)
        self._losses.append(value)

    @property
    def last(self) -> float:
        """The newest loss."""
        return self._losses[-1]

    @property
    def in_vain(self) -> bool:
        """Whether patience is at its end."""
        return len(self._losses) - max(int(np.argmin(self._losses)), self._since) > self._patience

    @property
    def seen(self) -> HeldOut:
        """All looks so far."""
        return HeldOut(np.array(self._steps, np.int64), np.array(self._losses))

    @property
    def state(self) -> State:
        """All looks so far, and from which one patience counts; `best` is not in it."""
        seen = self.seen
        return State({"steps": seen.steps, "losses": seen.losses}, {"since": self._since})

    def go_on(self, state: State, best: Any, *, anew: bool) -> None:
        """Go on where another watch of the same rows was. `best` was its best state; `anew`: with all the patience."""
        self._steps, self._losses = state.arrays["steps"].tolist(), state.arrays["losses"].tolist()
        self.best, self._since = best, len(self._losses) - 1 if anew else state.numbers["since"]


class _Draws(NamedTuple):
    row: jax.Array  # its number, (blocks, BLOCK)
    share: jax.Array  # of the mean
    u: jax.Array  # what places its time
    eps: jax.Array  # (blocks, BLOCK, d)
    chances: jax.Array  # of withheld labels, (blocks, BLOCK)


@training_program
def _loss(denoiser: Denoiser, loss: Loss, times: Times, rows: OnDevice, draws: _Draws, weights: jax.Array) -> jax.Array:
    """The mean loss, block by block."""
    model = with_weights(denoiser, weights)

    def block(some: _Draws) -> jax.Array:
        t = times.place(denoiser.schedule, some.u)
        return jnp.sum(some.share * rows.losses(model, loss, some.row, t, some.eps, some.chances))

    return jax.lax.map(block, draws).sum()


# --- All that changes while a training goes on, and what is made of it at the end -----------------------------------


class Snapshot(NamedTuple):
    """Both kinds of weights after `step` steps."""

    step: int
    averaged: Denoiser
    last: Denoiser


@dataclass(repr=False)
class Trained:
    """What training leaves: `averaged` holds the moving average of the weights, `last` the weights themselves.

    With held-out rows both are those of the step `held_out.best`, as are the last of `snapshots` and of `averages`.

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


class Weights(NamedTuple):
    """All that a step of training changes."""

    weights: jax.Array  # (p,)
    average: jax.Array  # (p,)
    powers: jax.Array  # (lengths, p), averages with profiles that are powers
    optimiser: optax.OptState
    times: Any  # what they remember
    step: jax.Array


class TrainingState:
    """All that changes while a training goes on, and what is made of it."""

    def __init__(
        self,
        denoiser: Denoiser,
        state: Weights,
        options: Training,
        batches: Batches,
        watch: EarlyStopping | None,
        *,
        lengths: tuple[float, ...],
    ):
        self.denoiser, self.state, self.batches, self.watch, self.lengths = denoiser, state, batches, watch, lengths
        self.steps, self.snapshot_steps = options.steps, options.snapshot_steps()
        self.store_every = -(-options.steps // options.averages) if options.averages else options.steps
        self.done = 0
        self.losses: list[NDArray[np.float32]] = []
        self.snapshots: list[tuple[int, Any, Any]] = []  # step, averaged and last weights
        self.stored: dict[int, NDArray[np.float32]] = {}  # step -> powers
        self._begin = time.perf_counter()
        self._sound = (state, 0, 0)  # state, steps, and parts of the losses

    def begin(self, kept: State | None) -> None:
        """Begin, or go on where a training was whose complete state is `kept`, with the same rows or with others."""
        if kept is not None:
            self._go_on(kept)
            self.mark_sound()
        if self.watch and not (kept is not None and kept.has(WATCH)):
            self.watch.look(self.state, self.done, self.state.average)

    @property
    def goes_on(self) -> bool:
        """Whether steps are left, and patience."""
        return self.done < self.steps and not (self.watch and self.watch.in_vain)

    def next_stop(self, most: int) -> int:
        """The step after which something is to be done; `most` steps from here at the latest."""
        every = [self.store_every, *([self.watch.every] if self.watch else [])]
        shots = [step for step in self.snapshot_steps if step > self.done]
        return min(self.steps, self.done + most, *(_next(self.done, one) for one in every), *shots[:1])

    def took(self, state: Weights, losses: NDArray[np.float32]) -> None:
        """Steps with these losses, (k,), have led to this state."""
        self.state, self.done = state, self.done + len(losses)
        self.losses.append(losses)
        if self.done in self.snapshot_steps:
            self.snapshots.append((self.done, state.average, state.weights))
        if self.lengths and self.done % self.store_every == 0:
            self.stored[self.done] = np.asarray(state.powers)
        if self.watch and (self.done % self.watch.every == 0 or self.done == self.steps):
            self.watch.look(state, self.done, state.average)

    def mark_sound(self) -> None:
        """What was learned so far is good, as far as losses tell."""
        self._sound = (self.state, self.done, len(self.losses))

    def back_to_sound(self) -> None:
        """Forget what came after it was good."""
        self.state, self.done, parts = self._sound
        self.losses = self.losses[:parts]
        self.snapshots = [shot for shot in self.snapshots if shot[0] <= self.done]
        self.stored = {step: powers for step, powers in self.stored.items() if step <= self.done}

    @property
    def joined(self) -> NDArray[np.float32]:
        """The losses of all steps."""
        return np.concatenate(self.losses) if self.losses else np.zeros(0, np.float32)

    @property
    def seconds(self) -> float:
        """Of the training, that of earlier processes included."""
        return time.perf_counter() - self._begin

    def progress(self) -> Progress:
        """Where it stands."""
        unseen = self.watch.last if self.watch else None
        return Progress(self.done, self.steps, _recent_mean(self.losses), unseen, self.seconds)

    def result(self, interrupted: bool = False) -> Trained:
        """What was learned so far."""
        best = self.watch.best if self.watch else self.state
        end = int(best.step)
        until = {step: powers for step, powers in self.stored.items() if step <= end} | {end: np.asarray(best.powers)}
        with_flat = lambda flat: with_weights(self.denoiser, flat)
        return Trained(
            with_flat(best.average),
            with_flat(best.weights),
            self.joined,
            self.seconds,
            interrupted,
            [Snapshot(step, *map(with_flat, both)) for step, *both in self._snapshots_until(best, end)],
            Averages.of(self.lengths, until) if self.lengths and end else None,
            self.watch.seen if self.watch else None,
            self.kept(),
        )

    def _snapshots_until(self, best: Weights, end: int) -> list[tuple[int, Any, Any]]:
        """Those up to the step `end`, of which the last has the weights that are kept."""
        shots = [shot for shot in self.snapshots if shot[0] < end]
        return [*shots, (end, best.average, best.weights)] if end and self.snapshot_steps else shots

    def kept(self) -> State:
        """The complete state."""
        parts = {"state": tree_state(self.state), BATCHES: self.batches.state}
        if self.watch:
            parts |= {WATCH: self.watch.state, "best": tree_state(self.watch.best)}
        shots = {str(step): both for step, *both in self.snapshots}
        arrays = {"losses": self.joined}
        arrays |= {f"snapshots/{step}": np.stack([np.asarray(one) for one in both]) for step, both in shots.items()}
        arrays |= {f"stored/{step}": powers for step, powers in self.stored.items()}
        return named(
            parts | {"course": State(arrays, {"step": self.done, "steps": self.steps, "seconds": self.seconds})}
        )

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


def _next(done: int, every: int) -> int:
    """The next multiple of `every` after `done`."""
    return done + every - done % every


RECENT = 500  # steps whose mean loss is shown


def _recent_mean(losses: list[NDArray[np.float32]]) -> float:
    recent, have = [], 0
    for part in reversed(losses):
        recent.append(part)
        have += len(part)
        if have >= RECENT:
            break
    return float(np.concatenate(recent[::-1])[-RECENT:].mean())


# --- The compiled training loop -------------------------------------------------------------------------------------
#
# One program runs many steps before anything crosses back to Python: it draws times and noise, takes the gradient,
# updates the weights and their moving average, for as many steps as it is requested. Parameters travel as one flat
# vector, so that the optimiser and the average are a handful of operations however many layers there are.


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
    on_progress: OnProgress = silent,
) -> Trained:
    """Train `denoiser` on rows.

    Args:
        denoiser: where to start; every floating-point array in it is trained.
        data: rows (n, d) in the units that the denoiser works in; or `Rows`, with classes, weights or held-out rows.
        key: randomness of batches, times and noise.
        loss: per row, see `motes.points.losses`.
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
        >>> from motes.points import EDM, LogNormalTimes, Preconditioned, ResidualMLP, Training, VarianceExploding
        >>> network = ResidualMLP(dim=2, width=16, depth=1, key=jax.random.key(0))
        >>> trained = motes.points.train(
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
        self.course = TrainingState(denoiser, self._task.start(), options, batches, watch, lengths=lengths)
        self.course.begin(state)
        self.guard = DivergenceMonitor(times_the_first, options.steps, self.course.joined)

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


def _refuse(fault: str | None, course: TrainingState) -> None:
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
