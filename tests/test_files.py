"""Files of the world: each is read right, or the option that reads it is named, with its line. No guess is silent."""

import datetime
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
import tracemalloc
import warnings

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

import motes
from motes.data.files import SUFFIXES, Blocks, read_frame, width_of, write_frame, writing
from motes.data.frames import as_frame
from motes.data.points import read_table
from motes.data.readings import Dates, NumberFormat, chosen, doubt, ways_of
from motes.data.text import text_in_parts
from motes.errors import DataError, UsageError
from motes.tables.schema import Schema
from motes.text_options import TextOptions

NONE = TextOptions()


def silently(path, text=NONE):
    """The columns of a file of which nothing has to be said."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read_frame(path, text).columns


def message(path, text=NONE):
    """The columns of a file, and what is said of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        columns = read_frame(path, text).columns
    return columns, [str(one.message) for one in caught]


def column(*cells):
    return "a,b\n" + "".join(f'"{cell}",x{i}\n' for i, cell in enumerate(cells))


# --- numbers and dates -----------------------------------------------------------------------------------------------


D = datetime.date


@pytest.mark.parametrize(
    ("cells", "values", "words"),
    [
        (["12 %", "7%", ""], [12, 7, None], "numbers without '%'"),
        (["$1,234.00", "-$5.50", "($7.00)"], [1234.0, -5.5, -7.0], "numbers without '$' with the decimal sign '.'"),
        (["1.234,56 €", "0,5 €", "7 €"], [1234.56, 0.5, 7.0], "numbers without '€' with the decimal sign ','"),
        (["EUR 3", "EUR 1'000"], [3, 1000], "numbers without 'EUR'"),
        (["1 234,5", "2\u00a0000 000,25"], [1234.5, 2000000.25], "numbers with the decimal sign ','"),
        (["1,234,567", "2"], [1234567.0, 2.0], "numbers with the decimal sign '.'"),
        (["\u22121,5", "2,5"], [-1.5, 2.5], "numbers with the decimal sign ','"),
        (["17.05.2020", "01.06.2020"], [D(2020, 5, 17), D(2020, 6, 1)], "dates, %d.%m.%Y"),
        (["05/17/2020", "06/01/2020"], [D(2020, 5, 17), D(2020, 6, 1)], "dates, %m/%d/%Y"),
        (["17/5/2020", ""], [D(2020, 5, 17), None], "dates, %d/%m/%Y"),
        (["2020/05/17", "2020/06/01"], [D(2020, 5, 17), D(2020, 6, 1)], "dates, %Y/%m/%d"),
        (["17 Jan 2020", "1 Dec 2019"], [D(2020, 1, 17), D(2019, 12, 1)], "dates, %d %b %Y"),
        (["05/17/2020 3:30 PM"], [datetime.datetime(2020, 5, 17, 15, 30)], "dates, %m/%d/%Y %I:%M %p"),
    ],
)
def test_entries_that_have_one_reading_are_read_and_that_is_said(file, cells, values, words):
    columns, notes = message(file(column(*cells)))
    assert columns["a"].cells() == values
    assert len(notes) == 1 and notes[0].endswith(f"column 'a': read as {words}.")


@pytest.mark.parametrize(
    ("cells", "option", "values"),
    [
        (["05/06/2020", "01/02/2020"], {"date_format": "%d/%m/%Y"}, [D(2020, 6, 5), D(2020, 2, 1)]),
        (["05/06/2020", "01/02/2020"], {"date_format": "%m/%d/%Y"}, [D(2020, 5, 6), D(2020, 1, 2)]),
        (["17/05/20", "18/06/21"], {"date_format": "%d/%m/%y"}, [D(2020, 5, 17), D(2021, 6, 18)]),
        (["1,234", "5,678"], {"decimal": "."}, [1234.0, 5678.0]),
        (["1,234", "5,678"], {"decimal": ","}, [1.234, 5.678]),
        (["$1,234", "$5,678"], {"decimal": "."}, [1234.0, 5678.0]),
        (["1", "?", "3"], {"na": "?"}, [1, None, 3]),
        (["1", "-", "unknown", "2"], {"na": ("-", "unknown")}, [1, None, None, 2]),
    ],
)
def test_what_has_two_readings_is_labels_with_a_warning_whose_option_reads_it(file, cells, option, values):
    path = file(column(*cells))
    columns = silently(path)
    assert columns["a"].cells() == cells
    (name, value), *_ = option.items()
    warned = Schema.fit(read_frame(path), relations=False).columns[0].warnings
    flags = [value] if isinstance(value, str) else value
    assert len(warned) == 1
    assert all(re.search(rf"--{name.replace('_', '-')}='?{re.escape(flag)}", warned[0]) for flag in flags)
    columns, _ = message(path, TextOptions(**option))
    assert columns["a"].cells() == values


