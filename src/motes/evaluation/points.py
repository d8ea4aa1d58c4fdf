"""The evaluation of points: metrics, tests and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from motes.data.readings import default_columns
from motes.encoding import Encoded
from motes.evaluation.losses import ExcessLoss
from motes.evaluation.marginals import Histogram, bars_of, quantiles_of
from motes.evaluation.metrics import Measure, metrics_for, negative_log_likelihood, paired
from motes.evaluation.pairs import Modes, Pair
from motes.evaluation.records import Entry, Evaluation, entries_text
from motes.evaluation.results import (
    ALPHA,
    NO_DIFFERENCE,
    POWER,
    Adjustment,
    Array,
    Metric,
    Row,
    Scale,
    Sides,
    Verdict,
    Worse,
    Z,
    graded,
    p_of,
    standard_error,
    weighted_holm,
    welch,
)

# --- Permutation tests of all metrics of points, as one family ------------------------------------------------------
#
#     T_k  metric k of two sets of rows, computed for every permutation of rows between them (`Permutations`)
#     z_k  normal score of the rank of T_k among the permutations; the largest adds its distance from the second, in
#          standard deviations
#     p_k  share of permutations in which the largest z of all metrics is at least z_k (Westfall & Young 1993, ch. 2)
#
# If samples are real draws, every permutation is as likely as the observed split. So some p_k is below 0.05 in at most
# 5 of 100 evaluations, whatever the distribution and however heavy its tails. The test uses no interval, no Gaussian
# assumption and no bound over metrics; strongly correlated metrics cost almost nothing. Boosted trees, which would need
# a new fit for each permutation, and measures of the model have their own tests; Holm's method joins them to the
# family.
#
# Ranks keep a metric with heavy tails from dominating the others, and detect extremes even if few rows cause them. A
# test detects a difference `detectable` in about 80 of 100 cases: it shifts T by the distance from its mean to the edge
# of the family, plus 0.84 standard deviations. A square is approximately a sum of m chi-squared variables, with
# skewness (8 / m)^(1/2); under a difference, its root has the noise of one of them, (var T / 2 m)^(1/4).


WEIGHTS = {"exchanges": 0.8, "c2st_boosting": 0.1, "negative_log_likelihood": 0.05, "excess_loss": 0.05}
SOLVED = 0.001  # nats: upper bound of the solver's error in log p


class Exchanged(NamedTuple):
    """A metric of all permutations.

    Attributes:
        values: (1 + p,), the observed one first; for a distance, its square.
        worse: which values indicate a difference.
        scale: "root" if the values are squares of the metric, "square" if the metric is a square itself.
        origin: the value if there is no difference; `detectable` counts from it.
    """

    values: Array
    worse: Worse
    scale: Scale = "plain"
    origin: float = 0.0


class Tested(NamedTuple):
    """The test of one metric.

    Attributes:
        p_value: adjusted for all metrics of the evaluation.
        detectable: the value of a distance or an accuracy, or the difference of a share, that the test detects in 80 of
            100 cases; None if unknown.
        low: whether the value is below the range of chance.
        chance: ends of the range without a detected difference, relative to `around`: the observed value, its reference
            value, or the square of the reference value.
    """

    p_value: float
    detectable: float | None
    low: bool = False
    chance: tuple[float, float] = (-np.inf, np.inf)
    around: Literal["value", "reference", "square"] = "value"

    def range(self, value: float, reference: float) -> tuple[float, float]:
        """Return the ends of the range of values for which no difference is detected."""
        low, high = self.chance
        if self.around == "square":
            return low, float(np.sqrt(max(reference**2 + high, 0.0)))
        centre = value if self.around == "value" else reference
        return centre + low, centre + high


class Single(NamedTuple):
    """A test outside the family: its p-value, the value `found`, its standard `error`, and `origin`, no difference."""

    p_value: float
    error: float
    origin: float
    found: float


@dataclass(frozen=True)
class PointFamily:
    """The permutations of all metrics.

    Attributes:
        exchanged: the permuted values of each metric.
        z: (1 + p,) for each metric, one for each permutation, the observed one first.
        largest: (1 + p,), the largest z of each permutation.
        left_out: number of metrics of the family that were not computed, so that a quick evaluation detects nothing
            that the full one would not. Each is assumed to be as extreme at most as often as a computed one.
    """

    exchanged: Mapping[str, Exchanged]
    z: Mapping[str, Array]
    largest: Array
    left_out: int = 0

    @classmethod
    def of(cls, exchanged: Mapping[str, Exchanged], left_out: int = 0) -> PointFamily:
        """Build the family of at least one metric."""
        z = {name: _scores(_orient(one)) for name, one in exchanged.items()}
        return cls(exchanged, z, np.stack(list(z.values())).max(0), left_out)

    @property
    def p_value(self) -> float:
        """The smallest p-value of all metrics."""
        return min(self.p_of(name) for name in self.z)

    def p_of(self, name: str) -> float:
        """Return the p-value of one metric, adjusted for the others."""
        return min(float(self._p_values(name, self.z[name][:1])[0]), 1.0)

    def _p_values(self, name: str, z: Array) -> Array:
        """Return a bound on P(some metric is as extreme) for each z (k,) of one metric; the observed split counts."""
        far_out = lambda values: (len(values) - np.searchsorted(np.sort(values[1:]), z - 1e-9)) / len(values)
        return np.asarray(far_out(self.largest) + self.left_out * (far_out(self.z[name]) if self.left_out else 0))

    def tested(self, name: str, adjust: Adjustment) -> Tested:
        """Return the test of one metric, adjusted for all tests of the evaluation."""
        one = self.exchanged[name]
        places = np.sort(np.append(self.largest[1:], self.z[name][1:]))
        edge = float(places[np.flatnonzero(self._p_values(name, places) * adjust.factor >= ALPHA)[-1]])
        low = bool(one.values[0] < one.values.mean())
        around: Literal["reference", "square"] = "square" if one.scale == "root" else "reference"
        return Tested(adjust(self.p_of(name)), _compute_detectable(one, edge), low, _compute_chance(one, edge), around)


def _compute_detectable(one: Exchanged, edge: float) -> float | None:
    """Return the difference that a test with critical value `edge` of z detects in 80 of 100 cases."""
    if _is_constant(one.values):
        return None
    far = _orient(one)
    asked = _value_of(far, edge)
    if one.scale == "plain":
        middle = 0.0 if one.worse == "both" else far.mean()
        return float(one.origin + asked - middle + ndtri(POWER) * one.values.std())
    variables = max(8 / max(_skewness(one.values) ** 2, 1e-9), 1.0)
    noise = ndtri(POWER) ** 2 * one.values.std() / np.sqrt(2 * variables)
    distance = np.sqrt(max(asked**3 - one.values.mean(), 0.0) + noise) + np.sqrt(noise)
    return float(distance if one.scale == "root" else distance**2)


def _compute_chance(one: Exchanged, edge: float) -> tuple[float, float]:
    """Return the ends of the values with a z of at most `edge`, relative to the mean of the permutations."""
    centre, asked = float(one.values.mean()), _value_of(_orient(one), edge)
    if one.scale != "plain":
        return -np.inf, asked**3 - centre
    if one.worse == "both":
        return -asked, asked
    return (-np.inf, asked - centre) if one.worse == "high" else (-asked - centre, np.inf)


def _skewness(values: Array) -> float:
    away = (values - values.mean()) / values.std()
    return float(np.mean(away**3))


def _orient(one: Exchanged) -> Array:
    """Return values oriented so that large ones indicate a difference; cube roots for squares."""
    values = one.values if one.scale == "plain" else np.cbrt(one.values)
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


def tests_of(family: PointFamily, singles: Mapping[str, Single]) -> dict[str, Tested]:
    """Return all tests of an evaluation by metric, with a false alarm in at most 5 of 100 evaluations."""
    p_values = {"exchanges": family.p_value} | {name: one.p_value for name, one in singles.items()}
    adjust = weighted_holm(
        p_values | (dict.fromkeys(WEIGHTS.keys() - p_values, 1.0) if family.left_out else {}), WEIGHTS
    )
    found = {name: family.tested(name, adjust["exchanges"]) for name in family.z}
    for name, one in singles.items():
        detectable = one.origin + adjust[name].detectable * one.error if one.error else None
        chance = -np.inf, one.origin + adjust[name].sigmas * one.error - one.found
        found[name] = Tested(adjust[name](one.p_value), detectable, chance=chance)
    return found


def of_trees(accuracy: Metric, rows: int) -> Single:
    """Return the test of a classifier's accuracy on this number of rows."""
    return Single(p_of(accuracy), float(0.5 / np.sqrt(rows)), 0.5, float(accuracy))


