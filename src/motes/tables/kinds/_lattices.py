"""Bins along numbers of equal distance, the whole numbers k.

    log p(k) = log p(slot) + log (mass of T(k - 1/2) to T(k + 1/2) within the slot)

A number that far more rows hold than those beside it, a zero that stands for nothing or a price of 999, has a slot of
its own, as wide as its cell.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motes.tables._parts import Array, Codes, Entries, Mask, Repeats
from motes.tables.kinds._curves import Curve
from motes.tables.kinds._lines import (
    APART,
    END,
    FAR,
    HALF_ROW,
    ROWS,
    Few,
    Integers,
    Line,
    Numbers,
    curve_of,
    cuts_of,
    few,
    marked,
    masses_of,
    overlap,
    slots_of,
)

TIMES = 3  # as many rows as hold the median value of those beside it,
BESIDE = 25  # up to so far away
ROUNDS = 30  # of expectation and maximisation
PRIOR = 20.0  # rows that what all slots say is worth, for the share of repeated numbers in a slot
WORTH = 0.05  # of the rows, that repeated numbers hold at least
SHORT = 10  # places, of which each has a slot of its own however few rows there are


@dataclass(frozen=True)
class Lattice(Line):
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
    starts = [_between(places[cuts - 1], places[cuts]), k[atoms], k[atoms] + 1]
    first = least if low is not None or 0 in atoms else -END
    last = most + 1 if high is not None or len(k) - 1 in atoms else END
    gaps = _gaps(k, atoms)
    bounds = np.unique(np.concatenate([[first], *starts, gaps, [last]]).astype(np.int64))
    bounds = bounds[(bounds >= first) & (bounds <= last)]
    bounds = _without_empty(bounds, k, np.concatenate([k[atoms], k[atoms] + 1, gaps]))
    masses = masses_of(np.bincount(np.searchsorted(bounds, k, side="right") - 1, counts, len(bounds) - 1))
    curve = curve_of(k, counts, atoms, half=0.5, zero=zero)
    return Lattice(curve, bounds, masses, least, most, *_repeats(k, counts, bounds, curve))


def _repeats(k: Integers, counts: Array, bounds: Integers, curve: Curve) -> tuple[Array, Integers, Array]:
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


def _between(below: Integers, above: Integers) -> Integers:
    """The first place that is nearer to `above` than to `below`."""
    return below + (above - below) // 2 + (above - below) % 2


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
