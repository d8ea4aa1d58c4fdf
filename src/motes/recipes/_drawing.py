"""The sampler and the times of a draw: those of a recipe, or others in their place."""

from typing import Any

import jax

from motes.errors import RecipeError, UsageError
from motes.learning._networks import StepGated
from motes.recipes._reading import load_recipe
from motes.recipes._recipe import Recipe
from motes.sampling._grids import GivenGrid
from motes.sampling._loop import Sampler
from motes.sampling._options import Sampling


def sampler_and_grid(recipe: Recipe, how: Sampling) -> tuple[Sampler, jax.Array]:
    """The sampler and the times of a draw: those of the recipe of a model, but for `how`.

    Raises:
        RecipeError: names or numbers that there are not, or that do not fit the model.
        UsageError: a sampler that asks a network of steps at other times, or a grid whose times are not there.
    """
    changes: dict[str, Any] = {}
    sampler, grid = how.sampler, how.grid
    if isinstance(sampler, str):
        changes["sampler.kind"] = sampler
    if isinstance(grid, str) and grid == "given" and not isinstance(recipe.grid, GivenGrid):
        raise UsageError("grid 'given' needs its times: in Python give them, grid=[1.0, 0.4, 0.0], or train with them.")
    if isinstance(grid, str):
        changes["grid.kind"] = grid
    elif isinstance(grid, tuple):
        changes |= {"grid.kind": "given", "grid.times": list(grid)}
    if how.steps is not None:
        changes["grid.steps"] = how.steps
    try:
        chosen = load_recipe(recipe, changes)
    except RecipeError as error:  # of the names and numbers of this draw: the recipe itself is right
        raise RecipeError(str(error).removeprefix("the recipe: ")) from None
    if not isinstance(sampler, Sampler):
        return chosen.sampler, chosen.make_grid()
    if sampler.off_grid and isinstance(chosen.network, StepGated):
        raise UsageError(
            f"this model's network, 'step_gated', knows only the schedule's own steps, and {type(sampler).__name__} "
            "asks it at times between them. Choose a sampler that does not, such as Heun or DDIM."
        )
    return sampler, chosen.make_grid()
