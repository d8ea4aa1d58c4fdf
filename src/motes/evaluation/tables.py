"""Evaluation of synthetic tables: columns, associations, privacy, utility and likelihood.

All tests of a table form one family: without any difference, they raise one or more false alarms with probability 0.05.
The p-values of verdicts are adjusted for this. Detected differences are graded by their size.

For each result, `text` is a block for a terminal, empty if there is nothing to show; `p_value` is the p-value of its
tests; `judged` returns the result with intervals adjusted for all tests of the table, and what its entry in the record
needs: the verdict, the value and its reference value.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Frame
from motes.data.arrays import Mask
from motes.encoding import JsonRecord
from motes.errors import UsageError, check_seed, unknown
from motes.evaluation import associations, marginals, privacy, results
from motes.evaluation.metrics import c2st_of_columns
from motes.evaluation.pairs import OWN_STREAM
from motes.evaluation.results import ALPHA, NO_DIFFERENCE, Adjustment, Array, Entry, Judged, Metric, Sides, Verdict, Z
from motes.tables import Schema
from motes.tables.moments import moments_of

HEAD = ("column", "kind", "distance", "reference value", "synthetic - real (interval)", "p", "missing", "verdict")
NAMED_COLUMNS = 5  # most columns that the text of a classifier names


@dataclass(frozen=True)
class ColumnResult(JsonRecord):
    """The comparison of one column.

    Attributes:
        name, kind, discrete: name and kind of the column, and whether its entries are labels.
        distance: Kolmogorov-Smirnov distance, or total variation for labels; None without entries.
        reference_value: mean distance between two samples of one distribution, of the same sizes.
        moments: mean and standard deviation of synthetic and of real numbers.
        quantiles: minimum, quartiles and maximum of synthetic and of real numbers.
        contrast: the most significant difference of a share; None if the column does not vary.
        missing, missing_contrast: shares of missing entries, and their difference, if tested.
        verdict, missing_verdict: verdicts on values and on missing entries; None if the latter are not tested.
        bars: histogram for pictures; None without entries.
    """

    name: str
    kind: str
    discrete: bool
    distance: float | None
    reference_value: float | None
    moments: Sides | None
    quantiles: Sides | None
    contrast: marginals.Contrast | None
    missing: Sides
    missing_contrast: marginals.Contrast | None
    verdict: Verdict
    missing_verdict: Verdict | None
    bars: marginals.Histogram | None

    json_names = (
        "name", "kind", "distance", "reference_value", "moments", "quantiles", "contrast", "missing",
        "missing_contrast",
    )  # fmt: skip

    @property
    def line(self) -> tuple[str, ...]:
        """Its cells below `HEAD`."""
        ours, theirs = self.missing
        ignored = self.missing_verdict is not None and self.missing_verdict.severity == "unknown"
        our_share = "not modelled" if ignored else f"{ours:.1%}"
        missing = "-" if ours == theirs == 0 else f"{our_share}, real {theirs:.1%}"
        texts = [one.text for one in (self.verdict, self.missing_verdict) if one is not None and one.differs]
        one = self.contrast
        gap = "-" if one is None else results.difference(one.difference, one.low, one.high)
        return (
            self.name, self.kind, results.number(self.distance), results.number(self.reference_value), gap,
            results.p_value(self.verdict.p_value), missing, "; ".join(texts) or self.verdict.text,
        )  # fmt: skip


@dataclass(frozen=True)
class ClassifierResult(JsonRecord):
    """Two-sample test by a classifier (C2ST).

    Attributes:
        accuracy: accuracy on unseen rows.
        reference_value: the same with training rows instead of synthetic rows.
        importance: permutation importance of each column, the most discriminative first.
        rows: number of rows of each set.
    """

    accuracy: Metric
    reference_value: Metric
    importance: dict[str, float]
    rows: int

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that it guesses."""
        return results.p_of(self.accuracy)

    def judged(self, adjust: Adjustment) -> Judged:
        """Return the result with its interval adjusted for all tests of the table; see `Judged`."""
        right = f"right in {100 * self.accuracy:.0f} of 100 cases"
        least = max(0.1 * max(self.importance.values()), 0.002)
        names = [name for name, importance in [*self.importance.items()][:3] if importance > least]
        by = f", most of all by {', '.join(names)}" if names else ""
        detectable = min(0.5 + adjust.detectable * 0.5 / np.sqrt(self.rows), 1.0)
        text = f"{right}, where guessing is right in 50{by}"
        same = f"{NO_DIFFERENCE} ({right}; guessing is right in 50)"
        p_value, size, seen = adjust(self.p_value), self.accuracy - 0.5, f"an accuracy of {detectable:.2f}"
        said = results.judged(p_value, size, "accuracy", text, same=same, detectable=detectable, seen=seen)
        accuracy = results.corrected(self.accuracy, adjust.sigmas, 0.5, said.differs)
        return replace(self, accuracy=accuracy), said, accuracy, self.reference_value

    @property
    def text(self) -> str:
        """The accuracy and the most discriminative columns, as text."""
        first = [*self.importance.items()][:NAMED_COLUMNS]
        names = [f"{name} {importance:+.3f}" for name, importance in first if importance > 0]
        return (
            f"Classifier: accuracy {results.with_interval(self.accuracy)}; "
            f"training against held-out rows {results.with_interval(self.reference_value)}"
            + (f"\n  permutation importance: {', '.join(names)}" if names else "")
        )


