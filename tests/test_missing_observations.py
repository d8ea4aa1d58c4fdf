"""Simulations with missing entries: a posterior given what was observed."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.conftest import SMALL
from tests.linear_simulator import NOISE, PRIOR, A, simulated

import motes
from motes.errors import DataError

GAPS = (True, False, True)  # which entries may be missing


def with_gaps(x, seed, share=0.4):
    out = np.random.default_rng(seed).random(x.shape) < share
    return np.where(out & GAPS, np.nan, x)


def log_posterior(theta, x):
    """Of each row given the entries of x that are not missing."""
    found = []
    for one, seen in zip(theta, x, strict=True):
        there = ~np.isnan(seen)
        a, noise = A[there], NOISE[np.ix_(there, there)]
        gain = PRIOR @ a.T @ np.linalg.inv(a @ PRIOR @ a.T + noise)
        found.append(stats.multivariate_normal(gain @ seen[there], PRIOR - gain @ a @ PRIOR).logpdf(one))
    return np.array(found)


@pytest.fixture(scope="module")
def learned():
    theta, x = simulated(4000, 21)
    changes = {"training.steps": 1500, "schedule.sigma_max": 40.0, "network.members": 1}
    return motes.fit(theta, given=with_gaps(x, 22), changes=changes, seed=2, verbose=False)


@pytest.mark.slow
def test_the_posterior_is_the_one_given_what_was_observed(learned):
    assert learned.context.has_missing == GAPS and learned.context.inputs == 5
    theta, x = simulated(600, 23)
    seen = with_gaps(x, 24)
    exact, found = log_posterior(theta, seen), learned.score_samples(theta, given=seen)
    excess = exact - found
    assert -4 * excess.std() / 24 < excess.mean() < 0.08
    # What would have been there adds to what is known, so that a model that had it would be nearer by more than that.
    gone = np.isnan(seen).any(axis=1)
    assert (log_posterior(theta, x) - exact)[gone].mean() > 0.1
    for pattern in ([True, False, True], [False, False, True]):
        rows = (np.isnan(seen) == pattern).all(axis=1)
        assert rows.sum() > 50 and excess[rows].mean() < 0.15, pattern


@pytest.mark.slow
def test_what_is_missing_is_none_or_nan(learned):
    one = learned.sample(4, given=[np.nan, 0.5, -1.0])
    frame = pd.DataFrame({"given0": [np.nan], "given1": [0.5], "given2": [-1.0]})
    for given in ([None, 0.5, -1.0], {"given0": None, "given1": 0.5, "given2": -1.0}, frame.iloc[0]):
        np.testing.assert_array_equal(learned.sample(4, given=given), one)
    np.testing.assert_allclose(learned.sample(4, given=frame)[0], one, atol=1e-6)
    assert not np.allclose(learned.sample(4, given=[0.0, 0.5, -1.0]), one)  # 0 is a number
    with pytest.raises(DataError, match="column 'given1': got nan; expected a finite number, as in all"):
        learned.sample(4, given=[0.0, np.nan, 0.0])


def test_gaps_travel_and_units_are_those_of_what_is_there(tmp_path):
    theta, x = simulated(300, 5)
    gaps = with_gaps(x, 6)
    model = motes.fit(theta, given=gaps, changes=SMALL, verbose=False)
    model.save(tmp_path / "model.safetensors")
    again = motes.load(tmp_path / "model.safetensors")
    assert again.context == model.context
    np.testing.assert_array_equal(again.sample(5, given=gaps), model.sample(5, given=gaps))
    context = model.context.forward(gaps)
    assert context.shape == (300, 5)
    np.testing.assert_array_equal(context[:, 3:], np.isnan(gaps)[:, [0, 2]])
    for column, out in zip(context[:, :3].T, np.isnan(gaps).T, strict=True):
        assert (column[out] == 0).all()
        np.testing.assert_allclose([column[~out].mean(), column[~out].std()], [0, 1], atol=1e-9)


@pytest.mark.slow
def test_a_file_has_empty_cells(motes_command):
    theta, x = simulated(300, 5)
    names = ["u", "v", "a", "b", "c"]
    pd.DataFrame(np.hstack([theta, with_gaps(x, 6)]), columns=names).to_csv("s.csv", index=False)
    quick = ["--set=network.members=1", "--set=training.steps=20", "--set=training.batch=64", "--set=grid.steps=5"]
    code, _, err = motes_command("train", "s.csv", "--out", "run", "--given-columns", "a,b,c", *quick)
    assert code == 0, err
    code, out, err = motes_command("sample", "run", "-n", "4", "--given", "a=", "--given", "c=-1", "--given", "b=2")
    assert code == 0, err
    found = np.loadtxt(out.splitlines(), delimiter=",", skiprows=1)
    np.testing.assert_allclose(found, motes.load("run").sample(4, given={"a": None, "b": 2.0, "c": -1.0}).to_numpy())
    code, _, err = motes_command("sample", "run", "--given", "a=1", "--given", "c=-1", "--given", "b=")
    assert code != 0 and "column 'b': got nan; expected a finite number, as in all training rows" in err
    code, _, err = motes_command("score", "run", "s.csv", "--out", "p.csv")
    assert code == 0, err
