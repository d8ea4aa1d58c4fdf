"""What a model is trained on, and real points that it has never seen.

A shape is drawn afresh as often as one likes. The rows of a file are all there is, so a part of them is held out before
the training, and every evaluation uses that part.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._datasets import named
from motes.data._frames import TYPE_WORDS, Frame
from motes.data._shapes import SHAPES, make_labelled_shape, make_shape
from motes.data._tables import Standardiser, Table, as_table, read_table
from motes.data._text_lines import default_columns
from motes.data._text_options import TextOptions
from motes.diffusion._oracles import EmpiricalOracle, Oracle
from motes.diffusion._schedules import Schedule
from motes.errors import DataError, UsageError, check_count, check_seed, unknown
from motes.evaluation._modes import Modes
from motes.evaluation._truth import Truth, truth
from motes.models._points import PointModel
from motes.recipes import Recipe
from motes.recipes._sections import Data

Array = NDArray[np.float64]

LEAST = 10  # real rows that a model is compared with
FEWEST = 20  # rows held out; of a file that has no such part to spare none are, and training rows are compared with
SPARE = 5  # times as many rows has a file that can spare them
LABELLED = 20_000  # points that stand for the modes of a shape of curves


@dataclass(frozen=True)
class Source:
    """Points to learn from, and points to compare samples with.

    Attributes:
        name: the shape's or the file's.
        table: the rows to train on.
        held_out: rows of a file that are not trained on, (m, d); None for a shape, and for a file that is too small.
        noise: blur of a shape, None for its own.
        seed: of the draw or the division.
        trained_on: False where `table` is not what the model that is evaluated has learned from.
    """

    name: str
    table: Table
    held_out: Array | None
    noise: float | None
    seed: int
    trained_on: bool = True

    @property
    def evaluated_against(self) -> str:
        """In words, what `real` gives."""
        if self.name in SHAPES:
            return "a fresh draw"
        if self.held_out is not None:
            return "held-out rows"
        return "the training rows" if self.trained_on else f"rows of {self.name}"

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
        """The exact denoiser where the distribution is known; otherwise that which knows the rows of `table` by heart.

        With a `label`, that of one class.
        """
        truth, x = self.truth, self.table.x
        if label is not None:
            assert self.table.labels is not None  # or there would be no label
            x, truth = x[self.table.labels == label], truth and truth.of_class(int(label))
        return truth.oracle(schedule, standardiser) if truth else EmpiricalOracle(standardiser.forward(x), schedule)

    def real(self, n: int) -> tuple[Array, Array]:
        """Two real sets of the same size, at most `n` rows each: the reference, and one for the reference values.

        The reference is a fresh draw, or the held-out rows; the other one is another draw, or training rows.
        """
        if self.name in SHAPES:
            # Seeds of their own: none of a training set, and none of a sample.
            words = np.random.SeedSequence([self.seed, 271828]).generate_state(2)
            reference, other = (make_shape(self.name, n, seed=int(word), noise=self.noise) for word in words)
            return reference, other
        rng = np.random.default_rng([self.seed, 314159])
        train = rng.permutation(self.table.x)
        reference = train[: len(train) // 2] if self.held_out is None else rng.permutation(self.held_out)
        other = train[len(train) // 2 :] if self.held_out is None else train
        n = min(n, len(reference), len(other))
        return reference[:n], other[:n]


def read_source(name: str, recipe: Recipe, seed: int) -> Source:
    """Points of a shape, drawn as `[data]` says, or the rows of a file or a data set, a part of them held out.

    Raises:
        UsageError: neither a shape nor a data set nor a file.
        DataError: a file or a data set that cannot be used.
    """
    part, seed = recipe.data, check_seed(seed)
    if name in SHAPES:
        recipe.text.check_for(name)
        return Source(name, _drawn(name, part, seed), None, part.noise, seed)
    table = _points(name, part.label, recipe.text)
    if len(table.x) < FEWEST:
        raise DataError(
            f"'{name}' has {len(table.x)} rows; at least {FEWEST} are needed to learn from and to compare with."
        )
    learn, kept = divided(len(table.x), part.held_out, seed)
    return Source(name, table[learn], table.x[kept] if len(kept) else None, None, seed)


def divided(n: int, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the `n` rows of a file are trained on, and which are held out: no less than 20, or none of so few."""
    count = max(round(share * n), FEWEST)
    if not share or n < SPARE * FEWEST:
        return np.arange(n), np.zeros(0, np.int64)
    order = np.random.default_rng([seed, 161803]).permutation(n)
    return order[count:], order[:count]


def _drawn(name: str, part: Data, seed: int) -> Table:
    if not part.label:
        return Table(make_shape(name, part.rows, seed=seed, noise=part.noise), default_columns(2))
    if part.label != "class":
        raise UsageError(f"data.label = '{part.label}'; the classes of a shape are called 'class'.")
    x, labels = make_labelled_shape(name, part.rows, seed=seed, noise=part.noise)
    return Table(x, default_columns(2), labels)


def compared_with(model: PointModel, given: str | ArrayLike | Table | None, n: int) -> tuple[Source, Array, Array]:
    """What a model is compared with, and two real sets of it, of `n` rows each at most; see `Source.real`.

    Raises:
        UsageError: data that is not to be had, has other columns than the model, or fewer than 10 rows.
        DataError: data that cannot be used.
    """
    n, origin = check_count(n, "samples"), source_of(model, given)
    reference, other = origin.real(n)
    if len(reference) < LEAST:
        raise UsageError(f"got {len(reference)} rows of {origin.name} to compare with; expected at least {LEAST}.")
    return origin, reference, other


