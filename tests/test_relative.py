"""Histograms of numbers relative to other columns: found where they say something, normalised, and drawn as scored."""

import warnings

import numpy as np
import pandas as pd
import pytest

import motes
from fits import fit_table
from motes.tables import Schema
from motes.tables.predictions import conditional_masses, pieces_of
from motes.tables.relative import Relative, order_for
from motes.tables.unmasking import draw_block
from tables import TINY, of_random_weights, untrained

pytestmark = pytest.mark.brief


def payments(n=2000, seed=0, size=8):
    """Bills, payments of 3 to 4 per cent of the bill or of some other amount, and next bills of a little more."""
    rng = np.random.default_rng(seed)
    bill = np.rint(np.exp(rng.normal(size, 1, n)))
    share = np.where(rng.random(n) < 0.7, rng.uniform(0.03, 0.04, n), rng.uniform(0, 0.5, n))
    paid = np.ceil(share * bill)
    return pd.DataFrame({"bill": bill, "paid": paid, "next": bill - paid + np.ceil(bill * rng.uniform(0.01, 0.05, n))})


def dates(n=3000, seed=3):
    rng = np.random.default_rng(seed)
    start = np.datetime64("2021-01-01") + rng.integers(0, 700, n)
    return pd.DataFrame({"start": start, "end": start + rng.integers(0, 30, n)})


def test_histograms_are_found_where_other_columns_give_a_place():
    relatives = Schema.fit(payments()).relatives
    found = {(one.column, *one.others, one.unit): one for one in relatives}
    inside = found["paid", "bill"]
    cells = (inside.edges[:-1] > 0.0295) & (inside.edges[1:] < 0.0405)
    assert inside.masses[cells].sum() > 0.6
    assert found["next", "bill", "paid", "bill"].weights == (1.0, -1.0)
    (gap,) = (one for one in Schema.fit(dates()).relatives if one.column == "end")
    assert gap.edges[[0, -1]].tolist() == [-0.5, 29.5]
    order = np.random.default_rng(0).permutation(2000)
    again = Schema.fit(payments().iloc[order]).relatives
    cells = lambda some: [(one.column, one.given, one.edges.tolist()) for one in some]
    assert cells(again) == cells(relatives)


def test_columns_that_are_merely_correlated_have_no_histograms():
    rng = np.random.default_rng(1)
    covariance = 0.6 + 0.4 * np.eye(4)
    frame = pd.DataFrame(rng.multivariate_normal(np.zeros(4), covariance, 3000).round(3), columns=list("abcd"))
    assert Schema.fit(frame).relatives == ()


@pytest.fixture(scope="module")
def model():
    with untrained():
        return of_random_weights(fit_table(payments(size=5), changes=TINY, seed=1))


@pytest.mark.slow
@pytest.mark.parametrize("column", ["paid", "next"])
def test_values_of_a_column_with_histograms_sum_to_one(model, column):
    some = payments(seed=9, size=5).iloc[:3]
    domain = np.arange(-500, 5000)
    unmasker = model.orders.first([name for name in ("bill", "paid", "next") if name != column])
    for k in range(len(some)):
        rows = some.iloc[[k]].loc[lambda one: one.index.repeat(len(domain))].assign(**{column: domain.astype(float)})
        encoded = model.schema.encode(rows, unseen="mark")
        j = model.schema.parts_of(column).start
        p = np.where(encoded.codes[:, j] >= 0, np.exp(unmasker.log_prob_parts(encoded)[:, j]), 0.0)
        assert p.sum() == pytest.approx(1.0, abs=2e-3)  # what lies beyond the domain


