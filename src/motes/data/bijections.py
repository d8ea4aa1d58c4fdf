"""Increasing maps of the line, by which a column comes to look like a normal one.

    z = f(x),    log p(x) = log p(z) + log |dz/dx|

`Identity`, `Log`, `Logit` and `Asinh` are the four shapes of Johnson's system (Biometrika 36, 1949), with open
intervals. All compute in float64, on arrays of any shape. `inverse` takes any number: what lies beyond the largest
float becomes the largest float, and never infinity or NaN.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LARGEST = float(np.finfo(np.float64).max)
SMALLEST = float(np.finfo(np.float64).tiny)
HALF_LOG_TWO_PI = 0.5 * float(np.log(2 * np.pi))


class Bijection(Protocol):
    """An increasing map from an open interval onto the line (`Cells`: but for its edges)."""

    def forward(self, x: Array) -> Array:
        """x -> z."""

    def inverse(self, z: Array) -> Array:
        """z -> x."""

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| at each x."""


@dataclass(frozen=True)
class Identity:
    """z = x."""

    def forward(self, x: Array) -> Array:
        """x -> z."""
        return x

    def inverse(self, z: Array) -> Array:
        """z -> x."""
        return np.clip(z, -LARGEST, LARGEST)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| = 0."""
        return np.zeros_like(x)


@dataclass(frozen=True)
class Log:
    """z = log(x - low), for x > low."""

    low: float = 0.0

    def forward(self, x: Array) -> Array:
        """x -> z."""
        return np.log(x - self.low)

    def inverse(self, z: Array) -> Array:
        """z -> x."""
        return self.low + _exp(z)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| = -log(x - low)."""
        return -np.log(x - self.low)


@dataclass(frozen=True)
class Softplus:
    """z = width log(exp((x - low) / width) - 1), for x > low: nearly x - low far above it, a logarithm close to it."""

    low: float
    width: float

    def forward(self, x: Array) -> Array:
        """x -> z."""
        return (x - self.low) + self.width * self._log_rise(x)

    def inverse(self, z: Array) -> Array:
        """z -> x."""
        with np.errstate(over="ignore"):
            return np.minimum(self.low + self.width * np.logaddexp(0.0, z / self.width), LARGEST)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| = -log(1 - exp(-(x - low) / width))."""
        return -self._log_rise(x)

    def _log_rise(self, x: Array) -> Array:
        """log(1 - exp(-(x - low) / width)), and its limit where that is 0 to the last digit."""
        u = (x - self.low) / self.width
        near = u < SMALLEST
        limit = np.log(x - self.low) - np.log(self.width)
        return np.where(near, limit, np.log(-np.expm1(-np.where(near, 1.0, u))))


@dataclass(frozen=True)
class Logit:
    """z = log((x - low) / (high - x)), for low < x < high."""

    low: float
    high: float

    def forward(self, x: Array) -> Array:
        """x -> z."""
        return np.log(x - self.low) - np.log(self.high - x)

    def inverse(self, z: Array) -> Array:
        """z -> x."""
        # From the nearer end, so that what is close to it keeps its digits.
        share = 1 / (1 + _exp(np.abs(z)))
        width = self.high - self.low
        return np.where(z < 0, self.low + width * share, self.high - width * share)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| = log((high - low) / ((x - low) (high - x)))."""
        return np.log(self.high - self.low) - np.log(x - self.low) - np.log(self.high - x)


@dataclass(frozen=True)
class Asinh:
    """z = asinh((x - centre) / width): a logarithm of both tails, the identity between them."""

    centre: float
    width: float

    def forward(self, x: Array) -> Array:
        """x -> z."""
        half = x / 2 - self.centre / 2  # of x - centre, which may be too large for a float
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            u = half / self.width * 2
            far = np.abs(u) > 1e100
            tail = np.sign(half) * (np.log(np.abs(half)) - np.log(self.width) + np.log(4.0))
        return np.where(far, tail, np.arcsinh(np.where(far, 0.0, u)))

    def inverse(self, z: Array) -> Array:
        """z -> x."""
        far = np.abs(z) > 200
        near = self.width * np.sinh(np.where(far, 0.0, z))
        tail = np.sign(z) * _exp(np.abs(z) + np.log(self.width) - np.log(2.0))
        with np.errstate(over="ignore"):
            return np.clip(self.centre + np.where(far, tail, near), -LARGEST, LARGEST)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| = -log sqrt(width^2 + (x - centre)^2)."""
        return -np.log(2 * np.hypot(self.width / 2, x / 2 - self.centre / 2))


@dataclass(frozen=True)
class Cells:
    """z = Phi^-1(F(x)), where F rises from 0 to 1 along straight lines through (k, edges[k]), for 0 < x < K.

    A number drawn from cell k with probability edges[k+1] - edges[k], plus a uniform one, is normal after it. `edges`
    (K+1,) rise from 0 to 1.
    """

    edges: Array

    @classmethod
    def of(cls, weights: NDArray) -> "Cells":
        """Cells (K,) whose probabilities are in proportion to `weights`, all above 0."""
        edges = np.concatenate([[0.0], np.cumsum(weights, dtype=np.float64)])
        return cls(edges / edges[-1])

    def forward(self, x: Array) -> Array:
        """x -> z."""
        from scipy.special import ndtri

        k = _cell(x, self.edges)
        return np.asarray(ndtri(self.edges[k] + (x - k) * (self.edges[k + 1] - self.edges[k])))

    def inverse(self, z: Array) -> Array:
        """z -> x; its whole part is a cell, whatever z is."""
        from scipy.special import ndtr

        place = ndtr(z)
        k = np.clip(np.searchsorted(self.edges, place, side="right") - 1, 0, len(self.edges) - 2)
        part = (place - self.edges[k]) / (self.edges[k + 1] - self.edges[k])
        return k + np.clip(part, 0.0, 1 - 2.0**-20)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| = log(edges[k+1] - edges[k]) - log phi(z)."""
        z, k = self.forward(x), _cell(x, self.edges)
        return np.log(np.diff(self.edges))[k] + 0.5 * z**2 + HALF_LOG_TWO_PI


