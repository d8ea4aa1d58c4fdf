"""Recipes: the code shared by recipes of points and tables, with conversion from and to TOML.

A recipe has one section per part. `Kinds` maps each `kind` of a section to a class, and the fields of the class are the
keys of the section.
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
    # Not by `getattr`: every class is callable, so it finds the `__call__` of the metaclass.
    return lambda cls: any(name in vars(base) for base in cls.__mro__)


class Kinds:
    """The classes that the `kind` of a section may name.

    Args:
        section: name of the section.
        built_in: kind -> class, for the classes of motes.
        fits: returns whether a class is valid in the section.
        expected: description of a valid class, for messages.
    """

    def __init__(self, section: str, built_in: Mapping[str, type], fits: Callable[[type], bool], expected: str) -> None:
        self.section, self.fits, self.expected = section, fits, expected
        self.built_in = {*built_in}
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
                f"got a {name} for [{self.section}], which no recipe can name; expected a registered class. "
                f"Register it: @motes.register('{self.section}', 'a_name') before `class {name}`."
            )
        return self._names[type(part)]

    def add(self, kind: str, cls: type) -> None:
        """Add a class as `kind`.

        Raises:
            UsageError: the class is invalid.
        """
        self._check(cls)
        self.classes[kind], self._names[cls] = cls, kind

    def _check(self, cls: Any) -> None:
        name = getattr(cls, "__name__", repr(cls))
        check_class(self.section, cls, self.fits, self.expected)
        import equinox as eqx

        frozen = getattr(getattr(cls, "__dataclass_params__", None), "frozen", False)
        if not (frozen or issubclass(cls, eqx.Module)):
            raise UsageError(
                f"got {name} for [{self.section}]; expected a class with @dataclass(frozen=True), or an Equinox module."
            )
        try:
            keys, default = keys_of(cls), cls()
        except Exception as error:  # whatever the class itself raises
            raise UsageError(
                f"got {name} for [{self.section}]; expected a class whose fields all have defaults, so that "
                f"{name}() works. It raised {type(error).__name__}: {error}"
            ) from error
        if constants := sorted({*keys} & {"order", "evaluations", "stochastic", "off_grid", "when"}):
            raise UsageError(
                f"got a field `{constants[0]}` in {name}; expected a ClassVar, since it is the same for all objects."
            )
        if "kind" in keys:
            raise UsageError(
                f"got a field `kind` in {name}; expected another name, since `kind` is the key that selects the class."
            )
        try:
            hash(default)
        except TypeError as error:
            raise UsageError(
                f"got {name} for [{self.section}]; expected fields that can be hashed. Python reports: {error}"
            ) from None


def check_class(section: str, cls: Any, fits: Callable[[type], bool], expected: str) -> None:
    """Check that a class is valid in its section and implements all abstract members of its base."""
    name = getattr(cls, "__name__", repr(cls))
    if not (isinstance(cls, type) and fits(cls)):
        raise UsageError(f"got {name} for [{section}]; expected {expected}.")
    lists = ("__abstractmethods__", "__abstractclassvars__", "__abstractvars__")  # the last two are used by Equinox
    if lacking := sorted({*chain.from_iterable(getattr(cls, names, ()) for names in lists)}):
        raise UsageError(
            f"got {name} for [{section}], which lacks {', '.join(lacking)}; expected {expected}, with all its "
            "abstract members. Add what is missing."
        )


def keys_of(cls: type) -> Mapping[str, Any]:
    """Return the fields of a section's class that are keys of the section, each with its type."""
    return _keys_of(cls)


@cache
def _keys_of(cls: Any) -> Mapping[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls) if field.init and _is_plain(hints[field.name])}


