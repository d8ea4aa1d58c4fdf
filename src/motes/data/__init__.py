"""Data: shapes of points, data sets, files, and tables of any library.

`SHAPES` maps names to shapes, for `make_shape`; `DATASETS` maps names to data sets, for `dataset`.
"""

from motes.data.datasets import DATASETS, dataset
from motes.data.files import Blocks, read_frame, write_frame
from motes.data.frames import Frame, as_frame
from motes.data.points import read_table
from motes.data.shapes import SHAPES, make_labelled_shape, make_shape
from motes.data.tables import Standardiser, Support, Table
from motes.text_options import TextOptions

__all__ = [
    "DATASETS", "SHAPES", "Blocks", "Frame", "Standardiser", "Support", "Table", "TextOptions", "as_frame",
    "dataset", "make_labelled_shape", "make_shape", "read_frame", "read_table", "write_frame",
]  # fmt: skip
