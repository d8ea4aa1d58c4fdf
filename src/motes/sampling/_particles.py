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

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser, Given
from motes.errors import UsageError, check_count
from motes.sampling._populations import Population, populations

Array = NDArray[Any]


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
    on_block: Callable[[int], None] | None = None,
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
        on_block: called with the number of particles done so far.

    Raises:
        UsageError: a box that is none, or one that no particle survives in.
        ValueError: another grid.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import KarrasGrid, conditional_sample
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
    parts = list(populations(denoiser, rows(low), rows(high), conditioned, key, grid, particles, on_block or _nothing))
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
    for found in populations(denoiser, low, high, None, key, grid, particles, _nothing):
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
