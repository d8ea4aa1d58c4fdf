"""Elements of SVG, safe in a template, and the texts on a picture. Colours are those of the style sheet."""

import re
from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

LETTER = 6.2  # width of one, in the units of a picture

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def printable(value: object) -> Markup | str:
    """Markup as it is; anything else as text in which control characters are U+FFFD, yet to be escaped."""
    return value if isinstance(value, Markup) else CONTROL.sub("\ufffd", str(value))


def element(name: str, *children: str, attributes: Mapping[str, object]) -> Markup:
    """An element of a picture; attributes and children that are no `Markup` are escaped."""
    said = Markup("").join(Markup(' {}="{}"').format(key, printable(value)) for key, value in attributes.items())
    inside = Markup("").join(escape(printable(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, said, inside)


def picture(
    width: float, height: float, said: str, parts: Sequence[Markup], *, classes: str = "chart", shrinks: bool = True
) -> Markup:
    """An SVG that says to those who cannot see it what is on it. What does not shrink is scrolled on a narrow page."""
    attributes = {
        "class": classes,
        "viewBox": f"0 0 {width:g} {height:g}",
        "role": "img",
        "aria-label": said,
        "style": f"{'max-width' if shrinks else 'width'}:{width:g}px",
    }
    return element("svg", *parts, attributes=attributes)


def shape(name: str, classes: str, **places: float | str) -> Markup:
    """A shape; lengths are written to a tenth."""
    attributes = {"class": classes} | {
        key: value if isinstance(value, str) else f"{value:.1f}" for key, value in places.items()
    }
    return element(name, attributes=attributes)


def written(said: str, x: float, y: float, anchor: str) -> Markup:
    """A text at a place; `anchor` is "start", "middle" or "end"."""
    return element("text", said, attributes={"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor})


# --- texts ----------------------------------------------------------------------------------------------------------


def ticks(low: float, high: float) -> list[float]:
    """Two to six round numbers from `low` to `high`."""
    least = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(least))
    step = power * min(factor for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    return [float(k * step) for k in np.arange(np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9) + 1)]


def tick_text(value: float, span: float) -> str:
    """A tick, with as many digits as the steps between ticks need."""
    if abs(value) < 1e-9 * span:
        return "0"
    if max(abs(value), span) >= 1e6 or span < 1e-3:
        return f"{value:.4g}"
    comma = "," if max(abs(value), span) >= 1e4 else ""  # a year has none
    return f"{value:{comma}.{int(np.clip(np.ceil(-np.log10(span / 2.5) - 1e-9), 0, 6))}f}"


def shortened(text: str, most: int) -> str:
    """At most so many letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def room_of(text: str) -> float:
    """The width of a text with a gap beside it."""
    return (len(text) + 1) * LETTER
