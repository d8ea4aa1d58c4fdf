"""The evaluation of points: metrics, tests and verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from motes.data.readings import default_columns
from motes.encoding import JsonRecord
from motes.evaluation import results
from motes.evaluation.losses import ExcessLoss
from motes.evaluation.marginals import Histogram, bars_of, quantiles_of
from motes.evaluation.metrics import Measure, PointMetric, metrics_for, negative_log_likelihood, paired
from motes.evaluation.pairs import Modes, Pair
from motes.evaluation.results import ALPHA, Adjustment, Array, Entry, Evaluation, Metric, Row, Sides, Verdict

# --- Permutation tests of all metrics of points, as families --------------------------------------------------------
#
#     T_k  metric k of two sets of rows, computed for every permutation of rows between them (`Permutations`)
#     z_k  normal score of the rank of T_k among the permutations; the largest adds its distance from the second, in
#          standard deviations
#     p_k  share of permutations in which the largest z of all metrics is at least z_k (`Family`)
#
# If samples are real draws, every permutation is as likely as the observed split. So some p_k is below 0.05 in at most
# 5 of 100 evaluations, whatever the distribution and however heavy its tails. The test uses no interval, no Gaussian
# assumption and no bound over metrics; strongly correlated metrics cost almost nothing. The metrics of a quick
# evaluation are a family of their own, so that it detects nothing that the full one would not. Boosted trees, which
# would need a new fit for each permutation, and measures of the model have their own tests. Holm's method joins
# families and tests.
#
# Ranks keep a metric with heavy tails from dominating the others, and detect extremes even if few rows cause them. A
# test detects a difference `detectable` in about 80 of 100 cases: it shifts T by the distance from its mean to the edge
# of the family, plus 0.84 standard deviations. A square is approximately a sum of m chi-squared variables, with
# skewness (8 / m)^(1/2); under a difference, its root has the noise of one of them, (var T / 2 m)^(1/4).


WEIGHTS = {"quick": 0.5, "others": 0.3, "c2st_boosting": 0.1, "negative_log_likelihood": 0.05, "excess_loss": 0.05}
SOLVED = 0.001  # nats: upper bound of the solver's error in log p


class Tested(NamedTuple):
    """The test of one metric.

    Attributes:
        p_value: adjusted for all metrics of the evaluation.
        detectable: the value of a distance or an accuracy, or the difference of a share, that the test detects in 80 of
            100 cases; None if unknown.
        low: whether the value is below the range of chance.
        chance: ends of the range of values for which no difference is detected.
    """

    p_value: float
    detectable: float | None
    low: bool = False
    chance: tuple[float, float] = (-np.inf, np.inf)


class Single(NamedTuple):
    """A test without permutations: its p-value, the value `found`, its standard `error`, `origin` for no difference."""

    p_value: float
    error: float
    origin: float
    found: float

    @classmethod
    def above(cls, found: float, error: float, origin: float, degrees: float = np.inf) -> Single:
        """Return Student's test whether a value with this standard error is above `origin`."""
        from scipy.stats import t

        p_value = t.sf((found - origin) / error, degrees) if error else found <= origin
        return cls(float(p_value), error, origin, found)

    def tested(self, value: float, adjust: Adjustment) -> Tested:
        """Return the test of a metric with this value, adjusted for all tests of the evaluation."""
        detectable = self.origin + adjust.detectable * self.error if self.error else None
        edge = self.origin + adjust.sigmas * self.error
        return Tested(adjust(self.p_value), detectable, chance=(-np.inf, value + edge - self.found))


def compute_tests(
    rows: Mapping[Measure, Row], permuted: Mapping[PointMetric, Array], singles: Mapping[str, Single], brief: bool
) -> dict[Measure, Tested]:
    """Return all tests of an evaluation, with a false alarm in at most 5 of 100 evaluations.

    Args:
        rows: each metric and its reference value.
        permuted: metric -> values of all permutations (1 + p,), the observed one first; squares unless `scale` is
            "plain".
        singles: name -> test of each other metric.
        brief: whether tests that were not computed count nevertheless.
    """
    groups = {"quick": [one for one in permuted if one.quick], "others": [one for one in permuted if not one.quick]}
    p_values = (dict.fromkeys(WEIGHTS, 1.0) if brief else {}) | {name: one.p_value for name, one in singles.items()}
    families: dict[str, results.Family] = {}
    own: dict[Measure, float] = {}
    for name, metrics in groups.items():
        if metrics:
            scores = np.stack([_scores(_orient(one, permuted[one])) for one in metrics], axis=1)  # (1 + p, metrics)
            families[name] = results.Family.of(scores[1:])
            own |= zip(metrics, families[name].p_values(scores[0]).tolist(), strict=True)
            p_values[name] = min(own[one] for one in metrics)
    adjust = results.weighted_holm(p_values, WEIGHTS)
    found = {
        one: singles[one.name].tested(row.metric, adjust[one.name]) for one, row in rows.items() if one.name in singles
    }
    for name, family in families.items():
        edge = family.critical(ALPHA / adjust[name].factor)
        for one in groups[name]:
            p_value, reference = adjust[name](own[one]), float(rows[one].reference)
            found[one] = _test_permuted(one, permuted[one], edge, p_value, reference)
    return found


