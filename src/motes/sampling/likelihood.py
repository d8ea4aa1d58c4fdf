"""The log-likelihood of a point: the probability flow carries it into noise, and tells how much it stretches space.

    log p(x) = log N(z_1; 0, I) + integral of div f(z, u) du - d log tau,    dz/du = f(z, u) = c eps_hat - c^2 z

with u = log r, r = sigma_t / alpha_t, tau = sqrt(1 + r^2), c = r / tau and z = x_t / (alpha_t tau) (Song et al. 2021,
eq. 39, in other variables). In y = x_t / alpha_t every schedule has the same flow, dy/dr = eps_hat; for data of unit
variance most of it widens y alone, and in z that part is gone.

The integral starts at r = r_min, and so does that tau. Below, the score is held at what it is there, since a network
knows nothing of less noise than it was trained with: eps_hat(y, r) = r / r_min eps_hat(y, r_min). Where eps_hat is
exact this costs about (r_min / s)^4 / 4 nats a column, s being the smallest scale of the data. So p is the law that the
flow brings N(0, I) to, which is what Heun's method draws from as its steps and its last noise level shrink. A chain of
noisy steps has another law, and the variational bound is about that one.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion.denoiser import Denoiser
from motes.precision import float64

Array = NDArray[np.float64]
Field = Callable[[jax.Array, jax.Array], jax.Array]
"""(z (d,), v ()) -> dz/dv (d,)."""
Number = int | float | jax.Array

Divergence = Literal["exact", "rademacher", "gaussian"]
Solver = Literal["grid", "adaptive"]

R_MIN = 1e-3  # the least noise, in standard deviations of the data
TOLERANCE = 1e-4  # nats

# u = CENTRE + BEND sinh(v): steps are short where a flow decides where to go, near r = 0.3, and long towards both ends.
CENTRE, BEND = math.log(0.3), 3.0
STEP = 0.085  # in v, of the coarsest grid
HALVINGS = 5  # of the step, at most
SHRINKS = 5  # half the step divides the error by this for sure; by 16 in the limit of smooth slopes, before it by more
MOST_STEPS = 10_000  # adaptive ones

# Weights of the first nodes, and of the last in reverse, that give the trapezoidal rule order 6: Gregory's rule with
# fourth differences. Between the ends it converges faster than any order where the slope is analytic.
GREGORY = (95 / 288, 317 / 240, 23 / 30, 793 / 720, 157 / 160)

# Small matrices stay in the cache nearest to a core, and XLA gives each a core alone; several blocks at once occupy the
# others. On two cores this took half the time of matrices that are large enough to be divided.
TILE = 192  # rows of a matrix: points times (directions + 1)
TILES = 8  # in a block


class Likelihood(NamedTuple):
    """Nats per row, all (n,) in float64."""

    log_prob: Array
    """log p of each row."""
    error: Array
    """An estimate of the error that is left by integrating."""
    standard_error: Array
    """That of a random divergence, over its probes; 0 for the exact one."""


def log_likelihood(
    denoiser: Denoiser,
    x: ArrayLike,
    *,
    divergence: Divergence = "exact",
    probes: int = 32,
    key: jax.Array | None = None,
    solver: Solver = "grid",
    tolerance: float = TOLERANCE,
    r_min: float = R_MIN,
    on_block: Callable[[int], None] | None = None,
) -> Likelihood:
    """log p of rows x (n, d), in the units that the denoiser was trained in.

    A row's answer does not depend on the rows beside it: each halves its own steps until it has `tolerance`.

    Args:
        denoiser: learned or exact.
        x: the rows (n, d).
        divergence: "exact", one derivative per column, or, for many columns, Hutchinson's estimate from random
            directions, "rademacher" or "gaussian" (Grathwohl et al. 2019, eq. 7). It is log p that is unbiased, not p.
        probes: how many directions, at least 2.
        key: of the directions. Those of a row depend on it and on the row, not on where the row stands.
        solver: "grid", or "adaptive", Diffrax's Dopri8: a reference, and far slower.
        tolerance: in nats per row; `error` tells where the finest grid did not reach it.
        r_min: the noise level, in standard deviations of the data, below which the score is held.
        on_block: called with the number of rows done so far, after each block.

    Raises:
        ValueError: another shape, or an argument out of range.
    """
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise ValueError(f"points have shape {rows.shape}; expected (n, d) with n >= 1 and d >= 1, all finite.")
    _check(divergence, probes, key, solver, tolerance)
    with float64():
        # As arrays of this precision, so that no program converts them at every step.
        denoiser = jax.tree.map(lambda leaf: leaf.astype(float) if eqx.is_inexact_array(leaf) else leaf, denoiser)
        noise = math.exp(-float(denoiser.schedule.log_snr(1.0)) / 2)
    if not 0 < r_min < noise:
        raise ValueError(f"r_min = {r_min:g}; expected above 0 and below the noise at t = 1, {noise:g}.")
    flow = _Flow(denoiser, r_min, noise, divergence, probes, key)
    return (_on_grids if solver == "grid" else _adaptive)(flow, rows, tolerance, on_block or _nothing)


def _check(divergence: str, probes: int, key: jax.Array | None, solver: str, tolerance: float) -> None:
    if divergence not in ("exact", "rademacher", "gaussian"):
        raise ValueError(f"divergence = {divergence!r}; expected 'exact', 'rademacher' or 'gaussian'.")
    if divergence != "exact" and (probes < 2 or key is None):
        raise ValueError(f"probes = {probes}, key = {key}; a random divergence needs at least 2 probes and a key.")
    if solver not in ("grid", "adaptive"):
        raise ValueError(f"solver = {solver!r}; expected 'grid' or 'adaptive'.")
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance = {tolerance}; expected a number of nats above 0.")


def _nothing(done: int) -> None: ...


class _Flow(NamedTuple):
    """What to integrate, and from which r to which."""

    denoiser: Denoiser
    r_min: float
    r_max: float
    divergence: Divergence
    probes: int
    key: jax.Array | None

    @property
    def ends(self) -> tuple[float, float]:
        """v at r_min and at r_max."""
        begin, end = (math.asinh((math.log(r) - CENTRE) / BEND) for r in (self.r_min, self.r_max))
        return begin, end

    def tile(self, dim: int) -> int:
        """Points in a tile."""
        directions = dim if self.divergence == "exact" else self.probes
        return max(TILE // (directions + 1), 1)


class _Carried(NamedTuple):
    """Where points have come to, and what the flow did on the way."""

    z: Array
    """At t = 1, (n, d)."""
    stretch: Array
    """The integral of the divergence: by each random direction (n, k), or the exact one (n, 1)."""

    def log_prob(self, flow: _Flow) -> Array:
        """(n, k) or (n, 1)."""
        prior = -0.5 * np.sum(self.z**2 + math.log(2 * math.pi) + math.log1p(flow.r_min**2), axis=1, keepdims=True)
        return np.asarray(prior + self.stretch)

    def away(self, other: "_Carried") -> Array:
        """How far from `other` log p is at most, (n,): differences of opposite signs do not cancel here."""
        moved = np.linalg.norm(self.z - other.z, axis=1) * np.linalg.norm(self.z, axis=1)
        return np.asarray(moved + np.abs(self.stretch.mean(axis=1) - other.stretch.mean(axis=1)))


# --- the flow of one point ------------------------------------------------------------------------------------------


def _field(denoiser: Denoiser, z: jax.Array, v: jax.Array) -> jax.Array:
    """dz/dv (d,)."""
    u = CENTRE + BEND * jnp.sinh(v)
    r = jnp.exp(u)
    tau = jnp.sqrt(1 + r**2)
    c = r / tau
    t = denoiser.schedule.t_of_log_snr(-2 * u)
    eps_hat = denoiser.eps(denoiser.schedule.alpha(t) * tau * z, t)
    return BEND * jnp.cosh(v) * (c * eps_hat - c**2 * z)


def _held(denoiser: Denoiser, r_min: float, y: jax.Array, _: jax.Array) -> jax.Array:
    """dy/dq (d,) below r_min, where q = r^2 / (2 r_min): eps_hat at r_min."""
    t = denoiser.schedule.t_of_log_snr(-2 * math.log(r_min))
    return denoiser.eps(denoiser.schedule.alpha(t) * y, t)


def _stretched(field: Field, z: jax.Array, v: jax.Array, directions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The slope (d,), and e . J e for each direction e (k, d): summed over unit vectors it is the divergence."""
    at_v = lambda z: field(z, v)
    slope, moved = jax.vmap(lambda e: jax.jvp(at_v, (z,), (e,)), out_axes=(None, 0))(directions)
    return slope, jnp.sum(moved * directions, axis=1)


