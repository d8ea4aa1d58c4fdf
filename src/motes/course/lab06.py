"""Exercises of lab 6: score, noise, velocity and clean point, and the exact denoiser."""

import numpy as np

from motes.course.exercises import exercise

# --- easy: from the score to the clean point -------------------------------------------------------------------------


def _score_inputs(rng):
    angles = rng.uniform(0.3, 1.3, size=3)
    return [(rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), np.cos(a), 1.5 * np.sin(a)) for a in angles]


@exercise(
    lab=6,
    level="easy",
    question="E[x_0 | x_t] from the score of q(x_t).",
    inputs=_score_inputs,
    wrong={
        "the sign of the score is wrong: it points to where points are likely": lambda x_t, score, alpha, sigma: (
            (x_t - sigma**2 * score) / alpha
        ),
        "a standard deviation where a variance belongs: sigma instead of sigma squared": (
            lambda x_t, score, alpha, sigma: (x_t + sigma * score) / alpha
        ),
        "alpha-bar, which is alpha squared, instead of alpha": lambda x_t, score, alpha, sigma: (
            (x_t + sigma**2 * score) / alpha**2
        ),
        "the division by alpha is missing: this is E[alpha x_0 | x_t]": lambda x_t, score, alpha, sigma: (
            x_t + sigma**2 * score
        ),
        "eps_hat, the noise, instead of the point": lambda x_t, score, alpha, sigma: -sigma * score,
        "brackets are missing: x_t is divided by alpha as well": (
            lambda x_t, score, alpha, sigma: x_t + sigma**2 * score / alpha
        ),
        "the score is taken for eps_hat: they differ by a factor -sigma": (
            lambda x_t, score, alpha, sigma: (x_t - sigma * score) / alpha
        ),
        "a square root of alpha: the argument is alpha, not alpha-bar": (
            lambda x_t, score, alpha, sigma: (x_t + sigma**2 * score) / np.sqrt(alpha)
        ),
        "multiplied by alpha instead of divided: x_t contains alpha times the point": (
            lambda x_t, score, alpha, sigma: alpha * (x_t + sigma**2 * score)
        ),
        "the score is not multiplied by sigma^2: near the data it is large, and the noise is small": (
            lambda x_t, score, alpha, sigma: (x_t + score) / alpha
        ),
        "the score is divided by sigma^2 once more": (
            lambda x_t, score, alpha, sigma: (x_t + score / sigma**2) / alpha
        ),
    },
)
def x0_from_score(x_t, score, alpha, sigma):
    """Section 2 writes the score of q(x_t) with E[x_0 | x_t]. Solve this formula for the clean point.

    Tweedie's formula is score = (alpha x0_hat - x_t) / sigma^2.
    """
    return (x_t + sigma**2 * score) / alpha


# --- middle: the exact denoiser of a mixture -------------------------------------------------------------------------


def _mixture_inputs(rng):
    calls = []
    for count, d in ((2, 1), (3, 2), (4, 3)):
        a = rng.uniform(0.4, 1.1)
        weights, stds = rng.dirichlet(np.full(count, 3.0)), rng.uniform(0.3, 1.2, size=count)
        means, x_t = rng.normal(size=(count, d)), rng.normal(size=(5, d))
        calls.append((x_t, np.cos(a), np.sin(a), weights, means, stds))
    return calls


def _mixture(
    x_t,
    alpha,
    sigma,
    weights,
    means,
    stds,
    *,
    variance=None,
    width=None,
    centres=None,
    largest=False,
    gain=None,
    half=0.5,
    height=0.5,
    axis=1,
):
    """Return the exact denoiser, with one part replaced."""
    variance = alpha**2 * stds**2 + sigma**2 if variance is None else variance
    width = variance if width is None else width
    offset = x_t[:, None] - (alpha * means if centres is None else centres)
    log_joint = np.log(weights) - half * np.sum(offset**2, axis=2) / width - height * means.shape[1] * np.log(width)
    share = np.exp(log_joint - log_joint.max(axis=axis, keepdims=True))
    share = share == 1 if largest else share / share.sum(axis=axis, keepdims=True)
    gain = alpha * stds**2 / variance if gain is None else gain
    return np.einsum("nk,nkd->nd", share, means + gain[:, None] * (x_t[:, None] - alpha * means))


