"""Exact denoisers of Gaussians, mixtures, finite sets, boxes and labelled rows.

    q_t(x_t) = E_{x_0} N(x_t; alpha_t x_0, sigma_t^2 I),
    E[x_0 | x_t] = (x_t + sigma_t^2 grad log q_t(x_t)) / alpha_t        (Tweedie's formula)

They can replace a learned denoiser anywhere. Everything is computed in log-space and is finite for t from 0 to 1, even
for points far from the data, in float32 and float64.

If the data has no density of full support (atoms, sharp boxes, singular covariances), q_t has none at t = 0 either.
There a standard deviation below `FLOOR` is replaced by `FLOOR`: the denoiser returns its limit, the nearest data point,
and `log_prob` and `score` describe data blurred by `FLOOR`, large but finite.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, logsumexp, ndtr, ndtri
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.points.denoisers import Denoiser, Given, VarianceDenoiser
from motes.points.process import q_posterior
from motes.points.schedules import Schedule

# Parameters are NumPy float64 arrays, converted to the precision of the program that uses them.
Array = NDArray[np.float64]

FLOOR = 1e-10
ROWS = 2048  # rows per compiled call of `rows`
LOG_2PI = float(np.log(2 * np.pi))


class Exact(NamedTuple):
    """The exact denoiser, score and log-density at (x_t, t).

    Attributes:
        x0: E[x_0 | x_t], (d,).
        score: grad log q_t(x_t), (d,).
        log_prob: log q_t(x_t) in nats, ().
    """

    x0: jax.Array
    score: jax.Array
    log_prob: jax.Array


class Oracle(VarianceDenoiser):
    """Base class of exact denoisers; a subclass defines one method, `exact`.

    Example:
        >>> from motes.points import GaussianOracle, Heun, KarrasGrid, ReverseProcess, VarianceExploding
        >>> oracle = GaussianOracle([3.0, 0.0], np.eye(2), VarianceExploding(sigma_max=80.0))
        >>> process = ReverseProcess(oracle, Heun(), KarrasGrid(steps=16)(oracle.schedule), dim=2)
        >>> x, _ = motes.points.sample(process, 1000, key=jax.random.key(0))
        >>> x.mean(axis=0).round().tolist()
        [3.0, -0.0]
    """

    @abstractmethod
    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        """Return E[x_0 | x_t], the score and log q_t for one x_t (d,) at time t in [0, 1].

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> x0, score, log_prob = oracle.exact(jnp.array([2.0]), 1.0)
            >>> print(x0, score, log_prob.round(3))
            [1.] [-1.] -2.266
        """

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.exact(x_t, t).x0

    def score(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """Return the score grad log q_t(x_t), (d,).

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> print(GaussianOracle([0.0], [[1.0]], VarianceExploding()).score(jnp.array([2.0]), 0.0))
            [-2.]
        """
        return self.exact(x_t, t).score

    def log_prob(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """Return log q_t(x_t) in nats, (); at t = 0 the log-density of the data itself.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> print(GaussianOracle([0.0], [[1.0]], VarianceExploding()).log_prob(jnp.array([0.0]), 0.0).round(4))
            -0.9189
        """
        return self.exact(x_t, t).log_prob

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        # -sigma_t score keeps its digits for small sigma_t; (x_t - alpha_t x0_hat) / sigma_t loses them.
        x0, score, _ = self.exact(x_t, t)
        return x0, -self.schedule.sigma(t) * score

    def variance(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """Return Var[x_0 | x_t] of each column, (d,), for t > 0, from the derivative of Tweedie's formula.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> print(oracle.variance(jnp.array([2.0]), 1.0).round(3))
            [0.5]
        """
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        slope = jax.vmap(lambda v: v @ jax.jvp(lambda x: self.score(x, t), (x_t,), (v,))[1])
        return jnp.maximum((sigma / alpha) ** 2 * (1 + sigma**2 * slope(jnp.eye(x_t.size))), 0)

    def log_variance(self, x_t: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
        """Return the log variance of each column of x_s given x_t, which makes a Gaussian step optimal.

        It is the sum of the posterior's variance and the variance of x_0 given x_t, scaled (Bao et al. 2022, SN-DDPM,
        theorem 3.1).

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> print(jnp.exp(oracle.log_variance(jnp.array([2.0]), 1.0, 0.0)).round(3))
            [0.5]
        """
        zero = jnp.zeros(())
        factor, variance = q_posterior(self.schedule, zero, zero + 1, t, s)
        return jnp.log(jnp.maximum(variance + factor**2 * self.variance(x_t, t), 1e-30))

    def rows(self, x_t: ArrayLike, t: ArrayLike) -> Exact:
        """Compute `exact` for rows x_t (n, d) at one time t, each entry with a leading n, in bounded memory.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
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


