"""Slots along a line: the codes of a column of numbers.

    y = T(x),    slot k is edges[k] <= y < edges[k+1],    log p(x) = log p(slot) + log p(y in the slot) + log_unit

Three lines: `Few` has one slot for each value that was seen; `Lattice` bins numbers of equal distance, each of which is
a cell of width 1; `Continuum` bins real numbers. A value that many rows hold has a slot of its own.
"""

import abc
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.tables._parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Repeats
from motes.tables.kinds._curves import Curve, Straight, fit_curve, standardised

Numbers = NDArray[Any]  # int64 on a lattice, otherwise float64
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
class Line(abc.ABC):
    """Numbers x <-> slots and places y.

    Attributes:
        curve: T.
        bounds: (L+1,), the ends of the slots: of x, or the first place of each slot of a lattice.
        masses: (L,), the share of the training rows in each slot.
        low, high: the least and the largest number that is ever given back.
    """

    curve: Curve
    bounds: Numbers
    masses: Array
    low: float | int
    high: float | int

    @property
    @abc.abstractmethod
    def edges(self) -> Array:
        """(L+1,), of y."""

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
        return Part(name, column, self.masses, self.edges, True, self.smooth, self.single, self.repeats)

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
class Few(Line):
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
    def edges(self) -> Array:
        return self.curve.forward(self.bounds)

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


def _curve_of_few(at: Numbers, counts: Array, *, half: float, zero: float) -> Curve:
    """Straight, unless the values lie far apart: amounts, of which a few occur, and not counts or grades."""
    x = np.asarray(at, np.float64)
    curve: Curve = Straight(float(np.median(x)), float(np.ptp(x)) or 1.0)
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


def curve_of(x: Numbers, counts: Array, atoms: NDArray[np.intp], *, half: float, zero: float) -> Curve:
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


def joined_ranges(ranges: Sequence[tuple[Any, Any]]) -> Numbers:
    """Closed intervals, in any order, as disjoint and rising ones (r, 2)."""
    made: list[list[Any]] = []
    for low, high in sorted(ranges):
        if made and low <= made[-1][1]:
            made[-1][1] = max(high, made[-1][1])
        else:
            made.append([low, high])
    return np.array(made)


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
