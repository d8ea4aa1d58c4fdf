"""A distance taken apart into its causes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from motes.figures._arrays import INTERVAL
from motes.figures._canvas import BODY, dress, new_axes, new_figure, settle, small_print, write_on
from motes.figures._style import Style, as_style

REAL_DRAWS = "two real draws"  # the name of a bar
_ROUNDING = 1e-4  # of the largest part: what float32 may lose in a sum
_BAR = 0.58  # height of a bar, where a row is 1 high


def error_split(
    parts: Mapping[str, float],
    *,
    reference_value: float,
    total: float,
    error: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    style: str | Style = "dark",
) -> Axes:
    """Draw from top to bottom how a distance comes about: two real draws, each part on top of it, and the total.

    Each bar starts where the one above it ended, so that the last part ends at the total; one that takes away, as
    chance can make it, is hollow and points to the left. Behind each bar stand its value and its share of the total.

    Args:
        parts: squared sliced W2 of each cause, in variances of the data, in the order in which they are drawn.
        reference_value: the squared sliced W2 that two samples of the data have between them.
        total: the squared sliced W2 of the model's samples: `reference_value` and all `parts` together.
        error: standard errors by the name of a part, 'two real draws' or 'total'; whiskers show the 95 % interval.
        ax: axes to draw on; they are returned. Without them a new figure is made.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: no parts, numbers that are not finite, parts that do not add up, an error of no bar.

    Example:
        >>> from motes.figures import error_split
        >>> axes = error_split({"network": 0.02, "sampler": 0.01}, reference_value=0.01, total=0.04)
        >>> type(axes).__name__
        'NotebookAxes'
    """
    look = as_style(style)
    bars = _as_bars(parts, reference_value, total)
    errors = _as_errors(error or {}, bars)
    own = ax is None
    if ax is None:
        ax = new_axes(new_figure(6.4, 0.9 + 0.42 * len(bars), look), 1, 1, 1)
    ends = np.cumsum([bars[REAL_DRAWS], *(bars[name] for name in parts)])
    starts = dict(zip(bars, [0.0, *ends[:-1].tolist(), 0.0], strict=True))
    colours = {REAL_DRAWS: look.muted, "total": look.foreground}
    tips: list[tuple[float, Text]] = []  # the right end of each bar, and what is written there
    for row, (name, value) in enumerate(bars.items()):
        end = starts[name] + value
        _draw_bar(ax, row, starts[name], value, colours.get(name, look.accent), look)
        _whisker(ax, row, end, errors.get(name), look)
        tip = max(starts[name], end + INTERVAL * errors.get(name, 0.0))
        share = f" · {_signed(100 * value / bars['total'], '.0f')} %" if bars["total"] > 0 else ""
        text = _signed(value, ".3g") + share
        written = write_on(ax, text, (tip, row), look.foreground, look, anchor=("left", "center"), shift=(7, 0), rim=0)
        tips.append((tip, written))
    for row, end in enumerate(ends.tolist()):  # each bar starts where the one above it ended
        ax.plot([end, end], [row + _BAR / 2, row + 1 - _BAR / 2], color=look.muted, linewidth=0.7, zorder=1)
    ax.axvline(0, color=look.muted, linewidth=0.7, zorder=1)
    dress(ax, look, size=BODY)
    ax.spines["left"].set_visible(False)
    ax.set_yticks(range(len(bars)), list(bars))
    ax.tick_params(axis="y", length=0, labelsize=BODY, labelcolor=look.foreground)
    ax.set_ylim(len(bars) - 0.5, -0.5)
    drawn = ax.get_xlim()
    ax.set_xlim(_reach(ax, drawn, tips))
    if own:
        settle(ax)  # long names take their room from the bars
        ax.set_xlim(_reach(ax, drawn, tips))
    ax.locator_params(axis="x", nbins=6)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _signed(value, "g")))
    ax.set_xlabel("squared sliced W2, in variances of the data")
    if errors:
        small_print(ax, "whiskers: 95 % interval", look)
    return ax


def _as_bars(parts: Mapping[str, float], reference_value: float, total: float) -> dict[str, float]:
    """All bars from top to bottom, checked to add up."""
    if not parts:
        raise ValueError("parts is empty; expected at least one name with its squared sliced W2.")
    for name in (REAL_DRAWS, "total"):
        if name in parts:
            raise ValueError(f"parts has one called {name!r}; expected other names, because that bar is drawn anyway.")
    bars = {
        REAL_DRAWS: float(reference_value),
        **{name: float(value) for name, value in parts.items()},
        "total": float(total),
    }
    for name, value in bars.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite squared sliced W2.")
    missing = bars["total"] - bars[REAL_DRAWS] - sum(bars[name] for name in parts)
    if abs(missing) > _ROUNDING * max(map(abs, bars.values())):
        raise ValueError(
            f"two real draws and parts add up to {bars['total'] - missing:.6g} and total is {bars['total']:.6g}; "
            f"expected the same. If {missing:.3g} has no cause of its own, add it as a part, such as 'the rest'."
        )
    return bars


def _as_errors(error: Mapping[str, float], bars: Mapping[str, float]) -> dict[str, float]:
    for name, value in error.items():
        if name not in bars:
            raise ValueError(f"error has {name!r}; expected names of bars: {', '.join(map(repr, bars))}.")
        if not np.isfinite(value) or value < 0:
            raise ValueError(f"the error of {name} is {value}; expected a standard error, finite and 0 or more.")
    return {name: float(value) for name, value in error.items()}


def _draw_bar(ax: Axes, row: int, start: float, value: float, colour: str, look: Style) -> None:
    """One bar; hollow and hatched if it takes away."""
    face, hatch = (look.background, "/////") if value < 0 else (colour, None)
    ax.barh(row, value, _BAR, left=start, facecolor=face, edgecolor=colour, hatch=hatch, linewidth=0.8, zorder=2)


def _whisker(ax: Axes, row: int, end: float, error: float | None, look: Style) -> None:
    if error is None:
        return
    # The rim keeps it visible on the bar that it ends.
    bar = ax.errorbar(
        end, row, xerr=INTERVAL * error, color=look.foreground, linewidth=1.2, capsize=2.5, capthick=1.2, zorder=4
    )
    for line in (*bar.lines[1], *bar.lines[2]):
        line.set_path_effects([withStroke(linewidth=3.2, foreground=look.background)])


def _reach(ax: Axes, drawn: tuple[float, float], tips: list[tuple[float, Text]]) -> tuple[float, float]:
    """Limits of the axis that hold what is drawn and leave room for every text behind its bar."""
    left, right = drawn
    left -= 0.03 * (right - left) if left < 0 else 0.0
    width = ax.bbox.width
    for tip, text in tips:
        free = 1 - (text.get_window_extent().width + 0.2 * ax.figure.dpi) / width
        right = max(right, left + (tip - left) / max(free, 0.2))
    return left, right


def _signed(value: float, spec: str) -> str:
    """A number with a true minus, and no minus before a zero."""
    text = f"{value:{spec}}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
