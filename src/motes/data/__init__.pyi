from ._blocks import Blocks
from ._datasets import DATASETS, dataset
from ._files import read_frame
from ._frames import Frame, as_frame
from ._points import read_table, write_table
from ._shapes import SHAPES, make_labelled_shape, make_shape
from ._supports import Support
from ._tables import Standardiser, Table
from ._text_options import TextOptions
from ._writing import write_frame

__all__ = [
    "DATASETS",
    "SHAPES",
    "Blocks",
    "Frame",
    "Standardiser",
    "Support",
    "Table",
    "TextOptions",
    "as_frame",
    "dataset",
    "make_labelled_shape",
    "make_shape",
    "read_frame",
    "read_table",
    "write_frame",
    "write_table",
]
