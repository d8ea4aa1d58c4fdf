"""What training minimises, term by term, and how its times are drawn.

    L_simple = E |eps - eps_hat(alpha_t x_0 + sigma_t eps, t)|^2        (Ho et al. 2020, eq. 14)

A loss acts on one row and returns named terms; the trainer sums the terms and takes the mean over rows. Any function
of this signature is a loss: `loss(denoiser, x0 (d,), t (), eps (d,)) -> {"name": ()}`.
"""

from abc import abstractmethod
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from motes.diffusion.denoiser import Denoiser
from motes.diffusion.process import q_sample
from motes.diffusion.schedules import DiscreteVP, Schedule

Loss = Callable[[Denoiser, jax.Array, jax.Array, jax.Array], dict[str, jax.Array]]


def simple(denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
    """Squared error of the noise, the mean over columns: the simple loss."""
    x_t = q_sample(denoiser.schedule, x0, t, eps)
    return {"eps": jnp.mean((denoiser.eps(x_t, t) - eps) ** 2)}


def edm(denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
    """Squared error of x_0, weighted by (r^2 + 1) / r^2 with r = sigma_t / alpha_t, the mean over columns.

    The weight makes a fresh network's loss 1 at every t, for data of unit variance (Karras et al. 2022, table 1).
    """
    x_t = q_sample(denoiser.schedule, x0, t, eps)
    weight = 1 + jnp.exp(denoiser.schedule.log_snr(t))
    return {"x0": weight * jnp.mean((denoiser(x_t, t) - x0) ** 2)}


LOSSES: dict[str, Loss] = {"simple": simple, "edm": edm}


# --- how t is drawn: numbers u in (0, 1), each uniform, placed on the time axis -----------------------------------

Draw = Callable[[jax.Array, int, int | None], jax.Array]
"""(key, n, levels) -> u (n,); with `levels`, each u is the middle of one of that many equal cells."""


def uniform(key: jax.Array, n: int, levels: int | None = None) -> jax.Array:
    """Independent draws."""
    if levels is None:
        return jax.random.uniform(key, (n,))
    return (jax.random.randint(key, (n,), 0, levels) + 0.5) / levels


def antithetic(key: jax.Array, n: int, levels: int | None = None) -> jax.Array:
    """n // 2 + 1 draws followed by their mirror images 1 - u, cut to n: step k comes with step T - 1 - k."""
    half = uniform(key, n // 2 + 1, levels)
    return jnp.concatenate([half, 1 - half])[:n]


def stratified(key: jax.Array, n: int, levels: int | None = None) -> jax.Array:
    """One draw in each of n equal parts of (0, 1): every batch covers the whole range (Kingma et al. 2021)."""
    u = (jnp.arange(n) + jax.random.uniform(key, (n,))) / n
    return u if levels is None else (jnp.minimum(jnp.floor(u * levels), levels - 1) + 0.5) / levels


DRAWS: dict[str, Draw] = {"uniform": uniform, "antithetic": antithetic, "stratified": stratified}


class Times(eqx.Module):
    """The times of a batch: `times(key, n)` -> t (n,)."""

    @abstractmethod
    def __call__(self, key: jax.Array, n: int) -> jax.Array: ...


class StepTimes(Times):
    """Every step of a discrete schedule is equally likely; t = (k+1)/T."""

    schedule: DiscreteVP
    draw: Draw = eqx.field(static=True, default=uniform)

    def __call__(self, key: jax.Array, n: int) -> jax.Array:
        u = self.draw(key, n, self.schedule.steps)
        return self.schedule.t_of_step(jnp.floor(u * self.schedule.steps))


class LogNormalTimes(Times):
    """log(sigma_t / alpha_t) ~ N(mean, std^2) (Karras et al. 2022, table 1)."""

    schedule: Schedule
    mean: float = eqx.field(static=True, default=-1.2)
    std: float = eqx.field(static=True, default=1.2)
    draw: Draw = eqx.field(static=True, default=stratified)

    def __call__(self, key: jax.Array, n: int) -> jax.Array:
        u = jnp.clip(self.draw(key, n, None), 1e-6, 1 - 1e-6)
        return self.schedule.t_of_log_snr(-2 * (self.mean + self.std * ndtri(u)))
