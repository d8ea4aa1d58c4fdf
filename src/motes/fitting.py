"""From any data to a trained model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.data.frames import SAID, Frame, as_frame
from motes.data.shapes import SHAPES
from motes.data.tables import Table
from motes.data.templates import template_of, without
from motes.errors import UsageError
from motes.model import Model
from motes.point_fitting import fit_points
from motes.points import PointModel
from motes.progress import Reporter, watching
from motes.recipes import Recipe, load_recipe
from motes.sources import points_of, read_source
from motes.table_fitting import fit_table
from motes.table_runs import NATS, are_points, is_table, recipe_for, schema_of
from motes.table_sources import read_rows, table_source
from motes.tabular import TableModel

Changes = Sequence[str] | Mapping[str, Any]


def fit(
    data: Any,
    recipe: str | Path | Recipe | None = None,
    *,
    changes: Changes = (),
    columns: Sequence[str] | Mapping[str, Any] | None = None,
    labels: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    start: Model | None = None,
    seed: int = 0,
    source: str = "",
    verbose: bool | None = None,
    on_progress: Callable[[Any], None] | None = None,
) -> Model:
    """Train a model on the rows of `data`.

    Args:
        data: an array (n, d), lists of rows, a dict of columns, a pandas, polars or Arrow table; or the name of a
            shape, a data set or a file, of which a part is held out for `Model.evaluate`.
        recipe: a name (see `motes recipes`), a `.toml` file or a `Recipe`. None takes the one that suits: "default"
            for two columns of real numbers without missing entries, which are points, and "table" for anything else.
        changes: to it, such as {"training.steps": 8000}.
        columns: names of the columns of an array; or, of a table, what columns are: {"age": "integer"}.
        labels: of points: the class of each row (n,). In a table a class is one of the columns.
        weights: of the rows (n,), at least 0: 2 is as good as the row twice, and 0 as no such row. None: 1 each.
        start: a model of the same columns and recipe to go on from.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        source: what data in memory is called in the model file and in messages.
        verbose: show the recipe and the progress. None: in a terminal and in a notebook.
        on_progress: called a few times a second with a `Progress`: `step`, `steps`, `loss`, `held_out`, `seconds`.

    Returns:
        The model, with its losses in `model.training`. After Ctrl-C it is what was learned until then.

    Raises:
        DataError: data that cannot be used; the message names the row and the column.
        UsageError: an unknown name, an option that does not suit the data, or a `start` of another kind.
        RecipeError: a recipe that cannot be followed.
        TrainingError: the loss was not finite.

    Example:
        >>> import motes
        >>> people = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
        >>> model = motes.fit(people, changes={"table.steps": 2}, verbose=False)
        >>> sorted(model.sample(3))
        ['age', 'smoker']
    """
    reporter = Reporter(quiet=not verbose) if verbose is not None else Reporter.where_seen()
    if isinstance(data, str | Path):
        if labels is not None or weights is not None:
            what = "labels" if labels is not None else "weights"
            raise UsageError(f"got {what} for '{data}'; expected rows in memory with them. Read the file first.")
        return _fit_source(str(data), recipe, changes, columns, start, seed, reporter, on_progress)
    frame = None if _is_array(data) else as_frame(data)
    chosen = load_recipe(recipe if recipe is not None else _suited(data, frame, reporter), changes)
    if chosen.data.encode:
        if labels is not None:
            raise UsageError("labels are for points; in a table they are one more column. Put them into the data.")
        return _fit_frame(data, chosen, columns, weights, start, seed, source, reporter, on_progress)
    if isinstance(columns, Mapping):
        raise UsageError(f"columns = {dict(columns)}: what columns are is for tables. Give recipe='table', or names.")
    rows = data if frame is None or isinstance(data, Table) else points_of(frame, "the data", chosen.data.label)
    with watching(reporter, on_progress) as told:
        inner = fit_points(
            rows, chosen, columns=columns, labels=labels, weights=weights, seed=seed, source=source, on_progress=told,
            **_going_on(start),
        )  # fmt: skip
    kind = template_of(data)
    if frame is not None and inner.columns != frame.names:  # without the column of the labels
        kind = without(kind, [j for j, name in enumerate(frame.names) if name not in inner.columns])
    return Model(inner, kind)


def _is_array(data: Any) -> bool:
    return isinstance(data, np.ndarray | list | tuple)


def _suited(data: Any, frame: Frame | None, reporter: Reporter) -> str:
    """The recipe that suits rows in memory."""
    columns = (as_frame(data) if frame is None else frame).columns
    if are_points(columns):
        reporter.say("recipe 'default', for points: two columns of real numbers")
        return "default"
    why = f"{len(columns)} columns"
    for name, one in columns.items():
        if one.type != "real" or one.missing.any():
            why += f"; '{name}' {f'holds {SAID[one.type]}' if one.type != 'real' else 'has missing entries'}"
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
    on_progress: Callable[[Any], None] | None,
) -> Model:
    """A model of a shape, a data set or a file, as `motes train` makes it."""
    said = [f"{key}={value}" for key, value in changes.items()] if isinstance(changes, Mapping) else changes
    suited = recipe if recipe is not None else recipe_for(name, None, said)
    if recipe is None:
        reporter.say(f"recipe '{suited}' for '{name}'")
    if not is_table(name, suited, changes):
        if columns is not None:
            raise UsageError(f"columns are for rows in memory, or for a table; '{name}' is of points.")
        chosen = load_recipe(suited, changes)
        origin = read_source(name, chosen, seed)
        with watching(reporter, on_progress) as told:
            inner = fit_points(origin.table, chosen, seed=seed, source=name, on_progress=told, **_going_on(start))
        return Model(inner, np.empty((0, 2)) if name in SHAPES else None)
    chosen = load_recipe(suited, changes)
    frame = read_rows(name, chosen.text)
    chosen = replace(chosen, text=frame.text, columns={**chosen.columns, **_kinds(columns)})
    origin_ = table_source(name, frame, chosen, seed)
    schema = None if start is not None else schema_of(origin_, frame, chosen)
    with watching(reporter, on_progress, unit=NATS) as told:
        made = fit_table(
            origin_.training, chosen, schema=schema, seed=seed, source=name, start=_table(start), on_progress=told
        )
    return Model(made)


def _fit_frame(
    data: Any,
    chosen: Recipe,
    columns: Any,
    weights: ArrayLike | None,
    start: Model | None,
    seed: int,
    source: str,
    reporter: Reporter,
    on_progress: Callable[[Any], None] | None,
) -> Model:
    """A model of a table in memory."""
    names = columns if _is_array(data) and not isinstance(columns, Mapping) else None
    frame = as_frame(data, names)
    with watching(reporter, on_progress, unit=NATS) as told:
        inner = fit_table(
            frame, chosen, columns=_kinds(columns if names is None else None), weights=weights, seed=seed,
            source=source, start=_table(start), on_progress=told,
        )  # fmt: skip
    for warning in inner.schema.warnings if start is None else ():
        reporter.warn(warning)
    dropped = [j for j, name in enumerate(frame.names) if name not in inner.columns]
    return Model(inner, without(template_of(data), dropped))


def _kinds(columns: Any) -> Mapping[str, Any]:
    """What columns are."""
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise UsageError(f"columns = {columns!r}; expected a mapping such as {{'age': 'integer'}}: the data has names.")
    return columns


def _going_on(start: Model | None) -> dict[str, Any]:
    """Arguments of `fit_points`."""
    if start is None:
        return {}
    if not isinstance(start.inner, PointModel):
        raise UsageError("start is a model of a table; expected one of points, as the recipe says.")
    inner = start.inner
    return {"start": inner.denoiser, "standardiser": inner.standardiser, "classes": inner.classes}


def _table(start: Model | None) -> TableModel | None:
    if start is None:
        return None
    if not isinstance(start.inner, TableModel):
        raise UsageError("start is a model of points; expected one of a table, as the recipe says.")
    return start.inner
