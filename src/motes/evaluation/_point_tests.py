"""Is a metric of points further from that of two real draws than chance would have it? One family of tests.

    T_k  metric k of two sets of rows, taken again for every exchange of rows between them (`Permutations`)
    z_k  normal score of the rank of T_k among the exchanges; of the first in rank more, the deviations by which it is
         beyond the second
    p_k  share of the exchanges in which the largest z of all metrics is at least z_k (Westfall & Young 1993, ch. 2)

If samples are real draws, every exchange is as likely as what was drawn. So some p_k is below 0.05 in at most 5 of
100 evaluations, whatever the distribution and however heavy its tails. No interval, no normal distribution and no bound
over metrics is used; metrics that say nearly the same cost nearly nothing. Boosted trees, which would have to learn
anew for each exchange, and what is known of the model have tests of their own; Holm's method joins them to the family.

Ranks keep a metric with heavy tails from drowning the others, and find what is most extreme even where few rows say so.
A test finds a difference `detectable` in about 80 of 100 cases: one that moves T by as much as lies between its mean
and the edge of the family, and 0.84 deviations beyond it. A square is about a sum of m chi-squared variables, whose
skewness is (8 / m)^(1/2); the noise of its root under a difference is that of one of them, (var T / 2 m)^(1/4).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from motes.evaluation._families import ALPHA, POWER, Adjustment, weighted_holm
from motes.evaluation._results import Array, Metric
from motes.evaluation._table_likelihoods import welch

WEIGHTS = {"exchanges": 0.8, "c2st_boosting": 0.1, "negative_log_likelihood": 0.05, "excess_loss": 0.05}
SOLVED = 0.001  # nats: the error of a log p that an equation was solved for is below it

Worse = Literal["high", "low", "both"]
Scale = Literal["plain", "root", "square"]


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
class Family:
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
    def of(cls, exchanged: Mapping[str, Exchanged], left_out: int = 0) -> Family:
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


def tests_of(family: Family, singles: Mapping[str, Single]) -> dict[str, Tested]:
    """All tests of an evaluation, by metric; a false alarm in at most 5 of 100."""
    p_values = {"exchanges": family.p_value} | {name: one.p_value for name, one in singles.items()}
    adjust = weighted_holm(
        p_values | (dict.fromkeys(WEIGHTS.keys() - p_values, 1.0) if family.left_out else {}), WEIGHTS
    )
    found = {name: family.tested(name, adjust["exchanges"]) for name in family.z}
    for name, one in singles.items():
        edge = adjust[name].sigmas
        detectable = one.origin + (edge + float(ndtri(POWER))) * one.error if one.error else None
        chance = -np.inf, one.origin + edge * one.error - one.found
        found[name] = Tested(adjust[name](one.p_value), detectable, chance=chance)
    return found


def of_trees(accuracy: Metric, rows: int) -> Single:
    """A classifier that was asked about so many rows."""
    assert accuracy.p_value is not None  # a classifier tests
    return Single(accuracy.p_value, float(0.5 / np.sqrt(rows)), 0.5, float(accuracy))


def of_likelihoods(ours: Array, best: Array, *, paired: bool) -> Single:
    """log p of rows by the model and, `paired`, of the same rows by the exact distribution; or of others, (m,), (k,).

    Of the same rows, what is below `SOLVED` is the solver's.
    """
    from scipy.stats import t

    if not paired:
        squares = [float(x.var(ddof=1) / len(x)) for x in (ours, best)]
        gap = float(best.mean() - ours.mean())
        _, p_value = welch(gap, squares, (len(ours), len(best)))
        return Single(p_value, float(np.sqrt(sum(squares))), 0.0, gap)
    lost = best - ours - SOLVED
    error = float(lost.std(ddof=1) / np.sqrt(len(lost)))
    if error == 0:
        return Single(float(lost.mean() <= 0), 0.0, SOLVED, float(lost.mean()) + SOLVED)
    return Single(float(t.sf(lost.mean() / error, len(lost) - 1)), error, SOLVED, float(lost.mean()) + SOLVED)


def of_excess(nats: float, error: float, most: float) -> Single:
    """An excess loss, with its standard error: is it above `most`?"""
    if error == 0:
        return Single(float(nats <= most), 0.0, most, nats)
    return Single(float(ndtr(-(nats - most) / error)), error, most, nats)
