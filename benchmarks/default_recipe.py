"""How good is `recipe default`, and how long does the whole command take?

For each shape and seed it runs `motes train` from the shell, without figures, and compares `samples.csv` with a fresh
draw. The first run of all has an empty compilation cache (cold), the rest share it (warm). One more pair of runs tells
what the figures and the animation add. Medians over seeds are printed, beside the same figures for two real draws.

    python benchmarks/default_recipe.py [--seeds 5] [--set training.steps=2000 ...] [--out FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from provenance import measured, record, short

import motes

MOTES = [sys.executable, "-c", "from motes.cli import main; main()"]
SHAPES = ("swiss_roll", "s_curve", "moons")


def run(shape: str, seed: int, out: Path, cache: Path, *options: str) -> tuple[float, float]:
    """Wall seconds from the shell to the end, and peak memory in MiB, of one command."""
    begin = time.perf_counter()
    command = [*MOTES, "train", shape, "--out", str(out), "--seed", str(seed), "--quiet", *options]
    process = subprocess.Popen(command, env=os.environ | {"XDG_CACHE_HOME": str(cache)}, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"motes train {shape} ended with {process.returncode}")
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def compared(shape: str, seed: int, made: np.ndarray) -> list[float]:
    """C2ST and SW2 of the samples, of a second real draw, and of the training set drawn from with replacement.

    The last is the best that any model can do that has learned the training set and nothing else. Each is the mean over
    three fresh draws, so that an odd one does not decide; their seeds are far from those of the training data.
    """
    train = motes.make_shape(shape, 10_000, seed=seed)
    resample = train[np.random.default_rng(10**7 + seed).integers(len(train), size=len(train))]
    other = motes.make_shape(shape, 10_000, seed=2_000_003 + seed)
    draws = [motes.make_shape(shape, 10_000, seed=1_000_003 + 10 * seed + j) for j in range(3)]
    metrics = (motes.c2st, motes.sliced_w2)
    return [float(np.mean([f(x, draw) for draw in draws])) for f in metrics for x in (made, other, resample)]


def to_samples(out: Path, begin: float) -> float:
    """Seconds from `begin` until samples.csv was there."""
    return (out / "samples.csv").stat().st_mtime - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    options = ["--recipe", arguments.recipe] + [f"--set={change}" for change in arguments.changes]
    folder = Path(tempfile.mkdtemp(prefix="motes-bench-"))
    warm, cold, reached, memory = folder / "warm", [], [], []
    for n in range(3):
        begin = time.time()
        run("swiss_roll", 0, folder / f"cold{n}", folder / f"cache{n}", "--no-figures", *options)
        cold.append(to_samples(folder / f"cold{n}", begin))
    run("swiss_roll", 0, folder / "first", warm, "--no-figures", *options)
    print(
        f"medians over {arguments.seeds} seeds: by each run's own fresh draw (metrics.json), then by three fresh draws,"
    )
    print("beside two real draws and a resampled training set")
    names = ("own C2ST", "own SW2", "C2ST", "real", "resample", "SW2", "real", "resample")
    print(" " * 12 + "".join(f"{name:>9}" for name in names))
    shapes = {}
    for shape in SHAPES:
        rows = []
        for seed in range(arguments.seeds):
            out, begin = folder / f"{shape}{seed}", time.time()
            run(shape, seed, out, warm, "--no-figures", *options)
            reached.append(to_samples(out, begin))
            entries = json.loads((out / "metrics.json").read_text())["entries"]
            own = {entry["name"]: entry["value"] for entry in entries}
            rows.append(
                [own["c2st"], own["sliced_w2"], *compared(shape, seed, motes.data.read_table(out / "samples.csv").x)]
            )
        middle = [short(value) for value in np.median(rows, axis=0)]
        print(f"{shape:<12}" + "".join(f"{value:9.4f}" for value in middle), flush=True)
        sides = ("motes", "real points", "points drawn from the training set")
        parts = {"C2ST": middle[2:5], "sliced W2": middle[5:]}
        shapes[shape] = {metric: dict(zip(sides, values, strict=True)) for metric, values in parts.items()}
    run("swiss_roll", 0, folder / "figures", warm, *options)  # its programs join the cache
    added = []
    for n in range(3):
        plain, _ = run("swiss_roll", 0, folder / f"plain{n}", warm, "--no-figures", *options)
        drawn, peak = run("swiss_roll", 0, folder / f"drawn{n}", warm, *options)
        added.append(drawn - plain)
        memory.append(peak)
    measures = [
        measured("`motes train` until its samples are written, with a cold cache of compiled programs", "s", cold),
        measured("the same with a warm cache", "s", reached),
        measured("figures and animation", "s", added),
        measured("peak memory", "MiB", memory),
    ]
    asked = {"seeds": arguments.seeds, "options": options}
    record(arguments.out, "python benchmarks/default_recipe.py", {"shapes": shapes, "measures": measures}, **asked)


if __name__ == "__main__":
    main()
