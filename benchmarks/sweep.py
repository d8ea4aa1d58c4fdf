"""Is a sweep slower than its models one after the other?

Each side trains, evaluates and saves the same models in a process of its own, which compiles all programs anew; the
sides run in turns. `loop` calls `motes.fit` and `evaluate` one after the other in one process, `sweep` is
`motes.sweep`, and `workers` is the same with two processes. Medians of seconds, and the ratio to `loop`; the models of
all sides are compared to the bit.

    python benchmarks/sweep.py                             # moons: 2 learning rates x 4 seeds, and 2 widths x 2 seeds
    python benchmarks/sweep.py --source penguins
    python benchmarks/sweep.py --steps 50 --seeds 1 --turns 1    # a quick try

`--out FILE` writes the results as JSON.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path

from provenance import comparison, record

import motes

KEYS = {"moons": ("training", "network"), "penguins": ("table", "table")}  # sections of the rate and of the width


def grids(source, steps, seeds):
    """Changes and number of seeds: other numbers, and other widths."""
    training, network = KEYS.get(source, KEYS["penguins"])
    rates = {f"{training}.learning_rate": [1e-3, 4e-3], f"{training}.steps": steps}
    return [(rates, seeds), ({f"{network}.width": [48, 96], f"{training}.steps": steps}, max(seeds // 2, 1))]


def run(side, given, folder):
    """Train all models of a grid; return their checksums."""
    changes, seeds = grids(given.source, given.steps, given.seeds)[given.grid]
    if side == "loop":
        (key, values), *fixed = changes.items()
        sums = []
        for seed, value in product(range(seeds), values):
            model = motes.fit(given.source, changes={key: value, **dict(fixed)}, seed=seed, verbose=False)
            model.evaluate(seed=seed)
            model.save(folder / f"{len(sums)}.safetensors")
            sums.append(model.checksum)
        return sorted(sums)
    executor = None
    if side == "workers":
        executor = ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))
    found = motes.sweep(given.source, changes=changes, seeds=seeds, out=folder, executor=executor)
    return sorted(motes.load(folder / one["model"]).checksum for one in found.models)


def timed(side, grid, given):
    """Seconds of a process, from its start, and what it prints."""
    words = ["--side", side, "--grid", str(grid), "--source", given.source]
    words += ["--steps", str(given.steps), "--seeds", str(given.seeds)]
    anew = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, *words], env=anew, stdout=subprocess.PIPE, text=True, check=True)
    return time.perf_counter() - begin, done.stdout


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", default="moons")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--grid", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        with tempfile.TemporaryDirectory() as folder:
            print(run(given.side, given, Path(folder)))
        return
    results = []
    for grid, (changes, seeds) in enumerate(grids(given.source, given.steps, given.seeds)):
        seconds, sums = {"loop": [], "sweep": [], "workers": []}, set()
        for _ in range(given.turns):
            for side, past in seconds.items():
                found, printed = timed(side, grid, given)
                past.append(found)
                sums.add(printed)
        if len(sums) > 1:
            raise SystemExit(f"{changes}: the models of the sides differ")
        key, values = next(iter(changes.items()))
        what = f"{given.source}: {len(values)} of {key} x {seeds} seeds"
        others = {"sweep": "`motes.sweep`", "workers": "with two processes"}
        results += [
            comparison(what, "s", ("one after the other", seconds["loop"]), (name, seconds[side]))
            for side, name in others.items()
        ]
    record(given.out, f"python benchmarks/sweep.py --source {given.source}", {"comparisons": results})


if __name__ == "__main__":
    main()
