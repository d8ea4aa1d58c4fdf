"""Several independent observations of one point: exact on Gaussians, with the prior counted once."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from tests.conftest import SMALL
from tests.posteriors import GAIN, NOISE, POSTERIOR, PRIOR, A, exact_model

import motes
from motes.diffusion._continuous import CosineVP, VarianceExploding
from motes.diffusion._denoiser import Denoiser, Given
from motes.diffusion._oracles import GaussianOracle
from motes.diffusion._schedules import Schedule
from motes.errors import UsageError
from motes.models._priors import Prior
from motes.models._several import sample_several
from motes.sampling._composition import Composed, at_least

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


@pytest.mark.parametrize("schedule", [VarianceExploding(10.0), CosineVP()])
@pytest.mark.parametrize("m", [1, 2, 40])
def test_the_composed_denoiser_is_that_of_the_exact_posterior(schedule, m):
    x = observations(m)
    precisions = np.tile(np.linalg.inv(POSTERIOR), (m, 1, 1))
    known = Given(context=jnp.asarray(x))
    composed = Composed(OfOne(schedule), known, precisions, np.zeros(2), np.linalg.inv(PRIOR))
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
    drawn = sample_several(exact.inner, n, x, seed=1)
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


def test_one_observation_is_a_posterior_as_ever(exact):
    x = observations(1)
    one = exact.inner.sample(200, given=x[0])
    np.testing.assert_allclose(sample_several(exact.inner, 200, x), one, atol=2e-3)
    np.testing.assert_allclose(exact.sample(200, given=x, iid=True).to_numpy(), one, atol=2e-3)


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
    some = np.stack([0.5 * prior, 2 * prior, np.linalg.inv(POSTERIOR)])
    np.testing.assert_allclose(at_least(some, prior), [prior, 2 * prior, np.linalg.inv(POSTERIOR)], rtol=1e-9)


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
    assert Prior.from_dict(prior.to_dict()) == prior
    few = Prior.fit(columns[:100, 1:2], ("uniform",))  # which may be chance
    assert few.odd == ()


def test_bounds_make_a_uniform_prior_normal():
    theta = np.random.default_rng(0).uniform(0, 1, (4000, 2))
    x = theta + 0.3 * np.random.default_rng(1).normal(size=theta.shape)
    free = motes.fit(theta, given=x, changes=SMALL, verbose=False)
    with pytest.warns(UserWarning, match=r"the prior of x, y is not normal .* bounds=\{\.\.\.\}"):
        free.sample(2, given=x[:2], iid=True)
    bounded = motes.fit(theta, given=x, bounds={"x": (0, 1), "y": (0, 1)}, changes=SMALL, verbose=False)
    assert bounded.inner.context.prior.odd == ()
    frame = motes.Model(bounded.inner, pd.DataFrame({"x": [0.0], "y": [0.0]})[:0]).sample(3, given=x[:2], iid=True)
    assert list(frame) == ["x", "y"] and frame.shape == (3, 2)


def test_misuse_is_told(exact, small_model):
    for call, says in [
        (lambda: exact.sample(2, iid=True), "got no observation"),
        (lambda: exact.sample(2, given=observations(2), iid=True, how={"guidance": 2.0}), "without guidance"),
        (lambda: motes.Model(small_model).sample(2, iid=True), "conditioned on nothing"),
        (lambda: exact.sample(2, given=observations(2), iid=True, label=1), "knows no classes"),
    ]:
        with pytest.raises(UsageError, match=says):
            call()
