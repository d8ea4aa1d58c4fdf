"""The choice of column kinds, and columns that are set aside: those whose values name rows, people or things.

These are ids, personal data and free text. Their values may repeat, such as the id of a patient with five visits, but a
synthetic row is about nobody, so a model that learned them would reproduce real values. Synthetic rows leave these
columns empty, or contain placeholders.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import Series, Type
from motes.errors import DataError, UsageError, unknown
from motes.tables.kinds import labels, numbers, personal
from motes.tables.kinds.base import Kind, Sample, entry_at
from motes.tables.kinds.binnings import ENOUGH, common_step, is_whole
from motes.tables.parts import Array, Values

DISTINCT = 0.9  # minimum share of distinct entries
NAMES = {"id", "ids", "key", "uuid", "guid", "nr", "no", "number", "idx", "index"}  # last words of names of id columns
YEARS = 1500, 2200  # whole numbers between these may be years: a time series has each year once
NEAR = 5  # whole numbers at most this far apart are neighbours
PAIRS = 12.0  # minimum number of equal pairs that chance would produce, when there are hardly any
HARDLY = 6  # "hardly any": this many times fewer
UNIFORM = 100  # minimum number of rows for the test of uniformity
DIGITS = 5  # minimum number of digits for it
ROOM = 10**12  # minimum number of placeholders
SIZE = 0.01  # size of the test of uniformity
GOLDEN = (5**0.5 - 1) / 2  # the golden ratio, whose multiples are spread most evenly
SHARED = 5  # minimum number of rows with each first name, if first names are learned
BEFORE = {personal.NAMES: "Person ", personal.FIRST_NAMES: "Person", personal.ADDRESSES: "Example Street "}


@dataclass(frozen=True)
class Identifier:
    """A column that is set aside; it contains none of the real values.

    Attributes:
        type: type of its series: text ("label") or whole numbers ("whole", or "real" if stored as floats).
        before, after: the text around the number of a placeholder; no training value begins with `before`.
        first: numeric placeholders count up from this number, where no training value lies.
        pattern: instead of `before` and `after`: the pattern of phone numbers and the like, see `personal`.
        repeats: number of rows -> how many values have so many training rows; empty if each value has one row.
    """

    type: Type
    before: str = ""
    after: str = ""
    first: int = 0
    pattern: str = ""
    repeats: Mapping[int, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, sample: Sample) -> Identifier:
        """Choose the placeholders for the entries of a column.

        Raises:
            DataError: if an entry is neither text nor a whole number.
        """
        series, column = sample.series, sample.column
        rows = np.maximum(np.round(sample.seen[1]), 1).astype(np.int64)
        repeats = Counter(np.sort(rows).tolist()) if (rows > 1).any() else {}
        if series.type == "label":
            texts = [str(label) for label in series.labels]
            about = sample.personal
            after = "@example.com" if about == personal.EMAILS else ""
            before = BEFORE.get(about, f"{column}-")
            while any(text.startswith(before) for text in texts):
                before += "x-"
            return cls("label", before, after, pattern=personal.pattern_of(about, texts), repeats=repeats)
        if series.type not in ("whole", "real") or not is_whole(series.values):
            raise DataError(
                f"column '{column}' of {sample.name} is neither text nor whole numbers; expected one of these for kind "
                f'"identifier". Leave the column out with kind "drop".'
            )
        values = np.sort(series.values).astype(np.int64)
        first = 10 ** len(str(max(int(values.max(initial=0)), 0)))
        largest = 2**53 if series.type == "real" else 2**63
        if first + ROOM > largest:  # use the widest gap between values instead
            widest = int(np.diff(values.astype(np.float64)).argmax())
            first = (int(values[widest]) + int(values[widest + 1])) // 2
        return cls(series.type, first=first, repeats=repeats)

    def nothing(self, n: int) -> Series:
        """Return n missing entries."""
        return Series(self.type, np.zeros(n, np.float64 if self.type == "real" else np.int64), np.ones(n, bool))

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        """The last row of each placeholder, in as many rows as there were training rows, (v,)."""
        sizes = np.repeat([*self.repeats], [*self.repeats.values()])
        # Multiples of the golden ratio give an order in which the first placeholders repeat nearly as all of them do.
        return np.cumsum(sizes[np.argsort(np.arange(len(sizes)) * GOLDEN % 1, kind="stable")])

    def placeholders(self, start: int, n: int, *, distinct: bool = False) -> Series:
        """Return the placeholders of n rows, numbered from `start`; they repeat as the real values do, or are distinct.

        A placeholder is a function of the number of its row, so that blocks and shards agree.
        """
        numbers, here = np.arange(start, start + n), np.zeros(n, bool)
        if self.repeats and not distinct:
            turns, rows = np.divmod(numbers - 1, self._ends[-1])
            numbers = turns * len(self._ends) + np.searchsorted(self._ends, rows, side="right") + 1
        if self.type == "label":
            numbers, places = np.unique(numbers, return_inverse=True)
            numbered = (f"{self.before}{k:06d}{self.after}" for k in numbers)
            filled = (personal.fill_pattern(self.pattern, k) for k in numbers.tolist())
            return Series("label", places, here, tuple(filled if self.pattern else numbered))
        return Series(self.type, (self.first + numbers).astype(self.nothing(0).values.dtype), here)


def identifier_reason(sample: Sample) -> str | None:
    """Return the reason to set a column aside, in a phrase; None to learn it.

    Text is set aside if nearly all entries differ. Whole numbers may be measurements, so they must also look like
    assigned ids: by the column's name; because measurements this dense would have many equal values by chance; or
    because they are uniform over all numbers with a certain number of digits.
    """
    series, values = sample.series, sample.seen[0]
    # A weight of 2 is the same as the row twice.
    if len(sample) <= ENOUGH or len(values) < DISTINCT * max(len(sample), sample.weights.sum()):
        return None
    if series.type == "label" and not series.ordered:
        return f"{len(values):,} different texts in {len(sample):,} rows"
    if series.type not in ("whole", "real") or not is_whole(values):
        return None
    numbers, repeated = values.astype(np.float64), len(sample) - len(values)
    if _looks_like_id_name(sample.column) or _looks_assigned(numbers, repeated) or _looks_random(numbers):
        return f"{len(values):,} different whole numbers in {len(sample):,} rows"
    return None


def _looks_like_id_name(column: str) -> bool:
    """Return whether the column's name suggests an id: id, customer_id, PassengerId."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", column)
    return bool(words) and words[-1].lower() in NAMES


