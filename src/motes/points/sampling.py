"""Grids of times t_0 = 1 > t_1 > ... > t_N = 0 at which a sampler stops, and the sampling loop from noise to points."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import MotesError, UsageError, check_count, check_process, check_seed
from motes.points.denoisers import Denoiser, Given
from motes.points.schedules import DiscreteVP, Schedule
from motes.progress import OnProgress, Progress, silent
from motes.ranges import Checked, CheckedModule, number
from motes.training.programs import float64, on_all_cores

# Given a schedule, returns times (N+1,) that fall from 1 to 0. Raises ValueError if its options do not fit it.
Grid = Callable[[Schedule], Array]


@dataclass(frozen=True)
class UniformGrid(Checked):
    """Equal steps in t.

    The times are 1, (N-1)/N, ..., 1/N, 0: every step of a discrete schedule if N = T, and every (T/N)-th step if N
    divides T.

    Example:
        >>> from motes.points.schedules import LinearVP
        >>> from motes.points import UniformGrid
        >>> print(UniformGrid(steps=4)(LinearVP()))
        [1. 0.75 0.5 0.25 0.  ]
    """

    steps: int | None = number(None, 1, 100_000)  # N; None: the steps of the schedule

    def __call__(self, schedule: Schedule) -> Array:
        steps = self.steps
        if steps is None:
            if not isinstance(schedule, DiscreteVP):
                raise ValueError(f"steps = None; expected a number, since {type(schedule).__name__} has no steps.")
            steps = schedule.steps
        return jnp.arange(steps, -1, -1) / steps


@dataclass(frozen=True)
class QuadraticGrid(Checked):
    """Equal steps in sqrt(t).

    The times are 1, ((N-1)/N)^2, ..., 1/N^2, 0: dense near the data, as in Song et al. 2021 (DDIM), appendix D.2.

    Example:
        >>> from motes.points.schedules import LinearVP
        >>> from motes.points.sampling import QuadraticGrid
        >>> print(QuadraticGrid(steps=4)(LinearVP()))
        [1. 0.5625 0.25 0.0625 0.]
    """

    steps: int = number(64, 1, 100_000)  # N

    def __call__(self, schedule: Schedule) -> Array:
        return (jnp.arange(self.steps, -1, -1) / self.steps) ** 2


@dataclass(frozen=True)
class KarrasGrid(Checked):
    """Equal steps in (sigma_t / alpha_t)^(1/rho), then 0.

    With the noise level r = sigma_t / alpha_t, r^(1/rho) is equally spaced from t = 1 to r = `sigma_min`, followed by
    r = 0 (Karras et al. 2022, eq. 5).

    Example:
        >>> from motes.points import KarrasGrid, VarianceExploding
        >>> schedule = VarianceExploding(sigma_max=10.0)
        >>> print(schedule.sigma(KarrasGrid(steps=4, sigma_min=0.1)(schedule)).round(2))
        [10. 2.93 0.66 0.1 0.]
    """

    steps: int = number(48, 1, 100_000)  # N
    sigma_min: float = number(0.004, 0, 1e9, open_low=True)  # the last noise level r before 0
    rho: float = number(7.0, 0, 1000, open_low=True)  # larger values give more steps near the data

    def __call__(self, schedule: Schedule) -> Array:
        return _space_levels(schedule, self.steps, self.sigma_min, self.rho)


@dataclass(frozen=True)
class LogSNRGrid(Checked):
    """Equal steps in the log-SNR, then 0.

    The log-SNR is equally spaced from t = 1 to the noise level sigma_t / alpha_t = `sigma_min`, followed by t = 0
    (Lu et al. 2022).

    Example:
        >>> from motes.points.sampling import LogSNRGrid
        >>> from motes.points import VarianceExploding
        >>> schedule = VarianceExploding(sigma_max=10.0)
        >>> print(schedule.sigma(LogSNRGrid(steps=3, sigma_min=0.1)(schedule)).round(2))  # equal ratios, then 0
        [10. 1. 0.1 0.]
    """

    steps: int = number(64, 1, 100_000)  # N
    sigma_min: float = number(0.004, 0, 1e9, open_low=True)  # the last noise level r before 0

    def __call__(self, schedule: Schedule) -> Array:
        return _space_levels(schedule, self.steps, self.sigma_min, None)


@dataclass(frozen=True)
class GivenGrid:
    """Your own times."""

    times: tuple[float, ...] = (1.0, 0.0)

    def __post_init__(self) -> None:
        check_grid(self.times)

    def __call__(self, schedule: Schedule) -> Array:
        return jnp.asarray(self.times, float)


def check_grid(times: Sequence[float] | ArrayLike) -> None:
    """Raise ValueError unless `times` (N+1,) fall from 1 to 0, N >= 1."""
    t = np.asarray(times)
    if t.ndim != 1 or len(t) < 2 or t[0] != 1 or t[-1] != 0:
        raise ValueError(f"the grid is {_ends(t)}; expected times that fall from 1 to 0.")
    if not (falls := np.diff(t) < 0).all():
        k = int(np.argmin(falls))
        raise ValueError(
            f"the grid is {_ends(t)}; expected times that fall from 1 to 0, and t[{k}] = {t[k]:.6g} is followed by "
            f"t[{k + 1}] = {t[k + 1]:.6g}."
        )


def _ends(t: NDArray[Any]) -> str:
    """Describe the times of a grid by the first and last ones."""
    return np.array2string(t, threshold=8, edgeitems=3)


def _space_levels(schedule: Schedule, steps: int, sigma_min: float, rho: float | None) -> Array:
    times, largest = _compute_levels(schedule, steps, sigma_min, rho)
    if not 0 < sigma_min < largest:
        raise ValueError(f"sigma_min = {sigma_min:g}; expected above 0 and below the first noise level, {largest:g}.")
    return times


@eqx.filter_jit  # one program instead of a dozen small ones
def _compute_levels(schedule: Schedule, steps: int, sigma_min: float, rho: float | None) -> tuple[Array, Array]:
    """Return times at which r falls to `sigma_min` in equal steps of r^(1/rho) or log r, and r at t = 1."""
    first = schedule.log_snr(1.0)
    part, largest = jnp.arange(steps) / max(steps - 1, 1), jnp.exp(-first / 2)
    if rho is None:
        log_snr = first + part * (-2 * jnp.log(sigma_min) - first)
    else:
        low, high = sigma_min ** (1 / rho), largest ** (1 / rho)
        log_snr = -2 * jnp.log((high + part * (low - high)) ** rho)
    return jnp.append(schedule.t_of_log_snr(log_snr).at[0].set(1.0), 0.0), largest


# --- The sampling loop: a sampler is one step of it -----------------------------------------------------------------
#
#     x_s, state = sampler.step(denoiser, x_t, t, s, state, key),    s < t
#
# To add a sampler, subclass `Sampler`; the samplers of motes are in `points/samplers.py`. The loop works in padded
# blocks, several at a time, so that one compiled program serves any number of rows. Each row has its own key, so that
# its result does not depend on the other rows or on the block size.


State = Any
FEW, BLOCK = 512, 2048  # block sizes; with FEW, 300,000 rows take 1.4 times as long, but ten rows a quarter


class Sampler(CheckedModule):
    """Base class of samplers: one step from x_t to x_s.

    Attributes:
        order: order of convergence, which a test measures: of each point for a deterministic sampler, otherwise of the
            distribution of the points (the weak order).
        off_grid: whether it calls the denoiser at times outside the grid, which a network of discrete steps does not
            support.
        when: when to choose it, in one line.

    Raises:
        ValueError: a field that `motes.ranges.number` declares is out of its range.

    Example:
        >>> from typing import ClassVar
        >>> from motes.points import Sampler
        >>> class Jump(Sampler):
        ...     order: ClassVar[int] = 1
        ...     def step(self, denoiser, x_t, t, s, state, key):
        ...         x0_hat, eps_hat = denoiser.x0_and_eps(x_t, t)
        ...         return denoiser.schedule.alpha(s) * x0_hat + denoiser.schedule.sigma(s) * eps_hat, state
        >>> Jump().order
        1
    """

    order: eqx.AbstractClassVar[int]
    off_grid: ClassVar[bool] = False
    when: ClassVar[str] = ""

    @property
    def evaluations(self) -> int | None:
        """Denoiser evaluations per step; the last step, to s = 0, has one and ends in x0_hat. None: adaptive."""
        return 1  # of most samplers

    @property
    def stochastic(self) -> bool:
        """Whether the steps add random noise; by default not."""
        return False

    def check(self, denoiser: Denoiser) -> None:
        """Check that `denoiser` provides what the sampler needs; raise UsageError otherwise.

        Example:
            >>> from motes.points import Ancestral, GaussianOracle, LinearBetas, NoisePredictor
            >>> untaught = NoisePredictor(lambda x, t: x, LinearBetas(4).schedule())
            >>> Ancestral("learned").check(untaught)
            Traceback (most recent call last):
                ...
            motes.errors.UsageError: variance = 'learned' is the denoiser's own, and NoisePredictor ...
        """

    def init(self, x_t: Array, grid: Array) -> State:
        """Return the initial state that is passed from step to step; None by default. `grid` holds all times.

        Example:
            >>> from motes.points import DDIM
            >>> DDIM().init(jnp.zeros(2), jnp.array([1.0, 0.5, 0.0])) is None
            True
        """
        return None

    @abstractmethod
    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        """Take one point (d,) from time t to time s < t.

        Example:
            >>> from motes.points import DDIM, GaussianOracle, VarianceExploding
            >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> x_s, _ = DDIM().step(oracle, jnp.array([2.0]), jnp.array(1.0), jnp.array(0.0), None, jax.random.key(0))
            >>> print(x_s)  # at s = 0 it is x0_hat
            [1.]
        """


class ReverseProcess(eqx.Module):
    """The reverse process from noise to points: a denoiser, a sampler and a grid of times.

    Attributes:
        denoiser: learned or exact.
        sampler: takes each step.
        grid: times (N+1,) from 1 down to 0.
        dim: d, the number of columns of the points.

    Raises:
        ValueError: another grid.
        UsageError: a denoiser that lacks something the sampler needs.

    Example:
        >>> from motes.points import Heun, KarrasGrid, ReverseProcess
        >>> grid = KarrasGrid(steps=16)(model.denoiser.schedule)
        >>> process = ReverseProcess(model.denoiser, Heun(), grid, dim=2)
        >>> points, _ = motes.points.sample(process, 100, key=jax.random.key(0))  # in standardised units
        >>> points.shape
        (100, 2)
    """

    denoiser: Denoiser
    sampler: Sampler
    grid: Array
    dim: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        check_grid(self.grid)
        self.sampler.check(self.denoiser)

    def __repr__(self) -> str:
        return f"ReverseProcess({self.denoiser!r}, {self.sampler!r}, {len(self.grid) - 1} steps)"


def seed_key(seed: int, purpose: str) -> jax.Array:
    """Return the random key of a seed for one purpose; keys for different purposes are independent."""
    check_process()
    words = np.random.SeedSequence([check_seed(seed), *purpose.encode()]).generate_state(1)
    return jax.random.key(int(words[0]))


# Types in quotes: `from __future__ import annotations` does not support Equinox's abstract variables, and
# `help(motes.points.sample)` should be readable.
def sample(
    process: ReverseProcess,
    n: int,
    *,
    key: Array,
    given: Given | None = None,
    start: ArrayLike | None = None,
    record: Sequence[int] = (),
    skip: int = 0,
    on_progress: OnProgress = silent,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw `n` points, in the units that the denoiser was trained in.

    Args:
        process: denoiser, sampler, grid and number of columns.
        n: number of points, at least 1.
        key: the same key gives the same points; the first m of n points equal a draw of m points.
        given: conditioning of each row, arrays with a leading n.
        start: the points at t = 1, (n, d); None draws them from the prior N(0, prior_std^2 I).
        record: indices into the grid at which the points are recorded; 0 is the start, N the end.
        skip: number of points of this key to skip, as if they had been drawn before.
        on_progress: called with the number of rows done so far, after each block.

    Returns:
        Points (n, d), and the recorded chain (len(record), n, d).

    Raises:
        ValueError: fewer than one point, an index outside the grid, or arrays of another shape.

    Example:
        >>> from motes.points import GaussianOracle, Heun, KarrasGrid, ReverseProcess, VarianceExploding
        >>> oracle = GaussianOracle([0.0, 0.0], np.eye(2), VarianceExploding(sigma_max=80.0))
        >>> process = ReverseProcess(oracle, Heun(), KarrasGrid(steps=16)(oracle.schedule), dim=2)
        >>> x, chain = motes.points.sample(process, 100, key=jax.random.key(0), record=[0, 8])
        >>> x.shape, chain.shape
        ((100, 2), (2, 100, 2))
    """
    _check_rows(process, n, given, start, record)
    dim, grid = process.dim, process.grid
    block = FEW if n <= BLOCK else BLOCK
    # Slot r of the chain is for the r-th recorded place; an extra slot takes the points that are not recorded.
    places = sorted(set(record))
    slots = np.full(len(grid), len(places), dtype=np.int32)
    slots[places] = np.arange(len(places))
    points, chain = np.empty((n, dim), np.float32), np.empty((len(places), n, dim), np.float32)
    double = jnp.result_type(float) == jnp.float64

    def work(first: int) -> int:
        rows = slice(first, min(first + block, n))
        padded = np.minimum(np.arange(first, first + block), n - 1)
        known = jax.tree.map(partial(np.take, indices=padded, axis=0), given)
        with float64(double):  # the setting is local to each thread
            own = None if start is None else jnp.asarray(np.asarray(start)[padded], float)
            numbers = np.arange(skip + first, skip + first + block, dtype=np.int32)
            x, kept = _draw_block(process, own, known, key, numbers, slots, len(places))
            points[rows] = np.asarray(x)[: rows.stop - first]
            chain[:, rows] = np.asarray(kept)[: len(places), : rows.stop - first]
        return rows.stop

    try:
        for done in on_all_cores(work, range(0, n, block)):
            on_progress(Progress(done, n))
    except (TypeError, ValueError) as error:  # including those that JAX raises if it cannot compile
        if (fault := None if isinstance(error, MotesError) else _find_fault(process)) is not None:
            raise UsageError(fault) from error
        raise
    if lost := int((~np.isfinite(points)).any(axis=1).sum()):
        who = type(process.sampler).__name__
        text = f"{lost:,} of {n:,} points are not finite: {who} or the network diverged."
        warnings.warn(f"{text} Use more steps or another sampler.", stacklevel=2)
    return points, chain[[places.index(place) for place in record]]


