from ._files import recipe_about, recipe_names, recipe_text
from ._parts import Checked, number
from ._reading import load_recipe, parse
from ._recipe import Recipe
from ._registry import register

__all__ = [
    "Checked",
    "Recipe",
    "load_recipe",
    "number",
    "parse",
    "recipe_about",
    "recipe_names",
    "recipe_text",
    "register",
]
