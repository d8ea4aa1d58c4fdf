"""How much faster is a million points of `recipe default` than of the tutorial's chain in PyTorch eager?

The chain is that of `tutorial_speed.py`, 100 steps, in two ways: all points at once, as the tutorial draws them, and in
blocks of 10,000, which keep to the cache. One in twenty of its steps, which are alike, or of its blocks is measured.
Both sides are measured in turn; printed are medians of ratios, in seconds and in CPU seconds of all cores. Memory is
that of a process for each (Linux). The distances are those of `recipe tutorial`, since how fast the chain in PyTorch is
does not depend on its weights.

    python benchmarks/million.py [--rounds 3] [--points 1000000] [--shape swiss_roll]
"""

import argparse
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import motes

CACHED = 10_000  # points of a block
PART = 20  # of the steps, or of the blocks, one in so many is measured
COMPARED = 100_000  # points, of each set


def peak() -> float:
    """MiB that this process has held at most."""
    status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's, where that has held more
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**10


def our_peak(path: Path, points: int) -> float:
    motes.load(path).sample(points)
    return peak()


def pytorch():  # type: ignore[no-untyped-def]
    """The tutorial's chain. PyTorch loads here, so that our own process is measured without it."""
    from tutorial_speed import Torch

    return Torch(motes.load_recipe("tutorial").make_schedule(), motes.make_shape("moons", 100))


def their_peak(points: int) -> float:
    pytorch().sample(points, steps=2)  # every step needs the same
    return peak()


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def speed(model: motes.Model, points: int, rounds: int) -> None:
    import torch
    from tutorial_speed import CHAIN, best_threads

    theirs = pytorch()
    ways = {
        "all at once": lambda: theirs.sample(points, CHAIN // PART),
        f"in blocks of {CACHED:,}": lambda: [theirs.sample(CACHED) for _ in range(points // CACHED // PART)],
    }
    threads = {
        "all at once": best_threads(lambda: theirs.sample(points, 1)),
        f"in blocks of {CACHED:,}": best_threads(lambda: theirs.sample(CACHED)),
    }
    model.sample(10)  # compile
    ours, others = [], {way: [] for way in ways}
    for _ in range(rounds):
        ours.append(cost(lambda: model.sample(points)))
        for way, run in ways.items():
            torch.set_num_threads(threads[way])
            others[way].append([PART * seconds for seconds in cost(run)])
    wall, cpu = (statistics.median(side) for side in zip(*ours, strict=True))
    print(f"{points:,} points of recipe default: {wall:.1f} s, {cpu:.1f} CPU s")
    for way, found in others.items():
        wall, cpu = (statistics.median(side) for side in zip(*found, strict=True))
        ratios = ([b[i] / a[i] for a, b in zip(ours, found, strict=True)] for i in range(2))
        by_wall, by_cpu = (statistics.median(side) for side in ratios)
        print(
            f"the tutorial's chain in PyTorch {torch.__version__}, {way}, {threads[way]} thread(s): {wall:.0f} s, "
            f"{cpu:.0f} CPU s, {by_wall:.1f} and {by_cpu:.1f} times ours",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--shape", default="swiss_roll")
    arguments = parser.parse_args()
    model = motes.fit(motes.make_shape(arguments.shape, 10_000, seed=0), seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        for points in (arguments.points // 10, arguments.points):
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                ours, theirs = pool.apply(our_peak, (path, points)), pool.apply(their_peak, (points,))
            print(f"peak memory at {points:,} points: ours {ours:.0f} MiB, PyTorch's {theirs:.0f} MiB", flush=True)
    speed(model, arguments.points, arguments.rounds)
    fresh, other = (motes.make_shape(arguments.shape, COMPARED, seed=seed) for seed in (1_000_003, 2_000_003))
    tutorial = motes.fit(motes.make_shape(arguments.shape, 10_000, seed=0), "tutorial", seed=0)
    sets = {
        "recipe default": model.sample(COMPARED),
        "recipe tutorial": tutorial.sample(COMPARED),
        "a real draw": other,
    }
    for name, points in sets.items():
        print(f"sliced W2 of {COMPARED:,} points of {name}: {motes.sliced_w2(points, fresh, directions=60)}")


if __name__ == "__main__":
    main()
