"""What training minimises, term by term.

    L_simple = E |eps - eps_hat(alpha_t x_0 + sigma_t eps, t)|^2        (Ho et al. 2020, eq. 14)

and its relatives E w |x_0 - x0_hat(x_t, t)|^2, which differ in the weight w and have the same optimum, E[x_0 | x_t].
With SNR = alpha_t^2 / sigma_t^2, L_simple is that of w = SNR, since alpha_t (x_0 - x0_hat) = sigma_t (eps_hat - eps).

A loss acts on one row and returns named terms; the trainer sums the terms and takes the mean over rows. Anything of
this signature is a loss: `loss(denoiser, x0 (d,), t (), eps (d,)) -> {"name": ()}`. One that is a squared error of x_0
says so, `squared`: the mean of x_0 over the rows of a batch is then as good a target (`motes.learning._targets`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from motes._ranges import check_fields, number
from motes.diffusion._denoiser import Denoiser, VarianceDenoiser
from motes.diffusion._discrete import DiscreteVP
from motes.diffusion._process import q_sample
from motes.diffusion._schedules import Schedule
from motes.learning._bounds import step_term

Loss = Callable[[Denoiser, jax.Array, jax.Array, jax.Array], dict[str, jax.Array]]


class Simple(eqx.Module):
    """Squared error of the noise, the mean over columns: the simple loss.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.learning import Simple
        >>> denoiser = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
        >>> terms = Simple()(denoiser, jnp.array([1.0]), jnp.array(1.0), jnp.array([0.0]))  # x_t = 1, eps_hat = 0.5
        >>> print(terms["eps"].round(4))
        0.25
    """

    squared: ClassVar[bool] = True

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"eps": jnp.mean((denoiser.eps(x_t, t) - eps) ** 2)}


# --- squared errors of x_0 with a weight --------------------------------------------------------------------------


class Weighted(eqx.Module):
    """Squared error of x_0 times a weight, the mean over columns; a new one is its weight.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import Weighted
        >>> class Flat(Weighted):
        ...     def weight(self, schedule, t):
        ...         return jnp.ones_like(t)
        >>> print(Flat().weight(VarianceExploding(), jnp.array(0.5)))
        1.0
    """

    squared: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        """w, a number, at the time t ().

        Example:
            >>> from motes.diffusion import VarianceExploding
            >>> from motes.learning import SNR
            >>> print(SNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))  # 1 / 2^2
            0.25
        """

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"x0": self.weight(denoiser.schedule, t) * jnp.mean((denoiser(x_t, t) - x0) ** 2)}


def snr(schedule: Schedule, t: jax.Array) -> jax.Array:
    """alpha_t^2 / sigma_t^2."""
    return jnp.exp(schedule.log_snr(t))


class EDM(Weighted):
    """w = SNR + 1 = (r^2 + 1) / r^2 with r = sigma_t / alpha_t.

    It makes a fresh network's loss 1 at every t, for data of unit variance (Karras et al. 2022, table 1).

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import EDM
        >>> print(EDM().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))
        1.25
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return 1 + snr(schedule, t)


class X0(Weighted):
    """w = 1: the error of x_0 as it is. Little noise counts for next to nothing.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import X0
        >>> print(X0().weight(VarianceExploding(), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return jnp.ones_like(t)


class SNR(Weighted):
    """w = SNR: `Simple`, computed from x0_hat.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import SNR
        >>> print(SNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))
        0.25
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return snr(schedule, t)


class TruncatedSNR(Weighted):
    """w = max(SNR, 1), so that nearly pure noise counts too (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import TruncatedSNR
        >>> print(TruncatedSNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return jnp.maximum(snr(schedule, t), 1)


class MinSNR(Weighted):
    """w = min(SNR, gamma), so that little noise does not count for all (Hang et al. 2023).

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import MinSNR
        >>> print(MinSNR(gamma=5.0).weight(VarianceExploding(), jnp.array(0.1)))
        5.0
    """

    gamma: float = number(5.0, 0, 1e9, open_low=True)

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return jnp.minimum(snr(schedule, t), self.gamma)


class ELBO(Weighted):
    """w = -(dSNR/dt) / 2: the variational bound of infinitely many steps (Kingma et al. 2021, section 5).

    With t uniform on [s, 1] the expected loss times (1 - s) is the part of the bound between these times, in nats a
    column. With any other distribution of t it is another loss.

    Example:
        >>> from motes.diffusion import RectifiedFlow
        >>> from motes.learning import ELBO
        >>> print(ELBO().weight(RectifiedFlow(), jnp.array(0.5)).round(2))
        4.12
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        alpha_rate, sigma_rate = schedule.rates(t)
        return snr(schedule, t) * (sigma_rate / schedule.sigma(t) - alpha_rate / schedule.alpha(t))


# --- the variance of a reverse step as well ----------------------------------------------------------------------


class Hybrid(eqx.Module):
    """L_simple + weight L_vlb, for a denoiser that learns the variance of its steps (Nichol & Dhariwal 2021, eq. 16).

    L_vlb is the variational bound without its prior, T times one step's term, in nats a column. It teaches the variance
    alone: x0_hat in it is held fixed. t must be one of the schedule's steps.

    Example:
        >>> changes = {"denoiser.variance": "learned", "loss.kind": "hybrid", "loss.weight": 0.01}
        >>> motes.load_recipe("ddpm", changes).loss
        Hybrid(weight=0.01)
    """

    weight: float = number(0.001, 0, 1e9, open_low=True)

    def __check_init__(self) -> None:
        check_fields(self)

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        schedule = denoiser.schedule
        assert isinstance(denoiser, VarianceDenoiser) and isinstance(schedule, DiscreteVP)
        x_t, s = q_sample(schedule, x0, t, eps), (jnp.round(t * schedule.steps) - 1) / schedule.steps
        x0_hat, eps_hat = denoiser.x0_and_eps(x_t, t)
        log_variance = denoiser.log_variance(x_t, t, s)
        term = step_term(schedule, x_t, x0, jax.lax.stop_gradient(x0_hat), log_variance, t, s)  # (d,)
        return {"eps": jnp.mean((eps_hat - eps) ** 2), "vlb": self.weight * schedule.steps * jnp.mean(term)}


LOSSES: dict[str, type] = {
    "simple": Simple,
    "edm": EDM,
    "x0": X0,
    "snr": SNR,
    "truncated_snr": TruncatedSNR,
    "elbo": ELBO,
    "min_snr": MinSNR,
    "hybrid": Hybrid,
}
"""`[loss]` of a recipe."""
