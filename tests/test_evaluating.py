"""Verdicts are right where the answer is known; what samples are compared with shares nothing with the training."""

import json

import numpy as np
import pytest

import motes
from motes.data.tables import Standardiser
from motes.evaluation import points as point_tests
from motes.evaluation.metrics import METRICS
from motes.evaluation.points import OF_THE_MODEL, PointDetails, verdict
from motes.evaluation.results import NO_DIFFERENCE, Entry, Evaluation, Metric, Row, Verdict
from motes.points.model import PointModel
from motes.training.model import Provenance

MEASURES = METRICS | OF_THE_MODEL


@pytest.fixture(scope="module")
def perfect():
    """Eight Gaussians by their exact denoiser."""
    recipe = motes.load_recipe()
    z_of = Standardiser.fit(motes.make_shape("eight_gaussians", 5000, seed=0))
    exact = motes.truth("eight_gaussians").oracle(recipe.make_schedule(), z_of)
    return PointModel(exact, z_of, ("x", "y"), recipe, provenance=Provenance("eight_gaussians"))


@pytest.mark.slow
def test_exact_samples_are_like_a_real_draw(perfect):
    found = perfect.evaluate(n=2000)
    # All verdicts are one family of tests: a false alarm with one seed in twenty.
    assert found.headline == "No difference between synthetic and real rows was found." and found.severity == "good"
    assert (found.source, found.evaluated_against) == ("eight_gaussians", "a fresh draw")
    assert found.rows == {"synthetic": 2000, "real": 2000}
    assert [entry.verdict.text for entry in found.entries] == [NO_DIFFERENCE] * 13
    assert {entry.name for entry in found.entries} == MEASURES.keys()
    assert list(found.verdicts) == ["distances", "tests", "coverage", "modes", "fit"]
    excess = found.entries[-1]  # of an exact denoiser there is none
    assert excess.name == "excess_loss" and excess.value == pytest.approx(0, abs=1e-6) and excess.reference_value == 0


def test_json_and_text_are_the_same_record(perfect):
    found = perfect.evaluate(n=200)
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert (plain["kind"], plain["rows"], plain["headline"]) == ("points", dict(found.rows), found.headline)
    assert plain["date"] and plain["version"]
    text = str(found)
    assert found.headline in text and found.compared in text
    for entry, one in zip(plain["entries"], found.entries, strict=True):
        assert (entry["name"], entry["value"], entry["reference_value"]) == (one.name, one.value, one.reference_value)
        assert (entry["severity"], entry["verdict"]) == (one.verdict.severity, one.verdict.text)
        assert entry["name"] in text and f"{one.value:.4g}" in text and one.verdict.text in text
    assert len(plain["details"]["excess"]["noise"]) == 25 and len(plain["details"]["columns"]) == 2


@pytest.mark.slow
def test_the_likelihood_is_beside_that_of_the_exact_distribution(perfect):
    entry = next(one for one in perfect.evaluate(n=1000).entries if one.name == "negative_log_likelihood")
    # The same rows under the same distribution, by the flow and by its formula.
    assert entry.value == pytest.approx(entry.reference_value, abs=1e-3)
    assert abs(entry.reference_value - motes.truth("eight_gaussians").entropy().value) < 0.2  # 1,000 rows


def test_samples_of_another_distribution_are_not(perfect):
    found = perfect.evaluate(motes.make_shape("circles", 4000, seed=1) * 4, n=2000)
    verdicts = {entry.name: entry.verdict for entry in found.entries}
    assert "a classifier is correct in" in verdicts["c2st"].text and verdicts["c2st"].severity == "large"
    assert "of the data has no sample nearby" in verdicts["coverage"].text
    assert "times as far as a real draw" in verdicts["sliced_w2"].text
    assert found.evaluated_against == "rows of the data"
    assert found.headline.startswith(
        "The synthetic rows differ strongly from the real ones in the distances (sliced_w2)"
    )
    assert found.severity == "large"
    assert found.notes[-1] == "the theoretical minimum of the loss on the data is unknown."
    assert "half of the given rows" in found.notes[0]
    assert "excess_loss" not in verdicts and found.details.excess is None


