"""How likely are unseen rows of small tables, by the model, by its mixture alone, and by another checkout?

    python benchmarks/small_table_quality.py [--tables FOLDER] [--before OTHER/.venv/bin/python] [--out quality.json]

Log p of rows that were held out, in nats per row, with the recipe's defaults. "gain" is what the model has above its
mixture alone (a network of one step that learns nothing) on the same rows, with its standard error; rows with a value
that the training could not have held are left out of both. "steps" were trained, and "best" is the step whose weights
are kept, the mean over members. Of customers, "rules" are the shares of 5,000 synthetic rows that keep what the
generator builds in: total = fee x seats to 1 %, bmi = weight / height^2 to .1, latitude and longitude near the city.

Adult and Default (5,000 rows of each) are read from FOLDER, as for `tables_protocol.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import record
from sklearn.datasets import load_breast_cancer
from small_tables import table

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from customers import CITIES, customers

ROWS = 5000  # of Adult and Default
WORK = """
import json, resource, sys
import numpy as np, pandas as pd, motes
folder, draw, alone = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
train, test = (pd.read_parquet(f"{folder}/{part}.parquet") for part in ("train", "test"))
usage = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
before = usage()
model = motes.fit(train, "table", verbose=False)
told = {"cpu": round(usage() - before, 1), "steps": model.training.steps, "best": model.training.best}
log_p = model.score_samples(test)
if draw:
    model.sample(draw, seed=1).to_parquet(f"{folder}/drawn.parquet")
if alone:
    changes = {"table.steps": 1, "table.learning_rate": 1e-12}
    of_mixture = motes.fit(train, "table", changes=changes, verbose=False).score_samples(test)
    fine = np.isfinite(of_mixture)
    gain = log_p[fine] - of_mixture[fine]
    told |= {"mixture": of_mixture[fine].mean(), "gain": gain.mean(), "se": gain.std() / np.sqrt(len(gain))}
else:
    fine = np.isfinite(log_p)
told |= {"model": log_p[fine].mean(), "possible": fine.mean()}
print(json.dumps({key: round(float(value), 4) for key, value in told.items()}))
"""


def split(rows: pd.DataFrame, train: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The first rows of a table in random order, and the others."""
    rows = rows.sample(frac=1, random_state=0).reset_index(drop=True)
    return rows[:train], rows[train:].reset_index(drop=True)


def of_folder(name: str, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """5,000 rows of one of the standard tables, and 3,000 of its test rows."""
    train, test = (pd.read_parquet(folder / f"{name}-{part}.parquet") for part in ("train", "test"))
    return split(train, ROWS)[0], split(test, min(len(test), 3000))[0]


def breast_cancer() -> tuple[pd.DataFrame, pd.DataFrame]:
    """450 rows of 30 numbers and a label, and 119 others."""
    found = load_breast_cancer(as_frame=True)
    return split(found.data.assign(kind=np.array(["malignant", "benign"])[found.target]), 450)


def rules_of(rows: pd.DataFrame) -> dict[str, float]:
    """The share of rows of customers in which each rule holds, where its columns are known."""
    places = np.array([CITIES[city][:2] for city in rows.city])
    off = {
        "total": (rows.total / (rows.fee * rows.seats) - 1).abs() / 0.0101,
        "bmi": (rows.bmi - rows.weight / rows.height**2).abs() / 0.1,
        "latitude": (rows.latitude - places[:, 0]).abs() / 0.2,
        "longitude": (rows.longitude - places[:, 1]).abs() / 0.28,
    }
    return {name: round(float((one.dropna() <= 1).mean()), 4) for name, one in off.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", type=Path, help="folder of the standard tables")
    parser.add_argument("--before", help="the Python of another checkout")
    parser.add_argument("--only", nargs="+", help="some of the tables")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    made: dict[str, Callable[[], tuple[pd.DataFrame, pd.DataFrame]]] = {
        "breast cancer": breast_cancer,
        "10,000 x 10": lambda: split(table(13_000, 10), 10_000),
        "customers": lambda: (customers(3000, 1), customers(2000, 2)),
    }
    if args.tables:
        made |= {name: lambda name=name: of_folder(name, args.tables) for name in ("adult", "default")}
    found: dict[str, dict[str, object]] = {}
    for name in args.only or made:
        own = found[name] = {}
        with tempfile.TemporaryDirectory() as folder:
            train, test = made[name]()
            train.to_parquet(f"{folder}/train.parquet")
            test.to_parquet(f"{folder}/test.parquet")
            own["rows"], own["columns"] = len(train), train.shape[1]
            pythons = {"after": sys.executable} | ({"before": args.before} if args.before else {})
            for when, python in pythons.items():
                draw = 5_000 if name == "customers" else 0
                words = [python, "-W", "ignore", "-c", WORK, folder, str(draw), *["alone"] * (when == "after")]
                done = subprocess.run(words, env=os.environ, capture_output=True, text=True, check=False)
                if done.returncode:
                    raise SystemExit(done.stderr)
                own[when] = json.loads(done.stdout)
                if draw:
                    own[f"rules {when}"] = rules_of(pd.read_parquet(f"{folder}/drawn.parquet"))
            if name == "customers":
                own["rules of the data"] = rules_of(test)
        print(name, json.dumps(own), flush=True)
    command = "python benchmarks/small_table_quality.py --tables FOLDER --before OTHER/.venv/bin/python"
    record(args.out, command, {"nats per row": found})


if __name__ == "__main__":
    main()
