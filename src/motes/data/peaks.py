"""Values that far more rows hold than those beside them.

A zero that stands for nothing, a price of 9.99, whole numbers among rounded ones: no smooth curve makes them normal.
Of numbers on a grid each value has a cell of its own. Of other real numbers, which hardly ever come twice, the line is
opened where a value comes often.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.bijections import HALF_LOG_TWO_PI, Bijection, deviation
from motes.data.cells import Reals, Refuse
from motes.data.frames import Series

Array = NDArray[np.float64]

ROWS = 20  # that hold the value, at least,
TIMES = 5  # and so many times as many as hold the median value of those beside it,
BESIDE = 25  # up to so far away
AT_ONCE = 4096  # values that are compared with those beside them
OPENING = 0.1  # of the way from one number to the next: of all together less than a tenth of theirs
DIGITS = 2**20  # steps of floating-point numbers


def _place(starts: Array, width: float, x: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Of cells that begin at `starts` (K,): how many do so up to x, the last of them, and whether x is in it."""
    i = np.searchsorted(starts, x, side="right")
    j = np.maximum(i - 1, 0)
    return i, j, (i > 0) & (x < starts[j] + width)


def often(x: Array) -> Array:
    """The values that many rows hold of real numbers x (n,) that were not rounded, (K,), rising."""
    seen, counts = np.unique(x, return_counts=True)
    return np.asarray(seen[counts >= ROWS], np.float64)


@dataclass(frozen=True)
class Opened:
    """Real numbers x, of which many rows hold the values `at` (K,), rising: there the line is opened by `width`.

    w = x + width (how many of `at` lie below x, and at one of them u ~ U(0, 1));    outside of them as `ends` says
    """

    ends: Reals
    at: Array
    width: float
    noisy = True

    @classmethod
    def of(cls, ends: Reals, at: Array, x: Array) -> "Opened":
        """For numbers x (n,): so far that the noise has digits to be in, and no further than they are apart."""
        apart = float(np.median(np.diff(np.unique(x))))
        return cls(ends, at, max(OPENING * apart, DIGITS * float(np.spacing(np.median(np.abs(x))))))

    def read(self, series: Series, refuse: Refuse) -> NDArray[Any]:
        """The known cells as values, (m,)."""
        return self.ends.read(series, refuse)

    def spread(self, x: NDArray[Any], u: Array) -> tuple[Array, Array]:
        """Values -> w, and the log of how wide the cell is in which each was placed (0 where in none)."""
        w, log_wide = self.ends.spread(x, u)
        j = np.searchsorted(self.at, x)
        there = self.at[np.minimum(j, len(self.at) - 1)] == x
        return w + self.width * (j + np.where(there, u, 0.0)), log_wide + np.where(there, np.log(self.width), 0.0)

    def gather(self, w: Array) -> NDArray[Any]:
        """w -> values."""
        i, j, there = _place(self.starts, self.width, w)
        return np.where(there, self.at[j], self.ends.gather(w - self.width * i))

    def between(self, low: Series | None, high: Series | None, refuse: Refuse) -> tuple[float, float]:
        """The interval of w that the numbers from low to high fill, both included; None: there is no such end."""
        first, last = self.ends.between(low, high, refuse)
        below, upto = np.searchsorted(self.at, first, side="left"), np.searchsorted(self.at, last, side="right")
        return first + self.width * float(below), last + self.width * float(upto)

    def plain(self, x: NDArray[Any]) -> NDArray[Any]:
        """What `gather` gives of the values that `read` gave: themselves."""
        return x

    @property
    def starts(self) -> Array:
        """Where the cell of each value begins, (K,)."""
        return self.at + self.width * np.arange(len(self.at))

    @property
    def about(self) -> str:
        """In words, what becomes of the cells."""
        return self.ends.about


