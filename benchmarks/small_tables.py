"""Seconds of small tables, from the shell to samples, in pairs with another checkout.

    python benchmarks/small_tables.py OTHER/.venv/bin/python [--out small_tables.json] [--draw 100000]

Each table is trained by `motes train TABLE --no-figures` with an empty cache of compiled programs (cold) and again with
what that left there (warm), by the other checkout and by this one in turn, until samples.csv is there; the verdict
comes later. Of 150 rows of 30 columns, rows are also drawn from the saved model. CPU seconds are of all threads, and
hardly depend on what else the machine does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import record
from toys import seconds_to_samples

DRAW = """
import sys, resource, motes
model = motes.load(sys.argv[1])
model.sample(4000, seed=0)
usage = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
before = usage()
model.sample(int(sys.argv[2]), seed=1)
print(usage() - before)
"""


def table(rows: int, columns: int) -> pd.DataFrame:
    """Numbers, whole numbers and labels that go together."""
    rng = np.random.default_rng(5)
    mixed = rng.normal(size=(columns, columns)) / np.sqrt(columns)
    z = rng.normal(size=(rows, columns)) @ mixed + 0.5 * rng.normal(size=(rows, columns))
    made = {}
    for j in range(columns):
        if j % 5 == 3:
            made[f"c{j}"] = np.array(list("abcdefgh"))[np.clip((z[:, j] * 1.5 + 4).astype(int), 0, 7)]
        elif j % 5 == 4:
            made[f"c{j}"] = np.round(np.exp(z[:, j] * 0.7 + 3)).astype(int)
        else:
            made[f"c{j}"] = np.round(z[:, j] * 10 + np.sin(z[:, 0]), 3)
    return pd.DataFrame(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the Python of the other checkout")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--draw", type=int, default=100_000)
    parser.add_argument("--tables", nargs="+", default=["penguins", "150x30", "1000x10", "10000x10"])
    args = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        pythons = {"before": args.other, "after": sys.executable}
        environments = {}
        for name in pythons:
            environments[name] = os.environ | {
                "JAX_COMPILATION_CACHE_DIR": str(here / name), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            }  # fmt: skip
        for source in args.tables:
            data, own = source, found.setdefault(source, {})
            if "x" in source:
                data = str(here / f"{source}.csv")
                table(*map(int, source.split("x"))).to_csv(data, index=False)
            for name in pythons:
                subprocess.run(["rm", "-rf", str(here / name)], check=True)
            for cache in ("cold", "warm"):
                own[cache] = {}
                for name, python in pythons.items():
                    out = here / f"run-{source}-{name}"
                    words = [
                        python,
                        "-m",
                        "motes",
                        "train",
                        data,
                        "--no-figures",
                        "--overwrite",
                        "-q",
                        "--out",
                        str(out),
                    ]
                    cpu, wall = seconds_to_samples(words, out, environments[name])
                    own[cache] |= {f"{name} cpu": cpu, f"{name} wall": wall}
                print(source, cache, own[cache], flush=True)
        if "150x30" in args.tables:
            own = found["150x30"]["draw"] = {}
            for name, python in pythons.items():
                model = here / f"run-150x30-{name}" / "model.safetensors"
                words = [python, "-c", DRAW, str(model), str(args.draw)]
                done = subprocess.run(words, env=environments[name], capture_output=True, text=True, check=True)
                own[f"{name} cpu"] = round(float(done.stdout), 2)
            print("draw", own, flush=True)
    command = "python benchmarks/small_tables.py OTHER/.venv/bin/python"
    record(args.out, command, {"seconds": found}, **{"drawn rows": args.draw})


if __name__ == "__main__":
    main()
