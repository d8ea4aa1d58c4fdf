"""Columns of labels that follow from another one: of all of its labels, or of some.

    x_b = f(x_a)    for each label in the domain of f, in all rows that hold it or nearly all, and not by chance

All labels of a are in the domain of a functional dependency (a model of car has one maker). Otherwise those are that
many rows hold: all Gentoo penguins live on Biscoe.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.tables._parts import Array
from motes.tables._relations import BROKEN, FEWER, few_of_each
from motes.tables.kinds._base import Kind
from motes.tables.kinds._labels import Categorical, Ordered

LOOKED = 100_000  # rows in which dependencies are looked for; all rows check what was found there
LARGEST = 2_000_000  # pairs of labels of two columns, at most
SEVERAL = 12.0  # labels that would be with several others by chance, at least, where none is
SURE = 20.0  # nats by which the rows of one label are rarer by chance, at least
SHARE = 0.02  # of the rows, at least, that hold a label of the domain
ROWS = 10  # of one label, at least
MOST = 0.05  # of the rows of one label, at most, break a dependency; of all rows BROKEN
TARGETS = 8  # labels that a message shows, at most
TINY = 1e-300  # a share that is none

Codes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Dependency:
    """A column that follows from another one.

    Attributes:
        given: the column a.
        column: the column b, which follows.
        codes: (K_a,), f: the code of b for each code of a; -1 outside the domain.
        rows: of the training, that hold a label in the domain,
        broken: how many of them have another label of b,
        total: and how many rows there were.
        words: the dependency as a sentence.
    """

    given: str
    column: str
    codes: Codes
    rows: int
    broken: int
    total: int
    words: str

    @property
    def share(self) -> float:
        """Of the rows in the domain in which it holds, with half a row against it."""
        return (self.rows - self.broken + 0.5) / (self.rows + 1)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of all training rows that break it, and that keep it."""
        return (self.broken / self.total, 1 - self.broken / self.total)

    def cases(self, values: Mapping[str, Array]) -> NDArray[np.integer]:
        """0 where it is broken, otherwise 1, by the places of the labels, NaN where they are missing, (n,)."""
        given, column = (np.nan_to_num(values[name], nan=-1).astype(np.int64) for name in self.columns)
        follows = np.append(self.codes, -1)[np.where(given < len(self.codes), given, -1)]
        return np.where((follows >= 0) & (column >= 0) & (column != follows), 0, 1)

    @property
    def columns(self) -> tuple[str, str]:
        """Both columns."""
        return self.given, self.column

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that it gives."""
        return (self.column,)


def dependencies_in(frame: Frame, kinds: Sequence[Kind], seed: int = 0) -> tuple[Dependency, ...]:
    """The dependencies between the columns of labels of a table, those of the most rows first.

    Args:
        frame: n training rows.
        kinds: of its columns.
        seed: of the rows that are looked at first.
    """
    some = [kind for kind in kinds if isinstance(kind, Categorical) and not isinstance(kind, Ordered)]
    codes = {kind.column: _codes(frame, kind) for kind in some}
    order = np.random.default_rng([seed, 161803]).permutation(len(frame))
    made = (_looked_for(a, b, codes[a.column], codes[b.column], order) for a, b in permutations(some, 2))
    found = [one for one in made if one is not None]
    return tuple(few_of_each(sorted(found, key=lambda one: -one.rows)))


def _codes(frame: Frame, kind: Categorical) -> Codes:
    """(n,), -1 where the entry is missing or shares a code with other rare labels."""
    series = frame.columns[kind.column]
    made = np.full(len(frame), -1, np.int32)
    entries = kind.encode(kind.read(series, "the data"))[0].codes
    made[~series.missing] = np.where(entries < kind.own, entries, -1)
    return made


def _looked_for(a: Categorical, b: Categorical, x: Codes, y: Codes, order: NDArray[np.integer]) -> Dependency | None:
    """How b follows from a, if it does."""
    if not 0 < a.own * b.own <= LARGEST:  # 0: all labels of a column are rare, and share one code
        return None
    counts = _counts(x, y, order[:LOOKED], a.own, b.own)
    domain = _domain(counts, MOST)
    if len(order) > LOOKED and domain.any():
        counts = _counts(x, y, order, a.own, b.own)
        domain &= _domain(counts, MOST)
    if (counts.sum(1) - counts.max(1))[domain].sum() > BROKEN * len(order):
        domain = _domain(counts, 0.0)
    rows = int(counts[domain].sum())
    if rows <= SHARE * len(order):
        return None
    broken = rows - int(counts[domain].max(axis=1).sum())
    codes = np.where(domain, counts.argmax(axis=1), -1).astype(np.int32)
    everywhere = bool((domain | (counts.sum(1) == 0)).all())
    words = _words(a, b, codes, everywhere) + (" in nearly all rows" if broken else "")
    return Dependency(a.column, b.column, codes, rows, broken, len(order), words)


def _counts(x: Codes, y: Codes, rows: NDArray[np.integer], k: int, m: int) -> NDArray[np.int64]:
    """How many rows hold each pair of codes, (k, m)."""
    x, y = x[rows], y[rows]
    known = (x >= 0) & (y >= 0)
    return np.bincount(x[known].astype(np.int64) * m + y[known], minlength=k * m).reshape(k, m)


def _domain(counts: NDArray[np.int64], most: float) -> NDArray[np.bool_]:
    """Of which labels (k,) the other column follows, by how many rows hold each pair (k, m)."""
    total, largest = counts.sum(1), counts.max(1)
    shares = counts.sum(0) / max(int(counts.sum()), 1)
    usual = shares[counts.argmax(1)]
    # Of all rows with the label, or all but a few, which are far fewer than chance would bring about.
    alone = (total > 0) & (total - largest <= np.minimum(most, (1 - usual) / FEWER) * total)
    if alone.sum() == (total > 0).sum() and (shares > 0).sum() > 1:
        size, how_many = np.unique(total[total > 0], return_counts=True)
        agree = (shares[:, None] ** size).sum(0)  # the chance that so many rows have one label of b
        if (how_many * (1 - agree)).sum() >= SEVERAL:
            return alone
    return alone & (total >= ROWS) & (-largest * np.log(np.maximum(usual, TINY)) >= SURE)


def _words(a: Categorical, b: Categorical, codes: Codes, everywhere: bool) -> str:
    """The dependency as a sentence."""
    if everywhere:
        return f"{b.column} follows from {a.column}"
    here = np.flatnonzero(codes >= 0)
    cases = [f"{b.labels[codes[k]]} where {a.column} is {a.labels[k]}" for k in here[:TARGETS]]
    more = f", and so on for {len(here) - TARGETS:,} more" if len(here) > TARGETS else ""
    return f"{b.column} is {', '.join(cases)}{more}"
