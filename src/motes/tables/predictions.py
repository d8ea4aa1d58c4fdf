"""Predict one column of a table given the other observed entries of each row, or all columns of one row.

    p(x_j | visible)

The probabilities of labels come from one pass. Numbers and dates are summarised from several draws for each row, made
in one block: the uniform numbers of rows with similar predictions are spread evenly (`unmasking.spread_evenly`), so
that the error falls nearly with the number of draws instead of its square root. Labels and draws are weighted by the
rules between them and observed columns, so that none breaks a rule without exceptions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from motes.data import Blocks, Frame, as_frame
from motes.data.arrays import Series, plain
from motes.errors import DataError, UsageError, check_count, check_seed
from motes.progress import OnProgress, Progress
from motes.tables.draws import AnsweredRows
from motes.tables.kinds.base import Kind
from motes.tables.layout import shares_of
from motes.tables.network import EncodedRows, Scale
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Encoded, Mask, Missing, Not, Part
from motes.tables.relations import Relation
from motes.tables.rules import RuleSides, observed_sides, solve, solved_rules
from motes.tables.schema import Schema
from motes.tables.unmasking import FEW_ROWS, ROWS, AnyOrderModel, MaskedDenoiser, MaskedRows, Within, pad_rows
from motes.tables.unmasking_steps import TokenPrediction
from motes.tables.user_rules import BoundRule

QUANTILES = (0.05, 0.5, 0.95)
DRAWS = 256  # draws per row


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


def label_probabilities(orders: AnyOrderModel, data: Any, column: str) -> tuple[Array, list[Any]]:
    """Compute the probabilities of labels; see `TableModel.predict_proba`."""
    frame, kind = rows_without(orders.schema, data, column, "the data"), orders.schema.kind_of(column)
    alone = len(kind.parts) == 1 and kind.measure == "number"
    part = orders.schema.parts[orders.schema.parts_of(column).start]
    if not kind.discrete and not (alone and not part.has_density):  # a token for each of few numbers, such as 0 and 1
        raise UsageError(f"column '{column}' is {kind.name}; expected labels, or few numbers. Use `predict`.")
    return _probabilities(orders, frame, orders.schema.encode(frame, unseen="mark"), kind), kind.label_cells()


def predict_blocks(
    orders: AnyOrderModel,
    rows: Blocks,
    column: str,
    quantiles: Sequence[float],
    draws: int,
    seed: int,
    on_progress: OnProgress,
    name: str,
) -> Iterator[AnsweredRows]:
    """Yield predictions for the rows of `rows_without`, block by block; see `TableModel.predict`."""
    quantiles, draws, seed = _check_quantiles(quantiles), check_count(draws, "draws"), check_seed(seed)
    schema, kind, number, done = orders.schema, orders.schema.kind_of(column), 0, 0
    if not kind.discrete and kind.measure is None:
        raise UsageError(
            f"column '{column}' of kind '{kind.name}' has neither a probability of each label nor an order, so "
            "there is no mean and no quantile. Draw values given the other columns: sample(given=...) or impute."
        )
    size = ROWS if kind.discrete else FEW_ROWS
    for block in rows.read():
        for start in range(0, len(block), size):
            part = block.take(slice(start, start + size))
            encoded = schema.encode(part, name=name, unseen="mark")
            if kind.discrete:
                columns = _label_columns(kind, _probabilities(orders, part, encoded, kind))
            else:
                rng = np.random.default_rng([seed, number, 141421])
                values = _draw_values(orders, encoded, column, draws, rng)
                if column in orders.constraint.columns:
                    sides = observed_sides(schema, orders.constraint.columns, part, encoded)
                    values = orders.constraint.reweighted(_solve_values(schema, column, values, sides), sides, column)
                columns = _summary_columns(kind, values, quantiles)
            number, done = number + 1, done + len(part)
            on_progress(Progress(done, rows.rows))
            yield AnsweredRows(columns, int((encoded.codes == IMPOSSIBLE).sum() + encoded.other.sum()))
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
    p = kind.of_labels(_last_codes(orders.first(others), rows)[:, : part.count - part.missing])
    p = p / p.sum(axis=1, keepdims=True)
    if kind.column not in orders.constraint.columns:
        return p
    values = np.broadcast_to(kind.outcomes, p.shape)
    sides = observed_sides(schema, orders.constraint.columns, frame, encoded)
    p = p * orders.constraint.weights(values, sides, kind.column)
    return p / p.sum(axis=1, keepdims=True)


def _last_codes(unmasker: MaskedDenoiser, known: EncodedRows) -> Array:
    """Compute the distribution (n, K) of the last part, a label, given the observed entries of rows (n, p)."""
    n, k = len(known.codes), len(unmasker.order) - 1
    made = []
    for start in range(0, n, ROWS):
        rows = unmasker.start(ROWS)
        unmasker.show_observed(rows, EncodedRows(*(pad_rows(part[start : start + ROWS], ROWS) for part in known)))
        derived, view = unmasker.derived(rows, int(unmasker.order[k])), unmasker.predict(rows, k)
        shares = np.exp(np.asarray(view.log_codes, np.float64))  # (M, ROWS, K)
        if derived:
            pi, rest = shares_of(view.links, derived)
            shares = shares * rest[..., None]
            for r, one in enumerate(derived):
                shares[:, np.arange(ROWS), one.codes] += pi[..., r]
        made.append(shares.mean(0))
    return np.concatenate(made)[:n]


# --- draws of numbers and dates ---------------------------------------------------------------------------------------


def _draw_values(
    orders: AnyOrderModel, encoded: Encoded, column: str, draws: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Draw values of a column given the other columns of each of at most FEW_ROWS rows, (n, draws)."""
    schema, n, made = orders.schema, len(encoded), []
    kind, at = schema.kind_of(column), schema.parts_of(column)
    others = [name for name in schema.learned if name != column]
    in_order, padded = orders.first([*others, column]), np.resize(np.arange(n), FEW_ROWS)
    known = EncodedRows(*(part[padded] for part in orders.reader.read(schema.only(encoded, others))))
    # The observed numbers of a row come first in its order, for which the Gaussian mixture is exact.
    unmasker = in_order.of_rows(orders.layout.known(known.codes, np.asarray(known.observed)))
    rows = unmasker.start(FEW_ROWS)
    unmasker.show_observed(rows, known)
    rows.y = np.where(rows.visible, encoded.y[padded], 0.0)  # double precision: relations hold between exact numbers
    first = list(in_order.order).index(at.start)
    present = schema.restrict(column, Not(Missing())) if schema.parts[at.start].missing else None
    count = n * draws
    size = FEW_ROWS if count < ROWS else unmasker.most_rows  # a few small blocks are faster than one padded block
    for begin in range(0, count, size):
        which = np.minimum(np.arange(begin, begin + size), count - 1) // draws
        here, copies = unmasker.take(which), rows.take(which)
        for k, j in enumerate(range(at.start, at.stop), first):
            here.draw(copies, k, here.allowed(copies, j, present), rng)
        y = copies.y[:, at]
        made.append(kind.decode(copies.codes[:, at], y, np.zeros(y.shape)))
    return np.concatenate(made)[:count].reshape(n, draws)


