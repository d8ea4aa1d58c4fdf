"""Which rows a batch has: an order of all rows, cut into batches, then another order.

Where in it a training stands is a few numbers: the random state from which the rows at hand were drawn, the rows that
were left over then, and how many of all these have been given since.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.learning._resuming import State

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
