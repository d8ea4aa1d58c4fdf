"""Which entries are missing together: a mixture of independent columns.

    P(m) = sum over components c of w_c  product over columns j of r_cj^m_j (1 - r_cj)^(1 - m_j)

A pattern that several training rows share is a component of its own, whose rates r are 0 and 1. One more component has
all other patterns: its columns are missing independently of each other. Half a row is left to patterns that no training
row has. So each column is missing as often as in the training, however rare that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from motes.tables.parts import Array, Mask

PATTERNS = 31  # that are components of their own, at most
SEVERAL = 2  # rows, at least, that share such a pattern
HALF_ROW = 0.5  # of patterns that no row has


@dataclass(frozen=True, eq=False)
class MissingPatterns:
    """The mixture of the module's equation.

    Attributes:
        weights: w, (C,); they sum to 1.
        rates: r, (C, q), of all columns that vary; 0 for a column whose missing entries have no code.
    """

    weights: Array
    rates: Array

    @classmethod
    def none(cls, columns: int) -> MissingPatterns:
        """Of columns without missing entries."""
        return cls(np.ones(1), np.zeros((1, columns)))

    @classmethod
    def fit(cls, missing: Mask, weights: Array) -> MissingPatterns:
        """Of rows whose entries are `missing` (n, q), and that stand for `weights` (n,) rows each."""
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
