"""What is trained on and what it is evaluated against share nothing."""

import numpy as np
import pytest

import motes
from motes.evaluation._modes import mode_coverage
from motes.models._point_fitting import fit_points
from motes.models._sources import read_source, source_of
from motes.models._tables import read_model

RECIPE = motes.load_recipe("default")


def rows(x):
    return {tuple(row) for row in x.tolist()}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "table.csv"
    motes.write_table(path, np.random.default_rng(0).normal(size=(300, 3)), ["a", "b", "c"])
    return path


def test_a_shape_is_drawn_afresh_for_the_reference_and_for_its_reference_values():
    source = read_source("moons", RECIPE, 3)
    reference, other = source.real(500)
    assert np.array_equal(source.table.x, motes.make_shape("moons", RECIPE.data.rows, seed=3))
    assert len(reference) == len(other) == 500
    assert not rows(reference) & rows(other)
    assert not rows(source.table.x) & (rows(reference) | rows(other))
    assert source.evaluated_against == "a fresh draw"


def test_the_blur_of_the_recipe_is_that_of_the_reference():
    blurred = read_source("circles", motes.load_recipe("default", {"data.noise": 0.0}), 1)
    for points in (blurred.table.x, *blurred.real(200)):
        radius = np.hypot(*points.T)
        assert np.allclose(np.minimum(abs(radius - 1), abs(radius - 0.5)), 0, atol=1e-9)


def test_the_rows_of_a_file_are_divided_once_and_for_all(file):
    source = read_source(str(file), RECIPE, 5)
    whole = motes.read_table(file).x
    assert len(source.table.x) == 270
    assert len(source.held_out) == 30
    assert rows(source.table.x) | rows(source.held_out) == rows(whole)
    assert not rows(source.table.x) & rows(source.held_out)
    assert source.table.columns == ("a", "b", "c")
    again = read_source(str(file), RECIPE, 5)
    assert np.array_equal(again.held_out, source.held_out)
    assert rows(read_source(str(file), RECIPE, 6).held_out) != rows(source.held_out)


def test_held_out_rows_are_the_reference_and_training_rows_the_other_draw(file):
    source = read_source(str(file), RECIPE, 5)
    reference, other = source.real(10_000)
    assert rows(reference) == rows(source.held_out)
    assert len(other) == len(reference)
    assert rows(other) <= rows(source.table.x)
    assert source.evaluated_against == "held-out rows"


def test_a_small_file_is_trained_on_whole_and_says_so(tmp_path):
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 2)))
    source = read_source(str(path), RECIPE, 0)
    assert source.held_out is None
    assert len(source.table.x) == 60
    assert source.evaluated_against == "the training rows"
    reference, other = source.real(10_000)
    assert not rows(reference) & rows(other)


def test_what_is_neither_shape_nor_file_is_told():
    with pytest.raises(motes.errors.UsageError, match=r"Did you mean 'moons'.*give a file"):
        read_source("mons", RECIPE, 0)


# --- what a model is compared with -----------------------------------------------------------------------------------


@pytest.fixture
def model(file):
    """Trained on the file, as `motes train` does."""
    table = read_source(str(file), RECIPE, 5).table
    return fit_points(table, changes={"training.steps": 1}, seed=5, source=str(file))


def test_its_own_file_is_divided_as_for_the_training(model, file):
    again, first = source_of(model), read_source(str(file), RECIPE, 5)
    assert again.trained_on
    assert np.array_equal(again.held_out, first.held_out)
    assert np.array_equal(again.table.x, first.table.x)


def test_its_own_file_is_known_by_another_name_and_with_columns_in_another_order(model, file):
    moved = file.with_name("moved.csv")
    motes.write_table(moved, motes.read_table(file).x[:, [2, 0, 1]], ["c", "a", "b"])
    source = source_of(model, str(moved))
    assert source.trained_on
    assert np.array_equal(source.held_out, read_source(str(file), RECIPE, 5).held_out)


def test_another_file_is_compared_with_all_its_rows(model, file):
    other = file.with_name("other.csv")
    motes.write_table(other, np.random.default_rng(1).normal(size=(200, 3)), ["a", "b", "c"])
    source = source_of(model, str(other))
    assert not source.trained_on
    assert len(source.table.x) == 200
    assert source.evaluated_against == f"rows of {other}"
    reference, other_draw = source.real(1000)
    assert len(rows(reference) | rows(other_draw)) == 200


def test_a_model_remembers_its_rows_on_disk(model, file, tmp_path):
    model.save(tmp_path / "m.safetensors")
    assert source_of(read_model(tmp_path / "m.safetensors")).trained_on


def test_an_array_is_known_again(model, file):
    assert source_of(model, read_source(str(file), RECIPE, 5).table).trained_on
    assert not source_of(model, motes.read_table(file).x).trained_on


def test_a_file_that_has_gone_or_has_other_columns_is_told(model, file):
    wrong = file.with_name("wrong.csv")
    motes.write_table(wrong, np.random.default_rng(1).normal(size=(50, 3)), ["a", "b", "d"])
    with pytest.raises(motes.errors.UsageError, match="no column 'c'; the model has a, b, c"):
        source_of(model, str(wrong))
    file.unlink()
    with pytest.raises(motes.errors.UsageError, match="is not here; give it as SOURCE"):
        source_of(model)


@pytest.mark.parametrize("shape", ["moons", "eight_gaussians", "checkerboard"])
def test_modes_of_a_shape_are_those_of_its_classes(shape):
    modes = read_source(shape, RECIPE, 0).modes
    x, labels = motes.make_labelled_shape(shape, 4000, seed=8)
    found = mode_coverage(x, modes)
    assert len(modes.shares) == motes.SHAPES[shape].classes
    assert found.distance.low < 0.01  # 0 in 95 of 100 draws
    np.testing.assert_allclose(np.sort(found.shares), np.sort(np.bincount(labels) / len(x)), atol=0.01)


def test_a_shape_without_classes_has_no_modes():
    assert read_source("swiss_roll", RECIPE, 0).modes is None
