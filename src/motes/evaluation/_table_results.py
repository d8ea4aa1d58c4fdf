"""What `evaluate_tables` finds: numbers, the same for two draws of one distribution, and a verdict on each difference.

All tests of a table are one family: if there is no difference anywhere, they raise one false alarm or more with
probability 0.05. Each p-value of a verdict is adjusted for that. A difference that is found is graded by its size.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from motes.evaluation._bars import Bars
from motes.evaluation._privacy import ClosestRecords, Copies
from motes.evaluation._record import Verdict
from motes.evaluation._results import Array, Metric
from motes.evaluation._shares import Contrast
from motes.evaluation._utility import Utility


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
    bars: Bars | None


@dataclass(frozen=True)
class PairResult:
    """Two columns.

    Attributes:
        columns: their names.
        synthetic, real: their association.
        low, high: 95 % interval of synthetic minus real.
        distance: how differently the columns go together, in units of an association and less what chance gives; it
            may be above 0 for equal associations, where other values go together.
        p_value: adjusted for all tests of the table.
    """

    columns: tuple[str, str]
    synthetic: float
    real: float
    low: float
    high: float
    distance: float
    p_value: float


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


@dataclass(frozen=True)
class UtilityResult:
    """Training on synthetic rows, testing on real ones; `utility` is None where there are too few rows."""

    target: str
    utility: Utility | None
    verdict: Verdict


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


@dataclass(frozen=True)
class PrivacyResult:
    """Distances to the closest training row, None with too few held-out rows, and rows that equal a training row."""

    records: ClosestRecords | None
    records_verdict: Verdict
    copies: Copies
    copies_verdict: Verdict


@dataclass(frozen=True)
class Examples:
    """Some rows as text: (rows, columns) of each."""

    names: tuple[str, ...]
    synthetic: tuple[tuple[str, ...], ...]
    real: tuple[tuple[str, ...], ...]


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
        examples: ten rows of each.
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
        from motes.evaluation._table_json import as_dict

        return as_dict(self)


def number(value: float | None) -> str:
    """To four digits or to the unit; a dash for none.

    Example:
        >>> number(3.14159), number(12345.6), number(None)
        ('3.142', '12,346', '-')
    """
    if value is None or np.isnan(value):
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def shown(kind: str, value: float) -> str:
    """A number of a column as text: of a date the day, and the time where it has one."""
    if kind != "date":
        return number(value)
    moment = np.datetime64(round(value), "us")
    return str(moment.astype("M8[D]" if value % 86_400e6 == 0 else "M8[s]"))
