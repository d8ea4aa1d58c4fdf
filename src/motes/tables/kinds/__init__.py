"""Column kinds, one class each; add a new kind to its family's file and to the list there.

`KINDS` maps names to classes. `DROP` is not a kind: it is the name that leaves a column out.
"""

from motes.tables.kinds.base import Kind
from motes.tables.kinds.columns import DROP, KINDS

__all__ = ["DROP", "KINDS", "Kind"]
