"""What `judge_table` says: numbers beside their floors, each with a judgement in words.

A test is believed when p < 0.01, after Holm's correction over the columns. What is believed but small is called slight.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from motes.evaluation.privacy import Closeness
from motes.evaluation.results import Array, Metric, Row
from motes.evaluation.usefulness import Usefulness
from motes.evaluation.verdicts import GOOD

Level = Literal["good", "slight", "bad"]


@dataclass(frozen=True)
class Judgement:
    """How bad it is, and what it is in a few words."""

    level: Level
    words: str


LIKE_REAL = Judgement("good", GOOD)


@dataclass(frozen=True)
class Bars:
    """Shares of the known cells of real and of made rows, (k,) each: by label, or between `edges` (k + 1,).

    Of numbers, the outermost hundredth of the real ones is left out on either side, so that shares may sum to less.
    """

    real: Array
    made: Array
    labels: tuple[str, ...] = ()
    edges: Array | None = None


@dataclass(frozen=True)
class ColumnResult:
    """One column by itself.

    Attributes:
        name, kind: of the column; `discrete` where its cells are labels.
        distance: Kolmogorov-Smirnov, or total variation of labels, beside that of training rows; None without cells.
        p_value: of equal laws, after Holm's correction over the columns.
        w1: how far its numbers have to be carried, in standard deviations; None of labels.
        centre: (mean, standard deviation) of made and of real numbers, (median, quartile range / 1.349) of heavy tails.
        missing: missing cells, (made, real); `missing_p` as `p_value`.
        judgement, missing_judgement: in words.
        bars: a picture of it; None without cells.
    """

    name: str
    kind: str
    discrete: bool
    distance: Row | None
    p_value: float | None
    w1: float | None
    centre: tuple[tuple[float, float], tuple[float, float]] | None
    missing: tuple[float, float]
    missing_p: float
    judgement: Judgement
    missing_judgement: Judgement
    bars: Bars | None


@dataclass(frozen=True)
class AssociationResult:
    """All pairs of columns: associations (d, d) of made and of real rows; `difference` is the mean over the pairs.

    The floor of that has no interval of its own. `largest` names pairs as (column, column, real, made, p), the most
    different first.
    """

    names: tuple[str, ...]
    made: Array
    real: Array
    difference: Row
    largest: tuple[tuple[str, str, float, float, float], ...]
    judgement: Judgement


@dataclass(frozen=True)
class TellingResult:
    """A classifier's accuracy beside its floor; what each column adds to it, the most telling first."""

    accuracy: Row
    columns: tuple[tuple[str, float], ...]
    judgement: Judgement


@dataclass(frozen=True)
class LikelihoodResult:
    """Mean log-likelihood in nats per row of held-out and of training rows; `gap` is training minus held out.

    `impossible` counts rows that the model gives no density at all, (held out, training); the means leave them out.
    """

    held_out: Metric
    training: Metric
    gap: Metric
    impossible: tuple[int, int]
    judgement: Judgement


@dataclass(frozen=True)
class PrivacyResult:
    """Distances to the closest training row, and rows that equal one.

    Attributes:
        closeness: of made and held-out rows.
        copies: made rows that equal a training row in every cell, and how many there are.
        real_copies: the same of the held-out rows.
        copies_p: one-sided, of as many copies among made rows as among held-out ones.
    """

    closeness: Closeness
    copies: tuple[int, int]
    real_copies: tuple[int, int]
    copies_p: float
    judgement: Judgement


