"""Likelihoods against closed forms, independent solvers and each other, and the stated errors against true ones."""

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from tests.reference import CONTINUOUS, SCHEDULES, ExactGaussian, ExactMixture, Z, float64, mixture_flow

import motes
from fits import fit_points
from motes.data.tables import Standardiser
from motes.points import PointModel, VarianceExploding, log_likelihood, variational_bound
from motes.points.exact import GaussianOracle, MixtureOracle

pytestmark = pytest.mark.optimised  # what single precision costs is that of the programs of a user

KEY = jax.random.key(0)
# So wide that q(x_1) is N(0, prior_std^2 I) to 1e-8 for data of mean 0: what is left is the error of the integral.
WIDE = VarianceExploding(1e4, 7.0)
RNG = np.random.default_rng(0)
COVARIANCE = np.array([[0.9, -0.5], [-0.5, 0.4]])
# A mixture of mean 0, with narrow parts and a wide one.
MIXTURE = MixtureOracle(
    [0.5, 0.3, 0.2],
    [[0.6, 0.2], [-1.0, 0.3], [0.0, -0.95]],
    [0.05 * np.eye(2), [[0.3, 0.2], [0.2, 0.2]], 0.01 * np.eye(2)],
    WIDE,
)
POINTS = RNG.normal(size=(100, 2)) * 0.8


@pytest.fixture(scope="module")
def trained():
    """Trained for a second: a distribution of its own, whatever it looks like."""
    changes = {"training.steps": 400, "training.ema": 0.9, "network.width": 32, "network.depth": 2}
    return fit_points(motes.make_shape("moons", 2000, seed=0), changes=changes)


# --- exact answers --------------------------------------------------------------------------------------------------


def gaussian_through(schedule, x, mean, std):
    """log p(x), (n,): for data N(mean, std^2 I) the flow in y is affine, and y_1 = x_1 / alpha_1 has a normal prior."""
    with float64():
        r = float(schedule.sigma(1.0)) / float(schedule.alpha(1.0))
    widening = np.sqrt(std**2 + r**2) / std
    y = mean + widening * (x - mean)
    return np.sum(-0.5 * (y**2 / (1 + r**2) + np.log(2 * np.pi * (1 + r**2))) + np.log(widening), axis=1)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", (SCHEDULES | CONTINUOUS).values(), ids=SCHEDULES | CONTINUOUS)
