"""Conditions: what remains of the codes and places is what fulfils them, and what cannot be is refused by name."""

import datetime

import numpy as np
import pandas as pd
import pytest
from tests.reference import Z
from tests.table_reference import log_prob, random_entries

from motes.cli.condition_words import point_conditions, table_conditions
from motes.errors import DataError, UsageError
from motes.tables import Schema
from motes.tables.draws import conditions_of
from motes.tables.parts import Among, Between, Missing, Not

N = 2000


@pytest.fixture(scope="module")
def table():
    other = np.random.default_rng(5)
    hours = np.exp(other.normal(1.5, 0.7, N))  # to halves or thirds of an hour, or as measured
    hours = np.select(
        [other.random(N) < 0.4, other.random(N) < 0.5], [np.rint(2 * hours) / 2, np.rint(3 * hours) / 3], hours
    )
    rng = np.random.default_rng(0)
    every = pd.date_range("2020-01-01", periods=900)
    days = rng.choice(every[every.day_of_week < 5], N)
    moments = pd.to_datetime(days) + pd.to_timedelta(rng.integers(480, 1200, N), "min")
    moments = pd.Series(moments)
    moments[rng.random(N) < 0.1] = None
    moments[0] = pd.Timestamp(NOON).floor("min")
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, N),
            "many": rng.integers(-500, 3000, N),
            "real": rng.normal(3.0, 2.0, N),
            "price": np.where(rng.random(N) < 0.2, 0.0, np.exp(rng.normal(0, 1.5, N))),
            "cents": np.exp(rng.normal(3, 1, N)).round(2),
            "stars": np.where(rng.random(N) < 0.3, np.nan, rng.integers(1, 6, N)),
            "city": rng.choice(["Graz", "Linz", "Wien"], N),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], N), ["S", "M", "L"], ordered=True),
            "member": rng.random(N) < 0.3,
            "colour": other.choice(["red", "green", "blue", "black", None], N),
            "when": moments,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, N), "D"),
            "one": 7.5,
            "hours": hours,
            "rounded": np.where(other.random(N) < 0.5, np.rint(hours), hours.round(2)),
        }
    )


@pytest.fixture(scope="module")
def schema(table):
    fractional = dict.fromkeys(["hours", "rounded"], "fractional")
    missing = {key: {"missing": "learn"} for key in ["stars", "when", "colour"]}
    return Schema.fit(table, missing | fractional)


def span(first, last):
    return lambda column: column.between(pd.Timestamp(first), pd.Timestamp(last))


NOON, MORNING = "2020-05-06T12:06:20", "2021-11-10T10:30"  # the first is between two minutes

# name -> column, condition, what it says of a pandas column, whether one interval of y is all of it
CASES = {
    "between": ("age", Between(30, 40), lambda c: c.between(30, 40), True),
    "from on": ("many", Between(100, None), lambda c: c >= 100, True),
    "among": ("age", Among((30, 45, 46)), lambda c: c.isin([30, 45, 46]), True),
    "among many": ("many", Among((30, 31, 1700)), lambda c: c.isin([30, 31, 1700]), False),
    "not a value": ("many", Not(30), lambda c: c != 30, False),
    "not an interval": ("many", Not(Between(30, 700)), lambda c: ~c.between(30, 700), False),
    "real": ("real", Between(2.5, None), lambda c: c >= 2.5, True),
    "zeros": ("price", Among((0,)), lambda c: c == 0, True),
    "no zeros": ("price", Not(0.0), lambda c: c != 0, True),
    "zeros too": ("price", Between(0, 1.25), lambda c: c <= 1.25, True),
    "cents": ("cents", Between(12.3, 45.67), lambda c: c.between(12.3, 45.67), True),
    "not stars": ("stars", Not(4), lambda c: c.notna() & (c != 4), True),
    "missing": ("stars", Missing(), lambda c: c.isna(), True),
    "not missing": ("stars", Not(Missing()), lambda c: c.notna(), True),
    "city": ("city", Among(("Graz", "Wien")), lambda c: c != "Linz", True),
    "colour": ("colour", Among(("red", "blue")), lambda c: c.isin(["red", "blue"]), True),
    "size": ("size", Between("M", None), lambda c: c != "S", True),
    "member": ("member", Not(True), lambda c: ~c, True),
    "days": ("day", Between("2024-03-01", datetime.date(2024, 4, 30)), span("2024-03-01", "2024-04-30"), True),
    "moments": ("when", Between(NOON, MORNING), span(NOON, MORNING), True),
    "hours": ("hours", Between(2.5, 6.75), lambda c: c.between(2.5, 6.75), False),
    "hours of one": ("hours", Between(4.1, 4.6), lambda c: c.between(4.1, 4.6), True),
    "some hours": ("hours", Among((2.5, 4, 5.5)), lambda c: c.isin([2.5, 4, 5.5]), False),
    "not hours": ("hours", Not(Between(1, 9.5)), lambda c: ~c.between(1, 9.5), False),
    "rounded": ("rounded", Between(2.5, 6.75), lambda c: c.between(2.5, 6.75), False),
    "rounded to one": ("rounded", Among((6.0,)), lambda c: c == 6, True),
    "not moments": ("when", Not(Between(NOON, MORNING)), lambda c: c.notna() & ~span(NOON, MORNING)(c), False),
}  # fmt: skip


