"""Does a run that is killed at random moments, and gone on with each time, end in the same bits? What does it cost?

Runs are killed (SIGKILL, SIGTERM or SIGINT, in turns) at moments that are uniform over the time of a whole run. Each
that becomes complete is compared, to the bit, with one that nothing has interrupted; processes that end by another
signal than the one sent, such as a crash while they shut down, are counted. Then runs with a checkpoint every second
and without any are timed in turns: medians of the seconds of training, and their ratio.

    python benchmarks/resume.py [--kills 50] [--out FILE]           # points
    python benchmarks/resume.py TABLE [--kills 50] [--out FILE]     # a table
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from provenance import comparison, record
from safetensors import safe_open
from safetensors.numpy import load_file

TURNS = 5
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def start(source, out, *words):
    """The command line in a process of its own."""
    steps = "training.steps=40000" if source == "moons" else "table.steps=400"
    small = [f"--set={steps}"] + (["--set=network.width=32"] if source == "moons" else [])
    options = [] if "--resume" in words else small
    command = [
        sys.executable,
        "-m",
        "motes",
        "train",
        source,
        "--out",
        str(out),
        "--no-figures",
        "-q",
        *options,
        *words,
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def whole(source, out, *words):
    """A run that nothing interrupts; the seconds that its process took."""
    begin = time.perf_counter()
    _, said = start(source, out, *words).communicate()
    assert (out / "metrics.json").exists(), said
    return time.perf_counter() - begin


def results(out):
    """What a run leaves, without the times."""
    metrics = json.loads((out / "metrics.json").read_text()) | {"train_seconds": 0}
    path = out / "model.safetensors"
    with safe_open(path, "numpy") as file:
        tensors, about = load_file(path), file.metadata()
    rows = (out / "samples.csv").read_bytes(), (out / "history.jsonl").read_bytes()
    return metrics, {name: tensor.tobytes() for name, tensor in tensors.items()}, about, rows


def killed(source, folder, expected, seconds, most):
    """Kill and go on; how many runs became complete, the steps that were gone on from, and other ends of a process."""
    rng, kills, runs, places, crashed = random.Random(0), 0, 0, [], []
    out = folder / "killed"
    while kills < most:
        kept = sorted((out / "checkpoints").glob("*.safetensors"))
        places += [int(kept[-1].stem)] if kept else []
        process = start(source, out, "--checkpoint-every", "0", "--resume" if kept else "--overwrite")
        number = SIGNALS[kills % len(SIGNALS)]
        try:
            process.wait(rng.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        said = process.communicate()[1]
        if process.returncode == 0 or (out / "metrics.json").exists():  # it may have been killed once it was complete
            assert results(out) == expected, "other bits"
            out, runs = folder / f"killed-{runs}", runs + 1
            continue
        kills += 1
        # Python itself ends by the signal before it has a handler.
        if process.returncode not in (-number, 128 + number):
            crashed.append(f"{signal.Signals(number).name}: {process.returncode}")
            print(f"a run that got {signal.Signals(number).name} ended with {process.returncode}: {said}", flush=True)
        assert "Traceback" not in said or not kept or "KeyboardInterrupt" in said, said
    process = start(source, out, "--resume" if any((out / "checkpoints").glob("*.safetensors")) else "--overwrite")
    assert process.communicate() and process.returncode == 0 and results(out) == expected, "other bits"
    return runs + 1, places, crashed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="moons", metavar="TABLE")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--kills", type=int, default=50)
    given = parser.parse_args()
    source = given.source
    signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore it
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole(source, folder / "warm")  # compiles
        seconds = whole(source, folder / "whole")
        runs, places, crashed = killed(source, folder, results(folder / "whole"), seconds, given.kills)
        print(
            f"{given.kills} kills; {runs} runs complete, all of the same bits; went on from steps {places}", flush=True
        )
        spent = {"1": [], "1e9": []}
        for turn in range(TURNS):
            for every, took in spent.items():
                out = folder / f"timed-{every}-{turn}"
                whole(source, out, "--checkpoint-every", every)
                took.append(json.loads((out / "metrics.json").read_text())["train_seconds"])
        cost = comparison("a run", "s", ("without checkpoints", spent["1e9"]), ("one every second", spent["1"]))
        counts = {"kills": given.kills, "runs, all of the same bits": runs, "steps from which they went on": places}
        counts["processes that ended by another signal"] = crashed
        record(given.out, "python benchmarks/resume.py", {**counts, "comparisons": [cost]})
    if crashed:
        raise SystemExit(f"got processes that ended by another signal than the one sent: {', '.join(crashed)}")


if __name__ == "__main__":
    main()
