"""Numbers that are written in several ways: whole, as halves or thirds of a unit, in hundreds, or with all digits.

    x = unit (k + f),    k whole,    0 <= f < 1
    log p(x) = log p(k) + log p(f | k),    minus log unit where p(f | k) is a density

The way is the token of f: 0, 1/2, 1/3, 2/3, ... have their own, and bins have all other fractions. A smooth density of
x, or bins of x, would miss it. Simple fractions stay exact: x = unit (k q + p) / q. On a grid all are whole, and x,
k and f are places:

    x = units k + f,    0 <= f < units
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import HERE, Series, Type, entry_error
from motes.tables.kinds import binnings
from motes.tables.kinds.base import Kind, Sample, shown
from motes.tables.kinds.binnings import Binning, Grid, Integers, Numbers, in_ranges, overlap
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Restriction, SetOfValues, Values

OFTEN = 0.05  # minimum share of the rows with a simple fraction, without the most frequent number
SEVERAL = 10  # minimum number of distinct numbers with a simple fraction
MANY = 100  # minimum number of rows for fractions on a grid
BEYOND = 1e100  # larger numbers have no unit
NEARLY = 0.9  # the unit is the largest with this share of the largest number of such rows
DENOMINATORS = range(12, 0, -1)
POWERS = range(-6, 10)  # units are powers of 10
UNITS = 5  # minimum range, in units
STEPS = 8  # floating-point steps by which a number may miss a simple fraction
CHANCE = 0.005  # maximum share of numbers that miss one by less by chance
LOOKED = 5000  # distinct numbers that are searched for a unit
DECIMALS = 9  # numbers with at most as many decimals have no other fractions
HEAPED = 0.2  # minimum nats per row by which the fractions on a grid differ from even ones
FREQUENT = 0.02  # share of the rows above which a number says nothing about how others are written,
REST = 0.5  # and minimum share of the others


@dataclass(frozen=True, repr=False)
class Fractional(Kind):
    """Numbers of which some are whole or simple fractions of a unit, and others have more digits.

    Attributes:
        grid: the grid of the numbers; without a step for numbers that are not rounded.
        power: the unit is 10^power, or that many steps of the grid.
        whole: the binning of k.
        fraction: the binning of f.
        low, high: the observed range.
        type: type of the input series.
    """

    grid: Grid
    power: int
    whole: Binning
    fraction: Binning
    low: float
    high: float
    type: Type

    name = "fractional"
    measure = "number"

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type != "real" or binnings.decimals_of(sample.series.values) is not None:
            return None
        x, counts = sample.seen
        power = find_unit(x, counts)
        if power is None or (split(x * 10.0**DECIMALS, 0, single=binnings.is_single(x))[2] == 1).all():
            return None
        q = split(x, power, single=binnings.is_single(x))[2]
        shares = {one: counts[q == one].sum() / counts.sum() for one in np.unique(q).tolist()}
        ways = [f"{shares[one]:.0%} {'whole' if one == 1 else f'in 1/{one}'}" for one in shares if one]
        of = f" of {10.0**power:g}" if power else ""
        return f"numbers from {x[0]:.4g} to {x[-1]:.4g}, {', '.join(ways)}{of}"

    @classmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        if sample.series.type not in ("real", "whole"):
            expected = 'numbers; set its kind to "categorical" or "date", or convert the column'
            raise entry_error(sample.name, sample.column, shown(sample.series, 0), expected, int(sample.rows[0]))
        x, counts = sample.seen
        places = 0 if sample.series.type == "whole" else binnings.decimals_of(sample.series.values)
        if places is not None:
            grid = Grid.of(x, places, None)
            return cls.of(sample, grid, find_heaps(grid.places_of(x), counts) or 1)
        return cls.of(sample, Grid(single=binnings.is_single(x)), find_unit(x, counts) or 0)

    @classmethod
    def of(cls, sample: Sample, grid: Grid, power: int) -> Self:
        """Fit the kind with a unit of 10^power, or of that many steps of the grid if it has a step."""
        x, counts = sample.seen
        k, f = cls._split(x, grid, power)
        below, own = (10**power - 1, Grid(0, 1)) if grid.step else (float(np.nextafter(1.0, 0.0)), Grid())
        return cls(
            sample.column, grid, power, binnings.fit_whole(*binnings.distinct(k, counts), sample.bins),
            binnings.fit_binning(*binnings.distinct(f, counts), sample.bins, own, low=0, high=below),
            float(x[0]), float(x[-1]), sample.series.type,
        )  # fmt: skip

    @staticmethod
    def _split(x: Values, grid: Grid, power: int) -> tuple[Integers, Numbers]:
        """Split numbers into whole parts k and fractions f."""
        if grid.step:
            return np.divmod(grid.places_of(x), 10**power)
        k, f, _ = split(x, power, single=grid.single)
        return k, f

    @property
    def parts(self) -> tuple[Part, ...]:
        names = f"{self.column}: whole part", f"{self.column}: fraction"
        return tuple(line.part(name, self.column) for line, name in zip(self.lines, names, strict=True))

    @property
    def lines(self) -> tuple[Binning, Binning]:
        return self.whole, self.fraction

    def read(self, series: Series, name: str) -> Values:
        self.check_type(series, ("real", "whole", "truth"), "numbers", name)
        return series.known.astype(np.int64) if series.type == "truth" else series.known

    def encode(self, values: Values) -> list[Entries]:
        here = self.grid.has(values) & (np.abs(values) < binnings.FAR * min(10.0**self.power, 1.0))
        k, f = self._split(np.where(here, values, 0), self.grid, self.power)
        whole, fraction = self.whole.encode(k), self.fraction.encode(f)
        codes = np.where(here, whole.codes, IMPOSSIBLE).astype(np.int32)
        density = self.fraction.smooth & ~self.fraction.single[fraction.codes]
        unit = np.where(density, self.power * np.log(10.0), 0.0)  # without a grid, simple fractions have a mass
        if self.grid.step:
            unit = np.full(len(k), np.log(self.grid.width) if self.grid.places else 0.0)
        return [replace(whole, codes=codes), replace(fraction, log_unit=fraction.log_unit - unit)]

    def expected(self, value: Any) -> str:
        if not np.isfinite(float(value)):
            return "a finite number; leave the entry empty if it is missing, or remove the row"
        kind = "real" if self.type == "real" else "integer"
        more = f'set the kind of this column to "{kind}" to allow more'
        return f"a number from {self.low:g} to {self.high:g}, as in training; {more}"

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        k, f = (line.decode(codes[:, i], y[:, i]) for i, line in enumerate(self.lines))
        return np.clip(self.join(k, f), self.low, self.high)

    def join(self, k: Numbers, f: Array) -> Array:
        """Return the numbers with these whole parts and fractions, of shapes that broadcast."""
        if self.grid.step:
            return self.grid.numbers(k * 10**self.power + f)
        one, f, q = split(f, 0, single=False)  # 1 if f is 1 but for rounding
        many = np.where(q > 0, (k + one) * q + np.rint(f * q), k + f)
        x = many * 10.0 ** max(self.power, 0) / (np.maximum(q, 1) * 10.0 ** max(-self.power, 0))
        return x.astype(np.float32).astype(np.float64) if self.grid.single else x

    def series(self, values: Values, missing: Mask) -> Series:
        return Series(self.type, values.astype(np.float64 if self.type == "real" else np.int64), missing)

    @property
    def decimal(self) -> bool:
        return not self.grid.step or self.grid.places > 0

    @property
    def step(self) -> float | None:
        return self.grid.width or None

    def nearest(self, x: Array) -> Values:
        return self.grid.numbers(self.grid.places_of(x))

    def beyond(self, values: Values) -> str:
        return "" if self.low <= values[0] <= self.high else self.expected(values[0])

    @property
    def becomes(self) -> str:
        return f"whole part: {self.whole.words}; fraction: {self.fraction.words}"

    # --- conditions ---

    def restrict(self, condition: SetOfValues) -> Restriction:
        made = SomeFractions(self, self.ranges(condition))
        if not made.allowed(0, np.zeros((1, 0), np.int32), np.zeros((1, 0))).any():
            expected = f"a condition that some training value meets: they are from {self.low:g} to {self.high:g}"
            raise entry_error(HERE, self.column, condition, expected)
        return made

    def point(self, x: Values, value: Any) -> float:
        if not self.fraction.has_mass(self._split(x, self.grid, self.power)[1][0].item()):
            expected = "an interval, (low, high): a single real number has no probability"
            raise entry_error(HERE, self.column, value, expected)
        return float(x[0])

    def between(self, low: Any, high: Any) -> Numbers:
        return np.array([[-np.inf if low is None else low, np.inf if high is None else high]])


@dataclass(frozen=True)
class SomeFractions(Restriction):
    """A restriction to numbers in closed intervals, `ranges` (r, 2), disjoint and rising."""

    kind: Fractional
    ranges: NDArray[Any]

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        inside = np.clip(self.ranges, self.kind.low, self.kind.high)
        inside = inside[(self.ranges[:, 0] <= self.kind.high) & (self.ranges[:, 1] >= self.kind.low)]
        first, last = self.kind.lines[part].spans
        if part == 0:
            ends = self.kind.fraction.spans[0].min(), self.kind.fraction.spans[1].max()
            first, last = self.kind.join(first, ends[0]), self.kind.join(last, ends[1])
            if not self.kind.grid.step and ends[1] == self.kind.fraction.high:
                last = np.nextafter(last, -np.inf)  # up to the next whole number, and without it
            return overlap(first, last, inside)
        first, last = (self.kind.join(self._whole(codes, y)[:, None], end) for end in (first, last))
        if self.kind.grid.step:
            return overlap(first, last, inside)
        wide = inside[inside[:, 0] < inside[:, 1]]  # a single real number has no mass, unless its fraction has one
        return np.where(self.kind.fraction.single, in_ranges(first, inside), overlap(first, last, wide, open_=True))

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        ends = np.clip([self.ranges.min(), self.ranges.max()], self.kind.low, self.kind.high)
        (first, last), f = self.kind._split(ends, self.kind.grid, self.kind.power)
        if part == 0:
            return self.kind.whole.ends(first, last)
        k, below = self._whole(codes, y), self.kind.fraction.high
        return self.kind.fraction.ends(np.where(k > first, 0, f[0]), np.where(k < last, below, f[1]))

    def holds(self, codes: Codes, y: Array) -> Mask:
        return in_ranges(self.kind.decode(codes, y, y), self.ranges)

    def _whole(self, codes: Codes, y: Array) -> Integers:
        return self.kind.whole.decode(codes[:, 0], y[:, 0])


def split(x: Array, power: int, *, single: bool) -> tuple[Integers, Array, Integers]:
    """Split numbers into units of 10^power: return k, f, and the smallest denominator q of f; 0 if it has none."""
    z = x * 10.0**-power if power < 0 else x / 10.0**power
    k, q = np.floor(z), np.zeros(z.shape, np.int64)
    f = z - k
    slack = _slack(np.maximum(np.abs(z), 1.0), single)
    for one in DENOMINATORS:
        many = np.rint(z * one)
        near = np.abs(z * one - many) <= one * slack
        whole = np.floor_divide(many, one)
        k, f, q = (np.where(near, made, old) for made, old in ((whole, k), ((many - whole * one) / one, f), (one, q)))
    return k.astype(np.int64), f, q


def find_unit(x: Values, counts: Array) -> int | None:
    """Find the power of 10 of which many numbers (d,), distinct and rising, are simple fractions; None for none."""
    looked = np.unique(np.linspace(0, len(x) - 1, min(len(x), LOOKED)).astype(int))
    x, counts, single = x[looked].astype(np.float64), counts[looked], binnings.is_single(x)
    shares, fractions = {}, sum(DENOMINATORS)
    if np.abs(x).max() > BEYOND:
        return None
    for power in POWERS:
        largest = np.abs(x).max() / 10.0**power
        precise = 2 * fractions * _slack(largest, single) < CHANCE
        if precise and np.ptp(x) >= UNITS * 10.0**power:
            rows = counts[split(x, power, single=single)[2] > 0]
            if len(rows) >= SEVERAL:
                shares[power] = (rows.sum() - rows.max()) / counts.sum()
    most = max(shares.values(), default=0.0)
    return max(power for power in shares if shares[power] >= NEARLY * most) if most >= OFTEN else None


def find_heaps(places: Integers, counts: Array) -> int | None:
    """Find the power of 10 whose multiples, or other places in it, are frequent; None for none.

        gain = sum over f of n_f / n log(1/2 + units / 2 (n_f - 1) / (n - 1)),    n_f rows with the fraction f

    by which all other rows predict the fraction of a row better than an even spread. The units are far smaller than the
    spread of the numbers, so that a smooth density of these has even fractions.

    Args:
        places: (d,), distinct and rising.
        counts: the number of rows of each, (d,).
    """
    rest = counts <= FREQUENT * counts.sum()
    k, rows, total = places[rest], counts[rest], counts[rest].sum()
    if total < max(REST * counts.sum(), MANY):
        return None
    low, high = k[np.searchsorted(np.cumsum(rows), (0.25 * total, 0.75 * total))]
    gains = {}
    for power in (power for power in POWERS if power > 0 and UNITS * 10**power <= high - low):
        each = binnings.distinct(k % 10**power, rows)[1]
        others = 10**power * np.maximum(each - 1, 0) / (total - 1)
        gains[power] = float(each @ np.log(0.5 + 0.5 * others)) / total
    most = max(gains.values(), default=0.0)
    return min(power for power in gains if gains[power] >= NEARLY * most) if most >= HEAPED else None


def _slack(size: Any, single: bool) -> Any:
    """Return the distance within which numbers of a size count as equal."""
    return STEPS * np.finfo(np.float32 if single else np.float64).eps * size
