"""Are training rows given away? The distance from each row to the training row closest to it (DCR), and exact copies.

    d^2 = sum over numbers (z - z')^2  +  number of labels that differ  +  number of entries that only one of them has

A held-out row has no part in the training, so its distance is what an honest new row has. Where synthetic rows have the
distribution of the data, 5 % of them are nearer to a training row than 95 % of the held-out rows are.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.evaluation._results import Array, Metric, share

Codes = NDArray[np.int64]

NEAR = 0.05  # the DCR share where nothing is given away
DOUBT = 0.05  # p below which two references for copies count as different
BLOCK = 4_000_000  # distances at a time
QUANTILES = {"5 % quantile": 0.05, "median": 0.5}


@dataclass(frozen=True)
class Points:
    """Rows as the distance sees them: numbers `z` (n, p), NaN where missing, and codes (n, q), -1 where missing."""

    z: Array
    codes: Codes

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: NDArray[np.intp]) -> "Points":
        """These rows."""
        return Points(self.z[rows], self.codes[rows])


@dataclass(frozen=True)
class ClosestRecords:
    """Synthetic rows and held-out rows, each with the training row closest to it.

    Attributes:
        synthetic, held_out: distances (n,) and (m,), rising.
        share: the DCR share, of the synthetic rows nearer than 95 % of the held-out ones, which is 0.05 where nothing
            is given away; with its 95 % interval, which allows for few held-out rows, and the one-sided p-value of
            0.05 or less.
    """

    synthetic: Array
    held_out: Array
    share: Metric

    def quantiles(self) -> dict[str, tuple[float, float]]:
        """Of the distances: name -> (synthetic, held out)."""
        return {
            name: (float(np.quantile(self.synthetic, q)), float(np.quantile(self.held_out, q)))
            for name, q in QUANTILES.items()
        }

    def detectable(self, level: float) -> float | None:
        """The smallest share that is significant at this level; None if no share is."""
        n = len(self.synthetic)
        counts = np.unique(np.linspace(1, n, min(n, 1000)).astype(np.int64))
        enough = counts[_p_values(counts, _edge(self.held_out)[1], n, len(self.held_out)) < level]
        return float(enough[0] / n) if len(enough) else None


def closest_records(synthetic: Points, held_out: Points, training: Points) -> ClosestRecords:
    """How much nearer the synthetic rows are to the training rows than held-out rows are.

    Raises:
        ValueError: no rows in one of the sets.
    """
    n, m = len(synthetic), len(held_out)
    if not (n and m and len(training)):
        raise ValueError(f"got {n}, {m} and {len(training)} rows; expected some of each.")
    ours, theirs = (np.sort(distances_to(points, training)) for points in (synthetic, held_out))
    # Rows at the very distance of the edge count one half for the share and not at all for the test, which is cautious.
    edge, first = _edge(theirs)
    below, upto = (int(np.searchsorted(ours, edge, side=side)) for side in ("left", "right"))
    value = (below + upto) / (2 * n)
    variance = value * (1 - value) / n + value**2 * (1 - NEAR) / NEAR / m  # of the share, and of the edge
    p_value = float(_p_values(np.array([below]), first, n, m)[0])
    return ClosestRecords(ours, theirs, share("dcr_share", value, variance, n, p_value))


def _edge(held_out: Array) -> tuple[float, int]:
    """The distance below which rows count as near, and the place of the first held-out row there, counted from 1."""
    edge = held_out[max(int(np.ceil(NEAR * len(held_out))), 1) - 1]
    return float(edge), int(np.searchsorted(held_out, edge, side="left")) + 1


def _p_values(below: NDArray[np.int64], first: int, n: int, m: int) -> Array:
    """Negative hypergeometric: `below` of n rows or more come before the `first` of m, all orders being alike."""
    from scipy.stats import hypergeom

    return np.where(below == 0, 1.0, hypergeom.cdf(first - 1, n + m, m, below + first - 1))


def distances_to(points: Points, training: Points) -> Array:
    """From each of `points` to the training row closest to it, (n,)."""
    a, b = _filled(points.z), _filled(training.z)
    squares = (b**2).sum(axis=1)
    nearest = np.empty(len(a))
    step = max(BLOCK // len(b), 1)
    for i in range(0, len(a), step):
        block = slice(i, i + step)
        apart = squares - 2 * (a[block] @ b.T)  # but for the square of the point itself
        for codes, others in zip(points.codes[block].T, training.codes.T, strict=True):
            apart += codes[:, None] != others
        place = apart.argmin(axis=1)
        differ = (points.codes[block] != training.codes[place]).sum(axis=1)
        nearest[block] = np.sqrt(((a[block] - b[place]) ** 2).sum(axis=1) + differ)  # again, without cancellation
    return nearest


def _filled(z: Array) -> Array:
    """A missing number stands at the mean, 0, and in a column of its own beside it."""
    gone = np.isnan(z)
    return np.concatenate([np.where(gone, 0.0, z), gone], axis=1)


# --- copies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copies:
    """Rows that equal a training row in every entry.

    Attributes:
        synthetic, held_out: how many, and of how many.
        repeated: training rows that equal another training row, and how many training rows there are.
        share: of the synthetic rows, less that of the `reference`; with its 95 % interval and the one-sided p-value of
            0 or less (Fisher's exact test).
        copied: (n,), which synthetic rows are copies; `known` (m,), which held-out rows.
        reference: chance copies among real rows, and of how many, from `held_out` and `repeated`.
    """

    synthetic: tuple[int, int]
    held_out: tuple[int, int]
    repeated: tuple[int, int]
    share: Metric
    copied: NDArray[np.bool_]
    known: NDArray[np.bool_]
    reference: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: how many of how many rows."""
        found = {"synthetic": self.synthetic, "held_out": self.held_out, "training": self.repeated}
        return {name: {"copies": count, "rows": rows} for name, (count, rows) in found.items()}

    def detectable(self, level: float) -> int | None:
        """The number of copies from which the test is significant at this level; None if no number is."""
        from scipy.stats import hypergeom

        (_, n), (c, total) = self.synthetic, self.reference
        counts = np.unique(np.linspace(0, n, min(n, 1000) + 1).astype(np.int64))
        enough = counts[hypergeom.sf(counts - 1, n + total, counts + c, n) < level]
        return int(enough[0]) if len(enough) else None


def count_copies(synthetic: Array, held_out: Array, training: Array) -> Copies:
    """Are copies of training rows more frequent among synthetic rows than among new real ones?

    A training row that equals another one is as good a sign of chance copies as a held-out row that equals one; such
    rows come in pairs, so they count one half. Where held-out rows and repeated rows tell different stories, as where
    rows were held out by their distinct values, the one with more copies is the reference.

    Args:
        synthetic, held_out, training: rows (n, d), (m, d) and (k, d) of numbers and codes; NaN equals NaN.
    """
    from scipy.stats import fisher_exact

    from motes.evaluation._marginals import share_difference

    own, counts = np.unique(fingerprints(training), return_counts=True)
    copied, known = (np.isin(fingerprints(x), own) for x in (synthetic, held_out))
    n, m, k = len(synthetic), len(held_out), len(training)
    ours, theirs, twins = int(copied.sum()), int(known.sum()), int(counts[counts > 1].sum())
    references = [(theirs, m), (-(-twins // 2), -(-k // 2))]
    odds = fisher_exact(np.array([[c, total - c] for c, total in references])).pvalue if m else 1.0
    if m and odds < DOUBT:
        reference = max(references, key=lambda one: one[0] / one[1])
    else:
        reference = references[0][0] + references[1][0], references[0][1] + references[1][1]
    c, total = reference
    p_value = fisher_exact([[ours, n - ours], [c, total - c]], alternative="greater").pvalue
    gap, low, high = (float(x) for x in share_difference(ours, n, c, total))
    metric = Metric("copies", gap, low, high, float(p_value))
    return Copies((ours, n), (theirs, m), (twins, k), metric, copied, known, reference)


def fingerprints(x: Array) -> NDArray[np.uint64]:
    """Rows (n, d) -> 64 bits each, equal for equal rows; NaN equals NaN. Two others meet once in 10^19 pairs.

    Numbers are equal if they agree in 40 of their 52 binary digits, about 12 decimal ones: a number that was computed
    may differ in its last digit from the same number that was read.
    """
    words = np.zeros(len(x), np.uint64)
    for column in x.T:
        plain = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, one 0
        bits = np.ascontiguousarray(plain).view(np.uint64)
        words = _mixed(words ^ _mixed((bits + np.uint64(1 << 11)) >> np.uint64(12)))
    return words


def _mixed(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit depends on every other: a step of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))
