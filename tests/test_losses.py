"""Losses with known expectations, and the distribution of the times."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy import special, stats
from tests.reference import CONTINUOUS, SCHEDULES, ExactGaussian, ExactMixture, Silent, Z, float64

from motes.points import NoisePredictor, Preconditioned, variational_bound
from motes.points.losses import EDM, ELBO, X0, MinSNR, Simple, TruncatedSNR
from motes.points.schedules import DiscreteVP, LinearVP
from motes.points.times import LogitNormalTimes, LogNormalTimes, StepTimes, UniformTimes, stratified

ALL = SCHEDULES | CONTINUOUS
each = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
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


@pytest.mark.slow
@each
def test_a_denoiser_that_is_always_right_has_no_loss(schedule):
    x0 = np.full((8, DIM), 0.7, np.float32)  # data of a single point: E[x_0 | x_t] is that point
    right = ExactGaussian(schedule, mean=0.7, std=0.0)
    sigma = np.asarray(schedule.sigma(TIMES))[:, None]
    # eps_hat = (x_t - alpha x_0) / sigma: rounding of x_t, 1e-7 of it, is divided by sigma.
    assert (losses(Simple(), right, x0)[0] < (1e-6 * (1 + 1 / sigma)) ** 2).all()
    # The weight of EDM is 1 + 1 / r^2, and x0_hat is right to 1e-7.
    r = sigma / np.asarray(schedule.alpha(TIMES))[:, None]
    assert (losses(EDM(), right, x0)[0] < 1e-12 * (1 + 1 / r**2)).all()


@each
def test_the_simple_loss_of_silence_is_the_mean_square_of_the_noise(schedule):
    rows, eps = losses(Simple(), NoisePredictor(Silent(), schedule), standard_normal(50))
    assert np.allclose(rows, np.mean(eps**2, axis=1), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tutorial", "linear", "cosine"])
def test_the_least_simple_loss_on_a_gaussian_is_alpha_squared(name):
    # For x_0 ~ N(0, I), Var(eps | x_t) = 1 - sigma_t^2: what no denoiser can know.
    schedule = SCHEDULES[name]
    rows, _ = losses(Simple(), ExactGaussian(schedule), standard_normal(20_000))
    assert_mean(rows, schedule.alpha(TIMES) ** 2)


@each
def test_the_least_edm_loss_on_a_gaussian_is_1(schedule):
    # Var(x_0 | x_t) = r^2 / (1 + r^2) for x_0 ~ N(0, I), which the weight undoes.
    rows, _ = losses(EDM(), ExactGaussian(schedule), standard_normal(20_000))
    assert_mean(rows, 1.0)


@pytest.mark.slow(only=["normal-cosine", "normal-knots", "normal-tutorial", "signs-linear", "signs-tutorial"])
@each
@pytest.mark.parametrize("data", ["normal", "signs"])
def test_the_edm_loss_of_a_fresh_network_is_1_at_every_time(schedule, data):
    x0 = standard_normal(20_000)
    if data == "signs":  # not Gaussian, but of unit variance
        x0 = np.sign(x0)
    rows, _ = losses(EDM(), Preconditioned(Silent(), schedule), x0)
    assert_mean(rows, 1.0)


# --- weights -------------------------------------------------------------------------------------------------------


@pytest.mark.slow(only=["loss0-<lambda>-tutorial"])
@each
@pytest.mark.parametrize(
    ("loss", "weight"),
    [
        (X0(), lambda snr: np.ones_like(snr)),
        (TruncatedSNR(), lambda snr: np.maximum(snr, 1)),
        (MinSNR(), lambda snr: np.minimum(snr, 5)),
        (MinSNR(0.5), lambda snr: np.minimum(snr, 0.5)),
        (EDM(), lambda snr: snr + 1),
    ],
)
def test_a_weight_is_its_formula(schedule, loss, weight):
    x0, eps = np.array([0.4, -1.2]), np.array([0.9, 0.1])
    with float64():
        alpha, sigma = np.asarray(schedule.alpha(TIMES)), np.asarray(schedule.sigma(TIMES))
        for t, a, s in zip(TIMES, alpha, sigma, strict=True):
            denoiser = ExactMixture(schedule)
            (term,) = loss(denoiser, x0, t, eps).values()
            error = np.mean((np.asarray(denoiser(a * x0 + s * eps, t)) - x0) ** 2)
            assert np.isclose(term, weight(a**2 / s**2) * error, rtol=1e-9)


@each
def test_the_elbo_weight_is_half_the_fall_of_the_snr(schedule):
    t, h = np.array([0.237, 0.5041, 0.917]), 1e-6  # between the steps of a discrete schedule
    snr = lambda t: np.exp(schedule.log_snr(t))
    with float64():
        ours = ELBO().weight(schedule, t)
        assert np.allclose(ours, (snr(t - h) - snr(t + h)) / (4 * h), rtol=1e-5)


@pytest.mark.slow
def test_the_elbo_loss_is_the_bound_of_many_steps():
    # Between t = 0.1 and 1, in nats a point; data N(0.5, 0.7^2 I), and a denoiser that takes it for a standard normal.
    # A step counts the error at its later, larger end: with 1600 of them the sum, by hand, is 0.25% too large.
    schedule, steps, first = LinearVP(0.1, 12.0), 1600, 160
    x0 = (0.5 + 0.7 * np.random.default_rng(4).standard_normal((2000, DIM))).astype(np.float32)
    wrong = lambda schedule: ExactGaussian(schedule, 0.0, 1.0)

    with float64():
        integrated_beta = -2 * np.log(schedule.alpha(np.arange(steps + 1) / steps))
    discrete = DiscreteVP(-np.expm1(-np.diff(integrated_beta)))
    bound = variational_bound(wrong(discrete), x0, key=jax.random.key(0), variance="posterior")
    by_steps = bound.kl[:, first - 1 :].sum(axis=1, dtype=float)  # those from t > s to s >= first/T

    times = UniformTimes(least=first / steps)
    keys = jax.random.split(jax.random.key(1), 3)
    t = times(schedule, keys[0], len(x0) * 200).reshape(200, -1)  # one draw in each of 400,000 parts of the range
    t = jax.random.permutation(keys[1], t.ravel()).reshape(t.shape)
    eps = jax.random.normal(keys[2], (*t.shape, DIM))
    rows = jax.vmap(jax.vmap(ELBO(), (None, 0, 0, 0)), (None, None, 0, 0))
    loss = np.asarray(jax.jit(rows)(wrong(schedule), x0, t, eps)["x0"], float).mean(axis=0)
    by_loss = loss * DIM * (1 - first / steps)
    # Both estimates have the same rows; a false alarm in 10^6.
    gap = by_steps - by_loss
    assert abs(gap.mean() - 0.0025 * by_loss.mean()) < Z * gap.std() / np.sqrt(len(x0))
    assert Z * gap.std() / np.sqrt(len(x0)) < 0.02 * by_loss.mean()


# --- times ---------------------------------------------------------------------------------------------------------

SCHEDULE = SCHEDULES["linear"]  # T = 100
each_draw = pytest.mark.parametrize("draw", ["uniform", "antithetic", "stratified"])


def steps_of(times, keys, n):
    """The steps k of `keys` batches of n rows, (keys, n)."""
    t = jax.jit(jax.vmap(lambda key: times(SCHEDULE, key, n)))(jax.random.split(jax.random.key(0), keys))
    k = np.asarray(t, dtype=np.float64) * SCHEDULE.steps - 1
    assert np.allclose(k, np.round(k), atol=1e-4)
    return np.round(k).astype(int)


@each_draw
@pytest.mark.parametrize("n", [7, 128])
def test_every_step_is_equally_likely(draw, n):
    k = steps_of(StepTimes(draw), 12_000 // n, n)
    assert k.min() == 0
    assert k.max() == SCHEDULE.steps - 1
    if draw == "antithetic":
        k = k[:, : n // 2 + 1]  # the other half mirrors it, so that it is no independent evidence
    # Independent draws: a wrong alarm once in 10^6. Stratified ones spread more evenly, which makes it rarer still.
    assert stats.chisquare(np.bincount(k.ravel(), minlength=SCHEDULE.steps)).pvalue > 1e-6


@pytest.mark.parametrize("n", [1, 7, 128])
def test_antithetic_steps_are_pairs_k_and_T_minus_1_minus_k(n):
    k = steps_of(StepTimes("antithetic"), 50, n)
    half = n // 2 + 1
    assert k.shape == (50, n)
    assert np.array_equal(k[:, half:], (SCHEDULE.steps - 1 - k[:, :half])[:, : n - half])


def test_stratified_draws_have_exactly_one_in_each_part():
    u = np.asarray(jax.vmap(lambda key: stratified(key, 64))(jax.random.split(jax.random.key(0), 50)))
    assert np.array_equal(np.floor(u * 64), np.tile(np.arange(64), (50, 1)))
    k = steps_of(StepTimes("stratified"), 50, 200)  # two rows a step
    assert (np.sort(k, axis=1) == np.repeat(np.arange(100), 2)).all()


def test_steps_are_drawn_from_a_schedule_that_has_them():
    with pytest.raises(TypeError, match="the schedule VarianceExploding; expected a DiscreteVP"):
        StepTimes()(SCHEDULES["exploding"], jax.random.key(0), 5)


LOG_NOISE = lambda t: -np.asarray(SCHEDULE.log_snr(t)) / 2


@each_draw
@pytest.mark.parametrize(
    ("times", "change", "distribution"),
    [
        (UniformTimes(1e-3), np.asarray, stats.uniform(1e-3, 1 - 1e-3)),
        (UniformTimes(0.3), np.asarray, stats.uniform(0.3, 0.7)),
        (LogitNormalTimes(0.0, 1.0), special.logit, stats.norm(0.0, 1.0)),
        (LogitNormalTimes(-1.0, 0.6), special.logit, stats.norm(-1.0, 0.6)),
        (LogNormalTimes(-0.7, 0.5), LOG_NOISE, stats.norm(-0.7, 0.5)),
    ],
)
def test_times_have_their_distribution(times, change, distribution, draw):
    """A false alarm in 10^6 at most; stratified draws come nearer than independent ones."""
    n, times = 4096, dataclasses.replace(times, draw=draw)
    t = np.asarray(jax.jit(lambda key: times(SCHEDULE, key, n))(jax.random.key(2)), float)
    assert t.shape == (n,) and ((t > 0) & (t < 1)).all()
    if draw == "antithetic":
        t = t[: n // 2]  # the other half mirrors it, so that it is no independent evidence
    x = change(t)
    assert abs(x.mean() - distribution.mean()) < Z * distribution.std() / np.sqrt(len(x))
    assert stats.kstest(x, distribution.cdf).pvalue > 1e-6