@dataclass(frozen=True)
class Heaps:
    """Cell k of `Cells` with a heap of the normal law in its middle, for 0 < x < K and k = floor(x).

        z = c_k + w_k Phi^-1(a_k + (x - k) (b_k - a_k))

    c_k is the middle of the cell, of an outer one its median, and w_k so much of its `width`; a_k and b_k are where its
    ends lie in the law of the heap. A normal law falls into the cells as often as they came up, and labels apart
    tell far more of the other columns than labels side by side do.
    """

    edges: Array
    width: float = 0.125

    @classmethod
    def of(cls, weights: NDArray) -> "Heaps":
        """Heaps (K,) whose probabilities are in proportion to `weights`, all above 0."""
        return cls(Cells.of(weights).edges)

    def forward(self, x: Array) -> Array:
        """x -> z."""
        from scipy.special import ndtri

        k = _cell(x, self.edges)
        a, b, centre, width = (part[k] for part in self._heaps())
        return np.asarray(centre + width * ndtri(a + (x - k) * (b - a)))

    def inverse(self, z: Array) -> Array:
        """z -> x; its whole part is a heap, whatever z is."""
        from scipy.special import ndtr, ndtri

        k = np.searchsorted(ndtri(self.edges[1:-1]), z, side="right")
        a, b, centre, width = (part[k] for part in self._heaps())
        with np.errstate(over="ignore"):
            return np.asarray(k + np.clip((ndtr((z - centre) / width) - a) / (b - a), 0.0, 1 - 2.0**-20))

    def log_det(self, x: Array) -> Array:
        """log |dz/dx| = log w_k (b_k - a_k) / phi((z - c_k) / w_k)."""
        k = _cell(x, self.edges)
        a, b, centre, width = (part[k] for part in self._heaps())
        y = (self.forward(x) - centre) / width
        return np.asarray(np.log(width * (b - a)) + 0.5 * y**2 + HALF_LOG_TWO_PI)

    @property
    def spread(self) -> float:
        """The standard deviation within a heap, over all of them."""
        return float(np.sqrt(np.diff(self.edges) @ self._heaps()[-1] ** 2))

    def _heaps(self) -> tuple[Array, Array, Array, Array]:
        """a, b, c and w of each, (K,)."""
        from scipy.special import ndtr, ndtri

        low, high = ndtri(self.edges[:-1]), ndtri(self.edges[1:])
        middle = np.zeros(len(low))
        outer = np.isinf(low) | np.isinf(high)
        middle[outer] = ndtri((self.edges[:-1] + self.edges[1:]) / 2)[outer]
        middle[~outer] = (low[~outer] + high[~outer]) / 2
        width = 2 * self.width * np.minimum(middle - low, high - middle)
        return ndtr((low - middle) / width), ndtr((high - middle) / width), middle, width