@pytest.mark.parametrize(
    "digits", ["01234", "00", "0x25", "-0X1f", "123E4", "77e99", str(2**63), "123456789012345678901"]
)
@pytest.mark.parametrize("last", [0, 4000])
def test_digits_that_are_a_name_remain_labels_wherever_they_are(file, monkeypatch, digits, last):
    monkeypatch.setattr("motes.data.text.PART", 400)
    rows = ["80331", "90210", *["1020"] * last, digits]
    path = file("zip,n\n" + "".join(f"{row},{i}\n" for i, row in enumerate(rows)))
    columns, notes = message(path)
    assert columns["zip"].cells() == rows and columns["n"].type == "whole"
    assert any("column 'zip': read as labels" in note for note in notes)
    if last:
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            parts = [part.columns["zip"].cells() for part in text_in_parts(path, NONE)[1]()]
        assert [*itertools.chain(*parts)] == rows


def test_a_whole_number_below_2_to_63_is_one_to_the_last_digit(file):
    numbers = [2**63 - 1025 - 7 * k for k in range(60)]
    path = file("a,b\n" + "".join(f"{number},{k % 7}\n" for k, number in enumerate(numbers)))
    assert silently(path)["a"].cells() == numbers


def test_whole_numbers_are_dates_where_the_format_says_so(file):
    path = file("day,n\n20200517,1\n20200601,2\n")
    assert silently(path)["day"].cells() == [20200517, 20200601]
    columns = silently(path, TextOptions(date_format="%Y%m%d"))
    assert columns["day"].cells() == [D(2020, 5, 17), D(2020, 6, 1)] and columns["n"].cells() == [1, 2]


def test_an_option_that_fits_nothing_is_said(file):
    _, notes = message(file(column("3,5", "12,25")), TextOptions(decimal="."))
    assert len(notes) == 1 and "--decimal ," in notes[0]
    _, notes = message(file(column("a", "b")), TextOptions(date_format="%d/%m/%Y"))
    assert len(notes) == 1 and "no column matches the date format %d/%m/%Y" in notes[0]


def test_texts_that_are_neither_are_left_alone():
    for text in ("5 kg", "1.2.3", "", "-", "x1", "007", "12:30", "3-4", "a,b", "$", "%", "1/2"):
        assert chosen(ways_of([text], NONE), NONE) is None, text
    assert doubt(["red", "green"]) is None
    assert doubt(["01234", "80331"]) is None
    assert ways_of(["31/12/2020", "12/31/2020"], NONE) == frozenset()
    assert chosen(ways_of(["12 %", "$5"], NONE), NONE) is None
    assert chosen(ways_of(["12 %", "13 %"], NONE), NONE) == NumberFormat("", "%")
    assert chosen(ways_of(["29.02.2021"], NONE), NONE) is None  # which does not exist
    assert chosen(ways_of(["31.12.2020"], NONE), NONE) == Dates(("%d.%m.%Y",))


