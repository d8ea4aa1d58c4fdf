"""The details of a table's evaluation: all its results, and some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from motes.evaluation._entries import Entry, sections_text
from motes.evaluation._results import optional
from motes.evaluation._table_results import (
    COLUMN_HEAD,
    AssociationResult,
    ClassifierResult,
    ColumnResult,
    LikelihoodResult,
    PrivacyResult,
    UtilityResult,
)
from motes.evaluation._text import aligned


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
