"""Plots of log-densities and score fields in the plane.

Log-densities, in nats, are maps that are bright where points are likely. Scores are arrows: the learned field, the
exact one, and their difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from motes.plots.canvas import BODY, Style, as_style, colour_bar, dress, dress_text, fit, new_axes, new_figure, plane
from motes.rasters import Curve, Limits, as_field, as_grid, time_text

Field = NDArray[np.float64]

# --- log-densities ----------------------------------------------------------------------------------------------------

_FLOOR = 12.0  # nats below the maximum: 6e-6 times the highest density


def density_row(
    grid: tuple[ArrayLike, ArrayLike],
    maps: Sequence[ArrayLike] | NDArray[np.floating],
    titles: Sequence[str],
    *,
    floor: float = _FLOOR,
    style: str | Style = "dark",
) -> Figure:
    """Draw several log-densities on one grid and one scale, so that equal colours mean equal densities.

    The scale goes from the background at `floor` nats below the maximum of all maps to the brightest colour.

    Args:
        grid: coordinates x and y, shapes (nx,) and (ny,), rising; they share a unit, so the aspect is equal.
        maps: log-densities in nats, shape (m, nx, ny); -inf (density 0) is drawn as background.
        titles: title of each map.
        floor: nats below the maximum of all maps, above 0.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: for other shapes, NaN or +inf, or a density that is 0 everywhere.

    Example:
        >>> from motes.plots import density_row
        >>> x = y = np.linspace(-3, 3, 32)
        >>> log_p = -(x[:, None] ** 2 + y**2) / 2
        >>> figure = density_row((x, y), [log_p, 2 * log_p], ["wide", "narrow"])
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['wide', 'narrow']
    """
    look = as_style(style)
    at_x, at_y = as_grid(grid)
    if len(maps) == 0 or len(titles) != len(maps):
        raise ValueError(
            f"density_row got {len(maps)} maps and {len(titles)} titles; expected at least one map, a title for each."
        )
    if not (floor > 0 and np.isfinite(floor)):
        raise ValueError(f"floor is {floor}; expected nats below the maximum, above 0 (12 is usual).")
    fields = [as_field(field, (len(at_x), len(at_y)), f"maps[{i}]") for i, field in enumerate(maps)]
    for i, field in enumerate(fields):
        if not np.isfinite(field).any():
            raise ValueError(f"maps[{i}] is -inf everywhere; expected a density above 0 somewhere on the grid.")
    top = max(float(field.max()) for field in fields)
    inches = min(max(12 / len(fields), 2.0), 3.6)
    figure = new_figure(5.0, 5.0, look)
    axes = [new_axes(figure, 1, len(fields), i) for i in range(1, 1 + len(fields))]
    for ax, field, title in zip(axes, fields, titles, strict=True):
        # -inf gets the background's colour, since colours are interpolated between grid points.
        shown = np.where(np.isfinite(field), field, top - floor)
        mesh = _draw_map(ax, at_x, at_y, shown, look.density, (top - floor, top))
        dress(ax, look, size=9 + inches / 2)
        ax.set(xlim=at_x[[0, -1]], ylim=at_y[[0, -1]])
        plane(ax, look, first=ax is axes[0])
        ax.set_title(title, pad=6)
    colour_bar(axes[-1], mesh, "log p, nats", look)  # one scale, one bar
    fit(axes, inches)
    return figure


def _draw_map(ax: Axes, x: Curve, y: Curve, values: Field, colours: Colormap, ends: tuple[float, float]) -> QuadMesh:
    """Draw a map of values (nx, ny), interpolated between the points of the grid."""
    low, high = ends
    return ax.pcolormesh(
        x, y, values.T, cmap=colours, vmin=low, vmax=high, shading="gouraud", rasterized=True, zorder=1
    )


# --- score fields -----------------------------------------------------------------------------------------------------


_ARROWS = 21  # along the longer side of a panel; the heat map shows every point of the grid
_LONGEST = 1.5  # length of the longest arrow, in distances between arrows
_WARM = 0.62  # share of the density's colours that are used, so that arrows stand out
_LIKELY = 7.0  # no arrows below this many nats under the highest density
_INCHES = 3.5  # width of a panel


def score_fields(
    grid: tuple[ArrayLike, ArrayLike],
    learned: ArrayLike,
    exact: ArrayLike,
    *,
    log_p: ArrayLike | None = None,
    heading: str = "",
    style: str | Style = "dark",
) -> Figure:
    """Draw a learned score field, the exact one and their difference side by side, on the same axes.

    Scores vary over orders of magnitude, so the length of an arrow is proportional to the square root of the score.
    All panels share one scale, stated below them. Behind the difference, a heat map shows its length on a linear
    scale: |learned - exact|, divided by the root mean square of |exact|, averaged over the grid, or over the density
    if it is given. With a density, arrows and heat map are drawn only where points are likely.

    Args:
        grid: coordinates x and y, shapes (nx,) and (ny,), rising, in one unit. The heat map has the resolution of the
            grid; about 20 arrows are drawn along the longer side.
        learned, exact: scores, in 1 / that unit, each of shape (nx, ny, 2).
        log_p: the log-density of the points in nats, shape (nx, ny), drawn under both fields. If it is None, arrows are
            drawn everywhere.
        heading: title of the figure, such as `time_heading` for the time of both fields.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: for other shapes, numbers that are not finite, or an exact score of 0 everywhere.

    Example:
        >>> from motes.plots import score_fields
        >>> x = y = np.linspace(-2, 2, 16)
        >>> exact = -np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)  # of N(0, I)
        >>> figure = score_fields((x, y), 0.9 * exact, exact)
        >>> [axes.get_title() for axes in figure.axes[:2]]
        ['learned score', 'exact score']
    """
    look = as_style(style)
    at_x, at_y = as_grid(grid)
    shape = (len(at_x), len(at_y), 2)
    ours, true = _as_scores(learned, shape, "learned"), _as_scores(exact, shape, "exact")
    density = None if log_p is None else as_field(log_p, shape[:2], "log_p")
    weight = np.ones(shape[:2]) if density is None else np.exp(density - density.max())
    likely = weight >= (0.0 if density is None else np.exp(-_LIKELY))
    box = _cells(at_x), _cells(at_y)
    rms = float(np.sqrt(np.average((true**2).sum(axis=-1), weights=weight)))
    if rms == 0:
        raise ValueError(
            "exact is 0 everywhere; expected a score field that is not 0, to which the difference is relative."
        )
    fields = (ours, true, ours - true)
    places = _choose_places(at_x, at_y, likely, box)
    longest = max(float(np.linalg.norm(field[likely], axis=-1).max()) for field in (ours, true))
    figure = new_figure(5.0, 5.0, look)
    axes = [new_axes(figure, 1, 3, i) for i in (1, 2, 3)]
    for ax, field, title in zip(axes, fields, ("learned score", "exact score", "difference"), strict=True):
        if density is not None and ax is not axes[-1]:
            under = np.maximum(density - density.max(), -_LIKELY) / _LIKELY + 1
            _draw_heat_map(ax, at_x, at_y, under, 1.0, look)
        _draw_arrows(ax, (at_x, at_y), field, places, longest, box, look)
        dress(ax, look, size=BODY)
        ax.set(xlim=box[0], ylim=box[1])
        plane(ax, look, first=ax is axes[0])
        ax.set_title(title, pad=6)
    # Fade out over the last nat, since a sharp end would look like a shape in the data.
    seen = 1.0 if density is None else np.clip(density - density.max() + _LIKELY, 0.0, 1.0)
    share = seen * np.linalg.norm(fields[-1], axis=-1) / rms
    top = max(float(share.max()), 1e-12)  # for two equal fields, the map is empty, not missing
    heat = _draw_heat_map(axes[-1], at_x, at_y, share, top, look)
    colour_bar(axes[-1], heat, "|difference| / rms of |exact|", look)
    small = f"arrows: length ∝ √|score|, one scale for all panels; the largest |score| is {longest:.3g}"
    above, note = figure.suptitle(heading) if heading else None, figure.supxlabel(small)
    if above is not None:
        dress_text(above, look.foreground, BODY + 1)
    dress_text(note, look.muted, BODY - 2)
    fit(axes, _INCHES, lines=1 + (above is not None))
    return figure


def _cells(axis: Curve) -> tuple[float, float]:
    """Return the ends of an axis with half a step beyond them, as room for arrows."""
    return float(axis[0] - (axis[1] - axis[0]) / 2), float(axis[-1] + (axis[-1] - axis[-2]) / 2)


def _as_scores(values: ArrayLike, shape: tuple[int, ...], name: str) -> Field:
    field = as_field(values, shape, name)
    if not np.isfinite(field).all():
        raise ValueError(f"{name} has -infinity in it; expected finite scores.")
    return field


def time_heading(t: float, *, steps: int | None = None, noise: float | None = None) -> str:
    """Format a time and a noise level.

    Args:
        t: 0 (data) to 1 (noise).
        steps: T of a discrete schedule; the time is then written as t = k/T after k noising steps.
        noise: sigma_t/alpha_t at that time.

    Raises:
        ValueError: if the time is not a step, or for numbers below 0 or not finite.

    Example:
        >>> from motes.plots import time_heading
        >>> time_heading(0.04, steps=100)
        '$t$ = 4/100'
    """
    text = f"$t$ {_format_equation(t, 't')}" if steps is None else f"$t$ = {time_text(t, steps)}"
    return text if noise is None else rf"{text},   $\sigma_t/\alpha_t$ {_format_equation(noise, 'noise')}"


def _format_equation(value: float, name: str) -> str:
    """Return '= 0.37', or '≈ 0.3333' if four digits are not exact."""
    if not np.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {value}; expected a finite number of 0 or more.")
    text = f"{value:.4g}"
    # Compare with the precision of float32: 0.1 counts as exact, although its nearest float32 differs.
    return f"{'=' if abs(float(text) - value) <= 1e-7 * abs(value) else '≈'} {text}"


def _choose_places(
    x: Curve, y: Curve, likely: NDArray[np.bool_], box: Limits
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return grid indices along x and y at which to draw arrows.

    There is one arrow per cell, at the likely point that is closest to the cell's centre.
    """
    spacing = max(box[0][1] - box[0][0], box[1][1] - box[1][0]) / _ARROWS
    across, up = (_thin(axis, spacing) for axis in (x, y))
    gaps = [np.abs(axis[:, None] - axis[middles]) for axis, middles in ((x, across), (y, up))]
    a, b = (gap.argmin(axis=1) for gap in gaps)  # the cell of each coordinate
    i, j = np.nonzero(likely)
    away = gaps[0].min(axis=1)[i] ** 2 + gaps[1].min(axis=1)[j] ** 2
    order = np.argsort(away, kind="stable")
    _, nearest = np.unique(a[i[order]] * len(up) + b[j[order]], return_index=True)
    return i[order][nearest], j[order][nearest]