def now(x: ArrayLike) -> jax.Array:
    """Convert a parameter to the current precision, explicitly, since JAX caches the result of a bare asarray."""
    return jnp.asarray(x, float)


@eqx.filter_jit
def _rows(oracle: Oracle, x: jax.Array, t: jax.Array) -> Exact:
    # Few rows at once, so that a tile of rows times atoms stays in the processor's cache.
    return jax.lax.map(lambda row: oracle.exact(row, t), x, batch_size=256)


# --- Gaussians and mixtures of them -------------------------------------------------------------------------------


class MixtureOracle(Oracle):
    """The exact denoiser of a Gaussian mixture, x_0 ~ sum_k weights_k N(means_k, covariances_k).

    Args:
        weights: (k,), above 0; only their ratios count.
        means: (k, d).
        covariances: (k, d, d), symmetric, positive semi-definite.
        schedule: schedule of the forward process.

    Raises:
        ValueError: invalid shapes, weights or covariances.

    Example:
        >>> from motes.points.exact import MixtureOracle
        >>> from motes.points import VarianceExploding
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
        @jax.vmap
        def component(mean: jax.Array, axes: jax.Array, variances: jax.Array) -> Exact:
            alpha, total = total_of(self.schedule, variances, t)  # (), (d,)
            away = (x_t - alpha * mean) @ axes  # along the principal axes, (d,)
            x0 = mean + axes @ (alpha * variances / total * away)
            log_prob = -0.5 * jnp.sum(away**2 / total + jnp.log(total) + LOG_2PI)
            return Exact(x0, -axes @ (away / total), log_prob)

        x0, score, log_prob = component(now(self._means), now(self._axes), now(self._variances))  # (k, d), (k, d), (k,)
        return mixed(now(self._log_weights) + log_prob, x0, score)


class GaussianOracle(MixtureOracle):
    """The exact denoiser of x_0 ~ N(mean, covariance).

    Args:
        mean: (d,).
        covariance: (d, d), symmetric, positive semi-definite.
        schedule: schedule of the forward process.

    Raises:
        ValueError: invalid shapes, or an invalid covariance.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> oracle = GaussianOracle([0.0, 0.0], [[1.0, 0.8], [0.8, 1.0]], VarianceExploding(sigma_max=1.0))
        >>> print(oracle(jnp.array([1.0, 0.0]), 1.0).round(3))  # E[x_0 | x_t] at t = 1
        [0.405 0.238]
    """

    def __init__(self, mean: ArrayLike, covariance: ArrayLike, schedule: Schedule):
        super().__init__(np.ones(1), np.asarray(mean)[None], np.asarray(covariance)[None], schedule)


def _principal_axes(covariance: Array) -> tuple[Array, Array]:
    """Return principal axes (..., d, d), one per column, and the variances (..., d) along them."""
    if not np.allclose(covariance, np.swapaxes(covariance, -1, -2), rtol=1e-6, atol=0):
        raise ValueError("a covariance is not symmetric, or not finite.")
    variances, axes = np.linalg.eigh(covariance)
    largest = np.abs(variances).max(axis=-1, keepdims=True)
    if (variances < -1e-8 * largest).any():
        raise ValueError(f"a covariance has the eigenvalue {variances.min():g}; expected none below 0.")
    return axes, np.maximum(variances, 0)


def total_of(schedule: Schedule, variances: jax.Array, t: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return alpha_t, and the variance of x_t for x_0 with `variances`."""
    alpha = schedule.alpha(t)
    return alpha, jnp.maximum(alpha**2 * variances + schedule.sigma(t) ** 2, FLOOR**2)


def mixed(log_joint: jax.Array, x0: jax.Array, score: jax.Array) -> Exact:
    """Combine each component's log w_k + log q_k (k,), x0_k and score_k (k, d) into the mixture's."""
    share = jax.nn.softmax(log_joint)
    return Exact(share @ x0, share @ score, logsumexp(log_joint))


