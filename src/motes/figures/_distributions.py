"""The distribution of each column of a table, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from motes.figures._canvas import dress, dress_text, new_axes, new_figure
from motes.figures._contours import LINES
from motes.figures._style import Style, as_style

COLUMNS = 16  # that are shown, at most
ACROSS = 4  # panels
BINS = 30
LABELS = 8  # that are shown, at most; the others together
LONG = 16  # characters of a label
FILL = 0.7  # opacity of the bars
LONG_TAILS = 20.0  # a range is long from so many times that of the middle half of the rows
LEAST = 0.015  # height of a bar that stands for few rows, as a share of the highest
APART = 0.2  # of the axis, from one tick to the next


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
        reference: the same columns of real rows, which are drawn as areas, and the others as lines.
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
        heading(figure, " · ".join(titles), look)
    if reference is not None:
        key(figure, look)
    return figure


def histogram_or_bars(ax: Axes, x: NDArray[Any], real: NDArray[Any] | None, look: Style) -> None:
    """The distribution of the known entries of a column as a line, and of real ones as an area."""
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
    edges, places = _bins(every)
    share = lambda values: np.histogram(values, edges)[0] / max(len(values), 1)
    _both(ax, share(x), None if real is None else share(real), places, look)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    if dates:
        ends = np.array([edges[0], (edges[0] + edges[-1]) / 2, edges[-1]])
        words = np.array(ends * 1e6, "M8[us]").astype("M8[D]").astype(str)
        ax.set_xticks(np.interp(ends, edges, places), words, fontsize=7)
    elif places is edges:
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=bool((every == np.round(every)).all())))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _plain(value)))
    else:
        _long_ticks(ax, edges, places)


def _both(
    ax: Axes, ours: NDArray[np.float64], theirs: NDArray[np.float64] | None, edges: NDArray[np.float64], look: Style
) -> None:
    """Real shares as an area and synthetic ones as a line; without real ones synthetic ones as an area.

    A bin that holds few rows is still seen.
    """
    top = max(float(ours.max()), 0.0 if theirs is None else float(theirs.max()))
    seen = lambda shares: np.where(shares > 0, np.maximum(shares, LEAST * top), 0.0)
    if theirs is None:
        ax.stairs(seen(ours), edges, fill=True, color=look.synthetic, alpha=FILL)
    else:
        ax.stairs(seen(theirs), edges, fill=True, color=look.real, alpha=FILL)
        ax.stairs(seen(ours), edges, color=look.synthetic, linewidth=1.4)
    ax.set_ylim(0, 1.05 * top)


def _bins(every: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges of bins over the whole range, and their places on the axis.

    These are the edges themselves, or, where the tails are so long that the bulk would be one bar, even places from 0
    to 1 on a scale asinh((x - median) / s).
    """
    low, high = float(every.min()), float(every.max())
    if low == high:
        edges = np.array([low - 0.5, low + 0.5])
        return edges, edges
    lower, middle, upper = np.quantile(every, [0.25, 0.5, 0.75])
    away = np.abs(every - middle)
    scale = float(upper - lower) or float(np.median(away[away > 0]))
    if high - low > LONG_TAILS * scale:
        ends = np.arcsinh((np.array([low, high]) - middle) / scale)
        places = np.linspace(0, 1, BINS + 1)
        edges = middle + scale * np.sinh(ends[0] + places * (ends[1] - ends[0]))
        edges[0], edges[-1] = low, high
        return edges, places
    if (every == np.round(every)).all():
        step = np.ceil((high - low + 1) / BINS)
        edges = np.arange(low - 0.5, high + step, step)
    else:
        edges = np.linspace(low, high, BINS + 1)
    return edges, edges


