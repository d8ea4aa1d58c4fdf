"""Relations between columns: sums, products, inequalities, labels that follow, and entries missing together.

    w_1 x_1 + ... + w_m x_m = constant    in a share of the rows, and in more rows than by chance
    x_1 = c x_2^a x_3^b                   approximately: within a few per cent, in most rows
    x_a <= x_b (<= x_a + most)            in all or nearly all rows, although rows lie close to equality

A relation gives each of its columns from the others. Only equally spaced numbers (whole or rounded) have relations,
because a single value of a density has no probability. Inequalities hold between two columns of numbers, or of dates.

A relation that holds in all or nearly all rows is a rule: synthetic rows obey it as often as the training rows.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations, product
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.data.arrays import DAY
from motes.data.points import content_keys
from motes.tables.kinds.base import Kind
from motes.tables.kinds.binnings import Few
from motes.tables.parts import Array, Codes, Mask

LOOKED = 2000  # rows that are searched for relations; candidates are checked on all rows
SHARE = 0.02  # minimum share of the rows in which a relation holds,
TIMES = 3.0  # and minimum ratio to its frequency in shuffled rows, and to near misses by a few steps
NEAR = (-3, -2, -1, 1, 2, 3)  # steps of near misses: merely correlated columns have these as often as equality
FIRST = 500  # rows that are searched for sums first
ENOUGH = 12.0  # minimum number of rows beyond chance
DISTINCT = 10  # minimum number of values for which it holds: the tokens represent a few frequent values already
RARE = 0.2  # maximum share of a value's rows: frequent values produce trivial relations, such as 0 = 0
WIDEST = 60  # maximum number of columns that are searched for sums of two others
EQUAL = 1e-3  # steps up to which two numbers count as equal
SEVERAL = 4  # maximum number of relations of one column
CLOSE = 1e-9  # unexplained share of the variance up to which a column is linear in two others,
CLOSE_LOGS = 1e-3  # or its logarithm is linear in their logarithms
POWERS = 0.5, 0.05  # exponents of products are multiples of the first number, within the second
SPREAD = 0.02  # maximum relative deviation from a product in 9 of 10 rows
SUM_ROUNDS = 8  # fits of a sum of any number of columns, each to the rows that fit best,
SUM_KEPT = 0.7  # a share of these rows;
SUM_FITS = 0.95  # minimum share of the rows that fit a sum,
SUM_WIDTH = 0.02  # up to this multiple of the target's standard deviation
SUM_DECIMALS = 6  # maximum number of decimals of its constant
GROUP = 20  # rows per group in the search for linear relations: most groups contain no exception
EXPECTED = 12.0  # minimum number of rows expected beyond an inequality by chance: 1 in 3,000 would have none
BAND = 0.05, 60  # share and maximum number of rows in the band along the inequality, for this estimate
BROKEN = 0.01  # maximum share of exceptions to a rule,
FEWER = 10.0  # and minimum ratio of the exceptions expected by chance to those observed
EACH = 20  # minimum number of rows per gap for a gap with its own share
ENDLESS = 1e20  # microseconds: more than any difference of two dates
LIMIT = 2.0**52  # up to here, sums in float64 are exact
LARGEST_LOG = 700.0  # logarithm of the largest product in float64

Columns = Mapping[str, Array]  # column -> its numbers, (n,)
T = TypeVar("T")

# A `Rule` is a statement that holds in all or nearly all rows. It has `columns`, the `shares` of the training rows in
# each case (case 0 breaks the rule), `words`, a sentence, and `cases`, the case of each row.


@dataclass(frozen=True)
class Relation:
    """A linear relation of columns, weights . values = constant, or a product: the same for their logarithms.

    Attributes:
        columns: (m,), at least two.
        weights: (m,), none of them 0.
        constant: the right-hand side.
        share: share of the training rows in which it holds.
        step: distance between neighbouring numbers of the first column.
        within: for products, the maximum relative deviation in 9 of 10 rows; 0 for linear relations.
        tolerance: for sums of rounded numbers, the largest deviation that rounding explains; 0 for exact ones.
        rounded: for products and rounded sums, (m,), the share of the rows in which each column is the rounded value
            from the others.
    """

    columns: tuple[str, ...]
    weights: tuple[float, ...]
    constant: float
    share: float
    step: float
    within: float = 0.0
    tolerance: float = 0.0
    rounded: tuple[float, ...] = ()

    def share_of(self, target: str) -> float:
        """Return the share of the training rows in which the column `target` is exactly the value from the others."""
        return self.rounded[self.columns.index(target)] if self.rounded else self.share

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the training rows that break it, and that obey it."""
        return (round(1 - self.share, 12), self.share)

    def cases(self, values: Columns) -> NDArray[np.integer]:
        """Return 0 for rows that break it, otherwise 1, (n,)."""
        off = np.abs(self.value(self.columns[0], values) - values[self.columns[0]])
        return np.where(off > self.tolerance + self.step * (0.5 + EQUAL), 0, 1)

    def is_inexact(self, target: str, values: Columns, step: float) -> NDArray[np.bool_]:
        """Return where the column `target`, with this step, is not the rounded value from the others, (n,)."""
        return np.abs(self.value(target, values) - values[target]) > step * (0.5 + EQUAL)

    def value(self, target: str, values: Columns) -> Array:
        """Compute the column `target` (n,) from the `values` of the others, (n,) each."""
        rest, own = np.full(len(next(iter(values.values()))), self.constant), 1.0
        for column, weight in zip(self.columns, self.weights, strict=True):
            if column == target:
                own = weight
            else:
                rest = rest - weight * (_logs(values[column]) if self.within else values[column])
        return np.exp(np.clip(rest / own, -LARGEST_LOG, LARGEST_LOG)) if self.within else rest / own

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that it gives: each column from the others."""
        return self.columns

    @property
    def words(self) -> str:
        """The relation as a sentence, solved for the first column."""
        if self.within:
            near = rows_of(self.share) if self.shares[0] <= BROKEN else f"to {self.within:.1%} in 90% of the rows"
            return f"{self.columns[0]} = {self._product} {near}"
        own, rest = self.weights[0], zip(self.columns[1:], self.weights[1:], strict=True)
        terms = [(-weight / own, column) for column, weight in rest]
        terms += [(self.constant / own, "")] if self.constant else []
        terms.sort(key=lambda term: term[0] < 0)  # positive terms first
        addends = " ".join(_term(weight, column) for weight, column in terms).removeprefix("+ ")
        near = f"to {self.tolerance:g} " if self.tolerance else ""
        return f"{self.columns[0]} = {addends} {near}{rows_of(self.share)}"

    @property
    def _product(self) -> str:
        """The product that approximates the first column, such as "weight * height^-2"."""
        own, rest = self.weights[0], zip(self.columns[1:], self.weights[1:], strict=True)
        factors = [column if -weight == own else f"{column}^{-weight / own:g}" for column, weight in rest]
        if self.constant:
            factors.insert(0, f"{np.exp(self.constant / own):.4g}")
        return " * ".join(factors)


def _logs(x: Array) -> Array:
    """Compute natural logarithms (n,); NaN for numbers that are not positive."""
    return np.log(np.where(x > 0, x, np.nan))


def _term(weight: float, column: str) -> str:
    """Format a term of a sum with its sign; a constant has no column."""
    size = "" if column and abs(weight) == 1 else f"{abs(weight):g}"
    return " ".join(filter(None, ("-" if weight < 0 else "+", size, column)))


@dataclass(frozen=True)
class Inequality:
    """An inequality: column `low` is never, or hardly ever, greater than column `high`.

    Attributes:
        low, high: names of the columns.
        share: share of the training rows in which it holds.
        ends: (B+1,), ends of the bins of the gap high - low, if it takes few values, or for two dates; no gap lies on
            an end, and the last end is `ENDLESS` unless the gap has a sharp upper end.
        within: (B,), the shares of these bins among the training rows.
        most: the largest gap in words, if it has a sharp upper end.
    """

    low: str
    high: str
    share: float = 1.0
    ends: tuple[float, ...] = ()
    within: tuple[float, ...] = ()
    most: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of both columns."""
        return (self.low, self.high)

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of the training rows that break it, and that obey it, by the bins of the gap."""
        return (1 - self.share, *(self.within or (self.share,)))

    def cases(self, values: Columns) -> NDArray[np.integer]:
        """Return 0 if broken, -1 if an entry is missing, otherwise 1 or the bin of the gap, counted from 1, (n,)."""
        gap = values[self.high] - values[self.low]
        # 0 below the first end, and above the last one.
        bins = np.searchsorted(self.ends, gap) % len(self.ends) if self.ends else np.where(gap < 0, 0, 1)
        return np.where(np.isnan(gap), -1, bins)

    @property
    def words(self) -> str:
        """The inequality as a sentence."""
        above = f" <= {self.low} + {self.most}" if self.most else ""
        return f"{self.low} <= {self.high}{above} {rows_of(self.share)}"


def rows_of(share: float) -> str:
    """Describe a share of the rows in words."""
    if share == 1:
        return "in all rows"
    return f"in {min(max(share, 0.01), 0.99):.0%} of the rows" if share <= 1 - BROKEN else "in nearly all rows"


def _relations_of_numbers(frame: Frame, kinds: Sequence[Kind]) -> tuple[Relation, ...]:
    """Find the relations between the numbers of a table, the most frequent first.

    Args:
        frame: n training rows.
        kinds: kinds of its columns.
    """
    steps = {kind.column: kind.step for kind in kinds if kind.measure == "number" and kind.step is not None}
    columns = {name: _values(frame, name) for name in steps}
    columns = {name: x for name, x in columns.items() if np.abs(x).max(initial=0, where=~np.isnan(x)) < LIMIT}
    if len(columns) < 2:
        return ()
    rows = np.random.default_rng([0, 271828]).permutation(len(frame))
    rare = {name: _is_rare(x) for name, x in columns.items()}
    unusual = {name: np.where(rare[name], x, np.nan)[rows[:LOOKED]] for name, x in columns.items()}
    found = [_check_relation(one, columns, steps, rare, rows) for one in _find_candidates(unusual, steps)]
    looked = {name: x[rows[:LOOKED]] for name, x in columns.items()}
    found += [_check_sum(one, columns, steps, rare, rows) for one in _find_long_sums(looked, steps)]
    positive = {name: x for name, x in looked.items() if np.nanmin(columns[name], initial=np.inf) > 0}
    found += [_fit_product(one, columns, steps) for one in _find_products(positive, steps)]
    kept = [one for one in found if one is not None]
    return tuple(few_of_each(sorted(kept, key=lambda one: (-one.share, len(one.columns))), lambda one: one.targets))


def few_of_each(found: Iterable[T], columns: Callable[[T], Iterable[str]]) -> Iterator[T]:
    """Yield the first ones, skipping those with a column that already has `SEVERAL`."""
    count = Counter[str]()
    for one in found:
        if all(count[column] < SEVERAL for column in columns(one)):
            count.update(columns(one))
            yield one


def _values(frame: Frame, column: str) -> Array:
    """Return the numbers of a column, or microseconds of dates, (n,) as float64; NaN if missing."""
    series = frame.columns[column]
    return np.where(series.missing, np.nan, series.values.astype(np.float64))


def _is_rare(x: Array) -> NDArray[np.bool_]:
    """Return which numbers (n,) are not frequent values."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (counts <= max(RARE * len(x), 1.0))[place] & ~np.isnan(x)


