"""Exercises of lab 5: the reverse chain, and why its samples come out wrong."""

import numpy as np

from motes.course.exercises import exercise


def _betas(rng, end):
    return np.linspace(1e-3, rng.uniform(0.5 * end, end), 40)


def _bar(betas, k):
    return np.prod(1 - betas[: k + 1])


# --- easy: the mean of a step ----------------------------------------------------------------------------------------


def _mean_inputs(rng):
    return [(rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), k, _betas(rng, 0.2)) for k in (3, 17, 39)]


def _mean(x_t, eps_hat, factor, size):
    return (x_t - size * eps_hat) / np.sqrt(factor)


@exercise(
    lab=5,
    level="easy",
    question="The mean of p(x_{t-1} | x_t) of DDPM, computed from the predicted noise.",
    inputs=_mean_inputs,
    wrong={
        "the noise is added, but a reverse step removes it": lambda x_t, eps_hat, k, betas: _mean(
            x_t, eps_hat, 1 - betas[k], -betas[k] / np.sqrt(1 - _bar(betas, k))
        ),
        "1 - alpha-bar instead of its square root: a variance where a standard deviation belongs": (
            lambda x_t, eps_hat, k, betas: _mean(x_t, eps_hat, 1 - betas[k], betas[k] / (1 - _bar(betas, k)))
        ),
        "the step is undone with alpha-bar instead of 1 - beta": lambda x_t, eps_hat, k, betas: _mean(
            x_t, eps_hat, _bar(betas, k), betas[k] / np.sqrt(1 - _bar(betas, k))
        ),
        "the noise is scaled with 1 - beta instead of alpha-bar": lambda x_t, eps_hat, k, betas: _mean(
            x_t, eps_hat, 1 - betas[k], betas[k] / np.sqrt(betas[k])
        ),
        "alpha-bar is one step off: the product ends with beta_{k-1}": lambda x_t, eps_hat, k, betas: _mean(
            x_t, eps_hat, 1 - betas[k], betas[k] / np.sqrt(1 - _bar(betas, k - 1))
        ),
        "x0_hat instead of the mean: a leap to the data instead of one step": lambda x_t, eps_hat, k, betas: _mean(
            x_t, eps_hat, _bar(betas, k), np.sqrt(1 - _bar(betas, k))
        ),
        "the factor 1 / sqrt(1 - beta) is missing: each forward step shrinks the point": (
            lambda x_t, eps_hat, k, betas: _mean(x_t, eps_hat, 1.0, betas[k] / np.sqrt(1 - _bar(betas, k)))
        ),
        "sqrt(beta) instead of beta: the posterior's mean contains a variance there": (
            lambda x_t, eps_hat, k, betas: _mean(x_t, eps_hat, 1 - betas[k], np.sqrt(betas[k] / (1 - _bar(betas, k))))
        ),
        "beta eps_hat without sigma_t: eps_hat has variance 1, and x_t contains sigma_t times the noise": (
            lambda x_t, eps_hat, k, betas: _mean(x_t, eps_hat, 1 - betas[k], betas[k])
        ),
        "the whole noise is removed in one step": (
            lambda x_t, eps_hat, k, betas: _mean(x_t, eps_hat, 1 - betas[k], np.sqrt(1 - _bar(betas, k)))
        ),
        "multiplied by sqrt(1 - beta): a reverse step undoes the shrinking": (
            lambda x_t, eps_hat, k, betas: (1 - betas[k]) * reverse_mean(x_t, eps_hat, k, betas)
        ),
        "divided by 1 - beta: the forward step multiplies the point by a square root": (
            lambda x_t, eps_hat, k, betas: reverse_mean(x_t, eps_hat, k, betas) / np.sqrt(1 - betas[k])
        ),
        "brackets are missing: the factor belongs to the noise as well": (
            lambda x_t, eps_hat, k, betas: (
                x_t / np.sqrt(1 - betas[k]) - betas[k] / np.sqrt(1 - _bar(betas, k)) * eps_hat
            )
        ),
        "beta is one step off: betas[0] belongs to the first step": (
            lambda x_t, eps_hat, k, betas: _mean(
                x_t, eps_hat, 1 - betas[k - 1], betas[k - 1] / np.sqrt(1 - _bar(betas, k))
            )
        ),
    },
)
def reverse_mean(x_t, eps_hat, k, betas):
    """The mean contains x0_hat. Express x0_hat by x_t and the predicted noise, and see what is left of each of
    them.

    Put x0_hat = (x_t - sigma_t eps_hat) / alpha_t into the posterior's mean. The coefficient of x_t becomes 1 / a,
    with a = sqrt(1 - betas[k]).

    One step removes the share betas[k] / sigma_t of the predicted noise, with sigma_t^2 = 1 - alpha-bar. Step k = 0
    is the first, so alpha-bar is the product of 1 - betas[0], ..., 1 - betas[k].
    """
    sigma_t = np.sqrt(1 - np.prod(1 - betas[: k + 1]))
    return (x_t - betas[k] / sigma_t * eps_hat) / np.sqrt(1 - betas[k])


