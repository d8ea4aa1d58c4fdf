"""Parts of a run: its folder and its recipe, samples with their classes, the schema of a file."""

from dataclasses import replace

import numpy as np
import pytest
from tests.tables import TINY, untrained

import motes
from fits import fit_points, fit_table
from motes import fitting
from motes.cli import folders as checkpoints
from motes.drawing import draw_frame
from motes.errors import UsageError
from motes.points.fitting import PointData
from motes.points.guidance import Sampling
from motes.progress import Reporter, silent
from motes.recipes import load_recipe
from motes.training.checkpoints import FitSession

pytestmark = pytest.mark.brief

TINIEST = {
    "network.width": 6, "network.depth": 1, "training.steps": 5, "training.batch": 4, "training.averages": 0,
    "grid.steps": 4, "data.rows": 60,
}  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return fit_points(
        motes.make_shape("moons", 60, seed=0), changes=TINIEST, seed=1, session=FitSession(source="moons")
    )


@pytest.fixture(scope="module")
def labelled():
    x, labels = motes.data.make_labelled_shape("moons", 40, seed=0)
    weights = np.where(labels == 1, 9.0, 1.0)
    return fit_points(PointData(x, labels=labels, weights=weights), changes=TINIEST, seed=1)


@pytest.fixture(scope="module")
def table():
    data = {"x": np.random.default_rng(0).normal(size=60).round(3), "label": ["u", "v", "w"] * 20}
    with untrained():
        return fit_table(data, changes=TINY | {"table.steps": 1}, seed=1)


# --- a run ---------------------------------------------------------------------------------------------------------


def test_a_name_with_a_space_is_quoted_where_a_run_says_how_it_runs_again(tmp_path):
    checkpoints.write_recipe(tmp_path, checkpoints.RunTraining("my file.csv", "table", load_recipe("table"), 3, ""))
    assert "motes train 'my file.csv' --recipe recipe.toml --seed 3\n" in (tmp_path / "recipe.toml").read_text()


def test_only_steps_may_change_where_a_run_goes_on(tmp_path):
    recipe = load_recipe("default", TINIEST)
    texts = checkpoints.RunTraining("moons", "default", recipe, 3, "rows").about
    same = checkpoints.RunTraining("moons", "default", load_recipe(recipe, {"training.steps": 9}), 3, "rows")
    checkpoints._check_same(tmp_path, same, texts)
    for other, says in (
        (replace(same, seed=4), "got --seed 4"),
        (replace(same, recipe=load_recipe(recipe, {"training.batch": 5})), "got training.batch = 5"),
        (replace(same, fingerprint="others"), "are not the training rows of the run"),
    ):
        with pytest.raises(UsageError, match=says):
            checkpoints._check_same(tmp_path, other, texts)


# --- from a source to a model --------------------------------------------------------------------------------------


def test_a_warning_is_said_even_when_quiet(capsys):
    Reporter(quiet=True).warn("watch out")
    Reporter(quiet=True).say("nothing")
    assert "warning: watch out" in (err := capsys.readouterr().err) and "nothing" not in err


def test_the_schema_of_a_file_follows_the_recipe(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{k},{k % 3 or ''},{k + (k % 3)}" for k in np.random.default_rng(0).integers(0, 150, 200)]
    path.write_text("\n".join(["a,b,sum", *rows]))
    made = {
        key: fitting.prepare_rows(str(path), load_recipe("table", {f"table.{key}": value}), 0).schema
        for key, value in (("bins", 5), ("relations", False), ("missing", "ignore"))
    }
    assert max(part.count for part in made["bins"].parts) == 5 < max(part.count for part in made["missing"].parts)
    assert made["bins"].relations and not made["relations"].relations
    assert [schema.missing_shares[1] > 0 for schema in made.values()] == [True, True, False]


def test_what_a_draw_changes_of_a_recipe():
    recipe = load_recipe("default", TINIEST)
    sampler, grid = recipe.sampler_and_grid(Sampling(sampler="heun", steps=7, grid="log_snr"))
    assert type(sampler).__name__ == "Heun" and len(grid) == 8
    np.testing.assert_allclose(np.diff(recipe.make_schedule().log_snr(grid[:-1]), 2), 0, atol=1e-3)
    assert recipe.sampler_and_grid(Sampling(grid=[1.0, 0.25, 0.0]))[1].tolist() == [1.0, 0.25, 0.0]


# --- samples -------------------------------------------------------------------------------------------------------


def test_classes_are_drawn_as_frequent_as_they_were(labelled):
    frame, points = draw_frame(labelled, 400, silent, seed=3)
    drawn = np.array(frame.columns["label"].cells())
    assert points.shape == (400, 2) and abs((drawn == 1).mean() - 0.9) < 0.06
    again, _ = draw_frame(labelled, 400, silent, seed=3)
    other, _ = draw_frame(labelled, 400, silent, seed=4)
    assert again.columns["label"].cells() == drawn.tolist() != other.columns["label"].cells()
    one, _ = draw_frame(labelled, 5, silent, label=0)
    assert one.columns["label"].cells() == [0] * 5


def test_progress_says_how_far_the_loss_is_above_the_least(capsys):
    from motes.progress import Progress, watching

    with watching(Reporter(), least=0.25) as show:
        show(Progress(10, 10, 1.0, seconds=1.0))
    assert "loss 1.0000 (+0.7500)" in capsys.readouterr().err
    with watching(Reporter(), least=0.7) as show:  # a mean over a few steps may be below it
        show(Progress(10, 10, 0.6987, seconds=1.0))
    said = capsys.readouterr().err
    assert "loss 0.6987 (at the theoretical minimum, within noise)" in said and "-0" not in said
