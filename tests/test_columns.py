"""`motes columns`: what each column of a file is taken for, and why."""

import json

import pytest

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
    code, out, _ = motes_command("columns", "t.csv", "--set", "columns.age=real", "--set", order, "--json")
    assert code == 0
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
        (["none.csv"], 2, "there is no file 'none.csv'"),
        (["t.txt"], 2, "expected a name that ends in .csv, .tsv"),
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


def test_motes_columns_loads_neither_jax_nor_what_it_does_not_read():
    import subprocess
    import sys

    heavy = {"jax", "pandas", "polars", "pyarrow", "narwhals", "scipy.stats", "sklearn"}
    code = f"import sys, motes.tables, motes.data.frames; print([*{heavy} & sys.modules.keys()])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
