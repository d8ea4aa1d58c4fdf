"""How good a model of points given what was observed is: log p of rows that it has not seen, given theirs."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from motes.data._tables import Table
from motes.errors import DataError
from motes.models._posteriors import PosteriorModel
from motes.models._sources import Source

SCORED = 2000  # rows at most


@dataclass(frozen=True)
class HeldOutScore:
    """The mean log p of rows given what was observed with each, in nats of the data's units.

    Attributes:
        rows: how many.
        evaluated_against: which rows.
        log_prob: their mean.
        standard_error: of the mean.
    """

    rows: int
    evaluated_against: str
    log_prob: float
    standard_error: float

    def __str__(self) -> str:
        return (
            f"mean log p given what was observed, of {self.rows:,} of {self.evaluated_against}: {self.log_prob:.4f} ± "
            f"{self.standard_error:.2g} nats"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def held_out_score(model: PosteriorModel, origin: Source[Table]) -> HeldOutScore:
    """That of the held-out rows of a source, or of its training rows where none are held out."""
    rows = origin.training if origin.held_out is None else origin.held_out
    rows = rows.take(np.arange(min(len(rows), SCORED)))
    if rows.given is None:
        raise DataError(f"{origin.name} has no columns {', '.join(model.columns)} are given. Name them: data.given.")
    log_prob = model.score_samples(rows.x, given=rows.given.x, label=rows.labels)
    error = float(log_prob.std() / np.sqrt(len(log_prob)))
    return HeldOutScore(len(log_prob), origin.evaluated_against, float(log_prob.mean()), error)
