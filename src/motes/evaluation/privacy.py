"""Privacy and utility of synthetic rows: distances to the closest records, copies, and models trained on them.

    d^2 = sum over numbers (z - z')^2  +  number of labels that differ  +  number of entries missing in one of the rows

Held-out rows are not part of the training, so they are as far away as independent new rows. If synthetic rows have
the distribution of the data, 5 % of them are closer to a training row than 95 % of the held-out rows are.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.evaluation.results import (
    ALPHA,
    NO_DIFFERENCE,
    Adjustment,
    Array,
    Metric,
    Verdict,
    Z,
    corrected,
    judged,
    number,
    optional,
    p_of,
    share,
    with_interval,
)

Codes = NDArray[np.int64]

NEAR = 0.05  # the DCR share without memorisation
DOUBT = 0.05  # two references for copies count as different below this p-value
BLOCK = 4_000_000  # distances computed at once
QUANTILES = {"5 % quantile": 0.05, "median": 0.5}


@dataclass(frozen=True)
class Points:
    """Rows prepared for the distance: numbers `z` (n, p), NaN if missing, and codes (n, q), -1 if missing."""

    z: Array
    codes: Codes

    def __len__(self) -> int:
        return len(self.z)

    def take(self, rows: NDArray[np.intp]) -> "Points":
        """Select rows by index."""
        return Points(self.z[rows], self.codes[rows])


@dataclass(frozen=True)
class ClosestRecords:
    """Distances of synthetic and held-out rows to the closest training row.

    Attributes:
        synthetic, held_out: sorted distances (n,) and (m,).
        share: the DCR share: synthetic rows closer than 95 % of the held-out rows, 0.05 without memorisation. Its 95 %
            interval includes the noise of few held-out rows; its one-sided p-value tests a share of 0.05 or less.
    """

    synthetic: Array
    held_out: Array
    share: Metric

    def quantiles(self) -> dict[str, tuple[float, float]]:
        """Return quantiles of the distances: name -> (synthetic, held out)."""
        return {
            name: (float(np.quantile(self.synthetic, q)), float(np.quantile(self.held_out, q)))
            for name, q in QUANTILES.items()
        }

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that nothing is memorised."""
        return p_of(self.share)

    @property
    def values(self) -> tuple[Metric, float]:
        """The DCR share and its reference value."""
        return self.share, NEAR

    def judged(self, adjust: Adjustment) -> tuple["ClosestRecords", Verdict]:
        """Return the result with its interval adjusted for all tests of the table, and the verdict."""
        p_value, detectable = adjust(self.p_value), self.detectable(ALPHA / adjust.factor)
        share = corrected(self.share, adjust.sigmas, NEAR, p_value < ALPHA)
        text = (
            f"{share:.1%} ({share.low:.1%} to {share.high:.1%}) of the synthetic rows are closer to a training row "
            f"than {1 - NEAR:.0%} of the held-out rows are; {NEAR:.0%} is expected"
        )
        seen = "" if detectable is None else f"a share of {detectable:.1%}"
        said = judged(p_value, share - NEAR, "dcr", text, same=text, detectable=detectable, seen=seen)
        return replace(self, share=share), said

    def detectable(self, level: float) -> float | None:
        """Return the smallest share that is significant at this level; None if no share is."""
        n = len(self.synthetic)
        counts = np.unique(np.linspace(1, n, min(n, 1000)).astype(np.int64))
        enough = counts[_p_values(counts, _edge(self.held_out)[1], n, len(self.held_out)) < level]
        return float(enough[0] / n) if len(enough) else None


def closest_records(synthetic: Points, held_out: Points, training: Points) -> ClosestRecords:
    """Compare the distances of synthetic rows and of held-out rows to the closest training row.

    Raises:
        ValueError: no rows in one of the sets.
    """
    n, m = len(synthetic), len(held_out)
    if not (n and m and len(training)):
        raise ValueError(f"got {n}, {m} and {len(training)} rows; expected some of each.")
    ours, theirs = (np.sort(distances_to(points, training)) for points in (synthetic, held_out))
    # Rows exactly at the edge count as half for the share and not at all for the test, which is conservative.
    edge, first = _edge(theirs)
    below, upto = (int(np.searchsorted(ours, edge, side=side)) for side in ("left", "right"))
    value = (below + upto) / (2 * n)
    variance = value * (1 - value) / n + value**2 * (1 - NEAR) / NEAR / m  # variance of the share, and of the edge
    p_value = float(_p_values(np.array([below]), first, n, m)[0])
    return ClosestRecords(ours, theirs, share("dcr_share", value, variance, n, p_value))


