"""Compressed text, JSON lines, workbooks, databases, queries and standard input: read as the same rows, or refused."""

import gzip
import io
import json
import sqlite3
import sys
from datetime import datetime

import numpy as np
import openpyxl
import pytest

import motes
from motes.data import TextOptions, as_frame, read_frame, write_frame
from motes.data.files import Blocks
from motes.errors import DataError, UsageError

ROWS = 40
TINY = [f"--set=table.{key}" for key in ("steps=10", "width=16", "depth=1", "components=1")]


def people():
    rng = np.random.default_rng(0)
    return {
        "age": rng.integers(18, 80, ROWS).tolist(),
        "income": [None if k % 7 == 0 else round(float(x), 2) for k, x in enumerate(rng.lognormal(9, 0.5, ROWS))],
        "city": rng.choice(["Graz", "Linz", "Wien"], ROWS).tolist(),
        "day": [datetime(2024, 1, 1 + k % 28).date() for k in range(ROWS)],
    }


def write(path, columns=None):
    """Write rows to a file of any type that motes reads."""
    columns = columns or people()
    rows = list(zip(*columns.values(), strict=True))
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in (list(columns), *rows):
            book.active.append(row)
        book.save(path)
    elif path.suffix == ".duckdb":
        duckdb = pytest.importorskip("duckdb")
        table = as_frame(columns).to_arrow()
        with duckdb.connect(path) as base:
            base.register("made", table)
            base.execute("CREATE TABLE people AS SELECT * FROM made")
    elif path.suffix in (".db", ".sqlite"):
        base = sqlite3.connect(path)
        base.execute(f"CREATE TABLE people ({', '.join(columns)})")
        texts = [[str(cell) if hasattr(cell, "year") else cell for cell in row] for row in rows]
        base.executemany(f"INSERT INTO people VALUES ({', '.join('?' * len(columns))})", texts)
        base.commit()
        base.close()
    else:
        write_frame(path, as_frame(columns))
    return path


@pytest.mark.parametrize("suffix", [".csv.gz", ".tsv.gz", ".jsonl", ".xlsx", ".db", ".duckdb"])
def test_the_same_rows_are_read_from_each_type_of_file(suffix, tmp_path):
    path = write(tmp_path / f"people{suffix}")
    frame = read_frame(path)
    assert {name: series.cells() for name, series in frame.columns.items()} == people()
    assert frame.columns["day"].days and frame.columns["age"].type == "whole"
    assert Blocks.of_files(str(path)).rows == ROWS


def test_the_same_rows_give_the_same_bytes(tmp_path):
    one, other = (write(tmp_path / f"{name}.csv.gz").read_bytes() for name in ("one", "other"))
    assert one == other and gzip.decompress(one).startswith(b"age,income")


def sheet(*rows, merged=None):
    def make(path):
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        if merged:
            book.active.merge_cells(merged)
        book.save(path)

    return make


def text(content):
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


PACKED = gzip.compress(b"a,b\n" + b"".join(b"%d,%d\n" % (k, k * k) for k in range(5000)), mtime=0)
UGLY = {
    "merged.xlsx": (sheet(["a", "money", None], [1, 2, 3], merged="B1:C1"), "the cells B1:C1 are merged"),
    "entries.xlsx": (sheet(["a", "b"], [1, 2], [None, 3], merged="A2:A3"), "the cells A2:A3 are merged"),
    "formula.xlsx": (sheet(["a", "b"], [1, "=A2*2"]), r"cell B2 holds the formula =A2\*2 without its value"),
    "error.xlsx": (sheet(["a", "b"], [1, "#DIV/0!"]), "cell B2 holds the error #DIV/0!"),
    "mixed.xlsx": (sheet(["a"], [1], [2], ["three"]), "row 4, column 'a': 'three' of type str among whole numbers"),
    "title.xlsx": (sheet(["Report"], [], ["a", "b"], [1, 2]), "row 2 is empty, and rows follow"),
    "nameless.xlsx": (sheet(["a", None], [1, 2]), "cell B1 is empty; expected the name of a column"),
    "year.xlsx": (sheet(["a", 2019], [1, 2]), "cell B1 holds 2019; expected the name"),
    "twice.xlsx": (sheet(["a", "a"], [1, 2]), "cell B1 repeats the name 'a'"),
    "empty.xlsx": (sheet(), "is empty"),
    "fake.xlsx": (text("a,b"), "not an Excel workbook"),
    "nested.jsonl": (text('{"a": 1}\n{"a": {"b": 2}}\n'), "line 2 of .*, key 'a': got {'b': 2}"),
    "mixed.jsonl": (text('{"a": 1}\n{"a": "x"}\n'), "row 2, column 'a': 'x' of type str among whole numbers"),
    "cut.jsonl": (text('{"a": 1}\n{"a": \n'), "line 2 of .* is not JSON"),
    "list.jsonl": (text('[{"a": 1}]'), "line 1 of .*expected a JSON object"),
    "twice.jsonl": (text('{"a": 1, "a": 2}'), "line 1 of .*key 'a' occurs twice"),
    "deep.jsonl": (text('{"a": 1}\n{"a": ' + "[" * 100_000 + "\n"), "line 2 of .*nested too deeply"),
    "half.jsonl": (text('{"a": "x"}\n{"a": "\\ud800"}\n'), r"row 2, column 'a': .*lone surrogate .ud800"),
    "name.jsonl": (text('{"a\\ud800": 1}\n'), "the name of column 1: .*lone surrogate"),
    "empty.jsonl": (text(""), "is empty"),
    "cut.csv.gz": (text(PACKED[:-2000]), r"is damaged after line \d,\d\d\d"),
    "plain.csv.gz": (text("a,b\n1,2\n"), "is not a gzip file"),
    "packed.csv": (text(PACKED), "which is a gzip file.*end in .gz"),
    "other.duckdb": (text("a,b\n1,2\n"), "cannot be opened as a database"),
    "empty.db": (text(""), "has no tables"),
}  # fmt: skip