def _looks_assigned(values: Array, repeated: int) -> bool:
    """Return whether equal values are far rarer than neighbouring values, among distinct values (d,), rising.

    Two independent values are equal half as often as they are 1 apart, 2 apart, and so on.
    """
    if YEARS[0] <= values[0] and values[-1] <= YEARS[1]:
        return False
    near = sum(int((values[lag:] - values[:-lag] <= NEAR).sum()) for lag in range(1, NEAR + 1))
    expected = near / (2 * NEAR)
    return expected >= PAIRS and repeated * HARDLY <= expected


def _looks_random(values: Array) -> bool:
    """Return whether values (d,) are uniform over whole numbers with exactly, or up to, some number of digits."""
    from scipy.stats import kstest

    digits = len(str(int(values[-1])))
    if len(values) < UNIFORM or digits < DIGITS or values[0] < 0 or common_step(values) > 1:
        return False
    high = 10.0**digits
    return any(kstest(values, "uniform", args=(low, high - low)).pvalue > SIZE for low in (0.0, high / 10))


# --- All kinds ------------------------------------------------------------------------------------------------------


KINDS: dict[str, type[Kind]] = {kind.name: kind for family in (labels, numbers) for kind in family.KINDS}
BUILT_IN = frozenset(KINDS)
IDENTIFIER = "identifier"  # the kind of columns that are set aside
DROP = "drop"  # leaves a column out of the table


