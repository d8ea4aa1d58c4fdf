"""Draws from a table's model and entries filled in: conditions, calibration of shares, blocks of rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data import Blocks, Frame
from motes.data.arrays import Series
from motes.data.readings import default_columns
from motes.errors import DataError, UsageError, check_count, check_seed, unknown
from motes.progress import OnProgress, Progress
from motes.tables.network import EncodedRows
from motes.tables.orders import AnyOrderModel, log_possible
from motes.tables.parts import (
    HERE,
    Among,
    Array,
    Between,
    Codes,
    Condition,
    Mask,
    Missing,
    Not,
    NotMissing,
    one_value,
)
from motes.tables.sampling import (
    Block,
    Constraint,
    Side,
    Sides,
    again,
    draw_block,
    drawn_sides,
    estimated,
    in_turn,
    log_prob_parts,
    observed_sides,
)
from motes.tables.schema import Schema
from motes.tables.unmasking import FEW, ROWS, MaskedDenoiser


@dataclass(frozen=True)
class RowConditions:
    """What is known of every row that is requested, checked against the columns of a table.

    Attributes:
        row: one row: the known values; all other entries are missing.
        others: column -> its condition, for the columns of which no value but something else is known.
    """

    row: Frame
    others: Mapping[str, Condition]

    def rows(self, n: int) -> Frame:
        """`row`, n times."""
        return self.row.take(np.zeros(n, np.int64))


def conditions_of(schema: Schema, given: Mapping[Any, Any]) -> RowConditions:
    """Check what is known of the rows of a table.

    Args:
        schema: of the table.
        given: column, by its name or by its place in an array -> a value; a set: one of its values; (low, high), both
            included, of which one may be None: no end; None: missing; or a condition such as `Not("Graz")`.

    Raises:
        UsageError: a column that there is not, a condition that means nothing for its column, or an interval that is
            none.
        DataError: a value that its column cannot hold, such as a label that the training did not see, or a condition
            that nothing in the training fulfils.
    """
    try:
        return _checked(schema, given)
    except DataError as error:
        raise DataError(str(error).replace(f"{HERE}, row 1, ", f"{HERE}, ", 1)) from None


def _checked(schema: Schema, given: Mapping[Any, Any]) -> RowConditions:
    values: dict[str, Series] = {}
    others: dict[str, Condition] = {}
    if not isinstance(given, Mapping):
        raise UsageError(
            f"{HERE}: got {type(given).__name__}; expected a dict, column -> condition, such as {{'age': 40}}."
        )
    for key, value in given.items():
        name = _named(key, schema.names)
        schema.check_not_aside(name)
        condition = _condition(name, value)
        if condition is None:
            values[name] = one_value(name, value)
            if name in schema.learned:
                kind = schema.kind_of(name)
                if message := kind.beyond(kind.read(values[name], HERE)):  # it is never drawn
                    raise DataError(f"{HERE}, column '{name}': got {values[name].cells()[0]}; expected {message}.")
        elif name in schema.kept:
            _check_kept(schema, name, condition)
        else:
            schema.restrict(name, condition)
            others[name] = condition
    row = Frame({name: values.get(name, Series.unknown(1)) for name in schema.names})
    schema.encode(row, name=HERE)  # which checks the values
    return RowConditions(row, others)


def _named(key: Any, names: tuple[str, ...]) -> str:
    """The column of this name, which may be a number, or at this place in an array, which names no columns."""
    if str(key) in names:
        return str(key)
    if hasattr(key, "__index__") and names == default_columns(len(names)) and 0 <= key.__index__() < len(names):
        return names[key.__index__()]
    raise UsageError(unknown("column", str(key), names))


def _condition(name: str, value: Any) -> Condition | None:
    """The condition that is meant; None: a value."""
    if isinstance(value, Condition):
        return value
    if value is None:
        return Missing()
    if isinstance(value, set | frozenset):
        if not value:
            raise UsageError(f"column '{name}' = {value!r}; expected a set with a value in it.")
        return Among(tuple(sorted(value, key=str)))
    if isinstance(value, tuple):
        if len(value) != 2 or value == (None, None):
            raise UsageError(
                f"column '{name}' = {value!r}; expected (low, high), one of which may be None, or a value."
            )
        return Between(*value)
    return None


def _check_kept(schema: Schema, name: str, condition: Condition) -> None:
    """Refuse a condition that a column with one value does not fulfil, or an interval of it."""
    one = schema.kept[name].cells()[0]
    if isinstance(condition, Between):
        raise UsageError(
            f"column '{name}' is the same in all rows, so that an interval from {condition.low} to {condition.high} "
            "says nothing. Leave the column out."
        )
    if not _holds_of(one, condition):
        raise DataError(f"{HERE}, column '{name}': got {condition}; expected {one}, as in all rows of the training.")


def _holds_of(one: Any, condition: Any) -> bool:
    match condition:
        case Among(values):
            return one in values
        case Missing():
            return one is None
        case NotMissing():
            return one is not None
        case Not(inner):
            return one is not None and not _holds_of(one, inner)
    return bool(one == condition)


# --- Rows of a table's model, block by block, of which something may be known ---------------------------------------
#
#     w(row) = p(row) / p(row in the order it was drawn in) * product over conditioned columns of p(condition | before)
#
# The first factor is there with `exact` alone. It leads from the order in which what is conditioned on comes first to
# the model's own order, which is its distribution. Rows are drawn again by their weights.
#
# Rules between columns are kept by rejection: a block holds the candidates that are accepted, and so fewer rows.


FAILED = 4  # blocks in a row, after which a condition counts as impossible
MANY = 8 * ROWS  # candidates of a block whose rows have weights: few of them say little of a condition's probability
FEWEST = MANY // 1000  # rows of a block that has not failed
CANDIDATES = 4  # rows that `exact` draws for each that is requested


@dataclass(frozen=True, repr=False)
class DrawnRows(Frame):
    """Rows, and what is known of them.

    Attributes:
        effective: the effective sample size: how many independent rows they are worth.
        log_evidence: log p of the conditions, in nats of the data's units; 0 where there are none.
    """

    effective: float = 0.0
    log_evidence: float = 0.0


def draw_blocks(
    orders: AnyOrderModel, n: int, given: Mapping[str, Any], seed: int, *, exact: bool
) -> Iterator[DrawnRows]:
    """n rows, some at a time; a block of candidates of which none meets the conditions comes as no rows.

    Args:
        orders: of the model.
        n: how many.
        given: conditions, as `conditions_of` takes them.
        seed: of the draws.
        exact: weigh rows by the model's own order; without conditions rows are drawn in it already.

    Raises:
        UsageError: what does not fit the columns or the model, or has probability 0.
        DataError: a value that its column cannot hold.
    """
    n, seed, schema = check_count(n, "rows"), check_seed(seed), orders.schema
    requested = conditions_of(schema, given)
    here = {name for name, series in requested.row.columns.items() if not series.missing[0]}
    valued = [name for name in schema.learned if name in here]
    restrictions = {name: schema.restrict(name, condition) for name, condition in requested.others.items()}
    conditioned = bool(valued or restrictions)
    exact = exact and conditioned
    weighed, constraint = exact or bool(restrictions), orders.constraint
    size = MANY if weighed or (valued and constraint.rules) else ROWS
    known_sides = _known_sides(schema, requested, [name for name in constraint.columns if name in valued])
    unmasker = orders.first([*valued, *restrictions]) if conditioned else orders.own
    drawn = np.array([part.column not in {*valued, *restrictions} for part in schema.parts])
    log_known = _log_known(orders, unmasker, requested, valued)

    def work(number: int) -> DrawnRows:
        known = orders.reader.read(schema.only(schema.encode(requested.rows(size)), valued)) if valued else None
        block = draw_block(unmasker, schema, size, seed, number, known, restrictions, exact=exact)
        if exact:
            block = _weighed(orders, unmasker, block, drawn, log_known)
        log_factor = 0.0
        if constraint.rules:
            block, log_factor = constraint.thinned(block, schema, known_sides, seed, number)
        keep = min(len(block.codes), size // CANDIDATES if exact else size)
        chosen, effective, evidence = np.arange(keep), float(keep), log_known
        if weighed and keep:
            chosen, effective, log_weight = again(block, keep, seed, number)
            effective, evidence = min(effective, float(keep)), log_weight + (0.0 if exact else log_known)
        evidence += log_factor if conditioned else 0.0
        rows = schema.decode(block.codes[chosen], block.y[chosen], block.u[chosen])
        if valued and len(chosen):
            rows = schema.put(rows, requested.rows(len(chosen)))
        return DrawnRows(rows.columns, effective, evidence)

    left, number, failed = n, 0, 0
    while left:
        most = size // CANDIDATES if exact else size
        for rows in in_turn(work, range(number, number - (-left // most))):
            number, failed = number + 1, 0 if len(rows) >= FEWEST else failed + 1
            if failed == FAILED:
                message = f"hardly any row of {FAILED * size:,} met the conditions {dict(given)}"
                message += f" and kept {constraint.words}" if constraint.rules else ""
                raise UsageError(f"{message}; expected a condition that the model holds possible. Widen it.")
            m = min(left, len(rows))
            yield DrawnRows(rows.take(slice(m)).columns, min(rows.effective, float(m)), rows.log_evidence)
            left -= m


def _log_known(orders: AnyOrderModel, unmasker: MaskedDenoiser, requested: RowConditions, valued: list[str]) -> float:
    """log p of the known values, in the data's units."""
    if not valued:
        return 0.0
    encoded = orders.schema.encode(requested.row)
    rows = orders.reader.read(orders.schema.only(encoded, valued))
    return float(
        (log_prob_parts(unmasker, rows).sum(axis=1) + np.where(rows.observed, encoded.log_unit, 0.0).sum(axis=1))[0]
    )


