"""The weights of a denoiser: its floating-point arrays as one flat vector."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

D = TypeVar("D", bound=eqx.Module)


@eqx.filter_jit
def weights_of(denoiser: eqx.Module) -> jax.Array:
    """The weights (p,)."""
    return ravel_pytree(eqx.filter(denoiser, eqx.is_inexact_array))[0]


def shapes_of(denoiser: eqx.Module) -> tuple[tuple[int, ...], ...]:
    """The shapes of the arrays that the vector of weights holds, in its order."""
    return tuple(leaf.shape for leaf in jax.tree.leaves(eqx.filter(denoiser, eqx.is_inexact_array)))


@eqx.filter_jit
def with_weights(denoiser: D, flat: ArrayLike) -> D:
    """`denoiser` with its weights taken from the vector `flat` (p,)."""
    weights, rest = eqx.partition(denoiser, eqx.is_inexact_array)
    return eqx.combine(ravel_pytree(weights)[1](jnp.asarray(flat)), rest)
