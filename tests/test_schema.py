"""Whole tables as codes: what goes in comes out, in its types; what cannot go in says where; files lose nothing."""

import datetime
import itertools
import json

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference import property_test
from tests.table_reference import random_entries

import motes
from motes.data.frames import as_frame
from motes.errors import DataError, UsageError
from motes.tables import Schema
from motes.tables.kinds import KINDS

N = 600
FIELDS = ("codes", "observed", "y", "low", "high", "log_unit", "other")


def frame_of(n=N, seed=0):
    """A column of every kind, with every fifth entry of half of them missing."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2020-01-01")
    frame = pd.DataFrame(
        {
            "real": rng.normal(3, 2, n),
            "positive": rng.lognormal(0, 1, n),
            "zeros": np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(1, 1, n)),
            "share": np.clip(rng.beta(0.5, 0.5, n) * 1.02 - 0.01, 0, 1),
            "heavy": rng.standard_t(2, n),
            "few": rng.poisson(2, n),
            "many": rng.normal(500, 120, n).round().astype(int).clip(0),
            "skewed": rng.lognormal(5, 1.5, n).astype(np.int32),
            "cents": rng.lognormal(2, 1, n).round(2),
            "flag": rng.random(n) < 0.1,
            "word": rng.choice(["red", "green", "blue"], n, p=[0.7, 0.2, 0.1]),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"], ordered=True),
            "day": start + rng.integers(0, 1000, n).astype("m8[D]"),
            "second": start + rng.integers(0, 10**8, n).astype("m8[s]"),
            "fixed": np.full(n, 7),
            "nothing": np.full(n, np.nan),
        }
    )
    written = np.where(rng.random(n) < 0.3, rng.gamma(3, 9, n), rng.gamma(3, 27, n).round() / 3)
    frame.insert(list(frame).index("day"), "written", written)
    for column in ("real", "zeros", "share", "word", "size", "second"):
        frame.loc[::5, column] = None
    frame["few"] = frame["few"].astype("Int16")
    frame.loc[::5, "few"] = pd.NA
    return frame


FOUND = {
    "real": "real", "positive": "real", "zeros": "real", "share": "bounded", "heavy": "real", "few": "integer",
    "many": "integer", "skewed": "integer", "cents": "real", "flag": "categorical", "word": "categorical",
    "size": "ordered", "written": "fractional", "day": "date", "second": "date", "fixed": "integer", "nothing": "real",
}  # fmt: skip


WHY = {
    "real": "numbers from -4.799 to 9.132", "positive": "numbers from 0.04087 to 17.72",
    "zeros": "numbers from 0 to 25.13, 0 in 44%", "share": "between 0 and 1, from 0 to 1",
    "heavy": "numbers from -24.09 to 18.67", "few": "8 distinct whole numbers from 0 to 7",
    "many": "338 distinct whole numbers from 118 to 876", "skewed": "376 distinct whole numbers from 0 to 9018",
    "cents": "numbers from 0.38 to 107.9, 2 decimals", "flag": "true in 10% of the rows", "word": "3 labels",
    "size": "3 labels, in order", "written": "numbers from 1.333 to 83.88, 25% whole, 45% in 1/3",
    "day": "dates from 2020-01-01 to 2022-09-26",
    "second": "dates from 2020-01-05T11:22:58 to 2023-03-02T14:27:16",
    "fixed": "7 in all 600 rows that have a value", "nothing": "no row has a value",
}  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    return frame_of()


@pytest.fixture(scope="module", params=["ignore", "learn"])
def schema(frame, request):
    return Schema.fit(frame, missing=request.param)


def same(one, two):
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))


# --- what there is --------------------------------------------------------------------------------------------------


def test_every_kind_is_inferred_and_says_why(frame, schema):
    assert {column.name: column.kind for column in schema.columns} == FOUND and {*FOUND.values()} == {*KINDS}
    assert schema.names == tuple(FOUND) and schema.learned == tuple(FOUND)[:-2] and schema.dropped == ()
    assert set(schema.kept) == {"fixed", "nothing"} and schema.rows == N
    assert [part.column for part in schema.parts] == [*tuple(FOUND)[:-5], *["written"] * 2, "day", *["second"] * 2]
    assert schema.parts_of("second") == slice(15, 17) and schema.parts_of("real") == slice(0, 1)
    with pytest.raises(UsageError, match="column 'fixed' is not learned"):
        schema.parts_of("fixed")
    message = {row["name"]: row for row in schema.described()}
    assert list(message) == list(FOUND) and {name: row["why"] for name, row in message.items()} == WHY
    assert message["zeros"]["becomes"].startswith("26 bins, logarithm, 1 value apart")
    assert message["real"]["missing"] == 0.2 and message["fixed"]["becomes"] == "kept aside"
    assert schema.warnings == [
        "column 'fixed': constant: kept aside and returned unchanged.",
        "column 'nothing': all missing: kept aside and returned unchanged.",
    ]
    types = {name: series.type for name, series in as_frame(frame).columns.items()}
    assert schema.types == types


def test_a_column_that_varies_by_rounding_alone_is_constant():
    schema = Schema.fit(pd.DataFrame({"a": [0.1 + 0.2, 0.3, 0.3], "b": range(3)}))
    assert schema.columns[0].warnings == ("constant: kept aside and returned unchanged",)


# --- there and back -------------------------------------------------------------------------------------------------


def test_a_table_comes_back(frame, schema):
    encoded = schema.encode(frame)
    back = schema.decode(encoded.codes, encoded.y, np.zeros(encoded.y.shape), encoded.observed).like(frame)
    pd.testing.assert_frame_equal(back, frame, rtol=1e-12)
    assert len(encoded) == N and encoded.codes.dtype == np.int32 and not encoded.other.any()
    if schema.parts[0].missing:
        assert encoded.observed[:, :-1].all()
        back = schema.decode(encoded.codes, encoded.y, np.zeros(encoded.y.shape)).like(frame)
        pd.testing.assert_frame_equal(back, frame, rtol=1e-12)


@pytest.mark.parametrize("kind", ["polars", "arrow", "objects"])
def test_so_do_those_of_other_libraries(frame, kind):
    table = pl.from_pandas(frame.drop(columns="nothing"))
    template = {"polars": table, "arrow": table.to_arrow(), "objects": None}[kind]
    if template is None:
        template = np.stack([series.cells() for series in as_frame(table).columns.values()], axis=1).astype(object)
    schema = Schema.fit(template)
    encoded = schema.encode(template)
    back = schema.decode(encoded.codes, encoded.y, encoded.y, encoded.observed)
    for name, series in as_frame(template).columns.items():
        if series.type == "real":
            assert np.array_equal(back.columns[name].missing, series.missing)
            assert np.allclose(back.columns[name].known, series.known, rtol=1e-12)
        else:
            assert back.columns[name].cells() == series.cells(), name
    if kind == "polars":
        polars.testing.assert_frame_equal(back.like(table), table)


@pytest.mark.slow
@property_test
@given(st.data())
def test_a_column_of_anything_comes_back(data):
    cells = data.draw(
        st.sampled_from(
            [
                st.floats(-1e12, 1e12, allow_subnormal=False),
                st.integers(-(2**33), 2**33),
                st.integers(0, 5),
                st.booleans(),
                st.text(min_size=1, max_size=4),
                st.dates(),
                st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2050, 1, 1)),
            ]
        )
    )
    column = data.draw(st.lists(st.none() | cells, min_size=2, max_size=12))
    table = np.array([[cell, k] for k, cell in enumerate(column)], dtype=object)
    schema = Schema.fit(table, missing=data.draw(st.sampled_from(["ignore", "learn"])))
    encoded = schema.encode(table)
    assert all(np.isfinite(getattr(encoded, field)).all() for field in ("y", "low", "high", "log_unit"))
    back = schema.decode(encoded.codes, encoded.y, encoded.y, encoded.observed).columns["x"]
    first = as_frame(table).columns["x"]
    if schema.columns[0].constant:
        assert all(
            was is None or was == now or abs(was - now) < 1e-9 * abs(now)
            for was, now in zip(column, back.cells(), strict=True)
        )
    elif first.type == "real":
        assert np.allclose(back.known, first.known, rtol=1e-9, atol=1e-9 * np.abs(first.known).max())
    else:
        assert back.cells() == first.cells()


@pytest.mark.parametrize("draws", [1, 50, 5000])
def test_types_come_back_however_many_rows_are_made(draws):
    """D10: uint8 came back as int64, float16 as infinity, and dates beyond what pandas can hold."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "bytes": rng.normal(128, 60, N).clip(0, 255).astype(np.uint8),
            "half": (rng.standard_t(2, N) * 1000).clip(-65000, 65000).astype(np.float16),
            "single": rng.normal(size=N).astype(np.float32),
            "huge": np.r_[1e308, rng.normal(size=N - 1)],
            "nullable": pd.array(rng.integers(0, 100, N), dtype="Int8"),
            "ns": pd.to_datetime(rng.integers(-6 * 10**15, 6 * 10**15, N), unit="us").astype("datetime64[ns]"),
        }
    )
    frame.loc[:1, "ns"] = pd.to_datetime(["1703-01-02", "2252-12-30"])
    schema = Schema.fit(frame)
    encoded = schema.encode(frame)
    back = schema.decode(encoded.codes, encoded.y, encoded.y).like(frame)
    pd.testing.assert_frame_equal(back, frame, rtol=1e-12)
    made = schema.decode(*random_entries(schema, draws, rng)).like(frame)
    assert (made.dtypes == frame.dtypes).all()
    assert np.isfinite(made["half"]).all()
    for name in frame:
        assert made[name].min() >= frame[name].min() and made[name].max() <= frame[name].max()


