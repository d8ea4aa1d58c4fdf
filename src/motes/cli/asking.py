"""What a model answers, how good it is, and what it looks like.

`motes sample`, `motes score`, `motes impute`, `motes predict`; `motes evaluate`, `motes diagnose`, `motes plot`.
"""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motes.cli import options
from motes.cli.common import app, check_rows_out, load_model, note, print_result, refuse_others, start_jax, whole
from motes.errors import UsageError
from motes.progress import Reporter
from motes.text_options import TextOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motes.data.files import Write
    from motes.points.likelihood import Likelihood
    from motes.tables.model import Evidence, RowLikelihood


@app.command
def sample(
    model: options.Run,
    /,
    *,
    n: options.Count = 1000,
    out: options.RowsFile = None,
    overwrite: options.Replace = False,
    given: options.Given = [],  # noqa: B006 - never changed
    exact: bool = False,
    placeholders: bool = False,
    points: options.PointOptions = options.PointOptions(),
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
) -> int:
    """Draw new rows from a model: under conditions, of a class, or any.

    Args:
        n: How many rows.
        exact: Of a table: weigh rows under conditions by the model's own order of its columns.
        placeholders: Of a table: fill columns that are set aside, such as ids and names, with placeholders.
    """
    start_jax()
    from motes.cli.answers import types_of, write_samples
    from motes.cli.condition_words import conditions, observations

    check_rows_out(out, overwrite)
    trained = load_model(model)
    refuse_others(trained, points=points.given, tables={"--exact": exact, "--placeholders": placeholders})
    check_rows_out(out, overwrite, types_of(trained))
    known = conditions(given, trained) if points.iid is None else observations(given, points.iid, trained)
    with _written(out) as write:
        found = write_samples(
            trained, n, write, Reporter(quiet), given=known, seed=seed, exact=exact, placeholders=placeholders,
            iid=points.iid is not None, label=points.label, how=points.how(),
        )  # fmt: skip
    if found is not None:
        _say_known(found, given, n)
    if out is not None:
        print(f"{n:,} rows in {out}")
    return 0


def _say_known(found: "Evidence", given: Sequence[str], n: int) -> None:
    """How probable the conditions are, and what the rows under them are worth."""
    worth = f"{n:,} rows are worth {found.effective:,.0f} independent ones (effective sample size)."
    if found.log_prob is not None:
        density = f"a density, of {', '.join(found.density)}" if found.density else ""
        message = density or f"probability {min(exp(found.log_prob), 1.0):.4g}"
        note(f"log p({', '.join(given)}) = {found.log_prob:.4f} nats: {message}. The {worth}")
    elif found.effective < n:
        note(f"the {worth}")
    for warning in found.warnings:
        note(f"warning: {warning}")


def _written(out: Path | None) -> "AbstractContextManager[Write]":
    """Rows to a file, or to standard output as CSV."""
    from motes.data.files import text_to, writing

    return writing(out) if out is not None else nullcontext(text_to(sys.stdout))


