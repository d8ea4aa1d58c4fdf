"""The evaluation of a table: columns, associations, privacy, utility and log p."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri

from motes.data import Frame
from motes.data.arrays import Mask
from motes.errors import UsageError, check_seed
from motes.errors import unknown as unknown_errors
from motes.evaluation import associations, marginals, privacy, table_results
from motes.evaluation.metrics import Discrimination, c2st_of_columns
from motes.evaluation.pairs import OWN_STREAM
from motes.evaluation.points import Likelihoods, likelihoods
from motes.evaluation.records import Entry, Evaluation
from motes.evaluation.results import (
    ALPHA,
    NO_DIFFERENCE,
    POWER,
    Adjustment,
    Array,
    Metric,
    Verdict,
    Z,
    corrected,
    graded,
    shown,
    weighted_holm,
)
from motes.tables import Schema

SHIFTED, STRETCHED = 0.1, 1.1  # from which a mean and a standard deviation are said to differ

Moments = tuple[tuple[float, float], tuple[float, float]]


def of_column(
    contrast: marginals.Contrast | None,
    beyond: float,
    moments: Moments | None,
    kind: str,
    adjust: Adjustment,
    detectable: float | None,
) -> Verdict:
    """A column by itself, by the contrast that differs most clearly.

    Args:
        contrast: None where the column does not vary.
        beyond: its distance, less what chance gives it.
        moments: (mean, standard deviation) of synthetic and real numbers.
        kind: of the column.
        adjust: for all tests of the table.
        detectable: the difference of shares that is found in 80 of 100 cases.
    """
    if contrast is None:
        return Verdict("good", NO_DIFFERENCE)
    p_value = adjust(contrast.p_value)
    seen = "" if detectable is None else f"a difference of {detectable:.2g} in a share of rows"
    if p_value >= ALPHA:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable, seen)
    size = max(abs(contrast.difference), beyond)
    text = _share(contrast, kind) + ("" if moments is None or kind == "date" else _shape(moments))
    return Verdict(graded(size, "share"), text, p_value, detectable, seen)


def of_missing(contrast: marginals.Contrast, adjust: Adjustment, detectable: float | None) -> Verdict:
    """The share of missing entries of a column."""
    p_value = adjust(contrast.p_value)
    seen = "" if detectable is None else f"a difference of {detectable:.2g} in the share of missing entries"
    if p_value >= ALPHA:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable, seen)
    text = f"missing in {contrast.synthetic:.1%} of the rows (real {contrast.real:.1%})"
    return Verdict(graded(abs(contrast.difference), "share"), text, p_value, detectable, seen)


def not_modelled(real: float) -> Verdict:
    """The share of missing entries of a column, where the model was told to ignore them."""
    return Verdict("unknown", f"not modelled, because table.missing is ignore (real {real:.1%})")


def _share(contrast: marginals.Contrast, kind: str) -> str:
    ours, theirs, text = contrast.synthetic, contrast.real, contrast.text
    if contrast.of == "label":
        if ours == 0:
            return f"{text} is never drawn (real {theirs:.1%})"
        return f"{text} in {ours:.1%} of the rows (real {theirs:.1%})"
    if text.startswith("at most") and ours + theirs > 1:  # the upper tail is read from above
        ours, theirs, text = 1 - ours, 1 - theirs, f"above {shown(kind, contrast.value)}"
    digits = 1 if min(ours, theirs) >= 0.01 else 2
    return f"{text} in {ours:.{digits}%} of the rows (real {theirs:.{digits}%})"


def _shape(moments: Moments) -> str:
    (mean, deviation), (real_mean, real_deviation) = moments
    if real_deviation <= 0:
        return ""
    said = ""
    shift, ratio = (mean - real_mean) / real_deviation, deviation / real_deviation
    if abs(shift) >= SHIFTED:
        said += f", mean {abs(shift):.2g} standard deviations too {'high' if shift > 0 else 'low'}"
    if not 1 / STRETCHED <= ratio <= STRETCHED:
        said += f", standard deviation {ratio:.2g} times that of real rows"
    return said


def of_associations(
    found: associations.Interactions, largest: tuple[table_results.PairResult, ...], adjust: Adjustment
) -> Verdict:
    """All pairs of columns; `largest` with adjusted p-values, the most significant first."""
    detectable = float(np.median(found.detectable(ALPHA / adjust.factor, float(ndtri(POWER)))))
    seen = f"a difference of {detectable:.2g} in an association (median over pairs)" if detectable > 0 else ""
    count = sum(adjust(float(p)) < ALPHA for p in found.p_values)
    p_value = adjust(found.p_value)
    if p_value >= ALPHA:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable, seen)
    if not count:
        size = float(found.distance.mean())
        text = f"all pairs together differ, by {size:.2g} on average"
        return Verdict(graded(size, "association"), text, p_value, detectable, seen)
    worst = largest[0]
    size = max(pair.distance for pair in largest if pair.p_value < ALPHA)
    how = "" if abs(worst.synthetic - worst.real) > worst.distance / 3 else "other values go together; "
    text = (
        f"{count} of {len(found.p_values)} pairs differ, most clearly {worst.columns[0]} and {worst.columns[1]}: {how}"
        f"association {worst.synthetic:.2f} (real {worst.real:.2f})"
    )
    return Verdict(graded(size, "association"), text, p_value, detectable, seen)


def of_classifier(accuracy: Metric, rows: int, columns: tuple[tuple[str, float], ...], adjust: Adjustment) -> Verdict:
    """A classifier's accuracy on so many rows; columns with their importance."""
    p_value = adjust(1.0 if accuracy.p_value is None else accuracy.p_value)
    detectable = min(0.5 + _sigmas(adjust) * 0.5 / np.sqrt(rows), 1.0)
    seen = f"an accuracy of {detectable:.2f}"
    if p_value >= ALPHA:
        text = f"{NO_DIFFERENCE} (right in {100 * accuracy:.0f} of 100 cases; guessing is right in 50)"
        return Verdict("good", text, p_value, detectable, seen)
    names = [name for name, importance in columns[:3] if importance > max(0.1 * columns[0][1], 0.002)]
    by = f", most of all by {', '.join(names)}" if names else ""
    text = f"right in {100 * accuracy:.0f} of 100 cases, where guessing is right in 50{by}"
    return Verdict(graded(accuracy - 0.5, "accuracy"), text, p_value, detectable, seen)