def _known_sides(schema: Schema, requested: RowConditions, columns: Sequence[str]) -> Sides:
    """The known values of some columns."""
    return observed_sides(schema, columns, requested.row, schema.encode(requested.row)) if columns else {}


def _weighed(orders: AnyOrderModel, unmasker: MaskedDenoiser, block: Block, drawn: Mask, log_known: float) -> Block:
    """The block with the weights that lead from the order it was drawn in to the model's distribution.

    `drawn` (p,) are the parts without a condition: within their ranges, as all parts are in rows without conditions.
    """
    frame = orders.schema.decode(block.codes, block.y, block.u)
    encoded = orders.schema.encode(frame)
    theirs, ours = orders.log_prob(unmasker, encoded), orders.log_prob(orders.own, encoded)
    theirs -= log_possible(unmasker, orders.schema, block, drawn)
    ours -= log_possible(orders.own, orders.schema, block, np.ones_like(drawn))
    return block._replace(log_weights=block.log_weights + ours - theirs + log_known)


# --- What is set once the members of a table are learned, from rows that they draw: biases of codes, and rules ------


CHANGES = 0.2, 5.0  # of a share by rejection, that calibration makes up for


class Adjusted(NamedTuple):
    """What is set after the training: the schema with the rules that are kept, these, and the biases."""

    schema: Schema
    bias: Sequence[Any]
    constraint: Constraint
    interrupted: bool


