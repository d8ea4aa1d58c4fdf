"""Predict one column of a table given the other observed entries of each row.

    p(x_j | visible)

The probabilities of labels come from one pass. Numbers and dates are summarised from several draws for each row, made
in one block: the uniform numbers of rows with similar predictions are spread evenly (`unmasking.spread_evenly`), so
that the error falls nearly with the number of draws instead of its square root. Labels and draws are weighted by the
rules between them and observed columns, so that none breaks a rule without exceptions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.data import Blocks, Frame, as_frame
from motes.data.arrays import Series, plain
from motes.errors import DataError, UsageError, check_count, check_seed
from motes.progress import OnProgress, Progress
from motes.tables.kinds.base import Kind
from motes.tables.layout import Derived
from motes.tables.network import EncodedRows
from motes.tables.orders import AnyOrderModel
from motes.tables.parts import IMPOSSIBLE, Array, Encoded
from motes.tables.sampling import last_codes, observed_sides
from motes.tables.schema import Schema
from motes.tables.unmasking import FEW, ROWS, MaskedDenoiser

QUANTILES = (0.05, 0.5, 0.95)
DRAWS = 256  # draws per row


@dataclass(frozen=True, repr=False)
class Predicted(Frame):
    """The predictions for each row.

    Attributes:
        ignored: number of impossible entries, such as unseen labels, which count as unknown.
    """

    ignored: int = 0


def rows_without(schema: Schema, data: Any, column: str, name: str) -> Frame:
    """Return the rows of `data` with the columns of the schema and an unknown `column`, which `data` may lack.

    Raises:
        UsageError: if the column is not learned.
        DataError: if another column is missing or additional.
    """
    schema.kind_of(column)  # checks the name
    # An array has no column names, so it must have all columns.
    data = plain(data, name)
    nameless = isinstance(data, np.ndarray | list | tuple)
    frame = schema.frame(data, name=name) if nameless else as_frame(data, name=name)
    return schema.frame(Frame({**frame.columns, column: Series.unknown(len(frame))}), name=name)


def label_probabilities(orders: AnyOrderModel, data: Any, column: str, name: str) -> tuple[Array, list[Any]]:
    """Compute the probabilities of labels; see `TableModel.predict_proba`."""
    schema = orders.schema
    frame = rows_without(schema, data, column, name)
    kind = schema.kind_of(column)
    if not kind.discrete:
        raise UsageError(f"column '{column}' is {kind.name}; expected labels. Use `predict`, which accepts any kind.")
    return _probabilities(orders, frame, schema.encode(frame, name=name, unseen="mark"), kind), kind.label_cells()


def predict_blocks(
    orders: AnyOrderModel,
    rows: Blocks,
    column: str,
    quantiles: Sequence[float],
    draws: int,
    seed: int,
    on_progress: OnProgress,
    name: str,
) -> Iterator[Predicted]:
    """Yield predictions for the rows of `rows_without`, block by block; see `TableModel.predict`."""
    quantiles, draws, seed = _check_quantiles(quantiles), check_count(draws, "draws"), check_seed(seed)
    kind, done = orders.schema.kind_of(column), 0

    def predicted(count: int) -> None:
        nonlocal done
        done += count
        on_progress(Progress(done, rows.rows))

    number = 0
    for block in rows.read():
        for start in range(0, len(block), ROWS):
            part = block.take(slice(start, start + ROWS))
            encoded = orders.schema.encode(part, name=name, unseen="mark")
            if kind.discrete:
                columns = _label_columns(kind, _probabilities(orders, part, encoded, kind))
                predicted(len(part))
            else:
                word = int(np.random.SeedSequence([seed, number, 141421]).generate_state(1)[0])
                values = _draw_values(orders, encoded, column, draws, word, predicted)
                if column in orders.constraint.columns:
                    sides = observed_sides(orders.schema, orders.constraint.columns, part, encoded)
                    values = orders.constraint.reweighted(values, sides, column)
                columns = _summary_columns(kind, values, quantiles)
            ignored = int((encoded.codes == IMPOSSIBLE).sum() + encoded.other.sum())
            yield Predicted(columns, ignored)
            number += 1
    if not number:
        raise DataError(f"{name} has no rows; expected at least 1.")


def _check_quantiles(quantiles: Sequence[float]) -> tuple[float, ...]:
    try:
        made = tuple(float(share) for share in quantiles)
    except (TypeError, ValueError):
        made = (np.nan,)
    if not all(0 < share < 1 for share in made):
        raise UsageError(f"quantiles = {quantiles!r}; expected numbers between 0 and 1, such as (0.05, 0.5, 0.95).")
    return made


def _probabilities(orders: AnyOrderModel, frame: Frame, encoded: Encoded, kind: Kind) -> Array:
    """Compute p(label | the other observed entries) for each row of a frame and its encoding, (n, l)."""
    schema = orders.schema
    part = schema.parts[schema.parts_of(kind.column).start]
    others = [other for other in schema.learned if other != kind.column]
    rows = orders.reader.read(schema.only(encoded, others))
    p = kind.of_labels(last_codes(orders.first(others), rows, part.count - part.missing))
    if kind.column not in orders.constraint.columns:
        return p
    values = np.broadcast_to(kind.outcomes, p.shape)
    sides = observed_sides(schema, orders.constraint.columns, frame, encoded)
    p = p * orders.constraint.weights(values, sides, kind.column)
    return p / p.sum(axis=1, keepdims=True)


# --- draws of numbers and dates ---------------------------------------------------------------------------------------


def _draw_values(
    orders: AnyOrderModel, encoded: Encoded, column: str, draws: int, seed: int, predicted: Callable[[int], None]
) -> NDArray[Any]:
    """Draw values of a column given the other columns of each row, (n, draws)."""
    schema = orders.schema
    kind, at = schema.kind_of(column), schema.parts_of(column)
    others = [name for name in schema.learned if name != column]
    rows, made = orders.reader.read(schema.only(encoded, others)), []
    in_order = orders.first([*others, column])
    for start in range(0, len(encoded), FEW):
        few = np.arange(start, min(start + FEW, len(encoded)))
        rng = np.random.Generator(np.random.Philox(key=[seed, start]))
        take = lambda part, few=few: part[np.resize(few, FEW)]
        # Places in double precision: relations hold between the exact numbers.
        known = take(rows.codes), take(encoded.y), take(np.asarray(rows.observed))
        # The observed numbers of a row come first in its order, for which the Gaussian mixture is exact.
        unmasker = in_order.of_rows(orders.layout.known(known[0], known[-1]))
        derived = unmasker.derived(at.start, *known)
        copies = len(few) * draws
        codes, y = _draw_few(schema, unmasker, jax.tree.map(take, rows), derived, at, copies, draws, rng)
        made.append(kind.decode(codes, y, np.zeros(y.shape)).reshape(len(few), draws))
        predicted(len(few))
    return np.concatenate(made)


def _draw_few(
    schema: Schema,
    unmasker: MaskedDenoiser,
    rows: EncodedRows,
    derived: Sequence[Derived],
    at: slice,
    count: int,
    draws: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int32], Array]:
    """Draw tokens and places (count, q) of the parts `at`: `draws` for each of FEW rows, one row after the other."""
    seen, order = unmasker.start(FEW), list(map(int, unmasker.order))
    first = order.index(at.start)
    for k, j in enumerate(order[:first]):
        seen = unmasker.show(seen, k, rows.codes[:, j], rows.y[:, j], rows.u[:, j], rows.observed[:, j])
    size = FEW if count < ROWS else unmasker.most_rows  # a few small blocks are faster than one padded block
    q = at.stop - at.start
    codes, y = np.zeros((count, q), np.int32), np.zeros((count, q))
    everywhere = np.ones(size, bool)
    for start in range(0, count, size):
        which = np.minimum(np.arange(start, start + size), count - 1) // draws
        copies = jax.tree.map(lambda part, which=which: jnp.take(part, which, axis=1), seen)
        here = unmasker.take(which)
        mine_codes, mine_y = np.zeros((size, q), np.int32), np.zeros((size, q))
        for i in range(q):
            j = at.start + i
            within = here.everything(j)
            if schema.parts[j].missing:
                within = within._replace(shares=np.append(within.shares[:-1], 0.0))
            if i and (possible := schema.allowed(j, mine_codes[:, :i], mine_y[:, :i])) is not None:
                within = within._replace(shares=possible.astype(float))
            given = [one.take(which) for one in derived] if not i else []
            found = here.draw(copies, first + i, within, rng, given)
            mine_codes[:, i], mine_y[:, i], ranks, _ = found
            if i < q - 1:
                copies = here.show(copies, first + i, mine_codes[:, i], mine_y[:, i], ranks, everywhere)
        some = slice(start, start + size)
        codes[some], y[some] = mine_codes[: len(codes[some])], mine_y[: len(y[some])]
    return codes, y


# --- summaries --------------------------------------------------------------------------------------------------------


def _label_columns(kind: Kind, p: Array) -> dict[str, Series]:
    """Return the most probable label of each row, and the probability of each label."""
    nothing = np.zeros(len(p), bool)
    each = {f"p({label})": Series("real", p[:, k], nothing) for k, label in enumerate(kind.label_cells())}
    return {"label": kind.series(kind.outcomes[p.argmax(axis=1)], nothing), **each}


def _summary_columns(kind: Kind, values: NDArray[Any], quantiles: Sequence[float]) -> dict[str, Series]:
    """Compute the mean, standard deviation and quantiles of draws (n, draws) of each row."""
    nothing = np.zeros(len(values), bool)
    mean, sd = kind.mean_and_sd(values)
    made = {"mean": mean, "sd": Series("real", sd, nothing)}
    for share in quantiles:  # possible values of the column
        made[f"q{share:g}"] = kind.series(np.quantile(values, share, axis=1, method="inverted_cdf"), nothing)
    return made
