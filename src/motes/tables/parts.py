"""The tokens of a column, and conditions on a column: values, intervals, sets and missing entries.

    log p(value) = log p(token) + log (mass of [low, high] within the token) + log_unit

or, if low == high and the token has a width, + log (density at y within the token) + log_unit. Most columns have one
part. A date has several, the coarsest first.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.errors import DataError

Array = NDArray[np.float64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]
Values = NDArray[Any]  # entries of a column, as its kind takes them

IMPOSSIBLE = -1  # the token of an observed entry that the part cannot hold, such as an unseen label
GRID = 4  # number of tokens from which ordered values have a density as well,
HEAVY = 0.6  # unless one of them has more than this share of the rows


@dataclass(frozen=True)
class Part:
    """One part of a column, encoded as one of K tokens; the network predicts its distribution with one softmax.

    Attributes:
        name: "age", or "when: month" for a part of a column with several parts.
        column: name of the column.
        masses: (K,), the share of the training rows with each token; each is positive, and they sum to 1. A token
            without rows counts as half a row.
        edges: (L+1,), nondecreasing: token k < L is the interval edges[k] to edges[k+1] of y. An interval without width
            is a point mass. None for labels, which have no places.
        smooth: whether there is a density within the tokens, because some token stands for several values.
        single: (L,), which tokens stand for a single value; None if all do.
        repeats: frequent values within the tokens; None if each token is spread evenly.
        draw_range: the interval of y of drawn values: the observed range, or `low` to `high`; None for labels.
        missing: whether the last token, K-1, stands for missing entries (then L = K-1, otherwise L = K).

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
    draw_range: tuple[float, float] | None = None
    missing: bool = False

    def __repr__(self) -> str:
        return f"Part({self.name!r}, {self.count} codes)"

    @property
    def count(self) -> int:
        """K."""
        return len(self.masses)

    def check(self, codes: Codes, y: Array) -> None:
        """Check that tokens (n,) exist, and that places (n,) are numbers.

        Raises:
            DataError: if they are not; the message names the row.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).parts[0].check(np.array([0, 3]), np.zeros(2))
        """
        most = self.count - self.missing
        strange = (codes < 0) | (codes >= most)
        if strange.any():
            row = int(strange.argmax())
            raise DataError(f"row {row + 1}, '{self.name}': got code {codes[row]}; expected 0 to {most - 1}.")
        if self.smooth and np.isnan(y).any():
            raise DataError(f"row {int(np.isnan(y).argmax()) + 1}, '{self.name}': got y = nan; expected a number.")

    @property
    def has_density(self) -> bool:
        """Whether it has Gaussians besides its tokens: if it is smooth, or a large grid without a heavy value."""
        values = self.masses[: self.count - self.missing]
        few = self.edges is not None and len(values) >= GRID and bool(values.max() <= HEAVY * values.sum())
        return self.smooth or few

    @property
    def ranks(self) -> Array:
        """The share of the training rows below each edge of a part on a line, (L+1,)."""
        assert self.edges is not None
        masses = self.masses[: len(self.edges) - 1]
        return np.append(0.0, np.cumsum(masses)) / masses.sum()


@dataclass(frozen=True)
class Repeats:
    """Frequent values within tokens, such as round amounts.

        share of a value within its token k = again[k] within[v] + (1 - again[k]) (its part of the token's width)

    Attributes:
        again: (L,), the share of each token that belongs to its repeated values.
        y: (V,), places of the repeated values, rising.
        within: (V,), the share of each among the repeated values of its token; they sum to 1 for each token with some.
    """

    again: Array
    y: Array
    within: Array


@dataclass(frozen=True)
class Entries:
    """m encoded entries of one part; the fields are as in `Encoded`, each of shape (m,)."""

    codes: Codes
    y: Array
    low: Array
    high: Array
    log_unit: Array

    @classmethod
    def of_codes(cls, codes: NDArray[np.integer], log_unit: Array | None = None) -> Entries:
        """Return entries with these tokens, without a place on a line."""
        zeros = np.zeros(len(codes))
        return cls(codes.astype(np.int32), zeros, zeros, zeros, zeros if log_unit is None else log_unit)


