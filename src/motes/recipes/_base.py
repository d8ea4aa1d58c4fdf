"""A run, written down in sections: what recipes of points and of tables share, from TOML to objects and back.

A recipe has a section for each part. A section with kinds holds an object of the class that `KINDS` has under its kind;
the fields of the class are the keys of the section.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from types import NoneType
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from motes._ranges import Checked as Checked
from motes._ranges import number as number
from motes.data._text_options import TextOptions
from motes.errors import MotesError, RecipeError, UnknownKindError, unknown
from motes.recipes._files import split_change
from motes.recipes._registry import Kinds, keys_of, members_of

Changes = Sequence[str] | Mapping[str, Any]


@dataclass(frozen=True)
class Data(Checked):
    """Where the points come from and how they are scaled."""

    rows: int = number(20_000, 20, 10**8)  # drawn from a shape; a file is taken whole
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
            >>> motes.recipes.PointRecipe.parse_section("loss", {"kind": "min_snr"}, "here")
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
            >>> motes.recipes.PointRecipe.default("loss")
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
            >>> motes.recipes.PointRecipe.change(values, "training.steps", 7, "here")
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