def _find_candidates(x: Columns, steps: Mapping[str, float]) -> Iterator[Relation]:
    """Yield relations that hold in some of the rows x (n,) of each column, and more often than near misses occur."""
    for a, b in combinations(x, 2):
        if _stands_out((x[a] - x[b])[:, None] / steps[a])[0]:
            yield Relation((a, b), (1.0, -1.0), 0.0, 0.0, steps[a])
    names = [*x][:WIDEST]
    matrix, widths = np.stack([x[name] for name in names], axis=1), np.array([steps[name] for name in names])
    first = matrix[:FIRST]
    for i, k in combinations(range(len(names)), 2):
        off = (first - (first[:, i] + first[:, k])[:, None]) / widths
        for j in map(int, np.flatnonzero(_stands_out(off))):
            if j not in (i, k):
                yield Relation((names[j], names[i], names[k]), (1.0, -1.0, -1.0), 0.0, 0.0, steps[names[j]])
    for which, rows in _find_explained(matrix, CLOSE):
        weights = _regress(rows, which)
        nice = np.round(weights * 3600) / 3600  # usual factors are fractions of hours and percents
        weights = np.where(np.abs(weights - nice) < 1e-6 * np.maximum(1, np.abs(weights)), nice, weights)
        plain = not weights[-1] and np.isin(np.abs(weights[:-1]), (0.0, 1.0)).all()  # an equality or a sum
        if not plain and (weights[:-1] != 0).all():
            columns = tuple(names[i] for i in which)
            yield Relation(columns, (1.0, *(-weights[:-1])), float(weights[-1]), 0.0, steps[columns[0]])


