from ._points import PointModel
from ._tables import RowLikelihood, TableModel

__all__ = [
    "PointModel",
    "RowLikelihood",
    "TableModel",
]
