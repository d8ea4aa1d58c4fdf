"""A whole run, written down: parts by name, TOML in and out.

Names load on first use, so that the texts of the recipes cost no JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motes.recipes.changes import split_change
    from motes.recipes.files import recipe_about, recipe_names, recipe_text
    from motes.recipes.reading import load_recipe, parse
    from motes.recipes.recipe import Recipe
    from motes.recipes.registry import register

_HOME = {
    "Recipe": "recipe",
    "load_recipe": "reading",
    "parse": "reading",
    "recipe_about": "files",
    "recipe_names": "files",
    "recipe_text": "files",
    "register": "registry",
    "split_change": "changes",
}

__all__ = [
    "Recipe",
    "load_recipe",
    "parse",
    "recipe_about",
    "recipe_names",
    "recipe_text",
    "register",
    "split_change",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
