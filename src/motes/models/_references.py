"""What a model is evaluated against: the rows that it has not seen of its own data, or others that are given.

A model knows the rows of its training by their fingerprint, and a file is divided as it was for the training.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._datasets import is_here
from motes.data._frames import Frame
from motes.data._identity import content_keys
from motes.data._points import order_of
from motes.data._shapes import SHAPES
from motes.data._tables import Table, as_table
from motes.data._text_lines import default_columns
from motes.errors import UsageError, check_count
from motes.models._model import Model
from motes.models._points import PointModel
from motes.models._posteriors import PosteriorModel
from motes.models._sources import (
    LEAST,
    PointSource,
    Rows,
    Source,
    divided,
    held_out_mask,
    points_of_file,
    read_points,
    read_rows,
    table_of,
)
from motes.models._tables import TableModel
from motes.recipes import Recipe

Array = NDArray[np.float64]

MEMORY = "the data"


@singledispatch
def source_of(model: Model, given: Any = None) -> Source[Any]:
    """What a model is evaluated against: what it was trained on, or the shape, file or rows that are given instead.

    Rows of a file that the model was trained on are divided as they were for the training.

    Raises:
        UsageError: the model's own rows are not to be had, or a file or a data set that is not there; a model of
            posteriors, which is compared with simulations.
        DataError: rows that cannot be used, or with other columns than the model's.
    """
    raise UsageError(
        f"this is a {type(model).__name__}, which has a distribution for each observation. Expected a model of points "
        "alone; sample(n, given=...) and score_samples(theta, given=...) take an observation."
    )


@source_of.register
def point_source(model: PointModel, given: Any = None) -> PointSource:
    """`source_of` points."""
    if given is not None and not isinstance(given, str | Path):
        return PointSource(**vars(_in_memory(model, _columns_of(model, given, MEMORY))))
    name, recipe = _read_by(model, given)
    if name in SHAPES:
        drawn = read_points(name, recipe, model.seed)
        drawn = replace(drawn, training=_columns_of(model, drawn.training, f"'{name}'"))
        return replace(drawn, known=drawn.fingerprint == model.fingerprint)
    rows = points_of_file(name, recipe)
    whole, found = _columns_of(model, rows, f"'{name}'"), _divided(model, name, rows, recipe, _columns_of)
    if found.fingerprint != model.fingerprint:
        changed = name == model.source and held_out_mask(rows, recipe, model.seed, 0).sum() >= LEAST
        found = _changed(found) if changed else _halves(model, name, whole)
    return PointSource(**vars(found))


@source_of.register
def table_source(model: TableModel, given: Any = None) -> Source[Frame]:
    """`source_of` a table."""
    if given is not None and not isinstance(given, str | Path):
        return _noted(_in_memory(model, model.schema.contents(given, name=MEMORY)))
    name, recipe = _read_by(model, given)
    rows = read_rows(name, recipe)
    contents = lambda model, rows, name: model.schema.contents(rows, name=name)
    whole, found = contents(model, rows, f"'{name}'"), _divided(model, name, rows, recipe, contents)
    if found.fingerprint == model.fingerprint:
        return found
    if name == model.source:
        return _changed(found)
    return _beside_training(model, found, whole) if is_here(model.source) else _noted(_halves(model, name, whole))


def _read_by(model: Model, given: str | Path | None) -> tuple[str, Recipe]:
    """The name of a source, and the recipe that it is read by."""
    name = _name_of(model, given)
    data = replace(model.recipe.data, noise=model.recipe.data.noise if name == model.source else None)
    return name, replace(model.recipe, data=data, text=model.recipe.text.fitting(name))


def _name_of(model: Model, given: str | Path | None) -> str:
    """Of the shape, the file or the data set."""
    name = str(given or model.source)
    if not name:
        raise UsageError(
            "this model was trained on rows in memory. Give these, or a shape, a data set or a file as SOURCE."
        )
    if given is None and not is_here(name) and name not in SHAPES:
        raise UsageError(f"the data of this model, '{name}', is not here. Give it as SOURCE.")
    return name


def _columns_of(model: PointModel, rows: Any, name: str) -> Table:
    """Points with the columns of a model, in its order."""
    table = rows if isinstance(rows, Table) else as_table(rows)
    return Table(table.x[:, order_of(model.columns, table.columns, name)], model.columns)


def _in_memory(model: Model, rows: Rows) -> Source[Rows]:
    """Rows in memory: those of the training, or rows to be compared with."""
    whole = Source(MEMORY, rows, None, model.seed)
    return whole if whole.fingerprint == model.fingerprint else _halves(model, MEMORY, rows)


def _divided(model: Any, name: str, rows: Rows, recipe: Recipe, like: Callable[[Any, Rows, str], Rows]) -> Source[Rows]:
    """The rows of a file as those of the training were divided, in the columns of the model."""
    parts = divided(name, rows, recipe, model.seed)
    held_out = None if parts.held_out is None else like(model, parts.held_out, f"'{name}'")
    return replace(parts, training=like(model, parts.training, f"'{name}'"), held_out=held_out)


def _changed(found: Source[Rows]) -> Source[Rows]:
    note = (
        f"'{found.name}' has changed since the training. Its held-out rows are new or were held out then, but among "
        "the training rows are some that the model did not learn from."
    )
    return replace(found, notes=(note,), known=False)


def _beside_training(model: TableModel, found: Source[Frame], rows: Frame) -> Source[Frame]:
    """All rows of another file as held-out ones, beside the training rows."""
    there = read_rows(model.source, replace(model.recipe, text=model.recipe.text.fitting(model.source)))
    home = divided(model.source, there, model.recipe, model.seed)
    training = model.schema.contents(home.training, name=f"'{model.source}'")
    equal = int(np.isin(content_keys(rows), content_keys(training)).sum())
    note = f"{equal:,} of the {len(rows):,} rows of '{found.name}' equal a training row"
    if found.held_out is not None and 2 * equal > len(found.training):
        # Another version of the table, of which the training may have seen what is not on the other side.
        note += f", so that only the {len(found.held_out):,} are held out that never were among training rows."
        return replace(found, training=training, notes=(note,))
    return replace(found, training=training, held_out=rows, notes=(f"{note}.",) if equal else ())


def _halves(model: Model, name: str, rows: Rows) -> Source[Rows]:
    """All rows as real ones: one half stands for the training rows, which are not here."""
    order = np.random.default_rng([model.seed, 314159]).permutation(len(rows))
    one, other = (rows.take(np.sort(half)) for half in (order[::2], order[1::2]))
    return Source(name, one, other, model.seed, known=False)


def _noted(found: Source[Frame]) -> Source[Frame]:
    """With a note of what halves of a table say nothing about."""
    if found.known:
        return found
    note = (
        "the rows of the training are not here, so that one half of the rows given stands for them: what is said of "
        "distances and copies says nothing about memory."
    )
    return replace(found, notes=(note,))


def compared_with(model: PointModel, given: str | ArrayLike | Table | None, n: int) -> tuple[PointSource, Array, Array]:
    """What a model is compared with, and two real sets of it, of `n` rows each at most; see `PointSource.real`.

    Raises:
        UsageError: data that is not to be had, has other columns than the model, or fewer than 10 rows.
        DataError: data that cannot be used.
    """
    n, origin = check_count(n, "samples"), point_source(model, given)
    reference, other = origin.real(n)
    if len(reference) < LEAST:
        raise UsageError(f"got {len(reference)} rows of {origin.name} to compare with; expected at least {LEAST}.")
    return origin, reference, other


def simulations_of_source(model: PosteriorModel, given: str | None) -> tuple[Table, str, str]:
    """Rows with what was observed with each, the name of their file, and what they are in words.

    Of the file that the model was trained on they are the held-out ones; of another file they are all.

    Raises:
        UsageError: no such file, or the model's own is not to be had.
        DataError: a file that cannot be used.
    """
    name = _name_of(model, given)
    if name != model.source:
        return rows_to_score(name, model, 0), name, "all rows"
    data = replace(model.recipe.data, given=model.context.columns)
    origin = read_points(name, replace(model.recipe, data=data, text=model.recipe.text.fitting(name)), model.seed)
    return origin.training if origin.held_out is None else origin.held_out, name, origin.evaluated_against


def rows_to_score(name: str, model: PointModel | PosteriorModel, n: int) -> Table:
    """Rows to look at with a model, and what they are given: `n` fresh ones of a shape, or all of a file, in its order.

    Raises:
        UsageError: neither a shape nor a file, or other columns than the model's.
        DataError: a file that cannot be used.
    """
    if name in SHAPES:
        origin: Any = source_of(model, name)
        table = Table(origin.real(n)[0], default_columns(2))
    else:
        data = replace(model.recipe.data, given=model.context.columns if model.context else ())
        recipe = replace(model.recipe, data=data, text=model.recipe.text.fitting(name))
        table = table_of(name, recipe, to_learn=False)
    return replace(table, x=table.x[:, order_of(model.columns, table.columns, f"'{name}'")], columns=model.columns)