@pytest.mark.parametrize("name", UGLY)
def test_an_ugly_file_is_refused_with_the_place(name, tmp_path):
    make, says = UGLY[name]
    make(tmp_path / name)
    with pytest.raises(DataError, match=says) as error:
        read_frame(tmp_path / name)
    assert name in str(error.value)


def test_times_with_a_zone_are_read_in_utc_with_a_warning(tmp_path):
    (tmp_path / "t.jsonl").write_text(
        '{"t": "2024-05-01T12:00:00+02:00"}\n{"t": null}\n{"t": "2024-05-01T12:00:00Z"}\n'
    )
    with pytest.warns(UserWarning, match="column 't': times with a time zone are read in UTC"):
        cells = read_frame(tmp_path / "t.jsonl").columns["t"].cells()
    assert cells == [datetime(2024, 5, 1, 10), None, datetime(2024, 5, 1, 12)]


def test_one_sheet_of_several_is_chosen_by_name_and_remembered(tmp_path):
    book = openpyxl.Workbook()
    for title in ("2023", "2024"):
        page = book.create_sheet(title)
        for row in (["a", "b"], [1, int(title)], [2, None]):
            page.append(row)
    book.save(tmp_path / "years.xlsx")
    with pytest.raises(UsageError, match=r"entries in 2 sheets: '2023', '2024'. Choose one with --sheet"):
        read_frame(tmp_path / "years.xlsx")
    with pytest.raises(UsageError, match=r"no entries in a sheet '2025'. Sheets: 'Sheet', '2023', '2024'"):
        read_frame(tmp_path / "years.xlsx", TextOptions(sheet="2025"))
    frame = read_frame(tmp_path / "years.xlsx", TextOptions(sheet="2024"))
    assert frame.columns["b"].cells() == [2024, None] and frame.text.sheet == "2024"
    with pytest.raises(UsageError, match="expected an Excel file"):
        read_frame("penguins", TextOptions(sheet="2024"))


QUERY = "SELECT city, count(*) AS n, sum(age) AS years FROM {} GROUP BY city ORDER BY city"


