"""A Gaussian distribution of one row, conditioned on some coordinates exactly and on others as intervals.

    x ~ N(mean, covariance),    low <= x <= high

All goes one coordinate after another, each by a step of the Kalman filter, so that no matrix is ever inverted and one
compiled program serves any set of coordinates. Intervals are drawn in turn, each given the coordinates before it (the
sampler of Geweke, Hajivassiliou and Keane: Geweke 1991); the product of their probabilities makes up for that.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from motes.diffusion import _cut_normal as cut_normal

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


class Gaussian(NamedTuple):
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
    gaussian: Gaussian, values: jax.Array, which: jax.Array, noise: jax.Array | float = 0.0
) -> tuple[Gaussian, jax.Array]:
    """The Gaussian given `values` (d,) of coordinates `which` (d,), with noise of that variance; their log-density."""

    def coordinate(i: jax.Array, carry: tuple[Gaussian, jax.Array]) -> tuple[Gaussian, jax.Array]:
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


def ends_apart(gaussian: Gaussian, box: Box) -> Ends:
    """Of each coordinate by itself."""
    std = jnp.sqrt(jnp.maximum(jnp.diagonal(gaussian.covariance), _tiny(gaussian)))
    return Ends((box.low - gaussian.mean) / std, (box.high - gaussian.mean) / std)


def ends_in_turn(gaussian: Gaussian, box: Box, x: jax.Array) -> Ends:
    """Of each coordinate given those of `x` (d,) before it."""
    return _in_turn(gaussian, box, lambda i, mean, std, a, b: x[i])[1]


def draw(gaussian: Gaussian, box: Box, normal: jax.Array, uniform: jax.Array) -> tuple[jax.Array, Ends]:
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


def _in_turn(gaussian: Gaussian, box: Box, pick: Callable[..., jax.Array]) -> tuple[jax.Array, Ends]:
    def coordinate(i: jax.Array, carry: tuple[Gaussian, jax.Array, Ends]) -> tuple[Gaussian, jax.Array, Ends]:
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


def _tiny(gaussian: Gaussian) -> float:
    return float(jnp.finfo(gaussian.mean.dtype).tiny)


def _variance(gaussian: Gaussian, i: jax.Array) -> jax.Array:
    return jnp.maximum(gaussian.covariance[i, i], _tiny(gaussian))


def _conditioned(gaussian: Gaussian, i: jax.Array, away: jax.Array, total: jax.Array, whether: jax.Array) -> Gaussian:
    gain = jnp.where(whether, gaussian.covariance[:, i] / total, 0.0)
    return Gaussian(gaussian.mean + gain * away, gaussian.covariance - jnp.outer(gain, gaussian.covariance[i]))
