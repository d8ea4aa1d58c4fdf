"""Plots of tables: the distribution of each column, and a matrix of pairs of columns.

In a matrix of pairs, synthetic rows are below the diagonal, real ones above it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from motes.plots.canvas import Style, add_legend, as_style, dress, dress_text, new_axes, new_figure
from motes.plots.svg import short
from motes.rasters import format_days, histogram_bins, is_even, ticks_of_dates, ticks_of_long_range

Numbers = NDArray[np.float64]

COLUMNS = 16  # maximum number of columns
ACROSS = 4  # panels in a row
LABELS = 8  # maximum number of labels; the others are combined
LONG = 16  # maximum characters of a label
FILL = 0.7  # opacity of the bars
LEAST = 0.015  # minimum height of a bar with at least one row, relative to the highest
TICK_LETTERS = 25.0  # characters that fit along the axis of a histogram
LINES: tuple[tuple[float, tuple[float, ...]] | Literal["solid"], ...] = (
    "solid",
    (0, (4, 2)),
    (0, (1, 1.5)),
)  # line styles of the contours, from the innermost out
CELLS = 64  # cells per side in which points are counted
NARROWER = 0.45  # kernel width, relative to the best one for a Gaussian, since there may be several modes
NARROWEST = 0.7  # minimum width of the kernel, in cells
QUARTER = 0.6373  # length of the shortest interval with a quarter of a Gaussian's mass, in standard deviations


def marginals(
    columns: Mapping[str, NDArray[Any]],
    reference: Mapping[str, NDArray[Any]] | None = None,
    *,
    title: str | None = None,
    style: str | Style = "light",
) -> Figure:
    """Draw the distribution of each of up to 16 columns: histograms of numbers and dates, shares of labels.

    Args:
        columns: name -> entries (n,): numbers or dates, or objects with None for missing entries.
        reference: the same columns of real rows, drawn as areas; the others are then drawn as lines.
        title: title of the figure.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import marginals
        >>> figure = marginals({"age": np.array([31.0, 47.0, 25.0])})
        >>> len(figure.axes)
        1
    """
    look, names = as_style(style), list(columns)[:COLUMNS]
    tables = [rows for rows in (reference, columns) if rows is not None]
    across = min(ACROSS, len(names))
    down = -(-len(names) // across)
    figure = new_figure(3.0 * across, 2.3 * down + 0.5, look)
    for place, name in enumerate(names, 1):
        ax, sets = new_axes(figure, down, across, place), [rows[name] for rows in tables]
        _draw_distribution(ax, sets, _Scale(*sets), look)
        dress(ax, look, size=9)
        dress_text(ax.set_title(short(name, 28), loc="left", pad=4), look.foreground, 9.5)
    _draw_heading(figure, title, COLUMNS, len(columns), look)
    if reference is not None:
        _draw_key(figure, look)
    return figure


def _draw_heading(figure: Figure, title: str | None, shown: int, columns: int, look: Style) -> None:
    """Draw a title at the left, which leaves room for the legend; it tells if not all columns are shown."""
    parts = [title or "", f"{shown} of {columns} columns" if columns > shown else ""]
    if text := " · ".join(filter(None, parts)):
        dress_text(figure.suptitle(text, x=0.01, ha="left"), look.foreground, 11)


def _draw_distribution(ax: Axes, sets: Sequence[NDArray[Any]], scale: _Scale, look: Style) -> None:
    """Draw real entries of a column as areas and synthetic ones as lines, or as areas if there are no real ones.

    `sets` has the real entries, if there are any, and the synthetic ones.
    """
    area = {"fill": True, "alpha": FILL}
    styles: list[dict[str, Any]] = [{"color": look.synthetic, **area}]
    if len(sets) > 1:
        styles = [{"color": look.real, **area}, {"fill": False, "edgecolor": look.synthetic, "linewidth": 1.4}]
    known = [entries[is_known(entries)] for entries in sets]
    if scale.labels is not None:
        _draw_bars(ax, known, scale.labels, scale.others, styles, look)
    elif any(map(len, known)):
        _draw_histogram(ax, [scale.numbers(entries) for entries in known], scale.dates, styles)


def is_known(entries: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which entries are not missing, (n,)."""
    if entries.dtype.kind == "f":
        return np.isfinite(entries)
    return np.array([entry is not None and entry == entry for entry in entries.tolist()], bool)


