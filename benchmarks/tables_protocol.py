"""How good are synthetic rows by the protocol of TabSyn, TabDiff and TabPC, and how long do fit and draw take?

    shape, trend   error in % of single columns and of pairs of columns (sdmetrics' quality report), against the
                   training rows, with as many synthetic rows
    LR, XGB        detection by logistic regression and by boosted trees; 1 = cannot be told apart. Against the
                   training rows, with as many synthetic rows; and (unseen) against the test rows, with as many
                   synthetic rows as there are test rows. The first rewards memorised rows, the second does not
    AUC            boosted trees trained on synthetic rows and tested on test rows
    DCR            share of synthetic rows closer to a training row than 95 % of the test rows are; 0.05 is neutral
    copies         share of synthetic rows that are exact copies of a training row, in %
    nats           mean log p of the test rows, in nats per row
    fit, draw      wall and CPU seconds of the fit and of the draw of as many rows as there are training rows

Each figure is the median over the seeds. Beside the model stand three baselines, and the figures that TabPC's authors
publish for their model and its peers (means of five runs, on their own 90/10 split of magic and default):

    real test rows        in place of the synthetic rows, each once: a second copy of a row would be found by the trees.
                          There are fewer of them than of training rows, so shape and trend hold more chance than a
                          full-size table would. (unseen): training rows, drawn without replacement, against test rows.
                          AUC: trees trained on the training rows
    copy of training rows the training rows themselves: what memory alone reaches
    independent columns   each column drawn with replacement from the training rows, on its own

The folder holds NAME-train.parquet and NAME-test.parquet. Numbers are stored as numbers, labels as text. The originals
are tables of the UCI Machine Learning Repository (archive.ics.uci.edu/dataset/ID): adult is 2 (UCI's own split; "?" is
a label, the test labels lose their full stop), magic is 159 and default is 350 (without ID; SEX, EDUCATION, MARRIAGE,
PAY_0 to PAY_6 and the target as text), both split 90/10 at random.

    python benchmarks/tables_protocol.py FOLDER [--tables adult magic default] [--seeds 3] [--only motes]
        [--set table.steps=2000] [--synthetic ROWS.parquet] [--out FILE]

With --out, the scores of each seed are written to FILE, such as results/tables_protocol.json.

It needs sdmetrics 0.24.0, xgboost and pandas, in an environment of their own. `evaluate` is for scripts and notebooks
as well: `from tables_protocol import evaluate`.

sdmetrics 0.24.0 is the version of TabPC's authors; later ones define pair trends otherwise. It bins the numbers of the
synthetic rows by their own range, not by that of the training rows. So where a column has a long tail, trend depends on
whether the single largest value is drawn: on default a bootstrap of the training rows reads 4 to 11 %, and 0.6 to 0.8 %
once the least and the largest training value of each column are put into one row each.
"""

import argparse
import ast
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sdmetrics
from protocol_metrics import PARTS, evaluate
from provenance import record

__all__ = ["TARGETS", "baselines", "evaluate", "fit", "read"]

TARGETS = {"adult": "income", "magic": "class", "default": "default payment next month"}

# name -> (heading, digits). Seconds are pairs of wall and CPU time.
SCORES = {
    "shape": ("shape", 2),
    "trend": ("trend", 2),
    "lr": ("LR", 3),
    "xgb_train": ("XGB", 3),
    "lr_unseen": ("LR unseen", 3),
    "xgb_unseen": ("XGB unseen", 3),
    "auc": ("AUC", 3),
    "dcr_share": ("DCR", 3),
    "copies": ("copies", 2),
    "nats": ("nats", 2),
    "fit_wall": ("fit s", 0),
    "fit_cpu": ("CPU s", 0),
    "draw_wall": ("draw s", 1),
    "draw_cpu": ("CPU s", 1),
}

# The repository april-tools/tabpc, article_material/our_results (June 2026); the seconds are those of its GPU.
PUBLISHED_SCORES = ("shape", "trend", "lr", "xgb_train", "auc", "dcr_share", "fit_wall", "draw_wall")
PUBLISHED = {
    "adult": {
        "TabSyn (GPU)": (0.79, 2.05, 0.987, 0.794, 0.910, 0.043, 3082, 5.0),
        "TabDiff (GPU)": (0.68, 1.54, 0.990, 0.841, 0.913, 0.047, 11605, 10.8),
        "TabPC (GPU)": (0.58, 1.44, 0.996, 0.855, 0.916, 0.048, 272, 38.9),
    },
    "magic": {
        "TabSyn (GPU)": (0.98, 0.82, 0.994, 0.760, 0.937, 0.015, 2271, 2.6),
        "TabDiff (GPU)": (0.80, 0.84, 0.996, 0.773, 0.936, 0.015, 11643, 4.4),
        "TabPC (GPU)": (0.98, 1.70, 0.995, 0.860, 0.932, 0.030, 39, 1.7),
    },
    "default": {
        "TabSyn (GPU)": (1.32, 2.88, 0.946, 0.402, 0.759, 0.031, 3438, 5.2),
        "TabDiff (GPU)": (1.16, 2.74, 0.970, 0.591, 0.763, 0.040, 13899, 9.6),
        "TabPC (GPU)": (0.54, 5.04, 1.000, 0.262, 0.744, 0.027, 78, 5.4),
    },
}


def fit(train: pd.DataFrame, seed: int, changes: Mapping[str, Any] | None = None) -> Any:
    """The model of motes, fitted to these rows."""
    from motes import DiffusionModel

    return DiffusionModel(random_state=seed, changes=changes).fit(train)


