"""Figures, axes and their styles, without pyplot and rcParams; figures display themselves in a notebook.

There are two styles. `dark` has warm points on near-black; `light` has ink on white paper, for print.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from textwrap import fill
from threading import Lock
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.legend import Legend
from matplotlib.text import Text

# The same in every style, so that a class keeps its colour. The colours were found by a search: each is visible on
# white and on near-black, and any two differ by at least 19 in CIELAB, also with any kind of colour blindness.
CLASSES = ("#2f7fd0", "#e07f1f", "#8a2ff5", "#10664a", "#22bfdd", "#f09aa0", "#b0608f", "#5a6600", "#a0108f", "#bf9f60")


@dataclass(frozen=True)
class Style:
    """The colours of a figure; you can pass your own instead of the name of a style.

    Attributes:
        foreground: text and the main curve.
        accent: highlights: the time, a reference line, the second curve.
        muted: frames, ticks and context.
        glow: strength of the glow around dense points, 0 to 1.
        density: colour map from empty (the background) to dense.
        axes: whether plots of points have a frame and ticks.
        classes: one colour per class.

    Example:
        >>> from motes.plots import STYLES
        >>> STYLES["dark"].name, STYLES["dark"].background
        ('dark', '#0b0908')
    """

    name: str
    background: str
    foreground: str
    accent: str
    muted: str
    glow: float
    density: Colormap
    axes: bool
    classes: tuple[str, ...] = CLASSES

    @property
    def real(self) -> str:
        """Colour of real rows."""
        return self.classes[0]

    @property
    def synthetic(self) -> str:
        """Colour of synthetic rows."""
        return self.classes[1]


def _ramp(name: str, *colours: str) -> Colormap:
    """Return a colour map from empty to dense, from six colours."""
    stops = zip((0.0, 0.18, 0.42, 0.66, 0.85, 1.0), colours, strict=True)
    return LinearSegmentedColormap.from_list(f"motes-{name}", list(stops), N=256)


STYLES: dict[str, Style] = {
    "dark": Style(
        name="dark",
        background="#0b0908",
        foreground="#f4ead9",
        accent="#ffb454",
        muted="#8f8272",
        glow=1.0,
        axes=False,
        density=_ramp("dust", "#0b0908", "#2a1509", "#8a430f", "#f09a37", "#ffdc9c", "#fffaf0"),
    ),
    "light": Style(
        name="light",
        background="#ffffff",
        foreground="#1d2430",
        accent="#c8541a",
        muted="#747c88",
        glow=0.0,
        axes=True,
        density=_ramp("ink", "#ffffff", "#dbe5f1", "#8fb0d6", "#44719f", "#1f3d6b", "#0a1730"),
    ),
}


def as_style(style: str | Style) -> Style:
    """Return the style with a name; a `Style` is returned unchanged."""
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise ValueError(f"unknown style {style!r}; expected one of {', '.join(map(repr, STYLES))}, or your own Style.")
    return STYLES[style]


# --- figures and axes -------------------------------------------------------------------------------------------------

BODY = 11.0  # font size of a figure with axes, in points
_FORMULAS = Lock()  # matplotlib has one parser for all formulas, which is not thread-safe
_EDGE = 0.1  # margin around a figure, in inches
_TALLEST = 1.4  # maximum height of a box, in requested widths
_FOOT = 0.24  # height of a line of the footnote, in inches
_SMALL = 8.5  # font size of the footnote, in points
_WIDTHS = (2.0, 40.0)  # minimum and maximum width of a figure, in inches
_MATH = "cm"  # Computer Modern, set on each text, so that the user's settings stay


class _InNotebook:
    """Displays its figure in a notebook; the figure of a figure is itself."""

    def _repr_png_(self: Any) -> bytes:
        buffer = BytesIO()
        with _FORMULAS:
            self.figure.savefig(buffer, format="png")
        return buffer.getvalue()


class NotebookFigure(_InNotebook, Figure):
    """A figure that displays itself in a notebook without pyplot."""


class NotebookAxes(_InNotebook, Axes):
    """Axes that display their figure in a notebook."""


def new_figure(width: float, height: float, look: Style) -> Figure:
    """Return an empty figure, `width` by `height` inches, with the background of the style."""
    figure = NotebookFigure(figsize=(width, height), dpi=120, facecolor=look.background)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.08, wspace=0.0, hspace=0.0)
    return figure


def new_axes(figure: Figure, rows: int, columns: int, at: int) -> Axes:
    """Add axes number `at`, from 1, in a table of `rows` by `columns`."""
    return figure.add_subplot(rows, columns, at, axes_class=NotebookAxes)


def single_axes(look: Style, width: float = 6.4, height: float = 3.8, *, ax: Axes | None = None) -> Axes:
    """Return `ax`, or by default the only axes of a new figure, `width` by `height` inches."""
    return new_axes(new_figure(width, height, look), 1, 1, 1) if ax is None else ax


def dress(ax: Axes, look: Style, *, size: float = 10.0) -> None:
    """Apply a style to axes: colours, and text of `size` points. The figure's background changes too, for titles."""
    figure = ax.figure
    figure.set_facecolor(look.background)
    ax.set_facecolor(look.background)
    ax.tick_params(which="both", colors=look.muted, labelcolor=look.muted, labelsize=size - 1.5, width=0.7)
    ax.tick_params(which="both", labelfontfamily="DejaVu Sans")
    ax.tick_params(which="major", length=3)
    ax.tick_params(which="minor", length=1.5)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["bottom", "left"]].set(color=look.muted, linewidth=0.7)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        dress_text(text, look.foreground, size)


