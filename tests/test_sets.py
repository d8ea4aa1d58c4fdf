"""Several synthetic tables, each from another network, and estimates pooled over them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import motes
from motes.errors import UsageError
from motes.tables.network import EncodedRows
from motes.tables.training import TableRows, held_out
from tables import TINY, untrained

PEOPLE = pd.DataFrame({"age": np.arange(20, 80).repeat(2), "smoker": ["no", "yes", "no"] * 40})


def people_model(members=None, rows=PEOPLE):
    with untrained():
        return motes.fit(rows, "table", changes=TINY | {"table.steps": 1, "table.members": members}, verbose=False)


# --- pool ---


def test_pooled_estimates_follow_the_rule_of_reiter():
    q, v = [4.9, 5.1, 5.0], [0.03, 0.04, 0.05]
    found, t = motes.pool(q, v, level=0.9), 0.04 + 0.01 / 3
    degrees = 2 * (1 + 0.04 / (0.01 / 3)) ** 2
    expected = 5.0, np.sqrt(t), *stats.t.interval(0.9, degrees, 5.0, np.sqrt(t)), degrees
    np.testing.assert_allclose(found, expected)


def test_several_estimates_are_pooled_one_by_one():
    q, v = np.random.default_rng(0).uniform(1, 2, (2, 4, 3))
    found = motes.pool(q, v)
    for k in range(3):
        np.testing.assert_allclose([part[k] for part in found], motes.pool(q[:, k], v[:, k]))


def test_equal_estimates_have_the_interval_of_their_mean_variance():
    found = motes.pool([2.0, 2.0], [1.0, 1.0])
    np.testing.assert_allclose((found.low, found.high), stats.norm.interval(0.95, 2.0))
    assert found.degrees == np.inf


@pytest.mark.parametrize("noise", [0.0, 0.5, 1.0])
def test_pooled_intervals_have_their_coverage(noise):
    """Training adds `noise` (a variance, in units of that of the real estimate) to each table. Error rate 1 in 15,000.

    An interval from one table as if it were real covers the truth in at most 83 %, by 1.96 / sqrt(2).
    """
    rng, repeats, m = np.random.default_rng(3), 20_000, 5
    real = rng.normal(size=repeats)
    q = real + rng.normal(size=(m, repeats)) * np.sqrt(1 + noise)
    found = motes.pool(q, np.ones(q.shape))
    covers = np.mean((found.low < 0) & (found.high > 0))
    assert abs(covers - 0.95) < 4 * np.sqrt(0.95 * 0.05 / repeats)
    assert np.mean(abs(q[0]) < 1.96) < 0.85
    assert np.median(found.high - found.low) / (2 * 1.96) < 1.3


@pytest.mark.parametrize(
    ("q", "v", "options"),
    [
        ([1.0], [1.0], {}),
        (1.0, 1.0, {}),
        ([1.0, 2.0], [1.0, 2.0, 3.0], {}),
        ([1.0, np.nan], [1.0, 1.0], {}),
        ([1.0, 2.0], [1.0, np.inf], {}),
        ([1.0, 2.0], [1.0, -1.0], {}),
        ([1.0, 2.0], [1.0, 1.0], {"level": 95}),
    ],
)
def test_what_cannot_be_pooled_is_refused(q, v, options):
    with pytest.raises(UsageError):
        motes.pool(q, v, **options)


# --- sample_sets ---


def test_sets_are_as_large_as_the_training_table_and_differ():
    model = people_model()
    tables, again = model.sample_sets(3, seed=4), model.sample_sets(3, seed=4)
    assert [type(table) for table in tables] == [pd.DataFrame] * 3
    assert all(len(table) == len(PEOPLE) and list(table) == list(PEOPLE) for table in tables)
    for one, other in zip(tables, again, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert not tables[0].equals(tables[1])
    assert not tables[0].equals(model.sample_sets(1, seed=5)[0])


def test_each_set_comes_from_its_own_member():
    model = people_model(3)
    group, place = next(
        (g, list(one.parts).index(j))
        for g, one in enumerate(model.orders.layout.groups)
        for j in one.parts
        if model.schema.parts[j].column == "smoker"
    )
    bias = [np.array(one) for one in model.orders.bias]
    bias[group][1, place, 0] = 100.0  # member 1 always draws the first label
    model.orders = replace(model.orders, bias=tuple(bias))
    labels = [set(table.smoker) for table in model.sample_sets(3)]
    assert [len(one) for one in labels] == [2, 1, 2]


def test_more_sets_than_members_are_refused_with_the_option_that_allows_them():
    with pytest.raises(UsageError, match=r"table\.members"):
        people_model().sample_sets(6)
    assert len(people_model(6).sample_sets(6)) == 6
    with pytest.raises(UsageError):
        people_model(1).sample_sets(2)


def test_a_model_with_chosen_members_is_loaded_with_its_networks(tmp_path):
    model = people_model(2)
    model.save(tmp_path / "model.safetensors")
    loaded = motes.load(tmp_path / "model.safetensors")
    for one, other in zip(model.sample_sets(2), loaded.sample_sets(2), strict=True):
        pd.testing.assert_frame_equal(one, other)


@pytest.mark.parametrize("members", [2, 5, 7])
def test_members_learn_most_rows_and_leave_out_different_ones(members):
    n = 100
    weights, pieces = np.ones(n), np.ones(n, int)
    rows = EncodedRows(*(np.zeros((n, 1)) for _ in EncodedRows._fields))
    split = held_out(TableRows(rows, weights, pieces, np.ones((n, 1), bool)), members, seed=0)
    assert (split.learn.sum(axis=1) >= 0.8 * n).all() and (split.hold.sum(axis=1) > 0).all()
    assert (split.hold.sum(axis=0) <= 1).all()
    np.testing.assert_array_equal(split.learn + split.hold, np.ones((members, n)))


def test_fewer_rows_than_members_are_learned_without_validation():
    model = people_model(20, PEOPLE.iloc[:12])
    assert [len(table) for table in model.sample_sets(20)] == [12] * 20
