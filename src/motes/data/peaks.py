"""Values that far more rows hold than those beside them, in a column of numbers on a grid.

A zero that stands for nothing, a price of 9.99, whole numbers among rounded ones: no smooth curve makes them normal.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motes.data.bijections import HALF_LOG_TWO_PI, Bijection

Array = NDArray[np.float64]

ROWS = 20  # that hold the value, at least,
TIMES = 5  # and so many times as many as hold the median value of those beside it,
BESIDE = 25  # up to so far away


def peaks_of(k: NDArray[np.integer]) -> NDArray[np.int64]:
    """Those of whole numbers k (n,) that are peaks, (K,), rising."""
    seen, counts = np.unique(k, return_counts=True)
    often = np.flatnonzero(counts >= ROWS)
    beside = seen[often][:, None] + np.concatenate([np.arange(-BESIDE, 0), np.arange(1, BESIDE + 1)])  # (K, 2 BESIDE)
    at = np.minimum(np.searchsorted(seen, beside), len(seen) - 1)
    rows = np.where(seen[at] == beside, counts[at], 0)
    # Beyond the ends there is nothing, which says nothing of what is a peak.
    inside = (beside >= seen[0]) & (beside <= seen[-1])
    usual = np.nanmedian(np.where(inside, rows, np.nan), axis=1)
    return np.asarray(seen[often][counts[often] > TIMES * usual], np.int64)


@dataclass(frozen=True)
class Peaks:
    """z = Phi^-1(F(x)): F is a smooth law, and peaks on it that fill what is from a whole number to the next.

        F(x) = rest Phi(t) + the masses of the peaks below x,    t = (curve(x) - mean) / scale

    and on each peak a straight line from its one end to its other. What lies beyond all peaks keeps all its digits.

    Attributes:
        curve: by which the smooth law becomes N(mean, scale^2).
        mean, scale: of it.
        at: where the peaks begin, (K,), rising whole numbers.
        masses: of the peaks, beside what the smooth law has there, (K,); with `rest` they sum to 1.
        rest: the mass of the smooth law.
    """

    curve: Bijection
    mean: float
    scale: float
    at: Array
    masses: Array
    rest: float

    @classmethod
    def of(cls, k: NDArray[np.integer], at: NDArray[np.int64], curve: Bijection) -> "Peaks":
        """Of whole numbers k (n,) that came up, with peaks `at` (K,); the others, which vary, lie on `curve`."""
        others = k[~np.isin(k, at)]
        masses = np.append([(k == one).sum() for one in at], len(others)) / len(k)
        y = curve.forward(np.asarray(others + 0.5, np.float64))
        return cls(curve, float(y.mean()), float(y.std()), at.astype(np.float64), masses[:-1], float(masses[-1]))

    def forward(self, x: Array) -> Array:
        """x -> z."""
        from scipy.special import log_ndtr, ndtri, ndtri_exp

        i, j, on_peak = self._place(x)
        before, after = self._beside()
        t, log_rest = self._smooth(x), np.log(self.rest)
        with np.errstate(divide="ignore"):
            below = np.logaddexp(np.log(before[i]), log_rest + log_ndtr(t))
            above = np.logaddexp(np.log(after[i]), log_rest + log_ndtr(-t))
        z = np.where(below < above, ndtri_exp(np.minimum(below, 0.0)), -ndtri_exp(np.minimum(above, 0.0)))
        low, high, mass = self._ends()
        below, above = low[j] + (x - self.at[j]) * mass[j], high[j] + (self.at[j] + 1 - x) * mass[j]
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
            peak = self.at[j] + np.clip(share, 0.0, 1 - 2.0**-20)
            before, after = self._beside()
            under, over = (below - before[i]) / self.rest, (above - after[i]) / self.rest
            t = np.where(under < over, ndtri(np.clip(under, 0, 1)), -ndtri(np.clip(over, 0, 1)))
            t = np.where((i == 0) & (under < over), ndtri_exp(log_ndtr(z) - np.log(self.rest)), t)
            t = np.where((i == len(self.at)) & (over <= under), -ndtri_exp(log_ndtr(-z) - np.log(self.rest)), t)
            smooth = self.curve.inverse(self.mean + self.scale * t)
        # Between the peaks it stays, whatever rounding does.
        first, last = np.append(-np.inf, self.at + 1)[i], np.nextafter(np.append(self.at, np.inf), -np.inf)[i]
        return np.where(on_peak, peak, np.clip(smooth, first, last))

    def log_det(self, x: Array) -> Array:
        """log |dz/dx|: the logarithm of the slope of F over phi(z)."""
        _, j, on_peak = self._place(x)
        z, t = self.forward(x), self._smooth(x)
        smooth = np.log(self.rest / self.scale) - 0.5 * t**2 + self.curve.log_det(x)
        return np.where(on_peak, np.log(self._ends()[2][j]) + HALF_LOG_TWO_PI, smooth) + 0.5 * z**2

    def _place(self, x: Array) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """How many peaks begin at x or before it, the last of them, and whether x is on it."""
        i = np.searchsorted(self.at, x, side="right")
        j = np.maximum(i - 1, 0)
        return i, j, (i > 0) & (x < self.at[j] + 1)

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

        a, b = self._smooth(self.at), self._smooth(self.at + 1)
        before, after = self._beside()
        under = np.where(a < 0, ndtr(b) - ndtr(a), ndtr(-a) - ndtr(-b))
        return before[:-1] + self.rest * ndtr(a), after[1:] + self.rest * ndtr(-b), self.masses + self.rest * under
