"""A whole run on a table of any columns, from a file to a folder of results, and what is asked of its model.

    model.safetensors  averages.safetensors  recipe.toml  samples.csv  history.jsonl  metrics.json  report.html
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.encoder import Encoder
from motes.data.files import read_frame, write_frame
from motes.data.frames import Frame, Series, as_frame
from motes.errors import DataError, TrainingError, UsageError, unknown
from motes.evaluation.tables import TableEvaluation, judge_table
from motes.learning.training import Progress
from motes.progress import Reporter
from motes.recipes import Recipe, load_recipe
from motes.runs import SAMPLES, Draw, Options, prepare, write, write_recipe
from motes.sampling.likelihood import Likelihood
from motes.sources import FEWEST, divided
from motes.tabular import Drawn, TableModel, fit_table

NUMBERED = "draw"  # the column that says which of several draws a row is of


@dataclass(frozen=True)
class TableSource:
    """Rows of a file.

    Attributes:
        name: the file's.
        learn: the rows to train on.
        judge: rows that are held out, in the same columns; None where there are too few to spare any.
        labels: the class of each row of `learn`, where the recipe names a column of classes.
    """

    name: str
    learn: Frame
    judge: Frame | None
    labels: NDArray[np.str_] | None = None


def read_table_source(name: str, recipe: Recipe, seed: int) -> TableSource:
    """The rows of a file, a part of them held out as [data] says, without the column of classes.

    Raises:
        UsageError: no such file, or no such column of classes.
        DataError: a file that cannot be used, or too few rows.
    """
    frame = read_frame(name)
    if len(frame) < FEWEST:
        raise DataError(f"'{name}' has {len(frame)} rows; at least {FEWEST} are needed to learn from and to judge by.")
    learn, judge = divided(len(frame), recipe.data.held_out, seed)
    frame, labels = split_labels(frame, recipe.data.label, name)
    return TableSource(
        name,
        frame.take(learn) if len(judge) else frame,
        frame.take(judge) if len(judge) else None,
        None if labels is None else labels[learn],
    )


def split_labels(frame: Frame, label: str | None, name: str) -> tuple[Frame, NDArray[np.str_] | None]:
    """The other columns, and the class of each row as a text.

    Raises:
        UsageError: no such column.
        DataError: a row without a class.
    """
    if label is None:
        return frame, None
    if label not in frame.columns:
        raise UsageError(f"'{name}': " + unknown("label column", label, frame.names))
    series = frame.columns[label]
    if series.missing.any():
        row = int(series.missing.argmax())
        raise DataError(f"'{name}', row {row + 1}, column '{label}': an empty cell is no label.")
    return frame.select([column for column in frame.names if column != label]), np.array(list(map(str, series.cells())))


def train_table(
    source: str, out: Path, recipe: str | Path | Recipe, changes: Sequence[str], options: Options, reporter: Reporter
) -> tuple[TableModel, TableEvaluation | None]:
    """Train on the file `source` and leave everything in the folder `out`; returns the model and how good it is.

    After Ctrl-C during the training, the model, the recipe and the history of what was learned are there.

    Raises:
        UsageError, DataError, RecipeError: nothing was begun.
        TrainingError: the loss was not finite; the last good model is there.
    """
    chosen = load_recipe(recipe, changes)
    origin = read_table_source(source, chosen, options.seed)
    encoder = Encoder.fit(origin.learn, chosen.columns, standardise=chosen.data.standardise, name=f"'{source}'")
    prepare(out, options.overwrite)
    for warning in encoder.warnings:
        reporter.warn(warning)
    write_recipe(out, source, chosen, options.seed)
    with reporter.counting("training", chosen.training.steps, "steps") as count:

        def told(now: Progress) -> None:
            held = "" if now.held_out is None else f", held out {now.held_out:.4f}"
            count(now.step, f"loss {now.loss:.4f}{held}, {now.step / now.seconds:,.0f} steps/s")

        try:
            model = fit_table(
                origin.learn,
                chosen,
                encoder=encoder,
                labels=origin.labels,
                seed=options.seed,
                source=source,
                on_progress=told,
            )
        except TrainingError as error:
            if isinstance(error.result, TableModel):
                _keep(error.result, out)
                error.args = (f"{error} They are in '{out / 'model.safetensors'}'.",)
            raise
    _keep(model, out)
    training = model.model.training
    assert training is not None  # it was trained just now
    if training.interrupted:
        return model, None
    reporter.say(f"trained {training.steps:,} steps in {training.seconds:.1f} s")
    samples = draw_rows(model, SAMPLES, options.seed, reporter)
    write_frame(out / "samples.csv", samples)
    reporter.say("comparing with rows that it has not seen")
    found = _judged(model, origin, samples, None, options.seed)
    about = {"source": source, "seed": options.seed, "train_seconds": training.seconds, "steps": training.steps}
    write(out / "metrics.json", json.dumps(about | found.to_dict(), indent=2) + "\n")
    if options.figures:
        write_page(found, out / "report.html", model)
    return model, found


def evaluate_table(
    model: TableModel, source: str | None, *, target: str | None, n: int, seed: int, reporter: Reporter
) -> TableEvaluation:
    """How near a model's rows come to those of a file; see `judge_table`.

    Raises:
        UsageError: a file that is not there, or has other columns.
        DataError: a file that cannot be used.
    """
    name = source or model.model.source
    if not name:
        raise UsageError("this model was trained on a table in memory; give a file as SOURCE.")
    origin = read_table_source(name, model.recipe, model.model.seed)
    samples = draw_rows(model, n, seed, reporter)
    return _judged(model, origin, samples, target, seed)
