"""`motes evaluate`, `motes diagnose`, `motes plot`: how good a model is, and what it looks like."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from motes.cli._common import (
    Json,
    Quiet,
    Reference,
    Run,
    Seed,
    Style,
    Text,
    app,
    print_result,
    read_by,
    refuse_others,
    start_jax,
    whole,
)
from motes.data._text_options import TextOptions
from motes.errors import UsageError

if TYPE_CHECKING:
    from motes.diagnosis._after import Diagnosis
    from motes.diagnosis._of_tables import TableDiagnosis


@app.command
def evaluate(
    model: Run,
    source: Reference = None,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", converter=whole, help="Samples, and real points, at most.")] = 10_000,
    target: Annotated[
        str | None,
        Parameter(
            help="Of a table: a column that is predicted from the others, after training on synthetic and on real rows."
        ),
    ] = None,
    report: Annotated[Path | None, Parameter(help="An .html file for the whole report.")] = None,
    json: Json = False,
    seed: Seed = 0,
    text: Text = TextOptions(),
    quiet: Quiet = False,
) -> int:
    """Measure how far a model's samples are from real rows, each number beside that of two real draws."""
    start_jax()
    from motes._progress import Reporter
    from motes.diagnosis._evaluating import evaluate
    from motes.models._tables import read_model
    from motes.reports._page import check_page, write_page

    trained, reporter = read_by(read_model(model), text, source), Reporter(quiet)
    if report is not None:
        check_page(report)
    refuse_others(trained, points={}, tables={"--target": target})
    found = evaluate(trained, source, n=n, target=target, seed=seed, reporter=reporter)
    if report is not None:
        write_page(found, report)
        reporter.say(f"report in {report}")
    print_result(found, found.to_dict(), json)
    return 0


@app.command
def diagnose(
    model: Run,
    source: Reference = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Folder for figures and numbers; none if left out.")] = None,
    n: Annotated[
        int | None,
        Parameter(alias="-n", converter=whole, help="Of points: samples, and real points, at most; 8192 if left out."),
    ] = None,
    t: Annotated[
        float | None, Parameter(help="Of points: the time of the score figure; the worst one if left out.")
    ] = None,
    json: Json = False,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the diagnosis that is in the folder.")] = False,
    style: Style = "dark",
    seed: Seed = 0,
    text: Text = TextOptions(),
    quiet: Quiet = False,
) -> int:
    """Find out what is wrong with a model and how to fix it.

    Of points: where the error of the samples comes from. Of a table: what the model knows of each column.
    """
    start_jax()
    from motes._progress import Reporter
    from motes.diagnosis._after import diagnose_model
    from motes.diagnosis._of_tables import table_diagnosis
    from motes.diagnosis._split import ROWS
    from motes.models._tables import TableModel, read_model
    from motes.runs._plots import keep_diagnosis, refuse_diagnosis

    if t is not None and not 0 < t <= 1:
        raise UsageError(f"--t {t:g}; expected a time above 0 (data), up to 1 (noise).")
    if t is not None and out is None:
        raise UsageError("--t is the time of a figure; say where to draw it with --out FOLDER.")
    if out is not None and not overwrite:
        refuse_diagnosis(out)
    trained, reporter = read_by(read_model(model), text, source), Reporter(quiet)
    refuse_others(trained, points={"-n": n, "--t": t}, tables={})
    found: Diagnosis | TableDiagnosis
    if isinstance(trained, TableModel):
        reporter.say("scoring rows that the model has not seen")
        found = table_diagnosis(trained, source, seed=seed)
    else:
        n = ROWS if n is None else n
        with reporter.counting("diagnosing", 5 * n, "rows") as count:
            found = diagnose_model(trained, source, n=n, seed=seed, on_block=count)
    print_result(found, found.to_dict(), json)
    for path in [] if out is None else keep_diagnosis(found, trained, source, out, t=t, style=style):
        reporter.say(str(path))
    return 0


@app.command
def plot(
    model: Run,
    source: Annotated[str | None, Parameter(help="The data; what it was trained on if left out.")] = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Folder of the pictures; that of the model if left out.")] = None,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the pictures of another model there.")] = False,
    video: Annotated[
        bool, Parameter(negative="", help="Of points: an MP4 instead of a GIF (pip install imageio-ffmpeg).")
    ] = False,
    style: Style = "dark",
    seed: Seed = 0,
    text: Text = TextOptions(),
    quiet: Quiet = False,
) -> int:
    """Draw the pictures of a model; of points also the animation."""
    start_jax()
    from motes._progress import Reporter
    from motes.models._sources import source_of
    from motes.models._tables import read_model
    from motes.runs._plots import draw_run, refuse_pictures

    if video and find_spec("imageio_ffmpeg") is None:
        raise UsageError("--video needs imageio-ffmpeg: pip install imageio-ffmpeg. Without --video it is a GIF.")
    trained = read_by(read_model(model), text, source)
    home = model if model.is_dir() else model.parent
    out = out or home
    if out.resolve() != home.resolve() and not overwrite:
        refuse_pictures(out)
    refuse_others(trained, points={"--video": video}, tables={})
    for path in draw_run(
        trained, source_of(trained, source), out, Reporter(quiet), style=style, seed=seed, video=video
    ):
        print(path)
    return 0
