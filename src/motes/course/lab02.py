"""The exercises of lab 2, the forward process and its posterior."""

import numpy as np

from motes.course.exercises import exercise


def _schedules(rng):
    return [(np.sort(rng.uniform(0.01, 0.3, steps)),) for steps in (4, 7, 12)]


def _roots(betas):
    """These are the factors of x0. alpha-bar is their square, a share of the variance."""
    return np.sqrt(np.cumprod(1 - betas))


def _sum(betas):
    """Each step takes a share of what the steps before have left, so the factors multiply."""
    return 1 - np.cumsum(betas)


def _one_step(betas):
    """This is alpha of each single step. The bar is the product up to it."""
    return 1 - betas


def _late(betas):
    """The first entry belongs to x_1, which has taken one step already."""
    return np.append(1, np.cumprod(1 - betas)[:-1])


def _noise_share(betas):
    """This is the share of the noise, 1 - alpha-bar."""
    return 1 - np.cumprod(1 - betas)


def _product_of_betas(betas):
    """beta_t is the share of the noise that a step adds. Multiply the shares that the steps keep."""
    return np.cumprod(betas)


def _last_only(betas):
    """This is the product of all steps. The question is what is left after each of them."""
    return np.prod(1 - betas)


def _from_step_0(betas):
    """The lab's `bar` begins with step 0. The question begins with the first step, which has one entry of `betas`."""
    return np.append(1, np.cumprod(1 - betas))


def _sum_of_shares(betas):
    """A share of a share is a product. With your sum, more than everything would be left."""
    return np.cumsum(1 - betas)


@exercise(
    lab=2,
    level="easy",
    question="alpha_bar after each of T steps, (T,), from their betas (T,).",
    inputs=_schedules,
    wrong={
        "alpha_t instead of alpha-bar_t": _one_step,
        "a standard deviation instead of a variance": _roots,
        "a sum instead of a product": _sum,
        "one step off": _late,
        "the share of the noise instead of the signal": _noise_share,
        "the product of the betas": _product_of_betas,
        "only the last alpha-bar": _last_only,
        "an entry for step 0 too many": _from_step_0,
        "the shares are added": _sum_of_shares,
    },
)
def alphas_bar(betas):
    """Each step keeps a share 1 - beta_t of the variance. What is left of it after two steps?

    Shares of one step after the other multiply; numpy has a cumulative product.
    """
    return np.cumprod(1 - betas)


def _steps(rng):
    betas = np.sort(rng.uniform(0.02, 0.3, 8))
    return [(rng.normal(size=(3, 2)), rng.normal(size=(3, 2)), t, betas) for t in (2, 4, 8)]


def _mean(x_t, x_0, bar, bar_before, beta):
    return (np.sqrt(bar_before) * beta * x_0 + np.sqrt(1 - beta) * (1 - bar_before) * x_t) / (1 - bar)


def _single_alpha(x_t, x_0, t, betas):
    """How much signal x_t has left depends on all steps up to t."""
    return _mean(x_t, x_0, 1 - betas[t - 1], 1 - betas[t - 2], betas[t - 1])


def _swapped(x_t, x_0, t, betas):
    """Check with t = 1: there the mean is x_0."""
    return posterior_mean(x_0, x_t, t, betas)


def _next_step(x_t, x_0, t, betas):
    """betas[0] is beta_1, so beta_t is betas[t - 1]."""
    bar = np.append(np.cumprod(1 - betas), 0.5 * np.prod(1 - betas))
    return _mean(x_t, x_0, bar[t], bar[t - 1], np.append(betas, 0.5)[t])


def _no_roots(x_t, x_0, t, betas):
    """alpha-bar is a share of the variance. x_0 was scaled by its square root."""
    bar = np.append(1, np.cumprod(1 - betas))
    return (bar[t - 1] * betas[t - 1] * x_0 + (1 - betas[t - 1]) * (1 - bar[t - 1]) * x_t) / (1 - bar[t])


def _forward_only(x_t, x_0, t, betas):
    """This is the mean of q(x_{t-1} | x_0). Knowing x_t as well moves it."""
    return np.sqrt(np.append(1, np.cumprod(1 - betas))[t - 1]) * x_0


