"""Plots of points: one cloud, a row over time, a grid over training, a contact sheet, and real next to synthetic."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from motes import rasters
from motes.plots import canvas

Columns = tuple[str, str]

_CELLS = 96  # cells per side of the raster from which the density around a point is estimated
_SYMBOL = {"forward": "$q(x_t)$", "reverse": r"$p_\theta(x_t)$"}
_LEGEND_ENTRIES = 12  # a legend with more entries is omitted


def scatter(
    x: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    ax: Axes | None = None,
    limits: rasters.Box | None = None,
    title: str | None = None,
    columns: Columns | None = None,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw a cloud of points.

    Args:
        x: points, shape (n, 2). For a wider table, pick two columns and name them in `columns`.
        labels: the class of each point, shape (n,); each class gets a colour and a line in the legend.
        ax: axes to draw on; they are returned. By default, a new figure is created.
        limits: (low, high) for both axes, or ((x_low, x_high), (y_low, y_high)); by default `limits_of(x)`.
        title: title of the axes.
        columns: names of the two columns. Without names, the coordinates are assumed to share a unit, so the aspect is
            equal and no ticks are drawn; with names, each axis has its own scale and ticks.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import scatter
        >>> x, labels = motes.data.make_labelled_shape("moons", 200)
        >>> axes = scatter(x, labels=labels, title="two moons")
        >>> axes.get_title()
        'two moons'
    """
    look = canvas.as_style(style)
    points = rasters.as_points(x)
    classes = None if labels is None else _as_labels(labels, len(points))
    box = rasters.limits_of(points, equal=columns is None) if limits is None else rasters.as_limits(limits)
    ax = canvas.single_axes(look, 5.0, 5.0, ax=ax)
    draw_points(ax, points, classes, box, look, inches=4.5)
    _draw_panel(ax, title, box, columns, look)
    if classes is not None:
        _draw_legend(ax, classes, look)
    return ax


def row(
    clouds: Sequence[ArrayLike] | NDArray[np.floating],
    times: ArrayLike,
    *,
    process: str = "forward",
    view: rasters.View = rasters.View(),
    style: str | canvas.Style = "dark",
) -> Figure:
    """Draw clouds of points side by side, all in the same box, each titled with its time.

    Args:
        clouds: points of each panel, shape (n, 2).
        times: the time t of each cloud, 0 (data) to 1 (noise).
        process: 'forward' titles the panels q(x_t), 'reverse' p_theta(x_t).
        view: box, steps, names of the columns, and footnote.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import row
        >>> x = motes.make_shape("moons", 200)
        >>> figure = row([x, 2 * x, 3 * x], [0.0, 0.5, 1.0])
        >>> len(figure.axes)
        3
    """
    points, at = rasters.as_clouds(clouds, times, "clouds")
    return _draw_table({"": points}, at, process, view, canvas.as_style(style))


def grid(
    rows: Mapping[str, Sequence[ArrayLike] | NDArray[np.floating]],
    times: ArrayLike,
    *,
    process: str = "reverse",
    view: rasters.View = rasters.View(),
    style: str | canvas.Style = "dark",
) -> Figure:
    """Draw one row of clouds per training snapshot, all in the same box, with the times above the first row.

    Args:
        rows: title -> clouds, one for each of `times`, each of shape (n, 2). A title names the snapshot, for example
            'step 4000 (epoch 50)'.
        times: the times t of the columns, shared by all rows, 0 (data) to 1 (noise).
        process, view, style: as for `row`.

    Example:
        >>> from motes.plots import grid
        >>> x = motes.make_shape("moons", 200)
        >>> figure = grid({"step 100": [3 * x, x], "step 200": [2 * x, x]}, [1.0, 0.0])
        >>> len(figure.axes)
        4
    """
    if not rows:
        raise ValueError("grid got no rows; expected at least one title with its clouds.")
    checked = {title: rasters.as_clouds(clouds, times, f"rows[{title!r}]") for title, clouds in rows.items()}
    _, at = next(iter(checked.values()))
    points = {title: clouds for title, (clouds, _) in checked.items()}
    return _draw_table(points, at, process, view, canvas.as_style(style))


