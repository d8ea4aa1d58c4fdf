"""Differences of one column between two tables.

    KS = max over x of |F_a(x) - F_b(x)|        TV = 1/2 sum over labels k of |p_a(k) - p_b(k)|

Both are shares of rows: KS for numbers, TV for labels. W1, the integral of |F_a - F_b|, is in standard deviations. They
are above 0 for any two samples; `distance_by_chance` returns their mean. Tests compare shares, in the section "Every
column as shares of rows".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from motes.data import Frame
from motes.data.arrays import TYPE_WORDS, Mask, Series, moment_of, plain
from motes.errors import DataError
from motes.evaluation.results import (
    ALPHA,
    POWER,
    Adjustment,
    Array,
    ContrastFamily,
    Metric,
    Z,
    corrected,
    family_of,
    wilson,
)
from motes.rasters import histogram_bins
from motes.tables import Schema
from motes.tables.kinds import KINDS
from motes.tables.kinds.columns import Column

CHANCES = 200  # simulated differences between two samples
STEPS = 400  # points at which a simulated distribution function is evaluated


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> Metric:
    """Compute the largest difference between the distribution functions of two sets of numbers.

    The 95 % interval belongs to the difference at the point where it is largest.

    Args:
        a, b: numbers (n,) and (m,), at least 1 of each.

    Raises:
        ValueError: wrong shapes, or entries that are not finite.
    """
    from scipy.stats import ks_2samp

    a, b = _check_finite(a), _check_finite(b)
    found = ks_2samp(a, b, method="asymp")
    p, q = (float(np.mean(x <= found.statistic_location)) for x in (a, b))
    half = Z * float(np.sqrt(p * (1 - p) / len(a) + q * (1 - q) / len(b)))
    gap = float(found.statistic)
    return Metric("kolmogorov_smirnov", gap, max(gap - half, 0.0), min(gap + half, 1.0))


def wasserstein_1(a: ArrayLike, b: ArrayLike) -> float:
    """Compute the Wasserstein-1 distance between numbers `a` (n,) and `b` (m,), in standard deviations of `b`.

    If `b` is constant, the standard deviation of `a` and `b` together is used; the distance is 0 if both are constant
    and equal.

    Raises:
        ValueError: see `kolmogorov_smirnov`.
    """
    from scipy.stats import wasserstein_distance

    a, b = _check_finite(a), _check_finite(b)
    unit = spread_of(b) or spread_of(np.concatenate([a, b])) or 1.0
    return float(wasserstein_distance(a / unit, b / unit))


def spread_of(x: Array) -> float:
    """Return the standard deviation of numbers (n,), 0 if it is only rounding."""
    size = float(np.abs(x).max())
    if size == 0:
        return 0.0
    deviation = float((x / size).std()) * size  # scaled, because squares of the numbers may overflow
    return deviation if deviation > 1e-14 * size else 0.0


def total_variation(a: ArrayLike, b: ArrayLike) -> Metric:
    """Compute half the sum of absolute differences between two sets of shares, with a 95 % interval.

    Args:
        a, b: number of rows of each label, (K,), with at least one row in each set.

    Raises:
        ValueError: wrong shapes, or no rows.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape or a.sum() < 1 or b.sum() < 1:
        raise ValueError(f"counts of shapes {a.shape} and {b.shape}; expected (K,) twice, with rows in both.")
    n, m = a.sum(), b.sum()
    p, q = a / n, b / m
    value, side = 0.5 * float(np.abs(p - q).sum()), np.sign(p - q)
    variance = ((p.sum() - (side @ p) ** 2) / n + (q.sum() - (side @ q) ** 2) / m) / 4
    half = Z * float(np.sqrt(max(variance, 0.0)))
    return Metric("total_variation", value, max(value - half, 0.0), min(value + half, 1.0))


