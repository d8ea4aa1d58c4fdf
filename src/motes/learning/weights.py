"""The weights of a denoiser: its floating-point arrays, but for those of `Fixed` parts, as one flat vector."""

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

D = TypeVar("D", bound=eqx.Module)


class Fixed(eqx.Module):
    """A part of a denoiser that is known before the training, which leaves it as it is."""


def _split(denoiser: D) -> tuple[D, D]:
    """Its weights, and all the rest."""
    learned = jax.tree.map(
        lambda part: not isinstance(part, Fixed) and eqx.is_inexact_array(part),
        denoiser,
        is_leaf=lambda part: isinstance(part, Fixed),
    )
    return eqx.partition(denoiser, learned)


@eqx.filter_jit
def weights_of(denoiser: eqx.Module) -> jax.Array:
    """The weights (p,)."""
    return ravel_pytree(_split(denoiser)[0])[0]


@eqx.filter_jit
def with_weights(denoiser: D, flat: ArrayLike) -> D:
    """`denoiser` with its weights taken from the vector `flat` (p,)."""
    weights, rest = _split(denoiser)
    return eqx.combine(ravel_pytree(weights)[1](jnp.asarray(flat)), rest)
