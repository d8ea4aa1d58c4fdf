"""Lines around the smallest regions that hold shares of a distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from motes.figures._arrays import Curve

Field = NDArray[np.float64]

LINES: tuple[tuple[float, tuple[float, ...]] | Literal["solid"], ...] = (
    "solid",
    (0, (4, 2)),
    (0, (1, 1.5)),
)  # of the contours, from the innermost out
CELLS = 64  # along each side, in which points are counted
NARROWER = 0.45  # times the width of the kernel that suits a normal distribution, since there may be several modes
LEAST = 0.7  # width of the kernel, in cells
QUARTER = 0.6373  # of a standard deviation: the shortest interval that holds a quarter of a normal distribution


def levels_of(x: Curve, y: Curve, log_p: Field, shares: Sequence[float]) -> list[float]:
    """The log-density (nx, ny) at the rim of the smallest region that holds each share of the mass on the grid."""
    cells = np.outer(np.gradient(x), np.gradient(y)).ravel()
    log_p = log_p.ravel()
    order = np.argsort(-log_p)
    mass = np.cumsum(np.exp(log_p[order] - log_p.max()) * cells[order])
    rims = log_p[order[np.searchsorted(mass, np.asarray(shares) * mass[-1])]]
    return (rims - 1e-6).tolist()  # just below: where the density is flat, its rim is the edge of the flat


def as_shares(contours: Sequence[float]) -> list[float]:
    """The shares in rising order.

    Raises:
        ValueError: too many, or one that is not between 0 and 1.
    """
    shares = sorted(float(share) for share in contours)
    if len(shares) > len(LINES) or not all(0 < share < 1 for share in shares):
        raise ValueError(
            f"contours are {tuple(contours)}; expected at most {len(LINES)} shares of the mass, between 0 and 1."
        )
    return shares


def legend_of(shares: Sequence[float]) -> str:
    """Say what the contours are."""
    *others, last = (f"{100 * share:g} %" for share in shares)
    names = f"{', '.join(others)} and {last}" if others else last
    return f"contour{'s' if others else ''} of {names} of the mass"


def smoothed(x: NDArray[np.float64], y: NDArray[np.float64], limits: Sequence[tuple[float, float]]) -> Field:
    """The log-density of points with coordinates x and y (n,), but for a constant: counts, smoothed by a normal kernel.

    On `CELLS` by `CELLS` cells between the `limits` of x and of y.
    """
    from scipy.ndimage import gaussian_filter

    counts, *_ = np.histogram2d(x, y, CELLS, limits)
    width = [
        NARROWER * len(x) ** (-1 / 6) * _scale(values) / (high - low) * CELLS
        for values, (low, high) in zip((x, y), limits, strict=True)
    ]
    dense = gaussian_filter(counts, np.maximum(width, LEAST), mode="constant")
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(dense))


def _scale(values: NDArray[np.float64]) -> float:
    """The standard deviation of normal values, and where there are several modes about that of the narrowest one.

    By the shortest interval that holds a quarter of them.
    """
    ordered = np.sort(values)
    span = len(ordered) // 4
    return float((ordered[span:] - ordered[: len(ordered) - span]).min()) / QUARTER
