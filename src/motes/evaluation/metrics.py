"""Distances between two sets of points. Arrays in, a number out; the order of rows never matters.

SW2^2(a, b) = mean over directions u of W2^2(a u, b u)
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def sliced_w2(a: ArrayLike, b: ArrayLike, *, directions: int = 200, seed: int = 0) -> float:
    """Sliced 2-Wasserstein distance over the standard deviation of `b`; 0 for equal sets.

    Args:
        a, b: points (n, d) and (m, d). `b` sets the scale, the square root of its mean variance per column.
        directions: how many; evenly spread over the half circle for d = 2, random for d > 2.
        seed: of the random directions.

    Raises:
        ValueError: arrays that are not (n, d) and (m, d) with finite entries, or a `b` whose rows are all equal.
    """
    a, b = _pair(a, b)
    scale = b.var(axis=0).mean()
    if scale <= (1e-14 * np.abs(b).max()) ** 2:  # a spread below rounding is no spread
        raise ValueError("the second set has no spread, so there is no scale to measure by; expected different rows.")
    if directions < 1:
        raise ValueError(f"directions = {directions}; expected at least 1.")
    if a.shape[1] == 2:
        angle = np.pi * (np.arange(directions) + 0.5) / directions
        axes = np.stack([np.cos(angle), np.sin(angle)])  # (2, directions)
    else:
        axes = np.random.default_rng(seed).standard_normal((a.shape[1], directions))
        axes /= np.linalg.norm(axes, axis=0)
    squares = [_w2_squared(a @ u, b @ u) for u in axes.T]
    return float(np.sqrt(np.mean(squares) / scale))


def _w2_squared(p: Array, q: Array) -> float:
    # On a line the best transport matches quantiles; both quantile functions are steps, so the integral is a sum.
    p, q = np.sort(p), np.sort(q)
    if len(p) == len(q):
        return float(np.mean((p - q) ** 2))
    edges = np.union1d(np.arange(len(p) + 1) / len(p), np.arange(len(q) + 1) / len(q))
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    gap = p[(middle * len(p)).astype(int)] - q[(middle * len(q)).astype(int)]
    return float(np.sum(width * gap**2))


def c2st(a: ArrayLike, b: ArrayLike, *, neighbours: int = 50, folds: int = 5, seed: int = 0) -> float:
    """Classifier two-sample test: how often a nearest-neighbour classifier tells a from b (Lopez-Paz & Oquab 2017).

    Args:
        a, b: points (n, d) and (m, d); columns are scaled by the spread of `b` first.
        neighbours: that vote, at most a tenth of the points.
        folds: of the cross-validation.
        seed: of the folds and of which rows are taken where n and m differ.

    Returns:
        Balanced accuracy: 0.5 where they cannot be told apart, 1 where they are plainly different.

    Raises:
        ValueError: as `sliced_w2`, or fewer than 2 rows for each fold.
    """
    from sklearn.model_selection import StratifiedKFold, cross_val_score
    from sklearn.neighbors import KNeighborsClassifier

    a, b = _pair(a, b)
    rng = np.random.default_rng(seed)
    n = min(len(a), len(b))
    if n < 2 * folds:
        raise ValueError(f"{n} rows are too few for {folds} folds; expected at least {2 * folds} of each.")
    spread = b.std(axis=0)
    # Sorted first, so that the answer does not depend on the order in which the rows came.
    x = np.concatenate([rng.permutation(p[np.lexsort(p.T)])[:n] for p in (a, b)]) / np.where(spread > 0, spread, 1)
    y = np.repeat([0, 1], n)
    classifier = KNeighborsClassifier(min(neighbours, max(n // 5, 1)), algorithm="kd_tree")
    splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return float(cross_val_score(classifier, x, y, cv=splits).mean())


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not len(a) or not len(b):
        raise ValueError(f"points have shapes {a.shape} and {b.shape}; expected (n, d) and (m, d).")
    for name, points in (("first", a), ("second", b)):
        if not np.isfinite(points).all():
            row, column = np.argwhere(~np.isfinite(points))[0]
            raise ValueError(f"the {name} set holds {points[row, column]} in row {row}, column {column}.")
    return a, b
