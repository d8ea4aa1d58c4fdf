"""Chains of Gaussian steps: x_s is drawn from a Gaussian that x_t and x0_hat give.

    y_s = x0_hat + sqrt(r_s^2 - c^2) eps_hat + c z,    c = eta r_s sqrt(1 - r_s^2 / r_t^2),    z ~ N(0, I)

(Song et al. 2021, DDIM, eqs. 12 and 16, in the coordinates of `_coordinates.py`.) With eta = 1 it is
q(x_s | x_t, x0_hat) of Ho et al. 2020, with eta = 0 a step of the probability flow. Any s < t will do: on every k-th
step of a discrete schedule these are the samplers of Nichol & Dhariwal 2021, section 4, and of DDIM.
"""

from __future__ import annotations

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from motes._ranges import number
from motes.diffusion._denoiser import Denoiser, VarianceDenoiser
from motes.diffusion._process import q_posterior, q_transition
from motes.learning._bounds import Variance, check_knows_variance, check_variance
from motes.sampling._coordinates import level, log_step
from motes.sampling._loop import Sampler, State


class Ancestral(Sampler):
    """Draw x_s from q(x_s | x_t, x0_hat), Ho et al. 2020, algorithm 2.

    Args:
        variance: "beta", that of q(x_t | x_s); "posterior", that of q(x_s | x_t, x_0); or "learned", what the denoiser
            itself says.
        noiseless_last: leave the noise out of the last step, to s = 0, as the algorithm says.

    Example:
        >>> from motes.sampling import Ancestral
        >>> model.sample(3, how={"sampler": Ancestral("posterior"), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "to follow DDPM; many steps"
    variance: Variance = eqx.field(static=True, default="beta")
    noiseless_last: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        check_variance(self.variance)

    def check(self, denoiser: Denoiser) -> None:
        if self.variance == "learned":
            check_knows_variance(denoiser)

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        mean, variance = q_posterior(denoiser.schedule, x_t, denoiser(x_t, t), t, s)
        if self.variance == "beta":
            variance = q_transition(denoiser.schedule, x_t, s, t).variance
        elif self.variance == "learned":
            assert isinstance(denoiser, VarianceDenoiser)  # `check` has seen to it
            variance = jnp.exp(denoiser.log_variance(x_t, t, s))
        if self.noiseless_last:
            variance = jnp.where(s > 0, variance, 0.0)
        return mean + jnp.sqrt(variance) * jax.random.normal(key, x_t.shape), state


class DDIM(Sampler):
    """The equation above, Song et al. 2021 (DDIM), eq. 12.

    Args:
        eta: from 0, no noise, to 1, that of ancestral sampling with the posterior's variance.

    Example:
        >>> from motes.sampling import DDIM
        >>> model.sample(3, how={"sampler": DDIM(eta=0.5), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    when: ClassVar[str] = "to follow DDIM; eta says how much noise, 0 none and 1 that of ancestral"
    eta: float = number(0.0, 0, 1)

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        alpha_s, r_s = schedule.alpha(s), level(schedule, s)
        y, x0 = x_t / schedule.alpha(t), denoiser(x_t, t)
        h = log_step(schedule, t, s)
        fresh = self.eta**2 * -jnp.expm1(-2 * h)  # c^2 / r_s^2
        # (y - x0_hat) / r_t is eps_hat, and r_s / r_t = exp(-h) is 0 at s = 0: the last step ends in x0_hat.
        y_s = x0 + jnp.exp(-h) * jnp.sqrt(1 - fresh) * (y - x0)
        if self.stochastic:
            y_s = y_s + r_s * jnp.sqrt(fresh) * jax.random.normal(key, x_t.shape)
        return alpha_s * y_s, state


SAMPLERS: dict[str, type[Sampler]] = {
    "ancestral": Ancestral,
    "ddim": DDIM,
}
"""`[sampler]` of a recipe."""
