"""What a network's error costs: closed forms of Gaussians."""

import jax
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from tests.reference import SCHEDULES, Z

from motes.errors import UsageError
from motes.evaluation.diagnosis import fit_mixture
from motes.evaluation.losses import excess_loss, noise_levels
from motes.points import Denoiser, DiscreteVP, GaussianOracle, Schedule, VarianceExploding

KEY = jax.random.key(0)
VE = VarianceExploding(10.0, 7.0)
X = np.random.default_rng(0).standard_normal((4000, 2))


def gaussian(variance, schedule=VE):
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
    oracle = gaussian(1.0)
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
    found = excess_loss(gaussian(v), gaussian(1.0), X, t, key=KEY)
    at = lambda r: 2 * r**2 * (1 / (r**2 + v) - 1 / (r**2 + 1)) ** 2 * (r**2 + 1)
    exact = quad(lambda u: at(np.exp(u)), np.log(noise[0]), np.log(noise[-1]))[0]
    assert abs(found.nats - exact) < Z * found.nats_error + 1e-4  # 120 trapezia are good to 1e-4
    assert found.nats > 2 * 0.5 * (1 / v - 1 + np.log(v))  # KL(N(0, I) || N(0, v I))
    assert found.worst == pytest.approx(noise[np.argmax(at(noise))], rel=0.2)


@pytest.mark.slow
def test_the_stated_error_is_that_of_independent_rows():
    oracle, few = gaussian(1.0), X[:100]
    t, _ = noise_levels(VE, 0.1, 5)
    off = gaussian(3.0)
    once, often = (excess_loss(off, oracle, few, t, key=KEY, repeats=repeats) for repeats in (1, 40))
    # 40 noises for each row take away the noise of the noise, and no more: the rows are still 100.
    assert 0 < often.nats_error < once.nats_error
    assert often.nats_error > once.nats_error / np.sqrt(40) * 1.5
    assert len(often.nats_of_row) == 100
    runs = [excess_loss(off, oracle, X[i : i + 100], t, key=jax.random.key(i)).nats for i in range(0, 4000, 100)]
    # The standard deviation of 40 numbers is right within 11%; four times that is a false alarm in 16,000.
    assert abs(np.std(runs) / once.nats_error - 1) < 0.45


@pytest.mark.slow
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
            excess_loss(gaussian(2.0), gaussian(1.0), x, t, key=KEY)
        return
    found = excess_loss(gaussian(2.0), gaussian(1.0), x, t, key=KEY)
    assert len(found.nats_of_row) == rows
    assert len(np.unique(found.nats_of_row)) == rows  # no row has the noise of another


@pytest.mark.slow(but=["t0"])
@pytest.mark.parametrize("t", [[0.5], [0.0, 0.5], [0.5, 0.4], [0.5, 1.1]])
def test_times_out_of_range_are_an_error(t):
    with pytest.raises(UsageError, match="increasing times"):
        excess_loss(gaussian(1.0), gaussian(1.0), X, t, key=KEY)


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
