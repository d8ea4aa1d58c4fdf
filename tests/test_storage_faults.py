"""Faults at every change of the files of a run: what is there afterwards is the old state or the new, and goes on."""

import errno
import json
import os
import tomllib
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from tests.conftest import SMALL
from tests.tables import TINY

import motes
from motes import cli
from motes.cli.common import Options
from motes.cli.folders import checkpoints_in
from motes.cli.run import train_run
from motes.data import read_frame
from motes.errors import MotesError, UsageError
from motes.progress import Reporter
from motes.training.checkpoints import read_checkpoint
from storage import Died, Disk

pytestmark = pytest.mark.brief

SAMPLES = 40
QUIET = Reporter(quiet=True)


def changes_of(kind):
    if kind == "points":
        return SMALL | {"training.steps": 12, "data.rows": 100, "training.averages": 2, "training.snapshots": 1}
    return TINY | {"table.steps": 12, "table.relations": False, "table.averages": 2}


def train(kind, out, reporter=QUIET, **options):
    """A short run in a folder, which keeps its state after every few steps."""
    name, source = {"points": ("default", "moons"), "table": ("table", "rows.csv")}[kind]
    recipe, changes = (out / "recipe.toml", {}) if options.get("resume") else (name, changes_of(kind))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out.parent)
        patch.setattr("motes.cli.run.SAMPLES", SAMPLES)
        patch.setattr("motes.training.loop.PATIENCE", 1e-9)
        patch.setattr("motes.cli.folders.RETRY", 0.0)
        options = Options(figures=False, seed=1, checkpoint_every=0.0, **options)
        train_run(source, out, recipe, changes, options, reporter)


def check_files(out, rows=SAMPLES):
    """Every file of a run that is there can be read."""
    for path in out.rglob("*"):
        if path.is_dir() or path.name.startswith("."):
            continue
        match path.suffix:
            case ".safetensors":
                read_checkpoint(path)
            case ".json":
                json.loads(path.read_text())
            case ".jsonl":
                assert [json.loads(line)["step"] for line in path.read_text().splitlines()]
            case ".toml":
                tomllib.loads(path.read_text())
            case ".csv":
                assert len(read_frame(path)) == rows
            case _:
                raise AssertionError(path)
    if (out / "model.safetensors").exists():
        motes.load(out)


def results(out):
    """What a complete run has made, without the seconds that it took."""
    metrics = json.loads((out / "metrics.json").read_text())
    model, about = read_checkpoint(out / "model.safetensors")
    arrays = {name: array.tobytes() for name, array in model.items()}
    return {**metrics, "train_seconds": 0}, arrays, about, (out / "samples.csv").read_bytes()


def begin(kind, folder):
    """The folder of a new run, beside the rows that it learns."""
    folder.mkdir(parents=True)
    if kind == "table":
        rng = np.random.default_rng(0)
        rows = {"a": rng.choice(["x", "y"], 80), "b": rng.choice(["u", "v", "w"], 80)}
        pd.DataFrame(rows).to_csv(folder / "rows.csv", index=False)
    return folder / "run"


