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
from motes.models._sources import reference_seeds

Array = NDArray[np.float64]

NAME = "your drawing"
FEWEST = 8  # points of a drawing


@dataclass(frozen=True)
class Sketch:
    """What was drawn, as the rows that a model is trained on and compared with.

    Attributes:
        truth: equally likely points along the strokes of each colour, blurred.
        training: rows to train on.
        seed: of these rows.
    """

    truth: Truth
    training: Table
    seed: int
    name = NAME

    @classmethod
    def of(cls, points: ArrayLike, noise: float, rows: int, seed: int, colours: ArrayLike | None = None) -> Sketch:
        """Of points (m, 2) along strokes, which have `colours` (m,), whole numbers; None: all have one.

        Several colours are classes, and each of them is equally likely.

        Raises:
            UsageError: too few points, or all in one line along an axis.
        """
        nodes = np.asarray(points, float)
        if len(nodes) < FEWEST or (np.ptp(nodes, axis=0) < 1e-3).any():
            raise UsageError(f"got a drawing of {len(nodes)} points; expected at least {FEWEST} that span the plane.")
        names, labels = np.unique(np.zeros(len(nodes), int) if colours is None else colours, return_inverse=True)
        weights = 1 / (len(names) * np.bincount(labels)[labels])
        classes = len(names) > 1
        truth = Truth(NAME, Atoms(nodes, weights, noise, labels if classes else np.full(len(nodes), -1)))
        x, drawn = truth.labelled_sample(rows, seed=seed)
        return cls(truth, Table(x, default_columns(2), drawn if classes else None), seed)

    def draw(self, n: int, seed: int) -> Array:
        """`n` fresh points (n, 2)."""
        return self.truth.sample(n, seed=seed)

    def real(self, n: int) -> tuple[Array, Array]:
        """Two fresh sets of `n` points, with seeds of their own."""
        first, second = reference_seeds(self.seed)
        return self.draw(n, first), self.draw(n, second)
