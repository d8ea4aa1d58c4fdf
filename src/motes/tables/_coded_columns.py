"""One column that varies <-> the codes of its parts, of which missing entries may have one of their own.

The first part then has the K codes of its kind, 0 to K - 1, and the code K for a missing entry.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from motes.data._series import Series
from motes.errors import DataError, UsageError
from motes.tables._conditions import Condition, Missing, Not, NotMissing, Presence, Restriction, WithMissing
from motes.tables._parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part
from motes.tables.kinds._base import Kind, shown


@dataclass(frozen=True)
class CodedColumn:
    """A column kind and its missing entries.

    Attributes:
        kind: of the entries that have a value.
        missing_share: of the training rows, where missing entries have a code; 0: they have none.
    """

    kind: Kind
    missing_share: float

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts, q of them; the first has the code for missing entries, if there is one."""
        first, *rest = self.kind.parts
        if share := self.missing_share:
            first = replace(first, masses=np.append(first.masses * (1 - share), share), missing=True)
        return first, *rest

    @property
    def missing_code(self) -> int | None:
        """Of the first part; None: missing entries have no code."""
        return self.parts[0].count - 1 if self.missing_share else None

    @property
    def becomes(self) -> str:
        """What the column is for the network, in words."""
        return self.kind.becomes + (", missing" if self.missing_share else "")

    def encode(self, series: Series, name: str, *, refuse: bool) -> list[Entries]:
        """The entries that are not missing, (m,) of each part; codes are `IMPOSSIBLE` where the column cannot hold one.

        Raises:
            DataError: with `refuse` in place of such a code; the message names the row.
        """
        entries = self.kind.encode(self.kind.read(series, name))
        if refuse:
            for part in entries:
                if len(part.codes) and part.codes.min() == IMPOSSIBLE:
                    place = int(np.argmax(part.codes == IMPOSSIBLE))
                    raise self._refused(series, int(np.flatnonzero(~series.missing)[place]), name)
        return entries

    def _refused(self, series: Series, row: int, name: str) -> DataError:
        got, expected = shown(series, row), self.kind.expected(series.values[row])
        return DataError(f"{name}, row {row + 1}, column '{self.kind.column}': got {got}; expected {expected}.")

    def decode(self, codes: Codes, y: Array, u: Array, gone: Mask) -> Series:
        """Codes, places and uniform numbers (n, q) -> n entries, missing where `gone` (n,) or where the code says so.

        Raises:
            DataError: a code that there is not, or a place that is NaN.
        """
        if self.missing_share:
            gone = gone | (codes[:, 0] == self.missing_code)
        if gone.any():
            codes = np.where(gone[:, None], 0, codes)
        self._check(codes, y, gone)
        return self.kind.series(self.kind.decode(codes, np.where(gone[:, None], 0.0, y), u), gone)

    def _check(self, codes: Codes, y: Array, gone: Mask) -> None:
        for j, part in enumerate(self.parts):
            most = part.count - part.missing
            if len(codes) and (codes[:, j].min() < 0 or codes[:, j].max() >= most):
                row = int(np.argmax((codes[:, j] < 0) | (codes[:, j] >= most)))
                raise DataError(f"row {row + 1}, '{part.name}': got code {codes[row, j]}; expected 0 to {most - 1}.")
            if part.smooth and np.isnan(y[~gone, j].sum()):
                row = int(np.argmax(np.isnan(y[:, j]) & ~gone))
                raise DataError(f"row {row + 1}, '{part.name}': got y = nan; expected a number.")

    def put(self, made: Series, series: Series, name: str) -> Series:
        """`made`, with the entries of `series` in their places, to the bit, where they are not missing.

        Raises:
            DataError: an entry that the column cannot hold.
        """
        self.encode(series, name, refuse=True)
        here = ~series.missing
        if not here.any():
            return made
        known = self.kind.read(series, name)
        values = np.array(made.values)
        values[here] = self.kind.series(known, np.zeros(len(known), bool)).values
        return replace(made, values=values, missing=made.missing & series.missing)

    def restrict(self, condition: Condition) -> Restriction:
        """What a condition leaves of the parts.

        Raises:
            DataError, UsageError: those of `Schema.restrict`.
        """
        counts, coded = tuple(part.count for part in self.kind.parts), bool(self.missing_share)
        if isinstance(condition, Not) and isinstance(condition.condition, Missing | NotMissing):
            condition = NotMissing() if isinstance(condition.condition, Missing) else Missing()
        if isinstance(condition, Missing) and not coded:
            raise UsageError(
                f"column '{self.kind.column}': missing entries were not learned, so that none can be requested. The "
                'training rows had none, or were learned with table.missing = "ignore". Leave the column out.'
            )
        if isinstance(condition, Missing | NotMissing):
            return Presence(counts, coded, missing=isinstance(condition, Missing))
        inner = self.kind.restrict(condition)
        return WithMissing(inner, counts[0]) if coded else inner
