"""The evaluation of points: metrics, tests and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri

from motes.data.readings import default_columns
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
    Verdict,
    Worse,
    Z,
    graded,
    optional,
    p_of,
    standard_error,
    weighted_holm,
    welch,
)

# --- Is a metric of points further from that of two real draws than chance would have it? One family of tests -------
#
#     T_k  metric k of two sets of rows, taken again for every exchange of rows between them (`Permutations`)
#     z_k  normal score of the rank of T_k among the exchanges; of the first in rank more, the deviations by which it is
#          beyond the second
#     p_k  share of the exchanges in which the largest z of all metrics is at least z_k (Westfall & Young 1993, ch. 2)
#
# If samples are real draws, every exchange is as likely as what was drawn. So some p_k is below 0.05 in at most 5 of
# 100 evaluations, whatever the distribution and however heavy its tails. No interval, no normal distribution and no
# bound over metrics is used; metrics that say nearly the same cost nearly nothing. Boosted trees, which would have to
# learn anew for each exchange, and what is known of the model have tests of their own; Holm's method joins them to the
# family.
#
# Ranks keep a metric with heavy tails from drowning the others, and find what is most extreme even where few rows say
# so. A test finds a difference `detectable` in about 80 of 100 cases: one that moves T by as much as lies between its
# mean and the edge of the family, and 0.84 deviations beyond it. A square is about a sum of m chi-squared variables,
# whose skewness is (8 / m)^(1/2); the noise of its root under a difference is that of one of them, (var T / 2 m)^(1/4).


WEIGHTS = {"exchanges": 0.8, "c2st_boosting": 0.1, "negative_log_likelihood": 0.05, "excess_loss": 0.05}
SOLVED = 0.001  # nats: the error of a log p that an equation was solved for is below it


class Exchanged(NamedTuple):
    """A metric of all exchanges.

    Attributes:
        values: (1 + p,), what was drawn first; of a distance its square.
        worse: which values speak for a difference.
        scale: "root" where the values are squares of the metric, "square" where the metric is a square itself.
        origin: where there is no difference, of what `detectable` is to be counted from.
    """

    values: Array
    worse: Worse
    scale: Scale = "plain"
    origin: float = 0.0


class Tested(NamedTuple):
    """The test of one metric.

    Attributes:
        p_value: adjusted for all metrics of the evaluation.
        detectable: the value of a distance or an accuracy, or the difference of a share, that is found in 80 of 100
            cases; None where that is unknown.
        low: the value is below what chance gives.
        chance: the ends of the values for which no difference is found, counted from what `around` says: the value that
            was found, its reference value, or the square of that, where they are squares.
    """

    p_value: float
    detectable: float | None
    low: bool = False
    chance: tuple[float, float] = (-np.inf, np.inf)
    around: Literal["value", "reference", "square"] = "value"

    def range(self, value: float, reference: float) -> tuple[float, float]:
        """The values for which no difference is found, from and to."""
        low, high = self.chance
        if self.around == "square":
            return low, float(np.sqrt(max(reference**2 + high, 0.0)))
        centre = value if self.around == "value" else reference
        return centre + low, centre + high


class Single(NamedTuple):
    """A test beside the family: its p-value, and by how many `error` what is `found` is above `origin`."""

    p_value: float
    error: float
    origin: float
    found: float


@dataclass(frozen=True)
class PointFamily:
    """The exchanges of all metrics.

    Attributes:
        exchanged: by metric.
        z: (1 + p,) by metric, of each exchange, what was drawn first.
        largest: (1 + p,), the largest z of each exchange.
        left_out: how many metrics are not taken, that belong to the same family: a quick evaluation then finds nothing
            that the whole one would not find. Each is as far out as a metric that was taken at most as often.
    """

    exchanged: Mapping[str, Exchanged]
    z: Mapping[str, Array]
    largest: Array
    left_out: int = 0

    @classmethod
    def of(cls, exchanged: Mapping[str, Exchanged], left_out: int = 0) -> PointFamily:
        """Of at least one metric."""
        z = {name: _scores(_far(one)) for name, one in exchanged.items()}
        return cls(exchanged, z, np.stack(list(z.values())).max(0), left_out)

    @property
    def p_value(self) -> float:
        """The smallest of all metrics."""
        return min(self.p_of(name) for name in self.z)

    def p_of(self, name: str) -> float:
        """Of one metric, adjusted for the others."""
        return min(float(self._p_values(name, self.z[name][:1])[0]), 1.0)

    def _p_values(self, name: str, z: Array) -> Array:
        """P(some metric of the family is as far out), at most, for each z (k,) of one metric; what was drawn counts."""
        far_out = lambda values: (len(values) - np.searchsorted(np.sort(values[1:]), z - 1e-9)) / len(values)
        return np.asarray(far_out(self.largest) + self.left_out * (far_out(self.z[name]) if self.left_out else 0))

    def tested(self, name: str, adjust: Adjustment) -> Tested:
        """The test of one metric, adjusted for all tests of the evaluation."""
        one = self.exchanged[name]
        places = np.sort(np.append(self.largest[1:], self.z[name][1:]))
        edge = float(places[np.flatnonzero(self._p_values(name, places) * adjust.factor >= ALPHA)[-1]])
        low = bool(one.values[0] < one.values.mean())
        around: Literal["reference", "square"] = "square" if one.scale == "root" else "reference"
        return Tested(adjust(self.p_of(name)), _detectable(one, edge), low, _chance(one, edge), around)


def _detectable(one: Exchanged, edge: float) -> float | None:
    """What a test finds in 80 of 100 cases that asks for a z of `edge`."""
    if _constant(one.values):
        return None
    far = _far(one)
    asked = _value_of(far, edge)
    if one.scale == "plain":
        middle = 0.0 if one.worse == "both" else far.mean()
        return float(one.origin + asked - middle + ndtri(POWER) * one.values.std())
    variables = max(8 / max(_skewness(one.values) ** 2, 1e-9), 1.0)
    noise = ndtri(POWER) ** 2 * one.values.std() / np.sqrt(2 * variables)
    distance = np.sqrt(max(asked**3 - one.values.mean(), 0.0) + noise) + np.sqrt(noise)
    return float(distance if one.scale == "root" else distance**2)


def _chance(one: Exchanged, edge: float) -> tuple[float, float]:
    """From the mean of the exchanges to the ends of the values with a z of at most `edge`."""
    centre, asked = float(one.values.mean()), _value_of(_far(one), edge)
    if one.scale != "plain":
        return -np.inf, asked**3 - centre
    if one.worse == "both":
        return -asked, asked
    return (-np.inf, asked - centre) if one.worse == "high" else (-asked - centre, np.inf)


def _skewness(values: Array) -> float:
    away = (values - values.mean()) / values.std()
    return float(np.mean(away**3))


def _far(one: Exchanged) -> Array:
    """What speaks for a difference where it is large: the values as they are counted, of a square its cube root."""
    values = one.values if one.scale == "plain" else np.cbrt(one.values)
    return {"high": values, "low": -values, "both": np.abs(values - values.mean())}[one.worse]


def _value_of(far: Array, score: float) -> float:
    """From where on the first of `far` has a score among the others, as `_scores` gives it."""
    others = np.sort(far[1:])
    places = ndtri((np.arange(len(others)) + 1.5) / len(far))  # of a value that is just above each of them
    beyond = max(score - float(places[-1]), 0.0)
    return float(np.interp(score, places, others) + beyond * far.std())


def _constant(values: Array) -> bool:
    """Equal but for rounding is equal."""
    return bool(values.std() <= 1e-12 * np.abs(values).max())


def _scores(values: Array) -> Array:
    """How extreme each value is among all, in standard deviations of a normal distribution."""
    from scipy.stats import rankdata

    if _constant(values):
        return np.zeros(len(values))
    scores = ndtri((rankdata(values) - 0.5) / len(values))
    second, first = np.argpartition(values, -2)[-2:]
    scores[first] += (values[first] - values[second]) / values.std()
    return np.asarray(scores)


def tests_of(family: PointFamily, singles: Mapping[str, Single]) -> dict[str, Tested]:
    """All tests of an evaluation, by metric; a false alarm in at most 5 of 100."""
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
    """A classifier that was asked about so many rows."""
    return Single(p_of(accuracy), float(0.5 / np.sqrt(rows)), 0.5, float(accuracy))


def of_likelihoods(ours: Array, best: Array, *, paired: bool) -> Single:
    """log p of rows by the model and, `paired`, of the same rows by the exact distribution; or of others, (m,), (k,).

    Of the same rows, what is below `SOLVED` is the solver's.
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
    """An excess loss, with its standard error: is it above `most`?"""
    if error == 0:
        return Single(float(nats <= most), 0.0, most, nats)
    return Single(float(ndtr(-(nats - most) / error)), error, most, nats)


