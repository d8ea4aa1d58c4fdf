"""Conditional draws from any denoiser, exact for many particles: the twisted diffusion sampler.

    x_s ~ p(x_s | x_t, box),    w_s = w_t  p(box | x_s) / p(box | x_s, x_t)

Particles go from noise to data. Each takes p(x_0 | x_t) for the Gaussian with E[x_0 | x_t] and Cov[x_0 | x_t], which
the denoiser and its slope give, and moves as that Gaussian does given the box. What it thought that the box would be
worth after the step, over what it is worth there, is its weight; where the distribution is Gaussian that is 1.
Particles that have become light are replaced (Wu, Trippe, Naesseth, Blei & Cunningham 2023, algorithm 1, with the
Gaussian's own covariance in its twisting function, its proposal and its reverse step). So the weighted particles follow
the distribution of the model given the box, whatever the twisting function is; a good one only leaves fewer of them
with no weight.

The distribution of the model is that of its chain on the grid: each step draws x_0 from that Gaussian, then x_s from
q(x_s | x_t, x_0).
"""

from __future__ import annotations

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
from motes.errors import UsageError, check_count
from motes.sampling._boxes import Box, Gaussian, as_covariance, draw, ends_apart, ends_in_turn, log_mass, observe
from motes.sampling._coordinates import level
from motes.sampling._grids import check_grid
from motes.sampling._loop import on_all_cores

Array = NDArray[Any]

BLOCK = 2048  # particles that are worked on at once, fewer where there are many columns:
NUMBERS = 2**21  # entries of all their covariances
FLOOR = 1e-4  # of a variance of x_0 given x_t, over the largest one


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
    low: ArrayLike,
    high: ArrayLike,
    n: int,
    *,
    key: jax.Array,
    grid: jax.Array,
    particles: int = 512,
    given: Given | None = None,
    on_block: Callable[[int], None] | None = None,
) -> Conditioned:
    """Draw `n` rows with low <= z <= high, in the units that the denoiser was trained in.

    As many populations of particles as n rows take work apart; the rows are drawn from all of them by weight. A network
    may find a box likely where there is no data: the denoiser's distribution is what the answer follows.

    Args:
        denoiser: learned or exact.
        low, high: (d,); -inf and inf where there is no bound, equal where a coordinate is known. Known coordinates are
            returned bit for bit, intervals hold for every row.
        n: how many rows, at least 1.
        key: the same key gives the same rows.
        grid: times (N+1,) from 1 down to 0. A Gaussian distribution is exact on any.
        particles: in a population, at least 2. More of them make rare events better, and more populations do too.
        given: the class of the row, for the denoiser: arrays without a leading n.
        on_block: called with the number of particles done so far.

    Raises:
        UsageError: a box that is none, or one that no particle survives in.
        ValueError: another grid.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import KarrasGrid, conditional_sample
        >>> oracle = GaussianOracle(np.zeros(2), [[1.0, 0.8], [0.8, 1.0]], VarianceExploding(sigma_max=80.0))
        >>> options = {"key": jax.random.key(0), "grid": KarrasGrid(steps=16)(oracle.schedule)}
        >>> rows, ess, log_evidence = conditional_sample(oracle, [1.0, -np.inf], [1.0, np.inf], 50, **options)
        >>> bool((rows[:, 0] == 1).all()), round(log_evidence, 2)  # log N(1; 0, 1)
        (True, -1.42)
    """
    check_count(n, "rows")
    low, high = _checked_box(low, high)
    if low.ndim != 1:
        raise UsageError(f"the bounds have shape {low.shape}; expected (d,), those of one row.")
    count = -(-n // particles) if particles > 0 else 1
    rows = lambda part: np.broadcast_to(part, (count, *np.shape(part)))
    conditioned = jax.tree.map(rows, given)
    key, place_key = jax.random.split(key)
    parts = list(_populations(denoiser, rows(low), rows(high), conditioned, key, grid, particles, on_block or _nothing))
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
    on_block: Callable[[int], None] | None = None,
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
        on_block: called with the number of rows done so far.

    Returns:
        Rows (n, k, d), known coordinates bit for bit, and the effective sample size (n,) of the particles that the k
        draws of each row are taken from, as in `Conditioned`.

    Raises:
        UsageError: shapes or numbers other than these, or a row in whose population no particle survives.
        ValueError: another grid.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import KarrasGrid, conditional_rows
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
    for found in _populations(denoiser, low, high, None, key, grid, particles, _nothing):
        for i, (rows, log_weights, evidence, ancestors, decided, place) in enumerate(zip(*found, strict=True), first):
            if not np.isfinite(evidence):
                raise UsageError(f"none of {particles} particles survived for row {i}: look at its known coordinates.")
            weights = np.exp(log_weights, dtype=np.float64)
            drawn[i] = _exactly(rows[_choose(weights, draws, place)], low[i], high[i])
            ess[i] = 1 / np.max(_shared(weights, ancestors, decided))
        first += len(found.rows)
        (on_block or _nothing)(first)
    return drawn, ess


def _nothing(done: int) -> None: ...


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


# --- populations ----------------------------------------------------------------------------------------------------


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


def _populations(
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
        t, s, number, place, (row_noise, step_noise, uniform) = at
        sees = jax.vmap(partial(_view, denoiser, order, box), (0, None))(y, t)
        log_weights, total = _normalised(log_weights + sees.log_known + sees.log_cut)
        decided = jnp.where(box.known, 0.0, _decided_share(sees.conditioned, jnp.exp(log_weights)))
        few = jax.nn.logsumexp(2 * log_weights) > jnp.log(2 / particles)  # fewer than half, as they weigh
        chosen = jnp.where(few, _systematic(log_weights, place), jnp.arange(particles))
        (y, sees), ancestors = jax.tree.map(lambda part: part[chosen], (y, sees)), ancestors[:, chosen]
        log_weights = jnp.where(few, -jnp.log(particles), log_weights)
        y, factor = jax.vmap(partial(_step, denoiser, box, t, s))(y, sees, ndtri(row_noise), ndtri(step_noise), uniform)
        return (y, log_weights + factor, log_evidence + total, ancestors.at[number].set(chosen)), decided

    y = denoiser.schedule.prior_std / denoiser.schedule.alpha(1.0) * ndtri(noise[0, 0])
    equal = jnp.full_like(y[:, 0], -jnp.log(particles))
    carry = y, equal, jnp.zeros_like(equal[0]), jnp.zeros((steps, particles), int)
    times = grid[:-1], grid[1:], jnp.arange(steps), places[1:], noise[1:]
    (rows, log_weights, log_evidence, ancestors), decided = jax.lax.scan(move, carry, times)
    log_weights, total = _normalised(log_weights)
    return Population(rows[:, back], log_weights, log_evidence + total, ancestors, decided[:, back], places[0])


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
    row_noise: jax.Array,
    step_noise: jax.Array,
    uniform: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """y at s < t (d,), and the log of what its weight is multiplied by before it is looked at there, ().

    At s = 0 there is no noise left, and y is a row.
    """
    x0, ends = draw(sees.conditioned, box, row_noise, uniform)
    r_t, r_s = level(denoiser.schedule, t), level(denoiser.schedule, s)
    kept = (r_s / r_t) ** 2
    variance = r_s**2 / (1 - kept)
    seen = x0 + jnp.sqrt(variance) * step_noise  # all of x_0 that y at s tells
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
