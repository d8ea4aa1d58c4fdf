"""Missing entries are learned and drawn with their pattern, or left out if asked; filling in always fills."""

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest

import motes
from motes.data import as_frame
from motes.evaluation import evaluate_tables
from motes.tables import Missing, Not, Schema
from tables import TINY, untrained

N = 400
LEARNING = TINY | {"table.width": 24, "table.steps": 200, "table.calibrate": True}


def rows(n, seed, *, apart=False):
    """`score` is missing in 60 % of the rows of "a" and in 5 % of the others; `apart`: as often, whatever `l` is."""
    rng = np.random.default_rng(seed)
    label = rng.choice(["a", "b", "c"], n)
    gone = rng.random(n) < np.where(label == "a", 0.6, 0.05)
    score = np.where(rng.permutation(gone) if apart else gone, np.nan, rng.normal(50, 10, n).round(1))
    return pd.DataFrame({"l": label, "score": score, "k": rng.choice(["u", None], n, p=[0.8, 0.2])})


@pytest.fixture(scope="module")
def data():
    return rows(N, 1)


@pytest.fixture(scope="module")
def model(data):
    return motes.fit(data, changes=LEARNING, verbose=False)


@pytest.fixture(scope="module")
def ignoring(data):
    return motes.fit(data, changes=TINY | {"table.steps": 2, "table.missing": "ignore"}, verbose=False)


def rare_rows(n, seed):
    """`a` and `b` are missing together in 0.6 % of the rows, `l` in 2 %, `c` in 24 % and `d` in 0.3 %."""
    rng = np.random.default_rng(seed)
    z, some = rng.normal(size=n), lambda share: rng.permutation(n) < round(share * n)
    frame = pd.DataFrame({"a": z + rng.normal(size=n), "b": (10 * z + rng.normal(size=n)).round(2)})
    frame["c"], frame["l"] = rng.poisson(np.exp(1 + z / 3)).astype(float), rng.choice(["x", "y"], n).astype(object)
    frame["d"] = rng.normal(size=n)
    for columns, share in ((["a", "b"], 0.006), ("l", 0.02), ("c", 0.24), ("d", 0.003)):
        frame.loc[some(share), columns] = None
    return frame


def by_label(frame):
    return frame.score.isna().groupby(frame.l).mean()


def test_entries_are_missing_as_often_as_in_the_data_and_where_they_are(model, data):
    """A small network, shortly trained, underrates the pattern; without one all labels would have the same share."""
    drawn = model.sample(4000)
    for column in data:
        assert abs(drawn[column].isna().mean() - data[column].isna().mean()) < 0.05
    assert by_label(drawn)["a"] > by_label(drawn)[["b", "c"]].max() + 0.3


def check_missing_as_in(frame, drawn):
    """Shares of columns are within 4 standard errors, so that five fail by chance in 3 of 10,000 seeds."""
    real = frame.isna().mean()
    assert ((drawn.isna().mean() - real).abs() <= 4 * np.sqrt(real * (1 - real) / len(drawn))).all()


def test_patterns_that_rows_share_have_their_shares_and_so_has_every_column():
    frame = rare_rows(1000, 4)
    schema = Schema.fit(frame)
    found = schema.missing_patterns
    np.testing.assert_allclose(found.weights @ found.rates, frame.isna().mean(), rtol=1e-12)
    rows = frame.isna().value_counts()
    for weight, rates in zip(found.weights[:-1], found.rates[:-1], strict=True):
        assert weight == pytest.approx(rows[tuple(rates == 1)] / 1000.5) and set(rates) <= {0, 1}
    assert len(found.weights) - 1 == (rows > 1).sum()
    twice = Schema.fit(frame, weights=np.full(1000, 2.0)).missing_patterns
    again = Schema.fit(pd.concat([frame, frame])).missing_patterns
    np.testing.assert_array_equal(twice.rates, again.rates)
    np.testing.assert_array_equal(twice.weights, again.weights)


def test_rare_missing_entries_are_drawn_as_often_and_together():
    """Of these rows 6 lack `a` and `b`, 3 lack `d`; before, neither was drawn in a tenth of its share."""
    frame = rare_rows(1000, 2)
    with untrained():  # the trained models are in the next test
        drawn = motes.fit(frame, changes=TINY, verbose=False).sample(20_000)
    check_missing_as_in(frame, drawn)
    assert (drawn.a.isna() != drawn.b.isna()).mean() < 0.0008  # half a row of 1,000 is left to other patterns


