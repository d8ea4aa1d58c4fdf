"""The loss that is left: closed forms, and no network below it."""

import jax
import numpy as np
import pytest
from tests.conftest import SMALL
from tests.reference import SCHEDULES, Z

import motes
from fits import fit_points
from motes.data.tables import Standardiser
from motes.errors import UsageError
from motes.evaluation.losses import BOUND, EXACT, LEARNED, expected_loss, irreducible_loss
from motes.points.denoisers import Denoiser
from motes.points.exact import EmpiricalOracle, GaussianOracle, MixtureOracle, Oracle
from motes.points.losses import EDM, Simple
from motes.points.recipe import LOSSES
from motes.points.schedules import Schedule
from motes.points.shape_truth import truth
from motes.points.times import LogNormalTimes, StepTimes
from motes.training.checkpoints import FitSession

WEIGHTED = [kind for kind in LOSSES if kind != "hybrid"]  # a squared error, with a weight that is a function of t
KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 100)
VARIANCES = np.array([1.0, 0.25])


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
    curve = irreducible_loss(oracle, LOSSES[loss](), x0, t, key=KEY, draws=5000)
    exact = closed_form(schedule, loss, t)
    # Given x_t a Gaussian's posterior variance is always the same, so nothing is left to chance, only to float32.
    np.testing.assert_allclose(curve.mean, exact, rtol=1e-4)
    assert (curve.error < 1e-5 * exact).all()
    assert curve.label == EXACT


@pytest.mark.slow
def test_the_expectation_is_that_of_the_times():
    schedule = SCHEDULES["linear"]
    oracle, x0 = gaussian(schedule)
    mean, error, _ = expected_loss(oracle, Simple(), x0, StepTimes(), key=KEY, draws=20_000)
    steps = (np.arange(schedule.steps) + 1) / schedule.steps
    assert abs(mean - closed_form(schedule, "simple", steps).mean()) < Z * error + 1e-4
    times, schedule = LogNormalTimes(-1.2, 1.2), SCHEDULES["exploding"]
    oracle, _ = gaussian(schedule)
    mean, error, _ = expected_loss(oracle, EDM(), x0, times, key=KEY, draws=20_000)
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
    t = np.array([0.4, 0.6, 0.8])
    plain = irreducible_loss(Plain(oracle, oracle.schedule), LOSSES[loss](), x0, t, key=KEY, draws=20_000)
    ours = irreducible_loss(oracle, LOSSES[loss](), x0, t, key=KEY, draws=20_000)
    assert (np.abs(ours.mean - plain.mean) < Z * np.hypot(ours.error, plain.error)).all()
    assert (ours.error < 0.7 * plain.error).all()
    assert (ours.label, plain.label) == (EXACT, LEARNED)


@pytest.mark.long
def test_the_stated_error_is_the_error():
    oracle, x0 = moons()
    for denoiser in (oracle, Plain(oracle, oracle.schedule)):
        runs = [irreducible_loss(denoiser, Simple(), x0, 0.5, key=key, draws=500) for key in KEYS]
        scatter = np.std([run.mean[0] for run in runs])
        # The standard deviation of 100 numbers is right within 7%; five times that is a false alarm in 2e6.
        assert abs(scatter / np.mean([run.error[0] for run in runs]) - 1) < 0.35


@pytest.mark.long
def test_no_network_is_below_it():
    # A short training of the default recipe, on fresh points: it must not beat the exact denoiser.
    changes = SMALL | {"training.steps": 1500, "network.width": 32}
    model = fit_points(
        motes.make_shape("moons", 5000, seed=1), changes=changes, seed=0, session=FitSession(source="moons")
    )
    loss, times, denoiser = model.recipe.loss, model.recipe.times, model.denoiser
    z = model.standardiser.forward(motes.make_shape("moons", 20_000, seed=2))
    oracle = truth("moons").oracle(denoiser.schedule, model.standardiser)
    least, ours = (expected_loss(d, loss, z, times, key=KEY, draws=20_000) for d in (oracle, denoiser))
    assert ours.mean > least.mean - Z * least.error
    assert ours.mean < 1.5 * least.mean  # and it has learned most of what there is
    t = denoiser.schedule.t_of_log_snr(-2 * np.log([0.05, 0.2, 1.0, 5.0]))
    least, ours = (irreducible_loss(d, loss, z, t, key=KEY, draws=4000) for d in (oracle, denoiser))
    assert (ours.mean > least.mean - Z * least.error).all()


@pytest.mark.slow
def test_the_bound_for_memorising_is_below_the_truth():
    schedule = SCHEDULES["exploding"]
    x = motes.make_shape("moons", 500, seed=1)
    z_of = Standardiser.fit(x)
    by_heart = EmpiricalOracle(z_of.forward(x), schedule)
    t = np.array([0.4, 0.5, 0.6])
    bound = irreducible_loss(by_heart, EDM(), z_of.forward(x), t, key=KEY, draws=4000)
    least = irreducible_loss(truth("moons").oracle(schedule, z_of), EDM(), z_of.forward(x), t, key=KEY, draws=4000)
    assert (bound.label, least.label) == (BOUND, EXACT)
    assert (bound.mean < least.mean).all()
    # At hardly any noise each row gives itself away: nothing is left to guess.
    assert irreducible_loss(by_heart, Simple(), z_of.forward(x), 0.2, key=KEY, draws=100).mean[0] < 1e-3


@pytest.mark.parametrize("t", [0.0, 1.5, [0.5, -0.1]])
def test_times_out_of_range_are_an_error(t):
    oracle, x0 = gaussian(SCHEDULES["linear"])
    with pytest.raises(UsageError, match="times above 0"):
        irreducible_loss(oracle, Simple(), x0, t, key=KEY)