def shares_of(weights: ArrayLike | None, count: int, *, positive: bool = False) -> Array:
    """Normalise weights (count,) to sum 1; None gives equal weights."""
    if weights is None:
        return np.full(count, 1 / count)
    w = np.asarray(weights, dtype=np.float64)
    if w.shape != (count,) or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0 or (positive and not w.all()):
        least = "above 0" if positive else "at least 0 and not all 0"
        raise ValueError(f"weights have shape {w.shape}; expected ({count},), finite, {least}.")
    return w / w.sum()


# --- The exact denoiser of data in classes --------------------------------------------------------------------------
#
# q_t(x_t) = sum_y p(y) q_t(x_t | y),    p(y | x_t) = p(y) q_t(x_t | y) / q_t(x_t)
# E[x_0 | x_t] = sum_y p(y | x_t) E[x_0 | x_t, y]


class LabelledOracle(Oracle):
    """The exact denoiser of data with classes: of all classes together, or of one class with `given`.

    Args:
        oracles: the exact denoiser of each class, all with the same schedule.
        weights: the frequency of each class (c,), above 0; only their ratios count.

    Raises:
        ValueError: no classes, invalid weights, or different schedules.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> from motes.points.exact import LabelledOracle
        >>> schedule = VarianceExploding(sigma_max=1.0)
        >>> both = LabelledOracle([GaussianOracle([mean], [[0.1]], schedule) for mean in (-1.0, 1.0)], [0.5, 0.5])
        >>> print(both(jnp.array([0.0]), 1.0))
        [0.]
    """

    schedule: Schedule
    _oracles: tuple[Oracle, ...]
    _log_weights: NDArray[np.float64]
    _label: jax.Array | None  # the class that x_0 is given; -1 or None: unknown

    def __init__(self, oracles: Sequence[Oracle], weights: ArrayLike):
        weights = np.asarray(weights, dtype=np.float64)
        if not oracles or weights.shape != (len(oracles),) or not (weights > 0).all():
            raise ValueError(f"{len(oracles)} classes with weights {weights}; expected a number above 0 for each.")
        if any(oracle.schedule != oracles[0].schedule for oracle in oracles):
            raise ValueError("the classes have different schedules; expected one schedule.")
        self.schedule, self._oracles = oracles[0].schedule, tuple(oracles)
        self._log_weights, self._label = np.log(weights / weights.sum()), None

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        if self._label is None:
            return self._exact_of_all(x_t, t)
        # Lambdas, since a bound method would be hashed together with the arrays of its oracle.
        one_class = [lambda x_t, t, oracle=oracle: oracle.exact(x_t, t) for oracle in self._oracles]
        answers = [lambda x_t, t: self._exact_of_all(x_t, t), *one_class]
        return jax.lax.switch(self._label + 1, answers, x_t, t)

    def _exact_of_all(self, x_t: jax.Array, t: jax.Array) -> Exact:
        each = [oracle.exact(x_t, t) for oracle in self._oracles]
        x0, score, log_prob = (jnp.stack(part) for part in zip(*each, strict=True))
        return mixed(log_prob + jnp.asarray(self._log_weights, x_t.dtype), x0, score)

    def given(self, known: Given) -> LabelledOracle:
        return eqx.tree_at(lambda one: one._label, self, known.label, is_leaf=lambda leaf: leaf is None)


# --- The truncated standard Gaussian --------------------------------------------------------------------------------
#
#     z ~ N(0, 1) given a <= z <= b,    mass = Phi(b) - Phi(a)
#
# Accurate far out in the tails and for short intervals, where a difference of two cdfs loses all digits, also in
# float32. The functions act elementwise; by symmetry each uses the side below 0.


REACH = 40.0  # distance from 0, or from the end nearest to 0, beyond which the mass is negligible
FAR = -5.0  # where the tail begins
SHORT = 0.01  # width below which the curvature of the log-density is negligible
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)