def remaining(schema, column, restriction, codes, y):
    """Whether the codes of all parts are allowed, and the places lie in the intervals, (n,)."""
    inside = np.ones(len(codes), bool)
    first = schema.parts_of(column).start
    for i, part in enumerate(schema.parts[schema.parts_of(column)]):
        allowed = np.broadcast_to(restriction.allowed(i, codes[:, :i], y[:, :i]), (len(codes), part.count))
        low, high = restriction.interval(i, codes[:, :i], y[:, :i])
        gone = (
            codes[:, 0] == schema.parts[first].count - 1 if schema.parts[first].missing else np.zeros(len(codes), bool)
        )
        here = allowed[np.arange(len(codes)), codes[:, i]] & ((y[:, i] >= low) & (y[:, i] <= high) | gone)
        inside &= here | (gone & (i > 0))
    return inside


@pytest.mark.parametrize("name", CASES)
def test_what_remains_is_what_fulfils_the_condition(table, schema, name):
    column, condition, message, single = CASES[name]
    restriction = schema.restrict(column, condition)
    parts = schema.parts_of(column)
    for rows in (table, None):
        if rows is None:  # and of rows that are made
            codes, y, u = random_entries(schema, N, np.random.default_rng(1))
            rows = schema.decode(codes, y, u).like(table)
        encoded = schema.encode(rows)
        codes, y = encoded.codes[:, parts], encoded.y[:, parts]
        fulfils = message(rows[column]).to_numpy(bool)
        if rows is table:
            assert 0 < fulfils.sum() < N
        np.testing.assert_array_equal(restriction.holds(codes, y), fulfils)
        if (shares := restriction.shares()) is not None:
            np.testing.assert_array_equal(shares[codes[:, 0]] > 0, fulfils)
        inside = remaining(schema, column, restriction, codes, y)
        if single:
            np.testing.assert_array_equal(inside, fulfils)
        else:
            assert inside[fulfils].all()


def test_every_day_is_an_end(table, schema):
    encoded = schema.encode(table)
    parts = schema.parts_of("day")
    for day in pd.date_range("2024-03-01", "2024-04-30"):
        restriction = schema.restrict("day", Not(Between(None, day)))
        inside = remaining(schema, "day", restriction, encoded.codes[:, parts], encoded.y[:, parts])
        np.testing.assert_array_equal(inside, table["day"] > day)


@pytest.mark.parametrize("name", ["between", "from on", "zeros too", "cents", "days"])
def test_the_probability_of_an_interval_is_the_sum_over_its_codes_and_places(table, schema, name):
    """By the masses of the codes, and evenly within them, of the column alone: 5 standard errors of N drawn ones."""
    column, condition, message, _ = CASES[name]
    alone = Schema.fit(table[[column, "one"]])
    restriction, part = alone.restrict(column, condition), alone.parts[0]
    low, high = restriction.interval(0, np.zeros((1, 0)), np.zeros((1, 0)))
    bottom, top = (np.clip(part.edges, *part.draw_range), np.clip(np.clip(part.edges, *part.draw_range), low, high))
    with np.errstate(invalid="ignore"):
        share = np.where(np.diff(bottom) > 0, np.diff(top) / np.diff(bottom), 1.0)
    p = (part.masses * restriction.allowed(0, np.zeros((1, 0)), np.zeros((1, 0))) * share).sum()
    made = alone.decode(*random_entries(alone, 20_000, np.random.default_rng(2))).like(table[[column, "one"]])
    assert abs(message(made[column]).mean() - p) < Z * np.sqrt(p * (1 - p) / 20_000)


