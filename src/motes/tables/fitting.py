"""From the rows of a table of any columns to a trained model."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Frame, as_frame
from motes.data.arrays import check_weights
from motes.data.points import content_keys, fingerprint_of
from motes.errors import UsageError, check_process, check_seed
from motes.tables.draws import adjusted
from motes.tables.layout import layout_of
from motes.tables.model import TableModel
from motes.tables.network import EncodedRows, MaskedModel, MaskedNetwork, Reader, knows_labels
from motes.tables.orders import AnyOrder
from motes.tables.parts import Encoded
from motes.tables.recipe import TableRecipe
from motes.tables.relations import Dependency, Inequality, Relation
from motes.tables.sampling import broken_by, columns_of, observed_sides
from motes.tables.schema import Schema, counting
from motes.tables.training import FEW, Plan, TableRows, first_members, options_of, order_of, table_task
from motes.tables.unmasking import Unmasker
from motes.training import Provenance, Trained
from motes.training.loop import TrainingTask, fit_model
from motes.training.model import FitSession, run_of

PIECES = 10_000_000  # into which the weights of all rows are divided, at most
NETWORK = "bins", "missing", "relations", "width", "depth", "dropout", "components", "own"  # keys of the network


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
    """Train a model on the rows of a table of any columns.

    Args:
        data: whatever `motes.data.frames.as_frame` takes: a NumPy array, a pandas, polars or Arrow table, ...
        recipe: how to train; its section [columns] says what columns are.
        columns: what columns are, in the place of what the recipe says or what is inferred; see `Schema.fit`.
        weights: how many rows each row stands for (n,), at least 0, as `motes.fit` takes them; None: 1 each.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        schema: one that was fitted to these rows already.
        session: what the data is called, a model to go on from, checkpoints and progress.

    Raises:
        DataError: data that cannot be used; the message names the row and the column.
        UsageError, RecipeError: a recipe that cannot be followed, columns that there are not, a start of another
            network, or one whose training is complete.
        TrainingError: the training diverged; `result` is the model of the last good weights.
    """
    check_process()
    chosen, seed, start = recipe, check_seed(seed), session.start_as(TableModel)
    frame = as_frame(data, name=session.name)
    heavy = None if weights is None else check_weights(weights, len(frame), session.name)
    chosen = replace(chosen, columns={**chosen.columns, **(columns or {})})
    if start is not None:
        _check_start(start, chosen)
        schema = start.schema
    elif schema is None:
        schema = schema_of(frame, chosen, weights=heavy, name=session.name)
    table = _encoded(frame, schema, heavy, session.name)
    worth = table.data.worth
    labels = worth < FEW if start is None else knows_labels(schema.parts, start.models.base.means)
    layout = layout_of(schema, labels=labels)
    options = options_of(chosen.table, worth, layout.parts)
    run = run_of(chosen, seed, table.keys, table.data.weights)
    first, split = first_members(table.data, layout, options, seed, None if start is None else start.models)
    if session.kept is not None:  # to the bit, whatever machine fitted it
        first = MaskedModel(first.network, session.kept.tree("members", first.base))

    def task(steps: int) -> TrainingTask[MaskedNetwork]:
        return table_task(first, layout, table.plan, table.data, split, replace(options, steps=steps), seed)

    def model_of(trained: Trained[MaskedNetwork]) -> TableModel:
        models = MaskedModel(trained.averaged, first.base)
        ranges = [schema.draw_range(j) for j in range(layout.parts)]
        unmasker = Unmasker.of(models, layout, table.reader, table.plan.order, ranges)
        kept = replace(schema, rules=table.rules)
        made = adjusted(unmasker, kept, seed, calibrate=chosen.table.calibrate)
        trained.interrupted |= made.interrupted
        orders = AnyOrder(made.schema, models, table.plan.order, tuple(made.bias), made.constraint)
        provenance = Provenance(session.source, table.fingerprint, seed)
        return TableModel(orders, chosen, provenance=provenance, training=trained)

    before = _training_of(start, chosen)
    return fit_model(task, model_of, session, run=run, steps=options.steps, key="table.steps", before=before)


def _check_start(start: TableModel, recipe: TableRecipe) -> None:
    """Refuse to go on with another network than that of the start."""
    for key in NETWORK:
        got, has = getattr(recipe.table, key), getattr(start.recipe.table, key)
        if got != has:
            raise UsageError(
                f"got table.{key} = {got} and a start with {has}; expected the same network. Leave it out, or train a "
                "new model, without a start."
            )


def _training_of(start: TableModel | None, recipe: TableRecipe) -> Trained[MaskedNetwork] | None:
    """What the training left whose weights are those of the start, if it kept averages where this one does."""
    if start is None or start.training is None:
        return None
    own = start.training.averaged is start.models.network
    alike = bool(start.recipe.table.averages) == bool(recipe.table.averages)
    return start.training if own and alike else None


class _Table(NamedTuple):
    """Rows as they are learned.

    Attributes:
        data: each once, in an order of their own, so that the order of the input has no bearing on what is learned.
        keys: of these rows, (n,), rising.
        reader: between entries and what the network takes.
        plan: of the parts.
        rules: those of the schema that these rows keep.
        fingerprint: of the rows.
    """

    data: TableRows
    keys: NDArray[np.uint64]
    reader: Reader
    plan: Plan
    rules: tuple[Inequality | Relation | Dependency, ...]
    fingerprint: str


def _encoded(frame: Frame, schema: Schema, weights: NDArray[np.float64] | None, name: str) -> _Table:
    """The rows of a table with a weight above 0."""
    weights = np.ones(len(frame)) if weights is None else weights
    if not weights.all():  # such a row may hold what no other one does
        some = np.flatnonzero(weights)
        frame, weights = frame.take(some), weights[some]
    encoded = schema.encode(frame, name=name)
    own = schema.contents(frame, name=name)
    keys, place, which = np.unique(content_keys(own), return_index=True, return_inverse=True)
    reader, kept = Reader.of(schema), _kept_by(schema, frame, encoded)
    valued = schema.valued(encoded)[place]
    fields = reader.read(encoded)._asdict()
    del encoded  # a field at a time, for they are the most that a large table takes
    for field in fields:
        fields[field] = fields[field][place]
    rows = EncodedRows(**fields)
    heavy = np.bincount(which, counting(weights)).astype(np.float64)
    units = np.array([schema.learned.index(part.column) for part in schema.parts])
    entropies = np.array([-(part.masses * np.log(part.masses)).sum() for part in schema.parts])
    data = TableRows(rows, heavy, _pieces(rows, heavy), valued)
    plan = Plan(order_of(entropies, units, _follows(schema)), units.astype(np.int32))
    return _Table(data, keys, reader, plan, kept, fingerprint_of(own))


def schema_of(
    frame: Frame, recipe: TableRecipe, *, weights: NDArray[np.float64] | None = None, name: str = "the data"
) -> Schema:
    """The schema of rows, as a recipe says.

    Raises:
        DataError: rows that cannot be used.
    """
    table = recipe.table
    return Schema.fit(
        frame, recipe.columns, missing=table.missing, bins=table.bins, weights=weights, relations=table.relations,
        name=name,
    )  # fmt: skip


def _follows(schema: Schema) -> dict[int, list[int]]:
    """Column -> columns from which it follows, by their places among those that are learned."""
    made: dict[int, list[int]] = {}
    for one in schema.dependencies:
        made.setdefault(schema.learned.index(one.column), []).append(schema.learned.index(one.given))
    return made


def _kept_by(schema: Schema, frame: Frame, encoded: Encoded) -> tuple[Inequality | Relation | Dependency, ...]:
    """The rules of a schema that rows break no more often than it says: it may be that of earlier rows."""
    if not schema.rules:
        return ()
    sides = observed_sides(schema, columns_of(schema.rules), frame, encoded)
    broken = broken_by(schema.rules, sides).mean(axis=0)
    return tuple(rule for rule, share in zip(schema.rules, broken, strict=True) if share <= 2 * rule.shares[0])


def _pieces(rows: EncodedRows, weights: NDArray[np.float64]) -> NDArray[np.int64]:
    """Into how many parts the weight of each row can be divided, (n,); see `TableRows`."""
    rare = ((np.asarray(rows.inner) != 0) & np.asarray(rows.observed)).any(axis=1)
    pieces = np.clip(np.round(weights), 1, max(PIECES // len(weights), 1)).astype(np.int64)
    return np.where(rare, 1, pieces)
