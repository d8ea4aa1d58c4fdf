"""Results of a table's evaluation, in detail.

Each result can be written down: `to_dict` gives plain lists, numbers and texts for JSON, None for what is not a number;
`text` is a block for a terminal, empty where there is nothing to show. Verdicts are in the entries of the record.

All tests of a table are one family: if there is no difference anywhere, they raise one false alarm or more with
probability 0.05. Each p-value of a verdict is adjusted for that. A difference that is found is graded by its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from motes.evaluation.marginals import Contrast, Histogram
from motes.evaluation.privacy import ClosestRecords, Copies, Utility
from motes.evaluation.records import Entry, sections_text
from motes.evaluation.results import (
    Array,
    Metric,
    Verdict,
    aligned,
    difference,
    number,
    optional,
    p_value,
    with_interval,
)

COLUMN_HEAD = ("column", "kind", "distance", "reference value", "synthetic - real (interval)", "p", "missing",
               "verdict")  # fmt: skip
PAIR_HEAD = ("pair", "synthetic", "real", "difference beyond chance", "p")
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
    """All pairs of columns.

    Attributes:
        names: of the columns.
        synthetic, real: associations (d, d).
        difference: mean of the absolute differences over the pairs; `reference_value` is the same for two draws of one
            distribution.
        largest: the most significant pairs.
        verdict: on all of them.
    """

    names: tuple[str, ...]
    synthetic: Array
    real: Array
    difference: Metric
    reference_value: float
    largest: tuple[PairResult, ...]
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "names": list(self.names),
            "synthetic": _matrix(self.synthetic),
            "real": _matrix(self.real),
            "mean_difference": self.difference.to_dict(),
            "reference_value": self.reference_value,
            "largest": [pair.to_dict() for pair in self.largest],
        }

    @property
    def text(self) -> str:
        """The mean difference, and the most significant pairs."""
        return (
            f"Associations: mean difference {number(self.difference)} "
            f"(reference value {number(self.reference_value)})\n"
            f"{aligned(PAIR_HEAD, [pair.line for pair in self.largest])}"
        )


@dataclass(frozen=True)
class ClassifierResult:
    """Two-sample test by a classifier (C2ST).

    Attributes:
        accuracy: on rows that it has not seen; None with too few held-out rows.
        reference: the same for training rows in place of synthetic ones.
        importance: permutation importance of each column, the most discriminative first.
    """

    accuracy: Metric | None
    reference: Metric | None
    importance: tuple[tuple[str, float], ...]
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "accuracy": optional(self.accuracy),
            "reference_value": optional(self.reference),
            "permutation_importance": dict(self.importance),
        }

    @property
    def text(self) -> str:
        """The accuracy, and the most discriminative columns."""
        if self.accuracy is None:
            return ""
        names = [f"{name} {importance:+.3f}" for name, importance in self.importance[:NAMED] if importance > 0]
        return (
            f"Classifier: accuracy {with_interval(self.accuracy)}; "
            f"training against held-out rows {with_interval(self.reference)}"
            + (f"\n  permutation importance: {', '.join(names)}" if names else "")
        )


@dataclass(frozen=True)
class UtilityResult:
    """Training on synthetic rows, testing on real ones; `utility` is None where there are too few rows."""

    target: str
    utility: Utility | None
    verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"target": self.target} if self.utility is None else self.utility.to_dict()

    @property
    def text(self) -> str:
        """The scores after training on either set of rows."""
        if (use := self.utility) is None:
            return ""
        return (
            f"Utility for '{use.target}': {use.score} {number(use.synthetic)} after training on synthetic rows, "
            f"{number(use.real)} on real ones; difference {with_interval(use.difference)}"
            + ("" if use.relative is None else f"; relative utility {number(use.relative)}")
        )


@dataclass(frozen=True)
class LikelihoodResult:
    """Mean log-likelihood in nats per row of held-out and of training rows; `difference` is training minus held-out.

    `impossible` counts rows of density 0, (held out, training); the means leave them out, and are None where fewer
    than two rows are left.
    """

    held_out: Metric | None
    training: Metric | None
    difference: Metric | None
    impossible: tuple[int, int]
    verdict: Verdict

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


@dataclass(frozen=True)
class PrivacyResult:
    """Distances to the closest training row, None with too few held-out rows, and rows that equal a training row."""

    records: ClosestRecords | None
    records_verdict: Verdict
    copies: Copies
    copies_verdict: Verdict

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        distances = None
        if self.records is not None:
            distances = {
                name: {"synthetic": ours, "held_out": theirs}
                for name, (ours, theirs) in self.records.quantiles().items()
            }
        return {
            "dcr_share": None if self.records is None else self.records.share.to_dict(),
            "distances": distances,
            "copies": self.copies.to_dict(),
        }

    @property
    def text(self) -> str:
        """Quantiles of the distances, the DCR share and the copies."""
        lines = []
        if self.records is not None:
            found, share = self.records.quantiles(), self.records.share
            lines = [(name, number(ours), number(theirs)) for name, (ours, theirs) in found.items()]
            lines.append(("DCR share (interval)", f"{share:.1%} ({share.low:.1%} to {share.high:.1%})", "5.0%"))
        (ours, n), (theirs, m) = self.copies.synthetic, self.copies.held_out
        lines.append(("exact copies", f"{ours:,} of {n:,}", f"{theirs:,} of {m:,}"))
        return "Privacy\n" + aligned(("distance to the closest training row", "synthetic", "held-out"), lines)


def _matrix(values: Array) -> list[list[float | None]]:
    return [[_plain(value) for value in row] for row in values.tolist()]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value


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
    """What charts and further tables of a synthetic table need.

    Attributes:
        columns: each by itself.
        associations: pair by pair; None of a single column.
        classifier: all columns together.
        utility: for one target; None where none was chosen.
        likelihood: None where it was not given.
        privacy: distances to the training rows, and copies.
        examples: ten rows of each, and of the held-out ones that the model finds least likely.
    """

    columns: tuple[ColumnResult, ...]
    associations: AssociationResult | None
    classifier: ClassifierResult
    utility: UtilityResult | None
    likelihood: LikelihoodResult | None
    privacy: PrivacyResult
    examples: Examples

    @property
    def kind(self) -> Literal["table"]:
        """Of the model."""
        return "table"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers, texts and lists; no row of the tables."""
        return {
            "columns": [column.to_dict() for column in self.columns],
            "associations": optional(self.associations),
            "classifier": self.classifier.to_dict(),
            "utility": optional(self.utility),
            "likelihood": optional(self.likelihood),
            "privacy": self.privacy.to_dict(),
        }

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """The numbers as blocks of text: a line for each section and each column, then what there is of the rest."""
        columns = aligned(COLUMN_HEAD, [column.line for column in self.columns])
        results = (self.associations, self.classifier, self.utility, self.likelihood, self.privacy)
        texts = [one.text for one in results if one is not None]
        return [sections_text(entries), columns, *(text for text in texts if text)]
