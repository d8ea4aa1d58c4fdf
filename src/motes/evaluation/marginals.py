"""Differences of one column between two tables.

    KS = max over x of |F_a(x) - F_b(x)|        TV = 1/2 sum over labels k of |p_a(k) - p_b(k)|

Both are shares of rows: KS for numbers, TV for labels. They are above 0 for any two samples, so `distance` also returns
their mean by chance. Tests compare shares, in the section "Every column as shares of rows".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, rel_entr

from motes.data import Frame
from motes.data.arrays import TYPE_WORDS, Mask, Series
from motes.encoding import JsonRecord
from motes.errors import DataError
from motes.evaluation import results
from motes.evaluation.results import ALPHA, POWER, Adjustment, Array, ContrastFamily, Metric, Verdict
from motes.rasters import histogram_bins
from motes.tables import Schema
from motes.tables.kinds import KINDS
from motes.tables.kinds.columns import Column
from motes.tables.kinds.numbers import parse_dates

CHANCES = 200  # simulated differences between two samples
STEPS = 400  # points at which a simulated distribution function is evaluated


def distance(a: Array, b: Array, rng: np.random.Generator, *, ordered: bool) -> tuple[float, float]:
    """Compute a distance between two sets of entries, and its mean for two samples of one distribution.

    Args:
        a, b: entries (n,) and (m,), without missing ones, at least 1 of each.
        rng: generator for 200 simulated differences, Gaussians with the covariances of multinomial counts.
        ordered: True for the Kolmogorov-Smirnov distance of numbers, False for the total variation of codes.
    """
    values, place = np.unique(np.concatenate([a, b]), return_inverse=True)
    p, q = (np.bincount(part, minlength=len(values)) / len(part) for part in np.split(place, [len(a)]))
    shares = (len(a) * p + len(b) * q) / (len(a) + len(b))
    if ordered and len(shares) > STEPS:
        cuts = np.unique(np.searchsorted(np.cumsum(shares), np.linspace(0, 1, STEPS + 1)[:-1], side="right"))
        shares = np.add.reduceat(shares, cuts)
    free = np.sqrt(shares * (1 / len(a) + 1 / len(b))) * rng.standard_normal((CHANCES, len(shares)))
    by_chance = free - shares * free.sum(axis=1, keepdims=True)
    # Gaussians may have a distance above 1 where most labels occur once.
    return float(_distances(p - q, ordered)), float(np.minimum(_distances(by_chance, ordered), 1.0).mean())


def _distances(gaps: Array, ordered: bool) -> Array:
    """Return the distance for each vector of differences of shares, (..., K)."""
    return np.abs(gaps.cumsum(axis=-1)).max(axis=-1) if ordered else np.abs(gaps).sum(axis=-1) / 2


def quantiles_of(x: Array) -> tuple[float, ...]:
    """Return minimum, quartiles and maximum of numbers (n,), each a number of the column."""
    return tuple(float(q) for q in np.quantile(x, [0, 0.25, 0.5, 0.75, 1], method="inverted_cdf"))


def normal_scores(x: Array, reference: Array) -> Array:
    """Map numbers (n,) to the standard normal quantiles of their ranks among reference numbers (m,), interpolated.

    Equal numbers have equal scores, and an outlier is no further away than the largest rank: numbers outside the range
    of the reference have the score of its end. Missing numbers, NaN, remain missing.

    Example:
        >>> normal_scores(np.array([2.0, 100.0]), np.array([1.0, 2.0, 9.0])).round(3)
        array([0.   , 0.967])
    """
    values, counts = np.unique(reference[~np.isnan(reference)], return_counts=True)
    if not len(values):
        return x * 0.0
    upto = np.cumsum(counts)
    return np.asarray(np.interp(x, values, ndtri((upto - counts / 2) / upto[-1])))


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
    (p_low, p_high), (q_low, q_high) = results.wilson(p, n), results.wilson(q, m)
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
    half = rel_entr(a, n * pooled) + rel_entr(n - a, n * (1 - pooled))
    half += rel_entr(b, m * pooled) + rel_entr(m - b, m * (1 - pooled))
    return np.asarray(np.sign(a / n - b / m) * np.sqrt(np.maximum(2 * half, 0.0)))


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


def counted(codes: Array, labels: int) -> NDArray[np.int64]:
    """Count the rows of each code, (labels,)."""
    return np.bincount(codes[~np.isnan(codes)].astype(np.intp), minlength=labels)


def view_of(schema: Schema, frames: Mapping[str, Frame]) -> SharedColumns:
    """Convert frames to arrays with shared codes.

    Args:
        schema: schema of the table.
        frames: name, such as "held_out" -> rows with the columns of the schema.

    Raises:
        DataError: a missing or additional column, an infinite number, or text instead of numbers or dates.
    """
    called = {name: f"the {name.replace('_', '-')} rows" for name in frames}
    frames = {name: schema.frame(frame, name=called[name]) for name, frame in frames.items()}
    columns = schema.compared
    # Values without an order, such as a custom kind's with several parts, are compared like labels.
    kinds = [KINDS[column.kind] for column in columns]
    discrete = np.array([kind.discrete or kind.measure is None for kind in kinds])
    x = {name: np.full((len(frame), len(columns)), np.nan, order="F") for name, frame in frames.items()}
    labels: list[tuple[str, ...]] = []
    for j, column in enumerate(columns):
        entries = {name: frame.columns[column.name] for name, frame in frames.items()}
        if discrete[j]:
            shared, codes = _encode_labels(entries)
        else:
            shared, codes = (), {name: _numbers(column, series, called[name]) for name, series in entries.items()}
        labels.append(shared)
        for name, values in codes.items():
            x[name][~entries[name].missing, j] = values
    return SharedColumns(columns, discrete, tuple(labels), x)


def _encode_labels(entries: Mapping[str, Series]) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Return the labels that occur in any of the frames, and the codes of the observed entries of each frame.

    An ordered series determines the order; other labels are sorted.
    """
    found: dict[str, tuple[Sequence[Any], NDArray[np.intp]]] = {}
    for name, series in entries.items():
        values, codes = np.unique(series.known, return_inverse=True)
        found[name] = [series.labels[k] for k in values] if series.type == "label" else values.tolist(), codes
    ordered = [label for series in entries.values() if series.ordered for label in series.labels]
    first = {label: place for place, label in reversed([*enumerate(ordered)])}
    seen = {label for own, _ in found.values() for label in own}
    shared = sorted(seen, key=lambda label: (first.get(label, len(ordered)), str(type(label)), label))
    place = {label: float(code) for code, label in enumerate(shared)}
    coded = {name: np.array([place[label] for label in own])[codes] for name, (own, codes) in found.items()}
    return tuple(map(str, shared)), coded


