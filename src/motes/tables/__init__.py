"""Masked diffusion of tables, whole: from the columns to the trained model.

A column kind (`kinds`) turns entries into codes of parts (`parts`), and a `Schema` does so for all columns, with what
relates them (`relations`, `missing`). A network and a Gaussian mixture (`network`, `base`) give the distributions of
the masked parts of a row from its visible ones, with all parts in a few arrays (`layout`); `training` learns them. A
row is drawn by unmasking its parts in an order (`masking`, `unmasking`), under conditions and rules (`sampling`,
`draws`); log p and conditional distributions come the same way (`orders`, `predictions`). `motes.TableModel` is what
users see.

What is imported here reads tables, and needs no JAX, so that `motes columns` is quick.
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
