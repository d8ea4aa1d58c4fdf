"""Evaluation of models: their samples against unseen real rows, and their loss against its theoretical minimum."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.errors import UsageError, unknown
from motes.evaluation.diagnosis import excess_over_exact
from motes.evaluation.losses import Estimate, expected_loss
from motes.evaluation.points import Fit, PointDetails, evaluate_points
from motes.evaluation.records import Evaluation
from motes.evaluation.sources import PointSource, Source, compared_with, source_of
from motes.evaluation.table_results import TableDetails
from motes.evaluation.tables import evaluate_tables
from motes.points import PointModel, PointRecipe
from motes.points.fitting import standardiser_of
from motes.points.networks import StepGated
from motes.progress import Reporter
from motes.seeds import seed_key
from motes.tables.model import TableModel
from motes.training import Model

Array = NDArray[np.float64]

SCORED = 2000  # most rows for the likelihood
EXCESS_ROWS = 1024  # most rows for the excess loss
LIKELIHOOD_ROWS = 4096  # most rows of a table for the likelihood
LEAST_LOSS_PAIRS = 4e7  # pairs of draws and atoms: less than half a second


def evaluate_point_model(
    model: PointModel, source: Any = None, *, n: int = 10_000, seed: int = 0, reporter: Reporter
) -> Evaluation[PointDetails]:
    """Sample the model and compare with real points: a fresh draw of a shape, or held-out or other rows of a file.

    Args:
        model: trained model.
        source: a shape, a data set, a file, or rows in memory; default: the data that the model was trained on.
        n: number of samples; fewer if there are fewer real rows.
        seed: seed of the samples and of the metrics.
        reporter: shows the progress.

    Raises:
        UsageError: rows that are not available, or too few rows.
        DataError: rows that cannot be used, or with other columns than the model's.
    """
    origin, reference, _ = compared_with(model, source, n)
    with reporter.counting("sampling", "rows") as count:
        samples = model.draw(len(reference), seed=seed, on_progress=count)
    reporter.say("comparing")
    return compare_points(model, origin, samples, seed=seed)


def evaluate_table_model(
    model: TableModel,
    source: Any = None,
    *,
    n: int = 10_000,
    target: str | None = None,
    seed: int = 0,
    reporter: Reporter,
) -> Evaluation[TableDetails]:
    """Sample the model and compare with real rows: held-out or other rows of a file.

    Args:
        model: trained model.
        source: a data set, a file, or rows in memory; default: the data that the model was trained on.
        n: number of samples.
        target: a column to predict after training on synthetic and on real rows.
        seed: seed of the samples and of the metrics.
        reporter: shows the progress.

    Raises:
        UsageError: rows that are not available, too few rows, or a target that was not learned.
        DataError: rows that cannot be used, or with other columns than the model's.
    """
    _check_target(model, target)
    origin = source_of(model, source)
    for rows in (origin.training, origin.held_out):
        if rows is not None:  # reject columns of another type before the work
            model.schema.encode(rows, name=f"'{origin.name}'", unseen="mark")
    with reporter.counting("sampling", "rows") as count:
        samples = model.draw(n, seed=seed, on_progress=count)
    reporter.say("comparing")
    return compare_table(model, origin, samples, target=target, seed=seed)


def about(model: Model) -> dict[str, Any]:
    """Return the facts about a model for a report."""
    return {
        "model": f"{type(model).__name__} of {len(model.columns)} columns, {model.parameters:,} parameters",
        "trained on": model.source or "rows in memory",
        "seed of the training": model.seed,
        "recipe": model.recipe.to_dict(),
    }


def compare_points(
    model: PointModel, origin: PointSource, samples: Array, *, seed: int = 0, brief: bool = False
) -> Evaluation[PointDetails]:
    """Compare samples (n, d) of a model with real points; with `brief`, by the quick metrics only."""
    reference, other = origin.real(len(samples))
    truth = origin.truth
    found = evaluate_points(
        samples[: len(reference)],
        reference,
        other,
        columns=model.columns,
        modes=origin.modes,
        fit=Fit()
        if brief
        else Fit(
            _log_prob(model, origin, reference, other),
            None if truth is None else excess_over_exact(model, truth, reference[:EXCESS_ROWS], seed),
            paired=truth is not None,
        ),
        brief=brief,
        seed=seed,
    )
    notes = () if truth is not None else (f"the theoretical minimum of the loss on {origin.name} is unknown.",)
    if brief:
        notes = (
            "only the quick metrics were computed. `motes evaluate` or Model.evaluate computes all and may find more.",
        )
    found = replace(found, evaluated_against=origin.evaluated_against)
    return replace(found, source=origin.name, notes=(*origin.notes, *notes), about=about(model))


def compare_table(
    model: TableModel, origin: Source[Frame], samples: Frame, *, target: str | None = None, seed: int = 0
) -> Evaluation[TableDetails]:
    """Compare synthetic rows of a model with real ones; if these come from its own training data, also by log p."""
    training = model.schema.frame(origin.training)
    held_out = None if origin.held_out is None else model.schema.frame(origin.held_out)
    log_prob = None
    if held_out is not None and origin.known:
        unseen, seen = (
            rows.take(np.random.default_rng([seed, 8128]).permutation(len(rows))[:LIKELIHOOD_ROWS])
            for rows in (held_out, training)
        )
        log_prob = model.score_samples(unseen), model.score_samples(seen)
    found = evaluate_tables(samples, held_out, training, model.schema, target=target, log_prob=log_prob, seed=seed)
    return replace(found, source=origin.name, notes=(*origin.notes, *found.notes), about=about(model))


def _check_target(model: TableModel, target: str | None) -> None:
    if target is not None and target not in model.columns:
        raise UsageError("target: " + unknown("column", target, model.columns))
    if target is not None:
        model.schema.check_not_aside(target)
    if target is not None and target not in model.schema.learned:
        raise UsageError(f"target: column '{target}' had one value in the training; there is nothing to learn.")


def _log_prob(model: PointModel, origin: PointSource, reference: Array, other: Array) -> tuple[Array, Array] | None:
    """Return log p of real points by the model, and by the exact distribution or, if unknown, of other real points.

    None for a network that knows only discrete steps, because no solver can follow its discontinuous flow; also None if
    any point has no density.
    """
    if isinstance(model.recipe.network, StepGated):
        return None
    reference, other = reference[:SCORED], other[:SCORED]
    ours = model.score_samples(reference)
    best = origin.truth.log_density(reference) if origin.truth else model.score_samples(other)
    return (ours, best) if np.isfinite(ours).all() and np.isfinite(best).all() else None


def least_loss(origin: PointSource, recipe: PointRecipe, *, seed: int = 0) -> Estimate | None:
    """Return the theoretical minimum of the training loss of a recipe on a shape: the loss of the exact denoiser.

    None if the distribution is unknown. With labels, each class has its own exact denoiser, except for rows whose label
    is dropped.
    """
    truth, rows = origin.truth, origin.training
    if truth is None:
        return None
    parts = [(1.0, truth, rows.x)]
    if rows.labels is not None:
        dropout = recipe.training.label_dropout
        of_classes = [(rows.labels == label, truth.of_class(int(label))) for label in np.unique(rows.labels)]
        parts = [(dropout, truth, rows.x)]
        parts += [((1 - dropout) * float(mine.mean()), one, rows.x[mine]) for mine, one in of_classes]
    standardiser, schedule = standardiser_of(rows, recipe), recipe.make_schedule()
    draws, key = int(np.clip(LEAST_LOSS_PAIRS // truth.atoms, 4096, 25_000)), seed_key(seed, "least loss")
    mean, square = 0.0, 0.0
    for weight, one, x in parts:
        exact, z = one.oracle(schedule, standardiser), standardiser.forward(x)
        found = expected_loss(exact, recipe.loss, z, recipe.times, key=key, draws=draws)
        mean, square = mean + weight * found.mean, square + (weight * found.error) ** 2
    return Estimate(mean, square**0.5)