def test_the_order_of_columns_does_not_matter_and_an_array_has_no_names(frame, schema):
    same(schema.encode(frame[frame.columns[::-1]]), schema.encode(frame))
    x = np.random.default_rng(0).normal(size=(50, 3))
    numbers = Schema.fit(x)
    same(numbers.encode(x), numbers.encode(pd.DataFrame(x, columns=["x0", "x1", "x2"])))
    with pytest.raises(DataError, match="has 2 columns but 3 names"):
        numbers.encode(x[:, :2])


def test_missing_entries_are_not_observed_or_have_the_last_code(frame, schema):
    encoded = schema.encode(frame)
    for name in schema.learned:
        at = schema.parts_of(name)
        gone = frame[name].isna().to_numpy()
        first = schema.parts[at.start]
        assert first.missing == (schema.parts[0].missing and gone.any())
        if first.missing:
            assert (encoded.codes[gone, at.start] == first.count - 1).all() and encoded.observed[:, at.start].all()
            assert np.isclose(first.masses[-1], gone.mean())
            assert first.edges is None or len(first.edges) == first.count
        else:
            assert np.array_equal(encoded.observed[:, at.start], ~gone)
        for j in range(at.start + 1, at.stop):
            assert np.array_equal(encoded.observed[:, j], ~gone) and not schema.parts[j].missing
        for field in ("y", "low", "high", "log_unit"):
            assert not getattr(encoded, field)[gone, at].any()
    empty = pd.DataFrame(None, index=range(3), columns=frame.columns, dtype=object)
    nothing = schema.encode(empty)
    decoded = schema.decode(nothing.codes, nothing.y, nothing.y, nothing.observed)
    assert all(series.missing.all() for name, series in decoded.columns.items() if name != "fixed")


