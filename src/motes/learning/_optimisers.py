"""Optimisers whose numbers are inputs of a compiled program, so that other numbers need no other program.

rate(k) = r k / w for k < w, then r (1 + cos(pi min((k - w) / f, 1))) / 2
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


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
