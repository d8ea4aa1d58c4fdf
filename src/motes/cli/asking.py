"""Commands that use, evaluate and plot a trained model.

`motes sample`, `motes score`, `motes impute`, `motes predict`; `motes evaluate`, `motes diagnose`, `motes plot`.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from motes.cli import common as options
from motes.cli.common import app, check_rows_out, load_model, note, print_result, refuse_others, start_jax, whole
from motes.cli.sharding import ShardOptions, WorkOptions, write_shards
from motes.errors import UsageError
from motes.progress import Reporter
from motes.text_options import TextOptions

if TYPE_CHECKING:
    from motes.data.files import Write
    from motes.tables.model import Evidence


@app.command
def sample(
    model: options.Run,
    /,
    *,
    n: options.Count = 1000,
    out: options.RowsOut = None,
    overwrite: options.Replace = False,
    given: options.Given = [],  # noqa: B006 - never changed
    importance_resample: bool = False,
    placeholders: bool = False,
    points: options.PointOptions = options.PointOptions(),
    sharding: ShardOptions = ShardOptions(),
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> int:
    """Draw synthetic rows from a model, also under conditions or from one class.

    Args:
        n: Number of rows.
        importance_resample: Tables only: correct rows under conditions by importance weights, in the model's fixed
            order of columns.
        placeholders: Tables only: fill columns that are set aside, such as ids and names, with placeholders.
    """
    start_jax()
    from motes.cli.condition_words import conditions, observations
    from motes.cluster import Sampler
    from motes.drawing import sample_blocks, types_of
    from motes.tables.model import Evidence, evidence_of

    trained, iid = load_model(model), points.iid
    for_tables = {"importance_resample": importance_resample, "placeholders": placeholders}
    named = {f"--{name.replace('_', '-')}": value for name, value in for_tables.items()}
    refuse_others(trained, points=points.given, tables=named)
    if sharding.shards is None:
        check_rows_out(out, overwrite, types_of(trained))
    known: Any = conditions(given, trained) if iid is None else observations(given, iid, trained)
    if trained.kind == "posterior":
        for warning in trained.reliability_warnings(known, iid=iid is not None):
            note(f"warning: {warning}")
    chosen: dict[str, Any] = for_tables if trained.kind == "table" else {"label": points.label}
    if trained.kind == "posterior" and iid is not None:
        chosen["iid"] = True
    if any(points.given.values()):
        chosen["sampling"] = points.how()
    if sharding.shards is not None:
        if sharding.shards > 1 and trained.kind == "table" and trained.schema.keys:
            keys = ", ".join(map(str, trained.schema.keys))
            note(
                f"warning: {keys} holds within a shard, but keys can repeat between shards. To avoid it, omit --shards."
            )
        drawing = {name: value for name, value in chosen.items() if value}
        task = Sampler(model, n=n, shards=sharding.shards, seed=seed, given=known or None, options=drawing)
        return write_shards(task, out, sharding, overwrite=overwrite, quiet=quiet)
    effective, evidences = 0.0, []
    with _open_writer(out) as write, Reporter(quiet).counting("sampling", "rows") as count:
        for rows in sample_blocks(trained, range(n), given=known, seed=seed, on_progress=count, **chosen):
            write(rows)
            effective += rows.effective
            evidences.append(rows.log_evidence)
    if known and trained.kind == "table":
        _say_evidence(evidence_of(trained, known, evidences, effective), given, n)
    elif known and trained.kind == "points":
        _say_evidence(Evidence(None, (), effective, tuple(trained.reliability_warnings(known))), given, n)
    if out is not None:
        print(f"{n:,} rows in {out}")
    return 0


def _say_evidence(found: "Evidence", given: Sequence[str], n: int) -> None:
    """Print the probability of the conditions and the effective sample size of the rows."""
    worth = f"{n:,} rows are worth {found.effective:,.0f} independent ones (effective sample size)."
    if found.log_prob is not None:
        density = f"a density of {', '.join(found.density)}" if found.density else ""
        message = density or f"probability {min(exp(found.log_prob), 1.0):.4g}"
        rules = ", given the rules" if found.rules else ""
        note(f"log p({', '.join(given)}{rules}) = {found.log_prob:.4f} nats: {message}. The {worth}")
    elif found.effective < n:
        note(f"the {worth}")
    for warning in found.warnings:
        note(f"warning: {warning}")


def _open_writer(out: Path | None) -> "AbstractContextManager[Write]":
    """Return a writer of rows to a file, or to standard output as CSV."""
    from motes.data.files import text_to, writing

    return writing(out) if out is not None else nullcontext(text_to(sys.stdout))


@app.command
def impute(
    model: options.Run,
    file: options.Data,
    /,
    *,
    out: Annotated[Path, Parameter(help=f"A {options.FILES} for the completed rows; for several files a folder.")],
    overwrite: options.Replace = False,
    draws: options.Whole = 1,
    seed: options.Seed = 0,
    work: WorkOptions = WorkOptions(),
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Fill in missing (empty) entries, each drawn given the observed entries of its row.

    Args:
        draws: Number of completed tables, numbered in a column 'draw' if more than one.
    """
    start_jax()
    from motes.cluster import Imputer
    from motes.data import Blocks
    from motes.data.files import files_of, writing
    from motes.drawing import check_imputing, impute_blocks, missing_entries, types_of

    trained, name, ignored = load_model(model, text, files_of(file)[0]), f"'{file}'", 0
    check_imputing(trained, draws)
    if work.divides(file):
        task = Imputer(model, draws=draws, seed=seed, text=text)
        return write_shards(task, out, work, source=file, overwrite=overwrite, quiet=quiet, verb="filling in")
    check_rows_out(out, overwrite, types_of(trained))
    rows = Blocks.of_file(file, trained.recipe.text.fitting(file))
    entries = incomplete = 0
    for block in rows.read():
        missing = missing_entries(trained, block, name)
        entries, incomplete = entries + int(missing.sum()), incomplete + int(missing.any(axis=1).sum())
    reporter = Reporter(quiet)
    with writing(out) as write, reporter.counting("filling in", "rows", total=incomplete * draws) as count:
        for part in impute_blocks(trained, rows, name, draws=draws, seed=seed, on_progress=count):
            write(part)
            ignored += part.ignored
    print(f"{entries:,} entries filled in, {rows.rows * draws:,} rows in {out}")
    _note_ignored(ignored)
    return 0


