"""The rules between columns as a part of a model's distribution.

    m(x) = (1 - e) p(x) f(x) / Z + e p(x),    f(x) = product over rules i of f_i(case of x),    Z = E_p f

p is the network's distribution. A rule (an inequality, an exact relation, or a label that follows from another one)
sorts rows into cases; case 0 breaks the rule. The factors f_i are chosen so that each case has its share of the
training rows (iterative proportional fitting: Deming & Stephan 1940), over the cases of rows drawn from p after
training. f_i is 0 for exceptions to a rule without exceptions. The share e = 1 / (training rows + 1) leaves a
probability for later rows that break such a rule; no synthetic row does.

For a row with missing entries, f and Z include only the rules whose columns are all known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Encoded, Mask
from motes.tables.relations import Rule
from motes.tables.schema import Schema

HALF = 0.5  # added to the number of breaches observed and expected, since small numbers are noisy
STRAIGHT = 0.98  # share of accepted rows, from which the shares of tokens count as unchanged
ROUNDS = 20  # rounds of iterative proportional fitting
MOST = 2.5  # maximum factor by which the cases of all rules together become more frequent than without rules


class Side(NamedTuple):
    """The entries of one column of a rule, (n,) each.

    Attributes:
        values: numbers, microseconds of dates, or indices of labels; NaN if the entry is missing.
        known: whether the entry is known; a missing entry with a token of its own is known.
    """

    values: Array
    known: Mask

    def at(self, rows: NDArray[np.integer]) -> "Side":
        """Return some of the rows."""
        return Side(self.values[rows], self.known[rows])


RuleSides = Mapping[str, Side]


@dataclass(frozen=True, eq=False)
class Constraint:
    """The rules, and how often rows drawn from the network's distribution fall into each case; by default, no rules.

    Attributes:
        rules: the k rules.
        patterns: (r, k), the distinct combinations of cases among the drawn rows.
        counts: (r,), number of drawn rows with each combination.
        loose: e, the weight of the term without rules.
    """

    rules: tuple[Rule, ...] = ()
    patterns: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), np.int32))
    counts: NDArray[np.integer] = field(default_factory=lambda: np.zeros(0, np.int64))
    loose: float = 0.0

    @classmethod
    def of(
        cls, rules: tuple[Rule, ...], patterns: NDArray[np.integer], counts: NDArray[np.integer], rows: int
    ) -> "Constraint":
        """Return the constraint given the cases of drawn rows and the number of training `rows`."""
        return cls(rules, patterns.astype(np.int32), counts, 1 / (rows + 1)) if rules else cls()

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the rules."""
        return columns_of(self.rules)

    @property
    def words(self) -> str:
        """All rules in words, such as "start <= end in all rows, low <= high in nearly all rows"."""
        return ", ".join(rule.words for rule in self.rules)

    def without(self, which: Mask) -> "Constraint":
        """Return the constraint without some rules (k,)."""
        left = tuple(rule for rule, out in zip(self.rules, which, strict=True) if not out)
        return replace(self, rules=left, patterns=self.patterns[:, ~which])

    @property
    def bends(self) -> bool:
        """Whether rejection removes enough rows of p to change the shares of tokens."""
        return bool(self.rules) and self.log_share(np.ones(len(self.rules), bool)) < np.log(STRAIGHT)

    @cached_property
    def factors(self) -> list[Array]:
        """The factors f_i of the cases of each rule; the last one, 1, is for rows with a missing entry, in case -1."""
        made = [np.append(float(rule.shares[0] > 0), np.ones(len(rule.shares))) for rule in self.rules]
        most = MOST ** (1 / max(sum(len(rule.shares) > 2 for rule in self.rules), 1))
        for _ in range(ROUNDS):
            for i, rule in enumerate(self.rules):
                weights = self.counts * np.exp(self._log_f(made, self.patterns))
                here = self.patterns[:, i] >= 0
                now = np.bincount(self.patterns[here, i], weights[here], len(rule.shares)).astype(np.float64)
                made[i][:-1] = _update_factors(made[i][:-1], now, np.array(rule.shares), most)
        return made

    def _log_f(self, factors: list[Array], cases: NDArray[np.integer], known: Mask | None = None) -> Array:
        """Compute log f of rows with these cases (n, k), from the `known` rules (k,)."""
        total = np.zeros(len(cases))
        with np.errstate(divide="ignore"):
            for i, factor in enumerate(factors):
                if known is None or known[i]:
                    total += np.log(factor)[cases[:, i]]
        return total

    def log_weights(self, cases: NDArray[np.integer]) -> Array:
        """Compute log f of rows with these cases (n, k)."""
        return self._log_f(self.factors, cases)

    def log_share(self, which: Mask) -> float:
        """Compute log Z for some rules `which` (k,); without exceptions, Z is the share of p that obeys them."""
        weights = np.exp(self._log_f(self.factors, self.patterns, which))
        return float(np.log(self.counts @ weights / self.counts.sum()))

    def log_factor(self, sides: RuleSides) -> Array:
        """Compute log m(x) - log p(x) of rows, (n,)."""
        cases = cases_of(self.rules, sides)
        known = np.stack([np.all([sides[column].known for column in rule.columns], axis=0) for rule in self.rules], 1)
        distinct, place = np.unique(known, axis=0, return_inverse=True)
        log_kept = np.zeros(len(cases))  # log(f(x) / Z)
        for number, which in enumerate(distinct):
            here = place.ravel() == number
            log_kept[here] = self._log_f(self.factors, cases[here], which) - self.log_share(which)
        return np.logaddexp(np.log1p(-self.loose) + log_kept, np.log(self.loose))

    def accepted(self, sides: RuleSides, hopeless: bool | Mask, seed: int, number: int) -> Mask:
        """Return which candidates from p rejection accepts, so that they are draws from p f / Z, (n,).

        Args:
            sides: columns of complete rows.
            hopeless: rows whose known values break a rule without exceptions, for which any candidate is accepted.
            seed, number: seed and block number of the random numbers.
        """
        log_weights = self.log_weights(cases_of(self.rules, sides))
        most = sum(float(np.log(factor.max())) for factor in self.factors)
        u = np.random.default_rng([seed, 602214, number]).random(len(log_weights))
        return np.logical_or(u < np.exp(log_weights - most), hopeless)

    def broken(self, sides: RuleSides) -> Mask:
        """Return the rows (n,) whose known entries break a rule without exceptions."""
        strict = [rule.shares[0] == 0 for rule in self.rules]  # without exceptions in the training rows
        return np.logical_or.reduce(broken_by(self.rules, sides) & np.array(strict, bool), axis=1)

    def reweighted(self, draws: NDArray[Any], sides: RuleSides, column: str) -> NDArray[Any]:
        """Turn draws of one column given the others from p into draws from p f / Z.

        Each row's draws are resampled by their weights f; in most rows all weights are equal.

        Args:
            draws: (n, r), r draws for each row.
            sides: the other columns, (n,) each.
            column: name of the drawn column.
        """
        r, made = draws.shape[1], draws.copy()
        weights = self.weights(draws, sides, column)
        for row in np.flatnonzero(np.ptp(weights, axis=1) > 0):
            order = np.argsort(draws[row], kind="stable")
            upto = np.cumsum(weights[row, order])
            chosen = np.searchsorted(upto, (np.arange(r) + 0.5) / r * upto[-1])
            made[row] = draws[row, order[np.minimum(chosen, r - 1)]]
        return made

    def weights(self, values: NDArray[Any], sides: RuleSides, column: str) -> Array:
        """Compute f for each of some values of one column in each row, (n, r); arguments as in `reweighted`.

        f is 1 in a row in which each of the values breaks a rule without exceptions.
        """
        n, r = values.shape
        whole = {name: side.at(np.repeat(np.arange(n), r)) for name, side in sides.items()}
        whole[column] = Side(values.ravel().astype(np.float64), np.ones(n * r, bool))
        found = np.exp(self.log_weights(cases_of(self.rules, whole))).reshape(n, r)
        return np.where(found.any(axis=1, keepdims=True), found, 1.0)


