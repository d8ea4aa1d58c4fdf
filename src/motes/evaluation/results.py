"""Results of metrics: values with intervals, families of tests and the words of a verdict.

An interval shows the sampling noise of a value. It does not remove the bias that finite samples add to any distance;
the *reference value* shows that bias: the same metric between two real draws of the same sizes.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from motes.encoding import JsonRecord

Array = NDArray[np.float64]
Worse = Literal["high", "low", "both"]  # which values indicate a difference
Scale = Literal["plain", "root", "square"]

Z = 1.959963984540054  # a standard normal lies within +-Z with probability 0.95


@dataclass(frozen=True, eq=False)
class Metric(float, JsonRecord):
    """A float with a name and an interval; it adds, compares, formats and converts to JSON as `value`.

    Attributes:
        name: name of the metric, as in a table of results.
        value: the number itself.
        low, high: its 95 % interval.
        p_value: p-value of the hypothesis that both sets come from one distribution; None for metrics without a test.

    Example:
        >>> distance = motes.sliced_w2(motes.make_shape("moons", 200), motes.make_shape("moons", 200, seed=1))
        >>> distance.name, distance.low <= distance <= distance.high, distance.p_value
        ('sliced_w2', True, None)
    """

    json_names = ("value", "low", "high", "p_value")

    name: str
    value: float
    low: float
    high: float
    p_value: float | None = None

    def __new__(cls, name: str, value: float, low: float, high: float, p_value: float | None = None) -> Metric:
        return super().__new__(cls, value)

    def __getnewargs__(self) -> tuple[str, float, float, float, float | None]:  # type: ignore[override]
        # arguments that copy and pickle pass to __new__
        return self.name, self.value, self.low, self.high, self.p_value

    def __str__(self) -> str:
        test = "" if self.p_value is None else f", p = {self.p_value:.3g}"
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g}{test})"


def corrected(metric: Metric, sigmas: float, neutral: float, differs: bool) -> Metric:
    """Return a metric whose interval is corrected for many tests and excludes `neutral` exactly if it `differs`.

    Args:
        metric: a metric with its 95 % interval.
        sigmas: critical value of the test, in standard errors.
        neutral: the value without a difference.
        differs: whether the test, which may be exact, detects a difference.
    """
    low, high = (metric.value + (end - metric.value) * sigmas / Z for end in (metric.low, metric.high))
    if not differs:
        low, high = min(low, neutral), max(high, neutral)
    elif metric.value > neutral:
        low = max(low, float(np.nextafter(neutral, np.inf)))
    elif metric.value < neutral:
        high = min(high, float(np.nextafter(neutral, -np.inf)))
    return replace(metric, low=float(low), high=float(high))


class Sides(NamedTuple):
    """A quantity of the synthetic and of the real rows."""

    synthetic: Any
    real: Any


@dataclass(frozen=True)
class Row:
    """A metric and its reference value, the same metric between two real draws."""

    metric: Metric
    reference: Metric


def p_of(metric: Metric) -> float:
    """Return the p-value of a metric with a test."""
    assert metric.p_value is not None  # the metric has a test
    return metric.p_value


def around(name: str, value: float, half: float) -> Metric:
    """Return a metric whose interval reaches from `value - half` to `value + half`."""
    return Metric(name, value, value - half, value + half)


def mean_of(name: str, values: Array) -> Metric:
    """Return the mean of numbers (n,), at least 2, with Student's t interval."""
    from scipy.stats import t

    return around(name, float(values.mean()), float(t.isf(0.025, len(values) - 1)) * standard_error(values))


