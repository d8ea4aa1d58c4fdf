"""Optimisers, and the detection of divergence.

The numbers of an optimiser are inputs of the compiled program, so that other numbers do not need another program.

    rate(k) = r k / w for k < w, then r (1 + cos(pi min((k - w) / f, 1))) / 2
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray


class _TracedOptimiser(eqx.Module):
    """The optimiser `make(*numbers)`, whose numbers may be traced."""

    make: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    numbers: tuple[Any, ...]

    def init(self, weights: Any) -> Any:
        return self.make(*self.numbers).init(weights)

    def update(self, slopes: Any, state: Any, weights: Any = None) -> tuple[Any, Any]:
        return self.make(*self.numbers).update(slopes, state, weights)


def with_inputs(make: Callable[..., optax.GradientTransformation], *numbers: float) -> optax.GradientTransformation:
    """Return `make(*numbers)` as an optimiser whose numbers `equinox.filter_jit` traces.

    The structure of its state must not depend on the numbers.
    """
    rule = _TracedOptimiser(make, tuple(np.asarray(number, jnp.result_type(float)) for number in numbers))
    return optax.GradientTransformation(rule.init, rule.update)


def rising_and_falling(rate: Any, warmup: Any, falls: Any) -> optax.Schedule:
    """Return the learning rate of the module's equation; r, w and f are (). If f is infinite, the rate is constant."""

    def at(step: Any) -> jax.Array:
        rising = step / jnp.maximum(warmup, 1)
        falling = (1 + jnp.cos(jnp.pi * jnp.minimum((step - warmup) / falls, 1))) / 2
        return rate * jnp.where(step < warmup, rising, falling)

    return at


