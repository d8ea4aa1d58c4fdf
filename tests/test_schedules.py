"""Schedules: every table and every t, against the formulas of the papers; and the forward process."""

from contextlib import nullcontext

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
    cosine_alphas_bar,
    float64,
    karras_levels,
    make_beta_schedule,
    normal_logpdf,
    property_test,
)

from motes.errors import RecipeError
from motes.points import process
from motes.points.sampling import KarrasGrid, UniformGrid
from motes.points.schedules import (
    CosineBetas,
    CosineVP,
    DiscreteVP,
    KnotSchedule,
    LinearBetas,
    LinearVP,
    QuadBetas,
    RectifiedFlow,
    Schedule,
    SigmoidBetas,
    VarianceExploding,
)
from motes.recipes import load_recipe

BETAS = {"linear": LinearBetas, "quad": QuadBetas, "sigmoid": SigmoidBetas}
each_discrete = pytest.mark.parametrize("schedule", [SCHEDULES[name] for name in DISCRETE], ids=DISCRETE)
ALL = SCHEDULES | CONTINUOUS
each = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
each_continuous = pytest.mark.parametrize("schedule", CONTINUOUS.values(), ids=CONTINUOUS)


@st.composite
def discrete_schedules(draw):
    kind = draw(st.sampled_from(["cosine", "linear", "quad", "sigmoid"]))
    steps = draw(st.sampled_from([1, 2, 10, 100]))  # few sizes: JAX compiles for each
    if kind == "cosine":
        return CosineBetas(steps, draw(st.floats(1e-3, 0.1)), draw(st.floats(0.5, 0.999))).schedule()
    return BETAS[kind](steps, draw(st.floats(1e-6, 0.3)), draw(st.floats(1e-6, 0.3))).schedule()


exploding_schedules = st.builds(VarianceExploding, st.floats(0.5, 100), st.floats(1, 10))
ends = st.floats(1e-6, 0.5)
continuous_schedules = st.one_of(
    st.builds(LinearVP, st.floats(1e-3, 30), st.floats(1e-3, 30)),
    st.builds(CosineVP, ends),
    st.builds(RectifiedFlow, ends),
)


# --- betas and their tables ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["linear", "quad", "sigmoid"])
@pytest.mark.parametrize(("steps", "start", "end"), [(100, 1e-5, 5e-3), (1000, 1e-4, 0.02), (2, 1e-5, 0.5)])
def test_betas_are_those_of_the_tutorial(kind, steps, start, end):
    assert np.allclose(BETAS[kind](steps, start, end).betas, make_beta_schedule(kind, steps, start, end), rtol=1e-12)


@pytest.mark.parametrize("steps", [10, 1000])
def test_cosine_betas_make_alpha_bar_a_squared_cosine(steps):
    alphas_bar = cosine_alphas_bar(steps, 0.008)
    betas = np.minimum(1 - alphas_bar / np.concatenate([[1.0], alphas_bar[:-1]]), 0.999)
    assert np.allclose(CosineBetas(steps).betas, betas, rtol=1e-9)
    # Only the last step is clipped: there alpha-bar would be 0.
    assert np.allclose(CosineBetas(steps).schedule().alphas_bar[:-1], alphas_bar[:-1], rtol=1e-9)
    assert CosineBetas(steps).betas[-1] == 0.999


def test_first_steps_of_tiny_betas_keep_their_digits():
    schedule = DiscreteVP([1e-17, 1e-17])
    assert np.allclose(schedule.sigma(jnp.array([0.5, 1.0])) ** 2, [1e-17, 2e-17], rtol=1e-6)


@pytest.mark.parametrize("bad", [0.0, 1.0, -0.1, 1.5, np.nan, np.inf])
def test_a_beta_outside_0_to_1_is_named_by_its_step(bad):
    with pytest.raises(ValueError, match=r"step 2 .*expected a number between 0 and 1"):
        DiscreteVP([0.1, 0.2, bad, 0.3, bad])


@pytest.mark.parametrize("shape", [(), (0,), (2, 2)])
def test_betas_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(T,\) with T >= 1"):
        DiscreteVP(np.full(shape, 0.1))


# --- as functions of t ---------------------------------------------------------------------------------------------


