"""The variational bound, term by term, against Monte Carlo with densities written out in NumPy."""

import math

import jax
import numpy as np
import pytest
from tests.reference import SCHEDULES, ExactGaussian, Z, ancestral_moments, normal_logpdf, tutorial_tables

from motes.points import DiscreteVP, variational_bound

MEAN, STD = 0.5, 0.7  # the data is N(MEAN, STD^2 I), and the denoiser knows it
BETAS = np.array([0.05, 0.2, 0.4, 0.6])
POINT = np.array([1.3, -0.4])
ROWS = 40_000  # copies of the point, each with noise of its own: a sample of every term

each_variance = pytest.mark.parametrize("variance", ["beta", "posterior"])


def bound_of(points, variance, betas=BETAS):
    return variational_bound(
        ExactGaussian(DiscreteVP(betas), MEAN, STD), points, key=jax.random.key(0), variance=variance
    )


def terms_by_monte_carlo(variance, rng):
    """log q(x_{k-1}|x_k, x_0) - log p(x_{k-1}|x_k), and -log p(x_0|x_1), one sample of each a row: (T, ROWS)."""
    table = tutorial_tables(BETAS)
    rows = []
    for k, beta in enumerate(BETAS):
        alpha_bar = table["alphas_bar"][k]
        x_t = alpha_bar**0.5 * POINT + (1 - alpha_bar) ** 0.5 * rng.standard_normal((ROWS, 2))
        total = alpha_bar * STD**2 + 1 - alpha_bar
        x0_hat = (alpha_bar**0.5 * STD**2 * x_t + (1 - alpha_bar) * MEAN) / total
        c1, c2 = table["posterior_mean_coef_1"][k], table["posterior_mean_coef_2"][k]
        spread = beta if variance == "beta" else np.exp(table["posterior_log_variance_clipped"][k])
        if k == 0:
            rows.append(-normal_logpdf(POINT, c1 * x0_hat + c2 * x_t, spread).sum(axis=1))
            continue
        q_mean, q_variance = c1 * POINT + c2 * x_t, table["posterior_variance"][k]
        x_s = q_mean + q_variance**0.5 * rng.standard_normal((ROWS, 2))
        log_ratio = normal_logpdf(x_s, q_mean, q_variance) - normal_logpdf(x_s, c1 * x0_hat + c2 * x_t, spread)
        rows.append(log_ratio.sum(axis=1))
    return np.array(rows)


@each_variance
def test_each_term_agrees_with_monte_carlo(variance):
    bound = bound_of(np.tile(POINT, (ROWS, 1)), variance)
    ours = np.concatenate([bound.reconstruction[None], bound.kl.T])
    theirs = terms_by_monte_carlo(variance, np.random.default_rng(1))
    # Two independent means: a false alarm in 2e5 over the four terms and both variances.
    error = np.sqrt(ours.var(axis=1, dtype=float) / ROWS + theirs.var(axis=1) / ROWS)
    assert (np.abs(ours.mean(axis=1, dtype=float) - theirs.mean(axis=1)) < Z * error).all()
    # A KL is not negative, whatever x_t came; 1e-5 is for float32.
    assert (bound.kl > -1e-5).all()


@pytest.mark.slow
def test_the_prior_term_agrees_with_monte_carlo():
    alpha_bar = np.prod(1 - BETAS)
    mean, variance = alpha_bar**0.5 * POINT, 1 - alpha_bar
    x = mean + variance**0.5 * np.random.default_rng(1).standard_normal((ROWS, 2))
    theirs = (normal_logpdf(x, mean, variance) - normal_logpdf(x, 0, 1)).sum(axis=1)
    ours = bound_of(POINT[None], "beta").prior
    assert abs(ours[0] - theirs.mean()) < Z * theirs.std() / np.sqrt(ROWS)  # a false alarm in 10^6


@each_variance
@pytest.mark.parametrize("place", [-1.0, 0.5, 2.0])
def test_the_bound_lies_above_what_the_model_says_of_a_point(variance, place):
    # Here the model's own density is known: each reverse step is affine, so its points are Gaussian. The last step is
    # noisy, as a density needs.
    last = BETAS[0] if variance == "beta" else np.exp(tutorial_tables(BETAS)["posterior_log_variance_clipped"][0])
    mean, spread = ancestral_moments(BETAS, MEAN, STD, variance, denoise_last=True)
    nll = -2 * normal_logpdf(place, mean, spread + last)
    nats = bound_of(np.full((ROWS, 2), place), variance).nats.astype(float)
    assert nats.mean() > nll - Z * nats.std() / np.sqrt(ROWS)  # a false alarm in 10^6


def test_nats_are_the_sum_of_the_terms_and_bits_are_per_column():
    bound = bound_of(np.random.default_rng(0).standard_normal((5, 2)), "beta")
    assert bound.prior.shape == bound.reconstruction.shape == (5,)
    assert bound.kl.shape == (5, len(BETAS) - 1)
    total = bound.prior + bound.kl.sum(axis=1) + bound.reconstruction
    assert np.allclose(bound.nats, total)
    assert np.allclose(bound.bits_per_dim, total / 2 / math.log(2))


def test_a_schedule_without_steps_has_no_bound():
    with pytest.raises(TypeError, match="expected a DiscreteVP schedule, got VarianceExploding"):
        variational_bound(ExactGaussian(SCHEDULES["exploding"]), POINT[None], key=jax.random.key(0))


def test_a_misspelt_variance_is_an_error():
    with pytest.raises(ValueError, match="variance"):
        bound_of(POINT[None], "postrior")
