"""A Gaussian distribution that is told cells and intervals, against linear algebra and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tests.reference import Z, float64

from motes.points.particles import Box, FullGaussian, as_covariance, draw, ends_apart, ends_in_turn, log_mass, observe

D = 4
RNG = np.random.default_rng(0)
FACTOR = RNG.standard_normal((D, D))
MEAN, COVARIANCE = RNG.standard_normal(D), FACTOR @ FACTOR.T
X = RNG.standard_normal(D)
GAUSSIAN = FullGaussian(MEAN, COVARIANCE)


@pytest.fixture(autouse=True)
def _double():
    with float64():
        yield


def gaussian():
    return FullGaussian(*map(jnp.asarray, GAUSSIAN))


def box(low, high):
    return Box(jnp.asarray(low, float), jnp.asarray(high, float), True)


@pytest.mark.parametrize("noise", [0.0, 0.7])
@pytest.mark.parametrize("which", [[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1], [1, 1, 1, 1]])
def test_what_is_observed_is_conditioned_on(which, noise):
    which = np.array(which, bool)
    values = np.where(which, X, np.inf)  # nobody looks at the others
    found, log_density = jax.jit(observe)(gaussian(), values, which, noise)
    cross = COVARIANCE[:, which]
    total = cross[which] + noise * np.eye(which.sum())
    gain = cross @ np.linalg.inv(total)
    np.testing.assert_allclose(found.mean, MEAN + gain @ (X - MEAN)[which], atol=1e-9)
    np.testing.assert_allclose(found.covariance, COVARIANCE - gain @ cross.T, atol=1e-9)
    exact = stats.multivariate_normal(MEAN[which], total).logpdf(X[which]) if which.any() else 0.0
    assert log_density == pytest.approx(exact, abs=1e-9)


@pytest.mark.slow
def test_a_covariance_stays_as_it_is_and_any_other_matrix_becomes_one():
    np.testing.assert_allclose(as_covariance(jnp.asarray(COVARIANCE), 1e-9), COVARIANCE, rtol=1e-12, atol=1e-12)
    for scale in (0.1, 1.0, 30.0):
        for _ in range(20):
            noise = RNG.standard_normal((D, D))
            matrix = COVARIANCE + scale * (noise + noise.T)
            made = np.asarray(as_covariance(jnp.asarray(matrix), 1e-3))
            np.testing.assert_array_equal(made, made.T)
            assert np.linalg.eigvalsh(made).min() > 0
            # What was a variance stays one, and no covariance is above them.
            assert np.abs(made).max() <= max(np.diag(matrix).max(), 0) + D * 1e-3


LOW, HIGH = MEAN + np.array([[-0.5, -np.inf, 0.3, 0.0], [1.0, np.inf, np.inf, 0.0]])


@pytest.mark.slow
def test_probabilities_of_intervals_apart_and_in_turn():
    requested, std = box(LOW, HIGH), np.sqrt(np.diag(COVARIANCE))
    mass = lambda low, high, mean, std: np.log(stats.norm.cdf(high, mean, std) - stats.norm.cdf(low, mean, std))
    each = mass(LOW[[0, 2]], HIGH[[0, 2]], MEAN[[0, 2]], std[[0, 2]])
    assert log_mass(requested, ends_apart(gaussian(), requested)) == pytest.approx(each.sum(), abs=1e-9)
    conditioned, _ = observe(gaussian(), requested.low, requested.known)
    found = log_mass(requested, ends_in_turn(conditioned, requested, jnp.asarray(X)))
    conditioned = FullGaussian(*map(np.asarray, conditioned))
    first = mass(LOW[0], HIGH[0], conditioned.mean[0], np.sqrt(conditioned.covariance[0, 0]))
    # The third given the first two.
    two, _ = observe(FullGaussian(*map(jnp.asarray, conditioned)), jnp.asarray(X), jnp.arange(D) < 2)
    third = mass(LOW[2], HIGH[2], two.mean[2], np.sqrt(two.covariance[2, 2]))
    assert found == pytest.approx(first + third, abs=1e-9)


@pytest.mark.slow
def test_draws_weighted_by_the_probabilities_met_are_the_law_in_the_box():
    n, requested = 20_000, box(LOW, HIGH)
    conditioned, _ = observe(gaussian(), requested.low, requested.known)
    normal, uniform = RNG.standard_normal((n, D)), RNG.random((n, D))
    x, ends = jax.jit(jax.vmap(draw, (None, None, 0, 0)))(conditioned, requested, normal, uniform)
    np.testing.assert_allclose(jax.vmap(ends_in_turn, (None, None, 0))(conditioned, requested, x).a, ends.a)
    assert ((x >= LOW) & (x <= HIGH)).all()
    weights = np.exp(jax.vmap(log_mass, (None, 0))(requested, ends))
    conditioned = FullGaussian(*map(np.asarray, conditioned))
    every = RNG.multivariate_normal(conditioned.mean[:3], conditioned.covariance[:3, :3], 400_000)
    exact = every[((LOW[:3] <= every) & (every <= HIGH[:3])).all(axis=1)]
    chance = Z * np.sqrt(1 / len(exact) + (weights**2).sum() / weights.sum() ** 2)
    mean = np.average(x[:, :3], axis=0, weights=weights)
    assert (np.abs(mean - exact.mean(axis=0)) < chance * exact.std(axis=0)).all()
    assert abs(weights.mean() - len(exact) / len(every)) < Z * np.sqrt(weights.var() / n + weights.mean() / len(every))
