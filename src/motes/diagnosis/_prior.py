"""How far the distribution that training ends in is from the one that sampling starts from.

    KL(q(x_1) || p(x_1)) = KL(g || p) + KL(q(x_1) || g),    p = N(0, prior_std^2 I)

g is the Gaussian with mean and covariance of q(x_1). The first part is a formula. The second one, which no covariance
can see, is a mean over draws: q(x_1) is a mixture of one Gaussian around each row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._tables import Standardiser
from motes.diffusion._continuous import LinearVP, RectifiedFlow, VarianceExploding
from motes.diffusion._discrete import BetasBetween
from motes.diffusion._schedules import Schedule
from motes.errors import MotesError
from motes.recipes import PointRecipe

Array = NDArray[np.float64]

ATOMS = 1000  # rows that stand for all, and draws
BLOCK = 250  # draws that are compared with all atoms at once
PRIOR_NATS = 0.02  # a start that is wrong by less is lost among 10,000 samples
SIGMAS = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0)  # of schedule.sigma_max


def as_learned(x: Array, recipe: PointRecipe) -> Array:
    """Rows (n, d) in the units that a recipe trains in."""
    return Standardiser.fit(x).forward(x) if recipe.data.standardise else x


def gaussian_kl(x: Array, recipe: PointRecipe) -> float:
    """KL in nats from the Gaussian with the mean and covariance of q(x_1) to the prior, of rows (n, d) of the data."""
    return _gaussian_kl(as_learned(x, recipe), recipe.make_schedule())


def prior_kl(x: Array, recipe: PointRecipe) -> float:
    """KL in nats from q(x_1) to the prior, with rows `x` (n, d), in the data's units, as the distribution of x_0.

    Up to 1,000 of the rows stand for all. It is the same at each call.
    """
    schedule, rng = recipe.make_schedule(), np.random.default_rng(0)
    z = as_learned(x, recipe)
    z = z[np.sort(rng.permutation(len(z))[:ATOMS])]
    return _gaussian_kl(z, schedule) + _beyond_gaussian(z, schedule, rng)


def _moments(z: Array, schedule: Schedule) -> tuple[Array, Array]:
    """Mean and covariance of q(x_1)."""
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    return alpha * z.mean(axis=0), alpha**2 * np.cov(z.T, bias=True) + sigma**2 * np.eye(z.shape[1])


def _gaussian_kl(z: Array, schedule: Schedule) -> float:
    prior, (mean, covariance) = float(schedule.prior_std), _moments(z, schedule)
    ratio = covariance / prior**2
    _, log_det = np.linalg.slogdet(ratio)
    return float(0.5 * (np.trace(ratio) + (mean @ mean) / prior**2 - z.shape[1] - log_det))


def _beyond_gaussian(z: Array, schedule: Schedule, rng: np.random.Generator) -> float:
    """The mean of log q - log g over draws from q; 0 where noise brings it below."""
    alpha, sigma = float(schedule.alpha(1.0)), float(schedule.sigma(1.0))
    mean, covariance = _moments(z, schedule)
    draws = alpha * z[rng.integers(len(z), size=ATOMS)] + sigma * rng.standard_normal((ATOMS, z.shape[1]))
    log_q = np.concatenate([_log_mixture(part, alpha * z, sigma) for part in np.split(draws, ATOMS // BLOCK)])
    away = draws - mean
    squares = np.einsum("ij,ij->i", away, np.linalg.solve(covariance, away.T).T)
    log_g = -0.5 * (squares + np.linalg.slogdet(covariance)[1] + z.shape[1] * np.log(2 * np.pi))
    return max(float(np.mean(log_q - log_g)), 0.0)


def _log_mixture(x: Array, centres: Array, sigma: float) -> Array:
    """log of the mean of N(x; centre, sigma^2 I) over centres, (m,)."""
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    exponents = -0.5 * (cdist(x, centres) / sigma) ** 2
    d = x.shape[1]
    return np.asarray(logsumexp(exponents, axis=1)) - np.log(len(centres)) - d * np.log(sigma * np.sqrt(2 * np.pi))


def prior_fix(x: Array, recipe: PointRecipe) -> str:
    """The options after which the recipe ends in its prior, tried on rows (n, d) of the data; "" where none do."""
    for changes in _candidates(recipe):
        other = changed(recipe, changes)
        if other is not None and prior_kl(x, other) < PRIOR_NATS / 2:
            return as_options(changes)
    return ""


def changed(recipe: PointRecipe, changes: Mapping[str, Any]) -> PointRecipe | None:
    """A recipe with these changes; None where it does not take them."""
    try:
        return recipe.changed(changes)
    except MotesError:
        return None


def as_options(changes: Mapping[str, Any]) -> str:
    """Changes of a recipe as the command line writes them.

    Example:
        >>> as_options({"data.standardise": True, "training.steps": 100})
        '--set data.standardise=true --set training.steps=100'
    """
    return " ".join(f"--set {key}={_word(value)}" for key, value in changes.items())


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.6g}"


def _candidates(recipe: PointRecipe) -> list[dict[str, Any]]:
    """Changes that may end a recipe in noise, the smallest first; data that is not standardised is that first."""
    found = _schedules(recipe)
    if recipe.data.standardise:
        return found
    scaled = {"data.standardise": True}
    return [scaled, *(scaled | changes for changes in found), *found]


def quad_betas(steps: int) -> dict[str, Any]:
    """The betas of `ddpm`, which has 100 steps: their sum is the same for any number of them."""
    return {"schedule.start": 2e-3 / steps, "schedule.end": min(15 / steps, 0.999)}


def _schedules(recipe: PointRecipe) -> list[dict[str, Any]]:
    part = recipe.schedule
    if isinstance(part, VarianceExploding):
        return [{"schedule.sigma_max": sigma} for sigma in SIGMAS if sigma > part.sigma_max]
    if recipe.steps is not None:
        quad = quad_betas(recipe.steps)
        own = [quad] if isinstance(part, BetasBetween) and recipe.kind("schedule") == "quad" else []
        return [*own, {"schedule.kind": "quad"} | quad, {"schedule.kind": "cosine"}]
    if isinstance(part, LinearVP):
        return [{"schedule.beta_min": 0.1, "schedule.beta_max": 20.0}, {"schedule.beta_max": 40.0}]
    if isinstance(part, RectifiedFlow):
        return [{"schedule.alpha_1": 0.01}, {"schedule.alpha_1": 0.001}]
    return [{"schedule.kind": "continuous_cosine", "schedule.alpha_1": alpha} for alpha in (0.01, 0.001)]