def _check_rows(
    process: ReverseProcess, n: int, given: Given | None, start: ArrayLike | None, record: Sequence[int]
) -> None:
    check_count(n, "points")
    last = len(process.grid) - 1
    for place in record:
        if not 0 <= place <= last:
            raise ValueError(f"record contains the index {place}; the grid has the indices 0 to {last}.")
    if start is not None and np.shape(start) != (n, process.dim):
        raise ValueError(f"the start has shape {np.shape(start)}; expected ({n}, {process.dim}).")
    for known in jax.tree.leaves(given):
        if len(known) != n:
            raise ValueError(f"`given` has {len(known)} rows; expected {n}.")


def _find_fault(process: ReverseProcess) -> str | None:
    """Describe the error in the sampler's step; None if there is none."""
    sampler, name = process.sampler, type(process.sampler).__name__
    point, time = jnp.zeros(process.dim), jnp.asarray(0.5)
    try:
        state = jax.eval_shape(sampler.init, point, process.grid)
        made = jax.eval_shape(partial(sampler.step, process.denoiser), point, time, time / 2, state, jax.random.key(0))
    except Exception as error:  # any error that the sampler raises
        text = str(error).partition("\n")[0]
        return (
            f"got {type(error).__name__} in {name}.step: {text}; expected step(denoiser, x_t, t, s, state, key) that "
            "JAX can trace, with jnp.where instead of `if`. Correct it."
        )
    shapes = lambda tree: jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", tree)
    wanted, got = shapes((point, state)), shapes(made)
    if got == wanted:
        return None
    return f"got {got} from {name}.step; expected {wanted}: the point at s, and a state like init's. Return both."