class Sum(NamedTuple):
    """Columns that add up: the sum of signs * columns + constant is 0, roughly.

    Attributes:
        signs: column -> 1 or -1.
        constant: the constant.
    """

    signs: dict[str, int]
    constant: float


def find_sums(x: Columns) -> Iterator[tuple[str, tuple[Sum, Sum]]]:
    """Yield columns that are sums and differences of any number of columns before them, up to rounding.

    Each comes with two such sums, the first of which has other sums in the place of their terms.

    Args:
        x: column -> its numbers in some rows, (n,); NaN if missing.
    """
    names = [name for name, values in x.items() if np.isnan(values).mean() < 0.5][:WIDEST]
    rows = np.stack([x[name] for name in names], axis=1) if names else np.empty((0, 0))
    rows = rows[~np.isnan(rows).any(axis=1)]
    if len(rows) < 2 * len(names) + 10:
        return
    with np.errstate(over="ignore"):
        spread = rows.std(axis=0)
    varies = (spread > 0) & (spread < np.inf)  # a column may be constant where all others are observed
    names, rows = [name for name, here in zip(names, varies, strict=True) if here], rows[:, varies]
    independent, sums = list[int](), dict[str, dict[str, int]]()
    for j, target in enumerate(names):
        signs, constant, is_linear = _fit_sum(rows[:, j], rows[:, independent])
        if signs is not None and signs.any():
            terms = {names[independent[i]]: int(sign) for i, sign in enumerate(signs) if sign}
            shorter = dict(terms)
            for total, addends in sums.items():  # a part of the sum may be a sum itself
                sign = {shorter.get(name, 0) * its for name, its in addends.items()}
                if sign in ({1}, {-1}):
                    shorter = {name: its for name, its in shorter.items() if name not in addends}
                    shorter[total] = sign.pop()
            yield target, (Sum({**shorter, target: -1}, constant), Sum({**terms, target: -1}, constant))
            if not constant and len(terms) > 1:
                sums[target] = terms
        if not is_linear:
            independent.append(j)


def _fit_sum(y: Array, x: Array) -> tuple[Array | None, float, bool]:
    """Fit y (n,) as a sum or difference of some columns of x (n, d), plus a constant.

    Returns:
        The signs, (d,), or None; the constant; and whether y is linear in x in most rows.
    """
    n, d = x.shape
    if not d:
        return None, 0.0, False
    scale, spread = x.std(axis=0), y.std()
    design = np.column_stack([x / scale, np.ones(n)])
    rows = np.arange(n)
    for _ in range(SUM_ROUNDS):
        weights = np.linalg.lstsq(design[rows], y[rows], rcond=None)[0]
        missed = np.abs(design @ weights - y)
        signs = np.rint(weights[:-1] / scale)
        if np.median(missed) > 0.3 * spread:
            return None, 0.0, False
        near = (np.abs(signs) <= 1) & (np.abs(weights[:-1] / scale - signs) < 0.1)
        if near.all() and signs.any():
            rest = y - x @ signs
            constant = round(float(np.median(rest)), SUM_DECIMALS)
            width = np.quantile(np.abs(rest - constant), SUM_FITS)
            if width <= SUM_WIDTH * spread:
                return signs, 0.0 if abs(constant) <= 3 * width + 1e-9 * spread else constant, True
        rows = np.argsort(missed, kind="stable")[: int(SUM_KEPT * n)]
    return None, 0.0, bool(np.quantile(missed, SUM_FITS) < 1e-9 * spread)


def _find_long_sums(x: Columns, steps: Mapping[str, float]) -> Iterator[Relation]:
    """Yield sums of at least three other columns in most rows x (n,); `_find_candidates` has the shorter ones."""
    for target, sums in find_sums(x):
        for signs, constant in sums[: 1 + (sums[0] != sums[1])]:
            columns = target, *(name for name in signs if name != target)
            if len(columns) > 3:
                weights = tuple(-float(signs[name]) for name in columns)
                yield Relation(columns, weights, constant, 0.0, steps[target])


