"""From the rows of a table of any columns to a trained model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.encoder import Encoded, Encoder
from motes.data.frames import Frame, as_frame, words_of
from motes.data.tables import Standardiser, Table
from motes.errors import DataError, RecipeError, TrainingError
from motes.fitting import fit
from motes.learning.training import Progress
from motes.model import Model
from motes.parts import GaussianPart
from motes.recipes import Recipe, load_recipe
from motes.tabular import TableModel

MOST_REPEATS = 8  # of a row for its weight


def fit_table(
    data: Any,
    recipe: str | Path | Recipe = "table",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Mapping[str, Any] | None = None,
    labels: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    seed: int = 0,
    source: str = "",
    encoder: Encoder | None = None,
    start: TableModel | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TableModel:
    """Train a model on the rows of a table of any columns.

    Args:
        data: whatever `motes.data.frames.as_frame` takes: a NumPy array, a pandas, polars or Arrow table, ...
        recipe: a name, a `.toml` file or a `Recipe`; its section [columns] says what columns are.
        changes: to it, such as {"training.steps": 8000}.
        columns: what columns are, in the place of what the recipe says or what is inferred; see `data.columns.infer`.
        labels: the class of each row (n,), whole numbers or texts.
        weights: how much each row counts (n,), at least 0: 2 is as good as the row twice, and 0 as no such row.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        source: what the data is called in the model file and in messages.
        encoder: one that was fitted to these rows already.
        start: a model of the same columns, to go on from, with its encoder.
        on_progress: called a few times a second with a `Progress`.

    Raises:
        DataError: data that cannot be used; the message names the row and the column.
        UsageError, RecipeError: a recipe that cannot be followed, columns that there are not.
        TrainingError: the loss was not finite; `result` is the model of the last good weights.
    """
    chosen = load_recipe(recipe, changes)
    if start is not None and isinstance(start.recipe.denoiser, GaussianPart):
        chosen = replace(chosen, denoiser=start.recipe.denoiser)  # which says how many components rows have chosen
    name = f"'{source}'" if source else "the data"
    frame = as_frame(data, name=name)
    ordered, labels, weights = _in_order(frame, labels, weights)

    def encoded_by(frame: Frame) -> tuple[Encoder, Encoded]:
        fitted = encoder if start is None else start.encoder
        if fitted is None:
            overrides = {**chosen.columns, **(columns or {})}
            fitted = Encoder.fit(frame, overrides, standardise=chosen.data.standardise, name=name)
        return fitted, fitted.encode(frame, seed, name=name)

    try:
        fitted, encoded = encoded_by(ordered)
    except DataError:
        encoded_by(frame)  # which says it with the number that the row came with
        raise
    if not encoded.known.all() and not chosen.training.masks:
        column, holes = next(
            (n, s.missing) for n, s in frame.columns.items() if n in fitted.learned and s.missing.any()
        )
        raise RecipeError(
            f"{(~encoded.known).sum():,} cells of {name} are missing, the first in row {holes.argmax() + 1}, column "
            f"'{column}', and training.masks = 0. Set training.masks = 0.5, so that it learns from rows "
            "with holes."
        )
    try:
        model = fit(
            Table(encoded.z, fitted.learned, heaps=fitted.heaps),
            chosen,
            labels=labels,
            classes=None if start is None else start.classes,
            weights=weights,
            present=None if encoded.known.all() else encoded.known,
            standardiser=Standardiser.identity(fitted.width),
            start=None if start is None else start.model.denoiser,
            seed=seed,
            source=source,
            on_progress=on_progress,
        )
    except TrainingError as error:
        if isinstance(error.result, Model):
            error.result = TableModel(error.result, fitted)
        raise
    return TableModel(model, fitted)


def _in_order(
    frame: Frame, labels: ArrayLike | None, weights: ArrayLike | None
) -> tuple[Frame, NDArray[Any] | None, NDArray[Any] | None]:
    """Rows in an order of their own, so that the order in which they came has no bearing on what is learned.

    Small whole weights are rows that come so often.
    """
    n = len(frame)
    rows = np.arange(n)
    columns = [(series.known, series.missing) for series in frame.columns.values()]
    if labels is not None and np.shape(labels) == (n,):  # or `fit` will refuse them
        columns.append((np.unique(np.asarray(labels).astype(str), return_inverse=True)[1], np.zeros(n, bool)))
    if weights is not None and np.shape(weights) == (n,):
        heavy = np.asarray(weights, float)
        columns.append((heavy, np.zeros(n, bool)))
        if np.isin(heavy, np.arange(MOST_REPEATS + 1)).all() and heavy.any():
            rows, weights = np.repeat(rows, heavy.astype(int)), None
            columns.pop()
    rows = rows[np.argsort(words_of(columns, n)[rows], kind="stable")]
    taken = [None if part is None else np.asarray(part)[rows] for part in (labels, weights)]
    return frame.take(rows), taken[0], taken[1]