def _solve_values(schema: Schema, column: str, values: NDArray[Any], sides: RuleSides) -> NDArray[Any]:
    """Return draws of a column (n, r), with the values that rules determine given the other columns, (n,) each."""
    if not solved_rules(schema, column):
        return values
    n, r = values.shape
    copied = {name: np.repeat(side.values, r) for name, side in sides.items()}
    solved = solve(schema, column, copied, np.tile((np.arange(r) + 0.5) / r, n))
    return np.where(solved.here, solved.values, values.ravel()).reshape(n, r)


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


# --- The distributions of all masked columns of one row, each given the visible entries -----------------------------
#
#     p(low < x_j < high | visible) = p(token) (even share(low, high) + scale sum_c w_c (Phi_c(high) - Phi_c(low)))
#
# Each part is divided into pieces: its tokens, cut at the edges of a chart. The masses of a part sum to 1.


@dataclass(frozen=True)
class Pieces:
    """The m pieces of one part, from the lowest to the highest.

    Attributes:
        codes: (m,), the token that contains each piece.
        low, high: (m,), its ends in y; the first and the last piece of a line are unbounded. Equal for a point.
        y: (m,), the middle of each piece, within the range of draws.
    """

    codes: Codes
    low: Array
    high: Array
    y: Array

    def contain(self, code: int, y: float) -> Mask:
        """Return which pieces contain the place y of a token; one does."""
        return (self.codes == code) & (self.low <= y) & ((y < self.high) | (self.low == self.high))


def pieces_of(part: Part, scale: Scale | None, cuts: Array) -> Pieces:
    """Divide a part into its tokens and, if these stand for many values, at the rising `cuts` (c,)."""
    if scale is None:
        nothing = np.zeros(part.count)
        return Pieces(np.arange(part.count, dtype=np.int32), nothing, nothing, nothing)
    inside = [(cuts > a) & (cuts < b) & part.smooth for a, b in zip(scale.ends[:-1], scale.ends[1:], strict=True)]
    cut = [(a, *cuts[here]) for a, here in zip(scale.ends[:-1], inside, strict=True)]
    codes = np.repeat(np.arange(len(cut), dtype=np.int32), [len(ends) for ends in cut])
    ends = np.append(np.concatenate(cut), scale.ends[-1])
    first, last = ends[:-1].copy(), ends[1:].copy()
    y = (first + last) / 2
    wide = np.flatnonzero(last > first)
    if len(wide):  # values beyond the training rows belong to the outer pieces
        first[wide[0]], last[wide[-1]] = -np.inf, np.inf
    if part.missing:
        codes, (first, last, y) = np.append(codes, part.count - 1), (np.append(one, 0.0) for one in (first, last, y))
    return Pieces(codes.astype(np.int32), first, last, y)


