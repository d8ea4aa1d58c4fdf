"""What is wrong is found before the training, and nothing is found where nothing is."""

import numpy as np
import pytest

import motes
from motes.evaluation.findings import as_options, prior_kl
from motes.fitting import diagnose


def names(*arguments, **options):
    return [finding.name for finding in diagnose(*arguments, **options)]


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "nats"), [("moons", 0.31), ("s_curve", 0.70), ("swiss_roll", 0.14)])
def test_the_tutorials_prior_does_not_match(shape, nats):
    x = motes.make_shape(shape, 10_000)
    found = {finding.name: finding for finding in diagnose(x, "tutorial")}
    # What no covariance sees comes on top; of these shapes with a quarter of their power in noise it is little.
    assert nats - 0.006 < found["prior_mismatch"].value < nats + 0.06


def test_the_kl_of_two_gaussians_is_the_formula():
    # Data whose columns have a known mean and covariance, so the KL of the two Gaussians is known in closed form.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(1000, 2))
    z = (z - z.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True)).T)
    x = z @ np.diag([2.0, 0.5]) + [1.0, -3.0]
    recipe = motes.load_recipe("tutorial")
    bar = recipe.make_schedule().alphas_bar[-1]
    variances = bar * np.array([4.0, 0.25]) + 1 - bar
    mean2 = bar * np.array([1.0, 9.0])
    exact = 0.5 * np.sum(variances + mean2 - 1 - np.log(variances))
    # Of normal rows the rest is 0 but for 1,000 draws, whose spread is below 0.3 nats: four standard errors.
    assert prior_kl(x, recipe) == pytest.approx(exact, abs=0.04)


@pytest.mark.parametrize("end", [3e-3, 0.01])
def test_the_kl_of_the_prior_sees_what_no_covariance_sees(end):
    # Two points: q(x_1) is a mixture of two normals in one column, whose KL is an integral, and a normal in the other.
    recipe = motes.load_recipe("ddpm", {"data.standardise": False, "schedule.end": end})
    bar = float(recipe.make_schedule().alphas_bar[-1])
    x = np.array([[1.0, 0.0], [-1.0, 0.0]] * 500)
    u, sigma = np.linspace(-6, 6, 20_001), np.sqrt(1 - bar)
    normal = lambda u, mean, sigma: np.exp(-(((u - mean) / sigma) ** 2) / 2) / sigma / np.sqrt(2 * np.pi)
    q = (normal(u, np.sqrt(bar), sigma) + normal(u, -np.sqrt(bar), sigma)) / 2
    first = np.trapezoid(q * np.log(np.maximum(q, 1e-300) / normal(u, 0, 1)), u)
    exact = first + 0.5 * (sigma**2 - 1 - 2 * np.log(sigma))
    # A mean over 1,000 draws, whose spread is below 1 nat: four standard errors.
    assert prior_kl(x, recipe) == pytest.approx(exact, abs=0.13 * min(exact, 1))
    assert prior_kl(x, recipe) == prior_kl(x, recipe)


STARTS = {
    "a covariance that fits": ("ddpm", {"schedule.start": 1e-6, "schedule.end": 1e-3}),
    "little noise": ("default", {"schedule.sigma_max": 0.3}),
    "half the signal": ("default", {"schedule.kind": "rectified_flow", "schedule.alpha_1": 0.7}),
    "a slow rate": ("default", {"schedule.kind": "continuous_linear", "schedule.beta_max": 0.5}),
    "a cosine cut short": ("default", {"schedule.kind": "continuous_cosine", "schedule.alpha_1": 0.8}),
    "few steps of small betas": ("ddpm", {"schedule.kind": "linear", "schedule.steps": 20, "schedule.end": 0.02}),
    "a cosine of small betas": ("ddpm", {"schedule.kind": "cosine", "schedule.max_beta": 0.005}),
}


@pytest.mark.parametrize("start", STARTS)
def test_a_start_that_is_no_noise_is_found_whatever_its_covariance(start):
    x, chosen = motes.make_shape("swiss_roll", 2000), motes.load_recipe(*STARTS[start])
    (finding,) = (one for one in diagnose(x, chosen) if one.name == "prior_mismatch")
    assert "prior_mismatch" not in names(x, motes.load_recipe(chosen, options(finding.fix)))


