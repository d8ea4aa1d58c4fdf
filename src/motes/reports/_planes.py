"""Small pictures of the plane in SVG: points, and where two sets of them differ."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from motes.reports._svg import element, picture, shape, tick_text, ticks, written

Array = NDArray[np.float64]

STEPS = (0.1, 0.2, 0.3, 0.5)  # sizes of a difference of densities, as shares of the highest one
SHADES = (0.2, 0.4, 0.65, 0.95)  # of its colour, from each step on
LEFT, TOP, SIDE = 44.0, 6.0, 300.0  # of the square


def cloud(points: Array, low: Array, high: Array, colour: str, said: str) -> Markup:
    """Points of the plane as dots, with round numbers on both axes.

    Args:
        points: (n, 2).
        low, high: the ends of both axes, (2,) each.
        colour: a class of the style sheet.
        said: what is on the picture, for those who cannot see it.
    """
    spans = high - low
    across = LEFT + (points[:, 0] - low[0]) / spans[0] * SIDE
    up = TOP + SIDE - (points[:, 1] - low[1]) / spans[1] * SIDE
    dots = "".join(f"M{x:.1f},{y:.1f}h0" for x, y in zip(across.tolist(), up.tolist(), strict=True))
    return _plane([shape("path", f"cloud {colour}", d=dots)], low, spans, said)


def difference_map(share: Array, low: Array, high: Array, said: str) -> Markup:
    """Where synthetic points are too many, and where too few, on the axes of `cloud`, with its colours below.

    Args:
        share: the difference of the densities on a raster, row 0 at the top, (c, c).
        low, high: the ends of both axes, (2,) each.
        said: what is on the picture, for those who cannot see it.
    """
    side = SIDE / len(share)
    level = np.sign(share) * np.searchsorted(STEPS, np.abs(share), side="right")
    parts = []
    for value in sorted(set(level.ravel().tolist()) - {0.0}):
        runs = []
        for i, row in enumerate((level == value).astype(np.int8)):
            edges = np.flatnonzero(np.diff(row, prepend=0, append=0))
            for begin, end in edges.reshape(-1, 2).tolist():
                wide = (end - begin) * side
                runs.append(f"M{LEFT + begin * side:.1f},{TOP + i * side:.1f}h{wide:.1f}v{side:.1f}h{-wide:.1f}z")
        attributes = {"class": "more-synthetic" if value > 0 else "more-real", "d": "".join(runs),
                      "fill-opacity": f"{SHADES[int(abs(value)) - 1]:g}"}  # fmt: skip
        parts.append(element("path", attributes=attributes))
    return _plane(parts, low, high - low, said)


def density_scale() -> Markup:
    """The colours of `difference_map`, from too few synthetic points to too many."""
    side, parts = 46.0, []
    steps = [*(-step for step in reversed(STEPS)), *STEPS]
    shades = [*((shade, "more-real") for shade in reversed(SHADES)), (0.0, "more-real"),
              *((shade, "more-synthetic") for shade in SHADES)]  # fmt: skip
    for i, (shade, colour) in enumerate(shades):
        attributes = {"class": colour, "fill-opacity": f"{shade:g}", "x": f"{i * side:.1f}", "y": "2",
                      "width": f"{side:.1f}", "height": "12"}  # fmt: skip
        parts.append(element("rect", attributes=attributes))
    parts += [written(f"{value:g}".replace("-", "−"), (i + 1) * side, 28.0, "middle") for i, value in enumerate(steps)]
    said = "Colours of the difference, from below -0.5, too few synthetic points, to above 0.5, too many."
    return picture(len(shades) * side, 34, said, parts)


def _plane(drawn: Sequence[Markup], low: Array, spans: Array, said: str) -> Markup:
    """What is drawn on a square, in a frame with round numbers on both axes."""
    left, top, side = LEFT, TOP, SIDE
    parts = [*drawn, shape("rect", "frame", x=left, y=top, width=side, height=side)]
    parts += [
        written(tick_text(value, spans[0]), left + (value - low[0]) / spans[0] * side, top + side + 15, "middle")
        for value in ticks(low[0], low[0] + spans[0])
    ]
    parts += [
        written(tick_text(value, spans[1]), left - 6, top + side - (value - low[1]) / spans[1] * side + 4, "end")
        for value in ticks(low[1], low[1] + spans[1])
    ]
    return picture(left + side + 10, top + side + 22, said, parts)
