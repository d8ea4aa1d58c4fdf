"""Conditional draws from a plain denoiser, exact for many particles: twisted diffusion sampling.

    w_s = w_t p_t(box) / p_s(box) ...
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion.denoiser import Denoiser, Given
from motes.errors import UsageError, check_count
from motes.precision import float64
from motes.sampling.boxes import Box, Law, draw, log_mass_apart, log_mass_in_turn, observe
from motes.sampling.coordinates import level
from motes.sampling.grids import check_grid

Array = NDArray[np.floating]

BLOCK = 2048  # particles that are worked on at once
FLOOR = 1e-4  # of the variance of x_0 given x_t, beside what the noise alone leaves open of data of unit variance


class View(NamedTuple):
    """What one particle looks like at time t; with a leading (p,) all of a population."""

    y: jax.Array
    """x_t / alpha_t, (d,)."""
    law: Law
    """Of x_0 given x_t, as a Gaussian."""
    told: Law
    """The same, given the known cells as well."""
    log_known: jax.Array
    """Log-density of the known cells."""
    log_cut: jax.Array
    """Sum of the log-probabilities of the intervals, given the known cells."""


class Population(NamedTuple):
    """Particles that were weighed against each other; (m, ...) for m populations."""

    rows: jax.Array
    """(p, d)."""
    log_weights: jax.Array
    """(p,), of which the exponentials sum to 1."""
    log_evidence: jax.Array
    """Log of an unbiased estimate of the density of the condition, ()."""
    ancestors: jax.Array
    """(steps, p), which particle of each time each row stems from."""
    settled: jax.Array
    """(steps, d), the share of the variance of each cell that the particles of each time settle."""


def _law(denoiser: Denoiser, order: jax.Array, y: jax.Array, t: jax.Array) -> Law:
    """Of x_0 given x_t = alpha_t y, by its first two moments, its cells in `order`."""
    alpha, r = denoiser.schedule.alpha(t), level(denoiser.schedule, t)
    back = jnp.argsort(order)
    x0_hat = lambda y: denoiser(alpha * y[back], t)[order]
    slope = lambda e: jax.jvp(x0_hat, (y,), (e,))
    mean, columns = jax.vmap(slope, out_axes=(None, 1))(jnp.eye(len(y), dtype=y.dtype))
    # Tweedie's formula, differentiated. A network's slope need not be that of any law: the nearest one is.
    variances, axes = jnp.linalg.eigh(r**2 * (columns + columns.T) / 2)
    variances = jnp.maximum(variances, FLOOR * r**2 / (1 + r**2))
    return Law(mean, (axes * variances) @ axes.T)


def _view(denoiser: Denoiser, order: jax.Array, box: Box, y: jax.Array, t: jax.Array) -> View:
    law = _law(denoiser, order, y, t)
    told, log_known = observe(law, box.low, box.known)
    return View(y, law, told, log_known, log_mass_apart(told, box))


def _move(
    denoiser: Denoiser, order: jax.Array, box: Box, old: View, t: jax.Array, s: jax.Array, key: jax.Array
) -> tuple[View, jax.Array]:
    """One particle from time t to s > 0, and the log of what its weight is multiplied by."""
    row_key, noise_key = jax.random.split(key)
    x0, log_turn = draw(old.told, box, row_key)
    r_t, r_s = level(denoiser.schedule, t), level(denoiser.schedule, s)
    kept = (r_s / r_t) ** 2
    variance = r_s**2 / (1 - kept)
    seen = x0 + jnp.sqrt(variance) * jax.random.normal(noise_key, x0.shape)
    new = _view(denoiser, order, box, kept * old.y + (1 - kept) * seen, s)
    # What the law at t makes of the box once it has seen x_s: if it were the true one, that of s would say the same.
    law, _ = observe(old.law, seen, jnp.ones(x0.shape, bool), variance)
    told, log_known = observe(law, box.low, box.known)
    expected = log_known + log_mass_in_turn(told, box, x0)
    return new, new.log_known + new.log_cut - expected + log_turn - old.log_cut


def _systematic(log_weights: jax.Array, key: jax.Array) -> jax.Array:
    """(p,), which particle stands in each place after resampling (Kitagawa 1996)."""
    p = len(log_weights)
    places = (jnp.arange(p) + jax.random.uniform(key)) / p
    return jnp.minimum(jnp.searchsorted(jnp.cumsum(jnp.exp(log_weights)), places), p - 1)


def _normalised(log_weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    log_weights = jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)
    total = jax.nn.logsumexp(log_weights)
    # Where none is left there is nothing to share out; the total says it.
    return jnp.where(jnp.isfinite(total), log_weights - total, -jnp.log(len(log_weights))), total


def _population(
    denoiser: Denoiser, box: Box, given: Given | None, key: jax.Array, grid: jax.Array, particles: int
) -> Population:
    denoiser = denoiser if given is None else denoiser.given(given)
    order = jnp.argsort(~box.cut)  # intervals first: nothing that is drawn before them narrows them
    box = Box(box.low[order], box.high[order])
    start_key, moves_key, last_key = jax.random.split(key, 3)
    view = jax.vmap(partial(_view, denoiser, order, box), (0, None))
    std = denoiser.schedule.prior_std / denoiser.schedule.alpha(1.0)
    now = view(std * jax.random.normal(start_key, (particles, len(order))), grid[0])
    log_weights, total = _normalised(now.log_known + now.log_cut - jnp.log(particles))
    stems = jnp.tile(jnp.arange(particles), (len(grid) - 1, 1))

    def move(carry, at):  # type: ignore[no-untyped-def]
        now, log_weights, log_evidence, stems = carry
        t, s, number = at
        settled = _settled(now, log_weights)
        key = jax.random.fold_in(moves_key, number)
        few = jax.nn.logsumexp(2 * log_weights) > jnp.log(2 / particles)
        chosen = jnp.where(few, _systematic(log_weights, key), jnp.arange(particles))
        now, stems = jax.tree.map(lambda part: part[chosen], now), stems[:, chosen]
        log_weights = jnp.where(few, -jnp.log(particles), log_weights)
        keys = jax.random.split(jax.random.fold_in(key, 1), particles)
        step = jax.vmap(partial(_move, denoiser, order, box), (0, None, None, 0))
        now, factor = step(now, t, s, keys)
        log_weights, total = _normalised(log_weights + factor)
        return (now, log_weights, log_evidence + total, stems.at[number + 1].set(jnp.arange(particles))), settled

    carry, times = (now, log_weights, total, stems), (grid[:-2], grid[1:-1], jnp.arange(len(grid) - 2))
    (now, log_weights, log_evidence, stems), settled = jax.lax.scan(move, carry, times)
    settled = jnp.concatenate([settled, _settled(now, log_weights)[None]])
    rows, log_turn = jax.vmap(draw, (0, None, 0))(now.told, box, jax.random.split(last_key, particles))
    log_weights, total = _normalised(log_weights + log_turn - now.log_cut)
    back = jnp.argsort(order)
    return Population(rows[:, back], log_weights, log_evidence + total, stems, settled[:, back])


def _settled(now: View, log_weights: jax.Array) -> jax.Array:
    """(d,), the share of the variance of each cell of x_0 that is between the particles."""
    weights = jnp.exp(log_weights)
    away = now.told.mean - weights @ now.told.mean
    between = weights @ away**2
    within = weights @ jnp.diagonal(now.told.covariance, axis1=1, axis2=2)
    return between / jnp.maximum(between + within, jnp.finfo(away.dtype).tiny)


@eqx.filter_jit
def _block(denoiser, low, high, given, keys, grid, particles):  # type: ignore[no-untyped-def]
    one = lambda low, high, given, key: _population(denoiser, Box(low, high), given, key, grid, particles)
    return jax.vmap(one)(low, high, given, keys)
