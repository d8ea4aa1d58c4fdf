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


def _constant(mean_p, variance_p, mean_q, variance_q):
    """With p = q the divergence has to be 0. Try it: what is left over?"""
    return gaussian_kl(mean_p, variance_p, mean_q, variance_q) + len(mean_p) / 2


def _distance(mean_p, variance_p, mean_q, variance_q):
    """The exponent of a Gaussian contains the squared distance."""
    ratio, distance = variance_p / variance_q, np.linalg.norm(mean_p - mean_q)
    return 0.5 * (len(mean_p) * (ratio - 1 - np.log(ratio)) + distance / variance_q)


def _by_variance_p(mean_p, variance_p, mean_q, variance_q):
    """Only log q contains the mean of q. Which variance stands in its exponent?"""
    ratio = variance_p / variance_q
    return 0.5 * (len(mean_p) * (ratio - 1 - np.log(ratio)) + np.sum((mean_p - mean_q) ** 2) / variance_p)


def _distance_alone(mean_p, variance_p, mean_q, variance_q):
    """A divergence has no units. Check the units of each of your terms."""
    ratio = variance_p / variance_q
    return 0.5 * (len(mean_p) * (ratio - 1 - np.log(ratio)) + np.sum((mean_p - mean_q) ** 2))


def _upside_down(mean_p, variance_p, mean_q, variance_q):
    """The points x come from p, so E |x - mean_p|^2 has the variance of p. By what is it divided in log q?"""
    ratio = variance_q / variance_p
    return 0.5 * (len(mean_p) * (ratio - 1 - np.log(ratio)) + np.sum((mean_p - mean_q) ** 2) / variance_q)


def _distance_not_halved(mean_p, variance_p, mean_q, variance_q):
    """The variances are right. Both terms come from exponents with a factor 1/2."""
    ratio = variance_p / variance_q
    return 0.5 * len(mean_p) * (ratio - 1 - np.log(ratio)) + np.sum((mean_p - mean_q) ** 2) / variance_q


def _mean_over_columns(mean_p, variance_p, mean_q, variance_q):
    """Independent columns add their divergences."""
    return gaussian_kl(mean_p, variance_p, mean_q, variance_q) / len(mean_p)


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
        "a constant is missing": _constant,
        "the distance is not squared": _distance,
        "the distance is divided by the variance of p": _by_variance_p,
        "the distance is not divided by a variance": _distance_alone,
        "the ratio of the variances is upside down": _upside_down,
        "the factor 1/2 is missing at the distance": _distance_not_halved,
        "the mean over columns instead of the sum": _mean_over_columns,
    },
)
def gaussian_kl(mean_p, variance_p, mean_q, variance_q):
    """A KL divergence is a mean of a log-ratio. Write log p(x) - log q(x), and take its expectation over x ~ p.

    E |x - mean_p|^2 is d variance_p, and E |x - mean_q|^2 is d variance_p + |mean_p - mean_q|^2. The normalisers
    give the logarithm of the ratio of the variances, d times.
    """
    ratio = variance_p / variance_q
    return 0.5 * (len(mean_p) * (ratio - 1 - np.log(ratio)) + np.sum((mean_p - mean_q) ** 2) / variance_q)


def _steps(rng):
    betas = np.sort(rng.uniform(0.02, 0.3, 8))
    return [(t, betas) for t in (2, 3, 5, 8)]


def _smaller_variance(t, betas):
    """This is the weight for the posterior's variance, or alpha-bar of step t - 1. Here sigma_t^2 is beta_t."""
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


def _variance_missing(t, betas):
    """This is half the squared factor of the noise. The term of a step also divides by sigma_t^2."""
    return kl_weight(t, betas) * betas[t - 1]


def _variance_squared(t, betas):
    """sigma_t^2 is beta_t itself. It is a variance already."""
    return kl_weight(t, betas) / betas[t - 1]


def _not_squared(t, betas):
    """The difference of the means is squared, and so is everything that multiplies it."""
    beta, bar = betas[t - 1], np.cumprod(1 - betas)[t - 1]
    return 1 / (2 * np.sqrt((1 - beta) * (1 - bar)))


def _no_shrinking(t, betas):
    """Each mean also undoes the shrinking of the step. Look at the factor in front of the brackets."""
    return kl_weight(t, betas) * (1 - betas[t - 1])


