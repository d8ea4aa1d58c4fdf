"""From a recipe to the parts that it names."""

from functools import cache

import equinox as eqx
import jax
import numpy as np
import optax

from motes import recipes
from motes.diffusion.denoiser import Denoiser
from motes.diffusion.schedules import BETAS, DiscreteVP, Schedule, VarianceExploding, cosine_betas
from motes.errors import RecipeError, check_seed
from motes.learning.denoisers import Network, NoisePredictor, Preconditioned
from motes.learning.losses import DRAWS, LOSSES, LogNormalTimes, Loss, StepTimes, Times
from motes.learning.networks import ResidualMLP, StepGatedMLP
from motes.recipes import Recipe
from motes.sampling.grids import karras_grid, uniform_grid
from motes.sampling.samplers import Ancestral, Heun, Sampler


def build_schedule(recipe: Recipe) -> Schedule:
    """The schedule of `[schedule]`."""
    part = recipe.schedule
    try:
        match part:
            case recipes.Betas():
                return DiscreteVP(BETAS[part.kind](part.steps, part.start, part.end))
            case recipes.Cosine():
                return DiscreteVP(cosine_betas(part.steps, part.offset, part.max_beta))
            case recipes.Exploding():
                return VarianceExploding(part.sigma_max, part.rho)
    except ValueError as error:
        raise RecipeError(f"[schedule]: {error}") from None


def build_denoiser(recipe: Recipe, dim: int, key: jax.Array) -> Denoiser:
    """A fresh network of `[network]`, wrapped as `[denoiser]` says, for points of `dim` columns."""
    return _build_denoiser(recipe, dim, key)


@eqx.filter_jit  # one program for all the little draws of the initial weights
def _build_denoiser(recipe: Recipe, dim: int, key: jax.Array) -> Denoiser:
    schedule, part = build_schedule(recipe), recipe.network
    network: Network
    match part:
        case recipes.StepGated():
            assert recipe.steps is not None  # Recipe has checked it
            network = StepGatedMLP(dim, recipe.steps, part.width, part.depth, key=key)
        case recipes.Residual():
            network = ResidualMLP(dim, part.width, part.depth, key=key)
    wrapper = NoisePredictor if recipe.denoiser.kind == "eps" else Preconditioned
    return wrapper(network=network, schedule=schedule)


def build_loss(recipe: Recipe) -> Loss:
    """The loss of `[loss]`."""
    return LOSSES[recipe.loss.kind]


def build_times(recipe: Recipe) -> Times:
    """How `[times]` draws t."""
    schedule, part = build_schedule(recipe), recipe.times
    match part:
        case recipes.StepsDrawn():
            assert isinstance(schedule, DiscreteVP)  # Recipe has checked it
            return StepTimes(schedule, DRAWS[part.draw])
        case recipes.LogNormal():
            return LogNormalTimes(schedule, part.mean, part.std, DRAWS[part.draw])


@cache  # the same object again, so that a compiled training program is found again
def build_optimiser(part: recipes.Training) -> optax.GradientTransformation:
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
    """The sampler of `[sampler]`."""
    part = recipe.sampler
    match part:
        case recipes.AncestralPart():
            return Ancestral(part.variance, part.noiseless_last)
        case recipes.HeunPart():
            return Heun()


def build_grid(recipe: Recipe) -> jax.Array:
    """The times of `[grid]`, (N+1,) from 1 down to 0."""
    part = recipe.grid
    match part:
        case recipes.UniformGrid():
            steps = part.steps or recipe.steps
            assert steps is not None  # Recipe has checked it
            return uniform_grid(steps)
        case recipes.KarrasGrid():
            try:
                return karras_grid(build_schedule(recipe), part.steps, part.sigma_min, rho=part.rho)
            except ValueError as error:
                raise RecipeError(f"[grid]: {error}") from None


def seed_key(seed: int, purpose: str) -> jax.Array:
    """A key for one purpose of a seed, so that no two purposes share their randomness."""
    words = np.random.SeedSequence([check_seed(seed), *purpose.encode()]).generate_state(1)
    return jax.random.key(int(words[0]))
