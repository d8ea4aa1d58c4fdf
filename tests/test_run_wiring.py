"""The wiring of runs, commands and figures: what each is given reaches the part that it is for.

The parts themselves are replaced by ones that write down what they are given, so that next to nothing is computed.
"""

import json
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tests.tables import TINY, untrained

import motes
from motes import _pipeline as pipeline
from motes import cli
from motes._progress import Reporter
from motes.cli import _common as common
from motes.cli._options import PointOptions
from motes.data._frames import as_frame
from motes.data._tables import Table
from motes.errors import UsageError
from motes.evaluation._irreducible import BOUND, EXACT, Estimate
from motes.learning._weights import weights_of
from motes.models._evidence import Evidence
from motes.models._going_on import FitSession
from motes.models._point_fitting import PointData, fit_points
from motes.models._table_fitting import fit_table
from motes.recipes import load_recipe
from motes.runs import _checkpoints as checkpoints
from motes.runs import _film as films
from motes.runs import _point_figures as point_figures
from motes.runs import _run as runs
from motes.runs import _samples as samples
from motes.runs import _table_figures as table_figures
from motes.runs._drawing import Album, Drawing
from motes.runs._options import Options
from motes.sampling._options import Sampling

pytestmark = pytest.mark.brief

TINIEST = {
    "network.width": 6, "network.depth": 1, "training.steps": 5, "training.batch": 4, "training.averages": 0,
    "grid.steps": 4, "data.rows": 60,
}  # fmt: skip
QUIET = Reporter(quiet=True)
LIGHT = Drawing(style="light")


class Spy:
    """In the place of a function: it writes down what it is given, and gives back the same each time."""

    def __init__(self, gives=None):
        self.gives, self.calls = gives, []

    def __call__(self, *given, **named):
        self.calls.append((given, named))
        return self.gives

    @property
    def given(self):
        """The arguments of the last call."""
        return self.calls[-1][0]

    @property
    def named(self):
        return self.calls[-1][1]


@pytest.fixture
def spy(monkeypatch):
    def put(place, gives=None):
        found = Spy(gives)
        monkeypatch.setattr(place, found)
        return found

    return put


@pytest.fixture(scope="module")
def model():
    return fit_points(
        motes.make_shape("moons", 60, seed=0), changes=TINIEST, seed=1, session=FitSession(source="moons")
    )


@pytest.fixture(scope="module")
def labelled():
    x, labels = motes.make_labelled_shape("moons", 40, seed=0)
    weights = np.where(labels == 1, 9.0, 1.0)
    return fit_points(PointData(x, labels=labels, weights=weights), changes=TINIEST, seed=1)


@pytest.fixture(scope="module")
def table():
    data = {"x": np.random.default_rng(0).normal(size=60).round(3), "label": ["u", "v", "w"] * 20}
    with untrained():
        return fit_table(data, changes=TINY | {"table.steps": 1}, seed=1)


@pytest.fixture
def saved(model, tmp_path):
    model.save(tmp_path / "model.safetensors")
    return tmp_path


@pytest.fixture
def saved_table(table, tmp_path):
    table.save(tmp_path / "model.safetensors")
    return tmp_path


# --- a run ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(spy, monkeypatch, tmp_path):
    """`run(**options)` trains in a folder, where figures, pages and evaluations are written down and not made."""
    spies = SimpleNamespace(
        draw=spy("motes.runs._run.draw_run"),
        page=spy("motes.runs._run.write_page"),
        evaluated=spy("motes.runs._run.evaluated", SimpleNamespace(to_dict=lambda: {"entries": [{"value": 0.25}]})),
        drawn=spy("motes.runs._run.drawn", (as_frame({"x": [1.0, 2.0], "y": [3.0, 4.0]}), np.zeros((2, 2)))),
    )

    def go(changes=TINIEST, source="moons", recipe="default", **options):
        out = tmp_path / f"run{len(list(tmp_path.iterdir()))}"
        model, found = runs.train_run(source, out, recipe, changes, Options(**options), QUIET)
        return out, model, found

    go.spies = spies
    return go


def test_the_seed_and_the_look_of_a_run_reach_all_of_its_parts(run):
    out, model, found = run(seed=7, drawing=LIGHT)
    spies = run.spies
    assert model.seed == 7 and spies.drawn.given[1].seed == 7 and spies.evaluated.named["seed"] == 7
    assert spies.draw.named == {"seed": 7, "drawing": LIGHT} and spies.draw.given[2] == out
    assert spies.evaluated.named["brief"] and found is spies.evaluated.gives
    assert spies.page.given == (found, out / "report.html")
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["least_loss_is"] == EXACT
    line = json.loads((out / "history.jsonl").read_text().splitlines()[-1])
    np.testing.assert_allclose(line["loss"] - line["excess"], metrics["least_loss"], atol=1e-3)


