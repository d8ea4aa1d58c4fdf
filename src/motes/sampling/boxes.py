"""A Gaussian law of one row, told some cells exactly and others as intervals.

    x ~ N(mean, covariance),    low <= x <= high

All goes one cell after another, each by a step of the Kalman filter, so that no matrix is ever inverted and any set of
cells is told to one compiled program. Intervals are drawn in turn, each given the cells before it (the sampler of
Geweke, Hajivassiliou and Keane: Geweke 1991); the product of the probabilities that are met makes up for that.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from motes.diffusion import cut_normal

LOG_2PI = cut_normal.LOG_2PI


class Box(eqx.Module):
    """What is asked of one row: low <= x <= high."""

    low: jax.Array
    """(d,), -inf where there is no bound."""
    high: jax.Array
    """(d,), inf where there is no bound."""
    cuts: bool = eqx.field(static=True)
    """Whether any cell may be an interval; where none is, there is much less to compile."""

    @property
    def known(self) -> jax.Array:
        """(d,), whether the cell is known exactly."""
        return self.low == self.high

    @property
    def cut(self) -> jax.Array:
        """(d,), whether the cell is known to be in an interval."""
        return ~self.known & (jnp.isfinite(self.low) | jnp.isfinite(self.high))


class Law(NamedTuple):
    """N(mean, covariance)."""

    mean: jax.Array
    """(d,)."""
    covariance: jax.Array
    """(d, d), positive definite but for cells that are known."""


def as_covariance(matrix: jax.Array, least: jax.Array) -> jax.Array:
    """A symmetric `matrix` (d, d) as it is where it is a covariance; otherwise a covariance near it.

    It is the product L D L^T of the matrix, but with no entry of D below `least`, and with no correlation, of what the
    cells before leave open, above 1. (An eigenvalue decomposition would be another way. On CPUs that of XLA takes more
    time than all the rest, and programs that run it side by side can wait for each other for ever.)
    """
    cells = jnp.arange(len(matrix))

    def cell(i: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rest, built = carry
        std = jnp.sqrt(jnp.maximum(jnp.diagonal(rest), least))
        column = jnp.where(cells == i, std, jnp.clip(rest[:, i] / std[i], -std, std))
        part = jnp.outer(*2 * [jnp.where(cells >= i, column, 0.0)])
        return rest - part, built + part

    return jax.lax.fori_loop(0, len(matrix), cell, (matrix, jnp.zeros_like(matrix)))[1]


def observe(law: Law, values: jax.Array, which: jax.Array, noise: jax.Array | float = 0.0) -> tuple[Law, jax.Array]:
    """The law given the cells `which` (d,) plus noise of that variance, and the log-density of `values` (d,) there."""

    def cell(i: jax.Array, carry: tuple[Law, jax.Array]) -> tuple[Law, jax.Array]:
        law, log_density = carry
        away, total = values[i] - law.mean[i], _variance(law, i) + noise
        log_p = -0.5 * (away**2 / total + jnp.log(total) + LOG_2PI)
        return _told(law, i, away, total, which[i]), log_density + jnp.where(which[i], log_p, 0.0)

    # What is not asked for may be infinite, and is not to be multiplied by 0.
    values = jnp.where(which, values, 0.0)
    return jax.lax.fori_loop(0, len(values), cell, (law, jnp.zeros((), law.mean.dtype)))


def draw(law: Law, box: Box, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A row (d,) in the box, one cell after another, and the log of the product of the probabilities met on the way.

    Known cells are to have been observed before.
    """
    normal_key, uniform_key = jax.random.split(key)
    normal = jax.random.normal(normal_key, law.mean.shape)
    uniform = jax.random.uniform(uniform_key, law.mean.shape, minval=jnp.finfo(normal.dtype).tiny)

    def pick(law: Law, i: jax.Array) -> jax.Array:
        z = normal[i]
        if box.cuts:
            z = jnp.where(box.cut[i], cut_normal.draw(uniform[i], *_ends(law, box, i)), z)
        # The bounds of a known cell are its value.
        return jnp.clip(law.mean[i] + jnp.sqrt(_variance(law, i)) * z, box.low[i], box.high[i])

    return _in_turn(law, box, pick)


def log_mass_in_turn(law: Law, box: Box, x: jax.Array) -> jax.Array:
    """The product that `draw` would have met on its way to `x` (d,), as a log."""
    return _in_turn(law, box, lambda law, i: x[i])[1]


def log_mass_apart(law: Law, box: Box) -> jax.Array:
    """The sum over the intervals of the log-probability of each by itself, ()."""
    each = jax.vmap(lambda i: _log_mass(law, box, i))
    return each(jnp.arange(len(law.mean))).sum()


def _in_turn(law: Law, box: Box, pick: Callable[[Law, jax.Array], jax.Array]) -> tuple[jax.Array, jax.Array]:
    def cell(i: jax.Array, carry: tuple[Law, jax.Array, jax.Array]) -> tuple[Law, jax.Array, jax.Array]:
        law, x, log_mass = carry
        value, log_mass = pick(law, i), log_mass + _log_mass(law, box, i)
        law = _told(law, i, value - law.mean[i], _variance(law, i), ~box.known[i])
        return law, x.at[i].set(value), log_mass

    x, nothing = jnp.zeros_like(law.mean), jnp.zeros((), law.mean.dtype)
    _, x, log_mass = jax.lax.fori_loop(0, len(x), cell, (law, x, nothing))
    return x, log_mass


def _log_mass(law: Law, box: Box, i: jax.Array) -> jax.Array:
    """Log-probability of the interval of cell i, 0 where it has none."""
    if not box.cuts:
        return jnp.zeros((), law.mean.dtype)
    return jnp.where(box.cut[i], cut_normal.log_mass(*_ends(law, box, i)), 0.0)


def _ends(law: Law, box: Box, i: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The interval of cell i in standard deviations from its mean; any other where it has none."""
    ends = ((end[i] - law.mean[i]) / jnp.sqrt(_variance(law, i)) for end in (box.low, box.high))
    low, high = (jnp.where(box.cut[i], end, default) for end, default in zip(ends, (-1.0, 1.0), strict=True))
    return low, high


def _variance(law: Law, i: jax.Array) -> jax.Array:
    return jnp.maximum(law.covariance[i, i], jnp.finfo(law.mean.dtype).tiny)


def _told(law: Law, i: jax.Array, away: jax.Array, total: jax.Array, whether: jax.Array) -> Law:
    gain = jnp.where(whether, law.covariance[:, i] / total, 0.0)
    return Law(law.mean + gain * away, law.covariance - jnp.outer(gain, law.covariance[i]))