def _test_permuted(one: Measure, values: Array, edge: float, p_value: float, reference: float) -> Tested:
    """Return the test of a metric by its permuted values (1 + p,), for the critical value `edge` of their scores."""
    from scipy.stats import skew

    if _is_constant(values):
        return Tested(p_value, None, chance=(-np.inf, reference))
    far = _orient(one, values)
    mean, spread, asked = float(values.mean()), float(values.std()), _value_of(far, edge)
    low, power = bool(values[0] < mean), float(ndtri(results.POWER))
    if one.scale == "plain":
        detectable = one.origin + asked - (0.0 if one.worse == "both" else far.mean()) + power * spread
        ends = {"high": (-np.inf, asked - mean), "low": (-asked - mean, np.inf), "both": (-asked, asked)}[one.worse]
        chance = reference + ends[0], reference + ends[1]
    else:
        variables = max(8 / max(skew(values) ** 2, 1e-9), 1.0)
        noise = power**2 * spread / np.sqrt(2 * variables)
        distance = np.sqrt(max(asked**3 - mean, 0.0) + noise) + np.sqrt(noise)
        rooted = one.scale == "root"
        detectable = distance if rooted else distance**2
        above = asked**3 - mean
        chance = -np.inf, float(np.sqrt(max(reference**2 + above, 0.0))) if rooted else reference + above
    return Tested(p_value, float(detectable), low, chance)


def _orient(one: Measure, values: Array) -> Array:
    """Return values oriented so that large ones indicate a difference; cube roots for squares."""
    values = values if one.scale == "plain" else np.cbrt(values)
    return {"high": values, "low": -values, "both": np.abs(values - values.mean())}[one.worse]


def _value_of(far: Array, score: float) -> float:
    """Return the value at which the first of `far` would have this score among the others; see `_scores`."""
    others = np.sort(far[1:])
    places = ndtri((np.arange(len(others)) + 1.5) / len(far))  # scores of values just above each of them
    beyond = max(score - float(places[-1]), 0.0)
    return float(np.interp(score, places, others) + beyond * far.std())


def _is_constant(values: Array) -> bool:
    """Return whether all values are equal up to rounding."""
    return bool(values.std() <= 1e-12 * np.abs(values).max())


def _scores(values: Array) -> Array:
    """Return the normal score of each value's rank; the largest adds its distance from the second."""
    from scipy.stats import rankdata

    if _is_constant(values):
        return np.zeros(len(values))
    scores = ndtri((rankdata(values) - 0.5) / len(values))
    second, first = np.argpartition(values, -2)[-2:]
    scores[first] += (values[first] - values[second]) / values.std()
    return np.asarray(scores)


def of_likelihoods(ours: Array, best: Array, *, paired: bool) -> Single:
    """Return the test of log p by the model, (m,), against a reference, (k,).

    If `paired`, `best` is log p of the same rows by the exact distribution, and a loss below `SOLVED` is attributed to
    the solver; otherwise it is log p of other rows.
    """
    gap = float(best.mean() - ours.mean())
    if paired:
        return Single.above(gap, results.standard_error(best - ours), SOLVED, len(ours) - 1)
    errors = results.standard_error(ours), results.standard_error(best)
    return Single(results.welch(gap, errors, (len(ours), len(best)))[1], float(np.hypot(*errors)), 0.0, gap)


# --- Verdicts on metrics --------------------------------------------------------------------------------------------
#
# A difference is reported if its test (see above) detects it.


UNLEARNED = 0.2  # nats per row: an excess loss significantly above it is a difference
FEW = "; the value depends on so few rows that it could be chance"


class NegativeLogLikelihood(Measure):
    name = "negative_log_likelihood"
    section = "fit"
    about = "mean of -log p of real points, in nats per row"
    small, large = 0.05, 0.25
    seen = "a difference of {} nats per row"

    def in_words(self, value: float, reference: float) -> str:
        return f"the negative log-likelihood is {value - reference:.2g} nats per row above its reference value"

    def size(self, value: float, reference: float, columns: int) -> float:
        return abs(value - reference) / columns


class Excess(NegativeLogLikelihood):
    name = "excess_loss"
    about = "bound on the network's loss above its theoretical minimum, in nats per row; above 0.2 is a difference"
    seen = "an excess of {} nats per row"

    def in_words(self, value: float, reference: float) -> str:
        return f"the network's loss exceeds its theoretical minimum by at most {value:.2g} nats per row"


OF_THE_MODEL = {one.name: one() for one in (NegativeLogLikelihood, Excess)}


