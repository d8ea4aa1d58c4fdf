from ._loading import load
from ._model import Model
from ._points import GaussianModel, PointModel
from ._posteriors import PosteriorModel
from ._provenance import Provenance
from ._tables import Evidence, RowLikelihood, TableModel

__all__ = [
    "Evidence",
    "GaussianModel",
    "Model",
    "PointModel",
    "PosteriorModel",
    "Provenance",
    "RowLikelihood",
    "TableModel",
    "load",
]
