"""How numbers are written in a report."""

import numpy as np

from motes.evaluation._results import Metric
from motes.evaluation._text import number


def two(value: float, sign: str = "") -> str:
    """Two digits behind the point; a dash for NaN."""
    return "-" if np.isnan(value) else f"{value:{sign}.2f}"


def three(value: float | None) -> str:
    """Three digits behind the point; a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def whole(metric: Metric) -> str:
    """A value with its 95 % interval."""
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


def between(interval: tuple[float, float] | None) -> str:
    """The ends of an interval; nothing for none."""
    return "" if interval is None else f"{number(interval[0])} to {number(interval[1])}"
