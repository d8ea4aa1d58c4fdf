"""Fit a model to a table with columns of any kind."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Frame, as_frame
from motes.data.arrays import check_weights, warn
from motes.data.points import content_keys, fingerprint_of
from motes.data.stored import ManyRows
from motes.errors import UsageError, check_process, check_seed
from motes.tables.calibration import adjusted, slopes_of
from motes.tables.layout import layout_of
from motes.tables.model import TableModel
from motes.tables.moments import moment_warnings
from motes.tables.network import EncodedRows, MaskedModel, MaskedNetwork, Reader
from motes.tables.parts import Encoded
from motes.tables.recipe import TableRecipe
from motes.tables.relations import Rule
from motes.tables.relative import order_for
from motes.tables.rules import broken_by, columns_of, observed_sides, planned_order
from motes.tables.schema import Schema, counting
from motes.tables.training import Plan, TableRows, first_members, options_of, order_of, table_task
from motes.tables.unmasking import AnyOrderModel
from motes.training import Provenance, Trained
from motes.training.checkpoints import FitSession
from motes.training.loop import RowsOnDisk, TrainingTask, fit_model
from motes.training.model import run_of

PIECES = 10_000_000  # maximum sum of the pieces of all rows, see `TableRows`
# Options of the network.
NETWORK = "bins", "missing", "relations", "width", "depth", "components", "members", "own"


def fit_table(
    data: Any,
    recipe: TableRecipe,
    *,
    columns: Mapping[str, Any] | None = None,
    weights: ArrayLike | None = None,
    seed: int = 0,
    schema: Schema | None = None,
    session: FitSession = FitSession(),
) -> TableModel:
    """Train a model on a table with columns of any kind.

    Args:
        data: a NumPy array, a pandas, polars or Arrow table, or another input of `motes.data.frames.as_frame`.
        recipe: the recipe; its section [columns] sets the kinds and options of columns.
        columns: kinds and options of columns, which override the recipe and the inferred kinds; see `Schema.fit`.
        weights: sample weights (n,), at least 0, as in `motes.fit`; None: 1 each.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        schema: a schema that was already fitted to these rows.
        session: the name of the data, a model to continue from, checkpoints and progress.

    Raises:
        DataError: invalid data; the message names the row and the column.
        UsageError, RecipeError: an invalid recipe, unknown columns, a start with another network, or a start with a
            complete training.
        TrainingError: the training diverged; `result` is the model with the last good weights.
    """
    check_process()
    seed, start = check_seed(seed), session.start_as(TableModel)
    frame = as_frame(data, name=session.name)
    row_weights = None if weights is None else check_weights(weights, len(frame), session.name)
    chosen = replace(recipe, columns={**recipe.columns, **(columns or {})})
    if start is not None:
        _check_start(start, chosen)
        schema = start.schema.with_rules(chosen.rules.hold, frame, weights=row_weights, name=session.name)
    elif schema is None:
        schema = schema_of(frame, chosen, weights=row_weights, name=session.name)
    rows, keys, rules, fingerprint = _encode(frame, schema, row_weights, session.name)
    worth, plan = rows.worth, _plan(schema)
    layout = layout_of(schema)
    options = options_of(chosen.table, worth, schema.parts)
    run = run_of(chosen, seed, keys, rows.weights)
    earlier, on_disk = None if start is None else start.models, frame.many is not None
    first, split = first_members(rows, layout, options, seed, earlier, on_disk=on_disk)
    disk = None
    if frame.many is not None:
        held = (split.hold > 0).any(axis=0) & (rows.pieces == 1)  # of a frequent row, only some copies are held out
        disk = _write_rows(frame.many, schema, keys[held], session)
    if session.kept is not None:  # the same bits, whatever machine fitted the mixture
        first = MaskedModel(first.network, session.kept.tree("members", first.base))

    def task(steps: int) -> TrainingTask[MaskedNetwork]:
        return table_task(first, layout, plan, rows, split, replace(options, steps=steps), seed, disk)

    def model_of(trained: Trained[MaskedNetwork]) -> TableModel:
        models, kept = MaskedModel(trained.averaged, first.base), replace(schema, rules=rules)
        slopes = slopes_of(layout, rows.rows, rows.weights, plan.order)
        orders = AnyOrderModel(kept, models, plan.order, slopes)
        orders, interrupted = adjusted(orders, seed, calibrate=chosen.table.calibrate)
        trained.interrupted |= interrupted
        for message in orders.constraint.warnings:
            warn(message)
        provenance = Provenance(session.source, fingerprint, seed)
        model = TableModel(orders, chosen, provenance=provenance, training=trained)
        if chosen.table.calibrate and not trained.interrupted:
            try:
                for message in moment_warnings(model, frame, row_weights, seed):
                    warn(message)
            except KeyboardInterrupt:
                trained.interrupted = True
        return model

    before = _continuable_training(start, chosen)
    return fit_model(task, model_of, session, run=run, steps=options.steps, key="table.steps", before=before)


def _check_start(start: TableModel, recipe: TableRecipe) -> None:
    """Check that the recipe has the network of the start."""
    for key in NETWORK:
        got, has = getattr(recipe.table, key), getattr(start.recipe.table, key)
        if got != has:
            raise UsageError(
                f"got table.{key} = {got} and a start with {has}; expected the same network. Leave the option out, "
                "or train a new model without a start."
            )


def _continuable_training(start: TableModel | None, recipe: TableRecipe) -> Trained[MaskedNetwork] | None:
    """Return the training of the start, if it belongs to its weights and stored averages if this recipe does."""
    if start is None or start.training is None:
        return None
    own = start.training.averaged is start.models.network
    alike = bool(start.recipe.table.averages) == bool(recipe.table.averages)
    return start.training if own and alike else None


def _encode(
    frame: Frame, schema: Schema, weights: NDArray[np.float64] | None, name: str
) -> tuple[TableRows, NDArray[np.uint64], tuple[Rule, ...], str]:
    """Encode the rows with a weight above 0.

    Returns:
        The distinct rows, sorted by their keys, so that the order of the input does not matter; their keys, hashes
        (n,); the rules of the schema that they obey; and the hash of all rows.
    """
    weights = np.ones(len(frame)) if weights is None else weights
    if not weights.all():  # a row with weight 0 may have values that no other row has
        some = np.flatnonzero(weights)
        frame, weights = frame.take(some), weights[some]
    encoded = schema.encode(frame, name=name)
    own = schema.contents(frame, name=name)
    keys, place, which = np.unique(content_keys(own), return_index=True, return_inverse=True)
    kept = _obeyed_rules(schema, frame, encoded)
    valued = schema.valued(encoded)[place]
    fields = Reader.of(schema, training=True).read(encoded)._asdict()
    del encoded  # one field at a time: they take most of the memory of a large table
    for field in fields:
        fields[field] = fields[field][place]
    rows = EncodedRows(**fields)
    row_weights = np.bincount(which, counting(weights)).astype(np.float64)
    return TableRows(rows, row_weights, _count_pieces(rows, row_weights), valued), keys, kept, fingerprint_of(own)


def _write_rows(many: ManyRows, schema: Schema, held: NDArray[np.uint64], session: FitSession) -> RowsOnDisk:
    """Write all rows to disk, except those with the keys `held`, and return how they are read and encoded."""
    is_learned = lambda rows: ~np.isin(content_keys(schema.contents(rows, name=session.name)), held)
    some = many.only(is_learned, hashlib.sha256(held.tobytes()).hexdigest())
    stored, reader = some.store([column.name for column in schema.compared], session.scratch), Reader.of(schema)

    def read(index: NDArray[np.integer]) -> EncodedRows:
        rows = reader.read(schema.encode(stored.read(index.ravel()), unseen="mark"))
        return EncodedRows(*(part.reshape(*index.shape, *part.shape[1:]) for part in rows))

    return RowsOnDisk(len(stored), read)


def schema_of(
    frame: Frame,
    recipe: TableRecipe,
    *,
    weights: NDArray[np.float64] | None = None,
    name: str = "the data",
    checked: Frame | None = None,
) -> Schema:
    """Fit the schema of rows with the options of a recipe, and check its rules on these rows, or on the rows `checked`.

    Raises:
        DataError: invalid rows, or a rule that too many rows break.
        UsageError: a rule that does not fit the columns.
    """
    table = recipe.table
    made = Schema.fit(
        frame, recipe.columns, missing=table.missing, bins=table.bins, weights=weights, relations=table.relations,
        name=name,
    )  # fmt: skip
    return made.with_rules(recipe.rules.hold, frame if checked is None else checked, weights=weights, name=name)


def _plan(schema: Schema) -> Plan:
    """Return the fixed order of the tokens: a column comes after those from which it follows or that determine it."""
    units = np.array([schema.learned.index(part.column) for part in schema.parts])
    entropies = np.array([-(part.masses * np.log(part.masses)).sum() for part in schema.parts])
    follows: dict[int, list[int]] = {}
    for one in schema.dependencies:
        follows.setdefault(schema.learned.index(one.column), []).append(schema.learned.index(one.given))
    order = order_of(entropies, units, follows)
    if schema.relatives:
        order = _order_with_relatives(schema, order)
    return Plan(planned_order(schema, order), units.astype(np.int32))


def _order_with_relatives(schema: Schema, order: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return an order of the tokens in which more histograms apply, and dependencies as before."""
    columns = list(dict.fromkeys(schema.parts[j].column for j in order))
    pairs = [(one.given, one.column) for one in schema.dependencies]
    pairs = [pair for pair in pairs if columns.index(pair[0]) < columns.index(pair[1])]
    allowed = lambda some: all(some.index(before) < some.index(after) for before, after in pairs)
    place = {column: k for k, column in enumerate(order_for(schema.relatives, columns, allowed))}
    return order[np.argsort([place[schema.parts[j].column] for j in order], kind="stable")]


def _obeyed_rules(schema: Schema, frame: Frame, encoded: Encoded) -> tuple[Rule, ...]:
    """Return the rules that rows break at most twice as often as the rows of the schema, which may be earlier ones."""
    if not schema.rules:
        return ()
    sides = observed_sides(schema, columns_of(schema.rules), frame, encoded)
    broken = broken_by(schema.rules, sides).mean(axis=0)
    return tuple(rule for rule, share in zip(schema.rules, broken, strict=True) if share <= 2 * rule.shares[0])


def _count_pieces(rows: EncodedRows, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of equal parts into which the weight of each row can be split, (n,); see `TableRows`."""
    rare = ((np.asarray(rows.inner) != 0) & np.asarray(rows.observed)).any(axis=1)
    pieces = np.clip(np.round(weights), 1, max(PIECES // len(weights), 1)).astype(np.int64)
    return np.where(rare, 1, pieces)
