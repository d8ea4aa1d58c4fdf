"""Labels without an order lie side by side where they are alike, whatever they are called."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest

from motes.data.encoder import Encoder

RNG = np.random.default_rng(0)
NAMES = np.array([f"city {i:02d}" for i in range(30)])


def order_of(data: pd.DataFrame, column: str = "city", **overrides) -> tuple:
    codecs = {codec.column: codec for codec in Encoder.fit(data, overrides).codecs}
    return codecs[column].cells.labels


def towns(names, *, n: int = 6000, seed: int = 1) -> pd.DataFrame:
    """Rows of towns, of which the k-th has prices near k, under the name that is k-th of `names`."""
    rng = np.random.default_rng(seed)
    k = rng.integers(0, len(names), n)
    return pd.DataFrame(
        {
            "city": names[k],
            "price": k + rng.normal(0, 2, n),
            "area": rng.normal(size=n),
            "rent": -k + rng.normal(0, 3, n),
        }
    )


def either_way(found, expected) -> bool:
    return list(found) in (list(expected), list(expected)[::-1])


def test_labels_lie_in_the_order_that_the_other_columns_give_them():
    # Means of 200 rows with deviations of 2 and 3 are 1 apart: 6 times as far as chance moves them.
    names = RNG.permutation(NAMES)
    assert either_way(order_of(towns(names)), names)


def test_other_names_change_nothing_but_the_names():
    first, second = RNG.permutation(NAMES), RNG.permutation(NAMES)
    renamed = dict(zip(first, second, strict=True))
    assert either_way(order_of(towns(second)), [renamed[name] for name in order_of(towns(first))])


def test_cities_of_one_country_are_neighbours():
    rng = np.random.default_rng(2)
    names = RNG.permutation(NAMES)
    k = rng.integers(0, 30, 5000)
    countries = np.array(["a", "b", "c", "d", "e"])[k // 6]
    order = order_of(pd.DataFrame({"city": names[k], "country": countries, "x": rng.normal(size=5000)}))
    home = [np.flatnonzero(names == city)[0] // 6 for city in order]
    assert (np.diff(home) != 0).sum() == 4


def test_missing_cells_say_nothing():
    names = RNG.permutation(NAMES)
    data = towns(names, n=20_000)
    rng = np.random.default_rng(3)
    data = data.mask(pd.DataFrame(rng.random(data.shape) < 0.3, columns=data.columns))
    assert either_way(order_of(data), names)


def test_the_order_of_the_rows_is_no_matter():
    data = towns(RNG.permutation(NAMES)[:7], n=500)
    assert order_of(data) == order_of(data.iloc[::-1].reset_index(drop=True))


def test_rows_that_come_back_are_those_that_went_in():
    data = towns(RNG.permutation(NAMES))
    encoder = Encoder.fit(data)
    back = encoder.decode(encoder.encode(data).z).like(data)
    assert (back["city"] == data["city"]).all()


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "c"]])
def test_alone_labels_lie_as_they_are_sorted(labels):
    data = pd.DataFrame({"city": np.array(labels)[np.arange(60) % len(labels)]})
    assert order_of(data) == tuple(labels)


def test_an_order_that_is_said_stays():
    data = towns(RNG.permutation(NAMES)[:5])
    said = sorted(set(data["city"]))
    assert order_of(data, city={"kind": "ordered", "order": said}) == tuple(said)
    ordered = data.assign(city=pd.Categorical(data["city"], said, ordered=True))
    assert order_of(ordered) == tuple(said)


def test_numbers_that_are_labels_are_ordered_as_well():
    codes = RNG.permutation(12)
    k = np.random.default_rng(4).integers(0, 12, 3000)
    data = np.stack([codes[k], k], axis=1)
    encoder = Encoder.fit(data, {"x": "categorical"})
    assert either_way(encoder.codecs[0].cells.labels, codes)


def test_two_columns_of_names_need_no_table_of_all_their_pairs():
    rng = np.random.default_rng(6)
    names = [f"n{i:05d}" for i in range(20_000)]
    data = pd.DataFrame({"name": names, "mail": rng.permutation(names), "x": rng.normal(size=20_000)})
    tracemalloc.start()
    Encoder.fit(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6  # a table of 20,000 x 20,000 has 3.2e9
