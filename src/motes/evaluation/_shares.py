"""Every column as shares of rows: is the share among synthetic rows that among real ones?

    label k              the share of x = k
    number               the shares of x <= t, thresholds t far into both tails, and of x = a, values a that come often
    missing entries      their share

All contrasts (synthetic minus real) are one family, with one probability of a false alarm. A label is a test of its
own; all contrasts of a number are one test, so that outliers, shifts and piles of zeros are found at the price of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from motes.evaluation._families import ALPHA, POWER, Adjustment, Family, family_of
from motes.evaluation._marginals import share_difference, signed_root
from motes.evaluation._results import Array, Metric, corrected
from motes.evaluation._views import OTHERS, View, counted

Of = Literal["label", "number", "missing"]

LABELS = 30  # of a column, the most frequent; the others are one
TESTS = 4  # a column of labels has the weight of at most so many labels
NUMBER = 0.5  # the weight of a number, in labels
TAIL = 3.0  # each threshold in a tail has so many times fewer rows beyond it than the one before
ATOMS, ATOM = 5, 0.02  # so many values of a number, each in at least such a share of the rows
SAMPLE = 2000  # rows for the correlations between the contrasts


@dataclass(frozen=True)
class Contrast:
    """The share of some rows among synthetic and among real rows.

    Attributes:
        column: its place in the table.
        of: what kind of share.
        text: what the rows have, as in "'Gentoo' in 10 % of the rows".
        value: the number that `text` shows; NaN of labels.
        synthetic, real: shares.
        difference: synthetic minus real; `low`, `high` its 95 % interval, or that of `Shares.corrected`.
        p_value: within the family of all contrasts.
        error: standard deviation of the difference where there is none in truth.
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
        """For JSON."""
        return {"of": self.text, "synthetic": self.synthetic, "real": self.real, "difference": self.difference,
                "low": self.low, "high": self.high}  # fmt: skip


@dataclass(frozen=True)
class Shares:
    """All contrasts of two tables, and their family."""

    contrasts: tuple[Contrast, ...]
    family: Family

    @property
    def p_value(self) -> float:
        """The smallest."""
        return min((contrast.p_value for contrast in self.contrasts), default=1.0)

    def corrected(self, adjust: Adjustment) -> Shares:
        """With intervals at the level of all tests of a table: they exclude 0 exactly where p is below `ALPHA`."""
        contrasts = []
        for one, z in zip(self.contrasts, self.family.critical(ALPHA / adjust.factor).tolist(), strict=True):
            plain = Metric(one.text, one.difference, one.low, one.high)
            found = corrected(plain, z, 0.0, adjust(one.p_value) < ALPHA)
            contrasts.append(replace(one, low=max(found.low, -1.0), high=min(found.high, 1.0)))
        return Shares(tuple(contrasts), self.family)

    def of(self, column: int, of: Sequence[Of]) -> Contrast | None:
        """The most significant contrast of a column, among equals the largest."""
        mine = [one for one in self.contrasts if one.column == column and one.of in of]
        return min(mine, key=lambda one: (one.p_value, -abs(one.difference) / (one.error or 1.0)), default=None)

    def detectable(self, column: int, of: Sequence[Of], level: float) -> float | None:
        """How large a difference the tests at this level of the family find in 80 % of cases, for common values."""
        z = self.family.critical(level) + ndtri(POWER)
        mine = [z[i] * one.error for i, one in enumerate(self.contrasts) if one.column == column and one.of in of]
        return float(min(max(mine), 1.0)) if mine else None


@dataclass
class _Draft:
    """A contrast before anything is counted: rows that have a value, those that fulfil it, and its test."""

    column: int
    of: Of
    text: str
    value: float
    known: Callable[[Array], NDArray[np.bool_]]
    fulfil: Callable[[Array], NDArray[np.bool_]]
    test: int
    weight: float


