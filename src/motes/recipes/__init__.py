"""Recipes: complete runs, by name or from TOML files, and the classes that they may name."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motes.arguments import check_arguments
from motes.errors import RecipeError, unknown
from motes.points import PointRecipe
from motes.recipe_files import values_of
from motes.tables.recipe import TableRecipe
from motes.training import Recipe
from motes.training.recipe import Changes, keys_of, pairs_of, section_values

__all__ = ["load_recipe", "parse"]

HALVES: tuple[type[PointRecipe], type[TableRecipe]] = (PointRecipe, TableRecipe)
SECTIONS = tuple(dict.fromkeys(section for half in HALVES for section in half.SECTIONS))


@check_arguments
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
    half, other = _halves(values)
    for key, _ in pairs:
        if key.partition(".")[0] in {*other.SECTIONS} - {*half.SECTIONS}:
            raise _misplaced(half, key, where)
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
            part = other.parse_section(name, section_values(name, own.pop(name), where), where)
            if part != other.default(name):  # its options would be ignored
                raise _misplaced(half, name, where)
    return half.parse(own, where)


def _halves(values: Any) -> tuple[type[PointRecipe | TableRecipe], type[PointRecipe | TableRecipe]]:
    """Return the recipe class that nested dictionaries describe, and the other one."""
    data = values.get("data") if isinstance(values, Mapping) else None
    points, tables = HALVES
    return (tables, points) if isinstance(data, Mapping) and data.get("encode") is True else (points, tables)


def _misplaced(half: type[Recipe], key: str, where: str) -> RecipeError:
    """Return the error for a section, or an option of one, that belongs to the other recipe class than `half`."""
    words = ("a table", "true", "points", "default") if half is TableRecipe else ("points", "false", "a table", "table")
    kind, encode, theirs, recipe = words
    name = key.partition(".")[2]
    cure = (
        f"Use {half.TRAINING}.{name} instead" if name in keys_of(type(half.default(half.TRAINING))) else "Leave it out"
    )
    return RecipeError(
        f"{where} is for {kind}, with data.encode = {encode}; got {key}, which is for {theirs}. {cure}, or choose a "
        f"recipe for {theirs}, such as '{recipe}'."
    )


# --- the classes of a section ---


def kinds_of(section: str) -> Mapping[str, type]:
    """Return kind -> class of a section; the kind is "" for a section with one class."""
    if section in PointRecipe.KINDS:
        return PointRecipe.KINDS[section].classes
    return {"": type(next(half for half in HALVES if section in half.SECTIONS).default(section))}
