"""The rows that a model is trained on, and real rows that it has never seen.

A shape is drawn afresh as often as one likes. The rows of a file or a data set are all there is, so a part of them is
held out, by their content (`motes.data._identity`), and every evaluation uses that part.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from motes.data._datasets import DATASETS
from motes.data._files import read_frame, refuse_address
from motes.data._frames import Frame
from motes.data._identity import content_keys, fingerprint_of, held_out_of
from motes.data._points import frame_of, read_table
from motes.data._series import Mask
from motes.data._shapes import SHAPES, make_labelled_shape, make_shape
from motes.data._tables import Standardiser, Table
from motes.data._text_lines import default_columns
from motes.diffusion._blurred_oracles import EmpiricalOracle
from motes.diffusion._oracles import Oracle
from motes.diffusion._schedules import Schedule
from motes.errors import DataError, RecipeError, UsageError, unknown
from motes.evaluation._modes import Modes
from motes.evaluation._truth import Truth, truth
from motes.recipes import PointRecipe, Recipe
from motes.tables.kinds import DROP
from motes.tables.kinds._columns import check_finite

Array = NDArray[np.float64]
Rows = TypeVar("Rows", Table, Frame)

FEWEST = 20  # rows of a file
LEAST = 10  # rows to learn from, and points to compare with
SPARE = 5  # times as many points has a file that can spare them
LABELLED = 20_000  # points that stand for the modes of a shape of curves


@dataclass(frozen=True)
class Source(Generic[Rows]):
    """Rows to learn from, and rows to compare samples with.

    Attributes:
        name: of the shape, the data set or the file.
        training: the rows to train on.
        held_out: the rows that are not trained on; None where there are none.
        seed: of the draw or the division.
        notes: what an evaluation with these rows should say, a sentence each.
        known: False where `training` is not what the model that is evaluated has learned from.
    """

    name: str
    training: Rows
    held_out: Rows | None
    seed: int
    notes: tuple[str, ...] = ()
    known: bool = True

    @property
    def fingerprint(self) -> str:
        """By which the rows to train on are known again, with their labels."""
        return fingerprint_of(_frame(self.training))

    @property
    def evaluated_against(self) -> str:
        """The real rows, in words."""
        if self.name in SHAPES:
            return "a fresh draw"
        if not self.known:
            return f"rows of {self.name}"
        return "the training rows" if self.held_out is None else "held-out rows"


@dataclass(frozen=True)
class PointSource(Source[Table]):
    """Points to learn from, and points to compare samples with.

    Attributes:
        noise: blur of a shape; None for its own.
    """

    noise: float | None = None

    @property
    def truth(self) -> Truth | None:
        """The exact distribution of a shape; None for a file, and for a curve without noise, which has no density."""
        try:
            return truth(self.name, noise=self.noise) if self.name in SHAPES else None
        except UsageError:
            return None

    @property
    def modes(self) -> Modes | None:
        """Where the modes are, for a shape that has natural classes."""
        if self.name not in SHAPES or not SHAPES[self.name].classes:
            return None
        if self.truth is not None and self.truth.modes is not None:
            return Modes.at(self.truth.modes)
        word = np.random.SeedSequence([self.seed, 141421]).generate_state(1)[0]
        return Modes.labelled(*make_labelled_shape(self.name, LABELLED, seed=int(word), noise=self.noise))

    def oracle(self, schedule: Schedule, standardiser: Standardiser, label: str | np.integer | None = None) -> Oracle:
        """The exact denoiser where the distribution is known; otherwise that which knows the training rows by heart.

        With a `label`, that of one class.
        """
        truth, x = self.truth, self.training.x
        if label is not None:
            assert self.training.labels is not None  # or there would be no label
            x, truth = x[self.training.labels == label], truth and truth.of_class(int(label))
        return truth.oracle(schedule, standardiser) if truth else EmpiricalOracle(standardiser.forward(x), schedule)

    def real(self, n: int) -> tuple[Array, Array]:
        """Two real sets of the same size, at most `n` rows each: the reference, and one for the reference values.

        The reference is a fresh draw, or the held-out rows; the other one is another draw, or training rows.
        """
        if self.name in SHAPES:
            # Seeds of their own: none of a training set, and none of a sample. Independent draws, as samples are; but a
            # curve without noise has no density to draw from.
            words = reference_seeds(self.seed)
            if self.truth is None:
                first, second = (make_shape(self.name, n, seed=word, noise=self.noise) for word in words)
            else:
                first, second = (self.truth.sample(n, seed=word) for word in words)
            return first, second
        rng = np.random.default_rng([self.seed, 314159])
        train = rng.permutation(self.training.x)
        reference = train[: len(train) // 2] if self.held_out is None else rng.permutation(self.held_out.x)
        other = train[len(train) // 2 :] if self.held_out is None else train
        n = min(n, len(reference), len(other))
        return reference[:n], other[:n]


def reference_seeds(seed: int) -> list[int]:
    """The seeds of two real draws, for a source of this seed."""
    words: list[int] = np.random.SeedSequence([seed, 271828]).generate_state(2).tolist()
    return words


def read_points(name: str, recipe: Recipe, seed: int) -> PointSource:
    """Points of a shape, drawn as [data] says, or those of a file or a data set, a part of them held out.

    Raises:
        UsageError: neither a shape nor a data set nor a file.
        DataError: a file or a data set that cannot be used, or fewer than 20 rows.
    """
    if name in SHAPES:
        recipe.text.check_for(name)
        for key in ("bounds", "given"):
            if getattr(recipe.data, key):
                raise UsageError(f"data.{key} is for columns of a file; '{name}' is a shape. Leave data.{key} out.")
        return PointSource(name, _drawn(name, recipe, seed), None, seed, noise=recipe.data.noise)
    return PointSource(**vars(divided(name, points_of_file(name, recipe), recipe, seed)))


def points_of_file(name: str, recipe: Recipe) -> Table:
    """The points of a file or a data set, in an order of their own: that of the file has no bearing on a training."""
    table = table_of(name, recipe, to_learn=True)
    _check_enough(table, name)
    return table.take(np.argsort(content_keys(_frame(table)), kind="stable"))


def read_rows(name: str, recipe: Recipe) -> Frame:
    """All rows of a file, read as [text] says, or of a data set, with the numbers that they have there in messages.

    Raises:
        UsageError: no such file or data set.
        RecipeError: a shape.
        DataError: a file that cannot be used, an infinite number, or fewer than 20 rows.
    """
    if name in SHAPES:
        raise RecipeError(f"got a recipe of tables for '{name}', which is a shape; expected one of points: default.")
    frame = read_frame(name, recipe.text)
    for column, series in frame.columns.items():
        check_finite(series, column, f"'{name}'")
    _check_enough(frame, name)
    return frame


def divided(name: str, rows: Rows, recipe: Recipe, seed: int) -> Source[Rows]:
    """The rows of a file, a part of them held out as [data] and the seed say; dropped columns have no bearing.

    Of points at least 10 are held out, or none of fewer than 50. None are where fewer than 10 would be left.
    """
    out = held_out_mask(rows, recipe, seed, LEAST if isinstance(rows, Table) else 0)
    if not out.any() or (~out).sum() < LEAST or (isinstance(rows, Table) and len(rows) < SPARE * LEAST):
        return Source(name, rows, None, seed)
    return Source(name, rows.take(np.flatnonzero(~out)), rows.take(np.flatnonzero(out)), seed)


def held_out_mask(rows: Table | Frame, recipe: Recipe, seed: int, least: int) -> Mask:
    """Which rows (n,) are held out, at least so many, where any are."""
    frame = _frame(rows)
    kept = [column for column in frame.names if recipe.columns.get(column) not in (DROP, {"kind": DROP})]
    return held_out_of(frame.select(kept), recipe.data.held_out, seed, least)


def _drawn(name: str, recipe: Recipe, seed: int) -> Table:
    part = recipe.data
    if not part.label:
        return Table(make_shape(name, part.rows, seed=seed, noise=part.noise), default_columns(2))
    if part.label != "class":
        raise UsageError(f"data.label = '{part.label}'; the classes of a shape are called 'class'.")
    x, labels = make_labelled_shape(name, part.rows, seed=seed, noise=part.noise)
    return Table(x, default_columns(2), labels)


def table_of(name: str, recipe: Recipe, *, to_learn: bool) -> Table:
    """The rows of a data set or a file, all numbers but for the column of the labels."""
    refuse_address(name)
    label, path = recipe.data.label, Path(name)
    joint = isinstance(recipe, PointRecipe) and recipe.conditions.learned  # any columns are learned given any others
    given = () if joint else recipe.data.given
    if not path.suffix and path.name == name and not path.exists() and name not in DATASETS:
        raise UsageError(f"{unknown('shape or data set', name, [*SHAPES, *DATASETS])} Or give a file: points.csv.")
    if path.is_dir():
        raise UsageError(f"'{name}' is a folder; expected a shape, a data set or a file.")
    return read_table(name, label=label, given=given, to_learn=to_learn, text=recipe.text)


def _check_enough(rows: Table | Frame, name: str) -> None:
    if len(rows) < FEWEST:
        raise DataError(
            f"'{name}' has {len(rows)} rows; expected at least {FEWEST} to learn from and to evaluate with."
        )


def _frame(rows: Table | Frame) -> Frame:
    return frame_of(rows) if isinstance(rows, Table) else rows
