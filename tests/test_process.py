"""The forward process: Chapman-Kolmogorov, and Bayes' rule by numerical integration."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import CONTINUOUS, DISCRETE, SCHEDULES, float64, normal_logpdf, property_test

from motes.points import process

ALL = SCHEDULES | CONTINUOUS
each = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
each_discrete = pytest.mark.parametrize("schedule", [SCHEDULES[name] for name in DISCRETE], ids=DISCRETE)

schedules = st.sampled_from(list(ALL.values()))


@each
def test_q_sample_is_a_blend_of_signal_and_noise(schedule):
    x0, eps = np.array([1.0, -2.0]), np.array([0.5, 3.0])
    with float64():
        alpha, sigma = float(schedule.alpha(0.37)), float(schedule.sigma(0.37))
        assert np.allclose(process.q_sample(schedule, x0, 0.37, eps), alpha * x0 + sigma * eps, rtol=1e-12)


# --- q(x_t | x_s) --------------------------------------------------------------------------------------------------


@each_discrete
def test_one_step_adds_beta(schedule):
    with float64():
        k = jnp.arange(schedule.steps)
        one_step = lambda k: process.q_transition(schedule, jnp.ones(()), k / schedule.steps, schedule.t_of_step(k))
        mean, variance = jax.jit(jax.vmap(one_step))(k)
    assert np.allclose(mean, np.sqrt(1 - schedule.betas), rtol=1e-9)
    assert np.allclose(variance, schedule.betas, rtol=1e-9)


@each_discrete
def test_all_steps_one_after_another_are_q_of_x_t_given_x_0(schedule):
    mean, variance = 1.0, 0.0
    for beta, alpha_bar in zip(schedule.betas, np.cumprod(1 - schedule.betas), strict=True):
        mean, variance = np.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        assert np.isclose(mean, np.sqrt(alpha_bar), rtol=1e-10)
        assert np.isclose(variance, 1 - alpha_bar, rtol=1e-10)
    with float64():
        whole = process.q_transition(schedule, jnp.ones(()), 0.0, 1.0)
    assert np.isclose(whole.mean, mean, rtol=1e-9)
    assert np.isclose(whole.variance, variance, rtol=1e-9)


@pytest.mark.slow
@property_test
@given(schedules, st.floats(0, 0.3), st.floats(0.31, 0.6), st.floats(0.61, 1), st.floats(-5, 5))
def test_transitions_compose(schedule, r, s, t, x):
    with float64():
        first = process.q_transition(schedule, jnp.asarray(x), r, s)
        second = process.q_transition(schedule, first.mean, s, t)
        factor = schedule.alpha(t) / schedule.alpha(s)
        whole = process.q_transition(schedule, jnp.asarray(x), r, t)
        assert np.isclose(second.mean, whole.mean, rtol=1e-9, atol=1e-12)
        assert np.isclose(factor**2 * first.variance + second.variance, whole.variance, rtol=1e-9)


# --- q(x_s | x_t, x_0) ---------------------------------------------------------------------------------------------


def by_bayes(schedule, x_t, x0, t, s):
    """Mean and variance of p(x_s) ~ q(x_t | x_s) q(x_s | x_0), summed over a fine grid of x_s."""
    alpha_s, sigma_s, alpha_t, sigma_t = (float(f(u)) for u in (s, t) for f in (schedule.alpha, schedule.sigma))
    factor = alpha_t / alpha_s
    added = sigma_t**2 - factor**2 * sigma_s**2
    # The product lives where both factors do; a grid around the narrower one, 12 deviations wide, holds it.
    centre, width = min((alpha_s * x0, sigma_s), (x_t / factor, added**0.5 / factor), key=lambda pair: pair[1])
    x_s = centre + width * np.linspace(-12, 12, 20_001)
    log_p = normal_logpdf(x_t, factor * x_s, added) + normal_logpdf(x_s, alpha_s * x0, sigma_s**2)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = p @ x_s
    return mean, p @ (x_s - mean) ** 2


@each
@pytest.mark.parametrize(("s", "t"), [(0.2, 0.22), (0.4, 0.9), (0.5, 1.0), (0.33, 0.34)])
def test_the_posterior_is_bayes_rule(schedule, s, t):
    with float64():
        x0 = 0.7
        x_t = float(schedule.alpha(t)) * x0 - 1.3 * float(schedule.sigma(t))
        mean, variance = process.q_posterior(schedule, jnp.asarray(x_t), jnp.asarray(x0), t, s)
        # 1e-6: beyond 12 deviations lies 1e-32; the log-SNR takes 1e-16 of 100 over a difference of 1e-3.
        assert np.allclose((mean, variance), by_bayes(schedule, x_t, x0, t, s), rtol=1e-6)


@each
def test_the_posterior_at_time_0_is_x_0_itself(schedule):
    with float64():
        mean, variance = process.q_posterior(schedule, jnp.array([3.0]), jnp.array([0.7]), 0.4, 0.0)
    assert np.allclose(mean, 0.7, rtol=1e-12)
    assert float(variance) == 0
