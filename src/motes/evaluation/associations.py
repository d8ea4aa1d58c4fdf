"""Associations between pairs of columns, and their differences between two tables.

An association is measured from 0 (none) to 1 (one column determines the other).

numbers           Spearman's rank correlation, from -1 to 1
labels            Cramér's V, bias-corrected (Bergsma 2013, eq. 5 to 8)
label and number  sqrt(1 - (1 - eta^2) (n - 1) / (n - K)), eta the correlation ratio of the ranks (Kelley 1935)

A pair uses the rows in which both entries are observed. All associations are functions of sums of products over rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from motes.evaluation.results import Array, Family, Metric

GROUPS = 20  # groups of rows in the jackknife for the intervals
T_95 = 2.024394164  # a Student's t of 2 * 19 degrees of freedom lies within +-T_95 with probability 0.95

Upper = tuple[NDArray[np.intp], NDArray[np.intp]]


@dataclass(frozen=True)
class Associations:
    """Associations of two sets of rows.

    Attributes:
        a, b: (d, d), 1 on the diagonal; NaN if a column does not vary.
        mean: mean of |a - b| over the pairs, with its 95 % interval.
        mean_by_chance: its approximate value for two samples of one distribution, assuming Gaussian errors.
    """

    a: Array
    b: Array
    mean: Metric
    mean_by_chance: float


@dataclass(frozen=True)
class FeatureLayout:
    """The layout of the features: one for a number, and one per label for a column of labels.

    Attributes:
        discrete: whether each column has labels, (d,).
        levels: number of labels of each column, (d,); meaningless for a number.
        gaps: whether each column may have missing entries, (d,).
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
        """The column of `design` that marks observed entries of each column, (d,); columns without gaps share one."""
        return len(self.column) + np.where(self.gaps, np.cumsum(self.gaps), 0)

    @property
    def width(self) -> int:
        """Number of columns of `design` without the squares: f features, and the marks of observed entries."""
        return len(self.column) + 1 + int(self.gaps.sum())

    def design(self, x: Array) -> Array:
        """Return the design matrix, (n, width + p); the last p columns are the squares of the p numbers.

        Args:
            x: numbers, and codes 0 to K - 1 in `discrete` columns, (n, d); NaN if missing.
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
        """Compute associations (d, d) from the products of a design with itself; NaN if a column does not vary."""
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
    """Replace numbers (n, d) by their ranks among the observed ones, between -1/2 and 1/2; codes are unchanged.

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
    """Compute the association of each pair of columns, (d, d); NaN if a column does not vary over the rows of a pair.

    Args:
        x, discrete, levels: see `FeatureLayout`.
    """
    layout = FeatureLayout(discrete, tuple(levels), np.asarray(np.isnan(x).any(axis=0)))
    design = layout.design(ranked(x, discrete))
    return layout.associations(design.T @ design)


def compare_associations(layout: FeatureLayout, a: Array, b: Array, rng: np.random.Generator) -> Associations:
    """Compute the associations of two sets of rows, and their mean difference.

    Args:
        layout: layout of the columns.
        a, b: designs of n and m rows, with ranks among all n + m rows.
        rng: generator for the groups of rows, for the intervals.
    """
    upper = np.triu_indices(len(layout.discrete), 1)
    groups = [block_sums(rows, rng.permutation(len(rows)), GROUPS) for rows in (a, b)]
    whole = [sums.sum(axis=0) for sums in groups]
    of_a, of_b = (layout.associations(sums) for sums in whole)
    gap = np.nan_to_num(of_a - of_b)[upper]
    changes = [
        sign * np.stack([np.nan_to_num(layout.associations(total - group) - of)[upper] for group in sums])
        for sums, total, of, sign in zip(groups, whole, (of_a, of_b), (1.0, -1.0), strict=True)
    ]  # change of each pair without each group, (groups, pairs)
    deviation = np.sqrt(sum(_jackknife(change) for change in changes))
    by_chance = float(np.sqrt(2 / np.pi) * deviation.mean()) if len(gap) else 0.0
    value = float(np.abs(gap).mean()) if len(gap) else 0.0
    half = T_95 * float(np.sqrt(sum(_jackknife(np.abs(gap + change).mean(axis=1)) for change in changes)))
    mean = Metric("association_difference", value, max(value - half, 0.0), value + half)
    return Associations(of_a, of_b, mean, by_chance)


def block_sums(design: Array, rows: NDArray[np.intp], count: int) -> Array:
    """Sum products of the design with itself over each of `count` blocks of rows, or over each row, (g, w, w)."""
    return np.stack([design[block].T @ design[block] for block in np.array_split(rows, min(count, len(rows)))])