def _no_bar(t, betas):
    """Look at what eps is divided by in the mean of a step."""
    return kl_weight(t, betas) * (1 - np.cumprod(1 - betas)[t - 1])


def _roots_left(t, betas):
    """You squared beta_t. The whole factor of the noise is squared."""
    beta, bar = betas[t - 1], np.cumprod(1 - betas)[t - 1]
    return beta / (2 * np.sqrt((1 - beta) * (1 - bar)))


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
        "not divided by the variance of the step": _variance_missing,
        "divided by beta_t squared": _variance_squared,
        "the factor of the noise is not squared": _not_squared,
        "1 - beta_t is missing": _no_shrinking,
        "1 - alpha-bar_t is missing": _no_bar,
        "the square roots below the fraction line are not squared": _roots_left,
    },
)
def kl_weight(t, betas):
    """Compare the two means of section 4. In what do they differ, and by which factor is this difference
    multiplied?

    Put both means into |mean - mean_hat|^2 / (2 sigma_t^2): only the noises differ. Square their factor.

    Each mean is (x_t - beta_t / sqrt(1 - alpha-bar_t) eps) / sqrt(1 - beta_t), and sigma_t^2 = beta_t.
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


def _other_denoiser(m, alpha_bar, x0_hat):
    """Return the loss of another denoiser than the exact one."""
    alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    noise = lambda x_0, x_t: (x_t - alpha * x_0) / sigma
    return _expectation(
        m, alpha_bar, lambda _, x_0, x_t: (noise(x0_hat(alpha, sigma, x_t), x_t) - noise(x_0, x_t)) ** 2
    )


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


def _unweighted(m, alpha_bar):
    """A grid has as many points at eps = 4 as at 0, but such noise is rare. Weight the points by the density of eps."""
    alpha, sigma, eps = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar), np.linspace(-9, 9, 20_001)
    x_t = alpha * m + sigma * eps
    return np.mean((eps - (x_t - alpha * m * np.tanh(alpha * m * x_t / sigma**2)) / sigma) ** 2)


def _by_sigma(m, alpha_bar):
    """The odds of the two points come from Gaussian exponents. By what are these divided?"""
    return _other_denoiser(m, alpha_bar, lambda alpha, sigma, x_t: m * np.tanh(alpha * m * x_t / sigma))


def _no_variance(m, alpha_bar):
    """With little noise x_t shows almost surely which of the two points it was. Your tanh does not know the noise."""
    return _other_denoiser(m, alpha_bar, lambda alpha, sigma, x_t: m * np.tanh(alpha * m * x_t))


def _lab_modes(m, alpha_bar):
    """The modes of section 3 are at -1 and 1. Here they are at -m and m."""
    return _other_denoiser(m, alpha_bar, lambda alpha, sigma, x_t: m * np.tanh(alpha * x_t / sigma**2))


def _nearest(m, alpha_bar):
    """A guess of -m or m is sometimes wrong by 2m. Which guess has the least squared error?"""
    return _other_denoiser(m, alpha_bar, lambda alpha, sigma, x_t: m * np.sign(x_t))


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
        "all noises count equally": _unweighted,
        "sigma instead of sigma^2 in the tanh": _by_sigma,
        "the tanh is not divided by a variance": _no_variance,
        "m is missing in the tanh": _lab_modes,
        "the nearer of the two points instead of their mean": _nearest,
    },
    rtol=2e-3,
)
def least_loss(m, alpha_bar):
    """Which guess of eps is the best one, if you see x_t and know that x_0 is -m or m? Section 5 says which mean it
    is.

    The best guess is E[eps | x_t] = (x_t - alpha E[x_0 | x_t]) / sigma, and its error is not 0. By Bayes' rule, as
    in section 3 with a width of 0, E[x_0 | x_t] is m times a tanh.

    E[x_0 | x_t] = m tanh(alpha m x_t / sigma^2). Put in x_t = alpha m + sigma eps, and average the squared error
    over eps with its normal density, by a sum over a fine grid.
    """
    alpha, sigma = np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)
    eps = np.linspace(-9, 9, 20_001)
    share = np.exp(-(eps**2) / 2)
    x_t = alpha * m + sigma * eps  # x_0 = m; -m gives the same, by symmetry
    eps_hat = (x_t - alpha * m * np.tanh(alpha * m * x_t / sigma**2)) / sigma
    return np.sum(share * (eps - eps_hat) ** 2) / np.sum(share)
