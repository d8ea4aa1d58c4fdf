"""What a user gives wrongly ends with an exit code and a sentence, not with a traceback."""

import json
import warnings
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import unquoted

import motes
from motes.cli.folders import checkpoints_in, history_in, seed_of
from motes.errors import DataError, RecipeError, UsageError
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits
from motes.explorer.subjects import Shelf, Subject
from motes.training.checkpoints import write_checkpoint

RNG = np.random.default_rng(0)
POINTS = RNG.normal(size=(60, 2))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of small files, some of them damaged, in which a command runs."""
    monkeypatch.chdir(tmp_path)
    motes.data.write_frame("pts.csv", motes.data.as_frame(POINTS, ["x", "y"]))
    Path("tab.csv").write_text("a,b\n" + "".join(f"{i % 7},{'uv'[i % 2]}\n" for i in range(60)))
    Path("quote.csv").write_text('x,y\n1,2\n3,"4\n' + "5,6\n" * 30)
    Path("empty.csv").write_text("")
    Path("same.csv").write_text("a,b\n" + "1,2\n" * 20)
    Path("few.csv").write_text("a,b\n1,2\n3,4\n")
    Path("huge.npy").write_bytes(header("'<f8'", "(1000000000000, 2)") + POINTS.tobytes())
    Path("negative.npy").write_bytes(header("'<f8'", "(-1, 2)") + POINTS.tobytes())
    Path("overflow.npy").write_bytes(header("'<f8'", f"({10**30}, 2)") + POINTS.tobytes())
    Path("flip.npy").write_bytes(header("'<f8'", "((60, 2)") + POINTS.tobytes())
    Path("odd.parquet").write_bytes(b"PAR1" + b"\0" * 40 + b"PAR1")
    Path("deep.toml").write_text("about = " + "[" * 100_000)
    Path("odd.toml").write_text("training = 5")
    Path("model.safetensors").write_text("no model")
    Path("taken").mkdir()
    return tmp_path


def header(dtype, shape):
    """The first bytes of a .npy file."""
    text = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


BAD = {
    "train moons --steps 100": (2, "Use --set training.steps=... or --set table.steps=... or --set grid.steps=..."),
    "train moons --width 100": (2, "--set table.width=... or --set network.width=..."),
    "train moons --sede 1": (2, "Unknown option: --sede. Did you mean --seed?"),
    "train moons --seed -1": (2, "seed"),
    "train moons --seed 1.5": (2, "--seed: got 1.5; expected a whole number."),
    "train moons --style drak": (2, "drak"),
    "train moons --recipe ddmp": (2, "Did you mean 'ddpm'"),
    "train moons --recipe table": (2, "'moons', which is a shape"),
    "train nope": (2, "unknown shape or data set 'nope'. Choose from: swiss_roll, "),
    "train same.csv --recipe default": (1, "all columns are constant: a, b"),
    "train few.csv --recipe default": (1, "at least 20"),
    "trian": (2, 'Unknown command "trian". Did you mean "train"?'),
    "shapes mons": (2, "Did you mean 'moons'"),
    "score a b.csv": (2, 'Command "score" parameter --out requires an argument. See `motes score --help`.'),
    "sample a b": (2, "Unused Tokens: ['b']"),
    "sample a --guidance-interval 0 1.5": (2, "--weak and --guidance-interval need guidance"),
    "plot a --dpi 5": (2, 'Invalid value "5" for --dpi. Must be >= 20.'),
    "diagnose a --t 0.5": (2, "--out FOLDER"),
    "train tab.csv --set training.steps=50": (2, "Use table.steps instead"),
    "train pts.csv --set table.steps=50": (2, "Use training.steps instead"),
    "train https://example.org/data.csv": (2, "address https://example.org/data.csv; expected a file on this machine"),
    "train https://example.org/data": (2, "address https://example.org/data"),
    "columns s3://bucket/data.parquet": (2, "address s3://bucket/data.parquet"),
    "columns file:///tmp/data.csv": (2, "address file://tmp/data.csv"),
    "columns t.csv --sql x": (2, "expected a database or a Parquet file"),
    "train pts.xls": (2, "expected a name that ends in .csv"),
    "train moon": (2, "Did you mean 'moons'?"),
    "train taken": (2, "no file of 'taken' ends in"),
    "train pts.txt": (2, "expected a name that ends in .csv"),
    "train pts.csv --recipe deep.toml": (2, "nested too deeply"),
    "train pts.csv --recipe odd.toml": (2, "expected a section [training]"),
    "train pts.csv --recipe model.safetensors": (2, "unknown recipe"),
    "train pts.csv --given-columns z": (2, "unknown given column 'z'"),
    "train tab.csv --given-columns b": (1, "Convert it to numbers"),
    "train tab.csv --recipe default": (1, "Use recipe 'table', or make it the label"),
    "train pts.csv --resume": (2, "no checkpoint in 'runs/pts'"),
    "columns pengins": (2, "unknown data set 'pengins'. Did you mean 'penguins'? Choose from: penguins, iris"),
    "columns quote.csv": (1, "row 2 of"),
    "columns empty.csv": (1, "is empty"),
    "columns huge.npy": (1, "more than fits in memory"),
    "columns overflow.npy": (1, "damaged"),
    "columns flip.npy": (1, "damaged"),
    "columns odd.parquet": (1, "cannot be read"),
    "columns pts.csv --sep ab": (2, "expected one character"),
    "sample model.safetensors": (1, "damaged or not a model"),
    "sample nowhere": (2, "no model file"),
    "score model.safetensors pts.csv --out s.csv": (1, "damaged or not a model"),
    "score model.safetensors pts.csv --out no/s.csv": (2, "there is no folder 'no'"),
    "score model.safetensors pts.csv --out s.xls": (2, "expected a name that ends in"),
    "ema model.safetensors --out m": (2, ".safetensors"),
}
if np.lib.NumpyVersion(np.__version__) >= "2.3.0":  # before, NumPy takes a negative size for "as many as there are"
    BAD["columns negative.npy"] = (1, "negative.npy")


@pytest.mark.parametrize("words", BAD)
def test_a_mistake_ends_with_its_code_and_a_sentence_that_helps(words, here, motes_command):
    code, out, err = motes_command(*words.split())
    wanted, says = BAD[words]
    assert (code, out) == (wanted, "")
    assert unquoted(says) in unquoted(err)
    assert "Traceback" not in err
    assert "should not happen" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: motes.fit([[1.0, 2.0], [3.0]]), DataError, "row 2 has 1 entry, and row 1 has 2 entries"),
        (lambda: motes.fit([[1.0, 2.0], [[3.0], 4.0]]), DataError, "row 2 has a list in a cell"),
        (lambda: motes.fit(POINTS[:, 0]), DataError, r"shape \(60,\); .*reshape\(-1, 1\)"),
        (lambda: motes.fit(POINTS[:, 0], given=POINTS), DataError, r"shape \(60,\); .*reshape\(-1, 1\)"),
        (lambda: motes.fit(POINTS, given=[[1.0], [2.0, 3.0]]), DataError, "given, row 2 has 2 entries"),
        (lambda: motes.fit(POINTS, given={"c": ["u", "v"] * 30}), DataError, "column 'c'.*Convert it to numbers"),
        (lambda: motes.fit({"x": POINTS[:, 0], "c": ["u", "v"] * 30}, "default"), DataError, "recipe 'table'"),
        (lambda: motes.fit(POINTS, changes={"table.steps": 5}), RecipeError, "Use training.steps instead"),
        (lambda: motes.fit("https://example.org/x.csv"), UsageError, "Download it first"),
        (lambda: motes.fit({"a": 1, "b": [1, 2]}), DataError, "column 'a': got 1 of type int; expected a list"),
        (lambda: motes.fit([{"a": 1}, {"a": 2}]), DataError, "row 1 is a dict.*pandas.DataFrame"),
        (lambda: motes.fit({"a\ud800": [1], "b": ["x"]}), DataError, "the name of column 1: .*lone surrogate"),
        (lambda: motes.fit({"a": ["\ud800"], "b": [1]}), DataError, "row 1, column 'a': .*lone surrogate"),
        (lambda: motes.fit({1: [0.5], "1": [1.5]}), DataError, "two columns named '1'"),
        (lambda: motes.fit(POINTS, labels=["u", "v\ud800"] * 30), DataError, "the label of row 2: .*lone surrogate"),
        (lambda: motes.fit(POINTS, source="x\ud800"), UsageError, "source: .*lone surrogate"),
        (lambda: motes.tables.parse_rule("a == 'x\ud800'"), UsageError, "rule: .*lone surrogate"),
        (lambda: motes.load("no.model"), UsageError, "no model file 'no.model'"),
    ],
)
def test_in_python_the_advice_is_of_python(call, error, says):
    with pytest.raises(error, match=says) as raised:
        call()
    assert "--" not in str(raised.value)


ESTIMATOR = motes.DiffusionModel
WRONG_TYPES = {
    "source": (lambda model: motes.fit(POINTS, source=POINTS), r"fit: source = <ndarray of shape \(60, 2\)>.*a text"),
    "start": (lambda model: motes.fit(POINTS, start="m.safetensors"), "'m.safetensors'; expected a Model or None"),
    "verbose": (lambda model: motes.fit(POINTS, verbose="no"), "'no'; expected True or False"),
    "columns": (lambda model: motes.fit(POINTS, columns="xy"), "'xy'; expected a list, a dict or None"),
    "on_progress": (lambda model: motes.fit(POINTS, on_progress=5), "5; expected a function"),
    "path": (lambda model: motes.load(5), "5; expected a text or a path"),
    "n": (lambda model: model.sample(2.5), "PointModel.sample: n = 2.5; expected a whole number"),
    "sampling": (lambda model: model.sample(2, sampling="heun"), "'heun'; expected a Sampling, a dict or None"),
    "tolerance": (lambda model: model.score_samples(POINTS, tolerance="low"), "'low'; expected a number"),
    "draws": (lambda model: model.impute(POINTS, draws=True), "True; expected a whole number or None"),
    "variance": (lambda model: model.bound(POINTS, variance="bta"), "'bta'; expected one of 'beta'"),
    "max_steps": (
        lambda model: ESTIMATOR(max_steps="9").fit(POINTS),
        "DiffusionModel: max_steps = '9'; expected a whole",
    ),
    "orders": (lambda model: ESTIMATOR().score_samples(POINTS, orders="2"), "'2'; expected a whole number"),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_an_argument_of_another_type_is_refused_with_its_name(name, small_model):
    call, says = WRONG_TYPES[name]
    with pytest.raises(UsageError, match=rf"{name} = .*{says.partition(' = ')[2] or says}"):
        call(small_model)


def test_arrays_and_their_numbers_are_taken_for_lists_and_numbers(small_model):
    points = small_model.sample(np.int64(3), seed=np.uint8(7), given={})
    assert np.array_equal(points, small_model.sample(3, seed=7))
    assert len(small_model.chain(2, np.array([0, 4]))[1]) == 2
    assert len(small_model.likelihood(POINTS[:2], tolerance=np.float32(0.01)).log_prob) == 2
    with pytest.raises(TypeError, match="sede"):
        small_model.sample(3, sede=1)


def test_a_warning_of_a_model_names_the_line_of_the_call(small_model):
    def stop(message, category, filename, *rest):
        raise InterruptedError(filename)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = stop
        with pytest.raises(InterruptedError, match=__file__):
            small_model.sample(2, given={"x": (50.0, None)})


def test_a_file_whose_name_a_model_cannot_keep_is_refused_before_the_training(tmp_path):
    path = tmp_path / "caf\udce9.csv"
    try:
        path.write_text("x,y\n" + "0.5,1.5\n2.5,3.5\n" * 20)
    except OSError:
        pytest.skip("this system has no such names of files")
    with pytest.raises(UsageError, match=r"name of the source: .*lone surrogate"):
        motes.fit(path, changes={"training.steps": 1})


@pytest.mark.parametrize("seed", range(4))
def test_any_damage_of_an_array_file_is_a_data_error(seed, tmp_path):
    """A byte of the header of .npy; 120 files each time."""
    rng, whole = np.random.default_rng(seed), header("'<f8'", "(60, 2)") + POINTS.tobytes()
    for place in rng.integers(0, 128, 120):
        damaged = bytearray(whole)
        damaged[place] = rng.choice([0, 255, ord("("), ord("{"), ord("'"), damaged[place] ^ 1, damaged[place] ^ 32])
        (tmp_path / "x.npy").write_bytes(damaged)
        with suppress(DataError):
            motes.data.read_frame(tmp_path / "x.npy")


LINES = [
    "", "{", "[]", "5", "null", '"text"', "{}", '{"step": "a"}', '{"step": null, "loss": 1}', '{"step": 1, "loss": []}',
    '{"step": 1, "loss": {"a": 1}}', '{"step": 1e999, "loss": 1}', "[" * 100_000,
    '{"step": 1, "loss": ' + "9" * 5000 + "}",
    "\udcff",
]  # fmt: skip


@pytest.mark.parametrize("line", range(len(LINES)))
def test_a_history_that_is_none_is_named_with_its_line(line, tmp_path):
    good = json.dumps({"step": 1, "loss": 0.5})
    (tmp_path / "history.jsonl").write_text(f"{good}\n{LINES[line]}\n{good}\n", errors="surrogateescape")
    with pytest.raises(DataError, match=r"line 2 of .*history\.jsonl"):
        history_in(tmp_path)


TEXTS = {
    "no numbers": {"numbers": None}, "numbers that are a list": {"numbers": "[]"}, "no step": {"numbers": "{}"},
    "a step that is a text": {"numbers": '{"course/step": "a", "course/steps": 5}'},
    "a recipe that is a list": {"recipe": "[1]"}, "a recipe that is no JSON": {"recipe": "{"},
    "no recipe": {"recipe": None},
    "a section that is a number": {"recipe": '{"training": 5}'}, "a deep recipe": {"recipe": "[" * 100_000},
    "a seed that is a text": {"seed": "a"}, "no seed": {"seed": None}, "no fingerprint": {"fingerprint": None},
    "no name": {"named": None},
}  # fmt: skip


@pytest.mark.parametrize("name", TEXTS)
def test_a_checkpoint_with_odd_texts_is_passed_over(name, tmp_path):
    texts = {
        "numbers": '{"course/step": 5, "course/steps": 5}', "recipe": '{"about": "", "training": {}}', "seed": "7",
        "fingerprint": "0", "named": "default",
    }  # fmt: skip
    (tmp_path / "checkpoints").mkdir()
    write_checkpoint(tmp_path / "checkpoints" / "000000000005.safetensors", {"a": np.zeros(1)}, texts)
    odd = {key: text for key, text in (texts | TEXTS[name]).items() if text is not None}
    write_checkpoint(tmp_path / "checkpoints" / "000000000006.safetensors", {"a": np.zeros(1)}, odd)
    assert seed_of(tmp_path) == 7


@pytest.mark.parametrize("seed", [True, -1, 2**32, 1.5, "7", None])
def test_a_seed_is_a_whole_number_of_32_bits(seed):
    assert len(motes.make_shape("moons", 5, seed=2**32 - 1)) == len(motes.make_shape("moons", 5, seed=np.int64(0))) == 5
    with pytest.raises(UsageError, match=r"seed = .*; expected a whole number"):
        motes.make_shape("moons", 5, seed=seed)


def test_an_interrupted_run_is_not_trained_over(here, motes_command):
    (here / "part" / "checkpoints").mkdir(parents=True)
    write_checkpoint(here / "part" / "checkpoints" / "000000000005.safetensors", {"a": np.zeros(1)}, {})
    said = motes_command.error("train", "moons", "--out", here / "part")
    assert "a run that was interrupted after 5 steps. Continue it with --resume, replace it with --overwrite" in said


@pytest.mark.parametrize("name", ["1abc", "7", "12 copy", "0x10", "\u0662", "1" * 40])
def test_a_foreign_file_among_checkpoints_is_left_alone(name, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    foreign = tmp_path / "checkpoints" / f"{name}.safetensors"
    foreign.write_bytes(b"of somebody else")
    assert checkpoints_in(tmp_path) == []
    with pytest.raises(UsageError, match="no checkpoint"):
        seed_of(tmp_path)
    assert foreign.exists()


def test_an_export_without_room_for_a_temporary_file_says_so(small_model, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match=r"no temporary file can be written .*TMPDIR"):
        Answers(Shelf(Subject("own", small_model)), Limits()).ask(what="export", model="own", form="model", seed=0)


def test_a_model_is_saved_and_loaded_by_a_name_without_a_suffix(small_model, tmp_path):
    small_model.save(tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    assert motes.load(tmp_path / "model").columns == ("x", "y")
    with pytest.raises(UsageError, match=r"ends in '\.pt'; expected a name that ends in \.safetensors"):
        small_model.save(tmp_path / "model.pt")
