"""The exercises of lab 3, the loss."""

import numpy as np

from motes.course.exercises import exercise


def _gaussians(rng):
    return [(rng.normal(size=d), rng.uniform(0.2, 0.8), rng.normal(size=d), rng.uniform(1.2, 2)) for d in (1, 2, 5)]


def _other_way(mean_p, variance_p, mean_q, variance_q):
    """The KL divergence is not symmetric: the expectation is over p, the first of the two."""
    return gaussian_kl(mean_q, variance_q, mean_p, variance_p)


def _deviations(mean_p, variance_p, mean_q, variance_q):
    """The arguments are variances already."""
    return gaussian_kl(mean_p, variance_p**2, mean_q, variance_q**2)


def _one_column(mean_p, variance_p, mean_q, variance_q):
    """Each of the d columns adds its own variances; only the distance of the means is a sum already."""
    ratio = variance_p / variance_q
    return 0.5 * (ratio - 1 - np.log(ratio) + np.sum((mean_p - mean_q) ** 2) / variance_q)


def _not_halved(mean_p, variance_p, mean_q, variance_q):
    """The exponent of a Gaussian has a factor 1/2, and so has the logarithm of the root of its variance."""
    return 2 * gaussian_kl(mean_p, variance_p, mean_q, variance_q)


def _log_sign(mean_p, variance_p, mean_q, variance_q):
    """With equal means and any variances, the divergence must not be negative. Try variance_p = 0.5, variance_q = 1."""
    ratio = variance_p / variance_q
    return 0.5 * (len(mean_p) * (ratio - 1 + np.log(ratio)) + np.sum((mean_p - mean_q) ** 2) / variance_q)


@exercise(
    lab=3,
    level="easy",
    question="KL(p || q) in nats, for p = N(mean_p, variance_p I) and q = N(mean_q, variance_q I) with means (d,).",
    inputs=_gaussians,
    wrong={
        "p and q are exchanged": _other_way,
        "variances are squared, as if they were standard deviations": _deviations,
        "the variances count once instead of d times": _one_column,
        "the factor 1/2 is missing": _not_halved,
        "the sign of the logarithm is wrong": _log_sign,
    },
)
def gaussian_kl(mean_p, variance_p, mean_q, variance_q):
    """Write log p(x) - log q(x), and take its expectation over x ~ p.

    E |x - mean_p|^2 is d variance_p, and E |x - mean_q|^2 is d variance_p + |mean_p - mean_q|^2.
    """
    ratio = variance_p / variance_q
    return 0.5 * (len(mean_p) * (ratio - 1 - np.log(ratio)) + np.sum((mean_p - mean_q) ** 2) / variance_q)


def _steps(rng):
    betas = np.sort(rng.uniform(0.02, 0.3, 8))
    return [(t, betas) for t in (2, 3, 5, 8)]


def _smaller_variance(t, betas):
    """This is the weight for the posterior's variance. The question has sigma_t^2 = beta_t."""
    bar = np.append(1, np.cumprod(1 - betas))
    return betas[t - 1] / (2 * (1 - betas[t - 1]) * (1 - bar[t - 1]))


def _weight_not_halved(t, betas):
    """The KL of two Gaussians with the same variance is |difference|^2 / (2 variance)."""
    return 2 * kl_weight(t, betas)


def _single_alpha(t, betas):
    """eps is divided by sqrt(1 - alpha-bar_t), of all steps up to t."""
    return betas[t - 1] / (2 * (1 - betas[t - 1]) * betas[t - 1])


def _late(t, betas):
    """betas[0] is beta_1, so beta_t is betas[t - 1]."""
    bar = np.append(np.cumprod(1 - betas), 0.5 * np.prod(1 - betas))
    beta = np.append(betas, 0.5)[t]
    return beta / (2 * (1 - beta) * (1 - bar[t]))