def compare_shares(
    view: View,
    synthetic: Array,
    real: Array,
    by_design: Sequence[bool],
    said: Callable[[int, float], str],
    rng: np.random.Generator,
) -> Shares:
    """All contrasts between two sets of rows.

    Args:
        view: what the columns are.
        synthetic, real: entries (n, d) and (m, d) of the view.
        by_design: (d,), missing entries are left out of these columns of the synthetic rows on purpose.
        said: (column, number) -> the number in words.
        rng: of the rows for correlations, and of the draws of the family.
    """
    drafts: list[_Draft] = []
    for j in range(len(view.names)):
        a, b = synthetic[:, j], real[:, j]
        gone = np.isnan(a).any() or np.isnan(b).any()
        if gone and not by_design[j]:
            drafts.append(_Draft(j, "missing", "missing", np.nan, _all, np.isnan, _next(drafts), 1.0))
        a, b = a[~np.isnan(a)], b[~np.isnan(b)]
        if not (len(a) and len(b)):
            continue
        if view.discrete[j]:
            drafts += _labels(j, view.labels[j], a, b, _next(drafts))
        else:
            drafts += _numbers(j, a, b, partial(said, j), _next(drafts))
    counts = np.array([[*_counts(synthetic, one), *_counts(real, one)] for one in drafts], np.float64).reshape(-1, 4)
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


def _labels(column: int, labels: Sequence[str], a: Array, b: Array, test: int) -> list[_Draft]:
    """One for each frequent label, and one for all others."""
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
        drafts.append(_Draft(column, "label", f"'{labels[code]}'", np.nan, _known, fulfil, test + i, weight))
    if len(own) < len(seen):
        text, fulfil = f"{OTHERS} ({len(seen) - len(own):,} labels)", partial(np.isin, test_elements=own, invert=True)
        drafts.append(_Draft(column, "label", text, np.nan, _known, fulfil, test + len(own), weight))
    return drafts


def _numbers(column: int, a: Array, b: Array, said: Callable[[float], str], test: int) -> list[_Draft]:
    """Thresholds and values that come often, all one test."""
    both = np.sort(np.concatenate([a, b]))
    levels = _levels(min(len(a), len(b)))
    places = np.clip(np.ceil(levels * len(both)).astype(np.intp) - 1, 0, len(both) - 1)
    thresholds = np.unique(both[places])
    thresholds = thresholds[thresholds < both[-1]]
    values, counts = np.unique(both, return_counts=True)
    often = np.flatnonzero(counts >= max(ATOM * len(both), 2))
    often = often[np.argsort(-counts[often], kind="stable")[:ATOMS]] if len(values) > 2 else often[:0]
    # Values first: of two contrasts that say the same, the simpler one is shown.
    return [
        _Draft(column, "number", said(v), float(v), _known, partial(np.equal, v), test, NUMBER)
        for v in values[often].tolist()
    ] + [
        _Draft(column, "number", f"at most {said(t)}", float(t), _known, partial(np.greater_equal, t), test, NUMBER)
        for t in thresholds.tolist()
    ]


def _levels(n: int) -> Array:
    """Shares of rows below the thresholds: tenths, and in the tails down to one row of n."""
    tail = 0.1 / TAIL ** np.arange(1, max(int(np.ceil(np.log(0.1 * n) / np.log(TAIL))), 0) + 1)
    tail = np.maximum(tail, 1 / n)
    return np.unique(np.concatenate([tail, np.arange(1, 10) / 10, 1 - tail]))


def _features(drafts: Sequence[_Draft], synthetic: Array, real: Array, rng: np.random.Generator) -> Array:
    """Some rows of both sets as the contrasts see them, centred, (n, c)."""
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


def _counts(x: Array, one: _Draft) -> tuple[int, int]:
    column = x[:, one.column]
    column = column[one.known(column)]
    return int(one.fulfil(column).sum()), len(column)


def _next(drafts: Sequence[_Draft]) -> int:
    return drafts[-1].test + 1 if drafts else 0


def _known(x: Array) -> NDArray[np.bool_]:
    return np.asarray(~np.isnan(x))


def _all(x: Array) -> NDArray[np.bool_]:
    return np.ones(len(x), bool)
