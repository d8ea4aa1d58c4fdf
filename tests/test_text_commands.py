"""The command line on text files of the world: options reach the reader, a run remembers them, no output is lost."""

import json
import os
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from tests.conftest import SMALL

import motes
from motes import cli
from motes.data.files import read_frame
from motes.evaluation.sources import read_rows
from motes.fitting import choose_recipe
from motes.loading import load
from motes.text_options import TextOptions
from tables import untrained

MOTES = [sys.executable, "-m", "motes"]
ROWS = 60
TINY = [
    "--set=table.steps=30", "--set=table.width=16", "--set=table.depth=1", "--set=table.bins=8",
    "--set=table.components=1", "--set=table.calibrate=false", "--no-figures", "-q",
]  # fmt: skip
QUICK = [f"--set={name}={value}" for name, value in SMALL.items()]
OPTIONS = ["--sep", ";", "--decimal", ",", "--na=?", "--na", "-", "--date-format", "%d/%m/%y", "--encoding", "latin-1"]
TEXT = TextOptions(sep=";", decimal=",", na=("?", "-"), date_format=("%d/%m/%y",), encoding="latin-1")

pytestmark = [
    pytest.mark.brief,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # what is said of a reading
]


def german():
    """A table that needs every option: a day of which the order is not certain, a number that has two readings."""
    rng = np.random.default_rng(0)
    lines = ["größe;preis;tag;ort"]
    for k in range(ROWS):
        size = "?" if k % 9 == 0 else "-" if k % 9 == 1 else str(rng.integers(150, 200))
        lines.append(
            f"{size};{rng.integers(1, 9)},{rng.integers(100, 999)};{k % 12 + 1:02d}/{k % 9 + 1:02d}/{10 + k % 5};Köln"
        )
    lines[5] = lines[5].replace("Köln", "Graz")
    return ("\n".join(lines) + "\n").encode("latin-1")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("german")
    (folder / "t.csv").write_bytes(german())
    with pytest.MonkeyPatch.context() as patch, untrained():
        patch.chdir(folder)
        patch.setattr("motes.cli.run.SAMPLES", 40)
        assert cli._run(["train", "t.csv", "--out", "run", *TINY, *OPTIONS], debug=True) == 0
    return folder / "run"


@pytest.fixture
def here(run, motes_command, tmp_path):
    (tmp_path / "t.csv").write_bytes(german())
    return motes_command


# --- options --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_remembers_how_its_source_was_read(run):
    assert load(run).recipe.text == TEXT
    written = tomllib.loads((run / "recipe.toml").read_text())["text"]
    given = {key: value for key, value in vars(TEXT).items() if value is not None}
    assert written == {key: list(value) if isinstance(value, tuple) else value for key, value in given.items()}
    types = load(run).schema.types
    assert types == {"größe": "whole", "preis": "real", "tag": "date", "ort": "label"}


@pytest.mark.slow
@pytest.mark.parametrize("left_out", ["--sep", "--decimal", "--na=?", "--date-format", "--encoding", None])
def test_every_option_reaches_the_reader_of_columns(here, left_out):
    words = [*OPTIONS]
    if left_out:
        place = words.index(left_out)
        del words[place : place + 1 + ("=" not in left_out)]
    code, out, _ = here("columns", "t.csv", *words, "--json")
    kinds = [column["kind"] for column in json.loads(out)["columns"]] if code == 0 else None
    assert (kinds == ["integer", "real", "date", "categorical"]) == (left_out is None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "RUN", "t.csv", "-n", "40", "-q"],
        ["score", "RUN", "t.csv", "--out", "out.csv", "-q"],
        ["impute", "RUN", "t.csv", "--out", "out.csv", "-q"],
        ["predict", "RUN", "t.csv", "--column", "preis", "--out", "out.csv", "-q"],
    ],
    ids=lambda words: words[0],
)
def test_commands_read_as_the_run_did_unless_an_option_says_otherwise(words, here, run, tmp_path):
    words = [run if word == "RUN" else word for word in words]
    here.out(*words)
    (tmp_path / "out.csv").unlink(missing_ok=True)
    code, _, err = here(*words, "--sep", "|")  # an option that is ignored would read the file
    assert code == 1 and "use --sep ';'" in err
    text = (tmp_path / "t.csv").read_text(encoding="latin-1")
    (tmp_path / "t.csv").write_text(text.replace(";", "|"), encoding="utf-8")
    here.out(*words, "--sep", "|", "--encoding", "utf-8")


@pytest.mark.slow
def test_the_recipe_of_a_run_reads_its_source_again(here, run):
    again = read_rows("t.csv", motes.load_recipe(str(run / "recipe.toml")))
    assert set(again.columns["größe"].cells()) > {None} and again.columns["tag"].type == "date"


