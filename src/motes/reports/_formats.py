"""How numbers are written in a report."""

import numpy as np

from motes.evaluation._results import Metric


def two(value: float, sign: str = "") -> str:
    """Two digits behind the point; a dash for NaN."""
    return "-" if np.isnan(value) else f"{value:{sign}.2f}"


def three(value: float | None) -> str:
    """Three digits behind the point; a dash for none."""
    return "-" if value is None else f"{value:.3f}"


def whole(metric: Metric) -> str:
    """A value with its interval."""
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"
