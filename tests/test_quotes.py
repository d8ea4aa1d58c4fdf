"""Quotes in text files: no row is swallowed without a word."""

import warnings

import pytest

from motes.data import Blocks, read_frame
from motes.errors import DataError
from motes.text_options import TextOptions

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
