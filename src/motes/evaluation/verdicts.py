"""What a metric beside its floor says, in words.

A metric that tests is believed when p < `ALPHA`; any other when its 95 % interval and that of its floor do not meet.
"""

from collections.abc import Callable, Sequence

from motes.evaluation.results import Metric, Row

ALPHA = 0.01
GOOD = "like a real draw"
COPIES = 0.48  # an accuracy that is surely below it: rows lie nearer to the others than to their own, as copies do


def verdict(row: Row) -> str:
    """`GOOD`, or how the made rows differ from a real draw, in a few words."""
    metric, floor = row.metric, row.floor
    if metric.name.startswith("c2st") and metric.high < COPIES:
        return "closer to the real rows than a real draw is: copies?"
    differs = metric.p_value < ALPHA if metric.p_value is not None else _worse(metric, floor)
    return WORDS[metric.name](metric, floor) if differs else GOOD


def overall(rows: Sequence[Row]) -> str:
    """One sentence on all of them."""
    bad = [row.metric.name for row in rows if verdict(row) != GOOD]
    if not bad:
        return f"All {len(rows)} metrics: {GOOD}."
    return f"{len(rows) - len(bad)} of {len(rows)} metrics: {GOOD}. Not so: {', '.join(bad)}."


HIGHER_IS_BETTER = ("precision", "recall", "coverage")


def _worse(metric: Metric, floor: Metric) -> bool:
    if metric.name == "density":  # neither thinner nor denser
        return metric.high < floor.low or metric.low > floor.high
    if metric.name in HIGHER_IS_BETTER:
        return metric.high < floor.low
    return metric.low > floor.high


def _times(metric: Metric, floor: Metric) -> str:
    return f"{metric / floor:.2g} times as far as a real draw" if floor > 0 else "further than a real draw"


def _told_apart(metric: Metric, floor: Metric) -> str:
    return f"a classifier is right in {100 * metric:.0f} of 100 cases"


def _by_chance(metric: Metric, floor: Metric) -> str:
    return f"further than chance would have it (p = {metric.p_value:.2g})"


def _denser(metric: Metric, floor: Metric) -> str:
    return f"{'bunched up' if metric > floor else 'thinner'} where the data is: {metric / floor:.2g} times a real draw"


WORDS: dict[str, Callable[[Metric, Metric], str]] = {
    "sliced_w2": _times,
    "w2": _times,
    "energy_distance": _by_chance,
    "mmd_squared": _by_chance,
    "c2st": _told_apart,
    "c2st_boosting": _told_apart,
    "precision": lambda m, f: f"{1 - m:.1%} lies outside the data (real draw: {1 - f:.1%})",
    "recall": lambda m, f: f"{1 - m:.1%} of the data lies outside the samples (real draw: {1 - f:.1%})",
    "density": _denser,
    "coverage": lambda m, f: f"{1 - m:.1%} of the data has no sample near (real draw: {1 - f:.1%})",
    "mode_distance": lambda m, f: f"{m:.1%} is in the wrong mode (real draw: {f:.1%})",
    "modes_missed": lambda m, f: f"{m:.0f} modes are missed",
    "negative_log_likelihood": lambda m, f: f"{m - f:.2g} nats above that of a real draw",
}