def _edge(held_out: Array) -> tuple[float, int]:
    """Return the distance below which rows count as near, and the index, from 1, of the first held-out row there."""
    edge = held_out[max(int(np.ceil(NEAR * len(held_out))), 1) - 1]
    return float(edge), int(np.searchsorted(held_out, edge, side="left")) + 1


def _p_values(below: NDArray[np.int64], first: int, n: int, m: int) -> Array:
    """Return negative hypergeometric probabilities that `below` of n rows or more precede the `first` of m rows."""
    from scipy.stats import hypergeom

    return np.where(below == 0, 1.0, hypergeom.cdf(first - 1, n + m, m, below + first - 1))


def distances_to(points: Points, training: Points) -> Array:
    """Return the distance of each of `points` to the closest training row, (n,)."""
    a, b = _fill_missing(points.z), _fill_missing(training.z)
    squares = (b**2).sum(axis=1)
    nearest = np.empty(len(a))
    step = max(BLOCK // len(b), 1)
    for i in range(0, len(a), step):
        block = slice(i, i + step)
        apart = squares - 2 * (a[block] @ b.T)  # without the square of the point itself
        for codes, others in zip(points.codes[block].T, training.codes.T, strict=True):
            apart += codes[:, None] != others
        place = apart.argmin(axis=1)
        differ = (points.codes[block] != training.codes[place]).sum(axis=1)
        nearest[block] = np.sqrt(((a[block] - b[place]) ** 2).sum(axis=1) + differ)  # recomputed without cancellation
    return nearest


def _fill_missing(z: Array) -> Array:
    """Replace missing numbers by the mean, 0, and add a column that marks them."""
    gone = np.isnan(z)
    return np.concatenate([np.where(gone, 0.0, z), gone], axis=1)


# --- copies ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Copies:
    """Rows that equal a training row in every entry.

    Attributes:
        synthetic, held_out: number of copies, and number of rows.
        repeated: training rows that equal another training row, and number of training rows.
        share: share among synthetic rows minus share of the `reference`, with its 95 % interval and the one-sided
            p-value for a difference of 0 or less (Fisher's exact test).
        copied, known: masks of the copies among synthetic rows (n,) and among held-out rows (m,).
        reference: number of chance copies among real rows, and number of these rows, from `held_out` and `repeated`.
    """

    synthetic: tuple[int, int]
    held_out: tuple[int, int]
    repeated: tuple[int, int]
    share: Metric
    copied: NDArray[np.bool_]
    known: NDArray[np.bool_]
    reference: tuple[int, int]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of copies and rows as a dict for JSON."""
        found = {"synthetic": self.synthetic, "held_out": self.held_out, "training": self.repeated}
        return {name: {"copies": count, "rows": rows} for name, (count, rows) in found.items()}

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that copies are as frequent as among real rows."""
        return p_of(self.share)

    @property
    def values(self) -> tuple[float, float | None]:
        """Shares of copies among synthetic and among held-out rows."""
        (ours, n), (theirs, m) = self.synthetic, self.held_out
        return ours / n, theirs / m if m else None

    def judged(self, adjust: Adjustment) -> tuple["Copies", Verdict]:
        """Return the result, unchanged, and the verdict."""
        (ours, n), (theirs, m), (twins, k) = self.synthetic, self.held_out, self.repeated
        held = f"{theirs:,} of {m:,} held-out rows are, and " if m else ""
        text = (
            f"{ours:,} of {n:,} synthetic rows are copies of training rows "
            f"({held}{twins:,} of {k:,} training rows equal another)"
        )
        detectable = self.detectable(ALPHA / adjust.factor)
        seen = "" if detectable is None else f"{detectable:,} copies"
        p_value = adjust(self.p_value)
        return self, judged(p_value, self.share, "copies", text, same=text, detectable=detectable, seen=seen)

    def detectable(self, level: float) -> int | None:
        """Return the smallest number of copies that is significant at this level; None if no number is."""
        from scipy.stats import hypergeom

        (_, n), (c, total) = self.synthetic, self.reference
        counts = np.unique(np.linspace(0, n, min(n, 1000) + 1).astype(np.int64))
        enough = counts[hypergeom.sf(counts - 1, n + total, counts + c, n) < level]
        return int(enough[0]) if len(enough) else None


def count_copies(synthetic: Array, held_out: Array, training: Array) -> Copies:
    """Test whether copies of training rows are more frequent among synthetic rows than among new real rows.

    Training rows that equal each other indicate chance copies just as held-out rows that equal a training row do; they
    come in pairs, so each counts as half. If held-out rows and repeated rows disagree, for example because equal rows
    are on the same side of the split, the one with more copies is the reference.

    Args:
        synthetic, held_out, training: rows (n, d), (m, d) and (k, d) of numbers and codes; NaN equals NaN.
    """
    from scipy.stats import fisher_exact

    from motes.evaluation.marginals import share_difference

    own, counts = np.unique(fingerprints(training), return_counts=True)
    copied, known = (np.isin(fingerprints(x), own) for x in (synthetic, held_out))
    n, m, k = len(synthetic), len(held_out), len(training)
    ours, theirs, twins = int(copied.sum()), int(known.sum()), int(counts[counts > 1].sum())
    references = [(theirs, m), (-(-twins // 2), -(-k // 2))]
    odds = fisher_exact(np.array([[c, total - c] for c, total in references])).pvalue if m else 1.0
    if m and odds < DOUBT:
        reference = max(references, key=lambda one: one[0] / one[1])
    else:
        reference = references[0][0] + references[1][0], references[0][1] + references[1][1]
    c, total = reference
    p_value = fisher_exact([[ours, n - ours], [c, total - c]], alternative="greater").pvalue
    gap, low, high = (float(x) for x in share_difference(ours, n, c, total))
    metric = Metric("copies", gap, low, high, float(p_value))
    return Copies((ours, n), (theirs, m), (twins, k), metric, copied, known, reference)


def fingerprints(x: Array) -> NDArray[np.uint64]:
    """Hash rows (n, d) to 64 bits, equal for equal rows; NaN equals NaN. Different rows collide once in 10^19 pairs.

    Numbers are equal if they agree in 40 of their 52 binary digits, about 12 decimal digits, because a computed number
    may differ in its last digit from the same number read from a file.
    """
    words = np.zeros(len(x), np.uint64)
    for column in x.T:
        plain = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, one 0
        bits = np.ascontiguousarray(plain).view(np.uint64)
        words = _mix_bits(words ^ _mix_bits((bits + np.uint64(1 << 11)) >> np.uint64(12)))
    return words


def _mix_bits(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix bits so that each depends on all others: a step of SplitMix64 (Steele et al. 2014)."""
    with np.errstate(over="ignore"):
        bits = bits + np.uint64(0x9E3779B97F4A7C15)
        bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return bits ^ (bits >> np.uint64(31))


# --- Utility --------------------------------------------------------------------------------------------------------
#
# Train on synthetic rows, test on real ones: are predictions as good as after training on real rows?
#
#     relative utility = (score of synthetic rows - chance) / (score of real rows - chance)
#
# The score is the area under the ROC curve for labels (mean over labels of one against the rest; chance is 1/2), R^2
# for numbers (chance is 0). Both models are boosted trees, trained on equally many rows and tested on the same held-out
# rows.


FOLDS = 5  # models per set, each without a fifth of its rows, to measure the effect of the choice of rows
RESAMPLES = 299
SURE = 2.3263478740408408  # standard normal quantile of 0.99


@dataclass(frozen=True)
class Task:
    """Training or test rows: `x` (n, d), `y` (n,), codes or numbers."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Utility:
    """How well the target is predicted from the other columns, after training on synthetic and on real rows.

    Attributes:
        target: name of the target.
        score: "AUC" or "R^2".
        synthetic, real: scores on held-out rows, of models trained on synthetic and on real rows.
        relative: relative utility; None if the score after training on real rows is not significantly above chance.
        difference: synthetic minus real, with its 95 % interval and the one-sided p-value for 0 or more.
        more: other scores by name, (synthetic, real).
        rows: number of training rows, and of test rows.
    """

    target: str
    score: str
    synthetic: Metric
    real: Metric
    relative: Metric | None
    difference: Metric
    more: dict[str, tuple[float, float]]
    rows: tuple[int, int]

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that synthetic rows are as useful as real rows."""
        return p_of(self.difference)

    @property
    def values(self) -> tuple[Metric, Metric]:
        """The scores after training on synthetic and on real rows."""
        return self.synthetic, self.real

    def judged(self, adjust: Adjustment) -> tuple["Utility", Verdict]:
        """Return the result with its interval adjusted for all tests of the table, and the verdict."""
        gap, p_value = self.difference, adjust(self.p_value)
        detectable = adjust.detectable * (gap.high - gap.low) / (2 * Z)
        seen = f"a loss of {detectable:.2g} in {self.score}" if detectable > 0 else ""
        if self.relative is None:
            text = f"'{self.target}' cannot be predicted from the other columns, not even after training on real rows"
            said = Verdict("good", text, p_value, detectable, seen)
        else:
            taught = f"synthetic rows teach {max(self.relative, 0):.0%} of what real rows teach"
            text, same = f"{taught} about '{self.target}'", f"{NO_DIFFERENCE} ({taught})"
            lost = 1 - self.relative
            said = judged(p_value, lost, "utility", text, same=same, detectable=detectable, seen=seen)
        return replace(self, difference=corrected(gap, adjust.sigmas, 0.0, said.differs)), said

    @property
    def text(self) -> str:
        """The scores after training on either set of rows, as text."""
        return (
            f"Utility for '{self.target}': {self.score} {number(self.synthetic)} after training on synthetic rows, "
            f"{number(self.real)} on real ones; difference {with_interval(self.difference)}"
            + ("" if self.relative is None else f"; relative utility {number(self.relative)}")
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
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
    """Train on equally many rows of `synthetic` and of `real`, and test on `test`.

    The intervals include the noise of the test rows (by resampling them) and of the training rows (a jackknife over
    fifths of them, which is conservative for trees).

    Args:
        synthetic, real: training rows; the longer set is shortened to the length of the other.
        test: held-out real rows.
        discrete: whether each column of x has codes, (d,).
        target: name of y.
        classes: y is codes from 0 to classes - 1; None if y is numbers.
        rng: generator for the folds and the resampling.

    Raises:
        ValueError: fewer rows than folds to train on, or a target that does not vary over the test rows.
    """
    n = min(len(synthetic.y), len(real.y))
    if n < 2 * FOLDS:
        raise ValueError(f"got {n} rows to train on; expected at least {2 * FOLDS}.")
    if len(np.unique(test.y)) < 2:
        raise ValueError(f"target '{target}' has one value in all {len(test.y)} held-out rows.")
    weights = rng.multinomial(len(test.y), np.full(len(test.y), 1 / len(test.y)), RESAMPLES).astype(np.float64)
    weights = np.concatenate([np.ones((1, len(test.y))), weights])  # the original rows come first
    weights = weights[[np.ptp(test.y[row > 0]) > 0 for row in weights]]
    found = []
    for task in (synthetic, real):
        rows = rng.permutation(len(task.y))[:n]
        guesses = _predictions(Task(task.x[rows], task.y[rows]), test.x, discrete, classes)
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
        {} if classes is None else _other_scores(our_guesses, their_guesses, test.y),
        (n, len(test.y)),
    )


def weighted_auc(score: Array, positive: NDArray[np.bool_], weights: Array) -> Array:
    """Compute the area under the ROC curve of `score` (n,) for each set of weights (b, n), (b,); NaN for one class."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > 0))  # first row of each distinct score
    ahead = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    others = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(others, axis=1) - others / 2  # a tie counts as half
    with np.errstate(invalid="ignore"):
        return np.sum(ahead * below, axis=1) / (ahead.sum(axis=1) * others.sum(axis=1))


def _predictions(task: Task, x: Array, discrete: NDArray[np.bool_], classes: int | None) -> list[Array]:
    """Return the predictions of each model for the rows `x`: probabilities (m, classes), or numbers (m,)."""
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
    """Compute the score for each set of weights (b, n), (b,)."""
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


def _other_scores(ours: list[Array], theirs: list[Array], y: Array) -> dict[str, tuple[float, float]]:
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
