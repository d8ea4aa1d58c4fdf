"""The record of an evaluation: what `evaluate` finds of points and of tables, in one form.

Each entry compares a value of the synthetic rows with its reference value, which is that of two real draws. Text, JSON
and the HTML page are renderings of the record. What the headline is, is decided here alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Generic, Literal, Protocol, TypeVar

from motes.evaluation._entries import SECTIONS, Entry, differing_part, verdicts_of
from motes.evaluation._text import capital, listed
from motes.evaluation._verdicts import Severity, Verdict, worst


class Details(Protocol):
    """What charts and tables of a report need, as arrays: `PointDetails`, `TableDetails` or `PosteriorDetails`."""

    @property
    def kind(self) -> Literal["points", "table", "posteriors"]:
        """Of the model."""

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON; no row of the data."""

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """The numbers as blocks of text; `entries` are those of the record."""


DetailsT = TypeVar("DetailsT", bound=Details, covariant=True)


def today() -> str:
    """The date, as 2026-05-17."""
    return datetime.date.today().isoformat()


@dataclass(frozen=True, repr=False)
class Evaluation(Generic[DetailsT]):
    """Do synthetic rows resemble real ones? The record of it; `print` shows it, `to_dict` is its JSON.

    Attributes:
        source: the name of the real rows; "" where they have none.
        evaluated_against: how the real rows were had, in words.
        rows: how many there are of each set, "synthetic" first.
        entries: the comparisons, section by section.
        details: what the charts need.
        notes: what was left out or taken otherwise, a sentence each.
        seed: of samples and choices.
        brief: the entries are the quick measures alone; the headline then says which these are.
        about: what else a report says, by name: the model and its recipe. A mapping as value becomes a list of its own.
        date: of the evaluation.
        version: of motes.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> found.severity
        'good'
    """

    source: str
    evaluated_against: str
    rows: Mapping[str, int]
    entries: tuple[Entry, ...]
    details: DetailsT
    notes: tuple[str, ...]
    seed: int
    brief: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    date: str = field(default_factory=today)
    version: str = field(default_factory=lambda: version("motes"))

    @property
    def title(self) -> str:
        """Of the report."""
        return f"Synthetic rows compared with {self.source or 'real rows'}"

    @property
    def compared(self) -> str:
        """What is compared with what, in a sentence."""
        of = f" of {self.source}" if self.source else ""
        (_, count), *real = self.rows.items()
        which = self.evaluated_against
        if len(real) > 1:
            which = listed([f"{rows:,} {name.replace('_', '-')} rows" for name, rows in real if rows])
        total = sum(rows for _, rows in real)
        return f"{count:,} synthetic rows are compared with {total:,} real rows: {which}{of}."

    def of(self, section: str) -> list[Entry]:
        """The entries of one section.

        Example:
            >>> from motes.evaluation import evaluate_points
            >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
            >>> len(found.of(found.entries[0].section)) > 0
            True
        """
        return [entry for entry in self.entries if entry.section == section]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """On each section, in the order of `SECTIONS`."""
        return verdicts_of(self.entries)

    @property
    def severity(self) -> Severity:
        """The largest difference of all sections."""
        return worst(one.severity for one in self.verdicts.values())

    @property
    def p_value(self) -> float:
        """The smallest p-value of all sections. Of a table, chance alone makes one as small with this probability."""
        return min((one.p_value for one in self.verdicts.values() if one.p_value is not None), default=1.0)

    @property
    def headline(self) -> str:
        """Which parts differ, in a sentence or two."""
        found = {key: one for key, one in self.verdicts.items() if one.differs}
        similar = [key for key in found if SECTIONS[key].similarity]
        if similar:
            how = {"small": " a little", "large": " strongly"}.get(worst(found[key].severity for key in similar), "")
            parts = listed([differing_part(key, self.of(key)) for key in similar])
            said = f"The synthetic rows differ{how} from the real ones in {parts}."
        else:
            by = f" by {listed([entry.name for entry in self.entries])}" if self.brief else ""
            said = f"No difference between synthetic and real rows was found{by}."
        apart = [entry for key in found if not SECTIONS[key].similarity for entry in self.of(key)]
        return " ".join([said, *(f"{capital(entry.verdict.text)}." for entry in apart if entry.verdict.differs)])

    def __repr__(self) -> str:
        return f"Evaluation({self.title!r}: {self.headline})"

    def __str__(self) -> str:
        blocks = [self.compared, self.headline, *self.details.blocks(self.entries)]
        if self.notes:
            blocks.append("\n".join(f"Note: {note}" for note in self.notes))
        return "\n\n".join(blocks)

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers, texts and lists; no row of the data.

        Example:
            >>> from motes.evaluation import evaluate_points
            >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
            >>> found.to_dict()["rows"]
            {'synthetic': 100, 'real': 100}
        """
        sections = {
            key: {"title": SECTIONS[key].title, "severity": one.severity, "p_value": one.p_value,
                  "sentence": one.sentence}
            for key, one in self.verdicts.items()
        }  # fmt: skip
        return {
            "title": self.title,
            "kind": self.details.kind,
            "source": self.source,
            "evaluated_against": self.evaluated_against,
            "date": self.date,
            "version": self.version,
            "seed": self.seed,
            "rows": dict(self.rows),
            "headline": self.headline,
            "severity": self.severity,
            "p_value": self.p_value,
            "sections": sections,
            "entries": [entry.to_dict() for entry in self.entries],
            "details": self.details.to_dict(),
            "notes": list(self.notes),
        }
