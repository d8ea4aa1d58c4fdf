"""The loss that is left: closed forms, and means over pairs of a row and a noise."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.reference import SCHEDULES, Z

import motes
from motes.data.tables import Standardiser
from motes.evaluation.losses import expected_loss
from motes.points import EDM, Denoiser, LogNormalTimes, Schedule, Simple, StepTimes, truth
from motes.points.exact import GaussianOracle, MixtureOracle, Oracle
from motes.points.recipe import LOSSES

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
