"""Utility: can one learn from synthetic rows what real rows teach? Train on synthetic rows, test on real ones.

    relative utility = (score after training on synthetic rows - chance) / (score after training on real rows - chance)

The score is the area under the ROC curve for labels (of each against the rest, on average; chance is 1/2), R^2 for
numbers (chance is 0). Both models are boosted trees, learn from as many rows, and are tested on the same held-out ones.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.evaluation._results import Array, Metric, Z, optional

FOLDS = 5  # models of each set, each without a fifth of its rows: they show what the choice of the rows does
RESAMPLES = 299
SURE = 2.3263478740408408  # a standard normal lies above it with probability 0.01


@dataclass(frozen=True)
class Task:
    """Rows to learn from or to be tested on: `x` (n, d), `y` (n,), codes or numbers."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Utility:
    """How well the target is predicted from the other columns.

    Attributes:
        target: its name.
        score: "AUC" or "R^2".
        synthetic, real: scores on held-out rows, of models trained on synthetic and on real rows.
        relative: relative utility; None where real rows teach nothing to speak of.
        difference: synthetic minus real, with its 95 % interval and the one-sided p-value of 0 or more.
        more: other scores by name, (synthetic, real).
        rows: trained on, and tested on.
    """

    target: str
    score: str
    synthetic: Metric
    real: Metric
    relative: Metric | None
    difference: Metric
    more: dict[str, tuple[float, float]]
    rows: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "target": self.target,
            "score": self.score,
            "synthetic": self.synthetic.to_dict(),
            "real": self.real.to_dict(),
            "difference": self.difference.to_dict(),
            "relative_utility": optional(self.relative),
            "more": {name: {"synthetic": ours, "real": theirs} for name, (ours, theirs) in self.more.items()},
        }


def utility(
    synthetic: Task,
    real: Task,
    test: Task,
    discrete: NDArray[np.bool_],
    *,
    target: str,
    classes: int | None,
    rng: np.random.Generator,
) -> Utility:
    """Train on `synthetic` and on `real`, as many rows of each, and test on `test`.

    The intervals hold the noise of the test rows (by resampling them) and that of the training rows (the jackknife over
    fifths of them, which for trees is on the wide side).

    Args:
        synthetic, real: to train on; the rows of the longer one are cut to those of the other.
        test: held-out real rows.
        discrete: which columns of x are codes, (d,).
        target: the name of y.
        classes: y is codes from 0 to classes - 1; None where it is numbers.
        rng: of the folds and the resampling.

    Raises:
        ValueError: fewer rows than folds to train on, or a target that does not vary over the test rows.
    """
    n = min(len(synthetic.y), len(real.y))
    if n < 2 * FOLDS:
        raise ValueError(f"got {n} rows to train on; expected at least {2 * FOLDS}.")
    if len(np.unique(test.y)) < 2:
        raise ValueError(f"target '{target}' has one value in all {len(test.y)} held-out rows.")
    weights = rng.multinomial(len(test.y), np.full(len(test.y), 1 / len(test.y)), RESAMPLES).astype(np.float64)
    weights = np.concatenate([np.ones((1, len(test.y))), weights])  # the rows as they are come first
    weights = weights[[np.ptp(test.y[row > 0]) > 0 for row in weights]]
    found = []
    for task in (synthetic, real):
        rows = rng.permutation(len(task.y))[:n]
        guesses = _guesses(Task(task.x[rows], task.y[rows]), test.x, discrete, classes)
        scores = np.stack([_scores(guess, test.y, weights, classes) for guess in guesses])  # (folds, resamples)
        noise = (FOLDS - 1) * scores[:, 0].var()
        found.append((scores.mean(axis=0), noise, guesses))
    (ours, our_noise, our_guesses), (theirs, their_noise, their_guesses) = found
    ours, theirs = (
        np.append(s[0], s[1:] + rng.normal(0, np.sqrt(noise), len(s) - 1))
        for s, noise in ((ours, our_noise), (theirs, their_noise))
    )
    name, chance = ("AUC", 0.5) if classes else ("R^2", 0.0)
    gap, error = float(ours[0] - theirs[0]), float((ours - theirs)[1:].std())
    return Utility(
        target,
        name,
        _interval(name, ours),
        _interval(name, theirs),
        _relative(ours - chance, theirs - chance),
        Metric("utility_difference", gap, gap - Z * error, gap + Z * error, _p_value(gap, error)),
        {} if classes is None else _more(our_guesses, their_guesses, test.y),
        (n, len(test.y)),
    )