def add_kind(kind: type[Kind]) -> None:
    """Register a custom kind; `infer` of the newest kind is tried first."""
    others = {name: one for name, one in KINDS.items() if name != kind.name}
    KINDS.clear()
    KINDS.update({kind.name: kind} | others)


# --- The kind of each column: inferred from its entries, or set by the user -----------------------------------------
#
# Schema.fit(frame, {"age": "integer", "size": {"kind": "ordered", "order": ["S", "M", "L"]}})


MISSING = ("learn", "ignore")
SHOWN = 5  # columns named in a message
BY_VALUE = "categorical", "integer"  # inferred kinds whose columns may be identifiers


@dataclass(frozen=True)
class Column:
    """The kind of a column, and the reason for it.

    Attributes:
        name: name of the column.
        kind: its kind, a key of `KINDS`.
        why: the reason, in a phrase.
        constant: whether it has one value or none, so that there is nothing to learn.
        missing: number of missing entries.
        warnings: warnings to show before training.
        coded: whether missing entries have a token of their own.
        alternative: for a column that is set aside, the kind with which it would be learned.
        personal: what its values look like if they name people or things, such as "e-mail addresses" or "ids", even if
            they are learned; "" for ordinary values.
    """

    name: str
    kind: str
    why: str
    constant: bool = False
    missing: int = 0
    warnings: tuple[str, ...] = ()
    coded: bool = False
    alternative: str = ""
    personal: str = ""

    @property
    def learned(self) -> bool:
        """Whether the network learns the column."""
        return not self.constant and self.kind != IDENTIFIER


def column_of(sample: Sample, gone: int, given: Mapping[str, Any], missing: str) -> tuple[Column, dict[str, Any]]:
    """Choose the kind of a column; return the column and the options of its kind.

    Args:
        sample: its observed entries.
        gone: number of missing entries.
        given: an override, as returned by `check_overrides`.
        missing: "learn" gives missing entries a token of their own; "ignore" treats them as unknown.
    """
    known = sample.series
    options = {key: value for key, value in given.items() if key not in ("kind", "missing")}
    coded = given.get("missing", missing) == "learn" and gone > 0
    if is_constant(known.values) and not (coded and len(known)):
        kind = given.get("kind", _constant_kind(known))
        about = "" if "kind" in given else sample.personal
        if about:
            reason = f"{about}: one in all {len(known):,} rows"
            return Column(sample.column, IDENTIFIER, reason, False, gone, (), False, kind, about), {}
        why, warning = "no row has a value", "all missing: kept aside and returned unchanged"
        if len(known):
            why = f"{entry_at(known, 0)} in all {len(known):,} rows that have a value"
            warning = "constant: kept aside and returned unchanged"
        return Column(sample.column, kind, why, True, gone, (warning,)), {}
    kind, why = (given["kind"], "set by you") if "kind" in given else _infer_kind(sample)
    if kind == IDENTIFIER:
        return Column(sample.column, kind, why, False, gone), {}
    warnings = KINDS[kind].warnings(sample, options)
    about = sample.personal if kind in BY_VALUE else ""
    if about == personal.FIRST_NAMES and sample.seen[1].min() >= SHARED and "kind" not in given:
        warnings.append(f"{about}, learned because each occurs in at least {SHARED} rows; synthetic rows contain them")
        about = ""
    unique = identifier_reason(sample) if kind in BY_VALUE else None
    if unique and about in personal.NUMBERED:
        about = ""
    if about or unique:
        count = unique or f"{len(sample.seen[0]):,} different ones in {len(sample):,} rows"
        reason = f"{about}: {count}" if about else count
        if "kind" not in given:
            shown = () if about else tuple(warnings)  # warnings quote entries
            alternative = "categorical" if about in personal.NUMBERED else kind
            return Column(sample.column, IDENTIFIER, reason, False, gone, shown, False, alternative, about), {}
        what = f"these look like {about}" if about else "nearly every row has its own value"
        warnings.append(f"{what}, so synthetic rows will contain real values")
        about = about or personal.IDS
    elif kind == "categorical" and known.type == "label" and len(known) > ENOUGH and sample.seen[1].min() < 2:
        warnings.append("some labels occur in a single row, and synthetic rows contain them literally")
    return Column(sample.column, kind, why, False, gone, tuple(warnings), coded, personal=about), options


