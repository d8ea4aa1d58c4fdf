"""Small tables by name: what is in them, and that a name goes wherever a file of rows does."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

import motes
from motes.data.datasets import DATASETS, read_dataset
from motes.data.files import Blocks, read_frame
from motes.evaluation.sources import read_points, source_of
from motes.loading import load
from tables import TINY, untrained

WORDS = [f"--set={key}={json.dumps(value)}" for key, value in (TINY | {"table.steps": 2}).items()]


def test_penguins_are_those_of_palmerpenguins():
    frame = motes.dataset("penguins")
    assert frame.shape == (344, 8)
    assert frame.species.value_counts().to_dict() == {"Adelie": 152, "Gentoo": 124, "Chinstrap": 68}
    assert frame.isna().sum().to_dict() == dict.fromkeys(frame.columns, 0) | dict.fromkeys(frame.columns[2:6], 2) | {
        "sex": 11
    }
    assert frame.body_mass_g.mean() == pytest.approx(4201.754, abs=1e-3)  # as the package's own documents have it
    assert frame.bill_length_mm.mean() == pytest.approx(43.92193, abs=1e-5)


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "penguins"])
def test_scikit_learns_tables_are_whole_with_labels_for_classes(name):
    options = {"scaled": False} if name == "diabetes" else {}
    theirs, ours = getattr(datasets, f"load_{name}")(**options), motes.dataset(name)
    np.testing.assert_array_equal(ours.iloc[:, :-1].to_numpy(), theirs.data)
    target = ours.iloc[:, -1]
    if name == "diabetes":
        np.testing.assert_array_equal(target, theirs.target)
    elif name == "digits":
        words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
        np.testing.assert_array_equal([words.index(word) for word in target], theirs.target)
    else:
        np.testing.assert_array_equal(target, theirs.target_names[theirs.target])


def test_the_list_says_what_is_there(motes_command):
    code, message, err = motes_command("datasets")
    assert (code, err) == (0, "")
    for name, one in DATASETS.items():
        frame = read_dataset(name)
        assert (len(frame), len(frame.names)) == (one.rows, one.columns)
        assert one.target in frame.names
        assert all(column.isidentifier() for column in frame.names)  # which no shell wants in quotes
        line = next(line for line in message.splitlines() if line.startswith(f"{name} "))
        assert line.replace(",", "").split()[1:4] == [str(one.rows), str(one.columns), one.target]


def test_no_shape_and_no_data_set_have_one_name():
    assert not set(motes.data.SHAPES) & set(DATASETS)


@pytest.mark.slow
def test_nothing_is_loaded_or_opened_before_a_table_is_read(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c,d,e\n1,1.5,x,true,2020-01-01\n2,,y,,\n")
    code = (
        "import sys, motes.tables; from motes.data import read_frame as read; "
        "heavy = 'sklearn', 'scipy.stats', 'pandas', 'polars', 'pyarrow', 'narwhals', 'jax'; "
        "seen = lambda: [name for name in heavy if name in sys.modules]; "
        "print(seen()); read('penguins'); read('t.csv'); print(seen()); read('iris'); print('sklearn' in seen())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.split("\n") == ["[]", "['pyarrow', 'narwhals']", "True", ""]


def test_without_pandas_the_command_that_works_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(motes.errors.UsageError, match=r"pip install pandas\. `motes train penguins` works without it"):
        motes.dataset("penguins")


# --- names that are none ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_name_wins_over_whatever_is_called_so_in_the_folder(motes_command, tmp_path):
    (tmp_path / "iris").write_text("a,b\n1,2\n")
    (tmp_path / "wine").mkdir()
    (tmp_path / "penguins.csv").write_text("a,b\n1,2\n3,5\n")
    for name, rows in (("iris", "150 rows"), ("wine", "178 rows"), ("penguins.csv", "2 rows")):
        assert rows in motes_command.out("columns", name)
    assert read_points("iris", motes.load_recipe("default", {"data.label": "species"}), 0).training.labels is not None
    code, message, _ = motes_command("train", "--help")
    assert code == 0 and "A name takes precedence over a file of that name." in " ".join(
        message.replace("│", " ").split()
    )


# --- where a file goes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of penguins, learned in no time."""
    from motes import cli

    folder = tmp_path_factory.mktemp("penguins")
    with pytest.MonkeyPatch.context() as patch, untrained():
        patch.chdir(folder)
        patch.setattr("motes.cli.run.SAMPLES", 200)
        assert cli._run(["train", "penguins", "--no-figures", "-q", *WORDS], debug=True) == 0
    return folder / "runs" / "penguins"


@pytest.mark.slow
def test_a_run_remembers_the_name(run, motes_command):
    model = load(run)
    assert model.source == "penguins"
    assert "motes train penguins --recipe recipe.toml" in (run / "recipe.toml").read_text()
    origin = source_of(model)
    assert origin.known and len(origin.training) + len(origin.held_out) == 344
    assert f"{len(origin.held_out)} held-out rows and" in motes_command.out("evaluate", run, "-n", 200, "-q")


@pytest.mark.slow
def test_every_command_that_takes_rows_takes_a_name(run, motes_command):
    assert "344 rows in s.csv" in motes_command.out("score", run, "penguins", "--out", "s.csv", "-q")
    code, message, err = motes_command("impute", run, "penguins", "--out", "whole.csv", "-q")
    assert code == 0 and "19 entries filled in, 344 rows in whole.csv" in message, err
    whole = pd.read_csv("whole.csv")
    assert whole.notna().all(axis=None)
    assert whole.flipper_length_mm.dtype.kind == "i"  # 181, as in the table, and not 181.0
    assert len(motes_command.out("predict", run, "penguins", "--column", "species", "-q").splitlines()) == 345
    assert Blocks.of_file("iris").rows == len(read_frame("iris")) == 150


# --- as points --------------------------------------------------------------------------------------------------------


def test_numbers_of_a_data_set_are_points_and_its_labels_are_classes(tmp_path):
    recipe = motes.load_recipe("default", {"data.label": "species"})
    source = read_points("iris", recipe, 3)
    assert source.training.x.shape[1] == 4 and len(source.training) + len(source.held_out) == 150
    assert set(source.training.labels) == {"setosa", "versicolor", "virginica"}
    motes.dataset("iris").to_csv(tmp_path / "iris.csv", index=False)
    file = read_points(str(tmp_path / "iris.csv"), recipe, 3)
    np.testing.assert_array_equal(file.training.x, source.training.x)
    np.testing.assert_array_equal(file.training.labels, source.training.labels)
    assert file.training.columns == source.training.columns
