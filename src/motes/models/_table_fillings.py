"""The missing entries of a table, drawn given the observed ones of their row.

All rows of a block are filled in together, each in an order in which its observed numbers come first. Rows of which
nothing is observed follow the model's own order. Rows that break a rule between columns are drawn again.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from motes.data._blocks import Blocks
from motes.data._frames import Frame
from motes.errors import DataError, check_count, check_seed
from motes.learning.tables._network import Rows
from motes.sampling._constraint import Side, Sides, drawn_sides, observed_sides
from motes.sampling._orders import AnyOrder
from motes.sampling._rows import Block, draw_block
from motes.sampling._unmasking import FEW
from motes.tables._conditions import NotMissing
from motes.tables._parts import Array, Codes, Mask

Integers = NDArray[np.integer]
TRIES = 1000  # draws of a row, after which the last one stays though it breaks a rule


def fill_blocks(
    orders: AnyOrder,
    rows: Blocks,
    draws: int,
    seed: int,
    on_block: Callable[[int], None] | None,
    name: str,
) -> Iterator[Iterator[Frame]]:
    """The rows with their missing entries filled in, `draws` times: each time all rows, block by block.

    Args:
        orders: of the model.
        rows: with the columns of the schema.
        draws: how many tables.
        seed: of the draws.
        on_block: called with the number of rows filled in so far, of all draws together.
        name: what messages call the rows.

    Raises:
        DataError: an entry that its column cannot hold; the message names row and column.
    """
    draws, seed = check_count(draws, "draws"), check_seed(seed)
    done = 0

    def filled(count: int) -> None:
        nonlocal done
        done += count
        if on_block is not None:
            on_block(done)

    for word in np.random.SeedSequence([seed, 577215]).generate_state(draws):
        yield _filled(orders, rows, int(word), filled, name)


def _filled(orders: AnyOrder, rows: Blocks, seed: int, filled: Callable[[int], None], name: str) -> Iterator[Frame]:
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
    orders: AnyOrder,
    known: Rows | None,
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
        mine = None if known is None else Rows(*(part[candidates] for part in known))
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


def _good(orders: AnyOrder, sides: Sides, rows: Integers, block: Block, seed: int, number: int) -> Mask:
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
