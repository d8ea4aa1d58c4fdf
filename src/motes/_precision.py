"""Double precision, for as long as it is requested."""

from contextlib import AbstractContextManager
from importlib import import_module

import jax


def float64(on: bool = True) -> AbstractContextManager[None]:
    """Inside `with float64():` JAX computes in double precision, inside `with float64(False):` in single."""
    # Recent JAX has it at the top, and drops it from where JAX 0.7 has it.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    scope: AbstractContextManager[None] = home.enable_x64(on)
    return scope