def _draw_histogram(ax: Axes, sets: list[Numbers], dates: bool, styles: list[dict[str, Any]]) -> None:
    edges, places = histogram_bins(*sets)
    even = is_even(edges, places)
    places = edges if even else places
    shares = [np.histogram(x, edges)[0] / max(len(x), 1) for x in sets]
    top = max(float(share.max()) for share in shares)
    for share, style in zip(shares, styles, strict=True):
        ax.stairs(np.where(share > 0, np.maximum(share, LEAST * top), 0.0), places, **style)
    ax.set_ylim(0, 1.05 * top)
    ax.set_yticks([])
    ax.spines["left"].set_visible(False)
    if dates:
        both = np.concatenate(sets)
        ticks = ticks_of_dates((both.min(), both.max()), edges, places, 1.0)
        ax.set_xticks(*zip(*ticks, strict=True), fontsize=7)
    elif even:
        whole = all((x == np.round(x)).all() for x in sets)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=whole))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _format_tick(value)))
    else:
        ax.set_xticks(*zip(*ticks_of_long_range(edges, places, TICK_LETTERS), strict=True))


def _format_tick(value: float) -> str:
    """Format a number for a tick: a year is 2007, and 2,000,000 is 2e+06."""
    text = f"{value:.6g}" if abs(value) < 1e5 else f"{value:.3g}"
    return text.replace("-", "\u2212", 1) if text.startswith("-") else text


def _draw_bars(
    ax: Axes, sets: list[NDArray[Any]], labels: list[str], others: int, styles: list[dict[str, Any]], look: Style
) -> None:
    """Draw the shares of the most frequent labels, the largest at the top."""
    places = np.arange(len(labels))
    shares = [[float((x == label).mean()) for label in labels] for x in (entries.astype(str) for entries in sets)]
    if others:  # a bar would dwarf the labels that are shown
        covered = f"{sum(shares[-1]):.0%}" + "".join(f" synthetic, {sum(real):.0%} real" for real in shares[:-1])
        note = f"{LABELS} of {LABELS + others:,} labels:\n{covered}"
        text = ax.annotate(note, (0.98, 0.04), xycoords="axes fraction", ha="right", va="bottom")
        dress_text(text, look.muted, 7.5)
    for share, style in zip(shares, styles, strict=True):
        ax.barh(places, share, height=0.72, **style)
    ax.set_yticks(places, [short(label, LONG) for label in labels])
    ax.invert_yaxis()
    ax.locator_params(axis="x", nbins=4)
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _draw_key(figure: Figure, look: Style, *, both: bool = True, shares: Sequence[float] = ()) -> None:
    """Add a legend: the colours of real and synthetic rows if `both` are drawn, and the contour of each share."""
    keys = [Line2D([], [], color=look.real, linewidth=6, alpha=FILL), Line2D([], [], color=look.synthetic)] * both
    names = ["real rows", "synthetic rows"] * both
    for share, dashes in zip(shares, LINES, strict=False):
        keys.append(Line2D([], [], color=look.foreground, linewidth=1.1, linestyle=dashes))
        names.append(f"{100 * share:g} %{'' if both else ' of the rows'}")
    # Without real rows nothing is drawn above the diagonal of a matrix of pairs, so there is room inside the figure.
    place = {"loc": "outside upper right", "ncols": len(keys)} if both else {"loc": "upper right"}
    add_legend(figure, look, size=9, handles=keys, labels=names, **place)


# --- pairs of columns -------------------------------------------------------------------------------------------------

PAIR_COLUMNS = 5  # maximum number of columns
POINTS = 1500  # maximum number of points in a panel
JITTER = 0.32  # half the width of a strip of points with one label
INSIDE = (0.002, 0.998)  # a panel ends at these quantiles of real and synthetic numbers,
STRETCH = 2.0  # if the full range is more than STRETCH times as long


