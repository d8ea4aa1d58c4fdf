"""Do the columns of two tables go together in the same way? A test of every pair, and all pairs as one family.

    G_fg = (E[f g] - E[f] E[g]) / (s_f s_g),        Q_ij = sum over features f of column i, g of column j of (G - G')^2

A number is one feature, its rank, with s its standard deviation; a label is the feature 1[x = k], with s = sqrt(p_k).
Then G is the rank correlation of two numbers, and the sum of G^2 is eta^2 or phi^2 of pairs with labels. Where there is
no difference Q has about the tail of a chi-squared variable, so its cube root that of a normal one (Wilson & Hilferty
1931); its mean and deviation, and the largest of all pairs, come from permutations of the rows.
"""

from dataclasses import dataclass

import numpy as np

from motes.evaluation._associations import Layout, Upper, block_sums
from motes.evaluation._results import Array

PERMUTATIONS = 399
PARTITIONS = 3  # of the rows into blocks that are permuted as one
BLOCKS = 400
NUMBERS = 3e7  # numbers in the sums of all blocks; wide tables have fewer blocks
FEWEST_BLOCKS = 64
TOGETHER = 16  # permutations that are summed at once


@dataclass(frozen=True)
class Interactions:
    """The differences of all pairs; a pair is a place in the upper triangle, row by row.

    Attributes:
        distance: sqrt(Q) in units of an association, less what chance gives, (pairs,).
        p_values: within the family of all pairs and their mean, (pairs,).
        p_value: of the family, the smallest of the pairs' and of the mean's.
        centre, spread: mean and standard deviation of the cube root of Q where there is no difference, (pairs,).
        largest: (PERMUTATIONS,), rising: the largest standardised one of all pairs where there is no difference.
        unit: (pairs,), an association of 1 has sqrt(Q) = unit.
    """

    distance: Array
    p_values: Array
    p_value: float
    centre: Array
    spread: Array
    largest: Array
    unit: Array

    def detectable(self, level: float, sigmas: float) -> Array:
        """The difference of associations, (pairs,), that a test at the `level` of the family finds.

        Args:
            level: probability of a false alarm in the family.
            sigmas: a standard normal is below it with the probability that the difference is to be found with.
        """
        place = min(int(np.ceil((1 - level) * (len(self.largest) + 1))), len(self.largest)) - 1
        edge = self.centre + (float(self.largest[place]) + sigmas) * self.spread
        return np.asarray(np.sqrt(np.maximum(edge**3 - self.centre**3, 0.0)) / self.unit)


def compare_interactions(layout: Layout, a: Array, b: Array, rng: np.random.Generator) -> Interactions:
    """Test every pair of columns.

    The p-values are of permutations of all rows together: a pair's is the share in which some pair is as far out
    (Westfall & Young 1993). To be quick, rows are permuted in blocks, of which there are about 400 in each of three
    random partitions.

    Args:
        layout: of the columns.
        a, b: designs of n and m rows, their ranks among all of these.
        rng: of the permutations.
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
    roots = np.cbrt(np.stack(found))  # (1 + permutations, pairs), as it is first of all
    centre, spread = roots.mean(axis=0), roots.std(axis=0)
    far = np.divide(roots - centre, spread, out=np.zeros_like(roots), where=spread > 0)
    mean = far.mean(axis=1) if far.shape[1] else np.zeros(len(far))
    together = (mean - mean.mean()) / (mean.std() or 1.0)  # the mean of all pairs is one more member of the family
    largest = np.maximum(far.max(axis=1, initial=-np.inf), together)
    p_values = np.array([np.mean(largest >= value - 1e-12) for value in far[0]])
    p_value = min(float(p_values.min(initial=1.0)), float(np.mean(largest >= together[0] - 1e-12)))
    unit = _unit(layout)[upper]
    distance = np.sqrt(np.maximum(found[0] - centre**3, 0.0)) / unit
    return Interactions(distance, p_values, p_value, centre, spread, np.sort(largest[1:]), unit)


def _scale(layout: Layout, sums: Array) -> Array:
    """1 / s of each feature over all rows, (f,); 0 of one that does not vary."""
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


def _distances(layout: Layout, a: Array, b: Array, scale: Array, upper: Upper) -> Array:
    """Q of each pair, from the sums of both sets."""
    gap = (_covariances(layout, a) - _covariances(layout, b)) * scale * scale[:, None]
    of_columns = np.add.reduceat(np.add.reduceat(gap**2, layout.starts), layout.starts, axis=1)
    return np.asarray(of_columns[upper])


def _covariances(layout: Layout, sums: Array) -> Array:
    """E[f g] - E[f] E[g] of each two features, over the rows where the columns of both are known, (f, f)."""
    f, known = len(layout.column), layout.known[layout.column]
    n = np.maximum(sums[np.ix_(known, known)], 1.0)
    means = sums[:f][:, known] / n  # of f, where the column of g is known
    return np.asarray(sums[:f, :f] / n - means * means.T)


def _unit(layout: Layout) -> Array:
    """sqrt(sum of G^2) of a pair whose association is 1, (d, d): that of V is sqrt(min(K, L) - 1)."""
    levels = np.where(layout.discrete, np.maximum(layout.levels, 2), 2)
    return np.sqrt(np.minimum(levels[:, None], levels) - 1.0)


def _blocks(design: Array, few: int, rng: np.random.Generator) -> tuple[Array, int]:
    """Sums of blocks of rows that were put together at random, (g, width, width), and how many make up `few` rows."""
    most = min(int(np.clip(NUMBERS / design.shape[1] ** 2, FEWEST_BLOCKS, BLOCKS)), len(design))
    count = max(int(most * few / len(design)), 1)
    size = few // count
    total = len(design) // size
    return block_sums(design, rng.permutation(len(design))[: total * size], total), count
