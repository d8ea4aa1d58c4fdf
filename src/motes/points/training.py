"""The training of points: options, rows and their losses, validation, and what the training loop is given.

    minimise over the weights    E loss(denoiser, x_0, t, eps),    x_0 a row, t ~ times, eps ~ N(0, I)

`PointObjective` is what `motes.training.loop` minimises: `OnDevice.losses` gives the loss of each row of a batch, and
`train` carries it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
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
from motes.points.times import Times
from motes.progress import OnProgress, silent
from motes.ranges import Checked, number
from motes.training.averages import shapes_of, weights_of, with_weights
from motes.training.batches import Batches, systematic
from motes.training.checkpoints import Checkpointer, Session
from motes.training.loop import Trained, TrainingTask, Validation, Weights
from motes.training.loop import train as carry_out
from motes.training.optimisers import falling, scale_by_soap, times_the_first, with_inputs
from motes.training.programs import each_member, training_program

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

    steps: int = number(6000, 1, 10**9)
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
        make = _optimiser(tuple(shapes) if self.optimiser == "soap" else None)
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


@cache  # programs are compared by it
def _optimiser(shapes: tuple[tuple[int, ...], ...] | None) -> Callable[..., optax.GradientTransformation]:
    """SOAP of arrays of these shapes; None: Adam."""
    return lambda *numbers: falling(*numbers, optax.scale_by_adam() if shapes is None else scale_by_soap(shapes))


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
        where there are any. The key `thin`, in training, picks the units that are left out, if any are. Of a batch in
        which the rows `among` (b,) count, each x_0 is estimated by its mean over those that are given the same
        (`stable_target`); the loss is then the mean of the losses of all x_0 that x_t may come from.
        """

        def row(denoiser: Denoiser, known: Given | None, *row: jax.Array) -> jax.Array:
            one = denoiser if known is None else denoiser.given(known)
            return jnp.stack(list(loss(one, *row).values())).sum()

        def of_targets(x0: jax.Array, eps: jax.Array) -> jax.Array:
            rows = known, x0, t, eps
            units = droppable(denoiser)
            if thin is None or not units:
                return jax.vmap(partial(row, denoiser))(*rows)
            bits = jax.random.bits(thin, (-(-len(t) // SHARED), units), jnp.uint8)  # a quarter of what floats cost
            of_rows = jnp.repeat(bits, SHARED, axis=0)[: len(t)]
            return jax.vmap(lambda bits, *one: row(thinned(denoiser, bits), *one))(of_rows, *rows)

        known, schedule = self._known(index, chances), denoiser.schedule
        if among is None:
            return of_targets(self.x[index], eps)

        def target_of(index: jax.Array, known: Given | None, t: jax.Array, eps: jax.Array, among: jax.Array) -> Target:
            return stable_target(schedule, self.x[index], t, eps, self._alike(index, known, among))

        target: Target = in_groups(target_of, (index, known, t, eps), among)

        def spread(x0: jax.Array, eps: jax.Array, deviation: jax.Array, t: jax.Array) -> jax.Array:
            missed = eps - schedule.alpha(t) / schedule.sigma(t) * deviation
            return row(Constant(schedule, x0), None, x0 + deviation, t, missed)

        losses = of_targets(target.x0, target.eps)
        return losses + jax.vmap(spread)(target.x0, target.eps, target.deviation, t)

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


class _Draws(NamedTuple):
    row: jax.Array  # its number, (blocks, BLOCK)
    u: jax.Array  # what places its time
    eps: jax.Array  # (blocks, BLOCK, d)
    chances: jax.Array  # of withheld labels, (blocks, BLOCK)


def _validation(held: Rows, objective: PointObjective, options: Training) -> Validation:
    """The validation by held-out rows, each with some times and noise that stay the same."""
    m = len(held.x)
    draws = -(-LOOK_ROWS // m)
    weights = np.ones(m) if held.weights is None else np.asarray(held.weights, np.float64)
    blocks = -(-m * draws // BLOCK)
    count = blocks * BLOCK
    pad = count - m * draws
    index = np.pad(np.tile(np.arange(m, dtype=np.int32), draws), (0, pad))
    shares = np.pad(np.tile(weights / (weights.sum() * draws), draws), (0, pad))
    # By NumPy, since these draws are made once, and a program for them would take far longer to compile.
    rng = np.random.default_rng([*objective.members[0], APART])
    # Every part of the range of times in equal measure, in an order that has nothing to do with the rows.
    u = (rng.permutation(count) + rng.random(count)) / count
    eps, chances = rng.standard_normal((count, held.x.shape[1])), rng.random(count)
    in_blocks = lambda part: jax.device_put(part.reshape(blocks, BLOCK, *part.shape[1:]))
    numbers = (in_blocks(part.astype(jnp.result_type(float))) for part in (u, eps, chances))
    unseen, drawn = (
        objective._replace(rows=OnDevice.of(held, options.label_dropout)),
        _Draws(in_blocks(index), *numbers),
    )

    def losses(weights: Any) -> NDArray[np.float64]:
        return np.asarray(_losses(unseen, drawn, weights), np.float64).reshape(-1, count)

    members = len(objective.members)
    return Validation(losses, np.tile(shares, (members, 1)), options.check_every, options.patience)


@training_program
def _losses(objective: PointObjective, draws: _Draws, weights: ArrayLike) -> jax.Array:
    """The loss of each draw for each member, block by block, (M, blocks, BLOCK)."""

    def member(weights: jax.Array) -> jax.Array:
        model = with_weights(objective.denoiser, weights)

        def block(some: _Draws) -> jax.Array:
            t = objective.times.place(model.schedule, some.u)
            return objective.rows.losses(model, objective.row_loss, some.row, t, some.eps, some.chances)

        return jax.lax.map(block, draws)

    return each_member(member)(weights)


# --- What the training loop is given --------------------------------------------------------------------------------


class PointObjective(NamedTuple):
    """The loss of a denoiser on batches of rows; see `motes.training.loop.Objective`."""

    denoiser: Denoiser  # of one member, whose weights are given
    row_loss: Loss
    times: Times
    rows: OnDevice
    members: NDArray[np.uint32]  # the numbers of a key for each
    stable: bool  # the target of a row is its mean over the batch

    def loss(
        self, weights: jax.Array, member: jax.Array, rows: jax.Array, draws: None, state: Weights
    ) -> tuple[jax.Array, Any]:
        """The mean loss of the rows that are not -1, and what the times remember."""
        model, index, counts = with_weights(self.denoiser, weights), jnp.maximum(rows, 0), rows >= 0
        key = jax.random.wrap_key_data(member)
        time_key, noise_key, label_key, thin_key = jax.random.split(jax.random.fold_in(key, state.step), 4)
        drawn = self.times.batch(self.denoiser.schedule, time_key, len(index), state.memory)
        eps = jax.random.normal(noise_key, (len(index), self.rows.x.shape[1]))  # (batch, d)
        chances = jax.random.uniform(label_key, (len(index),))  # of withheld labels
        among = counts if self.stable else None
        per_row = self.rows.losses(model, self.row_loss, index, drawn.t, eps, chances, thin=thin_key, among=among)
        seen = self.times.learn(state.memory, drawn, per_row, counts)
        weighted = per_row if drawn.weight is None else drawn.weight * per_row
        return jnp.mean(weighted, where=counts), seen


def point_task(
    denoiser: Denoiser,
    data: NDArray[np.floating] | Rows,
    *,
    key: jax.Array,
    loss: Loss,
    times: Times,
    options: Training = Training(),
) -> TrainingTask[Denoiser]:
    """What `train`, with these arguments, gives the training loop.

    Raises:
        UsageError: a share of rows for validation, where no rows are held out.
    """
    rows = data if isinstance(data, Rows) else Rows(data)
    if options.validation and rows.held is None:
        raise UsageError(
            f"options.validation = {options.validation:g}, and no rows are held out. Give them, Rows(x, held=...), "
            "or leave validation at 0."
        )
    alone = each_alone(denoiser)
    keys = np.asarray(jax.random.key_data(key))[None]
    if len(alone) > 1:
        keys = np.asarray(jax.random.key_data(jax.random.split(key, len(alone))))
    on_device = OnDevice.of(rows, options.label_dropout)
    objective = PointObjective(alone[0], loss, times, on_device, keys, options.stable_target(loss))
    return TrainingTask(
        objective,
        np.stack([weights_of(one) for one in alone]),
        lambda weights: with_weights(denoiser, np.ravel(weights)),  # those of an ensemble lie one after another
        options.make_optimiser(shapes_of(alone[0])),
        [_batches(np.random.default_rng(numbers), rows, options) for numbers in keys],
        options.steps,
        options.ema,
        options.averages,
        times_the_first,
        "a smaller learning rate, a smaller clip_norm, standardised data",
        validation=None if rows.held is None else _validation(rows.held, objective, options),
        memory=times.init(),
        snapshots=options.snapshot_steps(),
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


def train(
    denoiser: Denoiser,
    data: NDArray[np.floating] | Rows,
    *,
    key: jax.Array,
    loss: Loss,
    times: Times,
    options: Training = Training(),
    keeper: Checkpointer | None = None,
    on_progress: OnProgress = silent,
) -> Trained[Denoiser]:
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
        on_progress: called before the first step, and then a few times a second.

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
    task = point_task(denoiser, data, key=key, loss=loss, times=times, options=options)
    return carry_out(task, Session(keeper, on_progress))
