"""Real and synthetic points side by side, and where there are too many or too few of the synthetic ones."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike

from motes.figures._arrays import Box, Limits, Points, as_limits, as_points, density_difference, limits_of
from motes.figures._canvas import colour_bar, dress, new_axes, new_figure
from motes.figures._points import Columns, draw_points, frame_points
from motes.figures._style import Style, as_style

CELLS = 80  # of a side of the map
BEYOND_CHANCE = 1.5  # the colour scale spans at least this many times the largest difference expected by chance
PANEL = 3.4  # inches


def comparison(
    real: ArrayLike,
    synthetic: ArrayLike,
    *,
    columns: Columns | None = None,
    limits: Box | None = None,
    style: str | Style = "dark",
) -> Figure:
    """Draw real points, synthetic points, and the difference of their densities, on the same axes.

    Both densities are smoothed histograms. The difference is synthetic minus real, as a share of the highest real
    density; beside its scale stands how large it becomes by chance.

    Args:
        real, synthetic: points, shapes (n, 2) and (m, 2).
        columns: names of the two columns, as for `scatter`.
        limits: the box of all panels, as for `scatter`; by default that of both sets of points.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.figures import comparison
        >>> figure = comparison(motes.make_shape("moons", 500), motes.make_shape("moons", 300, seed=1))
        >>> [axes.get_title() for axes in figure.axes]
        ['500 real points', '300 synthetic points', 'synthetic - real density']
    """
    look = as_style(style)
    theirs, ours = as_points(real, "real"), as_points(synthetic, "synthetic")
    box = limits_of(theirs, ours, equal=columns is None) if limits is None else as_limits(limits)
    figure = new_figure(3 * PANEL + 0.9, PANEL + 0.5, look)
    axes = [new_axes(figure, 1, 3, i) for i in (1, 2, 3)]
    for ax, points, name in zip(axes, (theirs, ours), ("real", "synthetic"), strict=False):
        draw_points(ax, points, None, box, look, PANEL)
        _panel(ax, f"{len(points):,} {name} points", box, columns, look, first=ax is axes[0])
    axes[0].title.set_color(look.real)
    axes[1].title.set_color(look.synthetic)
    drawn, chance = _difference(axes[2], ours, theirs, box, look)
    _panel(axes[2], "synthetic - real density", box, columns, look, first=False)
    colour_bar(axes[2], drawn, f"share of the peak density\n(± {chance:.2g} expected by chance)", look)
    return figure


def _panel(ax: Axes, title: str, box: Limits, columns: Columns | None, look: Style, *, first: bool) -> None:
    dress(ax, look, size=11)
    frame_points(ax, box, columns, look)
    ax.tick_params(labelleft=first)
    if columns is not None:
        ax.set_xlabel(columns[0])
        ax.set_ylabel(columns[1] if first else "")
    ax.set_title(title, pad=6)


def _difference(ax: Axes, ours: Points, theirs: Points, box: Limits, look: Style) -> tuple[AxesImage, float]:
    share, chance = density_difference(ours, theirs, box, CELLS)
    top = max(BEYOND_CHANCE * chance, float(np.abs(share).max()))
    (left, right), (low, high) = box
    image = ax.imshow(
        share,
        extent=(left, right, low, high),
        cmap=_diverging(look),
        vmin=-top,
        vmax=top,
        interpolation="bilinear",
        aspect="auto",
        zorder=1,
    )
    return image, chance


def _diverging(look: Style) -> Colormap:
    """From too few, in the colour of real rows, by the background to too many, in that of synthetic ones."""
    return LinearSegmentedColormap.from_list("motes-difference", [look.real, look.background, look.synthetic], N=255)