def sheet(
    shapes: Mapping[str, ArrayLike | tuple[ArrayLike, ArrayLike]],
    *,
    limits: rasters.Box | None = None,
    style: str | canvas.Style = "dark",
) -> Figure:
    """Draw a contact sheet: one titled panel per shape.

    Args:
        shapes: name -> points of shape (n, 2), or the tuple (points, labels).
        limits: the box of all panels, as for `scatter`; by default, each panel has its own.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import sheet
        >>> figure = sheet({name: motes.make_shape(name, 200) for name in ("moons", "rings")})
        >>> [axes.get_title() for axes in figure.axes]
        ['moons', 'rings']
    """
    if not shapes:
        raise ValueError("sheet got no shapes; expected at least one name with its points.")
    look = canvas.as_style(style)
    across = _choose_width(len(shapes))
    down = math.ceil(len(shapes) / across)
    figure = canvas.new_figure(2.0 * across, 2.25 * down, look)
    for i, (name, shape) in enumerate(shapes.items(), start=1):
        x, labels = shape if isinstance(shape, tuple) else (shape, None)
        points = rasters.as_points(x, name)
        classes = None if labels is None else _as_labels(labels, len(points))
        ax = canvas.new_axes(figure, down, across, i)
        box = rasters.limits_of(points) if limits is None else rasters.as_limits(limits)
        draw_points(ax, points, classes, box, look, inches=2.0)
        _draw_panel(ax, name, box, None, look, size=10)
    return figure


def _choose_width(n: int) -> int:
    """Return how many of `n` panels to put side by side: the sheet is wider than tall, with few empty places."""
    widths = range(math.ceil(math.sqrt(n)), math.ceil(math.sqrt(2.5 * n)) + 1)
    return min((across for across in widths if across <= n), key=lambda across: -n % across)


def _draw_table(
    rows: Mapping[str, Sequence[rasters.Points]],
    times: NDArray[np.float64],
    process: str,
    view: rasters.View,
    look: canvas.Style,
) -> Figure:
    """Draw a table of panels with one box: a titled row for each of `rows`, a column for each of `times`.

    A single row with many times is broken into two lines, so that its panels are not too small.
    """
    if process not in _SYMBOL:
        raise ValueError(f"process is {process!r}; expected one of {', '.join(map(repr, _SYMBOL))}.")
    single = len(rows) == 1
    lines = 2 if single and len(times) > 6 else len(rows)
    across, columns = (math.ceil(len(times) / lines) if single else len(times)), view.columns
    every = [cloud for clouds in rows.values() for cloud in clouds]
    box = rasters.limits_of(*every, equal=columns is None) if view.limits is None else rasters.as_limits(view.limits)
    inches = min(max(15 / across, 1.5), 3.0 if lines == 1 else 2.4)
    size = 9 + inches  # in points: a wide panel has room for a larger title
    titled = lines if single else 1
    scaled = 0.3 if columns is not None or look.axes else 0.0
    named = 0.0 if columns is None else 0.1
    margin = scaled + named + (1.2 if any(rows) else 0.0)
    figure = canvas.new_figure(margin + inches * across, scaled + named + (inches * lines) + 0.5 * titled, look)
    gap = ", " if across <= 6 else "\n"  # side by side if there is room, otherwise in two lines
    for i, (title, clouds) in enumerate(rows.items()):
        for j, (cloud, t) in enumerate(zip(clouds, times.tolist(), strict=True)):
            at = i * across + j
            ax = canvas.new_axes(figure, lines, across, 1 + at)
            draw_points(ax, cloud, None, box, look, inches)
            time = f"{_SYMBOL[process]}{gap}t = {rasters.time_text(t, view.steps)}" if i == 0 else None
            _draw_panel(ax, time, box, columns, look, size=size)
            below = at + across < len(rows) * len(times)
            ax.tick_params(labelleft=at % across == 0, labelbottom=not below)
            ax.set(xlabel="", ylabel="")  # the figure has them
            if j == 0 and title:
                name = title.replace(" (", "\n(") if len(title) > 12 else title  # broken to save width
                ax.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    if columns is not None:
        for text in (figure.supxlabel(columns[0]), figure.supylabel(columns[1])):
            canvas.dress_text(text, look.foreground, size)
    if view.note:
        canvas.footnote(figure, view.note, look)
    return figure


