"""Shards: the same bytes from any processes in any order, complete after any interruption, and checked."""

import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, ks_2samp

import motes
from motes.cluster import Sampler, check_shards, sample_shards, shard_rows, write_shard
from motes.errors import ModelFileError, MotesError, UsageError
from tables import TINY, untrained

PEOPLE = {
    "age": [31, 47, 25, None] * 10,
    "smoker": ["no", "yes", "no", None] * 10,
    "who": [f"Ann {k}" for k in range(40)],
}
FORTY = {"n": 4000, "shards": 40}


@pytest.fixture(scope="module")
def table():
    with untrained():
        return motes.fit(PEOPLE, changes=TINY, verbose=False)


@pytest.fixture
def folder(table, tmp_path):
    """Four shards of 2,000 rows each."""
    sample_shards(table, 8000, shards=4, out=tmp_path / "four")
    return tmp_path / "four"


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("shard-*"))}


def rows_in(folder):
    return pd.read_parquet(folder)


def processes(count):
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn"))


def test_each_row_is_in_one_shard():
    for n, shards in ((10, 3), (7, 7), (10**9, 999)):
        parts = [shard_rows(n, shards, k) for k in range(shards)]
        assert parts[0].start == 0 and parts[-1].stop == n and all(a.stop == b.start for a, b in pairwise(parts))
        assert {len(part) for part in parts} <= {n // shards, n // shards + 1}
    for wrong in ((3, 4, 0), (10, 3, 3), (10, 3, -1), (0, 1, 0), (10, 0, 0)):
        with pytest.raises(UsageError, match="expected"):
            shard_rows(*wrong)


def test_order_and_threads_do_not_change_a_byte(table, folder, tmp_path):
    sampler = pickle.loads(pickle.dumps(Sampler(folder / "_motes/model.safetensors", n=8000, shards=4)))
    (tmp_path / "reverse").mkdir()
    for k in (3, 1, 2, 0):
        write_shard(sampler, tmp_path / "reverse", k)
    with ThreadPoolExecutor(3) as executor:
        table.sample_shards(8000, shards=4, out=tmp_path / "threads", executor=executor)
    assert contents(folder) == contents(tmp_path / "reverse") == contents(tmp_path / "threads")
    assert len({*contents(folder).values()}) == 8  # no two shards have the same rows


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(table, tmp_path):
    def kill(now):
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGKILL)

    with processes(1) as executor, pytest.raises(MotesError, match=r"process .* of 40 shards are complete\. Repeat"):
        table.sample_shards(**FORTY, out=tmp_path / "killed", executor=executor, on_progress=kill)
    assert 0 < len(contents(tmp_path / "killed")) < 80
    with processes(2) as executor:
        table.sample_shards(**FORTY, out=tmp_path / "killed", executor=executor)
    table.sample_shards(**FORTY, out=tmp_path / "here")
    assert contents(tmp_path / "killed") == contents(tmp_path / "here") and not check_shards(tmp_path / "killed")
    assert not list((tmp_path / "killed").glob(".*"))


def test_rows_have_the_distribution_of_sample(table, folder, small_model, tmp_path):
    # Four tests, each at the level 1e-4; the seeds are fixed.
    ours, theirs = rows_in(folder), motes.data.as_frame(table.sample(8000, seed=5)).to_pandas()
    assert len(ours) == 8000
    for name in ("age", "smoker"):
        counts = [frame[name].astype(str).value_counts().sort_index() for frame in (ours, theirs)]
        assert counts[0].index.equals(counts[1].index) and chi2_contingency(np.stack(counts)).pvalue > 1e-4
    small_model.sample_shards(3000, shards=3, out=tmp_path / "points")
    points = rows_in(tmp_path / "points").to_numpy()
    assert points.shape == (3000, 2)
    assert min(ks_2samp(points, small_model.sample(3000, seed=5)).pvalue) > 1e-4


def test_conditions_classes_and_placeholders(table, labelled_model, tmp_path):
    sample_shards(table, 90, shards=3, out=tmp_path / "t", given={"smoker": {"yes", "no"}}, placeholders=True)
    rows = rows_in(tmp_path / "t")
    assert set(rows["smoker"]) == {"yes", "no"} and rows["who"].nunique() == 90
    labelled_model.sample_shards(90, shards=3, out=tmp_path / "p")
    assert set(rows_in(tmp_path / "p")["class"]) == {0, 1}
    labelled_model.sample_shards(9, shards=3, out=tmp_path / "one", label=1, sampling=motes.Sampling(guidance=2.0))
    assert set(rows_in(tmp_path / "one")["class"]) == {1}
    with pytest.raises(MotesError, match="smoker"):
        sample_shards(table, 9, shards=3, out=tmp_path / "no", given={"smoker": "never"})
    assert not (tmp_path / "no").exists()