@pytest.mark.slow
@pytest.mark.parametrize("name", ["6,000 rows", "penguins"])
def test_rare_missing_entries_of_the_default_recipe(name):
    """Two of 344 penguins lack four measurements and the sex; nine lack the sex alone."""
    frame = motes.dataset("penguins") if name == "penguins" else rare_rows(6000, 3)
    model = motes.fit(frame, verbose=False)
    drawn = model.sample(100_000)
    check_missing_as_in(frame, drawn)
    together = drawn[["bill_depth_mm", "body_mass_g", "sex"] if name == "penguins" else ["a", "b"]].isna()
    assert together.all(axis=1).mean() == pytest.approx(0.0058 if name == "penguins" else 0.006, rel=0.2)
    assert (together.iloc[:, 0] != together.iloc[:, 1]).mean() < 0.0005
    assert not model.evaluate(frame, n=20_000).verdicts["missing"].differs


def test_missing_and_not_missing_are_conditions(model):
    assert model.sample(200, given={"score": None}).score.isna().all()
    assert model.sample(200, given={"score": Not(Missing())}).score.notna().all()
    assert model.sample(200, given={"k": Missing(), "l": "a"}).k.isna().all()
    # Of all rows 33 % are of "a", of those without a score 86 %.
    assert (model.sample(1000, given={"score": None}).l == "a").mean() > 0.45


@pytest.mark.slow
def test_filling_in_fills_and_a_prediction_is_a_value(model, data):
    whole = model.impute(data)
    assert whole.notna().all().all()
    known = data.score.notna()
    assert whole.score[known].tolist() == data.score[known].tolist()
    found = model.predict(data, "k")
    assert [*found] == ["label", "p(u)"] and np.allclose(found["p(u)"], 1)
    assert model.predict(data, "score").notna().all().all()


@pytest.mark.slow
def test_probabilities_of_values_and_of_missing_entries_add_up():
    """Of labels, and of a number that has a density, whose codes and normals agree on how often it is missing."""
    rng = np.random.default_rng(0)
    frame = rows(N, 1)[["l", "k"]].assign(m=rng.choice([True, False, None], N), n=rng.permutation(N) % 31.0)
    frame = frame.replace({"n": {30.0: np.nan}})
    found = motes.fit(frame, changes=TINY | {"table.steps": 20}, verbose=False)
    numbers = [*range(-60, 90), np.nan]  # beyond those of the training there is a small density
    every = pd.DataFrame([*itertools.product("abc", ["u", None], [True, False, None], numbers)], columns=[*frame])
    assert np.exp(found.score_samples(every)).sum() == pytest.approx(1, abs=1e-4)


def test_ignored_missing_entries_are_not_drawn_and_the_verdict_says_so(ignoring, data):
    assert ignoring.sample(300).notna().all().all()
    found = ignoring.evaluate(data, n=500)
    for column in ("score", "k"):
        (entry,) = [one for one in found.of("missing") if one.name == column]
        assert entry.verdict.severity == "unknown" and "not modelled" in entry.verdict.text
    assert found.verdicts["missing"].severity == "unknown" and "not modelled, real" in str(found)


def test_a_wrong_pattern_is_found_where_all_shares_are_right():
    """The p-value of a permutation test with 199 permutations is .005 at best, before Holm's weights."""
    training, held_out = as_frame(rows(600, 4)), as_frame(rows(200, 5))
    schema = Schema.fit(training)
    right = evaluate_tables(as_frame(rows(3000, 6)), held_out, training, schema)
    wrong = evaluate_tables(as_frame(rows(3000, 7, apart=True)), held_out, training, schema)
    assert not right.verdicts["missing"].differs and not right.verdicts["associations"].differs
    assert not wrong.verdicts["missing"].differs and wrong.verdicts["associations"].differs
    assert "score missing" in str(wrong)


def test_a_usual_value_is_no_rare_condition_where_the_other_columns_may_be_missing(model, data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(model.sample(20, given={"score": 50.0})) == 20