def _numbers(column: Column, series: Series, name: str) -> Array:
    """Return the observed numbers of a column, or its dates as microseconds since 1970."""
    dates = column.kind == "date"
    if dates and series.type == "label":
        return parse_dates(series, np.flatnonzero(~series.missing), column.name, name).astype(np.float64)
    if len(series.known) and (series.type == "label" or (series.type == "date") != dates):
        raise DataError(
            f"column '{column.name}' of {name} holds {TYPE_WORDS[series.type]}; "
            f"expected {'dates' if dates else 'numbers'}. Convert the column first."
        )
    series.check_finite(column.name, name)
    return series.known.astype(np.float64)


# --- A column as a histogram ----------------------------------------------------------------------------------------
#
# Bars for labels, or a histogram of real and synthetic numbers in the same bins.
#
# A histogram reaches from the smallest to the largest number of both tables, so that outliers are visible.


MOST_LABELS = 12


@dataclass(frozen=True)
class Histogram:
    """Shares of the observed entries of real and of synthetic rows, (k,) each: by label, or between `edges` (k + 1,).

    The edges cover the whole range of both, from the smallest to the largest number, which are the `ends`. `places`
    (k + 1,) are their positions in a picture, from 0 to 1: evenly spaced, or on an asinh scale for numbers with long
    tails.
    """

    real: Array
    synthetic: Array
    labels: tuple[str, ...] = ()
    edges: Array | None = None
    places: Array | None = None
    ends: tuple[float, float] | None = None


