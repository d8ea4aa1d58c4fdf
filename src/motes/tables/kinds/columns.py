"""Columns in which nearly every row has a value of its own: numbers of rows, names, e-mail addresses, free text.

Such values say nothing of other rows, and a model that learned them would only give real ones back. These columns are
set aside: synthetic rows leave them empty, or have placeholders there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from motes.data.arrays import Mask, Series, Type
from motes.errors import DataError, UsageError, unknown
from motes.tables.kinds import dates, labels, numbers
from motes.tables.kinds.base import Kind, Sample, entry_at
from motes.tables.kinds.lines import ENOUGH, common_step, is_whole
from motes.tables.parts import Array, Values

DISTINCT = 0.9  # share of the entries, at least, that differ from one another
NAMES = frozenset(
    ["id", "ids", "key", "uuid", "guid", "nr", "no", "number", "idx", "index"]
)  # last words of the name of a number
YEARS = 1500, 2200  # whole numbers between these may be years, of which a series has each once
NEAR = 5  # whole numbers at most so far apart are neighbours
PAIRS = 12.0  # equal pairs that chance would bring about, at least, where hardly any is there
HARDLY = 6  # times fewer
UNIFORM = 100  # rows, from which uniform numbers of so many digits are told from measurements
DIGITS = 5
ROOM = 10**12  # placeholders, at least
SIZE = 0.01  # of the test of that
ADDRESS = re.compile(r"[^@\s]+@[^@\s]+")


@dataclass(frozen=True)
class Identifier:
    """A column that is set aside, without any of its values.

    Attributes:
        type: of its series: text ("label") or whole numbers ("whole", or "real" where these came as floats).
        before, after: the text around the number of a placeholder; no value of the training begins with `before`.
        first: placeholders that are numbers count up from here; no value of the training is there.
    """

    type: Type
    before: str = ""
    after: str = ""
    first: int = 0

    @classmethod
    def of(cls, sample: Sample) -> Identifier:
        """That of the entries of a column.

        Raises:
            DataError: entries that are neither text nor whole numbers.
        """
        series, column = sample.series, sample.column
        if series.type == "label":
            texts = [str(label) for label in series.labels]
            after = "@example.com" if all(map(ADDRESS.fullmatch, texts)) else ""
            before = f"{column}-"
            while any(text.startswith(before) for text in texts):
                before += "x-"
            return cls("label", before, after)
        if series.type not in ("whole", "real") or not is_whole(series.values):
            raise DataError(
                f"column '{column}' of {sample.name} is neither text nor whole numbers; expected one of these for kind "
                f'"identifier". Leave it out by kind "drop".'
            )
        values = np.sort(series.values).astype(np.int64)
        first = 10 ** len(str(max(int(values.max(initial=0)), 0)))
        largest = 2**53 if series.type == "real" else 2**63
        if first + ROOM > largest:  # then between the values that are farthest apart
            widest = int(np.diff(values.astype(np.float64)).argmax())
            first = (int(values[widest]) + int(values[widest + 1])) // 2
        return cls(series.type, first=first)

    def nothing(self, n: int) -> Series:
        """n missing entries."""
        return Series(self.type, np.zeros(n, np.float64 if self.type == "real" else np.int64), np.ones(n, bool))

    def placeholders(self, start: int, n: int) -> Series:
        """n placeholders, the first of which has the number `start`."""
        numbers, here = np.arange(start, start + n), np.zeros(n, bool)
        if self.type == "label":
            return Series("label", np.arange(n), here, tuple(f"{self.before}{k:06d}{self.after}" for k in numbers))
        return Series(self.type, (self.first + numbers).astype(self.nothing(0).values.dtype), here)


def identifier_reason(sample: Sample) -> str | None:
    """Why a column is set aside, in a phrase; None: it is not.

    Text is if nearly all entries differ. Whole numbers, which may be measured, are if they also look like numbers that
    were given to the rows: by their name; because values that lie as densely as these would have many equal ones by
    chance; or because they are spread evenly over all numbers of so many digits.
    """
    series, values = sample.series, sample.seen[0]
    # A weight of 2 is as good as the row twice.
    if len(sample) <= ENOUGH or len(values) < DISTINCT * max(len(sample), sample.weights.sum()):
        return None
    if series.type == "label" and not series.ordered:
        return f"{len(values):,} different texts in {len(sample):,} rows"
    if series.type not in ("whole", "real") or not is_whole(values):
        return None
    numbers = values.astype(np.float64)
    if _is_named(sample.column) or _is_given(numbers, len(sample) - len(values)) or _is_random(numbers):
        return f"{len(values):,} different whole numbers in {len(sample):,} rows"
    return None


def _is_named(column: str) -> bool:
    """Whether the name says that it holds numbers of rows: id, customer_id, PassengerId."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", column)
    return bool(words) and words[-1].lower() in NAMES


