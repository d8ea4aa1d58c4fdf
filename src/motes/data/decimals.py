"""Real numbers that were rounded to some decimals <-> numbers w that have a density.

    w = 10^places x - first + u,    u ~ U(0, 1),    log p(x) = log p(w) + places log 10

Rounding took what lies within half a unit of the last place, and u stands for it. So the density is one of real numbers
in the column's own units, and new rows have as many decimals as those of the training.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.cells import Reals, Refuse
from motes.data.columns import is_single
from motes.data.frames import Series

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decimals:
    """Real numbers to so many decimals; one with more of them is itself, without noise.

    Attributes:
        places: decimals.
        first: 10^places times the number that w counts from.
        single: whether they are in single precision.
        bounded: whether that is the least there may be.
        count: how many there may be from it on; None: there is no end.
    """

    places: int
    first: int
    single: bool = False
    bounded: bool = False
    count: int | None = None
    noisy = True

    @classmethod
    def of(cls, x: Array, places: int) -> "Decimals":
        """Counted from the least of x (m,)."""
        return cls(places, int(np.rint(x.min() * 10.0**places)), is_single(x))

    def read(self, series: Series, refuse: Refuse) -> NDArray[Any]:
        """The known cells as values, (m,)."""
        x: NDArray[Any] = Reals().read(series, refuse)
        inside = self.nearest(x) == x
        if not inside.all():
            end = "" if self.count is None else f" and at most {self._number(self.count - 1):g}"
            expected = f"a number of at least {self._number(0):g}{end}, as all were in the training"
            raise refuse(int(np.argmin(inside)), expected)
        return x

    def nearest(self, x: NDArray[Any]) -> Array:
        """Of each number the nearest one that there may be."""
        place, most = self._place(x), np.inf if self.count is None else self.count - 1
        least = 0 if self.bounded else -np.inf
        return np.where(place <= least - 0.5, self._number(least), np.where(place >= most + 0.5, self._number(most), x))

    def spread(self, x: NDArray[Any], u: Array) -> tuple[Array, Array]:
        """Values -> w, and log |dw/dx|."""
        k = np.rint(self._place(x))
        rounded = self._equal(self._number(k), x)
        return np.where(rounded, k + u, self._place(x) + 0.5), np.full(len(x), self.places * np.log(10))

    def gather(self, w: Array) -> NDArray[Any]:
        """w -> values."""
        return self._number(np.clip(np.floor(w), 0 if self.bounded else -np.inf, (self.count or np.inf) - 1))

    def between(self, low: Series | None, high: Series | None, refuse: Refuse) -> tuple[float, float]:
        """The interval of w that the numbers from low to high fill, both included; None: there is no such end."""
        ends = [None if end is None else Reals().read(end, refuse) for end in (low, high)]
        first, last = (None if end is None else float(self._place(end)[0]) for end in ends)
        slack = 1e-6  # of rounding in 10^places x
        a = -np.inf if first is None else float(np.ceil(first - slack))
        b = np.inf if last is None else float(np.floor(last + slack)) + 1
        if (self.bounded and b <= 0) or a >= min(b, self.count or np.inf):
            number = f"a number of {self.places} decimals"
            raise refuse(0, number if low is high else f"an interval with {number} in it")
        return -np.inf if self.bounded and a <= 0 else a, np.inf if b >= (self.count or np.inf) else b

    def plain(self, x: NDArray[Any]) -> NDArray[Any]:
        """What comes back of the values that `read` gave: themselves."""
        return x

    @property
    def about(self) -> str:
        """In words, what becomes of the cells."""
        return f"{self.places} decimal{'s' if self.places > 1 else ''} plus noise"

    def _place(self, x: NDArray[Any]) -> Array:
        return np.asarray(x * 10.0**self.places - self.first, np.float64)

    def _number(self, k: Any) -> Any:
        return (k + self.first) / 10.0**self.places

    def _equal(self, a: Array, b: Array) -> NDArray[np.bool_]:
        return (a.astype(np.float32) == b.astype(np.float32)) if self.single else a == b
