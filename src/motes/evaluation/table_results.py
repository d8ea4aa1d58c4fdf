"""Detailed results of a table's evaluation.

For each result, `to_dict` returns lists, numbers and texts for JSON, with None for NaN; `text` is a block for a
terminal, empty if there is nothing to show; `p_value` is the p-value of its tests; `judged` returns the result with
intervals adjusted for all tests of the table, and its verdict, which becomes an entry of the record.

All tests of a table form one family: without any difference, they raise one or more false alarms with probability 0.05.
The p-values of verdicts are adjusted for this. Detected differences are graded by their size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from motes.errors import UsageError
from motes.evaluation.associations import Associations, Interactions
from motes.evaluation.marginals import Contrast, Histogram
from motes.evaluation.privacy import ClosestRecords, Copies, Utility
from motes.evaluation.records import Details, Entry, sections_text
from motes.evaluation.results import (
    ALPHA,
    NO_DIFFERENCE,
    POWER,
    Adjustment,
    Metric,
    Verdict,
    Z,
    aligned,
    corrected,
    difference,
    judged,
    mean_of,
    number,
    optional,
    p_of,
    p_value,
    standard_error,
    too_few,
    welch,
    with_interval,
)

COLUMN_HEAD = ("column", "kind", "distance", "reference value", "synthetic - real (interval)", "p", "missing",
               "verdict")  # fmt: skip
PAIR_HEAD = ("pair", "synthetic", "real", "difference beyond chance", "p")
PAIRS_NAMED = 5
NAMED = 5  # most columns that the text of a classifier names


@dataclass(frozen=True)
class ColumnResult:
    """The comparison of one column.

    Attributes:
        name, kind, discrete: name and kind of the column, and whether its entries are labels.
        distance: Kolmogorov-Smirnov distance, or total variation for labels; None without entries.
        reference_value: mean distance between two samples of one distribution, of the same sizes.
        w1: Wasserstein-1 distance, in standard deviations; None for labels.
        moments: (mean, standard deviation) of synthetic and of real numbers.
        quantiles: minimum, quartiles and maximum of synthetic and of real numbers.
        contrast: the most significant difference of a share; None if the column does not vary.
        missing, missing_contrast: shares of missing entries, (synthetic, real), and their difference, if tested.
        verdict, missing_verdict: verdicts on values and on missing entries; None if the latter are not tested.
        bars: histogram for pictures; None without entries.
    """

    name: str
    kind: str
    discrete: bool
    distance: Metric | None
    reference_value: float | None
    w1: float | None
    moments: tuple[tuple[float, float], tuple[float, float]] | None
    quantiles: tuple[tuple[float, ...], tuple[float, ...]] | None
    contrast: Contrast | None
    missing: tuple[float, float]
    missing_contrast: Contrast | None
    verdict: Verdict
    missing_verdict: Verdict | None
    bars: Histogram | None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        distance = quantiles = None
        if (far := self.distance) is not None:
            distance = {"name": far.name, "value": far.value, "low": far.low, "high": far.high}
        if self.quantiles is not None:
            quantiles = dict(zip(("synthetic", "real"), map(list, self.quantiles), strict=True))
        return {
            "name": self.name,
            "kind": self.kind,
            "distance": distance,
            "reference_value": self.reference_value,
            "w1": self.w1,
            "quantiles": quantiles,
            "contrast": optional(self.contrast),
            "missing": {
                "synthetic": self.missing[0],
                "real": self.missing[1],
                "contrast": optional(self.missing_contrast),
            },
        }

    @property
    def is_missing_ignored(self) -> bool:
        """Whether missing entries of the column are not modelled."""
        return self.missing_verdict is not None and self.missing_verdict.severity == "unknown"

    @property
    def line(self) -> tuple[str, ...]:
        """Its cells below `COLUMN_HEAD`."""
        ours, theirs = self.missing
        our_share = "not modelled" if self.is_missing_ignored else f"{ours:.1%}"
        missing = "-" if ours == theirs == 0 else f"{our_share}, real {theirs:.1%}"
        texts = [one.text for one in (self.verdict, self.missing_verdict) if one is not None and one.differs]
        one = self.contrast
        gap = "-" if one is None else difference(one.difference, one.low, one.high)
        return (
            self.name, self.kind, number(self.distance), number(self.reference_value), gap,
            p_value(self.verdict.p_value), missing, "; ".join(texts) or self.verdict.text,
        )  # fmt: skip


@dataclass(frozen=True)
class PairResult:
    """The comparison of a pair of columns.

    Attributes:
        columns: names of the columns.
        synthetic, real: association of the columns.
        distance: difference of the dependence, in units of an association, minus its value by chance. It can be above 0
            for equal associations, if different values occur together.
        p_value: p-value, adjusted for all tests of the table.
    """

    columns: tuple[str, str]
    synthetic: float
    real: float
    distance: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {"columns": list(self.columns), "synthetic": _plain(self.synthetic), "real": _plain(self.real),
                "distance": self.distance, "p_value": self.p_value}  # fmt: skip

    @property
    def line(self) -> tuple[str, ...]:
        """Its cells below `PAIR_HEAD`."""
        gap = f"{self.distance:.3f}"
        return " ~ ".join(self.columns), number(self.synthetic), number(self.real), gap, p_value(self.p_value)


@dataclass(frozen=True)
class AssociationResult:
    """All pairs of columns; the missingness of a column is an additional column.

    Attributes:
        names: names of the columns.
        found: associations (d, d) of synthetic and of real rows, and their mean difference.
        tests: tests of all pairs.
        largest: the most significant pairs, set by `judged`.
    """

    names: tuple[str, ...]
    found: Associations
    tests: Interactions
    largest: tuple[PairResult, ...] = ()

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that no pair differs."""
        return self.tests.p_value

    @property
    def values(self) -> tuple[Metric, float]:
        """The mean absolute difference, and its reference value for two samples of one distribution."""
        return self.found.mean, self.found.mean_by_chance

    def judged(self, adjust: Adjustment) -> tuple["AssociationResult", Verdict]:
        """Return the result with its most significant pairs, and the verdict."""
        tests, places = self.tests, list(zip(*np.triu_indices(len(self.names), 1), strict=True))
        largest = []
        for pair in np.lexsort((-tests.distance, tests.p_values))[:PAIRS_NAMED].tolist():
            i, j = places[pair]
            both = float(self.found.a[i, j]), float(self.found.b[i, j])
            p_value = adjust(float(tests.p_values[pair]))
            largest.append(PairResult((self.names[i], self.names[j]), *both, float(tests.distance[pair]), p_value))
        worst, count = largest[0], sum(adjust(float(p)) < ALPHA for p in tests.p_values)
        if count:
            size = max([pair.distance for pair in largest if pair.p_value < ALPHA])
            how = "" if abs(worst.synthetic - worst.real) > worst.distance / 3 else "different values occur together; "
            text = (
                f"{count} of {len(tests.p_values)} pairs differ, most clearly {worst.columns[0]} and "
                f"{worst.columns[1]}: {how}association {worst.synthetic:.2f} (real {worst.real:.2f})"
            )
        else:
            size = float(tests.distance.mean())
            text = f"all pairs together differ, by {size:.2g} on average"
        sizes = tests.detectable(ALPHA / adjust.factor, float(ndtri(POWER)))
        varying = sizes[sizes > 0]  # a pair with a constant column has no association
        detectable = float(np.median(varying)) if varying.size else 0.0
        seen = f"a difference of {detectable:.2g} in an association (median over pairs)" if detectable > 0 else ""
        verdict = judged(adjust(tests.p_value), size, "association", text, detectable=detectable, seen=seen)
        return replace(self, largest=tuple(largest)), verdict

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            "names": list(self.names),
            "synthetic": [[_plain(value) for value in row] for row in self.found.a.tolist()],
            "real": [[_plain(value) for value in row] for row in self.found.b.tolist()],
            "mean_difference": self.found.mean.to_dict(),
            "reference_value": self.found.mean_by_chance,
            "largest": [pair.to_dict() for pair in self.largest],
        }

    @property
    def text(self) -> str:
        """The mean difference and the most significant pairs, as text."""
        mean, by_chance = self.values
        return (
            f"Associations: mean difference {number(mean)} (reference value {number(by_chance)})\n"
            f"{aligned(PAIR_HEAD, [pair.line for pair in self.largest])}"
        )


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


