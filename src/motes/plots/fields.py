"""Fields on the plane: log-densities as maps of light, and scores.

Densities are bright where points are likely, in nats. Scores are arrows: a learned field, the exact one, and how they
differ.
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

_FLOOR = 12.0  # nats below the maximum: a density of 6e-6 of the highest one


def density_row(
    grid: tuple[ArrayLike, ArrayLike],
    maps: Sequence[ArrayLike] | NDArray[np.floating],
    titles: Sequence[str],
    *,
    floor: float = _FLOOR,
    style: str | Style = "dark",
) -> Figure:
    """Draw several log-densities on one grid and one scale, so that equal colours are equal densities.

    A map goes from the background at `floor` nats below the maximum of all to the brightest colour at the maximum.

    Args:
        grid: coordinates x and y, shapes (nx,) and (ny,), rising; they share a unit, so the aspect is equal.
        maps: log-densities in nats, shape (m, nx, ny); -inf, where the density is 0, is drawn as background.
        titles: what each of them is.
        floor: nats below the maximum of them all, above 0.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: shapes other than these, NaN or +inf, a density that is 0 everywhere.

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
        # A colour for -inf as well, the background's: between grid points colours are mixed.
        shown = np.where(np.isfinite(field), field, top - floor)
        mesh = _shaded(ax, at_x, at_y, shown, look.density, (top - floor, top))
        dress(ax, look, size=9 + inches / 2)
        ax.set(xlim=at_x[[0, -1]], ylim=at_y[[0, -1]])
        plane(ax, look, first=ax is axes[0])
        ax.set_title(title, pad=6)
    colour_bar(axes[-1], mesh, "log p, nats", look)  # one scale, one bar
    fit(axes, inches)
    return figure


def _shaded(ax: Axes, x: Curve, y: Curve, values: Field, colours: Colormap, ends: tuple[float, float]) -> QuadMesh:
    """A map of values (nx, ny), smooth between the points of the grid."""
    low, high = ends
    return ax.pcolormesh(
        x, y, values.T, cmap=colours, vmin=low, vmax=high, shading="gouraud", rasterized=True, zorder=1
    )


# --- score fields -----------------------------------------------------------------------------------------------------


_ARROWS = 21  # along the longer side of a panel; the heat map shows every point of the grid
_LONGEST = 1.5  # length of the longest arrow, in distances between arrows
_WARM = 0.62  # of the density's colours: arrows must stand out from the brightest
_LIKELY = 7.0  # nats below the highest density: where there is less, there are no arrows
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

    Scores vary over orders of magnitude, so an arrow is as long as the square root of what it stands for; the scale is
    the same in all three panels, and the small print gives it. Behind the difference its length is a heat map, not
    compressed: |learned - exact|, divided by the root mean square of |exact| over the grid, or where the density is
    given, over that. Arrows and heat map are then where points are likely, for nobody needs the scores elsewhere.

    Args:
        grid: coordinates x and y, shapes (nx,) and (ny,), rising, in one unit. A fine grid makes a fine heat map;
            of its arrows only about 20 along the longer side are drawn.
        learned, exact: scores, 1 / that unit, each of shape (nx, ny, 2).
        log_p: the log-density of the points in nats, shape (nx, ny), drawn under both fields; None: it is unknown, and
            arrows are everywhere.
        heading: drawn above all, such as `time_heading` of the time of both fields.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: shapes other than these, numbers that are not finite, an exact score of 0 everywhere.

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
        raise ValueError("exact is 0 everywhere; expected a score field, of which the difference can be a share.")
    fields = (ours, true, ours - true)
    places = _places(at_x, at_y, likely, box)
    longest = max(float(np.linalg.norm(field[likely], axis=-1).max()) for field in (ours, true))
    figure = new_figure(5.0, 5.0, look)
    axes = [new_axes(figure, 1, 3, i) for i in (1, 2, 3)]
    for ax, field, title in zip(axes, fields, ("learned score", "exact score", "difference"), strict=True):
        if density is not None and ax is not axes[-1]:
            under = np.maximum(density - density.max(), -_LIKELY) / _LIKELY + 1
            _heat(ax, at_x, at_y, under, 1.0, look)
        _arrows(ax, (at_x, at_y), field, places, longest, box, look)
        dress(ax, look, size=BODY)
        ax.set(xlim=box[0], ylim=box[1])
        plane(ax, look, first=ax is axes[0])
        ax.set_title(title, pad=6)
    # Fading out over the last nat, for a sharp end would look like a shape in the data.
    seen = 1.0 if density is None else np.clip(density - density.max() + _LIKELY, 0.0, 1.0)
    share = seen * np.linalg.norm(fields[-1], axis=-1) / rms
    top = max(float(share.max()), 1e-12)  # of two equal fields the map is empty, not missing
    heat = _heat(axes[-1], at_x, at_y, share, top, look)
    colour_bar(axes[-1], heat, "|difference| / rms of |exact|", look)
    small = f"arrows: length ∝ √|score|, one scale for all panels; the largest |score| is {longest:.3g}"
    above, note = figure.suptitle(heading) if heading else None, figure.supxlabel(small)
    if above is not None:
        dress_text(above, look.foreground, BODY + 1)
    dress_text(note, look.muted, BODY - 2)
    fit(axes, _INCHES, lines=1 + (above is not None))
    return figure


