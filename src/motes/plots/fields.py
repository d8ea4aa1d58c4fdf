"""Plots of log-densities and score fields in the plane.

Log-densities, in nats, are maps that are bright where points are likely. Scores are arrows: the learned field, the
exact one, and their difference. Arrays have x along the first axis and y along the second.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from motes.plots.canvas import BODY, Style, as_style, colour_bar, dress, dress_text, fit, new_axes, new_figure, plane
from motes.rasters import Curve, Limits, time_text

Field = NDArray[np.float64]
Grid = tuple[Curve, Curve]  # coordinates x (nx,) and y (ny,), rising, in one unit


def density_row(
    grid: Grid, maps: Sequence[Field], titles: Sequence[str], *, floor: float = 12.0, style: str | Style = "dark"
) -> Figure:
    """Draw several log-densities on one grid and one scale, so that equal colours mean equal densities.

    The scale goes from the background at `floor` nats below the maximum of all maps to the brightest colour.

    Args:
        grid: coordinates of the grid.
        maps: log-densities in nats, (nx, ny) each; -inf (density 0) is drawn as background.
        titles: title of each map.
        floor: nats below the maximum of all maps, above 0.
        style: 'dark', 'light' or a `Style`.
    """
    look = as_style(style)
    top = max(float(field.max()) for field in maps)
    inches = min(max(12 / len(maps), 2.0), 3.6)
    figure, axes = _make_panels(grid, titles, look, 9 + inches / 2)
    for ax, field in zip(axes, maps, strict=True):
        # -inf gets the background's colour, since colours are interpolated between grid points.
        shown = np.where(np.isfinite(field), field, top - floor)
        mesh = _draw_map(ax, grid, shown, look.density, (top - floor, top))
        ax.set(xlim=grid[0][[0, -1]], ylim=grid[1][[0, -1]])
    colour_bar(axes[-1], mesh, "log p, nats", look)  # one scale, one bar
    fit(axes, inches)
    return figure


def _make_panels(grid: Grid, titles: Sequence[str], look: Style, size: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of titled panels, as wide as the grid with half a step around it."""
    figure = new_figure(5.0, 5.0, look)
    axes = [new_axes(figure, 1, len(titles), i) for i in range(1, 1 + len(titles))]
    x, y = (_cells(axis) for axis in grid)
    for ax, title in zip(axes, titles, strict=True):
        dress(ax, look, size=size)
        plane(ax, look, first=ax is axes[0])
        ax.set(xlim=x, ylim=y)
        ax.set_title(title, pad=6)
    return figure, axes


def _draw_map(ax: Axes, grid: Grid, values: Field, colours: Colormap, ends: tuple[float, float]) -> QuadMesh:
    """Draw a map of values (nx, ny), interpolated between the points of the grid."""
    low, high = ends
    return ax.pcolormesh(
        *grid, values.T, cmap=colours, vmin=low, vmax=high, shading="gouraud", rasterized=True, zorder=1
    )


# --- score fields -----------------------------------------------------------------------------------------------------


_ARROWS = 21  # along the longer side of a panel; the heat map shows every point of the grid
_LONGEST = 1.5  # length of the longest arrow, in distances between arrows
_WARM = 0.62  # share of the density's colours that are used, so that arrows stand out
_LIKELY = 7.0  # no arrows below this many nats under the highest density
_INCHES = 3.5  # width of a panel