def members_of(annotation: Any) -> tuple[Any, ...]:
    """Return the types of a union, or the single type."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_plain(annotation: Any) -> bool:
    """Return whether TOML can store values of this type."""
    if get_origin(annotation) is tuple:
        inside = get_args(annotation)
        return len(inside) == 2 and inside[1] is Ellipsis and _is_plain(inside[0])
    if get_origin(annotation) is Literal:
        return all(isinstance(choice, str) for choice in get_args(annotation))
    members = [member for member in members_of(annotation) if member is not NoneType]
    if len(members) == 1 and members[0] is not annotation:
        return _is_plain(members[0])
    return annotation in (int, float, bool, str)


# --- The base class of recipes --------------------------------------------------------------------------------------


Changes = Sequence[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Data(Checked):
    """The section [data]: the source of the rows, and their scaling."""

    rows: int = number(100_000, 20, 10**8)  # points drawn from a shape; a file is used completely
    noise: float | None = number(None, 0, 1e6)  # noise added to a shape; None: the shape's own
    held_out: float = number(0.1, 0, 0.9)  # share of a file's rows held out of training, for evaluation
    encode: bool = False  # a table with columns of any kind, instead of points
    standardise: bool = True  # scale columns to mean 0 and standard deviation 1
    label: str | None = None  # the column with the class of each row, "class" for a shape
    given: tuple[str, ...] = ()  # columns of numbers that points are conditioned on, such as ["x1", "x2"]
    bounds: tuple[str, ...] = ()  # of columns, such as ["rate=0..1", "size=0.."]; samples stay within them
    in_memory: int = number(10_000_000, 1, 10**12)  # rows times columns of files, above which rows are read from disk


@dataclass(frozen=True)
class Recipe:
    """A recipe for points (`PointRecipe`) or a table (`TableRecipe`), which have different sections.

    `to_toml` and `parse` convert it to text and back without loss.

    Raises:
        RecipeError: incompatible sections, or an object of a class that is not registered.

    Example:
        >>> recipe = motes.load_recipe("default", {"training.steps": 100})
        >>> recipe.training.steps, recipe.sampler
        (100, DPMSolver3M())
    """

    about: str = ""
    data: Data = Data()
    text: TextOptions = TextOptions()  # format of the source, if it is a text file
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)  # column of a table -> its kind and options

    SECTIONS: ClassVar[tuple[str, ...]] = ("data", "text")
    KINDS: ClassVar[Mapping[str, Kinds]] = {}  # section -> its classes
    TRAINING: ClassVar[str]  # the section with the options of the training

    def __post_init__(self) -> None:
        for section in self.SECTIONS:
            self._check_writable(section)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str = "the recipe") -> Self:
        """Make a recipe of this class from nested dictionaries, after checking them. Omitted keys take their defaults.

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
                parts[name] = _check_value(str, value, "about", where)
            elif name == "columns":
                parts[name] = dict(section_values(name, value, where))  # names and kinds are checked with the data
            elif name not in cls.SECTIONS:
                raise RecipeError(f"{where}: " + unknown("section", name, (*cls.SECTIONS, "columns")))
            else:
                parts[name] = cls.parse_section(name, section_values(name, value, where), where)
        return cls(**parts)

    @classmethod
    def parse_section(cls, section: str, values: Mapping[str, Any], where: str) -> Any:
        """Make the object of a section from its keys.

        Raises:
            RecipeError: an unknown kind, key or value.

        Example:
            >>> motes.points.PointRecipe.parse_section("loss", {"kind": "min_snr"}, "here")
            MinSNR()
        """
        of_kind = cls._class(section, values.get("kind"), where)
        options, known = {}, cls._keys(of_kind, section)
        for key, value in values.items():
            if key not in known:
                kind = f" of kind '{values['kind']}'" if "kind" in values and section in cls.KINDS else ""
                raise RecipeError(f"{where}: " + unknown("key", key, known, f" in [{section}]{kind}"))
            if key != "kind":
                options[key] = _check_value(keys_of(of_kind)[key], value, f"{section}.{key}", where)
        try:
            return of_kind(**options)
        except MotesError:
            raise
        except ValueError as error:  # the message of the class names the invalid value
            named = str(error).partition(" = ")[0] in known
            raise RecipeError(f"{where}: {section}.{error}" if named else f"{where}: [{section}]: {error}") from None

    @classmethod
    def default(cls, section: str) -> Any:
        """Return the object of a section that a recipe omits.

        Example:
            >>> motes.points.PointRecipe.default("loss")
            EDM()
        """
        return cls.__dataclass_fields__[section].default

    def changed(self, changes: Changes) -> Self:
        """Return this recipe with some values changed.

        Args:
            changes: see `motes.load_recipe`.

        Raises:
            RecipeError: an unknown section, key or value, or incompatible sections.

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
        """Change one value, "section.key", of nested dictionaries. A new kind drops the keys that it does not have.

        Raises:
            RecipeError: an unknown kind, or a missing key.

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
        if not name:
            raise RecipeError(f"{key} = {json.dumps(value)}: expected section.key=value, such as training.steps=8000.")
        now = values.get(section, {})
        if not isinstance(now, Mapping):
            return  # `parse` raises the error
        values[section] = dict(now)
        if name == "kind" and section in cls.KINDS:
            known = cls._keys(cls._class(section, value, where), section)
            values[section] = {k: v for k, v in values[section].items() if k in known}
        values[section][name] = value

    @property
    def training_steps(self) -> int | None:
        """The number of training steps; None: chosen from the data."""
        steps: int | None = getattr(self, self.TRAINING).steps
        return steps

    def kind(self, section: str) -> str:
        """Return the kind of a section, such as "exploding" for "schedule".

        Example:
            >>> motes.load_recipe("default").kind("schedule")
            'exploding'
        """
        return self.KINDS[section].name(getattr(self, section))

    @classmethod
    def _class(cls, section: str, kind: Any, where: str) -> type:
        """Return the class of a section with this `kind`; for None, the class of the default."""
        if kind is None or section not in cls.KINDS:
            return type(cls.default(section))
        kinds = cls.KINDS[section].classes
        if isinstance(kind, str) and kind in kinds:
            return kinds[kind]
        raise UnknownKindError(
            f"{where}: {unknown(f'{section}.kind', str(kind), kinds)} Register your own kinds first: "
            "import the file that does so, on the command line with --import FILE.py."
        )

    @classmethod
    def _keys(cls, of_kind: type, section: str) -> tuple[str, ...]:
        return (*(("kind",) if section in cls.KINDS else ()), *keys_of(of_kind))

    def _check_writable(self, section: str) -> None:
        """Refuse an object with fields that TOML cannot store."""
        if section not in self.KINDS:
            return
        part = getattr(self, section)
        kind, keys, plain = self.kind(section), keys_of(type(part)), type(part)()
        for one in fields(part):
            if one.name not in keys and getattr(part, one.name) != getattr(plain, one.name):
                raise RecipeError(
                    f"got {one.name} = {getattr(part, one.name)} in [{section}] of kind '{kind}', which TOML cannot "
                    f"store; expected {', '.join(keys) or 'no options'}. Pass the object itself to the call that uses "
                    "it."
                )

    # --- as text ---

    def to_dict(self) -> dict[str, Any]:
        """Return the recipe as nested dictionaries, as in the TOML file. Options that are None are omitted.

        Example:
            >>> motes.load_recipe("default").to_dict()["loss"]
            {'kind': 'edm'}
        """
        whole: dict[str, Any] = {"about": self.about}
        for section in self.SECTIONS:
            part = getattr(self, section)
            values = {"kind": self.kind(section)} if section in self.KINDS else {}
            values |= {key: getattr(part, key) for key in keys_of(type(part)) if getattr(part, key) not in (None, ())}
            if values or section not in ("text", "rules"):
                whole[section] = values
        if self.columns:
            whole["columns"] = {name: options for name, options in self.columns.items() if options is not None}
        return whole

    def to_toml(self) -> str:
        """Return the text of the recipe's TOML file.

        Example:
            >>> lines = motes.load_recipe("default", {"loss.kind": "min_snr"}).to_toml().splitlines()
            >>> lines.index("[loss]") + 1 == lines.index(\'kind = "min_snr"\')
            True
        """
        import tomli_w

        return tomli_w.dumps(self.to_dict())


def pairs_of(changes: Changes) -> list[tuple[str, Any]]:
    """Return changes as pairs ("section.key", value), with kinds first, because they decide which other keys exist."""
    pairs = [*changes.items()] if isinstance(changes, Mapping) else [split_change(change) for change in changes or ()]
    return sorted(pairs, key=lambda pair: not pair[0].endswith(".kind"))


def section_values(section: str, value: Any, where: str) -> Mapping[str, Any]:
    """Return the keys of a section.

    Raises:
        RecipeError: a value instead of a section.
    """
    if not isinstance(value, Mapping):
        raise RecipeError(f"{where}: {section} = {value!r}; expected a section [{section}] with keys of its own.")
    return value


_TYPE_NAMES = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}


def _check_value(annotation: Any, value: Any, name: str, where: str) -> Any:
    """Return `value` after checking that it has the type of its key."""
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
        return tuple(_check_value(get_args(kind)[0], entry, name, where) for entry in value)
    if kind is float and type(value) is int and abs(value) < 2**1000:  # larger integers may overflow
        value = float(value)
    # In Python bool is a subclass of int, but true is not a number of steps.
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise RecipeError(f"{where}: {name} = {value!r}; expected {_TYPE_NAMES[kind]}.")
    return value
