"""Binnings of a line into slots: the tokens of a column of numbers.

    y = T(x),    slot k is edges[k] <= y < edges[k+1],    log p(x) = log p(slot) + log p(y in the slot) + log_unit

There are three binnings: `Few` has one slot for each observed value; `Lattice` bins equally spaced numbers, where each
number is a cell of width 1; `Continuum` bins real numbers. Frequent values have a slot of their own.
"""

import abc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.curves import Straight, Transform, fit_curve, standardised
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Repeats, Values

Numbers = NDArray[Any]  # int64 on a lattice, otherwise float64
ENOUGH = 20  # rows, from which a pattern, such as only even numbers, is no accident
Integers = NDArray[np.int64]

ROWS = 20  # minimum number of rows of a value with a slot of its own
EACH = 10  # minimum mean number of rows per slot
LEAST = 4  # minimum number of slots
TAIL = 1  # minimum number of rows in the outermost bin at each end: with 5, an outlier among them is spread too far
APART = 0.4  # maximum share of slots with a single value, if there are bins
FREQUENT = 0.1  # share of the rows above which a value is ignored in fitting the curve
FAR = 2**61  # limit of the places of a lattice
END = 2**62  # end of an unbounded lattice
HALF_ROW = 0.5  # rows shared by all tokens without rows


@dataclass(frozen=True)
class Binning(abc.ABC):
    """A binning: encodes numbers x as slots and places y.

    Attributes:
        curve: T.
        bounds: (L+1,), the ends of the slots in x, or the first place of each slot of a lattice.
        masses: (L,), the share of the training rows in each slot.
        low, high: the smallest and the largest number that `decode` returns.
    """

    curve: Transform
    bounds: Numbers
    masses: Array
    low: float | int
    high: float | int

    @property
    def edges(self) -> Array:
        """The ends of the slots in y, (L+1,)."""
        return self.curve.forward(self.bounds)

    @property
    @abc.abstractmethod
    def smooth(self) -> bool:
        """Whether there is a density within the slots."""

    @property
    def single(self) -> Mask | None:
        """Which slots (L,) contain a single value; None if all do."""
        return None

    @property
    def repeats(self) -> Repeats | None:
        """The frequent numbers within the slots; None if each slot is spread evenly."""
        return None

    @property
    @abc.abstractmethod
    def draw_range(self) -> tuple[float, float]:
        """The interval of y from `low` to `high`."""

    @abc.abstractmethod
    def encode(self, x: Numbers) -> Entries:
        """Encode numbers (m,) as slots; `IMPOSSIBLE` if there is none."""

    @abc.abstractmethod
    def decode(self, codes: Codes, y: Array) -> Numbers:
        """Decode slots and places (m,) into numbers in these slots, from `low` to `high`."""

    @abc.abstractmethod
    def within(self, ranges: Numbers) -> tuple[Mask, float, float]:
        """Return which slots (L,) contain a number of the closed intervals (r, 2), and the outer ends of these in y."""

    def part(self, name: str, column: str) -> Part:
        """Return the slots as a part of a column."""
        return Part(name, column, self.masses, self.edges, self.smooth, self.single, self.repeats)

    def has_mass(self, x: float) -> bool:
        """Return whether a single number has a probability instead of a density."""
        return True

    @property
    def alone(self) -> int:
        """The number of slots that contain a single number."""
        return len(self.masses)

    @property
    def words(self) -> str:
        """How the column is represented, in words."""
        curve = f", {self.curve.word}" if self.curve.word else ""
        bins = len(self.masses) - self.alone
        apart = f", {self.alone} value{'s' if self.alone > 1 else ''} apart" if self.alone else ""
        return f"{bins} bin{'s' if bins != 1 else ''}{curve}{apart}"


