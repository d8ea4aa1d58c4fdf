"""What a column is: inferred with its evidence, overridden with helpful errors, and shown by `motes columns`."""

import json

import numpy as np
import pandas as pd
import pytest

from motes.data.columns import infer
from motes.data.encoder import Encoder
from motes.data.frames import as_frame
from motes.errors import DataError, UsageError

RNG = np.random.default_rng(0)
NORMAL = RNG.standard_normal(1000)


def inferred(values, **override):
    return infer(as_frame(pd.DataFrame({"a": values})), {"a": override} if override else None)[0]


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        (NORMAL, "real", "numbers from -3"),
        (np.where(NORMAL > 0, 5, -5) + NORMAL / 4, "real", "numbers from"),
        (NORMAL + 50, "real", "numbers from"),  # all above 0, and no logarithm is needed
        (np.exp(NORMAL), "positive", "all above 0, skewness .*: logarithm"),
        (np.where(NORMAL > 0.5, np.exp(NORMAL), 0), "positive", "none below 0, 0 in [67].%, skewness"),
        (np.where(NORMAL > -0.5, np.exp(NORMAL), 0), "positive", "none below 0, 0 in 3[0-9]%, skewness"),
        (RNG.standard_t(1.5, 1000), "heavy", "excess kurtosis"),
        (RNG.random(1000), "bounded", "between 0 and 1"),
        (RNG.random(1000) / 2, "positive", "all above 0, up to 0.5"),
        (RNG.random(1000) - 0.5, "flat", "numbers from -0.4.* to 0.4.*, as if cut off at both ends"),
        (NORMAL + 2, "real", "numbers from -1"),
        (np.abs(NORMAL), "positive", "all above 0, up to 3"),
        (np.round(NORMAL, 2), "real", "numbers from -3.*, 2 decimals"),
        (RNG.integers(17, 91, 1000), "integer", "74 distinct whole numbers from 17 to 90$"),
        (RNG.integers(17, 91, 1000).astype(float), "integer", "74 distinct whole numbers from 17 to 90$"),
        (RNG.integers(1, 50, 1000) * 100, "integer", "49 distinct .* from 100 to 4900 in steps of 100"),
        ([10, 30, 50], "integer", "3 distinct whole numbers from 10 to 50$"),  # of three rows a step says nothing
        (NORMAL > 0, "boolean", r"true in 4\d%|true in 5\d%"),
        (list("abca"), "categorical", "3 labels"),
        (pd.Categorical(list("abca"), ordered=True), "ordered", "3 labels, in order"),
        (pd.to_datetime(["2020-01-01", "2021-05-17"]), "date", "dates from 2020-01-01.* to 2021-05-17"),
    ],
)  # fmt: skip
def test_a_kind_is_inferred_with_its_evidence(values, kind, why):
    column = inferred(values)
    assert column.kind == kind
    assert pd.Series([column.why]).str.match(why).all(), column.why


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([3, 3, 3], "constant: kept aside"),
        ([None, None], "all missing: kept aside"),
        ([0.1 + 0.2, 0.3, 0.3], "constant: kept aside"),  # but for rounding
        ([1.5, 2.5, None, None, None], "60% missing"),
        ([1.5, 2.5, 1e308], "reaches 1e.308"),
        ([f"name {k}" for k in range(30)], "every row has a label of its own"),
        ([*map(str, range(30)), "n/k"], "every row|numbers but for 1 of its labels, such as 'n/k' in row 31"),
        ([*map(str, range(30)), "n/k", "1"], "numbers but for 1 of its labels, such as 'n/k' in row 31"),
        ([*(f"2020-02-{k}" for k in range(10, 31))], "dates but for 1 of its labels, such as '2020-02-30' in row 21"),
        ([f"{k},5" for k in range(30)], "numbers with ',' for the decimal point"),
        ([*range(7, 37)], 'a number for each row: leave it out, by kind "drop"'),
        (np.where(NORMAL > 0.2, NORMAL, 0.2), None),  # a value that many rows hold is set apart
        (np.exp(np.where(NORMAL > 0.2, NORMAL, 0.2)), None),
        ([*NORMAL[:20], *[0.2] * 10], "0.2 in 33% of the rows"),  # of few rows none is
        (np.where(NORMAL > 0.2, NORMAL, 0.2).round(2), None),  # a value of rounded numbers is set apart
        (np.where(NORMAL > -0.5, np.exp(NORMAL), 0), None),  # zeros below a positive column are dealt with
        (NORMAL, None),
    ],
)
def test_what_may_be_wrong_is_said(values, says):
    warnings = inferred(values).warnings
    if says is None:
        assert warnings == ()
    else:
        assert len(warnings) == 1
        assert pd.Series(warnings).str.match(says).all(), warnings


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("reel", "column 'a': unknown kind 'reel'. Did you mean 'real'"),
        (3, "column 'a' = 3; expected a kind"),
        ({"low": 0}, "expected a kind"),
        ({"kind": "real", "low": 0}, "kind 'real' has no option 'low'; it has decimals"),
        ({"kind": "bounded", "lo": 0}, "kind 'bounded' has no option 'lo'; it has low, high, decimals"),
        ({"kind": "bounded", "low": "x"}, "low = 'x'; expected a finite number"),
        ({"kind": "bounded", "low": 2}, "low = 2 and high = 1; expected low < high"),
        ({"kind": "integer", "low": 0.5}, "low = 0.5; expected a whole number"),
        ({"kind": "integer", "step": 0}, "step = 0; expected a whole number of at least 1"),
        ({"kind": "ordered", "order": "SML"}, "order = 'SML'; expected two labels or more"),
        ({"kind": "ordered", "order": ["S", "S"]}, "expected two labels or more, each once"),
    ],
)
def test_an_override_that_cannot_be_followed_says_why(override, says):
    with pytest.raises(UsageError, match=says):
        infer(as_frame(pd.DataFrame({"a": [1.5, 2.5]})), {"a": override})


