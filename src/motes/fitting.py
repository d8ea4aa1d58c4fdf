"""From any data to a trained model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.data import Frame, Table, as_frame
from motes.data.arrays import TYPE_WORDS, check_weights, plain
from motes.data.points import points_of
from motes.data.tables import bounds_texts
from motes.data.templates import template_of, without, without_values
from motes.errors import UsageError
from motes.evaluation.findings import constant_columns
from motes.pipeline import NATS, are_points, diagnose, prepared, suited, trained, warn_if_interrupted
from motes.points import PointRecipe
from motes.points.fitting import PointData, fit_points
from motes.points.posterior import context_table
from motes.progress import OnProgress, Reporter, silent, watching
from motes.recipes import load_recipe
from motes.tables.fitting import fit_table
from motes.tables.recipe import TableRecipe
from motes.training import Model, Recipe
from motes.training.model import FitSession

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