@each
def test_time_0_is_the_data(schedule):
    assert float(schedule.alpha(0.0)) == 1
    assert float(schedule.sigma(0.0)) == 0
    assert float(schedule.log_snr(0.0)) == np.inf


@each_discrete
def test_alpha_and_sigma_at_the_steps_are_the_tables(schedule):
    t = schedule.t_of_step(np.arange(schedule.steps))
    assert np.allclose(t, np.arange(1, schedule.steps + 1) / schedule.steps)
    # 1e-5: float32 time, and the last betas of the cosine schedule multiply its rounding by up to 20.
    assert np.allclose(schedule.alpha(t), np.sqrt(np.cumprod(1 - schedule.betas)), rtol=1e-5)
    assert np.allclose(schedule.sigma(t), np.sqrt(1 - np.cumprod(1 - schedule.betas)), rtol=1e-5)


@pytest.mark.slow
@property_test
@given(discrete_schedules())
def test_variance_is_preserved_at_every_time(schedule):
    with float64():
        t = jnp.linspace(0, 1, 257)  # most of them between steps
        assert np.allclose(schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2, 1, rtol=0, atol=1e-14)
        assert np.isclose(float(schedule.prior_std), 1, atol=1e-14)


@pytest.mark.slow
@property_test
@given(discrete_schedules())
def test_noise_comes_in_at_a_constant_rate_within_a_step(schedule):
    with float64():
        integrated_beta = -2 * np.log(schedule.alpha(jnp.array([0.0, 0.25, 0.5, 1.0]) / schedule.steps))
    assert np.allclose(integrated_beta, -np.log1p(-schedule.betas[0]) * np.array([0, 0.25, 0.5, 1]), rtol=1e-9)


@pytest.mark.slow
@property_test
@given(st.one_of(discrete_schedules(), exploding_schedules, continuous_schedules))
def test_log_snr_strictly_falls(schedule):
    with float64():
        log_snr = np.asarray(schedule.log_snr(jnp.arange(1, 258) / 257))
    assert np.isfinite(log_snr).all()
    assert (np.diff(log_snr) < 0).all()


@property_test
@given(st.one_of(discrete_schedules(), exploding_schedules, continuous_schedules))
def test_t_of_log_snr_inverts_log_snr(schedule):
    with float64():
        t = np.arange(1, 258) / 257
        # Where a step adds 1e-6 to an integrated beta of 30, rounding alone moves t by 1e-16 * 30 / 1e-6.
        assert np.allclose(schedule.t_of_log_snr(schedule.log_snr(t)), t, atol=1e-8)


@each
def test_t_of_log_snr_inverts_log_snr_in_single_precision_too(schedule):
    t = np.arange(1, 258, dtype=np.float32) / 257
    # log-SNR is up to 100 with a rounding of 1e-7 of it; t moves by at most about as much.
    assert np.allclose(jax.jit(lambda t: schedule.t_of_log_snr(schedule.log_snr(t)))(t), t, atol=1e-5)


@each
def test_a_log_snr_out_of_reach_gives_the_nearest_end(schedule):
    assert float(schedule.t_of_log_snr(-1e3)) == 1
    assert 0 <= float(schedule.t_of_log_snr(1e3)) < 1e-3


@pytest.mark.slow(only=["continuous_linear", "knots", "tutorial"])
@each
def test_rates_are_the_slopes_of_alpha_and_sigma(schedule):
    # Not at a step of a discrete schedule, where the slope jumps.
    t, h = np.array([0.137, 0.5041, 0.917, 0.9999]), 1e-6
    with float64():
        ours = schedule.rates(t)
        for rate, curve in zip(ours, (schedule.alpha, schedule.sigma), strict=True):
            # The rounding of alpha and sigma, 1e-16, is divided by 2h.
            assert np.allclose(rate, (curve(t + h) - curve(t - h)) / (2 * h), rtol=1e-5, atol=1e-8)
        at_1 = schedule.rates(1.0)
        assert np.allclose(at_1, schedule.rates(1 - 1e-9), rtol=1e-5)


# --- without steps -------------------------------------------------------------------------------------------------


def test_the_linear_schedule_is_equation_33():
    t = np.linspace(0, 1, 65)
    with float64():
        alpha = LinearVP(0.2, 9.0).alpha(t)
    assert np.allclose(np.log(alpha), -(t**2) * (9.0 - 0.2) / 4 - t * 0.2 / 2, atol=1e-14)


