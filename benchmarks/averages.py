"""What do averages of any length cost, per step of training?

`recipe default` with training.averages = 32, which is its default, against 0. Both are trained in turn; the time of a
step is the slope of the clock after the first tenth of the training, so that compiling does not count. Printed are the
medians of both, in seconds and in CPU seconds of all cores, and of their ratios.

    python benchmarks/averages.py [--rounds 7] [--steps 8000] [--out FILE]
"""

import argparse
import time
from pathlib import Path

from provenance import comparison, record

import motes


def step_cost(averages: int, steps: int, seed: int) -> tuple[float, float]:
    """Seconds and CPU seconds of a step, both times 1,000."""
    seen: list[tuple[int, float, float]] = []
    motes.fit(
        motes.make_shape("moons", 10_000),
        changes={"training.steps": steps, "training.averages": averages},
        seed=seed,
        on_progress=lambda now: seen.append((now.done, now.seconds, time.process_time())),
    )
    first = next(row for row in seen if row[0] >= steps // 10)
    taken = seen[-1][0] - first[0]
    return 1e3 * (seen[-1][1] - first[1]) / taken, 1e3 * (seen[-1][2] - first[2]) / taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=8_000)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    pairs = [[step_cost(n, arguments.steps, seed) for n in (0, 32)] for seed in range(arguments.rounds)]
    found = [
        comparison(
            "a training step",
            unit,
            ("without averages", [without[i] for without, _ in pairs]),
            ("with 32", [stored[i] for _, stored in pairs]),
        )
        for i, unit in enumerate(("ms", "CPU ms"))
    ]
    record(arguments.out, "python benchmarks/averages.py", {"comparisons": found}, steps=arguments.steps)


if __name__ == "__main__":
    main()