def _long_ticks(ax: Axes, edges: NDArray[np.float64], places: NDArray[np.float64]) -> None:
    """The ends, and between them 0 and powers of ten, the largest first, as far as there is room."""
    powers = 10.0 ** np.arange(-12, 301)
    rounds = np.concatenate([-powers[::-1], [0.0], powers])
    rounds = rounds[(rounds > edges[0]) & (rounds < edges[-1])]
    chosen = [(0.0, float(edges[0])), (1.0, float(edges[-1]))]
    for value in rounds[np.argsort(-np.abs(rounds), kind="stable")].tolist():
        at = float(np.interp(value, edges, places))
        if all(abs(at - other) > APART for other, _ in chosen):
            chosen.append((at, value))
    ax.set_xticks([at for at, _ in chosen], [_plain(value) for _, value in chosen])


def _plain(value: float) -> str:
    """A number for a tick: a year is 2007, and 2,000,000 is 2e+06."""
    text = f"{value:.6g}" if abs(value) < 1e5 else f"{value:.3g}"
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def seconds_of(x: NDArray[Any]) -> NDArray[np.float64]:
    """Dates as seconds since 1970."""
    return np.array([np.datetime64(value, "us") for value in x.tolist()], "M8[us]").astype(np.int64) / 1e6


def _bars(ax: Axes, x: NDArray[Any], real: NDArray[Any] | None, look: Style) -> None:
    """Shares of the most frequent labels, the largest at the top."""
    kinds, counts = np.unique(np.concatenate([x, real if real is not None else x[:0]]).astype(str), return_counts=True)
    shown = kinds[np.argsort(-counts, kind="stable")]
    few, more = shown[:LABELS].tolist(), len(shown) - LABELS
    share = lambda entries: [float((entries.astype(str) == kind).mean()) for kind in few]
    ours, theirs = share(x), [] if real is None else share(real)
    words = [short(kind, LONG) for kind in few]
    if more > 0:  # a bar would dwarf the labels that are shown
        covered = f"{sum(ours):.0%}" if not theirs else f"{sum(ours):.0%} synthetic, {sum(theirs):.0%} real"
        note = f"{LABELS} of {LABELS + more:,} labels:\n{covered}"
        text = ax.annotate(note, (0.98, 0.04), xycoords="axes fraction", ha="right", va="bottom")
        dress_text(text, look.muted, 7.5)
    places = np.arange(len(words))
    if theirs:
        ax.barh(places, theirs, height=0.72, color=look.real, alpha=FILL)
        ax.barh(places, ours, height=0.72, fill=False, edgecolor=look.synthetic, linewidth=1.4)
    else:
        ax.barh(places, ours, height=0.72, color=look.synthetic, alpha=FILL)
    ax.set_yticks(places, words)
    ax.invert_yaxis()
    ax.locator_params(axis="x", nbins=4)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def short(text: str, most: int) -> str:
    """A text without its middle: names and labels often differ at their ends."""
    half = most // 2
    return text if len(text) <= most else f"{text[: most - half - 1]}…{text[-half:]}"


def heading(figure: Figure, text: str, look: Style) -> None:
    """A title at the left, beside which there is room for the key."""
    dress_text(figure.suptitle(text, x=0.01, ha="left"), look.foreground, 11)


def key(figure: Figure, look: Style, *, both: bool = True, shares: Sequence[float] = ()) -> None:
    """A legend: the colours of real and synthetic rows if `both` are drawn, and the contour of each share."""
    keys = [Line2D([], [], color=look.real, linewidth=6, alpha=FILL), Line2D([], [], color=look.synthetic)] * both
    names = ["real rows", "synthetic rows"] * both
    for share, dashes in zip(shares, LINES, strict=False):
        keys.append(Line2D([], [], color=look.foreground, linewidth=1.1, linestyle=dashes))
        names.append(f"{100 * share:g} %{'' if both else ' of the rows'}")
    # Without real rows nothing is drawn above the diagonal of a matrix of pairs, so there is room inside the figure.
    place = {"loc": "outside upper right", "ncols": len(keys)} if both else {"loc": "upper right"}
    legend = figure.legend(keys, names, frameon=False, **place)
    for text in legend.get_texts():
        dress_text(text, look.foreground, 9)
