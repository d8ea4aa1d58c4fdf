"""What each metric of points measures, and what it says beside its reference value, in words.

A metric that tests is believed when p < `ALPHA`; any other when its 95 % interval and that of its reference value do
not meet. A new metric is its line in `MEASURES`, and in `motes.evaluation._metrics` the function that takes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from motes.evaluation._results import Metric, Row
from motes.evaluation._verdicts import Severity, Verdict, graded

ALPHA = 0.01
GOOD = "like a real draw"
UNLEARNED = 0.2  # nats: an excess loss that surely costs a row more is a difference
COPIES = 0.48  # an accuracy that is surely below it: rows lie nearer to the others than to their own, as copies do


class Measure(NamedTuple):
    """A metric of points.

    Attributes:
        section: a key of `SECTIONS` of the record.
        about: what it measures.
        grade: by which sizes a difference is small or large, a key of `GRADES`; "missed": every one is large.
        words: a difference in words, of the metric and its reference value.
        better: which of its values are better.
    """

    section: str
    about: str
    grade: str
    words: Callable[[Metric, Metric], str]
    better: Literal["lower", "higher", "equal"] = "lower"


def verdict(row: Row, columns: int) -> Verdict:
    """`GOOD`, or how the samples differ from a real draw, in a few words.

    Args:
        row: a metric and its reference value.
        columns: of the points, which share a difference in nats.
    """
    metric, reference = row.metric, row.reference
    measure = MEASURES[metric.name]
    if measure.grade == "accuracy" and metric.high < COPIES:
        return Verdict("moderate", "closer to the real rows than a real draw is: copies?", metric.p_value)
    if metric.name == "excess_loss":  # which is above 0 of every network
        differs = metric.low > UNLEARNED
    else:
        differs = metric.p_value < ALPHA if metric.p_value is not None else _worse(measure, metric, reference)
    if not differs:
        return Verdict("good", GOOD, metric.p_value)
    return Verdict(_severity(measure, metric, reference, columns), measure.words(metric, reference), metric.p_value)


def _worse(measure: Measure, metric: Metric, reference: Metric) -> bool:
    lower, higher = metric.high < reference.low, metric.low > reference.high
    return {"lower": higher, "higher": lower, "equal": lower or higher}[measure.better]


def _severity(measure: Measure, metric: Metric, reference: Metric, columns: int) -> Severity:
    size = abs(float(metric) - float(reference))
    match measure.grade:
        case "missed":
            return "large"
        case "accuracy":
            size = metric - 0.5
        case "density":
            size = size / reference if reference > 0 else size
        case "likelihood":
            size /= columns
    return graded(size, measure.grade)


def _times(metric: Metric, reference: Metric) -> str:
    return f"{metric / reference:.2g} times as far as a real draw" if reference > 0 else "further than a real draw"


def _told_apart(metric: Metric, reference: Metric) -> str:
    return f"a classifier is right in {100 * metric:.0f} of 100 cases"


def _by_chance(metric: Metric, reference: Metric) -> str:
    return f"further than chance would have it (p = {metric.p_value:.2g})"


def _denser(metric: Metric, reference: Metric) -> str:
    where = "bunched up" if metric > reference else "thinner"
    return f"{where} where the data is: {metric / reference:.2g} times a real draw"


def _outside(m: Metric, r: Metric) -> str:
    return f"{1 - m:.1%} lies outside the data (real draw: {1 - r:.1%})"


def _not_reached(m: Metric, r: Metric) -> str:
    return f"{1 - m:.1%} of the data lies outside the samples (real draw: {1 - r:.1%})"


def _uncovered(m: Metric, r: Metric) -> str:
    return f"{1 - m:.1%} of the data has no sample near (real draw: {1 - r:.1%})"


def _misplaced(m: Metric, r: Metric) -> str:
    return f"{m:.1%} is in the wrong mode (real draw: {r:.1%})"


def _missed(m: Metric, r: Metric) -> str:
    return f"modes without a sample: {m:.0f}"


def _less_likely(m: Metric, r: Metric) -> str:
    return f"the negative log-likelihood is {m - r:.2g} nats above that of a real draw"


def _unlearned(m: Metric, r: Metric) -> str:
    return f"the network's loss is above the irreducible one by at most {m:.2g} nats a row"


MEASURES = {
    "sliced_w2": Measure(
        "distances", "sliced 2-Wasserstein distance, in standard deviations of the data", "distance", _times
    ),
    "w2": Measure(
        "distances",
        "2-Wasserstein distance of at most 500 rows, in standard deviations of the data",
        "distance",
        _times,
    ),
    "energy_distance": Measure("tests", "energy distance of standardised columns", "distance", _by_chance),
    "mmd_squared": Measure("tests", "squared maximum mean discrepancy of Gaussian kernels", "mmd", _by_chance),
    "c2st": Measure(
        "tests", "accuracy of a nearest-neighbour classifier (C2ST); 0.5 is guessing", "accuracy", _told_apart
    ),
    "c2st_boosting": Measure("tests", "accuracy of boosted trees (C2ST); 0.5 is guessing", "accuracy", _told_apart),
    "precision": Measure("coverage", "share of the samples inside the data", "share", _outside, "higher"),
    "recall": Measure("coverage", "share of the data inside the samples", "share", _not_reached, "higher"),
    "density": Measure("coverage", "how densely samples lie around real points", "density", _denser, "equal"),
    "coverage": Measure("coverage", "share of the real points with a sample near", "share", _uncovered, "higher"),
    "mode_distance": Measure("modes", "share of the samples in the wrong mode", "share", _misplaced),
    "modes_missed": Measure("modes", "modes without a sample", "missed", _missed),
    "negative_log_likelihood": Measure(
        "fit", "mean of -log p of real points, in nats per row", "likelihood", _less_likely
    ),
    "excess_loss": Measure(
        "fit", "the network's loss above the irreducible one, in nats per row at most", "likelihood", _unlearned
    ),
}
