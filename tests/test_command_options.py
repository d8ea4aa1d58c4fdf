"""What a command with options answers is what the model answers in Python with the same options."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from tests.tables import TINY, untrained

import motes

POINTS = {
    "network.width": 6, "network.depth": 1, "training.steps": 5, "training.batch": 4, "training.averages": 4,
    "grid.steps": 4,
}  # fmt: skip
ROWS = {"x": np.random.default_rng(0).normal(size=60).round(3), "label": ["u", "v", "w"] * 20}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A model of points with classes, one of a table, and a file of rows with holes for each."""
    folder = tmp_path_factory.mktemp("saved")
    x, labels = motes.data.make_labelled_shape("moons", 60, seed=0)
    points = motes.fit(x, "default", labels=labels, changes=POINTS, seed=1, verbose=False)
    points.save(folder / "points")
    with untrained():
        table = motes.fit(pd.DataFrame(ROWS), changes=TINY | {"table.steps": 1}, seed=1, verbose=False)
    table.save(folder / "table")
    pd.DataFrame({"x": [0.5, None, 1.0, None], "label": ["u", "v", None, "v"]}).to_csv(
        folder / "holes.csv", index=False
    )
    pd.DataFrame(ROWS).to_csv(folder / "rows.csv", index=False)
    return folder


@pytest.fixture
def model(saved):
    return lambda name: motes.load(saved / f"{name}.safetensors")


@pytest.fixture
def ask(saved, motes_command):
    """Standard output of a command about a saved model, an array where it is rows."""

    def asked(command, name, *words):
        words = [saved / word if word in ("holes.csv", "rows.csv") else word for word in words]
        return motes_command.out(command, saved / f"{name}.safetensors", *words, "--quiet")

    return asked


def table_of(text):
    return pd.read_csv(io.StringIO(text))


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ((), {}),
        (("--seed", 3), {"seed": 3}),
        (("--sampler", "heun", "--steps", 3), {"sampling": {"sampler": "heun", "steps": 3}}),
        (("--grid", "log_snr"), {"sampling": {"grid": "log_snr"}}),
        (("--label", 1, "--guidance", 2), {"sampling": {"guidance": 2.0}, "label": 1}),
        (
            ("--label", 1, "--guidance", 2, "--guidance-interval", 0.25, 0.75),
            {"sampling": {"guidance": motes.Guidance(2.0, low=0.25, high=0.75)}, "label": 1},
        ),
    ],
)
def test_points_are_those_of_python(ask, model, words, options):
    options = {"label": 0} | options
    words = (*words, *(() if "--label" in words else ("--label", 0)))
    drawn = table_of(ask("sample", "points", "-n", 5, *words))
    np.testing.assert_allclose(drawn[["x", "y"]], model("points").sample(5, **options), rtol=1e-6)
    assert set(drawn["label"]) == {options["label"]}


def test_points_under_a_condition_are_those_of_python(ask, model):
    drawn = table_of(ask("sample", "points", "-n", 5, "--given", "x=0.5", "--seed", 2))
    np.testing.assert_allclose(drawn, model("points").sample(5, given={"x": 0.5}, seed=2), rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ((), {}),
        (("--seed", 3), {"seed": 3}),
        (("--given", "label=u", "--importance-resample"), {"given": {"label": "u"}, "importance_resample": True}),
    ],
)
def test_rows_are_those_of_python(ask, model, words, options):
    drawn = table_of(ask("sample", "table", "-n", 6, *words))
    pd.testing.assert_frame_equal(drawn, model("table").sample(6, **options).reset_index(drop=True))


@pytest.mark.parametrize(
    ("words", "options"), [((), {}), (("--orders", 3), {"orders": 3}), (("--laplace",), {"laplace": True})]
)
def test_scores_of_rows_are_those_of_python(ask, model, saved, words, options):
    ask("score", "table", "holes.csv", "--out", "scores.npy", *words)
    found = model("table").likelihood(pd.read_csv(saved / "holes.csv"), **options)
    expected = [found.log_prob, found.spread] if "orders" in options else [found.log_prob]
    np.testing.assert_allclose(np.load("scores.npy"), np.stack(expected, axis=1), rtol=1e-6)


def test_scores_of_points_given_a_class_are_those_of_python(model, saved, motes_command):
    x = motes.make_shape("moons", 4, seed=5)
    motes.data.write_frame("xy.csv", motes.data.as_frame(x, ["x", "y"]))
    motes_command.out("score", saved / "points.safetensors", "xy.csv", "--label", 1, "--out", "scores.npy")
    np.testing.assert_allclose(np.load("scores.npy")[:, 0], model("points").score_samples(x, label=1), rtol=1e-5)


def test_filled_in_rows_are_those_of_python(motes_command, model, saved):
    words = (saved / "table.safetensors", saved / "holes.csv", "--out", "filled.csv", "--draws", 3, "--seed", 4)
    code, _, err = motes_command("impute", *words)
    assert code == 0 and "filling in: 9/9 rows" in err
    filled, holes = pd.read_csv("filled.csv"), pd.read_csv(saved / "holes.csv")
    for number, expected in enumerate(model("table").impute(holes, draws=3, seed=4), 1):
        mine = filled[filled["draw"] == number].drop(columns="draw").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, expected)


def test_predictions_are_those_of_python(ask, model, saved):
    words = ("--column", "x", "--quantile", 0.1, "--quantile", 0.9, "--draws", 20, "--seed", 4)
    found = table_of(ask("predict", "table", "rows.csv", *words))
    expected = model("table").predict(pd.read_csv(saved / "rows.csv"), "x", quantiles=(0.1, 0.9), draws=20, seed=4)
    pd.testing.assert_frame_equal(found, expected.reset_index(drop=True))


def test_an_evaluation_and_a_diagnosis_are_those_of_python(ask, model, saved):
    rows = str(saved / "rows.csv")
    found = json.loads(ask("evaluate", "table", "rows.csv", "-n", 50, "--seed", 3, "--target", "label", "--json"))
    expected = model("table").evaluate(rows, n=50, seed=3, target="label").to_dict()
    assert [entry["value"] for entry in found["entries"]] == [entry["value"] for entry in expected["entries"]]
    found = json.loads(ask("diagnose", "table", "rows.csv", "--seed", 3, "--json"))
    expected = json.loads(json.dumps(model("table").diagnose(rows, seed=3).to_dict()))
    assert found["model"] == expected["model"] and found["columns"] == expected["columns"]
