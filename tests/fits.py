"""Models of points and of tables, fitted without the checks and the display of `motes.fit`."""

import motes
from motes.points import fitting as points
from motes.tables import fitting as tables


def fit_points(data, recipe="default", *, changes=(), **options):
    return points.fit_points(data, motes.load_recipe(recipe, changes), **options)


def fit_table(data, recipe="table", *, changes=(), **options):
    return tables.fit_table(data, motes.load_recipe(recipe, changes), **options)
