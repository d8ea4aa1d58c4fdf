"""Encoded entries -> what the network and the densities take of them.

Within a code the first expert spreads its probability evenly over y, from one end of the code to the other. A code that
reaches to infinity ends, for that, where the training rows do; what lies beyond is the second expert's alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.learning.tables._layout import FAR, rank_edges
from motes.learning.tables._links import Linker
from motes.learning.tables._network import Rows
from motes.tables._parts import IMPOSSIBLE, Array, Encoded, Part, Repeats
from motes.tables._schema import Schema
from motes.tables.kinds._lines import Line


@dataclass(frozen=True)
class Scale:
    """The codes of one part on its line.

    Attributes:
        ends: (L+1,), the edges, finite.
        ranks: (L+1,), the share of the training rows below each.
        points: (L,), which codes have no width.
        first, last: whether the first and the last code end there, so that their cells reach to infinity.
        repeats: values within the codes that come again and again.
        upto: (V+1,), the cumulative sum of their shares.
    """

    ends: Array
    ranks: Array
    points: NDArray[np.bool_]
    first: bool
    last: bool
    repeats: Repeats
    upto: Array

    @classmethod
    def of(cls, part: Part, drawn: tuple[float, float] | None) -> "Scale":
        """Of a part with edges, drawn from within `drawn`."""
        assert part.edges is not None
        ends = part.edges.copy()
        first, last = bool(np.isfinite(ends[0])), bool(np.isfinite(ends[-1]))
        if drawn is not None:
            ends[0], ends[-1] = (ends[0] if first else drawn[0]), (ends[-1] if last else drawn[1])
        none = Repeats(np.zeros(len(ends) - 1), np.zeros(0), np.zeros(0))
        repeats = part.repeats or none
        upto = np.append(0.0, np.cumsum(repeats.within))
        return cls(ends, rank_edges(part), np.diff(ends) <= 0, first, last, repeats, upto)

    def rank(self, codes: NDArray[np.integer], y: Array) -> Array:
        """The share of the training rows below y (n,)."""
        width = self.ends[codes + 1] - self.ends[codes]
        with np.errstate(divide="ignore", invalid="ignore"):
            within = np.where(width > 0, (y - self.ends[codes]) / width, 0.5)
        return self.ranks[codes] + np.clip(within, 0.0, 1.0) * (self.ranks[codes + 1] - self.ranks[codes])

    def inner(self, codes: NDArray[np.integer], low: Array, high: Array) -> Array:
        """log of the share of a code, or of the density in it, that low to high (n,) have."""
        a, b = self.ends[codes], self.ends[codes + 1]
        cell, width = high > low, b - a
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(
                cell, (np.minimum(high, b) - np.maximum(low, a)) / width, ((low >= a) & (low <= b)) / width
            )
            share = np.clip(share, 0.0, np.where(cell, 1.0, np.inf))
            if len(self.repeats.y):
                again = self.repeats.again[codes]
                share = again * (self._below(high) - self._below(low)) + (1 - again) * share
            return np.where(width > 0, np.log(share), 0.0)

    def inside(self, low: Any, high: Any) -> Array:
        """The share of each code between low and high, numbers or (n,), as (1, L) or (n, L); 1 of a point."""
        a, b = np.atleast_1d(low)[:, None], np.atleast_1d(high)[:, None]
        width = np.where(self.points, 1.0, np.diff(self.ends))
        share = np.clip((np.minimum(b, self.ends[1:]) - np.maximum(a, self.ends[:-1])) / width, 0.0, 1.0)
        if len(self.repeats.y):
            first, last = (self._below(np.clip(end, self.ends[:-1], self.ends[1:])) for end in (a, b))
            share = self.repeats.again * np.maximum(last - first, 0.0) + (1 - self.repeats.again) * share
        return np.where(self.points, 1.0, share)

    def placed(self, codes: NDArray[np.integer], u: Array, low: Any, high: Any) -> Array:
        """Places (n,) in codes, between low and high, by uniform numbers u (n,)."""
        first, last = np.maximum(self.ends[codes], low), np.minimum(self.ends[codes + 1], high)
        last = np.maximum(last, first)
        if not len(self.repeats.y):
            return first + u * (last - first)
        below, above = self._below(first), self._below(last)
        width = np.maximum(self.ends[codes + 1] - self.ends[codes], 1e-300)
        again = self.repeats.again[codes] * (above - below)
        even = (1 - self.repeats.again[codes]) * (last - first) / width
        share = again / np.maximum(again + even, 1e-300)
        chosen = u < share
        v = np.where(chosen, u / np.maximum(share, 1e-300), (u - share) / np.maximum(1 - share, 1e-300))
        spot = np.searchsorted(self.upto, below + v * (above - below), side="right") - 1
        spot = np.clip(spot, 0, len(self.repeats.y) - 1)
        return np.where(chosen, self.repeats.y[spot], first + v * (last - first))

    def _below(self, y: Array) -> Array:
        """The cumulative share of the repeated values below y (...)."""
        return self.upto[np.searchsorted(self.repeats.y, y)]


@dataclass(frozen=True)
class Reader:
    """What a network takes of the rows of a schema."""

    scales: tuple[Scale | None, ...]
    lines: tuple[Line | None, ...]
    smooth: tuple[bool, ...]
    linker: Linker

    @classmethod
    def of(cls, schema: Schema) -> "Reader":
        """For the parts of a schema."""
        parts = schema.parts
        scales = tuple(
            None if part.edges is None else Scale.of(part, schema.draw_range(j)) for j, part in enumerate(parts)
        )
        lines = tuple(line for kind in schema.kinds for line in kind.lines)
        return cls(scales, lines, tuple(part.smooth for part in parts), Linker.of(schema))

    def read(self, encoded: Encoded) -> Rows:
        """n encoded rows; an entry that is impossible counts as not observed."""
        n, p = encoded.codes.shape
        observed = encoded.observed & (encoded.codes != IMPOSSIBLE)
        codes = np.where(observed, encoded.codes, 0)
        made = {name: np.zeros((n, p), np.float32) for name in ("y", "u", "low", "high", "cell", "inner")}
        alone = np.ones((n, p), bool)
        for j, scale in enumerate(self.scales):
            if scale is None:
                continue
            one = self.entry(j, codes[:, j], encoded.y[:, j], encoded.low[:, j], encoded.high[:, j])
            for name, values in made.items():
                values[:, j] = one[name]
            alone[:, j] = one["alone"]
        holds, could, given = self.linker.read(encoded, observed)
        fields: dict[str, Any] = {"codes": codes, "alone": alone, "observed": observed, **made}
        fields |= {"holds": holds, "could": could, "given": given}
        return Rows(**fields)

    def entry(self, j: int, codes: NDArray[np.integer], y: Array, low: Array, high: Array) -> dict[str, NDArray]:
        """The fields of `Rows` for part j on a line, (n,) each."""
        scale = self.scales[j]
        assert scale is not None
        y, low, high = (np.clip(part, -FAR, FAR) for part in (y, low, high))  # single precision goes no further
        count = len(scale.points)
        place = np.minimum(codes, count - 1)
        alone = (codes >= count) | scale.points[place]
        inner = np.where(alone, 0.0, scale.inner(place, low, high)) if self.smooth[j] else np.zeros(len(codes))
        low = np.where(scale.first & (place == 0) & (low <= scale.ends[0]), -FAR, low)
        high = np.where(scale.last & (place == count - 1) & (high >= scale.ends[-1]), FAR, high)
        return {
            "y": np.where(codes < count, y, 0.0), "u": scale.rank(place, y), "low": low, "high": high,
            "cell": high - low, "inner": inner, "alone": alone,
        }  # fmt: skip

    def settle(self, j: int, codes: NDArray[np.integer], y: Array) -> tuple[NDArray[np.int32], Array, Array]:
        """The value of part j nearest to each place in a code, (n,): its code, its own place, and its rank.

        Codes without a place, such as the one for missing entries, stay as they are.
        """
        line, scale = self.lines[j], self.scales[j]
        if scale is None:
            return codes.astype(np.int32), np.zeros(len(codes)), np.zeros(len(codes))
        count = len(scale.points)
        here = codes < count
        inside = np.minimum(codes, count - 1)
        if line is None:  # ordered labels
            found, places = inside, (scale.ends[inside] + scale.ends[inside + 1]) / 2
        else:
            entries = line.encode(line.decode(inside, y))
            found, places = entries.codes, entries.y
        ranks = scale.rank(found, places)
        return np.where(here, found, codes).astype(np.int32), np.where(here, places, 0.0), ranks

    def code_at(self, j: int, y: Array) -> NDArray[np.int32]:
        """The code in which places (n,) lie."""
        scale = self.scales[j]
        assert scale is not None
        code = np.searchsorted(scale.ends, y, side="right") - 1
        return np.clip(code, 0, len(scale.points) - 1).astype(np.int32)
