"""Tables of several files, and rows that are read from disk because they do not fit into memory."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import motes
from motes.data import Blocks, as_frame, write_frame
from motes.data.stored import read_sample, shuffled
from motes.errors import DataError, UsageError

DISK = {"data.in_memory": 100}  # more entries are read from disk


def people(n, seed=0):
    """Rows with a column of each type and missing entries; `x` and `y` have exact neighbours in single precision."""
    rng = np.random.default_rng(seed)
    age, gone = rng.integers(18, 90, n), rng.random(n) < 0.1
    city = np.array([*"ABCDEFGH"])[rng.integers(0, 8, n)].astype(object)
    city[gone] = None
    day = np.datetime64("2020-01-01") + rng.integers(0, 900, n).astype("m8[D]")
    columns = {"age": age, "x": rng.normal(size=n), "y": rng.normal(size=n).astype("f4").astype(float)}
    columns |= {"city": city, "member": rng.random(n) < 0.01 * age, "day": day}
    return as_frame(columns | {"spend": np.where(gone, np.nan, np.round(age * rng.gamma(2, 1, n), 2))})


def in_files(folder, frame, files=3, suffix=".parquet"):
    folder.mkdir()
    for k, rows in enumerate(np.array_split(np.arange(len(frame)), files)):
        write_frame(folder / f"part-{k}{suffix}", frame.take(rows))
    return folder


# --- several files of one table -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_files_of_a_folder_a_pattern_or_a_list_are_one_table(suffix, tmp_path):
    frame = people(60)
    folder = in_files(tmp_path / "rows", frame, suffix=suffix)
    (folder / "_SUCCESS").touch()
    for source in (folder, f"{folder}/part-*{suffix}", sorted(folder.glob("part*"))):
        found = Blocks.of_files(source).whole()
        assert found.names == frame.names and len(found) == 60
        assert all(found.columns[name].cells() == frame.columns[name].cells() for name in frame.names)


def test_whole_and_real_numbers_and_columns_without_entries_agree(tmp_path):
    for name, text in {"a": "x,y\n1,\n2,\n", "b": "x,y\n0.5,k\n,l\n"}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    found = Blocks.of_files(tmp_path).whole()
    assert found["x"].tolist()[:3] == [1.0, 2.0, 0.5] and found["y"].tolist() == [None, None, "k", "l"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,z\n1,2\n", "b.csv' has no column 'y', and '.*a.csv' has"),
        ("x,y,z\n1,2,3\n", "a.csv' has no column 'z', and '.*b.csv' has"),
        ("x,y\nred,2\n", "column 'x' holds text in '.*b.csv' and whole numbers in '.*a.csv'"),
        ("x,y\n", "b.csv' has no rows"),
        ("", "b.csv' is empty"),
        (None, "got '.*a.csv' and '.*b.parquet'; expected files of one type"),
    ],
)
def test_files_that_are_not_one_table_are_named(text, message, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    if text is None:
        write_frame(tmp_path / "b.parquet", as_frame({"x": [1], "y": [2]}))
    else:
        (tmp_path / "b.csv").write_text(text)
    with pytest.raises((DataError, UsageError), match=message):
        motes.fit(tmp_path, verbose=False)


def test_a_folder_or_a_pattern_without_files_is_refused(motes_command, tmp_path):
    (tmp_path / "empty").mkdir()
    for source in ("empty", "empty/*.parquet"):
        code, _, err = motes_command("train", source)
        assert code == 2 and f"no file of '{source}' ends in .csv" in err


# --- the order of rows, the sample and the file ---------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 5, 1000, 4097])
def test_each_key_is_an_order_of_all_rows(n):
    orders = [shuffled(np.arange(n), n, np.array([key], np.uint64)) for key in range(20)]
    assert all((np.sort(order) == np.arange(n)).all() for order in orders)
    if n == 1000:  # ranks of neighbours are independent: each correlation is normal with a deviation of 1 / sqrt(n)
        z = np.array([np.corrcoef(order[1:], order[:-1])[0, 1] for order in orders]) * np.sqrt(n)
        assert np.abs(z).max() < 4 and np.abs(z.mean()) < 4 / np.sqrt(20)


def test_any_rows_come_back_to_the_bit_from_a_few_bytes_per_entry(tmp_path, capsys):
    frame = people(500)
    sample = read_sample(in_files(tmp_path / "rows", frame), 100)
    stored = sample.many.store(frame.names, tmp_path)
    assert "neither in the sample" not in capsys.readouterr().err  # each label is
    order = np.random.default_rng(1).permutation(500)
    found = stored.read(order)
    for name in frame.names:
        assert found.columns[name].cells() == frame.take(order).columns[name].cells()
    assert stored.path.stat().st_size == 500 * (1 + 8 + 4 + 1 + 1 + 8 + 8)


@pytest.mark.slow
def test_a_sample_has_the_extremes_and_the_rare_labels_of_all_rows(tmp_path, capsys):
    n = 250_000
    x, label = np.random.default_rng(0).normal(size=n), np.full(n, "usual", object)
    x[12_345], x[99], label[200_001], label[7] = 1e6, -1e6, "rare", None
    own = [f"row {k}" for k in range(n)]
    sample = read_sample(in_files(tmp_path / "rows", as_frame({"x": x, "label": label, "own": own})), 100)
    sample.many.store(["label", "own"], tmp_path)
    lost = n - len(sample)
    assert (
        f"column 'own' has labels that are neither in the sample nor among the first 1,000; their {lost:,}"
        in " ".join(capsys.readouterr().err.split())
    )
    assert 200_000 <= len(sample) <= 201_050
    assert sample["x"].min() == -1e6 and sample["x"].max() == 1e6
    assert {*sample["label"]} == {"usual", "rare", None}
    assert sample.many.notes[0].startswith(f"a sample of {len(sample):,} of the 250,000 rows of ")


def test_an_interrupted_file_is_completed_and_a_complete_one_is_used_again(tmp_path):
    folder, reads = in_files(tmp_path / "rows", people(600)), []
    many = read_sample(folder, 100).many

    def stopping(rows):
        reads.append(len(rows))
        if len(reads) == 3:
            raise KeyboardInterrupt
        return np.arange(len(rows)) % 2 == 0

    kept = many.only(stopping, "every other row")
    with pytest.raises(KeyboardInterrupt):
        kept.store(["age", "x"], tmp_path / "one")
    stored = kept.store(["age", "x"], tmp_path / "one")
    assert len(stored) == 300 and reads == [200] * 5  # of which the last two are read again
    assert len(kept.store(["age", "x"], tmp_path / "one")) == 300 and len(reads) == 5
    whole = kept.store(["age", "x"], tmp_path / "two")
    assert stored.path.read_bytes() == whole.path.read_bytes()


def test_a_file_that_changes_between_the_passes_is_named(tmp_path):
    folder = in_files(tmp_path / "rows", people(300))
    many = read_sample(folder, 100).many
    write_frame(folder / "part-1.parquet", people(100, seed=5))
    with pytest.raises(DataError, match=r"part-1.parquet' changed while it was read"):
        many.store(["age"], tmp_path)


# --- training -------------------------------------------------------------------------------------------------------

BRIEF = {"training.steps": 60, "training.warmup": 5, "network.width": 16, "network.depth": 1, "training.averages": 0}


def draws(model):
    return model.sample(5).to_numpy().tobytes()


def moons(folder, labelled=True):
    x, labels = motes.data.make_labelled_shape("moons", 4000, seed=3)
    side = {"side": np.array(["left", "right"])[labels]} if labelled else {}
    return in_files(folder, as_frame({"x": x[:, 0], "y": x[:, 1]} | side), 2)


@pytest.mark.slow
def test_small_files_are_learned_like_one_file(tmp_path):
    frame = people(300).select(["x", "y"])
    write_frame(tmp_path / "one.parquet", frame)
    folder = in_files(tmp_path / "rows", frame)
    one, several = (motes.fit(source, changes=BRIEF, verbose=False) for source in (tmp_path / "one.parquet", folder))
    assert draws(one) == draws(several)


@pytest.mark.slow
def test_an_error_says_whether_its_row_is_one_of_the_file_or_of_a_sample(tmp_path):
    x = np.arange(250_000) % 7 + 0.5
    write_frame(tmp_path / "many.parquet", as_frame({"x": x, "y": x + np.arange(250_000) % 3}))
    beyond = {"columns.y": {"kind": "real", "high": 8.0}}  # first in row 21 of the file
    with pytest.raises(DataError, match=r"^'.*many.parquet', row 21, column 'y': got 8.5; expected"):
        motes.fit(tmp_path / "many.parquet", "table", changes=beyond, verbose=False)
    with pytest.raises(DataError, match=r"^the sample of '.*many.parquet', row \d+, column 'y': got 8.5; expected"):
        motes.fit(tmp_path / "many.parquet", "table", changes=DISK | beyond, verbose=False)
    few = as_frame({"x": x[:90][::-1], "y": x[:90] ** 2})
    write_frame(tmp_path / "few.csv", few)
    row = int(np.argmax(few["x"] > 6)) + 1
    with pytest.raises(DataError, match=rf"few.csv', row {row}, column 'x': got 6.5; expected 0 to 6"):
        motes.fit(tmp_path / "few.csv", "default", changes={"data.bounds": ["x=0..6"]}, verbose=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "more"),
    [
        ("default", {"data.label": "side"}),
        ("posterior", {"data.given": ["y"], "data.label": "side"}),
        ("any", {"data.given": ["y"]}),
    ],
)
def test_points_on_disk_are_learned_like_points_in_memory(recipe, more, tmp_path):
    folder = moons(tmp_path / "rows", "data.label" in more)
    changes = BRIEF | more | {"training.steps": 300}
    memory, disk = (motes.fit(folder, recipe, changes=changes | some, verbose=False) for some in ({}, DISK))
    ends = [one.training.losses[-100:].mean() for one in (memory, disk)]
    assert abs(ends[0] - ends[1]) < 0.05 * abs(ends[0])
    assert (memory.training.losses != disk.training.losses).any()
    assert not list(Path(tmp_path).glob("*.bin"))


@pytest.mark.long
def test_a_table_on_disk_is_learned_like_one_in_memory(tmp_path):
    """Held-out nats differ by less than three standard errors of their difference, or .05."""
    folder, fresh = in_files(tmp_path / "rows", people(30_000), 2), people(3000, seed=9)
    changes = {"table.steps": 400, "table.width": 64, "table.depth": 1}
    memory, disk = (motes.fit(folder, changes=changes | some, verbose=False) for some in ({}, DISK))
    one, other = memory.score_samples(fresh), disk.score_samples(fresh)
    error = (one - other).std() / np.sqrt(len(fresh))
    assert abs((one - other).mean()) < max(3 * error, 0.05)


@pytest.mark.slow
def test_rows_of_the_validation_are_not_written(tmp_path):
    folder = in_files(tmp_path / "rows", people(3000), 2)
    changes = DISK | {
        "data.held_out": 0.0,
        "table.steps": 1,
        "table.width": 8,
        "table.depth": 1,
        "table.calibrate": False,
    }
    motes.fit(folder, changes=changes, verbose=False, scratch=tmp_path / "scratch")
    note = next((tmp_path / "scratch").glob("*.json"))
    assert 2740 < json.loads(note.read_text())["rows"] < 2760  # 250 rows decide when to stop


@pytest.mark.slow
def test_the_same_rows_on_disk_give_the_same_bits(tmp_path):
    folder = moons(tmp_path / "rows")
    changes = DISK | BRIEF | {"data.label": "side"}
    models = [motes.fit(folder, "default", changes=changes, verbose=False, scratch=tmp_path / "s") for _ in range(2)]
    again = motes.fit(folder, "default", changes=changes, verbose=False)
    assert len({draws(model) for model in (*models, again)}) == 1
    assert len(list((tmp_path / "s").glob("*.bin"))) == 1


@pytest.mark.slow
def test_a_run_on_disk_that_is_killed_goes_on_to_the_same_bits(environment, tmp_path):
    moons(tmp_path / "rows")
    settings = DISK | BRIEF | {"data.label": "side", "training.steps": 4000, "training.batch": 64}
    words = [f"--set={key}={value}" for key, value in settings.items()]

    def run(*more):
        command = [sys.executable, "-m", "motes", "train", "rows", "--recipe", "default", "--no-figures", *words, *more]
        return subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    process = run("--out", "cut", "--checkpoint-every", "0")
    lines = iter(process.stderr.readline, "")
    assert any(line.startswith("training: ") and not line.startswith("training: 0") for line in lines)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list((tmp_path / "cut" / "stored").glob("*.bin"))
    for out in (["--out", "cut", "--resume"], ["--out", "whole"]):
        process = run(*out)
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0 and "from disk" in err
    cut, whole = (motes.load(tmp_path / name) for name in ("cut", "whole"))
    assert draws(cut) == draws(whole)
    assert not (tmp_path / "cut" / "stored").exists()
    report = json.loads((tmp_path / "cut" / "metrics.json").read_text())
    assert report["rows_on_disk"] == 4000


@pytest.mark.long
def test_memory_does_not_grow_with_the_rows(environment, tmp_path):
    """Twenty times the rows, 90 MB more as floats, take less than 40 MB more memory."""
    peaks = []
    for n in (300_000, 6_000_000):
        folder = in_files(
            tmp_path / str(n),
            as_frame({"x": np.random.default_rng(0).normal(size=n), "y": np.ones(n) / 3 + np.arange(n)}),
            10,
        )
        code = (
            f"import motes, resource; motes.fit({str(folder)!r}, changes={DISK | BRIEF}, verbose=False)\n"
            "import re; print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
        )
        found = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        peaks.append(int(found.stdout) / 1024)
    assert peaks[1] - peaks[0] < 40, peaks


@pytest.mark.long
def test_reports_of_a_run_say_that_they_use_a_sample(motes_command, tmp_path):
    in_files(tmp_path / "rows", people(260_000).select(["age", "x", "y"]), 2)
    settings = DISK | {"table.steps": 2, "table.width": 8, "table.depth": 1, "table.calibrate": False}
    words = [f"--set={key}={value}" for key, value in settings.items()]
    for command in (["train", "rows", "--no-figures", *words], ["evaluate", "runs/rows"], ["diagnose", "runs/rows"]):
        code, out, _ = motes_command(*command)
        assert code == 0 and "a sample of 200,0" in out and "of the 260,000 rows of 'rows' represents all rows" in out
