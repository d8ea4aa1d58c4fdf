"""Sampling under conditions by rejection or by sequential Monte Carlo.

The first section conditions a Gaussian distribution of one row, on some coordinates exactly and on others as intervals.

    x ~ N(mean, covariance),    low <= x <= high

All goes one coordinate after another, each by a step of the Kalman filter, so that no matrix is ever inverted and one
compiled program serves any set of coordinates. Intervals are drawn in turn, each given the coordinates before it (the
sampler of Geweke, Hajivassiliou and Keane: Geweke 1991); the product of their probabilities makes up for that.
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
from motes.progress import OnProgress, Progress, silent
from motes.training.programs import float64, on_all_cores

LOG_2PI = cut_normal.LOG_2PI


class Box(eqx.Module):
    """What is asked of one row: low <= x <= high."""

    low: jax.Array
    """(d,), -inf where there is no bound."""
    high: jax.Array
    """(d,), inf where there is no bound."""
    cuts: bool = eqx.field(static=True)
    """Whether any coordinate may be an interval; where none is, there is much less to compile."""

    @property
    def known(self) -> jax.Array:
        """(d,), whether the coordinate is known exactly."""
        return self.low == self.high

    @property
    def cut(self) -> jax.Array:
        """(d,), whether the coordinate is known to be in an interval."""
        return ~self.known & (jnp.isfinite(self.low) | jnp.isfinite(self.high))


class FullGaussian(NamedTuple):
    """N(mean, covariance)."""

    mean: jax.Array
    """(d,)."""
    covariance: jax.Array
    """(d, d), positive definite but for coordinates that are known."""


def as_covariance(matrix: jax.Array, least: jax.Array) -> jax.Array:
    """A symmetric `matrix` (d, d) as it is where it is a covariance; otherwise a covariance near it.

    It is the product L D L^T of the matrix, but with no entry of D below `least`, and with no correlation, of what the
    coordinates before leave open, above 1. (An eigenvalue decomposition would be another way. On CPUs that of XLA takes
    more time than all the rest, and programs that run it side by side can wait for each other for ever.)
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
    """The Gaussian given `values` (d,) of coordinates `which` (d,), with noise of that variance; their log-density."""

    def coordinate(i: jax.Array, carry: tuple[FullGaussian, jax.Array]) -> tuple[FullGaussian, jax.Array]:
        gaussian, log_density = carry
        away, total = values[i] - gaussian.mean[i], _variance(gaussian, i) + noise
        log_p = -0.5 * (away**2 / total + jnp.log(total) + LOG_2PI)
        return _conditioned(gaussian, i, away, total, which[i]), log_density + jnp.where(which[i], log_p, 0.0)

    # What is not requested may be infinite, and is not to be multiplied by 0.
    values = jnp.where(which, values, 0.0)
    return jax.lax.fori_loop(0, len(values), coordinate, (gaussian, jnp.zeros((), gaussian.mean.dtype)))


class Ends(NamedTuple):
    """The bounds of each coordinate in standard deviations from its mean, at the moment when it is told."""

    a: jax.Array
    """(d,)."""
    b: jax.Array
    """(d,)."""


def log_mass(box: Box, ends: Ends) -> jax.Array:
    """The sum over the intervals of their log-probabilities, ()."""
    if not box.cuts:
        return jnp.zeros((), ends.a.dtype)
    a, b = jnp.where(box.cut, ends.a, -1.0), jnp.where(box.cut, ends.b, 1.0)
    return jnp.where(box.cut, cut_normal.log_mass(a, b), 0.0).sum()


def ends_apart(gaussian: FullGaussian, box: Box) -> Ends:
    """Of each coordinate by itself."""
    std = jnp.sqrt(jnp.maximum(jnp.diagonal(gaussian.covariance), _tiny(gaussian)))
    return Ends((box.low - gaussian.mean) / std, (box.high - gaussian.mean) / std)


def ends_in_turn(gaussian: FullGaussian, box: Box, x: jax.Array) -> Ends:
    """Of each coordinate given those of `x` (d,) before it."""
    return _in_turn(gaussian, box, lambda i, mean, std, a, b: x[i])[1]


