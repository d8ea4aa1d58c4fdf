"""The variance of a reverse step: between its two bounds, the optimum in closed form, and a network that learns it."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests.conftest import SMALL
from tests.reference import ExactGaussian, Silent, TrainingBy, Z, assert_moments, normal_logpdf, tutorial_tables

import motes
from fits import fit_points
from motes.errors import RecipeError, UsageError
from motes.loading import load
from motes.points import Ancestral
from motes.points.denoisers import NoisePredictor, VelocityPredictor, VPredictor, X0Predictor
from motes.points.exact import GaussianOracle
from motes.points.networks import ResidualMLP
from motes.points.sampling import ReverseProcess, UniformGrid, sample
from motes.points.schedules import DiscreteVP, LinearBetas
from motes.points.times import StepTimes
from motes.points.training import train
from motes.points.variance import Hybrid, LearnedVariance, log_variance_between, step_term, variational_bound

BETAS = LinearBetas(12, 0.02, 0.5).betas
SCHEDULE = DiscreteVP(BETAS)
TABLE = tutorial_tables(BETAS)
K = np.arange(12)


class Says(eqx.Module):
    """A network that gives the same numbers whatever the input."""

    numbers: jax.Array

    def __call__(self, x, time):
        return self.numbers


def learned(eps, v, kind=NoisePredictor):
    return LearnedVariance(Says(jnp.concatenate([jnp.asarray(eps, float), jnp.asarray(v, float)])), SCHEDULE, kind)


# --- between the bounds --------------------------------------------------------------------------------------------


@pytest.mark.slow(but=["2"])
@pytest.mark.parametrize("steps", [1, 2, 12])
def test_shares_0_and_1_are_the_tables_of_the_schedule(steps):
    schedule, k = DiscreteVP(BETAS[:steps]), np.arange(steps)
    of = lambda share: np.asarray(log_variance_between(schedule, share, (k + 1) / steps, k / steps))
    lower = tutorial_tables(schedule.betas)["posterior_log_variance_clipped"] if steps > 1 else np.log(schedule.betas)
    assert np.allclose(of(0.0), lower, rtol=1e-4)
    assert np.allclose(of(1.0), np.log(schedule.betas), rtol=1e-4)
    assert np.allclose(of(0.3), 0.3 * of(1.0) + 0.7 * of(0.0), rtol=1e-5)


@pytest.mark.slow(but=["1.0-beta-12"])
@pytest.mark.parametrize("steps", [12, 4])
@pytest.mark.parametrize(("v", "variance"), [(-1.0, "posterior"), (1.0, "beta")])
def test_a_network_that_says_a_bound_samples_as_that_bound(v, variance, steps):
    denoiser = learned([0.1, -0.2], [v, v])
    grid = UniformGrid(steps)(SCHEDULE)
    draw = lambda *how: sample(ReverseProcess(*how, grid, 2), 64, key=jax.random.key(0))[0]
    ours, theirs = draw(denoiser, Ancestral("learned")), draw(denoiser, Ancestral(variance))
    assert np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    half = draw(learned([0.1, -0.2], [0, 0]), Ancestral("learned"))
    assert not np.allclose(half, theirs, atol=1e-2)


@pytest.mark.parametrize("kind", [NoisePredictor, X0Predictor, VPredictor, VelocityPredictor])
def test_the_first_half_is_read_as_the_kind_says(kind):
    x_t, t = jnp.array([0.3, -0.7]), jnp.asarray(0.5)
    plain, wide = kind(Says(jnp.array([0.1, -0.2])), SCHEDULE), learned([0.1, -0.2], [0.3, 0.4], kind)
    for of in (lambda d: d(x_t, t), lambda d: d.eps(x_t, t), lambda d: d.v(x_t, t), lambda d: d.velocity(x_t, t)):
        assert np.allclose(of(plain), of(wide), rtol=1e-5)


# --- the bound's term ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1, 7])
def test_a_term_is_the_divergence_written_by_hand(k):
    x0, x_t, x0_hat, log_variance = (
        np.array([0.5, -1.0]),
        np.array([0.2, 0.9]),
        np.array([0.1, 0.3]),
        np.log([0.07, 0.2]),
    )
    c1, c2 = TABLE["posterior_mean_coef_1"][k], TABLE["posterior_mean_coef_2"][k]
    mean, guess, spread = c1 * x0 + c2 * x_t, c1 * x0_hat + c2 * x_t, np.exp(log_variance)
    if k == 0:
        expected = -normal_logpdf(x0, guess, spread)
    else:
        q = TABLE["posterior_variance"][k]
        expected = 0.5 * (np.log(spread / q) - 1 + (q + (mean - guess) ** 2) / spread)
    ours = step_term(
        SCHEDULE, x_t, x0, x0_hat, jnp.asarray(log_variance), jnp.asarray((k + 1) / 12), jnp.asarray(k / 12)
    )
    assert np.allclose(ours, expected, rtol=1e-4)


@pytest.mark.slow(but=["1"])
@pytest.mark.parametrize("k", [0, 1, 11])
def test_the_mean_learns_nothing_from_the_bound_and_the_variance_nothing_from_the_simple_loss(k):
    x0, eps, t = jnp.array([0.5, -1.0]), jnp.array([0.8, -0.1]), jnp.asarray((k + 1) / 12)
    slopes = jax.jacobian(lambda denoiser: Hybrid()(denoiser, x0, t, eps))(learned([0.1, -0.2], [0.2, 0.4]))
    simple, bound = slopes["eps"].network.numbers, slopes["vlb"].network.numbers
    assert np.array_equal(bound[:2], [0, 0])
    assert np.array_equal(simple[2:], [0, 0])
    assert (np.abs(bound[2:]) > 0).all()
    assert np.isfinite(bound).all()
    assert (np.abs(simple[:2]) > 0).all()


def test_the_hybrid_loss_is_the_simple_one_and_the_bound():
    # The mean over the steps of L_vlb is the whole bound but for its prior: on the same noise the two would be equal;
    # here each has its own, and they agree within 5 standard errors (a false alarm in 10^6).
    denoiser, rows = learned([0.1, -0.2], [0.2, 0.4]), 4000
    x0 = np.random.default_rng(0).standard_normal((rows, 2)).astype(np.float32)
    bound = variational_bound(denoiser, x0, key=jax.random.key(1), variance="learned")
    eps = jax.random.normal(jax.random.key(2), (12, rows, 2))
    rows_of = jax.vmap(Hybrid(1.0), (None, 0, None, 0))
    terms = jax.jit(jax.vmap(rows_of, (None, None, 0, 0)))(denoiser, x0, (K + 1) / 12, eps)
    assert np.allclose(terms["eps"], np.mean((np.array([0.1, -0.2]) - eps) ** 2, axis=2), rtol=1e-4, atol=1e-5)
    ours, theirs = 2 * np.asarray(terms["vlb"], float).mean(axis=0), np.asarray(bound.nats - bound.prior, float)
    gap = ours - theirs
    assert abs(gap.mean()) < Z * gap.std() / np.sqrt(rows)


# --- the optimum ---------------------------------------------------------------------------------------------------

MEAN = np.array([0.4, -0.2])


def optimal_variance(k, variances):
    """What q(x_{k-1} | x_k, x_0) leaves open and what x_k leaves open of x_0 (Bao et al. 2022), independent columns."""
    bar = TABLE["alphas_bar"][k]
    of_x0 = variances * (1 - bar) / (bar * variances + 1 - bar)
    return TABLE["posterior_variance"][k] + TABLE["posterior_mean_coef_1"][k] ** 2 * of_x0


def test_the_exact_denoiser_knows_the_best_variance():
    variances = np.array([0.25, 0.04])
    oracle = GaussianOracle(np.zeros(2), np.diag(variances), SCHEDULE)
    ours = np.stack([np.exp(oracle.log_variance(jnp.array([0.3, -0.2]), (k + 1) / 12, k / 12)) for k in K])
    exact = np.stack([optimal_variance(k, variances) for k in K])
    assert np.allclose(ours, exact, rtol=1e-4)
    assert (exact[1:] > TABLE["posterior_variance"][1:, None]).all()
    assert (exact < BETAS[:, None]).all()


@pytest.mark.slow
def test_exact_means_and_variances_give_exact_points_in_any_number_of_steps():
    # Reverse steps of independent Gaussian columns are Gaussian: with both moments right, the distribution at every
    # step is.
    variances, n = np.array([0.25, 0.04]), 20_000
    oracle = GaussianOracle(MEAN, np.diag(variances), SCHEDULE)
    bar = TABLE["alphas_bar"][-1]
    start = bar**0.5 * MEAN + np.sqrt(bar * variances + 1 - bar) * np.random.default_rng(3).standard_normal((n, 2))
    process = ReverseProcess(oracle, Ancestral("learned", denoise_last=False), UniformGrid(3)(SCHEDULE), 2)
    points, _ = sample(process, n, key=jax.random.key(4), start=start)
    assert_moments(points, MEAN, variances)


@pytest.mark.slow
def test_training_finds_a_variance_between_the_bounds_that_lowers_the_bound():
    std, rng = 0.4, np.random.default_rng(5)
    x, fresh = std * rng.standard_normal((4000, 2)), std * rng.standard_normal((4000, 2)).astype(np.float32)
    network = ResidualMLP(2, 16, 1, outputs=4, key=jax.random.key(0))
    result = train(
        LearnedVariance(network, SCHEDULE),
        x,
        key=jax.random.key(1),
        loss=Hybrid(),
        times=StepTimes(),
        options=TrainingBy(steps=800, batch=256, ema=0.99, rule=optax.adam(optax.cosine_decay_schedule(1e-2, 800))),
    )
    denoiser = result.averaged
    of_rows = jax.jit(jax.vmap(denoiser.log_variance, (0, None, None)))
    for k in (1, 4, 8):
        bar = TABLE["alphas_bar"][k]
        x_t = np.sqrt(bar * std**2 + 1 - bar) * rng.standard_normal((500, 2)).astype(np.float32)
        ours = np.exp(np.asarray(of_rows(x_t, (k + 1) / 12, k / 12))).mean()
        assert TABLE["posterior_variance"][k] < ours < BETAS[k]
        # 10% is what so short a training reaches; the bounds are 40 to 300% apart.
        assert abs(ours / optimal_variance(k, std**2) - 1) < 0.1
    nats = {
        variance: variational_bound(denoiser, fresh, key=jax.random.key(2), variance=variance, draws=4).nats.astype(
            float
        )
        for variance in ("learned", "beta", "posterior")
    }
    for fixed in ("beta", "posterior"):  # the same rows and noise; a false alarm in 10^6
        gain = nats[fixed] - nats["learned"]
        assert gain.mean() > Z * gain.std() / np.sqrt(len(gain))


# --- recipes and models --------------------------------------------------------------------------------------------

LEARNED = {"denoiser.variance": "learned", "loss.kind": "hybrid"}


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("ddpm", {"denoiser.variance": "learned"}, "needs loss.kind = 'hybrid'.* Got loss.kind = 'simple'"),
        ("ddpm", {"loss.kind": "hybrid"}, "Set denoiser.variance = 'learned', or another loss"),
        ("default", LEARNED, "Got .* schedule.kind = 'exploding', times.kind = 'log_normal'"),
        ("ddpm", LEARNED | {"times.kind": "uniform", "network.kind": "residual"}, "Got .*times.kind = 'uniform'"),
        ("ddpm", LEARNED | {"denoiser.kind": "edm", "network.kind": "residual"}, "Got .*denoiser.kind = 'edm'"),
        ("ddpm", LEARNED | {"data.label": "class"}, "no data.label"),
        ("ddpm", {"sampler.variance": "learned"}, "needs a network that learns it: set denoiser.variance"),
    ],
)
def test_parts_that_do_not_fit_are_explained(recipe, changes, says):
    with pytest.raises(RecipeError, match=says):
        motes.load_recipe(recipe, changes)


@pytest.mark.slow
def test_a_model_learns_samples_and_is_saved_with_its_variance(tmp_path):
    changes = SMALL | LEARNED | {"schedule.steps": 12, "sampler.variance": "learned"}
    x = motes.make_shape("moons", 400, seed=3)
    model = fit_points(x, "ddpm", changes=changes)
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert np.array_equal(again.sample(20), model.sample(20))
    assert np.array_equal(again.bound(x[:5]).nats, model.bound(x[:5], variance="learned").nats)
    assert not np.array_equal(model.bound(x[:5], variance="beta").nats, model.bound(x[:5]).nats)
    assert np.isfinite(model.sample(20, sampling={"sampler": "ddim", "steps": 3})).all()
    # An exact denoiser stands in for it, variance and all.
    exact = GaussianOracle(np.zeros(2), np.eye(2), model.denoiser.schedule)
    assert np.isfinite(model.with_denoiser(exact).sample(20)).all()


def test_a_denoiser_without_variance_is_an_error_before_anything_runs(small_model):
    with pytest.raises(UsageError, match=r"Preconditioned has none\. Train with denoiser.variance = 'learned'"):
        small_model.sample(5, sampling={"sampler": Ancestral("learned")})
    plain = NoisePredictor(Silent(), SCHEDULE)
    with pytest.raises(UsageError, match="NoisePredictor has none"):
        variational_bound(plain, np.zeros((3, 2)), key=jax.random.key(0), variance="learned")
    with pytest.raises(UsageError, match="ExactGaussian has none"):
        ReverseProcess(ExactGaussian(SCHEDULE), Ancestral("learned"), UniformGrid(3)(SCHEDULE), 2)
    with pytest.raises(ValueError, match="expected one of beta, posterior, learned"):
        Ancestral("learnt")