@eqx.filter_jit
def _draw_block(
    process: ReverseProcess, start: Array | None, given: Given | None, key: Array, numbers: Any, slots: Any, count: int
) -> tuple[Array, Array]:
    """Draw the rows with these `numbers` (n,), from `start` or from the prior; also return the chain.

    The chain has shape (count + 1, n, dim). The points at place k of the grid go to its slot `slots[k]`; the last slot,
    `count`, takes those that are not recorded.
    """
    denoiser, sampler, grid = process.denoiser, process.sampler, process.grid
    slots, keys = jnp.asarray(slots), jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.asarray(numbers))
    prior = lambda key: denoiser.schedule.prior_std * jax.random.normal(key, (process.dim,))
    x = jax.vmap(prior)(keys) if start is None else start

    @partial(jax.vmap, in_axes=(0, 0, None, None, 0, 0))
    def step(known: Given | None, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        return sampler.step(denoiser if known is None else denoiser.given(known), x_t, t, s, state, key)

    def move(carry: Any, at: Any) -> Any:
        x_t, state, chain = carry
        t, s, place, slot = at
        x_s, state = step(given, x_t, t, s, state, jax.vmap(jax.random.fold_in, (0, None))(keys, place))
        return (x_s, state, chain.at[slot].set(x_s)), None

    chain = jnp.zeros((count + 1, *x.shape)).at[slots[0]].set(x)
    state = jax.vmap(sampler.init, (0, None))(x, grid)
    steps = grid[:-1], grid[1:], jnp.arange(1, len(grid)), slots[1:]
    (x, _, chain), _ = jax.lax.scan(move, (x, state, chain), steps)
    return x, chain
