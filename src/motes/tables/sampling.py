"""Sampling under conditions, and the constraints set by the rules of a schema.

Known values are revealed first. Columns with another condition come next, each drawn within its restriction, and then
the remaining columns. A row drawn in this way has the importance weight

    w = product over conditioned columns of p(condition on j | columns before it)

and rows are resampled by their weights (sequential importance resampling: Gordon, Salmond & Smith 1993). The mean of w
times p(known values) is the probability of the whole condition.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.tables.layout import shares_of
from motes.tables.network import EncodedRows
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Encoded, Mask, Restriction
from motes.tables.relations import Rule
from motes.tables.schema import Schema
from motes.tables.unmasking import ROWS, MaskedDenoiser, Within
from motes.training.programs import cores

T = TypeVar("T")


class Block(NamedTuple):
    """A block of drawn rows.

    Attributes:
        codes, y, u: (n, p), tokens, places and uniform numbers for `Schema.decode`.
        log_weights: (n,), log importance weights; all equal if the rows need no resampling.
    """

    codes: NDArray[np.int32]
    y: Array
    u: Array
    log_weights: Array


def draw_block(
    unmasker: MaskedDenoiser,
    schema: Schema,
    rows: int,
    seed: int,
    block: int,
    known: EncodedRows | None = None,
    conditions: Mapping[str, Restriction] | None = None,
    *,
    exact: bool = False,
) -> Block:
    """Draw one block of rows.

    Args:
        unmasker: the denoiser in an order with the known parts first, or with such an order for each row.
        schema: schema of the table.
        rows: n, the block size of the compiled program.
        seed, block: seed and block number of the random numbers.
        known: (n, p), observed entries, which are visible and not drawn.
        conditions: column -> its restriction.
        exact: evaluate all members for each row and part, so that `log_within` is exact. Otherwise the probability
            outside a part's range, or excluded by its column's earlier parts, is taken as equal for all members.
    """
    p = unmasker.layout.parts
    rng = np.random.Generator(np.random.Philox(key=[seed, block]))
    codes, y, log_weights = np.zeros((rows, p), np.int32), np.zeros((rows, p)), np.zeros(rows)
    u_rare = rng.random((rows, p))
    seen, visible = unmasker.start(rows), np.zeros((rows, p), bool)
    if known is not None:
        visible = np.array(known.observed)
        codes, y = np.where(visible, known.codes, 0), np.where(visible, known.y, 0.0).astype(np.float64)
        for k, j in enumerate(map(int, unmasker.order)):
            if visible[:, j].any():
                seen = unmasker.show(seen, k, codes[:, j], y[:, j], known.u[:, j], visible[:, j])
    for k, j in enumerate(map(int, unmasker.order)):
        hidden = ~visible[:, j]
        if not hidden.any():
            continue
        within, restriction = _allowed_within(unmasker, schema, j, codes, y, conditions or {})
        derived = unmasker.derived(j, codes, y, visible)
        split = restriction is None and unmasker.ranks is None and not exact
        found = unmasker.draw(seen, k, within, rng, derived, split=split)
        new_codes, new_y, ranks, log_within = found
        codes[hidden, j], y[hidden, j], visible[:, j] = new_codes[hidden], new_y[hidden], True
        if restriction is not None:
            log_weights[hidden] += log_within[hidden]
            if restriction.shares() is not None:
                u_rare[hidden, j] = restriction.narrowed(codes[:, j], u_rare[:, j])[hidden]
        if k < p - 1:
            seen = unmasker.show(seen, k, codes[:, j], y[:, j], ranks, hidden)
    for column, restriction in (conditions or {}).items():
        at = schema.parts_of(column)
        log_weights = np.where(restriction.holds(codes[:, at], y[:, at]), log_weights, -np.inf)
    return Block(codes, y, u_rare, log_weights)


def _allowed_within(
    unmasker: MaskedDenoiser,
    schema: Schema,
    j: int,
    codes: NDArray[np.int32],
    y: Array,
    conditions: Mapping[str, Restriction],
) -> tuple[Within, Restriction | None]:
    """Return the allowed tokens and interval of part j after its column's earlier parts, and the restriction if any."""
    column = schema.parts[j].column
    at = schema.parts_of(column)
    before = slice(at.start, j)
    within = unmasker.everything(j)
    possible = schema.allowed(j, codes[:, before], y[:, before]) if j > at.start else None
    if possible is not None:
        within = within._replace(shares=np.asarray(possible, float))
    restriction = conditions.get(column)
    if restriction is None:
        return within, None
    allowed = restriction.allowed(j - at.start, codes[:, before], y[:, before]).astype(float)
    share = restriction.shares()
    if share is not None and j == at.start:
        allowed = allowed * share
    low, high = restriction.interval(j - at.start, codes[:, before], y[:, before])
    low, high = np.maximum(low, within.low), np.minimum(high, within.high)
    scale = unmasker.reader.scales[j]
    if scale is not None:  # only part of a token at the end of the interval is allowed
        inside = scale.inside(low, high)
        part = np.ones((len(inside), unmasker.layout.sizes[j]))
        part[:, : inside.shape[1]] = inside
        allowed = allowed * (part if len(part) > 1 else part[0])
    return Within(within.shares * allowed, low, high), restriction