def test_what_a_run_writes_is_what_was_found(run):
    out, model, _ = run(figures=False)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["entries"] == [{"value": 0.25}]
    losses = model.training.losses
    expected = {"recipe": "default", "steps": 5, "training_rows": 60, "parameters": model.parameters}
    assert {name: metrics[name] for name in expected} == expected
    np.testing.assert_allclose(metrics["loss"], losses.mean(), rtol=1e-6)
    assert (out / "samples.csv").read_text() == "x,y\n1.0,3.0\n2.0,4.0\n"
    assert not run.spies.draw.calls and not run.spies.page.calls
    assert [path.name for path in (out / "checkpoints").iterdir()] == ["000000000005.safetensors"]
    header = (out / "recipe.toml").read_text().partition("\n")[0]
    assert header.endswith("motes train moons --recipe recipe.toml --seed 0")


def test_an_interrupted_run_keeps_the_model_and_evaluates_nothing(run, model, monkeypatch):
    interrupted = replace(model.training, interrupted=True)
    monkeypatch.setattr("motes.runs._run.trained", lambda *given, **named: model._with(training=interrupted))
    out, _, found = run()
    assert found is None and (out / "model.safetensors").exists() and not (out / "metrics.json").exists()
    assert not run.spies.evaluated.calls


def test_a_run_gives_the_training_its_keeper_and_the_least_loss(run, model, spy):
    trained = spy("motes.runs._run.trained", model)
    out, *_ = run(figures=False)
    assert isinstance(trained.named["keeper"], checkpoints.Checkpoints)
    least = json.loads((out / "metrics.json").read_text())["least_loss"]
    assert trained.named["least"] == least


def test_history_says_how_far_losses_are_above_the_least(model):
    for label, key in ((EXACT, "excess"), (BOUND, "above_bound")):
        lines = runs.history(model, Estimate(0.25, 0.01, label))
        assert lines[-1]["step"] == 5
        np.testing.assert_allclose(lines[-1][key], lines[-1]["loss"] - 0.25, atol=1e-3)


def test_a_name_with_a_space_is_quoted_where_a_run_says_how_it_runs_again(tmp_path):
    checkpoints.write_recipe(tmp_path, checkpoints.Training("my file.csv", "table", load_recipe("table"), 3, ""))
    assert "motes train 'my file.csv' --recipe recipe.toml --seed 3\n" in (tmp_path / "recipe.toml").read_text()


def test_a_folder_with_a_run_is_refused_and_replaced_where_that_is_asked_for(tmp_path):
    (tmp_path / "model.safetensors").write_text("")
    with pytest.raises(UsageError, match="holds another run"):
        checkpoints.prepare(tmp_path, overwrite=False)
    checkpoints.prepare(tmp_path, overwrite=True)
    assert not list(tmp_path.iterdir())


def test_only_steps_may_change_where_a_run_goes_on(tmp_path):
    recipe = load_recipe("default", TINIEST)
    texts = checkpoints.Training("moons", "default", recipe, 3, "rows").about
    same = checkpoints.Training("moons", "default", load_recipe(recipe, {"training.steps": 9}), 3, "rows")
    checkpoints._check_same(tmp_path, same, texts)
    for other, says in (
        (replace(same, seed=4), "got --seed 4"),
        (replace(same, recipe=load_recipe(recipe, {"training.batch": 5})), "got training.batch = 5"),
        (replace(same, fingerprint="others"), "are not those that the run"),
    ):
        with pytest.raises(UsageError, match=says):
            checkpoints._check_same(tmp_path, other, texts)


# --- from a source to a model --------------------------------------------------------------------------------------


class Told(Reporter):
    """A reporter whose lines are written down."""

    def __init__(self):
        super().__init__(quiet=True)
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def test_training_warns_of_what_can_be_known_before(spy, model):
    spy("motes._pipeline.fit_points", model)
    told = Told()
    recipe = load_recipe("ddpm", {"data.rows": 60, "schedule.start": 1e-6, "schedule.end": 1e-3})
    ready = pipeline.prepared("moons", recipe, 0)
    pipeline.trained(ready, 0, told)
    assert any("Training ends in another distribution than sampling starts from" in one for one in told.warnings)
    assert told.warnings == [*ready.warnings]


def test_training_a_table_warns_of_row_numbers(tmp_path, spy, table):
    path = tmp_path / "t.csv"
    path.write_text("number,b\n" + "".join(f"{k},{k % 3}\n" for k in range(60)))
    spy("motes._pipeline.fit_table", table)
    told = Told()
    pipeline.trained(pipeline.prepared(str(path), load_recipe("table"), 0), 0, told)
    assert len(told.warnings) == 1 and "own value: 'number'" in told.warnings[0]


def test_a_warning_is_said_even_when_quiet(capsys):
    Reporter(quiet=True).warn("watch out")
    Reporter(quiet=True).say("nothing")
    assert "warning: watch out" in (err := capsys.readouterr().err) and "nothing" not in err


