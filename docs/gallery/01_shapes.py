"""Nine shapes

Every shape has an exact density, score and denoiser, so that a model of it can be compared with the truth.
"""

import motes
from motes import plots
from motes.data import SHAPES, make_labelled_shape, make_shape

shapes = {}
for name in SHAPES:
    has_classes = motes.truth(name).distribution.labels[0] >= 0
    shapes[name.replace("_", " ")] = (make_labelled_shape if has_classes else make_shape)(name, 6000)
figure = plots.sheet(shapes)
figure.savefig(__file__[:-2] + "png", dpi=130)
