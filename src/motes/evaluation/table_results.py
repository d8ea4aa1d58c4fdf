"""Detailed results of a table's evaluation.

For each result, `text` is a block for a terminal, empty if there is nothing to show; `p_value` is the p-value of its
tests; `judged` returns the result with intervals adjusted for all tests of the table, and what its entry in the record
needs: the verdict, the value and its reference value.

All tests of a table form one family: without any difference, they raise one or more false alarms with probability 0.05.
The p-values of verdicts are adjusted for this. Detected differences are graded by their size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from motes.encoding import Encoded
from motes.errors import UsageError
from motes.evaluation import results
from motes.evaluation.associations import AssociationResult
from motes.evaluation.marginals import Contrast, Histogram
from motes.evaluation.privacy import ClosestRecords, Copies, Utility
from motes.evaluation.records import Details, Entry, sections_text
from motes.evaluation.results import ALPHA, NO_DIFFERENCE, Adjustment, Judged, Metric, Sides, Verdict, Z

HEAD = ("column", "kind", "distance", "reference value", "synthetic - real (interval)", "p", "missing", "verdict")
NAMED = 5  # most columns that the text of a classifier names


@dataclass(frozen=True)
class ColumnResult(Encoded):
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
    contrast: Contrast | None
    missing: Sides
    missing_contrast: Contrast | None
    verdict: Verdict
    missing_verdict: Verdict | None
    bars: Histogram | None

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
class ClassifierResult(Encoded):
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
        said = results.judged(
            adjust(self.p_value),
            self.accuracy - 0.5,
            "accuracy",
            f"{right}, where guessing is right in 50{by}",
            same=f"{NO_DIFFERENCE} ({right}; guessing is right in 50)",
            detectable=detectable,
            seen=f"an accuracy of {detectable:.2f}",
        )
        accuracy = results.corrected(self.accuracy, adjust.sigmas, 0.5, said.differs)
        return replace(self, accuracy=accuracy), said, accuracy, self.reference_value

    @property
    def text(self) -> str:
        """The accuracy and the most discriminative columns, as text."""
        names = [
            f"{name} {importance:+.3f}" for name, importance in [*self.importance.items()][:NAMED] if importance > 0
        ]
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
class Likelihoods(Encoded):
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
    gap, p_value = results.welch(
        float(seen - unseen), (results.standard_error(finite[0]), results.standard_error(finite[1])), rows
    )
    return Likelihoods(unseen, seen, gap, impossible, rows, (p_value, p_impossible), columns)


# --- The details of a table's evaluation: all results, and example rows ---------------------------------------------


@dataclass(frozen=True)
class Examples:
    """Some synthetic and some training rows as text, (rows, columns) each, and the names of the columns."""

    names: tuple[str, ...]
    synthetic: tuple[tuple[str, ...], ...]
    real: tuple[tuple[str, ...], ...]


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
        examples: ten synthetic and ten training rows.
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
    json_names = ("columns", "associations", "classifier", "utility", "likelihood", "records", "copies")

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
        (ours, n), (theirs, m) = self.copies.synthetic, self.copies.held_out
        lines.append(("exact copies", f"{ours:,} of {n:,}", f"{theirs:,} of {m:,}"))
        near = results.aligned(("distance to the closest training row", "synthetic", "held-out"), lines)
        return [sections_text(entries), columns, *(text for text in texts if text), f"Privacy\n{near}"]
