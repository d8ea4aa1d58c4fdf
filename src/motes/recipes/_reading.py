"""From nested dictionaries to a recipe, and what is wrong with what was written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from motes.errors import MotesError, RecipeError, UnknownKindError, unknown
from motes.recipes._changes import split_change
from motes.recipes._files import values_of
from motes.recipes._recipe import Recipe
from motes.recipes._registry import keys_of, kinds_of, members_of


def load_recipe(recipe: str | Path | Recipe = "default", changes: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """A recipe by name or from a TOML file, with some values changed.

    Args:
        recipe: a name that comes with motes, the path of a `.toml` file, or a recipe.
        changes: "section.key=value" texts as on the command line, or a mapping {"section.key": value}.

    Raises:
        RecipeError: an unknown name, section, key or value; the message lists the right ones.
        UsageError: a file that is not there.

    Example:
        >>> motes.load_recipe("default", {"loss.kind": "min_snr", "loss.gamma": 4.0}).loss
        MinSNR(gamma=4.0)
        >>> motes.load_recipe("default", ["training.stepz=100"])
        Traceback (most recent call last):
            ...
        motes.errors.RecipeError: recipe 'default': unknown key 'stepz' in [training]. Did you mean ...
    """
    values, where = (recipe.to_dict(), "the recipe") if isinstance(recipe, Recipe) else values_of(recipe)
    pairs = [*changes.items()] if isinstance(changes, Mapping) else [split_change(change) for change in changes]
    # A new kind first: it decides which other keys there are.
    for key, value in sorted(pairs, key=lambda pair: not pair[0].endswith(".kind")):
        _change(values, key, value, where)
    for key, _ in pairs:
        _check_kind_of_model(values, key, where)
    return parse(values, where)


def parse(values: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """Check nested dictionaries and make a Recipe of them; sections and keys that are left out take their defaults.

    Raises:
        RecipeError: an unknown section, kind, key or value; the message begins with `where`.

    Example:
        >>> from motes.recipes import parse
        >>> parse({"loss": {"kind": "min_snr"}}).loss
        MinSNR()
    """
    if not isinstance(values, Mapping):
        raise RecipeError(f"{where}: got {type(values).__name__}; expected sections with keys.")
    parts: dict[str, Any] = {}
    for name, value in values.items():
        if name == "about":
            parts[name] = _checked(str, value, "about", where)
            continue
        if name not in (*Recipe.SECTIONS, "columns"):
            raise RecipeError(f"{where}: " + unknown("section", name, (*Recipe.SECTIONS, "columns")))
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: {name} = {value!r}; expected a section [{name}] with keys of its own.")
        if name == "columns":
            parts[name] = dict(value)  # whose names and kinds only the data can check
            continue
        parts[name] = _part(_class(name, value.get("kind"), where), name, value, where)
    return Recipe(**parts)


def _class(section: str, kind: Any, where: str) -> type:
    """The class of a section, chosen by its `kind`; left out, it is that of the default."""
    kinds = kinds_of(section)
    if kind is None or not kinds:
        return type(Recipe.__dataclass_fields__[section].default)
    if isinstance(kind, str) and kind in kinds:
        return kinds[kind]
    raise UnknownKindError(
        f"{where}: {unknown(f'{section}.kind', str(kind), kinds)} A kind of your own has to be registered first: "
        "import the file that does so, on the command line with --import FILE.py."
    )


def _keys(cls: type, section: str) -> tuple[str, ...]:
    return (*(("kind",) if kinds_of(section) else ()), *keys_of(cls))


def _part(cls: type, section: str, values: Mapping[str, Any], where: str) -> Any:
    """An object of a section's class."""
    made, known = {}, _keys(cls, section)
    for key, value in values.items():
        if key not in known:
            kind = f" of kind '{values['kind']}'" if "kind" in values and kinds_of(section) else ""
            raise RecipeError(f"{where}: " + unknown("key", key, known, f" in [{section}]{kind}"))
        if key != "kind":
            made[key] = _checked(keys_of(cls)[key], value, f"{section}.{key}", where)
    try:
        return cls(**made)
    except MotesError:
        raise
    except ValueError as error:  # the class itself says which value it cannot have
        named = str(error).partition(" = ")[0] in known
        raise RecipeError(f"{where}: {section}.{error}" if named else f"{where}: [{section}]: {error}") from None


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


def _check_kind_of_model(values: Mapping[str, Any], key: str, where: str) -> None:
    """Refuse a change of a section that is for the other kind of model: of tables, or of points."""
    data, (section, _, name) = values.get("data"), key.partition(".")
    encode = isinstance(data, Mapping) and data.get("encode") is True
    if section in ("data", "text", "columns", "about") or (section == "table") == encode:
        return
    mine, other, recipe = ("table", "points", "default") if encode else ("training", "a table", "table")
    known = keys_of(type(Recipe.__dataclass_fields__[mine].default))
    cure = f"Use {mine}.{name} instead, or choose" if name in known else "Choose"
    kind = "a table" if encode else "points"
    raise RecipeError(
        f"{where} is for {kind}; got {key}, which is for {other}. {cure} a recipe for {other}, such as '{recipe}'."
    )


def _change(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    """Change one value of nested dictionaries."""
    section, dot, name = key.partition(".")
    if section == "about" and not dot:
        values["about"] = value
        return
    if section not in (*Recipe.SECTIONS, "columns"):
        raise RecipeError(f"{key}: " + unknown("section", section, (*Recipe.SECTIONS, "columns")))
    if not name:
        raise RecipeError(f"{key} = {json.dumps(value)}: expected section.key=value, such as training.steps=8000.")
    now = values.get(section, {})
    if not isinstance(now, Mapping):
        return  # `parse` will say that this is no section
    values[section] = dict(now)
    if name == "kind" and kinds_of(section):
        # Keys that the new kind does not have go with the old one.
        known = _keys(_class(section, value, where), section)
        values[section] = {k: v for k, v in values[section].items() if k in known}
    values[section][name] = value
