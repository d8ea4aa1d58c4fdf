"""A training that is ended anywhere and gone on with, as a run or as a fit, ends in the same bits."""

import json
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SMALL, unquoted
from tests.states import Ended, Memory, Told, bits, learnable
from tests.tables import TINY, kept_network

import motes
from fits import fit_points, fit_table
from motes import DiffusionModel
from motes.cli.answers import SAMPLES
from motes.cli.common import Options
from motes.cli.folders import Checkpoints, RunTraining, checkpoints_in, keeping_checkpoints, locked, seed_of
from motes.cli.run import train_run
from motes.errors import ModelFileError, TrainingError, UsageError
from motes.evaluation.models import LEAST_LOSS_PAIRS
from motes.interrupts import interruptible
from motes.points.fitting import PointData
from motes.recipes import load_recipe
from motes.training.averages import weights_of
from motes.training.batches import Batches
from motes.training.checkpoints import FitSession, State, read_checkpoint, write_checkpoint
from motes.training.programs import cores

pytestmark = pytest.mark.brief

MOTES = [sys.executable, "-m", "motes"]


def ended_and_resumed(fit, folder, ends):
    """`fit(keeper)`, ended after each of some numbers of steps and gone on with each time."""
    state = None
    for end in ends:
        keeper = Memory(folder, state, end)
        with pytest.raises(Ended):
            fit(keeper)
        state = keeper.kept
    return fit(Memory(folder, state))


# --- to the bit -------------------------------------------------------------------------------------------------------

