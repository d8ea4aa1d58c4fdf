"""The classes of what a schema consists of, which a model file names."""

from motes.data._series import Series
from motes.tables._dependencies import Dependency
from motes.tables._missing import MissingPatterns
from motes.tables._relations import Inequality, Relation
from motes.tables.kinds._calendars import Calendar
from motes.tables.kinds._columns import Column
from motes.tables.kinds._continuum import Continuum
from motes.tables.kinds._curves import Asinh, Power, Straight
from motes.tables.kinds._grids import Grid
from motes.tables.kinds._identifiers import Identifier
from motes.tables.kinds._kinds import KINDS
from motes.tables.kinds._lattices import Lattice
from motes.tables.kinds._lines import Few

PARTS: tuple[type, ...] = (
    Asinh, Calendar, Column, Continuum, Dependency, Few, Grid, Identifier, Inequality, Lattice, MissingPatterns, Power,
    Relation, Series, Straight,
)  # fmt: skip


def classes_of_parts() -> dict[str, type]:
    """Return the classes of all parts by their names; a kind may have been registered since the last call."""
    return {part.__name__: part for part in (*PARTS, *KINDS.values())}