def test_some_of_the_rare_labels_keep_their_shares():
    labels = [f"l{k:03}" for k in range(300)]
    frame = pd.DataFrame({"a": np.repeat(labels, [4] * 200 + [2] * 60 + [1] * 40)})
    schema = Schema.fit(frame)
    chosen = Among(("l000", "l210", "l290", "l291"))
    restriction = schema.restrict("a", chosen)
    empty = np.zeros((1, 0))
    allowed, shares = restriction.allowed(0, empty, empty), restriction.shares()
    assert np.flatnonzero(allowed).tolist() == [0, 200] and shares[0] == 1
    assert np.isclose(shares[200], 4 / 160)
    p = np.exp(log_prob(schema, pd.DataFrame({"a": list(chosen.values)})))
    assert np.isclose((schema.parts[0].masses * shares).sum(), p.sum())
    n = 20_000
    kind = schema.kinds[0]
    u = kind.select_rare(np.random.default_rng(3).random(n), restriction.among(kind.rare_rows))[:, None]
    made = pd.Series(schema.decode(np.full((n, 1), 200), np.zeros((n, 1)), u).columns["a"].cells())
    share = made.value_counts(normalize=True)
    assert set(share.index) == {"l210", "l290", "l291"}
    assert abs(share["l210"] - 0.5) < Z * 0.5 / np.sqrt(n)
    (rows, of_rare), *others = schema.rare_labels(kind, np.array([[0], [200], [3], [200]], np.int32))
    assert rows.tolist() == [1, 3] and not others  # other labels need no choice
    np.testing.assert_allclose(of_rare, kind.rare_rows / 160)


# --- from what is given ---------------------------------------------------------------------------------------------


def test_what_is_given_becomes_a_row_and_conditions(table, schema):
    given = {
        "age": 40, "city": {"Graz", "Wien"}, "price": (None, 500), "stars": None, "real": Not(Between(2, 3)),
        "when": "2021-05-17T12:30", "member": True, "one": {7.5, 8.0},
    }  # fmt: skip
    made = conditions_of(schema, given)
    assert made.others == {
        "city": Among(("Graz", "Wien")), "price": Between(None, 500), "stars": Missing(), "real": Not(Between(2, 3)),
    }  # fmt: skip
    known = {name: series.cells()[0] for name, series in made.row.columns.items() if not series.missing[0]}
    assert known["age"] == 40 and known["member"] is True and set(known) == {"age", "when", "member"}
    encoded = schema.encode(made.row.take(np.zeros(3, int)))
    # Two, the three parts of a date, and that `stars` and `colour` are missing.
    assert len(encoded) == 3 and encoded.observed.sum(axis=1).tolist() == [7] * 3
    array = np.random.default_rng(0).normal(size=(50, 3))
    assert conditions_of(Schema.fit(array), {1: 0.5}).row.columns["x1"].values.tolist() == [0.5]
    with pytest.raises(UsageError, match="unknown column '3'"):
        conditions_of(Schema.fit(array), {3: 0.5})


