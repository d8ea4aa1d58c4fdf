"""What a model is trained on, and real points that it has never seen.

A shape is drawn afresh as often as one likes. The rows of a file are all there is, so a part of them is held out before
the training, and every judgement uses that part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motes.data.shapes import SHAPES, draw
from motes.data.tables import Table, default_columns, read_table
from motes.errors import DataError, UsageError, check_seed, unknown
from motes.recipes import Recipe

Array = NDArray[np.float64]

FEWEST = 20  # rows held out; of a file that has no such part to spare none are, and the training rows judge


@dataclass(frozen=True)
class Source:
    """Points to learn from, and points to judge by.

    Attributes:
        name: the shape's or the file's.
        table: the rows to train on.
        held_out: rows of a file that are not trained on, (m, d); None for a shape, and for a file that is too small.
        noise: blur of a shape, None for its own.
        seed: of the draw or the division.
    """

    name: str
    table: Table
    held_out: Array | None
    noise: float | None
    seed: int

    @property
    def judged_by(self) -> str:
        """In words, what `real` gives."""
        if self.name in SHAPES:
            return "a fresh draw"
        return "the training rows" if self.held_out is None else "held-out rows"

    def real(self, n: int) -> tuple[Array, Array]:
        """Two real sets of the same size, at most `n` rows each: the judge, and one to hold against it as a floor.

        The judge is a fresh draw, or the held-out rows, and the floor is another draw, or training rows.
        """
        if self.name in SHAPES:
            # Seeds of their own: none of a training set, and none of a sample.
            words = np.random.SeedSequence([self.seed, 271828]).generate_state(2)
            judge, other = (draw(self.name, n, seed=int(word), noise=self.noise) for word in words)
            return judge, other
        rng = np.random.default_rng([self.seed, 314159])
        train = rng.permutation(self.table.x)
        judge = train[: len(train) // 2] if self.held_out is None else rng.permutation(self.held_out)
        other = train[len(train) // 2 :] if self.held_out is None else train
        n = min(n, len(judge), len(other))
        return judge[:n], other[:n]


def read_source(name: str, recipe: Recipe, seed: int) -> Source:
    """Points of a shape, drawn as `[data]` says, or the rows of a file, a part of them held out.

    Raises:
        UsageError: neither a shape nor a file.
        DataError: a file that cannot be used.
    """
    part, seed = recipe.data, check_seed(seed)
    if name in SHAPES:
        table = Table(draw(name, part.rows, seed=seed, noise=part.noise), default_columns(2))
        return Source(name, table, None, part.noise, seed)
    _check_file(name)
    table = read_table(name)
    if len(table.x) < FEWEST:
        raise DataError(
            f"'{name}' has {len(table.x)} rows; at least {FEWEST} are needed to learn from and to judge by."
        )
    count = round(part.held_out * len(table.x))
    if count < FEWEST:
        return Source(name, table, None, None, seed)
    order = np.random.default_rng([seed, 161803]).permutation(len(table.x))
    return Source(name, Table(table.x[order[count:]], table.columns), table.x[order[:count]], None, seed)


def read_rows(name: str, columns: Sequence[str], recipe: Recipe, seed: int, n: int) -> Array:
    """Rows (m, d) to look at with a model of these columns: `n` fresh ones of a shape, or all those of a file.

    A file whose header has the same names in another order is put in theirs; without those names, the order counts.

    Raises:
        UsageError: neither a shape nor a file.
        DataError: a file that cannot be used, or points of another number of columns.
    """
    if name in SHAPES:
        table = Table(read_source(name, recipe, seed).real(n)[0], default_columns(2))
    else:
        _check_file(name)
        table = read_table(name, to_learn=False)
    if len(table.columns) != len(columns):
        raise DataError(f"'{name}' has {len(table.columns)} columns; the model has {len(columns)}.")
    same = set(table.columns) == set(columns)
    return table.x[:, [table.columns.index(column) for column in columns]] if same else table.x


def _check_file(name: str) -> None:
    if Path(name).is_dir():
        raise UsageError(f"'{name}' is a folder; expected a shape, or a .csv or .npy file.")
    if not Path(name).suffix and not Path(name).exists():
        raise UsageError(unknown("shape", name, SHAPES) + " Or give a .csv or .npy file.")