def draw_points(
    ax: Axes,
    x: rasters.Points,
    classes: NDArray[np.str_] | None,
    box: rasters.Limits,
    look: canvas.Style,
    inches: float,
) -> None:
    """Draw points, and their glow if the style has one; `inches` is the side of the panel."""
    n = len(x)
    # Area in square points. The exponent is below 1: more points may cover more of the panel, but not in proportion.
    area = 30.0 * (100 / n) ** 0.62 * (inches / 4.5) ** 1.5
    alpha = float(np.clip(0.95 * (500 / n) ** 0.14, 0.3, 0.95))
    if classes is None:
        crowd = _local_density(x, box)
        colours = look.density(0.5 + 0.5 * crowd)
        order = np.argsort(crowd, kind="stable")  # dense points on top, so that sparse ones do not dim them
        _draw_glow(ax, x, box, look, look.density(0.5)[:3])
    else:
        palette = _palette(classes, look)
        colours = to_rgba_array([palette[name] for name in classes.tolist()])
        # Shuffled: if rows are sorted by class, only the last class would be visible where they overlap.
        order = np.random.default_rng(0).permutation(n)
        for name, colour in palette.items():
            _draw_glow(ax, x[classes == name], box, look, to_rgb(colour))
    across, up = x[order].T
    ax.scatter(across, up, s=area, c=colours[order], alpha=alpha, linewidths=0, rasterized=True, zorder=2, marker="o")


def _local_density(x: rasters.Points, box: rasters.Limits) -> NDArray[np.float64]:
    """Estimate the density around each point, relative to the densest place, from 0 to 1, (n,)."""
    raster = rasters.blur(rasters.counts(x, box, _CELLS, _CELLS), rasters.bell(2.0))
    (x_low, x_high), (y_low, y_high) = box
    across = np.clip((x[:, 0] - x_low) / (x_high - x_low) * _CELLS, 0, _CELLS - 1).astype(np.int64)
    down = np.clip((y_high - x[:, 1]) / (y_high - y_low) * _CELLS, 0, _CELLS - 1).astype(np.int64)
    crowd = raster[down, across]
    return np.asarray(np.sqrt(crowd / max(float(crowd.max()), 1e-12)))


def _draw_glow(ax: Axes, x: rasters.Points, box: rasters.Limits, look: canvas.Style, colour: tuple[float, ...]) -> None:
    """Draw a soft glow under the points."""
    if look.glow == 0:
        return
    light = rasters.blur(rasters.counts(x, box, _CELLS, _CELLS), rasters.bell(4.0))
    image = np.empty((_CELLS, _CELLS, 4))
    image[..., :3] = colour
    # Fade out: a glow that stopped at the edge would show the panel as a box.
    fade = np.minimum(1.0, (_CELLS / 2 - abs(np.arange(_CELLS) - (_CELLS - 1) / 2)) / 8)
    image[..., 3] = 0.4 * look.glow * (light / max(float(light.max()), 1e-12)) ** 0.7 * np.outer(fade, fade)
    # aspect='auto': imshow would otherwise change the aspect of axes that were passed in.
    ax.imshow(image, extent=(*box[0], *box[1]), origin="upper", interpolation="bilinear", aspect="auto", zorder=1)


def _as_labels(labels: ArrayLike, n: int) -> NDArray[np.str_]:
    names = np.asarray(labels)
    if names.shape != (n,):
        raise ValueError(f"labels have shape {names.shape}; expected ({n},), one class for each point.")
    return names.astype(str)


def _palette(classes: NDArray[np.str_], look: canvas.Style) -> dict[str, str]:
    names = sorted(set(classes.tolist()), key=lambda name: (len(name), name))  # so that '10' comes after '9'
    if len(names) <= len(look.classes):
        return dict(zip(names, look.classes, strict=False))
    wheel = mpl.colormaps["turbo"]
    return {name: to_hex(wheel(0.08 + 0.84 * i / (len(names) - 1))) for i, name in enumerate(names)}


