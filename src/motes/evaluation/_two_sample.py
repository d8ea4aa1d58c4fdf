"""Can a classifier tell the sets apart? (Lopez-Paz & Oquab 2017)

C2ST = the share of held-out rows whose set a classifier names rightly: 1/2 if the distributions are equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.evaluation._pairs import Pair
from motes.evaluation._permutations import BLOCKS, FOLDS, Permutations, p_value_of
from motes.evaluation._results import Array, Metric, share

Indices = NDArray[np.intp]
SHUFFLES = 5  # of a column, for its permutation importance
SHUFFLED_ROWS = 4000


@dataclass(frozen=True)
class Discrimination:
    """How well boosted trees distinguish two sets, and by which columns.

    Attributes:
        accuracy: as `c2st_boosting` gives it.
        importance: permutation importance of each column, (d,): how much lower the accuracy is when the column is
            shuffled in the held-out rows. Of two columns that have the same information it is low.
    """

    accuracy: Metric
    importance: Array


def c2st(a: ArrayLike, b: ArrayLike, *, neighbours: int = 50, folds: int = FOLDS, seed: int = 0) -> Metric:
    """How often a vote among nearest neighbours tells a from b, cross-validated; a test for equality.

    Args:
        a, b: points (n, d) and (m, d); columns are scaled by the spread of `b` first.
        neighbours: that vote, at most a tenth of the points.
        folds: of the cross-validation, from 2 to 50.
        seed: of the folds, of which rows are taken where n and m differ, and of the permutations behind the p-value.

    Returns:
        Balanced accuracy, a tie counting one half: 0.5 where they cannot be told apart, 1 where they are plainly
        different. Folds share training rows, so the interval is wider than that of as many independent answers, by as
        much as the permuted accuracies are.

    Raises:
        ValueError: arrays that are not (n, d) and (m, d) with finite entries, fewer than 2 rows for each fold, or
            another option out of range.

    Example:
        >>> a, b = motes.make_shape("moons", 200), motes.make_shape("moons", 200, seed=1)
        >>> motes.c2st(a, b).p_value > 0.05, motes.c2st(a + 1.0, b).p_value < 0.05
        (True, True)
    """
    return c2st_of(Pair.of(a, b, seed), neighbours, folds)


def c2st_of(pair: Pair, neighbours: int = 50, folds: int = FOLDS) -> Metric:
    return c2st_permuted(pair, neighbours, folds)[0]


def c2st_permuted(pair: Pair, neighbours: int = 50, folds: int = FOLDS) -> tuple[Metric, Array]:
    """The accuracy, and those of all permutations (1 + p,), itself first."""
    from scipy.spatial import cKDTree

    if neighbours < 1:
        raise ValueError(f"neighbours = {neighbours}; expected at least 1.")
    _check_folds(min(len(pair.a), len(pair.b)), folds)
    shuffled = pair.permutations
    if folds != FOLDS:
        shuffled = Permutations.of(len(pair.a), len(pair.b), pair.rng(5), folds)
    # In random order, so that which of several rows at one place is the nearest has nothing to do with its set.
    used = pair.rng(11).permutation(np.flatnonzero(shuffled.fold[shuffled.block] >= 0))
    x, block = np.concatenate(pair.scaled)[used], shuffled.block[used]
    fold, labels = shuffled.fold[block], shuffled.first[:, block].T.astype(np.int8)  # (rows, 1 + permutations)
    neighbours = min(neighbours, max(len(x) // 10, 1))
    # Neighbours do not depend on labels, so the same ones vote for all permutations.
    right = np.zeros(labels.shape[1])  # a tie counts one half
    for f in range(folds):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        nearest = cKDTree(x[train]).query(x[test], neighbours, workers=-1)[1].reshape(len(test), neighbours)
        known, votes = labels[train], np.zeros((len(test), labels.shape[1]), dtype=np.int32)
        for column in nearest.T:
            votes += known[column]
        votes = np.sign(2 * votes - neighbours)  # 1: the first set, -1: the second, 0: a tie
        right += np.sum(1 + votes * (2 * labels[test] - 1), axis=0) / 2
    accuracy, of_chance = right[0] / len(x), right[1:].var() / (len(x) / 4)
    variance = accuracy * (1 - accuracy) / len(x) * max(of_chance, 1)
    return share("c2st", accuracy, variance, len(x), p_value_of(right)), right / len(x)


def c2st_boosting(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Metric:
    """As `c2st`, by trees boosted on one half of the rows and asked about the other; they find one column in a hundred.

    One half only, because answers from several folds depend on each other, and a test that overlooks that calls one in
    ten pairs of equal sets different (measured with n = m = 100). How many rows of a class are among those given its
    name is hypergeometric; the p-value is Lancaster's mid-p of that: half the chance of what was found and all of what
    is more.

    Args:
        a, b: points (n, d) and (m, d), at least 4 of each.
        seed: of the halves, and of which rows are taken where n and m differ.

    Raises:
        ValueError: as `c2st`.

    Example:
        >>> from motes.evaluation import c2st_boosting
        >>> a, b = motes.make_shape("moons", 100), motes.make_shape("moons", 100, seed=1)
        >>> c2st_boosting(a + 1.0, b) > 0.7
        True
    """
    return c2st_boosting_of(Pair.of(a, b, seed))


def c2st_boosting_of(pair: Pair) -> Metric:
    from threadpoolctl import threadpool_limits

    x, y, fold = _folded(pair.scaled, 2, pair.rng(9))
    train, test = fold == 0, fold == 1
    with threadpool_limits(1, "openmp"):  # two threads on two busy cores were ten times as slow for 300 rows
        second = _boosted(None).fit(x[train], y[train]).predict_proba(x[test])[:, 1]
    return _named(second, y[test])


def c2st_of_columns(
    a: Array, b: Array, discrete: NDArray[np.bool_], rng: np.random.Generator, *, shuffles: int = SHUFFLES
) -> Discrimination:
    """As `c2st_boosting`, for columns of numbers and of codes with missing entries, and their permutation importance.

    Args:
        a, b: numbers, and codes from 0 to at most 254 in the columns that are `discrete`, (n, d) and (m, d); NaN where
            missing, which a tree can split by.
        discrete: (d,).
        rng: of the halves, of which rows are taken where n and m differ, and of the shuffles.
        shuffles: of each column, in at most 4000 of the held-out rows; 0 leaves the importance 0.
    """
    from threadpoolctl import threadpool_limits

    x, y, fold = _folded((a, b), 2, rng)
    train, truth, importance = fold == 0, y[fold == 1], np.zeros(x.shape[1])
    known = np.flatnonzero(~np.isnan(x[train]).all(axis=0))  # trees refuse a column without an observed entry
    if not len(known):
        return Discrimination(_named(np.full(len(truth), 0.5), truth), importance)
    test = x[fold == 1][:, known]
    with threadpool_limits(1, "openmp"):
        trees = _boosted(discrete[known]).fit(x[train][:, known], y[train])
        accuracy = _named(trees.predict_proba(test)[:, 1], truth)
        test, truth = test[:SHUFFLED_ROWS], truth[:SHUFFLED_ROWS]
        before = _right(trees.predict_proba(test)[:, 1], truth)
        for k, j in enumerate(known):
            column = test[:, k].copy()
            for _ in range(shuffles):
                test[:, k] = rng.permutation(column)
                importance[j] += (before - _right(trees.predict_proba(test)[:, 1], truth)) / shuffles
            test[:, k] = column
    return Discrimination(accuracy, importance)


def _boosted(discrete: NDArray[np.bool_] | None) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0, categorical_features=discrete
    )


def _right(second: Array, truth: Indices) -> float:
    """Share of rows whose set is named rightly by the probability of the second, a tie counting one half."""
    return float(np.mean(1 + np.sign(_beyond_half(second)) * (2 * truth - 1)) / 2)


def _named(second: Array, truth: Indices) -> Metric:
    from scipy.stats import hypergeom

    n, named, accuracy = len(truth), _beyond_half(second) > 0, _right(second, truth)
    count, null = np.sum(truth[named]), hypergeom(n, truth.sum(), named.sum())
    p_value = float(null.sf(count) + null.pmf(count) / 2)
    return share("c2st_boosting", accuracy, accuracy * (1 - accuracy) / n, n, p_value)


def _beyond_half(second: Array) -> Array:
    # Trees too small to split say 1/2.
    return np.where(np.abs(second - 0.5) < 1e-9, 0.0, second - 0.5)


def _folded(sets: tuple[Array, Array], folds: int, rng: np.random.Generator) -> tuple[Array, Indices, Indices]:
    """As many rows of both sets, shuffled; the set of each, 0 or 1; its fold, with as many of both sets."""
    n = min(map(len, sets))
    _check_folds(n, folds)
    x = np.concatenate([rng.permutation(points)[:n] for points in sets])
    y, fold = np.repeat([0, 1], n), np.tile(np.arange(n) % folds, 2)
    # Shuffled, so that which of several rows at one place is the nearest has nothing to do with its set.
    order = rng.permutation(2 * n)
    return x[order], y[order], fold[order]


def _check_folds(n: int, folds: int) -> None:
    most = BLOCKS // 4
    if not 2 <= folds <= most:
        raise ValueError(f"folds = {folds}; expected from 2 to {most}.")
    if n < 2 * folds:
        raise ValueError(f"{n} rows are too few for {folds} folds; expected at least {2 * folds} of each.")
