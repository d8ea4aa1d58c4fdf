"""How far apart two columns are, by themselves.

    KS = max over x of |F_a(x) - F_b(x)|        TV = 1/2 sum over labels k of |p_a(k) - p_b(k)|

Both are shares of rows: KS of numbers, TV of labels. W1, the integral of |F_a - F_b|, says it in standard deviations.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.evaluation.results import Array, Metric, Z

RARE = 5.0  # expected rows below which labels are put together for the test, as the chi-squared law needs


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> Metric:
    """The largest gap between the distribution functions of two sets of numbers, with the p-value of equal laws.

    The interval is that of the gap at the place where it is largest. The p-value is right for numbers that are all
    different and cautious where many are equal.

    Args:
        a, b: numbers (n,) and (m,), at least 1 of each.

    Raises:
        ValueError: other shapes, or entries that are not finite.
    """
    from scipy.stats import kstwo

    a, b = _sorted(a), _sorted(b)
    n, m = len(a), len(b)
    _, f, g = _functions(a, b)
    at = int(np.argmax(np.abs(f - g)))
    gap = float(abs(f[at] - g[at]))
    half = Z * float(np.sqrt(f[at] * (1 - f[at]) / n + g[at] * (1 - g[at]) / m))
    p_value = float(np.clip(kstwo.sf(gap, max(round(n * m / (n + m)), 1)), 0, 1))
    return Metric("kolmogorov_smirnov", gap, max(gap - half, 0.0), min(gap + half, 1.0), p_value)


def wasserstein_1(a: ArrayLike, b: ArrayLike) -> float:
    """How far the numbers `a` (n,) have to be carried to become `b` (m,), in standard deviations of `b`.

    Where `b` is constant the deviation of both together takes its place; 0 where that is constant too.

    Raises:
        ValueError: as `kolmogorov_smirnov`.
    """
    a, b = _sorted(a), _sorted(b)
    x, f, g = _functions(a, b)
    unit = spread_of(b) or spread_of(np.concatenate([a, b])) or 1.0
    return float(np.sum(np.abs(f - g)[:-1] * np.diff(x / unit)))


def spread_of(x: Array) -> float:
    """The standard deviation of numbers (n,), 0 where it is no more than rounding."""
    size = float(np.abs(x).max())
    if size == 0:
        return 0.0
    deviation = float((x / size).std()) * size  # of numbers whose squares may be no floats
    return deviation if deviation > 1e-14 * size else 0.0


def total_variation(a: ArrayLike, b: ArrayLike) -> Metric:
    """Half the sum of the differences between two sets of shares, with the p-value of equal laws.

    That is Pearson's chi-squared test; labels that fewer than 5 rows of the smaller set are to have are put together.

    Args:
        a, b: rows of each label, (K,), some above 0 in each.

    Raises:
        ValueError: other shapes, or no rows.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.sum() < 1 or b.sum() < 1:
        raise ValueError(f"counts of shapes {a.shape} and {b.shape}; expected (K,) twice, with rows in both.")
    n, m = a.sum(), b.sum()
    p, q = a / n, b / m
    value, side = 0.5 * float(np.abs(p - q).sum()), np.sign(p - q)
    variance = ((p.sum() - (side @ p) ** 2) / n + (q.sum() - (side @ q) ** 2) / m) / 4
    half = Z * float(np.sqrt(max(variance, 0.0)))
    return Metric("total_variation", value, max(value - half, 0.0), min(value + half, 1.0), _chi_squared(a, b))


def share_difference(a: int, n: int, b: int, m: int) -> Metric:
    """a / n - b / m, with Fisher's exact p-value of equal shares."""
    from scipy.stats import fisher_exact

    p, q = a / n, b / m
    half = Z * float(np.sqrt(p * (1 - p) / n + q * (1 - q) / m))
    p_value = float(fisher_exact([[a, n - a], [b, m - b]]).pvalue)
    return Metric("share_difference", p - q, max(p - q - half, -1.0), min(p - q + half, 1.0), p_value)


def holm(p_values: ArrayLike) -> Array:
    """p-values (d,) of a family -> p-values that may each be held against one level (Holm 1979); NaN stays NaN."""
    p = np.asarray(p_values, np.float64)
    adjusted = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * (len(order) - np.arange(len(order)))), 1.0)
    return adjusted


def _chi_squared(a: Array, b: Array) -> float:
    from scipy.stats import chi2

    n, m = a.sum(), b.sum()
    rare = (a + b) * min(n, m) / (n + m) < RARE
    table = np.stack([np.append(side[~rare], side[rare].sum()) for side in (a, b)])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2:
        return 1.0
    expected = table.sum(axis=0) * np.array([[n], [m]]) / (n + m)
    return float(chi2.sf(np.sum((table - expected) ** 2 / expected), table.shape[1] - 1))


def _sorted(x: ArrayLike) -> Array:
    x = np.asarray(x, np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"numbers of shape {x.shape}; expected (n,), n >= 1, all finite.")
    return np.sort(x + 0.0)


def _functions(a: Array, b: Array) -> tuple[Array, NDArray[np.float64], NDArray[np.float64]]:
    """All places x, and F_a and F_b there."""
    x = np.union1d(a, b)
    return x, np.searchsorted(a, x, side="right") / len(a), np.searchsorted(b, x, side="right") / len(b)