@dataclass(frozen=True)
class ClassifierResult:
    """Two-sample test by a classifier (C2ST).

    Attributes:
        accuracy: accuracy on unseen rows.
        reference: the same with training rows instead of synthetic rows.
        importance: permutation importance of each column, the most discriminative first.
        rows: number of rows of each set.
    """

    accuracy: Metric
    reference: Metric
    importance: tuple[tuple[str, float], ...]
    rows: int

    @property
    def p_value(self) -> float:
        """p-value of the null hypothesis that it guesses."""
        return p_of(self.accuracy)

    @property
    def values(self) -> tuple[Metric, Metric]:
        """The accuracy and its reference value."""
        return self.accuracy, self.reference

    def judged(self, adjust: Adjustment) -> tuple["ClassifierResult", Verdict]:
        """Return the result with its interval adjusted for all tests of the table, and the verdict."""
        right, largest = f"right in {100 * self.accuracy:.0f} of 100 cases", self.importance[0][1]
        names = [name for name, importance in self.importance[:3] if importance > max(0.1 * largest, 0.002)]
        by = f", most of all by {', '.join(names)}" if names else ""
        detectable = min(0.5 + adjust.detectable * 0.5 / np.sqrt(self.rows), 1.0)
        said = judged(
            adjust(self.p_value),
            self.accuracy - 0.5,
            "accuracy",
            f"{right}, where guessing is right in 50{by}",
            same=f"{NO_DIFFERENCE} ({right}; guessing is right in 50)",
            detectable=detectable,
            seen=f"an accuracy of {detectable:.2f}",
        )
        return replace(self, accuracy=corrected(self.accuracy, adjust.sigmas, 0.5, said.differs)), said

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            "accuracy": self.accuracy.to_dict(),
            "reference_value": self.reference.to_dict(),
            "permutation_importance": dict(self.importance),
        }

    @property
    def text(self) -> str:
        """The accuracy and the most discriminative columns, as text."""
        names = [f"{name} {importance:+.3f}" for name, importance in self.importance[:NAMED] if importance > 0]
        return (
            f"Classifier: accuracy {with_interval(self.accuracy)}; "
            f"training against held-out rows {with_interval(self.reference)}"
            + (f"\n  permutation importance: {', '.join(names)}" if names else "")
        )


