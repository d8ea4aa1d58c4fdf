"""From encoded rows to the members of a trained model."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.errors import TrainingError
from motes.learning._resuming import Session
from motes.learning.tables._base import Base
from motes.learning.tables._base_fit import base_of_pairs, choose_shape, first_gates, fit_base
from motes.learning.tables._course import Trained
from motes.learning.tables._density import CLOSE
from motes.learning.tables._layout import Layout
from motes.learning.tables._model import MaskedModel, on_axes
from motes.learning.tables._network import MaskedNetwork, Rows
from motes.learning.tables._plan import Data, Options, Plan, Split
from motes.learning.tables._training import train

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


@dataclass(frozen=True)
class NetworkOptions:
    """Of the network.

    Attributes:
        width, depth: of the state, and blocks.
        dropout: share of the units that training leaves out.
        components: of the base, at most.
        own: normals of the network's own.
    """

    width: int
    depth: int
    dropout: float
    components: int
    own: int


def members_of(data: Data) -> int:
    """How many members learn these rows."""
    return FOLDS if data.worth < FEW and data.pieces.sum() >= 2 * FOLDS else 1


def held_out(data: Data, members: int, seed: int) -> Split:
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


def plan_of(entropies: NDArray[np.float64], units: Integers, follows: Mapping[int, Sequence[int]]) -> Plan:
    """The plan of parts with such entropies (p,), of such columns (p,); `follows` is that of `order_of`."""
    return Plan(order_of(entropies, units, follows), np.asarray(units, np.int32))


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


def fit(
    data: Data,
    layout: Layout,
    plan: Plan,
    network: NetworkOptions,
    options: Options,
    *,
    seed: int,
    start: MaskedModel | None = None,
    session: Session = Session(),
) -> tuple[MaskedModel, Trained]:
    """The members that learn rows, with a leading axis, and how they were trained.

    Args:
        data: the rows.
        layout, plan: of the table.
        network, options: of the model and its training.
        seed, session: as for `train`.
        start: members to go on from, of the same layout, in the place of new ones.

    Raises:
        TrainingError: as `train`; its `result` is what this would have returned.
        ModelFileError: as `train`.
    """
    if start is None:
        split = held_out(data, members_of(data), seed)
        models = _begun(data, layout, network, split, seed)
    else:
        split, models = held_out(data, len(start.base.means), seed), start
    keeper = session.keeper
    if keeper is not None and keeper.state is not None:  # to the bit, whatever machine fitted it
        models = MaskedModel(models.network, keeper.state.tree("base", models.base))
    try:
        trained = train(models, layout, plan, data, split, options, seed=seed, session=session)
    except TrainingError as error:
        if isinstance(error.result, Trained):
            error.result = MaskedModel(error.result.networks, models.base), error.result
        raise
    return MaskedModel(trained.networks, models.base), trained


def _begun(data: Data, layout: Layout, network: NetworkOptions, split: Split, seed: int) -> MaskedModel:
    """New members: their bases, and networks that change nothing of these yet."""
    bases = _bases(data, layout, network.components, split, seed)
    outputs = 1 + 3 * (bases[0].means.shape[0] + network.own + layout.near * len(CLOSE))
    make = lambda key: MaskedNetwork(layout, network.width, network.depth, outputs, network.dropout, key=key)
    keys = [jax.random.fold_in(jax.random.key(seed), member) for member in range(len(split.learn))]
    networks = _gated(stacked(map(make, keys)), bases, layout, data, split.hold if len(split.hold) else split.learn)
    return MaskedModel(networks, stacked(bases))


def _bases(data: Data, layout: Layout, most: int, split: Split, seed: int) -> list[Base]:
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


def _places(rows: Rows, layout: Layout) -> NDArray[np.float64]:
    """Places on the axes of the base, (n, A); of a label that is not known the average."""
    y = np.asarray(on_axes(layout, rows.y, rows.codes), np.float32).astype(np.float64)
    known = rows.observed[:, layout.axes] | (np.arange(y.shape[1]) < len(layout.lines))
    return np.where(known, y, 0.0)


def stacked(members: Iterable[T]) -> T:
    """Members as one, with a leading axis. NumPy does it: JAX would compile a program for each shape of an array."""
    return jax.tree.map(lambda *parts: jax.device_put(np.stack([np.asarray(part) for part in parts])), *members)


def _gated(
    networks: MaskedNetwork, bases: list[Base], layout: Layout, data: Data, looked: NDArray[np.float64]
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


def options_of(table: Any, n: int, parts: int) -> tuple[NetworkOptions, Options]:
    """Of a network and its training, from a recipe's section [table]; what it leaves open suits n complete rows.

    A step of a table of many parts takes longer, so there are fewer of them. Of a small table the rate falls to nothing
    within as many epochs as it takes to learn it: 3,000 customers were best learned after 100 steps of 1,200, by 0.36
    nats less than at the end of 300.
    """
    few, small = n < FEW, n < SMALL
    groups = 8
    batch = table.batch or int(np.clip(n // 2, 32, 256) if few else np.clip(ENTRIES / parts, *BATCH))
    suits = lambda given, rows: rows if given is None else given
    network = NetworkOptions(
        width=suits(table.width, 128 if small else 192),
        depth=suits(table.depth, 1 if small else 2),
        dropout=suits(table.dropout, 0.25 if small else 0.1),
        components=table.components,
        own=table.own,
    )
    return network, Options(
        steps=suits(table.steps, _steps(EPOCHS * n / batch, parts, small=small)),
        batch=max(batch // groups, 1) * groups,
        groups=groups,
        fixed=table.fixed,
        learning_rate=table.learning_rate,
        ema=table.ema,
        clip_norm=table.clip_norm,
        weight_decay=suits(table.weight_decay, 1.0 if small else 0.1),
        check_every=suits(table.check_every, 25 if small else 100),
        patience=table.patience,
        averages=table.averages,
    )


def _steps(wanted: float, parts: int, *, small: bool) -> int:
    """In how many steps rows are learned."""
    if small:
        return int(np.clip(wanted, *BRIEF))
    least, most = STEPS
    return int(np.clip(min(wanted, most * SLIM / parts), least, most))
