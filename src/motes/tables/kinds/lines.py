"""Slots along a line: the codes of a column of numbers.

    y = T(x),    slot k is edges[k] <= y < edges[k+1],    log p(x) = log p(slot) + log p(y in the slot) + log_unit

Three lines: `Few` has one slot for each value that was seen; `Lattice` bins numbers of equal distance, each of which is
a cell of width 1; `Continuum` bins real numbers. A value that many rows hold has a slot of its own.
"""

import abc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.curves import Straight, Transform, fit_curve, standardised
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Repeats, Values

Numbers = NDArray[Any]  # int64 on a lattice, otherwise float64
ENOUGH = 20  # rows: that all are even, say, is then no accident
Integers = NDArray[np.int64]

ROWS = 20  # that hold a value which has a slot of its own
EACH = 10  # rows to a slot, at least, on average
LEAST = 4  # slots
TAIL = 1  # row of the outermost bin at each end, at least: with 5, one far number among them is spread too far
APART = 0.4  # of the slots, at most, that hold one value each, where there are bins
FREQUENT = 0.1  # share of the rows with one value, from which it says nothing of the shape of the others
FAR = 2**61  # places of a lattice, as far as anything goes
END = 2**62  # of a lattice without an end
HALF_ROW = 0.5  # what all codes that no row has share


@dataclass(frozen=True)
class Binning(abc.ABC):
    """Numbers x <-> slots and places y.

    Attributes:
        curve: T.
        bounds: (L+1,), the ends of the slots: of x, or the first place of each slot of a lattice.
        masses: (L,), the share of the training rows in each slot.
        low, high: the least and the largest number that is ever given back.
    """

    curve: Transform
    bounds: Numbers
    masses: Array
    low: float | int
    high: float | int

    @property
    def edges(self) -> Array:
        """(L+1,), of y."""
        return self.curve.forward(self.bounds)

    @property
    @abc.abstractmethod
    def smooth(self) -> bool:
        """Whether there is a density within the slots."""

    @property
    def single(self) -> Mask | None:
        """Which slots (L,) hold one value alone; None: all of them."""
        return None

    @property
    def repeats(self) -> Repeats | None:
        """Which numbers within the slots come again and again; None: a slot is spread evenly."""
        return None

    @property
    @abc.abstractmethod
    def draw_range(self) -> tuple[float, float]:
        """The interval of y that `low` to `high` fill."""

    @abc.abstractmethod
    def encode(self, x: Numbers) -> Entries:
        """Numbers (m,) -> their slots; `IMPOSSIBLE` where there is none."""

    @abc.abstractmethod
    def decode(self, codes: Codes, y: Array) -> Numbers:
        """Slots and places (m,) -> numbers in these slots, from `low` to `high`."""

    @abc.abstractmethod
    def within(self, ranges: Numbers) -> tuple[Mask, float, float]:
        """Which slots (L,) hold a number of closed intervals (r, 2), and the ends of y of all of these."""

    def part(self, name: str, column: str) -> Part:
        """The slots as a part of a column."""
        return Part(name, column, self.masses, self.edges, self.smooth, self.single, self.repeats)

    def has_mass(self, x: float) -> bool:
        """Whether one number has a probability, and not only a density."""
        return True

    @property
    def alone(self) -> int:
        """How many slots hold one number each."""
        return len(self.masses)

    @property
    def words(self) -> str:
        """What the column becomes, in words."""
        curve = f", {self.curve.word}" if self.curve.word else ""
        bins = len(self.masses) - self.alone
        apart = f", {self.alone} value{'s' if self.alone > 1 else ''} apart" if self.alone else ""
        return f"{bins} bin{'s' if bins != 1 else ''}{curve}{apart}"


