"""What a schema consists of <-> dictionaries that JSON can hold, and arrays by name, to the bit."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes._ranges import check_types
from motes.data._series import Series
from motes.errors import UnknownKindError
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

Arrays = dict[str, NDArray[Any]]

PARTS: tuple[type, ...] = (
    Asinh, Calendar, Column, Continuum, Dependency, Few, Grid, Identifier, Inequality, Lattice, MissingPatterns, Power,
    Relation, Series, Straight,
)  # fmt: skip


def to_json(value: Any, arrays: Arrays) -> Any:
    """A part as {"type": its class, "fields": {field: value}}; its arrays are put into `arrays`, and named here."""
    if dataclasses.is_dataclass(value):
        fields = {field.name: to_json(getattr(value, field.name), arrays) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, "fields": fields}
    if isinstance(value, np.ndarray):
        name = str(len(arrays))
        arrays[name] = value
        return {"type": "array", "name": name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {"type": "mapping", "keys": list(value), "values": [to_json(item, arrays) for item in value.values()]}
    return [to_json(item, arrays) for item in value] if isinstance(value, tuple) else value


def from_json(plain: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    """What `to_json` was given.

    Raises:
        UnknownKindError: it has a column kind that is not registered.
        KeyError, TypeError, ValueError: nothing that it made, or fields that are not what their class says.
    """
    if isinstance(plain, list):
        return tuple(from_json(item, arrays) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if plain["type"] == "array":
        return arrays[plain["name"]]
    if plain["type"] == "mapping":
        return dict(zip(plain["keys"], from_json(plain["values"], arrays), strict=True))
    classes = {part.__name__: part for part in (*PARTS, *KINDS.values())}  # a kind may have come since the last time
    if plain["type"] not in classes:
        raise UnknownKindError(
            f"got a column kind of class '{plain['type']}'; expected one that is registered. Import the file that "
            "registers it first, on the command line with --import FILE.py."
        )
    made = classes[plain["type"]](**{key: from_json(value, arrays) for key, value in dict(plain["fields"]).items()})
    check_types(made)
    return made
