"""Column kinds, one class each; a new one is written in its family's file and listed there."""

from motes.tables.kinds import dates, labels, numbers
from motes.tables.kinds.base import Kind

KINDS: dict[str, type[Kind]] = {kind.name: kind for family in (labels, numbers, dates) for kind in family.KINDS}
DROP = "drop"  # the kind of a column that is left out, and so is no column of what is learned

__all__ = ["DROP", "KINDS", "Kind"]
