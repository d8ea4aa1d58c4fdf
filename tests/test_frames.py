"""Frames: whatever comes in goes back out as it was, and what cannot be read says where."""

import datetime
import decimal

import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pyarrow as pa
import pytest

import motes
from motes.data.frames import Frame, Template, as_frame
from motes.data.tables import Table
from motes.errors import DataError, UsageError
from motes.tables import Schema

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


@pytest.mark.parametrize("unit", ["s", "ms", "us"])
def test_a_date_after_the_year_9999_is_refused_with_its_row(unit):
    days = np.array([0, 2**60], f"M8[{unit}]")
    with pytest.raises(
        DataError, match=r"row 2, column .d.: got a date in the year .*; expected a year from 1 to 9999"
    ):
        as_frame({"d": days})
    column = as_frame(pa.table({"d": pa.array(days)})).columns["d"]
    with pytest.raises(DataError, match="row 2, column 'd': got a date in the year"):
        column.check_known()


def test_equal_labels_of_a_dictionary_are_one():
    codes, labels = pa.array([0, 1, 2, None]), pa.array(["x", "y", "x"])
    column = as_frame(pa.table({"a": pa.DictionaryArray.from_arrays(codes, labels)})).columns["a"]
    assert column.labels == ("x", "y") and column.cells() == ["x", "y", "x", None]
    ordered = pa.DictionaryArray.from_arrays(codes, labels, ordered=True)
    with pytest.raises(DataError, match=r"column .a. of .* has .x. twice in the order"):
        as_frame(pa.table({"a": ordered})).columns["a"].check_known()


def test_what_is_cut_off_a_date_is_said():
    fine = np.array(["2026-05-17T12:30:00.000001", "2026-05-17T12:30:00.000000002", "NaT"], "M8[ns]")
    for data in (pd.DataFrame({"t": fine}), pl.DataFrame({"t": fine}), fine[:, None]):
        with pytest.warns(UserWarning, match="the data, row 2, column '.*': dates with nanoseconds .*(1 in all)"):
            as_frame(data)


# --- arrays of other libraries, masks, dtypes: what is hidden is missing, what is lost is said ------------------------


HIDDEN = 10**6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
MASK = np.zeros((60, 2), bool)
MASK[3:9, 1] = True


def hiding(x, mask=MASK):
    """`x`, with a million wherever the mask is."""
    return np.ma.array(np.where(mask, HIDDEN, x), mask=mask)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("dtype", [float, np.float32, int, np.uint8, object])
def test_what_a_mask_hides_is_missing_whatever_the_width_and_the_dtype(width, dtype):
    x = RNG.integers(0, 9, (20, width)).astype(dtype)
    mask = np.zeros((20, width), bool)
    mask[4, -1] = True
    masked = np.ma.array(x, mask=mask)
    masked.data[4, -1] = 111
    frame = as_frame(masked)
    last = frame.columns[frame.names[-1]]
    assert last.missing.tolist() == mask[:, -1].tolist()
    assert last.known.tolist() == x[~mask[:, -1], -1].tolist()
    assert last.type == ("real" if np.dtype(dtype).kind == "f" else "whole")
    assert as_frame(masked.tolist()).columns[frame.names[-1]].missing.sum() == 1
    assert as_frame(list(masked)).columns[frame.names[-1]].missing.sum() == 1


def test_masked_texts_dates_and_truths_are_missing_too():
    mask = [False, True, False]
    dates = np.array(["2024-02-29", "2024-03-01", "2024-03-02"], "M8[D]")
    columns = {"text": np.array(["a", "secret", "b"]), "date": dates, "truth": np.array([True, False, True])}
    masked = {name: np.ma.array(values, mask=mask) for name, values in columns.items()}
    structured = np.ma.array(np.rec.fromarrays(list(columns.values()), names=[*columns]), mask=[(m,) * 3 for m in mask])
    for data in (masked, structured):
        frame = as_frame(data)
        assert frame.names == ("text", "date", "truth")
        assert all(one.missing.tolist() == mask for one in frame.columns.values())
        assert "secret" not in frame.columns["text"].labels
    assert as_frame({"a": [1, np.ma.masked, 3]}).columns["a"].missing.tolist() == mask


