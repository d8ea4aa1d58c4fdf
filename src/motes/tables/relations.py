"""Relations between columns: sums, differences, order, and labels that follow from others.

    w_1 x_1 + ... + w_m x_m = constant    in a share of the rows, and in more than chance brings about
    x_1 = c x_2^a x_3^b                   nearly: to a few per cent, in most rows
    x_a <= x_b (<= x_a + most)            in all rows or nearly all, although rows lie close to the border

A relation gives each of its columns from the others. Only numbers of equal distance (whole or rounded ones) have them:
of a density a single value has no share. Inequalities hold between two columns of numbers, or two of dates.

What holds in all rows, or in all but a few, is a rule: synthetic rows keep it as often as the training rows did.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.data.arrays import DAY
from motes.tables.kinds.base import Kind
from motes.tables.parts import Array, Codes

LOOKED = 2000  # rows in which relations are looked for; all rows check what was found there
SHARE = 0.02  # of the rows, that a relation holds in at least,
TIMES = 3.0  # and so many times as often as where rows are mixed up, and as it is missed by a step or a few
NEAR = (-3, -2, -1, 1, 2, 3)  # steps, by which columns that merely go together miss each other as often as they meet
FIRST = 500  # rows in which sums are looked for at first
ENOUGH = 12.0  # rows more than chance brings about, at least
DISTINCT = 10  # values for which it holds: a few that come often hang together through their codes
RARE = 0.2  # a value that more rows hold makes relations of its own, such as 0 = 0, which codes know already
WIDEST = 60  # columns of numbers in which sums of two others are looked for
EQUAL = 1e-3  # of a step, up to which two numbers are the same
SEVERAL = 4  # relations of one column, at most
CLOSE = 1e-9  # unexplained share of a variance, up to which a column is linear in two others,
CLOSE_LOGS = 1e-3  # and up to which its logarithm is in those of two others,
POWERS = 0.5, 0.05  # with exponents that are multiples of the first number to the second,
SPREAD = 0.02  # if the product is so near in 9 of 10 rows, relative to it
GROUP = 20  # in most groups of so many rows, at least: rows that break the relation are in few of them
EXPECTED = 12.0  # rows that would lie beyond a border if it were none: one in 3,000 has none there by chance
BAND = 0.05, 60  # of the rows, and so many at most, that lie in the band along the border which says so
BROKEN = 0.01  # of the rows, at most, break a rule,
FEWER = 10.0  # and so many times fewer than would by chance, or if there were no border
EACH = 20  # rows to each gap between two ends, from which all gaps have their shares
ENDLESS = 1e20  # microseconds: no two dates are so far apart
LIMIT = 2.0**52  # up to which sums of float64 are exact
LARGEST_LOG = 700.0  # of a product that has a float64

R = TypeVar("R", "Relation", "Dependency")


class Rule(Protocol):
    """What holds in all rows, or in all but a few.

    Attributes:
        columns: what it is about.
        shares: of the training rows in each of its cases; case 0 are those that break it.
        words: the rule as a sentence.
    """

    @property
    def columns(self) -> tuple[str, ...]: ...

    @property
    def shares(self) -> tuple[float, ...]: ...

    @property
    def words(self) -> str: ...

    def cases(self, values: Mapping[str, Array]) -> NDArray[np.integer]:
        """The case of each row (n,), from the values of its columns, (n,) each; a NaN breaks nothing, and may be -1."""


@dataclass(frozen=True)
class Relation:
    """weights . values of columns = constant, or the same of their logarithms.

    Attributes:
        columns: (m,), at least two.
        weights: (m,), none of them 0.
        constant: the right side.
        share: of the training rows in which it holds.
        step: distance of two neighbouring numbers of the first column.
        within: of logarithms, how far 9 of 10 rows are from it at most, relative to the first column; 0: of the values.
        rounded: of logarithms, (m,), the share of the rows in which each column is what the others give, rounded.
    """

    columns: tuple[str, ...]
    weights: tuple[float, ...]
    constant: float
    share: float
    step: float
    within: float = 0.0
    rounded: tuple[float, ...] = ()

    def share_of(self, target: str) -> float:
        """Of the training rows in which the column `target` is exactly what the others give."""
        return self.rounded[self.columns.index(target)] if self.within else self.share

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the training rows that break it, and that keep it."""
        return (round(1 - self.share, 12), self.share)

    def cases(self, values: Mapping[str, Array]) -> NDArray[np.integer]:
        """0 where it is broken, otherwise 1, (n,)."""
        return np.where(self._misses(self.columns[0], values, self.step), 0, 1)

    def _misses(self, target: str, values: Mapping[str, Array], step: float) -> NDArray[np.bool_]:
        """Where the column `target`, whose numbers are a step apart, is not what the others give, (n,)."""
        return np.abs(self.value(target, values) - values[target]) > step * (0.5 + EQUAL)

    def value(self, target: str, values: Mapping[str, Array]) -> Array:
        """What the column `target` must be, (n,), where the others have the `values` (n,) each."""
        rest, own = np.full(len(next(iter(values.values()))), self.constant), 1.0
        for column, weight in zip(self.columns, self.weights, strict=True):
            if column == target:
                own = weight
            else:
                rest = rest - weight * (_logs(values[column]) if self.within else values[column])
        return np.exp(np.clip(rest / own, -LARGEST_LOG, LARGEST_LOG)) if self.within else rest / own

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that it gives: each from the others."""
        return self.columns

    @property
    def words(self) -> str:
        """The relation as a sentence, solved for the first column."""
        if self.within:
            near = rows_of(self.share) if self.shares[0] <= BROKEN else f"to {self.within:.1%} in 90% of the rows"
            return f"{self.columns[0]} = {self._product} {near}"
        own, rest = self.weights[0], zip(self.columns[1:], self.weights[1:], strict=True)
        terms = [(-weight / own, column) for column, weight in rest]
        terms.sort(key=lambda term: term[0] < 0)  # a sum begins with what is added
        addends = [_term(weight, column, first=not k) for k, (weight, column) in enumerate(terms)]
        if self.constant:
            addends.append(_term(self.constant / own, "", first=False))
        return f"{self.columns[0]} = {' '.join(addends)} {rows_of(self.share)}"

    @property
    def _product(self) -> str:
        """What the first column is, nearly, such as "weight * height^-2"."""
        own, rest = self.weights[0], zip(self.columns[1:], self.weights[1:], strict=True)
        factors = [column if -weight == own else f"{column}^{-weight / own:g}" for column, weight in rest]
        if self.constant:
            factors.insert(0, f"{np.exp(self.constant / own):.4g}")
        return " * ".join(factors)


def _logs(x: Array) -> Array:
    """Natural logarithms (n,) of numbers, NaN where they are not positive."""
    return np.log(np.where(x > 0, x, np.nan))


def _term(weight: float, column: str, *, first: bool) -> str:
    """A term of a sum with its sign; a constant has no column."""
    size = "" if column and abs(weight) == 1 else f"{abs(weight):g}"
    term = " ".join(filter(None, (size, column)))
    if first:
        return f"-{term}" if weight < 0 else term
    return f"{'-' if weight < 0 else '+'} {term}"


@dataclass(frozen=True)
class Inequality:
    """Column `low` is never, or hardly ever, more than column `high`.

    Attributes:
        low, high: the columns.
        share: of the training rows in which it holds.
        ends: (B+1,), of the bins of the gap high - low, if it takes a few values, or those of two dates; no gap lies on
            an end, and the last one is `ENDLESS` unless the gap ends sharply above.
        within: (B,), the shares of these bins among the training rows.
        most: the largest gap in words, where it ends.
    """

    low: str
    high: str
    share: float = 1.0
    ends: tuple[float, ...] = ()
    within: tuple[float, ...] = ()
    most: str = ""

    @property
    def columns(self) -> tuple[str, ...]:
        """Both columns."""
        return (self.low, self.high)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the training rows that break it, and that keep it, by the bins of the gap."""
        return (1 - self.share, *(self.within or (self.share,)))

    def cases(self, values: Mapping[str, Array]) -> NDArray[np.integer]:
        """0 where it is broken, -1 where an entry is missing, otherwise 1 or the bin of the gap, from 1 on, (n,)."""
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
    """In which rows something holds, in words."""
    if share == 1:
        return "in all rows"
    return f"in {min(max(share, 0.01), 0.99):.0%} of the rows" if share <= 1 - BROKEN else "in nearly all rows"


