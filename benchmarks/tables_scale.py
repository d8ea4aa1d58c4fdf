"""How long does a table of 50,000 rows take to fit, how long a million rows to draw, and in how much memory?

The table is `diamonds` of plotnine: 53,940 rows of ten columns, seven of them numbers and three ordered labels. 50,000
rows are learned, and synthetic rows are compared with the others by the classifier of `motes evaluate`: an accuracy of
0.5 is that of a second real draw. Memory is the most that a process of its own has held while it drew, or scored, so
many rows, beyond what it held before.

    python benchmarks/tables_scale.py [--rows 1000000] [--set table.steps=1500] [--out FILE]
"""

import argparse
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
from provenance import measured, record

import motes

LEARNED = 50_000


def parted():
    """The rows to learn from, and the others."""
    from plotnine.data import diamonds

    order = np.random.default_rng(0).permutation(len(diamonds))
    parts = order[:LEARNED], order[LEARNED:]
    return [diamonds.iloc[part].reset_index(drop=True) for part in parts]


def drawn(path, n):
    """Seconds, and MiB beyond those of 10,000 rows, for n rows."""
    model = motes.load(path)
    model.sample(10_000, seed=1)
    return spent(lambda: model.sample(n, seed=2))


def scored(path, n):
    """The same of log-likelihoods."""
    model, (_, fresh) = motes.load(path), parted()
    model.score_samples(fresh[:1000])
    rows = fresh.iloc[np.arange(n) % len(fresh)].reset_index(drop=True)
    return spent(lambda: model.score_samples(rows))


def spent(work):
    Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the most that was held
    before, begin = held("VmRSS"), time.perf_counter()
    work()
    return time.perf_counter() - begin, held("VmHWM") - before


def held(what):
    """MiB, as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def apart(work, *arguments):
    """In a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, arguments)


def main() -> None:
    from motes.data import as_frame
    from motes.evaluation import evaluate_tables

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    learn, fresh = parted()
    begin = time.perf_counter()
    model = motes.fit(learn, "table", changes=arguments.changes, verbose=False)
    results = [measured(f"fit of {len(learn):,} x {learn.shape[1]}", "s", [time.perf_counter() - begin])]
    found = evaluate_tables(model.sample(10_000, seed=7), as_frame(fresh), as_frame(learn), model.schema, seed=3)
    told = found.details.classifier
    results.append(measured("C2ST of 10,000 synthetic rows", "", [float(told.accuracy)]))
    results.append(measured("C2ST of real rows", "", [float(told.reference_value)]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model.save(path)
        for n in (arguments.rows // 10, arguments.rows):
            seconds, memory = apart(drawn, path, n)
            results.append(measured(f"draw of {n:,} rows", "s", [seconds]))
            results.append(measured(f"its memory, with {n * 80 / 2**20:.0f} MiB of cells", "MiB", [memory]))
        for n in (1_000, 10_000):
            seconds, memory = apart(scored, path, n)
            results.append(measured(f"log-likelihoods of {n:,} rows", "s", [seconds]))
            results.append(measured("their memory", "MiB", [memory]))
    changes = {"changes": arguments.changes}
    record(arguments.out, "python benchmarks/tables_scale.py", {"measures": results}, **changes)


if __name__ == "__main__":
    main()
