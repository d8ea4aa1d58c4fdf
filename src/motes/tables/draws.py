"""Drawing rows and filling in entries, under conditions."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from motes.data import Blocks, Frame
from motes.data.arrays import HERE, Series, entry_error, warn
from motes.data.points import content_keys
from motes.data.readings import default_columns
from motes.errors import UsageError, check_count, check_seed, unknown
from motes.progress import OnProgress, Progress
from motes.tables import Among, Between, Missing, Not
from motes.tables.kinds.base import one_value
from motes.tables.network import EncodedRows
from motes.tables.parts import IMPOSSIBLE, Array, Condition, Mask
from motes.tables.rules import (
    Rule,
    RuleSides,
    broken_by,
    columns_of,
    determined,
    drawn_sides,
    observed_sides,
    planned_order,
)
from motes.tables.schema import Schema
from motes.tables.unmasking import FEW_ROWS, ROWS, AnyOrderModel, Block, Integers, MaskedDenoiser, draw_block
from motes.tables.user_rules import BoundRule
from motes.training.batches import systematic
from motes.training.programs import cores


@dataclass(frozen=True)
class RowConditions:
    """The conditions on the requested rows, checked against the columns of a table.

    Attributes:
        row: one row with the known values; all other entries are missing.
        others: column -> condition, for the columns with a condition other than a value.
    """

    row: Frame
    others: Mapping[str, Condition]

    def valued(self, schema: Schema) -> list[str]:
        """Return the learned columns with a known value."""
        return [name for name in schema.learned if not self.row.columns[name].missing[0]]


def conditions_of(schema: Schema, given: Mapping[Any, Any]) -> RowConditions:
    """Check the conditions on the rows of a table.

    Args:
        schema: schema of the table.
        given: column, by name or by index in an array -> a value; a set of possible values; (low, high), both included,
            with None for an open end; None for missing; or a condition such as `Not("Graz")`.

    Raises:
        UsageError: if a column does not exist, a condition has no meaning for its column, or an interval is invalid.
        DataError: if a column cannot hold a value, such as an unseen label, or no training value meets a condition.
    """
    values: dict[str, Series] = {}
    others: dict[str, Condition] = {}
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{HERE}: got {type(given).__name__}; expected a dict, column -> condition, such as {{'age': 40}}."
        )
    for key, value in given.items():
        name = _resolve_column(key, schema.names)
        schema.check_not_aside(name)
        condition = _read_condition(name, value)
        if condition is None:
            values[name] = one_value(name, value)
            if name in schema.learned:
                kind = schema.kind_of(name)
                if message := kind.beyond(kind.read(values[name], HERE)):  # possible, but never drawn
                    raise entry_error(HERE, name, values[name].cells()[0], message)
        elif name in schema.kept:
            _check_kept(schema, name, condition)
        else:
            schema.restrict(name, condition)
            others[name] = condition
    row = Frame({name: values.get(name, Series.unknown(1)) for name in schema.names})
    schema.encode(row, name=HERE)  # checks the values
    return RowConditions(row, others)


def _resolve_column(key: Any, names: tuple[str, ...]) -> str:
    """Return the column with this name, which may be a number, or with this index if the data was an unnamed array."""
    if str(key) in names:
        return str(key)
    if hasattr(key, "__index__") and names == default_columns(len(names)) and 0 <= key.__index__() < len(names):
        return names[key.__index__()]
    raise UsageError(unknown("column", str(key), names))


def _read_condition(name: str, value: Any) -> Condition | None:
    """Return the condition that a value stands for; None for a plain value."""
    if isinstance(value, Condition):
        return value
    if value is None:
        return Missing()
    if isinstance(value, set | frozenset):
        if not value:
            raise UsageError(f"column '{name}' = {value!r}; expected a set with at least one value.")
        return Among(tuple(sorted(value, key=str)))
    if isinstance(value, tuple):
        if len(value) != 2 or value == (None, None):
            raise UsageError(
                f"column '{name}' = {value!r}; expected (low, high), one of which may be None, or a value."
            )
        return Between(*value)
    return None


def _check_kept(schema: Schema, name: str, condition: Condition) -> None:
    """Check that a constant column meets a condition, and that the condition is not an interval."""
    one = schema.kept[name].cells()[0]
    if isinstance(condition, Between):
        raise UsageError(
            f"column '{name}' is the same in all rows, so an interval from {condition.low} to {condition.high} "
            "has no meaning. Leave the column out of the condition."
        )
    if not _meets_condition(one, condition):
        raise entry_error(HERE, name, condition, f"{one}, as in all training rows")


def _meets_condition(one: Any, condition: Any) -> bool:
    match condition:
        case Among(values):
            return one in values
        case Missing():
            return one is None
        case Not(inner):
            return one is not None and not _meets_condition(one, inner)
    return bool(one == condition)


# --- Rows drawn block by block, with or without conditions ----------------------------------------------------------
#
#     w(row) = p(row) / p(row in the order it was drawn in) * product over conditioned columns of p(condition | before)
#
# The first factor is used with `importance_resample` only. It corrects from the order with the conditioned columns
# first to the model's fixed order, which defines its distribution. Rows are resampled by their importance weights.
#
# Rules between columns are enforced by rejection: a block contains only accepted candidates, and so fewer rows.


FAILED = 4  # consecutive failed blocks, after which a condition counts as impossible
MANY = 8 * ROWS  # candidates in a block with weights: a small block would estimate the condition's probability badly
FEWEST = MANY // 1000  # minimum number of accepted rows of a block; with fewer it has failed
CANDIDATES = 4  # candidates per requested row with `importance_resample`


@dataclass(frozen=True, repr=False)
class DrawnRows(Frame):
    """Drawn rows, with their effective sample size and the evidence of the conditions.

    Attributes:
        effective: the effective sample size: the number of independent rows with the same information.
        log_evidence: log p of the conditions, in nats and in the data's units; 0 without conditions.
    """

    effective: float = 0.0
    log_evidence: float = 0.0


def draw_blocks(
    orders: AnyOrderModel, n: int, given: Mapping[str, Any], seed: int, *, importance_resample: bool
) -> Iterator[DrawnRows]:
    """Yield n rows, block by block; if no candidate of a block meets the conditions, the block is empty.

    Args:
        orders: the model.
        n: number of rows.
        given: conditions, as `conditions_of` accepts them.
        seed: random seed.
        importance_resample: resample rows to the model's fixed order; without conditions they are drawn in this order
            anyway.

    Raises:
        UsageError: if a condition does not fit the columns or the model, or has probability 0.
        DataError: if a column cannot hold a value.
    """
    n, seed, schema = check_count(n, "rows"), check_seed(seed), orders.schema
    requested = conditions_of(schema, given)
    valued = requested.valued(schema)
    restrictions = {name: schema.restrict(name, condition) for name, condition in requested.others.items()}
    conditions = [*valued, *restrictions]
    resample = importance_resample and bool(conditions)
    weighed, constraint = resample or bool(restrictions), orders.constraint
    # A column that rules determine from others stays behind them, and its condition is met by rejection.
    late = restrictions.keys() & determined(schema, [schema.parts[j].column for j in orders.order])
    front = [name for name in conditions if name not in late]
    size = MANY if weighed or (valued and constraint.rules) else ROWS
    most = size // CANDIDATES if resample else size  # rows of a block that are used
    unmasker = orders.first(front) if front or resample else orders.own
    encoded = schema.only(schema.encode(requested.row), valued)
    sides = observed_sides(schema, [name for name in constraint.columns if name in valued], requested.row, encoded)
    log_known = float(unmasker.log_prob(encoded, sides)[0]) if valued else 0.0
    for rule in schema.bound if sides else ():
        if broken_by((rule,), sides).any():
            values = ", ".join(f"{name} = {given[name]}" for name in rule.columns if name in given)
            raise UsageError(
                f'got the condition {values}, which breaks the rule "{rule.words}". Change one of the values.'
            )
    copied = {column: side.at(np.zeros(size, np.intp)) for column, side in sides.items()}
    known = orders.reader.read(encoded)
    free = np.array([part.column not in conditions for part in schema.parts])

    def work(number: int) -> DrawnRows:
        copies = jax.tree.map(lambda part: np.repeat(part, size, axis=0), known) if valued else None
        block = draw_block(
            unmasker, size, seed, number, copies, restrictions, sides=copied, all_members=resample
        )  # fmt: skip
        if resample:
            block = _weight_block(orders, unmasker, block, free, log_known)
        log_factor = 0.0
        if constraint.rules:
            block, log_factor = _reject(orders, block, sides, copied, seed, number)
        if late:  # no copies of the rows that meet the condition
            met, drawn = np.isfinite(block.log_weights), len(block.codes)
            block = block.take(met)
            log_factor += np.log(max(len(block.codes), 1) / max(drawn, 1))
        keep = min(len(block.codes), most)
        chosen, effective, evidence = np.arange(keep), float(keep), log_known
        if weighed and keep:
            chosen, effective, log_weight = resampled(block, keep, seed, number)
            effective, evidence = min(effective, float(keep)), log_weight + (0.0 if resample else log_known)
        evidence += log_factor if conditions else 0.0
        rows = schema.decode(block.codes[chosen], block.y[chosen], block.u[chosen])
        if valued and len(chosen):
            rows = schema.put(rows, requested.row.take(np.zeros(len(chosen), np.int64)))
        return DrawnRows(rows.columns, effective, evidence)

    left, number, failed, keys, waiting = n, 0, 0, Keys(schema), list[DrawnRows]()
    while left:
        for rows in _in_turn(work, range(number, number - (-left // most))):
            obeying = len(rows)
            number, rows = number + 1, keys.new(rows)
            failed = 0 if len(rows) >= min(FEWEST, left) else failed + 1
            if failed == FAILED and obeying >= FEWEST:
                raise UsageError(
                    f"drew {n - left:,} of {n:,} rows; hardly any of {FAILED * size:,} further rows had a new key, as "
                    f"{', '.join(map(str, schema.keys))} expects. Draw fewer rows, or leave out the rule."
                )
            if failed == FAILED:
                message = f"hardly any row of {FAILED * size:,}"
                message += f" met the conditions {_describe(given)}" if given else ""
                words = _describe_rules([r for r in constraint.rules if not given or {*r.columns} & {*conditions}])
                words += [str(rule) for rule in schema.keys]
                message += f"{' and' * bool(given)} obeyed {', '.join(words)}" if words else ""
                expected = (
                    "a condition that the model considers possible. Widen it" if given else "rules that it can meet"
                )
                raise UsageError(f"{message}; expected {expected}.")
            m = min(left, len(rows))
            waiting.append(DrawnRows(rows.take(slice(m)).columns, min(rows.effective, float(m)), rows.log_evidence))
            left -= m
            if not failed or not left:  # nothing leaves before the condition is known to be possible
                yield from waiting
                waiting.clear()


def _describe(given: Mapping[str, Any]) -> str:
    """Describe conditions in words, such as "city = Graz, age at least 30"."""
    conditions = ((name, value, _read_condition(name, value)) for name, value in given.items())
    return ", ".join(f"{name} = {value}" if own is None else f"{name} {own}" for name, value, own in conditions)


def _describe_rules(rules: Sequence[Rule]) -> list[str]:
    """Describe rules in words; a rule that was both stated and found is described once."""
    stated = [rule.words for rule in rules if isinstance(rule, BoundRule)]
    found = [rule.words for rule in rules if not isinstance(rule, BoundRule)]
    return stated + [words for words in found if not any(words.startswith(f"{one} in ") for one in stated)]


class Keys:
    """The values of unique keys in the rows so far.

    Attributes:
        taken: for each key of the schema, its columns and the hashes of its values.
    """

    def __init__(self, schema: Schema):
        self.taken = [(rule.keys, set[int]()) for rule in schema.keys]

    def take(self, rows: Frame, given: Frame | None = None, owners: Sequence[int] | None = None) -> Mask:
        """Take the keys of rows; return which rows have keys that were not taken yet, (n,).

        Args:
            rows: n rows; a key with a missing entry counts as not taken.
            given: the same rows before they were filled in; keys that they have are not checked.
            owners: (n,), the row for which each is a candidate; only the first one with such keys is returned.
        """
        found = []
        for columns, taken in self.taken:
            gone = [_has_missing(rows, columns), ~_has_missing(given, columns) if given else np.zeros(len(rows), bool)]
            found.append((taken, content_keys(rows.select(columns)).tolist(), ~np.logical_or(*gone)))
        fresh, done = np.zeros(len(rows), bool), set[int]()
        for row in range(len(rows)):
            mine = [(taken, hashes[row]) for taken, hashes, counts in found if counts[row]]
            if (owners is None or owners[row] not in done) and all(one not in taken for taken, one in mine):
                fresh[row] = True
                done.add(row if owners is None else owners[row])
                for taken, one in mine:
                    taken.add(one)
        return fresh

    def new(self, rows: "DrawnRows") -> "DrawnRows":
        """Return the rows that do not repeat a key."""
        if not self.taken or (fresh := self.take(rows)).all():
            return rows
        some, share = rows.take(np.flatnonzero(fresh)), float(fresh.mean())
        return DrawnRows(some.columns, rows.effective * share, rows.log_evidence)


def _has_missing(rows: Frame, columns: Sequence[str]) -> Mask:
    """Return which rows have a missing entry in some of these columns, (n,)."""
    return np.asarray(np.logical_or.reduce([rows.columns[name].missing for name in columns]))


def _in_turn(work: Callable[[int], DrawnRows], numbers: range) -> Iterator[DrawnRows]:
    """Yield work(k) for each number in order, two at a time: one computes while the other is decoded."""
    with ThreadPoolExecutor(min(3, cores() + 1)) as pool:
        waiting = [pool.submit(work, number) for number in numbers[:4]]
        try:
            for following in (*numbers[4:], *[None] * len(waiting)):
                yield waiting.pop(0).result()
                if following is not None:
                    waiting.append(pool.submit(work, following))
        finally:
            for one in waiting:
                one.cancel()


def _weight_block(orders: AnyOrderModel, unmasker: MaskedDenoiser, block: Block, free: Mask, log_known: float) -> Block:
    """Return the block with importance weights from the order of its draws to the model's distribution.

    `free` (p,) are the parts without a condition, which are drawn within their ranges, as in rows without conditions.
    """
    schema = orders.schema
    encoded = schema.encode(schema.decode(block.codes, block.y, block.u), unseen="mark")
    columns = orders.constraint.columns if schema.bound else ()
    sides = drawn_sides(schema, columns, block.codes, block.y, block.u)
    theirs = unmasker.log_prob(encoded, sides) - _log_possible(unmasker, block, sides, free)
    ours = orders.own.log_prob(encoded, sides) - _log_possible(orders.own, block, sides, np.ones_like(free))
    return block._replace(log_weights=block.log_weights + ours - theirs + log_known)


def _log_possible(unmasker: MaskedDenoiser, block: Block, sides: RuleSides, parts: Mask) -> Array:
    """Compute the log-probability that some parts (p,) lie within what is ever drawn, given those before, summed, (n,).

    Numbers are drawn within their range, and only dates that exist, so drawn rows have p divided by this probability.
    """
    n = len(block.codes)
    total, rows, fixed = np.zeros(n), unmasker.start(n), np.zeros(n, bool)
    for k, j in enumerate(map(int, unmasker.order)):
        within = unmasker.allowed(rows, j)
        if j == unmasker.schema.parts_of(unmasker.schema.parts[j].column).start:
            solved = unmasker.solved(rows, j, sides, block.u) if sides else None
            fixed = np.zeros(n, bool) if solved is None else solved.here
        if parts[j] and (unmasker.spots[k][1].line or within is not unmasker.everything[j]):
            total += np.where(fixed, 0.0, unmasker.log_within(rows, k, within))
        codes, y, ranks = unmasker.reader.settle(j, block.codes[:, j], block.y[:, j])
        unmasker.show(rows, k, codes, y, ranks, np.ones(n, bool))
    return total


def _reject(
    orders: AnyOrderModel, block: Block, known: RuleSides, copied: RuleSides, seed: int, number: int
) -> tuple[Block, float]:
    """Return the rows of a block that rejection accepts, and the log of the mean of m(x) / p(x) over all its rows.

    Args:
        orders: the model.
        block: candidates from p, with or without conditions.
        known, copied: columns with a given value, (1,) and (n,) each.
        seed, number: seed and block number of the random numbers.
    """
    n, constraint = len(block.codes), orders.constraint
    sides = drawn_sides(orders.schema, constraint.columns, block.codes, block.y, block.u, copied)
    hopeless = constraint.broken(known) if known else np.zeros((1, 2), bool)
    here = constraint.accepted(sides, hopeless, seed, number)
    log_mean = float(np.logaddexp.reduce(constraint.log_factor(sides, drawn=True)) - np.log(n))
    return block.take(here), log_mean


def resampled(block: Block, n: int, seed: int, number: int) -> tuple[NDArray[np.int64], float, float]:
    """Resample n rows of a block: return their indices, the effective sample size, and the log of the mean weight."""
    top = block.log_weights.max()
    if not np.isfinite(top):
        return np.zeros(0, np.int64), 0.0, -np.inf
    weights = np.exp(block.log_weights - top)
    log_mean = float(top + np.log(weights.mean()))
    if np.ptp(block.log_weights) < 1e-5:
        return np.arange(n), float(n), log_mean
    effective = float(weights.sum() ** 2 / (weights**2).sum())
    return systematic(np.random.default_rng([seed, 299792, number]), weights, n), effective, log_mean


# --- Missing entries, drawn given the observed entries of their row -------------------------------------------------
#
# All rows of a block are filled in together, each in an order with its observed numbers first. Rows without an observed
# entry follow the model's fixed order. Rows that break a rule between columns are drawn again.


TRIES = 1000  # draws of a row, after which the last one is used even if it breaks a found rule
SHOWN = 5  # maximum number of rows in a message


@dataclass(frozen=True, repr=False)
class AnsweredRows(Frame):
    """Rows with their missing entries filled in, or the predictions for each row.

    Attributes:
        ignored: number of impossible entries, such as unseen labels, which count as unknown; in rows that are filled in
            they stay.
    """

    ignored: int = 0


def fill_blocks(
    orders: AnyOrderModel, rows: Blocks, draws: int, seed: int, on_progress: OnProgress, name: str
) -> Iterator[Iterator[AnsweredRows]]:
    """Fill in the missing entries of all rows, `draws` times; yield each table block by block.

    Args:
        orders: the model.
        rows: rows with the columns of the schema.
        draws: number of tables.
        seed: random seed.
        on_progress: called with the number of rows filled in so far, over all draws.
        name: name of the rows in messages.

    Raises:
        DataError: if a column has another type; the message names row and column.
    """
    draws, seed = check_count(draws, "draws"), check_seed(seed)
    done = 0

    def filled(count: int) -> None:
        nonlocal done
        done += count
        on_progress(Progress(done))

    for word in np.random.SeedSequence([seed, 577215]).generate_state(draws):
        yield _fill_table(orders, rows, int(word), filled, name)


def _fill_table(
    orders: AnyOrderModel, rows: Blocks, seed: int, filled: Callable[[int], None], name: str
) -> Iterator[AnsweredRows]:
    schema, keys, before = orders.schema, Keys(orders.schema), 0
    for part in rows.read() if keys.taken else ():
        keys.take(schema.frame(part, name=name))  # the keys of all rows are taken
    for number, part in enumerate(rows.read()):
        encoded = schema.encode(part, name=name, unseen="mark")
        u = np.random.default_rng([seed, number]).random(encoded.codes.shape)
        impossible = encoded.codes == IMPOSSIBLE
        # Missing entries are filled in with or without a token of their own.
        encoded = replace(encoded, observed=schema.valued(encoded) & ~impossible)
        made = Block(encoded.codes.copy(), encoded.y.copy(), u, np.zeros(len(u)))
        observed = np.ones_like(encoded.observed)
        holes = np.flatnonzero(~encoded.observed.all(axis=1))
        word = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        read = orders.reader.read(encoded)
        sides = observed_sides(schema, orders.constraint.columns, part, encoded)
        anything = read.observed[holes].any(axis=1)
        for known, some in ((None, holes[~anything]), (read, holes[anything])):
            fill = partial(_fill_rows, orders, part, known, sides, made, keys=keys)
            left = [some[:0]]
            for rows_here in _chunks(some, orders.own.most_rows):
                left.append(fill(orders.plain, rows_here, word, most=1 if schema.bound else TRIES))
                filled(len(rows_here))
            if schema.bound:  # all rows that are left are drawn again in their own orders
                again = _orders_of(orders, sides, np.concatenate(left))
                few = ((order, each) for order, rows_of in again for each in _chunks(rows_of, orders.own.most_rows))
                left = [fill(*one, (word + k) % 2**32, most=TRIES) for k, one in enumerate(few, 1)]
            for rows_here in left:
                observed[rows_here] = encoded.observed[rows_here]
        if not observed.all():
            empty = np.flatnonzero(~observed.all(axis=1))
            words = ", ".join(f'"{rule}"' for rule in schema.stated)
            places = ", ".join([f"{before + row + 1:,}" for row in empty[:SHOWN]] + ["..."] * (len(empty) > SHOWN))
            warn(
                f"{name}: none of {TRIES:,} draws obeyed {words} in {len(empty):,} of the rows (row {places}); their "
                "missing entries stay missing. Check their known entries and the rules; if a rule gives a value beyond "
                "the training range, set low and high of its column."
            )
        before += len(part)
        whole = schema.put(schema.decode(made.codes, made.y, made.u, observed), part)
        yield AnsweredRows(whole.columns, int(impossible.sum() + encoded.other.sum()))


def _chunks(rows: Integers, size: int) -> Iterator[Integers]:
    """Yield at most `size` of the rows at a time."""
    return (rows[start : start + size] for start in range(0, len(rows), size))


def _orders_of(orders: AnyOrderModel, sides: RuleSides, rows: Integers) -> Iterator[tuple[MaskedDenoiser, Integers]]:
    """Yield an order for rows that broke a rule of a user, in which rules determine columns from the known ones."""
    columns = columns_of(orders.schema.bound)
    if not columns or not len(rows):
        return
    known = np.stack([~np.isnan(sides[column].values[rows]) for column in columns], axis=1)
    patterns, which = np.unique(known, axis=0, return_inverse=True)
    found: dict[bytes, tuple[NDArray[np.integer], list[Integers]]] = {}
    for number, pattern in enumerate(patterns):
        order = planned_order(orders.schema, orders.order, [columns[k] for k in np.flatnonzero(pattern)])
        found.setdefault(order.tobytes(), (order, []))[1].append(rows[which.ravel() == number])
    for order, some in found.values():
        yield orders.in_order(order), np.concatenate(some)


def _fill_rows(
    orders: AnyOrderModel,
    part: Frame,
    known: EncodedRows | None,
    sides: RuleSides,
    made: Block,
    in_order: MaskedDenoiser,
    rows: Integers,
    seed: int,
    *,
    keys: Keys,
    most: int,
) -> Integers:
    """Draw the missing entries of `rows` of `made` given their `known` entries, or given nothing if None.

    Return the rows for which none of about `most` draws obeyed the rules of the user.
    """
    schema, constraint, left, number, tries = orders.schema, orders.constraint, rows, int(rows[0]), 0
    present = {one.column: schema.restrict(one.column, Not(Missing())) for one in schema.parts if one.missing}
    while len(left) and tries < most:
        # If few rows are left, draw several candidates for each, and use the first accepted one.
        size = FEW_ROWS if len(left) <= FEW_ROWS else orders.own.most_rows
        which = np.resize(np.arange(len(left)), size)
        seen = None if known is None else EncodedRows(*(field[left[which]] for field in known))
        unmasker = orders.own if seen is None else in_order.of_rows(np.asarray(seen.observed))
        word = int(np.random.SeedSequence([seed, tries]).generate_state(1)[0]) if tries else seed
        mine = {column: side.at(left[which]) for column, side in sides.items()}
        block = draw_block(unmasker, size, word, number, seen, present, sides=mine)
        tries += size // len(left)
        good = np.ones(size, bool)
        if constraint.rules:
            whole = drawn_sides(schema, constraint.columns, block.codes, block.y, block.u, mine)
            hopeless = constraint.broken(mine)
            hopeless[:, 0] |= tries >= TRIES
            good = constraint.accepted(whole, hopeless, word, number)
        if keys.taken:
            drawn, given = schema.decode(block.codes[good], block.y[good], block.u[good]), part.take(left[which[good]])
            good[good] = keys.take(schema.put(drawn, given), given, which[good].tolist())
        filled, at = np.unique(which[good], return_index=True)
        some, chosen = left[filled], np.flatnonzero(good)[at]
        made.codes[some], made.y[some], made.u[some] = block.codes[chosen], block.y[chosen], block.u[chosen]
        left = np.delete(left, filled)
    return left