@pytest.mark.slow
def test_rows_are_drawn_as_they_are_scored_with_and_without_a_condition(model):
    # Shares of intervals among 20,480 rows against exact sums: 4 standard errors, one false alarm in 16,000.
    cuts = np.array([-1, 4, 8, 9, 10, 12, 15, 40, 400]) + 0.5
    paid = np.arange(401.0)
    rows = pd.DataFrame({"bill": 300.0, "paid": paid, "next": 295.0})
    encoded, at = model.schema.encode(rows, unseen="mark"), model.schema.parts_of("paid")
    p = np.exp(model.orders.first(["bill", "next"]).log_prob_parts(encoded)[:, at]).sum(axis=1)
    for condition, low in (({}, 0), ({"paid": (9, None)}, 9)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # hardly any such row
            drawn = model.sample(20_480, given={"bill": 300, "next": 295} | condition, seed=2)["paid"]
        expected = np.histogram(paid[low:], cuts, weights=p[low:])[0]
        expected = expected / expected.sum()
        found = np.histogram(drawn, cuts)[0] / len(drawn)
        assert (np.abs(found - expected) < 4 * np.sqrt(expected / len(drawn)) + 3e-3).all()


@pytest.mark.slow
def test_the_bars_of_a_column_are_the_sums_of_its_values(model):
    row = {"bill": [300.0], "paid": [None], "next": [295.0]}
    schema, reader, at = model.schema, model.orders.reader, model.schema.parts_of("paid").start
    pieces = [pieces_of(part, scale, np.zeros(0)) for part, scale in zip(schema.parts, reader.scales, strict=True)]
    bars = conditional_masses(model.orders, pieces, schema.frame(row), schema.encode(row))[at]
    paid = np.arange(-300.0, 4000)
    encoded = schema.encode(pd.DataFrame({"bill": 300.0, "paid": paid, "next": 295.0}), unseen="mark")
    p = np.exp(model.orders.first(["bill", "next"]).log_prob_parts(encoded)[:, at])
    here = encoded.codes[:, at] >= 0
    exact = np.bincount(encoded.codes[here, at], p[here], len(bars))
    np.testing.assert_allclose(bars, exact, atol=2e-3)  # the last token contains values beyond the domain


@pytest.mark.slow
def test_two_dates_keep_their_distance_and_a_loaded_model_has_the_same_density(tmp_path):
    """A share of .033 has a standard error of .0013 among 20,480 rows: .004 is three of them, and rows are even."""
    model = motes.fit(dates(), "table", changes={"table.steps": 200}, seed=0, verbose=False)
    blocks = [draw_block(model.orders.own, 1024, 7, k) for k in range(20)]  # without rejection by the rule
    rows = pd.concat([model.schema.decode(one.codes, one.y, one.u).to_pandas() for one in blocks])
    gap = (rows["end"] - rows["start"]).dt.days.to_numpy()
    shares = np.bincount(gap[(gap >= 0) & (gap < 30)], minlength=30) / len(gap)
    assert ((gap < 0) | (gap > 29)).mean() < 0.02
    assert np.abs(shares - 1 / 30).max() < 0.004 + 1e-3
    model.save(tmp_path / "model.safetensors")
    again = motes.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.score_samples(dates(seed=5)), model.score_samples(dates(seed=5)))


def test_columns_come_in_an_order_in_which_the_best_histograms_apply():
    nothing = np.zeros(0)
    relative = lambda column, others, gain: Relative(column, others, (1.0,) * len(others), "", nothing, nothing, gain)
    # A bill given the next one and a payment, or the other way round; a payment given a bill.
    some = relative("b1", ("b2", "p1"), 2.0), relative("b2", ("b1", "p1"), 1.5), relative("p1", ("b2",), 0.5)
    every = lambda order: True
    assert [one for one in order_for(some, ["p1", "age", "b1", "b2"], every) if one != "age"] == ["b2", "p1", "b1"]
    late = lambda order: order.index("p1") < order.index("b2")  # such as a dependency of labels
    assert [one for one in order_for(some, ["p1", "age", "b1", "b2"], late) if one != "age"] == ["p1", "b2", "b1"]
