"""Section -> kind -> class: what a section of a recipe may name, and what a class must have to be named.

A section with kinds holds an object of the class that its `Kinds` has under the kind; the fields of the class are the
keys of the section.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from itertools import chain
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from motes.errors import RecipeError, UsageError

C = TypeVar("C", bound=type)


def subclass_of(*bases: type) -> Callable[[type], bool]:
    """Return whether a class is a subclass of one of `bases`, as a function of the class."""
    return lambda cls: issubclass(cls, bases)


def with_method(name: str) -> Callable[[type], bool]:
    """Return whether a class defines a method, as a function of the class."""
    # Not by `getattr`: each class can be called, and so has a `__call__` of its own class.
    return lambda cls: any(name in vars(base) for base in cls.__mro__)


class Kinds:
    """The classes that a section may name by its `kind`.

    Args:
        section: its name.
        built_in: kind -> class, of those that come with motes.
        fits: whether a class suits the section.
        expected: what such a class is, for messages.
    """

    def __init__(self, section: str, built_in: Mapping[str, type], fits: Callable[[type], bool], expected: str) -> None:
        self.section, self.fits, self.expected = section, fits, expected
        self._built_in = {*built_in}
        self.classes: dict[str, type] = dict(built_in)
        self._names = {cls: kind for kind, cls in built_in.items()}

    def name(self, part: object) -> str:
        """Return the kind of an object.

        Raises:
            RecipeError: its class is not registered.
        """
        if type(part) not in self._names:
            name = type(part).__name__
            raise RecipeError(
                f"got a {name} for [{self.section}], which no recipe can name; expected one of a registered class. "
                f"Register it: @motes.register('{self.section}', 'a_name') before `class {name}`."
            )
        return self._names[type(part)]

    def register(self, kind: str) -> Callable[[C], C]:
        """Return a class decorator that adds the class as `kind`.

        Raises:
            UsageError: the name of a built-in kind; the decorator raises it for a class that does not suit the section.
        """
        if kind in self._built_in:
            raise UsageError(
                f"got {self.section}.kind = '{kind}', which is a part of motes; expected a name of your own."
            )

        def add(cls: C) -> C:
            self._check(cls)
            self.classes[kind], self._names[cls] = cls, kind
            return cls

        return add

    def _check(self, cls: Any) -> None:
        name = getattr(cls, "__name__", repr(cls))
        if isinstance(cls, type):
            check_class(self.section, cls, self.fits, self.expected)
        import equinox as eqx

        frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
        if not (isinstance(cls, type) and (frozen or issubclass(cls, eqx.Module))):
            raise UsageError(
                f"got {name} for [{self.section}]; expected a class with @dataclass(frozen=True), or an Equinox module."
            )
        try:
            keys, default = keys_of(cls), cls()
        except Exception as error:  # of the class itself, whatever it is
            raise UsageError(
                f"got {name} for [{self.section}]; expected a class whose fields all have defaults, so that "
                f"{name}() is one of them. It says {type(error).__name__}: {error}"
            ) from error
        if constants := sorted({*keys} & {"order", "evaluations", "stochastic", "off_grid", "when"}):
            raise UsageError(
                f"got a field `{constants[0]}` in {name}; expected a ClassVar: it is the same for all of them."
            )
        if "kind" in keys:
            raise UsageError(
                f"got a field `kind` in {name}; expected another name: it is the key that picks the class."
            )
        try:
            hash(default)
        except TypeError as error:
            raise UsageError(
                f"got {name} for [{self.section}]; expected fields that can be hashed. It says: {error}"
            ) from None


def check_class(section: str, cls: Any, fits: Callable[[type], bool], expected: str) -> None:
    """Refuse what is not of the base of its section, or has not written all that the base asks for."""
    name = getattr(cls, "__name__", repr(cls))
    if not (isinstance(cls, type) and fits(cls)):
        raise UsageError(f"got {name} for [{section}]; expected {expected}.")
    lists = ("__abstractmethods__", "__abstractclassvars__", "__abstractvars__")  # the last two are Equinox's
    if lacking := sorted({*chain.from_iterable(getattr(cls, names, ()) for names in lists)}):
        raise UsageError(
            f"got {name} for [{section}], which lacks {', '.join(lacking)}; expected {expected}, with all that it asks "
            "for. Write what is lacking."
        )


def keys_of(cls: type) -> Mapping[str, Any]:
    """The fields of a section's class that are keys of the section, each with its type."""
    return _keys_of(cls)


@cache
def _keys_of(cls: Any) -> Mapping[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls) if field.init and _is_plain(hints[field.name])}


def members_of(annotation: Any) -> tuple[Any, ...]:
    """The types of a union, or the one type."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_plain(annotation: Any) -> bool:
    """Whether TOML can hold such a value."""
    if get_origin(annotation) is tuple:
        inside = get_args(annotation)
        return len(inside) == 2 and inside[1] is Ellipsis and _is_plain(inside[0])
    if get_origin(annotation) is Literal:
        return all(isinstance(choice, str) for choice in get_args(annotation))
    members = [member for member in members_of(annotation) if member is not NoneType]
    if len(members) == 1 and members[0] is not annotation:
        return _is_plain(members[0])
    return annotation in (int, float, bool, str)