# --- lines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sep", "shown"), [(";", ";"), ("\t", "\\t"), ("|", "|")])
def test_another_separator_is_refused_with_the_option_that_reads_it(file, sep, shown):
    path = file("a,b\n1.5,x\n2.5,y\n".replace(",", sep))
    with pytest.raises(DataError, match=re.escape(f"use --sep '{shown}'")):
        read_frame(path)
    text = TextOptions(sep=shown)  # a shell does not make a tab of \t
    assert silently(path, text)["b"].cells() == ["x", "y"]
    assert width_of(path, text) == 2


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-16-le"])
@pytest.mark.parametrize("size", [8, 2**22])
def test_other_encodings_are_refused_with_the_option_and_read_with_it(file, monkeypatch, encoding, size):
    monkeypatch.setattr("motes.data.text.PART", size)
    path = file("größe,ort\n1.5,Köln\n2.5,Graz\n".encode(encoding))
    with pytest.raises(DataError, match=r"expected (text in )?UTF-8.*--encoding"):
        read_frame(path)
    text = TextOptions(encoding=encoding)
    assert silently(path, text)["ort"].cells() == ["Köln", "Graz"]
    parts = [part.columns["größe"].cells() for part in Blocks.of_file(path, text).read()]
    assert [*itertools.chain(*parts)] == [1.5, 2.5]
    with pytest.raises(DataError, match="not text in ascii"):
        read_frame(path, TextOptions(encoding="ascii"))


def test_what_is_no_text_is_named_and_its_bytes_are_not_printed(file):
    with pytest.raises(DataError, match=r"which is a zip archive, such as \.xlsx.*export it as \.csv"):
        read_frame(file(b"PK\x03\x04" + bytes(range(256))))
    with pytest.raises(DataError, match="contains a null byte at position 3") as error:
        read_frame(file(b"ab\0" + bytes(range(128, 256)) * 9))
    assert len(str(error.value)) < 300


def test_comments_before_the_columns_are_left_out_and_said(file):
    columns, notes = message(file("# by us\n#\na,b\n1,x\n2,y\n"))
    assert columns["a"].cells() == [1, 2]
    assert len(notes) == 1 and "2 lines of comments" in notes[0]
    columns, notes = message(file("#a,b\n1,x\n2,y\n"))
    assert [*columns] == ["#a", "b"]  # as many as the cells of a row: their names
    assert len(notes) == 1 and "line 1 names the columns: #a, b" in notes[0]
    columns, notes = message(file("# made by x, on monday\na,b\n1,x\n2,y\n"))
    assert [*columns] == ["a", "b"] and len(notes) == 1 and "skipped 1 lines" in notes[0]
    with pytest.raises(DataError, match=r"line 4 of .* has 1 cell; expected 2"):
        read_frame(file("a,b\n1,x\n2,y\n# the end\n"))


def test_a_first_line_of_words_and_numbers_is_a_row_and_that_is_said(file):
    columns, notes = message(file("city,2019,2020\nWien,3.5,4.5\n"))
    assert columns["x0"].cells() == ["city", "Wien"] and columns["x1"].cells() == [2019, 3.5]
    assert len(notes) == 1 and "line 1 contains the number 2019" in notes[0] and "x0 to x2" in notes[0]
    assert [*silently(file("1.5,2\n3,4\n"))] == ["x", "y"]


@pytest.mark.parametrize("cells", [["1", "0", "true"], ["false"] * 300 + ["0"]])
def test_numbers_among_true_and_false_stay_what_they_are(file, cells, monkeypatch):
    monkeypatch.setattr("motes.data.text.PART", 400)
    path = file(column(*cells))
    assert silently(path)["a"].cells() == cells
    assert [*itertools.chain(*(block.columns["a"].cells() for block in Blocks.of_file(path).read()))] == cells


def test_a_column_without_a_name_gets_one(file):
    columns, notes = message(file(",,a\n0,5,x\n1,6,y\n"))
    assert [*columns] == ["column 1", "column 2", "a"]
    assert len(notes) == 1 and "column 1 has no name and is called 'column 1'" in notes[0]


# --- the options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ({"sep": "ab"}, "got sep = 'ab'; expected one character"),
        ({"sep": "a"}, "expected one character other than a letter"),
        ({"decimal": ";"}, "got decimal = ';'; expected '.' or ','"),
        ({"date_format": "%d"}, "got date_format = '%d'; expected a date format with a year"),
        ({"encoding": "utf-99"}, "got encoding = 'utf-99'; expected one that Python knows"),
    ],
)
def test_an_option_that_cannot_be_is_refused(option, says):
    with pytest.raises(UsageError, match=re.escape(says)):
        TextOptions(**option)
    name = next(iter(option))
    value = json.dumps([option[name]] if name == "date_format" else option[name])
    with pytest.raises(UsageError, match=re.escape(says)):
        motes.load_recipe("table", [f"text.{name}={value}"])


