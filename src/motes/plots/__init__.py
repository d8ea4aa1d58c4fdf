"""Figures, animations and HTML reports from arrays.

Plotting functions take arrays, not models, so you can use them with any model. They don't change matplotlib's global
state or import pyplot: each works without a display and in a thread, and leaves no open figure. The returned axes or
figure displays itself in a notebook. `write_page` writes the report of an evaluation as one HTML page without
JavaScript or external files. The figures of a diagnosis are in `motes.plots.curves`.

`STYLES` maps the names "light" and "dark" to a `Style`.
"""

from motes.plots.canvas import STYLES, Style, footnote, resize, set_font
from motes.plots.curves import loss_curve, schedule_curves
from motes.plots.film import frames, save_gif
from motes.plots.points import comparison, grid, row, scatter, sheet
from motes.plots.report import write_page
from motes.plots.tables import marginals, pairs
from motes.rasters import View, limits_of

__all__ = [
    "STYLES", "Style", "View", "comparison", "footnote", "frames", "grid", "limits_of", "loss_curve", "marginals",
    "pairs", "resize", "row", "save_gif", "scatter", "schedule_curves", "set_font", "sheet", "write_page",
]  # fmt: skip
