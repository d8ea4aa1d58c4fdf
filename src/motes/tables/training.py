"""Training on tables: options, the loss, the task for the training loop, and the members of the model.

    loss = mean over rows of  p / (p - m) * sum over masked j of -log p(x_j | the first m tokens of an order)

`table_task` makes the task for the loop of `motes.training`. Few rows train several members, each without one fold of
the rows; many rows train one member.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from motes.tables.layout import Layout
from motes.tables.mixture import Base, base_of_pairs, choose_shape, first_gates, fit_base, smoothed_shares
from motes.tables.network import (
    CLOSE,
    SHARED,
    Dropout,
    EncodedRows,
    MaskedModel,
    MaskedNetwork,
    log_frames_of,
    on_axes,
    ordered,
)
from motes.tables.parts import Part as TablePart
from motes.tables.recipe import TableOptions
from motes.training import Trained
from motes.training.averages import weights_of, with_weights
from motes.training.batches import Batches, Stream, systematic
from motes.training.loop import RowsOnDisk, TrainingTask, indices
from motes.training.optimisers import falling, with_inputs
from motes.training.processes import Part
from motes.training.programs import each_member, training_program
from motes.training.validation import Validation

GROUPS = 8  # groups of rows in a step, each with its own order


@dataclass(frozen=True, kw_only=True)
class ChosenOptions(TableOptions):
    """The options of a table, with values for all options that the recipe may leave to the data."""

    width: int
    depth: int
    dropout: float
    steps: int
    batch: int
    weight_decay: float
    check_every: int
    often: bool  # whether the first validations are closer together


class TableRows(NamedTuple):
    """The distinct rows of a table, in the order of their content.

    Attributes:
        rows: (n, p).
        weights: sample weights, (n,), above 0.
        pieces: number of equal parts into which a split can divide each weight, (n,). It is 1 for a row with rare
            values, whose copy on the other side would leak it, and the weight itself for a row that consists only of
            labels and frequent values.
        values: (n, p), whether an entry has a value: it is observed and not missing.
    """

    rows: EncodedRows
    weights: NDArray[np.float64]
    pieces: NDArray[np.int64]
    values: NDArray[np.bool_]

    @property
    def worth(self) -> int:
        """The number of complete rows with the same number of values; copies of a row count once."""
        return round(float(self.pieces @ self.values.mean(axis=1)))


class Split(NamedTuple):
    """Weights of the rows in training and validation.

    Attributes:
        learn: weights of the training rows of each member, (members, n).
        hold: weights of the validation rows of each member, (members, n); (0, n) without validation.
    """

    learn: NDArray[np.float64]
    hold: NDArray[np.float64]


class Plan(NamedTuple):
    """The fixed order of the tokens, and their columns.

    Attributes:
        order: position -> token, the order in which rows are drawn and scored, (p,).
        units: the column of each token, (p,); the tokens of a column stay together, in their order.
    """

    order: Any
    units: Any


# --- The loss of a table, and random draws of a batch ---------------------------------------------------------------
#
# With m uniform on 0 .. p - 1, the equation at the top bounds -log p(x) for a random order (Hoogeboom et al. 2022,
# section 2). Rows of one group share an order, so that the Gaussian mixture is prepared for it once. A share of the
# groups has the fixed order of drawing and scoring; the others have random orders, for arbitrary conditions.


CHUNK = 25  # maximum number of steps per call of the compiled program


def _adamw(rate: Any, warm: Any, falls: Any, decays: Any, clip_norm: Any) -> optax.GradientTransformation:
    """Return AdamW for a vector of weights, each with its own decay."""
    scale = optax.scale_by_adam(b2=0.99), optax.add_decayed_weights(decays)
    return falling(rate, warm, falls, clip_norm, *scale)


class BatchDraws(NamedTuple):
    """Random draws of a chunk of steps, or of one step.

    Attributes:
        orders: orders of the tokens, (CHUNK, members, groups, p).
        prefix: numbers of visible tokens, (CHUNK, members, groups, n).
        bits: random bits for dropout, (CHUNK, members, groups, n / SHARED, units); None: no dropout.
    """

    orders: Any
    prefix: Any
    bits: Any

    @classmethod
    def of(
        cls, plan: Plan, network: MaskedNetwork, options: ChosenOptions, shape: tuple[int, ...], seed: int, begin: int
    ) -> "BatchDraws":
        """Draw for the chunk that begins with step `begin`; `shape` is (CHUNK, members, groups, n)."""
        rng, (_, _, groups, n), p = np.random.default_rng([seed, 271828, begin]), shape, len(plan.units)
        orders = random_orders(plan.units, rng, shape[:-1])
        orders[:, :, : round(options.fixed * groups)] = plan.order
        share = (np.arange(n) + rng.random((*shape[:-1], 1))) / n
        prefix = np.minimum(np.floor(p * share), p - 1).astype(np.int32)
        if not options.dropout:
            return cls(orders, prefix, None)
        blocks = *shape[:-1], -(-n // SHARED), network.units
        return cls(orders, prefix, rng.integers(256, size=blocks, dtype=np.uint8))


def decayed(network: MaskedNetwork) -> MaskedNetwork:
    """Return a tree with True for each array of a network that has weight decay.

    Biases have none, because they store the marginals and the gates.
    """
    biases = lambda network: (network.bias, network.out_bias, network.line_bias, network.link_bias, network.frame_bias)
    every = jax.tree.map(lambda _: True, network)
    return eqx.tree_at(biases, every, jax.tree.map(lambda _: False, biases(network)))


def random_orders(units: NDArray[np.integer], rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Draw orders of the tokens, (*shape, p): columns in random order, with the tokens of a column together."""
    return np.argsort(rng.random((*shape, len(units)))[..., units], axis=-1, kind="stable").astype(np.int32)


