"""From any data to a trained model: the recipe that suits, the rows, the training; `motes.fit` and `motes.diagnose`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.data import DATASETS, SHAPES, Frame, Table, as_frame, read_frame
from motes.data.arrays import TYPE_WORDS, Series, check_weights, plain
from motes.data.files import refuse_address, suffix_of, width_of
from motes.data.points import points_of
from motes.data.tables import as_table, bounds_texts
from motes.data.templates import template_of, without, without_values
from motes.errors import DataError, RecipeError, UsageError
from motes.evaluation import Finding
from motes.evaluation.findings import constant_columns, find_problems
from motes.evaluation.sources import Source, columns_of, divided, read_points, read_rows
from motes.points import PointRecipe
from motes.points.fitting import PointData, fit_points, standardiser_of
from motes.points.posterior import context_table
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


# --- rows in memory, or by a name -----------------------------------------------------------------------------------

Changes = Sequence[str] | Mapping[str, Any]


def fit(
    data: Any,
    recipe: str | Path | Recipe | None = None,
    *,
    changes: Changes = (),
    columns: Sequence[str] | Mapping[str, Any] | None = None,
    labels: ArrayLike | None = None,
    given: Any = None,
    bounds: Mapping[str, Any] | None = None,
    weights: ArrayLike | None = None,
    start: Model | None = None,
    seed: int | None = None,
    source: str = "",
    verbose: bool | None = None,
    on_progress: OnProgress = silent,
) -> Model:
    """Train a model on the rows of `data`.

    Args:
        data: an array (n, d) of NumPy, JAX or PyTorch, lists of rows, a dict of columns, a structured array, a pandas,
            polars or Arrow table; or the name of a shape, a data set or a file, of which a part is held out for
            `Model.evaluate`. Masked entries are missing.
        recipe: a name (see `motes recipes`), a `.toml` file or a `Recipe`. None takes the one that suits: "posterior"
            for anything with `given`; "default" for two columns of real numbers without missing entries, which are
            points, and for anything with `bounds`; and "table" for anything else.
        changes: to it, such as {"training.steps": 8000}.
        columns: names of the columns of an array; or, of a table, what columns are: {"age": "integer"}.
        labels: of points: the class of each row (n,). In a table a class is one of the columns.
        given: of points: what each row was observed with, an array (n, c), a dict of columns or a data frame. The model
            is then p(row | given), a posterior where rows are parameters and `given` what was simulated with them: give
            an observation to `sample` and `score_samples`. Missing entries are learned as such. In a table it is more
            columns.
        bounds: of points: column -> (low, high), one of which may be None, such as those of a prior; `data.bounds` of
            the recipe. No sample is beyond them, and log p there is minus infinity.
        weights: how many rows each row stands for (n,), at least 0: 2 gives the same model, to the bit, as the row
            twice, and 0 the same as without it. Where they are less than 1 on average only their ratios count. None: 1.
        start: a model of the same columns and network to go on from: with the complete state of its training (weights,
            their averages, the optimiser's state), or from the weights alone where it was loaded. With the same rows,
            recipe and seed it is the same training, and its steps are those of the whole; with anything else the steps
            of the recipe come on top.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine. None: 0, or the
            seed of `start`.
        source: what data in memory is called in the model file and in messages.
        verbose: show the recipe and the progress. None: in a terminal and in a notebook.
        on_progress: called a few times a second with a `Progress`: `done`, `total`, `loss`, `held_out`, `seconds`.

    Returns:
        The model, with its losses in `model.training`. Ctrl-C ends the training with a `UserWarning`, and the model has
        what was learned until then; before the first step it is a KeyboardInterrupt.

    Raises:
        DataError: data that cannot be used; the message names the row and the column.
        UsageError: an unknown name, an option that does not suit the data, a `start` of another kind or network, or one
            whose training is complete.
        RecipeError: a recipe that cannot be followed.
        TrainingError: the training diverged; its `result` is the model of the last good weights.

    Example:
        >>> import motes
        >>> people = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
        >>> model = motes.fit(people, changes={"table.steps": 2}, verbose=False)
        >>> sorted(model.sample(3))
        ['age', 'smoker']
    """
    seed = (0 if start is None else start.seed) if seed is None else seed
    reporter = Reporter(quiet=not verbose) if verbose is not None else Reporter.where_seen()
    if isinstance(data, str | Path):
        beside = {"labels": labels, "given": given, "bounds": bounds, "weights": weights}
        what = next((name for name, part in beside.items() if part is not None), None)
        if what is not None:
            raise UsageError(f"got {what} for '{data}'; expected rows in memory with them. Read the file first.")
        made = _fit_source(str(data), recipe, changes, columns, start, seed, reporter, on_progress)
        warn_if_interrupted(made)
        return made
    template, data = data, plain(data)
    is_array = isinstance(data, np.ndarray | list | tuple)
    names = columns if is_array and not isinstance(columns, Mapping) else None
    frame = as_frame(data, names)
    chosen = load_recipe(_suited(frame, given, bounds, reporter) if recipe is None else recipe, changes)
    if bounds is not None:
        chosen = replace(chosen, data=replace(chosen.data, bounds=bounds_texts(bounds)))
    if isinstance(chosen, TableRecipe):
        _refuse_in_table(given, labels)
        kinds = _kinds(columns if names is None else None)
        with watching(reporter, on_progress, unit=NATS) as show:
            session = FitSession(on_progress=show, source=source, start=start)
            table = fit_table(frame, chosen, columns=kinds, weights=weights, seed=seed, session=session)
        for warning in table.schema.warnings if start is None else ():
            reporter.warn(warning)
        warn_if_interrupted(table)
        template = _template(template, frame.names, table.columns)
        table.template = without_values(template, [*table.schema.identifiers])
        return table
    if isinstance(columns, Mapping):
        raise UsageError(f"columns = {dict(columns)}: what columns are is for tables. Give recipe='table', or names.")
    if columns is not None and not is_array:
        raise UsageError(f"columns = {list(columns)}; the data names its own columns. Leave them out.")
    whole = is_array or isinstance(data, Table)
    rows = data if whole else points_of(frame, "the data", chosen.data.label, chosen.data.given)
    points = PointData(rows, columns, labels, weights, given)
    if start is None:
        _warn_of_points(points, chosen, reporter)
    with watching(reporter, on_progress) as show:
        session = FitSession(on_progress=show, source=source, start=start)
        fitted = fit_points(points, chosen, seed=seed, session=session)
    warn_if_interrupted(fitted)
    fitted.template = _template(template, () if is_array else frame.names, fitted.columns)
    return fitted


def _warn_of_points(points: PointData, recipe: PointRecipe, reporter: Reporter) -> None:
    """Warn of constant columns, and of what can be known to go wrong with points that are given what was observed."""
    table = points.table
    observed = table.given if points.given is None else context_table(points.given, len(table), table.columns)
    table = replace(table, given=observed)
    if points.weights is not None:
        table = table.take(np.flatnonzero(check_weights(points.weights, len(table))))
    if recipe.conditions.learned or observed is None:
        found = [one for part in (table, table.given) if part is not None for one in constant_columns(part)]
    else:
        found = diagnose(table, recipe)
    for finding in found:
        reporter.warn(str(finding))


def _template(data: Any, names: Sequence[str], kept: Sequence[str]) -> Any:
    """The kind of table that `data` is, without those of its columns that a model does not have, such as labels.

    Of more columns than `data` has, as where recipe "any" joins `given` to named ones, it is a `Frame`.
    """
    if names and not {*kept} <= {*names}:
        return Frame({})
    return without(template_of(data), [j for j, name in enumerate(names) if name not in kept])


def _refuse_in_table(given: Any, labels: Any) -> None:
    """Refuse what belongs to points and is a column of a table."""
    if given is not None:
        raise UsageError(
            "given is for points; the columns of a table are conditioned on when rows are drawn. Put them into the "
            "data, and give sample(n, given=...) what is known; or leave out the recipe."
        )
    if labels is not None:
        raise UsageError("labels are for points; in a table they are one more column. Put them into the data.")


def _suited(frame: Frame, given: Any, bounds: Any, reporter: Reporter) -> str:
    """The recipe that suits rows in memory: that of points where they are given something, or have bounds."""
    if given is not None:
        reporter.say("recipe 'posterior', for points given what was observed")
        return "posterior"
    if bounds is not None:
        return "default"
    if are_points(frame.columns):
        reporter.say("recipe 'default', for points: two columns of real numbers")
        return "default"
    why = f"{len(frame.columns)} columns"
    for name, one in frame.columns.items():
        if one.type != "real" or one.missing.any():
            why += f"; '{name}' {f'holds {TYPE_WORDS[one.type]}' if one.type != 'real' else 'has missing entries'}"
            break
    reporter.say(f"recipe 'table': {why}")
    return "table"


def _fit_source(
    name: str,
    recipe: str | Path | Recipe | None,
    changes: Changes,
    columns: Any,
    start: Model | None,
    seed: int,
    reporter: Reporter,
    on_progress: OnProgress,
) -> Model:
    """A model of a shape, a data set or a file, as `motes train` makes it."""
    if recipe is None:
        words = [f"{key}={value}" for key, value in changes.items()] if isinstance(changes, Mapping) else changes
        recipe = suited(name, words)
        reporter.say(f"recipe '{recipe}' for '{name}'")
    chosen = load_recipe(recipe, changes)
    if isinstance(chosen, TableRecipe):
        chosen = replace(chosen, columns={**chosen.columns, **_kinds(columns)})
    elif columns is not None:
        raise UsageError(f"columns are for rows in memory, or for a table; '{name}' is of points.")
    ready = prepared(name, chosen, seed)
    return trained(ready, seed, reporter, start=start, on_progress=on_progress)


def _kinds(columns: Any) -> Mapping[str, Any]:
    """What columns are."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise UsageError(f"columns = {columns!r}; expected a mapping such as {{'age': 'integer'}}: the data has names.")
    return columns