def dress_text(text: Text, color: str, size: float) -> None:
    """Set the properties of a text that it would otherwise take from rcParams."""
    text.set(color=color, fontsize=size, fontfamily="DejaVu Sans", fontweight="normal", usetex=False)
    text.set_math_fontfamily(_MATH)


def plane(ax: Axes, look: Style, *, first: bool = True) -> None:
    """Set up axes for two coordinates in one unit: equal aspect, without ticks and frame.

    If the style has axes, ticks and frame are kept, with vertical tick labels on the `first` panel of a row.
    """
    ax.set_aspect("equal", adjustable="box")
    if look.axes:
        ax.locator_params(nbins=4)
        ax.tick_params(labelleft=first)
        return
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def add_legend(on: Axes | FigureBase, look: Style, *, size: float = BODY - 1, **options: Any) -> Legend:
    """Add a legend without a frame, in the colours of a style; `options` are passed to matplotlib's `legend`."""
    legend: Legend = on.legend(frameon=False, **options)
    for text in legend.get_texts():
        dress_text(text, look.foreground, size)
    return legend


def small_print(ax: Axes, text: str, look: Style) -> None:
    """Write a small remark above the right corner of the axes."""
    dress_text(ax.set_title(text, loc="right", pad=5), look.muted, BODY - 2.5)


def colour_bar(ax: Axes, shown: ScalarMappable, label: str, look: Style) -> Axes:
    """Add a slim colour bar next to `ax`, as tall as the axes even with an equal aspect."""
    bar_axes: Axes = ax.inset_axes((1.04, 0.0, 0.04, 1.0))
    bar = ax.figure.colorbar(shown, cax=bar_axes)
    bar.outline.set_visible(False)
    dress(bar_axes, look, size=BODY - 1)
    bar_axes.spines[:].set_visible(False)
    bar.set_label(label, color=look.foreground, labelpad=6)
    return bar_axes


def footnote(figure: Figure, text: str, style: str | Style = "dark") -> None:
    """Add a footnote to a figure, which becomes taller by one line.

    Args:
        figure: a figure of this package.
        text: the footnote, such as the source of the data.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import footnote, row
        >>> figure = row([motes.make_shape("moons", 200)], [0.0])
        >>> tall = float(figure.get_size_inches()[1])
        >>> footnote(figure, "moons, 200 points")
        >>> round(float(figure.get_size_inches()[1]) - tall, 2)
        0.24
    """
    look = as_style(style)
    wide, tall = figure.get_size_inches()
    new = tall + _FOOT
    share = _FOOT / new
    figure.set_size_inches(wide, new)
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)  # as every figure of this package has
    before = engine.get()["rect"]
    low = share + (1 - share) * before[1]
    engine.set(rect=(0.0, low, 1.0, 1.0 - low))
    for one in figure.texts:
        if one.get_text() and one.get_text() == figure.get_supxlabel():
            # The layout would put it at the very bottom.
            figure.supxlabel(one.get_text(), y=low, size=one.get_fontsize(), color=one.get_color())
        else:
            one.set_y(share + (1 - share) * one.get_position()[1])
    written = figure.text(1 - _EDGE / wide, 0.5 * _EDGE / new, text, ha="right", va="bottom")
    dress_text(written, look.muted, _SMALL)


