"""Exercises of lab 7: the differential equations of diffusion, and the samplers that solve them."""

import numpy as np

from motes.course.exercises import exercise

# --- easy: one step of the probability flow --------------------------------------------------------------------------


def _ddim_inputs(rng):
    calls = []
    for _ in range(3):
        s, t = np.sort(rng.uniform(0.2, 1.4, size=2))
        points = rng.normal(size=(2, 5, 2))
        calls.append((*points, np.cos(t), np.sin(t), np.cos(s), np.sin(s)))
    return calls


@exercise(
    lab=7,
    level="easy",
    question="One step of DDIM without noise, from x_t to x_s, given x0_hat.",
    inputs=_ddim_inputs,
    wrong={
        "the noise is scaled for time t, but x_s has the noise of time s": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: alpha_s * x0_hat + x_t - alpha_t * x0_hat
        ),
        "the point is scaled for time t, but x_s has the signal of time s": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_t * x0_hat + sigma_s / sigma_t * (x_t - alpha_t * x0_hat)
            )
        ),
        "eps_hat is computed with alpha_s, but x_t has the signal of time t": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * x0_hat + sigma_s / sigma_t * (x_t - alpha_s * x0_hat)
            )
        ),
        "a variance where a standard deviation belongs: sigma squared": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * x0_hat + (sigma_s / sigma_t) ** 2 * (x_t - alpha_t * x0_hat)
            )
        ),
        "alpha-bar, which is alpha squared, instead of alpha": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s**2 * x0_hat + sigma_s / sigma_t * (x_t - alpha_t**2 * x0_hat)
            )
        ),
        "the mean of DDPM's step: DDIM keeps the whole predicted noise": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * x0_hat + alpha_t / alpha_s * (sigma_s / sigma_t) ** 2 * (x_t - alpha_t * x0_hat)
            )
        ),
        "sigma_s / sigma_t is upside down: less noise is left at time s": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * x0_hat + sigma_t / sigma_s * (x_t - alpha_t * x0_hat)
            )
        ),
        "alpha_s is missing: x_s contains a shrunk point": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                x0_hat + sigma_s / sigma_t * (x_t - alpha_t * x0_hat)
            )
        ),
        "alpha_t is missing in eps_hat: x_t contains a shrunk point": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * x0_hat + sigma_s / sigma_t * (x_t - x0_hat)
            )
        ),
        "the noise is not divided by sigma_t: eps_hat has variance 1": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * x0_hat + sigma_s * (x_t - alpha_t * x0_hat)
            )
        ),
        "the sign of the noise is wrong: it keeps its direction": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * x0_hat - sigma_s / sigma_t * (x_t - alpha_t * x0_hat)
            )
        ),
        "the step is in sigma instead of r = sigma / alpha": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                alpha_s * (x_t / alpha_t + (sigma_s - sigma_t) * (x_t - alpha_t * x0_hat) / sigma_t)
            )
        ),
        "y_s instead of x_s: multiply by alpha_s at the end": (
            lambda x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s: (
                ddim_step(x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s) / alpha_s
            )
        ),
    },
)
def ddim_step(x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s):
    """Split x_t into point and noise. Both stay the same along the step: what changes?

    Solve x_t = alpha_t x0_hat + sigma_t eps_hat for eps_hat, and mix the two again in the proportions of time s.
    """
    eps_hat = (x_t - alpha_t * x0_hat) / sigma_t
    return alpha_s * x0_hat + sigma_s * eps_hat


# --- middle: Heun's method -------------------------------------------------------------------------------------------


def _heun_inputs(rng):
    def slope(std):
        return lambda y, r: r * y / (std**2 + r**2)

    return [(slope(rng.uniform(0.5, 1.5)), rng.normal(size=(4, 2)), r, r / 3) for r in (3.0, 1.0, 0.4)]


def _two_slopes(eps_hat, y, r, r_next, *, point=1.0, level=1.0, weights=(0.5, 0.5)):
    width = r_next - r
    first = eps_hat(y, r)
    second = eps_hat(y + point * width * first, r + level * width)
    return y + width * (weights[0] * first + weights[1] * second)


