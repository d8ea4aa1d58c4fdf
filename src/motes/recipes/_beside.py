"""What is registered and is no part of a recipe: kinds of a table's columns, and metrics of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from motes.errors import UsageError
from motes.evaluation._entries import SECTIONS
from motes.evaluation._own_metrics import OWN, PointMetric
from motes.evaluation._point_verdicts import MEASURES
from motes.recipes._registry import check_class
from motes.tables._states import PARTS
from motes.tables.kinds._base import Kind
from motes.tables.kinds._kinds import BUILT_IN, DROP, IDENTIFIER, add_kind

C = TypeVar("C", bound=type)

TAKEN = {"column": {*BUILT_IN, IDENTIFIER, DROP}, "metric": {*MEASURES}}


def adding(section: str, kind: str) -> Callable[[C], C]:
    """The decorator that `motes.register` gives for a section of `TAKEN`.

    Raises:
        UsageError: the name of what comes with motes; the decorator raises it for a class that does not suit.
    """
    if kind in TAKEN[section]:
        raise UsageError(f"got {section}.kind = '{kind}', which is a part of motes; expected a name of your own.")

    def add(cls: C) -> C:
        (_add_column if section == "column" else _add_metric)(kind, cls)
        return cls

    return add


def _add_column(kind: str, cls: type[Kind]) -> None:
    check_class("column", cls, lambda cls: issubclass(cls, Kind), "a subclass of motes.tables.kinds.Kind")
    if cls.__name__ in {part.__name__ for part in PARTS}:
        raise UsageError(f"got a class called {cls.__name__}, as one of motes is; expected another name.")
    cls.name = kind
    add_kind(cls)


def _add_metric(kind: str, cls: type[PointMetric]) -> None:
    check_class("metric", cls, lambda cls: issubclass(cls, PointMetric), "a subclass of motes.evaluation.PointMetric")
    about = getattr(cls, "about", None)
    if cls.section not in SECTIONS or not isinstance(about, str):
        raise UsageError(
            f"got {cls.__name__} with section = {cls.section!r} and about = {about!r}; expected one of "
            f"{', '.join(SECTIONS)}, and what it measures in a phrase."
        )
    OWN[kind] = cls()