def masked_loss(
    model: MaskedModel,
    layout: Layout,
    rows: EncodedRows,
    orders: jax.Array,
    prefix: jax.Array,
    bits: jax.Array | None = None,
    dropout: float = 0.0,
) -> jax.Array:
    """Return the loss of the module's equation.

    Args:
        model: one member.
        layout: the layout of the table.
        rows: (groups, n, p).
        orders: (groups, p).
        prefix: m, (groups, n).
        bits: random bits for dropout, (groups, n / SHARED, units); None: no dropout.
        dropout: dropout rate.
    """
    heads, p = model.network.heads(layout), layout.parts

    def group(rows: EncodedRows, order: jax.Array, prefix: jax.Array, bits: jax.Array | None) -> jax.Array:
        place = jnp.argsort(order)
        before = place < prefix[:, None]
        base, visible = ordered(model.base, order, layout), before & rows.observed
        log_probs = model.log_probs(
            layout, heads, base, rows, visible, None if bits is None else Dropout(dropout, bits)
        )
        weights = (~before & rows.observed) * (p / (p - prefix))[:, None]
        return -jnp.where(weights > 0, log_probs * weights, 0.0).sum(1).mean()

    return jax.vmap(group, (0, 0, 0, None if bits is None else 0))(rows, orders, prefix, bits).mean()


# --- The task for the training loop ---------------------------------------------------------------------------------
#
# Few rows are learned by several members, each without one fold of the rows, which decides when to stop; many rows by
# one member.


PREFIXES = 8  # maximum number of prefixes per validation row
OTHERS = 2  # random orders in which validation rows are scored, in addition to the fixed order
LONGEST = 65_536  # maximum number of rows in an epoch, if the number of distinct rows is smaller
PADDED = 512  # the compiled program has a multiple of this number of rows
WORSE = 3.0  # nats per token: training has diverged if losses stay this far above the first ones
LONGER = 1.4  # training stops at this multiple of the best step, if later weights are significantly worse
SHARES = (1.0, 0.5, 0.25, 0.0)  # candidate shares of the network's change of the lines, if rows are few,
WATCHED = (1.0, 0.25)  # and those of them for which weights are evaluated during training