@exercise(
    lab=7,
    level="middle",
    question="One step of Heun's method for dy/dr = eps_hat(y, r), from level r to r_next.",
    inputs=_heun_inputs,
    wrong={
        "Euler's method: the second slope is missing": lambda eps_hat, y, r, r_next: _two_slopes(
            eps_hat, y, r, r_next, weights=(1, 0)
        ),
        "the second slope is taken at the old level r": lambda eps_hat, y, r, r_next: _two_slopes(
            eps_hat, y, r, r_next, level=0
        ),
        "the second slope is taken at the old point y": lambda eps_hat, y, r, r_next: _two_slopes(
            eps_hat, y, r, r_next, point=0
        ),
        "the two slopes are added instead of averaged": lambda eps_hat, y, r, r_next: _two_slopes(
            eps_hat, y, r, r_next, weights=(1, 1)
        ),
        "the sign of the step is wrong: r_next - r is negative on the way to the data": lambda eps_hat, y, r, r_next: (
            y - (r_next - r) * (eps_hat(y, r) + eps_hat(y - (r_next - r) * eps_hat(y, r), r_next)) / 2
        ),
        "the midpoint method, also of second order, but not Heun's": lambda eps_hat, y, r, r_next: _two_slopes(
            eps_hat, y, r, r_next, point=0.5, level=0.5, weights=(0, 1)
        ),
        "the arguments of eps_hat are exchanged: first the point, then the level": (
            lambda eps_hat, y, r, r_next: heun_step(lambda y, r: eps_hat(r, y), y, r, r_next)
        ),
        "the width of the step is missing in front of the mean slope": (
            lambda eps_hat, y, r, r_next: y + (heun_step(eps_hat, y, r, r_next) - y) / (r_next - r)
        ),
        "the width of the step is missing in the prediction": (
            lambda eps_hat, y, r, r_next: _two_slopes(eps_hat, y, r, r_next, point=1 / (r_next - r))
        ),
        "the second slope alone, instead of the mean of both": (
            lambda eps_hat, y, r, r_next: _two_slopes(eps_hat, y, r, r_next, weights=(0, 1))
        ),
        "the second half starts from the predicted point: begin at y again": (
            lambda eps_hat, y, r, r_next: heun_step(eps_hat, y, r, r_next) + (r_next - r) * eps_hat(y, r)
        ),
        "brackets are missing: only the second slope is halved": (
            lambda eps_hat, y, r, r_next: _two_slopes(eps_hat, y, r, r_next, weights=(1, 0.5))
        ),
        "the prediction goes away from the data: r_next - r is negative already": (
            lambda eps_hat, y, r, r_next: _two_slopes(eps_hat, y, r, r_next, point=-1)
        ),
        "r_next is taken for the width of the step": (
            lambda eps_hat, y, r, r_next: y + r_next * (eps_hat(y, r) + eps_hat(y + r_next * eps_hat(y, r), r_next)) / 2
        ),
    },
)
def heun_step(eps_hat, y, r, r_next):
    """Euler's step uses the slope where it starts. Which second slope can you get, and how do you use both?

    Take an Euler step, evaluate the slope where it ends, and take the step again from y with the mean of both
    slopes.
    """
    width = r_next - r
    slope = eps_hat(y, r)
    return y + width * (slope + eps_hat(y + width * slope, r_next)) / 2


# --- research: a multistep method with an exact exponential ----------------------------------------------------------


def _multistep_inputs(rng):
    points = rng.normal(size=(3, 3, 5, 2))
    return [(*p, h, ratio * h) for p, h, ratio in zip(points, (0.3, 0.8, 1.5), (1.3, 0.7, 1.6), strict=True)]


def _exponential(y, x0, slope, h, curve):
    return np.exp(-h) * y + (1 - np.exp(-h)) * x0 + slope * curve(h)


