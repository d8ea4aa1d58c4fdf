"""A column as a picture takes it: bars of labels, or a histogram with real and made numbers in the same cells."""

import numpy as np
from numpy.typing import NDArray

from motes.evaluation.results import Array
from motes.evaluation.table_results import Bars
from motes.evaluation.views import OTHERS, counted

BINS = 30
MOST_LABELS = 12
LEFT_OUT = 0.01  # of the numbers, on either side


def bars_of(made: Array, real: Array, labels: tuple[str, ...]) -> Bars:
    """Of known cells (n,) and (m,): codes of `labels`, or numbers where there are none."""
    if labels:
        return _of_labels(made, real, labels)
    low, high = np.quantile(np.concatenate([np.quantile(x, [LEFT_OUT, 1 - LEFT_OUT]) for x in (made, real)]), [0, 1])
    edges = _edges(np.concatenate([made, real]), float(low), float(high))
    shares = [np.histogram(x, edges)[0] / len(x) for x in (real, made)]
    return Bars(shares[0], shares[1], edges=edges)


def _edges(x: Array, low: float, high: float) -> Array:
    inside = x[(x >= low) & (x <= high)]
    seen = np.unique(inside)
    if len(seen) == 1:
        half = max(abs(low), 1.0) / 2
        return np.array([low - half, low + half])
    steps = np.diff(seen)
    step = steps.min()
    if (high - low) / step < BINS + 1 and np.allclose(steps / step, np.rint(steps / step)):  # a bar for each number
        return np.arange(low - step / 2, high + step, step)
    if (np.rint(inside) == inside).all():  # as many whole numbers in each bar
        step = np.ceil((high - low + 1) / BINS)
        return np.arange(low - 0.5, high + step, step)
    return np.linspace(low, high, BINS + 1)


def _of_labels(made: Array, real: Array, labels: tuple[str, ...]) -> Bars:
    shares = [counted(x, len(labels)) / len(x) for x in (real, made)]
    if len(labels) <= MOST_LABELS:
        return Bars(shares[0], shares[1], labels)
    order = np.argsort(-np.maximum(*shares), kind="stable")
    top: NDArray[np.intp] = np.sort(order[: MOST_LABELS - 1])
    rest = order[MOST_LABELS - 1 :]
    real_share, made_share = (np.append(share[top], share[rest].sum()) for share in shares)
    return Bars(real_share, made_share, (*(labels[k] for k in top), f"{OTHERS} ({len(rest)})"))


def centre_of(x: Array, kind: str) -> tuple[float, float]:
    """Mean and standard deviation of numbers (n,); of heavy tails the median and the quartile range / 1.349."""
    if kind == "heavy":
        low, middle, high = np.quantile(x, [0.25, 0.5, 0.75])
        return float(middle), float(high / 1.349 - low / 1.349)
    return float(x.mean()), float(x.std())
