"""Figures, animations and HTML reports from arrays.

Plotting functions take arrays, not models, so you can use them with any model. They don't change matplotlib's global
state or import pyplot: each works without a display and in a thread, and leaves no open figure. The returned axes or
figure displays itself in a notebook. `write_page` writes the report of an evaluation as one HTML page without
JavaScript or external files.

`STYLES` maps the names "light" and "dark" to a `Style`.
"""

from motes.plots.canvas import STYLES, Style, footnote, rc, resize
from motes.plots.chains import ModelView, evenly, film_grid
from motes.plots.curves import column_gains, error_split, excess_curve, loss_curve, rank_curves, schedule_curves
from motes.plots.fields import density_row, score_fields, time_heading
from motes.plots.film import frames, save_animation, save_gif, save_mp4
from motes.plots.points import comparison, grid, row, scatter, sheet
from motes.plots.report import page, write_page
from motes.plots.tables import marginals, pairs
from motes.rasters import View, limits_of

__all__ = [
    "STYLES",
    "ModelView",
    "Style",
    "View",
    "column_gains",
    "comparison",
    "density_row",
    "error_split",
    "evenly",
    "excess_curve",
    "film_grid",
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