def of_utility(found: privacy.Utility, adjust: Adjustment) -> Verdict:
    """What synthetic rows teach about a target."""
    difference = found.difference
    p_value = adjust(1.0 if difference.p_value is None else difference.p_value)
    detectable = _sigmas(adjust) * (difference.high - difference.low) / (2 * Z)
    seen = f"a loss of {detectable:.2g} in {found.score}" if detectable > 0 else ""
    if found.relative is None:
        text = f"'{found.target}' cannot be predicted from the other columns, not even after training on real rows"
        return Verdict("good", text, p_value, detectable, seen)
    relative = f"{max(found.relative, 0):.0%} of what real rows teach"
    if p_value >= ALPHA:
        return Verdict("good", f"{NO_DIFFERENCE} (synthetic rows teach {relative})", p_value, detectable, seen)
    text = f"synthetic rows teach {relative} about '{found.target}'"
    return Verdict(graded(1 - found.relative, "utility"), text, p_value, detectable, seen)


def of_likelihood(difference: Metric, impossible: tuple[int, int], p_values: tuple[float, float], width: int,
                  adjust: Adjustment) -> Verdict:  # fmt: skip
    """Are training rows more likely than held-out ones?

    Args:
        difference: training minus held-out, in nats per row.
        impossible: rows of density 0, (held out, training).
        p_values: of the difference, and of the impossible rows.
        width: number of learned columns.
        adjust: for all tests of the table.
    """
    p_value = adjust(joint_p_value(p_values))
    detectable = _sigmas(adjust) * (difference.high - difference.low) / (2 * Z)
    seen = f"a difference of {detectable:.2g} nats per row"
    rare = f"{impossible[0]:,} held-out rows are impossible to the model"
    if p_value >= ALPHA:
        text = "held-out rows are as likely as training rows" + (f" ({rare})" if impossible[0] else "")
        return Verdict("good", text, p_value, detectable, seen)
    if p_values[1] < p_values[0]:
        return Verdict("moderate", rare, p_value, detectable, seen)
    text = f"training rows are {difference:.2g} nats per row more likely than held-out rows: the model is overfitted"
    return Verdict(graded(difference / width, "likelihood"), text, p_value, detectable, seen)


def joint_p_value(p_values: tuple[float, float]) -> float:
    """Bonferroni's, of two tests; the second counts only where it says something."""
    first, second = p_values
    return first if second == 1 else min(2 * min(first, second), 1.0)


def of_records(found: privacy.ClosestRecords, adjust: Adjustment) -> Verdict:
    """The DCR share."""
    p_value = adjust(1.0 if found.share.p_value is None else found.share.p_value)
    detectable = found.detectable(ALPHA / adjust.factor)
    seen = "" if detectable is None else f"a share of {detectable:.1%}"
    ours = f"{found.share:.1%} ({found.share.low:.1%} to {found.share.high:.1%}) of the synthetic rows"
    far, near = f"{1 - privacy.NEAR:.0%}", f"{privacy.NEAR:.0%}"
    text = f"{ours} are nearer to a training row than {far} of the held-out rows are; {near} is neutral"
    severity = graded(found.share - privacy.NEAR, "dcr") if p_value < ALPHA else "good"
    return Verdict(severity, text, p_value, detectable, seen)