def _is_given(values: Array, repeated: int) -> bool:
    """Whether equal values are far rarer than neighbours, among distinct values (d,), rising.

    Of independent values two are equal half as often as they are 1 apart, 2 apart, and so on.
    """
    if YEARS[0] <= values[0] and values[-1] <= YEARS[1]:
        return False
    near = sum(int((values[lag:] - values[:-lag] <= NEAR).sum()) for lag in range(1, NEAR + 1))
    expected = near / (2 * NEAR)
    return expected >= PAIRS and repeated * HARDLY <= expected


def _is_random(values: Array) -> bool:
    """Whether values (d,) are uniform over all whole numbers of up to so many digits, or of exactly so many."""
    from scipy.stats import kstest

    digits = len(str(int(values[-1])))
    if len(values) < UNIFORM or digits < DIGITS or values[0] < 0 or common_step(values) > 1:
        return False
    high = 10.0**digits
    return any(kstest(values, "uniform", args=(low, high - low)).pvalue > SIZE for low in (0.0, high / 10))


# --- All kinds, from the families of them ---------------------------------------------------------------------------


KINDS: dict[str, type[Kind]] = {kind.name: kind for family in (labels, numbers, dates) for kind in family.KINDS}
BUILT_IN = frozenset(KINDS)
IDENTIFIER = "identifier"  # the kind of a column that is set aside, as nearly every row has a value of its own
DROP = "drop"  # the kind of a column that is left out, and so is no column of what is learned


def add_kind(kind: type[Kind]) -> None:
    """Let columns be of a kind of one's own, which is asked before all others whether entries are of it."""
    others = {name: one for name, one in KINDS.items() if name != kind.name}
    KINDS.clear()
    KINDS.update({kind.name: kind} | others)


# --- What each column of a table is: inferred from its entries, or said by whoever knows better ---------------------
#
# Schema.fit(frame, {"age": "integer", "size": {"kind": "ordered", "order": ["S", "M", "L"]}})


MISSING = ("learn", "ignore")
MANY_MISSING = 0.5
SHOWN = 5  # columns that are named in a message
BY_VALUE = "categorical", "integer"  # inferred kinds of which a column may be an identifier


@dataclass(frozen=True)
class Column:
    """What a column is, and why.

    Attributes:
        name: of the column.
        kind: what it is treated as, a key of `KINDS`.
        why: the evidence, in a phrase.
        constant: it holds one value or none, so that there is nothing to learn.
        missing: number of missing entries.
        warnings: what whoever trains on it should know.
        coded: missing entries have a code of their own.
        alternative: of a column that is set aside, the kind by which it would be learned.
    """

    name: str
    kind: str
    why: str
    constant: bool = False
    missing: int = 0
    warnings: tuple[str, ...] = ()
    coded: bool = False
    alternative: str = ""

    @property
    def learned(self) -> bool:
        """Whether the network learns it."""
        return not self.constant and self.kind != IDENTIFIER


