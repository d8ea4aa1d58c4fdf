"""Log-densities as maps of light: bright where points are likely, in nats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from motes.figures._arrays import Curve, Points, as_field, as_grid, as_points
from motes.figures._canvas import colour_bar, dress, dress_text, fit, new_axes, new_figure, plane
from motes.figures._contours import LINES, Field, as_shares, legend_of, levels_of
from motes.figures._style import Style, as_style

_FLOOR = 12.0  # nats below the maximum: a density of 6e-6 of the highest one


def density_map(
    grid: tuple[ArrayLike, ArrayLike],
    log_p: ArrayLike,
    *,
    points: ArrayLike | None = None,
    contours: Sequence[float] = (),
    floor: float = _FLOOR,
    title: str | None = None,
    ax: Axes | None = None,
    style: str | Style = "dark",
) -> Axes:
    """Draw a log-density, from the background at `floor` nats below its maximum to the brightest at the maximum.

    Args:
        grid: coordinates x and y, shapes (nx,) and (ny,), rising; they share a unit, so the aspect is equal.
        log_p: in nats, shape (nx, ny); -inf, where the density is 0, is drawn as background.
        points: shape (n, 2), drawn on top as specks; those outside the grid are left out.
        contours: shares of the mass on the grid, each between 0 and 1 and at most 3, such as (0.5, 0.9): a line around
            the smallest region that holds each. The grid must reach as far as the density does.
        floor: nats below the maximum, above 0.
        title: drawn above.
        ax: axes to draw on; they are returned. Without them a new figure is made.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: shapes other than these, NaN or +inf, a density that is 0 everywhere, a share out of range.

    Example:
        >>> from motes.figures import density_map
        >>> x = y = np.linspace(-3, 3, 32)
        >>> log_p = -(x[:, None] ** 2 + y**2) / 2
        >>> density_map((x, y), log_p, contours=(0.5, 0.9), title="N(0, I)").get_title()
        'N(0, I)'
    """
    look = as_style(style)
    at_x, at_y = as_grid(grid)
    field = as_field(log_p, (len(at_x), len(at_y)), "log_p")
    scale = _scale([field], ["log_p"], floor)
    cloud = None if points is None else as_points(points, "points")
    shares = as_shares(contours)
    own = ax is None
    if ax is None:
        ax = new_axes(new_figure(5.0, 5.0, look), 1, 1, 1)
    mesh = _draw(ax, at_x, at_y, field, scale, cloud, shares, look)
    dress(ax, look, size=11)
    plane(ax, look)
    colour_bar(ax, mesh, "log p, nats", look)
    if title is not None:
        ax.set_title(title, pad=8)
    if shares:
        dress_text(ax.set_xlabel(legend_of(shares)), look.muted, 9)
    if own:
        fit([ax], 4.6)
    return ax


def density_row(
    grid: tuple[ArrayLike, ArrayLike],
    maps: Sequence[ArrayLike] | NDArray[np.floating],
    titles: Sequence[str],
    *,
    points: ArrayLike | None = None,
    contours: Sequence[float] = (),
    floor: float = _FLOOR,
    style: str | Style = "dark",
) -> Figure:
    """Draw several log-densities on one grid and one scale, so that equal colours are equal densities.

    Args:
        grid: coordinates x and y, shapes (nx,) and (ny,), rising.
        maps: log-densities in nats, shape (m, nx, ny).
        titles: what each of them is.
        points, contours, style: as for `density_map`, the same points in every panel.
        floor: nats below the maximum of them all, above 0.

    Example:
        >>> from motes.figures import density_row
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
    names = [f"maps[{i}]" for i in range(len(maps))]
    fields = [as_field(field, (len(at_x), len(at_y)), name) for field, name in zip(maps, names, strict=True)]
    scale = _scale(fields, names, floor)
    cloud = None if points is None else as_points(points, "points")
    shares = as_shares(contours)
    inches = min(max(12 / len(fields), 2.0), 3.6)
    figure = new_figure(5.0, 5.0, look)
    axes = [new_axes(figure, 1, len(fields), i) for i in range(1, 1 + len(fields))]
    for ax, field, title in zip(axes, fields, titles, strict=True):
        mesh = _draw(ax, at_x, at_y, field, scale, cloud, shares, look)
        dress(ax, look, size=9 + inches / 2)
        plane(ax, look, first=ax is axes[0])
        ax.set_title(title, pad=6)
    colour_bar(axes[-1], mesh, "log p, nats", look)  # one scale, one bar
    note = figure.supxlabel(legend_of(shares)) if shares else None
    if note:
        dress_text(note, look.muted, 9)
    fit(axes, inches, note=note)
    return figure


def _scale(fields: Sequence[Field], names: Sequence[str], floor: float) -> tuple[float, float]:
    """The log-densities of the background and of the brightest colour."""
    if not (floor > 0 and np.isfinite(floor)):
        raise ValueError(f"floor is {floor}; expected nats below the maximum, above 0 (12 is usual).")
    for field, name in zip(fields, names, strict=True):
        if not np.isfinite(field).any():
            raise ValueError(f"{name} is -inf everywhere; expected a density above 0 somewhere on the grid.")
    top = max(float(field.max()) for field in fields)
    return top - floor, top


def _draw(
    ax: Axes,
    x: Curve,
    y: Curve,
    log_p: Field,
    scale: tuple[float, float],
    points: Points | None,
    shares: Sequence[float],
    look: Style,
) -> QuadMesh:
    mesh = ax.pcolormesh(
        x,
        y,
        # A colour for -inf as well, the background's: between grid points colours are mixed.
        np.where(np.isfinite(log_p), log_p, scale[0]).T,
        cmap=look.density,
        vmin=scale[0],
        vmax=scale[1],
        shading="gouraud",
        rasterized=True,
        zorder=1,
    )
    levels = levels_of(x, y, log_p, shares)
    for level, dashes in zip(levels, LINES, strict=False):
        # Where the density ends at once, halfway between the last point that has one and the first that has none.
        known = np.where(np.isfinite(log_p), log_p, 2 * level - log_p.max())
        ax.contour(x, y, known.T, [level], colors=[look.background], linewidths=1.1, linestyles=[dashes], zorder=2)
    if points is not None:
        size = 30.0 * (100 / len(points)) ** 0.62
        ax.scatter(
            points[:, 0], points[:, 1], s=size, color=look.contrast, alpha=0.7, linewidths=0, rasterized=True, zorder=3
        )
    ax.set(xlim=x[[0, -1]], ylim=y[[0, -1]])
    return mesh
