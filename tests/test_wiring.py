"""The wiring between parts: what each part is given is used, and nothing else in its place."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.tables import TINY, untrained

import motes
from fits import fit_points, fit_table
from motes.data.frames import as_frame, joined
from motes.data.points import fingerprint_of, held_out_of
from motes.data.tables import Table
from motes.errors import TrainingError, UsageError
from motes.evaluation.findings import prior_kl
from motes.evaluation.losses import ExcessLoss, excess_loss
from motes.evaluation.results import Entry, Metric, Verdict, between
from motes.evaluation.sources import read_points
from motes.plots import svg as charts
from motes.plots.canvas import as_style
from motes.plots.film import draw_caption
from motes.points import Guidance, LogNormalTimes, VarianceExploding
from motes.points.denoisers import Conditional, Given, NoisePredictor
from motes.points.exact import GaussianOracle
from motes.points.fitting import PointData
from motes.points.likelihood import log_likelihood
from motes.points.networks import ResidualMLP, StepGated, thinned
from motes.points.particles import sample_inside
from motes.points.recipe import LOSSES
from motes.points.samplers import Heun
from motes.points.sampling import KarrasGrid, ReverseProcess
from motes.points.training import OnDevice, Rows
from motes.rasters import counts
from motes.recipes import load_recipe
from motes.tables.kinds.binnings import Grid
from motes.tables.schema import Schema
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


def test_a_fit_counts_classes_by_weight(labelled):
    np.testing.assert_allclose(labelled.classes.weights, [0.25, 0.75])
    mean = np.average(MOONS, axis=0, weights=np.where(CLASSES == 1, 3.0, 1.0))
    np.testing.assert_allclose(labelled.standardiser.mean, mean, rtol=1e-6)


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


def test_given_values_come_back_to_the_bit():
    data = {"x": np.random.default_rng(0).normal(size=60), "label": ["u", "v", "w"] * 20}
    with untrained():
        model = fit_table(data, changes=TINY | {"table.steps": 1}, seed=1)
    third = data["x"][0] + 1e-13  # which no code tells from its neighbour
    assert (np.asarray(model.sample(5, given={"x": third})["x"]) == third).all()


# --- formulas of the lower rooms --------------------------------------------------------------------------------------


NORMAL = GaussianOracle([0.0], [[1.0]], LEVELS)
KEY = jax.random.key(0)


def process():
    return ReverseProcess(NORMAL, Heun(), KarrasGrid(steps=6)(LEVELS), dim=1)


def test_a_chosen_sampler_does_not_give_way_to_particles():
    with pytest.raises(UsageError, match="got the sampler Heun, but rows under this condition are so rare"):
        sample_inside(process(), (np.array([0.5]), np.array([0.5])), 5, key=KEY, only=True)


# --- likelihood ----------------------------------------------------------------------------------------------------


def test_log_p_of_a_gaussian_knows_the_least_noise():
    found = log_likelihood(NORMAL, [[0.7]], r_min=0.3).log_prob[0]
    # Below the least noise the score is held: eps_hat(y, r) = r / r_min eps_hat(y, r_min), so that y_0 = y e^{-...}.
    shrink = np.exp(-(0.3**2) / (2 * (1 + 0.3**2)))
    variance = 1.09 * shrink**2
    np.testing.assert_allclose(found, -0.5 * (0.49 / variance + np.log(2 * np.pi * variance)), atol=0.003)


# --- data ----------------------------------------------------------------------------------------------------------


def test_rows_are_taken_with_their_labels():
    table = Table(np.arange(6.0).reshape(3, 2), ("x", "y"), np.array(["a", "b", "c"]))
    assert table.take(np.array([2, 0])).labels.tolist() == ["c", "a"]


def test_rows_are_known_again_in_any_order():
    one = as_frame({"x": [1, 2, 3], "y": ["a", "b", "c"]})
    assert fingerprint_of(one) == fingerprint_of(as_frame({"y": ["c", "a", "b"], "x": [3, 1, 2]}))
    assert fingerprint_of(one) != fingerprint_of(as_frame({"x": [1, 2, 3], "y": ["a", "c", "b"]}))


def test_columns_are_selected_in_the_order_that_is_asked_for():
    assert as_frame({"a": [1], "b": [2], "c": [3]}).select(["c", "a"]).names == ("c", "a")


def test_blocks_of_labels_are_joined_by_their_names():
    one, other = as_frame({"a": ["u", "v"]}), as_frame({"a": ["w", "u", "w"]})
    assert joined([one, other], 5).columns["a"].cells() == ["u", "v", "w", "u", "w"]


def test_constant_columns_come_back_where_they_were():
    schema = Schema.fit({"one": [1] * 30, "x": list(range(10)) * 3, "two": ["u"] * 30})
    encoded = schema.encode({"one": [1], "x": [3], "two": ["u"]})
    assert schema.decode(encoded.codes, encoded.y, np.full(encoded.codes.shape, 0.5)).names == ("one", "x", "two")


RNG = np.random.default_rng(0)
A, B = RNG.integers(0, 900, (2, 600))


def test_a_relation_holds_exactly():
    nearly = A + B + RNG.integers(-1, 2, 600)  # a third of the rows
    found = Schema.fit({"a": A, "b": B, "sum": np.where(np.arange(600) < 400, A + B, nearly)}).relations
    assert len(found) == 1 and abs(found[0].share - (400 + 200 / 3) / 600) < 0.06


def test_the_most_frequent_of_several_relations_comes_first():
    half = np.where(np.arange(600) < 390, A, B)
    found = Schema.fit({"a": A, "b": B, "c": half}).relations
    shares = [one.share for one in found]
    assert len(shares) > 1 and shares == sorted(shares, reverse=True)


def test_neighbours_of_a_grid_are_a_step_apart():
    assert Grid.of(np.array([0.0, 0.5, 1.0, 2.5]), 1, None).width == 0.5


# --- evaluation, reports, figures ----------------------------------------------------------------------------------


def test_an_entry_has_the_numbers_of_its_metrics():
    value, reference = Metric("c2st", 0.8, 0.7, 0.9), Metric("c2st", 0.5, 0.4, 0.6)
    made = Entry("tests", "c2st", "accuracy", Verdict("large", "some"), value, reference, (-np.inf, 0.6)).to_dict()
    assert (made["value"], made["reference_value"], made["chance"]) == (0.8, 0.5, [None, 0.6])


WRONG = GaussianOracle([0.0], [[1.3]], LEVELS)


def test_the_exact_excess_is_never_below_0():
    x0 = np.random.default_rng(0).normal(size=(40, 1))
    found = excess_loss(WRONG, NORMAL, x0, np.array([0.3, 0.6, 1.0]), key=KEY)
    assert (found.nats_of_row > 0).all() and (found.excess > 0).all()
    difference = excess_loss(WRONG, NORMAL, x0, np.array([0.3, 0.6, 1.0]), key=KEY, exact=False)
    assert (difference.nats_of_row < 0).any()


def test_the_worst_noise_level_is_that_of_the_largest_excess():
    noise = np.array([0.1, 1.0, 10.0])
    found = ExcessLoss(noise, noise, noise, noise, np.array([0.1, 0.3, 0.2]), noise, noise)
    assert found.worst == 1.0


def test_the_prior_is_compared_with_what_is_learned():
    x = 1000 * motes.make_shape("moons", 100)
    scaled, plain = (prior_kl(x, load_recipe("ddpm", {"data.standardise": on})) for on in (True, False))
    assert scaled < 0.01 < 1 < plain


def test_the_line_of_time_is_as_long_as_the_time():
    draw = lambda t: draw_caption(200, as_style("dark"), "forward", t, "t")
    lit = [int((draw(t) != draw(0.0)).any(axis=(0, 2)).sum()) for t in (0.25, 0.75)]
    assert 0 < lit[0] < lit[1]
    at = [np.flatnonzero((draw(t) != draw(0.5)).any(axis=(0, 2))).mean() for t in (0.0, 1.0)]
    assert at[0] < at[1]


def test_the_top_of_a_raster_is_the_top():
    assert counts(np.array([[0.1, 0.9]]), ((0.0, 1.0), (0.0, 1.0)), 2, 2).tolist() == [[1, 0], [0, 0]]


def test_signs_of_a_heat_map():
    matrix = np.array([[1.0, 0.5], [-0.5, 1.0]])
    fields = charts.heat_map(matrix, ["a", "b"], "said").split("<rect")[1:]
    assert [("plus" in field, "0.500" in field and "-0.500" not in field) for field in fields] == [
        (True, True), (False, False),
    ]  # fmt: skip


def test_intervals_are_written_from_low_to_high():
    assert between((0.25, 0.75)) == "0.25 to 0.75" and between(None) == "-" and between((-np.inf, np.inf)) == "any"