def _find_products(x: Columns, steps: Mapping[str, float]) -> Iterator[Relation]:
    """Yield relations of columns x of positive numbers, (n,) each, that are nearly products of powers of two others."""
    names, (unit, most) = [*x][:WIDEST], POWERS
    if len(names) < 3:
        return
    for which, rows in _find_explained(np.stack([_logs(x[name]) for name in names], axis=1), CLOSE_LOGS):
        found = _regress(rows, which)[:-1]
        powers = np.round(found / unit) * unit
        if len(which) == 3 and (powers != 0).all() and (np.abs(found - powers) <= most).all():
            columns = tuple(names[i] for i in which)
            yield Relation(columns, (1.0, *map(float, -powers)), 0.0, 0.0, steps[columns[0]], SPREAD)


def _regress(rows: Array, which: Sequence[int]) -> NDArray[np.floating]:
    """Compute the least-squares weights of the first of some columns (m, d) on the others, and a constant."""
    design = np.column_stack([rows[:, which[1:]], np.ones(len(rows))])
    return np.linalg.lstsq(design, rows[:, which[0]], rcond=None)[0]


def _stands_out(off: Array) -> NDArray[np.bool_]:
    """Return whether 0 is more frequent among the numbers `off` (n, m) than its neighbours, (m,)."""
    off = np.where(np.abs(off) < NEAR[-1] + 0.5, off, np.nan)
    met = (np.abs(off) < EQUAL).sum(0)
    near = sum((np.abs(off - k) < EQUAL).sum(0) for k in NEAR) / len(NEAR)
    return np.asarray((met >= SHARE / 2 * len(off)) & (met >= TIMES * near))


def _fit_product(relation: Relation, columns: Columns, steps: Mapping[str, float]) -> Relation | None:
    """Return the product with its constant, share and deviation over all rows; None if the deviation is too large."""
    first = relation.columns[0]
    off = _logs(columns[first]) - _logs(relation.value(first, columns))
    off = off[~np.isnan(off)]
    constant = float(np.median(off))
    if abs(constant) < SPREAD * NEAR[-1] / np.sqrt(len(off)):
        constant = 0.0
    within = float(np.quantile(np.abs(np.expm1(off - constant)), 0.9))
    if within > SPREAD or len(np.unique(columns[first])) < DISTINCT:
        return None
    made = replace(relation, constant=constant, within=max(within, EQUAL))
    known = ~np.logical_or.reduce([np.isnan(columns[column]) for column in made.columns])
    rounded = [1 - made.is_inexact(column, columns, steps[column])[known].mean() for column in made.columns]
    return replace(made, share=float(rounded[0]), rounded=tuple(map(float, rounded)))


