"""Points of which some coordinates are known, from a model whose conditional distributions are exact."""

import numpy as np
import pytest

import motes
from motes.data.tables import Standardiser
from motes.drawing import check_imputing
from motes.errors import DataError, UsageError
from motes.points.exact import GaussianOracle
from motes.points.model import PointModel, box_of

ROWS = 4000
MEAN, SCALE = np.array([5.0, -30.0]), np.array([2.0, 10.0])
RHO = 0.8  # of the two standardised columns: given z_0 = a, z_1 is N(RHO a, 1 - RHO^2)


@pytest.fixture(scope="module")
def gaussian(small_model):
    """The exact denoiser of a correlated Gaussian in the place of a network."""
    oracle = GaussianOracle(np.zeros(2), np.array([[1.0, RHO], [RHO, 1.0]]), small_model.denoiser.schedule)
    return PointModel(oracle, Standardiser(MEAN, SCALE), ("x", "y"), small_model.recipe)


def test_a_box_is_in_the_units_of_the_data(small_model):
    low, high = box_of(small_model.columns, {"y": 0.25, "x": (None, 1)})
    np.testing.assert_array_equal(low, [-np.inf, 0.25])
    np.testing.assert_array_equal(high, [1.0, 0.25])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"z": 1.0}, "unknown column 'z'"),
        ({"x": (None, None)}, "expected a number, or"),
        ({"x": None}, "expected a number, or"),
        ({"x": (1, 2, 3)}, "expected a number, or"),
        ({"x": "red"}, "got 'red'; expected a finite number"),
        ({"x": np.nan}, "expected a finite number"),
        ({"x": True}, "expected a finite number"),
        ({"x": (2, 1)}, "got 2 to 1; expected low <= high"),
    ],
)
def test_what_is_no_box_is_refused(small_model, given, message):
    with pytest.raises(UsageError, match=message):
        small_model.sample(5, given=given)


