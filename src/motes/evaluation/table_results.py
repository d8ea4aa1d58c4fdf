"""Results of a table's evaluation, in detail.

Each result can be written down: `to_dict` gives plain lists, numbers and texts for JSON, None for what is not a number;
`text` is a block for a terminal, empty where there is nothing to show. `p_value` is that of its tests; `judged` gives
the result with the intervals that belong to all tests of the table, and its verdict, which an entry of the record has.

All tests of a table are one family: if there is no difference anywhere, they raise one false alarm or more with
probability 0.05. Each p-value of a verdict is adjusted for that. A difference that is found is graded by its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from motes.errors import UsageError
from motes.evaluation.associations import Associations, Interactions
from motes.evaluation.marginals import Contrast, Histogram
from motes.evaluation.privacy import ClosestRecords, Copies, Utility
from motes.evaluation.records import Entry, sections_text
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
NAMED = 5  # columns that the text of a classifier names, at most


@dataclass(frozen=True)
class ColumnResult:
    """One column by itself.

    Attributes:
        name, kind: of the column; `discrete` where its entries are labels.
        distance: Kolmogorov-Smirnov, or total variation of labels; None without entries.
        reference_value: the mean distance between two draws of one distribution, as large as these.
        w1: how far its numbers have to be carried, in standard deviations; None of labels.
        moments: (mean, standard deviation) of synthetic and of real numbers.
        quantiles: minimum, quartiles and maximum of synthetic and of real numbers.
        contrast: the share that differs most clearly; None where the column does not vary.
        missing: shares of missing entries, (synthetic, real); `missing_contrast` is their difference, if it is tested.
        verdict, missing_verdict: the second is None where missing entries are not tested.
        bars: a picture of it; None without entries.
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
        """For JSON."""
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
        """Whether the model was told to ignore missing entries of the column."""
        return self.missing_verdict is not None and self.missing_verdict.severity == "unknown"

    @property
    def line(self) -> tuple[str, ...]:
        """Its line below `COLUMN_HEAD`."""
        ours, theirs = self.missing
        ours_said = "not modelled" if self.is_missing_ignored else f"{ours:.1%}"
        missing = "-" if ours == theirs == 0 else f"{ours_said}, real {theirs:.1%}"
        texts = [one.text for one in (self.verdict, self.missing_verdict) if one is not None and one.differs]
        one = self.contrast
        gap = "-" if one is None else difference(one.difference, one.low, one.high)
        return (
            self.name, self.kind, number(self.distance), number(self.reference_value), gap,
            p_value(self.verdict.p_value), missing, "; ".join(texts) or self.verdict.text,
        )  # fmt: skip


@dataclass(frozen=True)
class PairResult:
    """Two columns.

    Attributes:
        columns: their names.
        synthetic, real: their association.
        distance: how differently the columns go together, in units of an association and less what chance gives; it
            may be above 0 for equal associations, where other values go together.
        p_value: adjusted for all tests of the table.
    """

    columns: tuple[str, str]
    synthetic: float
    real: float
    distance: float
    p_value: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"columns": list(self.columns), "synthetic": _plain(self.synthetic), "real": _plain(self.real),
                "distance": self.distance, "p_value": self.p_value}  # fmt: skip

    @property
    def line(self) -> tuple[str, ...]:
        """Its line below `PAIR_HEAD`."""
        gap = f"{self.distance:.3f}"
        return " ~ ".join(self.columns), number(self.synthetic), number(self.real), gap, p_value(self.p_value)


