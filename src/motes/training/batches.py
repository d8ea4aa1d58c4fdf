"""Batches of row numbers, drawn epoch by epoch, and the history of a run.

An epoch is one order of all rows, cut into batches; the next epoch has another order.

Where in it a training stands is a few numbers: the random state from which the rows at hand were drawn, the rows that
were left over then, and how many of all these have been given since.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.training.checkpoints import State

Integers = NDArray[np.int32]


class Batches:
    """Batches of row numbers (size,), without an end.

    Args:
        rng: of the orders.
        draw: more rows, (m,), such as an order of all of them.
        size: of a batch.
    """

    def __init__(self, rng: np.random.Generator, draw: Callable[[np.random.Generator], NDArray[np.integer]], size: int):
        self._rng, self._draw, self._size = rng, draw, size
        self._random: dict[str, Any] = dict(rng.bit_generator.state)  # before the rows at hand were drawn
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
        """From which `go_on` gives the same batches as this one would give next."""
        return State({"left": self._left}, {"random": self._random, "given": self._given})

    def go_on(self, state: State) -> None:
        """Go on where another one with the same rows was."""
        self._random = state.numbers["random"]
        self._rng.bit_generator.state = self._random
        self._rows = self._left = state.arrays["left"]
        if given := state.numbers["given"]:
            self._refill(self._left)
            self._given = given


def systematic(rng: np.random.Generator, weights: NDArray[np.floating], count: int | None = None) -> NDArray[np.int64]:
    """Draw `count` row numbers in random order, each row as often as its share of the weights (n,) says.

    That number is rounded up or down by chance (systematic sampling): no other way to draw is less noisy. None draws
    as many as there are weights above 0, so that rows of equal weight come once each.
    """
    order = rng.permutation(np.flatnonzero(weights))
    count = len(order) if count is None else count
    ends = np.cumsum(weights[order], dtype=np.float64)
    places = (np.arange(count) + rng.random()) / count
    picked = np.searchsorted(ends / ends[-1], places, side="right")
    return rng.permutation(order[np.minimum(picked, len(order) - 1)])


# --- The losses of a training, in windows of steps ------------------------------------------------------------------


def running_loss(losses: NDArray[np.float32], windows: int = 400) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The mean loss of equal windows of steps, (steps,) -> the last step of each window, and the mean, (w,) each.

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
