"""What each metric of points measures, and what it says beside its reference value, in words.

A difference is one that its test finds (`motes.evaluation._point_tests`). A metric of motes has its line in `MEASURES`,
and in `motes.evaluation._metrics` the function that takes it; one's own metrics are in `motes.evaluation._own_metrics`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from motes.evaluation._families import ALPHA
from motes.evaluation._own_metrics import OWN
from motes.evaluation._point_tests import Scale, Tested, Worse
from motes.evaluation._results import Metric, Row
from motes.evaluation._verdicts import NO_DIFFERENCE, Severity, Verdict, graded

UNLEARNED = 0.2  # nats: an excess loss that surely costs a row more is a difference
FEW = ", for the value is that of so few rows that chance could bring them"


class Measure(NamedTuple):
    """A metric of points.

    Attributes:
        section: a key of `SECTIONS` of the record.
        about: what it measures.
        grade: by which sizes a difference is small or large, a key of `GRADES`, or both sizes; "missed": each is large.
        words: a difference in words, of the metric and its reference value.
        seen: what the test would have found, with {} for a number; "" where that is unknown.
        worse: which of its values speak for a difference.
        scale: of its permuted values; see `Exchanged`.
        origin: its value where there is no difference, for one that is not 0 there and that `seen` is counted from.
    """

    section: str
    about: str
    grade: str | tuple[float, float]
    words: Callable[[Metric, Metric], str]
    seen: str
    worse: Worse = "high"
    scale: Scale = "plain"
    origin: float = 0.0


def measure_of(name: str) -> Measure:
    """What is known of a metric of motes, or of one's own."""
    if name in MEASURES:
        return MEASURES[name]
    own = OWN[name]
    return Measure(own.section, own.about, (own.small, own.large), own.words.format, own.seen, own.worse)


def verdict(row: Row, tested: Tested, columns: int) -> Verdict:
    """`NO_DIFFERENCE` with what the test could detect, or how the samples differ from a real draw, in a few words.

    Args:
        row: a metric and its reference value.
        tested: its test.
        columns: of the points, which share a difference in nats.
    """
    metric, reference = row.metric, row.reference
    measure, p_value = measure_of(metric.name), tested.p_value
    if p_value >= ALPHA:
        if tested.detectable is None or not measure.seen:
            return Verdict("good", NO_DIFFERENCE, p_value)
        seen = measure.seen.format(f"{tested.detectable:.{3 if measure.grade == 'accuracy' else 2}g}")
        far = measure.scale == "root" and metric - reference > 2 * tested.detectable
        return Verdict("good", NO_DIFFERENCE + FEW * far, p_value, tested.detectable, seen)
    if measure.grade == "accuracy" and tested.low:
        return Verdict("moderate", "closer to the real rows than a real draw is: copies?", p_value, tested.detectable)
    severity = _severity(measure, metric, reference, columns)
    return Verdict(severity, measure.words(metric, reference), p_value, tested.detectable)


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
    return "further than chance would have it"


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


DISTANCE, SHARE = "a difference of {} standard deviations", "a difference of {}"

MEASURES = {
    "sliced_w2": Measure(
        "distances", "sliced 2-Wasserstein distance, in standard deviations of the data", "distance", _times, DISTANCE,
        scale="root",
    ),
    "w2": Measure(
        "distances", "2-Wasserstein distance of at most 200 rows, in standard deviations of the data", "distance",
        _times, DISTANCE, scale="root",
    ),
    "energy_distance": Measure(
        "tests", "energy distance of standardised columns", "distance", _by_chance, "an energy distance of {}",
        scale="root",
    ),
    "mmd_squared": Measure(
        "tests", "squared maximum mean discrepancy of Gaussian kernels", "mmd", _by_chance, "a squared MMD of {}",
        scale="square",
    ),
    "c2st": Measure(
        "tests", "accuracy of a nearest-neighbour classifier (C2ST); 0.5 is guessing", "accuracy", _told_apart,
        "an accuracy of {}", "both", origin=0.5,
    ),
    "c2st_boosting": Measure(
        "tests", "accuracy of boosted trees (C2ST); 0.5 is guessing", "accuracy", _told_apart, "an accuracy of {}"
    ),
    "precision": Measure("coverage", "share of the samples inside the data", "share", _outside, SHARE, "low"),
    "recall": Measure("coverage", "share of the data inside the samples", "share", _not_reached, SHARE, "low"),
    "density": Measure(
        "coverage", "how densely samples lie around real points", "density", _denser, SHARE, "both"
    ),
    "coverage": Measure(
        "coverage", "share of the real points with a sample near", "share", _uncovered, SHARE, "low"
    ),
    # An exchange brings half of a difference with it here, so that it does not say what the test could detect.
    "mode_distance": Measure("modes", "share of the samples in the wrong mode", "share", _misplaced, ""),
    "modes_missed": Measure("modes", "modes without a sample", "missed", _missed, ""),
    "negative_log_likelihood": Measure(
        "fit", "mean of -log p of real points, in nats per row", "likelihood", _less_likely,
        "a difference of {} nats per row",
    ),
    "excess_loss": Measure(
        "fit", "the network's loss above the irreducible one, in nats per row at most; above 0.2 is a difference",
        "likelihood", _unlearned, "an excess of {} nats per row",
    ),
}  # fmt: skip
