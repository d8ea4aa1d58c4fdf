"""Double precision, for as long as it is requested, and arrays brought to where JAX computes."""

from contextlib import AbstractContextManager
from importlib import import_module
from typing import Any

import jax
import numpy as np
from numpy.typing import DTypeLike


def float64(on: bool = True) -> AbstractContextManager[None]:
    """Inside `with float64():` JAX computes in double precision, inside `with float64(False):` in single."""
    # Recent JAX has it at the top, and drops it from where JAX 0.7 has it.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    scope: AbstractContextManager[None] = home.enable_x64(on)
    return scope


def put(array: Any, dtype: DTypeLike = np.float32) -> jax.Array:
    """A copy where JAX computes. `jnp.asarray` and `jnp.zeros` compile a program for each shape and type."""
    return jax.device_put(np.array(array, dtype))
