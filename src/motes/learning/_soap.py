"""SOAP: Adam in a basis of its own for each matrix of weights (Vyas et al. 2024, arXiv 2409.11321, algorithm 3).

    L = E[G G^T],    R = E[G^T G]                       of the gradient G of a matrix; E a running mean
    Q_L, Q_R: about the eigenvectors of L, R            by a step of orthogonal iteration, Q = QR(L Q), now and then
    step = Q_L Adam(Q_L^T G Q_R) Q_R^T

Adam scales each weight by itself, which is right where the loss is curved along single weights. In the eigenbases of L
and R it nearly is. What is no matrix, such as a bias, has the identity as its basis, where the step is Adam's.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

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
