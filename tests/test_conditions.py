"""What is known of rows: values and intervals, as a box in z."""

import datetime

import numpy as np
import pandas as pd
import pytest

from motes.conditions import conditions_of
from motes.data.encoder import Encoder
from motes.errors import DataError, UsageError
from motes.table_runs import conditions_from

ROWS = 400


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, ROWS),
            "real": rng.normal(3.0, 2.0, ROWS),
            "price": np.where(rng.random(ROWS) < 0.2, 0.0, np.exp(rng.normal(0, 1.5, ROWS))),
            "stars": rng.integers(1, 6, ROWS),
            "city": rng.choice(["Graz", "Linz", "Wien"], ROWS),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], ROWS), ["S", "M", "L"], ordered=True),
            "member": rng.random(ROWS) < 0.3,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, ROWS), "D"),
            "one": 7.5,
        }
    )


@pytest.fixture(scope="module")
def encoder(table):
    return Encoder.fit(table)


INTERVALS = {
    "age": (30, 40),
    "real": (2.5, None),
    "price": (None, 1.25),
    "stars": (4, None),
    "size": ("M", None),
    "day": ("2024-03-01", datetime.date(2024, 4, 30)),
}


@pytest.mark.parametrize("name", INTERVALS)
def test_rows_lie_in_the_box_where_their_cells_lie_in_the_interval(table, encoder, name):
    low, high = INTERVALS[name]
    asked = conditions_of(encoder, {name: (low, high)})
    j = encoder.learned.index(name)
    z = encoder.encode(table).z[:, j]
    column = table[name]
    if name == "day":
        low, high = pd.Timestamp(low), pd.Timestamp(high)
    inside = np.ones(ROWS, bool)
    inside &= (column >= low) if low is not None else True
    inside &= (column <= high) if high is not None else True
    assert 0 < inside.sum() < ROWS
    np.testing.assert_array_equal((z >= asked.low[j]) & (z <= asked.high[j]), inside)
    others = np.arange(encoder.width) != j
    assert np.isneginf(asked.low[others]).all() and np.isposinf(asked.high[others]).all()
    np.testing.assert_array_equal(asked.limited, ~others)
    assert not asked.valued.any()


@pytest.mark.parametrize("row", range(6))
def test_a_row_lies_in_the_box_of_its_own_cells(table, encoder, row):
    given = {name: table[name].iloc[row] for name in table.columns}
    asked = conditions_of(encoder, given)
    assert asked.valued.all() and not asked.limited.any()
    z = encoder.encode(table.iloc[[row]]).z[0]
    assert (z >= asked.low - 1e-12).all() and (z <= asked.high + 1e-12).all()
    real = encoder.learned.index("real")
    assert asked.low[real] == asked.high[real]  # a number that is known is a point, a discrete value its cell
    city = encoder.learned.index("city")
    assert asked.low[city] < asked.high[city]
    rows = asked.rows(3)
    pd.testing.assert_frame_equal(
        rows.like(table).iloc[[1]].reset_index(drop=True), table.iloc[[row]].reset_index(drop=True)
    )


def test_the_ends_of_a_whole_interval_are_infinite(encoder):
    asked = conditions_of(encoder, {"stars": (1, 5), "price": (0, None)})
    assert np.isneginf(asked.low).all() and np.isposinf(asked.high).all()


