"""The check after training: means and standard deviations of synthetic numbers against the training rows."""

import numpy as np
import pandas as pd
import pytest

import motes
from motes.data import as_frame
from motes.tables.moments import moment_warnings

pytestmark = pytest.mark.brief

SMALL = {"table.width": 32, "table.steps": 100, "table.members": 1, "table.components": 2}


def make_rows(n, seed):
    rng = np.random.default_rng(seed)
    kind = rng.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2])
    return pd.DataFrame({
        "kind": kind,
        "score": np.round(rng.normal(50, 10, n) + 5 * (kind == "b"), 1),
        "income": np.round(np.exp(rng.normal(3, 1, n)), 2),
        "visits": rng.poisson(2, n),
    })  # fmt: skip


@pytest.fixture(scope="module")
def model():
    """A trained model; no warning after its training, which pytest would raise as an error."""
    return motes.fit(make_rows(1500, 0), "table", changes=SMALL, verbose=False)


def test_the_training_rows_give_no_warning(model):
    """Six comparisons of at least four standard errors for each of ten seeds: one false alarm in 250 runs."""
    for seed in range(1, 11):
        assert moment_warnings(model, as_frame(make_rows(1500, 0)), None, seed) == []


@pytest.mark.parametrize(
    ("column", "change", "figure"),
    [
        ("score", lambda x: x + 4, "mean"),
        ("income", lambda x: 1.4 * x, "mean"),
        ("score", lambda x: 51.5 + 1.3 * (x - 51.5), "standard deviation"),
    ],
)
def test_a_planted_difference_names_its_column_and_both_figures(model, column, change, figure):
    rows = make_rows(3000, 1)
    rows[column] = change(rows[column])
    expected = rows[column].mean() if figure == "mean" else rows[column].std(ddof=0)
    (message,) = moment_warnings(model, as_frame(rows), None, 0)
    assert f"{column} ({figure} " in message and f"instead of {expected:.4g})" in message
    assert sum(f"{name} (" in message for name in rows) == 1


def test_weights_belong_to_the_training_rows(model):
    rows = make_rows(3000, 2)
    assert "score (mean" in moment_warnings(model, as_frame(rows), np.where(rows.score > 50, 1.0, 0.1), 0)[0]


def test_a_fit_warns_of_a_mean_that_is_off():
    """Two bins and one Gaussian cannot hold a tenth of the rows far away."""
    coarse = {"table.bins": 2, "table.components": 1, "table.own": 0, "table.steps": 1}
    rows = make_rows(1500, 0)
    rows.loc[rows.index % 10 == 0, "income"] += 400
    with pytest.warns(UserWarning, match=r"income \(mean"):
        motes.fit(rows, "table", changes=SMALL | coarse, verbose=False)
