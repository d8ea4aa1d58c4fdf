"""Masked diffusion of tables, whole: column kinds, schema, network, training, sampling, models.

This door names what reads a table, which needs no JAX: `motes columns` is quick. The model is `motes.TableModel`.
"""

from motes.tables import kinds
from motes.tables.parts import Among, Between, Encoded, Missing, Not, NotMissing, Part
from motes.tables.schema import Schema

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
