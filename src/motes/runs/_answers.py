"""What a trained model answers about the rows of a file: scored, filled in and predicted, with progress shown.

Tables go block by block, so that their rows need never be in memory together.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes._progress import Reporter
from motes.data._blocks import Blocks
from motes.data._files import read_frame
from motes.data._frames import Frame, as_frame
from motes.data._series import Series
from motes.data._tables import Table
from motes.data._writing import Write, writing
from motes.errors import UsageError
from motes.models._model import Model
from motes.models._points import PointModel
from motes.models._references import rows_to_score
from motes.models._table_predictions import rows_without
from motes.models._tables import RowLikelihood, TableModel
from motes.runs._samples import SAMPLES
from motes.sampling._likelihood import Likelihood

NUMBERED = "draw"  # the column that says which of several draws a row is of


@singledispatch
def score_file(model: Any, source: str, reporter: Reporter, **options: Any) -> Likelihood | RowLikelihood:
    """log p of the rows of a file; or, of points, of fresh ones of a shape.

    Args:
        model: trained.
        source: of the rows.
        reporter: shows the progress.
        options: of `likelihood`: the `label` of points; `orders` and `smooth` of a table.

    Raises:
        UsageError: no such file.
        DataError: a file that cannot be used.
    """
    points = rows_to_score(source, model, SAMPLES)
    given: dict[str, Any] = {} if points.given is None else {"given": points.given.x}
    with reporter.counting("scoring", len(points), "rows") as count:
        found: Likelihood = model.likelihood(points.x, on_block=count, **given, **options)
    return found


@score_file.register
def _(model: TableModel, source: str, reporter: Reporter, **options: Any) -> Likelihood | RowLikelihood:
    rows = _rows_for(model, source)
    with reporter.counting("scoring", rows.rows, "rows") as count:
        return model.likelihood(rows, on_block=count, name=f"'{source}'", **options)


def impute_file(model: Model, source: str, out: Path, *, draws: int, seed: int, reporter: Reporter) -> tuple[int, int]:
    """Write the rows of a file with their missing entries filled in to `out`: how many rows, and how many entries.

    Of several draws each is the whole table, one below the other, with a column `draw` that counts from 1.

    Raises:
        UsageError: no such file, a model of posteriors, or a column `draw` already.
        DataError: a file that cannot be used.
        OSError: `out` cannot be written.
    """
    if draws > 1 and NUMBERED in model.columns:
        raise UsageError(f"the table has a column '{NUMBERED}', which several draws need for their number. Rename it.")
    counts, fill = _to_fill(model, source, draws, seed)
    rows, partial, entries = (sum(some) for some in zip(*counts, strict=True))
    with writing(out) as write, reporter.counting("filling in", max(partial * draws, 1), "rows") as count:
        for number, parts in enumerate(fill(count), 1):
            for part in parts:
                write(part if draws == 1 else _numbered(part, number))
    return rows * draws, entries


Counts = list[tuple[int, int, int]]
Filled = Callable[[Callable[[int], None]], Iterable[Iterable[Frame]]]


@singledispatch
def _to_fill(model: Model, source: str, draws: int, seed: int) -> tuple[Counts, Filled]:
    """What `_counts` says of some rows of a file at a time, and a function that fills them in, table by table."""
    raise UsageError(
        f"this is a {type(model).__name__}, which has a distribution for each observation. Expected a model of points "
        "alone, or of a table."
    )


@_to_fill.register
def _(model: TableModel, source: str, draws: int, seed: int) -> tuple[Counts, Filled]:
    blocks = _rows_for(model, source)
    names = model.schema.here(next(Blocks.of_file(source, model.recipe.text.fitting(source)).read()))

    def fill(count: Callable[[int], None]) -> Iterable[Iterable[Frame]]:
        tables = model.fillings(blocks, draws=draws, seed=seed, on_block=count, name=f"'{source}'")
        return ((part.select(names) for part in parts) for parts in tables)

    return [_counts(_holes(part, model.schema.learned)) for part in blocks.read()], fill


@_to_fill.register
def _(model: PointModel, source: str, draws: int, seed: int) -> tuple[Counts, Filled]:
    x = model.matrix(read_frame(source, model.recipe.text.fitting(source)), f"'{source}'")

    def fill(count: Callable[[int], None]) -> Iterable[Iterable[Frame]]:
        tables = model.impute_draws(x, draws, seed=seed, on_block=count, name=f"'{source}'")
        return ([as_frame(Table(points, model.columns))] for points in tables)

    return [_counts(np.isnan(x).T)], fill


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


def _holes(rows: Frame, columns: Sequence[str]) -> NDArray[np.bool_]:
    """Where entries are missing, (columns, rows)."""
    return np.stack([rows.columns[name].missing for name in columns])


def _counts(holes: NDArray[np.bool_]) -> tuple[int, int, int]:
    """How many rows there are, how many have missing entries, and how many entries that are."""
    return holes.shape[1], int(holes.any(axis=0).sum()), int(holes.sum())


def _numbered(frame: Frame, number: int) -> Frame:
    """With a column that says which draw it is."""
    n = len(frame)
    return Frame({NUMBERED: Series("whole", np.full(n, number), np.zeros(n, bool)), **frame.columns})