class TableObjective(NamedTuple):
    """The loss of a network on batches of rows; see `motes.training.loop.Objective`."""

    layout: Layout
    network: MaskedNetwork  # of one member; its weights are replaced
    rows: EncodedRows | None  # None: each batch brings its rows
    members: Base  # mixtures of all members, with a leading axis
    dropout: float

    def loss(
        self, weights: jax.Array, member: Base, rows: Any, draws: BatchDraws, step: jax.Array, part: Part
    ) -> jax.Array:
        """Return the loss of the module's equation, or the share of this part in it; each part has whole groups.

        `rows` are indices, or `EncodedRows`.
        """
        every, index = (rows, jnp.arange(len(rows.codes))) if self.rows is None else (self.rows, rows)
        index = index.reshape(len(draws.orders), -1)  # (groups, n)
        batch = jax.tree.map(lambda part: part[index], every)
        model = MaskedModel(with_weights(self.network, weights), member)
        return masked_loss(model, self.layout, batch, *draws, self.dropout) / part.devices


def table_task(
    models: MaskedModel,
    layout: Layout,
    plan: Plan,
    data: TableRows,
    split: Split,
    options: ChosenOptions,
    seed: int,
    disk: RowsOnDisk | None = None,
) -> TrainingTask[MaskedNetwork]:
    """Return the task for the training loop.

    Args:
        models: initial networks and Gaussian mixtures of all members, with a leading axis.
        layout, plan: the layout of the table and the order of its tokens.
        data: all rows, with their weights.
        split: the training and validation rows of each member.
        options: options of the training.
        seed: seed of all randomness.
        disk: the training rows, if they do not fit into memory; `data` is then a sample.
    """
    networks = models.network
    one = jax.tree.map(lambda part: np.asarray(part)[0], networks)  # NumPy compiles nothing
    rows = None if disk else jax.device_put(_pad(data.rows))
    objective = TableObjective(layout.on_device, one, rows, models.base, options.dropout)
    seeds = [[seed, 161803, member] for member in range(len(split.learn))]
    streams: Sequence[Stream] = [_make_batches(*one, options.batch) for one in zip(split.learn, seeds, strict=True)]
    if disk is not None:
        streams = [disk.batches(options.batch, numbers) for numbers in seeds]
    shape = CHUNK, len(split.learn), GROUPS, options.batch // GROUPS
    chunk = lru_cache(maxsize=1)(lambda begin: BatchDraws.of(plan, networks, options, shape, seed, begin))
    losses, validation = _make_validation(objective, networks, data, split.hold, plan, options, seed)
    first = vectors_of(networks)

    def finish(trained: Trained[MaskedNetwork]) -> Trained[MaskedNetwork]:
        """Choose the share of the network's change of the lines that is best on validation rows."""
        if validation is None or len(split.learn) == 1:
            return trained
        vectors = vectors_of(trained.averaged)
        share = best_share(vectors, networks, layout, lambda some: validation.mean(losses(some)))
        factors, averages = line_factors(networks, layout, share), trained.averages
        if averages is not None:
            weights = moved_by(averages.weights, weights_of(networks), weights_of(factors))
            averages = replace(averages, weights=weights)
        averaged = members_with(trained.averaged, moved_by(vectors, first, vectors_of(factors)))
        return replace(trained, averaged=averaged, averages=averages)

    return TrainingTask(
        objective,
        first,
        partial(members_with, networks),
        _optimiser(networks, options),
        streams,
        options.steps,
        GROUPS,
        options.ema,
        options.averages,
        lambda first: first + WORSE * layout.parts,
        "a smaller table.learning_rate, a smaller table.clip_norm",
        validation=validation,
        ema_warmup=9.0,
        draw=lambda step: jax.tree.map(lambda part: part[step % CHUNK], chunk(step - step % CHUNK)),
        read=disk.read if disk else indices,
        finish=finish,
        chunk=CHUNK,
    )