@pytest.mark.slow
def test_what_the_training_found_out_reads_rows_that_alone_have_two_readings(motes_command, tmp_path, monkeypatch):
    monkeypatch.setattr("motes.cli.run.SAMPLES", 40)
    rows = "".join(f'{k % 28 + 1:02d}.03.2020,"$1,{k + 100}.50",{k % 5}\n' for k in range(ROWS))
    (tmp_path / "t.csv").write_text("day,pay,n\n" + rows)
    with untrained():
        assert motes_command("train", "t.csv", "--out", "run", *TINY)[0] == 0
    assert load("run").recipe.text == TextOptions(decimal=".", date_format=("%d.%m.%Y",))
    (tmp_path / "one.csv").write_text('day,pay,n\n05.03.2020,"$1,110",2\n06.03.2020,"$1,120",2\n')
    motes_command.out("score", "run", "one.csv", "--out", "s.csv", "-q")
    motes_command.out("score", "run", "one.csv", "--out", "s2.csv", "-q", "--date-format", "%m.%d.%Y")
    first, second = (read_frame(path).columns["log_prob"].values for path in ("s.csv", "s2.csv"))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("words", [["train", "moons"], ["columns", "t.npy"], ["train", "t.npy", "--recipe", "default"]])
def test_options_for_what_is_no_text_are_refused(words, motes_command, tmp_path):
    np.save(tmp_path / "t.npy", np.eye(30)[:, :3] + np.arange(30)[:, None])
    err = motes_command.error(*words, "--sep", ";")
    assert "got sep = ';'" in err and "expected a text file" in err
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_what_is_read_otherwise_is_said_once(tmp_path):
    rows = "".join(f"{k % 28 + 1:02d}.03.2020,{k} %,{k % 5},{k % 3 or '?'}\n" for k in range(ROWS))
    (tmp_path / "t.csv").write_text("day,rate,n,m\n" + rows)
    done = subprocess.run([*MOTES, "columns", "t.csv"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.count("column 'day': read as dates, %d.%m.%Y.") == 1
    assert done.stderr.count("column 'rate': read as numbers without '%'.") == 1
    assert "column 'm': numbers except for 1 of its labels, such as '?' in row 1" in done.stderr
    assert "--na='?'" in done.stderr


# --- exit codes and output --------------------------------------------------------------------------------------------


COMMANDS = [
    ["sample", "none"], ["score", "none", "none.csv", "--out", "s.csv"],
    ["impute", "none", "none.csv", "--out", "s.csv"], ["predict", "none", "none.csv", "--column", "a"],
    ["evaluate", "none"], ["diagnose", "none"], ["plot", "none"],
    ["ema", "none"], ["columns", "none.csv"], ["train", "none.csv"], ["train", "none.csv", "--recipe", "default"],
]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_what_is_not_there_ends_with_2_in_every_command(words, motes_command):
    err = motes_command.error(*words)
    assert "there is no" in err and len(err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("how", ["closed", "full", "full, unbuffered", "pipe"])
@pytest.mark.parametrize("words", [["recipes"], ["--help"], ["sample", "RUN", "-n", "9"]], ids=lambda words: words[0])
def test_lost_output_is_never_success(words, how, run, tmp_path):
    words = [*MOTES, *(str(run) if word == "RUN" else word for word in words)]
    setting = os.environ | ({"PYTHONUNBUFFERED": "1"} if how == "full, unbuffered" else {})
    if how == "closed":
        shell = 'exec "$@" >&-'
        done = subprocess.run(["sh", "-c", shell, "sh", *words], cwd=tmp_path, env=setting, stderr=-1, text=True)
        code, err = done.returncode, done.stderr
    elif how == "pipe":
        with subprocess.Popen(words, cwd=tmp_path, env=setting, stdout=-1, stderr=-1, text=True) as process:
            process.stdout.close()
            err = process.stderr.read()
        code = process.returncode
    else:
        with open("/dev/full", "w") as full:
            done = subprocess.run(words, cwd=tmp_path, env=setting, stdout=full, stderr=-1, text=True)
        code, err = done.returncode, done.stderr
    assert code == 1
    last = err.splitlines()[-1] if err else ""
    if how == "pipe":  # whoever closes it wants no more
        assert "motes:" not in err and "Traceback" not in err
    else:
        assert last.startswith("motes: cannot use 'standard output': ")


# --- single values ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "rows"), [("1e1", 10), ("12", 12), ("1.5", None), ("1.5e0", None), ("1e99", None), ("ten", None)]
)
def test_a_number_of_rows_may_be_written_with_an_exponent(n, rows, run, motes_command):
    code, out, err = motes_command("sample", run, "-q", "-n", n)
    if rows:
        assert code == 0 and len(out.splitlines()) == rows + 1
    else:
        assert (code, out) == (2, "") and f"got {n}; expected a whole number" in err


def test_two_columns_of_whole_numbers_are_a_table(motes_command, tmp_path):
    (tmp_path / "t.csv").write_text("age,visits\n" + "".join(f"{k % 40},{k * 7 % 13}\n" for k in range(200)))
    assert choose_recipe("t.csv") == "table"  # samples of points would not be whole
    (tmp_path / "p.csv").write_text("age,visits\n" + "".join(f"{k % 40},{k * 7 % 13}.5\n" for k in range(200)))
    assert choose_recipe("p.csv") == "table"
    (tmp_path / "q.csv").write_text("age,visits\n" + "".join(f"{k % 40}.5,{k * 7 % 13}.5\n" for k in range(200)))
    assert choose_recipe("q.csv") == "default"
