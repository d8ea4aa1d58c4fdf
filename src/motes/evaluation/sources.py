"""Sources of rows by name: training rows, held-out rows and rows for comparison.

A shape can be drawn again at any time. The rows of a file or a data set are limited, so some are held out, selected by
their content (`motes.data.points`), and every evaluation uses these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from motes.data import DATASETS, SHAPES, Frame, Support, Table, make_labelled_shape, make_shape, read_frame
from motes.data.arrays import Array, Mask
from motes.data.datasets import is_here
from motes.data.files import refuse_address
from motes.data.points import as_table, content_keys, fingerprint_of, frame_of, held_out_of, order_of, points_of
from motes.data.readings import default_columns
from motes.data.stored import describe, name_rows, read_sample
from motes.errors import DataError, RecipeError, UsageError, check_count, unknown
from motes.evaluation.pairs import Modes
from motes.points import PointModel, PointRecipe, PosteriorModel, Truth, truth
from motes.progress import Reporter
from motes.tables.kinds import DROP
from motes.tables.kinds.base import Sample
from motes.tables.kinds.columns import Column, check_overrides, column_of
from motes.tables.model import TableModel
from motes.tables.recipe import TableRecipe
from motes.text_options import suffix_of
from motes.training import Model, Recipe

Rows = TypeVar("Rows", Table, Frame)
Files: TypeAlias = str | Path | Sequence[str | Path]

FEWEST = 20  # fewest rows of a file
LEAST = 10  # fewest training rows, and fewest points to compare with
SPARE = 5  # points are held out only from files with this many times `LEAST` points
LABELLED = 20_000  # labelled points that represent the modes of a shape made of curves


@dataclass(frozen=True)
class Source(Generic[Rows]):
    """Training rows, and held-out rows to compare samples with.

    Attributes:
        name: name of the shape, the data set or the file.
        training: the training rows.
        held_out: the held-out rows; None if there are none.
        seed: seed of the draw or the split.
        notes: remarks for the evaluation, one sentence each.
        known: False if `training` differs from the rows that the evaluated model was trained on.
        noise: noise of a shape; None for its default.

    If the source does not fit into memory, both are from a sample, and `training.many` is all training rows.
    """

    name: str
    training: Rows
    held_out: Rows | None
    seed: int
    notes: tuple[str, ...] = ()
    known: bool = True
    noise: float | None = None

    @property
    def fingerprint(self) -> str:
        """Hash that identifies the training rows, with their labels."""
        return fingerprint_of(_frame(self.training))

    @property
    def evaluated_against(self) -> str:
        """Description of the real rows."""
        if self.name in SHAPES:
            return "a fresh draw"
        if not self.known:
            return f"rows of {self.name}"
        return "the training rows" if self.held_out is None else "held-out rows"

    # --- points ---

    @property
    def truth(self) -> Truth | None:
        """The exact distribution of a shape; None for a file, and for a curve without noise, which has no density."""
        try:
            return truth(self.name, noise=self.noise) if self.name in SHAPES else None
        except UsageError:
            return None

    @property
    def modes(self) -> Modes | None:
        """The modes of a shape with natural classes; None otherwise."""
        if self.name not in SHAPES or not SHAPES[self.name].classes:
            return None
        if self.truth is not None and self.truth.modes is not None:
            return Modes.at(self.truth.modes)
        word = np.random.SeedSequence([self.seed, 141421]).generate_state(1)[0]
        return Modes.labelled(*make_labelled_shape(self.name, LABELLED, seed=int(word), noise=self.noise))

    def real(self: PointSource, n: int) -> tuple[Array, Array]:
        """Return two real sets of equal size, at most `n` rows each: the reference, and one for the reference values.

        The reference is a fresh draw or the held-out rows; the other set is another draw or training rows.
        """
        if self.name in SHAPES:
            # These seeds differ from the seeds of training sets and samples. The draws are independent, like samples,
            # except for a curve without noise, which has no density.
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


PointSource: TypeAlias = Source[Table]


def reference_seeds(seed: int) -> list[int]:
    """Return the seeds of the two real sets, for a source with this seed."""
    return [int(word) for word in np.random.SeedSequence([seed, 271828]).generate_state(2)]


def read_points(source: Files, recipe: Recipe, seed: int, reporter: Reporter | None = None) -> PointSource:
    """Read points of a shape, drawn according to [data], or of a file or data set, some of them held out.

    Raises:
        UsageError: not a shape, a data set or a file.
        DataError: a file or a data set that cannot be used, or fewer than 20 rows.
    """
    name = describe(source)
    if source in SHAPES:
        recipe.text.check_for(name)
        for key in ("bounds", "given"):
            if getattr(recipe.data, key):
                raise UsageError(f"data.{key} is for columns of a file; '{name}' is a shape. Leave data.{key} out.")
        return Source(name, _draw_shape(name, recipe, seed), None, seed, noise=recipe.data.noise)
    return divided(name, points_of_file(source, recipe, reporter), recipe, seed)


def points_of_file(source: Files, recipe: Recipe, reporter: Reporter | None = None) -> Table:
    """Read the points of a file or data set, sorted by content, so that the file's order does not affect training."""
    name = describe(source)
    _check_file(source)
    frame = read_sample(source, recipe.data.in_memory, recipe.text, reporter)
    table = named_points(frame, name, recipe, to_learn=True)
    _check_enough(table, name)
    support = Support.of(recipe.data.bounds, table.columns)
    if support is not None:
        support.check(table.x, table.columns, name_rows(name, frame))  # before the rows are sorted
    if frame.many is not None:
        convert = lambda rows: named_points(rows, name, recipe, to_learn=False)
        table = replace(table, many=replace(frame.many, convert=convert))
    return table.take(np.argsort(content_keys(_frame(table)), kind="stable"))