def again(block: Block, n: int, seed: int, number: int) -> tuple[NDArray[np.intp], float, float]:
    """Resample n rows of a block: return their indices, the effective sample size, and the log of the mean weight."""
    weights = block.log_weights
    top = weights.max()
    if not np.isfinite(top):
        return np.zeros(0, np.intp), 0.0, -np.inf
    share = np.exp(weights - top)
    mean = top + np.log(share.mean())
    if np.ptp(weights) < 1e-5:
        return np.arange(n), float(n), float(mean)
    share /= share.sum()
    effective = float(1 / (share**2).sum())
    rng = np.random.default_rng([seed, 299792, number])
    # Systematic resampling; the rows are then shuffled.
    places = (np.arange(n) + rng.random()) / n
    chosen = np.minimum(np.searchsorted(np.cumsum(share), places), len(share) - 1)
    return rng.permutation(chosen), effective, float(mean)


def log_prob_parts(unmasker: MaskedDenoiser, rows: EncodedRows) -> Array:
    """Compute log p of each observed entry given the observed entries before it in the order, (n, p); otherwise 0."""
    n, p = rows.codes.shape
    made = np.zeros((n, p))
    for start in range(0, n, ROWS):
        block = EncodedRows(*(_pad_rows(part[start : start + ROWS], ROWS) for part in rows))
        some, seen = made[start : start + ROWS], unmasker.start(ROWS)
        for k, j in enumerate(map(int, unmasker.order)):
            here = block.observed[:, j]
            if here.any():
                entry = jax.tree.map(lambda part, j=j: np.asarray(part)[:, j], block)
                log_p = unmasker.log_prob(seen, k, entry, len(some))
                some[:, j] = np.where(here, log_p, 0.0)[: len(some)]
                if k < p - 1:
                    seen = unmasker.show(seen, k, entry.codes, entry.y, entry.u, here)
    return made


def _pad_rows(part: Any, n: int) -> Any:
    """Pad an array to n rows by repeating its first row."""
    return part if len(part) == n else np.concatenate([part, np.repeat(part[:1], n - len(part), axis=0)])


def in_turn(work: Callable[[int], T], numbers: range) -> Iterator[T]:
    """Yield work(k) for each number in order, two at a time: one computes while the other is decoded."""
    with ThreadPoolExecutor(min(2, cores())) as pool:
        waiting = [pool.submit(work, number) for number in numbers[:3]]
        try:
            for following in (*numbers[3:], *[None] * len(waiting)):
                yield waiting.pop(0).result()
                if following is not None:
                    waiting.append(pool.submit(work, following))
        finally:
            for one in waiting:
                one.cancel()