def test_a_gaussian_is_exact_under_every_schedule(schedule):
    # Schedules that do not end in noise too: this is the distribution of the flow from the prior, not that of the data.
    found = log_likelihood(ExactGaussian(schedule, 0.3, 0.5), POINTS, tolerance=1e-5)
    np.testing.assert_allclose(found.log_prob, gaussian_through(schedule, POINTS, 0.3, 0.5), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("oracle", [GaussianOracle([0.0, 0.0], COVARIANCE, WIDE), MIXTURE], ids=["gaussian", "mixture"])
def test_exact_denoisers_give_the_density_of_the_data(oracle):
    found = log_likelihood(oracle, POINTS, tolerance=1e-6)
    with float64():
        exact = np.asarray(oracle.rows(POINTS, 0.0).log_prob)
    np.testing.assert_allclose(found.log_prob, exact, atol=1e-5)


@pytest.mark.slow
def test_twenty_columns_are_exact():
    root = RNG.normal(size=(20, 20)) / 5
    x = RNG.normal(size=(20, 20)) @ root.T
    oracle = GaussianOracle(np.zeros(20), root @ root.T + 0.01 * np.eye(20), WIDE)
    found = log_likelihood(oracle, x, tolerance=1e-5, r_min=1e-4)
    with float64():
        exact = np.asarray(oracle.rows(x, 0.0).log_prob)
    np.testing.assert_allclose(found.log_prob, exact, atol=1e-4)


def test_scipy_arrives_at_the_same_number():
    # A mixture that does not end in its prior, by another solver, in y and r, with the divergence by differences.
    largest, rows = 20.0, POINTS[:5]

    def rhs(r, state):
        y = state.reshape(5, 3)[:, :2]
        step = 1e-6
        slope = mixture_flow(y, r)
        push = [(mixture_flow(y + e, r) - mixture_flow(y - e, r)) / (2 * step) for e in step * np.eye(2)]
        return np.column_stack([slope, push[0][:, 0] + push[1][:, 1]]).ravel()

    start = np.column_stack([rows, np.zeros(5)]).ravel()
    end = solve_ivp(rhs, (0.0, largest), start, method="DOP853", rtol=1e-9, atol=1e-9).y[:, -1].reshape(5, 3)
    variance = 1 + largest**2
    expected = end[:, 2] - 0.5 * np.sum(end[:, :2] ** 2, axis=1) / variance - np.log(2 * np.pi * variance)
    found = log_likelihood(ExactMixture(VarianceExploding(largest)), rows, tolerance=1e-7, r_min=1e-4)
    np.testing.assert_allclose(found.log_prob, expected, atol=1e-5)


# --- the errors that it states --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_stated_error_covers_the_true_one():
    found = log_likelihood(MIXTURE, POINTS)
    with float64():
        exact = np.asarray(MIXTURE.rows(POINTS, 0.0).log_prob)
    true = np.abs(found.log_prob - exact)
    assert (true <= found.error + 1e-7).mean() > 0.9
    assert (true <= 10 * found.error + 1e-7).all()
    assert (found.error <= 1e-4).all()


@pytest.mark.slow
def test_a_network_in_single_precision_costs_far_less_than_the_tolerance(trained, monkeypatch):
    # Both on the same two grids: it is the tolerance that decides about the precision.
    monkeypatch.setattr("motes.points.likelihood.HALVINGS", 1)
    x = motes.make_shape("moons", 60, seed=5)
    single, double = (trained.likelihood(x, tolerance=tolerance).log_prob for tolerance in (1e-4, 0.99e-4))
    assert 0 < np.abs(single - double).max() < 1e-5


@pytest.mark.slow
def test_a_tolerance_out_of_reach_is_owned_up_to(monkeypatch):
    # A network with a jump in time at each step has no smooth slope.
    model = fit_points(
        motes.make_shape("moons", 300, seed=0), "tutorial", changes={"training.steps": 30, "network.width": 8}, seed=0
    )
    x = model.standardiser.forward(motes.make_shape("moons", 20, seed=1))

    def halved(times):
        monkeypatch.setattr("motes.points.likelihood.HALVINGS", times)
        return log_likelihood(model.denoiser, x, tolerance=1e-9)

    found, finer = halved(1), halved(4)
    assert (found.error > 1e-9).any()
    true = np.abs(found.log_prob - finer.log_prob)
    assert np.median(true / found.error) < 2
    assert np.median(finer.error) < np.median(found.error)
    # So the model itself does not answer: it has no density.
    with pytest.raises(motes.errors.UsageError, match=r"'step_gated'.* the flow jumps and has no density\. Train with"):
        model.score_samples(motes.make_shape("moons", 20, seed=1))


def test_a_point_beyond_all_numbers_is_nan_with_an_infinite_error(small_model):
    found = small_model.likelihood([[0.0, 0.0], [1e200, -1e200]])
    assert np.isfinite(found.log_prob[0]) and found.error[0] < 1e-3
    assert np.isnan(found.log_prob[1]) and found.error[1] == np.inf


# --- blocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_row_does_not_depend_on_its_neighbours(trained):
    x = motes.make_shape("moons", 1200, seed=5)
    found = trained.score_samples(x)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_allclose(trained.score_samples(x[order]), found[order], rtol=0, atol=1e-9)
    for rows in (slice(0, 1), slice(511, 514), slice(0, 513)):
        np.testing.assert_allclose(trained.score_samples(x[rows]), found[rows], rtol=0, atol=1e-9)


# --- a trained model ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_density_of_a_trained_model_integrates_to_1(trained):
    middle, spread = trained.standardiser.mean, trained.standardiser.scale
    step = 0.1
    axis = np.arange(-4, 4 + step / 2, step)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    log_prob = trained.likelihood(middle + spread * grid, tolerance=1e-3).log_prob
    assert abs(np.exp(log_prob).sum() * step**2 * spread.prod() - 1) < 0.01


@pytest.mark.parametrize("factor", [1e6, 1e-6])
def test_other_units_shift_it_by_their_jacobian(trained, factor):
    x, old = motes.make_shape("moons", 50, seed=5), trained.standardiser
    other = PointModel(
        trained.denoiser, Standardiser(old.mean * factor, old.scale * factor), trained.columns, trained.recipe
    )
    shift = other.score_samples(x * factor) - trained.score_samples(x)
    np.testing.assert_allclose(shift, -2 * np.log(factor), atol=1e-9)


@pytest.mark.slow
def test_the_bound_lies_below_the_likelihood_on_average():
    # They are of two distributions, of the chain of noisy steps and of the flow, so it need not be so for every row.
    # With the exact denoiser both are near that of the data, and the bound gives away what a hundred steps cost.
    schedule = SCHEDULES["linear"]
    oracle = MixtureOracle([0.6, 0.4], [[0.8, 0.4], [-1.2, -0.6]], [0.1 * np.eye(2), 0.3 * np.eye(2)], schedule)
    with float64():
        means, widths = np.array([[0.8, 0.4], [-1.2, -0.6]]), np.sqrt([0.1, 0.3])
        which = RNG.choice(2, size=500, p=[0.6, 0.4])
        x = means[which] + widths[which, None] * RNG.normal(size=(500, 2))
        bound = variational_bound(oracle, x, key=KEY, draws=8)
        entropy = -float(np.mean(oracle.rows(x, 0.0).log_prob))
    log_prob = log_likelihood(oracle, x).log_prob
    gap = bound.nats + log_prob
    assert -Z * gap.std() / np.sqrt(500) < gap.mean() < 0.5
    assert abs(-log_prob.mean() - entropy) < 0.05


# --- misuse ---------------------------------------------------------------------------------------------------------

BAD = {
    "shape": (dict(x=np.zeros(3)), r"shape \(3,\)"),
    "no rows": (dict(x=np.zeros((0, 2))), "n >= 1"),
    "not finite": (dict(x=[[0.0, np.nan]]), "finite"),
    "tolerance": (dict(tolerance=0.0), "tolerance = 0"),
    "r_min": (dict(r_min=30.0), "below the noise at t = 1, 20"),
}


@pytest.mark.parametrize("name", BAD)
def test_misuse_is_told(name):
    changes, message = BAD[name]
    arguments = {"x": np.zeros((1, 2))} | changes
    with pytest.raises(ValueError, match=message):
        log_likelihood(ExactGaussian(SCHEDULES["exploding"]), **arguments)


def test_a_model_tells_misuse_with_its_own_errors(small_model):
    with pytest.raises(motes.errors.DataError, match="3 columns"):
        small_model.score_samples([[0.0, 0.0, 0.0]])
    with pytest.raises(motes.errors.DataError, match="row 2, column 'y'"):
        small_model.score_samples([[0.0, 0.0], [0.0, np.inf]])
