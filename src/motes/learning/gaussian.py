"""The Gaussian nearest to a table: what of its law a network need not learn.

    x_0 ~ N(mean, axes diag(variances) axes^T)

Few rows leave the small variances of a covariance too small. So it is shrunk towards the identity, the covariance of
independent standardised columns, by the share under which left-out rows are likeliest.
"""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.learning.weights import Fixed

Array = NDArray[np.float64]

SHARES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)  # of the identity
FOLDS = 5
MOST = 20_000  # rows that a share is chosen by
WITH_MISSING = 0.01  # the share where cells are missing, and so no row has a whole likelihood
LEAST_VARIANCE = 1e-6  # of a direction: less noise than that no network is asked about


class Gaussian(Fixed):
    """N(mean, covariance) by its principal axes."""

    mean: jax.Array  # (d,)
    axes: jax.Array  # (d, d), a column each
    variances: jax.Array  # (d,)

    @classmethod
    def standard(cls, dim: int) -> "Gaussian":
        """N(0, I)."""
        return cls(jnp.zeros(dim), jnp.eye(dim), jnp.ones(dim))

    @classmethod
    def fit(cls, x: Array, weights: Array | None = None, present: NDArray[np.bool_] | None = None) -> "Gaussian":
        """That of rows x (n, d) in standardised units, with weights (n,), of which the cells `present` (n, d) count."""
        weights = np.ones(len(x)) if weights is None else weights
        if present is None:
            mean, covariance = _moments(x, weights)
            share = _share(x[:MOST], weights[:MOST])
        else:
            mean, covariance = _moments_of_present(x, weights, present)
            share = WITH_MISSING
        variances, axes = np.linalg.eigh(_shrunk(covariance, share))
        found = mean, axes, np.maximum(variances, LEAST_VARIANCE)
        return cls(*(jnp.asarray(part, float) for part in found))

    @property
    def covariance(self) -> jax.Array:
        """(d, d)."""
        return (self.axes * self.variances) @ self.axes.T


def _moments(x: Array, weights: Array) -> tuple[Array, Array]:
    share = weights / weights.sum()
    mean = share @ x
    away = x - mean
    return mean, (away * share[:, None]).T @ away


def _moments_of_present(x: Array, weights: Array, present: NDArray[np.bool_]) -> tuple[Array, Array]:
    # Each covariance over the rows that have both cells; where none has, the columns count as independent.
    count = weights[:, None] * present
    mean = (count * x).sum(axis=0) / count.sum(axis=0)
    away = np.where(present, x - mean, 0)
    pairs = count.T @ present
    covariance = (weights[:, None] * away).T @ away / np.where(pairs > 0, pairs, 1)
    return mean, covariance


def _shrunk(covariance: Array, share: float) -> Array:
    return (1 - share) * covariance + share * np.eye(len(covariance))


def _share(x: Array, weights: Array) -> float:
    """The share of SHARES under which rows are likeliest whose fold was left out."""
    fold = np.arange(len(x)) % FOLDS
    scores = np.zeros(len(SHARES))
    for k in range(min(FOLDS, len(x))):
        mean, covariance = _moments(x[fold != k], weights[fold != k])
        variances, axes = np.linalg.eigh(covariance)
        square = weights[fold == k] @ ((x[fold == k] - mean) @ axes) ** 2  # (d,)
        for i, share in enumerate(SHARES):
            # The axes stay, whatever the share of the identity.
            shrunk = np.maximum((1 - share) * variances + share, LEAST_VARIANCE)
            scores[i] -= np.sum(square / shrunk) + weights[fold == k].sum() * np.sum(np.log(shrunk))
    return SHARES[int(scores.argmax())]
