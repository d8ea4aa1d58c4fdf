"""Frames: whatever comes in goes back out as it was, and what cannot be read says where."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest

from motes.data.frames import Frame, as_frame
from motes.data.tables import Table
from motes.errors import DataError, UsageError
from motes.tables.schema import Schema

DAY = datetime.date(2024, 2, 29)
NOON = datetime.datetime(2024, 2, 29, 12, 30, 0, 250)

PANDAS = pd.DataFrame(
    {
        "real": [1.5, np.nan, -2.0],
        "single": np.array([1.5, 0.1, -2.0], np.float32),
        "nullable real": pd.array([1.5, None, 2.0], dtype="Float64"),
        "small": np.array([1, 2, -3], np.int8),
        "whole": pd.array([1, None, 2**40], dtype="Int64"),
        "flag": [True, False, True],
        "nullable flag": pd.array([True, None, False], dtype="boolean"),
        "text": ["b", None, "a"],
        "object": pd.Series(["b", None, "a"], dtype=object),
        "category": pd.Categorical(["x", None, "z"], categories=["z", "y", "x"]),
        "ordered": pd.Categorical([3, 1, 3], categories=[3, 2, 1], ordered=True),
        "time": pd.to_datetime([NOON, None, NOON]),
        "zone": pd.to_datetime([NOON, None, NOON]).tz_localize("Europe/Paris"),
        "day": pd.Series([DAY, None, DAY], dtype=object),
        "nothing": [np.nan] * 3,
    }
)
POLARS = pl.DataFrame(
    {
        "real": [1.5, None, -2.0],
        "small": pl.Series([1, None, -3], dtype=pl.Int8),
        "flag": [True, None, False],
        "text": ["b", None, "a"],
        "category": pl.Series(["b", None, "a"], dtype=pl.Categorical),
        "enum": pl.Series(["S", None, "L"], dtype=pl.Enum(["S", "M", "L"])),
        "day": [DAY, None, DAY],
        "time": pl.Series([NOON, None, NOON], dtype=pl.Datetime("ns")),
        "zone": pl.Series([NOON, None, NOON]).dt.replace_time_zone("Europe/Paris"),
        "nothing": [None] * 3,
    }
)


@pytest.mark.parametrize(
    "template",
    [PANDAS, PANDAS.set_axis(range(15), axis=1), PANDAS.convert_dtypes(dtype_backend="pyarrow")],
    ids=["plain", "numbered", "arrow"],
)
def test_pandas_comes_back_to_the_dtype(template):
    pd.testing.assert_frame_equal(as_frame(template).like(template), template)


def test_an_index_of_pandas_does_not_come_back():
    frame = PANDAS.set_index(pd.Index([7, 8, 9]))
    pd.testing.assert_frame_equal(as_frame(frame).like(frame), PANDAS)


def test_polars_comes_back_to_the_dtype_lazy_or_not():
    pl.testing.assert_frame_equal(as_frame(POLARS).like(POLARS), POLARS)
    pl.testing.assert_frame_equal(as_frame(POLARS.lazy()).like(POLARS.lazy()), POLARS)


def test_arrow_comes_back_to_the_schema():
    table = POLARS.to_arrow().append_column(
        "ordered", pa.DictionaryArray.from_arrays(pa.array([1, None, 0], pa.int8()), ["z", "a"], ordered=True)
    )
    table = pa.concat_tables([table.slice(0, 1), table.slice(1)])  # in chunks
    back = as_frame(table).like(table)
    assert back.schema == table.schema
    assert back.to_pylist() == table.to_pylist()
    assert as_frame(table).columns["ordered"].labels == ("z", "a")


@pytest.mark.parametrize(
    "array",
    [
        np.array([[1.5, np.nan], [2.0, 3.0]]),
        np.array([[1, 2], [3, 4]], np.float32),
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[True, False], [False, False]]),
        np.array([["a", ""], ["b", "c"]]),
        np.array([[1, "a", DAY, True, 0.5], [None, "b", None, None, None]], dtype=object),
        np.array([["2024-02-29", "NaT"], ["2024-03-01", "2024-01-01"]], "M8[D]").astype(object),
    ],
    ids=["real", "single", "small", "flags", "text", "objects", "dates"],
)
def test_arrays_come_back(array):
    back = as_frame(array).like(array)
    assert back.dtype.kind == array.dtype.kind
    if array.dtype.kind == "O":
        assert back.tolist() == array.tolist()
    else:
        np.testing.assert_array_equal(back, array)


def test_rows_in_lists_and_a_table_are_frames_too():
    assert as_frame([[1, "a"], [2, "b"]]).columns["y"].labels == ("a", "b")
    assert as_frame([[1, "a"], [2, "b"]]).columns["x"].type == "whole"
    table = Table(np.array([[1.0, 2.0], [3.0, 4.0]]), ("a", "b"))
    assert as_frame(table).names == ("a", "b")
    assert np.array_equal(as_frame(table).to_numpy(), table.x)


def test_numbers_that_a_dtype_cannot_hold_are_not_cut_to_it():
    small = pd.DataFrame({"a": np.array([1, 2], np.int8)})
    big = as_frame(pd.DataFrame({"a": [300, 2]}))
    assert big.like(small)["a"].tolist() == [300, 2]
    broken = as_frame(pd.DataFrame({"a": [0.5, 2.0]}))
    assert broken.like(small)["a"].tolist() == [0.5, 2.0]
    assert broken.like(np.zeros((1, 1), np.int8)).tolist() == [[0.5], [2.0]]
    for template in (pl.DataFrame(small), pa.Table.from_pandas(small)):
        for frame in (big, broken):
            assert as_frame(frame.like(template)).columns["a"].cells() == frame.columns["a"].cells()


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        ([[1, 2], 3], DataError, "row 2 has a single value, and row 1 has 2 entries"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), DataError, r"two columns named 'a' \(columns 1 and 2\)"),
        (pa.table([[1], [2]], names=["b", "b"]), DataError, "two columns named 'b'"),
        (np.array([[1, 2], [3, "x"]], object), DataError, r"row 2, column 'y': 'x' of type str among whole numbers"),
        (pd.DataFrame({"m": [1.5, None, "x"]}), DataError, r"row 3, column 'm': 'x' of type str among numbers"),
        (np.array([[1, 2], [{}, 3]], object), DataError, r"row 2, column 'x': \{\} of type dict"),
        (np.array([[2**70, 1]], object), DataError, "column 'x' .*too large for 64 bits"),
        (np.array([[2**63, 1]], np.uint64), DataError, "row 1, column 'x': 9223372036854775808 is too large"),
        (np.array([[1j, 1]]), DataError, "column 'x' .*complex128"),
        (pl.DataFrame({"t": [datetime.timedelta(1)]}), DataError, "column 't' .*Duration"),
        (pl.DataFrame({"l": [[1, 2]]}), DataError, "column 'l' .*List"),
        ("a.csv", UsageError, "of type str; expected an array"),
        (None, UsageError, "of type NoneType"),
    ],
)  # fmt: skip
def test_what_is_no_table_says_where_and_why(data, error, says):
    with pytest.raises(error, match=says):
        Schema.fit(as_frame(data))  # a column that is dropped may hold anything


def test_names_are_for_arrays_and_one_for_each_column():
    assert as_frame(np.ones((2, 3)), ["a", "b", "c"]).names == ("a", "b", "c")
    with pytest.raises(DataError, match="3 columns but 2 names"):
        as_frame(np.ones((2, 3)), ["a", "b"])
    with pytest.raises(UsageError, match="has column names"):
        as_frame(POLARS, ["a"])


def test_a_template_with_other_columns_is_refused():
    with pytest.raises(DataError, match="the template has a, c"):
        as_frame(pd.DataFrame({"a": [1], "b": [2]})).like(pd.DataFrame({"a": [1], "c": [2]}))
    with pytest.raises(DataError, match="column 'a' holds text"):
        as_frame(pd.DataFrame({"a": ["x"]})).like(np.ones((1, 1)))
    with pytest.raises(DataError, match="no column 'z'"):
        as_frame(POLARS).select(["z"])


def test_an_empty_table_has_columns_and_no_rows():
    for template in (PANDAS[:0], POLARS[:0], POLARS[:0].to_arrow()):
        frame = as_frame(template)
        assert len(frame) == 0
        assert isinstance(frame, Frame)
        assert len(frame.like(template)) == 0


@pytest.mark.parametrize("library", [pd, pl], ids=["pandas", "polars"])
def test_dates_beside_a_gap_are_exact_to_the_microsecond(library):
    late = datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999)
    series = as_frame(library.DataFrame({"t": [late, None, late]})).columns["t"]
    assert series.cells() == [late, None, late]


def test_what_is_cut_off_a_date_is_said():
    fine = np.array(["2026-05-17T12:30:00.000001", "2026-05-17T12:30:00.000000002", "NaT"], "M8[ns]")
    for data in (pd.DataFrame({"t": fine}), pl.DataFrame({"t": fine}), fine[:, None]):
        with pytest.warns(UserWarning, match="the data, row 2, column '.*': dates with nanoseconds .*(1 in all)"):
            as_frame(data)
