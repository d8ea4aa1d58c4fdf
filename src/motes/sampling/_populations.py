"""Populations of particles that go from noise to data under a condition, and are weighed against each other on the way.

    w_s = w_t  p(box | x_s) / p(box | x_s, x_t)

`_particles.py` says what they are for, and draws rows from them.
"""

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

from motes._precision import float64
from motes.diffusion._denoiser import Denoiser, Given
from motes.errors import UsageError
from motes.sampling._boxes import Box, Gaussian, as_covariance, draw, ends_apart, ends_in_turn, log_mass, observe
from motes.sampling._coordinates import level
from motes.sampling._grids import check_grid
from motes.sampling._loop import on_all_cores

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
    on_block: Callable[[int], None],
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
        on_block(min(start + block, m) * particles)


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


class View(NamedTuple):
    """What one particle makes of x_0 at its time."""

    gaussian: Gaussian
    """Of x_0 given x_t."""
    conditioned: Gaussian
    """The same, given the known coordinates as well."""
    log_known: jax.Array
    """Log-density of the known coordinates, ()."""
    log_cut: jax.Array
    """Sum of the log-probabilities of the intervals, given the known coordinates, ()."""


def _view(denoiser: Denoiser, order: jax.Array, box: Box, y: jax.Array, t: jax.Array) -> View:
    """That of a particle at x_t = alpha_t y, its coordinates in `order`."""
    alpha, r, back = denoiser.schedule.alpha(t), level(denoiser.schedule, t), jnp.argsort(order)
    x0_hat = lambda y: denoiser(alpha * y[back], t)[order]
    slope = lambda direction: jax.jvp(x0_hat, (y,), (direction,))
    mean, columns = jax.vmap(slope, out_axes=(None, 1))(jnp.eye(len(y), dtype=y.dtype))
    # Tweedie's formula, differentiated: Cov[x_0 | x_t] = r^2 d x0_hat / dy. The slope of a network need not be that of
    # any distribution. A little is added, so that in float32 no coordinate is said by the others to the last digit.
    slopes = r**2 * (columns + columns.T) / 2
    least = FLOOR * jnp.maximum(jnp.diagonal(slopes).max(), FLOOR * r**2 / (1 + r**2))
    gaussian = Gaussian(mean, as_covariance(slopes, least) + least * jnp.eye(len(y), dtype=y.dtype))
    conditioned, log_known = observe(gaussian, box.low, box.known)
    return View(gaussian, conditioned, log_known, log_mass(box, ends_apart(conditioned, box)))


def _step(
    denoiser: Denoiser,
    box: Box,
    t: jax.Array,
    s: jax.Array,
    y: jax.Array,
    sees: View,
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


def _decided_share(gaussians: Gaussian, weights: jax.Array) -> jax.Array:
    """(d,), the share of the variance of each coordinate that is between the particles."""
    between = weights @ (gaussians.mean - weights @ gaussians.mean) ** 2
    within = weights @ jnp.diagonal(gaussians.covariance, axis1=1, axis2=2)
    return between / jnp.maximum(between + within, jnp.finfo(between.dtype).tiny)