def test_seed_source_start_and_keeper_reach_the_training(spy, model, tmp_path, table):
    fitted = spy("motes._pipeline.fit_points", model)
    ready = pipeline.prepared("moons", load_recipe("default", TINIEST), 3)
    keeper = object()
    pipeline.trained(ready, 5, QUIET, start=model, keeper=keeper)
    assert fitted.given[0] is ready.origin.training and fitted.given[1] is ready.recipe
    session = fitted.named["session"]
    assert (session.keeper, session.source, session.start) == (keeper, "moons", model) and fitted.named["seed"] == 5
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + "".join(f"{k % 7},{k % 3}\n" for k in range(60)))
    fitted = spy("motes._pipeline.fit_table", table)
    recipe = load_recipe("table", {"table.bins": 4, "table.relations": False, "table.missing": "learn"})
    ready = pipeline.prepared(str(path), recipe, 3)
    pipeline.trained(ready, 5, QUIET, start=table, keeper=keeper)
    session = fitted.named["session"]
    assert (session.keeper, session.source, session.start) == (keeper, str(path), table)
    assert fitted.named["seed"] == 5 and fitted.named["schema"] is ready.schema
    assert max(part.count for part in ready.schema.parts) <= 7 and not ready.schema.relations


def test_the_schema_of_a_file_follows_the_recipe(tmp_path):
    path = tmp_path / "t.csv"
    rows = [f"{k},{k % 3 or ''},{k + (k % 3)}" for k in np.random.default_rng(0).integers(0, 150, 200)]
    path.write_text("\n".join(["a,b,sum", *rows]))
    made = {
        key: pipeline.prepared(str(path), load_recipe("table", {f"table.{key}": value}), 0).schema
        for key, value in (("bins", 5), ("relations", False), ("missing", "ignore"))
    }
    assert max(part.count for part in made["bins"].parts) == 5 < max(part.count for part in made["missing"].parts)
    assert made["bins"].relations and not made["relations"].relations
    assert [schema.missing_shares[1] > 0 for schema in made.values()] == [True, True, False]


def test_an_interrupt_before_the_first_step_is_one(spy, model):
    nothing = replace(model.training, interrupted=True, losses=np.zeros(0, np.float32))
    spy("motes._pipeline.fit_points", model._with(training=nothing))
    with pytest.raises(KeyboardInterrupt):
        pipeline.trained(pipeline.prepared("moons", load_recipe("default", TINIEST), 0), 0, QUIET)


def test_what_a_draw_changes_of_a_recipe():
    recipe = load_recipe("default", TINIEST)
    sampler, grid = recipe.sampler_and_grid(Sampling(sampler="heun", steps=7, grid="log_snr"))
    assert type(sampler).__name__ == "Heun" and len(grid) == 8
    np.testing.assert_allclose(np.diff(recipe.make_schedule().log_snr(grid[:-1]), 2), 0, atol=1e-3)
    assert recipe.sampler_and_grid(Sampling(grid=[1.0, 0.25, 0.0]))[1].tolist() == [1.0, 0.25, 0.0]


# --- samples -------------------------------------------------------------------------------------------------------


def test_classes_are_drawn_as_frequent_as_they_were(labelled):
    frame, points = samples.drawn(labelled, samples.Request(400, seed=3), QUIET)
    drawn = np.array(frame.columns["label"].cells())
    assert points.shape == (400, 2) and abs((drawn == 1).mean() - 0.9) < 0.06
    again, _ = samples.drawn(labelled, samples.Request(400, seed=3), QUIET)
    other, _ = samples.drawn(labelled, samples.Request(400, seed=4), QUIET)
    assert again.columns["label"].cells() == drawn.tolist() != other.columns["label"].cells()
    one, _ = samples.drawn(labelled, samples.Request(5, label=0), QUIET)
    assert one.columns["label"].cells() == [0] * 5


def test_a_request_reaches_the_model(labelled, table, monkeypatch):
    sampled = Spy(np.zeros((2, 2)))
    monkeypatch.setattr(type(labelled), "sample", lambda self, *given, **named: sampled(*given, **named))
    how = Sampling(steps=3)
    samples.drawn(labelled, samples.Request(2, seed=5, label=1, how=how), QUIET)
    assert (sampled.named["seed"], sampled.named["how"], sampled.named["label"].tolist()) == (5, how, [1, 1])
    blocks = Spy([])
    monkeypatch.setattr(type(table), "blocks", lambda self, *given, **named: blocks(*given, **named))
    samples.write_samples(table, samples.Request(2, seed=5, exact=True), print, QUIET)
    assert blocks.named == {"given": {}, "seed": 5, "exact": True}


