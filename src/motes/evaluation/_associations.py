"""How the columns of a table hang together, pair by pair, from 0 (not at all) to 1 (one column tells the other).

numbers           Spearman's rank correlation, from -1 to 1
labels            Cramér's V, without its bias (Bergsma 2013, eq. 5 to 8)
one of each       sqrt(1 - (1 - eta^2) (n - 1) / (n - K)), eta the correlation ratio of the ranks (Kelley 1935)

A pair is taken over the rows where both entries are known. All of them are functions of sums of products over rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from motes.evaluation._results import Array, Metric

GROUPS = 20  # of rows, each left out in turn, for the intervals
T_95 = 2.024394164  # a t of 2 * 19 degrees of freedom lies within +-T_95 with probability 0.95

Upper = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True)
class Associations:
    """Associations of two sets of rows.

    Attributes:
        a, b: (d, d), 1 on the diagonal; NaN where there is none, because a column does not vary.
        error: (d, d), half the width of the 95 % interval of a - b (the jackknife over groups of rows).
        mean: of |a - b| over the pairs, with its 95 % interval.
        mean_by_chance: about what it would be for two draws of one distribution, as normal errors have it.
    """

    a: Array
    b: Array
    error: Array
    mean: Metric
    mean_by_chance: float


@dataclass(frozen=True)
class Layout:
    """Which columns are labels, and how many each has; the products that everything here is made of.

    A number is one feature, a column of labels one for each label.

    Attributes:
        discrete: (d,).
        levels: number of labels of each column, (d,); that of a number has no meaning.
        gaps: which columns may have missing entries, (d,).
    """

    discrete: NDArray[np.bool_]
    levels: tuple[int, ...]
    gaps: NDArray[np.bool_]

    @cached_property
    def column(self) -> NDArray[np.intp]:
        """The column of each feature, (f,)."""
        sizes = [count if one else 1 for count, one in zip(self.levels, self.discrete.tolist(), strict=True)]
        return np.repeat(np.arange(len(sizes)), sizes)

    @cached_property
    def starts(self) -> NDArray[np.intp]:
        """The first feature of each column, (d,)."""
        return np.searchsorted(self.column, np.arange(len(self.discrete)))

    @cached_property
    def known(self) -> NDArray[np.intp]:
        """Which column of `design` says where the entries of each column are known, (d,); one for all without gaps."""
        return len(self.column) + np.where(self.gaps, np.cumsum(self.gaps), 0)

    @property
    def width(self) -> int:
        """Columns of `design` without the squares: f features, and where entries are known."""
        return len(self.column) + 1 + int(self.gaps.sum())

    def design(self, x: Array) -> Array:
        """Everything to be multiplied, (n, width + p); the last p columns are the squares of the p numbers.

        Args:
            x: numbers, and codes 0 to K - 1 in the columns that are `discrete`, (n, d); NaN where missing.
        """
        known = ~np.isnan(x)
        features = np.zeros((len(x), len(self.column)))
        for j, start in enumerate(self.starts.tolist()):
            rows = np.flatnonzero(known[:, j])
            if self.discrete[j]:
                features[rows, start + x[rows, j].astype(np.intp)] = 1.0
            else:
                features[rows, start] = x[rows, j]
        squares = features[:, self.starts[~self.discrete]] ** 2
        return np.concatenate([features, np.ones((len(x), 1)), known[:, self.gaps], squares], axis=1)

    def associations(self, sums: Array) -> Array:
        """From the products of a design with itself, (d, d); NaN where a column does not vary."""
        d = len(self.discrete)
        numbers, labels = np.flatnonzero(~self.discrete), np.flatnonzero(self.discrete)
        r, k, s = self.starts[numbers], self.known[numbers], self.width + np.arange(len(numbers))
        found = np.full((d, d), np.nan)
        found[np.ix_(numbers, numbers)] = _correlation(
            sums[np.ix_(r, r)], sums[np.ix_(r, k)], sums[np.ix_(s, k)], sums[np.ix_(k, k)]
        )
        if len(labels):
            h = np.flatnonzero(self.discrete[self.column])
            starts = np.searchsorted(self.column[h], labels)
            found[np.ix_(labels, labels)] = _cramers_v(sums[np.ix_(h, h)], starts)
            if len(numbers):
                ratio = _correlation_ratio(sums[np.ix_(h, k)], sums[np.ix_(h, r)], sums[np.ix_(h, s)], starts)
                found[np.ix_(labels, numbers)], found[np.ix_(numbers, labels)] = ratio, ratio.T
        np.fill_diagonal(found, 1.0)
        return found


def ranked(x: Array, discrete: NDArray[np.bool_]) -> Array:
    """Numbers (n, d) as their ranks among the known ones, between -1/2 and 1/2; codes as they are.

    Example:
        >>> ranked(np.array([[5.0], [7.0], [np.nan]]), np.array([False])).ravel()
        array([-0.25,  0.25,   nan])
    """
    from scipy.stats import rankdata

    ranks = x.copy()
    for j in np.flatnonzero(~discrete):
        here = ~np.isnan(x[:, j])
        if here.any():
            ranks[here, j] = (rankdata(x[here, j]) - 0.5) / here.sum() - 0.5
    return ranks


def associations(x: Array, discrete: NDArray[np.bool_], levels: Sequence[int]) -> Array:
    """The association of each pair of columns, (d, d); NaN where a column does not vary over the rows of a pair.

    Args:
        x, discrete, levels: as `Layout` has them.
    """
    layout = Layout(discrete, tuple(levels), np.asarray(np.isnan(x).any(axis=0)))
    design = layout.design(ranked(x, discrete))
    return layout.associations(design.T @ design)


def compare_associations(layout: Layout, a: Array, b: Array, rng: np.random.Generator) -> Associations:
    """Associations of two sets of rows and what lies between them.

    Args:
        layout: of the columns.
        a, b: designs of n and m rows, their ranks among all of these.
        rng: of the groups of rows for the intervals.
    """
    upper = np.triu_indices(len(layout.discrete), 1)
    groups = [block_sums(rows, rng.permutation(len(rows)), GROUPS) for rows in (a, b)]
    whole = [sums.sum(axis=0) for sums in groups]
    of_a, of_b = (layout.associations(sums) for sums in whole)
    gap = np.nan_to_num(of_a - of_b)[upper]
    changes = [
        sign * np.stack([np.nan_to_num(layout.associations(total - group) - of)[upper] for group in sums])
        for sums, total, of, sign in zip(groups, whole, (of_a, of_b), (1.0, -1.0), strict=True)
    ]  # by how much each pair changes without each group, (groups, pairs)
    error = np.full(of_a.shape, np.nan)
    deviation = np.sqrt(sum(_jackknife(change) for change in changes))
    error[upper] = T_95 * deviation
    error.T[upper] = error[upper]
    by_chance = float(np.sqrt(2 / np.pi) * deviation.mean()) if len(gap) else 0.0
    value = float(np.abs(gap).mean()) if len(gap) else 0.0
    half = T_95 * float(np.sqrt(sum(_jackknife(np.abs(gap + change).mean(axis=1)) for change in changes)))
    return Associations(
        of_a, of_b, error, Metric("association_difference", value, max(value - half, 0.0), value + half), by_chance
    )


def block_sums(design: Array, rows: NDArray[np.intp], count: int) -> Array:
    """Products of the design with itself over each of `count` blocks of rows, or over each row, (g, w, w)."""
    return np.stack([design[block].T @ design[block] for block in np.array_split(rows, min(count, len(rows)))])


def _jackknife(changes: Array) -> Array:
    """The variance, over the first axis."""
    return np.asarray((len(changes) - 1) * np.var(changes, axis=0))


def _correlation(products: Array, totals: Array, squares: Array, n: Array) -> Array:
    """Sums over the rows of each pair (i, j): of r_i r_j, of r_i, of r_i^2, and of 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = products - totals * totals.T / n
        variance = squares - totals**2 / n
        variance[~(variance > 1e-12 * n)] = 0.0
        return np.clip(covariance / np.sqrt(variance * variance.T), -1, 1)