POINTS = SMALL | {"training.averages": 8}
OF_POINTS = {
    "plain": ({}, {}),
    "weights": ({}, {"weights": np.random.default_rng(0).random(300)}),
    "validation": ({"training.validation": 0.3, "training.check_every": 10, "training.patience": 9}, {}),
    "a partial batch": ({"training.last_batch": "partial"}, {}),
    "labels": ({}, {"labels": np.arange(300) % 3}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_POINTS)
def test_points_are_learned_to_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.setattr("motes.training.loop.PATIENCE", 1e-9)  # a step a call
    changes, options = OF_POINTS[name]
    x = motes.make_shape("moons", 300, seed=3)
    fit = lambda keeper: fit_points(
        PointData(x, **options), changes=POINTS | changes, seed=1, session=FitSession(keeper)
    )
    ends = sorted(random.Random(name).sample(range(1, 50), 3))
    whole, again = fit(None), ended_and_resumed(fit, tmp_path, ends)
    for one in ("losses", "averages.steps", "averages.weights"):
        first, second = (np.asarray(_at(model.training, one)) for model in (whole, again))
        np.testing.assert_array_equal(first, second)
    assert [shot.step for shot in whole.training.snapshots] == [shot.step for shot in again.training.snapshots] != []
    everything = lambda trained: (trained.averaged, trained.last, trained.looks, *map(tuple, trained.snapshots))
    assert bits(everything(whole.training)) == bits(everything(again.training))
    assert again.training.steps == whole.training.steps and not again.training.interrupted


def _at(value, path):
    for name in path.split("."):
        value = getattr(value, name)
    return value


OF_TABLES = {
    "members": (120, {"table.averages": 7}, {}),
    "one network": (2400, {"table.batch": 128}, {}),
    "weights": (120, {}, {"weights": 1 + np.random.default_rng(1).random(120)}),  # as many codes as without them
    "an early stop": (120, {"table.check_every": 25, "table.patience": 1, "table.learning_rate": 0.6}, {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_TABLES)
def test_tables_are_learned_to_the_same_bits(name, tmp_path, monkeypatch):
    n, changes, options = OF_TABLES[name]
    changes = TINY | {"table.steps": 60, "table.learning_rate": 0.05} | changes
    fit = lambda keeper: fit_table(learnable(n), changes=changes, seed=1, session=FitSession(keeper), **options)
    whole = fit(None)
    assert whole.training.best > 0 or name == "an early stop"
    monkeypatch.setattr("motes.training.loop.PATIENCE", 1e-9)  # a step a call, after the first ones
    last = len(whole.training.losses)
    again = ended_and_resumed(fit, tmp_path, sorted(random.Random(name).sample(range(1, last), 2)))
    assert bits(whole.models) == bits(again.models)
    np.testing.assert_array_equal(whole.training.losses, again.training.losses)
    np.testing.assert_array_equal(whole.training.looks, again.training.looks)
    if name == "members":
        assert np.unique(again.training.averages.steps).tolist() == [*range(9, 60, 9), 60]
        np.testing.assert_array_equal(whole.training.averages.weights, again.training.averages.weights)
    assert whole.training.best == again.training.best
    assert (last < 60) == (name == "an early stop")


FIT = """
import hashlib, sys
import jax
import numpy as np
import motes

rng = np.random.default_rng(0)
x = rng.normal(size=300)
rows = {"a": x.round(3), "b": (x + rng.normal(size=300)).round(3), "c": rng.choice(["u", "v", "w"], 300)}
changes = {"table.steps": 2, "table.components": 1, "table.width": 16, "table.depth": 1}
model = motes.fit(rows, changes=changes, verbose=False)
print(hashlib.sha256(b"".join(np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(model.orders.bias))).hexdigest())
"""


@pytest.mark.slow
@pytest.mark.skipif(cores() < 2, reason="needs two processors")
def test_biases_have_the_same_bits_on_any_number_of_processors(environment):
    every = sorted(os.sched_getaffinity(0))
    fit = lambda number: (
        subprocess.run(
            [sys.executable, "-c", FIT],
            preexec_fn=lambda: os.sched_setaffinity(0, every[:number]),
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        ).stdout
    )
    assert fit(1) == fit(2)


@pytest.mark.parametrize("size", [3, 10, 25])
def test_batches_go_on_from_any_place(size):
    make = lambda: Batches(np.random.default_rng(4), lambda rng: rng.permutation(10), size)
    whole = make()
    every = [next(whole).tolist() for _ in range(30)]
    for place in range(30):
        before, after = make(), make()
        for _ in range(place):
            next(before)
        kept = before.state
        next(before)  # which must not reach what was kept
        after.go_on(State(kept.arrays, json.loads(json.dumps(kept.numbers))))
        np.testing.assert_array_equal(after.state.arrays["left"], kept.arrays["left"])
        assert [next(after).tolist() for _ in range(30 - place)] == every[place:]


def test_more_steps_go_on_with_what_was_learned(tmp_path):
    x = motes.make_shape("moons", 300, seed=3)
    still = {"training.learning_rate": 1e-12, "training.steps": 80}
    first = Memory(tmp_path)
    fit_points(x, changes=POINTS, seed=1, session=FitSession(first))
    assert first.saved[-1] == 60
    state = first.kept
    more = fit_points(x, changes=POINTS | {"training.steps": 80}, seed=1, session=FitSession(Memory(tmp_path, state)))
    assert more.training.steps == 80 and more.training.averages.steps.max() == 80
    # The learning rate is that of the new number of steps: nothing moves where that is next to nothing.
    kept = fit_points(x, changes=POINTS | still, seed=1, session=FitSession(Memory(tmp_path, state)))
    np.testing.assert_allclose(weights_of(kept.training.last), state.arrays["state/last"][0], atol=1e-6)
    assert np.abs(weights_of(more.training.last) - state.arrays["state/last"][0]).max() > 1e-3


@pytest.mark.slow
def test_the_state_of_another_training_is_refused(tmp_path):
    x, keeper = motes.make_shape("moons", 300, seed=3), Memory(tmp_path)
    fit_points(x, changes=POINTS, seed=1, session=FitSession(keeper))
    with pytest.raises(ModelFileError, match=r"state.*last: got float32 .*expected float32"):
        fit_points(x, changes=POINTS | {"network.width": 8}, seed=1, session=FitSession(Memory(tmp_path, keeper.kept)))


# --- signals ----------------------------------------------------------------------------------------------------------


def test_a_handler_of_sigterm_is_called_once_the_steps_are_done():
    called = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
    try:
        with interruptible() as stop:
            assert not stop
            signal.raise_signal(signal.SIGTERM)
            assert stop and not called
        assert called == [signal.SIGTERM]
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with interruptible():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # it still ends a process that has no handler
    finally:
        signal.signal(signal.SIGTERM, before)


# --- files ------------------------------------------------------------------------------------------------------------


def state_of(step):
    return State({"a": np.full(3, step)}, {"course/step": step, "course/steps": 100})


def checkpoints(out, warnings=None, every=0.0):
    told = [] if warnings is None else warnings
    return Checkpoints(out, {"recipe": "{}", "seed": "0"}, None, every=every, warn=told.append)


def test_the_last_two_are_kept_and_the_last_one_of_a_complete_run(tmp_path):
    keeper = checkpoints(tmp_path)
    for step in (8, 16, 1000):
        keeper.save(step, state_of(step))
    assert [path.name for path in checkpoints_in(tmp_path)] == ["000000001000.safetensors", "000000000016.safetensors"]
    keeper.finish()
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000000001000.safetensors"]


def test_checkpoints_take_at_most_two_per_cent_of_the_time(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("motes.cli.folders.time.perf_counter", lambda: now[0])
    keeper = checkpoints(tmp_path, every=30.0)
    now[0] = 129.0
    assert not keeper.due()
    now[0] = 130.0
    assert keeper.due()
    monkeypatch.setattr("motes.cli.folders.write_checkpoint", lambda *some: now.__setitem__(0, now[0] + 2.0))
    keeper.save(8, state_of(8))  # takes two seconds, which are two per cent of a hundred
    now[0] = 132.0 + 99.0
    assert not keeper.due()
    now[0] = 132.0 + 100.0
    assert keeper.due()


@pytest.mark.parametrize(
    "call", ["os.open", "os.fsync", "os.replace", "pathlib.Path.write_bytes", "pathlib.Path.mkdir"]
)
def test_a_write_that_fails_leaves_the_last_state_whole_and_the_training_goes_on(call, tmp_path, monkeypatch):
    warnings = []
    keeper = checkpoints(tmp_path, warnings)
    keeper.save(8, state_of(8))

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        keeper.save(16, state_of(16))
    assert len(warnings) == 1
    assert "no checkpoint of step 16: No space left" in warnings[0] and "the last one is from step 8" in warnings[0]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["000000000008.safetensors"]
    assert read_checkpoint(checkpoints_in(tmp_path)[0])[0]["a"].tolist() == [8] * 3
    keeper.save(24, state_of(24))
    assert len(warnings) == 1 and len(checkpoints_in(tmp_path)) == 2


def test_waiting_for_room_ends_with_ctrl_c_and_is_for_the_first_checkpoint_alone(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setattr("motes.cli.folders.RETRY", 0.0)
    keeper = checkpoints(tmp_path, warnings)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        waits = iter([True, True, False])
        keeper.save(8, state_of(8), lambda: next(waits))
        assert len(warnings) == 2 and next(waits, None) is None and not checkpoints_in(tmp_path)
    keeper.save(8, state_of(8))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        keeper.save(16, state_of(16), lambda: True)
    assert len(warnings) == 3 and "the last one is from step 8" in warnings[-1]


def test_a_part_of_an_array_is_written_as_it_is(tmp_path):
    whole = np.arange(24.0).reshape(4, 6)
    parts = {"columns": whole[:, 1:3], "turned": whole.T, "number": np.float64(3)}
    write_checkpoint(tmp_path / "a.safetensors", parts, {})
    found, _ = read_checkpoint(tmp_path / "a.safetensors")
    assert all(np.array_equal(found[name], part) and found[name].shape == part.shape for name, part in parts.items())


def test_files_and_their_folder_are_flushed_before_and_after_the_rename(tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def flushed(handle):
        calls.append("folder" if Path(f"/proc/self/fd/{handle}").resolve().is_dir() else "file")
        fsync(handle)

    def renamed(*names):
        calls.append("rename")
        replace(*names)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(os, "replace", renamed)
    checkpoints(tmp_path).save(8, state_of(8))
    assert calls == ["file", "rename", "folder"]


def test_a_folder_has_one_training_at_a_time_and_says_whose(tmp_path):
    code = (
        "import sys, pathlib; from motes.cli.folders import locked\n"
        "with locked(pathlib.Path('.'), print):\n    print('locked', flush=True)\n    sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, **pipes) as other:
        assert other.stdout.readline() == "locked\n"
        with (
            pytest.raises(UsageError, match=rf"in use: process {other.pid} is training there.*--out"),
            locked(tmp_path, print),
        ):
            pass
        other.kill()
    with locked(tmp_path, print):  # the system has given it free
        assert (tmp_path / ".lock").read_text() == str(os.getpid())
    assert not list(tmp_path.iterdir())


# --- whole runs -------------------------------------------------------------------------------------------------------

RUN = {name: value for name, value in SMALL.items() if name != "training.steps"} | {"data.rows": 400}


def run(out, steps=60, reporter=None, samples=200, **options):
    options = {"figures": False, "seed": 1} | options
    recipe = out / "recipe.toml" if options.get("resume") else "default"
    changes, reporter = RUN | {"training.steps": steps}, reporter or Told(quiet=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motes.cli.run.SAMPLES", samples)
        return train_run("moons", out, recipe, changes, Options(**options), reporter)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A complete run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    run(out)
    return out


@pytest.fixture
def cut(whole, tmp_path, monkeypatch):
    """The same run, cut short after some steps."""
    out = tmp_path / "cut"

    def save(keeper, step, state):
        kept(keeper, step, state)
        if step >= 30:
            raise Ended

    kept = Checkpoints.save
    with monkeypatch.context() as patch:
        patch.setattr("motes.training.loop.PATIENCE", 1e-9)
        patch.setattr(Checkpoints, "due", lambda keeper: True)
        patch.setattr(Checkpoints, "save", save)
        with pytest.raises(Ended):
            run(out)
    return out


def same_files(a, b, *names):
    """To the bit; but the texts of a safetensors file have no order."""
    for name in names:
        one, other = a / name, b / name
        if one.suffix == ".safetensors":
            (first, about), (second, also) = read_checkpoint(one), read_checkpoint(other)
            assert about == also and first.keys() == second.keys()
            assert all(first[key].tobytes() == second[key].tobytes() for key in first), name
        else:
            assert one.read_bytes() == other.read_bytes(), name


def same_results(a, b):
    same_files(a, b, "model.safetensors", "averages.safetensors", "samples.csv", "history.jsonl")
    first, second = (json.loads((out / "metrics.json").read_text()) for out in (a, b))
    assert first | {"train_seconds": 0} == second | {"train_seconds": 0}


def test_how_a_run_is_carried_out_is_checked_in_python_and_on_the_command_line(motes_command):
    with pytest.raises(UsageError, match="got resume and overwrite; expected one of them"):
        Options(resume=True, overwrite=True)
    assert "expected one of them" in motes_command.error("train", "moons", "--resume", "--overwrite")
    negative = motes_command.error("train", "moons", "--checkpoint-every=-1")
    assert "--checkpoint-every. Must be >= 0" in unquoted(negative)


@pytest.mark.slow
def test_a_run_that_was_cut_short_goes_on(whole, cut):
    assert {path.name for path in cut.iterdir()} == {"recipe.toml", "checkpoints"}
    assert [int(path.stem) for path in checkpoints_in(cut)] == [30, 29] and seed_of(cut) == 1
    with pytest.raises(UsageError, match=r"interrupted after 30 steps.*--resume.*--overwrite"):
        run(cut)
    run(cut, resume=True)
    same_results(whole, cut)
    assert [int(path.stem) for path in checkpoints_in(cut)] == [60]


@pytest.mark.slow
def test_a_damaged_checkpoint_gives_way_to_the_one_before(whole, cut):
    newest, before = checkpoints_in(cut)
    torn = newest.read_bytes()[:-9]
    newest.write_bytes(torn)
    (cut / "checkpoints" / ".000000000040.safetensors.0123abcd.safetensors").write_bytes(
        b"left by a process that was killed"
    )
    reporter = Told(quiet=True)
    run(cut, resume=True, reporter=reporter)
    assert sum("damaged" in message and "before it" in message for message in reporter.warnings) == 1
    same_results(whole, cut)
    kept = {path.name: path for path in (cut / "checkpoints").iterdir()}
    assert set(kept) == {"000000000060.safetensors", f"{newest.stem}.damaged"}
    assert kept[f"{newest.stem}.damaged"].read_bytes() == torn  # what cannot be read is not deleted
    (before,) = checkpoints_in(cut)
    before.write_bytes(b"torn")
    with pytest.raises(UsageError, match=r"all checkpoints in .* are damaged"):
        run(cut, resume=True)


@pytest.mark.slow
def test_a_complete_run_goes_on_with_more_steps_alone(whole, cut):
    run(cut, resume=True)
    with pytest.raises(UsageError, match=r"complete after 60 steps; nothing is left to do.*training.steps=120"):
        run(cut, resume=True)
    with pytest.raises(UsageError, match=r"training.steps = 50; .* has already done 60"):
        run(cut, steps=50, resume=True)
    same_results(whole, cut)  # a refusal takes nothing away
    model, _ = run(cut, steps=90, resume=True)
    metrics = json.loads((cut / "metrics.json").read_text())
    assert model.training.steps == metrics["steps"] == 90 and metrics["recipe"] == "default"
    assert load_recipe(cut / "recipe.toml").training.steps == 90
    first = np.array([json.loads(line)["loss"] for line in (whole / "history.jsonl").read_text().splitlines()])
    assert len(first) == 60
    np.testing.assert_array_equal(model.training.losses[:60].astype(float).round(3), first.round(3))


@pytest.mark.slow
def test_what_is_gone_on_with_is_the_same_training(cut, tmp_path):
    with pytest.raises(UsageError, match=r"rows of 'circles' are not the training rows"):
        train_run("circles", cut, cut / "recipe.toml", {}, Options(resume=True, seed=1), Told(quiet=True))
    with pytest.raises(UsageError, match="there is no checkpoint in"):
        train_run("moons", tmp_path / "nowhere", "default", RUN, Options(resume=True), Told(quiet=True))
    assert not (tmp_path / "nowhere").exists()
    run(cut, overwrite=True)
    assert [int(path.stem) for path in checkpoints_in(cut)] == [60]


def test_a_training_that_breaks_down_leaves_no_checkpoint(tmp_path):
    training = RunTraining("moons", "default", load_recipe("default", RUN), 0, "")

    def broken():
        with keeping_checkpoints(tmp_path / "run", training, Options(), Told(quiet=True)) as keeper:
            keeper.save(8, state_of(8))
            raise TrainingError("the loss was not finite")

    with pytest.raises(TrainingError):
        broken()
    assert not list((tmp_path / "run").iterdir())


# --- real signals to real processes -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def started(environment):
    """`started(folder, *words)`: the command line in a process of its own."""

    def start(folder, *words, source="moons"):
        wakeful = lambda: [signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)]
        return subprocess.Popen(
            [*MOTES, "train", source, "--out", "run", "--no-figures", *words],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=wakeful,
        )  # fmt: skip

    return start


def under_way(process):
    """Wait for the first line of progress."""
    assert any(line.startswith("training: ") for line in iter(process.stderr.readline, ""))


LONG = RUN | {"training.steps": 30_000}


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A complete run of many steps, as a process of its own takes them."""
    out = tmp_path_factory.mktemp("runs") / "long"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motes.training.programs.LEVEL", 1)
        patch.setattr("motes.evaluation.models.LEAST_LOSS_PAIRS", LEAST_LOSS_PAIRS)
        run(out, steps=30_000, samples=SAMPLES)
    return out


@pytest.mark.slow
@pytest.mark.long(but=["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_a_process_that_is_ended_at_a_random_moment_goes_on(name, long, started, tmp_path):
    out, number = tmp_path / "run", signal.Signals[name]
    words = [f"--set={key}={value}" for key, value in LONG.items()]
    process = started(tmp_path, *words, "--seed", "1", "--checkpoint-every", "0")
    under_way(process)
    time.sleep(0.05 + 0.5 * random.Random(int(number)).random())
    process.send_signal(number)
    sent = time.perf_counter()
    message, err = process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in err and message == ""
    if number != signal.SIGKILL:
        assert time.perf_counter() - sent < 5 and "--resume" in err
    assert (out / "model.safetensors").exists() == (number == signal.SIGINT)
    if number == signal.SIGINT:
        last = json.loads((out / "history.jsonl").read_text().splitlines()[-1])["step"]
        assert f"Interrupted after {last:,} of 30,000" in err and motes.load(out).sample(5).shape == (5, 2)
    assert checkpoints_in(out) and not (out / "metrics.json").exists()
    process = started(tmp_path, "--resume")
    message, err = process.communicate(timeout=120)
    assert process.returncode == 0 and "results in run" in message and "resuming after" in err
    same_results(out, long)


@pytest.mark.slow
def test_a_second_ctrl_c_ends_at_once_and_a_second_process_is_refused(started, tmp_path):
    process = started(tmp_path, *(f"--set={name}={value}" for name, value in (RUN | {"training.steps": 10**8}).items()))
    under_way(process)
    second = started(tmp_path, "--overwrite")
    _, err = second.communicate(timeout=60)
    assert second.returncode == 2 and f"in use: process {process.pid} is training there" in err
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in err


# --- Ctrl-C during a training in Python -------------------------------------------------------------------------------


def press(now):
    if now.done:
        os.kill(os.getpid(), signal.SIGINT)


ENDLESS = {
    "points": (motes.make_shape("moons", 200), SMALL | {"training.steps": 10**8}),
    "a shape": ("moons", SMALL | {"training.steps": 10**8}),
    "a table": (
        {"a": ["x", "y", "y"] * 20, "b": ["u", "u", "v", "u"] * 15},
        TINY | {"table.steps": 10**8, "table.patience": 10**6},
    ),
}


@pytest.mark.slow(but=["points"])
@pytest.mark.usefixtures("keyboard")
@pytest.mark.parametrize("kind", ENDLESS)
def test_ctrl_c_keeps_what_was_learned_and_warns_where_fit_was_called(kind):
    rows, changes = ENDLESS[kind]
    with pytest.warns(UserWarning, match=r"^interrupted after \d+ steps of training; the model is what was") as found:
        model = motes.fit(rows, changes=changes, verbose=False, on_progress=press)
    assert found[0].filename == __file__ and model.training.interrupted and len(model.training.losses) >= 1
    drawn = model.sample(3)
    assert len(drawn["a"] if kind == "a table" else drawn) == 3


@pytest.mark.usefixtures("keyboard")
def test_ctrl_c_after_the_last_step_is_not_forgotten():
    with pytest.warns(UserWarning, match="^interrupted after 2 steps of training"):
        motes.fit(
            X,
            changes=SMALL | {"training.steps": 2},
            verbose=False,
            on_progress=lambda now: press(now) if now.done == 2 else None,
        )


@pytest.mark.slow
@pytest.mark.usefixtures("keyboard")
def test_ctrl_c_before_the_first_step_is_a_keyboard_interrupt():
    rows, changes = ENDLESS["a table"]
    with pytest.raises(KeyboardInterrupt):
        motes.fit(rows, changes=changes, verbose=False, on_progress=lambda now: os.kill(os.getpid(), signal.SIGINT))


# --- a fit that goes on from a model is one training with the fit before it -------------------------------------------


FLAT = SMALL | {"training.decay": "constant", "training.warmup": 10, "training.averages": 8}
FEW = TINY | {"table.learning_rate": 0.02, "table.ema": 0.9}
STILL = {"table.learning_rate": 1e-12}
X = motes.make_shape("moons", 300, seed=3)


def points(steps, changes=FLAT, x=X, **options):
    return motes.fit(x, changes=changes | {"training.steps": steps}, verbose=False, **options)


def both(trained):
    """The last weights and their average."""
    return weights_of(trained.last), weights_of(trained.averaged)


ROWS = learnable(120)


def estimator(steps, **options):
    return DiffusionModel(max_steps=steps, **{"changes": FEW, "random_state": 1} | options)


# --- points -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def twenty():
    return points(20, seed=1)


@pytest.mark.slow
def test_points_in_two_fits_are_those_of_one(twenty):
    whole, again = points(40, seed=1).training, points(40, start=twenty).training  # with the seed of the start
    assert bits(both(whole)) == bits(both(again))
    np.testing.assert_array_equal(whole.losses, again.losses)
    np.testing.assert_array_equal(whole.losses[:20], twenty.training.losses)
    # Averages of any length are of the whole training; their stores fall on other steps.
    assert again.averages.steps.max() == 40
    np.testing.assert_array_equal(whole.averages.over(0.1), again.averages.over(0.1))


@pytest.mark.slow
def test_validation_rows_go_on_too():
    changes = FLAT | {"training.validation": 0.3, "training.check_every": 10}
    whole, first = points(40, changes, seed=2), points(20, changes, seed=2)
    again = points(40, changes, start=first)
    assert bits(both(whole.training)) == bits(both(again.training))
    np.testing.assert_array_equal(whole.training.looks, again.training.looks)


@pytest.mark.slow
def test_points_with_a_falling_rate_go_on_as_a_run_does(tmp_path):
    changes = SMALL | {"training.steps": 20, "training.warmup": 5}
    keeper = Memory(tmp_path)
    first = fit_points(X, changes=changes, seed=1, session=FitSession(keeper))
    more = changes | {"training.steps": 40}
    resumed = fit_points(X, changes=more, seed=1, session=FitSession(Memory(tmp_path, keeper.kept)))
    again = fit_points(X, changes=more, seed=1, session=FitSession(start=first))
    assert bits(both(resumed.training)) == bits(both(again.training))
    np.testing.assert_array_equal(resumed.training.averages.weights, again.training.averages.weights)


def test_other_points_keep_the_optimiser_and_the_averages(twenty):
    still = FLAT | {"training.learning_rate": 1e-12}
    on = points(5, still, motes.make_shape("moons", 200, seed=4), start=twenty)
    (last, average), (last_on, average_on) = both(twenty.training), both(on.training)
    np.testing.assert_allclose(last_on, last, atol=1e-6)
    np.testing.assert_allclose(average_on, last + 0.8**5 * (average - last), atol=1e-6)
    assert on.training.steps == 25 and on.training.averages.steps.max() == 25
    np.testing.assert_array_equal(on.training.losses[:20], twenty.training.losses)
    before, after = (one.training.state.arrays for one in (twenty, on))
    name = "state/optimiser[1].moments[0].left"  # SOAP's mean of G G^T, which no gradient makes smaller by more
    kept, grown = before[name][0].trace(), after[name][0].trace()
    assert grown >= 0.95**5 * kept * (1 - 1e-5) and kept > 0
    counts = [after[name] for name in after if name.startswith("state/optimiser") and name.endswith(".count")]
    assert [count.tolist() for count in counts] == [[25], [25]]


def test_the_best_weights_for_other_points_may_be_those_before():
    changes = FLAT | {"training.validation": 0.3, "training.check_every": 10}
    first = points(20, changes, seed=2)
    with pytest.raises(TrainingError, match="the training diverged") as caught:
        points(20, changes | {"training.learning_rate": 10.0, "training.ema": 0.0}, start=first)
    kept = caught.value.result.training
    assert kept.best in (first.training.best, 20)
    assert kept.looks[:2, 0].tolist() == [first.training.best, 20]


@pytest.mark.slow
def test_other_losses_begin_from_the_weights_alone(twenty):
    for changes in ({"training.averages": 0}, {"times.kind": "uniform"}, {"training.optimiser": "adam"}):
        on = points(3, FLAT | {"training.learning_rate": 1e-12} | changes, start=twenty)
        assert on.training.steps == 3
        np.testing.assert_allclose(weights_of(on.training.last), weights_of(twenty.denoiser), atol=1e-6)
    exact = twenty.with_denoiser(points(5, seed=3).denoiser)  # whose weights are not those of the training
    np.testing.assert_allclose(
        weights_of(points(3, FLAT | {"training.learning_rate": 1e-12}, start=exact).training.last),
        weights_of(exact.denoiser),
        atol=1e-6,
    )


def test_a_complete_training_of_points_is_refused(twenty):
    for steps in (20, 15):
        message = rf"got training.steps = {steps}, .* complete after 20. Set more steps, such as training.steps = 40"
        with pytest.raises(UsageError, match=message):
            points(steps, start=twenty)


def test_a_loaded_model_of_points_has_its_weights_alone(twenty, tmp_path):
    twenty.save(tmp_path / "m.safetensors")
    loaded = motes.load(tmp_path / "m.safetensors")
    on = points(3, FLAT | {"training.learning_rate": 1e-12}, start=loaded)
    assert on.training.steps == 3 and on.seed == 1
    np.testing.assert_allclose(weights_of(on.denoiser), weights_of(twenty.denoiser), atol=1e-6)


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def first():
    return estimator(20).fit(ROWS)


@pytest.mark.slow
def test_tables_go_on_as_a_run_does(tmp_path):
    """The learning rate of a table falls over all steps, so that two fits are not one; but they are a run resumed."""
    changes = FEW | {"table.steps": 20}
    keeper = Memory(tmp_path)
    fit_table(ROWS, changes=changes, seed=1, session=FitSession(keeper))
    session = FitSession(Memory(tmp_path, keeper.kept))
    resumed = fit_table(ROWS, changes=changes | {"table.steps": 40}, seed=1, session=session)
    model = estimator(20, warm_start=True).fit(ROWS)
    model.set_params(max_steps=40).fit(ROWS)
    again = model.model_
    assert bits(again.models) == bits(resumed.models) and bits(again.orders.bias) == bits(resumed.orders.bias)
    np.testing.assert_array_equal(model.history_, resumed.training.losses)
    np.testing.assert_array_equal(again.training.looks, resumed.training.looks)
    assert model.n_iter_ == 40
    with pytest.raises(
        UsageError, match=r"table.steps = 40, .* complete after 40. Set more steps, such as table.steps = 80"
    ):
        model.fit(ROWS)


@pytest.mark.slow
def test_more_rows_keep_the_optimiser_and_the_averages(first):
    start = first.model_.training.state
    more = DiffusionModel(max_steps=20, changes=FEW, random_state=1).fit(ROWS)
    more.set_params(max_steps=5, changes=FEW | STILL).partial_fit(learnable(90, 7))
    assert more.n_iter_ == 25 and len(more.history_) == 25
    np.testing.assert_array_equal(more.history_[:20], first.history_)
    state = more.model_.training.state
    before, after = start.arrays, state.arrays
    decay = np.prod([min(0.9, (1 + step) / (10 + step)) for step in range(20, 25)])
    last, average = (before[f"state/{which}"] for which in ("last", "average"))
    np.testing.assert_allclose(after["state/last"], last, atol=1e-6)
    np.testing.assert_allclose(after["state/average"], last + decay * (average - last), atol=1e-6)
    (name,) = (name for name in before if name.startswith("state/") and name.endswith(".nu"))
    assert (after[name] >= 0.99**5 * before[name] * (1 - 1e-5)).all() and before[name].max() > 0
    counts = [one for name, one in after.items() if name.startswith("state/optimiser") and name.endswith(".count")]
    assert counts and all((count == 25).all() for count in counts)
    more.set_params(max_steps=5).partial_fit(learnable(90, 7))  # the same rows again: still steps more
    assert more.n_iter_ == 30


@pytest.mark.slow
def test_files_pickles_and_clones_have_no_state(first, tmp_path):
    from sklearn.base import clone

    assert not hasattr(clone(first), "model_")
    first.save(tmp_path / "m.safetensors")
    again = DiffusionModel.load(tmp_path / "m.safetensors")
    copy = pickle.loads(pickle.dumps(first))
    for one in (again, copy):
        assert one.model_.training is None
        one.set_params(max_steps=3, changes=FEW | STILL).partial_fit(ROWS)
        assert one.n_iter_ == 23 and one.model_.training.state.numbers["course/step"] == 3
        np.testing.assert_array_equal(one.history_[:20], first.history_)
        weights = first.model_.models.network.embed
        np.testing.assert_allclose(kept_network(one.model_).embed, weights, atol=1e-6)


@pytest.mark.slow(only=["change2"])
@pytest.mark.parametrize("change", [{"table.width": 9}, {"table.bins": 5}, {"table.relations": False}])
def test_another_network_is_refused(first, change):
    (key,) = change
    with pytest.raises(UsageError, match=rf"got {key} = .* and a start with .*; expected the same network"):
        motes.fit(ROWS, changes=FEW | change, start=first.model_, verbose=False)
