"""What is trained on and what it is evaluated against share nothing."""

import numpy as np
import pytest

import motes
from fits import fit_points
from motes.evaluation.metrics import mode_coverage
from motes.evaluation.sources import read_points, source_of
from motes.loading import load
from motes.training.checkpoints import FitSession

RECIPE = motes.load_recipe("default")


def rows(x):
    return {tuple(row) for row in x.tolist()}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "table.csv"
    motes.data.write_frame(path, motes.data.as_frame(np.random.default_rng(0).normal(size=(300, 3)), ["a", "b", "c"]))
    return path


def test_a_shape_is_drawn_afresh_for_the_reference_and_for_its_reference_values():
    source = read_points("moons", RECIPE, 3)
    reference, other = source.real(500)
    assert np.array_equal(source.training.x, motes.make_shape("moons", RECIPE.data.rows, seed=3))
    assert len(reference) == len(other) == 500
    assert not rows(reference) & rows(other)
    assert not rows(source.training.x) & (rows(reference) | rows(other))
    assert source.evaluated_against == "a fresh draw"


def test_the_blur_of_the_recipe_is_that_of_the_reference():
    blurred = read_points("circles", motes.load_recipe("default", {"data.noise": 0.0}), 1)
    for points in (blurred.training.x, *blurred.real(200)):
        radius = np.hypot(*points.T)
        assert np.allclose(np.minimum(abs(radius - 1), abs(radius - 0.5)), 0, atol=1e-9)


def test_the_rows_of_a_file_are_divided_once_and_for_all(file):
    source = read_points(str(file), RECIPE, 5)
    whole = motes.data.read_table(file).x
    assert 20 <= len(source.held_out) <= 45  # 30 on average
    assert rows(source.training.x) | rows(source.held_out.x) == rows(whole)
    assert not rows(source.training.x) & rows(source.held_out.x)
    assert source.training.columns == ("a", "b", "c")
    again = read_points(str(file), RECIPE, 5)
    assert np.array_equal(again.held_out.x, source.held_out.x)
    assert rows(read_points(str(file), RECIPE, 6).held_out.x) != rows(source.held_out.x)


def test_held_out_rows_are_the_reference_and_training_rows_the_other_draw(file):
    source = read_points(str(file), RECIPE, 5)
    reference, other = source.real(10_000)
    assert rows(reference) == rows(source.held_out.x)
    assert len(other) == len(reference)
    assert rows(other) <= rows(source.training.x)
    assert source.evaluated_against == "held-out rows"


def test_a_small_file_is_trained_on_whole_and_says_so(tmp_path):
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(0).normal(size=(49, 2)))
    source = read_points(str(path), RECIPE, 0)
    assert source.held_out is None
    assert len(source.training.x) == 49
    assert source.evaluated_against == "the training rows"
    reference, other = source.real(10_000)
    assert len(reference) == len(other) == 24 and not rows(reference) & rows(other)


def test_of_few_rows_ten_are_held_out_and_more_rows_make_no_training_row_one_of_them(tmp_path):
    x = np.random.default_rng(0).normal(size=(80, 2))
    before, after = (tmp_path / name for name in ("before.npy", "after.npy"))
    np.save(before, x[:60])
    np.save(after, x)
    first, second = (read_points(str(path), RECIPE, 0) for path in (before, after))
    assert len(first.held_out) == 10 <= len(second.held_out)
    assert not rows(second.held_out.x) & rows(first.training.x)


def test_what_is_neither_shape_nor_file_is_told():
    with pytest.raises(motes.errors.UsageError, match=r"Did you mean 'moons'.*give a file"):
        read_points("mons", RECIPE, 0)


# --- what a model is compared with -----------------------------------------------------------------------------------


@pytest.fixture
def model(file):
    """Trained on the file, as `motes train` does."""
    table = read_points(str(file), RECIPE, 5).training
    return fit_points(table, changes={"training.steps": 1}, seed=5, session=FitSession(source=str(file)))


def test_its_own_rows_are_known_by_any_name_in_any_order_of_columns_and_in_memory(model, file, tmp_path):
    first, whole = read_points(str(file), RECIPE, 5), motes.data.read_table(file).x
    moved = file.with_name("moved.csv")
    motes.data.write_frame(moved, motes.data.as_frame(whole[:, [2, 0, 1]], ["c", "a", "b"]))
    for again in (source_of(model), source_of(model, str(moved))):
        assert again.known
        assert np.array_equal(again.held_out.x, first.held_out.x)
        assert np.array_equal(again.training.x, first.training.x)
    assert source_of(model, first.training).known and not source_of(model, whole).known
    model.save(tmp_path / "m.safetensors")
    assert source_of(load(tmp_path / "m.safetensors")).known


def test_another_file_is_compared_with_all_its_rows(model, file):
    other = file.with_name("other.csv")
    motes.data.write_frame(other, motes.data.as_frame(np.random.default_rng(1).normal(size=(200, 3)), ["a", "b", "c"]))
    source = source_of(model, str(other))
    assert not source.known
    assert len(source.training) + len(source.held_out) == 200
    assert source.evaluated_against == f"rows of {other}"
    reference, other_draw = source.real(1000)
    assert len(rows(reference) | rows(other_draw)) == 200


def test_rows_that_are_appended_or_moved_leave_the_others_where_they_are(model, file):
    first, whole = read_points(str(file), RECIPE, 5), motes.data.read_table(file).x
    moved = file.with_name("moved.csv")
    motes.data.write_frame(moved, motes.data.as_frame(whole[::-1], ["a", "b", "c"]))
    again = source_of(model, str(moved))
    assert again.known
    assert np.array_equal(again.training.x, first.training.x)  # in an order of its own: the training would be the same
    more = np.concatenate([np.random.default_rng(7).normal(size=(100, 3)), whole])
    motes.data.write_frame(file, motes.data.as_frame(more, ["a", "b", "c"]))
    changed = source_of(model)
    assert not changed.known
    assert "has changed since the training" in changed.notes[0]
    assert rows(first.held_out.x) <= rows(changed.held_out.x)
    assert not rows(changed.held_out.x) & rows(first.training.x)


def test_a_file_that_has_gone_or_has_other_columns_is_told(model, file):
    wrong = file.with_name("wrong.csv")
    motes.data.write_frame(wrong, motes.data.as_frame(np.random.default_rng(1).normal(size=(50, 3)), ["a", "b", "d"]))
    with pytest.raises(motes.errors.UsageError, match="no column 'c'; the model has a, b, c"):
        source_of(model, str(wrong))
    file.unlink()
    with pytest.raises(
        motes.errors.UsageError,
        match=r"is not here\. Pass its rows, as in model\.evaluate\(rows\); on the command line",
    ):
        source_of(model)


@pytest.mark.parametrize("shape", ["moons", "eight_gaussians", "checkerboard"])
def test_modes_of_a_shape_are_those_of_its_classes(shape):
    modes = read_points(shape, RECIPE, 0).modes
    x, labels = motes.data.make_labelled_shape(shape, 4000, seed=8)
    found = mode_coverage(x, modes)
    assert len(modes.shares) == motes.data.SHAPES[shape].classes
    assert found.distance.low < 0.01  # 0 in 95 of 100 draws
    np.testing.assert_allclose(np.sort(found.shares), np.sort(np.bincount(labels) / len(x)), atol=0.01)


def test_a_shape_without_classes_has_no_modes():
    assert read_points("swiss_roll", RECIPE, 0).modes is None
