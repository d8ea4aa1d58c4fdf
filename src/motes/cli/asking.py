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
from motes.cli.sharding import ShardOptions, write_shards
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
    from motes.cli.answers import write_table
    from motes.cli.condition_words import conditions, observations
    from motes.drawing import draw_given, types_of

    trained, iid = load_model(model), points.iid
    for_tables = {"importance_resample": importance_resample, "placeholders": placeholders}
    named = {f"--{name.replace('_', '-')}": value for name, value in for_tables.items()}
    refuse_others(trained, points=points.given, tables=named)
    if sharding.shards is None:
        check_rows_out(out, overwrite, types_of(trained))
    elif overwrite:
        raise UsageError("got --overwrite with --shards, which continue what is in the folder. Delete it first.")
    known: Any = conditions(given, trained) if iid is None else observations(given, iid, trained)
    if trained.kind == "posterior":
        for warning in trained.reliability_warnings(known, iid=iid is not None):
            note(f"warning: {warning}")
    if sharding.shards is not None:
        how = points.how() if any(points.given.values()) else None
        drawing = {"label": points.label, "sampling": how, "iid": iid is not None, **for_tables}
        return write_shards(trained, n, out, sharding, quiet, seed=seed, given=known or None, **drawing)
    extra: dict[str, Any] = {"seed": seed, "label": points.label, "sampling": points.how()}
    found = None
    with _open_writer(out) as write, Reporter(quiet).counting("sampling", "rows") as count:
        if trained.kind == "table":
            found = write_table(trained, n, write, count, given=known, seed=seed, **for_tables)
        else:
            rows, found = draw_given(trained, n, known, iid=iid is not None, on_progress=count, **extra)
            write(rows)
    if found is not None:
        _say_evidence(found, given, n)
    if out is not None:
        print(f"{n:,} rows in {out}")
    return 0


def _say_evidence(found: "Evidence", given: Sequence[str], n: int) -> None:
    """Print the probability of the conditions and the effective sample size of the rows."""
    worth = f"{n:,} rows are worth {found.effective:,.0f} independent ones (effective sample size)."
    if found.log_prob is not None:
        density = f"a density of {', '.join(found.density)}" if found.density else ""
        message = density or f"probability {min(exp(found.log_prob), 1.0):.4g}"
        note(f"log p({', '.join(given)}) = {found.log_prob:.4f} nats: {message}. The {worth}")
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
    out: Annotated[Path, Parameter(help=f"A {options.FILES} for the completed rows.")],
    overwrite: options.Replace = False,
    draws: options.Whole = 1,
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Fill in missing (empty) entries, each drawn given the observed entries of its row.

    Args:
        draws: Number of completed tables, numbered in a column 'draw' if more than one.
    """
    start_jax()
    from motes.cli.answers import impute_file
    from motes.drawing import types_of

    trained = load_model(model, text, file)
    check_rows_out(out, overwrite, types_of(trained))
    rows, entries, ignored = impute_file(trained, str(file), out, draws=draws, seed=seed, reporter=Reporter(quiet))
    print(f"{entries:,} entries filled in, {rows:,} rows in {out}")
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
    draws: Annotated[int | None, Parameter(converter=whole)] = None,
    seed: options.Seed = 0,
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
    from motes.data import Blocks
    from motes.tables.predictions import DRAWS, QUANTILES, predict_blocks, rows_without

    check_rows_out(out, overwrite)
    trained, source, name, ignored = load_model(model, text, file), str(file), f"'{file}'", 0
    if trained.kind != "table":
        raise UsageError(f"'{model}' is a model of {trained.about}; expected a model of a table, for `motes predict`.")
    whole_rows = Blocks.of_file(source, trained.recipe.text.fitting(source))
    rows = whole_rows.each(lambda frame: rows_without(trained.schema, frame, column, name))
    with _open_writer(out) as write, Reporter(quiet).counting("predicting", "rows") as count:
        levels, draws = quantile or QUANTILES, DRAWS if draws is None else draws
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
    source: Annotated[str, Parameter(help=f"A {options.TABLE}; for points also a shape, sampled afresh.")],
    /,
    *,
    out: Path,
    overwrite: options.Replace = False,
    orders: options.Whole = 1,
    laplace: bool = False,
    label: options.Label = None,
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Write the log-likelihood of each row of a file, in nats.

    Args:
        out: A .csv, .tsv, .parquet or .npy file for each row's log-likelihood.
        orders: Tables only: average p over this many orders of the columns; adds a column 'spread'.
        laplace: Tables only: give impossible entries, such as unseen labels, a small probability instead of 0.
    """
    start_jax()
    import numpy as np

    from motes.cli.answers import SAMPLES, read_rows
    from motes.data import as_frame, write_frame
    from motes.evaluation.sources import rows_to_score

    check_rows_out(out, overwrite)
    trained = load_model(model, text, source)
    rows: Any
    of_table = trained.kind == "table"
    for_tables = {"--orders": orders != 1, "--laplace": laplace}
    refuse_others(trained, points={"--label": label is not None}, tables=for_tables)
    if of_table:
        rows = read_rows(trained, source)
        extra: dict[str, Any] = {"orders": orders, "laplace": laplace, "name": f"'{source}'"}
    else:
        points = rows_to_score(source, trained, SAMPLES)
        rows, extra = points.x, {"label": label}
        if points.given is not None:
            extra["given"] = points.given.x
    with Reporter(quiet).counting("scoring", "rows") as count:
        found = trained.likelihood(rows, on_progress=count, **extra)
    spread = {"spread": found.spread} if orders > 1 else {}
    write_frame(out, as_frame({"log_prob": found.log_prob} | spread))
    log_prob = found.log_prob[np.isfinite(found.log_prob)]
    n, possible = len(found.log_prob), len(log_prob)
    error = f" ± {log_prob.std(ddof=1) / possible**0.5:.4f}" if possible > 1 else ""
    mean = f"mean log-likelihood {log_prob.mean():.4f}{error} nats per row" if possible else "no row is possible"
    of = f" over the {possible:,} possible rows" if 0 < possible < n else ""
    print(f"{mean}{of}; {n:,} rows in {out}")
    if of_table and (entries := int(found.impossible.sum())):
        count_rows, mass = int((found.impossible > 0).sum()), f"each has the mass 1 / {trained.schema.rows + 1:,}"
        what = mass if laplace else "log p = -inf; --laplace gives each a small mass"
        note(f"warning: {entries:,} impossible entries in {count_rows:,} rows, such as unseen labels: {what}.")
    if not of_table and (lost := int((~(found.error <= 0.01)).sum())):
        note(f"warning: {lost:,} rows are too far from the data to be exact to 0.01 nats.")
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
