"""The patterns of entries that are missing together: a mixture of independent columns.

    P(m) = sum over components c of w_c  product over columns j of r_cj^m_j (1 - r_cj)^(1 - m_j)

A pattern that several training rows share is a component of its own, with rates r of 0 and 1. One more component covers
all other patterns: its columns are missing independently of each other. Half a row is reserved for unseen patterns. So
each column is missing as often as in the training rows, however rarely.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motes.tables.parts import Array, Mask

PATTERNS = 31  # maximum number of patterns with a component of their own
SEVERAL = 2  # minimum number of rows that share such a pattern
HALF_ROW = 0.5  # rows reserved for unseen patterns


@dataclass(frozen=True, eq=False)
class MissingPatterns:
    """The mixture of missing patterns.

    Attributes:
        weights: w, (C,); they sum to 1.
        rates: r, (C, q), for all columns that vary; 0 if the column's missing entries have no token.
    """

    weights: Array
    rates: Array

    @classmethod
    def none(cls, columns: int) -> MissingPatterns:
        """Return the patterns of columns without missing entries."""
        return cls(np.ones(1), np.zeros((1, columns)))

    @classmethod
    def fit(cls, missing: Mask, weights: Array) -> MissingPatterns:
        """Fit the patterns of rows with `missing` entries (n, q) and sample weights (n,)."""
        if not missing.any():
            return cls.none(missing.shape[1])
        packed, which = np.unique(np.packbits(missing, axis=1), axis=0, return_inverse=True)
        patterns = np.unpackbits(packed, axis=1, count=missing.shape[1]).astype(np.float64)
        rows = np.bincount(which.ravel(), weights, len(patterns))
        most = np.argsort(-rows, kind="stable")[:PATTERNS]
        own = most[rows[most] >= SEVERAL]
        others = rows.copy()
        others[own] = 0.0
        rest = others.sum() + HALF_ROW
        overall = rows @ patterns / rows.sum()
        rates = np.vstack([patterns[own], (others @ patterns + HALF_ROW * overall) / rest])
        shares = np.append(rows[own], rest)
        return cls(shares / shares.sum(), rates)