def of_copies(found: privacy.Copies, adjust: Adjustment) -> Verdict:
    """Synthetic rows that equal a training row."""
    (ours, n), (theirs, m), (twins, k) = found.synthetic, found.held_out, found.repeated
    p_value = adjust(1.0 if found.share.p_value is None else found.share.p_value)
    detectable = found.detectable(ALPHA / adjust.factor)
    seen = "" if detectable is None else f"{detectable:,} copies"
    held = f"{theirs:,} of {m:,} held-out rows are, and " if m else ""
    text = (
        f"{ours:,} of {n:,} synthetic rows are copies of training rows "
        f"({held}{twins:,} of {k:,} training rows equal another)"
    )
    severity = graded(float(found.share), "copies") if p_value < ALPHA else "good"
    return Verdict(severity, text, p_value, detectable, seen)


def unknown(got: int, fewest: int, what: str = "held-out rows") -> Verdict:
    """Too few rows for a test."""
    return Verdict("unknown", f"could not be determined: got {got:,} {what}; at least {fewest:,} are needed")


def _sigmas(adjust: Adjustment) -> float:
    """How many standard errors a one-sided test finds in 80 of 100 cases."""
    return float(ndtri(POWER)) + adjust.sigmas


# --- Each column by itself: distances, the share that differs most clearly, moments, quantiles and a picture --------


def columns_of(
    view: marginals.SharedColumns,
    synthetic: Array,
    real: Array,
    shares: marginals.Shares,
    hidden: Mask,
    adjust: Adjustment,
    rng: np.random.Generator,
) -> tuple[table_results.ColumnResult, ...]:
    """The results of all columns.

    Args:
        view: what the columns are.
        synthetic, real: entries (n, d) and (m, d).
        shares: their contrasts.
        hidden: (d,), whose missing entries are not modelled.
        adjust: for all tests of the table.
        rng: of the simulated distances between two draws.
    """
    return tuple(
        _column(view, j, synthetic[:, j], real[:, j], shares, bool(hidden[j]), adjust, rng)
        for j in range(len(view.names))
    )


def _column(
    view: marginals.SharedColumns,
    j: int,
    synthetic: Array,
    real: Array,
    shares: marginals.Shares,
    hidden: bool,
    adjust: Adjustment,
    rng: np.random.Generator,
) -> table_results.ColumnResult:
    column, labels, discrete = view.columns[j], view.labels[j], bool(view.discrete[j])
    ours, theirs = (x[~np.isnan(x)] for x in (synthetic, real))
    missing = 1 - len(ours) / len(synthetic), 1 - len(theirs) / len(real)
    distance, reference_value, w1, moments, quantiles, bars = None, None, None, None, None, None
    if len(ours) and len(theirs):
        distance, reference_value = _distance(ours, theirs, len(labels), discrete, rng)
        if not discrete:
            w1 = marginals.wasserstein_1(ours, theirs)
            moments = marginals.moments_of(ours), marginals.moments_of(theirs)
            quantiles = marginals.quantiles_of(ours), marginals.quantiles_of(theirs)
        bars = marginals.bars_of(ours, theirs, labels)
    level = ALPHA / adjust.factor
    contrast = shares.of(j, ("label", "number"))
    if len(ours) == 0 < len(theirs) or len(theirs) == 0 < len(ours):
        verdict = Verdict("large", f"no {'synthetic' if len(theirs) else 'real'} row has a value")
    else:
        beyond = 0.0 if distance is None or reference_value is None else distance - reference_value
        detectable = shares.detectable(j, ("label", "number"), level)
        verdict = of_column(contrast, beyond, moments, column.kind, adjust, detectable)
    gaps = shares.of(j, ("missing",))
    missing_verdict = not_modelled(missing[1]) if hidden else None
    if gaps is not None:
        missing_verdict = of_missing(gaps, adjust, shares.detectable(j, ("missing",), level))
    return table_results.ColumnResult(
        column.name, column.kind, discrete, distance, reference_value, w1, moments, quantiles, contrast, missing, gaps,
        verdict, missing_verdict, bars,
    )  # fmt: skip


