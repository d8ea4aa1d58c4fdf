"""How good is a sample? Two arrays in, numbers with their intervals out.

`compare` gives them all, each beside its reference value.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from motes.evaluation._coverage import Prdc, prdc, prdc_of, prdc_permuted
from motes.evaluation._kernels import energy_and_mmd_permuted, energy_distance, mmd_squared
from motes.evaluation._modes import ModeCoverage, Modes, mode_coverage, modes_permuted
from motes.evaluation._own_metrics import own_metrics_of, own_metrics_permuted
from motes.evaluation._pairs import Pair
from motes.evaluation._results import Array, Metric, Row
from motes.evaluation._transport import sliced_w2, sliced_w2_of, sliced_w2_permuted, w2, w2_of, w2_permuted
from motes.evaluation._two_sample import c2st, c2st_boosting, c2st_boosting_of, c2st_permuted

__all__ = [  # noqa: RUF022 - in the order of use
    "Metric", "Row", "compare", "two_draws",
    "sliced_w2", "w2", "energy_distance", "mmd_squared", "c2st", "c2st_boosting",
    "prdc", "Prdc",
    "mode_coverage", "ModeCoverage", "Modes", "negative_log_likelihood",
]  # fmt: skip


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
        brief: sliced_w2, c2st, precision, recall, density and coverage alone.
        seed: of the metrics' own randomness; it has no bearing on a sample made with the same seed.

    Returns:
        Rows in the order sliced_w2, w2, energy_distance, mmd_squared, c2st, c2st_boosting, precision, recall, density,
        coverage, then what was registered as a "metric". `w2` takes at most 200 rows of each set, drawn at random; all
        others take every row.

    Raises:
        ValueError: arrays of other shapes, entries that are not finite, real draws of other sizes, fewer than 10 rows,
            or real points that are all equal.

    Example:
        >>> made, real, *others = (motes.make_shape("moons", 100, seed=seed) for seed in range(4))
        >>> rows = motes.compare(made, real, *others)
        >>> [row.metric.name for row in rows[:3]]
        ['sliced_w2', 'w2', 'energy_distance']
    """
    pair, real = paired(a, b, real_a, real_b, seed)
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the threads of these small matrices wait for each other: 7 s, not 20, on busy cores
        both = [metrics_of(one, modes, brief) for one in (pair, real)]
        return [Row(metric, beside) for metric, beside in zip(*both, strict=True)]


def paired(a: ArrayLike, b: ArrayLike, real_a: ArrayLike, real_b: ArrayLike, seed: int) -> tuple[Pair, Pair]:
    """Samples and real points, and two real draws.

    Raises:
        ValueError: as `compare`.
    """
    pair, real = Pair.of(a, b, seed), Pair.of(real_a, real_b, seed)
    sizes = [x.shape for x in (pair.a, pair.b, real.a, real.b)]
    if sizes[:2] != sizes[2:]:
        raise ValueError(
            f"got real draws of {sizes[2]} and {sizes[3]} for points of {sizes[0]} and {sizes[1]}; expected equal "
            "sizes. Draw as many real rows, or compare as many samples."
        )
    return pair, real


SLOW = (
    "energy_distance",
    "mmd_squared",
    "w2",
)  # that a quick evaluation leaves out, beside modes and metrics of one's own


def metrics_of(pair: Pair, modes: Modes | None, brief: bool) -> list[Metric]:
    """Every metric, or, `brief`, those that are quick."""
    return [metric for metric, _ in _metrics(pair, modes, brief)]


def _metrics(pair: Pair, modes: Modes | None, brief: bool) -> Iterator[tuple[Metric, Array | None]]:
    """Each with its values for all permutations, where these are by the way."""
    yield sliced_w2_of(pair), None
    if not brief:
        yield w2_of(pair.one_each), None
        yield from energy_and_mmd_permuted(pair)
    yield c2st_permuted(pair)
    if not brief:
        yield c2st_boosting_of(pair), None
    yield from ((metric, None) for metric in prdc_of(pair))
    if brief:
        return
    if modes is not None:
        by_mode = mode_coverage(pair.a, modes, seed=pair.seed)
        yield from ((by_mode.distance, None), (by_mode.missed, None))
    yield from ((metric, None) for metric in own_metrics_of(pair))


def metrics_permuted(pair: Pair, modes: Modes | None, brief: bool) -> tuple[list[Metric], dict[str, Array]]:
    """Every metric, and by its name the values for all permutations, what was drawn first; of distances the squares.

    Boosted trees have none: they would have to learn anew for each.
    """
    both = list(_metrics(pair, modes, brief))
    permuted = {metric.name: values for metric, values in both if values is not None}
    permuted["sliced_w2"] = sliced_w2_permuted(pair)
    permuted |= dict(zip(Prdc._fields, prdc_permuted(pair), strict=True))
    if not brief:
        permuted["w2"] = w2_permuted(pair)
        if modes is not None:
            permuted |= dict(zip(("mode_distance", "modes_missed"), modes_permuted(pair, modes), strict=True))
        permuted |= own_metrics_permuted(pair)
    return [metric for metric, _ in both], permuted


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
