"""Guidance, stronger and stronger

Points of five classes with guidance weight 1 (none), 2, 4 and 8: classes part and crowd together.
"""

import numpy as np

from motes import plots
from motes.explorer.subjects import Shelf

model, classes = Shelf().subject("pinwheel").model, np.arange(5000) % 5
panels = {}
for weight in (1.0, 2.0, 4.0, 8.0):
    x = model.sample(len(classes), label=classes, sampling={"guidance": weight, "steps": 64})
    panels[f"weight {weight:g}"] = (x, classes)
figure = plots.sheet(panels, limits=(-2.3, 2.3))
figure.savefig(__file__[:-2] + "png", dpi=140)
