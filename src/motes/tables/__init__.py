"""Masked diffusion of tables: from the columns to the trained model.

A column kind (`kinds`) encodes entries as tokens of parts (`parts`), and a `Schema` does so for all columns, together
with the relations between them (`relations`). A network and a Gaussian mixture (`network`, `mixture`) predict the
masked parts of a row from its visible parts, with all parts in a few arrays (`layout`); `training` fits them. Rows are
drawn by unmasking their parts in an order (`unmasking_steps`, `unmasking`), under conditions and rules (`draws`,
`rules`). The same steps give log p and conditional distributions (`unmasking`, `predictions`), and rows by which biases
and rules are estimated after training (`calibration`). `motes.TableModel` is the public class. Estimates from several
synthetic tables are combined by `pool` (`pooling`).

The imports here read tables without JAX, so that `motes columns` is quick.
"""

from motes.tables import kinds
from motes.tables.offers import FoundRule, find_rules
from motes.tables.parts import Among, Between, Encoded, Missing, Not, Part
from motes.tables.pooling import Pooled, pool
from motes.tables.schema import Schema
from motes.tables.user_rules import UserRule, parse_rule, quoted

__all__ = [
    "Among", "Between", "Encoded", "FoundRule", "Missing", "Not", "Part", "Pooled", "Schema", "UserRule", "find_rules",
    "kinds", "parse_rule", "pool", "quoted",
]  # fmt: skip
