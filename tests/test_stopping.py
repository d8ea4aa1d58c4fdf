"""Rows that count more, rows that say when to stop, and going on from a denoiser."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from tests.conftest import SMALL
from tests.reference import Z

import motes
from fits import fit_points
from motes.errors import DataError, RecipeError, UsageError
from motes.points import EDM, LogNormalTimes, training
from motes.points.fitting import PointData
from motes.points.sampling import seed_key
from motes.points.training import Rows, Training, train, with_validation
from motes.recipes import load_recipe
from motes.training.averages import weights_of
from motes.training.checkpoints import FitSession
from motes.training.loop import Validation, Weights
from test_training import X, train_point

# --- sample weights --------------------------------------------------------------------------------------------------


def drawn(weights, epochs):
    weights = np.asarray(weights, float)
    rows = Rows(np.zeros((len(weights), 2)), weights=weights)
    batches = training._make_batches(np.random.default_rng(0), rows, Training(batch=int((weights > 0).sum())))
    return np.stack([np.bincount(next(batches), minlength=len(weights)) for _ in range(epochs)])


def test_rows_are_drawn_as_often_as_their_weights_say_and_never_further_off_than_one():
    weights = np.array([2.0, 1.0, 0.0, 0.5, 3.5, 1.0, 0.25])
    counts, expected = drawn(weights, 4000), 6 * weights / weights.sum()
    assert (np.abs(counts - expected) < 1).all()
    assert (counts.sum(axis=1) == 6).all()  # as many as rows that count
    # A count is one of two neighbours: of variance 1/4 at most.
    assert (np.abs(counts.mean(axis=0) - expected) < Z * 0.5 / np.sqrt(4000)).all()
    assert (counts[:, 2] == 0).all()


def test_one_row_that_counts_is_too_few():
    with pytest.raises(DataError, match="1 rows have a weight above 0"):
        fit_points(PointData(motes.make_shape("moons", 40), weights=np.r_[1.0, np.zeros(39)]), changes=SMALL)


# --- held-out rows ---------------------------------------------------------------------------------------------------

STOPPING = {
    "network.width": 64,
    "network.depth": 2,
    "training.steps": 4000,
    "training.decay": "constant",
    "training.batch": 64,
    "training.ema": 0.9,
    "training.validation": 0.3,
    "training.check_every": 50,
    "training.patience": 4,
    "training.averages": 0,
}


def atoms():
    """200 rows of five columns in two atoms: little to learn, and then much to learn by heart."""
    rng = np.random.default_rng(5)
    return rng.standard_normal((200, 5)) + 3 * rng.choice([-1.0, 1.0], 200)[:, None]


@pytest.fixture(scope="module")
def overfitted():
    return fit_points(atoms(), changes=STOPPING, seed=0)


def test_training_stops_before_its_end_and_keeps_the_best(overfitted):
    trained = overfitted.training
    steps, losses = trained.looks.T
    assert trained.steps < 4000
    assert not trained.interrupted
    np.testing.assert_array_equal(steps, np.arange(0, trained.steps + 1, 50))
    assert trained.steps == trained.best + 4 * 50
    assert losses[steps == trained.best] == losses.min()
    # What was best is what is left, to the bit: a training that ends there.
    assert trained.best > 0
    again = fit_points(atoms(), changes=STOPPING | {"training.steps": int(trained.best)}, seed=0)
    np.testing.assert_array_equal(weights_of(again.denoiser), weights_of(overfitted.denoiser))


@pytest.mark.slow
def test_looking_changes_nothing_of_the_training():
    recipe = load_recipe("default", SMALL)
    options = replace(recipe.training, batch=50, steps=60, check_every=25, patience=100)
    x = np.random.default_rng(6).standard_normal((100, 2))
    denoiser = recipe.make_denoiser(2, seed_key(0, "weights"))
    plain, looked = (
        train(denoiser, Rows(x, held=held), key=jax.random.key(1), loss=EDM(), times=LogNormalTimes(), options=options)
        for held in (None, Rows(x[:20]))
    )
    np.testing.assert_array_equal(plain.losses, looked.losses)
    np.testing.assert_array_equal(looked.looks[:, 0], [0, 25, 50, 60])
    assert plain.best is None and not len(plain.looks)


def test_a_share_for_validation_needs_rows_that_are_held_out():
    with pytest.raises(UsageError, match=r"validation = 0.2, but there are no held-out rows\. Pass them"):
        train_point(X, validation=0.2)


def test_the_held_out_loss_is_the_expected_one_of_the_averaged_weights():
    # The loss of `Point` has no noise: half the squared distance to the rows, by their weights.
    rows, weights = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 5.0]]), np.array([1.0, 3.0, 0.0])
    trained = train_point(X, steps=30, held=Rows(rows, weights=weights), check_every=10, patience=99)
    for step, found in trained.looks:
        where = np.asarray(train_point(X, steps=int(step)).averaged.where) if step else np.zeros(2)
        expected = np.average(0.5 * ((rows - where) ** 2).sum(axis=1), weights=weights)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_snapshots_and_averages_end_with_the_best():
    far = np.array([[-9.0, 9.0]])  # away from where the rows pull, so that the first weights are the best
    options = {"check_every": 5, "patience": 3, "averages": 4}
    trained = train_point(X, steps=60, held=Rows(far), **options)
    assert trained.best == 0
    assert trained.steps == 15
    assert trained.snapshots == []
    assert trained.averages is None
    np.testing.assert_array_equal(trained.averaged.where, np.zeros(2))
    near = X.mean(axis=0)[None]
    trained = train_point(X, steps=60, held=Rows(near), **options)
    assert trained.averages.steps.max() == trained.best == trained.snapshots[-1].step
    np.testing.assert_array_equal(trained.snapshots[-1].averaged.where, trained.averaged.where)


def test_progress_tells_the_held_out_loss():
    told = []
    trained = train_point(X, steps=20, held=Rows(X), check_every=10, patience=9, on_progress=told.append)
    assert told[-1].held_out == trained.looks[-1, 1]


def test_validation_evaluates_averaged_weights():
    with pytest.raises(RecipeError, match="evaluates the averaged weights"):
        load_recipe("default", {"training.validation": 0.1, "training.weights": "last"})


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_start_that_does_not_fit_is_refused(small_model):
    x = motes.make_shape("moons", 400, seed=3)
    for changes in ({"network.width": 17}, {"denoiser.kind": "eps"}, {"schedule.sigma_max": 20.0}):
        with pytest.raises(UsageError, match="start has another recipe, or other columns"):
            fit_points(x, changes=SMALL | changes, session=FitSession(start=small_model))


def test_equal_rows_are_all_among_the_validation_rows_or_none_is():
    held_out = lambda x, share, seed: np.flatnonzero(with_validation(Rows(x), share, jax.random.key(seed)).weights == 0)
    rng = np.random.default_rng(0)
    once = rng.standard_normal((300, 2))
    x = rng.permutation(np.repeat(once, rng.integers(1, 6, 300), axis=0))
    for seed in range(5):
        out = np.zeros(len(x), bool)
        out[held_out(x, 0.2, seed)] = True
        seen, unseen = ({tuple(row) for row in rows} for rows in (x[~out], x[out]))
        assert not seen & unseen
        assert round(0.2 * len(x)) <= out.sum() < 0.2 * len(x) + 5
    # Of different rows so many as are requested; and of two rows one is learned, however often they come.
    assert len(held_out(once, 0.2, 0)) == 60
    assert len(np.unique(np.array([[0.0], [1.0]] * 50)[held_out(np.array([[0.0], [1.0]] * 50), 0.9, 0)])) == 1


@pytest.mark.slow
def test_a_weight_is_so_many_copies_of_a_row_to_the_bit():
    rng = np.random.default_rng(0)
    x, labels, weights = motes.make_shape("moons", 60), np.arange(60) % 2, rng.integers(0, 4, 60)
    copies = np.repeat(np.arange(60), weights)

    def drawn(some, weights=None):
        model = fit_points(
            PointData(x[some], labels=labels[some], weights=weights), changes=SMALL | {"training.steps": 9}
        )
        return model.sample(20, label=1, seed=1)

    np.testing.assert_array_equal(drawn(np.arange(60), weights), drawn(copies))
    np.testing.assert_array_equal(drawn(np.arange(60), np.full(60, 0.3)), drawn(np.arange(60)))
    assert not np.array_equal(drawn(copies), drawn(np.arange(60)))


def test_weights_with_the_same_losses_are_not_worse():
    found = Validation(lambda average: np.ones((1, 4)), np.full((1, 4), 0.25), every=10, patience=6, longer=1.4)
    for step in range(0, 60, 10):
        found.look(Weights(None, None, None, None, np.array([step])))
        assert not found.is_over(step)
    found.look(Weights(None, None, None, None, np.array([60])))
    assert found.is_over(60)