# --- one slot for each value ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Few(Binning):
    """A slot for each of a few values, from half way to the one below it to half way to the one above it.

    Numbers of a lattice that lie between two values and were never seen belong to the slot of the nearer one. All of
    them share half a row; they have a probability, and they are never drawn.

    Attributes:
        at: (L,), the values, rising.
        unseen: (L,), how many more places of the lattice lie in each slot.
        share: (L,), the share of a slot that these have together.
        lattice: of a lattice; otherwise no number but those seen is possible.
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
    """A slot for each of the values `at` (L,), distinct and rising, which `counts` (L,) rows hold."""
    middle = at[:-1] / 2 + at[1:] / 2
    first, last = (0.5, 0.5)
    if not lattice and len(at) > 1:
        first, last = float(middle[0] - at[0]), float(at[-1] - middle[-1])
    bounds = np.concatenate([[at[0] - first], middle, [at[-1] + last]])
    unseen = np.zeros(len(at), np.int64)
    if lattice:
        # A place half way between two values belongs to the lower one: its slot is (bounds[k], bounds[k+1]].
        below = np.floor(bounds).astype(np.int64)
        unseen = np.diff(below) - 1
    some = np.maximum((unseen > 0).sum(), 1)
    share = np.where(unseen > 0, HALF_ROW / some / (np.maximum(counts, HALF_ROW) + HALF_ROW / some), 0.0)
    masses = np.maximum(counts, HALF_ROW / np.maximum((counts == 0).sum(), 1))
    curve = _curve_of_few(at, counts, half=0.5 * lattice, zero=zero)
    return Few(curve, bounds, masses / masses.sum(), at[0], at[-1], at, unseen, share, lattice)


def _curve_of_few(at: Numbers, counts: Array, *, half: float, zero: float) -> Transform:
    """Straight, unless the values lie far apart: amounts, of which a few occur, and not counts or grades."""
    x = np.asarray(at, np.float64)
    curve: Transform = Straight(float(np.median(x)), float(np.ptp(x)) or 1.0)
    others = (counts < FREQUENT * counts.sum()) & (counts > 0)
    if others.sum() >= 2 * LEAST and (not half or np.ptp(x) > 2 * len(x)):
        curve = fit_curve(x[others], counts[others], half=half, zero=zero)
    return standardised(curve, x, counts)


# --- shared ---------------------------------------------------------------------------------------------------------


def slots_of(counts: Array, bins: int) -> int:
    """How many slots so many rows are worth."""
    return int(min(bins, max(LEAST, counts.sum() // EACH)))


def cuts_of(counts: Array, bins: int) -> NDArray[np.intp]:
    """The first places of the second to the last of at most `bins`, of numbers with these counts (m,).

    Bins hold about as many rows, but for the tails: the outermost ones are halved until they hold a few rows, so that
    none spreads its rows from the bulk to the last number.
    """
    bins = int(min(bins, max(LEAST, counts.sum() // EACH), len(counts)))
    upto = np.cumsum(counts)
    if bins < 2:
        return np.zeros(0, np.intp)
    halvings = int(np.clip(np.log2(upto[-1] / bins / TAIL), 0, bins // 4))
    cuts = np.searchsorted(upto, tail_shares(bins, halvings) * upto[-1] * (1 - 1e-12)) + 1
    return np.unique(cuts[cuts < len(counts)])


def tail_shares(bins: int, halvings: int) -> Array:
    """The shares of the rows below the second to the last of `bins`, of which the outermost are halved so often."""
    equal = bins - 2 * halvings
    outer = 0.5 ** np.arange(1, halvings + 1) / equal
    return np.concatenate([outer[::-1], np.arange(1, equal) / equal, 1 - outer])


def masses_of(rows: NDArray[Any]) -> Array:
    """Shares of slots with so many rows; those without one share half a row."""
    empty = rows == 0
    rows = np.where(empty, HALF_ROW / max(int(empty.sum()), 1), rows)
    return rows / rows.sum()


def curve_of(x: Numbers, counts: Array, atoms: NDArray[np.intp], *, half: float, zero: float) -> Transform:
    """Fitted to what lies in bins, where that is enough to see a shape; standardised over all."""
    rest = np.delete(np.arange(len(x)), atoms)
    if len(rest) < 2 * LEAST:
        rest = np.arange(len(x))
    curve = fit_curve(np.asarray(x[rest], np.float64), counts[rest], half=half, zero=zero)
    return standardised(curve, np.asarray(x, np.float64), counts)


def marked(codes: NDArray[np.intp], possible: Mask) -> Codes:
    """Codes, and `IMPOSSIBLE` where there is none."""
    return np.where(possible, codes, IMPOSSIBLE).astype(np.int32)


def in_ranges(x: Numbers, ranges: Numbers) -> Mask:
    """Whether numbers (m,) lie in one of the closed intervals (r, 2), which are disjoint and rising."""
    if not len(ranges):
        return np.zeros(len(x), bool)
    at = np.searchsorted(ranges[:, 0], x, side="right") - 1
    return (at >= 0) & (x <= ranges[np.maximum(at, 0), 1])


def complement(ranges: Numbers) -> Numbers:
    """The closed intervals (s, 2) of all numbers outside of closed intervals (r, 2)."""
    whole = ranges.dtype.kind == "i"
    below = ranges[:, 0] - 1 if whole else np.nextafter(ranges[:, 0], -np.inf)
    above = ranges[:, 1] + 1 if whole else np.nextafter(ranges[:, 1], np.inf)
    low, high = (np.array([end], ranges.dtype) for end in ((-END, END) if whole else (-np.inf, np.inf)))
    made = np.stack([np.concatenate([low, above]), np.concatenate([below, high])], axis=1)
    far = FAR if whole else np.finfo(np.float64).max
    return made[(made[:, 0] <= made[:, 1]) & (made[:, 0] <= far) & (made[:, 1] >= -far)]


def overlap(first: Numbers, last: Numbers, ranges: Numbers, *, open_: bool = False) -> Mask:
    """Which intervals `first` to `last` (L,) share a number with one of `ranges` (r, 2); open_: more than an end."""
    if not len(ranges):
        return np.zeros(len(first), bool)
    before = np.searchsorted(ranges[:, 1], first, side="right" if open_ else "left")  # ranges that end before it
    after = np.searchsorted(ranges[:, 0], last, side="left" if open_ else "right")  # ranges that begin in it or before
    return after > before


# --- Bins along numbers of equal distance, the whole numbers k ------------------------------------------------------
#
#     log p(k) = log p(slot) + log (mass of T(k - 1/2) to T(k + 1/2) within the slot)
#
# A number that far more rows hold than those beside it, a zero that stands for nothing or a price of 999, has a slot of
# its own, as wide as its cell.


TIMES = 3  # as many rows as hold the median value of those beside it,
BESIDE = 25  # up to so far away
ROUNDS = 30  # of expectation and maximisation
PRIOR = 20.0  # rows that what all slots say is worth, for the share of repeated numbers in a slot
WORTH = 0.05  # of the rows, that repeated numbers hold at least
SHORT = 10  # places, of which each has a slot of its own however few rows there are


@dataclass(frozen=True)
class Lattice(Binning):
    """Whole numbers k, each the cell k - 1/2 to k + 1/2; `bounds` are the first k of each slot, (L+1,).

    Attributes:
        again, at, shares: `Repeats`, of whole numbers `at`; empty where no number comes again and again.
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
        if len(x) and int(x.max()) - first <= len(x):  # the cells themselves are fewer than the entries
            cells = np.arange(first, int(x.max()) + 2)
            ends, middle = self.curve.forward(cells - 0.5), self.curve.forward(cells)
            y, low, high = middle[x - first], ends[x - first], ends[x - first + 1]
        else:
            y, low, high = (self.curve.forward(x + far) for far in (0.0, -0.5, 0.5))
        # Where rounding has put an end of a cell beyond that of its slot.
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
    """The line of whole numbers k (m,), distinct and rising, which `counts` (m,) rows hold.

    Args:
        k, counts: as said.
        bins: slots, at most.
        low, high: ends of the interval that is possible; None: the line goes on.
        zero: where numbers that cannot be negative begin.
    """
    least, most = (int(k[0] if low is None else low), int(k[-1] if high is None else high))
    slots = slots_of(counts, bins)
    wider = least < k[0] or most > k[-1]
    if wider and most - least < slots:  # the user says that these are possible
        every = np.arange(least, most + 1)
        rows = np.zeros(len(every))
        rows[k - least] = counts
        return few(every, rows, lattice=True, zero=zero)
    repeated = 2 * len(k) <= counts.sum()
    if not wider and ((len(k) <= slots and repeated) or most - least < SHORT):
        return few(k, counts, lattice=True, zero=zero)
    atoms = _atoms(k, counts, int(slots * APART))
    rest = np.delete(np.arange(len(k)), atoms)
    cuts = cuts_of(counts[rest], slots - 2 * len(atoms))
    places = k[rest]
    # A slot begins at the first place that is nearer to its own numbers than to those below.
    starts = [places[cuts - 1] + (places[cuts] - places[cuts - 1] + 1) // 2, k[atoms], k[atoms] + 1]
    first = least if low is not None or 0 in atoms else -END
    last = most + 1 if high is not None or len(k) - 1 in atoms else END
    gaps = _gaps(k, atoms)
    bounds = np.unique(np.concatenate([[first], *starts, gaps, [last]]).astype(np.int64))
    bounds = bounds[(bounds >= first) & (bounds <= last)]
    bounds = _without_empty(bounds, k, np.concatenate([k[atoms], k[atoms] + 1, gaps]))
    masses = masses_of(np.bincount(np.searchsorted(bounds, k, side="right") - 1, counts, len(bounds) - 1))
    curve = curve_of(k, counts, atoms, half=0.5, zero=zero)
    return Lattice(curve, bounds, masses, least, most, *_repeats(k, counts, bounds, curve))


def _repeats(k: Integers, counts: Array, bounds: Integers, curve: Transform) -> tuple[Array, Integers, Array]:
    """`again`, `at` and `shares` of places k (m,), by how likely they make each row when it is left out.

    The share of a slot is the more its own the more rows it has, and that of all slots else.
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


def _gaps(k: Integers, atoms: NDArray[np.intp]) -> Integers:
    """Where the numbers beside an atom end and begin, if they do so far from it: what lies between was never seen."""
    if not len(atoms) or len(k) <= len(atoms) + 1:
        return k[:0]
    usual = TIMES * np.median(np.diff(np.delete(k, atoms)))
    above, below = atoms[atoms < len(k) - 1], atoms[atoms > 0]
    above, below = above[k[above + 1] - k[above] > usual], below[k[below] - k[below - 1] > usual]
    return np.concatenate([k[above + 1], k[below - 1] + 1])


def _without_empty(bounds: Integers, k: Integers, fixed: Integers) -> Integers:
    """Slots without a row join the one before, unless values with a slot of their own are on both sides."""
    rows = np.bincount(np.searchsorted(bounds, k, side="right") - 1, minlength=len(bounds) - 1)
    drop = np.zeros(len(bounds), bool)
    for i in np.flatnonzero(rows == 0):
        ends = [end for end in (i, i + 1) if 0 < end < len(bounds) - 1 and bounds[end] not in fixed and not drop[end]]
        drop[ends[:1]] = True
    return bounds[~drop]


def _atoms(k: Integers, counts: Array, most: int) -> NDArray[np.intp]:
    """Which of the places k (m,) far more rows hold than those beside them: at most so many, by what they gain."""
    many = np.flatnonzero(counts >= ROWS)
    many = many[np.argsort(-counts[many], kind="stable")][: 16 * most]
    if not len(many):
        return many
    around = np.concatenate([np.arange(-BESIDE, 0), np.arange(1, BESIDE + 1)])
    beside = k[many][:, None] + around  # (h, 2 BESIDE)
    at = np.minimum(np.searchsorted(k, beside), len(k) - 1)
    rows = np.where(k[at] == beside, counts[at], 0.0)
    # Beyond the ends there is nothing, which says nothing of what is usual.
    usual = np.nanmedian(np.where((beside >= k[0]) & (beside <= k[-1]), rows, np.nan), axis=1)
    usual = np.maximum(usual, HALF_ROW)
    gain = np.where(counts[many] > TIMES * usual, counts[many] * np.log(counts[many] / usual), 0.0)
    chosen = many[np.argsort(-gain, kind="stable")][: min(most, int((gain > 0).sum()))]
    return np.sort(chosen)


# --- Bins along real numbers, and point masses between them ---------------------------------------------------------
#
#     log p(x) = log p(slot) + log (density of y in the slot) + log |dy/dx|,    at a point mass log p(slot)
#
# A value that at least `ROWS` rows hold is a point mass. Where it is the least or the largest one, the line ends there.


REPEATED = 5  # rows that hold each number of a column of a few real numbers


@dataclass(frozen=True)
class Continuum(Binning):
    """Real numbers; a slot with equal `bounds` is a value that many rows hold, and has no width."""

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
        """(L,), which slots are one value."""
        return self.bounds[:-1] == self.bounds[1:]

    def encode(self, x: Numbers) -> Entries:
        possible = np.isfinite(x) & (x >= self.bounds[0]) & (x <= self.bounds[-1])
        left = np.searchsorted(self.bounds, x, side="left")
        # A number on an end begins the slot above it; on two equal ends it is the slot between them.
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
    """The line of real numbers x (m,), distinct and rising, which `counts` (m,) rows hold; see `fit_lattice`."""
    slots = slots_of(counts, bins)
    wider = (low is not None and low < x[0]) or (high is not None and high > x[-1])
    if not wider and (len(x) == 1 or (len(x) <= bins and counts.min() >= REPEATED)):
        return few(x, counts, lattice=False)
    atoms = np.flatnonzero(counts >= ROWS)
    atoms = np.sort(atoms[np.argsort(-counts[atoms], kind="stable")][: int(slots * APART)])
    rest = np.delete(np.arange(len(x)), atoms)
    cuts = cuts_of(counts[rest], slots - 2 * len(atoms))
    middle = x[rest][cuts - 1] / 2 + x[rest][cuts] / 2
    middle = middle[~np.isin(middle, x)]  # neighbours of which none lies between
    first = x[0] if 0 in atoms and low is None else -np.inf if low is None else low
    last = x[-1] if len(x) - 1 in atoms and high is None else np.inf if high is None else high
    outer = {float(first), float(last)} - set(x[atoms].tolist())
    bounds = np.sort(np.concatenate([middle, np.repeat(x[atoms], 2), sorted(outer)]))
    curve = curve_of(x, counts, atoms, half=0.0, zero=0.0)
    bounds = _without_gaps(bounds, x)
    ends = float(x[0] if low is None else low), float(x[-1] if high is None else high)
    made = Continuum(curve, bounds, np.ones(len(bounds) - 1), *ends)
    return replace(made, masses=masses_of(np.bincount(made.encode(x).codes, counts, len(bounds) - 1)))


def _without_gaps(bounds: Array, x: Array) -> Array:
    """Cuts (of bins beside a point mass) with no number on one side of them are no cuts."""
    below, above = np.searchsorted(x, bounds, side="left"), np.searchsorted(x, bounds, side="right")
    cut = np.append(True, bounds[1:] != bounds[:-1]) & np.append(bounds[:-1] != bounds[1:], True)
    cut[[0, -1]] = False
    empty = np.zeros(len(bounds), bool)
    empty[1:] = below[1:] <= above[:-1]  # none between this end and the one before
    needless = cut & (empty | np.append(empty[1:], False))
    return bounds[~needless]


# --- Numbers of equal distance <-> whole numbers k, and what shows that a column has such numbers -------------------
#
#     x = (origin + step k) / 10^places
#
# Whole numbers have no places; real numbers have as many as all of them were rounded to.


WHOLE = 2**63 - 1024  # as far as whole numbers go, of 64 bits or floats
FINE = 2**44  # cells to a column, from which they are too narrow for a place on a line
DECIMALS = 6  # and no more are taken for rounding
FIRST = 1000  # entries, of which those that were not rounded are known at once
COARSE = 100  # steps of floating-point numbers to one unit of the last decimal, at least


@dataclass(frozen=True)
class Grid:
    """Numbers (origin + step k) / 10^places.

    Attributes:
        origin, step, places: as said; all whole.
        single: the numbers are in single precision.
    """

    origin: int
    step: int
    places: int = 0
    single: bool = False

    @classmethod
    def of(cls, x: NDArray[Any], places: int, step: int | None) -> "Grid":
        """Of distinct, rising numbers (m,); step: None: the largest that fits, of enough rows."""
        whole = np.rint(x * 10.0**places).astype(np.int64) if places else x.astype(np.int64)
        step = step or common_step(whole)
        low, high = int(whole[0]), int(whole[-1])
        # From 0 on where that is not far, so that numbers keep their own ratios.
        origin = low % step if abs(low) <= 2 * (high - low) else low
        return cls(origin, step, places, bool(places) and is_single(x))

    @property
    def width(self) -> float:
        """The distance of two neighbours."""
        return float(self.step / 10**self.places)

    def places_of(self, x: Values) -> NDArray[np.int64]:
        """Numbers (m,) -> k, of the nearest place."""
        if self.places:
            far = float(FAR * self.step)
            return np.rint(np.clip(x * 10.0**self.places - self.origin, -far, far) / self.step).astype(np.int64)
        whole = x if x.dtype.kind == "i" else np.clip(np.rint(x), -WHOLE, WHOLE).astype(np.int64)
        # What is further away could not be subtracted.
        ends = max(self.origin - FAR, -WHOLE), min(self.origin + FAR, WHOLE)
        return (np.clip(whole, *ends) - self.origin) // self.step

    def numbers(self, k: NDArray[np.int64]) -> Values:
        """k -> numbers."""
        whole = self.origin + self.step * k
        if not self.places:
            return whole
        x = whole / 10.0**self.places
        return x.astype(np.float32).astype(np.float64) if self.single else x

    def first_from(self, x: float) -> int:
        """The first place that is no less than a number."""
        return -self._steps_down(-x, -self.origin)

    def last_upto(self, x: float) -> int:
        """The last place that is no more than a number."""
        return self._steps_down(x, self.origin)

    def _steps_down(self, x: Any, origin: int) -> int:
        if not self.places and float(x).is_integer():
            return int(np.clip((int(x) - origin) // self.step, -FAR, FAR))
        slack = 1e-6 if self.places else 0.0  # of rounding in 10^places x
        return int(np.clip(np.floor((float(x) * 10.0**self.places - origin) / self.step + slack), -FAR, FAR))

    def line(self, x: Values, counts: Array, bins: int, low: float | None, high: float | None) -> Binning | None:
        """The line of distinct, rising numbers x (m,) on this grid; None: its cells are too narrow for one."""
        if (float(x[-1]) - float(x[0])) / self.width > FINE:
            return None
        k, counts = distinct(self.places_of(x), counts)
        first, last = (None if end is None else int(self.places_of(np.array([end]))[0]) for end in (low, high))
        return fit_lattice(k, counts, bins, low=first, high=last, zero=-self.origin / self.step)

    # --- whole numbers on a line of this grid ---

    def encode(self, line: Binning, x: Integers) -> Entries:
        """Whole numbers (m,) -> their slots; `IMPOSSIBLE` where there is none, or between the places of the grid."""
        made = line.encode(self.places_of(x))
        off = (x - self.origin) % self.step != 0
        return replace(made, codes=np.where(off, IMPOSSIBLE, made.codes).astype(np.int32))

    def ends_of_slots(self, line: Binning) -> tuple[Integers, Integers]:
        """The first and the last whole number of each slot, (L,)."""
        if isinstance(line, Few):
            return self.numbers(line.at), self.numbers(line.at)
        first, last = np.maximum(line.bounds[:-1], line.low), np.minimum(line.bounds[1:] - 1, line.high)
        return self.numbers(first), self.numbers(last)

    def cells(self, line: Binning, low: Integers, high: Integers) -> tuple[Any, Any]:
        """The ends of y of the cells of whole numbers from low to high, (n,) each; infinite where cells have none."""
        if not isinstance(line, Lattice):
            return -np.inf, np.inf
        first, last = -((self.origin - low) // self.step), (high - self.origin) // self.step
        return line.curve.forward(first - 0.5), line.curve.forward(last + 0.5)


def fit_grid(x: Integers, counts: Array, bins: int) -> tuple[Binning, Grid]:
    """The line of whole numbers (m,), in any order and often the same, and its grid."""
    seen, rows = distinct(x, counts)
    grid = Grid.of(seen, 0, None if rows.sum() >= ENOUGH else 1)
    line = grid.line(seen, rows, bins, None, None)
    assert line is not None  # microseconds of a day and days of the calendar are not too many for a line
    return line, grid


def is_each_whole(x: Values) -> Mask:
    """Which numbers (m,) are whole, and not too large for 64 bits."""
    if x.dtype.kind != "f":
        return np.abs(x.astype(np.float64)) <= WHOLE
    return (np.rint(x) == x) & (np.abs(x) <= WHOLE)


def is_whole(x: Values) -> bool:
    """Whether all numbers (m,) are whole and such that float64 tells them apart."""
    return x.dtype.kind != "f" or bool((np.rint(x) == x).all() and np.abs(x).max() < 2**53)


def is_single(x: Array) -> bool:
    """Whether all numbers (m,) are of single precision."""
    return bool(np.abs(x).max() < np.finfo(np.float32).max and (x.astype(np.float32) == x).all())


def decimals_of(x: Array) -> int | None:
    """The fewest decimals that all numbers (m,) have; None: more than six, or few rows."""
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
    """The largest step of which all whole numbers `seen`, rising, are multiples, counted from one of them."""
    # Without a sign a difference of two numbers of 64 bits is one as well.
    return max(int(np.gcd.reduce(np.diff(seen.astype(np.int64).view(np.uint64)))), 1)


def distinct(values: Values, weights: Array) -> tuple[Values, Array]:
    """The distinct values (d,), rising, and how many rows each stands for."""
    if len(values) and (weights == weights[0]).all():
        seen, counts = np.unique(values, return_counts=True)
        return seen, counts.astype(np.float64) * weights[0]
    seen, inverse = np.unique(values, return_inverse=True)
    return seen, np.bincount(inverse, weights, len(seen)).astype(np.float64)