def weighted_auc(score: Array, positive: NDArray[np.bool_], weights: Array) -> Array:
    """The area under the ROC curve of `score` (n,) for each set of weights (b, n), (b,); NaN without both classes."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > 0))  # of rows with one score
    ahead = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    others = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(others, axis=1) - others / 2  # a tie counts one half
    with np.errstate(invalid="ignore"):
        return np.sum(ahead * below, axis=1) / (ahead.sum(axis=1) * others.sum(axis=1))


def _guesses(task: Task, x: Array, discrete: NDArray[np.bool_], classes: int | None) -> list[Array]:
    """What each model says of the rows `x`: probabilities (m, classes), or numbers (m,)."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from threadpoolctl import threadpool_limits

    trees: Any = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
    guesses = []
    for fold in range(FOLDS):
        mine = np.arange(len(task.y)) % FOLDS != fold
        y = task.y[mine]
        if classes is not None and len(np.unique(y)) == 1:  # nothing to learn
            guesses.append(np.repeat(np.eye(classes)[None, int(y[0])], len(x), axis=0))
            continue
        known = ~np.isnan(task.x[mine]).all(axis=0)  # trees refuse a column without an observed entry
        features = discrete[known]
        model = trees(max_leaf_nodes=15, early_stopping=False, random_state=0, categorical_features=features)
        with threadpool_limits(1, "openmp"):
            model.fit(task.x[mine][:, known], y)
            guess = model.predict(x[:, known]) if classes is None else model.predict_proba(x[:, known])
        if classes is not None:
            all_classes = np.zeros((len(x), classes))
            all_classes[:, model.classes_.astype(np.intp)] = guess
            guess = all_classes
        guesses.append(guess)
    return guesses


def _scores(guess: Array, y: Array, weights: Array, classes: int | None) -> Array:
    """(b,), one for each set of weights (b, n)."""
    if classes is None:
        total = weights.sum(axis=1)
        mean = weights @ y / total
        spread = weights @ y**2 / total - mean**2
        return np.asarray(1 - (weights @ (y - guess) ** 2) / total / spread)
    present = np.unique(y).astype(np.intp)
    if len(present) == 2 and classes == 2:
        return weighted_auc(guess[:, 1], y == 1, weights)
    each = np.stack([weighted_auc(guess[:, k], y == k, weights) for k in present])
    return np.asarray(np.nanmean(each, axis=0))


def _more(ours: list[Array], theirs: list[Array], y: Array) -> dict[str, tuple[float, float]]:
    def accuracy(guess: Array) -> float:
        return float(np.mean(guess.argmax(axis=1) == y))

    def balanced(guess: Array) -> float:
        return float(np.mean([np.mean(guess[y == k].argmax(axis=1) == k) for k in np.unique(y)]))

    return {
        name: (float(np.mean([score(g) for g in ours])), float(np.mean([score(g) for g in theirs])))
        for name, score in (("accuracy", accuracy), ("balanced accuracy", balanced))
    }


def _interval(name: str, values: Array) -> Metric:
    half = Z * float(values[1:].std())
    return Metric(name, float(values[0]), float(values[0]) - half, float(values[0]) + half)


def _relative(ours: Array, theirs: Array) -> Metric | None:
    if theirs[0] <= SURE * theirs[1:].std():
        return None
    with np.errstate(divide="ignore"):
        low, high = np.quantile(ours[1:] / theirs[1:], [0.025, 0.975])
    value = float(ours[0] / theirs[0])
    return Metric("relative_utility", value, float(min(low, value)), float(max(high, value)))


def _p_value(gap: float, error: float) -> float:
    from scipy.stats import norm

    return float(norm.cdf(gap / error)) if error > 0 else float(gap >= 0)