WRONG = {
    "an unknown column": ({"agee": 4}, UsageError, "Did you mean 'age'"),
    "a label unseen": ({"city": "Bonn"}, DataError, "'Bonn' came; expected one of the 3 labels"),
    "a half among whole numbers": ({"age": 40.5}, DataError, "expected a whole number"),
    "text among numbers": ({"real": "x"}, DataError, "expected numbers"),
    "below what can be": ({"price": -1}, DataError, "expected a number of at least 0"),
    "an interval below what can be": ({"price": (None, -1)}, DataError, "expected numbers of at least 0"),
    "an interval without a whole number": ({"age": (30.2, 30.8)}, DataError, "an interval with a value"),
    "the wrong way round": ({"real": (3, 2)}, UsageError, "expected low <= high"),
    "labels the wrong way round": ({"size": ("L", "S")}, DataError, "the first label before the last"),
    "three ends": ({"real": (1, 2, 3)}, UsageError, "expected (low, high)"),
    "no end": ({"real": (None, None)}, UsageError, "expected (low, high)"),
    "an interval of no order": ({"city": ("Graz", "Wien")}, UsageError, "without an order"),
    "an interval of one value": ({"one": (7, 8)}, UsageError, "is the same in all rows"),
    "another value of one": ({"one": 8.0}, DataError, "this column was 7.5"),
    "nothing": ({"real": None}, UsageError, "Leave the column out"),
    "not finite": ({"real": float("inf")}, UsageError, "not a finite number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused(encoder, case):
    given, kind, said = WRONG[case]
    with pytest.raises(kind) as error:
        conditions_of(encoder, given)
    assert said in str(error.value)
    assert next(iter(given)) in str(error.value)


def test_conditions_are_read_from_words(encoder):
    words = [
        "age=40",
        "real=-1.5e0..",
        "city=Graz",
        "member=true",
        "day=2024-05-01..2024-06-01",
        "size=..M",
        "price=0..3",
    ]
    assert conditions_from(words, encoder) == {
        "age": 40,
        "real": (-1.5, None),
        "city": "Graz",
        "member": True,
        "day": ("2024-05-01", "2024-06-01"),
        "size": (None, "M"),
        "price": (0, 3),
    }
    conditions_of(encoder, conditions_from(words, encoder))
    for word, said in {
        "age": "expected COLUMN=VALUE",
        "=3": "unknown column",
        "age=": "expected COLUMN=VALUE",
        "ago=3": "Did you mean 'age'",
        "age=old": "'old' is not a number",
    }.items():
        with pytest.raises(UsageError, match=said):
            conditions_from([word], encoder)
    with pytest.raises(UsageError, match="given twice"):
        conditions_from(["age=3", "age=4"], encoder)


MISUSES = {
    "city=Gratz": "unknown label 'Gratz'. Did you mean 'Graz'?",
    "price=-5": "-5 came; expected a number of at least 0",
    "one=8": "this column was 7.5",
    "real=inf": "expected a finite number. An open end is left out",
    "age=40.5": "40.5 came; expected a whole number.",
    "age=40.2..40.8": "no whole number lies in it",
    "city=Graz..Wien": "column 'city' is categorical, without an order",
    "city=A..B": "column 'city' is categorical, without an order",
    "member=false..true": "column 'member' is boolean, without an order",
    "one=7..8": "is the same in all rows",
    "day=soon": "expected a date such as",
    "real=3..2": "expected low <= high",
}


@pytest.mark.parametrize("word", MISUSES)
def test_a_condition_that_cannot_be_is_a_misuse_that_says_which(encoder, word):
    with pytest.raises(UsageError) as error:
        conditions_from([word], encoder)
    assert str(error.value).startswith(f"--given {word}: ")
    assert MISUSES[word] in str(error.value) and "row 1" not in str(error.value)


@pytest.mark.parametrize("several", [[30, 40], slice(30, 40), pd.Interval(30, 40), np.array([30, 40])])
def test_what_might_be_an_interval_is_told_how_to_be_one(encoder, several):
    with pytest.raises(UsageError, match=r"column 'age' = .*\(low, high\)"):
        conditions_of(encoder, {"age": several})


def test_a_date_in_another_time_zone_is_that_moment(encoder):
    box = [
        conditions_of(encoder, {"day": f"2024-03-{day}"}) for day in ("10", "09T23:30:00-00:30", "10T02:00:00+02:00")
    ]
    assert all((other.low == box[0].low).all() and (other.high == box[0].high).all() for other in box)


def test_what_is_finer_than_a_microsecond_is_not_cut_in_silence():
    encoder = Encoder.fit(pd.DataFrame({"t": pd.date_range("2024-01-01", periods=60, freq="us")}))
    with pytest.raises(DataError, match="no finer than a microsecond"):
        conditions_of(encoder, {"t": "2024-01-01T00:00:00.000003004"})
    with pytest.warns(UserWarning, match="finer than a microsecond"):
        conditions_of(encoder, {"t": pd.Timestamp("2024-01-01T00:00:00.000003004")})