def column_of(sample: Sample, gone: int, given: Mapping[str, Any], missing: str) -> tuple[Column, dict[str, Any]]:
    """What a column is, and the options of its kind.

    Args:
        sample: its entries.
        gone: how many more are missing.
        given: an override, as `checked_override` gives it.
        missing: "learn": missing entries have a code of their own; "ignore": nothing is known of them.
    """
    known = sample.series
    options = {key: value for key, value in given.items() if key not in ("kind", "missing")}
    coded = given.get("missing", missing) == "learn" and gone > 0
    if is_constant(known.values) and not (coded and len(known)):
        kind = given.get("kind", _plain_kind(known))
        why, warning = "no row has a value", "all missing: kept aside, and given back as it is"
        if len(known):
            why = f"{entry_at(known, 0)} in all {len(known):,} rows that have a value"
            warning = "constant: kept aside, and given back as it is"
        return Column(sample.column, kind, why, True, gone, (warning,)), {}
    warnings = []
    if gone > MANY_MISSING * (gone + len(known)):
        warnings.append(f"{gone / (gone + len(known)):.0%} missing")
    if "kind" in given:
        kind, why = given["kind"], "as you say"
    else:
        kind, why = _inferred(sample)
    if kind == IDENTIFIER:
        return Column(sample.column, kind, why, False, gone), {}
    warnings += KINDS[kind].warnings(sample, options)
    if reason := identifier_reason(sample) if kind in BY_VALUE else None:
        if "kind" not in given:
            return Column(sample.column, IDENTIFIER, reason, False, gone, tuple(warnings), False, kind), {}
        warnings.append("nearly every row has its own value, so synthetic rows will hold real ones")
    return Column(sample.column, kind, why, False, gone, tuple(warnings), coded), options


def set_aside_message(columns: Iterable[Column], *, shell: bool) -> list[str]:
    """The columns that were found to be identifiers, in a sentence; none where there are none.

    Args:
        columns: of a table.
        shell: name the options of the command line, not those of Python.
    """
    found = [column for column in columns if column.kind == IDENTIFIER and column.alternative]
    if not found:
        return []
    name, kind = found[0].name, found[0].alternative
    names = ", ".join(f"'{column.name}'" for column in found)
    learn = f"--set {shlex.quote(f'columns.{name}={kind}')}" if shell else f"columns={{{name!r}: {kind!r}}}"
    number = "`motes sample --placeholders`" if shell else "sample(..., placeholders=True)"
    return [
        f"set aside, because nearly every row has its own value: {names}. Synthetic rows have no value there; "
        f"{number} fills in placeholders, and {learn} learns '{name}' after all."
    ]


def column_messages(columns: Iterable[Column], *, shell: bool) -> list[str]:
    """What whoever trains on columns should know, a sentence each; columns of which the same is true share one.

    Args:
        columns: of a table.
        shell: name the options of the command line, not those of Python.
    """
    columns = list(columns)
    named: dict[str, list[str]] = {}
    for column in columns:
        for message in column.warnings:
            named.setdefault(message, []).append(f"'{column.name}'")
    each = []
    for message, names in named.items():
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        each.append(f"column{'s' * (len(names) > 1)} {', '.join(names[:SHOWN])}{more}: {message}.")
    return set_aside_message(columns, shell=shell) + each


def _inferred(sample: Sample) -> tuple[str, str]:
    """Kind and why."""
    for name, kind in KINDS.items():
        if (why := kind.infer(sample)) is not None:
            return name, why
    raise AssertionError(f"no kind takes a series of type {sample.series.type}")


def _plain_kind(known: Series) -> str:
    """The kind of a column that does not vary."""
    if known.type == "real" and len(known) and is_whole(known.values):
        return "integer"
    kinds = {"real": "real", "whole": "integer", "truth": "boolean", "label": "categorical", "date": "date"}
    return kinds[known.type]


# --- what entries look like -----------------------------------------------------------------------------------------


def check_known(series: Series, remedy: str = "") -> None:
    """Refuse entries that are of no kind that is known.

    Raises:
        DataError: it names the column, and says the `remedy` as well.
    """
    if series.type == "other":
        raise DataError(f"{series.labels[0]}{remedy}")


