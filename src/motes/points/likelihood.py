"""Log-likelihoods by the probability flow, which transports a point to noise, with the integral of its divergence.

    log p(x) = log N(z_1; 0, I) + integral of div f(z, u) du - d log tau,    dz/du = f(z, u) = c eps_hat - c^2 z

with u = log r, r = sigma_t / alpha_t, tau = sqrt(1 + r^2), c = r / tau and z = x_t / (alpha_t tau) (Song et al. 2021,
eq. 39, in other variables). In y = x_t / alpha_t every schedule has the same flow, dy/dr = eps_hat; for data of unit
variance most of this flow only widens y, a part that z removes.

The integral, and tau, start at r = r_min. Below r_min the score is held constant, since a network has not been trained
at lower noise: eps_hat(y, r) = r / r_min eps_hat(y, r_min). For an exact eps_hat this costs about (r_min / s)^4 / 4
nats per column, where s is the smallest scale of the data. So p is the distribution to which the flow transports
N(0, I), the limit of the samples of Heun's method for many steps and a small last noise level. A chain of noisy steps
has another distribution, which the variational bound describes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.errors import UsageError
from motes.points.denoisers import Denoiser, Given, Learned
from motes.points.samplers import Heun
from motes.points.sampling import Sampler
from motes.points.schedules import DiscreteVP
from motes.points.variance import LearnedVariance
from motes.progress import OnProgress, Progress, silent
from motes.training.programs import float64, on_all_cores

# (z (d,), v ()) -> dz/dv (d,).
Field = Callable[[jax.Array, jax.Array], jax.Array]
Number = int | float | jax.Array

# u = CENTRE + BEND sinh(v): steps are short near r = 0.3, where flows bend most, and long towards both ends.
CENTRE, BEND = math.log(0.3), 3.0

# Weights of the first nodes, and in reverse of the last, that give the trapezoidal rule order 6: Gregory's rule with
# fourth differences. Between the ends it converges faster than any order if the slope is analytic.
GREGORY = (95 / 288, 317 / 240, 23 / 30, 793 / 720, 157 / 160)

# Small matrices stay in a core's cache, and XLA uses one core for each; several blocks run at once to use the others.
# On two cores this took half the time of matrices that are large enough to be split.
MATRIX = 384  # rows: points times (columns + 1)


def v_of(r: float) -> float:
    """Return the grid coordinate v of the noise level r."""
    return math.asinh((math.log(r) - CENTRE) / BEND)


class Flow(NamedTuple):
    """The integrand, and the range of r.

    `end` is an array (), so that schedules that differ only in their numbers, such as `LaterSchedule`, share one
    compiled program.

    Attributes:
        begin: v at r_min; see `v_of`.
        end: v at r_max.
    """

    denoiser: Denoiser
    r_min: float
    begin: float
    end: jax.Array


def _field(denoiser: Denoiser, z: jax.Array, v: jax.Array) -> jax.Array:
    """Return dz/dv (d,)."""
    u = CENTRE + BEND * jnp.sinh(v)
    r = jnp.exp(u)
    tau = jnp.sqrt(1 + r**2)
    c = r / tau
    t = denoiser.schedule.t_of_log_snr(-2 * u)
    eps_hat = denoiser.eps(denoiser.schedule.alpha(t) * tau * z, t)
    return BEND * jnp.cosh(v) * (c * eps_hat - c**2 * z)


def _field_below_r_min(denoiser: Denoiser, r_min: float, y: jax.Array, _: jax.Array) -> jax.Array:
    """Return dy/dq (d,) below r_min, with q = r^2 / (2 r_min): eps_hat at r_min."""
    t = denoiser.schedule.t_of_log_snr(-2 * math.log(r_min))
    return denoiser.eps(denoiser.schedule.alpha(t) * y, t)


def _slope_and_divergence(field: Field, z: jax.Array, v: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the slope (d,), and its divergence ()."""
    slope, columns = jax.vmap(lambda e: jax.jvp(lambda z: field(z, v), (z,), (e,)), out_axes=(None, 0))(jnp.eye(len(z)))
    return slope, jnp.trace(columns)