def test_the_cosine_schedule_is_the_limit_of_the_cosine_betas():
    t = np.arange(1, 1000) / 1000
    with float64():
        assert np.allclose(CosineVP(1e-12).alpha(t) ** 2, cosine_alphas_bar(1000, 0.0)[:-1], atol=1e-10)
        assert np.allclose(CosineVP(0.1).log_snr(t), -2 * np.log(np.tan(t * np.arccos(0.1))), rtol=1e-12)


def test_rectified_flow_is_a_straight_line_from_data_to_nearly_noise():
    t = np.linspace(0, 1, 65)
    with float64():
        assert np.allclose(RectifiedFlow(1e-9).alpha(t), 1 - t, atol=2e-9)
        assert np.allclose(RectifiedFlow(0.2).alpha(t) + RectifiedFlow(0.2).sigma(t), 1, atol=1e-14)


@pytest.mark.parametrize("kind", [CosineVP, RectifiedFlow])
@pytest.mark.parametrize("alpha_1", [0.3, 0.01, 1e-4, 1e-12, 1e-30])
def test_what_is_left_of_the_signal_is_what_was_asked_for_in_single_precision(kind, alpha_1):
    schedule = kind(alpha_1)
    assert np.isclose(float(schedule.alpha(1.0)), alpha_1, rtol=1e-6)
    assert np.isfinite(float(schedule.log_snr(1.0)))


@pytest.mark.slow
@each_continuous
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_all_is_finite_from_0_to_1(schedule, precision):
    with float64() if precision == "float64" else nullcontext():
        t = jnp.append(0.0, jnp.geomspace(1e-12, 1, 400))
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        assert alpha.dtype == sigma.dtype == precision
        assert (np.isfinite(alpha) & (alpha > 0)).all()
        assert (np.isfinite(sigma) & (sigma[1:] > 0).all()).all()
        assert np.isfinite(schedule.log_snr(t[1:])).all()
        again = schedule.t_of_log_snr(schedule.log_snr(t))
        # log-SNR is at most 60 or so, and its rounding is that of t, relative to t.
        assert np.allclose(again, t, rtol=2e-5 if precision == "float32" else 1e-11, atol=1e-30)
        assert np.isclose(schedule.prior_std, np.hypot(alpha[-1], sigma[-1]), rtol=1e-6)
        if isinstance(schedule, LinearVP | CosineVP):
            assert np.isclose(schedule.prior_std, 1, atol=1e-6)


def test_the_inverse_found_numerically_is_that_of_the_formula():
    class Straight(Schedule):
        def alpha(self, t):
            return 1 - 0.99 * jnp.asarray(t, float)

        def sigma(self, t):
            return 0.99 * jnp.asarray(t, float)

    curves = Straight()
    log_snr = np.linspace(-9, 25, 300)
    with float64():
        assert np.allclose(curves.t_of_log_snr(log_snr), RectifiedFlow(0.01).t_of_log_snr(log_snr), rtol=1e-12)
        slope = jax.vmap(jax.grad(curves.t_of_log_snr))(log_snr)
        assert np.allclose(slope, jax.vmap(jax.grad(RectifiedFlow(0.01).t_of_log_snr))(log_snr), rtol=1e-6)


def test_curves_through_points_are_smooth_and_monotone():
    """They meet the points, have one slope on both sides of each, and never turn, however uneven the points are."""
    schedule = KnotSchedule((1.0, 0.99, 0.2, 0.2, 0.001), (1e-4, 0.01, 0.9, 0.91, 80.0))
    t, near = np.linspace(0, 1, 501), 1e-9
    with float64():
        alpha, sigma = np.asarray(schedule.alpha(t)), np.asarray(schedule.sigma(t))
        np.testing.assert_allclose(alpha[::100], (1.0, 1.0, 0.99, 0.2, 0.2, 0.001), rtol=1e-12)
        np.testing.assert_allclose(sigma[::100], (0.0, 1e-4, 0.01, 0.9, 0.91, 80.0), rtol=1e-12)
        assert (np.diff(alpha) <= 1e-15).all() and (np.diff(sigma) > 0).all()
        assert (np.asarray(schedule.rates(t)[1]) > 0).all()
        knots = np.arange(1, 5) / 5
        for before, after in zip(schedule.rates(knots - near), schedule.rates(knots + near), strict=True):
            np.testing.assert_allclose(before, after, atol=1e-4)


