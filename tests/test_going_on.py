"""A fit that goes on from a model is one training with the fit before it."""

import pickle

import numpy as np
import pandas as pd
import pytest
from tests.conftest import SMALL
from tests.states import Memory, bits
from tests.tables import TINY, kept_network

import motes
from fits import fit_points, fit_table
from motes import DiffusionModel
from motes.errors import TrainingError, UsageError
from motes.training.averages import weights_of
from motes.training.checkpoints import FitSession

pytestmark = pytest.mark.brief

FLAT = SMALL | {"training.decay": "constant", "training.warmup": 10, "training.averages": 8}
FEW = TINY | {"table.learning_rate": 0.02, "table.ema": 0.9}
STILL = {"table.learning_rate": 1e-12}
X = motes.make_shape("moons", 300, seed=3)


def points(steps, changes=FLAT, x=X, **options):
    return motes.fit(x, changes=changes | {"training.steps": steps}, verbose=False, **options)


def both(trained):
    """The last weights and their average."""
    return weights_of(trained.last), weights_of(trained.averaged)


def table(n, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.choice(["x", "y", "z"], n)
    d = np.where(rng.random(n) < 0.9, a, "w")  # which the network can learn, and its base cannot
    return pd.DataFrame({"a": a, "b": rng.standard_normal(n), "d": d})


ROWS = table(120)


def estimator(steps, **options):
    return DiffusionModel(max_steps=steps, **{"changes": FEW, "random_state": 1} | options)


# --- points -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twenty():
    return points(20, seed=1)


@pytest.mark.slow
def test_points_in_two_fits_are_those_of_one(twenty):
    whole, again = points(40, seed=1).training, points(40, start=twenty).training  # with the seed of the start
    assert bits(both(whole)) == bits(both(again))
    np.testing.assert_array_equal(whole.losses, again.losses)
    np.testing.assert_array_equal(whole.losses[:20], twenty.training.losses)
    # Averages of any length are of the whole training; their stores fall on other steps.
    assert again.averages.steps.max() == 40
    np.testing.assert_array_equal(whole.averages.over(0.1), again.averages.over(0.1))


@pytest.mark.slow
def test_validation_rows_go_on_too():
    changes = FLAT | {"training.validation": 0.3, "training.check_every": 10}
    whole, first = points(40, changes, seed=2), points(20, changes, seed=2)
    again = points(40, changes, start=first)
    assert bits(both(whole.training)) == bits(both(again.training))
    np.testing.assert_array_equal(whole.training.looks, again.training.looks)


@pytest.mark.slow
def test_points_with_a_falling_rate_go_on_as_a_run_does(tmp_path):
    changes = SMALL | {"training.steps": 20, "training.warmup": 5}
    keeper = Memory(tmp_path)
    first = fit_points(X, changes=changes, seed=1, session=FitSession(keeper))
    more = changes | {"training.steps": 40}
    resumed = fit_points(X, changes=more, seed=1, session=FitSession(Memory(tmp_path, keeper.kept)))
    again = fit_points(X, changes=more, seed=1, session=FitSession(start=first))
    assert bits(both(resumed.training)) == bits(both(again.training))
    np.testing.assert_array_equal(resumed.training.averages.weights, again.training.averages.weights)


def test_other_points_keep_the_optimiser_and_the_averages(twenty):
    still = FLAT | {"training.learning_rate": 1e-12}
    on = points(5, still, motes.make_shape("moons", 200, seed=4), start=twenty)
    (last, average), (last_on, average_on) = both(twenty.training), both(on.training)
    np.testing.assert_allclose(last_on, last, atol=1e-6)
    np.testing.assert_allclose(average_on, last + 0.8**5 * (average - last), atol=1e-6)
    assert on.training.steps == 25 and on.training.averages.steps.max() == 25
    np.testing.assert_array_equal(on.training.losses[:20], twenty.training.losses)
    before, after = (one.training.state.arrays for one in (twenty, on))
    name = "state/optimiser[1].moments[0].left"  # SOAP's mean of G G^T, which no gradient makes smaller by more
    kept, grown = before[name][0].trace(), after[name][0].trace()
    assert grown >= 0.95**5 * kept * (1 - 1e-5) and kept > 0
    counts = [after[name] for name in after if name.startswith("state/optimiser") and name.endswith(".count")]
    assert [count.tolist() for count in counts] == [[25], [25]]


def test_the_best_weights_for_other_points_may_be_those_before():
    changes = FLAT | {"training.validation": 0.3, "training.check_every": 10}
    first = points(20, changes, seed=2)
    with pytest.raises(TrainingError, match="the training diverged") as caught:
        points(20, changes | {"training.learning_rate": 10.0, "training.ema": 0.0}, start=first)
    kept = caught.value.result.training
    assert kept.best in (first.training.best, 20)
    assert kept.looks[:2, 0].tolist() == [first.training.best, 20]


@pytest.mark.slow
def test_other_losses_begin_from_the_weights_alone(twenty):
    for changes in ({"training.averages": 0}, {"times.kind": "uniform"}, {"training.optimiser": "adam"}):
        on = points(3, FLAT | {"training.learning_rate": 1e-12} | changes, start=twenty)
        assert on.training.steps == 3
        np.testing.assert_allclose(weights_of(on.training.last), weights_of(twenty.denoiser), atol=1e-6)
    exact = twenty.with_denoiser(points(5, seed=3).denoiser)  # whose weights are not those of the training
    np.testing.assert_allclose(
        weights_of(points(3, FLAT | {"training.learning_rate": 1e-12}, start=exact).training.last),
        weights_of(exact.denoiser),
        atol=1e-6,
    )


def test_a_complete_training_of_points_is_refused(twenty):
    for steps in (20, 15):
        message = rf"got training.steps = {steps}, .* complete after 20. Set more steps, such as training.steps = 40"
        with pytest.raises(UsageError, match=message):
            points(steps, start=twenty)


def test_a_loaded_model_of_points_has_its_weights_alone(twenty, tmp_path):
    twenty.save(tmp_path / "m.safetensors")
    loaded = motes.load(tmp_path / "m.safetensors")
    on = points(3, FLAT | {"training.learning_rate": 1e-12}, start=loaded)
    assert on.training.steps == 3 and on.seed == 1
    np.testing.assert_allclose(weights_of(on.denoiser), weights_of(twenty.denoiser), atol=1e-6)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first():
    return estimator(20).fit(ROWS)


@pytest.mark.slow
def test_tables_go_on_as_a_run_does(tmp_path):
    """The learning rate of a table falls over all steps, so that two fits are not one; but they are a run resumed."""
    changes = FEW | {"table.steps": 20}
    keeper = Memory(tmp_path)
    fit_table(ROWS, changes=changes, seed=1, session=FitSession(keeper))
    session = FitSession(Memory(tmp_path, keeper.kept))
    resumed = fit_table(ROWS, changes=changes | {"table.steps": 40}, seed=1, session=session)
    model = estimator(20, warm_start=True).fit(ROWS)
    model.set_params(max_steps=40).fit(ROWS)
    again = model.model_
    assert bits(again.models) == bits(resumed.models) and bits(again.orders.bias) == bits(resumed.orders.bias)
    np.testing.assert_array_equal(model.history_, resumed.training.losses)
    np.testing.assert_array_equal(again.training.looks, resumed.training.looks)
    assert model.n_iter_ == 40
    with pytest.raises(
        UsageError, match=r"table.steps = 40, .* complete after 40. Set more steps, such as table.steps = 80"
    ):
        model.fit(ROWS)


def test_more_rows_keep_the_optimiser_and_the_averages(first):
    start = first.model_.training.state
    more = DiffusionModel(max_steps=20, changes=FEW, random_state=1).fit(ROWS)
    more.set_params(max_steps=5, changes=FEW | STILL).partial_fit(table(90, 7))
    assert more.n_iter_ == 25 and len(more.history_) == 25
    np.testing.assert_array_equal(more.history_[:20], first.history_)
    state = more.model_.training.state
    before, after = start.arrays, state.arrays
    decay = np.prod([min(0.9, (1 + step) / (10 + step)) for step in range(20, 25)])
    last, average = (before[f"state/{which}"] for which in ("last", "average"))
    np.testing.assert_allclose(after["state/last"], last, atol=1e-6)
    np.testing.assert_allclose(after["state/average"], last + decay * (average - last), atol=1e-6)
    (name,) = (name for name in before if name.startswith("state/") and name.endswith(".nu"))
    assert (after[name] >= 0.99**5 * before[name] * (1 - 1e-5)).all() and before[name].max() > 0
    counts = [one for name, one in after.items() if name.startswith("state/optimiser") and name.endswith(".count")]
    assert counts and all((count == 25).all() for count in counts)
    more.set_params(max_steps=5).partial_fit(table(90, 7))  # the same rows again: still steps more
    assert more.n_iter_ == 30


@pytest.mark.slow
def test_files_pickles_and_clones_have_no_state(first, tmp_path):
    from sklearn.base import clone

    assert not hasattr(clone(first), "model_")
    first.save(tmp_path / "m.safetensors")
    again = DiffusionModel.load(tmp_path / "m.safetensors")
    copy = pickle.loads(pickle.dumps(first))
    for one in (again, copy):
        assert one.model_.training is None
        one.set_params(max_steps=3, changes=FEW | STILL).partial_fit(ROWS)
        assert one.n_iter_ == 23 and one.model_.training.state.numbers["course/step"] == 3
        np.testing.assert_array_equal(one.history_[:20], first.history_)
        weights = first.model_.models.network.embed
        np.testing.assert_allclose(kept_network(one.model_).embed, weights, atol=1e-6)


@pytest.mark.slow(only=["change2"])
@pytest.mark.parametrize("change", [{"table.width": 9}, {"table.bins": 5}, {"table.relations": False}])
def test_another_network_is_refused(first, change):
    (key,) = change
    with pytest.raises(UsageError, match=rf"got {key} = .* and a start with .*; expected the same network"):
        motes.fit(ROWS, changes=FEW | change, start=first.model_, verbose=False)