# --- figures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def film(model):
    """A film whose clouds lie at their own time: that of noise is at 1."""
    view = films.ModelView(model, [0, 1, 2, 3, 4])
    clouds = np.repeat(np.repeat(view.times[:, None, None], 6, axis=1), 2, axis=2)
    return films.Film(view, clouds, 10 + clouds, ((-1.0, 12.0), (-1.0, 12.0)), [0, 2, 4])


@pytest.fixture
def album(monkeypatch, tmp_path):
    """In which nothing is written; `names` are those of its figures."""
    monkeypatch.setattr(Album, "save", lambda self, drawn, name, rows="": self.folder / name)
    return Album(tmp_path, LIGHT, "moons")


def test_panels_are_titled_with_the_times_of_what_they_show(film, model, spy, album):
    scatter, row = spy("motes.runs._point_figures.plots.scatter"), spy("motes.runs._point_figures.plots.row")
    comparison = spy("motes.runs._point_figures.plots.comparison")
    x = np.full((6, 2), 5.0)
    paths = list(point_figures.stills(film, x, album, seed=2))
    assert [path.name for path in paths] == ["data", "samples", "comparison", "forward", "reverse"]
    (_, data), (made, drawn) = scatter.calls
    assert (data["title"], drawn["title"]) == ("data", "samples") and (scatter.calls[0][0][0] == 5.0).all()
    assert np.array_equal(made[0], model.sample(6, seed=2)[:, :2])
    assert (comparison.given[0] == 5.0).all() and np.array_equal(comparison.given[1], made[0])
    assert len(row.calls) == 2
    for (clouds, times), named in row.calls:
        assert named["style"].name == "light" and named["view"].limits == film.limits
        shift = {"forward": 0, "reverse": 10}[named["process"]]
        np.testing.assert_allclose(clouds[:, 0, 0] - shift, times)
        assert len(times) == 3 and (np.diff(times) > 0).all() == (named["process"] == "forward")


def test_a_film_runs_from_data_to_noise_and_back_and_rests_at_its_ends(film, monkeypatch, tmp_path):
    frames = Spy(iter([np.zeros((2, 2, 3), np.uint8)] * 3))
    monkeypatch.setattr("motes.runs._point_figures.plots.frames", frames)
    counted = []
    save = lambda made, path: list(made)
    monkeypatch.setattr("motes.runs._point_figures.plots.save_animation", save)
    point_figures.animate(film, tmp_path / "a.gif", style=LIGHT.look, on_frame=counted.append)
    out, out_times, back, back_times = frames.given
    assert (np.diff(out_times) > 0).all() and (np.diff(back_times) < 0).all()
    np.testing.assert_allclose(out[:, 0, 0], out_times)
    np.testing.assert_allclose(back[:, 0, 0] - 10, back_times)
    assert frames.named["hold"] == point_figures.HOLD > 0 and frames.named["style"].name == "light"
    assert counted == [1, 2, 3]


@pytest.mark.parametrize("which", ["averaged", "last"])
def test_snapshots_are_those_of_the_weights_that_are_sampled_from(which, run):
    changes = TINIEST | {"training.weights": which, "training.steps": 8, "training.ema": 0.9}
    out, model, _ = run(changes, figures=False)
    found, kept = checkpoints.snapshots_in(out, model), model.training.snapshots
    assert [step for step, _ in found] == [shot.step for shot in kept] and len(found) > 2
    other = {"averaged": "last", "last": "averaged"}[which]
    for (_, denoiser), shot in zip(found, kept, strict=True):
        np.testing.assert_array_equal(weights_of(denoiser), weights_of(getattr(shot, which)))
    assert not np.array_equal(weights_of(found[-2][1]), weights_of(getattr(kept[-2], other)))
    wider = replace(model.recipe, network=replace(model.recipe.network, width=model.recipe.network.width + 1))
    for name, value in (("recipe", wider), ("seed", 99), ("fingerprint", "of other rows")):
        another = copy(model)
        setattr(another, name, value)
        assert checkpoints.snapshots_in(out, another) == []


def test_a_row_of_snapshots_is_of_its_denoiser_and_its_seed(film, monkeypatch, spy, album):
    monkeypatch.setattr(films.ModelView, "reverse", lambda self, n, *, seed, denoiser: (denoiser, seed))
    grid = spy("motes.runs._point_figures.plots.grid")
    list(point_figures.snapshots(film, [(2, "two"), (4, "four")], album, seed=3))
    assert grid.given[0] == {"step 2": ("two", 3), "step 4": ("four", 3)}
    assert not list(point_figures.snapshots(film, [], album, seed=3))


def test_the_loss_figure_has_every_loss_and_the_best_one(spy, album):
    curve = spy("motes.runs._point_figures.plots.loss_curve")
    for key, label in (("excess", "irreducible loss"), ("above_bound", "bound for memorising")):
        history = [{"step": step, "loss": 1 / step, key: 1 / step - 0.25} for step in (1, 2, 4)]
        list(point_figures.loss_figure([*history, {"step": 4, "held_out": 0.5}], album))
        steps, losses = curve.given
        assert steps == [1, 2, 4] and losses == [1, 0.5, 0.25]
        assert (curve.named["best"], curve.named["best_label"]) == (pytest.approx(0.25), label)
        assert curve.named["held_out"].tolist() == [[4], [0.5]] and curve.named["style"].name == "light"
    assert not list(point_figures.loss_figure([], album))


