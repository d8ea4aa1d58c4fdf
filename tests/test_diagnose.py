"""What is wrong is found before the training, and nothing is found where nothing is."""

import numpy as np
import pytest

import motes
from motes.diagnosis._before import diagnose, prior_kl


def names(*arguments, **options):
    return [finding.name for finding in diagnose(*arguments, **options)]


@pytest.mark.parametrize(("shape", "nats"), [("moons", 0.31), ("s_curve", 0.70), ("swiss_roll", 0.14)])
def test_the_tutorials_prior_does_not_match(shape, nats):
    found = {finding.name: finding for finding in diagnose(motes.make_shape(shape, 10_000), "tutorial")}
    assert found["prior_mismatch"].value == pytest.approx(nats, abs=0.006)


def test_the_kl_of_the_prior_is_that_of_two_gaussians():
    # Data whose columns have a known mean and covariance, so the KL of the two Gaussians is known in closed form.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(5000, 2))
    z = (z - z.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True)).T)
    x = z @ np.diag([2.0, 0.5]) + [1.0, -3.0]
    recipe = motes.load_recipe("tutorial")
    bar = recipe.make_schedule().alphas_bar[-1]
    variances = bar * np.array([4.0, 0.25]) + 1 - bar
    mean2 = bar * np.array([1.0, 9.0])
    exact = 0.5 * np.sum(variances + mean2 - 1 - np.log(variances))
    assert prior_kl(x, recipe) == pytest.approx(exact, rel=1e-4)


@pytest.mark.parametrize("recipe", ["default", "ddpm"])
@pytest.mark.parametrize("shape", motes.SHAPES)
def test_nothing_is_found_where_nothing_is(recipe, shape):
    assert names(motes.make_shape(shape, 10_000, seed=5), recipe) == []


MOONS = motes.make_shape("moons", 2_000)
FAULTS = {
    "betas doubled": ("wasted_steps", MOONS, "ddpm", {"schedule.end": 0.3}),
    "a signal that stays": ("prior_mismatch", MOONS, "ddpm", {"schedule.end": 0.01}),
    "data times 1,000": ("unscaled_columns", MOONS * 1000, "default", {"data.standardise": False}),
    "average too long": ("ema_too_long", MOONS, "default", {"training.ema": 0.99999}),
    "average too short": ("ema_too_short", MOONS, "default", {"training.ema": 0.5, "training.decay": "constant"}),
    "copies": ("duplicate_rows", np.concatenate([MOONS, MOONS[:200]]), "default", {}),
    "few levels": ("degenerate_column", np.stack([MOONS[:, 0], MOONS[:, 1] > 0], axis=1), "default", {}),
    "the same twice": ("dependent_columns", np.column_stack([MOONS, MOONS[:, 0] * 3 + 1]), "default", {}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_alone_and_its_fix_mends_it(fault):
    name, x, recipe, changes = FAULTS[fault]
    found = {finding.name: finding for finding in diagnose(x, recipe, changes=changes)}
    assert name in found
    assert set(found) <= {name, "prior_mismatch"}  # unscaled data has a prior that does not match, too
    if found[name].fix:
        mended = dict(pair.split("=") for pair in found[name].fix.replace("--set ", "").split())
        fixed = motes.load_recipe(
            motes.load_recipe(recipe, changes), [f"{key}={value}" for key, value in mended.items()]
        )
        assert name not in names(x, fixed)
    assert str(found[name]).startswith(name)
    assert found[name].to_dict().keys() == {"name", "value", "meaning", "fix"}
