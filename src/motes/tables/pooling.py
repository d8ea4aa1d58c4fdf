"""Estimates with intervals from several synthetic tables.

    q_bar, v_bar = means of the estimates q_l and of their variances v_l over m tables
    b            = sum over l of (q_l - q_bar)^2 / (m - 1)
    T            = v_bar + b / m                                variance of q_bar
    nu           = (m - 1) (1 + v_bar / (b / m))^2              degrees of freedom of the interval, by Student's t

This is the rule of Reiter (2003), "Inference for partially synthetic, public use microdata sets", Survey Methodology
29, 181-188. It fits the tables of `TableModel.sample_sets`: given the training rows, the estimate of each table is
q_l = q_D + e_l with the estimate q_D of the training rows and independent errors e_l, from the training of its network
and from the draw of its rows. So q_bar has the variance var(q_D) + var(e_l) / m. Each table has as many rows as the
training table, so that v_bar estimates var(q_D), and b estimates var(e_l).

The rule for fully synthetic data of Raghunathan, Reiter & Rubin (2003), T = (1 + 1 / m) b - v_bar, estimates var(q_D)
by b - v_bar instead. It expects models that were refitted to other samples, and rows that are drawn independently. The
rows of motes are stratified: b may be far below v_bar, and this T negative. Even with models and rows as it expects,
five tables give an interval 3.7 times as wide as the real rows, and a negative T in a fifth of the cases.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from motes.errors import UsageError


class Pooled(NamedTuple):
    """A pooled estimate; numbers, or arrays of the shape of one table's estimates.

    Attributes:
        estimate: the mean of the estimates.
        standard_error: its standard error, the square root of T.
        low, high: the ends of its interval.
        degrees: degrees of freedom of the interval; infinite if all estimates are equal.

    Example:
        >>> float(motes.pool([4.9, 5.1, 5.0], [0.04, 0.04, 0.04]).estimate)
        5.0
    """

    estimate: Any
    standard_error: Any
    low: Any
    high: Any
    degrees: Any


def pool(estimates: ArrayLike, variances: ArrayLike, *, level: float = 0.95) -> Pooled:
    """Pool the estimates from the tables of `TableModel.sample_sets` into one, with its standard error and interval.

    Args:
        estimates: the estimate from each of m >= 2 tables, (m,); for several estimates (m, k).
        variances: the squared standard errors of the estimates, each computed as if its table were the real one, in
            the same shape.
        level: coverage of the interval, between 0 and 1.

    Raises:
        UsageError: if there are fewer than two tables, the shapes differ, a number is not finite, or a variance is
            negative.

    Example:
        >>> found = motes.pool([4.9, 5.1, 5.0], [0.04, 0.04, 0.04])
        >>> [round(float(value), 2) for value in (found.standard_error, found.low, found.high)]
        [0.21, 4.59, 5.41]
    """
    q, v = np.asarray(estimates, float), np.asarray(variances, float)
    if q.shape != v.shape or not q.ndim or len(q) < 2:
        raise UsageError(
            f"got estimates of shape {q.shape} and variances of shape {v.shape}; expected one of each for each of at "
            "least 2 tables, (m,) or (m, k). Draw several tables with model.sample_sets(m)."
        )
    if not np.isfinite(q).all() or not np.isfinite(v).all() or (v < 0).any():
        raise UsageError("got an estimate or a variance that is not finite, or a variance below 0. Leave it out.")
    if not 0 < level < 1:
        raise UsageError(f"level = {level!r}; expected a number between 0 and 1, such as 0.95.")
    m, mean, within, between = len(q), q.mean(axis=0), v.mean(axis=0), q.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        degrees = np.where(between > 0, (m - 1) * (1 + within / (between / m)) ** 2, np.inf)[()]
    error = np.sqrt(within + between / m)
    reach = stdtrit(degrees, (1 + level) / 2) * error
    return Pooled(mean, error, mean - reach, mean + reach, degrees)
