"""Rules of users: a closed grammar, checked on the training rows, and kept in every row that a model makes."""

import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file
from scipy.stats import kstest

import motes
from fits import fit_table
from motes.data import as_frame
from motes.errors import DataError, ModelFileError, RecipeError, UsageError
from motes.tables import Missing, Not, Schema, parse_rule, quoted
from tables import TINY, untrained

pytestmark = pytest.mark.brief

DAYS = pd.to_timedelta([31, 35, 0, 3], unit="D")
START = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-03-01", "2025-06-09"])
FEW = pd.DataFrame(
    {
        "a": [1, 2, 3, 4], "b": [0.1, 0.2, 0.3, 0.4], "c": [1.1, 2.2, 3.4, None],
        "plan": ["basic", "pro", None, "basic"],
        "start": START, "end": START + DAYS, "last visit": [1, 2, 3, 5], "x": [True, False, False, True],
        "y": [False, False, True, False], "größe": [1, 2, 3, 4], "2`": [7, 7, 8, 9],
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("c == a + b", [0, 0, 1, 0]),  # 1 + .1, but 3 + .3 is not 3.4; a missing entry breaks nothing
        ("c == round(a + 1.1 * b, 1)", [0, 0, 1, 0]),
        ("c != a + b", [1, 1, 0, 0]),
        ("10 * b / a == 1", [0, 0, 0, 0]),
        ("1 <= a < 3", [0, 0, 1, 1]),
        ("a > -(b - 3)", [1, 1, 0, 0]),
        ("plan == 'basic' -> a == 1", [0, 0, 0, 1]),
        ("a > 2 -> plan == 'pro'", [0, 0, 0, 1]),  # the third plan is missing
        ("plan in {'basic', \"team\"} or a >= 2 and not b > 0.25", [0, 0, 0, 0]),
        ("plan not in {'basic'}", [1, 0, 0, 1]),
        ("a in {-1, 2, 3.0, 4}", [1, 0, 0, 0]),
        ("end <= start + 31", [0, 1, 0, 0]),
        ("end - start <= 31", [0, 1, 0, 0]),
        ("start < end", [0, 0, 1, 0]),
        ("start >= '2024-01-02'", [1, 0, 0, 0]),
        ("start != '2024-03-01T00:00'", [0, 0, 1, 0]),
        ("year(start) == 2024 and month(end) in {2, 3}", [0, 0, 0, 1]),
        ("day(start) == a", [0, 0, 1, 1]),
        ("one_hot(x, y)", [0, 1, 0, 0]),
        ("x -> not y", [0, 0, 0, 0]),
        ("`last visit` == größe", [0, 0, 0, 1]),
        ("`größe` == `2```", [1, 1, 1, 1]),
        ("unique(`2```)", [0, 1, 0, 0]),
        ("unique(plan, x)", [0, 0, 0, 1]),
        ("1 / (a - 1) > 5", [0, 1, 1, 1]),  # nothing is known of 1 / 0
    ],
)
def test_a_rule_says_which_rows_break_it(text, broken):
    rule = parse_rule(text)
    assert rule.breaks(FEW).astype(int).tolist() == broken
    assert str(rule) == text and parse_rule(str(rule)) == rule and {*rule.columns} <= {*FEW}


def test_two_ones_break_a_one_hot_group_whatever_the_others_are():
    rows = {"red": [1, 1, None], "green": [1, 0, 0], "blue": [None, None, 0]}
    assert parse_rule("one_hot(red, green, blue)").breaks(rows).tolist() == [True, False, False]


