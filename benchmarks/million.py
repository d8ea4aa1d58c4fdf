"""How much faster is a million points of `recipe default` than of the tutorial's chain in PyTorch eager?

The chain is that of `tutorial_speed.py`, 100 steps, in two ways: all points at once, as the tutorial draws them, and in
blocks of 10,000, which keep to the cache. One in twenty of its steps, which are alike, or of its blocks is measured.
Both sides are measured in turn; printed are medians of ratios, in seconds and in CPU seconds of all cores. Memory is
that of a process for each (Linux). The distances are those of `recipe tutorial`, since how fast the chain in PyTorch is
does not depend on its weights.

    python benchmarks/million.py [--rounds 3] [--points 1000000] [--shape swiss_roll] [--out FILE]
"""

import argparse
import multiprocessing
import re
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from provenance import comparison, cost, record

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


def speed(model: motes.Model, points: int, rounds: int) -> list[dict[str, Any]]:
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
    return [
        comparison(
            f"{points:,} points",
            unit,
            ("recipe `default`", [one[i] for one in ours]),
            (f"PyTorch {way}, {threads[way]} thread{'s'[: threads[way] > 1]}", [one[i] for one in found]),
        )
        for i, unit in enumerate(("s", "CPU s"))
        for way, found in others.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--shape", default="swiss_roll")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    model = motes.fit(motes.make_shape(arguments.shape, 10_000, seed=0), seed=0)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        for points in (arguments.points // 10, arguments.points):
            with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
                ours, theirs = pool.apply(our_peak, (path, points)), pool.apply(their_peak, (points,))
            sides = ("recipe `default`", [ours]), ("PyTorch all at once", [theirs])
            found.append(comparison(f"peak memory, {points:,} points", "MiB", *sides))
    found += speed(model, arguments.points, arguments.rounds)
    fresh, other = (motes.make_shape(arguments.shape, COMPARED, seed=seed) for seed in (1_000_003, 2_000_003))
    tutorial = motes.fit(motes.make_shape(arguments.shape, 10_000, seed=0), "tutorial", seed=0)
    distance = lambda points: [float(motes.sliced_w2(points, fresh, directions=60))]
    ours = "recipe `default`", distance(model.sample(COMPARED))
    for name, points in {"recipe `tutorial`": tutorial.sample(COMPARED), "real points": other}.items():
        found.append(comparison(f"sliced W2 of {COMPARED:,} points", "", ours, (name, distance(points))))
    record(arguments.out, "python benchmarks/million.py", {"comparisons": found}, torch=version("torch"))


if __name__ == "__main__":
    main()
