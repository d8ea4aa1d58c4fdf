"""How good are synthetic rows by a protocol that we did not choose, the full evaluation of SynthEval?

SynthEval 1.7.3 (Lautrup, Hyrup, Zimek and Schneider-Kamp, "SynthEval: a framework for detailed utility and privacy
evaluation of tabular synthetic data", Data Mining and Knowledge Discovery 39, 2024; MIT licence) has a preset
`full_eval` of 18 metrics. Each gives one or more figures, about utility or about privacy, and scales it so that more
is better. The table has all of these figures, with SynthEval's names, defaults and scales, and their sums, by which its
own benchmark ranks. Compared are

    real rows            other training rows in place of synthetic ones, twice: the best that a model can reach without
                         memorising, and how much chance there is. They are as new to the compared rows as test rows
                         would be; test rows have another role here
    motes                rows that a model of all training rows draws
    CART                 the same with Synthesiser() of synthpop-py 0.1.3 (EUPL-1.2), which draws each column from the
                         leaves of a decision tree on the columns before it
    independent columns  each column drawn with replacement from the training rows, on its own

Each is a table of as many rows as the training rows that SynthEval compares it with: 2,000, drawn at random, because
its distances need a matrix of all pairs. Test rows are its hold-out rows, at most as many. With several seeds, which
choose the rows and the models, each figure is the median.

Some metrics say little on such tables. `mutual_inf_diff` takes each different number for a label of its own.
`avg_h_dist` has a single bin, or none, for most numbers, since its bin width is at least 1 and it scales numbers to at
most 1. In `corr_mat_diff` and `pca_*`, a single very large value counts for much.

    python benchmarks/second_protocol.py FOLDER [--tables adult magic default] [--seeds 1] [--models MODELS]
        [--out FILE]

FOLDER is that of tables_protocol.py. Models are saved in MODELS and found there again.
"""

import argparse
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import record
from syntheval import AnalysisConfig, SynthEval
from synthpop import Synthesiser

from motes import DiffusionModel

TARGETS = {"adult": "income", "magic": "class", "default": "default payment next month"}
ROWS = 2_000
DIMENSIONS = {"u": "utility", "p": "privacy"}


def fit(train: pd.DataFrame, seed: int, file: Path | None) -> DiffusionModel:
    """Fit a model, or load it from `file` if it is there; save it there otherwise."""
    if file and file.exists():
        return DiffusionModel.load(file)
    model = DiffusionModel(random_state=seed).fit(train)
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        model.save(file)
    return model


def candidates(
    train: pd.DataFrame, others: pd.DataFrame, n: int, seed: int, file: Path | None
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield each name of the table with its n rows."""
    yield "real rows", others[:n]
    yield "more real rows", others[n:].reset_index(drop=True)
    yield "motes", fit(train, seed, file).sample(n, random_state=seed + 1000)
    yield "CART", Synthesiser(random_seed=seed).fit(train).generate(n, random_seed=seed + 1000)
    rng = np.random.default_rng(seed)
    yield "independent columns", pd.DataFrame({name: rng.choice(train[name], n) for name in train})


def evaluate(protocol: SynthEval, rows: pd.DataFrame, target: AnalysisConfig, seed: int) -> dict[str, float]:
    """Return each figure, and the sums of the scaled figures."""
    np.random.seed(seed)  # noqa: NPY002 - SynthEval takes no other
    found = protocol.evaluate(rows, target, presets_file="full_eval")
    sums = {f"sum, {words}": found.n_val[found.dim == key].sum() for key, words in DIMENSIONS.items()}
    return dict(zip(found.metric, found.val, strict=True)) | sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where NAME-train.parquet and NAME-test.parquet are")
    parser.add_argument("--tables", nargs="+", default=[*TARGETS], choices=TARGETS)
    parser.add_argument("--seeds", type=int, default=1, help="how many, from 0 on")
    parser.add_argument("--models", type=Path, help="where fitted models are saved and found again")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "second_protocol.json")
    given = parser.parse_args()
    versions = {name: version(name) for name in ("syntheval", "synthpop-py")}
    command, results = "python benchmarks/second_protocol.py FOLDER", {}
    for table in given.tables:
        train, test = (pd.read_parquet(given.folder / f"{table}-{part}.parquet") for part in ("train", "test"))
        runs: dict[str, list[dict[str, float]]] = {}
        for seed in range(given.seeds):
            shuffled = train.sample(3 * ROWS, random_state=seed)
            real, others = (part.reset_index(drop=True) for part in (shuffled[:ROWS], shuffled[ROWS:]))
            unseen = test.sample(min(ROWS, len(test)), random_state=seed).reset_index(drop=True)
            protocol = SynthEval(real, unseen, verbose=False, enable_plots=False, console="off", show_warnings=False)
            target = AnalysisConfig(real, TARGETS[table])  # its name alone would write a file
            file = given.models and given.models / f"{table}-{seed}.safetensors"
            for name, rows in candidates(train, others, ROWS, seed, file):
                print(f"{table}, {name}, seed {seed}", flush=True)
                runs.setdefault(name, []).append(evaluate(protocol, rows, target, seed))
        figures = pd.DataFrame({name: pd.DataFrame(repeats).median() for name, repeats in runs.items()}).round(4)
        results[table] = figures.to_dict()
        print(figures.to_string(), flush=True)
        record(given.out, command, {"tables": results}, **versions, rows=ROWS, seeds=given.seeds)


if __name__ == "__main__":
    main()
