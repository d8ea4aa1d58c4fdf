"""A metric of points of one's own, beside those of motes: in `compare`, `evaluate` and every report.

It is a function of two sets of points. Its test takes it again for every exchange of rows between the sets, as that of
each metric does (`_point_tests`); its interval is normal, with the deviation that the bootstrap gives (Efron 1979).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from motes.errors import UsageError
from motes.evaluation._pairs import Pair
from motes.evaluation._results import Array, Metric, Z

if TYPE_CHECKING:
    from motes.evaluation._point_tests import Worse

RESAMPLES = 50
STREAM = 100  # of `Pair.rng`, for resamples; the metrics of motes have those below it


@dataclass(frozen=True)
class PointMetric(abc.ABC):
    """A metric of points. Derive a class from it, and register it: `@motes.register("metric", "a_name")`.

    Attributes:
        about: what it measures, in a phrase.
        section: of the evaluation: "distances", "tests", "coverage" or "modes".
        worse: which values speak for a difference: "high", "low" or "both".
        small, large: a difference from the reference value below `small` is small, from `large` on large.
        seen: what its test would have found, with {} for a number.
        words: a difference in words, with {0} for the value and {1} for the reference value.

    Example:
        >>> from dataclasses import dataclass
        >>> from motes.evaluation import PointMetric
        >>> @motes.register("metric", "mean_gap")
        ... @dataclass(frozen=True)
        ... class MeanGap(PointMetric):
        ...     about = "distance of the means, in standard deviations of the data"
        ...     def __call__(self, a, b):
        ...         return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))
        >>> made, real, *others = (motes.make_shape("moons", 100, seed=seed) for seed in range(4))
        >>> row = motes.compare(made + 1.0, real, *others)[-1]
        >>> row.metric.name, row.metric > row.reference
        ('mean_gap', True)
    """

    about: ClassVar[str]
    section: ClassVar[str] = "tests"
    worse: ClassVar[Worse] = "high"
    small: ClassVar[float] = 0.05
    large: ClassVar[float] = 0.2
    seen: ClassVar[str] = "a difference of {}"
    words: ClassVar[str] = "{0:.3g}, where a real draw has {1:.3g}"

    @abc.abstractmethod
    def __call__(self, a: Array, b: Array) -> float:
        """The value for points `a` (n, d) and real points `b` (m, d), each column in standard deviations of `b`.

        Example:
            >>> from motes.evaluation import PointMetric
            >>> class Gap(PointMetric):
            ...     about = "distance of the means"
            ...     def __call__(self, a, b):
            ...         return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))
            >>> Gap()(np.zeros((3, 2)), np.ones((3, 2))).__round__(3)
            1.414
        """


OWN: dict[str, PointMetric] = {}


def own_metrics_of(pair: Pair) -> list[Metric]:
    """Those that are registered, in that order, each with its interval."""
    if not OWN:
        return []
    rng, (a, b) = pair.rng(STREAM), pair.scaled
    resamples = [(rng.integers(len(a), size=len(a)), rng.integers(len(b), size=len(b))) for _ in range(RESAMPLES)]
    found = []
    for name, own in OWN.items():
        value = _value(name, own, a, b)
        half = Z * float(np.std([_value(name, own, a[i], b[j]) for i, j in resamples], ddof=1))
        found.append(Metric(name, value, value - half, value + half))
    return found


def own_metrics_permuted(pair: Pair) -> dict[str, Array]:
    """Those that are registered, of all permutations (1 + p,), what was drawn first."""
    x, first = np.concatenate(pair.scaled), pair.permutations.rows
    return {name: np.array([_value(name, own, x[mine], x[~mine]) for mine in first]) for name, own in OWN.items()}


def _value(name: str, own: PointMetric, a: Array, b: Array) -> float:
    value = own(a, b)
    if not np.ndim(value) == 0 or not np.isfinite(value):
        raise UsageError(f"got {value} from the metric '{name}'; expected a finite number. Correct its __call__.")
    return float(value)
