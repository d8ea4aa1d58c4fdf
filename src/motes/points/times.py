"""Distributions of the times of a batch, and how they are drawn: uniform numbers u, placed on the time axis.

    t = place(u),    u ~ U(0, 1)

A distribution of t is its quantile function `place`, which may know the schedule. How the u of a batch are drawn is
another matter: independently, in pairs, one in each part of the range, or more often where the loss is large.
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
    """Independent draws."""
    if levels is None:
        return jax.random.uniform(key, (n,))
    return (jax.random.randint(key, (n,), 0, levels) + 0.5) / levels


def antithetic(key: Array, n: int, levels: int | None = None) -> Array:
    """n // 2 + 1 draws followed by their mirror images 1 - u, cut to n: step k comes with step T - 1 - k."""
    half = uniform(key, n // 2 + 1, levels)
    return jnp.concatenate([half, 1 - half])[:n]


def stratified(key: Array, n: int, levels: int | None = None) -> Array:
    """One draw in each of n equal parts of (0, 1): every batch covers the whole range (Kingma et al. 2021)."""
    u = (jnp.arange(n) + jax.random.uniform(key, (n,))) / n
    return u if levels is None else (jnp.minimum(jnp.floor(u * levels), levels - 1) + 0.5) / levels


Draw = Literal["uniform", "antithetic", "stratified", "importance"]
# (key, n, levels) -> u (n,); with `levels`, each u is the middle of one of that many equal cells.
DRAWS: dict[Draw, Callable[[Array, int, int | None], Array]] = {
    "uniform": uniform,
    "antithetic": antithetic,
    "stratified": stratified,
    "importance": stratified,  # as long as nothing is preferred
}


class Drawn(NamedTuple):
    """The times of a batch, what each row's loss is to be multiplied by (None: 1), and what `learn` wants to know."""

    t: Array  # (n,)
    weight: Array | None = None  # (n,)
    cell: Array | None = None  # (n,)


class Times(eqx.Module):
    """A distribution of t under a schedule, and a way to draw from it: `times(schedule, key, n)` -> t (n,).

    A new one is `place`, and a field `draw`. Training draws with `batch`, which remembers losses from step to step
    where `draw` is "importance".

    Raises:
        ValueError: an unknown `draw`, or a field that `motes.ranges.number` declares is out of its range.

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
        """t for each u in [0, 1]: where u is uniform, t has the distribution.

        Example:
            >>> from motes.points import UniformTimes, VarianceExploding
            >>> print(UniformTimes(least=0.2).place(VarianceExploding(), jnp.array([0.0, 0.5, 1.0])))
            [0.2 0.6 1. ]
        """

    def levels(self, schedule: Schedule) -> int | None:
        """How many values t has; None for a continuous distribution.

        Example:
            >>> from motes.points import LinearBetas, StepTimes, UniformTimes, VarianceExploding
            >>> StepTimes().levels(LinearBetas(100).schedule()), UniformTimes().levels(VarianceExploding())
            (100, None)
        """
        return None

    def __call__(self, schedule: Schedule, key: Array, n: int) -> Array:
        return self.place(schedule, DRAWS[self.draw](key, n, self.levels(schedule)))

    def init(self) -> Any:
        """What is remembered before the first batch.

        Example:
            >>> from motes.points import LogNormalTimes
            >>> LogNormalTimes().init() is None, LogNormalTimes(draw="importance").init() is None
            (True, False)
        """
        return nothing_seen() if self.draw == "importance" else None

    def batch(self, schedule: Schedule, key: Array, n: int, memory: Any) -> Drawn:
        """`n` times: the mean of weight f(t) over them is, on average over keys, that of f under the distribution.

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
        # Turned by a random angle, so that any rows of a batch, such as those of a short one, cover the whole range.
        v = (stratified(strata_key, n) + jax.random.uniform(turn_key)) % 1
        u, weight, cell = preferred(v, memory)
        return Drawn(self.place(schedule, u), weight, cell)

    def learn(self, memory: Any, drawn: Drawn, losses: Array, counts: Array) -> Any:
        """What is remembered after a batch: `losses` (n,) are without weights, where `counts` (n,) is true.

        Example:
            >>> from motes.points import UniformTimes, VarianceExploding
            >>> times = UniformTimes()
            >>> drawn = times.batch(VarianceExploding(), jax.random.key(0), 8, times.init())
            >>> times.learn(None, drawn, jnp.ones(8), jnp.ones(8, bool)) is None  # where no time is preferred
            True
        """
        return memory if drawn.cell is None else seen_with(memory, drawn.cell, losses, counts)


class StepTimes(Times):
    """Every step of a discrete schedule is equally likely; t = (k+1)/T.

    Example:
        >>> from motes.points import LinearBetas, StepTimes
        >>> print(jnp.sort(StepTimes()(LinearBetas(4).schedule(), jax.random.key(0), 4)))
        [0.25 0.5 0.75 1.  ]
    """

    draw: Draw = eqx.field(static=True, default="stratified")

    def levels(self, schedule: Schedule) -> int | None:
        return _steps(schedule).steps

    def place(self, schedule: Schedule, u: Array) -> Array:
        discrete = _steps(schedule)
        return discrete.t_of_step(jnp.minimum(jnp.floor(u * discrete.steps), discrete.steps - 1))


class LogNormalTimes(Times):
    """log(sigma_t / alpha_t) ~ N(mean, std^2) (Karras et al. 2022, table 1).

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
        return schedule.t_of_log_snr(-2 * (self.mean + self.std * _normal(u)))


class UniformTimes(Times):
    """t ~ U(least, 1). At t = 0 itself there is nothing to learn, and weights may be infinite.

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
    """log(t / (1 - t)) ~ N(mean, std^2): most times are neither data nor noise (Esser et al. 2024, section 3.1).

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
        return jax.nn.sigmoid(self.mean + self.std * _normal(u))


def _steps(schedule: Schedule) -> DiscreteVP:
    if not isinstance(schedule, DiscreteVP):
        raise TypeError(
            f"StepTimes got the schedule {type(schedule).__name__}; expected a DiscreteVP, which has steps."
        )
    return schedule


def _normal(u: Array) -> Array:
    """The quantile of N(0, 1) at u, kept finite."""
    return ndtri(jnp.clip(u, 1e-6, 1 - 1e-6))


# --- Times at which the loss is large, more often (Nichol & Dhariwal 2021, section 3.3) -----------------------------
#
#     E f(u) = E_p [f(u) / p(u)],    p(u) ~ sqrt(E[L^2 | u]),    u in (0, 1)
#
# Of all densities of u that p has the least variance. Here it is constant on each of `CELLS` equal cells of u, so that
# it is as good for any distribution of t. A share of it is uniform: no cell is forgotten, and no weight 1 / p is large.


CELLS = 64
ENOUGH = 10  # losses in every cell before any is preferred
RECENT = 500  # losses of a cell that its mean reaches back over: they fall as training goes on
UNIFORM = 0.1  # share of p: no weight is above 10


class LossMemory(NamedTuple):
    """What is remembered of the losses in each cell."""

    squares: Array  # (CELLS,), the mean of their squares
    number: Array  # of losses (CELLS,)


def nothing_seen() -> LossMemory:
    """What is remembered before the first batch."""
    return LossMemory(jnp.zeros(CELLS), jnp.zeros(CELLS))


def preferred(v: Array, seen: LossMemory) -> tuple[Array, Array, Array]:
    """Draws from p for uniform `v` (n,) in [0, 1): u (n,), 1 / p(u) (n,), and the cell of each (n,)."""
    p = chances(seen)
    ends = jnp.cumsum(p)
    cell = jnp.clip(jnp.searchsorted(ends, v, side="right"), 0, CELLS - 1)
    within = jnp.clip((v - (ends[cell] - p[cell])) / p[cell], 0, 1)
    return (cell + within) / CELLS, 1 / (CELLS * p[cell]), cell


def seen_with(seen: LossMemory, cell: Array, losses: Array, counts: Array) -> LossMemory:
    """`seen`, with the losses (n,) of draws from the cells (n,) beside, where `counts` (n,) is true."""
    squares = jnp.where(counts, losses**2, 0)
    into = jnp.zeros((2, CELLS)).at[:, cell].add(jnp.stack([squares, counts.astype(squares.dtype)]))
    total, fresh = into
    number = seen.number + fresh
    # The plain mean while losses are few; afterwards one that forgets.
    share = fresh / jnp.maximum(jnp.minimum(number, RECENT), jnp.maximum(fresh, 1))
    return LossMemory(seen.squares + share * (total / jnp.maximum(fresh, 1) - seen.squares), number)


def chances(seen: LossMemory) -> Array:
    """The probability of each cell, (CELLS,): equal until all have been seen often enough."""
    root = jnp.sqrt(seen.squares)
    total = root.sum()
    known = (seen.number.min() >= ENOUGH) & (total > 0)
    preferred = root / jnp.where(known, total, 1)
    return jnp.where(known, (1 - UNIFORM) * preferred + UNIFORM / CELLS, 1 / CELLS)
