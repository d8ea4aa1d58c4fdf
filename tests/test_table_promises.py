"""What a training of a table promises, each with a training that shows it: weights, copies, the best weights, missing
entries, and how many rows are left out."""

import numpy as np
import pandas as pd
import pytest

from fits import fit_table
from motes.tables.training import TableRows, held_out
from tables import TINY, untrained

pytestmark = pytest.mark.brief

PLAIN = {"table.calibrate": False, "table.components": 1, "table.own": 0, "table.dropout": 0.0}


@pytest.mark.slow
def test_a_network_learns_rows_as_often_as_they_count():
    # Each label is as frequent with these weights as without: only the network can know which pairs most rows hold.
    cells = pd.DataFrame([(a, b) for a in "pq" for b in "uv"], columns=["a", "b"])
    rows = pd.concat([cells] * 100, ignore_index=True)
    alike = (rows.a == "p") == (rows.b == "u")
    changes = PLAIN | {"table.steps": 150, "table.width": 16, "table.batch": 64}
    model = fit_table(rows, changes=changes, weights=np.where(alike, 3.0, 1.0))
    p = np.exp(model.score_samples(cells))
    assert p.sum() == pytest.approx(1, abs=1e-4)
    assert p[[0, 3]].sum() == pytest.approx(0.75, abs=0.05)


@pytest.mark.slow
def test_the_base_counts_rows_by_their_weights():
    # Every point comes with its mirror images, which hides the correlation from all who do not weigh.
    x, y = np.abs(np.random.default_rng(0).standard_normal((2, 100)))
    rows = pd.DataFrame(
        np.concatenate([np.stack([a * x, b * y], 1) for a in (1, -1) for b in (1, -1)]), columns=list("xy")
    )
    with untrained():
        model = fit_table(rows, changes=TINY | PLAIN, weights=np.where(rows.x * rows.y > 0, 3.0, 1.0))
    ahead, across = model.score_samples(pd.DataFrame({"x": [1.0, 1.0], "y": [1.0, -1.0]}))
    assert ahead - across > 0.15  # 0 of a base that ignores them; 0.7 where the normals had all of it


def nats_of_the_base(copies):
    """-log p of validation rows before the first step: 40 points without any structure, so many times each."""
    x = np.random.default_rng(1).standard_normal((40, 6))
    changes = TINY | PLAIN | {"table.components": 4, "table.steps": 1}
    return fit_table(np.tile(x, (copies, 1)), changes=changes).training.looks[0, 1]


@pytest.mark.slow
def test_copies_of_a_row_are_on_one_side_of_the_split():
    # A base that has seen the validation rows makes them likelier by 2.2 nats; finer bins make it 0.4.
    assert nats_of_the_base(3) > nats_of_the_base(1) - 1


def test_rare_rows_are_left_out_whole_and_of_many_at_most_two_thousand():
    once = np.ones(11_000, np.int64)
    split = held_out(TableRows(None, 3.0 * once, once, None), 5, 0)
    assert set(split.hold.ravel()) == {0.0, 3.0} == set(split.learn.ravel())
    assert ((split.hold > 0).sum(1) == 2000).all() and not (split.hold * split.learn).any()
    assert ((split.learn > 0).sum(1) == 8800).all()
    many = np.ones(100_000, np.int64)
    assert (held_out(TableRows(None, 1.0 * many, many, None), 1, 0).hold > 0).sum() == 2000
    # The weight of a row of labels is divided: there are only so many different ones.
    few = np.array([5000, 3000, 2000])
    split = held_out(TableRows(None, 1.0 * few, few, None), 5, 0)
    np.testing.assert_array_equal(split.hold + split.learn, np.tile(few, (5, 1)))
    np.testing.assert_array_equal(split.hold.sum(0), few)
    np.testing.assert_array_equal(split.hold.sum(1), 2000)
    assert 0 < np.abs(split.hold / few - 0.2).max() < 0.05  # five standard errors


@pytest.mark.slow
def test_the_best_weights_are_kept_and_not_the_last_ones():
    rng = np.random.default_rng(0)
    make = lambda n: pd.DataFrame({f"x{k}": rng.choice(list("abc"), n) for k in range(5)})
    rows, fresh = make(60), make(400)
    changes = PLAIN | {
        "table.steps": 150, "table.width": 64, "table.learning_rate": 0.02, "table.patience": 1000,
        "table.weight_decay": 0.0, "table.check_every": 25, "table.batch": 64,
    }  # fmt: skip
    model = fit_table(rows, changes=changes)
    looks = model.training.looks[:, 1]
    assert len(model.training.losses) == 150 and model.training.best < 100
    assert looks[-1] > looks.min() + 1.5
    assert -model.score_samples(fresh).mean() < looks.min() + 0.75


def test_rows_of_which_most_is_missing_are_few():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((10_000, 3)).round(1)
    with untrained():
        whole, holes = (
            fit_table(rows, changes=TINY) for rows in (x[:2500], np.where(rng.random(x.shape) < 0.9, np.nan, x))
        )
    # 2,500 rows are learned by one network; 10,000, of which a tenth is there, are worth 1,000: by five.
    assert [len(model.models.base.means) for model in (whole, holes)] == [1, 5]