def test_given_options_go_before_remembered_ones():
    remembered = TextOptions(sep=";", decimal=",", na=("?",))
    assert TextOptions(sep=",").over(remembered) == TextOptions(sep=",", decimal=",", na=("?",))
    assert NONE.over(remembered) == remembered
    assert remembered.fitting("t.parquet") == NONE and remembered.fitting("t.tsv") == remembered


def test_points_are_read_by_the_same_options(file):
    path = file("a;b\n1,5;1.234,5\n2,5;2\n")
    with pytest.warns(UserWarning, match="read as numbers with the decimal sign"):
        table = read_table(path, text=TextOptions(sep=";"))
    assert table.x.tolist() == [[1.5, 1234.5], [2.5, 2.0]]
    with pytest.raises(DataError, match=r"row 1, column 'a': got '1,234'; expected numbers.*--decimal"):
        read_table(file("a;b\n1,234;1\n5,678;2\n"), text=TextOptions(sep=";"))
    decided = read_table(path, text=TextOptions(sep=";", decimal=","))
    assert decided.x.tolist() == [[1.234, 1.0], [5.678, 2.0]]
    with pytest.raises(DataError, match="row 1, column 'a': got a missing entry"):
        read_table(file("a,b\n9,1\n8,2\n"), text=TextOptions(na="9"))
    assert read_table(file("a,b\n1.5,1\n8,2\n".encode("utf-16")), text=TextOptions(encoding="utf-16")).x[0, 0] == 1.5


@pytest.mark.slow
def test_parts_are_read_as_the_whole_is_and_memory_stays_flat(file):
    rows = 150_000
    path = file(
        "a;b;c;d\n" + "".join(f"{i % 977},25;{i % 28 + 1:02d}.05.2020;{i % 100} %;{i % 7}\n" for i in range(rows))
    )
    text = TextOptions(sep=";", na="3")
    with pytest.warns(UserWarning, match="read as"):
        whole = read_frame(path, text)
    assert [one.type for one in whole.columns.values()] == ["real", "date", "whole", "whole"]
    assert whole.columns["d"].missing.sum() == sum(i % 7 == 3 for i in range(rows))
    with pytest.warns(UserWarning, match="read as"):
        blocks = Blocks.of_file(path, text)
    tracemalloc.start()
    start = 0
    for part in blocks.read():
        for name, one in part.columns.items():
            np.testing.assert_array_equal(one.values, whole.columns[name].values[start : start + len(part)])
        start += len(part)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert start == rows and blocks.rows == rows
    assert peak < 40 * 2**20  # a few parts, however many rows there are


def test_an_odd_quote_costs_no_more_than_a_few_looks_at_the_rest(file, monkeypatch):
    # Of a text with an odd quote no end of a line is certain any more: the rest was looked at again with every part.
    monkeypatch.setattr("motes.data.text.PART", 2**10)
    monkeypatch.setattr("motes.data.text.LONGEST", 2**12)
    lines, seconds = [f"pipe {k},{k}" for k in range(20_000)], []
    for line in ("pipe 50,50", '5" pipe,50'):
        lines[50] = line
        blocks = Blocks.of_file(file("name,x\n" + "\n".join(lines) + "\n"))
        start = time.process_time()
        assert sum(map(len, blocks.read())) == len(lines)
        seconds.append(time.process_time() - start)
    assert seconds[1] < seconds[0]  # parsed at once, and not in 300 parts


# --- dates in several formats ----------------------------------------------------------------------------------------

FORMATS = ("%Y-%m-%d", "%d.%m.%Y", "%b %d, %Y")


def mixed(n=60):
    """Days, 70 % of them in ISO's format, and their texts in three formats."""
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=37 * i) for i in range(n)]
    return days, [day.strftime(FORMATS[[0, 0, 0, 0, 0, 0, 0, 1, 1, 2][i % 10]]) for i, day in enumerate(days)]


