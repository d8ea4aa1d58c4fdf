"""A linear Gaussian simulator, whose posteriors are known.

theta ~ N(0, P),   x = A theta + e,   e ~ N(0, N),
theta | x ~ N(K x, P - K A P),   K = P A^T (A P A^T + N)^-1
"""

from dataclasses import replace
from typing import ClassVar

import equinox as eqx
import jax
import numpy as np
from scipy import stats

from motes.data.curves import Straight
from motes.data.tables import Standardiser
from motes.points import Denoiser, PosteriorModel, Schedule, VarianceExploding
from motes.points.posterior import Context, NoveltyDetector, Prior
from motes.recipes import load_recipe

PRIOR = np.array([[1.0, 0.3], [0.3, 0.5]])
A = np.array([[1.0, 0.5], [-0.4, 1.2], [0.3, 0.3]])
NOISE = np.diag([0.2, 0.1, 0.5])
GAIN = PRIOR @ A.T @ np.linalg.inv(A @ PRIOR @ A.T + NOISE)  # (2, 3)
POSTERIOR = PRIOR - GAIN @ A @ PRIOR
FAR = VarianceExploding(1e4, 7.0)  # so much noise that the prior is that of every posterior


def simulated(n, seed):
    rng = np.random.default_rng(seed)
    theta = rng.multivariate_normal(np.zeros(2), PRIOR, n)
    return theta, theta @ A.T + rng.multivariate_normal(np.zeros(3), NOISE, n)


def log_posterior(theta, x):
    return stats.multivariate_normal(np.zeros(2), POSTERIOR).logpdf(theta - x @ GAIN.T)


class Exact(Denoiser):
    """E[theta | theta_t, x] in the units of a model, by the equation above and that of a Gaussian in noise."""

    schedule: Schedule
    asks: ClassVar[int] = 3
    scale: np.ndarray  # of the units: theta = mean + scale * z
    mean: np.ndarray
    unit: np.ndarray  # x = centre + unit * context
    centre: np.ndarray
    spread: np.ndarray  # eigenvalues of the posterior's covariance, in the units of the network
    axes: np.ndarray
    x: jax.Array | None = None

    def given(self, known):
        assert known.context.shape == (self.asks,)
        return eqx.tree_at(lambda one: one.x, self, known.context, is_leaf=lambda part: part is None)

    def __call__(self, x_t, t):
        x = self.centre + self.unit * self.x
        centre = (GAIN @ x - self.mean) / self.scale
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        shrink = alpha * self.spread / (alpha**2 * self.spread + sigma**2)
        return centre + self.axes @ (shrink * (self.axes.T @ (x_t - alpha * centre)))


def exact_model():
    """A model whose denoiser is exact, in units that are not those of the data."""
    units = Standardiser(np.array([0.3, -0.2]), np.array([1.5, 0.6]))
    unit, centre = np.array([2.0, 0.5, 1.0]), np.array([0.1, 0.0, -0.4])
    covariance = tuple(map(tuple, PRIOR / np.outer(units.scale, units.scale)))
    prior = Prior(tuple(-units.mean / units.scale), covariance, (None, None))
    curves = tuple(Straight(m, s) for m, s in zip(centre, unit, strict=True))
    context = Context(("a", "b", "c"), curves, prior, (False,) * 3)
    x = simulated(2000, 98)[1]
    context = replace(context, novelty=NoveltyDetector.fit(context.mapped(x), ~np.isnan(x)))
    spread, axes = np.linalg.eigh(POSTERIOR / np.outer(units.scale, units.scale))
    denoiser = Exact(FAR, units.scale, units.mean, unit, centre, spread, axes)
    recipe = load_recipe("default", {"schedule.sigma_max": FAR.sigma_max, "grid.steps": 64, "sampler.kind": "heun"})
    return PosteriorModel(denoiser, units, ("u", "v"), recipe, context=context)
