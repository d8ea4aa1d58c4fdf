"""How good is `recipe default`, and how long does the whole command take?

For each shape and seed it runs `motes train` from the shell, without figures, and judges `samples.csv` by a fresh draw.
The first run of all has an empty compilation cache (cold), the rest share it (warm). One more pair of runs tells what
the figures and the animation add. Medians over seeds are printed, beside the same figures for two real draws.

    python benchmarks/default_recipe.py [--seeds 5] [--set training.steps=2000 ...]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def to_samples(out: Path, begin: float) -> float:
    """Seconds from `begin` until samples.csv was there."""
    return (out / "samples.csv").stat().st_mtime - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--recipe", default="default")
    arguments = parser.parse_args()
    options = ["--recipe", arguments.recipe] + [f"--set={change}" for change in arguments.changes]
    folder = Path(tempfile.mkdtemp(prefix="motes-bench-"))
    warm, cold, reached, memory = folder / "warm", [], [], []
    for n in range(3):
        begin = time.time()
        run("swiss_roll", 0, folder / f"cold{n}", folder / f"cache{n}", "--no-figures", *options)
        cold.append(to_samples(folder / f"cold{n}", begin))
    run("swiss_roll", 0, folder / "first", warm, "--no-figures", *options)
    print(f"{'':<12} {'C2ST':>8} {'floor':>8} {'SW2':>8} {'floor':>8}   (medians over {arguments.seeds} seeds)")
    for shape in SHAPES:
        rows = []
        for seed in range(arguments.seeds):
            out, begin = folder / f"{shape}{seed}", time.time()
            run(shape, seed, out, warm, "--no-figures", *options)
            reached.append(to_samples(out, begin))
            # Seeds of the judges: far from those of training data (0 to 4) and from each other.
            fresh, other = (motes.draw(shape, 10_000, seed=base + seed) for base in (1_000_003, 2_000_003))
            made = motes.read_table(out / "samples.csv").x
            rows.append([f(points, fresh) for f in (motes.c2st, motes.sliced_w2) for points in (made, other)])
        c2st, c2st_floor, sw2, sw2_floor = np.median(rows, axis=0)
        print(f"{shape:<12} {c2st:8.4f} {c2st_floor:8.4f} {sw2:8.4f} {sw2_floor:8.4f}", flush=True)
    print(f"shell to samples.csv: cold {statistics.median(cold):.1f} s, warm {statistics.median(reached):.1f} s")
    run("swiss_roll", 0, folder / "figures", warm, *options)  # its programs join the cache
    pairs = []
    for n in range(3):
        plain, _ = run("swiss_roll", 0, folder / f"plain{n}", warm, "--no-figures", *options)
        drawn, peak = run("swiss_roll", 0, folder / f"drawn{n}", warm, *options)
        pairs.append(drawn - plain)
        memory.append(peak)
    print(f"figures and animation add {statistics.median(pairs):.1f} s; peak memory {max(memory):.0f} MiB")


if __name__ == "__main__":
    main()
