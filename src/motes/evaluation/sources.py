"""Sources of rows by name: what a model is trained on, held out and compared with.

A shape is drawn afresh as often as one likes. The rows of a file or a data set are all there is, so a part of them is
held out, by their content (`motes.data.points`), and every evaluation uses that part.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import (
    DATASETS,
    SHAPES,
    Frame,
    Standardiser,
    Table,
    make_labelled_shape,
    make_shape,
    read_frame,
    read_table,
)
from motes.data.arrays import Mask
from motes.data.datasets import is_here
from motes.data.files import refuse_address
from motes.data.points import content_keys, fingerprint_of, frame_of, held_out_of, order_of
from motes.data.readings import default_columns
from motes.data.tables import as_table
from motes.errors import DataError, RecipeError, UsageError, check_count, unknown
from motes.evaluation.pairs import Modes
from motes.points import EmpiricalOracle, Oracle, PointModel, PointRecipe, PosteriorModel, Schedule, Truth, truth
from motes.tables.kinds import DROP
from motes.tables.kinds.base import Sample
from motes.tables.kinds.columns import Column, check_finite, checked_override, column_of, kept_of
from motes.tables.model import TableModel
from motes.tables.recipe import TableRecipe
from motes.training import Model, Recipe

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


# --- What a model is evaluated against: the rows that it has not seen of its own data, or others that are given -----
#
# A model knows the rows of its training by their fingerprint, and a file is divided as it was for the training.


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
        f"this is a model of {model.about}, and has a distribution for each observation. Expected a model of points "
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


# --- What the columns of a file are, before any row of it is held out, and what to know of them ---------------------


def columns_of(frame: Frame, recipe: TableRecipe, name: str) -> Iterator[Column]:
    """What each column of a whole file is, before any row is held out: a number for each row would have gaps then."""
    names, overrides = kept_of(frame.names, recipe.columns)
    for column in names:
        series = frame.columns[column]
        here = np.flatnonzero(~series.missing)
        if series.type == "other":
            continue  # which `Schema.fit` refuses
        sample = Sample(column, series.take(here), here, np.ones(len(here)), recipe.table.bins, name)
        given = checked_override(column, overrides[column], names) if column in overrides else {}
        yield column_of(sample, len(series) - len(here), given, recipe.table.missing)[0]


def overrides_of(changes: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """column -> what it is, of changes such as ("columns.age", "integer").

    Raises:
        UsageError: a change of anything but columns.
    """
    made: dict[str, Any] = {}
    for key, value in changes:
        section, _, column = key.partition(".")
        if section != "columns" or not column:
            raise UsageError(f"got --set {key}; expected columns.NAME=KIND, such as columns.age=integer.")
        made[column] = value
    return made
