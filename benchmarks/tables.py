"""How long does a table of a million rows take on its way to codes and back, and in how much memory?

Ten columns, one of each kind. Times are CPU seconds; memory is by how much a step raises the peak of its own process,
in units of the 80 bytes that ten float64 of a row take.

    python benchmarks/tables.py [--rows 1000000] [--out FILE]
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from provenance import measured, record

from motes.data import Frame, as_frame, read_frame, write_frame
from motes.tables import Schema


def table(n: int) -> Frame:
    """Rows with a column of each kind."""
    rng = np.random.default_rng(0)
    seconds = np.datetime64("2020-01-01") + rng.integers(0, 10**8, n).astype("m8[s]")
    columns = {
        "real": rng.normal(size=n),
        "positive": rng.lognormal(size=n),
        "share": rng.beta(0.6, 0.8, size=n),
        "heavy": rng.standard_t(2, size=n),
        "few": rng.poisson(2, n),
        "many": rng.normal(500, 120, n).round().astype(int).clip(0),
        "skewed": rng.lognormal(5, 1.5, size=n).astype(int),
        "flag": rng.random(n) < 0.1,
        "word": np.array(["red", "green", "blue"])[rng.choice(3, n, p=[0.7, 0.2, 0.1])],
        "second": seconds.astype("M8[us]"),
    }
    return Frame({name: as_frame(column[:, None], [name]).columns[name] for name, column in columns.items()})


def measure(step: str, folder: Path, n: int) -> tuple[float, float] | None:
    """Run one step in this process; return its CPU seconds and what it added to the peak, per 80 bytes of a row."""
    if step == "write":
        for suffix in ("parquet", "csv"):
            write_frame(folder / f"table.{suffix}", table(n))
            write_frame(folder / f"small.{suffix}", table(10))
        return None
    if step.startswith("read"):
        read_frame(folder / f"small.{step.split()[1]}")  # what pyarrow itself takes is not the table's
        work = lambda: read_frame(folder / f"table.{step.split()[1]}")
    else:
        frame = read_frame(folder / "table.parquet")
        if step == "fit":
            work = lambda: Schema.fit(frame)
        else:
            schema = Schema.fit(frame)
            made = schema.encode(frame) if step == "decode" else None
            u = np.random.default_rng(1).random((n, len(schema.parts)))
            work = (lambda: schema.encode(frame)) if made is None else (lambda: schema.decode(made.codes, made.y, u))
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    work()
    took = time.process_time() - start
    return took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / (80 * n)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    given = parser.parse_args()
    found = []
    # Each in its own process, also the writing: a process starts with the peak of the one that it comes from.
    with (
        tempfile.TemporaryDirectory() as name,
        multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool,
    ):
        for step in ("write", "read parquet", "read csv", "fit", "encode", "decode"):
            if taken := pool.apply(measure, (step, Path(name), given.rows)):
                found.append(measured(f"{step}, {given.rows:,} rows", "CPU s", taken[:1]))
                found.append(measured("its memory", "x 80 bytes per row", taken[1:]))
    record(given.out, "python benchmarks/tables.py", {"measures": found})


if __name__ == "__main__":
    main()
