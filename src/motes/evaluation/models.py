"""Evaluation of models: their samples against unseen real rows, their loss, and EMA lengths of their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.data import Frame, Table
from motes.errors import DataError, UsageError
from motes.evaluation.diagnosis import excess_over, excess_over_exact
from motes.evaluation.losses import Estimate, expected_loss
from motes.evaluation.points import Fit, PointDetails, evaluate_points
from motes.evaluation.results import Array, Evaluation
from motes.evaluation.sources import PointSource, Source, compared_with, random_rows, source_of
from motes.evaluation.tables import TableDetails, check_target, evaluate_tables
from motes.points import PointModel, PointRecipe
from motes.points.fitting import standardiser_of
from motes.points.networks import StepGated
from motes.points.sampling import seed_key
from motes.progress import OnProgress, Progress, Reporter, silent
from motes.tables.model import TableModel
from motes.training import Model

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
    model: TableModel, source: Any, *, n: int = 10_000, target: str | None = None, seed: int = 0, reporter: Reporter
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
    check_target(model.schema, target)
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
    """Compare samples (n, d) of a model with real points; with `brief`, by the quick metrics only.

    Raises:
        DataError: if a sample is not finite.
    """
    if lost := int((~np.isfinite(samples)).any(axis=1).sum()):
        raise DataError(
            f"{lost:,} of {len(samples):,} samples of the model are not finite; expected finite numbers to compare "
            "with real points. Use more steps or another sampler, such as --set sampler.kind=heun, or train again."
        )
    reference, other = origin.real(len(samples))
    truth, fit = origin.truth, Fit()
    note = "only the quick metrics were computed. `motes evaluate` or Model.evaluate computes all and may find more."
    if not brief:
        excess = None if truth is None else excess_over_exact(model, truth, reference[:EXCESS_ROWS], seed)
        fit = Fit(_log_prob(model, origin, reference, other), excess, paired=truth is not None)
        note = "" if truth is not None else f"the theoretical minimum of the loss on {origin.name} is unknown."
    samples, columns, modes = samples[: len(reference)], model.columns, origin.modes
    found = evaluate_points(samples, reference, other, columns=columns, modes=modes, fit=fit, brief=brief, seed=seed)
    notes, against = tuple(filter(None, (*origin.notes, note))), origin.evaluated_against
    return replace(found, source=origin.name, evaluated_against=against, notes=notes, about=about(model))


def compare_table(
    model: TableModel, origin: Source[Frame], samples: Frame, *, target: str | None = None, seed: int = 0
) -> Evaluation[TableDetails]:
    """Compare synthetic rows of a model with real ones; if these come from its own training data, also by log p."""
    training = model.schema.frame(origin.training)
    held_out = None if origin.held_out is None else model.schema.frame(origin.held_out)
    log_prob = None
    if held_out is not None and origin.known:
        unseen, seen = (random_rows(rows, LIKELIHOOD_ROWS, seed) for rows in (held_out, training))
        log_prob = model.score_samples(unseen), model.score_samples(seen)
    found = evaluate_tables(samples, held_out, training, model.schema, target=target, log_prob=log_prob, seed=seed)
    return replace(found, source=origin.name, notes=(*origin.notes, *found.notes), about=about(model))


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
    dropout = 1.0 if rows.labels is None else recipe.training.label_dropout
    parts = [(dropout, truth, rows.x)]
    if rows.labels is not None:
        of_classes = [(rows.labels == label, truth.of_class(int(label))) for label in np.unique(rows.labels)]
        parts += [((1 - dropout) * float(mine.mean()), one, rows.x[mine]) for mine, one in of_classes]
    standardiser, schedule = standardiser_of(rows, recipe), recipe.make_schedule()
    draws, key = int(np.clip(LEAST_LOSS_PAIRS // truth.atoms, 4096, 25_000)), seed_key(seed, "least loss")
    mean, square = 0.0, 0.0
    for weight, one, x in parts:
        exact, z = one.oracle(schedule, standardiser), standardiser.forward(x)
        found = expected_loss(exact, recipe.loss, z, recipe.times, key=key, draws=draws)
        mean, square = mean + weight * found.mean, square + (weight * found.error) ** 2
    return Estimate(mean, square**0.5)


# --- Comparison of EMA lengths of the weights on unseen rows --------------------------------------------------------

LENGTHS = (0.02, 0.03, 0.045, 0.07, 0.1, 0.14, 0.19, 0.25)  # as fractions of the training
EMA_ROWS = 8192  # most real rows for the comparison


@dataclass(frozen=True)
class EmaLengths:
    """The losses of a model with weights averaged over different lengths.

    Attributes:
        evaluated_against: the unseen rows, in words.
        measure: the quantity in `losses`, in words.
        lengths: lengths of the averages; None for the model's present weights.
        losses, errors: the loss of each length, and its standard error. All use the same rows, and for points the same
            times and noise, so their differences have smaller standard errors.
    """

    evaluated_against: str
    measure: str
    lengths: tuple[float | None, ...]
    losses: tuple[float, ...]
    errors: tuple[float, ...]

    def __repr__(self) -> str:
        return f"EmaLengths({len(self.lengths)} lengths, the best {self.best})"

    @property
    def best(self) -> float:
        """The length with the lowest loss, without the present weights."""
        return min((loss, length) for loss, length in zip(self.losses, self.lengths, strict=True) if length)[1]

    def __str__(self) -> str:
        lines = [
            f"{'present' if length is None else format(length, 'g'):>7}  {loss:>10.5f} ± {error:.5f}"
            + ("  best" if length == self.best else "")
            for length, loss, error in zip(self.lengths, self.losses, self.errors, strict=True)
        ]
        return "\n".join([f" length  {self.measure}, on {self.evaluated_against}", *lines])


def compare_ema_lengths(
    model: Model,
    source: str | ArrayLike | Table | None = None,
    *,
    lengths: tuple[float, ...] = LENGTHS,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> EmaLengths:
    """Compare weights averaged over different lengths (Karras et al. 2024, section 3), on unseen rows.

    The loss of a table is -log p in nats per row. For points it is the excess loss in nats per row if their
    distribution is known, otherwise the training loss.

    Args:
        model: a model with stored averages, as `motes train` writes them; a table needs table.averages.
        source: data to compare with; default: the data that the model was trained on, for a table its held-out rows.
        lengths: lengths to try, as fractions of the training; lengths without enough stored averages are skipped.
        seed: seed of rows, times and noise.
        on_progress: called with the number of lengths tried so far, the present weights first.

    Raises:
        UsageError: no averages, a length out of range, or data that is not available.
        DataError: data that cannot be used.

    Example:
        >>> from motes.evaluation import compare_ema_lengths
        >>> compare_ema_lengths(model, "moons", lengths=(0.1, 0.2)).best in (None, 0.1, 0.2)
        True
    """
    stored = model.averages
    if stored is not None:
        lengths = tuple(length for length in lengths if stored.can_make(length))
    tried = (None, *lengths)
    scoring: Any = _table_score if model.kind == "table" else _point_score
    score, measure, against = scoring(model, source, seed)
    found: list[tuple[float, float]] = []
    for length in tried:
        found.append(score(model if length is None else model.averaged_over(length)))
        on_progress(Progress(len(found), len(tried)))
    losses, errors = zip(*found, strict=True)
    return EmaLengths(against, measure, tried, losses, errors)


Score = Callable[[Any], tuple[float, float]]  # model -> its loss and standard error


def _point_score(model: PointModel, source: Any, seed: int) -> tuple[Score, str, str]:
    """Return the score of a model of points, its measure, and the rows, in words."""
    origin = source_of(model, source)
    real, _ = origin.real(EMA_ROWS)
    rows = model.standardiser.forward(real)
    schedule, key = model.denoiser.schedule, seed_key(seed, "lengths")
    exact: Any = origin.truth and origin.truth.oracle(schedule, model.standardiser)

    def excess(one: PointModel) -> tuple[float, float]:
        found = excess_over(one, exact, real, "lengths", seed)
        return found.nats, found.nats_error

    def loss(one: PointModel) -> tuple[float, float]:
        return expected_loss(one.denoiser, model.recipe.loss, rows, model.recipe.times, key=key)

    against = f"{origin.evaluated_against} of {origin.name}"
    return (excess, "excess loss in nats per row", against) if exact is not None else (loss, "loss", against)


def _table_score(model: TableModel, source: Any, seed: int) -> tuple[Score, str, str]:
    """Return the score of a model of a table, its measure, and the rows, in words."""
    model.check_averages()  # before the rows are read and scored
    origin = source_of(model, source)
    if origin.held_out is None:
        raise UsageError(
            f"'{origin.name}' has no rows that the model has not seen. Pass unseen rows; on the "
            "command line, give a file of them as SOURCE."
        )
    rows = random_rows(origin.held_out, EMA_ROWS, seed)

    def score(one: TableModel) -> tuple[float, float]:
        nats = -one.score_samples(rows, laplace=True)
        return float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))

    return score, "-log p in nats per row", f"{len(rows):,} held-out rows of {origin.name}"
