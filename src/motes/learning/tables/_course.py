"""All that changes while the members of a table are trained, and what is made of it at the end."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.learning._averages import LENGTHS, Averages
from motes.learning._batches import Batches
from motes.learning._resuming import BATCHES, WATCH, Arrays, State, named, tree_state
from motes.learning.tables._network import MaskedNetwork


class Progress(NamedTuple):
    """Where a training is: nats a row, of training and validation rows (NaN: none were looked at yet)."""

    step: int
    steps: int
    loss: float
    held_out: float
    seconds: float


@dataclass
class Trained:
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


class Course:
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
        latest = self.checks[-1][1] if self.checks else float("nan")
        return Progress(self.step, self.steps, loss, latest, self.seconds)

    @property
    def learned(self) -> MaskedNetwork:
        """The weights that are the model: the best of each member by its validation rows, or those of the end.

        The mixture alone is among those that are compared, so weights that unseen rows find worse are never the model.
        """
        return self.kept if self.checks else self.state.averaged

    def result(self, interrupted: bool, share: float) -> Trained:
        """What was learned so far; its networks move the normals of the base by a share of what they say."""
        return Trained(
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
