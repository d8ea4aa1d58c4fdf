"""The record of an evaluation: what `evaluate` finds of points and of tables, in one form.

Each entry compares a value of the synthetic rows with its reference value, which is that of two real draws. Text, JSON
and the HTML page are renderings of the record. Which severity wins, and what the headline is, is decided here alone.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Generic, Literal, Protocol, TypeVar

from motes.evaluation._results import Metric

Severity = Literal["good", "unknown", "small", "moderate", "large"]
SEVERITIES: tuple[Severity, ...] = ("good", "unknown", "small", "moderate", "large")
DIFFERENCES: tuple[Severity, ...] = ("small", "moderate", "large")

NO_DIFFERENCE = "no difference found"
NAMED = 3  # entries in one sentence

GRADES = {  # a difference below the first is small, from the second on large
    "share": (0.02, 0.1),
    "association": (0.05, 0.2),
    "accuracy": (0.05, 0.2),  # beyond one half
    "utility": (0.05, 0.2),  # that is lost
    "likelihood": (0.05, 0.25),  # nats per row and learned column
    "dcr": (0.02, 0.1),  # beyond 5 %
    "copies": (0.01, 0.05),  # beyond the copies that are to be expected
    "distance": (0.05, 0.2),  # standard deviations of the data, beyond the reference value
    "mmd": (0.005, 0.05),  # beyond the reference value
    "density": (0.1, 0.5),  # as a share of the reference value
}


def graded(size: float, of: str) -> Severity:
    """The severity of a difference that was found, by its size."""
    small, large = GRADES[of]
    return DIFFERENCES[int(size >= small) + int(size >= large)]


@dataclass(frozen=True)
class Section:
    """One question that an evaluation asks.

    Attributes:
        title: of the section.
        part: the part of the rows that differs, as the headline names it, with {count} and {names} of the entries.
        similarity: False where a difference concerns memory and privacy; the headline then has a sentence of its own.
    """

    title: str
    part: str = ""
    similarity: bool = True


SECTIONS = {  # in the order of every rendering
    "columns": Section("Columns", "{count} columns ({names})"),
    "missing": Section("Missing entries", "the missing entries of {count} columns ({names})"),
    "associations": Section("Associations", "the associations of columns"),
    "classifier": Section("Classifier", "whole rows (by a classifier)"),
    "utility": Section("Utility", "what they teach about '{names}'"),
    "likelihood": Section("Likelihood", similarity=False),
    "dcr": Section("Distance to closest record", similarity=False),
    "copies": Section("Copies", similarity=False),
    "distances": Section("Distances", "{count} distances ({names})"),
    "tests": Section("Two-sample tests", "{count} two-sample tests ({names})"),
    "coverage": Section("Coverage", "{count} measures of coverage ({names})"),
    "modes": Section("Modes", "the modes ({names})"),
    "fit": Section("Likelihood and loss", similarity=False),
}


@dataclass(frozen=True)
class Verdict:
    """What one comparison says.

    Attributes:
        severity: the size of the difference; "good" if none was found, "unknown" if there are too few rows.
        text: the difference in words.
        p_value: of a table adjusted for all its tests; None where nothing was tested.
        detectable: the difference that the test finds in 80 of 100 cases.
        seen: `detectable` in words.
    """

    severity: Severity
    text: str
    p_value: float | None = None
    detectable: float | None = None
    seen: str = ""

    @property
    def differs(self) -> bool:
        """A difference was found."""
        return self.severity in DIFFERENCES

    @property
    def sentence(self) -> str:
        """The text with what would have been seen."""
        return f"{capital(self.text)}{f'; {self.seen} would have been seen' if self.seen else ''}."


@dataclass(frozen=True)
class Entry:
    """One comparison of synthetic with real rows.

    Attributes:
        section: a key of `SECTIONS`.
        name: of the metric, or of the column.
        measure: what `value` is, in words.
        verdict: on the difference between `value` and `reference_value`.
        value: None where there are too few rows.
        interval: 95 %, of the value.
        reference_value: what two real draws have; None where it is unknown.
        reference_interval: 95 %, of the reference value.
    """

    section: str
    name: str
    measure: str
    verdict: Verdict
    value: float | None = None
    interval: tuple[float, float] | None = None
    reference_value: float | None = None
    reference_interval: tuple[float, float] | None = None

    @property
    def sentence(self) -> str:
        """A sentence that can stand by itself."""
        return f"{self.name}: {self.verdict.sentence}"

    @classmethod
    def of(
        cls, section: str, name: str, measure: str, verdict: Verdict, value: Metric | None, reference: float | None
    ) -> Entry:
        """An entry of a metric, with its interval; and that of the reference value, where this is a metric too."""
        beside = (reference.low, reference.high) if isinstance(reference, Metric) else None
        return cls(
            section,
            name,
            measure,
            verdict,
            None if value is None else float(value),
            None if value is None else (value.low, value.high),
            None if reference is None else float(reference),
            beside,
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "section": self.section,
            "name": self.name,
            "measure": self.measure,
            "value": self.value,
            "interval": self.interval and list(self.interval),
            "reference_value": self.reference_value,
            "reference_interval": self.reference_interval and list(self.reference_interval),
            "p_value": self.verdict.p_value,
            "detectable": self.verdict.detectable,
            "severity": self.verdict.severity,
            "verdict": self.verdict.text,
            "sentence": self.sentence,
        }


class Details(Protocol):
    """What charts and further tables of a report need, as arrays: `PointDetails` or `TableDetails`."""

    @property
    def kind(self) -> Literal["points", "table"]:
        """Of the model."""

    def to_dict(self) -> dict[str, Any]:
        """Numbers for JSON; no row of the data."""


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
        found = {key: self.of(key) for key in SECTIONS}
        return {key: _together(entries) for key, entries in found.items() if entries}

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
            parts = listed([_part(key, self.of(key)) for key in similar])
            said = f"The synthetic rows differ{how} from the real ones in {parts}."
        else:
            said = "No difference between synthetic and real rows was found."
        apart = [entry for key in found if not SECTIONS[key].similarity for entry in self.of(key)]
        return " ".join([said, *(f"{capital(entry.verdict.text)}." for entry in apart if entry.verdict.differs)])

    def __repr__(self) -> str:
        return f"Evaluation({self.title!r}: {self.headline})"

    def __str__(self) -> str:
        from motes.evaluation._text import as_text

        return as_text(self)

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


def worst(severities: Any) -> Severity:
    """The largest of some severities; "good" if there is none."""
    return max(severities, key=SEVERITIES.index, default="good")


def _together(entries: Sequence[Entry]) -> Verdict:
    """On all entries of a section: as large as the largest difference."""
    if len(entries) == 1:
        return entries[0].verdict
    found = sorted((one for one in entries if one.verdict.differs), key=_rank)
    p_value = min((one.verdict.p_value for one in entries if one.verdict.p_value is not None), default=None)
    detectable, seen = max((one.verdict.detectable or 0.0, one.verdict.seen) for one in entries)
    if not found:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable or None, seen)
    shown = "; ".join(f"{one.name}: {one.verdict.text}" for one in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    text = f"{len(found)} of {len(entries)} differ ({shown}{more})"
    return Verdict(worst(one.verdict.severity for one in found), text, p_value, detectable or None, seen)


def _rank(entry: Entry) -> tuple[int, float]:
    """The most severe first."""
    return -SEVERITIES.index(entry.verdict.severity), entry.verdict.p_value or 0.0


def _part(key: str, entries: Sequence[Entry]) -> str:
    """The part of the rows that differs, with the names of the entries that say so."""
    names = [entry.name for entry in entries if entry.verdict.differs]
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    return SECTIONS[key].part.format(count=f"{len(names)} of {len(entries)}", names=shown)


def listed(parts: Sequence[str]) -> str:
    """One thing, another and a third.

    Example:
        >>> listed(["shares", "pairs", "rows"])
        'shares, pairs and rows'
    """
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else ""


def capital(text: str) -> str:
    """With a capital letter in front."""
    return text[:1].upper() + text[1:]