@pytest.mark.parametrize("name", ["age", "last visit", "`", "größe", "2", "class", "a``b", "x -> y", "it's"])
def test_any_column_name_can_be_written(name):
    assert parse_rule(f"{quoted(name)} <= 3").columns == (name,)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("total = fee", 7, "got '='; expected '=='"),
        ("größe = fee", 7, "got '='"),
        ("last visit > 3", 6, "in backticks if a name has spaces"),
        ("net (EUR) > 3", 1, "in backticks if a name has spaces"),
        ("a ==", 5, "it ends too early"),
        ("(a == b", 8, "closing bracket"),
        ("a == b)", 7, "got ')'"),
        ("a == 'b", 8, "closing quotation mark"),
        ("a == `b", 6, "two backticks"),
        ("a -> b -> c", 8, "at most one"),
        ("(a -> b) or c", 4, "outside brackets"),
        ("a + b", 1, "got a + b; expected a comparison"),
        ("1 == 1", 1, "a column"),
        ("a == b # c", 8, "got '#'"),
        ("a == 1\n; import os", 8, "got ';'"),
        ("__import__('os').system('x') == 1", 1, "got __import__('os').system('x')"),
        ("`größe` == exec('1')", 12, "got exec('1')"),
        ("a.b == 1", 1, "got a.b"),
        ("a[0] == 1", 1, "got a[0]"),
        ("a == f'{b}'", 6, "got f'{b}'"),
        ("a == [x for x in b]", 6, "got [x for x in b]"),
        ("(lambda: a) == 1", 2, "got lambda: a"),
        ("a == (b if c else d)", 7, "got b if c else d"),
        ("a ** 9 ** 9 == 1", 1, "got a ** 9 ** 9"),
        ("a == 1e999", 6, "a finite number"),
        ("a == None", 6, "a finite number, or a text"),
        ("a is 1", 1, "==, !="),
        ("a in b", 6, "a set of constants"),
        ("a in {b}", 7, "a finite number, or a text"),
        ("round(a, 99) == 1", 10, "a whole number of digits"),
        ("unique(a, a)", 1, "different columns"),
        ("unique(a) -> b == 1", 1, "a comparison"),
        ("-" * 4000 + "a == 1", 251 if sys.version_info >= (3, 13) else 1, "nested"),  # older ones cannot read so many
        ("not " * 2000 + "a", 1005, "at most 250 nested"),
        ("round(-" * 150 + "a" + ")" * 150 + " == 1", 876, "at most 250 nested"),
        ("a == " + " + ".join(["a"] * 400), 6, "at most 250 nested"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_its_place(text, place, says):
    with pytest.raises(UsageError) as refused:
        parse_rule(text)
    assert f"character {place}: " in str(refused.value) and says in str(refused.value), refused.value


@pytest.mark.parametrize("text", ["", "  ", 7, "a" * 10_001])
def test_a_rule_is_a_text_of_limited_length(text):
    with pytest.raises(UsageError, match="1 to 10,000 characters"):
        parse_rule(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("plan < 'pro'", "no order"), ("plan == 1", "a text with a number"), ("plan + 1 == 2", "with a text"),
        ("start == 3", "a date with a number"), ("start + end > '2024-01-01'", "a date and a date"),
        ("start == 'today'", "such as '2026-03-01'"), ("year(a) == 2024", "a column of dates"),
        ("-start < a", "arithmetic"),
    ],
)  # fmt: skip
def test_types_are_not_mixed(text, says):
    with pytest.raises(UsageError, match=says):
        parse_rule(text).breaks(FEW)


@pytest.mark.parametrize(
    "text",
    [
        "c == a * b",
        "c == a / b + 2",
        "round(a - 3 * b, 1) == c",
        "100 - c == a * (b + 1)",
        "b > 0 -> c == round(a * b, 2)",
    ],
)
def test_a_rule_solved_for_any_of_its_columns_gives_what_stood_there(text):
    rule, rng = parse_rule(text), np.random.default_rng(3)
    rows = pd.DataFrame({"a": rng.integers(1, 50, 400), "b": rng.uniform(0.5, 2, 400).round(2), "c": np.zeros(400)})
    rows["c"] = rule.solve("c", as_frame(rows).columns)[0]
    rows["c"] = rows["c"].round(2) if text.startswith("b >") else rows["c"]
    assert not rule.breaks(rows).any()
    for column in rule.targets:
        low, high = rule.solve(column, as_frame(rows).columns)
        assert (low - 1e-9 <= rows[column]).all() and (rows[column] <= high + 1e-9).all()
    assert {*rule.targets} >= {"a", "c"}


def bookings(n, seed=0):
    """A table in which every rule of `RULES` holds, with missing entries, and two rows of each day in each room."""
    rng = np.random.default_rng(seed)
    plan = rng.choice(["basic", "pro", "team"], n, p=[0.5, 0.3, 0.2])
    seats = np.where(plan == "basic", 1, rng.integers(1, 7, n))
    fee = np.round(rng.gamma(4, 5, n) + 5, 2)
    signup = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, n), unit="D")
    a, b, colour = rng.integers(0, 60, n), rng.integers(0, 41, n), rng.integers(0, 3, n)
    made = pd.DataFrame({"plan": plan, "seats": seats, "fee": fee, "total": np.round(fee * seats, 2), "signup": signup})
    made["tax"], made["last visit"] = (
        np.round(0.2 * made.total, 2),
        signup + pd.to_timedelta(rng.integers(0, 31, n), "D"),
    )
    made = made.assign(a=a, b=b, c=100 - a - b, red=colour == 0, green=colour == 1, blue=colour == 2)
    made["total"] = made.total.mask(rng.random(n) < 0.05)
    made["plan"] = made.plan.mask(rng.random(n) < 0.05)
    return made