def pairs(
    columns: Mapping[str, NDArray[Any]],
    reference: Mapping[str, NDArray[Any]] | None = None,
    *,
    contours: Sequence[float] = (),
    truth: Mapping[str, float] | None = None,
    title: str | None = None,
    seed: int = 0,
    style: str | Style = "light",
) -> Figure:
    """Draw a matrix of panels: columns on the diagonal, pairs as points below it, pairs of real rows above it.

    Args:
        columns: name -> entries (n,): numbers or dates, or objects with None for missing entries; the first five are
            shown.
        reference: the same columns of real rows; without them, the panels above the diagonal stay empty.
        contours: up to 3 shares of the rows, such as (0.5, 0.9): draws a line around the smallest region that contains
            each share, in panels of two columns of numbers.
        truth: name -> a number to mark, such as the true parameters of a posterior.
        title: title of the figure.
        seed: seed of the choice of points and of the jitter of labels.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: for more than 3 shares, or a share not between 0 and 1.

    Example:
        >>> from motes.plots import pairs
        >>> figure = pairs({"age": np.array([31.0, 47.0, 25.0]), "sex": np.array(["f", "m", "f"], object)})
        >>> len(figure.axes)
        3
    """
    look, names, shares = as_style(style), list(columns)[:PAIR_COLUMNS], as_shares(contours)
    tables, marks = [rows for rows in (reference, columns) if rows is not None], truth or {}
    size, rng = len(names), np.random.default_rng([seed, 577215])
    scales = {name: _Scale(*(rows[name] for rows in tables), mark=marks.get(name)) for name in names}
    figure = new_figure(2.1 * size + 0.6, 1.9 * size + 0.6, look)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            rows = columns if i >= j else reference
            if rows is None:
                continue
            ax = new_axes(figure, size, size, i * size + j + 1)
            if i == j:
                _draw_distribution(ax, [rows[row] for rows in tables], scales[row], look)
                dress_text(ax.set_title(short(row, 22), loc="left", pad=3), look.foreground, 9)
                if row in marks:
                    ax.axvline(marks[row], color=look.accent, linewidth=1.4)
            else:
                colour = look.synthetic if i > j else look.real
                sides = (scales[column], rows[column]), (scales[row], rows[row])
                _draw_points(ax, *sides, colour, rng)
                _draw_contours(ax, *sides, shares, look)
                if row in marks and column in marks:
                    ax.plot(marks[column], marks[row], "+", color=look.accent, markersize=11, markeredgewidth=1.8)
                _draw_ticks(ax, scales[column], scales[row], bottom=i == size - 1, left=j == 0)
            dress(ax, look, size=8)
    _draw_heading(figure, title, PAIR_COLUMNS, len(columns), look)
    if reference is not None or shares:
        _draw_key(figure, look, both=reference is not None, shares=shares)
    return figure


def levels_of(log_p: Numbers, shares: Sequence[float]) -> list[float]:
    """Return the log-density on the boundary of the smallest region of a grid that contains each share of the mass."""
    ordered = np.sort(log_p.ravel())[::-1]
    mass = np.cumsum(np.exp(ordered - ordered[0]))
    rims = ordered[np.searchsorted(mass, np.asarray(shares) * mass[-1])]
    return (rims - 1e-6).tolist()  # just below: for a flat density, the boundary is the edge of the flat part


def as_shares(contours: Sequence[float]) -> list[float]:
    """Return the shares in rising order.

    Raises:
        ValueError: for too many shares, or a share not between 0 and 1.
    """
    shares = sorted(float(share) for share in contours)
    if len(shares) > len(LINES) or not all(0 < share < 1 for share in shares):
        raise ValueError(f"contours are {tuple(contours)}; expected at most {len(LINES)} shares of the mass in (0, 1).")
    return shares


def smoothed(x: Numbers, y: Numbers, limits: Sequence[tuple[float, float]]) -> Numbers:
    """Estimate the log-density of points (x, y), (n,) each, up to a constant: counts smoothed by a Gaussian kernel.

    The result has `CELLS` by `CELLS` cells between the `limits` of x and of y.
    """
    counts, *_ = np.histogram2d(x, y, CELLS, limits)
    width = [
        NARROWER * len(x) ** (-1 / 6) * _kernel_width(values) / (high - low) * CELLS
        for values, (low, high) in zip((x, y), limits, strict=True)
    ]
    dense = gaussian_filter(counts, np.maximum(width, NARROWEST), mode="constant")
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(dense))


def _kernel_width(values: Numbers) -> float:
    """Estimate the standard deviation of the narrowest mode, from the shortest interval with a quarter of the values.

    For Gaussian values this is their standard deviation.
    """
    ordered = np.sort(values)
    span = len(ordered) // 4
    return float((ordered[span:] - ordered[: len(ordered) - span]).min()) / QUARTER


