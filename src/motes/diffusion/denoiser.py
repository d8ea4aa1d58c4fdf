"""The one interface of everything that denoises.

    x0_hat = denoiser(x_t, t), E[x_0 | x_t] or an estimate of it

Learned denoisers and exact ones share it, so that one can stand in for the other anywhere. A denoiser acts on one
point, x_t of shape (d,), at one time; `vmap` it for more.
"""

from abc import abstractmethod

import equinox as eqx
import jax

from motes.diffusion.process import eps_from_x0
from motes.diffusion.schedules import Schedule


class Denoiser(eqx.Module):
    """E[x_0 | x_t] under `schedule`."""

    schedule: eqx.AbstractVar[Schedule]

    @abstractmethod
    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """x0_hat (d,) for x_t (d,) at time t."""

    def eps(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """eps_hat (d,) for x_t (d,) at time t > 0: the same estimate, said as noise."""
        return eps_from_x0(self.schedule, x_t, self(x_t, t), t)