def adjusted(unmasker: MaskedDenoiser, schema: Schema, seed: int, *, calibrate: bool) -> Adjusted:
    """Biases, and the share of rows that keep the rules of the schema, from drawn rows.

    Args:
        unmasker: of the members, without biases.
        schema: with the rules that training rows keep.
        seed: of the draws.
        calibrate: give drawn rows the training rows' shares of each code.

    Ctrl-C ends it with what there is: what was learned is worth more than its marginals. Before the first
    estimate that is a model without rules.
    """
    made = Adjusted(replace(schema, rules=()), unmasker.no_bias, Constraint.none(), interrupted=True)
    masses = [part.masses for part in schema.parts]
    try:
        if calibrate:
            made = made._replace(bias=unmasker.calibrated(masses, seed))
        found = estimated(unmasker.with_bias(made.bias), schema, seed)
        made = made._replace(schema=found.schema, constraint=found.constraint)
        if calibrate and found.constraint.bends:  # rejection changes the marginals: change the targets
            targets = [mass / np.clip(times, *CHANGES) for mass, times in zip(masses, found.changes, strict=True)]
            bias = unmasker.calibrated([target / target.sum() for target in targets], seed)
            again = estimated(unmasker.with_bias(bias), found.schema, seed)
            if again.schema.rules == found.schema.rules:
                made = made._replace(bias=bias, constraint=again.constraint)
        return made._replace(interrupted=False)
    except KeyboardInterrupt:
        return made


# --- The missing entries of a table, drawn given the observed ones of their row -------------------------------------
#
# All rows of a block are filled in together, each in an order in which its observed numbers come first. Rows of which
# nothing is observed follow the model's own order. Rows that break a rule between columns are drawn again.


Integers = NDArray[np.integer]
TRIES = 1000  # draws of a row, after which the last one stays though it breaks a rule