# --- one slot for each value ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Few(Binning):
    """A slot for each of a few values, from halfway to the value below it to halfway to the value above it.

    Unseen numbers of a lattice between two values belong to the slot of the nearer value. All of them share half a row:
    they have a probability, but are never drawn.

    Attributes:
        at: (L,), the values, rising.
        unseen: (L,), the number of unseen places of the lattice in each slot.
        share: (L,), their total share of each slot.
        lattice: whether the values lie on a lattice; otherwise only the observed values are possible.
    """

    at: Numbers
    unseen: Integers
    share: Array
    lattice: bool

    smooth = False

    @property
    def draw_range(self) -> tuple[float, float]:
        edges = self.edges
        return float(edges[0]), float(edges[-1])

    def encode(self, x: Numbers) -> Entries:
        codes = np.clip(np.searchsorted(self.bounds, x, side="left") - 1, 0, len(self.at) - 1)
        seen = self.at[codes] == x
        possible = seen | ((x > self.bounds[0]) & (x < self.bounds[-1]) & self.lattice)
        with np.errstate(divide="ignore"):
            shares = np.stack([np.log1p(-self.share), np.log(self.share / np.maximum(self.unseen, 1))], axis=1)
        edges = self.edges
        y = self.curve.forward(self.at)[codes]
        if not seen.all():
            y = np.where(seen, y, np.clip(self.curve.forward(x), edges[codes], edges[codes + 1]))
        unit = shares[codes, (~seen).astype(np.int64)]
        return Entries(marked(codes, possible), y, edges[codes], edges[codes + 1], unit)

    def decode(self, codes: Codes, y: Array) -> Numbers:
        return self.at[codes]

    def within(self, ranges: Numbers) -> tuple[Mask, float, float]:
        return in_ranges(self.at, ranges), -np.inf, np.inf

    @property
    def words(self) -> str:
        return f"{len(self.at)} values"


def few(at: Numbers, counts: Array, *, lattice: bool, zero: float = 0.0) -> Few:
    """Fit a slot for each of the values `at` (L,), distinct and rising, with `counts` (L,) rows."""
    middle = at[:-1] / 2 + at[1:] / 2
    first, last = (0.5, 0.5)
    if not lattice and len(at) > 1:
        first, last = float(middle[0] - at[0]), float(at[-1] - middle[-1])
    bounds = np.concatenate([[at[0] - first], middle, [at[-1] + last]])
    unseen = np.zeros(len(at), np.int64)
    if lattice:
        # A place halfway between two values belongs to the lower one: its slot is (bounds[k], bounds[k+1]].
        below = np.floor(bounds).astype(np.int64)
        unseen = np.diff(below) - 1
    some = np.maximum((unseen > 0).sum(), 1)
    share = np.where(unseen > 0, HALF_ROW / some / (np.maximum(counts, HALF_ROW) + HALF_ROW / some), 0.0)
    masses = np.maximum(counts, HALF_ROW / np.maximum((counts == 0).sum(), 1))
    curve = _fit_few_curve(at, counts, half=0.5 * lattice, zero=zero)
    return Few(curve, bounds, masses / masses.sum(), at[0], at[-1], at, unseen, share, lattice)


def _fit_few_curve(at: Numbers, counts: Array, *, half: float, zero: float) -> Transform:
    """Choose a straight curve for close values, such as counts or grades, and fit one to sparse values (amounts)."""
    x = np.asarray(at, np.float64)
    curve: Transform = Straight(float(np.median(x)), float(np.ptp(x)) or 1.0)
    others = (counts < FREQUENT * counts.sum()) & (counts > 0)
    if others.sum() >= 2 * LEAST and (not half or np.ptp(x) > 2 * len(x)):
        curve = fit_curve(x[others], counts[others], half=half, zero=zero)
    return standardised(curve, x, counts)


# --- shared ---------------------------------------------------------------------------------------------------------