def test_clouds_of_a_view_are_blends_of_points_and_noise(model):
    view = point_figures.ModelView(model, [0, 2, 4])
    x = motes.make_shape("moons", 500, seed=4)
    noisy, _, clean = view.forward(x, seed=1)
    np.testing.assert_allclose(clean, x, atol=1e-9)
    assert not np.allclose(noisy, view.forward(x, seed=2)[0])
    z = model.standardiser.forward(noisy)
    assert abs(z.std() - 1) < 0.1 and abs(np.corrcoef(z[:, 0], x[:, 0])[0, 1]) < 0.3


def test_figures_of_a_table_show_synthetic_rows_before_real_ones(table, spy, album):
    marginals = spy("motes.runs._table_figures.plots.marginals")
    pairs = spy("motes.runs._table_figures.plots.pairs")
    real = as_frame({"x": np.full(30, 0.5), "label": ["u", "v"] * 15})
    origin = SimpleNamespace(training=real)
    list(table_figures.table_figures(table, origin, album, seed=3))
    ours, theirs = marginals.given
    assert (theirs["x"] == 0.5).all() and not (ours["x"] == 0.5).all() and len(ours["x"]) == 30
    assert np.array_equal(ours["x"], table.sample(30, seed=3)["x"])
    assert marginals.named["title"] == "30 synthetic rows" and pairs.named["style"].name == "light"
    assert (pairs.given[1]["x"] == 0.5).all()


# --- commands ------------------------------------------------------------------------------------------------------


def command(*words):
    return cli._run([str(word) for word in words], debug=True)


