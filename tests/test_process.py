"""The forward process: Chapman-Kolmogorov, Bayes' rule by numerical integration, and the five parameterisations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import (
    CONTINUOUS,
    DISCRETE,
    SCHEDULES,
    ExactGaussian,
    float64,
    normal_logpdf,
    property_test,
    tutorial_tables,
)

from motes.points import process

ALL = SCHEDULES | CONTINUOUS
each = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
each_discrete = pytest.mark.parametrize("schedule", [SCHEDULES[name] for name in DISCRETE], ids=DISCRETE)

schedules = st.sampled_from(list(ALL.values()))
times = st.floats(0.05, 1.0)
points = st.lists(st.floats(-5, 5), min_size=3, max_size=3).map(np.array)


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


@pytest.mark.slow
@each_discrete
def test_the_posterior_tables_are_the_posterior(schedule):
    with float64():
        k = jnp.arange(schedule.steps)
        posterior = lambda x_t, x0: jax.jit(
            jax.vmap(lambda k: process.q_posterior(schedule, x_t, x0, schedule.t_of_step(k), k / schedule.steps))
        )(k)
        one, zero = jnp.ones(()), jnp.zeros(())
        of_x0, of_x_t, variance = posterior(zero, one).mean, posterior(one, zero).mean, posterior(one, one).variance
    table = tutorial_tables(schedule.betas)  # whose 1 - cumprod loses digits
    assert np.allclose(of_x0, table["posterior_mean_coef_1"], rtol=1e-8)
    assert np.allclose(of_x_t, table["posterior_mean_coef_2"], rtol=1e-8)
    assert np.allclose(variance, table["posterior_variance"], rtol=1e-8)


# --- x_0, eps, v, score, velocity ----------------------------------------------------------------------------------


@property_test
@given(schedules, times, points, points)
def test_conversions_go_there_and_back(schedule, t, x0, x_t):
    with float64():
        for there, back in (
            (process.eps_from_x0, process.x0_from_eps),
            (process.v_from_x0, process.x0_from_v),
            (process.score_from_x0, process.x0_from_score),
            (process.velocity_from_x0, process.x0_from_velocity),
        ):
            again = back(schedule, x_t, there(schedule, x_t, x0, t), t)
            # Rounding of x_t, 1e-15, is divided by alpha_t on the way back.
            assert np.allclose(again, x0, rtol=1e-9, atol=1e-14 / float(schedule.alpha(t)))


@pytest.mark.slow
@property_test
@given(schedules, times, points, points)
def test_eps_from_v_and_from_the_velocity_is_eps(schedule, t, x0, eps):
    with float64():
        x_t = process.q_sample(schedule, x0, t, eps)
        rounding = 1e-14 / float(schedule.sigma(t) * schedule.alpha(t))
        for there, back in (
            (process.v_from_x0, process.eps_from_v),
            (process.velocity_from_x0, process.eps_from_velocity),
        ):
            again = back(schedule, x_t, there(schedule, x_t, x0, t), t)
            assert np.allclose(again, eps, rtol=1e-9, atol=1e-12 + rounding)


@each
@pytest.mark.parametrize("t", [0.0, 1e-3, 1.0])
def test_x0_from_the_velocity_is_finite_from_0_to_1(schedule, t):
    x0 = process.x0_from_velocity(schedule, jnp.array([1.0, -2.0]), jnp.array([0.3, 0.1]), t)
    assert np.isfinite(x0).all()
    if t == 0:
        assert np.allclose(x0, [1.0, -2.0], rtol=1e-6)


@property_test
@given(schedules, times, points, points)
def test_each_conversion_is_its_definition(schedule, t, x0, eps):
    with float64():
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        x_t = alpha * x0 + sigma * eps
        rounding = 1e-14 / sigma  # of x_t, once it is divided by sigma_t
        assert np.allclose(process.eps_from_x0(schedule, x_t, x0, t), eps, rtol=1e-9, atol=rounding)
        assert np.allclose(process.v_from_x0(schedule, x_t, x0, t), alpha * eps - sigma * x0, rtol=1e-9, atol=rounding)
        assert np.allclose(sigma * process.score_from_x0(schedule, x_t, x0, t), -eps, rtol=1e-9, atol=rounding)
        alpha_rate, sigma_rate = map(float, schedule.rates(t))
        velocity = process.velocity_from_x0(schedule, x_t, x0, t)
        rounding *= 1 + abs(sigma_rate)
        assert np.allclose(velocity, alpha_rate * x0 + sigma_rate * eps, rtol=1e-9, atol=rounding)


@each
def test_the_score_is_the_gradient_of_the_log_density(schedule):
    with float64():
        t, x0, x_t = 0.6, jnp.array([0.3, -1.0]), jnp.array([0.8, 0.1])
        log_q = lambda x: -jnp.sum((x - schedule.alpha(t) * x0) ** 2) / (2 * schedule.sigma(t) ** 2)
        assert np.allclose(process.score_from_x0(schedule, x_t, x0, t), jax.grad(log_q)(x_t), rtol=1e-12)


@each
def test_tweedies_formula_gives_the_posterior_mean(schedule):
    mean, std, t = 0.5, 0.6, 0.7
    with float64():
        x_t = jnp.array([0.8, -0.2])
        log_q = lambda x: (
            -jnp.sum((x - schedule.alpha(t) * mean) ** 2)
            / (2 * (schedule.alpha(t) ** 2 * std**2 + schedule.sigma(t) ** 2))
        )
        x0_hat = process.x0_from_score(schedule, x_t, jax.grad(log_q)(x_t), t)
        assert np.allclose(x0_hat, ExactGaussian(schedule, mean, std)(x_t, t), rtol=1e-9)


@pytest.mark.slow
def test_points_of_any_shape_broadcast_against_their_times():
    schedule, t = SCHEDULES["linear"], jnp.array([[0.2], [0.9]])
    x0, eps = jnp.ones((2, 3)), jnp.zeros((2, 3))
    assert np.allclose(process.q_sample(schedule, x0, t, eps), np.repeat(schedule.alpha(t), 3, axis=1))
