"""The cells of a column <-> numbers w, which a bijection can take.

    w = x for a real number,    w = k + u for cell number k of a discrete column,    u ~ U(0, 1)

A real number that many rows hold at the end of its interval, such as 0, is a discrete value too: it is spread over a
sliver beyond the end, and everything in the sliver decodes to it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.frames import DAY, FIRST, LAST, SAID, Label, Series, is_finer, moment_of
from motes.errors import DataError

Array = NDArray[np.float64]
Refuse = Callable[[int, str], DataError]  # the place of a bad cell among those that are known; what was expected

WHOLE = 2**62  # as far as whole numbers go
UNITS = ((DAY, "day"), (3_600_000_000, "hour"), (60_000_000, "minute"), (1_000_000, "second"), (1000, "millisecond"))


@dataclass(frozen=True)
class Reals:
    """Real numbers from `low` to `high`.

    An end belongs to them where the sliver beyond it, of width `below` or `above`, is there.
    """

    low: float = -np.inf
    high: float = np.inf
    below: float = 0.0
    above: float = 0.0

    @property
    def noisy(self) -> bool:
        """Whether u is used at all."""
        return self.below > 0 or self.above > 0

    def read(self, series: Series, refuse: Refuse) -> NDArray[Any]:
        """The known cells as values, (m,)."""
        x = _numbers(series, refuse).astype(np.float64, copy=False)
        inside = ((x > self.low) | ((x == self.low) & (self.below > 0))) & (
            (x < self.high) | ((x == self.high) & (self.above > 0))
        )
        if not inside.all():
            raise refuse(int(np.argmin(inside)), f"a number {self._said()}")
        return x

    def spread(self, x: NDArray[Any], u: Array) -> tuple[Array, Array]:
        """Values -> w, and the log of how wide the sliver is in which each was placed (0 where in none)."""
        if not self.noisy:
            return x, np.zeros_like(x)
        at_low, at_high = (x == self.low) & (self.below > 0), (x == self.high) & (self.above > 0)
        w = np.where(at_low, x - self.below * u, np.where(at_high, x + self.above * u, x))
        wide = np.where(at_low, self.below or 1.0, np.where(at_high, self.above or 1.0, 1.0))
        return w, np.log(wide)

    def gather(self, w: Array) -> NDArray[Any]:
        """w -> values."""
        low = self.low if self.below > 0 else np.nextafter(self.low, np.inf)
        high = self.high if self.above > 0 else np.nextafter(self.high, -np.inf)
        return np.clip(w, low, high)

    def between(self, low: Series | None, high: Series | None, refuse: Refuse) -> tuple[float, float]:
        """The interval of w that the numbers from low to high fill, both included; None: there is no such end."""
        first = -np.inf if low is None else float(_numbers(low, refuse)[0])
        last = np.inf if high is None else float(_numbers(high, refuse)[0])
        if first > self.high or last < self.low:
            raise refuse(0, f"numbers {self._said()}")
        return -np.inf if first <= self.low else first, np.inf if last >= self.high else last

    def plain(self, x: NDArray[Any]) -> NDArray[Any]:
        """What `gather` gives of the values that `read` gave: themselves."""
        return x

    @property
    def about(self) -> str:
        """In words, what becomes of the cells."""
        ends = [f"{end:g}" for end, wide in ((self.low, self.below), (self.high, self.above)) if wide]
        return f"{' and '.join(ends)} apart" if ends else ""

    def _said(self) -> str:
        ends = []
        if np.isfinite(self.low):
            ends.append(f"{'of at least' if self.below > 0 else 'above'} {self.low:g}")
        if np.isfinite(self.high):
            ends.append(f"{'at most' if self.above > 0 else 'below'} {self.high:g}")
        return " and ".join(ends) + ", as all were in the training"


@dataclass(frozen=True)
class Steps:
    """Whole numbers low + k step: k from 0 to count - 1, from 0 on where count is None, any k where `both_ways`."""

    low: int
    step: int
    count: int | None
    both_ways: bool
    dates: bool
    noisy = True

    def read(self, series: Series, refuse: Refuse) -> NDArray[Any]:
        """The known cells as numbers k, (m,) int64."""
        x = (_dates if self.dates else _numbers)(series, refuse)
        odd = np.rint(x) != x
        if odd.any():
            raise refuse(int(odd.argmax()), "a whole number")
        odd = (x > WHOLE) | (x < -WHOLE)
        if odd.any():
            raise refuse(int(odd.argmax()), f"a whole number, in size at most {WHOLE}")
        k, rest = np.divmod(x.astype(np.int64) - self.low, self.step)
        inside = (k >= 0) & (k < (self.count or np.inf)) | self.both_ways
        if not inside.all():
            last = "" if self.count is None else f" to {self.low + self.step * (self.count - 1)}"
            widen = "" if self.count is None else "; set low and high of this column to allow for more"
            raise refuse(int(np.argmin(inside)), f"whole numbers from {self.low}{last}, as in the training{widen}")
        if rest.any():
            raise refuse(int((rest != 0).argmax()), self._stepping())
        return k

    def spread(self, k: NDArray[Any], u: Array) -> tuple[Array, Array]:
        """Numbers k -> w = k + u."""
        return k + u, np.zeros(len(k))

    def gather(self, w: Array) -> NDArray[Any]:
        """w -> low + floor(w) step, int64."""
        first, last = (FIRST, LAST) if self.dates else (-WHOLE, WHOLE)
        least = -((self.low - first) // self.step) if self.both_ways else 0
        most = (last - self.low) // self.step if self.count is None else self.count - 1
        k = np.clip(np.floor(w), float(least), float(most)).astype(np.int64)
        return self.low + self.step * np.clip(k, least, most)  # again, for beyond 2^53 a float of them is rounded

    def between(self, low: Series | None, high: Series | None, refuse: Refuse) -> tuple[float, float]:
        """The interval of w that the whole numbers from low to high fill, both included; None: there is no such end."""
        read = _dates if self.dates else _numbers
        first, last = -np.inf, np.inf
        if low is not None:
            first = float(np.ceil((read(low, refuse)[0] - self.low) / self.step))
        if high is not None:
            last = float(np.floor((read(high, refuse)[0] - self.low) / self.step)) + 1
        if first >= last and not self.dates:
            raise refuse(0, "an interval with a value in it: no whole number lies in it")
        if not self.both_ways:
            first = max(first, 0.0)
        if self.count is not None:
            last = min(last, float(self.count))
        if first >= last:
            raise refuse(0, "an interval with a value of the training in it")
        return first, last

    def plain(self, k: NDArray[Any]) -> NDArray[Any]:
        """What `gather` gives of the numbers k that `read` gave."""
        return self.low + self.step * k

    @property
    def about(self) -> str:
        """In words, what becomes of the cells."""
        return f"steps of {self._unit} plus noise"

    @property
    def _unit(self) -> str:
        return f"a {dict(UNITS).get(self.step, 'microsecond')}" if self.dates else str(self.step)

    def _stepping(self) -> str:
        if self.dates:
            return f"dates in steps of {self._unit}, as in the training"
        return (
            f"a multiple of {self.step}, counted from {self.low}, as all were in the training; "
            "set step = 1 of this column to allow for others"
        )


@dataclass(frozen=True)
class Labels:
    """The labels that training saw, in their order."""

    labels: tuple[Label, ...]
    noisy = True
    about = ""

    def read(self, series: Series, refuse: Refuse) -> NDArray[Any]:
        """The known cells as codes, (m,) int64."""
        if series.type == "date":
            raise refuse(0, self._said())
        index = {label: code for code, label in enumerate(self.labels)}
        if series.type == "label":
            names: tuple[Any, ...] = series.labels
            inverse = series.known
        else:
            found, inverse = np.unique(series.known, return_inverse=True)
            names = tuple(found.tolist())
        table = np.array([index.get(name, -1) for name in names] or [0], np.int64)
        codes = table[inverse]
        if (codes < 0).any():
            raise refuse(int((codes < 0).argmax()), self._said())
        return codes

    def spread(self, codes: NDArray[Any], u: Array) -> tuple[Array, Array]:
        """Codes k -> w = k + u."""
        return codes + u, np.zeros(len(codes))

    def gather(self, w: Array) -> NDArray[Any]:
        """w -> codes."""
        return np.clip(np.floor(w), 0, len(self.labels) - 1).astype(np.int64)

    def between(self, low: Series | None, high: Series | None, refuse: Refuse) -> tuple[float, float]:
        """The interval of w that the labels from low to high fill, both included; None: there is no such end."""
        first = 0.0 if low is None else float(self.read(low, refuse)[0])
        last = len(self.labels) if high is None else float(self.read(high, refuse)[0]) + 1
        if first >= last:
            raise refuse(0, "the first label before the last")
        return first, last

    def plain(self, codes: NDArray[Any]) -> NDArray[Any]:
        """What `gather` gives of the codes that `read` gave: themselves."""
        return codes

    def _said(self) -> str:
        shown = ", ".join(str(label) for label in self.labels[:8])
        more = ", ..." if len(self.labels) > 8 else ""
        return f"one of the {len(self.labels)} labels of the training: {shown}{more}"


def _numbers(series: Series, refuse: Refuse) -> NDArray[Any]:
    if series.type in ("label", "date"):
        raise refuse(0, f"numbers, and this is {SAID[series.type]}")
    return series.known.astype(np.int64) if series.type == "truth" else series.known


def _dates(series: Series, refuse: Refuse) -> NDArray[Any]:
    if series.type == "date":
        return series.known
    if series.type != "label":
        raise refuse(0, f"dates, and this is {SAID[series.type]}")
    codes = series.known
    made = np.zeros(len(series.labels), np.int64)
    for code in np.unique(codes).tolist():
        try:
            moment = moment_of(str(series.labels[code]))
            made[code] = moment.astype("M8[us]").astype(np.int64)
        except ValueError:
            raise refuse(int((codes == code).argmax()), "a date such as 2026-05-17 or 2026-05-17T12:30:00") from None
        if is_finer(moment):
            raise refuse(int((codes == code).argmax()), "a date that is no finer than a microsecond")
    return made[codes]
