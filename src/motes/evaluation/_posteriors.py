"""The record of an evaluation of posteriors: are they as wide as they should be, and how likely is the truth?

A width is 1 / the standard deviation of the normal scores of ranks, so that 1 is right; the other test of each column
is that its ranks are uniform (`motes.diagnosis._calibration`). All of them, and the same two of all columns together,
are one family (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from motes.evaluation._entries import Entry, entries_text
from motes.evaluation._families import POWER
from motes.evaluation._record import Evaluation
from motes.evaluation._results import Metric
from motes.evaluation._verdicts import NO_DIFFERENCE, Verdict, graded

Array = NDArray[np.float64]

JOINT = "all columns"
FALSE_ALARMS = 0.025  # probability of one or more of right posteriors: in 200 repeats more than 5 % once in 80 times
MEASURES = {
    "width": "width of the draws, by normal scores of ranks; 1 is right",
    "ranks": "are ranks of true values among draws uniform?",
}


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
        widths: of each column, and of all together if there are several, each with its p-value.
        p_values: that the ranks are uniform, of each column and then of all together.
        log_prob: log p of the true rows, each given what was observed with it, (m,), in nats.
        details: for charts and tables.
        seed: of the draws.
    """
    entries = []
    for name, verdict in calibration_verdicts(widths, p_values, len(log_prob)).items():
        what, _, column = name.partition(" of ")
        width = widths[column] if what == "width" else None
        chance = None if width is None else (width / width.high, width / width.low)
        reference = None if width is None else 1.0
        entries.append(Entry.of("calibration", name, MEASURES[what], verdict, width, reference, chance))
    mean, half = float(-log_prob.mean()), 1.96 * float(log_prob.std(ddof=1) / np.sqrt(len(log_prob)))
    about = "mean of -log p of rows given what was observed with each, in nats per row; less is better"
    said = Verdict("good", f"± {half:.2g} (95 %); nothing to compare it with")
    entries.append(Entry.of("fit", "negative_log_likelihood", about, said, mean, None))
    rows = {"synthetic": len(log_prob) * details.draws, "real": len(log_prob)}
    return Evaluation("", "rows with what was observed", rows, tuple(entries), details, (), seed)


def calibration_verdicts(
    widths: Mapping[str, Metric], p_values: Mapping[str, float], simulations: int
) -> dict[str, Verdict]:
    """Of each width and of all ranks, by their names; p-values are adjusted for all of them.

    Args:
        widths: of each column, and of all together if there are several, with their p-values.
        p_values: that the ranks are uniform, of each column, and then of all columns together.
        simulations: how many there are.
    """
    tests, columns = len(widths) + len(p_values), len(p_values) - 1
    found = {}
    for name, p in p_values.items():
        joint = name == JOINT
        if (width := widths.get(name)) is not None:
            found[f"width of {name}"] = _of_width(width, tests, simulations * (columns if joint else 1))
        adjusted = min(1.0, tests * p)
        differs = Verdict("moderate", "miscalibrated" if joint else "shifted or of another form", adjusted)
        found[f"ranks of {name}"] = differs if adjusted < FALSE_ALARMS else Verdict("good", NO_DIFFERENCE, adjusted)
    return found


def _of_width(width: Metric, tests: int, simulations: int) -> Verdict:
    p_value = min(1.0, tests * (1.0 if width.p_value is None else width.p_value))
    detectable = detectable_width(simulations, tests)
    seen = f"a width that is {detectable:.0%} off"
    if p_value >= FALSE_ALARMS:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable, seen)
    text = f"{abs(1 - width):.0%} too {'narrow (over-confident)' if width < 1 else 'wide (under-confident)'}"
    return Verdict(graded(abs(1 - width), "width"), text, p_value, detectable, seen)


def detectable_width(simulations: int, tests: int) -> float:
    """How far from 1 a width is that one of so many tests finds in 80 of 100 cases."""
    return float((ndtri(POWER) - ndtri(FALSE_ALARMS / tests / 2)) / np.sqrt(2 * simulations))
