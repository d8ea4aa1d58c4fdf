"""From rows to a trained model."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.build import build_denoiser, build_loss, build_network, build_optimiser, build_times, seed_key, wrap_network
from motes.data.classes import Classes
from motes.data.tables import Standardiser, Table, as_table
from motes.diffusion.denoiser import Denoiser
from motes.errors import DataError, RecipeError, TrainingError, UsageError, check_seed
from motes.learning.choice import choose
from motes.learning.evidence import Evidence
from motes.learning.mixture import Mixture
from motes.learning.stopping import Held
from motes.learning.training import Progress, Trained, train
from motes.model import Model
from motes.parts import GaussianPart, StepGated
from motes.recipes import Recipe, load_recipe

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MANY_HELD, ENOUGH, MOST_HELD = 500, 0.05, 2_000  # rows that say when to stop: a share of many, within these bounds
WORTH_IT = 0.1  # share of the rows that, held out, is trained on afterwards
SOLVED = 11_000  # components times cubes of columns, with masks, and more of few rows:
FEW_ROWS, OF_FEW = 5_000, 90_000  # their training is short, and the network has less to learn the rest from
WORTH = 0.2  # nats a row that twice as many components must bring, of more rows: the network makes up for less


def fit(
    data: ArrayLike | Table,
    recipe: str | Path | Recipe = "default",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Sequence[str] | None = None,
    labels: ArrayLike | None = None,
    classes: Classes | None = None,
    weights: ArrayLike | None = None,
    present: ArrayLike | None = None,
    standardiser: Standardiser | None = None,
    start: Denoiser | None = None,
    seed: int = 0,
    source: str = "",
    on_progress: Callable[[Progress], None] | None = None,
) -> Model:
    """Train a model on the rows of `data`.

    Args:
        data: numbers (n, d), or a `Table`.
        recipe: a name (see `motes.recipes.recipe_names`), a `.toml` file or a `Recipe`.
        changes: to it, such as {"training.steps": 8000}.
        columns: d names.
        labels: the class of each row (n,), whole numbers or texts; None takes those of the `Table`, if it has any.
        classes: those that there are, for a `start` that knows them; None takes those that occur among the labels.
        weights: of the rows (n,), at least 0: 2 is as good as the row twice, and 0 as no such row. None: 1 each.
        present: which cells are there (n, d); of the others nothing is read. None: all of them. With missing cells the
            recipe needs training.masks.
        standardiser: between the data's units and those of the network; None: fitted as the recipe says.
        start: a denoiser of the same recipe to go on from, such as `model.denoiser`. Give the model's own standardiser
            with it.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        source: what the data is called in the model file.
        on_progress: called a few times a second with a `Progress`.

    Returns:
        The model, with its losses in `model.training`. After Ctrl-C it is what was learned until then.

    Raises:
        DataError: data that cannot be used; the message names the place.
        RecipeError: a recipe that cannot be followed.
        UsageError: a `start` of another recipe, or without its standardiser.
        TrainingError: the loss was not finite; `result` is the model of the last good weights.
    """
    chosen, seed = load_recipe(recipe, changes), check_seed(seed)
    whole = data if isinstance(data, Table) else as_table(_without_missing(data, present), columns)
    table = _labelled(whole, labels, chosen)
    table, weights, present = _counting(table, *_checked(table, weights, present, chosen))
    if table.labels is None:
        classes = None
    elif classes is None:
        classes = Classes.of(table.labels, weights)
    if start is not None and standardiser is None and chosen.data.standardise:
        raise UsageError("start without a standardiser: give that of the model it comes from, model.standardiser.")
    units = standardiser or standardiser_of(table, chosen, weights, present)
    z = units.forward(table.x)
    numbers = None if classes is None else classes.numbers(table.labels, len(z))
    rows = _Rows(z if present is None else np.where(present, z, 0.0), numbers, present, weights)

    def model_of(trained: Trained) -> Model:
        denoiser = trained.averaged if chosen.training.weights == "averaged" else trained.last
        return Model(
            denoiser,
            units,
            table.columns,
            chosen,
            classes=classes,
            source=source,
            fingerprint=whole.fingerprint,
            seed=seed,
            training=trained,
        )

    chosen = replace(chosen, training=replace(chosen.training, steps=chosen.training.steps_of(len(z))))
    heaps = None if table.heaps is None else table.heaps / units.scale
    begin, chosen = _beginning(start, chosen, rows, heaps, len(classes) if classes else 0, seed)
    try:
        return model_of(_train(begin, rows, chosen, seed, on_progress))
    except TrainingError as error:
        if isinstance(error.result, Trained):
            error.result = model_of(error.result)
        raise


def standardiser_of(
    table: Table,
    recipe: Recipe,
    weights: Array | None = None,
    present: Mask | None = None,
) -> Standardiser:
    """Between the units of `table` and those that a recipe trains in.

    Raises:
        DataError: a column that does not vary over the rows that count.
    """
    if not recipe.data.standardise:
        return Standardiser.identity(table.x.shape[1])
    found = Standardiser.fit(table.x, weights, present)
    for name, scale in zip(table.columns, found.scale, strict=True):
        if not scale > 0:
            raise DataError(f"column '{name}' does not vary over the rows that count. Remove it.")
    return found


def _without_missing(data: ArrayLike, present: ArrayLike | None) -> ArrayLike:
    # Missing cells may hold anything, which need not even be a number.
    if present is None or np.shape(data) != np.shape(present):
        return data
    return np.where(np.asarray(present, bool), data, 0)


def _labelled(table: Table, labels: ArrayLike | None, recipe: Recipe) -> Table:
    """`table` with the labels to learn, if there are any."""
    labels = table.labels if labels is None else labels
    if labels is None:
        if recipe.data.label:
            raise UsageError(f"data.label = '{recipe.data.label}', but no labels came. Give `fit(..., labels=...)`.")
        return table
    if isinstance(recipe.network, StepGated):
        raise RecipeError(
            "network.kind = 'step_gated' takes no labels. Set network.kind = 'residual', or train without them."
        )
    if recipe.denoiser.variance == "learned":
        raise RecipeError("denoiser.variance = 'learned' goes with no labels. Set 'fixed', or train without them.")
    if np.shape(labels) != (len(table.x),):
        raise DataError(f"the labels have shape {np.shape(labels)}; expected ({len(table.x)},), one for each row.")
    return replace(table, labels=np.asarray(labels))


def _checked(
    table: Table, weights: ArrayLike | None, present: ArrayLike | None, recipe: Recipe
) -> tuple[Array | None, Mask | None]:
    """Weights of the rows (None: 1 each) and which cells are there (None: all)."""
    numbers = None if weights is None else np.asarray(weights, np.float64)
    if numbers is not None:
        if numbers.shape != (len(table.x),):
            raise DataError(f"the weights have shape {numbers.shape}; expected ({len(table.x)},), one for each row.")
        good = np.isfinite(numbers) & (numbers >= 0)
        if not good.all():
            row = int(good.argmin())
            raise DataError(f"the weight of row {row + 1} is {numbers[row]}; expected a finite number at least 0.")
        if (numbers > 0).sum() < 2:
            raise DataError(f"{(numbers > 0).sum()} rows have a weight above 0; expected at least 2.")
    told = None if present is None else np.asarray(present, bool)
    if told is not None and told.shape != table.x.shape:
        raise DataError(f"present has shape {told.shape}; expected {table.x.shape}, one for each cell.")
    if told is None or told.all():
        return numbers, None
    if not recipe.training.masks:
        raise RecipeError(
            f"{(~told).sum():,} cells are missing, and training.masks = 0 teaches a network nothing of that. Set "
            "training.masks = 0.5, or leave such rows out."
        )
    return numbers, told


def _counting(table: Table, weights: Array | None, present: Mask | None) -> tuple[Table, Array | None, Mask | None]:
    """The rows that count, with their weights and their cells."""
    if weights is None:
        return table, None, present
    rows = np.flatnonzero(weights)
    return table[rows], weights[rows], present if present is None else present[rows]


class _Rows(NamedTuple):
    """What `train` and `Held` take."""

    x: Array
    labels: NDArray[np.int32] | None
    present: Mask | None
    weights: Array | None

    def some(self, rows: NDArray[np.int64]) -> "_Rows":
        some: Any = [None if part is None else part[rows] for part in self]
        return _Rows(*some)


Begin = Callable[[_Rows], Denoiser]
"""The denoiser that the training of some rows begins from."""


def _beginning(
    start: Denoiser | None, recipe: Recipe, rows: _Rows, heaps: Array | None, classes: int, seed: int
) -> tuple[Begin, Recipe]:
    """How training begins; and the recipe, which now says what was chosen by the rows."""
    dim = rows.x.shape[1]
    if start is not None:
        _check_start(start, recipe, dim, classes)
        return lambda rows: start, recipe
    part, key = recipe.denoiser, seed_key(seed, "weights")
    if not isinstance(part, GaussianPart):
        return lambda rows: build_denoiser(recipe, dim, key, classes), recipe
    evidence = lambda rows: Evidence(rows.x, rows.weights, rows.present, rows.labels, classes, heaps)
    # With masks each row is solved for anew, with each component, and that takes its time.
    solved, worth = (OF_FEW, 0.0) if len(rows.x) <= FEW_ROWS else (SOLVED, WORTH)
    most = min(part.components, max(solved // dim**3, 1)) if recipe.training.masks else part.components
    with ThreadPoolExecutor(1) as beside:  # NumPy here and a compiler there; what JAX is set to holds for one thread
        choosing = beside.submit(choose, evidence(rows), most, worth=worth)
        network = build_network(recipe, dim, key, classes)
        choice = choosing.result()
    chosen = replace(recipe, denoiser=replace(part, components=choice.size))
    return lambda rows: wrap_network(chosen, network, dim, classes, Mixture.fit(evidence(rows), choice)), chosen


def _check_start(start: Denoiser, recipe: Recipe, dim: int, classes: int) -> None:
    wanted = eqx.filter_eval_shape(build_denoiser, recipe, dim, jax.random.key(0), classes)
    shape = lambda leaf: (leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf
    if not eqx.tree_equal(jax.tree.map(shape, start), jax.tree.map(shape, wanted)):
        raise UsageError(
            "start is not a denoiser of this recipe, these columns and these classes, so it cannot be gone on from. "
            "Take the recipe of its model, model.recipe; only [training], [loss] and [times] may differ."
        )


def _train(
    begin: Begin,
    rows: _Rows,
    recipe: Recipe,
    seed: int,
    on_progress: Callable[[Progress], None] | None,
) -> Trained:
    """Train what `begin` makes of some rows on them: on all, or on a part, and then perhaps on all anew."""
    part = recipe.training

    def run(denoiser: Denoiser, weights: Array | None, steps: int, held: Held | None) -> Trained:
        return train(
            denoiser,
            **rows._replace(weights=weights)._asdict(),
            held=held,
            loss=build_loss(recipe),
            times=build_times(recipe),
            optimiser=build_optimiser(part),
            steps=steps,
            batch=part.batch_of(len(rows.x)),
            key=seed_key(seed, "training"),
            label_dropout=part.label_dropout,
            masks=part.masks,
            ema=part.ema,
            last_batch=part.last_batch,
            snapshot_every=part.snapshot_steps(len(rows.x)),
            averages=part.averages,
            on_progress=on_progress,
        )

    if not part.validation:
        return run(begin(rows), rows.weights, part.steps, None)
    learn, judge = _parted(len(rows.x), part.validation, seed)
    held = Held(*rows.some(judge), every=part.check_every, patience=part.patience)
    # By weights of 0, so that all rows are there and the compiled program is the same for both trainings.
    weights = np.ones(len(rows.x)) if rows.weights is None else rows.weights.copy()
    weights[judge] = 0
    trained = run(begin(rows.some(learn)), weights, part.steps, held)
    if not part.refit or trained.interrupted or len(judge) < WORTH_IT * len(rows.x):
        return trained
    assert trained.held_out is not None  # rows were held out
    again = run(begin(rows), rows.weights, trained.held_out.best, None)
    return replace(again, held_out=trained.held_out, seconds=trained.seconds + again.seconds)


def _parted(n: int, validation: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows to learn from and those to judge by, both in their order."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(seed_key(seed, "validation"))))
    order = rng.permutation(n)
    most = np.clip(round(ENOUGH * n), MANY_HELD, MOST_HELD)
    m = int(np.clip(round(validation * n), 1, most))
    return np.sort(order[m:]), np.sort(order[:m])