def test_options_of_train_reach_the_run(spy, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train = spy("motes.runs._run.train_run", (None, "the record"))
    words = (
        "--seed",
        7,
        "--no-figures",
        "--style",
        "light",
        "--checkpoint-every",
        2,
        "--set",
        "a.b=1",
        "--recipe",
        "r",
    )
    assert command("train", "moons", *words) == 0
    source, out, recipe, changes, options, _ = train.given
    assert (source, out, recipe, changes) == ("moons", Path("runs/moons"), "r", ["a.b=1"])
    assert options == Options(seed=7, figures=False, drawing=LIGHT, checkpoint_every=2.0)
    assert capsys.readouterr().out == "the record\n\nresults in runs/moons\n"
    Path("runs/moons").mkdir(parents=True)
    command("train", "moons")
    assert train.given[1:4] == (Path("runs/moons-2"), "default", [])
    (tmp_path / "t.csv").write_text("a;b\n" + "1;u\n2;v\n" * 20)
    command("train", "t.csv", "--sep", ";", "--overwrite", "--out", "here")
    assert train.given[1:4] == (Path("here"), "table", ['text.sep=";"']) and train.given[4].overwrite
    resumed = spy("motes.runs._checkpoints.seed_of", 9)
    command("train", "moons", "--resume")
    assert resumed.given == (Path("runs/moons"),) and train.given[4].seed == 9 and train.given[4].resume
    assert train.given[1:3] == (Path("runs/moons"), "runs/moons/recipe.toml")


def test_an_interrupted_training_ends_with_130(spy, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    spy("motes.runs._run.train_run", (model, None))
    assert command("train", "moons") == 130
    assert "Interrupted after 5 of 5 steps" in capsys.readouterr().err


def test_options_of_sample_reach_the_draw(spy, saved, capsys):
    write = spy("motes.runs._samples.write_samples")
    words = ("-n", "5", "--seed", 7, "--given", "x=0.5..1", "--sampler", "heun", "--steps", 9, "--grid", "uniform")
    assert command("sample", saved, *words) == 0
    request = write.given[1]
    assert request == samples.Request(5, given={"x": (0.5, 1)}, seed=7, how=Sampling("heun", 9, "uniform"))
    command("sample", saved, "--label", "1", "--out", saved / "rows.csv")
    assert write.given[1].label == "1" and f"1,000 rows in {saved / 'rows.csv'}" in capsys.readouterr().out


def test_the_probability_of_a_condition_is_said(spy, saved, capsys):
    spy("motes.runs._samples.write_samples", Evidence(-1.0, (), 4.0, ("it is a guess",)))
    command("sample", saved, "-n", 5, "--given", "x=0.5..1", "-q")
    err = capsys.readouterr().err
    assert "log p(x=0.5..1) = -1.0000 nats: probability 0.3679. The 5 rows are worth 4 independent ones" in err
    assert "warning: it is a guess\n" in err


def test_motes_columns_warns_of_row_numbers(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("number,b\n" + "".join(f"{k},{k % 3}\n" for k in range(60)))
    assert command("columns", tmp_path / "t.csv") == 0
    assert "nearly every row has its own value: 'number'." in capsys.readouterr().err


def test_a_seed_of_the_command_line_is_whole():
    read = lambda text: common.whole(int, [SimpleNamespace(value=text)])
    assert [read("7"), read("1e6")] == [7, 1_000_000]
    for text in ("1.5", "many", "1e30"):
        with pytest.raises(ValueError, match="expected a whole number"):
            read(text)


def test_exact_reaches_the_draw_of_a_table(spy, saved_table):
    write = spy("motes.runs._samples.write_samples")
    command("sample", saved_table, "--exact")
    assert write.given[1].exact


def test_guidance_of_the_command_line():
    how = PointOptions(guidance=2.0, guidance_interval=(0.25, 0.75)).how()
    assert (how.guidance.weight, how.guidance.low, how.guidance.high) == (2.0, 0.25, 0.75)
    with pytest.raises(UsageError, match="--weak and --guidance-interval are about guidance"):
        PointOptions(guidance_interval=(0.25, 0.75))


def test_options_of_impute_and_predict_reach_them(spy, saved_table):
    impute, predict = spy("motes.runs._answers.impute_file", (3, 2)), spy("motes.runs._answers.predict_file", (3, 4))
    command("impute", saved_table, "rows.csv", "--out", saved_table / "o.csv", "--draws", 4, "--seed", 7)
    assert impute.given[1:] == ("rows.csv", saved_table / "o.csv")
    assert (impute.named["draws"], impute.named["seed"]) == (4, 7)
    words = ("--column", "label", "--quantile", 0.1, "--draws", 8, "--seed", 7, "--out", saved_table / "p.csv")
    command("predict", saved_table, "rows.csv", *words)
    assert predict.given[1:3] == ("rows.csv", "label")
    assert {name: predict.named[name] for name in ("quantiles", "draws", "seed")} == {
        "quantiles": [0.1], "draws": 8, "seed": 7,
    }  # fmt: skip


def test_options_of_score_reach_it_and_lost_rows_are_told(spy, saved, saved_table, capsys, model):
    bad = SimpleNamespace(log_prob=np.array([-1.0, -3.0]), error=np.array([0.0, 1.0]))
    score = spy("motes.runs._answers.score_file", bad)
    model.save(saved / "model.safetensors")
    command("score", saved, "moons", "--out", saved / "s.csv", "--label", "1")
    assert score.given[1] == "moons" and score.named == {"label": "1", "orders": 1, "smooth": False}
    out, err = capsys.readouterr()
    assert "mean log-likelihood -2.0000 ± 1.0000 nats per row, 2 rows" in out and "warning: 1 rows are not exact" in err


def test_options_of_score_of_a_table_reach_it(spy, saved_table):
    score = spy("motes.runs._answers.score_file", SimpleNamespace(log_prob=np.zeros(2), error=np.zeros(2)))
    command("score", saved_table, "r.csv", "--out", saved_table / "s.csv", "--orders", 3, "--smooth")
    assert score.named == {"label": None, "orders": 3, "smooth": True}


def test_options_of_evaluate_reach_it(spy, saved_table, capsys):
    found = SimpleNamespace(to_dict=lambda: {"a": 1})
    evaluate = spy("motes.diagnosis._evaluating.evaluate", found)
    page = spy("motes.plots.report.write_page")
    words = ("-n", 50, "--target", "label", "--seed", 7, "--json", "--report", saved_table / "r.html")
    command("evaluate", saved_table, "rows.csv", *words)
    assert evaluate.given[1] == "rows.csv"
    assert {name: evaluate.named[name] for name in ("n", "target", "seed")} == {"n": 50, "target": "label", "seed": 7}
    assert page.given == (found, saved_table / "r.html") and json.loads(capsys.readouterr().out) == {"a": 1}


def test_options_of_diagnose_reach_it(spy, saved, monkeypatch):
    found = SimpleNamespace(to_dict=lambda: {"a": 1})
    diagnose = spy("motes.diagnosis._after.diagnose_model", found)
    keep = spy("motes.runs._plots.keep_diagnosis", [])
    command("diagnose", saved, "moons", "-n", 50, "--seed", 7, "--out", saved / "d", "--t", 0.5, "--style", "light")
    assert diagnose.given[1] == "moons" and (diagnose.named["n"], diagnose.named["seed"]) == (50, 7)
    assert keep.given[2:] == ("moons", saved / "d") and keep.named == {"t": 0.5, "drawing": LIGHT, "seed": 7}


def test_options_of_plot_reach_it(spy, saved, capsys):
    draw = spy("motes.runs._plots.draw_run", [Path("a.png")])
    command("plot", saved, "--style", "light", "--seed", 7, "--out", saved / "p")
    assert draw.given[2] == saved / "p" and draw.named == {
        "drawing": LIGHT, "seed": 7, "home": saved, "video": False,
    }  # fmt: skip
    assert capsys.readouterr().out == "a.png\n"


def test_options_of_ema_reach_it(spy, saved, monkeypatch, capsys):
    compare = spy("motes.diagnosis._ema_lengths.compare_ema_lengths", SimpleNamespace(best=0.1))
    averaged = Spy(SimpleNamespace(save=Spy()))
    monkeypatch.setattr("motes.models._points.PointModel.averaged_over", lambda self, length: averaged(length))
    command("ema", saved, "moons", "--seed", 7, "--out", saved / "e.safetensors")
    assert compare.given[1] == "moons" and compare.named["seed"] == 7 and averaged.given == (0.1,)
    command("ema", saved, "--length", 0.2, "--out", saved / "e.safetensors")
    assert averaged.given == (0.2,) and averaged.gives.save.given == (saved / "e.safetensors",)


def test_exit_codes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for error, code in (
        (UsageError("no"), 2), (motes.errors.DataError("no"), 1), (motes.errors.Terminated("no"), 143),
        (KeyboardInterrupt(), 130), (MemoryError(), 1), (OSError("no"), 1), (ValueError("no"), 1),
    ):  # fmt: skip

        def fail(*given, error=error, **named):
            raise error

        monkeypatch.setattr("motes.runs._run.train_run", fail)
        assert cli._run(["train", "moons"], debug=False) == code, error


def test_a_file_that_is_there_is_replaced_only_where_that_is_asked_for(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("")
    with pytest.raises(UsageError, match="is there already"):
        common.check_out(path, overwrite=False)
    common.check_out(path, overwrite=True)
    for wrong, says in ((tmp_path, "is a folder"), (tmp_path / "no" / "rows.csv", "there is no folder")):
        with pytest.raises(UsageError, match=says):
            common.check_out(wrong, overwrite=True)


def test_options_of_the_other_kind_are_refused(model, table):
    for one, points, tables in ((table, {"--steps": 3}, {}), (model, {}, {"--exact": True})):
        with pytest.raises(UsageError, match="is for models of"):
            common.refuse_others(one, points=points, tables=tables)
    common.refuse_others(table, points={"--steps": None}, tables={"--exact": True})


# --- Python --------------------------------------------------------------------------------------------------------


def test_motes_fit_hands_on_what_it_is_given(spy, model, table):
    of_points, of_table = spy("motes._fitting.fit_points", model), spy("motes._fitting.fit_table", table)
    x, labels = motes.make_labelled_shape("moons", 20, seed=0)
    weights = np.arange(20.0)
    motes.fit(x, "default", labels=labels, weights=weights, seed=7, source="here", verbose=False)
    data = of_points.given[0]
    assert data.points is x and data.labels is labels and data.weights is weights
    assert (of_points.named["seed"], of_points.named["session"].source) == (7, "here")
    started = motes.fit(x, "default", start=motes.Model(model), verbose=False)
    assert of_points.named["seed"] == model.seed == 1 and of_points.named["session"].start is model
    assert started.inner is model
    people = {"x": list(range(20)), "label": ["u", "v"] * 10}
    motes.fit(people, columns={"x": "real"}, weights=weights, seed=7, verbose=False)
    assert of_table.named["columns"] == {"x": "real"} and of_table.named["weights"] is weights
    assert of_table.named["seed"] == 7


def test_motes_fit_warns_of_row_numbers(capsys):
    people = {"number": list(range(60)), "label": ["u", "v", "w"] * 20}
    with untrained():
        motes.fit(people, changes=TINY | {"table.steps": 1}, verbose=False)
    assert "nearly every row has its own value: 'number'." in capsys.readouterr().err.replace("\n", " ")


def test_the_estimator_hands_on_what_it_is_given(spy, table):
    import pandas as pd

    fitted = spy("motes._estimator.fit_table", table)
    rows = pd.DataFrame({"x": [0.5, 1.5, 2.5], "label": ["u", "v", "w"]})
    weights = np.array([1.0, 2.0, 3.0])
    one = motes.DiffusionModel(max_steps=9, columns={"x": "real"}, random_state=7, changes={"table.batch": 8})
    one.fit(rows, sample_weight=weights)
    assert fitted.named["changes"] == {"table.steps": 9, "table.batch": 8}
    assert fitted.named["columns"] == {"x": "real"} and fitted.named["weights"].tolist() == [1, 2, 3]
    assert fitted.named["seed"] == 7 and fitted.named["session"].start is None
    one.partial_fit(rows)
    assert fitted.named["session"].start is table and fitted.named["session"].more
    one.fit(rows)
    assert fitted.named["session"].start is None
    one.set_params(warm_start=True).fit(rows)
    assert fitted.named["session"].start is table and not fitted.named["session"].more


def test_the_estimator_warns_of_row_numbers():
    rows = np.array([[k, k % 3] for k in range(60)], float)
    with untrained(), pytest.warns(UserWarning, match="nearly every row has its own value: 'x'"):
        motes.DiffusionModel(max_steps=1, changes=TINY).fit(rows)


def test_a_model_hands_on_what_it_is_given(table, monkeypatch, spy):
    outer, kind = motes.Model(table), type(table)

    def watch(name, gives):
        found = Spy(gives)
        monkeypatch.setattr(kind, name, lambda self, *given, **named: found(*given, **named))
        return found

    rows = {"x": [0.5], "label": ["u"]}
    drawn = table.sample(2)
    sampled, likelihood = watch("sample", drawn), watch("likelihood", None)
    imputed, predicted = watch("impute", [drawn]), watch("predict", drawn)
    evaluate = spy("motes.diagnosis._evaluating.evaluate")
    outer.sample(2, seed=3, exact=True)
    assert sampled.named["seed"] == 3 and sampled.named["exact"]
    outer.likelihood(rows, orders=2, smooth=True, seed=3)
    assert {name: likelihood.named[name] for name in ("orders", "smooth", "seed")} == {
        "orders": 2, "smooth": True, "seed": 3,
    }  # fmt: skip
    outer.impute(rows, draws=1, seed=3)
    assert imputed.named["seed"] == 3 and imputed.named["draws"] == 1
    outer.predict(rows, "x", quantiles=(0.1,), draws=5, seed=3)
    assert predicted.named == {"quantiles": (0.1,), "draws": 5, "seed": 3}
    outer.evaluate(rows, n=5, target="label", seed=3)
    assert {name: evaluate.named[name] for name in ("n", "target", "seed")} == {"n": 5, "target": "label", "seed": 3}


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_complete_run_is_said_to_be(run, monkeypatch):
    finish = Spy()
    monkeypatch.setattr(checkpoints.Checkpoints, "finish", lambda self: finish())
    run(figures=False)
    assert len(finish.calls) == 1


def test_metrics_name_the_recipe_as_it_was_named(run):
    out, *_ = run(recipe="ddpm", figures=False, changes={"training.steps": 2, "training.batch": 4, "data.rows": 60})
    assert json.loads((out / "metrics.json").read_text())["recipe"] == "ddpm"


def test_several_draws_are_numbered(model, tmp_path):
    from motes.runs._answers import impute_file

    (tmp_path / "t.csv").write_text("x,y\n0.5,\n,0.25\n")
    rows, entries = impute_file(
        model, str(tmp_path / "t.csv"), tmp_path / "o.csv", draws=2, seed=0, reporter=QUIET
    )  # fmt: skip
    lines = (tmp_path / "o.csv").read_text().splitlines()
    assert (rows, entries, lines[0]) == (4, 2, "draw,x,y")
    assert [line.partition(",")[0] for line in lines[1:]] == ["1", "1", "2", "2"]


def test_what_predictions_ignore_is_counted(table, tmp_path, monkeypatch):
    from contextlib import nullcontext

    from motes.runs._answers import predict_file

    (tmp_path / "t.csv").write_text("x,label\n0.5,u\n1.5,v\n")
    parts = [SimpleNamespace(ignored=2), SimpleNamespace(ignored=3)]
    monkeypatch.setattr(type(table), "predictions", lambda self, *given, **named: parts)
    count = predict_file(
        table, str(tmp_path / "t.csv"), "label", nullcontext(lambda part: None), quantiles=(0.5,), draws=1, seed=0,
        reporter=QUIET,
    )  # fmt: skip
    assert count == (2, 5)


def test_a_label_reaches_the_scores(labelled, monkeypatch):
    from motes.runs._answers import score_file

    scored = Spy()
    monkeypatch.setattr(type(labelled), "likelihood", lambda self, *given, **named: scored(*given, **named))
    given = Table(np.ones((3, 1)), ("c",))
    monkeypatch.setattr(
        "motes.runs._answers.rows_to_score", lambda *_: Table(np.zeros((3, 2)), ("x", "y"), given=given)
    )
    score_file(labelled, "moons", QUIET, label="1")
    assert scored.named["label"] == "1" and scored.named["given"] is given.x


def test_progress_says_how_far_the_loss_is_above_the_least(capsys):
    from motes._progress import watching
    from motes.learning._course import Progress

    with watching(Reporter(), least=0.25) as show:
        show(Progress(10, 10, 1.0, 1.0))
    assert "loss 1.0000 (+0.7500)" in capsys.readouterr().err
    with watching(Reporter(), least=0.7) as show:  # a mean over a few steps may be below it
        show(Progress(10, 10, 0.6987, 1.0))
    said = capsys.readouterr().err
    assert "loss 0.6987 (the least possible, within its noise)" in said and "-0" not in said
