"""Known and absent cells: exact denoisers and learned ones that are told a part of a row."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tests.conftest import SMALL
from tests.reference import SCHEDULES, Z

import motes
from motes.diffusion.denoiser import Cells, Denoiser, Given, Settled
from motes.diffusion.oracles import GaussianOracle
from motes.diffusion.schedules import Schedule, VarianceExploding
from motes.errors import RecipeError
from motes.learning.losses import LOSSES
from motes.learning.rows import Rows
from motes.sampling.grids import karras_grid, uniform_grid
from motes.sampling.likelihood import log_likelihood
from motes.sampling.samplers import SAMPLERS, DPMSolver3M, sample

MEAN, STD = np.array([0.5, -1.0, 0.2, 0.0]), np.array([0.5, 1.0, 0.2, 2.0])


class Independent(Denoiser):
    """Exact for independent columns: what is known of some says nothing of the others."""

    oracle: GaussianOracle
    schedule: Schedule

    def __call__(self, x_t, t):
        return self.oracle(x_t, t)

    def given(self, known):
        return Settled(self.oracle, known.cells)


def independent(schedule):
    return Independent(GaussianOracle(MEAN, np.diag(STD**2), schedule), schedule)


def cells(values, known, absent=None):
    known = np.asarray(known, bool)
    return Given(cells=Cells(np.where(known, values, 0.0), known, np.zeros_like(known) if absent is None else absent))


# --- exact -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["ancestral", "ddim", "heun", "dpmpp_3m", "euler_maruyama", "stochastic_heun", "churn"]
)
def test_every_kind_of_sampler_ends_in_the_known_values_and_the_law_of_the_others(name):
    n, schedule = 3000, VarianceExploding(1000.0, 7.0)
    known = np.tile([True, False, False, True], (n, 1))
    values = np.tile([1.25, 0.0, 0.0, -3.0], (n, 1))
    points, _ = sample(
        independent(schedule),
        n,
        4,
        key=jax.random.key(2),
        sampler=SAMPLERS[name](),
        grid=karras_grid(schedule, 200, 0.01),
        given=cells(values, known),
    )
    np.testing.assert_allclose(points[known], values[known], rtol=1e-6)
    for j in (1, 2):
        assert abs(points[:, j].mean() - MEAN[j]) < Z * STD[j] / np.sqrt(n) + 0.01 * STD[j]
        # The samplers of first order are a few per cent too narrow with 200 steps.
        assert abs(points[:, j].std() / STD[j] - 1) < Z / np.sqrt(2 * n) + 0.05


@pytest.mark.parametrize("solver", ["grid", "adaptive"])
def test_the_likelihood_is_that_of_the_cells_that_are_asked_for(solver):
    rng = np.random.default_rng(4)
    x = MEAN + STD * rng.standard_normal((12, 4))
    state = rng.integers(0, 3, (12, 4))  # asked for, known, absent
    state[0], state[1] = 0, 1
    given = cells(x, state == 1, state == 2)
    expected = np.where(state == 0, stats.norm(MEAN, STD).logpdf(x), 0.0).sum(axis=1)
    whole = independent(VarianceExploding(1e6, 7.0))
    found = log_likelihood(whole, x, given=given, solver=solver, tolerance=1e-5)
    np.testing.assert_allclose(found.log_prob, expected, atol=1e-4)
    # Absent cells may hold anything.
    anything = log_likelihood(whole, np.where(state == 2, 9.0, x), given=given, solver=solver, tolerance=1e-5)
    np.testing.assert_array_equal(anything.log_prob, found.log_prob)


def test_random_directions_leave_out_settled_cells():
    x = MEAN + 0.3 * STD
    given = cells(x[None], [[True, False, False, False]])
    found = log_likelihood(
        independent(VarianceExploding(1e6, 7.0)),
        x[None],
        given=given,
        divergence="rademacher",
        probes=8,
        key=jax.random.key(0),
    )
    # The divergence of independent columns is the same in every direction of +-1.
    np.testing.assert_allclose(found.log_prob[0], stats.norm(MEAN, STD).logpdf(x)[1:].sum(), atol=1e-3)


@pytest.mark.parametrize("loss", ["simple", "edm", "x0", "snr"])
@pytest.mark.parametrize("name", SCHEDULES)
def test_settled_cells_have_no_loss(loss, name):
    schedule, x0, eps = SCHEDULES[name], jnp.array([0.5, 2.0, 0.0, 1.0]), jnp.array([0.3, -1.0, 0.4, 0.1])
    told = cells(np.asarray(x0), [True, False, False, True], np.array([False, False, True, False])).cells
    silent = independent(schedule)
    settled = eqx.filter_jit(LOSSES[loss])(Settled(silent, told), x0, jnp.array(0.5), eps)
    plain = eqx.filter_jit(LOSSES[loss])(silent, x0, jnp.array(0.5), eps)
    # Only the second cell is asked for; the columns of this denoiser do not mix.
    only = eqx.filter_jit(LOSSES[loss])(
        GaussianOracle(MEAN[1:2], STD[1:2, None] ** 2, schedule), x0[1:2], jnp.array(0.5), eps[1:2]
    )
    (found,), (alone,), (whole,) = settled.values(), only.values(), plain.values()
    np.testing.assert_allclose(found, alone / 4, rtol=1e-3)
    assert found < whole


# --- what a network is shown -----------------------------------------------------------------------------------------


def test_every_subset_of_cells_comes_up_and_none_that_is_missing_is_shown():
    n, d, masks = 40_000, 3, 0.5
    x0 = jnp.ones((n, d))
    present = jnp.asarray(np.random.default_rng(1).random((n, d)) < 0.8)
    rows = Rows(x0, None, present, 0.1, masks)
    chances = jax.random.uniform(jax.random.key(5), (n, rows.chances))
    told = rows.told(jnp.arange(n), chances, np.arange(n) % 2 == 0).cells
    known, absent = np.asarray(told.known), np.asarray(told.absent)
    assert not (known & absent).any()
    assert not known[~np.asarray(present)].any()
    assert absent[~np.asarray(present)].all()
    np.testing.assert_array_equal(told.values, known)
    whole = np.asarray(present).all(axis=1)
    shown = known[whole].any(axis=1) | absent[whole].any(axis=1)
    # Of the rows that are whole, `masks` are told something, or would be if their share of cells did not come to none:
    # uniform shares leave 3 cells untouched in 1 of 4 rows without, and in 1 of 10 or so with absent ones.
    assert 0.3 < shown.mean() < masks
    patterns = {tuple(row) for row in (known + 2 * absent)[whole]}
    assert len(patterns) == 3**d


def test_without_masks_nothing_is_told():
    rows = Rows(jnp.ones((3, 2)), None, None, 0.1, 0.0)
    assert rows.told(jnp.arange(3), jnp.zeros((3, rows.chances)), np.zeros(3, bool)) == Given()


# --- learned ---------------------------------------------------------------------------------------------------------

COVARIANCE = np.array([[1.0, 0.8, -0.3], [0.8, 1.0, 0.0], [-0.3, 0.0, 1.0]])


@pytest.fixture(scope="module")
def gaussian():
    """Three columns, 20,000 rows, trained with masks for some seconds."""
    x = np.random.default_rng(7).multivariate_normal(np.zeros(3), COVARIANCE, 20_000)
    changes = {"training.masks": 0.5, "training.steps": 1500, "schedule.sigma_max": 40.0, "times.mean": -0.8}
    return motes.fit(x, changes=changes | {"network.width": 48, "network.depth": 2}, seed=1)


def conditional(known, x):
    """Mean and covariance of the other columns given `known` ones."""
    rest = [j for j in range(3) if j not in known]
    gain = COVARIANCE[np.ix_(rest, known)] @ np.linalg.inv(COVARIANCE[np.ix_(known, known)])
    return rest, gain @ x[known], COVARIANCE[np.ix_(rest, rest)] - gain @ COVARIANCE[np.ix_(known, rest)]


@pytest.mark.parametrize("known", [[0], [1], [2], [0, 1], [0, 2], [1, 2]])
def test_a_network_trained_with_masks_has_the_conditional_laws_of_every_subset(gaussian, known):
    n, x = 4000, np.array([0.7, 0.4, -0.5])
    mask = np.isin(np.arange(3), known)
    z = gaussian.standardiser.forward(x[None])
    points, _ = sample(
        gaussian.denoiser,
        n,
        3,
        key=jax.random.key(8),
        sampler=DPMSolver3M(),
        grid=karras_grid(gaussian.denoiser.schedule, 32, 0.01),
        given=cells(np.tile(z, (n, 1)), np.tile(mask, (n, 1))),
    )
    points = gaussian.standardiser.inverse(points)
    rest, mean, covariance = conditional(known, x)
    std = np.sqrt(np.diag(covariance))
    # 5 per cent of a standard deviation, beside the chance of 4,000 draws.
    assert (np.abs(points[:, rest].mean(axis=0) - mean) < (0.1 + Z / np.sqrt(n)) * std).all()
    scaled = np.cov(points[:, rest].T).reshape(covariance.shape) / np.outer(std, std)
    assert (np.abs(scaled - covariance / np.outer(std, std)) < 0.1 + Z * np.sqrt(2 / n)).all()


def test_marginal_and_conditional_likelihoods_are_the_exact_ones(gaussian):
    x = np.random.default_rng(9).multivariate_normal(np.zeros(3), COVARIANCE, 200)
    z, log_det = gaussian.standardiser.forward(x), -np.log(gaussian.standardiser.scale)
    for state in ([0, 1, 2], [1, 0, 0], [0, 0, 2], [2, 1, 0]):  # 0 asked for, 1 known, 2 absent
        state = np.array(state)
        asked, known = (state == 0).nonzero()[0], (state == 1).nonzero()[0]
        found = log_likelihood(
            gaussian.denoiser, z, given=cells(z, np.tile(state == 1, (200, 1)), np.tile(state == 2, (200, 1)))
        ).log_prob
        joint = np.concatenate([asked, known])
        law = lambda columns: stats.multivariate_normal(np.zeros(len(columns)), COVARIANCE[np.ix_(columns, columns)])
        exact = law(joint).logpdf(x[:, joint]) - (law(known).logpdf(x[:, known]) if len(known) else 0)
        excess = exact - found - log_det[asked].sum()
        assert abs(excess.mean()) < 0.03 + Z * excess.std() / np.sqrt(200)


def test_a_model_trained_with_masks_is_saved_whole(tmp_path):
    model = motes.fit(motes.draw("moons", 300), changes=SMALL | {"training.masks": 0.5})
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(motes.load(tmp_path / "model.safetensors").sample(10), model.sample(10))


def test_misfits_are_told(small_model):
    with pytest.raises(RecipeError, match="can be told nothing of a row"):
        motes.load_recipe("tutorial", {"training.masks": 0.5})
    told = cells(np.zeros((5, 2)), np.ones((5, 2), bool))
    with pytest.raises(TypeError, match="can be told nothing"):
        sample(
            small_model.denoiser,
            5,
            2,
            key=jax.random.key(0),
            sampler=DPMSolver3M(),
            grid=uniform_grid(4),
            given=told,
        )