def of_likelihoods(ours: Array, best: Array, *, paired: bool) -> Single:
    """Return the test of log p by the model, (m,), against a reference, (k,).

    If `paired`, `best` is log p of the same rows by the exact distribution, and a loss below `SOLVED` is attributed to
    the solver; otherwise it is log p of other rows.
    """
    from scipy.stats import t

    if not paired:
        errors, gap = (standard_error(ours), standard_error(best)), float(best.mean() - ours.mean())
        return Single(welch(gap, errors, (len(ours), len(best)))[1], float(np.hypot(*errors)), 0.0, gap)
    lost = best - ours - SOLVED
    error = standard_error(lost)
    if error == 0:
        return Single(float(lost.mean() <= 0), 0.0, SOLVED, float(lost.mean()) + SOLVED)
    return Single(float(t.sf(lost.mean() / error, len(lost) - 1)), error, SOLVED, float(lost.mean()) + SOLVED)


def of_excess(nats: float, error: float, most: float) -> Single:
    """Return the test whether an excess loss with this standard error is above `most`."""
    if error == 0:
        return Single(float(nats <= most), 0.0, most, nats)
    return Single(float(ndtr(-(nats - most) / error)), error, most, nats)


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
            return Verdict("good", NO_DIFFERENCE, p_value)
        far = measure.scale == "root" and value - reference > 2 * tested.detectable
        seen = measure.seen.format(f"{tested.detectable:.{measure.digits}g}")
        return Verdict("good", NO_DIFFERENCE + FEW * far, p_value, tested.detectable, seen)
    if tested.low and measure.below:
        return Verdict("moderate", measure.below, p_value, tested.detectable)
    severity = graded(measure.size(value, reference, columns), (measure.small, measure.large))
    return Verdict(severity, measure.in_words(value, reference), p_value, tested.detectable)


