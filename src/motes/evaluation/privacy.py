"""Privacy and utility of synthetic rows: distances to the closest records, copies, and models trained on them.

    d^2 = sum over numbers (z - z')^2  +  number of labels that differ  +  number of entries missing in one of the rows

Held-out rows are not part of the training, so they are as far away as independent new rows. If synthetic rows have
the distribution of the data, 5 % of them are closer to a training row than 95 % of the held-out rows are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from motes.data.arrays import Mask, Series
from motes.data.points import mixed
from motes.encoding import JsonRecord
from motes.evaluation import results
from motes.evaluation.marginals import normal_scores, share_difference
from motes.evaluation.results import ALPHA, NO_DIFFERENCE, Adjustment, Array, Judged, Metric, Sides, Verdict, Z

NEAR = 0.05  # the DCR share without memorisation
DOUBT = 0.05  # two references for copies count as different below this p-value
BLOCK = 4_000_000  # distances computed at once
QUANTILES = {"5 % quantile": 0.05, "median": 0.5}


@dataclass(frozen=True)
class ClosestRecords(JsonRecord):
    """Distances of synthetic and held-out rows to the closest training row.

    Attributes:
        synthetic, held_out: sorted distances (n,) and (m,).
        share: the DCR share: synthetic rows closer than 95 % of the held-out rows, 0.05 without memorisation. Its 95 %
            interval includes the noise of few held-out rows; its one-sided p-value tests a share of 0.05 or less.
    """

    synthetic: Array
    held_out: Array
    share: Metric

    json_names = ("share", "quantiles")

    @property
    def quantiles(self) -> dict[str, Sides]:
        """Quantiles of the distances of synthetic and of held-out rows, by name."""
        both = self.synthetic, self.held_out
        return {name: Sides(*(float(np.quantile(distances, q)) for distances in both)) for name, q in QUANTILES.items()}

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that nothing is memorised."""
        return results.p_of(self.share)

    def judged(self, adjust: Adjustment) -> Judged:
        """Return the result with its interval adjusted for all tests of the table; see `Judged`."""
        p_value, detectable = adjust(self.p_value), self.detectable(ALPHA / adjust.factor)
        share = results.corrected(self.share, adjust.sigmas, NEAR, p_value < ALPHA)
        text = (
            f"{share:.1%} ({share.low:.1%} to {share.high:.1%}) of the synthetic rows are closer to a training row "
            f"than {1 - NEAR:.0%} of the held-out rows are; {NEAR:.0%} is expected"
        )
        seen = "" if detectable is None else f"a share of {detectable:.1%}"
        said = results.judged(p_value, share - NEAR, "dcr", text, same=text, detectable=detectable, seen=seen)
        return replace(self, share=share), said, self.share, NEAR

    def detectable(self, level: float) -> float | None:
        """Return the smallest share that is significant at this level; None if no share is."""
        n, m, first = len(self.synthetic), len(self.held_out), _edge(self.held_out)[1]
        count = _first_significant(n, lambda below: _p_values(below, first, n, m), level)
        return None if count is None else count / n


def _first_significant(n: int, p_values: Callable[[NDArray[np.int64]], Array], level: float) -> int | None:
    """Return the smallest of about 1,000 counts up to n whose p-value is below the level; None if none is."""
    counts = np.unique(np.linspace(0, n, min(n, 1000) + 1).astype(np.int64))
    enough = counts[p_values(counts) < level]
    return int(enough[0]) if len(enough) else None


def closest_records(synthetic: Array, held_out: Array, training: Array, discrete: Mask) -> ClosestRecords:
    """Compare the distances of synthetic rows and of held-out rows to the closest training row.

    Args:
        synthetic, held_out, training: rows (n, d), (m, d) and (k, d) of numbers and codes, NaN if missing; at least one
            of each.
        discrete: whether each column has codes, (d,).
    """
    n, m = len(synthetic), len(held_out)
    ours, theirs = (np.sort(closest_distances(rows, training, discrete)) for rows in (synthetic, held_out))
    # Rows exactly at the edge count as half for the share and not at all for the test, which is conservative.
    edge, first = _edge(theirs)
    below, upto = (int(np.searchsorted(ours, edge, side=side)) for side in ("left", "right"))
    value = (below + upto) / (2 * n)
    variance = value * (1 - value) / n + value**2 * (1 - NEAR) / NEAR / m  # variance of the share, and of the edge
    p_value = float(_p_values(np.array([below]), first, n, m)[0])
    return ClosestRecords(ours, theirs, results.share("dcr_share", value, variance, n, p_value))


