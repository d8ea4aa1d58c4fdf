"""A run, written down in sections: what recipes of points and of tables share, from TOML to objects and back.

A recipe has a section for each part. A section with kinds holds an object of the class that its `Kinds` has under the
kind; the fields of the class are the keys of the section.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from itertools import chain
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from motes.errors import MotesError, RecipeError, UnknownKindError, UsageError, unknown
from motes.ranges import Checked, number
from motes.recipe_files import split_change
from motes.text_options import TextOptions

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


# --- A run, written down in sections: what recipes of points and of tables share, from TOML to objects and back -----
#
# A recipe has a section for each part. A section with kinds holds an object of the class that `KINDS` has under its
# kind; the fields of the class are the keys of the section.


Changes = Sequence[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Data(Checked):
    """Where the points come from and how they are scaled."""

    rows: int = number(100_000, 20, 10**8)  # drawn from a shape; a file is taken whole
    noise: float | None = number(None, 0, 1e6)  # blur of a shape; left out: the shape's own
    held_out: float = number(0.1, 0, 0.9)  # share of a file's rows that is not trained on, for evaluation
    encode: bool = False  # a table of any columns, each encoded by its kind; otherwise all are real numbers
    standardise: bool = True  # learn columns of mean 0 and standard deviation 1
    label: str | None = None  # the column that holds the class of each row, "class" for a shape; left out: none
    given: tuple[str, ...] = ()  # columns of numbers that points are conditioned on, such as ["x1", "x2"]
    bounds: tuple[str, ...] = ()  # of columns, such as ["rate=0..1", "size=0.."]: no sample is beyond them


@dataclass(frozen=True)
class Recipe:
    """A whole run, of points (`PointRecipe`) or of a table (`TableRecipe`), each with sections of its own.

    `to_toml` and `parse` go back and forth without loss.

    Raises:
        RecipeError: sections that do not fit together, or an object that no recipe can name.

    Example:
        >>> recipe = motes.load_recipe("default", {"training.steps": 100})
        >>> recipe.training.steps, recipe.sampler
        (100, DPMSolver3M())
    """

    about: str = ""
    data: Data = Data()
    text: TextOptions = TextOptions()  # how the source is written, where it is a text file
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what columns of a table are

    SECTIONS: ClassVar[tuple[str, ...]] = ("data", "text")
    KINDS: ClassVar[Mapping[str, Kinds]] = {}  # section -> what it may name
    TRAINING: ClassVar[str]  # the section that holds the steps of the training

    def __post_init__(self) -> None:
        for section in self.SECTIONS:
            self._check_writable(section)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "the recipe") -> Self:
        """Check nested dictionaries and make a recipe of this class of them; what is left out takes its default.

        Raises:
            RecipeError: an unknown section, kind, key or value; the message begins with `where`.

        Example:
            >>> type(motes.load_recipe("default")).parse({"loss": {"kind": "min_snr"}}).loss
            MinSNR()
        """
        if not isinstance(values, Mapping):
            raise RecipeError(f"{where}: got {type(values).__name__}; expected sections with keys.")
        parts: dict[str, Any] = {}
        for name, value in values.items():
            if name == "about":
                parts[name] = _checked(str, value, "about", where)
            elif name == "columns":
                parts[name] = dict(section_values(name, value, where))  # whose names and kinds only the data can check
            elif name not in cls.SECTIONS:
                raise RecipeError(f"{where}: " + unknown("section", name, (*cls.SECTIONS, "columns")))
            else:
                parts[name] = cls.parse_section(name, section_values(name, value, where), where)
        return cls(**parts)

    @classmethod
    def parse_section(cls, section: str, values: Mapping[str, Any], where: str) -> Any:
        """Make the object of a section of its keys.

        Raises:
            RecipeError: an unknown kind, key or value.

        Example:
            >>> motes.points.PointRecipe.parse_section("loss", {"kind": "min_snr"}, "here")
            MinSNR()
        """
        of_kind = cls._class(section, values.get("kind"), where)
        made, known = {}, cls._keys(of_kind, section)
        for key, value in values.items():
            if key not in known:
                kind = f" of kind '{values['kind']}'" if "kind" in values and section in cls.KINDS else ""
                raise RecipeError(f"{where}: " + unknown("key", key, known, f" in [{section}]{kind}"))
            if key != "kind":
                made[key] = _checked(keys_of(of_kind)[key], value, f"{section}.{key}", where)
        try:
            return of_kind(**made)
        except MotesError:
            raise
        except ValueError as error:  # the class itself says which value it cannot have
            named = str(error).partition(" = ")[0] in known
            raise RecipeError(f"{where}: {section}.{error}" if named else f"{where}: [{section}]: {error}") from None

    @classmethod
    def default(cls, section: str) -> Any:
        """Return the object of a section that a recipe leaves out.

        Example:
            >>> motes.points.PointRecipe.default("loss")
            EDM()
        """
        return cls.__dataclass_fields__[section].default

    def changed(self, changes: Changes) -> Self:
        """Return this recipe with some values changed.

        Args:
            changes: as of `motes.load_recipe`.

        Raises:
            RecipeError: an unknown section, key or value, or sections that do not fit together.

        Example:
            >>> motes.load_recipe("default").changed({"loss.kind": "min_snr", "loss.gamma": 4.0}).loss
            MinSNR(gamma=4.0)
        """
        values = self.to_dict()
        for key, value in pairs_of(changes):
            self.change(values, key, value, "the recipe")
        return type(self).parse(values)

    @classmethod
    def change(cls, values: dict[str, Any], key: str, value: Any, where: str) -> None:
        """Change one value of nested dictionaries, "section.key"; another kind drops the keys that it lacks.

        Raises:
            RecipeError: an unknown section or kind, or no key.

        Example:
            >>> values = motes.load_recipe("default").to_dict()
            >>> motes.points.PointRecipe.change(values, "training.steps", 7, "here")
            >>> values["training"]["steps"]
            7
        """
        section, dot, name = key.partition(".")
        if section == "about" and not dot:
            values["about"] = value
            return
        if section not in (*cls.SECTIONS, "columns"):
            raise RecipeError(f"{key}: " + unknown("section", section, (*cls.SECTIONS, "columns")))
        if not name:
            raise RecipeError(f"{key} = {json.dumps(value)}: expected section.key=value, such as training.steps=8000.")
        now = values.get(section, {})
        if not isinstance(now, Mapping):
            return  # `parse` will say that this is no section
        values[section] = dict(now)
        if name == "kind" and section in cls.KINDS:
            known = cls._keys(cls._class(section, value, where), section)
            values[section] = {k: v for k, v in values[section].items() if k in known}
        values[section][name] = value

    @property
    def training_steps(self) -> int | None:
        """The steps of the training; None: chosen from the rows."""
        steps: int | None = getattr(self, self.TRAINING).steps
        return steps

    def kind(self, section: str) -> str:
        """The kind of a section, such as "exploding" of "schedule".

        Example:
            >>> motes.load_recipe("default").kind("schedule")
            'exploding'
        """
        return self.KINDS[section].name(getattr(self, section))

    @classmethod
    def _class(cls, section: str, kind: Any, where: str) -> type:
        """The class of a section, chosen by its `kind`; left out, it is that of the default."""
        if kind is None or section not in cls.KINDS:
            return type(cls.default(section))
        kinds = cls.KINDS[section].classes
        if isinstance(kind, str) and kind in kinds:
            return kinds[kind]
        raise UnknownKindError(
            f"{where}: {unknown(f'{section}.kind', str(kind), kinds)} A kind of your own has to be registered first: "
            "import the file that does so, on the command line with --import FILE.py."
        )

    @classmethod
    def _keys(cls, of_kind: type, section: str) -> tuple[str, ...]:
        return (*(("kind",) if section in cls.KINDS else ()), *keys_of(of_kind))

    def _check_writable(self, section: str) -> None:
        """Refuse an object that TOML cannot hold whole."""
        if section not in self.KINDS:
            return
        part = getattr(self, section)
        kind, keys, plain = self.kind(section), keys_of(type(part)), type(part)()
        for one in fields(part):
            if one.name not in keys and getattr(part, one.name) != getattr(plain, one.name):
                raise RecipeError(
                    f"got {one.name} = {getattr(part, one.name)} in [{section}] of kind '{kind}', which TOML cannot "
                    f"hold; expected {', '.join(keys) or 'no options'}. Give the object itself to the call that uses "
                    "it."
                )

    # --- as text ---

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries, as in the TOML file; what is left out is left out.

        Example:
            >>> motes.load_recipe("default").to_dict()["loss"]
            {'kind': 'edm'}
        """
        whole: dict[str, Any] = {"about": self.about}
        for section in self.SECTIONS:
            part = getattr(self, section)
            values = {"kind": self.kind(section)} if section in self.KINDS else {}
            values |= {key: getattr(part, key) for key in keys_of(type(part)) if getattr(part, key) not in (None, ())}
            if values or section != "text":
                whole[section] = values
        if self.columns:
            whole["columns"] = {name: said for name, said in self.columns.items() if said is not None}
        return whole

    def to_toml(self) -> str:
        """The text of the recipe's file.

        Example:
            >>> lines = motes.load_recipe("default", {"loss.kind": "min_snr"}).to_toml().splitlines()
            >>> lines.index("[loss]") + 1 == lines.index(\'kind = "min_snr"\')
            True
        """
        import tomli_w

        return tomli_w.dumps(self.to_dict())