@dataclass(frozen=True)
class TableEvaluation:
    """Does it resemble the data? `judge_table` makes it.

    Attributes:
        rows: how many were made, held out and trained on.
        columns: each by itself.
        associations: pair by pair; None of a single column.
        telling: by a classifier.
        usefulness: for one target, with its judgement; None where none was chosen.
        likelihood: None where it was not given.
        privacy: distances to the training rows, and copies.
        notes: what was left out or taken otherwise, a sentence each.
        seed: of the choices.
    """

    rows: dict[str, int]
    columns: tuple[ColumnResult, ...]
    associations: AssociationResult | None
    telling: TellingResult
    usefulness: tuple[Usefulness, Judgement] | None
    likelihood: LikelihoodResult | None
    privacy: PrivacyResult
    notes: tuple[str, ...]
    seed: int

    @property
    def judgements(self) -> dict[str, Judgement]:
        """By section; the columns are as bad as the worst of them."""
        made = {
            "columns": _together([(c.name, c.judgement) for c in self.columns]),
            "classifier": self.telling.judgement,
            "privacy": self.privacy.judgement,
        }
        # Whole rows are no fault of a model that makes no gaps; a note says so, and there is nothing to judge.
        if gaps := [(c.name, c.missing_judgement) for c in self.columns if c.missing[0]]:
            made["missing"] = _together(gaps)
        if self.associations is not None:
            made["associations"] = self.associations.judgement
        if self.usefulness is not None:
            made["usefulness"] = self.usefulness[1]
        if self.likelihood is not None:
            made["likelihood"] = self.likelihood.judgement
        return {key: made[key] for key in SECTIONS if key in made}

    @property
    def level(self) -> Level:
        """The worst of all."""
        return max((one.level for one in self.judgements.values()), key=LEVELS.index)

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        how = {"bad": "not like", "slight": "nearly like", "good": "like"}
        worst = max((one.level for key, one in self.judgements.items() if key != "privacy"), key=LEVELS.index)
        away = "" if self.privacy.judgement.level == "good" else ", and some give training rows away"
        held = self.rows["held out"]
        so_far = f" as far as {held:,} held-out rows can tell" if held < TELLING_ROWS and worst != "bad" else ""
        return f"The made rows are {how[worst]} real ones{so_far}{away}."

    @property
    def details(self) -> str:
        """What is different, what is not, and whether training rows are given away."""
        bad, slight, good = self._of_level("bad"), self._of_level("slight"), self._of_level("good")
        parts = [f"Off: {', '.join(bad)}."] if bad else []
        parts += [f"A little off: {', '.join(slight)}."] if slight else []
        parts += [f"Like a real draw: {', '.join(good)}."] if good else []
        private = self.privacy.judgement
        return " ".join([*parts, f"Privacy: {private.words}."])

    @property
    def verdict(self) -> str:
        """Both."""
        return f"{self.headline} {self.details}"

    def _of_level(self, level: Level) -> list[str]:
        return [
            OF_COLUMNS[key] + one.words if key in OF_COLUMNS and level != "good" else SECTIONS[key]
            for key, one in self.judgements.items()
            if key != "privacy" and one.level == level
        ]

    def __str__(self) -> str:
        from motes.evaluation.table_text import as_text

        return as_text(self)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        from motes.evaluation.table_text import as_dict

        return as_dict(self)


LEVELS: tuple[Level, ...] = ("good", "slight", "bad")
SECTIONS = {
    "columns": "columns",
    "missing": "missing cells",
    "associations": "associations",
    "classifier": "classifier",
    "usefulness": "usefulness",
    "likelihood": "likelihood",
    "privacy": "privacy",
}
OF_COLUMNS = {"columns": "", "missing": "missing cells of "}
NAMED = 5  # columns
TELLING_ROWS = 200  # held-out rows, of which fewer show large differences alone


def _together(judged: Sequence[tuple[str, Judgement]]) -> Judgement:
    """Of all columns: as bad as the worst."""
    bad = [name for name, one in judged if one.level != "good"]
    if not bad:
        return LIKE_REAL
    shown = ", ".join(bad[:NAMED]) + (", ..." if len(bad) > NAMED else "")
    worst = max((one.level for _, one in judged), key=LEVELS.index)
    return Judgement(worst, f"{len(bad)} of {len(judged)} columns ({shown})")


def number(value: float | None) -> str:
    """To four digits or to the unit; a dash for none."""
    if value is None or np.isnan(value):
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