def _distance(
    ours: Array, theirs: Array, labels: int, discrete: bool, rng: np.random.Generator
) -> tuple[Metric, float]:
    """Total variation of labels, Kolmogorov-Smirnov of numbers; and the mean of that for two draws."""
    n, m = len(ours), len(theirs)
    if discrete:
        counts = [marginals.counted(x, labels) for x in (ours, theirs)]
        return marginals.total_variation(*counts), marginals.distance_by_chance(
            counts[0] + counts[1], n, m, rng, ordered=False
        )
    both = np.unique(np.concatenate([ours, theirs]), return_counts=True)[1]
    return marginals.kolmogorov_smirnov(ours, theirs), marginals.distance_by_chance(both, n, m, rng, ordered=True)


# --- The tests that a table is put to, with as many rows of each set as each of them can take -----------------------


FEWEST = 20  # held-out rows for a classifier, for a target and for distances
ROWS = 20_000  # of each set, for a classifier
PAIR_ROWS = 50_000  # of each set, for associations; fewer of wide tables
PRODUCTS = 4e9  # in the sums of all associations
SHUFFLES = 100  # of all columns together, for permutation importance
LABELS_OF_PAIRS = 20  # of a column; the rarest become one
LABELS_OF_TREES = 100
TASK_ROWS = 10_000  # to learn a target from, and half as many to be tested on
CLASSES = 20  # labels of a target
DISTANCES = 3e8  # between rows, of synthetic and held-out ones together
NEAREST = 5000  # rows of each whose closest training row is sought, at least 500


class Pairs(NamedTuple):
    """All pairs of the columns `names`; for a column with missing entries one more says where these are."""

    names: tuple[str, ...]
    values: associations.Associations
    tests: associations.Interactions


