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
from pathlib import Path

import pandas as pd
from panel import detected, draw
from panel_tables import PANEL
from provenance import record, short
from tables_protocol import TARGETS, read
from threadpoolctl import threadpool_limits

ROWS = 500, 1000, 2000, 4000, 8000, 11_900, 12_100, 16_000
HELD_OUT = 4000


def split(name: str, folder: Path, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return training rows in random order, and held-out rows."""
    if name in PANEL:
        return PANEL[name].split(seed)
    train, test = (rows.sample(frac=1, random_state=seed, ignore_index=True) for rows in read(folder, name))
    return train, test[:HELD_OUT]


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
        train, test = split(name, given.folder, seed)
        if str(seed) in entry or count > len(train):
            continue
        rows, figures = draw("motes", train[:count], test, seed, {})
        with threadpool_limits(1):
            auc = detected(test, rows[count:].reset_index(drop=True), seed)
        entry[str(seed)] = figures | {"auc": short(auc)}
        print(name, count, seed, entry[str(seed)], flush=True)
        record(given.out, "python benchmarks/rows_of_training.py FOLDER --out FILE", {"tables": done})


if __name__ == "__main__":
    main()
