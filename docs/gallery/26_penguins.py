"""Penguins that do not exist

Columns and pairs of a table: synthetic rows below the diagonal, real ones above it.
"""

import motes
from motes import plots
from motes.explorer.subjects import Shelf

real = motes.data.as_frame(motes.dataset("penguins"))
synthetic = Shelf().table("penguins").model.draw(len(real))
names = ("species", "bill_length_mm", "bill_depth_mm", "body_mass_g")
ours, theirs = ({name: rows[name] for name in names} for rows in (synthetic, real))
figure = plots.pairs(ours, theirs, style="dark")
figure.savefig(__file__[:-2] + "png", dpi=100)
