"""Apply a model of any kind block by block: draw rows as frames, score rows, and fill in missing entries.

Memory does not depend on the number of rows.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from motes.data import Blocks, Frame, as_frame
from motes.data.arrays import Mask, Series, of_values
from motes.data.files import BLOCK
from motes.data.points import order_of, points_of
from motes.errors import UsageError, check_count, check_seed
from motes.points.model import SamplingLike
from motes.progress import OnProgress, Progress, silent
from motes.tables.draws import AnsweredRows, DrawnRows, fill_blocks

LABEL = "label"  # column of the classes of points if their labels were passed in memory
NUMBERED = "draw"  # column with the number of the draw, if there are several
INEXACT = 0.01  # nats; the error of a log-likelihood that is worth a warning


def draw_frame(
    model: Any, n: int, on_progress: OnProgress, *, seed: int = 0, label: Any = None, sampling: SamplingLike = None
) -> tuple[Frame, Any]:
    """Return samples as a frame, for points with the column of their class, and as drawn by the model: points (n, d).

    If no class of points is requested, it is drawn for each row, with the frequencies of the training.
    """
    if model.kind == "table":
        rows = model.draw(n, seed=seed, on_progress=on_progress)
        return rows, rows
    classes = model.classes
    if classes is not None:
        names, chosen = np.array(classes.names), np.full(n, label)
        if label is None:
            chosen = np.random.default_rng([seed, 662607]).choice(names, n, p=classes.weights)
        label = chosen
    points = model.draw(n, seed=seed, on_progress=on_progress, label=label, sampling=sampling)
    frame = as_frame(points, model.columns)
    if classes is not None:
        series = of_values(names[classes.numbers(label, n)], LABEL, "the samples")
        frame = Frame({**frame.columns, model.recipe.data.label or LABEL: series})
    return frame, points


def types_of(model: Any) -> Mapping[str, Any]:
    """Return column -> type of the samples, for columns other than real numbers."""
    if model.kind == "table":
        types: Mapping[str, Any] = model.schema.types
        return types
    if model.classes is None:
        return {}
    labels = of_values(np.array(model.classes.names), LABEL, "the classes")
    return {model.recipe.data.label or LABEL: labels.type}


def sample_blocks(
    model: Any, rows: range, *, given: Any = None, seed: int = 0, on_progress: OnProgress = silent, **options: Any
) -> Iterator[DrawnRows]:
    """Yield synthetic rows block by block, also under conditions.

    Args:
        model: the model.
        rows: the numbers of the rows, which placeholders contain.
        given, seed: as in the model's `sample`.
        on_progress: called with the number of rows drawn so far.
        options: other options of the model's `sample`.
    """
    n, done = check_count(len(rows), "rows"), 0
    if model.kind == "table":
        placeholders = options.pop("placeholders", False)
        for drawn in model.blocks(n, given=given, seed=seed, **options):
            named = model.schema.with_placeholders(drawn, rows.start + done + 1) if placeholders else drawn
            yield replace(drawn, columns=named.columns)
            done += len(drawn)
            on_progress(Progress(done, n))
        return
    for done in range(0, n, BLOCK):
        tell = lambda now, before=done: on_progress(now.after(before, n))
        chosen = {"seed": _seed_of_block(check_seed(seed), done), "on_progress": tell, **options}
        yield _draw_points(model, min(BLOCK, n - done), given, **chosen)


def _seed_of_block(seed: int, *place: int) -> int:
    """Return the seed of a block; the first block has the given seed, like a call with few rows."""
    return int(np.random.SeedSequence([seed, *place]).generate_state(1)[0]) if any(place) else seed


def _draw_points(model: Any, n: int, given: Any, *, iid: bool = False, **options: Any) -> DrawnRows:
    """Draw one block of points, also under conditions."""
    if model.kind == "points" and not given:
        return DrawnRows(draw_frame(model, n, **options)[0].columns, float(n))
    if model.kind == "posterior":
        return DrawnRows(as_frame(model.draw(n, given, iid=iid, **options), model.columns).columns, float(n))
    found = model.draw_points(n, given=given, **options)
    return DrawnRows(as_frame(found.points, model.columns).columns, found.effective)


# --- Questions about rows, answered block by block ------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class ScoredRows(AnsweredRows):
    """The log-likelihood of each row, in a column `log_prob`; for several orders of a table also `spread`.

    Attributes:
        ignored: number of impossible entries of a table.
        doubtful: number of rows with impossible entries, or of points whose log-likelihood is not exact to 0.01 nats.
    """

    doubtful: int = 0


def score_blocks(
    model: Any,
    rows: Blocks,
    name: str,
    *,
    orders: int = 1,
    laplace: bool = False,
    label: Any = None,
    on_progress: OnProgress = silent,
) -> Iterator[ScoredRows]:
    """Yield the log-likelihood of rows in nats; posteriors are given the observations in the same rows.

    Args:
        model: the model.
        rows: the rows, with the columns of the model, and for a posterior also the observed columns.
        name: the name of the rows in messages.
        orders, laplace: for tables, as in `TableModel.likelihood`.
        label: for points, as in the `likelihood` of their model.
        on_progress: called with the number of rows scored so far.

    Raises:
        UsageError, DataError: as in the model's `likelihood`.
    """
    done = 0
    for block in rows.read():
        tell = lambda now, before=done: on_progress(now.after(before, rows.rows))
        if model.kind == "table":
            found = model.likelihood(
                model.schema.frame(block, name=name), orders=orders, laplace=laplace, name=name, on_progress=tell
            )
            impossible, doubtful = int(found.impossible.sum()), int((found.impossible > 0).sum())
        else:
            observed: dict[str, Any] = {}
            columns = () if model.context is None else model.context.columns
            table = points_of(block, name, model.recipe.data.label, columns, to_learn=False)
            if table.given is not None:
                observed = {"given": table.given.x}
            x = table.x[:, order_of(model.columns, table.columns, name)]
            found = model.likelihood(x, label=label, on_progress=tell, **observed)
            impossible, doubtful = 0, int((~(found.error <= INEXACT)).sum())
        done += len(block)
        spread = {"spread": found.spread} if orders > 1 else {}
        yield ScoredRows(as_frame({"log_prob": found.log_prob} | spread).columns, impossible, doubtful)


def missing_entries(model: Any, block: Frame, name: str) -> Mask:
    """Return which entries of a block `impute_blocks` fills in, (n, d)."""
    if model.kind == "points":
        return np.isnan(model.matrix(block, name))
    frame = model.schema.frame(block, name=name)
    return np.stack([frame.columns[one].missing for one in model.schema.learned], axis=1)


def check_imputing(model: Any, draws: int) -> None:
    """Check that a model can fill in missing entries.

    Raises:
        UsageError: if it is a posterior, or if the number of the draw has the name of another column.
    """
    if check_count(draws, "draws") > 1 and NUMBERED in model.columns:
        raise UsageError(f"the table has a column '{NUMBERED}', needed for the number of the draw. Rename it.")
    if model.kind == "posterior":
        raise UsageError(
            f"impute: this is a model of {model.about}, with a distribution for each observation. Expected a model of "
            "points alone, or of a table."
        )


def impute_blocks(
    model: Any, rows: Blocks, name: str, *, draws: int = 1, seed: int = 0, on_progress: OnProgress = silent
) -> Iterator[AnsweredRows]:
    """Yield rows with their missing entries filled in.

    Several draws are whole tables, one below the other, with a column `draw` that counts from 1.

    Args:
        model: a model that `check_imputing` accepts.
        rows: the rows, with the columns of the model.
        name: the name of the rows in messages.
        draws, seed: as in the model's `impute`.
        on_progress: called with the number of rows filled in so far, over all draws.

    Raises:
        DataError: if a column has another type; the message names the row and the column.
    """
    if model.kind == "table":
        known = rows.each(lambda block: model.schema.frame(block, name=name))
        names = [one for one in next(rows.read()).names if one in model.columns]
        tables: Any = fill_blocks(model.orders, known, draws, seed, on_progress, name)
    else:
        names, tables = list(model.columns), _impute_points(model, rows, name, draws, check_seed(seed), on_progress)
    for number, table in enumerate(tables, 1):
        for block in table:
            frame, ignored = block.select(names), block.ignored if number == 1 else 0
            if draws > 1:
                numbers = Series("whole", np.full(len(frame), number), np.zeros(len(frame), bool))
                frame = Frame({NUMBERED: numbers, **frame.columns})
            yield AnsweredRows(frame.columns, ignored)


def _impute_points(
    model: Any, rows: Blocks, name: str, draws: int, seed: int, on_progress: OnProgress
) -> Iterator[Iterator[AnsweredRows]]:
    done = 0

    def blocks(draw: int) -> Iterator[AnsweredRows]:
        nonlocal done
        for number, block in enumerate(rows.read()):
            tell = lambda now, before=done: on_progress(Progress(before + now.done))
            x = model.matrix(block, name)
            filled = model.impute(x, seed=_seed_of_block(seed, number, draw), on_progress=tell)
            done += int(np.isnan(x).any(axis=1).sum())
            yield AnsweredRows(as_frame(filled, model.columns).columns)

    for draw in range(draws):
        yield blocks(draw)
