"""Is an observation unlike the rows of the training? Novelty detection, column by column and for all columns together.

    column j        x_j is beyond the smallest or the largest value of the training
    all columns     d(x) = distance of (x - mean) W to the nearest of K centres,    W W^T = covariance^-1

The centres are those of k-means, and no rows of the training. d is compared with the distances of rows to the centres
of other rows (five folds). A fresh row of the same distribution is called novel with a probability of at most about
1 %, half of it for the columns and half for the distance: by order statistics, which hold for any distribution, and
where there are too few rows for these, by an exponential tail beyond the most extreme row.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

FALSE_ALARMS = 0.01  # probability that a fresh row of the training's distribution is called novel
ROWS, CENTRES, FOLDS = 5000, 64, 5  # of the joint distance: rows at most, and at least 20 rows for each centre
WIDE = 100  # columns: of more, each is scaled by itself, for the covariance would be most of the model file
SMALLEST = 1e-6  # variance in a direction, as a share of the largest
ROUNDED = 1e-9  # what is equal but for rounding is not beyond
GUESS = "The model has learned nothing there, so its answer is a guess."


@dataclass(frozen=True, eq=False)
class NoveltyDetector:
    """What is kept of the rows of the training, in the units of `Context.mapped`.

    Attributes:
        rows: how many there were.
        ends: the smallest and the largest value of each of c columns, (c, 2).
        tails: the scale of the exponential tail beyond each end, (c, 2).
        mean, axes: of the whitened numbers, (p,), and W (p, p), or (p,) of many columns.
        centres: (K, p), whitened.
        limit, tail: the distance beyond which a row is novel, and the scale of its exponential tail.
    """

    rows: int
    ends: Array
    tails: Array
    mean: Array
    axes: Array
    centres: Array
    limit: float
    tail: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoveltyDetector) and all(
            map(np.array_equal, vars(self).values(), vars(other).values())
        )

    @classmethod
    def fit(cls, x: Array, observed: NDArray[np.bool_]) -> NoveltyDetector:
        """That of rows x (n, p), the first c numbers of which are `observed` (n, c) columns."""
        ends, tails = [], []
        for column, here in zip(x.T, observed.T, strict=False):
            known = column[here]
            ends.append((known.min(), known.max()))
            tails.append((_tail(-known), _tail(known)))
        some = x[np.unique(np.linspace(0, len(x) - 1, ROWS).astype(int))]
        fold = np.arange(len(some)) % FOLDS
        apart = np.concatenate([_distances(some[fold == k], *_centres(some[fold != k])) for k in range(FOLDS)])
        level, tail = FALSE_ALARMS / 2 * (len(apart) + 1), _tail(apart)
        place = len(apart) - int(level)  # as many as are expected beyond
        limit = np.sort(apart)[min(place, len(apart) - 1)] + (tail * np.log(1 / level) if level < 1 else 0.0)
        return cls(len(x), np.array(ends), np.array(tails), *_centres(some), float(limit), tail)

    def beyond(self, x: Array, observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which columns of which rows x (m, p) are beyond the training, (m, c)."""
        low, high = self._ends(len(x)).T
        columns = x[:, : len(self.ends)]
        return np.asarray(observed & ((columns < low) | (columns > high)))

    def distances(self, x: Array) -> Array:
        """How far rows x (m, p) are from the training, (m,): above 1 a row is novel."""
        limit = self.limit + self.tail * np.log(len(x))
        return np.asarray(_distances(x, self.mean, self.axes, self.centres) / max(limit, ROUNDED))

    def describe(
        self,
        x: Array,
        rows: Array,
        names: Sequence[str],
        ends: Callable[[int], Array],
        who: Callable[[int], str],
        source: str,
    ) -> list[str]:
        """A sentence for each column of `rows` that is beyond the training, and for all columns together.

        Args:
            x: rows in the units of the detector, (m, p).
            rows: the same in the data's units, (m, c), NaN where not observed.
            names: of the c columns.
            ends: the smallest and the largest value of a column, in the data's units.
            who: what a row is called.
            source: what the rows are compared with.
        """
        beyond = self.beyond(x, ~np.isnan(rows))
        said = []
        for j in np.flatnonzero(beyond.any(axis=0)).tolist():
            (low, high), first = ends(j).tolist(), int(beyond[:, j].argmax())
            said.append(
                f"{who(first)} has '{names[j]}' = {rows[first, j]:.4g}, and {source} had {low:.4g} to {high:.4g}. "
                f"{GUESS}"
            )
        distances = np.where(beyond.any(axis=1), 0.0, self.distances(x))
        if distances.max() > 1:
            said.append(
                f"no row of {source} combined values as {who(int(distances.argmax()))} does: it is "
                f"{distances.max():.2g} times as far from them as all but 0.5 % of them are. {GUESS}"
            )
        return said

    def _ends(self, m: int) -> Array:
        """From where on a value is beyond each end, where m rows are looked at, (c, 2)."""
        level = FALSE_ALARMS / 2 / (2 * len(self.ends)) / m * (self.rows + 1)
        away = self.tails * max(-np.log(level), 0.0) + ROUNDED * np.abs(self.ends)
        return np.asarray(self.ends + away * [-1, 1])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: one.tolist() if isinstance(one, np.ndarray) else one for name, one in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NoveltyDetector:
        """What `to_dict` gave."""
        arrays = {name: np.array(values[name], np.float64) for name in ("ends", "tails", "mean", "axes", "centres")}
        return cls(int(values["rows"]), **arrays, limit=float(values["limit"]), tail=float(values["tail"]))


def _tail(values: Array) -> float:
    """The scale of an exponential tail above values (n,): that of the largest tenth of them, or of the largest ten."""
    largest = np.sort(values)[-max(len(values) // 10, 10) :]
    return float(largest.mean() - largest[0])


def _centres(x: Array) -> tuple[Array, Array, Array]:
    """The mean, the axes and the centres of rows (n, p)."""
    from scipy.cluster.vq import kmeans2

    mean, away = x.mean(axis=0), x - x.mean(axis=0)
    if x.shape[1] > WIDE:
        variances, axes = (away**2).mean(axis=0), None
    else:
        variances, axes = np.linalg.eigh(away.T @ away / len(x))
    scale = 1 / np.sqrt(np.maximum(variances, SMALLEST * max(float(variances.max()), np.finfo(float).tiny)))
    unit = scale if axes is None else axes * scale
    z = _whitened(x, mean, unit)
    first = np.unique(z[np.linspace(0, len(z) - 1, int(np.clip(len(z) // 20, 1, CENTRES))).astype(int)], axis=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(z, first, minit="matrix", iter=20)
    return mean, unit, centres


def _whitened(x: Array, mean: Array, axes: Array) -> Array:
    return np.asarray((x - mean) * axes if axes.ndim == 1 else (x - mean) @ axes)


def _distances(x: Array, mean: Array, axes: Array, centres: Array) -> Array:
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(centres).query(_whitened(x, mean, axes))[0])