class _Scale:
    """The axis of a column: its most frequent labels, or numbers, with dates as seconds since 1970.

    Attributes:
        labels: up to 8 labels, the most frequent first; None for numbers and dates.
        others: number of other labels, which share a place after them.
        dates: whether the entries are dates.
        limits: the ends of the axis.
        ends: the least and the largest number within them.
    """

    def __init__(self, *sets: NDArray[Any], mark: float | None = None):
        every = np.concatenate([entries[is_known(entries)] for entries in sets])
        first = every[0] if len(every) else ""
        self.labels: list[str] | None = None
        self.others, self.dates = 0, not isinstance(first, str | int | float | np.number | np.bool_)
        if isinstance(first, str | bool | np.bool_):
            kinds, counts = np.unique(every.astype(str), return_counts=True)
            ranked = kinds[np.argsort(-counts, kind="stable")].tolist()
            self.labels, self.others = ranked[:LABELS], max(len(ranked) - LABELS, 0)
            self.limits = (-0.5, len(self.labels) - 0.5 + bool(self.others))
            return
        numbers = self.numbers(every)
        low, high = float(numbers.min()), float(numbers.max())
        inner = np.quantile(numbers, INSIDE)
        if np.ptp(inner) > 0 and high - low > STRETCH * np.ptp(inner):
            low, high = map(float, inner)
        if mark is not None:
            low, high = min(low, mark), max(high, mark)
        room = 0.04 * (high - low) or 0.5
        self.ends = (float(low), float(high))
        self.limits = (float(low - room), float(high + room))

    def numbers(self, entries: NDArray[Any]) -> Numbers:
        """Return known entries as numbers."""
        if not self.dates:
            return entries.astype(np.float64)
        return np.array([np.datetime64(value, "us") for value in entries.tolist()], "M8[us]").astype(np.int64) / 1e6

    def places(self, entries: NDArray[Any], rng: np.random.Generator) -> Numbers:
        """Return the positions of entries, (n,), NaN for missing ones."""
        known = is_known(entries)
        made = np.full(len(entries), np.nan)
        if self.labels is None:
            made[known] = self.numbers(entries[known])
            return made
        place = {label: k for k, label in enumerate(self.labels)}
        codes = np.array([place.get(str(entry), LABELS) for entry in entries[known]], float)
        made[known] = codes + rng.uniform(-JITTER, JITTER, len(codes))
        return made


Side = tuple[_Scale, NDArray[Any]]


def _draw_points(ax: Axes, across: Side, up: Side, colour: str, rng: np.random.Generator) -> None:
    n = len(across[1])
    some = rng.permutation(n)[:POINTS]
    x, y = (scale.places(entries[some], rng) for scale, entries in (across, up))
    size = float(np.clip(3000 / max(len(some), 1), 1.0, 9.0))
    ax.scatter(x, y, s=size, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    # Labels from the top down, as on the diagonal.
    ax.set(xlim=across[0].limits, ylim=up[0].limits[:: 1 if up[0].labels is None else -1])


def _draw_contours(ax: Axes, across: Side, up: Side, shares: Sequence[float], look: Style) -> None:
    """Draw contours around the smallest regions with these shares of the rows, if both columns are numbers."""
    if not shares or any(scale.labels is not None or scale.dates for scale, _ in (across, up)):
        return
    known = is_known(across[1]) & is_known(up[1])
    x, y = (entries[known].astype(np.float64) for _, entries in (across, up))
    limits = [across[0].limits, up[0].limits]
    at_x, at_y = (np.linspace(*ends, 2 * CELLS + 1)[1::2] for ends in limits)
    log_p = smoothed(x, y, limits)
    for level, dashes in zip(levels_of(log_p, shares), LINES, strict=False):
        # Bounded below at the mirrored depth; otherwise the line would lie far out if the density ends abruptly.
        field = np.maximum(log_p, 2 * level - log_p.max())
        ax.contour(at_x, at_y, field.T, [level], colors=[look.foreground], linewidths=1.1, linestyles=[dashes])


def _draw_ticks(ax: Axes, across: _Scale, up: _Scale, *, bottom: bool, left: bool) -> None:
    """Draw tick labels on the outer panels only."""
    for axis, scale, shown in ((ax.xaxis, across, bottom), (ax.yaxis, up, left)):
        if not shown:
            axis.set_ticks([])
        elif scale.labels is not None:
            words = [short(label, 11) for label in scale.labels] + [f"{scale.others} others"] * bool(scale.others)
            axis.set_ticks(range(len(words)), words)
        elif scale.dates:
            axis.set_ticks(scale.ends, format_days(np.array(scale.ends)))
        else:
            axis.set_major_locator(MaxNLocator(4))
    if bottom and (across.labels is not None or across.dates):
        for text in ax.get_xticklabels():
            text.set(rotation=90)
