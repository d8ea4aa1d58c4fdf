"""The command line on tables of any columns: rows are named as they stand in the file, and no file is lost."""

import numpy as np
import pandas as pd
import pytest

from motes.data.files import read_frame
from motes.errors import DataError
from motes.recipes import load_recipe
from motes.table_fitting import fit_table
from motes.table_runs import _log_prob, _possible, read_table_source
from motes.tabular import load

ROWS = 120
TINY = {
    "training.steps": 20,
    "training.batch": 32,
    "training.masks": 0.5,
    "training.validation": 0.0,
    "training.averages": 0,
    "denoiser.components": 1,
    "network.width": 8,
    "network.depth": 1,
    "grid.steps": 4,
}


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, ROWS),
            "income": np.exp(rng.normal(9, 1, ROWS)),
            "city": rng.choice(["Graz", "Linz", "Wien"], ROWS),
            "h": rng.normal(size=ROWS),
        }
    )
    frame.loc[::10, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def run(people, tmp_path_factory):
    """The folder of a model, with its file beside it."""
    folder = tmp_path_factory.mktemp("people")
    people.to_csv(folder / "people.csv", index=False)
    model = fit_table(read_frame(folder / "people.csv"), changes=TINY, source=str(folder / "people.csv"))
    model.save(folder / "model.safetensors")
    return folder


def test_rows_have_the_numbers_of_the_file(people, run, motes_command, tmp_path):
    people.assign(h=people.h.where(people.index != 8, np.inf)).to_csv("inf.csv", index=False)
    people.assign(age=people.age.where(people.index != 8, 20.5)).to_csv("half.csv", index=False)
    people.assign(city=people.city.where(people.index != 3, "Bonn")).to_csv("other.csv", index=False)
    code, _, err = motes_command("train", "inf.csv")
    assert code == 1 and "'inf.csv', row 9, column 'h': inf" in err
    code, _, err = motes_command("train", "half.csv", "--set", "columns.age=integer")
    assert code == 1 and "'half.csv', row 9, column 'age': 20.5 came" in err
    assert not (tmp_path / "runs").exists()
    code, _, err = motes_command("evaluate", run, "other.csv")
    assert code == 1 and "sampling" not in err
    assert "'other.csv', row 4, column 'city': 'Bonn' came" in err


def test_a_held_out_row_that_the_model_cannot_hold_is_impossible_to_it(people, run):
    model = load(run)
    strange = people.assign(city=people.city.where(~people.index.isin([3, 40]), "Bonn"))
    with pytest.raises(DataError, match="'Bonn' came"):
        model.score_samples(strange)
    rows = model.encoder.frame(strange)
    assert np.flatnonzero(~_possible(model, rows)).tolist() == [3, 40]
    far = model.encoder.frame(people.assign(h=people.h.where(people.index != 7, 1e200)))
    assert np.flatnonzero(~_possible(model, far)).tolist() == [7]
    assert np.isneginf(_log_prob(model, rows.take(np.array([3, 40])))).all()


@pytest.mark.parametrize("command", ["sample", "impute", "score"])
def test_no_file_is_replaced_unasked_and_places_are_checked_before_the_work(command, run, motes_command, tmp_path):
    words = [command, run, *([] if command == "sample" else [run / "people.csv"])]
    (tmp_path / "there.csv").write_text("mine")
    (tmp_path / "folder.csv").mkdir()
    before = (run / "people.csv").read_bytes()
    for out, said in {
        "there.csv": "'there.csv' is there already. Choose another --out, or replace it with --overwrite.",
        run / "people.csv": "is there already",
        "nowhere/new.csv": "there is no folder 'nowhere'",
        "folder.csv": "'folder.csv' is a folder",
    }.items():
        code, made, err = motes_command(*words, "--out", out)
        assert (code, made) == (2, "") and said in err and len(err.splitlines()) == 1
    assert (tmp_path / "there.csv").read_text() == "mine" and (run / "people.csv").read_bytes() == before


def test_overwrite_replaces(people, run, motes_command, tmp_path):
    for _ in range(2):
        code, said, err = motes_command("impute", run, run / "people.csv", "--out", "whole.csv", "--overwrite")
        assert code == 0 and "12 cells filled in, 120 rows in whole.csv" in said, err
    assert not pd.read_csv(tmp_path / "whole.csv").isna().any().any()


def test_a_parquet_file_is_read_block_by_block_and_never_whole(people, run, motes_command, monkeypatch):
    """In blocks of 50 the answers are those of one block, and what does not fit is said with its row in the file."""
    people.to_parquet("people.parquet", row_group_size=33)
    people.iloc[:0].to_parquet("none.parquet")
    people.assign(city=people.city.where(people.index != 103, "Bonn")).to_parquet("other.parquet")
    scores, whole = [], []

    def never(path):
        raise AssertionError("a whole file is read")

    for block in (1000, 50):
        monkeypatch.setattr("motes.data.blocks.BLOCK", block)
        if block == 50:
            monkeypatch.setattr("motes.data.blocks.read_frame", never)
        code, _, err = motes_command("score", run, "people.parquet", "--out", "log_prob.csv", "--overwrite")
        assert code == 0, err
        scores.append(pd.read_csv("log_prob.csv").log_prob)
        code, said, err = motes_command("impute", run, "people.parquet", "--out", "whole.parquet", "--overwrite")
        assert code == 0 and "12 cells filled in, 120 rows" in said, err
        whole.append(pd.read_parquet("whole.parquet"))
    monkeypatch.setattr("motes.data.blocks.read_frame", read_frame)
    np.testing.assert_allclose(*scores, rtol=1e-6)
    one, blocks = (rows.drop(columns="income") for rows in whole)
    pd.testing.assert_frame_equal(one, blocks)
    pd.testing.assert_frame_equal(blocks, people.drop(columns="income"), check_dtype=False)
    # The same draws, but for the noise within the cells of discrete columns, on which they depend.
    income = people.income.notna()
    assert (whole[1].income[income] == people.income[income]).all() and whole[1].income.notna().all()
    code, said, err = motes_command("impute", run, "people.parquet", "--out", "twice.parquet", "--draws", 2)
    assert code == 0 and "12 cells filled in, 240 rows" in said, err
    twice = pd.read_parquet("twice.parquet")
    assert twice.draw.tolist() == [1] * 120 + [2] * 120
    pd.testing.assert_frame_equal(twice.iloc[:120].drop(columns="draw"), whole[1])
    assert (twice.income[:120][~income].to_numpy() != twice.income[120:][~income.to_numpy()].to_numpy()).all()
    for words in (
        ("score", run, "other.parquet", "--out", "x.csv"),
        ("impute", run, "other.parquet", "--out", "x.csv"),
    ):
        code, _, err = motes_command(*words)
        assert code == 1 and "'other.parquet', row 104, column 'city': 'Bonn' came" in err
    code, _, err = motes_command("score", run, "none.parquet", "--out", "x.csv")
    assert code == 1 and "'none.parquet' has no rows" in err


def test_what_evaluate_is_asked_for_is_checked_before_the_work(run, motes_command):
    for words, said in {
        ("--target", "citty"): "Did you mean 'city'",
        ("--report", "r.pdf"): "ends in .html",
        ("--report", "nowhere/r.html"): "there is no folder 'nowhere'",
    }.items():
        code, _, err = motes_command("evaluate", run, *words)
        assert code == 2 and said in err and "sampling" not in err


def test_every_misuse_of_given_ends_with_2(run, motes_command):
    for word in ("city=Gratz", "age=40.5", "income=-5", "income=inf", "age=40.2..40.8"):
        code, said, err = motes_command("sample", run, "-n", 3, "--given", word)
        assert (code, said) == (2, "") and err.startswith(f"motes: --given {word}: ")


def test_an_interrupt_before_the_first_step_stands_in_nobodys_way(run, motes_command, monkeypatch, tmp_path):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("motes.table_runs.fit_table", interrupted)
    for _ in range(2):
        code, _, err = motes_command("train", run / "people.csv", "--out", "here")
        assert code == 130 and "interrupted" in err
    assert not list((tmp_path / "here").iterdir())
    monkeypatch.setattr("motes.table_runs.impute_file", interrupted)
    code, _, err = motes_command("impute", run, run / "people.csv", "--out", "whole.csv")
    assert code == 130 and "motes draw" not in err


def test_a_table_of_names_and_times_of_day_is_trained_and_judged(people, motes_command, tmp_path):
    named = people.assign(name=[f"P{i}" for i in range(ROWS)], at=[f"{i % 24:02d}:{i % 60:02d}" for i in range(ROWS)])
    named.to_csv("named.csv", index=False)
    code, _, err = motes_command("columns", "named.csv")
    assert code == 1 and "column 'at'" in err and 'by kind "drop"' in err
    origin = read_table_source("named.csv", load_recipe("table"), 0)
    model = fit_table(origin.learn, changes=TINY, columns={"at": "drop"}, source="named.csv")
    model.save(tmp_path / "model.safetensors")
    code, said, err = motes_command("evaluate", "model.safetensors", "-n", 100, "--report", "r.html")
    assert code == 0, err
    assert "hardly any held-out row has a likelihood" in said and "Classifier" in said


def test_a_target_that_does_not_vary_is_refused_before_the_work(people, run, motes_command, tmp_path):
    people.assign(h=1.0).to_csv("flat.csv", index=False)
    fit_table(read_frame("flat.csv"), changes=TINY, source="flat.csv").save(tmp_path / "model.safetensors")
    code, _, err = motes_command("evaluate", "model.safetensors", "--target", "h")
    assert code == 2 and "'h' had one value in the training" in err and "sampling" not in err
