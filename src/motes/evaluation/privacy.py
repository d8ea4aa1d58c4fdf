"""Are training rows given away? The distance from each row to the training row closest to it.

    d^2 = sum over numbers (z - z')^2  +  number of labels that differ  +  number of cells that only one of the two has

A held-out row has no part in the training, so its distance is what an honest new row has. Where made rows come from the
law of the data, as many of them as of those lie below any quantile of the held-out rows.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motes.evaluation.results import Array, Metric, share

Codes = NDArray[np.int64]

NEAR = 0.05  # share of the held-out rows that count as near
BLOCK = 4_000_000  # distances at a time
QUANTILES = (0.05, 0.5)


@dataclass(frozen=True)
class Points:
    """Rows as the distance sees them: numbers `z` (n, p), NaN where missing, and codes (n, q), -1 where missing."""

    z: Array
    codes: Codes

    def __len__(self) -> int:
        return len(self.z)

    def some(self, rows: NDArray[np.intp]) -> "Points":
        """These rows."""
        return Points(self.z[rows], self.codes[rows])


@dataclass(frozen=True)
class Closeness:
    """Made rows and held-out rows, each with the training row closest to it.

    Attributes:
        made, held_out: distances (n,) and (m,), sorted.
        near: share of the made rows nearer than the 5 % quantile of the held-out ones, which is to be 0.05; with the
            one-sided p-value of that. Its interval is that of the share for the quantile as it is.
    """

    made: Array
    held_out: Array
    near: Metric

    def quantiles(self) -> dict[str, tuple[float, float]]:
        """Of both: name -> (made, held out)."""
        names = ("5 % quantile", "median")
        return {
            name: (float(np.quantile(self.made, q)), float(np.quantile(self.held_out, q)))
            for name, q in zip(names, QUANTILES, strict=True)
        }


def closeness(made: Points, held_out: Points, training: Points) -> Closeness:
    """How much nearer the made rows are to the training rows than held-out rows are.

    Raises:
        ValueError: no rows in one of the sets.
    """
    if not (len(made) and len(held_out) and len(training)):
        raise ValueError(f"{len(made)}, {len(held_out)} and {len(training)} rows; expected some of each.")
    ours, theirs = (np.sort(distances_to(points, training)) for points in (made, held_out))
    return Closeness(ours, theirs, _near(ours, theirs))


def _near(made: Array, held_out: Array) -> Metric:
    """Negative hypergeometric: made rows before the j-th held-out one, where all orders of the n + m are alike.

    Rows at the very distance of the j-th count one half for the share, and not at all for the test, which is cautious.
    """
    from scipy.stats import hypergeom

    n, m = len(made), len(held_out)
    j = max(int(np.ceil(NEAR * m)), 1)
    edge = held_out[j - 1]
    below, upto = (int(np.searchsorted(made, edge, side=side)) for side in ("left", "right"))
    first = int(np.searchsorted(held_out, edge, side="left")) + 1  # below `edge` lie first - 1 held-out rows
    # At least `below` made rows come before the `first`-th held-out one.
    p_value = 1.0 if below == 0 else float(hypergeom(n + m, m, below + first - 1).cdf(first - 1))
    value = (below + upto) / (2 * n)
    return share("near_share", value, value * (1 - value) / n, n, p_value)


def distances_to(points: Points, training: Points) -> Array:
    """From each of `points` to the training row closest to it, (n,)."""
    a, b = _filled(points.z), _filled(training.z)
    squares = (b**2).sum(axis=1)
    made = np.empty(len(a))
    step = max(BLOCK // len(b), 1)
    for i in range(0, len(a), step):
        block = slice(i, i + step)
        apart = squares - 2 * (a[block] @ b.T)  # but for the square of the point itself
        for codes, others in zip(points.codes[block].T, training.codes.T, strict=True):
            apart += codes[:, None] != others
        nearest = apart.argmin(axis=1)
        differ = (points.codes[block] != training.codes[nearest]).sum(axis=1)
        made[block] = np.sqrt(((a[block] - b[nearest]) ** 2).sum(axis=1) + differ)  # again, without cancellation
    return made


def _filled(z: Array) -> Array:
    """A missing number stands at the mean, 0, and in a column of its own beside it."""
    gone = np.isnan(z)
    return np.concatenate([np.where(gone, 0.0, z), gone], axis=1)


def fingerprints(x: Array) -> NDArray[np.uint64]:
    """Rows (n, d) -> 64 bits each, equal for equal rows; NaN equals NaN. Two others meet once in 10^19 pairs."""
    made = np.zeros(len(x), np.uint64)
    for column in x.T:
        plain = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, one 0
        made = _mixed(made ^ _mixed(np.ascontiguousarray(plain).view(np.uint64)))
    return made


def copies(rows: NDArray[np.uint64], training: NDArray[np.uint64]) -> int:
    """How many of the rows equal a training row."""
    return int(np.isin(rows, training).sum())


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit depends on every other: a step of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))
