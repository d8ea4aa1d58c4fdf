"""Figures and axes that belong to nobody else: no pyplot, no rcParams, and they show themselves in a notebook."""

from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from motes.figures.style import Style

_MATH = "cm"  # the font of textbooks, set on each text, so that the user's own settings stay


class NotebookFigure(Figure):
    """A figure that a notebook can show although pyplot has never heard of it."""

    def _repr_png_(self) -> bytes:
        return _png(self)


class NotebookAxes(Axes):
    """Axes that show the figure they lie in."""

    def _repr_png_(self) -> bytes | None:
        figure = self.figure
        return _png(figure) if isinstance(figure, Figure) else None


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def new_figure(width: float, height: float, look: Style) -> Figure:
    """An empty figure of that many inches, on the background of the style."""
    figure = NotebookFigure(figsize=(width, height), dpi=120, facecolor=look.background)
    figure.set_layout_engine("constrained", w_pad=0.06, h_pad=0.08, wspace=0.0, hspace=0.0)
    return figure


def new_axes(figure: Figure, rows: int, columns: int, at: int) -> Axes:
    """Axes number `at`, from 1, of a table of `rows` by `columns`."""
    axes: Axes = figure.add_subplot(rows, columns, at, axes_class=NotebookAxes)
    return axes


def dress(ax: Axes, look: Style, *, size: float = 10.0) -> None:
    """Put axes into a style: colours, and text of `size` points. Titles lie on the figure, so it changes as well."""
    figure = ax.figure
    figure.set_facecolor(look.background)
    ax.set_facecolor(look.background)
    ax.tick_params(which="both", colors=look.muted, labelcolor=look.muted, labelsize=size - 1.5, width=0.7)
    ax.tick_params(which="major", length=3)
    ax.tick_params(which="minor", length=1.5)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        ax.spines[side].set(color=look.muted, linewidth=0.7)
    for text in (ax.xaxis.label, ax.yaxis.label, ax.title):
        dress_text(text, look.foreground, size)


def dress_text(text: Text, color: str, size: float) -> None:
    """Set what a text would otherwise take from rcParams."""
    text.set(color=color, fontsize=size, fontfamily="DejaVu Sans", fontweight="normal", usetex=False)
    text.set_math_fontfamily(_MATH)


def bare(ax: Axes) -> None:
    """No ticks, no frame: the points are the picture."""
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set_visible(False)
