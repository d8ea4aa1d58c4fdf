"""From points to a trained model of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Standardiser, Support, Table
from motes.data.arrays import check_weights, plain
from motes.data.points import Classes, content_keys, fingerprint_of, frame_of
from motes.data.tables import as_table
from motes.errors import DataError, RecipeError, UsageError, check_process, check_seed, unknown
from motes.points.denoisers import Denoiser
from motes.points.model import GaussianModel, PointModel
from motes.points.networks import Residual, StepGated
from motes.points.posterior import Context, Prior, Regression, context_table
from motes.points.posterior_model import PosteriorModel
from motes.points.recipe import PointRecipe
from motes.points.training import Rows, point_task, with_validation
from motes.seeds import seed_key
from motes.training import Provenance, Trained
from motes.training.loop import TrainingTask, fit_model
from motes.training.model import FitSession, run_of

Array = NDArray[np.float64]

FEW = 3000  # rows, below which units are left out,
FEW_DROPOUT = 0.1  # this share of them: fewer rows are learned by heart
MANY = 50_000  # rows, from which on the network sees sines and cosines of them: fewer are memorised,
OCTAVES = 2  # in this many octaves
LABEL = "\0label"  # the column of the classes, where rows are compared: a name that no other column has
SCALES = 32  # that a network learns of what is observed, where that tells how wide posteriors are


@dataclass(frozen=True, eq=False)
class PointData:
    """Points to train on, with what is known of them.

    Attributes:
        points: numbers (n, d), or a `Table`.
        columns: d names of the columns of an array.
        labels: the class of each row (n,), whole numbers or texts; None takes those of the `Table`, if it has any.
        weights: how many rows each row stands for (n,), at least 0, as `motes.fit` takes them; None: 1 each.
        given: what each row is conditioned on: an array (n, c), a dict of columns, a data frame or a `Table`; None
            takes that of the `Table`, if it has any.
    """

    points: ArrayLike | Table
    columns: Sequence[str] | None = None
    labels: ArrayLike | None = None
    weights: ArrayLike | None = None
    given: Any = None

    @property
    def table(self) -> Table:
        """All points.

        Raises:
            DataError: points that cannot be used.
        """
        return self.points if isinstance(self.points, Table) else as_table(self.points, self.columns)


def fit_points(
    data: ArrayLike | Table | PointData,
    recipe: PointRecipe,
    *,
    seed: int = 0,
    session: FitSession = FitSession(),
) -> PointModel | PosteriorModel:
    """Train a model of points on the rows of `data`.

    Args:
        data: numbers (n, d), a `Table`, or `PointData`, which may also hold columns, classes, weights and `given`.
        recipe: how to train.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        session: what the data is called, a model to go on from, checkpoints and progress. A training with another loss,
            other times, another optimiser, or averages where the start has none goes on from the weights of the start
            alone.

    Returns:
        The model, with its losses in `model.training`. After Ctrl-C it is what was learned until then.

    Raises:
        DataError: data that cannot be used; the message names the place.
        RecipeError: a recipe that cannot be followed.
        UsageError: a `start` of another network, or one whose training is complete.
        TrainingError: the training diverged; `result` is the model of the last good weights.
    """
    check_process()
    chosen, seed, start = recipe, check_seed(seed), session.start_as(GaussianModel)
    data = data if isinstance(data, PointData) else PointData(data)
    whole, chosen = _whole(data, chosen)
    points = _as_learned(whole, data.weights, start, chosen, seed)
    chosen = choose_options(chosen, len(points.rows.x), start, given=points.context is not None)
    chosen = _with_scales(chosen, points, start)
    rows, training = points.rows, chosen.training
    run = run_of(chosen, seed, rows.x, rows.labels, rows.weights, rows.context, rows.masks)
    denoiser = _first(start, chosen, points, seed)
    if training.validation:
        rows = with_validation(rows, training.validation, seed_key(seed, "validation"))

    def model_of(trained: Trained[Denoiser]) -> PointModel | PosteriorModel:
        kind = PointModel if points.context is None else PosteriorModel
        return kind(
            trained.averaged if training.weights == "averaged" else trained.last,
            points.units,
            whole.columns,
            chosen,
            classes=points.classes,
            context=points.context,
            provenance=Provenance(session.source, fingerprint_of(frame_of(replace(whole, labels=None))), seed),
            training=trained,
        )

    def task(steps: int) -> TrainingTask[Denoiser]:
        return point_task(
            denoiser,
            rows,
            key=seed_key(seed, "training"),
            loss=chosen.loss,
            times=chosen.times,
            options=replace(training, steps=steps),
        )

    before = _training_of(start, chosen)
    return fit_model(task, model_of, session, run=run, steps=training.steps, key="training.steps", before=before)


def _training_of(start: GaussianModel | None, recipe: PointRecipe) -> Trained[Denoiser] | None:
    """What the training left whose weights are those of the start, if its state is one of a training by this recipe."""
    if start is None or start.training is None:
        return None
    trained, before = start.training, start.recipe
    own = any(start.denoiser is one for one in (trained.averaged, trained.last))
    decides = lambda recipe: (
        recipe.loss, recipe.times, recipe.training.optimiser, bool(recipe.training.averages),
    )  # fmt: skip
    return trained if own and decides(before) == decides(recipe) else None


def _whole(data: PointData, recipe: PointRecipe) -> tuple[Table, PointRecipe]:
    """All rows with their labels and what they are given, and the recipe with the names of what it is."""
    whole = data.table
    given = whole.given if data.given is None else data.given
    if given is None and recipe.data.given and not recipe.conditions.learned:
        raise UsageError(
            f"data.given = {list(recipe.data.given)} names columns of a file or a data frame; got an array. Give "
            "`fit(..., given=...)`."
        )
    observed = None if given is None else context_table(given, len(whole), whole.columns)
    if recipe.conditions.learned and observed is not None:  # all columns are points; any are learned given any others
        if np.isnan(observed.x).any():
            raise DataError("given has missing entries, and recipe 'any' learns whole rows. Leave out such rows.")
        recipe = replace(recipe, data=replace(recipe.data, given=observed.columns))
        names = *whole.columns, *observed.columns
        whole, observed = Table(np.hstack([whole.x, observed.x]), names, whole.labels), None
    return _labelled(replace(whole, given=observed), data.labels, recipe), recipe


def choose_options(
    recipe: PointRecipe, rows: int, start: GaussianModel | None = None, *, given: bool = False
) -> PointRecipe:
    """Return the recipe with the options chosen that it leaves to the data: dropout, octaves, and what rows regress on.

    They are those of `start`, where there is one. Few rows are learned as they are: a mean over the batch has little
    noise, and a network then learns the rows by heart in fewer steps. With dropout, moons of 1,000 rows are .030 nats
    off with rows and .044 with means, of 300 rows .20 and .30.
    """
    target = recipe.training.target or (start.recipe.training.target if start else "row" if rows < FEW else None)
    recipe = replace(recipe, training=replace(recipe.training, target=target))
    alone = not (given or recipe.conditions.learned)
    recipe = _suiting(recipe, "octaves", start, lambda: OCTAVES if rows >= MANY and alone else 0)
    return _suiting(recipe, "dropout", start, lambda: FEW_DROPOUT if rows < FEW else 0.0)


def _suiting(recipe: PointRecipe, option: str, start: GaussianModel | None, suits: Callable[[], float]) -> PointRecipe:
    """The recipe with an option of its network, which is that of `start` or what suits, where nothing is said of it."""
    network = recipe.network
    if not isinstance(network, Residual) or getattr(network, option) is not None:
        return recipe
    if start is not None and isinstance(start.recipe.network, Residual):
        found = getattr(start.recipe.network, option)
    else:
        found = suits()
    return replace(recipe, network=replace(network, **{option: found}))


class _Points(NamedTuple):
    """Points as they are learned.

    Attributes:
        rows: those that count, each once, in the units of the network.
        units: between those and the data's.
        classes, context: what the rows are given; None: nothing.
    """

    rows: Rows
    units: Standardiser
    classes: Classes | None
    context: Context | None


def _with_scales(recipe: PointRecipe, points: _Points, start: GaussianModel | None) -> PointRecipe:
    """The recipe with learned scales, which are those of `start` or suit the rows where nothing is said of them."""

    def suits() -> int:  # where widths cannot be predicted, more numbers are learned by heart
        context, rows = points.context, points.rows
        return SCALES if context is not None and context.predicts_widths(rows.x, rows.context) else 0

    return _suiting(recipe, "scales", start, suits)


def _as_learned(
    whole: Table, weights: ArrayLike | None, start: GaussianModel | None, recipe: PointRecipe, seed: int
) -> _Points:
    """The distinct rows with a weight above 0, in the units of the network, each with what the network is given."""
    table, heavy = _distinct(whole, weights)
    classes = None
    if table.labels is not None:
        classes = (start and start.classes) or Classes.of(table.labels, heavy)
    units = start.standardiser if start else standardiser_of(table, recipe, heavy)
    if start:
        start.check_constants(table.x, "the data")
    z = units.forward(table.x)
    context, numbers, left = _context(table, z, units, heavy, start, recipe)
    labels = None if classes is None else classes.numbers(table.labels, len(z))
    masks = _masks(table, units.varies, recipe, seed)
    return _Points(Rows(left, labels, heavy, context=numbers, masks=masks), units, classes, context)


def _masks(table: Table, varies: NDArray[np.bool_], recipe: PointRecipe, seed: int) -> NDArray[np.bool_] | None:
    """Observed masks of the columns that vary, to learn with; None where no conditional distribution is learned."""
    part, given = recipe.conditions, recipe.data.given
    if not part.learned:
        return None
    for name in given:
        if name not in table.columns:
            raise UsageError(unknown("given column", name, table.columns))
    if not given and (part.posterior or part.likelihood):
        raise RecipeError(
            "[conditions] learns the posterior or the likelihood, and nothing says which columns are observed there. "
            "Give fit(theta, given=x), or --given-columns; or set conditions.posterior and conditions.likelihood to 0."
        )
    rng = np.random.default_rng(np.asarray(jax.random.key_data(seed_key(seed, "masks"))))
    return part.masks(np.isin(table.columns, given)[varies], rng)


def standardiser_of(table: Table, recipe: PointRecipe, weights: Array | None = None) -> Standardiser:
    """Between the units of `table` and those that a recipe trains in.

    Raises:
        DataError: no column that varies over the rows that count, or a row beyond the bounds.
        UsageError: bounds that are none.
    """
    support = Support.of(recipe.data.bounds, table.columns)
    if support is not None:
        support.check(table.x, table.columns, "the data")
    found = Standardiser.fit(table.x, weights, support)
    if not found.varies.any():
        raise DataError(
            f"all columns are constant over the rows that count: {', '.join(table.columns)}. There is nothing to "
            "learn; expected at least one that varies."
        )
    if not recipe.data.standardise:
        return replace(found, mean=np.where(found.varies, 0.0, found.mean), scale=found.varies.astype(np.float64))
    return found


def _labelled(table: Table, labels: ArrayLike | None, recipe: PointRecipe) -> Table:
    """`table` with the labels to learn, if there are any."""
    labels = table.labels if labels is None else labels
    if labels is None:
        if recipe.data.label:
            raise UsageError(
                f"data.label = '{recipe.data.label}', but there are no labels. Give `fit(..., labels=...)`."
            )
        return table
    _check_takes(recipe, "labels", "them")
    if np.shape(labels) != (len(table.x),):
        raise DataError(f"the labels have shape {np.shape(labels)}; expected ({len(table.x)},), one for each row.")
    return replace(table, labels=np.asarray(plain(labels)))


def _check_takes(recipe: PointRecipe, what: str, them: str) -> None:
    """Refuse a recipe whose network or denoiser has no place for what rows are conditioned on."""
    if isinstance(recipe.network, StepGated):
        raise RecipeError(
            f"network.kind = 'step_gated' takes no {what}. Set network.kind = 'residual', or train without {them}."
        )
    if recipe.denoiser.variance == "learned":
        raise RecipeError(f"denoiser.variance = 'learned' goes with no {what}. Set 'fixed', or train without {them}.")


def _distinct(whole: Table, weights: ArrayLike | None) -> tuple[Table, Array | None]:
    """The rows that count, each where it first comes, with the sum of its weights; None: as much each.

    So a weight of 2 is two copies, to the bit.
    """
    heavy = np.ones(len(whole)) if weights is None else check_weights(weights, len(whole))
    if weights is not None and (heavy > 0).sum() < 2:
        raise DataError(f"{(heavy > 0).sum()} rows have a weight above 0; expected at least 2.")
    rows = np.flatnonzero(heavy)
    table, heavy = whole.take(rows), heavy[rows]
    _, first, which = np.unique(content_keys(frame_of(table, LABEL)), return_index=True, return_inverse=True)
    sums, order = np.bincount(which, heavy), np.argsort(first)
    return table.take(first[order]), None if np.ptp(sums) == 0 else sums[order].astype(np.float64)


def _context(
    points: Table,
    z: Array,
    units: Standardiser,
    weights: Array | None,
    start: GaussianModel | None,
    recipe: PointRecipe,
) -> tuple[Context | None, Array | None, Array]:
    """What points are conditioned on: as `start` has it, or as the rows say. `z` (n, v) are the points in `units`.

    Beside it what the network is given of each row (n, c), and what there is to learn of z.
    """
    table, before = points.given, None if start is None else start.context
    if table is None:
        return None, None, z
    _check_takes(recipe, "`given`", "it")
    if before is not None and before.columns != table.columns:
        raise UsageError(
            f"given has the columns {', '.join(table.columns)}; start is conditioned on {', '.join(before.columns)}. "
            "Give these."
        )
    standardise = recipe.data.standardise
    columns = [name for name, varies in zip(points.columns, units.varies, strict=True) if varies]
    prior = Prior.fit(z, columns, weights, units.intervals)
    context = before or Context.fit(table, prior, weights, standardise=standardise)
    numbers = context.mapped(table.x)
    if not standardise:
        return context, numbers, z
    # A start has the regression of its own rows, which may be these; what it leaves of them is the same to the bit.
    found, left = Regression.fit(z, numbers, weights, context.prior.uniform)
    if before is None:
        context = context.with_regression(found)
    elif context.regression != found:
        left = context.left(z, numbers)
    return context, context.with_ends(numbers), left


def _first(start: GaussianModel | None, recipe: PointRecipe, points: _Points, seed: int) -> Denoiser:
    """The denoiser that training begins with."""
    dim, classes, context = points.rows.x.shape[1], points.classes, points.context
    counts = [len(classes) if classes else 0, context.inputs if context else 0]
    if start is None:
        return recipe.make_denoiser(dim, seed_key(seed, "weights"), *counts)
    wanted = eqx.filter_eval_shape(recipe.make_denoiser, dim, jax.random.key(0), *counts)
    shape = lambda leaf: (leaf.shape, leaf.dtype) if hasattr(leaf, "shape") else leaf
    if not eqx.tree_equal(jax.tree.map(shape, start.denoiser), jax.tree.map(shape, wanted)):
        raise UsageError(
            "start is not a model of this recipe, these columns, these classes and this `given`, so it cannot be gone "
            "on from. Take its own recipe, start.recipe; only [training], [loss] and [times] may differ."
        )
    return start.denoiser
