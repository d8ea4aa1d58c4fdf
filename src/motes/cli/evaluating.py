"""`motes evaluate`, `motes diagnose`, `motes plot`: how good a model is, and what it looks like."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from motes.cli.common import app, note, print_result, read_by, refuse_others, start_jax, whole
from motes.cli.options import Count, Drawing, Drawn, Given, Json, Quiet, Reference, Run, Seed, Text
from motes.errors import UsageError
from motes.text_options import TextOptions


@app.command
def evaluate(
    model: Run,
    source: Reference = None,
    /,
    *,
    n: Count = 10_000,
    target: str | None = None,
    report: Path | None = None,
    show_rows: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
    drawing: Drawn = Drawing(),
    seed: Seed = 0,
    text: Text = TextOptions(),
    json: Json = False,
    quiet: Quiet = False,
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
    from motes.loading import load
    from motes.plots import write_page
    from motes.plots.report import check_page
    from motes.progress import Reporter

    if show_rows and report is None:
        raise UsageError("--show-rows is about the report; say where to write it with --report FILE.html.")
    reporter = Reporter(quiet)
    trained: Any = read_by(load(model), text, source)
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
    model: Run,
    source: Reference = None,
    /,
    *,
    n: Annotated[int | None, Parameter(alias="-n", converter=whole)] = None,
    out: Path | None = None,
    overwrite: bool = False,
    t: float | None = None,
    drawing: Drawn = Drawing(),
    seed: Seed = 0,
    text: Text = TextOptions(),
    json: Json = False,
    quiet: Quiet = False,
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
    from motes.loading import load
    from motes.progress import Reporter

    if t is not None and not 0 < t <= 1:
        raise UsageError(f"--t {t:g}; expected a time above 0 (data), up to 1 (noise).")
    if t is not None and out is None:
        raise UsageError("--t is the time of a figure; say where to draw it with --out FOLDER.")
    if out is not None and not overwrite:
        refuse_files(out, DIAGNOSIS)
    reporter = Reporter(quiet)
    trained: Any = read_by(load(model), text, source)
    refuse_others(trained, points={"-n": n, "--t": t}, tables={})
    options: dict[str, Any] = {} if n is None else {"n": n}
    if trained.kind == "points":
        with reporter.counting("diagnosing", "rows") as count:
            found = trained.diagnose(source, seed=seed, on_progress=count, **options)
    else:
        of_table = trained.kind == "table"
        reporter.say("scoring rows that the model has not seen" if of_table else "drawing the posterior of each row")
        found = trained.diagnose(source, seed=seed, **options)
    print_result(found, json)
    if out is not None:
        for path in keep_diagnosis(found, trained, source, out, t=t, drawing=drawing, seed=seed):
            reporter.say(str(path))
    return 0


@app.command
def plot(
    model: Run,
    source: str | None = None,
    /,
    *,
    given: Given = [],  # noqa: B006 - never changed
    out: Path | None = None,
    overwrite: bool = False,
    video: bool = False,
    drawing: Drawn = Drawing(),
    seed: Seed = 0,
    text: Text = TextOptions(),
    quiet: Quiet = False,
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
    from motes.loading import load
    from motes.progress import Reporter

    if video and find_spec("imageio_ffmpeg") is None:
        raise UsageError("--video needs imageio-ffmpeg: pip install imageio-ffmpeg. Without --video it is a GIF.")
    trained: Any = read_by(load(model), text, source)
    home = model if model.is_dir() else model.parent
    folder = out or home
    if folder.resolve() != home.resolve() and not overwrite:
        refuse_files(folder, PICTURES)
    refuse_others(trained, points={"--video": video}, tables={})
    options: dict[str, Any] = {"drawing": drawing, "seed": seed, "home": home}
    if trained.kind == "posterior":
        if source is not None or video:
            what = f"the data '{source}'" if source is not None else "--video"
            raise UsageError(f"got {what}; expected --given alone: the picture is of draws given one observation.")
        paths = draw_posterior(trained, conditions(given, trained), folder, Reporter(quiet), **options)
    elif given:
        raise UsageError(
            f"got --given {given[0]}; expected a model of points that was trained with --given-columns. Draw rows "
            "under conditions with `motes sample`."
        )
    else:
        paths = draw_run(trained, source_of(trained, source), folder, Reporter(quiet), video=video, **options)
    for path in paths:
        print(path)
    return 0
