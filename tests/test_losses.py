"""Losses with known expectations, and the law of the times."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from tests.reference import SCHEDULES, ExactGaussian, Silent, Z

from motes.diffusion.denoiser import Denoiser
from motes.learning.denoisers import NoisePredictor, Preconditioned
from motes.learning.losses import LogNormalTimes, StepTimes, antithetic, edm, simple, stratified, uniform
from motes.learning.training import train

each = pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
TIMES = np.array([0.25, 0.5, 0.8, 1.0])  # where float32 still tells the noise from the point
DIM = 3


def losses(loss, denoiser, x0, key=0):
    """The single term of `loss` for each row, at every time in TIMES: (times, n)."""
    eps = jax.random.normal(jax.random.key(key), x0.shape)
    rows = jax.vmap(loss, (None, 0, None, 0))
    (term,) = jax.jit(jax.vmap(lambda t: rows(denoiser, x0, t, eps)))(TIMES).values()
    return np.asarray(term), np.asarray(eps)


def standard_normal(n):
    return np.random.default_rng(1).standard_normal((n, DIM)).astype(np.float32)


def assert_mean(rows, expected):
    """The mean over rows equals `expected` within Z standard errors, at each time; a false alarm in 4e5 of four."""
    error = rows.std(axis=1) / np.sqrt(rows.shape[1])
    assert (np.abs(rows.mean(axis=1) - expected) < Z * error).all()


# --- losses --------------------------------------------------------------------------------------------------------


@each
def test_a_denoiser_that_is_always_right_has_no_loss(schedule):
    x0 = np.full((8, DIM), 0.7, np.float32)  # data of a single point: E[x_0 | x_t] is that point
    right = ExactGaussian(schedule, mean=0.7, std=0.0)
    sigma = np.asarray(schedule.sigma(TIMES))[:, None]
    # eps_hat = (x_t - alpha x_0) / sigma: rounding of x_t, 1e-7 of it, is divided by sigma.
    assert (losses(simple, right, x0)[0] < (1e-6 * (1 + 1 / sigma)) ** 2).all()
    # edm's weight is 1 + 1 / r^2, and x0_hat is right to 1e-7.
    r = sigma / np.asarray(schedule.alpha(TIMES))[:, None]
    assert (losses(edm, right, x0)[0] < 1e-12 * (1 + 1 / r**2)).all()


@each
def test_the_simple_loss_of_silence_is_the_mean_square_of_the_noise(schedule):
    rows, eps = losses(simple, NoisePredictor(Silent(), schedule), standard_normal(50))
    assert np.allclose(rows, np.mean(eps**2, axis=1), rtol=1e-5)


@pytest.mark.parametrize("name", ["tutorial", "linear", "cosine"])
def test_the_least_simple_loss_on_a_gaussian_is_alpha_squared(name):
    # For x_0 ~ N(0, I), Var(eps | x_t) = 1 - sigma_t^2: what no denoiser can know.
    schedule = SCHEDULES[name]
    rows, _ = losses(simple, ExactGaussian(schedule), standard_normal(20_000))
    assert_mean(rows, schedule.alpha(TIMES) ** 2)


@each
def test_the_least_edm_loss_on_a_gaussian_is_1(schedule):
    # Var(x_0 | x_t) = r^2 / (1 + r^2) for x_0 ~ N(0, I), which the weight undoes.
    rows, _ = losses(edm, ExactGaussian(schedule), standard_normal(20_000))
    assert_mean(rows, 1.0)


@each
@pytest.mark.parametrize("data", ["normal", "signs"])
def test_the_edm_loss_of_a_fresh_network_is_1_at_every_time(schedule, data):
    x0 = standard_normal(20_000)
    if data == "signs":  # not Gaussian, but of unit variance
        x0 = np.sign(x0)
    rows, _ = losses(edm, Preconditioned(Silent(), schedule), x0)
    assert_mean(rows, 1.0)


class Point(Denoiser):
    """x0_hat is one learned point, whatever the input."""

    where: jax.Array
    schedule: object

    def __call__(self, x_t, t):
        return self.where


def test_the_terms_of_a_custom_loss_are_summed():
    near = lambda denoiser, x0, t, eps: jnp.sum((denoiser.where - x0) ** 2)
    small = lambda denoiser, x0, t, eps: 0.3 * jnp.sum(denoiser.where**2)
    schedule = SCHEDULES["linear"]

    def run(loss):
        return train(
            Point(jnp.ones(2), schedule),
            np.random.default_rng(0).standard_normal((40, 2)),
            loss=loss,
            times=StepTimes(schedule),
            optimiser=optax.sgd(0.1),
            steps=9,
            batch=8,
            key=jax.random.key(0),
        )

    apart = run(lambda *row: {"near": near(*row), "small": small(*row)})
    whole = run(lambda *row: {"all": near(*row) + small(*row)})
    assert np.allclose(apart.losses, whole.losses, rtol=1e-5)
    assert np.allclose(apart.last.where, whole.last.where, rtol=1e-5)


# --- times ---------------------------------------------------------------------------------------------------------

SCHEDULE = SCHEDULES["linear"]  # T = 100
each_draw = pytest.mark.parametrize("draw", [uniform, antithetic, stratified])


def steps_of(times, keys, n):
    """The steps k of `keys` batches of n rows, (keys, n)."""
    t = jax.jit(jax.vmap(lambda key: times(key, n)))(jax.random.split(jax.random.key(0), keys))
    k = np.asarray(t, dtype=np.float64) * SCHEDULE.steps - 1
    assert np.allclose(k, np.round(k), atol=1e-4)
    return np.round(k).astype(int)


@each_draw
@pytest.mark.parametrize("n", [7, 128])
def test_every_step_is_equally_likely(draw, n):
    k = steps_of(StepTimes(SCHEDULE, draw), 12_000 // n, n)
    assert k.min() == 0
    assert k.max() == SCHEDULE.steps - 1
    if draw is antithetic:
        k = k[:, : n // 2 + 1]  # the other half mirrors it, so that it is no independent evidence
    # Independent draws: a wrong alarm once in 10^6. Stratified ones spread more evenly, which makes it rarer still.
    assert stats.chisquare(np.bincount(k.ravel(), minlength=SCHEDULE.steps)).pvalue > 1e-6


@pytest.mark.parametrize("n", [1, 7, 128])
def test_antithetic_steps_are_pairs_k_and_T_minus_1_minus_k(n):
    k = steps_of(StepTimes(SCHEDULE, antithetic), 50, n)
    half = n // 2 + 1
    assert k.shape == (50, n)
    assert np.array_equal(k[:, half:], (SCHEDULE.steps - 1 - k[:, :half])[:, : n - half])


def test_stratified_draws_have_exactly_one_in_each_part():
    u = np.asarray(jax.vmap(lambda key: stratified(key, 64))(jax.random.split(jax.random.key(0), 50)))
    assert np.array_equal(np.floor(u * 64), np.tile(np.arange(64), (50, 1)))
    k = steps_of(StepTimes(SCHEDULE, stratified), 50, 200)  # two rows a step
    assert (np.sort(k, axis=1) == np.repeat(np.arange(100), 2)).all()


@each_draw
@pytest.mark.parametrize("levels", [None, 10])
def test_draws_lie_strictly_within_0_and_1(draw, levels):
    u = np.asarray(draw(jax.random.key(3), 4096, levels))
    assert u.shape == (4096,)
    assert (u >= 0).all()
    assert (u <= 1).all()
    if levels:
        assert np.allclose((u * levels) % 1, 0.5, atol=1e-5)


@each
def test_log_noise_is_normal_with_the_mean_and_the_deviation_asked_for(schedule):
    # The tutorial's noise runs from 0.003 to 0.53 of the signal only.
    mean, std = (-2.0, 0.25) if schedule is SCHEDULES["tutorial"] else (-0.7, 0.5)
    n, draws = 4096, (uniform, antithetic, stratified)

    @jax.jit
    def log_noise():
        times = jnp.stack([LogNormalTimes(schedule, mean, std, draw)(jax.random.key(1), n) for draw in draws])
        return -schedule.log_snr(times) / 2

    for draw, levels in zip(draws, np.asarray(log_noise()), strict=True):
        if draw is antithetic:
            levels = levels[: n // 2]  # the other half mirrors it, so that it is no independent evidence
        # Each a false alarm in 10^6 at most; stratified draws come nearer than independent ones.
        assert abs(levels.mean() - mean) < Z * std / np.sqrt(len(levels))
        assert abs(levels.std() - std) < Z * std / np.sqrt(2 * len(levels))
        assert stats.kstest(levels, stats.norm(mean, std).cdf).pvalue > 1e-6


def test_antithetic_log_noise_mirrors_about_its_mean():
    times = LogNormalTimes(SCHEDULES["exploding"], -1.2, 1.2, antithetic)
    log_noise = -np.asarray(times.schedule.log_snr(times(jax.random.key(1), 64))) / 2
    assert np.allclose(log_noise[:31] + log_noise[33:], -2.4, atol=1e-3)


def test_the_defaults_of_log_normal_times_are_those_of_karras():
    times = LogNormalTimes(SCHEDULES["exploding"])
    assert (times.mean, times.std) == (-1.2, 1.2)