class Comparison:
    """The rows to be compared, and what is to be noted in the end.

    Attributes:
        synthetic, held_out, training, real: entries (n, d) of each set; the last is both kinds of real rows.
        hidden: (d,), columns where missing entries are not learned, and no synthetic row has one.
        notes: what was left out or taken otherwise, a sentence each.
    """

    def __init__(self, view: marginals.SharedColumns, seed: int):
        self.view, self.seed, self.notes = view, seed, list[str]()
        self.synthetic, self.held_out, self.training = view.x.values()
        self.real = np.concatenate([self.training, self.held_out])
        coded = np.array([column.coded for column in view.columns])
        self.hidden: Mask = ~coded & ~np.isnan(self.synthetic).any(axis=0) & np.isnan(self.real).any(axis=0)
        if self.hidden.any():
            names = [name for name, hidden in zip(view.names, self.hidden.tolist(), strict=True) if hidden]
            self.notes.append(
                f"no synthetic row has a missing entry in {', '.join(names)}, because missing entries are not "
                "learned there; the classifier and the distances to training rows see the synthetic rows with the "
                "missing entries of training rows drawn at random."
            )

    def rng(self, use: int) -> np.random.Generator:
        """For one purpose."""
        return np.random.default_rng([OWN_STREAM, 1000 + use, self.seed])

    # --- with all rows ---

    def shares(self) -> marginals.Shares:
        """Every column as shares of rows."""
        kinds = [column.kind for column in self.view.columns]
        return marginals.compare_shares(
            self.view, self.synthetic, self.real, self.hidden.tolist(), lambda j, x: shown(kinds[j], x), self.rng(1)
        )

    def pairs(self) -> Pairs | None:
        """Associations, and the test of each pair; None for a single column."""
        if len(self.view.names) < 2:
            return None
        x, levels = self._merged(LABELS_OF_PAIRS, "associations")
        gaps = np.any([np.isnan(rows).any(axis=0) for rows in x.values()], axis=0)
        # Whether an entry is missing is one more column, of two labels.
        patterns = np.flatnonzero(gaps & ~self.hidden)
        x = {name: np.concatenate([rows, np.isnan(rows[:, patterns])], axis=1) for name, rows in x.items()}
        discrete = np.append(self.view.discrete, np.ones(len(patterns), bool))
        names = (*self.view.names, *(f"{self.view.names[j]} missing" for j in patterns))
        layout = associations.FeatureLayout(
            discrete, (*levels, *(2 for _ in patterns)), np.append(gaps, np.zeros(len(patterns), bool))
        )
        most = int(np.clip(PRODUCTS / layout.width**2, 1000, PAIR_ROWS))
        sets = []
        for use, name in enumerate(("synthetic", "real"), start=2):
            rows = x[name] if name in x else np.concatenate([x["training"], x["held_out"]])
            if len(rows) > most:
                self.notes.append(
                    f"associations of {name} rows are those of {most:,} rows, drawn from {len(rows):,} at random."
                )
            sets.append(self._some(rows, most, use))
        design = layout.design(associations.ranked(np.concatenate(sets), discrete))
        both = design[: len(sets[0])], design[len(sets[0]) :]
        tests = associations.compare_interactions(layout, *both, self.rng(20))
        return Pairs(names, associations.compare_associations(layout, *both, self.rng(4)), tests)

    def copies(self) -> privacy.Copies:
        """Exact copies of training rows."""
        return privacy.count_copies(self.synthetic, self.held_out, self.training)

    # --- with held-out rows ---

    def classifier(self) -> tuple[Discrimination, Metric, int] | Verdict:
        """Boosted trees that tell synthetic from held-out rows; training from held-out rows for reference; rows."""
        n = min(len(self.held_out), len(self.synthetic), len(self.training), ROWS)
        if n < FEWEST:
            return self._too_few(self.held_out)
        x, _ = self._merged(LABELS_OF_TREES, "the classifier")
        synthetic, held_out, training = (self._some(rows, n, 5 + use) for use, rows in enumerate(x.values()))
        if n < len(self.held_out):
            self.notes.append(f"the classifier sees {n:,} of the {len(self.held_out):,} held-out rows.")
        synthetic = self._with_gaps(synthetic, 8)
        shuffles = int(np.clip(SHUFFLES // len(self.view.names), 1, 5))
        found = c2st_of_columns(synthetic, held_out, self.view.discrete, self.rng(9), shuffles=shuffles)
        reference = c2st_of_columns(training, held_out, self.view.discrete, self.rng(10), shuffles=0)
        return found, reference.accuracy, n

    def utility(self, target: str) -> privacy.Utility | Verdict:
        """A target learned from synthetic and from training rows.

        Raises:
            UsageError: a target of one value.
        """
        j, discrete = self.view.names.index(target), self.view.discrete
        x, _ = self._merged(LABELS_OF_TREES, "learning the target")
        rows = {name: self.rng(11 + use).permutation(len(cells)) for use, (name, cells) in enumerate(x.items())}
        y, classes = self._target(target, {name: self.view.x[name][rows[name], j] for name in x}, bool(discrete[j]))
        others = np.arange(len(self.view.names)) != j

        def task(name: str, most: int) -> privacy.Task:
            known = np.flatnonzero(~np.isnan(y[name]))[:most]
            return privacy.Task(x[name][rows[name][known]][:, others], y[name][known])

        synthetic, real = task("synthetic", TASK_ROWS), task("training", TASK_ROWS)
        test = task("held_out", TASK_ROWS // 2)
        if len(test.y) < FEWEST:
            return unknown(len(test.y), FEWEST, f"held-out rows with a value of '{target}'")
        try:
            return privacy.utility(
                synthetic, real, test, discrete[others], target=target, classes=classes, rng=self.rng(14)
            )
        except ValueError as error:
            return Verdict("unknown", f"could not be determined: {error}")

    def _target(self, target: str, x: dict[str, Array], discrete: bool) -> tuple[dict[str, Array], int | None]:
        """Codes from 0 and how many, or normal scores of numbers; NaN for rows to leave out."""
        seen, counts = np.unique(x["training"][~np.isnan(x["training"])], return_counts=True)
        if len(seen) < 2:
            raise UsageError(f"target '{target}' has one value in the training rows; expected a column that varies.")
        if not discrete and len(seen) > 2:
            scores = marginals.NormalScores.of(x["training"])
            return {name: scores(values) for name, values in x.items()}, None
        if len(seen) > CLASSES:
            self.notes.append(f"of target '{target}' the {CLASSES} most frequent of {len(seen)} labels are learned.")
        classes = np.sort(seen[np.argsort(-counts, kind="stable")[:CLASSES]])
        codes = {}
        for name, values in x.items():
            code = np.clip(np.searchsorted(classes, values), 0, len(classes) - 1)
            codes[name] = np.where(classes[code] == values, code.astype(np.float64), np.nan)
        return codes, len(classes)

    def records(self, copies: privacy.Copies) -> privacy.ClosestRecords | Verdict:
        """Distances to the closest training row, of rows that are no copies: these are counted apart."""
        most = int(np.clip(DISTANCES / 2 / len(self.training), 500, NEAREST))
        synthetic = self._some(self._with_gaps(self.synthetic, 15)[~copies.copied], most, 16)
        held_out = self._some(self.held_out[~copies.known], most, 17)
        if len(held_out) < FEWEST:
            return self._too_few(held_out)
        if not len(synthetic):
            return Verdict("unknown", "could not be determined: all synthetic rows are copies of training rows")
        if max(len(self.synthetic), len(self.held_out)) > most:
            self.notes.append(
                f"the closest of all {len(self.training):,} training rows is sought for {most:,} rows of each set."
            )
        scores = [marginals.NormalScores.of(column) for column in self.training[:, ~self.view.discrete].T]
        return privacy.closest_records(*(self._points(rows, scores) for rows in (synthetic, held_out, self.training)))

    def _points(self, x: Array, scores: list[marginals.NormalScores]) -> privacy.Points:
        numbers, codes = x[:, ~self.view.discrete], x[:, self.view.discrete]
        z = [score(column) for score, column in zip(scores, numbers.T, strict=True)]
        return privacy.Points(
            np.stack(z, axis=1) if z else numbers, np.where(np.isnan(codes), -1, codes).astype(np.int64)
        )

    # --- rows ---

    def _too_few(self, held_out: Array) -> Verdict:
        return unknown(len(held_out), FEWEST)

    def _some(self, x: Array, n: int, use: int) -> Array:
        """n rows in random order, or all if there are fewer."""
        rows: NDArray[np.intp] = self.rng(use).permutation(len(x))[:n]
        return x[rows]

    def _with_gaps(self, synthetic: Array, use: int) -> Array:
        """Synthetic rows with the missing entries of training rows drawn at random, in the hidden columns."""
        if not self.hidden.any():
            return synthetic
        rows = self.rng(use).integers(0, len(self.training), len(synthetic))
        return np.where(np.isnan(self.training[rows]) & self.hidden, np.nan, synthetic)

    def _merged(self, most: int, use: str) -> tuple[dict[str, Array], tuple[int, ...]]:
        over = [name for name, labels in zip(self.view.names, self.view.labels, strict=True) if len(labels) > most]
        if over:
            self.notes.append(f"for {use} the rarest labels of {', '.join(over)} are one, so that {most} are left.")
        return self.view.merged(most)


# --- Does a synthetic table resemble a real one? --------------------------------------------------------------------
#
# Every verdict is a test of a difference, and all of them are one family.
#
#     found = evaluate_tables(samples, held_out, training, schema, target="income")
#     print(found)
#
# Columns and pairs of columns are compared over all synthetic and all real rows, training rows and held-out ones
# together. What needs rows that training has not seen (classifier, utility, likelihood, distances) uses held-out rows.


FEWEST_TRAINING = 2
PAIRS_NAMED = 5
EXAMPLES = 10

# Of the probability of a false alarm. Columns are many tests, and those that a few hundred rows can decide; each other
# section is one test, or tests that are clear at once where something is wrong.
WEIGHTS = {
    "columns": 0.7,
    "associations": 0.12,
    "copies": 0.06,
    "classifier": 0.06,
    "dcr": 0.02,
    "utility": 0.02,
    "likelihood": 0.02,
}

Adjustments = Mapping[str, Adjustment]


def evaluate_tables(
    samples: Frame,
    held_out: Frame | None,
    training: Frame,
    schema: Schema,
    *,
    target: str | None = None,
    log_prob: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> Evaluation[table_results.TableDetails]:
    """Compare synthetic rows with real ones: columns, associations, a classifier, utility, likelihood, privacy.

    The more synthetic rows there are, the smaller the differences of shares that can be seen: with ten times as many as
    real rows, what is left is the chance in the real ones. If no synthetic row has a missing entry in a column where
    missing entries are not learned, the verdict on that is "not modelled"; the classifier and the distances then see
    these rows with the missing entries of training rows drawn at random, so that values are compared.

    Args:
        samples: synthetic rows, at least 20.
        held_out: real rows that the model has not seen; None or fewer than 20 leave some questions open.
        training: the rows that the model was trained on, at least 2.
        schema: of the model.
        target: a column that is predicted from the others, after training on synthetic and on real rows.
        log_prob: the model's log p in nats of held-out rows and of training rows, (m,) and (k,); minus infinity for a
            row of density 0.
        seed: of all choices; it has no bearing on rows that were drawn with the same seed.

    Raises:
        UsageError: too few rows, no such target, a target that does not vary, or log p that does not fit.
        DataError: columns or entries that are not those of the schema.

    Example:
        >>> from motes.data import as_frame
        >>> from motes.evaluation import evaluate_tables
        >>> from motes.tables import Schema
        >>> draws = np.random.default_rng(0).normal(size=(3, 200, 2)).round(2)
        >>> synthetic, held_out, training = map(as_frame, draws)
        >>> evaluate_tables(synthetic, held_out, training, Schema.fit(training)).headline
        'No difference between synthetic and real rows was found.'
    """
    from threadpoolctl import threadpool_limits

    seed = check_seed(seed)
    if held_out is None:
        held_out = schema.frame(training).take(slice(0))
    frames = {"synthetic": samples, "held_out": held_out, "training": training}
    _check(samples, training, schema, target)
    like = None if log_prob is None else likelihoods(*log_prob)
    view = marginals.view_of(schema, frames)
    compare = Comparison(view, seed)
    with threadpool_limits(1):  # the threads of small matrices wait for each other
        shares, pairs, classifier, copies = compare.shares(), compare.pairs(), compare.classifier(), compare.copies()
        use, records = None if target is None else compare.utility(target), compare.records(copies)
    p_values = {"columns": shares.p_value, "copies": _p(copies.share)}
    if pairs is not None:
        p_values["associations"] = pairs.tests.p_value
    if not isinstance(classifier, Verdict):
        p_values["classifier"] = _p(classifier[0].accuracy)
    if isinstance(use, privacy.Utility):
        p_values["utility"] = _p(use.difference)
    if like is not None and like.difference is not None:
        p_values["likelihood"] = joint_p_value(like.p_values)
    if isinstance(records, privacy.ClosestRecords):
        p_values["dcr"] = _p(records.share)
    adjust = weighted_holm(p_values, WEIGHTS)
    shares = shares.corrected(adjust["columns"])
    details = table_results.TableDetails(
        columns=columns_of(
            view, compare.synthetic, compare.real, shares, compare.hidden, adjust["columns"], compare.rng(18)
        ),
        associations=None if pairs is None else _associations(pairs, adjust["associations"]),
        classifier=_classifier(view.names, classifier, adjust),
        utility=None if target is None or use is None else _utility(target, use, adjust),
        likelihood=None if like is None else _likelihood(like, len(schema.learned), adjust),
        privacy=_privacy(records, copies, adjust),
        examples=_examples(schema, frames, compare.rng(19)),
    )
    against = "training rows and held-out rows" if len(held_out) else "training rows"
    sizes = {name: len(x) for name, x in view.x.items()}
    notes = (*_set_aside(schema), *compare.notes)
    return Evaluation("", against, sizes, tuple(_entries(details)), details, notes, seed)


def _set_aside(schema: Schema) -> Iterator[str]:
    if schema.identifiers:
        names = ", ".join(f"'{name}'" for name in schema.identifiers)
        yield f"set aside, because nearly every row has its own value, and so neither learned nor compared: {names}."


def _check(samples: Frame, training: Frame, schema: Schema, target: str | None) -> None:
    names = [column.name for column in schema.compared]
    if target is not None:
        schema.check_not_aside(target)
    if target is not None and target not in names:
        raise UsageError(unknown_errors("column", target, names))
    if target is not None and len(names) == 1:
        raise UsageError(f"target '{target}' is the only column; expected other columns to predict it from.")
    for name, rows, fewest in (("synthetic", samples, FEWEST), ("training", training, FEWEST_TRAINING)):
        if len(rows) < fewest:
            raise UsageError(f"got {len(rows)} {name} rows; expected at least {fewest}.")


def _p(metric: Metric) -> float:
    return 1.0 if metric.p_value is None else metric.p_value


# --- the record -----------------------------------------------------------------------------------------------------


def _entries(found: table_results.TableDetails) -> Iterator[Entry]:
    for column in found.columns:
        measure = "total variation distance" if column.discrete else "Kolmogorov-Smirnov distance"
        yield Entry.of("columns", column.name, measure, column.verdict, column.distance, column.reference_value)
    for column in found.columns:
        if column.missing_verdict is not None:
            ours, theirs = column.missing
            measure = "share of missing entries"
            yield Entry("missing", column.name, measure, column.missing_verdict, ours, reference_value=theirs)
    if (pairs := found.associations) is not None:
        measure = "mean absolute difference of the associations"
        yield Entry.of("associations", "all pairs", measure, pairs.verdict, pairs.difference, pairs.reference_value)
    one = found.classifier
    yield Entry.of("classifier", "c2st_boosting", "accuracy on held-out rows", one.verdict, one.accuracy, one.reference)
    if (use := found.utility) is not None:
        trained = use.utility
        measure = "score after training" if trained is None else f"{trained.score} after training"
        scores = (None, None) if trained is None else (trained.synthetic, trained.real)
        yield Entry.of("utility", use.target, measure, use.verdict, *scores)
    if (like := found.likelihood) is not None:
        measure = "mean log-likelihood of training rows less that of held-out rows, in nats per row"
        reference = None if like.difference is None else 0.0
        yield Entry.of("likelihood", "difference", measure, like.verdict, like.difference, reference)
    private, (copies, n), (theirs, m) = found.privacy, found.privacy.copies.synthetic, found.privacy.copies.held_out
    share = None if private.records is None else private.records.share
    measure = "share of synthetic rows nearer to a training row than 95 % of the held-out rows"
    yield Entry.of("dcr", "dcr_share", measure, private.records_verdict, share, None if share is None else privacy.NEAR)
    measure, reference = "share of synthetic rows that equal a training row", theirs / m if m else None
    yield Entry("copies", "copies", measure, private.copies_verdict, copies / n, reference_value=reference)


# --- results with verdicts ------------------------------------------------------------------------------------------


def _associations(found: Pairs, adjust: Adjustment) -> table_results.AssociationResult:
    names, values, tests = found
    places = list(zip(*np.triu_indices(len(names), 1), strict=True))
    largest = []
    for pair in np.lexsort((-tests.distance, tests.p_values))[:PAIRS_NAMED].tolist():
        i, j = places[pair]
        both = float(values.a[i, j]), float(values.b[i, j])
        p_value = adjust(float(tests.p_values[pair]))
        largest.append(table_results.PairResult((names[i], names[j]), *both, float(tests.distance[pair]), p_value))
    verdict = of_associations(tests, tuple(largest), adjust)
    return table_results.AssociationResult(
        names, values.a, values.b, values.mean, values.mean_by_chance, tuple(largest), verdict
    )


def _classifier(
    names: tuple[str, ...], found: tuple[Discrimination, Metric, int] | Verdict, adjust: Adjustments
) -> table_results.ClassifierResult:
    if isinstance(found, Verdict):
        return table_results.ClassifierResult(None, None, (), found)
    trees, reference, rows = found
    order = np.argsort(-trees.importance, kind="stable")
    columns = tuple((names[j], float(trees.importance[j])) for j in order)
    verdict = of_classifier(trees.accuracy, rows, columns, adjust["classifier"])
    accuracy = corrected(trees.accuracy, adjust["classifier"].sigmas, 0.5, verdict.differs)
    return table_results.ClassifierResult(accuracy, reference, columns, verdict)


def _utility(target: str, found: privacy.Utility | Verdict, adjust: Adjustments) -> table_results.UtilityResult:
    if isinstance(found, Verdict):
        return table_results.UtilityResult(target, None, found)
    verdict = of_utility(found, adjust["utility"])
    difference = corrected(found.difference, adjust["utility"].sigmas, 0.0, verdict.differs)
    return table_results.UtilityResult(target, replace(found, difference=difference), verdict)


def _likelihood(found: Likelihoods, width: int, adjust: Adjustments) -> table_results.LikelihoodResult:
    difference = found.difference
    if difference is None:
        verdict = unknown(min(found.rows), 2, "rows with a density above 0")
    else:
        verdict = of_likelihood(difference, found.impossible, found.p_values, width, adjust["likelihood"])
        differs = verdict.differs and found.p_values[0] <= found.p_values[1]
        difference = corrected(difference, adjust["likelihood"].sigmas, 0.0, differs)
    return table_results.LikelihoodResult(found.held_out, found.training, difference, found.impossible, verdict)


def _privacy(
    records: privacy.ClosestRecords | Verdict, copies: privacy.Copies, adjust: Adjustments
) -> table_results.PrivacyResult:
    copied = of_copies(copies, adjust["copies"])
    if isinstance(records, Verdict):
        return table_results.PrivacyResult(None, records, copies, copied)
    share, adjusted = records.share, adjust["dcr"]
    found = replace(records, share=corrected(share, adjusted.sigmas, privacy.NEAR, adjusted(_p(share)) < ALPHA))
    return table_results.PrivacyResult(found, of_records(found, adjusted), copies, copied)


def _examples(schema: Schema, frames: Mapping[str, Frame], rng: np.random.Generator) -> table_results.Examples:
    """Some synthetic and some training rows as text."""
    texts = []
    for name in ("synthetic", "training"):
        frame = schema.contents(frames[name])
        texts.append(_texts(frame.take(np.sort(rng.permutation(len(frame))[:EXAMPLES]))))
    return table_results.Examples(tuple(column.name for column in schema.compared), texts[0], texts[1])


def with_unlikely(
    found: Evaluation[table_results.TableDetails], held_out: Frame, log_prob: ArrayLike
) -> Evaluation[table_results.TableDetails]:
    """The record with those of the held-out rows (m) as examples that have the lowest `log_prob` (m,)."""
    values = np.asarray(log_prob, np.float64)
    lowest = np.argsort(values, kind="stable")[:EXAMPLES]
    rows, numbers = _texts(held_out.take(lowest)), tuple(values[lowest].tolist())
    examples = replace(found.details.examples, unlikely=rows, log_prob=numbers)
    return replace(found, details=replace(found.details, examples=examples))


def _texts(rows: Frame) -> tuple[tuple[str, ...], ...]:
    columns = [series.cells() for series in rows.columns.values()]
    return tuple(tuple(map(_text, row)) for row in zip(*columns, strict=True))


def _text(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, datetime.datetime) and entry.time() == datetime.time():
        return str(entry.date())
    return f"{entry:.7g}" if isinstance(entry, float) else str(entry)
