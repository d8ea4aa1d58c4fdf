from . import kinds
from ._conditions import Among, Between, Missing, Not, NotMissing
from ._parts import Encoded, Part
from ._schema import Schema

__all__ = [
    "Among",
    "Between",
    "Encoded",
    "Missing",
    "Not",
    "NotMissing",
    "Part",
    "Schema",
    "kinds",
]
