"""A distance taken apart: what is put in comes out, and nothing where nothing is."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.conftest import SMALL

import motes
from fits import fit_points
from motes.data.tables import Standardiser
from motes.errors import UsageError
from motes.evaluation import sliced_w2
from motes.evaluation.diagnosis import Setting, coarse_grid, split_error, squared_distances, steps_fix
from motes.evaluation.losses import excess_loss
from motes.evaluation.sources import read_points, source_of
from motes.points import GaussianOracle, VarianceExploding
from motes.points.model import PointModel
from motes.training.checkpoints import FitSession
from motes.training.model import Provenance

N = 2048


def exact_model(shape, recipe="default", changes=()):
    """A model of a shape whose network is the exact denoiser."""
    chosen, x = motes.load_recipe(recipe, dict(changes)), motes.make_shape(shape, 5000, seed=0)
    z_of = Standardiser.fit(x)
    exact = motes.truth(shape).oracle(chosen.make_schedule(), z_of)
    return PointModel(exact, z_of, ("x", "y"), chosen, provenance=Provenance(shape))


def split_of(model, origin, n, **how):
    return split_error(Setting.of(model, origin, n, 0), **how)


@pytest.mark.parametrize("t", [[0.5], [0.5, 0.5], [0.6, 0.5], [0.0, 0.5], [0.5, 1.1], [[0.2, 0.5]]])
def test_times_of_an_excess_loss_rise_from_above_0_to_1_at_most(t):
    exact, x0 = GaussianOracle([0.0], [[1.0]], VarianceExploding(10.0)), np.zeros((3, 1))
    loss = lambda t: excess_loss(exact, exact, x0, t, key=jax.random.key(0))
    assert loss([0.5, 1.0]).excess == pytest.approx([0.0, 0.0], abs=1e-6)
    with pytest.raises(UsageError, match="at least 2 increasing times above 0, up to 1"):
        loss(t)


def test_distances_are_in_units_of_the_spread_of_the_reference():
    rng = np.random.default_rng(3)
    points = rng.normal(size=(3, 600, 2)) * [1.0, 2.0]
    sets, reference = [points[0], points[1] + [0.5, 0]], points[2]
    found, errors = squared_distances(sets, reference)
    scaled = squared_distances([10 * one + 3 for one in sets], 10 * reference + 3)
    np.testing.assert_allclose(scaled[0], found, rtol=1e-9)
    np.testing.assert_allclose(scaled[1], errors, rtol=1e-9)
    # A shift by d adds d^2 / 2, the mean over all directions.
    assert found[1] - found[0] == pytest.approx(0.5**2 / 2 / reference.var(axis=0).mean(), abs=4 * errors[0])
    # Standard errors are those of 60 repetitions; their standard deviation has a relative error of 9 %.
    draw = lambda: rng.normal(size=(600, 2)) * [1.0, 2.0]
    repeated = [squared_distances([draw(), draw() + np.array([0.5, 0])], draw()) for _ in range(60)]
    gaps = [one[1] - one[0] for one, _ in repeated]
    assert np.std(gaps) == pytest.approx(np.mean([error[0] for _, error in repeated]), rel=0.4)


@pytest.fixture(scope="module")
def perfect():
    model = exact_model("eight_gaussians")
    return split_of(model, source_of(model), N)


@pytest.mark.slow
def test_the_exact_denoiser_with_many_steps_is_at_the_reference_value(perfect):
    for part in perfect.parts.values():
        assert abs(part.value) < 5 * part.error + 2e-5
    assert perfect.doubts == ()
    # And that reference value is the distance between real draws: within the range of 20 of them, a false alarm in 10.5
    # each side, widened by half to one in hundreds (the distances are about as spread as their mean).
    reference = source_of(exact_model("eight_gaussians")).real(N)[0]
    real = [sliced_w2(motes.make_shape("eight_gaussians", N, seed=seed), reference) ** 2 for seed in range(100, 120)]
    assert 0.67 * min(real) < perfect.reference_value < 1.5 * max(real)


@pytest.mark.slow
def test_the_parts_and_the_reference_value_are_the_total(perfect):
    assert perfect.reference_value + sum(part.value for part in perfect.parts.values()) == pytest.approx(
        perfect.total, abs=1e-12
    )
    assert list(perfect.parts) == ["prior", "learning", "discretisation"]
    a, reference = np.random.default_rng(0).standard_normal((2, 500, 2))
    a[:, 0] += 1
    assert squared_distances([a], reference)[0][0] == pytest.approx(
        sliced_w2(a, reference) ** 2, rel=1e-3
    )  # 64 directions or 200


ALONE = {
    "prior": lambda: exact_model("moons", "ddpm", {"schedule.end": 0.003}),  # nine tenths of the signal's power stay
    "discretisation": lambda: exact_model("eight_gaussians", changes={"grid.steps": 4}),
    "learning": lambda: fit_points(
        motes.make_shape("moons", 2000, seed=0), changes=SMALL | {"grid.steps": 64}, session=FitSession(source="moons")
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_the_error_of_one_source_is_its_part_alone(name):
    model = ALONE[name]()
    found = split_of(model, source_of(model), 2 * N)
    part = found.parts[name]
    assert part.value > 4 * part.error and part.value > 0.8 * (found.total - found.reference_value)
    if name == "prior":  # it is the exact denoiser that is swapped for itself
        assert abs(found.parts["learning"].value) < 1e-9


def test_without_a_law_what_is_left_above_real_rows_is_learning(tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, motes.make_shape("moons", 5000, seed=1))
    source = read_points(str(path), motes.load_recipe(), 0)
    model = fit_points(source.training, changes=SMALL | {"grid.steps": 64}, session=FitSession(source=str(path)))
    found = split_of(model, source, N)
    assert list(found.parts) == ["prior", "discretisation", "learning"]
    assert found.rows == len(source.held_out)
    assert found.parts["learning"].value > 0.7 * (found.total - found.reference_value)
    tutorial = fit_points(
        source.training, "tutorial", changes={"training.steps": 20}, session=FitSession(source=str(path))
    )
    assert list(split_of(tutorial, source, N).parts) == ["prior", "learning, discretisation"]


@pytest.mark.slow
def test_a_shift_is_its_square_and_the_error_is_the_scatter():
    # Along u a shift c costs (c u)^2; the mean over directions of the plane is |c|^2 / 2.
    values, errors = [], []
    for seed in range(40):
        a, reference = np.random.default_rng(seed).standard_normal((2, 1000, 2))
        squares, error = squared_distances([a + np.array([0.3, 0.0]), a], reference)
        values.append(squares[0] - squares[1])
        errors.append(error[0])
    # The standard deviation of 40 numbers is right within 11%; four times that is a false alarm in 16,000.
    assert abs(np.std(values) / np.mean(errors) - 1) < 0.45
    assert abs(np.mean(values) - 0.3**2 / 2) < 4 * np.std(values) / np.sqrt(40) + 0.003  # divided by a drawn variance


def test_fine_steps_do_not_depend_on_the_recipes_own():
    # With a last step from a noise level of 0.5, a refinement of these very steps gave distances of 10 and more.
    model = exact_model("eight_gaussians", changes={"grid.sigma_min": 0.5})
    setting = Setting.of(model, source_of(model), N, 0)
    steps, doubts = setting.fine
    assert not doubts and model.denoiser.schedule.sigma(steps.grid[-2]) == pytest.approx(0.004, rel=1e-2)
    found = split_of(model, source_of(model), N)
    assert found.doubts == ()
    part = found.parts["discretisation"]
    assert part.surely_above(found.reference_value) and part.value > 0.9 * (found.total - found.reference_value)


def test_steps_whose_halves_change_the_distance_are_a_doubt(monkeypatch):
    monkeypatch.setattr("motes.evaluation.diagnosis.FINE", (2, 4))
    model = exact_model("eight_gaussians", changes={"grid.steps": 2})
    found = split_of(model, source_of(model), N)
    assert any(
        "half as many steps as the finest grid, 4, change the squared distance" in doubt for doubt in found.doubts
    )
    assert "This split cannot tell: half as many" in str(found)
    assert found.to_dict()["doubts"] == list(found.doubts)
    # What cannot be told is no finding.
    assert list(coarse_grid(Setting.of(model, source_of(model), N, 0), found)) == []


@pytest.mark.slow
def test_a_reference_that_is_not_as_far_as_real_points_is_a_doubt(monkeypatch):
    model = exact_model("eight_gaussians")
    origin = source_of(model)
    blurred = motes.truth("eight_gaussians", noise=1.0).oracle(model.denoiser.schedule, model.standardiser)
    right = Setting.of

    def wrong(*arguments):
        return replace(right(*arguments), exact=blurred)

    monkeypatch.setattr(Setting, "of", wrong)
    (doubt,) = split_of(model, origin, 512).doubts
    assert "between two real samples" in doubt


@pytest.mark.slow
def test_samples_that_are_no_numbers_are_a_doubt():
    model = exact_model("eight_gaussians", changes={"grid.steps": 4})

    class Broken(GaussianOracle):
        def __call__(self, x_t, t):
            return x_t * jnp.nan

    broken = Broken(np.zeros(2), np.eye(2), model.denoiser.schedule)
    with pytest.warns(UserWarning, match="256 of 256 points are not finite"):
        found = split_of(model.with_denoiser(broken), source_of(model), 256)
    assert any("not finite" in doubt for doubt in found.doubts)
    assert "nan" in str(found)


NOISE = {"schedule.kind": "quad", "schedule.start": 2e-5, "schedule.end": 0.15}  # that of `ddpm`
STEPS = {
    "four steps": ("default", {"grid.steps": 4}, {"grid.steps": 64}),
    "a far last step": ("default", {"grid.sigma_min": 0.5}, {"grid.sigma_min": 0.004}),
    "both": ("default", {"grid.steps": 4, "grid.sigma_min": 0.5}, {"grid.steps": 64, "grid.sigma_min": 0.004}),
    "some of the chain": ("ddpm", {"grid.steps": 4}, {"grid.steps": 100}),
    "steps that a network knows": ("tutorial", NOISE | {"grid.steps": 4}, {"grid.steps": 100}),
    "times of one's own": (
        "default",
        {"grid.kind": "given", "grid.times": [1.0, 0.7, 0.0]},
        {"grid.kind": "karras", "grid.steps": 64, "grid.sigma_min": 0.004},
    ),
}


@pytest.mark.slow(but=["four steps"])
@pytest.mark.parametrize("steps", STEPS)
def test_a_fix_of_the_steps_is_one_that_the_recipe_takes_and_that_helps(steps):
    recipe, changes, expected = STEPS[steps]
    model = exact_model("eight_gaussians", recipe, changes)
    setting = Setting.of(model, source_of(model), 1024, 0)
    assert steps_fix(setting) == expected
    better = motes.load_recipe(model.recipe, expected)
    own, fixed = (setting.process(recipe.sampler, recipe.make_grid()) for recipe in (model.recipe, better))
    before, after, least = squared_distances(
        [setting.sampled(one, setting.starts[1]) for one in (own, fixed, setting.fine[0])], setting.reference
    )[0]
    assert after - least < 0.5 * (before - least)
