from ._points import PointModel
from ._provenance import Provenance
from ._tables import RowLikelihood, TableModel

__all__ = [
    "PointModel",
    "Provenance",
    "RowLikelihood",
    "TableModel",
]
