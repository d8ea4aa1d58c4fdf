"""Panels divide what happens and have round times; the film moves evenly, and shows the steps of the sampler."""

import numpy as np
import pytest
from tests.conftest import SMALL

import motes
from motes import rasters
from motes.cli.figures import origin_words
from motes.data.tables import Standardiser
from motes.plots.chains import Distances, ModelView
from motes.points.model import PointModel
from motes.recipes import load_recipe

RECIPES = ("default", "ddpm", "tutorial")


def model(recipe, x=None, **changes):
    chosen = load_recipe(recipe, {key.replace("_", ".", 1): value for key, value in changes.items()})
    fitted = chosen.data.standardise and x is not None
    return PointModel(None, Standardiser.fit(x) if fitted else Standardiser.identity(2), ("x", "y"), chosen)


@pytest.fixture(scope="module", params=["swiss_roll", "moons"])
def x(request):
    return motes.make_shape(request.param, 3000)


def sliced_w2(a, b):
    directions = np.random.default_rng(0).normal(size=(2, 100))
    directions /= np.linalg.norm(directions, axis=0)
    return np.sqrt(((np.sort(a @ directions, axis=0) - np.sort(b @ directions, axis=0)) ** 2).mean())


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_panels_are_equal_steps_of_the_distance_to_the_data_apart(x, recipe):
    made = model(recipe, x)
    times = Distances.of(made, x).panels(10)
    assert len(times) == 10
    assert (times[0], times[-1]) == (1.0, 0.0)
    clouds = ModelView(made, range(10), np.array(times, np.float32)).forward(x, seed=5)
    steps = -np.diff([sliced_w2(cloud, x) for cloud in clouds])
    assert steps.max() < 2.2 * steps.mean()  # of equal times some step is four times the mean
    assert steps.min() > 0.2 * steps.mean()


@pytest.mark.slow(only=["swiss_roll-ddpm"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_the_times_of_panels_are_round(x, recipe):
    made = model(recipe, x)
    times = Distances.of(made, x).panels(10)
    steps = made.recipe.steps
    for t in times:
        assert float(f"{t:.2f}") == pytest.approx(t, abs=1e-6)  # two digits say all
        assert steps is None or t * steps == pytest.approx(round(t * steps))
    fives = [t for t in times if round(100 * t) % 5 == 0]
    assert len(fives) >= 5


@pytest.mark.slow(but=["moons"])
def test_a_sampler_of_few_steps_has_panels_at_its_own(x):
    made = model("ddpm", x, grid_steps=5)
    times = Distances.of(made, x).panels(10)
    assert np.isin(np.float32(times), made.grid).all()
    assert np.array_equal(Distances.of(made, x).film(made.grid), made.grid)


@pytest.mark.parametrize("steps", [1, 32, 90, 150])
def test_the_film_has_all_its_frames_and_those_of_the_sampler_and_the_panels_among_them(x, steps):
    made = model("default", x, grid_steps=steps)
    grid = Distances.of(made, x).film(made.grid)
    assert len(grid) == 101 or steps > 100
    assert (np.diff(grid) < 0).all()
    assert np.isin(made.grid, grid).all()
    assert np.isin(np.float32(Distances.of(made, x).panels(10)), grid).all()


def test_points_outside_a_raster_are_not_counted():
    places = [-1e30, -0.6, 0.1, 0.6, 1.4, 1e30]
    x = np.array([(across, up) for across in places for up in places])
    found = rasters.counts(x, ((0.0, 1.0), (0.0, 1.0)), 2, 2)
    np.testing.assert_array_equal(found, np.ones((2, 2)))  # of four points, one in each cell


def test_the_film_moves_evenly(x):
    """From frame to frame no more than three times as far as on average, in the mean over points."""
    made = model("default", x)
    grid = Distances.of(made, x).film(made.grid)
    clouds = ModelView(made, range(len(grid)), grid).forward(x[:500], seed=0)
    moved = np.sqrt((np.diff(clouds, axis=0) ** 2).sum(axis=2).mean(axis=1))
    assert moved.max() < 3 * moved.mean()


@pytest.mark.parametrize("recipe", ["tutorial", "ddpm"])
def test_a_schedule_of_steps_is_shown_at_its_own(x, recipe):
    made = model(recipe)
    assert np.array_equal(Distances.of(made, x).film(made.grid), made.grid)


def test_small_print_counts_the_changes_that_a_user_made_and_no_option_chosen_for_the_data(small_model):
    """A trained model states the dropout and the scales that suited its rows, which nobody had changed."""
    assert small_model.recipe.network.dropout is not None
    chosen = SMALL | {"data.rows": 20_000}
    changed = [key for key, value in chosen.items() if load_recipe("default", {key: value}) != load_recipe("default")]
    assert origin_words(small_model, 1) == f"moons · recipe default with {len(changed)} changes · seed 1"