def slots_of(counts: Array, bins: int) -> int:
    """Return the number of slots for these rows."""
    return int(min(bins, max(LEAST, counts.sum() // EACH)))


def cuts_of(counts: Array, bins: int) -> NDArray[np.intp]:
    """Return the first indices of the second to the last of at most `bins` bins, for numbers with these counts (m,).

    Bins contain about the same number of rows, except in the tails: the outermost bins are halved until they have few
    rows, so that none spreads its rows from the bulk to the last number.
    """
    bins = int(min(bins, max(LEAST, counts.sum() // EACH), len(counts)))
    upto = np.cumsum(counts)
    if bins < 2:
        return np.zeros(0, np.intp)
    halvings = int(np.clip(np.log2(upto[-1] / bins / TAIL), 0, bins // 4))
    cuts = np.searchsorted(upto, tail_shares(bins, halvings) * upto[-1] * (1 - 1e-12)) + 1
    return np.unique(cuts[cuts < len(counts)])


def tail_shares(bins: int, halvings: int) -> Array:
    """Return the shares of the rows below the second to last of `bins`; the outermost are halved `halvings` times."""
    equal = bins - 2 * halvings
    outer = 0.5 ** np.arange(1, halvings + 1) / equal
    return np.concatenate([outer[::-1], np.arange(1, equal) / equal, 1 - outer])


def masses_of(rows: NDArray[Any]) -> Array:
    """Return the shares of slots with these numbers of rows; empty slots share half a row."""
    empty = rows == 0
    rows = np.where(empty, HALF_ROW / max(int(empty.sum()), 1), rows)
    return rows / rows.sum()


def curve_of(x: Numbers, counts: Array, atoms: NDArray[np.intp], *, half: float, zero: float) -> Transform:
    """Fit the curve to the numbers in bins, or to all if these are too few; standardise it over all."""
    rest = np.delete(np.arange(len(x)), atoms)
    if len(rest) < 2 * LEAST:
        rest = np.arange(len(x))
    curve = fit_curve(np.asarray(x[rest], np.float64), counts[rest], half=half, zero=zero)
    return standardised(curve, np.asarray(x, np.float64), counts)


def marked(codes: NDArray[np.intp], possible: Mask) -> Codes:
    """Return the codes, with `IMPOSSIBLE` where not `possible`."""
    return np.where(possible, codes, IMPOSSIBLE).astype(np.int32)


def in_ranges(x: Numbers, ranges: Numbers) -> Mask:
    """Return which numbers (m,) lie in one of the closed intervals (r, 2), which are disjoint and rising."""
    if not len(ranges):
        return np.zeros(len(x), bool)
    at = np.searchsorted(ranges[:, 0], x, side="right") - 1
    return (at >= 0) & (x <= ranges[np.maximum(at, 0), 1])


def complement(ranges: Numbers) -> Numbers:
    """Return the closed intervals (s, 2) of all numbers outside closed intervals (r, 2)."""
    whole = ranges.dtype.kind == "i"
    below = ranges[:, 0] - 1 if whole else np.nextafter(ranges[:, 0], -np.inf)
    above = ranges[:, 1] + 1 if whole else np.nextafter(ranges[:, 1], np.inf)
    low, high = (np.array([end], ranges.dtype) for end in ((-END, END) if whole else (-np.inf, np.inf)))
    made = np.stack([np.concatenate([low, above]), np.concatenate([below, high])], axis=1)
    far = FAR if whole else np.finfo(np.float64).max
    return made[(made[:, 0] <= made[:, 1]) & (made[:, 0] <= far) & (made[:, 1] >= -far)]


def overlap(first: Numbers, last: Numbers, ranges: Numbers, *, open_: bool = False) -> Mask:
    """Return which intervals `first` to `last` (L,) overlap `ranges` (r, 2); with `open_`, by more than an end."""
    if not len(ranges):
        return np.zeros(len(first), bool)
    before = np.searchsorted(ranges[:, 1], first, side="right" if open_ else "left")  # ranges that end before it
    after = np.searchsorted(ranges[:, 0], last, side="left" if open_ else "right")  # ranges that begin in it or before
    return after > before


# --- Bins of equally spaced numbers, the whole numbers k ------------------------------------------------------------
#
#     log p(k) = log p(slot) + log (mass of T(k - 1/2) to T(k + 1/2) within the slot)
#
# A number with far more rows than its neighbours, such as a zero that means "none" or a price of 999, has a slot of its
# own, as wide as its cell.


TIMES = 3  # such a number has this many times the median number of rows of its neighbours
BESIDE = 25  # distance up to which numbers count as neighbours
ROUNDS = 30  # rounds of expectation and maximisation
PRIOR = 20.0  # prior rows for the overall share of repeated numbers, added to each slot
WORTH = 0.05  # minimum share of the rows in repeated numbers
SHORT = 10  # places up to which each has a slot of its own, however few rows there are


@dataclass(frozen=True)
class Lattice(Binning):
    """Whole numbers k, each the cell k - 1/2 to k + 1/2; `bounds` are the first k of each slot, (L+1,).

    Attributes:
        again, at, shares: the `Repeats` of whole numbers `at`; empty if no number is frequent.
    """

    again: Array
    at: Integers
    shares: Array

    smooth = True

    @property
    def repeats(self) -> Repeats | None:
        return Repeats(self.again, self.curve.forward(self.at), self.shares) if len(self.at) else None

    @property
    def edges(self) -> Array:
        ends = self.bounds - 0.5
        ends[self.bounds == -END], ends[self.bounds == END] = -np.inf, np.inf
        return self.curve.forward(ends)

    @property
    def draw_range(self) -> tuple[float, float]:
        ends = self.curve.forward(np.array([self.low - 0.5, self.high + 0.5]))
        return float(ends[0]), float(ends[1])

    def encode(self, x: Numbers) -> Entries:
        possible = (x >= self.bounds[0]) & (x < self.bounds[-1])
        codes = np.clip(np.searchsorted(self.bounds, x, side="right") - 1, 0, len(self.masses) - 1)
        edges, first = self.edges, int(x.min()) if len(x) else 0
        if len(x) and int(x.max()) - first <= len(x):  # fewer cells than entries
            cells = np.arange(first, int(x.max()) + 2)
            ends, middle = self.curve.forward(cells - 0.5), self.curve.forward(cells)
            y, low, high = middle[x - first], ends[x - first], ends[x - first + 1]
        else:
            y, low, high = (self.curve.forward(x + far) for far in (0.0, -0.5, 0.5))
        # Rounding may have moved an end of a cell beyond the end of its slot.
        low, high = np.maximum(low, edges[codes]), np.minimum(high, edges[codes + 1])
        return Entries(marked(codes, possible), y, low, high, np.zeros(len(x)))

    def decode(self, codes: Codes, y: Array) -> Numbers:
        least, most = np.maximum(self.bounds[:-1], self.low), np.minimum(self.bounds[1:] - 1, self.high)
        k = np.clip(np.rint(self.curve.inverse(y)), -float(END), float(END)).astype(np.int64)
        return np.clip(k, least[codes], most[codes])

    def within(self, ranges: Numbers) -> tuple[Mask, float, float]:
        allowed = overlap(self.bounds[:-1], self.bounds[1:] - 1, ranges)
        low, high = int(ranges.min()), int(ranges.max())
        ends = self.curve.forward(
            np.array([low - 0.5 if low > -FAR else -np.inf, high + 0.5 if high < FAR else np.inf])
        )
        return allowed, float(ends[0]), float(ends[1])

    @property
    def single(self) -> Mask:
        return np.diff(self.bounds) == 1

    @property
    def alone(self) -> int:
        return int(self.single.sum())


def fit_lattice(
    k: Integers, counts: Array, bins: int, *, low: int | None = None, high: int | None = None, zero: float = 0.0
) -> Few | Lattice:
    """Fit the binning of whole numbers k (m,), distinct and rising, with `counts` (m,) rows.

    Args:
        k, counts: the numbers and their rows.
        bins: maximum number of slots.
        low, high: ends of the possible interval; None for an open end.
        zero: the place of zero, at which numbers that cannot be negative begin.
    """
    least, most = (int(k[0] if low is None else low), int(k[-1] if high is None else high))
    slots = slots_of(counts, bins)
    wider = least < k[0] or most > k[-1]
    if wider and most - least < slots:  # the user's limits make these numbers possible
        every = np.arange(least, most + 1)
        rows = np.zeros(len(every))
        rows[k - least] = counts
        return few(every, rows, lattice=True, zero=zero)
    repeated = 2 * len(k) <= counts.sum()
    if not wider and ((len(k) <= slots and repeated) or most - least < SHORT):
        return few(k, counts, lattice=True, zero=zero)
    atoms = _find_atoms(k, counts, int(slots * APART))
    rest = np.delete(np.arange(len(k)), atoms)
    cuts = cuts_of(counts[rest], slots - 2 * len(atoms))
    places = k[rest]
    # A slot begins at the first place that is nearer to its own numbers than to the numbers below.
    starts = [places[cuts - 1] + (places[cuts] - places[cuts - 1] + 1) // 2, k[atoms], k[atoms] + 1]
    first = least if low is not None or 0 in atoms else -END
    last = most + 1 if high is not None or len(k) - 1 in atoms else END
    gaps = _find_gaps(k, atoms)
    bounds = np.unique(np.concatenate([[first], *starts, gaps, [last]]).astype(np.int64))
    bounds = bounds[(bounds >= first) & (bounds <= last)]
    bounds = _merge_empty_slots(bounds, k, np.concatenate([k[atoms], k[atoms] + 1, gaps]))
    masses = masses_of(np.bincount(np.searchsorted(bounds, k, side="right") - 1, counts, len(bounds) - 1))
    curve = curve_of(k, counts, atoms, half=0.5, zero=zero)
    return Lattice(curve, bounds, masses, least, most, *_fit_repeats(k, counts, bounds, curve))


def _fit_repeats(k: Integers, counts: Array, bounds: Integers, curve: Transform) -> tuple[Array, Integers, Array]:
    """Fit `again`, `at` and `shares` of places k (m,) by leave-one-out likelihood.

    The share of a slot is shrunk towards the share over all slots, the less the more rows the slot has.
    """
    slots, size = np.searchsorted(bounds, k, side="right") - 1, len(bounds) - 1
    several = (counts > 1) & (np.diff(bounds)[slots] > 1)
    of_slot = np.bincount(slots, counts * several, size)
    if not several.any():
        return np.zeros(0), k[:0], np.zeros(0)
    ends = curve.forward(np.clip(bounds - 0.5, k[0] - 0.5, k[-1] + 0.5))
    even = (curve.forward(k + 0.5) - curve.forward(k - 0.5)) / np.maximum(np.diff(ends)[slots], 1e-300)
    left_out = np.where(several, (counts - 1) / np.maximum(of_slot[slots] - 1, 1), 0.0)
    rows, again, overall = np.bincount(slots, counts, size), np.full(size, 0.5), 0.5
    for _ in range(ROUNDS):  # expectation and maximisation
        first = again[slots] * left_out
        mine = np.bincount(slots, counts * first / (first + (1 - again[slots]) * even), size)
        overall = mine.sum() / rows.sum()
        again = (mine + PRIOR * overall) / (rows + PRIOR)
    if overall < WORTH:
        return np.zeros(0), k[:0], np.zeros(0)
    again = np.where(of_slot > 0, again, 0.0)
    return again, k[several], counts[several] / of_slot[slots[several]]


def _find_gaps(k: Integers, atoms: NDArray[np.intp]) -> Integers:
    """Return the ends of gaps next to atoms: places between an atom and distant neighbours, with no rows in between."""
    if not len(atoms) or len(k) <= len(atoms) + 1:
        return k[:0]
    usual = TIMES * np.median(np.diff(np.delete(k, atoms)))
    above, below = atoms[atoms < len(k) - 1], atoms[atoms > 0]
    above, below = above[k[above + 1] - k[above] > usual], below[k[below] - k[below - 1] > usual]
    return np.concatenate([k[above + 1], k[below - 1] + 1])


def _merge_empty_slots(bounds: Integers, k: Integers, fixed: Integers) -> Integers:
    """Merge empty slots into the slot before, unless there are values with a slot of their own on both sides."""
    rows = np.bincount(np.searchsorted(bounds, k, side="right") - 1, minlength=len(bounds) - 1)
    drop = np.zeros(len(bounds), bool)
    for i in np.flatnonzero(rows == 0):
        ends = [end for end in (i, i + 1) if 0 < end < len(bounds) - 1 and bounds[end] not in fixed and not drop[end]]
        drop[ends[:1]] = True
    return bounds[~drop]


def _find_atoms(k: Integers, counts: Array, most: int) -> NDArray[np.intp]:
    """Return the indices of places k (m,) with far more rows than their neighbours, at most `most` of them."""
    many = np.flatnonzero(counts >= ROWS)
    many = many[np.argsort(-counts[many], kind="stable")][: 16 * most]
    if not len(many):
        return many
    around = np.concatenate([np.arange(-BESIDE, 0), np.arange(1, BESIDE + 1)])
    beside = k[many][:, None] + around  # (h, 2 BESIDE)
    at = np.minimum(np.searchsorted(k, beside), len(k) - 1)
    rows = np.where(k[at] == beside, counts[at], 0.0)
    # Places beyond the ends have no rows and do not count as neighbours.
    usual = np.nanmedian(np.where((beside >= k[0]) & (beside <= k[-1]), rows, np.nan), axis=1)
    usual = np.maximum(usual, HALF_ROW)
    gain = np.where(counts[many] > TIMES * usual, counts[many] * np.log(counts[many] / usual), 0.0)
    chosen = many[np.argsort(-gain, kind="stable")][: min(most, int((gain > 0).sum()))]
    return np.sort(chosen)


# --- Bins of real numbers, and point masses between them ------------------------------------------------------------
#
#     log p(x) = log p(slot) + log (density of y in the slot) + log |dy/dx|,    at a point mass log p(slot)
#
# A value with at least `ROWS` rows is a point mass. If it is the smallest or the largest value, the line ends there.


REPEATED = 5  # minimum number of rows of each number in a column of a few real numbers


@dataclass(frozen=True)
class Continuum(Binning):
    """A binning of real numbers; a slot with equal `bounds` is a frequent value and has no width."""

    smooth = True

    @property
    def draw_range(self) -> tuple[float, float]:
        ends = self.curve.forward(np.array([self.low, self.high], np.float64))
        return float(ends[0]), float(ends[1])

    @property
    def single(self) -> Mask:
        return self.points

    @property
    def points(self) -> Mask:
        """Which slots are a single value, (L,)."""
        return self.bounds[:-1] == self.bounds[1:]

    def encode(self, x: Numbers) -> Entries:
        possible = np.isfinite(x) & (x >= self.bounds[0]) & (x <= self.bounds[-1])
        left = np.searchsorted(self.bounds, x, side="left")
        # A number on an end belongs to the slot above it; on two equal ends, to the slot between them.
        codes = left - 1 + (self.bounds[np.minimum(left, len(self.bounds) - 1)] == x)
        codes = np.clip(codes, 0, len(self.masses) - 1)
        edges = self.edges
        y = np.clip(self.curve.forward(x), edges[codes], edges[codes + 1])
        unit = np.where(self.points[codes], 0.0, self.curve.log_slope(x))
        return Entries(marked(codes, possible), y, y, y, unit)

    def decode(self, codes: Codes, y: Array) -> Numbers:
        points, low, high = self.points, self.bounds[:-1].copy(), self.bounds[1:].copy()
        low[1:][points[:-1]] = np.nextafter(low[1:][points[:-1]], np.inf)
        inner = ~points & np.append(np.full(len(points) - 1, True), False)
        high[inner] = np.nextafter(high[inner], -np.inf)
        low[~points] = np.maximum(low[~points], self.low)
        high[~points] = np.minimum(high[~points], self.high)
        return np.clip(self.curve.inverse(y), low[codes], np.maximum(low, high)[codes])

    def within(self, ranges: Numbers) -> tuple[Mask, float, float]:
        points = self.points
        wide = ranges[ranges[:, 0] < ranges[:, 1]]
        allowed = overlap(self.bounds[:-1], self.bounds[1:], wide, open_=True)
        allowed = np.where(points, in_ranges(self.bounds[:-1], ranges), allowed)
        ends = self.curve.forward(np.array([ranges.min(), ranges.max()]))
        return allowed, float(ends[0]), float(ends[1])

    def has_mass(self, x: float) -> bool:
        return bool((self.bounds[:-1][self.points] == x).any())

    @property
    def alone(self) -> int:
        return int(self.points.sum())


def fit_continuum(
    x: Array, counts: Array, bins: int, *, low: float | None = None, high: float | None = None
) -> Few | Continuum:
    """Fit the binning of real numbers x (m,), distinct and rising, with `counts` (m,) rows; see `fit_lattice`."""
    slots = slots_of(counts, bins)
    wider = (low is not None and low < x[0]) or (high is not None and high > x[-1])
    if not wider and (len(x) == 1 or (len(x) <= bins and counts.min() >= REPEATED)):
        return few(x, counts, lattice=False)
    atoms = np.flatnonzero(counts >= ROWS)
    atoms = np.sort(atoms[np.argsort(-counts[atoms], kind="stable")][: int(slots * APART)])
    rest = np.delete(np.arange(len(x)), atoms)
    cuts = cuts_of(counts[rest], slots - 2 * len(atoms))
    middle = x[rest][cuts - 1] / 2 + x[rest][cuts] / 2
    middle = middle[~np.isin(middle, x)]  # adjacent floats have no number in between
    first = x[0] if 0 in atoms and low is None else -np.inf if low is None else low
    last = x[-1] if len(x) - 1 in atoms and high is None else np.inf if high is None else high
    outer = {float(first), float(last)} - set(x[atoms].tolist())
    bounds = np.sort(np.concatenate([middle, np.repeat(x[atoms], 2), sorted(outer)]))
    curve = curve_of(x, counts, atoms, half=0.0, zero=0.0)
    bounds = _drop_empty_cuts(bounds, x)
    ends = float(x[0] if low is None else low), float(x[-1] if high is None else high)
    made = Continuum(curve, bounds, np.ones(len(bounds) - 1), *ends)
    return replace(made, masses=masses_of(np.bincount(made.encode(x).codes, counts, len(bounds) - 1)))


def _drop_empty_cuts(bounds: Array, x: Array) -> Array:
    """Remove cuts next to a point mass that have no number on one side."""
    below, above = np.searchsorted(x, bounds, side="left"), np.searchsorted(x, bounds, side="right")
    cut = np.append(True, bounds[1:] != bounds[:-1]) & np.append(bounds[:-1] != bounds[1:], True)
    cut[[0, -1]] = False
    empty = np.zeros(len(bounds), bool)
    empty[1:] = below[1:] <= above[:-1]  # no number between this end and the one before
    needless = cut & (empty | np.append(empty[1:], False))
    return bounds[~needless]


# --- Equally spaced numbers <-> whole numbers k, and how to detect them ---------------------------------------------
#
#     x = (origin + step k) / 10^places
#
# Whole numbers have no decimal places; real numbers have as many as all of them are rounded to.


WHOLE = 2**63 - 1024  # limit of whole numbers, as 64-bit integers or floats
FINE = 2**44  # maximum number of cells of a column; more are too narrow for a place on a line
DECIMALS = 6  # maximum number of decimals that counts as rounding
FIRST = 1000  # entries that are checked first
COARSE = 100  # minimum number of floating-point steps per unit of the last decimal


@dataclass(frozen=True)
class Grid:
    """Numbers (origin + step k) / 10^places.

    Attributes:
        origin, step, places: as in the equation; all whole.
        single: whether the numbers are in single precision.
    """

    origin: int
    step: int
    places: int = 0
    single: bool = False

    @classmethod
    def of(cls, x: NDArray[Any], places: int, step: int | None) -> "Grid":
        """Fit the grid of distinct, rising numbers (m,); a `step` of None is the largest that fits."""
        whole = np.rint(x * 10.0**places).astype(np.int64) if places else x.astype(np.int64)
        step = step or common_step(whole)
        low, high = int(whole[0]), int(whole[-1])
        # Count from 0 if it is not far away, so that ratios of numbers are preserved.
        origin = low % step if abs(low) <= 2 * (high - low) else low
        return cls(origin, step, places, bool(places) and is_single(x))

    @property
    def width(self) -> float:
        """The distance between neighbours."""
        return float(self.step / 10**self.places)

    def places_of(self, x: Values) -> NDArray[np.int64]:
        """Convert numbers (m,) to the nearest places k."""
        if self.places:
            far = float(FAR * self.step)
            return np.rint(np.clip(x * 10.0**self.places - self.origin, -far, far) / self.step).astype(np.int64)
        whole = x if x.dtype.kind == "i" else np.clip(np.rint(x), -WHOLE, WHOLE).astype(np.int64)
        # A larger difference would overflow.
        ends = max(self.origin - FAR, -WHOLE), min(self.origin + FAR, WHOLE)
        return (np.clip(whole, *ends) - self.origin) // self.step

    def numbers(self, k: NDArray[np.int64]) -> Values:
        """Convert places k to numbers."""
        whole = self.origin + self.step * k
        if not self.places:
            return whole
        x = whole / 10.0**self.places
        return x.astype(np.float32).astype(np.float64) if self.single else x

    def first_from(self, x: float) -> int:
        """Return the first place at or above a number."""
        return -self._steps_down(-x, -self.origin)

    def last_upto(self, x: float) -> int:
        """Return the last place at or below a number."""
        return self._steps_down(x, self.origin)

    def _steps_down(self, x: Any, origin: int) -> int:
        if not self.places and float(x).is_integer():
            return int(np.clip((int(x) - origin) // self.step, -FAR, FAR))
        slack = 1e-6 if self.places else 0.0  # for rounding errors in 10^places x
        return int(np.clip(np.floor((float(x) * 10.0**self.places - origin) / self.step + slack), -FAR, FAR))

    def line(self, x: Values, counts: Array, bins: int, low: float | None, high: float | None) -> Binning | None:
        """Fit the binning of distinct, rising numbers x (m,) on this grid; None if its cells are too narrow."""
        if (float(x[-1]) - float(x[0])) / self.width > FINE:
            return None
        k, counts = distinct(self.places_of(x), counts)
        first, last = (None if end is None else int(self.places_of(np.array([end]))[0]) for end in (low, high))
        return fit_lattice(k, counts, bins, low=first, high=last, zero=-self.origin / self.step)

    # --- whole numbers in a binning on this grid ---

    def encode(self, line: Binning, x: Integers) -> Entries:
        """Encode whole numbers (m,) as slots; `IMPOSSIBLE` if there is none, or off the grid."""
        made = line.encode(self.places_of(x))
        off = (x - self.origin) % self.step != 0
        return replace(made, codes=np.where(off, IMPOSSIBLE, made.codes).astype(np.int32))

    def ends_of_slots(self, line: Binning) -> tuple[Integers, Integers]:
        """Return the first and the last whole number of each slot, (L,)."""
        if isinstance(line, Few):
            return self.numbers(line.at), self.numbers(line.at)
        first, last = np.maximum(line.bounds[:-1], line.low), np.minimum(line.bounds[1:] - 1, line.high)
        return self.numbers(first), self.numbers(last)

    def cells(self, line: Binning, low: Integers, high: Integers) -> tuple[Any, Any]:
        """Return the ends in y of the cells of whole numbers low to high, (n,) each; infinite if there are no cells."""
        if not isinstance(line, Lattice):
            return -np.inf, np.inf
        first, last = -((self.origin - low) // self.step), (high - self.origin) // self.step
        return line.curve.forward(first - 0.5), line.curve.forward(last + 0.5)


def fit_grid(x: Integers, counts: Array, bins: int) -> tuple[Binning, Grid]:
    """Fit the binning of whole numbers (m,), in any order and with repeats, and its grid."""
    seen, rows = distinct(x, counts)
    grid = Grid.of(seen, 0, None if rows.sum() >= ENOUGH else 1)
    line = grid.line(seen, rows, bins, None, None)
    assert line is not None  # microseconds of a day, or days of the calendar, fit on a line
    return line, grid


def is_each_whole(x: Values) -> Mask:
    """Return which numbers (m,) are whole and fit into 64 bits."""
    if x.dtype.kind != "f":
        return np.abs(x.astype(np.float64)) <= WHOLE
    return (np.rint(x) == x) & (np.abs(x) <= WHOLE)


def is_whole(x: Values) -> bool:
    """Return whether all numbers (m,) are whole and exact in float64."""
    return x.dtype.kind != "f" or bool((np.rint(x) == x).all() and np.abs(x).max() < 2**53)


def is_single(x: Array) -> bool:
    """Return whether all numbers (m,) are exact in single precision."""
    return bool(np.abs(x).max() < np.finfo(np.float32).max and (x.astype(np.float32) == x).all())


def decimals_of(x: Array) -> int | None:
    """Return the fewest decimals to which all numbers (m,) are rounded; None for more than six, or few rows."""
    if len(x) < ENOUGH or (len(x) > 2 * FIRST and decimals_of(x[:FIRST]) is None):
        return None
    largest, single = np.abs(x).max(), is_single(x)
    step = np.finfo(np.float32 if single else np.float64).eps * largest
    for places in range(1, DECIMALS + 1):
        if 10.0**-places < COARSE * step:
            return None
        found = np.rint(x * 10.0**places) / 10.0**places
        if (found.astype(np.float32) == x.astype(np.float32) if single else found == x).all():
            return places
    return None


def common_step(seen: NDArray[Any]) -> int:
    """Return the largest step of which all whole numbers `seen`, rising, are multiples, counted from one of them."""
    # The difference of two 64-bit numbers fits into an unsigned one.
    return max(int(np.gcd.reduce(np.diff(seen.astype(np.int64).view(np.uint64)))), 1)


def distinct(values: Values, weights: Array) -> tuple[Values, Array]:
    """Return the distinct values (d,), rising, and the number of rows of each."""
    if len(values) and (weights == weights[0]).all():
        seen, counts = np.unique(values, return_counts=True)
        return seen, counts.astype(np.float64) * weights[0]
    seen, inverse = np.unique(values, return_inverse=True)
    return seen, np.bincount(inverse, weights, len(seen)).astype(np.float64)
