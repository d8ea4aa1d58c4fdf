"""Rows of a table's model, block by block, of which something may be known.

    w(row) = p(row) / p(row in the order it was drawn in) * product over conditioned columns of p(condition | before)

The first factor is there with `exact` alone. It leads from the order in which what is conditioned on comes first to
the model's own order, which is its distribution. Rows are drawn again by their weights.

Rules between columns are kept by rejection: a block holds the candidates that are accepted, and so fewer rows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from motes.data._frames import Frame
from motes.errors import UsageError, check_count, check_seed
from motes.learning.tables._network import Rows
from motes.sampling._constraint import Sides, observed_sides
from motes.sampling._orders import AnyOrder, log_possible
from motes.sampling._rows import Block, again, draw_block, in_turn, log_prob_rows
from motes.sampling._unmasking import ROWS, Unmasker
from motes.tables._given import Conditions, conditions_of
from motes.tables._parts import Encoded, Mask
from motes.tables._schema import Schema

FAILED = 4  # blocks in a row, after which a condition counts as impossible
MANY = 8 * ROWS  # candidates of a block whose rows have weights: few of them say little of a condition's probability
FEWEST = MANY // 1000  # rows of a block that has not failed
CANDIDATES = 4  # rows that `exact` draws for each that is requested


@dataclass(frozen=True, repr=False)
class Drawn(Frame):
    """Rows, and what is known of them.

    Attributes:
        effective: the effective sample size: how many independent rows they are worth.
        log_evidence: log p of the conditions, in nats of the data's units; 0 where there are none.
    """

    effective: float = 0.0
    log_evidence: float = 0.0


def draw_blocks(orders: AnyOrder, n: int, given: Mapping[str, Any], seed: int, *, exact: bool) -> Iterator[Drawn]:
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

    def work(number: int) -> Drawn:
        known = _known(orders, schema.encode(requested.rows(size)), valued) if valued else None
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
        return Drawn(rows.columns, effective, evidence)

    left, number, failed = n, 0, 0
    while left:
        most = size // CANDIDATES if exact else size
        for rows in in_turn(partial(_shifted, work, number), -(-left // most)):
            number, failed = number + 1, 0 if len(rows) >= FEWEST else failed + 1
            if failed == FAILED:
                message = f"hardly any row of {FAILED * size:,} met the conditions {dict(given)}"
                message += f" and kept {constraint.words}" if constraint.rules else ""
                raise UsageError(f"{message}; expected a condition that the model holds possible. Widen it.")
            m = min(left, len(rows))
            yield Drawn(rows.take(slice(m)).columns, min(rows.effective, float(m)), rows.log_evidence)
            left -= m


def _log_known(orders: AnyOrder, unmasker: Unmasker, requested: Conditions, valued: list[str]) -> float:
    """log p of the known values, in the data's units."""
    if not valued:
        return 0.0
    encoded = orders.schema.encode(requested.row)
    rows = _known(orders, encoded, valued)
    return float((log_prob_rows(unmasker, rows) + np.where(rows.observed, encoded.log_unit, 0.0).sum(axis=1))[0])


def _known_sides(schema: Schema, requested: Conditions, columns: Sequence[str]) -> Sides:
    """The known values of some columns."""
    return observed_sides(schema, columns, requested.row, schema.encode(requested.row)) if columns else {}


def _known(orders: AnyOrder, encoded: Encoded, columns: Sequence[str]) -> Rows:
    """Rows of which these columns are seen: elsewhere, missing entries may have a code of their own."""
    rows = orders.reader.read(encoded)
    seen = [part.column in columns for part in orders.schema.parts]
    return rows._replace(observed=rows.observed & np.array(seen))


def _weighed(orders: AnyOrder, unmasker: Unmasker, block: Block, drawn: Mask, log_known: float) -> Block:
    """The block with the weights that lead from the order it was drawn in to the model's distribution.

    `drawn` (p,) are the parts without a condition: within their ranges, as all parts are in rows without conditions.
    """
    frame = orders.schema.decode(block.codes, block.y, block.u)
    encoded = orders.schema.encode(frame)
    theirs, ours = orders.log_prob(unmasker, encoded), orders.log_prob(orders.own, encoded)
    theirs -= log_possible(unmasker, orders.schema, block, drawn)
    ours -= log_possible(orders.own, orders.schema, block, np.ones_like(drawn))
    return block._replace(log_weights=block.log_weights + ours - theirs + log_known)


def _shifted(work: Callable[[int], Drawn], first: int, number: int) -> Drawn:
    return work(first + number)
