"""The comparisons of an evaluation, section by section, and what those of one section say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from motes.evaluation._text import aligned, between, number, p_value
from motes.evaluation._verdicts import NO_DIFFERENCE, SEVERITIES, Verdict, worst

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
    if not found and open_:
        text = "; ".join(f"{one.name}: {one.verdict.text}" for one in open_[:NAMED])
        more = f"; and {len(open_) - NAMED} more" if len(open_) > NAMED else ""
        return Verdict("unknown", text + more, p_value, detectable or None, seen)
    if not found:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable or None, seen)
    shown = "; ".join(f"{one.name}: {one.verdict.text}" for one in found[:NAMED])
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    text = f"{len(found)} of {len(entries)} differ ({shown}{more})"
    return Verdict(worst(one.verdict.severity for one in found), text, p_value, detectable or None, seen)


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
