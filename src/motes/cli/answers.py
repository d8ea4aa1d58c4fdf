"""Score the held-out rows of a run."""

from typing import NamedTuple

import numpy as np

from motes.data import Table
from motes.errors import DataError
from motes.evaluation.sources import Source
from motes.points import PosteriorModel

SAMPLES = 10_000  # number of samples in a run
SCORED = 2000  # maximum number of held-out rows to score


class HeldOutScore(NamedTuple):
    """The mean log-likelihood of rows, each given its observation, in nats and the data's units.

    Attributes:
        rows: number of rows.
        evaluated_against: name of these rows, such as "held-out rows".
        log_prob: mean log-likelihood.
        standard_error: standard error of the mean.
    """

    rows: int
    evaluated_against: str
    log_prob: float
    standard_error: float

    def __str__(self) -> str:
        return (
            f"mean log-likelihood given the observations, {self.rows:,} of {self.evaluated_against}: "
            f"{self.log_prob:.4f} ± {self.standard_error:.2g} nats per row"
        )


def held_out_score(model: PosteriorModel, origin: Source[Table]) -> HeldOutScore:
    """Score the held-out rows of a source, or its training rows if none are held out."""
    rows = origin.training if origin.held_out is None else origin.held_out
    rows = rows.take(np.arange(min(len(rows), SCORED)))
    if rows.given is None:
        raise DataError(f"{origin.name}: expected observed columns for {', '.join(model.columns)}. Set data.given.")
    log_prob = model.score_samples(rows.x, given=rows.given.x, label=rows.labels)
    error = float(log_prob.std() / np.sqrt(len(log_prob)))
    return HeldOutScore(len(log_prob), origin.evaluated_against, float(log_prob.mean()), error)