def last_codes(unmasker: MaskedDenoiser, rows: EncodedRows, count: int) -> Array:
    """Compute the distribution (n, count) of the first tokens of the last part, a label, given the observed entries."""
    n = len(rows.codes)
    made = []
    for start in range(0, n, ROWS):
        some = jax.tree.map(lambda part, start=start: _pad_rows(part[start : start + ROWS], ROWS), rows)
        seen = unmasker.start(ROWS)
        for k, j in enumerate(map(int, unmasker.order[:-1])):
            codes, y, u, here = (part[:, j] for part in (some.codes, some.y, some.u, some.observed))
            seen = unmasker.show(seen, k, codes, y, u, here)
        j = int(unmasker.order[-1])
        derived = unmasker.derived(j, *(np.asarray(part) for part in (some.codes, some.y, some.observed)))
        view = unmasker.view(seen, len(unmasker.order) - 1, derived)
        shares = np.exp(np.asarray(view.log_codes, np.float64))  # (M, ROWS, K)
        if derived:
            pi, rest = shares_of(view.links, derived)
            shares = shares * rest[..., None]
            for r, one in enumerate(derived):
                shares[:, np.arange(ROWS), one.codes] += pi[..., r]
        made.append(shares.mean(0)[:, :count])
    found = np.concatenate(made)[:n]
    return found / found.sum(axis=1, keepdims=True)


# --- The rules between columns as a part of a model's distribution --------------------------------------------------
#
#     m(x) = (1 - e) p(x) f(x) / Z + e p(x),    f(x) = product over rules i of f_i(case of x),    Z = E_p f
#
# p is the network's distribution. A rule (an inequality, an exact relation, or a label that follows from another one)
# sorts rows into cases; case 0 breaks the rule. The factors f_i are chosen so that each case has its share of the
# training rows (iterative proportional fitting: Deming & Stephan 1940), over the cases of rows drawn from p after
# training. f_i is 0 for exceptions to a rule without exceptions. The share e = 1 / (training rows + 1) leaves a
# probability for later rows that break such a rule; no synthetic row does.
#
# For a row with missing entries, f and Z include only the rules whose columns are all known.


DRAWN = 4096, 32_768  # minimum and maximum rows for Z: at 0.98 its log has a standard error of 0.002 and 0.0008
FOR_EACH = 16  # rows for Z per training row, between these two,
ERROR = 5e-4  # unless the standard error of log Z is below this with fewer,
BREACHES = 16  # and each soft rule is broken at least this often, or would be at the training rows' rate
HALF = 0.5  # added to the number of breaches observed and expected, since small numbers are noisy
PRIOR = 10.0  # prior rows for the assumption that rules do not change the share of a token
LEAST = 0.05  # minimum share of rows that obey all rules: each requested row takes 1 / share draws
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


Sides = Mapping[str, Side]


