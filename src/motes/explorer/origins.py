"""Data of the explorer: shapes, files, drawings, and single classes of these.

An uploaded file is read only as text with columns of numbers. Nothing is written to disk, and the name of the file is
not used.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Table
from motes.data.arrays import Series
from motes.data.readings import default_columns
from motes.data.shapes import Distribution
from motes.errors import DataError, UsageError
from motes.evaluation.sources import PointSource, reference_seeds
from motes.explorer.messages import Limits
from motes.points import Truth
from motes.text_options import TextOptions

Array = NDArray[np.float64]

DRAWING = "your drawing"
FEWEST_POINTS = 8  # minimum points of a drawing
FILE = "the file"
FEWEST_ROWS = 2
LARGEST = 1e12  # largest number in a column


@dataclass(frozen=True)
class Origin:
    """Rows of a training, and more real points to compare samples with.

    Attributes:
        name: name of the data.
        training: training rows.
        truth: the exact distribution; None if it is unknown.
        seed: seed of the rows.
        source: the shape or file that all rows come from; None for a drawing, or for one class.
    """

    name: str
    training: Table
    truth: Truth | None
    seed: int
    source: PointSource | None = None

    @classmethod
    def of(cls, source: PointSource) -> Origin:
        """Return the origin for a shape or a file."""
        return cls(source.name, source.training, source.truth, source.seed, source)

    @classmethod
    def drawing(
        cls, points: ArrayLike, noise: float, rows: int, seed: int, colours: Sequence[int] | None = None
    ) -> Origin:
        """Return rows of a drawing: points (m, 2) along strokes, blurred, with `colours` (m,); None: one colour.

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
        return cls(DRAWING, Table(x, default_columns(2), drawn if classes else None), truth, seed)

    def of_class(self, label: str | int) -> Origin:
        """Return the rows of one class; all rows if they have no labels."""
        labels = self.training.labels
        if labels is None:
            return self
        training = self.training.take(np.flatnonzero(labels.astype(str) == str(label)))
        return replace(self, training=training, truth=self.truth and self.truth.of_class(int(label)), source=None)

    def draw(self, n: int, seed: int) -> Array:
        """Return up to `n` real points (m, d): fresh ones if the distribution is known, otherwise training rows."""
        if self.truth is not None:
            return self.truth.sample(n, seed=seed)
        rows = self.training.x
        return rows[np.random.default_rng([seed, 7]).permutation(len(rows))[:n]]

    def real(self, n: int) -> tuple[Array, Array]:
        """Return two sets of up to `n` real points: to compare with, and for the reference value."""
        if self.source is not None:
            return self.source.real(n)
        first, second = reference_seeds(self.seed)
        return self.draw(n, first), self.draw(n, second)


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
