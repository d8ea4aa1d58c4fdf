"""Sweeps: each model is that of `motes.fit`, its metrics are those of `evaluate`, and complete models are kept."""

import json
import logging
import multiprocessing
import os
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import jax
import numpy as np
import pandas as pd
import pytest
from scipy.stats import t

import motes
from motes.errors import MotesError, UsageError
from tables import TINY

RATES = [1e-3, 1e-2]
FEW = {
    "training.steps": 20, "training.batch": 32, "training.averages": 0, "network.width": 8, "network.depth": 1,
    "grid.steps": 4,
}  # fmt: skip
POINTS = FEW | {"training.learning_rate": RATES}
TABLE = TINY | {"table.steps": 4, "table.learning_rate": RATES}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    points = pd.DataFrame(motes.make_shape("moons", 200, seed=0), columns=["x", "y"])
    points.to_csv(folder / "points.csv", index=False)
    points.assign(y=np.where(points["y"] > 0, "up", "down")).to_csv(folder / "table.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def done(files):
    """Two learning rates and two seeds."""
    return motes.sweep(files / "points.csv", changes=POINTS, seeds=2, out=files / "done")


def checksums(folder):
    """Of each model in the folder of a sweep."""
    return {path.name: motes.load(path).checksum for path in (folder / "models").iterdir()}


def check_models(found, source, changes):
    """Each model is that of `fit`, to the bit, and its metrics are those of `evaluate`."""
    table = pd.read_parquet(found.folder / "results.parquet")
    (key,) = found.keys
    assert [(one["setting"][key], one["seed"]) for one in found.models] == [(r, s) for s, r in product((0, 1), RATES)]
    for one in found.models:
        alone = motes.fit(source, changes=changes | {key: one["setting"][key]}, seed=one["seed"], verbose=False)
        loaded = motes.load(found.folder / one["model"])
        assert loaded.checksum == alone.checksum
        entries = loaded.evaluate(seed=one["seed"]).entries
        mine = table[(table["seed"] == one["seed"]) & (table[key] == one["setting"][key])][: len(entries)]
        assert [*mine["name"]] == [entry.name for entry in entries]
        for column in ("value", "reference_value"):
            expected = np.array([getattr(entry, column) for entry in entries], float)
            np.testing.assert_allclose(mine[column], expected, rtol=1e-9)
    return table


def test_each_model_is_that_of_fit(done, files):
    table = check_models(done, files / "points.csv", POINTS)
    assert {"sliced_w2", "negative_log_likelihood"} <= {*table["metric"]}


@pytest.mark.slow
def test_each_table_is_that_of_fit(files):
    found = motes.sweep(files / "table.csv", changes=TABLE, seeds=2, out=files / "table")
    table = check_models(found, files / "table.csv", TABLE)
    columns = table[table["metric"] == "columns"]
    mean = columns.groupby([found.keys[0], "seed"])["value"].mean().groupby(found.keys[0]).mean()
    lines = [line.split() for line in str(found).splitlines()]
    assert float(next(line for line in lines if line[:1] == ["columns"])[2]) == pytest.approx(mean[1e-3], rel=1e-3)
    assert {*columns["name"]} == {"x", "y"} and "held-out log p" in str(found)


def test_the_text_has_means_and_intervals_over_seeds(done):
    table = pd.read_parquet(done.folder / "results.parquet")
    lines = [line.split() for line in str(done).splitlines()]
    at = next(k for k, line in enumerate(lines) if line[:1] == ["sliced_w2"])
    for line, rate in zip((lines[at][1:], lines[at + 1]), RATES, strict=True):
        mine = table[(table["metric"] == "sliced_w2") & (table["training.learning_rate"] == rate)]
        mean, half = mine["value"].mean(), t.isf(0.025, 1) * mine["value"].std() / np.sqrt(2)
        found = [float(word.strip("()")) for word in line if word != "to"]
        expected = [rate, mean, max(mean - half, 0), mean + half, mine["reference_value"].mean(), 2]  # a distance
        assert found == pytest.approx(expected, rel=1e-3)
    precision = next(line.split() for line in str(done).splitlines() if line.startswith("precision"))
    assert 0 <= float(precision[3].strip("(")) <= float(precision[5].strip(")")) <= 1
    figure = done.plot("dark")
    assert "mean of 2 seeds, 95 % interval" in [text.get_text() for text in figure.legends[0].get_texts()]
    panels = [ax.get_title(loc="left") for ax in figure.axes]
    assert panels == [*dict.fromkeys(table["metric"])]
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["0.001", "0.01"]
    assert figure.get_suptitle() == "training.learning_rate"
    assert (done.folder / "results.png").stat().st_size > 10_000


def test_numbers_and_seeds_need_no_new_program(done, files, caplog, tmp_path):
    jax.config.update("jax_log_compiles", True)
    try:
        with caplog.at_level(logging.WARNING, logger="jax"):
            changes = FEW | {"training.learning_rate": 5e-3, "training.warmup": [3, 4], "training.steps": 18}
            motes.sweep(files / "points.csv", changes=changes, seeds=1, out=tmp_path / "more")
            assert not [one.message for one in caplog.records if "Compiling" in one.message]
            jax.jit(lambda x: 2 * x + 1)(3.0)
            assert [one.message for one in caplog.records if "Compiling" in one.message]
    finally:
        jax.config.update("jax_log_compiles", False)


@pytest.mark.usefixtures("keyboard")
def test_an_interrupted_sweep_continues(done, files, tmp_path):
    press = lambda now: now.done == 1 and signal.raise_signal(signal.SIGINT)
    call = {"changes": POINTS, "seeds": 2, "out": tmp_path}
    with pytest.raises(KeyboardInterrupt, match=r"[1-3] of 4 models are complete\. Repeat the same call"):
        motes.sweep(files / "points.csv", **call, on_progress=press)
    kept, seen = {path: path.stat().st_mtime_ns for path in tmp_path.glob("models/*/*")}, []
    found = motes.sweep(files / "points.csv", **call, on_progress=lambda now: seen.append(now.done))
    assert seen == list(range(len(kept) // 2, 5)) and len(kept) in (2, 4, 6)
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert checksums(tmp_path) == checksums(done.folder) and not list(tmp_path.glob(".*"))
    assert str(found) == str(done)
    # More values and seeds train only the new models; so does a damaged record.
    record = next(tmp_path.glob("models/*/metrics.json"))
    record.write_text("{")
    more = POINTS | {"training.learning_rate": [*RATES, 3e-2]}
    motes.sweep(files / "points.csv", changes=more, seeds=3, out=tmp_path, on_progress=lambda now: seen.append(now))
    assert [now[:2] for now in seen[-7:]] == [(done, 9) for done in range(3, 10)]
    assert json.loads(record.read_text())["metrics"]


def test_a_default_value_is_the_same_model(done, files, tmp_path):
    shutil.copytree(done.folder, tmp_path / "copy")
    call = {"changes": POINTS | {"training.learning_rate": 1e-3, "training.warmup": [5, 100]}, "seeds": 1}
    seen = []
    found = motes.sweep(
        files / "points.csv", **call, out=tmp_path / "copy", on_progress=lambda now: seen.append(now.done)
    )
    assert seen == [1, 2]  # 100 is the default
    assert [one["setting"]["training.warmup"] for one in found.models] == [5, 100]


def test_other_rows_are_other_models(done, files, tmp_path):
    other = tmp_path / "points.csv"
    other.write_text((files / "points.csv").read_text() + "0.5,0.25\n")
    seen = []
    with pytest.raises(UsageError, match="enough"):
        motes.sweep(other, changes=POINTS, seeds=2, out=done.folder, on_progress=lambda now: stop(now, seen))
    assert seen == [0]


def stop(now, seen):
    seen.append(now.done)
    raise UsageError("enough")


def test_a_diverged_training_is_a_result(files, motes_command):
    words = [f"--set={key}={value}" for key, value in FEW.items()]
    out = motes_command.out(
        "sweep", files / "points.csv", *words, "--set", "training.learning_rate=1e-2,1e3", "--seeds", 1, "-q"
    )
    assert "training.learning_rate = 1000.0, seed = 0: the training diverged: the loss was" in out
    assert "results in runs/points-sweep" in out and "sliced_w2" in out
    table = pd.read_parquet("runs/points-sweep/results.parquet")
    failed = table[table["training.learning_rate"] == 1e3]
    assert len(failed) == 1 and "diverged" in failed["error"].item() and failed["metric"].isna().all()
    assert motes.load(f"runs/points-sweep/{failed['model'].item()}").columns == ("x", "y")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("moons --set training.stepz=3", "unknown key 'stepz' in [training]. Did you mean 'steps'?"),
        ("moons --set training.steps=5,x", "training.steps = 'x'; expected a whole number"),
        ("moons --set loss.kind=edm,foo", "unknown loss.kind 'foo'"),
        ("moons --set training.steps=", "got training.steps without values"),
        ("moons --set training.steps", "expected section.key=value"),
        ("moons --set training.steps=5,5", "two settings of the same recipe: training.steps = 5; and training.steps"),
        ("moons --set table.steps=5,6", "Use training.steps instead"),
        ("penguins --set columns.age=integer,real", "unknown column 'age'"),
        ("nowhere.csv", "there is no file 'nowhere.csv'"),
        ("moon", "Did you mean 'moons'?"),
        ("moons --seeds 0", "expected a whole number, at least 1"),
        ("moons --workers 0", "at least 1"),
    ],
)
def test_wrong_words_are_refused_before_anything_is_trained(words, says, motes_command, tmp_path):
    assert says in motes_command.error("sweep", *words.split())
    assert not list(tmp_path.iterdir())


def test_rows_in_memory_are_refused():
    with pytest.raises(UsageError, match=r"source = .*; expected a text or a path"):
        motes.sweep({"age": [1, 2]}, out="never")


def test_errors_of_one_model_name_it(files, tmp_path):
    source = tmp_path / "points.csv"
    source.write_text((files / "points.csv").read_text())
    remove = lambda now: source.unlink(missing_ok=True)
    with pytest.raises(MotesError, match=r"training.steps = 20, .*seed = 0: there is no file .*Repeat the same call"):
        motes.sweep(source, changes=FEW, seeds=1, out=tmp_path / "out", on_progress=remove)


@pytest.mark.slow
def test_processes_train_the_same_models_also_after_one_was_killed(done, files, motes_command, tmp_path):
    def kill(now):
        for child in multiprocessing.active_children() if now.done else ():
            os.kill(child.pid, signal.SIGKILL)

    pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with pool, pytest.raises(MotesError, match=r"process .* [1-3] of 4 models are complete\. Repeat"):
        motes.sweep(
            files / "points.csv", changes=POINTS, seeds=2, out=tmp_path / "two", executor=pool, on_progress=kill
        )
    words = [f"--set={key}={value}" for key, value in FEW.items()]
    rates = "--set", "training.learning_rate=1e-3,1e-2"
    call = ("sweep", files / "points.csv", *words, *rates, "--seeds", 2, "--out", "two", "--workers", 2, "-q")
    out = motes_command.out(*call)
    assert checksums(tmp_path / "two") == checksums(done.folder)
    assert out.split("\n\nresults in")[0] == str(done)


@pytest.mark.slow
def test_posteriors_are_swept_too(tmp_path):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"theta": rng.normal(size=600)})
    rows.assign(x=rows["theta"] + 0.3 * rng.normal(size=600)).to_csv(tmp_path / "s.csv", index=False)
    changes = FEW | {"data.given": [["x"]], "network.members": 1, "training.learning_rate": RATES}
    found = motes.sweep(tmp_path / "s.csv", "posterior", changes=changes, seeds=1, out=tmp_path / "out")
    assert "negative_log_likelihood" in str(found) and "width of theta" in str(found)