def _correlation_ratio(n: Array, totals: Array, squares: Array, starts: NDArray[np.intp]) -> Array:
    """Sums over the rows of each label with each number known: of 1, of r, of r^2, (labels, p) -> (q, p)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of_labels = np.where(n > 0, totals**2 / n, 0.0)
        rows, total, square, between = (np.add.reduceat(part, starts) for part in (n, totals, squares, of_labels))
        present = np.add.reduceat((n > 0).astype(np.float64), starts)
        all_in_all = square - total**2 / rows
        all_in_all[~(all_in_all > 1e-12 * rows)] = np.nan
        eta_squared = (between - total**2 / rows) / all_in_all
        corrected = 1 - (1 - eta_squared) * (rows - 1) / (rows - present)
        corrected[(present < 2) | (rows <= present)] = np.nan
        return np.sqrt(np.clip(corrected, 0, 1))


def _cramers_v(n: Array, starts: NDArray[np.intp]) -> Array:
    """Rows with each two labels, (labels, labels) -> (q, q)."""
    lengths = np.diff(np.append(starts, len(n)))
    totals = np.add.reduceat(n, starts, axis=1)  # (labels, q): of a label, where the other column is known
    expected = np.repeat(totals, lengths, axis=1)
    expected = expected * expected.T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(expected > 0, n**2 / expected, 0.0)
        phi_squared = np.add.reduceat(np.add.reduceat(shares, starts), starts, axis=1) - 1
        rows = np.add.reduceat(totals, starts)
        present = np.add.reduceat((totals > 0).astype(np.float64), starts)  # (q, q): labels of i, where j is known
        phi_squared = phi_squared - (present - 1) * (present.T - 1) / (rows - 1)
        corrected = present - (present - 1) ** 2 / (rows - 1)
        least = np.minimum(corrected, corrected.T) - 1
        least[(np.minimum(present, present.T) < 2) | (least <= 0)] = np.nan
        return np.sqrt(np.clip(phi_squared / least, 0, 1))
