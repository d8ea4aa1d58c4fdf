"""Files of any columns: what is read is what is there, and what cannot be read says which line and which column."""

import datetime
import subprocess
import sys
import time
import tracemalloc
import warnings

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from motes.data.files import SUFFIXES, Blocks, read_frame, write_frame, writing
from motes.data.frames import as_frame
from motes.data.text import text_in_parts
from motes.errors import DataError, UsageError
from motes.tables.schema import Schema
from motes.text_options import TextOptions

MIXED = (
    "n,word,day,time,flag,none\n"
    '1,red,2020-01-31,2020-01-01 03:00:00,true,\n,NA,2020-02-01,2020-01-01T03:00:01.25,False,\n3,"a, b",,,,NaN\n'
)
CELLS = {
    "n": [1, None, 3],
    "word": ["red", None, "a, b"],
    "day": [datetime.date(2020, 1, 31), datetime.date(2020, 2, 1), None],
    "time": [datetime.datetime(2020, 1, 1, 3), datetime.datetime(2020, 1, 1, 3, 0, 1, 250_000), None],
    "flag": [True, False, None],
    "none": [None, None, None],
}


def cells(frame):
    return {name: series.cells() for name, series in frame.columns.items()}


# --- text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n  \n"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_columns_of_all_types_are_read(file, suffix, start, end):
    content = MIXED if suffix == ".csv" else MIXED.replace('"a, b"', "a; b").replace(",", "\t").replace(";", ",")
    frame = read_frame(file((start + content).replace("\n", end), f"table{suffix}"))
    assert cells(frame) == CELLS
    assert [series.type for series in frame.columns.values()] == ["whole", "label", "date", "date", "truth", "real"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a,b\n", "has no rows, only column names"),
        (b"a,b", "has no rows, only column names"),
        (b"a,b\n1,x\n\n2\n", "line 4 .*has 1 cell; expected 2"),
        (b'a,b\n1,"x\ny"\n1,2,3\n', "line 4 .*has 3 cells; expected 2"),  # a cell of two lines
        (b"a,b,a\n1,2,3\n", "two columns named 'a'"),
        (b"a;b\n1;x\n", "use --sep ';'"),
        (b"a\tb\n1\tx\n", "use --sep '.t'"),
        (b"a,b\n1,x\n3,\xff\xe9\n", r"line 3 .*column 'b': got b'.xff.xe9'; expected UTF-8 text. Save"),
        (b"a,\xe9\n1,x\n", "line 1 .*names of its columns: got .*expected UTF-8 text"),
        (b"a,b\n12:30:00,x\n", "column 'a' .*Time"),
        (b"a,b\nx," + b"y" * 3_000_000 + b"\n", "line 2 .*is not a row of cells"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:25],
)
def test_text_that_cannot_be_read_says_where_and_why(file, content, says):
    with pytest.raises(DataError, match=says) as error:
        Schema.fit(read_frame(file(content)), name="x")  # a column that is dropped may hold anything
    assert "table.csv" in str(error.value)


# --- Parquet and NumPy ----------------------------------------------------------------------------------------------


def test_parquet_in_row_groups_with_its_own_categories(tmp_path):
    column = pa.array(["b", None, "a", "b"] * 50).dictionary_encode()
    table = pa.table({"x": np.arange(200.0), "c": column, "file": pa.array([1, 2, None, 4] * 50, pa.int16())})
    parquet.write_table(table, tmp_path / "t.parquet", row_group_size=7)
    assert cells(read_frame(tmp_path / "t.parquet")) == table.to_pydict()


def test_parquet_is_never_in_memory_twice(tmp_path):
    # Arrow's own memory counts too: at no time more than the columns and two of them besides.
    n, d = 50_000, 20
    rng = np.random.default_rng(0)
    parquet.write_table(
        pa.table({f"x{j}": rng.random(n) for j in range(d)}), tmp_path / "t.parquet", row_group_size=5000
    )
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    frame = read_frame(tmp_path / "t.parquet")
    held = tracemalloc.get_traced_memory()[1] + pa.total_allocated_bytes() - before
    tracemalloc.stop()
    assert len(frame) == n
    assert held < 8 * n * d * 1.5