def resize(figure: Figure, width: float) -> None:
    """Scale a figure to a width and keep its proportions. Text scales by the square root of the factor.

    Args:
        figure: a figure of this package, before `footnote`.
        width: in inches, 2 to 40.

    Example:
        >>> from motes.plots import resize, row
        >>> figure = row([motes.make_shape("moons", 200)] * 10, np.linspace(0, 1, 10))
        >>> resize(figure, 7.0)
        >>> float(figure.get_size_inches()[0])
        7.0
    """
    if not _WIDTHS[0] <= width <= _WIDTHS[1]:
        raise ValueError(f"width is {width:g} inches; expected {_WIDTHS[0]:g} to {_WIDTHS[1]:g}.")
    wide, tall = figure.get_size_inches()
    ratio = width / wide
    for text in figure.findobj(Text):
        text.set_fontsize(text.get_fontsize() * np.sqrt(ratio))
    for ax in [*figure.axes, *(child for main in figure.axes for child in main.child_axes)]:
        for axis in (ax.xaxis, ax.yaxis):
            size = axis.get_tick_params().get("labelsize", BODY)
            axis.set_tick_params(labelsize=size * np.sqrt(ratio))
        for drawn in ax.collections:
            if isinstance(drawn, PathCollection):  # points
                drawn.set_sizes(drawn.get_sizes() * ratio**1.5)
    figure.set_size_inches(width, ratio * tall)


def set_font(figure: Figure, family: str | Sequence[str], size: float | None = None) -> None:
    """Set the font family of all text in a figure, and optionally one size for all of it.

    Args:
        figure: a figure of this package, after `resize` and before `footnote`.
        family: a font family, such as "serif" or "Times New Roman", or several in order of preference.
        size: font size in points; default: sizes remain as they are.

    Example:
        >>> from motes.plots import row, set_font
        >>> figure = row([motes.make_shape("moons", 200)] * 2, [0.0, 0.5])
        >>> set_font(figure, "serif", 8)
        >>> figure.axes[0].title.get_fontfamily(), figure.axes[0].title.get_fontsize()
        (['serif'], 8.0)
    """
    for ax in [*figure.axes, *(child for main in figure.axes for child in main.child_axes)]:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_tick_params(labelfontfamily=family)
            if size is not None:
                axis.set_tick_params(labelsize=size)
    for text in figure.findobj(Text):
        text.set_fontfamily(family)
        if size is not None:
            text.set_fontsize(size)


def fit(axes: Sequence[Axes], width: float, *, lines: int = 0) -> None:
    """Set the size of a figure with one row of equal axes to fit the axes and the text around them.

    Args:
        axes: from left to right, with the same limits and an equal aspect; the last has a colour bar.
        width: width of each box in inches; it is reduced if the box would be much taller than wide.
        lines: number of text lines of the figure above and below the axes.
    """
    figure = axes[0].figure
    assert isinstance(figure, Figure)
    (x_low, x_high), (y_low, y_high) = axes[0].get_xlim(), axes[0].get_ylim()
    tall = (y_high - y_low) / (x_high - x_low)
    wide = width * min(1.0, _TALLEST / tall)
    figure.set_layout_engine("compressed", w_pad=0.06, h_pad=0.08)
    for ax in axes:  # the layout does not make room for a title wider than its panel
        letters = round(wide * 72 / (0.65 * float(ax.title.get_fontsize())))
        ax.title.set_text(fill(ax.get_title(), max(letters, 4)))
        lines = max(lines, ax.get_title().count("\n") - 1)
    figure.set_size_inches(len(axes) * (wide + 0.12) + 1.0, tall * wide + 0.7 + 0.3 * lines)