def _of_x0(t, betas):
    """This is the weight of |x_0 - x0_hat|^2. An error of x_0 is sqrt((1 - bar) / bar) times one of eps."""
    bar = np.cumprod(1 - betas)[t - 1]
    return kl_weight(t, betas) * bar / (1 - bar)


@exercise(
    lab=3,
    level="middle",
    question="The weight w_t of |eps - eps_hat|^2 (summed over columns) in the bound, for sigma_t^2 = beta_t, t >= 2.",
    inputs=_steps,
    wrong={
        "the posterior's variance instead of beta_t": _smaller_variance,
        "the factor 1/2 is missing": _weight_not_halved,
        "alpha_t instead of alpha-bar_t": _single_alpha,
        "one step off": _late,
        "the weight of an error of x_0 instead of eps": _of_x0,
    },
)
def kl_weight(t, betas):
    """Put both means into |mean - mean_hat|^2 / (2 sigma_t^2): only the noises differ.

    Each mean is (x_t - beta_t / sqrt(1 - alpha-bar_t) eps) / sqrt(1 - beta_t).
    """
    beta, bar = betas[t - 1], np.cumprod(1 - betas)[t - 1]
    return beta / (2 * (1 - beta) * (1 - bar))


def _two_points(rng):
    return [(m, alpha_bar) for m, alpha_bar in zip((1.0, 1.0, 0.7, 1.5), (0.2, 0.5, 0.8, 0.4), strict=True)]


def _expectation(m, alpha_bar, function):
    """E function(x0_hat, x_0, x_t) over x_0 = m and the noise, by a sum over a fine grid of noises."""
    alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    eps = np.linspace(-9, 9, 20_001)
    share = np.exp(-(eps**2) / 2)
    x_t = alpha * m + sigma * eps
    return np.sum(share * function(m * np.tanh(alpha * m * x_t / sigma**2), m, x_t)) / np.sum(share)


def _x0_error(m, alpha_bar):
    """This is the error of x_0. As x_t is known, an error of eps is alpha / sigma times as large."""
    return _expectation(m, alpha_bar, lambda x0_hat, x_0, x_t: (x0_hat - x_0) ** 2)


def _gaussian(m, alpha_bar):
    """This is the least loss for a Gaussian with the same variance. Two points are easier to guess."""
    return alpha_bar * m**2 / (alpha_bar * m**2 + 1 - alpha_bar)


def _bar(m, alpha_bar):
    """alpha_bar is alpha^2: x_t is sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps."""
    return least_loss(m, alpha_bar**2)


def _root(m, alpha_bar):
    """The loss is a mean square, without a root."""
    return np.sqrt(least_loss(m, alpha_bar))


@exercise(
    lab=3,
    level="research",
    question="The least possible simple loss E (eps - eps_hat)^2 at alpha_bar, for data at -m and m, equally likely.",
    inputs=_two_points,
    wrong={
        "zero": lambda m, alpha_bar: 0.0,
        "the error of x_0 instead of eps": _x0_error,
        "a Gaussian with the variance of the data": _gaussian,
        "alpha-bar instead of alpha": _bar,
        "a root of the mean square": _root,
    },
    rtol=2e-3,
)
def least_loss(m, alpha_bar):
    """The best guess is E[eps | x_t] = (x_t - alpha E[x_0 | x_t]) / sigma, and its error is not 0.

    By Bayes' rule E[x_0 | x_t] = m tanh(alpha m x_t / sigma^2). Average over the noise by a sum over a fine grid.
    """
    alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    eps = np.linspace(-9, 9, 20_001)
    share = np.exp(-(eps**2) / 2)
    x_t = alpha * m + sigma * eps  # x_0 = m; -m gives the same, by symmetry
    eps_hat = (x_t - alpha * m * np.tanh(alpha * m * x_t / sigma**2)) / sigma
    return np.sum(share * (eps - eps_hat) ** 2) / np.sum(share)
