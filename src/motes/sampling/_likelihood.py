"""The log-likelihood of points, exact or by Hutchinson's estimate, with the errors of either.

    log p(x) = log N(z_1; 0, I) + divergence integral - d log tau

`_divergence.py` is about one row. Rows go in padded blocks, several at a time. Each row halves its own steps until two
grids agree, so that its answer does not depend on the rows beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes._precision import float64
from motes.diffusion._denoiser import Denoiser, Given
from motes.diffusion._discrete import DiscreteVP
from motes.learning._denoisers import Learned, LearnedVariance
from motes.learning._networks import InSingle
from motes.sampling._divergence import GREGORY, Divergence, Flow, Hutchinson, adaptively, on_grid, v_of
from motes.sampling._loop import on_all_cores

Array = NDArray[np.float64]
Solver = Literal["grid", "adaptive"]

R_MIN = 1e-3  # the least noise, in standard deviations of the data
TOLERANCE = 1e-4  # nats
STEP = 0.085  # in v, of the coarsest grid
HALVINGS = 5  # of the step, at most
# Half the step divides the error by this nearly always; by 16 in the limit, and before it by more. Where a network sees
# the t of a discrete schedule the slope has a kink at each step of that, and nothing is sure.
SHRINKS, SHRINKS_WITH_KINKS = 5, 1


class Likelihood(NamedTuple):
    """Nats per row, all (n,) in float64.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import log_likelihood
        >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=80.0))
        >>> found = log_likelihood(oracle, [[0.0], [1.0]])
        >>> found._fields, found.log_prob.shape
        (('log_prob', 'error', 'standard_error'), (2,))
    """

    log_prob: Array
    """log p of each row; NaN where the flow left the range of numbers."""
    error: Array
    """An estimate of the error that is left by integrating. On trained models nine true ones in ten were below it, and
    998 of 1,000 below ten times it. Infinite with NaN, and large far from all data."""
    standard_error: Array
    """That of a random divergence, over its probes; 0 for the exact one."""

    def __repr__(self) -> str:
        return f"Likelihood({len(self.log_prob):,} rows, mean log p {self.log_prob.mean():.4g})"


def log_likelihood(
    denoiser: Denoiser,
    x: ArrayLike,
    *,
    given: Given | None = None,
    divergence: Divergence = "exact",
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
        given: what is known of each row, arrays with a leading n; log p is then given that.
        divergence: "exact", one derivative per column, or, for many columns, an estimate from random directions,
            `Hutchinson("rademacher", key)`. It is log p that is unbiased, not p.
        solver: "grid", or "adaptive", Diffrax's Dopri8: a reference, and far slower. It holds each of its steps to
            `tolerance`, not log p, and its `error` is the difference to a tenth of that precision.
        tolerance: in nats per row; `error` tells where the finest grid did not reach it. From 1e-4 up a network
            computes in single precision, which is 1e-6 nats or less of the error; all the rest is in double precision.
        r_min: the noise level, in standard deviations of the data, below which the score is held.
        on_block: called with the number of rows done so far, after each block.

    Raises:
        ValueError: another shape, or an argument out of range.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import log_likelihood
        >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=80.0))
        >>> log_likelihood(oracle, [[0.0], [1.0]]).log_prob.round(3).tolist()  # log N(x; 0, 1)
        [-0.919, -1.419]
    """
    rows = np.asarray(x, dtype=np.float64)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise ValueError(f"points have shape {rows.shape}; expected (n, d) with n >= 1 and d >= 1, all finite.")
    if any(len(known) != len(rows) for known in jax.tree.leaves(given)):
        raise ValueError(f"what is given is not of as many rows as there are, {len(rows)}.")
    _check(divergence, solver, tolerance)
    with float64():
        denoiser = _in_double(denoiser, single=tolerance >= TOLERANCE)
        noise = math.exp(-float(denoiser.schedule.log_snr(1.0)) / 2)
        end = jnp.asarray(v_of(noise))
    if not 0 < r_min < noise:
        raise ValueError(f"r_min = {r_min:g}; expected above 0 and below the noise at t = 1, {noise:g}.")
    flow = Flow(denoiser, r_min, end, divergence)
    with np.errstate(over="ignore", invalid="ignore"):  # the error of such rows says it
        found = (_on_grids if solver == "grid" else _adaptive)(flow, rows, given, tolerance, on_block or _nothing)
    finite = np.isfinite(found.log_prob)
    return Likelihood(
        np.where(finite, found.log_prob, np.nan), np.where(finite, found.error, np.inf), found.standard_error
    )


def _in_double(denoiser: Denoiser, *, single: bool) -> Denoiser:
    """`denoiser` in double precision, but for its network where `single` says so: that takes 0.6 of the time.

    Of the precision of the arrays, so that no program converts them at every step.
    """
    has_network = lambda part: single and isinstance(part, Learned | LearnedVariance)

    def convert(part: Any) -> Any:
        if has_network(part):
            return eqx.tree_at(lambda learned: learned.network, part, InSingle(part.network))
        return part.astype(float) if eqx.is_inexact_array(part) else part

    converted: Denoiser = jax.tree.map(convert, denoiser, is_leaf=has_network)
    return converted


