"""From the rows of a table of any columns to a trained model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._frames import Frame, as_frame, words_of
from motes.data._identity import fingerprint_of
from motes.errors import RecipeError, UsageError, check_seed
from motes.learning._resuming import Keeper
from motes.learning.tables._course import Progress
from motes.learning.tables._fitting import FEW, fit, options_of, worth_of
from motes.learning.tables._layout import layout_of
from motes.learning.tables._links import Linker
from motes.learning.tables._network import Rows
from motes.learning.tables._rows import Reader
from motes.models._tables import TableModel
from motes.recipes import Recipe, load_recipe
from motes.sampling._constraint import Constraint, broken_by, columns_of, estimated, observed_sides
from motes.sampling._unmasking import Unmasker
from motes.tables._parts import Encoded
from motes.tables._relations import Inequality
from motes.tables._schema import Schema

CHANGES = 0.2, 5.0  # of a share by rejection, that calibration makes up for
CALIBRATION = 2048, 16_384  # rows that are drawn to set the biases, at least and at most


def fit_table(
    data: Any,
    recipe: str | Path | Recipe = "table",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Mapping[str, Any] | None = None,
    weights: ArrayLike | None = None,
    seed: int = 0,
    source: str = "",
    schema: Schema | None = None,
    start: TableModel | None = None,
    keeper: Keeper | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TableModel:
    """Train a model on the rows of a table of any columns.

    Args:
        data: whatever `motes.data._frames.as_frame` takes: a NumPy array, a pandas, polars or Arrow table, ...
        recipe: a name, a `.toml` file or a `Recipe`; its section [columns] says what columns are.
        changes: to it, such as {"table.steps": 2000}.
        columns: what columns are, in the place of what the recipe says or what is inferred; see `Schema.fit`.
        weights: how much each row counts (n,), at least 0: 2 is as good as the row twice, and 0 as no such row.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        source: what the data is called in the model file and in messages.
        schema: one that was fitted to these rows already.
        start: a model of the same columns, to go on from, with its schema.
        keeper: keeps the complete state of the training, and may have one to go on from; see `learning.resuming`.
        on_progress: called a few times a second with a `Progress`.

    Raises:
        DataError: data that cannot be used; the message names the row and the column.
        UsageError, RecipeError: a recipe that cannot be followed, columns that there are not.
        TrainingError: the loss was not finite.
    """
    chosen, seed = load_recipe(recipe, changes), check_seed(seed)
    if not chosen.data.encode:
        raise RecipeError(
            "this recipe is for points, and the data is a table. Use recipe 'table', or motes.fit for points."
        )
    name = f"'{source}'" if source else "the data"
    frame = as_frame(data, name=name)
    heavy = _weights(weights, len(frame))
    overrides = {**chosen.columns, **(columns or {})}
    fitted = start.schema if start is not None else schema
    if fitted is None:
        fitted = Schema.fit(
            frame, overrides, missing=chosen.table.missing, bins=chosen.table.bins, weights=heavy,
            relations=chosen.table.relations, name=name,
        )  # fmt: skip
    if heavy is not None and not heavy.all():  # such a row may hold what no other one does
        some = np.flatnonzero(heavy)
        frame, heavy = frame.take(some), heavy[some]
    encoded = fitted.encode(frame, name=name)
    own = fitted.frame(frame, name=name)
    keys = _keys_of(own)
    # In an order of their own, so that the order of the input has no bearing on what is learned.
    place = np.argsort(keys, kind="stable")
    reader = Reader.of(fitted)
    rows = reader.read(encoded)
    rows = rows._replace(**{field: part[place] for field, part in rows._asdict().items()})
    units = np.array([fitted.learned.index(part.column) for part in fitted.parts])
    entropies = np.array([-(part.masses * np.log(part.masses)).sum() for part in fitted.parts])
    apart = _apart(keys[place], rows)
    worth = worth_of(apart, rows.observed)
    layout = layout_of(fitted.parts, Linker.of(fitted).links, labels=worth < FEW)
    network, options = options_of(chosen.table, worth, layout.parts)
    taken = None if heavy is None else heavy[place]
    found = fit(
        rows, layout, units, entropies, apart, network, options, seed=seed, follows=_follows(fitted), weights=taken,
        start=None if start is None else start.models, keeper=keeper, on_progress=on_progress,
    )  # fmt: skip
    ranges = [fitted.draw_range(j) for j in range(len(fitted.parts))]
    unmasker = Unmasker.of(found.models, layout, reader, found.plan.order, ranges)
    kept = replace(fitted, inequalities=_kept_by(fitted, frame, encoded))
    count = int(np.clip(len(place), *CALIBRATION))
    made = _adjusted(unmasker, kept, count, seed, calibrate=chosen.table.calibrate)
    found.trained.interrupted |= made.interrupted
    return TableModel(
        made.schema, found.models, found.plan.order, made.bias, replace(chosen, columns=overrides),
        constraint=made.constraint, source=source, seed=seed, fingerprint=fingerprint_of(own), training=found.trained,
    )  # fmt: skip


def _follows(schema: Schema) -> dict[int, list[int]]:
    """Column -> columns from which it follows, by their places among those that are learned."""
    made: dict[int, list[int]] = {}
    for one in schema.dependencies:
        made.setdefault(schema.learned.index(one.column), []).append(schema.learned.index(one.given))
    return made


class _Adjusted(NamedTuple):
    """What is set after the training: the schema with the inequalities that are kept, these, and the biases."""

    schema: Schema
    bias: Sequence[Any]
    constraint: Constraint
    interrupted: bool


def _adjusted(unmasker: Unmasker, schema: Schema, count: int, seed: int, *, calibrate: bool) -> _Adjusted:
    """Biases, and the share of rows that keep the inequalities of the schema, from `count` drawn rows or more.

    Ctrl-C ends it with what there is: what was learned is worth more than its marginals. Before the first
    estimate that is a model without inequalities.
    """
    made = _Adjusted(replace(schema, inequalities=()), unmasker.no_bias, Constraint.none(), interrupted=True)
    masses = [part.masses for part in schema.parts]
    try:
        if calibrate:
            made = made._replace(bias=unmasker.calibrated(masses, seed))
        found = estimated(unmasker.with_bias(made.bias), schema, count, seed)
        made = made._replace(schema=found.schema, constraint=found.constraint)
        if calibrate and found.constraint.inequalities:  # rejection changes the marginals: change the targets
            targets = [mass / np.clip(times, *CHANGES) for mass, times in zip(masses, found.changes, strict=True)]
            bias = unmasker.calibrated([target / target.sum() for target in targets], seed)
            again = estimated(unmasker.with_bias(bias), found.schema, count, seed)
            if again.schema.inequalities == found.schema.inequalities:
                made = made._replace(bias=bias, constraint=again.constraint)
        return made._replace(interrupted=False)
    except KeyboardInterrupt:
        return made


def _kept_by(schema: Schema, frame: Frame, encoded: Encoded) -> tuple[Inequality, ...]:
    """The inequalities of a schema that all rows keep: it may be that of earlier rows."""
    sides = observed_sides(schema, columns_of(schema.inequalities), frame, encoded)
    broken = broken_by(schema.inequalities, sides)
    return tuple(one for k, one in enumerate(schema.inequalities) if not broken[:, k].any())


def _keys_of(frame: Frame) -> NDArray[np.uint64]:
    """64 bits of each row, (n,), equal for equal rows."""
    return words_of([(series.known, series.missing) for series in frame.columns.values()], len(frame))


def _apart(keys: NDArray[np.uint64], rows: Rows) -> NDArray[np.uint64]:
    """Equal for rows (n,) that are copies of one another, which must not be on both sides of a validation split.

    Equal rows of labels and of numbers that come often are no copies: there are only so many of them.
    """
    rare = ((np.asarray(rows.inner) != 0) & np.asarray(rows.observed)).any(axis=1)
    own = np.arange(len(keys), dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return np.where(rare, keys, own)


def _weights(weights: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    if weights is None:
        return None
    heavy = np.asarray(weights, np.float64)
    if heavy.shape != (n,):
        raise UsageError(f"weights have shape {heavy.shape}; expected ({n},), one for each row.")
    if not np.isfinite(heavy).all() or (heavy < 0).any():
        row = int((~np.isfinite(heavy) | (heavy < 0)).argmax())
        raise UsageError(f"weights, row {row + 1}: got {heavy[row]}; expected a finite number of at least 0.")
    if not heavy.any():
        raise UsageError("all weights are 0; expected a row that counts.")
    return heavy
