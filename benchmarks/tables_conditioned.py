"""How good are rows of which a share of the entries is known, by the metrics of the tables protocol?

This is the conditional experiment of TabPC (its scripts/experiment_conditional.py). Each entry of the test rows is
hidden with the same probability, the model draws what is hidden given the rest, and the completed rows are compared
with the test rows: errors of shapes and trends in %, and detection by boosted trees (1 = cannot be told apart). Where
nothing is known, the rows are drawn. Where all is known, they are the test rows, so the figures are those of a perfect
copy. Beside the model, each hidden entry is drawn from its column of the training rows, on its own.

The folder and its tables are those of `tables_protocol.py`.

    python benchmarks/tables_conditioned.py FOLDER [--table adult] [--known 0 0.25 0.5 0.75 1] [--seed 0] [--out FILE]
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from protocol_metrics import evaluate
from provenance import record, short
from tables_protocol import TARGETS, read

PARTS = ("shape", "trend", "xgb_train")  # against the test rows, which stand in the place of the training rows


def hidden(rows: pd.DataFrame, known: float, seed: int) -> np.ndarray:
    """(n, d): which entries are hidden."""
    return np.random.default_rng([seed, round(100 * known)]).random(rows.shape) >= known


def from_columns(rows: pd.DataFrame, hide: np.ndarray, train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows with each hidden entry from its column of the training rows."""
    rng = np.random.default_rng(seed)
    drawn = pd.DataFrame({name: train[name].to_numpy()[rng.integers(len(train), size=len(rows))] for name in rows})
    return rows.mask(hide, drawn)


def main() -> None:
    import motes

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--table", choices=[*TARGETS], default="adult")
    parser.add_argument("--known", type=float, nargs="+", default=[0.0, 0.25, 0.5, 0.75, 1.0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    train, test = read(arguments.folder, arguments.table)
    rows, target = test.reset_index(drop=True), TARGETS[arguments.table]
    model = motes.fit(train, "table", seed=arguments.seed, verbose=False)
    print(f"{arguments.table}: {len(rows):,} test rows")
    print(f"{'':<12}{'motes':^33}{'columns alone':^33}")
    print(f"{'known':<12}" + 2 * f"{'shape':>9}{'trend':>9}{'XGB':>9}{'':6}" + f"{'s':>6}")
    results: dict[str, dict[str, object]] = {}
    for known in arguments.known:
        hide = hidden(rows, known, arguments.seed)
        begin = time.perf_counter()
        if known == 0:
            filled = model.sample(len(rows), seed=arguments.seed + 1)
        elif known == 1:
            filled = rows
        else:
            filled = model.impute(rows.mask(hide), seed=arguments.seed + 1)
        spent = time.perf_counter() - begin
        others = from_columns(rows, hide, train, arguments.seed + 2)
        line = f"{known:<12.0%}"
        results[f"{known:.0%}"] = shares = {"seconds": short(spent)}
        for name, one in {"motes": filled, "columns alone": others}.items():
            found = evaluate(rows, rows, one[list(rows)], one[list(rows)], target, arguments.seed, PARTS)
            shares[name] = {part: short(found[part]) for part in PARTS}
            line += f"{found['shape']:>9.2f}{found['trend']:>9.2f}{found['xgb_train']:>9.3f}{'':6}"
        print(f"{line}{spent:>6.0f}", flush=True)
    command = "python benchmarks/tables_conditioned.py FOLDER"
    record(arguments.out, command, {"known": results}, table=arguments.table, rows=len(rows), seed=arguments.seed)


if __name__ == "__main__":
    main()