def test_columns_that_are_nearly_one_need_more_noise():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 1)) + 0.1 * rng.standard_normal((2000, 40))
    assert "prior_mismatch" not in names(x[:, :2], changes={"schedule.sigma_max": 8.0})
    (finding,) = (one for one in diagnose(x) if one.name == "prior_mismatch")  # 40 times the power along one line
    assert finding.fix == "--set schedule.sigma_max=20"
    assert names(x, changes=options(finding.fix)) == []
    # Of what is tried 10 comes first, and is not enough.
    (low,) = (one for one in diagnose(x, changes={"schedule.sigma_max": 5.0}) if one.name == "prior_mismatch")
    assert low.fix == finding.fix


def options(fix):
    """`--set a=b --set c=d` as the changes that they are."""
    return fix.removeprefix("--set ").split(" --set ") if fix else []


def test_options_are_what_a_recipe_reads():
    changes = {"data.standardise": True, "schedule.kind": "quad", "schedule.start": 2e-5, "training.steps": 79_000}
    recipe = motes.load_recipe("ddpm", options(as_options(changes)))
    assert recipe == motes.load_recipe("ddpm", changes)


@pytest.mark.parametrize("recipe", ["default", "ddpm"])
@pytest.mark.parametrize("shape", motes.data.SHAPES)
def test_nothing_is_found_where_nothing_is(recipe, shape):
    assert names(motes.make_shape(shape, 10_000, seed=5), recipe) == []


MOONS = motes.make_shape("moons", 2_000)
LONG = {"schedule.kind": "linear", "schedule.steps": 1000, "schedule.end": 0.02}  # of Ho et al. 2020
FAULTS = {
    "betas doubled": ("wasted_steps", MOONS, "ddpm", {"schedule.end": 0.3}),
    "a signal that stays": ("prior_mismatch", MOONS, "ddpm", {"schedule.end": 0.01}),
    "data times 1,000": ("unscaled_columns", MOONS * 1000, "default", {"data.standardise": False}),
    "average too long": ("ema_too_long", MOONS, "default", {"training.ema": 0.99999}),
    "average too short": ("ema_too_short", MOONS, "default", {"training.ema": 0.9, "training.decay": "constant"}),
    "no average": ("ema_too_short", MOONS, "default", {"training.weights": "last", "training.decay": "constant"}),
    "a thousand linear betas": ("wasted_steps", MOONS, "ddpm", LONG),
    "copies": ("duplicate_rows", np.concatenate([MOONS, MOONS[:200]]), "default", {}),
    "few levels": ("degenerate_column", np.stack([MOONS[:, 0], MOONS[:, 1] > 0], axis=1), "default", {}),
    "the same twice": ("dependent_columns", np.column_stack([MOONS, MOONS[:, 0] * 3 + 1]), "default", {}),
}


def test_a_learning_rate_that_never_falls_and_hardly_an_average_are_both_mended():
    def fixes(ema):
        changes = {"training.steps": 1000, "training.ema": ema, "training.decay": "constant"}
        return [options(one.fix) for one in diagnose(MOONS, "default", changes=changes) if one.name == "ema_too_short"]

    assert fixes(0.98) == []  # 50 steps are averaged
    assert fixes(0.8) == [["training.ema=0.992", "training.decay=cosine"]]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_alone_and_its_fix_mends_it(fault):
    name, x, recipe, changes = FAULTS[fault]
    found = {finding.name: finding for finding in diagnose(x, recipe, changes=changes)}
    assert name in found
    assert set(found) <= {name, "prior_mismatch"}  # unscaled data has a prior that does not match, too
    assert bool(found[name].fix) == (name not in ("duplicate_rows", "degenerate_column", "dependent_columns"))
    if found[name].fix:
        assert name not in names(x, motes.load_recipe(motes.load_recipe(recipe, changes), options(found[name].fix)))
    assert str(found[name]).startswith(name)
    assert found[name].to_dict().keys() == {"name", "value", "meaning", "fix"}
