"""How good are synthetic rows on tables that nobody chose for us?

Twenty-four public tables (`panel_tables.py`) of at most 20,000 rows, a fifth of which is held out. Compared are

    real rows   as many training rows as there are held-out rows, for detection; for conclusions, a bootstrap of all
                training rows: the best that synthetic rows can reach without knowing more than the training rows
    motes       `motes.DiffusionModel`
    CART        Synthesiser() of synthpop-py 0.1.3 (EUPL-1.2), which draws each column from the leaves of a decision
                tree on the columns before it

by figures that a user feels:

    detection    area under the ROC curve of boosted trees that tell synthetic rows from held-out rows, and from
                 training rows, out of three folds; .5 is best. Trees see a date as year, month, day, weekday, hour and
                 day number
    pairs        the same for each pair of columns, with smaller trees and two folds; the five highest
    conclusions  three regressions for each table: the coefficients from as many synthetic rows as training rows, less
                 those from the training rows, in standard errors of these; and the share of naive 95 % intervals that
                 cover them. A bootstrap has about 1, as standard errors assume independent rows
    columns      the largest errors of means, relative to the larger of mean and standard deviation; of standard
                 deviations; of shares of labels (total variation) and of missing entries; and the shares of synthetic
                 numbers above the .99 and .999 quantiles of the training rows, divided by the training rows' shares
    nats         log p of held-out rows, per row (motes alone)
    copies       share of synthetic rows that equal a training row that occurs once
    entities     share of entries, in columns that number people or cases, that are values of the training rows

    python benchmarks/panel.py [--tables storms wages] [--seeds 0 1 2] [--methods motes CART "real rows"]
        [--set table.width=192] [--cache FOLDER] [--out FILE]

Each seed chooses rows, split, model and draws. Rows are kept in the cache and found there again.
"""

import argparse
import itertools
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import patsy
import statsmodels.api as sm
import xgboost
from panel_tables import PANEL, PanelTable
from provenance import record, short
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from synthpop import Synthesiser
from tables_protocol import changes_of, clocked, fit
from threadpoolctl import threadpool_limits

METHODS = "real rows", "CART", "motes"
PAIR_ROWS = 4_000  # at most as many rows of each side tell pairs of columns apart
FAMILIES = {"logit": sm.families.Binomial(), "poisson": sm.families.Poisson()}


# --- Detection ------------------------------------------------------------------------------------------------------