def _draw_arrows(
    ax: Axes,
    grid: tuple[Curve, Curve],
    field: Field,
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    longest: float,
    box: Limits,
    look: Style,
) -> None:
    """Draw arrows of lengths proportional to the root of |score|; `longest` is the same in every panel."""
    spacing = max(box[0][1] - box[0][0], box[1][1] - box[1][0]) / _ARROWS
    few = field[places]
    size = np.linalg.norm(few, axis=-1, keepdims=True)
    shown = few * (_LONGEST * spacing / np.sqrt(longest)) / np.sqrt(np.where(size > 0, size, 1.0))
    ax.quiver(
        grid[0][places[0]], grid[1][places[1]], shown[:, 0], shown[:, 1],
        angles="xy", scale_units="xy", scale=1, pivot="mid", units="inches", width=0.015, headwidth=3.4, headlength=3.6,
        headaxislength=3.2, minlength=0.5, color=look.foreground, zorder=4,
    )  # fmt: skip


def _thin(axis: Curve, spacing: float) -> NDArray[np.int64]:
    """Return the centres of the arrows' cells: every k-th coordinate, about `spacing` apart, centred on the axis."""
    step = max(1, round(spacing / float(np.diff(axis).mean())))
    count = max(1, len(axis) // step)
    return (len(axis) - 1 - (count - 1) * step) // 2 + step * np.arange(count)


def _draw_heat_map(ax: Axes, x: Curve, y: Curve, values: Field, top: float, look: Style) -> QuadMesh:
    """Draw a heat map from the background's colour at 0 to a warm one at `top`."""
    # Extend it to the edges of the outermost cells, where the panel ends.
    (left, right), (low, high) = _cells(x), _cells(y)
    x, y = np.concatenate([[left], x, [right]]), np.concatenate([[low], y, [high]])
    warm = ListedColormap(look.density(np.linspace(0, _WARM, 256)), name="motes-warm")
    return _draw_map(ax, x, y, np.pad(values, 1, mode="edge"), warm, (0, top))