def _jackknife(changes: Array) -> Array:
    """Return the jackknife variance over the first axis."""
    return np.asarray((len(changes) - 1) * np.var(changes, axis=0))


def _correlation(products: Array, totals: Array, squares: Array, n: Array) -> Array:
    """Compute correlations from the sums of r_i r_j, r_i, r_i^2 and 1 over the rows of each pair (i, j)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = products - totals * totals.T / n
        variance = squares - totals**2 / n
        variance[~(variance > 1e-12 * n)] = 0.0
        return np.clip(covariance / np.sqrt(variance * variance.T), -1, 1)


def _correlation_ratio(n: Array, totals: Array, squares: Array, starts: NDArray[np.intp]) -> Array:
    """Compute correlation ratios (q, p) from the sums (labels, p) of 1, r and r^2 over rows with observed numbers."""
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
    """Compute Cramér's V (q, q) from the counts of rows with each pair of labels, (labels, labels)."""
    lengths = np.diff(np.append(starts, len(n)))
    totals = np.add.reduceat(
        n, starts, axis=1
    )  # (labels, q): rows of a label with an observed entry in the other column
    expected = np.repeat(totals, lengths, axis=1)
    expected = expected * expected.T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(expected > 0, n**2 / expected, 0.0)
        phi_squared = np.add.reduceat(np.add.reduceat(shares, starts), starts, axis=1) - 1
        rows = np.add.reduceat(totals, starts)
        present = np.add.reduceat(
            (totals > 0).astype(np.float64), starts
        )  # (q, q): labels of i among rows with an observed j
        phi_squared = phi_squared - (present - 1) * (present.T - 1) / (rows - 1)
        corrected = present - (present - 1) ** 2 / (rows - 1)
        least = np.minimum(corrected, corrected.T) - 1
        least[(np.minimum(present, present.T) < 2) | (least <= 0)] = np.nan
        return np.sqrt(np.clip(phi_squared / least, 0, 1))


# --- Tests: does each pair of columns depend in the same way in both tables? All pairs are one family ---------------
#
#     G_fg = (E[f g] - E[f] E[g]) / (s_f s_g)
#     Q_ij = sum over features f of column i, g of column j of (G - G')^2
#
# A number is one feature, its rank, with s its standard deviation; a label is the feature 1[x = k], with s = sqrt(p_k).
# Then G is the rank correlation of two numbers, and the sum of G^2 is eta^2 or phi^2 of pairs with labels. Without a
# difference, Q has approximately the tail of a chi-squared variable and its cube root the tail of a Gaussian (Wilson &
# Hilferty 1931). Mean, standard deviation and the maximum over pairs come from permutations of the rows.


PERMUTATIONS = 399
PARTITIONS = 3  # partitions of the rows into blocks that are permuted as units
BLOCKS = 400
NUMBERS = 3e7  # most numbers in the sums of all blocks; wide tables have fewer blocks
FEWEST_BLOCKS = 64
TOGETHER = 16  # permutations summed at once


@dataclass(frozen=True)
class Interactions:
    """The differences of all pairs, in the order of the upper triangle, row by row.

    Attributes:
        distance: sqrt(Q) in units of an association, minus its value by chance, (pairs,).
        p_values: p-values in the family of all pairs and their mean, (pairs,).
        p_value: p-value of the family, the smallest of the pairs' and of the mean's.
        centre, spread: mean and standard deviation of the cube root of Q under the null hypothesis, (pairs,).
        family: family of the standardised cube roots of all pairs, and of their mean.
        unit: sqrt(Q) of an association of 1, (pairs,).
    """

    distance: Array
    p_values: Array
    p_value: float
    centre: Array
    spread: Array
    family: Family
    unit: Array

    def detectable(self, level: float, sigmas: float) -> Array:
        """Return the difference of associations, (pairs,), that a test at this level of the family detects.

        Args:
            level: probability of a false alarm in the family.
            sigmas: standard normal quantile of the power of the test.
        """
        edge = self.centre + (self.family.critical(level) + sigmas) * self.spread
        return np.asarray(np.sqrt(np.maximum(edge**3 - self.centre**3, 0.0)) / self.unit)


