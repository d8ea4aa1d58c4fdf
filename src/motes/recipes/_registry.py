"""The parts that a recipe may name: section -> kind -> class. A class of your own joins them by `register`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import equinox as eqx

from motes.diffusion import _continuous as continuous
from motes.diffusion import _discrete as discrete
from motes.diffusion import _knots as knots
from motes.diffusion._discrete import Betas
from motes.diffusion._schedules import Schedule
from motes.errors import RecipeError, UsageError, unknown
from motes.learning._denoisers import DENOISERS, Prediction
from motes.learning._losses import LOSSES
from motes.learning._networks import NETWORKS
from motes.learning._times import TIMES, Times
from motes.recipes._classes import check_class
from motes.sampling._grids import GRIDS
from motes.sampling._loop import Sampler
from motes.sampling._samplers import SAMPLERS

C = TypeVar("C", bound=type)


class _Section(NamedTuple):
    built_in: Mapping[str, type]
    fits: Callable[[type], bool]
    expected: str


def _a(*bases: type) -> Callable[[type], bool]:
    return lambda cls: issubclass(cls, bases)


def _with(method: str) -> Callable[[type], bool]:
    # Not by `getattr`: each class can be called, and so has a `__call__` of its own class.
    return lambda cls: any(method in vars(base) for base in cls.__mro__)


_SECTIONS = {
    "schedule": _Section(
        discrete.SCHEDULES | continuous.SCHEDULES | knots.SCHEDULES,
        _a(Schedule, Betas),
        "a subclass of motes.diffusion.Schedule, or of motes.diffusion.Betas",
    ),
    "network": _Section(NETWORKS, _with("network"), "a method network(dim_in, dim_out, *, context, steps, key)"),
    "denoiser": _Section(DENOISERS, _a(Prediction), "a subclass of motes.learning.Prediction"),
    "loss": _Section(LOSSES, _with("__call__"), "a method __call__(denoiser, x0, t, eps)"),
    "times": _Section(TIMES, _a(Times), "a subclass of motes.learning.Times"),
    "sampler": _Section(SAMPLERS, _a(Sampler), "a subclass of motes.sampling.Sampler"),
    "grid": _Section(GRIDS, _with("__call__"), "a method __call__(schedule)"),
}
BESIDE = ("column", "metric")  # are registered, and are no parts of a recipe
_KINDS: dict[str, dict[str, type]] = {name: dict(section.built_in) for name, section in _SECTIONS.items()}
_NAMES = {(section, cls): kind for section, kinds in _KINDS.items() for kind, cls in kinds.items()}


def register(section: str, kind: str) -> Callable[[C], C]:
    """A class decorator: recipes know the class as `kind` of a section, in TOML and on the command line.

    The class is a frozen dataclass or an Equinox module. Its fields are the keys of the section, and all have defaults.
    The type of a key is int, float, bool, str, a `Literal` of texts, a tuple such as `tuple[float, ...]`, or one of
    these or None; a field of another type is no key. Where a kind is registered again, as in a notebook, the newer
    class takes the place of the older one.

    A "column" is a kind of a table's columns, a subclass of `motes.tables.kinds.Kind`; columns are asked whether they
    are of it before the kinds of motes are, and `columns` and `[columns]` may name it. A "metric" of points is a
    subclass of `motes.evaluation.PointMetric`; `motes.compare` and `evaluate` take it.

    Args:
        section: "schedule", "network", "denoiser", "loss", "times", "sampler" or "grid", or "column" or "metric".
        kind: its name.

    Raises:
        UsageError: another section, the name of a built-in kind, or a class that does not suit the section.

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
    if section not in (*_SECTIONS, *BESIDE):
        raise UsageError(unknown("section", str(section), (*_SECTIONS, *BESIDE)))
    if not (isinstance(kind, str) and kind.isidentifier()):
        raise UsageError(f"got the kind {kind!r}; expected a name of letters, digits and underscores, such as 'mine'.")
    if section in BESIDE:
        from motes.recipes._beside import adding  # it needs SciPy

        return adding(section, kind)
    if kind in _SECTIONS[section].built_in:
        raise UsageError(f"got {section}.kind = '{kind}', which is a part of motes; expected a name of your own.")

    def add(cls: C) -> C:
        _check(section, cls)
        _KINDS[section][kind], _NAMES[section, cls] = cls, kind
        return cls

    return add


def kinds_of(section: str) -> Mapping[str, type]:
    """The classes of a section by their kinds; none for a section without kinds."""
    return _KINDS.get(section, {})


def kind_of(section: str, part: object) -> str:
    """The kind of an object in a section.

    Raises:
        RecipeError: its class is not registered.
    """
    name = type(part).__name__
    if (section, type(part)) not in _NAMES:
        raise RecipeError(
            f"got a {name} for [{section}], which no recipe can name; expected one of a registered class. Register it: "
            f"@motes.register('{section}', 'a_name') before `class {name}`."
        )
    return _NAMES[section, type(part)]


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


def _check(section: str, cls: Any) -> None:
    name = getattr(cls, "__name__", repr(cls))
    if isinstance(cls, type):
        check_class(section, cls, _SECTIONS[section].fits, _SECTIONS[section].expected)
    frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
    if not (isinstance(cls, type) and (frozen or issubclass(cls, eqx.Module))):
        raise UsageError(
            f"got {name} for [{section}]; expected a class with @dataclass(frozen=True), or an Equinox module."
        )
    try:
        keys, default = keys_of(cls), cls()
    except Exception as error:  # of the class itself, whatever it is
        raise UsageError(
            f"got {name} for [{section}]; expected a class whose fields all have defaults, so that {name}() is one of "
            f"them. It says {type(error).__name__}: {error}"
        ) from error
    if constants := sorted({*keys} & {"order", "evaluations", "stochastic", "off_grid", "when"}):
        raise UsageError(
            f"got a field `{constants[0]}` in {name}; expected a ClassVar: it is the same for all of them."
        )
    if "kind" in keys:
        raise UsageError(f"got a field `kind` in {name}; expected another name: it is the key that picks the class.")
    try:
        hash(default)
    except TypeError as error:
        raise UsageError(f"got {name} for [{section}]; expected fields that can be hashed. It says: {error}") from None
