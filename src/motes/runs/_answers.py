"""What a trained model answers about files: rows are drawn, scored, filled in and predicted, with progress shown.

Tables go block by block, so that their rows need never be in memory together.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from motes._progress import Reporter
from motes.data._blocks import Blocks
from motes.data._files import read_frame
from motes.data._frames import Frame, Series, as_frame
from motes.data._tables import Table
from motes.data._writing import Write, writing
from motes.errors import UsageError
from motes.models._point_conditions import impute_draws, sample_given
from motes.models._points import PointModel
from motes.models._sources import matrix_of, read_rows
from motes.models._table_draws import Drawn
from motes.models._table_predictions import rows_without
from motes.models._tables import RowLikelihood, TableModel
from motes.runs._points import SAMPLES, labelled_rows
from motes.sampling._constraint import broken_by, observed_sides
from motes.sampling._likelihood import Likelihood
from motes.sampling._options import Sampling
from motes.tables._conditions import Conditions, conditions_of
from motes.tables._schema import Schema

NUMBERED = "draw"  # the column that says which of several draws a row is of
RARE = -9.2  # log probability of a condition, below which a warning names it: one row in 10,000
USUAL = 256  # drawn rows, to which the density of known numbers is compared
FAR = np.log(20)  # nats below all of these: as rare as RARE, one row in about 5,000


class Evidence(NamedTuple):
    """What is known of a condition after rows were drawn under it.

    Attributes:
        log_prob: log p of the condition, in nats of the data's units.
        density: columns of which the value is a density, not a probability.
        effective: how many independent rows those that were drawn are worth.
        warnings: why the answer should not be believed, a sentence each.
    """

    log_prob: float
    density: tuple[str, ...]
    effective: float
    warnings: tuple[str, ...]


# --- points ---------------------------------------------------------------------------------------------------------


def draw_points(
    model: PointModel,
    n: int,
    seed: int,
    reporter: Reporter,
    given: Mapping[str, Any],
    how: Sampling | None = None,
    label: Any = None,
) -> tuple[Frame, float]:
    """Points of which something may be known, and how many independent ones they are worth."""
    if not given:
        return labelled_rows(model, n, seed, reporter, how, label)[0], float(n)
    with reporter.counting("sampling", n, "rows") as count:
        points, effective = sample_given(model, n, given, seed=seed, label=label, how=how, on_block=count)
    return as_frame(Table(points, model.columns)), effective


def score_points(model: PointModel, source: str, label: str | None, reporter: Reporter) -> Likelihood:
    """log p of the rows of a file, or of fresh points of a shape."""
    rows = read_rows(source, model, SAMPLES)
    with reporter.counting("scoring", len(rows), "rows") as count:
        return model.likelihood(rows, label=label, on_block=count)


def impute_point_file(
    model: PointModel, source: str, out: Path, *, draws: int, seed: int, reporter: Reporter
) -> tuple[int, int]:
    """Write the points of a file with their missing coordinates filled in; returns what `impute_file` does.

    Raises:
        UsageError: no such file, or other columns than the model's.
        DataError: a file that cannot be used.
        OSError: `out` cannot be written.
    """
    check_numbered(model.columns, draws)
    frame, name = read_frame(source, model.recipe.text.fitting(source)), f"'{source}'"
    x = matrix_of(model, frame, name)
    holes = np.isnan(x)
    rows = int(holes.any(axis=1).sum())
    with writing(out) as write, reporter.counting("filling in", max(rows * draws, 1), "rows") as count:
        tables = impute_draws(model, x, draws, seed=seed, on_block=count, name=name)
        for number, points in enumerate(tables, 1):
            whole = as_frame(Table(points, model.columns))
            write(whole if draws == 1 else _numbered(whole, number))
    return len(x) * draws, int(holes.sum())


# --- tables ---------------------------------------------------------------------------------------------------------


def draw_rows(model: TableModel, n: int, seed: int, reporter: Reporter) -> Drawn:
    """`TableModel.sample` with its progress shown."""
    with reporter.counting("sampling", n, "rows") as count:
        return model.sample(n, seed=seed, on_block=count)


def draw_blocks(
    model: TableModel, n: int, seed: int, reporter: Reporter, given: Mapping[str, Any], *, exact: bool = False
) -> Iterator[Drawn]:
    """`TableModel.blocks` with its progress shown."""
    done = 0
    with reporter.counting("sampling", n, "rows") as count:
        for rows in model.blocks(n, given=given, seed=seed, exact=exact):
            yield rows
            done += len(rows)
            count(done)


def evidence_of(
    model: TableModel, given: Mapping[str, Any], log_evidence: Sequence[float], effective: float
) -> Evidence:
    """How likely a condition is, and what to say where it is hardly ever met.

    Args:
        model: that drew the rows.
        given: the condition.
        log_evidence: of each block of rows.
        effective: the sum over the blocks.
    """
    log_prob = float(np.logaddexp.reduce(log_evidence) - np.log(len(log_evidence)))
    requested = conditions_of(model.schema, given)
    valued = [
        name for name, one in requested.row.columns.items() if not one.missing[0] and name in model.schema.learned
    ]
    density, warnings = _densities(model.schema, requested.row), list(_broken(model, requested, valued))
    if not density:
        return Evidence(log_prob, (), effective, (*warnings, *_rare(given, log_prob)))
    known = float(model.score_samples(requested.row)[0])
    least = model.lowest(tuple(valued), USUAL)
    warnings += _rare(requested.others, log_prob - known) if requested.others else []
    if known < least - FAR:
        warnings.append(
            f"the log density of {_named(valued)} is {known:.2f} nats, and {least:.2f} is the lowest among {USUAL} "
            "drawn rows: the training held hardly any such row, so that the answer is a guess."
        )
    return Evidence(log_prob, density, effective, tuple(warnings))


def _broken(model: TableModel, requested: Conditions, valued: Sequence[str]) -> Iterator[str]:
    """The inequalities that known values break."""
    sides = observed_sides(model.schema, valued, requested.row, model.schema.encode(requested.row))
    for one in model.constraint.inequalities:
        if one.low in sides and one.high in sides and broken_by((one,), sides).any():
            yield (
                f"what is given breaks {one.words} of the training, so that the inequalities say nothing of the other "
                "columns."
            )


def _rare(columns: Mapping[str, Any], log_prob: float) -> Iterator[str]:
    if log_prob < RARE:
        yield (
            f"the condition on {_named(columns)} has probability {np.exp(log_prob):.2g}, below 1 in 10,000: the "
            "training held hardly any such row. The answer is a guess."
        )


def _named(columns: Any) -> str:
    return ", ".join(f"'{name}'" for name in columns)


def _densities(schema: Schema, row: Frame) -> tuple[str, ...]:
    """The columns of which the value of one row has a density and no probability."""
    encoded = schema.encode(row)
    found = []
    for j, part in enumerate(schema.parts):
        code = int(encoded.codes[0, j])
        if part.smooth and part.edges is not None and encoded.observed[0, j] and code < len(part.edges) - 1:
            wide = part.edges[code] < part.edges[code + 1]
            # A rounded number counts by its density too: in the data's units, its mass over the width of its cell.
            if wide and (encoded.low[0, j] == encoded.high[0, j] or encoded.log_unit[0, j] != 0):
                found.append(part.column)
    return tuple(dict.fromkeys(found))


def score_file(model: TableModel, source: str, *, orders: int, smooth: bool, reporter: Reporter) -> RowLikelihood:
    """log p of the rows of a file.

    Raises:
        UsageError: no such file.
        DataError: a file that cannot be used.
    """
    rows = _rows_for(model, source)
    with reporter.counting("scoring", rows.rows, "rows") as count:
        return model.likelihood(rows, orders=orders, smooth=smooth, on_block=count, name=f"'{source}'")


def impute_file(
    model: TableModel, source: str, out: Path, *, draws: int, seed: int, reporter: Reporter
) -> tuple[int, int]:
    """Write the rows of a file with their missing entries filled in to `out`: how many rows, and how many entries.

    Of several draws each is the whole table, one below the other, with a column `draw` that counts from 1.

    Raises:
        UsageError: no such file, or a column `draw` already.
        DataError: a file that cannot be used.
        OSError: `out` cannot be written.
    """
    check_numbered(model.columns, draws)
    rows = _rows_for(model, source)
    entries = holes = 0
    for part in rows.read():
        missing = np.stack([part.columns[name].missing for name in model.schema.learned])
        entries, holes = entries + int(missing.sum()), holes + int(missing.any(axis=0).sum())
    with writing(out) as write, reporter.counting("filling in", max(holes * draws, 1), "rows") as count:
        tables = model.fillings(rows, draws=draws, seed=seed, on_block=count, name=f"'{source}'")
        for number, parts in enumerate(tables, 1):
            for part in parts:
                write(part if draws == 1 else _numbered(part, number))
    return rows.rows * draws, entries


def predict_file(
    model: TableModel,
    source: str,
    column: str,
    written: AbstractContextManager[Write],
    *,
    quantiles: Sequence[float],
    draws: int,
    seed: int,
    reporter: Reporter,
) -> tuple[int, int]:
    """Write what `TableModel.predict` says of each row of a file: how many rows, and how many entries were ignored.

    Raises:
        UsageError: no such file, a column that there is not or that does not vary, or quantiles that are no shares.
        DataError: a file that cannot be used.
        OSError: what is to be written cannot be.
    """
    name, ignored = f"'{source}'", 0
    file = Blocks.of_file(source, model.recipe.text.fitting(source))
    rows = file.each(lambda frame: rows_without(model.schema, frame, column, name))
    with written as write, reporter.counting("predicting", rows.rows, "rows") as count:
        parts = model.predictions(rows, column, quantiles=quantiles, draws=draws, seed=seed, on_block=count, name=name)
        for part in parts:
            write(part)
            ignored += part.ignored
    return rows.rows, ignored


def _rows_for(model: TableModel, source: str) -> Blocks:
    """The rows of a file with the columns of a model."""
    file = Blocks.of_file(source, model.recipe.text.fitting(source))
    return file.each(lambda frame: model.schema.frame(frame, name=f"'{source}'"))


def check_numbered(columns: Sequence[str], draws: int) -> None:
    """Refuse several draws of a table that has a column `draw`.

    Raises:
        UsageError: it has.
    """
    if draws > 1 and NUMBERED in columns:
        raise UsageError(f"the table has a column '{NUMBERED}', which several draws need for their number. Rename it.")


def _numbered(frame: Frame, number: int) -> Frame:
    """With a column that says which draw it is."""
    n = len(frame)
    return Frame({NUMBERED: Series("whole", np.full(n, number), np.zeros(n, bool)), **frame.columns})
