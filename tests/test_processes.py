"""One training by several processes or devices: the same losses and bits, one writer, and one line when one dies."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import SMALL
from tests.states import learnable
from tests.tables import TINY

from motes.cli.folders import checkpoints_in
from motes.training.checkpoints import read_checkpoint

POINTS = SMALL | {"training.steps": 200, "training.batch": 1024}
POINTS |= {"training.validation": 0.2, "training.check_every": 50, "training.averages": 4}
TABLE = TINY | {"table.steps": 200, "table.averages": 2}
LIMIT = 60  # seconds


@pytest.fixture
def start(environment, tmp_path):
    """`start(*words)`: `motes train moons` in a process of its own, which a terminal can interrupt."""

    def start(*words, out="run", changes=POINTS, source="moons", **variables):
        awake = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
        changed = [f"--set={key}={value}" for key, value in changes.items()]
        return subprocess.Popen(
            [sys.executable, "-m", "motes", "train", source, "--out", out, "--no-figures", *changed, *words],
            cwd=tmp_path, env=environment | variables, stdout=-1, stderr=-1, text=True, preexec_fn=awake,
        )  # fmt: skip

    return start


@pytest.fixture
def train(start, tmp_path):
    def train(*words, out="run", **options):
        process = start(*words, out=out, **options)
        text, err = process.communicate(timeout=500)
        assert process.returncode == 0, err
        assert text.endswith(f"results in {out}\n") and err.count("trained 200 steps") == 1
        return tmp_path / out

    return train


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def children(process):
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def under_way(process):
    """Wait for a step."""
    assert any(line.startswith("training: ") for line in iter(process.stderr.readline, ""))


def tensors(out):
    """The arrays of a run's model, and of its complete state."""
    return [read_checkpoint(path)[0] for path in (out / "model.safetensors", checkpoints_in(out)[0])]


def same_bits(one, other):
    for ours, theirs in zip(tensors(one), tensors(other), strict=True):
        assert ours.keys() == theirs.keys() and all(ours[name].tobytes() == theirs[name].tobytes() for name in ours)


def losses(out):
    lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    return np.array([line.get("loss", line.get("held_out")) for line in lines])


def same_losses(one, other):
    np.testing.assert_allclose(losses(one), losses(other), rtol=0, atol=1e-5)


def test_impossible_numbers_are_refused(motes_command, monkeypatch):
    for words in (["--process", "1"], ["--coordinator", "here:1"], ["--coordinator", "here", "--process", "0"]):
        assert "--coordinator HOST:PORT" in motes_command.error("train", "moons", *words)
    by_hand = "--coordinator", "here:1", "--processes", "2", "--process"
    assert "got --process 2; expected a number from 0 to 1" in motes_command.error("train", "moons", *by_hand, "2")
    assert "n = 0 processes" in motes_command.error("train", "moons", "--processes", "0")


@pytest.mark.slow
def test_processes_and_devices_learn_the_same(train, tmp_path):
    alone, two = train(out="alone"), train("--processes", "2", out="two")
    same_bits(two, train("--processes", "2", out="again"))
    same_losses(alone, two)
    same_losses(alone, train(out="devices", JAX_NUM_CPU_DEVICES="2"))
    assert {path.name for path in two.iterdir()} == {path.name for path in alone.iterdir()}


@pytest.mark.slow
def test_processes_share_rows_on_disk(train, tmp_path):
    (tmp_path / "rows").mkdir()
    for k in range(3):
        learnable(300, seed=k).to_parquet(tmp_path / f"rows/part-{k}.parquet")
    options = {"changes": TABLE | {"data.in_memory": 100}, "source": "rows"}
    alone, two = train(out="alone", **options), train("--processes", "2", out="two", **options)
    np.testing.assert_allclose(losses(alone), losses(two), rtol=1e-5)  # the history has six digits, and losses above 10
    same_bits(two, train("--processes", "2", out="again", **options))


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_killed_process_ends_the_others_and_any_number_goes_on(number, start, train, tmp_path):
    process = start("--processes", "2", "--checkpoint-every", "0")
    under_way(process)
    while not checkpoints_in(tmp_path / "run"):
        time.sleep(0.01)
    victims, begin = children(process), time.monotonic()
    os.kill(victims[number], signal.SIGKILL)
    text, err = process.communicate(timeout=LIMIT)
    assert (process.returncode, text) == (1, "") and time.monotonic() - begin < LIMIT
    fault = [line for line in err.splitlines() if not line.startswith(("training: ", "irreducible", "warning: "))]
    assert fault == [f"motes: process {number} was ended by signal 9. Continue from the last checkpoint with --resume."]
    assert not any(Path(f"/proc/{victim}").exists() for victim in victims)
    shutil.copytree(tmp_path / "run", tmp_path / "alone")
    whole = train("--processes", "2", out="whole")
    same_bits(train("--processes", "2", "--resume"), whole)
    same_losses(train("--resume", out="alone"), whole)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["by hand", "srun"])