@dataclass(frozen=True)
class Quantiles:
    """z = Phi^-1(F(x)), where F rises along straight lines through (knots, edges); beyond them z goes on straight.

    `knots` and `edges` (K+1,) rise, these within 0 to 1; where they begin at 0, so does the interval. `slope` is dz/dx
    beyond the knots.
    """

    knots: Array
    edges: Array
    slope: float

    @classmethod
    def of(cls, k: NDArray[np.integer], *, bounded: bool = False, count: int | None = None) -> "Quantiles":
        """Of whole numbers k (n,) that came up, each filling what is from k to k + 1.

        What lies between them is given as many rows as numbers have come up once, which is how often a new one comes
        (Good 1953), but half a row each at most; half a row each is for the tails.

        Args:
            k: the numbers.
            bounded: there are none below 0, and so no tail.
            count: there are none from here on.
        """
        seen, counts = np.unique(k, return_counts=True)
        starts = np.union1d(np.union1d(seen, seen + 1), [0] * bounded + [count] * (count is not None)).astype(np.int64)
        rows = np.zeros(len(starts) - 1)
        rows[np.searchsorted(starts, seen)] = counts
        between = rows == 0
        rows[between] = min(0.5, max((counts == 1).sum(), 0.5) / max(between.sum(), 1))
        edges = (0.0 if bounded else 0.5) + np.concatenate([[0.0], np.cumsum(rows)])
        whole = edges[-1] + (0.5 if count is None else 0.0)
        return cls(starts.astype(np.float64), edges / whole, 1 / deviation(np.asarray(k, np.float64)))

    @classmethod
    def flat(cls, x: Array, width: float, least: float | None = None) -> "Quantiles":
        """As if x (n,), each in the middle of so wide a cell, came from a uniform law; `least`: where the tail ends."""
        low, high, tail = float(x.min()) - width / 2, float(x.max()) + width / 2, 0.5 / (len(x) + 1)
        knots, edges = [low, high], [tail, 1 - tail]
        if least is not None:
            knots, edges = ([least, *knots], [0.0, *edges]) if low > least else (knots, [0.0, 1 - tail])
        return cls(np.array(knots), np.array(edges), 1 / deviation(x))

    def forward(self, x: Array) -> Array:
        """x -> z."""
        from scipy.special import ndtri

        inside = np.clip(x, self.knots[0], self.knots[-1])
        i = self._piece(inside)
        share = (inside - self.knots[i]) / (self.knots[i + 1] - self.knots[i])
        return np.asarray(
            ndtri(self.edges[i] + share * (self.edges[i + 1] - self.edges[i])) + self.slope * (x - inside)
        )

    def inverse(self, z: Array) -> Array:
        """z -> x."""
        from scipy.special import ndtr, ndtri

        first, last = ndtri(self.edges[0]), ndtri(self.edges[-1])
        inside = np.clip(z, first, last)
        place = ndtr(inside)
        i = np.clip(np.searchsorted(self.edges, place, side="right") - 1, 0, len(self.edges) - 2)
        share = np.maximum((place - self.edges[i]) / (self.edges[i + 1] - self.edges[i]), 0.0)
        x = self.knots[i] + share * (self.knots[i + 1] - self.knots[i])
        x = np.minimum(x, np.nextafter(self.knots[i + 1], -np.inf))  # which is still in the same cell
        with np.errstate(over="ignore"):
            return np.clip(np.where(z > last, self.knots[-1], x) + (z - inside) / self.slope, -LARGEST, LARGEST)

    def log_det(self, x: Array) -> Array:
        """log |dz/dx|: log of the slope of F over phi(z), or of `slope` beyond the knots."""
        i, z = self._piece(x), self.forward(x)
        rise = np.log(np.diff(self.edges) / np.diff(self.knots))[i] + 0.5 * z**2 + HALF_LOG_TWO_PI
        beyond = (x < self.knots[0]) | (x >= self.knots[-1])
        return np.where(beyond, np.log(self.slope), rise)

    def _piece(self, x: Array) -> NDArray[np.int64]:
        return np.clip(np.searchsorted(self.knots, x, side="right") - 1, 0, len(self.knots) - 2)


def _cell(x: Array, edges: Array) -> NDArray[np.int64]:
    """Which of the cells between K+1 edges holds x, whose whole part says it."""
    return np.clip(np.floor(x).astype(np.int64), 0, len(edges) - 2)


def deviation(x: Array) -> float:
    """The standard deviation of x (n,), not all 0, whose squares need not be floats."""
    largest = np.abs(x).max()
    return float((x / largest).std() * largest)


def _exp(z: Array) -> Array:
    """exp(z), at least the smallest float above 0 and at most the largest."""
    with np.errstate(over="ignore", under="ignore"):
        return np.clip(np.exp(z), SMALLEST, LARGEST)


def fit_asinh(x: Array) -> Asinh:
    """The centre and width after which a normal law fits x (n,) best; x varies.

    Maximises the likelihood of Johnson's S_U with its two other numbers, the mean and scale of z, at their best:
    -log std(z) + mean log |dz/dx|. Of many rows every k-th in order of size will do.
    """
    from scipy.optimize import minimize

    ordered = np.sort(x)
    ordered = ordered[:: max(1, len(x) // 4096)]
    low, middle, high = np.quantile(ordered, [0.25, 0.5, 0.75])
    spread = (high / 2 - low / 2) * 2 or np.abs(ordered / 2 - middle / 2).max()

    def loss(at: Array) -> float:
        curve = Asinh(middle + spread * at[0], spread * float(np.exp(at[1])))
        return float(np.log(curve.forward(ordered).std()) - curve.log_det(ordered).mean())

    found = minimize(
        loss,
        np.zeros(2),
        method="Nelder-Mead",
        bounds=[(-10, 10), (-30, 10)],
        options={"initial_simplex": [[0.0, 0.0], [0.5, 0.0], [0.0, -1.0]], "xatol": 1e-3, "fatol": 1e-6},
    )
    return Asinh(float(middle + spread * found.x[0]), float(spread * np.exp(found.x[1])))
