"""Apply a model to files: draw samples, fill in missing entries, and score the held-out rows of a run."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from motes.data import Blocks, Frame, Table, as_frame, read_frame
from motes.data.arrays import Series
from motes.data.files import Write, writing
from motes.errors import DataError, UsageError
from motes.evaluation.sources import Source
from motes.points import PosteriorModel
from motes.progress import OnProgress, Progress, Reporter
from motes.tables.draws import AnsweredRows, fill_blocks
from motes.tables.model import Evidence, TableModel, evidence_of

SAMPLES = 10_000  # number of samples in a run
NUMBERED = "draw"  # column with the number of the draw, if there are several


def write_table(
    model: TableModel, n: int, write: Write, on_progress: OnProgress, *, placeholders: bool, **options: Any
) -> Evidence | None:
    """Draw rows of a table and write them block by block; return the evidence of the conditions, if there are any.

    `options` are passed to `TableModel.blocks`; `placeholders` fills columns that are set aside.
    """
    effective, log_evidence, done = 0.0, [], 0
    for rows in model.blocks(n, **options):
        write(model.schema.with_placeholders(rows, done + 1) if placeholders else rows)
        effective += rows.effective
        log_evidence.append(rows.log_evidence)
        done += len(rows)
        on_progress(Progress(done, n))
    given = options["given"]
    return evidence_of(model, given, log_evidence, effective) if given else None


def read_rows(model: TableModel, source: str) -> Blocks:
    """Return the rows of a file with the columns of a model, block by block, so that they need not fit into memory."""
    file = Blocks.of_file(source, model.recipe.text.fitting(source))
    return file.each(lambda frame: model.schema.frame(frame, name=f"'{source}'"))


def impute_file(
    model: Any, source: str, out: Path, *, draws: int, seed: int, reporter: Reporter
) -> tuple[int, int, int]:
    """Write the rows of a file to `out` with missing entries filled in.

    Return the numbers of rows, of entries filled in, and of impossible entries, which stay as they are.

    Several draws are written as whole tables, one below the other, with a column `draw` that counts from 1.

    Raises:
        UsageError: if there is no such file, the model is a posterior, or the table already has a column `draw`.
        DataError: if the file cannot be used.
        OSError: if `out` cannot be written.
    """
    if draws > 1 and NUMBERED in model.columns:
        raise UsageError(f"the table has a column '{NUMBERED}', needed for the number of the draw. Rename it.")
    if model.kind == "posterior":
        raise UsageError(
            f"impute: this is a model of {model.about}, with a distribution for each observation. Expected a model of "
            "points alone, or of a table."
        )
    text, name, of_table = model.recipe.text.fitting(source), f"'{source}'", model.kind == "table"
    rows: Any  # blocks of a table, or points (n, d)
    if of_table:
        rows, schema = read_rows(model, source), model.schema
        names = [one for one in next(Blocks.of_file(source, text).read()).names if one in schema.names]
        holes = [np.stack([part.columns[one].missing for one in schema.learned]) for part in rows.read()]
    else:
        rows, names = model.matrix(read_frame(source, text), name), list(model.columns)
        holes = [np.isnan(rows).T]
    partial, ignored = sum(int(part.any(axis=0).sum()) for part in holes), 0
    with writing(out) as write, reporter.counting("filling in", "rows", total=partial * draws) as count:
        filled: Iterable[Any]
        if of_table:
            filled = fill_blocks(model.orders, rows, draws, seed, count, name)
        else:
            filled = model.impute(rows, draws=draws, seed=seed, on_progress=count)
        for number, parts in enumerate(filled, 1):
            for part in parts if of_table else [as_frame(parts, names)]:
                frame = part.select(names)
                if draws > 1:
                    numbers = Series("whole", np.full(len(frame), number), np.zeros(len(frame), bool))
                    frame = Frame({NUMBERED: numbers, **frame.columns})
                write(frame)
                ignored += part.ignored if isinstance(part, AnsweredRows) and number == 1 else 0
    return draws * sum(part.shape[1] for part in holes), sum(int(part.sum()) for part in holes), ignored


# --- Held-out log-likelihood of a posterior model ---------------------------------------------------------------------


SCORED = 2000  # maximum number of rows


class HeldOutScore(NamedTuple):
    """The mean log-likelihood of rows, each given its observation, in nats and the data's units.

    Attributes:
        rows: number of rows.
        evaluated_against: name of these rows, such as "held-out rows".
        log_prob: mean log-likelihood.
        standard_error: standard error of the mean.
    """

    rows: int
    evaluated_against: str
    log_prob: float
    standard_error: float

    def __str__(self) -> str:
        return (
            f"mean log-likelihood given the observations, {self.rows:,} of {self.evaluated_against}: "
            f"{self.log_prob:.4f} ± {self.standard_error:.2g} nats per row"
        )


def held_out_score(model: PosteriorModel, origin: Source[Table]) -> HeldOutScore:
    """Score the held-out rows of a source, or its training rows if none are held out."""
    rows = origin.training if origin.held_out is None else origin.held_out
    rows = rows.take(np.arange(min(len(rows), SCORED)))
    if rows.given is None:
        raise DataError(f"{origin.name}: expected observed columns for {', '.join(model.columns)}. Set data.given.")
    log_prob = model.score_samples(rows.x, given=rows.given.x, label=rows.labels)
    error = float(log_prob.std() / np.sqrt(len(log_prob)))
    return HeldOutScore(len(log_prob), origin.evaluated_against, float(log_prob.mean()), error)
