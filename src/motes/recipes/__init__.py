"""Recipes: complete runs, by name or from TOML files, and the classes that they may name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motes.errors import RecipeError, unknown
from motes.points import PointRecipe
from motes.recipe_files import values_of
from motes.tables.recipe import TableRecipe
from motes.training import Recipe
from motes.training.recipe import Changes, keys_of, pairs_of, section_values

__all__ = ["load_recipe", "parse"]

HALVES: tuple[type[PointRecipe], type[TableRecipe]] = (PointRecipe, TableRecipe)
SECTIONS = tuple(dict.fromkeys(section for half in HALVES for section in half.SECTIONS))


def load_recipe(recipe: str | Path | Recipe = "default", changes: Changes = ()) -> PointRecipe | TableRecipe:
    """Load a recipe by name or from a TOML file, and change some of its values.

    Args:
        recipe: the name of a recipe, the path of a `.toml` file, or a recipe object.
        changes: texts "section.key=value" as on the command line, or a mapping {"section.key": value}.

    Raises:
        RecipeError: an unknown name, section, key or value; the message lists the valid ones.
        UsageError: a file that does not exist.

    Example:
        >>> motes.load_recipe("default", {"loss.kind": "min_snr", "loss.gamma": 4.0}).loss
        MinSNR(gamma=4.0)
        >>> motes.load_recipe("default", ["training.stepz=100"])
        Traceback (most recent call last):
            ...
        motes.errors.RecipeError: recipe 'default': unknown key 'stepz' in [training]. Did you mean ...
    """
    values, where = (recipe.to_dict(), "the recipe") if isinstance(recipe, Recipe) else values_of(recipe)
    pairs = pairs_of(changes)
    for key, value in pairs:
        section = key.partition(".")[0]
        next((half for half in HALVES if section in half.SECTIONS), Recipe).change(values, key, value, where)
    for key, _ in pairs:
        _check_half(values, key, where)
    return parse(values, where)


def parse(values: Mapping[str, Any], where: str = "the recipe") -> PointRecipe | TableRecipe:
    """Make a recipe from nested dictionaries, after checking them. Omitted sections and keys take their defaults.

    Raises:
        RecipeError: an unknown section, kind, key or value; the message begins with `where`.

    Example:
        >>> from motes.recipes import parse
        >>> parse({"loss": {"kind": "min_snr"}}).loss
        MinSNR()
    """
    half, other = _halves(values)
    own = dict(values) if isinstance(values, Mapping) else values
    for name in [*own] if isinstance(values, Mapping) else ():
        if name not in (*SECTIONS, "columns", "about"):
            raise RecipeError(f"{where}: " + unknown("section", name, (*SECTIONS, "columns")))
        if name in other.SECTIONS and name not in half.SECTIONS:
            _check_unused(half, other, name, section_values(name, own.pop(name), where), where)
    return half.parse(own, where)


def _halves(values: Any) -> tuple[type[PointRecipe | TableRecipe], type[PointRecipe | TableRecipe]]:
    """Return the recipe class that nested dictionaries describe, and the other one."""
    data = values.get("data") if isinstance(values, Mapping) else None
    points, tables = HALVES
    return (tables, points) if isinstance(data, Mapping) and data.get("encode") is True else (points, tables)


def _check_unused(half: type[Recipe], other: type[Recipe], section: str, values: Mapping[str, Any], where: str) -> None:
    """Refuse a section of the other recipe class with options that differ from its defaults: they would be ignored."""
    if other.parse_section(section, values, where) == other.default(section):
        return
    encode, theirs = ("true", "points") if half is TableRecipe else ("false", "a table")
    own = "[data], [text], [table] and [columns], such as table.steps" if half is TableRecipe else "the other sections"
    raise RecipeError(
        f"got a section [{section}], which is for {theirs}, with data.encode = {encode}; expected {own}. "
        f"Leave [{section}] out, or choose another recipe."
    )


def _check_half(values: Mapping[str, Any], key: str, where: str) -> None:
    """Refuse a change of a section that belongs to the other recipe class."""
    half, other = _halves(values)
    section, _, name = key.partition(".")
    if section in half.SECTIONS or section not in other.SECTIONS:
        return
    kind, theirs, recipe = ("a table", "points", "default") if half is TableRecipe else ("points", "a table", "table")
    known = keys_of(type(half.default(half.TRAINING)))
    cure = f"Use {half.TRAINING}.{name} instead, or choose" if name in known else "Choose"
    raise RecipeError(
        f"{where} is for {kind}; got {key}, which is for {theirs}. {cure} a recipe for {theirs}, such as '{recipe}'."
    )


# --- the classes of a section ---


def kinds_of(section: str) -> Mapping[str, type]:
    """Return kind -> class of a section; the kind is "" for a section with one class."""
    if section in PointRecipe.KINDS:
        return PointRecipe.KINDS[section].classes
    return {"": type(next(half for half in HALVES if section in half.SECTIONS).default(section))}