def test_missing_may_be_said_of_one_column(frame):
    mine = {"word": {"missing": "learn"}, "few": {"kind": "real", "missing": "learn"}}
    schema = Schema.fit(frame, mine, missing="ignore")
    coded = [part.column for part in schema.parts if part.missing]
    assert coded == ["few", "word"]
    assert schema.columns[schema.names.index("word")].why == "3 labels"
    schema = Schema.fit(frame, {"word": {"missing": "ignore"}}, missing="learn")
    assert "word" not in [part.column for part in schema.parts if part.missing]
    # One value or none is something to learn, where missing entries count.
    table = pd.DataFrame({"a": [7, None, 7, None], "b": [1, 2, 3, 4], "c": ["x", None, "x", "x"]})
    assert Schema.fit(table, missing="ignore").learned == ("b",)
    schema = Schema.fit(table)
    assert [part.masses.round(9).tolist() for part in schema.parts] == [[0.5, 0.5], [0.25] * 4, [0.75, 0.25]]
    encoded = schema.encode(table)
    back = schema.decode(encoded.codes, encoded.y, encoded.y).like(table)
    pd.testing.assert_frame_equal(back, table)


def test_known_entries_are_put_to_the_bit(frame, schema):
    made = schema.decode(*random_entries(schema, N, np.random.default_rng(2)))
    known = schema.put(made, frame)
    for name, series in as_frame(frame).columns.items():
        here = ~series.missing
        assert [known.columns[name].cells()[i] for i in np.flatnonzero(here)[:50]] == [
            series.cells()[i] for i in np.flatnonzero(here)[:50]
        ]
        if name in schema.learned:
            gone = known.columns[name].take(np.flatnonzero(~here))
            assert gone.cells() == made.columns[name].take(np.flatnonzero(~here)).cells()
    cents = Schema.fit(frame[["cents"]])
    finer = pd.DataFrame({"cents": [0.1, 0.123456789]})
    encoded = cents.encode(finer)
    pd.testing.assert_frame_equal(
        cents.put(cents.decode(encoded.codes, encoded.y, encoded.y), finer).like(finer), finer
    )


