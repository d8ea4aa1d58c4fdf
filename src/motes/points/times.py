"""Distributions of the times of a batch, and the ways to draw them: uniform numbers u, mapped to times.

    t = place(u),    u ~ U(0, 1)

A distribution of t is defined by its quantile function `place`, which may depend on the schedule. The u of a batch are
drawn independently, in antithetic pairs, stratified, or by importance sampling (more often where the loss is large).
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import ndtri

from motes.points.schedules import DiscreteVP, Schedule
from motes.ranges import check_fields, number


def uniform(key: Array, n: int, levels: int | None = None) -> Array:
    """Draw u independently."""
    if levels is None:
        return jax.random.uniform(key, (n,))
    return (jax.random.randint(key, (n,), 0, levels) + 0.5) / levels


def antithetic(key: Array, n: int, levels: int | None = None) -> Array:
    """Draw n // 2 + 1 numbers followed by their mirror images 1 - u, cut to n: step k is paired with step T - 1 - k."""
    half = uniform(key, n // 2 + 1, levels)
    return jnp.concatenate([half, 1 - half])[:n]


def stratified(key: Array, n: int, levels: int | None = None) -> Array:
    """Draw one u in each of n equal parts of (0, 1): every batch covers the whole range (Kingma et al. 2021)."""
    u = (jnp.arange(n) + jax.random.uniform(key, (n,))) / n
    return u if levels is None else (jnp.minimum(jnp.floor(u * levels), levels - 1) + 0.5) / levels


Draw = Literal["uniform", "antithetic", "stratified", "importance"]
# (key, n, levels) -> u (n,); with `levels`, each u is the middle of one of that many equal cells.
DRAWS: dict[Draw, Callable[[Array, int, int | None], Array]] = {
    "uniform": uniform,
    "antithetic": antithetic,
    "stratified": stratified,
    "importance": stratified,  # until the losses are known
}


class Drawn(NamedTuple):
    """The times of a batch, the weight of each row's loss (None: 1), and the cells that `learn` needs."""

    t: Array  # (n,)
    weight: Array | None = None  # (n,)
    cell: Array | None = None  # (n,)


class Times(eqx.Module):
    """Base class of distributions of t: `times(schedule, key, n)` draws t (n,).

    A subclass defines `place` and a field `draw`. Training draws with `batch`, which remembers losses from step to step
    if `draw` is "importance".

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

    def __check_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def place(self, schedule: Schedule, u: Array) -> Array:
        """Return the quantile t of each u in [0, 1]: if u is uniform, t has the distribution.

        Example:
            >>> from motes.points import UniformTimes, VarianceExploding
            >>> print(UniformTimes(least=0.2).place(VarianceExploding(), jnp.array([0.0, 0.5, 1.0])))
            [0.2 0.6 1. ]
        """

    def levels(self, schedule: Schedule) -> int | None:
        """Return the number of values of t; None for a continuous distribution.

        Example:
            >>> from motes.points import LinearBetas, StepTimes, UniformTimes, VarianceExploding
            >>> StepTimes().levels(LinearBetas(100).schedule()), UniformTimes().levels(VarianceExploding())
            (100, None)
        """
        return None

    def __call__(self, schedule: Schedule, key: Array, n: int) -> Array:
        return self.place(schedule, DRAWS[self.draw](key, n, self.levels(schedule)))

    def init(self) -> Any:
        """Return the memory before the first batch; None without importance sampling.

        Example:
            >>> from motes.points import LogNormalTimes
            >>> LogNormalTimes().init() is None, LogNormalTimes(draw="importance").init() is None
            (True, False)
        """
        return nothing_seen() if self.draw == "importance" else None

    def batch(self, schedule: Schedule, key: Array, n: int, memory: Any) -> Drawn:
        """Draw `n` times with weights, such that the mean of weight f(t) is an unbiased estimate of E f(t).

        Example:
            >>> from motes.points import UniformTimes, VarianceExploding
            >>> times = UniformTimes()
            >>> drawn = times.batch(VarianceExploding(), jax.random.key(0), 8, times.init())
            >>> drawn.t.shape, drawn.weight
            ((8,), None)
        """
        if self.draw != "importance":
            return Drawn(self(schedule, key, n))
        strata_key, turn_key = jax.random.split(key)
        # Shifted cyclically at random, so that any subset of a batch covers the whole range.
        v = (stratified(strata_key, n) + jax.random.uniform(turn_key)) % 1
        u, weight, cell = preferred(v, memory)
        return Drawn(self.place(schedule, u), weight, cell)

    def learn(self, memory: Any, drawn: Drawn, losses: Array, counts: Array) -> Any:
        """Return the memory after a batch with unweighted `losses` (n,), for the rows where `counts` (n,) is true.

        Example:
            >>> from motes.points import UniformTimes, VarianceExploding
            >>> times = UniformTimes()
            >>> drawn = times.batch(VarianceExploding(), jax.random.key(0), 8, times.init())
            >>> times.learn(None, drawn, jnp.ones(8), jnp.ones(8, bool)) is None  # where no time is preferred
            True
        """
        return memory if drawn.cell is None else seen_with(memory, drawn.cell, losses, counts)


class StepTimes(Times):
    """The steps of a discrete schedule with equal probability; t = (k+1)/T.

    Example:
        >>> from motes.points import LinearBetas, StepTimes
        >>> print(jnp.sort(StepTimes()(LinearBetas(4).schedule(), jax.random.key(0), 4)))
        [0.25 0.5 0.75 1.  ]
    """

    draw: Draw = eqx.field(static=True, default="stratified")

    def levels(self, schedule: Schedule) -> int | None:
        return _require_steps(schedule).steps

    def place(self, schedule: Schedule, u: Array) -> Array:
        discrete = _require_steps(schedule)
        return discrete.t_of_step(jnp.minimum(jnp.floor(u * discrete.steps), discrete.steps - 1))


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
        >>> from motes.points import UniformTimes, VarianceExploding
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


def _require_steps(schedule: Schedule) -> DiscreteVP:
    if not isinstance(schedule, DiscreteVP):
        raise TypeError(
            f"StepTimes got the schedule {type(schedule).__name__}; expected a DiscreteVP, which has steps."
        )
    return schedule


def _normal_quantile(u: Array) -> Array:
    """Return the quantile of N(0, 1) at u, kept finite."""
    return ndtri(jnp.clip(u, 1e-6, 1 - 1e-6))


# --- Importance sampling of times with large losses (Nichol & Dhariwal 2021, section 3.3) ---------------------------
#
#     E f(u) = E_p [f(u) / p(u)],    p(u) ~ sqrt(E[L^2 | u]),    u in (0, 1)
#
# Of all densities of u, this p has the smallest variance. Here p is constant on each of `CELLS` equal cells of u, so
# that it works for any distribution of t. It is mixed with a uniform density, so that no weight 1 / p is large and all
# cells are visited.


CELLS = 64
ENOUGH = 10  # losses needed in every cell before p stops being uniform
RECENT = 500  # number of recent losses of a cell in its mean, since losses fall during training
UNIFORM = 0.1  # share of the uniform density in p: no weight is above 10


class LossMemory(NamedTuple):
    """Statistics of the losses in each cell."""

    squares: Array  # mean squared loss (CELLS,)
    number: Array  # number of losses (CELLS,)


def nothing_seen() -> LossMemory:
    """Return the memory before the first batch."""
    return LossMemory(jnp.zeros(CELLS), jnp.zeros(CELLS))


def preferred(v: Array, seen: LossMemory) -> tuple[Array, Array, Array]:
    """Map uniform `v` (n,) in [0, 1) to draws u (n,) from p, with 1 / p(u) (n,) and the cell of each (n,)."""
    p = chances(seen)
    ends = jnp.cumsum(p)
    cell = jnp.clip(jnp.searchsorted(ends, v, side="right"), 0, CELLS - 1)
    within = jnp.clip((v - (ends[cell] - p[cell])) / p[cell], 0, 1)
    return (cell + within) / CELLS, 1 / (CELLS * p[cell]), cell


def seen_with(seen: LossMemory, cell: Array, losses: Array, counts: Array) -> LossMemory:
    """Add the losses (n,) of draws from the cells (n,) to `seen`, where `counts` (n,) is true."""
    squares = jnp.where(counts, losses**2, 0)
    into = jnp.zeros((2, CELLS)).at[:, cell].add(jnp.stack([squares, counts.astype(squares.dtype)]))
    total, fresh = into
    number = seen.number + fresh
    # A plain mean while there are few losses, then an exponential moving average.
    share = fresh / jnp.maximum(jnp.minimum(number, RECENT), jnp.maximum(fresh, 1))
    return LossMemory(seen.squares + share * (total / jnp.maximum(fresh, 1) - seen.squares), number)


def chances(seen: LossMemory) -> Array:
    """Return the probability of each cell, (CELLS,): uniform until every cell has enough losses."""
    root = jnp.sqrt(seen.squares)
    total = root.sum()
    known = (seen.number.min() >= ENOUGH) & (total > 0)
    preferred = root / jnp.where(known, total, 1)
    return jnp.where(known, (1 - UNIFORM) * preferred + UNIFORM / CELLS, 1 / CELLS)
