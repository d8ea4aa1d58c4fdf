"""Numbers of equal distance <-> whole numbers k, and what shows that a column has such numbers.

    x = (origin + step k) / 10^places

Whole numbers have no places; real numbers have as many as all of them were rounded to.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.tables._parts import IMPOSSIBLE, Array, Entries, Mask
from motes.tables.kinds._base import ENOUGH, Values, distinct
from motes.tables.kinds._lattices import Lattice, fit_lattice
from motes.tables.kinds._lines import FAR, Few, Integers, Line

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

    def line(self, x: Values, counts: Array, bins: int, low: float | None, high: float | None) -> Line | None:
        """The line of distinct, rising numbers x (m,) on this grid; None: its cells are too narrow for one."""
        if (float(x[-1]) - float(x[0])) / self.width > FINE:
            return None
        k, counts = distinct(self.places_of(x), counts)
        first, last = (None if end is None else int(self.places_of(np.array([end]))[0]) for end in (low, high))
        return fit_lattice(k, counts, bins, low=first, high=last, zero=-self.origin / self.step)

    # --- whole numbers on a line of this grid ---

    def encode(self, line: Line, x: Integers) -> Entries:
        """Whole numbers (m,) -> their slots; `IMPOSSIBLE` where there is none, or between the places of the grid."""
        made = line.encode(self.places_of(x))
        off = (x - self.origin) % self.step != 0
        return replace(made, codes=np.where(off, IMPOSSIBLE, made.codes).astype(np.int32))

    def ends_of_slots(self, line: Line) -> tuple[Integers, Integers]:
        """The first and the last whole number of each slot, (L,)."""
        if isinstance(line, Few):
            return self.numbers(line.at), self.numbers(line.at)
        first, last = np.maximum(line.bounds[:-1], line.low), np.minimum(line.bounds[1:] - 1, line.high)
        return self.numbers(first), self.numbers(last)

    def cells(self, line: Line, low: Integers, high: Integers) -> tuple[Any, Any]:
        """The ends of y of the cells of whole numbers from low to high, (n,) each; infinite where cells have none."""
        if not isinstance(line, Lattice):
            return -np.inf, np.inf
        first, last = -((self.origin - low) // self.step), (high - self.origin) // self.step
        return line.curve.forward(first - 0.5), line.curve.forward(last + 0.5)


def fit_grid(x: Integers, counts: Array, bins: int) -> tuple[Line, Grid]:
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
