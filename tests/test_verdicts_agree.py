"""No number stands next to a verdict that it contradicts: over all evaluations, diagnoses and progress lines."""

import re

import numpy as np
import pytest
from tests.linear_simulator import exact_model, simulated

import motes
from motes.data import as_frame
from motes.evaluation import evaluate_points, evaluate_tables
from motes.evaluation.points import Fit
from motes.plots.report import page
from motes.tables import Schema


def moved(shift, n=400, seed=0):
    return motes.make_shape("moons", n, seed=seed) + np.array([shift, 0.0])


def points(shift, **options):
    """With what is known of the model: log p of real points, which the shift takes nats off."""
    rng = np.random.default_rng(7)
    log_prob = rng.normal(-2.0 - 3 * shift, 1.0, 300), rng.normal(-2.0, 1.0, 300)
    return evaluate_points(moved(shift), moved(0, seed=1), moved(0, seed=2), fit=Fit(log_prob), **options)


@pytest.mark.slow(but=["0", "1", "2"])
@pytest.mark.parametrize("seed", range(12))
def test_what_quick_measures_find_all_measures_find(seed):
    # Draws with a shift at the edge of what can be found; all values are the same in both.
    draws = moved(0.012 * seed, seed=seed), moved(0, seed=100 + seed), moved(0, seed=200 + seed)
    quick, whole = (evaluate_points(*draws, brief=brief, seed=seed) for brief in (True, False))
    p_values = {entry.name: entry.verdict.p_value for entry in whole.entries}
    for entry in quick.entries:
        assert entry.verdict.p_value >= p_values[entry.name] - 1e-9, entry.name


def frame(n, rng, shift=0.0, rare=0.3):
    age = rng.normal(40 + 10 * shift, 10, n).round(1)
    return as_frame(
        {
            "age": age,
            "income": (age * 100 + rng.normal(0, 900, n)).round(),
            "city": np.where(rng.uniform(size=n) < rare, "Graz", np.where(rng.uniform(size=n) < 0.5, "Wien", "Linz")),
        }
    )


def table(shift, rare=0.3, seed=0):
    rng = np.random.default_rng([seed, 11])
    training, held_out = frame(600, rng), frame(200, rng)
    log_prob = rng.normal(-2, 1, 200), rng.normal(-2 + shift, 1, 600)
    schema = Schema.fit(training)
    return evaluate_tables(
        frame(800, rng, shift, rare), held_out, training, schema, target="income", log_prob=log_prob, seed=seed
    )


def posteriors(shift):
    theta, x = simulated(100, 4)
    return exact_model().evaluate(theta + shift, given=x)


EVALUATIONS = {
    "points alike": (lambda: points(0.0), False),
    "points apart": (lambda: points(0.5), True),
    "points in brief": (lambda: points(0.1, brief=True), None),
    "a table alike": (lambda: table(0.0), False),
    "a table apart": (lambda: table(0.5, 0.6), True),
    "a table a little apart": (lambda: table(0.15, 0.36, seed=3), None),
    "posteriors alike": (lambda: posteriors(0.0), False),
    "posteriors apart": (lambda: posteriors(1.0), True),
}


@pytest.mark.parametrize("name", [name if "table" not in name else pytest.param(name, marks=pytest.mark.slow)
                                  for name in EVALUATIONS])  # fmt: skip
def test_a_range_an_interval_and_a_verdict_agree(name):
    evaluate, differs = EVALUATIONS[name]
    found = evaluate()
    if differs is not None:
        assert (found.severity not in ("good", "unknown")) == differs
    for entry in found.entries:
        if entry.chance is not None:
            assert entry.verdict.differs == (not entry.chance[0] <= entry.value <= entry.chance[1]), entry
        if entry.verdict.p_value is not None:
            level = 0.025 if found.details.kind == "posteriors" else 0.05
            assert entry.verdict.differs == (entry.verdict.p_value < level), entry
        assert not entry.verdict.differs or "no difference" not in entry.verdict.text
    if found.details.kind == "table":
        intervals_agree(found)
    for text in (str(found), re.sub("<[^>]*>", "", page(found))):
        assert "95 % interval" not in text
    for entry in found.to_dict()["entries"]:
        assert (entry["chance"] is None) or None in entry["chance"] or entry["chance"][0] <= entry["chance"][1]


def intervals_agree(found):
    details, verdicts = found.details, found.verdicts
    for column in details.columns:
        for contrast, verdict in ((column.contrast, column.verdict), (column.missing_contrast, column.missing_verdict)):
            if contrast is not None:
                assert verdict.differs == (not contrast.low <= 0 <= contrast.high), column.name
                assert contrast.low <= contrast.difference <= contrast.high
    for section, metric, neutral in (
        ("classifier", details.classifier.accuracy, 0.5),
        ("utility", details.utility.difference, 0.0),
        ("likelihood", details.likelihood.difference, 0.0),
        ("dcr", details.records.share, 0.05),
    ):
        assert verdicts[section].differs == (not metric.low <= neutral <= metric.high), section
    share = details.records.share
    assert f"({share.low:.1%} to {share.high:.1%})" in verdicts["dcr"].text  # one interval, not two


def test_the_first_column_of_a_table_is_not_said_to_be_unpredictable():
    from motes.evaluation import TableDiagnosis

    none = np.zeros(2)
    found = TableDiagnosis("fresh rows", 400, ("sex", "mass"), "sex", none, none, none, none, 0.0, None, 0.0, ())
    assert "sex          - first in the order: no column comes before it" in str(found)
    assert "mass     0.000 ± 0.000" in str(found)
