"""Associations between pairs of columns, and their differences between two tables.

An association is measured from 0 (none) to 1 (one column determines the other).

numbers           Spearman's rank correlation, from -1 to 1
labels            Cramér's V, bias-corrected (Bergsma 2013, eq. 5 to 8)
label and number  sqrt(1 - (1 - eta^2) (n - 1) / (n - K)), eta the correlation ratio of the ranks (Kelley 1935)

A pair uses the rows in which both entries are observed. All associations are functions of sums of products over rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from motes.encoding import JsonRecord
from motes.evaluation.results import ALPHA, POWER, Adjustment, Array, Family, Judged, aligned, judged, number, p_value

GROUPS = 20  # groups of rows in the jackknife for the reference value
NAMED = 5  # most pairs in the text
HEAD = ("pair", "synthetic", "real", "difference beyond chance", "p")


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
    """Replace numbers (n, d) by their ranks among the observed ones, standardised; codes are unchanged.

    Example:
        >>> ranked(np.array([[5.0], [7.0], [np.nan]]), np.array([False])).ravel()
        array([-1.,  1., nan])
    """
    from scipy.stats import rankdata

    ranks = x.copy()
    for j in np.flatnonzero(~discrete):
        here = ~np.isnan(x[:, j])
        if here.any():
            rank = rankdata(x[here, j])
            ranks[here, j] = (rank - rank.mean()) / (rank.std() or 1.0)
    return ranks


def associations(x: Array, discrete: NDArray[np.bool_], levels: Sequence[int]) -> Array:
    """Compute the association of each pair of columns, (d, d); NaN if a column does not vary over the rows of a pair.

    Args:
        x, discrete, levels: see `FeatureLayout`.
    """
    layout = FeatureLayout(discrete, tuple(levels), np.asarray(np.isnan(x).any(axis=0)))
    design = layout.design(ranked(x, discrete))
    return layout.associations(design.T @ design)


def _both_associations(
    layout: FeatureLayout, a: Array, b: Array, rng: np.random.Generator
) -> tuple[Array, Array, float]:
    """Return the associations of two sets of rows, (d, d) each, and the mean |difference| that chance alone causes.

    The latter assumes Gaussian errors, whose standard deviations come from a jackknife over groups of rows.

    Args:
        layout: layout of the columns.
        a, b: designs of n and m rows, with ranks among all n + m rows.
        rng: generator for the groups of rows.
    """
    found, variance = [], np.zeros(1)
    for design in (a, b):
        groups = _block_sums(design, rng.permutation(len(design)), GROUPS)
        total = groups.sum(axis=0)
        found.append(layout.associations(total))
        changes = [np.nan_to_num(_pairs(layout.associations(total - group) - found[-1])) for group in groups]
        variance = variance + (len(groups) - 1) * np.var(changes, axis=0)
    return found[0], found[1], float(np.sqrt(2 / np.pi) * np.sqrt(variance).mean())


def _pairs(matrix: Array) -> Array:
    """Return the entries above the diagonal, row by row, (pairs,)."""
    return np.asarray(matrix[np.triu_indices(len(matrix), 1)])


def _block_sums(design: Array, rows: NDArray[np.intp], count: int) -> Array:
    """Sum products of the design with itself over each of `count` blocks of rows, or over each row, (g, w, w)."""
    return np.stack([design[block].T @ design[block] for block in np.array_split(rows, min(count, len(rows)))])


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
    # (labels, q): rows of a label with an observed entry in the other column
    totals = np.add.reduceat(n, starts, axis=1)
    expected = np.repeat(totals, lengths, axis=1)
    expected = expected * expected.T
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = np.where(expected > 0, n**2 / expected, 0.0)
        phi_squared = np.add.reduceat(np.add.reduceat(shares, starts), starts, axis=1) - 1
        rows = np.add.reduceat(totals, starts)
        # (q, q): labels of i among rows with an observed j
        present = np.add.reduceat((totals > 0).astype(np.float64), starts)
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
ROUNDING = 1e-12  # difference of two standardised covariances that rounding alone may cause


@dataclass(frozen=True)
class PairResult(JsonRecord):
    """The comparison of a pair of columns.

    Attributes:
        columns: names of the columns.
        synthetic, real: association of the columns.
        distance: difference of the dependence, in units of an association, minus its value by chance. It can be above 0
            for equal associations, if different values occur together.
        p_value: p-value, adjusted for all tests of the table.
    """

    columns: tuple[str, str]
    synthetic: float
    real: float
    distance: float
    p_value: float

    @property
    def line(self) -> tuple[str, ...]:
        """Its cells below `HEAD`."""
        gap = f"{self.distance:.3f}"
        return " ~ ".join(self.columns), number(self.synthetic), number(self.real), gap, p_value(self.p_value)


@dataclass(frozen=True)
class AssociationResult(JsonRecord):
    """The comparison of all pairs of columns, in the order of the upper triangle, row by row.

    Attributes:
        names: names of the columns; the missingness of a column is an additional column.
        synthetic, real: associations (d, d), 1 on the diagonal; NaN if a column does not vary.
        mean_difference: mean of their absolute difference over the pairs.
        reference_value: its approximate value for two samples of one distribution.
        distance: sqrt(Q) in units of an association, minus its value by chance, (pairs,).
        p_values: p-values in the family of all pairs and their mean, (pairs,).
        p_value: p-value of the family, the smallest of the pairs' and of the mean's.
        centre, spread: mean and standard deviation of the cube root of Q under the null hypothesis, (pairs,).
        family: family of the standardised cube roots of all pairs, and of their mean.
        unit: sqrt(Q) of an association of 1, (pairs,).
        largest: the most significant pairs, set by `judged`.
    """

    names: tuple[str, ...]
    synthetic: Array
    real: Array
    mean_difference: float
    reference_value: float
    distance: Array
    p_values: Array
    p_value: float
    centre: Array
    spread: Array
    family: Family
    unit: Array
    largest: tuple[PairResult, ...] = ()

    json_names = ("names", "synthetic", "real", "mean_difference", "reference_value", "largest")

    def detectable(self, level: float) -> Array:
        """Return the difference of associations, (pairs,), that a test at this level of the family mostly detects."""
        edge = self.centre + (self.family.critical(level) + ndtri(POWER)) * self.spread
        return np.asarray(np.sqrt(np.maximum(edge**3 - self.centre**3, 0.0)) / self.unit)

    def judged(self, adjust: Adjustment) -> Judged:
        """Return the result with its most significant pairs; see `Judged`."""
        places, p_values = np.transpose(np.triu_indices(len(self.names), 1)), [adjust(p) for p in self.p_values]
        largest = []
        for pair in np.lexsort((-self.distance, self.p_values))[:NAMED]:
            i, j = places[pair]
            both = float(self.synthetic[i, j]), float(self.real[i, j])
            names = self.names[i], self.names[j]
            largest.append(PairResult(names, *both, float(self.distance[pair]), p_values[pair]))
        worst, count = largest[0], sum(p < ALPHA for p in p_values)
        if count:
            size = max(pair.distance for pair in largest if pair.p_value < ALPHA)
            how = "" if abs(worst.synthetic - worst.real) > worst.distance / 3 else "different values occur together; "
            text = (
                f"{count} of {len(p_values)} pairs differ, most clearly {worst.columns[0]} and "
                f"{worst.columns[1]}: {how}association {worst.synthetic:.2f} (real {worst.real:.2f})"
            )
        else:
            size = float(self.distance.mean())
            text = f"all pairs together differ, by {size:.2g} on average"
        sizes = self.detectable(ALPHA / adjust.factor)
        varying = sizes[sizes > 0]  # a pair with a constant column has no association
        detectable = float(np.median(varying)) if varying.size else 0.0
        seen = f"a difference of {detectable:.2g} in an association (median over pairs)" if detectable > 0 else ""
        verdict = judged(adjust(self.p_value), size, "association", text, detectable=detectable, seen=seen)
        return replace(self, largest=tuple(largest)), verdict, self.mean_difference, self.reference_value

    @property
    def text(self) -> str:
        """The mean difference and the most significant pairs, as text."""
        mean, by_chance = number(self.mean_difference), number(self.reference_value)
        lines = aligned(HEAD, [pair.line for pair in self.largest])
        return f"Associations: mean difference {mean} (reference value {by_chance})\n{lines}"


def compare_associations(
    names: tuple[str, ...], layout: FeatureLayout, a: Array, b: Array, rng: np.random.Generator
) -> AssociationResult:
    """Compare every pair of columns between two sets of rows.

    The p-values come from permutations of all rows: the p-value of a pair is the share of permutations in which some
    pair is as extreme (Westfall & Young 1993). For speed, rows are permuted in blocks, about 400 in each of three
    random partitions.

    Args:
        names, layout: names and layout of the columns, at least two.
        a, b: numbers and codes (n, d) and (m, d), NaN if missing.
        rng: generator for the permutations, and for the groups of rows behind the reference value.
    """
    both = layout.design(ranked(np.concatenate([a, b]), layout.discrete))
    ours, theirs, reference_value = _both_associations(layout, both[: len(a)], both[len(a) :], rng)
    sums = both[: len(a)].T @ both[: len(a)], both[len(a) :].T @ both[len(a) :]
    scale = _scale(layout, sums[0] + sums[1])
    found = [_distances(layout, *sums, scale)]
    both = both[:, : layout.width]  # without squares
    shares = np.diff(np.linspace(0, PERMUTATIONS, PARTITIONS + 1).astype(int))
    for count in shares.tolist():
        blocks, few = _blocks(both, min(len(a), len(b)), rng)
        flat, total = blocks.reshape(len(blocks), -1), blocks.sum(axis=0)
        for start in range(0, count, TOGETHER):
            chosen = np.zeros((min(TOGETHER, count - start), len(blocks)))
            for row in chosen:
                row[rng.permutation(len(blocks))[:few]] = 1.0
            drawn = (chosen @ flat).reshape(-1, *total.shape)
            found += [_distances(layout, mine, total - mine, scale) for mine in drawn]
    roots = np.cbrt(np.stack(found))  # (1 + permutations, pairs); the observed split comes first
    centre, spread = roots.mean(axis=0), roots.std(axis=0)
    far = np.divide(roots - centre, spread, out=np.zeros_like(roots), where=spread > 0)
    mean = far.mean(axis=1)
    together = (mean - mean.mean()) / (mean.std() or 1.0)  # the mean of all pairs also belongs to the family
    scores = np.column_stack([far, together])
    family = Family.of(scores[1:])
    p_values = family.p_values(scores[0])
    unit = _pairs(_unit(layout))
    return AssociationResult(
        names, ours, theirs, float(np.nan_to_num(np.abs(_pairs(ours - theirs))).mean()), reference_value,
        np.sqrt(np.maximum(found[0] - centre**3, 0.0)) / unit, p_values[:-1], float(p_values.min()),
        centre, spread, family, unit,
    )  # fmt: skip


def _scale(layout: FeatureLayout, sums: Array) -> Array:
    """Return 1 / s of each feature over all rows, (f,); 0 for a label that no row or every row has."""
    known = layout.known[layout.column]
    n = np.maximum(sums[known, known], 1.0)
    share = np.where(layout.discrete[layout.column], sums[np.arange(len(known)), known] / n, 0.5)  # p_k
    varies = (share > 0) & (share < 1)
    share[~layout.discrete[layout.column]] = 1.0  # ranks are standardised
    return np.divide(1.0, np.sqrt(share), out=np.zeros(len(known)), where=varies)


def _distances(layout: FeatureLayout, a: Array, b: Array, scale: Array) -> Array:
    """Compute Q of each pair from the sums of both sets."""
    gap = (_covariances(layout, a) - _covariances(layout, b)) * scale * scale[:, None]
    gap[np.abs(gap) < ROUNDING] = 0.0  # a column that is constant where the other one is observed: no difference
    return _pairs(np.add.reduceat(np.add.reduceat(gap**2, layout.starts), layout.starts, axis=1))


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
    return _block_sums(design, rng.permutation(len(design))[: total * size], total), count