COLOURS = ["red", "green", "blue"]
RULES = [
    "total == round(fee * seats, 2)", "tax == round(0.2 * total, 2)", "plan == 'basic' -> seats == 1",
    "signup <= `last visit` <= signup + 30", "a + b + c == 100", "one_hot(red, green, blue)",
    "plan in {'basic', 'pro', 'team'}",
]  # fmt: skip


def assert_kept(rows, rules=RULES):
    """No row breaks a rule, neither by the rule itself nor by pandas."""
    assert {rule: int(parse_rule(rule).breaks(rows).sum()) for rule in rules} == dict.fromkeys(rules, 0)
    if rules is RULES:
        known = rows.dropna(subset=["total"])
        assert np.isclose(known.total, np.round(known.fee * known.seats, 2), atol=0.0051).all()
        assert (rows.a + rows.b + rows.c == 100).all() and (rows.signup <= rows["last visit"]).all()
        assert (rows[COLOURS].sum(axis=1) == 1).all()


@pytest.fixture(scope="module")
def guessing():
    """A model that learned nothing but the distribution of each column: rules are all it knows of their dependence."""
    with untrained():
        return motes.fit(bookings(800), rules=RULES, changes=TINY | {"table.relations": False}, verbose=False)


CONDITIONS = [
    {"total": 60.0}, {"tax": 8.0}, {"total": 60.0, "seats": 3}, {"fee": 20.0, "seats": 3},
    {"fee": 20.0, "seats": 3, "total": 60.0}, {"total": (50, 90)}, {"tax": (9, 14), "plan": {"pro", "team"}},
    {"total": None}, {"total": Not(Missing())}, {"c": 40}, {"c": 40, "a": 30}, {"c": (30, 50)}, {"red": True},
    {"red": False}, {"red": False, "green": False}, {"plan": "basic", "total": 33.0},
    {"signup": pd.Timestamp("2024-03-01")},
    {"last visit": (pd.Timestamp("2024-03-01"), pd.Timestamp("2024-04-05"))},
]  # fmt: skip


def meets(rows, given):
    here = np.ones(len(rows), bool)
    for column, value in given.items():
        x = rows[column]
        if value is None or isinstance(value, Not):
            here &= x.isna() == (value is None)
        else:
            here &= (
                x.between(*value) if isinstance(value, tuple) else x.isin(value if isinstance(value, set) else [value])
            )
    return here


@pytest.mark.slow
@pytest.mark.parametrize(
    "given", CONDITIONS, ids=lambda given: " and ".join(given)
)  # sets have no order to be named by
def test_conditions_and_rules_hold_together(guessing, given):
    rows = guessing.sample(300, given=given, seed=3)
    assert meets(rows, given).all()
    assert_kept(rows)


@pytest.mark.slow
def test_no_row_is_broken_by_a_model_that_only_guesses(guessing, tmp_path):
    guessing.save(tmp_path / "model.safetensors")
    model = motes.load(tmp_path / "model.safetensors")
    rows = model.sample(5000, seed=2)
    assert_kept(rows)
    assert model.rules == tuple(RULES) and rows.total.isna().mean() == pytest.approx(0.05, abs=0.02)
    pd.testing.assert_frame_equal(rows, guessing.sample(5000, seed=2))
    fresh = bookings(1000, 7).query("fee * seats < 300")  # the training rows have up to 341
    holes = fresh.astype(dict.fromkeys(COLOURS, object))
    holes = holes.mask(np.random.default_rng(1).random(fresh.shape) < 0.3)
    whole = model.impute(holes)
    assert not whole.isna().any(axis=None)
    assert_kept(whole.astype(dict.fromkeys(COLOURS, bool)))