def check_finite(series: Series, column: str, name: str) -> None:
    """Refuse an infinite entry.

    Raises:
        DataError: it names row and column.
    """
    if series.type != "real":
        return
    endless = np.flatnonzero(np.isinf(series.values) & ~series.missing)
    if len(endless):
        more = f" ({len(endless):,} such entries in this column)" if len(endless) > 1 else ""
        raise DataError(
            f"{name}, row {endless[0] + 1}, column '{column}': got {series.values[endless[0]]}{more}; "
            "expected a finite number of at most 1.8e308. Leave the entry empty, which says that it is missing, or "
            "remove the row."
        )


def is_constant(known: Values) -> bool:
    """Whether there is nothing to learn; a spread below rounding of the column's own size is no spread."""
    if not len(known):
        return True
    if known.dtype.kind != "f":
        return bool((known == known[0]).all())
    largest = np.abs(known).max()
    # In units of the largest, whose square is a float.
    return bool(largest == 0 or (known / largest).std() <= 1e-14)


def differs(series: Series, one: Series) -> Mask:
    """Where an entry is another value than that of a column that was constant, but for rounding, (n,)."""
    was = one.cells()[0]
    if was is None:
        return ~series.missing
    if series.type == "label":
        other = np.array([label != was for label in series.labels] or [False])[series.values]
    elif one.type == "label" or (series.type == "date") != (one.type == "date"):
        other = np.ones(len(series), bool)
    else:
        value = one.values[0].astype(np.float64)
        other = np.abs(series.values - value) > 1e-9 * np.abs(value)
    return other & ~series.missing


# --- overrides ------------------------------------------------------------------------------------------------------


def kept_of(names: Sequence[str], overrides: Mapping[str, Any] | None) -> tuple[list[str], dict[str, Any]]:
    """The columns that are not dropped, and the overrides of those.

    Raises:
        UsageError: a column to be dropped that there is not.
    """
    given = dict(overrides or {})
    drop = [column for column, value in given.items() if value in (DROP, {"kind": DROP})]
    for column in drop:
        if column not in names:
            raise UsageError(unknown("column", column, names))
        del given[column]
    return [column for column in names if column not in drop], given


def checked_override(column: str, value: Any, names: Sequence[str]) -> dict[str, Any]:
    """{"kind": ..., its options, "missing": ...}, of which any may be left out.

    All kinds of real numbers have low, high and decimals, to which new ones are rounded; integer has low, high and
    step; ordered has order, its labels from first to last. Without a kind it is inferred.

    Raises:
        UsageError: no such column, kind or option, or a value that the option cannot have.
    """
    if column not in names:
        raise UsageError(unknown("column", column, names))
    given = {"kind": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or not ("kind" in given or set(given) == {"missing"}):
        raise UsageError(
            f'column \'{column}\' = {value!r}; expected a kind, such as "integer", or {{kind = "ordered", '
            'order = ["S", "M", "L"]}.'
        )
    if "kind" in given and given["kind"] not in (*KINDS, IDENTIFIER):
        raise UsageError(f"column '{column}': " + unknown("kind", str(given["kind"]), (*KINDS, IDENTIFIER, DROP)))
    kind = given.get("kind", "")
    allowed = KINDS[kind].options if kind in KINDS else ()
    made = dict(given)
    for key, option in given.items():
        if key == "missing":
            if option not in MISSING:
                raise UsageError(
                    f"column '{column}': missing = {option!r}; expected {' or '.join(map(repr, MISSING))}."
                )
        elif key != "kind":
            if key not in allowed:
                has = f"it has {', '.join(allowed)}" if allowed else "it has none"
                raise UsageError(f"column '{column}': kind '{kind}' has no option '{key}'; {has}.")
            made[key] = KINDS[kind].option(column, key, option)
    ends = KINDS[kind].ends if kind in KINDS else (None, None)
    low, high = made.get("low", ends[0]), made.get("high", ends[1])
    if low is not None and high is not None and low >= high:
        raise UsageError(f"column '{column}': low = {low:g} and high = {high:g}; expected low < high.")
    return made
