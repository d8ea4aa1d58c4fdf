"""How a figure looks: two styles, one small dataclass each.

`dark` is a sunbeam in a dark room: warm specks on near-black. `light` is ink on paper, for print.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import matplotlib as mpl
from cycler import cycler
from matplotlib.colors import Colormap, LinearSegmentedColormap


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
    classes: tuple[str, ...]
    """One colour a class; they differ in lightness too, so that a grey print still tells most of them apart."""

    @property
    def contrast(self) -> str:
        """What is seen on every colour of `density`: the second class, which is chosen to differ from the first."""
        return self.classes[1 % len(self.classes)]


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
        density=_ramp(
            "dust",
            (0.0, "#0b0908"),
            (0.18, "#2a1509"),
            (0.42, "#8a430f"),
            (0.66, "#f09a37"),
            (0.85, "#ffdc9c"),
            (1.0, "#fffaf0"),
        ),
        classes=(
            "#ffb454",
            "#63b8ff",
            "#ff6f83",
            "#7fe3a6",
            "#c3a2ff",
            "#fff0c9",
            "#3fd0c9",
            "#e0793a",
            "#f3a6d8",
            "#a3b18a",
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
        density=_ramp(
            "ink",
            (0.0, "#ffffff"),
            (0.18, "#dbe5f1"),
            (0.42, "#8fb0d6"),
            (0.66, "#44719f"),
            (0.85, "#1f3d6b"),
            (1.0, "#0a1730"),
        ),
        classes=(
            "#1f5fa8",
            "#d1601c",
            "#1f8a5f",
            "#b3293f",
            "#7a4fb3",
            "#8a6d1a",
            "#2ba3b8",
            "#d45fa0",
            "#5b6470",
            "#0f2a52",
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
