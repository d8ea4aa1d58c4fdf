"""Independent answers, in NumPy float64 written from the papers, and exact denoisers to hold motes against.

Nothing here calls the code under test, except for the classes that the code under test calls: `ExactGaussian` and
`ExactMixture` are denoisers whose E[x_0 | x_t] is written down here, and `Point` is one that has nothing to it.
"""

from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import settings

from motes.points import Denoiser, Training
from motes.points.schedules import (
    CosineBetas,
    CosineVP,
    DiscreteVP,
    KnotSchedule,
    LinearBetas,
    LinearVP,
    RectifiedFlow,
    Schedule,
    SigmoidBetas,
    VarianceExploding,
)

# Property tests: always the same examples, and no limit on the first one, which compiles.
property_test = settings(derandomize=True, deadline=None, max_examples=30)

# A statistic that is N(0, 1) when the code is right goes beyond this with probability 6e-7.
Z = 5.0


class Functions(Schedule):
    """A schedule of one's own, whose inverse is found numerically."""

    def alpha(self, t):
        return jnp.exp(-3 * jnp.asarray(t, float) ** 2)

    def sigma(self, t):
        return jnp.sin(jnp.asarray(t, float)) * (1 + jnp.asarray(t, float))


SCHEDULES: dict[str, Schedule] = {
    "tutorial": SigmoidBetas(100, 1e-5, 5e-3).schedule(),
    "linear": LinearBetas(100, 1e-4, 0.1).schedule(),
    "cosine": CosineBetas(50).schedule(),
    "exploding": VarianceExploding(20.0, 7.0),
}
CONTINUOUS: dict[str, Schedule] = {
    "continuous_linear": LinearVP(),
    "continuous_cosine": CosineVP(),
    "rectified_flow": RectifiedFlow(),
    "functions": Functions(),
    "knots": KnotSchedule((0.95, 0.7, 0.3, 0.02), (0.3, 0.75, 0.95, 1.0)),
}
DISCRETE = [name for name, schedule in SCHEDULES.items() if isinstance(schedule, DiscreteVP)]


def float64():
    """Inside `with float64():` JAX computes in double precision."""
    scope = getattr(jax, "enable_x64", None)  # a context manager in recent JAX
    if scope is None:
        from jax.experimental import enable_x64 as scope
    return scope(True)


# --- schedules ----------------------------------------------------------------------------------------------------


def make_beta_schedule(schedule, n_timesteps, start, end):
    """The tutorial's function of this name."""
    if schedule == "linear":
        return start + (end - start) * np.arange(n_timesteps) / (n_timesteps - 1)
    if schedule == "quad":
        return (start**0.5 + (end**0.5 - start**0.5) * np.arange(n_timesteps) / (n_timesteps - 1)) ** 2
    if schedule == "sigmoid":
        x = -6 + 12 * np.arange(n_timesteps) / (n_timesteps - 1)
        return start + (end - start) / (1 + np.exp(-x))
    raise ValueError(schedule)


def cosine_alphas_bar(steps, offset):
    """f(t) / f(0) at t = 1 ... T, Nichol & Dhariwal 2021, eq. 17."""
    f = lambda t: np.cos((t / steps + offset) / (1 + offset) * np.pi / 2) ** 2
    return f(np.arange(1, steps + 1)) / f(0)


def tutorial_tables(betas):
    """Every table that the tutorial derives from its betas, as it derives it, under motes' names."""
    alphas = 1 - betas
    alphas_prod = np.cumprod(alphas)
    alphas_prod_p = np.concatenate([[1.0], alphas_prod[:-1]])
    posterior_variance = betas * (1 - alphas_prod_p) / (1 - alphas_prod)
    return {
        "alphas_bar": alphas_prod,
        "posterior_mean_coef_1": betas * np.sqrt(alphas_prod_p) / (1 - alphas_prod),
        "posterior_mean_coef_2": (1 - alphas_prod_p) * np.sqrt(alphas) / (1 - alphas_prod),
        "posterior_variance": posterior_variance,
        "posterior_log_variance_clipped": np.log(np.concatenate([posterior_variance[1:2], posterior_variance[1:]])),
    }


def karras_levels(steps, sigma_min, sigma_max, rho):
    """sigma_0 ... sigma_{N-1}, Karras et al. 2022, eq. 5."""
    i = np.arange(steps)
    return (
        sigma_max ** (1 / rho) + i / (steps - 1) * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))
    ) ** rho  # fmt: skip


# --- one learned point: training can be followed by hand -----------------------------------------------------------


