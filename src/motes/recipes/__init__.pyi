from ._changes import split_change
from ._files import recipe_about, recipe_names, recipe_text
from ._reading import load_recipe, parse
from ._recipe import Recipe
from ._registry import register

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