def row(name, value, reference):
    return Row(*(Metric(name, one, one - 0.01, one + 0.01) for one in (value, reference)))


CHANCE, FOUND, BELOW = (
    point_tests.Tested(0.3, 0.04),
    point_tests.Tested(0.01, 0.04),
    point_tests.Tested(0.01, 0.53, low=True),
)


@pytest.mark.parametrize(
    ("beside", "tested", "severity", "words"),
    [
        (row("sliced_w2", 0.03, 0.02), CHANCE, "good", NO_DIFFERENCE),
        (row("sliced_w2", 0.5, 0.02), CHANCE, "good", "so few rows that it could be chance"),
        (row("sliced_w2", 0.06, 0.02), FOUND, "small", "3 times as far"),
        (row("sliced_w2", 0.36, 0.02), FOUND, "large", "18 times as far"),
        (row("precision", 0.90, 0.99), FOUND, "moderate", "10.0% of the samples lie outside the data"),
        (row("precision", 1.0, 0.9), CHANCE, "good", NO_DIFFERENCE),
        (row("density", 1.5, 1.0), FOUND, "large", "bunched up"),
        (row("density", 0.7, 1.0), FOUND, "moderate", "too thin"),
        (row("c2st", 0.6, 0.5), FOUND, "moderate", "correct in 60 of 100"),
        (row("c2st", 0.52, 0.5), CHANCE, "good", NO_DIFFERENCE),
        (row("c2st", 0.40, 0.5), BELOW, "moderate", "copies"),
        (row("mmd_squared", 0.1, 0.0), FOUND, "large", "farther apart than by chance"),
        (row("modes_missed", 1, 0), FOUND, "large", "modes without a sample: 1"),
        (row("negative_log_likelihood", 1.5, 1.0), FOUND, "large", "0.5 nats per row above"),
        (row("excess_loss", 0.15, 0.0), CHANCE, "good", NO_DIFFERENCE),
        (row("excess_loss", 0.3, 0.0), FOUND, "moderate", "at most 0.3 nats"),
    ],
)
def test_a_verdict_says_which_way_and_how_much(beside, tested, severity, words):
    found = verdict(MEASURES[beside.metric.name], beside, tested, 2)
    assert found.severity == severity and words in found.text
    assert (found.p_value, found.detectable) == (
        tested.p_value,
        tested.detectable if found.seen or found.differs else None,
    )


@pytest.mark.parametrize(
    ("name", "detectable", "seen"),
    [
        ("sliced_w2", 0.0412, "a difference of 0.041 standard deviations"),
        ("c2st", 0.5234, "an accuracy of 0.523"),
        ("recall", 0.02, "a difference of 0.02"),
        ("excess_loss", 0.21, "an excess of 0.21 nats per row"),
        ("sliced_w2", None, ""),
        ("modes_missed", 1.2, ""),
        ("mode_distance", 0.1, ""),
    ],
)
def test_a_verdict_without_a_difference_says_what_the_test_could_detect(name, detectable, seen):
    found = verdict(MEASURES[name], row(name, 0.5, 0.5), point_tests.Tested(0.2, detectable), 2)
    assert found.seen == seen
    assert not seen or found.sentence == f"No difference detected (the test could detect {seen} or more)."


def record(*entries):
    nothing = PointDetails((), None, None, None)
    return Evaluation("moons", "a fresh draw", {"synthetic": 10, "real": 10}, entries, nothing, (), 0)


