"""Encoded entries -> what the network and the densities take of them.

Within a code the first expert spreads its probability evenly over y, from one end of the code to the other. A code that
reaches to infinity ends, for that, where the training rows do; what lies beyond is the second expert's alone.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.learning.tables.layout import rank_edges
from motes.learning.tables.network import Rows
from motes.tables.kinds.lines import Line
from motes.tables.parts import IMPOSSIBLE, Array, Encoded, Part
from motes.tables.schema import Schema

FAR = 1e4  # standard deviations, where infinity is: an infinite end has no gradient


@dataclass(frozen=True)
class Scale:
    """The codes of one part on its line.

    Attributes:
        ends: (L+1,), the edges, finite.
        ranks: (L+1,), the share of the training rows below each.
        points: (L,), which codes have no width.
        first, last: whether the first and the last code end there, so that their cells reach to infinity.
    """

    ends: Array
    ranks: Array
    points: NDArray[np.bool_]
    first: bool
    last: bool

    @classmethod
    def of(cls, part: Part, drawn: tuple[float, float] | None) -> "Scale":
        """Of a part with edges, drawn from within `drawn`."""
        assert part.edges is not None
        ends = part.edges.copy()
        first, last = bool(np.isfinite(ends[0])), bool(np.isfinite(ends[-1]))
        if drawn is not None:
            ends[0], ends[-1] = (ends[0] if first else drawn[0]), (ends[-1] if last else drawn[1])
        return cls(ends, rank_edges(part), np.diff(ends) <= 0, first, last)

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
            return np.where(width > 0, np.log(np.clip(share, 0.0, np.where(cell, 1.0, np.inf))), 0.0)


@dataclass(frozen=True)
class Reader:
    """What a network takes of the rows of a schema."""

    scales: tuple[Scale | None, ...]
    lines: tuple[Line | None, ...]
    smooth: tuple[bool, ...]

    @classmethod
    def of(cls, schema: Schema) -> "Reader":
        """For the parts of a schema."""
        parts = schema.parts
        scales = tuple(
            None if part.edges is None else Scale.of(part, schema.draw_range(j)) for j, part in enumerate(parts)
        )
        lines = tuple(line for kind in schema.kinds for line in kind.lines)
        return cls(scales, lines, tuple(part.smooth for part in parts))

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
        fields: dict[str, Any] = {"codes": codes, "alone": alone, "observed": observed, **made}
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
