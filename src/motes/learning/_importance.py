"""Times at which the loss is large are drawn more often (Nichol & Dhariwal 2021, section 3.3).

    E f(u) = E_p [f(u) / p(u)],    p(u) ~ sqrt(E[L^2 | u]),    u in (0, 1)

Of all densities of u that p has the least variance. Here it is constant on each of `CELLS` equal cells of u, so that it
is as good for any distribution of t. A share of it is uniform: no cell is forgotten, and no weight 1 / p is large.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

CELLS = 64
ENOUGH = 10  # losses in every cell before any is preferred
RECENT = 500  # losses of a cell that its mean reaches back over: they fall as training goes on
UNIFORM = 0.1  # share of p: no weight is above 10


class Seen(NamedTuple):
    """What is remembered of the losses in each cell."""

    squares: jax.Array  # (CELLS,), the mean of their squares
    number: jax.Array  # of losses (CELLS,)


def nothing_seen() -> Seen:
    """What is remembered before the first batch."""
    return Seen(jnp.zeros(CELLS), jnp.zeros(CELLS))


def preferred(v: jax.Array, seen: Seen) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Draws from p for uniform `v` (n,) in [0, 1): u (n,), 1 / p(u) (n,), and the cell of each (n,)."""
    p = chances(seen)
    ends = jnp.cumsum(p)
    cell = jnp.clip(jnp.searchsorted(ends, v, side="right"), 0, CELLS - 1)
    within = jnp.clip((v - (ends[cell] - p[cell])) / p[cell], 0, 1)
    return (cell + within) / CELLS, 1 / (CELLS * p[cell]), cell


def seen_with(seen: Seen, cell: jax.Array, losses: jax.Array, counts: jax.Array) -> Seen:
    """`seen`, with the losses (n,) of draws from the cells (n,) beside, where `counts` (n,) is true."""
    squares = jnp.where(counts, losses**2, 0)
    into = jnp.zeros((2, CELLS)).at[:, cell].add(jnp.stack([squares, counts.astype(squares.dtype)]))
    total, fresh = into
    number = seen.number + fresh
    # The plain mean while losses are few; afterwards one that forgets.
    share = fresh / jnp.maximum(jnp.minimum(number, RECENT), jnp.maximum(fresh, 1))
    return Seen(seen.squares + share * (total / jnp.maximum(fresh, 1) - seen.squares), number)


def chances(seen: Seen) -> jax.Array:
    """The probability of each cell, (CELLS,): equal until all have been seen often enough."""
    root = jnp.sqrt(seen.squares)
    total = root.sum()
    known = (seen.number.min() >= ENOUGH) & (total > 0)
    preferred = root / jnp.where(known, total, 1)
    return jnp.where(known, (1 - UNIFORM) * preferred + UNIFORM / CELLS, 1 / CELLS)
