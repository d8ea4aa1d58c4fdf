"""All kinds, from the families of them."""

from motes.tables.kinds import _dates as dates
from motes.tables.kinds import _labels as labels
from motes.tables.kinds import _numbers as numbers
from motes.tables.kinds._base import Kind

KINDS: dict[str, type[Kind]] = {kind.name: kind for family in (labels, numbers, dates) for kind in family.KINDS}
BUILT_IN = frozenset(KINDS)
IDENTIFIER = "identifier"  # the kind of a column that is set aside, as nearly every row has a value of its own
DROP = "drop"  # the kind of a column that is left out, and so is no column of what is learned


def add_kind(kind: type[Kind]) -> None:
    """Let columns be of a kind of one's own, which is asked before all others whether entries are of it."""
    others = {name: one for name, one in KINDS.items() if name != kind.name}
    KINDS.clear()
    KINDS.update({kind.name: kind} | others)
