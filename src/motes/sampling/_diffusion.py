"""The reverse diffusion, solved: fresh noise at every step, so that errors are forgotten on the way.

    dy = 2 eps_hat dr + sqrt(2 r) dW,    r from r_1 down to 0, W over -dr

in the coordinates of `_coordinates.py` (Song et al. 2021, eq. 6; Karras et al. 2022, eq. 6 with beta = 1/sigma). The
distribution of y at every r is that of the forward process. `Churn` walks up and down the levels instead. The last step
of all, to s = 0, ends in x0_hat and draws nothing.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from motes._ranges import number
from motes.diffusion._denoiser import Denoiser
from motes.sampling._coordinates import finite_log_step, level, time_of_level, x0_at
from motes.sampling._dpm import constant_step
from motes.sampling._flow import heun
from motes.sampling._loop import Sampler, State


class EulerMaruyama(Sampler):
    """The equation above, one step at a time; its noise has the variance r_t^2 - r_s^2.

    Example:
        >>> from motes.sampling import EulerMaruyama
        >>> EulerMaruyama.stochastic, model.sample(3, how={"sampler": EulerMaruyama(), "steps": 8}).shape
        (True, (3, 2))
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "the plainest solver of the reverse diffusion; hundreds of steps"

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        r_t, r_s = level(schedule, t), level(schedule, s)
        y, eps = x_t / schedule.alpha(t), denoiser.eps(x_t, t)
        noise = jnp.sqrt(r_t**2 - r_s**2) * jax.random.normal(key, x_t.shape)
        # To s = 0 the drift alone would go past x0_hat, to the other side, and rely on the noise to bring it back.
        return schedule.alpha(s) * jnp.where(s > 0, y + 2 * (r_s - r_t) * eps + noise, y - r_t * eps), state


class StochasticHeun(Sampler):
    """Heun's method on the reverse diffusion, its linear part solved exactly: weak order 2.

    In lambda it is dy = 2 (x0_hat - y) dlambda + sqrt(2) r dW. A first step keeps x0_hat as it is, with all the noise
    in it; a second takes x0_hat to run straight to the one that is found there (the stochastic exponential Runge-Kutta
    idea of Gonzalez et al. 2023, SEEDS, with the end for its second node).

    Example:
        >>> from motes.sampling import StochasticHeun
        >>> model.sample(3, how={"sampler": StochasticHeun(), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "the reverse diffusion to a high accuracy"

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        x0 = denoiser(x_t, t)

        def second_order() -> jax.Array:
            h = finite_log_step(schedule, t, s)
            noise = level(schedule, s) * jnp.sqrt(-jnp.expm1(-2 * h)) * jax.random.normal(key, x_t.shape)
            y = constant_step(x_t / schedule.alpha(t), x0, 2 * h) + noise
            share = 1 + jnp.expm1(-2 * h) / (2 * h)  # int_0^h 2 e^{-2(h-u)} u/h du
            return y + share * (x0_at(denoiser, y, s) - x0)

        return schedule.alpha(s) * jax.lax.cond(s > 0, second_order, lambda: x0), state


class Churn(Sampler):
    """Add noise, from r_t up to (1 + gamma) r_t, then Heun's step down to r_s (Karras et al. 2022, algorithm 2).

    gamma = min(churn / N, sqrt(2) - 1) for N steps. The level never goes above that of t = 1.

    Args:
        churn: S_churn, how much noise is added over all the steps.
        from_level: S_tmin, the r below which none is added.
        to_level: S_tmax, the r above which none is added.
        noise: S_noise, the factor of what is added; a little above 1 makes up for a denoiser that takes away too much.

    Example:
        >>> from motes.sampling import Churn
        >>> model.sample(3, how={"sampler": Churn(churn=4.0, noise=1.003), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    off_grid: ClassVar[bool] = True
    when: ClassVar[str] = "fresh noise with heun's method; 128 evaluations and more"
    churn: float = number(10.0, 0, 1e6)
    from_level: float = number(0.0, 0, 1e9)
    to_level: float = number(1e6, 0, 1e9)
    noise: float = number(1.0, 0, 100)

    def __check_init__(self) -> None:
        if self.from_level > self.to_level:
            raise ValueError(
                f"from_level = {self.from_level:g}, to_level = {self.to_level:g}; expected from_level <= to_level."
            )

    @property
    def stochastic(self) -> bool:
        return self.churn > 0

    def init(self, x_t: jax.Array, grid: jax.Array) -> State:
        return jnp.minimum(self.churn / (len(grid) - 1), 2**0.5 - 1)

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule, gamma = denoiser.schedule, state
        r, y = level(schedule, t), x_t / schedule.alpha(t)
        inside = (gamma > 0) & (self.from_level <= r) & (r <= self.to_level) & (s > 0)
        up = jnp.where(inside, time_of_level(schedule, (1 + gamma) * r), t)
        # Outside, not even the root of a rounding error.
        variance = jnp.where(inside, jnp.maximum(level(schedule, up) ** 2 - r**2, 0.0), 0.0)
        y = y + self.noise * jnp.sqrt(variance) * jax.random.normal(key, x_t.shape)
        return schedule.alpha(s) * heun(denoiser, y, up, s), state


SAMPLERS: dict[str, type[Sampler]] = {
    "euler_maruyama": EulerMaruyama,
    "stochastic_heun": StochasticHeun,
    "churn": Churn,
}
"""`[sampler]` of a recipe."""