def read_rows(source: Files, recipe: Recipe, reporter: Reporter | None = None) -> Frame:
    """Read the rows of files, according to [text], or of a data set, or a sample of them if they are too many.

    Raises:
        UsageError: no such file or data set.
        RecipeError: a shape.
        DataError: a file that cannot be used, an infinite number, or fewer than 20 rows.
    """
    name = describe(source)
    if source in SHAPES:
        raise RecipeError(
            f"got a recipe of tables for '{name}', which is a shape; expected a recipe of points: default."
        )
    frame = read_sample(source, recipe.data.in_memory, recipe.text, reporter)
    for column, series in frame.columns.items():
        series.check_finite(column, f"'{name}'")
    _check_enough(frame, name)
    return frame


def divided(name: str, rows: Rows, recipe: Recipe, seed: int) -> Source[Rows]:
    """Split the rows of a file into training and held-out rows by [data] and the seed; dropped columns have no effect.

    At least 10 points are held out, or none if there are fewer than 50. None are held out if fewer than 10 rows would
    remain.
    """
    out = held_out_mask(rows, recipe, seed, LEAST if isinstance(rows, Table) else 0)
    notes = () if rows.many is None else rows.many.notes
    if not out.any() or (~out).sum() < LEAST or (isinstance(rows, Table) and len(rows) < SPARE * LEAST):
        return Source(name, rows, None, seed, notes)
    training, held_out = rows.take(np.flatnonzero(~out)), rows.take(np.flatnonzero(out))
    if rows.many is not None:
        is_training = lambda some: ~held_out_mask(some, recipe, seed, 0)
        about = f"{recipe.data.held_out} {seed} {dict(recipe.columns)}"
        training = replace(training, many=rows.many.only(is_training, about))
    return Source(name, training, held_out, seed, notes)


def held_out_mask(rows: Table | Frame, recipe: Recipe, seed: int, least: int) -> Mask:
    """Return a mask (n,) of the held-out rows, at least `least` of them if there are any."""
    frame = _frame(rows)
    kept = [column for column in frame.names if recipe.columns.get(column) not in (DROP, {"kind": DROP})]
    return held_out_of(frame.select(kept), recipe.data.held_out, seed, least)


def _draw_shape(name: str, recipe: Recipe, seed: int) -> Table:
    part = recipe.data
    if not part.label:
        return Table(make_shape(name, part.rows, seed=seed, noise=part.noise), default_columns(2))
    if part.label != "class":
        raise UsageError(f"data.label = '{part.label}'; the classes of a shape are called 'class'.")
    x, labels = make_labelled_shape(name, part.rows, seed=seed, noise=part.noise)
    return Table(x, default_columns(2), labels)


def named_points(frame: Frame, name: str, recipe: Recipe, *, to_learn: bool) -> Table:
    """Convert rows to points, all numbers except the label column."""
    joint = isinstance(recipe, PointRecipe) and recipe.conditions.learned  # all conditional distributions are learned
    given = () if joint else recipe.data.given
    table = points_of(frame, name_rows(name, frame), recipe.data.label, given, to_learn=to_learn)
    if len(table.columns) < 2 and not given:  # the figures of a run draw points in the plane
        raise DataError(f"'{name}' has 1 column; expected two or more numeric columns. In Python, one is enough.")
    return table


