"""The Gaussian mixture nearest to a table: what of its law a network need not learn.

    x_0 ~ sum_k weights_k N(means_k, axes_k diag(variances_k) axes_k^T)

Few rows leave the small variances of a covariance too small. So the likelihood of left-out rows chooses how far the
covariance of all rows is shrunk towards the identity; how many components there are, and by how much of that
covariance, or of the identity, each is blurred. The one suits columns that depend on each other everywhere, the other
columns that do so because there are heaps.
"""

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.learning.rows import systematic
from motes.learning.weights import Fixed

Array = NDArray[np.float64]

SHARES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)  # of the identity
NUMBERS = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # of components
BLURS = (
    0.001,
    0.003,
    0.01,
    0.03,
    0.1,
    0.3,
)  # of a component, as a share of the covariance of all rows, or of the identity
FOLDS = 5
FEW = 1000  # rows up to which every fold is left out once; of more, one is enough
MOST = 20_000  # rows that a mixture is fitted to
WITH_MISSING = 0.01  # the share where cells are missing, and so no row has a whole likelihood
LEAST_VARIANCE = 1e-6  # of a direction: less noise than that no network is asked about


class Choice(NamedTuple):
    """What left-out rows have chosen."""

    share: float = 0.0
    components: int = 1
    blur: float = 0.0
    evenly: bool = False  # by the identity


class Mixture(Fixed):
    """A mixture by the principal axes of its components, and those of its covariance as a whole."""

    mean: jax.Array  # (d,)
    axes: jax.Array  # (d, d), a column each
    variances: jax.Array  # (d,)
    log_weights: jax.Array  # (k,)
    means: jax.Array  # (k, d)
    each_axes: jax.Array  # (k, d, d)
    each_variances: jax.Array  # (k, d)

    @classmethod
    def standard(cls, dim: int, components: int = 1) -> "Mixture":
        """N(0, I), so many times."""
        mean, axes, variances = np.zeros(dim), np.eye(dim), np.ones(dim)
        several = (np.repeat(part[None], components, axis=0) for part in (mean, axes, variances))
        return cls.of(mean, axes, variances, np.full(components, -np.log(components)), *several)

    @classmethod
    def of(cls, *parts: Array) -> "Mixture":
        """Of NumPy arrays in the order of the attributes."""
        return cls(*(jnp.asarray(part, float) for part in parts))

    @classmethod
    def fit(
        cls, x: Array, choice: Choice, weights: Array | None = None, present: NDArray[np.bool_] | None = None
    ) -> "Mixture":
        """That of rows x (n, d) in standardised units, with weights (n,), of which the cells `present` (n, d) count."""
        mean, covariance = _moments(x, np.ones(len(x)) if weights is None else weights, present)
        variances, axes = _principal(_shrunk(covariance, choice.share))
        if choice.components == 1:
            return cls.of(mean, axes, variances, np.zeros(1), mean[None], axes[None], variances[None])
        w, root = _whitened(_repeated(x, weights), mean, axes, variances, choice.evenly)
        found = _expected(w, choice)
        inner = [_principal(root @ one @ root.T) for one in found.covariances_]
        each_variances, each_axes = (np.stack(part) for part in zip(*inner, strict=True))
        means = mean + found.means_ @ root.T
        return cls.of(mean, axes, variances, np.log(found.weights_), means, each_axes, each_variances)

    @property
    def covariances(self) -> jax.Array:
        """Of the components, (k, d, d)."""
        return jnp.einsum("kij,kj,klj->kil", self.each_axes, self.each_variances, self.each_axes)