def _step_undone(x_t, x_0, t, betas):
    """This undoes the shrinking of one step. Knowing x_0 as well moves the mean towards it."""
    return x_t / np.sqrt(1 - betas[t - 1])


def _late_bars(x_t, x_0, t, betas):
    """beta is right. np.cumprod(1 - betas)[0] is alpha-bar_1, so its entry t belongs to step t + 1."""
    bar = np.append(np.cumprod(1 - betas), 0.5 * np.prod(1 - betas))
    return _mean(x_t, x_0, bar[t], bar[t - 1], betas[t - 1])


def _late_beta(x_t, x_0, t, betas):
    """alpha-bar is right. `betas` has no entry for step 0: which entry belongs to step t?"""
    bar = np.append(1, np.cumprod(1 - betas))
    return _mean(x_t, x_0, bar[t], bar[t - 1], np.append(betas, 0.5)[t])


def _not_divided(x_t, x_0, t, betas):
    """This is the sum of precision times mean. For a mean it is divided by the sum of the precisions."""
    bar, beta = np.append(1, np.cumprod(1 - betas)), betas[t - 1]
    return np.sqrt(1 - beta) / beta * x_t + np.sqrt(bar[t - 1]) / (1 - bar[t - 1]) * x_0


def _x_0_root_missing(x_t, x_0, t, betas):
    """The weight of x_t is right. alpha-bar is a share of the variance: by which factor is x_0 scaled at step t - 1?"""
    bar = np.append(1, np.cumprod(1 - betas))
    return posterior_mean(x_t, np.sqrt(bar[t - 1]) * x_0, t, betas)


def _x_t_root_missing(x_t, x_0, t, betas):
    """The weight of x_0 is right. 1 - beta_t is a share of the variance: which factor scales x_{t-1} in the step?"""
    return posterior_mean(np.sqrt(1 - betas[t - 1]) * x_t, x_0, t, betas)


def _bar_of_t(x_t, x_0, t, betas):
    """The evidence of x_0 is about x_{t-1}. How much signal does that point have?"""
    return posterior_mean(x_t, np.sqrt(1 - betas[t - 1]) * x_0, t, betas)


@exercise(
    lab=2,
    level="middle",
    question="The mean (n, d) of q(x_{t-1} | x_t, x_0) at step t = 1, ..., T of a schedule with betas (T,).",
    inputs=_steps,
    wrong={
        "alpha_t instead of alpha-bar_t": _single_alpha,
        "the weights of x_0 and x_t are exchanged": _swapped,
        "one step off": _next_step,
        "the square roots are missing": _no_roots,
        "x_t is ignored": _forward_only,
        "x_0 is ignored": _step_undone,
        "alpha-bar is one step off": _late_bars,
        "beta is one step off": _late_beta,
        "not divided by the precision": _not_divided,
        "the square root in the weight of x_0 is missing": _x_0_root_missing,
        "the square root in the weight of x_t is missing": _x_t_root_missing,
        "alpha-bar_t instead of alpha-bar_{t-1} in the weight of x_0": _bar_of_t,
    },
)
def posterior_mean(x_t, x_0, t, betas):
    """Where x_{t-1} was is known from two sides: from x_0 and from x_t. Section 3 combines them. What are its
    weights?

    Multiply two Gaussians in x_{t-1}: q(x_{t-1} | x_0), and q(x_t | x_{t-1}) read as a function of x_{t-1}.
    Precisions add, and the mean is the sum of precision times mean, divided by the total precision.

    The mean is B / P, and P = (1 - alpha-bar_t) / (beta_t (1 - alpha-bar_{t-1})). With bar = np.append(1,
    np.cumprod(1 - betas)), alpha-bar_t is bar[t] and beta_t is betas[t - 1].
    """
    bar, beta = np.append(1, np.cumprod(1 - betas)), betas[t - 1]
    x_0_weight = np.sqrt(bar[t - 1]) * beta / (1 - bar[t])
    x_t_weight = np.sqrt(1 - beta) * (1 - bar[t - 1]) / (1 - bar[t])
    return x_0_weight * x_0 + x_t_weight * x_t