def _check_file(source: Files) -> None:
    """Refuse a name that is neither a data set nor a file, before it is read."""
    if not isinstance(source, str | Path):
        return
    refuse_address(source)
    name, path = str(source), Path(source)
    if not suffix_of(name) and path.name == name and not path.exists() and name not in DATASETS:
        raise UsageError(f"{unknown('shape or data set', name, [*SHAPES, *DATASETS])} Or give a file: points.csv.")


def _check_enough(rows: Table | Frame, name: str) -> None:
    if len(rows) < FEWEST:
        raise DataError(
            f"'{name}' has {len(rows)} rows; expected at least {FEWEST} to learn from and to evaluate with."
        )


def _frame(rows: Table | Frame) -> Frame:
    return frame_of(rows) if isinstance(rows, Table) else rows


# --- The rows that a model is evaluated against: its own held-out rows, or other rows -------------------------------
#
# A model recognises its training rows by their fingerprint, and a file is split as it was for the training.


MEMORY = "the data"


def source_of(model: Model, given: Any = None) -> Source[Any]:
    """Return the rows that a model is evaluated against: its own data, or the given shape, file or rows.

    The file that the model was trained on is split as it was for the training.

    Raises:
        UsageError: the model's own rows are not available, or a file or data set does not exist; a model of
            posteriors, which is compared with simulations.
        DataError: rows that cannot be used, or with other columns than the model's.
    """
    if isinstance(model, PosteriorModel):
        raise UsageError(
            f"this is a model of {model.about}, with a distribution for each observation; expected a model of points "
            "without observations. Use sample(n, given=...) and score_samples(theta, given=...)."
        )
    if given is not None and not isinstance(given, str | Path):
        whole: Source[Any] = Source(MEMORY, _select_columns(model, given, MEMORY), None, model.seed)
        return whole if whole.fingerprint == model.fingerprint else _split_halves(whole)
    name = _source_name(model, given)
    recipe = _recipe_for(model, name, noise=model.recipe.data.noise if name == model.source else None)
    own: Callable[[Any], Any] = lambda rows: rows if rows is None else _select_columns(model, rows, f"'{name}'")
    if isinstance(recipe, PointRecipe) and name in SHAPES:
        drawn = read_points(name, recipe, model.seed)
        drawn = replace(drawn, training=own(drawn.training))
        return replace(drawn, known=drawn.fingerprint == model.fingerprint)
    rows: Any = points_of_file(name, recipe) if isinstance(recipe, PointRecipe) else read_rows(name, recipe)
    notes = () if rows.many is None else rows.many.notes
    whole, parts = Source(name, own(rows), None, model.seed, notes), divided(name, rows, recipe, model.seed)
    found = replace(parts, training=own(parts.training), held_out=own(parts.held_out))
    if found.fingerprint == model.fingerprint:
        return found
    if name == model.source and held_out_mask(rows, recipe, model.seed, 0).sum() >= LEAST:
        note = (
            f"'{name}' has changed since the training. Its held-out rows are new or were held out then, but the "
            "training rows contain some that the model was not trained on."
        )
        return replace(found, notes=(*notes, note), known=False)
    if isinstance(model, TableModel) and name != model.source and is_here(model.source):
        return _add_other_rows(model, found, whole.training)
    return _split_halves(whole)


def _recipe_for(model: Model, name: str, **data: Any) -> Any:
    """Return the recipe for reading a source: the model's, with changes of [data], and [text] as the file needs it."""
    return replace(model.recipe, data=replace(model.recipe.data, **data), text=model.recipe.text.fitting(name))


def _source_name(model: Model, given: str | Path | None) -> str:
    """Return the name of the shape, the file or the data set."""
    name = str(given or model.source)
    if not name:
        raise UsageError(
            "this model was trained on rows in memory. Pass them, as in model.evaluate(rows); on the command line, "
            "give a shape, a data set or a file as SOURCE."
        )
    if given is None and not is_here(name) and name not in SHAPES:
        raise UsageError(
            f"the data of this model, '{name}', is not here. Pass its rows, as in model.evaluate(rows); on the command "
            "line, give the file as SOURCE."
        )
    return name


def _select_columns(model: Any, rows: Any, name: str) -> Any:
    """Return rows with the columns of a model, in its order: a `Frame` for a model of a table, otherwise a `Table`."""
    if isinstance(model, TableModel):
        return model.schema.contents(rows, name=name)
    table = as_table(rows)
    return Table(table.x[:, order_of(model.columns, table.columns, name)], model.columns)


