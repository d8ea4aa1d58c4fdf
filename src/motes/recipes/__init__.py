"""A whole run, written down: parts by name, TOML in and out.

Names load on first use, so that the texts of the recipes cost no JAX.
"""

from motes.recipes.loading import load_recipe, parse

__all__ = [
    "load_recipe",
    "parse",
]