def test_dates_in_several_stated_formats_are_dates(file):
    days, cells = mixed()
    columns, notes = message(file(column(*cells, "")), TextOptions(date_format=FORMATS))
    assert columns["a"].type == "date"
    assert columns["a"].cells() == [*days, None]
    assert notes == []


def test_without_the_formats_the_warning_names_each_with_an_option_that_reads_the_file(file):
    days, cells = mixed()
    path = file(column(*3 * cells, "unknown", "?"))
    assert silently(path)["a"].type == "label"
    warnings = Schema.fit(read_frame(path), relations=False).columns[0].warnings
    (warned,) = (message for message in warnings if message.startswith("dates such as "))
    assert "except for 2 of its labels" in warned
    found = [shlex.split(one)[0] for one in re.findall(r"--date-format=('.*?'|\S+)", warned)]
    assert set(found) == {*FORMATS}
    gone = re.findall(r"--na=(\S+)", warned)
    assert set(gone) == {"'?'", "unknown"}
    options = TextOptions(date_format=found, na=("unknown", "?"))
    assert message(path, options)[0]["a"].cells() == [*3 * days, None, None]


def test_of_two_stated_formats_that_fit_an_entry_the_first_counts(file):
    options = TextOptions(date_format=("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y"))
    columns, _ = message(file(column("2020-05-17", "05/06/2020", "17/05/2020")), options)
    assert columns["a"].cells() == [D(2020, 5, 17), D(2020, 6, 5), D(2020, 5, 17)]


@pytest.mark.parametrize("size", [64, 400, 100_000])
def test_mixed_dates_are_the_same_part_by_part(file, monkeypatch, size):
    monkeypatch.setattr("motes.data.text.PART", size)
    days, cells = mixed()
    blocks = Blocks.of_file(file(column(*cells)), TextOptions(date_format=FORMATS))
    assert [day for part in blocks.read() for day in part.columns["a"].cells()] == days


@pytest.mark.parametrize(
    ("labels", "option"),
    [
        (["01/02/2021", "03/04/2021"], "text.date_format': ['%d/%m/%Y', '%m/%d/%Y']"),
        (["31/12/2020", "2021-05-01"], "text.date_format': ['%"),
        (["1,234", "2,345"], "text.decimal': ','"),
        (["1.5", "2.5", "3.5", "?"], "text.na': ['?']"),
    ],
)
def test_advice_is_for_the_command_line_and_for_python(labels, option):
    why = doubt(labels)
    assert " --" in why and option in why and "convert the column of a data frame" in why


# --- files of any columns ---------------------------------------------------------------------------------------------


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


def test_parquet_is_written_in_row_groups_of_at_least_a_block(tmp_path):
    with writing(tmp_path / "t.parquet") as write:
        for _ in range(5):
            write(as_frame({"x": np.arange(40_000)}))
    file = parquet.ParquetFile(tmp_path / "t.parquet").metadata
    assert [file.row_group(i).num_rows for i in range(file.num_row_groups)] == [80_000, 80_000, 40_000]


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


@pytest.mark.slow
def test_a_code_at_the_end_of_a_column_of_numbers_costs_little(file):
    """The least CPU seconds with and without a code: 1.5 to 4.3 times as many; 13 where each number is parsed."""
    seconds = []
    for last in ("1019999", "0019999"):
        path, turns = file("id,n\n" + "".join(f"{1_000_000 + i},1\n" for i in range(19_999)) + f"{last},1\n"), []
        for _ in range(5):
            start = time.thread_time()
            columns, _ = message(path)
            turns.append(time.thread_time() - start)
        assert columns["id"].cells()[-1] in (1_019_999, last)
        seconds.append(min(turns))
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


def test_the_nameless_index_of_a_data_frame_is_not_a_column(tmp_path):
    path = tmp_path / "some.parquet"
    some = pa.table({"x": [1.5, 2.5], "__index_level_0__": [1, 2]})  # as pandas writes frame[frame.x > 1]
    parquet.write_table(some, path)
    assert read_frame(path).names == next(Blocks.of_file(path).read()).names == ("x",)
