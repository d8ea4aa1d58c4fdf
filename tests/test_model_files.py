"""Whatever a model file with the right checksum says, it is a model that answers in numbers, or it is refused.

A file is changed at a random place of its texts and arrays, and signed again. No code of motes may then end in anything
but a model or a `ModelFileError`, nor take more than two seconds and 500 MB.
"""

import json
import resource
import time
import tomllib
import warnings
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pyarrow
import pytest
import tomli_w
from hypothesis import event, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy import stats
from tests.conftest import SMALL
from tests.reference import property_test
from tests.tables import TINY, untrained

import motes
from fits import fit_points
from motes.errors import ModelFileError
from motes.loading import load
from motes.points import DDIM, DPMSolver3M, Heun, PointModel, Sampling
from motes.points.samplers import Adaptive
from motes.training.checkpoints import read_checkpoint, write_checkpoint

SECONDS, BYTES = 2.0, 500_000_000
DEEP = 20_000


def rows(n=120):
    """Columns of all kinds, with a relation, a dependency, an inequality, missing entries, a constant and two ids."""
    rng = np.random.default_rng(0)
    letter, whole = rng.choice(["x", "y", "z"], n), rng.integers(0, 40, n)
    low = rng.integers(0, 50, n)
    return pd.DataFrame({
        "letter": letter,
        "follows": pd.Series(letter).map({"x": "u", "y": "v", "z": "v"}),
        "real": np.where(np.arange(n) % 7 == 0, np.nan, rng.normal(size=n).round(2)),
        "density": rng.normal(size=n),
        "whole": whole,
        "more": whole + 3,
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(7 * rng.integers(0, 60, n) + rng.integers(0, 5, n), "D"),
        "yes": rng.random(n) < 0.3,
        "low": low,
        "high": low + rng.integers(0, 5, n),
        "one": 1,
        "number": np.arange(n),
        "name": [f"Ann {k}" for k in range(n)],
    })  # fmt: skip


def fitted():
    """A small model of each kind, trained for a few steps."""
    points, rng = motes.make_shape("moons", 120, seed=3), np.random.default_rng(1)
    brief = SMALL | {"training.steps": 8}
    observed = np.concatenate([points + rng.normal(size=points.shape), points**2], axis=1)
    observed[::9, 3] = np.nan
    fit = lambda data, **options: motes.fit(data, verbose=False, **options)
    made = {
        "points": fit(points, changes=brief),
        "members": fit(points, changes=brief | {"network.members": 3}),
        "tutorial": fit(points, recipe="tutorial", changes={"training.steps": 8, "network.width": 16}),
        "bounds": fit(pd.DataFrame(points, columns=["a", "b"]), bounds={"a": (-9, 9), "b": (-9, None)}, changes=brief),
        "classes": fit(points, labels=np.arange(120) % 3, changes=brief),
        "posterior": fit(points, given=observed, bounds={"x": (-9, 9)}, changes=brief | {"training.validation": 0.0}),
    }
    with untrained():
        made["table"] = fit(rows(), changes=TINY | {"table.steps": 2})
        made["code"] = fit(rows()[["real", "letter"]], changes=TINY | {"table.steps": 2, "table.missing": "learn"})
        made["arrow"] = fit(pyarrow.table({"a": [1, 2, 3, 4] * 9, "b": list("xyxx") * 9}), changes=TINY)
        made["estimator"] = motes.DiffusionModel(max_steps=2, changes=TINY).fit(
            rows()[["real", "letter"]], rows().follows
        )
    return made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """name -> the arrays and texts of a model file."""
    folder, found = tmp_path_factory.mktemp("files"), {}
    for name, model in fitted().items():
        model.save(folder / "model.safetensors")
        found[name] = read_checkpoint(folder / "model.safetensors")
    return found


NAMES = ["points", "members", "tutorial", "bounds", "classes", "posterior", "table", "code", "arrow", "estimator"]


def signed(path, tensors, about):
    """Write a file of these, with the right checksum."""
    texts = {name: text for name, text in about.items() if name not in ("format", "motes", "sha256")}
    write_checkpoint(path, tensors, texts)
    return path


