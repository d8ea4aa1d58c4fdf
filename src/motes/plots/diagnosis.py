"""Figures of a diagnosis: a distance split into its causes, ranks of true parameters, and the gain of each column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from motes.plots import canvas
from motes.plots.tables import short
from motes.rasters import INTERVAL

REAL_DRAWS = "two real draws"  # the name of a bar
_BAR = 0.58  # height of a bar, where a row is 1 high
_TEXT = 0.45  # of the axis, behind the longest bar, for what is written there


def error_split(
    parts: Mapping[str, float],
    *,
    reference_value: float,
    error: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw from top to bottom how a distance comes about: two real draws, each part on top of it, and the total.

    Each bar starts where the one above it ended, so that the last part ends at the total; one that takes away, as
    chance can make it, is hollow and points to the left. Behind each bar stand its value and its share of the total.

    Args:
        parts: squared sliced W2 of each cause, in variances of the data, in the order in which they are drawn.
        reference_value: the squared sliced W2 that two samples of the data have between them.
        error: standard errors by the name of a part, 'two real draws' or 'total'; whiskers show the 95 % interval.
        ax: axes to draw on; they are returned. Without them a new figure is made.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: no parts, numbers that are not finite, an error of no bar.

    Example:
        >>> from motes.plots import error_split
        >>> axes = error_split({"network": 0.02, "sampler": 0.01}, reference_value=0.01)
        >>> type(axes).__name__
        'NotebookAxes'
    """
    look = canvas.as_style(style)
    bars = {REAL_DRAWS: reference_value, **parts, "total": reference_value + sum(parts.values())}
    if len(bars) != len(parts) + 2 or not parts:
        raise ValueError(f"got parts {', '.join(parts)}; expected some, of other names than those of both other bars.")
    for name, value in bars.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite squared sliced W2.")
    errors = dict(error or {})
    for name, value in errors.items():
        if name not in bars or not 0 <= value < np.inf:
            raise ValueError(f"the error of {name!r} is {value}; expected one of {', '.join(bars)}, finite, 0 or more.")
    if ax is None:
        ax = canvas.new_axes(canvas.new_figure(6.4, 0.9 + 0.42 * len(bars), look), 1, 1, 1)
    values = np.array([*bars.values()])
    ends = np.append(np.cumsum(values[:-1]), values[-1])
    starts = ends - values
    colours = [look.muted, *[look.accent] * len(parts), look.foreground]
    drawn = ax.barh(range(len(bars)), values, _BAR, left=starts, color=colours, edgecolor=colours, zorder=2)
    for bar, value, colour in zip(drawn, values, colours, strict=True):
        if value < 0:
            bar.set(facecolor=look.background, edgecolor=colour, hatch="/////")
    rim = [withStroke(linewidth=3.2, foreground=look.background)]  # which keeps a whisker visible on its bar
    for row, name in enumerate(bars):
        if name in errors:
            whisker: dict[str, Any] = {"color": look.foreground, "linewidth": 1.2, "capsize": 2.5, "zorder": 4}
            ax.errorbar(ends[row], row, xerr=INTERVAL * errors[name], path_effects=rim, **whisker)
    tips = [max(start, end + INTERVAL * errors.get(n, 0.0)) for n, start, end in zip(bars, starts, ends, strict=True)]
    for row, (tip, value) in enumerate(zip(tips, values, strict=True)):
        share = f" · {_signed(100 * value / values[-1], '.0f')} %" if values[-1] > 0 else ""
        text = _signed(value, ".3g") + share
        written = ax.annotate(text, (tip, row), xytext=(7, 0), textcoords="offset points", va="center")
        canvas.dress_text(written, look.foreground, canvas.BODY)
    # Each bar starts where the one above it ended.
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
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value, "g")))
    ax.set_xlabel("squared sliced W2, in variances of the data", loc="right")
    if errors:
        canvas.small_print(ax, "whiskers: 95 % interval", look)
    return ax


def _signed(value: float, spec: str) -> str:
    """A number with a true minus, and no minus before a zero."""
    text = f"{value:{spec}}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


# --- ranks of true parameters -----------------------------------------------------------------------------------------

_BAND = 1.3581  # the distance of Kolmogorov's test at the level 0.05, times the root of n
_STROKES = ("-", "--", ":")  # where the colours are used up
_NAMES, _HEAD, _LINE = 3, 0.04, 0.065  # names in a line of the legend; what it and each line take of the height


