"""Recipe `default`, trained: few samples lie where points of the shape hardly ever are, and log p is near the entropy.

The share of samples below the 0.001 quantile of the true log-density is 0.001 for real points. The divergence
KL(p || q) = E_p[log(p / q) + q / p - 1], whose terms are all at least 0, is what -log q is above the entropy.
"""

import json

import numpy as np
import pytest

import motes

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