def _update_factors(factor: Array, now: Array, shares: Array, most: float) -> Array:
    """Update f_i (c,) so that cases with the weights `now` (c,) get the `shares` (c,), within limits.

    A rule is never broken more often than without it, and no case becomes so frequent that rejection is slow.
    """
    kept = now[1:].sum()
    if not kept:
        return factor
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.where(now > 0, shares / now * kept / shares[1:].sum(), 1.0)
    made = factor * times
    made[1:] = np.minimum(made[1:], most * (now[1:] / kept) @ made[1:]) if len(made) > 2 else 1.0
    if shares[0]:
        breaches = now[0] / factor[0], shares[0] * kept / shares[1:].sum()  # under p, and expected
        made[0] = min((breaches[1] + HALF) / (breaches[0] + HALF), 1.0)
    return made


def columns_of(rules: Sequence[Rule]) -> tuple[str, ...]:
    """Return the columns of some rules, each once."""
    return tuple(dict.fromkeys(column for rule in rules for column in rule.columns))


def cases_of(rules: Sequence[Rule], sides: RuleSides) -> NDArray[np.integer]:
    """Return the case of each row under each rule, (n, k)."""
    values = {column: side.values for column, side in sides.items()}
    return np.stack([rule.cases(values) for rule in rules], axis=1)


def broken_by(rules: Sequence[Rule], sides: RuleSides) -> Mask:
    """Return which rows break which rule, (n, k); a missing entry or an absent column breaks none."""
    nothing = np.full(len(next(iter(sides.values())).values), np.nan)
    absent = {column: Side(nothing, nothing > 0) for column in columns_of(rules) if column not in sides}
    return cases_of(rules, {**sides, **absent}) == 0


def observed_sides(schema: Schema, columns: Sequence[str], frame: Frame, encoded: Encoded) -> dict[str, Side]:
    """Return some columns of the rows `frame` and their encoding; an impossible entry is not known."""
    made = {}
    for column in columns:
        series, at = frame.columns[column], schema.parts_of(column)
        values = np.full(len(frame), np.nan)
        if not series.missing.all():  # a column without an observed entry has no type
            values[~series.missing] = schema.kind_of(column).read(series, "the data")
        known = encoded.observed[:, at.start] & (encoded.codes[:, at] != IMPOSSIBLE).all(axis=1)
        made[column] = Side(np.where(known, values, np.nan), known)
    return made


def drawn_sides(schema: Schema, columns: Sequence[str], codes: Codes, y: Array, u: Array) -> dict[str, Side]:
    """Return some columns of drawn rows, from arrays (n, p) for `Schema.decode`."""
    made = {}
    for column in columns:
        at = schema.parts_of(column)
        kind, first = schema.kind_of(column), schema.parts[at.start]
        gone = (codes[:, at.start] == first.count - 1) & first.missing
        mine = np.where(gone[:, None], 0, codes[:, at])
        values = kind.decode(mine, np.where(gone[:, None], 0.0, y[:, at]), u[:, at])
        made[column] = Side(np.where(gone, np.nan, values.astype(np.float64)), np.ones(len(codes), bool))
    return made
