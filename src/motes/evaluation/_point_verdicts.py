"""What a metric of points says beside its reference value, in words.

A metric that tests is believed when p < `ALPHA`; any other when its 95 % interval and that of its reference value do
not meet.
"""

from collections.abc import Callable

from motes.evaluation._results import Metric, Row
from motes.evaluation._verdicts import Severity, Verdict, graded

ALPHA = 0.01
GOOD = "like a real draw"
UNLEARNED = 0.2  # nats: an excess loss that surely costs a row more is a difference
COPIES = 0.48  # an accuracy that is surely below it: rows lie nearer to the others than to their own, as copies do
HIGHER_IS_BETTER = ("precision", "recall", "coverage")


def verdict(row: Row, columns: int) -> Verdict:
    """`GOOD`, or how the samples differ from a real draw, in a few words.

    Args:
        row: a metric and its reference value.
        columns: of the points, which share a difference in nats.
    """
    metric, reference = row.metric, row.reference
    if metric.name.startswith("c2st") and metric.high < COPIES:
        return Verdict("moderate", "closer to the real rows than a real draw is: copies?", metric.p_value)
    if metric.name == "excess_loss":  # which is above 0 of every network
        differs = metric.low > UNLEARNED
    else:
        differs = metric.p_value < ALPHA if metric.p_value is not None else _worse(metric, reference)
    if not differs:
        return Verdict("good", GOOD, metric.p_value)
    return Verdict(_severity(metric, reference, columns), WORDS[metric.name](metric, reference), metric.p_value)


def _worse(metric: Metric, reference: Metric) -> bool:
    if metric.name == "density":  # neither thinner nor denser
        return metric.high < reference.low or metric.low > reference.high
    if metric.name in HIGHER_IS_BETTER:
        return metric.high < reference.low
    return metric.low > reference.high


def _severity(metric: Metric, reference: Metric, columns: int) -> Severity:
    size = abs(float(metric) - float(reference))
    if metric.name == "modes_missed":
        return "large"
    if metric.name.startswith("c2st"):
        return graded(metric - 0.5, "accuracy")
    if metric.name == "density":
        return graded(size / reference if reference > 0 else size, "density")
    if metric.name == "mmd_squared":
        return graded(size, "mmd")
    if metric.name in NATS:
        return graded(size / columns, "likelihood")
    return graded(size, "distance" if metric.name in DISTANCES else "share")


def _times(metric: Metric, reference: Metric) -> str:
    return f"{metric / reference:.2g} times as far as a real draw" if reference > 0 else "further than a real draw"


def _told_apart(metric: Metric, reference: Metric) -> str:
    return f"a classifier is right in {100 * metric:.0f} of 100 cases"


def _by_chance(metric: Metric, reference: Metric) -> str:
    return f"further than chance would have it (p = {metric.p_value:.2g})"


def _denser(metric: Metric, reference: Metric) -> str:
    where = "bunched up" if metric > reference else "thinner"
    return f"{where} where the data is: {metric / reference:.2g} times a real draw"


DISTANCES = ("sliced_w2", "w2", "energy_distance")
NATS = ("negative_log_likelihood", "excess_loss")
WORDS: dict[str, Callable[[Metric, Metric], str]] = {
    "sliced_w2": _times,
    "w2": _times,
    "energy_distance": _by_chance,
    "mmd_squared": _by_chance,
    "c2st": _told_apart,
    "c2st_boosting": _told_apart,
    "precision": lambda m, r: f"{1 - m:.1%} lies outside the data (real draw: {1 - r:.1%})",
    "recall": lambda m, r: f"{1 - m:.1%} of the data lies outside the samples (real draw: {1 - r:.1%})",
    "density": _denser,
    "coverage": lambda m, r: f"{1 - m:.1%} of the data has no sample near (real draw: {1 - r:.1%})",
    "mode_distance": lambda m, r: f"{m:.1%} is in the wrong mode (real draw: {r:.1%})",
    "modes_missed": lambda m, r: f"modes without a sample: {m:.0f}",
    "negative_log_likelihood": lambda m, r: (
        f"the negative log-likelihood is {m - r:.2g} nats above that of a real draw"
    ),
    "excess_loss": lambda m, r: f"the network's loss is above the irreducible one by at most {m:.2g} nats a row",
}
