from ._base import Checked, Recipe, number
from ._files import recipe_about, recipe_names, recipe_text
from ._points import PointRecipe
from ._reading import load_recipe, parse, register
from ._tables import TableRecipe

__all__ = [
    "Checked",
    "PointRecipe",
    "Recipe",
    "TableRecipe",
    "load_recipe",
    "number",
    "parse",
    "recipe_about",
    "recipe_names",
    "recipe_text",
    "register",
]