class Counts(NamedTuple):
    """A number of held-out and of training rows."""

    held_out: int
    training: int


@dataclass(frozen=True)
class Likelihoods(JsonRecord):
    """Log-likelihoods of held-out and of training rows.

    Attributes:
        held_out, training: means with 95 % intervals; None if fewer than 2 rows have a density above 0.
        difference: training minus held-out, with its interval; None as above.
        impossible: number of rows with density 0; the means exclude them.
        rows: number of rows with finite log-likelihood.
        p_values: one-sided p-values for the null hypotheses that training rows are no more likely (Welch's t-test), and
            that impossible training rows are as frequent (Fisher's exact test; 1 if no held-out row is impossible).
        columns: number of learned columns.
    """

    held_out: Metric | None
    training: Metric | None
    difference: Metric | None
    impossible: Counts
    rows: Counts
    p_values: tuple[float, float]
    columns: int

    json_names = ("held_out", "training", "difference", "impossible")

    @property
    def p_value(self) -> float | None:
        """p-value of both tests (Bonferroni), without the second if its p-value is 1; None with too few rows."""
        first, second = self.p_values
        return None if self.difference is None else first if second == 1 else min(2 * min(first, second), 1.0)

    def judged(self, adjust: Adjustment | None) -> Judged:
        """Return the result with its interval adjusted for all tests of the table; see `Judged`."""
        gap, p_value = self.difference, self.p_value
        if gap is None or p_value is None or adjust is None:
            return self, results.too_few(min(self.rows), 2, "rows with a density above 0"), None, None
        detectable, p_value = adjust.detectable * (gap.high - gap.low) / (2 * Z), adjust(p_value)
        seen = f"a difference of {detectable:.2g} nats per row"
        rare = f"{self.impossible.held_out:,} held-out rows are impossible under the model"
        by_mean = self.p_values[0] <= self.p_values[1]
        if p_value < ALPHA and not by_mean:
            said = Verdict("moderate", rare, p_value, detectable, seen)
        else:
            text = f"training rows are {gap:.2g} nats per row more likely than held-out rows: the model is overfitted"
            same = "held-out rows are as likely as training rows" + (f" ({rare})" if self.impossible.held_out else "")
            size = gap / self.columns
            said = results.judged(p_value, size, "likelihood", text, same=same, detectable=detectable, seen=seen)
        gap = results.corrected(gap, adjust.sigmas, 0.0, said.differs and by_mean)
        return replace(self, difference=gap), said, gap, 0.0

    @property
    def text(self) -> str:
        """The means and their difference, as text."""
        if self.difference is None:
            return ""
        return (
            f"Log-likelihood, nats per row: held-out {results.with_interval(self.held_out)}, "
            f"training {results.with_interval(self.training)}; difference {results.with_interval(self.difference)}"
        )


