"""Columns of labels that follow from another one: found where they do, not found where they do not, and kept."""

import itertools

import numpy as np
import pandas as pd
import pytest

from fits import fit_table
from motes.loading import load
from motes.tables.schema import Schema
from motes.tables.training import order_of
from tables import TINY, untrained

ANIMALS = {"mouse": "mammal", "horse": "mammal", "crow": "bird", "robin": "bird", "owl": "bird", "frog": "amphibian"}


def animals(n=400, seed=0):
    """Each animal has one class; where it lives has nothing to do with that, but frogs live in ponds."""
    rng = np.random.default_rng(seed)
    animal = rng.choice([*ANIMALS], n)
    place = np.where(animal == "frog", "pond", rng.choice(["wood", "field", "pond"], n))
    return pd.DataFrame({"class": [ANIMALS[one] for one in animal], "animal": animal, "place": place})


@pytest.fixture(scope="module")
def data():
    return animals()


@pytest.fixture(scope="module")
def model(data):
    with untrained():
        return fit_table(data, changes=TINY, seed=1)


def test_what_follows_is_found_and_said(data):
    assert Schema.fit(data).related == [
        "class follows from animal",
        "animal is frog where class is amphibian",
        "place is pond where class is amphibian",
        "place is pond where animal is frog",
    ]


def test_what_is_broken_often_is_no_dependency(data):
    other = data.copy()
    crows = other.index[other.animal == "crow"]
    other.loc[crows[:1], "class"] = "mammal"
    assert "class follows from animal in nearly all rows" in Schema.fit(other).related
    other.loc[crows[: len(crows) // 4], "class"] = "mammal"
    message = [one for one in Schema.fit(other).related if one.startswith("class")]
    # What each of the other animals says stays.
    assert len(message) == 1
    assert message[0].startswith("class is ") and "bird where animal is owl" in message[0] and "crow" not in message[0]


def test_labels_that_are_all_rare_follow_from_nothing_and_nothing_from_them():
    # Of more than 256 labels those of one or two rows share a code: here no label has a code of its own.
    pairs = np.repeat([f"C{k}" for k in range(300)], 2)
    schema = Schema.fit({"customer": pairs, "city": ["Graz", "Linz", "Wien"] * 200})
    assert schema.dependencies == ()
    assert [part.count for part in schema.parts] == [1, 3]


def test_independent_labels_follow_from_nothing():
    # 20 tables of 6 pairs. By chance one in a table of 1e8 would be found.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(
            {
                "many": rng.integers(0, 120, 300).astype(str),
                "rare": np.where(rng.random(300) < 0.02, "yes", "no"),
                "few": rng.choice(list("abc"), 300, p=[0.8, 0.15, 0.05]),
            }
        )
        assert Schema.fit(frame).dependencies == ()


@pytest.mark.slow
def test_a_row_has_what_follows_in_all_draws(model, data):
    # The network has learned nothing: without dependencies about two thirds of the rows would break them.
    rows = model.sample(5000, seed=3).like(data)
    assert (rows["class"] == rows.animal.map(ANIMALS)).all()
    assert not ((rows.animal == "frog") & (rows.place != "pond")).any()
    assert set(rows.animal) == set(ANIMALS)
    given = model.sample(500, given={"animal": "owl"}, seed=4).like(data)
    assert (given["class"] == "bird").mean() > 0.98


@pytest.mark.slow
def test_all_rows_together_have_probability_one_and_those_that_break_it_next_to_none(model, data):
    cells = pd.DataFrame(itertools.product(*(sorted(set(data[name])) for name in data)), columns=list(data))
    p = np.exp(model.score_samples(cells))
    assert p.sum() == pytest.approx(1, abs=2e-3)  # Z comes from 8,192 rows, of which 1 in 800 breaks a rule
    kept = cells["class"] == cells.animal.map(ANIMALS)
    # Half a row of 400 is left to the network, which knows nothing and gives each class its share; of that, one part
    # in 401 is left to rows that break a rule.
    own = data["class"].value_counts(normalize=True)
    wrong = 1 - data["class"].map(own).mean()
    assert p[~kept].sum() == pytest.approx(wrong / (2 * 400 + 2) / 401, rel=0.05)


def test_probabilities_of_a_label_are_those_of_every_label_scored(model, data):
    rows = data.head(30)
    found, labels = model.predict_proba(rows, "class")
    scored = np.stack([model.score_samples(rows.assign(**{"class": label})) for label in labels], axis=1)
    expected = np.exp(scored - np.logaddexp.reduce(scored, axis=1)[:, None])
    right = [labels.index(ANIMALS[one]) for one in rows.animal]
    np.testing.assert_allclose(found[np.arange(30), right], 1, atol=2e-3)
    np.testing.assert_allclose(found, expected, atol=2e-3)  # the orders differ: rows that the network knows nothing of


def test_what_follows_comes_after_that_from_which_it_follows(model):
    columns = [model.schema.parts[j].column for j in model.orders.order]
    assert columns.index("animal") < columns.index("class")
    assert columns.index("animal") < columns.index("place")
    units, entropies = np.array([0, 1, 2]), np.array([1.0, 2.0, 3.0])
    assert order_of(entropies, units).tolist() == [0, 1, 2]
    assert order_of(entropies, units, {0: [2]}).tolist() == [2, 0, 1]
    assert order_of(entropies, units, {0: [2], 2: [0]}).tolist() == [2, 0, 1]


@pytest.mark.slow
def test_a_file_keeps_them_and_an_option_leaves_them_out(model, data, tmp_path):
    model.save(tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.schema.related == model.schema.related
    np.testing.assert_allclose(again.score_samples(data.head(20)), model.score_samples(data.head(20)), atol=1e-6)
    with untrained():
        without = fit_table(data, changes=TINY | {"table.relations": False}, seed=1)
    assert without.schema.dependencies == ()
    rows = without.sample(2000, seed=3).like(data)
    assert (rows["class"] != rows.animal.map(ANIMALS)).mean() > 0.4
