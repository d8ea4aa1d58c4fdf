"""How the columns of a table hang together, pair by pair, from 0 (not at all) to 1 (one tells the other).

numbers           Spearman's rank correlation, from -1 to 1
labels            Cramér's V, without its bias (Bergsma 2013, eq. 5 to 8)
one of each       sqrt(1 - (1 - eta^2) (n - 1) / (n - K)), eta the correlation ratio of the ranks (Kelley 1935)

A pair is taken over the rows where both cells are known. Ranks are those among the known cells of a column.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motes.evaluation.results import Array, Metric, Z

PERMUTATIONS = 399
GROUPS = 20  # of rows, each left out in turn, for the interval


@dataclass(frozen=True)
class Differences:
    """Associations of two sets of rows, and what is between them.

    Attributes:
        a, b: (d, d), 1 on the diagonal; NaN where there is none, because a column does not vary.
        mean: of |a - b| over the pairs, with the p-value of equal laws.
        p_values: (d, d), of each pair; the smallest of all is below p with probability p where the laws are equal.
    """

    a: Array
    b: Array
    mean: Metric
    p_values: Array


def associations(x: Array, discrete: NDArray[np.bool_], levels: Sequence[int]) -> Array:
    """The association of each pair of columns, (d, d); NaN where a column does not vary over the rows of a pair.

    Args:
        x: numbers, and codes 0 to K - 1 in the columns that are `discrete`, (n, d); NaN where missing.
        discrete: (d,).
        levels: K of each column, (d,); that of a number has no meaning.
    """
    numbers, labels = np.flatnonzero(~discrete), np.flatnonzero(discrete)
    made = np.full((len(discrete), len(discrete)), np.nan)
    of_labels = [count for count, one in zip(levels, discrete, strict=True) if one]
    ranks, known = _ranks(x[:, numbers])
    one_hot = _one_hot(x[:, labels], of_labels)
    # Every sum that there is to take, in one product.
    parts = [ranks, ranks**2, known, one_hot]
    ends = np.cumsum([part.shape[1] for part in parts])
    whole = np.concatenate(parts, axis=1)
    sums = whole.T @ whole
    r, s, k, h = (slice(end - part.shape[1], end) for part, end in zip(parts, ends, strict=True))
    made[np.ix_(numbers, numbers)] = _spearman(sums[r, r], sums[r, k], sums[s, k], sums[k, k])
    if len(labels):
        starts = np.concatenate([[0], np.cumsum(of_labels)[:-1]]).astype(np.intp)
        made[np.ix_(labels, labels)] = _cramers_v(sums[h, h], starts)
        if len(numbers):
            ratio = _correlation_ratio(sums[h, k], sums[h, r], sums[h, s], starts)
            made[np.ix_(labels, numbers)], made[np.ix_(numbers, labels)] = ratio, ratio.T
    np.fill_diagonal(made, 1.0)
    return made


def compare_associations(
    a: Array, b: Array, discrete: NDArray[np.bool_], levels: Sequence[int], rng: np.random.Generator
) -> Differences:
    """The associations of `a` (n, d) and `b` (m, d), held against each other.

    The p-values are of permutations of all rows together: a pair's is the share in which some pair is as many standard
    deviations apart (Westfall & Young 1993), so that looking at many pairs finds no more than looking at one.
    """
    tables = np.concatenate([a, b])
    upper = np.triu_indices(a.shape[1], 1)

    def apart(rows_a: Array, rows_b: Array) -> Array:
        gap = associations(rows_a, discrete, levels) - associations(rows_b, discrete, levels)
        return np.nan_to_num(gap[upper])

    of_a, of_b = associations(a, discrete, levels), associations(b, discrete, levels)
    found = [np.nan_to_num((of_a - of_b)[upper])]
    for _ in range(PERMUTATIONS):
        order = rng.permutation(len(tables))
        found.append(apart(tables[order[: len(a)]], tables[order[len(a) :]]))
    gaps = np.abs(np.stack(found))  # (1 + permutations, pairs), as it is first of all
    deviation = np.sqrt(np.mean(gaps**2, axis=0))
    standard = np.divide(gaps, deviation, out=np.zeros_like(gaps), where=deviation > 0)
    largest = standard.max(axis=1, initial=0.0)
    p_values = np.full(of_a.shape, np.nan)
    p_values[upper] = np.mean(largest[:, None] >= standard[0] * (1 - 1e-12), axis=0)
    p_values.T[upper] = p_values[upper]
    return Differences(of_a, of_b, _mean(a, b, gaps, apart, rng), p_values)


def _mean(a: Array, b: Array, gaps: Array, apart: Callable[[Array, Array], Array], rng: np.random.Generator) -> Metric:
    """Of the gaps (1 + permutations, pairs), of which the first are those of a and b."""
    if not gaps.shape[1]:
        return Metric("association_difference", 0.0, 0.0, 0.0, 1.0)
    means = gaps.mean(axis=1)
    group_a, group_b = (rng.permutation(len(rows)) % GROUPS for rows in (a, b))
    without = [np.abs(apart(a[group_a != g], b[group_b != g])).mean() for g in range(GROUPS)]
    half = Z * float(np.sqrt((GROUPS - 1) * np.var(without)))
    value, p_value = float(means[0]), float(np.mean(means >= means[0] * (1 - 1e-12)))
    return Metric("association_difference", value, max(value - half, 0.0), value + half, p_value)


def _ranks(x: Array) -> tuple[Array, Array]:
    """Ranks between -1/2 and 1/2, 0 where missing, and 1 where known, (n, p) each."""
    from scipy.stats import rankdata

    known = ~np.isnan(x)
    ranks = np.zeros(x.shape)
    for j in range(x.shape[1]):
        here = known[:, j]
        if here.any():
            ranks[here, j] = (rankdata(x[here, j]) - 0.5) / here.sum() - 0.5
    return ranks, known.astype(np.float64)


def _one_hot(codes: Array, levels: Sequence[int]) -> Array:
    """(n, sum of levels), nothing but 0 for a missing cell."""
    made = np.zeros((len(codes), sum(levels)))
    start = 0
    for j, count in enumerate(levels):
        rows = np.flatnonzero(~np.isnan(codes[:, j]))
        made[rows, start + codes[rows, j].astype(np.intp)] = 1.0
        start += count
    return made


def _spearman(products: Array, totals: Array, squares: Array, n: Array) -> Array:
    """Sums over the rows of each pair (i, j): of r_i r_j, of r_i, of r_i^2, and of 1."""
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = products - totals * totals.T / n
        variance = squares - totals**2 / n
        variance[variance < 1e-12 * n] = 0.0
        return np.clip(covariance / np.sqrt(variance * variance.T), -1, 1)


def _correlation_ratio(n: Array, totals: Array, squares: Array, starts: NDArray[np.intp]) -> Array:
    """Sums over the rows of each label with each number known: of 1, of r, of r^2, (labels, p) -> (q, p)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        of_labels = np.where(n > 0, totals**2 / n, 0.0)
        rows, total, square, between = (np.add.reduceat(part, starts) for part in (n, totals, squares, of_labels))
        present = np.add.reduceat((n > 0).astype(np.float64), starts)
        all_in_all = square - total**2 / rows
        all_in_all[all_in_all < 1e-12 * rows] = np.nan
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
        cells = np.where(expected > 0, n**2 / expected, 0.0)
        phi_squared = np.add.reduceat(np.add.reduceat(cells, starts), starts, axis=1) - 1
        rows = np.add.reduceat(totals, starts)
        present = np.add.reduceat((totals > 0).astype(np.float64), starts)  # (q, q): labels of i, where j is known
        phi_squared = phi_squared - (present - 1) * (present.T - 1) / (rows - 1)
        corrected = present - (present - 1) ** 2 / (rows - 1)
        least = np.minimum(corrected, corrected.T) - 1
        least[(np.minimum(present, present.T) < 2) | (least <= 0)] = np.nan
        return np.sqrt(np.clip(phi_squared / least, 0, 1))
