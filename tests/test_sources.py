"""What is trained on and what judges it share nothing."""

import numpy as np
import pytest

import motes
from motes.sources import read_source

RECIPE = motes.load_recipe("default")


def rows(x):
    return {tuple(row) for row in x.tolist()}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "table.csv"
    motes.write_table(path, np.random.default_rng(0).normal(size=(300, 3)), ["a", "b", "c"])
    return path


def test_a_shape_is_drawn_afresh_for_the_judge_and_for_the_floor():
    source = read_source("moons", RECIPE, 3)
    judge, other = source.real(500)
    assert np.array_equal(source.table.x, motes.draw("moons", RECIPE.data.rows, seed=3))
    assert len(judge) == len(other) == 500
    assert not rows(judge) & rows(other)
    assert not rows(source.table.x) & (rows(judge) | rows(other))
    assert source.judged_by == "a fresh draw"


def test_the_blur_of_the_recipe_is_that_of_the_judge():
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


def test_held_out_rows_judge_and_training_rows_are_the_floor(file):
    source = read_source(str(file), RECIPE, 5)
    judge, other = source.real(10_000)
    assert rows(judge) == rows(source.held_out)
    assert len(other) == len(judge)
    assert rows(other) <= rows(source.table.x)
    assert source.judged_by == "held-out rows"


def test_a_small_file_is_trained_on_whole_and_says_so(tmp_path):
    path = tmp_path / "small.npy"
    np.save(path, np.random.default_rng(0).normal(size=(60, 2)))
    source = read_source(str(path), RECIPE, 0)
    assert source.held_out is None
    assert len(source.table.x) == 60
    assert source.judged_by == "the training rows"
    judge, other = source.real(10_000)
    assert not rows(judge) & rows(other)


def test_what_is_neither_shape_nor_file_is_told():
    with pytest.raises(motes.UsageError, match=r"Did you mean 'moons'.*csv or \.npy"):
        read_source("mons", RECIPE, 0)
