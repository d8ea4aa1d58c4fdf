"""The one record of an evaluation: entries, sections, text and JSON."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from motes.encoding import Encoded
from motes.evaluation import results
from motes.evaluation.results import NO_DIFFERENCE, Severity, Verdict, aligned, capital, listed, p_value, worst

NAMED = 3  # most entries named in one sentence


@dataclass(frozen=True)
class Section:
    """One question that an evaluation asks.

    Attributes:
        title: title of the section.
        about: a phrase that says what is compared.
        part: name of the differing part in the headline, with {count} and {names} of the entries.
        similarity: False if a difference concerns memorisation or fit; it then gets its own sentence in the headline.
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
    "associations": Section("Associations", "associations of pairs of columns", "the associations of columns"),
    "classifier": Section(
        "Classifier", "can boosted trees tell synthetic rows from held-out ones?", "whole rows (by a classifier)"
    ),
    "utility": Section(
        "Utility",
        "prediction of the target after training on synthetic rows",
        "the prediction of '{names}'",
    ),
    "likelihood": Section("Likelihood", "log p of training rows minus log p of held-out rows", similarity=False),
    "dcr": Section(
        "Distance to closest record",
        "are synthetic rows nearer to training rows than held-out rows are?",
        similarity=False,
    ),
    "copies": Section("Copies", "synthetic rows that equal a training row", similarity=False),
    "calibration": Section(
        "Calibration", "are posteriors as wide as they should be?", "{count} tests of calibration ({names})"
    ),
    "distances": Section("Distances", "Wasserstein distances", "{count} distances ({names})"),
    "tests": Section("Two-sample tests", "do both sets have one distribution?", "{count} two-sample tests ({names})"),
    "coverage": Section("Coverage", "does each set cover the other?", "{count} measures of coverage ({names})"),
    "modes": Section("Modes", "does each mode have its share of the samples?", "the modes ({names})"),
    "fit": Section("Likelihood and loss", "fit of the model to real points", similarity=False),
}


@dataclass(frozen=True)
class Entry(Encoded):
    """One comparison of synthetic with real rows.

    Attributes:
        section: a key of `SECTIONS`.
        name: name of the metric, or of the column.
        measure: `value` in words.
        verdict: verdict on the difference between `value` and `reference_value`.
        value: None if there are too few rows.
        reference_value: the same metric between two real draws; None if unknown.
        chance: range of values for which the test, adjusted for all entries, detects no difference; one end is infinite
            for a one-sided test; None if another quantity is tested. `value` is outside it exactly if a difference is
            detected.
    """

    json_names = ("section", "name", "measure", "value", "reference_value", "chance", "sentence")

    section: str
    name: str
    measure: str
    verdict: Verdict
    value: float | None = None
    reference_value: float | None = None
    chance: tuple[float, float] | None = None

    @property
    def sentence(self) -> str:
        """The name and the verdict as a complete sentence."""
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
        """Create an entry from metrics; an approximate `chance` is corrected to agree with the verdict."""
        if chance is not None and value is not None:
            chance = _match_verdict(chance, float(value), verdict.differs)
        value, reference = (None if one is None else float(one) for one in (value, reference))
        return cls(section, name, measure, verdict, value, reference, chance)

    def to_dict(self) -> dict[str, Any]:
        one = self.verdict
        return super().to_dict() | {
            "p_value": one.p_value, "detectable": one.detectable, "severity": one.severity, "verdict": one.text
        }  # fmt: skip