def end(kind, out):
    """Finish a run that may have been cut short, as a person would."""
    try:
        train(kind, out, resume=True)
    except UsageError as error:
        if "nothing is left to do" not in str(error):
            train(kind, out, overwrite=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """kind -> the results of a run without faults, and how many changes it makes."""
    made = {}

    def of(kind):
        if kind not in made:
            out = begin(kind, tmp_path_factory.mktemp("whole") / kind)
            with Disk(out.parent) as disk:
                train(kind, out)
            made[kind] = results(out), disk.changes
        return made[kind]

    return of


def cut_short(kind, folder, whole):
    """A run that died once it had a checkpoint, to go on with."""
    out = begin(kind, folder)
    second = [at for at, change in enumerate(whole(kind)[1], 1) if change == ("mkdir", "run/checkpoints")][1]
    with Disk(out.parent, second, "died"), suppress(Died):
        train(kind, out)
    assert len(checkpoints_in(out)) == 1
    return out


def check_fault(kind, folder, whole, at, how, *, resumed=False):
    """A run whose nth change fails leaves files that can be read, and ends as one without faults when it goes on."""
    folder = folder / f"{kind} {at} {how}"
    out = cut_short(kind, folder, whole) if resumed else begin(kind, folder)
    with Disk(out.parent, at, how) as disk, suppress(Died, OSError, MotesError):
        train(kind, out, resume=resumed)
    if len(disk.changes) < at:
        return False
    if out.exists():
        check_files(out)
    end(kind, out)
    check_files(out)
    assert results(out) == whole(kind)[0], disk.changes[at - 1]
    assert not list(out.rglob(".*")), disk.changes[at - 1]
    return True


STEP = 13  # from one change that fails to the next; all of them are tried in what is `long`


@pytest.mark.parametrize("kind", ["points", "table"])
def test_a_run_survives_a_fault_at_some_changes(kind, whole, tmp_path):
    for first, how in ((1, "full"), (7, "died")):
        for at in range(first, len(whole(kind)[1]) + 1, STEP):
            assert check_fault(kind, tmp_path, whole, at, how)


@pytest.mark.long
@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize("how", ["full", "died"])
@pytest.mark.parametrize("kind", ["points", "table"])
def test_a_run_survives_a_fault_at_any_change(kind, how, resumed, whole, tmp_path):
    at = 1
    while check_fault(kind, tmp_path, whole, at, how, resumed=resumed):
        at += 1
    assert at > (30 if resumed else len(whole(kind)[1]))


class Freeing(Reporter):
    """Somebody who makes room once motes says that it waits for it."""

    full = True

    def warn(self, text):
        self.full = "Free" not in text


def test_a_training_waits_for_room_for_its_first_checkpoint(whole, tmp_path, monkeypatch):
    out, user, flush = begin("points", tmp_path / "points"), Freeing(quiet=True), os.fsync

    def full(handle):  # nothing but a checkpoint of this run is flushed
        if user.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(handle)

    monkeypatch.setattr(os, "fsync", full)
    train("points", out, user)
    assert results(out) == whole("points")[0]
    assert checkpoints_in(out)


# --- files of answers ------------------------------------------------------------------------------------------------

OLD = "an older file\n"


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.npy", "rows.parquet", "scores.csv"])
@pytest.mark.parametrize("how", ["full", "died"])
def test_answers_are_the_old_file_or_the_new(name, how, small_model, tmp_path, monkeypatch):
    small_model.save(tmp_path / "model.safetensors")
    motes.data.write_frame(tmp_path / "moons.csv", motes.data.as_frame(motes.make_shape("moons", 30), ["x", "y"]))
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out" / name
    out.parent.mkdir()
    words = ["score", "model.safetensors", "moons.csv"] if "scores" in name else ["sample", "model.safetensors", "-n30"]
    check_answer([*words, "--quiet", "--overwrite", "--out", f"out/{name}"], out, how)


def check_answer(command, out, how):
    """A command that writes a file over an older one, with a fault at each change."""
    assert cli._run(command, debug=False) == 0
    new = read_frame(out)
    at, codes = 1, set()
    while True:
        out.write_text(OLD)
        with Disk(out.parent, at, how) as disk, suppress(Died):
            codes.add(cli._run(command, debug=False))
        if len(disk.changes) < at:
            break
        whole = out.read_bytes() != OLD.encode()
        if whole:
            again = read_frame(out)
            assert again.names == new.names and len(again) == len(new)
        left = [path.name for path in out.parent.iterdir() if path != out]
        assert how == "died" or not left or disk.changes[at - 1][0] == "unlink", (left, disk.changes[at - 1])
        for path in left:
            (out.parent / path).unlink()
        at += 1
    assert at > 3 and (codes == {0, 1} if how == "full" else codes == {0})