def test_codes_and_places_that_cannot_be_are_refused(frame, schema):
    codes, y, u = random_entries(schema, 5, np.random.default_rng(3))
    bad = np.array(codes)
    bad[3, 1] = schema.parts[1].count
    with pytest.raises(DataError, match=f"row 4, 'positive': got code {bad[3, 1]}; expected 0 to {bad[3, 1] - 1}"):
        schema.decode(bad, y, u)
    bad[3, 1] = -1
    with pytest.raises(DataError, match="row 4, 'positive': got code -1"):
        schema.decode(bad, y, u)
    nowhere = np.array(y)
    nowhere[2, 1] = np.nan
    with pytest.raises(DataError, match="row 3, 'positive': got y = nan"):
        schema.decode(codes, nowhere, u)
    with pytest.raises(DataError, match=r"y has shape \(5, 2\); expected \(rows, 17\)"):
        schema.decode(codes, y[:, :2], u)
    labels = schema.parts_of("word")
    nowhere = np.array(y)
    nowhere[:, labels] = np.nan  # which no label has
    schema.decode(codes, nowhere, u)


# --- weights --------------------------------------------------------------------------------------------------------


def test_a_whole_weight_is_as_many_rows_to_the_bit(frame):
    weights = np.random.default_rng(4).integers(0, 4, N)
    weighted = Schema.fit(frame, weights=weights, missing="learn")
    repeated = Schema.fit(frame.loc[np.repeat(np.arange(N), weights)], missing="learn")
    some = Schema.fit(frame[weights > 0], missing="learn")
    for one, two, three in zip(weighted.parts, repeated.parts, some.parts, strict=True):
        assert one.name == two.name
        np.testing.assert_array_equal(one.masses, two.masses)
        np.testing.assert_array_equal(one.edges, two.edges)
        assert three.count != one.count or not np.array_equal(three.masses, one.masses)
    shuffled = Schema.fit(frame.sample(frac=1, random_state=0))
    for one, two in zip(Schema.fit(frame).parts, shuffled.parts, strict=True):
        np.testing.assert_array_equal(one.masses, two.masses)
        np.testing.assert_array_equal(one.edges, two.edges)