def standard_error(values: Array) -> float:
    """Return the standard error of the mean of numbers (n,)."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def welch(gap: float, errors: tuple[float, float], rows: tuple[int, int]) -> tuple[Metric, float]:
    """Return a difference of two means with its interval, and the one-sided p-value of Welch's t-test."""
    from scipy.stats import t

    squares = [error**2 for error in errors]
    error = float(np.sqrt(sum(squares)))
    if error == 0:
        return Metric("difference", gap, gap, gap), float(gap <= 0)
    degrees = sum(squares) ** 2 / sum(square**2 / (n - 1) for square, n in zip(squares, rows, strict=True))
    return around("difference", gap, float(t.isf(0.025, degrees)) * error), float(t.sf(gap / error, degrees))


def share(name: str, value: float, variance: float, n: int, p_value: float | None = None) -> Metric:
    """Return a share of rows with Wilson's interval, within [0, 1], for the number of rows implied by its variance.

    Args:
        name, value, p_value: see `Metric`.
        variance: variance of the share; if the share is 0 or 1, `n` independent rows are assumed.
        n: number of rows.
    """
    spread = value * (1 - value)
    rows = spread / variance if spread > 0 and variance > 0 else n
    low, high = wilson(value, rows)
    return Metric(name, float(value), float(low), float(high), p_value)


def wilson(share: ArrayLike, n: ArrayLike) -> tuple[Array, Array]:
    """Return Wilson's 95 % interval of shares of n independent rows."""
    p, n = np.asarray(share, np.float64), np.asarray(n, np.float64)
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(p * (1 - p) / n + (Z / (2 * n)) ** 2)
    return np.clip(centre - half, 0.0, p), np.clip(centre + half, p, 1.0)


def root(name: str, square: float, low: float, high: float, p_value: float | None = None) -> Metric:
    """Return the square root of a square and of its interval, clipped at 0."""
    value, low, high = (float(np.sqrt(max(s, 0.0))) for s in (square, low, high))
    return Metric(name, value, low, high, p_value)


# --- Formatting of numbers, and text tables for a terminal ----------------------------------------------------------


def number(value: float | None) -> str:
    """Format a number to four digits, or to the unit if large; None and NaN give a dash.

    Example:
        >>> number(3.14159), number(12345.6), number(None)
        ('3.142', '12,346', '-')
    """
    if value is None or np.isnan(value):
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def shown(kind: str, value: float) -> str:
    """Format a number of a column; a date shows its day, and its time unless that is midnight."""
    if kind != "date":
        return number(value)
    moment = np.datetime64(round(value), "us")
    return str(moment.astype("M8[D]" if value % 86_400e6 == 0 else "M8[s]"))


def p_value(value: float | None, equals: str = "") -> str:
    """Format a p-value; `equals` goes in front unless it is "< 0.001"."""
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{equals}{value:.2g}"


def between(ends: tuple[float, float] | None) -> str:
    """Format a range; either end can be infinite.

    Example:
        >>> between((0.46, 0.54)), between((-np.inf, 0.061)), between((0.95, np.inf))
        ('0.46 to 0.54', 'up to 0.061', '0.95 or more')
    """
    if ends is None:
        return "-"
    low, high = ends
    if np.isinf(low):
        return "any" if np.isinf(high) else f"up to {number(high)}"
    return f"{number(low)} or more" if np.isinf(high) else f"{number(low)} to {number(high)}"


def difference(gap: float, low: float, high: float) -> str:
    """Format a difference with its interval; a dash for NaN."""
    return "-" if np.isnan(gap) else f"{gap:+.3f} ({low:+.3f} to {high:+.3f})"


def with_interval(metric: Metric | None) -> str:
    """Format a value with its interval, without its p-value: only adjusted p-values are shown."""
    return "-" if metric is None else f"{metric.value:.4g} ({metric.low:.4g} to {metric.high:.4g})"


def aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a table of texts, with each column as wide as its longest entry."""
    table = [head, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    return "\n".join("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
                     for line in table)  # fmt: skip


def listed(parts: Sequence[str]) -> str:
    """Join phrases with commas and "and".

    Example:
        >>> listed(["shares", "pairs", "rows"])
        'shares, pairs and rows'
    """
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else ""


def capital(text: str) -> str:
    """Capitalise the first letter."""
    return text[:1].upper() + text[1:]


# --- Verdicts: the size of a difference, and what its test could detect ---------------------------------------------


Severity = Literal["good", "unknown", "small", "moderate", "large"]
SEVERITIES: tuple[Severity, ...] = ("good", "unknown", "small", "moderate", "large")
DIFFERENCES: tuple[Severity, ...] = ("small", "moderate", "large")

NO_DIFFERENCE = "no difference detected"

GRADES = {  # differences are small below the first threshold, and large from the second on
    "share": (0.02, 0.1),
    "association": (0.05, 0.2),
    "accuracy": (0.05, 0.2),  # beyond one half
    "utility": (0.05, 0.2),  # the loss of utility
    "likelihood": (0.05, 0.25),  # nats per row and learned column
    "dcr": (0.02, 0.1),  # beyond 5 %
    "copies": (0.01, 0.05),  # beyond the expected copies
    "width": (0.05, 0.2),  # deviation of a posterior's width from 1
}


def graded(size: float, of: str | tuple[float, float]) -> Severity:
    """Return the severity of a detected difference, given its size, and two thresholds or their key in `GRADES`."""
    small, large = GRADES[of] if isinstance(of, str) else of
    return DIFFERENCES[int(size >= small) + int(size >= large)]


def worst(severities: Iterable[Severity]) -> Severity:
    """Return the largest severity; "good" if there are none."""
    return max(severities, key=SEVERITIES.index, default="good")


@dataclass(frozen=True)
class Verdict:
    """The verdict of one comparison.

    Attributes:
        severity: size of the difference; "good" if none was detected, "unknown" if there are too few rows.
        text: the difference in words.
        p_value: p-value, adjusted for all tests of the evaluation; None if nothing was tested.
        detectable: the difference that the test detects in 80 of 100 cases.
        seen: `detectable` in words.
    """

    severity: Severity
    text: str
    p_value: float | None = None
    detectable: float | None = None
    seen: str = ""

    @property
    def differs(self) -> bool:
        """Whether a difference was detected."""
        return self.severity in DIFFERENCES

    @property
    def with_severity(self) -> str:
        """The text, with the severity of a difference in front."""
        return f"{self.severity}: {self.text}" if self.differs else self.text

    @property
    def with_power(self) -> str:
        """The text with its severity, and what the test could detect."""
        return f"{self.with_severity}{self._power}"

    @property
    def sentence(self) -> str:
        """The text with what the test could detect."""
        return f"{capital(self.text)}{self._power}."

    @property
    def _power(self) -> str:
        return f" (the test could detect {self.seen} or more)" if self.seen else ""


def judged(
    p_value: float,
    size: float,
    of: str | tuple[float, float],
    text: str,
    *,
    same: str = NO_DIFFERENCE,
    detectable: float | None = None,
    seen: str = "",
    alpha: float = 0.05,
) -> Verdict:
    """Return `text`, graded by `size`, as verdict if the adjusted `p_value` is below `alpha`; otherwise `same`."""
    differs = p_value < alpha
    return Verdict(graded(size, of) if differs else "good", text if differs else same, p_value, detectable, seen)


Judged = tuple[Any, Verdict, float | None, float | None]  # an adjusted result, its verdict, value and reference value


def too_few(got: int, fewest: int, what: str = "held-out rows") -> Verdict:
    """Return the verdict that there are too few rows for a test."""
    return Verdict("unknown", f"could not be determined: got {got:,} {what}; at least {fewest:,} are needed")


# --- Families of tests with one probability of a false alarm --------------------------------------------------------
#
#     P(some test is as extreme as this one | no difference) = P(some U_i <= u),    U_i = p(Z_i) / w_i,    Z ~ N(0, C)
#
# C contains the correlations of the tests, and w_i is the weight of test i (Westfall & Young 1993, ch. 2; for Gaussian
# Z, Conneely & Boehnke 2007). Correlated tests then cost less than with Bonferroni's bound, which ignores C. Holm's
# method with weights, which needs no correlations, joins the sections of a report.


ALPHA = 0.05  # probability of any false alarm among all tests of a table
POWER = 0.8  # a difference is detectable if the test finds it with this probability
DRAWS = 4999
BLOCK = 500  # draws at a time


@dataclass(frozen=True)
class Adjustment:
    """The adjustment of a p-value within a section for the whole table: max(p * factor, least)."""

    factor: float
    least: float

    @property
    def sigmas(self) -> float:
        """Critical value of a one-sided test, in standard errors."""
        return -float(ndtri(ALPHA / self.factor))

    @property
    def detectable(self) -> float:
        """Difference in standard errors that a one-sided test detects in 80 of 100 cases."""
        return float(ndtri(POWER)) + self.sigmas

    def __call__(self, p_value: float) -> float:
        """Return the adjusted p-value, to compare with `ALPHA`."""
        return float(min(max(p_value * self.factor, self.least), 1.0))


def weighted_holm(p_values: Mapping[str, float], weights: Mapping[str, float]) -> dict[str, Adjustment]:
    """Return the adjustment of each section by Holm's method with weights (Holm 1979, section 4).

    Args:
        p_values: the smallest p-value of each section.
        weights: weights of at least these sections; a section with twice the weight is tested at twice the level.

    Example:
        >>> adjust = weighted_holm({"a": 0.01, "b": 0.5}, {"a": 3.0, "b": 1.0})
        >>> round(adjust["a"](0.01), 4), adjust["b"](0.5)  # 0.01 * 4 / 3, then 0.5 * 1 / 1
        (0.0133, 0.5)
    """
    order = sorted(p_values, key=lambda name: p_values[name] / weights[name])
    left, least, adjustments = sum(weights[name] for name in order), 0.0, {}
    for name in order:
        adjustments[name] = Adjustment(left / weights[name], least)
        least = adjustments[name](p_values[name])
        left -= weights[name]
    return adjustments


@dataclass(frozen=True)
class Family:
    """A family of tests, each with a score that is large if there is a difference.

    p(z) = the share of draws in which the largest score of all tests is at least z

    The observed scores count as one of the draws, so the test is exact if all draws are equally likely.

    Attributes:
        largest: the largest score of each draw without differences, increasing, (draws,).
    """

    largest: Array

    @classmethod
    def of(cls, scores: Array) -> Family:
        """Build the family from the scores of all tests in each draw without differences, (draws, tests)."""
        return cls(np.sort(scores.max(axis=1)))

    def p_values(self, scores: Array) -> Array:
        """Return the probability that chance alone gives some test of the family a score as large, (k,)."""
        as_large = len(self.largest) - np.searchsorted(self.largest, scores - 1e-9)
        return np.asarray((1 + as_large) / (1 + len(self.largest)))

    def critical(self, level: float) -> float:
        """Return the score above which p-values are below `level`."""
        draws = len(self.largest)
        as_large = int(np.ceil(level * (1 + draws) - 1e-9)) - 1
        return float(self.largest[draws - min(max(as_large, 1), draws)])


@dataclass(frozen=True)
class ContrastFamily:
    """A family of tests of contrasts, each standard normal without a difference; see `family_of`.

    The score of a test is -log(p / w), with p the p-value of the largest |z| of its contrasts and w its weight.

    Attributes:
        family: the scores without differences.
        effective: (c,), the effective number of independent contrasts in the test of each contrast.
        weights: (c,), the weight of that test.
    """

    family: Family
    effective: Array
    weights: Array

    def p_values(self, z: Array) -> Array:
        """Return the probability that some contrast of the family is as extreme as each contrast z (c,)."""
        return self.family.p_values(_scores_of(np.abs(z), self.effective, self.weights))

    def critical(self, level: float) -> Array:
        """Return the critical |z| (c,) of each contrast at the `level` of the family."""
        p = np.minimum(np.exp(-self.family.critical(level)) * self.weights, 1 - 1e-12)
        return np.asarray(-ndtri(-np.expm1(np.log1p(-p) / self.effective) / 2))


def family_of(
    features: Array, test: Sequence[int], weights: Sequence[float], rng: np.random.Generator
) -> ContrastFamily:
    """Build the family of contrasts that are differences of means.

    Args:
        features: (n, c), rows whose means are the contrasts; 0 if a row does not contribute. A contrast without spread
            counts as independent of all others.
        test: (c,), the test of each contrast, counted from 0.
        weights: (c,), the weight of that test.
        rng: generator of the draws.
    """
    which, weight = np.asarray(test, np.intp), np.asarray(weights, np.float64)
    size = np.sqrt((features**2).sum(axis=0))
    unit = np.divide(features, size, out=np.zeros(features.shape), where=size > 0).astype(np.float32)
    order = np.argsort(which, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(which[order]) > 0))
    largest = np.empty((DRAWS, len(starts)))  # |z| of each test
    for begin in range(0, DRAWS, BLOCK):
        rows = slice(begin, min(begin + BLOCK, DRAWS))
        count = rows.stop - rows.start
        z = rng.standard_normal((count, len(unit)), np.float32) @ unit
        z[:, size == 0] = rng.standard_normal((count, int((size == 0).sum())), np.float32)
        largest[rows] = np.maximum.reduceat(np.abs(z[:, order]), starts, axis=1)
    single = np.diff(np.append(starts, len(order))) == 1
    # m such that m independent contrasts have the same 95 % quantile: 0.95 = P(|Z| < z)^m.
    edge = np.quantile(largest, 0.95, axis=0)
    effective = np.where(single, 1.0, np.maximum(np.log(0.95) / np.log1p(-2 * ndtr(-edge)), 1.0))
    family = Family.of(_scores_of(largest, effective, weight[order][starts]))
    back = np.searchsorted(which[order][starts], which)
    return ContrastFamily(family, effective[back], weight)


def _scores_of(z: Array, effective: Array, weights: Array) -> Array:
    """Return -log(P(the largest of `effective` independent |Z| >= z) / weight)."""
    p = -np.expm1(effective * np.log1p(-np.minimum(2 * ndtr(-z), 1 - 1e-15)))
    return np.asarray(np.log(weights) - np.log(np.maximum(p, np.finfo(np.float64).tiny)))


# --- Entries and sections of an evaluation ---------------------------------------------------------------------------


NAMED = 3  # most entries named in one sentence


@dataclass(frozen=True)
class Section:
    """One question that an evaluation asks.

    Attributes:
        title: title of the section.
        about: a phrase that says what is compared.
        part: name of the differing part in the headline, with {count} and {names} of the entries. "" if a difference
            concerns memorisation or fit, and not similarity; it then gets its own sentence in the headline.
        possible: the range of the possible values of its entries, for sections of tables.
    """

    title: str
    about: str
    part: str = ""
    possible: tuple[float, float] = (-np.inf, np.inf)


SHARE = (0.0, 1.0)
SECTIONS = {  # in the order of every rendering
    "columns": Section("Columns", "shares of each column, in all rows", "{count} columns ({names})", SHARE),
    "missing": Section(
        "Missing entries", "their share in each column", "the missing entries of {count} columns ({names})", SHARE
    ),
    "associations": Section(
        "Associations", "associations of pairs of columns", "the associations of columns", (0.0, np.inf)
    ),
    "classifier": Section(
        "Classifier", "can boosted trees tell synthetic rows from held-out ones?", "whole rows (by a classifier)", SHARE
    ),
    "utility": Section(
        "Utility", "prediction of the target after training on synthetic rows", "the prediction of '{names}'"
    ),
    "likelihood": Section("Likelihood", "log p of training rows minus log p of held-out rows"),
    "dcr": Section(
        "Distance to closest record", "are synthetic rows nearer to training rows than held-out rows are?", "", SHARE
    ),
    "copies": Section("Copies", "synthetic rows that equal a training row"),
    "calibration": Section(
        "Calibration", "are posteriors as wide as they should be?", "{count} tests of calibration ({names})"
    ),
    "distances": Section("Distances", "Wasserstein distances", "{count} distances ({names})"),
    "tests": Section("Two-sample tests", "do both sets have one distribution?", "{count} two-sample tests ({names})"),
    "coverage": Section("Coverage", "does each set cover the other?", "{count} measures of coverage ({names})"),
    "modes": Section("Modes", "does each mode have its share of the samples?", "the modes ({names})"),
    "fit": Section("Likelihood and loss", "fit of the model to real points"),
}


@dataclass(frozen=True)
class Entry(JsonRecord):
    """One comparison of synthetic with real rows.

    Attributes:
        section: a key of `SECTIONS`.
        name: name of the metric, or of the column.
        measure: `value` in words.
        verdict: verdict on the difference between `value` and `reference_value`.
        value: None if there are too few rows.
        reference_value: the same metric between two real draws; None if unknown.
        chance: range of values for which the test, adjusted for all entries, detects no difference; one end is infinite
            for a one-sided test; None if another quantity is tested. An approximate range is corrected, so that `value`
            is outside it exactly if a difference is detected.
    """

    json_names = ("section", "name", "measure", "value", "reference_value", "chance", "sentence")

    section: str
    name: str
    measure: str
    verdict: Verdict
    value: float | None = None
    reference_value: float | None = None
    chance: tuple[float, float] | None = None

    @property
    def sentence(self) -> str:
        """The name and the verdict as a complete sentence."""
        return f"{self.name}: {self.verdict.sentence}"

    def __post_init__(self) -> None:
        for name in ("value", "reference_value"):
            if (one := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(one))  # a metric becomes a plain number
        if self.chance is not None and self.value is not None:
            object.__setattr__(self, "chance", _match_verdict(self.chance, self.value, self.verdict.differs))

    def to_dict(self) -> dict[str, Any]:
        one = self.verdict
        return super().to_dict() | {
            "p_value": one.p_value, "detectable": one.detectable, "severity": one.severity, "verdict": one.text
        }  # fmt: skip


def _match_verdict(chance: tuple[float, float], value: float, differs: bool) -> tuple[float, float]:
    """Return the range of chance, corrected to agree with the p-value, which is exact.

    The ends are approximate: quantiles of a few hundred permutations, or of a Gaussian.
    """
    low, high = chance
    if not differs:
        return min(low, value), max(high, value)
    if not low <= value <= high:
        return chance
    if high - value <= value - low:
        return low, float(np.nextafter(value, low))
    return float(np.nextafter(value, high)), high


def verdicts_of(entries: Sequence[Entry]) -> dict[str, Verdict]:
    """Return the verdict on each section with entries, in the order of `SECTIONS`."""
    found = {key: [entry for entry in entries if entry.section == key] for key in SECTIONS}
    return {key: _combine_verdicts(mine) for key, mine in found.items() if mine}


def _combine_verdicts(entries: Sequence[Entry]) -> Verdict:
    """Return one verdict on all entries of a section, as severe as the largest difference."""
    if len(entries) == 1:
        return entries[0].verdict
    found = sorted((one for one in entries if one.verdict.differs), key=_sort_key)
    p_value = min((one.verdict.p_value for one in entries if one.verdict.p_value is not None), default=None)
    detectable, seen = max((one.verdict.detectable or 0.0, one.verdict.seen) for one in entries)
    open_ = [one for one in entries if one.verdict.severity == "unknown"]
    if not found and not open_:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable or None, seen)
    named = found or open_
    text = "; ".join(f"{one.name}: {one.verdict.text}" for one in named[:NAMED])
    text += f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    text = f"{len(found)} of {len(entries)} differ ({text})" if found else text
    return Verdict(named[0].verdict.severity, text, p_value, detectable or None, seen)


def _sort_key(entry: Entry) -> tuple[int, float]:
    """Return a sort key that puts the most severe entries first."""
    return -SEVERITIES.index(entry.verdict.severity), entry.verdict.p_value or 0.0


def differing_part(key: str, entries: Sequence[Entry]) -> str:
    """Return the part of the rows that differs, with the names of the differing entries."""
    names = [entry.name for entry in entries if entry.verdict.differs]
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    count = "the" if len(entries) == 1 else f"{len(names)} of {len(entries)}"
    return SECTIONS[key].part.format(count=count, names=shown)


# --- as text --------------------------------------------------------------------------------------------------------


def sections_text(entries: Sequence[Entry]) -> str:
    """Format a line for each section."""
    lines = [
        (SECTIONS[key].title, one.with_severity, p_value(one.p_value), one.seen or "-")
        for key, one in verdicts_of(entries).items()
    ]
    about = [(SECTIONS[key].title, SECTIONS[key].about) for key in verdicts_of(entries)]
    head = ("section", "verdict", "p", "could detect")
    return "\n\n".join([aligned(head, lines), aligned(("section", "what is compared"), about)])


def entries_text(entries: Sequence[Entry]) -> str:
    """Format a line for each entry, and a second table of what each measures."""
    head = ("metric", "value", "reference value", "by chance", "p", "verdict")
    lines = [
        (one.name, number(one.value), number(one.reference_value), between(one.chance),
         p_value(one.verdict.p_value), one.verdict.with_power)
        for one in entries
    ]  # fmt: skip
    about = [(one.name, one.measure) for one in entries]
    return "\n\n".join([aligned(head, lines), aligned(("metric", "what it is"), about)])


# --- The record of an evaluation, for points and tables -------------------------------------------------------------
#
# Each entry compares a metric of the synthetic rows with its reference value between two real draws. Text, JSON and the
# HTML page are renderings of the record. Only this module writes the headline.


class Details(JsonRecord):
    """Base class of arrays for the charts and tables of a report: `PointDetails`, `TableDetails` or `Calibration`.

    Their JSON form contains no rows of the data.
    """

    kind: ClassVar[str]  # of the model

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """Return the numbers as blocks of text, given the `entries` of the record: a line for each entry.

        Example:
            >>> from motes.evaluation import Calibration
            >>> Calibration(("rate",), np.zeros((9, 2), int), 9, (), np.ones(2)).blocks([])[0].split()[0]
            'metric'
        """
        return [entries_text(entries)]


DetailsT = TypeVar("DetailsT", bound=Details, covariant=True)


def today() -> str:
    """Return the date, such as 2026-05-17."""
    return datetime.date.today().isoformat()


@dataclass(frozen=True, repr=False)
class Evaluation(JsonRecord, Generic[DetailsT]):
    """The record of an evaluation of synthetic rows; `print` shows it, `to_dict` gives its JSON.

    Attributes:
        source: name of the real rows; "" if they have none.
        evaluated_against: origin of the real rows, in words.
        rows: number of rows of each set, "synthetic" first.
        entries: the comparisons, by section.
        details: data for the charts.
        notes: sentences about omitted or changed comparisons.
        seed: seed of the samples and of random choices.
        brief: whether only the quick metrics were computed; the headline then names them.
        about: further facts for the report, by name: the model and its recipe. A mapping becomes a list of its own.
        date: date of the evaluation.
        version: version of motes.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> found.severity
        'good'
    """

    json_names = (
        "title", "kind", "source", "evaluated_against", "date", "version", "seed", "rows", "headline", "severity",
        "p_value", "sections", "entries", "details", "notes",
    )  # fmt: skip

    source: str
    evaluated_against: str
    rows: Mapping[str, int]
    entries: tuple[Entry, ...]
    details: DetailsT
    notes: tuple[str, ...]
    seed: int
    brief: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    date: str = field(default_factory=today)
    version: str = field(default_factory=lambda: version("motes"))

    @property
    def title(self) -> str:
        """Title of the report."""
        if self.kind == "posteriors":
            return f"Calibration of posteriors{f' on {self.source}' if self.source else ''}"
        return f"Synthetic rows compared with {self.source or 'real rows'}"

    @property
    def compared(self) -> str:
        """A sentence that says which rows are compared."""
        (_, count), *real = self.rows.items()
        which = self.evaluated_against
        if len(real) > 1:
            which = listed([f"{rows:,} {name.replace('_', '-')} rows" for name, rows in real if rows])
        total = sum(rows for _, rows in real)
        of = "" if not self.source or which.endswith(self.source) else f" of {self.source}"
        if self.kind == "posteriors" and total:
            return f"{count // total:,} posterior draws for each of {total:,} simulations: {which}{of}."
        return f"{count:,} synthetic rows are compared with {total:,} real rows: {which}{of}."

    def of(self, section: str) -> list[Entry]:
        """Return the entries of one section.

        Example:
            >>> from motes.evaluation import evaluate_points
            >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
            >>> len(found.of(found.entries[0].section)) > 0
            True
        """
        return [entry for entry in self.entries if entry.section == section]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on each section, in the order of `SECTIONS`."""
        return verdicts_of(self.entries)

    @property
    def kind(self) -> str:
        """Kind of the model: "points", "table" or "posteriors"."""
        return self.details.kind

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """The verdict on each section as texts and numbers, with its title."""
        return {
            key: {"title": SECTIONS[key].title, "severity": one.severity, "p_value": one.p_value,
                  "sentence": one.sentence}
            for key, one in self.verdicts.items()
        }  # fmt: skip

    @property
    def severity(self) -> Severity:
        """The largest severity of all sections."""
        return worst(one.severity for one in self.verdicts.values())

    @property
    def p_value(self) -> float:
        """The smallest p-value of all sections; for a table, the probability that chance alone gives one as small."""
        return min((one.p_value for one in self.verdicts.values() if one.p_value is not None), default=1.0)

    @property
    def headline(self) -> str:
        """A sentence or two that name the differing parts."""
        found = {key: one for key, one in self.verdicts.items() if one.differs}
        similar = [key for key in found if SECTIONS[key].part]
        if similar:
            how = {"small": " a little", "large": " strongly"}.get(worst(found[key].severity for key in similar), "")
            parts = listed([differing_part(key, self.of(key)) for key in similar])
            sentence = f"The synthetic rows differ{how} from the real ones in {parts}."
            if self.kind == "posteriors":
                sentence = f"The posteriors are miscalibrated according to {parts}."
        elif self.kind == "posteriors":
            sentence = "No miscalibration of the posteriors was detected."
        else:
            by = f" by {listed([entry.name for entry in self.entries])}" if self.brief else ""
            sentence = f"No difference between synthetic and real rows was found{by}."
        apart = [entry for key in found if not SECTIONS[key].part for entry in self.of(key)]
        return " ".join([sentence, *(f"{capital(entry.verdict.text)}." for entry in apart if entry.verdict.differs)])

    def __repr__(self) -> str:
        return f"Evaluation({self.title!r}: {self.headline})"

    def __str__(self) -> str:
        blocks = [self.compared, self.headline, *self.details.blocks(self.entries)]
        if self.notes:
            blocks.append("\n".join(f"Note: {note}" for note in self.notes))
        return "\n\n".join(blocks)
