"""Column kinds, one class each; a new one is written in its family's file and listed there.

`KINDS` is name -> class; `DROP` is the name by which a column is left out, and so is no kind.
"""

from motes.tables.kinds.base import Kind
from motes.tables.kinds.columns import DROP, KINDS

__all__ = [
    "DROP",
    "KINDS",
    "Kind",
]
