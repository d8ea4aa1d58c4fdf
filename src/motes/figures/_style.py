"""How a figure looks: two styles, one small dataclass each.

`dark` is a sunbeam in a dark room: warm specks on near-black. `light` is ink on paper, for print.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib as mpl
from cycler import cycler
from matplotlib.colors import Colormap, LinearSegmentedColormap

# The same in every style, so that a class keeps its colour. The colours were chosen by a search: each is seen on white
# and on near-black, and any two differ by 19 or more in CIELAB, to those who see no red, no green or no blue as well.
CLASSES = (
    "#2f7fd0",
    "#e07f1f",
    "#8a2ff5",
    "#10664a",
    "#22bfdd",
    "#f09aa0",
    "#b0608f",
    "#5a6600",
    "#a0108f",
    "#bf9f60",
)


@dataclass(frozen=True)
class Style:
    """The colours of a figure; pass one of your own wherever a style's name is taken.

    Example:
        >>> from motes.figures import STYLES
        >>> STYLES["dark"].name, STYLES["dark"].background
        ('dark', '#0b0908')
    """

    name: str
    background: str
    foreground: str
    """Text, and the curve that matters."""
    points: str
    """Specks that belong to no class."""
    accent: str
    """What the eye should find: the time, a reference line, the second curve."""
    muted: str
    """Frames, ticks, what is only context."""
    glow: float
    """How brightly a crowd of points lights the air around it, 0 to 1."""
    density: Colormap
    """From empty (the background) to crowded."""
    contrast: str
    """What is seen on every colour of `density`."""
    axes: bool
    """Whether points of the plane have a frame and ticks."""
    classes: tuple[str, ...] = CLASSES
    """One colour a class."""

    @property
    def real(self) -> str:
        """Of real rows."""
        return self.classes[0]

    @property
    def synthetic(self) -> str:
        """Of synthetic rows."""
        return self.classes[1]


def _ramp(name: str, *stops: tuple[float, str]) -> Colormap:
    return LinearSegmentedColormap.from_list(f"motes-{name}", stops, N=256)


STYLES: dict[str, Style] = {
    "dark": Style(
        name="dark",
        background="#0b0908",
        foreground="#f4ead9",
        points="#ffe9c4",
        accent="#ffb454",
        muted="#8f8272",
        glow=1.0,
        contrast="#63b8ff",
        axes=False,
        density=_ramp(
            "dust",
            (0.0, "#0b0908"),
            (0.18, "#2a1509"),
            (0.42, "#8a430f"),
            (0.66, "#f09a37"),
            (0.85, "#ffdc9c"),
            (1.0, "#fffaf0"),
        ),
    ),
    "light": Style(
        name="light",
        background="#ffffff",
        foreground="#1d2430",
        points="#1f3d6b",
        accent="#c8541a",
        muted="#747c88",
        glow=0.0,
        contrast="#d1601c",
        axes=True,
        density=_ramp(
            "ink",
            (0.0, "#ffffff"),
            (0.18, "#dbe5f1"),
            (0.42, "#8fb0d6"),
            (0.66, "#44719f"),
            (0.85, "#1f3d6b"),
            (1.0, "#0a1730"),
        ),
    ),
}


def as_style(style: str | Style) -> Style:
    """Return the style of that name; a `Style` passes through."""
    if isinstance(style, Style):
        return style
    if style not in STYLES:
        raise ValueError(
            f"unknown style {style!r}; expected one of {', '.join(map(repr, STYLES))}, or a Style of your own."
        )
    return STYLES[style]


def rc(style: str | Style = "dark") -> AbstractContextManager[None]:
    """Give plots of your own the same look: `with rc('dark'): fig, ax = plt.subplots()`.

    The figures of this package do not need it and do not use it: matplotlib's rcParams belong to the whole process,
    so changing them, even for a moment, would leak into other threads.

    Example:
        >>> import matplotlib
        >>> from motes.figures import STYLES, rc
        >>> with rc("dark"):
        ...     matplotlib.rcParams["figure.facecolor"] == STYLES["dark"].background
        True
    """
    look = as_style(style)
    density = f"motes-{look.name}"  # rcParams would take the colour map itself, but then no image could be drawn
    mpl.colormaps.unregister(density)
    mpl.colormaps.register(look.density, name=density)
    return mpl.rc_context(
        {
            "figure.facecolor": look.background,
            "axes.facecolor": look.background,
            "savefig.facecolor": look.background,
            "text.color": look.foreground,
            "axes.titlecolor": look.foreground,
            "axes.labelcolor": look.foreground,
            "axes.edgecolor": look.muted,
            "xtick.color": look.muted,
            "ytick.color": look.muted,
            "grid.color": look.muted,
            "legend.frameon": False,
            "legend.labelcolor": look.foreground,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=look.classes),
            "image.cmap": density,
            "mathtext.fontset": "cm",
        }
    )
