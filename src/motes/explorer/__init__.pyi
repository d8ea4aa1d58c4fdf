from ._application import application
from ._limits import Limits
from ._serving import serve
from ._subjects import Shelf, Subject, shipped

__all__ = ["Limits", "Shelf", "Subject", "application", "serve", "shipped"]