class Point(Denoiser):
    """x0_hat is one learned point, whatever the input: the best is the mean of the data."""

    where: jax.Array
    schedule: Schedule

    def __call__(self, x_t, t):
        return self.where


@dataclass(frozen=True)
class TrainingBy(Training):
    """Training by another rule, without averages of the weights to choose from."""

    rule: Any = None
    averages: int = 0

    def make_optimiser(self, shapes=()):
        return self.rule


def half_distance(denoiser, x0, t, eps):
    """A loss of `Point` whose gradient is where - x_0."""
    return {"half": 0.5 * jnp.sum((denoiser.where - x0) ** 2)}


# --- Gaussian data: everything in closed form ----------------------------------------------------------------------


class ExactGaussian(Denoiser):
    """E[x_0 | x_t] for x_0 ~ N(mean, std^2 I)."""

    schedule: Schedule
    mean: float = 0.0
    std: float = 1.0

    def __call__(self, x_t, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return (self.std**2 * alpha * x_t + sigma**2 * self.mean) / (self.std**2 * alpha**2 + sigma**2)


def ancestral_moments(betas, mean, std, variance, denoise_last=True):
    """Mean and variance of what ancestral sampling with the exact denoiser of N(mean, std^2) ends in, from N(0, 1).

    Each step is affine in x with Gaussian noise, so the two moments say all. Ho et al. 2020, eq. 7 and algorithm 2.
    """
    table = tutorial_tables(np.asarray(betas, dtype=float))
    m, v = 0.0, 1.0
    for k in reversed(range(len(betas))):
        alpha_bar = table["alphas_bar"][k]
        total = std**2 * alpha_bar + 1 - alpha_bar
        gain, shift = std**2 * alpha_bar**0.5 / total, mean * (1 - alpha_bar) / total  # x0_hat = gain x + shift
        c1, c2 = table["posterior_mean_coef_1"][k], table["posterior_mean_coef_2"][k]
        noise = betas[k] if variance == "beta" else table["posterior_variance"][k]
        if k == 0 and denoise_last:
            noise = 0.0
        m, v = (c1 * gain + c2) * m + c1 * shift, (c1 * gain + c2) ** 2 * v + noise
    return m, v


def assert_moments(x, mean, variance):
    """Mean and variance of each column of Gaussian points; Z standard errors, a false alarm in 4e5 of four."""
    error = np.sqrt(variance / len(x))
    assert (np.abs(x.mean(axis=0, dtype=float) - mean) < Z * error).all()
    assert (np.abs(x.var(axis=0, dtype=float) / variance - 1) < Z * np.sqrt(2 / len(x))).all()


def normal_logpdf(x, mean, variance):
    return -0.5 * ((x - mean) ** 2 / variance + np.log(2 * np.pi * variance))


# --- a mixture of two Gaussians ------------------------------------------------------------------------------------

CENTRES = np.array([[1.0, 0.5], [-1.0, -0.3]])
WIDTHS = np.array([0.3, 0.5])
LOG_WEIGHTS = np.log([0.6, 0.4])


class ExactMixture(Denoiser):
    """E[x_0 | x_t] for the mixture above."""

    schedule: Schedule

    def __call__(self, x_t, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        # Said outright in the precision of the program: JAX remembers what it made of an array of NumPy's.
        centres, widths, log_weights = (jnp.asarray(values, float) for values in (CENTRES, WIDTHS, LOG_WEIGHTS))
        total = (alpha * widths) ** 2 + sigma**2  # variance of x_t in each component
        away = x_t - alpha * centres  # (2, d)
        log_p = log_weights - 0.5 * jnp.sum(away**2, axis=1) / total - jnp.log(total)
        means = centres + (alpha * widths**2 / total)[:, None] * away
        return jax.nn.softmax(log_p) @ means


def mixture_flow(y, sigma):
    """dy/dsigma of the probability flow for alpha = 1: -sigma times the score of the mixture blurred by sigma."""
    total = WIDTHS**2 + sigma**2
    away = y[:, None, :] - CENTRES  # (n, 2, d)
    log_p = LOG_WEIGHTS - 0.5 * np.sum(away**2, axis=2) / total - np.log(total)
    share = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    return sigma * np.einsum("nc,ncd->nd", share / total, away)


# --- networks ------------------------------------------------------------------------------------------------------


class Silent(eqx.Module):
    """A network that always says 0, as a freshly initialised last layer of zeros does."""

    def __call__(self, x, time):
        return jnp.zeros_like(x)
