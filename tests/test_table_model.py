"""A trained model of a table: what it learns where the truth is known, and that every option does what it says."""

import numpy as np
import pandas as pd
import pytest

from fits import fit_table
from motes.data import as_frame
from motes.recipes import load_recipe
from motes.tables.parts import Not
from motes.tables.training import options_of
from tables import TINY

QUICK = {"table.steps": 600, "table.width": 48, "table.depth": 1, "table.batch": 256}


def cells(rows, column):
    return np.array(rows.columns[column].cells())


@pytest.fixture(scope="module")
def truth():
    """p(color, size, pair) of three labels, where the third is the second with an error of 10 per cent."""
    color, size = np.array([0.5, 0.3, 0.2]), np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    pair = np.full((3, 3), 0.05) + 0.85 * np.eye(3)
    return color[:, None, None] * size[:, :, None] * pair[None]


@pytest.fixture(scope="module")
def data(truth):
    rng = np.random.default_rng(0)
    flat = rng.choice(27, 6000, p=truth.ravel() / truth.sum())
    a, b, c = np.unravel_index(flat, (3, 3, 3))
    x = b + 0.5 * rng.standard_normal(6000)
    return pd.DataFrame(
        {
            "color": np.array(["red", "green", "blue"])[a],
            "size": np.array(["S", "M", "L"])[b],
            "pair": c,
            "x": x.round(2),
        }
    )


@pytest.fixture(scope="module")
def model(data):
    return fit_table(data, changes=QUICK, seed=1)


@pytest.fixture(scope="module")
def labels(data):
    """A model of the three labels alone: no density, whose validation rows would end the training sooner."""
    return fit_table(data[["color", "size", "pair"]], changes=QUICK, seed=1)


@pytest.mark.slow
def test_log_p_is_near_the_truth_on_average(model, data, truth):
    # The entropy of the three labels; x given them has a density that is known as well.
    whole = truth / truth.sum()
    test = data.iloc[:2000]
    a, b = (
        [{"red": 0, "green": 1, "blue": 2}[v] for v in test.color],
        [{"S": 0, "M": 1, "L": 2}[v] for v in test["size"]],
    )
    exact = np.log(whole[a, b, test.pair]) - 0.5 * ((test.x - b) / 0.5) ** 2 - np.log(0.5 * np.sqrt(2 * np.pi))
    found = model.score_samples(test)
    assert found.mean() == pytest.approx(exact.mean(), abs=0.04)
    assert np.abs(found - exact).mean() < 0.25


@pytest.mark.slow
def test_conditional_shares_are_near_the_truth(labels, truth, data):
    whole = truth / truth.sum()
    exact = whole[:, :, 2].sum(0) / whole[:, :, 2].sum()
    # By the weights of the model's own order: 1,650 rows of the data tell the shares to 0.02 (two standard errors).
    # In the order in which the known column comes first: as far as so short a training has learned other orders.
    for weighed, near in ((True, 0.03), (False, 0.08)):
        rows = labels.sample(8000, given={"pair": 2}, seed=5, importance_resample=weighed)
        assert set(cells(rows, "pair")) == {2}
        found = pd.Series(cells(rows, "size")).value_counts(normalize=True)
        np.testing.assert_allclose([found.get(name, 0) for name in ("S", "M", "L")], exact, atol=near)
        assert rows.log_evidence == pytest.approx(np.log((data.pair == 2).mean()), abs=0.06)
        assert rows.effective <= 8000


@pytest.mark.slow
def test_a_set_an_interval_and_a_negation_hold_and_have_their_probability(model, data):
    rows = model.sample(3000, given={"color": {"red", "blue"}, "x": (0.5, 1.5), "size": Not("L")}, seed=2)
    assert set(cells(rows, "color")) == {"red", "blue"}
    assert cells(rows, "x").min() >= 0.5
    assert cells(rows, "x").max() <= 1.5
    assert "L" not in set(cells(rows, "size"))
    shown = data.color.isin(["red", "blue"]) & data.x.between(0.5, 1.5) & (data["size"] != "L")
    # 6,000 rows tell the logarithm of the share to 0.03; the rest is what so short a training leaves.
    assert rows.log_evidence == pytest.approx(np.log(shown.mean()), abs=0.12)
    assert 300 < rows.effective <= 3000


