"""Read recipes, by name or from TOML files, as nested dictionaries, and parse changes from the command line."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from motes.errors import RecipeError, UsageError, unknown


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship with motes.

    Example:
        >>> from motes.recipe_files import recipe_names
        >>> recipe_names()
        ['default', 'posterior', 'any', 'table', 'ddpm', 'tutorial']
    """
    return ["default", "posterior", "any", "table", "ddpm", "tutorial"]


def recipe_text(name: str) -> str:
    """Return the TOML text of a recipe that ships with motes, comments included.

    Raises:
        RecipeError: no recipe has this name.

    Example:
        >>> from motes.recipe_files import recipe_text
        >>> "[training]" in recipe_text("ddpm")
        True
    """
    if name not in recipe_names():
        raise RecipeError(unknown("recipe", name, recipe_names()))
    return (resources.files("motes") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def recipe_about(name: str) -> str:
    """Return the one-line description of a recipe that ships with motes.

    Example:
        >>> from motes.recipe_files import recipe_about
        >>> len(recipe_about("table")) > 0
        True
    """
    return str(values_of(name)[0]["about"])


def values_of(recipe: str | Path) -> tuple[dict[str, Any], str]:
    """Read a recipe, by name or from a `.toml` file, as nested dictionaries; also return its name in messages.

    Raises:
        RecipeError: an unknown name, or a file that is not TOML.
        UsageError: a file that does not exist.
    """
    if not str(recipe).endswith(".toml"):
        return _toml(recipe_text(str(recipe)), str(recipe)), f"recipe '{recipe}'"
    path = Path(recipe)
    if not path.is_file():
        raise UsageError(f"there is no recipe file '{path}'.")
    return _toml(path.read_text(encoding="utf-8", errors="replace"), f"'{path}'"), f"'{path}'"


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where} is not a TOML file: {error}.") from None
    except RecursionError:
        raise RecipeError(f"{where} is not a recipe: its values are nested too deeply.") from None


def split_change(change: str) -> tuple[str, Any]:
    """Split "section.key=value", as on the command line, into the key and the parsed value.

    The value is TOML, Python's True or False, or a bare word.

    Raises:
        RecipeError: a missing "=" or key.
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: expected section.key=value, such as training.steps=8000.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        word = text.strip()
        value = {"True": True, "False": False}.get(word, word)
    return key.strip(), value