def mean_density(a: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the log of the mean standard Gaussian density over [a, a + width], and E[z] truncated to it."""
    middle = a + width / 2
    sign = jnp.where(middle > 0, -1.0, 1.0)  # by symmetry, use the side below 0
    middle = sign * middle
    # The density changes by a factor exp(slope) between the ends. If this is small and the interval is short, a
    # difference of two cdfs would cancel, while Gaussian quadrature is exact.
    short = (width < 2) & (width * middle > -8)
    log_mean_short, z_short = _mean_density_short(jnp.where(short, middle, 0.0), jnp.where(short, width, 1.0))
    log_mean_long, z_long = _mean_density_long(jnp.where(short, -4.0, middle), jnp.where(short, 4.0, width))
    return jnp.where(short, log_mean_short, log_mean_long), sign * jnp.where(short, z_short, z_long)


def moments(a: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return E[z] and the variance of a standard Gaussian truncated to [a, a + width]."""
    # If the interval moves by da, the mean moves by (1 - variance) da.
    mean, moved = jax.jvp(lambda a: mean_density(a, width)[1], (a,), (jnp.ones_like(a),))
    middle = a + width / 2
    short = (width < 2) & (width * jnp.abs(middle) < 8)  # where 1 - moved would lose all digits
    weight, step = _place_nodes(jnp.where(short, middle, 0.0), jnp.where(short, width, 1.0))
    share = weight / weight.sum(axis=-1, keepdims=True)
    away = step - (share * step).sum(axis=-1, keepdims=True)
    return mean, jnp.where(short, (share * away**2).sum(axis=-1), 1 - moved)


def _mean_density_short(middle: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    weight, step = _place_nodes(middle, width)
    mean = weight.sum(axis=-1)  # relative to the density in the middle
    z = middle + (weight * step).sum(axis=-1) / mean
    return jnp.log(mean) - middle**2 / 2 - LOG_2PI / 2, z


def _place_nodes(middle: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return quadrature weights times the density relative to the middle, and steps from there, (..., 16)."""
    step = width[..., None] / 2 * jnp.asarray(NODES, float)
    return jnp.asarray(NODE_WEIGHTS, float) / 2 * jnp.exp(-middle[..., None] * step - step**2 / 2), step


def _mean_density_long(middle: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Everything is relative to phi(c), c the point nearest to 0, so that no two large squares are subtracted: for an
    # interval below 0, c is its end b, and phi(a) / phi(b) = exp(slope).
    a, b, slope = middle - width / 2, middle + width / 2, middle * width
    below = b < 0
    outer, inner = jnp.where(below, a, -1.0), jnp.where(below, b, -1.0)
    log_a = jnp.where(below, slope + _log_mills(outer), log_ndtr(a) + LOG_2PI / 2)  # log Phi(a) / phi(c)
    log_b = jnp.where(below, _log_mills(inner), jnp.log(ndtr(jnp.where(below, 0.0, b))) + LOG_2PI / 2)
    log_mass = log_b + jnp.log1p(-jnp.exp(log_a - log_b))
    fall = jnp.where(below, jnp.expm1(slope), jnp.exp(-(a**2) / 2) - jnp.exp(-(b**2) / 2))
    return log_mass - jnp.minimum(b, 0) ** 2 / 2 - LOG_2PI / 2 - jnp.log(width), fall * jnp.exp(-log_mass)


def _log_mills(b: jax.Array) -> jax.Array:
    """Return log(Phi(b) / phi(b)) for b < 0."""
    far = b < FAR
    near = jnp.where(far, 0.0, b)
    return jnp.where(far, _log_mills_far(jnp.where(far, b, FAR)), jnp.log(ndtr(near)) + near**2 / 2 + LOG_2PI / 2)


def _log_mills_far(b: jax.Array) -> jax.Array:
    """Return log(Phi(b) / phi(b)) for b <= FAR."""
    # Laplace's continued fraction x + 1 / (x + 2 / (x + 3 / ...)); 40 terms are exact in float64. The loop is not
    # unrolled, since forty nested divisions take seconds to compile.
    return -jnp.log(jax.lax.fori_loop(0, 40, lambda k, rest: -b + (40 - k) / rest, -b))


def log_mass(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return log(Phi(b) - Phi(a)) for -inf <= a < b <= inf."""
    a, b = _within_reach(a, b)
    width = jnp.maximum(b - a, jnp.finfo(a.dtype).tiny)
    return mean_density(a, width)[0] + jnp.log(width)


def draw(u: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """Draw z between a and b, -inf <= a < b <= inf, from u uniform on (0, 1)."""
    a, b = _within_reach(a, b)
    above = a + b > 0
    low, high = jnp.where(above, -b, a), jnp.where(above, -a, b)
    short = high - low < SHORT
    z = jnp.where(short, _draw_short(u, low, high), _draw_long(u, low, jnp.where(short, low + SHORT, high)))
    return jnp.clip(jnp.where(above, -z, z), a, b)


def _within_reach(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.maximum(a, jnp.minimum(b, 0) - REACH), jnp.minimum(b, jnp.maximum(a, 0) + REACH)


def _draw_short(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    # Here the density is exponential. A slope of 0 is replaced by a tiny one, which can be divided by.
    width = high - low
    slope = jnp.maximum(-(low + high) / 2 * width, jnp.finfo(u.dtype).eps ** 0.5)
    return high + width / slope * jnp.log(u + (1 - u) * jnp.exp(-slope))


def _draw_long(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    far = high < FAR
    near = jnp.where(far, 0.0, high)
    below = ndtr(low)
    p = below + u * (ndtr(near) - below)
    z_near = ndtri(jnp.minimum(p, 1 - jnp.finfo(p.dtype).eps))
    return jnp.where(far, _draw_far(u, jnp.where(far, low, FAR - 1), jnp.where(far, high, FAR)), z_near)


def _draw_far(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    # z = high - step with log Phi(high) - log Phi(z) = fall. Squares are not subtracted: their difference is
    # step (step / 2 - high). Newton's method starts at the root without the Mills ratios, accurate to 1 / high^2.
    at_high = _log_mills_far(high)
    ratio = jnp.exp((high - low) * (high + low) / 2 + _log_mills_far(low) - at_high)
    fall = -jnp.log(u + (1 - u) * ratio)
    step = 2 * fall / (jnp.sqrt(high**2 + 2 * fall) - high)
    for _ in range(2):
        at_z = _log_mills_far(high - step)
        step = step - (step * (step / 2 - high) + at_high - at_z - fall) * jnp.exp(at_z)
    return high - step


# --- Exact denoisers of a finite data set, of a curve by quadrature, and of boxes -----------------------------------
#
# With or without Gaussian blur:
#
# x_0 = u + spread z,    u one of the atoms, or uniform on one of the boxes,    z ~ N(0, I)


ATOMS = 1024  # atoms per block


class EmpiricalOracle(Oracle):
    """The exact denoiser of a finite set: x_0 is one of `points`, blurred by independent Gaussian noise per column.

    Without blur it minimises the training loss on these rows: a network that reached it would have memorised them. With
    blur it is a kernel density estimate, or, with the nodes and weights of a quadrature rule, a curve plus noise. Atoms
    are processed in blocks, in constant additional memory.

    Args:
        points: (m, d).
        schedule: schedule of the forward process.
        weights: (m,), at least 0; only their ratios count. None: all equal.
        spread: (d,), the standard deviation of the blur of each column. None: no blur.

    Raises:
        ValueError: invalid shapes or numbers.

    Example:
        >>> from motes.points import EmpiricalOracle, VarianceExploding
        >>> oracle = EmpiricalOracle([[-1.0, 0.0], [1.0, 0.0]], VarianceExploding(sigma_max=1.0))
        >>> print(oracle(jnp.array([0.2, 3.0]), 0.1).round(3))  # with little noise: the nearest of the points
        [1. 0.]
    """

    schedule: Schedule
    spread: Array
    _atoms: Array
    _log_weights: Array

    def __init__(
        self, points: ArrayLike, schedule: Schedule, weights: ArrayLike | None = None, spread: ArrayLike | None = None
    ):
        atoms = np.asarray(points, dtype=np.float64)
        if atoms.ndim != 2 or not atoms.size or not np.isfinite(atoms).all():
            raise ValueError(f"points have shape {atoms.shape}; expected (m, d) with m >= 1, all finite.")
        share = shares_of(weights, len(atoms))
        atoms, share = atoms[share > 0], share[share > 0]  # so that every block contains an atom of positive weight
        block = min(ATOMS, len(atoms))
        more = -len(atoms) % block
        log_weights = np.pad(np.log(share), (0, more), constant_values=-np.inf)
        self.schedule = schedule
        self.spread = _check_spread(spread, atoms.shape[1])
        self._log_weights = log_weights.reshape(-1, block)  # (blocks, b)
        padded = np.pad(atoms, ((0, more), (0, 0)), mode="edge").reshape(-1, block, atoms.shape[1])
        self._atoms = np.ascontiguousarray(padded.swapaxes(1, 2))  # (blocks, d, b): long rows are quick

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        variances = now(self.spread) ** 2
        alpha, total = total_of(self.schedule, variances, t)  # (), (d,)
        log_mass, atom = self._sums(x_t, t, lambda atoms: atoms)  # the second is E[atom | x_t], (d,)
        away = x_t - alpha * atom
        log_prob = log_mass - 0.5 * jnp.sum(jnp.log(total) + LOG_2PI)
        return Exact(atom + alpha * variances / total * away, -away / total, log_prob)

    def variance(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        # From second moments, in a fifth of the time of the derivative in `Oracle`.
        variances, sigma = now(self.spread) ** 2, self.schedule.sigma(t)
        alpha, total = total_of(self.schedule, variances, t)
        near = alpha * x_t / (alpha**2 + sigma**2)  # the origin, since squares of large numbers would lose digits
        away = lambda atoms: atoms - near[:, None]
        first, second = jnp.split(self._sums(x_t, t, lambda a: jnp.concatenate([away(a), away(a) ** 2]))[1], 2)
        of_atom = jnp.maximum(second - first**2, 0)
        return (sigma**2 / total) ** 2 * of_atom + variances * sigma**2 / total

    def _sums(
        self, x_t: jax.Array, t: jax.Array, read: Callable[[jax.Array], jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """Return log sum_i w_i N(x_t; atom_i) up to a constant, (), and E[read(atom) | x_t] (k,).

        `read` maps atoms (d, b) to (k, b).
        """
        alpha, total = total_of(self.schedule, now(self.spread) ** 2, t)  # (), (d,)
        scale = 1 / jnp.sqrt(total)[:, None]

        def log_joint(atoms: jax.Array, log_weights: jax.Array) -> jax.Array:  # (b,), up to a constant
            # Differences first: |x|^2 - 2 x.a + |a|^2 would lose the digits that distinguish near atoms.
            return log_weights - 0.5 * jnp.sum(((x_t[:, None] - alpha * atoms) * scale) ** 2, axis=0)

        # Sums over all atoms of p = exp(log_joint - top) and p read(atom), with the running maximum `top` (Milakov &
        # Gimelshein 2018).
        @jax.checkpoint
        def add(carry, block):  # type: ignore[no-untyped-def]
            top, mass, moment = carry
            atoms, log_weights = block
            log_p = log_joint(atoms, log_weights)
            higher = jnp.maximum(top, jax.lax.stop_gradient(log_p.max()))
            p, keep = jnp.exp(log_p - higher), jnp.exp(top - higher)
            return (higher, keep * mass + p.sum(), keep * moment + read(atoms) @ p), None

        blocks = now(self._atoms), now(self._log_weights)
        zero = jnp.zeros_like(x_t, dtype=jnp.result_type(x_t, total))
        moment = jnp.zeros_like(jax.eval_shape(read, blocks[0][0]), dtype=zero.dtype)[:, 0]
        start = jnp.full_like(zero[0], -jnp.inf), zero[0], moment
        (top, mass, moment), _ = jax.lax.scan(add, start, blocks)
        return top + jnp.log(mass), moment / mass


# --- boxes --------------------------------------------------------------------------------------------------------


class BoxesOracle(Oracle):
    """The exact denoiser of x_0 uniform on axis-aligned boxes, blurred by independent Gaussian noise per column.

    Args:
        lows, highs: (m, d), the corners of each box, lows < highs.
        weights: (m,), above 0; only their ratios count.
        schedule: schedule of the forward process.
        spread: (d,), the standard deviation of the blur of each column. None: no blur.

    Raises:
        ValueError: invalid shapes or numbers.
    """

    schedule: Schedule
    spread: Array
    _lows: Array
    _highs: Array
    _log_weights: Array

    def __init__(
        self,
        lows: ArrayLike,
        highs: ArrayLike,
        weights: ArrayLike | None,
        schedule: Schedule,
        spread: ArrayLike | None = None,
    ):
        self._lows, self._highs = np.array(lows, dtype=np.float64), np.array(highs, dtype=np.float64)
        if self._lows.ndim != 2 or self._lows.shape != self._highs.shape:
            raise ValueError(f"corners have shapes {self._lows.shape} and {self._highs.shape}; expected (m, d) twice.")
        if not (self._lows < self._highs).all() or not np.isfinite(self._highs - self._lows).all():
            raise ValueError("a box has a low corner that is not below its high one.")
        self.schedule = schedule
        self.spread = _check_spread(spread, self._lows.shape[1])
        self._log_weights = np.log(shares_of(weights, len(self._lows), positive=True))

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        lows, highs, variances = now(self._lows), now(self._highs), now(self.spread) ** 2
        alpha, total = total_of(self.schedule, variances, t)  # (), (d,)
        scale = jnp.sqrt(total)
        # x_t = alpha u + scale z, u uniform in the box: given x_t, z is N(0, 1) truncated to [a, a + width].
        log_mean, z = mean_density((x_t - alpha * highs) / scale, alpha * (highs - lows) / scale)  # (m, d)
        log_joint = now(self._log_weights) + jnp.sum(log_mean - jnp.log(scale), axis=1)
        place = jnp.clip(x_t - scale * z, alpha * lows, alpha * highs)  # alpha E[u | x_t]
        x0 = place / alpha + alpha * variances / total * (x_t - place)
        return mixed(log_joint, x0, -z / scale)


def _check_spread(spread: ArrayLike | None, dim: int) -> Array:
    s = np.zeros(dim) if spread is None else np.array(spread, dtype=np.float64)
    if s.shape != (dim,) or not np.isfinite(s).all() or (s < 0).any():
        raise ValueError(f"spread = {spread}; expected {dim} finite standard deviations, one per column, at least 0.")
    return s


# --- The process starting at a time t0: noisy points of q_{t0} are treated as data ----------------------------------
#
#     y = x_{t0} / tau,    x_s = alpha_s y + sigma_s eps,    s = (t - t0) / (1 - t0)
#
# with tau^2 = alpha_{t0}^2 + sigma_{t0}^2.
#
# So everything that can be computed for data, such as a likelihood, can be computed for x_{t0}. Dividing by tau keeps
# the unit variance of standardised data.


class LaterSchedule(Schedule):
    """The schedule of y, which starts at time t0.

    Args:
        whole: the schedule starting at t = 0.
        t0: start of this schedule, in [0, 1).
    """

    whole: Schedule
    t0: jax.Array

    @property
    def tau(self) -> jax.Array:
        """The standard deviation of x_{t0} for data of unit variance."""
        return jnp.hypot(self.whole.alpha(self.t0), self.whole.sigma(self.t0))

    def time(self, s: ArrayLike) -> jax.Array:
        """Return the time t of the whole schedule."""
        return self.t0 + (1 - self.t0) * jnp.asarray(s, float)

    def alpha(self, s: ArrayLike) -> jax.Array:
        return self.whole.alpha(self.time(s)) / self.whole.alpha(self.t0)

    def sigma(self, s: ArrayLike) -> jax.Array:
        before = self.alpha(s) * self.whole.sigma(self.t0)
        return jnp.sqrt(jnp.maximum(self.whole.sigma(self.time(s)) ** 2 - before**2, 0)) / self.tau

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        ratio = jnp.exp(-jnp.asarray(log_snr, float))  # (sigma / alpha)^2 of y
        whole = (ratio * self.tau**2 + self.whole.sigma(self.t0) ** 2) / self.whole.alpha(self.t0) ** 2
        return jnp.clip((self.whole.t_of_log_snr(-jnp.log(whole)) - self.t0) / (1 - self.t0), 0, 1)


class Later(Denoiser):
    """The denoiser E[y | x_s] of y = x_{t0} / tau, from a denoiser of x_0.

    Args:
        schedule: the schedule of y.
        denoiser: E[x_0 | x_t].
    """

    schedule: LaterSchedule
    denoiser: Denoiser

    @classmethod
    def of(cls, denoiser: Denoiser, t0: ArrayLike) -> Later:
        """Build the denoiser of the process that starts at time `t0` in [0, 1)."""
        return cls(LaterSchedule(denoiser.schedule, jnp.asarray(t0, float)), denoiser)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        later, whole = self.schedule, self.denoiser.schedule
        time, x = later.time(t), later.tau * x_t
        return q_posterior(whole, x, self.denoiser(x, time), time, later.t0).mean / later.tau
