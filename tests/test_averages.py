"""Averages of any length, made after the training: their profiles, and that they are what tracking would have given."""

import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate
from tests.conftest import SMALL
from tests.reference import Point, TrainingBy, half_distance
from tests.states import learnable
from tests.tables import TINY, untrained

import motes
from fits import fit_points, fit_table
from motes.errors import ModelFileError, UsageError
from motes.evaluation.models import compare_ema_lengths
from motes.loading import load
from motes.points import VarianceExploding, train
from motes.points.times import UniformTimes
from motes.progress import silent
from motes.training.averages import EVEN, LENGTHS, gamma_of, inner_product, rates

# --- profiles ------------------------------------------------------------------------------------------------------


def profile(gamma, t):
    return lambda u: np.where(u <= t, (gamma + 1) * u**gamma / t ** (gamma + 1), 0)


@pytest.mark.parametrize("sigma_rel", [0.005, 0.02, 0.05, 0.1, 0.25, EVEN])
def test_length_and_power_go_back_and_forth(sigma_rel):
    gamma = gamma_of(sigma_rel)
    assert gamma >= -1e-9
    assert np.isclose(np.sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2), sigma_rel, rtol=1e-9)
    # The length is the standard deviation of the profile.
    mean, square = (integrate.quad(lambda u, k=k: u**k * profile(gamma, 1)(u), 0, 1, points=[0.9])[0] for k in (1, 2))
    assert np.isclose(np.sqrt(square - mean**2), sigma_rel, rtol=1e-5)


@pytest.mark.parametrize("sigma_rel", [0.0, -0.1, 0.3])
def test_a_length_that_no_profile_has_is_an_error(sigma_rel):
    with pytest.raises(ValueError, match="plain mean"):
        gamma_of(sigma_rel)


@pytest.mark.parametrize("a", [(16.97, 1.0), (6.94, 0.4), (0.0, 0.7)])
@pytest.mark.parametrize("b", [(16.97, 0.9), (6.94, 0.4), (2.5, 0.05)])
def test_inner_products_are_those_of_quadrature(a, b):
    p, q = profile(*a), profile(*b)
    expected = integrate.quad(lambda u: p(u) * q(u), 0, min(a[1], b[1]))[0]
    assert np.isclose(inner_product(*a, *b), expected, rtol=1e-8)
    assert inner_product(*a, *b) == inner_product(*b, *a)


def test_the_recursion_weighs_each_step_by_its_part_of_the_profile():
    steps = 300
    shares = np.zeros((2, steps))
    for k in range(steps):
        rate = np.asarray(rates(LENGTHS, jnp.asarray(k + 1)), float)[:, None]
        shares = (1 - rate) * shares + rate * np.eye(steps)[k]
    edges = np.arange(steps + 1) / steps
    for length, ours in zip(LENGTHS, shares, strict=True):
        assert np.allclose(ours, np.diff(edges ** (gamma_of(length) + 1)), atol=1e-6)


# --- what training stores ------------------------------------------------------------------------------------------


def wander(steps=1600, *, averages=32, on_progress=silent):
    """A point that walks from one corner to the data and jitters there, as weights do."""
    x = np.random.default_rng(0).standard_normal((256, 3))
    return train(
        Point(jnp.full(3, 4.0), VarianceExploding(20.0)),
        x,
        key=jax.random.key(0),
        loss=half_distance,
        times=UniformTimes(),
        options=TrainingBy(steps=steps, batch=4, averages=averages, rule=optax.sgd(3e-3)),
        on_progress=on_progress,
    )


@pytest.mark.slow
def test_any_length_is_what_tracking_it_would_have_given(monkeypatch):
    made = wander()
    lengths = (0.03, 0.075, 0.14, 0.2)
    monkeypatch.setattr("motes.training.loop.LENGTHS", lengths)
    tracked = wander(averages=1).averages
    assert tracked.lengths.tolist() == list(lengths)
    spread = np.linalg.norm(tracked.weights[0] - tracked.weights[-1])
    for length, weights in zip(tracked.lengths, tracked.weights, strict=True):
        ours = made.averages.over(float(length))
        assert np.linalg.norm(ours - weights) < 0.02 * spread
    # Nearest length among those that were kept: what one would have without.
    assert np.linalg.norm(made.averages.weights[-1] - tracked.weights[-1]) > 0.2 * spread


@pytest.mark.slow
def test_averages_change_nothing_else_and_none_are_kept_where_none_are_asked_for(monkeypatch):
    with_them, without = wander(), wander(averages=0)
    assert np.array_equal(with_them.last.where, without.last.where)
    assert np.array_equal(with_them.averaged.where, without.averaged.where)
    assert without.averages is None
    monkeypatch.setattr("motes.training.loop.PATIENCE", 1e-9)  # a step a call
    assert np.array_equal(wander().averages.weights, with_them.averages.weights)


@pytest.mark.parametrize("length", [0.01, 0.28, float("nan")])
def test_a_length_out_of_range_is_an_error(length):
    with pytest.raises(UsageError, match=r"expected from 0\.02 to 0\.25 of the training"):
        wander(steps=64).averages.over(length)


@pytest.mark.slow
@pytest.mark.usefixtures("keyboard")
def test_an_interrupted_run_still_has_averages():
    stop = lambda progress: os.kill(os.getpid(), signal.SIGINT) if progress.done >= 100 else None
    result = wander(steps=10**6, on_progress=stop)
    assert result.interrupted
    assert result.averages.steps.tolist() == [result.steps] * 2  # long before the first store
    with pytest.raises(UsageError, match="cannot be computed from the 2 stored averages"):
        result.averages.over(0.2)
    direct = wander(steps=result.steps, averages=1)
    assert np.array_equal(result.averages.over(0.1), direct.averages.over(0.1))


