"""What a network of points given observations has left to learn: what a linear prediction leaves."""

import numpy as np
import pytest
from tests.conftest import SMALL
from tests.linear_simulator import GAIN, NOISE, POSTERIOR, PRIOR, A, log_posterior, simulated

import motes
from motes.points.posterior import Regression


def test_the_regression_of_a_linear_simulator_is_its_posterior():
    theta, x = simulated(40_000, 1)
    found, left = Regression.fit(theta, x)
    np.testing.assert_allclose(found.slope.T, GAIN, atol=0.02)
    np.testing.assert_allclose(found.residual_scale @ found.residual_scale, POSTERIOR, atol=0.01)
    np.testing.assert_allclose(np.cov(left.T), np.eye(2), atol=1e-3)
    np.testing.assert_allclose(found.inverse(found.forward(theta, x), x), theta, atol=1e-12)
    np.testing.assert_allclose(found.log_det, -0.5 * np.log(np.linalg.det(POSTERIOR)), atol=0.02)
    many = np.stack([theta, 2 * theta])
    np.testing.assert_allclose(found.forward(many, x)[1], found.forward(2 * theta, x), atol=1e-12)


def test_columns_that_are_alone_keep_to_their_axes():
    theta, x = simulated(2000, 3)
    theta = np.column_stack([theta, theta[:, 0] - 0.2 * theta[:, 1] + 0.3 * np.random.default_rng(1).normal(size=2000)])
    alone = np.array([False, True, False])
    found, left = Regression.fit(theta, x, alone=alone)
    mixed, _ = Regression.fit(theta, x)
    errors = left @ found.residual_scale
    covariance = errors.T @ errors / 2000
    np.testing.assert_array_equal(found.residual_scale[1, [0, 2]], 0)
    np.testing.assert_array_equal(found.residual_scale[[0, 2], 1], 0)
    expected = np.where(np.outer(~alone, ~alone) | np.eye(3, dtype=bool), covariance, 0)
    np.testing.assert_allclose(found.residual_scale @ found.residual_scale, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found.slope, mixed.slope)
    assert abs(mixed.residual_scale[0, 1]) > 0.03


@pytest.mark.parametrize("weighted", [False, True])
def test_what_is_left_of_a_row_is_its_error_where_it_is_predicted_from_the_others(weighted):
    theta, x = simulated(12, 2)
    weights = np.where(np.arange(12) % 3, 1.0, 2.0) if weighted else None
    found, left = Regression.fit(theta, x, weights)
    errors = left @ found.residual_scale
    count = np.ones(12) if weights is None else weights * 12 / weights.sum()
    a = np.column_stack([x - count @ x / 12, np.ones(12)])

    def exact(ridge, i):
        keep = np.arange(12) != i
        square = (a[keep].T * count[keep]) @ a[keep] + np.diag([ridge] * 3 + [0.0])
        return theta[i] - a[i] @ np.linalg.solve(square, (a[keep].T * count[keep]) @ theta[keep])

    of = {ridge: np.stack([exact(ridge, i) for i in range(12)]) for ridge in 10.0 ** np.arange(9)}
    best = min(of, key=lambda ridge: (count @ of[ridge] ** 2).sum())
    np.testing.assert_allclose(errors, of[best], atol=1e-9)


def test_points_that_do_not_depend_on_what_is_given_are_left_as_they_are():
    rng = np.random.default_rng(0)
    z, context = rng.normal(size=(60, 2)), rng.normal(size=(60, 50))
    found, left = Regression.fit(z, context)
    assert np.abs(found.slope).max() < 0.02  # 50 columns of noise would predict these 60 rows nearly exactly
    assert np.abs(np.cov(left.T) - np.eye(2)).max() < 0.05


def test_points_that_are_given_exactly_have_a_width():
    x = np.random.default_rng(0).normal(size=(5000, 2))
    found, left = Regression.fit(x, x)
    np.testing.assert_allclose(np.linalg.eigvalsh(found.residual_scale), 1e-3, rtol=0.05)
    assert np.isfinite(left).all()


@pytest.fixture(scope="module")
def untrained_model():
    """The first weights answer 0, which is N(0, I) of what is left."""
    theta, x = simulated(20_000, 3)
    hardly = {"training.steps": 1, "training.learning_rate": 1e-9, "grid.steps": 64, "schedule.sigma_max": 40.0}
    return motes.fit(theta, given=x, changes=SMALL | hardly, verbose=False)


def test_what_is_linear_and_normal_is_exact_before_any_training(untrained_model, tmp_path):
    model, (at, seen) = untrained_model, simulated(50, 4)
    np.testing.assert_allclose(model.score_samples(at, given=seen), log_posterior(at, seen), atol=0.1)
    drawn, last = model.chain(4000, [64], given=seen[0])
    np.testing.assert_array_equal(last[0], drawn)
    np.testing.assert_allclose(drawn.mean(axis=0), GAIN @ seen[0], atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), POSTERIOR, atol=0.02)
    many = model.sample(500, given=seen[:3])
    np.testing.assert_allclose(many.mean(axis=1), seen[:3] @ GAIN.T, atol=0.1)
    model.save(tmp_path / "model.safetensors")
    again = motes.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.sample(50, given=seen[0]), model.sample(50, given=seen[0]))


@pytest.mark.slow
def test_several_observations_are_composed_in_one_unit(untrained_model):
    theta = np.array([1.5, -1.2])
    x = theta @ A.T + np.random.default_rng(0).multivariate_normal(np.zeros(3), NOISE, 6)
    drawn = untrained_model.draw(4000, x, iid=True, seed=1)
    precision = np.linalg.inv(PRIOR) + 6 * A.T @ np.linalg.inv(NOISE) @ A
    mean = np.linalg.solve(precision, A.T @ np.linalg.inv(NOISE) @ x.sum(axis=0))
    deviation = np.sqrt(np.diag(np.linalg.inv(precision)))
    # Covariances of the single posteriors are known from 1,000 draws each.
    assert (np.abs(drawn.mean(axis=0) - mean) < 0.2 * deviation).all()
    white = np.linalg.cholesky(precision).T @ (drawn - mean).T
    assert np.abs(np.cov(white) - np.eye(2)).max() < 0.15


def test_units_of_their_own_are_left_alone_without_standardising():
    theta, x = simulated(100, 5)
    model = motes.fit(theta, given=x, changes=SMALL | {"data.standardise": False}, verbose=False)
    assert model.context.regression is None
