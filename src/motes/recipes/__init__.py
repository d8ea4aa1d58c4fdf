"""Recipes: complete runs, by name or from TOML files."""

from motes.recipes.loading import load_recipe, parse

__all__ = [
    "load_recipe",
    "parse",
]