def likelihoods(held_out: ArrayLike, training: ArrayLike, columns: int = 1) -> Likelihoods:
    """Compare log p of held-out rows (m,) and of training rows (k,); minus infinity for a row with density 0.

    Raises:
        UsageError: arrays of the wrong shape, NaN, or plus infinity.

    Example:
        >>> found = likelihoods([-3.0, -2.0, -4.0], [-1.0, -2.0, -1.5])
        >>> float(found.difference), round(found.p_values[0], 3)
        (1.5, 0.052)
    """
    from scipy.stats import fisher_exact

    finite, lost = [], []
    for name, given in (("held-out", held_out), ("training", training)):
        values = np.asarray(given, np.float64)
        if values.ndim != 1 or np.isnan(values).any() or (values == np.inf).any():
            raise UsageError(
                f"log_prob of the {name} rows: got shape {values.shape}; expected (rows,), numbers or -inf."
            )
        finite.append(values[np.isfinite(values)])
        lost.append(len(values) - len(finite[-1]))
    rows, impossible = Counts(*map(len, finite)), Counts(*lost)
    table = list(zip(impossible, rows, strict=True))
    p_impossible = float(fisher_exact(table, alternative="greater").pvalue) if impossible.held_out else 1.0
    if min(rows) < 2:
        return Likelihoods(None, None, None, impossible, rows, (1.0, p_impossible), columns)
    unseen, seen = (results.mean_of("log_likelihood", values) for values in finite)
    errors = results.standard_error(finite[0]), results.standard_error(finite[1])
    gap, p_value = results.welch(float(seen - unseen), errors, rows)
    return Likelihoods(unseen, seen, gap, impossible, rows, (p_value, p_impossible), columns)


# --- The details of a table's evaluation: all results, and example rows ---------------------------------------------


@dataclass(frozen=True)
class Examples:
    """Some synthetic and some training rows as text, (rows, columns) each, and the names of the columns."""

    names: tuple[str, ...]
    synthetic: tuple[tuple[str, ...], ...]
    real: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class TableDetails(results.Details):
    """All results of a table's evaluation, for charts and tables; None if one could not be determined.

    Attributes:
        columns: results by column.
        associations: results by pair of columns; None for a single column.
        classifier: result of the classifier, on all columns.
        utility: result for the target, if one was chosen.
        likelihood: result for the log-likelihoods, if they were given.
        records: distances to the training rows.
        copies: rows that equal a training row.
        known_values: for each column of ids or personal data, set aside or not, the synthetic and the held-out rows
            with a value of a training row.
        examples: ten synthetic and ten training rows.
    """

    columns: tuple[ColumnResult, ...]
    associations: associations.AssociationResult | None
    classifier: ClassifierResult | None
    utility: privacy.Utility | None
    likelihood: Likelihoods | None
    records: privacy.ClosestRecords | None
    copies: privacy.Copies
    known_values: Mapping[str, Sides]
    examples: Examples

    kind = "table"
    json_names = (
        "columns", "associations", "classifier", "utility", "likelihood", "records", "copies", "known_values"
    )  # fmt: skip

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """Return blocks of text: a line for each section and each column, then the other results."""
        columns = results.aligned(HEAD, [column.line for column in self.columns])
        parts = (self.associations, self.classifier, self.utility, self.likelihood)
        texts = [one.text for one in parts if one is not None]
        lines = []
        if self.records is not None:
            share, both = self.records.share, self.records.quantiles
            lines = [(name, *map(results.number, distances)) for name, distances in both.items()]
            lines.append(("DCR share (interval)", f"{share:.1%} ({share.low:.1%} to {share.high:.1%})", "5.0%"))
        lines.append(("exact copies", str(self.copies.synthetic), str(self.copies.held_out)))
        lines += [(f"real values of '{name}'", *map(str, counts)) for name, counts in self.known_values.items()]
        near = results.aligned(("distance to the closest training row", "synthetic", "held-out"), lines)
        return [results.sections_text(entries), columns, *(text for text in texts if text), f"Privacy\n{near}"]


