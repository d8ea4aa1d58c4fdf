"""What training minimises, term by term, and how its times are drawn.

    L_simple = E |eps - eps_hat(alpha_t x_0 + sigma_t eps, t)|^2        (Ho et al. 2020, eq. 14)

and its relatives E w |x_0 - x0_hat(x_t, t)|^2, which differ in the weight w and have the same optimum, E[x_0 | x_t].
With SNR = alpha_t^2 / sigma_t^2, L_simple is that of w = SNR, since alpha_t (x_0 - x0_hat) = sigma_t (eps_hat - eps).

A loss acts on one row and returns named terms; the trainer sums the terms and takes the mean over rows. Any function
of this signature is a loss: `loss(denoiser, x0 (d,), t (), eps (d,)) -> {"name": ()}`.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from motes.diffusion.denoiser import Denoiser, VarianceDenoiser
from motes.diffusion.process import q_sample
from motes.diffusion.schedules import DiscreteVP, Schedule
from motes.learning.bounds import step_term

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


# --- squared errors of x_0 with a weight --------------------------------------------------------------------------

Weight = Callable[[Schedule, jax.Array], jax.Array]
"""(schedule, t ()) -> w ()."""


class Weighted(eqx.Module):
    """Squared error of x_0 times `weight`, the mean over columns."""

    weight: Weight

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"x0": self.weight(denoiser.schedule, t) * jnp.mean((denoiser(x_t, t) - x0) ** 2)}


def one(schedule: Schedule, t: jax.Array) -> jax.Array:
    """w = 1: the error of x_0 as it is. Little noise counts for next to nothing."""
    return jnp.ones_like(t)


def snr(schedule: Schedule, t: jax.Array) -> jax.Array:
    """w = SNR: `simple`, computed from x0_hat."""
    return jnp.exp(schedule.log_snr(t))


def truncated_snr(schedule: Schedule, t: jax.Array) -> jax.Array:
    """w = max(SNR, 1), so that nearly pure noise counts too (Salimans & Ho 2022, section 4)."""
    return jnp.maximum(snr(schedule, t), 1)


class MinSNR(eqx.Module):
    """w = min(SNR, gamma), so that little noise does not count for all (Hang et al. 2023)."""

    gamma: float = eqx.field(static=True, default=5.0)

    def __call__(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return jnp.minimum(snr(schedule, t), self.gamma)


def elbo(schedule: Schedule, t: jax.Array) -> jax.Array:
    """w = -(dSNR/dt) / 2: the variational bound of infinitely many steps (Kingma et al. 2021, section 5).

    With t uniform on [s, 1] the expected loss times (1 - s) is the part of the bound between these times, in nats a
    column. With any other law of t it is another loss.
    """
    alpha_rate, sigma_rate = schedule.rates(t)
    return snr(schedule, t) * (sigma_rate / schedule.sigma(t) - alpha_rate / schedule.alpha(t))


LOSSES: dict[str, Loss] = {
    "simple": simple,
    "edm": edm,
    "x0": Weighted(one),
    "snr": Weighted(snr),
    "truncated_snr": Weighted(truncated_snr),
    "elbo": Weighted(elbo),
}


# --- the variance of a reverse step as well ----------------------------------------------------------------------


class Hybrid(eqx.Module):
    """L_simple + weight L_vlb, for a denoiser that learns the variance of its steps (Nichol & Dhariwal 2021, eq. 16).

    L_vlb is the variational bound without its prior, T times one step's term, in nats a column. It teaches the variance
    alone: x0_hat in it is held fixed. t must be one of the schedule's steps.
    """

    weight: float = eqx.field(static=True, default=0.001)

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        schedule = denoiser.schedule
        assert isinstance(denoiser, VarianceDenoiser) and isinstance(schedule, DiscreteVP)
        x_t, s = q_sample(schedule, x0, t, eps), (jnp.round(t * schedule.steps) - 1) / schedule.steps
        x0_hat, eps_hat = denoiser.x0_and_eps(x_t, t)
        log_variance = denoiser.log_variance(x_t, t, s)
        term = step_term(schedule, x_t, x0, jax.lax.stop_gradient(x0_hat), log_variance, t, s)  # (d,)
        return {"eps": jnp.mean((eps_hat - eps) ** 2), "vlb": self.weight * schedule.steps * jnp.mean(term)}


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


class Drawn(NamedTuple):
    """The times of a batch, what each row's loss is to be multiplied by (None: 1), and what `learn` wants to know."""

    t: jax.Array  # (n,)
    weight: jax.Array | None = None  # (n,)
    cell: jax.Array | None = None  # (n,)


