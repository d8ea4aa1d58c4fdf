"""The interactive explorer: `motes explore` serves a page on which you can touch diffusion.

The page is in `page/`, plain files that ask nothing of any other machine. Small trained models are in `models/`.
"""

from motes.explorer.answers import Answers
from motes.explorer.guard import Limits, is_loopback
from motes.explorer.messages import Answer, Request
from motes.explorer.server import application, serve, server_config
from motes.explorer.subjects import Shelf, Subject, open_subject, shipped, shipped_tables
from motes.explorer.tables import TableSubject
from motes.explorer.training import Trainings

__all__ = [
    "Answer",
    "Answers",
    "Limits",
    "Request",
    "Shelf",
    "Subject",
    "TableSubject",
    "Trainings",
    "application",
    "is_loopback",
    "open_subject",
    "serve",
    "server_config",
    "shipped",
    "shipped_tables",
]
