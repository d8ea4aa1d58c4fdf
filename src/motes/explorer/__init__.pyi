from ._application import application
from ._limits import Limits
from ._serving import serve
from ._subjects import Shelf, Subject, shipped, shipped_tables
from ._tables import TableSubject

__all__ = ["Limits", "Shelf", "Subject", "TableSubject", "application", "serve", "shipped", "shipped_tables"]