def read(folder: Path, table: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training and the test rows."""
    train, test = (pd.read_parquet(folder / f"{table}-{part}.parquet") for part in ("train", "test"))
    return train, test


def clocked(work: Callable[[], Any], name: str) -> tuple[Any, dict[str, float]]:
    """What `work` gives, and its wall and CPU seconds (of all threads)."""
    wall, cpu = time.perf_counter(), time.process_time()
    found = work()
    return found, {f"{name}_wall": time.perf_counter() - wall, f"{name}_cpu": time.process_time() - cpu}


def independent_columns(train: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """n rows whose columns are drawn from those of `train`, each on its own."""
    return pd.DataFrame({name: train[name].to_numpy()[rng.integers(len(train), size=n)] for name in train})


def baselines(train: pd.DataFrame, test: pd.DataFrame, target: str, seed: int) -> dict[str, dict[str, Any]]:
    """The scores of real test rows, of a copy of the training rows and of independent columns."""
    rng = np.random.default_rng(seed)
    fresh = train.sample(min(len(test), len(train)), random_state=seed)
    copy = evaluate(train, test, train, fresh, target, seed)
    others = [part for part in PARTS if part != "auc"]
    real = evaluate(train, test, test, fresh, target, seed, others) | {"auc": copy["auc"]}
    columns = [independent_columns(train, n, rng) for n in (len(train), len(test))]
    independent = evaluate(train, test, *columns, target, seed)
    return {"real test rows": real, "copy of training rows": copy, "independent columns": independent}


def motes(
    train: pd.DataFrame, test: pd.DataFrame, target: str, seed: int, changes: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """The scores of rows that motes draws."""
    model, fitting = clocked(lambda: fit(train, seed, changes), "fit")
    synthetic, drawing = clocked(lambda: model.sample(len(train), random_state=seed + 1000), "draw")
    scores = evaluate(train, test, synthetic, model.sample(len(test), random_state=seed + 2000), target, seed)
    log_p = model.score_samples(test)
    return {"motes": scores | fitting | drawing | {"nats": float(log_p[np.isfinite(log_p)].mean())}}


def heading() -> str:
    return f"{'':<34}" + "".join(f"{title:>11}" for title, _ in SCORES.values())


def line(name: str, scores: Mapping[str, Any]) -> str:
    """One line of the table; a dash where there is no such figure."""
    shown = (
        f"{100 * scores[key] if key == 'copies' else scores[key]:>11.{digits}f}" if key in scores else f"{'-':>11}"
        for key, (_, digits) in SCORES.items()
    )
    return f"{name:<34}" + "".join(shown)


def medians(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The median of each score over the seeds."""
    return {key: float(np.median([run[key] for run in runs])) for key in SCORES if key in runs[0]}


def changes_of(texts: list[str]) -> dict[str, Any]:
    """{"training.steps": 2000} of ["training.steps=2000"]; a value that is no Python literal stays text."""
    changes: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise SystemExit(f"got --set {text}; expected key=value, such as --set training.steps=2000")
        try:
            changes[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            changes[key] = value
    return changes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where NAME-train.parquet and NAME-test.parquet are")
    parser.add_argument("--tables", nargs="+", default=[*TARGETS], choices=TARGETS)
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0 on")
    parser.add_argument("--only", choices=("motes", "baselines"), help="leave out the others")
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument(
        "--synthetic", type=Path, metavar="FILE", help="score these rows instead; needs one of --tables"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the scores of each seed as JSON")
    arguments = parser.parse_args()
    if sdmetrics.__version__ != "0.24.0":
        parser.error(f"got sdmetrics {sdmetrics.__version__}; expected 0.24.0; do pip install sdmetrics==0.24.0")
    if arguments.synthetic and len(arguments.tables) != 1:
        parser.error("got --synthetic with several tables; expected one; name it, such as --tables adult")
    changes = changes_of(arguments.changes)
    command, asked = "python benchmarks/tables_protocol.py FOLDER", {"seeds": arguments.seeds, "changes": changes}
    results: dict[str, Any] = {}
    for table in arguments.tables:
        (train, test), target = read(arguments.folder, table), TARGETS[table]
        print(f"\n{table}: {len(train)} + {len(test)} rows of {train.shape[1]} columns\n{heading()}", flush=True)
        runs: dict[str, list[dict[str, Any]]] = {}
        for seed in range(arguments.seeds):
            found: dict[str, dict[str, Any]] = {}
            if arguments.synthetic:
                rows = pd.read_parquet(arguments.synthetic)
                found = {arguments.synthetic.stem: evaluate(train, test, rows, None, target, seed)}
            elif arguments.only != "baselines":
                found = motes(train, test, target, seed, changes)
            if not arguments.synthetic and arguments.only != "motes":
                found |= baselines(train, test, target, seed)
            for name, scores in found.items():
                runs.setdefault(name, []).append(scores)
                print(line(f"{name}, seed {seed}", scores), flush=True)
        for name, scores in PUBLISHED[table].items():
            print(line(f"{name}", dict(zip(PUBLISHED_SCORES, scores, strict=True))))
        for name, repeats in runs.items():
            print(line(f"{name}, median", medians(repeats)), flush=True)
        every = {name: [{key: run[key] for key in SCORES if key in run} for run in runs[name]] for name in runs}
        published = {
            name: dict(zip(PUBLISHED_SCORES, scores, strict=True)) for name, scores in PUBLISHED[table].items()
        }
        results[table] = {"runs": every, "published": published}
        record(arguments.out, command, {"tables": results}, **asked)


if __name__ == "__main__":
    main()
