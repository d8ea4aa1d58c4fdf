"""The rules between columns as a part of a model's distribution.

    m(x) = (1 - e) p(x) f(x) / Z + e p(x),    f(x) = product over rules i of f_i(case of x),    Z = E_p f

p is the network's distribution. A rule (an inequality, an exact relation, or a label that follows from another one)
sorts rows into cases; case 0 breaks the rule. The factors f_i are chosen so that each case has its share of the
training rows (iterative proportional fitting: Deming & Stephan 1940), over the cases of rows drawn from p after
training. f_i is 0 for exceptions to a rule without exceptions. The share e = 1 / (training rows + 1) leaves a
probability for later rows that break such a rule; no synthetic row does.

For a row with missing entries, f and Z include only the rules whose columns are all known.

A rule of a user has no exceptions, whatever the training rows say. If it determines a column given the columns before
it in the order, such as total == fee * seats, p has this value there: the column is solved instead of drawn.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.data.arrays import Series
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Encoded, Mask
from motes.tables.relations import Rule as FoundRule
from motes.tables.schema import Schema
from motes.tables.user_rules import BoundRule

HALF = 0.5  # added to the number of breaches observed and expected, since small numbers are noisy
STRAIGHT = 0.98  # share of accepted rows, from which the shares of tokens count as unchanged
ROUNDS = 20  # rounds of iterative proportional fitting
LEAST_OBEYING = 0.05  # minimum share of rows that obey the rules: each requested row takes 1 / share draws
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
Rule = FoundRule | BoundRule
UNKNOWN: RuleSides = {}  # no entry of a row is known


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
        """All rules in words, such as "total == fee * seats, low <= high in nearly all rows"."""
        return ", ".join(rule.words for rule in self.rules)

    def without(self, which: Mask) -> "Constraint":
        """Return the constraint without some rules (k,)."""
        left = tuple(rule for rule, out in zip(self.rules, which, strict=True) if not out)
        return replace(self, rules=left, patterns=self.patterns[:, ~which])

    @cached_property
    def stated(self) -> Mask:
        """Which rules are a user's, (k,)."""
        return np.array([isinstance(rule, BoundRule) for rule in self.rules], bool)

    @property
    def found(self) -> tuple[FoundRule, ...]:
        """The rules that were found in the training rows."""
        return tuple(rule for rule in self.rules if not isinstance(rule, BoundRule))

    @property
    def warnings(self) -> list[str]:
        """A warning for each rule of a user that hardly any row drawn from p obeys."""
        met = self.counts @ (self.patterns != 0) / max(int(self.counts.sum()), 1)
        return [
            f'only {share:.1%} of the rows that the network draws obey the rule "{rule.words}"; the others are drawn '
            "again, so sampling is slow, or impossible. Check the rule, or train longer."
            for rule, share, stated in zip(self.rules, met, self.stated, strict=True)
            if stated and share < LEAST_OBEYING
        ]

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

    def log_factor(self, sides: RuleSides, *, drawn: bool = False) -> Array:
        """Compute log m(x) - log p(x) of rows, (n,).

        Args:
            sides: columns of the rules.
            drawn: the rows were drawn in another order than the fixed one, in which a rule may determine another column
                and reject other rows. The rules that determine a column are then left out.
        """
        cases = cases_of(self.rules, sides)
        known = np.stack([np.all([sides[column].known for column in rule.columns], axis=0) for rule in self.rules], 1)
        if drawn:
            known &= ~np.array([isinstance(rule, BoundRule) and bool(rule.targets) for rule in self.rules], bool)
        distinct, place = np.unique(known, axis=0, return_inverse=True)
        log_kept = np.zeros(len(cases))  # log(f(x) / Z)
        for number, which in enumerate(distinct):
            here = place.ravel() == number
            log_kept[here] = self._log_f(self.factors, cases[here], which) - self.log_share(which)
        return np.logaddexp(np.log1p(-self.loose) + log_kept, np.log(self.loose))

    def accepted(self, sides: RuleSides, hopeless: Mask, seed: int, number: int) -> Mask:
        """Return which candidates from p rejection accepts, so that they are draws from p f / Z, (n,).

        Args:
            sides: columns of complete rows.
            hopeless: (n or 1, 2), rows whose known values break a found rule without exceptions, to which no found rule
                applies; and those that break a rule of a user, to which no rule of a user applies.
            seed, number: seed and block number of the random numbers.
        """
        cases = cases_of(self.rules, sides)
        log_weights = self._log_f(self.factors, cases, ~self.stated)
        most = sum(float(np.log(factor.max())) for factor in self.factors)
        u = np.random.default_rng([seed, 602214, number]).random(len(log_weights))
        return ((u < np.exp(log_weights - most)) | hopeless[:, 0]) & (self.keeps(cases) | hopeless[:, 1])

    def keeps(self, cases: NDArray[np.integer]) -> Mask:
        """Return which rows with these cases (n, k) obey all rules of users, (n,)."""
        return np.asarray((cases[:, self.stated] != 0).all(axis=1))

    def broken(self, sides: RuleSides) -> Mask:
        """Return which rows break, in known entries, a found rule without exceptions, and a rule of a user, (n, 2)."""
        broken = broken_by(self.rules, sides)
        strict = np.array([rule.shares[0] == 0 for rule in self.rules], bool)  # without exceptions in the training rows
        return np.stack([broken[:, strict & ~self.stated].any(axis=1), broken[:, self.stated].any(axis=1)], axis=1)

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


