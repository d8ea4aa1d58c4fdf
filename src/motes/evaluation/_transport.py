"""What it costs to carry one set of points onto another.

W2^2(a, b) = min over matchings of the mean of |a_i - b_j|^2
SW2^2(a, b) = mean over directions u of W2^2(a u, b u)

Both are taken over the reference's standard deviation. Their intervals follow from the dual problem: to first order
W2^2 moves with its sample as the mean of a potential over the rows does (del Barrio & Loubes 2019). That holds for
distributions that differ; near 0 the value is mostly what any two samples are apart, as the reference value shows.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.evaluation._pairs import Pair
from motes.evaluation._results import Array, Metric, Z, root

EXACT_ROWS = 2000  # of an exact matching: 32 MB and a few seconds
DIRECTIONS = 200
TESTED = 12  # every so many of these is looked at in all permutations


def sliced_w2(a: ArrayLike, b: ArrayLike, *, directions: int = DIRECTIONS, seed: int = 0) -> Metric:
    """Sliced 2-Wasserstein distance over the standard deviation of `b`; 0 for equal sets.

    Args:
        a, b: points (n, d) and (m, d). `b` sets the scale, the square root of its mean variance per column.
        directions: how many; evenly spread over the half circle for d = 2, random for d > 2.
        seed: of the random directions.

    Raises:
        ValueError: arrays that are not (n, d) and (m, d) with finite entries, or a `b` whose rows are all equal.

    Example:
        >>> a, b = motes.make_shape("moons", 500), motes.make_shape("moons", 500, seed=1)
        >>> motes.sliced_w2(a, a), motes.sliced_w2(a + 1.0, b) > motes.sliced_w2(a, b)
        (Metric(name='sliced_w2', value=0.0, low=0.0, high=0.0, p_value=None), True)
    """
    return sliced_w2_of(Pair.of(a, b, seed), directions)


def sliced_w2_of(pair: Pair, directions: int = DIRECTIONS) -> Metric:
    a, b, scale = pair.a, pair.b, pair.scale
    if directions < 1:
        raise ValueError(f"directions = {directions}; expected at least 1.")
    axes = directions_in(a.shape[1], directions, pair.rng_for_any_points(1))
    squares, f, g = np.zeros(axes.shape[1]), np.zeros(len(a)), np.zeros(len(b))
    for k, u in enumerate(axes.T):
        squares[k], f_u, g_u = _on_a_line(a @ u, b @ u)
        f += f_u
        g += g_u
    return _over_scale("sliced_w2", float(squares.mean()), f / len(squares), g / len(squares), b, scale)


def sliced_w2_value(a: ArrayLike, b: ArrayLike, *, directions: int = DIRECTIONS) -> float:
    """The value of `sliced_w2` without its interval, of two sets of one size (n, d): what is shown while it moves.

    Raises:
        ValueError: as `sliced_w2`, or sets of different sizes.
    """
    pair = Pair.of(a, b)
    if len(pair.a) != len(pair.b):
        raise ValueError(f"got {len(pair.a)} and {len(pair.b)} points; expected as many of each. Use sliced_w2.")
    axes = directions_in(pair.a.shape[1], directions, pair.rng_for_any_points(1))
    p, q = (np.sort(axes.T @ x.T, axis=1) for x in (pair.a, pair.b))  # (directions, n)
    return float(np.sqrt(np.mean((p - q) ** 2) / pair.scale))


def sliced_w2_permuted(pair: Pair) -> Array:
    """The square along some of the directions, of all permutations (1 + p,), what was drawn first."""
    x, first = np.concatenate([pair.a, pair.b]), pair.permutations.rows
    axes = directions_in(x.shape[1], DIRECTIONS, pair.rng_for_any_points(1))[:, ::TESTED]
    n, m = len(pair.a), len(pair.b)
    i, j, width = _matched(n, m)
    squares = np.zeros(len(first))
    for u in axes.T:
        p = x @ u
        rank = np.argsort(p, kind="stable")
        p = p[rank]
        for k, mine in enumerate(np.ascontiguousarray(first.T[rank].T)):
            ours, theirs = p.compress(mine), p.compress(~mine)
            gap = ours - theirs if n == m else ours[i] - theirs[j]  # the first is much quicker
            squares[k] += gap @ gap / n if n == m else gap @ (width * gap)
    return np.asarray(squares / axes.shape[1] / pair.scale)


def directions_in(dim: int, count: int, rng: np.random.Generator) -> Array:
    """Unit vectors (dim, count): evenly spread over the half circle in the plane, random beyond it, one on a line."""
    if dim == 1:
        return np.ones((1, 1))
    if dim == 2:
        angle = np.pi * (np.arange(count) + 0.5) / count
        return np.stack([np.cos(angle), np.sin(angle)])
    axes = rng.standard_normal((dim, count))
    return axes / np.linalg.norm(axes, axis=0)


def _on_a_line(p: Array, q: Array) -> tuple[float, Array, Array]:
    """W2^2 of two sets on a line, and the potentials at p and at q, up to a constant."""
    # The best transport matches quantiles; both quantile functions are steps, so the integral is a sum.
    rank_p, rank_q = np.argsort(p, kind="stable"), np.argsort(q, kind="stable")
    p, q = p[rank_p], q[rank_q]
    i, j, width = _matched(len(p), len(q))
    gap = p[i] - q[j]
    square = float(np.sum(width * gap**2))
    away_p = np.asarray(np.bincount(i, width * gap) * len(p), dtype=np.float64)  # mean over each row's share
    away_q = np.asarray(np.bincount(j, width * gap) * -len(q), dtype=np.float64)
    f, g = np.zeros(len(p)), np.zeros(len(q))
    f[rank_p[1:]] = np.cumsum(np.diff(p) * (away_p[1:] + away_p[:-1]))  # f' = 2 (x - T(x)), by trapezia
    g[rank_q[1:]] = np.cumsum(np.diff(q) * (away_q[1:] + away_q[:-1]))
    return square, f, g


def _matched(n: int, m: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Which of n ranked rows meets which of m, and the share of probability that each two have in common."""
    if n == m:
        return np.arange(n), np.arange(n), np.full(n, 1 / n)
    edges = np.union1d(np.arange(n + 1) / n, np.arange(m + 1) / m)
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    return (middle * n).astype(np.intp), (middle * m).astype(np.intp), width


