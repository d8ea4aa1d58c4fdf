from .animation import frames, save_animation, save_gif, save_mp4
from .arrays import limits_of
from .curves import loss_curve, schedule_curves
from .densities import density_map, density_row
from .distributions import marginals
from .excess import error_split, excess_curve
from .gains import column_gains
from .pair_matrix import pairs
from .points import grid, row, scatter, sheet
from .scores import score_fields
from .style import STYLES, Style, rc
from .terminal import braille

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