# --- Differences of a column in words -------------------------------------------------------------------------------

SHIFTED, STRETCHED = 0.1, 1.1  # from this shift of the mean, or ratio of standard deviations, a verdict mentions it


def _describe_share(contrast: marginals.Contrast, kind: str) -> str:
    ours, theirs, text = contrast.synthetic, contrast.real, contrast.text
    label = contrast.of == "label"
    if label and ours == 0:
        return f"{text} is never drawn (real {theirs:.1%})"
    if text.startswith("at most") and ours + theirs > 1:  # state shares in the upper tail from above
        ours, theirs, text = 1 - ours, 1 - theirs, f"above {results.shown(kind, contrast.value)}"
    digits = 1 if label or min(ours, theirs) >= 0.01 else 2
    return f"{text} in {ours:.{digits}%} of the rows (real {theirs:.{digits}%})"


def _describe_moments(moments: Sides) -> str:
    (mean, deviation), (real_mean, real_deviation) = moments
    if real_deviation <= 0:
        return ""
    text = ""
    shift, ratio = (mean - real_mean) / real_deviation, deviation / real_deviation
    if abs(shift) >= SHIFTED:
        text += f", mean {abs(shift):.2g} standard deviations too {'high' if shift > 0 else 'low'}"
    if not 1 / STRETCHED <= ratio <= STRETCHED:
        text += f", standard deviation {ratio:.2g} times the real one"
    return text


# --- The comparisons of a table, each with the number of rows that it can handle ------------------------------------


FEWEST = 20  # fewest held-out rows for the classifier, the utility and the distances
ROWS = 20_000  # most rows of each set, for the classifier
PAIR_ROWS = 50_000  # most rows of each set, for associations; fewer for wide tables
PRODUCTS = 4e9  # most products in the sums of all associations
SHUFFLES = 100  # shuffles over all columns, for permutation importance
LABELS_OF_PAIRS = 20  # most labels of a column; the rarest are merged
LABELS_OF_TREES = 100
TASK_ROWS = 10_000  # most training rows for the utility; half as many test rows
CLASSES = 20  # most labels of a target
DISTANCES = 3e8  # most distances between rows, for synthetic and held-out rows together
NEAREST = 5000  # most rows of each set for distances to the closest training row; at least 500


