"""Averages of the weights of a table over any length, made after the training, and how their lengths are compared."""

import numpy as np
import pandas as pd
import pytest
from tests.tables import TINY, untrained

import motes
from fits import fit_table
from motes.errors import ModelFileError
from motes.evaluation.models import compare_ema_lengths
from motes.loading import load

pytestmark = pytest.mark.brief

STEPS = 60
CHANGES = TINY | {"table.steps": STEPS, "table.learning_rate": 0.05, "table.patience": 1000}


def table(n):
    rng = np.random.default_rng(0)
    a = rng.choice(["x", "y", "z"], n)
    b = rng.standard_normal(n)
    return pd.DataFrame({"a": a, "b": b, "c": b + rng.standard_normal(n), "d": np.where(rng.random(n) < 0.9, a, "w")})


@pytest.mark.long
def test_another_length_has_biases_and_inequalities_of_its_own():
    rows = table(200)[["a"]].assign(low=np.arange(200) % 40, high=np.arange(200) % 40 + np.arange(200) % 7)
    changes = CHANGES | {"table.averages": 4, "table.steps": 20, "table.calibrate": True}
    model = motes.fit(rows, changes=changes, verbose=False)
    other = model.averaged_over(0.1)
    drawn = other.sample(1000)
    assert (drawn.low <= drawn.high).all() and other.constraint.rules
    biases = [np.concatenate([np.ravel(one) for one in each.orders.bias]) for each in (model, other)]
    assert np.abs(biases[0] - biases[1]).max() > 1e-6
    # Calibration gives each label its share of the training rows.
    counts = drawn.a.value_counts(normalize=True)[list("xyz")], rows.a.value_counts(normalize=True)[list("xyz")]
    assert np.abs(counts[0].to_numpy() - counts[1].to_numpy()).max() < 0.06


# --- files and the command --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run on a file, as far as averages are concerned."""
    folder = tmp_path_factory.mktemp("run")
    table(400).to_csv(folder / "t.csv", index=False)
    model = motes.fit(str(folder / "t.csv"), "table", changes=CHANGES | {"table.averages": 16}, verbose=False)
    model.save(folder / "model.safetensors")
    model.save_averages(folder)
    return folder, model


@pytest.mark.slow
def test_averages_are_found_beside_a_loaded_table(run, tmp_path):
    folder, model = run
    ours, theirs = load(folder).averaged_over(0.07), model.averaged_over(0.07)
    np.testing.assert_array_equal(ours.score_samples(table(50)), theirs.score_samples(table(50)))
    assert not np.array_equal(ours.score_samples(table(50)), model.score_samples(table(50)))
    assert (ours.length, model.length) == (0.07, None)
    ours.save(tmp_path / "model.safetensors")
    again = motes.load(tmp_path)
    assert again.length == 0.07 and again.averages is None
    model.save_averages(tmp_path)
    with untrained():
        fit_table(table(120), changes=CHANGES, seed=1).save(tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="belongs to another model"):
        motes.load(tmp_path).averaged_over(0.1)


@pytest.mark.slow
def test_lengths_are_compared_by_nats_of_held_out_rows(run):
    folder, _ = run
    model = load(folder)
    model.averages.weights[:-2] += 0.5  # early weights that are worth nothing: only a short average forgets them
    found = compare_ema_lengths(model, lengths=(0.05, 0.25))
    assert found.lengths == (None, 0.05, 0.25) and found.measure == "-log p in nats per row"
    assert found.best == 0.05 and found.losses[2] > found.losses[1] + 1
    assert "held-out rows of" in found.evaluated_against
    other = compare_ema_lengths(model, table(300).sample(100, random_state=0), lengths=(0.05,))
    assert np.isfinite(other.losses).all() and "50 held-out rows of the data" in other.evaluated_against
