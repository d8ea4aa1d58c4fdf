"""Arrays in, matplotlib axes or frames out.

Nothing here samples, trains or knows what a model is: a figure takes arrays, and so it can draw anyone's.
No global matplotlib state is touched, and pyplot is never imported: every function works headless and in a thread,
and leaves no figure behind. What a function returns shows itself in a notebook.

The names below load on first use, so that `motes.figures.terminal` stays free of matplotlib.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motes.figures.animation import frames, save_animation, save_gif, save_mp4
    from motes.figures.arrays import limits_of
    from motes.figures.curves import loss_curve, schedule_curves
    from motes.figures.densities import density_map, density_row
    from motes.figures.distributions import marginals
    from motes.figures.excess import error_split, excess_curve
    from motes.figures.gains import column_gains
    from motes.figures.pair_matrix import pairs
    from motes.figures.points import grid, row, scatter, sheet
    from motes.figures.scores import score_fields
    from motes.figures.style import STYLES, Style, rc
    from motes.figures.terminal import braille

_HOME = {
    "frames": "animation",
    "save_animation": "animation",
    "save_gif": "animation",
    "save_mp4": "animation",
    "limits_of": "arrays",
    "loss_curve": "curves",
    "schedule_curves": "curves",
    "density_map": "densities",
    "density_row": "densities",
    "error_split": "excess",
    "excess_curve": "excess",
    "marginals": "distributions",
    "column_gains": "gains",
    "pairs": "pair_matrix",
    "grid": "points",
    "row": "points",
    "scatter": "points",
    "sheet": "points",
    "score_fields": "scores",
    "STYLES": "style",
    "Style": "style",
    "rc": "style",
    "braille": "terminal",
}

__all__ = [
    "STYLES",
    "Style",
    "braille",
    "column_gains",
    "density_map",
    "density_row",
    "error_split",
    "excess_curve",
    "frames",
    "grid",
    "limits_of",
    "loss_curve",
    "marginals",
    "pairs",
    "rc",
    "row",
    "save_animation",
    "save_gif",
    "save_mp4",
    "scatter",
    "schedule_curves",
    "score_fields",
    "sheet",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