def relations_in(frame: Frame, kinds: Sequence[Kind]) -> tuple[Relation, ...]:
    """The exact relations of the numbers of a table, the most frequent first.

    Args:
        frame: n training rows.
        kinds: of its columns.
    """
    steps = {kind.column: kind.step for kind in kinds if kind.measure == "number" and kind.step is not None}
    columns = {name: _values(frame, name) for name in steps}
    names = [name for name, x in columns.items() if np.abs(x).max(initial=0, where=~np.isnan(x)) < LIMIT]
    if len(names) < 2:
        return ()
    rows = np.random.default_rng([0, 271828]).permutation(len(frame))
    rare = {name: _rare(columns[name]) for name in names}
    mixed = np.roll(rows, len(rows) // 2)
    looked = rows[:LOOKED]
    found: list[tuple[float, Relation]] = []
    unusual = {name: np.where(rare[name], columns[name], np.nan)[looked] for name in names}
    for relation in _candidates(names, unusual, steps):
        checked = _checked(relation, columns, steps, rare, rows, mixed)
        if checked is not None:
            found.append((checked.share, checked))
    positive = [name for name in names[:WIDEST] if np.nanmin(columns[name], initial=np.inf) > 0]
    for relation in _products(positive, {name: columns[name][looked] for name in positive}, steps):
        near = _nearness(relation, columns, steps)
        if near is not None:
            found.append((near.share, near))
    found.sort(key=lambda pair: (-pair[0], len(pair[1].columns)))
    return tuple(few_of_each([relation for _, relation in found]))


def few_of_each(found: Iterable[R]) -> Iterator[R]:
    """The first ones, so that no column is given by more than `SEVERAL` of them."""
    count: dict[str, int] = {}
    for relation in found:
        if all(count.get(column, 0) < SEVERAL for column in relation.targets):
            count |= {column: count.get(column, 0) + 1 for column in relation.targets}
            yield relation


def _values(frame: Frame, column: str) -> Array:
    """The numbers of a column, or microseconds of dates, (n,) as float64, NaN where missing."""
    series = frame.columns[column]
    return np.where(series.missing, np.nan, series.values.astype(np.float64))


def _rare(x: Array) -> NDArray[np.bool_]:
    """Where numbers (n,) are none that many rows hold."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (counts <= max(RARE * len(x), 1.0))[place] & ~np.isnan(x)


def _candidates(names: Sequence[str], x: Mapping[str, Array], steps: Mapping[str, float]) -> Iterator[Relation]:
    """Relations that hold in some of the rows x (n,) of each column, and more often than they are just missed."""
    for a, b in combinations(names, 2):
        if _stands_out((x[a] - x[b])[:, None] / steps[a])[0]:
            yield Relation((a, b), (1.0, -1.0), 0.0, 0.0, steps[a])
    wide = names[:WIDEST]
    matrix = np.stack([x[name] for name in wide], axis=1)
    widths, first = np.array([steps[name] for name in wide]), matrix[:FIRST]
    for i, k in combinations(range(len(wide)), 2):
        off = (first - (first[:, i] + first[:, k])[:, None]) / widths
        for j in map(int, np.flatnonzero(_stands_out(off))):
            if j not in (i, k):
                yield Relation((wide[j], wide[i], wide[k]), (1.0, -1.0, -1.0), 0.0, 0.0, steps[wide[j]])
    yield from _linear(wide, matrix, widths)


def _stands_out(off: Array) -> NDArray[np.bool_]:
    """Whether more of the numbers off (n, m) are 0 than any small whole number beside it, (m,)."""
    off = np.where(np.abs(off) < NEAR[-1] + 0.5, off, np.nan)
    met = (np.abs(off) < EQUAL).sum(0)
    near = sum((np.abs(off - k) < EQUAL).sum(0) for k in NEAR) / len(NEAR)
    return np.asarray((met >= SHARE / 2 * len(off)) & (met >= TIMES * near))


def _linear(names: Sequence[str], x: Array, steps: Array) -> Iterator[Relation]:
    """Columns that are linear in one or two others in all rows or nearly all, with weights other than 1."""
    for which, rows in _explained_columns(x, CLOSE):
        yield from _solved(names, rows, steps, which)


def _products(names: Sequence[str], x: Mapping[str, Array], steps: Mapping[str, float]) -> Iterator[Relation]:
    """Columns of positive numbers that are nearly products of powers of two others."""
    if len(names) < 3:
        return
    logs = np.stack([_logs(x[name]) for name in names], axis=1)
    unit, most = POWERS
    for which, rows in _explained_columns(logs, CLOSE_LOGS):
        if len(which) < 3:
            continue
        design = np.column_stack([rows[:, which[1:]], np.ones(len(rows))])
        found = np.linalg.lstsq(design, rows[:, which[0]], rcond=None)[0][:-1]
        powers = np.round(found / unit) * unit
        if (powers != 0).all() and (np.abs(found - powers) <= most).all():
            columns = tuple(names[i] for i in which)
            yield Relation(columns, (1.0, *map(float, -powers)), 0.0, 0.0, steps[columns[0]], SPREAD)


def _nearness(relation: Relation, columns: Mapping[str, Array], steps: Mapping[str, float]) -> Relation | None:
    """The product with its constant, its share of all rows and how near the others are, if they are near enough."""
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
    rounded = [1 - made._misses(column, columns, steps[column])[known].mean() for column in made.columns]
    return replace(made, share=float(rounded[0]), rounded=tuple(map(float, rounded)))


def _explained_columns(x: Array, close: float) -> Iterator[tuple[list[int], Array]]:
    """Columns of x (n, d) with one or two others in which they are linear, and rows (m, d) that show it best.

    That is seen in most groups of a few rows, for a row that breaks the relation is in hardly any, or in all rows.
    """
    x = x[~np.isnan(x).any(axis=1)]
    if len(x) < 10:
        return
    few = x[: len(x) // GROUP * GROUP].reshape(-1, GROUP, x.shape[1])
    groups = [few, x[None]] if len(few) else [x[None]]
    correlations = [_correlations(group) for group in groups]
    explained: set[frozenset[int]] = set()
    for a, b in combinations(range(x.shape[1]), 2):
        if (rows := _where_least(groups, [1 - r[:, a, b] ** 2 for r in correlations], close)) is not None:
            explained.add(frozenset((a, b)))
            yield [a, b], rows
    for a, b in combinations(range(x.shape[1]), 2):
        if frozenset((a, b)) in explained:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            rests = [1 - _explained(r, a, b) for r in correlations]
        likely = np.flatnonzero(np.min([np.median(rest, axis=0) for rest in rests], axis=0) < close)
        for j in map(int, likely):
            if j in (a, b) or any(known <= {j, a, b} for known in explained):
                continue
            rows = _where_least(groups, [rest[:, j] for rest in rests], close)
            assert rows is not None
            explained.add(frozenset((j, a, b)))
            yield [j, a, b], rows


def _correlations(groups: Array) -> Array:
    """Of the columns of each group of rows (g, m, d), (g, d, d); of a column that does not vary 0."""
    z = groups - groups.mean(axis=1, keepdims=True)
    size = np.sqrt((z**2).sum(axis=1, keepdims=True))
    z = np.divide(z, size, out=np.zeros_like(z), where=size > 0)
    return np.einsum("gmi,gmj->gij", z, z)


def _explained(r: Array, a: int, b: int) -> Array:
    """The share of the variance of each column that columns a and b explain, (g, d), from correlations (g, d, d)."""
    both = r[:, a] ** 2 + r[:, b] ** 2 - 2 * r[:, a] * r[:, b] * r[:, a, b, None]
    inside = 1 - r[:, a, b, None] ** 2
    return np.where(inside > CLOSE, both / inside, 0.0)


def _where_least(groups: Sequence[Array], rests: Sequence[Array], close: float) -> Array | None:
    """The rows (m, d) that leave the least, if most groups or all rows leave next to nothing; `rests` (g,) of each."""
    for group, rest in zip(groups, rests, strict=True):
        if np.median(rest) < close:
            found: Array = group[int(rest.argmin())]
            return found
    return None


def _solved(names: Sequence[str], x: Array, steps: Array, which: list[int]) -> Iterator[Relation]:
    """The relation of the first of some columns to the others, unless it is an equality or a sum."""
    target, others = x[:, which[0]], x[:, which[1:]]
    design = np.column_stack([others, np.ones(len(x))])
    weights = np.linalg.lstsq(design, target, rcond=None)[0]
    nice = np.round(weights * 3600) / 3600  # fractions of hours and percents are what people compute with
    weights = np.where(np.abs(weights - nice) < 1e-6 * np.maximum(1, np.abs(weights)), nice, weights)
    plain = not weights[-1] and np.isin(np.abs(weights[:-1]), (0.0, 1.0)).all()
    if not plain and (weights[:-1] != 0).all():
        columns = tuple(names[i] for i in which)
        yield Relation(columns, (1.0, *(-weights[:-1])), float(weights[-1]), 0.0, float(steps[which[0]]))


def _checked(
    relation: Relation,
    columns: Mapping[str, Array],
    steps: Mapping[str, float],
    rare: Mapping[str, NDArray[np.bool_]],
    rows: NDArray[np.intp],
    mixed: NDArray[np.intp],
) -> Relation | None:
    """The relation with its share of all rows, if it holds in more of them than chance brings about."""
    target, others = relation.columns[0], relation.columns[1:]
    x = {column: columns[column][rows] for column in others}
    given = relation.value(target, {**x, target: x[others[0]]})
    off = lambda at: (given - columns[target][at]) / steps[target]
    missed = off(rows)
    holds = np.abs(missed) < EQUAL
    unusual = np.logical_and.reduce([rare[column][rows] for column in relation.columns])
    known = ~np.isnan(missed)
    count = (holds & unusual).sum()
    chance = ((np.abs(off(mixed)) < EQUAL) & rare[target][mixed] & unusual).sum()
    near = sum((np.abs(missed[unusual] - k) < EQUAL).sum() for k in NEAR) / len(NEAR)
    several = len(np.unique(columns[target][rows][holds & unusual]))
    if several < DISTINCT or count < max(SHARE * known.sum(), TIMES * max(chance, near), chance + ENOUGH):
        return None
    return replace(relation, share=float(holds.sum() / max(known.sum(), 1)))


# --- inequalities ----------------------------------------------------------------------------------------------------


def inequalities_in(frame: Frame, kinds: Sequence[Kind], sums: Iterable[set[str]] = ()) -> tuple[Inequality, ...]:
    """The pairs of columns of which one is never, or hardly ever, more than the other, and not by chance.

    A border at a gap of 0 is one if rows lie densely on its inner side and next to none beyond it: with c_1 and c_2
    rows in the two bands along it, a smooth density would have about c_1^2 / c_2 rows in the band beyond. Independent
    columns would have rows beyond it, too: a column that ends where the other one lies is no border between them.

    Args:
        frame: n training rows.
        kinds: of its columns.
        sums: columns of relations that are rules, which say more of a gap than its own shares would.
    """
    made = []
    for measure in ("number", "date"):
        some = [kind for kind in kinds if kind.measure == measure]
        values = {kind.column: _values(frame, kind.column) for kind in some}
        for low, high in permutations(some, 2):
            pair = {low.column, high.column}
            known = any(pair <= columns for columns in sums)
            made += _inequality(low, high, values[low.column], values[high.column], gaps=not known)
    return tuple(made)


def _inequality(low: Kind, high: Kind, x_low: Array, x_high: Array, *, gaps: bool) -> list[Inequality]:
    """The inequality between two columns (n,) each, if there is one; `gaps`: with its gaps, if these end above."""
    looked = slice(LOOKED)
    if (x_high[looked] < x_low[looked]).sum() > BROKEN * min(len(x_low), LOOKED):
        return []
    if np.nanmax(x_low) <= np.nanmin(x_high):
        return []  # kept by any row
    gap = x_high - x_low
    gap = gap[~np.isnan(gap)]
    broken = int((gap < 0).sum())
    if broken > BROKEN * len(gap) or _by_chance(x_low, x_high) < max(EXPECTED, FEWER * broken):
        return []
    if _beyond(gap[gap >= 0]) < max(EXPECTED, FEWER * broken):
        return []
    plain = Inequality(low.column, high.column, 1 - broken / len(gap))
    if not gaps or low.step is None or high.step is None:
        return [plain]
    width, kept, dates = min(low.step, high.step), gap[gap >= 0], high.measure == "date"
    steps, counts = np.unique(np.rint(kept / width), return_counts=True)
    half, sharp = np.diff(steps).min() / 2, _beyond(kept.max() - kept) >= EXPECTED
    if sharp and len(kept) >= EACH * len(steps) and counts[-1] >= np.median(counts) / 2:
        # The gap ends sharply on both sides, and takes a few values: each has its share.
        last = steps[-1] + half
        most = f"{steps[-1] * width / DAY:g} days" if dates else f"{steps[-1] * width:g}"
    elif dates and (few := int(np.append(counts[:-1] < EACH, True).argmax())) > 1:
        # The first gaps between two dates have theirs, and all others together.
        steps, counts = steps[: few + 1], np.append(counts[:few], counts[few:].sum())
        last, most = ENDLESS, ""
    else:
        return [plain]
    ends = width * np.concatenate([[steps[0] - half], steps[:-1] / 2 + steps[1:] / 2, [last]])
    return [replace(plain, ends=tuple(ends.tolist()), within=tuple((counts / len(gap)).tolist()), most=most)]


def _by_chance(low: Array, high: Array) -> float:
    """How many of the rows would have low > high, (n,) each, if the columns were independent."""
    both = ~np.isnan(low) & ~np.isnan(high)
    return float(np.searchsorted(np.sort(high[both]), low[both]).sum() / max(int(both.sum()), 1))


def _beyond(gap: Array) -> float:
    """How many rows would lie in the band beyond 0, if gaps (n,) of at least 0 went on there as they do above it."""
    if len(gap) < 2 or gap.min() == gap.max():
        return 0.0
    share, most = BAND
    band = np.partition(gap, count := min(int(share * len(gap)), most))[count]
    step = np.diff(np.unique(gap)).min()  # 0 to band and the next ones hold as many whole numbers
    inner, outer = (gap <= band).sum(), ((gap > band) & (gap <= 2 * band + step)).sum()
    return float(inner**2 / max(outer, inner))


# --- Columns of labels that follow from another one: of all of its labels, or of some -------------------------------
#
#     x_b = f(x_a)    for each label in the domain of f, in all rows that hold it or nearly all, and not by chance
#
# All labels of a are in the domain of a functional dependency (a model of car has one maker). Otherwise those are that
# many rows hold: all Gentoo penguins live on Biscoe.


DEPENDENCY_ROWS = 100_000  # rows in which dependencies are looked for; all rows check what was found there
LARGEST = 2_000_000  # pairs of labels of two columns, at most
EXCEPTIONS = 12.0  # labels that would be with several others by chance, at least, where none is
SURE = 20.0  # nats by which the rows of one label are rarer by chance, at least
ROWS = 10  # of one label, at least
MOST = 0.05  # of the rows of one label, at most, break a dependency; of all rows BROKEN
TARGETS = 8  # labels that a message shows, at most
TINY = 1e-300  # a share that is none


@dataclass(frozen=True, eq=False)
class Dependency:
    """A column that follows from another one.

    Attributes:
        given: the column a.
        column: the column b, which follows.
        codes: (K_a,), f: the code of b for each code of a; -1 outside the domain.
        rows: of the training, that hold a label in the domain,
        broken: how many of them have another label of b,
        total: and how many rows there were.
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
        """Of the rows in the domain in which it holds, with half a row against it."""
        return (self.rows - self.broken + 0.5) / (self.rows + 1)

    def share_of(self, target: str) -> float:
        """The same, of the only column that it gives."""
        return self.share

    @property
    def shares(self) -> tuple[float, ...]:
        """Of all training rows that break it, and that keep it."""
        return (self.broken / self.total, 1 - self.broken / self.total)

    def cases(self, values: Mapping[str, Array]) -> NDArray[np.integer]:
        """0 where it is broken, otherwise 1, by the places of the labels, NaN where they are missing, (n,)."""
        given, column = (np.nan_to_num(values[name], nan=-1).astype(np.int64) for name in self.columns)
        follows = np.append(self.codes, -1)[np.where(given < len(self.codes), given, -1)]
        return np.where((follows >= 0) & (column >= 0) & (column != follows), 0, 1)

    @property
    def columns(self) -> tuple[str, str]:
        """Both columns."""
        return self.given, self.column

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that it gives."""
        return (self.column,)


def dependencies_in(frame: Frame, kinds: Sequence[Kind]) -> tuple[Dependency, ...]:
    """The dependencies between the columns of labels of a table, those of the most rows first.

    Args:
        frame: n training rows.
        kinds: of its columns.
    """
    some = [kind for kind in kinds if kind.own_labels]
    codes = {kind.column: _codes(frame, kind) for kind in some}
    order = np.random.default_rng([0, 161803]).permutation(len(frame))
    made = (_looked_for(a, b, codes[a.column], codes[b.column], order) for a, b in permutations(some, 2))
    found = [one for one in made if one is not None]
    return tuple(few_of_each(sorted(found, key=lambda one: -one.rows)))


def _codes(frame: Frame, kind: Kind) -> Codes:
    """(n,), -1 where the entry is missing or shares a code with other rare labels."""
    series = frame.columns[kind.column]
    made = np.full(len(frame), -1, np.int32)
    entries = kind.encode(kind.read(series, "the data"))[0].codes
    made[~series.missing] = np.where(entries < len(kind.own_labels), entries, -1)
    return made


def _looked_for(a: Kind, b: Kind, x: Codes, y: Codes, order: NDArray[np.integer]) -> Dependency | None:
    """How b follows from a, if it does."""
    shape = len(a.own_labels), len(b.own_labels)
    if math.prod(shape) > LARGEST:
        return None
    counts = _counts(x, y, order[:DEPENDENCY_ROWS], *shape)
    domain = _domain(counts, MOST)
    if len(order) > DEPENDENCY_ROWS and domain.any():
        counts = _counts(x, y, order, *shape)
        domain &= _domain(counts, MOST)
    if (counts.sum(1) - counts.max(1))[domain].sum() > BROKEN * len(order):
        domain = _domain(counts, 0.0)
    rows = int(counts[domain].sum())
    if rows <= SHARE * len(order):
        return None
    broken = rows - int(counts[domain].max(axis=1).sum())
    codes = np.where(domain, counts.argmax(axis=1), -1).astype(np.int32)
    everywhere = bool((domain | (counts.sum(1) == 0)).all())
    words = _words(a, b, codes, everywhere) + (" in nearly all rows" if broken else "")
    return Dependency(a.column, b.column, codes, rows, broken, len(order), words)


def _counts(x: Codes, y: Codes, rows: NDArray[np.integer], k: int, m: int) -> NDArray[np.int64]:
    """How many rows hold each pair of codes, (k, m)."""
    x, y = x[rows], y[rows]
    known = (x >= 0) & (y >= 0)
    return np.bincount(x[known].astype(np.int64) * m + y[known], minlength=k * m).reshape(k, m)


def _domain(counts: NDArray[np.int64], most: float) -> NDArray[np.bool_]:
    """Of which labels (k,) the other column follows, by how many rows hold each pair (k, m)."""
    total, largest = counts.sum(1), counts.max(1)
    shares = counts.sum(0) / max(int(counts.sum()), 1)
    usual = shares[counts.argmax(1)]
    # Of all rows with the label, or all but a few, which are far fewer than chance would bring about.
    alone = (total > 0) & (total - largest <= np.minimum(most, (1 - usual) / FEWER) * total)
    if alone.sum() == (total > 0).sum() and (shares > 0).sum() > 1:
        size, how_many = np.unique(total[total > 0], return_counts=True)
        agree = (shares[:, None] ** size).sum(0)  # the chance that so many rows have one label of b
        if (how_many * (1 - agree)).sum() >= EXCEPTIONS:
            return alone
    return alone & (total >= ROWS) & (-largest * np.log(np.maximum(usual, TINY)) >= SURE)


def _words(a: Kind, b: Kind, codes: Codes, everywhere: bool) -> str:
    """The dependency as a sentence."""
    if everywhere:
        return f"{b.column} follows from {a.column}"
    here = np.flatnonzero(codes >= 0)
    cases = [f"{b.own_labels[codes[k]]} where {a.column} is {a.own_labels[k]}" for k in here[:TARGETS]]
    more = f", and so on for {len(here) - TARGETS:,} more" if len(here) > TARGETS else ""
    return f"{b.column} is {', '.join(cases)}{more}"
