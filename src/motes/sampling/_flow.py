"""The probability flow, solved: nothing is drawn at random but the start.

    dy/dr = eps_hat(y, r),    from r_1 down to 0

in the coordinates of `_coordinates.py` (Karras et al. 2022, eq. 1; Song et al. 2021, eq. 13). The last step of all, to
s = 0, is Euler's, which ends in x0_hat.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from motes._ranges import number
from motes.diffusion._denoiser import Denoiser
from motes.sampling._coordinates import eps_at, level, time_of_level
from motes.sampling._loop import Sampler, State


class Euler(Sampler):
    """Euler's method. In these coordinates it is DDIM with eta = 0, and DPM-Solver++(1S): three names of one step.

    Example:
        >>> from motes.sampling import Euler
        >>> Euler.order, model.sample(3, how={"sampler": Euler(), "steps": 8}).shape
        (1, (3, 2))
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    when: ClassVar[str] = "to see what a first order gives; the same step as ddim and dpmpp_1s"

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        y, width = x_t / schedule.alpha(t), level(schedule, s) - level(schedule, t)
        return schedule.alpha(s) * (y + width * denoiser.eps(x_t, t)), state


class Heun(Sampler):
    """Heun's method on the probability flow, Karras et al. 2022, algorithm 1; the last step, to s = 0, is Euler's.

    Example:
        >>> from motes.sampling import Heun
        >>> Heun.order, model.sample(3, how={"sampler": Heun(), "steps": 8}).shape
        (2, (3, 2))
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False
    when: ClassVar[str] = "robust, and without a memory; 64 evaluations and more"

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        y = heun(denoiser, x_t / schedule.alpha(t), t, s)
        return schedule.alpha(s) * y, state


def heun(denoiser: Denoiser, y: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
    """One step of Heun's method from y (d,) at time t to time s < t; to s = 0 Euler's."""
    schedule = denoiser.schedule
    width, slope = level(schedule, s) - level(schedule, t), eps_at(denoiser, y, t)
    euler = y + width * slope
    return jax.lax.cond(
        s > 0,
        lambda: y + width * (slope + eps_at(denoiser, euler, s)) / 2,
        lambda: euler,
    )


class GradientEstimation(Sampler):
    """Euler's method with gamma eps_hat + (1 - gamma) eps_hat of the step before (Permenter & Yuan 2023, algorithm 2).

    The first step and the last are Euler's, the last so that it ends in x0_hat.

    Args:
        gamma: 1 is Euler's method; the paper takes 2. With 1.5 and equal steps in r it is Adams and Bashforth's method
            of second order, and nearly so on other smooth grids; with any other the order is 1.

    Example:
        >>> from motes.sampling import GradientEstimation
        >>> model.sample(3, how={"sampler": GradientEstimation(gamma=2.0), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    when: ClassVar[str] = "8 to 64 evaluations; where dpmpp_3m is in doubt"
    gamma: float = number(1.5, -100, 100)

    def init(self, x_t: jax.Array, grid: jax.Array) -> State:
        return jnp.zeros_like(x_t), jnp.zeros((), bool)  # eps_hat of the step before, and whether there was one

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule, (before, known) = denoiser.schedule, state
        eps = denoiser.eps(x_t, t)
        slope = jnp.where(known & (s > 0), self.gamma * eps + (1 - self.gamma) * before, eps)
        y = x_t / schedule.alpha(t) + (level(schedule, s) - level(schedule, t)) * slope
        return schedule.alpha(s) * y, (eps, jnp.ones((), bool))


class Adaptive(Sampler):
    """Tsitouras' method of order 5 with steps of its own size (Diffrax), from each time of the grid to the next.

    A grid of one step, 1 to 0, leaves all of it to the solver. Each row has its own steps; a block is done when its
    slowest row is.

    Args:
        rtol: error that a step may add, relative to y. float32 allows little below 1e-5.
        atol: the same, in standardised units.

    Example:
        >>> from motes.sampling import Adaptive
        >>> model.sample(3, how={"sampler": Adaptive(rtol=1e-3, atol=1e-3), "grid": [1.0, 0.0]}).shape
        (3, 2)
    """

    order: ClassVar[int] = 5
    evaluations: ClassVar[None] = None
    stochastic: ClassVar[bool] = False
    off_grid: ClassVar[bool] = True
    when: ClassVar[str] = "an error that is requested instead of a number of steps; as a reference"
    rtol: float = number(1e-4, 0, 1, open_low=True)
    atol: float = number(1e-4, 0, 1, open_low=True)

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        import diffrax  # slow to load, and wanted here alone

        schedule = denoiser.schedule
        r_t, r_s = level(schedule, t), level(schedule, s)

        def flow(minus_r: ArrayLike, y: jax.Array, args: None) -> jax.Array:
            # eps_hat goes to 0 with r, and its digits do so sooner; below this level they no longer count.
            r = jnp.maximum(-jnp.asarray(minus_r), LEAST)
            return -eps_at(denoiser, y, time_of_level(schedule, r))

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(flow),
            diffrax.Tsit5(),
            t0=-r_t,
            t1=-r_s,
            dt0=None,
            y0=x_t / schedule.alpha(t),
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
        )
        return schedule.alpha(s) * solution.ys[-1], state


LEAST = 1e-3


SAMPLERS: dict[str, type[Sampler]] = {
    "euler": Euler,
    "heun": Heun,
    "gradient_estimation": GradientEstimation,
    "adaptive": Adaptive,
}
"""`[sampler]` of a recipe."""
