"""How far apart two columns are, by themselves.

    KS = max over x of |F_a(x) - F_b(x)|        TV = 1/2 sum over labels k of |p_a(k) - p_b(k)|

Both are shares of rows: KS of numbers, TV of labels. W1, the integral of |F_a - F_b|, says it in standard deviations.
They are above 0 for any two draws; `distance_by_chance` says by how much. Tests are made of shares (`_shares.py`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._arrays import plain
from motes.evaluation._results import Array, Metric, Z

CHANCES = 200  # simulated differences of two draws
STEPS = 400  # places at which a simulated distribution function is looked at


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> Metric:
    """The largest difference between the distribution functions of two sets of numbers.

    The 95 % interval is that of the difference at the place where it is largest.

    Args:
        a, b: numbers (n,) and (m,), at least 1 of each.

    Raises:
        ValueError: other shapes, or entries that are not finite.

    Example:
        >>> from motes.evaluation import kolmogorov_smirnov
        >>> kolmogorov_smirnov([1.0, 2.0, 3.0], [2.0, 3.0, 4.0]).value.__round__(4)
        0.3333
    """
    from scipy.stats import ks_2samp

    a, b = _finite(a), _finite(b)
    found = ks_2samp(a, b, method="asymp")
    p, q = (float(np.mean(x <= found.statistic_location)) for x in (a, b))
    half = Z * float(np.sqrt(p * (1 - p) / len(a) + q * (1 - q) / len(b)))
    gap = float(found.statistic)
    return Metric("kolmogorov_smirnov", gap, max(gap - half, 0.0), min(gap + half, 1.0))


def wasserstein_1(a: ArrayLike, b: ArrayLike) -> float:
    """How far the numbers `a` (n,) have to be carried to become `b` (m,), in standard deviations of `b`.

    Where `b` is constant the deviation of both together takes its place; 0 where that is constant too.

    Raises:
        ValueError: as `kolmogorov_smirnov`.

    Example:
        >>> from motes.evaluation import wasserstein_1
        >>> wasserstein_1([1.0, 3.0], [0.0, 2.0])
        1.0
    """
    from scipy.stats import wasserstein_distance

    a, b = _finite(a), _finite(b)
    unit = spread_of(b) or spread_of(np.concatenate([a, b])) or 1.0
    return float(wasserstein_distance(a / unit, b / unit))


def spread_of(x: Array) -> float:
    """The standard deviation of numbers (n,), 0 where it is no more than rounding."""
    size = float(np.abs(x).max())
    if size == 0:
        return 0.0
    deviation = float((x / size).std()) * size  # of numbers whose squares may be no floats
    return deviation if deviation > 1e-14 * size else 0.0


def total_variation(a: ArrayLike, b: ArrayLike) -> Metric:
    """Half the sum of the differences between two sets of shares, with a 95 % interval.

    Args:
        a, b: rows of each label, (K,), some above 0 in each.

    Raises:
        ValueError: other shapes, or no rows.

    Example:
        >>> from motes.evaluation import total_variation
        >>> total_variation([30, 70], [50, 50]).value.__round__(4)
        0.2
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.sum() < 1 or b.sum() < 1:
        raise ValueError(f"counts of shapes {a.shape} and {b.shape}; expected (K,) twice, with rows in both.")
    n, m = a.sum(), b.sum()
    p, q = a / n, b / m
    value, side = 0.5 * float(np.abs(p - q).sum()), np.sign(p - q)
    variance = ((p.sum() - (side @ p) ** 2) / n + (q.sum() - (side @ q) ** 2) / m) / 4
    half = Z * float(np.sqrt(max(variance, 0.0)))
    return Metric("total_variation", value, max(value - half, 0.0), min(value + half, 1.0))


