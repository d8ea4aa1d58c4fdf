"""The training of tables: options, the state, the loss and its compiled steps, the loop, and the members it leaves.

    loss = mean over rows of  p / (p - m) * sum over hidden j of -log p(x_j | the first m parts of an order)

`fit`, in the last section, chooses the base, the orders and the options, and calls `train`, the loop. Few rows train
several members, each without one fold of the rows; many rows train one.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import TrainingError
from motes.progress import Progress
from motes.tables.base import Base, base_of_pairs, choose_shape, first_gates, fit_base
from motes.tables.layout import Layout
from motes.tables.network import CLOSE, SHARED, EncodedRows, MaskedModel, MaskedNetwork, on_axes, ordered
from motes.training.averages import LENGTHS, Averages, rates
from motes.training.batches import Batches, systematic
from motes.training.checkpoints import BATCHES, WATCH, Arrays, Session, State, interruptible, named, tree_state
from motes.training.optimisers import DivergenceMonitor, rising_and_falling, with_inputs
from motes.training.programs import each_member, training_program


@dataclass(frozen=True)
class TrainingOptions:
    """Of a training.

    Attributes:
        steps: at most.
        batch: rows of a step.
        groups: orders of a step.
        fixed: share of the groups that have the order in which rows are drawn.
        learning_rate: at its highest; it falls to nothing by a cosine.
        ema: the decay of the average of the weights, which is the model.
        clip_norm: of the gradient.
        weight_decay: of weights that many codes share, in units of the learning rate (Loshchilov & Hutter 2019).
        check_every: steps between two looks at the validation rows.
        patience: looks without a better one after which the training stops.
        averages: how often over the training two averages are stored, from which one of any length can be made.
    """

    steps: int
    batch: int
    groups: int
    fixed: float
    learning_rate: float
    ema: float
    clip_norm: float
    weight_decay: float
    check_every: int
    patience: int
    averages: int = 0


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


# --- All that changes while the members of a table are trained, and what is made of it at the end -------------------


@dataclass
class TrainedTable:
    """What a training gives.

    Attributes:
        networks: the members', with a leading axis.
        losses: of each step, the mean over members, (steps,).
        looks: (checks, 2): step and nats a row of the validation rows.
        best: the step of the weights that are kept, the mean over members; None where no rows were looked at.
        interrupted: by Ctrl-C.
        state: the complete one, after the last step.
        averages: of the last weights of all members, up to the last step; None where none were kept.
    """

    networks: MaskedNetwork
    losses: NDArray[np.float32]
    looks: NDArray[np.float64]
    best: float | None
    seconds: float
    interrupted: bool = False
    state: State | None = None
    averages: Averages | None = None

    def __repr__(self) -> str:
        end = f", loss {self.losses[-1]:.4g}" if len(self.losses) else ""
        return f"Trained({len(self.losses):,} steps in {self.seconds:.1f} s{end})"

    @property
    def steps(self) -> int:
        """Steps that were taken."""
        return len(self.losses)


class Members(NamedTuple):
    """Of all members, with a leading axis.

    Attributes:
        network, averaged: the last weights, and their average.
        optimiser: its state.
        step: steps taken, (M,).
        powers: averages with profiles that are powers, (M, l, ...); None where none are kept.
    """

    network: MaskedNetwork
    averaged: MaskedNetwork
    optimiser: Any
    step: jax.Array
    powers: MaskedNetwork | None


LONGER = 1.5  # times the step of the best weights, at which training ends once weights are surely worse
TWICE = 2  # looks without a better one, at least, before that


class Looks(NamedTuple):
    """Looks at the validation rows.

    Attributes:
        nats: of each row, of each member's network, (members, n).
        shares: of the rows in the mean, (members, n); they sum to 1 for each member.
    """

    nats: Callable[[MaskedNetwork], NDArray[np.float64]]
    shares: NDArray[np.float64]

    def mean(self, nats: NDArray[np.float64]) -> float:
        """Nats per row."""
        return float((self.shares * nats).sum(axis=1).mean())

    def gain(self, before: NDArray[np.float64], after: NDArray[np.float64]) -> tuple[float, float]:
        """By how many nats per row the same rows are likelier after than before, and its standard error."""
        mean, shares = self.mean(before - after), self.shares / len(before)
        return mean, float(np.sqrt((np.square(shares * (before - after - mean))).sum()))


class TableTrainingState:
    """All that changes while a training goes on, and what is made of it.

    Args:
        state: to begin with.
        base: that the networks are trained for.
        steps: of the training, at most.
        streams: the rows of each member.
        looks: at the validation rows; None: there are none.
        averages: how often over the training `state.powers` are stored; 0: never.
    """

    def __init__(
        self, state: Members, base: Any, steps: int, streams: list[Batches], looks: Looks | None, *, averages: int
    ):
        self.state, self.base, self.steps, self.streams, self.looks = state, base, steps, streams, looks
        self.store_every = -(-steps // averages) if averages else steps
        self.stored: dict[int, NDArray[np.float32]] = {}  # step -> powers (l, p) of all members
        self.step = 0
        self.losses: list[NDArray[np.float32]] = []
        self.checks: list[tuple[int, float]] = []
        members = len(streams)
        self.best, self.kept, self.kept_step = np.full(members, np.inf), state.network, np.zeros(members)
        self.least: NDArray[np.float64] | None = None  # nats (members, n) of the look that was best for all together
        self.least_step = 0
        self.waited, self.worse = 0, False  # looks without a better one; whether the last was worse by a standard error
        self._began = time.perf_counter()
        self._sound = (state, 0, 0)  # state, steps, and parts of the losses

    def mark_sound(self) -> None:
        """What was learned so far is good, as far as losses tell."""
        self._sound = (self.state, self.step, len(self.losses))

    def back_to_sound(self) -> None:
        """Forget what came after it was good."""
        self.state, self.step, parts = self._sound
        self.losses = self.losses[:parts]
        self.stored = {step: powers for step, powers in self.stored.items() if step <= self.step}

    def took(self, state: Members, losses: NDArray[np.float32]) -> None:
        """Steps with these losses, (k,), have led to this state."""
        self.state, self.step = state, self.step + len(losses)
        self.losses.append(losses)
        if state.powers is not None and self.step % self.store_every == 0:
            self.stored[self.step] = _flat(state.powers)

    def first_look(self) -> None:
        """Look at the validation rows, if that was not done before: the mixture alone may be best."""
        if self.checks:
            return
        if self.step:  # with other rows the best weights so far are among those to compare
            self._compare(self.kept, self.kept_step)
        self.look()

    def look(self) -> None:
        """Look at the validation rows, where there are any."""
        self._compare(self.state.averaged, np.full(len(self.streams), self.step))

    def _compare(self, networks: MaskedNetwork, steps: NDArray[Any]) -> None:
        """Keep the networks, of the weights after so many steps (members,), whose validation rows are likelier.

        When training ends, all members together say: each alone has too few rows.
        """
        if self.looks is None:
            return
        rows = self.looks.nats(networks)
        found = (self.looks.shares * rows).sum(axis=1)
        better = found < self.best
        self.kept = _better_of(better, networks, self.kept)
        self.best, self.kept_step = np.where(better, found, self.best), np.where(better, steps, self.kept_step)
        step, mean = int(steps.mean()), float(found.mean())
        self.checks.append((step, mean))
        if self.least is None or mean < self.looks.mean(self.least):
            self.least, self.least_step, self.waited, self.worse = rows, step, 0, False
        else:
            by, error = self.looks.gain(rows, self.least)
            self.waited, self.worse = self.waited + 1, by > error

    def is_over(self, patience: int) -> bool:
        """Whether later weights are not expected to be better than the best ones.

        At first a network may lose what it gains later, so that the mixture has to be best for `patience` looks.
        """
        worse = self.least_step and self.worse and self.waited >= TWICE and self.step >= LONGER * self.least_step
        return self.waited >= patience or bool(worse)

    @property
    def seconds(self) -> float:
        """Of the training, that of earlier processes included."""
        return time.perf_counter() - self._began

    def progress(self) -> Progress:
        """Where it stands."""
        loss = float(self.losses[-1].mean()) if self.losses else float("nan")
        latest = self.checks[-1][1] if self.checks else None
        return Progress(self.step, self.steps, loss, latest, self.seconds)

    @property
    def learned(self) -> MaskedNetwork:
        """The weights that are the model: the best of each member by its validation rows, or those of the end.

        The mixture alone is among those that are compared, so weights that unseen rows find worse are never the model.
        """
        return self.kept if self.checks else self.state.averaged

    def result(self, interrupted: bool, share: float) -> TrainedTable:
        """What was learned so far; its networks move the normals of the base by a share of what they say."""
        return TrainedTable(
            moved_by(self.learned, share),
            self.joined,
            np.array(self.checks).reshape(-1, 2),
            float(self.kept_step.mean()) if self.checks else None,
            self.seconds,
            interrupted,
            self.complete(),
            self._averages(share),
        )

    def _averages(self, share: float) -> Averages | None:
        if self.state.powers is None or not self.step:
            return None
        ones = jax.tree.map(lambda part: np.ones(part.shape, part.dtype), self.state.network)
        scale = _raveled(moved_by(ones, share))
        stored = self.stored | {self.step: _flat(self.state.powers)}
        return Averages.of(LENGTHS, {step: powers * scale for step, powers in stored.items()})

    @property
    def joined(self) -> NDArray[np.float32]:
        """The losses of all steps."""
        return np.concatenate(self.losses) if self.losses else np.zeros(0, np.float32)

    def complete(self) -> State:
        """The complete state, with the base that the networks were trained for."""
        parts = {"state": tree_state(self.state), "kept": tree_state(self.kept), "base": tree_state(self.base)}
        parts[BATCHES] = named({str(member): stream.state for member, stream in enumerate(self.streams)})
        if self.least is not None:
            looks = {"checks": np.array(self.checks), "best": self.best, "least": self.least}
            parts[WATCH] = State(looks, {"waited": self.waited, "worse": self.worse, "least_step": self.least_step})
        arrays: Arrays = {"losses": self.joined, "kept_step": self.kept_step}
        arrays |= {f"stored/{step}": powers for step, powers in self.stored.items()}
        numbers = {"step": self.step, "steps": self.steps, "seconds": self.seconds}
        return named(parts | {"course": State(arrays, numbers)})

    def go_on(self, kept: State) -> None:
        """Go on where a training was whose complete state this is, with the same rows or with others."""
        course = kept.part("course")
        arrays, numbers = course
        self.state, self.kept = kept.tree("state", self.state), kept.tree("kept", self.kept)
        self.step, self.losses, self.kept_step = numbers["step"], [arrays["losses"]], arrays["kept_step"]
        self._began -= numbers["seconds"]
        self.mark_sound()
        # A file has its arrays in an order of its own.
        self.stored = dict(sorted((int(step), one) for step, one in course.part("stored").arrays.items()))
        if kept.has(BATCHES):
            for member, stream in enumerate(self.streams):
                stream.go_on(kept.part(BATCHES).part(str(member)))
        if kept.has(WATCH):
            looks = kept.part(WATCH)
            self.checks = [(int(step), loss) for step, loss in looks.arrays["checks"].tolist()]
            self.best, self.least = looks.arrays["best"], looks.arrays["least"]
            self.least_step = looks.numbers["least_step"]
            if numbers["steps"] == self.steps:
                self.waited, self.worse = looks.numbers["waited"], looks.numbers["worse"]


def _better_of(better: NDArray[np.bool_], new: MaskedNetwork, old: MaskedNetwork) -> MaskedNetwork:
    """For each member the new network where it is better, (members,)."""
    where = lambda a, b: np.where(better.reshape(-1, *(1,) * (a.ndim - 1)), a, b)  # NumPy compiles nothing
    return jax.tree.map(where, new, old)


def moved_by(networks: MaskedNetwork, share: float) -> MaskedNetwork:
    """Networks that move the normals of the base by a share of what they say."""
    if share == 1:
        return networks
    gates = np.arange(networks.line_bias.shape[-1]) == 0
    lines, bias = np.asarray(networks.lines), np.asarray(networks.line_bias)  # NumPy compiles nothing
    moves = lines * np.asarray(share, lines.dtype), bias * np.where(gates, 1.0, share).astype(bias.dtype)
    return eqx.tree_at(lambda networks: (networks.lines, networks.line_bias), networks, moves)


def _flat(powers: MaskedNetwork) -> NDArray[np.float32]:
    """The weights (l, p) of all members, of averages (M, l, ...). NumPy does it, which compiles nothing."""
    powers = jax.tree.map(np.asarray, powers)
    return np.stack([_raveled(jax.tree.map(lambda part, k=k: part[:, k], powers)) for k in range(len(LENGTHS))])


def _raveled(networks: MaskedNetwork) -> NDArray[np.float32]:
    """The weights (p,) in the order of `weights_of`."""
    return np.concatenate([np.ravel(part) for part in jax.tree.leaves(networks)])


# --- The loss of a table, and the compiled program of some steps ----------------------------------------------------
#
# The equation at the top: with m uniform on 0 .. p - 1 it is a bound on -log p(x) for a random order (Hoogeboom et al.
# 2022, section 2). Rows of one group share an order, so that the base is brought into it once. A share of the groups
# has the order in which rows are drawn and scored; the others have random ones, for questions with any columns known.


CHUNK = 25  # steps of one call of the compiled program, at most


class Program(NamedTuple):
    """What a program that trains is given beside its state. The numbers are inputs: others need no other program."""

    layout: Layout
    ema: NDArray[np.floating]  # ()
    optimiser: optax.GradientTransformation  # of the network's weights, as one vector

    @classmethod
    def of(cls, layout: Layout, networks: MaskedNetwork, options: TrainingOptions) -> "Program":
        """For members with such networks."""
        warm = min(50, options.steps // 4)
        flags = jax.tree.map(lambda part, yes: np.full(part.size // len(part), yes), networks, decayed(networks))
        decays = options.weight_decay * np.concatenate(jax.tree.leaves(flags))
        numbers: Any = (options.learning_rate, warm, options.steps - warm, decays, options.clip_norm)
        ema = np.asarray(options.ema, jnp.result_type(float))
        return cls(layout, ema, with_inputs(_adamw, *numbers))


def _adamw(rate: Any, warm: Any, falls: Any, decays: Any, clip_norm: Any) -> optax.GradientTransformation:
    """Of one vector of weights, each with a decay of its own."""
    return optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.scale_by_adam(b2=0.99),
        optax.add_decayed_weights(decays),
        optax.scale_by_learning_rate(rising_and_falling(rate, warm, falls)),
    )


class Draws(NamedTuple):
    """What is random in a chunk of steps. NumPy draws it, and the program that trains compiles in less time.

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
        cls, plan: Plan, network: MaskedNetwork, options: TrainingOptions, shape: tuple[int, ...], seed: int, begin: int
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


