"""What `evaluate_tables` finds: numbers, the same for two draws of one distribution, and a verdict on each difference.

All tests of a table are one family: if there is no difference anywhere, they raise one false alarm or more with
probability 0.05. Each p-value of a verdict is adjusted for that. A difference that is found is graded by its size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from motes.evaluation.privacy import ClosestRecords, Copies
from motes.evaluation.results import Array, Metric
from motes.evaluation.shares import Contrast
from motes.evaluation.utility import Utility

Level = Literal["none", "unknown", "small", "moderate", "large"]
LEVELS: tuple[Level, ...] = ("none", "unknown", "small", "moderate", "large")
DIFFERENCES: tuple[Level, ...] = ("small", "moderate", "large")

NO_DIFFERENCE = "no difference found"
SIMILARITY = ("columns", "missing", "associations", "classifier", "utility")  # the rest is about memory and privacy
TITLES = {
    "columns": "Columns",
    "missing": "Missing entries",
    "associations": "Associations",
    "classifier": "Classifier",
    "utility": "Utility",
    "likelihood": "Likelihood",
    "dcr": "Distance to closest record",
    "copies": "Copies",
}
NAMED = 3  # columns in one sentence


@dataclass(frozen=True)
class Verdict:
    """What one test says.

    Attributes:
        level: the size of the difference; "none" if none was found, "unknown" if there are too few rows.
        text: the difference in words.
        p_value: adjusted for all tests of the table; None where nothing was tested.
        detectable: the difference that the test finds in 80 of 100 cases.
        seen: `detectable` in words.
    """

    level: Level
    text: str
    p_value: float | None = None
    detectable: float | None = None
    seen: str = ""

    @property
    def differs(self) -> bool:
        """A difference was found."""
        return self.level in DIFFERENCES


@dataclass(frozen=True)
class Bars:
    """Shares of the known entries of real and of synthetic rows, (k,) each: by label, or between `edges` (k + 1,).

    The edges reach over the whole range of both. `places` (k + 1,) from 0 to 1 are where a picture puts them: evenly,
    or, of numbers with long tails, on an asinh scale.
    """

    real: Array
    synthetic: Array
    labels: tuple[str, ...] = ()
    edges: Array | None = None
    places: Array | None = None


@dataclass(frozen=True)
class ColumnResult:
    """One column by itself.

    Attributes:
        name, kind: of the column; `discrete` where its entries are labels.
        distance: Kolmogorov-Smirnov, or total variation of labels; None without entries.
        by_chance: the mean distance between two draws of one distribution, as large as these.
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
    by_chance: float | None
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
        difference: mean of the absolute differences over the pairs; `by_chance` is the same for two draws of one
            distribution.
        largest: the most significant pairs.
        verdict: on all of them.
    """

    names: tuple[str, ...]
    synthetic: Array
    real: Array
    difference: Metric
    by_chance: float
    largest: tuple[PairResult, ...]
    verdict: Verdict


@dataclass(frozen=True)
class ClassifierResult:
    """Two-sample test by a classifier (C2ST).

    Attributes:
        accuracy: on rows that it has not seen; None with too few held-out rows.
        reference: the same for training rows in place of synthetic ones.
        columns: permutation importance of each column, the most discriminative first.
    """

    accuracy: Metric | None
    reference: Metric | None
    columns: tuple[tuple[str, float], ...]
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
class TableEvaluation:
    """Does a synthetic table resemble a real one? `evaluate_tables` makes it.

    Attributes:
        rows: how many there are: "synthetic", "held_out", "training".
        columns: each by itself.
        associations: pair by pair; None of a single column.
        classifier: all columns together.
        utility: for one target; None where none was chosen.
        likelihood: None where it was not given.
        privacy: distances to the training rows, and copies.
        examples: ten rows of each.
        notes: what was left out or taken otherwise, a sentence each.
        seed: of the choices.
    """

    rows: dict[str, int]
    columns: tuple[ColumnResult, ...]
    associations: AssociationResult | None
    classifier: ClassifierResult
    utility: UtilityResult | None
    likelihood: LikelihoodResult | None
    privacy: PrivacyResult
    examples: Examples
    notes: tuple[str, ...]
    seed: int

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """By section, in the order of `TITLES`."""
        made = {
            "columns": _together([(c.name, c.verdict) for c in self.columns]),
            "classifier": self.classifier.verdict,
            "dcr": self.privacy.records_verdict,
            "copies": self.privacy.copies_verdict,
        }
        if gaps := [(c.name, c.missing_verdict) for c in self.columns if c.missing_verdict is not None]:
            made["missing"] = _together(gaps)
        if self.associations is not None:
            made["associations"] = self.associations.verdict
        if self.utility is not None:
            made["utility"] = self.utility.verdict
        if self.likelihood is not None:
            made["likelihood"] = self.likelihood.verdict
        return {key: made[key] for key in TITLES if key in made}

    @property
    def level(self) -> Level:
        """The largest difference of all sections."""
        return max((one.level for one in self.verdicts.values()), key=LEVELS.index)

    @property
    def p_value(self) -> float:
        """The probability that chance alone would make some test of this table as clear as its clearest one."""
        return min((one.p_value for one in self.verdicts.values() if one.p_value is not None), default=1.0)

    @property
    def headline(self) -> str:
        """Which parts differ, in a sentence or two."""
        found = {key: one for key, one in self.verdicts.items() if one.differs}
        parts = [_part(self, key) for key in SIMILARITY if key in found]
        worst = max((found[key].level for key in SIMILARITY if key in found), key=LEVELS.index, default="none")
        how = {"small": " a little", "large": " strongly"}.get(worst, "")
        said = f"The synthetic rows differ{how} from the real ones in {_listed(parts)}."
        memory = [f"{_capital(found[key].text)}." for key in found if key not in SIMILARITY]
        return " ".join([said if parts else "No difference between synthetic and real rows was found.", *memory])

    @property
    def details(self) -> str:
        """What each section says, with the difference that would have been seen."""
        return " ".join(
            f"{TITLES[key]}: {one.text}{f'; {one.seen} would have been seen' if one.seen else ''}."
            for key, one in self.verdicts.items()
        )

    @property
    def verdict(self) -> str:
        """The headline and the details."""
        return f"{self.headline} {self.details}"

    def __str__(self) -> str:
        from motes.evaluation.table_text import as_text

        return as_text(self)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers, texts and lists; no row of the tables."""
        from motes.evaluation.table_text import as_dict

        return as_dict(self)


