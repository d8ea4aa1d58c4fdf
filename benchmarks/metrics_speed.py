"""How long does the whole set of metrics take for 10,000 against 10,000 points, and how much memory?

Each run is a process of its own, so that its peak is its own; half of the work is for reference values.

    python benchmarks/metrics_speed.py [--rounds 3] [--rows 10000] [--out FILE]
"""

import argparse
import multiprocessing
import resource
import sys
import time
from pathlib import Path

import numpy as np
from provenance import measured, record

import motes
from motes.evaluation import Modes, compare


def measure(rows: int) -> tuple[float, float, list[str]]:
    """Seconds of `compare`, imports included; peak MiB of the process; the table."""
    made, real, other = (motes.make_shape("eight_gaussians", rows, seed=seed) for seed in range(3))
    angle = np.arange(8) * np.pi / 4
    modes = Modes.at(2 * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    begin = time.perf_counter()
    table = compare(made, real, other, real, modes=modes)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return seconds, peak, [f"{row.metric.name:<16} {row.metric!s:<44} {row.reference}" for row in table]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        runs = [pool.apply(measure, (arguments.rows,)) for _ in range(arguments.rounds)]
    print(f"{'':<16} {'two real draws':<44} two others")
    print("\n".join(runs[0][2]))
    seconds, peaks, _ = zip(*runs, strict=True)
    what = f"all metrics of {arguments.rows:,} against {arguments.rows:,} points"
    found = [measured(what, "s", seconds), measured("their peak memory", "MiB", peaks)]
    record(arguments.out, "python benchmarks/metrics_speed.py", {"measures": found})


if __name__ == "__main__":
    main()