@contextmanager
def little():
    """Within it more than half a gigabyte is not there, and more than two seconds of computing are a failure."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, before[1]))
    begin = time.thread_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.thread_time() - begin < SECONDS


def opened(path, name="points"):
    """The model of a file of this name, or None where it is refused."""
    with little():
        try:
            if name == "estimator":
                return motes.DiffusionModel.load(path).model_
            return motes.load(path)
        except ModelFileError:
            return None


# --- random changes ---------------------------------------------------------------------------------------------------

PLAIN = [None, True, -1, 0, 1, 2, 7, 0.5, -0.5, 1e308, 10**9, 10**30, 10**400, "", "x", "age", [], {}, [[]], [1, 2]]
NOT_FINITE = [float("nan"), float("inf"), -float("inf")]
RAW = ["", "null", "NaN", "[1e999]", "7", '"x"', "[a]\nb = 1e400", "\x00"]
RAW += ["[" * DEEP, '{"a":' * DEEP, "a = " + "[" * DEEP]


@st.composite
def changed(draw, value):
    """`value`, of JSON, with something else at one place in it."""
    places = list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    if not places or draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(PLAIN + NOT_FINITE))
    place, what = draw(st.sampled_from(places)), draw(st.sampled_from(["inside"] * 5 + ["gone", "twice", "swapped"]))
    made = value.copy()
    if what == "inside":
        made[place] = draw(changed(value[place]))
    elif what == "gone":
        del made[place]
    elif what == "swapped":
        made[place], made[places[0]] = made[places[0]], made[place]
    elif isinstance(made, list):
        made.append(made[place])
    else:
        made[draw(st.sampled_from(["x", "kind", "type"]))] = made[place]
    return made


@st.composite
def changed_text(draw, name, text):
    """A text of a file with something else in it; `name` says how it is written."""
    if draw(st.integers(0, 9)) == 0 or text in RAW:
        return draw(st.sampled_from(RAW))
    try:
        return json.dumps(draw(changed(json.loads(text))))
    except ValueError:
        pass
    if name != "recipe":
        return draw(st.sampled_from(["-1", "1e9", "nan", "x" * 100, "0.5", "numpy", "pandas", "polars", "pyarrow"]))
    try:
        return tomli_w.dumps(draw(changed(tomllib.loads(text))))
    except (TypeError, AttributeError, ValueError):  # what TOML cannot say
        return "x"


@st.composite
def changed_array(draw, array):
    """An array with other numbers, of another shape or of another type."""
    how = draw(st.sampled_from(["entry", "entry", "entry", "fill", "shape", "type", "short", "bytes"]))
    made = np.array(array)
    numbers = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1.0, 1e30, 1e-30, 300.0]
    with np.errstate(all="ignore"):
        if how == "entry" and made.size:
            made.flat[draw(st.integers(0, made.size - 1))] = draw(numbers_of(made, numbers))
        elif how == "fill":
            made[...] = draw(numbers_of(made, numbers))
        elif how == "shape":
            shapes = [(0,), (1,), (made.size,), (0, 10**9), (0, 7), (*made.shape, 1), made.shape[::-1]]
            made = np.resize(made, draw(st.sampled_from(shapes)))
        elif how == "type":
            made = made.astype(draw(st.sampled_from(["f4", "f8", "i4", "i8", "u1", "?", "f2"])))
        elif how == "short":
            made = made[: len(made) // 2] if made.ndim else made
        elif made.dtype == np.uint8 and made.size:  # such as the kind of table, as JSON or of a library
            text = bytes(made)
            made = np.frombuffer(
                draw(st.sampled_from([b"", b"[", b"\xff" * 9, text[:-1], text[1:], text + text])), "u1"
            )
    return made


def numbers_of(array, numbers):
    """Those that fit into an array of this type."""
    if array.dtype.kind == "f":
        return st.sampled_from(numbers)
    ends = [0, 1] if array.dtype.kind == "b" else [np.iinfo(array.dtype).min, np.iinfo(array.dtype).max, 0, 1, 7]
    return st.sampled_from(ends)


@st.composite
def changed_file(draw, tensors, about):
    """Arrays and texts of a file, changed at one place or two."""
    tensors, about = dict(tensors), dict(about)
    for _ in range(draw(st.integers(1, 2))):
        texts = [name for name in about if name not in ("format", "motes")]
        if draw(st.booleans()):
            name = draw(st.sampled_from(texts))
            about[name] = draw(changed_text(name, about[name]))
            if draw(st.integers(0, 19)) == 0:
                del about[name]
        else:
            name = draw(st.sampled_from(sorted(tensors)))
            tensors[name] = draw(changed_array(tensors[name]))
            if draw(st.integers(0, 9)) == 0:
                tensors[draw(st.sampled_from(["extra", *sorted(tensors)]))] = tensors.pop(name)
    return tensors, about


def check(files, path, data):
    name = data.draw(st.sampled_from(NAMES))
    model = opened(signed(path, *data.draw(changed_file(*files[name]))), name)
    event("refused" if model is None else "a model")
    return name, model


@settings(property_test, max_examples=60)  # the long test below has thousands
@given(data=st.data())
def test_a_signed_file_is_a_model_or_is_refused(files, tmp_path_factory, data):
    check(files, tmp_path_factory.getbasetemp() / "changed.safetensors", data)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@settings(property_test, max_examples=4000)
@given(data=st.data())
def test_a_changed_file_that_is_not_refused_answers_in_numbers(files, tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "answers.safetensors"
    name, model = check(files, path, data)
    if model is None:
        return
    observed = {"given": [[0.5] * len(model.context)]} if name == "posterior" else {}
    # Weights of 1e30 are numbers, by which the network of a table leaves the range of floats; that is an error.
    with suppress(ModelFileError) if model.kind == "table" else nullcontext():
        assert len(model.sample(2, **observed)) and model.sample(2, **observed) is not None
    if model.kind == "points":
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            points = model.sample(2, **observed)
        # Weights of 1e30 are numbers, by which a network leaves the range of floats; that is said.
        assert np.isfinite(np.asarray(points, float)).all() or any("not finite" in str(one.message) for one in said)


# --- what was seen ----------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of pandas, of categories that are no numbers
@pytest.mark.parametrize(
    "dtypes", [["bool", None], ["timedelta64[ns]", None], ["float64", []], ["float64", [1.5]], ["datetime64[ns]", None]]
)
def test_a_kind_of_table_that_cannot_hold_the_columns_is_refused(files, tmp_path, dtypes):
    name = next(one for one in NAMES if files[one][1].get("template") == "pandas" and "schema" not in files[one][1])
    tensors, about = files[name]
    columns = [[one, *dtypes, False] for one in json.loads(about["columns"])]
    tensors = tensors | {"template": np.frombuffer(json.dumps(columns).encode(), np.uint8)}
    with pytest.raises(ModelFileError, match="its table type returns column 'a' as"):
        motes.load(signed(tmp_path / "other.safetensors", tensors, about))


def test_what_was_saved_is_read_again(files, tmp_path):
    for name in NAMES:
        assert opened(signed(tmp_path / "same.safetensors", *files[name]), name) is not None, name


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")
def test_weights_beyond_the_range_of_floats_end_in_an_error_that_says_so(files, tmp_path):
    for name in ("base.means", "base.log_weights"):
        tensors, about = files["table"]
        path = signed(tmp_path / "huge.safetensors", tensors | {name: np.full_like(tensors[name], 1e30)}, about)
        with pytest.raises(ModelFileError, match="of the columns is not finite"):
            motes.load(path).sample(2)


def in_recipe(section, key, value):
    """A change of a recipe, of points or of a table."""

    def change(tensors, about):
        table = not about["recipe"].startswith("{")
        recipe = tomllib.loads(about["recipe"]) if table else json.loads(about["recipe"])
        recipe.setdefault(section, {})[key] = value
        return tensors, about | {"recipe": tomli_w.dumps(recipe) if table else json.dumps(recipe)}

    return change


def in_array(name, number):
    """One entry of an array is another number."""

    def change(tensors, about):
        array = np.array(tensors[name])
        array.flat[0] = number
        return tensors | {name: array}, about

    return change


def without(name):
    return lambda tensors, about: ({key: array for key, array in tensors.items() if key != name}, about)


def in_rule(tensors, about):
    """An inequality that fewer rows obey than have a gap."""
    schema = json.loads(about["schema"])
    schema["rules"][0]["fields"]["share"] = 0.8
    return tensors, about | {"schema": json.dumps(schema)}


def in_patterns(tensors, about):
    """Fewer rows without a missing entry."""
    weights = json.loads(about["schema"])["missing_patterns"]["fields"]["weights"]["name"]
    return in_array(f"schema.{weights}", 0.5)(tensors, about)


WRONG = {
    "a mean that is none": ("points", in_array("standardiser.mean", np.nan), "standardiser"),
    "a scale of 0, as of a constant column": ("points", in_array("standardiser.scale", 0.0), "network"),
    "scales of 0": ("points", lambda t, a: (t | {"standardiser.scale": np.zeros(2)}, a), "standardiser.scale"),
    "a scale below 0": ("bounds", in_array("standardiser.scale", -1.0), "standardiser.scale"),
    "a mean of three": ("points", lambda t, a: (t | {"standardiser.mean": np.zeros(3)}, a), r"expected \(2,\)"),
    "a weight that is missing": ("points", without("network.out.bias"), "got nothing; its recipe needs"),
    "a weight of three": ("points", lambda t, a: (t | {"network.out.bias": np.zeros(3, "f4")}, a), r"float32 \(3,\)"),
    "a weight too many": ("points", lambda t, a: (t | {"more": np.zeros(3, "f4")}, a), "does not use: more"),
    "an unknown option": ("points", in_recipe("training", "stepz", 1), "not a complete model"),
    "a weight that is none": ("points", in_array("network.out.bias", np.inf), "not all finite"),
    "bounds that fall": ("bounds", in_array("support.low", 10.0), "bounds"),
    "a deep text": ("points", lambda t, a: (t, a | {"context": "[" * DEEP}), "recursion"),
    "a recipe that is a list": ("points", lambda t, a: (t, a | {"recipe": "[]"}), "got list; expected sections"),
    "columns that are a number": ("points", lambda t, a: (t, a | {"columns": "2"}), "columns"),
    "one column": ("points", lambda t, a: (t, a | {"columns": '["x"]'}), "expected"),
    "10,000 members": ("points", in_recipe("network", "members", 10_000), "members = 10000; expected"),
    "many members": ("members", in_recipe("network", "members", 200), "requires 400 layers, but it has"),
    "10,000 layers": ("points", in_recipe("network", "depth", 10_000), "depth = 10000; expected"),
    "a wide network": ("points", in_recipe("network", "width", 16_384), "its recipe needs float32"),
    "a grid of 1e9 steps": ("points", in_recipe("grid", "steps", 10**9), "steps = 1000000000; expected"),
    "1e9 steps of noise": ("tutorial", in_recipe("schedule", "steps", 10**9), "steps = 1000000000; expected"),
    "a number that is no float": ("points", in_recipe("training", "ema", 10**400), "ema = 1000"),
    "a recipe of points": ("table", in_recipe("data", "encode", False), "recipe"),
    "an order that is none": ("table", in_array("order", 1), "order"),
    "a bias that is none": ("table", in_array("bias.0", np.nan), "biases"),
    "biases of one group of parts": ("table", without("bias.0"), "its biases"),
    "gaps of 80 % of the rows": ("table", in_rule, "the gaps of an inequality"),
    "patterns of fewer rows": ("table", in_patterns, "which entries are missing together"),
    "a covariance below 0": ("table", in_array("base.covariances", -1.0), "covariances"),
    "a seed below 0": ("table", lambda t, a: (t, a | {"seed": "-1"}), "seed"),
    "an array without entries": (
        "table",
        lambda t, a: (t | {"base.means": np.zeros((1, 10**9, 0))}, a),
        "expected|needs",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_said(name, files, tmp_path):
    kind, change, says = WRONG[name]
    path = signed(tmp_path / "wrong.safetensors", *change(*files[kind]))
    with little(), pytest.raises(ModelFileError, match=says) as error:
        motes.load(path)
    assert "wrong.safetensors" in str(error.value)


def test_averages_beside_a_model_are_checked_as_well(files, tmp_path):
    model = motes.fit(motes.make_shape("moons", 120, seed=3), changes=SMALL | {"training.steps": 8}, verbose=False)
    model.save(tmp_path / "model.safetensors")
    model.save_averages(tmp_path)
    tensors, about = read_checkpoint(tmp_path / "averages.safetensors")
    for wrong in ({"weights": np.zeros(3)}, {"steps": np.zeros(7, np.int64)}, {"lengths": np.full(2, np.nan)}):
        signed(tmp_path / "averages.safetensors", tensors | wrong, about)
        with pytest.raises(ModelFileError, match=r"averages\.safetensors"):
            motes.load(tmp_path).averaged_over(0.1)


# --- a model of points: its file, its draws, its units ----------------------------------------------------------------


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
        ("heun", motes.errors.UsageError, "sampling = 'heun'; expected a Sampling"),
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


def test_other_formats_and_what_is_no_model_are_named(small_model, tmp_path, monkeypatch):
    path = tmp_path / "other.safetensors"
    with monkeypatch.context() as patch:
        patch.setattr("motes.training.checkpoints.FORMAT", "99")
        small_model.save(path)
    with pytest.raises(motes.errors.ModelFileError, match=r"format 99.*reads format 4"):
        load(path)
    save_file({"a": np.zeros(2, np.float32)}, path)
    with pytest.raises(motes.errors.ModelFileError, match="not a model of motes"):
        load(path)
    for nothing in (tmp_path / "nowhere.safetensors", tmp_path):
        with pytest.raises(motes.errors.ModelFileError, match="there is no model file"):
            load(nothing)


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