def peaks_of(k: NDArray[np.integer]) -> NDArray[np.int64]:
    """Those of whole numbers k (n,) that are peaks, (K,), rising."""
    seen, counts = np.unique(k, return_counts=True)
    around = np.concatenate([np.arange(-BESIDE, 0), np.arange(1, BESIDE + 1)])
    many = np.flatnonzero(counts >= ROWS)
    found = [many[:0]]
    for some in np.array_split(many, len(many) // AT_ONCE + 1):
        beside = seen[some][:, None] + around  # (k, 2 BESIDE)
        at = np.minimum(np.searchsorted(seen, beside), len(seen) - 1)
        rows = np.where(seen[at] == beside, counts[at], 0)
        # Beyond the ends there is nothing, which says nothing of what is a peak.
        inside = (beside >= seen[0]) & (beside <= seen[-1])
        usual = np.nanmedian(np.where(inside, rows, np.nan), axis=1)
        found.append(some[counts[some] > TIMES * usual])
    return np.asarray(seen[np.concatenate(found)], np.int64)


@dataclass(frozen=True)
class Peaks:
    """z = Phi^-1(F(x)): F is a smooth law, and peaks on it, each so wide a cell.

        F(x) = rest Phi(t) + the masses of the peaks below x,    t = (curve(x) - mean) / scale

    and on each peak a straight line from its one end to its other. What lies beyond all peaks keeps all its digits.

    Attributes:
        curve: by which the smooth law becomes N(mean, scale^2).
        mean, scale: of it.
        at: where the peaks begin, (K,), rising.
        masses: of the peaks, beside what the smooth law has there, (K,); with `rest` they sum to 1.
        rest: the mass of the smooth law.
        width: of a cell.
    """

    curve: Bijection
    mean: float
    scale: float
    at: Array
    masses: Array
    rest: float
    width: float = 1.0

    @classmethod
    def of(cls, w: Array, at: Array, curve: Bijection, width: float = 1.0) -> "Peaks":
        """Of numbers w (n,), each in its cell where it is on a peak of those `at` (K,); the others lie on `curve`.

        Where there are none, or all are one number, `curve` is that of all, and half a row lies on it beside the peaks.
        """
        _, j, on_peak = _place(at, width, w)
        rows = np.append(np.bincount(j[on_peak], minlength=len(at)), max((~on_peak).sum(), 0.5))
        shares, y = rows / rows.sum(), curve.forward(w)
        y = y[~on_peak] if len(np.unique(w[~on_peak])) > 1 else y
        smooth = cls(curve, float(y.mean()), deviation(y), at, np.zeros(len(at)), 1.0, width)
        # Some of the rows on a peak are the smooth law's own.
        own = smooth._ends()[2]
        rest = float(shares[-1] / (1 - own.sum()))
        return replace(smooth, masses=np.maximum(shares[:-1] - rest * own, 0.0), rest=rest)

    def forward(self, x: Array) -> Array:
        """x -> z."""
        from scipy.special import log_ndtr, ndtri, ndtri_exp

        i, j, on_peak = _place(self.at, self.width, x)
        before, after = self._beside()
        t, log_rest = self._smooth(x), np.log(self.rest)
        with np.errstate(divide="ignore"):
            below = np.logaddexp(np.log(before[i]), log_rest + log_ndtr(t))
            above = np.logaddexp(np.log(after[i]), log_rest + log_ndtr(-t))
        z = np.where(below < above, ndtri_exp(np.minimum(below, 0.0)), -ndtri_exp(np.minimum(above, 0.0)))
        low, high, mass = self._ends()
        share = np.where(on_peak, x - self.at[j], 0.0) / self.width
        below, above = low[j] + share * mass[j], high[j] + (1 - share) * mass[j]
        return np.where(on_peak, np.where(below < above, ndtri(below), -ndtri(above)), z)

    def inverse(self, z: Array) -> Array:
        """z -> x."""
        from scipy.special import log_ndtr, ndtr, ndtri, ndtri_exp

        low, high, mass = self._ends()
        below, above = ndtr(z), ndtr(-z)
        # Each end of a peak by its nearer tail, which has the more digits.
        starts, stops = (np.where(a < b, ndtri(a), -ndtri(b)) for a, b in ((low, high + mass), (low + mass, high)))
        i = np.searchsorted(starts, z, side="right")  # peaks that begin at z or before it
        j = np.maximum(i - 1, 0)
        on_peak = (i > 0) & (z < stops[j])
        with np.errstate(invalid="ignore", over="ignore"):
            share = np.where(below < above, (below - low[j]) / mass[j], 1 - (above - high[j]) / mass[j])
            peak = self.at[j] + self.width * np.clip(share, 0.0, 1 - 2.0**-20)
            before, after = self._beside()
            under, over = (below - before[i]) / self.rest, (above - after[i]) / self.rest
            t = np.where(under < over, ndtri(np.clip(under, 0, 1)), -ndtri(np.clip(over, 0, 1)))
            t = np.where((i == 0) & (under < over), ndtri_exp(log_ndtr(z) - np.log(self.rest)), t)
            t = np.where((i == len(self.at)) & (over <= under), -ndtri_exp(log_ndtr(-z) - np.log(self.rest)), t)
            smooth = self.curve.inverse(self.mean + self.scale * t)
        # Between the peaks it stays, whatever rounding does.
        first, last = np.append(-np.inf, self.at + self.width)[i], np.nextafter(np.append(self.at, np.inf), -np.inf)[i]
        return np.where(on_peak, peak, np.clip(smooth, first, last))

    def log_det(self, x: Array) -> Array:
        """log |dz/dx|: the logarithm of the slope of F over phi(z)."""
        _, j, on_peak = _place(self.at, self.width, x)
        z, t = self.forward(x), self._smooth(x)
        smooth = np.log(self.rest / self.scale) - 0.5 * t**2 + self.curve.log_det(x)
        return np.where(on_peak, np.log(self._ends()[2][j] / self.width) + HALF_LOG_TWO_PI, smooth) + 0.5 * z**2

    def _beside(self) -> tuple[Array, Array]:
        """The masses of all peaks before each place between two of them, and after it, (K + 1,) each."""
        return np.append(0.0, np.cumsum(self.masses)), np.append(np.cumsum(self.masses[::-1])[::-1], 0.0)

    def _smooth(self, x: Array) -> Array:
        """t."""
        with np.errstate(divide="ignore"):  # an end of the curve's interval is infinitely far
            return (self.curve.forward(x) - self.mean) / self.scale

    def _ends(self) -> tuple[Array, Array, Array]:
        """F where each peak begins, 1 - F where it ends, and the mass between, (K,) each."""
        from scipy.special import ndtr

        a, b = self._smooth(self.at), self._smooth(self.at + self.width)
        before, after = self._beside()
        under = np.where(a < 0, ndtr(b) - ndtr(a), ndtr(-a) - ndtr(-b))
        return before[:-1] + self.rest * ndtr(a), after[1:] + self.rest * ndtr(-b), self.masses + self.rest * under