class Comparison:
    """The rows of a comparison, its tests, and its notes.

    Attributes:
        synthetic, held_out, training, real: entries (n, d) of each set; `real` is training and held-out rows together.
        hidden: columns whose missing entries are not modelled and absent from synthetic rows, (d,).
        notes: what was left out or treated differently, one sentence each.
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
                f"synthetic rows have no missing entries in {', '.join(names)}, because these are not modelled; the "
                "classifier and the distances to training rows use synthetic rows with the missingness pattern of "
                "random training rows."
            )

    def rng(self, use: int) -> np.random.Generator:
        """Return the generator for one purpose."""
        return np.random.default_rng([OWN_STREAM, 1000 + use, self.seed])

    # --- with all rows ---

    def shares(self) -> marginals.Shares:
        """Compare every column as shares of rows."""
        return marginals.compare_shares(self.view, self.synthetic, self.real, self.hidden, self.rng(1))

    def columns(self, shares: marginals.Shares, adjust: Adjustment) -> tuple[ColumnResult, ...]:
        """Compare each column: distances, the most significant share, moments, quantiles and a histogram."""
        rng = self.rng(18)
        return tuple(self._column(j, shares, adjust, rng) for j in range(len(self.view.names)))

    def _column(self, j: int, shares: marginals.Shares, adjust: Adjustment, rng: np.random.Generator) -> ColumnResult:
        column, labels, discrete = self.view.columns[j], self.view.labels[j], bool(self.view.discrete[j])
        ours, theirs = (x[~np.isnan(x)] for x in (self.synthetic[:, j], self.real[:, j]))
        missing = Sides(1 - len(ours) / len(self.synthetic), 1 - len(theirs) / len(self.real))
        distance, reference_value, moments, quantiles, bars = None, None, None, None, None
        if len(ours) and len(theirs):
            distance, reference_value = marginals.distance(ours, theirs, rng, ordered=not discrete)
            bars = marginals.bars_of(ours, theirs, labels)
            if not discrete:
                moments = Sides(moments_of(ours)[:2], moments_of(theirs)[:2])
                quantiles = Sides(marginals.quantiles_of(ours), marginals.quantiles_of(theirs))
        contrast, gaps = shares.of(j), shares.of(j, missing=True)
        verdict, missing_verdict = Verdict("good", NO_DIFFERENCE), None
        if bool(len(ours)) != bool(len(theirs)):
            verdict = Verdict("large", f"all {'synthetic' if len(theirs) else 'real'} entries are missing")
        elif contrast is not None:
            text = _describe_share(contrast, column.kind)
            text += "" if moments is None or column.kind == "date" else _describe_moments(moments)
            size = max(abs(contrast.difference), (distance or 0.0) - (reference_value or 0.0))
            verdict = shares.verdict(contrast, size, text, "a share of rows", adjust)
        if gaps is not None:
            text = f"missing in {gaps.synthetic:.1%} of the rows (real {gaps.real:.1%})"
            of_what = "the share of missing entries"
            missing_verdict = shares.verdict(gaps, abs(gaps.difference), text, of_what, adjust)
        elif self.hidden[j]:
            text = f"not modelled, because table.missing is ignore (real {missing.real:.1%})"
            missing_verdict = Verdict("unknown", text)
        return ColumnResult(
            column.name, column.kind, discrete, distance, reference_value, moments, quantiles, contrast, missing,
            gaps, verdict, missing_verdict, bars,
        )  # fmt: skip

    def pairs(self) -> associations.AssociationResult | None:
        """Compare the associations of all pairs of columns; None for a single column."""
        if len(self.view.names) < 2:
            return None
        x, levels = self._merge_labels(LABELS_OF_PAIRS, "associations")
        sets = {"synthetic": x["synthetic"], "real": np.concatenate([x["training"], x["held_out"]])}
        gaps = np.any([np.isnan(rows).any(axis=0) for rows in sets.values()], axis=0)
        # Missingness is an additional column with two labels.
        patterns = np.flatnonzero(gaps & ~self.hidden)
        names = (*self.view.names, *(f"{self.view.names[j]} missing" for j in patterns))
        discrete = np.append(self.view.discrete, np.ones(len(patterns), bool))
        layout = associations.FeatureLayout(
            discrete, (*levels, *(2 for _ in patterns)), np.append(gaps, np.zeros(len(patterns), bool))
        )
        most = int(np.clip(PRODUCTS / layout.width**2, 1000, PAIR_ROWS))
        for use, (name, rows) in enumerate(sets.items(), start=2):
            if len(rows) > most:
                self.notes.append(f"associations of {name} rows use {most:,} random rows of {len(rows):,}.")
            some = self._draw_rows(rows, most, use)
            sets[name] = np.hstack([some, np.isnan(some[:, patterns])])
        return associations.compare_associations(names, layout, sets["synthetic"], sets["real"], self.rng(4))

    # --- with held-out rows ---

    def classifier(self) -> ClassifierResult | Verdict:
        """Train boosted trees to distinguish synthetic rows and, as a reference, training rows from held-out rows."""
        n = min(len(self.held_out), len(self.synthetic), len(self.training), ROWS)
        if n < FEWEST:
            return results.too_few(len(self.held_out), FEWEST)
        x, _ = self._merge_labels(LABELS_OF_TREES, "the classifier")
        synthetic, held_out, training = (self._draw_rows(rows, n, 5 + use) for use, rows in enumerate(x.values()))
        if n < len(self.held_out):
            self.notes.append(f"the classifier uses {n:,} of the {len(self.held_out):,} held-out rows.")
        synthetic = self._add_gaps(synthetic, 8)
        shuffles = int(np.clip(SHUFFLES // len(self.view.names), 1, 5))
        accuracy, falls = c2st_of_columns(synthetic, held_out, self.view.discrete, self.rng(9), shuffles=shuffles)
        reference, _ = c2st_of_columns(training, held_out, self.view.discrete, self.rng(10), shuffles=0)
        importance = {self.view.names[j]: float(falls[j]) for j in np.argsort(-falls, kind="stable")}
        return ClassifierResult(accuracy, reference, importance, n)

    def utility(self, target: str) -> privacy.Utility | Verdict:
        """Measure how well a target is learned from synthetic and from training rows."""
        j, discrete = self.view.names.index(target), self.view.discrete
        x, _ = self._merge_labels(LABELS_OF_TREES, "learning the target")
        y, classes = self._target(target, {name: rows[:, j] for name, rows in self.view.x.items()}, bool(discrete[j]))
        others = np.arange(len(self.view.names)) != j

        def task(name: str, use: int, most: int) -> privacy.Task:
            rows = self.rng(use).permutation(np.flatnonzero(~np.isnan(y[name])))[:most]
            return privacy.Task(x[name][rows][:, others], y[name][rows])

        synthetic, real = task("synthetic", 11, TASK_ROWS), task("training", 13, TASK_ROWS)
        test = task("held_out", 12, TASK_ROWS // 2)
        if len(test.y) < FEWEST:
            return results.too_few(len(test.y), FEWEST, f"held-out rows with a value of '{target}'")
        return privacy.utility(
            synthetic, real, test, discrete[others], target=target, classes=classes, rng=self.rng(14)
        )

    def _target(self, target: str, x: dict[str, Array], discrete: bool) -> tuple[dict[str, Array], int | None]:
        """Return codes from 0 and their number, or normal scores of numbers and None; NaN for rows to leave out."""
        seen, counts = np.unique(x["training"][~np.isnan(x["training"])], return_counts=True)
        if not discrete and len(seen) > 2:
            return {name: marginals.normal_scores(values, x["training"]) for name, values in x.items()}, None
        if len(seen) > CLASSES:
            self.notes.append(
                f"only the {CLASSES} most frequent of {len(seen)} labels of target '{target}' are learned."
            )
        classes, codes = seen[np.argsort(-counts, kind="stable")[:CLASSES]], {}
        for name, values in x.items():
            match = values[:, None] == classes
            codes[name] = np.where(match.any(axis=1), match.argmax(axis=1), np.nan)
        return codes, len(classes)

    def records(self, copies: privacy.Copies) -> privacy.ClosestRecords | Verdict:
        """Compare distances to the closest training row, without copies, which are counted separately."""
        most = int(np.clip(DISTANCES / 2 / len(self.training), 500, NEAREST))
        synthetic = self._draw_rows(self._add_gaps(self.synthetic, 15)[~copies.copied], most, 16)
        held_out = self._draw_rows(self.held_out[~copies.known], most, 17)
        if len(held_out) < FEWEST:
            return results.too_few(len(held_out), FEWEST)
        if not len(synthetic):
            return Verdict("unknown", "could not be determined: all synthetic rows are copies of training rows")
        if max(len(self.synthetic), len(self.held_out)) > most:
            self.notes.append(
                f"distances to all {len(self.training):,} training rows are computed for {most:,} rows of each set."
            )
        return privacy.closest_records(synthetic, held_out, self.training, self.view.discrete)

    # --- rows ---

    def _draw_rows(self, x: Array, n: int, use: int) -> Array:
        """Return n rows in random order, or all if there are fewer."""
        rows: NDArray[np.intp] = self.rng(use).permutation(len(x))[:n]
        return x[rows]

    def _add_gaps(self, synthetic: Array, use: int) -> Array:
        """Return synthetic rows with the missingness pattern of random training rows in the hidden columns."""
        if not self.hidden.any():
            return synthetic
        rows = self.rng(use).integers(0, len(self.training), len(synthetic))
        return np.where(np.isnan(self.training[rows]) & self.hidden, np.nan, synthetic)

    def _merge_labels(self, most: int, use: str) -> tuple[dict[str, Array], tuple[int, ...]]:
        over = [name for name, labels in zip(self.view.names, self.view.labels, strict=True) if len(labels) > most]
        if over:
            self.notes.append(f"for {use}, the rarest labels of {', '.join(over)} are merged, so that {most} remain.")
        return self.view.merged(most)


# --- Evaluation ---------------------------------------------------------------------------------------------
#
# Every verdict is a test of a difference; all tests form one family.
#
#     found = evaluate_tables(samples, held_out, training, schema, target="income")
#     print(found)
#
# Columns and pairs of columns are compared over all synthetic and all real rows, training and held-out rows together.
# The classifier, utility, likelihood and distances use held-out rows.


FEWEST_TRAINING = 2
EXAMPLES = 10

# Weights of the sections in the probability of a false alarm. Columns are many tests, which a few hundred rows can
# decide; each other section is one test, or tests with clear results if there is a problem.
WEIGHTS = {
    "columns": 0.7,
    "associations": 0.12,
    "copies": 0.06,
    "classifier": 0.06,
    "dcr": 0.02,
    "utility": 0.02,
    "likelihood": 0.02,
}


def evaluate_tables(
    samples: Frame,
    held_out: Frame | None,
    training: Frame,
    schema: Schema,
    *,
    target: str | None = None,
    log_prob: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> results.Evaluation[TableDetails]:
    """Compare synthetic rows with real ones: columns, associations, a classifier, utility, likelihood, privacy.

    More synthetic rows detect smaller differences of shares; with ten times as many as real rows, almost all remaining
    chance comes from the real rows. If missing entries of a column are not modelled, and no synthetic row has one, the
    verdict is "not modelled"; the classifier and the distances then use synthetic rows with the missingness pattern of
    random training rows, so that values are compared.

    Args:
        samples: synthetic rows, at least 20.
        held_out: held-out rows; with None or fewer than 20, some sections report too few rows.
        training: the rows that the model was trained on, at least 2.
        schema: schema of the model.
        target: a column to predict from the others, after training on synthetic and on real rows.
        log_prob: the model's log p in nats of held-out rows and of training rows, (m,) and (k,); minus infinity for a
            row of density 0.
        seed: seed of all random choices, which are independent of samples drawn with the same seed.

    Raises:
        UsageError: too few rows, no such target, a target that does not vary, or log p of the wrong shape.
        DataError: columns or entries that do not match the schema.

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
    check_target(schema, target)
    for name, rows, fewest in (("synthetic", samples, FEWEST), ("training", training, FEWEST_TRAINING)):
        if len(rows) < fewest:
            raise UsageError(f"got {len(rows)} {name} rows; expected at least {fewest}.")
    like = None if log_prob is None else likelihoods(*log_prob, len(schema.learned))
    compare = Comparison(marginals.view_of(schema, frames), seed)
    with threadpool_limits(1):  # the threads of small matrices wait for each other
        shares = compare.shares()
        copies = privacy.count_copies(compare.synthetic, compare.held_out, compare.training)
        found: dict[str, Any] = {
            "copies": copies,
            "associations": compare.pairs(),
            "classifier": compare.classifier(),
            "utility": None if target is None else compare.utility(target),
            "likelihood": like,
            "dcr": compare.records(copies),
        }
    found = {key: one for key, one in found.items() if one is not None}
    p_values = {"columns": shares.p_value} | {key: one.p_value for key, one in found.items() if one.p_value is not None}
    adjust = results.weighted_holm(p_values, WEIGHTS)
    columns = compare.columns(shares.corrected(adjust["columns"]), adjust["columns"])
    score = getattr(found.get("utility"), "score", "score")
    measures = MEASURES | {"utility": (target or "", f"{score} after training")}
    entries, parts = list(_column_entries(columns)), dict[str, Any]()
    for key in (key for key in results.SECTIONS if key in found):
        one = found[key]
        if isinstance(one, Verdict):
            entries.append(Entry(key, *measures[key], one))
        else:
            parts[key], said, *values = one.judged(adjust.get(key))
            entries.append(Entry(key, *measures[key], said, *values))
    details = TableDetails(
        columns, parts.get("associations"), parts.get("classifier"), parts.get("utility"), parts.get("likelihood"),
        parts.get("dcr"), copies, _count_known_values(schema, frames), _examples(schema, frames, compare.rng(19)),
    )  # fmt: skip
    against = "training rows and held-out rows" if len(held_out) else "training rows"
    sizes = {name: len(x) for name, x in compare.view.x.items()}
    return results.Evaluation("", against, sizes, tuple(entries), details, (*_set_aside(schema), *compare.notes), seed)


