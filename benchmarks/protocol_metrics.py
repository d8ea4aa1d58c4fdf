"""The metrics of the tables protocol: each compares synthetic rows with real ones, on equal terms for every model.

The definitions are those of TabSyn (Zhang et al. 2024), TabDiff (Shi et al. 2025) and TabPC (2026), whose figures are
printed beside ours. Text columns are labels and number columns numbers; the order is numbers, labels, target, as in
those papers. Every metric runs on one core and is deterministic given its seed. `evaluate` is the one entry.
"""

from __future__ import annotations

import contextlib
import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from sdmetrics.reports.single_table import QualityReport
from sdmetrics.single_column import KSComplement, TVComplement
from sdmetrics.single_table import LogisticDetection
from sdmetrics.single_table.detection.sklearn import ScikitLearnClassifierDetectionMetric
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

PARTS = ("shape", "trend", "lr", "xgb_train", "xgb_unseen", "auc", "dcr")

# The grid of the boosted trees that TabSyn, TabDiff and TabPC train on synthetic rows (their eval/mle/mle.py).
TREES, GRID = (10, 50, 100), {"max_depth": (5, 10, 20), "min_child_weight": (1, 10), "gamma": (0.0, 1.0)}

# What one label that differs adds to the distance of two rows.
LABEL_DISTANCE = 2.0


class XGBoostDetection(ScikitLearnClassifierDetectionMetric):
    """Detection by boosted trees with TabPC's parameters (its src/metrics/metrics.py)."""

    name = "XGBoost Detection"

    @staticmethod
    def _get_classifier() -> xgboost.XGBClassifier:
        return xgboost.XGBClassifier(eval_metric="logloss", enable_categorical=True, random_state=0, n_jobs=1)


@dataclass(frozen=True)
class Columns:
    """Which columns are numbers and which are labels, each in the order of the table; the target is the last label."""

    numerical: tuple[str, ...]
    categorical: tuple[str, ...]

    @classmethod
    def of(cls, train: pd.DataFrame, target: str) -> Columns:
        if target not in train:
            raise ValueError(
                f"got the target {target!r}; expected one of {list(train.columns)}; name a column of these"
            )
        others = [name for name in train.columns if name != target]
        numbers = [name for name in others if pd.api.types.is_numeric_dtype(train[name])]
        return cls(tuple(numbers), (*(name for name in others if name not in numbers), target))

    def align(self, frame: pd.DataFrame, what: str) -> pd.DataFrame:
        """The same rows in the order of the protocol, with numbers as float64 and labels as text."""
        absent = [name for name in (*self.numerical, *self.categorical) if name not in frame]
        if absent:
            raise ValueError(f"got {what} rows without {absent}; expected every column of the training rows")
        numbers = {name: frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in self.numerical}
        labels = {name: frame[name].astype(str).to_numpy(dtype=object) for name in self.categorical}
        aligned = pd.DataFrame(numbers | labels)
        if aligned.isna().any(axis=None):
            raise ValueError(
                f"got {what} rows with missing numbers; expected none, since the protocol defines no distance"
            )
        return aligned

    def one_hot(self, frame: pd.DataFrame, categories: Sequence[np.ndarray]) -> np.ndarray:
        """(n, numbers + sum of the categories): numbers as they are, then a 0/1 column for each category."""
        hot = [frame[name].to_numpy()[:, None] == seen for name, seen in zip(self.categorical, categories, strict=True)]
        return np.concatenate([frame[list(self.numerical)].to_numpy(np.float64), *hot], axis=1)

    def categories(self, *frames: pd.DataFrame) -> list[np.ndarray]:
        """The sorted labels of each categorical column in any of the frames."""
        return [np.unique(np.concatenate([frame[name].unique() for frame in frames])) for name in self.categorical]


def column_shapes(real: pd.DataFrame, synthetic: pd.DataFrame, columns: Columns) -> float:
    """Error in %: 100 times the mean over columns of the Kolmogorov-Smirnov statistic or the total variation."""
    scores = [KSComplement.compute(real[name], synthetic[name]) for name in columns.numerical]
    scores += [TVComplement.compute(real[name], synthetic[name]) for name in columns.categorical]
    return 100 * (1 - float(np.mean(scores)))


def shapes_and_trends(real: pd.DataFrame, synthetic: pd.DataFrame, columns: Columns) -> tuple[float, float]:
    """Errors in % of column shapes and of pair trends, by sdmetrics' quality report (TabSyn's eval_density.py)."""
    kinds = {name: {"sdtype": "numerical", "computer_representation": "Float"} for name in columns.numerical}
    kinds |= {name: {"sdtype": "categorical"} for name in columns.categorical}
    report = QualityReport()
    report.generate(real, synthetic, {"columns": kinds}, verbose=False)
    scores = report.get_properties().set_index("Property")["Score"]
    return 100 * (1 - float(scores["Column Shapes"])), 100 * (1 - float(scores["Column Pair Trends"]))