# --- middle: the whole chain without a single sample -----------------------------------------------------------------


def _moments_inputs(rng):
    return [(rng.normal(), rng.uniform(0.3, 2.0), _betas(rng, 0.05)) for _ in range(4)]


def _run(
    mean, std, betas, *, own_start=False, blurred=False, narrow=False, off=0, power=2, noise=lambda beta: beta, order=-1
):
    """Return the mean and variance of the samples, with one mistake."""
    bars = np.concatenate([np.ones(1 + off), np.cumprod(1 - betas)])[: len(betas) + 1]
    m, v = (np.sqrt(bars[-1]) * mean, bars[-1] * std**2 + 1 - bars[-1]) if own_start else (0.0, 1.0)
    for k in range(len(betas))[::order]:
        bar, before = bars[k + 1], bars[k]
        if bar == 1:
            continue
        gain = np.sqrt(bar) * std**2 / (bar * std**2 + 1 - bar)
        c0, ct = np.sqrt(before) * betas[k] / (1 - bar), np.sqrt(1 - betas[k]) * (1 - before) / (1 - bar)
        fresh = noise(betas[k]) * ((1 - before) / (1 - bar) if narrow else 1) * (k > 0 or blurred)
        m = c0 * (mean + gain * (m - np.sqrt(bar) * mean)) + ct * m
        v = (c0 * gain + ct) ** power * v + fresh
    return m, v


def _moments(mean, std, betas, **mistake):
    m, v = _run(mean, std, betas, **mistake)
    return m, np.sqrt(v)


@exercise(
    lab=5,
    level="middle",
    question="The mean and standard deviation of DDPM's samples for data N(mean, std^2), with the exact denoiser.",
    inputs=_moments_inputs,
    wrong={
        "the mean and standard deviation of the data": lambda mean, std, betas: (mean, std),
        "the chain starts from q(x_T), which you do not have when you sample, instead of N(0, 1)": (
            lambda mean, std, betas: _moments(mean, std, betas, own_start=True)
        ),
        "the last step adds noise": lambda mean, std, betas: _moments(mean, std, betas, blurred=True),
        "the steps add the posterior's variance instead of beta": lambda mean, std, betas: _moments(
            mean, std, betas, narrow=True
        ),
        "a variance where a standard deviation belongs": lambda mean, std, betas: _run(mean, std, betas),
        "alpha-bar is one step off: the product ends with beta_{k-1}": lambda mean, std, betas: _moments(
            mean, std, betas, off=1
        ),
        "the slope of a step is not squared in the variance": (
            lambda mean, std, betas: _moments(mean, std, betas, power=1)
        ),
        "no step adds noise": (lambda mean, std, betas: _moments(mean, std, betas, noise=lambda beta: 0 * beta)),
        "a step adds the standard deviation sqrt(beta) to a variance": (
            lambda mean, std, betas: _moments(mean, std, betas, noise=np.sqrt)
        ),
        "x0_hat is treated as a constant in the variance: it moves with x_t": (
            lambda mean, std, betas: (_moments(mean, std, betas)[0], _moments(0.0, 0.0, betas)[1])
        ),
        "the steps are taken in the order of the forward process": (
            lambda mean, std, betas: _moments(mean, std, betas, order=1)
        ),
    },
)
def chain_moments(mean, std, betas):
    """Every step is a linear map plus noise. What does each of the two do to a mean, and what to a variance?

    A linear map a x + b turns a mean m into a m + b and a variance v into a^2 v, and the noise adds beta_k, but
    none at k = 0. Start with mean 0 and variance 1, and go from the last step down to the first.

    For data N(mean, std^2) the exact denoiser is x0_hat = mean + gain (x_t - alpha_t mean), so a = c_0 gain + c_t.
    """
    bars = np.cumprod(1 - betas)
    m, v = 0.0, 1.0
    for k in range(len(betas))[::-1]:
        bar, before = bars[k], bars[k - 1] if k else 1.0
        gain = np.sqrt(bar) * std**2 / (bar * std**2 + 1 - bar)
        c0, ct = np.sqrt(before) * betas[k] / (1 - bar), np.sqrt(1 - betas[k]) * (1 - before) / (1 - bar)
        m = c0 * (mean + gain * (m - np.sqrt(bar) * mean)) + ct * m
        v = (c0 * gain + ct) ** 2 * v + (betas[k] if k else 0.0)
    return m, np.sqrt(v)


# --- research: the best variance of a step ---------------------------------------------------------------------------


def _variance_inputs(rng):
    return [(k, _betas(rng, 0.3), rng.uniform(0.2, 0.9)) for k in (1, 2, 12, 30)]


