"""Apply a model to files: draw samples, score rows, fill in missing entries and predict columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motes.data import Blocks, Frame, Table, as_frame, read_frame
from motes.data.arrays import Series, of_values
from motes.data.files import Write, writing
from motes.errors import DataError, UsageError
from motes.evaluation.sources import Source, rows_to_score
from motes.points import PosteriorModel, Sampling
from motes.points.likelihood import Likelihood
from motes.progress import OnProgress, Progress, Reporter
from motes.tables.draws import fill_blocks
from motes.tables.model import Evidence, RowLikelihood, TableModel, evidence_of
from motes.tables.predictions import predict_blocks, rows_without
from motes.training import Model

SAMPLES = 10_000  # number of samples in a run
LABEL = "label"  # column of the classes of points if their labels were passed in memory


def drawn(
    model: Any,
    n: int,
    reporter: Reporter,
    *,
    seed: int = 0,
    label: Any = None,
    sampling: Sampling | None = None,
) -> tuple[Frame, Any]:
    """Return samples as a frame, for points with the column of their class, and as drawn by the model: points (n, d).

    If no class of points is requested, it is drawn for each row, with the frequencies of the training.
    """
    with reporter.counting("sampling", "rows") as count:
        if model.kind == "table":
            rows = model.draw(n, seed=seed, on_progress=count)
            return rows, rows
        if model.classes is None:
            points = model.draw(n, seed=seed, on_progress=count, label=label, sampling=sampling)
            return as_frame(points, model.columns), points
        names = np.array(model.classes.names)
        labels = np.full(n, label)
        if label is None:
            labels = np.random.default_rng([seed, 662607]).choice(names, n, p=model.classes.weights)
        points = model.draw(n, seed=seed, on_progress=count, label=labels, sampling=sampling)
    classes = of_values(names[model.classes.numbers(labels, n)], LABEL, "the samples")
    return Frame({**as_frame(points, model.columns).columns, class_column(model): classes}), points


def class_column(model: Model) -> str:
    """Return the name of the column with the class of each sample."""
    return model.recipe.data.label or LABEL


def types_of(model: Any) -> Mapping[str, Any]:
    """Return column -> type of the samples, for columns other than real numbers."""
    if model.kind == "table":
        types: Mapping[str, Any] = model.schema.types
        return types
    if model.classes is None:
        return {}
    return {class_column(model): of_values(np.array(model.classes.names), LABEL, "the classes").type}


def write_samples(
    model: Any,
    n: int,
    write: Write,
    reporter: Reporter,
    *,
    given: Any = None,
    seed: int = 0,
    importance_resample: bool = False,
    placeholders: bool = False,
    iid: bool = False,
    label: Any = None,
    sampling: Sampling | None = None,
) -> Evidence | None:
    """Draw rows and write them, a table block by block; return the evidence of the conditions, if there are any.

    Args:
        model: trained model.
        n: number of rows.
        write: called with each block of rows.
        reporter: shows the progress.
        given: conditions; see `sample` of the model.
        seed: random seed.
        importance_resample: tables only: correct the rows by importance weights in the model's fixed order.
        placeholders: tables only: number the rows in columns that are set aside.
        iid: posteriors only: `given` contains independent observations of one row.
        label, sampling: points only: the class and the sampling settings.
    """
    if model.kind == "points" and not given:
        write(drawn(model, n, reporter, seed=seed, label=label, sampling=sampling)[0])
        return None
    if model.kind == "posterior":
        for warning in model.reliability_warnings(given, iid=iid):
            reporter.warn(warning)
    options: dict[str, Any] = {"label": label, "seed": seed, "sampling": sampling}
    with reporter.counting("sampling", "rows") as count:
        if model.kind == "table":
            effective, log_evidence, done = 0.0, [], 0
            for rows in model.blocks(n, given=given, seed=seed, importance_resample=importance_resample):
                write(model.schema.with_placeholders(rows, done + 1) if placeholders else rows)
                effective += rows.effective
                log_evidence.append(rows.log_evidence)
                done += len(rows)
                count(Progress(done, n))
            return evidence_of(model, given, log_evidence, effective) if given else None
        if iid:
            options["iid"] = True
        drawn_points = model.draw_points(n, given=given, on_progress=count, **options)
        found = None
        if model.kind == "points":
            found = Evidence(None, (), drawn_points.effective, tuple(model.reliability_warnings(given)))
    write(as_frame(drawn_points.points, model.columns))
    return found


# --- Score, fill in and predict the rows of a file, with progress -----------------------------------------------------
#
# Tables are processed block by block, so that they need not fit into memory.


NUMBERED = "draw"  # column with the number of the draw, if there are several


def score_file(model: Any, source: str, reporter: Reporter, **options: Any) -> Likelihood | RowLikelihood:
    """Return the log-likelihood of the rows of a file; for points also of fresh samples of a shape.

    Args:
        model: trained model.
        source: file, data set or shape.
        reporter: shows the progress.
        options: options of `likelihood`: `label` for points; `orders` and `laplace` for a table.

    Raises:
        UsageError: if there is no such file.
        DataError: if the file cannot be used.
    """
    rows: Any
    if model.kind == "table":
        rows, options["name"] = _read_rows(model, source), f"'{source}'"
    else:
        points = rows_to_score(source, model, SAMPLES)
        rows = points.x
        if points.given is not None:
            options["given"] = points.given.x
    with reporter.counting("scoring", "rows") as count:
        found: Likelihood | RowLikelihood = model.likelihood(rows, on_progress=count, **options)
    return found


def impute_file(model: Any, source: str, out: Path, *, draws: int, seed: int, reporter: Reporter) -> tuple[int, int]:
    """Write the rows of a file to `out` with missing entries filled in; return the numbers of rows and of entries.

    Several draws are written as whole tables, one below the other, with a column `draw` that counts from 1.

    Raises:
        UsageError: if there is no such file, the model is a posterior, or the table already has a column `draw`.
        DataError: if the file cannot be used.
        OSError: if `out` cannot be written.
    """
    if draws > 1 and NUMBERED in model.columns:
        raise UsageError(f"the table has a column '{NUMBERED}', needed for the number of the draw. Rename it.")
    text, name = model.recipe.text.fitting(source), f"'{source}'"
    tables: Callable[[OnProgress], Iterable[Iterable[Frame]]]
    if model.kind == "table":
        blocks, schema = _read_rows(model, source), model.schema
        names = schema.here(next(Blocks.of_file(source, text).read()))
        holes = [np.stack([part.columns[one].missing for one in schema.learned]) for part in blocks.read()]
        tables = lambda count: (
            (part.select(names) for part in parts)
            for parts in fill_blocks(model.orders, blocks, draws, seed, count, name)
        )
    elif model.kind == "points":
        x, columns = model.matrix(read_frame(source, text), name), model.columns
        holes = [np.isnan(x).T]
        filled = lambda count: model.impute(x, draws=draws, seed=seed, on_progress=count)
        tables = lambda count: ([as_frame(points, columns)] for points in filled(count))
    else:
        raise UsageError(
            f"impute: this is a model of {model.about}, with a distribution for each observation. Expected a model of "
            "points alone, or of a table."
        )
    rows = sum(part.shape[1] for part in holes)
    partial, entries = sum(int(part.any(axis=0).sum()) for part in holes), sum(int(part.sum()) for part in holes)
    with writing(out) as write, reporter.counting("filling in", "rows", total=partial * draws) as count:
        for number, parts in enumerate(tables(count), 1):
            for part in parts:
                write(part if draws == 1 else _add_number(part, number))
    return rows * draws, entries


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
    """Write the output of `TableModel.predict` for a file; return the numbers of rows and of ignored entries.

    Raises:
        UsageError: if there is no such file, the column does not exist or is constant, or a quantile is not in (0, 1).
        DataError: if the file cannot be used.
        OSError: if the output cannot be written.
    """
    name, ignored = f"'{source}'", 0
    file = Blocks.of_file(source, model.recipe.text.fitting(source))
    rows = file.each(lambda frame: rows_without(model.schema, frame, column, name))
    with written as write, reporter.counting("predicting", "rows") as count:
        for part in predict_blocks(model.orders, rows, column, quantiles, draws, seed, count, name):
            write(part)
            ignored += part.ignored
    return rows.rows, ignored


def _read_rows(model: TableModel, source: str) -> Blocks:
    """Return the rows of a file with the columns of a model."""
    file = Blocks.of_file(source, model.recipe.text.fitting(source))
    return file.each(lambda frame: model.schema.frame(frame, name=f"'{source}'"))


def _add_number(frame: Frame, number: int) -> Frame:
    """Add a column with the number of the draw."""
    n = len(frame)
    return Frame({NUMBERED: Series("whole", np.full(n, number), np.zeros(n, bool)), **frame.columns})


# --- Held-out log-likelihood of a posterior model ---------------------------------------------------------------------


SCORED = 2000  # maximum number of rows


@dataclass(frozen=True)
class HeldOutScore:
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

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON."""
        return asdict(self)


def held_out_score(model: PosteriorModel, origin: Source[Table]) -> HeldOutScore:
    """Score the held-out rows of a source, or its training rows if none are held out."""
    rows = origin.training if origin.held_out is None else origin.held_out
    rows = rows.take(np.arange(min(len(rows), SCORED)))
    if rows.given is None:
        raise DataError(
            f"{origin.name}: expected observed columns for {', '.join(model.columns)}. Name them: data.given."
        )
    log_prob = model.score_samples(rows.x, given=rows.given.x, label=rows.labels)
    error = float(log_prob.std() / np.sqrt(len(log_prob)))
    return HeldOutScore(len(log_prob), origin.evaluated_against, float(log_prob.mean()), error)