WRONG = {
    "an unknown column": ({"agee": 4}, UsageError, "Did you mean 'age'"),
    "a label unseen": ({"city": "Bonn"}, DataError, "got 'Bonn'; expected one of the 3 training labels"),
    "a number of no type": ({"city": 1j}, DataError, "given, column 'city': 1j of type complex"),
    "a half among whole numbers": ({"age": 40.5}, DataError, "expected a whole number"),
    "text among numbers": ({"real": "x"}, DataError, "expected numbers"),
    "below what can be": ({"price": -1}, DataError, "got -1; expected a number from 0 to"),
    "an interval below what can be": ({"price": (None, -1)}, DataError, "a condition that some training value"),
    "far beyond": ({"real": 900}, DataError, "got 900; expected a number from"),
    "an interval without a whole number": ({"age": (30.2, 30.8)}, DataError, "an interval that contains a value"),
    "the wrong way round": ({"real": (3, 2)}, UsageError, "expected low <= high"),
    "three ends": ({"real": (1, 2, 3)}, UsageError, "expected (low, high)"),
    "no end": ({"real": (None, None)}, UsageError, "expected (low, high)"),
    "an empty set": ({"city": set()}, UsageError, "expected a set with at least one value"),
    "an interval of no order": ({"city": ("Graz", "Wien")}, UsageError, "without an order"),
    "no number remains": ({"many": Not(Between(-9999, 9999))}, DataError, "a condition that some training value"),
    "nothing remains": ({"city": Not(Among(("Graz", "Linz", "Wien")))}, DataError, "no training label meets it"),
    "another value of one": ({"one": 8.0}, DataError, "expected 7.5"),
    "not the one value": ({"one": Not(7.5)}, DataError, "expected 7.5"),
    "missing without a code": ({"real": None}, UsageError, 'or table.missing was "ignore"'),
    "not finite": ({"real": float("inf")}, UsageError, "expected a finite number"),
    "a real number among several": ({"real": {2.5, 3.5}}, DataError, "a single real number has no probability"),
    "an Interval": ({"age": pd.Interval(30, 40)}, UsageError, "(low, high)"),
    "a date that is none": ({"day": "soon"}, DataError, "expected a date such as"),
    "a date far beyond": ({"day": "2035-01-01"}, DataError, "2024-01-01"),
    "finer than a microsecond": ({"when": "2020-05-06T12:00:00.000003004"}, DataError, "at most one microsecond"),
    "more decimals": ({"cents": {12.345}}, DataError, "a number with 2 decimals"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_refused(schema, case):
    given, kind, message = WRONG[case]
    with pytest.raises(kind) as error:
        conditions_of(schema, given)
    assert message in str(error.value) and "row 1" not in str(error.value)
    assert next(iter(given)) in str(error.value)


def test_a_date_in_another_time_zone_is_that_moment(schema):
    rows = [
        conditions_of(schema, {"day": f"2024-03-{day}"}).row.columns["day"]
        for day in ("10", "09T23:30:00-00:30", "10T02:00:00+02:00")
    ]
    codes = {schema.kinds[schema.learned.index("day")].read(one, "")[0] for one in rows}
    assert len(codes) == 1


# --- conditions as words of a command line ----------------------------------------------------------------------------


ROWS = 400


@pytest.fixture(scope="module")
def of_words():
    rng = np.random.default_rng(0)
    sizes = pd.Categorical(rng.choice(["S", "M", "L"], ROWS), ["S", "M", "L"], ordered=True)
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, ROWS),
            "real": rng.normal(3.0, 2.0, ROWS),
            "price": np.round(np.exp(rng.normal(0, 1.5, ROWS)), 2),
            "city": rng.choice(["Graz", "Linz", "Wien", "St. Pölten, N.Ö.", "A..B", "A..B,Graz"], ROWS),
            "size": sizes,
            "member": rng.random(ROWS) < 0.3,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, ROWS), "D"),
            "a=b!": rng.integers(0, 3, ROWS),
            "rent": np.where(rng.random(ROWS) < 0.3, np.nan, rng.normal(size=ROWS)),
            "one": 7.5,
        }
    )
    return Schema.fit(table, {"rent": {"missing": "learn"}}, missing="ignore")


