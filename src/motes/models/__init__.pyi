from ._points import Guidance, PointModel
from ._tables import RowLikelihood, TableModel

__all__ = [
    "Guidance",
    "PointModel",
    "RowLikelihood",
    "TableModel",
]