def pairs_of(changes: Changes) -> list[tuple[str, Any]]:
    """Return changes as pairs ("section.key", value), a new kind first: it decides which other keys there are."""
    pairs = [*changes.items()] if isinstance(changes, Mapping) else [split_change(change) for change in changes]
    return sorted(pairs, key=lambda pair: not pair[0].endswith(".kind"))


def section_values(section: str, value: Any, where: str) -> Mapping[str, Any]:
    """Return the keys of a section.

    Raises:
        RecipeError: a value in the place of a section.
    """
    if not isinstance(value, Mapping):
        raise RecipeError(f"{where}: {section} = {value!r}; expected a section [{section}] with keys of its own.")
    return value


_SAID = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}


def _checked(annotation: Any, value: Any, name: str, where: str) -> Any:
    """`value`, if it is of the type that a key has."""
    choices = members_of(annotation)
    if value is None and NoneType in choices:
        return None
    kind = next(choice for choice in choices if choice is not NoneType)
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise RecipeError(f"{where}: " + unknown(name, str(value), get_args(kind)))
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{where}: {name} = {value!r}; expected a list, such as [1.0, 0.5, 0.0].")
        return tuple(_checked(get_args(kind)[0], entry, name, where) for entry in value)
    if kind is float and type(value) is int and abs(value) < 2**1000:  # larger ones may be no floats
        value = float(value)
    # bool is an int in Python, but true is no number of steps.
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise RecipeError(f"{where}: {name} = {value!r}; expected {_SAID[kind]}.")
    return value
