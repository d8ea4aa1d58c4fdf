"""Posteriors are evaluated and diagnosed by their calibration, in memory, from files and on the command line."""

import json

import numpy as np
import pandas as pd
import pytest
from tests.conftest import SMALL
from tests.linear_simulator import simulated

import motes
from motes.errors import UsageError
from motes.evaluation import Calibration, Metric
from motes.evaluation.posteriors import evaluate_posteriors, evaluation_of_posteriors
from motes.plots.report import page


@pytest.fixture(scope="module")
def found(exact):
    theta, x = simulated(200, 4)
    return exact.evaluate(theta, given=x)


@pytest.mark.slow
def test_exact_posteriors_are_calibrated(exact, found):
    theta, x = simulated(200, 4)
    assert found.severity == "good" and list(found.verdicts) == ["calibration", "fit"]
    same = motes.calibration(exact, theta, x)
    names = [f"{what} of {name}" for name in ("u", "v", "all columns") for what in ("width", "ranks")]
    assert [entry.name for entry in found.of("calibration")] == list(same.verdicts) == names
    for entry, width in zip(found.of("calibration")[::2], same.widths, strict=True):
        assert entry.value == float(width) and entry.reference_value == 1.0
        assert entry.verdict.p_value == min(1.0, 6 * width.p_value)
    for entry, p in zip(found.of("calibration")[1::2], same.p_values, strict=True):
        assert entry.value is None and entry.verdict.p_value == min(1.0, 6 * p)
    (fit,) = found.of("fit")
    np.testing.assert_allclose(fit.value, -exact.score_samples(theta, given=x).mean())
    assert fit.chance is None and "no reference value" in fit.verdict.text
    assert exact.diagnose(theta, given=x).findings == []


def record(width, p, of_ranks=0.5):
    value = {"right": 1.0, "narrow": 0.78, "wide": 1.1}[width]
    widths = (Metric("width", value, value - 0.05, value + 0.05, p),)
    found = Calibration(("a",), np.zeros((9, 2), int), 99, widths, np.array([of_ranks, 0.6]))
    return evaluation_of_posteriors(found, np.arange(9.0), seed=0)


@pytest.mark.parametrize(
    ("width", "p", "severity", "says"),
    [
        ("narrow", 1e-6, "large", "22% too narrow (over-confident)"),
        ("wide", 1e-6, "moderate", "10% too wide (under-confident)"),
        ("right", 0.02, "good", "no difference detected"),  # 0.06 of three tests together
    ],
)
def test_what_is_wrong_is_said_with_its_size(width, p, severity, says):
    found = record(width, p)
    assert found.of("calibration")[0].verdict.severity == severity
    assert says in found.of("calibration")[0].verdict.text
    assert ("1 of 3 tests of calibration (width of a)" in found.headline) == (severity != "good")
    shifted = record("right", 0.9, 1e-6)
    assert shifted.of("calibration")[1].verdict.text == "shifted or of the wrong shape"
    assert "The posteriors are miscalibrated according to 1 of 3 tests of calibration (ranks of a)" in shifted.headline


@pytest.mark.slow
def test_the_record_is_text_json_and_a_page(found):
    assert "all columns" in str(found) and "negative_log_likelihood" in str(found)
    written = json.loads(json.dumps(found.to_dict()))
    assert written["kind"] == "posteriors" and 0.8 < written["details"]["coverage"]["0.9"]["u"]["value"] < 1
    text = page(found)
    assert text.startswith("<!doctype html>") and "Calibration" in text and "0.95" in text


def test_misuse_is_told(exact):
    theta, x = simulated(60, 4)
    for call, says in [
        (lambda: exact.evaluate(theta), "got rows without them. Pass both: evaluate"),
        (lambda: exact.diagnose(theta), "got rows without them"),
        (lambda: exact.evaluate(theta[:9], given=x[:9]), "got 9 simulations; expected at least 50"),
        (lambda: exact.evaluate("a.csv", given=x), "got given without rows in memory"),
        (lambda: exact.evaluate(), "trained on rows in memory"),
    ]:
        with pytest.raises(UsageError, match=says):
            call()


@pytest.mark.slow
def test_a_run_is_evaluated_and_diagnosed(motes_command, tmp_path):
    theta, x = simulated(800, 5)
    pd.DataFrame(np.hstack([theta, x]), columns=[*"uvabc"]).to_csv("s.csv", index=False)
    quick = [f"--set={name}={value}" for name, value in (SMALL | {"data.held_out": 0.2}).items()]
    assert motes_command("train", "s.csv", "--out", "run", "--given-columns", "a,b,c", *quick)[0] == 0
    out = motes_command.out("evaluate", "run", "--report", "r.html", "--json")
    found = json.loads(out)
    model = motes.load("run")
    held_out = found["rows"]["real"]
    assert "held-out" in found["evaluated_against"]
    assert 100 < held_out < 220 and found["kind"] == "posteriors" and (tmp_path / "r.html").is_file()
    same = evaluate_posteriors(model)
    assert same.to_dict()["entries"] == found["entries"]
    out = motes_command.out("diagnose", "run", "s.csv", "--out", "d", "--json")
    assert json.loads(out)["findings"] == model.diagnose("s.csv").findings
    assert sorted(path.name for path in (tmp_path / "d").iterdir()) == ["diagnosis.json", "ranks.png"]
    other = pd.read_csv("s.csv")[:60]
    other.to_csv("other.csv", index=False)
    assert evaluate_posteriors(model, "other.csv").rows["real"] == 60
