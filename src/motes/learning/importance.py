"""Times at which the loss is large are drawn more often (Nichol & Dhariwal 2021, section 3.3).

    E f(u) = E_p [f(u) / p(u)],    p(u) ~ sqrt(E[L^2 | u]),    u in (0, 1)

Of all densities of u that p has the least variance. Here it is constant on each of `CELLS` equal cells of u, so that it
is as good for any distribution of t; a share of it is uniform, so that no cell is forgotten and no weight 1 / p is
large.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from motes.learning.losses import Draw, Drawn, Times, stratified

CELLS = 64
ENOUGH = 10  # losses in every cell before any is preferred
RECENT = 500  # losses of a cell that its mean reaches back over: they fall as training goes on
UNIFORM = 0.1  # share of p: no weight is above 10


class Seen(NamedTuple):
    """What is remembered of the losses in each cell."""

    squares: jax.Array  # (CELLS,), the mean of their squares
    number: jax.Array  # of losses (CELLS,)


class ImportanceTimes(Times):
    """The distribution of other times, drawn by the equation above.

    One time is drawn in each of n parts that are equally likely under p. `times(key, n)` draws from the distribution
    itself.
    """

    distribution: Times
    draw: Draw = eqx.field(static=True, default=stratified)

    def place(self, u: jax.Array) -> jax.Array:
        return self.distribution.place(u)

    @property
    def levels(self) -> int | None:
        return self.distribution.levels

    def init(self) -> Seen:
        return Seen(jnp.zeros(CELLS), jnp.zeros(CELLS))

    def batch(self, key: jax.Array, n: int, memory: Seen) -> Drawn:
        strata_key, turn_key = jax.random.split(key)
        # Turned by a random angle, so that any rows of a batch, such as those of a short one, cover the whole range.
        v = (self.draw(strata_key, n, None) + jax.random.uniform(turn_key)) % 1
        p = chances(memory)
        ends = jnp.cumsum(p)
        cell = jnp.clip(jnp.searchsorted(ends, v, side="right"), 0, CELLS - 1)
        within = jnp.clip((v - (ends[cell] - p[cell])) / p[cell], 0, 1)
        return Drawn(self.place((cell + within) / CELLS), 1 / (CELLS * p[cell]), cell)

    def learn(self, memory: Seen, drawn: Drawn, losses: jax.Array, counts: jax.Array) -> Seen:
        squares = jnp.where(counts, losses**2, 0)
        into = jnp.zeros((2, CELLS)).at[:, drawn.cell].add(jnp.stack([squares, counts.astype(squares.dtype)]))
        total, fresh = into
        number = memory.number + fresh
        # The plain mean while losses are few; afterwards one that forgets.
        share = fresh / jnp.maximum(jnp.minimum(number, RECENT), jnp.maximum(fresh, 1))
        return Seen(memory.squares + share * (total / jnp.maximum(fresh, 1) - memory.squares), number)


def chances(seen: Seen) -> jax.Array:
    """The probability of each cell, (CELLS,): equal until all have been seen often enough."""
    root = jnp.sqrt(seen.squares)
    total = root.sum()
    known = (seen.number.min() >= ENOUGH) & (total > 0)
    preferred = root / jnp.where(known, total, 1)
    return jnp.where(known, (1 - UNIFORM) * preferred + UNIFORM / CELLS, 1 / CELLS)
