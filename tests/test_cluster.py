"""Shards: the same bytes from any processes in any order, complete after any interruption, and checked."""

import gc
import json
import multiprocessing
import os
import pickle
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency, ks_2samp

import motes
from motes.cluster import (
    Imputer,
    Predictor,
    Sampler,
    Scorer,
    check_shards,
    sample_shards,
    shard_rows,
    write_shard,
    write_shards,
)
from motes.errors import DataError, ModelFileError, MotesError, UsageError
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


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    table.save(tmp_path_factory.mktemp("saved") / "people.safetensors")
    return tmp_path_factory.getbasetemp() / "saved0" / "people.safetensors"


@pytest.fixture
def rows(tmp_path):
    """Three files, in which some entries are missing."""
    (tmp_path / "rows").mkdir()
    for k in range(3):
        frame = pd.DataFrame(PEOPLE).iloc[10 * k : 10 * k + 12]
        frame.to_parquet(tmp_path / f"rows/part-{k}.parquet")
    return tmp_path / "rows"


@pytest.fixture(scope="module")
def dask():
    """A Dask cluster of two processes."""
    import distributed

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with suppress(TimeoutError), distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        yield client  # on a busy machine, a worker may end too late


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("[!.m]*.*")) if path.name != "manifest.json"}


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
        # Versions of pandas have several words for a missing entry.
        columns = [frame[name].astype(object).where(frame[name].notna(), "missing") for frame in (ours, theirs)]
        counts = [column.astype(str).value_counts().sort_index() for column in columns]
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
    manifest = folder / "_motes" / "manifest.json"
    written = json.loads(manifest.read_text())
    outside = {"files": ["../../../etc/passwd"]}
    damaged = ("{", "[" * 100_000, *(json.dumps(written | one) for one in ({"shards": 1e9}, {"shards": 0}, outside)))
    for text in damaged:
        manifest.write_text(text)
        code, _, err = motes_command("check", folder, "-q")
        assert code == 1 and "manifest.json' is damaged. Write the shards into another folder" in err


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


@pytest.mark.parametrize("kind", [Sampler, Scorer])
def test_a_worker_with_another_model_refuses(kind, table, small_model, tmp_path):
    table.save(tmp_path / "model")
    task = kind(tmp_path / "model.safetensors", **({"n": 10, "shards": 2} if kind is Sampler else {}))
    small_model.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="another model"):
        task(0 if kind is Sampler else pd.DataFrame(PEOPLE))


@pytest.mark.slow
def test_a_full_disk_loses_no_shard(folder, environment, tmp_path):
    words = f"sample {folder / '_motes'} -n 8000 --shards 4 --out {tmp_path / 'full'} -q".split()
    run = lambda *more, **options: subprocess.run(
        [sys.executable, "-m", "motes", *words, *more], env=environment, capture_output=True, text=True, **options
    )
    assert run("--shard", "0").returncode == 0
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1500, resource.RLIM_INFINITY))
    done = run(preexec_fn=limit)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert re.search("shard-00001.parquet failed 3 times: OSError: .*File too large", done.stderr)
    assert sorted(path.name for path in (tmp_path / "full").iterdir()) == ["_motes", "shard-00000.parquet"]
    assert run().returncode == 0 and contents(tmp_path / "full") == contents(folder)


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


# --- Answers to the rows of a folder ----------------------------------------------------------------------------------


TASKS = {"score": (Scorer, {}), "impute": (Imputer, {"seed": 3}), "predict": (Predictor, {"column": "age", "draws": 8})}