def score_fields(
    grid: Grid, learned: Field, exact: Field, log_p: Field, *, heading: str = "", style: str | Style = "dark"
) -> Figure:
    """Draw a learned score field, the exact one and their difference side by side, on the same axes.

    Scores vary over orders of magnitude, so the length of an arrow is proportional to the square root of the score.
    All panels share one scale, stated below them. Behind the difference, a heat map shows its length on a linear
    scale: |learned - exact|, divided by the root mean square of |exact|, averaged over the density. Arrows and heat map
    are drawn only where points are likely.

    Args:
        grid: coordinates of the grid. About 20 arrows are drawn along its longer side.
        learned, exact: scores, in 1 / the unit of the grid, each of shape (nx, ny, 2).
        log_p: the log-density of the points in nats, shape (nx, ny), drawn under both fields.
        heading: title of the figure, such as `time_heading` for the time of both fields.
        style: 'dark', 'light' or a `Style`.
    """
    look = as_style(style)
    depth = log_p - log_p.max()
    likely, weight = depth >= -_LIKELY, np.exp(depth)
    rms = float(np.sqrt(np.average((exact**2).sum(axis=-1), weights=weight)))
    box = _cells(grid[0]), _cells(grid[1])
    places = _choose_places(grid, likely, box)
    longest = max(float(np.linalg.norm(field[likely], axis=-1).max()) for field in (learned, exact))
    fields = {"learned score": learned, "exact score": exact, "difference": learned - exact}
    figure, axes = _make_panels(grid, [*fields], look, BODY)
    # Fade out over the last nat, since a sharp end would look like a shape in the data.
    share = np.clip(depth + _LIKELY, 0.0, 1.0) * np.linalg.norm(fields["difference"], axis=-1) / rms
    under = np.maximum(depth, -_LIKELY) / _LIKELY + 1
    for ax, field, values in zip(axes, fields.values(), (under, under, share), strict=True):
        top = 1.0 if values is under else max(float(share.max()), 1e-12)  # for equal fields, an empty map
        heat = _draw_heat_map(ax, grid, values, top, look)
        _draw_arrows(ax, grid, field, places, longest, box, look)
    colour_bar(axes[-1], heat, "|difference| / rms of |exact|", look)
    small = f"arrows: length ∝ √|score|, one scale for all panels; the largest |score| is {longest:.3g}"
    dress_text(figure.supxlabel(small), look.muted, BODY - 2)
    if heading:
        dress_text(figure.suptitle(heading), look.foreground, BODY + 1)
    fit(axes, _INCHES, lines=1 + bool(heading))
    return figure


def _cells(axis: Curve) -> tuple[float, float]:
    """Return the ends of an axis with half a step beyond them, as room for arrows."""
    return float(axis[0] - (axis[1] - axis[0]) / 2), float(axis[-1] + (axis[-1] - axis[-2]) / 2)


def time_heading(t: float, *, steps: int | None, noise: float) -> str:
    """Format a time and the noise level sigma_t/alpha_t; with `steps` T of a discrete schedule, the time is k/T.

    Example:
        >>> from motes.plots.fields import time_heading
        >>> time_heading(0.04, steps=100, noise=0.5).partition(",")[0]
        '$t$ = 4/100'
    """
    text = f"$t$ {_format_equation(t)}" if steps is None else f"$t$ = {time_text(t, steps)}"
    return rf"{text},   $\sigma_t/\alpha_t$ {_format_equation(noise)}"


def _format_equation(value: float) -> str:
    """Return '= 0.37', or '≈ 0.3333' if four digits are not exact."""
    text = f"{value:.4g}"
    # Compare with the precision of float32: 0.1 counts as exact, although its nearest float32 differs.
    return f"{'=' if abs(float(text) - value) <= 1e-7 * abs(value) else '≈'} {text}"


def _choose_places(grid: Grid, likely: NDArray[np.bool_], box: Limits) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return grid indices along x and y at which to draw arrows.

    There is one arrow per cell, at the likely point that is closest to the cell's centre.
    """
    spacing = _spacing(box)
    gaps = [np.abs(axis[:, None] - axis[_thin(axis, spacing)]) for axis in grid]
    a, b = (gap.argmin(axis=1) for gap in gaps)  # the cell of each coordinate
    i, j = np.nonzero(likely)
    away = gaps[0].min(axis=1)[i] ** 2 + gaps[1].min(axis=1)[j] ** 2
    order = np.argsort(away, kind="stable")
    _, nearest = np.unique(a[i[order]] * gaps[1].shape[1] + b[j[order]], return_index=True)
    return i[order][nearest], j[order][nearest]


def _spacing(box: Limits) -> float:
    """Return the distance between arrows."""
    return max(high - low for low, high in box) / _ARROWS


def _draw_arrows(
    ax: Axes,
    grid: Grid,
    field: Field,
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    longest: float,
    box: Limits,
    look: Style,
) -> None:
    """Draw arrows of lengths proportional to the root of |score|; `longest` is the same in every panel."""
    few = field[places]
    size = np.linalg.norm(few, axis=-1, keepdims=True)
    shown = few * (_LONGEST * _spacing(box) / np.sqrt(longest)) / np.sqrt(np.where(size > 0, size, 1.0))
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


def _draw_heat_map(ax: Axes, grid: Grid, values: Field, top: float, look: Style) -> QuadMesh:
    """Draw a heat map from the background's colour at 0 to a warm one at `top`, up to the edges of the panel."""
    wide = tuple(np.concatenate([[low], axis, [high]]) for axis in grid for low, high in [_cells(axis)])
    warm = ListedColormap(look.density(np.linspace(0, _WARM, 256)), name="motes-warm")
    return _draw_map(ax, (wide[0], wide[1]), np.pad(values, 1, mode="edge"), warm, (0, top))