def fill_blocks(
    orders: AnyOrderModel,
    rows: Blocks,
    draws: int,
    seed: int,
    on_progress: OnProgress,
    name: str,
) -> Iterator[Iterator[Frame]]:
    """The rows with their missing entries filled in, `draws` times: each time all rows, block by block.

    Args:
        orders: of the model.
        rows: with the columns of the schema.
        draws: how many tables.
        seed: of the draws.
        on_progress: called with the number of rows filled in so far, of all draws together.
        name: what messages call the rows.

    Raises:
        DataError: an entry that its column cannot hold; the message names row and column.
    """
    draws, seed = check_count(draws, "draws"), check_seed(seed)
    done = 0

    def filled(count: int) -> None:
        nonlocal done
        done += count
        on_progress(Progress(done))

    for word in np.random.SeedSequence([seed, 577215]).generate_state(draws):
        yield _filled(orders, rows, int(word), filled, name)


def _filled(
    orders: AnyOrderModel, rows: Blocks, seed: int, filled: Callable[[int], None], name: str
) -> Iterator[Frame]:
    schema = orders.schema
    for number, part in enumerate(rows.read()):
        try:
            encoded = schema.encode(part, name=name)
        except DataError:
            schema.encode(rows.whole(), name=name)  # which says it with the row's number among all rows
            raise
        codes, y = encoded.codes.copy(), encoded.y.copy()
        u = np.random.default_rng([seed, number]).random(codes.shape)
        encoded = replace(encoded, observed=schema.valued(encoded))  # a missing entry is filled in, code or not
        holes = np.flatnonzero(~encoded.observed.all(axis=1))
        word = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        read = orders.reader.read(encoded)
        sides = observed_sides(schema, orders.constraint.columns, part, encoded)
        anything = read.observed[holes].any(axis=1)
        for known, some in ((None, holes[~anything]), (read, holes[anything])):
            for start in range(0, len(some), most := orders.own.most_rows):
                rows_here = some[start : start + most]
                _fill(orders, known, sides, codes, y, u, rows_here, word)
                filled(len(rows_here))
        yield schema.put(schema.decode(codes, y, u), part)


def _fill(
    orders: AnyOrderModel,
    known: EncodedRows | None,
    sides: Sides,
    codes: Codes,
    y: Array,
    u: Array,
    rows: Integers,
    seed: int,
) -> None:
    """Draw the missing entries of `rows`, of which `known` entries are observed, or none at all."""
    schema, left, number, tries = orders.schema, rows, int(rows[0]), 0
    present = {part.column: schema.restrict(part.column, NotMissing()) for part in schema.parts if part.missing}
    while len(left):
        # Where only some rows are drawn again, each has several candidates, of which the first good one stays.
        size = FEW if len(left) <= FEW else orders.own.most_rows
        which = np.resize(np.arange(len(left)), size)
        candidates = left[which]
        mine = None if known is None else EncodedRows(*(part[candidates] for part in known))
        unmasker = orders.own if mine is None else orders.plain.of_rows(np.asarray(mine.observed))
        word = int(np.random.SeedSequence([seed, tries]).generate_state(1)[0]) if tries else seed
        block = draw_block(unmasker, schema, size, word, number, mine, present)
        tries += size // len(left)
        good = np.ones(size, bool)
        if orders.constraint.rules:
            good = _good(orders, sides, candidates, block, word, number)
        if tries >= TRIES:
            good[: len(left)] |= ~np.isin(np.arange(len(left)), which[good])
        filled, at = np.unique(which[good], return_index=True)
        chosen = np.flatnonzero(good)[at]
        some = left[filled]
        codes[some], y[some], u[some] = block.codes[chosen], block.y[chosen], block.u[chosen]
        left = np.delete(left, filled)


def _good(orders: AnyOrderModel, sides: Sides, rows: Integers, block: Block, seed: int, number: int) -> Mask:
    """Which candidates (n,) for `rows` (n,) rejection accepts."""
    constraint = orders.constraint
    mine = {column: side.at(rows) for column, side in sides.items()}
    drawn = drawn_sides(orders.schema, constraint.columns, block.codes, block.y, block.u)
    whole = {
        column: Side(np.where(mine[column].known, mine[column].values, side.values), side.known)
        for column, side in drawn.items()
    }
    u = np.random.default_rng([seed, 602214, number]).random(len(rows))
    return constraint.accepted(whole, constraint.broken(mine), u)