def _count_known_values(schema: Schema, frames: Mapping[str, Frame]) -> dict[str, Sides]:
    """Count the synthetic and the held-out rows with a training value, for each column of ids or personal data."""
    named = [column.name for column in schema.columns if column.name in schema.identifiers or column.personal]
    synthetic, held_out, training = (schema.frame(frames[name]).columns for name in frames)
    count = privacy.count_known_values
    return {name: Sides(*(count(rows[name], training[name]) for rows in (synthetic, held_out))) for name in named}


def _set_aside(schema: Schema) -> Iterator[str]:
    if schema.identifiers:
        names = ", ".join(f"'{name}'" for name in schema.identifiers)
        yield f"set aside as ids, free text or personal data, and so neither learned nor compared: {names}."


def check_target(schema: Schema, target: str | None) -> None:
    """Check that a target is a column that varies, and that there are others to predict it from.

    Raises:
        UsageError: if it is not.
    """
    if target is None:
        return
    names = [column.name for column in schema.compared]
    schema.check_not_aside(target)
    if target not in names:
        raise UsageError("target: " + unknown("column", target, names))
    if target not in schema.learned:
        raise UsageError(f"target '{target}' has a single value in the training rows; expected a column that varies.")
    if len(names) == 1:
        raise UsageError(f"target '{target}' is the only column; expected other columns to predict it from.")