def bars_of(synthetic: Array, real: Array, labels: tuple[str, ...]) -> Histogram:
    """Compute a histogram of observed entries (n,) and (m,): codes of `labels`, or numbers if there are no labels."""
    if labels:
        return _label_histogram(synthetic, real, labels)
    edges, places = histogram_bins(synthetic, real)
    shares = [np.histogram(x, edges)[0] / len(x) for x in (real, synthetic)]
    ends = min(synthetic.min(), real.min()), max(synthetic.max(), real.max())
    return Histogram(shares[0], shares[1], edges=edges, places=places, ends=(float(ends[0]), float(ends[1])))


def _label_histogram(synthetic: Array, real: Array, labels: tuple[str, ...]) -> Histogram:
    shares = [counted(x, len(labels)) / len(x) for x in (real, synthetic)]
    if len(labels) <= MOST_LABELS:
        return Histogram(shares[0], shares[1], labels)
    order = np.argsort(-np.maximum(*shares), kind="stable")
    top: NDArray[np.intp] = np.sort(order[: MOST_LABELS - 1])
    rest = order[MOST_LABELS - 1 :]
    real_share, own_share = (np.append(share[top], share[rest].sum()) for share in shares)
    return Histogram(real_share, own_share, (*(labels[k] for k in top), f"{OTHERS} ({len(rest)})"))


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
class Contrast(JsonRecord):
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

    json_names = ("text", "synthetic", "real", "difference", "low", "high")


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
            found = results.corrected(plain, z, 0.0, adjust(one.p_value) < ALPHA)
            contrasts.append(replace(one, low=max(found.low, -1.0), high=min(found.high, 1.0)))
        return Shares(tuple(contrasts), self.family)

    def of(self, column: int, *, missing: bool = False) -> Contrast | None:
        """Return the most significant contrast of a column, the largest in case of ties."""
        mine = [one for one in self.contrasts if one.column == column and (one.of == "missing") == missing]
        return min(mine, key=lambda one: (one.p_value, -abs(one.difference) / (one.error or 1.0)), default=None)

    def verdict(self, one: Contrast, size: float, text: str, of_what: str, adjust: Adjustment) -> Verdict:
        """Return the verdict on a column, from its most significant contrast."""
        detectable = self.detectable(one, ALPHA / adjust.factor)
        seen = f"a difference of {detectable:.2g} in {of_what}"
        return results.judged(adjust(one.p_value), size, "share", text, detectable=detectable, seen=seen)

    def detectable(self, one: Contrast, level: float) -> float:
        """Return the difference that tests at this level of the family detect in 80 % of cases, for common values."""
        mine = np.array([(other.column, other.of) == (one.column, one.of) for other in self.contrasts])
        edges = self.family.critical(level)[mine] + ndtri(POWER)
        errors = np.array([other.error for other in self.contrasts])[mine]
        return float(min((edges * errors).max(), 1.0))