def test_processes_started_elsewhere_end_together(how, start, tmp_path):
    port = free_port()
    if how == "srun":  # the variables that JAX reads
        each = {"SLURM_JOB_ID": str(port), "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_NTASKS": "2"}
        each |= {"SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0"}
        both = [start(**each, SLURM_PROCID=str(k)) for k in range(2)]
    else:
        words = "--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process"
        both = [start(*words, str(k)) for k in range(2)]
    under_way(both[0])
    os.kill(children(both[1])[0], signal.SIGKILL)
    begin = time.monotonic()
    errors = [process.communicate(timeout=LIMIT)[1] for process in both]
    assert time.monotonic() - begin < LIMIT and [process.returncode for process in both] == [1, 1]
    assert "motes: another process of this training ended" in errors[0].splitlines()[-1]
    assert len(errors[1].splitlines()) == 1 and "was ended by signal 9" in errors[1]


@pytest.mark.slow
def test_ctrl_c_in_one_process_stops_all_at_the_same_step(start, train, tmp_path):
    process = start("--processes", "2")
    under_way(process)
    os.kill(children(process)[1], signal.SIGINT)
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 130 and "Interrupted after" in err and "Traceback" not in err
    same_bits(train("--processes", "2", "--resume"), train("--processes", "2", out="whole"))


@pytest.mark.slow
def test_what_cannot_work_is_said_once(start, tmp_path):
    def error(*words, code=2, **options):
        process = start(*words, **options)
        text, err = process.communicate(timeout=LIMIT)
        assert (process.returncode, text) == (code, ""), err
        assert [line for line in err.splitlines() if not line.startswith(("irreducible", "warning: "))] == [
            err.splitlines()[-1]
        ]
        return err

    assert "got 3 devices in 3 processes; expected a number that divides 1,024" in error("--processes", "3")
    assert "there is no checkpoint in 'run'" in error("--processes", "2", "--resume")
    assert "unknown shape" in error("--processes", "2", source="mons")
    assert not list((tmp_path / "run").glob("*"))


IN_PYTHON = """
import sys
import jax
number, count, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if count > 1:
    jax.distributed.initialize(address, count, number)
import numpy as np, pandas as pd, motes
changes = {changes}
model = motes.fit(pd.read_csv("rows.csv"), "table", changes=changes, seed=number if "other" in sys.argv else 0)
np.save(f"losses{{count}}-{{number}}.npy", model.training.losses)
model.save(f"model{{count}}-{{number}}.safetensors")
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.long)])
def test_members_of_a_table_are_trained_in_python(count, environment, tmp_path):
    learnable(300).to_csv(tmp_path / "rows.csv", index=False)

    def run(count, *words):
        address = f"127.0.0.1:{free_port()}"
        code = IN_PYTHON.format(changes=TABLE)
        processes = [
            subprocess.Popen([sys.executable, "-c", code, str(k), str(count), address, *words],
                             cwd=tmp_path, env=environment, stdout=-1, stderr=-1, text=True)
            for k in range(count)
        ]  # fmt: skip
        return [(*process.communicate(timeout=500), process.returncode) for process in processes]

    assert [code for *_, code in run(1) + run(count)] == [0] * (1 + count)
    found = [np.load(tmp_path / f"losses{count}-{k}.npy") for k in range(count)]
    assert all((one == found[0]).all() for one in found)
    np.testing.assert_allclose(found[0], np.load(tmp_path / "losses1-0.npy"), rtol=0, atol=1e-5)
    first = read_checkpoint(tmp_path / f"model{count}-0.safetensors")[0]
    run(count)
    again = read_checkpoint(tmp_path / f"model{count}-1.safetensors")[0]
    assert all(first[name].tobytes() == again[name].tobytes() for name in first)
    assert any("process 1 got other rows" in err for _, err, _ in run(count, "other"))
