"""Register custom classes: parts of recipes, column kinds, and metrics for points."""

from collections.abc import Callable
from typing import TypeVar

from motes.errors import UsageError, unknown
from motes.evaluation import PointMetric
from motes.evaluation.metrics import METRICS, metric
from motes.evaluation.points import OF_THE_MODEL
from motes.points import PointRecipe
from motes.tables.kinds import DROP, Kind
from motes.tables.kinds.columns import BUILT_IN, IDENTIFIER, add_kind
from motes.tables.schema import PARTS
from motes.training.recipe import check_class

C = TypeVar("C", bound=type)

OF_POINTS = ("distances", "tests", "coverage", "modes")  # sections of an evaluation of points
# Built-in names in the sections that are not sections of a recipe.
TAKEN = {"column": {*BUILT_IN, IDENTIFIER, DROP}, "metric": {*METRICS, *OF_THE_MODEL}}


def _add_column(kind: str, cls: type[Kind]) -> None:
    check_class("column", cls, lambda cls: issubclass(cls, Kind), "a subclass of motes.tables.kinds.Kind")
    if cls.__name__ in {part.__name__ for part in PARTS}:
        raise UsageError(f"got a class named {cls.__name__}, like a class of motes; expected another name.")
    cls.name = kind
    add_kind(cls)


def _add_metric(kind: str, cls: type[PointMetric]) -> None:
    check_class("metric", cls, lambda cls: issubclass(cls, PointMetric), "a subclass of motes.evaluation.PointMetric")
    about = getattr(cls, "about", None)
    if cls.section not in OF_POINTS or not isinstance(about, str):
        raise UsageError(
            f"got {cls.__name__} with section = {cls.section!r} and about = {about!r}; expected one of "
            f"{', '.join(OF_POINTS)}, and a phrase that says what it measures."
        )
    metric(kind)(cls)


def register(section: str, kind: str) -> Callable[[C], C]:
    """Return a class decorator that registers a class as a `kind` of a recipe section, a column kind or a metric.

    You can then use the kind in TOML files and on the command line. The class is a frozen dataclass or an Equinox
    module. Its fields are the keys of the section; all need defaults. The type of a key is int, float, bool, str, a
    `Literal` of texts, a tuple such as `tuple[float, ...]`, or one of these or None; fields of other types are not
    keys. If you register a kind again, for example in a notebook, the new class replaces the old one.

    A "column" is a subclass of `motes.tables.kinds.Kind`. It is tried before the built-in kinds when kinds are
    inferred, and you can name it in `columns` and `[columns]`. A "metric" is a subclass of
    `motes.evaluation.PointMetric`, which `motes.compare` and `evaluate` then compute.

    Args:
        section: "schedule", "network", "denoiser", "loss", "times", "sampler" or "grid", or "column" or "metric".
        kind: the name.

    Raises:
        UsageError: for an unknown section, the name of a built-in kind, or a class that is invalid in the section.

    Example:
        >>> from dataclasses import dataclass
        >>> @motes.register("grid", "halving")
        ... @dataclass(frozen=True)
        ... class Halving:
        ...     steps: int = 8
        ...     def __call__(self, schedule):
        ...         return jnp.append(0.5 ** jnp.arange(self.steps), 0.0)
        >>> motes.load_recipe("default", {"grid.kind": "halving", "grid.steps": 4}).grid
        Halving(steps=4)
    """
    if section not in (*PointRecipe.KINDS, *TAKEN):
        raise UsageError(unknown("section", str(section), (*PointRecipe.KINDS, *TAKEN)))
    if not (isinstance(kind, str) and kind.isidentifier()):
        raise UsageError(f"got the kind {kind!r}; expected a name of letters, digits and underscores, such as 'mine'.")
    if kind in (TAKEN[section] if section in TAKEN else PointRecipe.KINDS[section].built_in):
        raise UsageError(
            f"got {section}.kind = '{kind}', which motes already has; expected another name, such as 'my_{kind}'."
        )

    def register_class(cls: C) -> C:
        if section == "column":
            _add_column(kind, cls)
        elif section == "metric":
            _add_metric(kind, cls)
        else:
            PointRecipe.KINDS[section].add(kind, cls)
        return cls

    return register_class
