"""Each column by itself: distances, the share that differs most clearly, moments, quantiles and a picture."""

import numpy as np

from motes.data._series import Mask
from motes.evaluation import _table_verdicts as verdicts
from motes.evaluation._bars import bars_of, moments_of, quantiles_of
from motes.evaluation._families import ALPHA, Adjustment
from motes.evaluation._marginals import distance_by_chance, kolmogorov_smirnov, total_variation, wasserstein_1
from motes.evaluation._results import Array, Metric
from motes.evaluation._shares import Shares
from motes.evaluation._table_results import ColumnResult
from motes.evaluation._verdicts import Verdict
from motes.evaluation._views import View, counted


def columns_of(
    view: View,
    synthetic: Array,
    real: Array,
    shares: Shares,
    hidden: Mask,
    adjust: Adjustment,
    rng: np.random.Generator,
) -> tuple[ColumnResult, ...]:
    """The results of all columns.

    Args:
        view: what the columns are.
        synthetic, real: entries (n, d) and (m, d).
        shares: their contrasts.
        hidden: (d,), whose missing entries are not modelled.
        adjust: for all tests of the table.
        rng: of the simulated distances between two draws.
    """
    return tuple(
        _column(view, j, synthetic[:, j], real[:, j], shares, bool(hidden[j]), adjust, rng)
        for j in range(len(view.names))
    )


def _column(
    view: View,
    j: int,
    synthetic: Array,
    real: Array,
    shares: Shares,
    hidden: bool,
    adjust: Adjustment,
    rng: np.random.Generator,
) -> ColumnResult:
    column, labels, discrete = view.columns[j], view.labels[j], bool(view.discrete[j])
    ours, theirs = (x[~np.isnan(x)] for x in (synthetic, real))
    missing = 1 - len(ours) / len(synthetic), 1 - len(theirs) / len(real)
    distance, reference_value, w1, moments, quantiles, bars = None, None, None, None, None, None
    if len(ours) and len(theirs):
        distance, reference_value = _distance(ours, theirs, len(labels), discrete, rng)
        if not discrete:
            w1 = wasserstein_1(ours, theirs)
            moments = moments_of(ours), moments_of(theirs)
            quantiles = quantiles_of(ours), quantiles_of(theirs)
        bars = bars_of(ours, theirs, labels)
    level = ALPHA / adjust.factor
    contrast = shares.of(j, ("label", "number"))
    if len(ours) == 0 < len(theirs) or len(theirs) == 0 < len(ours):
        verdict = Verdict("large", f"no {'synthetic' if len(theirs) else 'real'} row has a value")
    else:
        beyond = 0.0 if distance is None or reference_value is None else distance - reference_value
        detectable = shares.detectable(j, ("label", "number"), level)
        verdict = verdicts.of_column(contrast, beyond, moments, column.kind, adjust, detectable)
    gaps = shares.of(j, ("missing",))
    missing_verdict = verdicts.not_modelled(missing[1]) if hidden else None
    if gaps is not None:
        missing_verdict = verdicts.of_missing(gaps, adjust, shares.detectable(j, ("missing",), level))
    return ColumnResult(
        column.name, column.kind, discrete, distance, reference_value, w1, moments, quantiles, contrast, missing, gaps,
        verdict, missing_verdict, bars,
    )  # fmt: skip


def _distance(
    ours: Array, theirs: Array, labels: int, discrete: bool, rng: np.random.Generator
) -> tuple[Metric, float]:
    """Total variation of labels, Kolmogorov-Smirnov of numbers; and the mean of that for two draws."""
    n, m = len(ours), len(theirs)
    if discrete:
        counts = [counted(x, labels) for x in (ours, theirs)]
        return total_variation(*counts), distance_by_chance(counts[0] + counts[1], n, m, rng, ordered=False)
    both = np.unique(np.concatenate([ours, theirs]), return_counts=True)[1]
    return kolmogorov_smirnov(ours, theirs), distance_by_chance(both, n, m, rng, ordered=True)
