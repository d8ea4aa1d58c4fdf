"""Rows to learn from: shapes of points, data sets, files, and tables of any library.

`SHAPES` is name -> shape of points, for `make_shape`; `DATASETS` is name -> data set, for `dataset`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)  # the names are in __init__.pyi