@pytest.mark.slow
def test_more_orders_have_a_spread_and_one_has_none(model, data):
    one, three = (model.likelihood(data.head(50), orders=orders) for orders in (1, 3))
    assert np.isnan(one.spread).all()
    assert (three.spread > 0).all()
    assert three.log_prob.mean() == pytest.approx(one.log_prob.mean(), abs=0.3)


@pytest.mark.slow
def test_missing_entries_are_filled_in_and_the_others_stay(model, data):
    holes = data.head(600).copy()
    holes.loc[::2, "size"] = None
    holes.loc[1::3, "x"] = np.nan
    first, second = model.impute(as_frame(holes), draws=2, seed=1)
    for column in data:
        known = holes[column].notna().to_numpy()
        assert (cells(first, column)[known] == holes[column][known]).all()
        assert not first.columns[column].missing.any()
    assert (cells(first, "x") != cells(second, "x")).any()
    # The label that a pair stands for is drawn in nine of ten rows, as in the data.
    gone = holes["size"].isna().to_numpy() & holes.x.notna().to_numpy()
    same = np.array([{"S": 0, "M": 1, "L": 2}[v] for v in cells(first, "size")]) == data["pair"].head(600)
    real = (data["size"].map({"S": 0, "M": 1, "L": 2}) == data["pair"]).mean()
    assert same[gone].mean() == pytest.approx(real, abs=0.1)


@pytest.mark.slow
def test_a_label_given_the_others_is_bayes_rule(labels, data, truth):
    whole = truth / truth.sum()
    found, names = labels.predict_proba(data[["color", "size", "pair"]].head(300), "color")
    b = data["size"].head(300).map({"S": 0, "M": 1, "L": 2}).to_numpy()
    c = data["pair"].head(300).to_numpy()
    exact = whole[:, b, c].T
    exact /= exact.sum(1, keepdims=True)
    mine = found[:, [names.index(name) for name in ("red", "green", "blue")]]
    assert np.abs(mine - exact).mean() < 0.04


# --- exact answers of small tables ------------------------------------------------------------------------------------


def few_of_all_kinds(seed, n=60):
    """Real numbers, half of them missing in one column, labels and small whole numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    y = np.where(rng.random(n) < 0.5, np.nan, x + 0.3 * rng.standard_normal(n))
    return pd.DataFrame({"x": x, "label": rng.choice(list("ab"), n), "y": y, "k": rng.integers(0, 3, n)})


FEW_STEPS = {"table.steps": 12, "table.width": 16, "table.check_every": 4}


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [["x", "label", "y", "k"], ["label", "k"]], ids=["numbers", "labels"])
def test_a_weight_is_so_many_copies_of_a_row_to_the_bit_in_a_trained_model(kinds):
    frame = few_of_all_kinds(0)[kinds]
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 4, len(frame))
    junk = frame.assign(**{kinds[0]: ["z"] * len(frame) if kinds[0] == "label" else 99.0})
    fresh = few_of_all_kinds(2, 200)[kinds]
    score = lambda rows, weights=None: fit_table(rows, changes=FEW_STEPS, weights=weights).score_samples(fresh)
    copies = frame.loc[rng.permutation(np.repeat(frame.index, weights))]
    weighted = score(pd.concat([junk, frame]), np.append(np.zeros(len(junk)), weights))
    np.testing.assert_array_equal(weighted, score(copies))
    once = score(frame)
    np.testing.assert_array_equal(once, score(frame, np.ones(len(frame))))
    np.testing.assert_array_equal(once, score(frame, np.full(len(frame), 0.5)))  # then only ratios count
    assert np.abs(weighted - once).max() > 0.01


@pytest.mark.slow
def test_the_order_of_the_rows_has_no_bearing(data, quick_run):
    quick, some = TINY | {"table.steps": 10, "table.calibrate": True}, data[["size", "x"]]
    first = fit_table(some.head(100), changes=quick, seed=3)
    second = fit_table(some.head(100).iloc[::-1], changes=quick, seed=3)
    np.testing.assert_array_equal(first.score_samples(some.tail(20)), second.score_samples(some.tail(20)))
    other = fit_table(some.head(100), changes=quick, seed=4)
    assert (first.score_samples(some.tail(20)) != other.score_samples(some.tail(20))).all()


@pytest.mark.slow
def test_a_step_of_a_wide_table_has_fewer_rows():
    table = load_recipe("table").table
    rows = [options_of(table, 10_000, parts).batch for parts in (2, 48, 96, 200)]
    assert rows == [512, 512, 256, 128]
    assert options_of(load_recipe("table", {"table.batch": 64}).table, 10_000, 200).batch == 64
