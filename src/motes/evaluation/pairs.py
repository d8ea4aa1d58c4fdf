"""Two samples to compare, and their permutations.

If both sets come from one distribution, every permutation of rows between them is as likely as the observed split. So
a value among the most extreme 5 % of the permutations occurs with probability 0.05, whatever the distribution and
however heavy its tails: the test is exact. For speed, rows are permuted in random blocks. All metrics use the same
permutations, so the distribution of the largest of several values is exact too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.arrays import plain
from motes.evaluation.results import Array

PERMUTATIONS = 199
BLOCKS = 200  # most blocks of each set
FOLDS = 5


@dataclass(frozen=True, eq=False)
class Permutations:
    """Permutations of blocks of rows between `a` and `b`; the observed split comes first.

    Attributes:
        block: the block of each row, (n + m,), the rows of `a` first. Blocks have equal sizes, except the last two:
            they contain the remaining rows of `a` and of `b` and are never permuted.
        fold: the fold of each block, (blocks,); blocks are permuted within a fold, which has equally many of both sets.
            -1 for the last two.
        first: whether a block belongs to the first set, (1 + PERMUTATIONS, blocks).
    """

    block: NDArray[np.intp]
    fold: NDArray[np.intp]
    first: NDArray[np.bool_]

    @classmethod
    def of(cls, n: int, m: int, rng: np.random.Generator) -> Permutations:
        """Draw permutations for sets of n and m rows."""
        size = -(-min(n, m) // BLOCKS)
        count = min(n, m) // size
        folds = max(min(FOLDS, count // 2), 1)
        block = np.empty(n + m, np.intp)
        for rows, start, rest in ((rng.permutation(n), 0, 2 * count), (n + rng.permutation(m), count, 2 * count + 1)):
            moved, others = np.split(rows, [count * size])
            block[moved], block[others] = start + np.repeat(np.arange(count), size), rest
        fold = np.append(np.tile(np.arange(count) % folds, 2), [-1, -1])
        first = np.tile(np.append(np.repeat([True, False], count), [True, False]), (1 + PERMUTATIONS, 1))
        for one in range(folds):
            first[1:, fold == one] = rng.permuted(first[1:, fold == one], axis=1)
        return cls(block, fold, first)

    @cached_property
    def rows(self) -> NDArray[np.bool_]:
        """Whether each row belongs to the first set, (1 + PERMUTATIONS, n + m)."""
        return self.first[:, self.block]


def p_value_of(values: NDArray[np.float64], slack: float = 0.0) -> float:
    """Return the share of values above the observed one, which is the first, plus half the share of equal ones.

    This is Lancaster's mid-p. For counts, which are often equal, the share of values at least as large rejects too
    rarely; without ties, both give a test of the same size. `slack` allows for rounding.
    """
    more, least = np.mean(values > values[0] + slack), np.mean(values >= values[0] - slack)
    return float((more + least) / 2)


# --- Pairs of point sets: checked, sorted, in the reference's units -------------------------------------------------
#
# Rows are sorted first, so that no result depends on the order of the input, not even in its last bit. Each metric has
# its own random stream, independent of any seed given to a sampler.


OWN_STREAM = 0x6D6F746573  # "motes": the user may have drawn the sample with default_rng(seed)


@dataclass(frozen=True, eq=False)
class Modes:
    """The modes of a distribution. Create them with `Modes.at` or `Modes.labelled`.

    Attributes:
        points, labels: points (p, d), and the mode of each, (p,), from 0. A row has the mode of its nearest point.
        shares: the true share of each mode, (modes,).
        counted: number of rows that `shares` were counted from; None if they are exact.
        unit: divisor of each column in distances, (d,).

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
        """Return modes around `centres` (modes, d), with distances in the data's units; default: equal `shares`.

        Raises:
            ValueError: centres that are not (modes, d), or shares that are not one per mode with sum 1.

        Example:
            >>> from motes.evaluation import Modes
            >>> Modes.at([[-1.0, 0.0], [1.0, 0.0]], shares=[0.25, 0.75]).shares.tolist()
            [0.25, 0.75]
        """
        points = checked("set of centres", centres)
        true = np.full(len(points), 1 / len(points)) if shares is None else np.asarray(shares, dtype=np.float64)
        if true.shape != (len(points),) or not (true >= 0).all() or abs(true.sum() - 1) > 1e-9:
            raise ValueError(f"shares are {true.tolist()}; expected {len(points)} of them, none below 0, with sum 1.")
        return cls(points, np.arange(len(points)), true, None, np.ones(points.shape[1]))

    @classmethod
    def labelled(cls, x: ArrayLike, labels: ArrayLike) -> Modes:
        """Return the modes of real points `x` (p, d) with integer `labels` (p,) from 0; columns are standardised.

        Raises:
            ValueError: labels that are not whole numbers from 0, one per point.

        Example:
            >>> from motes.evaluation import Modes
            >>> Modes.labelled(*motes.data.make_labelled_shape("moons", 1000)).shares.round(1).tolist()
            [0.5, 0.5]
        """
        points, of = checked("labelled set", x), np.asarray(labels)
        if of.shape != (len(points),) or of.dtype.kind not in "iu" or of.min() < 0:
            raise ValueError(f"labels are {of.dtype} {of.shape}; expected whole numbers from 0, {len(points)} of them.")
        spread = points.std(axis=0)
        return cls(
            points, of.astype(np.int64), np.bincount(of) / len(of), len(of), np.where(spread > 0, spread, 1.0)
        )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Pair:
    """`a` (n, d) and the reference `b` (m, d), sorted by row, in the data's units, with the seed of the metrics.

    `modes` are the modes of the distribution, if known.
    """

    a: Array
    b: Array
    seed: int
    modes: Modes | None = None

    @classmethod
    def of(cls, a: ArrayLike, b: ArrayLike, seed: int = 0, modes: Modes | None = None) -> Pair:
        """Check and sort two sets.

        Raises:
            ValueError: arrays that are not (n, d) and (m, d) with finite entries, or a seed below 0.
        """
        a, b = np.asarray(plain(a), np.float64), np.asarray(plain(b), np.float64)
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.size or not b.size:
            raise ValueError(f"points have shapes {a.shape} and {b.shape}; expected (n, d) and (m, d).")
        if seed < 0:
            raise ValueError(f"seed = {seed}; expected a whole number from 0.")
        return cls(_sort_rows(checked("first set", a)), _sort_rows(checked("second set", b)), seed, modes)

    def rng(self, use: int) -> np.random.Generator:
        """Return a generator for the metrics; each purpose has its own number `use`.

        The points are part of its seed. With the seed alone, a permutation of sorted rows would choose the same ranks
        from every sample, which is stratified and not random, and tests would miss their size (measured: 2 % for 5 %).
        """
        return np.random.default_rng([OWN_STREAM, use, self.seed, self._fingerprint])

    def once(self, function: Callable[[Pair], Any]) -> Any:
        """Return `function(self)`, computed at the first call, so that several metrics share one computation."""
        if function not in self._cache:
            self._cache[function] = function(self)
        return self._cache[function]

    @cached_property
    def _cache(self) -> dict[Callable[[Pair], Any], Any]:
        return {}

    def rng_for_any_points(self, use: int) -> np.random.Generator:
        """Return a generator as `rng` does, but equal for all points: directions must not differ between samples."""
        return np.random.default_rng([OWN_STREAM, use, self.seed])

    @cached_property
    def _fingerprint(self) -> int:
        digest = hashlib.blake2b(digest_size=8)
        for points in self.scaled:  # units do not matter
            digest.update(np.ascontiguousarray(points).tobytes())
        return int.from_bytes(digest.digest())

    @cached_property
    def scaled(self) -> tuple[Array, Array]:
        """Both sets, each column centred and divided by its standard deviation in `b`, so that units do not matter.

        A column that is constant in `b` is divided by its standard deviation in both sets together, unless it is
        constant there too.
        """
        unit = np.array([_deviation(self.b[:, j]) or _deviation(np.concatenate([self.a[:, j], self.b[:, j]])) or 1.0
                         for j in range(self.b.shape[1])])  # fmt: skip
        centre = self.b.mean(axis=0)
        return (self.a - centre) / unit, (self.b - centre) / unit

    @cached_property
    def scale(self) -> float:
        """The mean variance of the columns of `b`: one number, for distances that keep the geometry.

        Raises:
            ValueError: the rows of `b` are all equal.
        """
        scale = float(self.b.var(axis=0).mean())
        if scale <= (1e-14 * np.abs(self.b).max()) ** 2:  # a spread below rounding is no spread
            raise ValueError(
                "the second set has no spread, so it gives no scale for distances; expected different rows."
            )
        return scale

    @cached_property
    def permutations(self) -> Permutations:
        """Permutations of rows between the two sets, the same for all metrics."""
        return Permutations.of(len(self.a), len(self.b), self.rng(5))


def checked(name: str, points: ArrayLike) -> Array:
    """Return the points as a finite array (n, d).

    Raises:
        ValueError: another shape, or an entry that is not finite, with its row and column.
    """
    points = np.asarray(plain(points), np.float64)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"the {name} has shape {points.shape}; expected (n, d).")
    if not np.isfinite(points).all():
        row, column = np.argwhere(~np.isfinite(points))[0]
        raise ValueError(f"the {name} contains {points[row, column]} in row {row}, column {column}.")
    return points


def _deviation(column: Array) -> float:
    deviation = float(column.std())
    return deviation if deviation > 1e-14 * np.abs(column).max() else 0.0


def _sort_rows(points: Array) -> Array:
    points = points + 0.0  # -0.0 is 0.0
    return points[np.lexsort(points.T)]
