"""Which modes a sample has, where the modes are known: by their centres, or by labelled points.

distance = 1/2 sum over modes of |share in the sample - true share|, the total variation
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.evaluation._pairs import Pair, checked
from motes.evaluation._results import Array, Metric, share

MISSED_BELOW = 0.1


@dataclass(frozen=True, eq=False)
class Modes:
    """Where the modes are. Make one with `Modes.at` or `Modes.labelled`.

    Attributes:
        points, labels: (p, d), and the mode of each, (p,), from 0. A row belongs to the mode of the nearest one.
        shares: the true share of each mode, (modes,).
        counted: rows that `shares` were counted from, or None where they are exact.
        unit: what columns are divided by before distances are taken, (d,).

    Example:
        >>> from motes.evaluation import Modes
        >>> modes = Modes.at([[-1.0, 0.0], [1.0, 0.0]])
        >>> modes.shares.tolist()
        [0.5, 0.5]
    """

    points: Array
    labels: NDArray[np.int64]
    shares: Array
    counted: int | None
    unit: Array

    def __repr__(self) -> str:
        return f"Modes({len(self.shares)} modes in {self.points.shape[1]} columns)"

    @classmethod
    def at(cls, centres: ArrayLike, shares: ArrayLike | None = None) -> Modes:
        """Modes around `centres` (modes, d), distances in the data's units; equal `shares` if None are given.

        Raises:
            ValueError: centres that are not (modes, d), or shares that are not one for each and 1 in all.

        Example:
            >>> from motes.evaluation import Modes
            >>> Modes.at([[-1.0, 0.0], [1.0, 0.0]], shares=[0.25, 0.75]).shares.tolist()
            [0.25, 0.75]
        """
        points = checked("set of centres", centres)
        true = np.full(len(points), 1 / len(points)) if shares is None else np.asarray(shares, dtype=np.float64)
        if true.shape != (len(points),) or not (true >= 0).all() or abs(true.sum() - 1) > 1e-9:
            raise ValueError(f"shares are {true.tolist()}; expected {len(points)} of them, none below 0, 1 in all.")
        return cls(points, np.arange(len(points)), true, None, np.ones(points.shape[1]))

    @classmethod
    def labelled(cls, x: ArrayLike, labels: ArrayLike) -> Modes:
        """Modes as real points `x` (p, d) with whole `labels` (p,) from 0 have them; columns are over their spread.

        Raises:
            ValueError: labels that are not whole numbers from 0, one for each point.

        Example:
            >>> from motes.evaluation import Modes
            >>> Modes.labelled(*motes.make_labelled_shape("moons", 1000)).shares.round(1).tolist()
            [0.5, 0.5]
        """
        points, of = checked("labelled set", x), np.asarray(labels)
        if of.shape != (len(points),) or of.dtype.kind not in "iu" or of.min() < 0:
            raise ValueError(f"labels are {of.dtype} {of.shape}; expected whole numbers from 0, {len(points)} of them.")
        spread = points.std(axis=0)
        return cls(
            points, of.astype(np.int64), np.bincount(of) / len(of), len(of), np.where(spread > 0, spread, 1.0)
        )  # fmt: skip


@dataclass(frozen=True)
class ModeCoverage:
    """The share of each mode, their distance from the true shares, and how many modes are missed.

    Example:
        >>> from motes.evaluation import Modes, mode_coverage
        >>> found = mode_coverage([[-1.1, 0.0], [-0.9, 0.1]], Modes.at([[-1.0, 0.0], [1.0, 0.0]]))
        >>> [float(share) for share in found.shares], float(found.missed)
        ([1.0, 0.0], 1.0)
    """

    shares: tuple[Metric, ...]
    distance: Metric
    missed: Metric

    def __repr__(self) -> str:
        return f"ModeCoverage({len(self.shares)} modes, {float(self.missed):g} missed)"


def mode_coverage(a: ArrayLike, modes: Modes, *, missed_below: float = MISSED_BELOW, seed: int = 0) -> ModeCoverage:
    """Count the rows of `a` (n, d) by mode; every row counts for the nearest, however far it is.

    Args:
        a: points (n, d).
        modes: where they are.
        missed_below: a mode is missed if its share is below this part of the true one.
        seed: of the bootstrap behind the interval of the distance.

    Returns:
        Shares with Wilson's intervals. The distance with an interval that holds the true one at least 95 times in 100,
        because the triangle inequality bounds the error by the distance between drawn shares and true ones. The number
        of modes missed, from those certainly missed to those not certainly there.

    Raises:
        ValueError: points of another shape than the modes' or with entries that are not finite.

    Example:
        >>> from motes.evaluation import Modes, mode_coverage
        >>> centres = motes.truth("eight_gaussians").modes
        >>> int(mode_coverage(motes.make_shape("eight_gaussians", 1000), Modes.at(centres)).missed)
        0
    """
    pair = Pair.of(a, modes.points, seed)
    n = len(pair.a)
    counts = np.bincount(_nearest(pair.a, modes), minlength=len(modes.shares))
    found, true = counts / n, modes.shares
    shares = tuple(share(f"share_of_mode_{k}", p, p * (1 - p) / n, n) for k, p in enumerate(found.tolist()))
    rng = pair.rng(6)
    error = rng.multinomial(n, found, size=2000) / n - found
    if modes.counted is not None:
        error -= rng.multinomial(modes.counted, true, size=2000) / modes.counted - true
    distance, noise = _total_variation(found - true), float(np.quantile(_total_variation(error), 0.95))
    least = missed_below * true
    missed, surely, maybe = (
        float(sum(value < bound for value, bound in zip(values, least, strict=True)))
        for values in (found, [s.high for s in shares], [s.low for s in shares])
    )
    return ModeCoverage(
        shares,
        Metric("mode_distance", float(distance), max(float(distance) - noise, 0.0), min(float(distance) + noise, 1.0)),
        Metric("modes_missed", missed, surely, maybe),
    )


def modes_permuted(pair: Pair, modes: Modes, missed_below: float = MISSED_BELOW) -> Array:
    """The distance and the number of modes missed, of all permutations (2, 1 + p), what was drawn first."""
    shuffled, of = pair.permutations, _nearest(np.concatenate([pair.a, pair.b]), modes)
    counts = np.zeros((shuffled.first.shape[1], len(modes.shares)))
    np.add.at(counts, (shuffled.block, of), 1)
    found = shuffled.first @ counts / len(pair.a)
    return np.stack([_total_variation(found - modes.shares), np.sum(found < missed_below * modes.shares, axis=1)])


def _nearest(x: Array, modes: Modes) -> NDArray[np.int64]:
    """The mode of each row."""
    from scipy.spatial import cKDTree

    return modes.labels[cKDTree(modes.points / modes.unit).query(x / modes.unit)[1]]


def _total_variation(difference: Array) -> Array:
    return np.abs(difference).sum(axis=-1) / 2
