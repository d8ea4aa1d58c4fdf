"""PointModel files: back to the bit, or one typed error."""

import json

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy import stats
from tests.conftest import SMALL

import motes
from fits import fit_points
from motes.loading import load
from motes.points import DDIM, DPMSolver3M, Heun, PointModel, Sampling
from motes.points.samplers import Adaptive


@pytest.fixture(scope="module")
def saved(small_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    small_model.save(path)
    return path


def test_a_loaded_model_samples_the_same_points_to_the_bit(small_model, saved):
    loaded = load(saved)
    assert np.array_equal(loaded.sample(300, seed=5), small_model.sample(300, seed=5))
    assert loaded.recipe == small_model.recipe
    assert (loaded.columns, loaded.source, loaded.seed) == (("x", "y"), "moons", 1)
    assert loaded.training is None


@pytest.mark.slow
def test_a_column_alone_is_learned_sampled_and_scored():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(-2, 0.5, 1500), rng.normal(2, 0.5, 1500)])[:, None]
    changes = SMALL | {"training.steps": 600, "training.batch": 256, "training.ema": 0.98}
    model = fit_points(x, changes=changes, seed=2)
    exact = lambda x: np.log(0.5 * stats.norm(-2, 0.5).pdf(x) + 0.5 * stats.norm(2, 0.5).pdf(x))
    fresh = np.concatenate([rng.normal(-2, 0.5, 500), rng.normal(2, 0.5, 500)])
    excess = exact(fresh) - model.score_samples(fresh[:, None])
    single = exact(fresh) - stats.norm(x.mean(), x.std()).logpdf(fresh)
    assert excess.mean() < 0.25 * single.mean()
    samples = model.sample(1000, seed=4)[:, 0]
    assert samples.shape == (1000,)
    assert 0.4 < (samples > 0).mean() < 0.6


def test_samples_are_in_the_units_of_the_data():
    # The same data in other units gives the same samples in those units: standardising takes the units out.
    x = motes.make_shape("moons", 400, seed=3)
    scale, shift = np.array([1e6, 1e-3]), np.array([5.0, -7.0])
    here = fit_points(x, changes=SMALL, seed=1).sample(100)
    there = fit_points(x * scale + shift, changes=SMALL, seed=1).sample(100)
    np.testing.assert_allclose(there, here * scale + shift, rtol=1e-3, atol=1e-3 * scale.min())


def test_the_bound_is_in_the_units_of_the_data():
    x = motes.make_shape("moons", 300, seed=3)
    changes = {"training.steps": 20, "schedule.steps": 10, "network.width": 8}
    here = fit_points(x, "ddpm", changes=changes).bound(x[:50])
    there = fit_points(x * 100, "ddpm", changes=changes).bound(x[:50] * 100)
    np.testing.assert_allclose(there.nats - here.nats, 2 * np.log(100), rtol=1e-3)


def test_a_chain_starts_in_noise_and_ends_in_the_samples(small_model):
    points, chain = small_model.chain(200, [0, 3, 6], seed=2)
    assert chain.shape == (3, 200, 2)
    assert np.array_equal(chain[-1], points)
    assert np.array_equal(points, small_model.sample(200, seed=2))
    z = small_model.standardiser.forward(chain[0])
    sigma = np.sqrt(1 + small_model.recipe.schedule.sigma_max**2)
    # 400 normal numbers: their mean square is within 5 standard errors of sigma^2 but for 1 seed in 10^6.
    assert abs((z**2).mean() / sigma**2 - 1) < 5 * np.sqrt(2 / 400)


@pytest.mark.slow
def test_another_sampler_other_steps_and_another_grid_for_one_draw(small_model):
    usual = small_model.sample(50)
    # The recipe's own.
    assert np.array_equal(small_model.sample(50, sampling={"sampler": "dpmpp_3m", "steps": 6, "grid": "karras"}), usual)
    few = small_model.sample(50, sampling=Sampling("heun", 5, "log_snr"))
    recipe = motes.load_recipe(small_model.recipe, {"sampler.kind": "heun", "grid.kind": "log_snr", "grid.steps": 5})
    other = PointModel(small_model.denoiser, small_model.standardiser, small_model.columns, recipe)
    assert np.array_equal(few, other.sample(50))
    assert not np.array_equal(few, usual)
    # Objects, with options that their names do not have, and times.
    assert np.array_equal(small_model.sample(50, sampling=Sampling(DPMSolver3M(), grid=small_model.grid)), usual)
    by_name = small_model.sample(50, sampling={"sampler": "ddim"})
    assert np.array_equal(small_model.sample(50, sampling={"sampler": DDIM(0.0)}), by_name)
    points, chain = small_model.chain(50, [0, 2], sampling={"sampler": "euler", "grid": [1.0, 0.4, 0.0]})
    assert np.array_equal(chain[1], points)


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"sampler": "hein"}, motes.errors.RecipeError, "unknown sampler.kind 'hein'. Did you mean 'heun'"),
        ({"grid": "karas"}, motes.errors.RecipeError, "unknown grid.kind 'karas'. Did you mean 'karras'"),
        ({"steps": 0}, motes.errors.RecipeError, "grid.steps = 0; expected a number at least 1"),
        ({"grid": [1.0, 0.5]}, motes.errors.RecipeError, "expected times that fall from 1 to 0"),
        ({"grid": [1.0, 0.5, 0.0], "steps": 2}, motes.errors.UsageError, "expected one of them"),
        ({"grid": ["late"]}, motes.errors.UsageError, r"grid = \['late'\]; expected a name"),
        ({"sampler": Heun}, motes.errors.UsageError, "expected a name, such as 'heun' .*, or a sampler"),
        ({"step": 5}, motes.errors.UsageError, "unknown option 'step' in `sampling`. Did you mean 'steps'"),
        ("heun", motes.errors.UsageError, "sampling = 'heun'; expected motes.Sampling"),
    ],
)
def test_a_draw_that_cannot_be_is_explained(small_model, how, error, says):
    with pytest.raises(error, match=says):
        small_model.sample(5, sampling=how)