def distance_by_chance(counts: ArrayLike, n: int, m: int, rng: np.random.Generator, *, ordered: bool) -> float:
    """Compute the mean distance between n and m rows of one distribution: KS if the values are `ordered`, otherwise TV.

    Args:
        counts: number of rows of each value in both sets together, (K,).
        n, m: number of rows of each set.
        rng: generator for 200 simulated differences, Gaussians with the covariances of multinomial counts.
        ordered: whether the values are increasing numbers; neighbours are merged to 400 points.

    Example:
        >>> rng = np.random.default_rng(0)  # two draws of 100 coins: the mean of |N(0, 1/4 / 50)| is 0.056
        >>> bool(abs(distance_by_chance([1, 1], 100, 100, rng, ordered=False) - 0.056) < 0.01)
        True
    """
    shares = np.asarray(counts, np.float64)
    shares = shares / shares.sum()
    if ordered and len(shares) > STEPS:
        cuts = np.unique(np.searchsorted(np.cumsum(shares), np.linspace(0, 1, STEPS + 1)[:-1], side="right"))
        shares = np.add.reduceat(shares, cuts)
        shares = shares / shares.sum()
    free = np.sqrt(shares * (1 / n + 1 / m)) * rng.standard_normal((CHANCES, len(shares)))
    gaps = free - shares * free.sum(axis=1, keepdims=True)
    far = np.abs(np.cumsum(gaps, axis=1)).max(axis=1) if ordered else np.abs(gaps).sum(axis=1) / 2
    return float(far.mean())


def share_difference(a: ArrayLike, n: ArrayLike, b: ArrayLike, m: ArrayLike) -> tuple[Array, Array, Array]:
    """Compute a / n - b / m with its 95 % interval, (c,) each, by Newcombe's method (Newcombe 1998, method 10).

    The interval combines two Wilson intervals.

    Args:
        a, b: number of rows with some property, (c,), out of n and m rows.

    Example:
        >>> [round(float(x), 4) for x in share_difference(56, 70, 48, 80)]  # Newcombe's own example
        [0.2, 0.0524, 0.3339]
    """
    p, q = np.divide(a, n), np.divide(b, m)
    (p_low, p_high), (q_low, q_high) = wilson(p, n), wilson(q, m)
    gap = p - q
    low = gap - np.sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    return gap, low, gap + np.sqrt((p_high - p) ** 2 + (q - q_low) ** 2)


def signed_root(a: ArrayLike, n: ArrayLike, b: ArrayLike, m: ArrayLike) -> Array:
    """Compute the signed root of the likelihood ratio, (c,), standard normal if the shares a / n and b / m are equal.

        z = sign(a / n - b / m) sqrt(2 sum over the four counts O of O log(O / E))

    Its tails are accurate for rare events and for sets of very different sizes, unlike Pearson's statistic.

    Example:
        >>> round(float(signed_root(30, 100, 50, 100)), 3)
        -2.899
    """
    a, n, b, m = (np.asarray(x, np.float64) for x in (a, n, b, m))
    pooled = (a + b) / (n + m)
    twice = 2 * sum(
        _entropy(observed, total * share)
        for observed, total, share in ((a, n, pooled), (n - a, n, 1 - pooled), (b, m, pooled), (m - b, m, 1 - pooled))
    )
    return np.asarray(np.sign(a / n - b / m) * np.sqrt(np.maximum(twice, 0.0)))


def _entropy(observed: Array, expected: Array) -> Array:
    from scipy.special import xlogy

    return np.asarray(xlogy(observed, np.where(observed > 0, observed, 1.0) / np.where(expected > 0, expected, 1.0)))


def _check_finite(x: ArrayLike) -> NDArray[np.float64]:
    x = np.asarray(plain(x), np.float64)
    if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
        raise ValueError(f"numbers of shape {x.shape}; expected (n,), n >= 1, all finite.")
    return x


# --- Frames of one table -> arrays that can be compared -------------------------------------------------------------
#
# Numbers are unchanged; labels become codes shared by all frames.


OTHERS = "all others"


@dataclass(frozen=True)
class SharedColumns:
    """Columns shared by several frames, and the entries of each frame.

    Attributes:
        columns: the d columns.
        discrete: whether the entries of each column are labels, (d,).
        labels: labels of each discrete column, in an order shared by all frames; () for a number.
        x: entries of each frame, (n, d): numbers (microseconds since 1970 for dates), codes of labels; NaN if missing.
    """

    columns: tuple[Column, ...]
    discrete: Mask
    labels: tuple[tuple[str, ...], ...]
    x: Mapping[str, Array]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)

    def merged(self, most: int) -> tuple[dict[str, Array], tuple[int, ...]]:
        """Merge the rarest labels, so that each column has at most `most` codes; return entries and code counts."""
        merged = {name: x.copy() for name, x in self.x.items()}
        levels = []
        for j, labels in enumerate(self.labels):
            if len(labels) > most:
                counts = sum(counted(x[:, j], len(labels)) for x in self.x.values())
                codes = np.full(len(labels), most - 1.0)
                codes[np.argsort(-np.asarray(counts), kind="stable")[: most - 1]] = np.arange(most - 1)
                for x in merged.values():
                    here = ~np.isnan(x[:, j])
                    x[here, j] = codes[x[here, j].astype(np.intp)]
            levels.append(int(np.clip(len(labels), 1, most)))
        return merged, tuple(levels)


