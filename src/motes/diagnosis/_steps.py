"""Too few steps, or a grid that stops too far from the data: the fix is tried before it is printed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from motes.diagnosis._findings import Finding
from motes.diagnosis._prior import as_options
from motes.diagnosis._setting import CHECKED, Setting, Steps, squared_distances
from motes.diagnosis._split import DISCRETISATION, ErrorSplit
from motes.errors import MotesError
from motes.recipes import PointRecipe
from motes.sampling._grids import KarrasGrid, LogSNRGrid

COARSE = 0.5  # of the reference value: what the steps may add to the squared distance
HALVED, MOSTLY = 0.5, 0.2  # what a fix leaves of the steps' error at most, and what is good enough to look no further
MANY = 64
NEAR = KarrasGrid().sigma_min


def coarse_grid(setting: Setting, split: ErrorSplit) -> Iterator[Finding]:
    """Found where finer steps surely bring the samples nearer to the data."""
    part = split.parts.get(DISCRETISATION)
    if split.doubts or part is None or not part.surely_above(COARSE * split.reference_value):
        return
    recipe = setting.model.recipe
    steps, distance = len(setting.model.grid) - 1, math.sqrt(part.value)
    last = getattr(recipe.grid, "sigma_min", 0.0)
    far = f", the last of them from a noise level of {last:g}," if last > 2 * NEAR else ""
    yield Finding(
        "coarse_grid",
        distance,
        f"{steps} steps{far} are too coarse: finer ones bring the samples nearer by a sliced W2 of {distance:.2g} (two "
        f"real draws: {math.sqrt(split.reference_value):.2g}).",
        steps_fix(setting),
    )


def steps_fix(setting: Setting) -> str:
    """The first options of several that leave next to nothing of the steps' error, or those that leave least; "" where
    none halve it."""
    few, (fine, _) = setting.few(CHECKED), setting.fine
    assert fine is not None and few.denoiser is not None  # or there would be no such part of the error
    recipe = setting.model.recipe
    tried: list[tuple[dict[str, Any], Steps]] = []
    for changes in _candidates(recipe):
        try:
            tried.append((changes, Steps.of(recipe.changed(changes))))
        except MotesError:  # this recipe does not take them
            continue
    square = lambda steps: squared_distances([few.sampled(few.denoiser, few.starts[1], steps)], few.reference)[0][0]
    least = square(fine)
    own = square(Steps.of(recipe)) - least
    best, left = "", HALVED if own > 0 else 0.0
    for changes, steps in tried:
        share = (square(steps) - least) / max(own, 1e-300)
        if share < left:
            best, left = as_options(changes), share
        if left < MOSTLY:
            break
    return best


def _candidates(recipe: PointRecipe) -> Iterator[dict[str, Any]]:
    """Changes of the steps, the smallest first."""
    steps = len(recipe.make_grid()) - 1
    more = {"grid.steps": max(MANY, 2 * steps)}
    far = isinstance(recipe.grid, KarrasGrid | LogSNRGrid) and recipe.grid.sigma_min > NEAR
    if far:
        yield {"grid.sigma_min": NEAR}
    if recipe.steps and steps < recipe.steps:
        yield {"grid.steps": recipe.steps}
    yield more
    if far:
        yield more | {"grid.sigma_min": NEAR}
    karras = {"grid.kind": "karras", "grid.steps": max(MANY, steps), "grid.sigma_min": NEAR}
    yield karras
    yield karras | {"sampler.kind": "dpmpp_3m"}