BROKEN = [
    ((0.5,), (0.5,), "1 alphas .*both, 2 to 64"),
    ((0.9, 0.5), (0.5, 0.6, 0.7), "2 alphas and 3 sigmas"),
    ((0.5, 0.6), (0.5, 0.6), "alphas = .*that never rise"),
    ((0.5, 0.0), (0.5, 0.6), "alphas = .*from 1 down to 0.001"),
    ((0.5, 0.4), (0.5, 0.5), "sigmas = .*rising numbers"),
    ((0.5, 0.4), (0.5, 5e3), "sigmas = .*up to 1000"),
]


@pytest.mark.parametrize(("alphas", "sigmas", "says"), BROKEN)
def test_points_that_are_no_schedule_are_refused(alphas, sigmas, says):
    with pytest.raises(ValueError, match=says):
        KnotSchedule(alphas, sigmas)


def test_points_may_lie_on_their_limits():
    schedule = KnotSchedule((1.0, 0.001), (0.5, 1000.0))
    assert (float(schedule.alpha(1.0)), float(schedule.sigma(1.0))) == pytest.approx((0.001, 1000.0))


@pytest.mark.parametrize("kind", ["linear", "quad", "sigmoid", "cosine", "exploding", "continuous_linear"])
def test_what_has_to_be_above_0_is_refused_at_0(kind):
    keys = {"cosine": ["max_beta"], "exploding": ["sigma_max", "rho"], "continuous_linear": ["beta_min", "beta_max"]}
    for key in keys.get(kind, ["start", "end"]):
        with pytest.raises(RecipeError, match=rf"schedule\.{key} = 0; expected a number above 0"):
            load_recipe("default", {"schedule.kind": kind, f"schedule.{key}": 0.0})


def test_a_schedule_that_leaves_no_signal_is_refused():
    with pytest.raises(ValueError, match=r"beta_max = 400 leave alpha_1 = exp\(-100\) .* 0 in float32"):
        LinearVP(1.0, 400.0)


# --- grids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sigma_max", "rho"), [(80.0, 7.0), (20.0, 3.0)])
def test_equal_steps_of_exploding_are_the_karras_grid_down_to_0(sigma_max, rho):
    with float64():
        schedule = VarianceExploding(sigma_max, rho)
        sigma = schedule.sigma(UniformGrid(18)(schedule))
    assert np.allclose(sigma, karras_levels(19, 0.0, sigma_max, rho), rtol=1e-10)


@each
@pytest.mark.parametrize(("steps", "rho"), [(18, 7.0), (64, 3.0)])
def test_karras_grid_is_equation_5(schedule, steps, rho):
    with float64():
        grid = KarrasGrid(steps, 0.01, rho=rho)(schedule)
        ratio = jax.jit(lambda t: schedule.sigma(t) / schedule.alpha(t))(grid[:-1])
        largest = float(schedule.sigma(1.0) / schedule.alpha(1.0))
    assert grid.shape == (steps + 1,)
    assert np.allclose(ratio, karras_levels(steps, 0.01, largest, rho), rtol=1e-7)


@each
@pytest.mark.parametrize("steps", [1, 2, 256])
def test_grids_fall_from_exactly_1_to_exactly_0(schedule, steps):
    for grid in (UniformGrid(steps)(schedule), KarrasGrid(steps, 0.004)(schedule)):
        assert len(grid) == steps + 1
        assert grid[0] == 1
        assert grid[-1] == 0
        assert (np.diff(grid) < 0).all()


def test_karras_grid_refuses_a_last_level_above_the_first():
    with pytest.raises(ValueError, match="sigma_min"):
        KarrasGrid(10, 1.0)(SCHEDULES["tutorial"])  # whose noise ends at 0.53


# --- the forward process: Chapman-Kolmogorov, and Bayes' rule by numerical integration -------------------------------


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


def test_numbers_of_numpy_are_numbers():
    steps, rho = np.array([8, 7])
    grid = KarrasGrid(steps=steps, rho=rho)
    assert grid == KarrasGrid(steps=8, rho=7)
    assert grid(VarianceExploding(sigma_max=10.0)).shape == (9,)