def test_damaged_shards_are_found_and_written_again(table, folder, motes_command):
    before, paths = contents(folder), sorted(folder.glob("*.parquet"))
    times = [path.stat().st_mtime_ns for path in paths]
    paths[0].unlink()
    paths[1].write_bytes(before[paths[1].name][:-9])
    paths[2].write_bytes(bytes([before[paths[2].name][0] ^ 1]) + before[paths[2].name][1:])
    code, out, _ = motes_command("check", folder, "-q")
    assert code == 1 and [line.split(":")[0] for line in out.splitlines()] == [path.name for path in paths[:3]]
    paths[2].unlink()
    sample_shards(table, 8000, shards=4, out=folder)
    assert contents(folder) == before and paths[3].stat().st_mtime_ns == times[3]
    assert "8,000 rows in 4 shards: no problems" in motes_command.out("check", folder, "-q")


def test_another_call_is_refused(table, folder, small_model, tmp_path):
    before, file, other = contents(folder), tmp_path / "file", tmp_path / "other"
    file.touch(), other.mkdir(), (other / "mine.txt").touch()
    call = {"model": table, "n": 8000, "shards": 4, "out": folder}
    for changed, says in (
        ({"seed": 1}, "seed 0 there, 1 here"),
        ({"n": 9000, "shards": 5}, "n 8000 there, 9000 here; shards 4 there, 5 here"),
        ({"given": {"smoker": "no"}}, 'given null there, {"smoker": "no"} here'),
        ({"model": small_model}, "model "),
        ({"out": file}, "is a file"),
        ({"out": other}, "contains other files, such as mine.txt"),
    ):
        with pytest.raises(UsageError, match=says):
            sample_shards(**call | changed)
    assert contents(folder) == before


def test_a_worker_with_another_model_refuses(table, small_model, tmp_path):
    table.save(tmp_path / "model")
    sampler = Sampler(tmp_path / "model.safetensors", n=10, shards=2)
    small_model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="another model"):
        sampler(0)


def test_a_shard_is_tried_three_times(table, tmp_path, monkeypatch):
    real, left = Sampler.frames, [OSError(28, "No space left")] * 5

    def frames(self, k):
        if k == 1 and left:
            raise left.pop()
        return real(self, k)

    monkeypatch.setattr(Sampler, "frames", frames)
    with pytest.raises(MotesError, match=r"shard-00001.parquet failed 3 times: OSError: .*No space left"):
        sample_shards(table, 30, shards=3, out=tmp_path)
    assert len(sample_shards(table, 30, shards=3, out=tmp_path)) == 3 and not check_shards(tmp_path) and not left


@pytest.mark.usefixtures("keyboard")
def test_ctrl_c_finishes_the_running_shard(table, tmp_path):
    press = lambda now: now.done == 2 and signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"\d+ of 40 shards are complete\. Repeat"):
        table.sample_shards(**FORTY, out=tmp_path, on_progress=press)
    done, seen = len(list(tmp_path.glob("*.parquet"))), []
    table.sample_shards(**FORTY, out=tmp_path, on_progress=lambda now: seen.append(now.done))
    assert 2 <= done < 40 and seen == list(range(done + 1, 41)) and not check_shards(tmp_path)


@pytest.mark.parametrize("words", [("--shard", 0), pytest.param(("--workers", 2), marks=pytest.mark.slow)])
def test_the_command_writes_the_same_bytes(words, table, folder, motes_command, tmp_path):
    out = ("-n", "8e3", "--shards", 4, "--out", tmp_path / "cli", "-q")
    motes_command.out("sample", folder / "_motes", *out, *words)
    found, expected = contents(tmp_path / "cli"), contents(folder)
    assert found == {name: made for name, made in expected.items() if "--workers" in words or "00000" in name}


def test_wrong_options_are_refused(folder, motes_command):
    for words, says in (
        ("--workers 2", "--workers without --shards"),
        ("--shards 2", "--shards without --out"),
        ("--shards 2 --out f --shard 2", "from 0 to 1"),
        ("--shards 2 --out f --shard 1 --workers 2", "expected one of them"),
        ("--shards 9 --out f", "9 shards for 8 rows"),
        ("--shards 2 --out f --overwrite", "--overwrite with --shards"),
    ):
        assert says in motes_command.error("sample", folder / "_motes", "-n", 8, *words.split())