def rank_curves(
    ranks: Mapping[str, ArrayLike], draws: int, *, ax: Axes | None = None, style: str | canvas.Style = "light"
) -> Axes:
    """Draw the empirical CDF of ranks minus the uniform one: 0 everywhere where the draws are calibrated.

    The band holds a whole curve of uniform ranks in 95 of 100 cases. A curve that is above 0 first and below it later
    belongs to draws that are too narrow, the other way round to draws that are too wide; on one side alone to a shift.

    Args:
        ranks: name -> ranks (m,), whole numbers from 0 to `draws`.
        draws: how many each rank is among.
        ax: axes to draw on; they are returned. Without them a new figure is made.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: no ranks, or ranks out of range.

    Example:
        >>> from motes.plots import rank_curves
        >>> ax = rank_curves({"rate": np.arange(100)}, draws=99)
        >>> ax.get_xlabel()
        'normalised rank'
    """
    look = canvas.as_style(style)
    found = {name: np.asarray(values) for name, values in ranks.items()}
    for name, values in found.items():
        if values.ndim != 1 or not len(values) or values.min() < 0 or values.max() > draws:
            raise ValueError(f"the ranks of '{name}' are not (m,) numbers from 0 to {draws}, m at least 1.")
    if not found:
        raise ValueError("got no ranks; expected those of one column at least.")
    ax = canvas.new_axes(canvas.new_figure(5.2, 3.4, look), 1, 1, 1) if ax is None else ax
    place = np.arange(draws + 2) / (draws + 1)
    least = min(len(values) for values in found.values())
    half = _BAND / np.sqrt(least)
    ax.axhspan(-half, half, color=look.muted, alpha=0.18, linewidth=0)
    ax.axhline(0.0, color=look.muted, linewidth=0.8)
    for j, (name, values) in enumerate(found.items()):
        share = np.append(0, np.cumsum(np.bincount(values, minlength=draws + 1))) / len(values)
        again, colour = divmod(j, len(look.classes))
        stroke = _STROKES[again % len(_STROKES)]
        ax.plot(place, share - place, color=look.classes[colour], linestyle=stroke, linewidth=1.6, label=name)
    ax.set(xlim=(0, 1), xlabel="normalised rank", ylabel="empirical CDF minus uniform")
    reach, lines = 1.05 * max(half, *(abs(limit) for limit in ax.get_ylim())), -(-len(found) // _NAMES)
    ax.set_ylim(-reach, 2 * reach / (1 - _HEAD - _LINE * lines) - reach)
    canvas.dress(ax, look, size=9.5)
    canvas.add_legend(ax, look, size=8.5, loc="upper right", ncols=_NAMES)
    canvas.small_print(ax, f"{least:,} simulations, 95 % band", look)
    return ax


# --- what a model of a table knows of each column ---------------------------------------------------------------------

COLUMNS = 24  # that are shown, at most


def column_gains(
    names: Sequence[str],
    gain: ArrayLike,
    error: ArrayLike,
    mixture: ArrayLike | None = None,
    *,
    title: str | None = None,
    style: str | canvas.Style = "light",
) -> Figure:
    """Bars: how many nats a row likelier a model makes each column than the column's own distribution does.

    Args:
        names: of d columns; the 24 of the largest gains are shown.
        gain: log p given the columns before it, minus log p of the column alone, (d,), means over unseen rows.
        error: standard errors, (d,).
        mixture: the same gain of a simpler model, (d,), drawn as a tick on each bar.
        title: drawn above.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: other shapes.

    Example:
        >>> from motes.plots import column_gains
        >>> figure = column_gains(["age", "income"], [0.0, 0.4], [0.01, 0.02])
        >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        ['income', 'age']
    """
    look = canvas.as_style(style)
    values, errors = np.asarray(gain, float), np.asarray(error, float)
    simple = None if mixture is None else np.asarray(mixture, float)
    for what, one in (("gain", values), ("error", errors), ("mixture", simple)):
        if one is not None and one.shape != (len(names),):
            raise ValueError(f"{what} has shape {one.shape}; expected ({len(names)},), one number a column.")
    order = np.argsort(-values, kind="stable")[:COLUMNS]
    figure = canvas.new_figure(6.4, 0.27 * len(order) + 1.3, look)
    ax = canvas.new_axes(figure, 1, 1, 1)
    places = np.arange(len(order))
    ax.barh(places, values[order], height=0.7, color=look.accent, alpha=0.75)
    ax.errorbar(values[order], places, xerr=2 * errors[order], fmt="none", ecolor=look.foreground, elinewidth=0.9)
    keys = [Line2D([], [], color=look.accent, linewidth=6, alpha=0.75)]
    words = ["model (± 2 standard errors)"]
    if simple is not None:
        ax.scatter(simple[order], places, marker="|", s=150, linewidths=2.2, color=look.muted, zorder=3)
        keys.append(Line2D([], [], color=look.muted, marker="|", markersize=11, linestyle="", markeredgewidth=2.2))
        words.append("mixture alone")
    ax.axvline(0.0, color=look.muted, linewidth=0.8)
    ax.set_yticks(places, [short(names[k], 24) for k in order])
    ax.invert_yaxis()
    ax.margins(y=0.02)
    ax.set_xlabel("nats a row that the columns before it say of it")
    canvas.dress(ax, look, size=9.5)
    heading = [title] if title else []
    if len(names) > COLUMNS:
        heading.append(f"{COLUMNS} of {len(names)} columns")
    if heading:
        canvas.dress_text(ax.set_title(" · ".join(heading), loc="left", pad=6), look.foreground, 10.5)
    canvas.add_legend(figure, look, size=9, handles=keys, labels=words, loc="outside upper right", ncols=2)
    return figure
