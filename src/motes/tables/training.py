"""The training of tables: options, the loss, what the training loop is given, and the members it leaves.

    loss = mean over rows of  p / (p - m) * sum over hidden j of -log p(x_j | the first m parts of an order)

`table_task` is what the loop of `motes.training` is given. Few rows train several members, each without one fold of the
rows; many rows train one.
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
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.tables.base import Base, base_of_pairs, choose_shape, first_gates, fit_base
from motes.tables.layout import Layout
from motes.tables.network import CLOSE, SHARED, EncodedRows, MaskedModel, MaskedNetwork, on_axes, ordered
from motes.tables.recipe import TableOptions
from motes.training import Trained
from motes.training.averages import ravelled, with_weights
from motes.training.batches import Batches, systematic
from motes.training.loop import TrainingTask, Validation, Weights
from motes.training.optimisers import falling, with_inputs
from motes.training.programs import each_member, training_program

GROUPS = 8  # of the rows of a step, each with an order of its own


@dataclass(frozen=True, kw_only=True)
class ChosenOptions(TableOptions):
    """The options of a table, with a value for each of those that may be left to the data."""

    width: int
    depth: int
    dropout: float
    steps: int
    batch: int
    weight_decay: float
    check_every: int
    often: bool  # whether validations are closer at first


class TableRows(NamedTuple):
    """The distinct rows of a table, in the order of their content.

    Attributes:
        rows: (n, p).
        weights: how many rows each stands for, (n,), above 0.
        pieces: into how many equal parts a split can divide the weight of each, (n,). It is 1 where a copy on the other
            side would give the row away, and the weight itself for a row of labels and of numbers that come often:
            there are only so many different rows of these.
        values: (n, p), where an entry has a value: it is observed, and not as a missing one.
    """

    rows: EncodedRows
    weights: NDArray[np.float64]
    pieces: NDArray[np.int64]
    values: NDArray[np.bool_]

    @property
    def worth(self) -> int:
        """How many complete rows have as many entries with a value, where copies of a row count once."""
        return round(float(self.pieces @ self.values.mean(axis=1)))


class Split(NamedTuple):
    """How much each row counts, and for what.

    Attributes:
        learn: for what each member learns from, (members, n).
        hold: for what says when it stops, (members, n); (0, n) where nothing says so.
    """

    learn: NDArray[np.float64]
    hold: NDArray[np.float64]


class Plan(NamedTuple):
    """What of a table no gradient changes.

    Attributes:
        order: place -> part, in which rows are drawn and scored, (p,).
        units: the column of each part, (p,): parts of one column stay together, in their order.
    """

    order: Any
    units: Any


# --- The loss of a table, and what is random in its batches ---------------------------------------------------------
#
# The equation at the top: with m uniform on 0 .. p - 1 it is a bound on -log p(x) for a random order (Hoogeboom et al.
# 2022, section 2). Rows of one group share an order, so that the base is brought into it once. A share of the groups
# has the order in which rows are drawn and scored; the others have random ones, for questions with any columns known.


CHUNK = 25  # steps of one call of the compiled program, at most


def _adamw(rate: Any, warm: Any, falls: Any, decays: Any, clip_norm: Any) -> optax.GradientTransformation:
    """Of one vector of weights, each with a decay of its own."""
    scale = optax.scale_by_adam(b2=0.99), optax.add_decayed_weights(decays)
    return falling(rate, warm, falls, clip_norm, *scale)


class Draws(NamedTuple):
    """What is random in a chunk of steps, or in one of them.

    Attributes:
        orders: of the parts, (CHUNK, members, groups, p).
        prefix: how many parts are visible, (CHUNK, members, groups, n).
        bits: by which units are left out, (CHUNK, members, groups, n / SHARED, units); None: none are.
    """

    orders: Any
    prefix: Any
    bits: Any

    @classmethod
    def of(
        cls, plan: Plan, network: MaskedNetwork, options: ChosenOptions, shape: tuple[int, ...], seed: int, begin: int
    ) -> "Draws":
        """Of the chunk that begins with step `begin`, whose rows have the `shape` (CHUNK, members, groups, n)."""
        rng, (_, _, groups, n), p = np.random.default_rng([seed, 271828, begin]), shape, len(plan.units)
        orders = random_orders(plan.units, rng, shape[:-1])
        orders[:, :, : round(options.fixed * groups)] = plan.order
        share = (np.arange(n) + rng.random((*shape[:-1], 1))) / n
        prefix = np.minimum(np.floor(p * share), p - 1).astype(np.int32)
        if not network.dropout:
            return cls(orders, prefix, None)
        blocks = *shape[:-1], -(-n // SHARED), network.units
        return cls(orders, prefix, rng.integers(256, size=blocks, dtype=np.uint8))


def decayed(network: MaskedNetwork) -> MaskedNetwork:
    """True for each array of a network that decays.

    A bias that did would forget the marginals and the gates. Weights of single codes would forget which labels never
    come together.
    """
    kept = lambda network: (
        network.bias, network.out_bias, network.line_bias, network.link_bias, network.embed, network.out_free,
    )  # fmt: skip
    every = jax.tree.map(lambda _: True, network)
    return eqx.tree_at(kept, every, jax.tree.map(lambda _: False, kept(network)))


def random_orders(units: NDArray[np.integer], rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Orders of the parts (*shape, p) in which the columns come at random and their parts together."""
    return np.argsort(rng.random((*shape, len(units)))[..., units], axis=-1, kind="stable").astype(np.int32)


