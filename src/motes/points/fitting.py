"""Fit a model to points."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Standardiser, Support, Table
from motes.data.arrays import Array, check_weights, plain
from motes.data.points import Classes, as_table, content_keys, fingerprint_of, frame_of
from motes.data.stored import ManyRows
from motes.errors import DataError, RecipeError, UsageError, check_process, check_seed, check_unicode, unknown
from motes.points.denoisers import Denoiser
from motes.points.model import GaussianModel, PointModel, skeleton_of
from motes.points.networks import Residual, StepGated
from motes.points.posterior import Context, Prior, Regression, context_table
from motes.points.posterior_model import PosteriorModel
from motes.points.recipe import PointRecipe
from motes.points.sampling import seed_key
from motes.points.training import OnDevice, Rows, point_task, with_validation
from motes.training import Provenance, Trained
from motes.training.checkpoints import FitSession
from motes.training.loop import RowsOnDisk, TrainingTask, fit_model
from motes.training.model import run_of

FEW = 3000  # rows below which dropout is used, since a network memorises few rows
FEW_DROPOUT = 0.1  # rate of this dropout
MANY = 50_000  # rows from which the network also receives sines and cosines of them; fewer rows would be memorised
OCTAVES = 2  # octaves of these
LABEL = "\0label"  # column of the classes when rows are compared; no other column has this name
# Keys that are filled in from the data if a recipe omits them.
CHOSEN = ("network.dropout", "network.octaves", "network.scales", "training.target")
SCALES = 32  # learned scales of the observation, if it determines the width of posteriors


@dataclass(frozen=True, eq=False)
class PointData:
    """Points to train on, with classes, weights and given values.

    Attributes:
        points: numbers (n, d), or a `Table`.
        columns: d column names, for an array.
        labels: classes of the rows (n,), whole numbers or texts; None: the labels of the `Table`, if it has any.
        weights: sample weights (n,), at least 0, as in `motes.fit`; None: 1 each.
        given: the values that each row is conditioned on: an array (n, c), a dict of columns, a data frame or a
            `Table`; None: the given values of the `Table`, if it has any.
    """

    points: ArrayLike | Table
    columns: Sequence[str] | None = None
    labels: ArrayLike | None = None
    weights: ArrayLike | None = None
    given: Any = None

    @property
    def table(self) -> Table:
        """The points as a `Table`.

        Raises:
            DataError: invalid points.
        """
        return as_table(self.points, self.columns)


def fit_points(
    data: ArrayLike | Table | PointData, recipe: PointRecipe, *, seed: int = 0, session: FitSession = FitSession()
) -> PointModel | PosteriorModel:
    """Train a model of points on the rows of `data`.

    Args:
        data: numbers (n, d), a `Table`, or `PointData`, which may also have columns, classes, weights and `given`.
        recipe: the recipe.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        session: the name of the data, a model to continue from, checkpoints and progress. With another loss, other
            times, another optimiser, or averages if the start has none, only the weights of the start are used.

    Returns:
        The model, with its losses in `model.training`. After Ctrl-C, it is what was learned until then.

    Raises:
        DataError: invalid data; the message names the row and the column.
        RecipeError: a recipe that is invalid for this data.
        UsageError: a `start` with another network, or with a complete training.
        TrainingError: the training diverged; `result` is the model with the last good weights.
    """
    check_process()
    chosen, seed, start = recipe, check_seed(seed), session.start_as(GaussianModel)
    data = data if isinstance(data, PointData) else PointData(data)
    whole, chosen = _collect_rows(data, chosen)
    points = _prepare_rows(whole, data.weights, start, chosen, seed)
    rows, context = points.rows, points.context
    widths = None if context is None else partial(context.predicts_widths, rows.x, rows.context)
    chosen = choose_options(chosen, len(rows.x), start, widths)
    training = chosen.training
    run = run_of(chosen, seed, rows.x, rows.labels, rows.weights, rows.context, rows.masks)
    denoiser = _initial_denoiser(start, chosen, points, seed)
    if training.validation:
        rows = with_validation(rows, training.validation, seed_key(seed, "validation"))
    disk = None if whole.many is None else _write_rows(whole.many, points, rows, session)

    def model_of(trained: Trained[Denoiser]) -> PointModel | PosteriorModel:
        kind = PointModel if context is None else PosteriorModel
        used = trained.averaged if training.weights == "averaged" else trained.last
        provenance = Provenance(session.source, fingerprint_of(frame_of(replace(whole, labels=None))), seed)
        options: dict[str, Any] = {"classes": points.classes, "context": context, "training": trained}
        return kind(used, points.units, whole.columns, chosen, provenance=provenance, **options)

    def task(steps: int) -> TrainingTask[Denoiser]:
        options, key = replace(training, steps=steps), seed_key(seed, "training")
        return point_task(denoiser, rows, key=key, loss=chosen.loss, times=chosen.times, options=options, disk=disk)

    before = _continuable_training(start, chosen)
    return fit_model(task, model_of, session, run=run, steps=training.steps, key="training.steps", before=before)


def _continuable_training(start: GaussianModel | None, recipe: PointRecipe) -> Trained[Denoiser] | None:
    """Return the training of the start, if it belongs to its weights and this recipe can continue it."""
    if start is None or start.training is None:
        return None
    trained, before = start.training, start.recipe
    own = any(start.denoiser is one for one in (trained.averaged, trained.last))
    decides = lambda recipe: (recipe.loss, recipe.times, recipe.training.optimiser, bool(recipe.training.averages))
    return trained if own and decides(before) == decides(recipe) else None


def _collect_rows(data: PointData, recipe: PointRecipe) -> tuple[Table, PointRecipe]:
    """Return all rows with their labels and given values, and the recipe with the names of the given columns."""
    whole = data.table
    given = whole.given if data.given is None else data.given
    if given is None and recipe.data.given and not recipe.conditions.learned:
        raise UsageError(
            f"data.given = {list(recipe.data.given)} names columns of a file or a data frame; got an array. Pass "
            "`fit(..., given=...)`."
        )
    observed = None if given is None else context_table(given, len(whole), whole.columns)
    if recipe.conditions.learned and observed is not None:  # all columns become points
        if np.isnan(observed.x).any():
            raise DataError("given has missing entries, and recipe 'any' learns whole rows. Leave out such rows.")
        recipe = replace(recipe, data=replace(recipe.data, given=observed.columns))
        names = *whole.columns, *observed.columns
        whole, observed = Table(np.hstack([whole.x, observed.x]), names, whole.labels), None
    return _attach_labels(replace(whole, given=observed), data.labels, recipe), recipe


def choose_options(
    recipe: PointRecipe, rows: int, start: GaussianModel | None = None, widths: Callable[[], bool] | None = None
) -> PointRecipe:
    """Return the recipe with the options that it leaves to the data filled in: `CHOSEN`.

    A `start` determines them. For few rows the target is x_0 itself: a mean over the batch has little noise, so that a
    network memorises the rows in fewer steps. With dropout, the error on 1,000 rows of moons is 0.030 nats with x_0 and
    0.044 with means; on 300 rows, 0.20 and 0.30. If widths of posteriors cannot be predicted from the observation,
    learned scales would only be memorised; `widths` says whether they can be, and is None without observations.
    """
    target = recipe.training.target or (start.recipe.training.target if start else "row" if rows < FEW else None)
    recipe = replace(recipe, training=replace(recipe.training, target=target))
    network, before = recipe.network, None if start is None else start.recipe.network
    if not isinstance(network, Residual):
        return recipe
    many = rows >= MANY and widths is None and not recipe.conditions.learned
    suits: dict[str, Callable[[], float]] = {
        "octaves": lambda: OCTAVES if many else 0,
        "dropout": lambda: FEW_DROPOUT if rows < FEW else 0.0,
        "scales": lambda: SCALES if widths is not None and widths() else 0,
    }
    omitted = [option for option in suits if getattr(network, option) is None]
    kept = isinstance(before, Residual)
    chosen: dict[str, Any] = {option: getattr(before, option) if kept else suits[option]() for option in omitted}
    return replace(recipe, network=replace(network, **chosen))


class _PreparedPoints(NamedTuple):
    """Points prepared for training.

    Attributes:
        table: distinct rows with a weight above 0.
        rows: the same rows in the units of the network.
        units: the scaling between these units and the data's.
        classes, context: classes and given values of the rows; None: none.
    """

    table: Table
    rows: Rows
    units: Standardiser
    classes: Classes | None
    context: Context | None


def _prepare_rows(
    whole: Table, weights: ArrayLike | None, start: GaussianModel | None, recipe: PointRecipe, seed: int
) -> _PreparedPoints:
    """Return the distinct rows with a weight above 0, in the units of the network, with their classes and context."""
    table, row_weights = _merge_rows(whole, weights)
    classes = None
    if table.labels is not None:
        classes = (start and start.classes) or Classes.of(table.labels, row_weights)
    units = start.standardiser if start else standardiser_of(table, recipe, row_weights)
    if start:
        start.check_constants(table.x, "the data")
    z = units.forward(table.x)
    context, numbers, residuals = _prepare_context(table, z, units, row_weights, start, recipe)
    labels = None if classes is None else classes.numbers(table.labels, len(z))
    masks = _draw_masks(table, units.varies, recipe, seed)
    rows = Rows(residuals, labels, row_weights, context=numbers, masks=masks)
    return _PreparedPoints(table, rows, units, classes, context)


def _write_rows(many: ManyRows, points: _PreparedPoints, rows: Rows, session: FitSession) -> RowsOnDisk:
    """Write all rows to disk, except the validation rows among `rows`, and return how they are read and converted."""
    table, _, units, classes, context = points
    weights = np.ones(len(table)) if rows.weights is None else rows.weights
    held, number = content_keys(frame_of(table, LABEL))[weights == 0], jnp.result_type(float)

    def is_learned(some: Table) -> NDArray[np.bool_]:
        if units.support is not None:
            units.support.check(some.x, some.columns, f"a block of {session.name}")
        return ~np.isin(content_keys(frame_of(some, LABEL)), held)

    kept = many.only(is_learned, hashlib.sha256(held.tobytes()).hexdigest())
    stored = kept.store(many.frame.names, session.scratch)

    def read(index: NDArray[np.integer]) -> OnDevice:
        some: Table = many.convert(stored.read(index.ravel()))
        z, numbers, labels = units.forward(some.x), None, None
        if context is not None and some.given is not None:
            z = context.subtract_prediction(z, context.mapped(some.given.x))
            numbers = context.forward(some.given.x).astype(number)
        if classes is not None:
            labels = classes.numbers(some.labels, len(z))
        shaped = lambda part: None if part is None else part.reshape(*index.shape, *part.shape[1:])
        return OnDevice(*map(shaped, (z.astype(number), labels, numbers)))

    return RowsOnDisk(len(stored), read)


def _draw_masks(table: Table, varies: NDArray[np.bool_], recipe: PointRecipe, seed: int) -> NDArray[np.bool_] | None:
    """Return observed masks of the varying columns for training; None if the recipe has no [conditions]."""
    part, given = recipe.conditions, recipe.data.given
    if not part.learned:
        return None
    for name in given:
        if name not in table.columns:
            raise UsageError(unknown("given column", name, table.columns))
    if not given and (part.posterior or part.likelihood):
        raise RecipeError(
            "[conditions] learns the posterior or the likelihood, but no columns are given. "
            "Pass fit(theta, given=x), or --given-columns; or set conditions.posterior and conditions.likelihood to 0."
        )
    rng = np.random.default_rng(np.asarray(jax.random.key_data(seed_key(seed, "masks"))))
    return part.masks(np.isin(table.columns, given)[varies], rng)


def standardiser_of(table: Table, recipe: PointRecipe, weights: Array | None = None) -> Standardiser:
    """Return the scaling between the units of `table` and the units of training.

    Raises:
        DataError: all columns are constant over the rows with a weight above 0, or a row is beyond the bounds.
        UsageError: invalid bounds.
    """
    support = Support.of(recipe.data.bounds, table.columns)
    if support is not None:
        support.check(table.x, table.columns, "the data")
    found = Standardiser.fit(table.x, weights, support)
    if not found.varies.any():
        raise DataError(
            f"all columns are constant: {', '.join(table.columns)}. There is nothing to learn; expected at least one "
            "column that varies over the rows with a weight above 0."
        )
    if not recipe.data.standardise:
        return replace(found, mean=np.where(found.varies, 0.0, found.mean), scale=found.varies.astype(np.float64))
    return found


def _attach_labels(table: Table, labels: ArrayLike | None, recipe: PointRecipe) -> Table:
    """Return `table` with its labels, if there are any."""
    labels = table.labels if labels is None else labels
    if labels is None:
        if recipe.data.label:
            raise UsageError(
                f"data.label = '{recipe.data.label}', but there are no labels. Pass `fit(..., labels=...)`."
            )
        return table
    _check_conditionable(recipe, "labels", "them")
    if np.shape(labels) != (len(table.x),):
        raise DataError(f"the labels have shape {np.shape(labels)}; expected ({len(table.x)},), one for each row.")
    for i, label in enumerate(labels := np.asarray(plain(labels))):
        check_unicode(str(label), f"the label of row {i + 1}")
    return replace(table, labels=labels)


def _check_conditionable(recipe: PointRecipe, what: str, them: str) -> None:
    """Refuse a recipe whose network or denoiser cannot be conditioned on labels or given values."""
    if isinstance(recipe.network, StepGated):
        raise RecipeError(
            f"network.kind = 'step_gated' takes no {what}. Set network.kind = 'residual', or train without {them}."
        )
    if recipe.denoiser.variance == "learned":
        raise RecipeError(
            f"denoiser.variance = 'learned' cannot be used with {what}. Set 'fixed', or train without {them}."
        )


def _merge_rows(whole: Table, weights: ArrayLike | None) -> tuple[Table, Array | None]:
    """Return the distinct rows with a weight above 0, in order of first occurrence, and the sums of their weights.

    The weights are None if they are equal. A weight of 2 gives the same result as two copies, to the bit.
    """
    row_weights = np.ones(len(whole)) if weights is None else check_weights(weights, len(whole))
    if weights is not None and (row_weights > 0).sum() < 2:
        raise DataError(f"{(row_weights > 0).sum()} rows have a weight above 0; expected at least 2.")
    rows = np.flatnonzero(row_weights)
    table, row_weights = whole.take(rows), row_weights[rows]
    _, first, which = np.unique(content_keys(frame_of(table, LABEL)), return_index=True, return_inverse=True)
    sums, order = np.bincount(which, row_weights), np.argsort(first)
    return table.take(first[order]), None if np.ptp(sums) == 0 else sums[order].astype(np.float64)


def _prepare_context(
    rows: Table, z: Array, units: Standardiser, weights: Array | None, start: GaussianModel | None, recipe: PointRecipe
) -> tuple[Context | None, Array | None, Array]:
    """Return the context of the rows, from `start` or fitted, the numbers of each row (n, c), and the targets.

    `z` (n, v) are the points in `units`; the targets are z, or its residuals of a linear regression on the context.
    """
    table, before = rows.given, None if start is None else start.context
    if table is None:
        return None, None, z
    _check_conditionable(recipe, "`given`", "it")
    if before is not None and before.columns != table.columns:
        raise UsageError(
            f"given has the columns {', '.join(table.columns)}; start is conditioned on {', '.join(before.columns)}. "
            "Pass these."
        )
    standardise = recipe.data.standardise
    columns = [name for name, varies in zip(rows.columns, units.varies, strict=True) if varies]
    prior = Prior.fit(z, columns, weights, units.intervals)
    context = before or Context.fit(table, prior, weights, standardise=standardise)
    numbers = context.mapped(table.x)
    if not standardise:
        return context, numbers, z
    # A start has the regression of its own rows. If they are the same rows, the residuals are equal to the bit.
    found, residuals = Regression.fit(z, numbers, weights, context.prior.uniform)
    if before is None:
        context = context.with_regression(found)
    elif context.regression != found:
        residuals = context.subtract_prediction(z, numbers)
    return context, context.with_ends(numbers), residuals


def _initial_denoiser(start: GaussianModel | None, recipe: PointRecipe, points: _PreparedPoints, seed: int) -> Denoiser:
    """Return the initial denoiser, from `start` or new."""
    dim, classes, context = points.rows.x.shape[1], points.classes, points.context
    if start is None:
        counts = len(classes) if classes else 0, context.inputs if context else 0
        return recipe.make_denoiser(dim, seed_key(seed, "weights"), *counts)
    wanted = skeleton_of(recipe, dim, classes, context)
    shape = lambda leaf: (leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf
    if not eqx.tree_equal(jax.tree.map(shape, start.denoiser), jax.tree.map(shape, wanted)):
        raise UsageError(
            "start has another recipe, or other columns, classes or `given` than this training, so training cannot "
            "continue from it. Use its own recipe, start.recipe; only [training], [loss] and [times] may differ."
        )
    return start.denoiser
