"""Whether a class is what its place asks for, before it is registered."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

from motes.errors import UsageError


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
