"""How good is a model? Its samples beside real rows that it has not seen, its loss beside the irreducible one."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.errors import UsageError, unknown
from motes.evaluation.causes import excess_over_exact
from motes.evaluation.losses import Estimate, expected_loss
from motes.evaluation.points import Fit, PointDetails, evaluate_points
from motes.evaluation.records import Evaluation
from motes.evaluation.sources import PointSource, Source, compared_with, table_source
from motes.evaluation.table_results import TableDetails
from motes.evaluation.tables import evaluate_tables, with_unlikely
from motes.points import PointModel, PointRecipe
from motes.points.fitting import standardiser_of
from motes.points.networks import StepGated
from motes.progress import Reporter
from motes.seeds import seed_key
from motes.tables.model import TableModel
from motes.training import Model

Array = NDArray[np.float64]

SCORED = 2000  # rows whose likelihood is taken
EXCESS_ROWS = 1024  # rows whose loss is taken
LIKELIHOOD_ROWS = 4096  # of a table, whose log p is taken, at most
CLASSES = 10  # whose irreducible loss is taken; of more, so many are drawn
LEAST_LOSS_PAIRS = 4e7  # of draws with atoms: less than half a second


def evaluate_point_model(
    model: PointModel, source: Any = None, *, n: int = 10_000, seed: int = 0, reporter: Reporter
) -> Evaluation[PointDetails]:
    """Sample the model and compare with real points: a fresh draw of a shape, held-out rows of a file, or others.

    Args:
        model: trained.
        source: a shape, a data set, a file, or rows in memory; None takes what the model was trained on.
        n: samples; fewer, where there are not so many real ones.
        seed: of the samples and of the metrics.
        reporter: shows the progress.

    Raises:
        UsageError: rows that are not to be had, or too few of them.
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
    """Sample the model and compare with real rows: held-out rows of a file, or others.

    Args:
        model: trained.
        source: a data set, a file, or rows in memory; None takes what the model was trained on.
        n: samples.
        target: a column that is predicted, after training on synthetic and on real rows.
        seed: of the samples and of the metrics.
        reporter: shows the progress.

    Raises:
        UsageError: rows that are not to be had, too few of them, or a target that was not learned.
        DataError: rows that cannot be used, or with other columns than the model's.
    """
    _check_target(model, target)
    origin = table_source(model, source)
    for rows in (origin.training, origin.held_out):
        if rows is not None:  # a column of another type is refused before the work
            model.schema.encode(rows, name=f"'{origin.name}'", unseen="mark")
    with reporter.counting("sampling", "rows") as count:
        samples = model.draw(n, seed=seed, on_progress=count)
    reporter.say("comparing")
    return compare_table(model, origin, samples, target=target, seed=seed)


def about(model: Model) -> dict[str, Any]:
    """What a report says of a model."""
    return {
        "model": f"{type(model).__name__} of {len(model.columns)} columns, {model.parameters:,} parameters",
        "trained on": model.source or "rows in memory",
        "seed of the training": model.seed,
        "recipe": model.recipe.to_dict(),
    }


def compare_points(
    model: PointModel, origin: PointSource, samples: Array, *, seed: int = 0, brief: bool = False
) -> Evaluation[PointDetails]:
    """Compare samples (n, d) of a model with real points; `brief`: by the quick measures alone."""
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
    notes = () if truth is not None else (f"the irreducible loss on {origin.name} is unknown.",)
    if brief:
        notes = (
            "these are the quick measures alone. `motes evaluate` or Model.evaluate takes all, and may find more.",
        )
    found = replace(found, evaluated_against=origin.evaluated_against)
    return replace(found, source=origin.name, notes=(*origin.notes, *notes), about=about(model))


def compare_table(
    model: TableModel, origin: Source[Frame], samples: Frame, *, target: str | None = None, seed: int = 0
) -> Evaluation[TableDetails]:
    """Compare drawn rows of a model with real ones, with log p of some where they are those of its own training."""
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
    if log_prob is not None:
        found = with_unlikely(found, unseen, log_prob[0])
    return replace(found, source=origin.name, notes=(*origin.notes, *found.notes), about=about(model))


def _check_target(model: TableModel, target: str | None) -> None:
    if target is not None and target not in model.columns:
        raise UsageError("target: " + unknown("column", target, model.columns))
    if target is not None:
        model.schema.check_not_aside(target)
    if target is not None and target not in model.schema.learned:
        raise UsageError(f"target: column '{target}' had one value in the training; there is nothing to learn.")


def _log_prob(model: PointModel, origin: PointSource, reference: Array, other: Array) -> tuple[Array, Array] | None:
    """log p of real points, beside that by the exact distribution, or, where that is unknown, of other real points.

    None for a network that knows only steps: its flow jumps, and no solver can follow it; and where some point has no
    density.
    """
    if isinstance(model.recipe.network, StepGated):
        return None
    reference, other = reference[:SCORED], other[:SCORED]
    ours = model.score_samples(reference)
    best = origin.truth.log_density(reference) if origin.truth else model.score_samples(other)
    return (ours, best) if np.isfinite(ours).all() and np.isfinite(best).all() else None


def least_loss(origin: PointSource, recipe: PointRecipe, *, seed: int = 0) -> Estimate:
    """How low the training loss of a recipe can go on a source: the loss of the exact denoiser.

    Where the distribution is unknown it is that of the denoiser which knows the rows by heart, and says so in its
    label. With labels it is that of the exact denoiser of each class, but for the rows whose label is withheld.
    """
    rng, labels = np.random.default_rng([seed, 112358]), origin.training.labels
    parts = [(1.0, _least_loss(origin, recipe, None, seed))]
    if labels is not None:
        withheld = recipe.training.label_dropout
        chosen = np.unique(labels)
        if len(chosen) > CLASSES:  # as many rows of each as there are on average
            chosen = rng.choice(labels, CLASSES)
            shares = np.full(CLASSES, 1 / CLASSES)
        else:
            shares = np.array([np.mean(labels == label) for label in chosen])
        parts = [(withheld, parts[0][1])]
        parts += [
            ((1 - withheld) * share, _least_loss(origin, recipe, label, seed))
            for label, share in zip(chosen, shares, strict=True)
        ]
    mean = sum(weight * part.mean for weight, part in parts)
    error = sum((weight * part.error) ** 2 for weight, part in parts) ** 0.5
    return Estimate(mean, error, parts[0][1].label)


def _least_loss(origin: PointSource, recipe: PointRecipe, label: str | np.integer | None, seed: int) -> Estimate:
    """Of one class, or of all rows together."""
    standardiser = standardiser_of(origin.training, recipe)
    atoms = origin.truth.atoms if origin.truth else len(origin.training.x)
    mine = slice(None) if label is None else origin.training.labels == label
    return expected_loss(
        origin.oracle(recipe.make_schedule(), standardiser, label),
        recipe.loss,
        standardiser.forward(origin.training.x[mine]),
        recipe.times,
        key=seed_key(seed, "least loss"),
        draws=int(np.clip(LEAST_LOSS_PAIRS // atoms, 4096, 25_000)),
    )
