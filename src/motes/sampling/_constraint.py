"""The inequalities between columns as a part of a model's distribution.

    m(x) = (1 - e) p(x) [x keeps C] / P(C) + e p(x)

p is the network's distribution, and C means that all inequalities hold. P(C) is the share of rows drawn from p that
keep C; it is estimated after the training. The share e = 1 / (training rows + 1) leaves a probability to later
rows that break C.

Of a row with missing entries, C means the inequalities of which both columns are known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.sampling._rows import Block, draw_block, in_turn
from motes.sampling._unmasking import Unmasker
from motes.tables._parts import IMPOSSIBLE, Array, Codes, Encoded, Mask
from motes.tables._relations import Inequality
from motes.tables._schema import Schema

DRAWN = 4096, 32_768  # rows for P(C), at least and at most: at 0.98 its log has a standard error of 0.002 and 0.0008
FOR_EACH = 16  # of them for each training row, between these two
PRIOR = 10.0  # rows that say of a code that C does not change its share
LEAST = 0.05  # of P(C): each requested row takes 1 / P(C) draws


class Side(NamedTuple):
    """A column of an inequality, (n,) each.

    Attributes:
        values: numbers, or microseconds of dates; NaN where the entry is missing.
        known: where something is known of the entry: a missing one with a code of its own is known.
    """

    values: Array
    known: Mask

    def at(self, rows: NDArray[np.integer]) -> "Side":
        """Some rows of it."""
        return Side(self.values[rows], self.known[rows])


Sides = Mapping[str, Side]


@dataclass(frozen=True, eq=False)
class Constraint:
    """C, and how often rows drawn from the network's distribution keep it.

    Attributes:
        inequalities: k of them.
        patterns: (r, k), the distinct rows of the table that says which drawn row breaks which inequality.
        counts: (r,), how many drawn rows have each pattern.
        loose: e, the weight of the part without C.
    """

    inequalities: tuple[Inequality, ...]
    patterns: Mask
    counts: NDArray[np.integer]
    loose: float

    @classmethod
    def of(cls, schema: Schema, broken: Mask) -> "Constraint":
        """By which inequalities of a schema drawn rows break, (n, k)."""
        return cls.counted(schema, *np.unique(broken, axis=0, return_counts=True))

    @classmethod
    def counted(cls, schema: Schema, patterns: Mask, counts: NDArray[np.integer]) -> "Constraint":
        """By the distinct patterns of the drawn rows."""
        return cls(schema.inequalities, patterns, counts, 1 / (schema.rows + 1))

    @classmethod
    def none(cls) -> "Constraint":
        """Without inequalities: m = p."""
        return cls((), np.zeros((0, 0), bool), np.zeros(0, np.int64), 0.0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the inequalities."""
        return columns_of(self.inequalities)

    @property
    def words(self) -> str:
        """All inequalities, such as "start <= end, low <= high"."""
        return ", ".join(f"{one.low} <= {one.high}" for one in self.inequalities)

    def log_share(self, which: Mask) -> float:
        """log P that a row keeps all of some inequalities `which` (k,)."""
        kept = ~self.patterns[:, which].any(axis=1)
        return float(np.log(self.counts[kept].sum() / self.counts.sum()))

    def log_kept(self, which: Mask) -> float:
        """log m(x) - log p(x) of a row that keeps the inequalities `which` (k,), of which both columns are known."""
        return float(np.logaddexp(np.log1p(-self.loose) - self.log_share(which), np.log(self.loose)))

    def log_factor(self, sides: Sides) -> Array:
        """log m(x) - log p(x) of rows, (n,)."""
        broken, known = broken_by(self.inequalities, sides), _known_by(self.inequalities, sides)
        distinct, place = np.unique(known, axis=0, return_inverse=True)
        kept = np.array([self.log_kept(which) for which in distinct])
        return np.where(broken.any(axis=1), np.log(self.loose), kept[place.ravel()])

    def accepted(self, sides: Sides, hopeless: bool | Mask, u: Array) -> Mask:
        """Which candidates from p rejection accepts, so that they become rows of m; (n,).

        Args:
            sides: of complete rows.
            hopeless: where the known values break C, so that m is e p whatever is drawn.
            u: (n,), uniform numbers.
        """
        return u < np.exp(self.log_factor(sides) - self._most(hopeless))

    def _most(self, hopeless: bool | Mask) -> Array:
        """log of the largest m / p of a complete row."""
        every = np.ones(len(self.inequalities), bool)
        return np.where(hopeless, np.log(self.loose), self.log_kept(every))

    def thinned(self, block: Block, schema: Schema, known: Sides, seed: int, number: int) -> tuple[Block, float]:
        """The rows of a block that rejection accepts, and log of the mean of m(x) / p(x) over all of its rows.

        Args:
            block: candidates from p, under conditions or without.
            schema: of the table.
            known: columns whose value is given, (1,) each.
            seed, number: of the random numbers.
        """
        n = len(block.codes)
        drawn = drawn_sides(schema, self.columns, block.codes, block.y, block.u)
        given = {column: side.at(np.zeros(n, np.intp)) for column, side in known.items()}
        hopeless = self.breaks(known)
        here = self.accepted({**drawn, **given}, hopeless, np.random.default_rng([seed, 602214, number]).random(n))
        with np.errstate(divide="ignore"):
            log_mean = np.log(here.mean())
        left = Block(block.codes[here], block.y[here], block.u[here], block.log_weights[here])
        return left, float(self._most(hopeless) + log_mean)

    def breaks(self, known: Sides) -> bool:
        """Whether given values, (1,) of each column, break C."""
        some = tuple(one for one in self.inequalities if one.low in known and one.high in known)
        return bool(broken_by(some, known).any())

    def reweighted(self, draws: NDArray[Any], sides: Sides, column: str) -> NDArray[Any]:
        """Draws of one column from p given the others, as draws from m.

        Each row's draws are resampled by their weights m / p, which are the same for all of them in most rows.

        Args:
            draws: (n, r), r of each row.
            sides: of the other columns, (n,) each.
            column: whose draws they are.
        """
        n, r = draws.shape
        whole = {name: side.at(np.repeat(np.arange(n), r)) for name, side in sides.items()}
        whole[column] = Side(draws.ravel().astype(np.float64), np.ones(n * r, bool))
        log_factor = self.log_factor(whole).reshape(n, r)
        made = draws.copy()
        for row in np.flatnonzero(np.ptp(log_factor, axis=1) > 0):
            order = np.argsort(draws[row], kind="stable")
            upto = np.cumsum(np.exp(log_factor[row, order] - log_factor[row].max()))
            chosen = np.searchsorted(upto, (np.arange(r) + 0.5) / r * upto[-1])
            made[row] = draws[row, order[np.minimum(chosen, r - 1)]]
        return made