@pytest.mark.parametrize("command", TASKS)
def test_a_callable_answers_with_the_same_library(command, table, saved):
    kind, options = TASKS[command]
    task, frame = pickle.loads(pickle.dumps(kind(saved, **options))), pd.DataFrame(PEOPLE).iloc[5:15]
    found = task(frame)
    expected = {
        "score": lambda: pd.DataFrame({"log_prob": table.score_samples(frame)}, frame.index),
        "impute": lambda: frame[frame.notna()],
        "predict": lambda: table.predict(frame, "age", draws=8),
    }[command]()
    assert found.index.equals(frame.index) and [*found] == [*expected]
    if command == "impute":  # what was known stays
        assert found[["age", "smoker"]].notna().all(axis=None) and found[frame.notna()].equals(expected)
        assert not task(frame).equals(kind(saved, seed=4)(frame)) and task(frame).equals(found)
    elif command == "score":
        pd.testing.assert_frame_equal(found, expected)
    empty = task(frame.iloc[:0])
    assert len(empty) == 0 and [*empty] == [*found]
    assert sorted(task({name: [*frame[name]] for name in frame})) == sorted(found)


@pytest.mark.slow
def test_a_posterior_scores_frames(tmp_path):
    theta = motes.make_shape("moons", 60)
    size = {"training.steps": 2, "network.width": 16, "network.members": 1}
    model = motes.fit({"a": theta[:, 0]}, given={"b": theta[:, 1]}, changes=size, verbose=False)
    model.save(tmp_path / "posterior")
    rows = pd.DataFrame(theta, columns=["a", "b"])
    found = Scorer(tmp_path / "posterior")(rows)
    np.testing.assert_allclose(found["log_prob"], model.score_samples(rows[["a"]], given=rows[["b"]]))
    assert [*Scorer(tmp_path / "posterior")(rows[:0])] == ["log_prob"]


@pytest.mark.parametrize("command", TASKS)
def test_a_folder_is_answered_file_by_file(command, saved, rows, motes_command, tmp_path):
    kind, options = TASKS[command]
    words = [f"--{name}={value}" for name, value in options.items()]
    for k in (2, 0):
        motes_command.out(command, saved, rows, "--out", "one", "--shard", k, "-q", *words)
    out = motes_command.out(command, saved, f"{rows}/*.parquet", "--out", "one", "-q", *words)
    assert out == "36 rows in 3 shards in one\n"
    with ThreadPoolExecutor(3) as executor:
        paths = write_shards(kind(saved, **options), rows, out=tmp_path / "other", executor=executor)
    assert [path.name for path in paths] == [f"part-{k}.parquet" for k in range(3)]
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert "36 rows in 3 shards: no problems" in motes_command.out("check", "one", "-q")
    if command == "score":
        found = pd.read_parquet(paths[1])["log_prob"]
        np.testing.assert_allclose(found, kind(saved)(pd.read_parquet(rows / "part-1.parquet"))["log_prob"])


@pytest.mark.parametrize("command", TASKS)
def test_a_parquet_file_is_answered_by_row_groups(command, saved, motes_command, tmp_path):
    kind, options = TASKS[command]
    words = [f"--{name}={value}" for name, value in options.items()]
    whole = pd.concat([pd.DataFrame(PEOPLE)] * 3, ignore_index=True)
    whole.to_parquet("big.parquet", row_group_size=len(PEOPLE["age"]) + 1)
    for k in (1, 0, 2):
        motes_command.out(command, saved, "big.parquet", "--out", "one", "--shard", k, "-q", *words)
    paths = write_shards(kind(saved, **options), "big.parquet", out=tmp_path / "other")
    assert [path.name for path in paths] == [f"big-0000{k}.parquet" for k in range(3)]
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert "in 3 shards: no problems" in motes_command.out("check", "one", "-q")
    if command == "score":
        found = pd.concat(map(pd.read_parquet, paths), ignore_index=True)
        np.testing.assert_allclose(found["log_prob"], kind(saved)(whole)["log_prob"])
    whole.to_csv("big.csv")
    for name in ("big.csv", "penguins"):
        assert f"--workers and '{name}', which is a single part" in motes_command.error(
            command, saved, name, "--out", "two", "--workers", 2, *words
        )