@dataclass(frozen=True)
class NormalScores:
    """Map a number to the standard normal quantile of its rank among reference numbers, with linear interpolation.

    Equal numbers have equal scores, and an outlier is no further away than the largest rank. Numbers outside the
    range of the reference have the score of its end.

    Attributes:
        values: the distinct reference numbers, increasing, (k,).
        scores: scores of the values, (k,).

    Example:
        >>> NormalScores.of(np.array([1.0, 2.0, 9.0]))(np.array([2.0, 100.0])).round(3)
        array([0.   , 0.967])
    """

    values: Array
    scores: Array

    @classmethod
    def of(cls, reference: Array) -> NormalScores:
        """Fit to reference numbers (n,), ignoring NaN; without any number, all scores are 0."""
        from scipy.special import ndtri

        values, counts = np.unique(reference[~np.isnan(reference)], return_counts=True)
        if not len(values):
            return cls(np.zeros(1), np.zeros(1))
        upto = np.cumsum(counts)
        return cls(values, np.asarray(ndtri((upto - counts / 2) / upto[-1])))

    def __call__(self, x: Array) -> Array:
        """Return the scores of numbers (n,); NaN remains NaN."""
        return np.asarray(np.interp(x, self.values, self.scores))


def counted(codes: Array, labels: int) -> NDArray[np.int64]:
    """Count the rows of each code, (labels,)."""
    return np.bincount(codes[~np.isnan(codes)].astype(np.intp), minlength=labels)


def view_of(schema: Schema, frames: Mapping[str, Frame]) -> SharedColumns:
    """Convert frames to arrays with shared codes.

    Args:
        schema: schema of the table.
        frames: name, such as "held_out" -> rows with the columns of the schema.

    Raises:
        DataError: a missing or additional column, or text instead of numbers or dates.
    """
    called = {name: f"the {name.replace('_', '-')} rows" for name in frames}
    frames = {name: schema.frame(frame, name=called[name]) for name, frame in frames.items()}
    columns = schema.compared
    discrete = np.array([KINDS[column.kind].discrete for column in columns])
    x = {name: np.empty((len(frame), len(discrete)), order="F") for name, frame in frames.items()}
    labels: list[tuple[str, ...]] = []
    for j, column in enumerate(columns):
        entries = {name: frame.columns[column.name] for name, frame in frames.items()}
        if discrete[j]:
            shared, codes = _encode_labels(entries)
            labels.append(tuple(map(str, shared)))
        else:
            codes = {name: _numbers(column, series, called[name]) for name, series in entries.items()}
            labels.append(())
        for name, values in codes.items():
            x[name][:, j] = np.where(entries[name].missing, np.nan, values)
    return SharedColumns(columns, discrete, tuple(labels), x)


def _encode_labels(entries: Mapping[str, Series]) -> tuple[list[Any], dict[str, Array]]:
    """Return the labels that occur in any of the frames, and the codes of each frame."""
    found = {name: _labels_of(series) for name, series in entries.items()}
    order: dict[Any, None] = {}
    # An ordered series determines the order; other labels are sorted.
    for name in sorted(entries, key=lambda name: not entries[name].ordered):
        series, (own, codes) = entries[name], found[name]
        seen = np.unique(codes[~series.missing])
        labels = [own[code] for code in seen]
        order |= dict.fromkeys(
            labels if series.ordered else sorted(labels, key=lambda label: (str(type(label)), label))
        )
    shared = list(order)
    place = {label: code for code, label in enumerate(shared)}
    made = {}
    for name, (own, codes) in found.items():
        table = np.array([place.get(label, -1) for label in own] or [0], np.float64)
        made[name] = table[np.where(entries[name].missing, 0, codes)]
    return shared, made


def _labels_of(series: Series) -> tuple[list[Any], NDArray[np.int64]]:
    if series.type == "label":
        return list(series.labels), series.values
    found, codes = np.unique(series.values, return_inverse=True)
    return found.tolist(), codes