def test_how_points_are_drawn_is_one_value():
    times = Sampling("euler", grid=np.array([1.0, 0.5, 0.0], np.float32))
    assert times == Sampling.of({"sampler": "euler", "grid": [1, 0.5, 0]}) != Sampling("euler", grid=[1, 0.4, 0])
    assert Sampling.of(times) is times and Sampling.of(None) == Sampling()


@pytest.mark.slow
def test_a_network_of_steps_is_drawn_from_at_its_own_steps_alone():
    changes = {"training.steps": 5, "schedule.steps": 10, "network.width": 8, "training.batch": 32}
    model = fit_points(motes.make_shape("moons", 100), "tutorial", changes=changes)
    for how in ({"sampler": "ddim", "steps": 5}, {"sampler": Heun()}, {"sampler": "dpmpp_2m", "grid": [1.0, 0.3, 0.0]}):
        assert np.isfinite(model.sample(5, sampling=how)).all()
    for how in ({"sampler": "churn"}, {"sampler": Adaptive()}, {"steps": 4}, {"grid": [1.0, 0.35, 0.0]}):
        with pytest.raises(motes.MotesError, match=r"'step_gated',? knows only the schedule's own steps"):
            model.sample(5, sampling=how)


def test_more_rows_begin_with_the_rows_of_fewer(small_model):
    assert np.array_equal(small_model.sample(2500, seed=4)[:7], small_model.sample(7, seed=4))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damaged_byte_is_one_typed_error(saved, tmp_path_factory, data):
    whole = saved.read_bytes()
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
    with pytest.raises(motes.errors.ModelFileError):
        load(path)


@pytest.mark.parametrize("part", [0, 1, 7, 100, 0.5, 0.99])
def test_a_torn_file_is_one_typed_error(saved, tmp_path, part):
    whole = saved.read_bytes()
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(whole[: int(part * len(whole)) if isinstance(part, float) else part])
    with pytest.raises(motes.errors.ModelFileError):
        load(torn)


def changed(saved, path, about=(), drop=(), tensors=()):
    """The file with some of its metadata and tensors changed, and a checksum that fits again."""
    import struct

    from motes.training.checkpoints import _digest

    raw = saved.read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    metadata = json.loads(raw[8 : 8 + size])["__metadata__"] | dict(about)
    metadata.pop("sha256")
    arrays = {name: array for name, array in load_file(saved).items() if name not in drop} | dict(tensors)
    save_file(arrays, path, metadata=metadata | {"sha256": _digest(arrays, metadata)})
    return path


def test_other_formats_and_misfits_are_named(saved, tmp_path, small_model):
    path = tmp_path / "other.safetensors"
    with pytest.raises(motes.errors.ModelFileError, match=r"format 99.*reads format 4"):
        load(changed(saved, path, about={"format": "99"}))
    name = next(name for name in load_file(saved) if "network" in name)
    with pytest.raises(motes.errors.ModelFileError, match="got nothing; its recipe needs"):
        load(changed(saved, path, drop=[name]))
    with pytest.raises(motes.errors.ModelFileError, match=r"weights .* got float32 \(3,\)"):
        load(changed(saved, path, tensors={name: np.zeros(3, np.float32)}))
    with pytest.raises(motes.errors.ModelFileError, match="does not use: more"):
        load(changed(saved, path, tensors={"more": np.zeros(3, np.float32)}))
    with pytest.raises(motes.errors.ModelFileError, match="not a complete model"):
        load(changed(saved, path, about={"recipe": '{"training": {"stepz": 1}}'}))
    save_file({"a": np.zeros(2, np.float32)}, path)
    with pytest.raises(motes.errors.ModelFileError, match="not a model of motes"):
        load(path)
    with pytest.raises(motes.errors.ModelFileError, match="there is no model file"):
        load(tmp_path / "nowhere.safetensors")
    with pytest.raises(motes.errors.ModelFileError):
        load(tmp_path)  # a folder


def test_an_exact_denoiser_can_take_the_place_of_the_learned_one(small_model, tmp_path):
    # For data that is one point, E[x_0 | x_t] is that point, and every sample must be it.
    from motes.points.denoisers import Denoiser

    class Dot(Denoiser):
        schedule: motes.points.Schedule

        def __call__(self, x_t, t):
            return 0 * x_t + jax.numpy.array([0.5, -2.0])

    dot: PointModel = small_model.with_denoiser(Dot(small_model.denoiser.schedule))
    z = small_model.standardiser.forward(dot.sample(20))
    np.testing.assert_allclose(z, np.tile([0.5, -2.0], (20, 1)), atol=1e-5)
    with pytest.raises(motes.errors.UsageError, match="recipe describes"):
        dot.save(tmp_path / "dot.safetensors")
    assert not list(tmp_path.iterdir())