def test_a_folder_that_changes_is_refused(saved, rows, tmp_path):
    task, call = Scorer(saved), {"source": rows, "out": tmp_path / "scores"}
    paths = write_shards(task, **call)
    paths[2].unlink()
    (rows / "part-2.parquet").touch()  # its shard is not complete, so this does no harm
    write_shards(task, **call)
    (rows / "part-1.parquet").touch()
    with pytest.raises(DataError, match=r"part-1.parquet' has changed since '.*' was written\. Delete this shard"):
        write_shards(task, **call)
    paths[1].unlink()
    write_shards(task, **call)
    for name, word in (("part-9.parquet", "new"), ("part-2.parquet", "gone")):
        (rows / "part-2.parquet").rename(rows / "part-9.parquet") if word == "gone" else (rows / name).touch()
        with pytest.raises(UsageError, match=f"'{name}' is {word} since the shards .* were begun"):
            write_shards(task, **call)


def test_a_file_that_changes_while_it_is_read_is_refused(saved, rows, tmp_path):
    big = pd.concat([pd.DataFrame(PEOPLE)] * 1000, ignore_index=True)
    big.to_parquet(rows / "part-1.parquet")

    def change():
        while not [*tmp_path.glob(".part-1*")]:
            time.sleep(0.001)
        (rows / "part-1.parquet").touch()

    thread = threading.Thread(target=change)
    thread.start()
    with pytest.raises(DataError, match=r"part-1.parquet' changed while it was read"):
        write_shard(Scorer(saved), tmp_path, rows / "part-1.parquet")
    thread.join()
    assert not [*tmp_path.glob("*part-1*")]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda frame: frame.drop(columns="smoker"), "part-1.parquet' has no column 'smoker'"),
        (lambda frame: frame.assign(age="old"), "part-1.parquet', .*column 'age'"),
        (lambda frame: frame[:0], "part-1.parquet' has no rows; expected at least 1"),
        (None, "part-1.parquet' is not a Parquet file"),
    ],
)
def test_a_bad_file_is_named_and_loses_no_other(change, says, saved, rows, motes_command):
    bad, frame = rows / "part-1.parquet", pd.read_parquet(rows / "part-1.parquet")
    bad.write_text("nothing") if change is None else change(frame).to_parquet(bad)
    err = motes_command.error("score", saved, rows, "--out", "scores", "-q", code=1)
    assert re.search(says, err) and len(err.splitlines()) == 1
    frame.to_parquet(bad)
    assert motes_command.out("score", saved, rows, "--out", "scores", "-q") == "36 rows in 3 shards in scores\n"


def test_impossible_entries_of_a_folder_are_counted(saved, rows, motes_command):
    pd.read_parquet(rows / "part-1.parquet").assign(smoker="never").to_parquet(rows / "part-1.parquet")
    code, _, err = motes_command("impute", saved, rows, "--out", "whole", "-q")
    assert code == 0 and err.startswith("warning: 12 impossible entries")


# --- Dask -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_dask_writes_the_same_bytes_though_a_worker_is_killed(table, dask, tmp_path):
    pids = [*dask.run(os.getpid).values()]
    killed = []

    def kill(now):
        if not killed:
            killed.append(pids[0])
            os.kill(pids[0], signal.SIGKILL)

    table.sample_shards(**FORTY, out=tmp_path / "dask", executor=dask.get_executor(), on_progress=kill)
    table.sample_shards(**FORTY, out=tmp_path / "here")
    assert killed and contents(tmp_path / "dask") == contents(tmp_path / "here") and not check_shards(tmp_path / "dask")