@pytest.mark.parametrize(
    ("values", "override", "says"),
    [
        ([1.5, 2.0], "integer", "row 1, column 'a': 1.5 came; expected a whole number"),
        ([1.5, -2.0], "positive", "row 2, column 'a': -2.0 came; expected a number above 0"),
        ([1.5, 0.5], "bounded", "row 1, column 'a': 1.5 came; expected a number above 0 and below 1"),
        (["x", "y"], "real", "row 1, column 'a': 'x' came; expected numbers, and this is text"),
        (["x", "y", "z"], "boolean", "column 'a' of the data has 3 values; a boolean column has two"),
        (["x", "y"], {"kind": "ordered", "order": ["x", "z"]}, "row 2, column 'a': 'y' came; .*one of the 1 labels"),
        ([1, 2, 30], {"kind": "integer", "low": 0, "high": 10}, "row 3, column 'a': 30 came; .*from 0 to 10"),
        ([1, 2, 30], {"kind": "integer", "low": 2}, "row 1, column 'a': 1 came; .*from 2"),
        ([0, 2, 5] * 9, {"kind": "integer", "step": 2}, "row 3, column 'a': 5 came; expected a multiple of 2"),
        (["x", "y"], "date", "row 1, column 'a': 'x' came; expected a date such as"),
        ([1, 2], "date", "row 1, column 'a': 1 came; expected dates, and this is whole numbers"),
    ],
)  # fmt: skip
def test_cells_that_do_not_fit_an_override_are_named(values, override, says):
    with pytest.raises(DataError, match=says):
        Encoder.fit(pd.DataFrame({"a": values}), {"a": override})


@pytest.mark.parametrize(
    ("values", "override", "new"),
    [
        (["S", "L", "M", "L"], {"kind": "ordered", "order": ["S", "M", "L"]}, ["S", "M", "L"]),
        ([1, 2, 3, 2], "categorical", [3, 1, 2]),
        ([0, 1, 1, 0], "boolean", [1, 0, 1]),
        (["no", "yes", "yes", "no"], "boolean", ["yes", "no"]),
        ([True, False, True], "categorical", [True, False]),
        ([1, 2, 3, 2], "real", [2.5, -7.0]),
        ([10, 20, 30] * 7, {"kind": "integer", "step": 1}, [11, 12, 30]),
        ([1, 2, 3], {"kind": "integer", "low": 0, "high": 100}, [0, 50, 100]),
        ([1, 2, 300], {"kind": "integer", "low": -5}, [-5, 0, 10_000]),
        ([-3.0, 4.0, 20.0], {"kind": "bounded", "low": -5, "high": 25}, [-4.9, 0.0, 24.9]),
        ([0.0, 0.5, 1.0], "bounded", [0.0, 0.25, 1.0]),
        ([1.0, 4.5, 20.0], "positive", [1e-9, 1e9]),
        ([-1.0, 4.5, 20.0], "heavy", [-1e200, 1e200]),
        (["2020-01-01", "2020-01-05", None], "date", ["2019-12-31", "2030-01-01"]),
    ],
)  # fmt: skip
def test_an_override_is_followed(values, override, new):
    frame = pd.DataFrame({"a": values})
    encoder = Encoder.fit(frame, {"a": override})
    assert encoder.columns[0].why == "as you say"
    rows = pd.DataFrame({"a": new})
    encoded = encoder.encode(rows)
    assert np.isfinite(encoded.z).all() and np.isfinite(encoded.log_det).all()
    back = encoder.decode(encoded.z).columns["a"].cells()
    if override == "date":
        back = [str(cell.date()) for cell in back]
    assert back == (pytest.approx(new) if isinstance(new[0], float) else new)


def test_labels_of_an_order_that_were_never_seen_are_said():
    override = {"kind": "ordered", "order": ["S", "M", "L", "XL"]}
    encoder = Encoder.fit(pd.DataFrame({"a": ["S", "L", "M"]}), {"a": override})
    assert encoder.warnings == ["column 'a': never seen, so never given back: XL."]
    # In the order that was given: the lowest z is the first label.
    assert encoder.decode([[-9.0], [9.0]]).columns["a"].cells() == ["S", "L"]


# --- the command line -----------------------------------------------------------------------------------------------

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
    said = json.loads(out)
    assert (said["rows"], said["width"]) == (3, 3)
    assert [column["kind"] for column in said["columns"]] == ["real", "ordered", "date", "integer"]
    assert said["columns"][0] == {
        "name": "age", "kind": "real", "becomes": "as it is", "why": "as you say", "missing": 1 / 3, "warnings": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["none.csv"], 2, "there is no file 'none.csv'"),
        (["t.txt"], 2, "expected a name that ends in .csv, .tsv"),
        (["t.csv", "--set", "columns.agee=real"], 2, "unknown column 'agee'. Did you mean 'age'?"),
        (["t.csv", "--set", "age=real"], 2, "expected columns.NAME=KIND"),
        (["t.csv", "--set", "columns.age"], 2, "expected section.key=value"),
        (["t.csv", "--set", "columns.size=real"], 1, "'t.csv', row 1, column 'size': 'S' came; expected numbers"),
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

    code = (
        "import sys, motes.data.encoder; print([m for m in ('jax', 'pandas', 'polars', 'pyarrow') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