def _edge(held_out: Array) -> tuple[float, int]:
    """Return the distance below which rows count as near, and the index, from 1, of the first held-out row there."""
    edge = held_out[max(int(np.ceil(NEAR * len(held_out))), 1) - 1]
    return float(edge), int(np.searchsorted(held_out, edge, side="left")) + 1


def _p_values(below: NDArray[np.int64], first: int, n: int, m: int) -> Array:
    """Return negative hypergeometric probabilities that `below` of n rows or more precede the `first` of m rows."""
    from scipy.stats import hypergeom

    return np.where(below == 0, 1.0, hypergeom.cdf(first - 1, n + m, m, below + first - 1))


def closest_distances(rows: Array, training: Array, discrete: Mask) -> Array:
    """Return the distance of each row (n, d) to the closest training row, (n,)."""
    from scipy.spatial.distance import cdist

    (z, codes), (others, other_codes) = (_prepare(x, training, discrete) for x in (rows, training))
    squares = (others**2).sum(axis=1)
    nearest = np.empty(len(z))
    step = max(BLOCK // len(others), 1)
    for i in range(0, len(z), step):
        block = slice(i, i + step)
        apart = squares - 2 * (z[block] @ others.T)  # without the square of the row itself
        if discrete.any():
            apart += discrete.sum() * cdist(codes[block], other_codes, "hamming")
        place = apart.argmin(axis=1)
        differ = (codes[block] != other_codes[place]).sum(axis=1)
        nearest[block] = np.sqrt(((z[block] - others[place]) ** 2).sum(axis=1) + differ)  # now without cancellation
    return nearest


def _prepare(x: Array, training: Array, discrete: Mask) -> tuple[Array, Array]:
    """Return numbers as normal scores, 0 if missing, with columns that mark missing ones; and codes, -1 if missing."""
    z = x[:, ~discrete]
    for column, reference in zip(z.T, training[:, ~discrete].T, strict=True):
        column[:] = normal_scores(column, reference)
    return np.hstack([np.nan_to_num(z), np.isnan(z)]), np.nan_to_num(x[:, discrete], nan=-1.0)


# --- copies ---------------------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """A number of copies, of whole rows or of single values, among a number of rows."""

    copies: int
    rows: int

    def __str__(self) -> str:
        return f"{self.copies:,} of {self.rows:,}"


@dataclass(frozen=True)
class Copies(JsonRecord):
    """Rows that equal a training row in every entry.

    Attributes:
        synthetic, held_out: number of copies.
        repeated: number of training rows that equal another training row.
        share: share among synthetic rows minus share of the `reference`, with its 95 % interval and the one-sided
            p-value for a difference of 0 or less (Fisher's exact test).
        copied, known: masks of the copies among synthetic rows (n,) and among held-out rows (m,).
        reference: number of chance copies among real rows, from `held_out` and `repeated`.
    """

    synthetic: Count
    held_out: Count
    repeated: Count
    share: Metric
    copied: Mask
    known: Mask
    reference: Count

    json_names = ("synthetic", "held_out", "repeated")

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that copies are as frequent as among real rows."""
        return results.p_of(self.share)

    def judged(self, adjust: Adjustment) -> Judged:
        """Return the result, unchanged; see `Judged`."""
        (ours, n), (theirs, m), (twins, k) = self.synthetic, self.held_out, self.repeated
        held = f"{theirs:,} of {m:,} held-out rows are, and " if m else ""
        text = (
            f"{ours:,} of {n:,} synthetic rows are copies of training rows "
            f"({held}{twins:,} of {k:,} training rows equal another)"
        )
        detectable = self.detectable(ALPHA / adjust.factor)
        seen = "" if detectable is None else f"{detectable:,} copies"
        p_value = adjust(self.p_value)
        said = results.judged(p_value, self.share, "copies", text, same=text, detectable=detectable, seen=seen)
        return self, said, ours / n, theirs / m if m else None

    def detectable(self, level: float) -> int | None:
        """Return the smallest number of copies that is significant at this level; None if no number is."""
        from scipy.stats import hypergeom

        (_, n), (c, total) = self.synthetic, self.reference
        return _first_significant(n, lambda k: hypergeom.sf(k - 1, n + total, k + c, n), level)


def count_copies(synthetic: Array, held_out: Array, training: Array) -> Copies:
    """Test whether copies of training rows are more frequent among synthetic rows than among new real rows.

    Training rows that equal each other indicate chance copies just as held-out rows that equal a training row do; they
    come in pairs, so each counts as half. If held-out rows and repeated rows disagree, for example because equal rows
    are on the same side of the split, the one with more copies is the reference.

    Args:
        synthetic, held_out, training: rows (n, d), (m, d) and (k, d) of numbers and codes; NaN equals NaN.
    """
    from scipy.stats import fisher_exact

    own, counts = np.unique(fingerprints(training), return_counts=True)
    copied, known = (np.isin(fingerprints(x), own) for x in (synthetic, held_out))
    ours, theirs = Count(int(copied.sum()), len(copied)), Count(int(known.sum()), len(known))
    twins = Count(int(counts[counts > 1].sum()), len(training))
    references = theirs, Count(-(-twins.copies // 2), -(-twins.rows // 2))
    odds = fisher_exact([[c, total - c] for c, total in references]).pvalue if len(held_out) else 1.0
    if odds < DOUBT:
        reference = max(references, key=lambda one: one.copies / one.rows)
    else:
        reference = Count(*np.sum(references, axis=0).tolist())
    p_value = fisher_exact([[c, total - c] for c, total in (ours, reference)], alternative="greater").pvalue
    gap, low, high = (float(x) for x in share_difference(*ours, *reference))
    metric = Metric("copies", gap, low, high, float(p_value))
    return Copies(ours, theirs, twins, metric, copied, known, reference)


def count_known_values(rows: Series, training: Series) -> Count:
    """Count the rows whose entry in a column is also an entry of a training row; missing entries do not count."""
    known = {*training.cells()} - {None}
    return Count(sum(cell in known for cell in rows.cells()), len(rows))


def fingerprints(x: Array) -> NDArray[np.uint64]:
    """Hash rows (n, d) to 64 bits, equal for equal rows; NaN equals NaN. Different rows collide once in 10^19 pairs.

    Numbers are equal if they agree in 40 of their 52 binary digits, about 12 decimal digits, because a computed number
    may differ in its last digit from the same number read from a file.
    """
    words = np.zeros(len(x), np.uint64)
    for column in x.T:
        plain = np.where(np.isnan(column), np.nan, column + 0.0)  # one NaN, one 0
        bits = np.ascontiguousarray(plain).view(np.uint64)
        words = mixed(words ^ ((bits + np.uint64(1 << 11)) >> np.uint64(12)))
    return words


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
class Utility(JsonRecord):
    """How well the target is predicted from the other columns, after training on synthetic and on real rows.

    Attributes:
        target: name of the target.
        score: "AUC" or "R^2".
        synthetic, real: scores on held-out rows, of models trained on synthetic and on real rows.
        relative: relative utility; None if the score after training on real rows is not significantly above chance.
        difference: synthetic minus real, with its 95 % interval and the one-sided p-value for 0 or more.
        rows: number of training rows, and of test rows.
    """

    target: str
    score: str
    synthetic: Metric
    real: Metric
    relative: Metric | None
    difference: Metric
    rows: tuple[int, int]

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that synthetic rows are as useful as real rows."""
        return results.p_of(self.difference)

    def judged(self, adjust: Adjustment) -> Judged:
        """Return the result with its interval adjusted for all tests of the table; see `Judged`."""
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
            said = results.judged(p_value, lost, "utility", text, same=same, detectable=detectable, seen=seen)
        found = replace(self, difference=results.corrected(gap, adjust.sigmas, 0.0, said.differs))
        return found, said, self.synthetic, self.real

    @property
    def text(self) -> str:
        """The scores after training on either set of rows, as text."""
        ours, theirs = results.number(self.synthetic), results.number(self.real)
        return (
            f"Utility for '{self.target}': {self.score} {ours} after training on synthetic rows, {theirs} on real ones"
            f"; difference {results.with_interval(self.difference)}"
            + ("" if self.relative is None else f"; relative utility {results.number(self.relative)}")
        )


def utility(
    synthetic: Task,
    real: Task,
    test: Task,
    discrete: Mask,
    *,
    target: str,
    classes: int | None,
    rng: np.random.Generator,
) -> Utility | Verdict:
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

    Returns:
        The result; a verdict if there are too few rows to train on, or the target does not vary over the test rows.
    """
    n = min(len(synthetic.y), len(real.y))
    if n < 2 * FOLDS:
        return results.too_few(n, 2 * FOLDS, "rows to train on")
    if len(np.unique(test.y)) < 2:
        return Verdict("unknown", f"could not be determined: '{target}' has one value in all held-out rows")
    weights = rng.multinomial(len(test.y), np.full(len(test.y), 1 / len(test.y)), RESAMPLES).astype(np.float64)
    weights = np.concatenate([np.ones((1, len(test.y))), weights])  # the original rows come first
    weights = weights[[np.ptp(test.y[row > 0]) > 0 for row in weights]]
    found = []
    for task in (synthetic, real):
        rows = rng.permutation(len(task.y))[:n]
        guesses = _predictions(Task(task.x[rows], task.y[rows]), test.x, discrete, classes)
        folds = np.stack([score_guesses(guess, test.y, weights, classes) for guess in guesses])  # (folds, resamples)
        scores, noise = folds.mean(axis=0), np.sqrt((FOLDS - 1) * folds[:, 0].var())
        scores[1:] += rng.normal(0, noise, len(scores) - 1)
        found.append(scores)
    ours, theirs = found
    name, chance = ("AUC", 0.5) if classes else ("R^2", 0.0)
    gap, error = float(ours[0] - theirs[0]), float((ours - theirs)[1:].std())
    p_value = float(ndtr(gap / error)) if error > 0 else float(gap >= 0)
    difference = Metric("utility_difference", gap, gap - Z * error, gap + Z * error, p_value)
    with_synthetic, with_real = (results.around(name, float(one[0]), Z * float(one[1:].std())) for one in found)
    relative = _relative(ours - chance, theirs - chance)
    return Utility(target, name, with_synthetic, with_real, relative, difference, (n, len(test.y)))


def weighted_auc(score: Array, positive: Mask, weights: Array) -> Array:
    """Compute the area under the ROC curve of `score` (n,) for each set of weights (b, n), (b,); NaN for one class."""
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(score[order]) > 0))  # first row of each distinct score
    ahead = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    others = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(others, axis=1) - others / 2  # a tie counts as half
    with np.errstate(invalid="ignore"):
        return np.sum(ahead * below, axis=1) / (ahead.sum(axis=1) * others.sum(axis=1))


def _predictions(task: Task, x: Array, discrete: Mask, classes: int | None) -> list[Array]:
    """Return the predictions of each model for the rows `x`: probabilities (m, classes), or numbers (m,)."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    trees: Any = HistGradientBoostingRegressor if classes is None else HistGradientBoostingClassifier
    guesses = []
    for fold in range(FOLDS):
        mine = np.arange(len(task.y)) % FOLDS != fold
        y, known = task.y[mine], ~np.isnan(task.x[mine]).all(axis=0)  # trees refuse a column without an observed entry
        if classes is not None and len(np.unique(y)) == 1:  # nothing to learn
            guesses.append(np.tile(np.arange(classes) == y[0], (len(x), 1)).astype(np.float64))
            continue
        features = discrete[known]
        model = trees(max_leaf_nodes=15, early_stopping=False, random_state=0, categorical_features=features)
        model.fit(task.x[mine][:, known], y)
        if classes is None:
            guesses.append(model.predict(x[:, known]))
        else:
            guesses.append(np.zeros((len(x), classes)))
            guesses[-1][:, model.classes_.astype(np.intp)] = model.predict_proba(x[:, known])
    return guesses


def score_guesses(guess: Array, y: Array, weights: Array, classes: int | None) -> Array:
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


def _relative(ours: Array, theirs: Array) -> Metric | None:
    if theirs[0] <= SURE * theirs[1:].std():
        return None
    with np.errstate(divide="ignore"):
        low, high = np.quantile(ours[1:] / theirs[1:], [0.025, 0.975])
    value = float(ours[0] / theirs[0])
    return Metric("relative_utility", value, float(min(low, value)), float(max(high, value)))
