"""Curves, bars and fields: the training loss, a schedule, and the figures of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from motes.plots import canvas
from motes.plots.svg import short
from motes.rasters import INTERVAL, Curve, as_curves, time_text

DASHES = (0, (5, 3))
# Position of the legend: above the axes.
ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 4, "borderaxespad": 0.2}
_WINDOWS = 400  # maximum number of values drawn behind a running mean


def loss_curve(
    steps: ArrayLike,
    loss: ArrayLike,
    *,
    best: float | None = None,
    held_out: ArrayLike | None = None,
    window: int | None = None,
    ax: Axes | None = None,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw the running mean of the loss against the training step, with single values faintly behind it.

    If there are more than 400 values, means over 400 windows are drawn behind it instead. The loss axis is logarithmic
    if the running mean spans more than a factor of 8.

    Args:
        steps: training steps, shape (n,), rising.
        loss: the loss at each step, shape (n,), in any unit.
        best: the theoretical minimum of the loss.
        held_out: steps, and the loss on validation rows at these steps, (2, k).
        window: number of values in the running mean, ending at each step; by default n/250, at least 1.
        ax: axes to draw on; they are returned. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import loss_curve
        >>> loss_curve(np.arange(100), 1 / np.arange(1, 101), best=0.005).get_yscale()
        'log'
    """
    look = canvas.as_style(style)
    ax = canvas.single_axes(look, ax=ax)
    at, values = as_curves({"steps": steps, "loss": loss})
    if (np.diff(at) < 0).any():
        raise ValueError("steps decrease somewhere; expected rising steps. Draw one run at a time, in its own order.")
    n, window = len(values), window or max(1, len(values) // 250)
    mean = np.convolve(values, np.ones(window))[:n] / np.minimum(np.arange(1, n + 1), window)
    behind = values
    if window > 1:
        edges = np.unique(np.linspace(0, n, min(_WINDOWS, n) + 1).round().astype(np.int64))
        behind = np.add.reduceat(values, edges[:-1]) / np.diff(edges)
        ax.plot(at[edges[1:] - 1], behind, color=look.muted, alpha=0.5, linewidth=0.7, zorder=1)
    shown = slice(window // 8, None)  # the first means of few values are noisy
    levels = [mean[shown]]
    ax.plot(at[shown], mean[shown], color=look.foreground, linewidth=1.8, zorder=3, label="training rows")
    if best is not None:
        named, level = f"irreducible loss {best:.3g}", np.array([best, best])
        ax.plot(at[[0, -1]], level, color=look.accent, linewidth=1.4, linestyle=DASHES, zorder=2, label=named)
        levels.append(level)
    if held_out is not None:
        looks = as_curves(dict(zip(("held_out steps", "held_out loss"), np.asarray(held_out), strict=True)))
        ax.plot(*looks, color=look.accent, linewidth=1.4, marker="o", markersize=3.5, zorder=4, label="validation rows")
        levels.append(looks[1])
    _set_loss_axis(ax, np.concatenate(levels), top=float(np.quantile(behind, 0.98)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    canvas.dress(ax, look, size=canvas.BODY)
    covered = round(window * float(at[-1] - at[0]) / max(n - 1, 1))  # steps; a value may stand for several
    ax.set(xlabel="training step", ylabel="loss" if window == 1 else f"loss, mean of {covered:,} steps")
    ax.margins(x=0.01)
    if len(levels) > 1:
        canvas.add_legend(ax, look, **ABOVE)
    return ax


def schedule_curves(
    t: ArrayLike, alpha: ArrayLike, sigma: ArrayLike, *, ax: Axes | None = None, style: str | canvas.Style = "dark"
) -> Axes:
    """Draw alpha_t and sigma_t on the left axis and the log-SNR, in nats, on the right axis, against t.

    Args:
        t: times, shape (n,), 0 (data) to 1 (noise).
        alpha, sigma: x_t = alpha_t x_0 + sigma_t eps, each of shape (n,) and not negative.
        ax: axes to draw on; they are returned, with a twin for the log-SNR. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.points import RectifiedFlow
        >>> from motes.plots import schedule_curves
        >>> t, schedule = np.linspace(0.01, 1, 50), RectifiedFlow()
        >>> axes = schedule_curves(t, schedule.alpha(t), schedule.sigma(t))
        >>> len(axes.get_lines())
        2
    """
    look = canvas.as_style(style)
    ax = canvas.single_axes(look, ax=ax)
    at, signal, noise = as_curves({"t": t, "alpha": alpha, "sigma": sigma})
    if (signal < 0).any() or (noise < 0).any():
        raise ValueError("alpha or sigma is negative somewhere; expected scales of 0 or more.")
    with np.errstate(divide="ignore", invalid="ignore"):
        log_snr = 2 * (np.log(signal) - np.log(noise))
    log_snr[~np.isfinite(log_snr)] = np.nan  # undefined at the ends, without noise or without signal
    right = ax.twinx()
    lines = ax.plot(at, signal, label=r"$\alpha_t$", color=look.foreground, linewidth=2.0, linestyle="-")
    lines += ax.plot(at, noise, label=r"$\sigma_t$", color=look.accent, linewidth=2.0, linestyle="-")
    lines += right.plot(at, log_snr, label="log-SNR", color=look.muted, linewidth=1.5, linestyle=DASHES)
    canvas.dress(ax, look, size=canvas.BODY)
    canvas.dress(right, look, size=canvas.BODY)
    right.patch.set_visible(False)  # otherwise it would hide the axes below it
    right.spines["right"].set(visible=True, color=look.muted, linewidth=0.7)
    ax.set(xlabel=r"$t$  (0 data, 1 noise)", ylabel="scale of signal and noise", ylim=(0, None))
    low, high = np.nan_to_num(np.nanquantile(log_snr, [0.01, 0.99]))  # it diverges at its ends
    room = 0.1 * max(high - low, 1.0)
    right.set_ylim(low - room, high + room)
    right.set_ylabel(r"log-SNR  $\log\,\alpha_t^2/\sigma_t^2$, nats", color=look.muted)
    ax.margins(x=0.01)
    canvas.add_legend(ax, look, handles=lines, **ABOVE)
    return ax


def _set_loss_axis(ax: Axes, shown: Curve, top: float) -> None:
    """Choose scale and limits of the loss axis for the curves `shown`; a linear axis also reaches up to `top`."""
    low, high = float(shown.min()), float(shown.max())
    if low > 0 and high / low > 8:
        ax.set_yscale("log")
        ax.set_ylim(low / 2.5, high * 1.5)
        _set_plain_ticks(ax.yaxis, narrow=high / low < 300)
        return
    spread = max(high - low, 1e-12 + 0.05 * abs(high))
    ax.set_ylim(low - 0.2 * spread, max(high, top) + 0.1 * spread)


def _set_plain_ticks(axis: Any, *, narrow: bool) -> None:
    """Write the ticks of a logarithmic axis as plain numbers, with 2 and 5 times the powers of ten if it is narrow."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


# --- the figures of a diagnosis of points ---------------------------------------------------------------------------

_DEEPEST = 1e-5  # smallest excess on the axis, relative to the highest loss


def excess_curve(
    noise: Curve,
    loss: Curve,
    least: Curve,
    excess: Curve,
    error: Curve,
    *,
    label: str = "irreducible",
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw the loss, its theoretical minimum and the excess against the noise level.

    The loss axis is logarithmic if the curves span more than a factor of 8. Where the loss is below `least`, as for a
    network that memorised its rows, the gap is grey and not an excess.

    Args:
        noise: noise levels sigma_t/alpha_t above 0, shape (m,).
        loss: mean squared error at each level, shape (m,).
        least: the theoretical minimum of the loss, shape (m,).
        excess: the excess, measured on the same rows and noise, shape (m,); values of 0 or less are not drawn.
        error: standard errors of the excess, shape (m,); drawn as a band, the 95 % interval.
        label: name of `least`, for example 'a bound for memorising'.
        style: 'dark', 'light' or a `Style`.
    """
    look = canvas.as_style(style)
    ax = canvas.single_axes(look)
    order = np.argsort(noise, kind="stable")
    at, values, bound, own, spread = (curve[order] for curve in (noise, loss, least, excess, INTERVAL * error))
    ax.plot(at, values, color=look.foreground, linewidth=2.0, zorder=4, label="loss")
    ax.plot(at, bound, color=look.accent, linewidth=1.5, linestyle=DASHES, zorder=5, label=label)
    for where, colour in ((values >= bound, look.accent), (values <= bound, look.muted)):
        ax.fill_between(at, bound, values, where=where, color=colour, interpolate=True, alpha=0.22, linewidth=0)
    middle = np.where(own > 0, own, np.nan)
    ax.plot(at, middle, color=look.accent, linewidth=2.0, zorder=4, label="excess")
    band: dict[str, Any] = {"color": look.accent, "alpha": 0.25, "linewidth": 0, "zorder": 2}
    ax.fill_between(at, middle - spread, middle + spread, label="95 % interval", **band)
    shown = np.concatenate([values, bound, own])
    shown = shown[shown > _DEEPEST * shown.max()]
    _set_loss_axis(ax, shown, top=float(shown.max()))
    edge = (at[-1] / at[0]) ** 0.01
    ax.set_xscale("log")
    ax.set_xlim(at[0] / edge, at[-1] * edge)
    _set_plain_ticks(ax.xaxis, narrow=at[-1] / at[0] < 1000)
    canvas.dress(ax, look, size=canvas.BODY)
    ax.set(xlabel=r"noise level $\sigma_t/\alpha_t$", ylabel="loss")
    canvas.add_legend(ax, look, **ABOVE)
    return ax


_BAR = 0.58  # height of a bar, in rows
_TEXT = 0.45  # room for text after the longest bar, as a share of the axis


def error_split(
    parts: Mapping[str, float],
    reference_value: float,
    error: Mapping[str, float],
    *,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw a waterfall chart of a distance: two real draws, the contribution of each part, and the total.

    Each bar starts where the bar above it ends, so that the last part ends at the total. A negative part, which can
    occur by chance, is hollow and points to the left. Each bar is labelled with its value.

    Args:
        parts: squared sliced W2 of each cause, in variances of the data, in drawing order.
        reference_value: the squared sliced W2 between two samples of the data.
        error: standard errors by the name of a part; whiskers show the 95 % interval.
        style: 'dark', 'light' or a `Style`.
    """
    look = canvas.as_style(style)
    bars = {"two real draws": reference_value, **parts, "total": reference_value + sum(parts.values())}
    ax = canvas.single_axes(look, height=0.9 + 0.42 * len(bars))
    values = np.array([*bars.values()])
    ends = np.append(np.cumsum(values[:-1]), values[-1])
    starts = ends - values
    tips = np.maximum(starts, ends)
    colours = [look.muted, *[look.accent] * len(parts), look.foreground]
    rim = [withStroke(linewidth=3.2, foreground=look.background)]  # keeps a whisker visible on its bar
    whisker: dict[str, Any] = {"color": look.foreground, "linewidth": 1.2, "capsize": 2.5, "path_effects": rim}
    for row, (name, value, colour) in enumerate(zip(bars, values, colours, strict=True)):
        (bar,) = ax.barh(row, value, _BAR, left=starts[row], facecolor=colour, edgecolor=colour, zorder=2)
        if value < 0:
            bar.set(facecolor=look.background, hatch="/////")
        if name in error:
            ax.errorbar(ends[row], row, xerr=INTERVAL * error[name], zorder=4, **whisker)
            tips[row] = max(tips[row], ends[row] + INTERVAL * error[name])
        text, place = _format_signed(value, ".3g"), (tips[row], row)
        written = ax.annotate(text, place, xytext=(7, 0), textcoords="offset points", va="center")
        canvas.dress_text(written, look.foreground, canvas.BODY)
    # Connect the end of each bar with the start of the next.
    rows = np.arange(len(parts) + 1)
    edges = np.stack([rows + _BAR / 2, rows + 1 - _BAR / 2])
    ax.plot(np.tile(ends[:-1], (2, 1)), edges, color=look.muted, linewidth=0.7, zorder=1)
    ax.axvline(0, color=look.muted, linewidth=0.7, zorder=1)
    canvas.dress(ax, look, size=canvas.BODY)
    ax.spines["left"].set_visible(False)
    ax.set_yticks(range(len(bars)), list(bars))
    ax.tick_params(axis="y", length=0, labelsize=canvas.BODY, labelcolor=look.foreground)
    ax.set_ylim(len(bars) - 0.5, -0.5)
    low, high = min(0.0, *starts, *ends), max(tips)
    ax.set_xlim(low - 0.03 * (high - low) * (low < 0), high + _TEXT * (high - low))
    ax.locator_params(axis="x", nbins=6)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _format_signed(value, "g")))
    ax.set_xlabel("squared sliced W2, in variances of the data", loc="right")
    canvas.small_print(ax, "whiskers: 95 % interval", look)
    return ax


def _format_signed(value: float, spec: str) -> str:
    """Format a number with a true minus sign, and zero without sign."""
    text = f"{value:{spec}}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


# --- ranks of true parameters ---------------------------------------------------------------------------------------

_BAND = 1.3581  # critical value of Kolmogorov's test at the level 0.05, times the root of n
_STROKES = ("-", "--", ":")  # line styles when the colours are used up
_NAMES, _HEAD, _LINE = 3, 0.04, 0.065  # names per line of the legend; share of the height of its head and of a line


def rank_curves(
    ranks: Mapping[str, ArrayLike], draws: int, *, ax: Axes | None = None, style: str | canvas.Style = "light"
) -> Axes:
    """Draw the empirical CDF of ranks minus the uniform CDF; it is 0 everywhere if the draws are calibrated.

    The band contains the whole curve of uniform ranks in 95 of 100 cases. If a curve is first above and then below 0,
    the draws are too narrow; if it is first below and then above, they are too wide; if it stays on one side, they are
    shifted.

    Args:
        ranks: name -> ranks (m,), whole numbers from 0 to `draws`, as in `motes.calibration(...).ranks`.
        draws: number of draws for each rank.
        ax: axes to draw on; they are returned. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots.curves import rank_curves
        >>> ax = rank_curves({"rate": np.arange(100)}, draws=99)
        >>> ax.get_xlabel()
        'normalised rank'
    """
    look = canvas.as_style(style)
    ax = canvas.single_axes(look, 5.2, 3.4, ax=ax)
    place = np.arange(draws + 2) / (draws + 1)
    least = min(len(np.asarray(values)) for values in ranks.values())
    half = _BAND / np.sqrt(least)
    ax.axhspan(-half, half, color=look.muted, alpha=0.18, linewidth=0)
    ax.axhline(0.0, color=look.muted, linewidth=0.8)
    for j, (name, values) in enumerate(ranks.items()):
        counts = np.bincount(np.asarray(values), minlength=draws + 1)
        share = np.append(0, np.cumsum(counts)) / len(np.asarray(values))
        again, colour = divmod(j, len(look.classes))
        stroke = _STROKES[again % len(_STROKES)]
        ax.plot(place, share - place, color=look.classes[colour], linestyle=stroke, linewidth=1.6, label=name)
    ax.set(xlim=(0, 1), xlabel="normalised rank", ylabel="empirical CDF minus uniform")
    reach, lines = 1.05 * max(half, *(abs(limit) for limit in ax.get_ylim())), -(-len(ranks) // _NAMES)
    ax.set_ylim(-reach, 2 * reach / (1 - _HEAD - _LINE * lines) - reach)
    canvas.dress(ax, look, size=9.5)
    canvas.add_legend(ax, look, size=8.5, loc="upper right", ncols=_NAMES)
    canvas.small_print(ax, f"{least:,} simulations, 95 % band", look)
    return ax


# --- how well a model of a table predicts each column ---------------------------------------------------------------

COLUMNS = 24  # maximum number of columns


def column_gains(
    names: Sequence[str], gain: Curve, error: Curve, mixture: Curve, *, title: str, style: str | canvas.Style = "light"
) -> Axes:
    """Draw the gain in log-likelihood of each column over the column's own distribution, in nats per row, as bars.

    Args:
        names: names of d columns; the 24 columns with the largest gains are shown.
        gain: log p given the columns before it, minus log p of the column alone, (d,), means over held-out rows.
        error: standard errors, (d,).
        mixture: the same gain for a simpler model, (d,), drawn as a tick on each bar.
        title: title of the figure.
        style: 'dark', 'light' or a `Style`.
    """
    look = canvas.as_style(style)
    order = np.argsort(-gain, kind="stable")[:COLUMNS]
    ax = canvas.single_axes(look, height=0.27 * len(order) + 1.3)
    places = np.arange(len(order))
    ax.barh(places, gain[order], height=0.7, color=look.accent, alpha=0.75)
    ax.errorbar(gain[order], places, xerr=2 * error[order], fmt="none", ecolor=look.foreground, elinewidth=0.9)
    ax.scatter(mixture[order], places, marker="|", s=150, linewidths=2.2, color=look.muted, zorder=3)
    ax.axvline(0.0, color=look.muted, linewidth=0.8)
    ax.set_yticks(places, [short(names[k], 24) for k in order])
    ax.invert_yaxis()
    ax.margins(y=0.02)
    ax.set_xlabel("gain in log-likelihood from earlier columns, nats per row")
    canvas.dress(ax, look, size=9.5)
    heading = title + (f" · {COLUMNS} of {len(names)} columns" if len(names) > COLUMNS else "")
    canvas.dress_text(ax.set_title(heading, loc="left", pad=6), look.foreground, 10.5)
    bar = Line2D([], [], color=look.accent, linewidth=6, alpha=0.75)
    tick = Line2D([], [], color=look.muted, marker="|", markersize=11, linestyle="", markeredgewidth=2.2)
    words = ["model (± 2 standard errors)", "mixture alone"]
    canvas.add_legend(ax.figure, look, size=9, handles=[bar, tick], labels=words, loc="outside upper right", ncols=2)
    return ax


# --- metrics of models that were trained with several seeds ---------------------------------------------------------

ACROSS = 4  # panels next to each other


def seed_panels(
    keys: str,
    settings: Sequence[str],
    values: Mapping[str, Sequence[Curve]],
    intervals: Mapping[str, Curve],
    references: Mapping[str, float],
    *,
    style: str | canvas.Style = "light",
) -> Figure:
    """Draw a panel for each metric, with a row for each setting: its seeds, and their mean with its interval.

    Args:
        keys: names of the options that the settings consist of, as the title.
        settings: k settings.
        values: metric -> the values of the seeds of each setting, (seeds,) each.
        intervals: metric -> mean, lower and upper end of its interval, (k, 3); NaN if there are no values.
        references: metric -> reference value, drawn as a dashed line; NaN: none.
        style: 'dark', 'light' or a `Style`.
    """
    look, places = canvas.as_style(style), np.arange(len(settings))
    across = min(ACROSS, len(values))
    down = -(-len(values) // across)
    wide = max(2.6 * across + 1.6, 5.6)
    figure = canvas.new_figure(wide, down * (0.32 * len(settings) + 0.8) + 0.7, look)
    canvas.dress_text(figure.suptitle(fill(keys, int(11 * wide)), x=0.01, ha="left"), look.foreground, 11)
    for place, (name, seeds) in enumerate(values.items(), 1):
        ax = canvas.new_axes(figure, down, across, place)
        for k, own in enumerate(seeds):
            ax.scatter(own, np.full(len(own), k + 0.25), s=12, color=look.muted, linewidths=0, zorder=2)
        mean, low, high = intervals[name].T
        ax.hlines(places, low, high, color=look.foreground, linewidth=1.6, zorder=3)
        ax.scatter(mean, places, s=26, marker="D", color=look.foreground, linewidths=0, zorder=4)
        ax.axvline(references[name], color=look.accent, linewidth=1.4, linestyle=DASHES, zorder=1)
        ax.set_yticks(places, [short(text, 40) for text in settings])
        ax.set_ylim(len(settings) - 0.3, -0.6)
        ax.locator_params(axis="x", nbins=4)
        canvas.dress(ax, look, size=9)
        ax.tick_params(axis="y", length=0, labelleft=place % across == 1 or across == 1, labelcolor=look.foreground)
        canvas.dress_text(ax.set_title(short(name, 28), loc="left", pad=4), look.foreground, 9.5)
    dot = Line2D([], [], color=look.muted, marker="o", markersize=4, linestyle="", label="seeds")
    count = max(len(own) for seeds in values.values() for own in seeds)
    words = f"mean of {count} seeds, 95 % interval" if count > 1 else "mean"
    bar = Line2D([], [], color=look.foreground, marker="D", markersize=5, linewidth=1.6, label=words)
    line = Line2D([], [], color=look.accent, linewidth=1.4, linestyle=DASHES, label="reference value")
    canvas.add_legend(figure, look, size=9, handles=[dot, bar, line], loc="outside lower right", ncols=3)
    return figure


# --- log-densities and score fields in the plane --------------------------------------------------------------------
#
# Log-densities, in nats, are maps that are bright where points are likely. Scores are arrows: the learned field, the
# exact one, and their difference. Arrays have x along the first axis and y along the second.

Field = NDArray[np.float64]
Grid = tuple[Curve, Curve]  # coordinates x (nx,) and y (ny,), rising, in one unit


def density_row(
    grid: Grid, maps: Sequence[Field], titles: Sequence[str], *, floor: float = 12.0, style: str | canvas.Style = "dark"
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
    look = canvas.as_style(style)
    top = max(float(field.max()) for field in maps)
    inches = min(max(12 / len(maps), 2.0), 3.6)
    figure, axes = _make_panels(grid, titles, look, 9 + inches / 2)
    for ax, field in zip(axes, maps, strict=True):
        # -inf gets the background's colour, since colours are interpolated between grid points.
        shown = np.where(np.isfinite(field), field, top - floor)
        mesh = _draw_map(ax, grid, shown, look.density, (top - floor, top))
        ax.set(xlim=grid[0][[0, -1]], ylim=grid[1][[0, -1]])
    canvas.colour_bar(axes[-1], mesh, "log p, nats", look)  # one scale, one bar
    canvas.fit(axes, inches)
    return figure


def _make_panels(grid: Grid, titles: Sequence[str], look: canvas.Style, size: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with a row of titled panels, as wide as the grid with half a step around it."""
    figure = canvas.new_figure(5.0, 5.0, look)
    axes = [canvas.new_axes(figure, 1, len(titles), i) for i in range(1, 1 + len(titles))]
    x, y = (_cells(axis) for axis in grid)
    for ax, title in zip(axes, titles, strict=True):
        canvas.dress(ax, look, size=size)
        canvas.plane(ax, look, first=ax is axes[0])
        ax.set(xlim=x, ylim=y)
        ax.set_title(title, pad=6)
    return figure, axes


def _draw_map(ax: Axes, grid: Grid, values: Field, colours: Colormap, ends: tuple[float, float]) -> QuadMesh:
    """Draw a map of values (nx, ny), interpolated between the points of the grid."""
    return ax.pcolormesh(*grid, values.T, cmap=colours, vmin=ends[0], vmax=ends[1], shading="gouraud", rasterized=True)


# --- score fields ---------------------------------------------------------------------------------------------------


_ARROWS = 21  # along the longer side of a panel; the heat map shows every point of the grid
_LONGEST = 1.5  # length of the longest arrow, in distances between arrows
_WARM = 0.62  # share of the density's colours that are used, so that arrows stand out
_LIKELY = 7.0  # no arrows below this many nats under the highest density
_INCHES = 3.5  # width of a panel


def score_fields(
    grid: Grid, learned: Field, exact: Field, log_p: Field, *, heading: str = "", style: str | canvas.Style = "dark"
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
    look = canvas.as_style(style)
    depth = log_p - log_p.max()
    likely, weight = depth >= -_LIKELY, np.exp(depth)
    rms = float(np.sqrt(np.average((exact**2).sum(axis=-1), weights=weight)))
    spacing = max(high - low for low, high in map(_cells, grid)) / _ARROWS
    places = _choose_places(grid, likely, spacing)
    at = grid[0][places[0]], grid[1][places[1]]
    longest = max(float(np.linalg.norm(field[likely], axis=-1).max()) for field in (learned, exact))
    fields = {"learned score": learned, "exact score": exact, "difference": learned - exact}
    figure, axes = _make_panels(grid, [*fields], look, canvas.BODY)
    # Fade out over the last nat, since a sharp end would look like a shape in the data.
    share = np.clip(depth + _LIKELY, 0.0, 1.0) * np.linalg.norm(fields["difference"], axis=-1) / rms
    under = np.maximum(depth, -_LIKELY) / _LIKELY + 1
    for ax, field, values in zip(axes, fields.values(), (under, under, share), strict=True):
        top = 1.0 if values is under else max(float(share.max()), 1e-12)  # for equal fields, an empty map
        heat = _draw_heat_map(ax, grid, values, top, look)
        _draw_arrows(ax, at, field[places], _LONGEST * spacing / np.sqrt(longest), look)
    canvas.colour_bar(axes[-1], heat, "|difference| / rms of |exact|", look)
    small = f"arrows: length ∝ √|score|, one scale for all panels; the largest |score| is {longest:.3g}"
    canvas.dress_text(figure.supxlabel(small), look.muted, canvas.BODY - 2)
    if heading:
        canvas.dress_text(figure.suptitle(heading), look.foreground, canvas.BODY + 1)
    canvas.fit(axes, _INCHES, lines=1 + bool(heading))
    return figure


def _cells(axis: Curve) -> tuple[float, float]:
    """Return the ends of an axis with half a step beyond them, as room for arrows."""
    return float(axis[0] - (axis[1] - axis[0]) / 2), float(axis[-1] + (axis[-1] - axis[-2]) / 2)


def time_heading(t: float, *, steps: int | None, noise: float) -> str:
    """Format a time and the noise level sigma_t/alpha_t; with `steps` T of a discrete schedule, the time is k/T.

    Example:
        >>> from motes.plots.curves import time_heading
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


def _choose_places(grid: Grid, likely: NDArray[np.bool_], spacing: float) -> tuple[NDArray[np.int64], ...]:
    """Return grid indices along x and y at which to draw arrows.

    There is one arrow per cell, about `spacing` wide, at the likely point that is closest to the cell's centre.
    """
    steps = np.array([max(1, round(spacing / float(axis[1] - axis[0]))) for axis in grid])
    first = (likely.shape % steps + steps - 1) // 2  # centre of the first cell
    index = np.argwhere(likely)
    place = (index - first) / steps
    cell = np.ceil(place - 0.5)
    order = np.argsort(((place - cell) ** 2).sum(axis=1), kind="stable")
    _, nearest = np.unique(cell[order], axis=0, return_index=True)
    return tuple(index[order][nearest].T)


def _draw_arrows(ax: Axes, at: Grid, field: Field, scale: float, look: canvas.Style) -> None:
    """Draw vectors (k, 2) at points as arrows whose lengths are `scale` times the root of |vector|."""
    size = np.linalg.norm(field, axis=-1, keepdims=True)
    shown = scale * field / np.sqrt(np.where(size > 0, size, 1.0))
    ax.quiver(
        *at, shown[:, 0], shown[:, 1],
        angles="xy", scale_units="xy", scale=1, pivot="mid", units="inches", width=0.015, headwidth=3.4, headlength=3.6,
        headaxislength=3.2, minlength=0.5, color=look.foreground, zorder=4,
    )  # fmt: skip


def _draw_heat_map(ax: Axes, grid: Grid, values: Field, top: float, look: canvas.Style) -> QuadMesh:
    """Draw a heat map from the background's colour at 0 to a warm one at `top`, up to the edges of the panel."""
    wide = tuple(np.concatenate([[low], axis, [high]]) for axis in grid for low, high in [_cells(axis)])
    warm = ListedColormap(look.density(np.linspace(0, _WARM, 256)), name="motes-warm")
    return _draw_map(ax, (wide[0], wide[1]), np.pad(values, 1, mode="edge"), warm, (0, top))
