"""Frozen dataclasses <-> dictionaries that JSON can hold, and arrays by name, to the bit."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes._ranges import check_types
from motes.errors import UnknownKindError

Arrays = dict[str, NDArray[Any]]


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


def from_json(plain: Any, arrays: Mapping[str, NDArray[Any]], classes: Mapping[str, type]) -> Any:
    """What `to_json` was given, of objects of `classes`, by their names.

    Raises:
        UnknownKindError: it has a column kind that is not registered.
        KeyError, TypeError, ValueError: nothing that it made, or fields that are not what their class says.
    """
    if isinstance(plain, list):
        return tuple(from_json(item, arrays, classes) for item in plain)
    if not isinstance(plain, dict):
        return plain
    if plain["type"] == "array":
        return arrays[plain["name"]]
    if plain["type"] == "mapping":
        return dict(zip(plain["keys"], from_json(plain["values"], arrays, classes), strict=True))
    if plain["type"] not in classes:
        raise UnknownKindError(
            f"got a column kind of class '{plain['type']}'; expected one that is registered. Import the file that "
            "registers it first, on the command line with --import FILE.py."
        )
    fields = {key: from_json(value, arrays, classes) for key, value in dict(plain["fields"]).items()}
    made = classes[plain["type"]](**fields)
    check_types(made)
    return made
