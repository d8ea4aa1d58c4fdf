"""Verdicts are right where the answer is known, and judges share nothing with what they judge."""

import json

import numpy as np
import pytest

import motes
from motes.data.tables import Standardiser
from motes.evaluation.irreducible import BOUND, EXACT
from motes.evaluation.results import Metric, Row
from motes.evaluation.verdicts import GOOD, WORDS, overall, verdict
from motes.judging import evaluate, least_loss
from motes.point_fitting import fit_points
from motes.points import PointModel
from motes.sources import read_source


@pytest.fixture(scope="module")
def perfect():
    """Eight Gaussians by their exact denoiser."""
    recipe = motes.load_recipe()
    z_of = Standardiser.fit(motes.draw("eight_gaussians", 5000, seed=0))
    exact = motes.truth("eight_gaussians").oracle(recipe.make_schedule(), z_of)
    return PointModel(exact, z_of, ("x", "y"), recipe, source="eight_gaussians")


def test_exact_samples_are_like_a_real_draw(perfect):
    found = evaluate(perfect, n=2000)
    # 4 tests at 1 % and 9 pairs of 95 % intervals that have to part: one false alarm in some twenty seeds.
    assert found.verdict == "All 13 metrics: like a real draw."
    assert (found.judged_by, found.size) == ("a fresh draw", 2000)
    plain = json.loads(json.dumps(found.to_dict()))
    assert [metric["verdict"] for metric in plain["metrics"]] == [GOOD] * 13
    assert plain["metrics"][0].keys() == {"name", "value", "low", "high", "p_value", "floor", "verdict"}
    assert {metric["name"] for metric in plain["metrics"]} <= WORDS.keys()
    for row in plain["metrics"]:
        assert row["name"] in str(found)


def test_the_likelihood_is_beside_that_of_the_exact_law(perfect):
    row = evaluate(perfect, n=1000).rows[-1]
    assert row.metric.name == "negative_log_likelihood"
    # The same rows under the same law, by the flow and by its formula.
    assert row.metric == pytest.approx(row.floor, abs=1e-3)
    entropy = motes.truth("eight_gaussians").entropy().value
    assert row.floor.low < entropy + 0.05 and row.floor.high > entropy - 0.05


def test_samples_of_another_law_are_not(perfect):
    found = evaluate(perfect, motes.draw("circles", 4000, seed=1) * 4, n=2000)
    told = {row.metric.name: verdict(row) for row in found.rows}
    assert "a classifier is right in" in told["c2st"]
    assert "of the data has no sample near" in told["coverage"]
    assert "times as far as a real draw" in told["sliced_w2"]
    assert found.judged_by == "rows of the array"
    assert "Not so: sliced_w2" in found.verdict


def test_the_judge_is_drawn_apart_from_the_samples_and_the_training(perfect):
    source = read_source("eight_gaussians", perfect.recipe, 0)
    judge, other = source.real(1000)
    samples = perfect.sample(1000, seed=0)
    rows = [{tuple(row) for row in np.round(x, 6).tolist()} for x in (judge, other, samples, source.table.x)]
    assert sum(len(part) for part in rows) == len(set().union(*rows))


def row(name, value, low, high, floor, p_value=None):
    return Row(Metric(name, value, low, high, p_value), Metric(name, *floor))


@pytest.mark.parametrize(
    ("beside", "words"),
    [
        (row("sliced_w2", 0.03, 0.02, 0.04, (0.02, 0.01, 0.03)), GOOD),
        (row("sliced_w2", 0.06, 0.05, 0.07, (0.02, 0.01, 0.03)), "3 times as far"),
        (row("precision", 0.90, 0.88, 0.92, (0.99, 0.98, 1.0)), "10.0% lies outside the data"),
        (row("precision", 1.0, 0.99, 1.0, (0.9, 0.88, 0.92)), GOOD),
        (row("density", 1.5, 1.4, 1.6, (1.0, 0.9, 1.1)), "bunched up"),
        (row("density", 0.5, 0.4, 0.6, (1.0, 0.9, 1.1)), "thinner"),
        (row("c2st", 0.6, 0.55, 0.65, (0.5, 0.45, 0.55), 0.005), "right in 60 of 100"),
        (row("c2st", 0.52, 0.47, 0.57, (0.5, 0.45, 0.55), 0.2), GOOD),
        (row("c2st", 0.40, 0.35, 0.45, (0.5, 0.45, 0.55), 0.99), "copies"),
        (row("mmd_squared", 0.1, 0.05, 0.15, (0.0, -0.1, 0.1), 0.001), "p = 0.001"),
        (row("negative_log_likelihood", 1.5, 1.4, 1.6, (1.0, 0.9, 1.1)), "0.5 nats above"),
    ],
)
def test_a_verdict_says_which_way_and_how_much(beside, words):
    assert words in verdict(beside)


def test_one_sentence_on_all_of_them():
    good, bad = row("w2", 1, 0, 2, (1, 0, 2)), row("recall", 0.5, 0.4, 0.6, (0.9, 0.8, 1.0))
    assert overall([good, bad, good]) == "2 of 3 metrics: like a real draw. Not so: recall."


def test_too_few_rows_are_an_error(perfect):
    with pytest.raises(motes.UsageError, match="9 rows of the array to judge by"):
        evaluate(perfect, np.random.default_rng(0).normal(size=(18, 2)))
    with pytest.raises(motes.UsageError, match="3 columns; the model has 2: x, y"):
        evaluate(perfect, np.random.default_rng(0).normal(size=(100, 3)))


def test_the_least_loss_is_exact_for_a_shape_and_a_bound_for_rows(tmp_path):
    recipe = motes.load_recipe("default", {"data.rows": 2000})
    source = read_source("moons", recipe, 0)
    exact = least_loss(source, recipe)
    path = tmp_path / "rows.npy"
    np.save(path, source.table.x)
    bound = least_loss(read_source(str(path), recipe, 0), recipe)
    assert (exact.label, bound.label) == (EXACT, BOUND)
    assert bound.mean + 5 * bound.error < exact.mean
    assert 0 < exact.error < 0.01 * exact.mean
    ours = fit_points(source.table, recipe, seed=0).training.losses[-1500:].mean()
    assert exact.mean - 5 * exact.error < ours < 1.1 * exact.mean  # and training comes close to it
