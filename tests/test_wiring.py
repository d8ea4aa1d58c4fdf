"""The wiring between parts: what each part is given is used, and nothing else in its place."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.tables import TINY, untrained

import motes
from fits import fit_points, fit_table
from motes.data.frames import as_frame
from motes.data.points import held_out_of
from motes.errors import TrainingError
from motes.evaluation.sources import read_points
from motes.points import Guidance, LogNormalTimes, VarianceExploding
from motes.points.denoisers import Conditional, Given, NoisePredictor
from motes.points.fitting import PointData
from motes.points.networks import ResidualMLP, StepGated, thinned
from motes.points.recipe import LOSSES
from motes.points.training import OnDevice, Rows
from motes.recipes import load_recipe
from motes.training.checkpoints import FitSession
from test_training import train_point

LEVELS = VarianceExploding(10.0)
TINIEST = {
    "network.width": 6, "network.depth": 1, "training.steps": 2, "training.batch": 4, "training.averages": 0,
    "grid.steps": 4,
}  # fmt: skip
MOONS, CLASSES = motes.data.make_labelled_shape("moons", 12, seed=0)


def points(data=MOONS, seed=1, **changes):
    return fit_points(
        data, changes=TINIEST | {key.replace("__", "."): value for key, value in changes.items()}, seed=seed
    )


# --- the training of points ----------------------------------------------------------------------------------------


def by_time(denoiser, x0, t, eps):
    """A loss that says which times and which noise there are."""
    return {"t": t + 0.0 * jnp.sum(denoiser.where), "eps": 1e-3 * eps[0]}


ANY_TIME = LogNormalTimes(draw="uniform")


def train_ones(steps, *, loss=by_time, **options):
    return train_point(np.ones((4, 2)), steps, loss=loss, times=ANY_TIME, ema=0.5, **options)


def test_every_step_has_times_and_noise_of_its_own():
    assert len(np.unique(train_ones(6).losses)) == 6


def test_after_one_step_every_average_is_its_weights():
    one = train_ones(1, loss=lambda d, x, t, e: {"a": jnp.sum((d.where - x) ** 2)}, averages=1)
    np.testing.assert_allclose(one.averages.weights, [one.last.where] * 2, rtol=1e-6)


def test_held_out_rows_count_by_their_weights():
    # The loss of a point at 0 is the square of the row.
    far = lambda denoiser, x0, t, eps: {"far": jnp.sum((denoiser.where - x0) ** 2)}
    for weights, expected in (([1.0, 1.0], 5.0), ([3.0, 1.0], 3.0)):
        held = Rows(np.array([[1.0, 0.0], [0.0, 3.0]]), weights=np.array(weights))
        found = train_ones(1, loss=far, held=held, validation=0.5)
        np.testing.assert_allclose(found.looks[0, 1], expected, rtol=1e-5)


def test_the_seed_decides_the_batches_and_not_the_first_weights_alone():
    start = points(training__weights="last")
    changes = TINIEST | {"training.steps": 4, "training.weights": "last"}
    one, other = (
        fit_points(MOONS[:11], changes=changes, seed=seed, session=FitSession(start=start)) for seed in (1, 2)
    )
    assert not np.array_equal(one.training.losses[2:], other.training.losses[2:])


def test_a_fit_counts_classes_by_weight():
    weights = np.where(CLASSES == 1, 3.0, 1.0)
    model = fit_points(PointData(MOONS, labels=CLASSES, weights=weights), changes=TINIEST, seed=1)
    np.testing.assert_allclose(model.classes.weights, [0.25, 0.75])
    mean = np.average(MOONS, axis=0, weights=weights)
    np.testing.assert_allclose(model.standardiser.mean, mean, rtol=1e-6)


def test_the_kinds_of_a_recipe_reach_the_training():
    first = {
        change: points(**{key: value for key, value in [change] if key}).training.losses[0]
        for change in (("", ""), ("loss__kind", "x0"), ("times__kind", "logit_normal"))
    }
    assert len(set(first.values())) == 3


@pytest.mark.slow
def test_a_table_that_breaks_down_says_so():
    data = {"a": [*"uvwuvwuuv"], "b": [*"uuvvwwuvu"]}
    with pytest.raises(TrainingError, match=r"diverged.*a smaller table\.learning_rate.*step \d+ are kept"):
        fit_table(data, changes=TINY | {"table.steps": 60, "table.learning_rate": 1000.0}, seed=1)


# --- networks and denoisers ----------------------------------------------------------------------------------------


def test_without_a_label_the_network_sees_no_class():
    asked = Conditional(NoisePredictor(lambda x, t, context: context[:2], LEVELS), 2)
    x = jnp.zeros(2)
    assert asked.eps(x, 0.5).tolist() == [0, 0]
    assert asked.given(Given(jnp.array(1))).eps(x, 0.5).tolist() == [0, 1]


def test_what_step_gated_does_not_know_is_refused():
    for steps, context in ((None, 0), (10, 2)):
        with pytest.raises(ValueError, match="expected a schedule of steps, and no"):
            StepGated().network(2, 2, context=context, steps=steps, key=jax.random.key(0))


def residual(**options):
    network = ResidualMLP(2, 16, 2, **options, key=jax.random.key(0))
    return eqx.tree_at(lambda one: one.out.weight, network, jax.random.normal(jax.random.key(1), (2, 16)))


def test_dropout_keeps_the_mean():
    # Of one layer that gives 1 everywhere: what is left out after it is made up for by the others.
    network = eqx.tree_at(lambda one: one.hidden, residual(dropout=0.5), residual().hidden[:1])
    hidden = (eqx.tree_at(lambda one: one.weight, network.hidden[0], jnp.zeros((16, 16))),)
    hidden = (eqx.tree_at(lambda one: one.bias, hidden[0], jnp.ones(16)),)
    network = eqx.tree_at(lambda one: one.hidden, network, hidden)
    x, t = jnp.array([0.5, -1.0]), jnp.array(0.3)
    bits = jax.random.bits(jax.random.key(2), (4000, network.droppable), jnp.uint8)
    drawn = jax.vmap(lambda bits: thinned(network, bits)(x, t))(bits)
    error = np.asarray(drawn.std(axis=0)) / np.sqrt(4000)
    assert (np.abs(drawn.mean(axis=0) - network(x, t)) < 5 * error).all()


def test_eight_rows_have_the_same_units_left_out():
    denoiser = NoisePredictor(residual(dropout=0.5), VarianceExploding())
    seen, index = OnDevice.of(Rows(np.ones((600, 2))), dropout=0.0), jnp.zeros(20, int)
    same = jnp.full(20, 0.3), jnp.ones((20, 2)), jnp.ones(20)  # twenty times the same row, time and noise
    found = np.asarray(seen.losses(denoiser, LOSSES["simple"](), index, *same, thin=jax.random.key(3)))
    assert [len(set(part)) for part in (found[:8], found[8:16], found[16:])] == [1, 1, 1] and len(set(found)) == 3
    whole = seen.losses(denoiser, LOSSES["simple"](), index, *same)
    assert len(set(np.asarray(whole))) == 1 and whole[0] not in found


# --- models of points ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled():
    weights = np.where(CLASSES == 1, 3.0, 1.0)
    return fit_points(PointData(MOONS, labels=CLASSES, weights=weights), changes=TINIEST, seed=1)


def test_another_seed_is_another_sample(labelled):
    one, other, again = (labelled.sample(5, seed=seed) for seed in (1, 2, 1))
    assert np.array_equal(one, again) and not np.isin(one, other).any()


def test_a_model_guides_inside_the_interval_alone(labelled):
    given = labelled.given(1, 3)
    guided = labelled.reverse_process({"guidance": Guidance(3.0, low=0.25, high=0.75)}, given).denoiser
    assert (float(guided.low), float(guided.high), float(guided.weight)) == (0.25, 0.75, 3.0)


def test_a_class_is_as_likely_as_it_was_frequent(labelled):
    # A denoiser that knows no difference between the classes leaves what was known before.
    knows_nothing = Conditional(NoisePredictor(lambda x, t, context: jnp.zeros_like(x), labelled.denoiser.schedule), 2)
    model = labelled.with_denoiser(knows_nothing)
    np.testing.assert_allclose(model.predict_proba(MOONS[:2])[0], [[0.25, 0.75]] * 2, atol=1e-6)


def test_the_seed_and_the_noise_of_labelled_points_are_the_recipes():
    def read(seed, noise):
        recipe = load_recipe("default", {"data.rows": 20, "data.label": "class", "data.noise": noise})
        return read_points("moons", recipe, seed).training.x

    assert np.array_equal(read(3, 0.2), motes.data.make_labelled_shape("moons", 20, seed=3, noise=0.2)[0])
    assert not np.array_equal(read(3, 0.2), read(4, 0.2))


# --- models of tables ----------------------------------------------------------------------------------------------


def test_another_seed_holds_out_other_rows():
    rows = as_frame(np.arange(400.0)[:, None])
    assert not np.array_equal(held_out_of(rows, 0.2, seed=0), held_out_of(rows, 0.2, seed=1))


def test_weights_of_single_codes_do_not_decay():
    data = {"a": [*"uvwuvwuuv"], "b": [*"uuvvwwuvu"]}  # of one step in which only the outputs have a slope
    changes = TINY | {"table.steps": 1, "table.learning_rate": 0.01}
    one, other = (
        fit_table(data, changes=changes | {"table.weight_decay": decay}, seed=1).training.last for decay in (0.0, 5.0)
    )
    for name, shrinks in (("embed", False), ("hidden", True)):
        same = np.array_equal(getattr(one, name), getattr(other, name))
        assert same != shrinks, name


def test_given_values_come_back_to_the_bit():
    data = {"x": np.random.default_rng(0).normal(size=60), "label": ["u", "v", "w"] * 20}
    with untrained():
        model = fit_table(data, changes=TINY | {"table.steps": 1}, seed=1)
    third = data["x"][0] + 1e-13  # which no code tells from its neighbour
    assert (np.asarray(model.sample(5, given={"x": third})["x"]) == third).all()