def _add_other_rows(model: TableModel, found: Source[Frame], rows: Frame) -> Source[Frame]:
    """Use all rows of another file as held-out rows, together with the training rows."""
    there = read_rows(model.source, _recipe_for(model, model.source))
    home = divided(model.source, there, model.recipe, model.seed)
    training = model.schema.contents(home.training, name=f"'{model.source}'")
    equal = int(np.isin(content_keys(rows), content_keys(training)).sum())
    note = f"{equal:,} of the {len(rows):,} rows of '{found.name}' equal a training row"
    if found.held_out is not None and 2 * equal > len(found.training):
        # Probably another version of the table: the model may have been trained on rows that are not held out here.
        note += f", so only the {len(found.held_out):,} rows that were never training rows are held out."
        return replace(found, training=training, notes=(*found.notes, note))
    return replace(found, training=training, held_out=rows, notes=(*found.notes, *[f"{note}."] * (equal > 0)))


def _split_halves(whole: Source[Rows]) -> Source[Rows]:
    """Split all rows in halves; one half replaces the training rows, which are not available."""
    order = np.random.default_rng([whole.seed, 314159]).permutation(len(whole.training))
    one, other = (whole.training.take(np.sort(half)) for half in (order[::2], order[1::2]))
    note = (
        "the training rows are not available, so half of the given rows replaces them and memorisation is not seen. "
        "Pass the training rows to see it."
    )
    return replace(whole, training=one, held_out=other, notes=(*whole.notes, note), known=False)


def compared_with(model: PointModel, given: str | ArrayLike | Table | None, n: int) -> tuple[PointSource, Array, Array]:
    """Return the source that a model is compared with, and two real sets of at most `n` rows; see `PointSource.real`.

    Raises:
        UsageError: data that is not available, has other columns than the model, or fewer than 10 rows.
        DataError: data that cannot be used.
    """
    n, origin = check_count(n, "samples"), source_of(model, given)
    reference, other = origin.real(n)
    if len(reference) < LEAST:
        raise UsageError(f"got {len(reference)} rows of {origin.name} to compare with; expected at least {LEAST}.")
    return origin, reference, other


def random_rows(rows: Frame, most: int, seed: int) -> Frame:
    """Return at most `most` of the rows, in random order."""
    return rows.take(np.random.default_rng([seed, 8128]).permutation(len(rows))[:most])


def simulations_of_source(model: PosteriorModel, given: str | None) -> tuple[Table, str, str]:
    """Return simulations with their observations, the name of their file, and a description.

    For the file that the model was trained on, these are the held-out rows; for another file, all rows.

    Raises:
        UsageError: no such file, or the model's own file is not available.
        DataError: a file that cannot be used.
    """
    name = _source_name(model, given)
    if name != model.source:
        return rows_to_score(name, model, 0), name, "all rows"
    origin = read_points(name, _recipe_for(model, name, given=model.context.columns), model.seed)
    return origin.training if origin.held_out is None else origin.held_out, name, origin.evaluated_against


def rows_to_score(name: str, model: PointModel | PosteriorModel, n: int) -> Table:
    """Return rows to score, with their observations: `n` fresh rows of a shape, or all rows of a file, in its order.

    Raises:
        UsageError: not a shape or a file, or other columns than the model's.
        DataError: a file that cannot be used.
    """
    if name in SHAPES:
        table = Table(source_of(model, name).real(n)[0], default_columns(2))
    else:
        given = model.context.columns if model.context else ()
        recipe = _recipe_for(model, name, given=given)
        _check_file(name)
        table = named_points(read_frame(name, recipe.text), name, recipe, to_learn=False)
    return replace(table, x=table.x[:, order_of(model.columns, table.columns, f"'{name}'")], columns=model.columns)


# --- The kinds of the columns of a file, before any row is held out -------------------------------------------------


def columns_of(frame: Frame, recipe: TableRecipe, name: str) -> Iterator[Column]:
    """Yield each column of a whole file, before any row is held out, since row numbers would have gaps afterwards."""
    for column, given in check_overrides(frame.names, recipe.columns).items():
        series = frame.columns[column]
        here = np.flatnonzero(~series.missing)
        if series.type == "other":
            continue  # refused by `Schema.fit`
        sample = Sample(column, series.take(here), here, np.ones(len(here)), recipe.table.bins, name)
        yield column_of(sample, len(series) - len(here), given, recipe.table.missing)[0]


def overrides_of(changes: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """Return column -> kind, from changes such as ("columns.age", "integer").

    Raises:
        UsageError: a change outside section [columns].
    """
    made: dict[str, Any] = {}
    for key, value in changes:
        section, _, column = key.partition(".")
        if section != "columns" or not column:
            raise UsageError(f"got --set {key}; expected columns.NAME=KIND, such as columns.age=integer.")
        made[column] = value
    return made