def detection(metric: type, real: pd.DataFrame, synthetic: pd.DataFrame, columns: Columns, seed: int) -> float:
    """1 - mean over three folds of max(0.5, AUC) * 2 - 1: 1 = cannot be told apart, 0 = told apart without error.

    The labels are one-hot as sdmetrics encodes them, over the labels of both frames: sdmetrics itself stops at a
    synthetic label that no real row has.
    """
    categories = columns.categories(real, synthetic)
    frames = [pd.DataFrame(columns.one_hot(frame, categories)) for frame in (real, synthetic)]
    names = [f"column {i}" for i in range(frames[0].shape[1])]
    frames = [frame.set_axis(names, axis=1) for frame in frames]
    metadata = {"columns": {name: {"sdtype": "numerical"} for name in names}}
    with numpy_seed(seed), warnings.catch_warnings():
        # sdmetrics stops its logistic regression after 100 steps; to converge would be another metric than published.
        warnings.simplefilter("ignore")
        return float(metric.compute(*frames, metadata=metadata))


def utility(train: pd.DataFrame, test: pd.DataFrame, columns: Columns, seed: int) -> float:
    """Area under the ROC curve, on `test`, of boosted trees that are trained on `train` (eval/mle/mle.py).

    A ninth of the training rows is left out, at random, to choose among the 36 settings of the grid by this area; the
    chosen trees are not fitted again. Those papers fit each number of trees anew, but boosting without subsampling is
    sequential: the first 10 or 50 trees of a fit of 100 are the same trees, so 12 fits give the scores of all 36.
    """
    *features, target = columns.categorical
    inputs = Columns(columns.numerical, tuple(features))
    categories, classes = inputs.categories(train), np.unique(train[target])
    if len(classes) != 2 or not set(test[target]) <= set(classes):
        raise ValueError(f"got the labels {list(classes)} of {target!r} to learn; expected the two of the test rows")
    order = np.random.default_rng(seed).permutation(len(train))
    held, fitted = order[: len(train) // 9], order[len(train) // 9 :]
    x, y = inputs.one_hot(train, categories).astype(np.float32), (train[target] == classes[1]).to_numpy()
    learn = xgboost.QuantileDMatrix(x[fitted], y[fitted], nthread=1)
    choose = xgboost.DMatrix(x[held], nthread=1)
    tell = xgboost.DMatrix(inputs.one_hot(test, categories).astype(np.float32), nthread=1)
    best, answer = -1.0, np.empty(0)
    for values in itertools.product(*GRID.values()):
        setting = dict(zip(GRID, values, strict=True)) | {"objective": "binary:logistic", "nthread": 1}
        booster = xgboost.train(setting | {"tree_method": "hist"}, learn, num_boost_round=max(TREES))
        for count in TREES:
            area = roc_auc_score(y[held], booster.predict(choose, iteration_range=(0, count)))
            if area > best:
                best, answer = area, booster.predict(tell, iteration_range=(0, count))
    return float(roc_auc_score((test[target] == classes[1]).to_numpy(), answer))


def closest_distances(rows: pd.DataFrame, train: pd.DataFrame, columns: Columns, below: float = np.inf) -> np.ndarray:
    """(n,) distance of each row to the closest training row (TabPC's QuantileDcr); inf where it is above `below`.

    The distance is the sum of absolute differences of numbers, in units of their standard deviation in the training
    rows, plus 2 for each label that differs. So a distance below 2 is one between rows with equal labels: a tree of
    those with the same labels answers it, and every pair of rows is compared only where a larger distance is requested.
    """
    numbers, labels = list(columns.numerical), list(columns.categorical)
    scale = train[numbers].std(ddof=0).replace(0.0, 1.0).to_numpy()
    known, asked = train[numbers].to_numpy() / scale, rows[numbers].to_numpy() / scale
    closest = np.full(len(rows), np.inf)
    groups = train.groupby(labels, sort=False).indices
    for key, places in rows.groupby(labels, sort=False).indices.items():
        if key in groups and numbers:
            tree = KDTree(known[groups[key]])
            closest[places] = tree.query(asked[places], p=1, distance_upper_bound=min(below, LABEL_DISTANCE))[0]
        elif key in groups:
            closest[places] = 0.0
    if below > LABEL_DISTANCE:
        categories = columns.categories(train, rows)
        hot = [replace(columns, numerical=()).one_hot(frame, categories).astype(np.float32) for frame in (train, rows)]
        far = np.flatnonzero(np.isinf(closest))
        for part in np.array_split(far, len(far) // 500 + 1):
            different = len(labels) - hot[1][part] @ hot[0].T
            closest[part] = (cdist(asked[part], known, "cityblock") + LABEL_DISTANCE * different).min(
                axis=1, initial=np.inf
            )
    return closest


def copies(rows: pd.DataFrame, train: pd.DataFrame) -> float:
    """The share of rows that equal a training row in every column."""
    keys = [pd.MultiIndex.from_frame(frame) for frame in (rows, train)]
    return float(keys[0].isin(keys[1]).mean())


def closeness(train: pd.DataFrame, test: pd.DataFrame, synthetic: pd.DataFrame, columns: Columns) -> dict[str, float]:
    """DCR share and exact copies.

    `dcr_share` is the share of synthetic rows that are strictly closer to a training row than 95 % of the test rows
    are: 0.05 for fresh real rows, more for memorised ones. `copies` and `copies_test` are shares of exact copies.
    """
    near = np.quantile(closest_distances(test, train, columns, LABEL_DISTANCE), 0.05, method="linear")
    if not np.isfinite(near):
        near = np.quantile(closest_distances(test, train, columns), 0.05)
    share = float((closest_distances(synthetic, train, columns, near) < near).mean())
    return {"dcr_share": share, "copies": copies(synthetic, train), "copies_test": copies(test, train)}


@contextlib.contextmanager
def numpy_seed(seed: int) -> Iterator[None]:
    """Within it NumPy's global generator starts from the seed: sdmetrics splits its folds with that one alone."""
    state = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002


def evaluate(
    train: pd.DataFrame,
    test: pd.DataFrame,
    synthetic: pd.DataFrame,
    synthetic_small: pd.DataFrame | None,
    target: str,
    seed: int = 0,
    parts: Sequence[str] = PARTS,
) -> dict[str, Any]:
    """Compare synthetic rows with the training rows and with unseen ones.

    Args:
        train: the real rows that the model was fitted to.
        test: real rows that it has not seen.
        synthetic: as many synthetic rows as there are training rows.
        synthetic_small: as many synthetic rows as there are test rows; None takes that many of `synthetic` at random.
        target: the column that the boosted trees of "auc" predict; two labels.
        seed: of the folds of detection and of the split of "auc".
        parts: which of `PARTS` to compute.

    Returns:
        shape, trend: errors in %, against `train`; lr, xgb_train: detection against `train`; lr_unseen, xgb_unseen:
        detection of `synthetic_small` against `test`; auc: trained on `synthetic`, tested on `test`; dcr_share,
        copies, copies_test: see `closeness`; seconds: the wall time of each part.

    Raises:
        ValueError: an unknown part, an absent column, a missing number, or a target without two labels.

    Example:
        >>> evaluate(train, test, synthetic, None, "income", parts=("xgb_train",))["xgb_train"]  # doctest: +SKIP
        0.97
    """
    unknown = set(parts) - set(PARTS)
    if unknown:
        raise ValueError(f"got the parts {sorted(unknown)}; expected some of {PARTS}")
    columns = Columns.of(train, target)
    real, unseen, drawn = (
        columns.align(frame, what) for frame, what in ((train, "training"), (test, "test"), (synthetic, "synthetic"))
    )
    if synthetic_small is None:
        small = drawn.sample(min(len(unseen), len(drawn)), random_state=seed).reset_index(drop=True)
    else:
        small = columns.align(synthetic_small, "synthetic")

    def quality() -> dict[str, float]:
        if "trend" not in parts:
            return {"shape": column_shapes(real, drawn, columns)}
        with numpy_seed(seed):  # above 50,000 rows sdmetrics subsamples pairs of labels
            return dict(zip(("shape", "trend"), shapes_and_trends(real, drawn, columns), strict=True))

    work: dict[str, Callable[[], dict[str, float]]] = {
        "trend" if "trend" in parts else "shape": quality,
        "lr": lambda: {
            "lr": detection(LogisticDetection, real, drawn, columns, seed),
            "lr_unseen": detection(LogisticDetection, unseen, small, columns, seed),
        },
        "xgb_train": lambda: {"xgb_train": detection(XGBoostDetection, real, drawn, columns, seed)},
        "xgb_unseen": lambda: {"xgb_unseen": detection(XGBoostDetection, unseen, small, columns, seed)},
        "auc": lambda: {"auc": utility(drawn, unseen, columns, seed)},
        "dcr": lambda: closeness(real, unseen, drawn, columns),
    }
    scores: dict[str, Any] = {"seconds": {}}
    with threadpool_limits(1):
        for part, compute in work.items():
            if part in parts:
                start = time.perf_counter()
                scores |= compute()
                scores["seconds"][part] = round(time.perf_counter() - start, 2)
    return scores
