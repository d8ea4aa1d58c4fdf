"""Data of the explorer: drawings, uploaded files, and single classes of a data set.

An uploaded file is read only as text with columns of numbers. Nothing is written to disk, and the name of the file is
not used.
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
from motes.data.shapes import Distribution
from motes.errors import DataError, UsageError
from motes.evaluation.sources import PointSource, Source, reference_seeds
from motes.explorer.guard import Limits
from motes.points import Truth
from motes.text_options import TextOptions

Array = NDArray[np.float64]

DRAWING = "your drawing"
FEWEST_POINTS = 8  # minimum points of a drawing
FILE = "the file"
FEWEST_ROWS = 2
LARGEST = 1e12  # largest number in a column


@dataclass(frozen=True)
class Sketch:
    """A drawing, as rows for training and comparison.

    Attributes:
        truth: the exact distribution: equally likely points along the strokes of each colour, blurred.
        training: training rows.
        seed: seed of these rows.
    """

    truth: Truth
    training: Table
    seed: int
    name = DRAWING

    @classmethod
    def of(cls, points: ArrayLike, noise: float, rows: int, seed: int, colours: ArrayLike | None = None) -> Sketch:
        """Create a drawing from points (m, 2) along strokes with `colours` (m,), whole numbers; None: one colour.

        Several colours are equally likely classes.

        Raises:
            UsageError: if there are too few points, or all lie on a line along an axis.
        """
        nodes = np.asarray(points, float)
        if len(nodes) < FEWEST_POINTS or (np.ptp(nodes, axis=0) < 1e-3).any():
            raise UsageError(
                f"got a drawing of {len(nodes)} points; expected at least {FEWEST_POINTS} that span the plane."
            )
        names, labels = np.unique(np.zeros(len(nodes), int) if colours is None else colours, return_inverse=True)
        weights = 1 / (len(names) * np.bincount(labels)[labels])
        classes = len(names) > 1
        own = labels if classes else np.full(len(nodes), -1)
        truth = Truth(DRAWING, Distribution(nodes, nodes, weights, noise, own))
        x, drawn = truth.labelled_sample(rows, seed=seed)
        return cls(truth, Table(x, default_columns(2), drawn if classes else None), seed)

    def draw(self, n: int, seed: int) -> Array:
        """Draw `n` fresh points (n, 2)."""
        return self.truth.sample(n, seed=seed)

    def real(self, n: int) -> tuple[Array, Array]:
        """Draw two fresh sets of `n` points, each with its own seed."""
        first, second = reference_seeds(self.seed)
        return self.draw(n, first), self.draw(n, second)


@dataclass(frozen=True)
class OneClass:
    """The rows of one class of the training data.

    Attributes:
        whole: rows of all classes, with their labels.
        label: label of the class.
    """

    whole: PointSource | Sketch
    label: str | int

    @property
    def name(self) -> str:
        """Name of the data, with all classes together."""
        return self.whole.name

    @property
    def seed(self) -> int:
        """Seed of the data, with all classes together."""
        return self.whole.seed

    @property
    def truth(self) -> Truth | None:
        """The exact distribution of the class, or None if it is unknown."""
        return self.whole.truth and self.whole.truth.of_class(int(self.label))

    @property
    def training(self) -> Table:
        """The rows of the class."""
        table = self.whole.training
        assert table.labels is not None  # there are classes
        return table.take(np.flatnonzero(table.labels.astype(str) == str(self.label)))

    def draw(self, n: int, seed: int) -> Array:
        """Return up to `n` real points (m, 2): a fresh draw if the distribution is known, otherwise training rows."""
        if self.truth is not None:
            return self.truth.sample(n, seed=seed)
        if self.name in SHAPES and isinstance(self.whole, Source):
            count = SHAPES[self.name].classes or 1
            x, labels = make_labelled_shape(self.name, 2 * count * n, seed=seed, noise=self.whole.noise)
            return x[labels == int(self.label)][:n]
        return some_rows(self.training.x, n, seed)

    def real(self, n: int) -> tuple[Array, Array]:
        """Draw two sets of `n` points, each with its own seed."""
        first, second = reference_seeds(self.seed)
        return self.draw(n, first), self.draw(n, second)


def some_rows(rows: Array, n: int, seed: int) -> Array:
    """Return up to `n` of the rows (m, d), in random order."""
    return rows[np.random.default_rng([seed, 7]).permutation(len(rows))[:n]]


class Upload(NamedTuple):
    """The columns of numbers in a file: their names, and the rows (n, d)."""

    columns: tuple[str, ...]
    x: NDArray[np.float64]
    notes: tuple[str, ...] = ()
    """Remarks on conversions and on omitted columns."""


def read_upload(data: bytes, limits: Limits) -> Upload:
    """Read the columns of a text file that contain only numbers, as `motes train` does.

    Raises:
        DataError: if the file has another form or is too large.
    """
    from motes.data.text import Text, TextInMemory, read_text  # pyarrow loads with the first file

    file, text, notes = TextInMemory(FILE, data), TextOptions(sep=_separator(data)), list[str]()
    if (width := len(Text(file, text, notes.append).names)) > limits.columns:
        raise DataError(f"{FILE} has {width} columns; expected at most {limits.columns}.")
    frame = read_text(file, text, notes.append)
    if not FEWEST_ROWS <= len(frame) <= limits.rows:
        raise DataError(f"{FILE} has {len(frame):,} rows; expected {FEWEST_ROWS} to {limits.rows:,}.")
    columns = {name: series.values for name, series in frame.columns.items() if _holds_numbers(series)}
    if len(columns) < 2:
        raise DataError(f"{len(columns)} columns of {FILE} contain only numbers; expected at least two.")
    if others := [name for name in frame.columns if name not in columns]:
        notes.append(f"Omitted columns, which do not contain only numbers: {', '.join(others)}.")
    return Upload(tuple(columns), np.array(list(columns.values()), float).T, tuple(dict.fromkeys(notes)))


def _separator(data: bytes) -> str:
    """Find the separator in the first line that is not a comment. A comma next to another one may be decimal."""
    first = next((line for line in io.BytesIO(data) if not line.lstrip().startswith(b"#")), b"")
    return next((mark for mark in ("\t", ";", ",") if mark.encode() in first), ",")


def _holds_numbers(series: Series) -> bool:
    if series.type not in ("real", "whole") or series.missing.any():
        return False
    return bool((np.isfinite(series.values) & (np.abs(series.values) < LARGEST)).all())