def vectors_of(networks: MaskedNetwork) -> NDArray[np.float32]:
    """Return the weights (M, p) of networks with a leading axis."""
    parts = map(np.asarray, jax.tree.leaves(networks))  # NumPy compiles nothing
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def members_with(networks: MaskedNetwork, vectors: Any) -> MaskedNetwork:
    """Return networks of the same shapes, with a leading axis, that have the weights (M, p)."""
    leaves, tree = jax.tree.flatten(networks)
    ends = np.cumsum([part.size // len(part) for part in leaves])[:-1]
    parts = np.split(np.asarray(vectors), ends, axis=1)
    return jax.tree.unflatten(tree, [part.reshape(like.shape) for part, like in zip(parts, leaves, strict=True)])


def _optimiser(networks: MaskedNetwork, options: ChosenOptions) -> optax.GradientTransformation:
    """Return the optimiser of the weights of one member, as one vector."""
    warm = min(50, options.steps // 4)
    flags = jax.tree.map(lambda part, yes: np.full(part.size // len(part), yes), networks, decayed(networks))
    decays: Any = options.weight_decay * np.concatenate(jax.tree.leaves(flags))
    return with_inputs(_adamw, options.learning_rate, warm, options.steps - warm, decays, options.clip_norm)


def _pad(rows: EncodedRows) -> EncodedRows:
    """Append unused empty rows, so that similar numbers of rows share a program."""
    more = -len(rows.codes) % PADDED
    return jax.tree.map(lambda part: np.pad(np.asarray(part), ((0, more), *[(0, 0)] * (np.ndim(part) - 1))), rows)


def line_factors(networks: MaskedNetwork, layout: Layout, share: float) -> MaskedNetwork:
    """Return a factor for each weight: the share for the densities and the tokens of lines, otherwise 1.

    Gates and missing entries are learned as labels are.
    """
    full = lambda part: np.ones(np.shape(part), np.float32)
    values = [
        np.zeros(group.free.shape, bool) if group.cells is None else group.cells.shares > 0 for group in layout.groups
    ]
    of_tokens = [np.where(here, np.float32(share), np.float32(1)) for here in values]  # (G, K)
    of_lines = [np.where(here.any(axis=1), np.float32(share), np.float32(1)) for here in values]
    gates = np.arange(networks.line_bias.shape[-1]) == 0
    of_some = lambda some: (some.lines, some.line_bias, some.out_waves, some.out_free, some.out_bias)
    scaled = (
        full(networks.lines) * np.float32(share),
        full(networks.line_bias) * np.where(gates, np.float32(1), np.float32(share)),
        tuple(full(part) * one[:, None, None] for part, one in zip(networks.out_waves, of_lines, strict=True)),
        tuple(
            full(part) * (one[..., None] if part.shape[2] else np.float32(1))
            for part, one in zip(networks.out_free, of_tokens, strict=True)
        ),
        tuple(full(part) * one for part, one in zip(networks.out_bias, of_tokens, strict=True)),
    )
    return eqx.tree_at(of_some, jax.tree.map(full, networks), scaled)


def moved_by(weights: Any, first: Any, factors: Any) -> NDArray[np.float32]:
    """Return weights that differ from the first ones by a factor of their difference, of any shape."""
    weights, first = np.asarray(weights), np.asarray(first)
    return np.where(factors == 1, weights, first + factors * (weights - first))


def best_share(
    vectors: Any, networks: MaskedNetwork, layout: Layout, nats: Callable[[NDArray[np.float32]], float]
) -> float:
    """Return the share of the change of the lines with the best validation likelihood, one of `SHARES`.

    With few rows, the Gaussian mixture alone may be better than what the network adds: on penguins, a quarter of the
    change improved the held-out log-likelihood of the numbers by 0.2 nats per row.

    Args:
        vectors: weights after the training, (M, p).
        networks: the networks before.
        layout: the layout of the table.
        nats: the loss of weights (M, p) on validation rows.
    """
    first = vectors_of(networks)
    each = {share: vectors_of(line_factors(networks, layout, share)) for share in SHARES}
    return min(SHARES, key=lambda share: nats(moved_by(vectors, first, each[share])))


def _make_batches(weights: NDArray[np.float64], seed: Sequence[int], size: int) -> Batches:
    """Return batches of row indices (size,) of a member; in an epoch, each row occurs as often as its weight (n,)."""
    count = min(round(weights.sum()), max(int((weights > 0).sum()), LONGEST))
    return Batches(np.random.default_rng(seed), lambda rng: systematic(rng, weights, count), size)


def _make_validation(
    objective: TableObjective,
    networks: MaskedNetwork,
    data: TableRows,
    hold: NDArray[np.float64],
    plan: Plan,
    options: ChosenOptions,
    seed: int,
) -> tuple[Callable[[Any], NDArray[np.float64]], Validation | None]:
    """Return the losses of held-out rows, in the fixed order and in random ones, and a validation with them.

    Each row is evaluated with several evenly spread prefixes. The validation of several members takes the better of the
    `WATCHED` shares of the change of lines: with few rows, the whole change becomes worse while labels are learned.
    """
    if not len(hold):
        return lambda weights: np.zeros((0, 0)), None
    layout, network, _, bases, _ = objective
    count, most = min(PREFIXES, layout.parts), int((hold > 0).sum(axis=1).max())
    # One program for all members; some rows may have weight 0.
    index = np.argsort(hold == 0, axis=1, kind="stable")[:, :most]
    start = np.random.default_rng([seed, 141421]).random((*index.shape, 1))
    prefix = np.floor(layout.parts * (np.arange(count) + start) / count).astype(np.int32)
    # NumPy selects the rows: JAX would compile a program for each array.
    rows = jax.tree.map(lambda part: np.asarray(part)[index], data.rows)
    held, prefixes = jax.device_put((rows, np.minimum(prefix, layout.parts - 1)))
    shares = np.take_along_axis(hold, index, axis=1)
    others = random_orders(plan.units, np.random.default_rng(OTHERS), (OTHERS,))

    def losses(weights: Any) -> NDArray[np.float64]:
        score = lambda order: _log_probs(layout, network, bases, held, prefixes, order, weights)
        found = lambda order: -np.asarray(score(order), np.float64)
        mean = options.fixed * found(plan.order) if options.fixed else np.zeros((1, 1))
        if options.fixed < 1:
            mean = mean + (1 - options.fixed) * np.mean([found(order) for order in others], axis=0)
        return mean

    shares /= shares.sum(axis=1, keepdims=True)
    watched = WATCHED if len(hold) > 1 and len(layout.lines) else (1.0,)
    untrained = vectors_of(networks)
    factors = [vectors_of(line_factors(networks, layout, share)) for share in watched]

    def best_losses(weights: Any) -> NDArray[np.float64]:
        each = [losses(moved_by(weights, untrained, some)) for some in factors]
        return min(each, key=lambda rows: (shares * rows).sum())

    first = every = options.check_every
    if options.often:
        # A validation takes about half as long as the steps before it, which cost three times as much per row.
        dear = hold.astype(bool).sum() * count * (1 + OTHERS) * len(watched) / (1.5 * options.batch * len(hold))
        first = min(int(np.ceil(dear)), every)
    return losses, Validation(best_losses, shares, every, options.patience, LONGER, first)


@training_program
def _log_probs(
    layout: Layout, network: MaskedNetwork, bases: Base, rows: EncodedRows, prefixes: Any, order: Any, weights: Any
) -> jax.Array:
    """Return log p (members, n) of the validation rows, estimated from the tokens after their `prefixes`.

    `rows` are (members, n, p), and `prefixes` are the numbers of visible tokens in r evaluations, (members, n, r).
    """

    def member(weights: jax.Array, base: Base, rows: EncodedRows, prefixes: jax.Array) -> jax.Array:
        model, place = MaskedModel(with_weights(network, weights), base), jnp.argsort(order)
        heads, prepared = model.network.heads(layout), ordered(base, order, layout)

        def one(prefix: jax.Array) -> jax.Array:
            visible = (place < prefix[:, None]) & rows.observed
            found = model.log_probs(layout, heads, prepared, rows, visible)
            return jnp.where((place == prefix[:, None]) & rows.observed, found, 0.0).sum(1)

        return jax.lax.map(one, prefixes.T).mean(0) * layout.parts

    return each_member(member)(weights, bases, rows, prefixes)


# --- Members: splits, orders, initial networks and options ----------------------------------------------------------


Integers = NDArray[np.integer]
T = TypeVar("T")

FEW = 2000  # rows below which several small members learn, each without one fold; see `options_of`
FOLDS = 5
SHARE = 0.05  # share of many rows that is held out,
LEAST, MOST = 250, 2000  # within these bounds
WHOLE = 20  # minimum number of rows without a missing number, to fit the mixture and the gates to them
BLIND = 0.02  # initial gates if fewer rows are available
ENTRIES = 24_576  # approximate number of entries per step, if there are many rows: limits the time of a step
BATCH = 128, 512  # bounds of the number of rows per step then
EPOCHS = 64  # passes over few rows,
BRIEF = 200, 1200  # within these bounds of the number of steps,
EACH = 7  # passes over many rows for each part with a density,
FEWEST = 5  # for at least this many,
STEPS = 1200, 5000  # within these bounds of the number of steps,
SLIM = 48  # up to this number of parts


def members_of(data: TableRows) -> int:
    """Return the number of members that suits these rows."""
    return FOLDS if data.worth < FEW and data.pieces.sum() >= 2 * FOLDS else 1


def held_out(data: TableRows, members: int, seed: int, *, on_disk: bool = False) -> Split:
    """Split the rows into training and validation rows for each member.

    Args:
        data: the rows.
        members: number of members; each of several learns without one fold of the rows, at most a fifth.
        seed: seed of the split.
        on_disk: whether training reads its rows from disk, where no validation row is: then all members have the same.
    """
    n, total = len(data.weights), int(data.pieces.sum())
    if total < 2 * max(members, FOLDS):
        return Split(np.tile(data.weights, (members, 1)), np.zeros((0, n)))
    share = min(max(SHARE, LEAST / total), MOST / total)
    separate = 1 if on_disk else members
    folds = max(separate if separate > 1 else round(1 / share), FOLDS)
    rng, left, hold = np.random.default_rng([seed, 173205]), data.pieces.copy(), []
    for fold in range(separate):
        drawn = rng.multivariate_hypergeometric(left, (total - fold + folds - 1) // folds, method="count")
        left -= drawn
        hold.append(data.weights * drawn / data.pieces)
    held = np.repeat(np.stack(hold), members // separate, axis=0)
    return Split(data.weights - held, np.where(np.cumsum(held > 0, axis=1) <= MOST, held, 0.0))


def order_of(
    entropies: NDArray[np.float64], units: Integers, follows: Mapping[int, Sequence[int]] | None = None
) -> NDArray[np.int32]:
    """Return the order in which rows are drawn, (p,): columns of low entropy first, tokens of a column together.

    Args:
        entropies: entropies of the tokens, (p,).
        units: the column of each token, (p,).
        follows: column -> columns from which it follows; these come before it, unless they follow from it as well.
    """
    of_unit = np.bincount(units, entropies)
    rank: dict[int, int] = {}

    def put(unit: int, waiting: frozenset[int]) -> None:
        for before in (follows or {}).get(unit, ()):
            if before not in rank and before not in waiting:
                put(before, waiting | {unit})
        rank.setdefault(unit, len(rank))

    for unit in np.argsort(of_unit, kind="stable"):
        put(int(unit), frozenset())
    place = np.array([rank[unit] for unit in range(len(of_unit))])
    return np.lexsort((np.arange(len(units)), place[units])).astype(np.int32)


def first_members(
    data: TableRows, layout: Layout, options: ChosenOptions, seed: int, start: MaskedModel | None, *, on_disk: bool
) -> tuple[MaskedModel, Split]:
    """Return the initial members, from a start or new, and the split of the rows.

    New networks do not change the Gaussian mixtures yet.
    """
    if start is not None:
        return start, held_out(data, len(start.base.means), seed, on_disk=on_disk)
    members = options.members or (1 if on_disk else members_of(data))
    split = held_out(data, members, seed, on_disk=on_disk)
    bases = _fit_mixtures(data, layout, options.components, split, seed)
    outputs = 1 + 3 * (bases[0].means.shape[0] + options.own + layout.near * len(CLOSE))
    make = lambda key: MaskedNetwork(layout, options.width, options.depth, outputs, key=key)
    keys = [jax.random.fold_in(jax.random.key(seed), member) for member in range(len(split.learn))]
    networks = _smooth_shares(stacked(map(make, keys)), bases, layout, round(data.weights.sum()))
    looked = split.hold if len(split.hold) else split.learn
    networks = _initialise_gates(networks, bases, layout, data, looked)
    return MaskedModel(networks, stacked(bases)), split


def _fit_mixtures(data: TableRows, layout: Layout, most: int, split: Split, seed: int) -> list[Base]:
    """Fit the Gaussian mixture of each member, with at most `most` components; it may have no axes."""
    rows = data.rows
    y, lines = _project(rows, layout), len(layout.lines)
    observed = layout.known(np.asarray(rows.codes), np.asarray(rows.observed))[:, layout.axes]
    whole = np.all(observed[:, :lines], axis=1)
    count = int(data.pieces[whole].sum())
    if count < WHOLE or not len(layout.axes):
        return [base_of_pairs(y, observed, learn) for learn in split.learn]
    folds = held_out(data, FOLDS, seed).hold[:, whole]
    shape = choose_shape(y[whole], data.weights[whole], layout.label_axes, folds, most, seed)
    shape = shape._replace(components=max(1, min(shape.components, count // WHOLE)))
    return [fit_base(y[whole], learn[whole], layout.label_axes, shape, seed) for learn in split.learn]


def _project(rows: EncodedRows, layout: Layout) -> NDArray[np.float64]:
    """Return the rows on the axes of the Gaussian mixture, (n, A); unknown labels are at the average."""
    y = np.asarray(on_axes(layout, rows.y, rows.codes), np.float32).astype(np.float64)
    known = rows.observed[:, layout.axes] | (np.arange(y.shape[1]) < len(layout.lines))
    return np.where(known, y, 0.0)


def stacked(members: Iterable[T]) -> T:
    """Stack members along a leading axis, with NumPy: JAX would compile a program for each shape."""
    return jax.tree.map(lambda *parts: jax.device_put(np.stack([np.asarray(part) for part in parts])), *members)


def _smooth_shares(networks: MaskedNetwork, bases: list[Base], layout: Layout, rows: int) -> MaskedNetwork:
    """Set the initial biases of the tokens of lines to their smoothed shares; see `smoothed_shares`."""
    biases = [np.array(bias) for bias in networks.out_bias]
    for member, base in enumerate(bases):
        smoothed = smoothed_shares(base, layout.cells, rows)
        for bias, group in zip(biases, layout.groups, strict=True):
            for i, j in enumerate(group.parts):
                if (line := layout.line_place[j]) >= 0:
                    shares, here = layout.cells[line].shares, layout.cells[line].shares > 0
                    bias[member, i, here] = np.log(smoothed[line][here] / shares[here])
    return eqx.tree_at(lambda networks: networks.out_bias, networks, jax.device_put(tuple(biases)))


def _initialise_gates(
    networks: MaskedNetwork, bases: list[Base], layout: Layout, data: TableRows, looked: NDArray[np.float64]
) -> MaskedNetwork:
    """Set the initial weights of experts to maximise the likelihood of `looked`, or of all rows if these are few."""
    lines, rows = layout.lines, data.rows
    if not len(lines):
        return networks
    known = layout.known(np.asarray(rows.codes), np.asarray(rows.observed))
    whole, places = known[:, lines].all(axis=1), _project(rows, layout)
    biases, of_frames = [], []
    for base, weights in zip(bases, looked, strict=True):
        weights = weights if data.pieces[whole & (weights > 0)].sum() >= WHOLE else data.weights
        some = np.flatnonzero(whole & (weights > 0))[:MOST]
        low, high, inner = (np.asarray(part[some][:, lines], np.float64) for part in (rows.low, rows.high, rows.inner))
        even = layout.log_masses[lines, rows.codes[some][:, lines]] + inner
        if data.pieces[some].sum() >= WHOLE:
            frames = log_frames_of(layout, jax.tree.map(lambda part, some=some: part[some], rows))
            codes = np.asarray(rows.codes)[some][:, lines]
            odds, more = first_gates(base, places[some], low, high, codes, layout.cells, even, frames, weights[some])
        else:
            odds, more = np.full(len(lines), np.log(BLIND / (1 - BLIND))), np.full((len(lines), 0), 0.0)
        biases.append(odds)
        of_frames.append(more)
    first, cells = np.array(networks.line_bias), np.array(networks.frame_bias)
    first[:, :, 0] = np.stack(biases)
    own = layout.line_references < cells.shape[1]
    for member, more in enumerate(of_frames):
        cells[member, layout.line_references[own], : more.shape[1], 0] = more[own]
    return eqx.tree_at(
        lambda networks: (networks.line_bias, networks.frame_bias), networks, jax.device_put((first, cells))
    )


def options_of(table: TableOptions, n: int, parts: Sequence[TablePart]) -> ChosenOptions:
    """Return the section [table] of a recipe with omitted options chosen for n complete rows of some parts.

    The learning rate falls to 0 within the steps that it takes to learn the rows: on 3,000 customers, the best of 1,200
    steps was the 100th, 0.36 nats worse than the end of 300 steps. Densities take longer than labels: with a rate that
    falls more slowly, held-out rows are most likely after 31 passes on Adult (6 densities), 60 on Magic (10), and 49 to
    98 on Default (13). A table with many parts has fewer steps, since each takes longer.
    """
    size = float(np.clip(np.log2(max(n, 1) / FEW), 0, 1))  # 0 for few rows, 1 from twice as many on
    batch = table.batch or int(np.clip(n // 2, 32, 256) if n < FEW else np.clip(ENTRIES / len(parts), *BATCH))
    densities = max(sum(part.has_density for part in parts), FEWEST)
    few_steps = np.clip(EPOCHS * n / batch, *BRIEF)
    many_steps = max(min(EACH * densities * n / batch, STEPS[1] * min(SLIM / len(parts), 1.0)), STEPS[0])
    suits = {
        "width": 128 + 16 * round(4 * size),
        "depth": 1 + round(size),
        "dropout": 0.25 - 0.15 * size,
        "steps": int(few_steps ** (1 - size) * many_steps**size),
        "weight_decay": 0.1**size,
        "check_every": round(25 * 4**size),
    }
    given = {key: value for key, value in vars(table).items() if value is not None}
    often = table.check_every is None
    return ChosenOptions(**suits | given | {"batch": max(batch // GROUPS, 1) * GROUPS, "often": often})