def _match_verdict(chance: tuple[float, float], value: float, differs: bool) -> tuple[float, float]:
    """Return the range of chance, corrected to agree with the p-value, which is exact.

    The ends are approximate: quantiles of a few hundred permutations, or of a Gaussian.
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
    """Return the verdict on each section with entries, in the order of `SECTIONS`."""
    found = {key: [entry for entry in entries if entry.section == key] for key in SECTIONS}
    return {key: _combine_verdicts(mine) for key, mine in found.items() if mine}


def _combine_verdicts(entries: Sequence[Entry]) -> Verdict:
    """Return one verdict on all entries of a section, as severe as the largest difference."""
    if len(entries) == 1:
        return entries[0].verdict
    found = sorted((one for one in entries if one.verdict.differs), key=_sort_key)
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


def _sort_key(entry: Entry) -> tuple[int, float]:
    """Return a sort key that puts the most severe entries first."""
    return -results.SEVERITIES.index(entry.verdict.severity), entry.verdict.p_value or 0.0


def differing_part(key: str, entries: Sequence[Entry]) -> str:
    """Return the part of the rows that differs, with the names of the differing entries."""
    names = [entry.name for entry in entries if entry.verdict.differs]
    shown = ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
    count = "the" if len(entries) == 1 else f"{len(names)} of {len(entries)}"
    return SECTIONS[key].part.format(count=count, names=shown)


# --- as text --------------------------------------------------------------------------------------------------------


def sections_text(entries: Sequence[Entry]) -> str:
    """Format a line for each section."""
    lines = [
        (SECTIONS[key].title, one.with_severity, p_value(one.p_value), one.seen or "-")
        for key, one in verdicts_of(entries).items()
    ]
    about = [(SECTIONS[key].title, SECTIONS[key].about) for key in verdicts_of(entries)]
    head = ("section", "verdict", "p", "could detect")
    return "\n\n".join([aligned(head, lines), aligned(("section", "what is compared"), about)])


def entries_text(entries: Sequence[Entry]) -> str:
    """Format a line for each entry, and a second table of what each measures."""
    head = ("metric", "value", "reference value", "by chance", "p", "verdict")
    lines = [
        (one.name, results.number(one.value), results.number(one.reference_value), results.between(one.chance),
         p_value(one.verdict.p_value), one.verdict.with_power)
        for one in entries
    ]  # fmt: skip
    about = [(one.name, one.measure) for one in entries]
    return "\n\n".join([aligned(head, lines), aligned(("metric", "what it is"), about)])


# --- The record of an evaluation, for points and tables -------------------------------------------------------------
#
# Each entry compares a metric of the synthetic rows with its reference value between two real draws. Text, JSON and the
# HTML page are renderings of the record. Only this module writes the headline.


class Details(Encoded):
    """Base class of arrays for the charts and tables of a report: `PointDetails`, `TableDetails` or `Calibration`.

    Their JSON form contains no rows of the data.
    """

    kind: ClassVar[str]  # of the model

    def blocks(self, entries: Sequence[Entry]) -> list[str]:
        """Return the numbers as blocks of text, given the `entries` of the record: a line for each entry.

        Example:
            >>> from motes.evaluation import Calibration
            >>> Calibration(("rate",), np.zeros((9, 2), int), 9, (), np.ones(2)).blocks([])[0].split()[0]
            'metric'
        """
        return [entries_text(entries)]


DetailsT = TypeVar("DetailsT", bound=Details, covariant=True)


def today() -> str:
    """Return the date, such as 2026-05-17."""
    return datetime.date.today().isoformat()


@dataclass(frozen=True, repr=False)
class Evaluation(Encoded, Generic[DetailsT]):
    """The record of an evaluation of synthetic rows; `print` shows it, `to_dict` gives its JSON.

    Attributes:
        source: name of the real rows; "" if they have none.
        evaluated_against: origin of the real rows, in words.
        rows: number of rows of each set, "synthetic" first.
        entries: the comparisons, by section.
        details: data for the charts.
        notes: sentences about omitted or changed comparisons.
        seed: seed of the samples and of random choices.
        brief: whether only the quick metrics were computed; the headline then names them.
        about: further facts for the report, by name: the model and its recipe. A mapping becomes a list of its own.
        date: date of the evaluation.
        version: version of motes.

    Example:
        >>> from motes.evaluation import evaluate_points
        >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
        >>> found.severity
        'good'
    """

    json_names = (
        "title", "kind", "source", "evaluated_against", "date", "version", "seed", "rows", "headline", "severity",
        "p_value", "sections", "entries", "details", "notes",
    )  # fmt: skip

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
        """Title of the report."""
        return f"Synthetic rows compared with {self.source or 'real rows'}"

    @property
    def compared(self) -> str:
        """A sentence that says which rows are compared."""
        of = f" of {self.source}" if self.source else ""
        (_, count), *real = self.rows.items()
        which = self.evaluated_against
        if len(real) > 1:
            which = listed([f"{rows:,} {name.replace('_', '-')} rows" for name, rows in real if rows])
        total = sum(rows for _, rows in real)
        return f"{count:,} synthetic rows are compared with {total:,} real rows: {which}{of}."

    def of(self, section: str) -> list[Entry]:
        """Return the entries of one section.

        Example:
            >>> from motes.evaluation import evaluate_points
            >>> found = evaluate_points(*(motes.make_shape("moons", 100, seed=seed) for seed in range(3)))
            >>> len(found.of(found.entries[0].section)) > 0
            True
        """
        return [entry for entry in self.entries if entry.section == section]

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """The verdict on each section, in the order of `SECTIONS`."""
        return verdicts_of(self.entries)

    @property
    def kind(self) -> str:
        """Kind of the model: "points", "table" or "posteriors"."""
        return self.details.kind

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """The verdict on each section as texts and numbers, with its title."""
        return {
            key: {"title": SECTIONS[key].title, "severity": one.severity, "p_value": one.p_value,
                  "sentence": one.sentence}
            for key, one in self.verdicts.items()
        }  # fmt: skip

    @property
    def severity(self) -> Severity:
        """The largest severity of all sections."""
        return worst(one.severity for one in self.verdicts.values())

    @property
    def p_value(self) -> float:
        """The smallest p-value of all sections; for a table, the probability that chance alone gives one as small."""
        return min((one.p_value for one in self.verdicts.values() if one.p_value is not None), default=1.0)

    @property
    def headline(self) -> str:
        """A sentence or two that name the differing parts."""
        found = {key: one for key, one in self.verdicts.items() if one.differs}
        similar = [key for key in found if SECTIONS[key].similarity]
        if similar:
            how = {"small": " a little", "large": " strongly"}.get(worst(found[key].severity for key in similar), "")
            parts = listed([differing_part(key, self.of(key)) for key in similar])
            sentence = f"The synthetic rows differ{how} from the real ones in {parts}."
        else:
            by = f" by {listed([entry.name for entry in self.entries])}" if self.brief else ""
            sentence = f"No difference between synthetic and real rows was found{by}."
        apart = [entry for key in found if not SECTIONS[key].similarity for entry in self.of(key)]
        return " ".join([sentence, *(f"{capital(entry.verdict.text)}." for entry in apart if entry.verdict.differs)])

    def __repr__(self) -> str:
        return f"Evaluation({self.title!r}: {self.headline})"

    def __str__(self) -> str:
        blocks = [self.compared, self.headline, *self.details.blocks(self.entries)]
        if self.notes:
            blocks.append("\n".join(f"Note: {note}" for note in self.notes))
        return "\n\n".join(blocks)