def _part(found: TableEvaluation, key: str) -> str:
    if key in ("columns", "missing"):
        tested = [(c.name, c.verdict if key == "columns" else c.missing_verdict) for c in found.columns]
        names = [name for name, one in tested if one is not None and one.differs]
        count = f"{len(names)} of {len(tested)} columns ({_named(names)})"
        return count if key == "columns" else f"the missing entries of {count}"
    if key == "utility" and found.utility is not None:
        return f"what they teach about '{found.utility.target}'"
    return {"associations": "the associations of columns", "classifier": "whole rows (by a classifier)"}[key]


def _together(tested: Sequence[tuple[str, Verdict]]) -> Verdict:
    """Of all columns: as large as the largest difference."""
    found = [(name, one) for name, one in tested if one.differs]
    p_value = min((one.p_value for _, one in tested if one.p_value is not None), default=None)
    detectable, seen = max(((one.detectable or 0.0, one.seen) for _, one in tested), default=(0.0, ""))
    if not found:
        return Verdict("none", NO_DIFFERENCE, p_value, detectable or None, seen)
    found.sort(key=lambda pair: (-LEVELS.index(pair[1].level), pair[1].p_value or 0.0))
    shown = "; ".join(f"{name}: {one.text}" for name, one in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    text = f"{len(found)} of {len(tested)} columns differ ({shown}{more})"
    return Verdict(found[0][1].level, text, p_value, detectable or None, seen)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


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
