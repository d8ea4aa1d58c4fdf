"""Shapes that a visitor draws: points along strokes, blurred. So what is true of them is known, too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._distributions import Atoms
from motes.data._tables import Table
from motes.data._text_lines import default_columns
from motes.errors import UsageError
from motes.evaluation._truth import Truth

Array = NDArray[np.float64]

NAME = "your drawing"
FEWEST = 8  # points of a drawing


@dataclass(frozen=True)
class Sketch:
    """What was drawn, as the rows that a model is trained on and compared with.

    Attributes:
        truth: equally likely points along the strokes, blurred.
        training: rows to train on.
        seed: of these rows.
    """

    truth: Truth
    training: Table
    seed: int
    name = NAME

    @classmethod
    def of(cls, points: ArrayLike, noise: float, rows: int, seed: int) -> Sketch:
        """Of points (m, 2) along strokes.

        Raises:
            UsageError: too few, or all in one line along an axis.
        """
        nodes = np.asarray(points, float)
        if len(nodes) < FEWEST or (np.ptp(nodes, axis=0) < 1e-3).any():
            raise UsageError(f"got a drawing of {len(nodes)} points; expected at least {FEWEST} that span the plane.")
        count = len(nodes)
        truth = Truth(NAME, Atoms(nodes, np.full(count, 1 / count), noise, np.full(count, -1)))
        return cls(truth, Table(truth.sample(rows, seed=seed), default_columns(2)), seed)

    def draw(self, n: int, seed: int) -> Array:
        """`n` fresh points (n, 2)."""
        return self.truth.sample(n, seed=seed)

    def real(self, n: int) -> tuple[Array, Array]:
        """Two fresh sets of `n` points, with seeds of their own."""
        first, second = np.random.SeedSequence([self.seed, 271828]).generate_state(2)
        return self.draw(n, int(first)), self.draw(n, int(second))