# --- the record -----------------------------------------------------------------------------------------------------

MEASURES = {  # name and measure of the entry of each section
    "associations": ("all pairs", "mean absolute difference of the associations"),
    "classifier": ("c2st_boosting", "accuracy on held-out rows"),
    "likelihood": ("difference", "mean log-likelihood of training rows minus held-out rows, in nats per row"),
    "dcr": ("dcr_share", "share of synthetic rows closer to a training row than 95 % of the held-out rows"),
    "copies": ("copies", "share of synthetic rows that equal a training row"),
}


def _column_entries(columns: Sequence[ColumnResult]) -> Iterator[Entry]:
    for column in columns:
        measure = "total variation distance" if column.discrete else "Kolmogorov-Smirnov distance"
        yield Entry("columns", column.name, measure, column.verdict, column.distance, column.reference_value)
    for column in columns:
        if column.missing_verdict is not None:
            yield Entry("missing", column.name, "share of missing entries", column.missing_verdict, *column.missing)


def _examples(schema: Schema, frames: Mapping[str, Frame], rng: np.random.Generator) -> Examples:
    """Return some synthetic and some training rows as text."""
    texts = []
    for name in ("synthetic", "training"):
        frame = schema.contents(frames[name])
        some = frame.take(np.sort(rng.permutation(len(frame))[:EXAMPLES]))
        rows = zip(*(series.cells() for series in some.columns.values()), strict=True)
        texts.append(tuple(tuple(map(_text, row)) for row in rows))
    return Examples(tuple(column.name for column in schema.compared), texts[0], texts[1])


def _text(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, datetime.datetime) and entry.time() == datetime.time():
        return str(entry.date())
    return f"{entry:.7g}" if isinstance(entry, float) else str(entry)