@pytest.mark.parametrize(
    ("word", "condition"),
    [
        ("age=40", 40),
        ("age=40,50", Among((40, 50))),
        ("age=40..", Between(40, None)),
        ("age!=40..50", Not(Between(40, 50))),
        ("real=-1.5..", Between(-1.5, None)),
        ("price=..3", Between(None, 3)),
        ("price=1e-1..2", Between(0.1, 2)),
        ("price=2, 3", Among((2, 3))),
        ("city=Graz", "Graz"),
        ("city!=Graz", Not("Graz")),
        ("city=Graz,Wien", Among(("Graz", "Wien"))),
        ("city!=Graz,Wien", Not(Among(("Graz", "Wien")))),
        # A label is a label, whatever is in it; and the longest one.
        ("city=St. Pölten, N.Ö.", "St. Pölten, N.Ö."),
        ("city=Linz,St. Pölten, N.Ö.,Wien", Among(("Linz", "St. Pölten, N.Ö.", "Wien"))),
        ("city=A..B", "A..B"),
        ("city=A..B,Wien", Among(("A..B", "Wien"))),
        ("city=A..B,Graz", "A..B,Graz"),
        ("size=M", "M"),
        ("size=..M", Between(None, "M")),
        ("size=M..L", Between("M", "L")),
        ("member=TRUE", True),
        ("member!=true", Not(True)),
        ("day=2024-05-01", "2024-05-01"),
        ("day=2024-05-01,2024-05-03", Among(("2024-05-01", "2024-05-03"))),
        ("day=2024-05-01..2024-06-01", Between("2024-05-01", "2024-06-01")),
        ("a=b!=2", 2),
        ("rent=", Missing()),
        ("rent!=", Not(Missing())),
        ("one=7.5", 7.5),
    ],
)
def test_a_word_is_the_condition_that_it_says(of_words, word, condition):
    (found,) = table_conditions([word], of_words).values()
    assert found == condition and type(found) is type(condition)


def test_several_words_are_conditions_on_several_columns(of_words):
    assert table_conditions(["age=40", "size=S"], of_words) == {"age": 40, "size": "S"}
    assert table_conditions([], of_words) == {}
    with pytest.raises(UsageError, match="--given age=4: column 'age' is given twice"):
        table_conditions(["age=30", "age=4"], of_words)


MISUSES = {
    "age": "expected COLUMN=VALUE, COLUMN=ONE,ANOTHER",
    "=3": "unknown column ''",
    "ago=3": "Did you mean 'age'",
    "age=40,05": "got '05'; expected a number with a decimal point",
    "price=2,50": "got '2,50'; write price=2.50 for one number, or 'price=2, 50' for two values.",
    "price=-1.299,5": "write price=-1299.5 for one number",
    "age=old": "got 'old'; expected a number for column 'age', or an interval such as age=10..20",
    "age=..": "expected at least one end, as in age=10..",
    "age=": "column 'age': missing entries were not learned",
    "city=Gratz": "unknown label 'Gratz'. Did you mean 'Graz'?",
    "city=Graz,Wein": "unknown label 'Wein'. Did you mean 'Wien'?",
    "city=Graz..Wien": "without an order",
    "member=maybe": "unknown label 'maybe'. Choose from: False, True",
    "real=inf": "got inf; expected a finite number. Omit an open end",
    "one=7..8": "is the same in all rows",
}


@pytest.mark.parametrize("word", MISUSES)
def test_what_cannot_be_is_a_misuse_that_says_which_word(of_words, word):
    with pytest.raises(UsageError) as error:
        table_conditions([word], of_words)
    assert str(error.value).startswith(f"--given {word}: ")
    assert MISUSES[word] in str(error.value) and "row 1" not in str(error.value)


def test_not_missing_needs_no_code():
    plain = Schema.fit({"a": [1.5, None, 2.5, 3.5, 4.0], "b": ["x", "y", "x", "y", "x"]}, missing="ignore")
    assert table_conditions(["a!="], plain) == {"a": Not(Missing())}


def test_words_on_points():
    words = ["x=0.5", "the y=-2..", "z=..1e3", "w=1..2"]
    found = point_conditions(words, ["x", "the y", "z", "w"])
    assert found == {"x": 0.5, "the y": (-2, None), "z": (None, 1000.0), "w": (1, 2)}
    for word, message in {
        "x!=1": "for a model of points",
        "x=1,2": "for a model of points",
        "x=": "for a model of points",
        "x=red": "got 'red'; expected a number",
        "u=1": "unknown column 'u'",
    }.items():
        with pytest.raises(UsageError) as error:
            point_conditions([word], ["x", "y"])
        assert str(error.value).startswith(f"--given {word}: ") and message in str(error.value)
