from ._points import PointModel, Provenance
from ._tables import RowLikelihood, TableModel

__all__ = [
    "PointModel",
    "Provenance",
    "RowLikelihood",
    "TableModel",
]
