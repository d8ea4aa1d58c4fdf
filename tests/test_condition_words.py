"""Conditions as words of a command line."""

import numpy as np
import pandas as pd
import pytest

from motes.cli.condition_words import point_conditions, table_conditions
from motes.errors import UsageError
from motes.tables.parts import Among, Between, Missing, Not
from motes.tables.schema import Schema

ROWS = 400


@pytest.fixture(scope="module")
def schema():
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
def test_a_word_is_the_condition_that_it_says(schema, word, condition):
    (found,) = table_conditions([word], schema).values()
    assert found == condition and type(found) is type(condition)


def test_several_words_are_conditions_on_several_columns(schema):
    assert table_conditions(["age=40", "size=S"], schema) == {"age": 40, "size": "S"}
    assert table_conditions([], schema) == {}
    with pytest.raises(UsageError, match="--given age=4: column 'age' is given twice"):
        table_conditions(["age=30", "age=4"], schema)


MISUSES = {
    "age": "expected COLUMN=VALUE, COLUMN=ONE,ANOTHER",
    "=3": "unknown column ''",
    "ago=3": "Did you mean 'age'",
    "ago!=3": "Did you mean 'age'",
    "age=old": "got 'old'; expected a number for column 'age'",
    "age=..": "expected at least one end, as in age=10..",
    "age=40.5": "got 40.5; expected",
    "age=40.2..40.8": "got 40.2 to 40.8; expected an interval that contains a value",
    "age=": "column 'age': missing entries were not learned",
    "city=Gratz": "unknown label 'Gratz'. Did you mean 'Graz'?",
    "city=Graz,Wein": "unknown label 'Wein'. Did you mean 'Wien'?",
    "city=Graz..Wien": "without an order",
    "member=maybe": "unknown label 'maybe'. Choose from: False, True",
    "price=-5": "got -5; expected",
    "real=1e9": "got 1000000000.0; expected",
    "real=inf": "got inf; expected a finite number. Omit an open end",
    "real=3..2": "expected low <= high",
    "one=8": "expected 7.5, as in all training rows",
    "one=7..8": "is the same in all rows",
    "day=soon": "soon",
}


@pytest.mark.parametrize("word", MISUSES)
def test_what_cannot_be_is_a_misuse_that_says_which_word(schema, word):
    with pytest.raises(UsageError) as error:
        table_conditions([word], schema)
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
