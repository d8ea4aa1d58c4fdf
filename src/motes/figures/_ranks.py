"""Ranks of true parameters among draws of a model: how far they are from uniform."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from motes.figures._canvas import dress, new_axes, new_figure, small_print
from motes.figures._style import Style, as_style

_BAND = 1.3581  # the distance of Kolmogorov's test at the level 0.05, times the root of n
_STROKES = ("-", "--", ":")  # where the colours are used up
_NAMES, _HEAD, _LINE = 3, 0.04, 0.065  # names in a line of the legend; what it and each line take of the height


def rank_curves(
    ranks: Mapping[str, ArrayLike], draws: int, *, ax: Axes | None = None, style: str | Style = "light"
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
        >>> from motes.figures import rank_curves
        >>> ax = rank_curves({"rate": np.arange(100)}, draws=99)
        >>> ax.get_xlabel()
        'normalised rank'
    """
    look = as_style(style)
    found = {name: np.asarray(values) for name, values in ranks.items()}
    for name, values in found.items():
        if values.ndim != 1 or not len(values) or values.min() < 0 or values.max() > draws:
            raise ValueError(f"the ranks of '{name}' are not (m,) numbers from 0 to {draws}, m at least 1.")
    if not found:
        raise ValueError("got no ranks; expected those of one column at least.")
    ax = new_axes(new_figure(5.2, 3.4, look), 1, 1, 1) if ax is None else ax
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
    dress(ax, look, size=9.5)
    ax.legend(frameon=False, fontsize=8.5, labelcolor=look.foreground, loc="upper right", ncols=_NAMES)
    small_print(ax, f"{least:,} simulations, 95 % band", look)
    return ax