@dataclass(frozen=True, eq=False)
class Constraint:
    """The rules, and how often rows drawn from the network's distribution fall into each case.

    Attributes:
        rules: the k rules.
        patterns: (r, k), the distinct combinations of cases among the drawn rows.
        counts: (r,), number of drawn rows with each combination.
        loose: e, the weight of the term without rules.
    """

    rules: tuple[Rule, ...]
    patterns: NDArray[np.int32]
    counts: NDArray[np.integer]
    loose: float

    @classmethod
    def of(cls, schema: Schema, cases: NDArray[np.integer]) -> "Constraint":
        """Return the constraint given the cases of drawn rows (n, k) under the rules of a schema."""
        return cls.counted(schema, *np.unique(cases, axis=0, return_counts=True))

    @classmethod
    def counted(cls, schema: Schema, patterns: NDArray[np.integer], counts: NDArray[np.integer]) -> "Constraint":
        """Return the constraint given the distinct patterns of drawn rows and their counts."""
        return cls(schema.rules, patterns.astype(np.int32), counts, 1 / (schema.rows + 1))

    @classmethod
    def none(cls) -> "Constraint":
        """Return a constraint without rules: m = p."""
        return cls((), np.zeros((0, 0), np.int32), np.zeros(0, np.int64), 0.0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the rules."""
        return columns_of(self.rules)

    @property
    def words(self) -> str:
        """All rules in words, such as "start <= end in all rows, low <= high in nearly all rows"."""
        return ", ".join(rule.words for rule in self.rules)

    @property
    def strict(self) -> Mask:
        """Which rules (k,) have no exceptions in the training rows."""
        return np.array([rule.shares[0] == 0 for rule in self.rules], bool)

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

    def log_factor(self, sides: Sides) -> Array:
        """Compute log m(x) - log p(x) of rows, (n,)."""
        return np.logaddexp(np.log1p(-self.loose) + self._log_rule_factor(sides), np.log(self.loose))

    def _log_rule_factor(self, sides: Sides) -> Array:
        """Compute log(f(x) / Z) of rows, (n,)."""
        cases, known = cases_of(self.rules, sides), _known_rules(self.rules, sides)
        distinct, place = np.unique(known, axis=0, return_inverse=True)
        made = np.zeros(len(cases))
        for number, which in enumerate(distinct):
            here = place.ravel() == number
            made[here] = self._log_f(self.factors, cases[here], which) - self.log_share(which)
        return made

    def accepted(self, sides: Sides, hopeless: bool | Mask, u: Array) -> Mask:
        """Return which candidates from p rejection accepts, so that they are draws from p f / Z, (n,).

        Args:
            sides: columns of complete rows.
            hopeless: rows whose known values break a rule without exceptions, for which any candidate is accepted.
            u: (n,), uniform numbers.
        """
        most = sum(float(np.log(factor.max())) for factor in self.factors)
        kept = u < np.exp(self.log_weights(cases_of(self.rules, sides)) - most)
        return np.logical_or(kept, hopeless)

    def thinned(self, block: Block, schema: Schema, known: Sides, seed: int, number: int) -> tuple[Block, float]:
        """Return the rows of a block that rejection accepts, and the log of the mean of m(x) / p(x) over all its rows.

        Args:
            block: candidates from p, with or without conditions.
            schema: schema of the table.
            known: columns with a given value, (1,) each.
            seed, number: seed and block number of the random numbers.
        """
        n = len(block.codes)
        drawn = drawn_sides(schema, self.columns, block.codes, block.y, block.u)
        given = {column: side.at(np.zeros(n, np.intp)) for column, side in known.items()}
        sides = {**drawn, **given}
        hopeless = bool(self.broken(known).any()) if known else False
        here = self.accepted(sides, hopeless, np.random.default_rng([seed, 602214, number]).random(n))
        log_mean = float(np.logaddexp.reduce(self.log_factor(sides)) - np.log(n))
        return Block(block.codes[here], block.y[here], block.u[here], block.log_weights[here]), log_mean

    def broken(self, sides: Sides) -> Mask:
        """Return the rows (n,) whose known entries break a rule without exceptions."""
        return np.logical_or.reduce(broken_by(self.rules, sides) & self.strict, axis=1)

    def reweighted(self, draws: NDArray[Any], sides: Sides, column: str) -> NDArray[Any]:
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

    def weights(self, values: NDArray[Any], sides: Sides, column: str) -> Array:
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


def cases_of(rules: Sequence[Rule], sides: Sides) -> NDArray[np.integer]:
    """Return the case of each row under each rule, (n, k)."""
    values = {column: side.values for column, side in sides.items()}
    return _stack_rules([rule.cases(values) for rule in rules], sides)


def broken_by(rules: Sequence[Rule], sides: Sides) -> Mask:
    """Return which rows break which rule, (n, k); a missing entry or an absent column breaks none."""
    n = len(next(iter(sides.values())).values) if sides else 0
    nothing = Side(np.full(n, np.nan), np.zeros(n, bool))
    whole = {column: sides.get(column, nothing) for column in columns_of(rules)}
    return cases_of(rules, whole) == 0


def _known_rules(rules: Sequence[Rule], sides: Sides) -> Mask:
    """Return the rules whose columns are all known, for each row, (n, k)."""
    return _stack_rules(
        [np.logical_and.reduce([sides[column].known for column in rule.columns]) for rule in rules], sides
    )


def _stack_rules(columns: list[NDArray[Any]], sides: Sides) -> NDArray[Any]:
    n = len(next(iter(sides.values())).values) if sides else 0
    return np.stack(columns, axis=1) if columns else np.zeros((n, 0), bool)


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


class RuleEstimate(NamedTuple):
    """The rules of a trained model, estimated from its draws.

    Attributes:
        schema: the schema with the rules that the model can obey.
        constraint: the constraint of these rules.
        changes: for each part (K,), the factor by which the rules change the frequency of each token.
    """

    schema: Schema
    constraint: Constraint
    changes: list[Array]


def estimated(unmasker: MaskedDenoiser, schema: Schema, seed: int) -> RuleEstimate:
    """Estimate the constraint of a trained model.

    The rule that is broken most often is dropped, until rejection accepts a share of at least `LEAST`.

    Args:
        unmasker: the network's distribution p.
        schema: schema of the table.
        seed: random seed.
    """
    if not schema.rules:
        return RuleEstimate(schema, Constraint.none(), [np.ones(part.count) for part in schema.parts])
    # log p of a row includes numbers beyond the observed range, so Z must include them too.
    whole = replace(unmasker, ranges=[None] * unmasker.layout.parts)
    word = int(np.random.SeedSequence([seed, 667430]).generate_state(1)[0])
    rules, rows = schema.rules, int(np.clip(FOR_EACH * schema.rows, *DRAWN))
    columns, blocks, of_cases = columns_of(rules), [], []
    for number in range(-(-rows // ROWS)):
        block = draw_block(whole, schema, ROWS, word, number)
        blocks.append(block.codes)
        of_cases.append(cases_of(rules, drawn_sides(schema, columns, block.codes, block.y, block.u)))
        if _is_enough(np.concatenate(of_cases), rules):
            break
    codes, cases = np.concatenate(blocks), np.concatenate(of_cases)
    while (~(cases == 0).any(axis=1)).mean() < LEAST:
        most = np.arange(len(schema.rules)) == (cases == 0).mean(axis=0).argmax()
        schema, cases = schema.without(schema.rules[int(most.argmax())]), cases[:, ~most]
    constraint = Constraint.of(schema, cases) if schema.rules else Constraint.none()
    weights = np.exp(constraint.log_weights(cases)) if schema.rules else np.ones(len(cases))
    return RuleEstimate(
        schema, constraint, [_frequency_change(codes[:, j], weights, part.count) for j, part in enumerate(schema.parts)]
    )


def _is_enough(cases: NDArray[np.integer], rules: Sequence[Rule]) -> bool:
    """Return whether drawn rows (n, k) are enough to estimate Z; never if a rule has more cases than broken or kept."""
    breaches = np.maximum((cases == 0).sum(axis=0), [len(cases) * rule.shares[0] for rule in rules])
    soft = [rule.shares[0] > 0 for rule in rules]
    if cases.max() > 1 or (breaches[soft] < BREACHES).any():
        return False
    kept = float((cases > 0).all(axis=1).mean())
    return kept > 0 and np.sqrt((1 - kept) / kept / len(cases)) < ERROR


def _frequency_change(codes: Codes, weights: Array, count: int) -> Array:
    """Return the factor (count,) by which `weights` (n,) of the rows change the frequency of each token (n,)."""
    before, after = np.bincount(codes, minlength=count), np.bincount(codes, weights / weights.mean(), count)
    return (after + PRIOR) / (before + PRIOR)
