"""The distribution of each column of a table, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from motes.figures._canvas import dress, dress_text, new_axes, new_figure
from motes.figures._style import Style, as_style

COLUMNS = 16  # that are shown, at most
ACROSS = 4  # panels
BINS = 30
LABELS = 8  # that are shown, at most; the others together
LONG = 16  # characters of a label
FILL = 0.7  # opacity of the bars
INSIDE = (0.01, 0.99)  # quantiles between which a histogram lies, if what is beyond would stretch it,
STRETCH = 2.0  # which is to more than so many times their distance


def marginals(
    columns: Mapping[str, NDArray[Any]],
    reference: Mapping[str, NDArray[Any]] | None = None,
    *,
    title: str | None = None,
    style: str | Style = "light",
) -> Figure:
    """Histograms of numbers and dates, and shares of labels, one panel for each of up to 16 columns.

    Args:
        columns: name -> entries (n,): numbers or dates, or objects with None where missing.
        reference: the same columns of real rows, which are drawn as outlines.
        title: drawn above.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.figures import marginals
        >>> figure = marginals({"age": np.array([31.0, 47.0, 25.0])})
        >>> len(figure.axes)
        1
    """
    look = as_style(style)
    names = list(columns)[:COLUMNS]
    across = min(ACROSS, len(names))
    down = -(-len(names) // across)
    figure = new_figure(3.0 * across, 2.3 * down + 0.5, look)
    for place, name in enumerate(names, 1):
        ax = new_axes(figure, down, across, place)
        other = None if reference is None else known_entries(reference[name])
        histogram_or_bars(ax, known_entries(columns[name]), other, look)
        dress(ax, look, size=9)
        dress_text(ax.set_title(short(name, 28), loc="left", pad=4), look.foreground, 9.5)
    titles = [title] if title else []
    if len(columns) > COLUMNS:
        titles.append(f"{COLUMNS} of {len(columns)} columns")
    if titles:
        dress_text(figure.suptitle(" · ".join(titles)), look.foreground, 11)
    if reference is not None:
        key(figure, look)
    return figure


def histogram_or_bars(ax: Axes, x: NDArray[Any], real: NDArray[Any] | None, look: Style) -> None:
    """The distribution of the known entries of a column, and of real ones as an outline."""
    (_bars if is_label(x) else _histogram)(ax, x, real, look)


def known_entries(entries: NDArray[Any]) -> NDArray[Any]:
    """The entries that are not missing."""
    return entries[is_known(entries)]


def is_known(entries: NDArray[Any]) -> NDArray[np.bool_]:
    """Which entries are not missing, (n,)."""
    if entries.dtype.kind == "f":
        return np.isfinite(entries)
    return np.array([entry is not None and entry == entry for entry in entries.tolist()], bool)


def is_label(entries: NDArray[Any]) -> bool:
    """Whether known entries are labels; they are numbers or dates otherwise."""
    first = entries[0] if len(entries) else ""
    return isinstance(first, str | bool | np.bool_)


def _histogram(ax: Axes, x: NDArray[Any], real: NDArray[Any] | None, look: Style) -> None:
    dates = len(x) and not isinstance(x[0], int | float | np.number)
    numbers = seconds_of if dates else lambda values: values.astype(np.float64)
    x, real = numbers(x), None if real is None else numbers(real)
    every = x if real is None else np.concatenate([x, real])
    if not len(every):
        return
    low, high = every.min(), every.max()
    inner = np.quantile(every, INSIDE)
    if np.ptp(inner) > 0 and high - low > STRETCH * np.ptp(inner):
        low, high = inner
    whole = not dates and (every == np.round(every)).all() and high - low < BINS
    edges = np.arange(low - 0.5, high + 1) if whole else np.linspace(low, high if high > low else low + 1, BINS + 1)
    share = lambda values: np.histogram(values, edges)[0] / max(len(values), 1)
    ax.stairs(share(x), edges, fill=True, color=look.classes[0], alpha=FILL)
    if real is not None:
        ax.stairs(share(real), edges, color=look.classes[1], linewidth=1.4)
    ax.set_ylim(0)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    ax.locator_params(axis="x", nbins=4)
    if dates:
        ticks = np.linspace(low, high, 3)
        words = np.array(ticks * 1e6, "M8[us]").astype("M8[D]").astype(str)
        ax.set_xticks(ticks, words, fontsize=7)


def seconds_of(x: NDArray[Any]) -> NDArray[np.float64]:
    """Dates as seconds since 1970."""
    return np.array([np.datetime64(value, "us") for value in x.tolist()], "M8[us]").astype(np.int64) / 1e6


def _bars(ax: Axes, x: NDArray[Any], real: NDArray[Any] | None, look: Style) -> None:
    """Shares of the most frequent labels, the largest at the top."""
    kinds, counts = np.unique(np.concatenate([x, real if real is not None else x[:0]]).astype(str), return_counts=True)
    shown = kinds[np.argsort(-counts, kind="stable")]
    few, rest = shown[:LABELS].tolist(), shown[LABELS:]
    share = lambda entries: [float((entries.astype(str) == kind).mean()) for kind in few]
    ours, theirs = share(x), [] if real is None else share(real)
    words = [short(kind, LONG) for kind in few]
    if len(rest):
        words.append(f"{len(rest)} others")
        ours.append(1 - sum(ours))
        theirs = [*theirs, 1 - sum(theirs)] if theirs else []
    places = np.arange(len(words))
    ax.barh(places, ours, height=0.72, color=look.classes[0], alpha=FILL)
    if theirs:
        ax.barh(places, theirs, height=0.72, fill=False, edgecolor=look.classes[1], linewidth=1.4)
    ax.set_yticks(places, words)
    ax.invert_yaxis()
    ax.locator_params(axis="x", nbins=4)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def short(text: str, most: int) -> str:
    """A text without its middle: names and labels often differ at their ends."""
    half = most // 2
    return text if len(text) <= most else f"{text[: most - half - 1]}…{text[-half:]}"


def key(figure: Figure, look: Style) -> None:
    """Which colour is which."""
    keys = [Line2D([], [], color=look.classes[0], linewidth=6, alpha=FILL), Line2D([], [], color=look.classes[1])]
    legend = figure.legend(keys, ["samples", "real rows"], loc="outside lower right", frameon=False, ncols=2)
    for text in legend.get_texts():
        dress_text(text, look.foreground, 9)
