"""Posteriors given several or incomplete observations, and the linear prediction that a network corrects."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.conftest import SMALL
from tests.linear_simulator import GAIN, NOISE, POSTERIOR, PRIOR, A, log_posterior, simulated

import motes
from motes.data import Standardiser, Support
from motes.data.curves import Straight
from motes.data.tables import SMOOTH, log_density, quantile, shares
from motes.errors import DataError, UsageError
from motes.points import Denoiser, GaussianOracle, Given, PosteriorModel
from motes.points.guidance import Composed, NoisyPrior, added_precisions
from motes.points.posterior import Context, Prior, Regression
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
def test_scores_given_all_observations_are_those_of_the_exact_posterior(exact):
    x = observations(2)
    mean, covariance = together(x)
    at = np.random.default_rng(1).multivariate_normal(mean, covariance, 5)
    found, truth = exact.score_samples(at, given=x, iid=True), stats.multivariate_normal(mean, covariance).logpdf(at)
    # Covariances of the single posteriors are known from 1,000 draws each.
    np.testing.assert_allclose(found, truth, atol=0.3)
    assert np.abs(exact.score_samples(at, given=x[0]) - truth).max() > 0.6


def test_more_observations_than_are_accurate_are_refused(exact):
    x, theta = observations(9), np.tile(THETA, (60, 1))
    for call in (
        lambda: exact.sample(2, given=x, iid=True),
        lambda: exact.score_samples([THETA], given=x, iid=True),
        lambda: motes.calibration(exact, theta, np.tile(x, (60, 1, 1)), iid=True),
    ):
        with pytest.raises(UsageError, match=r"got 9 observations with iid=True; expected at most 8.*summaries"):
            call()
    for wrong in (x, [[[1.0, 2.0, 3.0]], [[1.0]]]):
        with pytest.raises(UsageError, match=r"expected an array of shape \(rows, observations of each, columns\)"):
            motes.calibration(exact, theta, wrong, iid=True)


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


# --- missing entries --------------------------------------------------------------------------------------------------


GAPS = (True, False, True)  # which entries may be missing


def with_gaps(x, seed, share=0.4):
    out = np.random.default_rng(seed).random(x.shape) < share
    return np.where(out & GAPS, np.nan, x)


def log_posterior_with_gaps(theta, x):
    """Of each row given the entries of x that are not missing."""
    found = []
    for one, seen in zip(theta, x, strict=True):
        there = ~np.isnan(seen)
        a, noise = A[there], NOISE[np.ix_(there, there)]
        gain = PRIOR @ a.T @ np.linalg.inv(a @ PRIOR @ a.T + noise)
        found.append(stats.multivariate_normal(gain @ seen[there], PRIOR - gain @ a @ PRIOR).logpdf(one))
    return np.array(found)


@pytest.fixture(scope="module")
def learned_with_gaps():
    theta, x = simulated(4000, 21)
    changes = {"training.steps": 1500, "schedule.sigma_max": 40.0, "network.members": 1}
    return motes.fit(theta, given=with_gaps(x, 22), changes=changes, seed=2, verbose=False)


@pytest.mark.slow
def test_the_posterior_is_the_one_given_what_was_observed(learned_with_gaps):
    assert learned_with_gaps.context.has_missing == GAPS and learned_with_gaps.context.inputs == 5
    theta, x = simulated(600, 23)
    seen = with_gaps(x, 24)
    exact, found = log_posterior_with_gaps(theta, seen), learned_with_gaps.score_samples(theta, given=seen)
    excess = exact - found
    assert -4 * excess.std() / 24 < excess.mean() < 0.08
    # What would have been there adds to what is known, so that a model that had it would be nearer by more than that.
    gone = np.isnan(seen).any(axis=1)
    assert (log_posterior_with_gaps(theta, x) - exact)[gone].mean() > 0.1
    for pattern in ([True, False, True], [False, False, True]):
        rows = (np.isnan(seen) == pattern).all(axis=1)
        assert rows.sum() > 50 and excess[rows].mean() < 0.15, pattern


@pytest.mark.slow
def test_what_is_missing_is_none_or_nan(learned_with_gaps):
    one = learned_with_gaps.sample(4, given=[np.nan, 0.5, -1.0])
    frame = pd.DataFrame({"given0": [np.nan], "given1": [0.5], "given2": [-1.0]})
    for given in ([None, 0.5, -1.0], {"given0": None, "given1": 0.5, "given2": -1.0}, frame.iloc[0]):
        np.testing.assert_array_equal(learned_with_gaps.sample(4, given=given), one)
    np.testing.assert_allclose(learned_with_gaps.sample(4, given=frame)[0], one, atol=1e-6)
    assert not np.allclose(learned_with_gaps.sample(4, given=[0.0, 0.5, -1.0]), one)  # 0 is a number
    with pytest.raises(DataError, match="column 'given1': got nan; expected a finite number, as in all"):
        learned_with_gaps.sample(4, given=[0.0, np.nan, 0.0])


def test_gaps_travel_and_units_are_those_of_what_is_there(tmp_path):
    theta, x = simulated(300, 5)
    gaps = with_gaps(x, 6)
    model = motes.fit(theta, given=gaps, changes=SMALL, verbose=False)
    model.save(tmp_path / "model.safetensors")
    again = motes.load(tmp_path / "model.safetensors")
    assert again.context == model.context
    np.testing.assert_array_equal(again.sample(5, given=gaps), model.sample(5, given=gaps))
    context = model.context.forward(gaps)
    assert context.shape == (300, 5)
    np.testing.assert_array_equal(context[:, 3:], np.isnan(gaps)[:, [0, 2]])
    for column, out in zip(context[:, :3].T, np.isnan(gaps).T, strict=True):
        assert (column[out] == 0).all()
        np.testing.assert_allclose([column[~out].mean(), column[~out].std()], [0, 1], atol=1e-9)


@pytest.mark.slow
def test_a_file_has_empty_cells(motes_command):
    theta, x = simulated(300, 5)
    names = ["u", "v", "a", "b", "c"]
    pd.DataFrame(np.hstack([theta, with_gaps(x, 6)]), columns=names).to_csv("s.csv", index=False)
    quick = ["--set=network.members=1", "--set=training.steps=20", "--set=training.batch=64", "--set=grid.steps=5"]
    motes_command.out("train", "s.csv", "--out", "run", "--given-columns", "a,b,c", *quick)
    out = motes_command.out("sample", "run", "-n", "4", "--given", "a=", "--given", "c=-1", "--given", "b=2")
    found = np.loadtxt(out.splitlines(), delimiter=",", skiprows=1)
    np.testing.assert_allclose(found, motes.load("run").sample(4, given={"a": None, "b": 2.0, "c": -1.0}).to_numpy())
    code, _, err = motes_command("sample", "run", "--given", "a=1", "--given", "c=-1", "--given", "b=")
    assert code != 0 and "column 'b': got nan; expected a finite number, as in all training rows" in err
    motes_command.out("score", "run", "s.csv", "--out", "p.csv")


# --- the linear prediction that a network corrects --------------------------------------------------------------------


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
    x = observations(6)
    drawn = untrained_model.draw(4000, x, iid=True, seed=1)
    mean, covariance = together(x)
    deviation = np.sqrt(np.diag(covariance))
    # Covariances of the single posteriors are known from 1,000 draws each.
    assert (np.abs(drawn.mean(axis=0) - mean) < 0.2 * deviation).all()
    white = np.linalg.solve(np.linalg.cholesky(covariance), (drawn - mean).T)
    assert np.abs(np.cov(white) - np.eye(2)).max() < 0.15


@pytest.mark.slow
def test_posteriors_given_several_observations_can_be_calibrated():
    """False alarms occur for 2.5 % of correct posteriors; the seed is fixed."""
    hardly = {"training.steps": 1, "training.learning_rate": 1e-9, "grid.steps": 16, "schedule.sigma_max": 40.0}
    theta, x = simulated(5000, 3)
    model = motes.fit(theta, given=x, changes=SMALL | hardly, verbose=False)
    theta, _ = simulated(60, 7)
    x = theta[:, None] @ A.T + np.random.default_rng(8).multivariate_normal(np.zeros(3), NOISE, (60, 2))
    found = motes.calibration(model, theta, x, iid=True, draws=39)
    assert found.ranks.shape == (60, 3) and found.calibrated
    # The observations of another row say nothing about a row.
    assert not motes.calibration(model, theta, np.roll(x, 1, axis=0), iid=True, draws=39).calibrated


def test_units_of_their_own_are_left_alone_without_standardising():
    theta, x = simulated(100, 5)
    model = motes.fit(theta, given=x, changes=SMALL | {"data.standardise": False}, verbose=False)
    assert model.context.regression is None