BAD_WEIGHTS = [
    (np.ones(3), r"have shape \(3,\)"),
    (np.r_[1, -np.ones(N - 1)], "weight of row 2 of the data is -1"),
    (np.full(N, np.nan), "weight of row 1 of the data is nan"),
    (np.zeros(N), "all weights of the data are 0"),
    (["many"] * N, "are of type"),
]


@pytest.mark.parametrize(("weights", "says"), BAD_WEIGHTS)
def test_weights_that_are_none_are_refused_alike_for_schemas_tables_and_points(frame, weights, says):
    for take in (
        lambda: Schema.fit(frame, weights=weights),
        lambda: motes.fit(frame, weights=weights, verbose=False),
        lambda: motes.fit(np.random.default_rng(0).normal(size=(N, 2)), weights=weights, verbose=False),
    ):
        with pytest.raises(DataError, match=says):
            take()


# --- what cannot go in ----------------------------------------------------------------------------------------------

GOOD = pd.DataFrame(
    {
        "age": [17, 20, 41, 35],
        "size": ["S", "M", "L", "M"],
        "price": [1.5, 2.25, 100.125, 3.5],
        "day": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-02-01", "2020-03-01"]),
        "fixed": ["a"] * 4,
    }
)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("size", [1, 2, 3, 4], "row 1, column 'size': got 1; expected one of the 3 training labels"),
        ("price", ["x", "y", None, None], "row 1, column 'price': got 'x'; expected numbers, and this column is text"),
        ("day", [1, 2, 3, 4], "row 1, column 'day': got 1; expected dates, and this column is whole numbers"),
        ("day", ["soon"] * 4, "row 1, column 'day': got 'soon'; expected a date such as"),
        ("fixed", ["a", None, "b", "a"], "row 3, column 'fixed': got 'b'; expected 'a', as in all training rows"),
        ("fixed", [1, 1, 1, 1], "row 1, column 'fixed': got 1; expected 'a'"),
    ],
)  # fmt: skip
def test_an_entry_that_its_column_cannot_hold_is_named(column, values, says):
    schema = Schema.fit(GOOD)
    bad = GOOD.copy()
    bad[column] = values
    with pytest.raises(DataError, match=says) as error:
        schema.encode(bad, name="'new.csv'")
    assert str(error.value).startswith("'new.csv', row")


def test_what_cannot_be_is_marked_and_no_row_is_lost():
    """D10: one entry refused a whole held-out table."""
    schema = Schema.fit(GOOD, {"age": {"kind": "integer", "low": 0, "high": 100}})
    new = pd.DataFrame(
        {
            "age": [17, 200, 30, None],
            "size": ["XL", "S", "M", "L"],
            "price": [np.inf, 2.0, -50.0, 1.0],
            "day": pd.to_datetime(["2020-01-01T00:00", "2020-01-02T12:00", None, "2019-01-01T00:00"]),
            "fixed": ["a", "a", "b", None],
        }
    )
    encoded = schema.encode(new, unseen="mark")
    assert (encoded.codes == -1).tolist() == [
        [False, True, True, False], [True, False, False, True], [False] * 4, [False] * 4,
    ]  # fmt: skip
    assert encoded.other.tolist() == [False, False, True, False]
    assert encoded.observed[encoded.codes == -1].all()


