"""The interactive explorer: `motes explore` serves a page on which you can touch diffusion.

The page is in `page/`, plain files that ask nothing of any other machine. Small trained models are in `models/`.
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