def column_messages(columns: Iterable[Column], *, shell: bool) -> list[str]:
    """Return the warnings about columns, one sentence each; columns with the same warning share a sentence.

    Args:
        columns: columns of a table.
        shell: name command-line options instead of Python arguments.
    """
    columns = list(columns)
    made, aside = [], [column for column in columns if column.kind == IDENTIFIER and column.alternative]
    named: dict[str, list[str]] = {}
    for column in columns:
        for message in column.warnings:
            named.setdefault(message, []).append(f"'{column.name}'")
    numbered = [column for column in aside if column.personal in personal.NUMBERED]
    groups = {
        "nearly every row has its own value": [column for column in aside if not column.personal],
        "they look like personal data": [column for column in aside if column.personal and column not in numbered],
        "they look like ids": numbered,
    }
    repeat = ", which repeat as the real values do, whatever the other columns contain"
    for why, some in groups.items():
        if not some:
            continue
        names = [f"'{one.name}'" + f" ({one.personal})" * (one.personal not in why) for one in some]
        name, kind = some[0].name, some[0].alternative
        learn = f"--set {shlex.quote(f'columns.{name}={kind}')}" if shell else f"columns={{{name!r}: {kind!r}}}"
        number = "`motes sample --placeholders`" if shell else "sample(..., placeholders=True)"
        made.append(
            f"set aside, because {why}: {', '.join(names)}. "
            f"Synthetic rows leave these columns empty; {number} fills in placeholders"
            f"{repeat * any(column.personal for column in some)}, and {learn} learns '{name}' after all."
        )
    for message, names in named.items():
        more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
        made.append(f"column{'s' * (len(names) > 1)} {', '.join(names[:SHOWN])}{more}: {message}.")
    return made


def _infer_kind(sample: Sample) -> tuple[str, str]:
    """Return the inferred kind and the reason for it."""
    for name, kind in KINDS.items():
        if (why := kind.infer(sample)) is not None:
            return name, why
    raise AssertionError(f"no kind takes a series of type {sample.series.type}")


def _constant_kind(known: Series) -> str:
    """Return the kind of a constant column."""
    if known.type == "real" and len(known) and is_whole(known.values):
        return "integer"
    kinds = {"real": "real", "whole": "integer", "truth": "categorical", "label": "categorical", "date": "date"}
    return kinds[known.type]


def is_constant(known: Values) -> bool:
    """Return whether a column is constant; a spread below the rounding error of its largest value does not count."""
    if not len(known):
        return True
    if known.dtype.kind != "f":
        return bool((known == known[0]).all())
    largest = np.abs(known).max()
    # In units of the largest value, so that squares do not overflow.
    return bool(largest == 0 or (known / largest).std() <= 1e-14)


# --- overrides ------------------------------------------------------------------------------------------------------


def check_overrides(names: Sequence[str], overrides: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """Return the columns that are not dropped, each with its override, as returned by `_check_override`.

    Raises:
        UsageError: if a column, kind or option does not exist, or an option cannot have its value.
    """
    given = dict(overrides or {})
    for column in given:
        if column not in names:
            raise UsageError(unknown("column", column, names))
    kept = [column for column in names if given.get(column) not in (DROP, {"kind": DROP})]
    return {column: _check_override(column, given[column]) if column in given else {} for column in kept}


def _check_override(column: str, value: Any) -> dict[str, Any]:
    """Check an override and return {"kind": ..., its options, "missing": ...}; each key is optional.

    All kinds of real numbers have the options low, high and decimals, to which synthetic values are rounded; integer
    has low, high and step; ordered has order, its labels from first to last. Without "kind", the kind is inferred.
    """
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
