"""Optimisers, and the divergence of a training.

Their numbers are inputs of a compiled program, so that other numbers need no other program.

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


class _Rule(eqx.Module):
    """What `make` makes of numbers, some of which a program may trace."""

    make: Callable[..., optax.GradientTransformation] = eqx.field(static=True)
    numbers: tuple[Any, ...]

    def init(self, weights: Any) -> Any:
        return self.make(*self.numbers).init(weights)

    def update(self, slopes: Any, state: Any, weights: Any = None) -> tuple[Any, Any]:
        return self.make(*self.numbers).update(slopes, state, weights)


def with_inputs(make: Callable[..., optax.GradientTransformation], *numbers: float) -> optax.GradientTransformation:
    """`make(*numbers)`, of which `equinox.filter_jit` traces the numbers.

    The parts of its state may not depend on them.
    """
    rule = _Rule(make, tuple(np.asarray(number, jnp.result_type(float)) for number in numbers))
    return optax.GradientTransformation(rule.init, rule.update)


def rising_and_falling(rate: Any, warmup: Any, falls: Any) -> optax.Schedule:
    """The learning rate of the module's equation: r, w and f, all (); f may be infinite, and the rate then stays."""

    def at(step: Any) -> jax.Array:
        rising = step / jnp.maximum(warmup, 1)
        falling = (1 + jnp.cos(jnp.pi * jnp.minimum((step - warmup) / falls, 1))) / 2
        return rate * jnp.where(step < warmup, rising, falling)

    return at


def falling(
    rate: Any, warmup: Any, falls: Any, clip_norm: Any, *scale: optax.GradientTransformation
) -> optax.GradientTransformation:
    """An optimiser with clipped gradients and the rate of `rising_and_falling`, which scales steps by `scale`."""
    rates = optax.scale_by_learning_rate(rising_and_falling(rate, warmup, falls))
    return optax.chain(optax.clip_by_global_norm(clip_norm), *scale, rates)


# --- SOAP -----------------------------------------------------------------------------------------------------------
#
# SOAP: Adam in a basis of its own for each matrix of weights (Vyas et al. 2024, arXiv 2409.11321, algorithm 3).
#
#     L = E[G G^T],    R = E[G^T G]                       of the gradient G of a matrix; E a running mean
#     Q_L, Q_R: about the eigenvectors of L, R            by a step of orthogonal iteration, Q = QR(L Q), now and then
#     step = Q_L Adam(Q_L^T G Q_R) Q_R^T
#
# Adam scales each weight by itself, which is right where the loss is curved along single weights. In the eigenbases of
# L and R it nearly is. What is no matrix, such as a bias, has the identity as its basis, where the step is Adam's.


MEMORY = 0.95  # of all running means
EVERY = 10  # steps from one turn of the bases to the next


class Sides(NamedTuple):
    """A square matrix for each side of a matrix of weights (a, b): L and R, or Q_L and Q_R."""

    left: jax.Array  # (a, a)
    right: jax.Array  # (b, b)


class SoapState(NamedTuple):
    """What SOAP remembers of a vector of weights: of each matrix in it, and Adam's state in their bases."""

    moments: tuple[Sides, ...]
    bases: tuple[Sides, ...]
    adam: Any


def scale_by_soap(shapes: Sequence[tuple[int, ...]]) -> optax.GradientTransformation:
    """Scale the gradient of a vector of weights, in which arrays of these shapes lie one after another."""
    adam = optax.scale_by_adam(MEMORY, MEMORY)
    places, begin = [], 0
    for shape in shapes:
        end = begin + math.prod(shape)
        places += [(slice(begin, end), shape)] if len(shape) == 2 else []
        begin = end

    def matrices(vector: jax.Array) -> list[jax.Array]:
        return [vector[place].reshape(shape) for place, shape in places]

    def each(change: Callable[..., jax.Array], vector: jax.Array, bases: tuple[Sides, ...]) -> jax.Array:
        for (place, _), matrix, basis in zip(places, matrices(vector), bases, strict=True):
            vector = vector.at[place].set(change(matrix, *basis).ravel())
        return vector

    def init(weights: jax.Array) -> SoapState:
        eye = lambda count: jnp.eye(count, dtype=weights.dtype)
        bases = tuple(Sides(eye(a), eye(b)) for _, (a, b) in places)
        return SoapState(jax.tree.map(jnp.zeros_like, bases), bases, adam.init(weights))

    def update(slope: jax.Array, state: SoapState, weights: Any = None) -> tuple[jax.Array, SoapState]:
        averaged = lambda mean, new: MEMORY * mean + (1 - MEMORY) * new
        moments = tuple(
            Sides(averaged(one.left, g @ g.T), averaged(one.right, g.T @ g))
            for one, g in zip(state.moments, matrices(slope), strict=True)
        )

        def turned() -> tuple[Any, jax.Array]:
            bases = jax.tree.map(lambda moment, basis: jnp.linalg.qr(moment @ basis)[0], moments, state.bases)
            return bases, each(_into, each(_out_of, state.adam.mu, state.bases), bases)

        bases, mean = jax.lax.cond(state.adam.count % EVERY == 0, turned, lambda: (state.bases, state.adam.mu))
        step, after = adam.update(each(_into, slope, bases), state.adam._replace(mu=mean))
        return each(_out_of, step, bases), SoapState(moments, bases, after)

    return optax.GradientTransformation(init, update)


def _into(matrix: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return left.T @ matrix @ right


def _out_of(matrix: jax.Array, left: jax.Array, right: jax.Array) -> jax.Array:
    return left @ matrix @ right.T


# --- Has a training diverged? It has in one of three forms, and each is named by the step at which it began ---------
#
# a loss that is not finite
# a weight, or an average of one, that is not finite
# losses that stay above a limit, which those of a network that has learned nothing are far below


FIRST = 8  # losses that tell what a network begins with
WINDOW = 100  # so many losses in a row above the limit are a divergence
AT_END = 10  # and so many where the training ends
TIMES = 3.0  # of the loss of the first steps


def times_the_first(first: float) -> float:
    """The limit of a loss that is a squared error: some times that of the first steps, or as far above it."""
    return first + (TIMES - 1) * abs(first) if first else np.inf


@dataclass(frozen=True)
class DivergenceMonitor:
    """Watches the losses of a training.

    Attributes:
        limit: the least loss of the first steps -> the limit.
        steps: of the training.
    """

    limit: Callable[[float], float]
    steps: int

    def is_sound(self, losses: NDArray[np.float32]) -> bool:
        """Whether the newest of all losses so far (k,) is below the limit."""
        return not len(losses) or bool(losses[-1] <= self._limit(losses))

    def fault(self, losses: NDArray[np.float32], *, finite: bool = True, ended: bool = False) -> str | None:
        """What is wrong, with its step; None: nothing.

        Args:
            losses: of all steps so far, (k,).
            finite: whether all weights are, after the last of them.
            ended: no step comes after these.
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
        above = np.diff(below) - 1  # losses in a row
        least = np.append(np.full(len(above) - 1, WINDOW), AT_END if ended else WINDOW)
        if not (above >= least).any():
            return None
        run = int(np.argmax(above >= least))
        begin = int(below[run]) + 1
        end = begin + min(above[run], WINDOW)
        return (
            f"the loss was {losses[begin]:.3g} at step {begin + 1:,} of {self.steps:,} and stayed above {limit:.3g} "
            f"up to step {end:,}; it began with {losses[:FIRST].min():.3g}"
        )

    def _limit(self, losses: NDArray[np.float32]) -> np.float64:
        return np.float64(self.limit(float(losses[:FIRST].min())))
