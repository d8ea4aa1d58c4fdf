"""Distributions of the times of a batch, and the ways to draw them: uniform numbers u, mapped to times.

    t = place(u),    u ~ U(0, 1)

A distribution of t is defined by its quantile function `place`, which may depend on the schedule. The u of a batch are
drawn independently, in antithetic pairs, or stratified.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from motes.points.schedules import DiscreteVP, Schedule
from motes.ranges import CheckedModule, number


def uniform(key: Array, n: int) -> Array:
    """Draw u independently."""
    return jax.random.uniform(key, (n,))


def antithetic(key: Array, n: int) -> Array:
    """Draw n // 2 + 1 numbers followed by their mirror images 1 - u, cut to n: step k is paired with step T - 1 - k."""
    half = uniform(key, n // 2 + 1)
    return jnp.concatenate([half, 1 - half])[:n]


def stratified(key: Array, n: int) -> Array:
    """Draw one u in each of n equal parts of (0, 1): every batch covers the whole range (Kingma et al. 2021)."""
    return (jnp.arange(n) + uniform(key, n)) / n


Draw = Literal["uniform", "antithetic", "stratified"]
DRAWS: dict[Draw, Callable[[Array, int], Array]] = {
    "uniform": uniform,
    "antithetic": antithetic,
    "stratified": stratified,
}


class Times(CheckedModule):
    """Base class of distributions of t: `times(schedule, key, n)` draws t (n,).

    A subclass defines `place` and a field `draw`.

    Raises:
        ValueError: an unknown `draw`, or a field declared by `motes.ranges.number` is out of its range.

    Example:
        >>> from motes.points import Times, VarianceExploding
        >>> from motes.points.times import Draw
        >>> class Square(Times):
        ...     draw: Draw = "stratified"
        ...     def place(self, schedule, u):
        ...         return jnp.maximum(u**2, 1e-3)
        >>> t = Square()(VarianceExploding(), jax.random.key(0), 4)  # one in each quarter of u
        >>> print(jnp.floor(jnp.sqrt(t) * 4))
        [0. 1. 2. 3.]
    """

    draw: eqx.AbstractVar[Draw]

    @abstractmethod
    def place(self, schedule: Schedule, u: Array) -> Array:
        """Return the quantile t of each u in [0, 1]: if u is uniform, t has the distribution.

        Example:
            >>> from motes.points.times import UniformTimes
            >>> from motes.points import VarianceExploding
            >>> print(UniformTimes(least=0.2).place(VarianceExploding(), jnp.array([0.0, 0.5, 1.0])))
            [0.2 0.6 1. ]
        """

    def __call__(self, schedule: Schedule, key: Array, n: int) -> Array:
        return self.place(schedule, DRAWS[self.draw](key, n))


class StepTimes(Times):
    """The steps of a discrete schedule with equal probability; t = (k+1)/T.

    Example:
        >>> from motes.points import LinearBetas, StepTimes
        >>> print(jnp.sort(StepTimes()(LinearBetas(4).schedule(), jax.random.key(0), 4)))
        [0.25 0.5 0.75 1.  ]
    """

    draw: Draw = eqx.field(static=True, default="stratified")

    def place(self, schedule: Schedule, u: Array) -> Array:
        if not isinstance(schedule, DiscreteVP):
            raise TypeError(
                f"StepTimes got the schedule {type(schedule).__name__}; expected a DiscreteVP, which has steps."
            )
        return schedule.t_of_step(jnp.minimum(jnp.floor(u * schedule.steps), schedule.steps - 1))


class LogNormalTimes(Times):
    """Log-normal noise levels, log(sigma_t / alpha_t) ~ N(mean, std^2) (Karras et al. 2022, table 1).

    Example:
        >>> from motes.points import LogNormalTimes, VarianceExploding
        >>> t = LogNormalTimes(mean=0.0).place(VarianceExploding(), jnp.array(0.5))  # the median
        >>> print(VarianceExploding().log_snr(t).round(3))
        0.0
    """

    mean: float = number(-1.8, -100, 100)
    std: float = number(1.5, 0, 100, open_low=True)
    draw: Draw = eqx.field(static=True, default="stratified")

    def place(self, schedule: Schedule, u: Array) -> Array:
        return schedule.t_of_log_snr(-2 * (self.mean + self.std * _normal_quantile(u)))


class UniformTimes(Times):
    """Uniform times, t ~ U(least, 1). t = 0 is excluded: there is nothing to learn, and weights may be infinite.

    Example:
        >>> from motes.points.times import UniformTimes
        >>> from motes.points import VarianceExploding
        >>> print(UniformTimes()(VarianceExploding(), jax.random.key(0), 1000).mean().round(2))
        0.5
    """

    least: float = number(1e-3, 0, 0.5, open_low=True)
    draw: Draw = eqx.field(static=True, default="stratified")

    def place(self, schedule: Schedule, u: Array) -> Array:
        return self.least + (1 - self.least) * u


class LogitNormalTimes(Times):
    """Logit-normal times, log(t / (1 - t)) ~ N(mean, std^2): mostly intermediate (Esser et al. 2024, section 3.1).

    Example:
        >>> from motes.points import RectifiedFlow
        >>> from motes.points.times import LogitNormalTimes
        >>> print(LogitNormalTimes().place(RectifiedFlow(), jnp.array([0.1, 0.5, 0.9])).round(2))
        [0.22 0.5 0.78]
    """

    mean: float = number(0.0, -100, 100)
    std: float = number(1.0, 0, 100, open_low=True)
    draw: Draw = eqx.field(static=True, default="stratified")

    def place(self, schedule: Schedule, u: Array) -> Array:
        return jax.nn.sigmoid(self.mean + self.std * _normal_quantile(u))


def _normal_quantile(u: Array) -> Array:
    """Return the quantile of N(0, 1) at u, kept finite."""
    return ndtri(jnp.clip(u, 1e-6, 1 - 1e-6))
