"""The process from a time on: what q_t is blurred from is q_{t0}, whose points are seen as data.

    y = x_{t0} / tau,    x_s = alpha_s y + sigma_s eps,    s = (t - t0) / (1 - t0)

with tau^2 = alpha_{t0}^2 + sigma_{t0}^2.

So everything that is computed of data, such as a likelihood, is computed of x_{t0} as well. Dividing by tau keeps the
unit variance that standardised data has.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from motes.diffusion._denoiser import Denoiser
from motes.diffusion._process import q_posterior
from motes.diffusion._schedules import Schedule


class LaterSchedule(Schedule):
    """alpha and sigma of y.

    Args:
        whole: the schedule from t = 0 on.
        t0: where this one begins, in [0, 1).
    """

    whole: Schedule
    t0: jax.Array

    @property
    def tau(self) -> jax.Array:
        """The standard deviation of x_{t0} for data of unit variance."""
        return jnp.hypot(self.whole.alpha(self.t0), self.whole.sigma(self.t0))

    def time(self, s: ArrayLike) -> jax.Array:
        """t of the whole schedule."""
        return self.t0 + (1 - self.t0) * jnp.asarray(s, float)

    def alpha(self, s: ArrayLike) -> jax.Array:
        return self.whole.alpha(self.time(s)) / self.whole.alpha(self.t0)

    def sigma(self, s: ArrayLike) -> jax.Array:
        before = self.alpha(s) * self.whole.sigma(self.t0)
        return jnp.sqrt(jnp.maximum(self.whole.sigma(self.time(s)) ** 2 - before**2, 0)) / self.tau

    def t_of_log_snr(self, log_snr: ArrayLike) -> jax.Array:
        ratio = jnp.exp(-jnp.asarray(log_snr, float))  # (sigma / alpha)^2 of y
        whole = (ratio * self.tau**2 + self.whole.sigma(self.t0) ** 2) / self.whole.alpha(self.t0) ** 2
        return jnp.clip((self.whole.t_of_log_snr(-jnp.log(whole)) - self.t0) / (1 - self.t0), 0, 1)


class Later(Denoiser):
    """E[y | x_s]: what `denoiser` says of x_0, said of x_{t0} / tau.

    Args:
        schedule: that of y.
        denoiser: E[x_0 | x_t].
    """

    schedule: LaterSchedule
    denoiser: Denoiser

    @classmethod
    def of(cls, denoiser: Denoiser, t0: ArrayLike) -> Later:
        """From time `t0` in [0, 1) on."""
        return cls(LaterSchedule(denoiser.schedule, jnp.asarray(t0, float)), denoiser)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        later, whole = self.schedule, self.denoiser.schedule
        time, x = later.time(t), later.tau * x_t
        return q_posterior(whole, x, self.denoiser(x, time), time, later.t0).mean / later.tau
