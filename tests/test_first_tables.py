"""Ordinary tables through every entry point: each works, or says what is wrong and what to do."""

import datetime
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import motes
from motes.data import Blocks, as_frame
from motes.errors import DataError, UsageError
from motes.tables import Schema
from ordinary_tables import REFUSED, TABLES, table
from tables import TINY

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # of columns that are set aside, and of odd text

TINIEST = TINY | {"table.steps": 1}


# --- how a table comes: each way gives the same columns --------------------------------------------------------------


def written(frame, path):
    frame.to_csv(path, index=False)
    return Blocks.of_file(path).whole()


def as_dict(frame):
    plain = frame.astype(object).where(frame.notna(), None)
    return {name: plain[name].tolist() for name in frame}


def as_polars(frame):
    import polars

    return polars.from_pandas(frame.astype({name: object for name in frame if frame[name].isna().all()}))


def as_arrow(frame):
    import pyarrow

    return pyarrow.Table.from_pandas(frame, preserve_index=False)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_the_same_columns_however_it_comes(name, tmp_path):
    frame = table(name)
    expected = Schema.fit(frame, relations=False)
    for made in (as_dict(frame), as_polars(frame), as_arrow(frame), written(frame, tmp_path / "t.csv")):
        found = Schema.fit(made, relations=False)
        assert found.names == expected.names and found.learned == expected.learned, type(made)
        assert [*found.identifiers] == [*expected.identifiers]
        encoded = found.encode(made)
        back = found.decode(encoded.codes, encoded.y, np.full(encoded.y.shape, 0.5), encoded.observed)
        assert len(back) == len(frame)
        for column in found.learned:
            assert back.columns[column].missing.tolist() == frame[column].isna().tolist()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_is_refused_with_the_place(name, motes_command):
    frame = table(name)
    for fit in (motes.fit, motes.DiffusionModel(changes=TINIEST).fit):
        with pytest.raises((DataError, ValueError), match=REFUSED[name][1]):
            fit(frame)
    frame.to_csv("t.csv", index=False)
    code, _, err = motes_command("train", "t.csv")
    assert code == 1 and "'t.csv'" in err and "Traceback" not in err


# --- what is odd about it: it is read, with a word about how, or refused with what to do ------------------------------

