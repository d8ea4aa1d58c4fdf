"""Several independent observations of one point: exact on Gaussians, with the prior counted once."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.conftest import SMALL
from tests.linear_simulator import GAIN, NOISE, POSTERIOR, PRIOR, A, exact_model

import motes
from motes.data import Standardiser, Support
from motes.data.curves import Straight
from motes.data.tables import SMOOTH, log_density, quantile, shares
from motes.errors import UsageError
from motes.points import Denoiser, GaussianOracle, Given, PosteriorModel
from motes.points.guidance import Composed, NoisyPrior, added_precisions
from motes.points.posterior import Context, Prior
from motes.points.schedules import CosineVP, Schedule, VarianceExploding
from motes.recipes import load_recipe

THETA = np.array([1.5, -1.2])


def observations(m, seed=0):
    """m of them, of one theta."""
    return THETA @ A.T + np.random.default_rng(seed).multivariate_normal(np.zeros(3), NOISE, m)


def together(x):
    """Mean and covariance of theta given all rows of x, from the likelihood of each and the prior once."""
    precision = np.linalg.inv(PRIOR) + len(x) * A.T @ np.linalg.inv(NOISE) @ A
    return np.linalg.solve(precision, A.T @ np.linalg.inv(NOISE) @ x.sum(axis=0)), np.linalg.inv(precision)


class OfOne(Denoiser):
    """E[theta | theta_t, x], exact."""

    schedule: Schedule
    centre: jnp.ndarray | None = None

    def given(self, known):
        return OfOne(self.schedule, jnp.asarray(GAIN) @ known.context)

    def __call__(self, x_t, t):
        return GaussianOracle(np.zeros(2), POSTERIOR, self.schedule)(x_t - self.schedule.alpha(t) * self.centre, t) + (
            self.centre
        )


@pytest.mark.slow(but=["1-schedule1"])
@pytest.mark.parametrize("schedule", [VarianceExploding(10.0), CosineVP()])
@pytest.mark.parametrize("m", [1, 2, 40])
def test_the_composed_denoiser_is_that_of_the_exact_posterior(schedule, m):
    x = observations(m)
    added = np.tile(A.T @ np.linalg.inv(NOISE) @ A, (m, 1, 1))
    known = Given(context=jnp.asarray(x))
    composed = Composed(OfOne(schedule), known, added, NoisyPrior(np.zeros(2), np.linalg.inv(PRIOR)))
    mean, covariance = together(x)
    exact = GaussianOracle(mean, covariance, schedule)
    for t in (0.05, 0.3, 0.7, 1.0):
        x_t = jnp.asarray(THETA + 0.3) * schedule.alpha(t) + schedule.sigma(t) * jnp.array([0.5, -1.0])
        np.testing.assert_allclose(composed(x_t, jnp.array(t)), exact(x_t, jnp.array(t)), atol=2e-3)


@pytest.fixture(scope="module")
def exact():
    return exact_model()


def test_draws_given_all_observations_are_those_of_the_exact_posterior(exact):
    x, n = observations(8), 4000
    drawn = exact.draw(n, x, iid=True, seed=1)
    mean, covariance = together(x)
    assert drawn.shape == (n, 2)
    # Covariances of the single posteriors are known from 1,000 draws each.
    deviation = np.sqrt(np.diag(covariance))
    assert (np.abs(drawn.mean(axis=0) - mean) < 0.15 * deviation).all()
    white = np.linalg.solve(np.linalg.cholesky(covariance), (drawn - mean).T)
    assert np.abs(np.cov(white) - np.eye(2)).max() < 0.12
    # Where the prior counts eight times, the mean is more than a standard deviation nearer to its own.
    precision = 8 * np.linalg.inv(PRIOR) + 8 * A.T @ np.linalg.inv(NOISE) @ A
    assert (np.abs(np.linalg.solve(precision, A.T @ np.linalg.inv(NOISE) @ x.sum(axis=0)) - mean) > deviation).any()


@pytest.mark.slow
def test_one_observation_is_a_posterior_as_ever(exact):
    x = observations(1)
    one = exact.sample(200, given=x[0])
    np.testing.assert_allclose(exact.draw(200, x, iid=True), one, atol=2e-3)
    np.testing.assert_allclose(np.asarray(exact.sample(200, given=x, iid=True)), one, atol=2e-3)


@pytest.mark.filterwarnings("ignore:no row of the training data")  # of 1 in 100 observations, and there are several
@pytest.mark.slow
def test_a_learned_posterior_is_composed(learned_posterior):
    seen = observations(5)
    drawn = learned_posterior.sample(2000, given=seen, iid=True)
    mean, covariance = together(seen)
    deviation = np.sqrt(np.diag(covariance))
    # What the network has wrong of one posterior counts five times: seeds 2 and 3 were off by 0.67 and 0.91 deviations.
    assert (np.abs(drawn.mean(axis=0) - mean) < 1.5 * deviation).all()
    # An average of the posteriors would be twice as wide.
    assert (np.abs(drawn.std(axis=0) / deviation - 1) < 0.25).all()


def test_a_posterior_that_is_wider_than_its_prior_adds_nothing_there():
    prior = np.linalg.inv(PRIOR)
    some, priors = np.stack([0.5 * prior, 2 * prior, np.linalg.inv(POSTERIOR)]), np.tile(prior, (3, 1, 1))
    expected = [0 * prior, prior, np.linalg.inv(POSTERIOR) - prior]
    np.testing.assert_allclose(added_precisions(some, priors, prior), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.slow(but=["30.0"])
@pytest.mark.parametrize("tau", [0.0, 0.03, 0.4, 30.0])
def test_a_prior_in_noise_has_the_exact_mean_and_precision(tau):
    # Columns: normal, uniform, normal; the normal ones together.
    covariance = np.array([[1.0, 0.6], [0.6, 2.0]])
    precision = np.zeros((3, 3))
    precision[np.ix_([0, 2], [0, 2])] = np.linalg.inv(covariance)
    low, high = np.array([-np.inf, -1.0, -np.inf]), np.array([np.inf, 3.0, np.inf])
    prior = NoisyPrior(np.array([0.5, 0.0, -1.0]), precision, low, high)
    smooth = 4 * SMOOTH
    x = np.linspace(-4, 6, 40_001)
    density = stats.norm.cdf((x + 1) / smooth) - stats.norm.cdf((x - 3) / smooth)
    for at in (-1.2, -0.9, 1.0, 3.1):
        y = np.array([0.3, at, 0.7])
        moved, found = prior(jnp.asarray(y), jnp.asarray(tau))
        np.testing.assert_allclose(np.delete(moved, 1), np.linalg.solve(covariance, [0.2, -1.7]), rtol=1e-5)
        np.testing.assert_allclose(np.delete(np.delete(found, 1, 0), 1, 1), np.linalg.inv(covariance), rtol=1e-5)
        np.testing.assert_array_equal(np.delete(found[1], 1), 0)
        if tau == 0:  # the slope and the curvature of log p, by differences
            fall = lambda x: np.log(stats.norm.cdf((x + 1) / smooth) - stats.norm.cdf((x - 3) / smooth))
            step = 1e-3
            slope = (fall(at + step) - fall(at - step)) / (2 * step)
            curvature = (2 * fall(at) - fall(at + step) - fall(at - step)) / step**2
            np.testing.assert_allclose([moved[1], found[1, 1]], [slope, curvature], rtol=1e-3, atol=1e-3)
            continue
        log_share = np.log(density + 1e-300) - (at - x) ** 2 / (2 * tau**2)
        share = np.exp(log_share - log_share.max())
        share /= share.sum()
        mean = share @ x
        precise = 1 / (share @ (x - mean) ** 2)
        np.testing.assert_allclose(found[1, 1], precise - tau**-2, rtol=2e-3, atol=2e-3 + 1e-5 * precise)
        np.testing.assert_allclose(moved[1], precise * (mean - at), rtol=2e-3, atol=2e-3)


class OfOneWithin(Denoiser):
    """E[z | z_t, x] of a uniform parameter and x = parameter + noise, by sums over a grid."""

    schedule: Schedule
    z: np.ndarray
    log_prior: np.ndarray
    theta: np.ndarray
    noise: float
    x: jnp.ndarray | None = None

    def given(self, known):
        return OfOneWithin(self.schedule, self.z, self.log_prior, self.theta, self.noise, known.context[0])

    def __call__(self, x_t, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        log_p = -((x_t[0] - alpha * self.z) ** 2) / (2 * sigma**2)
        log_p = log_p + self.log_prior - (self.theta - self.x) ** 2 / (2 * self.noise**2)
        return (jax.nn.softmax(log_p) @ self.z)[None]


def model_within(noise):
    """A model of a parameter that is uniform on (0, 2), of which x is a measurement; its denoiser is exact."""
    units = Standardiser(np.array([0.4]), np.array([0.3]), Support(np.array([0.0]), np.array([2.0])))
    z = np.linspace(-0.4 - 8 * SMOOTH, 0.6 + 8 * SMOOTH + 0.4, 600) / 0.3
    y = 0.4 + 0.3 * z
    denoiser = OfOneWithin(VarianceExploding(10.0, 7.0), z, log_density(y), 2 * shares(y)[0], noise)
    variance = (1 / 12 + SMOOTH**2) / 0.3**2
    prior = Prior((0.1 / 0.3,), ((variance,),), units.intervals)
    context = Context(("x",), (Straight(0.0, 1.0),), prior, (False,))
    recipe = load_recipe("default", {"grid.steps": 64, "sampler.kind": "heun"})
    return PosteriorModel(denoiser, units, ("theta",), recipe, context=context)


@pytest.mark.slow(but=["1.2-0.1"])
@pytest.mark.parametrize(("noise", "theta"), [(0.4, 1.0), (1.2, 1.9), (1.2, 0.1)])
def test_a_uniform_prior_counts_once_and_the_posterior_of_all_is_a_truncated_normal(noise, theta):
    m = 8
    x = theta + noise * np.random.default_rng(0).normal(size=(m, 1))
    drawn = model_within(noise).draw(2000, x, iid=True, seed=1)
    deviation = noise / np.sqrt(m)
    exact = stats.truncnorm(*((np.array([0.0, 2.0]) - x.mean()) / deviation), loc=x.mean(), scale=deviation)
    assert abs(drawn.mean() - exact.mean()) < 0.12 * exact.std()
    assert abs(drawn.std() / exact.std() - 1) < 0.12


def test_what_prior_is_not_normal_is_known():
    rng = np.random.default_rng(0)
    columns = np.stack([rng.normal(size=5000), rng.uniform(size=5000), rng.exponential(size=5000)], axis=1)
    prior = Prior.fit(columns, ("normal", "uniform", "exponential"))
    assert prior.odd == ("uniform", "exponential")
    np.testing.assert_allclose(prior.mean, columns.mean(axis=0))
    np.testing.assert_allclose(prior.covariance, np.cov(columns.T, bias=True))
    counts = rng.integers(0, 3, 5000)
    weighted, repeated = (
        Prior.fit(columns, "abc", counts.astype(float)),
        Prior.fit(np.repeat(columns, counts, 0), "abc"),
    )
    np.testing.assert_allclose(weighted.covariance, repeated.covariance)
    few = Prior.fit(columns[:100, 1:2], ("uniform",))  # which may be chance
    assert few.odd == ()


def test_a_uniform_prior_is_known_by_its_bounds():
    rng = np.random.default_rng(0)
    u = rng.uniform(0, 1, (5000, 4))
    u[:, 3] = (u[:, 2] + 0.3 * u[:, 3]) % 1  # uniform, and not independent
    y = quantile(u, 1 - u)
    ends = [(0.0, 1.0)] * 4
    prior = Prior.fit(y, "abcd", intervals=[(0.0, 1.0), None, *ends[2:]])
    assert prior.intervals == ((0.0, 1.0), None, None, None) and prior.uniform.tolist() == [True, False, False, False]
    assert prior.odd == ("b", "c", "d")
    normal = Prior.fit(0.5 + 0.1 * rng.normal(size=(5000, 1)), "a", intervals=ends[:1])
    assert normal.odd == () and not normal.uniform.any()
    assert Prior.fit(3 * y[:, :1] - 1, "a", intervals=[(-1.0, 2.0)]).uniform.all()


def test_bounds_make_a_uniform_prior_one_that_is_composed():
    theta = np.random.default_rng(0).uniform(0, 1, (4000, 2))
    x = theta + 0.3 * np.random.default_rng(1).normal(size=theta.shape)
    free = motes.fit(theta, given=x, changes=SMALL, verbose=False)
    with pytest.warns(UserWarning, match=r"the prior of x, y is neither Gaussian nor uniform .* bounds=\{\.\.\.\}"):
        free.sample(2, given=x[:2], iid=True)
    bounded = motes.fit(theta, given=x, bounds={"x": (0, 1), "y": (0, 1)}, changes=SMALL, verbose=False)
    assert bounded.context.prior.odd == () and bounded.context.prior.uniform.all()
    root = bounded.context.regression.residual_scale
    np.testing.assert_array_equal(root, np.diag(np.diag(root)))
    bounded.template = pd.DataFrame({"x": [0.0], "y": [0.0]})[:0]
    frame = bounded.sample(3, given=x[:2], iid=True)
    assert list(frame) == ["x", "y"] and frame.shape == (3, 2)


@pytest.mark.slow
def test_misuse_is_told(exact):
    for call, says in [
        (lambda: exact.sample(2, iid=True), "got no observation"),
        (lambda: exact.sample(2, given=observations(2), iid=True, sampling={"guidance": 2.0}), "guidance cannot be"),
        (lambda: exact.sample(2, given=observations(2), iid=True, label=1), "has no classes"),
    ]:
        with pytest.raises(UsageError, match=says):
            call()
