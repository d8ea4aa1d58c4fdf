"""Do regressions on synthetic rows have the coefficients of the training rows?"""

import numpy as np
import pandas as pd
import pytest

import motes

CHANGES = {"table.steps": 100, "table.width": 32, "table.members": 1}


def people(n, rng):
    a, group = rng.normal(size=n), rng.integers(0, 3, n)
    b = np.exp(0.4 * a + 0.3 * group + 0.5 * rng.normal(size=n)).round(2)
    c = (0.5 * a - 0.4 * np.log(b) + rng.normal(size=n)).round(2)
    answer = rng.random(n) < 1 / (1 + np.exp(-(a - 0.5 * group + 0.3 * c)))
    labels = {"group": np.array([*"uvw"])[group], "answer": np.where(answer, "yes", "no")}
    return pd.DataFrame({"a": a, "b": b, "c": c, **labels})


def regressions(rows):
    """Coefficients of a, log b, c and the answer, each on all other columns, and their standard errors."""
    labels = [rows.group == "v", rows.group == "w", rows.answer == "yes"]
    x = np.column_stack([np.ones(len(rows)), rows.a, np.log(rows.b), rows.c, *labels]).astype(float)
    coefficients, errors = [], []
    for j in (1, 2, 3, 6):
        others = np.delete(x, j, axis=1)
        found = np.linalg.lstsq(others, x[:, j], rcond=None)[0]
        variance = (x[:, j] - others @ found).var()
        coefficients.append(found)
        errors.append(np.sqrt(variance * np.diag(np.linalg.inv(others.T @ others))))
    return np.concatenate(coefficients), np.concatenate(errors)


@pytest.fixture(scope="module")
def trained():
    rows = people(1000, np.random.default_rng(0))
    return rows, motes.fit(rows, seed=1, changes=CHANGES, verbose=False)


def test_regressions_on_synthetic_rows_have_the_coefficients_of_the_training_rows(trained):
    # 20,000 synthetic rows: chance alone is 0.2 standard errors of 1,000 rows. Without tilts 0.84, and 2.2 at most.
    rows, model = trained
    coefficients, errors = regressions(rows)
    off = (regressions(model.sample(20_000, seed=3))[0] - coefficients) / errors
    assert np.sqrt(np.mean(off**2)) < 0.45 and np.abs(off).max() < 1.2


def test_tilts_belong_to_the_model_and_its_file(trained, tmp_path):
    rows, model = trained
    model.save(tmp_path / "people.safetensors")
    again = motes.load(tmp_path / "people.safetensors")
    np.testing.assert_array_equal(again.score_samples(rows[:50]), model.score_samples(rows[:50]))
    pd.testing.assert_frame_equal(again.sample(50, seed=4), model.sample(50, seed=4))
    assert np.abs(again.orders.tilt).max() > 0.01