def _numbers(column: Column, series: Series, name: str) -> Array:
    dates = column.kind == "date"
    if dates and series.type == "label":
        return _dates(column, series, name)
    if ((series.type == "date") != dates and not series.missing.all()) or series.type == "label":
        raise DataError(
            f"column '{column.name}' of {name} holds {TYPE_WORDS[series.type]}; "
            f"expected {'dates' if dates else 'numbers'}. Convert the column first."
        )
    values = series.values.astype(np.float64)
    if np.isinf(values).any():
        row = int(np.isinf(values).argmax())
        raise DataError(
            f"column '{column.name}' of {name}, row {row + 1}: got {values[row]}; expected a finite number. "
            "Leave the entry empty to mark it as missing, or remove the row."
        )
    return values


def _dates(column: Column, series: Series, name: str) -> Array:
    """Convert text to microseconds since 1970."""
    made = np.zeros(max(len(series.labels), 1))
    for code in np.unique(series.known).tolist():
        try:
            made[code] = float(moment_of(str(series.labels[code])).astype("M8[us]").astype(np.int64))
        except ValueError:
            raise DataError(
                f"column '{column.name}' of {name} holds '{series.labels[code]}'; "
                "expected a date such as 2026-05-17 or 2026-05-17T12:30:00."
            ) from None
    return made[np.where(series.missing, 0, series.values)]


# --- A column as a histogram ----------------------------------------------------------------------------------------
#
# Bars for labels, or a histogram of real and synthetic numbers in the same bins.
#
# A histogram reaches from the smallest to the largest number of both tables, so that outliers are visible.


MOST_LABELS = 12


@dataclass(frozen=True)
class Histogram:
    """Shares of the observed entries of real and of synthetic rows, (k,) each: by label, or between `edges` (k + 1,).

    The edges cover the whole range of both. `places` (k + 1,) are their positions in a picture, from 0 to 1: evenly
    spaced, or on an asinh scale for numbers with long tails.
    """

    real: Array
    synthetic: Array
    labels: tuple[str, ...] = ()
    edges: Array | None = None
    places: Array | None = None


def bars_of(synthetic: Array, real: Array, labels: tuple[str, ...]) -> Histogram:
    """Compute a histogram of observed entries (n,) and (m,): codes of `labels`, or numbers if there are no labels."""
    if labels:
        return _label_histogram(synthetic, real, labels)
    edges, places = histogram_bins(synthetic, real)
    shares = [np.histogram(x, edges)[0] / len(x) for x in (real, synthetic)]
    return Histogram(shares[0], shares[1], edges=edges, places=places)


def _label_histogram(synthetic: Array, real: Array, labels: tuple[str, ...]) -> Histogram:
    shares = [counted(x, len(labels)) / len(x) for x in (real, synthetic)]
    if len(labels) <= MOST_LABELS:
        return Histogram(shares[0], shares[1], labels)
    order = np.argsort(-np.maximum(*shares), kind="stable")
    top: NDArray[np.intp] = np.sort(order[: MOST_LABELS - 1])
    rest = order[MOST_LABELS - 1 :]
    real_share, own_share = (np.append(share[top], share[rest].sum()) for share in shares)
    return Histogram(real_share, own_share, (*(labels[k] for k in top), f"{OTHERS} ({len(rest)})"))


def moments_of(x: Array) -> tuple[float, float]:
    """Return mean and standard deviation of numbers (n,), even if their squares overflow."""
    size = float(np.abs(x).max()) or 1.0
    return float((x / size).mean()) * size, float((x / size).std()) * size