def conditional_masses(orders: AnyOrderModel, pieces: Sequence[Pieces], frame: Frame, encoded: Encoded) -> list[Array]:
    """Compute p of each piece (m,) of each of the p parts, given one row's observed entries; 1 for visible parts.

    Args:
        orders: the model.
        pieces: the pieces of the parts.
        frame: the row, with the columns of the schema.
        encoded: the same row, encoded; unobserved entries are masked.
    """
    known, made = orders.reader.read(encoded), _rule_factors(orders, pieces, frame, encoded)
    visible = np.asarray(known.observed)[0]
    unmasker = orders.first(list(dict.fromkeys(orders.schema.parts[j].column for j in np.flatnonzero(visible))))
    rows = unmasker.start(1)
    unmasker.show_observed(rows, known)
    rows.y = np.where(visible, encoded.y, 0.0)  # double precision: relations hold between exact numbers
    for k, j in enumerate(map(int, unmasker.order)):
        if not visible[j]:
            view = jax.tree.map(lambda part: np.asarray(part)[:, 0], unmasker.predict(rows, k))
            made[j] *= _piece_masses(unmasker, rows, j, pieces[j], view)
        made[j] = made[j] / made[j].sum()
    return made


def _piece_masses(unmasker: MaskedDenoiser, rows: MaskedRows, j: int, pieces: Pieces, view: TokenPrediction) -> Array:
    """Compute p of the pieces of part j, (m,), the mean over the members, from the prediction of each, (M, ...)."""
    reader, derived = unmasker.reader, unmasker.derived(rows, j)
    p = np.exp(view.log_codes[:, pieces.codes].astype(np.float64))  # (M, m)
    if reader.scales[j] is not None:
        entry = reader.entry(j, pieces.codes, pieces.y, pieces.low, pieces.high)
        even = np.exp(entry["inner"])
        if view.density is None:
            p *= even
        else:
            take = lambda part: np.exp(part[:, pieces.codes].astype(np.float64))
            log_weights, means, sds = (part[:, None].astype(np.float64) for part in view.density.normals)
            upto = [ndtr((entry[end][:, None] - means) / sds) for end in ("low", "high")]  # (M, m, C)
            mass = take(view.density.log_even) * even
            mass += take(view.density.log_scale) * (np.exp(log_weights) * (upto[1] - upto[0])).sum(-1)
            origin, unit, _ = unmasker.coordinates(rows, j)
            limits = (
                unmasker.limits(j, Within(np.zeros(0), entry["low"], entry["high"], np.zeros(0)))
                if j in reader.linker.relatives
                else ()
            )
            for f, relative in enumerate(reader.linker.relatives.get(j, [])):
                cells = np.exp(view.density.frames.log_cells[:, f, : len(relative.masses)].astype(np.float64))
                upto_cells = np.pad(np.cumsum(cells, axis=1), ((0, 0), (1, 0)))
                v = [(end - origin[0, f]) / unit[0, f] for end in limits]
                of_ends = [np.stack([np.interp(end, relative.edges, one) for one in upto_cells]) for end in v]
                weights = np.exp(view.density.frames.log_weights[:, f, None] - view.density.log_q[:, pieces.codes])
                mass += weights * (of_ends[1] - of_ends[0])
            p *= np.where(entry["alone"], 1.0, mass)
    if derived:
        shares, rest = shares_of(view.links, [one.take(np.zeros(len(p), int)) for one in derived])
        p *= rest[:, None]
        for r, one in enumerate(derived):
            p += shares[:, r, None] * pieces.contain(one.codes[0], one.y[0])
    return p.mean(0)


def _rule_factors(orders: AnyOrderModel, pieces: Sequence[Pieces], frame: Frame, encoded: Encoded) -> list[Array]:
    """Compute the rule factor f of the pieces of each part, (m,), at the middle of each piece.

    Relations are left out: the pieces contain them already, and their value is hardly ever the middle of a piece. So
    are rules that determine a column.
    """
    made = [np.ones(len(one.codes)) for one in pieces]
    schema, rules = orders.schema, orders.constraint.rules
    exact = [isinstance(rule, Relation) or (isinstance(rule, BoundRule) and bool(rule.targets)) for rule in rules]
    constraint = orders.constraint.without(np.array(exact, bool))
    if not constraint.columns:
        return made
    sides = observed_sides(schema, constraint.columns, frame, encoded)
    for column in constraint.columns:
        at = schema.parts_of(column)
        if encoded.observed[0, at.start] or at.stop - at.start > 1:
            continue
        one, kind = pieces[at.start], schema.kind_of(column)
        here = one.codes < schema.parts[at.start].count - schema.parts[at.start].missing
        codes, y = np.where(here, one.codes, 0)[:, None], one.y[:, None]
        values = np.where(here, kind.decode(codes, y, np.zeros(y.shape)).astype(np.float64), np.nan)
        made[at.start] = constraint.weights(values[None], sides, column)[0]
    return made
