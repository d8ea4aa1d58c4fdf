"""Binnings of a line into slots: the tokens of a column of numbers.

    k = place of x on its grid,    y = T(k),    slot j is edges[j] <= y < edges[j+1]
    log p(x) = log p(slot) + log p(y in the slot) + log_unit

Equally spaced numbers, whole or rounded, have whole places k, and p(y in the slot) is the mass of the cell from
T(k - 1/2) to T(k + 1/2) within the slot. Other real numbers are their own places, and p(y in the slot) is a density.
Frequent values have a slot of their own. `Few` has one slot for each observed value.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from motes.data.curves import Straight, Transform, fit_curve, standardised
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Repeats, Values

Numbers = NDArray[Any]  # int64 on a grid, otherwise float64
Integers = NDArray[np.int64]

ENOUGH = 20  # minimum number of rows for which a pattern, such as only even numbers, is no accident
FAR = 2**61  # limit of the places of a grid


# --- Equally spaced numbers <-> whole numbers k, and how to detect them ---------------------------------------------


WHOLE = 2**63 - 1024  # limit of whole numbers, as 64-bit integers or floats
FINE = 2**44  # maximum number of cells of a column; more are too narrow for a place on a line
DECIMALS = 6  # maximum number of decimals that counts as rounding
FIRST = 1000  # entries that are checked first
COARSE = 100  # minimum number of floating-point steps per unit of the last decimal
SLACK = Fraction(1, 10**6)  # of a step, for rounding errors in decimals


@dataclass(frozen=True)
class Grid:
    """Numbers x = (origin + step k) / 10^places; all real numbers, each its own place, if the step is 0.

    Attributes:
        origin, step, places: as in the equation; all whole. Whole numbers have no decimal places.
        single: whether the numbers are in single precision.
    """

    origin: int = 0
    step: int = 0
    places: int = 0
    single: bool = False

    @classmethod
    def of(cls, x: Numbers, places: int, step: int | None) -> "Grid":
        """Fit the grid of distinct, rising numbers (m,); a `step` of None is the largest that fits."""
        whole = np.rint(x * 10.0**places).astype(np.int64) if places else x.astype(np.int64)
        step = step or common_step(whole)
        low, high = int(whole[0]), int(whole[-1])
        if (high - low) / step > FINE:
            return cls()
        # Count from 0 if it is not far away, so that ratios of numbers are preserved.
        origin = low % step if abs(low) <= 2 * (high - low) else low
        return cls(origin, step, places, bool(places) and is_single(x))

    @property
    def width(self) -> float:
        """The distance between neighbours; 0 for all real numbers."""
        return float(self.step / 10**self.places)

    @property
    def half(self) -> float:
        """Half the width of a cell, in places."""
        return 0.5 if self.step else 0.0

    def has(self, x: Values) -> Mask:
        """Return which numbers (m,) have a place: finite ones, which are rounded, or the whole numbers of the grid."""
        if self.places or not self.step:
            return np.isfinite(x)
        whole = is_each_whole(x)
        return whole & ((_nearest_whole(np.where(whole, x, 0)) - self.origin) % self.step == 0)

    def places_of(self, x: Values) -> Numbers:
        """Convert numbers (m,) to the nearest places k."""
        if not self.step:
            return x.astype(np.float64, copy=False)
        if self.places:
            far = float(FAR * self.step)
            return np.rint(np.clip(x * 10.0**self.places - self.origin, -far, far) / self.step).astype(np.int64)
        # A larger difference would overflow.
        ends = max(self.origin - FAR, -WHOLE), min(self.origin + FAR, WHOLE)
        return (np.clip(_nearest_whole(x), *ends) - self.origin) // self.step

    def numbers(self, k: Numbers) -> Values:
        """Convert places k to numbers."""
        if not self.step:
            return k
        whole = self.origin + self.step * k
        if not self.places:
            return whole
        x = whole / 10.0**self.places
        return x.astype(np.float32).astype(np.float64) if self.single else x

    def between(self, low: Any, high: Any) -> Numbers:
        """Return the first and the last place from one number to another, (2,); None for an open end."""
        if not self.step:
            return np.array([-np.inf if low is None else low, np.inf if high is None else high])
        slack = SLACK if self.places else 0
        exact = lambda x: (Fraction(np.asarray(x).item()) * 10**self.places - self.origin) / self.step
        first = -FAR if low is None else ceil(exact(low) - slack)
        last = FAR if high is None else floor(exact(high) + slack)
        return np.array([max(min(end, FAR), -FAR) for end in (first, last)], np.int64)


def _nearest_whole(x: Values) -> Integers:
    return x if x.dtype.kind == "i" else np.clip(np.rint(x), -WHOLE, WHOLE).astype(np.int64)


def is_each_whole(x: Values) -> Mask:
    """Return which numbers (m,) are whole and fit into 64 bits."""
    return (np.rint(x) == x) & (np.abs(x.astype(np.float64)) <= WHOLE)


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


# --- Binnings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Binning:
    """Bins of numbers, and frequent numbers with a slot of their own.

    Attributes:
        grid: numbers <-> places.
        curve: T.
        bounds: (L+1,), the ends of the slots as places: halfway between two cells on a grid, and infinite for an open
            end. Without a grid, the slot of a single number has two equal ends.
        masses: (L,), the share of the training rows in each slot.
        low, high: the smallest and the largest place that `decode` returns.
        repeats: the frequent numbers within the slots; None if each slot is spread evenly.
    """

    grid: Grid
    curve: Transform
    bounds: Array
    masses: Array
    low: float | int
    high: float | int
    repeats: Repeats | None

    smooth: ClassVar[bool] = True  # whether there is a density within the slots

    @property
    def edges(self) -> Array:
        """The ends of the slots in y, (L+1,)."""
        return self.curve.forward(self.bounds)

    @property
    def single(self) -> Mask:
        """Which slots (L,) contain a single value."""
        return np.diff(self.bounds) == 2 * self.grid.half

    @property
    def spans(self) -> tuple[Numbers, Numbers]:
        """The first and the last place of each slot, (L,) each, from `low` to `high`."""
        first, last = self.bounds[:-1], self.bounds[1:]
        if self.grid.step:
            first, last = np.ceil(first), np.ceil(last) - 1
            return np.maximum(first, self.low).astype(np.int64), np.minimum(last, self.high).astype(np.int64)
        # A slot contains its lower end, unless that is a point mass, but not its upper end.
        points = first == last
        first = np.maximum(np.where(np.append(False, points[:-1]), np.nextafter(first, np.inf), first), self.low)
        last = np.where(points | (last == self.bounds[-1]), last, np.nextafter(last, -np.inf))
        return first, np.maximum(np.minimum(last, self.high), first)

    @property
    def draw_range(self) -> tuple[float, float]:
        """The interval of y from `low` to `high`."""
        low, high = self.ends(self.low, self.high)
        return float(low), float(high)

    def part(self, name: str, column: str) -> Part:
        """Return the slots as a part of a column."""
        return Part(name, column, self.masses, self.edges, self.smooth, self.single, self.repeats, self.draw_range)

    def encode(self, x: Values) -> Entries:
        """Encode numbers (m,) as slots; `IMPOSSIBLE` if there is none."""
        k, half, edges = self.grid.places_of(x), self.grid.half, self.edges
        cells, at = k, np.arange(len(k))  # distinct places, and where each entry is among them
        if half and len(k) and k.max() - k.min() < len(k):  # fewer cells than entries
            cells, at = np.arange(k.min(), k.max() + 1), k - k.min()
        codes = find_slots(self.bounds, cells)
        first, last = edges[codes], edges[codes + 1]
        # Rounding may move an end of a cell beyond the end of its slot.
        y, low, high = (np.clip(self.curve.forward(cells + d), first, last)[at] for d in (0.0, -half, half))
        if self.grid.step:
            unit = np.full(len(k), -np.log(self.grid.width) if self.grid.places else 0.0)  # a density, or a mass
        else:
            unit = np.where(first == last, 0.0, self.curve.log_slope(k))
        possible = self.grid.has(x) & ((cells >= self.bounds[0]) & (cells <= self.bounds[-1]))[at]
        return Entries(np.where(possible, codes[at], IMPOSSIBLE).astype(np.int32), y, low, high, unit)

    def decode(self, codes: Codes, y: Array) -> Values:
        """Decode slots and places y (m,) into numbers in these slots."""
        return self.grid.numbers(self.decode_places(codes, y))

    def decode_places(self, codes: Codes, y: Array) -> Numbers:
        """Decode slots and places y (m,) into places k in these slots, from `low` to `high`."""
        k: Numbers = self.curve.inverse(y)
        first, last = self.spans
        if self.grid.step:
            k = np.rint(np.clip(k, -FAR, FAR)).astype(np.int64)
        return np.clip(k, first[codes], last[codes])

    def within(self, ranges: Numbers) -> Mask:
        """Return which slots (L,) have a share of the closed intervals (r, 2) of places."""
        first, last = self.spans
        if self.grid.step or not self.smooth:
            return overlap(first, last, ranges)
        wide = ranges[ranges[:, 0] < ranges[:, 1]]  # a single real number has no mass, unless it is a point mass
        return np.where(self.single, in_ranges(first, ranges), overlap(first, last, wide, open_=True))

    def ends(self, low: Any, high: Any) -> tuple[Any, Any]:
        """Return the ends in y of the cells of places from `low` to `high`."""
        half, far = self.grid.half, FAR if self.grid.step else np.inf
        first, last = np.where(low > -far, low - half, -np.inf), np.where(high < far, high + half, np.inf)
        return self.curve.forward(first), self.curve.forward(last)

    def has_mass(self, k: float) -> bool:
        """Return whether the number at a place has a probability instead of a density."""
        return bool(self.grid.step or not self.smooth or (self.bounds[:-1][self.single] == k).any())

    @property
    def words(self) -> str:
        """How the column is represented, in words."""
        curve, alone = f", {self.curve.word}" if self.curve.word else "", int(np.sum(self.single))
        bins = len(self.masses) - alone
        apart = f", {alone} value{'s' if alone > 1 else ''} apart" if alone else ""
        return f"{bins} bin{'s' if bins != 1 else ''}{curve}{apart}"


@dataclass(frozen=True)
class Few(Binning):
    """A slot for each of a few values, from halfway to the value below it to halfway to the value above it.

    Unseen numbers of a grid between two values belong to the slot of the nearer value. All of them share half a row:
    they have a probability, but are never drawn. Without a grid, only the observed values are possible.

    Attributes:
        at: (L,), the places of the values, rising.
        unseen: (L,), the number of unseen places of the grid in each slot.
        share: (L,), their total share of each slot.
    """

    at: Numbers
    unseen: Integers
    share: Array

    smooth = False

    @property
    def single(self) -> Mask:
        return np.ones(len(self.at), bool)

    @property
    def spans(self) -> tuple[Numbers, Numbers]:
        return self.at, self.at

    @property
    def draw_range(self) -> tuple[float, float]:
        return float(self.edges[0]), float(self.edges[-1])

    def encode(self, x: Values) -> Entries:
        made, edges = super().encode(x), self.edges
        slots = np.maximum(made.codes, 0)
        seen = self.at[slots] == self.grid.places_of(x)
        codes = np.where(seen | bool(self.grid.step), made.codes, IMPOSSIBLE).astype(np.int32)
        with np.errstate(divide="ignore"):
            unit = np.where(seen, np.log1p(-self.share)[slots], np.log(self.share / np.maximum(self.unseen, 1))[slots])
        unit += made.log_unit if self.grid.step else 0.0
        return Entries(codes, made.y, edges[slots], edges[slots + 1], unit)

    def decode_places(self, codes: Codes, y: Array) -> Numbers:
        return self.at[codes]

    def ends(self, low: Any, high: Any) -> tuple[Any, Any]:
        return -np.inf, np.inf

    @property
    def words(self) -> str:
        return f"{len(self.at)} values"


def find_slots(bounds: Array, k: Numbers) -> NDArray[np.intp]:
    """Return the slots of places (m,): one on an end is in the slot above it, and on two equal ends between them."""
    left = np.searchsorted(bounds, k, side="left")
    slots = left - 1 + (bounds[np.minimum(left, len(bounds) - 1)] == k)
    return np.clip(slots, 0, len(bounds) - 2)


def in_ranges(x: Numbers, ranges: Numbers) -> Mask:
    """Return which numbers (m,) lie in one of the closed intervals (r, 2), which are disjoint and rising."""
    return overlap(x, x, ranges)


def complement(ranges: Numbers) -> Numbers:
    """Return the closed intervals (s, 2) of all numbers outside closed intervals (r, 2)."""
    whole = ranges.dtype.kind == "i"
    below = ranges[:, 0] - 1 if whole else np.nextafter(ranges[:, 0], -np.inf)
    above = ranges[:, 1] + 1 if whole else np.nextafter(ranges[:, 1], np.inf)
    far = FAR if whole else np.inf
    made = np.stack([np.append(-far, above), np.append(below, far)], axis=1).astype(ranges.dtype)
    return made[made[:, 0] < made[:, 1] + whole]


def overlap(first: Numbers, last: Numbers, ranges: Numbers, *, open_: bool = False) -> Mask:
    """Return which intervals `first` to `last`, of any shape, overlap `ranges` (r, 2), disjoint and rising.

    With `open_`, a common end is not enough.
    """
    before = np.searchsorted(ranges[:, 1], first, side="right" if open_ else "left")  # ranges that end before it
    after = np.searchsorted(ranges[:, 0], last, side="left" if open_ else "right")  # ranges that begin in it or before
    return after > before


# --- Fitting --------------------------------------------------------------------------------------------------------
#
# A real number with at least `ROWS` rows, and a number of a grid with far more rows than its neighbours, such as a zero
# that means "none" or a price of 999, has a slot of its own. If it is the smallest or the largest value, the line ends
# there.


ROWS = 20  # minimum number of rows of a value with a slot of its own
EACH = 10  # minimum mean number of rows per slot
LEAST = 4  # minimum number of slots
TAIL = 1  # minimum number of rows in the outermost bin at each end: with 5, an outlier among them is spread too far
APART = 0.4  # maximum share of slots with a single value, if there are bins
FREQUENT = 0.1  # share of the rows above which a value is ignored in fitting the curve of a few values
HALF_ROW = 0.5  # rows shared by all tokens without rows
REPEATED = 5  # minimum number of rows of each number in a column of a few real numbers
TIMES = 3  # a frequent number of a grid has this many times the median number of rows of its neighbours
BESIDE = 25  # distance up to which numbers count as neighbours
ROUNDS = 30  # rounds of expectation and maximisation
PRIOR = 20.0  # prior rows for the overall share of repeated numbers, added to each slot
WORTH = 0.05  # minimum share of the rows in repeated numbers
SHORT = 10  # places up to which each has a slot of its own, however few rows there are


def fit_binning(
    x: Values, counts: Array, bins: int, grid: Grid, *, low: float | None = None, high: float | None = None
) -> Binning:
    """Fit the binning of numbers (m,), distinct and rising, with `counts` (m,) rows.

    Args:
        x, counts: the numbers and their rows.
        bins: maximum number of slots.
        grid: the grid of the numbers.
        low, high: ends of the possible interval; None for an open end.
    """
    k, counts = distinct(grid.places_of(x), counts)
    least, most = grid.places_of(np.array([x[0] if low is None else low, x[-1] if high is None else high])).tolist()
    slots = int(min(bins, max(LEAST, counts.sum() // EACH)))
    wider = least < k[0] or most > k[-1]
    if grid.step and wider and most - least < slots:  # the user's limits make these numbers possible
        every = np.arange(least, most + 1)
        many = np.zeros(len(every))
        many[k - least] = counts
        return fit_few(every, many, grid)
    if grid.step:
        few = (len(k) <= slots and 2 * len(k) <= counts.sum()) or most - least < SHORT
    else:
        few = len(k) == 1 or (len(k) <= bins and counts.min() >= REPEATED)
    if few and not wider:
        return fit_few(k, counts, grid)
    atoms = _find_atoms(k, counts, int(slots * APART), grid)
    first = least - grid.half if low is not None or 0 in atoms else -np.inf
    last = most + grid.half if high is not None or len(k) - 1 in atoms else np.inf
    bounds = _find_bounds(k, counts, slots, atoms, (first, last), grid.half)
    others = np.delete(np.arange(len(k)), atoms)
    curve = _fit_curve(k, counts, others if len(others) >= 2 * LEAST else np.arange(len(k)), grid)
    rows = np.bincount(find_slots(bounds, k), counts, len(bounds) - 1)
    repeats = _fit_repeats(k, counts, bounds, curve) if grid.step else None
    if x.dtype.kind == "i" and not grid.step:  # rounding to floats must not lead beyond the last whole numbers
        least, most = np.nextafter(least, np.inf).item(), np.nextafter(most, -np.inf).item()
    return Binning(grid, curve, bounds, _shares_of(rows), least, most, repeats)


def fit_few(at: Numbers, counts: Array, grid: Grid) -> Few:
    """Fit a slot for each of the places `at` (L,), distinct and rising, with `counts` (L,) rows."""
    middle = at[:-1] / 2 + at[1:] / 2
    first, last, unseen = 0.5, 0.5, np.zeros(len(at), np.int64)
    if not grid.step and len(at) > 1:
        first, last = float(middle[0] - at[0]), float(at[-1] - middle[-1])
    bounds = np.concatenate([[at[0] - first], middle, [at[-1] + last]])
    if grid.step:
        unseen = np.diff(np.ceil(bounds)).astype(np.int64) - 1
    each = HALF_ROW / np.maximum((unseen > 0).sum(), 1)
    share = np.where(unseen > 0, each / (np.maximum(counts, HALF_ROW) + each), 0.0)
    # A straight curve suits close values, such as counts or grades; sparse ones, such as amounts, need another.
    close = grid.step and np.ptp(at) <= 2 * len(at)
    others = np.flatnonzero((counts < FREQUENT * counts.sum()) & (counts > 0))
    curve = _fit_curve(at, counts, others[:0] if close or len(others) < 2 * LEAST else others, grid)
    return Few(grid, curve, bounds, _shares_of(counts), at[0].item(), at[-1].item(), None, at, unseen, share)


def fit_whole(x: Integers, counts: Array, bins: int) -> Binning:
    """Fit the binning of whole numbers (m,), in any order and with repeats."""
    seen, rows = distinct(x, counts)
    return fit_binning(seen, rows, bins, Grid.of(seen, 0, None if rows.sum() >= ENOUGH else 1))


def _fit_curve(k: Numbers, counts: Array, chosen: NDArray[np.intp], grid: Grid) -> Transform:
    """Fit the curve to the chosen places, a straight one if there are none; standardise it over all."""
    x = np.asarray(k, np.float64)
    if not len(chosen):
        return standardised(Straight(float(np.median(x)), float(np.ptp(x)) or 1.0), x, counts)
    zero = -grid.origin / max(grid.step, 1)
    return standardised(fit_curve(x[chosen], counts[chosen], half=grid.half, zero=zero), x, counts)


def _shares_of(rows: Numbers) -> Array:
    """Return the shares of slots with these numbers of rows; empty slots share half a row."""
    empty = rows == 0
    rows = np.where(empty, HALF_ROW / max(int(empty.sum()), 1), rows)
    return rows / rows.sum()


def _find_bounds(
    k: Numbers, counts: Array, slots: int, atoms: NDArray[np.intp], ends: tuple[float, float], half: float
) -> Array:
    """Return the bounds (L+1,) of at most `slots` slots between two ends, with a slot for each of the `atoms`."""
    rest = np.delete(np.arange(len(k)), atoms)
    cuts = _find_cuts(counts[rest], slots - 2 * len(atoms))
    middle = k[rest][cuts - 1] / 2 + k[rest][cuts] / 2
    middle = middle[~np.isin(middle, k)]  # adjacent floats have no number in between
    fixed = np.concatenate([k[atoms] - half, k[atoms] + half])
    if half:
        middle, fixed = np.ceil(middle) - half, np.append(fixed, _find_gaps(k, atoms))
    bounds = np.unique(np.concatenate([np.array(ends), middle, fixed]))
    bounds = bounds[(bounds >= ends[0]) & (bounds <= ends[1])]
    if not half:
        bounds = np.sort(np.append(bounds, k[atoms]))  # a slot without width has two equal ends
    return _merge_empty_slots(bounds, k, fixed)


def _find_cuts(counts: Array, bins: int) -> NDArray[np.intp]:
    """Return the first indices of the second to the last of at most `bins` bins, for numbers with these counts (m,).

    Bins contain about the same number of rows, except in the tails: the outermost bins are halved until they have few
    rows, so that none spreads its rows from the bulk to the last number.
    """
    bins = int(min(bins, max(LEAST, counts.sum() // EACH), len(counts)))
    if bins < 2:
        return np.zeros(0, np.intp)
    upto = np.cumsum(counts)
    halvings = int(np.clip(np.log2(upto[-1] / bins / TAIL), 0, bins // 4))
    cuts = np.searchsorted(upto, tail_shares(bins, halvings) * upto[-1] * (1 - 1e-12)) + 1
    return np.unique(cuts[cuts < len(counts)])


def tail_shares(bins: int, halvings: int) -> Array:
    """Return the shares of the rows below the second to last of `bins`; the outermost are halved `halvings` times."""
    equal = bins - 2 * halvings
    outer = 0.5 ** np.arange(1, halvings + 1) / equal
    return np.concatenate([outer[::-1], np.arange(1, equal) / equal, 1 - outer])


def _find_gaps(k: Integers, atoms: NDArray[np.intp]) -> Array:
    """Return the ends of gaps next to atoms: places between an atom and distant neighbours, with no rows in between."""
    if not len(atoms) or len(k) <= len(atoms) + 1:
        return np.zeros(0)
    usual = TIMES * np.median(np.diff(np.delete(k, atoms)))
    above, below = atoms[atoms < len(k) - 1], atoms[atoms > 0]
    above, below = above[k[above + 1] - k[above] > usual], below[k[below] - k[below - 1] > usual]
    return np.concatenate([k[above + 1] - 0.5, k[below - 1] + 0.5])


def _merge_empty_slots(bounds: Array, k: Numbers, fixed: Array) -> Array:
    """Merge empty slots into the slot before, unless there are values with a slot of their own on both sides."""
    rows = np.bincount(find_slots(bounds, k), minlength=len(bounds) - 1)
    drop = np.zeros(len(bounds), bool)
    for i in np.flatnonzero(rows == 0):
        ends = [end for end in (i, i + 1) if 0 < end < len(bounds) - 1 and bounds[end] not in fixed and not drop[end]]
        drop[ends[:1]] = True
    return bounds[~drop]


def _find_atoms(k: Numbers, counts: Array, most: int, grid: Grid) -> NDArray[np.intp]:
    """Return the indices of the places k (m,) with a slot of their own, at most `most` of them."""
    many = np.flatnonzero(counts >= ROWS)
    gain = counts[many]
    if grid.step and len(many):
        many = many[np.argsort(-counts[many], kind="stable")][: 16 * most]
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


def _fit_repeats(k: Integers, counts: Array, bounds: Array, curve: Transform) -> Repeats | None:
    """Fit the repeated places among k (m,) by leave-one-out likelihood; None if few rows have one.

    The share of a slot is shrunk towards the share over all slots, the less the more rows the slot has.
    """
    slots, size = find_slots(bounds, k), len(bounds) - 1
    several = (counts > 1) & (np.diff(bounds)[slots] > 1)
    of_slot = np.bincount(slots, counts * several, size)
    if not several.any():
        return None
    ends = curve.forward(np.clip(bounds, k[0] - 0.5, k[-1] + 0.5))
    even = (curve.forward(k + 0.5) - curve.forward(k - 0.5)) / np.maximum(np.diff(ends)[slots], 1e-300)
    left_out = np.where(several, (counts - 1) / np.maximum(of_slot[slots] - 1, 1), 0.0)
    rows, again, overall = np.bincount(slots, counts, size), np.full(size, 0.5), 0.5
    for _ in range(ROUNDS):  # expectation and maximisation
        first = again[slots] * left_out
        mine = np.bincount(slots, counts * first / (first + (1 - again[slots]) * even), size)
        overall = mine.sum() / rows.sum()
        again = (mine + PRIOR * overall) / (rows + PRIOR)
    if overall < WORTH:
        return None
    within = counts[several] / of_slot[slots[several]]
    return Repeats(np.where(of_slot > 0, again, 0.0), curve.forward(k[several]), within)