def _integrate(
    field: Field,
    z: jax.Array,
    directions: jax.Array,
    begin: float,
    step: Number,
    steps: Number,
    weight: Callable[[Number], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """z (d,) after `steps` steps of the classical Runge-Kutta method, and the integrals of e . J e (k,).

    They are sums over the nodes with `weight(i)`: derivatives are most of the work, and are taken once a step.
    """

    def move(i: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, slope, total = carry
        v = begin + i * step
        second = field(z + step / 2 * slope, v + step / 2)
        third = field(z + step / 2 * second, v + step / 2)
        fourth = field(z + step * third, v + step)
        z = z + step / 6 * (slope + 2 * second + 2 * third + fourth)
        slope, stretch = _stretched(field, z, v + step, directions)
        return z, slope, total + weight(i + 1) * stretch

    slope, stretch = _stretched(field, z, jnp.asarray(begin), directions)
    z, _, total = jax.lax.fori_loop(0, steps, move, (z, slope, weight(0) * stretch))
    return z, step * total


def _simpson(i: Number) -> jax.Array:
    return jnp.array([1 / 3, 4 / 3, 1 / 3])[i]


def _gregory(steps: jax.Array, i: Number) -> jax.Array:
    nearest_end = jnp.minimum(i, steps - i)
    return jnp.array([*GREGORY, 1.0])[jnp.minimum(nearest_end, len(GREGORY))]


def _to_r_min(flow: _Flow, x: jax.Array, directions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z (d,) at r_min for x (d,) at r = 0, and the integrals of e . J e (k,) so far."""
    field = partial(_held, flow.denoiser, flow.r_min)
    y, total = _integrate(field, x, directions, 0.0, flow.r_min / 4, 2, _simpson)
    return y / math.sqrt(1 + flow.r_min**2), total


def _directions(flow: _Flow, x: jax.Array) -> jax.Array:
    """Those of one row, (k, d)."""
    if flow.divergence == "exact":
        return jnp.eye(len(x))
    draw = jax.random.rademacher if flow.divergence == "rademacher" else jax.random.normal
    # From the row's own bits: the same wherever the row stands, and independent of those of other rows.
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32).ravel()
    assert flow.key is not None  # it has been checked
    key = jax.lax.scan(lambda key, word: (jax.random.fold_in(key, word), None), flow.key, bits)[0]
    return draw(key, (flow.probes, len(x))).astype(float)


def _total(flow: _Flow, stretch: jax.Array) -> jax.Array:
    """By each direction (k,), or all of it (1,)."""
    return stretch.sum(keepdims=True) if flow.divergence == "exact" else stretch


# --- many points ----------------------------------------------------------------------------------------------------


def _on_grids(flow: _Flow, rows: Array, tolerance: float, on_block: Callable[[int], None]) -> Likelihood:
    begin, end = flow.ends
    steps = max(math.ceil((end - begin) / STEP), 2 * len(GREGORY))  # enough for the weights of both ends
    columns = 1 if flow.divergence == "exact" else flow.probes
    z, stretch, error = np.empty_like(rows), np.empty((len(rows), columns)), np.empty(len(rows))
    left, done = np.arange(len(rows)), 0
    for halving in range(1, HALVINGS + 1):
        grids = [steps, 2 * steps] if halving == 1 else [steps << halving]
        again = []
        for some, found in _in_blocks(_on_grid, flow, rows, left, grids):
            before = found[0] if halving == 1 else _Carried(z[some], stretch[some])
            z[some], stretch[some] = found[-1]
            error[some] = found[-1].away(before) / SHRINKS
            again.append(some[~(error[some] <= tolerance)] if halving < HALVINGS else some[:0])
            done += len(some) - len(again[-1])
            on_block(done)
        left = np.concatenate(again)
        if not len(left):
            break
    return _likelihood(flow, _Carried(z, stretch), error)


def _adaptive(flow: _Flow, rows: Array, tolerance: float, on_block: Callable[[int], None]) -> Likelihood:
    parts, done = [], 0
    for some, (loose, tight) in _in_blocks(_adaptively, flow, rows, np.arange(len(rows)), [10 * tolerance, tolerance]):
        parts.append(_likelihood(flow, tight, tight.away(loose)))
        done += len(some)
        on_block(done)
    return Likelihood(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _likelihood(flow: _Flow, carried: _Carried, error: Array) -> Likelihood:
    values = carried.log_prob(flow)
    k = values.shape[1]
    spread = values.std(axis=1, ddof=1) / math.sqrt(k) if k > 1 else np.zeros(len(values))
    return Likelihood(values.mean(axis=1), error, spread)


def _in_blocks(
    program: Callable[..., tuple[jax.Array, jax.Array]],
    flow: _Flow,
    rows: Array,
    which: NDArray[np.int64],
    arguments: Sequence[float],
) -> Iterator[tuple[NDArray[np.int64], list[_Carried]]]:
    """Some of `which` rows at a time, and where `program(flow, x, argument)` brings them for each of the arguments.

    Every block is padded to one shape, so that one compiled program serves any number of rows.
    """
    block = TILES * flow.tile(rows.shape[1])

    def work(some: NDArray[np.int64]) -> list[_Carried]:
        with float64():  # which is a thread's own
            x = jnp.asarray(np.pad(rows[some], ((0, block - len(some)), (0, 0)), mode="edge"))
            found = [program(flow, x, np.asarray(argument)) for argument in arguments]
            return [_Carried(*(np.asarray(part)[: len(some)] for part in carried)) for carried in found]

    first, *others = np.split(which, range(block, len(which), block))
    yield first, work(first)  # alone, so that no two threads compile the same program
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from zip(others, pool.map(work, others), strict=True)


def _by_tiles(
    flow: _Flow, x: jax.Array, one: Callable[[jax.Array], tuple[jax.Array, jax.Array]]
) -> tuple[jax.Array, jax.Array]:
    return jax.lax.map(one, x, batch_size=flow.tile(x.shape[1]))


@eqx.filter_jit
def _on_grid(flow: _Flow, x: jax.Array, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z (block, d) and its stretch (block, k or 1). One program for any number of steps."""

    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        directions = _directions(flow, x)
        z, before = _to_r_min(flow, x, directions)
        begin, end = flow.ends
        field, weight = partial(_field, flow.denoiser), partial(_gregory, steps)
        z, total = _integrate(field, z, directions, begin, (end - begin) / steps, steps, weight)
        return z, _total(flow, before + total)

    return _by_tiles(flow, x, one)


@eqx.filter_jit
def _adaptively(flow: _Flow, x: jax.Array, tolerance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `_on_grid`, with steps of each row's own; NaN where they became too many."""
    import diffrax  # half a second to load, and only here

    def one(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        directions = _directions(flow, x)
        z, before = _to_r_min(flow, x, directions)
        begin, end = flow.ends
        field = partial(_field, flow.denoiser)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda v, state, _: _stretched(field, state[0], jnp.asarray(v), directions)),
            diffrax.Dopri8(),
            begin,
            end,
            None,
            (z, jnp.zeros(len(directions))),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            adjoint=diffrax.ForwardMode(),
            max_steps=MOST_STEPS,
            throw=False,
        )
        z, total = (jnp.where(solution.result == diffrax.RESULTS.successful, part[0], jnp.nan) for part in solution.ys)
        return z, _total(flow, before + total)

    return _by_tiles(flow, x, one)