def masked_loss(
    model: MaskedModel, layout: Layout, rows: EncodedRows, orders: jax.Array, prefix: jax.Array, bits: jax.Array | None
) -> jax.Array:
    """The loss of the module's equation.

    Args:
        model: one member.
        layout: of the table.
        rows: (groups, n, p).
        orders: (groups, p).
        prefix: m, (groups, n).
        bits: by which units of the network are left out, (groups, n / SHARED, units).
    """
    heads, p = model.network.heads(layout), layout.parts

    def group(rows: EncodedRows, order: jax.Array, prefix: jax.Array, bits: jax.Array | None) -> jax.Array:
        place = jnp.argsort(order)
        before = place < prefix[:, None]
        log_probs = model.log_probs(
            layout, heads, ordered(model.base, order, layout), rows, before & rows.observed, bits
        )
        weights = (~before & rows.observed) * (p / (p - prefix))[:, None]
        return -jnp.where(weights > 0, log_probs * weights, 0.0).sum(1).mean()

    return jax.vmap(group, (0, 0, 0, None if bits is None else 0))(rows, orders, prefix, bits).mean()


# --- What the training loop is given --------------------------------------------------------------------------------
#
# Few rows are learned by several members, each without one fold of the rows, which says when it stops; many rows by
# one.


PREFIXES = 8  # of a validation row, at most, that each check looks at
OTHERS = 2  # orders beside that of drawing, in which validation rows are looked at
LONGEST = 65_536  # rows between two orders, at most, where fewer rows than that count for more
PADDED = 512  # of which the number of rows is a multiple, in the compiled program
WORSE = 3.0  # nats a part: losses that stay so far above the first ones are those of a training that diverged
LONGER = 1.3  # times the step of the best weights, at which training ends once weights are surely worse
SHARES = (1.0, 0.5, 0.25, 0.0)  # of what the network moves the normals of the base by, where rows are few


class _HeldOut(NamedTuple):
    """The validation rows of all members.

    Attributes:
        rows: (members, n, p).
        prefix: how many parts are visible at each look, (members, n, r).
    """

    rows: EncodedRows
    prefix: Any


class TableObjective(NamedTuple):
    """The loss of a network on batches of rows; see `motes.training.loop.Objective`."""

    layout: Layout
    network: MaskedNetwork  # of one member, whose weights are given
    rows: EncodedRows
    members: Base  # of all members, with a leading axis

    def loss(
        self, weights: jax.Array, member: Base, rows: jax.Array, draws: Draws, state: Weights
    ) -> tuple[jax.Array, None]:
        """The loss of the module's equation."""
        index = rows.reshape(len(draws.orders), -1)  # (groups, n)
        batch = jax.tree.map(lambda part: part[index], self.rows)
        model = MaskedModel(with_weights(self.network, weights), member)
        return masked_loss(model, self.layout, batch, *draws), None