def choose(x: Array, most: int, weights: Array | None = None, present: NDArray[np.bool_] | None = None) -> Choice:
    """What is best for rows x (n, d), with `most` components at most; as `Mixture.fit`.

    With missing cells it is one Gaussian.
    """
    if present is not None:
        return Choice(WITH_MISSING)
    rows = _repeated(x, weights)
    share, score = _best_share(rows)
    best = Choice(share)
    if most == 1 or len(rows) < 2 * FOLDS:
        return best
    mean, covariance = _moments(rows, np.ones(len(rows)))
    variances, axes = _principal(_shrunk(covariance, share))
    for evenly in (False, True):
        w, root = _whitened(rows, mean, axes, variances, evenly)
        volume = float(np.linalg.slogdet(root)[1])
        top, blur, in_vain = -np.inf, BLURS[len(BLURS) // 2], 0
        for components in NUMBERS:
            if components > min(most, len(rows) // (2 * FOLDS)) or in_vain == 2:
                break
            found, with_it = _best_blur(w, components, blur)
            in_vain += 1
            if with_it > top:
                top, blur, in_vain = with_it, found, 0
            if with_it - volume > score:
                best, score = Choice(share, components, found, evenly), with_it - volume
    return best


def _whitened(x: Array, mean: Array, axes: Array, variances: Array, evenly: bool) -> tuple[Array, Array]:
    """w (n, d), and the root (d, d) with x - mean = root @ w by which components are blurred."""
    if evenly:
        return x - mean, np.eye(x.shape[1])
    std = np.sqrt(variances)
    return ((x - mean) @ axes) / std, axes * std


def _repeated(x: Array, weights: Array | None) -> Array:
    """Rows (m, d) in mixed order, MOST of them at most, in which each comes as often as its weight says."""
    rng = np.random.default_rng(0)
    return x[(rng.permutation(len(x)) if weights is None else systematic(rng, weights))[:MOST]]


def _moments(x: Array, weights: Array, present: NDArray[np.bool_] | None = None) -> tuple[Array, Array]:
    """Mean and covariance; of missing cells nothing is read."""
    if present is None:
        part = weights / weights.sum()
        mean = part @ x
        away = x - mean
        return mean, (away * part[:, None]).T @ away
    # Each covariance over the rows that have both cells; where none has, the columns count as independent.
    count = weights[:, None] * present
    mean = (count * np.where(present, x, 0)).sum(axis=0) / count.sum(axis=0)
    away = np.where(present, x - mean, 0)
    pairs = count.T @ present
    return mean, (weights[:, None] * away).T @ away / np.where(pairs > 0, pairs, 1)


def _shrunk(covariance: Array, share: float) -> Array:
    return (1 - share) * covariance + share * np.eye(len(covariance))


def _principal(covariance: Array) -> tuple[Array, Array]:
    """Variances (d,) and axes (d, d)."""
    variances, axes = np.linalg.eigh(covariance)
    return np.maximum(variances, LEAST_VARIANCE), axes


def _folds(n: int) -> Iterator[NDArray[np.bool_]]:
    """Which rows are left out, (n,)."""
    fold = np.arange(n) % FOLDS
    for k in range(FOLDS if n <= FEW else 1):
        yield fold == k


def _best_share(x: Array) -> tuple[float, float]:
    """Of SHARES, and the mean log-likelihood of left-out rows but for a constant."""
    scores, count = np.zeros(len(SHARES)), 0
    for out in _folds(len(x)):
        if not out.any():
            continue
        mean, covariance = _moments(x[~out], np.ones((~out).sum()))
        variances, axes = np.linalg.eigh(covariance)
        square = (((x[out] - mean) @ axes) ** 2).sum(axis=0)  # (d,)
        count += out.sum()
        for i, share in enumerate(SHARES):
            # The axes stay, whatever the share of the identity.
            shrunk = np.maximum((1 - share) * variances + share, LEAST_VARIANCE)
            scores[i] -= 0.5 * (np.sum(square / shrunk) + out.sum() * np.log(2 * np.pi * shrunk).sum())
    return SHARES[int(scores.argmax())], float(scores.max() / max(count, 1))


def _best_blur(w: Array, components: int, first: float) -> tuple[float, float]:
    """Of BLURS, from the `first` one on as long as it helps, down or else up; and its likelihood of left-out rows."""
    at = BLURS.index(first)
    score = _left_out(w, Choice(0.0, components, first))
    for step in (-1, 1):
        started = at
        while 0 <= at + step < len(BLURS):
            with_it = _left_out(w, Choice(0.0, components, BLURS[at + step]))
            if with_it <= score:
                break
            at, score = at + step, with_it
        if at != started:
            break
    return BLURS[at], score


def _left_out(w: Array, choice: Choice) -> float:
    """The mean log-likelihood of left-out rows."""
    found = [(out.sum(), _expected(w[~out], choice).score(w[out])) for out in _folds(len(w))]
    counts, scores = zip(*found, strict=True)
    return float(np.average(scores, weights=counts))


def _expected(w: Array, choice: Choice) -> Any:
    """A mixture by expectation and maximisation."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    # Small matrices are not worth a second thread: on busy cores it costs more than it brings.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near the top is near enough
        return GaussianMixture(choice.components, reg_covar=choice.blur, random_state=0).fit(w)