@pytest.mark.slow
def test_two_columns_with_a_mask_are_learned_as_a_table_of_what_is_seen():
    model = motes.fit(hiding(X), changes={"table.steps": 2}, verbose=False)
    assert model.kind == "table"
    assert np.nanmax(model.sample(200)) <= X.max()
    answer = model.impute(hiding(X[:20], MASK[:20]))
    assert isinstance(answer, np.ndarray)
    assert answer.max() <= X.max()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: motes.fit(hiding(X), "default"), "row 4, column 'y': got a missing entry"),
        (lambda: motes.fit(X, labels=hiding(np.arange(60) % 2, MASK[:, 1])), "label of row 4 is None"),
        (lambda: motes.fit(X, weights=hiding(np.ones(60), MASK[:, 1])), "weight of row 4 of the data is nan"),
        (lambda: motes.truth("moons").log_density(hiding(X)), "all finite"),
        (lambda: motes.sliced_w2(hiding(X), X), "nan in row 3, column 1"),
        (lambda: motes.evaluation.mmd_squared(X, hiding(X)), "nan in row 3, column 1"),
        (lambda: Schema.fit({"a": X[:, 0]}, weights=hiding(np.ones(60), MASK[:, 1])), "weight of row 4"),
    ],
    ids=["points", "labels", "weights", "density", "distance", "kernel", "schema"],
)  # fmt: skip
def test_where_no_entry_may_be_missing_a_mask_is_refused_with_its_row(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.fixture(scope="module")
def posterior():
    """Hardly trained; the last observed column has missing entries."""
    return motes.fit(X[:, :1], given=hiding(X), changes={"training.steps": 2}, verbose=False)


@pytest.mark.slow
def test_masked_observations_are_missing_ones(posterior):
    hidden, seen = posterior.context.rows(hiding(X[3], MASK[3]))[0][0]
    assert np.isnan(seen)
    assert hidden == X[3, 0]
    with pytest.raises(DataError, match="column 'given0': got nan"):
        posterior.sample(2, given=hiding(X[3], ~MASK[3]))


def test_arrays_of_jax_are_arrays():
    x = jnp.asarray(X)
    assert as_frame(x).names == ("x", "y")
    assert as_frame({"a": jnp.arange(3), "b": [1.5, 2.5, 3.5]})["a"].tolist() == [0, 1, 2]
    assert as_frame(jnp.ones((2, 1), jnp.bfloat16))["x0"].tolist() == [1, 1]
    assert Schema.fit(x).encode(x[:4]).codes.shape[0] == 4
    assert motes.sliced_w2(x, x).value == 0


@pytest.mark.slow
def test_arrays_of_jax_are_learned_and_answered(posterior):
    x = jnp.asarray(X)
    model = motes.fit(x, labels=jnp.arange(60) % 2, changes={"training.steps": 2}, verbose=False)
    assert model.kind == "points"
    drawn = model.sample(3)
    assert isinstance(drawn, np.ndarray)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(model.score_samples(x[:2]), model.score_samples(np.asarray(x[:2])))
    assert posterior.sample(2, given=jnp.asarray(X[0])).shape == (2, 1)


def test_synthetic_rows_are_arrays_where_numpy_wants_one():
    rows = as_frame({"a": [1, 2], "b": [0.5, None]})
    np.testing.assert_array_equal(np.asarray(rows), [[1, 0.5], [2, np.nan]])
    assert np.asarray(rows, np.float32).dtype == np.float32
    assert np.asarray(as_frame({"a": [1, 2], "b": ["u", None]})).tolist() == [[1, "u"], [2, None]]


WHOLE = np.array([1, 2, 3])
text_type = lambda made: made["a"].array.dtype
TYPES = {
    "uint64": (pd.DataFrame({"a": WHOLE.astype(np.uint64)}), lambda made: made.dtypes["a"]),
    "string[pyarrow]": (pd.DataFrame({"a": pd.array(list("abc"), "string[pyarrow]")}), text_type),
    "string[python]": (pd.DataFrame({"a": pd.array(list("abc"), "string[python]")}), text_type),
    "decimal of Arrow in pandas": (
        pd.DataFrame({"a": pd.array([decimal.Decimal("1.10")] * 3, pd.ArrowDtype(pa.decimal128(10, 3)))}),
        lambda made: made.dtypes["a"],
    ),
    "decimal of polars": (pl.DataFrame({"a": [decimal.Decimal("1.10")] * 3}), lambda made: made.schema["a"]),
    "decimal of Arrow": (pa.table({"a": [decimal.Decimal("1.10")] * 3}), lambda made: made.schema.field("a").type),
    "uint64 in a dict": ({"a": WHOLE.astype(np.uint64)}, lambda made: made["a"].dtype),
    "float32 in a dict": ({"a": WHOLE.astype(np.float32)}, lambda made: made["a"].dtype),
    "uint64 in an array": (WHOLE.astype(np.uint64)[:, None], lambda made: made.dtype),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_a_type_comes_back_also_by_way_of_a_file(name):
    data, type_of = TYPES[name]
    template = Template.of(data)
    frame = as_frame(data)
    for one in (template, Template.unpacked(*template.packed())):
        back = frame.like(one)
        assert repr(type_of(back)) == repr(type_of(data)), name
        assert as_frame(back).columns[frame.names[0]].cells() == frame.columns[frame.names[0]].cells()


def test_decimals_that_become_floats_are_said():
    prices = [decimal.Decimal("1.10"), None, decimal.Decimal("2.35")]
    for data in ({"price": prices}, pd.DataFrame({"price": prices}), np.array([prices], object).T):
        with pytest.warns(UserWarning, match="decimals are read as float64"):
            as_frame(data)
