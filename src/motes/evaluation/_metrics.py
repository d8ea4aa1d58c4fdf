"""How good is a sample? Two arrays in, numbers with their intervals out.

`compare` gives them all, each beside its reference value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from motes.evaluation._coverage import Prdc, prdc, prdc_of
from motes.evaluation._kernels import energy_and_mmd_of, energy_distance, mmd_squared
from motes.evaluation._modes import ModeCoverage, Modes, mode_coverage
from motes.evaluation._pairs import Pair
from motes.evaluation._results import Array, Metric, Row
from motes.evaluation._transport import sliced_w2, sliced_w2_of, w2, w2_of
from motes.evaluation._two_sample import c2st, c2st_boosting, c2st_boosting_of, c2st_of

__all__ = [  # noqa: RUF022 - in the order of use
    "Metric", "Row", "compare", "two_draws",
    "sliced_w2", "w2", "energy_distance", "mmd_squared", "c2st", "c2st_boosting",
    "prdc", "Prdc",
    "mode_coverage", "ModeCoverage", "Modes", "negative_log_likelihood",
]  # fmt: skip

W2_ROWS = 500  # of each set, for the exact distance within `compare`


def compare(
    a: ArrayLike,
    b: ArrayLike,
    real_a: ArrayLike,
    real_b: ArrayLike,
    *,
    modes: Modes | None = None,
    brief: bool = False,
    seed: int = 0,
) -> list[Row]:
    """Every metric of the sample `a` (n, d) against the real `b` (m, d), each beside its reference value.

    That is the same figure between two real draws: what even a perfect model gets from samples of these sizes. A shape
    is drawn afresh for it; a table is divided by `two_draws`. `real_b` may be `b` itself, `real_a` may not.

    Args:
        a, b: samples, and the real points that they are compared with.
        real_a, real_b: real draws, (n, d) and (m, d).
        modes: where they are, if that is known; adds `mode_distance` and `modes_missed`.
        brief: sliced_w2 and c2st alone, which take less than a second where all take half a minute.
        seed: of the metrics' own randomness; it has no bearing on a sample made with the same seed.

    Returns:
        Rows in the order sliced_w2, w2, energy_distance, mmd_squared, c2st, c2st_boosting, precision, recall, density,
        coverage. `w2` takes at most 500 rows of each set, drawn at random; all others take every row.

    Raises:
        ValueError: arrays of other shapes, entries that are not finite, real draws of other sizes, fewer than 10 rows,
            or real points that are all equal.

    Example:
        >>> made, real, *others = (motes.make_shape("moons", 100, seed=seed) for seed in range(4))
        >>> rows = motes.compare(made, real, *others)
        >>> [row.metric.name for row in rows[:3]]
        ['sliced_w2', 'w2', 'energy_distance']
    """
    pair, real = Pair.of(a, b, seed), Pair.of(real_a, real_b, seed)
    sizes = [x.shape for x in (pair.a, pair.b, real.a, real.b)]
    if sizes[:2] != sizes[2:]:
        raise ValueError(
            f"got real draws of {sizes[2]} and {sizes[3]} for points of {sizes[0]} and {sizes[1]}; expected equal "
            "sizes. Draw as many real rows, or compare as many samples."
        )
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the threads of these small matrices wait for each other: 7 s, not 20, on busy cores
        both = [[sliced_w2_of(one), c2st_of(one)] if brief else _all(one, modes) for one in (pair, real)]
        return [Row(metric, beside) for metric, beside in zip(*both, strict=True)]


def _all(pair: Pair, modes: Modes | None) -> list[Metric]:
    found = [
        sliced_w2_of(pair),
        w2_of(pair.some(W2_ROWS, use=7)),
        *energy_and_mmd_of(pair),
        c2st_of(pair),
        c2st_boosting_of(pair),
        *prdc_of(pair),
    ]
    if modes is not None:
        by_mode = mode_coverage(pair.a, modes, seed=pair.seed)
        found += [by_mode.distance, by_mode.missed]
    return found


def two_draws(x: ArrayLike, n: int, m: int, *, seed: int = 0) -> tuple[Array, Array]:
    """Two real draws without a common row from a table `x` (rows, d): `n` rows and `m` rows, for reference values.

    Raises:
        ValueError: fewer than n + m rows, or n or m below 1.
    """
    pair = Pair.of(x, x, seed)
    if min(n, m) < 1 or n + m > len(pair.b):
        raise ValueError(f"draws of {n} and {m} rows from {len(pair.b)}; expected at least 1 each and no more in all.")
    rows = pair.b[pair.rng(8).permutation(len(pair.b))]
    return rows[:n], rows[n : n + m]


def negative_log_likelihood(log_prob: ArrayLike) -> Metric:
    """Mean of -log p over held-out rows, in the units of `log_prob` (nats per row), with its normal interval.

    Args:
        log_prob: log p of each row, (n,), at least 2.

    Raises:
        ValueError: another shape, or entries that are not finite.

    Example:
        >>> from motes.evaluation import negative_log_likelihood
        >>> negative_log_likelihood([-1.0, -2.0, -3.0]).value
        2.0
    """
    values = np.asarray(log_prob, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"log-probabilities of shape {values.shape}; expected (n,), one for each of at least 2 rows.")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"the log-probability of row {row} is {values[row]}; expected finite ones.")
    from scipy.stats import t

    values = np.sort(values)
    mean, n = -float(values.mean()), len(values)
    half = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return Metric("negative_log_likelihood", mean, mean - half, mean + half)
