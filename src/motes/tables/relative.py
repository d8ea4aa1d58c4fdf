"""Numbers at a relative place: histograms of a column in coordinates that other columns give.

    v = (x - r) / s,    r = w_1 x_1 + ..., or the mean of x in the row's group, or 0,    s = 1, or |x_k|

Payments are 3 to 4 per cent of a bill, and a bill is the last one less the payment and a little more: such places have
sharp edges and narrow peaks, which smooth densities of x blur. Rows of a day share its weather, which the network
knows only as a smooth function of the date. A histogram is found where its cells hold other shares of the rows than
they do after x is exchanged between rows with about the same r, or of about the same group: where more is known than r
roughly.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.data.arrays import DAY
from motes.data.points import content_keys
from motes.tables.kinds.base import Kind
from motes.tables.kinds.numbers import Date, Integer
from motes.tables.parts import Array, Mask
from motes.tables.relations import Relation

LOOKED = 4000  # rows that are searched
FIRST = 500  # rows that are searched first, for the closest sums of two columns
CLOSER = 0.9  # maximum width of the narrowest interval around a sum, as a share of the width for one of its columns
CLOSEST = 8  # sums of two columns that are looked at for each column
CLOSER_3 = 0.25  # maximum width of that interval around a sum of three columns, as a share of the width for two,
CLOSEST_3 = 4  # and sums of three columns that are looked at
WIDEST = 32  # maximum number of columns that are searched
LARGEST = 1e100  # of columns with larger numbers, sums and quotients could overflow
CELLS = 24  # maximum number of cells of a histogram,
EACH = 30  # and minimum mean number of rows in them
CUTS = 255  # places at which cells may end
OUTER = 0.002  # share of the rows that is left out at each end
HEAVY = 0.02  # minimum share of the rows of a frequent value, which says nothing about a relative place
BESIDE = 0.02  # distance, as a share of the rows ordered by r, within which x is exchanged
SHARP = 0.04  # minimum nats per row by which the cells tell rows from those with exchanged x
CHANCE = 4.0  # and more than that by this multiple of the cells per row
WORTH = 0.03  # minimum nats per row that a histogram adds to that of x alone
MOST = 4  # maximum number of histograms of a column
GROUPS = (5, 2000)  # minimum and maximum number of groups,
MEMBERS = 8  # minimum mean number of rows of a group,
FEWEST = 5  # and minimum number of rows of a group with a mean
SHARED = 0.05  # minimum share of the variance that is between groups

Columns = Mapping[str, Array]  # column -> its numbers, days of dates, or indices of labels, (n,)
Term = tuple[str, float]  # a column and its weight


@dataclass(frozen=True, eq=False)
class GroupMeans:
    """The means of a column in groups of training rows, those with the same value of another column or on the same day.

        mean_g = (sum of x in g + k mean) / weight_g,    weight_g = n_g + k

    k is the variance within groups divided by the variance between them, so that the means of small groups are closer
    to the mean of all rows (Efron & Morris 1975).

    Attributes:
        column: the column of the groups.
        keys: (G,), rising: its whole numbers, days, or indices of labels.
        means, weights: (G,).
    """

    column: str
    keys: Array
    means: Array
    weights: Array

    @classmethod
    def fit(cls, column: str, keys: Array, place: NDArray[np.intp], x: Array) -> "GroupMeans | None":
        """Estimate the means; None if x does not differ between groups.

        Args:
            column: the column of the groups.
            keys: (G,), as above.
            place: (n,), the group of each row; G for none.
            x: (n,); NaN if missing.
        """
        centre = float(np.nanmean(x))
        known, z = ~np.isnan(x) & (place < len(keys)), np.nan_to_num(x - centre)
        every = np.stack([np.bincount(place[known], z[known] ** power, len(keys)) for power in range(3)])
        some = every[0] >= FEWEST
        count, total, squares = every[:, some]
        n, groups = count.sum(), len(count)
        if groups < GROUPS[0] or n <= groups:
            return None
        within = float((squares - total**2 / count).sum()) / (n - groups)
        apart = float((count * (total / count - total.sum() / n) ** 2).sum()) - (groups - 1) * within
        between = apart / float(n - (count**2).sum() / n)
        if not between > SHARED * (between + within):
            return None
        weights = count + within / between
        return cls(column, keys[some], centre + (total + within / between * total.sum() / n) / weights, weights)

    def origin(self, groups: Array, x: Array | None) -> Array:
        """Return the mean of the group of each row, (n,), without the row's own x if given; NaN for unknown groups."""
        groups = np.floor(groups)  # days
        at = np.minimum(np.searchsorted(self.keys, groups), len(self.keys) - 1)
        made = self.means[at] if x is None else self.means[at] - (x - self.means[at]) / (self.weights[at] - 1)
        return np.where(self.keys[at] == groups, made, np.nan)