@app.command
def impute(
    model: options.Run,
    file: options.Data,
    /,
    *,
    out: Annotated[Path, Parameter(help=f"A {options.FILES} for the whole rows.")],
    overwrite: options.Replace = False,
    draws: options.Whole = 1,
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Fill in the missing (empty) entries of a table, each with a draw given the observed entries of its row.

    Args:
        draws: Fill in as often; a column 'draw' then counts them.
    """
    start_jax()
    from motes.cli.answers import impute_file, types_of

    check_rows_out(out, overwrite)
    trained = load_model(model, text, file)
    check_rows_out(out, overwrite, types_of(trained))
    rows, entries = impute_file(trained, str(file), out, draws=draws, seed=seed, reporter=Reporter(quiet))
    print(f"{entries:,} entries filled in, {rows:,} rows in {out}")
    return 0


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
    """One column of a table given the others of each row: probabilities of labels, mean and quantiles of numbers.

    Args:
        column: The column to predict from the others; FILE need not have it.
        quantile: Of a number or a date: a share; 0.05, 0.5, 0.95 if left out. Repeatable.
        draws: Of a number or a date: draws for each row; 256 if left out.
    """
    start_jax()
    from motes.cli.answers import predict_file
    from motes.tables.predictions import DRAWS, QUANTILES

    check_rows_out(out, overwrite)
    trained = load_model(model, text, file)
    if trained.kind != "table":
        raise UsageError(
            f"got '{model}', a model of {trained.about}; expected one of a table, for `motes predict`. Give another."
        )
    count, ignored = predict_file(
        trained, str(file), column, _written(out), quantiles=quantile or QUANTILES,
        draws=DRAWS if draws is None else draws, seed=seed, reporter=Reporter(quiet),
    )  # fmt: skip
    if out is not None:
        print(f"'{column}' predicted in {count:,} rows in {out}")
    if ignored:
        note(f"warning: {ignored:,} impossible entries, which training could not have held, count as not observed.")
    return 0


@app.command
def score(
    model: options.Run,
    source: Annotated[str, Parameter(help=f"A {options.TABLE}; for points also a shape, which is drawn afresh.")],
    /,
    *,
    out: Path,
    overwrite: options.Replace = False,
    orders: options.Whole = 1,
    smooth: bool = False,
    label: options.Label = None,
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """How likely a model finds rows: the log-likelihood of each, in nats.

    Args:
        out: A .csv, .tsv, .parquet, .npy or .npz file for each row's log-likelihood.
        orders: Of a table: average p over so many orders of the columns; a column 'spread' shows the difference.
        smooth: Of a table: a small probability, not 0, for what the training could not have held.
    """
    start_jax()
    from motes.cli.answers import score_file

    check_rows_out(out, overwrite)
    trained = load_model(model, text, source)
    refuse_others(trained, points={"--label": label is not None}, tables={"--orders": orders != 1, "--smooth": smooth})
    of_table = trained.kind == "table"
    extra = {"orders": orders, "smooth": smooth} if of_table else {"label": label}
    found: Any = score_file(trained, source, Reporter(quiet), **extra)
    if of_table:
        _say_table_scores(found, out, orders, smooth, trained.schema.rows)
    else:
        _say_point_scores(found, out)
    return 0


def _say_point_scores(found: "Likelihood", out: Path) -> None:
    from motes.data import as_frame, write_frame

    write_frame(out, as_frame({"log_prob": found.log_prob}))
    print(f"{_mean(found.log_prob)}, {len(found.log_prob):,} rows in {out}")
    if lost := int((~(found.error <= 0.01)).sum()):
        note(f"warning: {lost:,} rows are not exact to 0.01 nats: too far from all data.")


def _say_table_scores(found: "RowLikelihood", out: Path, orders: int, smooth: bool, rows: int) -> None:
    import numpy as np

    from motes.data import as_frame, write_frame

    several = orders > 1
    write_frame(out, as_frame({"log_prob": found.log_prob} | ({"spread": found.spread} if several else {})))
    possible = np.isfinite(found.log_prob)
    if possible.any():
        spread = f", spread over {orders} orders {found.spread[possible].mean():.4f}" if several else ""
        of = "" if possible.all() else f" over the {possible.sum():,} possible rows"
        print(f"{_mean(found.log_prob[possible])}{of}{spread}; {len(possible):,} rows in {out}")
    else:
        print(f"no row has a likelihood above 0; {len(possible):,} rows in {out}")
    if entries := int(found.impossible.sum()):
        count, mass = int((found.impossible > 0).sum()), f"each has the mass 1 / {rows + 1:,}"
        what = mass if smooth else "log p = -inf there; --smooth gives each a small mass"
        note(f"warning: {entries:,} impossible entries in {count:,} rows, which training could not have held: {what}.")


def _mean(log_prob: "NDArray[np.float64]") -> str:
    """With its standard error, which one row does not have."""
    n = len(log_prob)
    error = f" ± {log_prob.std(ddof=1) / n**0.5:.4f}" if n > 1 else ""
    return f"mean log-likelihood {log_prob.mean():.4f}{error} nats per row"


# --- how good it is, and what it looks like ---------------------------------------------------------------------------


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
    out: Path | None = None,
    overwrite: bool = False,
    drawing: options.Drawn = options.Drawing(),
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Measure how far a model's samples are from real rows, each number beside that of two real draws.

    Args:
        n: Samples, and real points, at most.
        target: Of a table: a column that is predicted from the others, after training on synthetic and on real rows.
        report: An .html file for the whole report.
        show_rows: Of a table: show real rows in the report; none are shown otherwise.
        out: Folder for figures; none if left out.
        overwrite: Replace the figures of an evaluation there.
    """
    start_jax()
    from motes.cli.figures import draw_evaluation
    from motes.cli.folders import EVALUATION, refuse_files
    from motes.plots import write_page
    from motes.plots.report import check_page

    if show_rows and report is None:
        raise UsageError("--show-rows is about the report; say where to write it with --report FILE.html.")
    reporter = Reporter(quiet)
    trained = load_model(model, text, source)
    if report is not None:
        check_page(report)
    if out is not None and not overwrite:
        refuse_files(out, EVALUATION)
    refuse_others(trained, points={}, tables={"--target": target, "--show-rows": show_rows})
    found = trained.evaluate(
        source, n=n, seed=seed, verbose=not quiet, **({} if target is None else {"target": target})
    )
    if report is not None:
        write_page(found, report, show_rows=show_rows)
        reporter.say(f"report in {report}")
    print_result(found, json)
    if out is not None:
        paths = draw_evaluation(found, trained, source, out, drawing=drawing, seed=seed)
        for path in paths:
            reporter.say(str(path))
        if not paths:
            note("no figures: they are of points of the plane, and of tables. --report has the columns.")
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
    t: float | None = None,
    drawing: options.Drawn = options.Drawing(),
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Find out what is wrong with a model and how to fix it.

    Of points: where the error of the samples comes from. Of a table: what the model knows of each column.

    Args:
        n: Of points: samples, and real points, at most; 8192 if left out.
        out: Folder for figures and numbers; none if left out.
        overwrite: Replace the diagnosis that is in the folder.
        t: Of points: the time of the score figure; the worst one if left out.
    """
    start_jax()
    from motes.cli.figures import keep_diagnosis
    from motes.cli.folders import DIAGNOSIS, refuse_files

    if t is not None and not 0 < t <= 1:
        raise UsageError(f"--t {t:g}; expected a time above 0 (data), up to 1 (noise).")
    if t is not None and out is None:
        raise UsageError("--t is the time of a figure; say where to draw it with --out FOLDER.")
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
        reporter.say("scoring rows that the model has not seen" if of_table else "drawing the posterior of each row")
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
    video: bool = False,
    drawing: options.Drawn = options.Drawing(),
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Draw the pictures of a model; of points also the animation, and given observations one of draws in pairs.

    Args:
        source: The data; what it was trained on if left out.
        out: Folder of the pictures; that of the model if left out.
        overwrite: Replace the pictures of another model there.
        video: Of points: an MP4 instead of a GIF (pip install imageio-ffmpeg).
    """
    start_jax()
    from motes.cli.condition_words import conditions
    from motes.cli.figures import draw_posterior, draw_run
    from motes.cli.folders import PICTURES, refuse_files
    from motes.evaluation.sources import source_of

    if video and find_spec("imageio_ffmpeg") is None:
        raise UsageError("--video needs imageio-ffmpeg: pip install imageio-ffmpeg. Without --video it is a GIF.")
    trained = load_model(model, text, source)
    home = model if model.is_dir() else model.parent
    folder = out or home
    if folder.resolve() != home.resolve() and not overwrite:
        refuse_files(folder, PICTURES)
    refuse_others(trained, points={"--video": video}, tables={})
    extra: dict[str, Any] = {"drawing": drawing, "seed": seed, "home": home}
    if trained.kind == "posterior":
        if source is not None or video:
            what = f"the data '{source}'" if source is not None else "--video"
            raise UsageError(f"got {what}; expected --given alone: the picture is of draws given one observation.")
        paths = draw_posterior(trained, conditions(given, trained), folder, Reporter(quiet), **extra)
    elif given:
        raise UsageError(
            f"got --given {given[0]}; expected a model of points that was trained with --given-columns. Draw rows "
            "under conditions with `motes sample`."
        )
    else:
        paths = draw_run(trained, source_of(trained, source), folder, Reporter(quiet), video=video, **extra)
    for path in paths:
        print(path)
    return 0
