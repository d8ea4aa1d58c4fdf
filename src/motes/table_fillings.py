"""The missing entries of a table, drawn given the observed ones of their row.

Rows with the same observed entries are filled in together, in an order in which these entries come first.
"""

from collections.abc import Callable, Iterator

import jax
import numpy as np
from numpy.typing import NDArray

from motes.data.blocks import Blocks
from motes.data.frames import Frame
from motes.errors import DataError, check_count, check_seed
from motes.learning.tables.network import Rows
from motes.sampling.orders import AnyOrder, patterns
from motes.sampling.rows import draw_block
from motes.sampling.unmasking import FEW, ROWS
from motes.tables.conditions import NotMissing
from motes.tables.parts import Array, Codes, Mask

Integers = NDArray[np.integer]


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
        for j, one in enumerate(schema.parts):
            if one.missing:  # a missing entry is to be filled in, whether or not it has a code
                encoded.observed[encoded.codes[:, j] == one.count - 1, j] = False
        holes = np.flatnonzero(~encoded.observed.all(axis=1))
        word = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
        read = orders.reader.read(encoded)
        for pattern, some in patterns(encoded.observed[holes]):
            _fill(orders, read, codes, y, u, holes[some], pattern, word)
            filled(len(some))
        yield schema.put(schema.decode(codes, y, u), part)


def _fill(
    orders: AnyOrder, read: Rows, codes: Codes, y: Array, u: Array, rows: Integers, seen: Mask, seed: int
) -> None:
    """Draw the missing entries of rows with the same observed parts `seen` (p,)."""
    schema = orders.schema
    known = [name for name in schema.learned if seen[schema.parts_of(name).start]]
    drawn = [part.column for part, here in zip(schema.parts, seen, strict=True) if part.missing and not here]
    present = {name: schema.restrict(name, NotMissing()) for name in drawn}
    unmasker = orders.first(known) if known else orders.own
    for start in range(0, len(rows), ROWS):
        some = rows[start : start + ROWS]
        size = FEW if len(some) <= FEW else ROWS
        whole = np.concatenate([some, np.repeat(some[:1], size - len(some))])
        known_rows = jax.tree.map(lambda part, whole=whole: part[whole], read)
        number = int(some[0]) + start
        block = draw_block(unmasker, schema, size, seed, number, known_rows if known else None, present)
        codes[some], y[some], u[some] = block.codes[: len(some)], block.y[: len(some)], block.u[: len(some)]