def verdict(measure: Measure, row: Row, tested: Tested, columns: int) -> Verdict:
    """Return `NO_DIFFERENCE` with what the test could detect, or a phrase for the difference from a real draw.

    Args:
        measure: the measure.
        row: its value and its reference value.
        tested: its test.
        columns: number of columns of the points; a difference in nats is divided by it.
    """
    value, reference, p_value = row.metric, row.reference, tested.p_value
    if p_value >= ALPHA:
        if tested.detectable is None or not measure.seen:
            return Verdict("good", results.NO_DIFFERENCE, p_value)
        far = measure.scale == "root" and value - reference > 2 * tested.detectable
        seen = measure.seen.format(f"{tested.detectable:.{measure.digits}g}")
        return Verdict("good", results.NO_DIFFERENCE + FEW * far, p_value, tested.detectable, seen)
    if tested.low and measure.below:
        return Verdict("moderate", measure.below, p_value, tested.detectable)
    severity = results.graded(measure.size(value, reference, columns), (measure.small, measure.large))
    return Verdict(severity, measure.in_words(value, reference), p_value, tested.detectable)


# --- The evaluation: every metric with its reference value ---------------------------------------------------------
#
# found = evaluate_points(samples, reference, other)
# print(found)


@dataclass(frozen=True)
class PointColumn(JsonRecord):
    """One column of points.

    Attributes:
        name: name of the column.
        quantiles: minimum, quartiles and maximum of the synthetic and of the real numbers.
        bars: histograms of both.
    """

    name: str
    quantiles: Sides
    bars: Histogram

    json_names = ("name", "quantiles")
    kind = "real"  # its kind if it were a column of a table


@dataclass(frozen=True)
class PointDetails(results.Details):
    """Data for the charts of points.

    Attributes:
        columns: the columns.
        synthetic, real: points of the plane, (n, 2) and (m, 2); None unless there are two columns.
        excess: the network's loss above its theoretical minimum at each noise level; None if unknown.
    """

    columns: tuple[PointColumn, ...]
    synthetic: Array | None
    real: Array | None
    excess: ExcessLoss | None

    json_names = ("columns", "excess")
    kind = "points"


class Fit(NamedTuple):
    """The fit of a model to real points.

    Attributes:
        log_prob: log p in nats of real points by the model, (m,), and a reference, (k,): log p by the exact
            distribution, or if that is unknown, of other real points by the model. None if unknown.
        excess: the network's loss above its theoretical minimum; None if unknown.
        paired: whether both of `log_prob` belong to the same points.
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
        samples: synthetic points of a model, (n, d).
        reference: real points to compare them with, (n, d), at least 10.
        other: another real draw, (n, d), for the reference values.
        columns: names; default: x and y, or x0, x1, ...
        modes: the modes of the distribution, if known.
        fit: log p of real points, and the loss of the network, if known.
        brief: compute only the sliced distance, the nearest-neighbour classifier, precision, recall, density and
            coverage, which takes two seconds for 10,000 rows.
        seed: seed of the metrics' own randomness.

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
    entries = tuple(_make_entries(*paired(ours, theirs, other, theirs, seed, modes), fit, brief))
    width = ours.shape[1]
    named = tuple(
        PointColumn(name, Sides(quantiles_of(a), quantiles_of(b)), bars_of(a, b, ()))
        for name, a, b in zip(columns or default_columns(width), ours.T, theirs.T, strict=True)
    )
    synthetic, real = (ours, theirs) if width == 2 else (None, None)
    details = PointDetails(named, synthetic, real, fit.excess)
    sizes = {"synthetic": len(ours), "real": len(theirs)}
    return Evaluation("", "real points", sizes, entries, details, (), seed, brief)


def _make_entries(pair: Pair, real: Pair, fit: Fit, brief: bool) -> Iterator[Entry]:
    """Return every metric with its reference value and its verdict."""
    from threadpoolctl import threadpool_limits

    chosen = metrics_for(pair, brief)
    with threadpool_limits(1):  # the threads of these small matrices wait for each other
        rows: dict[Measure, Row] = {one: Row(one.measured(pair), one.measured(real)) for one in chosen}
        permuted = {one: one.exchanged(pair) for one in chosen if not one.alone}
    error = float(0.5 / np.sqrt(min(len(pair.a), len(pair.b))))  # of an accuracy
    alone = {one.name: rows[one].metric for one in chosen if one.alone}
    singles = {name: Single(results.p_of(found), error, 0.5, found) for name, found in alone.items()}
    if fit.log_prob is not None:
        ours, best = (np.asarray(log_prob, np.float64) for log_prob in fit.log_prob)
        both = Row(negative_log_likelihood(ours), negative_log_likelihood(best))
        rows[OF_THE_MODEL["negative_log_likelihood"]] = both
        singles["negative_log_likelihood"] = of_likelihoods(ours, best, paired=fit.paired)
    if (excess := fit.excess) is not None:
        value = results.around("excess_loss", excess.nats, results.Z * excess.nats_error)
        rows[OF_THE_MODEL["excess_loss"]] = Row(value, Metric("excess_loss", 0.0, 0.0, 0.0))
        singles["excess_loss"] = Single.above(excess.nats, excess.nats_error, UNLEARNED)
    tested = compute_tests(rows, permuted, singles, brief)
    for measure, row in rows.items():
        judgement = verdict(measure, row, tested[measure], pair.a.shape[1])
        names, values = (measure.section, measure.name, measure.about), (row.metric, row.reference)
        yield Entry(*names, judgement, *values, tested[measure].chance)