def _note_ignored(entries: int) -> None:
    if entries:
        note(f"warning: {entries:,} impossible entries, such as unseen labels, were treated as not observed.")


@app.command
def predict(
    model: options.Run,
    file: options.Data,
    /,
    *,
    column: str,
    out: options.RowsFile = None,
    overwrite: options.Replace = False,
    quantile: list[float] | None = None,
    draws: options.MaybeWhole = None,
    seed: options.Seed = 0,
    work: WorkOptions = WorkOptions(),
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Predict one column of a table from the others: class probabilities, or mean and quantiles.

    Args:
        column: The column to predict from the others; FILE need not have it.
        quantile: For numbers and dates: a quantile level (default: 0.05, 0.5 and 0.95). Repeatable.
        draws: For numbers and dates: draws per row (default: 256).
    """
    start_jax()
    from motes.cluster import Predictor
    from motes.data import Blocks
    from motes.data.files import files_of
    from motes.tables.predictions import DRAWS, QUANTILES, predict_blocks, rows_without

    if not (several := work.divides(file)):
        check_rows_out(out, overwrite)
    trained, name, ignored = load_model(model, text, files_of(file)[0]), f"'{file}'", 0
    if trained.kind != "table":
        raise UsageError(f"'{model}' is a model of {trained.about}; expected a model of a table, for `motes predict`.")
    levels, draws = quantile or QUANTILES, DRAWS if draws is None else draws
    if several:
        task = Predictor(model, column=column, quantiles=tuple(levels), draws=draws, seed=seed, text=text)
        return write_shards(task, out, work, source=file, overwrite=overwrite, quiet=quiet, verb="predicting")
    whole_rows = Blocks.of_file(file, trained.recipe.text.fitting(file))
    rows = whole_rows.each(lambda frame: rows_without(trained.schema, frame, column, name))
    with _open_writer(out) as write, Reporter(quiet).counting("predicting", "rows") as count:
        for part in predict_blocks(trained.orders, rows, column, levels, draws, seed, count, name):
            write(part)
            ignored += part.ignored
    if out is not None:
        print(f"'{column}' predicted in {rows.rows:,} rows in {out}")
    _note_ignored(ignored)
    return 0


@app.command
def score(
    model: options.Run,
    source: Annotated[
        str, Parameter(help=f"A {options.TABLE}; for points also a shape, sampled afresh. {options.SEVERAL}")
    ],
    /,
    *,
    out: Path,
    overwrite: options.Replace = False,
    orders: options.Whole = 1,
    laplace: bool = False,
    label: options.Label = None,
    work: WorkOptions = WorkOptions(),
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Write the log-likelihood of each row of a file, in nats.

    Args:
        out: A file for each row's log-likelihood, as for other commands; for several files a folder.
        orders: Tables only: average p over this many orders of the columns; adds a column 'spread'.
        laplace: Tables only: give impossible entries, such as unseen labels, a small probability instead of 0.
    """
    start_jax()
    import numpy as np

    from motes.cli.answers import SAMPLES
    from motes.cluster import Scorer
    from motes.data import SHAPES, Blocks, as_frame
    from motes.data.files import files_of, writing
    from motes.drawing import score_blocks
    from motes.evaluation.sources import rows_to_score

    if not (several := work.divides(source)):
        check_rows_out(out, overwrite)
    trained = load_model(model, text, files_of(source)[0])
    for_tables = {"--orders": orders != 1, "--laplace": laplace}
    refuse_others(trained, points={"--label": label is not None}, tables=for_tables)
    asked: dict[str, Any] = {"orders": orders, "laplace": laplace, "label": label}
    if several:
        task = Scorer(model, text=text, **asked)
        return write_shards(task, out, work, source=source, overwrite=overwrite, quiet=quiet, verb="scoring")
    if source in SHAPES and trained.kind != "table":
        rows = Blocks.of_frame(as_frame(rows_to_score(source, trained, SAMPLES)))
    else:
        rows = Blocks.of_file(source, trained.recipe.text.fitting(source))
    ignored = doubtful = possible = 0
    mean = squares = 0.0  # of the log-likelihoods of possible rows: their mean, and the sum of squares around it
    with writing(out) as write, Reporter(quiet).counting("scoring", "rows") as count:
        for part in score_blocks(trained, rows, f"'{source}'", on_progress=count, **asked):
            write(part)
            ignored, doubtful = ignored + part.ignored, doubtful + part.doubtful
            log_prob = part["log_prob"][np.isfinite(part["log_prob"])]
            if k := len(log_prob):
                share, gap = k / (possible + k), log_prob.mean() - mean
                mean, squares = mean + gap * share, squares + k * log_prob.var() + possible * share * gap**2
                possible += k
    error = f" ± {(squares / (possible - 1) / possible) ** 0.5:.4f}" if possible > 1 else ""
    text_of_mean = f"mean log-likelihood {mean:.4f}{error} nats per row" if possible else "no row is possible"
    of = f" over the {possible:,} possible rows" if 0 < possible < rows.rows else ""
    print(f"{text_of_mean}{of}; {rows.rows:,} rows in {out}")
    if trained.kind == "table" and trained.rules:
        note(f"log p is given the rules: {'; '.join(trained.rules)}")
    if ignored:
        mass = f"each has the mass 1 / {trained.schema.rows + 1:,}"
        what = mass if laplace else "log p = -inf; --laplace gives each a small mass"
        note(f"warning: {ignored:,} impossible entries in {doubtful:,} rows, such as unseen labels: {what}.")
    elif doubtful:
        note(f"warning: {doubtful:,} rows are too far from the data to be exact to 0.01 nats.")
    return 0


# --- evaluation, diagnosis and figures --------------------------------------------------------------------------------


@app.command
def evaluate(
    model: options.Run,
    source: options.Reference = None,
    /,
    *,
    n: options.Count = 10_000,
    target: str | None = None,
    report: Path | None = None,
    show_rows: bool = False,
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Compare a model's samples with real rows; each metric has its reference value.

    Args:
        n: Maximum number of samples, and of real points.
        target: Tables only: a column to predict from the others, after training on synthetic and on real rows.
        report: An .html file for the full report, with figures.
        show_rows: Tables only: show real rows in the report.
    """
    start_jax()
    from motes.plots import write_page
    from motes.plots.report import check_page

    if show_rows and report is None:
        raise UsageError("--show-rows needs a report: --report FILE.html.")
    trained = load_model(model, text, source)
    if report is not None:
        check_page(report)
    refuse_others(trained, points={}, tables={"--target": target, "--show-rows": show_rows})
    extra = {} if target is None else {"target": target}
    found = trained.evaluate(source, n=n, seed=seed, verbose=not quiet, **extra)
    if report is not None:
        write_page(found, report, show_rows=show_rows)
        Reporter(quiet).say(f"report in {report}")
    print_result(found, json)
    return 0


@app.command
def diagnose(
    model: options.Run,
    source: options.Reference = None,
    /,
    *,
    n: Annotated[int | None, Parameter(alias="-n", converter=whole)] = None,
    out: Path | None = None,
    overwrite: bool = False,
    t: Annotated[float | None, Parameter(validator=Number(gt=0, lte=1))] = None,
    drawing: options.Drawn = options.Drawing(),
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """List a model's problems, with the option that fixes each.

    For points, also the sources of the sampling error; for a table, what the model learned about each column.

    Args:
        n: Points only: maximum number of samples, and of real points (default: 8192).
        out: Folder for figures and numbers (default: none are written).
        overwrite: Replace an earlier diagnosis in the folder.
        t: Points only: the time of the score figure, above 0 (data) and up to 1 (noise); default: the worst one.
    """
    start_jax()
    from motes.cli.figures import keep_diagnosis
    from motes.cli.folders import DIAGNOSIS, refuse_files

    if t is not None and out is None:
        raise UsageError("--t is the time of a figure, which needs --out FOLDER.")
    if out is not None and not overwrite:
        refuse_files(out, DIAGNOSIS)
    reporter = Reporter(quiet)
    trained = load_model(model, text, source)
    refuse_others(trained, points={"-n": n, "--t": t}, tables={})
    extra: dict[str, Any] = {} if n is None else {"n": n}
    if trained.kind == "points":
        with reporter.counting("diagnosing", "rows") as count:
            found = trained.diagnose(source, seed=seed, on_progress=count, **extra)
    else:
        of_table = trained.kind == "table"
        reporter.say("scoring held-out rows" if of_table else "drawing the posterior of each row")
        found = trained.diagnose(source, seed=seed, **extra)
    print_result(found, json)
    if out is not None:
        for path in keep_diagnosis(found, trained, source, out, t=t, drawing=drawing, seed=seed):
            reporter.say(str(path))
    return 0


@app.command
def plot(
    model: options.Run,
    source: str | None = None,
    /,
    *,
    given: options.Given = [],  # noqa: B006 - never changed
    out: Path | None = None,
    overwrite: bool = False,
    drawing: options.Drawn = options.Drawing(),
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Draw the figures of a model; for points also the animation.

    For a posterior, draw its columns in pairs given an observation (--given).

    Args:
        source: The data (default: the training data).
        out: Folder for the figures (default: the model's folder).
        overwrite: Replace the figures of another model in the folder.
    """
    start_jax()
    from motes.cli.condition_words import conditions
    from motes.cli.figures import draw_run
    from motes.cli.folders import PICTURES, refuse_files
    from motes.evaluation.sources import source_of

    trained = load_model(model, text, source)
    home = model if model.is_dir() else model.parent
    folder = out or home
    if folder.resolve() != home.resolve() and not overwrite:
        refuse_files(folder, PICTURES)
    posterior = trained.kind == "posterior"
    if posterior and source is not None:
        raise UsageError(f"got the data '{source}'; expected --given alone: draws are shown given one observation.")
    if given and not posterior:
        raise UsageError(
            f"got --given {given[0]}; expected a model of points that was trained with --given-columns. Draw rows "
            "under conditions with `motes sample`."
        )
    rows = conditions(given, trained) if posterior else source_of(trained, source)
    paths = draw_run(trained, rows, folder, Reporter(quiet), drawing=drawing, seed=seed, home=home)
    for path in paths:
        print(path)
    return 0
