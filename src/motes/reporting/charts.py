"""Small pictures in SVG, by hand: numbers in, an element out. Colours are those of the style sheet, dark or light."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.reporting.elements import Child, Html, classed, element, escaped

Array = NDArray[np.float64]

WIDTH = 320
LETTER = 6.2  # width of one, in the units of a picture
MOST_CELLS = 30  # rows of a heat map


class Mark(NamedTuple):
    """A value with its interval, what it is, and the class of its colour."""

    label: str
    value: float
    low: float
    high: float
    colour: str


def histogram(real: Array, made: Array, edges: Array, said: str, *, dates: bool = False) -> Html:
    """Real numbers as a filled outline, made ones as a line, over the same cells; `edges` (k + 1,)."""
    height, base = 118.0, 96.0
    x = (edges - edges[0]) / (edges[-1] - edges[0]) * WIDTH
    top = max(float(real.max()), float(made.max())) or 1.0
    parts = [
        _shape("path", "real-area", d=_steps(x, base - real / top * (base - 6), base, closed=True)),
        _shape("path", "made-line", d=_steps(x, base - made / top * (base - 6), base, closed=False)),
        _shape("line", "axis", x1=0, x2=WIDTH, y1=base, y2=base),
    ]
    low, high = float(edges[0]), float(edges[-1])
    if dates:
        places = ((0.0, "start"), (0.5, "middle"), (1.0, "end"))
        parts += [_text(_date(low + at * (high - low)), at * WIDTH, base + 15, anchor) for at, anchor in places]
    else:
        for value in ticks(low, high):
            at = (value - low) / (high - low) * WIDTH
            parts.append(_shape("line", "axis", x1=at, x2=at, y1=base, y2=base + 4))
            parts.append(_text(_short(value, high - low), float(np.clip(at, 12, WIDTH - 12)), base + 16, "middle"))
    return picture(WIDTH, height, said, parts)


def label_bars(labels: Sequence[str], real: Array, made: Array, said: str) -> Html:
    """Two bars for each label: real above made."""
    step, left = 30.0, 112.0
    top = max(float(real.max()), float(made.max())) or 1.0
    room = WIDTH - left - 44
    parts = []
    for i, (label, theirs, ours) in enumerate(zip(labels, real, made, strict=True)):
        y = 4 + i * step
        parts += [
            _text(_cut(label, 17), left - 8, y + 15, "end"),
            _shape("rect", "real-bar", x=left, y=y, width=max(theirs / top * room, 0.5), height=11),
            _shape("rect", "made-bar", x=left, y=y + 12, width=max(ours / top * room, 0.5), height=11),
            _text(f"{theirs:.1%}", left + theirs / top * room + 5, y + 9.5, "start"),
            _text(f"{ours:.1%}", left + ours / top * room + 5, y + 21.5, "start"),
        ]
    return picture(WIDTH, 6 + len(labels) * step, said, parts)


def interval(mark: Mark, floor: float, top: float, said: str) -> Html:
    """One value between 0 and `top` with its interval, and a tick at its floor; as high as a line of text."""
    width = 120

    def at(value: float) -> float:
        return float(np.clip(value / top, 0, 1)) * (width - 8) + 4

    parts = [
        _shape("line", "axis", x1=4, x2=width - 4, y1=9, y2=9),
        _shape("line", f"whisker {mark.colour}", x1=at(mark.low), x2=at(mark.high), y1=9, y2=9),
        _shape("line", "floor", x1=at(floor), x2=at(floor), y1=2, y2=16),
        _shape("circle", f"dot {mark.colour}", cx=at(mark.value), cy=9, r=3.6),
    ]
    return picture(width, 18, said, parts, classes="inline")


def marks(given: Sequence[Mark], low: float, high: float, said: str, *, centre: float | None = None) -> Html:
    """Values with their intervals under each other on one axis from `low` to `high`; a dashed line at `centre`."""
    width, left, step = 640, 170.0, 30.0
    room, bottom = width - left - 70, 8 + len(given) * step

    def at(value: float) -> float:
        return left + float(np.clip((value - low) / ((high - low) or 1.0), 0, 1)) * room

    parts = [_shape("line", "axis", x1=left, x2=left + room, y1=bottom, y2=bottom)]
    parts += [_text(_short(value, high - low), at(value), bottom + 16, "middle") for value in ticks(low, high)]
    if centre is not None and low <= centre <= high:
        parts.append(_shape("line", "floor dashed", x1=at(centre), x2=at(centre), y1=2, y2=bottom))
    for i, mark in enumerate(given):
        y = 8 + step / 2 + i * step
        parts += [
            _text(_cut(mark.label, 26), left - 12, y + 4, "end"),
            _shape("line", f"whisker {mark.colour}", x1=at(mark.low), x2=at(mark.high), y1=y, y2=y),
            _shape("circle", f"dot {mark.colour}", cx=at(mark.value), cy=y, r=5),
            _text(f"{mark.value:.4g}", left + room + 12, y + 4, "start"),
        ]
    return picture(width, bottom + 22, said, parts)


def bars(labels: Sequence[str], values: Sequence[float], said: str) -> Html:
    """A bar for each value, the longest first."""
    width, left, step = 640, 170.0, 22.0
    top, room = max(max(values), 1e-12), width - left - 70
    parts = []
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        y, length = 4 + i * step, max(value / top * room, 0.5)
        parts += [
            _text(_cut(label, 26), left - 12, y + 12, "end"),
            _shape("rect", "made-bar", x=left, y=y + 2, width=length, height=13),
            _text(f"{100 * value:.1f}", left + length + 6, y + 12, "start"),
        ]
    return picture(width, 8 + len(labels) * step, said, parts)


def heat_map(values: Array, names: Sequence[str], said: str) -> Html:
    """A matrix (d, d) of numbers from -1 to 1, the rows named, the columns numbered; nothing where NaN,
    nor of a column with itself."""
    d = len(names)
    longest = max(len(_cut(name, 14)) for name in names)
    left, top = 26 + longest * LETTER, 18.0
    cell = min((WIDTH - left) / d, 26.0)
    # Of many columns not each has room for its name, nor for its number.
    every_row, every_column = math.ceil(9 / cell), math.ceil(17 / cell)
    parts: list[Child] = []
    for i, name in enumerate(names):
        y = top + i * cell
        if i % every_row == 0:
            parts.append(_text(f"{_cut(name, 14)} {i + 1}", left - 5, y + cell / 2 + 3.5, "end"))
        if i % every_column == 0:
            parts.append(_text(str(i + 1), left + (i + 0.5) * cell, top - 5, "middle"))
        for j, value in enumerate(values[i]):
            if np.isnan(value) or i == j:
                continue
            box = {"x": left + j * cell, "y": y, "width": cell - 1, "height": cell - 1}
            tip = element("title", f"{name}, {names[j]}: {value:.2f}")
            kind = "plus" if value >= 0 else "minus"
            attributes = {"class": f"cell {kind}", "fill-opacity": f"{min(abs(value), 1):.3f}"}
            attributes |= {key: f"{number:.1f}" for key, number in box.items()}
            parts.append(element("rect", tip, attributes=attributes))
    return picture(WIDTH, top + d * cell + 4, said, parts)


def picture(width: float, height: float, said: str, parts: Sequence[Child], *, classes: str = "chart") -> Html:
    """An SVG that says to those who cannot see it what is on it."""
    attributes = {
        "class": classes,
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": said,
        "style": f"max-width:{width:g}px",
    }
    return element("svg", *parts, attributes=attributes)


def legend(*keys: tuple[str, str]) -> Html:
    """Which colour is which: classes of a key, and what it stands for."""
    return classed(
        "p", "legend", *(classed("span", "item", classed("span", f"key {key}", ""), said) for key, said in keys)
    )


def _shape(name: str, classes: str, **places: float | str) -> Html:
    attributes = {"class": classes} | {
        key: value if isinstance(value, str) else f"{value:.1f}" for key, value in places.items()
    }
    return element(name, attributes=attributes)


def _text(said: str, x: float, y: float, anchor: str) -> Html:
    return element("text", escaped(said), attributes={"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})


def _steps(x: Array, y: Array, base: float, *, closed: bool) -> str:
    """The outline of a histogram."""
    across, up = np.repeat(x, 2), np.concatenate([[base], np.repeat(y, 2), [base]])
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, up, strict=True))
    return f"M{path}" + ("Z" if closed else "")


def ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers from `low` to `high`."""
    least = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(least))
    step = power * min(factor for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    return [float(k * step) for k in np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)]


def _short(value: float, span: float) -> str:
    """A tick, with as many digits as the steps between ticks need."""
    if abs(value) < 1e-9 * span:
        return "0"
    if max(abs(value), span) >= 1e6 or span < 1e-3:
        return f"{value:.4g}"
    return f"{value:,.{int(np.clip(np.ceil(-np.log10(span / 2.5) - 1e-9), 0, 6))}f}"


def _date(value: float) -> str:
    return str(np.datetime64(int(value), "us").astype("M8[D]"))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
