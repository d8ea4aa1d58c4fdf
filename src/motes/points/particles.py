"""Sampling under conditions by rejection or by sequential Monte Carlo.

The first section conditions the Gaussian distribution of one row on known coordinates and on intervals.

    x ~ N(mean, covariance),    low <= x <= high

Coordinates are processed one after another, each by a Kalman filter update, so that no matrix is inverted and one
compiled program serves any set of coordinates. Coordinates in intervals are drawn sequentially, each given the
coordinates before it (the Geweke-Hajivassiliou-Keane sampler: Geweke 1991); the product of their probabilities is an
importance weight that corrects for this.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtri
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import UsageError, check_count
from motes.points import exact as cut_normal
from motes.points.denoisers import Denoiser, Given
from motes.points.samplers import level
from motes.points.sampling import ReverseProcess, check_grid, sample
from motes.points.schedules import Schedule
from motes.progress import OnProgress, Progress, silent
from motes.training.programs import float64, on_all_cores

LOG_2PI = cut_normal.LOG_2PI


class Box(eqx.Module):
    """The condition on one row: low <= x <= high.

    Attributes:
        low: lower bounds (d,); -inf for no bound.
        high: upper bounds (d,); inf for no bound.
        cuts: whether any coordinate may be restricted to an interval; if none is, there is much less to compile.
    """

    low: jax.Array
    high: jax.Array
    cuts: bool = eqx.field(static=True)

    @property
    def known(self) -> jax.Array:
        """True for each coordinate that is known exactly, (d,)."""
        return self.low == self.high

    @property
    def cut(self) -> jax.Array:
        """True for each coordinate that is restricted to an interval, (d,)."""
        return ~self.known & (jnp.isfinite(self.low) | jnp.isfinite(self.high))


class FullGaussian(NamedTuple):
    """A Gaussian N(mean, covariance).

    Attributes:
        mean: mean (d,).
        covariance: covariance (d, d), positive definite except in known coordinates.
    """

    mean: jax.Array
    covariance: jax.Array


def as_covariance(matrix: jax.Array, least: jax.Array) -> jax.Array:
    """Return a covariance near a symmetric `matrix` (d, d); the matrix itself if it is a covariance.

    It is the decomposition L D L^T of the matrix, with the entries of D raised to at least `least` and partial
    correlations clipped to at most 1. (An eigenvalue decomposition would also work, but on CPUs XLA's takes more time
    than everything else, and programs that run it in parallel can deadlock.)
    """
    coordinates = jnp.arange(len(matrix))

    def coordinate(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rest, built = carry
        std = jnp.sqrt(jnp.maximum(jnp.diagonal(rest), least))
        column = jnp.where(coordinates == i, std, jnp.clip(rest[:, i] / std[i], -std, std))
        column = jnp.where(coordinates >= i, column, 0.0)
        part = jnp.outer(column, column)
        return rest - part, built + part

    return jax.lax.fori_loop(0, len(matrix), coordinate, (matrix, jnp.zeros_like(matrix)))[1]


def observe(
    gaussian: FullGaussian, values: jax.Array, which: jax.Array, noise: jax.Array | float = 0.0
) -> tuple[FullGaussian, jax.Array]:
    """Condition the Gaussian on `values` (d,) of coordinates `which` (d,) with variance `noise`.

    Returns:
        The conditional Gaussian, and the log-density of the values.
    """

    def coordinate(i: jax.Array, carry: tuple[FullGaussian, jax.Array]) -> tuple[FullGaussian, jax.Array]:
        gaussian, log_density = carry
        away, total = values[i] - gaussian.mean[i], _variance(gaussian, i) + noise
        log_p = -0.5 * (away**2 / total + jnp.log(total) + LOG_2PI)
        return _condition_on(gaussian, i, away, total, which[i]), log_density + jnp.where(which[i], log_p, 0.0)

    # Other values may be infinite, and must not be multiplied by 0.
    values = jnp.where(which, values, 0.0)
    return jax.lax.fori_loop(0, len(values), coordinate, (gaussian, jnp.zeros((), gaussian.mean.dtype)))


class Ends(NamedTuple):
    """The bounds of each coordinate, in standard deviations from its mean.

    Attributes:
        a: lower bounds (d,).
        b: upper bounds (d,).
    """

    a: jax.Array
    b: jax.Array


def log_mass(box: Box, ends: Ends) -> jax.Array:
    """Return the sum of the log-probabilities of the intervals, ()."""
    if not box.cuts:
        return jnp.zeros((), ends.a.dtype)
    a, b = jnp.where(box.cut, ends.a, -1.0), jnp.where(box.cut, ends.b, 1.0)
    return jnp.where(box.cut, cut_normal.log_mass(a, b), 0.0).sum()


def ends_apart(gaussian: FullGaussian, box: Box) -> Ends:
    """Return the bounds of each coordinate, standardised by its marginal distribution."""
    std = jnp.sqrt(jnp.maximum(jnp.diagonal(gaussian.covariance), _tiny(gaussian)))
    return Ends((box.low - gaussian.mean) / std, (box.high - gaussian.mean) / std)


def ends_in_turn(gaussian: FullGaussian, box: Box, x: jax.Array) -> Ends:
    """Return the bounds of each coordinate, standardised by its distribution given the coordinates of `x` before it."""
    return _visit_coordinates(gaussian, box, lambda i, mean, std, a, b: x[i])[1]


def draw(gaussian: FullGaussian, box: Box, normal: jax.Array, uniform: jax.Array) -> tuple[jax.Array, Ends]:
    """Draw a row (d,) in the box from noise (d,), each coordinate given the coordinates before it.

    Its density is the density of `gaussian` divided by the product of the sequential probabilities of the intervals.
    `gaussian` must already be conditioned on known coordinates. Coordinates in intervals use `uniform` on (0, 1), all
    others use `normal`.
    """

    def pick(i: jax.Array, mean: jax.Array, std: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        z = normal[i]
        if box.cuts:
            cut = cut_normal.draw(uniform[i], jnp.where(box.cut[i], a, -1.0), jnp.where(box.cut[i], b, 1.0))
            z = jnp.where(box.cut[i], cut, z)
        return jnp.clip(mean + std * z, box.low[i], box.high[i])  # the bounds of a known coordinate are its value

    return _visit_coordinates(gaussian, box, pick)


def _visit_coordinates(gaussian: FullGaussian, box: Box, pick: Callable[..., jax.Array]) -> tuple[jax.Array, Ends]:
    def coordinate(i: jax.Array, carry: tuple[FullGaussian, jax.Array, Ends]) -> tuple[FullGaussian, jax.Array, Ends]:
        gaussian, x, ends = carry
        mean, variance = gaussian.mean[i], _variance(gaussian, i)
        std = jnp.sqrt(variance)
        a, b = (box.low[i] - mean) / std, (box.high[i] - mean) / std
        x = x.at[i].set(pick(i, mean, std, a, b))
        gaussian = _condition_on(gaussian, i, x[i] - mean, variance, ~box.known[i])
        return gaussian, x, Ends(ends.a.at[i].set(a), ends.b.at[i].set(b))

    x = jnp.zeros_like(gaussian.mean)
    _, x, ends = jax.lax.fori_loop(0, len(x), coordinate, (gaussian, x, Ends(x, x)))
    return x, ends


def _tiny(gaussian: FullGaussian) -> float:
    return float(jnp.finfo(gaussian.mean.dtype).tiny)


def _variance(gaussian: FullGaussian, i: jax.Array) -> jax.Array:
    return jnp.maximum(gaussian.covariance[i, i], _tiny(gaussian))


def _condition_on(
    gaussian: FullGaussian, i: jax.Array, away: jax.Array, total: jax.Array, whether: jax.Array
) -> FullGaussian:
    gain = jnp.where(whether, gaussian.covariance[:, i] / total, 0.0)
    return FullGaussian(gaussian.mean + gain * away, gaussian.covariance - jnp.outer(gain, gaussian.covariance[i]))


# --- Populations of weighted particles that move from noise to data under a condition -------------------------------
#
#     w_s = w_t  p(box | x_s) / p(box | x_s, x_t)
#
# The next section explains the method and draws rows from the populations.


Array = NDArray[Any]

BLOCK = 2048  # maximal number of particles per block
NUMBERS = 2**21  # maximal number of entries of all their covariances
FLOOR = 1e-4  # lower limit of a variance of x_0 given x_t, relative to the largest one


class Population(NamedTuple):
    """A population of p weighted particles; all arrays have a leading m for m populations.

    Attributes:
        rows: the particles at the end, (p, d).
        log_weights: log importance weights (p,); the weights sum to 1.
        log_evidence: log of an unbiased estimate of the density of the condition, (); -inf if no particle is left.
        ancestors: index of the ancestor of each row at each time, (steps, p).
        decided: share of the variance of each coordinate that lies between the particles of each time, (steps, d).
        place: a uniform number on (0, 1) for resampling, ().
    """

    rows: jax.Array | Array
    log_weights: jax.Array | Array
    log_evidence: jax.Array | Array
    ancestors: jax.Array | Array
    decided: jax.Array | Array
    place: jax.Array | Array


class ParticleFilter(eqx.Module):
    """What moves populations from noise to data: a denoiser on a grid of times, for `particles` in each population."""

    denoiser: Denoiser
    grid: jax.Array
    particles: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_grid(self.grid)
        if self.particles < 2:
            raise UsageError(f"particles = {self.particles}; expected at least 2.")


def populations(
    move: ParticleFilter, low: Array, high: Array, given: Given | None, key: jax.Array, on_progress: OnProgress
) -> Iterator[Population]:
    """Yield populations, one for each row of the bounds (m, d), block by block."""
    (m, d), particles = low.shape, move.particles
    block = max(min(BLOCK // particles, NUMBERS // (particles * d * d)), 1)
    cuts = bool(((low != high) & (np.isfinite(low) | np.isfinite(high))).any())
    double = jnp.result_type(float) == jnp.float64

    def work(first: int) -> Population:
        padded = np.minimum(np.arange(first, first + block), m - 1)
        known = jax.tree.map(partial(np.take, indices=padded, axis=0), given)
        with float64(double):  # the setting is local to each thread
            box = Box(jnp.asarray(low[padded], float), jnp.asarray(high[padded], float), cuts)
            found = _run_block(move, box, known, np.int32(first), key)
            return Population(*(np.asarray(part)[: m - first] for part in found))

    starts = range(0, m, block)
    for start, found in zip(starts, on_all_cores(work, starts), strict=True):
        yield found
        on_progress(Progress(min(start + block, m) * particles, m * particles))


@eqx.filter_jit
def _run_block(move: ParticleFilter, box: Box, given: Given | None, first: ArrayLike, key: jax.Array) -> Population:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(len(box.low)))
    return jax.vmap(partial(_run_population, move))(box, given, keys)


def _run_population(setting: ParticleFilter, box: Box, given: Given | None, key: jax.Array) -> Population:
    grid, particles = setting.grid, setting.particles
    denoiser = setting.denoiser if given is None else setting.denoiser.given(given)
    order = jnp.argsort(~box.cut)  # intervals first, so that no coordinate drawn before makes them improbable
    box, back = Box(box.low[order], box.high[order], box.cuts), jnp.argsort(order)
    steps, dim = len(grid) - 1, len(order)
    # Draw all random numbers at once: each further call would take a second to compile. The first row is for both ends.
    noise = jax.random.uniform(key, (steps + 1, 1 + 3 * particles * dim), minval=jnp.finfo(box.low.dtype).tiny)
    places, noise = noise[:, 0], noise[:, 1:].reshape(steps + 1, 3, particles, dim)

    def move(carry: Any, at: Any) -> Any:
        y, log_weights, log_evidence, ancestors = carry
        t, s, number, place, (row, step, uniform) = at
        sees = jax.vmap(partial(_approximate, denoiser, order, box), (0, None))(y, t)
        log_weights, total = _normalise(log_weights + sees.log_known + sees.log_cut)
        decided = jnp.where(box.known, 0.0, _decided_share(sees.conditioned, jnp.exp(log_weights)))
        few = jax.nn.logsumexp(2 * log_weights) > jnp.log(2 / particles)  # effective sample size below half
        chosen = jnp.where(few, _resample(log_weights, place), jnp.arange(particles))
        (y, sees), ancestors = jax.tree.map(lambda part: part[chosen], (y, sees)), ancestors[:, chosen]
        log_weights = jnp.where(few, -jnp.log(particles), log_weights)
        random = Noise(ndtri(row), ndtri(step), uniform)
        y, factor = jax.vmap(partial(_step, denoiser.schedule, box, t, s))(y, sees, random)
        return (y, log_weights + factor, log_evidence + total, ancestors.at[number].set(chosen)), decided

    y = denoiser.schedule.prior_std / denoiser.schedule.alpha(1.0) * ndtri(noise[0, 0])
    equal = jnp.full_like(y[:, 0], -jnp.log(particles))
    carry = y, equal, jnp.zeros_like(equal[0]), jnp.zeros((steps, particles), int)
    times = grid[:-1], grid[1:], jnp.arange(steps), places[1:], noise[1:]
    (rows, log_weights, log_evidence, ancestors), decided = jax.lax.scan(move, carry, times)
    log_weights, total = _normalise(log_weights)
    return Population(rows[:, back], log_weights, log_evidence + total, ancestors, decided[:, back], places[0])


class Noise(NamedTuple):
    """The random numbers of a step of one particle.

    Attributes:
        row: Gaussian noise (d,), for x_0.
        step: Gaussian noise (d,), for y at s.
        uniform: uniform noise (d,), for the intervals of x_0.
    """

    row: jax.Array
    step: jax.Array
    uniform: jax.Array


class ParticleView(NamedTuple):
    """The Gaussian approximation of x_0 given one particle.

    Attributes:
        gaussian: distribution of x_0 given x_t.
        conditioned: distribution of x_0 given x_t and the known coordinates.
        log_known: log-density of the known coordinates, ().
        log_cut: sum of the log-probabilities of the intervals given the known coordinates, ().
    """

    gaussian: FullGaussian
    conditioned: FullGaussian
    log_known: jax.Array
    log_cut: jax.Array


def _approximate(denoiser: Denoiser, order: jax.Array, box: Box, y: jax.Array, t: jax.Array) -> ParticleView:
    """Compute the Gaussian approximation for a particle at x_t = alpha_t y, with its coordinates in `order`."""
    alpha, r, back = denoiser.schedule.alpha(t), level(denoiser.schedule, t), jnp.argsort(order)
    x0_hat = lambda y: denoiser(alpha * y[back], t)[order]
    slope = lambda direction: jax.jvp(x0_hat, (y,), (direction,))
    mean, columns = jax.vmap(slope, out_axes=(None, 1))(jnp.eye(len(y), dtype=y.dtype))
    # The derivative of Tweedie's formula: Cov[x_0 | x_t] = r^2 d x0_hat / dy. A network's slope need not be a
    # covariance. A small diagonal is added, so that no coordinate is determined by the others up to float32 rounding.
    slopes = r**2 * (columns + columns.T) / 2
    least = FLOOR * jnp.maximum(jnp.diagonal(slopes).max(), FLOOR * r**2 / (1 + r**2))
    gaussian = FullGaussian(mean, as_covariance(slopes, least) + least * jnp.eye(len(y), dtype=y.dtype))
    conditioned, log_known = observe(gaussian, box.low, box.known)
    return ParticleView(gaussian, conditioned, log_known, log_mass(box, ends_apart(conditioned, box)))


def _step(
    schedule: Schedule, box: Box, t: jax.Array, s: jax.Array, y: jax.Array, sees: ParticleView, noise: Noise
) -> tuple[jax.Array, jax.Array]:
    """Draw y (d,) at s < t, and return the log of the factor of its weight before the evaluation at s, ().

    At s = 0, y has no noise and is a row.
    """
    x0, ends = draw(sees.conditioned, box, noise.row, noise.uniform)
    r_t, r_s = level(schedule, t), level(schedule, s)
    kept = (r_s / r_t) ** 2
    variance = r_s**2 / (1 - kept)
    seen = x0 + jnp.sqrt(variance) * noise.step  # the information about x_0 in y at s
    gaussian, _ = observe(sees.gaussian, seen, jnp.ones(x0.shape, bool), variance)
    conditioned, log_known = observe(gaussian, box.low, box.known)
    # The expected probability of the box at s. For one interval it is the probability given y there. For several it is
    # the probability along a second path to x_0: an auxiliary variable, which keeps the weights correct.
    expected = jnp.where(s > 0, log_known + log_mass(box, ends_in_turn(conditioned, box, x0)), 0.0)
    return kept * y + (1 - kept) * seen, log_mass(box, ends) - sees.log_cut - expected


def _normalise(log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    log_weights = jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)
    total = jax.nn.logsumexp(log_weights)
    # If no particle is left, the weights are equal and the total is -inf.
    return jnp.where(jnp.isfinite(total), log_weights - total, -jnp.log(len(log_weights))), total


def _resample(log_weights: jax.Array, place: jax.Array) -> jax.Array:
    """Return the indices of the particles after systematic resampling, (p,)."""
    p = len(log_weights)
    places = (jnp.arange(p) + place) / p
    return jnp.minimum(jnp.searchsorted(jnp.cumsum(jnp.exp(log_weights)), places), p - 1)


def _decided_share(gaussians: FullGaussian, weights: jax.Array) -> jax.Array:
    """Return the share of the variance of each coordinate that lies between the particles, (d,)."""
    between = weights @ (gaussians.mean - weights @ gaussians.mean) ** 2
    within = weights @ jnp.diagonal(gaussians.covariance, axis1=1, axis2=2)
    return between / jnp.maximum(between + within, jnp.finfo(between.dtype).tiny)


# --- Conditional draws from any denoiser, exact for many particles: the twisted diffusion sampler -------------------
#
#     x_s ~ p(x_s | x_t, box),    w_s = w_t  p(box | x_s) / p(box | x_s, x_t)
#
# Particles move from noise to data. Each approximates p(x_0 | x_t) by the Gaussian with E[x_0 | x_t] and
# Cov[x_0 | x_t], computed from the denoiser and its slope, and moves like this Gaussian given the box. Its weight is
# the probability of the box at s divided by the probability expected before the step; for a Gaussian distribution this
# is 1. Particles of low weight are resampled (Wu, Trippe, Naesseth, Blei & Cunningham 2023, algorithm 1, with the
# Gaussian's own covariance in its twisting function, its proposal and its reverse step). So the weighted particles
# follow the distribution of the model given the box for any twisting function; a good one keeps the weights more even.
#
# The distribution of the model is the distribution of its chain on the grid: each step draws x_0 from that Gaussian,
# then x_s from q(x_s | x_t, x_0).


class Conditioned(NamedTuple):
    """Rows that meet a condition.

    Attributes:
        rows: rows (n, d) of equal weight. A row drawn several times is repeated in adjacent places.
        ess: effective sample size for the mean of the worst column, at most n; see `_mean_variances`.
        log_evidence: log of the probability of the intervals times the density of the known values, in the denoiser's
            units.
    """

    rows: Array
    ess: float
    log_evidence: float


def conditional_sample(
    denoiser: Denoiser,
    bounds: tuple[ArrayLike, ArrayLike],
    n: int,
    *,
    key: jax.Array,
    grid: jax.Array,
    particles: int = 512,
    given: Given | None = None,
    on_progress: OnProgress = silent,
) -> Conditioned:
    """Draw `n` rows with low <= z <= high by sequential Monte Carlo, in the units that the denoiser was trained in.

    The rows are drawn by weight from n / `particles` independent populations, rounded up. They follow the denoiser's
    distribution, so a network may give a box that contains no data a high probability.

    Args:
        denoiser: learned or exact.
        bounds: low and high, (d,) each; -inf and inf for no bound, equal for a known coordinate. Known coordinates are
            returned bit for bit; intervals hold for every row.
        n: number of rows, at least 1.
        key: the same key gives the same rows.
        grid: times (N+1,) from 1 down to 0. For a Gaussian distribution any grid is exact.
        particles: particles per population, at least 2. More particles, or more populations, improve rare events.
        given: conditioning of the denoiser, such as the class: arrays without a leading n.
        on_progress: called with the number of particles done so far.

    Raises:
        UsageError: an invalid box, or a box in which no particle survives.
        ValueError: another grid.

    Example:
        >>> from motes.points import GaussianOracle, KarrasGrid, VarianceExploding, conditional_sample
        >>> oracle = GaussianOracle(np.zeros(2), [[1.0, 0.8], [0.8, 1.0]], VarianceExploding(sigma_max=80.0))
        >>> options = {"key": jax.random.key(0), "grid": KarrasGrid(steps=16)(oracle.schedule)}
        >>> bounds = [1.0, -np.inf], [1.0, np.inf]
        >>> rows, ess, log_evidence = conditional_sample(oracle, bounds, 50, **options)
        >>> bool((rows[:, 0] == 1).all()), round(log_evidence, 2)  # log N(1; 0, 1)
        (True, -1.42)
    """
    check_count(n, "rows")
    low, high = _check_box(*bounds)
    if low.ndim != 1:
        raise UsageError(f"the bounds have shape {low.shape}; expected (d,), the bounds of one row.")
    count = -(-n // particles) if particles > 0 else 1
    rows = lambda part: np.broadcast_to(part, (count, *np.shape(part)))
    conditioned = jax.tree.map(rows, given)
    key, place_key = jax.random.split(key)
    move = ParticleFilter(denoiser, grid, particles)
    parts = list(populations(move, rows(low), rows(high), conditioned, key, on_progress))
    found = Population(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    evidence = np.asarray(found.log_evidence, np.float64)
    if not np.isfinite(evidence).any():
        raise UsageError(
            f"none of {count * particles} particles survived: the box is impossible for this denoiser. "
            "Widen it, or check that it is in the standardised units of the denoiser."
        )
    worth = np.exp(evidence - evidence.max())  # populations are weighted by their estimates of the evidence
    weights = np.exp(found.log_weights, dtype=np.float64) * worth[:, None] / worth.sum()
    chosen = _choose(weights.ravel(), n, float(jax.random.uniform(place_key)))
    shares = np.bincount(chosen, minlength=weights.size).reshape(weights.shape) / n
    shared = sum(_mean_variances(*part) for part in zip(shares, found.ancestors, found.decided, strict=True))
    drawn = np.asarray(found.rows).reshape(-1, len(low))[chosen]
    log_evidence = float(evidence.max() + np.log(worth.mean()))
    return Conditioned(_restore_known(drawn, low, high), float(1 / np.max(shared)), log_evidence)


def conditional_rows(
    denoiser: Denoiser,
    values: ArrayLike,
    known: ArrayLike,
    *,
    key: jax.Array,
    grid: jax.Array,
    draws: int = 1,
    particles: int = 128,
    on_progress: OnProgress = silent,
) -> tuple[Array, NDArray[np.float64]]:
    """Draw the unknown coordinates of each row, `draws` times: imputation by an unconditional model.

    Each row has its own population and key, so that its result does not depend on the other rows.

    Args:
        denoiser: learned or exact.
        values: (n, d), in the units that the denoiser was trained in; unknown values are ignored.
        known: (n, d), whether each coordinate is known.
        key: the same key gives the same rows; the first m of n rows do not depend on the others.
        grid: times (N+1,) from 1 down to 0.
        draws: k, at most `particles`.
        particles: number of particles per row.
        on_progress: called with the number of rows done so far.

    Returns:
        Rows (n, k, d), with known coordinates bit for bit, and the effective sample size (n,) of the particles that the
        k draws of each row are taken from, as in `Conditioned`.

    Raises:
        UsageError: invalid shapes or numbers, or a row for which no particle survives.
        ValueError: another grid.

    Example:
        >>> from motes.points import GaussianOracle, KarrasGrid, VarianceExploding, conditional_rows
        >>> oracle = GaussianOracle(np.zeros(2), [[1.0, 0.8], [0.8, 1.0]], VarianceExploding(sigma_max=80.0))
        >>> options = {"key": jax.random.key(0), "grid": KarrasGrid(steps=16)(oracle.schedule)}
        >>> rows, ess = conditional_rows(oracle, [[1.0, 0.0]], [[True, False]], draws=5, particles=32, **options)
        >>> rows.shape, rows[0, :, 0].tolist()
        ((1, 5, 2), [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    values, known = np.asarray(values), np.asarray(known)
    if values.ndim != 2 or not values.size or known.shape != values.shape or known.dtype != bool:
        raise UsageError(
            f"values have shape {values.shape}, known has shape {known.shape} and type {known.dtype}; expected (n, d) "
            "twice with n >= 1, known of type bool."
        )
    check_count(draws, "draws")
    if draws > particles:
        raise UsageError(f"draws = {draws}; expected at most the number of particles per row, {particles}.")
    low, high = _check_box(np.where(known, values, -np.inf), np.where(known, values, np.inf))
    drawn, ess, first = np.empty((len(low), draws, low.shape[1]), low.dtype), np.empty(len(low)), 0
    for found in populations(ParticleFilter(denoiser, grid, particles), low, high, None, key, silent):
        for i, (rows, log_weights, evidence, ancestors, decided, place) in enumerate(zip(*found, strict=True), first):
            if not np.isfinite(evidence):
                raise UsageError(f"none of {particles} particles survived for row {i}: check its known coordinates.")
            weights = np.exp(log_weights, dtype=np.float64)
            drawn[i] = _restore_known(rows[_choose(weights, draws, place)], low[i], high[i])
            ess[i] = 1 / np.max(_mean_variances(weights, ancestors, decided))
        first += len(found.rows)
        on_progress(Progress(first, len(low)))
    return drawn, ess


def _check_box(low: ArrayLike, high: ArrayLike) -> tuple[Array, Array]:
    low, high = np.asarray(low), np.asarray(high)
    dtype = np.float64 if np.float64 in (low.dtype, high.dtype) else np.float32
    low, high = low.astype(dtype), high.astype(dtype)
    if low.shape != high.shape or not low.size:
        raise UsageError(f"the bounds have shapes {low.shape} and {high.shape}; expected the same, (d,) with d >= 1.")
    wrong = ~((low <= high) & (low < np.inf) & (high > -np.inf))
    if wrong.any():
        *_, j = at = tuple(np.argwhere(wrong)[0])
        raise UsageError(f"column {j}: got {low[at]:g} to {high[at]:g}; expected low <= high, no NaN.")
    return low, high


def _restore_known(rows: Array, low: Array, high: Array) -> Array:
    """Convert `rows` to the precision of the bounds, with known coordinates bit for bit."""
    rows = np.clip(rows.astype(low.dtype), low, high)
    return np.where(low == high, low, rows)


def _choose(weights: Array, n: int, place: float) -> NDArray[np.int64]:
    """Return the indices (n,) of particles drawn by weight with systematic resampling, sorted (Kitagawa 1996)."""
    heights = np.cumsum(weights)
    return np.searchsorted(heights / heights[-1], (np.arange(n) + place) / n).clip(max=len(weights) - 1)


def _mean_variances(shares: Array, ancestors: Array, decided: Array) -> Array:
    """Return the variance of each column's mean relative to the column's variance, (d,): 1 / n for n independent rows.

    Rows with a common ancestor at time t share the part of a column's variance that is decided by then, and are
    independent in the rest. So the sum of the squared shares of the rows (p,), and of the families with `ancestors`
    (steps, p), are weighted by the share `decided` (steps, d) at each time.
    """
    families = [np.sum(np.bincount(ancestor, shares) ** 2) for ancestor in ancestors] + [np.sum(shares**2)]
    decided = np.maximum.accumulate(np.vstack([decided, np.ones_like(decided[0])]), axis=0)
    return np.asarray(families) @ np.diff(decided, axis=0, prepend=0)


# --- Rejection sampling: draw rows until enough of them lie in the box ----------------------------------------------
#
# The rows are exact and independent. Each takes 1 / p(box) draws, so this is for boxes that are not rare.


ATTEMPTS = 50  # maximal number of draws per requested row
ROUND = 2048  # rows are drawn in multiples of this


def rows_inside(
    process: ReverseProcess,
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    n: int,
    *,
    key: jax.Array,
    given: Given | None = None,
    on_progress: OnProgress = silent,
) -> NDArray[np.float32] | None:
    """Draw `n` rows with low <= z <= high by rejection; return None if the box is too rare, or has a known number.

    Args:
        process: denoiser, sampler and grid.
        bounds: low and high, (d,) each, in the units that the denoiser was trained in.
        n: number of rows.
        key: the same key gives the same rows.
        given: as for `sample`; draws cycle through the conditioning of the n rows.
        on_progress: called with the number of rows found so far.
    """
    low, high = bounds
    if (low == high).any():
        return None
    most = max(ATTEMPTS * n, ROUND)
    kept, found, drawn = [], 0, 0
    # Continue while the acceptance rate suggests that `most` draws are enough.
    while found < n and drawn < most and found * most >= drawn * n:
        wanted = (n - found) * drawn / found if found else ROUND
        m = ROUND * math.ceil(min(wanted, max(n, ROUND)) / ROUND)
        known = jax.tree.map(partial(np.take, indices=np.arange(drawn, drawn + m) % n, axis=0), given)
        rows, _ = sample(process, m, key=key, given=known, skip=drawn)
        kept.append(rows[((low <= rows) & (rows <= high)).all(axis=1)])
        found, drawn = found + len(kept[-1]), drawn + m
        on_progress(Progress(min(found, n), n))
    return np.concatenate(kept)[:n] if found >= n else None


# --- Sampling under interval constraints: by rejection if the box is not rare, otherwise by sequential Monte Carlo --


def sample_inside(
    process: ReverseProcess,
    bounds: tuple[Array, Array],
    n: int,
    *,
    key: jax.Array,
    given: Given | None = None,
    only: bool = False,
    on_progress: OnProgress = silent,
) -> tuple[Array, float]:
    """Draw `n` rows with low <= z <= high, (n, d), and return their effective sample size.

    Args:
        process: denoiser, sampler and grid; particles do not use the sampler.
        bounds: low and high, (d,) each, in the units that the denoiser was trained in; equal for a known coordinate.
        n: number of rows.
        key: the same key gives the same rows.
        given: as for `sample`.
        only: raise an error instead of drawing by particles, without the sampler.
        on_progress: called with the number of rows found so far.

    Raises:
        UsageError: different labels, or a box too rare for the sampler if `only`.
    """
    if given is not None and given.label is not None and np.ptp(np.asarray(given.label)):
        raise UsageError(
            "got a condition and a label for each row; expected one label, since conditioned rows are drawn together. "
            "Draw the rows of each label separately."
        )
    drawn: NDArray[np.floating] | None
    drawn = rows_inside(process, bounds, n, key=key, given=given, on_progress=on_progress)
    effective = float(n)
    if drawn is None:
        if only:
            raise UsageError(
                f"got the sampler {type(process.sampler).__name__}, but rows under this condition are so rare that "
                "they are drawn by sequential Monte Carlo, which does not use it. Leave out the sampler."
            )
        one = jax.tree.map(lambda part: part[0], given)
        counted = lambda now: on_progress(Progress(min(now.done, n), n))  # there may be more particles than rows
        found = conditional_sample(
            process.denoiser, bounds, n, key=key, grid=process.grid, given=one, on_progress=counted
        )
        # Shuffled, since copies of one particle are adjacent.
        order = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(n)
        drawn, effective = found.rows[order], min(found.ess, float(n))
    low, high = bounds
    # Single precision may have put a row just outside the bounds.
    return np.clip(drawn.astype(np.float64), np.nextafter(low, high), np.nextafter(high, low)), effective