@pytest.mark.parametrize("suffix", [".db", ".duckdb", ".parquet"])
def test_a_query_reads_and_never_writes(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / f"people{suffix}")
    table, before = "rows" if suffix == ".parquet" else "people", path.read_bytes()
    frame = read_frame(path, TextOptions(sql=QUERY.format(table)))
    assert frame.columns["city"].cells() == ["Graz", "Linz", "Wien"]
    assert sum(frame["years"]) == sum(people()["age"]) and frame.columns["years"].type == "whole"
    for sql in (f"DELETE FROM {table}", f"COPY {table} TO 'x.csv'", "VACUUM INTO 'x.db'", "ATTACH 'x.db' AS x", "SELEC",
                f"SELECT nope FROM {table}", "SELECT * FROM 'other.csv'", "CREATE TABLE x (a)", "",
                "SET threads = 1", "PRAGMA user_version = 1", "SELECT 1; SELECT 2", "SELECT '\ud800'"):  # fmt: skip
        with pytest.raises(UsageError, match=f"the query of .*people{suffix}'"):
            read_frame(path, TextOptions(sql=sql))
    assert [one.name for one in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


def test_each_reading_of_a_query_returns_the_same_bits(tmp_path):
    """With two threads, five readings differ in sums or in the order of rows in more than 99 of 100 cases."""
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(tmp_path / "waves.duckdb") as base:
        base.execute("CREATE TABLE rows AS SELECT range % 7 AS k, sin(range) AS x FROM range(600000)")
    query = TextOptions(sql="SELECT k, avg(x) AS mean, stddev(x) AS sd FROM rows GROUP BY k")
    readings = [read_frame(tmp_path / "waves.duckdb", query) for _ in range(5)]
    assert len({tuple(frame[name].tobytes() for name in frame.names) for frame in readings}) == 1


@pytest.mark.parametrize("moment", ["timestamp 'infinity'", "timestamptz '-infinity'", "date 'infinity'"])
def test_an_infinite_date_is_refused_with_its_row(moment, tmp_path):
    with pytest.importorskip("duckdb").connect(tmp_path / "d.duckdb") as base:
        base.execute(f"CREATE TABLE t AS SELECT {moment} AS day, 1 AS n")
    column = read_frame(tmp_path / "d.duckdb").columns["day"]
    with pytest.raises(DataError, match=r"d.duckdb', row 1, column 'day': got a date in the year .*from 1 to 9999"):
        column.check_known()


def test_a_database_of_several_tables_needs_a_query(tmp_path):
    path = write(tmp_path / "shop.db")
    base = sqlite3.connect(path)
    base.execute("CREATE TABLE orders (n)")
    base.close()
    with pytest.raises(UsageError, match=r"has 2 tables: orders, people\. Choose one.* --sql"):
        read_frame(path)


@pytest.mark.parametrize(("package", "name"), [("openpyxl", "t.xlsx"), ("duckdb", "t.duckdb")])
def test_a_missing_package_is_named_with_its_command(package, name, tmp_path, monkeypatch):
    (tmp_path / name).write_text("?")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError, match=f"needs {package}, which is not installed: pip install {package}"):
        read_frame(tmp_path / name)


def pipe(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


@pytest.mark.slow
def test_a_model_is_trained_and_asked_through_pipes_and_other_files(motes_command, monkeypatch, tmp_path):
    rows = write(tmp_path / "people.csv").read_bytes()
    pipe(monkeypatch, rows)
    assert "40 rows; 4 of 4 columns are learned" in motes_command.out("columns", "-")
    pipe(monkeypatch, rows)
    motes_command.out("train", "-", "--no-figures", "-q", *TINY)
    assert "motes train - --recipe" in (tmp_path / "runs/stdin/recipe.toml").read_text()
    pipe(monkeypatch, rows)
    motes_command.out("score", "runs/stdin", "-", "--out", "piped.jsonl")
    motes_command.out("score", "runs/stdin", str(write(tmp_path / "people.xlsx")), "--out", "sheet.jsonl")
    piped, of_sheet = ((tmp_path / f"{name}.jsonl").read_text().splitlines() for name in ("piped", "sheet"))
    assert piped == of_sheet and len(piped) == ROWS and json.loads(piped[0])["log_prob"] < 0
    motes_command.out("impute", "runs/stdin", str(write(tmp_path / "people.db")), "--out", "whole.csv.gz")
    assert not read_frame(tmp_path / "whole.csv.gz").columns["income"].missing.any()
    assert "'standard input', is not here. Pass its rows" in motes_command.error("evaluate", "runs/stdin")


def test_standard_input_without_rows_is_refused(motes_command, monkeypatch):
    pipe(monkeypatch, b"")
    assert "'standard input' is empty; expected rows and columns" in motes_command.error("columns", "-", code=1)
    assert "several processes cannot read" in motes_command.error("train", "-", "--processes", "2")


@pytest.mark.slow
def test_a_file_of_any_type_trains_by_its_name_in_python(tmp_path):
    tiny = {
        "table.steps": 2,
        "table.width": 16,
        "table.depth": 1,
        "table.components": 1,
        "text.sql": "SELECT * FROM people",
    }
    model = motes.fit(write(tmp_path / "people.db"), changes=tiny, verbose=False)
    assert model.recipe.text.sql == "SELECT * FROM people" and model.columns == ("age", "income", "city", "day")
