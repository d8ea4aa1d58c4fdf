"""What a model is evaluated against: the rows that it has not seen of its own data, or others that are given.

A model knows the rows of its training by their fingerprint, and a file is divided as it was for the training.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._datasets import is_here
from motes.data._frames import Frame
from motes.data._identity import content_keys
from motes.data._shapes import SHAPES
from motes.data._tables import Table, as_table
from motes.data._text_lines import default_columns
from motes.errors import UsageError, check_count
from motes.models._columns import order_of
from motes.models._points import PointModel
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


@overload
def source_of(model: PointModel, given: Any = None) -> PointSource: ...


@overload
def source_of(model: TableModel, given: Any = None) -> Source[Frame]: ...


def source_of(model: PointModel | TableModel, given: Any = None) -> Source[Any]:
    """What a model is evaluated against: what it was trained on, or the shape, file or rows that are given instead.

    Rows of a file that the model was trained on are divided as they were for the training.

    Raises:
        UsageError: the model's own rows are not to be had, or a file or a data set that is not there.
        DataError: rows that cannot be used, or with other columns than the model's.
    """
    if isinstance(model, PointModel):
        model.refuse_context("comparing with real rows")
    if given is not None and not isinstance(given, str | Path):
        found = _in_memory(model, _like(model, given, MEMORY))
    else:
        name = _name_of(model, given)
        text = model.recipe.text.fitting(name)
        data = replace(model.recipe.data, noise=model.recipe.data.noise if name == model.source else None)
        recipe = replace(model.recipe, data=data, text=text)
        if isinstance(model, PointModel) and name in SHAPES:
            drawn = read_points(name, recipe, model.seed)
            drawn = replace(drawn, training=_like(model, drawn.training, f"'{name}'"))
            return replace(drawn, known=drawn.fingerprint == model.fingerprint)
        rows: Any = points_of_file(name, recipe) if isinstance(model, PointModel) else read_rows(name, recipe)
        found = _recognised(model, name, rows, recipe)
    return PointSource(**vars(found)) if isinstance(model, PointModel) else found


def _name_of(model: PointModel | TableModel, given: str | Path | None) -> str:
    """Of the shape, the file or the data set."""
    name = str(given or model.source)
    if not name:
        raise UsageError(
            "this model was trained on rows in memory. Give these, or a shape, a data set or a file as SOURCE."
        )
    if given is None and not is_here(name) and name not in SHAPES:
        raise UsageError(f"the data of this model, '{name}', is not here. Give it as SOURCE.")
    return name


def _like(model: PointModel | TableModel, rows: Any, name: str) -> Any:
    """Rows with the columns of a model, in its order: a `Table` of points, or a `Frame`."""
    if isinstance(model, TableModel):
        return model.schema.contents(rows, name=name)
    table = rows if isinstance(rows, Table) else as_table(rows)
    return Table(table.x[:, order_of(model, table.columns, name)], model.columns)


def _in_memory(model: PointModel | TableModel, rows: Rows) -> Source[Rows]:
    """Rows in memory: those of the training, or rows to be compared with."""
    whole = Source(MEMORY, rows, None, model.seed)
    return whole if whole.fingerprint == model.fingerprint else _halves(model, MEMORY, rows)


def _recognised(model: PointModel | TableModel, name: str, rows: Rows, recipe: Recipe) -> Source[Any]:
    """The rows of a file: is it that of the training, has it changed since, or is it another one?"""
    whole = _like(model, rows, f"'{name}'")
    parts = divided(name, rows, recipe, model.seed)
    held_out = None if parts.held_out is None else _like(model, parts.held_out, f"'{name}'")
    found: Source[Any] = replace(parts, training=_like(model, parts.training, f"'{name}'"), held_out=held_out)
    if found.fingerprint == model.fingerprint:
        return found
    if name == model.source and (
        isinstance(model, TableModel) or held_out_mask(rows, recipe, model.seed, 0).sum() >= LEAST
    ):
        note = (
            f"'{name}' has changed since the training. Its held-out rows are new or were held out then, but among the "
            "training rows are some that the model did not learn from."
        )
        return replace(found, notes=(note,), known=False)
    if isinstance(model, TableModel) and is_here(model.source):
        return _beside_training(model, found, whole)
    return _halves(model, name, whole)


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


def _halves(model: PointModel | TableModel, name: str, rows: Rows) -> Source[Rows]:
    """All rows as real ones: one half stands for the training rows, which are not here."""
    note = (
        "the rows of the training are not here, so that one half of the rows given stands for them: what is said of "
        "distances and copies says nothing about memory."
    )
    notes = (note,) if isinstance(model, TableModel) else ()
    order = np.random.default_rng([model.seed, 314159]).permutation(len(rows))
    one, other = (rows.take(np.sort(half)) for half in (order[::2], order[1::2]))
    return Source(name, one, other, model.seed, notes, known=False)


def compared_with(model: PointModel, given: str | ArrayLike | Table | None, n: int) -> tuple[PointSource, Array, Array]:
    """What a model is compared with, and two real sets of it, of `n` rows each at most; see `PointSource.real`.

    Raises:
        UsageError: data that is not to be had, has other columns than the model, or fewer than 10 rows.
        DataError: data that cannot be used.
    """
    n, origin = check_count(n, "samples"), source_of(model, given)
    reference, other = origin.real(n)
    if len(reference) < LEAST:
        raise UsageError(f"got {len(reference)} rows of {origin.name} to compare with; expected at least {LEAST}.")
    return origin, reference, other


def simulations_of_source(model: PointModel, given: str | None) -> tuple[Table, str, str]:
    """Rows with what was observed with each, the name of their file, and what they are in words.

    Of the file that the model was trained on they are the held-out ones; of another file they are all.

    Raises:
        UsageError: no such file, or the model's own is not to be had.
        DataError: a file that cannot be used.
    """
    name = _name_of(model, given)
    if name != model.source:
        return rows_to_score(name, model, 0), name, "all rows"
    assert model.context is not None  # or there would be nothing observed
    data = replace(model.recipe.data, given=model.context.columns)
    origin = read_points(name, replace(model.recipe, data=data, text=model.recipe.text.fitting(name)), model.seed)
    return origin.training if origin.held_out is None else origin.held_out, name, origin.evaluated_against


def rows_to_score(name: str, model: PointModel, n: int) -> Table:
    """Rows to look at with a model, and what they are given: `n` fresh ones of a shape, or all of a file, in its order.

    Raises:
        UsageError: neither a shape nor a file, or other columns than the model's.
        DataError: a file that cannot be used.
    """
    if name in SHAPES:
        table = Table(source_of(model, name).real(n)[0], default_columns(2))
    else:
        data = replace(model.recipe.data, given=model.context.columns if model.context else ())
        recipe = replace(model.recipe, data=data, text=model.recipe.text.fitting(name))
        table = table_of(name, recipe, to_learn=False)
    return replace(table, x=table.x[:, order_of(model, table.columns, f"'{name}'")], columns=model.columns)