# --- The evaluation: every metric with its reference value ---------------------------------------------------------
#
# found = evaluate_points(samples, reference, other)
# print(found)


@dataclass(frozen=True)
class PointColumn(Encoded):
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


@dataclass(frozen=True)
class PointDetails(Encoded):
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

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """Return the numbers as blocks of text, with a line for each entry of the record."""
        return [entries_text(entries)]


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
    entries = _make_entries(*paired(ours, theirs, other, theirs, seed, modes), fit, brief)
    width = ours.shape[1]
    plane = width == 2
    details = PointDetails(
        tuple(
            _summarise_column(name, a, b)
            for name, a, b in zip(columns or default_columns(width), ours.T, theirs.T, strict=True)
        ),
        ours if plane else None,
        theirs if plane else None,
        fit.excess,
    )
    sizes = {"synthetic": len(ours), "real": len(theirs)}
    return Evaluation("", "real points", sizes, entries, details, (), seed, brief)


def _make_entries(pair: Pair, real: Pair, fit: Fit, brief: bool) -> tuple[Entry, ...]:
    """Return every metric with its reference value and its verdict."""
    from threadpoolctl import threadpool_limits

    chosen = metrics_for(pair, brief)
    with threadpool_limits(1):  # the threads of these small matrices wait for each other
        rows: dict[Measure, Row] = {one: Row(one.measured(pair), one.measured(real)) for one in chosen}
        exchanged = {
            one.name: Exchanged(one.exchanged(pair), one.worse, one.scale, one.origin)
            for one in chosen
            if not one.alone
        }
    singles = {one.name: of_trees(rows[one].metric, min(len(pair.a), len(pair.b))) for one in chosen if one.alone}
    if fit.log_prob is not None:
        ours, best = (np.asarray(log_prob, np.float64) for log_prob in fit.log_prob)
        both = Row(negative_log_likelihood(ours), negative_log_likelihood(best))
        rows[OF_THE_MODEL["negative_log_likelihood"]] = both
        singles["negative_log_likelihood"] = of_likelihoods(ours, best, paired=fit.paired)
    if (excess := fit.excess) is not None:
        half = Z * excess.nats_error
        value = Metric("excess_loss", excess.nats, excess.nats - half, excess.nats + half)
        rows[OF_THE_MODEL["excess_loss"]] = Row(value, Metric("excess_loss", 0.0, 0.0, 0.0))
        singles["excess_loss"] = of_excess(excess.nats, excess.nats_error, UNLEARNED)
    left_out = sum(not one.alone for one in metrics_for(pair)) - len(exchanged)
    tested = tests_of(PointFamily.of(exchanged, left_out), singles)
    entries = []
    for measure, row in rows.items():
        test, (value, reference) = tested[measure.name], (row.metric, row.reference)
        judgement, chance = verdict(measure, row, test, pair.a.shape[1]), test.range(value, reference)
        entries.append(Entry.of(measure.section, measure.name, measure.about, judgement, value, reference, chance))
    return tuple(entries)


def _summarise_column(name: str, synthetic: Array, real: Array) -> PointColumn:
    return PointColumn(name, Sides(quantiles_of(synthetic), quantiles_of(real)), bars_of(synthetic, real, ()))