@exercise(
    lab=7,
    level="research",
    question="The exact solution of dy/dlambda = x0_hat - y after a step h, with x0_hat a straight line in lambda.",
    inputs=_multistep_inputs,
    wrong={
        "x0_hat is held constant, the first-order step": lambda y, x0, x0_before, h, h_before: _exponential(
            y, x0, x0 - x0_before, h, lambda h: 0.0
        ),
        "the slope is divided by h instead of h_before, the step between the two known values": (
            lambda y, x0, x0_before, h, h_before: _exponential(
                y, x0, (x0 - x0_before) / h, h, lambda h: h - 1 + np.exp(-h)
            )
        ),
        "the sign of the slope is wrong: it runs from the earlier value to the present one": (
            lambda y, x0, x0_before, h, h_before: _exponential(
                y, x0, (x0_before - x0) / h_before, h, lambda h: h - 1 + np.exp(-h)
            )
        ),
        "DPM-Solver++(2M), which holds x0_hat at its value in the middle of the step": (
            lambda y, x0, x0_before, h, h_before: _exponential(
                y, x0, (x0 - x0_before) / h_before, h, lambda h: h / 2 * (1 - np.exp(-h))
            )
        ),
        "x0_hat is held at its value at the end of the step": lambda y, x0, x0_before, h, h_before: _exponential(
            y, x0, (x0 - x0_before) / h_before, h, lambda h: h * (1 - np.exp(-h))
        ),
        "the integral of u e^{-u}: the exponential has to decay from u to the end of the step, e^{-(h-u)}": (
            lambda y, x0, x0_before, h, h_before: _exponential(
                y, x0, (x0 - x0_before) / h_before, h, lambda h: 1 - (1 + h) * np.exp(-h)
            )
        ),
        "the slope is not divided by h_before": (
            lambda y, x0, x0_before, h, h_before: _exponential(y, x0, x0 - x0_before, h, lambda h: h - 1 + np.exp(-h))
        ),
        "the exponential is missing in the integral of the slope": (
            lambda y, x0, x0_before, h, h_before: _exponential(
                y, x0, (x0 - x0_before) / h_before, h, lambda h: h**2 / 2
            )
        ),
        "the line goes through x0_before at the present point": (
            lambda y, x0, x0_before, h, h_before: _exponential(
                y, x0_before, (x0 - x0_before) / h_before, h, lambda h: h - 1 + np.exp(-h)
            )
        ),
        "y does not decay: without x0_hat, y would fall by the factor e^{-h}": (
            lambda y, x0, x0_before, h, h_before: multistep(y, x0, x0_before, h, h_before) + (1 - np.exp(-h)) * y
        ),
        "Euler's method: y is held constant on the right-hand side": (
            lambda y, x0, x0_before, h, h_before: y + h * (x0 - y)
        ),
        "a sign in the integration by parts is wrong: the integral has to be 0 at h = 0, and small for a small h": (
            lambda y, x0, x0_before, h, h_before: _exponential(
                y, x0, (x0 - x0_before) / h_before, h, lambda h: h + 1 - np.exp(-h)
            )
        ),
    },
)
def multistep(y, x0, x0_before, h, h_before):
    """The equation is linear, so its solution is an integral over x0_hat. Write x0_hat as a line, starting at the
    present point.

    Integrate e^{-(h-u)} (x0 + slope u) over u from 0 to h, and add e^{-h} y. The slope comes from the previous
    step.

    The slope is (x0 - x0_before) / h_before. Integrate u e^{-(h-u)} by parts.
    """
    slope = (x0 - x0_before) / h_before
    return np.exp(-h) * y + (1 - np.exp(-h)) * x0 + slope * (h - 1 + np.exp(-h))


# --- find the fault --------------------------------------------------------------------------------------------------


def broken():
    """Return a sampler with a fault, to be used like `motes.points.Heun()`."""
    from typing import ClassVar

    from motes.points import Sampler

    class TwoSlopes(Sampler):
        order: ClassVar[int] = 2
        evaluations: ClassVar[int] = 2

        def step(self, denoiser, x_t, t, s, state, key):
            schedule = denoiser.schedule
            alpha_t, alpha_s = schedule.alpha(t), schedule.alpha(s)
            width = schedule.sigma(s) / alpha_s - schedule.sigma(t) / alpha_t
            y, slope = x_t / alpha_t, denoiser.eps(x_t, t)
            second = denoiser.eps(alpha_t * (y + width * slope), t)
            return alpha_s * (y + width * (slope + (s > 0) * (second - slope) / 2)), state

    return TwoSlopes()


def _last_step():
    """It is an Euler step, as in Heun's method, and as short as the grid makes it."""
    return "last step"


def _noise():
    """The sampler adds none: the same start gives the same sample, whatever the key."""
    return "noise"


def _point():
    """With a slope that depends on y alone, the step equals Heun's."""
    return "point"


def _weights():
    """Their sum is 1, or more steps would not converge; and with eps_hat = y the step equals Heun's."""
    return "weights"


@exercise(
    lab=7,
    level="middle",
    question='Why is the sampler fault(7) not of second order: "last step", "level", "noise", "point" or "weights"?',
    wrong={
        "blaming the last step": _last_step,
        "blaming the noise": _noise,
        "blaming the point": _point,
        "blaming the weights": _weights,
    },
)
def fault_07():
    """Take single steps with slopes that you choose: one that depends on y alone, and one that depends on r alone.

    For a slope of r alone, Heun's step is the width times the mean of the slopes at r and s. Which slopes give the
    step of the suspect?
    """
    return "level"