def test_a_column_too_few_or_too_many_is_named():
    schema = Schema.fit(GOOD)
    with pytest.raises(DataError, match=r"no column 'price'; expected age, size, price.*all entries missing"):
        schema.encode(GOOD.drop(columns="price"))
    with pytest.raises(DataError, match="has a column 'more'; expected age"):
        schema.encode(GOOD.assign(more=1))
    row = GOOD[:1].astype(object).assign(price=None)
    assert schema.encode(row).observed.tolist() == [[True, True, False, True]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (GOOD[:0], "has no rows"),
        (GOOD[:1], "no column of the data varies"),
        (pd.DataFrame(index=range(3)), "has no columns"),
        (pd.DataFrame({"a": [1.5, -np.inf], "b": [1, 2]}), "row 2, column 'a': got -inf; expected a finite number"),
        (pd.DataFrame({"a": [(1,), (2,)], "b": [1, 2]}), "row 1, column 'a'.*--set columns.a=drop"),
    ],
)
def test_a_table_that_cannot_be_learned_says_why(data, says):
    with pytest.raises(DataError, match=says):
        Schema.fit(data)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("reel", "column 'age': unknown kind 'reel'. Did you mean 'real'"),
        (3, "column 'age' = 3; expected a kind"),
        ({"low": 0}, "expected a kind"),
        ({"kind": "categorical", "low": 0}, "kind 'categorical' has no option 'low'; it has none"),
        ({"kind": "bounded", "lo": 0}, "kind 'bounded' has no option 'lo'; it has low, high, decimals"),
        ({"kind": "bounded", "low": "x"}, "low = 'x'; expected a finite number"),
        ({"kind": "bounded", "low": 2}, "low = 2 and high = 1; expected low < high"),
        ({"kind": "integer", "low": 0.5}, "low = 0.5; expected a whole number"),
        ({"kind": "integer", "step": 0}, "step = 0; expected a whole number of at least 1"),
        ({"kind": "real", "decimals": 9}, "decimals = 9; expected a whole number from 1 to 6"),
        ({"kind": "ordered", "order": "SML"}, "order = 'SML'; expected two labels or more"),
        ({"kind": "ordered", "order": ["S", "S"]}, "expected two labels or more, each once"),
        ({"missing": "maybe"}, "missing = 'maybe'; expected 'learn' or 'ignore'"),
    ],
)
def test_an_override_that_cannot_be_followed_says_why(override, says):
    with pytest.raises(UsageError, match=says):
        Schema.fit(GOOD, {"age": override})
    with pytest.raises(UsageError, match=r"unknown column 'agee'\. Did you mean 'age'"):
        Schema.fit(GOOD, {"agee": "real"})


def test_a_dropped_column_is_not_learned_not_given_back_and_ignored(frame):
    more = frame.assign(id=np.arange(N))[["id", *frame]]
    plain, schema = Schema.fit(frame), Schema.fit(more, {"id": "drop"})
    assert schema.names == plain.names and schema.dropped == ("id",) and schema.input_columns == tuple(more)
    arrays, about = schema.to_state()
    again = Schema.from_state(arrays, json.loads(json.dumps(about)))
    for one, rows in itertools.product((schema, again), (frame, more)):
        same(one.encode(rows), plain.encode(frame))
    assert schema.decode(*random_entries(schema, 2, np.random.default_rng(0))).names == plain.names
    numbers = Schema.fit(np.arange(60.0).reshape(20, 3) ** 1.5, {"x1": "drop"})
    same(numbers.encode(np.ones((4, 3))), numbers.encode(np.ones((4, 2))))
    for overrides, message in (({"idd": "drop"}, "Did you mean 'id'"), (dict.fromkeys(more, "drop"), "all columns")):
        with pytest.raises(UsageError, match=message):
            Schema.fit(more, overrides)


# --- on disk --------------------------------------------------------------------------------------------------------


def test_a_schema_goes_through_json_and_arrays_to_the_bit(frame, schema):
    arrays, about = schema.to_state()
    assert all(isinstance(array, np.ndarray) and array.dtype != object for array in arrays.values())
    again = Schema.from_state(arrays, json.loads(json.dumps(about, allow_nan=False)))
    assert again.columns == schema.columns and again.described() == schema.described()
    same(again.encode(frame), schema.encode(frame))
    entries = random_entries(schema, 50, np.random.default_rng(9))
    pd.testing.assert_frame_equal(schema.decode(*entries).like(frame), again.decode(*entries).like(frame))
    for j, part in enumerate(schema.parts):
        assert again.parts[j].draw_range == part.draw_range and again.parts[j].name == part.name
        np.testing.assert_array_equal(again.parts[j].masses, part.masses)
