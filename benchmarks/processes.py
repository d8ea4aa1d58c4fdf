"""Rows per second of a training by two processes, compared with one process on one and on two cores.

Each process has one core of its own. Recipe `default` learns moons with a batch of 512 and of 65,536 rows, and recipe
`table` with a network of width 192 learns 20,000 rows of six columns. Rates are of the second half of the steps, which
has no compilation. Turns alternate, and medians are printed.

    python benchmarks/processes.py [--turns 3] [--steps 1.0]
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
from provenance import record

TASKS = {  # name -> recipe, its section, changes of the section, steps
    "default, batch 512": ("default", "training", {"batch": 512}, 3000),
    "default, batch 65,536": ("default", "training", {"batch": 65_536}, 40),
    "table, width 192": ("table", "table", {"batch": 512, "width": 192, "depth": 2, "patience": 10**6}, 150),
}
SETTINGS = {"1 process, 1 core": [{0}], "1 process, 2 cores": [{0, 1}], "2 processes, 1 core each": [{0}, {1}]}


def train(name: str, steps: float, number: int, count: int, address: str, cores: set[int]) -> None:
    """Train in one process, and print the rows per second."""
    os.sched_setaffinity(0, cores)
    import jax

    if count > 1:
        jax.distributed.initialize(address, count, number)
    import motes

    recipe, section, options, most = TASKS[name]
    rng = np.random.default_rng(0)
    if recipe == "table":
        data = {f"x{k}": rng.gamma(1 + k, size=20_000) for k in range(4)}
        data |= {f"label{k}": rng.choice(list("abcdef"), 20_000) for k in range(2)}
    else:
        data = motes.make_shape("moons", 100_000)
    seen = []
    changes = {f"{section}.{key}": value for key, value in {**options, "steps": round(most * steps)}.items()}
    see = lambda now: seen.append((now.done, now.seconds))
    motes.fit(data, recipe, changes=changes, verbose=False, on_progress=see)
    half = next(k for k, (done, _) in enumerate(seen) if done >= seen[-1][0] / 2)
    (done, begin), (end, seconds) = seen[min(half, len(seen) - 2)], seen[-1]
    if number == 0:
        print(json.dumps(options["batch"] * (end - done) / (seconds - begin)))
    if count > 1:
        jax.distributed.shutdown()


def measure(name: str, cores: list[set[int]], steps: float) -> float:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{one.getsockname()[1]}"
    call = lambda k: [sys.executable, __file__, "--child", repr((name, steps, k, len(cores), address, cores[k]))]
    processes = [subprocess.Popen(call(k), stdout=subprocess.PIPE, text=True) for k in range(len(cores))]
    found = [process.communicate()[0] for process in processes]
    return json.loads(found[0].splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=float, default=1.0, help="multiple of the steps")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        import ast

        train(*ast.literal_eval(asked.child))
        return
    results = {}
    for name in TASKS:
        turns = [
            {how: measure(name, cores, asked.steps) for how, cores in SETTINGS.items()} for _ in range(asked.turns)
        ]
        results[name] = {how: float(np.median([turn[how] for turn in turns])) for how in SETTINGS}
        for how, rate in results[name].items():
            print(f"{name:<24}{how:<26}{rate:>12,.0f} rows/s", flush=True)
    out = Path(__file__).parent / "results" / "processes.json"
    record(out, "python benchmarks/processes.py", results, turns=asked.turns)


if __name__ == "__main__":
    main()