def table_task(
    models: MaskedModel,
    layout: Layout,
    plan: Plan,
    data: TableRows,
    split: Split,
    options: ChosenOptions,
    seed: int,
) -> TrainingTask[MaskedNetwork]:
    """What is given to the training loop.

    Args:
        models: of all members, with a leading axis: networks to begin with, and their bases.
        layout, plan: of the table.
        data: all rows, and how much each counts.
        split: the rows of each member.
        options: of the training.
        seed: of everything random.
    """
    networks = models.network
    one = jax.tree.map(lambda part: np.asarray(part)[0], networks)  # NumPy compiles nothing
    objective = TableObjective(layout.on_device, one, jax.device_put(_padded(data.rows)), models.base)
    shape = CHUNK, len(split.learn), GROUPS, options.batch // GROUPS
    chunk = lru_cache(maxsize=1)(lambda begin: Draws.of(plan, networks, options, shape, seed, begin))
    validation = _validation(objective, data, split.hold, plan, options, seed)

    def finish(trained: Trained[MaskedNetwork]) -> Trained[MaskedNetwork]:
        return trained if validation is None or len(split.learn) == 1 else _with_best_share(trained, validation)

    return TrainingTask(
        objective,
        vectors_of(networks),
        partial(members_with, networks),
        _optimiser(networks, options),
        _batches(split.learn, options.batch, seed),
        options.steps,
        options.ema,
        options.averages,
        lambda first: first + WORSE * layout.parts,
        "a smaller table.learning_rate, a smaller table.clip_norm",
        validation=validation,
        ema_warmup=9.0,
        draw=lambda step: jax.tree.map(lambda part: part[step % CHUNK], chunk(step - step % CHUNK)),
        finish=finish,
        chunk=CHUNK,
    )


