"""What a shape is drawn from, said exactly: a clean distribution plus isotropic Gaussian noise.

    x = clean + spread * eps,    eps ~ N(0, I)

The clean distribution is uniform on boxes, or a sum over atoms: the centres of blobs, or the nodes and weights of a
quadrature rule along a curve. Between nodes 3/8 of the noise apart the blurred curve's density is that of the sum
within 1e-7 of its largest value (the tests measure it).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from motes.errors import UsageError

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

ORDER = 8  # nodes of Gauss and Legendre in a panel
PANEL = 3.0  # length of a panel of a curve, in units of the noise
FEWEST = 16  # panels of a curve: enough for its own bends, whatever the noise
MOST = 200_000  # nodes of a shape


@dataclass(frozen=True)
class Atoms:
    """`nodes` (m, 2) with `weights` (m,) that sum to 1, blurred by `spread`; `labels` (m,) say whose class each is."""

    nodes: Array
    weights: Array
    spread: float
    labels: Labels

    def __repr__(self) -> str:
        return f"Atoms({len(self.nodes):,} nodes, spread={self.spread:g})"

    def divided(self, scale: float) -> "Atoms":
        """The distribution of x / scale."""
        return replace(self, nodes=self.nodes / scale, spread=self.spread / scale)


@dataclass(frozen=True)
class Boxes:
    """Uniform on boxes with corners `lows`, `highs` (m, 2) and `weights` (m,), blurred by `spread`; labels as above."""

    lows: Array
    highs: Array
    weights: Array
    spread: float
    labels: Labels

    def __repr__(self) -> str:
        return f"Boxes({len(self.lows):,} boxes, spread={self.spread:g})"

    def divided(self, scale: float) -> "Boxes":
        """The distribution of x / scale."""
        return replace(self, lows=self.lows / scale, highs=self.highs / scale, spread=self.spread / scale)


Distribution = Atoms | Boxes


@dataclass(frozen=True)
class Curve:
    """A curve u -> (x, y) for u from `low` to `high`, with the density of u (up to a factor); None is uniform."""

    at: Callable[[Array], Array]
    low: float
    high: float
    density: Callable[[Array], Array] | None = None


def blurred_points(points: Array, spread: float) -> Atoms:
    """Equally likely points (m, 2), each a class of its own."""
    count = len(points)
    return Atoms(points, np.full(count, 1 / count), spread, np.arange(count))


def blurred_curves(curves: Sequence[Curve], spread: float, labels: Sequence[int] | None = None) -> Atoms:
    """Equally likely curves, each a class of its own unless `labels` says otherwise, by quadrature.

    Raises:
        UsageError: no noise, so no density; or so little that more than `MOST` nodes would be needed.
    """
    if spread == 0:
        raise UsageError("a curve without noise has no density: its points fill no area. Ask for noise > 0.")
    tables = [_by_length(curve) for curve in curves]
    counts = [max(FEWEST, int(np.ceil(length[-1] / (PANEL * spread)))) for _, length in tables]
    if ORDER * sum(counts) > MOST:
        least = ORDER * sum(length[-1] for _, length in tables) / (PANEL * MOST)
        raise UsageError(
            f"noise = {spread:g} is too little for a quadrature of {MOST:,} nodes. Ask for noise > {least:.1g}."
        )
    nodes, weights = zip(
        *(_quadrature(curve, *table, count) for curve, table, count in zip(curves, tables, counts, strict=True)),
        strict=True,
    )
    whose = np.arange(len(curves)) if labels is None else np.asarray(labels)
    return Atoms(
        np.concatenate(nodes),
        np.concatenate(weights) / len(curves),
        spread,
        np.repeat(whose, [len(part) for part in nodes]),
    )


def _by_length(curve: Curve) -> tuple[Array, Array]:
    """Many u from end to end, and the length of the curve up to each."""
    u = np.linspace(curve.low, curve.high, 4001)
    return u, np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve.at(u), axis=0), axis=1))])


def _quadrature(curve: Curve, u: Array, length: Array, panels: int) -> tuple[Array, Array]:
    """Nodes (m, 2) and weights (m,) that sum to 1: Gauss and Legendre's rule in each of `panels` of equal length."""
    edges = np.interp(np.linspace(0, length[-1], panels + 1), length, u)
    place, weight = np.polynomial.legendre.leggauss(ORDER)
    half = np.diff(edges)[:, None] / 2
    at = (edges[:-1, None] + half * (1 + place)).ravel()
    weights = (half * weight).ravel()
    if curve.density is not None:
        weights = weights * curve.density(at)
    return curve.at(at), weights / weights.sum()