@dataclass(frozen=True)
class Encoded:
    """n encoded rows of p parts.

    Attributes:
        codes: (n, p) int32, tokens; 0 if not observed, `IMPOSSIBLE` if the part cannot hold the entry.
        observed: (n, p), False for unknown entries.
        y: (n, p), the place on the part's line; 0 for labels.
        low, high: (n, p), the interval of y that the value stands for: for whole and rounded numbers, the rounding
            interval. low == high == y for unrounded real numbers and for point masses.
        log_unit: (n, p), nats to add for log p in the data's own units.
        other: (n,), True if a column that was constant in training has another value.

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

    def take(self, rows: NDArray[np.integer]) -> Encoded:
        """Return some of the rows.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).encode({"age": [31, 47], "smoker": ["yes", "no"]}).take(np.array([1])).codes.shape
            (1, 2)
        """
        return Encoded(*(getattr(self, field.name)[rows] for field in fields(self)))


# --- Conditions on the columns of a table, and the tokens that they allow -------------------------------------------
#
#     {"age": 40, "city": {"Graz", "Wien"}, "price": (None, 500), "pace": Not(Between(3, 4)), "rent": None}
#
# A value is known and stays visible to the network. Any other condition is a set of values: allowed tokens, and an
# interval of y.


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
    """An interval from `low` to `high`, both included; None for an open end.

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
class Not:
    """The entry has a value, which does not meet another condition, or does not equal this value.

    So p(A) + p(Not(A)) + p(missing) = 1, and `Not(Missing())` means any value.

    Example:
        >>> from motes.tables import Between, Not
        >>> ages = table.sample(5, given={"age": Not(Between(30, 50))})["age"]
        >>> all(not 30 <= age <= 50 for age in ages)
        True
    """

    condition: Any

    def __str__(self) -> str:
        return f"not {self.condition}"


Condition = Among | Between | Not | Missing
SetOfValues = Among | Between | Not  # conditions that a column kind accepts


class Restriction:
    """The restriction of the q parts of one column to a condition; this class restricts nothing."""

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask | None:
        """Return the allowed tokens of a part, (K,) or (n, K), given tokens and places of earlier parts, (n, part).

        None allows all tokens.
        """
        return None

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        """Return the ends of y within the allowed tokens, two numbers or two arrays (n,); infinite for an open end.

        For several intervals, return the first and the last end; `holds` decides about values in between.
        """
        return -np.inf, np.inf

    def holds(self, codes: Codes, y: Array) -> Mask:
        """Return whether entries with these tokens and places (n, q) meet the condition, (n,)."""
        return np.ones(len(codes), bool)

    def shares(self) -> Array | None:
        """Return the allowed share of each token, (K,), if a token stands for several labels; None for all of each."""
        return None

    def among(self, weights: Array) -> Array:
        """Return the weights of the labels that share a token, (..., l), with 0 for labels that are not allowed."""
        return weights


@dataclass(frozen=True)
class WithMissing(Restriction):
    """The restriction of a column whose first part has a token for missing entries, the last one.

    Attributes:
        inner: restriction of the values.
        count: number of their tokens in the first part.
        missing: whether only missing entries are allowed.
    """

    inner: Restriction
    count: int
    missing: bool = False

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask | None:
        values = self.inner.allowed(part, self._values(codes), y)
        if part:
            return values
        values = np.full(self.count, not self.missing) if values is None else values
        return np.concatenate([values, np.full((*values.shape[:-1], 1), self.missing)], axis=-1)

    def interval(self, part: int, codes: Codes, y: Array) -> tuple[Any, Any]:
        return self.inner.interval(part, self._values(codes), y)

    def holds(self, codes: Codes, y: Array) -> Mask:
        gone = codes[:, 0] >= self.count
        return gone if self.missing else ~gone & self.inner.holds(self._values(codes), y)

    def _values(self, codes: Codes) -> Codes:
        """Replace the token of missing entries, which `inner` does not know, by another one."""
        made = np.array(codes)
        made[:, :1] = np.minimum(codes[:, :1], self.count - 1)
        return made

    def shares(self) -> Array | None:
        inner = self.inner.shares()
        return None if inner is None else np.append(inner, 0.0)

    def among(self, weights: Array) -> Array:
        return self.inner.among(weights)
