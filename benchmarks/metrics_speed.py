"""How long does the whole set of metrics take for 10,000 against 10,000 points, and how much memory?

Each run is a process of its own, so that its peak is its own; half of the work is for reference values.

    python benchmarks/metrics_speed.py [--rounds 3] [--rows 10000]
"""

import argparse
import multiprocessing
import resource
import statistics
import sys
import time

import numpy as np

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
    arguments = parser.parse_args()
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        runs = [pool.apply(measure, (arguments.rows,)) for _ in range(arguments.rounds)]
    print(f"{'':<16} {'two real draws':<44} two others")
    print("\n".join(runs[0][2]))
    seconds, peaks = [run[0] for run in runs], [run[1] for run in runs]
    print(f"median {statistics.median(seconds):.1f} s of", " ".join(f"{s:.1f}" for s in seconds), "s;"
          f" peak memory {max(peaks):.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
