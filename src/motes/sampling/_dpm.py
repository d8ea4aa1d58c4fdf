"""DPM-Solver++: the linear part of the flow solved exactly, x0_hat interpolated (Lu et al. 2022b).

    y_s = e^{-h} y_t + int_0^h e^{-(h-u)} x0_hat(lambda_t + u) du,    h = lambda_s - lambda_t

in the coordinates of `_coordinates.py`, where h is infinite at s = 0; the last step is the first-order one, which ends
in x0_hat. The multistep ones interpolate through what the steps before have seen. A step that is not there, at the
beginning, is so far away that it drops out of the formulas.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from motes._ranges import number
from motes.diffusion._denoiser import Denoiser
from motes.sampling._coordinates import finite_log_step, level, log_step, time_of_level, x0_at
from motes.sampling._loop import Sampler, State


def constant_step(y: jax.Array, x0: jax.Array, h: jax.Array) -> jax.Array:
    """y_s where x0_hat stays what it is: first order (eq. 10 with k = 1); x0_hat itself at h = inf."""
    return x0 + jnp.exp(-h) * (y - x0)


FAR = 1e30  # large, and its double still finite in float32


class Past(NamedTuple):
    """What a step has seen: x0_hat (d,) and the step h to it from the one before."""

    x0: jax.Array
    h: jax.Array


def _nothing(x_t: jax.Array) -> Past:
    return Past(jnp.zeros_like(x_t), jnp.asarray(FAR, x_t.dtype))


class DPMSolver1S(Sampler):
    """DPM-Solver++ of first order: DDIM with eta = 0, under another name.

    Example:
        >>> from motes.sampling import DPMSolver1S
        >>> DPMSolver1S.order, model.sample(3, how={"sampler": DPMSolver1S(), "steps": 8}).shape
        (1, (3, 2))
    """

    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    when: ClassVar[str] = "to see what a first order gives; the same step as ddim and euler"

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        y = constant_step(x_t / schedule.alpha(t), denoiser(x_t, t), log_step(schedule, t, s))
        return schedule.alpha(s) * y, state


class DPMSolver2S(Sampler):
    """DPM-Solver++(2S), algorithm 1 with r = 1/2: x0_hat in the middle of the step, in lambda, stands for all of it.

    Example:
        >>> from motes.sampling import DPMSolver2S
        >>> DPMSolver2S.order, model.sample(3, how={"sampler": DPMSolver2S(), "steps": 8}).shape
        (2, (3, 2))
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    stochastic: ClassVar[bool] = False
    off_grid: ClassVar[bool] = True
    when: ClassVar[str] = "second order without a memory; twice the price of dpmpp_2m"

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        y, x0, h = x_t / schedule.alpha(t), denoiser(x_t, t), log_step(schedule, t, s)

        def second_order() -> jax.Array:
            middle = time_of_level(schedule, jnp.sqrt(level(schedule, t) * level(schedule, s)))
            there = constant_step(y, x0, log_step(schedule, t, middle))
            return constant_step(y, x0_at(denoiser, there, middle), h)

        return schedule.alpha(s) * jax.lax.cond(s > 0, second_order, lambda: constant_step(y, x0, h)), state


class DPMSolver2M(Sampler):
    """DPM-Solver++(2M), algorithm 2: a line through x0_hat now and one step before, taken in the middle of the step.

    Example:
        >>> from motes.sampling import DPMSolver2M
        >>> DPMSolver2M.order, model.sample(3, how={"sampler": DPMSolver2M(), "steps": 8}).shape
        (2, (3, 2))
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    when: ClassVar[str] = "few evaluations, 8 to 64, on any grid"

    def init(self, x_t: jax.Array, grid: jax.Array) -> State:
        return _nothing(x_t)

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule, x0 = denoiser.schedule, denoiser(x_t, t)
        h = finite_log_step(schedule, t, s)
        middle = jnp.where(s > 0, x0 + h / (2 * state.h) * (x0 - state.x0), x0)
        y = constant_step(x_t / schedule.alpha(t), middle, log_step(schedule, t, s))
        return schedule.alpha(s) * y, Past(x0, h)


class DPMSolver2MSDE(Sampler):
    """SDE-DPM-Solver++(2M), section 5: 2M on the reverse diffusion instead of the flow.

    dy = (1 + eta) (x0_hat - y) dlambda + sqrt(2 eta) r dW, W over lambda, has the distribution of the forward process
    at every level, whatever eta is.

    Args:
        eta: from 0, the flow, to 1, the diffusion that ancestral sampling follows.

    Example:
        >>> from motes.sampling import DPMSolver2MSDE
        >>> model.sample(3, how={"sampler": DPMSolver2MSDE(eta=0.5), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 1
    when: ClassVar[str] = "fresh noise on the way, which forgets early errors; 64 evaluations and more"
    eta: float = number(1.0, 0, 1)

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def init(self, x_t: jax.Array, grid: jax.Array) -> State:
        return _nothing(x_t)

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule, x0 = denoiser.schedule, denoiser(x_t, t)
        h, true_h = finite_log_step(schedule, t, s), log_step(schedule, t, s)
        middle = jnp.where(s > 0, x0 + h / (2 * state.h) * (x0 - state.x0), x0)
        y = constant_step(x_t / schedule.alpha(t), middle, (1 + self.eta) * true_h)
        if self.stochastic:
            std = level(schedule, s) * jnp.sqrt(-jnp.expm1(-2 * self.eta * true_h))
            y = y + std * jax.random.normal(key, x_t.shape)
        return schedule.alpha(s) * y, Past(x0, h)


class DPMSolver3M(Sampler):
    """DPM-Solver++(3M): a parabola through x0_hat now and at two steps before, integrated exactly.

    With a = [now, -1], b = [-1, -2] the slopes and c = (a - b) / (h_1 + h_2) the second divided difference,
    x0_hat(u) = x0 + a u + c u (u + h_1). The one of diffusers has half of the term of u^2, which leaves it of second
    order; a test here measures the third.

    Example:
        >>> from motes.sampling import DPMSolver3M
        >>> DPMSolver3M.order, model.sample(3, how={"sampler": DPMSolver3M(), "steps": 8}).shape
        (3, (3, 2))
    """

    order: ClassVar[int] = 3
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    when: ClassVar[str] = "the fewest evaluations, 16 to 64, on a grid that is dense near the data"

    def init(self, x_t: jax.Array, grid: jax.Array) -> State:
        return _nothing(x_t), _nothing(x_t)

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule, x0 = denoiser.schedule, denoiser(x_t, t)
        one, two = state
        h = finite_log_step(schedule, t, s)
        a, b = (x0 - one.x0) / one.h, (one.x0 - two.x0) / two.h
        c = (a - b) / (one.h + two.h)
        first = h + jnp.expm1(-h)  # int_0^h e^{-(h-u)} u du
        second = h**2 - 2 * first  # the same with u^2
        curve = (a + c * one.h) * first + c * second
        y = constant_step(x_t / schedule.alpha(t), x0, log_step(schedule, t, s)) + jnp.where(s > 0, curve, 0.0)
        return schedule.alpha(s) * y, (Past(x0, h), one)


SAMPLERS: dict[str, type[Sampler]] = {
    "dpmpp_1s": DPMSolver1S,
    "dpmpp_2s": DPMSolver2S,
    "dpmpp_2m": DPMSolver2M,
    "dpmpp_3m": DPMSolver3M,
    "dpmpp_2m_sde": DPMSolver2MSDE,
}
"""`[sampler]` of a recipe."""