def _step_variance(k, betas, mean_square, *, power=2, snr=1, spread=lambda mean_square: 1 - mean_square):
    bar, before = _bar(betas, k), _bar(betas, k - 1)
    c0 = np.sqrt(before) * betas[k] / (1 - bar)
    return betas[k] * (1 - before) / (1 - bar) + c0**power * ((1 - bar) / bar) ** snr * spread(mean_square)


@exercise(
    lab=5,
    level="research",
    question="The variance of a reverse step that fits best, from the mean square of the exact denoiser's eps_hat.",
    inputs=_variance_inputs,
    wrong={
        "beta, which fits only data N(0, 1)": lambda k, betas, mean_square: betas[k],
        "the posterior's variance alone: x_0 given x_t has a spread of its own": lambda k, betas, mean_square: (
            _step_variance(k, betas, 1.0)
        ),
        "the coefficient of x_0 is not squared": lambda k, betas, mean_square: _step_variance(
            k, betas, mean_square, power=1
        ),
        "the mean square of eps_hat itself, instead of what is left to 1": (
            lambda k, betas, mean_square: _step_variance(k, betas, 1 - mean_square)
        ),
        "the signal-to-noise ratio instead of its inverse": lambda k, betas, mean_square: _step_variance(
            k, betas, mean_square, snr=-1
        ),
        "a standard deviation where a variance belongs": lambda k, betas, mean_square: np.sqrt(
            _step_variance(k, betas, mean_square)
        ),
        "the coefficient c_0 is missing: x_0 enters the mean with a weight": (
            lambda k, betas, mean_square: _step_variance(k, betas, mean_square, power=0)
        ),
        "the variance of eps is taken for the variance of x_0: x_0 is another linear function of it": (
            lambda k, betas, mean_square: _step_variance(k, betas, mean_square, snr=0)
        ),
        "sigma / alpha is not squared: a factor multiplies a variance by its square": (
            lambda k, betas, mean_square: _step_variance(k, betas, mean_square, snr=0.5)
        ),
        "the posterior's variance is missing: also a known x_0 leaves a spread": (
            lambda k, betas, mean_square: _step_variance(k, betas, mean_square) - _step_variance(k, betas, 1.0)
        ),
        "beta instead of the posterior's variance": (
            lambda k, betas, mean_square: (
                betas[k] + _step_variance(k, betas, mean_square) - _step_variance(k, betas, 1.0)
            )
        ),
        "the sign of the variance of eps is wrong": (
            lambda k, betas, mean_square: _step_variance(
                k, betas, mean_square, spread=lambda mean_square: mean_square - 1
            )
        ),
    },
)
def best_variance(k, betas, mean_square):
    """The posterior's variance is for a known x_0. What does a step have to add because x_0 is not known?

    Add c_0^2 Var[x_0 | x_t] to the posterior's variance.

    x_0 = (x_t - sigma_t eps) / alpha_t, so given x_t the variance of x_0 is (sigma_t / alpha_t)^2 times the
    variance of eps, which is on average 1 - E[eps_hat^2].
    """
    bar, before = np.prod(1 - betas[: k + 1]), np.prod(1 - betas[:k])
    posterior = betas[k] * (1 - before) / (1 - bar)
    c0 = np.sqrt(before) * betas[k] / (1 - bar)
    return posterior + c0**2 * (1 - bar) / bar * (1 - mean_square)


# --- find the fault --------------------------------------------------------------------------------------------------


def broken():
    """Return a sampler with a fault, to be used like `motes.points.Ancestral()`."""
    from jax import Array

    from motes.points import Ancestral, Denoiser, Schedule

    class Early(Denoiser):
        schedule: Schedule
        denoiser: Denoiser
        s: Array

        def __call__(self, x_t, t):
            return self.denoiser(x_t, self.s)

    class DDPM(Ancestral):
        def step(self, denoiser, x_t, t, s, state, key):
            return super().step(Early(denoiser.schedule, denoiser, s), x_t, t, s, state, key)

    return DDPM()


def _clipping():
    """Nothing is clipped: the mean of a step stays a straight line in x_t, however large x_t is."""
    return "clipping"


def _last_step():
    """It adds no noise, and the other steps are wrong too."""
    return "last step"


def _start():
    """A single step from an x_t of your choice is wrong as well."""
    return "start"


def _variance():
    """From one x_t, the standard deviation of x_s is sqrt(beta), as it should be."""
    return "variance"


@exercise(
    lab=5,
    level="middle",
    question='What is wrong with the sampler fault(5): "clipping", "last step", "start", "time" or "variance"?',
    wrong={
        "blaming the clipping": _clipping,
        "blaming the last step": _last_step,
        "blaming the start": _start,
        "blaming the variance": _variance,
    },
)
def fault_05():
    """Send many copies of one x_t through a single step, and compare their mean and spread with the exact ones.

    The spread is right. Write the mean that you measured as c_0 x0_hat + c_t x_t, and solve for x0_hat. Which x_t and
    which time give this x0_hat?
    """
    return "time"