def quantiles_of(x: Array) -> tuple[float, ...]:
    """Return minimum, quartiles and maximum of numbers (n,), each a number of the column."""
    return tuple(float(q) for q in np.quantile(x, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf"))


# --- Every column as shares of rows: tests of equal shares among synthetic and among real rows ----------------------
#
#     label k              the share of x = k
#     number               the shares of x <= t, thresholds t far into both tails, and of x = a, frequent values a
#     missing entries      their share
#
# All contrasts (synthetic minus real) form one family, with one probability of a false alarm. Each label is a separate
# test; all contrasts of a number are one test, so that outliers, shifts and excess zeros are detected at the price of
# one test.


Of = Literal["label", "number", "missing"]

LABELS = 30  # most frequent labels of a column; the others are merged
TESTS = 4  # largest weight of a column of labels, in labels
NUMBER = 0.5  # weight of a column of numbers, in labels
TAIL = 3.0  # factor between the numbers of rows beyond successive thresholds in a tail
ATOMS, ATOM = 5, 0.02  # most frequent values of a number, and their smallest share of the rows
SAMPLE = 2000  # rows for the correlations between the contrasts


@dataclass(frozen=True)
class Contrast:
    """A share of rows, compared between synthetic and real rows.

    Attributes:
        column: index of the column.
        of: kind of the share.
        text: property of the rows, as in "'Gentoo' in 10 % of the rows".
        value: the number in `text`; NaN for labels.
        synthetic, real: shares.
        difference, low, high: synthetic minus real, with its 95 % interval, or the interval of `Shares.corrected`.
        p_value: p-value in the family of all contrasts.
        error: standard deviation of the difference under the null hypothesis.
    """

    column: int
    of: Of
    text: str
    value: float
    synthetic: float
    real: float
    difference: float
    low: float
    high: float
    p_value: float
    error: float

    def to_dict(self) -> dict[str, Any]:
        """Return the contrast as a dict for JSON."""
        return {"of": self.text, "synthetic": self.synthetic, "real": self.real, "difference": self.difference,
                "low": self.low, "high": self.high}  # fmt: skip


@dataclass(frozen=True)
class Shares:
    """All contrasts of two tables, and their family."""

    contrasts: tuple[Contrast, ...]
    family: ContrastFamily

    @property
    def p_value(self) -> float:
        """The smallest p-value."""
        return min((contrast.p_value for contrast in self.contrasts), default=1.0)

    def corrected(self, adjust: Adjustment) -> Shares:
        """Adjust the intervals for all tests of a table, so that they exclude 0 exactly if p is below `ALPHA`."""
        contrasts = []
        for one, z in zip(self.contrasts, self.family.critical(ALPHA / adjust.factor).tolist(), strict=True):
            plain = Metric(one.text, one.difference, one.low, one.high)
            found = corrected(plain, z, 0.0, adjust(one.p_value) < ALPHA)
            contrasts.append(replace(one, low=max(found.low, -1.0), high=min(found.high, 1.0)))
        return Shares(tuple(contrasts), self.family)

    def of(self, column: int, of: Sequence[Of]) -> Contrast | None:
        """Return the most significant contrast of a column, the largest in case of ties."""
        mine = [one for one in self.contrasts if one.column == column and one.of in of]
        return min(mine, key=lambda one: (one.p_value, -abs(one.difference) / (one.error or 1.0)), default=None)

    def detectable(self, column: int, of: Sequence[Of], level: float) -> float | None:
        """Return the difference that tests at this level of the family detect in 80 % of cases, for common values."""
        z = self.family.critical(level) + ndtri(POWER)
        mine = [z[i] * one.error for i, one in enumerate(self.contrasts) if one.column == column and one.of in of]
        return float(min(max(mine), 1.0)) if mine else None


@dataclass
class _Draft:
    """A contrast before counting: masks of the rows with a value and with the property, and its test."""

    column: int
    of: Of
    text: str
    value: float
    known: Callable[[Array], NDArray[np.bool_]]
    fulfil: Callable[[Array], NDArray[np.bool_]]
    test: int
    weight: float


def compare_shares(
    view: SharedColumns,
    synthetic: Array,
    real: Array,
    by_design: Sequence[bool],
    said: Callable[[int, float], str],
    rng: np.random.Generator,
) -> Shares:
    """Compute all contrasts between two sets of rows.

    Args:
        view: the columns.
        synthetic, real: entries (n, d) and (m, d) of the view.
        by_design: whether synthetic rows have no missing entries in each column by design, (d,).
        said: (column, number) -> the number as text.
        rng: generator for the rows for correlations, and for the draws of the family.
    """
    drafts: list[_Draft] = []
    for j in range(len(view.names)):
        a, b = synthetic[:, j], real[:, j]
        gone = np.isnan(a).any() or np.isnan(b).any()
        if gone and not by_design[j]:
            drafts.append(_Draft(j, "missing", "missing", np.nan, _all, np.isnan, _next_test(drafts), 1.0))
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        if not (len(a) and len(b)):
            continue
        if view.discrete[j]:
            drafts += _label_drafts(j, view.labels[j], a, b, _next_test(drafts))
        else:
            drafts += _number_drafts(j, a, b, partial(said, j), _next_test(drafts))
    counts = np.array([[*_count_rows(synthetic, one), *_count_rows(real, one)] for one in drafts], np.float64).reshape(
        -1, 4
    )
    a, n, b, m = counts.T
    z = signed_root(a, n, b, m)
    family = family_of(
        _features(drafts, synthetic, real, rng), [one.test for one in drafts], [one.weight for one in drafts], rng
    )
    gap, low, high = share_difference(a, n, b, m)
    pooled = (a + b) / (n + m)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    numbers = zip(a / n, b / m, gap, low, high, family.p_values(z), error, strict=True)
    contrasts = tuple(
        Contrast(one.column, one.of, one.text, one.value, *map(float, row))
        for one, row in zip(drafts, numbers, strict=True)
    )
    return Shares(contrasts, family)


def _label_drafts(column: int, labels: Sequence[str], a: Array, b: Array, test: int) -> list[_Draft]:
    """Return a draft for each frequent label, and one for all others."""
    shares = [counted(x, len(labels)) / len(x) for x in (a, b)]
    seen = np.flatnonzero(shares[0] + shares[1])
    if len(seen) < 2:
        return []
    own = seen
    if len(seen) > LABELS:
        own = np.argsort(-(shares[0] + shares[1]), kind="stable")[:LABELS]
    weight = min(1.0, TESTS / len(own))
    drafts = []
    for i, code in enumerate(own.tolist()):
        fulfil = partial(np.equal, code)
        drafts.append(_Draft(column, "label", f"'{labels[code]}'", np.nan, _is_known, fulfil, test + i, weight))
    if len(own) < len(seen):
        text, fulfil = f"{OTHERS} ({len(seen) - len(own):,} labels)", partial(np.isin, test_elements=own, invert=True)
        drafts.append(_Draft(column, "label", text, np.nan, _is_known, fulfil, test + len(own), weight))
    return drafts


def _number_drafts(column: int, a: Array, b: Array, said: Callable[[float], str], test: int) -> list[_Draft]:
    """Return drafts for thresholds and frequent values, all one test."""
    both = np.sort(np.concatenate([a, b]))
    levels = _levels(min(len(a), len(b)))
    places = np.clip(np.ceil(levels * len(both)).astype(np.intp) - 1, 0, len(both) - 1)
    thresholds = np.unique(both[places])
    thresholds = thresholds[thresholds < both[-1]]
    values, counts = np.unique(both, return_counts=True)
    often = np.flatnonzero(counts >= max(ATOM * len(both), 2))
    often = often[np.argsort(-counts[often], kind="stable")[:ATOMS]] if len(values) > 2 else often[:0]
    # Values come first, so that the simpler of two equivalent contrasts is shown.
    return [
        _Draft(column, "number", said(v), float(v), _is_known, partial(np.equal, v), test, NUMBER)
        for v in values[often].tolist()
    ] + [
        _Draft(column, "number", f"at most {said(t)}", float(t), _is_known, partial(np.greater_equal, t), test, NUMBER)
        for t in thresholds.tolist()
    ]


def _levels(n: int) -> Array:
    """Return the shares of rows below the thresholds: tenths, and in the tails down to one row of n."""
    tail = 0.1 / TAIL ** np.arange(1, max(int(np.ceil(np.log(0.1 * n) / np.log(TAIL))), 0) + 1)
    tail = np.maximum(tail, 1 / n)
    return np.unique(np.concatenate([tail, np.arange(1, 10) / 10, 1 - tail]))


def _features(drafts: Sequence[_Draft], synthetic: Array, real: Array, rng: np.random.Generator) -> Array:
    """Return the centred indicators of the contrasts for some rows of both sets, (n, c)."""
    total = len(synthetic) + len(real)
    rows = rng.permutation(total)[:SAMPLE]
    mine, theirs = rows[rows < len(synthetic)], rows[rows >= len(synthetic)] - len(synthetic)
    x = np.concatenate([synthetic[mine], real[theirs]])
    features = np.zeros((len(x), len(drafts)))
    for i, one in enumerate(drafts):
        known = one.known(x[:, one.column])
        hit = one.fulfil(x[known, one.column])
        features[known, i] = hit - hit.mean() if len(hit) else 0.0
    return features


def _count_rows(x: Array, one: _Draft) -> tuple[int, int]:
    column = x[:, one.column]
    column = column[one.known(column)]
    return int(one.fulfil(column).sum()), len(column)


def _next_test(drafts: Sequence[_Draft]) -> int:
    return drafts[-1].test + 1 if drafts else 0


def _is_known(x: Array) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(x))


def _all(x: Array) -> NDArray[np.bool_]:
    return np.ones(len(x), bool)