def w2(a: ArrayLike, b: ArrayLike) -> Metric:
    """Exact 2-Wasserstein distance over the standard deviation of `b`, for small sets; 0 for equal sets.

    Args:
        a, b: points (n, d) and (m, d); the least common multiple of n and m is at most 2000. `b` sets the scale, as in
            `sliced_w2`.

    Raises:
        ValueError: as `sliced_w2`, or sets too large for an exact matching.

    Example:
        >>> from motes.evaluation import w2
        >>> w2([[0.0], [2.0]], [[1.0], [3.0]]).value  # moved by 1, which is the standard deviation
        1.0
    """
    return w2_of(Pair.of(a, b))


def w2_of(pair: Pair) -> Metric:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    a, b, scale = pair.a, pair.b, pair.scale
    n, m = len(a), len(b)
    rows = math.lcm(n, m)
    if rows > EXACT_ROWS:
        copies = "" if n == m else f" (each row copied until both sets have {rows})"
        raise ValueError(
            f"{n} against {m} points are too many to match exactly{copies}; the limit is {EXACT_ROWS}. "
            "Take fewer rows, as many of each set, or use sliced_w2."
        )
    # Sets of different sizes: as many copies of each row as make them equal.
    cost = cdist(np.repeat(a, rows // n, axis=0), np.repeat(b, rows // m, axis=0), "sqeuclidean")
    match: NDArray[np.intp] = linear_sum_assignment(cost)[1]
    matched: Array = cost[np.arange(rows), match]
    # u_i + v_j <= cost_ij, with equality where matched: shortest paths (Bellman-Ford).
    lengths, u = cost[:, match] - matched, np.zeros(rows)
    for _ in range(rows):
        shorter = np.minimum(u, (u + lengths).min(axis=1))
        done = np.allclose(shorter, u, rtol=0, atol=1e-12 * max(cost.max(), 1e-300))
        u = shorter
        if done:
            break
    v = np.empty(rows)
    v[match] = matched - u
    f, g = u.reshape(n, -1).mean(axis=1), v.reshape(m, -1).mean(axis=1)
    return _over_scale("w2", float(matched.mean()), f, g, b, scale)


def w2_permuted(pair: Pair) -> Array:
    """The square of a row of each block, of all permutations (1 + p,), what was drawn first."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    rows = pair.permutations.one_each
    x, first = np.concatenate([pair.a, pair.b])[rows], pair.permutations.rows[:, rows]
    cost = cdist(x, x, "sqeuclidean")
    squares = []
    for mine in first:
        between = cost[np.ix_(mine, ~mine)]
        squares.append(between[linear_sum_assignment(between)].mean())
    return np.array(squares) / pair.scale


def _over_scale(name: str, square: float, f: Array, g: Array, b: Array, scale: float) -> Metric:
    # The scale is drawn too: it moves as the mean over rows of b of the squared distance from their centre.
    ratio = square / scale
    g = g - ratio * ((b - b.mean(axis=0)) ** 2).mean(axis=1)
    half = Z * float(np.sqrt(f.var() / len(f) + g.var() / len(g))) / scale
    return root(name, ratio, ratio - half, ratio + half)
