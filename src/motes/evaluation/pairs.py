"""Two samples to compare, and their permutations.

If both sets are drawn from one distribution, every exchange of rows between them is as likely as what was drawn. So a
value that is among the most extreme 5 % of such exchanges is seen with probability 0.05, whatever the distribution and
however heavy its tails: the test is exact. To be quick, rows are exchanged in blocks that are put together at random.
All metrics see the same exchanges; the largest of several values then has its exact distribution too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.arrays import plain
from motes.evaluation.results import Array

PERMUTATIONS = 199
BLOCKS = 200  # of each set, at most
FOLDS = 5
T = TypeVar("T")
PART_ROWS = 10_000  # of a set, within which every row may meet every other


@dataclass(frozen=True, eq=False)
class Permutations:
    """Exchanges of blocks of rows between `a` and `b`; what was drawn comes first.

    Attributes:
        block: of each row, (n + m,), the rows of `a` first. Blocks have equally many rows, but for the last two: they
            hold the rows of `a` and of `b` that are left over, and never change places.
        fold: of each block, (blocks,); blocks change places within a fold, which has equally many of both sets. -1 of
            the last two.
        part: of each row, (n + m,); of many rows each part has about `PART_ROWS` of a set, and blocks change places
            within it.
        first: whether a block belongs to the first set, (1 + PERMUTATIONS, blocks).
    """

    block: NDArray[np.intp]
    fold: NDArray[np.intp]
    part: NDArray[np.intp]
    first: NDArray[np.bool_]

    @classmethod
    def of(cls, n: int, m: int, rng: np.random.Generator, folds: int = FOLDS) -> Permutations:
        """For sets of n and m rows."""
        size = -(-min(n, m) // BLOCKS)
        count = min(n, m) // size
        folds = max(min(folds, count // 2), 1)
        parts = max(min(-(-max(n, m) // PART_ROWS), count // (2 * folds)), 1)
        stratum = np.arange(count) % (folds * parts)
        block, part = np.empty(n + m, np.intp), np.empty(n + m, np.intp)
        for rows, start, rest in ((rng.permutation(n), 0, 2 * count), (n + rng.permutation(m), count, 2 * count + 1)):
            moved, others = np.split(rows, [count * size])
            block[moved], part[moved] = start + np.repeat(np.arange(count), size), np.repeat(stratum // folds, size)
            block[others], part[others] = rest, np.arange(len(others)) % parts
        both = np.append(np.tile(stratum, 2), [-1, -1])
        first = np.tile(np.append(np.repeat([True, False], count), [True, False]), (1 + PERMUTATIONS, 1))
        for blocks in (both == one for one in range(folds * parts)):
            first[1:, blocks] = rng.permuted(first[1:, blocks], axis=1)
        return cls(block, np.where(both < 0, -1, both % folds), part, first)

    @cached_property
    def rows(self) -> NDArray[np.bool_]:
        """Whether a row belongs to the first set, (1 + PERMUTATIONS, n + m)."""
        return self.first[:, self.block]

    @property
    def one_each(self) -> NDArray[np.intp]:
        """A row of each block that changes places, (2 g,): those of `a` first."""
        return np.unique(self.block, return_index=True)[1][: np.count_nonzero(self.fold >= 0)]


def p_value_of(values: NDArray[np.float64], slack: float = 0.0) -> float:
    """The share of exchanges with more than what was drawn, which is the first, and half of those with as much.

    That is Lancaster's mid-p: of counts, which are often equal, the share with at least as much rejects too rarely.
    Where no values are equal both give a test of the same size. `slack` is rounding.
    """
    more, least = np.mean(values > values[0] + slack), np.mean(values >= values[0] - slack)
    return float((more + least) / 2)


# --- Two sets of points made ready to be compared: checked, sorted, in the reference's units ------------------------
#
# Rows are sorted first of all, so that no answer depends on the order of the input, not even in its last bit.
# Whatever a metric draws at random comes from a stream of its own, which no seed given to a sampler can meet.


OWN_STREAM = 0x6D6F746573  # "motes": default_rng(seed) itself belongs to whoever made the sample


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
    """`a` (n, d) and the reference `b` (m, d), sorted by row, in the units of the data; and the seed of the metrics.

    `modes` says where they are, if that is known.
    """

    a: Array
    b: Array
    seed: int
    modes: Modes | None = None

    @classmethod
    def of(cls, a: ArrayLike, b: ArrayLike, seed: int = 0, modes: Modes | None = None) -> Pair:
        """Check and sort.

        Raises:
            ValueError: arrays that are not (n, d) and (m, d) with finite entries, or a seed below 0.
        """
        a, b = np.asarray(plain(a), np.float64), np.asarray(plain(b), np.float64)
        if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.size or not b.size:
            raise ValueError(f"points have shapes {a.shape} and {b.shape}; expected (n, d) and (m, d).")
        if seed < 0:
            raise ValueError(f"seed = {seed}; expected a whole number from 0.")
        return cls(_sorted(checked("first set", a)), _sorted(checked("second set", b)), seed, modes)

    def rng(self, use: int) -> np.random.Generator:
        """A generator of the metrics' own; `use` tells one purpose from another.

        The points are part of its seed. With the seed alone, one permutation of sorted rows would take the same ranks
        from every sample, a stratified choice and not a random one, and tests would miss their size (measured: 2 % for
        5 %).
        """
        return np.random.default_rng([OWN_STREAM, use, self.seed, self._fingerprint])

    def once(self, function: Callable[[Pair], T]) -> T:
        """What a function makes of the pair, computed at the first call: several metrics share one computation."""
        if function not in self._made:
            self._made[function] = function(self)
        found: T = self._made[function]
        return found

    @cached_property
    def _made(self) -> dict[Callable[[Pair], Any], Any]:
        return {}

    def rng_for_any_points(self, use: int) -> np.random.Generator:
        """As `rng`, but the same for all points, as directions should be for a sample and for a real draw."""
        return np.random.default_rng([OWN_STREAM, use, self.seed])

    @cached_property
    def _fingerprint(self) -> int:
        digest = hashlib.blake2b(digest_size=8)
        for points in self.scaled:  # units do not matter
            digest.update(np.ascontiguousarray(points).tobytes())
        return int.from_bytes(digest.digest())

    @cached_property
    def scaled(self) -> tuple[Array, Array]:
        """Both sets, each column over its standard deviation in `b`, so that units do not matter.

        A column that is constant in `b` is measured by its deviation in both sets together, and is left alone if it is
        constant there too.
        """
        unit = np.array([_spread(self.b[:, j]) or _spread(np.concatenate([self.a[:, j], self.b[:, j]])) or 1.0
                         for j in range(self.b.shape[1])])  # fmt: skip
        centre = self.b.mean(axis=0)
        return (self.a - centre) / unit, (self.b - centre) / unit

    @cached_property
    def scale(self) -> float:
        """The mean variance of the columns of `b`: one number, for distances that must not bend the space.

        Raises:
            ValueError: the rows of `b` are all equal.
        """
        scale = float(self.b.var(axis=0).mean())
        if scale <= (1e-14 * np.abs(self.b).max()) ** 2:  # a spread below rounding is no spread
            raise ValueError(
                "the second set has no spread, so there is no scale to measure by; expected different rows."
            )
        return scale

    @cached_property
    def permutations(self) -> Permutations:
        """Exchanges of rows between the two sets, the same for all metrics."""
        return Permutations.of(len(self.a), len(self.b), self.rng(5))

    @property
    def one_each(self) -> Pair:
        """A row of each block that changes places, at most 200 of each set."""
        a, b = np.split(self.permutations.one_each, 2)
        return Pair(self.a[a], self.b[b - len(self.a)], self.seed)


def checked(name: str, points: ArrayLike) -> Array:
    """Finite points (n, d).

    Raises:
        ValueError: another shape, or an entry that is not finite, with its row and column.
    """
    points = np.asarray(plain(points), np.float64)
    if points.ndim != 2 or not points.size:
        raise ValueError(f"the {name} has shape {points.shape}; expected (n, d).")
    if not np.isfinite(points).all():
        row, column = np.argwhere(~np.isfinite(points))[0]
        raise ValueError(f"the {name} holds {points[row, column]} in row {row}, column {column}.")
    return points


def _spread(column: Array) -> float:
    deviation = float(column.std())
    return deviation if deviation > 1e-14 * np.abs(column).max() else 0.0


def _sorted(points: Array) -> Array:
    points = points + 0.0  # -0.0 is 0.0
    return points[np.lexsort(points.T)]