def test_rows_of_a_class_that_meet_a_condition_are_those_of_that_class_that_do(labelled_model):
    # Rows of a condition that is not rare are the rows of a plain draw that meet it.
    x = labelled_model.sample(400, label=1, seed=3)
    low = float(np.quantile(x[:, 0], 0.3))
    inside = labelled_model.sample(200, label=1, given={"x": (low, None)}, seed=3)
    assert inside.shape == (200, 2) and (inside[:, 0] >= low).all()
    kept = x[x[:, 0] >= low][:200]
    np.testing.assert_allclose(inside[: len(kept)], kept, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given", [["x"], np.array([0.5, 1.0]), 0.5])
def test_given_has_to_be_a_dict(small_model, given):
    with pytest.raises(UsageError, match=rf"given: got {type(given).__name__}; expected a dict.*Choose from: x, y"):
        small_model.sample(5, given=given)


def test_a_condition_far_from_the_training_is_warned_of_by_name(small_model):
    mean, sd = small_model.standardiser.mean, small_model.standardiser.scale
    at = lambda k: float(mean[0] + k * sd[0])
    assert small_model.reliability_warnings({"x": at(4.9), "y": (None, float(mean[1]))}) == []
    assert small_model.reliability_warnings({"x": (at(-9), at(9))}) == []
    for given in ({"x": at(7.0)}, {"x": (at(7.0), None)}, {"x": (None, at(-7.0))}):
        (message,) = small_model.reliability_warnings(given)
        assert message.startswith("the condition on 'x' is 7 standard deviations")


@pytest.mark.slow
def test_a_known_number_moves_the_other_column_as_it_should(gaussian):
    x, _, effective = gaussian.draw_points(ROWS, given={"x": 7.0}, seed=1)
    assert (x[:, 0] == 7.0).all() and 0.3 * ROWS < effective <= ROWS
    # z_0 = (7 - 5) / 2 = 1, so that z_1 has mean 0.8 and deviation 0.6.
    error = 0.6 / np.sqrt(effective)
    z = (x[:, 1] + 30.0) / 10.0
    assert abs(z.mean() - RHO) < 4 * error + 0.02  # the grid's own error is below 0.02
    assert abs(z.std() - 0.6) < 4 * error + 0.02


def test_an_interval_holds_for_every_row_and_a_seed_is_a_draw(gaussian):
    given = {"y": (-25.0, None), "x": (None, 5.0)}
    x, _, effective = gaussian.draw_points(300, given=given, seed=1)
    assert (x[:, 0] <= 5.0).all() and (x[:, 1] >= -25.0).all() and effective <= 300
    np.testing.assert_array_equal(gaussian.draw(300, given, seed=1), x)
    assert not np.array_equal(gaussian.draw(300, given, seed=2), x)
    with pytest.raises(UsageError, match="sampler"):
        gaussian.draw(300, {"x": 5.0}, sampling={"sampler": "heun"})


def test_imputed_coordinates_follow_the_known_ones_to_the_bit(gaussian):
    x = np.full((400, 2), np.nan)
    x[:200, 0], x[200:, 1] = 7.0, -20.1
    x[0], x[1, 0] = (0.1, 0.2), 0.1  # which does not come back to the bit from its standardised value
    told = []
    whole = gaussian.impute(x, seed=0, on_progress=lambda now: told.append(now.done))
    np.testing.assert_array_equal(whole[~np.isnan(x)], x[~np.isnan(x)])
    assert np.isfinite(whole).all() and told[-1] == 399
    error = 4 * 0.6 / np.sqrt(200) + 0.02
    assert abs((whole[2:200, 1].mean() + 30.0) / 10.0 - 0.8) < error  # z_0 = 1
    assert abs((whole[200:, 0].mean() - 5.0) / 2.0 - 0.8 * 0.99) < error  # z_1 = 0.99
    np.testing.assert_array_equal(gaussian.impute(x, seed=0), whole)
    assert not np.array_equal(gaussian.impute(x, seed=1), whole)
    np.testing.assert_array_equal(gaussian.impute(x[:1]), x[:1])


def test_rows_that_cannot_be_filled_in_are_named(small_model):
    with pytest.raises(DataError, match=r"shape \(2, 3\); expected \(rows, 2\)"):
        small_model.impute(np.zeros((2, 3)))
    with pytest.raises(DataError, match="the data, row 2, column 'y': got inf"):
        small_model.impute([[0, 0], [0, np.inf]])
    named = PointModel(small_model.denoiser, Standardiser(MEAN, SCALE), ("draw", "y"), small_model.recipe)
    check_imputing(named, 1)
    with pytest.raises(UsageError, match="needed for the number of the draw"):
        check_imputing(named, 2)


@pytest.mark.slow
def test_the_commands_answer_for_points(small_model, motes_command, tmp_path):
    small_model.save(tmp_path / "m.safetensors")
    code, message, err = motes_command("sample", "m.safetensors", "-n", 40, "--given", "x=0.5", "--out", "s.csv", "-q")
    assert code == 0 and message == "40 rows in s.csv\n", err
    assert (motes.data.read_table("s.csv", to_learn=False).x[:, 0] == 0.5).all()
    text = "y,x\n0.25,\n,0.5\n0.125,1\n"
    (tmp_path / "holes.csv").write_text(text)
    code, message, err = motes_command("impute", "m.safetensors", "holes.csv", "--out", "w.csv", "--draws", 2)
    assert code == 0 and "2 entries filled in, 6 rows in w.csv" in message and "filling in: 4/4 rows" in err
    whole = motes.data.read_table("w.csv", to_learn=False)
    assert whole.columns == ("draw", "x", "y")
    assert whole.x[[0, 3], 2].tolist() == [0.25] * 2 and whole.x[[1, 4], 1].tolist() == [0.5] * 2
    assert whole.x[2].tolist() == [1.0, 1.0, 0.125] and whole.x[0, 1] != whole.x[3, 1]
    (tmp_path / "words.csv").write_text("x,y\n0.25,red\n0.25,blue\n")
    for words, message in {
        ("sample", "--given", "x=0.5", "--importance-resample"): "--importance-resample for a model of points",
        ("sample", "--given", "x!=0.5"): "for a model of points",
        ("score", "holes.csv", "--out", "l.csv", "--orders", 2): "--orders for a model of points",
        ("impute", "words.csv", "--out", "l.csv"): "'words.csv', column 'y': got text; expected numbers",
    }.items():
        code, _, err = motes_command(words[0], "m.safetensors", *words[1:])
        assert code in (1, 2) and message in err