@dataclass(frozen=True)
class AssociationResult:
    """All pairs of columns; for a column with missing entries one more column says where these are.

    Attributes:
        names: of the columns.
        found: associations (d, d) of synthetic and of real rows, and their mean difference.
        tests: of each pair.
        largest: the most significant pairs, once all tests of the table are known.
    """

    names: tuple[str, ...]
    found: Associations
    tests: Interactions
    largest: tuple[PairResult, ...] = ()

    @property
    def p_value(self) -> float:
        """That no pair differs."""
        return self.tests.p_value

    @property
    def values(self) -> tuple[Metric, float]:
        """The mean of the absolute differences, and the same for two draws of one distribution."""
        return self.found.mean, self.found.mean_by_chance

    def judged(self, adjust: Adjustment) -> tuple["AssociationResult", Verdict]:
        """With the most significant pairs, and the verdict."""
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
            how = "" if abs(worst.synthetic - worst.real) > worst.distance / 3 else "other values go together; "
            text = (
                f"{count} of {len(tests.p_values)} pairs differ, most clearly {worst.columns[0]} and "
                f"{worst.columns[1]}: {how}association {worst.synthetic:.2f} (real {worst.real:.2f})"
            )
        else:
            size = float(tests.distance.mean())
            text = f"all pairs together differ, by {size:.2g} on average"
        detectable = float(np.median(tests.detectable(ALPHA / adjust.factor, float(ndtri(POWER)))))
        seen = f"a difference of {detectable:.2g} in an association (median over pairs)" if detectable > 0 else ""
        said = judged(adjust(tests.p_value), size, "association", text, detectable=detectable, seen=seen)
        return replace(self, largest=tuple(largest)), said

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
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
        """The mean difference, and the most significant pairs."""
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
        accuracy: on rows that it has not seen.
        reference: the same for training rows in place of synthetic ones.
        importance: permutation importance of each column, the most discriminative first.
        rows: of each set.
    """

    accuracy: Metric
    reference: Metric
    importance: tuple[tuple[str, float], ...]
    rows: int

    @property
    def p_value(self) -> float:
        """That it guesses."""
        return p_of(self.accuracy)

    @property
    def values(self) -> tuple[Metric, Metric]:
        """Both accuracies."""
        return self.accuracy, self.reference

    def judged(self, adjust: Adjustment) -> tuple["ClassifierResult", Verdict]:
        """With the interval of one test among all those of a table, and the verdict."""
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
        """For JSON."""
        return {
            "accuracy": self.accuracy.to_dict(),
            "reference_value": self.reference.to_dict(),
            "permutation_importance": dict(self.importance),
        }

    @property
    def text(self) -> str:
        """The accuracy, and the most discriminative columns."""
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
        held_out, training: means with 95 % intervals; None where fewer than 2 rows have a density above 0.
        difference: training minus held-out, with its interval; None as above.
        impossible: rows of density 0, (held out, training); the means leave them out.
        rows: of finite log-likelihood, (held out, training).
        p_values: one-sided, of training rows that are no more likely (Welch's t-test), and of as many impossible
            training rows (Fisher's exact test; 1 where no held-out row is impossible).
        columns: that were learned.
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
        """Of both tests (Bonferroni), the second only where it says something; None where rows are too few."""
        first, second = self.p_values
        return None if self.difference is None else first if second == 1 else min(2 * min(first, second), 1.0)

    @property
    def values(self) -> tuple[Metric | None, float | None]:
        """The difference, and 0."""
        return self.difference, None if self.difference is None else 0.0

    def judged(self, adjust: Adjustment | None) -> tuple["Likelihoods", Verdict]:
        """With the interval of one test among all those of a table, and the verdict."""
        gap, p_value = self.difference, self.p_value
        if gap is None or p_value is None or adjust is None:
            return self, too_few(min(self.rows), 2, "rows with a density above 0")
        detectable, p_value = adjust.detectable * (gap.high - gap.low) / (2 * Z), adjust(p_value)
        seen = f"a difference of {detectable:.2g} nats per row"
        rare = f"{self.impossible[0]:,} held-out rows are impossible to the model"
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
        """For JSON."""
        return {
            "held_out": optional(self.held_out),
            "training": optional(self.training),
            "difference": optional(self.difference),
            "impossible": {"held_out": self.impossible[0], "training": self.impossible[1]},
        }

    @property
    def text(self) -> str:
        """The means and their difference."""
        if self.difference is None:
            return ""
        return (
            f"Log-likelihood, nats per row: held-out {with_interval(self.held_out)}, "
            f"training {with_interval(self.training)}; difference {with_interval(self.difference)}"
        )


def likelihoods(held_out: ArrayLike, training: ArrayLike, columns: int = 1) -> Likelihoods:
    """Compare log p of held-out rows (m,) and of training rows (k,); minus infinity for a row of density 0.

    Raises:
        UsageError: arrays of another shape, NaN, or plus infinity.

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


# --- The details of a table's evaluation: all its results, and some rows --------------------------------------------


@dataclass(frozen=True)
class Examples:
    """Some rows as text, (rows, columns) of each.

    Attributes:
        names: of the columns.
        synthetic, real: some synthetic and some training rows.
        unlikely: held-out rows that the model finds least likely, the least likely first.
        log_prob: log p in nats of these.
    """

    names: tuple[str, ...]
    synthetic: tuple[tuple[str, ...], ...]
    real: tuple[tuple[str, ...], ...]
    unlikely: tuple[tuple[str, ...], ...] = ()
    log_prob: tuple[float, ...] = ()


@dataclass(frozen=True)
class TableDetails:
    """What charts and further tables of a synthetic table need; None for what could not be determined.

    Attributes:
        columns: each by itself.
        associations: pair by pair; None of a single column.
        classifier: all columns together.
        utility: for one target, where one was chosen.
        likelihood: where it was given.
        records: distances to the training rows.
        copies: rows that equal a training row.
        examples: ten rows of each, and of the held-out ones that the model finds least likely.
    """

    columns: tuple[ColumnResult, ...]
    associations: AssociationResult | None
    classifier: ClassifierResult | None
    utility: Utility | None
    likelihood: Likelihoods | None
    records: ClosestRecords | None
    copies: Copies
    examples: Examples

    @property
    def kind(self) -> Literal["table"]:
        """Of the model."""
        return "table"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers, texts and lists; no row of the tables."""
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
        """The numbers as blocks of text: a line for each section and each column, then what there is of the rest."""
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