@exercise(
    lab=6,
    level="middle",
    question="E[x_0 | x_t] of a mixture of isotropic Gaussians, each with its own mean and standard deviation.",
    inputs=_mixture_inputs,
    wrong={
        "the components are weighted at t = 0, with std^2, instead of the variance of x_t": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, width=stds**2
            )
        ),
        "a standard deviation where the variance of x_t belongs, in the weights of the components": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, width=np.sqrt(alpha**2 * stds**2 + sigma**2)
            )
        ),
        "the normaliser of the Gaussians is missing: wide components get too much weight": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(x_t, alpha, sigma, weights, means, stds, height=0)
        ),
        "the normaliser counts one column instead of d": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, height=0.5 / means.shape[1]
            )
        ),
        "the components stand at their means instead of alpha times their means": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, centres=means
            )
        ),
        "the components count equally: their weights are missing": lambda x_t, alpha, sigma, weights, means, stds: (
            _mixture(x_t, alpha, sigma, np.ones_like(weights), means, stds)
        ),
        "only the most likely component counts, instead of all": lambda x_t, alpha, sigma, weights, means, stds: (
            _mixture(x_t, alpha, sigma, weights, means, stds, largest=True)
        ),
        "each component answers with its mean, as if it were a single point": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, gain=np.zeros_like(stds)
            )
        ),
        "the factor 1/2 in the exponents is missing": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(x_t, alpha, sigma, weights, means, stds, half=1)
        ),
        "the components keep their prior weights: x_t says which of them are likely": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, half=0, height=0
            )
        ),
        "alpha is missing in the variance of x_t: the width of a component is shrunk as well": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, variance=stds**2 + sigma**2
            )
        ),
        "the variance of x_t is without the noise": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, variance=alpha**2 * stds**2
            )
        ),
        "alpha is missing in the slope of a component's answer": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(
                x_t, alpha, sigma, weights, means, stds, gain=stds**2 / (alpha**2 * stds**2 + sigma**2)
            )
        ),
        "normalised over the points instead of the components: each point has probabilities that add up to 1": (
            lambda x_t, alpha, sigma, weights, means, stds: _mixture(x_t, alpha, sigma, weights, means, stds, axis=0)
        ),
    },
)
def mixture_denoiser(x_t, alpha, sigma, weights, means, stds):
    """If you knew the component, the answer would be a straight line. How likely is each component, given x_t?

    Average the answers of the components, each weighted by its probability given x_t: by Bayes' rule, its weight
    times the density of x_t in it, divided by the sum over all components. Do not forget the normaliser of each
    Gaussian.

    Component k of x_t is N(alpha means_k, (alpha^2 stds_k^2 + sigma^2) I). Given k, x_0 is on average means_k +
    alpha stds_k^2 / (alpha^2 stds_k^2 + sigma^2) (x_t - alpha means_k).
    """
    variance = alpha**2 * stds**2 + sigma**2  # (k,)
    offset = x_t[:, None] - alpha * means  # (n, k, d)
    log_q = -np.sum(offset**2, axis=2) / (2 * variance) - means.shape[1] / 2 * np.log(variance)
    log_joint = np.log(weights) + log_q
    share = np.exp(log_joint - log_joint.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)  # p(k | x_t), (n, k)
    return np.einsum("nk,nkd->nd", share, means + (alpha * stds**2 / variance)[:, None] * offset)


# --- research: how sure the denoiser is ------------------------------------------------------------------------------


def _jacobian_inputs(rng):
    calls = []
    for d in (1, 2, 3):
        root, a = rng.normal(size=(d, d)), rng.uniform(0.4, 1.1)
        covariance, alpha, sigma = root @ root.T, np.cos(a), 1.2 * np.sin(a)
        calls.append((sigma * np.linalg.inv(alpha**2 * covariance + sigma**2 * np.eye(d)), alpha, sigma))
    return calls


@exercise(
    lab=6,
    level="research",
    question="The covariance of x_0 given x_t, from the Jacobian of eps_hat with respect to x_t, (d, d).",
    inputs=_jacobian_inputs,
    wrong={
        "the sign of the Jacobian is wrong": lambda jacobian, alpha, sigma: (
            (sigma / alpha) ** 2 * (np.eye(len(jacobian)) + sigma * jacobian)
        ),
        "sigma / alpha is not squared": lambda jacobian, alpha, sigma: (
            sigma / alpha * (np.eye(len(jacobian)) - sigma * jacobian)
        ),
        "the Jacobian is multiplied by sigma squared, as if it came from the score": lambda jacobian, alpha, sigma: (
            (sigma / alpha) ** 2 * (np.eye(len(jacobian)) - sigma**2 * jacobian)
        ),
        "the Jacobian of x0_hat: a factor sigma^2 / alpha is missing": lambda jacobian, alpha, sigma: (
            (np.eye(len(jacobian)) - sigma * jacobian) / alpha
        ),
        "the covariance of eps given x_t: a factor (sigma / alpha)^2 is missing": (
            lambda jacobian, alpha, sigma: np.eye(len(jacobian)) - sigma * jacobian
        ),
        "the identity is missing: without a denoiser x_0 would be as uncertain as the noise": (
            lambda jacobian, alpha, sigma: (sigma / alpha) ** 2 * sigma * jacobian
        ),
        "the number 1 instead of the identity matrix: only the diagonal of the derivative of x_t is 1": (
            lambda jacobian, alpha, sigma: (sigma / alpha) ** 2 * (1 - sigma * jacobian)
        ),
        "the Jacobian is not multiplied by sigma": (
            lambda jacobian, alpha, sigma: (sigma / alpha) ** 2 * (np.eye(len(jacobian)) - jacobian)
        ),
        "alpha divides once instead of twice: it is in x0_hat and in the derivative of its mean": (
            lambda jacobian, alpha, sigma: alpha * posterior_covariance(jacobian, alpha, sigma)
        ),
        "alpha is missing": (lambda jacobian, alpha, sigma: alpha**2 * posterior_covariance(jacobian, alpha, sigma)),
        "sigma / alpha is upside down: more noise must make x_0 less certain": (
            lambda jacobian, alpha, sigma: (alpha / sigma) ** 4 * posterior_covariance(jacobian, alpha, sigma)
        ),
    },
)
def posterior_covariance(jacobian, alpha, sigma):
    """Differentiate E[x_0 | x_t] with respect to x_t under the integral: the covariance of x_0 appears.

    The result is d x0_hat / d x_t = alpha / sigma^2 Cov[x_0 | x_t].

    Then put in x0_hat = (x_t - sigma eps_hat) / alpha, whose derivative is (I - sigma jacobian) / alpha.
    """
    return (sigma / alpha) ** 2 * (np.eye(len(jacobian)) - sigma * jacobian)
