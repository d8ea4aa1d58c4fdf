"""Drawing rows and filling in entries: conditions, blocks of rows, and the calibration after training."""

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
    """The conditions on the requested rows, checked against the columns of a table.

    Attributes:
        row: one row with the known values; all other entries are missing.
        others: column -> condition, for the columns with a condition other than a value.
    """

    row: Frame
    others: Mapping[str, Condition]

    def rows(self, n: int) -> Frame:
        """Return `row` n times."""
        return self.row.take(np.zeros(n, np.int64))


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
    try:
        return _check_conditions(schema, given)
    except DataError as error:
        raise DataError(str(error).replace(f"{HERE}, row 1, ", f"{HERE}, ", 1)) from None


def _check_conditions(schema: Schema, given: Mapping[Any, Any]) -> RowConditions:
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
                    raise DataError(f"{HERE}, column '{name}': got {values[name].cells()[0]}; expected {message}.")
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
        raise DataError(f"{HERE}, column '{name}': got {condition}; expected {one}, as in all training rows.")


def _meets_condition(one: Any, condition: Any) -> bool:
    match condition:
        case Among(values):
            return one in values
        case Missing():
            return one is None
        case NotMissing():
            return one is not None
        case Not(inner):
            return one is not None and not _meets_condition(one, inner)
    return bool(one == condition)


# --- Rows drawn block by block, with or without conditions ----------------------------------------------------------
#
#     w(row) = p(row) / p(row in the order it was drawn in) * product over conditioned columns of p(condition | before)
#
# The first factor is used with `exact` only. It corrects from the order with the conditioned columns first to the
# model's fixed order, which defines its distribution. Rows are resampled by their importance weights.
#
# Rules between columns are enforced by rejection: a block contains only accepted candidates, and so fewer rows.


FAILED = 4  # consecutive failed blocks, after which a condition counts as impossible
MANY = 8 * ROWS  # candidates in a block with weights: a small block would estimate the condition's probability badly
FEWEST = MANY // 1000  # minimum number of accepted rows of a block; with fewer it has failed
CANDIDATES = 4  # candidates per requested row with `exact`


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
    orders: AnyOrderModel, n: int, given: Mapping[str, Any], seed: int, *, exact: bool
) -> Iterator[DrawnRows]:
    """Yield n rows, block by block; if no candidate of a block meets the conditions, the block is empty.

    Args:
        orders: the model.
        n: number of rows.
        given: conditions, as `conditions_of` accepts them.
        seed: random seed.
        exact: resample rows to the model's fixed order; without conditions they are drawn in this order anyway.

    Raises:
        UsageError: if a condition does not fit the columns or the model, or has probability 0.
        DataError: if a column cannot hold a value.
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
            block = _weight_block(orders, unmasker, block, drawn, log_known)
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
                message += f" and obeyed {constraint.words}" if constraint.rules else ""
                raise UsageError(f"{message}; expected a condition that the model considers possible. Widen it.")
            m = min(left, len(rows))
            yield DrawnRows(rows.take(slice(m)).columns, min(rows.effective, float(m)), rows.log_evidence)
            left -= m


def _log_known(orders: AnyOrderModel, unmasker: MaskedDenoiser, requested: RowConditions, valued: list[str]) -> float:
    """Compute log p of the known values, in the data's units."""
    if not valued:
        return 0.0
    encoded = orders.schema.encode(requested.row)
    rows = orders.reader.read(orders.schema.only(encoded, valued))
    return float(
        (log_prob_parts(unmasker, rows).sum(axis=1) + np.where(rows.observed, encoded.log_unit, 0.0).sum(axis=1))[0]
    )


def _known_sides(schema: Schema, requested: RowConditions, columns: Sequence[str]) -> Sides:
    """Return the known values of some columns."""
    return observed_sides(schema, columns, requested.row, schema.encode(requested.row)) if columns else {}


def _weight_block(
    orders: AnyOrderModel, unmasker: MaskedDenoiser, block: Block, drawn: Mask, log_known: float
) -> Block:
    """Return the block with importance weights from the order of its draws to the model's distribution.

    `drawn` (p,) are the parts without a condition, which are drawn within their ranges, as in rows without conditions.
    """
    frame = orders.schema.decode(block.codes, block.y, block.u)
    encoded = orders.schema.encode(frame)
    theirs, ours = orders.log_prob(unmasker, encoded), orders.log_prob(orders.own, encoded)
    theirs -= log_possible(unmasker, orders.schema, block, drawn)
    ours -= log_possible(orders.own, orders.schema, block, np.ones_like(drawn))
    return block._replace(log_weights=block.log_weights + ours - theirs + log_known)


