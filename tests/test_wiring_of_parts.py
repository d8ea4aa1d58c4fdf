"""Formulas and wiring of the lower rooms."""

import jax
import numpy as np
import pytest

import motes
from motes.data.frames import as_frame, joined
from motes.data.points import fingerprint_of
from motes.data.tables import Table
from motes.errors import UsageError
from motes.evaluation.findings import prior_kl
from motes.evaluation.losses import ExcessLoss, excess_loss
from motes.evaluation.results import Entry, Metric, Verdict, between
from motes.plots import svg as charts
from motes.plots.canvas import as_style
from motes.plots.film import draw_caption
from motes.points.exact import GaussianOracle
from motes.points.likelihood import log_likelihood
from motes.points.particles import sample_inside
from motes.points.samplers import Heun
from motes.points.sampling import KarrasGrid, ReverseProcess
from motes.points.schedules import VarianceExploding
from motes.rasters import counts
from motes.recipes import load_recipe
from motes.tables.kinds.binnings import Grid
from motes.tables.schema import Schema

LEVELS = VarianceExploding(10.0)
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
