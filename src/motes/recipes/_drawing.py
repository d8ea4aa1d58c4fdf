"""The sampler and the times of a draw: those of a recipe, or others in their place."""

from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike

from motes.errors import UsageError
from motes.learning._networks import StepGated
from motes.recipes._reading import load_recipe
from motes.recipes._recipe import Recipe
from motes.sampling._grids import GivenGrid
from motes.sampling._loop import Sampler


def sampler_and_grid(
    recipe: Recipe, sampler: str | Sampler | None = None, steps: int | None = None, grid: ArrayLike | None = None
) -> tuple[Sampler, jax.Array]:
    """The sampler and the times of a draw: those of the recipe, or others in their place.

    Args:
        recipe: of the model.
        sampler: a kind of `[sampler]`, with its own defaults, or a sampler.
        steps: of the grid.
        grid: a kind of `[grid]`, or times (N+1,) that fall from 1 to 0.

    Raises:
        RecipeError: names or numbers that there are not, or that do not fit the model.
        UsageError: steps and times, or a sampler that asks a network of steps at other times.
    """
    changes: dict[str, Any] = {}
    if isinstance(sampler, str):
        changes["sampler.kind"] = sampler
    if isinstance(grid, str) and grid == "given" and not isinstance(recipe.grid, GivenGrid):
        raise UsageError("grid 'given' needs its times: in Python give them, grid=[1.0, 0.4, 0.0], or train with them.")
    if isinstance(grid, str):
        changes["grid.kind"] = grid
    elif grid is not None:
        if steps is not None:
            raise UsageError(f"steps = {steps} beside a grid of times: the times say how many steps there are.")
        changes |= {"grid.kind": "given", "grid.times": np.asarray(grid, float).tolist()}
    if steps is not None:
        changes["grid.steps"] = steps
    chosen = load_recipe(recipe, changes)
    if not isinstance(sampler, Sampler):
        return chosen.sampler, chosen.make_grid()
    if sampler.off_grid and isinstance(chosen.network, StepGated):
        raise UsageError(
            f"this model's network, 'step_gated', knows only the schedule's own steps, and {type(sampler).__name__} "
            "asks it at times between them. Choose a sampler that does not, such as Heun or DDIM."
        )
    return sampler, chosen.make_grid()
