"""What do averages of any length cost, per step of training?

`recipe default` with training.averages = 32, which is its default, against 0. Both are trained in turn; the time of a
step is the slope of the clock after the first tenth of the training, so that compiling does not count. Printed are the
medians of both, in seconds and in CPU seconds of all cores, and of their ratios.

    python benchmarks/averages.py [--rounds 7] [--steps 8000]
"""

import argparse
import statistics
import time

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
    arguments = parser.parse_args()
    pairs = [[step_cost(n, arguments.steps, seed) for n in (0, 32)] for seed in range(arguments.rounds)]
    for i, unit in enumerate(("ms", "CPU ms")):
        without, with_32 = (statistics.median(pair[j][i] for pair in pairs) for j in range(2))
        ratios = [pair[1][i] / pair[0][i] for pair in pairs]
        print(
            f"a step: {without:.3f} {unit} without averages, {with_32:.3f} {unit} with 32 stores; "
            f"ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        )


if __name__ == "__main__":
    main()
