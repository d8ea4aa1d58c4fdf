"""Columns of a table against one another: synthetic rows below the diagonal, real ones above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from motes.figures._canvas import dress, dress_text, new_axes, new_figure
from motes.figures._contours import CELLS, LINES, as_shares, levels_of, smoothed
from motes.figures._distributions import (
    heading,
    histogram_or_bars,
    is_known,
    is_label,
    key,
    known_entries,
    seconds_of,
    short,
)
from motes.figures._style import Style, as_style

COLUMNS = 5  # that are shown, at most
POINTS = 1500  # of a panel, at most
LABELS = 8  # of a column, at most; the others are one more
JITTER = 0.32  # half the width of a strip of points with one label
INSIDE = (0.002, 0.998)  # quantiles of real and synthetic numbers between which a panel lies, if what is beyond would
STRETCH = 2.0  # stretch it to more than so many times their distance


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
    """A matrix of panels: each column on the diagonal, each pair as points below it, the same pair of real rows above.

    Args:
        columns: name -> entries (n,): numbers or dates, or objects with None where missing; the first five are shown.
        reference: the same columns of real rows; without them the panels above the diagonal stay empty.
        contours: shares of the rows, at most 3, such as (0.5, 0.9): lines around the smallest region that holds each,
            in panels of two columns of numbers.
        truth: name -> a number that is marked, such as the parameters of which draws of a posterior are guesses.
        title: drawn above.
        seed: of which points are shown, and of the jitter of labels.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: more shares than 3, or one that is not between 0 and 1.

    Example:
        >>> from motes.figures import pairs
        >>> figure = pairs({"age": np.array([31.0, 47.0, 25.0]), "sex": np.array(["f", "m", "f"], object)})
        >>> len(figure.axes)
        3
    """
    look, names, shares = as_style(style), list(columns)[:COLUMNS], as_shares(contours)
    marks = {} if truth is None else dict(truth)
    size, rng = len(names), np.random.default_rng([seed, 577215])
    scales = {
        name: _Scale(columns[name], None if reference is None else reference[name], marks.get(name)) for name in names
    }
    figure = new_figure(2.1 * size + 0.6, 1.9 * size + 0.6, look)
    for i, row in enumerate(names):
        for j, column in enumerate(names):
            rows = columns if i >= j else reference
            if rows is None:
                continue
            ax = new_axes(figure, size, size, i * size + j + 1)
            if i == j:
                real = None if reference is None else known_entries(reference[row])
                histogram_or_bars(ax, known_entries(columns[row]), real, look)
                dress_text(ax.set_title(short(row, 22), loc="left", pad=3), look.foreground, 9)
                if row in marks:
                    ax.axvline(marks[row], color=look.accent, linewidth=1.4)
            else:
                colour = look.synthetic if i > j else look.real
                sides = (scales[column], rows[column]), (scales[row], rows[row])
                _points(ax, *sides, colour, rng)
                _lines(ax, *sides, shares, look)
                if row in marks and column in marks:
                    ax.plot(marks[column], marks[row], "+", color=look.accent, markersize=11, markeredgewidth=1.8)
                _ticks(ax, scales[column], scales[row], bottom=i == size - 1, left=j == 0)
            dress(ax, look, size=8)
    if len(columns) > COLUMNS:
        title = f"{title + ' · ' if title else ''}{COLUMNS} of {len(columns)} columns"
    if title:
        heading(figure, title, look)
    if reference is not None or shares:
        key(figure, look, both=reference is not None, shares=shares)
    return figure


class _Scale:
    """How the entries of a column become places on an axis."""

    def __init__(self, entries: NDArray[Any], real: NDArray[Any] | None, mark: float | None = None):
        every = known_entries(entries if real is None else np.concatenate([entries, real]))
        self.labels: list[str] | None = None
        if is_label(every):
            kinds, counts = np.unique(every.astype(str), return_counts=True)
            ranked = kinds[np.argsort(-counts, kind="stable")].tolist()
            self.labels = ranked[:LABELS] + ([f"{len(ranked) - LABELS} others"] if len(ranked) > LABELS else [])
            self.limits = (-0.5, len(self.labels) - 0.5)
            return
        self.dates = len(every) > 0 and not isinstance(every[0], int | float | np.number)
        numbers = seconds_of(every) if self.dates else every.astype(np.float64)
        low, high = (numbers.min(), numbers.max()) if len(numbers) else (0.0, 1.0)
        inner = np.quantile(numbers, INSIDE) if len(numbers) else np.zeros(2)
        if np.ptp(inner) > 0 and high - low > STRETCH * np.ptp(inner):
            low, high = inner
        if mark is not None:
            low, high = min(low, mark), max(high, mark)
        room = 0.04 * (high - low) or 0.5
        self.limits = (float(low - room), float(high + room))

    @property
    def numbers(self) -> bool:
        """Whether entries are numbers, and neither labels nor dates."""
        return self.labels is None and not self.dates

    def places(self, entries: NDArray[Any], rng: np.random.Generator) -> NDArray[np.float64]:
        """(n,), NaN where missing."""
        known = is_known(entries)
        made = np.full(len(entries), np.nan)
        there = entries[known]
        if self.labels is None:
            made[known] = seconds_of(there) if self.dates else there.astype(np.float64)
            return made
        place = {label: k for k, label in enumerate(self.labels)}
        codes = np.array([place.get(str(entry), len(self.labels) - 1) for entry in there], float)
        made[known] = codes + rng.uniform(-JITTER, JITTER, len(codes))
        return made


Side = tuple[_Scale, NDArray[Any]]


def _points(ax: Axes, across: Side, up: Side, colour: str, rng: np.random.Generator) -> None:
    n = len(across[1])
    some = rng.permutation(n)[:POINTS]
    x, y = (scale.places(entries[some], rng) for scale, entries in (across, up))
    size = float(np.clip(3000 / max(len(some), 1), 1.0, 9.0))
    ax.scatter(x, y, s=size, color=colour, alpha=0.5, linewidths=0, rasterized=True)
    # Labels from the top down, as on the diagonal.
    ax.set(xlim=across[0].limits, ylim=up[0].limits[:: 1 if up[0].labels is None else -1])


def _lines(ax: Axes, across: Side, up: Side, shares: Sequence[float], look: Style) -> None:
    """Around the smallest regions that hold these shares of the rows, where both columns are numbers."""
    if not shares or not (across[0].numbers and up[0].numbers):
        return
    known = is_known(across[1]) & is_known(up[1])
    x, y = (entries[known].astype(np.float64) for _, entries in (across, up))
    limits = [across[0].limits, up[0].limits]
    at_x, at_y = (np.linspace(*ends, 2 * CELLS + 1)[1::2] for ends in limits)
    log_p = smoothed(x, y, limits)
    for level, dashes in zip(levels_of(at_x, at_y, log_p, shares), LINES, strict=False):
        # As deep outside as the rim is below the maximum, or the line would lie far out where the density ends at once.
        field = np.maximum(log_p, 2 * level - log_p.max())
        ax.contour(at_x, at_y, field.T, [level], colors=[look.foreground], linewidths=1.1, linestyles=[dashes])


def _ticks(ax: Axes, across: _Scale, up: _Scale, *, bottom: bool, left: bool) -> None:
    """Numbers and labels stand at the outer panels alone."""
    for axis, scale, shown in ((ax.xaxis, across, bottom), (ax.yaxis, up, left)):
        if not shown:
            axis.set_ticks([])
        elif scale.labels is not None:
            words = [short(label, 11) for label in scale.labels]
            axis.set_ticks(range(len(words)), words)
        elif scale.dates:
            ends = np.array(scale.limits)
            axis.set_ticks(ends, np.array(ends * 1e6, "M8[us]").astype("M8[D]").astype(str).tolist())
        else:
            axis.set_major_locator(MaxNLocator(4))
    if bottom and (across.labels is not None or across.dates):
        for text in ax.get_xticklabels():
            text.set(rotation=90)
