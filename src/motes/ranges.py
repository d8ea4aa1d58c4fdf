"""Allowed values of dataclass fields: declared next to the default, and checked when an object is made.

@dataclass(frozen=True)
class Robust:
    delta: float = number(1.0, 0, open_low=True)
    __post_init__ = check_fields
"""

import math
from dataclasses import fields
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import equinox as eqx
import numpy as np


class Range(NamedTuple):
    """The interval [low, high], or (low, high] with `open_low`; infinite numbers are never allowed."""

    low: float
    high: float
    open_low: bool

    def __contains__(self, value: object) -> bool:
        if not isinstance(value, int | float | np.number):
            return False
        above = value > self.low if self.open_low else value >= self.low
        return bool(above and value <= self.high and -math.inf < value < math.inf)

    def __str__(self) -> str:
        if self.low == -math.inf:
            return "a finite number" + (f" at most {self.high:,.10g}" if self.high < math.inf else "")
        least = f"a number above {self.low:,.10g}" if self.open_low else f"a number at least {self.low:,.10g}"
        return least + (f" and at most {self.high:,.10g}" if self.high < math.inf else "")


def number(default: Any, low: float = -math.inf, high: float = math.inf, *, open_low: bool = False) -> Any:
    """Declare a field of a dataclass or an Equinox module: a number from `low` to `high`, or above `low`.

    Args:
        default: default value; if it is None, None is also allowed.
        low, high: ends of the range, both allowed; default: any finite number.
        open_low: exclude `low` itself.

    Example:
        >>> from dataclasses import dataclass
        >>> from motes.ranges import Checked, number
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
    """Check each field of `made` that is declared by `number` or has a `Literal` type.

    Raises:
        ValueError: "NAME = VALUE; expected ...", for the first field with an invalid value.
    """
    for field in fields(made):
        value, allowed = getattr(made, field.name), field.metadata.get("range")
        kind = get_type_hints(type(made))[field.name] if isinstance(field.type, str) else field.type
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise ValueError(f"{field.name} = {value!r}; expected one of {', '.join(map(str, get_args(kind)))}.")
        if allowed is None or (value is None and field.default is None) or value in allowed:
            if isinstance(value, np.generic):  # NumPy's scalars count as arrays in compiled programs
                object.__setattr__(made, field.name, value.item())
            continue
        infinite = isinstance(value, float) and not math.isfinite(value)
        text = repr(value).removesuffix(".0")  # as written in a recipe
        raise ValueError(f"{field.name} = {text}; expected {'a finite number' if infinite else allowed}.")


class Checked:
    """Base class of frozen dataclasses whose fields `check_fields` checks when an object is made.

    Example:
        >>> from dataclasses import dataclass
        >>> from motes.ranges import Checked, number
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


class CheckedModule(eqx.Module):
    """Base class of Equinox modules whose fields `check_fields` checks when an object is made.

    Example:
        >>> from motes.ranges import CheckedModule, number
        >>> class Robust(CheckedModule):
        ...     delta: float = number(1.0, 0, open_low=True)
        >>> Robust(delta=-1.0)
        Traceback (most recent call last):
            ...
        ValueError: delta = -1; expected a number above 0.
    """

    def __check_init__(self) -> None:
        check_fields(self)