def _cells(axis: Curve) -> tuple[float, float]:
    """The ends of an axis with half a step around them, for the arrows that stand there."""
    return float(axis[0] - (axis[1] - axis[0]) / 2), float(axis[-1] + (axis[-1] - axis[-2]) / 2)


def _as_scores(values: ArrayLike, shape: tuple[int, ...], name: str) -> Field:
    field = as_field(values, shape, name)
    if not np.isfinite(field).all():
        raise ValueError(f"{name} has -infinity in it; expected finite scores.")
    return field


def time_heading(t: float, *, steps: int | None = None, noise: float | None = None) -> str:
    """A time and a noise level as text.

    Args:
        t: 0 (data) to 1 (noise).
        steps: T of a discrete schedule; it then reads t = k/T, k noising steps done.
        noise: sigma_t/alpha_t at that time.

    Raises:
        ValueError: a time that is no step, or numbers below 0 or not finite.

    Example:
        >>> from motes.plots import time_heading
        >>> time_heading(0.04, steps=100)
        '$t$ = 4/100'
    """
    text = f"$t$ {_said(t, 't')}" if steps is None else f"$t$ = {time_text(t, steps)}"
    return text if noise is None else rf"{text},   $\sigma_t/\alpha_t$ {_said(noise, 'noise')}"


def _said(value: float, name: str) -> str:
    """'= 0.37', or '≈ 0.3333' where four digits do not hold it: a title that rounded without a word would lie."""
    if not np.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {value}; expected a finite number of 0 or more.")
    text = f"{value:.4g}"
    # As much as float32 can tell: 0.1 is 0.1, although its nearest float32 is not.
    return f"{'=' if abs(float(text) - value) <= 1e-7 * abs(value) else '≈'} {text}"


def _places(x: Curve, y: Curve, likely: NDArray[np.bool_], box: Limits) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where arrows stand, as numbers along x and along y: about evenly spread, one to a cell, as near to its middle as
    points are likely.
    """
    spacing = max(box[0][1] - box[0][0], box[1][1] - box[1][0]) / _ARROWS
    across, up = (_thinned(axis, spacing) for axis in (x, y))
    gaps = [np.abs(axis[:, None] - axis[middles]) for axis, middles in ((x, across), (y, up))]
    a, b = (gap.argmin(axis=1) for gap in gaps)  # of each coordinate its cell
    i, j = np.nonzero(likely)
    away = gaps[0].min(axis=1)[i] ** 2 + gaps[1].min(axis=1)[j] ** 2
    order = np.argsort(away, kind="stable")
    _, nearest = np.unique(a[i[order]] * len(up) + b[j[order]], return_index=True)
    return i[order][nearest], j[order][nearest]


def _arrows(
    ax: Axes,
    grid: tuple[Curve, Curve],
    field: Field,
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    longest: float,
    box: Limits,
    look: Style,
) -> None:
    """Arrows as long as the root of their |score|, `longest` being the same in every panel."""
    spacing = max(box[0][1] - box[0][0], box[1][1] - box[1][0]) / _ARROWS
    few = field[places]
    size = np.linalg.norm(few, axis=-1, keepdims=True)
    shown = few * (_LONGEST * spacing / np.sqrt(longest)) / np.sqrt(np.where(size > 0, size, 1.0))
    ax.quiver(
        grid[0][places[0]], grid[1][places[1]], shown[:, 0], shown[:, 1],
        angles="xy", scale_units="xy", scale=1, pivot="mid", units="inches", width=0.015, headwidth=3.4, headlength=3.6,
        headaxislength=3.2, minlength=0.5, color=look.foreground, zorder=4,
    )  # fmt: skip


def _thinned(axis: Curve, spacing: float) -> NDArray[np.int64]:
    """The middles of the cells of arrows: every k-th coordinate, about `spacing` apart, as far from either end."""
    step = max(1, round(spacing / float(np.diff(axis).mean())))
    count = max(1, len(axis) // step)
    return (len(axis) - 1 - (count - 1) * step) // 2 + step * np.arange(count)


def _heat(ax: Axes, x: Curve, y: Curve, values: Field, top: float, look: Style) -> QuadMesh:
    """A map from the background's colour at 0 to a warm one at `top`."""
    # Out to the rim of the outermost cells, where the panel ends.
    (left, right), (low, high) = _cells(x), _cells(y)
    x, y = np.concatenate([[left], x, [right]]), np.concatenate([[low], y, [high]])
    warm = ListedColormap(look.density(np.linspace(0, _WARM, 256)), name="motes-warm")
    return _shaded(ax, x, y, np.pad(values, 1, mode="edge"), warm, (0, top))
