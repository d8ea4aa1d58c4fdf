from .arrays import View, braille, limits_of
from .canvas import STYLES, Style, footnote, rc, resize
from .curves import excess_curve, loss_curve, schedule_curves
from .diagnosis import column_gains, error_split, rank_curves
from .fields import density_map, density_row, score_fields, time_heading
from .film import frames, save_animation, save_gif, save_mp4
from .points import comparison, grid, row, scatter, sheet
from .report import page, write_page
from .tables import marginals, pairs

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
    "page",
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
    "write_page",
]
