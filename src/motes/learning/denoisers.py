"""A network plus a schedule: learned denoisers.

x0_hat = denoiser(x_t, t), an estimate of E[x_0 | x_t]
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from motes.diffusion.denoiser import Denoiser
from motes.diffusion.process import x0_from_eps
from motes.diffusion.schedules import Schedule

Network = Callable[[jax.Array, jax.Array], jax.Array]
"""(x (d,), time feature ()) -> (d,); any Equinox module with this call will do."""


class NoisePredictor(Denoiser):
    """The network gives eps_hat from x_t and t (Ho et al. 2020)."""

    network: Network
    schedule: Schedule

    def eps(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.network(x_t, t)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return x0_from_eps(self.schedule, x_t, self.eps(x_t, t), t)


class Preconditioned(Denoiser):
    """The network's input and output are scaled to unit variance at every t (Karras et al. 2022, eq. 7, table 1).

    With the noise-to-signal ratio r = sigma_t / alpha_t and y = x_t / alpha_t,
    x0_hat = c_skip y + c_out F(c_in y, log(r) / 4), for data of standard deviation `sigma_data`.
    """

    network: Network
    schedule: Schedule
    sigma_data: float = eqx.field(static=True, default=1.0)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        alpha = self.schedule.alpha(t)
        y = x_t / alpha
        ratio = self.schedule.sigma(t) / alpha
        total = jnp.sqrt(ratio**2 + self.sigma_data**2)
        # At t = 0 the network does not count, c_out = 0; the floor keeps its input finite.
        c_noise = jnp.log(jnp.maximum(ratio, 1e-6)) / 4
        c_skip, c_out = (self.sigma_data / total) ** 2, ratio * self.sigma_data / total
        return c_skip * y + c_out * self.network(y / total, c_noise)
