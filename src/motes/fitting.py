"""`motes.fit` and `motes.diagnose`: choose a recipe, read the rows, train the model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.arguments import check_arguments
from motes.data import DATASETS, SHAPES, Blocks, Frame, Table, arrays, as_frame, files
from motes.data.frames import Template
from motes.data.points import as_table, points_of
from motes.data.stored import describe, name_rows
from motes.data.tables import bounds_texts
from motes.errors import DataError, RecipeError, UsageError, check_unicode
from motes.evaluation import Finding
from motes.evaluation.findings import constant_columns, find_problems
from motes.evaluation.sources import Files, Source, columns_of, divided, read_points, read_rows
from motes.points import PointRecipe
from motes.points.fitting import PointData, fit_points, standardiser_of
from motes.points.posterior import context_table
from motes.progress import OnProgress, Reporter, silent, watching
from motes.recipes import load_recipe
from motes.tables import Schema
from motes.tables.fitting import fit_table, schema_of
from motes.tables.kinds.columns import column_messages
from motes.tables.recipe import RuleOptions, TableRecipe
from motes.text_options import suffix_of
from motes.training import Model, Recipe
from motes.training.checkpoints import Checkpointer, FitSession
from motes.training.processes import is_first
from motes.training.recipe import Changes, pairs_of

NATS = " nats per row"  # of the loss of a table


def choose_recipe(source: Files, changes: Changes = ()) -> str:
    """Choose the recipe for a source: "default" for points of the plane, "table" for anything else.

    A shape is points, and so is a file with two columns of real numbers and no missing entry. Changes to the recipe's
    section [text] determine how a file is read.

    Raises:
        UsageError, DataError: if the file does not exist or cannot be read.
    """
    if source in DATASETS:
        return "table"
    if source in SHAPES:
        return "default"
    path = files.files_of(source)[0]
    if not suffix_of(path):
        return "default"  # an unknown name raises its error later
    text = load_recipe("table", {key: value for key, value in pairs_of(changes) if key.startswith("text.")}).text
    files.readable_suffix(path)
    if files.width_of(path, text) != 2:  # reads only the first line of a text file
        return "table"
    whole = Blocks.of_files(source, text)
    some = next(whole.read()) if files.is_several(source) else whole.whole()
    return "default" if are_points(some.columns) else "table"


def are_points(columns: Mapping[str, arrays.Series]) -> bool:
    """Return whether columns are treated as points of the plane: two varying real columns without missing entries.

    Columns of whole numbers are treated as a table, because samples of points are never whole; so are constant columns.
    """
    return len(columns) == 2 and all(
        one.type == "real" and not one.missing.any() and (one.values != one.values[:1]).any()
        for one in columns.values()
    )


@dataclass(frozen=True)
class PreparedRows:
    """The rows of a shape, a data set or a file, ready for training.

    Attributes:
        recipe: the recipe, with the text options that were detected, so that later files are read in the same way.
        origin: the training rows and the held-out rows.
        warnings: warnings about the rows and the recipe, one sentence each.
        schema: the schema of the training rows of a table; None for points.
    """

    recipe: PointRecipe | TableRecipe
    origin: Source[Any]
    warnings: tuple[str, ...]
    schema: Schema | None = None

    @property
    def fingerprint(self) -> str:
        """The hash of the training rows, which a resumed run must match."""
        if self.schema is None:
            return self.origin.fingerprint
        return replace(self.origin, training=self.schema.contents(self.origin.training)).fingerprint


def prepare_rows(
    source: Files, recipe: PointRecipe | TableRecipe, seed: int, reporter: Reporter | None = None
) -> PreparedRows:
    """Read and check the rows that a recipe trains on; `reporter` shows the progress if they are many.

    Raises:
        UsageError, DataError, RecipeError: if the source does not exist or cannot be used.
    """
    check_unicode(describe(source), "the name of the source", UsageError)
    if isinstance(recipe, PointRecipe):
        points = read_points(source, recipe, seed, reporter)
        standardiser_of(points.training, recipe)  # refuses unusable data before anything is written
        return PreparedRows(recipe, points, tuple(map(str, diagnose(points.training, recipe))))
    frame, name = read_rows(source, recipe, reporter), describe(source)
    recipe = replace(recipe, text=frame.text)
    origin = divided(name, frame, recipe, seed)
    warnings = tuple(column_messages(columns_of(frame, recipe, name_rows(name, frame)), shell=True))
    return PreparedRows(recipe, origin, warnings, _infer_schema(origin, frame, recipe))


def _infer_schema(origin: Source[Frame], frame: Frame, recipe: TableRecipe) -> Schema:
    """Infer the schema of the training rows. Errors name the row of the file, or of its sample."""
    name = name_rows(origin.name, frame)
    try:
        return schema_of(origin.training, recipe, name=name, checked=frame)
    except DataError:
        schema_of(frame, recipe, name=name)
        raise


def train_model(
    ready: PreparedRows,
    seed: int,
    reporter: Reporter,
    *,
    start: Model | None = None,
    keeper: Checkpointer | None = None,
    least: float | None = None,
    on_progress: OnProgress = silent,
    scratch: Path | None = None,
) -> Model:
    """Train a model, showing warnings and progress.

    Args:
        ready: the rows and the recipe.
        seed: the seed of the training.
        reporter: shows warnings and progress.
        start: a model of the same kind from which to continue.
        keeper: saves the complete training state.
        least: the theoretical minimum of the loss; the progress shows the gap to it.
        on_progress: an additional progress callback.
        scratch: folder for the file of rows that do not fit into memory; None: a temporary folder.

    Raises:
        KeyboardInterrupt: on Ctrl-C before the first step.
        TrainingError: if the training diverges; `result` is the model with the last finite weights.
    """
    for warning in ready.warnings:
        reporter.warn(warning)
    rows, recipe = ready.origin.training, ready.recipe
    model: Model
    with watching(reporter, on_progress, unit="" if ready.schema is None else NATS, least=least) as show:
        session = FitSession(keeper, show, source=ready.origin.name, start=start, scratch=scratch)
        if isinstance(recipe, PointRecipe):
            model = fit_points(rows, recipe, seed=seed, session=session)
        else:
            model = fit_table(rows, recipe, schema=ready.schema, seed=seed, session=session)
    model.template = np.empty((0, 2)) if ready.origin.name in SHAPES else Frame({})
    return model


def warn_if_interrupted(model: Model, category: type[Warning] = UserWarning, stacklevel: int = 4) -> None:
    """Warn if Ctrl-C ended the training early; the model keeps what was learned so far."""
    if model.training.interrupted:
        message = f"interrupted after {model.training.steps:,} steps of training; the model is what was learned so far."
        warnings.warn(message, category, stacklevel=stacklevel)


@check_arguments
def diagnose(
    data: ArrayLike | Table,
    recipe: str | Path | Recipe = "default",
    *,
    changes: Changes = (),
    columns: Sequence[str] | None = None,
) -> list[Finding]:
    """Check points and a recipe for common problems before training. The checks are cheap.

    Args:
        data: numbers (n, d), d >= 2.
        recipe, changes, columns: as in `motes.fit`.

    Returns:
        The findings, the most serious kind first; an empty list if there are none. The checks cover scale, prior, noise
        range, columns, rows and the average of the weights; for conditional points also the number of rows and omitted
        bounds. Constant columns, which a model sets aside, come last.

    Raises:
        RecipeError: if the recipe is for a table.

    Example:
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000))]
        []
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000), "tutorial")]
        ['prior_mismatch', 'ema_too_short']
    """
    chosen = load_recipe(recipe, changes)
    if not isinstance(chosen, PointRecipe):
        raise RecipeError("got a recipe for a table; expected one for points, such as 'default'.")
    table = as_table(data, columns)
    return [*find_problems(table, chosen), *constant_columns(table)]


# --- motes.fit: rows in memory, or the name of a source ---------------------------------------------------------------


@check_arguments
def fit(
    data: Any,
    recipe: str | Path | Recipe | None = None,
    *,
    changes: Changes = (),
    columns: Sequence[str] | Mapping[str, Any] | None = None,
    labels: ArrayLike | None = None,
    given: Any = None,
    bounds: Mapping[str, Any] | None = None,
    rules: Sequence[Any] | None = None,
    weights: ArrayLike | None = None,
    start: Model | None = None,
    seed: int | None = None,
    source: str = "",
    verbose: bool | None = None,
    on_progress: OnProgress = silent,
    scratch: str | Path | None = None,
) -> Model:
    """Train a model on the rows of `data`.

    Args:
        data: a NumPy, JAX or PyTorch array (n, d), a list of rows, a dict of columns, a structured array, or a pandas,
            polars or Arrow table. Masked entries are missing. You can also pass the name of a shape, a data set, a
            file or a folder, a pattern such as "rows/*.parquet", or a list of files; then a part of the rows is held
            out for `Model.evaluate`. Files with more entries than the recipe's `data.in_memory` are not read into
            memory; see docs/large_rows.md.
        recipe: a name (see `motes recipes`), a `.toml` file or a `Recipe`. By default, it is chosen from the data:
            "posterior" if you pass `given`; "default" if you pass `bounds`, or for points (two columns of real numbers
            without missing entries); and "table" for anything else.
        changes: changes to the recipe, such as {"training.steps": 8000}.
        columns: for an array, the column names; for a table, the kinds of columns, such as {"age": "integer"}.
        labels: for points: the class of each row (n,). In a table, the class is a column.
        given: for points: the condition of each row, as an array (n, c), a dict of columns or a data frame. The model
            is then p(row | given): a posterior, if the rows are parameters and `given` the data simulated from them.
            Pass an observation to `sample` and `score_samples`. Missing entries are learned. In a table, conditions are
            columns.
        bounds: for points: column -> (low, high), with None for an open end, such as the bounds of a prior; the same as
            the recipe key `data.bounds`. Samples stay within the bounds, and log p is minus infinity outside.
        rules: for a table: rules between columns that every synthetic row obeys, such as ["end <= start + 30"]; the
            same as the recipe key `rules.hold`. Texts, or what `motes.tables.find_rules` returns. See docs/rules.md.
        weights: sample weights (n,), at least 0. A weight of 2 gives the same model, to the bit, as the row twice, and
            0 the same as without the row. If weights average less than 1, only their ratios count. Default: 1.
        start: a model with the same columns and network from which to continue: from its complete training state
            (weights, their averages, the optimiser's state), or from the weights alone if it was loaded from a file.
            With the same rows, recipe and seed, the recipe's steps are the total of both trainings; otherwise they are
            additional steps.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine. Default: 0, or the
            seed of `start`.
        source: the name of data in memory, for the model file and messages.
        verbose: whether to show the recipe and the progress. By default, shown in terminals and notebooks.
        on_progress: called a few times per second with a `Progress`: `done`, `total`, `loss`, `held_out`, `seconds`.
        scratch: a folder for rows that are not read into memory, with a few bytes per entry. A second call with the
            same files, recipe and seed uses them again, or completes them. Default: a temporary folder.

    Returns:
        The model, with its losses in `model.training`. Ctrl-C ends the training with a `UserWarning`, and the model
        keeps what was learned so far. Before the first step, Ctrl-C raises KeyboardInterrupt.

    Raises:
        DataError: if the data cannot be used, or more than 5 % of the rows break a rule; the message names the row and
            the column, or the rule.
        UsageError: for an unknown name, an option that does not apply to the data, a rule that cannot be read, or a
            `start` with another kind of model, another network, or a complete training.
        RecipeError: for an invalid recipe.
        TrainingError: if the training diverges; `result` is the model with the last finite weights.

    Example:
        >>> import motes
        >>> people = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
        >>> model = motes.fit(people, changes={"table.steps": 2}, verbose=False)
        >>> sorted(model.sample(3))
        ['age', 'smoker']
    """
    check_unicode(source, "source", UsageError)
    seed = (0 if start is None else start.seed) if seed is None else seed
    reporter = Reporter(quiet=not verbose) if verbose is not None else Reporter.where_seen()
    reporter.console.quiet = not is_first()
    if isinstance(data, str | Path) or files.is_several(data):
        beside = {"labels": labels, "given": given, "bounds": bounds, "weights": weights}
        what = next((name for name, part in beside.items() if part is not None), None)
        if what is not None:
            raise UsageError(f"got {what} for '{describe(data)}'; {what} needs rows in memory. Read the file first.")
        name, source = describe(data), str(data) if isinstance(data, Path) else data
        if recipe is None:
            recipe = "table" if rules is not None else choose_recipe(source, changes)
            reporter.say(f"recipe '{recipe}' for '{name}'")
        chosen = _with_rules(load_recipe(recipe, changes), rules)
        if isinstance(chosen, TableRecipe):
            chosen = replace(chosen, columns={**chosen.columns, **_check_kinds(columns)})
        elif columns is not None:
            raise UsageError(f"columns are for rows in memory, or for a table; '{name}' contains points.")
        ready = prepare_rows(source, chosen, seed, reporter)
        folder = None if scratch is None else Path(scratch)
        made = train_model(ready, seed, reporter, start=start, on_progress=on_progress, scratch=folder)
        warn_if_interrupted(made)
        return made
    template, data = data, arrays.plain(data)
    is_array = isinstance(data, np.ndarray | list | tuple)
    names = columns if is_array and not isinstance(columns, Mapping) else None
    frame = as_frame(data, names)
    if recipe is None:
        recipe = "table" if rules is not None else _choose_recipe(frame, given, bounds, reporter)
    chosen = _with_rules(load_recipe(recipe, changes), rules)
    if bounds is not None:
        chosen = replace(chosen, data=replace(chosen.data, bounds=bounds_texts(bounds)))
    if isinstance(chosen, TableRecipe):
        _refuse_in_table(given, labels)
        kinds = _check_kinds(columns if names is None else None)
        with watching(reporter, on_progress, unit=NATS) as show:
            session = FitSession(on_progress=show, source=source, start=start)
            table = fit_table(frame, chosen, columns=kinds, weights=weights, seed=seed, session=session)
        for warning in table.schema.warnings if start is None else ():
            reporter.warn(warning)
        warn_if_interrupted(table)
        template = _modelled_template(template, frame.names, table.columns)
        table.template = template.without_values(table.schema.identifiers)
        return table
    if isinstance(columns, Mapping):
        raise UsageError(f"columns = {dict(columns)}: kinds of columns are for tables. Pass recipe='table', or names.")
    if columns is not None and not is_array:
        raise UsageError(f"columns = {list(columns)}, but the data has column names. Leave `columns` out.")
    whole = is_array or isinstance(data, Table)
    rows = data if whole else points_of(frame, "the data", chosen.data.label, chosen.data.given)
    points = PointData(rows, columns, labels, weights, given)
    if start is None:
        _warn_of_points(points, chosen, reporter)
    with watching(reporter, on_progress) as show:
        session = FitSession(on_progress=show, source=source, start=start)
        fitted = fit_points(points, chosen, seed=seed, session=session)
    warn_if_interrupted(fitted)
    fitted.template = _modelled_template(template, () if is_array else frame.names, fitted.columns)
    return fitted


def _warn_of_points(points: PointData, recipe: PointRecipe, reporter: Reporter) -> None:
    """Warn about constant columns and, for conditional points, about all problems that `diagnose` finds."""
    table = points.table
    observed = table.given if points.given is None else context_table(points.given, len(table), table.columns)
    table = replace(table, given=observed)
    if points.weights is not None:
        table = table.take(np.flatnonzero(arrays.check_weights(points.weights, len(table))))
    if recipe.conditions.learned or observed is None:
        found = [one for part in (table, table.given) if part is not None for one in constant_columns(part)]
    else:
        found = diagnose(table, recipe)
    for finding in found:
        reporter.warn(str(finding))


def _modelled_template(data: Any, names: Sequence[str], kept: Sequence[str]) -> Template:
    """Return the template of `data`, without columns that the model does not have, such as labels.

    If the model has columns that `data` lacks, as recipe "any" does with `given`, the template is a `Frame`.
    """
    if names and not {*kept} <= {*names}:
        return Template("frame")
    return Template.of(data).without([j for j, name in enumerate(names) if name not in kept])


def _refuse_in_table(given: Any, labels: Any) -> None:
    """Refuse `given` and `labels`, which in a table are columns."""
    if given is not None:
        raise UsageError(
            "given is for points; a table is conditioned on its columns when rows are drawn. Add them to the data and "
            "pass known values to sample(n, given=...), or leave out the recipe."
        )
    if labels is not None:
        raise UsageError("labels are for points; in a table they are a column. Add them to the data.")


def _choose_recipe(frame: Frame, given: Any, bounds: Any, reporter: Reporter) -> str:
    """Choose the recipe for rows in memory: a recipe for points if there are conditions or bounds."""
    if given is not None:
        reporter.say("recipe 'posterior', for points with conditions")
        return "posterior"
    if bounds is not None:
        return "default"
    if are_points(frame.columns):
        reporter.say("recipe 'default', for points: two columns of real numbers")
        return "default"
    why = f"{len(frame.columns)} columns"
    for name, one in frame.columns.items():
        if one.type != "real" or one.missing.any():
            what = f"holds {arrays.TYPE_WORDS[one.type]}" if one.type != "real" else "has missing entries"
            why += f"; '{name}' {what}"
            break
    reporter.say(f"recipe 'table': {why}")
    return "table"


def _with_rules(recipe: PointRecipe | TableRecipe, rules: Any) -> PointRecipe | TableRecipe:
    """Return a recipe of a table with these rules; None: its own."""
    if rules is None:
        return recipe
    if not isinstance(recipe, TableRecipe):
        raise UsageError('got rules for points; expected a table. Pass recipe="table", or leave out the rules.')
    return replace(recipe, rules=RuleOptions(tuple(map(str, rules))))


def _check_kinds(columns: Any) -> Mapping[str, Any]:
    """Check the kinds of columns."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise UsageError(f"columns = {columns!r}; the data has names, so expected a dict such as {{'age': 'integer'}}.")
    return columns
