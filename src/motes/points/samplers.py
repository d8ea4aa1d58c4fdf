"""Samplers, in coordinates in which all schedules are the same: y = x / alpha, r = sigma / alpha, lambda = -log r.

    dy/dr = (y - x0_hat) / r = eps_hat,              the probability flow (Karras et al. 2022, eq. 1 with s = 1)
    dy = 2 eps_hat dr + sqrt(2 r) dW,                the reverse diffusion, as r falls; W over -dr
    y_r = y_0 + r eps                                in distribution

`y` is a point (d,). In terms of lambda, which is infinite at s = 0, the flow is dy/dlambda = x0_hat - y. A sampler
is one step of the loop in `points/sampling.py`.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from motes.points.denoisers import Denoiser, VarianceDenoiser
from motes.points.process import q_posterior, q_transition
from motes.points.sampling import Sampler, State
from motes.points.schedules import Schedule
from motes.points.variance import Variance, check_knows_variance
from motes.ranges import number


def level(schedule: Schedule, t: Array) -> Array:
    """Return the noise level r at time t; 0 at t = 0."""
    return schedule.sigma(t) / schedule.alpha(t)


def time_of_level(schedule: Schedule, r: Array) -> Array:
    """Return the time in [0, 1] at which the noise level is r; 1 if r is above the level at t = 1."""
    return schedule.t_of_log_snr(-2 * jnp.log(r))


def log_step(schedule: Schedule, t: Array, s: Array) -> Array:
    """Return h = lambda_s - lambda_t > 0, so that r_s = exp(-h) r_t; infinite at s = 0."""
    return (schedule.log_snr(s) - schedule.log_snr(t)) / 2


def finite_log_step(schedule: Schedule, t: Array, s: Array) -> Array:
    """Return `log_step`, or 1 at s = 0, where the result is not used."""
    return jnp.where(s > 0, log_step(schedule, t, jnp.where(s > 0, s, t / 2)), 1.0)


def eps_at(denoiser: Denoiser, y: Array, t: Array) -> Array:
    """Return eps_hat (d,) at the point y (d,), for t > 0."""
    return denoiser.eps(denoiser.schedule.alpha(t) * y, t)


# --- Chains of Gaussian steps: x_s is drawn from a Gaussian given x_t and x0_hat ------------------------------------
#
#     y_s = x0_hat + sqrt(r_s^2 - c^2) eps_hat + c z,    c = eta r_s sqrt(1 - r_s^2 / r_t^2),    z ~ N(0, I)
#
# (Song et al. 2021, DDIM, eqs. 12 and 16, in the coordinates above.) With eta = 1 this is
# q(x_s | x_t, x0_hat) of Ho et al. 2020, with eta = 0 a step of the probability flow. Any s < t is possible: with every
# k-th step of a discrete schedule these are the samplers of Nichol & Dhariwal 2021, section 4, and of DDIM.


class Ancestral(Sampler):
    """Ancestral sampling: draws x_s from q(x_s | x_t, x0_hat) (Ho et al. 2020, algorithm 2).

    Args:
        variance: "beta", the variance of q(x_t | x_s); "posterior", the variance of q(x_s | x_t, x_0); or "learned",
            the denoiser's own estimate.
        denoise_last: add no noise in the last step, to s = 0, as in the algorithm.

    Example:
        >>> from motes.points import Ancestral
        >>> model.sample(3, sampling={"sampler": Ancestral("posterior"), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "to reproduce DDPM; needs many steps"
    variance: Variance = eqx.field(static=True, default="beta")
    denoise_last: bool = eqx.field(static=True, default=True)

    def check(self, denoiser: Denoiser) -> None:
        if self.variance == "learned":
            check_knows_variance(denoiser)

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        mean, variance = q_posterior(denoiser.schedule, x_t, denoiser(x_t, t), t, s)
        if self.variance == "beta":
            variance = q_transition(denoiser.schedule, x_t, s, t).variance
        elif self.variance == "learned":
            assert isinstance(denoiser, VarianceDenoiser)  # guaranteed by `check`
            variance = jnp.exp(denoiser.log_variance(x_t, t, s))
        if self.denoise_last:
            variance = jnp.where(s > 0, variance, 0.0)
        return mean + jnp.sqrt(variance) * jax.random.normal(key, x_t.shape), state


class DDIM(Sampler):
    """A Gaussian step with adjustable noise (Song et al. 2021, DDIM, eq. 12).

    Args:
        eta: from 0, no noise, to 1, the noise of ancestral sampling with the posterior's variance.

    Example:
        >>> from motes.points import DDIM
        >>> model.sample(3, sampling={"sampler": DDIM(eta=0.5), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    when: ClassVar[str] = "to reproduce DDIM; eta sets the noise, 0 (none) to 1 (ancestral sampling)"
    eta: float = number(0.0, 0, 1)

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
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


# --- Solvers of the probability flow: only the start is random ------------------------------------------------------
#
#     dy/dr = eps_hat(y, r),    from r_1 down to 0
#
# in the coordinates above (Karras et al. 2022, eq. 1; Song et al. 2021, eq. 13). The last step, to s = 0, is an Euler
# step, which ends in x0_hat.


class Euler(Sampler):
    """Euler's method. In these coordinates it equals DDIM with eta = 0 and first-order DPM-Solver++.

    Example:
        >>> from motes.points.samplers import Euler
        >>> Euler.order, model.sample(3, sampling={"sampler": Euler(), "steps": 8}).shape
        (1, (3, 2))
    """

    order: ClassVar[int] = 1
    when: ClassVar[str] = "first-order baseline; the same step as ddim"

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule = denoiser.schedule
        y, width = x_t / schedule.alpha(t), level(schedule, s) - level(schedule, t)
        return schedule.alpha(s) * (y + width * denoiser.eps(x_t, t)), state


class Heun(Sampler):
    """Heun's method for the probability flow (Karras et al. 2022, algorithm 1); the last step, to s = 0, is Euler's.

    Example:
        >>> from motes.points import Heun
        >>> Heun.order, model.sample(3, sampling={"sampler": Heun(), "steps": 8}).shape
        (2, (3, 2))
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    when: ClassVar[str] = "robust and single-step; 64 evaluations or more"

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule = denoiser.schedule
        return schedule.alpha(s) * heun(denoiser, x_t / schedule.alpha(t), t, s), state


def heun(denoiser: Denoiser, y: Array, t: Array, s: Array) -> Array:
    """Take one step of Heun's method from y (d,) at time t to time s < t; an Euler step if s = 0."""
    schedule = denoiser.schedule
    width, slope = level(schedule, s) - level(schedule, t), eps_at(denoiser, y, t)
    euler = y + width * slope
    return jax.lax.cond(s > 0, lambda: y + width * (slope + eps_at(denoiser, euler, s)) / 2, lambda: euler)


class GradientEstimation(Sampler):
    """Euler's method with gamma eps_hat + (1 - gamma) (previous eps_hat) (Permenter & Yuan 2023, algorithm 2).

    The first and the last step are Euler steps, so that the last one ends in x0_hat.

    Args:
        gamma: 1 is Euler's method; the paper uses 2. With 1.5 and equal steps in r it is the second-order
            Adams-Bashforth method, and nearly so on other smooth grids; with any other value the order is 1.

    Example:
        >>> from motes.points.samplers import GradientEstimation
        >>> model.sample(3, sampling={"sampler": GradientEstimation(gamma=2.0), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    when: ClassVar[str] = "8 to 64 evaluations; an alternative to dpmpp_3m"
    gamma: float = number(1.5, -100, 100)

    def init(self, x_t: Array, grid: Array) -> State:
        return jnp.zeros_like(x_t), jnp.zeros((), bool)  # the previous eps_hat, and whether there is one

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule, (before, known) = denoiser.schedule, state
        eps = denoiser.eps(x_t, t)
        slope = jnp.where(known & (s > 0), self.gamma * eps + (1 - self.gamma) * before, eps)
        y = x_t / schedule.alpha(t) + (level(schedule, s) - level(schedule, t)) * slope
        return schedule.alpha(s) * y, (eps, jnp.ones((), bool))


LEAST = 1e-3  # noise level below which eps_hat loses its digits


class Adaptive(Sampler):
    """Tsitouras' method of order 5 with adaptive steps (Diffrax), from each time of the grid to the next.

    With a grid of one step, 1 to 0, the solver chooses all steps. Each row has its own steps; a block takes as long as
    its slowest row.

    Args:
        rtol: error tolerance of a step, relative to y. In float32, values far below 1e-5 are not reached.
        atol: absolute error tolerance of a step, in standardised units.

    Example:
        >>> from motes.points.samplers import Adaptive
        >>> model.sample(3, sampling={"sampler": Adaptive(rtol=1e-3, atol=1e-3), "grid": [1.0, 0.0]}).shape
        (3, 2)
    """

    order: ClassVar[int] = 5
    evaluations: ClassVar[None] = None
    off_grid: ClassVar[bool] = True
    when: ClassVar[str] = "to set an error tolerance instead of a number of steps; as a reference"
    rtol: float = number(1e-4, 0, 1, open_low=True)
    atol: float = number(1e-4, 0, 1, open_low=True)

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        import diffrax  # slow to load, and only used here

        schedule = denoiser.schedule
        r_t, r_s = level(schedule, t), level(schedule, s)

        def flow(minus_r: ArrayLike, y: Array, args: None) -> Array:
            # eps_hat goes to 0 with r, and loses its digits earlier.
            r = jnp.maximum(-jnp.asarray(minus_r), LEAST)
            return -eps_at(denoiser, y, time_of_level(schedule, r))

        term, y = diffrax.ODETerm(flow), x_t / schedule.alpha(t)
        steps = diffrax.PIDController(rtol=self.rtol, atol=self.atol)
        found = diffrax.diffeqsolve(term, diffrax.Tsit5(), t0=-r_t, t1=-r_s, dt0=None, y0=y, stepsize_controller=steps)
        return schedule.alpha(s) * found.ys[-1], state


# --- DPM-Solver++: solves the linear part of the flow exactly and interpolates x0_hat (Lu et al. 2022b) -------------
#
#     y_s = e^{-h} y_t + int_0^h e^{-(h-u)} x0_hat(lambda_t + u) du,    h = lambda_s - lambda_t
#
# in the coordinates above, where h is infinite at s = 0; the last step is a first-order step, which ends in x0_hat. The
# multistep solvers interpolate through x0_hat of previous steps. At the beginning, missing previous steps are placed so
# far away that they drop out of the formulas.


def constant_step(y: Array, x0: Array, h: Array) -> Array:
    """Return y_s for constant x0_hat: first order (eq. 10 with k = 1); x0_hat itself at h = inf."""
    return x0 + jnp.exp(-h) * (y - x0)


FAR = 1e30  # large, but twice this is still finite in float32


class Past(NamedTuple):
    """The state of a multistep solver: the previous x0_hat (d,) and the step h that led to it."""

    x0: Array
    h: Array


def _no_past(x_t: Array) -> Past:
    return Past(jnp.zeros_like(x_t), jnp.asarray(FAR, x_t.dtype))


def extrapolate(past: Past, x0: Array, h: Array, s: Array) -> Array:
    """Return x0_hat in the middle of a step of length h, extrapolated linearly from the previous step; x0 if s = 0."""
    return jnp.where(s > 0, x0 + h / (2 * past.h) * (x0 - past.x0), x0)


class DPMSolver2M(Sampler):
    """DPM-Solver++(2M), algorithm 2: extrapolates x0_hat linearly from this and the previous step.

    Example:
        >>> from motes.points.samplers import DPMSolver2M
        >>> DPMSolver2M.order, model.sample(3, sampling={"sampler": DPMSolver2M(), "steps": 8}).shape
        (2, (3, 2))
    """

    order: ClassVar[int] = 2
    when: ClassVar[str] = "8 to 64 evaluations, on any grid"

    def init(self, x_t: Array, grid: Array) -> State:
        return _no_past(x_t)

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule, x0 = denoiser.schedule, denoiser(x_t, t)
        h = finite_log_step(schedule, t, s)
        y = constant_step(x_t / schedule.alpha(t), extrapolate(state, x0, h, s), log_step(schedule, t, s))
        return schedule.alpha(s) * y, Past(x0, h)


class DPMSolver2MSDE(DPMSolver2M):
    """SDE-DPM-Solver++(2M), section 5: 2M for the reverse diffusion instead of the flow.

    dy = (1 + eta) (x0_hat - y) dlambda + sqrt(2 eta) r dW, W over lambda, has the distribution of the forward process
    at every level, for any eta.

    Args:
        eta: from 0, the flow, to 1, the diffusion that ancestral sampling follows.

    Example:
        >>> from motes.points.samplers import DPMSolver2MSDE
        >>> model.sample(3, sampling={"sampler": DPMSolver2MSDE(eta=0.5), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 2
    when: ClassVar[str] = "fresh noise in each step forgets early errors; 64 evaluations or more"
    eta: float = number(1.0, 0, 1)

    @property
    def stochastic(self) -> bool:
        return self.eta > 0

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule, x0 = denoiser.schedule, denoiser(x_t, t)
        h, true_h = finite_log_step(schedule, t, s), log_step(schedule, t, s)
        y = constant_step(x_t / schedule.alpha(t), extrapolate(state, x0, h, s), (1 + self.eta) * true_h)
        if self.stochastic:
            std = level(schedule, s) * jnp.sqrt(-jnp.expm1(-2 * self.eta * true_h))
            y = y + std * jax.random.normal(key, x_t.shape)
        return schedule.alpha(s) * y, Past(x0, h)


class DPMSolver3M(Sampler):
    """DPM-Solver++(3M): integrates a parabola through x0_hat of this step and the two before exactly.

    With the slopes a = [now, -1] and b = [-1, -2] and the second divided difference c = (a - b) / (h_1 + h_2),
    x0_hat(u) = x0 + a u + c u (u + h_1). The implementation in diffusers has half of the quadratic term, which makes it
    second order; a test here measures third order.

    Example:
        >>> from motes.points import DPMSolver3M
        >>> DPMSolver3M.order, model.sample(3, sampling={"sampler": DPMSolver3M(), "steps": 8}).shape
        (3, (3, 2))
    """

    order: ClassVar[int] = 3
    when: ClassVar[str] = "best accuracy for 16 to 64 evaluations, on a grid dense near the data"

    def init(self, x_t: Array, grid: Array) -> State:
        return _no_past(x_t), _no_past(x_t)

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
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


# --- Solvers of the reverse diffusion: fresh noise in each step, so that early errors are forgotten -----------------
#
#     dy = 2 eps_hat dr + sqrt(2 r) dW,    r from r_1 down to 0, W over -dr
#
# in the coordinates above (Song et al. 2021, eq. 6; Karras et al. 2022, eq. 6 with beta = 1/sigma).
# At every r, y has the distribution of the forward process. `EDMStochastic` moves up and down the levels instead. The
# last step, to s = 0, ends in x0_hat and adds no noise.


class EulerMaruyama(Sampler):
    """The Euler-Maruyama method for the reverse diffusion; its noise has variance r_t^2 - r_s^2.

    Example:
        >>> from motes.points.samplers import EulerMaruyama
        >>> EulerMaruyama.stochastic, model.sample(3, sampling={"sampler": EulerMaruyama(), "steps": 8}).shape
        (True, (3, 2))
    """

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "the simplest solver of the reverse diffusion; hundreds of steps"

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule = denoiser.schedule
        r_t, r_s = level(schedule, t), level(schedule, s)
        y, eps = x_t / schedule.alpha(t), denoiser.eps(x_t, t)
        noise = jnp.sqrt(r_t**2 - r_s**2) * jax.random.normal(key, x_t.shape)
        # In the step to s = 0 the drift alone would overshoot x0_hat and rely on the noise to bring it back.
        return schedule.alpha(s) * jnp.where(s > 0, y + 2 * (r_s - r_t) * eps + noise, y - r_t * eps), state


class EDMStochastic(Sampler):
    """The stochastic sampler of Karras et al. 2022, algorithm 2: adds noise, then takes a step of Heun's method.

    The noise raises the level from r_t to (1 + gamma) r_t, gamma = min(churn / N, sqrt(2) - 1) for N steps, but never
    above the level at t = 1.

    Args:
        churn: S_churn, the amount of noise added over all steps.
        from_level: S_tmin, the r below which no noise is added.
        to_level: S_tmax, the r above which no noise is added.
        noise: S_noise, the factor of the added noise; a little above 1 corrects a denoiser that removes too much.

    Example:
        >>> from motes.points.samplers import EDMStochastic
        >>> model.sample(3, sampling={"sampler": EDMStochastic(churn=4.0, noise=1.003), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 2
    evaluations: ClassVar[int] = 2
    off_grid: ClassVar[bool] = True
    when: ClassVar[str] = "fresh noise with Heun's method; 128 evaluations or more"
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

    def init(self, x_t: Array, grid: Array) -> State:
        return jnp.minimum(self.churn / (len(grid) - 1), 2**0.5 - 1)

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule, gamma = denoiser.schedule, state
        r, y = level(schedule, t), x_t / schedule.alpha(t)
        inside = (gamma > 0) & (self.from_level <= r) & (r <= self.to_level) & (s > 0)
        up = jnp.where(inside, time_of_level(schedule, (1 + gamma) * r), t)
        # Outside the interval exactly 0, not the root of a rounding error.
        variance = jnp.where(inside, jnp.maximum(level(schedule, up) ** 2 - r**2, 0.0), 0.0)
        y = y + self.noise * jnp.sqrt(variance) * jax.random.normal(key, x_t.shape)
        return schedule.alpha(s) * heun(denoiser, y, up, s), state


# --- Langevin steps: a random walk at one noise level that keeps its distribution -----------------------------------
#
#     y <- y - delta eps_hat / r + sqrt(2 delta) z,    delta = 2 (snr r)^2,    z ~ N(0, I)
#
# in the coordinates above, where -eps_hat / r is the score. snr is the quantity of that name in Song et al. 2021
# (algorithms 4 and 5), with expected norms instead of measured ones, since a point must not depend on other points.
# Steps of finite length converge to a distribution that is too wide, by about (snr r)^2 in its variance.


def langevin(denoiser: Denoiser, y: Array, t: Array, steps: int, snr: float, key: Array) -> Array:
    """Take `steps` Langevin steps from y (d,) at the level of time t > 0, each of length 2 (snr r)^2."""
    r = level(denoiser.schedule, t)

    def step(y: Array, key: Array) -> tuple[Array, None]:
        kick = 2 * snr * r * jax.random.normal(key, y.shape)
        return y - 2 * snr**2 * r * eps_at(denoiser, y, t) + kick, None

    return jax.lax.scan(step, y, jax.random.split(key, steps))[0]


class AnnealedLangevin(Sampler):
    """Annealed Langevin dynamics: only Langevin steps, at each level in turn (Song & Ermon 2019, algorithm 1).

    The last step, to s = 0, ends in x0_hat.

    Args:
        corrections: number of Langevin steps at each level.
        snr: signal-to-noise ratio that sets the step length, 2 (snr r)^2.

    Example:
        >>> from motes.points.samplers import AnnealedLangevin
        >>> model.sample(3, sampling={"sampler": AnnealedLangevin(corrections=2), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "sampling by the score alone; hundreds of levels"
    corrections: int = number(5, 1, 10_000)
    snr: float = number(0.3, 0, 0.99, open_low=True)

    @property
    def evaluations(self) -> int:
        return self.corrections

    def step(self, denoiser: Denoiser, x_t: Array, t: Array, s: Array, state: State, key: Array) -> tuple[Array, State]:
        schedule = denoiser.schedule
        walk = lambda: langevin(denoiser, x_t / schedule.alpha(t), s, self.corrections, self.snr, key)
        y = jax.lax.cond(s > 0, walk, lambda: denoiser(x_t, t))
        return schedule.alpha(s) * y, state


# --- All samplers by their names in recipes, on the command line and in `Model.sample` ------------------------------


SAMPLERS: dict[str, type[Sampler]] = {
    "ancestral": Ancestral,
    "ddim": DDIM,
    "euler": Euler,
    "heun": Heun,
    "gradient_estimation": GradientEstimation,
    "adaptive": Adaptive,
    "dpmpp_2m": DPMSolver2M,
    "dpmpp_3m": DPMSolver3M,
    "dpmpp_2m_sde": DPMSolver2MSDE,
    "euler_maruyama": EulerMaruyama,
    "churn": EDMStochastic,
    "langevin": AnnealedLangevin,
}