@dataclass(frozen=True)
class Likelihoods:
    """Log-likelihoods of held-out and of training rows.

    Attributes:
        held_out, training: means with 95 % intervals; None if fewer than 2 rows have a density above 0.
        difference: training minus held-out, with its interval; None as above.
        impossible: number of rows with density 0, (held out, training); the means exclude them.
        rows: number of rows with finite log-likelihood, (held out, training).
        p_values: one-sided p-values for the null hypotheses that training rows are no more likely (Welch's t-test), and
            that impossible training rows are as frequent (Fisher's exact test; 1 if no held-out row is impossible).
        columns: number of learned columns.
    """

    held_out: Metric | None
    training: Metric | None
    difference: Metric | None
    impossible: tuple[int, int]
    rows: tuple[int, int]
    p_values: tuple[float, float]
    columns: int

    @property
    def p_value(self) -> float | None:
        """p-value of both tests (Bonferroni), without the second if its p-value is 1; None with too few rows."""
        first, second = self.p_values
        return None if self.difference is None else first if second == 1 else min(2 * min(first, second), 1.0)

    @property
    def values(self) -> tuple[Metric | None, float | None]:
        """The difference and its reference value, 0."""
        return self.difference, None if self.difference is None else 0.0

    def judged(self, adjust: Adjustment | None) -> tuple["Likelihoods", Verdict]:
        """Return the result with its interval adjusted for all tests of the table, and the verdict."""
        gap, p_value = self.difference, self.p_value
        if gap is None or p_value is None or adjust is None:
            return self, too_few(min(self.rows), 2, "rows with a density above 0")
        detectable, p_value = adjust.detectable * (gap.high - gap.low) / (2 * Z), adjust(p_value)
        seen = f"a difference of {detectable:.2g} nats per row"
        rare = f"{self.impossible[0]:,} held-out rows are impossible under the model"
        by_mean = self.p_values[0] <= self.p_values[1]
        if p_value < ALPHA and not by_mean:
            said = Verdict("moderate", rare, p_value, detectable, seen)
        else:
            text = f"training rows are {gap:.2g} nats per row more likely than held-out rows: the model is overfitted"
            same = "held-out rows are as likely as training rows" + (f" ({rare})" if self.impossible[0] else "")
            size = gap / self.columns
            said = judged(p_value, size, "likelihood", text, same=same, detectable=detectable, seen=seen)
        return replace(self, difference=corrected(gap, adjust.sigmas, 0.0, said.differs and by_mean)), said

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a dict for JSON."""
        return {
            "held_out": optional(self.held_out),
            "training": optional(self.training),
            "difference": optional(self.difference),
            "impossible": {"held_out": self.impossible[0], "training": self.impossible[1]},
        }

    @property
    def text(self) -> str:
        """The means and their difference, as text."""
        if self.difference is None:
            return ""
        return (
            f"Log-likelihood, nats per row: held-out {with_interval(self.held_out)}, "
            f"training {with_interval(self.training)}; difference {with_interval(self.difference)}"
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

    finite, impossible = [], []
    for name, given in (("held-out", held_out), ("training", training)):
        values = np.asarray(given, np.float64)
        if values.ndim != 1 or np.isnan(values).any() or (values == np.inf).any():
            raise UsageError(
                f"log_prob of the {name} rows: got shape {values.shape}; expected (rows,), numbers or -inf."
            )
        finite.append(values[np.isfinite(values)])
        impossible.append(len(values) - len(finite[-1]))
    rows, lost = (len(finite[0]), len(finite[1])), (impossible[0], impossible[1])
    table = list(zip(lost, rows, strict=True))
    p_impossible = float(fisher_exact(table, alternative="greater").pvalue) if lost[0] else 1.0
    if min(rows) < 2:
        return Likelihoods(None, None, None, lost, rows, (1.0, p_impossible), columns)
    unseen, seen = (mean_of("log_likelihood", values) for values in finite)
    gap, p_value = welch(float(seen - unseen), (standard_error(finite[0]), standard_error(finite[1])), rows)
    return Likelihoods(unseen, seen, gap, lost, rows, (p_value, p_impossible), columns)


# --- The details of a table's evaluation: all results, and example rows ---------------------------------------------


@dataclass(frozen=True)
class Examples:
    """Example rows as text, (rows, columns) of each kind.

    Attributes:
        names: names of the columns.
        synthetic, real: some synthetic and some training rows.
        unlikely: the least likely held-out rows under the model, the least likely first.
        log_prob: log p of the unlikely rows, in nats.
    """

    names: tuple[str, ...]
    synthetic: tuple[tuple[str, ...], ...]
    real: tuple[tuple[str, ...], ...]
    unlikely: tuple[tuple[str, ...], ...] = ()
    log_prob: tuple[float, ...] = ()


@dataclass(frozen=True)
class TableDetails(Details):
    """All results of a table's evaluation, for charts and tables; None if one could not be determined.

    Attributes:
        columns: results by column.
        associations: results by pair of columns; None for a single column.
        classifier: result of the classifier, on all columns.
        utility: result for the target, if one was chosen.
        likelihood: result for the log-likelihoods, if they were given.
        records: distances to the training rows.
        copies: rows that equal a training row.
        examples: ten synthetic and ten training rows, and the ten least likely held-out rows.
    """

    columns: tuple[ColumnResult, ...]
    associations: AssociationResult | None
    classifier: ClassifierResult | None
    utility: Utility | None
    likelihood: Likelihoods | None
    records: ClosestRecords | None
    copies: Copies
    examples: Examples

    kind = "table"

    def to_dict(self) -> dict[str, Any]:
        """Return the results as a dict for JSON, without any row of the tables."""
        near = self.records
        return {
            "columns": [column.to_dict() for column in self.columns],
            "associations": optional(self.associations),
            "classifier": optional(self.classifier),
            "utility": optional(self.utility),
            "likelihood": optional(self.likelihood),
            "privacy": {
                "dcr_share": None if near is None else near.share.to_dict(),
                "distances": near
                and {
                    name: {"synthetic": ours, "held_out": theirs} for name, (ours, theirs) in near.quantiles().items()
                },
                "copies": self.copies.to_dict(),
            },
        }

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """Return blocks of text: a line for each section and each column, then the other results."""
        columns = aligned(COLUMN_HEAD, [column.line for column in self.columns])
        results = (self.associations, self.classifier, self.utility, self.likelihood)
        texts = [one.text for one in results if one is not None]
        lines = []
        if self.records is not None:
            share = self.records.share
            lines = [(name, number(ours), number(theirs)) for name, (ours, theirs) in self.records.quantiles().items()]
            lines.append(("DCR share (interval)", f"{share:.1%} ({share.low:.1%} to {share.high:.1%})", "5.0%"))
        (ours, n), (theirs, m) = self.copies.synthetic, self.copies.held_out
        lines.append(("exact copies", f"{ours:,} of {n:,}", f"{theirs:,} of {m:,}"))
        near = "Privacy\n" + aligned(("distance to the closest training row", "synthetic", "held-out"), lines)
        return [sections_text(entries), columns, *(text for text in texts if text), near]