class Times(eqx.Module):
    """A law of t, and a way to draw from it: `times(key, n)` -> t (n,).

    Training draws with `batch`, which may remember something from step to step; nothing unless a class says so.
    """

    @property
    @abstractmethod
    def draw(self) -> Draw:
        """How u is drawn."""

    @abstractmethod
    def place(self, u: jax.Array) -> jax.Array:
        """t for each u in [0, 1]: where u is uniform, t has the law."""

    @property
    def levels(self) -> int | None:
        """How many values t has; None for a continuous law."""
        return None

    def __call__(self, key: jax.Array, n: int) -> jax.Array:
        return self.place(self.draw(key, n, self.levels))

    def init(self) -> Any:
        """What is remembered before the first batch."""
        return None

    def batch(self, key: jax.Array, n: int, memory: Any) -> Drawn:
        """`n` times. The mean of weight f(t) over them is, on average over keys, the mean of f under the law."""
        return Drawn(self(key, n))

    def learn(self, memory: Any, drawn: Drawn, losses: jax.Array, counts: jax.Array) -> Any:
        """What is remembered after a batch: `losses` (n,) are without weights, where `counts` (n,) is true."""
        return memory


class StepTimes(Times):
    """Every step of a discrete schedule is equally likely; t = (k+1)/T."""

    schedule: DiscreteVP
    draw: Draw = eqx.field(static=True, default=uniform)

    @property
    def levels(self) -> int | None:
        return self.schedule.steps

    def place(self, u: jax.Array) -> jax.Array:
        return self.schedule.t_of_step(jnp.minimum(jnp.floor(u * self.schedule.steps), self.schedule.steps - 1))


class LogNormalTimes(Times):
    """log(sigma_t / alpha_t) ~ N(mean, std^2) (Karras et al. 2022, table 1)."""

    schedule: Schedule
    mean: float = eqx.field(static=True, default=-1.2)
    std: float = eqx.field(static=True, default=1.2)
    draw: Draw = eqx.field(static=True, default=stratified)

    def place(self, u: jax.Array) -> jax.Array:
        return self.schedule.t_of_log_snr(-2 * (self.mean + self.std * _normal(u)))


class UniformTimes(Times):
    """t ~ U(least, 1). At t = 0 itself there is nothing to learn, and weights may be infinite."""

    least: float = eqx.field(static=True, default=1e-3)
    draw: Draw = eqx.field(static=True, default=stratified)

    def place(self, u: jax.Array) -> jax.Array:
        return self.least + (1 - self.least) * u


class LogitNormalTimes(Times):
    """log(t / (1 - t)) ~ N(mean, std^2): most times are neither data nor noise (Esser et al. 2024, section 3.1)."""

    mean: float = eqx.field(static=True, default=0.0)
    std: float = eqx.field(static=True, default=1.0)
    draw: Draw = eqx.field(static=True, default=stratified)

    def place(self, u: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(self.mean + self.std * _normal(u))


def _normal(u: jax.Array) -> jax.Array:
    """The quantile of N(0, 1) at u, kept finite."""
    return ndtri(jnp.clip(u, 1e-6, 1 - 1e-6))