def test_the_worst_entry_wins_and_the_headline_names_what_differs():
    def entry(section, name, severity, text):
        return Entry(section, name, "measure", Verdict(severity, text))

    good = entry("coverage", "recall", "good", NO_DIFFERENCE)
    assert record(good).headline == "No difference between synthetic and real rows was found."
    assert record(good).severity == "good"
    bad = entry("coverage", "precision", "small", "too few"), entry("distances", "sliced_w2", "large", "3 times as far")
    found = record(good, *bad)
    assert found.headline == (
        "The synthetic rows differ strongly from the real ones in the distances (sliced_w2) and 1 of 2 measures of "
        "coverage (precision)."
    )
    assert found.severity == "large" and found.verdicts["coverage"].severity == "small"
    assert found.verdicts["coverage"].text == "1 of 2 differ (precision: too few)"
    # What concerns memory, privacy or the loss has a sentence of its own, and does not make the rows different.
    apart = record(good, entry("copies", "copies", "large", "3 rows are copies"))
    assert apart.headline == "No difference between synthetic and real rows was found. 3 rows are copies."
    assert apart.severity == "large"
    # Nothing that could not be determined counts as good.
    assert record(good, entry("tests", "c2st", "unknown", "too few rows")).severity == "unknown"


def test_too_few_rows_are_an_error(perfect):
    with pytest.raises(motes.errors.UsageError, match="9 rows of the data to compare with"):
        perfect.evaluate(np.random.default_rng(0).normal(size=(18, 2)))
    with pytest.raises(motes.errors.UsageError, match="3 columns; the model has 2: x, y"):
        perfect.evaluate(np.random.default_rng(0).normal(size=(100, 3)))


# ---- recipe `default`, trained: few samples are strays, and log p is near the entropy
#
# The share of samples below the 0.001 quantile of the true log-density is 0.001 for real points. The divergence
# KL(p || q) = E_p[log(p / q) + q / p - 1], whose terms are all at least 0, is what -log q is above the entropy.

STRAYS, NATS = 4e-3, 8e-3  # the share, at most 4 times the real one; nats above the entropy
DRAWS, SCORED = 20_000, 2_000  # a share of 0.004 has a standard error of 0.0004


@pytest.fixture(scope="module", params=["swiss_roll", "moons"])
def trained(request):
    """A model of a shape, of as many points as the recipe draws, and what is true of it."""
    return motes.fit(request.param), motes.truth(request.param)


@pytest.mark.long
def test_few_samples_are_strays_and_the_likelihood_is_near_the_entropy(trained):
    model, exact = trained
    real, x = exact.sample(100_000, seed=1), model.sample(2 * DRAWS, seed=2)
    edge = np.quantile(exact.log_density(real), 1e-3)
    assert (exact.log_density(x) < edge).mean() < STRAYS
    # Noise levels that are hardly trained leave single samples many standard deviations away.
    away = lambda points: np.abs((points - real.mean(axis=0)) / real.std(axis=0)).max()
    assert away(x) < away(real) + 0.5
    # The sampler adds few strays of its own.
    perfect = model.with_denoiser(exact.oracle(model.denoiser.schedule, model.standardiser))
    assert (exact.log_density(perfect.sample(DRAWS, seed=2)) < edge).mean() < 1e-3 + 0.2 * STRAYS
    fresh = exact.sample(SCORED, seed=3)
    ratio = model.score_samples(fresh) - exact.log_density(fresh)  # log q / p
    assert (np.exp(ratio) - 1 - ratio).mean() < NATS


@pytest.mark.slow
def test_what_train_finds_evaluate_finds(motes_command, tmp_path):
    # Both take the same samples; `evaluate` takes more measures, and may find more.
    assert motes_command("train", "swiss_roll", "--no-figures", "--out", "run")[0] == 0
    quick = json.loads((tmp_path / "run" / "metrics.json").read_text())
    whole = {entry["name"]: entry for entry in json.loads(motes_command("evaluate", "run", "--json")[1])["entries"]}
    for entry in quick["entries"]:
        other = whole[entry["name"]]
        assert entry["value"] == other["value"] and entry["p_value"] >= other["p_value"] - 1e-9
        assert entry["severity"] in ("good", other["severity"])