def source_of(model: PointModel, given: str | ArrayLike | Table | None = None) -> Source:
    """What a model is evaluated against: what it was trained on, or the shape, file or array that is given instead.

    Rows of a file that the model was trained on are divided as they were for the training.

    Raises:
        UsageError: the model's own rows are not to be had, or other columns than the model's.
        DataError: a file or an array that cannot be used.
    """
    if given is None:
        given = model.source
        if not given:
            raise UsageError("this model was trained on an array; give the data, a shape, a file or an array.")
        if Path(given).suffix and not Path(given).is_file():
            raise UsageError(f"the data of this model, '{given}', is not here; give it as SOURCE.")
    if not isinstance(given, str):
        table = given if isinstance(given, Table) else as_table(given)
        table = Table(table.x[:, order_of(model, table.columns, "the array")], model.columns)
        return Source("the array", table, None, None, model.seed, table.fingerprint == model.fingerprint)
    noise = model.recipe.data.noise if given == model.source else None
    data, text = replace(model.recipe.data, noise=noise), model.recipe.text.fitting(given)
    source = read_source(given, replace(model.recipe, data=data, text=text), model.seed)
    order = order_of(model, source.table.columns, f"'{given}'")
    table = Table(source.table.x[:, order], model.columns)
    held_out = None if source.held_out is None else source.held_out[:, order]
    trained_on = table.fingerprint == model.fingerprint
    if held_out is not None and not trained_on:
        table, held_out = Table(np.concatenate([table.x, held_out]), model.columns), None
    return replace(source, table=table, held_out=held_out, trained_on=trained_on)


def order_of(model: PointModel, theirs: tuple[str, ...], name: str) -> list[int]:
    """Places of the model's columns among `theirs`. Columns that never had names are taken as they come."""
    ours = model.columns
    if len(theirs) != len(ours):
        raise UsageError(f"{name} has {len(theirs)} columns; the model has {len(ours)}: {', '.join(ours)}.")
    if set(theirs) != set(ours):
        if default_columns(len(ours)) in (theirs, ours):
            return list(range(len(ours)))
        missing = next(column for column in ours if column not in theirs)
        raise UsageError(f"{name} has no column '{missing}'; the model has {', '.join(ours)}.")
    return [theirs.index(column) for column in ours]


def matrix_of(model: PointModel, frame: Frame, name: str) -> Array:
    """Rows as numbers (n, d) in the order of a model's columns, NaN where an entry is missing.

    Raises:
        UsageError: other columns than the model's.
        DataError: a column of anything but numbers.
    """
    made = []
    for column, j in zip(model.columns, order_of(model, frame.names, name), strict=True):
        series = frame.columns[frame.names[j]]
        if series.type not in ("real", "whole") and not series.missing.all():
            raise DataError(f"{name}, column '{column}': got {TYPE_WORDS[series.type]}; expected numbers.")
        made.append(np.where(series.missing, np.nan, series.values.astype(np.float64)))
    return np.stack(made, axis=1)


def read_rows(name: str, model: PointModel, n: int) -> Array:
    """Rows (m, d) to look at with a model: `n` fresh ones of a shape, or all those of a file, in its order.

    Raises:
        UsageError: neither a shape nor a file, or other columns than the model's.
        DataError: a file that cannot be used.
    """
    if name in SHAPES:
        table = Table(source_of(model, name).real(n)[0], default_columns(2))
    else:
        table = _points(name, model.recipe.data.label, model.recipe.text.fitting(name), to_learn=False)
    return table.x[:, order_of(model, table.columns, f"'{name}'")]


def _points(name: str, label: str | None, text: TextOptions, *, to_learn: bool = True) -> Table:
    """The rows of a data set or a file, all numbers but for the column `label`; the others are as in `read_table`."""
    frame = named(name)
    if frame is not None:
        text.check_for(name)
        return points_of(frame, f"'{name}'", label, to_learn=to_learn)
    if Path(name).is_dir():
        raise UsageError(f"'{name}' is a folder; expected a shape, a data set or a file.")
    return read_table(name, label=label, to_learn=to_learn, text=text)


def points_of(frame: Frame, name: str, label: str | None, *, to_learn: bool = True) -> Table:
    """Columns of numbers as points, the column `label` as their classes: what `read_table` makes of such a file."""
    if label and label not in frame.columns and to_learn:
        raise UsageError(f"{name}: " + unknown("label column", label, frame.names))
    labels = None
    if label and label in frame.columns:
        series = frame.columns[label]
        if series.missing.any():
            row = int(series.missing.argmax()) + 1
            raise DataError(f"{name}, row {row}, column '{label}': got a missing entry; expected a label.")
        labels = np.array(series.cells()).astype(str)
        frame = frame.select([column for column in frame.names if column != label])
    for column, series in frame.columns.items():
        if series.type not in ("real", "whole"):
            raise DataError(
                f"{name}, column '{column}': got {TYPE_WORDS[series.type]}; expected numbers. Learn it with --recipe "
                f"table, or name it as the label of the rows with --set data.label={column}."
            )
    x = np.stack([np.where(one.missing, np.nan, one.values) for one in frame.columns.values()], axis=1)
    return replace(as_table(x, frame.names, name=name, to_learn=to_learn), labels=labels)
