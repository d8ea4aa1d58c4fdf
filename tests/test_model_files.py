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

import numpy as np
import pandas as pd
import pyarrow
import pytest
import tomli_w
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.conftest import SMALL
from tests.reference import property_test
from tests.tables import TINY, untrained

import motes
from motes.errors import ModelFileError
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
        "high": low + rng.integers(0, 20, n),
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
RAW = [
    "",
    "null",
    "[" * DEEP,
    '{"a":' * DEEP,
    "NaN",
    "[1e999]",
    "7",
    '"x"',
    "a = " + "[" * DEEP,
    "[a]\nb = 1e400",
    "\x00",
]


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


@settings(property_test, max_examples=200)
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
    for name in ("base.means", "bias.1"):
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


WRONG = {
    "a mean that is none": ("points", in_array("standardiser.mean", np.nan), "standardiser"),
    "a scale of 0, as of a constant column": ("points", in_array("standardiser.scale", 0.0), "network"),
    "scales of 0": ("points", lambda t, a: (t | {"standardiser.scale": np.zeros(2)}, a), "standardiser.scale"),
    "a scale below 0": ("bounds", in_array("standardiser.scale", -1.0), "standardiser.scale"),
    "a mean of three": ("points", lambda t, a: (t | {"standardiser.mean": np.zeros(3)}, a), r"expected \(2,\)"),
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
