"""Training on points: options, rows and their losses, validation, and the task for the training loop.

    minimise over the weights    E loss(denoiser, x_0, t, eps),    x_0 a row, t ~ times, eps ~ N(0, I)

`PointObjective` is what `motes.training.loop` minimises: `OnDevice.losses` gives the loss of each row of a batch, and
`train` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import UsageError
from motes.points.denoisers import Denoiser, Given
from motes.points.losses import Constant, Loss, Target, in_groups, stable_target
from motes.points.networks import droppable, each_alone, thinned
from motes.points.schedule_checks import check_schedule
from motes.points.times import Times
from motes.progress import OnProgress, silent
from motes.ranges import Checked, number
from motes.training import averages, batches, checkpoints, loop, optimisers, programs
from motes.training.processes import Part
from motes.training.validation import Validation

SNAPSHOT_RATIO = 2  # ratio of the steps of consecutive snapshots


@dataclass(frozen=True)
class Training(Checked):
    """Training options: the optimiser, its learning rate, and the moving average of the weights.

    A subclass can override `make_optimiser`.

    Example:
        >>> from motes.points import Training
        >>> options = Training(steps=2_000, learning_rate=1e-3)
        >>> options.steps, options.batch
        (2000, 512)
    """

    steps: int = number(6000, 1, 10**9)
    batch: int = number(512, 1, 10**7)
    last_batch: Literal["fill", "partial"] = "fill"  # fill a short last batch from the next epoch, or keep it short
    target: Literal["row", "stable"] | None = None  # x_0, or its mean over the batch given x_t; None: by loss
    optimiser: Literal["adam", "soap"] = "soap"  # soap: Adam in an eigenbasis for each weight matrix
    learning_rate: float = number(2e-2, 0, 1000, open_low=True)
    decay: Literal["constant", "cosine"] = "cosine"
    warmup: int = number(100, 0, 10**9)  # steps over which the learning rate rises from 0
    clip_norm: float = number(1.0, 0, 1e12, open_low=True)
    ema: float = number(0.998, 0, 1)
    weights: Literal["averaged", "last"] = "averaged"  # used for sampling
    label_dropout: float = number(0.1, 0, 1)  # probability of hiding a row's label
    validation: float = number(0.0, 0, 0.9)  # share of the rows that decides when to stop; 0: take all steps
    check_every: int = number(100, 1, 10**9)  # steps between two validations
    patience: int = number(10, 1, 10**9)  # validations without improvement, after which training stops
    averages: int = number(32, 0, 1000)  # number of stored snapshots of two averages; 0: none
    snapshots: int = number(5, 0, 64)  # of the weights, each after twice as many steps; 0: none

    def make_optimiser(self, shapes: Sequence[tuple[int, ...]] = ()) -> optax.GradientTransformation:
        """Return the optimiser of a vector of weights, with the gradient clipping and learning rate of these options.

        `equinox.filter_jit` treats its numbers as inputs, so other numbers do not need another program.

        Args:
            shapes: shapes of the arrays that the vector concatenates, for "soap".

        Example:
            >>> from motes.points import Training
            >>> optimiser = Training(learning_rate=1e-3, decay="constant", warmup=0).make_optimiser()
            >>> weights = jnp.zeros(2)
            >>> change, state = optimiser.update(jnp.array([3.0, -4.0]), optimiser.init(weights))
            >>> change.tolist()  # Adam's first step is as long for every weight
            [-0.001, 0.001]
        """
        falls = self.steps - self.warmup if self.decay == "cosine" else np.inf
        make = _optimiser(tuple(shapes) if self.optimiser == "soap" else None)
        return optimisers.with_inputs(make, self.learning_rate, self.warmup, max(falls, 1), self.clip_norm)

    def stable_target(self, loss: Loss) -> bool:
        """Return whether the target is the mean of x_0 over the batch: by default, if the loss is a squared error.

        Example:
            >>> from motes.points import EDM, Training
            >>> from motes.points.variance import Hybrid
            >>> Training().stable_target(EDM()), Training().stable_target(Hybrid())
            (True, False)
        """
        return getattr(loss, "squared", False) if self.target is None else self.target == "stable"

    def snapshot_steps(self) -> tuple[int, ...]:
        """Return the steps after which a snapshot of the weights is taken: their number doubles each time.

        Example:
            >>> from motes.points import Training
            >>> Training(steps=2_000).snapshot_steps()
            (120, 250, 500, 1000, 2000)
        """
        exact = [self.steps / SNAPSHOT_RATIO**k for k in range(1, self.snapshots)]
        rounded = {int(float(f"{step:.2g}")) for step in exact if step >= 1}
        return (*sorted(rounded - {self.steps}), self.steps) if self.snapshots else ()


@cache  # programs are compared by this function
def _optimiser(shapes: tuple[tuple[int, ...], ...] | None) -> Callable[..., optax.GradientTransformation]:
    """Return SOAP for arrays of these shapes, or Adam for None."""
    scale = optax.scale_by_adam() if shapes is None else optimisers.scale_by_soap(shapes)
    return lambda *numbers: optimisers.falling(*numbers, scale)


# --- Training rows and their losses ---------------------------------------------------------------------------------
#
# Training and early stopping use the same code, so that their losses are comparable.


LEAST = 512  # rows are padded to a multiple of at least this
SHARED = 8  # rows that share a dropout mask: random numbers cost more than the layers that they mask


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows, and held-out rows for early stopping.

    Attributes:
        x: (n, d), in the units of the denoiser.
        labels: classes of the rows (n,), for a denoiser with classes; -1 for an unknown class.
        context: numbers that the rows are conditioned on (n, c), for a denoiser with given numbers.
        weights: sample weights (n,), at least 0 and not all 0: a weight of 2 counts as two such rows, 0 as none;
            None: 1 each.
        held: held-out rows. The averaged weights are validated on them at intervals, the best ones are kept, and
            training stops early if they no longer improve.
        masks: observed masks (m, d), for an `AnyConditional`; each row of a batch gets one of them.

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
        """Return the rows with these indices."""
        take = lambda part: None if part is None else part[some]
        return Rows(self.x[some], take(self.labels), take(self.weights), context=take(self.context), masks=self.masks)


class OnDevice(NamedTuple):
    """Rows on the device, and the probability of hiding a class."""

    x: Any  # (n, d); None if each batch brings its rows
    labels: jax.Array | None  # (n,)
    context: jax.Array | None  # (n, c)
    masks: jax.Array | None = None  # (m, d)
    dropout: Any = None  # (), an input of the programs

    @classmethod
    def of(cls, rows: Rows, dropout: float) -> OnDevice:
        """Put rows on the device, padded so that similar numbers of rows share a program."""
        n, number = len(rows.x), jnp.result_type(float)
        more = -n % max(LEAST, 1 << n.bit_length() >> 4)  # pads by at most an eighth

        def put(part: NDArray[Any] | None, kind: Any = number, more: int = more) -> Any:
            if part is None:
                return None
            # Converted by NumPy: for any other conversion, JAX would compile a small program.
            return jax.device_put(np.pad(np.asarray(part, kind), ((0, more), *[(0, 0)] * (part.ndim - 1))))

        masks = put(rows.masks, more=0)
        return cls(put(rows.x), put(rows.labels, None), put(rows.context), masks, np.asarray(dropout, number))

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
        part: Part = Part(),
    ) -> jax.Array:
        """Return the loss (b,) of each of the rows `index` (b,) at the times t (b,) with the noise eps (b, d).

        A class is hidden if its number of `chances` (b,), in [0, 1), is below `dropout`; these numbers also select the
        masks, if there are any. In training, the key `thin` selects the units for dropout. With `among` (b,), the rows
        of the batch that count, the target is the mean of x_0 over those rows with the same class and context
        (`stable_target`); the loss is then the mean of the losses of all x_0 that x_t may come from. All arguments are
        those of the whole batch; if devices share it, only the losses of the rows in this `part` are returned.
        """

        known, schedule = self._known(index, chances), denoiser.schedule
        bits = None
        if thin is not None and (units := droppable(denoiser)):
            shared = jax.random.bits(thin, (-(-len(t) // SHARED), units), jnp.uint8)  # a quarter of the cost of floats
            bits = part.own(jnp.repeat(shared, SHARED, axis=0)[: len(t)])

        def total(denoiser: Denoiser, *row: jax.Array) -> jax.Array:
            return jnp.stack(list(loss(denoiser, *row).values())).sum()

        @jax.vmap
        def row_loss(bits: Any, known: Given | None, *row: jax.Array) -> jax.Array:
            one = denoiser if bits is None else thinned(denoiser, bits)
            return total(one if known is None else one.given(known), *row)

        # E|x0_hat - x_0|^2 = |x0_hat - mean|^2 + E|mean - x_0|^2. `row_loss` has the first term, which has a gradient;
        # the second is the loss of a denoiser that returns the mean, at an x_0 that is one standard deviation away in
        # each column, with the noise that leads from there to the same x_t.
        @jax.vmap
        def spread_loss(x0: jax.Array, t: jax.Array, eps: jax.Array, deviation: jax.Array) -> jax.Array:
            missed = eps - schedule.alpha(t) / schedule.sigma(t) * deviation
            return total(Constant(schedule, x0), x0 + deviation, t, missed)

        def target(index: jax.Array, known: Given | None, t: jax.Array, eps: jax.Array, among: jax.Array) -> Target:
            return stable_target(schedule, self.x[index], t, eps, self._matches(index, known, among))

        if among is None:
            return row_loss(bits, *part.own((known, self.x[index], t, eps)))
        x0, eps, deviation = in_groups(target, (index, known, t, eps), among, part)
        known, t = part.own((known, t))
        return row_loss(bits, known, x0, t, eps) + spread_loss(x0, t, eps, deviation)

    def _known(self, index: jax.Array, chances: jax.Array) -> Given | None:
        """Return the classes and context of the rows `index` (b,), or None; see `losses` for `chances`."""
        label = None if self.labels is None else jnp.where(chances < self.dropout, -1, self.labels[index])
        context = None if self.context is None else self.context[index]
        if self.masks is not None:
            mask = self.masks[(chances * len(self.masks)).astype(int)]
            context = jnp.concatenate([self.x[index], mask], axis=1)
        given = Given(label, context)
        return given if jax.tree.leaves(given) else None

    def _matches(self, index: jax.Array, known: Given | None, among: jax.Array) -> jax.Array:
        """Return whether row j of `among` matches what is `known` of row i, (b, b); a hidden class matches any."""
        alike = jnp.broadcast_to(among, (len(index), len(index)))
        if known is not None and known.label is not None:
            assert self.labels is not None  # otherwise no label is known
            label = known.label[:, None]
            alike = alike & ((label == -1) | (label == self.labels[index]))
        if known is not None and known.context is not None:
            alike = alike & (known.context[:, None] == known.context).all(axis=-1)
        return alike | jnp.eye(len(index), dtype=bool)


# --- Early stopping: the loss of held-out rows ----------------------------------------------------------------------
#
#     L(weights) = sum_i v_i sum_k loss(x_i, t_ik, eps_ik) / sum_i v_i K
#
# The times, the noise and the hidden labels are the same at every validation, so that two losses differ only by the
# weights of the network. Their difference is far more precise than either loss.


LOOK_ROWS = 2048  # minimum of rows times draws of a validation
MANY, ENOUGH, MOST = 500, 0.05, 2_000  # held-out rows: this share of many rows, within these bounds
APART = 1  # added to the key, so that these draws differ from the draws of training


def with_validation(rows: Rows, share: float, key: jax.Array) -> Rows:
    """Hold a share of the rows out of training by weights of 0, so that the compiled program stays the same.

    Equal points stay together, and at least one of two distinct points is learned.
    """
    rng, n = np.random.default_rng(np.asarray(jax.random.key_data(key))), len(rows.x)
    m = int(np.clip(round(share * n), 1, np.clip(round(ENOUGH * n), MANY, MOST)))
    _, value = np.unique(rows.x, axis=0, return_inverse=True)
    place = rng.permutation(value.max() + 1)[value.reshape(-1)]  # distinct points in random order
    held = np.flatnonzero(place <= min(np.sort(place)[m - 1], max(place.max() - 1, 0)))
    weights = np.ones(n) if rows.weights is None else rows.weights.copy()
    weights[held] = 0
    return replace(rows, weights=weights, held=rows[held])


def _make_validation(held: Rows, objective: PointObjective, options: Training) -> Validation:
    """Return the validation on held-out rows, each with fixed times and noise."""
    m = len(held.x)
    draws = -(-LOOK_ROWS // m)
    count = -(-m * draws // LEAST) * LEAST  # so that similar numbers of rows share a program
    padded = lambda part: np.pad(np.tile(part, draws), (0, count - m * draws))
    weights = np.ones(m) if held.weights is None else np.asarray(held.weights, np.float64)
    # By NumPy: these draws are made once, and compiling a program for them would take far longer.
    rng = np.random.default_rng([*objective.members[0], APART])
    # Stratified over the range of times, in an order independent of the rows.
    u = (rng.permutation(count) + rng.random(count)) / count
    numbers = [u, rng.standard_normal((count, held.x.shape[1])), rng.random(count)]
    numbers = [part.astype(jnp.result_type(float)) for part in numbers]
    drawn = jax.device_put((padded(np.arange(m, dtype=np.int32)), *numbers))
    held_objective = objective._replace(rows=OnDevice.of(held, options.label_dropout))

    def losses(weights: Any) -> NDArray[np.float64]:
        return np.asarray(_validation_losses(held_objective, drawn, weights), np.float64)

    shares = np.tile(padded(weights / (weights.sum() * draws)), (len(objective.members), 1))
    return Validation(losses, shares, options.check_every, options.patience)


@programs.training_program
def _validation_losses(objective: PointObjective, draws: tuple[jax.Array, ...], weights: ArrayLike) -> jax.Array:
    """Return the loss of each draw, (row, u of its time, noise, chance of its label), for each member, (M, count)."""
    index, u, eps, chances = draws

    def member(weights: jax.Array) -> jax.Array:
        model = averages.with_weights(objective.denoiser, weights)
        t = objective.times.place(model.schedule, u)
        return objective.rows.losses(model, objective.row_loss, index, t, eps, chances)

    return programs.each_member(member)(weights)


# --- The task for the training loop ---------------------------------------------------------------------------------


NUMBERS = 2**22  # maximum size of the rows, or of their indices, in a call of the compiled program


class PointObjective(NamedTuple):
    """The loss of a denoiser on batches of rows; see `motes.training.loop.Objective`."""

    denoiser: Denoiser  # of one member; its weights are replaced
    row_loss: Loss
    times: Times
    rows: OnDevice
    members: NDArray[np.uint32]  # the data of a random key for each
    stable: bool  # whether the target is the mean of x_0 over the batch

    def loss(
        self, weights: jax.Array, member: jax.Array, rows: Any, draws: None, step: jax.Array, part: Part
    ) -> jax.Array:
        """Return the mean loss of the rows, or the share of this part in it.

        `rows` are indices, where -1 is no row, or the rows themselves. Times, noise and targets depend on the
        whole batch, so that they do not depend on the number of devices.
        """
        every, rows = self.rows, part.gather(rows)
        if every.x is None:
            every, rows = rows._replace(masks=every.masks, dropout=every.dropout), jnp.arange(len(rows.x))
        model, index, counts = averages.with_weights(self.denoiser, weights), jnp.maximum(rows, 0), rows >= 0
        key = jax.random.wrap_key_data(member)
        time_key, noise_key, label_key, thin_key = jax.random.split(jax.random.fold_in(key, step), 4)
        t = self.times(self.denoiser.schedule, time_key, len(index))
        eps = jax.random.normal(noise_key, (len(index), every.x.shape[1]))  # (batch, d)
        chances = jax.random.uniform(label_key, (len(index),))  # for hiding labels
        among = counts if self.stable else None
        per_row = every.losses(model, self.row_loss, index, t, eps, chances, thin=thin_key, among=among, part=part)
        return jnp.sum(per_row, where=part.own(counts)) / counts.sum()


def point_task(
    denoiser: Denoiser,
    rows: Rows,
    *,
    key: jax.Array,
    loss: Loss,
    times: Times,
    options: Training,
    disk: loop.RowsOnDisk | None = None,
) -> loop.TrainingTask[Denoiser]:
    """Return the task that `train` passes to the training loop for these arguments.

    `disk` has the training rows, if they do not fit into memory; `rows` are then a sample.

    Raises:
        UsageError: `options.validation` above 0 without held-out rows.
    """
    if options.validation and rows.held is None:
        raise UsageError(
            f"options.validation = {options.validation:g}, but there are no held-out rows. Pass them as "
            "Rows(x, held=...), or set validation to 0."
        )
    alone = each_alone(denoiser)
    own = key if len(alone) == 1 else jax.random.split(key, len(alone))
    keys = np.asarray(jax.random.key_data(own)).reshape(len(alone), -1)
    on_device = OnDevice.of(rows, options.label_dropout)
    streams: Sequence[batches.Stream] = [
        _make_batches(np.random.default_rng(numbers), rows, options) for numbers in keys
    ]
    numbers_per_row = 1
    if disk is not None:
        if options.last_batch == "partial":
            raise UsageError("training.last_batch = 'partial' needs rows in memory. Set training.last_batch = 'fill'.")
        on_device = on_device._replace(x=None, labels=None, context=None)
        streams = [disk.batches(options.batch, numbers.tolist()) for numbers in keys]
        numbers_per_row = rows.x.shape[1]
    objective = PointObjective(alone[0], loss, times, on_device, keys, options.stable_target(loss))
    return loop.TrainingTask(
        objective,
        np.stack([averages.weights_of(one) for one in alone]),
        lambda weights: averages.with_weights(denoiser, np.ravel(weights)),  # members of an ensemble are concatenated
        options.make_optimiser(averages.shapes_of(alone[0])),
        streams,
        options.steps,
        options.batch,
        options.ema,
        options.averages,
        optimisers.times_the_first,
        "a smaller learning rate, a smaller clip_norm, standardised data",
        validation=None if rows.held is None else _make_validation(rows.held, objective, options),
        snapshots=options.snapshot_steps(),
        read=disk.read if disk else loop.indices,
        chunk=int(np.clip(NUMBERS // (options.batch * numbers_per_row), 1, loop.CHUNK)),
    )


def _make_batches(rng: np.random.Generator, data: Rows, options: Training) -> batches.Batches:
    """Return batches of row indices, epoch by epoch; -1 marks the empty positions of a partial batch."""
    n, batch, weights = len(data.x), options.batch, data.weights

    def epoch(rng: np.random.Generator) -> NDArray[np.integer]:
        rows = rng.permutation(n) if weights is None else batches.systematic(rng, weights)
        if options.last_batch == "partial":
            rows = np.pad(rows, (0, -len(rows) % batch), constant_values=-1)
            # Positions in a batch are strata of the times, so the empty ones must not all be at the end.
            rows[-batch:] = rng.permutation(rows[-batch:])
        return rows

    return batches.Batches(rng, epoch, batch)


def train(
    denoiser: Denoiser,
    data: NDArray[np.floating] | Rows,
    *,
    key: jax.Array,
    loss: Loss,
    times: Times,
    options: Training = Training(),
    keeper: checkpoints.Checkpointer | None = None,
    on_progress: OnProgress = silent,
) -> loop.Trained[Denoiser]:
    """Train `denoiser` on rows.

    Args:
        denoiser: the denoiser to start from; all its floating-point arrays are trained.
        data: rows (n, d) in the units of the denoiser; or `Rows`, with classes, weights or held-out rows.
        key: random key of batches, times and noise.
        loss: loss per row, see `motes.points.losses`.
        times: draws the times of a batch.
        options: the section [training] of a recipe: steps, batch, learning rate, moving average and so on. A subclass
            can override `make_optimiser` to use another Optax transformation. `weights` has no effect here: `motes.fit`
            uses it to choose between `averaged` and `last`, and this function returns both.
        keeper: saves the complete state at intervals and at the end, and may have a state to continue from, of a
            training with the same arguments except `options.steps`. With other steps, patience starts again.
        on_progress: called before the first step, and then a few times per second.

    Ctrl-C stops after the current steps and returns what was learned, with `interrupted` set; a second Ctrl-C raises
    KeyboardInterrupt immediately.

    Raises:
        UsageError: `options.validation` above 0 without held-out rows.
        ValueError: an invalid schedule of the denoiser, such as one whose log-SNR rises.
        TrainingError: the training diverged; its `result` has the last good weights.
        ModelFileError: the keeper's state belongs to another training.

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
    check_schedule(denoiser.schedule)
    rows = data if isinstance(data, Rows) else Rows(data)
    task = point_task(denoiser, rows, key=key, loss=loss, times=times, options=options)
    return loop.train(task, checkpoints.FitSession(keeper, on_progress))