@training_program
def advance(
    program: Program, state: Members, base: Any, data: EncodedRows, index: ArrayLike, window: ArrayLike, draws: Draws
) -> Any:
    """Some steps of all members: those of a chunk from `window[0]` on, `window[1]` of them.

    `index` (CHUNK, members, groups, n) has the rows of the first of these steps first, and room for a whole chunk.
    The weights of a member are one vector here: each array of the network would have programs of its own for every part
    of the optimiser.
    """
    raveled, whole = _as_vectors(state.network)

    def member(state: Any, base: Any, index: jax.Array, draws: Draws) -> Any:
        rows = jax.tree.map(lambda part: part[index], data)
        loss, slopes = jax.value_and_grad(
            lambda weights: masked_loss(
                MaskedModel(whole(weights), base), program.layout, rows, draws.orders, draws.prefix, draws.bits
            )
        )(state.network)
        updates, optimiser = program.optimiser.update(slopes, state.optimiser, state.network)
        network = state.network + updates
        decay = jnp.minimum(program.ema, (1 + state.step) / (10 + state.step))
        averaged = decay * state.averaged + (1 - decay) * network
        powers = None
        if state.powers is not None:
            powers = state.powers + rates(LENGTHS, state.step + 1)[:, None] * (network - state.powers)
        return Members(network, averaged, optimiser, state.step + 1, powers), loss

    index, window = jnp.asarray(index), jnp.asarray(window)

    def step(i: jax.Array, carry: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        state, losses = carry
        now = jax.tree.map(lambda part: jnp.asarray(part)[window[0] + i], draws)
        state, loss = each_member(member)(state, base, index[i], now)
        return state, losses.at[i].set(loss)

    powers = None if state.powers is None else raveled(state.powers, 2)
    state = Members(raveled(state.network), raveled(state.averaged), state.optimiser, state.step, powers)
    end: Any
    end, losses = jax.lax.fori_loop(0, window[1], step, (state, jnp.zeros(index.shape[:2])))
    finite = jnp.stack([jnp.isfinite(part).all() for part in (end.network, end.averaged)]).all()
    if powers is not None:
        finite, powers = finite & jnp.isfinite(end.powers).all(), whole(end.powers)
    return end._replace(network=whole(end.network), averaged=whole(end.averaged), powers=powers), losses, finite


def _as_vectors(networks: MaskedNetwork) -> tuple[Callable[..., Any], Callable[[Any], Any]]:
    """From the networks of members to vectors (M, ..., P), and from vectors (..., P) to networks."""
    leaves, tree = jax.tree.flatten(networks)
    ends = np.cumsum([part.size // len(part) for part in leaves])[:-1].tolist()

    def raveled(networks: MaskedNetwork, lead: int = 1) -> Any:
        parts = [part.reshape(*part.shape[:lead], -1) for part in jax.tree.leaves(networks)]
        return jnp.concatenate(parts, -1)

    def whole(vectors: Any) -> Any:
        parts = jnp.split(vectors, ends, -1)
        shapes = [(*vectors.shape[:-1], *part.shape[1:]) for part in leaves]
        return jax.tree.unflatten(tree, [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)])

    return raveled, whole


# --- How a table is learned: the loop around the compiled steps, and the validation rows that it looks at -----------
#
# Few rows are learned by several members, each without one fold of the rows, which says when it stops; many rows by
# one.


PREFIXES = 8  # of a validation row, at most, that each check looks at
OTHERS = 2  # orders beside that of drawing, in which validation rows are looked at
FIRST = 5  # steps of the first call, before it is known how long one takes
PATIENCE = 0.5  # seconds between looks at the clock and the keyboard
LONGEST = 65_536  # rows between two orders, at most, where fewer rows than that count for more
PADDED = 512  # of which the number of rows is a multiple, in the compiled program
WORSE = 3.0  # nats a part: losses that stay so far above the first ones are those of a training that diverged
SHARES = (1.0, 0.5, 0.25, 0.0)  # of what the network moves the normals of the base by, where rows are few


class _HeldOut(NamedTuple):
    """The validation rows of all members.

    Attributes:
        rows: (members, n, p).
        prefix: how many parts are visible at each look, (members, n, r).
        shares: of the rows in the mean, (members, n).
    """

    rows: EncodedRows
    prefix: Any
    shares: Any


@training_program
def _held_out(layout: Layout, networks: MaskedNetwork, base: Any, held: "_HeldOut", order: jax.Array) -> jax.Array:
    """Nats (members, n) of the validation rows, by the parts after their prefixes."""

    def member(network: MaskedNetwork, base: Any, held: "_HeldOut") -> jax.Array:
        model, place = MaskedModel(network, base), jnp.argsort(order)
        heads, prepared = network.heads(layout), ordered(base, order, layout)

        def one(prefix: jax.Array) -> jax.Array:
            visible = (place < prefix[:, None]) & held.rows.observed
            found = model.log_probs(layout, heads, prepared, held.rows, visible)
            return jnp.where((place == prefix[:, None]) & held.rows.observed, found, 0.0).sum(1)

        return jax.lax.map(one, held.prefix.T).mean(0) * layout.parts

    return each_member(member)(networks, base, held)


def train(
    models: MaskedModel,
    layout: Layout,
    plan: Plan,
    data: TableRows,
    split: Split,
    options: TrainingOptions,
    *,
    seed: int,
    session: Session = Session(),
) -> TrainedTable:
    """Train the members.

    Args:
        models: of all members, with a leading axis: networks to begin with, and their bases.
        layout, plan: of the table.
        data: all rows, and how much each counts.
        split: the rows of each member.
        options: of the training.
        seed: of everything random.
        session: its keeper, and its `on_progress`, which is called before the first step too. A state that it goes on
            from may be that of a training with the same arguments but `options.steps`, or one with other rows.

    Ctrl-C ends the training after the steps under way, with what it has; so does a KeyboardInterrupt in `on_progress`.

    Raises:
        TrainingError: the training diverged; its `result` is what was learned before.
        ModelFileError: the keeper's state is that of another training.
    """
    layout = layout.on_device
    program, base = Program.of(layout, models.network, options), models.base
    rows = jax.device_put(_padded(data.rows))
    held = _validation(data, split.hold, layout.parts, seed)
    looks = None
    if held is not None:
        looks = Looks(partial(_checked, layout, options.fixed, base, held, plan), np.asarray(held.shares, np.float64))
    course = _begun(program, models, data, split, options, seed, looks)
    if session.kept is not None:
        course.go_on(session.kept)
    session.on_progress(course.progress())
    guard = DivergenceMonitor(lambda first: first + WORSE * layout.parts, options.steps, course.joined)
    interrupted, stride, saved = False, _Stride(), course.step
    draws = lru_cache(maxsize=1)(lambda begin, shape: Draws.of(plan, models.network, options, shape, seed, begin))
    try:
        with interruptible() as stop:
            course.first_look()
            while course.step < options.steps and not course.is_over(options.patience) and not stop:
                some, tick = _next_rows(course, options.groups, stride.steps), time.perf_counter()
                within = np.array([course.step - some.begin, some.count], np.int32)
                state, loss, finite = advance(
                    program, course.state, base, rows, some.index, within, draws(some.begin, some.index.shape)
                )
                fresh = np.asarray(loss)[: some.count].mean(1, dtype=np.float32)
                _refuse(guard.fault(course.step, fresh, bool(finite)), course)
                course.took(state, fresh)
                if guard.sound:
                    course.mark_sound()
                stride.took(some.count, time.perf_counter() - tick)
                if course.step == some.end and some.holds_a_look(options):
                    course.look()
                if guard.sound:
                    saved = _save(session, course, saved, if_due=True)
                session.on_progress(course.progress())
            _refuse(guard.fault_at_end(course.step), course)
            _save(session, course, saved)
            interrupted = bool(stop)
    except KeyboardInterrupt:
        interrupted = True
    if looks is None or not course.checks or len(split.learn) == 1:
        return course.result(interrupted, 1.0)
    return course.result(interrupted, _best_share(course.learned, looks))


def _refuse(fault: str | None, course: TableTrainingState) -> None:
    """End a training that has diverged, with the weights that it had before.

    Raises:
        TrainingError: there is a fault.
    """
    if fault is None:
        return
    course.back_to_sound()
    raise TrainingError(
        f"the training diverged: {fault}. Usual remedies: a smaller table.learning_rate, a smaller table.clip_norm. "
        f"The weights of step {course.step:,} are kept, or better ones before it.",
        course.result(False, 1.0),
    )


def _begun(
    program: Program,
    models: MaskedModel,
    data: TableRows,
    split: Split,
    options: TrainingOptions,
    seed: int,
    looks: Looks | None,
) -> TableTrainingState:
    """A training before its first step."""
    networks = models.network
    powers = None
    if options.averages:
        empty = lambda part: np.zeros((len(part), len(LENGTHS), *part.shape[1:]), part.dtype)
        powers = jax.device_put(jax.tree.map(empty, networks))
    state = Members(networks, networks, _opened(program.optimiser, networks), jnp.zeros(len(split.learn), int), powers)
    streams = _batches(split.learn, options.groups * (options.batch // options.groups), seed)
    return TableTrainingState(state, models.base, options.steps, streams, looks, averages=options.averages)


@dataclass(frozen=True)
class _Some:
    """The rows of the next steps.

    Attributes:
        index: (CHUNK, members, groups, n), of which the first `count` hold.
        count: how many steps.
        begin, end: of the chunk in which these are.
    """

    index: NDArray[np.integer]
    count: int
    begin: int
    end: int

    def holds_a_look(self, options: TrainingOptions) -> bool:
        """Whether validation rows are looked at where this chunk ends."""
        return self.end % options.check_every < self.end - self.begin or self.end == options.steps


def _padded(rows: EncodedRows) -> EncodedRows:
    """The rows with empty ones behind them that nobody asks for, so that some more or fewer need no other program."""
    more = -len(rows.codes) % PADDED
    return jax.tree.map(lambda part: np.pad(np.asarray(part), ((0, more), *[(0, 0)] * (np.ndim(part) - 1))), rows)


def _next_rows(course: TableTrainingState, groups: int, most: int) -> _Some:
    """The rows of the next steps, at most so many of one chunk."""
    begin = course.step - course.step % CHUNK
    end = min(begin + CHUNK, course.steps)
    count = min(most, end - course.step, course.store_every - course.step % course.store_every)
    index = np.stack([[next(stream) for stream in course.streams] for _ in range(count)])
    index = np.pad(index, ((0, CHUNK - count), *[(0, 0)] * 2))
    return _Some(index.reshape(CHUNK, len(course.streams), groups, -1), count, begin, end)


class _Stride:
    """How many steps one call of the compiled program takes."""

    def __init__(self) -> None:
        self.steps, self._calls = FIRST, 0

    def took(self, count: int, seconds: float) -> None:
        """So many steps took so long. The first call compiles, which says nothing of the next one."""
        self._calls += 1
        if self._calls > 1:
            self.steps = int(np.clip(count * PATIENCE / seconds, 1, CHUNK))


def _save(session: Session, course: TableTrainingState, saved: int, *, if_due: bool = False) -> int:
    """Keep the complete state if that of another step was `saved` last; returns the step of the last one now."""
    keeper = session.keeper
    if keeper is None or course.step == saved or (if_due and not keeper.due()):
        return saved
    keeper.save(course.step, course.complete())
    return course.step


def _best_share(networks: MaskedNetwork, looks: Looks) -> float:
    """How much of what networks move the normals of the base by makes validation rows likeliest, one of `SHARES`.

    Where rows are few, the base alone may be better than what is learned on top of it: of penguins, the numbers of
    unseen rows were likelier by 0.2 nats a row with a quarter of it.
    """
    return min(SHARES, key=lambda share: looks.mean(looks.nats(moved_by(networks, share))))


def _checked(
    layout: Layout, fixed: float, base: Any, held: _HeldOut, plan: Plan, networks: MaskedNetwork
) -> NDArray[np.float64]:
    """Nats of the validation rows, (members, n): in the order of drawing and in others, as often as in training."""
    found = lambda order: -np.asarray(_held_out(layout, networks, base, held, order), np.float64)
    mean = fixed * found(plan.order) if fixed else np.zeros((1, 1))
    if fixed < 1:
        others = random_orders(plan.units, np.random.default_rng(OTHERS), (OTHERS,))
        mean = mean + (1 - fixed) * np.mean([found(order) for order in others], axis=0)
    return mean


def _opened(optimiser: optax.GradientTransformation, networks: MaskedNetwork) -> Any:
    """The first state of each member's optimiser, which is nothing but zeros."""
    members = len(networks.hidden)
    count = sum(part.size // members for part in jax.tree.leaves(networks))
    state = jax.eval_shape(optimiser.init, jax.ShapeDtypeStruct((count,), networks.hidden.dtype))
    return jax.device_put(jax.tree.map(lambda part: np.zeros((members, *part.shape), part.dtype), state))


def _batches(learn: NDArray[np.float64], size: int, seed: int) -> list[Batches]:
    """Rows (size,) of one step after another of each member: each as often as it counts before all come again."""

    def one(weights: NDArray[np.float64], rng: np.random.Generator) -> Batches:
        count = min(round(weights.sum()), max(int((weights > 0).sum()), LONGEST))
        return Batches(rng, lambda rng: systematic(rng, weights, count), size)

    return [one(weights, np.random.default_rng([seed, 161803, member])) for member, weights in enumerate(learn)]


def _validation(data: TableRows, hold: NDArray[np.float64], parts: int, seed: int) -> _HeldOut | None:
    """The validation rows of each member, and the prefixes of each row at which it is looked at, evenly spread."""
    if not len(hold):
        return None
    count, most = min(PREFIXES, parts), int((hold > 0).sum(axis=1).max())
    index = np.argsort(hold == 0, axis=1, kind="stable")[:, :most]  # one program for all: some rows may have no share
    shares = np.take_along_axis(hold, index, axis=1)
    start = np.random.default_rng([seed, 141421]).random((*index.shape, 1))
    prefix = np.floor(parts * (np.arange(count) + start) / count).astype(np.int32)
    # NumPy takes the rows: JAX would compile a program for each part of them.
    rows = jax.tree.map(lambda part: np.asarray(part)[index], data.rows)
    shares = (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)
    return jax.device_put(_HeldOut(rows, np.minimum(prefix, parts - 1), shares))


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
    data: TableRows,
    layout: Layout,
    plan: Plan,
    network: NetworkOptions,
    options: TrainingOptions,
    *,
    seed: int,
    start: MaskedModel | None = None,
    session: Session = Session(),
) -> tuple[MaskedModel, TrainedTable]:
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
        models = _begun_fitting(data, layout, network, split, seed)
    else:
        split, models = held_out(data, len(start.base.means), seed), start
    if session.kept is not None:  # to the bit, whatever machine fitted it
        models = MaskedModel(models.network, session.kept.tree("base", models.base))
    try:
        trained = train(models, layout, plan, data, split, options, seed=seed, session=session)
    except TrainingError as error:
        if isinstance(error.result, TrainedTable):
            error.result = MaskedModel(error.result.networks, models.base), error.result
        raise
    return MaskedModel(trained.networks, models.base), trained


def _begun_fitting(data: TableRows, layout: Layout, network: NetworkOptions, split: Split, seed: int) -> MaskedModel:
    """New members: their bases, and networks that change nothing of these yet."""
    bases = _bases(data, layout, network.components, split, seed)
    outputs = 1 + 3 * (bases[0].means.shape[0] + network.own + layout.near * len(CLOSE))
    make = lambda key: MaskedNetwork(layout, network.width, network.depth, outputs, network.dropout, key=key)
    keys = [jax.random.fold_in(jax.random.key(seed), member) for member in range(len(split.learn))]
    networks = _gated(stacked(map(make, keys)), bases, layout, data, split.hold if len(split.hold) else split.learn)
    return MaskedModel(networks, stacked(bases))


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


def options_of(table: Any, n: int, parts: int) -> tuple[NetworkOptions, TrainingOptions]:
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
    return network, TrainingOptions(
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