# --- What a metric says beside its reference value, in words --------------------------------------------------------
#
# A difference is one that its test finds (see above).


UNLEARNED = 0.2  # nats: an excess loss that surely costs a row more is a difference
FEW = ", for the value is that of so few rows that chance could bring them"


class NegativeLogLikelihood(Measure):
    name = "negative_log_likelihood"
    section = "fit"
    about = "mean of -log p of real points, in nats per row"
    small, large = 0.05, 0.25
    seen = "a difference of {} nats per row"

    def in_words(self, value: float, reference: float) -> str:
        return f"the negative log-likelihood is {value - reference:.2g} nats above that of a real draw"

    def size(self, value: float, reference: float, columns: int) -> float:
        return abs(value - reference) / columns


class Excess(NegativeLogLikelihood):
    name = "excess_loss"
    about = "the network's loss above the irreducible one, in nats per row at most; above 0.2 is a difference"
    seen = "an excess of {} nats per row"

    def in_words(self, value: float, reference: float) -> str:
        return f"the network's loss is above the irreducible one by at most {value:.2g} nats a row"


OF_THE_MODEL = {one.name: one() for one in (NegativeLogLikelihood, Excess)}


def verdict(measure: Measure, row: Row, tested: Tested, columns: int) -> Verdict:
    """`NO_DIFFERENCE` with what the test could detect, or how the samples differ from a real draw, in a few words.

    Args:
        measure: what is measured.
        row: its value and its reference value.
        tested: its test.
        columns: of the points, which share a difference in nats.
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


# --- Do samples resemble real points? Every metric beside its reference value, that of two real draws ---------------
#
# found = evaluate_points(samples, reference, other)
# print(found)


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
    bars: Histogram

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
    entries = _entries(*paired(ours, theirs, other, theirs, seed, modes), fit, brief)
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
    return Evaluation("", "real points", sizes, entries, details, (), seed, brief)


def _entries(pair: Pair, real: Pair, fit: Fit, brief: bool) -> tuple[Entry, ...]:
    """Every metric beside its reference value, with its verdict."""
    from threadpoolctl import threadpool_limits

    taken = metrics_for(pair, brief)
    with threadpool_limits(1):  # the threads of these small matrices wait for each other
        rows: dict[Measure, Row] = {one: Row(one.measured(pair), one.measured(real)) for one in taken}
        exchanged = {
            one.name: Exchanged(one.exchanged(pair), one.worse, one.scale, one.origin) for one in taken if not one.alone
        }
    singles = {one.name: of_trees(rows[one].metric, min(len(pair.a), len(pair.b))) for one in taken if one.alone}
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
        said, chance = verdict(measure, row, test, pair.a.shape[1]), test.range(value, reference)
        entries.append(Entry.of(measure.section, measure.name, measure.about, said, value, reference, chance))
    return tuple(entries)


def _column(name: str, synthetic: Array, real: Array) -> PointColumn:
    return PointColumn(name, (quantiles_of(synthetic), quantiles_of(real)), bars_of(synthetic, real, ()))