MOMENTS = [f"2024-0{1 + k % 9}-{1 + k % 28:02} {k % 24:02}:{k % 60:02}" for k in range(60)]
MONEY = [37 * k % 4001 - 900 for k in range(60)]
FILES = {
    "decimal commas": (
        ["d;x;l", *(f"{1 + k % 28:02}.03.2024;{1 + k % 9}.{k:03},{k % 100:02};ja" for k in range(60))], ["--sep", ";"],
        {"d": "date", "x": "real"}, ["read as dates, %d.%m.%Y", "with the decimal sign ','"],
    ),
    "from a spreadsheet": (
        ["\ufeffid,name\r", *(f'{k},"O""Brien, {"ab"[k % 2]}"\r' for k in range(60))], [],
        {"id": "identifier", "name": "categorical"}, ["set aside"],
    ),
    "times in UTC": (
        ["t", *(f"{moment}:00 UTC" for moment in MOMENTS)], [], {"t": "date"}, ["read as dates, %Y-%m-%d %H:%M:%S UTC"],
    ),
    "times with a zone": (
        ["t", *(f"{moment}:00{'Z' if k % 2 else '+02:00'}" for k, moment in enumerate(MOMENTS))], [],
        {"t": "date"}, ["column 't': times with a time zone are read in UTC"],
    ),
    "bookkeeping": (
        ["x", *(f'"(${-x:,}.50)"' if x < 0 else f'"${x:,}.50"' for x in MONEY)], [], {"x": "real"}, ["without '$'"],
    ),
    "two currencies": (
        ["x,l", *(f'"{"$€"[k % 2]}{x:,}.50",{k % 3}' for k, x in enumerate(MONEY) if x >= 0)], [], {"x": "identifier"},
        ["with the units $, €", "Convert them to one unit"],
    ),
    "units": (["x", *(f"{150 + k % 30} cm" for k in range(60))], [], {"x": "categorical"}, ["Leave 'cm' out"]),
    "telephones": (
        ["p,q", *(f"+43660{1234567 * (k + 1) % 10**7:07},{k % 3}" for k in range(60))], [], {"p": "identifier"},
        ["read as labels: 0, 0x or + in front"],
    ),
    "signs in front": (["x", *(f"{k * k - 900:+}" for k in range(60))], [], {"x": "integer"}, []),
    "many empty columns": (
        [",".join(f"c{k}" for k in range(30)), *("," * 29 + f"{k % 7}" for k in range(60))], [], {"c29": "integer"},
        ["columns 'c0', 'c1', 'c2', 'c3', 'c4' and 24 more: all missing"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_an_odd_file_is_read_and_says_how(name, motes_command):
    lines, options, kinds, says = FILES[name]
    Path("t.csv").write_text("\n".join(lines), newline="")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        code, out, _ = motes_command("columns", "t.csv", *options, "--json")
        _, _, err = motes_command("columns", "t.csv", *options)
    assert code == 0
    assert {column["name"]: column["kind"] for column in json.loads(out)["columns"]}.items() >= kinds.items()
    said = [*dict.fromkeys(str(one.message) for one in caught), *err.splitlines()]
    assert all(any(text in line for line in said) for text in says), said
    assert bool(says) == bool(said) and len(said) <= 3


REFUSED_FILES = {
    "times of day": (["t,x", *(f"{k % 24:02}:30,{k}" for k in range(60))], ["such as minutes", "--set columns.t=drop"]),
    "a title": (["Report 2024", "", "x,y", "1,2"], ["line 3", "'Report 2024'; if it is a title, remove all lines"]),
    "beyond floats": (["x", "1.5", "3e310", "2.5"], ["row 2, column 'x'", "at most 1.8e308"]),
    "one row": (["x,l", "1,u"], ["no column of 't.csv' varies"]),
}


@pytest.mark.parametrize("name", REFUSED_FILES)
def test_an_odd_file_is_refused_with_what_to_do(name, motes_command):
    lines, says = REFUSED_FILES[name]
    Path("t.csv").write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    err = motes_command.error("columns", "t.csv", code=1)
    assert all(text in err for text in says), err
    assert len(err.splitlines()) == 1


HOURS = [datetime.datetime(2024, 1, 1, k % 24, tzinfo=datetime.UTC) for k in range(60)]
OBJECTS = {
    "sparse": (lambda pd: pd.arrays.SparseArray([float(k % 3) for k in range(60)]), None),
    "periods": (lambda pd: pd.period_range("2020-01", periods=60, freq="M"), r"type period\[M\].*to_timestamp"),
    "intervals": (lambda pd: pd.arrays.IntervalArray.from_breaks(range(61)), "type interval.*such as the middle"),
    "durations": (lambda pd: pd.to_timedelta(range(60), "s"), "such as seconds"),
    "complex numbers": (lambda pd: [k + 1j for k in range(60)], "type complex128.*imaginary"),
    "lists": (lambda pd: [[k] for k in range(60)], "row 1, column 'x': .0. of type list"),
    "numbers and text": (lambda pd: [1, "a"] * 30, "row 2, column 'x': 'a' of type str among whole numbers"),
    "times, some with a zone": (
        lambda pd: pd.Series([*HOURS[:30], *(hour.replace(tzinfo=None) for hour in HOURS[30:])], dtype=object),
        "row 1 has a time with a time zone.*row 31 a time without",
    ),
    "times of a zone": (lambda pd: pd.Series(HOURS).dt.tz_convert("Europe/Vienna"), None),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_an_odd_column_of_pandas_comes_back_or_says_what_to_do(name):
    make, says = OBJECTS[name]
    frame = pd.DataFrame({"x": make(pd)})
    if says is not None:
        with pytest.raises(DataError, match=says):
            Schema.fit(frame)
        assert Schema.fit(frame.assign(y=np.arange(60.0) ** 2), {"x": "drop"}).learned == ("y",)
        return
    schema = Schema.fit(frame)
    encoded = schema.encode(frame)
    back = schema.decode(encoded.codes, encoded.y, np.full(encoded.y.shape, 0.5), encoded.observed).like(frame)
    assert back.dtypes.equals(frame.dtypes) and len(back) == 60


# --- what is done with it --------------------------------------------------------------------------------------------


def samples(model, frame):
    rows = model.sample(30)
    assert [*rows] == [*frame] and len(rows) == 30
    schema = model.schema
    for column in schema.learned:
        labels = getattr(schema.kinds[schema.learned.index(column)], "labels", None)
        assert labels is None or set(rows[column].dropna().astype(str)) <= set(map(str, labels))
        assert frame[column].isna().any() or rows[column].notna().all()
    numbered = model.sample(5, placeholders=True)
    for column in schema.identifiers:
        assert rows[column].isna().all()
        assert numbered[column].is_unique and not set(numbered[column]) & set(frame[column].dropna())


def scores(model, frame):
    found = model.score_samples(frame)
    assert found.shape == (len(frame),) and np.isfinite(found).all()


def filled(model, frame):
    whole = model.impute(frame)
    assert [*whole] == [*frame]
    for column in frame:
        known = frame[column].notna()
        if column in model.schema.learned:
            assert whole[column].notna().all()
        pd.testing.assert_series_equal(whole.loc[known, column], frame.loc[known, column], check_dtype=False)


def predicted(model, frame):
    schema = model.schema
    column = schema.learned[-1]
    found = model.predict(frame.drop(columns=column) if len(frame.columns) > 1 else frame, column)
    assert len(found) == len(frame) and not found.isna().any().any()


def evaluated(model, frame, tmp_path):
    found = model.evaluate(frame, n=100)
    assert found.headline and len(found.entries) >= len(model.schema.learned)
    page = model.report(tmp_path / "r.html", frame, n=100).read_text()
    assert page.startswith("<!doctype html>")


def diagnosed(model, frame):
    with pytest.raises(UsageError, match="got only the training rows"):
        model.diagnose(frame)
    some = frame.iloc[1:]  # which are other rows, of which one half is looked at
    if len(frame) < 25:
        with pytest.raises(UsageError, match="expected at least"):
            model.diagnose(some)
    else:
        assert model.diagnose(some).columns == model.schema.learned


def kept(model, frame, tmp_path):
    model.save(tmp_path / "m.safetensors")
    pd.testing.assert_frame_equal(motes.load(tmp_path / "m.safetensors").sample(5), model.sample(5))


def estimated(frame):
    one = motes.DiffusionModel(changes=TINIEST, random_state=0).fit(frame)
    assert [*one.sample(4)] == [*frame] and np.isfinite(one.score(frame))
    assert [*one.transform(frame)] == [*frame]


def commands(frame, motes_command):
    frame.to_csv("t.csv", index=False)
    column = Schema.fit(frame, relations=False).learned[0]
    tiny = [word for key, value in TINIEST.items() for word in ("--set", f"{key}={str(value).lower()}")]
    asked = [
        ("train", "t.csv", "--recipe", "table", "--out", "run", *tiny),
        ("sample", "run", "-n", "20", "--out", "s.csv"),
        ("sample", "run", "-n", "20", "--placeholders", "--out", "p.csv"),
        ("score", "run", "t.csv", "--out", "scores.csv"),
        ("impute", "run", "t.csv", "--out", "whole.csv"),
        ("predict", "run", "t.csv", "--column", column, "--out", "predicted.csv"),
        ("evaluate", "run", "-n", "100", "--report", "r.html", "--show-rows"),
        ("plot", "run", "--overwrite"),
        ("diagnose", "run", "t.csv"),
    ]
    if len(frame) < 20:
        assert f"'t.csv' has {len(frame)} rows; expected at least 20" in motes_command.error(*asked[0], code=1)
        return
    for words in asked:
        code, _, err = motes_command(*words, "--quiet")
        assert "Traceback" not in err and "should not happen" not in err
        assert code == 0 or (words[0] == "diagnose" and "expected at least" in err), (words, err)
    assert [*pd.read_csv("s.csv")] == [*pd.read_csv("whole.csv")] == [*frame]


@pytest.mark.slow(but=["titanic"])
@pytest.mark.parametrize("name", ["titanic", "survey"])
def test_a_table_is_learned_drawn_and_filled_in(name):
    frame = table(name)
    model = motes.fit(frame, "table", changes=TINIEST, verbose=False)
    for check in (samples, scores, filled):
        check(model, frame)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["crm", "only dates", "two rows", "odd names"])
def test_a_table_goes_through_the_command_line_and_the_estimator(name, motes_command):
    commands(table(name), motes_command)
    estimated(table(name))


@pytest.mark.long
@pytest.mark.parametrize("name", TABLES)
def test_a_table_goes_through_every_entry_point(name, tmp_path, motes_command):
    frame = table(name)
    model = motes.fit(frame, "table", changes=TINIEST, verbose=False)
    for check in (samples, scores, filled, predicted, diagnosed):
        check(model, frame)
    evaluated(model, frame, tmp_path)
    kept(model, frame, tmp_path)
    estimated(frame)
    commands(frame, motes_command)
    for made in (as_dict(frame), as_polars(frame), as_arrow(frame), as_frame(frame)):
        assert len(motes.fit(made, "table", changes=TINIEST, verbose=False).sample(4)) > 0
