"""The command line on tables of any columns: what it answers, what it refuses, and that no file is lost."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.states import Told

import motes
from motes.cli.common import Options
from motes.cli.run import train_run
from motes.data.files import read_frame
from motes.evaluation.sources import source_of
from motes.loading import load
from motes.tables.model import evidence_of

pytestmark = pytest.mark.brief

ROWS = 39  # of which a few are held out
TINY = {"table.steps": 60, "table.width": 32, "table.depth": 1, "table.bins": 16, "table.components": 1}
TINY |= {"table.calibrate": False, "table.check_every": 60}  # columns of noise would end the training early


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "number": range(ROWS),
            "age": rng.integers(18, 80, ROWS),
            "income": np.exp(rng.normal(9, 1, ROWS)),
            "city": rng.choice(["Graz", "Linz", "Wien"], ROWS),
            "h": rng.normal(size=ROWS),
        }
    )
    frame.loc[::10, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory):
    """What a whole run said and found; its folder has the file beside the results."""
    folder = tmp_path_factory.mktemp("people")
    path = folder / "people.csv"
    people.to_csv(path, index=False)
    reporter = Told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motes.cli.run.SAMPLES", 200)
        _, found = train_run(str(path), folder / "run", "table", TINY, Options(), reporter)
    path.rename(folder / "run" / "people.csv")
    model = load(folder / "run")
    model.source = str(folder / "run" / "people.csv")
    model.save(folder / "run" / "model.safetensors")
    return folder / "run", found, reporter.lines


@pytest.fixture(scope="module")
def run(trained):
    return trained[0]


@pytest.fixture(scope="module")
def model(run):
    return load(run)


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rows_have_the_numbers_of_the_file(people, run, motes_command, tmp_path):
    people.assign(h=people.h.where(people.index != 8, np.inf)).to_csv("inf.csv", index=False)
    people.assign(age=people.age.where(people.index != 8, 20.5)).to_csv("half.csv", index=False)
    people.assign(age=people.age.astype(str).where(people.index != 8, "old")).to_csv("word.csv", index=False)
    assert "'inf.csv', row 9, column 'h': got inf" in motes_command.error("train", "inf.csv", code=1)
    code, _, err = motes_command("train", "half.csv", "--set", "columns.age=integer")
    assert code == 1 and "'half.csv', row 9, column 'age': got 20.5" in err
    assert not (tmp_path / "runs").exists()
    code, _, err = motes_command("evaluate", run, "word.csv")
    assert code == 1 and "sampling" not in err and "'word.csv'" in err and "column 'age'" in err


# --- drawing under conditions ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_probability_of_a_condition_is_printed_even_when_quiet(people, run, model, motes_command):
    words = ("--given", "city=Graz,Wien", "--given", "age=..40", "--given", "h=0.25")
    code, message, err = motes_command("sample", run, "-n", 50, *words, "-q")
    assert code == 0, err
    rows = pd.read_csv(pd.io.common.StringIO(message))
    assert [*rows] == [*people] and len(rows) == 50
    assert rows.city.isin(["Graz", "Wien"]).all() and (rows.age <= 40).all() and (rows.h == 0.25).all()
    drawn = model.sample(50, given={"city": {"Graz", "Wien"}, "age": (None, 40), "h": 0.25})
    assert err.startswith(f"log p(city=Graz,Wien, age=..40, h=0.25) = {drawn.log_evidence:.4f} nats: a density of h.")
    assert f"The 50 rows are worth {drawn.effective:,.0f} independent ones" in err and len(err.splitlines()) == 1
    code, message, err = motes_command("sample", run, "-n", 20, "--given", "city!=Graz", "-q", "--seed", 3)
    share = float(err.partition("probability ")[2].split(". ")[0])
    assert code == 0 and "Graz" not in message and 0.4 < share < 0.9  # 2 / 3 in the data
    code, _, err = motes_command("sample", run, "-n", 20, "-q")
    assert (code, err) == (0, "")


@pytest.mark.slow
def test_what_is_hardly_ever_so_is_warned_of_by_name(model):
    message = lambda given, evidence: evidence_of(model, given, evidence, 10.0)
    assert message({"city": "Graz"}, [-9.0]).warnings == ()
    (warning,) = message({"city": "Graz"}, [-9.3]).warnings
    assert "'city' has probability 9.1e-05, below 1 in 10,000" in warning
    assert message({"h": 0.1}, [-0.9]) == (-0.9, ("h",), 10.0, (), ())
    (warning,) = message({"h": 0.1, "city": {"Graz", "Linz"}}, [-25.0]).warnings
    assert "the condition on 'city' has probability" in warning and "'h'" not in warning
    # The mean over blocks is of probabilities.
    assert message({"city": "Graz"}, [-1.0, -np.inf]).log_prob == pytest.approx(-1 - np.log(2))


def test_misuse_of_options_ends_with_2(run, motes_command):
    for word in ("city=Gratz", "h=900"):
        err = motes_command.error("sample", run, "-n", 3, "--given", word)
        assert err.startswith(f"motes: --given {word}: ")
    for words in ("--sampler", "heun"), ("--steps", 5), ("--grid", "karras"), ("--label", "Graz"), ("--guidance", 2):
        err = motes_command.error("sample", run, *words)
        assert f"got {words[0]} for a model of tables" in err
    code, _, err = motes_command("score", run, run / "people.csv", "--out", "s.csv", "--label", "Graz")
    assert code == 2 and "got --label for a model of tables" in err


# --- scoring --------------------------------------------------------------------------------------------------------


def test_impossible_entries_are_counted_and_lose_no_table(people, run, model, motes_command):
    strange = people.assign(city=people.city.where(~people.index.isin([3, 30]), "Bonn"))
    strange.assign(age=strange.age.where(people.index != 3, 20.5)).to_csv("strange.csv", index=False)
    code, message, err = motes_command("score", run, "strange.csv", "--out", "s.csv", "-q")
    assert code == 0, err
    log_prob = pd.read_csv("s.csv").log_prob.to_numpy()
    assert np.flatnonzero(np.isneginf(log_prob)).tolist() == [3, 30]
    possible = log_prob[np.isfinite(log_prob)]
    np.testing.assert_allclose(possible, model.score_samples(people.drop([3, 30])), rtol=1e-5)
    assert f"{possible.mean():.4f} ± " in message and "over the 37 possible rows; 39 rows in s.csv" in message
    assert err.startswith("warning: 3 impossible entries in 2 rows") and "--laplace" in err
    code, message, err = motes_command("score", run, "strange.csv", "--out", "t.csv", "--laplace", "-q")
    smooth = pd.read_csv("t.csv").log_prob.to_numpy()
    assert code == 0 and np.isfinite(smooth).all() and f"the mass 1 / {model.schema.rows + 1}" in err
    gone = strange.loc[[3, 30]].assign(city=None, age=[None, people.age[30]])
    mass = np.log(model.schema.rows + 1.0)
    np.testing.assert_allclose(smooth[[3, 30]], model.score_samples(gone) - [2 * mass, mass], rtol=1e-5)


# --- predicting ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_cannot_be_predicted_is_refused(people, run, motes_command, small_model, tmp_path):
    people.assign(city=people.city.where(people.index != 3, "Bonn")).to_csv("strange.csv", index=False)
    code, message, err = motes_command("predict", run, "strange.csv", "--column", "h", "-q", "--out", "h.npy")
    assert code == 0 and np.load("h.npy").shape == (ROWS, 5) and "predicted in 39 rows" in message
    assert err.startswith("warning: 1 impossible entries, such as unseen labels, were treated as not observed")
    for words, exit_code, expected in (
        (("--column", "citty"), 2, "unknown column 'citty'. Did you mean 'city'? Choose from: age, income"),
        (("--column", "h", "--quantile", 1.5), 2, "expected numbers between 0 and 1"),
        (("--column", "h", "--draws", 0), 2, "0 draws"),
        (("--column", "h", "--draws", 1.5), 2, "1.5; expected a whole number"),
        (("--column", "city", "--out", "p.npy"), 2, "'p.npy': column 'label' holds text"),
        ((), 2, "--column"),
    ):
        code, message, err = motes_command("predict", run, "strange.csv", "-q", *words)
        assert (code, message) == (exit_code, "") and expected in err, err
    assert not (tmp_path / "p.npy").exists()
    people.drop(columns="age").to_csv("fewer.csv", index=False)
    code, _, err = motes_command("predict", run, "fewer.csv", "--column", "city")
    assert code == 1 and "'fewer.csv' has no column 'age'" in err
    small_model.save("points.safetensors")
    code, _, err = motes_command("predict", "points.safetensors", "strange.csv", "--column", "x")
    assert code == 2 and "a model of points; expected a model of a table, for `motes predict`" in err


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["sample", "impute", "score", "predict"])
def test_no_file_is_replaced_unasked_and_places_are_checked_before_the_work(command, run, motes_command, tmp_path):
    words = [command, run, *([] if command == "sample" else [run / "people.csv"])]
    words += ["--column", "city"] if command == "predict" else []
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    before = (run / "people.csv").read_bytes()
    for out, message in {
        "there.csv": "'there.csv' exists already. Choose another --out, or replace it with --overwrite.",
        run / "people.csv": "exists already",
        "nowhere/new.csv": "there is no folder 'nowhere'",
        "folder.csv": "'folder.csv' is a folder",
    }.items():
        err = motes_command.error(*words, "--out", out)
        assert message in err and len(err.splitlines()) == 1
    assert (tmp_path / "there.csv").read_text() == "mine" and (run / "people.csv").read_bytes() == before


@pytest.mark.slow
def test_overwrite_replaces(people, run, motes_command, tmp_path):
    for _ in range(2):
        code, message, err = motes_command("impute", run, run / "people.csv", "--out", "whole.csv", "--overwrite")
        assert code == 0 and "4 entries filled in, 39 rows in whole.csv" in message, err
    whole = pd.read_csv(tmp_path / "whole.csv")
    assert not whole.isna().any().any()
    pd.testing.assert_frame_equal(whole.drop(columns="income"), people.drop(columns="income"))


@pytest.mark.slow
def test_a_parquet_file_is_read_block_by_block_and_never_whole(people, run, motes_command, monkeypatch):
    """In blocks of 12 the answers are those of one block, and what does not fit is said with its row in the file."""
    people.to_parquet("people.parquet", row_group_size=11)
    people.iloc[:0].to_parquet("none.parquet")
    people.assign(city=people.city.where(people.index != 33, "Bonn")).to_parquet("other.parquet")
    scores = []

    def never(path):
        raise AssertionError("a whole file is read")

    for block in (1000, 12):
        monkeypatch.setattr("motes.data.files.BLOCK", block)
        if block == 12:
            monkeypatch.setattr("motes.data.files.read_frame", never)
        motes_command.out("score", run, "people.parquet", "--out", "log_prob.csv", "--overwrite")
        scores.append(pd.read_csv("log_prob.csv").log_prob)
    np.testing.assert_allclose(*scores, rtol=1e-5)
    code, message, err = motes_command("impute", run, "people.parquet", "--out", "twice.parquet", "--draws", 2)
    assert code == 0 and "4 entries filled in, 78 rows" in message, err
    monkeypatch.setattr("motes.data.files.read_frame", read_frame)
    twice = pd.read_parquet("twice.parquet")
    assert twice.draw.tolist() == [1] * ROWS + [2] * ROWS
    for draw, half in twice.drop(columns="draw").groupby(twice.draw):
        known = people.income.notna().to_numpy()
        pd.testing.assert_frame_equal(half.reset_index(drop=True)[known], people[known], check_dtype=False)
        assert half.income.notna().all(), draw
    holes = people.income.isna().to_numpy()
    assert (twice.income[:ROWS].to_numpy()[holes] != twice.income[ROWS:].to_numpy()[holes]).all()
    code, _, err = motes_command("impute", run, "other.parquet", "--out", "x.csv")
    assert code == 0 and "warning: 1 impossible entries" in err
    assert pd.read_csv("x.csv").city[33] == "Bonn"  # it stays, and the rest of its row is drawn without it
    assert "'none.parquet' has no rows" in motes_command.error("score", run, "none.parquet", "--out", "y.csv", code=1)


# --- a whole run ----------------------------------------------------------------------------------------------------


def test_a_small_table_with_a_class_leaves_a_whole_run(people, trained):
    """Of 39 rows a few are held out, and nothing fails after the work; the class is a column like any other."""
    out, found, lines = trained
    names = {"model.safetensors", "recipe.toml", "samples.csv", "history.jsonl", "metrics.json", "report.html"}
    assert {path.name for path in out.iterdir()} == names | {"people.csv", "figures", "checkpoints"}
    assert {path.name for path in (out / "figures").iterdir()} == {"marginals.png", "pairs.png", "loss.png"}
    message = "\n".join(lines)
    assert "nearly every row has its own value: 'number'" in message and "--set columns.number=integer" in message
    assert (
        re.search(r"training: \d+/60 steps", message)
        and "nats per row" in message
        and "sampling: 200/200 rows" in message
    )
    samples = pd.read_csv(out / "samples.csv")
    assert [*samples] == [*people] and len(samples) == 200 and set(samples.city) <= {"Graz", "Linz", "Wien"}
    metrics = json.loads((out / "metrics.json").read_text())
    rows = metrics["rows"]
    assert rows["synthetic"] == 200 and rows["training"] + rows["held_out"] == ROWS and 0 < rows["held_out"] < 12
    assert found.rows == rows and (metrics["steps"], metrics["evaluated_against"]) == (
        60,
        "training rows and held-out rows",
    )
    history = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in history if "loss" in line]
    assert len(losses) == 60 and np.isfinite(losses).all() and any("held_out" in line for line in history)
    page = (out / "report.html").read_text()
    assert metrics["version"] in page and "people.csv" in page and "calibrate" in page


def test_plot_makes_the_pictures_of_a_table(run, motes_command, tmp_path):
    out = motes_command.out("plot", run, "--out", "pictures", "--style", "light")
    assert [Path(line).name for line in out.splitlines()] == ["marginals.png", "pairs.png", "loss.png"]
    assert all((tmp_path / line).stat().st_size > 1000 for line in out.splitlines())
    assert "already contains figures/" in motes_command.error("plot", run, "--out", "pictures")


def test_diagnose_says_what_a_model_knows_of_each_column(people, run, motes_command, tmp_path):
    assert "held-out rows; expected at least 10" in motes_command.error("diagnose", run, "--out", "look", "-q")
    people.assign(age=people.age.to_numpy()[::-1], number=people.number + ROWS).to_csv("others.csv", index=False)
    out = motes_command.out("diagnose", run, "others.csv", "--out", "look", "-q")
    assert "columns alone" in out and "Gain of each column from the columns before it" in out
    assert {path.name for path in (tmp_path / "look").iterdir()} == {"diagnosis.json", "column_gains.png"}
    code, out, _ = motes_command("diagnose", run, "others.csv", "--json", "-q")
    assert code == 0 and json.loads(out) == json.loads((tmp_path / "look" / "diagnosis.json").read_text())
    assert "contains diagnosis.json" in motes_command.error("diagnose", run, "others.csv", "--out", "look", "-q")
    assert "-n is for models of points" in motes_command.error("diagnose", run, "-n", 20)


def test_an_interrupt_before_the_first_step_stands_in_nobodys_way(run, motes_command, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    def broken(*arguments, **options):
        raise motes.errors.TrainingError("the loss was not finite")

    for trouble, expected in ((interrupted, 130), (interrupted, 130), (broken, 1), (broken, 1)):
        monkeypatch.setattr("motes.fitting.fit_table", trouble)
        code, _, _ = motes_command("train", run / "people.csv", "--out", "here")
        assert code == expected
    assert not list((tmp_path / "here").iterdir())


# --- which rows evaluate ---------------------------------------------------------------------------------------------


def test_what_evaluate_is_given_is_checked_before_the_work(people, run, motes_command):
    for words, message in {
        ("--target", "citty"): "Did you mean 'city'",
        ("--report", "r.pdf"): "ends in .html",
        ("--report", "nowhere/r.html"): "there is no folder 'nowhere'",
    }.items():
        code, _, err = motes_command("evaluate", run, *words)
        assert code == 2 and message in err and "sampling" not in err


def test_no_training_row_is_ever_called_held_out(people, run, model, tmp_path):
    mine = source_of(model)
    keys = lambda frame: set(zip(frame.columns["age"].values, frame.columns["h"].values, strict=True))
    training, held_out = keys(mine.training), keys(mine.held_out)
    assert mine.known and not mine.notes and len(training) + len(held_out) == ROWS and not training & held_out
    # The same rows under another name, in another order and with other columns first.
    people.sample(frac=1.0, random_state=0)[people.columns[::-1]].to_csv(tmp_path / "moved.csv", index=False)
    moved = source_of(model, str(tmp_path / "moved.csv"))
    assert moved.known and (keys(moved.training), keys(moved.held_out)) == (training, held_out)
    # The file itself with rows appended, one of them with another label.
    before = (run / "people.csv").read_bytes()
    try:
        more = pd.DataFrame(
            {"number": 5, "age": range(20, 60), "income": 1.0, "city": "Aachen", "h": np.linspace(0, 9, 40)}
        )
        pd.concat([more, people]).to_csv(run / "people.csv", index=False)
        changed = source_of(model)
        assert not changed.known and "has changed since the training" in changed.notes[0]
        assert not keys(changed.held_out) & training and held_out <= keys(changed.held_out)
    finally:
        (run / "people.csv").write_bytes(before)
    # Another file: all of its rows are held out, and how many are training rows is said.
    fresh = people.assign(h=people.h.where(people.index < 13, 1.25))
    fresh.to_csv(tmp_path / "fresh.csv", index=False)
    other = source_of(model, str(tmp_path / "fresh.csv"))
    assert len(other.held_out) == ROWS and keys(other.training) == training
    copies = len(training & keys(read_frame(tmp_path / "fresh.csv")))
    assert other.notes == (f"{copies} of the 39 rows of '{tmp_path / 'fresh.csv'}' equal a training row.",)
    # A part of the same table under another name: only what the training cannot have seen is held out.
    people[:30].to_csv(tmp_path / "part.csv", index=False)
    part = source_of(model, str(tmp_path / "part.csv"))
    assert keys(part.held_out) == held_out & keys(read_frame(tmp_path / "part.csv"))
    assert keys(part.training) == training and "only the" in part.notes[0]


# --- motes columns ---------------------------------------------------------------------------------------------------


FILE = "age,size,joined,c\n17,S,2020-01-01,1\n20,M,,1\n,L,2021-02-01,1\n"


def test_motes_columns_shows_what_each_is_and_why(motes_command, tmp_path):
    (tmp_path / "t.csv").write_text(FILE)
    code, out, err = motes_command("columns", "t.csv")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split() == ["column", "kind", "becomes", "missing", "why"]
    assert [line.split()[:2] for line in lines[1:5]] == [
        ["age", "integer"], ["size", "categorical"], ["joined", "date"], ["c", "integer"],
    ]  # fmt: skip
    assert "33%" in lines[1] and "2 distinct whole numbers from 17 to 20" in lines[1]
    assert "3 rows; 3 of 4 columns are learned." in out
    assert "warning: column 'c': constant: kept aside" in err


def test_motes_columns_takes_overrides_and_prints_json(motes_command, tmp_path):
    (tmp_path / "t.csv").write_text(FILE)
    order = 'columns.size={kind="ordered", order=["S", "M", "L"]}'
    out = motes_command.out("columns", "t.csv", "--set", "columns.age=real", "--set", order, "--json")
    message = json.loads(out)
    assert (message["rows"], message["learned"]) == (3, 3)
    assert [column["kind"] for column in message["columns"]] == ["real", "ordered", "date", "integer"]
    assert message["columns"][0] == {
        "name": "age", "kind": "real", "becomes": "2 bins, logarithm, missing", "why": "set by you", "missing": 1 / 3,
        "warnings": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["t.csv", "--set", "columns.agee=real"], 2, "unknown column 'agee'. Did you mean 'age'?"),
        (["t.csv", "--set", "age=real"], 2, "expected columns.NAME=KIND"),
        (["t.csv", "--set", "columns.age"], 2, "expected section.key=value"),
        (["t.csv", "--set", "columns.size=real"], 1, "'t.csv', row 1, column 'size': got 'S'; expected numbers"),
    ],
)
def test_motes_columns_says_what_was_wrong(motes_command, tmp_path, words, code, says):
    (tmp_path / "t.csv").write_text(FILE)
    got, _, err = motes_command("columns", *words)
    assert got == code
    assert says in err
