"""Batches of row indices, drawn epoch by epoch, and the history of a run.

An epoch is a random order of all rows, split into batches; the next epoch has another order.

The state of the batches is small: the random state from which the current rows were drawn, the rows left over before
that, and the number of rows returned since. Rows that do not fit into memory are in an order that is computed from the
place in it, so that the number of batches is the whole state.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motes.data.stored import shuffled
from motes.training.checkpoints import State

Integers = NDArray[np.int32]


class Stream(Protocol):
    """An infinite iterator over batches of row indices (size,)."""

    def __next__(self) -> NDArray[np.integer]:
        """Return the next batch."""

    @property
    def state(self) -> State:
        """The state, from which `go_on` gives the same next batches."""

    def go_on(self, state: State) -> None:
        """Continue from the state of another iterator with the same rows."""


class Batches:
    """An infinite iterator over batches of row indices (size,).

    Args:
        rng: random generator of the orders.
        draw: draws more row indices, (m,), such as a permutation.
        size: number of rows in a batch.
    """

    def __init__(self, rng: np.random.Generator, draw: Callable[[np.random.Generator], NDArray[np.integer]], size: int):
        self._rng, self._draw, self._size = rng, draw, size
        self._random: dict[str, Any] = dict(rng.bit_generator.state)  # before the current rows were drawn
        self._left = self._rows = np.zeros(0, np.int32)
        self._given = 0

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> Integers:
        if self._given + self._size > len(self._rows):
            self._refill(self._rows[self._given :])
        self._given += self._size
        return self._rows[self._given - self._size : self._given]

    def _refill(self, left: Integers) -> None:
        self._left, self._random = left, dict(self._rng.bit_generator.state)
        parts, count = [left], len(left)
        while count < self._size:
            parts.append(self._draw(self._rng).astype(np.int32))
            count += len(parts[-1])
        self._rows, self._given = np.concatenate(parts), 0

    @property
    def state(self) -> State:
        """The state, from which `go_on` gives the same next batches."""
        return State({"left": self._left}, {"random": self._random, "given": self._given})

    def go_on(self, state: State) -> None:
        """Continue from the state of another iterator with the same rows."""
        self._random = state.numbers["random"]
        self._rng.bit_generator.state = self._random
        self._rows = self._left = state.arrays["left"]
        if given := state.numbers["given"]:
            self._refill(self._left)
            self._given = given


class ShuffledBatches:
    """An infinite iterator over batches of row indices (size,), each epoch in another order of `shuffled`.

    Args:
        rows: number of rows.
        size: number of rows in a batch.
        seed: random seed of the orders, one or more whole numbers.
    """

    def __init__(self, rows: int, size: int, seed: Sequence[int]):
        self._rows, self._size, self._done = rows, size, 0
        self._key = np.random.SeedSequence(seed).generate_state(1, np.uint64)

    def __next__(self) -> NDArray[np.int64]:
        places = self._done * self._size + np.arange(self._size)
        self._done += 1
        return shuffled(places % self._rows, self._rows, self._key ^ (places // self._rows).astype(np.uint64))

    @property
    def state(self) -> State:
        """The number of batches so far."""
        return State({}, {"done": self._done})

    def go_on(self, state: State) -> None:
        """Continue after the same number of batches."""
        self._done = state.numbers["done"]


def systematic(rng: np.random.Generator, weights: NDArray[np.floating], count: int | None = None) -> NDArray[np.int64]:
    """Draw `count` row indices in random order by systematic sampling with weights (n,).

    Each row occurs in proportion to its weight, rounded up or down at random, which has the lowest variance possible.
    The default of `count` is the number of weights above 0, so that rows of equal weight occur once each.
    """
    order = rng.permutation(np.flatnonzero(weights))
    count = len(order) if count is None else count
    ends = np.cumsum(weights[order], dtype=np.float64)
    places = (np.arange(count) + rng.random()) / count
    picked = np.searchsorted(ends / ends[-1], places, side="right")
    return rng.permutation(order[np.minimum(picked, len(order) - 1)])


# --- Losses averaged over windows of steps --------------------------------------------------------------------------


def running_loss(losses: NDArray[np.float32], windows: int = 400) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Average losses (steps,) over equal windows; return the last step and the mean loss of each window, (w,) each.

    Example:
        >>> running_loss(np.array([4.0, 2.0, 1.0, 1.0]), windows=2)
        (array([2, 4]), array([3., 1.]))
    """
    steps = len(losses)
    if not steps:
        return np.zeros(0, np.int64), np.zeros(0)
    edges = np.unique(np.linspace(0, steps, min(windows, steps) + 1).round().astype(np.int64))
    sums = np.add.reduceat(losses.astype(np.float64), edges[:-1])
    return edges[1:], sums / np.diff(edges)
