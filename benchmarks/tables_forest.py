"""How good are synthetic rows of a table, and how long does the fit take, beside ForestDiffusion?

Wine, breast cancer and iris of scikit-learn with their classes, and diabetes with its target, a number; 5,000 rows of
Texan homes and of diamonds, with a price as the target. Of each split 80 per cent are learned; five tables of as many
rows are drawn, and each is compared with the others:

    TSTR    train on synthetic rows, test on real ones: the area under the ROC curve (for three classes, of each against
            the others, and the mean) of boosted trees that predict the class, R^2 where the target is a number
    C2ST    the accuracy of boosted trees, on rows that they have not seen, in telling synthetic rows from real ones;
            0.5 is best. So that few rows say something, the real ones are those of the whole table that was not
            learned and, as ForestDiffusion's own paper does, those that were.
    near    the DCR share: synthetic rows that lie nearer to a training row than 95 % of the real rows that were left
            out; 5 % is best, and far more are rows learned by heart

All are measures of `motes evaluate`. ForestDiffusion has its defaults (flow, 50 times, 100 copies of each row), and a
model for each class, as its authors have it for classification. For ours the target is one more column.

    python benchmarks/tables_forest.py [--tables wine housing] [--splits 3] [--only motes] [--out FILE]
"""

import argparse
import time
from pathlib import Path

import numpy as np
from provenance import record, short

import motes
from motes.data import as_frame
from motes.evaluation import evaluate_tables
from motes.tables import Schema

TARGET = "target"
ROWS = 5_000  # of a larger table
SCORES = ("TSTR", "TSTR of real rows", "C2ST", "DCR")
MADE = 5  # tables, from each model: another one from the same model differs about as much as another split


def read(name):
    """The table with its target, labels or a number, as one more column."""
    from sklearn import datasets

    if name == "diabetes":
        found = datasets.load_diabetes(as_frame=True, scaled=False)
        return found.data.assign(**{TARGET: found.target})
    if name in ("housing", "diamonds"):
        from plotnine import data

        told = {"housing": "median", "diamonds": "price"}[name]  # a price, of homes and of stones
        found = {"housing": data.txhousing, "diamonds": data.diamonds}[name].select_dtypes("number").dropna()
        found = found.drop(columns="date", errors="ignore").sample(ROWS, random_state=0).reset_index(drop=True)
        return found.rename(columns={told: TARGET}).astype(float)
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return found.data.assign(**{TARGET: found.target_names[found.target]})


def parts_of(learn):
    """The columns that are learned, and the class of each row, unless the target is a number."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(learn[TARGET]):
        return learn, None
    return learn.drop(columns=TARGET), learn[TARGET].to_numpy(str)


def ours(learn, seed):
    """A fitted model, and what makes tables like `learn` by a seed."""
    model = motes.fit(learn, "table", seed=seed, verbose=False)
    return lambda seed: model.sample(len(learn), seed=seed)


def forest(learn, seed):
    """As `ours`."""
    import pandas as pd
    from ForestDiffusion import ForestDiffusionModel

    columns, labels = parts_of(learn)
    x = columns.to_numpy(float, copy=True)
    whole = [j for j in range(x.shape[1]) if (np.rint(x[:, j]) == x[:, j]).all()]
    names, y = (None, None) if labels is None else np.unique(labels, return_inverse=True)
    model = ForestDiffusionModel(x, label_y=y, int_indexes=whole, n_jobs=-1, seed=seed)

    def make(seed):
        np.random.seed(seed)  # noqa: NPY002 - its `generate` takes no other
        made = np.asarray(model.generate(batch_size=len(learn)), float)
        frame = pd.DataFrame(made[:, : x.shape[1]], columns=columns.columns)
        return frame if labels is None else frame.assign(**{TARGET: names[made[:, -1].astype(int)]})

    return make


def measured(made, whole, learn, fresh, schema, seed):
    """TSTR, that of real rows, C2ST, and the share that is near."""
    held, seen, mine = as_frame(fresh), as_frame(learn), as_frame(made)
    found = evaluate_tables(mine, held, seen, schema, target=TARGET, seed=seed)
    useful, near = found.details.utility, found.details.records.share
    told = evaluate_tables(mine, as_frame(whole), seen, schema, seed=seed).details.classifier.accuracy
    return [float(value) for value in (useful.synthetic, useful.real, told, near)]


def main() -> None:
    from sklearn.model_selection import train_test_split

    makers = {"motes": ours, "ForestDiffusion": forest}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=["wine", "breast_cancer", "diabetes"])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--only", choices=makers, nargs="+", default=[*makers])
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    print(f"{'':<16}{'':<18}{'fit':>9}{'TSTR':>8}{'real':>8}{'C2ST':>8}{'near':>8}")
    results = {}
    for table in arguments.tables:
        rows = {name: [] for name in arguments.only}
        for split in range(arguments.splits):
            whole = read(table)
            kinds = parts_of(whole)[1]
            learn, fresh = train_test_split(whole, test_size=0.2, random_state=split, stratify=kinds)
            learn, fresh = learn.reset_index(drop=True), fresh.reset_index(drop=True)
            schema = Schema.fit(learn)
            for name in arguments.only:
                begin = time.perf_counter()
                make = makers[name](learn, split)
                seconds = time.perf_counter() - begin
                values = [measured(make(100 + k), whole, learn, fresh, schema, 200 + k) for k in range(MADE)]
                rows[name].append([seconds, *np.mean(values, axis=0)])
                spread = np.std(values, axis=0, ddof=1)[[0, 2]]
                shown = "".join(f"{value:8.3f}" for value in rows[name][-1][1:])
                print(
                    f"{table:<16}{name:<18}{seconds:>7.1f} s{shown}   split {split}, one table +- {spread.round(3)}",
                    flush=True,
                )
        for name, found in rows.items():
            seconds, *others = np.mean(found, axis=0)
            print(f"{table:<16}{name:<18}{seconds:>7.1f} s" + "".join(f"{x:8.3f}" for x in others), flush=True)
            scores = dict(zip(SCORES, map(short, others), strict=True))
            results.setdefault(table, {})[name] = scores | {"seconds": short(seconds)}
    command = f"python benchmarks/tables_forest.py --only {' '.join(arguments.only)}"
    record(arguments.out, command, {"tables": results}, splits=arguments.splits)


if __name__ == "__main__":
    main()
