"""A table <-> codes for masked diffusion."""

from motes.tables._conditions import (
    Among,
    Between,
    Conditions,
    Missing,
    Not,
    NotMissing,
    Restriction,
    conditions_of,
)
from motes.tables._parts import IMPOSSIBLE, Encoded, Part
from motes.tables._schema import Schema

__all__ = [
    "IMPOSSIBLE",
    "Among",
    "Between",
    "Conditions",
    "Encoded",
    "Missing",
    "Not",
    "NotMissing",
    "Part",
    "Restriction",
    "Schema",
    "conditions_of",
]
