"""The loss that is left, and what a network's error costs: closed forms, and means over pairs of a row and a noise."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from tests.reference import SCHEDULES, Z

import motes
from motes.data.tables import Standardiser
from motes.errors import UsageError
from motes.evaluation.diagnosis import fit_mixture
from motes.evaluation.losses import excess_loss, expected_loss, noise_levels
from motes.points import EDM, Denoiser, LogNormalTimes, Schedule, Simple, StepTimes, truth
from motes.points.exact import GaussianOracle, MixtureOracle, Oracle
from motes.points.recipe import LOSSES
from motes.points.schedules import DiscreteVP, VarianceExploding

WEIGHTED = [kind for kind in LOSSES if kind != "hybrid"]  # a squared error, with a weight that is a function of t
KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 100)
VARIANCES = np.array([1.0, 0.25])


class At(NamedTuple):
    """One time for all rows."""

    t: float

    def __call__(self, schedule, key, n):
        return jnp.full(n, self.t)


def losses_at(times, denoiser, loss, x0, *, key=KEY, draws):
    """The mean loss at each time, and its standard error."""
    return np.array([expected_loss(denoiser, loss, x0, At(t), key=key, draws=draws) for t in times]).T


def gaussian(schedule):
    x0 = np.random.default_rng(0).standard_normal((50_000, 2)) * np.sqrt(VARIANCES)
    return GaussianOracle(np.zeros(2), np.diag(VARIANCES), schedule), x0


def closed_form(schedule, loss, t):
    """E |eps - E[eps|x_t]|^2 = a^2 v / (a^2 v + s^2) a column, E |x_0 - E[x_0|x_t]|^2 = v s^2 / (a^2 v + s^2)."""
    alpha2, sigma2 = (np.asarray(part(t), dtype=float)[:, None] ** 2 for part in (schedule.alpha, schedule.sigma))
    total = alpha2 * VARIANCES + sigma2
    if loss == "simple":
        return (alpha2 * VARIANCES / total).mean(axis=1)
    weight = 1 + alpha2 / sigma2 if loss == "edm" else np.asarray(LOSSES[loss]().weight(schedule, t))[:, None]
    return (weight * VARIANCES * sigma2 / total).mean(axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("loss", WEIGHTED)
@pytest.mark.parametrize("schedule", ["linear", "exploding"])
def test_a_gaussians_is_its_closed_form(schedule, loss):
    schedule, t = SCHEDULES[schedule], np.array([0.3, 0.6, 0.8, 1.0])
    oracle, x0 = gaussian(schedule)
    mean, error = losses_at(t, oracle, LOSSES[loss](), x0, draws=5000)
    exact = closed_form(schedule, loss, t)
    # Given x_t a Gaussian's posterior variance is always the same, so nothing is left to chance, only to float32.
    np.testing.assert_allclose(mean, exact, rtol=1e-4)
    assert (error < 1e-5 * exact).all()


@pytest.mark.slow
def test_the_expectation_is_that_of_the_times():
    schedule = SCHEDULES["linear"]
    oracle, x0 = gaussian(schedule)
    mean, error = expected_loss(oracle, Simple(), x0, StepTimes(), key=KEY, draws=20_000)
    steps = (np.arange(schedule.steps) + 1) / schedule.steps
    assert abs(mean - closed_form(schedule, "simple", steps).mean()) < Z * error + 1e-4
    times, schedule = LogNormalTimes(-1.2, 1.2), SCHEDULES["exploding"]
    oracle, _ = gaussian(schedule)
    mean, error = expected_loss(oracle, EDM(), x0, times, key=KEY, draws=20_000)
    t = np.asarray(times(schedule, jax.random.key(9), 100_000))
    assert abs(mean - closed_form(schedule, "edm", t).mean()) < Z * error


class Plain(Denoiser):
    """An oracle that does not say that it is one, so that its loss is the mean over pairs of a row and a noise."""

    oracle: Oracle
    schedule: Schedule

    def __call__(self, x_t, t):
        return self.oracle(x_t, t)

    def eps(self, x_t, t):
        return self.oracle.eps(x_t, t)


def moons():
    schedule = SCHEDULES["exploding"]
    z_of = Standardiser.fit(motes.make_shape("moons", 5000, seed=1))
    return truth("moons").oracle(schedule, z_of), z_of.forward(motes.make_shape("moons", 5000, seed=2))


def six_columns():
    rng = np.random.default_rng(3)
    means = rng.normal(size=(3, 6))
    x0 = means[rng.integers(3, size=20_000)] + 0.5 * rng.normal(size=(20_000, 6))
    return MixtureOracle(np.ones(3), means, np.tile(0.25 * np.eye(6), (3, 1, 1)), SCHEDULES["linear"]), x0


@pytest.mark.slow
@pytest.mark.long(but=["moons-simple", "moons-edm", "six_columns-simple", "six_columns-edm"])
@pytest.mark.parametrize("loss", WEIGHTED)
@pytest.mark.parametrize("distribution", [moons, six_columns])
def test_what_is_missed_given_x_t_is_what_is_missed(distribution, loss):
    oracle, x0 = distribution()
    wrapped = Plain(oracle, oracle.schedule)
    (plain, plain_error), (ours, error) = (
        losses_at((0.4, 0.6, 0.8), one, LOSSES[loss](), x0, draws=20_000) for one in (wrapped, oracle)
    )
    assert (np.abs(ours - plain) < Z * np.hypot(error, plain_error)).all() and (error < 0.7 * plain_error).all()


@pytest.mark.long
def test_the_stated_error_is_the_error():
    oracle, x0 = moons()
    for denoiser in (oracle, Plain(oracle, oracle.schedule)):
        means, errors = np.array([losses_at([0.5], denoiser, Simple(), x0, key=key, draws=500) for key in KEYS]).T[0]
        # The standard deviation of 100 numbers is right within 7%; five times that is a false alarm in 2e6.
        assert abs(means.std() / errors.mean() - 1) < 0.35


# --- what the error of a network costs --------------------------------------------------------------------------------


VE = VarianceExploding(10.0, 7.0)
X = np.random.default_rng(0).standard_normal((4000, 2))


def of_variance(variance, schedule=VE):
    return GaussianOracle(np.zeros(2), variance * np.eye(2), schedule)


class Off(Denoiser):
    """The exact answer, but for a constant in the noise."""

    exact: Denoiser
    schedule: Schedule
    by: float

    def __call__(self, x_t, t):
        return self.exact(x_t, t) - self.by * self.schedule.sigma(t) / self.schedule.alpha(t)

    def eps(self, x_t, t):
        return self.exact.eps(x_t, t) + self.by


@pytest.mark.parametrize("exact", [True, False])
def test_a_constant_error_costs_its_square_times_the_range_of_log_noise(exact):
    oracle = of_variance(1.0)
    t, noise = noise_levels(VE, 0.01, 8)
    found = excess_loss(Off(oracle, VE, 0.1), oracle, X, t, key=KEY, exact=exact)
    cost = 2 * 0.1**2 * np.log(noise[-1] / noise[0])
    # The difference of losses is the same in the mean: Z standard errors at each of 8 levels.
    within = 1e-5 if exact else Z * found.error
    assert (np.abs(found.excess - 0.02) < within).all()
    assert abs(found.nats - cost) < (1e-4 if exact else Z * found.nats_error)


@pytest.mark.slow
def test_the_cost_of_a_wrong_variance_is_its_integral_and_bounds_the_divergence():
    # Data N(0, I), a denoiser for N(0, v I): eps_hat - eps* = r y (1/(r^2 + v) - 1/(r^2 + 1)), y ~ N(0, r^2 + 1).
    v = 2.0
    t, noise = noise_levels(VE, 1e-3, 120)
    found = excess_loss(of_variance(v), of_variance(1.0), X, t, key=KEY)
    at = lambda r: 2 * r**2 * (1 / (r**2 + v) - 1 / (r**2 + 1)) ** 2 * (r**2 + 1)
    exact = quad(lambda u: at(np.exp(u)), np.log(noise[0]), np.log(noise[-1]))[0]
    assert abs(found.nats - exact) < Z * found.nats_error + 1e-4  # 120 trapezia are good to 1e-4
    assert found.nats > 2 * 0.5 * (1 / v - 1 + np.log(v))  # KL(N(0, I) || N(0, v I))
    assert found.worst == pytest.approx(noise[np.argmax(at(noise))], rel=0.2)


@pytest.mark.slow
def test_the_stated_error_is_that_of_independent_rows():
    oracle, few = of_variance(1.0), X[:100]
    t, _ = noise_levels(VE, 0.1, 5)
    off = of_variance(3.0)
    once, often = (excess_loss(off, oracle, few, t, key=KEY, repeats=repeats) for repeats in (1, 40))
    # 40 noises for each row take away the noise of the noise, and no more: the rows are still 100.
    assert 0 < often.nats_error < once.nats_error
    assert often.nats_error > once.nats_error / np.sqrt(40) * 1.5
    assert len(often.nats_of_row) == 100
    runs = [excess_loss(off, oracle, X[i : i + 100], t, key=jax.random.key(i)).nats for i in range(0, 4000, 100)]
    # The standard deviation of 40 numbers is right within 11%; four times that is a false alarm in 16,000.
    assert abs(np.std(runs) / once.nats_error - 1) < 0.45


def test_levels_run_from_the_lowest_to_that_of_the_end():
    t, noise = noise_levels(VE, 0.01, 10)
    np.testing.assert_allclose(noise, np.geomspace(0.01, 10.0, 10), rtol=1e-4)
    assert t[-1] == 1
    schedule = SCHEDULES["linear"]
    assert isinstance(schedule, DiscreteVP)
    t, noise = noise_levels(schedule, float(schedule.sigma(0.01)), 10)
    np.testing.assert_allclose(t * schedule.steps, np.round(t * schedule.steps), atol=1e-9)
    assert (np.diff(noise) > 0).all()


@pytest.mark.parametrize("rows", [0, 1, 2048, 2049])
def test_blocks_hold_all_rows(rows):
    x = X[:1].repeat(rows, axis=0)
    t, _ = noise_levels(VE, 0.1, 3)
    if rows < 2:
        with pytest.raises(UsageError, match="n >= 2"):
            excess_loss(of_variance(2.0), of_variance(1.0), x, t, key=KEY)
        return
    found = excess_loss(of_variance(2.0), of_variance(1.0), x, t, key=KEY)
    assert len(found.nats_of_row) == rows
    assert len(np.unique(found.nats_of_row)) == rows  # no row has the noise of another


@pytest.mark.slow(but=["t0"])
@pytest.mark.parametrize("t", [[0.5], [0.0, 0.5], [0.5, 0.4], [0.5, 1.1]])
def test_times_out_of_range_are_an_error(t):
    with pytest.raises(UsageError, match="increasing times"):
        excess_loss(of_variance(1.0), of_variance(1.0), X, t, key=KEY)


def test_a_file_is_compared_with_as_many_gaussians_as_unseen_rows_bear_out():
    places = np.array([[-2.0, -2.0], [-2.0, 2.0], [2.0, -2.0], [2.0, 2.0]])
    modes = places[np.random.default_rng(1).integers(4, size=len(X))]
    for rows, variance, around, name in (
        (X, 1.0, np.zeros((1, 2)), "a Gaussian"),
        (modes + 0.2 * X, 0.2**2 + 0.05**2, places, "a mixture of 4 Gaussians"),
    ):
        seen, unseen = rows[:3000], rows[3000:]
        found, oracle = fit_mixture(seen, unseen, VE)
        true = logsumexp([multivariate_normal(place, variance).logpdf(unseen) for place in around], axis=0)
        # Up to 23 parameters by 3,000 rows: 0.004 nats are expected. A mode that is missed costs ten times 0.02.
        assert found == name
        assert abs(np.mean(true - np.log(len(around)) - np.asarray(oracle.rows(unseen, 0.0).log_prob))) < 0.02
    assert fit_mixture(rows[:150], unseen, VE)[0] == "a Gaussian"  # too few rows for four
    equal = np.repeat(places, 40, axis=0)  # a Gaussian on each place would have a density without end
    assert np.asarray(fit_mixture(equal, equal, VE)[1].rows(equal, 0.0).log_prob).max() < 4
