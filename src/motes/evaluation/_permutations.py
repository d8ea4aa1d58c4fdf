"""What would chance alone do? Rows of two sets change places, and everything is computed again.

If both sets are drawn from one distribution, every exchange of rows between them is as likely as what was drawn. So a
value that is among the most extreme 5 % of such exchanges is seen with probability 0.05, whatever the distribution and
however heavy its tails: the test is exact. To be quick, rows are exchanged in blocks that are put together at random.
All metrics see the same exchanges; the largest of several values then has its exact distribution too.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

PERMUTATIONS = 199
BLOCKS = 200  # of each set, at most
FOLDS = 5
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