def _find_explained(x: Array, close: float) -> Iterator[tuple[list[int], Array]]:
    """Yield columns of x (n, d) that are linear in one or two others, with these, and the best-fitting rows (m, d).

    The linear relation must show in most groups of a few rows, as most contain no exception, or in all rows.
    """
    x = x[~np.isnan(x).any(axis=1)]
    if len(x) < 10:
        return
    few = x[: len(x) // GROUP * GROUP].reshape(-1, GROUP, x.shape[1])
    groups = [few, x[None]] if len(few) else [x[None]]
    correlations = [_correlations(group) for group in groups]
    explained: set[frozenset[int]] = set()
    for a, b in combinations(range(x.shape[1]), 2):
        if (rows := _best_rows(groups, [1 - r[:, a, b] ** 2 for r in correlations], close)) is not None:
            explained.add(frozenset((a, b)))
            yield [a, b], rows
    for a, b in combinations(range(x.shape[1]), 2):
        if frozenset((a, b)) in explained:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            rests = [1 - _explained_share(r, a, b) for r in correlations]
        likely = np.flatnonzero(np.min([np.median(rest, axis=0) for rest in rests], axis=0) < close)
        for j in map(int, likely):
            if j in (a, b) or any(known <= {j, a, b} for known in explained):
                continue
            rows = _best_rows(groups, [rest[:, j] for rest in rests], close)
            assert rows is not None
            explained.add(frozenset((j, a, b)))
            yield [j, a, b], rows


def _correlations(groups: Array) -> Array:
    """Compute the correlations (g, d, d) of the columns in each group of rows (g, m, d); 0 for constant columns."""
    z = groups - groups.mean(axis=1, keepdims=True)
    size = np.sqrt((z**2).sum(axis=1, keepdims=True))
    z = np.divide(z, size, out=np.zeros_like(z), where=size > 0)
    return np.einsum("gmi,gmj->gij", z, z)


def _explained_share(r: Array, a: int, b: int) -> Array:
    """Compute the share of each column's variance explained by columns a and b, (g, d), from correlations (g, d, d)."""
    both = r[:, a] ** 2 + r[:, b] ** 2 - 2 * r[:, a] * r[:, b] * r[:, a, b, None]
    inside = 1 - r[:, a, b, None] ** 2
    return np.where(inside > CLOSE, both / inside, 0.0)


def _best_rows(groups: Sequence[Array], rests: Sequence[Array], close: float) -> Array | None:
    """Return the rows (m, d) with the smallest of the residuals `rests` (g,), if most are near 0; otherwise None."""
    for group, rest in zip(groups, rests, strict=True):
        if np.median(rest) < close:
            return np.asarray(group[int(rest.argmin())])
    return None


def _check_relation(
    relation: Relation, columns: Columns, steps: Mapping[str, float], rare: Mapping[str, Mask], rows: NDArray[np.intp]
) -> Relation | None:
    """Return the relation with its share of all rows if it holds in more rows than by chance; otherwise None."""
    target, others, mixed = relation.columns[0], relation.columns[1:], np.roll(rows, len(rows) // 2)
    x = {column: columns[column][rows] for column in others}
    given = relation.value(target, {**x, target: x[others[0]]})
    off = lambda at: (given - columns[target][at]) / steps[target]
    missed = off(rows)
    holds = np.abs(missed) < EQUAL
    # In a sum of many columns, some may be 0 in most rows.
    unusual = rare[target][rows] & (sum(rare[column][rows].astype(int) for column in others) >= min(len(others), 2))
    known = ~np.isnan(missed)
    count = (holds & unusual).sum()
    chance = ((np.abs(off(mixed)) < EQUAL) & rare[target][mixed] & unusual).sum()
    near = sum((np.abs(missed[unusual] - k) < EQUAL).sum() for k in NEAR) / len(NEAR)
    several = len(np.unique(columns[target][rows][holds & unusual]))
    if several < DISTINCT or count < max(SHARE * known.sum(), TIMES * max(chance, near), chance + ENOUGH):
        return None
    return replace(relation, share=float(holds.sum() / max(known.sum(), 1)))


def _check_sum(
    relation: Relation, columns: Columns, steps: Mapping[str, float], rare: Mapping[str, Mask], rows: NDArray[np.intp]
) -> Relation | None:
    """Return a sum as `_check_relation` does; with a tolerance if rounding of its columns explains the exceptions."""
    checked, units = _check_relation(relation, columns, steps, rare, rows), sum(steps[one] for one in relation.columns)
    if checked is None or checked.shares[0] <= BROKEN:
        return checked
    target = relation.columns[0]
    off = np.abs(relation.value(target, columns) - columns[target])
    off = off[~np.isnan(off)]
    near = off <= units / 2 * (1 + EQUAL)
    if near.mean() < 1 - BROKEN:
        return checked
    known = ~np.logical_or.reduce([np.isnan(columns[column]) for column in relation.columns])
    inexact = (checked.is_inexact(column, columns, steps[column])[known].mean() for column in checked.columns)
    rounded = tuple(1 - float(share) for share in inexact)
    return replace(checked, share=float(near.mean()), tolerance=float(f"{off[near].max():.3g}"), rounded=rounded)


# --- inequalities ----------------------------------------------------------------------------------------------------


def _inequalities(frame: Frame, kinds: Sequence[Kind], sums: Iterable[set[str]] = ()) -> tuple[Inequality, ...]:
    """Find the pairs of columns in which one is never, or hardly ever, greater than the other, and not by chance.

    An inequality needs many rows close to equality and hardly any beyond it: with c_1 and c_2 rows in the first two
    bands along it, a smooth density would have about c_1^2 / c_2 rows in the band beyond. Independent columns must have
    rows beyond it too; otherwise the columns are just in different ranges.

    Args:
        frame: n training rows.
        kinds: kinds of its columns.
        sums: columns of relations that are rules, which determine a gap better than shares would.
    """
    made = []
    for measure in ("number", "date"):
        some = [kind for kind in kinds if kind.measure == measure]
        values = {kind.column: _values(frame, kind.column) for kind in some}
        for low, high in permutations(some, 2):
            pair = {low.column, high.column}
            known = any(pair <= columns for columns in sums)
            made += _find_inequality(low, high, values[low.column], values[high.column], gaps=not known)
    return tuple(made)


def _find_inequality(low: Kind, high: Kind, x_low: Array, x_high: Array, *, gaps: bool) -> list[Inequality]:
    """Return the inequality between two columns (n,) each, if there is one; `gaps`: with the shares of its gaps."""
    looked = slice(LOOKED)
    if (x_high[looked] < x_low[looked]).sum() > BROKEN * min(len(x_low), LOOKED):
        return []
    if np.nanmax(x_low) <= np.nanmin(x_high):
        return []  # the ranges do not overlap
    gap = x_high - x_low
    gap = gap[~np.isnan(gap)]
    broken = int((gap < 0).sum())
    if broken > BROKEN * len(gap) or _expected_exceptions(x_low, x_high) < max(EXPECTED, FEWER * broken):
        return []
    if extrapolate_rows(gap[gap >= 0])[0] < max(EXPECTED, FEWER * broken):
        return []
    plain = Inequality(low.column, high.column, 1 - broken / len(gap))
    if not gaps or low.step is None or high.step is None:
        return [plain]
    width, kept, dates = min(low.step, high.step), gap[gap >= 0], high.measure == "date"
    steps, counts = np.unique(np.rint(kept / width), return_counts=True)
    half, sharp = np.diff(steps).min() / 2, extrapolate_rows(kept.max() - kept)[0] >= EXPECTED
    if sharp and len(kept) >= EACH * len(steps) and counts[-1] >= np.median(counts) / 2:
        # The gap has sharp ends on both sides and takes few values: each value keeps its share.
        last = steps[-1] + half
        most = f"{steps[-1] * width / DAY:g} days" if dates else f"{steps[-1] * width:g}"
    elif dates and (few := int(np.append(counts[:-1] < EACH, True).argmax())) > 1:
        # The smallest gaps between two dates keep their shares, and all others together keep theirs.
        steps, counts = steps[: few + 1], np.append(counts[:few], counts[few:].sum())
        last, most = ENDLESS, ""
    else:
        return [plain]
    ends = width * np.concatenate([[steps[0] - half], steps[:-1] / 2 + steps[1:] / 2, [last]])
    return [replace(plain, ends=tuple(ends.tolist()), within=tuple((counts / len(gap)).tolist()), most=most)]


def _expected_exceptions(low: Array, high: Array) -> float:
    """Return the expected number of rows with low > high, (n,) each, for independent columns."""
    both = ~np.isnan(low) & ~np.isnan(high)
    return float(np.searchsorted(np.sort(high[both]), low[both]).sum() / max(int(both.sum()), 1))


def extrapolate_rows(gap: Array) -> tuple[float, float]:
    """Return how many rows a band below 0 would have if the density of the gaps (n,) >= 0 continued, and its width."""
    if len(gap) < 2 or gap.min() == gap.max():
        return 0.0, 0.0
    share, most = BAND
    band = np.partition(gap, count := min(int(share * len(gap)), most))[count]
    step = np.diff(np.unique(gap)).min()  # 0 to band and the next ones hold as many whole numbers
    inner, outer = (gap <= band).sum(), ((gap > band) & (gap <= 2 * band + step)).sum()
    return float(inner**2 / max(outer, inner)), float(band + step)


# --- Columns of labels that follow from another column: from all of its labels, or from some ------------------------
#
#     x_b = f(x_a)    for each label in the domain of f, in all or nearly all rows with it, and not by chance
#
# Pairs of labels may also exclude each other, such as a payment in time and a delay of two months.
#
# The domain of a functional dependency contains all labels of a (a car model has one maker). Otherwise it contains
# certain frequent labels: all Gentoo penguins live on Biscoe.


DEPENDENCY_ROWS = 100_000  # rows that are searched for dependencies; candidates are checked on all rows
LARGEST = 2_000_000  # maximum number of pairs of labels of two columns
EXCEPTIONS = 12.0  # minimum number of labels that would occur with several others by chance, when none does
NEARLY = " in nearly all rows"  # ends the words of a dependency with exceptions
SURE = 20.0  # minimum nats by which chance would make one label's rows unlikely
ROWS = 10  # minimum number of rows of one label
ABSENT = 20.0  # minimum number of rows expected by chance of a pair that no row has
NUMBERS = 64  # maximum number of whole numbers of a column whose pairs with labels are searched
MOST = 0.05  # maximum share of exceptions among the rows of one label; BROKEN among all rows
TARGETS = 8  # maximum number of labels in a message,
PAIRS = 3  # and of pairs of labels
TINY = 1e-300  # replaces a share of 0 in logarithms


@dataclass(frozen=True, eq=False)
class Dependency:
    """A column that follows from another column.

    Attributes:
        given: the column a.
        column: the column b, which follows from a.
        codes: (l,), f: the token of b for each label of a; -1 outside the domain. If all labels with a token of their
            own are in the domain, so are the rare ones, which share a token.
        rows: number of training rows with a label in the domain.
        broken: number of these rows with another label of b.
        total: number of all training rows.
        words: the dependency as a sentence.
    """

    given: str
    column: str
    codes: Codes
    rows: int
    broken: int
    total: int
    words: str

    @property
    def share(self) -> float:
        """The share of the rows in the domain in which it holds, with half a row added against it."""
        return (self.rows - self.broken + 0.5) / (self.rows + 1)

    def share_of(self, target: str) -> float:
        """Return the same share for the only column that it gives."""
        return self.share

    @property
    def shares(self) -> tuple[float, ...]:
        """The shares of all training rows that break it, and that obey it."""
        return (self.broken / self.total, 1 - self.broken / self.total)

    def cases(self, values: Columns) -> NDArray[np.integer]:
        """Return 0 if broken, otherwise 1, (n,), from the indices of the labels; NaN for missing ones."""
        given, column = (np.nan_to_num(values[name], nan=-1).astype(np.int64) for name in self.columns)
        follows = np.append(self.codes, -1)[np.where(given < len(self.codes), given, -1)]
        return np.where((follows >= 0) & (column >= 0) & (column != follows), 0, 1)

    @property
    def columns(self) -> tuple[str, str]:
        """The names of both columns."""
        return self.given, self.column

    @property
    def targets(self) -> tuple[str, ...]:
        """The column that it gives."""
        return (self.column,)


@dataclass(frozen=True)
class Exclusion:
    """Pairs that no training row has together, although chance would make many: of two labels, or a label and a number.

    Attributes:
        first, second: names of the columns; `first` has labels.
        codes: (m, 2), the tokens of each pair.
        numbers: (K,), rising, the numbers that the tokens of `second` stand for; empty for labels.
        words: the exclusion as a sentence.
    """

    first: str
    second: str
    codes: Codes
    numbers: Array
    words: str

    shares: ClassVar[tuple[float, ...]] = (0.0, 1.0)  # of the training rows that break it, and that obey it

    @property
    def columns(self) -> tuple[str, str]:
        """The names of both columns."""
        return self.first, self.second

    def cases(self, values: Columns) -> NDArray[np.integer]:
        """Return 0 if broken, otherwise 1, (n,), from the indices of the labels; NaN for missing ones."""
        x = values[self.second]
        if len(self.numbers):
            at = np.minimum(np.searchsorted(self.numbers, x), len(self.numbers) - 1)
            x = np.where(self.numbers[at] == x, at, -1)
        first, second = (np.nan_to_num(one, nan=-1).astype(np.int64) for one in (values[self.first], x))
        absent = self.codes @ np.array([LARGEST, 1])  # one number for each pair
        return np.where((first >= 0) & (second >= 0) & np.isin(first * LARGEST + second, absent), 0, 1)


Rule = Relation | Inequality | Dependency | Exclusion


def _rules_of_labels(frame: Frame, kinds: Sequence[Kind]) -> tuple[tuple[Dependency, ...], tuple[Exclusion, ...]]:
    """Find the dependencies between the columns of labels, those with the most rows first, and exclusions.

    Args:
        frame: n training rows.
        kinds: kinds of its columns.
    """
    some = [kind for kind in kinds if kind.own_labels]
    codes = {kind.column: _encode_labels(frame, kind) for kind in some}
    order = np.random.default_rng([0, 161803]).permutation(len(frame))
    made = (_find_dependency(a, b, codes[a.column], codes[b.column], order) for a, b in permutations(some, 2))
    found = [one for one in made if one is not None]
    dependencies = tuple(few_of_each(sorted(found, key=lambda one: -one.rows), lambda one: one.targets))
    domains = {one.columns: one.codes >= 0 for one in dependencies if one.shares[0] <= BROKEN}
    labels = {kind.column: kind for kind in some if len(kind.rare_rows)}
    dependencies = tuple(
        _with_rare_labels(one, frame, labels[one.given], codes[one.column]) if one.given in labels else one
        for one in dependencies
    )
    few = [kind for kind in kinds if kind.measure == "number" and _few_numbers(kind) is not None]
    codes |= {kind.column: _encode_labels(frame, kind) for kind in few}
    exclusions = (
        _find_exclusion(a, b, codes[a.column], codes[b.column], order, domains)
        for a, b in [*combinations(some, 2), *product(some, few)]
    )
    return dependencies, tuple(one for one in exclusions if one is not None)


def _few_numbers(kind: Kind) -> Array | None:
    """Return the numbers of a column with a token for each of a few whole numbers; None for others."""
    line = kind.lines[0] if len(kind.lines) == 1 else None
    if not isinstance(line, Few) or not line.grid.step or line.grid.places or len(line.at) > NUMBERS:
        return None
    return line.grid.numbers(line.at).astype(np.float64)


def _find_exclusion(
    a: Kind,
    b: Kind,
    x: Codes,
    y: Codes,
    order: NDArray[np.integer],
    domains: Mapping[tuple[str, str], NDArray[np.bool_]],
) -> Exclusion | None:
    """Find the pairs that no row has, although independent columns would have `ABSENT` of them.

    Pairs with a label in the domain of a dependency, of `domains` by its columns, are left out: that is a rule, too.
    """
    numbers = np.zeros(0) if b.own_labels else _few_numbers(b)
    assert numbers is not None
    seconds = b.own_labels or [f"{one:g}" for one in numbers]
    shape = len(a.own_labels), len(seconds)
    if math.prod(shape) > LARGEST:
        return None
    counts = _count_pairs(x, y, order[:DEPENDENCY_ROWS], *shape)
    expected = counts.sum(1, keepdims=True) * counts.sum(0) / max(int(counts.sum()), 1)
    absent = (counts == 0) & (expected >= ABSENT)
    absent[domains.get((a.column, b.column), [])] = False
    absent[:, domains.get((b.column, a.column), [])] = False
    if len(order) > DEPENDENCY_ROWS and absent.any():
        absent &= _count_pairs(x, y, order, *shape) == 0
    if not absent.any():
        return None
    codes = np.argwhere(absent)[np.argsort(-expected[absent], kind="stable")].astype(np.int32)
    cases = [f"{a.column} {a.own_labels[i]} with {b.column} {seconds[j]}" for i, j in codes[:PAIRS].tolist()]
    more = f", nor {len(codes) - PAIRS:,} more such pairs" if len(codes) > PAIRS else ""
    return Exclusion(a.column, b.column, codes, numbers, f"never {', nor '.join(cases)}{more}")


def _encode_labels(frame: Frame, kind: Kind) -> Codes:
    """Encode a column of labels as tokens, (n,); -1 if the entry is missing or shares its token with rare labels."""
    series = frame.columns[kind.column]
    made = np.full(len(frame), -1, np.int32)
    entries = kind.encode(kind.read(series, "the data"))[0].codes
    made[~series.missing] = np.where(entries < (len(kind.own_labels) or np.inf), entries, -1)
    return made


def _find_dependency(a: Kind, b: Kind, x: Codes, y: Codes, order: NDArray[np.integer]) -> Dependency | None:
    """Find the dependency of b on a, if there is one."""
    shape = len(a.own_labels), len(b.own_labels)
    if math.prod(shape) > LARGEST:
        return None
    counts = _count_pairs(x, y, order[:DEPENDENCY_ROWS], *shape)
    domain = _find_domain(counts, MOST)
    if len(order) > DEPENDENCY_ROWS and domain.any():
        counts = _count_pairs(x, y, order, *shape)
        domain &= _find_domain(counts, MOST)
    if (counts.sum(1) - counts.max(1))[domain].sum() > BROKEN * len(order):
        domain = _find_domain(counts, 0.0)
    rows = int(counts[domain].sum())
    if rows <= SHARE * len(order):
        return None
    broken = rows - int(counts[domain].max(axis=1).sum())
    codes = np.where(domain, counts.argmax(axis=1), -1).astype(np.int32)
    everywhere = bool((domain | (counts.sum(1) == 0)).all())
    words = _describe_dependency(a, b, codes, everywhere) + (NEARLY if broken else "")
    return Dependency(a.column, b.column, codes, rows, broken, len(order), words)


def _with_rare_labels(dependency: Dependency, frame: Frame, kind: Kind, y: Codes) -> Dependency:
    """Return a dependency on all labels with a token of their own with the rare labels in its domain as well.

    The domain does not change if so many rows with rare labels break the dependency that it would not be a rule.

    Args:
        dependency: the dependency, found without rows with rare labels.
        frame: n training rows.
        kind: the kind of the column from which the other one follows.
        y: (n,), tokens of the other one; -1 if the entry is missing or a rare label.
    """
    own, series = len(kind.own_labels), frame.columns[dependency.given]
    x = np.full(len(frame), -1)
    x[~series.missing] = kind.read(series, "the data")
    pairs, counts = np.unique(np.stack([x, y])[:, (x >= own) & (y >= 0)], axis=1, return_counts=True)
    if not pairs.size or (dependency.codes < 0).any():
        return dependency
    first = np.argsort(-counts, kind="stable")  # the most frequent pair of each label decides
    rare, place = np.unique(pairs[0][first], return_index=True)
    codes = np.append(dependency.codes, np.full(len(kind.rare_rows), -1, np.int32))
    codes[rare] = pairs[1][first][place]
    rows = dependency.rows + int(counts.sum())
    broken = dependency.broken + int(counts.sum() - counts[first][place].sum())
    words = dependency.words + (NEARLY if broken and not dependency.broken else "")
    wider = replace(dependency, codes=codes, rows=rows, broken=broken, words=words)
    return dependency if wider.shares[0] > BROKEN >= dependency.shares[0] else wider


def _count_pairs(x: Codes, y: Codes, rows: NDArray[np.integer], k: int, m: int) -> NDArray[np.int64]:
    """Count the rows with each pair of tokens, (k, m)."""
    x, y = x[rows], y[rows]
    known = (x >= 0) & (y >= 0)
    return np.bincount(x[known].astype(np.int64) * m + y[known], minlength=k * m).reshape(k, m)


def _find_domain(counts: NDArray[np.int64], most: float) -> NDArray[np.bool_]:
    """Return the labels (k,) from which the other column follows, given the number of rows with each pair (k, m)."""
    total, largest = counts.sum(1), counts.max(1)
    shares = counts.sum(0) / max(int(counts.sum()), 1)
    usual = shares[counts.argmax(1)]
    # All or nearly all rows with the label, with far fewer exceptions than by chance.
    alone = (total > 0) & (total - largest <= np.minimum(most, (1 - usual) / FEWER) * total)
    if alone.sum() == (total > 0).sum() and (shares > 0).sum() > 1:
        size, how_many = np.unique(total[total > 0], return_counts=True)
        agree = (shares[:, None] ** size).sum(0)  # the probability that this many rows share one label of b
        if (how_many * (1 - agree)).sum() >= EXCEPTIONS:
            return alone
    return alone & (total >= ROWS) & (-largest * np.log(np.maximum(usual, TINY)) >= SURE)


def _describe_dependency(a: Kind, b: Kind, codes: Codes, everywhere: bool) -> str:
    """Describe the dependency in a sentence."""
    if everywhere:
        return f"{b.column} follows from {a.column}"
    here = np.flatnonzero(codes >= 0)
    cases = [f"{b.own_labels[codes[k]]} where {a.column} is {a.own_labels[k]}" for k in here[:TARGETS]]
    more = f", and so on for {len(here) - TARGETS:,} more" if len(here) > TARGETS else ""
    return f"{b.column} is {', '.join(cases)}{more}"


# --- All relations between the columns of a table --------------------------------------------------------------------


def find_relations(frame: Frame, kinds: Sequence[Kind]) -> dict[str, Any]:
    """Find the `relations`, `dependencies` and `rules` of a `Schema`.

    Args:
        frame: n training rows.
        kinds: kinds of its columns.
    """
    frame = frame.take(np.argsort(content_keys(frame), kind="stable"))  # so that the same rows are searched first
    relations, (dependencies, exclusions) = _relations_of_numbers(frame, kinds), _rules_of_labels(frame, kinds)
    every: list[Relation | Dependency] = [*relations, *dependencies]
    nearly = [one for one in every if one.shares[0] <= BROKEN]
    sums = [{*one.columns} for one in nearly if isinstance(one, Relation)]
    rules = (*_inequalities(frame, kinds, sums), *nearly, *exclusions)
    return {"relations": relations, "dependencies": dependencies, "rules": rules}


# --- The patterns of entries that are missing together: a mixture of independent columns ----------------------------
#
#     P(m) = sum over components c of w_c  product over columns j of r_cj^m_j (1 - r_cj)^(1 - m_j)
#
# A pattern that several training rows share is a component of its own, with rates r of 0 and 1. One more component
# covers all other patterns: its columns are missing independently of each other. Half a row is reserved for unseen
# patterns. So each column is missing as often as in the training rows, however rarely.


PATTERNS = 31  # maximum number of patterns with a component of their own
PATTERN_ROWS = 2  # minimum number of rows that share such a pattern
HALF_ROW = 0.5  # rows reserved for unseen patterns


@dataclass(frozen=True, eq=False)
class MissingPatterns:
    """The mixture of missing patterns.

    Attributes:
        weights: w, (C,); they sum to 1.
        rates: r, (C, q), for all columns that vary; 0 if the column's missing entries have no token.
    """

    weights: Array
    rates: Array

    @classmethod
    def none(cls, columns: int) -> "MissingPatterns":
        """Return the patterns of columns without missing entries."""
        return cls(np.ones(1), np.zeros((1, columns)))

    @classmethod
    def fit(cls, missing: Mask, weights: Array) -> "MissingPatterns":
        """Fit the patterns of rows with `missing` entries (n, q) and sample weights (n,)."""
        if not missing.any():
            return cls.none(missing.shape[1])
        packed, which = np.unique(np.packbits(missing, axis=1), axis=0, return_inverse=True)
        patterns = np.unpackbits(packed, axis=1, count=missing.shape[1]).astype(np.float64)
        rows = np.bincount(which.ravel(), weights, len(patterns))
        most = np.argsort(-rows, kind="stable")[:PATTERNS]
        own = most[rows[most] >= PATTERN_ROWS]
        others = rows.copy()
        others[own] = 0.0
        rest = others.sum() + HALF_ROW
        overall = rows @ patterns / rows.sum()
        rates = np.vstack([patterns[own], (others @ patterns + HALF_ROW * overall) / rest])
        shares = np.append(rows[own], rest)
        return cls(shares / shares.sum(), rates)
