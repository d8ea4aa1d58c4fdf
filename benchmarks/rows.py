"""Is memory flat, and training as fast, if a table of ten mixed columns is read from disk?

    python benchmarks/rows.py FOLDER [--most 2e7] [--steps 300] [--out rows.json] [--figure docs/images/rows.png]

For 10^4 rows, ten times as many, and so on up to `--most`, the table is written to FOLDER as Parquet files of at most a
million rows, and removed afterwards (2 x 10^7 rows: 0.9 GB, and as much again for the file that training reads). A new
process fits recipe `table` with all rows on disk; one more process fits 100,000 rows in memory. Measured in each: the
peak of its resident memory (Linux), the seconds before the first step (passes, schema and mixture), and what
the second half of the steps costs.
"""

import argparse
import multiprocessing
import re
import shutil
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from provenance import record

FILE = 1_000_000  # rows of a file
MEMORY = 100_000  # rows in memory, for comparison


def made(n: int, seed: int) -> pd.DataFrame:
    """Rows of the table: numbers, counts, labels, a date, and missing entries."""
    rng = np.random.default_rng(seed)
    age, score = rng.integers(18, 90, n), rng.normal(size=n)
    visits = rng.poisson(3 + age / 30)
    return pd.DataFrame(
        {
            "age": age,
            "income": np.exp(rng.normal(10, 0.6, n) + age / 100).round(2),
            "city": pd.Categorical.from_codes(
                np.minimum(rng.geometric(0.1, n) - 1, 39), [f"city {k}" for k in range(40)]
            ),
            "member": rng.random(n) < 0.3 + 0.4 * (age > 50),
            "start": np.datetime64("2020-01-01") + rng.integers(0, 1500, n).astype("m8[D]"),
            "score": score,
            "height": 0.5 * score + rng.normal(size=n),
            "visits": visits,
            "spend": np.where(rng.random(n) < 0.2, np.nan, visits * rng.gamma(2, 10, n)),
            "grade": pd.Categorical.from_codes(rng.integers(0, 5, n), list("ABCDE")),
        }
    )


def measured(folder: Path, disk: bool, steps: int) -> dict[str, float]:
    """Fit the files of a folder, and return what it cost."""
    import motes

    begin, ticks = time.perf_counter(), []

    def tick(now: Any) -> None:
        ticks.append((now.done, time.perf_counter() - begin, time.process_time()))

    changes = {"data.in_memory": 1 if disk else 10**12, "table.steps": steps, "table.check_every": steps}
    shape = {"table.width": 192, "table.depth": 2, "table.dropout": 0.1, "table.batch": 512, "table.calibrate": False}
    motes.fit(folder, "table", changes=changes | shape, verbose=False, on_progress=tick, scratch=folder / "scratch")
    half = next(one for one in ticks if one[0] >= steps // 2)
    peak = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert peak is not None
    steps, seconds, cpu = (last - first for last, first in zip(ticks[-1], half, strict=True))
    return {
        "peak, MiB": int(peak[1]) / 2**10,
        "before the first step, s": ticks[0][1],
        "steps per second": steps / seconds,
        "CPU ms per step": 1000 * cpu / steps,
    }


def cost(folder: Path, n: int, disk: bool, steps: int) -> dict[str, float]:
    """What a new process needs for n rows."""
    folder.mkdir()
    try:
        for begin in range(0, n, FILE):
            made(min(FILE, n - begin), begin).to_parquet(folder / f"part-{begin:09d}.parquet")
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
            found = executor.submit(measured, folder, disk, steps).result()
    finally:
        shutil.rmtree(folder)
    return {name: round(value, 2) for name, value in found.items()}


def draw(sizes: dict[str, dict[str, float]], memory: dict[str, float], path: Path) -> None:
    """Draw memory, seconds and speed by the number of rows."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(memory), figsize=(3.4 * len(memory), 3.2), layout="constrained")
    for ax, name in zip(axes, memory, strict=True):
        ax.plot([*map(int, sizes)], [one[name] for one in sizes.values()], "o-", label="rows on disk")
        ax.plot([MEMORY], [memory[name]], "s", label="rows in memory")
        ax.set(xscale="log", xlabel="rows", title=name, ylim=(0, None))
    axes[0].legend()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--most", type=float, default=2e7)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "rows.json")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parents[1] / "docs" / "images" / "rows.png")
    given = parser.parse_args()
    sizes = [10**k for k in range(4, 12) if 10**k < given.most] + [int(given.most)]
    memory = cost(given.folder / "table", MEMORY, False, given.steps)
    print(f"{MEMORY:,} rows in memory: {memory}", flush=True)
    found = {}
    for n in sizes:
        found[str(n)] = cost(given.folder / "table", n, True, given.steps)
        print(f"{n:,} rows on disk: {found[str(n)]}", flush=True)
    results = {"in memory, 100,000 rows": memory, "on disk": found}
    record(given.out, "python benchmarks/rows.py FOLDER", results, steps=given.steps)
    draw(found, memory, given.figure)
