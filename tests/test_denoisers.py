"""One estimate, read as anything; and a network that says any of these, read as the estimate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.reference import CONTINUOUS, SCHEDULES, ExactGaussian, ExactMixture, Silent, float64

from motes.points.denoisers import NoisePredictor, Preconditioned, VelocityPredictor, VPredictor, X0Predictor
from motes.points.exact import GaussianOracle
from motes.points.recipe import DENOISERS

ALL = SCHEDULES | CONTINUOUS
each = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
X_T = np.array([0.8, -0.4])
TIMES = [0.083, 0.4621, 0.97, 1.0]  # on no step of a discrete schedule but the last


def says(quantity):
    """A network that says what an exact denoiser of a mixture says."""
    return lambda schedule: lambda x, t: getattr(ExactMixture(schedule), quantity)(x, t)


@pytest.mark.slow(but=["X0Predictor-__call__-exploding"])
@each
@pytest.mark.parametrize(
    ("predictor", "quantity"),
    [(NoisePredictor, "eps"), (X0Predictor, "__call__"), (VPredictor, "v"), (VelocityPredictor, "velocity")],
)
def test_whatever_a_network_says_the_estimates_are_the_same(schedule, predictor, quantity):
    with float64():
        exact, learned = ExactMixture(schedule), predictor(says(quantity)(schedule), schedule)
        for t in TIMES:
            # Digits that sigma_t or alpha_t divides by.
            loose = dict(rtol=1e-8, atol=1e-12 / float(schedule.alpha(t) * schedule.sigma(t) ** 2))
            for read in ("__call__", "eps", "v", "score", "velocity"):
                assert np.allclose(getattr(learned, read)(X_T, t), getattr(exact, read)(X_T, t), **loose), read


@pytest.mark.slow(only=["functions", "knots", "tutorial"])
@each
def test_a_preconditioned_network_that_knows_the_rest_gives_the_same_estimate(schedule):
    def rest(x, c_noise):
        # x_t / alpha_t and r from what the network sees, for sigma_data = 1.
        r = jnp.exp(4 * c_noise)
        t = schedule.t_of_log_snr(-2 * jnp.log(r))
        y = x * jnp.sqrt(1 + r**2)
        x0 = ExactMixture(schedule)(schedule.alpha(t) * y, t)
        return (x0 - y / (1 + r**2)) / (r / jnp.sqrt(1 + r**2))

    with float64():
        for t in TIMES[:-1]:
            ours, exact = (read(X_T, t) for read in (Preconditioned(rest, schedule), ExactMixture(schedule)))
            assert np.allclose(ours, exact, rtol=1e-6, atol=1e-9)


@each
def test_each_reading_is_its_definition(schedule):
    with float64():
        denoiser = ExactMixture(schedule)
        for t in TIMES:
            alpha, sigma, x0 = float(schedule.alpha(t)), float(schedule.sigma(t)), denoiser(X_T, t)
            eps, (alpha_rate, sigma_rate) = (X_T - alpha * x0) / sigma, schedule.rates(t)
            assert np.allclose(denoiser.eps(X_T, t), eps, rtol=1e-12)
            assert np.allclose(denoiser.v(X_T, t), alpha * eps - sigma * x0, rtol=1e-12)
            assert np.allclose(denoiser.score(X_T, t), (alpha * x0 - X_T) / sigma**2, rtol=1e-12)
            assert np.allclose(denoiser.velocity(X_T, t), alpha_rate * x0 + sigma_rate * eps, rtol=1e-12)


@each
@pytest.mark.parametrize("t", [0.0, 1e-3, 1.0])
def test_x0_from_the_velocity_is_finite_from_0_to_1(schedule, t):
    x0 = VelocityPredictor(lambda x, t: jnp.array([0.3, 0.1]), schedule)(X_T, t)
    assert np.isfinite(x0).all()
    if t == 0:
        assert np.allclose(x0, X_T, rtol=1e-6)


@each
def test_an_oracle_reads_as_any_denoiser_does(schedule):
    mean, std = 0.4, 0.7
    with float64():
        oracle = GaussianOracle(np.full(2, mean), std**2 * np.eye(2), schedule)
        plain = ExactGaussian(schedule, mean, std)
        for t in TIMES:
            loose = dict(rtol=1e-8, atol=1e-14 / float(schedule.sigma(t) ** 2))
            for read in ("__call__", "eps", "v", "score", "velocity"):
                assert np.allclose(getattr(oracle, read)(X_T, t), getattr(plain, read)(X_T, t), **loose), read


@each
def test_the_velocity_of_a_gaussian_is_the_slope_of_its_flow(schedule):
    # The flow keeps a Gaussian's quantiles: x_t = alpha_t mean + sqrt(alpha_t^2 std^2 + sigma_t^2) z with z kept.
    mean, std = 0.4, 0.7
    z = jnp.array([1.3, -0.2])

    def flow(t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return alpha * mean + jnp.sqrt((alpha * std) ** 2 + sigma**2) * z

    with float64():
        for t in [*TIMES[:-1], 1 - 1e-9]:  # at 1 a discrete schedule has no slope to both sides
            x_t, slope = jax.jvp(flow, (jnp.asarray(t),), (jnp.asarray(1.0),))
            assert np.allclose(ExactGaussian(schedule, mean, std).velocity(x_t, t), slope, rtol=1e-8)


def test_a_reading_costs_one_call_of_the_network():
    def program(read):
        denoiser = NoisePredictor(lambda x, t: jnp.sinh(x), CONTINUOUS["rectified_flow"])
        return jax.jit(lambda x, t: getattr(denoiser, read)(x, t)).lower(X_T, 0.5).as_text()

    for read in ("__call__", "eps", "v", "score", "velocity"):
        assert program(read).count("chlo.sinh") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", DENOISERS)
@pytest.mark.parametrize("t", [1e-4, 0.5, 1.0])
def test_a_fresh_network_of_any_kind_is_finite_in_single_precision(kind, t):
    for schedule in ALL.values():
        denoiser = DENOISERS[kind]().denoiser(Silent(), schedule)
        for read in ("__call__", "eps", "v", "velocity"):
            assert np.isfinite(getattr(denoiser, read)(X_T, t)).all(), (type(schedule), read)