def draw(gaussian: FullGaussian, box: Box, normal: jax.Array, uniform: jax.Array) -> tuple[jax.Array, Ends]:
    """A row (d,) in the box from noise (d,), one coordinate after another, each given those before it.

    Its density is that of `gaussian` over the product of the probabilities of the intervals, in turn. Known
    coordinates are to have been observed before. An interval takes its uniform number on (0, 1), any other coordinate
    its normal one.
    """

    def pick(i: jax.Array, mean: jax.Array, std: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        z = normal[i]
        if box.cuts:
            cut = cut_normal.draw(uniform[i], jnp.where(box.cut[i], a, -1.0), jnp.where(box.cut[i], b, 1.0))
            z = jnp.where(box.cut[i], cut, z)
        return jnp.clip(mean + std * z, box.low[i], box.high[i])  # the bounds of a known coordinate are its value

    return _in_turn(gaussian, box, pick)


def _in_turn(gaussian: FullGaussian, box: Box, pick: Callable[..., jax.Array]) -> tuple[jax.Array, Ends]:
    def coordinate(i: jax.Array, carry: tuple[FullGaussian, jax.Array, Ends]) -> tuple[FullGaussian, jax.Array, Ends]:
        gaussian, x, ends = carry
        mean, variance = gaussian.mean[i], _variance(gaussian, i)
        std = jnp.sqrt(variance)
        a, b = (box.low[i] - mean) / std, (box.high[i] - mean) / std
        x = x.at[i].set(pick(i, mean, std, a, b))
        gaussian = _conditioned(gaussian, i, x[i] - mean, variance, ~box.known[i])
        return gaussian, x, Ends(ends.a.at[i].set(a), ends.b.at[i].set(b))

    x = jnp.zeros_like(gaussian.mean)
    _, x, ends = jax.lax.fori_loop(0, len(x), coordinate, (gaussian, x, Ends(x, x)))
    return x, ends


def _tiny(gaussian: FullGaussian) -> float:
    return float(jnp.finfo(gaussian.mean.dtype).tiny)


def _variance(gaussian: FullGaussian, i: jax.Array) -> jax.Array:
    return jnp.maximum(gaussian.covariance[i, i], _tiny(gaussian))


def _conditioned(
    gaussian: FullGaussian, i: jax.Array, away: jax.Array, total: jax.Array, whether: jax.Array
) -> FullGaussian:
    gain = jnp.where(whether, gaussian.covariance[:, i] / total, 0.0)
    return FullGaussian(gaussian.mean + gain * away, gaussian.covariance - jnp.outer(gain, gaussian.covariance[i]))


# --- Populations of particles that go from noise to data under a condition ------------------------------------------
#
# They are weighed against each other on the way.
#
#     w_s = w_t  p(box | x_s) / p(box | x_s, x_t)
#
# The next section says what they are for, and draws rows from them.


Array = NDArray[Any]

BLOCK = 2048  # particles that are worked on at once, fewer where there are many columns:
NUMBERS = 2**21  # entries of all their covariances
FLOOR = 1e-4  # of a variance of x_0 given x_t, over the largest one


class Population(NamedTuple):
    """Particles that were weighed against each other; all with a leading m for m populations."""

    rows: jax.Array | Array
    """(p, d)."""
    log_weights: jax.Array | Array
    """(p,), of which the exponentials sum to 1."""
    log_evidence: jax.Array | Array
    """Log of an unbiased estimate of the density of the condition, (); -inf where no particle is left."""
    ancestors: jax.Array | Array
    """(steps, p), from which particle of each time each row stems."""
    decided: jax.Array | Array
    """(steps, d), the share of the variance of each coordinate that is between the particles of each time."""
    place: jax.Array | Array
    """Uniform on (0, 1), ()."""


def populations(
    denoiser: Denoiser,
    low: Array,
    high: Array,
    given: Given | None,
    key: jax.Array,
    grid: jax.Array,
    particles: int,
    on_progress: OnProgress,
) -> Iterator[Population]:
    """A population for each row of the bounds (m, d), block by block."""
    check_grid(grid)
    if particles < 2:
        raise UsageError(f"particles = {particles}; expected at least 2.")
    m, d = low.shape
    block = max(min(BLOCK // particles, NUMBERS // (particles * d * d)), 1)
    cuts = bool(((low != high) & (np.isfinite(low) | np.isfinite(high))).any())
    double = jnp.result_type(float) == jnp.float64

    def work(first: int) -> Population:
        padded = np.minimum(np.arange(first, first + block), m - 1)
        known = jax.tree.map(partial(np.take, indices=padded, axis=0), given)
        with float64(double):  # which is a thread's own
            box = Box(jnp.asarray(low[padded], float), jnp.asarray(high[padded], float), cuts)
            found = _block(denoiser, box, known, np.int32(first), key, grid, particles)
            return Population(*(np.asarray(part)[: m - first] for part in found))

    starts = range(0, m, block)
    for start, found in zip(starts, on_all_cores(work, starts), strict=True):
        yield found
        on_progress(Progress(min(start + block, m) * particles, m * particles))


@eqx.filter_jit
def _block(
    denoiser: Denoiser,
    box: Box,
    given: Given | None,
    first: ArrayLike,
    key: jax.Array,
    grid: jax.Array,
    particles: int,
) -> Population:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, first + jnp.arange(len(box.low)))
    return jax.vmap(partial(_population, denoiser, grid, particles))(box, given, keys)


def _population(
    denoiser: Denoiser, grid: jax.Array, particles: int, box: Box, given: Given | None, key: jax.Array
) -> Population:
    denoiser = denoiser if given is None else denoiser.given(given)
    order = jnp.argsort(~box.cut)  # intervals first: nothing that is drawn before them leaves them less probable
    box, back = Box(box.low[order], box.high[order], box.cuts), jnp.argsort(order)
    steps, dim = len(grid) - 1, len(order)
    # All that is random, at once: every other call would take a second to compile. The first row is for both ends.
    noise = jax.random.uniform(key, (steps + 1, 1 + 3 * particles * dim), minval=jnp.finfo(box.low.dtype).tiny)
    places, noise = noise[:, 0], noise[:, 1:].reshape(steps + 1, 3, particles, dim)

    def move(carry: Any, at: Any) -> Any:
        y, log_weights, log_evidence, ancestors = carry
        t, s, number, place, (row, step, uniform) = at
        sees = jax.vmap(partial(_view, denoiser, order, box), (0, None))(y, t)
        log_weights, total = _normalised(log_weights + sees.log_known + sees.log_cut)
        decided = jnp.where(box.known, 0.0, _decided_share(sees.conditioned, jnp.exp(log_weights)))
        few = jax.nn.logsumexp(2 * log_weights) > jnp.log(2 / particles)  # fewer than half, as they weigh
        chosen = jnp.where(few, _systematic(log_weights, place), jnp.arange(particles))
        (y, sees), ancestors = jax.tree.map(lambda part: part[chosen], (y, sees)), ancestors[:, chosen]
        log_weights = jnp.where(few, -jnp.log(particles), log_weights)
        random = Noise(ndtri(row), ndtri(step), uniform)
        y, factor = jax.vmap(partial(_step, denoiser, box, t, s))(y, sees, random)
        return (y, log_weights + factor, log_evidence + total, ancestors.at[number].set(chosen)), decided

    y = denoiser.schedule.prior_std / denoiser.schedule.alpha(1.0) * ndtri(noise[0, 0])
    equal = jnp.full_like(y[:, 0], -jnp.log(particles))
    carry = y, equal, jnp.zeros_like(equal[0]), jnp.zeros((steps, particles), int)
    times = grid[:-1], grid[1:], jnp.arange(steps), places[1:], noise[1:]
    (rows, log_weights, log_evidence, ancestors), decided = jax.lax.scan(move, carry, times)
    log_weights, total = _normalised(log_weights)
    return Population(rows[:, back], log_weights, log_evidence + total, ancestors, decided[:, back], places[0])


class Noise(NamedTuple):
    """All that is random in a step of one particle."""

    row: jax.Array
    """Normal (d,), for x_0."""
    step: jax.Array
    """Normal (d,), for y at s."""
    uniform: jax.Array
    """(d,), for the intervals of x_0."""


class ParticleView(NamedTuple):
    """What one particle makes of x_0 at its time."""

    gaussian: FullGaussian
    """Of x_0 given x_t."""
    conditioned: FullGaussian
    """The same, given the known coordinates as well."""
    log_known: jax.Array
    """Log-density of the known coordinates, ()."""
    log_cut: jax.Array
    """Sum of the log-probabilities of the intervals, given the known coordinates, ()."""


def _view(denoiser: Denoiser, order: jax.Array, box: Box, y: jax.Array, t: jax.Array) -> ParticleView:
    """That of a particle at x_t = alpha_t y, its coordinates in `order`."""
    alpha, r, back = denoiser.schedule.alpha(t), level(denoiser.schedule, t), jnp.argsort(order)
    x0_hat = lambda y: denoiser(alpha * y[back], t)[order]
    slope = lambda direction: jax.jvp(x0_hat, (y,), (direction,))
    mean, columns = jax.vmap(slope, out_axes=(None, 1))(jnp.eye(len(y), dtype=y.dtype))
    # Tweedie's formula, differentiated: Cov[x_0 | x_t] = r^2 d x0_hat / dy. The slope of a network need not be that of
    # any distribution. A little is added, so that in float32 no coordinate is said by the others to the last digit.
    slopes = r**2 * (columns + columns.T) / 2
    least = FLOOR * jnp.maximum(jnp.diagonal(slopes).max(), FLOOR * r**2 / (1 + r**2))
    gaussian = FullGaussian(mean, as_covariance(slopes, least) + least * jnp.eye(len(y), dtype=y.dtype))
    conditioned, log_known = observe(gaussian, box.low, box.known)
    return ParticleView(gaussian, conditioned, log_known, log_mass(box, ends_apart(conditioned, box)))


def _step(
    denoiser: Denoiser,
    box: Box,
    t: jax.Array,
    s: jax.Array,
    y: jax.Array,
    sees: ParticleView,
    noise: Noise,
) -> tuple[jax.Array, jax.Array]:
    """y at s < t (d,), and the log of what its weight is multiplied by before it is looked at there, ().

    At s = 0 there is no noise left, and y is a row.
    """
    x0, ends = draw(sees.conditioned, box, noise.row, noise.uniform)
    r_t, r_s = level(denoiser.schedule, t), level(denoiser.schedule, s)
    kept = (r_s / r_t) ** 2
    variance = r_s**2 / (1 - kept)
    seen = x0 + jnp.sqrt(variance) * noise.step  # all of x_0 that y at s tells
    gaussian, _ = observe(sees.gaussian, seen, jnp.ones(x0.shape, bool), variance)
    conditioned, log_known = observe(gaussian, box.low, box.known)
    # What the box is expected to be worth at s. Of one interval this is its probability given y there. Of several it is
    # that of a second way to x_0: an auxiliary variable, which leaves the weights right.
    expected = jnp.where(s > 0, log_known + log_mass(box, ends_in_turn(conditioned, box, x0)), 0.0)
    return kept * y + (1 - kept) * seen, log_mass(box, ends) - sees.log_cut - expected


def _normalised(log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    log_weights = jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)
    total = jax.nn.logsumexp(log_weights)
    # Where none is left there is nothing to share out, and the total says so.
    return jnp.where(jnp.isfinite(total), log_weights - total, -jnp.log(len(log_weights))), total


def _systematic(log_weights: jax.Array, place: jax.Array) -> jax.Array:
    """(p,), which particle stands in each place after resampling."""
    p = len(log_weights)
    places = (jnp.arange(p) + place) / p
    return jnp.minimum(jnp.searchsorted(jnp.cumsum(jnp.exp(log_weights)), places), p - 1)


def _decided_share(gaussians: FullGaussian, weights: jax.Array) -> jax.Array:
    """(d,), the share of the variance of each coordinate that is between the particles."""
    between = weights @ (gaussians.mean - weights @ gaussians.mean) ** 2
    within = weights @ jnp.diagonal(gaussians.covariance, axis1=1, axis2=2)
    return between / jnp.maximum(between + within, jnp.finfo(between.dtype).tiny)


# --- Conditional draws from any denoiser, exact for many particles: the twisted diffusion sampler -------------------
#
#     x_s ~ p(x_s | x_t, box),    w_s = w_t  p(box | x_s) / p(box | x_s, x_t)
#
# Particles go from noise to data. Each takes p(x_0 | x_t) for the Gaussian with E[x_0 | x_t] and Cov[x_0 | x_t], which
# the denoiser and its slope give, and moves as that Gaussian does given the box. What it thought that the box would be
# worth after the step, over what it is worth there, is its weight; where the distribution is Gaussian that is 1.
# Particles that have become light are replaced (Wu, Trippe, Naesseth, Blei & Cunningham 2023, algorithm 1, with the
# Gaussian's own covariance in its twisting function, its proposal and its reverse step). So the weighted particles
# follow the distribution of the model given the box, whatever the twisting function is; a good one only leaves fewer of
# them with no weight.
#
# The distribution of the model is that of its chain on the grid: each step draws x_0 from that Gaussian, then x_s from
# q(x_s | x_t, x_0).


class Conditioned(NamedTuple):
    """Rows that meet a condition."""

    rows: Array
    """(n, d), all of equal weight. A row that stands for several particles' weight is repeated, side by side."""
    ess: float
    """So many independent rows would give the mean of the worst column as well as these, at most n: see `_shared`."""
    log_evidence: float
    """Log of the probability of the intervals times the density of what is known, in the units of the denoiser."""


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
    """Draw `n` rows with low <= z <= high, in the units that the denoiser was trained in.

    As many populations of particles as n rows take work apart; the rows are drawn from all of them by weight. A network
    may find a box likely where there is no data: the denoiser's distribution is what the answer follows.

    Args:
        denoiser: learned or exact.
        bounds: low and high, (d,) each; -inf and inf where there is no bound, equal where a coordinate is known. Known
            coordinates are returned bit for bit, intervals hold for every row.
        n: how many rows, at least 1.
        key: the same key gives the same rows.
        grid: times (N+1,) from 1 down to 0. A Gaussian distribution is exact on any.
        particles: in a population, at least 2. More of them make rare events better, and more populations do too.
        given: the class of the row, for the denoiser: arrays without a leading n.
        on_progress: called with the number of particles done so far.

    Raises:
        UsageError: a box that is none, or one that no particle survives in.
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
    low, high = _checked_box(*bounds)
    if low.ndim != 1:
        raise UsageError(f"the bounds have shape {low.shape}; expected (d,), those of one row.")
    count = -(-n // particles) if particles > 0 else 1
    rows = lambda part: np.broadcast_to(part, (count, *np.shape(part)))
    conditioned = jax.tree.map(rows, given)
    key, place_key = jax.random.split(key)
    parts = list(populations(denoiser, rows(low), rows(high), conditioned, key, grid, particles, on_progress))
    found = Population(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    evidence = np.asarray(found.log_evidence, np.float64)
    if not np.isfinite(evidence).any():
        raise UsageError(
            f"none of {count * particles} particles survived: to this denoiser the box is impossible. "
            "Widen it, or look whether it is in the standardised units of the denoiser."
        )
    worth = np.exp(evidence - evidence.max())  # a population counts by its estimate of the evidence
    weights = np.exp(found.log_weights, dtype=np.float64) * worth[:, None] / worth.sum()
    chosen = _choose(weights.ravel(), n, float(jax.random.uniform(place_key)))
    shares = np.bincount(chosen, minlength=weights.size).reshape(weights.shape) / n
    shared = sum(_shared(*part) for part in zip(shares, found.ancestors, found.decided, strict=True))
    drawn = np.asarray(found.rows).reshape(-1, len(low))[chosen]
    return Conditioned(
        _exactly(drawn, low, high), float(1 / np.max(shared)), float(evidence.max() + np.log(worth.mean()))
    )


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
    """Draw the coordinates that are not known of each row, `draws` times: imputation by a plain model.

    Each row has a population and a key of its own, so that its answer does not depend on the rows beside it.

    Args:
        denoiser: learned or exact.
        values: (n, d), in the units that the denoiser was trained in; anything where not known.
        known: (n, d), whether the coordinate is known.
        key: the same key gives the same rows; the first m of n are those of the first m alone.
        grid: times (N+1,) from 1 down to 0.
        draws: k, at most `particles`.
        particles: in the population of a row.
        on_progress: called with the number of rows done so far.

    Returns:
        Rows (n, k, d), known coordinates bit for bit, and the effective sample size (n,) of the particles that the k
        draws of each row are taken from, as in `Conditioned`.

    Raises:
        UsageError: shapes or numbers other than these, or a row in whose population no particle survives.
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
        raise UsageError(f"draws = {draws} from {particles} particles a row; expected at most that many.")
    low, high = _checked_box(np.where(known, values, -np.inf), np.where(known, values, np.inf))
    drawn, ess, first = np.empty((len(low), draws, low.shape[1]), low.dtype), np.empty(len(low)), 0
    for found in populations(denoiser, low, high, None, key, grid, particles, silent):
        for i, (rows, log_weights, evidence, ancestors, decided, place) in enumerate(zip(*found, strict=True), first):
            if not np.isfinite(evidence):
                raise UsageError(f"none of {particles} particles survived for row {i}: look at its known coordinates.")
            weights = np.exp(log_weights, dtype=np.float64)
            drawn[i] = _exactly(rows[_choose(weights, draws, place)], low[i], high[i])
            ess[i] = 1 / np.max(_shared(weights, ancestors, decided))
        first += len(found.rows)
        on_progress(Progress(first, len(low)))
    return drawn, ess


def _checked_box(low: ArrayLike, high: ArrayLike) -> tuple[Array, Array]:
    low, high = np.asarray(low), np.asarray(high)
    dtype = np.float64 if np.float64 in (low.dtype, high.dtype) else np.float32
    low, high = low.astype(dtype), high.astype(dtype)
    if low.shape != high.shape or not low.size:
        raise UsageError(f"the bounds have shapes {low.shape} and {high.shape}; expected the same, (d,) with d >= 1.")
    wrong = ~((low <= high) & (low < np.inf) & (high > -np.inf))
    if wrong.any():
        *_, j = at = tuple(np.argwhere(wrong)[0])
        raise UsageError(f"column {j} is to be from {low[at]:g} to {high[at]:g}; expected low <= high, no NaN.")
    return low, high


def _exactly(rows: Array, low: Array, high: Array) -> Array:
    """`rows` in the precision of the bounds, which may be more than they were computed in."""
    rows = np.clip(rows.astype(low.dtype), low, high)
    return np.where(low == high, low, rows)


def _choose(weights: Array, n: int, place: float) -> NDArray[np.int64]:
    """(n,), which of the particles are drawn by weight: systematically, in their order (Kitagawa 1996)."""
    heights = np.cumsum(weights)
    return np.searchsorted(heights / heights[-1], (np.arange(n) + place) / n).clip(max=len(weights) - 1)


def _shared(shares: Array, ancestors: Array, decided: Array) -> Array:
    """(d,), the variance of the mean of each column, over that of the column: 1 / n for n independent rows.

    Rows that stem from one particle of time t have in common what it has decided of the variance of a column, and are
    independent in the rest. So to the sum of the squares of the rows' own shares (p,) that of the shares of families,
    (steps, p) and (steps, d), is added by how much is decided at each time.
    """
    families = [np.sum(np.bincount(ancestor, shares) ** 2) for ancestor in ancestors] + [np.sum(shares**2)]
    decided = np.maximum.accumulate(np.vstack([decided, np.ones_like(decided[0])]), axis=0)
    return np.asarray(families) @ np.diff(decided, axis=0, prepend=0)


# --- Rows in a box: rows are drawn until enough of them lie in it ---------------------------------------------------
#
#     x | low <= x <= high    is x, kept where low <= x <= high
#
# They are exact and independent. It takes 1 / p(box) rows to find one, so it is for boxes that are not rare.


ATTEMPTS = 50  # rows that may be drawn for each that is requested
ROUND = 2048  # rows that are drawn at once, or a multiple of them


def rows_inside(
    process: ReverseProcess,
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    n: int,
    *,
    key: jax.Array,
    given: Given | None = None,
    on_progress: OnProgress = silent,
) -> NDArray[np.float32] | None:
    """Draw `n` rows with low <= z <= high; None where the box is too rare for that, as that of a known number is.

    Args:
        process: denoiser, sampler and grid.
        bounds: low and high, (d,) each, in the units that the denoiser was trained in.
        n: how many rows.
        key: the same key gives the same rows.
        given: as for `sample`; rows that are drawn take in turn what is known of each of n.
        on_progress: called with the number of rows found so far.
    """
    low, high = bounds
    if (low == high).any():
        return None
    most = max(ATTEMPTS * n, ROUND)
    kept, found, drawn = [], 0, 0
    # It goes on while the share of rows that are kept says that `most` will do.
    while found < n and drawn < most and found * most >= drawn * n:
        wanted = (n - found) * drawn / found if found else ROUND
        m = ROUND * math.ceil(min(wanted, max(n, ROUND)) / ROUND)
        known = jax.tree.map(partial(np.take, indices=np.arange(drawn, drawn + m) % n, axis=0), given)
        rows, _ = sample(process, m, key=key, given=known, skip=drawn)
        kept.append(rows[((low <= rows) & (rows <= high)).all(axis=1)])
        found, drawn = found + len(kept[-1]), drawn + m
        on_progress(Progress(min(found, n), n))
    return np.concatenate(kept)[:n] if found >= n else None


# --- Rows in a box, by whatever is cheaper: by rejection where it is not rare, otherwise by particles ---------------


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
    """Draw `n` rows with low <= z <= high: (n, d), and how many independent ones they are worth.

    Args:
        process: denoiser, sampler and grid; particles have a step of their own in the place of the sampler's.
        bounds: low and high, (d,) each, in the units that the denoiser was trained in; the same number in both is a
            known coordinate.
        n: how many rows.
        key: the same key gives the same rows.
        given: as for `sample`.
        only: refuse rather than to draw without the sampler, as particles do.
        on_progress: called with the number of rows found so far.

    Raises:
        UsageError: a label for each row, or a box too rare for the sampler.
    """
    if given is not None and given.label is not None and np.ptp(np.asarray(given.label)):
        raise UsageError(
            "got a condition and a label for each row; expected one label, since conditioned rows are drawn together. "
            "Ask label by label."
        )
    drawn: NDArray[np.floating] | None
    drawn = rows_inside(process, bounds, n, key=key, given=given, on_progress=on_progress)
    effective = float(n)
    if drawn is None:
        if only:
            raise UsageError(
                f"the sampler {type(process.sampler).__name__} was chosen, but rows of what is given are so rare that "
                "they are drawn by particles, which have a sampler of their own. Leave it out."
            )
        one = jax.tree.map(lambda part: part[0], given)
        counted = lambda now: on_progress(Progress(min(now.done, n), n))  # particles are no rows
        found = conditional_sample(
            process.denoiser, bounds, n, key=key, grid=process.grid, given=one, on_progress=counted
        )
        # Rows of one particle stand side by side.
        order = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(n)
        drawn, effective = found.rows[order], min(found.ess, float(n))
    low, high = bounds
    # Single precision may have put one just beyond an end.
    return np.clip(drawn.astype(np.float64), np.nextafter(low, high), np.nextafter(high, low)), effective
