"""A whole run on a table of any columns, from a file to a folder of results, and how good its model is.

model.safetensors  recipe.toml  samples.csv  history.jsonl  metrics.json  report.html  checkpoints/*.safetensors
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from motes.runs._answers import draw_rows
from motes.data._datasets import DATASETS
from motes.data._files import read_frame, suffix_of, width_of
from motes.data._frames import Frame, Series
from motes.data._shapes import SHAPES
from motes.data._tables import SUFFIXES as POINTS
from motes.data._writing import write_frame
from motes.errors import DataError, RecipeError, UsageError, unknown
from motes.diagnosis._evaluating import of_model
from motes.evaluation._record import Evaluation
from motes.evaluation._table_results import TableDetails
from motes.evaluation._tables import evaluate_tables
from motes.learning._resuming import Keeper
from motes.learning.tables._course import Trained
from motes._progress import Reporter, watching
from motes.recipes import Recipe, load_recipe
from motes.reports._page import write_page
from motes.runs._folder import METRICS, MODEL, Options, Training, begun, write
from motes.runs._points import SAMPLES
from motes.sampling._unmasking import ROWS
from motes.runs._table_exhibits import draw_table
from motes.models._table_fitting import TableSession, fingerprint_of, fit_table, keys_of
from motes.models._table_sources import (
    TableSource,
    columns_of,
    evaluation_source,
    read_rows,
    table_source,
    warnings_of,
)
from motes.tables._schema import Schema
from motes.models._tables import TableModel

NATS = " nats a row"  # of the loss of a table


def recipe_for(source: str, recipe: str | None, changes: Sequence[str] = ()) -> str:
    """The recipe that was requested, or the one that suits a source: `default` for points of the plane.

    Those are a shape, or a file of two columns of real numbers without a missing entry; any other file is a table, and
    so is a data set. The changes of a recipe's section [text] say how a file is read.

    Raises:
        UsageError, DataError: a file that is not there or cannot be read.
    """
    if recipe is not None:
        return recipe
    if source in DATASETS:
        return "table"
    path = Path(source)
    if source in SHAPES or path.is_dir() or not path.suffix:
        return "default"  # or what is to be said of a name that is none
    text = load_recipe("table", [change for change in changes if change.startswith("text.")]).text
    if suffix_of(path) not in POINTS or width_of(path, text) != 2:  # which does not take reading all of a large file
        return "table"
    columns = read_frame(path, text).columns
    if not are_points(columns):
        return "table"
    return "default"


def are_points(columns: Mapping[str, Series]) -> bool:
    """Whether columns are taken for points of the plane: two of real numbers, without a missing entry.

    Whole numbers are not: samples of points are never whole.
    """
    return len(columns) == 2 and all(one.type == "real" and not one.missing.any() for one in columns.values())


def is_table(source: str, recipe: str | Path | Recipe, changes: Sequence[str] | Mapping[str, Any]) -> bool:
    """Whether the columns of `source` are encoded by their kinds.

    Raises:
        RecipeError: a recipe of tables for a shape.
    """
    encode = load_recipe(recipe, changes).data.encode
    if encode and source in SHAPES:
        raise RecipeError(
            f"got recipe '{recipe}' for '{source}', which is a shape; expected a recipe of points, such as default."
        )
    return encode


def train_table(
    source: str,
    out: Path,
    recipe: str | Path | Recipe,
    changes: Sequence[str] | Mapping[str, Any],
    options: Options,
    reporter: Reporter,
) -> tuple[TableModel, Evaluation[TableDetails] | None]:
    """Train on a file or a data set and leave everything in the folder `out`; returns the model and how good it is.

    After Ctrl-C during the training, the model, the recipe and the history of what was learned are there.

    Raises:
        UsageError, DataError, RecipeError: nothing was begun.
        TrainingError: the loss was not finite.
    """
    ready = prepared(source, load_recipe(recipe, changes), options.seed)
    origin = ready.origin
    rows = fingerprint_of(keys_of(ready.schema.frame(origin.training)))
    training = Training(source, str(recipe), ready.recipe, options.seed, rows)
    with begun(out, training, options, reporter) as checkpoints:
        model = fitted(ready, options.seed, reporter, keeper=checkpoints)
        trained = model.training
        assert trained is not None  # just now
        model.save(out / MODEL)
        model.save_averages(out)
        write(out / "history.jsonl", "".join(json.dumps(line) + "\n" for line in _history(trained)))
        if trained.interrupted:
            return model, None
        _say_trained(trained, reporter)
        samples = draw_rows(model, SAMPLES, options.seed, reporter)
        write_frame(out / "samples.csv", samples)
        reporter.say("comparing with rows that it has not seen")
        found = _evaluated(model, origin, samples, None, options.seed)
        about = {"train_seconds": trained.seconds, "steps": len(trained.losses), "parameters": model.parameters}
        write(out / METRICS, json.dumps(about | found.to_dict(), indent=2) + "\n")
        checkpoints.finish()
        if options.figures:
            write_page(found, out / "report.html")
            for path in draw_table(model, origin, out, options.style, options.seed):
                reporter.say(f"drew {path}")
    return model, found


class Prepared(NamedTuple):
    """The rows of a file or a data set, ready to be learned.

    Attributes:
        recipe: with how the file was read, so that later files, which may have few rows, are read alike.
        origin: the rows to train on, and those that are held out.
        schema: of the rows to train on.
        warnings: what should be known of the columns, a sentence each.
    """

    recipe: Recipe
    origin: TableSource
    schema: Schema
    warnings: tuple[str, ...]


def prepared(source: str, recipe: Recipe, seed: int) -> Prepared:
    """Read a file or a data set.

    Raises:
        UsageError, DataError, RecipeError: it is not there, or cannot be used.
    """
    frame = read_rows(source, recipe.text)
    recipe = replace(recipe, text=frame.text)
    origin = table_source(source, frame, recipe, seed)
    warnings = tuple(warnings_of(columns_of(frame, recipe, f"'{source}'")))
    return Prepared(recipe, origin, _schema_of(origin, frame, recipe), warnings)


def _schema_of(origin: TableSource, frame: Frame, recipe: Recipe) -> Schema:
    """The schema of the rows to train on. What does not fit is said with its row in the file."""
    table = recipe.table
    options: dict[str, Any] = {"missing": table.missing, "bins": table.bins, "relations": table.relations}
    options["name"] = f"'{origin.name}'"
    try:
        return Schema.fit(origin.training, recipe.columns, **options)
    except DataError:
        Schema.fit(frame, recipe.columns, **options)
        raise


def fitted(
    ready: Prepared,
    seed: int,
    reporter: Reporter,
    *,
    start: TableModel | None = None,
    keeper: Keeper | None = None,
    on_progress: Callable[[Any], None] | None = None,
) -> TableModel:
    """The trained model, with warnings and progress shown."""
    for warning in ready.warnings:
        reporter.warn(warning)
    recipe, origin, schema, _ = ready
    with watching(reporter, on_progress, unit=NATS) as show:
        session = TableSession(keeper, show, source=origin.name, start=start)
        model = fit_table(origin.training, recipe, schema=schema, seed=seed, session=session)
    if model.training is not None and model.training.interrupted and not len(model.training.losses):
        raise KeyboardInterrupt
    return model


def _say_trained(trained: Trained, reporter: Reporter) -> None:
    best = f"; the weights after {trained.best:,.0f} were the best" if len(trained.held_out) else ""
    reporter.say(f"trained {len(trained.losses):,} steps in {trained.seconds:.1f} s{best}")


def _history(trained: Trained) -> list[dict[str, float]]:
    """The loss of each step, and each look at the validation rows, in nats a row."""
    lines = [{"step": step, "loss": float(f"{loss:.6g}")} for step, loss in enumerate(trained.losses.tolist(), 1)]
    return lines + [{"step": int(step), "held_out": float(f"{loss:.6g}")} for step, loss in trained.held_out.tolist()]


def evaluate_table(
    model: TableModel, source: Any, *, target: str | None, n: int, seed: int, reporter: Reporter
) -> Evaluation[TableDetails]:
    """How near a model's rows come to real ones: the rows held out of its training, another file's, or rows in memory.

    Raises:
        UsageError: a file that is not there, or a target that was not learned.
        DataError: a file that cannot be used, or with other columns.
    """
    if target is not None and target not in model.columns:
        raise UsageError("--target: " + unknown("column", target, model.columns))
    if target is not None and target not in model.schema.learned:
        raise UsageError(f"--target: column '{target}' had one value in the training; there is nothing to learn.")
    origin = evaluation_source(model, source)
    for rows in (origin.training, origin.held_out):
        if rows is not None:  # a column of another type is refused before the work
            model.schema.encode(rows, name=f"'{origin.name}'", unseen="mark")
    samples = draw_rows(model, n, seed, reporter)
    reporter.say("comparing")
    return _evaluated(model, origin, samples, target, seed)


def _evaluated(
    model: TableModel, origin: TableSource, samples: Frame, target: str | None, seed: int
) -> Evaluation[TableDetails]:
    """`evaluate_tables` with log p of some rows, where they are held-out and training rows of this model."""
    training = model.schema.frame(origin.training)
    held_out = None if origin.held_out is None else model.schema.frame(origin.held_out)
    log_prob = None
    if held_out is not None and origin.known:
        some = (
            rows.take(np.random.default_rng([seed, 8128]).permutation(len(rows))[:ROWS])
            for rows in (held_out, training)
        )
        ours, theirs = map(model.score_samples, some)
        log_prob = ours, theirs
    found = evaluate_tables(samples, held_out, training, model.schema, target=target, log_prob=log_prob, seed=seed)
    return of_model(replace(found, source=origin.name, notes=(*origin.notes, *found.notes)), model)