def compare_shares(
    view: SharedColumns, synthetic: Array, real: Array, by_design: Mask, rng: np.random.Generator
) -> Shares:
    """Compute all contrasts between two sets of rows.

    Args:
        view: the columns.
        synthetic, real: entries (n, d) and (m, d) of the view.
        by_design: whether synthetic rows have no missing entries in each column by design, (d,).
        rng: generator for the rows for correlations, and for the draws of the family.
    """
    n = len(synthetic)
    some = rng.permutation(n + len(real))[:SAMPLE]
    named, counts, features, weights = [], [], [], []
    tests: dict[tuple[int, str], int] = {}  # the number of each test
    for j, (column, labels) in enumerate(zip(view.columns, view.labels, strict=True)):
        x, said = np.concatenate([synthetic[:, j], real[:, j]]), partial(results.shown, column.kind)
        for one in _column_shares(x, n, labels if view.discrete[j] else None, bool(by_design[j]), said):
            test = tests.setdefault((j, one.of if one.of == "number" else one.text), len(tests))
            named.append(((j, one.of, one.text, one.value), test))
            counts.append([rows[part].sum() for part in (slice(n), slice(n, None)) for rows in (one.hit, one.among)])
            features.append(one.among[some] * (one.hit[some] - one.hit.sum() / one.among.sum()))
            weights.append(one.weight)
    a, n_a, b, n_b = np.array(counts, np.float64).reshape(-1, 4).T
    columns = np.stack(features, axis=1) if features else np.zeros((len(some), 0))
    family = results.family_of(columns, [test for _, test in named], weights, rng)
    gap, low, high = share_difference(a, n_a, b, n_b)
    pooled = (a + b) / (n_a + n_b)
    error = np.sqrt(pooled * (1 - pooled) * (1 / n_a + 1 / n_b))
    numbers = zip(a / n_a, b / n_b, gap, low, high, family.p_values(signed_root(a, n_a, b, n_b)), error, strict=True)
    contrasts = (Contrast(*one, *map(float, row)) for (one, _), row in zip(named, numbers, strict=True))
    return Shares(tuple(contrasts), family)


class _Share(NamedTuple):
    """A share of rows to compare, of both sets together: `hit` among the rows `among`, (n + m,)."""

    of: Of
    text: str
    value: float
    hit: Mask
    among: Mask
    weight: float


def _column_shares(
    x: Array, n: int, labels: tuple[str, ...] | None, by_design: bool, said: Callable[[float], str]
) -> Iterator[_Share]:
    """Yield the shares of a column x (n + m,) of n synthetic and m real rows; `labels` is None for numbers."""
    known = ~np.isnan(x)
    if not known.all() and not by_design:
        yield _Share("missing", "missing", np.nan, ~known, np.ones(len(x), bool), 1.0)
    a, b = x[:n][known[:n]], x[n:][known[n:]]
    if not (len(a) and len(b)):
        return
    if labels is None:
        for value, text, hit in _number_shares(x, a, b, said):
            yield _Share("number", text, value, hit, known, NUMBER)
        return
    frequency = counted(a, len(labels)) / len(a) + counted(b, len(labels)) / len(b)
    seen = np.flatnonzero(frequency)
    if len(seen) < 2:
        return
    own = seen if len(seen) <= LABELS else np.argsort(-frequency, kind="stable")[:LABELS]
    weight = min(1.0, TESTS / len(own))
    for code in own.tolist():
        yield _Share("label", f"'{labels[code]}'", np.nan, x == code, known, weight)
    if len(own) < len(seen):
        text = f"{OTHERS} ({len(seen) - len(own):,} labels)"
        yield _Share("label", text, np.nan, known & ~np.isin(x, own), known, weight)


def _number_shares(x: Array, a: Array, b: Array, said: Callable[[float], str]) -> Iterator[tuple[float, str, Mask]]:
    """Yield frequent values and thresholds; values come first, so that the simpler of two equal shares is shown."""
    both = np.sort(np.concatenate([a, b]))
    values, counts = np.unique(both, return_counts=True)
    often = np.flatnonzero(counts >= max(ATOM * len(both), 2))
    often = often[np.argsort(-counts[often], kind="stable")[:ATOMS]] if len(values) > 2 else often[:0]
    for value in values[often].tolist():
        yield value, said(value), x == value
    places = np.ceil(_levels(min(len(a), len(b))) * len(both)).astype(np.intp) - 1
    for value in np.unique(both[np.clip(places, 0, None)]).tolist():
        if value < both[-1]:
            yield value, f"at most {said(value)}", x <= value


def _levels(n: int) -> Array:
    """Return the shares of rows below the thresholds: tenths, and in the tails down to one row of n."""
    tail = 0.1 / TAIL ** np.arange(1, max(int(np.ceil(np.log(0.1 * n) / np.log(TAIL))), 0) + 1)
    tail = np.maximum(tail, 1 / n)
    return np.unique(np.concatenate([tail, np.arange(1, 10) / 10, 1 - tail]))
