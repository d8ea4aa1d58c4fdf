"""A table <-> codes for masked diffusion."""

from motes.tables.conditions import (
    Among,
    Between,
    Conditions,
    Missing,
    Not,
    NotMissing,
    Restriction,
    conditions_of,
)
from motes.tables.parts import IMPOSSIBLE, Encoded, Part
from motes.tables.schema import Schema

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
