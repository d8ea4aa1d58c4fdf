"""A whole run on a table of any columns, from a file to a folder of results, and what is asked of its model.

model.safetensors  averages.safetensors  recipe.toml  samples.csv  history.jsonl  metrics.json  report.html
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.conditions import conditions_of
from motes.data.blocks import Blocks
from motes.data.cells import Labels
from motes.data.columns import check_finite, check_known
from motes.data.encoder import Encoder
from motes.data.files import read_frame, suffix_of, width_of
from motes.data.frames import Frame, Mask, Series
from motes.data.shapes import SHAPES
from motes.data.tables import SUFFIXES as POINTS
from motes.data.writing import write_frame, writing
from motes.errors import DataError, MotesError, TrainingError, UsageError, unknown
from motes.evaluation.table_results import TableEvaluation
from motes.evaluation.tables import judge_table
from motes.learning.training import Progress
from motes.progress import Reporter
from motes.recipes import Recipe, load_recipe
from motes.runs import (
    SAMPLES,
    Draw,
    Options,
    begun,
    prepare,
    refuse_nothing,
    say_trained,
    write,
    write_history,
    write_recipe,
)
from motes.sampling.likelihood import Likelihood
from motes.sources import FEWEST, divided
from motes.table_fitting import fit_table
from motes.tabular import Drawn, TableModel

SCORED = 20_000  # rows times columns of which the likelihood is taken
SHOWN = 20  # labels, of more no list is given
DEFAULT = Draw()
NUMBERED = "draw"  # the column that says which of several draws a row is of


def recipe_for(source: str, recipe: str | None) -> str:
    """The recipe that was asked for, or the one that suits a source: `default` for points of the plane.

    Those are a shape, or a file of two columns of numbers without a hole; any other file is a table.

    Raises:
        UsageError, DataError: a file that is not there or cannot be read.
    """
    if recipe is not None:
        return recipe
    path = Path(source)
    if source in SHAPES or path.is_dir() or not path.suffix:
        return "default"  # or what is to be said of a name that is none
    if suffix_of(path) not in POINTS or width_of(path) != 2:  # which does not take reading all of a large file
        return "table"
    columns = read_frame(path).columns.values()
    numbers = all(series.type in ("real", "whole") and not series.missing.any() for series in columns)
    return "default" if numbers else "table"


def is_table(source: str, recipe: str, changes: Sequence[str]) -> bool:
    """Whether the columns of `source` are encoded by their kinds."""
    return source not in SHAPES and load_recipe(recipe, changes).data.encode


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
    frame = _read(name)
    learn, judge = divided(len(frame), recipe.data.held_out, seed)
    frame, labels = split_labels(frame, recipe.data.label, name)
    return TableSource(
        name,
        frame.take(learn) if len(judge) else frame,
        frame.take(judge) if len(judge) else None,
        None if labels is None else labels[learn],
    )


def _read(name: str) -> Frame:
    """Rows enough to judge by, all finite: told here, where they have the numbers that they have in the file."""
    frame = read_frame(name)
    for column, series in frame.columns.items():
        check_finite(series, column, f"'{name}'")
    if len(frame) < FEWEST:
        raise DataError(f"'{name}' has {len(frame)} rows; at least {FEWEST} are needed to learn from and to judge by.")
    return frame


def _encoder_of(origin: TableSource, recipe: Recipe) -> Encoder:
    """The encoder of the rows to train on. What does not fit is said with its row in the file."""
    options: dict[str, Any] = {"standardise": recipe.data.standardise, "name": f"'{origin.name}'"}
    try:
        return Encoder.fit(origin.learn, recipe.columns, **options)
    except DataError:
        Encoder.fit(split_labels(read_frame(origin.name), recipe.data.label, origin.name)[0], recipe.columns, **options)
        raise


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
    check_known(series)
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
    encoder = _encoder_of(origin, chosen)
    prepare(out, options.overwrite)
    for warning in encoder.warnings:
        reporter.warn(warning)
    write_recipe(out, source, chosen, options.seed)
    with reporter.counting("training", chosen.training.steps_of(len(origin.learn)), "steps") as count:

        def told(now: Progress) -> None:
            held = "" if now.held_out is None else f", held out {now.held_out:.4f}"
            count(now.step, f"loss {now.loss:.4f}{held}, {now.step / now.seconds:,.0f} steps/s")

        try:
            with begun(out):
                model = fit_table(
                    origin.learn,
                    chosen,
                    encoder=encoder,
                    labels=origin.labels,
                    seed=options.seed,
                    source=source,
                    on_progress=told,
                )
                refuse_nothing(model.model)
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
    say_trained(training, reporter)
    samples = draw_rows(model, SAMPLES, options.seed, reporter)
    write_frame(out / "samples.csv", samples)
    reporter.say("comparing with rows that it has not seen")
    found = _judged(model, origin, samples, None, options.seed)
    about: dict[str, Any] = {"source": source, "seed": options.seed}
    about |= {"measured_against": "held-out rows" if origin.judge is not None else "rows of the training"}
    about |= {"train_seconds": training.seconds, "steps": training.steps}
    write(out / "metrics.json", json.dumps(about | found.to_dict(), indent=2) + "\n")
    if options.figures:
        write_page(found, out / "report.html", model)
    return model, found


def evaluate_table(
    model: TableModel, source: str | None, *, target: str | None, n: int, seed: int, reporter: Reporter
) -> TableEvaluation:
    """How near a model's rows come to those of a file: the rows held out of its training, or another file's.

    Raises:
        UsageError: a file that is not there, has other columns, or too few rows.
        DataError: a file that cannot be used.
    """
    if target is not None and target not in model.columns:
        raise UsageError("--target: " + unknown("column", target, model.columns))
    if target is not None and target not in model.encoder.learned:
        raise UsageError(f"--target: column '{target}' had one value in the training; there is nothing to learn.")
    trained_on = model.model.source
    name = source or trained_on
    if not name or not Path(name).suffix:
        raise UsageError("this model was trained on a table in memory; give a file as SOURCE.")
    if name == trained_on:
        origin = read_table_source(name, model.recipe, model.model.seed)
        model.encoder.frame(origin.learn, name=f"'{name}'")
    else:
        rows, _ = split_labels(_read(name), model.recipe.data.label, name)
        model.encoder.encode(rows, name=f"'{name}'")  # which says what does not fit, before anything is drawn
        home = read_table_source(trained_on, model.recipe, model.model.seed) if Path(trained_on).is_file() else None
        origin = TableSource(name, rows, None) if home is None else TableSource(name, home.learn, rows)
    samples = draw_rows(model, n, seed, reporter)
    reporter.say("comparing")
    return _judged(model, origin, samples, target, seed)


def draw_rows(model: TableModel, n: int, seed: int, reporter: Reporter) -> Drawn:
    """`model.sample` with its progress shown."""
    with reporter.counting("sampling", n, "rows") as count:
        return model.sample(n, seed=seed, on_block=count)


def draw_blocks(
    model: TableModel,
    n: int,
    seed: int,
    reporter: Reporter,
    given: Mapping[str, Any] | None = None,
    how: Draw = DEFAULT,
) -> Iterator[Drawn]:
    """`model.blocks` with its progress shown."""
    with reporter.counting("sampling", n, "rows") as count:
        yield from model.blocks(n, given=given, seed=seed, on_block=count, **vars(how))


def score_file(model: TableModel, source: str, label: str | None, reporter: Reporter) -> Likelihood:
    """log p of the rows of a file, with its progress shown; its column of classes, if there is one, counts for nothing.

    Raises:
        UsageError: no such file, or a label that the training did not have.
        DataError: a file that cannot be used.
    """
    asked = model.recipe.data.label
    rows = _rows_for(model, source, lambda frame: frame.select([name for name in frame.names if name != asked]))
    with reporter.counting("scoring", rows.rows, "rows") as count:
        return model.likelihood(rows, label=label, on_block=count, name=f"'{source}'")


def impute_file(
    model: TableModel, source: str, out: Path, *, draws: int, seed: int, reporter: Reporter
) -> tuple[int, int]:
    """Write the rows of a file with their holes filled in to `out`: how many rows, and how many cells were filled in.

    Of several draws each is the whole table, one below the other, with a column `draw` that counts from 1.

    Raises:
        UsageError: no such file, or a column `draw` already.
        DataError: a file that cannot be used.
        OSError: `out` cannot be written.
    """
    if draws > 1 and NUMBERED in model.columns:
        raise UsageError(f"the table has a column '{NUMBERED}', which several draws need for their number. Rename it.")
    rows = _rows_for(model, source)
    learned = model.encoder.learned
    cells = holes = 0
    for part in rows.read():
        missing = np.stack([part.columns[name].missing for name in learned])
        cells, holes = cells + int(missing.sum()), holes + int(missing.any(axis=0).sum())
    with writing(out) as write, reporter.counting("filling in", max(holes * draws, 1), "rows") as count:
        tables = model.fillings(rows, draws=draws, seed=seed, on_block=count, name=f"'{source}'")
        for number, parts in enumerate(tables, 1):
            for part in parts:
                write(part if draws == 1 else _numbered(part, number))
    return rows.rows * draws, cells


def _rows_for(model: TableModel, source: str, change: Callable[[Frame], Frame] = lambda frame: frame) -> Blocks:
    """The rows of a file after a `change`, with the columns of a model."""
    return Blocks.of_file(source).each(lambda frame: model.encoder.frame(change(frame), name=f"'{source}'"))


def _numbered(frame: Frame, number: int) -> Frame:
    """With a column that says which draw it is."""
    n = len(frame)
    return Frame({NUMBERED: Series("whole", np.full(n, number), np.zeros(n, bool)), **frame.columns})


def conditions_from(words: Sequence[str], encoder: Encoder) -> dict[str, Any]:
    """What is known, from texts such as "age=40", "city=Graz" and "price=10..500", "price=..500", "price=10..".

    Raises:
        UsageError: no "=", a column that there is not, or one twice; what its column cannot hold.
    """
    made: dict[str, Any] = {}
    kinds = {column.name: column.kind for column in encoder.columns}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not text:
            raise UsageError(
                f"--given {word}: expected COLUMN=VALUE, or COLUMN=LOW..HIGH, such as age=40 or price=..500."
            )
        if name not in kinds:
            raise UsageError(f"--given {word}: " + unknown("column", name, encoder.names))
        if name in made:
            raise UsageError(f"--given {word}: column '{name}' is given twice.")
        try:
            made[name] = _asked(text, encoder, name, kinds[name])
            conditions_of(encoder, {name: made[name]})
        except MotesError as error:
            raise UsageError(f"--given {word}: {str(error).removeprefix('given, ')}") from None
    return made


def _asked(text: str, encoder: Encoder, name: str, kind: str) -> Any:
    """A value of a column, or an interval as two of them. Labels may hold two dots themselves."""
    labels = encoder.kept[name].labels if name in encoder.kept else ()
    for codec in encoder.codecs:
        if codec.column == name and isinstance(codec.cells, Labels):
            labels = codec.cells.labels
    known = [str(label) for label in labels]
    low, dots, high = text.partition("..")
    if not dots or text in known:
        return _cell(text, known if kind == "ordered" else sorted(known), encoder, name)
    if kind == "categorical":
        return low, high  # which says nothing of labels without an order, whatever they are
    return tuple(_cell(end, known, encoder, name) if end else None for end in (low, high))


def _cell(text: str, labels: Sequence[str], encoder: Encoder, name: str) -> Any:
    """A cell as its column holds it: text stays text among labels, and a number is one elsewhere."""
    codec = next((codec for codec in encoder.codecs if codec.column == name), None)
    type_ = encoder.kept[name].type if codec is None else codec.type
    if type_ == "label" and text not in labels:
        said = unknown("label", text, labels)
        raise UsageError(said if len(labels) <= SHOWN else said.partition(" Choose from:")[0])
    if type_ == "truth" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if type_ in ("label", "date", "truth"):
        return text
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"'{text}' is not a number, and column '{name}' holds numbers.") from None
    if not np.isfinite(number):
        raise UsageError(f"expected a finite number. An open end is left out, as in {name}=10.. or {name}=..10.")
    return number


def _judged(model: TableModel, origin: TableSource, samples: Frame, target: str | None, seed: int) -> TableEvaluation:
    """`judge_table` with the likelihood; where no rows were held out, half of those that there are stand for them."""
    learn, notes = model.encoder.frame(origin.learn), tuple[str, ...]()
    judge = None if origin.judge is None else model.encoder.frame(origin.judge)
    if judge is None:
        order = np.random.default_rng([seed, 314159]).permutation(len(learn))
        learn, judge = learn.take(order[::2]), learn.take(order[1::2])
        notes = (
            "no rows of a training are here that could be told from held-out ones, so one half of the rows stands for "
            "each: what is said of likelihood and of distances to training rows says nothing about memory.",
        )
    count = int(np.clip(SCORED // model.encoder.width, 100, 1000))
    log_prob = None
    if model.masked or not any(series.missing.any() for part in (learn, judge) for series in part.columns.values()):
        ours, theirs = (_log_prob(model, part.take(slice(count))) for part in (judge, learn))
        log_prob = ours, theirs
    if log_prob is not None and min(np.isfinite(part).sum() for part in log_prob) < 2:
        log_prob = None
        notes += (
            "hardly any held-out row has a likelihood: nearly all hold a label or a value that no row of the training "
            'had, as names of rows do. Leave such a column out, by kind "drop".',
        )
    found = judge_table(samples, judge, learn, model.encoder, target=target, log_prob=log_prob, seed=seed)
    return replace(found, notes=(*notes, *found.notes))


def _log_prob(model: TableModel, rows: Frame) -> NDArray[np.float64]:
    """log p of rows, (n,); minus infinity where a cell is none that the training could have held."""
    possible = _possible(model, rows)
    made = np.full(len(rows), -np.inf)
    if possible.any():
        made[possible] = model.score_samples(rows.take(np.flatnonzero(possible)))
    return made


def _possible(model: TableModel, rows: Frame) -> Mask:
    """Which rows (n,) have a likelihood: halves of those that it refuses are tried, down to single rows."""
    try:
        model.encoded(rows)
    except DataError:
        if len(rows) == 1:
            return np.zeros(1, bool)
        half = len(rows) // 2
        return np.concatenate([_possible(model, rows.take(part)) for part in (slice(half), slice(half, None))])
    return np.ones(len(rows), bool)


def write_page(found: TableEvaluation, path: Path, model: TableModel) -> None:
    """`report.html`."""
    from motes.reporting.page import write_report

    source = model.model.source
    about = {"model": repr(model), "trained on": source or "a table in memory"}
    write_report(found, path, title=f"Made rows beside those of {Path(source).name or 'the table'}", about=about)


def _keep(model: TableModel, out: Path) -> None:
    """The model, what its averages are made from, and its losses."""
    model.save(out / "model.safetensors")
    model.model.save_averages(out)
    write_history(model.model, out)
