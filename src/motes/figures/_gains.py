"""What a model of a table knows of each column beyond the column itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from motes.figures._canvas import dress, dress_text, new_axes, new_figure
from motes.figures._distributions import short
from motes.figures._style import Style, as_style

COLUMNS = 24  # that are shown, at most


def column_gains(
    names: Sequence[str],
    gain: ArrayLike,
    error: ArrayLike,
    mixture: ArrayLike | None = None,
    *,
    title: str | None = None,
    style: str | Style = "light",
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
        >>> from motes.figures import column_gains
        >>> figure = column_gains(["age", "income"], [0.0, 0.4], [0.01, 0.02])
        >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        ['income', 'age']
    """
    look = as_style(style)
    values, errors = np.asarray(gain, float), np.asarray(error, float)
    simple = None if mixture is None else np.asarray(mixture, float)
    for what, one in (("gain", values), ("error", errors), ("mixture", simple)):
        if one is not None and one.shape != (len(names),):
            raise ValueError(f"{what} has shape {one.shape}; expected ({len(names)},), one number a column.")
    order = np.argsort(-values, kind="stable")[:COLUMNS]
    figure = new_figure(6.4, 0.27 * len(order) + 1.3, look)
    ax = new_axes(figure, 1, 1, 1)
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
    dress(ax, look, size=9.5)
    heading = [title] if title else []
    if len(names) > COLUMNS:
        heading.append(f"{COLUMNS} of {len(names)} columns")
    if heading:
        dress_text(ax.set_title(" · ".join(heading), loc="left", pad=6), look.foreground, 10.5)
    legend = figure.legend(keys, words, loc="outside upper right", frameon=False, ncols=2)
    for text in legend.get_texts():
        dress_text(text, look.foreground, 9)
    return figure
