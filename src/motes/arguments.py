"""Types of arguments: public calls check what they get against their annotations.

@check_arguments
def load(path: str | Path) -> Model: ...
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, wraps
from inspect import Parameter, isfunction, signature, unwrap
from numbers import Real
from os import PathLike
from pathlib import Path
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from motes.errors import UsageError

C = TypeVar("C", bound=Callable[..., Any])

SHOWN = 60  # characters of a wrong argument to show
WORDS = {
    bool: "True or False", int: "a whole number", float: "a number", str: "a text", Path: "a path", Mapping: "a dict",
    Sequence: "a list", Callable: "a function", NoneType: "None",
}  # fmt: skip


def check_arguments(call: C) -> C:
    """Return a function that checks the types of its arguments, or a class whose public methods do so.

    An argument is checked if its annotation is one of `WORDS`, a literal, a class of motes, or a union of these. Arrays
    are lists, and 0 and 1 are False and True. The contents of dicts and lists are not checked.

    Raises:
        UsageError: in the returned function, for an argument of another type.

    Example:
        >>> from motes.arguments import check_arguments
        >>> @check_arguments
        ... def halve(x: float) -> float:
        ...     return x / 2
        >>> halve("one")
        Traceback (most recent call last):
            ...
        motes.errors.UsageError: halve: x = 'one'; expected a number.
    """
    if isinstance(call, type):
        for name, member in list(vars(call).items()):
            if name.startswith("_"):
                continue
            if isfunction(member):
                setattr(call, name, check_arguments(member))
            elif isinstance(member, classmethod):
                setattr(call, name, classmethod(check_arguments(member.__func__)))
        return call
    parameters = signature(call)

    @wraps(call)
    def checked(*args: Any, **kwargs: Any) -> Any:
        with suppress(TypeError):  # a missing or unknown argument: Python's own message names it
            check_argument_types(call, parameters.bind_partial(*args, **kwargs).arguments)
        return call(*args, **kwargs)

    return checked  # type: ignore[return-value]


def check_argument_types(call: Callable[..., Any], values: Mapping[str, Any]) -> None:
    """Check arguments of `call`, by name, against its annotations.

    Raises:
        UsageError: for an argument of another type.
    """
    for name, (kinds, expected, cure) in _expected_types(call).items():
        if name in values and not any(_is_of(values[name], kind) for kind in kinds):
            value, got = values[name], repr(values[name])
            if len(got) > SHOWN or "\n" in got:
                shape = f" of shape {value.shape}" if hasattr(value, "shape") else ""
                got = f"<{type(value).__name__}{shape}>"
            where = call.__qualname__.removesuffix(".__init__")
            raise UsageError(f"{where}: {name} = {got}; expected {expected}.{cure}")


@cache
def _expected_types(call: Callable[..., Any]) -> Mapping[str, tuple[tuple[Any, ...], str, str]]:
    """Return the types of each argument to check, in words too, and what to do about another one."""
    parameters = signature(call).parameters
    annotations = {name: one.annotation for name, one in parameters.items() if one.annotation is not Parameter.empty}
    hints = get_type_hints(SimpleNamespace(__annotations__=annotations), unwrap(call).__globals__)
    found = {}
    for name, hint in hints.items():
        members = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kinds = tuple(one if get_origin(one) in (None, Literal) else get_origin(one) for one in members)
        words = [_describe(kind) for kind in kinds]
        if parameters[name].kind != Parameter.VAR_KEYWORD and all(words):
            *most, last = words
            cure = "" if parameters[name].default is Parameter.empty else f" Pass one, or leave {name} out."
            found[name] = kinds, f"{', '.join(most)} or {last}" if most else last, cure
    return found


def _describe(kind: Any) -> str:
    """Return a type in words; "" if arguments of this type are not checked."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}"
    if isinstance(kind, type) and kind.__module__.startswith("motes."):
        return f"a {kind.__name__}"
    return WORDS.get(kind, "")


def _is_of(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kind is bool:
        return isinstance(value, int | np.bool_) and value in (0, 1)
    if kind in (int, float):
        if isinstance(value, bool | np.bool_):
            return False
        if hasattr(value, "dtype"):
            return value.shape == () and np.dtype(value.dtype).kind in ("iu" if kind is int else "iuf")
        return isinstance(value, int if kind is int else Real)
    if kind is Path:
        return isinstance(value, PathLike)
    if kind is Sequence:
        return hasattr(value, "__iter__") and not isinstance(value, str | bytes | Mapping | set | frozenset)
    return isinstance(value, kind)