def _integrate(
    field: Field, z: jax.Array, begin: float, step: Number, steps: Number, weight: Callable[[Number], jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """Integrate z (d,) by `steps` steps of the classical Runge-Kutta method, and the divergence () along the way.

    The integral of the divergence is a sum over the nodes with weights `weight(i)`: the derivatives are most of the
    work and are computed once per step.
    """

    def move(i: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, slope, total = carry
        v = begin + i * step
        second = field(z + step / 2 * slope, v + step / 2)
        third = field(z + step / 2 * second, v + step / 2)
        fourth = field(z + step * third, v + step)
        z = z + step / 6 * (slope + 2 * second + 2 * third + fourth)
        slope, divergence = _slope_and_divergence(field, z, v + step)
        return z, slope, total + weight(i + 1) * divergence

    slope, divergence = _slope_and_divergence(field, z, jnp.asarray(begin))
    z, _, total = jax.lax.fori_loop(0, steps, move, (z, slope, weight(0) * divergence))
    return z, step * total


def _simpson(i: Number) -> jax.Array:
    return jnp.array([1 / 3, 4 / 3, 1 / 3])[i]


def _gregory(steps: jax.Array, i: Number) -> jax.Array:
    nearest_end = jnp.minimum(i, steps - i)
    return jnp.array([*GREGORY, 1.0])[jnp.minimum(nearest_end, len(GREGORY))]


@eqx.filter_jit
def on_grid(flow: Flow, x: jax.Array, given: Given | None, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return z (block, d) and its divergence integral (block,); compiled once for any number of steps."""

    def row(x: jax.Array, known: Given | None) -> tuple[jax.Array, jax.Array]:
        denoiser = flow.denoiser if known is None else flow.denoiser.given(known)
        field = partial(_field_below_r_min, denoiser, flow.r_min)
        y, below = _integrate(field, x, 0.0, flow.r_min / 4, 2, _simpson)
        z, field = y / math.sqrt(1 + flow.r_min**2), partial(_field, denoiser)
        z, above = _integrate(field, z, flow.begin, (flow.end - flow.begin) / steps, steps, partial(_gregory, steps))
        return z, below + above

    return jax.vmap(row)(x, given)


# --- The log-likelihood of points, with its error ------------------------------------------------------------------
#
#     log p(x) = log N(z_1; 0, I) + divergence integral - d log tau
#
# The functions above handle one row. Below, rows are processed in padded blocks, several at a time. Each row halves its
# own steps until two grids agree, so that its result does not depend on the other rows.


Array = NDArray[np.float64]

R_MIN = 1e-3  # the lowest noise level, in standard deviations of the data
TOLERANCE = 1e-4  # nats
STEP = 0.085  # step in v of the coarsest grid
HALVINGS = 5  # maximal number of halvings of the step
# Halving the step nearly always divides the error by at least this; by 16 in the limit, and by more before it. With the
# t of a discrete schedule as a network's input, the slope has a kink at each step, and no rate is certain.
SHRINKS, SHRINKS_WITH_KINKS = 5, 1


class Likelihood(NamedTuple):
    """Log-likelihoods in nats per row with their errors, all (n,) in float64.

    Attributes:
        log_prob: log p of each row; NaN if the flow overflowed.
        error: estimated error of the integration. On trained models nine in ten true errors were below it, and 998 of
            1,000 below ten times it. Infinite if log p is NaN, and large far from all data.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding, log_likelihood
        >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=80.0))
        >>> found = log_likelihood(oracle, [[0.0], [1.0]])
        >>> found._fields, found.log_prob.shape
        (('log_prob', 'error'), (2,))
    """

    log_prob: Array
    error: Array

    def __repr__(self) -> str:
        return f"Likelihood({len(self.log_prob):,} rows, mean log p {self.log_prob.mean():.4g})"


def log_likelihood(
    denoiser: Denoiser,
    x: ArrayLike,
    *,
    given: Given | None = None,
    tolerance: float = TOLERANCE,
    r_min: float = R_MIN,
    on_progress: OnProgress = silent,
) -> Likelihood:
    """Compute log p of rows x (n, d), in the units that the denoiser was trained in.

    Each row halves its own steps until it reaches `tolerance`, so its result does not depend on the other rows.

    Args:
        denoiser: learned or exact.
        x: the rows (n, d).
        given: conditioning of each row, arrays with a leading n; log p is then conditional.
        tolerance: in nats per row; `error` shows the rows for which the finest grid did not reach it. For 1e-4 or more
            the network computes in single precision, which adds at most 1e-6 nats to the error; everything else is in
            double precision.
        r_min: the noise level, in standard deviations of the data, below which the score is held constant.
        on_progress: called with the number of rows done so far, after each block.

    Raises:
        UsageError: another shape, or an argument out of range.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding, log_likelihood
        >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=80.0))
        >>> log_likelihood(oracle, [[0.0], [1.0]]).log_prob.round(3).tolist()  # log N(x; 0, 1)
        [-0.919, -1.419]
    """
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise UsageError(f"points have shape {rows.shape}; expected (n, d) with n >= 1 and d >= 1, all finite.")
    if any(len(known) != len(rows) for known in jax.tree.leaves(given)):
        raise UsageError(f"`given` has another number of rows than the points; expected {len(rows)}.")
    if not 0 < tolerance < math.inf:
        raise UsageError(f"tolerance = {tolerance}; expected a number of nats above 0.")
    with float64():
        denoiser = _to_double(denoiser, single=tolerance >= TOLERANCE)
        noise = math.exp(-float(denoiser.schedule.log_snr(1.0)) / 2)
        end = jnp.asarray(v_of(noise))
    if not 0 < r_min < noise:
        raise UsageError(f"r_min = {r_min:g}; expected above 0 and below the noise at t = 1, {noise:g}.")
    flow = Flow(denoiser, r_min, v_of(r_min), end)
    with np.errstate(over="ignore", invalid="ignore"):  # the error of such rows is infinite
        log_prob, error = _integrate_rows(flow, rows, given, tolerance, on_progress)
    finite = np.isfinite(log_prob)
    return Likelihood(np.where(finite, log_prob, np.nan), np.where(finite, error, np.inf))


class InSingle(eqx.Module):
    """A network that computes in single precision, whatever the precision of its inputs and outputs."""

    network: Callable[..., jax.Array]

    def __init__(self, network: Callable[..., jax.Array]):
        in_single = lambda leaf: leaf.astype(jnp.float32) if eqx.is_inexact_array(leaf) else leaf
        self.network = jax.tree.map(in_single, network)

    def __call__(self, x: jax.Array, *given: jax.Array) -> jax.Array:
        single = (part.astype(jnp.float32) for part in (x, *given))
        return self.network(*single).astype(x.dtype)


def _to_double(denoiser: Denoiser, *, single: bool) -> Denoiser:
    """Convert `denoiser` to double precision, except for its network if `single`, which takes 0.6 of the time.

    The arrays themselves are converted, so that no program converts them at every step.
    """
    has_network = lambda part: single and isinstance(part, Learned | LearnedVariance)

    def convert(part: Any) -> Any:
        if has_network(part):
            return eqx.tree_at(lambda learned: learned.network, part, InSingle(part.network))
        return part.astype(float) if eqx.is_inexact_array(part) else part

    converted: Denoiser = jax.tree.map(convert, denoiser, is_leaf=has_network)
    return converted


class _FlowResult(NamedTuple):
    """Points transported to t = 1, and the integrals of the divergence.

    Attributes:
        z: the points at t = 1, (n, d).
        integral: the integral of the divergence, (n,).
    """

    z: Array
    integral: Array

    def away(self, other: _FlowResult) -> Array:
        """Return an upper estimate of the difference in log p from `other`, (n,), without cancellation."""
        moved = np.linalg.norm(self.z - other.z, axis=1) * np.linalg.norm(self.z, axis=1)
        return np.asarray(moved + np.abs(self.integral - other.integral))


def _integrate_rows(
    flow: Flow, rows: Array, given: Given | None, tolerance: float, on_progress: OnProgress
) -> tuple[Array, Array]:
    """Return log p of rows (n, d) and its error, (n,) each."""
    # At least enough steps for the weights of both ends.
    steps = max(math.ceil((float(flow.end) - flow.begin) / STEP), 2 * len(GREGORY))
    z, integral, error = np.empty_like(rows), np.empty(len(rows)), np.empty(len(rows))
    shrinks = SHRINKS_WITH_KINKS if isinstance(flow.denoiser.schedule, DiscreteVP) else SHRINKS
    left, done = np.arange(len(rows)), 0
    for halving in range(1, HALVINGS + 1):
        grids = [steps, 2 * steps] if halving == 1 else [steps << halving]
        again = []
        for some, found in _run_in_blocks(flow, rows, given, left, grids, compiled=halving > 1):
            before = found[0] if halving == 1 else _FlowResult(z[some], integral[some])
            z[some], integral[some] = found[-1]
            error[some] = found[-1].away(before) / shrinks
            again.append(some[~(error[some] <= tolerance)] if halving < HALVINGS else some[:0])
            done += len(some) - len(again[-1])
            on_progress(Progress(done, len(rows)))
        left = np.concatenate(again)
        if not len(left):
            break
    each = -0.5 * (z**2 + math.log(2 * math.pi) + math.log1p(flow.r_min**2))
    return each.sum(axis=1) + integral, error


def _run_in_blocks(
    flow: Flow, rows: Array, given: Given | None, which: NDArray[np.int64], grids: Sequence[int], *, compiled: bool
) -> Iterator[tuple[NDArray[np.int64], list[_FlowResult]]]:
    """Yield blocks of `which` rows, and the results of `on_grid` for each number of steps.

    Every block is padded to one shape, so that one compiled program serves any number of rows.
    """
    block = max(MATRIX // (rows.shape[1] + 1), 1)

    def work(some: NDArray[np.int64]) -> list[_FlowResult]:
        padded = np.pad(some, (0, block - len(some)), mode="edge")
        with float64():  # the setting is local to each thread
            x, known = jnp.asarray(rows[padded]), jax.tree.map(lambda part: np.asarray(part)[padded], given)
            found = [on_grid(flow, x, known, jnp.asarray(steps)) for steps in grids]
            return [_FlowResult(*(np.asarray(part)[: len(some)] for part in carried)) for carried in found]

    blocks = np.split(which, range(block, len(which), block))
    yield from zip(blocks, on_all_cores(work, blocks, compiled=compiled), strict=True)


# --- Trajectories: by the flow in either direction, or by a sampler starting at any time ----------------------------


@eqx.filter_jit
def flow_path(denoiser: Denoiser, x: jax.Array, times: jax.Array) -> jax.Array:
    """Follow the probability flow from x (d,) at the first of `times` (k,) by Heun's method, (k, d).

    The times fall, towards data and down to 0, or rise from above 0, towards noise.
    """
    return sampled_paths(denoiser, Heun(), x, times, jax.random.split(jax.random.key(0), 1))[0]


@eqx.filter_jit
def sampled_paths(denoiser: Denoiser, sampler: Sampler, x: jax.Array, times: jax.Array, keys: jax.Array) -> jax.Array:
    """Follow a sampler from x (d,) along falling `times` (k,), once for each key (m,): (m, k, d)."""

    @jax.vmap
    def one(key: jax.Array) -> jax.Array:
        def move(carry: tuple[jax.Array, jax.Array], step: tuple[jax.Array, ...]) -> tuple[tuple, jax.Array]:
            (x_t, state), (t, s, number) = carry, step
            x_s, state = sampler.step(denoiser, x_t, t, s, state, jax.random.fold_in(key, number))
            return (x_s, state), x_s

        steps = (times[:-1], times[1:], jnp.arange(len(times) - 1))
        _, path = jax.lax.scan(move, (x, sampler.init(x, times)), steps)
        return jnp.concatenate([x[None], path])

    return one(keys)
