"""A Gaussian law of one row, told some cells exactly and others as intervals.

    x ~ N(mean, covariance),    low <= x <= high

All goes one cell after another, each by a step of the Kalman filter, so that no matrix is ever inverted and any set of
cells is told to one compiled program. Intervals are drawn in turn, each given the cells before it (the sampler of
Geweke, Hajivassiliou and Keane: Geweke 1991); the product of the probabilities that are met makes up for that.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from motes.diffusion import cut_normal

LOG_2PI = cut_normal.LOG_2PI


class Box(NamedTuple):
    """What is asked of one row: low <= x <= high."""

    low: jax.Array
    """(d,), -inf where there is no bound."""
    high: jax.Array
    """(d,), inf where there is no bound."""

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
    least = jnp.finfo(normal.dtype).tiny
    uniform = jax.random.uniform(uniform_key, law.mean.shape, minval=least)

    def pick(i: jax.Array, mean: jax.Array, std: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
        inside = jnp.clip(mean + std * cut_normal.draw(uniform[i], a, b), box.low[i], box.high[i])
        return jnp.where(box.known[i], box.low[i], jnp.where(box.cut[i], inside, mean + std * normal[i]))

    return _in_turn(law, box, pick)


def log_mass_in_turn(law: Law, box: Box, x: jax.Array) -> jax.Array:
    """The product that `draw` would have met on its way to `x` (d,), as a log."""
    return _in_turn(law, box, lambda i, mean, std, a, b: x[i])[1]


def log_mass_apart(law: Law, box: Box) -> jax.Array:
    """The sum over the intervals of the log-probability of each by itself."""
    std = jnp.sqrt(jax.vmap(_variance, (None, 0))(law, jnp.arange(len(law.mean))))
    log_mass = _log_mass(box, (box.low - law.mean) / std, (box.high - law.mean) / std, ...)
    return log_mass.sum()


def _in_turn(law: Law, box: Box, pick) -> tuple[jax.Array, jax.Array]:  # type: ignore[no-untyped-def]
    def cell(i: jax.Array, carry: tuple[Law, jax.Array, jax.Array]) -> tuple[Law, jax.Array, jax.Array]:
        law, x, log_mass = carry
        mean, variance = law.mean[i], _variance(law, i)
        std = jnp.sqrt(variance)
        a, b = (box.low[i] - mean) / std, (box.high[i] - mean) / std
        x = x.at[i].set(pick(i, mean, std, a, b))
        return _told(law, i, x[i] - mean, variance, ~box.known[i]), x, log_mass + _log_mass(box, a, b, i)

    x, nothing = jnp.zeros_like(law.mean), jnp.zeros((), law.mean.dtype)
    _, x, log_mass = jax.lax.fori_loop(0, len(x), cell, (law, x, nothing))
    return x, log_mass


def _log_mass(box: Box, a: jax.Array, b: jax.Array, i) -> jax.Array:  # type: ignore[no-untyped-def]
    cut = box.cut[i]
    return jnp.where(cut, cut_normal.log_mass(jnp.where(cut, a, -1.0), jnp.where(cut, b, 1.0)), 0.0)


def _variance(law: Law, i: jax.Array) -> jax.Array:
    return jnp.maximum(law.covariance[i, i], jnp.finfo(law.mean.dtype).tiny)


def _told(law: Law, i: jax.Array, away: jax.Array, total: jax.Array, whether: jax.Array) -> Law:
    gain = jnp.where(whether, law.covariance[:, i] / total, 0.0)
    return Law(law.mean + gain * away, law.covariance - jnp.outer(gain, law.covariance[i]))
