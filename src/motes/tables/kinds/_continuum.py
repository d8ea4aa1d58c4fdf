"""Bins along real numbers, and point masses between them.

    log p(x) = log p(slot) + log (density of y in the slot) + log |dy/dx|,    at a point mass log p(slot)

A value that at least `ROWS` rows hold is a point mass. Where it is the least or the largest one, the line ends there.
"""

from dataclasses import dataclass

import numpy as np

from motes.tables._parts import Array, Codes, Entries, Mask
from motes.tables.kinds._lines import (
    APART,
    ROWS,
    Few,
    Line,
    Numbers,
    curve_of,
    cuts_of,
    few,
    in_ranges,
    marked,
    masses_of,
    overlap,
    slots_of,
)

REPEATED = 5  # rows that hold each number of a column of a few real numbers


@dataclass(frozen=True)
class Continuum(Line):
    """Real numbers; a slot with equal `bounds` is a value that many rows hold, and has no width."""

    smooth = True

    @property
    def edges(self) -> Array:
        return self.curve.forward(self.bounds)

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
    ends = {float(first), float(last)} - set(x[atoms].tolist())
    bounds = np.sort(np.concatenate([middle, np.repeat(x[atoms], 2), sorted(ends)]))
    curve = curve_of(x, counts, atoms, half=0.0, zero=0.0)
    bounds = _without_gaps(bounds, x)
    made = Continuum(
        curve,
        bounds,
        np.ones(len(bounds) - 1),
        float(x[0] if low is None else low),
        float(x[-1] if high is None else high),
    )
    rows = np.bincount(made.encode(x).codes, counts, len(bounds) - 1)
    return Continuum(curve, bounds, masses_of(rows), made.low, made.high)


def _without_gaps(bounds: Array, x: Array) -> Array:
    """Cuts (of bins beside a point mass) with no number on one side of them are no cuts."""
    below, above = np.searchsorted(x, bounds, side="left"), np.searchsorted(x, bounds, side="right")
    cut = np.append(True, bounds[1:] != bounds[:-1]) & np.append(bounds[:-1] != bounds[1:], True)
    cut[[0, -1]] = False
    empty = np.zeros(len(bounds), bool)
    empty[1:] = below[1:] <= above[:-1]  # none between this end and the one before
    needless = cut & (empty | np.append(empty[1:], False))
    return bounds[~needless]
