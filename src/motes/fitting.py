"""From rows to a trained model."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.build import build_denoiser, build_loss, build_optimiser, build_times, seed_key
from motes.data.classes import Classes
from motes.data.tables import Standardiser, Table, as_table
from motes.errors import DataError, RecipeError, TrainingError, UsageError, check_seed
from motes.learning.training import Progress, Trained, train
from motes.model import Model
from motes.parts import StepGated
from motes.recipes import Recipe, load_recipe


def fit(
    data: ArrayLike | Table,
    recipe: str | Path | Recipe = "default",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Sequence[str] | None = None,
    labels: ArrayLike | None = None,
    seed: int = 0,
    source: str = "",
    on_progress: Callable[[Progress], None] | None = None,
) -> Model:
    """Train a model on the rows of `data`.

    Args:
        data: numbers (n, d), d >= 2, or a `Table`.
        recipe: a name ("default", "ddpm", "tutorial"), a `.toml` file or a `Recipe`.
        changes: to it, such as {"training.steps": 8000}.
        columns: d names.
        labels: the class of each row (n,), whole numbers or texts; None takes those of the `Table`, if it has any.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        source: what the data is called in the model file.
        on_progress: called a few times a second with a `Progress`.

    Returns:
        The model, with its losses in `model.training`. After Ctrl-C it is what was learned until then.

    Raises:
        DataError: data that cannot be used; the message names the place.
        RecipeError: a recipe that cannot be followed.
        TrainingError: the loss was not finite; `result` is the model of the last good weights.
    """
    chosen, seed = load_recipe(recipe, changes), check_seed(seed)
    table = data if isinstance(data, Table) else as_table(data, columns)
    labels = table.labels if labels is None else labels
    classes, numbers = _classes_of(labels, table, chosen)
    dim = table.x.shape[1]
    standardiser = standardiser_of(table, chosen)
    part = chosen.training

    def model_of(trained: Trained) -> Model:
        denoiser = trained.averaged if part.weights == "averaged" else trained.last
        return Model(
            denoiser,
            standardiser,
            table.columns,
            chosen,
            classes=classes,
            source=source,
            fingerprint=table.fingerprint,
            seed=seed,
            training=trained,
        )

    try:
        trained = train(
            build_denoiser(chosen, dim, seed_key(seed, "weights"), len(classes) if classes else 0),
            standardiser.forward(table.x),
            loss=build_loss(chosen),
            times=build_times(chosen),
            optimiser=build_optimiser(part),
            steps=part.steps,
            batch=part.batch,
            key=seed_key(seed, "training"),
            labels=numbers,
            label_dropout=part.label_dropout,
            masks=part.masks,
            ema=part.ema,
            last_batch=part.last_batch,
            snapshot_every=snapshot_steps(chosen, len(table.x)),
            averages=part.averages,
            on_progress=on_progress,
        )
    except TrainingError as error:
        if isinstance(error.result, Trained):
            error.result = model_of(error.result)
        raise
    return model_of(trained)


def standardiser_of(table: Table, recipe: Recipe) -> Standardiser:
    """Between the units of `table` and those that a recipe trains in."""
    return Standardiser.fit(table.x) if recipe.data.standardise else Standardiser.identity(table.x.shape[1])


def snapshot_steps(recipe: Recipe, rows: int) -> int:
    """Steps from one snapshot of the weights to the next."""
    part = recipe.training
    if part.snapshot_epochs:
        return part.snapshot_epochs * -(-rows // part.batch)
    return -(-part.steps // 5)


def _classes_of(
    labels: ArrayLike | None, table: Table, recipe: Recipe
) -> tuple[Classes, NDArray[np.int32]] | tuple[None, None]:
    if labels is None:
        if recipe.data.label:
            raise UsageError(f"data.label = '{recipe.data.label}', but no labels came. Give `fit(..., labels=...)`.")
        return None, None
    if isinstance(recipe.network, StepGated):
        raise RecipeError(
            "network.kind = 'step_gated' takes no labels. Set network.kind = 'residual', or train without them."
        )
    if recipe.denoiser.variance == "learned":
        raise RecipeError("denoiser.variance = 'learned' goes with no labels. Set 'fixed', or train without them.")
    if np.shape(labels) != (len(table.x),):
        raise DataError(f"the labels have shape {np.shape(labels)}; expected ({len(table.x)},), one for each row.")
    classes = Classes.of(labels)
    return classes, classes.numbers(labels, len(table.x))