@pytest.mark.parametrize(
    ("content", "name", "says"),
    [
        (b"hello", "t.parquet", "not a Parquet file"),
        (b"", "t.parquet", "not a Parquet file"),
        (b"hello", "t.npy", "not a NumPy file of one array"),
    ],
)
def test_bytes_that_are_no_table_are_a_data_error(file, content, name, says):
    with pytest.raises(DataError, match=says):
        read_frame(file(content, name))


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_what_is_written_is_read_back(tmp_path, file, suffix):
    frame = read_frame(file(MIXED))
    write_frame(tmp_path / f"back{suffix}", frame)
    back = read_frame(tmp_path / f"back{suffix}")
    assert cells(back) == CELLS
    assert back.columns["day"].days
    assert not back.columns["time"].days


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_blocks_of_rows_make_the_file_that_all_of_them_make(tmp_path, suffix):
    table = {"n": list(range(7)), "x": [0.1, None, 1 / 3, 1e-300, -1e100, 5.0, None]}
    if suffix != ".npy":
        table |= {"c": [*"abcab", None, "c"], "day": [datetime.date(2020, 2, 25 + k) for k in range(5)] + [None] * 2}
    frame = as_frame(pa.table(table))
    with writing(tmp_path / f"parts{suffix}") as write:
        for rows in (slice(3), slice(3, 4), slice(4, None)):
            write(frame.take(rows))
    write_frame(tmp_path / f"whole{suffix}", frame)
    parts, whole = (read_frame(tmp_path / f"{name}{suffix}") for name in ("parts", "whole"))
    assert cells(parts) == cells(whole) and len(parts) == 7
    assert whole.columns[whole.names[1]].cells() == table["x"] or suffix == ".npy"  # to the bit