def features(real: pd.DataFrame, synthetic: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return for each column what the trees see of it, real rows first."""
    seen = {}
    for name in real:
        both = pd.concat([real[name], synthetic[name]], ignore_index=True)
        if pd.api.types.is_datetime64_any_dtype(real[name]):
            both = pd.to_datetime(both)
            parts = {part: getattr(both.dt, part) for part in ("year", "month", "day", "day_of_week", "hour")}
            seen[name] = pd.DataFrame(parts | {"days": (both - both.min()).dt.total_seconds() / 86_400})
            seen[name].columns = [f"{name} {part}" for part in seen[name]]
        elif pd.api.types.is_numeric_dtype(real[name]):
            seen[name] = pd.to_numeric(both).astype(np.float64).to_frame()
        else:
            seen[name] = both.astype("category").to_frame()
    return seen


def detection(x: pd.DataFrame, is_synthetic: np.ndarray, seed: int, *, folds: int, trees: int, depth: int) -> float:
    """Return the area under the ROC curve of boosted trees, out of folds."""
    score = np.empty(len(x))
    for fitted, left_out in StratifiedKFold(folds, shuffle=True, random_state=seed).split(x, is_synthetic):
        model = xgboost.XGBClassifier(
            n_estimators=trees, max_depth=depth, enable_categorical=True, random_state=seed, n_jobs=1
        )
        score[left_out] = model.fit(x.iloc[fitted], is_synthetic[fitted]).predict_proba(x.iloc[left_out])[:, 1]
    return float(roc_auc_score(is_synthetic, score))


def detected(real: pd.DataFrame, synthetic: pd.DataFrame, seed: int) -> float:
    """Return how well boosted trees tell all columns apart, for as many rows of both sides."""
    x = pd.concat([*features(real, synthetic).values()], axis=1)
    return detection(x, np.arange(len(x)) >= len(real), seed, folds=3, trees=100, depth=6)


def pairs_detected(real: pd.DataFrame, synthetic: pd.DataFrame, seed: int) -> dict[str, float]:
    """Return how well boosted trees tell the five worst pairs of columns apart."""
    seen = features(real[:PAIR_ROWS], synthetic[:PAIR_ROWS])
    is_synthetic = np.arange(len(next(iter(seen.values())))) >= len(real[:PAIR_ROWS])
    areas = {}
    for first, second in itertools.combinations(seen, 2):
        x = pd.concat([seen[first], seen[second]], axis=1)
        areas[f"{first}, {second}"] = detection(x, is_synthetic, seed, folds=2, trees=30, depth=4)
    worst = sorted(areas, key=areas.__getitem__, reverse=True)[:5]
    return {names: short(areas[names]) for names in worst}


# --- Conclusions ----------------------------------------------------------------------------------------------------


class Regression:
    """A regression, and its coefficients on the training rows, with their standard errors."""

    def __init__(self, family: str, formula: str, train: pd.DataFrame) -> None:
        self.family = family
        with np.errstate(all="ignore"):
            self.sides = [side.design_info for side in patsy.dmatrices(formula, train)]
        self.coefficients, self.errors = self.fit(train)

    def fit(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the coefficients and their standard errors; rows in which a term is not finite are left out."""
        with np.errstate(all="ignore"):
            y, x = (np.asarray(side) for side in patsy.build_design_matrices(self.sides, rows, NA_action="drop"))
        finite = np.isfinite(x).all(axis=1) & np.isfinite(y).all(axis=1)
        y, x = y[finite, 0], x[finite]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of perfect separation, which shows in the figures
            model = sm.OLS(y, x) if self.family == "ols" else sm.GLM(y, x, FAMILIES[self.family])
            fitted = model.fit()
        return fitted.params, fitted.bse

    def compare(self, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        """Return the differences in standard errors, and whether the naive 95 % intervals cover."""
        coefficients, errors = self.fit(rows)
        difference = coefficients - self.coefficients
        return difference / self.errors, np.abs(difference) <= 1.96 * errors


def conclusions(regressions: list[Regression], rows: pd.DataFrame) -> dict[str, Any]:
    """Return the differences of all coefficients in standard errors, and the share of covering intervals."""
    compared = [regression.compare(rows) for regression in regressions]
    z, covers = (np.concatenate(side) for side in zip(*compared, strict=True))
    each = [short(float(np.sqrt(np.mean(differences**2)))) for differences, _ in compared]
    return {"conclusions": short(float(np.sqrt(np.mean(z**2)))), "each": each, "covered": short(float(covers.mean()))}


# --- Columns --------------------------------------------------------------------------------------------------------


def columns(train: pd.DataFrame, rows: pd.DataFrame) -> dict[str, Any]:
    """Return the largest errors of single columns, with the column."""
    found: dict[str, dict[str, float]] = {"missing": {}, "mean": {}, "sd": {}, "labels": {}, "q99": {}, "q999": {}}
    for name in train:
        real, drawn = train[name], rows[name]
        found["missing"][name] = abs(real.isna().mean() - drawn.isna().mean())
        if pd.api.types.is_datetime64_any_dtype(real):
            real, drawn = ((pd.to_datetime(side) - real.min()).dt.total_seconds() for side in (real, drawn))
        if pd.api.types.is_numeric_dtype(real):
            real, drawn = (side.dropna().astype(np.float64) for side in (real, pd.to_numeric(drawn)))
            if real.std() > 0 and len(drawn):
                found["mean"][name] = (drawn.mean() - real.mean()) / max(abs(real.mean()), real.std())
                found["sd"][name] = drawn.std() / real.std() - 1
                for key, level in (("q99", 0.99), ("q999", 0.999)):
                    if (share := (real > real.quantile(level)).mean()) > 0:
                        found[key][name] = (drawn > real.quantile(level)).mean() / share
        else:
            shares = pd.concat([real.value_counts(normalize=True), drawn.value_counts(normalize=True)], axis=1)
            found["labels"][name] = shares.fillna(0).diff(axis=1).iloc[:, 1].abs().sum() / 2
    figures: dict[str, Any] = {}
    for key, errors in found.items():
        if errors:
            sizes = {name: abs(np.log(max(error, 1e-3)) if key[0] == "q" else error) for name, error in errors.items()}
            worst = max(sizes, key=sizes.__getitem__)
            figures[key] = {"worst": short(errors[worst]), "column": worst}
    return figures


def copies(train: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Return the share of rows that equal a training row that occurs once."""
    once = pd.MultiIndex.from_frame(train.drop_duplicates(keep=False).astype(str))
    return float(pd.MultiIndex.from_frame(rows.astype(str)).isin(once).mean())


def entities(train: pd.DataFrame, rows: pd.DataFrame) -> float:
    """Return the share of entries that are values of the training rows."""
    return float(np.mean([rows[name].isin(train[name].dropna()) for name in train]))


# --- The panel ------------------------------------------------------------------------------------------------------


EPOCH = pd.Timestamp("1970-01-01")


def draw(
    method: str, train: pd.DataFrame, test: pd.DataFrame, seed: int, changes: Mapping[str, Any]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return as many synthetic rows as there are training and held-out rows, and the figures of the fit."""
    n = len(train) + len(test)
    if method == "real rows":
        rng = np.random.default_rng([seed, 5])
        resampled = train.iloc[rng.integers(len(train), size=len(train))]
        return pd.concat([resampled, train.sample(len(test), random_state=rng)], ignore_index=True), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if method == "motes":
            model, fitting = clocked(lambda: fit(train, seed, changes), "fit")
            rows, drawing = clocked(lambda: model.sample(n, random_state=seed + 1000), "draw")
            log_p = model.score_samples(test)
            nats = {"nats": float(log_p[np.isfinite(log_p)].mean()), "impossible": float(np.mean(~np.isfinite(log_p)))}
        else:
            dates = [name for name in train if pd.api.types.is_datetime64_any_dtype(train[name])]  # CART takes no dates
            hours = {name: (train[name] - EPOCH).dt.total_seconds() / 3_600 for name in dates}
            model, fitting = clocked(lambda: Synthesiser(random_seed=seed).fit(train.assign(**hours)), "fit")
            rows, drawing = clocked(lambda: model.generate(n, random_seed=seed + 1000), "draw")
            rows = rows.assign(**{name: EPOCH + pd.to_timedelta(rows[name].round(), unit="h") for name in dates})
            nats = {}
    figures = {key: short(value) for key, value in (fitting | drawing | nats).items()}
    return rows.reset_index(drop=True), figures


def judge(
    table: PanelTable, train: pd.DataFrame, test: pd.DataFrame, rows: pd.DataFrame, seed: int, *, resampled: bool
) -> dict[str, Any]:
    """Return all figures of synthetic rows: first as many as training rows, then as many as held-out rows.

    Trees recognise training rows that were `resampled`, which occur on both sides, so these have no "auc_train".
    """
    names = [name for name in train if name not in table.entities]
    many, few = rows[: len(train)], rows[len(train) :].reset_index(drop=True)
    figures: dict[str, Any] = {
        "auc": short(detected(test[names], few[names], seed)),
        "pairs": pairs_detected(test[names], few[names], seed),
    }
    figures |= conclusions([Regression(*words, train) for words in table.regressions], many)
    figures |= columns(train[names], many[names]) | {"copies": short(copies(train[names], many[names]))}
    if table.entities:
        figures["entities"] = short(entities(train[[*table.entities]], many[[*table.entities]]))
    if not resampled:
        figures["auc_train"] = short(detected(train[names], many[names], seed))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=[*PANEL], choices=PANEL, metavar="TABLE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", default=[*METHODS], choices=METHODS)
    parser.add_argument("--set", dest="changes", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--cache", type=Path, help="where synthetic rows are kept and found again")
    parser.add_argument("--out", type=Path, help="results; entries that are there already are not computed again")
    given = parser.parse_args()
    changes = changes_of(given.changes)
    done = json.loads(given.out.read_text())["tables"] if given.out and given.out.exists() else {}
    for seed, name in itertools.product(given.seeds, given.tables):
        table = PANEL[name]
        train, test = table.split(seed)
        for method in given.methods:
            entry = done.setdefault(name, {}).setdefault(method, {})
            if str(seed) in entry:
                continue
            file = given.cache and given.cache / f"{name}-{seed}-{method.replace(' ', '_')}.pkl"
            if file and file.exists():
                rows, figures = pd.read_pickle(file)
            else:
                rows, figures = draw(method, train, test, seed, changes if method == "motes" else {})
                if file:
                    file.parent.mkdir(parents=True, exist_ok=True)
                    pd.to_pickle((rows, figures), file)
            with threadpool_limits(1):
                figures = judge(table, train, test, rows, seed, resampled=method == "real rows") | figures
            entry[str(seed)] = figures
            worst = next(iter(figures["pairs"].items()))
            print(
                f"{name:16s} {method:10s} {seed}  AUC {figures['auc']:.3f}  pair {worst[1]:.3f} ({worst[0]})  "
                f"conclusions {figures['conclusions']:.2f} covered {figures['covered']:.2f}  "
                f"mean {figures['mean']['worst']:+.3f} ({figures['mean']['column']})  "
                f"sd {figures['sd']['worst']:+.3f} ({figures['sd']['column']})  "
                f"nats {figures.get('nats', float('nan')):.2f}  CPU {figures.get('fit_cpu', 0):.0f}",
                flush=True,
            )
            record(given.out, "python benchmarks/panel.py", {"tables": done}, rows=20_000, changes=changes)


if __name__ == "__main__":
    main()