def _check(divergence: object, solver: str, tolerance: float) -> None:
    if not (isinstance(divergence, Hutchinson) or divergence == "exact"):
        raise ValueError(f"divergence = {divergence!r}; expected 'exact' or Hutchinson(kind, key).")
    if solver not in ("grid", "adaptive"):
        raise ValueError(f"solver = {solver!r}; expected 'grid' or 'adaptive'.")
    if not 0 < tolerance < math.inf:
        raise ValueError(f"tolerance = {tolerance}; expected a number of nats above 0.")


def _nothing(done: int) -> None: ...


class _Carried(NamedTuple):
    """Where points have come to, and what the flow did on the way."""

    z: Array
    """At t = 1, (n, d)."""
    integral: Array
    """The integral of the divergence: by each random direction (n, k), or the exact one (n, 1)."""

    def log_prob(self, flow: Flow) -> Array:
        """(n, k) or (n, 1)."""
        each = -0.5 * (self.z**2 + math.log(2 * math.pi) + math.log1p(flow.r_min**2))
        return np.asarray(each.sum(axis=1, keepdims=True) + self.integral)

    def away(self, other: _Carried) -> Array:
        """How far from `other` log p is at most, (n,): differences of opposite signs do not cancel here."""
        moved = np.linalg.norm(self.z - other.z, axis=1) * np.linalg.norm(self.z, axis=1)
        return np.asarray(moved + np.abs(self.integral.mean(axis=1) - other.integral.mean(axis=1)))


def _on_grids(
    flow: Flow, rows: Array, given: Given | None, tolerance: float, on_block: Callable[[int], None]
) -> Likelihood:
    steps = max(
        math.ceil((float(flow.end) - flow.begin) / STEP), 2 * len(GREGORY)
    )  # enough for the weights of both ends
    columns = flow.probes or 1
    z, integral, error = np.empty_like(rows), np.empty((len(rows), columns)), np.empty(len(rows))
    shrinks = SHRINKS_WITH_KINKS if isinstance(flow.denoiser.schedule, DiscreteVP) else SHRINKS
    left, done = np.arange(len(rows)), 0
    for halving in range(1, HALVINGS + 1):
        grids = [steps, 2 * steps] if halving == 1 else [steps << halving]
        again = []
        for some, found in _in_blocks(on_grid, flow, rows, given, left, grids, compiled=halving > 1):
            before = found[0] if halving == 1 else _Carried(z[some], integral[some])
            z[some], integral[some] = found[-1]
            error[some] = found[-1].away(before) / shrinks
            again.append(some[~(error[some] <= tolerance)] if halving < HALVINGS else some[:0])
            done += len(some) - len(again[-1])
            on_block(done)
        left = np.concatenate(again)
        if not len(left):
            break
    return _likelihood(flow, _Carried(z, integral), error)


def _adaptive(
    flow: Flow, rows: Array, given: Given | None, tolerance: float, on_block: Callable[[int], None]
) -> Likelihood:
    parts, done, every, tolerances = [], 0, np.arange(len(rows)), [10 * tolerance, tolerance]
    for some, (loose, tight) in _in_blocks(adaptively, flow, rows, given, every, tolerances):
        parts.append(_likelihood(flow, tight, tight.away(loose)))
        done += len(some)
        on_block(done)
    return Likelihood(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _likelihood(flow: Flow, carried: _Carried, error: Array) -> Likelihood:
    values = carried.log_prob(flow)
    k = values.shape[1]
    spread = values.std(axis=1, ddof=1) / math.sqrt(k) if k > 1 else np.zeros(len(values))
    return Likelihood(values.mean(axis=1), error, spread)


def _of_rows(given: Given | None, rows: NDArray[np.int64]) -> Given | None:
    return jax.tree.map(lambda part: np.asarray(part)[rows], given)


def _in_blocks(
    program: Callable[..., tuple[jax.Array, jax.Array]],
    flow: Flow,
    rows: Array,
    given: Given | None,
    which: NDArray[np.int64],
    arguments: Sequence[float],
    *,
    compiled: bool = False,
) -> Iterator[tuple[NDArray[np.int64], list[_Carried]]]:
    """Some of `which` rows at a time, and where `program(flow, x, given, argument)` brings them for each argument.

    Every block is padded to one shape, so that one compiled program serves any number of rows.
    """
    block = flow.block(rows.shape[1])

    def work(some: NDArray[np.int64]) -> list[_Carried]:
        padded = np.pad(some, (0, block - len(some)), mode="edge")
        with float64():  # which is a thread's own
            x, known = jnp.asarray(rows[padded]), _of_rows(given, padded)
            found = [program(flow, x, known, np.asarray(argument)) for argument in arguments]
            return [_Carried(*(np.asarray(part)[: len(some)] for part in carried)) for carried in found]

    blocks = np.split(which, range(block, len(which), block))
    yield from zip(blocks, on_all_cores(work, blocks, compiled=compiled), strict=True)
