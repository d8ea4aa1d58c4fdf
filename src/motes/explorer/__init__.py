"""The interactive explorer that `motes explore` serves.

The page is in `page/`, plain files that load nothing from other machines. Small trained models are in `models/`.
"""

from motes.explorer.guard import is_loopback
from motes.explorer.server import serve
from motes.explorer.subjects import Shelf, open_subject

__all__ = [
    "Shelf",
    "is_loopback",
    "open_subject",
    "serve",
]