@pytest.mark.slow
def test_what_a_rule_determines_is_predicted(guessing):
    rows = bookings(40, 5).dropna().reset_index(drop=True)
    np.testing.assert_allclose(guessing.predict(rows, "total")["q0.5"], rows.total)
    np.testing.assert_allclose(guessing.predict(rows, "a")[["q0.05", "q0.95"]], rows[["a", "a"]])
    assert (guessing.predict(rows, "red")["label"] == rows.red).all()
    p, labels = guessing.predict_proba(rows, "plan")
    assert (p[rows.seats > 1][:, labels.index("basic")] == 0).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"fee": 20.0, "seats": 3, "total": 61.0}, r'fee = 20.0, seats = 3, which breaks the rule "total == round'),
        ({"plan": "basic", "seats": 2}, "which breaks the rule \"plan == 'basic'"),
        ({"red": True, "green": True}, r'which breaks the rule "one_hot'),
        ({"a": 50, "b": 20, "c": (60, 90)}, r"hardly any row of .* a \+ b \+ c == 100"),
        ({"plan": "basic", "seats": (2, 3)}, "met the conditions plan = basic, seats 2 to 3 and obeyed .* seats == 1,"),
    ],
)
@pytest.mark.slow
def test_a_condition_that_contradicts_a_rule_is_an_error(guessing, given, says):
    with pytest.raises(UsageError, match=says):
        guessing.sample(10, given=given)


@pytest.mark.slow
def test_a_condition_that_is_refused_writes_nothing(guessing, motes_command):
    guessing.save("model.safetensors")
    words = ["--given", "plan=basic", "--given", "seats=2..3"]
    code, out, err = motes_command("sample", "model.safetensors", *words)
    assert code == 2 and out == "" and "met the conditions plan = basic" in err


@pytest.mark.slow
def test_scores_are_those_of_rows_that_obey(guessing):
    rows = bookings(300, 9).dropna().reset_index(drop=True)
    found = guessing.likelihood(rows, orders=2)
    assert found.rules == tuple(RULES) and np.isfinite(found.log_prob).all()
    off = rows.assign(total=rows.total.where(rows.index > 0, rows.total + 0.01))
    changed = guessing.score_samples(off)
    np.testing.assert_array_equal(changed[1:], guessing.score_samples(rows)[1:])
    assert changed[0] < guessing.score_samples(rows)[0] - 5  # 1 in 801 rows may be such a row


DICE = pd.DataFrame({"a": [*range(4)] * 60, "b": np.random.default_rng(0).integers(0, 4, 240)})
DICE["c"] = DICE.a + DICE.b


def test_the_probabilities_of_all_rows_that_obey_sum_to_one():
    with untrained():
        model = motes.fit(
            DICE, rules=["c == a + b", "a <= c"], changes=TINY | {"table.relations": False}, verbose=False
        )
    a, b, c = np.meshgrid(range(4), range(4), range(7), indexing="ij")
    rows = pd.DataFrame({"a": a.ravel(), "b": b.ravel(), "c": c.ravel()})
    p, obeys = np.exp(model.score_samples(rows)), ~parse_rule("c == a + b").breaks(rows)
    assert p[obeys].sum() == pytest.approx(1, abs=0.01) and 0 < p[~obeys].sum() < 1.5 / 241
    drawn = model.sample(4000, seed=1)
    assert_kept(drawn, ["c == a + b"])
    shares = drawn.value_counts(["a", "b"], normalize=True)
    expected = pd.Series(p[obeys], pd.MultiIndex.from_frame(rows[obeys][["a", "b"]]))
    assert (shares - expected).abs().max() < 0.03  # 4 standard errors of each of 16 shares


def test_with_missing_entries_the_probabilities_of_all_rows_that_obey_sum_to_one():
    dice = DICE.assign(c=DICE.c.where(np.arange(240) % 5 > 0).astype(float))
    with untrained():
        model = motes.fit(dice, rules=["c == a + b"], changes=TINY | {"table.relations": False}, verbose=False)
    a, b = (part.ravel() for part in np.meshgrid(range(4), range(4)))
    rows = pd.concat([pd.DataFrame({"a": a, "b": b, "c": c}) for c in (a + b, [np.nan] * 16)])
    p = np.exp(model.score_samples(rows))
    assert p.sum() == pytest.approx(1, abs=0.02) and p[16:].sum() > 0.05


