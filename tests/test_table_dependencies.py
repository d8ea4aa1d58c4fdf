"""Columns of labels that follow from another one: found where they do, not found where they do not, and kept."""

import numpy as np
import pandas as pd
import pytest

from fits import fit_table
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


def test_what_follows_comes_after_that_from_which_it_follows(data):
    with untrained():
        model = fit_table(data, changes=TINY, seed=1)
    columns = [model.schema.parts[j].column for j in model.orders.order]
    assert columns.index("animal") < columns.index("class")
    assert columns.index("animal") < columns.index("place")
    units, entropies = np.array([0, 1, 2]), np.array([1.0, 2.0, 3.0])
    assert order_of(entropies, units).tolist() == [0, 1, 2]
    assert order_of(entropies, units, {0: [2]}).tolist() == [2, 0, 1]
    assert order_of(entropies, units, {0: [2], 2: [0]}).tolist() == [2, 0, 1]