def falling(
    rate: Any, warmup: Any, falls: Any, clip_norm: Any, *scale: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Return an optimiser that clips gradients, scales them by `scale`, and uses the rate of `rising_and_falling`."""
    rates = optax.scale_by_learning_rate(rising_and_falling(rate, warmup, falls))
    return optax.chain(optax.clip_by_global_norm(clip_norm), *scale, rates)


# --- SOAP -----------------------------------------------------------------------------------------------------------
#
# SOAP: Adam in an eigenbasis for each weight matrix (Vyas et al. 2024, arXiv 2409.11321, algorithm 3).
#
#     L = E[G G^T],    R = E[G^T G]                       for the gradient G of a matrix; E is a running mean
#     Q_L, Q_R: approximate eigenvectors of L, R          by a step of orthogonal iteration, Q = QR((L + r I) Q), at
#                                                         intervals; r is a tenth of the mean eigenvalue of L
#     step = Q_L Adam(Q_L^T G Q_R) Q_R^T
#
# Adam scales each weight separately, which is right if the Hessian is diagonal. In the eigenbases of L and R it nearly
# is. Arrays other than matrices, such as biases, have the identity as their basis, so that the step is Adam's.


MEMORY = 0.95  # decay of all running means
EVERY = 10  # steps between two updates of the bases
RIDGE = 0.1  # r, as a share of the mean eigenvalue


class FactorPair(NamedTuple):
    """A square matrix for each side of a weight matrix (a, b): L and R, or Q_L and Q_R."""

    left: jax.Array  # (a, a)
    right: jax.Array  # (b, b)


class SoapState(NamedTuple):
    """The state of SOAP for a vector of weights: moments and bases of each matrix, and Adam's state in these bases."""

    moments: tuple[FactorPair, ...]
    bases: tuple[FactorPair, ...]
    adam: Any


def scale_by_soap(shapes: Sequence[tuple[int, ...]]) -> optax.GradientTransformation:
    """Return the SOAP scaling of gradients of a vector of weights that concatenates arrays of these shapes."""
    adam = optax.scale_by_adam(MEMORY, MEMORY)
    places, begin = [], 0
    for shape in shapes:
        end = begin + math.prod(shape)
        places += [(slice(begin, end), shape)] if len(shape) == 2 else []
        begin = end

    def matrices(vector: jax.Array) -> list[jax.Array]:
        return [vector[place].reshape(shape) for place, shape in places]

    def each(change: Callable[..., jax.Array], vector: jax.Array, bases: tuple[FactorPair, ...]) -> jax.Array:
        for (place, _), matrix, basis in zip(places, matrices(vector), bases, strict=True):
            vector = vector.at[place].set(change(matrix, *basis).ravel())
        return vector

    def init(weights: jax.Array) -> SoapState:
        eye = lambda count: jnp.eye(count, dtype=weights.dtype)
        bases = tuple(FactorPair(eye(a), eye(b)) for _, (a, b) in places)
        return SoapState(jax.tree.map(jnp.zeros_like, bases), bases, adam.init(weights))

    def update(slope: jax.Array, state: SoapState, weights: Any = None) -> tuple[jax.Array, SoapState]:
        averaged = lambda mean, new: MEMORY * mean + (1 - MEMORY) * new
        moments = tuple(
            FactorPair(averaged(one.left, g @ g.T), averaged(one.right, g.T @ g))
            for one, g in zip(state.moments, matrices(slope), strict=True)
        )

        def next_basis(moment: jax.Array, basis: jax.Array) -> jax.Array:
            # One step of power iteration with M + r I, which has the eigenvectors of M. Without r, the directions in
            # which there is no gradient would be made of rounding errors, and differ with the number of devices.
            return jnp.linalg.qr(moment @ basis + RIDGE * jnp.trace(moment) / len(moment) * basis)[0]

        def turned() -> tuple[Any, jax.Array]:
            bases = jax.tree.map(next_basis, moments, state.bases)
            return bases, each(_to_basis, each(_from_basis, state.adam.mu, state.bases), bases)

        bases, mean = jax.lax.cond(state.adam.count % EVERY == 0, turned, lambda: (state.bases, state.adam.mu))
        step, after = adam.update(each(_to_basis, slope, bases), state.adam._replace(mu=mean))
        return each(_from_basis, step, bases), SoapState(moments, bases, after)

    return optax.GradientTransformation(init, update)


def _to_basis(matrix: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return left.T @ matrix @ right


def _from_basis(matrix: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return left @ matrix @ right.T


# --- Divergence -----------------------------------------------------------------------------------------------------
#
# A training has diverged if one of these occurs; messages name the step at which it began:
#
# a loss that is not finite
# a weight, or an average of weights, that is not finite
# losses that stay above a limit, far above the losses of an untrained network


FIRST = 8  # first losses, whose minimum is the initial loss
WINDOW = 100  # number of consecutive losses above the limit that count as divergence
AT_END = 10  # the same at the end of the training
TIMES = 3.0  # the limit as a multiple of the initial loss


def times_the_first(first: float) -> float:
    """Return the limit for a squared error: `TIMES` the initial loss, or as far above a negative one."""
    return first + (TIMES - 1) * abs(first) if first else np.inf


@dataclass(frozen=True)
class DivergenceMonitor:
    """Detects divergence from the losses of a training.

    Attributes:
        limit: the minimum loss of the first steps -> the limit.
        steps: number of steps of the training.
    """

    limit: Callable[[float], float]
    steps: int

    def is_sound(self, losses: NDArray[np.float32]) -> bool:
        """Return whether the last of the losses (k,) is within the limit."""
        return not len(losses) or bool(losses[-1] <= self._limit(losses))

    def fault(self, losses: NDArray[np.float32], *, finite: bool = True, ended: bool = False) -> str | None:
        """Describe the divergence, with its step; None if there is none.

        Args:
            losses: losses of all steps so far, (k,).
            finite: whether all weights are finite after the last step.
            ended: whether the training has ended.
        """
        if not np.isfinite(losses).all():
            wrong = int(np.argmin(np.isfinite(losses)))
            return f"the loss was {losses[wrong]} at step {wrong + 1:,} of {self.steps:,}"
        if not finite:
            return f"the weights were not finite after step {len(losses):,} of {self.steps:,}"
        if not len(losses):
            return None
        limit = self._limit(losses)
        below = np.concatenate([[-1], np.flatnonzero(losses <= limit), [len(losses)]])
        above = np.diff(below) - 1  # number of consecutive losses
        least = np.append(np.full(len(above) - 1, WINDOW), AT_END if ended else WINDOW)
        if not (above >= least).any():
            return None
        run = int(np.argmax(above >= least))
        begin = int(below[run]) + 1
        end = begin + min(above[run], WINDOW)
        return (
            f"the loss was {losses[begin]:.3g} at step {begin + 1:,} of {self.steps:,} and stayed above {limit:.3g} "
            f"up to step {end:,}; the initial loss was {losses[:FIRST].min():.3g}"
        )

    def _limit(self, losses: NDArray[np.float32]) -> np.float64:
        return np.float64(self.limit(float(losses[:FIRST].min())))
