"""Do samples resemble real points? Every metric beside its reference value, that of two real draws.

found = evaluate_points(samples, reference, other)
print(found)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from motes.data._text_lines import default_columns
from motes.evaluation._bars import Bars, bars_of, quantiles_of
from motes.evaluation._entries import Entry, entries_text
from motes.evaluation._excess import ExcessLoss
from motes.evaluation._metrics import SLOW, metrics_of, metrics_permuted, negative_log_likelihood, paired
from motes.evaluation._modes import Modes
from motes.evaluation._own_metrics import OWN
from motes.evaluation._pairs import Pair
from motes.evaluation._point_tests import (
    Exchanged,
    Family,
    Single,
    Tested,
    of_excess,
    of_likelihoods,
    of_trees,
    tests_of,
)
from motes.evaluation._point_verdicts import UNLEARNED, measure_of, verdict
from motes.evaluation._record import Evaluation
from motes.evaluation._results import Array, Metric, Row, Z, optional


@dataclass(frozen=True)
class PointColumn:
    """One column of points.

    Attributes:
        name: of the column.
        quantiles: minimum, quartiles and maximum of synthetic and of real numbers.
        bars: the histograms of both.
    """

    name: str
    quantiles: tuple[tuple[float, ...], tuple[float, ...]]
    bars: Bars

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        ours, theirs = self.quantiles
        return {"name": self.name, "quantiles": {"synthetic": list(ours), "real": list(theirs)}}


@dataclass(frozen=True)
class PointDetails:
    """What charts of points need.

    Attributes:
        columns: each by itself.
        synthetic, real: points of the plane, (n, 2) and (m, 2); None where there are other than two columns.
        excess: the network's loss above the irreducible one at each noise level; None where that is unknown.
    """

    columns: tuple[PointColumn, ...]
    synthetic: Array | None
    real: Array | None
    excess: ExcessLoss | None

    @property
    def kind(self) -> Literal["points"]:
        """Of the model."""
        return "points"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"columns": [column.to_dict() for column in self.columns], "excess": optional(self.excess)}

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """The numbers as blocks of text: a line for each of the entries of the record."""
        return [entries_text(entries)]


class Fit(NamedTuple):
    """How well a model fits real points.

    Attributes:
        log_prob: log p in nats of real points, (m,), by the model, and (k,) that of real points by the exact
            distribution, or where that is unknown of other real points by the model; None: unknown.
        excess: what the network's loss has above the irreducible one; None: unknown.
        paired: both of `log_prob` are those of the same points.
    """

    log_prob: tuple[ArrayLike, ArrayLike] | None = None
    excess: ExcessLoss | None = None
    paired: bool = False


def evaluate_points(
    samples: ArrayLike,
    reference: ArrayLike,
    other: ArrayLike,
    *,
    columns: Sequence[str] = (),
    modes: Modes | None = None,
    fit: Fit = Fit(),
    brief: bool = False,
    seed: int = 0,
) -> Evaluation[PointDetails]:
    """Compare samples with real points.

    Args:
        samples: of a model, (n, d).
        reference: the real points that they are compared with, (n, d), at least 10.
        other: another real draw, (n, d), for the reference values.
        columns: names; x and y, or x0, x1, ..., if left out.
        modes: where they are, if that is known.
        fit: log p of real points, and the loss of the network, where they are known.
        brief: the sliced distance, the nearest-neighbour classifier, precision, recall, density and coverage alone,
            which take two seconds for 10,000 rows.
        seed: of the metrics' own randomness.

    Raises:
        ValueError: arrays of other shapes, entries that are not finite, fewer than 10 rows, or real points that are all
            equal.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> draws = [motes.make_shape("moons", 200, seed=seed) for seed in range(3)]
        >>> evaluate_points(*draws).headline
        'No difference between synthetic and real rows was found.'
    """
    ours, theirs = np.asarray(samples, np.float64), np.asarray(reference, np.float64)
    rows, tested = _tested(*paired(ours, theirs, other, theirs, seed), modes, fit, brief)
    width = ours.shape[1]
    plane = width == 2
    details = PointDetails(
        tuple(
            _column(name, a, b) for name, a, b in zip(columns or default_columns(width), ours.T, theirs.T, strict=True)
        ),
        ours if plane else None,
        theirs if plane else None,
        fit.excess,
    )
    sizes = {"synthetic": len(ours), "real": len(theirs)}
    entries = tuple(_entry(row, tested[row.metric.name], width) for row in rows)
    return Evaluation("", "real points", sizes, entries, details, (), seed, brief)


def _tested(pair: Pair, real: Pair, modes: Modes | None, fit: Fit, brief: bool) -> tuple[list[Row], dict[str, Tested]]:
    """Every metric beside its reference value, and the test of each by its name."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the threads of these small matrices wait for each other
        metrics, permuted = metrics_permuted(pair, modes, brief)
        rows = [Row(*both) for both in zip(metrics, metrics_of(real, modes, brief), strict=True)]
    exchanged = {}
    for name, values in permuted.items():
        one = measure_of(name)
        exchanged[name] = Exchanged(values, one.worse, one.scale, one.origin)
    singles: dict[str, Single] = {}
    for metric in metrics:
        if metric.name not in exchanged:
            singles[metric.name] = of_trees(metric, min(len(pair.a), len(pair.b)))
    if fit.log_prob is not None:
        ours, best = (np.asarray(log_prob, np.float64) for log_prob in fit.log_prob)
        rows.append(Row(negative_log_likelihood(ours), negative_log_likelihood(best)))
        singles["negative_log_likelihood"] = of_likelihoods(ours, best, paired=fit.paired)
    if (excess := fit.excess) is not None:
        half = Z * excess.nats_error
        value = Metric("excess_loss", excess.nats, excess.nats - half, excess.nats + half)
        rows.append(Row(value, Metric("excess_loss", 0.0, 0.0, 0.0)))
        singles["excess_loss"] = of_excess(excess.nats, excess.nats_error, UNLEARNED)
    left_out = len(SLOW) + 2 * (modes is not None) + len(OWN) if brief else 0
    return rows, tests_of(Family.of(exchanged, left_out), singles)


def _entry(row: Row, tested: Tested, width: int) -> Entry:
    measure, said = measure_of(row.metric.name), verdict(row, tested, width)
    chance = tested.range(row.metric, row.reference)
    return Entry.of(measure.section, row.metric.name, measure.about, said, row.metric, row.reference, chance)


def _column(name: str, synthetic: Array, real: Array) -> PointColumn:
    return PointColumn(name, (quantiles_of(synthetic), quantiles_of(real)), bars_of(synthetic, real, ()))
