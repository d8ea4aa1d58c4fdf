"""The film moves smoothly, and shows the steps of the sampler where there are any."""

import numpy as np
import pytest

from motes.data._tables import Standardiser
from motes.models._points import PointModel
from motes.recipes import load_recipe
from motes.runs._point_figures import film_grid


def model(recipe, **changes):
    chosen = load_recipe(recipe, {key.replace("_", ".", 1): value for key, value in changes.items()})
    return PointModel(None, Standardiser.identity(2), ("x", "y"), chosen)


@pytest.mark.parametrize(("steps", "times"), [(1, 65), (16, 65), (32, 65), (50, 101), (64, 65), (80, 81)])
def test_the_film_stops_at_the_times_of_the_sampler_and_at_enough_others(steps, times):
    made = model("default", grid_steps=steps)
    grid = film_grid(made)
    assert len(grid) == times
    assert (np.diff(grid) < 0).all()
    assert np.isin(made.grid, grid).all()


@pytest.mark.parametrize("recipe", ["tutorial", "ddpm"])
def test_a_schedule_of_steps_is_shown_at_its_own(recipe):
    made = model(recipe)
    assert np.array_equal(film_grid(made), made.grid)
