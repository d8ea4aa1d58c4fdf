"""The codes of a column and what may be asked of a column: values, intervals, sets and missing entries.

    log p(value) = log p(code) + log (mass of [low, high] within the code) + log_unit

or, where low == high and the code has a width, + log (density at y within the code) + log_unit. Most columns of a table
are one part. A date is several, of which the first is the coarsest.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import Series, of_values
from motes.errors import UsageError

Array = NDArray[np.float64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]
Values = NDArray[Any]  # entries of a column, as its kind takes them

IMPOSSIBLE = -1  # the code of an observed entry that the part cannot hold, such as an unseen label


@dataclass(frozen=True)
class Part:
    """K codes, which one softmax of a network gives the distribution of.

    Attributes:
        name: "age", or "when: month" for a part of a column that has several.
        column: the column of the table.
        masses: (K,), the share of the training rows in each code; each is above 0, and they sum to 1. A code without a
            row has a share of half a row.
        edges: (L+1,), nondecreasing: code k < L is the interval edges[k] to edges[k+1] of y. An interval without width
            is a point mass. None: labels, which have no places.
        smooth: a density within the codes: some code holds more than one value.
        single: (L,), which codes hold one value alone; None: all of them.
        repeats: which values within the codes come again and again; None: a code is spread evenly.
        missing: the last code, K-1, is that of missing entries (then L = K-1, otherwise L = K).

    Example:
        >>> from motes.tables import Schema
        >>> [(part.name, part.count) for part in Schema.fit(people).parts]
        [('age', 4), ('smoker', 2)]
    """

    name: str
    column: str
    masses: Array
    edges: Array | None = None
    smooth: bool = False
    single: Mask | None = None
    repeats: Repeats | None = None
    missing: bool = False

    def __repr__(self) -> str:
        return f"Part({self.name!r}, {self.count} codes)"

    @property
    def count(self) -> int:
        """K."""
        return len(self.masses)


@dataclass(frozen=True)
class Repeats:
    """Values within codes that many rows hold, such as round amounts.

        share of a value within its code k = again[k] within[v] + (1 - again[k]) (its part of the code's width)

    Attributes:
        again: (L,), the share of each code that its repeated values have.
        y: (V,), their places, rising.
        within: (V,), the share of each among those of its code; they sum to 1 for each code that has some.
    """

    again: Array
    y: Array
    within: Array


@dataclass(frozen=True)
class Entries:
    """m entries of one part; the fields are those of `Encoded`, each of shape (m,)."""

    codes: Codes
    y: Array
    low: Array
    high: Array
    log_unit: Array

    @classmethod
    def of_codes(cls, codes: NDArray[np.integer], log_unit: Array | None = None) -> Entries:
        """Entries without a place on a line."""
        zeros = np.zeros(len(codes))
        return cls(codes.astype(np.int32), zeros, zeros, zeros, zeros if log_unit is None else log_unit)


@dataclass(frozen=True)
class Encoded:
    """n rows of p parts.

    Attributes:
        codes: (n, p) int32; 0 where not observed, `IMPOSSIBLE` where the part cannot hold the entry.
        observed: (n, p), False where nothing is known.
        y: (n, p), the place on the part's line; 0 for labels.
        low, high: (n, p), the interval of y that the value stands for: its cell, for values of a lattice.
            low == high == y for real numbers that were not rounded, and for point masses.
        log_unit: (n, p), nats that are added for log p in the data's own units.
        other: (n,), True where a column that was constant in training holds another value.

    Example:
        >>> from motes.tables import Schema
        >>> encoded = Schema.fit(people).encode({"age": [31], "smoker": ["yes"]})
        >>> encoded.codes.shape, encoded.observed.tolist()
        ((1, 2), [[True, True]])
    """

    codes: Codes
    observed: Mask
    y: Array
    low: Array
    high: Array
    log_unit: Array
    other: Mask

    def __repr__(self) -> str:
        return f"Encoded({len(self.codes):,} rows of {self.codes.shape[1]} parts)"

    def __len__(self) -> int:
        return len(self.codes)


# --- Conditions on the columns of a table, and what they leave of the codes of its parts ----------------------------
#
#     {"age": 40, "city": {"Graz", "Wien"}, "price": (None, 500), "pace": Not(Between(3, 4)), "rent": None}
#
# A value is known and stays visible to the network; any other condition is a set of values, of which the codes and an
# interval of y remain.


HERE = "given"  # what messages call the conditions


@dataclass(frozen=True)
class Among:
    """One of several values.

    Example:
        >>> from motes.tables import Among, Not
        >>> print(Not(Among(("Graz", "Wien"))))
        not one of Graz, Wien
    """

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"one of {', '.join(map(str, self.values))}"


@dataclass(frozen=True)
class Between:
    """From `low` to `high`, both included; None: there is no such end.

    Example:
        >>> from motes.tables import Between
        >>> print(Between(10, 500), "|", Between(high=500))
        10 to 500 | at most 500
    """

    low: Any = None
    high: Any = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"at most {self.high}" if self.low is None else f"at least {self.low}"
        return f"{self.low} to {self.high}"


@dataclass(frozen=True)
class Missing:
    """The entry is missing.

    Example:
        >>> from motes.tables import Missing, Not
        >>> print(Not(Missing()))
        not missing
    """

    def __str__(self) -> str:
        return "missing"


@dataclass(frozen=True)
class NotMissing:
    """The entry has a value.

    Example:
        >>> from motes.tables import NotMissing
        >>> rows = table.sample(5, given={"age": NotMissing()})
        >>> len(rows["age"])
        5
    """

    def __str__(self) -> str:
        return "not missing"


@dataclass(frozen=True)
class Not:
    """The entry has a value, and another condition, or this value, does not hold of it.

    So p(A) + p(Not(A)) + p(missing) = 1, and `Not(Missing())` is `NotMissing()`.

    Example:
        >>> from motes.tables import Between, Not
        >>> ages = table.sample(5, given={"age": Not(Between(30, 50))})["age"]
        >>> all(not 30 <= age <= 50 for age in ages)
        True
    """

    condition: Any

    def __str__(self) -> str:
        return f"not {self.condition}"


Condition = Among | Between | Not | Missing | NotMissing
SetOfValues = Among | Between | Not  # conditions that a column kind takes


class Restriction(abc.ABC):
    """What a condition leaves of the q parts of one column."""

    @abc.abstractmethod
    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        """Which codes of a part remain, (K,) or (n, K), after the codes and places of the earlier parts, (n, part)."""

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        """The ends of y that remain within the allowed codes, two numbers or two arrays (n,); infinite: no end.

        Of several intervals they are the first end and the last: `holds` says what lies between.
        """
        return -np.inf, np.inf

    @abc.abstractmethod
    def holds(self, codes: Codes, y: Array) -> Mask:
        """Whether the condition holds of entries with these codes and places (n, q), (n,)."""

    def shares(self) -> Array | None:
        """(K,), the share of each code that remains, where one code holds several labels; None: all of each."""
        return None

    def narrowed(self, codes: Codes, u: Array) -> Array:
        """Uniform numbers (n,) -> those with which `decode` chooses among the labels that remain of codes (n,)."""
        return u


@dataclass(frozen=True)
class AnyValue(Restriction):
    """All values; `counts` are those of the codes of each part."""

    counts: tuple[int, ...]

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        return np.ones(self.counts[part], bool)

    def holds(self, codes: Codes, y: Array) -> Mask:
        return np.ones(len(codes), bool)


@dataclass(frozen=True)
class WithMissing(Restriction):
    """What remains of a column whose first part has a code for missing entries, the last one.

    Attributes:
        inner: what remains of the values.
        count: of their codes in the first part.
        missing: missing entries alone remain.
    """

    inner: Restriction
    count: int
    missing: bool = False

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        values = self.inner.allowed(part, self._values(codes), y)
        return np.append(values & (not self.missing), self.missing) if part == 0 else values

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        return self.inner.interval(part, self._values(codes), y)

    def holds(self, codes: Codes, y: Array) -> Mask:
        gone = codes[:, 0] >= self.count
        return gone if self.missing else ~gone & self.inner.holds(self._values(codes), y)

    def _values(self, codes: Codes) -> Codes:
        """Another code in the place of the one for missing entries, which `inner` does not know."""
        made = np.array(codes)
        made[:, :1] = np.minimum(codes[:, :1], self.count - 1)
        return made

    def shares(self) -> Array | None:
        inner = self.inner.shares()
        return None if inner is None else np.append(inner, 0.0)

    def narrowed(self, codes: Codes, u: Array) -> Array:
        return self.inner.narrowed(codes, u)


def one_value(name: str, value: Any) -> Series:
    """A value as a column of length 1.

    Raises:
        UsageError: several values, none, or an infinite number.
    """
    several = isinstance(value, Iterable | slice) or hasattr(value, "left")  # as a pandas Interval has
    if several and not isinstance(value, str | bytes):
        raise UsageError(
            f"column '{name}' = {value!r}; expected a value, an interval as a tuple: (low, high), "
            "or several values as a set: {one, another}."
        )
    series = of_values(np.array([value], dtype=object), name, HERE)
    if series.missing[0]:
        raise UsageError(f"column '{name}' = {value!r}; expected a value. None stands for a missing entry.")
    if series.type == "real" and np.isinf(series.values[0]):
        raise UsageError(f"column '{name}' = {value!r}; expected a finite number. An open end is None: (10, None).")
    return series