def compare_interactions(layout: FeatureLayout, a: Array, b: Array, rng: np.random.Generator) -> Interactions:
    """Test every pair of columns.

    The p-values come from permutations of all rows: the p-value of a pair is the share of permutations in which some
    pair is as extreme (Westfall & Young 1993). For speed, rows are permuted in blocks, about 400 in each of three
    random partitions.

    Args:
        layout: layout of the columns.
        a, b: designs of n and m rows, with ranks among all n + m rows.
        rng: generator for the permutations.
    """
    upper = np.triu_indices(len(layout.discrete), 1)
    sums = a.T @ a, b.T @ b
    scale = _scale(layout, sums[0] + sums[1])
    found = [_distances(layout, *sums, scale, upper)]
    design = np.concatenate([a, b])[:, : layout.width]  # without squares
    shares = np.diff(np.linspace(0, PERMUTATIONS, PARTITIONS + 1).astype(int))
    for count in shares.tolist():
        blocks, few = _blocks(design, min(len(a), len(b)), rng)
        flat, total = blocks.reshape(len(blocks), -1), blocks.sum(axis=0)
        for start in range(0, count, TOGETHER):
            chosen = np.zeros((min(TOGETHER, count - start), len(blocks)))
            for row in chosen:
                row[rng.permutation(len(blocks))[:few]] = 1.0
            drawn = (chosen @ flat).reshape(-1, *total.shape)
            found += [_distances(layout, mine, total - mine, scale, upper) for mine in drawn]
    roots = np.cbrt(np.stack(found))  # (1 + permutations, pairs); the observed split comes first
    centre, spread = roots.mean(axis=0), roots.std(axis=0)
    far = np.divide(roots - centre, spread, out=np.zeros_like(roots), where=spread > 0)
    mean = far.mean(axis=1) if far.shape[1] else np.zeros(len(far))
    together = (mean - mean.mean()) / (mean.std() or 1.0)  # the mean of all pairs also belongs to the family
    scores = np.column_stack([far, together])
    family = Family.of(scores[1:])
    p_values = family.p_values(scores[0])
    unit = _unit(layout)[upper]
    distance = np.sqrt(np.maximum(found[0] - centre**3, 0.0)) / unit
    return Interactions(distance, p_values[:-1], float(p_values.min()), centre, spread, family, unit)


def _scale(layout: FeatureLayout, sums: Array) -> Array:
    """Return 1 / s of each feature over all rows, (f,); 0 if it does not vary."""
    column, known = layout.column, layout.known[layout.column]
    f = len(column)
    n = np.maximum(sums[known, known], 1.0)
    totals = sums[np.arange(f), known]
    variance = totals / n  # p_k of labels
    numbers = np.flatnonzero(~layout.discrete[column])
    squares = sums[layout.width + np.arange(len(numbers)), known[numbers]]
    variance[numbers] = squares / n[numbers] - variance[numbers] ** 2
    varies = (variance > 1e-12) & (totals < n * (1 - 1e-12))
    return np.divide(1.0, np.sqrt(np.maximum(variance, 0.0)), out=np.zeros(f), where=varies)


def _distances(layout: FeatureLayout, a: Array, b: Array, scale: Array, upper: Upper) -> Array:
    """Compute Q of each pair from the sums of both sets."""
    gap = (_covariances(layout, a) - _covariances(layout, b)) * scale * scale[:, None]
    of_columns = np.add.reduceat(np.add.reduceat(gap**2, layout.starts), layout.starts, axis=1)
    return np.asarray(of_columns[upper])


def _covariances(layout: FeatureLayout, sums: Array) -> Array:
    """Compute E[f g] - E[f] E[g] of each pair of features, over rows with both observed, (f, f)."""
    f, known = len(layout.column), layout.known[layout.column]
    n = np.maximum(sums[np.ix_(known, known)], 1.0)
    means = sums[:f][:, known] / n  # mean of f over rows with an observed column of g
    return np.asarray(sums[:f, :f] / n - means * means.T)


def _unit(layout: FeatureLayout) -> Array:
    """Return sqrt(sum of G^2) of pairs with an association of 1, (d, d); for V it is sqrt(min(K, L) - 1)."""
    levels = np.where(layout.discrete, np.maximum(layout.levels, 2), 2)
    return np.sqrt(np.minimum(levels[:, None], levels) - 1.0)


def _blocks(design: Array, few: int, rng: np.random.Generator) -> tuple[Array, int]:
    """Sum random blocks of rows, (g, width, width), and return how many blocks make up `few` rows."""
    most = min(int(np.clip(NUMBERS / design.shape[1] ** 2, FEWEST_BLOCKS, BLOCKS)), len(design))
    count = max(int(most * few / len(design)), 1)
    size = few // count
    total = len(design) // size
    return block_sums(design, rng.permutation(len(design))[: total * size], total), count
