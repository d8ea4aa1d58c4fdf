"""From a recipe to the parts that it names."""

import dataclasses
from functools import cache
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
from numpy.typing import ArrayLike

from motes import parts
from motes.diffusion.continuous import CosineVP, LinearVP, RectifiedFlow
from motes.diffusion.denoiser import Denoiser
from motes.diffusion.schedules import BETAS, DiscreteVP, Schedule, VarianceExploding, cosine_betas
from motes.errors import RecipeError, UsageError, check_seed
from motes.learning.denoisers import (
    DENOISERS,
    Conditional,
    LearnedVariance,
    Network,
)
from motes.learning.importance import ImportanceTimes
from motes.learning.losses import (
    DRAWS,
    LOSSES,
    Hybrid,
    LogitNormalTimes,
    LogNormalTimes,
    Loss,
    MinSNR,
    StepTimes,
    Times,
    UniformTimes,
    Weighted,
    stratified,
)
from motes.learning.networks import ResidualMLP, StepGatedMLP
from motes.recipes import Recipe, load_recipe
from motes.sampling.grids import given_grid, karras_grid, log_snr_grid, quadratic_grid, uniform_grid
from motes.sampling.samplers import SAMPLERS, Sampler


def build_schedule(recipe: Recipe) -> Schedule:
    """The schedule of `[schedule]`."""
    part = recipe.schedule
    try:
        match part:
            case parts.Betas():
                return DiscreteVP(BETAS[part.kind](part.steps, part.start, part.end))
            case parts.Cosine():
                return DiscreteVP(cosine_betas(part.steps, part.offset, part.max_beta))
            case parts.Exploding():
                return VarianceExploding(part.sigma_max, part.rho)
            case parts.ContinuousLinear():
                return LinearVP(part.beta_min, part.beta_max)
            case parts.Ending():
                return CosineVP(part.alpha_1) if part.kind == "continuous_cosine" else RectifiedFlow(part.alpha_1)
    except ValueError as error:
        raise RecipeError(f"[schedule]: {error}") from None


def build_denoiser(recipe: Recipe, dim: int, key: jax.Array, classes: int = 0) -> Denoiser:
    """A fresh network of `[network]`, wrapped as `[denoiser]` says, for points of `dim` columns in some classes."""
    schedule, kind = build_schedule(recipe), DENOISERS[recipe.denoiser.kind]
    learned = recipe.denoiser.variance == "learned"
    network = _build_network(recipe.network, dim, 2 * dim if learned else dim, classes, recipe.steps, key)
    if learned:
        return LearnedVariance(network=network, schedule=schedule, kind=kind)
    denoiser = kind(network=network, schedule=schedule)
    return Conditional(denoiser, classes) if classes else denoiser


@eqx.filter_jit  # one program for all the little draws of the initial weights
def _build_network(
    part: parts.Residual | parts.StepGated, dim: int, outputs: int, context: int, steps: int | None, key: jax.Array
) -> Network:
    if isinstance(part, parts.Residual):
        return ResidualMLP(dim, part.width, part.depth, context, dropout=part.dropout, outputs=outputs, key=key)
    assert steps is not None  # Recipe has checked it
    return StepGatedMLP(dim, steps, part.width, part.depth, outputs=outputs, key=key)


def build_loss(recipe: Recipe) -> Loss:
    """The loss of `[loss]`."""
    part = recipe.loss
    match part:
        case parts.MinSNRPart():
            return Weighted(MinSNR(part.gamma))
        case parts.HybridPart():
            return Hybrid(part.weight)
        case parts.LossPart():
            return LOSSES[part.kind]


def build_times(recipe: Recipe) -> Times:
    """How `[times]` draws t."""
    schedule, part = build_schedule(recipe), recipe.times
    by_importance = part.draw == "importance"
    draw = stratified if by_importance else DRAWS[part.draw]
    times: Times
    match part:
        case parts.StepsDrawn():
            assert isinstance(schedule, DiscreteVP)  # Recipe has checked it
            times = StepTimes(schedule, draw)
        case parts.LogNormal():
            times = LogNormalTimes(schedule, part.mean, part.std, draw)
        case parts.UniformDrawn():
            times = UniformTimes(part.least, draw)
        case parts.LogitNormal():
            times = LogitNormalTimes(part.mean, part.std, draw)
    return ImportanceTimes(times) if by_importance else times


@cache  # the same object again, so that a compiled training program is found again
def build_optimiser(part: parts.Training) -> optax.GradientTransformation:
    """Adam with the clipping and the learning rate of `[training]`."""
    rate: optax.ScalarOrSchedule = part.learning_rate
    if part.decay == "cosine":
        rate = optax.cosine_decay_schedule(part.learning_rate, max(part.steps - part.warmup, 1))
    if part.warmup:
        rise = optax.linear_schedule(0.0, part.learning_rate, part.warmup)
        after = rate if callable(rate) else optax.constant_schedule(rate)
        rate = optax.join_schedules([rise, after], [part.warmup])
    return optax.chain(optax.clip_by_global_norm(part.clip_norm), optax.adam(rate))


def build_sampler(recipe: Recipe) -> Sampler:
    """The sampler of `[sampler]`: its keys are the fields of the class of that name."""
    options = dataclasses.asdict(recipe.sampler)
    try:
        return SAMPLERS[options.pop("kind")](**options)
    except ValueError as error:
        raise RecipeError(f"[sampler]: {error}") from None


def build_grid(recipe: Recipe) -> jax.Array:
    """The times of `[grid]`, (N+1,) from 1 down to 0."""
    part = recipe.grid
    try:
        match part:
            case parts.UniformGrid():
                steps = part.steps or recipe.steps
                assert steps is not None  # Recipe has checked it
                return uniform_grid(steps)
            case parts.QuadraticGrid():
                return quadratic_grid(part.steps)
            case parts.KarrasGrid():
                return karras_grid(build_schedule(recipe), part.steps, part.sigma_min, rho=part.rho)
            case parts.LogSNRGrid():
                return log_snr_grid(build_schedule(recipe), part.steps, part.sigma_min)
            case parts.GivenGrid():
                return given_grid(part.times)
    except ValueError as error:
        raise RecipeError(f"[grid]: {error}") from None


def build_draw(
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
    if isinstance(grid, str) and grid == "given" and not isinstance(recipe.grid, parts.GivenGrid):
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
        return build_sampler(chosen), build_grid(chosen)
    if sampler.off_grid and isinstance(chosen.network, parts.StepGated):
        raise UsageError(
            f"this model's network, 'step_gated', knows only the schedule's own steps, and {type(sampler).__name__} "
            "asks it at times between them. Choose a sampler that does not, such as Heun or DDIM."
        )
    return sampler, build_grid(chosen)


def seed_key(seed: int, purpose: str) -> jax.Array:
    """A key for one purpose of a seed, so that no two purposes share their randomness."""
    words = np.random.SeedSequence([check_seed(seed), *purpose.encode()]).generate_state(1)
    return jax.random.key(int(words[0]))
