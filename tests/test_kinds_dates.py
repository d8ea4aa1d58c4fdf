"""Columns of dates: the parts that matter are found, dates come back, and none is made that does not exist."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.table_reference import log_prob, random_entries

from motes.errors import DataError
from motes.tables import Schema
from motes.tables.kinds.numbers import LEVEL, join_days, split_days

RNG = np.random.default_rng(11)
N = 3000
START = pd.Timestamp("2020-01-01")
DAYS = RNG.integers(0, 1461, N)  # four years


def dates(days):
    return START + pd.to_timedelta(days, "D")


def of_months(days):
    years, months = RNG.integers(2010, 2020, N), RNG.integers(1, 13, N)
    return pd.Series(pd.to_datetime([f"{y}-{m:02}-{d:02}" for y, m, d in zip(years, months, days, strict=True)]))


WORKDAYS = np.array([day for day in range(1461) if dates(day).day_of_week < 5])
SECONDS = pd.to_timedelta(RNG.normal(13 * 3600, 3 * 3600, N).clip(0, 86399).astype(int), "s")
QUARTERS = pd.to_timedelta(RNG.integers(32, 80, N) * 15, "min")
COLUMNS = {
    "any": (dates(DAYS), ["x"]),
    "workdays": (dates(RNG.choice(WORKDAYS, N)), ["x: week", "x: weekday"]),
    "weekends rarer": (dates(np.append(DAYS, RNG.choice(WORKDAYS, N))), ["x: week", "x: weekday"]),
    "pay days": (of_months(RNG.choice([1, 15, 15, 28], N)), ["x: month", "x: day"]),
    "month ends": (of_months(np.ones(N, int)) + pd.offsets.MonthEnd(0), ["x: month", "x: day"]),
    "first of the month": (of_months(np.ones(N, int)), ["x"]),
    "every week": (dates(7 * RNG.integers(0, 300, N)), ["x"]),
    "a few days": (dates(RNG.choice(RNG.integers(0, 700, 20), N)), ["x"]),
    "growth": (dates((1461 * RNG.random(N) ** 0.3).astype(int)), ["x"]),
    "noon": (dates(DAYS) + pd.Timedelta(hours=12), ["x"]),
    "seconds": (dates(DAYS) + SECONDS, ["x: day", "x: time"]),
    "quarters of an hour": (dates(RNG.choice(WORKDAYS, N)) + QUARTERS, ["x: week", "x: weekday", "x: time"]),
    "microseconds": (START + pd.to_timedelta(RNG.integers(0, 10**13, N), "us"), ["x: day", "x: time"]),
}  # fmt: skip


def fitted(values, override=None, **options):
    frame = pd.DataFrame({"x": np.asarray(values)})
    return frame, Schema.fit(frame, None if override is None else {"x": override}, **options)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_parts_of_dates_are_found_and_they_come_back(name):
    values, parts = COLUMNS[name]
    frame, schema = fitted(values)
    assert schema.columns[0].kind == "date"
    assert [part.name for part in schema.parts] == parts
    assert schema.parts_of("x") == slice(0, len(parts))
    encoded = schema.encode(frame)
    back = schema.decode(encoded.codes, encoded.y, RNG.random(encoded.y.shape)).like(frame)
    pd.testing.assert_frame_equal(back, frame, check_exact=True)
    for j, part in enumerate(schema.parts):
        shares = np.bincount(encoded.codes[:, j], minlength=part.count) / len(frame)
        assert np.abs(shares - part.masses).sum() <= 1.001 / len(frame)
        assert (part.edges is None) == (part.name == "x: weekday")


@pytest.mark.parametrize("name", COLUMNS)
def test_dates_that_are_made_exist_and_lie_within_those_observed(name):
    frame, schema = fitted(COLUMNS[name][0])
    codes, y, u = random_entries(schema, 2000, RNG)
    made = schema.decode(codes, y, u)
    rows = made.like(frame)["x"]
    assert rows.dtype == frame["x"].dtype
    assert rows.min() >= frame["x"].min() and rows.max() <= frame["x"].max()
    inner = (rows.dt.normalize() > frame["x"].min()) & (rows.dt.normalize() < frame["x"].max().normalize())
    np.testing.assert_array_equal(schema.encode(made).codes[inner], codes[inner])
    if name in ("workdays", "quarters of an hour"):
        assert rows.dt.day_of_week.max() == 4
    if name == "pay days":
        assert set(rows.dt.day) == {1, 15, 28}
    if name == "month ends":
        assert set(rows.dt.day) == {28, 29, 30, 31}
    if name == "quarters of an hour":
        assert set(rows.dt.minute) == {0, 15, 30, 45}


@pytest.mark.parametrize(
    "name", ["any", "workdays", "weekends rarer", "pay days", "month ends", "every week", "a few days"]
)
def test_the_probabilities_of_all_days_sum_to_1(name):
    _, schema = fitted(COLUMNS[name][0])
    days = pd.DataFrame({"x": pd.date_range("1990-01-01", "2045-01-01")})
    marked = schema.encode(days, unseen="mark")
    p = np.where((marked.codes < 0).any(axis=1), 0.0, np.exp(log_prob(schema, days, unseen="mark")))
    assert np.isclose(p.sum(), 1, atol=1e-3)


def test_the_31st_of_june_is_not_allowed():
    _, schema = fitted(COLUMNS["month ends"][0])
    months = pd.DataFrame({"x": pd.date_range("2010-02-01", "2019-11-01", freq="MS") + pd.offsets.MonthEnd(0)})
    encoded = schema.encode(months)
    allowed = schema.allowed(1, encoded.codes[:, :1], encoded.y[:, :1])
    marks = np.array([28, 29, 30, 31])
    np.testing.assert_array_equal(allowed, marks <= months["x"].dt.day.to_numpy()[:, None])
    assert schema.allowed(0, encoded.codes[:, :0], encoded.y[:, :0]) is None
    # Where no seen day exists, the last day of the month is made.
    values = pd.to_datetime([f"20{y}-{m:02}-30" for y in range(10, 20) for m in range(1, 13) if m != 2] * 2)
    _, schema = fitted(np.append(values, pd.to_datetime(["2015-07-31"] * 100)))
    codes, y, u = random_entries(schema, 500, RNG)
    assert schema.decode(codes, y, u).like(pd.DataFrame({"x": values}))["x"].dt.day.min() >= 28


def test_a_calendar_is_that_of_numpy():
    days = np.arange(-200_000, 200_000, 37)
    for split in ("day", "week", "month"):
        joined, exist = join_days(split, *split_days(split, days))
        np.testing.assert_array_equal(joined, days)
        assert exist.all()
    near = days[np.abs(days) < 50_000]
    recent = pd.DatetimeIndex(near.astype("M8[D]"))
    np.testing.assert_array_equal(split_days("week", near)[1], recent.day_of_week)
    np.testing.assert_array_equal(split_days("month", near)[1], recent.day - 1)
    june, _ = split_days("month", np.array(["2021-06-01"], "M8[D]").astype(np.int64))
    assert not join_days("month", june, np.array([30]))[1]


@pytest.mark.slow
def test_dates_without_a_pattern_are_hardly_ever_split():
    """Two tests at `LEVEL` of each of 200 columns: more than 4 splits in fewer than one of 10,000 sets of seeds."""
    rng = np.random.default_rng(0)
    split = [len(fitted(dates(rng.integers(0, 1000, 700)))[1].parts) > 1 for _ in range(200)]
    assert LEVEL == 1e-3 and sum(split) <= 4
    # Neither are those of which many rows hold the same few days.
    clustered = [len(fitted(dates(rng.choice(rng.integers(0, 900, 25), 2000)))[1].parts) > 1 for _ in range(50)]
    assert sum(clustered) <= 2


def test_a_whole_number_of_weeks_or_quarters_is_a_step():
    for values, step, split in (
        (dates(7 * RNG.integers(0, 300, N)), 7, "day"),
        (pd.to_datetime([f"20{y}-{m:02}-01" for y in range(10, 60) for m in (1, 4, 7, 10)]), 3, "month"),
    ):
        _, schema = fitted(values)
        kind = schema.kinds[0]
        assert (kind.coarse.grid.step, kind.split) == (step, split)


def test_dates_of_polars_and_text_come_back():
    table = pl.DataFrame({"x": pd.Series(dates(DAYS)).dt.date.tolist()})
    schema = Schema.fit(table)
    encoded = schema.encode(table)
    assert schema.decode(encoded.codes, encoded.y, encoded.y).like(table).equals(table)
    text = pd.DataFrame({"x": np.datetime_as_string(dates(DAYS).to_numpy().astype("M8[D]"))})
    schema = Schema.fit(text, {"x": "date"})
    made = schema.decode(*random_entries(schema, 5, RNG))
    assert made.columns["x"].type == "date"
    np.testing.assert_array_equal(schema.encode(text).codes, Schema.fit(table).encode(table).codes)


@pytest.mark.parametrize(
    ("name", "new", "says"),
    [
        ("workdays", "2021-05-16", "expected a date like .*on Monday, Tuesday, Wednesday, Thursday, Friday"),
        ("any", "2021-05-16T12:00", "got 2021-05-16 12:00:00; expected a date"),
        ("noon", "2021-05-16", "all at 12:00:00"),
        ("quarters of an hour", "2021-05-14T12:01", "at multiples of 15 minutes"),
        ("a few days", "2030-01-01", "from 20"),
    ],
)  # fmt: skip
def test_a_date_that_its_column_cannot_hold_is_refused_or_marked(name, new, says):
    frame, schema = fitted(COLUMNS[name][0])
    rows = pd.DataFrame({"x": [frame["x"][0], pd.NaT, pd.Timestamp(new)]})
    with pytest.raises(DataError, match=f"row 3, column 'x': .*{says}"):
        schema.encode(rows)
    marked = schema.encode(rows, unseen="mark")
    assert (marked.codes == -1).any(axis=1).tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("values", "override", "says"),
    [
        (["x", "y"], "date", "row 1, column 'x': got 'x'; expected a date such as"),
        ([None, "2020-01-01", "2020-02-30"], "date", "row 3, column 'x': got '2020-02-30'; expected a date such as"),
        ([1, 2], "date", "row 1, column 'x': got 1; expected dates"),
    ],
)
def test_entries_that_are_no_dates_are_named(values, override, says):
    with pytest.raises(DataError, match=says):
        Schema.fit(pd.DataFrame({"x": values}), {"x": override})
