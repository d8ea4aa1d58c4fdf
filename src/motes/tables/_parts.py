"""What a network knows of a table: p parts, each of K codes, and rows as codes with their places on a line.

    log p(value) = log p(code) + log (mass of [low, high] within the code) + log_unit

or, where low == high and the code has a width, + log (density at y within the code) + log_unit. Most columns of a table
are one part. A date is several, of which the first is the coarsest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.int32]
Mask = NDArray[np.bool_]

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
        ordered: the order of the codes means something (but for the missing one).
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
    ordered: bool = False
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