def test_what_was_rounded_is_filled_in_evenly_within_its_interval_and_what_no_draw_obeys_stays_missing():
    rng = np.random.default_rng(4)
    rows = pd.DataFrame({"exact": rng.normal(0, 20, 400), "step": np.arange(400) % 4})
    rows["shown"] = rows.exact.round()
    with untrained():
        model = motes.fit(
            rows, rules=["shown == round(exact)"], changes=TINY | {"table.relations": False}, verbose=False
        )
    known = pd.DataFrame({"exact": np.nan, "step": [0, 1] * 100, "shown": [3.0, -7.0] * 100})
    filled = model.impute(known, seed=1)
    # A false alarm in 10,000 seeds.
    assert kstest(filled.exact - filled.shown + 0.5, "uniform").pvalue > 1e-4
    known.loc[[1, 4], "shown"] = 10_000.0
    with pytest.warns(UserWarning, match=r'draws obeyed "shown == round\(exact\)" in 2 of the rows \(row 2, 5\)'):
        filled = model.impute(known, seed=1)
    assert filled.exact.isna().to_numpy().nonzero()[0].tolist() == [1, 4]


def test_rules_are_checked_on_the_training_rows():
    dice = DICE.assign(d=DICE.a * 1.5)
    rows, schema = dice.copy(), Schema.fit(dice)
    rows.loc[[4, 9], "c"] += 1
    with pytest.warns(UserWarning, match=r'2 of 240 rows of the data break the rule "c == a \+ b" \(row 5, 10\)'):
        schema.with_rules(["c == a + b"], rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schema.with_rules(["c == a + b"], rows, weights=np.where(DICE.index.isin([4, 9]), 0, 1))
    for rules, error, says in (
        (["c == a"], DataError, r"rows of the data break the rule .* \(row \d+, .*\.\.\.\); expected at most 12"),
        (["d == 1.503 * a"], DataError, r"Up to rounding, nearly all rows obey it: write round\(\.\.\., 1\)"),
        (["total == a"], UsageError, "unknown column 'total'"),
        (["a == 'x'"], UsageError, "a number with a text"),
        (["unique(a)"], DataError, "236 of 240 rows"),
    ):
        with pytest.raises(error, match=says):
            schema.with_rules(rules, dice)
    people = pd.DataFrame({"id": [f"p{k}" for k in range(240)], **DICE})
    plans = pd.DataFrame({"plan": ["basic", "pro"] * 20})
    with pytest.raises(UsageError, match=r"unknown column 'pro'.* The text 'pro' needs quotation marks"):
        Schema.fit(plans).with_rules(["plan == pro"], plans)
    aside = Schema.fit(people)
    assert not aside.with_rules(["unique(id)"], people).keys  # placeholders never repeat
    with pytest.raises(UsageError, match=r"rule .*: column 'id' is set aside"):
        aside.with_rules(["id != 'p7'"], people)
    with pytest.raises(UsageError, match="column 'b' is dropped"):
        Schema.fit(DICE, {"b": "drop"}).with_rules(["c == a + b"], DICE)


def test_rules_stand_in_recipes():
    recipe = motes.load_recipe("table", {"rules.hold": RULES})
    assert recipe.rules.hold == tuple(RULES) and "[rules]" in recipe.to_toml()
    assert motes.load_recipe(recipe).rules == recipe.rules
    with pytest.raises(RecipeError, match=r"rules\.hold"):
        motes.load_recipe("default", {"rules.hold": RULES})
    with pytest.raises(UsageError, match="character 3"):
        motes.load_recipe("table", {"rules.hold": ["a = b"]})
    with pytest.raises(UsageError, match="rules for points"):
        motes.fit(np.zeros((9, 2)), "default", rules=["x <= y"])
    with pytest.raises(UsageError, match="expected a list or None"):
        motes.fit(DICE, rules="a <= b")


@pytest.mark.slow
def test_unique_keys_do_not_repeat(motes_command):
    rng = np.random.default_rng(0)
    every = rng.permutation(60 * 40)[:1500]
    rows = pd.DataFrame({"room": every // 40, "day": every % 40, "guests": rng.integers(1, 5, 1500)})
    with untrained():
        model = motes.fit(rows, rules=["unique(room, day)"], changes=TINY, verbose=False)
    model.save("keys.safetensors")
    code, _, err = motes_command("sample", "keys.safetensors", "-n", "60", "--shards", "2", "--out", "shards")
    assert code == 0 and "unique(room, day) holds within a shard, but keys can repeat between shards" in err
    drawn = model.sample(1800, seed=1)  # of several blocks, of 2,400 possible keys
    assert not drawn.duplicated(["room", "day"]).any()
    with pytest.raises(
        UsageError, match=r"drew [\d,]+ of 2,500 rows; hardly any .* as unique\(room, day\) expects. Draw fewer"
    ):
        model.sample(2500)
    half = rows.astype({"room": float}).head(600)
    half.loc[:299, "room"] = np.nan
    whole = model.impute(half)
    assert not whole.duplicated(["room", "day"]).any() and (whole.room[300:] == half.room[300:]).all()


@pytest.mark.slow
def test_a_rule_that_rows_hardly_meet_is_reported():
    """Each column occurs twice, so that the rule determines none, and a model that only guesses never meets it."""
    angle = np.random.default_rng(0).uniform(0, 1.5, 400)
    rows, rule = pd.DataFrame({"a": np.cos(angle), "b": np.sin(angle)}), "a * a + b * b == 1"
    with untrained(), pytest.warns(UserWarning, match=r"only 0.0% of the rows that the network draws obey the rule"):
        model = motes.fit(rows, rules=[rule], changes=TINY | {"table.relations": False}, verbose=False)
    with pytest.raises(
        UsageError, match=r"hardly any row of .* obeyed a \* a \+ b \* b == 1; expected rules that it can"
    ):
        model.sample(10)
    with pytest.warns(UserWarning, match=r"none of 1,000 draws .* \(row 1\); their missing entries stay missing"):
        assert np.isnan(model.impute(rows.head(2).assign(b=[np.nan, rows.b[1]])).b[0])


@pytest.mark.slow
def test_a_damaged_file_is_refused(guessing, tmp_path):
    path = tmp_path / "model.safetensors"
    guessing.save(path)
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        about = file.metadata()
    schema = json.loads(about["schema"])
    for text in ("__import__('os').system('x')", "nowhere == 1", "plan + 1 == 2", "(" * 5000, 7, "a <= b"):
        stated = {"type": "UserRule", "fields": {"text": text}}
        changed = {**schema, "stated": [stated] * (1 if text != "a <= b" else len(RULES) + 1)}
        save_file(load_file(path), tmp_path / "other.safetensors", about | {"schema": json.dumps(changed)})
        with pytest.raises(ModelFileError):
            motes.load(tmp_path / "other.safetensors")


@pytest.mark.long
def test_a_trained_model_breaks_no_rule_in_100_000_rows():
    few = {"table.steps": 400, "table.width": 64, "table.depth": 1, "table.components": 2}
    model = fit_table(bookings(4000), changes=few | {"rules.hold": RULES})
    for given in ({}, {"total": 100.0}, {"tax": (9, 14), "plan": {"pro", "team"}}, {"c": 40, "red": False}):
        rows = model.draw(100_000, given=given, seed=1).to_pandas()
        assert meets(rows, given).all()
        assert_kept(rows)
    fresh = bookings(105_000, 5).query("fee * seats < 300").head(100_000)
    holes = fresh.astype(dict.fromkeys(COLOURS, object))
    holes = holes.mask(np.random.default_rng(1).random(fresh.shape) < 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = as_frame(model.impute(holes)).to_pandas()
    assert whole.isna().any(axis=1).sum() < 50  # a fee, a tax or a total beyond the training range
    assert_kept(whole.dropna().astype(dict.fromkeys(COLOURS, bool)))


@pytest.mark.slow
def test_the_command_line_keeps_rules(motes_command, quick_run):
    rows = bookings(400)
    rows.loc[[6, 11], "c"] += 1
    rows.to_csv("bookings.csv", index=False)
    tiny = [word for key, value in TINY.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    options = [word for rule in RULES for word in ("--rule", rule)]
    said = r"2 of 400 rows of 'bookings.csv' break the rule \"a \+ b \+ c == 100\" \(row 7, 12\)"
    with untrained(), pytest.warns(UserWarning, match=said):
        code, _, err = motes_command("train", "bookings.csv", "--out", "run", "--no-figures", *tiny, *options)
    assert code == 0, err
    assert motes.load_recipe("run/recipe.toml").rules.hold == tuple(RULES)
    dates = {"parse_dates": ["signup", "last visit"]}
    assert_kept(pd.read_csv("run/samples.csv", **dates))
    code, _, err = motes_command("sample", "run", "-n", "50", "--given", "total=60", "--out", "some.csv")
    assert code == 0, err
    some = pd.read_csv("some.csv", **dates)
    assert_kept(some)
    assert (some.total == 60).all()
    wrong = [word for one in ("fee=20", "seats=3", "total=61") for word in ("--given", one)]
    assert "which breaks the rule" in motes_command.error("sample", "run", *wrong)
    assert "character 3: got '='" in motes_command.error("train", "bookings.csv", "--rule", "a = b")
    assert "rules.hold" in motes_command.error("train", "moons", "--recipe", "default", "--rule", "x <= y")