def drawn_sides(
    schema: Schema, columns: Sequence[str], codes: Codes, y: Array, u: Array, known: RuleSides = UNKNOWN
) -> dict[str, Side]:
    """Return some columns of drawn rows, from arrays (n, p) for `Schema.decode`, and from known entries, (n,) each."""
    made = {}
    for column in columns:
        at = schema.parts_of(column)
        kind, first = schema.kind_of(column), schema.parts[at.start]
        gone = (codes[:, at.start] == first.count - 1) & first.missing
        mine = np.where(gone[:, None], 0, codes[:, at])
        values = kind.decode(mine, np.where(gone[:, None], 0.0, y[:, at]), u[:, at])
        made[column] = Side(np.where(gone, np.nan, values.astype(np.float64)), np.ones(len(codes), bool))
        if column in known:
            made[column] = Side(
                np.where(known[column].known, known[column].values, made[column].values), made[column].known
            )
    return made


# --- Columns that rules of users determine --------------------------------------------------------------------------


class Solved(NamedTuple):
    """The entries of one column that rules determine, in n rows and the q parts of the column.

    Attributes:
        here: (n,), the rows in which they do.
        values: (n,), values of the column's kind.
        codes, y: (n, q), their tokens and places.
        log_p: (n,), their log-probabilities, given that they are not missing; 0 if there is only one value.
    """

    here: Mask
    values: NDArray[Any]
    codes: Codes
    y: Array
    log_p: Array


def solved_rules(schema: Schema, column: str) -> list[BoundRule]:
    """Return the rules of users that can determine a column."""
    return [rule for rule in schema.bound if column in rule.targets]


def solve(schema: Schema, column: str, values: Mapping[str, Array], u: Array) -> Solved:
    """Return the entries of a column that rules determine.

    Args:
        schema: the schema.
        column: a column with `solved_rules`.
        values: values (n,) of the other columns of these rules; NaN if they are missing, or not known yet.
        u: uniform numbers (n,), which choose among several values.
    """
    kind, n = schema.kind_of(column), len(u)
    x, log_p = np.full(n, np.nan), np.zeros(n)
    for rule in solved_rules(schema, column):
        found, log_found = rule.solve(column, values, u)
        here = np.isnan(x) & np.isfinite(found)
        x, log_p = np.where(here, found, x), np.where(here, log_found, log_p)
    here = np.isfinite(x)
    type_ = schema.types[column]
    whole = np.rint(np.where(here, x, 0.0)).astype(np.int64)
    filled = np.where(here, x, 0.0) if type_ == "real" else whole.astype(bool) if type_ == "truth" else whole
    read = kind.read(Series(type_, filled, ~here), "the data")
    shape = n, len(kind.parts)
    made = Solved(here, np.zeros(n, read.dtype), np.zeros(shape, np.int32), np.zeros(shape), log_p)
    made.values[here] = read
    for k, entries in enumerate(kind.encode(read)):
        made.codes[here, k], made.y[here, k] = entries.codes, entries.y
    return made._replace(here=here & (made.codes != IMPOSSIBLE).all(axis=1))


def solve_drawn(
    schema: Schema, column: str, codes: Codes, y: Array, u: Array, visible: Mask, known: RuleSides
) -> Solved | None:
    """Return the entries of a column that rules determine given the visible entries of drawn rows; None without rules.

    Args:
        schema: the schema.
        column: a column that varies.
        codes, y, u: (n, p), arrays for `Schema.decode`.
        visible: (n, p), the entries that are drawn or known already.
        known: known entries, (n,) each, which codes and y may only approximate.
    """
    if not (rules := solved_rules(schema, column)):
        return None
    sides = drawn_sides(schema, columns_of(rules), codes, y, u, known)
    first = {name: schema.parts_of(name).start for name in sides}
    values = {name: np.where(visible[:, first[name]], side.values, np.nan) for name, side in sides.items()}
    return solve(schema, column, values, u[:, first[column]])


def planned_order(schema: Schema, order: NDArray[np.integer], known: Collection[str] = ()) -> NDArray[np.integer]:
    """Return an order of the parts (p,) in which each column that rules determine comes after the others of its rule.

    Each rule determines one column if it can be solved for one: preferably one that stands alone on one side of an
    equation, then the one with the largest entropy. No two rules determine the same column, and no column determines
    itself through others.

    Args:
        schema: the schema.
        order: an order of the parts, with the known columns first, or with any place for them.
        known: columns that need not be determined.
    """
    if not schema.bound:
        return order
    entropies = dict.fromkeys(schema.learned, 0.0)
    for part in schema.parts:
        entropies[part.column] -= float((part.masses * np.log(part.masses)).sum())
    before: dict[str, tuple[str, ...]] = {}

    def behind(column: str) -> set[str]:
        return {column}.union(*map(behind, before.get(column, ())))

    possible = [(rule, [one for one in rule.targets if one not in known]) for rule in schema.bound]
    for rule, targets in sorted(possible, key=lambda one: len(one[1])):
        for target in sorted(targets, key=lambda one: (one not in rule.rule.alone, -entropies[one])):
            others = tuple(column for column in rule.columns if column != target)
            if target not in before and all(target not in behind(other) for other in others):
                before[target] = others
                break
    rank: dict[str, int] = {}

    def put(column: str) -> None:
        for other in before.get(column, ()):
            put(other)
        rank.setdefault(column, len(rank))

    for j in order:
        put(schema.parts[j].column)
    return order[np.argsort([rank[schema.parts[j].column] for j in order], kind="stable")]


def determined(schema: Schema, order: Sequence[str]) -> set[str]:
    """Return the columns that rules determine if all columns are drawn in this order."""
    last = {max(rule.columns, key=order.index): rule for rule in schema.bound}
    return {column for column, rule in last.items() if column in rule.targets}
