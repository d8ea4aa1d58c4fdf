"""How good are made rows of a table, and how long does the fit take, beside ForestDiffusion?

Wine and breast cancer of scikit-learn, with the class as a column, and diabetes, with its target, a number. Of each
split 80 per cent are learned; as many rows are made, and held against the others:

    TSTR    train on made rows, test on real ones: the area under the ROC curve (for three classes, of each against the
            others, and the mean) of boosted trees that tell the class, R^2 where the target is a number
    C2ST    the accuracy of boosted trees, on rows that they have not seen, in telling made rows from real ones; 0.5 is
            best. So that few rows say something, the real ones are those of the whole table that was not learned and,
            as ForestDiffusion's own paper does, those that were.

Both are by the judges of `motes evaluate`. ForestDiffusion has its defaults (flow, 50 times, 100 copies of each row),
and a model for each class, as its authors have it for classification; ours has the class as one more column. A number
to be told is one more column of either.

    python benchmarks/tables_forest.py [--tables wine breast_cancer diabetes iris] [--splits 3] [--only motes]
"""

import argparse
import time

import numpy as np

from motes.data.frames import as_frame
from motes.evaluation.tables import judge_table
from motes.table_fitting import fit_table

TARGET = "target"


def read(name):
    """The table with its target, labels or a number, as one more column."""
    from sklearn import datasets

    if name == "diabetes":
        found = datasets.load_diabetes(as_frame=True, scaled=False)
        return found.data.assign(**{TARGET: found.target})
    found = getattr(datasets, f"load_{name}")(as_frame=True)
    return found.data.assign(**{TARGET: found.target_names[found.target]})


def ours(learn, n, seed):
    model = fit_table(learn, seed=seed)
    fitted = time.perf_counter()
    return model.sample(n, seed=seed + 100).like(learn), fitted


def forest(learn, n, seed):
    import pandas as pd
    from ForestDiffusion import ForestDiffusionModel

    labelled = not pd.api.types.is_numeric_dtype(learn[TARGET])
    numbers = learn.drop(columns=TARGET) if labelled else learn
    x = numbers.to_numpy(float, copy=True)
    whole = [j for j in range(x.shape[1]) if (np.rint(x[:, j]) == x[:, j]).all()]
    names = sorted(learn[TARGET].unique())
    y = learn[TARGET].map(names.index).to_numpy() if labelled else None
    model = ForestDiffusionModel(x, label_y=y, int_indexes=whole, n_jobs=-1, seed=seed)
    fitted = time.perf_counter()
    made = np.asarray(model.generate(batch_size=n), float)
    frame = pd.DataFrame(made[:, : x.shape[1]], columns=numbers.columns)
    return (frame.assign(**{TARGET: [names[int(k)] for k in made[:, -1]]}) if labelled else frame), fitted


def main() -> None:
    from sklearn.model_selection import train_test_split

    makers = {"motes": ours, "ForestDiffusion": forest}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=["wine", "breast_cancer", "diabetes"])
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--only", choices=makers, nargs="+", default=[*makers])
    arguments = parser.parse_args()
    print(f"{'':<16}{'':<18}{'fit':>9}{'TSTR':>8}{'real':>8}{'C2ST':>8}{'of real':>8}")
    for table in arguments.tables:
        rows = {name: [] for name in arguments.only}
        for split in range(arguments.splits):
            whole = read(table)
            kinds = None if table == "diabetes" else whole[TARGET]
            learn, fresh = train_test_split(whole, test_size=0.2, random_state=split, stratify=kinds)
            learn, fresh = learn.reset_index(drop=True), fresh.reset_index(drop=True)
            from motes.data.encoder import Encoder

            encoder = Encoder.fit(learn)
            for name in arguments.only:
                begin = time.perf_counter()
                made, fitted = makers[name](learn, len(learn), split)
                held, seen, mine = as_frame(fresh), as_frame(learn), as_frame(made)
                useful = judge_table(mine, held, seen, encoder, target=TARGET, seed=split + 7).usefulness[0]
                told = judge_table(mine, as_frame(whole), seen, encoder, seed=split + 7).telling.accuracy
                values = useful.made, useful.real, told.metric, told.floor
                rows[name].append([fitted - begin, *map(float, values)])
                print(f"{table:<16}{name:<18}{rows[name][-1]}", flush=True)
        for name, found in rows.items():
            seconds, *others = np.mean(found, axis=0)
            print(f"{table:<16}{name:<18}{seconds:>7.1f} s" + "".join(f"{x:8.3f}" for x in others), flush=True)


if __name__ == "__main__":
    main()
