"""A column as a picture takes it: bars of labels, or a histogram of real and synthetic numbers in the same bins.

A histogram reaches from the smallest to the largest number of both tables, so that the worst rows are seen. Where tails
are so long that the bulk would be one bar, its scale is asinh((x - median) / s): even in the bulk, logarithmic far out.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motes.evaluation._results import Array
from motes.evaluation._views import OTHERS, counted

BINS = 30
LONG_BINS = 40  # on an asinh scale
LONG = 20.0  # a range is long from so many times that of the middle half of the rows
MOST_LABELS = 12


@dataclass(frozen=True)
class Bars:
    """Shares of the known entries of real and of synthetic rows, (k,) each: by label, or between `edges` (k + 1,).

    The edges reach over the whole range of both. `places` (k + 1,) from 0 to 1 are where a picture puts them: evenly,
    or, of numbers with long tails, on an asinh scale.
    """

    real: Array
    synthetic: Array
    labels: tuple[str, ...] = ()
    edges: Array | None = None
    places: Array | None = None


def bars_of(synthetic: Array, real: Array, labels: tuple[str, ...]) -> Bars:
    """Of known entries (n,) and (m,): codes of `labels`, or numbers where there are none."""
    if labels:
        return _of_labels(synthetic, real, labels)
    edges, places = _edges(synthetic, real)
    shares = [np.histogram(x, edges)[0] / len(x) for x in (real, synthetic)]
    return Bars(shares[0], shares[1], edges=edges, places=places)


def _edges(synthetic: Array, real: Array) -> tuple[Array, Array]:
    """Edges of the bins in the units of the numbers, (k + 1,), and their places in a picture, from 0 to 1."""
    both = np.concatenate([synthetic, real])
    low, high = float(both.min()), float(both.max())
    if low == high:
        half = max(abs(low), 1.0) / 2
        return np.array([low - half, low + half]), np.array([0.0, 1.0])
    seen = np.unique(both)
    steps = np.diff(seen)
    step = float(steps.min())
    if high / 2 - low / 2 < (BINS + 1) * step / 2 and np.allclose(steps / step, np.rint(steps / step)):
        return _even(np.arange(low - step / 2, high + step, step))  # a bar for each number
    cuts = np.array([np.quantile(x, [0.25, 0.5, 0.75], method="inverted_cdf") for x in (synthetic, real)])
    core = float(cuts[:, 2].max() - cuts[:, 0].min())
    if high / 2 - low / 2 > LONG * core / 2:
        centre = float(cuts[:, 1].mean())
        away = np.abs(both - centre)
        scale = core or float(np.median(away[away > 0]))
        ends = np.arcsinh((np.array([low, high]) - centre) / scale)
        places = np.linspace(0, 1, LONG_BINS + 1)
        edges = centre + scale * np.sinh(ends[0] + places * (ends[1] - ends[0]))
        edges[0], edges[-1] = low, high
        return edges, places
    if (np.rint(seen) == seen).all():  # as many whole numbers in each bar
        step = float(np.ceil((high - low + 1) / BINS))
        return _even(np.arange(low - 0.5, high + step, step))
    return _even(np.linspace(low, high, BINS + 1))


def _even(edges: Array) -> tuple[Array, Array]:
    return edges, (edges - edges[0]) / (edges[-1] - edges[0])


def _of_labels(synthetic: Array, real: Array, labels: tuple[str, ...]) -> Bars:
    shares = [counted(x, len(labels)) / len(x) for x in (real, synthetic)]
    if len(labels) <= MOST_LABELS:
        return Bars(shares[0], shares[1], labels)
    order = np.argsort(-np.maximum(*shares), kind="stable")
    top: NDArray[np.intp] = np.sort(order[: MOST_LABELS - 1])
    rest = order[MOST_LABELS - 1 :]
    real_share, own_share = (np.append(share[top], share[rest].sum()) for share in shares)
    return Bars(real_share, own_share, (*(labels[k] for k in top), f"{OTHERS} ({len(rest)})"))


def moments_of(x: Array) -> tuple[float, float]:
    """Mean and standard deviation of numbers (n,), which may be so large that their squares are no floats."""
    size = float(np.abs(x).max()) or 1.0
    return float((x / size).mean()) * size, float((x / size).std()) * size


def quantiles_of(x: Array) -> tuple[float, ...]:
    """Minimum, quartiles and maximum of numbers (n,), each a number of the column."""
    return tuple(float(q) for q in np.quantile(x, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf"))
