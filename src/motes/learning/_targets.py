"""Targets with less noise than x_0: its mean over the rows of the batch, given x_t.

    x_0*_i = sum_j w_ij x_j,    w_ij ~ exp(-|x_t_i - alpha_t x_j|^2 / (2 sigma_t^2)),    j over the batch

A batch and x_t do not tell which of its rows was noised: row j with probability w_ij. So the mean over them has the
expected gradient of x_0 itself, and less noise (Rao-Blackwell; a stable target field, Xu et al. 2023,
"Stable target field for reduced variance score estimation in diffusion models").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from motes.diffusion._denoiser import Denoiser
from motes.diffusion._schedules import Schedule

GROUP = 512  # rows of a batch that may stand for each other


class Target(NamedTuple):
    """What the rows of a batch regress on.

    Attributes:
        x0: (b, d).
        eps: (b, d), the noise that leads from there to the same x_t.
        deviation: (b,), the standard deviation of x_0 around it, the same in each column.
    """

    x0: jax.Array
    eps: jax.Array
    deviation: jax.Array


def stable_target(schedule: Schedule, x0: jax.Array, t: jax.Array, eps: jax.Array, alike: jax.Array) -> Target:
    """The mean of x_0 over the batch for each row noised by `eps` (b, d) at its time t (b,).

    Args:
        schedule: of the noise.
        x0: rows of the batch (b, d).
        t, eps: of each row.
        alike: (b, b), whether row i may have been row j; it may have been itself.
    """
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]

    def add(sums: tuple[jax.Array, jax.Array], column: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        x, noise = column
        apart = x[:, None] - x  # differences from row i: squares of x_t would lose little noise in rounding
        return (sums[0] + apart**2, sums[1] + noise[:, None] * apart), None

    nothing = jnp.zeros(alike.shape, x0.dtype)
    # Column by column: a sum over the last axis of (b, b, d) takes four times as long.
    (square, along), _ = jax.lax.scan(add, (nothing, nothing), (x0.T, eps.T), unroll=min(len(x0.T), 8))
    logits = -(alpha / sigma) * (alpha / sigma * square / 2 + along)
    weights = jax.nn.softmax(jnp.where(alike, logits, -jnp.inf), axis=1)
    mean = weights @ x0
    moved = x0 - mean
    variance = jnp.sum(weights * square, axis=1) - jnp.sum(moved**2, axis=1)
    deviation = jnp.sqrt(jnp.maximum(variance, 0) / x0.shape[1])
    return Target(mean, eps + alpha / sigma * moved, deviation)


def in_groups(function: Callable[..., Any], rows: Any, among: jax.Array) -> Any:
    """`function(*rows, among)` of groups of a batch, at most `GROUP` rows each, so that its cost grows with the batch.

    `rows` and what the function gives have an axis of the batch; `among` (b,) is false for rows that do not count.
    """
    count = -(-len(among) // GROUP)
    if count == 1:
        return function(*rows, among)
    more = -len(among) % count

    def divided(part: jax.Array, mode: str = "edge") -> jax.Array:
        return jnp.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1)), mode).reshape(count, -1, *part.shape[1:])

    groups = jax.tree.map(divided, rows), divided(among, "constant")
    found = jax.lax.map(lambda group: function(*group[0], group[1]), groups)
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[: len(among)], found)


class Constant(Denoiser):
    """x_0 is the same whatever x_t."""

    schedule: Schedule
    x0: jax.Array

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0
