from ._animation import frames, save_animation, save_gif, save_mp4
from ._arrays import View, limits_of
from ._canvas import footnote, resize
from ._comparison import comparison
from ._curves import loss_curve, schedule_curves
from ._densities import density_map, density_row
from ._distributions import marginals
from ._error_split import error_split
from ._excess import excess_curve
from ._gains import column_gains
from ._pair_matrix import pairs
from ._points import grid, row, scatter, sheet
from ._ranks import rank_curves
from ._scores import score_fields, time_heading
from ._style import STYLES, Style, rc
from ._terminal import braille

__all__ = [
    "STYLES",
    "Style",
    "View",
    "braille",
    "column_gains",
    "comparison",
    "density_map",
    "density_row",
    "error_split",
    "excess_curve",
    "footnote",
    "frames",
    "grid",
    "limits_of",
    "loss_curve",
    "marginals",
    "pairs",
    "rank_curves",
    "rc",
    "resize",
    "row",
    "save_animation",
    "save_gif",
    "save_mp4",
    "scatter",
    "schedule_curves",
    "score_fields",
    "sheet",
    "time_heading",
]
