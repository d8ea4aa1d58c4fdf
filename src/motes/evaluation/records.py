"""The one record of an evaluation: entries, sections, text and JSON."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from motes.evaluation.results import (
    NO_DIFFERENCE,
    SEVERITIES,
    Severity,
    Verdict,
    aligned,
    between,
    capital,
    listed,
    number,
    p_value,
    worst,
)

NAMED = 3  # entries in one sentence


@dataclass(frozen=True)
class Section:
    """One question that an evaluation asks.

    Attributes:
        title: of the section.
        about: what is compared, in a few words.
        part: the part of the rows that differs, as the headline names it, with {count} and {names} of the entries.
        similarity: False where a difference concerns memory and privacy; the headline then has a sentence of its own.
    """

    title: str
    about: str
    part: str = ""
    similarity: bool = True


SECTIONS = {  # in the order of every rendering
    "columns": Section("Columns", "shares of each column, in all rows", "{count} columns ({names})"),
    "missing": Section(
        "Missing entries", "their share in each column", "the missing entries of {count} columns ({names})"
    ),
    "associations": Section("Associations", "how columns go together, pair by pair", "the associations of columns"),
    "classifier": Section(
        "Classifier", "can boosted trees tell synthetic rows from held-out ones?", "whole rows (by a classifier)"
    ),
    "utility": Section(
        "Utility",
        "how well the target is predicted after training on synthetic rows",
        "what they teach about '{names}'",
    ),
    "likelihood": Section("Likelihood", "log p of training rows less that of held-out rows", similarity=False),
    "dcr": Section(
        "Distance to closest record",
        "are synthetic rows nearer to training rows than held-out rows are?",
        similarity=False,
    ),
    "copies": Section("Copies", "synthetic rows that equal a training row", similarity=False),
    "calibration": Section(
        "Calibration", "are posteriors as wide as they should be?", "{count} tests of calibration ({names})"
    ),
    "distances": Section("Distances", "how far probability has to be carried", "{count} distances ({names})"),
    "tests": Section("Two-sample tests", "have both sets one distribution?", "{count} two-sample tests ({names})"),
    "coverage": Section("Coverage", "is either set where the other one is?", "{count} measures of coverage ({names})"),
    "modes": Section("Modes", "has each its share of the samples?", "the modes ({names})"),
    "fit": Section("Likelihood and loss", "how well the model fits real points", similarity=False),
}


@dataclass(frozen=True)
class Entry:
    """One comparison of synthetic with real rows.

    Attributes:
        section: a key of `SECTIONS`.
        name: of the metric, or of the column.
        measure: what `value` is, in words.
        verdict: on the difference between `value` and `reference_value`.
        value: None where there are too few rows.
        reference_value: what two real draws have; None where it is unknown.
        chance: the values for which the test of all entries together finds no difference, from and to, infinite where
            it is one-sided; None where the value is not what is tested. `value` is outside of it exactly where a
            difference is found.
    """

    section: str
    name: str
    measure: str
    verdict: Verdict
    value: float | None = None
    reference_value: float | None = None
    chance: tuple[float, float] | None = None

    @property
    def sentence(self) -> str:
        """A sentence that can stand by itself."""
        return f"{self.name}: {self.verdict.sentence}"

    @classmethod
    def of(
        cls,
        section: str,
        name: str,
        measure: str,
        verdict: Verdict,
        value: float | None,
        reference: float | None,
        chance: tuple[float, float] | None = None,
    ) -> Entry:
        """An entry of metrics; `chance` as the test has it, which may be off where it is not exact."""
        if chance is not None and value is not None:
            chance = _agreeing(chance, float(value), verdict.differs)
        value, reference = (None if one is None else float(one) for one in (value, reference))
        return cls(section, name, measure, verdict, value, reference, chance)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "section": self.section,
            "name": self.name,
            "measure": self.measure,
            "value": self.value,
            "reference_value": self.reference_value,
            "chance": self.chance and [end if np.isfinite(end) else None for end in self.chance],
            "p_value": self.verdict.p_value,
            "detectable": self.verdict.detectable,
            "severity": self.verdict.severity,
            "verdict": self.verdict.text,
            "sentence": self.sentence,
        }


def _agreeing(chance: tuple[float, float], value: float, differs: bool) -> tuple[float, float]:
    """The range of chance with the value on the side where the p-value has it: that is exact, and the ends may not be.

    Ends are quantiles of a few hundred exchanges, or of a normal distribution.
    """
    low, high = chance
    if not differs:
        return min(low, value), max(high, value)
    if not low <= value <= high:
        return chance
    return (
        (low, float(np.nextafter(value, low)))
        if high - value <= value - low
        else (float(np.nextafter(value, high)), high)
    )


def verdicts_of(entries: Sequence[Entry]) -> dict[str, Verdict]:
    """On each section that has entries, in the order of `SECTIONS`."""
    found = {key: [entry for entry in entries if entry.section == key] for key in SECTIONS}
    return {key: _together(mine) for key, mine in found.items() if mine}


def _together(entries: Sequence[Entry]) -> Verdict:
    """On all entries of a section: as large as the largest difference."""
    if len(entries) == 1:
        return entries[0].verdict
    found = sorted((one for one in entries if one.verdict.differs), key=_rank)
    p_value = min((one.verdict.p_value for one in entries if one.verdict.p_value is not None), default=None)
    detectable, seen = max((one.verdict.detectable or 0.0, one.verdict.seen) for one in entries)
    open_ = [one for one in entries if one.verdict.severity == "unknown"]
    if not found and not open_:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable or None, seen)
    named = found or open_
    text = "; ".join(f"{one.name}: {one.verdict.text}" for one in named[:NAMED])
    text += f"; and {len(named) - NAMED} more" if len(named) > NAMED else ""
    text = f"{len(found)} of {len(entries)} differ ({text})" if found else text
    return Verdict(named[0].verdict.severity, text, p_value, detectable or None, seen)


def _rank(entry: Entry) -> tuple[int, float]:
    """The most severe first."""
    return -SEVERITIES.index(entry.verdict.severity), entry.verdict.p_value or 0.0


def differing_part(key: str, entries: Sequence[Entry]) -> str:
    """The part of the rows that differs, with the names of the entries that say so."""
    names = [entry.name for entry in entries if entry.verdict.differs]
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    count = "the" if len(entries) == 1 else f"{len(names)} of {len(entries)}"
    return SECTIONS[key].part.format(count=count, names=shown)


# --- as text --------------------------------------------------------------------------------------------------------


def sections_text(entries: Sequence[Entry]) -> str:
    """A line for each section."""
    lines = [
        (SECTIONS[key].title, one.with_severity, p_value(one.p_value), one.seen or "-")
        for key, one in verdicts_of(entries).items()
    ]
    about = [(SECTIONS[key].title, SECTIONS[key].about) for key in verdicts_of(entries)]
    head = ("section", "verdict", "p", "could detect")
    return "\n\n".join([aligned(head, lines), aligned(("section", "what is compared"), about)])


def entries_text(entries: Sequence[Entry]) -> str:
    """A line for each entry, and another one for what it measures."""
    head = ("metric", "value", "reference value", "by chance", "p", "verdict")
    lines = [
        (one.name, number(one.value), number(one.reference_value), between(one.chance),
         p_value(one.verdict.p_value), one.verdict.with_power)
        for one in entries
    ]  # fmt: skip
    about = [(one.name, one.measure) for one in entries]
    return "\n\n".join([aligned(head, lines), aligned(("metric", "what it is"), about)])


# --- The record of an evaluation: what `evaluate` finds of points and of tables, in one form ------------------------
#
# Each entry compares a value of the synthetic rows with its reference value, which is that of two real draws. Text,
# JSON and the HTML page are renderings of the record. What the headline is, is decided here alone.


class Details(Protocol):
    """What charts and tables of a report need, as arrays: `PointDetails`, `TableDetails` or `Calibration`."""

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
