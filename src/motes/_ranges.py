"""What the fields of a class may be: written beside each default, and checked when an object is made.

@dataclass(frozen=True)
class Robust:
    delta: float = number(1.0, 0, open_low=True)
    __post_init__ = check_fields
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import equinox as eqx
import numpy as np


class Range(NamedTuple):
    """[low, high], or (low, high] with `open_low`; no number is infinite."""

    low: float
    high: float
    open_low: bool

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float | np.number):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return bool(above and value <= self.high and -math.inf < value < math.inf)

    def __str__(self) -> str:
        least = f"a number above {self.low:,.10g}" if self.open_low else f"a number at least {self.low:,.10g}"
        return least + (f" and at most {self.high:,.10g}" if self.high < math.inf else "")


def number(default: Any, low: float, high: float = math.inf, *, open_low: bool = False) -> Any:
    """A field of a dataclass or of an Equinox module: a number from `low` to `high`, or one above `low`.

    Args:
        default: what is taken where it is left out; with None, None is allowed beside the numbers.
        low, high: the ends, both allowed.
        open_low: `low` itself is not allowed.

    Example:
        >>> from dataclasses import dataclass
        >>> from motes.recipes import Checked, number
        >>> @dataclass(frozen=True)
        ... class Options(Checked):
        ...     steps: int = number(32, 1, 1000)
        >>> Options()
        Options(steps=32)
        >>> Options(steps=0)
        Traceback (most recent call last):
            ...
        ValueError: steps = 0; expected a number at least 1 and at most 1,000.
    """
    return eqx.field(static=True, default=default, metadata={"range": Range(low, high, open_low)})


def check_fields(made: Any) -> None:
    """Check every field of `made` that `number` declares, or whose type is a `Literal`.

    Raises:
        ValueError: "NAME = VALUE; expected ...", for the first field that is not what it may be.
    """
    for field in fields(made):
        value, allowed = getattr(made, field.name), field.metadata.get("range")
        kind = get_type_hints(type(made))[field.name] if isinstance(field.type, str) else field.type
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"{field.name} = {value!r}; expected one of {', '.join(map(str, get_args(kind)))}.")
        if allowed is None or (value is None and field.default is None) or value in allowed:
            continue
        infinite = isinstance(value, float) and not math.isfinite(value)
        said = repr(value).removesuffix(".0")  # as it is written in a recipe
        raise ValueError(f"{field.name} = {said}; expected {'a finite number' if infinite else allowed}.")


class Checked:
    """Base of a frozen dataclass whose fields are checked by `check_fields` when an object is made.

    Example:
        >>> from dataclasses import dataclass
        >>> from motes.recipes import Checked, number
        >>> @dataclass(frozen=True)
        ... class Options(Checked):
        ...     delta: float = number(1.0, 0, open_low=True)
        >>> Options(delta=-1.0)
        Traceback (most recent call last):
            ...
        ValueError: delta = -1; expected a number above 0.
    """

    def __post_init__(self) -> None:
        check_fields(self)


def check_types(made: Any) -> None:
    """Check every field of a dataclass against its annotation, for objects that are made from what a file says.

    Numbers have to be finite, whole ones to fit into 64 bits, and arrays of floats to be without NaN.

    Raises:
        ValueError: "CLASS.NAME is ...", for the first field that is something else.
    """
    cls: Any = type(made)
    for name, annotation in _annotations(cls).items():
        value = getattr(made, name)
        if not _is(value, annotation):
            got = f"an array of {value.dtype}" if isinstance(value, np.ndarray) else f"of type {type(value).__name__}"
            raise ValueError(f"{cls.__name__}.{name} is {got}, or holds what it cannot.")


@cache
def _annotations(cls: Any) -> Mapping[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls)}


def _is(value: Any, annotation: Any) -> bool:
    """Whether a value is what an annotation says, with all that is inside of it."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_is(value, one) for one in inside)
    if origin is Literal:
        return value in inside
    if origin is tuple:
        each = inside[:1] * len(value) if isinstance(value, tuple) and inside[-1] is Ellipsis else inside
        return isinstance(value, tuple) and len(value) == len(each) and all(map(_is, value, each))
    if origin is Mapping:
        return isinstance(value, Mapping) and all(all(map(_is, pair, inside)) for pair in value.items())
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
