"""Exact denoisers: what a perfect network would answer, for data whose distribution is known.

    q_t(x_t) = E_{x_0} N(x_t; alpha_t x_0, sigma_t^2 I),
    E[x_0 | x_t] = (x_t + sigma_t^2 grad log q_t(x_t)) / alpha_t        (Tweedie's formula)

`GaussianOracle` and `MixtureOracle` are here; `_blurred_oracles.py` has `EmpiricalOracle` (a finite data set, or a
curve by quadrature) and `BoxesOracle` (uniform on boxes), blurred or not. Each stands wherever a learned denoiser does.
All is computed in log-space and is finite for t from 0 to 1, for points far from the data too, in float32 and float64.

Where the data has no density of full support (atoms, sharp boxes, singular covariances) q_t has none at t = 0 either.
There a standard deviation below `FLOOR` counts as `FLOOR`: the denoiser gives its limit, the nearest point of the
data, and `log_prob` and `score` are those of data blurred by `FLOOR`, large but finite.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion._denoiser import VarianceDenoiser
from motes.diffusion._process import q_posterior
from motes.diffusion._schedules import Schedule

# Parameters stay in NumPy's float64 and take the precision of the program that uses them.
Array = NDArray[np.float64]

FLOOR = 1e-10
ROWS = 2048  # rows of a compiled program of `rows`
LOG_2PI = float(np.log(2 * np.pi))


class Exact(NamedTuple):
    """All that there is to know at (x_t, t)."""

    x0: jax.Array
    """E[x_0 | x_t], (d,)."""
    score: jax.Array
    """grad log q_t(x_t), (d,)."""
    log_prob: jax.Array
    """log q_t(x_t) in nats, ()."""


class Oracle(VarianceDenoiser):
    """A denoiser that is exact. A new one is one method, `exact`.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import Heun, KarrasGrid, ReverseProcess
        >>> oracle = GaussianOracle([3.0, 0.0], np.eye(2), VarianceExploding(sigma_max=80.0))
        >>> process = ReverseProcess(oracle, Heun(), KarrasGrid(steps=16)(oracle.schedule), dim=2)
        >>> x, _ = motes.sample(process, 1000, key=jax.random.key(0))
        >>> x.mean(axis=0).round().tolist()
        [3.0, -0.0]
    """

    @abstractmethod
    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        """E[x_0 | x_t], the score and log q_t for one x_t (d,) at time t in [0, 1].

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> x0, score, log_prob = oracle.exact(jnp.array([2.0]), 1.0)
            >>> print(x0, score, log_prob.round(3))
            [1.] [-1.] -2.266
        """

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.exact(x_t, t).x0

    def score(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """grad log q_t(x_t), (d,).

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> print(GaussianOracle([0.0], [[1.0]], VarianceExploding()).score(jnp.array([2.0]), 0.0))
            [-2.]
        """
        return self.exact(x_t, t).score

    def log_prob(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """log q_t(x_t) in nats, (); at t = 0 the log-density of the data itself.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> print(GaussianOracle([0.0], [[1.0]], VarianceExploding()).log_prob(jnp.array([0.0]), 0.0).round(4))
            -0.9189
        """
        return self.exact(x_t, t).log_prob

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        # -sigma_t score loses no digits where sigma_t is small, as (x_t - alpha_t x0_hat) / sigma_t does.
        x0, score, _ = self.exact(x_t, t)
        return x0, -self.schedule.sigma(t) * score

    def variance(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """Var[x_0 | x_t] of each column, (d,), for t > 0: Tweedie's formula, differentiated.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> print(oracle.variance(jnp.array([2.0]), 1.0).round(3))
            [0.5]
        """
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        slope = jax.vmap(lambda v: v @ jax.jvp(lambda x: self.score(x, t), (x_t,), (v,))[1])
        return jnp.maximum((sigma / alpha) ** 2 * (1 + sigma**2 * slope(jnp.eye(x_t.size))), 0)

    def log_variance(self, x_t: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
        """Of each column of x_s given x_t: with it a Gaussian step is as near to the truth as one can be.

        Bao et al. 2022 (SN-DDPM), theorem 3.1: what the posterior leaves open, and what x_t leaves open of x_0.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> print(jnp.exp(oracle.log_variance(jnp.array([2.0]), 1.0, 0.0)).round(3))
            [0.5]
        """
        nothing = jnp.zeros(())
        of_x0, open_ = q_posterior(self.schedule, nothing, nothing + 1, t, s)
        return jnp.log(jnp.maximum(open_ + of_x0**2 * self.variance(x_t, t), 1e-30))

    def rows(self, x_t: ArrayLike, t: ArrayLike) -> Exact:
        """`exact` for rows x_t (n, d) at one time t, each entry with a leading n, compiled, in bounded memory.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> exact = oracle.rows([[2.0], [0.0], [-2.0]], 1.0)
            >>> exact.x0.shape, exact.score.shape, exact.log_prob.shape
            ((3, 1), (3, 1), (3,))
        """
        x = jnp.asarray(x_t, float)
        if x.ndim != 2 or not len(x):
            raise ValueError(f"points have shape {x.shape}; expected (n, d) with n >= 1.")
        padded = jnp.pad(x, ((0, -len(x) % ROWS), (0, 0)), mode="edge")
        parts = [_rows(self, padded[start : start + ROWS], jnp.asarray(t, float)) for start in range(0, len(x), ROWS)]
        return Exact(*(jnp.concatenate(part)[: len(x)] for part in zip(*parts, strict=True)))

    def denoise(self, x_t: ArrayLike, t: ArrayLike) -> jax.Array:
        """E[x_0 | x_t] (n, d) for rows x_t (n, d) at one time t.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> print(GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0)).denoise([[2.0], [0.0]], 1.0))
            [[1.]
             [0.]]
        """
        return self.rows(x_t, t).x0


def now(x: ArrayLike) -> jax.Array:
    """A parameter in the precision of the program that asks, said outright: JAX remembers what a bare asarray made."""
    return jnp.asarray(x, float)


@eqx.filter_jit
def _rows(oracle: Oracle, x: jax.Array, t: jax.Array) -> Exact:
    # Few rows at once: a tile of rows times atoms stays in the processor's cache.
    return jax.lax.map(lambda row: oracle.exact(row, t), x, batch_size=256)


# --- Gaussians and mixtures of them -------------------------------------------------------------------------------


class GaussianOracle(Oracle):
    """x_0 ~ N(mean, covariance).

    Args:
        mean: (d,).
        covariance: (d, d), symmetric, positive semi-definite.
        schedule: of the forward process.

    Raises:
        ValueError: shapes or a covariance other than these.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> oracle = GaussianOracle([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]], VarianceExploding(sigma_max=1.0))
        >>> print(oracle(jnp.array([1.0, 0.0]), 1.0).round(3))  # E[x_0 | x_t] at t = 1
        [0.405 0.238]
    """

    schedule: Schedule
    _mean: Array
    _axes: Array
    _variances: Array

    def __init__(self, mean: ArrayLike, covariance: ArrayLike, schedule: Schedule):
        self.schedule = schedule
        self._mean = np.array(mean, dtype=np.float64)
        covariance = np.asarray(covariance, dtype=np.float64)
        if self._mean.ndim != 1 or covariance.shape != (len(self._mean),) * 2:
            raise ValueError(
                f"the mean has shape {self._mean.shape}, the covariance {covariance.shape}; expected (d,) and (d, d)."
            )
        self._axes, self._variances = _principal_axes(covariance)

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        return _gaussian(self.schedule, self._mean, self._axes, self._variances, x_t, t)


class MixtureOracle(Oracle):
    """x_0 ~ sum_k weights_k N(means_k, covariances_k).

    Args:
        weights: (k,), above 0; only their ratios count.
        means: (k, d).
        covariances: (k, d, d), symmetric, positive semi-definite.
        schedule: of the forward process.

    Raises:
        ValueError: shapes, weights or covariances other than these.

    Example:
        >>> from motes.diffusion import MixtureOracle, VarianceExploding
        >>> tight = 1e-4 * np.stack([np.eye(2)] * 2)
        >>> oracle = MixtureOracle([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], tight, VarianceExploding(sigma_max=1.0))
        >>> print(oracle(jnp.array([1.0, 0.0]), 1.0).round(3))  # tanh(1) between both
        [0.762 0.   ]
    """

    schedule: Schedule
    _log_weights: Array
    _means: Array
    _axes: Array
    _variances: Array

    def __init__(self, weights: ArrayLike, means: ArrayLike, covariances: ArrayLike, schedule: Schedule):
        self.schedule = schedule
        self._means = np.array(means, dtype=np.float64)
        covariances = np.asarray(covariances, dtype=np.float64)
        if self._means.ndim != 2 or covariances.shape != (*self._means.shape, self._means.shape[1]):
            raise ValueError(
                f"means have shape {self._means.shape}, covariances {covariances.shape}; expected (k, d) and (k, d, d)."
            )
        self._log_weights = np.log(shares_of(weights, len(self._means), positive=True))
        self._axes, self._variances = _principal_axes(covariances)

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        component = jax.vmap(_gaussian, (None, 0, 0, 0, None, None))
        distributions = now(self._means), now(self._axes), now(self._variances)
        x0, score, log_prob = component(self.schedule, *distributions, x_t, t)  # (k, d), (k, d), (k,)
        return mixed(now(self._log_weights) + log_prob, x0, score)


def _principal_axes(covariance: Array) -> tuple[Array, Array]:
    """Axes (..., d, d), one a column, and variances (..., d) along them."""
    if not np.allclose(covariance, np.swapaxes(covariance, -1, -2), rtol=1e-6, atol=0):
        raise ValueError("a covariance is not symmetric, or not finite.")
    variances, axes = np.linalg.eigh(covariance)
    largest = np.abs(variances).max(axis=-1, keepdims=True)
    if (variances < -1e-8 * largest).any():
        raise ValueError(f"a covariance has the eigenvalue {variances.min():g}; expected none below 0.")
    return axes, np.maximum(variances, 0)


def _gaussian(
    schedule: Schedule, mean: ArrayLike, axes: ArrayLike, variances: ArrayLike, x_t: jax.Array, t: ArrayLike
) -> Exact:
    mean, axes, variances = now(mean), now(axes), now(variances)
    alpha, total = total_of(schedule, variances, t)  # (), (d,)
    away = (x_t - alpha * mean) @ axes  # along the principal axes, (d,)
    x0 = mean + axes @ (alpha * variances / total * away)
    log_prob = -0.5 * jnp.sum(away**2 / total + jnp.log(total) + LOG_2PI)
    return Exact(x0, -axes @ (away / total), log_prob)


def total_of(schedule: Schedule, variances: jax.Array, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """alpha_t, and the variance of x_t where x_0 has `variances`."""
    alpha = schedule.alpha(t)
    return alpha, jnp.maximum(alpha**2 * variances + schedule.sigma(t) ** 2, FLOOR**2)


def mixed(log_joint: jax.Array, x0: jax.Array, score: jax.Array) -> Exact:
    """From each component's log w_k + log q_k (k,), x0_k and score_k (k, d) to those of the mixture."""
    share = jax.nn.softmax(log_joint)
    return Exact(share @ x0, share @ score, logsumexp(log_joint))


def shares_of(weights: ArrayLike | None, count: int, *, positive: bool = False) -> Array:
    """Weights (count,) that sum to 1; None takes equal ones."""
    if weights is None:
        return np.full(count, 1 / count)
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (count,) or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0 or (positive and not w.all()):
        least = "above 0" if positive else "at least 0 and not all 0"
        raise ValueError(f"weights have shape {w.shape}; expected ({count},), finite, {least}.")
    return w / w.sum()
