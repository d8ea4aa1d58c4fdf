"""How good is a model? Its samples beside real rows that it has not seen, its loss beside the irreducible one."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes._seeds import seed_key
from motes.data._tables import Table
from motes.evaluation._excess import ExcessLoss, excess_loss, noise_levels
from motes.evaluation._irreducible import Estimate, expected_loss
from motes.evaluation._points import PointDetails, evaluate_points
from motes.evaluation._record import DetailsT, Evaluation
from motes.learning._networks import StepGated
from motes.models._point_fitting import standardiser_of
from motes.models._points import PointModel
from motes.models._sources import Source, compared_with
from motes.models._tables import TableModel
from motes.recipes import Recipe

Array = NDArray[np.float64]

SCORED = 2000  # rows whose likelihood is taken
EXCESS_ROWS = 1024  # rows whose loss is taken
CLASSES = 10  # whose irreducible loss is taken; of more, so many are drawn
LEAST_LOSS_PAIRS = 1e8  # of draws with atoms: less than a second


def evaluate(
    model: PointModel,
    source: str | ArrayLike | Table | None = None,
    *,
    n: int = 10_000,
    seed: int = 0,
    on_block: Callable[[int], None] | None = None,
) -> Evaluation[PointDetails]:
    """Sample the model and compare with real points: a fresh draw of a shape, or rows held out of a file.

    Args:
        model: trained.
        source: a shape, a `.csv` or `.npy` file or an array (n, d); None takes what the model was trained on.
        n: rows of each set, fewer where there are not so many real ones.
        seed: of the samples and of the metrics.
        on_block: called with the number of rows sampled so far.

    Raises:
        UsageError: data that is not to be had, has other columns than the model, or too few rows.
        DataError: data that cannot be used.
    """
    origin, reference, other = compared_with(model, source, n)
    samples = model.sample(len(reference), seed=seed, on_block=on_block)
    found = evaluate_points(
        samples,
        reference,
        other,
        columns=model.columns,
        modes=origin.modes,
        log_prob=_log_prob(model, origin, reference, other),
        excess=_excess(model, origin, reference, seed),
        seed=seed,
    )
    notes = () if origin.truth is not None else (f"the irreducible loss on {origin.name} is unknown.",)
    return of_model(replace(found, source=origin.name, evaluated_against=origin.evaluated_against, notes=notes), model)


def of_model(found: Evaluation[DetailsT], model: PointModel | TableModel) -> Evaluation[DetailsT]:
    """The record, with what a report says about the model."""
    about: dict[str, Any] = {
        "model": f"{'points' if isinstance(model, PointModel) else 'a table'} of {len(model.columns)} columns, "
        f"{model.parameters:,} parameters",
        "trained on": model.source or "rows in memory",
        "seed of the training": model.seed,
        "recipe": model.recipe.to_dict(),
    }
    return replace(found, about=about)


def _log_prob(model: PointModel, origin: Source, reference: Array, other: Array) -> tuple[Array, Array] | None:
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


def _excess(model: PointModel, origin: Source, reference: Array, seed: int) -> ExcessLoss | None:
    """The network's loss above that of the exact denoiser; None where that is unknown."""
    if origin.truth is None:
        return None
    schedule, z = model.denoiser.schedule, model.standardiser.forward(reference[:EXCESS_ROWS])
    exact = origin.truth.oracle(schedule, model.standardiser)
    t, _ = noise_levels(schedule, model.lowest_noise)
    return excess_loss(model.denoiser, exact, z, t, key=seed_key(seed, "excess"))


def least_loss(origin: Source, recipe: Recipe, *, seed: int = 0) -> Estimate:
    """How low the training loss of a recipe can go on a source: the loss of the exact denoiser.

    Where the distribution is unknown it is that of the denoiser which knows the rows by heart, and says so in its
    label. With labels it is that of the exact denoiser of each class, but for the rows whose label is withheld.
    """
    rng, labels = np.random.default_rng([seed, 112358]), origin.table.labels
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


def _least_loss(origin: Source, recipe: Recipe, label: str | np.integer | None, seed: int) -> Estimate:
    """Of one class, or of all rows together."""
    standardiser = standardiser_of(origin.table, recipe)
    atoms = origin.truth.atoms if origin.truth else len(origin.table.x)
    mine = slice(None) if label is None else origin.table.labels == label
    return expected_loss(
        origin.oracle(recipe.make_schedule(), standardiser, label),
        recipe.loss,
        standardiser.forward(origin.table.x[mine]),
        recipe.times,
        key=seed_key(seed, "least loss"),
        draws=int(np.clip(LEAST_LOSS_PAIRS // atoms, 4096, 100_000)),
    )
