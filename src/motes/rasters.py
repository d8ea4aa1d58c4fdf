"""Preparation of arrays for plots: checks, axis limits, times as text, density rasters; and points as text.

Matplotlib is not imported, so that pictures in the terminal do not wait for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points = NDArray[np.float64]
Curve = NDArray[np.float64]
# ((x_low, x_high), (y_low, y_high)), in the data's units.
Limits = tuple[tuple[float, float], tuple[float, float]]
# `Limits`, or (low, high) for both axes.
Box = Limits | tuple[float, float]

INTERVAL = 1.96  # standard errors on each side of a 95 % interval


@dataclass(frozen=True)
class View:
    """Settings that the figures of one model share: axis limits, and the labels of times and axes.

    Attributes:
        limits: (low, high) for both axes, or ((x_low, x_high), (y_low, y_high)); None: limits around the points.
        steps: T of a discrete schedule; times are then shown as t = k/T after k noising steps.
        columns: names of the two columns. Without names, the coordinates share a unit, so the aspect is equal and there
            are no ticks; named columns have different units, so each axis has its own scale.
        note: a note in small print, such as how the points were scaled.

    Example:
        >>> from motes.plots import View, row
        >>> x = motes.make_shape("moons", 200)
        >>> figure = row([x, 2 * x], [0.0, 0.5], view=View((-4, 4), steps=100))
        >>> figure.axes[1].get_title().endswith("t = 50/100")
        True
    """

    limits: Box | None = None
    steps: int | None = None
    columns: tuple[str, str] | None = None
    note: str = ""


_PAD = 0.05  # margin on each side, as a share of the longer side, so that points on the edge are drawn whole
_SMOOTH = 1 / 45  # standard deviation of the density kernel, as a share of the side of the raster
_FENCE = 0.3  # how far the limits may extend beyond the inner range, in inner ranges


def as_points(x: ArrayLike, name: str = "x") -> Points:
    """Return `x` as a float array of shape (n, 2), or raise a ValueError."""
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError(
            f"{name} has shape {points.shape}; expected (n, 2), one point per row. "
            "Select two columns of a wider table, for example x[:, [0, 2]]."
        )
    if len(points) == 0:
        raise ValueError(f"{name} has no points; expected at least one row.")
    bad = int((~np.isfinite(points)).any(axis=1).sum())
    if bad:
        raise ValueError(
            f"{name} has NaN or infinity in {bad} of {len(points)} rows; expected finite numbers. "
            "Remove or fill in these rows first; in samples, it means that the sampler diverged."
        )
    return points


def as_clouds(clouds: Iterable[ArrayLike], times: ArrayLike, name: str) -> tuple[list[Points], NDArray[np.float64]]:
    """Return the clouds, each (n, 2), and one time in [0, 1] for each of them."""
    points = [as_points(x, f"{name}[{i}]") for i, x in enumerate(clouds)]
    at = np.asarray(times, dtype=np.float64)
    if not points:
        raise ValueError(f"{name} is empty; expected at least one cloud of shape (n, 2).")
    if at.shape != (len(points),):
        raise ValueError(f"{name} has {len(points)} clouds, and times of shape {at.shape}; expected one time for each.")
    if not ((at >= 0) & (at <= 1)).all():
        raise ValueError(
            f"the times of {name} run from {at.min():g} to {at.max():g}; expected 0 (data) to 1 (noise). "
            "Divide step numbers by the number of steps."
        )
    return points, at


def as_curves(named: dict[str, ArrayLike]) -> list[Curve]:
    """Check that the arrays are finite, of shape (n,) and equally long, and return them."""
    curves = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}
    first = next(iter(curves))
    for name, curve in curves.items():
        if curve.ndim != 1 or len(curve) == 0 or len(curve) != len(curves[first]):
            raise ValueError(
                f"{name} has shape {curve.shape} and {first} has shape {curves[first].shape}; "
                "expected one value each, both of shape (n,) with n at least 1."
            )
        bad = np.flatnonzero(~np.isfinite(curve))
        if len(bad):
            raise ValueError(
                f"{name} is {curve[bad[0]]} at position {bad[0]}; expected finite numbers. "
                f"To see the curve up to there, pass the first {bad[0]} values."
            )
    return list(curves.values())


def limits_of(*clouds: ArrayLike, robust: float = 0.02, equal: bool = True) -> Limits:
    """Return common axis limits for all `clouds`, so that panels can be compared.

    Args:
        clouds: point clouds, each of shape (n, 2).
        robust: the share of points at each end of an axis that may be outliers, 0 to 0.5. The limits extend towards
            outliers by at most 0.3 of the range of the other points; 0 includes every point.
        equal: whether both sides are equally long, for points whose two coordinates share a unit.

    Returns:
        ((x_low, x_high), (y_low, y_high)).

    Example:
        >>> from motes.plots import limits_of
        >>> (low, high), _ = limits_of([[0.0, 0.0], [1.0, 0.5]], robust=0.0)
        >>> low <= 0.0, high >= 1.0
        (True, True)
    """
    if not clouds:
        raise ValueError("limits_of got no points; expected at least one cloud of shape (n, 2).")
    if not 0 <= robust < 0.5:
        raise ValueError(f"robust is {robust}; expected a share of at least 0 and below 0.5.")
    # (clouds, 2, 2)
    reach = np.array([_fenced_range(as_points(x, f"cloud {i}"), robust) for i, x in enumerate(clouds)])
    low, high = reach[:, 0].min(axis=0), reach[:, 1].max(axis=0)
    side = high - low
    # A constant column or a single point still needs limits that differ.
    side = np.where(side > 1e-9 * np.maximum(abs(low), abs(high)), side, 0.0)
    if equal:
        side = np.full(2, side.max())
    side = np.where(side > 0, side, 1.0) * (1 + 2 * _PAD)
    middle = (low + high) / 2
    (x_low, y_low), (x_high, y_high) = (middle - side / 2).tolist(), (middle + side / 2).tolist()
    return (x_low, x_high), (y_low, y_high)


def _fenced_range(x: Points, robust: float) -> Points:
    """Return the lowest and highest number of each column, shape (2, 2), limited to a fence around the inner points."""
    n = len(x)
    # With fewer than 20 points, none is treated as an outlier: omitting one would be wrong more often than right.
    outliers = 0 if robust == 0 or n < 20 else max(1, int(robust * n))
    columns = np.sort(x, axis=0)
    inner_low, inner_high = columns[outliers], columns[n - 1 - outliers]
    slack = _FENCE * (inner_high - inner_low)
    return np.stack([np.maximum(columns[0], inner_low - slack), np.minimum(columns[-1], inner_high + slack)])


def as_limits(limits: Limits | tuple[float, float]) -> Limits:
    """Return limits for both axes; a single (low, high) applies to both."""
    box = np.asarray(limits, dtype=np.float64)
    if box.shape == (2,):
        box = np.stack([box, box])
    if box.shape != (2, 2) or not np.isfinite(box).all() or not (box[:, 0] < box[:, 1]).all():
        raise ValueError(f"limits are {limits!r}; expected (low, high), or ((x_low, x_high), (y_low, y_high)).")
    (x_low, x_high), (y_low, y_high) = box.tolist()
    return (x_low, x_high), (y_low, y_high)


def time_text(t: float, steps: int | None = None) -> str:
    """Return the time of a cloud as text: '0.37', or '37/100' for a schedule of `steps` = 100 steps.

    The numerator counts completed noising steps, so 0/100 is the data. A time between two steps raises a ValueError,
    because rounding would make a title false.
    """
    if steps is None:
        return f"{t:.3g}".replace("e-0", "e-")
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected the number of noising steps in the schedule, at least 1.")
    step = round(t * steps)
    if abs(t * steps - step) > 1e-3:
        raise ValueError(
            f"t = {t:g} is not a step of a schedule of {steps}; expected a multiple of 1/{steps}. "
            "Leave `steps` out for a schedule in continuous time."
        )
    return f"{step}/{steps}"


def counts(x: Points, limits: Limits, width: int, height: int) -> NDArray[np.float64]:
    """Count the points in each cell of a (height, width) raster over `limits`; row 0 is at the top.

    Points outside are not counted.
    """
    (x_low, x_high), (y_low, y_high) = limits
    # Clip before the cast: an outlier at 1e30 would overflow an integer and might be counted inside.
    across = np.clip(np.floor((x[:, 0] - x_low) * (width / (x_high - x_low))), -1, width).astype(np.int64)
    down = np.clip(np.floor((y_high - x[:, 1]) * (height / (y_high - y_low))), -1, height).astype(np.int64)
    inside = (across >= 0) & (across < width) & (down >= 0) & (down < height)
    cells = down[inside] * width + across[inside]
    return np.bincount(cells, minlength=width * height).reshape(height, width).astype(np.float64)


def fill(limits: Limits, width: float, height: float) -> Limits:
    """Widen `limits` on one axis until a `width` by `height` raster has square cells; the centre is unchanged."""
    (x_low, x_high), (y_low, y_high) = limits
    unit = max((x_high - x_low) / width, (y_high - y_low) / height)
    x_mid, y_mid = (x_low + x_high) / 2, (y_low + y_high) / 2
    across, down = unit * width / 2, unit * height / 2
    return (x_mid - across, x_mid + across), (y_mid - down, y_mid + down)


def bell(sigma: float) -> NDArray[np.float64]:
    """Return a Gaussian kernel with standard deviation `sigma` cells and sum 1, shape (2 r + 1,)."""
    radius = max(1, math.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.asarray(kernel / kernel.sum())


def blur(image: NDArray[np.floating], kernel: NDArray[np.floating]) -> NDArray[np.floating]:
    """Convolve both axes of `image` with a symmetric `kernel`, with zeros beyond the edge. The dtype is kept."""
    from scipy.ndimage import correlate1d  # only with the first picture

    for axis in (0, 1):
        image = correlate1d(image, kernel, axis, mode="constant")
    return image


def density_difference(ours: Points, theirs: Points, limits: Limits, cells: int) -> tuple[NDArray[np.float64], float]:
    """Compute the smoothed density of `ours` minus the density of `theirs`, relative to the maximum of `theirs`.

    Returns:
        The difference (cells, cells), row 0 at the top; and its size by chance: twice its largest standard error if
        both were drawn from one distribution.
    """
    kernel = bell(_SMOOTH * cells)
    parts = [counts(x, limits, cells, cells) / len(x) for x in (ours, theirs)]
    ours_density, theirs_density = (blur(part, kernel) for part in parts)
    top = max(float(theirs_density.max()), 1e-300)
    # The variance of a weighted sum of independent counts, if both sets are drawn from the mean of the two.
    both = (len(ours) * parts[0] + len(theirs) * parts[1]) / (len(ours) + len(theirs))
    variance = blur(both, kernel**2) * (1 / len(ours) + 1 / len(theirs))
    return (ours_density - theirs_density) / top, 2 * float(np.sqrt(variance.max())) / top


# --- histograms -------------------------------------------------------------------------------------------------------

BINS = 30
LONG_BINS = 40  # on an asinh scale
LONG = 20.0  # a range is long if it is at least this multiple of the interquartile range


def histogram_bins(*samples: NDArray[np.float64]) -> tuple[Curve, Curve]:
    """Return edges of bins over the range of all samples, (k + 1,), and their positions on the axis, from 0 to 1.

    If the tails are so long that most rows would be in one bar, the scale is asinh((x - median) / s): linear in the
    centre, logarithmic in the tails.
    """
    both = np.concatenate(samples)
    low, high = float(both.min()), float(both.max())
    if low == high:
        half = max(abs(low), 1.0) / 2
        return np.array([low - half, low + half]), np.array([0.0, 1.0])
    seen = np.unique(both)
    steps = np.diff(seen)
    step = float(steps.min())
    if high / 2 - low / 2 < (BINS + 1) * step / 2 and np.allclose(steps / step, np.rint(steps / step)):
        return _linear_positions(np.arange(low - step / 2, high + step, step))  # a bar for each number
    cuts = np.array([np.quantile(x, [0.25, 0.5, 0.75], method="inverted_cdf") for x in samples])
    core = float(cuts[:, 2].max() - cuts[:, 0].min())
    if high / 2 - low / 2 > LONG * core / 2:
        centre = float(cuts[:, 1].mean())
        away = np.abs(both - centre)
        scale = core or float(np.median(away[away > 0]))
        ends = np.arcsinh((np.array([low, high]) - centre) / scale)
        places = np.linspace(0, 1, LONG_BINS + 1)
        edges = centre + scale * np.sinh(ends[0] + places * (ends[1] - ends[0]))
        edges[0], edges[-1] = low, high
        return edges, places
    if (np.rint(seen) == seen).all():  # the same number of whole numbers in each bin
        step = float(np.ceil((high - low + 1) / BINS))
        return _linear_positions(np.arange(low - 0.5, high + step, step))
    return _linear_positions(np.linspace(low, high, BINS + 1))


def _linear_positions(edges: Curve) -> tuple[Curve, Curve]:
    return edges, (edges - edges[0]) / (edges[-1] - edges[0])


def is_even(edges: Curve, places: Curve) -> bool:
    """Return whether positions are a linear function of the edges, which may be near the largest floats."""
    return bool(np.allclose(places, (edges / 2 - edges[0] / 2) / (edges[-1] / 2 - edges[0] / 2), atol=1e-6))


def format_days(seconds: Curve) -> list[str]:
    """Return the days, such as 2026-11-30, of moments in seconds since 1970."""
    days: list[str] = np.rint(seconds * 1e6).astype("M8[us]").astype("M8[D]").astype(str).tolist()
    return days


def ticks_of_dates(ends: tuple[float, float], edges: Curve, places: Curve, second: float) -> list[tuple[float, str]]:
    """Return positions and texts of the ticks of an axis of dates: the first day, the last one, and one between them.

    Args:
        ends: the first and the last moment of the samples, which are up to half a bin within the edges.
        edges, places: the bins and their positions from `histogram_bins`.
        second: a second, in the unit of the edges.
    """
    first, last = np.interp(ends, edges, places)
    positions = np.linspace(first, last, 3)
    moments = np.interp(positions, places, edges) / second
    moments[[0, 2]] = np.array(ends) / second  # the days of samples to the bit
    days = format_days(moments)
    return [(at, day) for i, (at, day) in enumerate(zip(positions.tolist(), days, strict=True)) if day not in days[:i]]


def ticks_of_long_range(edges: Curve, places: Curve, letters: float) -> list[tuple[float, str]]:
    """Return position and text of ticks: both ends, 0 and powers of ten, the largest first, as far as there is room.

    `letters` is the number of characters that fit along the axis.
    """
    powers = 10.0 ** np.arange(-12, 301)
    rounds = np.concatenate([-powers[::-1], [0.0], powers])
    rounds = rounds[(rounds > edges[0]) & (rounds < edges[-1])]
    room = lambda text: (len(text) + 1) / letters
    chosen = [(at, f"{edge:.3g}") for at, edge in ((0.0, edges[0]), (1.0, edges[-1]))]
    taken = [(0.0, room(chosen[0][1])), (1 - room(chosen[1][1]), 1.0)]  # the texts at the ends extend inwards
    for value in rounds[np.argsort(-np.abs(rounds), kind="stable")].tolist():
        at, text = float(np.interp(value, edges, places)), f"{value:g}"
        left, right = at - room(text) / 2, at + room(text) / 2
        if all(left > last or right < first for first, last in taken):
            chosen.append((at, text))
            taken.append((left, right))
    return chosen


# --- points as text ---------------------------------------------------------------------------------------------------

_BLANK = 0x2800
# The bit of each dot in a braille character, by row and column; the fourth row was added to the encoding later.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_SHARE = 0.3  # minimum density of a dot, relative to the 90 % quantile of the density


def braille(x: ArrayLike, *, width: int = 24, height: int = 12) -> str:
    """Draw points as `height` lines of `width` braille characters.

    The aspect is equal if a terminal's characters are twice as tall as wide, as most are. A dot is set only where
    points are dense, so that 10,000 points show their shape and not the outline of their noise.

    Args:
        x: points, shape (n, 2).
        width, height: in characters, at least 1.

    Example:
        >>> from motes.rasters import braille
        >>> print(braille(motes.make_shape("rings", 10_000), width=12, height=6))
        ⠀⠀⢀⡠⠤⠒⠲⠤⣄⡀⠀⠀
        ⠀⡰⢋⡴⣫⣭⣭⣑⢦⡑⣆⠀
        ⢠⠃⡟⣾⣿⡿⢷⣿⣧⢳⢸⡀
        ⠸⡇⣧⢿⣿⣷⣾⣻⡟⡼⢸⠃
        ⠀⠱⣌⠳⣭⣛⣛⡭⠞⣡⠏⠀
        ⠀⠀⠈⠙⠲⠲⠶⠒⠋⠀⠀⠀
    """
    points = as_points(x)
    if width < 1 or height < 1:
        raise ValueError(f"width is {width} and height is {height}; expected at least one character each.")
    columns, rows = 2 * width, 4 * height
    view = fill(limits_of(points), columns, rows)
    dots = _choose_dots(counts(points, view, columns, rows))
    cells = dots.reshape(height, 4, width, 2).transpose(0, 2, 1, 3)  # (height, width, 4, 2)
    codes = _BLANK + (cells * _BITS).sum(axis=(2, 3))
    return "\n".join("".join(map(chr, line)) for line in codes.tolist())


def _choose_dots(hits: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Choose the dots to set: with few points, all dots with a point; with many points, the dense dots."""
    taken = hits[hits > 0]
    if not len(taken):
        return np.zeros(hits.shape, dtype=np.bool_)
    smooth = blur(hits, bell(0.5))  # otherwise, chance would leave holes in a uniform density
    dense = float(np.quantile(smooth[hits > 0], 0.9))
    # Below one point per dot there is no threshold: the fewer the points, the more each of them matters.
    threshold = _SHARE * dense * min(1.0, max(0.0, (taken.mean() - 1) / 2))
    return np.asarray((hits > 0) & (smooth >= threshold))