# --- After training: biases of tokens and rule factors, estimated from synthetic rows -------------------------------


CHANGES = 0.2, 5.0  # range of changes of a share by rejection for which calibration compensates


class Adjusted(NamedTuple):
    """The estimates after training: the schema with the remaining rules, the biases, and the constraint."""

    schema: Schema
    bias: Sequence[Any]
    constraint: Constraint
    interrupted: bool


def adjusted(unmasker: MaskedDenoiser, schema: Schema, seed: int, *, calibrate: bool) -> Adjusted:
    """Estimate the biases, and the share of rows that obey the rules of the schema, from synthetic rows.

    Args:
        unmasker: the members, without biases.
        schema: the schema with the rules of the training rows.
        seed: random seed.
        calibrate: match the shares of each token to the training rows.

    Ctrl-C ends the estimation early and keeps the trained model, without rules if nothing is estimated yet.
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


# --- Missing entries, drawn given the observed entries of their row -------------------------------------------------
#
# All rows of a block are filled in together, each in an order with its observed numbers first. Rows without an observed
# entry follow the model's fixed order. Rows that break a rule between columns are drawn again.


Integers = NDArray[np.integer]
TRIES = 1000  # draws of a row, after which the last one is used even if it breaks a rule


def fill_blocks(
    orders: AnyOrderModel,
    rows: Blocks,
    draws: int,
    seed: int,
    on_progress: OnProgress,
    name: str,
) -> Iterator[Iterator[Frame]]:
    """Fill in the missing entries of all rows, `draws` times; yield each table block by block.

    Args:
        orders: the model.
        rows: rows with the columns of the schema.
        draws: number of tables.
        seed: random seed.
        on_progress: called with the number of rows filled in so far, over all draws.
        name: name of the rows in messages.

    Raises:
        DataError: if a column cannot hold an entry; the message names row and column.
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
) -> Iterator[Frame]:
    schema = orders.schema
    for number, part in enumerate(rows.read()):
        try:
            encoded = schema.encode(part, name=name)
        except DataError:
            schema.encode(rows.whole(), name=name)  # raises with the row's number among all rows
            raise
        codes, y = encoded.codes.copy(), encoded.y.copy()
        u = np.random.default_rng([seed, number]).random(codes.shape)
        encoded = replace(encoded, observed=schema.valued(encoded))  # fill in missing entries with or without a token
        holes = np.flatnonzero(~encoded.observed.all(axis=1))
        word = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        read = orders.reader.read(encoded)
        sides = observed_sides(schema, orders.constraint.columns, part, encoded)
        anything = read.observed[holes].any(axis=1)
        for known, some in ((None, holes[~anything]), (read, holes[anything])):
            for start in range(0, len(some), most := orders.own.most_rows):
                rows_here = some[start : start + most]
                _fill_rows(orders, known, sides, codes, y, u, rows_here, word)
                filled(len(rows_here))
        yield schema.put(schema.decode(codes, y, u), part)


def _fill_rows(
    orders: AnyOrderModel,
    known: EncodedRows | None,
    sides: Sides,
    codes: Codes,
    y: Array,
    u: Array,
    rows: Integers,
    seed: int,
) -> None:
    """Draw the missing entries of `rows` given their `known` entries, or given nothing if None."""
    schema, left, number, tries = orders.schema, rows, int(rows[0]), 0
    present = {part.column: schema.restrict(part.column, NotMissing()) for part in schema.parts if part.missing}
    while len(left):
        # If few rows are left, draw several candidates for each, and use the first accepted one.
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
            good = _accept_candidates(orders, sides, candidates, block, word, number)
        if tries >= TRIES:
            good[: len(left)] |= ~np.isin(np.arange(len(left)), which[good])
        filled, at = np.unique(which[good], return_index=True)
        chosen = np.flatnonzero(good)[at]
        some = left[filled]
        codes[some], y[some], u[some] = block.codes[chosen], block.y[chosen], block.u[chosen]
        left = np.delete(left, filled)


def _accept_candidates(
    orders: AnyOrderModel, sides: Sides, rows: Integers, block: Block, seed: int, number: int
) -> Mask:
    """Return which candidates (n,) for `rows` (n,) rejection accepts."""
    constraint = orders.constraint
    mine = {column: side.at(rows) for column, side in sides.items()}
    drawn = drawn_sides(orders.schema, constraint.columns, block.codes, block.y, block.u)
    whole = {
        column: Side(np.where(mine[column].known, mine[column].values, side.values), side.known)
        for column, side in drawn.items()
    }
    u = np.random.default_rng([seed, 602214, number]).random(len(rows))
    return constraint.accepted(whole, constraint.broken(mine), u)
