"""Exact log p(theta | x) of four of the tasks of `posteriors.py`, (n,) nats: the likelihood over its mean in the prior.

Each function takes parameters theta (n, d) and observations x (n, c). That of two moons is an integral over a grid.
"""

import numpy as np
from scipy.special import logsumexp, ndtr
from scipy.stats import norm

Array = np.ndarray


def cut(mean: Array, deviation: Array | float, bound: float) -> Array:
    """The mass of normal laws between -bound and bound."""
    return ndtr((bound - mean) / deviation) - ndtr((-bound - mean) / deviation)


def gaussian_linear(theta: Array, x: Array) -> Array:
    """A normal prior and normal noise, both of variance 0.1."""
    return norm.logpdf(theta, x / 2, np.sqrt(0.05)).sum(axis=1)


def gaussian_linear_uniform(theta: Array, x: Array) -> Array:
    """Normal laws of variance 0.1 about x, cut at -1 and 1."""
    scale = np.sqrt(0.1)
    return (norm.logpdf(theta, x, scale) - np.log(cut(x, scale, 1.0))).sum(axis=1)


def gaussian_mixture(theta: Array, x: Array) -> Array:
    """Two normal laws about x, of deviations 1 and 0.1, cut at -10 and 10."""
    scales = np.array([1.0, 0.1])
    each = norm.logpdf(theta[..., None], x[..., None], scales).sum(axis=1)
    mass = cut(x[..., None], scales, 10.0).prod(axis=1)
    return logsumexp(each, axis=1) - np.log(mass.sum(axis=1))


def two_moons(theta: Array, x: Array, points: int = 200) -> Array:
    """A moon in each half of the square, cut at its sides: shares of points of a moon that lie within them."""
    middles = (np.arange(points) + 0.5) / points
    angle, radius = np.meshgrid(np.pi * (middles - 0.5), norm.ppf(middles, 0.1, 0.01))
    moon = np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=-1).reshape(-1, 2)

    def evidence(one: Array) -> float:
        away, along = moon[:, 0] - one[0], one[1] - moon[:, 1]  # |a + b| and b - a, over sqrt(2)
        corners = (np.maximum(np.abs(side - along), np.abs(side + along)) / np.sqrt(2) for side in (away, -away))
        return float(np.log(sum(np.mean((away > 0) & (corner < 1)) for corner in corners)))

    (a, b), (first, second) = theta.T, x.T
    across = first + np.abs(a + b) / np.sqrt(2) - 0.25
    r = np.hypot(across, second - (b - a) / np.sqrt(2))
    log_p = norm.logpdf(r, 0.1, 0.01) - np.log(np.pi * r)
    seen, rows = np.unique(x, axis=0, return_inverse=True)
    return np.where(across > 0, log_p, -np.inf) - np.array([evidence(one) for one in seen])[rows.ravel()]


EXACT = {task.__name__: task for task in (gaussian_linear, gaussian_linear_uniform, gaussian_mixture, two_moons)}
