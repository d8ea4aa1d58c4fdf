"""From a shape, a data set or a file to a trained model: the recipe that suits, the rows, the training."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.data import DATASETS, SHAPES, Frame, Table, read_frame
from motes.data.arrays import Series
from motes.data.files import refuse_address, suffix_of, width_of
from motes.data.tables import as_table
from motes.errors import DataError, RecipeError
from motes.evaluation import Finding
from motes.evaluation.findings import constant_columns, find_problems
from motes.evaluation.sources import Source, columns_of, divided, read_points, read_rows
from motes.points import PointRecipe
from motes.points.fitting import fit_points, standardiser_of
from motes.progress import OnProgress, Reporter, silent, watching
from motes.recipes import load_recipe
from motes.tables import Schema
from motes.tables.fitting import fit_table, schema_of
from motes.tables.kinds.columns import column_messages
from motes.tables.recipe import TableRecipe
from motes.training import Model, Recipe
from motes.training.checkpoints import Checkpointer
from motes.training.model import FitSession

NATS = " nats a row"  # of the loss of a table


def suited(source: str, changes: Sequence[str] = ()) -> str:
    """The recipe that suits a source: "default" for points of the plane, "table" for anything else.

    Points are a shape, or a file of two columns of real numbers without a missing entry. The changes of a recipe's
    section [text] say how a file is read.

    Raises:
        UsageError, DataError: a file that is not there or cannot be read.
    """
    if source in DATASETS:
        return "table"
    refuse_address(source)
    path = Path(source)
    if source in SHAPES or path.is_dir() or not path.suffix:
        return "default"  # or what is to be said of a name that is none
    text = load_recipe("table", [change for change in changes if change.startswith("text.")]).text
    suffix_of(path)
    if width_of(path, text) != 2:  # which does not take reading all of a large file
        return "table"
    return "default" if are_points(read_frame(path, text).columns) else "table"


def are_points(columns: Mapping[str, Series]) -> bool:
    """Whether columns are taken for points of the plane: two of real numbers that vary, without a missing entry.

    Whole numbers are not: samples of points are never whole. A constant column is kept aside in a table.
    """
    return len(columns) == 2 and all(
        one.type == "real" and not one.missing.any() and (one.values != one.values[:1]).any()
        for one in columns.values()
    )


@dataclass(frozen=True)
class Prepared:
    """The rows of a shape, a data set or a file, ready to be learned.

    Attributes:
        recipe: with how the file was read, so that later files, which may have few rows, are read alike.
        origin: the rows to train on, and those that are held out.
        warnings: what should be known of the rows and the recipe, a sentence each.
        schema: of the rows of a table to train on; None: they are points.
    """

    recipe: PointRecipe | TableRecipe
    origin: Source[Any]
    warnings: tuple[str, ...]
    schema: Schema | None = None

    @property
    def fingerprint(self) -> str:
        """By which the rows to train on are known again: no others give the same training."""
        if self.schema is None:
            return self.origin.fingerprint
        return replace(self.origin, training=self.schema.contents(self.origin.training)).fingerprint


def prepared(source: str, recipe: PointRecipe | TableRecipe, seed: int) -> Prepared:
    """Read what a recipe trains on.

    Raises:
        UsageError, DataError, RecipeError: it is not there, or cannot be used.
    """
    if isinstance(recipe, PointRecipe):
        points = read_points(source, recipe, seed)
        standardiser_of(points.training, recipe)  # which refuses what cannot be learned, before anything is written
        return Prepared(recipe, points, tuple(map(str, diagnose(points.training, recipe))))
    frame = read_rows(source, recipe)
    recipe = replace(recipe, text=frame.text)
    origin = divided(source, frame, recipe, seed)
    warnings = tuple(column_messages(columns_of(frame, recipe, f"'{source}'"), shell=True))
    return Prepared(recipe, origin, warnings, _schema_of(origin, frame, recipe))


def _schema_of(origin: Source[Frame], frame: Frame, recipe: TableRecipe) -> Schema:
    """The schema of the rows to train on. What does not fit is said with its row in the file."""
    name = f"'{origin.name}'"
    try:
        return schema_of(origin.training, recipe, name=name)
    except DataError:
        schema_of(frame, recipe, name=name)
        raise


def trained(
    ready: Prepared,
    seed: int,
    reporter: Reporter,
    *,
    start: Model | None = None,
    keeper: Checkpointer | None = None,
    least: float | None = None,
    on_progress: OnProgress = silent,
) -> Model:
    """Train, with warnings and progress shown.

    Args:
        ready: what to learn.
        seed: of everything random.
        reporter: shows the progress.
        start: a model of the same kind to go on from.
        keeper: keeps the complete state of the training.
        least: how low the loss can go; the progress shows what is above it.
        on_progress: called as well.

    Raises:
        KeyboardInterrupt: Ctrl-C before the first step.
        TrainingError: the training diverged; `result` is the model of the last good weights.
    """
    for warning in ready.warnings:
        reporter.warn(warning)
    rows, recipe = ready.origin.training, ready.recipe
    model: Model
    with watching(reporter, on_progress, unit="" if ready.schema is None else NATS, least=least) as show:
        session = FitSession(keeper, show, source=ready.origin.name, start=start)
        if isinstance(recipe, PointRecipe):
            model = fit_points(rows, recipe, seed=seed, session=session)
        else:
            model = fit_table(rows, recipe, schema=ready.schema, seed=seed, session=session)
    model.template = np.empty((0, 2)) if ready.origin.name in SHAPES else Frame({})
    if model.training is not None and model.training.interrupted and not len(model.training.losses):
        raise KeyboardInterrupt
    return model


def warn_if_interrupted(model: Model, category: type[Warning] = UserWarning, stacklevel: int = 3) -> None:
    """Warn that Ctrl-C ended a training early, and that the model has what was learned until then.

    Raises:
        KeyboardInterrupt: nothing was learned.
    """
    training = model.training
    if training is None or not training.interrupted:
        return
    if not len(training.losses):
        raise KeyboardInterrupt
    warnings.warn(
        f"interrupted after {len(training.losses):,} steps of training; the model is what was learned so far.",
        category,
        stacklevel=stacklevel,
    )


def diagnose(
    data: ArrayLike | Table,
    recipe: str | Path | Recipe = "default",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Sequence[str] | None = None,
) -> list[Finding]:
    """What can be known to go wrong before any training: cheap, and silent where all is well.

    Args:
        data: numbers (n, d), d >= 2.
        recipe, changes, columns: as for `motes.fit`.

    Returns:
        Findings, the worst kind first: the scale, the prior, the noise range, the columns, the rows, the average of the
        weights; where rows are given what was observed, also how many there are, and bounds that were left out. Last
        come constant columns, which a model keeps aside.

    Raises:
        RecipeError: a recipe for a table.

    Example:
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000))]
        []
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000), "tutorial")]
        ['prior_mismatch', 'ema_too_short']
    """
    chosen = load_recipe(recipe, changes)
    if not isinstance(chosen, PointRecipe):
        raise RecipeError("got a recipe for a table; expected one for points, such as 'default'.")
    table = data if isinstance(data, Table) else as_table(data, columns)
    return [*find_problems(table, chosen), *constant_columns(table)]