@pytest.mark.slow
def test_dask_maps_partitions(table, saved, dask):
    import dask.dataframe

    frame = pd.DataFrame(PEOPLE)
    parts = dask.dataframe.from_pandas(frame, npartitions=3)
    scores = parts.map_partitions(Scorer(saved), meta={"log_prob": float}).compute()
    np.testing.assert_allclose(scores["log_prob"], table.score_samples(frame))
    whole = parts.map_partitions(Imputer(saved), meta=parts._meta).compute()
    assert whole[["age", "smoker"]].notna().all(axis=None) and (whole == frame)[frame.notna()].all(axis=None)


@pytest.mark.slow
def test_the_command_uses_a_cluster(folder, dask, motes_command, tmp_path):
    out = ("-n", "8e3", "--shards", 4, "--out", tmp_path / "cli", "-q")
    motes_command.out("sample", folder / "_motes", *out, "--cluster", dask.scheduler.address)
    assert contents(tmp_path / "cli") == contents(folder)


def test_a_cluster_that_is_not_there_is_one_line(folder, motes_command, monkeypatch):
    call = ("sample", folder / "_motes", "-n", 9, "--shards", 3, "--out", "f", "-q", "--cluster")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        err = motes_command.error(*call, "127.0.0.1", code=1)
        assert "no Dask scheduler answers (missing port number" in err and len(err.splitlines()) == 1
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "needs Dask: pip install distributed." in motes_command.error(*call, "local")


@pytest.mark.long
def test_a_scheduler_that_does_not_answer_takes_less_than_30_seconds(folder, environment):
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        address = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
        words = f"sample {folder / '_motes'} -n 9 --shards 3 --out {folder}/f -q --cluster {address}".split()
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-m", "motes", *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and time.monotonic() - begin < 30
    assert f"got --cluster {address}, where no Dask scheduler answers" in done.stderr
    assert len(done.stderr.splitlines()) == 1


# --- One large file ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long(only=["points-score", "points-impute"])
@pytest.mark.parametrize("command", ["sample", "score", "impute"])
@pytest.mark.parametrize("kind", ["points", "table"])
def test_memory_does_not_grow_with_the_rows(command, kind, table, small_model, motes_command, monkeypatch):
    monkeypatch.setattr("motes.data.files.BLOCK", 1000)
    monkeypatch.setattr("motes.drawing.BLOCK", 1000)
    monkeypatch.setattr("motes.points.likelihood.HALVINGS", 2)  # quick
    (table if kind == "table" else small_model).save("model")
    frame = pd.DataFrame({"x": [0.5, None, -0.5], "y": [0.1, 0.2, 0.3]}) if kind == "points" else pd.DataFrame(PEOPLE)
    frame = frame.dropna() if command == "score" else frame

    def peak(n):
        some = pd.concat([frame] * (n // len(frame)), ignore_index=True)
        some.to_parquet("rows.parquet", row_group_size=1000)
        words = ["-n", n] if command == "sample" else ["rows.parquet"]
        tracemalloc.start()
        motes_command.out(command, "model.safetensors", *words, "--out", "out.parquet", "--overwrite", "-q")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    before, more = gc.get_threshold(), 12_000 if kind == "points" else 60_000
    gc.set_threshold(700, 10, 10)  # as usual
    small, large = [peak(n) for n in (4000, 4000, 4000 + more)][1:]
    gc.set_threshold(*before)
    assert large < small + 20 * more  # bytes: less than three columns of the other rows


@pytest.mark.slow
def test_a_folder_is_evaluated_on_a_sample_that_it_states(rows, motes_command):
    with untrained():
        motes.fit(PEOPLE, changes=TINY | {"data.in_memory": 60}, verbose=False).save("small")
    some = pd.DataFrame(PEOPLE).assign(who=None)
    for path in rows.iterdir():
        pd.concat([some] * 2000, ignore_index=True).to_parquet(path)
    out = motes_command.out("evaluate", "small.safetensors", rows, "-n", 50, "-q")
    assert re.search(r"a sample of 200,\d+ of the 240,000 rows", out) and "Associations" in out and "Classifier" in out
