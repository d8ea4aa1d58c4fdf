"""Comparison of EMA lengths of the weights on unseen rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.data import Table
from motes.errors import UsageError
from motes.evaluation.losses import excess_loss, expected_loss, noise_levels
from motes.evaluation.sources import source_of
from motes.points import PointModel
from motes.progress import OnProgress, Progress, silent
from motes.seeds import seed_key
from motes.tables.model import TableModel
from motes.training import Model

LENGTHS = (0.02, 0.03, 0.045, 0.07, 0.1, 0.14, 0.19, 0.25)  # as fractions of the training
ROWS = 8192  # most real rows for the comparison


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
    rows = model.standardiser.forward(origin.real(ROWS)[0])
    schedule, key = model.denoiser.schedule, seed_key(seed, "lengths")
    exact: Any = origin.truth and origin.truth.oracle(schedule, model.standardiser)
    t, _ = noise_levels(schedule, model.lowest_noise)

    def excess(one: PointModel) -> tuple[float, float]:
        found = excess_loss(one.denoiser, exact, rows, t, key=key)
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
            f"'{origin.name}' has no rows that the model has not seen. Pass a file with unseen rows as SOURCE."
        )
    rows = origin.held_out.take(np.random.default_rng([seed, 8128]).permutation(len(origin.held_out))[:ROWS])

    def score(one: TableModel) -> tuple[float, float]:
        nats = -one.score_samples(rows, laplace=True)
        return float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))

    return score, "-log p in nats per row", f"{len(rows):,} held-out rows of {origin.name}"