def _draw_legend(ax: Axes, classes: NDArray[np.str_], look: canvas.Style) -> None:
    palette = _palette(classes, look)
    if len(palette) > _LEGEND_ENTRIES:
        return
    handles = [
        Line2D([], [], linestyle="", marker="o", markersize=6, markeredgewidth=0, color=colour, label=name)
        for name, colour in palette.items()
    ]
    canvas.add_legend(ax, look, handles=handles, loc="upper left", bbox_to_anchor=(1.0, 1.0), handletextpad=0.2)


# --- real and synthetic points ----------------------------------------------------------------------------------------

CELLS = 80  # cells per side of the map
BEYOND_CHANCE = 1.5  # the colour scale spans at least this many times the largest difference expected by chance
PANEL = 3.4  # inches


def comparison(
    real: ArrayLike,
    synthetic: ArrayLike,
    *,
    columns: Columns | None = None,
    limits: rasters.Box | None = None,
    style: str | canvas.Style = "dark",
) -> Figure:
    """Draw real points, synthetic points and the difference of their densities, on the same axes.

    Both densities are smoothed histograms. The difference is synthetic minus real, relative to the highest real
    density; the colour bar states the difference expected by chance.

    Args:
        real, synthetic: points, shapes (n, 2) and (m, 2).
        columns: names of the two columns, as for `scatter`.
        limits: the box of all panels, as for `scatter`; by default the box of both sets of points.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import comparison
        >>> figure = comparison(motes.make_shape("moons", 500), motes.make_shape("moons", 300, seed=1))
        >>> [axes.get_title() for axes in figure.axes]
        ['500 real points', '300 synthetic points', 'synthetic - real density']
    """
    look = canvas.as_style(style)
    theirs, ours = rasters.as_points(real, "real"), rasters.as_points(synthetic, "synthetic")
    box = rasters.limits_of(theirs, ours, equal=columns is None) if limits is None else rasters.as_limits(limits)
    figure = canvas.new_figure(3 * PANEL + 0.9, PANEL + 0.5, look)
    axes = [canvas.new_axes(figure, 1, 3, i) for i in (1, 2, 3)]
    for ax, points, name in zip(axes, (theirs, ours), ("real", "synthetic"), strict=False):
        draw_points(ax, points, None, box, look, PANEL)
        _draw_panel(ax, f"{len(points):,} {name} points", box, columns, look, first=ax is axes[0])
    axes[0].title.set_color(look.real)
    axes[1].title.set_color(look.synthetic)
    share, chance = rasters.density_difference(ours, theirs, box, CELLS)
    top = max(BEYOND_CHANCE * chance, float(np.abs(share).max()))
    # From too few synthetic points (the colour of real rows) over the background to too many (of synthetic rows).
    ends = [look.real, look.background, look.synthetic]
    colours = LinearSegmentedColormap.from_list("motes-difference", ends, N=255)
    scale: dict[str, Any] = {"cmap": colours, "vmin": -top, "vmax": top}
    drawn = axes[2].imshow(share, extent=(*box[0], *box[1]), interpolation="bilinear", aspect="auto", zorder=1, **scale)
    _draw_panel(axes[2], "synthetic - real density", box, columns, look, first=False)
    canvas.colour_bar(axes[2], drawn, f"share of the peak density\n(± {chance:.2g} expected by chance)", look)
    return figure


def _draw_panel(
    ax: Axes,
    title: str | None,
    box: rasters.Limits,
    columns: Columns | None,
    look: canvas.Style,
    *,
    first: bool = True,
    size: float = 11,
) -> None:
    """Style a panel, its axes and its title; only the `first` of a row has vertical tick labels and a name there."""
    canvas.dress(ax, look, size=size)
    ax.set(xlim=box[0], ylim=box[1])
    if columns is None:
        canvas.plane(ax, look, first=first)
    else:
        ax.set_aspect("auto")
        ax.set_box_aspect(1)
        ax.locator_params(nbins=4)
        ax.tick_params(labelleft=first)
        ax.set(xlabel=columns[0], ylabel=columns[1] if first else "")
    if title is not None:
        ax.set_title(title, pad=6)
