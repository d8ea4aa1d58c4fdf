"""The points of one class, as what samples of that class are compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motes.data._shapes import SHAPES, make_labelled_shape
from motes.data._tables import Table
from motes.evaluation._truth import Truth
from motes.explorer._sketches import Sketch
from motes.models._sources import PointSource, reference_seeds

Array = NDArray[np.float64]


@dataclass(frozen=True)
class OneClass:
    """The rows of one class of what a model was trained on.

    Attributes:
        whole: rows of all classes, with their labels.
        label: of the class.
    """

    whole: PointSource | Sketch
    label: str | int

    @property
    def name(self) -> str:
        """That of all classes together."""
        return self.whole.name

    @property
    def seed(self) -> int:
        """That of all classes together."""
        return self.whole.seed

    @property
    def truth(self) -> Truth | None:
        """The exact distribution of the class, where it is known."""
        return self.whole.truth and self.whole.truth.of_class(int(self.label))

    @property
    def training(self) -> Table:
        """The rows of the class."""
        table = self.whole.training
        assert table.labels is not None  # or there would be no class
        return table.take(np.flatnonzero(table.labels.astype(str) == str(self.label)))

    def draw(self, n: int, seed: int) -> Array:
        """Up to `n` real points (m, 2): of a known distribution a fresh draw, otherwise rows of the training."""
        if self.truth is not None:
            return self.truth.sample(n, seed=seed)
        if self.name in SHAPES and isinstance(self.whole, PointSource):
            count = SHAPES[self.name].classes or 1
            x, labels = make_labelled_shape(self.name, 2 * count * n, seed=seed, noise=self.whole.noise)
            return x[labels == int(self.label)][:n]
        return some_rows(self.training.x, n, seed)

    def real(self, n: int) -> tuple[Array, Array]:
        """Two sets of `n` points, with seeds of their own."""
        first, second = reference_seeds(self.seed)
        return self.draw(n, first), self.draw(n, second)


def some_rows(rows: Array, n: int, seed: int) -> Array:
    """Up to `n` of the rows (m, d), in an order of their own."""
    return rows[np.random.default_rng([seed, 7]).permutation(len(rows))[:n]]