# --- models, files, the command ------------------------------------------------------------------------------------


OF_TABLES = TINY | {"table.steps": 60, "table.learning_rate": 0.05, "table.patience": 1000}


@pytest.fixture(scope="module")
def saved(small_model, tmp_path_factory):
    """A run's folder as far as averages are concerned."""
    return kept_in(tmp_path_factory.mktemp("run"), small_model)


def kept_in(folder, model):
    model.save(folder / "model.safetensors")
    model.save_averages(folder)
    return folder


@pytest.fixture(scope="module")
def run(request, small_model, saved, tmp_path_factory):
    """A folder as of a run, its model, another model of its kind, and rows."""
    if request.param == "points":
        other = fit_points(motes.make_shape("moons", 400, seed=3), changes=SMALL, seed=2)
        return saved, small_model, other, motes.make_shape("moons", 300, seed=8)
    folder = tmp_path_factory.mktemp("run")
    learnable(400).to_csv(folder / "t.csv", index=False)
    changes = OF_TABLES | {"table.averages": 16}
    model = motes.fit(str(folder / "t.csv"), "table", changes=changes, verbose=False)
    with untrained():
        other = fit_table(learnable(120), changes=OF_TABLES, seed=1)
    return kept_in(folder, model), model, other, learnable(300)


each_kind = pytest.mark.parametrize("run", ["points", "table"], indirect=True)


@pytest.mark.slow(but=["points"])
@each_kind
def test_averages_are_found_beside_a_loaded_model_and_are_saved_with_their_length(run, tmp_path):
    folder, model, other, rows = run
    score = lambda one: one.score_samples(rows[:20])
    ours, theirs = load(folder).averaged_over(0.07), model.averaged_over(0.07)
    np.testing.assert_array_equal(score(ours), score(theirs))
    assert not np.array_equal(score(ours), score(model)) and (ours.length, model.length) == (0.07, None)
    ours.save(tmp_path / "model.safetensors")
    again = load(tmp_path)
    assert again.length == 0.07 and again.averages is None
    np.testing.assert_array_equal(score(again), score(ours))
    with pytest.raises(UsageError, match="has no averages"):
        again.averaged_over(0.1)
    model.save_averages(tmp_path)
    other.save(tmp_path / "model.safetensors")
    with pytest.raises(ModelFileError, match="belongs to another model"):
        load(tmp_path).averaged_over(0.1)


@pytest.mark.slow
@each_kind
def test_lengths_are_compared_on_unseen_rows(run):
    folder, _, _, rows = run
    model = load(folder)
    model.averages.weights[:-2] += 0.5  # early weights that are worth nothing: only a short average forgets them
    found = compare_ema_lengths(model, lengths=(0.05, 0.25))
    assert found.lengths == (None, 0.05, 0.25) and found.best == 0.05
    assert found.losses[2] - found.losses[1] > 5 * found.errors[2]
    others = compare_ema_lengths(model, rows, lengths=(0.05, 0.25))
    assert (np.isfinite(others.losses) & (np.array(others.errors) > 0)).all()
    if model.kind == "points":
        assert (found.measure, others.measure) == ("excess loss in nats per row", "loss")
    else:
        assert found.measure == "-log p in nats per row" and "held-out rows of" in found.evaluated_against
        assert "150 held-out rows of the data" in others.evaluated_against


@pytest.mark.long
def test_another_length_has_biases_and_inequalities_of_its_own():
    rows = learnable(200)[["a"]].assign(low=np.arange(200) % 40, high=np.arange(200) % 40 + np.arange(200) % 7)
    changes = OF_TABLES | {"table.averages": 4, "table.steps": 20, "table.calibrate": True}
    model = motes.fit(rows, changes=changes, verbose=False)
    other = model.averaged_over(0.1)
    drawn = other.sample(1000)
    assert (drawn.low <= drawn.high).all() and other.constraint.rules
    biases = [np.concatenate([np.ravel(one) for one in each.orders.bias]) for each in (model, other)]
    assert np.abs(biases[0] - biases[1]).max() > 1e-6
    # Calibration gives each label its share of the training rows.
    counts = drawn.a.value_counts(normalize=True)[list("xyz")], rows.a.value_counts(normalize=True)[list("xyz")]
    assert np.abs(counts[0].to_numpy() - counts[1].to_numpy()).max() < 0.06


@pytest.mark.slow
def test_the_command_tries_lengths_and_writes_the_best(saved, motes_command, monkeypatch):
    monkeypatch.setattr("motes.evaluation.models.EMA_ROWS", 1024)
    out = motes_command.out("ema", saved, "--out", "best.safetensors", "-q")
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["length", "excess", "loss"]
    assert lines[1].split()[0] == "present"
    (best,) = [line.split()[0] for line in lines if line.endswith("best")]
    assert load("best.safetensors").length == float(best)
    code, out, _ = motes_command("ema", saved / "model.safetensors", "--out", "one.safetensors", "--length", "0.12")
    assert (code, out) == (0, "the average over 0.12 of the training in one.safetensors\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--length", "0.1"], "needs a file for the new average: --out FILE"),
        (["--length", "0.5", "--out", "a.safetensors"], "from 0.02 to 0.25"),
        (["--out", "a.npy"], "ends in .safetensors"),
    ],
)
def test_wrong_words_of_the_command_are_explained(saved, motes_command, words, says):
    assert says in motes_command.error("ema", saved, *words)