def vectors_of(networks: MaskedNetwork) -> NDArray[np.float32]:
    """The weights (M, p) of members with a leading axis."""
    parts = map(np.asarray, jax.tree.leaves(networks))  # NumPy compiles nothing
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def members_with(networks: MaskedNetwork, vectors: Any) -> MaskedNetwork:
    """Members of the same shapes, with a leading axis, that have the weights (M, p)."""
    leaves, tree = jax.tree.flatten(networks)
    ends = np.cumsum([part.size // len(part) for part in leaves])[:-1]
    parts = np.split(np.asarray(vectors), ends, axis=1)
    return jax.tree.unflatten(tree, [part.reshape(like.shape) for part, like in zip(parts, leaves, strict=True)])


def _optimiser(networks: MaskedNetwork, options: ChosenOptions) -> optax.GradientTransformation:
    """Of the weights of one member, as one vector."""
    warm = min(50, options.steps // 4)
    flags = jax.tree.map(lambda part, yes: np.full(part.size // len(part), yes), networks, decayed(networks))
    decays: Any = options.weight_decay * np.concatenate(jax.tree.leaves(flags))
    return with_inputs(_adamw, options.learning_rate, warm, options.steps - warm, decays, options.clip_norm)


def _padded(rows: EncodedRows) -> EncodedRows:
    """The rows with empty ones behind them that nobody asks for, so that some more or fewer need no other program."""
    more = -len(rows.codes) % PADDED
    return jax.tree.map(lambda part: np.pad(np.asarray(part), ((0, more), *[(0, 0)] * (np.ndim(part) - 1))), rows)


def moved_by(networks: MaskedNetwork, share: float) -> MaskedNetwork:
    """Networks that move the normals of the base by a share of what they say."""
    if share == 1:
        return networks
    gates = np.arange(networks.line_bias.shape[-1]) == 0
    lines, bias = np.asarray(networks.lines), np.asarray(networks.line_bias)  # NumPy compiles nothing
    moves = lines * np.asarray(share, lines.dtype), bias * np.where(gates, 1.0, share).astype(bias.dtype)
    return eqx.tree_at(lambda networks: (networks.lines, networks.line_bias), networks, moves)


def _with_best_share(trained: Trained[MaskedNetwork], validation: Validation) -> Trained[MaskedNetwork]:
    """What was learned, with networks that move the normals of the base by the share that suits validation rows."""
    share = best_share(trained.averaged, lambda some: validation.mean(validation.losses(vectors_of(some))))
    averages = trained.averages
    if averages is not None:
        ones = jax.tree.map(lambda part: np.ones(part.shape, part.dtype), trained.averaged)
        averages = replace(averages, weights=averages.weights * ravelled(moved_by(ones, share)))
    return replace(trained, averaged=moved_by(trained.averaged, share), averages=averages)


def best_share(networks: MaskedNetwork, nats: Callable[[MaskedNetwork], float]) -> float:
    """How much of what networks move the normals of the base by makes validation rows likeliest, one of `SHARES`.

    Where rows are few, the base alone may be better than what is learned on top of it: of penguins, the numbers of
    unseen rows were likelier by 0.2 nats a row with a quarter of it.
    """
    return min(SHARES, key=lambda share: nats(moved_by(networks, share)))


def _batches(learn: NDArray[np.float64], size: int, seed: int) -> list[Batches]:
    """Rows (size,) of one step after another of each member: each as often as it counts before all come again."""

    def one(weights: NDArray[np.float64], rng: np.random.Generator) -> Batches:
        count = min(round(weights.sum()), max(int((weights > 0).sum()), LONGEST))
        return Batches(rng, lambda rng: systematic(rng, weights, count), size)

    return [one(weights, np.random.default_rng([seed, 161803, member])) for member, weights in enumerate(learn)]


def _validation(
    objective: TableObjective,
    data: TableRows,
    hold: NDArray[np.float64],
    plan: Plan,
    options: ChosenOptions,
    seed: int,
) -> Validation | None:
    """The validation by held-out rows, in the order of drawing and in others, as often as in training.

    Each row is looked at with some prefixes visible, evenly spread.
    """
    if not len(hold):
        return None
    layout, network, _, bases = objective
    count, most = min(PREFIXES, layout.parts), int((hold > 0).sum(axis=1).max())
    index = np.argsort(hold == 0, axis=1, kind="stable")[:, :most]  # one program for all: some rows may have no share
    start = np.random.default_rng([seed, 141421]).random((*index.shape, 1))
    prefix = np.floor(layout.parts * (np.arange(count) + start) / count).astype(np.int32)
    # NumPy takes the rows: JAX would compile a program for each part of them.
    rows = jax.tree.map(lambda part: np.asarray(part)[index], data.rows)
    held = jax.device_put(_HeldOut(rows, np.minimum(prefix, layout.parts - 1)))
    shares = np.take_along_axis(hold, index, axis=1)
    others = random_orders(plan.units, np.random.default_rng(OTHERS), (OTHERS,))

    def losses(weights: Any) -> NDArray[np.float64]:
        found = lambda order: -np.asarray(_log_probs(layout, network, bases, held, order, weights), np.float64)
        mean = options.fixed * found(plan.order) if options.fixed else np.zeros((1, 1))
        if options.fixed < 1:
            mean = mean + (1 - options.fixed) * np.mean([found(order) for order in others], axis=0)
        return mean

    shares /= shares.sum(axis=1, keepdims=True)
    first = every = options.check_every
    if options.often:  # so that one takes about half as long as the steps before it, which are three times as dear
        dear = hold.astype(bool).sum() * count * (1 + OTHERS) / (1.5 * options.batch * len(hold))
        first = min(int(np.ceil(dear)), every)
    return Validation(losses, shares, every, options.patience, LONGER, first)


@training_program
def _log_probs(
    layout: Layout, network: MaskedNetwork, bases: Base, held: _HeldOut, order: jax.Array, weights: ArrayLike
) -> jax.Array:
    """log p (members, n) of the validation rows, by the parts after their prefixes."""

    def member(weights: jax.Array, base: Base, held: _HeldOut) -> jax.Array:
        model, place = MaskedModel(with_weights(network, weights), base), jnp.argsort(order)
        heads, prepared = model.network.heads(layout), ordered(base, order, layout)

        def one(prefix: jax.Array) -> jax.Array:
            visible = (place < prefix[:, None]) & held.rows.observed
            found = model.log_probs(layout, heads, prepared, held.rows, visible)
            return jnp.where((place == prefix[:, None]) & held.rows.observed, found, 0.0).sum(1)

        return jax.lax.map(one, held.prefix.T).mean(0) * layout.parts

    return each_member(member)(weights, bases, held)


# --- From encoded rows to the members of a trained model ------------------------------------------------------------


Integers = NDArray[np.integer]
T = TypeVar("T")

FEW = 2000  # rows, below which several members learn, each without one fold
SMALL = 12_000  # rows, below which a larger network would learn them by heart
FOLDS = 5
SHARE = 0.05  # of many rows, that are left out,
LEAST, MOST = 250, 2000  # and so many at least and at most
WHOLE = 20  # the base and the gates are fitted to rows without a missing number, if there are so many
BLIND = 0.02  # the gates where fewer rows can say how good the base is
ENTRIES = 24_576  # of a step of many rows, about; a step of a wide table would take seconds otherwise
BATCH = 128, 512  # rows of it, at least and at most
EPOCHS = 64  # in which rows are learned,
BRIEF = 200, 1200  # in so many steps at least and at most if the table is small,
STEPS = 1200, 2500  # and otherwise,
SLIM = 12  # with up to so many parts


def members_of(data: TableRows) -> int:
    """How many members learn these rows."""
    return FOLDS if data.worth < FEW and data.pieces.sum() >= 2 * FOLDS else 1


def held_out(data: TableRows, members: int, seed: int) -> Split:
    """Decide what each member learns from, and what says when it stops.

    Args:
        data: the rows.
        members: how many; each of several is without one fold of the rows.
        seed: of the split.
    """
    n, total = len(data.weights), int(data.pieces.sum())
    if total < 2 * FOLDS:
        return Split(np.tile(data.weights, (members, 1)), np.zeros((0, n)))
    folds = members if members > 1 else round(1 / min(max(SHARE, LEAST / total), MOST / total))
    rng, left, hold = np.random.default_rng([seed, 173205]), data.pieces.copy(), []
    for fold in range(members):
        drawn = rng.multivariate_hypergeometric(left, (total - fold + folds - 1) // folds, method="count")
        left -= drawn
        hold.append(data.weights * drawn / data.pieces)
    held = np.stack(hold)
    return Split(data.weights - held, np.where(np.cumsum(held > 0, axis=1) <= MOST, held, 0.0))


def order_of(
    entropies: NDArray[np.float64], units: Integers, follows: Mapping[int, Sequence[int]] | None = None
) -> NDArray[np.int32]:
    """The order in which rows are drawn: columns of little entropy first, the parts of one together; (p,).

    Args:
        entropies: of the parts, (p,).
        units: the column of each part, (p,).
        follows: column -> columns from which it follows: these come before it, unless they follow from it as well.
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
    data: TableRows, layout: Layout, options: ChosenOptions, seed: int, start: MaskedModel | None
) -> tuple[MaskedModel, Split]:
    """The members that a training begins with, and the rows of each: those of a start, or new ones.

    The networks of new ones change nothing of their bases yet.
    """
    if start is not None:
        return start, held_out(data, len(start.base.means), seed)
    split = held_out(data, members_of(data), seed)
    bases = _bases(data, layout, options.components, split, seed)
    outputs = 1 + 3 * (bases[0].means.shape[0] + options.own + layout.near * len(CLOSE))
    make = lambda key: MaskedNetwork(layout, options.width, options.depth, outputs, options.dropout, key=key)
    keys = [jax.random.fold_in(jax.random.key(seed), member) for member in range(len(split.learn))]
    networks = _gated(stacked(map(make, keys)), bases, layout, data, split.hold if len(split.hold) else split.learn)
    return MaskedModel(networks, stacked(bases)), split


def _bases(data: TableRows, layout: Layout, most: int, split: Split, seed: int) -> list[Base]:
    """The base of each member, of at most so many components."""
    rows = data.rows
    y, lines = _places(rows, layout), len(layout.lines)
    observed = layout.known(np.asarray(rows.codes), np.asarray(rows.observed))[:, layout.axes]
    whole = np.all(observed[:, :lines], axis=1)
    count = int(data.pieces[whole].sum())
    if count < WHOLE:
        return [base_of_pairs(y, observed, learn) for learn in split.learn]
    shape = choose_shape(y[whole], data.weights[whole], lines, split.hold[:, whole], most, seed)
    shape = shape._replace(components=max(1, min(shape.components, count // WHOLE)))
    return [fit_base(y[whole], learn[whole], lines, shape, seed) for learn in split.learn]


def _places(rows: EncodedRows, layout: Layout) -> NDArray[np.float64]:
    """Places on the axes of the base, (n, A); of a label that is not known the average."""
    y = np.asarray(on_axes(layout, rows.y, rows.codes), np.float32).astype(np.float64)
    known = rows.observed[:, layout.axes] | (np.arange(y.shape[1]) < len(layout.lines))
    return np.where(known, y, 0.0)


def stacked(members: Iterable[T]) -> T:
    """Members as one, with a leading axis. NumPy does it: JAX would compile a program for each shape of an array."""
    return jax.tree.map(lambda *parts: jax.device_put(np.stack([np.asarray(part) for part in parts])), *members)


def _gated(
    networks: MaskedNetwork, bases: list[Base], layout: Layout, data: TableRows, looked: NDArray[np.float64]
) -> MaskedNetwork:
    """Networks whose gates begin where rows are likeliest: those that each member looks at, or all if these are few."""
    lines, rows = layout.lines, data.rows
    if not len(lines):
        return networks
    known = layout.known(np.asarray(rows.codes), np.asarray(rows.observed))
    whole, places = known[:, lines].all(axis=1), _places(rows, layout)
    biases = []
    for base, weights in zip(bases, looked, strict=True):
        weights = weights if data.pieces[whole & (weights > 0)].sum() >= WHOLE else data.weights
        some = np.flatnonzero(whole & (weights > 0))[:MOST]
        low, high, inner = (np.asarray(part[some][:, lines], np.float64) for part in (rows.low, rows.high, rows.inner))
        even = layout.log_masses[lines, rows.codes[some][:, lines]] + inner
        if data.pieces[some].sum() >= WHOLE:
            gates = first_gates(base, places[some], low, high, even, weights[some])
        else:
            gates = np.full(len(lines), BLIND)
        biases.append(np.log(gates / (1 - gates)))
    first = np.array(networks.line_bias)
    first[:, :, 0] = np.stack(biases)
    return eqx.tree_at(lambda networks: networks.line_bias, networks, jax.device_put(first))


def options_of(table: TableOptions, n: int, parts: int) -> ChosenOptions:
    """A recipe's section [table] with what it leaves open chosen for n complete rows.

    A step of a table of many parts takes longer, so there are fewer of them. Of a small table the rate falls to nothing
    within as many epochs as it takes to learn it: 3,000 customers were best learned after 100 steps of 1,200, by 0.36
    nats less than at the end of 300.
    """
    small = n < SMALL
    batch = table.batch or int(np.clip(n // 2, 32, 256) if n < FEW else np.clip(ENTRIES / parts, *BATCH))
    suits = {
        "width": 128 if small else 192,
        "depth": 1 if small else 2,
        "dropout": 0.25 if small else 0.1,
        "steps": _steps(EPOCHS * n / batch, parts, small=small),
        "weight_decay": 1.0 if small else 0.1,
        "check_every": 25 if small else 100,
    }
    given = {key: value for key, value in vars(table).items() if value is not None}
    often = table.check_every is None
    return ChosenOptions(**suits | given | {"batch": max(batch // GROUPS, 1) * GROUPS, "often": often})


def _steps(wanted: float, parts: int, *, small: bool) -> int:
    """In how many steps rows are learned."""
    if small:
        return int(np.clip(wanted, *BRIEF))
    least, most = STEPS
    return int(np.clip(min(wanted, most * SLIM / parts), least, most))