def test_what_a_file_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(UsageError, match="'2019' would be read back as a cell"):
        write_frame(tmp_path / "t.csv", as_frame([[1]], ["2019"]))
    with pytest.raises(UsageError, match="column 'x' holds text"):
        write_frame(tmp_path / "t.npy", as_frame([["a", 1]]))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_ragged_line_does_not_end_the_process_with_it(file):
    """pyarrow must have no thread at work when a process that has JAX's ends."""
    path = file("a,b\n" + "1,2\n" * 50 + "1,2,3\n")
    code = (
        "import jax.numpy as jnp; jnp.ones(3).block_until_ready()\nfrom motes.data.files import read_frame\n"
        f"try: read_frame({str(path)!r})\nexcept ValueError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "line 52 of" in done.stdout


@pytest.mark.slow
def test_a_wide_text_takes_time_in_proportion_to_its_columns(file):
    """The CPU seconds of four times as many columns: 4 times as many, and 12 or more where each looks at all others."""
    seconds = []
    for columns in (2000, 8000):
        path = file(",".join(f"c{j}" for j in range(columns)) + ("\n" + ",".join(["1.5"] * columns)) * 20 + "\n")
        start = time.process_time()
        assert len(read_frame(path).names) == columns
        seconds.append(time.process_time() - start)
    assert seconds[1] < 8 * seconds[0]


# --- part by part --------------------------------------------------------------------------------------------------

PIPE, BROKEN = '5" pipe', '"x\ny"'
PARTS = {
    "whole numbers, then halves": "a,b\n" + "".join(f"{i},{i if i < 40 else i / 2}\n" for i in range(80)),
    "dates, then times": "a,b\n"
    + "".join(f"{i},2020-01-{i % 9 + 1:02d}{' 03:00:00.5' * (i == 70)}\n" for i in range(80)),
    "nothing at first": "a,b\n" + "".join(f"{i},{i * (i > 60) or ''}\n" for i in range(80)),
    "numbers with a plus, and a word": "a,b\n" + "".join(f"{i},{'x' if i == 70 else f'+{i}'}\n" for i in range(80)),
    "a number, and then a word": "a,b\n" + "".join(f"{i},{'x' if i == 70 else i}\n" for i in range(80)),
    "lines within cells": "a,b\n" + "".join(f'{i},"x\n""{i % 3}""\n"\n' for i in range(80)),
    "quotes that open no cell": "a,b\n" + "".join(f"{i},{PIPE if i % 9 else BROKEN}\n" for i in range(80)),
    "no header": "".join(f"{i},{i / 7}\n" for i in range(80)).rstrip("\n"),
}


SEVERAL_LINES = pytest.mark.filterwarnings("ignore:.*cells span several lines")


@SEVERAL_LINES
@pytest.mark.parametrize("size", [64, 200, 100_000])
@pytest.mark.parametrize("name", PARTS)
def test_parts_of_a_text_are_the_whole(name, size, file, monkeypatch):
    path = file(PARTS[name])
    whole = read_frame(path)
    monkeypatch.setattr("motes.data.text.PART", size)
    monkeypatch.setattr("motes.data.files.BLOCK", 7)
    blocks = Blocks.of_file(path)
    parts = [*blocks.read()]
    assert blocks.rows == len(whole) == sum(map(len, parts)) and max(map(len, parts)) <= 7
    found = [[cell for part in parts for cell in cells(part)[column]] for column in whole.names]
    assert found == list(cells(whole).values())
    assert cells(blocks.whole()) == cells(whole)


@SEVERAL_LINES
def test_a_text_in_parts_is_not_read_whole_unless_it_must_be(file, monkeypatch):
    monkeypatch.setattr("motes.data.text.PART", 200)
    for name, content in PARTS.items():
        if "and a word" not in name:  # +3 is a number for some releases of pyarrow
            must = name == "a number, and then a word"
            assert (text_in_parts(file(content), TextOptions()) is None) == must, name


def test_what_is_wrong_in_a_late_part_is_said(file, monkeypatch):
    monkeypatch.setattr("motes.data.text.PART", 200)
    lines = PARTS["whole numbers, then halves"].splitlines()
    lines[77] = "1,2,3"
    with pytest.raises(DataError, match=r"line 78 of '.*' has 3 cells; expected 2"):
        Blocks.of_file(file("\n".join(lines)))
    with pytest.raises(UsageError, match="there is no file"):
        Blocks.of_file("nowhere.csv")


# --- quotes in text files --------------------------------------------------------------------------------------------


ROWS = [f"{i / 2},{i % 5},n{i % 7}" for i in range(500)]
MANY = [f"{i / 2},{i % 5},n{i % 7}" for i in range(120_000)]


@pytest.fixture
def table(tmp_path):
    """A file of rows, some of which are replaced."""

    def write(changes, rows=ROWS, end="\n", last=True, encoding="utf-8"):
        lines = ["x,k,s", *(changes.get(i, row) for i, row in enumerate(rows))]
        path = tmp_path / "table.csv"
        path.write_bytes((end.join(lines) + end * last).encode(encoding))
        return path

    return write


@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("row", [0, 10, 498, 499])
@pytest.mark.parametrize("cell", ['10.5,3,"n0', '10.5,3,"n""0', '10.5,3,"', '10.5,3,"n0""'])
def test_a_quote_that_is_open_at_the_end_of_the_file_is_refused_with_its_row(cell, row, end, last, table):
    with pytest.raises(DataError, match=rf"row {row + 1} of .*: a quote opens in the last column"):
        read_frame(table({row: cell}, end=end, last=last))


@pytest.mark.parametrize("row", [10, 60_000, 119_990])
@pytest.mark.parametrize("cell", ['10.5,3,"n0', '"10.5,3,n0', '10.5,"3,n0'])
def test_so_it_is_in_every_column_and_anywhere_in_a_large_file(cell, row, table):
    with pytest.raises(DataError, match=r"a quote opens .*Remove"):
        read_frame(table({row: cell}, MANY))


def test_a_quote_that_is_open_in_the_names_of_the_columns_is_named(tmp_path):
    (tmp_path / "t.csv").write_text('x,"k\n1,2\n3,4\n')
    with pytest.raises(DataError, match="The names span 3 lines: a quote opens in them"):
        read_frame(tmp_path / "t.csv")


def test_an_encoding_of_its_own_makes_no_difference(table):
    path = table({10: '10.5,3,"n0'}, encoding="utf-16")
    with pytest.raises(DataError, match=r"row 11 of .*\(line 12\): a quote opens"):
        read_frame(path, TextOptions(encoding="utf-16"))


@pytest.mark.parametrize("closing", ['10.5,3,"n0', '10.5,3,n0"'])
def test_rows_that_two_stray_quotes_make_one_cell_of_are_said(closing, table):
    with pytest.warns(UserWarning, match=r"column 's': 1 cell spans several lines; the longest has 91, in row 11"):
        assert len(read_frame(table({10: '10.5,3,"n0', 100: closing}))) == 410


def test_cells_of_several_lines_are_kept_and_said_once_for_a_column(table):
    notes = {10: '1,2,"one\ntwo"', 11: '1,2,"a ""quote""\nb\nc"', 499: '1,2,"d\ne"'}
    path = table(notes)
    with pytest.warns(UserWarning, match="column 's'") as said:
        frame = read_frame(path)
    assert len(frame) == 500
    assert frame["s"][[10, 11, 499]].tolist() == ["one\ntwo", 'a "quote"\nb\nc', "d\ne"]
    assert len(said) == 1
    assert "3 cells span several lines; the longest has 3, in row 12" in str(said[0].message)


@pytest.mark.parametrize("cell", ['5" pipe', '"a, b"', '""', '"she said ""no"""', "O'Neil", '"n0"x'])
@pytest.mark.parametrize("row", [10, 499])
def test_quotes_in_their_place_need_no_word(cell, row, table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(read_frame(table({row: f"1,2,{cell}"}))) == 500


@pytest.mark.parametrize("size", [64, 1000])
def test_parts_of_a_file_are_held_to_the_same(size, table, monkeypatch):
    monkeypatch.setattr("motes.data.text.PART", size)
    with pytest.raises(DataError, match=r"a quote opens"):
        Blocks.of_file(table({10: '10.5,3,"n0'}))
    with pytest.warns(UserWarning, match="2 cells span several lines; the longest has 3, in row 400"):
        Blocks.of_file(table({10: '1,2,"a\nb"', 399: '1,2,"a\nb\nc"'}))