def distance_by_chance(counts: ArrayLike, n: int, m: int, rng: np.random.Generator, *, ordered: bool) -> float:
    """The mean distance between n and m rows of one distribution: KS where the values are `ordered`, otherwise TV.

    Args:
        counts: rows of each value in both sets together, (K,).
        n, m: rows of each set.
        rng: of 200 simulated differences, normal ones with the covariances of multinomial counts.
        ordered: the values are numbers, rising; neighbours are put together, so that 400 places are looked at.

    Example:
        >>> rng = np.random.default_rng(0)  # two draws of 100 coins: the mean of |N(0, 1/4 / 50)| is 0.056
        >>> bool(abs(distance_by_chance([1, 1], 100, 100, rng, ordered=False) - 0.056) < 0.01)
        True
    """
    shares = np.asarray(counts, np.float64)
    shares = shares / shares.sum()
    if ordered and len(shares) > STEPS:
        cuts = np.unique(np.searchsorted(np.cumsum(shares), np.linspace(0, 1, STEPS + 1)[:-1], side="right"))
        shares = np.add.reduceat(shares, cuts)
        shares = shares / shares.sum()
    free = np.sqrt(shares * (1 / n + 1 / m)) * rng.standard_normal((CHANCES, len(shares)))
    gaps = free - shares * free.sum(axis=1, keepdims=True)
    far = np.abs(np.cumsum(gaps, axis=1)).max(axis=1) if ordered else np.abs(gaps).sum(axis=1) / 2
    return float(far.mean())


def share_difference(a: ArrayLike, n: ArrayLike, b: ArrayLike, m: ArrayLike) -> tuple[Array, Array, Array]:
    """a / n - b / m and its 95 % interval, (c,) each: Newcombe's, of two of Wilson's (Newcombe 1998, method 10).

    Args:
        a, b: rows that fulfil something, (c,), of the rows n and m.

    Example:
        >>> [round(float(x), 4) for x in share_difference(56, 70, 48, 80)]  # Newcombe's own example
        [0.2, 0.0524, 0.3339]
    """
    (p, p_low, p_high), (q, q_low, q_high) = _wilson(a, n), _wilson(b, m)
    gap = p - q
    low = gap - np.sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    return gap, low, gap + np.sqrt((p_high - p) ** 2 + (q - q_low) ** 2)


def signed_root(a: ArrayLike, n: ArrayLike, b: ArrayLike, m: ArrayLike) -> Array:
    """Equal shares a / n and b / m as a standard normal number, (c,): the signed root of the likelihood ratio.

        z = sign(a / n - b / m) sqrt(2 sum over the four counts O of O log(O / E))

    Its tails stay right where Pearson's go wrong, for rare things and for sets of very different sizes.

    Example:
        >>> round(float(signed_root(30, 100, 50, 100)), 3)
        -2.899
    """
    a, n, b, m = (np.asarray(x, np.float64) for x in (a, n, b, m))
    pooled = (a + b) / (n + m)
    twice = 2 * sum(
        _entropy(observed, total * share)
        for observed, total, share in ((a, n, pooled), (n - a, n, 1 - pooled), (b, m, pooled), (m - b, m, 1 - pooled))
    )
    return np.asarray(np.sign(a / n - b / m) * np.sqrt(np.maximum(twice, 0.0)))


def _entropy(observed: Array, expected: Array) -> Array:
    from scipy.special import xlogy

    return np.asarray(xlogy(observed, np.where(observed > 0, observed, 1.0) / np.where(expected > 0, expected, 1.0)))


def _wilson(a: ArrayLike, n: ArrayLike) -> tuple[Array, Array, Array]:
    """A share and its interval."""
    a, n = np.asarray(a, np.float64), np.asarray(n, np.float64)
    p = a / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + (Z / (2 * n)) ** 2)
    return p, np.minimum(centre - half, p), np.maximum(centre + half, p)


def _finite(x: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(plain(x), np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"numbers of shape {x.shape}; expected (n,), n >= 1, all finite.")
    return x
