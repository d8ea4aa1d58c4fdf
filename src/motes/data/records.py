"""Frozen dataclasses <-> dictionaries for JSON, and named arrays, without loss."""

import dataclasses
import math
from collections.abc import Mapping
from functools import cache
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from motes.errors import UnknownKindError

Arrays = dict[str, NDArray[Any]]


def to_json(value: Any, arrays: Arrays) -> Any:
    """Convert a dataclass to {"type": its class, "fields": {field: value}}; its arrays are added to `arrays`."""
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
    """Restore a value from the result of `to_json`; `classes` maps names to classes.

    Raises:
        UnknownKindError: if a class is not known, such as a column kind that is not registered.
        KeyError, TypeError, ValueError: if the input is invalid, or fields do not match the annotations of their class.
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
            f"got a column kind of class '{plain['type']}', which is not registered. First import the file that "
            "registers it; on the command line, use --import FILE.py."
        )
    fields = {key: from_json(value, arrays, classes) for key, value in dict(plain["fields"]).items()}
    made = classes[plain["type"]](**fields)
    check_types(made)
    return made


def check_types(made: Any) -> None:
    """Check every field of a dataclass that was read from a file against its annotation.

    Numbers must be finite, integers must fit into 64 bits, and arrays of floats must not contain NaN.

    Raises:
        ValueError: "CLASS.NAME is ...", for the first invalid field.
    """
    cls: Any = type(made)
    for name, annotation in _annotations(cls).items():
        value = getattr(made, name)
        if not _matches(value, annotation):
            got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"
            raise ValueError(f"{cls.__name__}.{name} is {got}, or has invalid contents.")


@cache
def _annotations(cls: Any) -> Mapping[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _matches(value: Any, annotation: Any) -> bool:
    """Return whether a value matches an annotation, including nested values."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_matches(value, one) for one in inside)
    if origin is Literal:
        return value in inside
    if origin is tuple:
        each = inside[:1] * len(value) if isinstance(value, tuple) and inside[-1] is Ellipsis else inside
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_matches, value, each))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(all(map(_matches, pair, inside)) for pair in value.items())
    if origin is np.ndarray:
        kind = get_args(inside[1])[0]
        if not isinstance(value, np.ndarray) or kind is Any:
            return isinstance(value, np.ndarray)
        return np.issubdtype(value.dtype, kind) and not (value.dtype.kind == "f" and bool(np.isnan(value).any()))
    if annotation is float:
        return type(value) in (int, float) and -math.inf < value < math.inf
    if annotation is int:
        return type(value) is int and -(2**63) <= value < 2**63
    return not isinstance(annotation, type) or isinstance(value, annotation)
