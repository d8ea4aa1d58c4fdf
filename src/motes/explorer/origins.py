"""What a model is compared with: shapes that a visitor draws, files that one drops on the page, and single classes.

A file is numbers in columns, read as text and as nothing else. Nothing is written to a disk, and no name that comes
with a file is used.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import SHAPES, Table, make_labelled_shape
from motes.data.arrays import Series
from motes.data.readings import default_columns
from motes.data.shapes import Atoms
from motes.errors import DataError, UsageError
from motes.evaluation.sources import PointSource, reference_seeds
from motes.explorer.guard import Limits
from motes.points import Truth
from motes.text_options import TextOptions

Array = NDArray[np.float64]

DRAWING = "your drawing"
FEWEST_POINTS = 8  # of a drawing
FILE = "the file"
FEWEST_ROWS = 2
LARGEST = 1e12  # number of a column


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
    name = DRAWING

    @classmethod
    def of(cls, points: ArrayLike, noise: float, rows: int, seed: int, colours: ArrayLike | None = None) -> Sketch:
        """Of points (m, 2) along strokes, which have `colours` (m,), whole numbers; None: all have one.

        Several colours are classes, and each of them is equally likely.

        Raises:
            UsageError: too few points, or all in one line along an axis.
        """
        nodes = np.asarray(points, float)
        if len(nodes) < FEWEST_POINTS or (np.ptp(nodes, axis=0) < 1e-3).any():
            raise UsageError(
                f"got a drawing of {len(nodes)} points; expected at least {FEWEST_POINTS} that span the plane."
            )
        names, labels = np.unique(np.zeros(len(nodes), int) if colours is None else colours, return_inverse=True)
        weights = 1 / (len(names) * np.bincount(labels)[labels])
        classes = len(names) > 1
        truth = Truth(DRAWING, Atoms(nodes, weights, noise, labels if classes else np.full(len(nodes), -1)))
        x, drawn = truth.labelled_sample(rows, seed=seed)
        return cls(truth, Table(x, default_columns(2), drawn if classes else None), seed)

    def draw(self, n: int, seed: int) -> Array:
        """`n` fresh points (n, 2)."""
        return self.truth.sample(n, seed=seed)

    def real(self, n: int) -> tuple[Array, Array]:
        """Two fresh sets of `n` points, with seeds of their own."""
        first, second = reference_seeds(self.seed)
        return self.draw(n, first), self.draw(n, second)


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


class Upload(NamedTuple):
    """The columns of numbers of a file: their names, and the rows (n, d)."""

    columns: tuple[str, ...]
    x: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    """What is read otherwise than it is written, and what is left out."""


def read_upload(data: bytes, limits: Limits) -> Upload:
    """The columns of a text that hold numbers alone, as `motes train` reads such a file.

    Raises:
        DataError: it is no such file, or too large.
    """
    from motes.data.text import TextInMemory, header_of, read_text  # pyarrow loads with the first file

    file, text, notes = TextInMemory(FILE, data), TextOptions(sep=_separator(data)), list[str]()
    if (width := len(header_of(file, text, notes.append).names)) > limits.columns:
        raise DataError(f"{FILE} has {width} columns; expected at most {limits.columns}.")
    frame = read_text(file, text, notes.append)
    if not FEWEST_ROWS <= len(frame) <= limits.rows:
        raise DataError(f"{FILE} has {len(frame):,} rows; expected {FEWEST_ROWS} to {limits.rows:,}.")
    columns = {name: series.values for name, series in frame.columns.items() if _holds_numbers(series)}
    if len(columns) < 2:
        raise DataError(f"{len(columns)} columns of {FILE} hold numbers alone; expected at least two.")
    if others := [name for name in frame.columns if name not in columns]:
        notes.append(f"Columns that do not hold numbers alone are left out: {', '.join(others)}.")
    return Upload(tuple(columns), np.array(list(columns.values()), float).T, tuple(dict.fromkeys(notes)))


def _separator(data: bytes) -> str:
    """What separates entries, by the first line that is no comment: a comma may be a decimal sign beside another."""
    first = next((line for line in io.BytesIO(data) if not line.lstrip().startswith(b"#")), b"")
    return next((mark for mark in ("\t", ";", ",") if mark.encode() in first), ",")


def _holds_numbers(series: Series) -> bool:
    if series.type not in ("real", "whole") or series.missing.any():
        return False
    return bool((np.isfinite(series.values) & (np.abs(series.values) < LARGEST)).all())
