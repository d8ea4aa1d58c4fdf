"""Points as text, for a terminal: Unicode braille holds 2 by 4 dots in every character. No matplotlib here."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.figures._arrays import as_points, bell, blur, counts, fill, limits_of

_BLANK = 0x2800
# The bit of each dot in a braille character, by row and column: the fourth row was added to the code later.
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
_SHARE = 0.3  # of the density in the densest tenth of the picture, below which a dot stays dark


def braille(x: ArrayLike, *, width: int = 24, height: int = 12) -> str:
    """Draw points as `height` lines of `width` braille characters.

    The aspect is equal where a terminal's character is twice as tall as wide, as most are. A dot is set where the
    points are dense, so that 10,000 points still show their shape and not the outline of their noise.

    Args:
        x: points, shape (n, 2).
        width, height: in characters, at least 1.

    Example:
        >>> from motes.figures import braille
        >>> print(braille(motes.make_shape("rings", 10_000), width=12, height=6))
        ⠀⠀⢀⡠⠤⠒⠲⠤⣄⡀⠀⠀
        ⠀⡰⢋⡴⣫⣭⣭⣑⢦⡑⣆⠀
        ⢠⠃⡟⣾⣿⡿⢷⣿⣧⢳⢸⡀
        ⠸⡇⣧⢿⣿⣷⣾⣻⡟⡼⢸⠃
        ⠀⠱⣌⠳⣭⣛⣛⡭⠞⣡⠏⠀
        ⠀⠀⠈⠙⠲⠲⠶⠒⠋⠀⠀⠀
    """
    points = as_points(x)
    if width < 1 or height < 1:
        raise ValueError(f"width is {width} and height is {height}; expected at least one character each.")
    columns, rows = 2 * width, 4 * height
    view = fill(limits_of(points), columns, rows)
    dots = _dots(counts(points, view, columns, rows))
    cells = dots.reshape(height, 4, width, 2).transpose(0, 2, 1, 3)  # (height, width, 4, 2)
    codes = _BLANK + (cells * _BITS).sum(axis=(2, 3))
    return "\n".join("".join(map(chr, line)) for line in codes.tolist())


def _dots(hits: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which dots to set: all that were hit while points are few, the dense ones when they are many."""
    taken = hits[hits > 0]
    if not len(taken):
        return np.zeros(hits.shape, dtype=np.bool_)
    smooth = blur(hits, bell(0.5))  # or chance alone would punch holes into an even crowd
    dense = float(np.quantile(smooth[hits > 0], 0.9))
    # Below one point a dot the threshold is off: the fewer the points, the more each of them matters.
    threshold = _SHARE * dense * min(1.0, max(0.0, (taken.mean() - 1) / 2))
    return np.asarray((hits > 0) & (smooth >= threshold))