@dataclass(frozen=True, eq=False)
class Relative:
    """The histogram of a column at places relative to other columns; see the equation of the module.

    Attributes:
        column: the column x.
        others, weights: the columns of r, and their weights; none for r = 0.
        unit: the column k of s; "" for s = 1.
        edges: (B+1,), rising, the ends of the cells of v.
        masses: (B,), the share of each cell among the training rows between the edges.
        gain: nats per row that it adds to the histogram of x alone.
        group: the means of the groups of rows; None for none.
    """

    column: str
    others: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    unit: str = ""
    edges: Array = field(default_factory=lambda: np.zeros(0))
    masses: Array = field(default_factory=lambda: np.zeros(0))
    gain: float = 0.0
    group: GroupMeans | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The columns of r and s."""
        group = self.group.column if self.group else ""
        return tuple(dict.fromkeys(filter(None, [*self.others, self.unit, group])))

    def coordinates(self, values: Columns, x: Array | None = None) -> tuple[Array, Array]:
        """Compute r and s, (n,) each, from the columns `given`; r is NaN for unknown groups.

        With the x of training rows, a row does not count in the mean of its group.
        """
        shape = next(iter(values.values())).shape
        origin = np.zeros(shape)
        for column, weight in zip(self.others, self.weights, strict=True):
            origin = origin + weight * values[column]
        if self.group is not None:
            origin = self.group.origin(values[self.group.column], x)
        return origin, np.abs(values[self.unit]) if self.unit else np.ones(shape)


def days_or_numbers(kind: Kind, values: NDArray[np.generic]) -> Array:
    """Return the values of a column as numbers; dates in days."""
    return values.astype(np.float64) / (DAY if kind.measure == "date" else 1)


def is_given(kind: Kind) -> bool:
    """Return whether a column can give a place to others: numbers, and dates by the day."""
    return len(kind.parts) == 1 and (kind.measure == "number" or (isinstance(kind, Date) and kind.split == "day"))


def is_group(kind: Kind) -> bool:
    """Return whether rows with the same value of a column can be a group: labels, whole numbers, and days of dates."""
    return bool(kind.own_labels) or isinstance(kind, Integer | Date)


def find_relatives(frame: Frame, kinds: Sequence[Kind], relations: Sequence[Relation]) -> tuple[Relative, ...]:
    """Find the histograms of each column that say more about it than the other columns roughly do.

    Args:
        frame: n training rows.
        kinds: kinds of its columns.
        relations: the exact relations: rows in which one holds are left out.
    """
    frame = frame.take(np.argsort(content_keys(frame), kind="stable"))  # so that the order of the rows does not matter
    rows = np.random.default_rng([0, 141421]).permutation(len(frame))[:LOOKED]
    every = {kind.column: _values(frame, kind) for kind in kinds if is_given(kind) or is_group(kind)}
    every = {column: x for column, x in every.items() if np.nanmax(np.abs(x), initial=0) < LARGEST}
    suitable = lambda fits: [kind for kind in kinds if fits(kind) and kind.column in every][:WIDEST]
    groups = {kind.column: _find_groups(kind, every[kind.column]) for kind in suitable(is_group)}
    values, made = {column: x[rows] for column, x in every.items()}, []
    for measure in ("number", "date"):
        some = suitable(lambda kind, measure=measure: kind.measure == measure and is_given(kind))
        for kind in some:
            if kind.parts[0].has_density and kind.lines[0] is not None:
                means = [
                    GroupMeans.fit(column, *found, every[kind.column])
                    for column, found in groups.items()
                    if found is not None and column != kind.column
                ]
                others = [one.column for one in some if one is not kind]
                made += _find_relatives_of(kind, values, others, [one for one in means if one], relations)
    return tuple(made)


def order_for(
    relatives: Sequence[Relative], order: Sequence[str], allowed: Callable[[Sequence[str]], bool]
) -> list[str]:
    """Return an order of columns in which histograms apply: from `order`, single columns move while the gains grow.

    The gain of an order is the sum, over columns, of the largest gain of a histogram whose columns come before.

    Args:
        relatives: the histograms.
        order: the columns.
        allowed: whether an order is allowed.
    """

    def total(order: Sequence[str]) -> float:
        place, gains = {column: k for k, column in enumerate(order)}, dict.fromkeys(order, 0.0)
        for one in relatives:
            if all(place[other] < place[one.column] for other in one.given):
                gains[one.column] = max(gains[one.column], one.gain)
        return sum(gains.values())

    involved = {column for one in relatives for column in (one.column, *one.given)}
    made = list(order)
    while True:
        moves = [made]
        for column in filter(involved.__contains__, made):
            rest = [one for one in made if one != column]
            places = [k for k in range(len(made)) if k == len(rest) or rest[k] in involved]
            moves += [[*rest[:k], column, *rest[k:]] for k in places]
        best = max(filter(allowed, moves), key=total)
        if not total(best) > total(made) + 1e-6:
            return made
        made = best


def _values(frame: Frame, kind: Kind) -> Array:
    """Return the numbers or days of a column, (n,); NaN if missing."""
    series = frame.columns[kind.column]
    made = np.full(len(frame), np.nan)
    if not series.missing.all():
        made[~series.missing] = days_or_numbers(kind, kind.read(series, "the data"))
    return made


def _find_groups(kind: Kind, x: Array) -> tuple[Array, NDArray[np.intp]] | None:
    """Return the keys of the groups by a column and the group of each row, see `GroupMeans.fit`; None if none fit.

    Rare labels share a token, so they are no groups.
    """
    known = ~np.isnan(x) & (x < (len(kind.own_labels) or np.inf))
    keys, place = np.unique(np.floor(x[known]), return_inverse=True)
    if not GROUPS[0] <= len(keys) <= min(GROUPS[1], known.sum() / MEMBERS):
        return None
    made = np.full(len(x), len(keys))
    made[known] = place
    return keys, made


def _find_relatives_of(
    kind: Kind,
    values: Columns,
    others: Sequence[str],
    means: Sequence[GroupMeans],
    relations: Sequence[Relation],
) -> list[Relative]:
    """Choose the histograms of one column, each for what it adds to that of x alone; none for factors of products.

    The Gaussians at the product are closer to the value: with histograms, 0.2 nats per customer were lost.
    """
    x = values[kind.column]
    known = ~np.isnan(x) & ~_is_frequent(x)
    for relation in relations:
        if kind.column in relation.columns:
            if relation.within:
                return []
            known &= relation.is_inexact(kind.column, values, kind.step or 0.0)
    if known.sum() < EACH * 2:
        return []
    width = _width(kind)
    own = _fit_histogram(x[known], np.full(int(known.sum()), width))
    best = np.full(len(x), -np.inf)
    best[known] = np.log(np.maximum(_density(own, x[known]), 1e-12))
    found = []
    for one in [*_candidates(kind, values, others, known), *(Relative(kind.column, group=one) for one in means)]:
        made = _fit_relative(one, x, width, values, known)
        if made is not None:
            found.append((replace(made[0], gain=_gain(best[known], made[1][known])), made[1]))
    chosen: list[tuple[Relative, Array]] = []
    while found and len(chosen) < MOST:
        gains = []
        for one, log_density in found:  # compared with those that apply whenever it does
            smaller = [best, *(log_other for other, log_other in chosen if {*other.given} <= {*one.given})]
            gains.append(_gain(np.logaddexp.reduce(smaller)[known] - np.log(len(smaller)), log_density[known]))
        k = int(np.argmax(gains))
        if gains[k] < WORTH:
            break
        chosen.append(found.pop(k))
    return [relative for relative, _ in chosen]


def _gain(log_p: Array, log_q: Array) -> float:
    """Compute the nats per row that a half of another density adds to a density."""
    return float((np.logaddexp(log_p, log_q) - np.log(2) - log_p).mean())


def _width(kind: Kind) -> float:
    line = kind.lines[0]
    assert line is not None
    return line.grid.width


def _is_frequent(x: Array) -> Mask:
    """Return which numbers (n,) are frequent values, although there are many others."""
    _, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    return (counts > HEAVY * len(x))[place] & (len(counts) > 2 / HEAVY)


def _candidates(kind: Kind, values: Columns, others: Sequence[str], known: Mask) -> Iterator[Relative]:
    """Yield histograms relative to `others`, without cells."""
    if kind.measure == "date":
        yield from (Relative(kind.column, (one,), (1.0,)) for one in others)
        return
    few = np.flatnonzero(known)[:FIRST]
    x = values[kind.column][few]

    def spread(*terms: Term) -> float:
        gap, size = x, np.abs(x)
        for column, weight in terms:
            gap, size = gap - weight * values[column][few], size + np.abs(values[column][few])
        return _spread(gap, size)

    usual, ratios = {one: spread((one, 1.0)) for one in others}, {}
    for pair in combinations(others, 2):
        for weights in ((1.0, 1.0), (1.0, -1.0), (-1.0, 1.0)):
            terms = tuple(zip(pair, weights, strict=True))
            # A sum must be closer than each of its columns, and not by chance, as with a column of small numbers.
            ratios[terms] = spread(*terms) / np.clip(min(usual[one] for one in pair), 1e-300, 1.0)
    closest = sorted((terms for terms in ratios if ratios[terms] < CLOSER), key=lambda terms: ratios[terms])[:CLOSEST]
    wider: dict[tuple[Term, ...], float] = {}
    for terms in closest:
        before = np.clip(spread(*terms), 1e-300, 1.0)
        for third in ((one, weight) for one in others if one not in dict(terms) for weight in (1.0, -1.0)):
            more = tuple(sorted((*terms, third)))
            wider[more] = max(spread(*more) / before, wider.get(more, 0.0))
    closest += sorted((terms for terms in wider if wider[terms] < CLOSER_3), key=lambda terms: wider[terms])[:CLOSEST_3]
    sums = [tuple(zip(*terms, strict=True)) for terms in closest]
    every = [Relative(kind.column, some, weights, unit) for some, weights in sums for unit in ("", *some)]
    every += [Relative(kind.column, (one,), (1.0,)) for one in others]
    every += [Relative(kind.column, unit=one) for one in others]
    seen = set()
    for one in every:
        rest = one.unit, *(term for term in zip(one.others, one.weights, strict=True) if term[0] != one.unit)
        if rest not in seen:  # the column of s in r only moves the cells by 1
            seen.add(rest)
            yield one


def _spread(gap: Array, size: Array) -> float:
    """Return the width of the narrowest interval with a quarter of the gaps (n,), relative to the `size` of terms.

    Only gaps below half the size count: where all terms have the same sign, gaps and sizes are alike.
    """
    with np.errstate(invalid="ignore"):
        v = np.sort(gap / size)  # NaN comes last
    quarter = int((~np.isnan(v)).sum()) // 4
    v = v[np.abs(v) < 0.5]
    return float((v[quarter:] - v[: len(v) - quarter]).min()) if len(v) > quarter > 0 else np.inf


def _fit_relative(one: Relative, x: Array, width: float, values: Columns, known: Mask) -> tuple[Relative, Array] | None:
    """Return the histogram with its cells, and the log-density of x (n,); None if it says no more than r roughly."""
    origin, unit = one.coordinates(values, x)
    here = known & ~np.isnan(origin) & (unit > 0)
    if here.sum() < EACH * 2:
        return None
    origin, unit = np.where(here, origin, 0.0), np.where(here, unit, 1.0)
    v = (x - origin) / unit
    edges = _fit_histogram(v[here], (width / unit)[here])[0]
    roughly = values[one.group.column] if one.group else origin if one.others else unit
    rows = np.flatnonzero(here)[np.argsort(roughly[here], kind="stable")]
    mixed = rows[_exchanged(len(rows))]
    counts = np.histogram(v[rows], edges)[0]
    others = np.histogram((x[mixed] - origin[rows]) / unit[rows], edges)[0]
    shares, chance = (np.append(part, len(rows) - part.sum()) / len(rows) for part in (counts, others))
    sharp = float((shares * np.log((shares + 1e-3) / (chance + 1e-3))).sum())
    if sharp < SHARP + CHANCE * len(shares) / len(rows):
        return None
    masses = (counts + 0.5) / (counts + 0.5).sum()
    log_density = np.full(len(x), np.log(1e-12))
    density = _density((edges, masses), v[here]) / unit[here]
    log_density[here] = np.log(np.maximum(density * counts.sum() / len(rows), 1e-12))
    return replace(one, edges=edges, masses=masses), log_density


def _exchanged(n: int) -> NDArray[np.intp]:
    """Return an exchange of n ordered rows with others nearby, (n,)."""
    far = max(BESIDE * n, 2.0)
    noise = np.random.default_rng([0, 173205]).uniform(-far, far, n)
    order = np.argsort(np.arange(n) + noise, kind="stable")
    return np.roll(order, 1)


def _density(histogram: tuple[Array, Array], v: Array) -> Array:
    """Compute the density of numbers (n,) under a histogram; 0 outside."""
    edges, masses = histogram
    cell = np.searchsorted(edges, v, side="right") - 1
    inside = (cell >= 0) & (cell < len(masses))
    return np.where(inside, (masses / np.diff(edges))[np.clip(cell, 0, len(masses) - 1)], 0.0)


def _fit_histogram(v: Array, width: Array) -> tuple[Array, Array]:
    """Fit the cells of a histogram to numbers v (n,), rounded to `width` (n,): one after the other is divided best.

        gain = n_1 log(n_1 / w_1) + n_2 log(n_2 / w_2) - n log(n / w)

    for a cell of n rows and the width w, until no division gains more than log(n) nats.
    """
    v = np.sort(v)
    n, first = len(v), int(OUTER * len(v))
    seen = np.unique(v[first : n - first])
    cuts = seen[:-1] / 2 + seen[1:] / 2
    if len(cuts) > CUTS:
        place = np.searchsorted(cuts, np.quantile(v, np.arange(1, CUTS + 1) / (CUTS + 1)))
        cuts = cuts[np.unique(np.minimum(place, len(cuts) - 1))]
    half = float(np.median(width)) / 2
    ends = np.array([seen[0] - half, seen[-1] + half]) if half else seen[[0, -1]]
    cuts = np.unique(np.concatenate([ends, cuts[(cuts > ends[0]) & (cuts < ends[1])]]))
    upto = np.searchsorted(v, cuts).astype(np.float64)
    least = max(float(np.median(width)), 1e-12 * float(ends[1] - ends[0] or 1.0)) if half else 0.0
    chosen = [0, len(cuts) - 1]
    for _ in range(min(CELLS, max(n // EACH, 1)) - 1):
        cell = np.clip(np.searchsorted(chosen, np.arange(len(cuts)), side="right") - 1, 0, len(chosen) - 2)
        low, high = np.array(chosen)[cell], np.array(chosen)[cell + 1]
        left = _log_sizes(upto - upto[low], cuts - cuts[low], least)
        right = _log_sizes(upto[high] - upto, cuts[high] - cuts, least)
        gain = left + right - _log_sizes(upto[high] - upto[low], cuts[high] - cuts[low], least)
        k = int(gain.argmax())
        if gain[k] <= np.log(n):
            break
        chosen = sorted([*chosen, k])
    edges = cuts[chosen]
    counts = np.diff(upto[chosen])
    masses = (counts + 0.5) / (counts + 0.5).sum()
    return edges, masses


def _log_sizes(rows: Array, widths: Array, least: float) -> Array:
    """Compute n log(n / w) of cells (m,); minus infinity for cells of no width, or without rows."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = rows * np.log(rows / widths)
    return np.where((widths > 0.99 * least) & (widths > 0), np.where(rows > 0, found, 0.0), -np.inf)


def quantiles_within(edges: Array, cells: Array, first: Array, last: Array, u: Array) -> Array:
    """Compute quantiles u (n,) of histograms with shares `cells` (n, CELLS), truncated to `first` to `last`, (n,)."""
    count = np.arange(len(edges))
    upto = np.pad(np.cumsum(cells[:, : len(edges) - 1], axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    below = []
    for end in (first, last):
        place = np.interp(end, edges, count)
        cell = np.minimum(place.astype(int), len(edges) - 2)[:, None]
        a, b = (np.take_along_axis(upto, one, 1)[:, 0] for one in (cell, cell + 1))
        below.append(a + (place - cell[:, 0]) * (b - a))
    mark = below[0] + u * (below[1] - below[0])
    cell = np.minimum((upto[:, 1:] <= mark[:, None]).sum(axis=1), len(edges) - 2)[:, None]
    a, b = (np.take_along_axis(upto, one, 1)[:, 0] for one in (cell, cell + 1))
    inside = np.clip((mark - a) / np.maximum(b - a, 1e-300), 0.0, 1.0)
    return np.clip(np.interp(cell[:, 0] + inside, count, edges), first, last)