def columns_of(inequalities: Sequence[Inequality]) -> tuple[str, ...]:
    """The columns of some inequalities, each once."""
    return tuple(dict.fromkeys(column for one in inequalities for column in (one.low, one.high)))


def broken_by(inequalities: Sequence[Inequality], sides: Sides) -> Mask:
    """Which rows break which inequality, (n, k); a missing entry breaks none."""
    return _of_each([sides[one.high].values < sides[one.low].values for one in inequalities], sides)


def _known_by(inequalities: Sequence[Inequality], sides: Sides) -> Mask:
    """Of which inequalities (n, k) both columns are known."""
    return _of_each([sides[one.low].known & sides[one.high].known for one in inequalities], sides)


def _of_each(columns: list[Mask], sides: Sides) -> Mask:
    n = len(next(iter(sides.values())).values) if sides else 0
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0), bool)


def observed_sides(schema: Schema, columns: Sequence[str], frame: Frame, encoded: Encoded) -> dict[str, Side]:
    """Some columns of rows of a schema, `frame`, that are `encoded`; an impossible entry is not known."""
    made = {}
    for column in columns:
        series, at = frame.columns[column], schema.parts_of(column)
        values = np.full(len(frame), np.nan)
        values[~series.missing] = schema.kinds[schema.learned.index(column)].read(series, "the data")
        known = encoded.observed[:, at.start] & (encoded.codes[:, at] != IMPOSSIBLE).all(axis=1)
        made[column] = Side(np.where(known, values, np.nan), known)
    return made


def drawn_sides(schema: Schema, columns: Sequence[str], codes: Codes, y: Array, u: Array) -> dict[str, Side]:
    """Some columns of drawn rows, (n, p) for `Schema.decode`."""
    made = {}
    for column in columns:
        at = schema.parts_of(column)
        kind, first = schema.kinds[schema.learned.index(column)], schema.parts[at.start]
        gone = (codes[:, at.start] == first.count - 1) & first.missing
        mine = np.where(gone[:, None], 0, codes[:, at])
        values = kind.decode(mine, np.where(gone[:, None], 0.0, y[:, at]), u[:, at])
        made[column] = Side(np.where(gone, np.nan, values.astype(np.float64)), np.ones(len(codes), bool))
    return made


class Estimate(NamedTuple):
    """What rows drawn from a trained model say of the inequalities.

    Attributes:
        schema: with the inequalities that the model can keep.
        constraint: of these.
        changes: for each part (K,), how many times as frequent each code is among rows that keep C.
    """

    schema: Schema
    constraint: Constraint
    changes: list[Array]


def estimated(unmasker: Unmasker, schema: Schema, size: int, seed: int) -> Estimate:
    """The constraint of a trained model.

    So that P(C) is at least `LEAST`, the inequality that most of the drawn rows break is left out, as often as needed.

    Args:
        unmasker: the network's distribution p.
        schema: of the table.
        size: rows of a compiled program that is there already.
        seed: of the draws.
    """
    if not schema.inequalities:
        return Estimate(schema, Constraint.none(), [np.ones(part.count) for part in schema.parts])
    # log p of a row counts numbers beyond the observed range, so that P(C) has to count them, too.
    whole = replace(unmasker, ranges=[None] * unmasker.layout.parts)
    word = int(np.random.SeedSequence([seed, 667430]).generate_state(1)[0])
    columns, rows = columns_of(schema.inequalities), int(np.clip(FOR_EACH * schema.rows, *DRAWN))

    def work(number: int) -> tuple[Codes, Mask]:
        block = draw_block(whole, schema, size, word, number)
        sides = drawn_sides(schema, columns, block.codes, block.y, block.u)
        return block.codes, broken_by(schema.inequalities, sides)

    codes, broken = map(np.concatenate, zip(*in_turn(work, -(-rows // size)), strict=True))
    while (~broken.any(axis=1)).mean() < LEAST:
        most = int(broken.mean(axis=0).argmax())
        left = (*schema.inequalities[:most], *schema.inequalities[most + 1 :])
        schema, broken = replace(schema, inequalities=left), np.delete(broken, most, axis=1)
    kept = ~np.any(broken, axis=1)
    changes = [_change(codes[:, j], kept, part.count) for j, part in enumerate(schema.parts)]
    return Estimate(schema, Constraint.of(schema, broken) if schema.inequalities else Constraint.none(), changes)


def _change(codes: Codes, kept: Mask, count: int) -> Array:
    """How many times as frequent each of so many codes (n,) is among the rows `kept`, (count,)."""
    before, after = (np.bincount(some, minlength=count) for some in (codes, codes[kept]))
    share = kept.mean()
    return (after / share + PRIOR) / (before + PRIOR)