def _pairs_of_times(rng):
    return [
        (rng.normal(size=2), rng.normal(size=2), *times)
        for times in ((0.9, 0.3, 0.4, 0.8), (1.0, 0.5, 1.0, 3.0), (0.7, 0.3, 0.2, 0.8))  # of three kinds of schedules
    ]


def _skip(x_t, x_0, alpha_s, sigma_s, factor, added, sigma_t):
    mean = alpha_s * added / sigma_t**2 * x_0 + factor * sigma_s**2 / sigma_t**2 * x_t
    return mean, added * sigma_s**2 / sigma_t**2


def _forward_variance(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """The variance of the forward step from s to t is larger: it knows nothing of x_0."""
    mean, _ = skip_posterior(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t)
    return mean, sigma_t**2 - (alpha_t / alpha_s * sigma_s) ** 2


def _standard_deviation(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """The second item is its square."""
    mean, variance = skip_posterior(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t)
    return mean, np.sqrt(variance)


def _preserving(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """1 - (alpha_t / alpha_s)^2 is the variance of a step only if alpha^2 + sigma^2 = 1."""
    factor = alpha_t / alpha_s
    return _skip(x_t, x_0, alpha_s, sigma_s, factor, 1 - factor**2, sigma_t)


def _difference(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """The noise that x_s already has is shrunk on the way to t, by alpha_t / alpha_s."""
    return _skip(x_t, x_0, alpha_s, sigma_s, alpha_t / alpha_s, sigma_t**2 - sigma_s**2, sigma_t)


def _without_noise(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """This is the step of DDIM, which keeps the noise of x_t. It has the same distribution given x_0 alone."""
    return alpha_s * x_0 + sigma_s * (x_t - alpha_t * x_0) / sigma_t, np.asarray(0.0)


def _no_factor(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """x_t is a scaled x_s plus noise. The precision-weighted mean contains this scale."""
    factor = alpha_t / alpha_s
    mean, variance = skip_posterior(x_t / factor, x_0, alpha_s, sigma_s, alpha_t, sigma_t)
    return mean, variance


def _no_alpha_s(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """Given x_0 alone, x_s lies around alpha_s x_0."""
    return skip_posterior(x_t, x_0 / alpha_s, alpha_s, sigma_s, alpha_t, sigma_t)


def _factor_from_0(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """alpha_t is the factor from time 0 to t. At s the point has been scaled already."""
    return _skip(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t**2 - (alpha_t * sigma_s) ** 2, sigma_t)


def _order(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """Both numbers are right. Return the mean first."""
    return skip_posterior(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t)[::-1]


def _by_deviation(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """Precisions are 1 / variance, not 1 / standard deviation. Which power of sigma_t belongs into the weights?"""
    mean, variance = skip_posterior(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t)
    return sigma_t * mean, sigma_t * variance


@exercise(
    lab=2,
    level="research",
    question="The mean (d,) and variance of q(x_s | x_t, x_0), as a tuple, for times s < t of any schedule.",
    inputs=_pairs_of_times,
    wrong={
        "the variance of the forward step instead of the posterior": _forward_variance,
        "a standard deviation instead of a variance": _standard_deviation,
        "a schedule that preserves the variance is assumed": _preserving,
        "sigma_t^2 - sigma_s^2 as the variance of the step": _difference,
        "DDIM instead of the posterior": _without_noise,
        "the factor of the step is missing at x_t": _no_factor,
        "alpha_s is missing at x_0": _no_alpha_s,
        "alpha_t is taken for the factor of the step": _factor_from_0,
        "the variance comes before the mean": _order,
        "divided by sigma_t instead of its square": _by_deviation,
    },
)
def skip_posterior(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t):
    """A step from s to t is a factor and fresh noise. Which factor, and which variance, lead from s to t?

    The factor is alpha_t / alpha_s, and the variance of the step makes up what factor^2 sigma_s^2 lacks to
    sigma_t^2.

    Then multiply two Gaussians in x_s, as for one step: the precisions 1 / sigma_s^2 and factor^2 / variance add.
    """
    factor = alpha_t / alpha_s
    added = sigma_t**2 - (factor * sigma_s) ** 2
    mean = alpha_s * added / sigma_t**2 * x_0 + factor * sigma_s**2 / sigma_t**2 * x_t
    return mean, added * sigma_s**2 / sigma_t**2
