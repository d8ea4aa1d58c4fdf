from .changes import split_change
from .files import recipe_about, recipe_names, recipe_text
from .reading import load_recipe, parse
from .recipe import Recipe
from .registry import register

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
