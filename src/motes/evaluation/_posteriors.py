"""The record of an evaluation of posteriors: are they as wide as they should be, and how likely is the truth?

A width is the standard deviation of draws over that which the errors of their means call for, so that 1 is right; the
test of each column is that its ranks are uniform (`motes.diagnosis._calibration`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from motes.evaluation._entries import Entry, entries_text
from motes.evaluation._families import ALPHA
from motes.evaluation._record import Evaluation
from motes.evaluation._results import Metric
from motes.evaluation._verdicts import NO_DIFFERENCE, Verdict, graded

Array = NDArray[np.float64]

RIGHT = Metric("width", 1.0, 1.0, 1.0)


@dataclass(frozen=True)
class PosteriorDetails:
    """What was compared: the ranks of true values among draws, whose shares are in the entries.

    Attributes:
        columns: names of the columns.
        draws: of the posterior of each row.
        coverage: level -> column -> how often intervals of this level hold the true value.
    """

    columns: tuple[str, ...]
    draws: int
    coverage: Mapping[float, Mapping[str, Metric]]

    @property
    def kind(self) -> Literal["posteriors"]:
        """Of the model."""
        return "posteriors"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        coverage = {
            f"{level:g}": {name: one.to_dict() for name, one in found.items()} for level, found in self.coverage.items()
        }
        return {"columns": list(self.columns), "draws": self.draws, "coverage": coverage}

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """The numbers as blocks of text: a line for each of the entries of the record."""
        return [entries_text(entries)]


def evaluation_of_posteriors(
    widths: Mapping[str, Metric],
    p_values: Mapping[str, float],
    log_prob: Array,
    details: PosteriorDetails,
    *,
    seed: int,
) -> Evaluation[PosteriorDetails]:
    """The record of what was found.

    Args:
        widths: of each column.
        p_values: that the ranks are uniform, of each column and then of all together; a family of tests (Bonferroni).
        log_prob: log p of the true rows, each given what was observed with it, (m,), in nats.
        details: for charts and tables.
        seed: of the draws.
    """
    entries = []
    for name, p in p_values.items():
        width, adjusted = widths.get(name), min(1.0, len(p_values) * p)
        measure = "draws as wide as their errors; 1 is right" if width is not None else "ranks of distances (TARP)"
        reference = None if width is None else RIGHT
        entries.append(Entry.of("calibration", name, measure, calibration_verdict(width, adjusted), width, reference))
    mean, half = float(-log_prob.mean()), 1.96 * float(log_prob.std(ddof=1) / np.sqrt(len(log_prob)))
    value = Metric("negative_log_likelihood", mean, mean - half, mean + half)
    about = "mean of -log p of rows given what was observed with each, in nats per row; less is better"
    entries.append(Entry.of("fit", value.name, about, Verdict("good", NO_DIFFERENCE), value, None))
    rows = {"synthetic": len(log_prob) * details.draws, "real": len(log_prob)}
    return Evaluation("", "rows with what was observed", rows, tuple(entries), details, (), seed)


def calibration_verdict(width: Metric | None, p_value: float) -> Verdict:
    """Of the posteriors of one column, or of all columns together, which have no width.

    Args:
        width: the standard deviation of the draws over that which the errors of their means call for.
        p_value: that the ranks are uniform, adjusted for all tests of the model; below `ALPHA` there is a difference.
    """
    if p_value >= ALPHA:
        return Verdict("good", NO_DIFFERENCE, p_value)
    if width is None:
        return Verdict("moderate", "of another form", p_value)
    if width.low <= 1 <= width.high:
        return Verdict("moderate", "shifted or of another form", p_value)
    narrow = width.high < 1
    text = f"{abs(1 - width):.0%} too {'narrow (over-confident)' if narrow else 'wide (under-confident)'}"
    return Verdict(graded(abs(1 - width), "width"), text, p_value)
